//! TER (Snover et al., 2006) as sacreBLEU computes it, which follows Tercom: edits and moved runs of words, divided by
//! the words of the reference. Lower is better.
//!
//! Unusual here: which runs are moved is a greedy search with Tercom's limits, so that the number is no minimum; the
//! distance is computed in a band around the diagonal only.

use super::tokenize::{is_space, split, tercom_normalized};
use super::{Metric, case, or_empty, yes};

/// The longest run that is moved.
const LONGEST_RUN: usize = 10;
/// How far it is moved at most.
const FARTHEST: usize = 50;
/// Half the width of the band.
const BAND: usize = 25;
/// Moves that are tried for a sentence.
const TRIES: usize = 1000;
/// More than any distance.
const UNREACHED: u64 = 10_000_000_000_000_000;

/// Scripts of ideographs that are cut into characters. Kana stay together: the expressions that would cut them are anchored to a
/// beginning that normalisation has put a space before.
const IDEOGRAPHS: [(char, char); 6] = [
    ('\u{4e00}', '\u{9fff}'),
    ('\u{3200}', '\u{4dbf}'),
    ('\u{31c0}', '\u{31ef}'),
    ('\u{2e80}', '\u{2eff}'),
    ('\u{f900}', '\u{faff}'),
    ('\u{fe30}', '\u{fe4f}'),
];
/// Marks of Chinese and Japanese, and full-width ones.
const ASIAN_MARKS: &str = "\u{3001}\u{3002}\u{ff61}\u{ff62}\u{ff63}\u{ff64}\u{ff65}\u{30fb}\u{ff0e}\u{ff0c}\u{ff1f}\u{ff1a}\u{ff1b}\u{ff01}\u{ff02}\u{ff08}\u{ff09}";

/// What TER is computed with. All `false` is sacreBLEU's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ter {
    /// Upper case is another word than lower case.
    pub cased: bool,
    /// Marks are words of their own.
    pub normalized: bool,
    /// Marks are removed.
    pub no_punctuation: bool,
    /// With `normalized`, ideographs are words of their own; with `no_punctuation`, the marks of Chinese and Japanese are removed too. By
    /// itself it does nothing.
    pub asian: bool,
}

/// Counts of some segments.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TerCounts {
    /// Edits to the reference that takes the fewest.
    pub edits: u64,
    /// Words of the reference, of several the mean.
    pub words: f64,
}

impl Metric for Ter {
    type Counts = TerCounts;

    fn counts(&self, hypothesis: &str, references: &[&str]) -> TerCounts {
        let references = or_empty(references);
        let hypothesis = self.text(hypothesis);
        let edits = references.iter().map(|reference| edits(&hypothesis, &self.text(reference)));
        let (fewest, words) =
            edits.fold((u64::MAX, 0), |(fewest, sum), (edits, words)| (fewest.min(edits), sum + words));
        TerCounts { edits: fewest, words: words as f64 / references.len() as f64 }
    }

    fn sum<'a>(&self, counts: impl Iterator<Item = &'a TerCounts>) -> TerCounts {
        counts.fold(TerCounts::default(), |sum, more| TerCounts {
            edits: sum.edits + more.edits,
            words: sum.words + more.words,
        })
    }

    /// May be above 100.
    fn value(&self, sum: &TerCounts) -> f64 {
        match (sum.edits, sum.words > 0.0) {
            (edits, true) => 100.0 * (edits as f64 / sum.words),
            (0, false) => 0.0,
            (_, false) => 100.0,
        }
    }

    fn settings(&self) -> String {
        let Self { cased, normalized, no_punctuation, asian } = *self;
        let [normalized, marks, asian] = [normalized, !no_punctuation, asian].map(yes);
        format!("case:{}|tok:tercom|norm:{normalized}|punct:{marks}|asian:{asian}", case(!cased))
    }
}

impl Ter {
    /// What Chinese and Japanese need, whose words no space parts: `normalized` and `asian`.
    pub const ASIAN: Self = Self { cased: false, normalized: true, no_punctuation: false, asian: true };

    /// How sacreBLEU names the settings, with one reference.
    pub fn signature(&self) -> String {
        self.signed(Some(1), None)
    }

    /// The line that sacreBLEU prints.
    pub fn text_of(&self, score: f64) -> String {
        format!("TER = {score:.2}")
    }

    /// The score of a corpus of hypotheses, each with its reference, in percent; may be above 100.
    pub fn corpus<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> f64 {
        let counts: Vec<_> =
            pairs.into_iter().map(|(hypothesis, reference)| self.counts(hypothesis, &[reference])).collect();
        self.of_all(&counts)
    }

    /// The text that is cut at white space.
    fn text(&self, text: &str) -> String {
        let text = text.trim_end_matches(is_space);
        let mut text = if self.cased { text.to_owned() } else { text.to_lowercase() };
        if self.normalized && !text.is_empty() {
            text = tercom_normalized(&text);
            if self.asian {
                let stands_alone = |c: char| is_asian_mark(c) || IDEOGRAPHS.iter().any(|(a, b)| (*a..=*b).contains(&c));
                let mut apart = String::with_capacity(2 * text.len());
                for c in text.chars() {
                    if stands_alone(c) { apart.extend([' ', c, ' ']) } else { apart.push(c) }
                }
                text = apart;
            }
        }
        if self.no_punctuation {
            let kept = |c: &char| !matches!(c, '.' | ',' | '?' | ':' | ';' | '!' | '"' | '(' | ')');
            text = text.chars().filter(|c| kept(c) && !(self.asian && is_asian_mark(*c))).collect();
        }
        text
    }
}

fn is_asian_mark(c: char) -> bool {
    matches!(c, '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}') || ASIAN_MARKS.contains(c)
}

/// Edits from the words of one text to those of another, and how many the other has.
fn edits(hypothesis: &str, reference: &str) -> (u64, u64) {
    let reference: Vec<&str> = split(reference).collect();
    let mut words: Vec<&str> = split(hypothesis).collect();
    if reference.is_empty() {
        return (words.len() as u64, 0);
    }
    let (mut moves, mut tries) = (0, 0);
    let mut table = Table::new(&reference, &words);
    while let Some((gain, moved)) = best_move(&words, &reference, &table, &mut tries) {
        // A search that was cut short changes nothing any more.
        if tries >= TRIES || gain <= 0 {
            break;
        }
        moves += 1;
        table = Table::new(&reference, &moved);
        words = moved;
    }
    (moves + table.distance(), reference.len() as u64)
}

/// How one cell of the table is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Same,
    Substitute,
    /// A word of the reference that the hypothesis lacks.
    Insert,
    /// A word of the hypothesis that the reference lacks.
    Delete,
    Unknown,
}

type Row = Vec<(u64, Step)>;

/// Distances of all beginnings of the hypothesis (rows) and of the reference (columns).
struct Table<'a> {
    reference: &'a [&'a str],
    rows: Vec<Row>,
}

impl<'a> Table<'a> {
    fn new(reference: &'a [&'a str], words: &[&str]) -> Self {
        let first = (0..=reference.len() as u64).map(|column| (column, Step::Insert)).collect();
        let mut table = Self { reference, rows: vec![first] };
        table.rows = table.rows_of(words, 0);
        table
    }

    fn distance(&self) -> u64 {
        distance(&self.rows)
    }

    /// The rows of other words, those for the first `known` words taken from here: they must be the same.
    fn rows_of(&self, words: &[&str], known: usize) -> Vec<Row> {
        let columns = self.reference.len();
        let mut rows: Vec<Row> = self.rows.iter().take(known + 1).cloned().collect();
        let ratio = if words.is_empty() { 1.0 } else { columns as f64 / words.len() as f64 };
        let half = ratio / 2.0;
        // Between texts of very different lengths neighbouring bands would not touch.
        let band = if (BAND as f64) < half { (half + BAND as f64).ceil() as usize } else { BAND };
        for (number, word) in (1..).zip(words).skip(known) {
            let mut row = vec![(UNREACHED, Step::Unknown); columns + 1];
            let diagonal = (number as f64 * ratio).floor() as usize;
            let begin = diagonal.saturating_sub(band);
            let end = if number == words.len() { columns + 1 } else { (diagonal + band).min(columns + 1) };
            if let Some(above) = rows.last() {
                self.fill(&mut row, above, word, begin..end);
            }
            rows.push(row);
        }
        rows
    }

    fn fill(&self, row: &mut Row, above: &Row, word: &str, columns: std::ops::Range<usize>) {
        for column in columns {
            let cost = |cells: &Row, column: usize| cells.get(column).map_or(UNREACHED, |cell| cell.0);
            let delete = (cost(above, column) + 1, Step::Delete);
            let mut best = (UNREACHED, Step::Unknown);
            let before = column.checked_sub(1);
            match before.and_then(|before| Some((before, *self.reference.get(before)?))) {
                None => best = delete,
                Some((before, wanted)) => {
                    let diagonal = match wanted == word {
                        true => (cost(above, before), Step::Same),
                        false => (cost(above, before) + 1, Step::Substitute),
                    };
                    // Of equal ones the first, as Tercom prefers them.
                    for step in [diagonal, delete, (cost(row, before) + 1, Step::Insert)] {
                        if step.0 < best.0 {
                            best = step;
                        }
                    }
                }
            }
            if let Some(cell) = row.get_mut(column) {
                *cell = best;
            }
        }
    }

    /// The steps from the beginning to the end.
    fn steps(&self) -> Vec<Step> {
        let (mut row, mut column) = (self.rows.len().saturating_sub(1), self.reference.len());
        let mut steps = Vec::with_capacity(row + column);
        while row > 0 || column > 0 {
            let step = self.rows.get(row).and_then(|cells| cells.get(column)).map_or(Step::Unknown, |cell| cell.1);
            // A cell outside the band is left by what remains.
            let step = match (step, row, column) {
                (_, 0, _) => Step::Insert,
                (_, _, 0) => Step::Delete,
                (Step::Unknown, ..) => Step::Substitute,
                (step, ..) => step,
            };
            row -= usize::from(step != Step::Insert);
            column -= usize::from(step != Step::Delete);
            steps.push(step);
        }
        steps.reverse();
        steps
    }
}

fn distance(rows: &[Row]) -> u64 {
    rows.last().and_then(|row| row.last()).map_or(0, |cell| cell.0)
}

/// Which words of both sides stand for each other.
#[derive(Default)]
struct Alignment {
    /// Of each word of the reference: how many words of the hypothesis stand before the place behind its counterpart.
    behind: Vec<usize>,
    reference_wrong: Vec<bool>,
    hypothesis_wrong: Vec<bool>,
}

impl Alignment {
    fn new(steps: &[Step]) -> Self {
        let mut alignment = Self::default();
        for step in steps {
            let wrong = *step != Step::Same;
            if *step != Step::Insert {
                alignment.hypothesis_wrong.push(wrong);
            }
            if *step != Step::Delete {
                alignment.behind.push(alignment.hypothesis_wrong.len());
                alignment.reference_wrong.push(wrong);
            }
        }
        alignment
    }
}

fn any(wrong: &[bool], begin: usize, length: usize) -> bool {
    wrong.iter().skip(begin).take(length).any(|wrong| *wrong)
}

/// How moves are ranked: by what they gain, of equal ones the longest run, then the earliest, then the earliest place.
type Rank = (i64, usize, i64, i64);

/// The move that shortens the distance the most, with by how much; `None` if there is none to try.
fn best_move<'w>(
    words: &[&'w str],
    reference: &[&str],
    table: &Table,
    tries: &mut usize,
) -> Option<(i64, Vec<&'w str>)> {
    let alignment = Alignment::new(&table.steps());
    let before = table.distance() as i64;
    let mut best: Option<(Rank, Vec<&'w str>)> = None;
    for (from, at, length) in common_runs(words, reference) {
        let Some(counterpart) = alignment.behind.get(at) else { continue };
        let is_right = !any(&alignment.hypothesis_wrong, from, length) || !any(&alignment.reference_wrong, at, length);
        if is_right || (from + 1..=from + length).contains(counterpart) {
            continue;
        }
        let mut last = None;
        // Before the counterpart of the word before the run, and behind those of the run's own words.
        for number in at..=at + length {
            let target = match number.checked_sub(1) {
                None => 0,
                Some(number) => match alignment.behind.get(number) {
                    Some(behind) => *behind,
                    None => break,
                },
            };
            if last.replace(target) == Some(target) {
                continue;
            }
            let moved = with_moved(words, from, length, target);
            let same = words.iter().zip(&moved).take_while(|(a, b)| a == b).count();
            let gain = before - distance(&table.rows_of(&moved, same)) as i64;
            *tries += 1;
            let rank = (gain, length, -(from as i64), -(target as i64));
            if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                best = Some((rank, moved));
            }
        }
        if *tries >= TRIES {
            break;
        }
    }
    best.map(|((gain, ..), moved)| (gain, moved))
}

/// Runs that both sides have: begin in the one, begin in the other, length; of every length that they share.
fn common_runs<'a>(words: &'a [&str], reference: &'a [&str]) -> impl Iterator<Item = (usize, usize, usize)> + 'a {
    let near = move |from: usize| (0..reference.len()).filter(move |at| at.abs_diff(from) <= FARTHEST);
    let starts = (0..words.len()).flat_map(move |from| near(from).map(move |at| (from, at)));
    starts.flat_map(|(from, at)| {
        let pairs = words.iter().skip(from).zip(reference.iter().skip(at));
        let shared = pairs.take(LONGEST_RUN).take_while(|(a, b)| a == b).count();
        (1..=shared).map(move |length| (from, at, length))
    })
}

/// The words with a run taken out and put in before the word `target`, counted before it is taken out; a target within
/// the run is counted from its end.
fn with_moved<'w>(words: &[&'w str], from: usize, length: usize, target: usize) -> Vec<&'w str> {
    let mut rest = words.to_vec();
    let run: Vec<&str> = rest.drain(from..(from + length).min(words.len())).collect();
    let at = if target > from + length { target - length } else { target };
    let at = at.min(rest.len());
    rest.splice(at..at, run);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What sacreBLEU 2.6.0 counts for these.
    #[test]
    fn edits_are_counted_as_published() {
        for (hypothesis, reference, edits) in [
            ("a b c", "a b c", 0),
            ("A B c", "a b C", 0),
            ("", "a b", 2),
            ("a b", "", 2),
            ("c d e a b", "a b c d e", 1),
            ("b a", "a b", 1),
            ("a x c", "a b c d", 2),
            ("Schnee. den durch rennen Hunde Zwei", "Zwei Hunde rennen durch den Schnee.", 5),
        ] {
            assert_eq!(Ter::default().counts(hypothesis, &[reference]).edits, edits, "{hypothesis} / {reference}");
        }
        assert_eq!(Ter::default().corpus([("", "")]), 0.0);
        assert_eq!(Ter::default().corpus([("a", "")]), 100.0);
        // Of two references the fewer edits, and the mean length.
        let counts = Ter::default().counts("a b c", &["a b x y", "a c b"]);
        assert_eq!(counts, TerCounts { edits: 1, words: 3.5 });
    }

    /// What sacreBLEU 2.6.0's tokenizer makes of these, read from its source.
    #[test]
    fn texts_are_normalised_as_published() {
        let words = |ter: Ter, text: &str| split(&ter.text(text)).collect::<Vec<_>>().join(" ");
        let normalized = Ter { normalized: true, ..Ter::default() };
        assert_eq!(words(normalized, "Tom's 3,5-kg dog, x.y\n-z &amp;"), "tom 's 3,5 - kg dog , x . yz &");
        assert_eq!(words(Ter::ASIAN, "茶色の犬が、走る。"), "茶 色 の 犬 が 、 走 る 。");
        assert_eq!(words(Ter::ASIAN, "ボールを"), "ボールを");
        let removed = Ter { no_punctuation: true, asian: true, ..Ter::default() };
        assert_eq!(words(removed, "(a) b. 「犬」。 c-d"), "a b 犬 c-d");
        assert_eq!(words(Ter { cased: true, ..Ter::default() }, " A  b "), "A b");
    }

    #[test]
    fn runs_are_moved() {
        let words = ["a", "b", "c", "d", "e"];
        for (from, length, target, wanted) in
            [(3, 2, 0, "deabc"), (0, 2, 4, "cdabe"), (1, 2, 2, "adbce"), (1, 2, 3, "adebc"), (0, 2, 5, "cdeab")]
        {
            assert_eq!(with_moved(&words, from, length, target).concat(), wanted, "{from} {length} {target}");
        }
    }

    #[test]
    fn lengths_that_differ_much_are_bounded() {
        let long = "x ".repeat(3000);
        assert_eq!(edits(&long, "a b").0, 3000);
        assert_eq!(edits("a b", &long).0, 3000);
        let same = "a b ".repeat(200);
        assert_eq!(edits(&same, &same).0, 0);
    }
}

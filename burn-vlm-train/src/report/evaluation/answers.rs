//! How the model answers, whatever it is right about: replies that could not be used, and letters that it prefers.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::chart::{Bar, bars};
use super::overview::headings;
use super::text::{counted, flag_words, letter, share, thousands};
use crate::eval::{Evaluated, Prediction};
use crate::report::page::Page;
use crate::report::palette::Ink;
use crate::report::panels::{Scale, signed};
use crate::report::table::{Entry, Heading, Line, Table};

/// Flags in the order of their columns, with what each means. What else predictions are flagged with comes after them.
const FLAGS: [(&str, &str); 5] = [
    ("invalid", "Nothing could be understood of the reply. It counts as wrong, or as the rules say."),
    ("no_reply", "There is no reply to the question."),
    (
        "read_as_missing",
        "The reference reads the reply back from its own file as a missing value and scores the text nan.",
    ),
    ("random_in_reference", "The reference would draw an answer at random; here it counts as wrong."),
    ("judge_failed", "The judge gave nothing that could be read."),
];

/// Draws by which the distance of chance is found, and the share of them that stay below it.
const DRAWS: usize = 400;
const BELOW: f64 = 0.95;

pub(super) fn sections(page: &mut Page, evaluated: &[Evaluated]) {
    page.section("answers", "Answers that could not be used");
    flags(page, evaluated);
    letters(page, evaluated);
}

fn flags(page: &mut Page, evaluated: &[Evaluated]) {
    let met: BTreeSet<&str> =
        evaluated.iter().flat_map(|one| &one.predictions).flat_map(|p| &p.flags).map(String::as_str).collect();
    let known = FLAGS.iter().map(|(flag, _)| *flag);
    let others = met.iter().copied().filter(|flag| FLAGS.iter().all(|(known, _)| known != flag));
    // What never occurs is said in a sentence: a column of zeros hides the others.
    let columns: Vec<&str> = known.clone().filter(|flag| met.contains(flag)).chain(others).collect();
    if !columns.is_empty() {
        let row = |one: &Evaluated| {
            let of = |flag: &&str| {
                let count =
                    one.predictions.iter().filter(|prediction| prediction.flags.iter().any(|f| f == flag)).count();
                let whole = one.predictions.len();
                Entry {
                    detail: format!("{} of {}", thousands(count), thousands(whole)),
                    ..Entry::plain(share(count, whole))
                }
            };
            Line { label: one.benchmark.clone(), series: None, entries: columns.iter().map(of).collect() }
        };
        let titles = columns.iter().map(|flag| Heading { title: flag_words(flag), note: String::new() }).collect();
        page.table(&Table { corner: "Benchmark".into(), columns: titles, rows: evaluated.iter().map(row).collect() });
        let meanings = FLAGS.iter().filter(|(flag, _)| met.contains(flag));
        page.facts(meanings.map(|(flag, meaning)| (flag_words(flag), *meaning)));
    }
    let never: Vec<String> = known.filter(|flag| !met.contains(flag)).map(flag_words).collect();
    if !never.is_empty() {
        page.paragraph(&format!("In no benchmark: {}.", never.join(", ")));
    }
}

/// How often each answer was given, and how often it is right, over the items whose reply was understood as one of them.
struct Answered {
    /// Answer, replies, right.
    counts: Vec<(String, usize, usize)>,
    n: usize,
}

impl Answered {
    /// None where fewer than two answers are possible.
    fn of(predictions: &[Prediction]) -> Option<Self> {
        let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let mut n = 0;
        for prediction in predictions {
            let Some(labels) = Labels::of(prediction) else { continue };
            let Some(given) = prediction.understood.as_deref().and_then(|text| labels.read(text)) else { continue };
            counts.entry(given).or_default().0 += 1;
            counts.entry(labels.right).or_default().1 += 1;
            n += 1;
        }
        let counts: Vec<(String, usize, usize)> =
            counts.into_iter().map(|(label, (given, right))| (label, given, right)).collect();
        (counts.len() > 1).then_some(Self { counts, n })
    }

    /// Half the sum of the differences of the shares: the share of replies that would have to be another answer for both to be alike.
    fn distance(&self) -> f64 {
        let differences = self.counts.iter().map(|(_, given, right)| given.abs_diff(*right));
        differences.sum::<usize>() as f64 / (2 * self.n) as f64
    }

    /// The distance that stays below in 95 of 100 draws of `n` answers with the right ones' shares.
    fn distance_of_chance(&self) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut draw = || {
            let mut drawn = vec![0_usize; self.counts.len()];
            for _ in 0..self.n {
                let mut left = rng.random_range(0..self.n as u64) as usize;
                for (slot, (_, _, right)) in drawn.iter_mut().zip(&self.counts) {
                    if left < *right {
                        *slot += 1;
                        break;
                    }
                    left -= right;
                }
            }
            let differences = drawn.iter().zip(&self.counts).map(|(drawn, (_, _, right))| drawn.abs_diff(*right));
            differences.sum::<usize>() as f64 / (2 * self.n) as f64
        };
        let mut distances: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
        distances.sort_unstable_by(f64::total_cmp);
        crate::stats::percentile(&distances, BELOW)
    }
}

/// The answers that a question allows, where they are letters or yes and no.
struct Labels {
    right: String,
    options: usize,
}

impl Labels {
    fn of(prediction: &Prediction) -> Option<Self> {
        if let (Some(at), options @ 2..) = (prediction.answer, prediction.options.len()) {
            return Some(Self { right: letter(at)?.to_string(), options });
        }
        match &prediction.references[..] {
            [reference] => Some(Self { right: yes_or_no(reference)?, options: 0 }),
            _ => None,
        }
    }

    fn read(&self, understood: &str) -> Option<String> {
        if self.options == 0 {
            return yes_or_no(understood);
        }
        let mut letters = understood.trim().chars().map(|c| c.to_ascii_uppercase());
        let (only, None) = (letters.next()?, letters.next()) else { return None };
        (0..self.options).filter_map(letter).find(|known| *known == only).map(String::from)
    }
}

fn yes_or_no(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    matches!(text.as_str(), "yes" | "no").then_some(text)
}

fn letters(page: &mut Page, evaluated: &[Evaluated]) {
    let answered: Vec<(&str, Answered)> =
        evaluated.iter().filter_map(|one| Some((one.benchmark.as_str(), Answered::of(&one.predictions)?))).collect();
    if answered.is_empty() {
        return;
    }
    page.section("letters", "Preferred answers");
    page.paragraph(
        "How often each letter (or yes and no) was answered, beside how often it is right, over the items whose reply was understood as \
         one of the letters. Distance is the share of replies that would have to be another letter for the two to be alike (total \
         variation, 0 to 100 %). A model that drew letters as often as they are right would stay below the distance of chance in 95 of \
         100 cases; a dot marks what lies above: the model prefers positions. Options in a file that skip letters are counted by their \
         position.",
    );
    let row = |(benchmark, answered): &(&str, Answered)| {
        let (distance, of_chance) = (answered.distance(), answered.distance_of_chance());
        let excess = |(label, given, right): &(String, usize, usize)| {
            (100.0 * (*given as f64 - *right as f64) / answered.n as f64, label.clone())
        };
        let most = answered.counts.iter().map(excess).max_by(|a, b| a.0.total_cmp(&b.0));
        let least = answered.counts.iter().map(excess).min_by(|a, b| a.0.total_cmp(&b.0));
        let points = |entry: Option<(f64, String)>| {
            let (points, label) = entry.unwrap_or_default();
            Entry { detail: format!("{} points", signed(points)), ..Entry::plain(label) }
        };
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let entries = vec![
            Entry::plain(thousands(answered.n)),
            Entry { strong: distance > of_chance, ..Entry::plain(percent(distance)) },
            Entry::plain(percent(of_chance)),
            points(most),
            points(least),
        ];
        Line { label: (*benchmark).to_owned(), series: None, entries }
    };
    let columns = headings(&["N", "Distance", "Of chance", "Most preferred", "Most avoided"]);
    page.table(&Table { corner: "Benchmark".into(), columns, rows: answered.iter().map(row).collect() });
    let alone = answered.len() == 1;
    for (benchmark, answered) in &answered {
        let bar = |label: &str, of: &str, count: usize, ink: Ink| {
            let value = 100.0 * count as f64 / answered.n as f64;
            Bar { block: label.to_owned(), label: of.to_owned(), value, low: value, high: value, ink }
        };
        let both = |(label, given, right): &(String, usize, usize)| {
            [bar(label, "replies", *given, Ink::Series(0)), bar(label, "right answers", *right, Ink::Series(7))]
        };
        let subtitle = counted(answered.n, "reply that was understood", "replies that were understood");
        let title = format!("Answers to {benchmark}");
        let all = answered.counts.iter().flat_map(both).collect();
        let chart = bars(&title, &subtitle, "share, %", Scale::Share, all);
        page.fold(&title, alone, |page| {
            page.drawing(&chart, "The share of each answer among replies and among right answers.")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(understood: Option<&str>, answer: usize) -> Prediction {
        Prediction {
            options: ["x"; 4].map(str::to_owned).to_vec(),
            answer: Some(answer),
            understood: understood.map(str::to_owned),
            ..Prediction::new("1", "m", "g")
        }
    }

    #[test]
    fn distances_are_worked_by_hand() {
        // Replies A A A B; right A B C D: |3 - 1| + |1 - 1| + |0 - 1| + |0 - 1| = 4, halved, of 4.
        let items = [item(Some("A"), 0), item(Some("a"), 1), item(Some("A"), 2), item(Some("B"), 3)];
        let answered = Answered::of(&items).unwrap();
        assert_eq!(answered.distance(), 0.5);
        let all = |counts: &[(String, usize, usize)]| counts.iter().map(|(_, a, b)| (*a, *b)).collect::<Vec<_>>();
        assert_eq!(all(&answered.counts), [(3, 1), (1, 1), (0, 1), (0, 1)]);
    }

    #[test]
    fn what_is_no_letter_of_the_question_is_not_counted() {
        let items = [item(Some("A"), 0), item(Some("B"), 1), item(Some("E"), 1), item(Some("AB"), 1), item(None, 2)];
        assert_eq!(Answered::of(&items).unwrap().n, 2);
        assert!(Answered::of(&items[4..]).is_none());
        let free = Prediction { references: vec!["a cat".into()], understood: Some("a".into()), ..item(None, 0) };
        let free = Prediction { options: Vec::new(), answer: None, ..free };
        assert!(Answered::of(&[free]).is_none());
    }

    #[test]
    fn yes_and_no_are_answers_too() {
        let item = |understood: &str, right: &str| Prediction {
            references: vec![right.into()],
            understood: Some(understood.into()),
            ..Prediction::new("1", "m", "g")
        };
        let items = [item("yes", "Yes"), item("Yes", "No"), item("yes", "no"), item("no", "no")];
        assert_eq!(Answered::of(&items).unwrap().distance(), 0.5);
    }

    #[test]
    fn chance_reaches_what_a_fair_draw_reaches() {
        // 400 items, each letter right 100 times: a count varies by sqrt(400 x 1/4 x 3/4) = 8.7, the mean of half the sum of four
        // absolute deviations of the shares is 4 x 8.7 x 0.8 / 800 = 0.035, and 95 of 100 draws stay below about 0.06.
        let answered = Answered { counts: ["A", "B", "C", "D"].map(|l| (l.to_owned(), 100, 100)).to_vec(), n: 400 };
        let limit = answered.distance_of_chance();
        assert!((0.05..0.07).contains(&limit), "{limit}");
    }
}

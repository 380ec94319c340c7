//! chrF (Popović, 2015) and chrF++ (2017) as sacreBLEU computes them.

use super::tokenize::{is_space, split};
use super::{Metric, case, matches, ngrams, or_empty, yes};

/// The longest run of characters.
const CHARACTERS: usize = 6;
/// How much more recall weighs than precision, if nothing else is said.
const BETA: u32 = 2;
/// What stands for a share of nothing where every order counts.
const EPSILON: f64 = 1e-16;

/// What chrF is computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chrf {
    /// Texts are made lower case first.
    pub lower: bool,
    /// The longest run of words: 0 for chrF, 2 for chrF++.
    pub words: usize,
    /// How much more recall weighs than precision; it stands in no signature.
    pub beta: u32,
    /// White space counts as characters.
    pub whitespace: bool,
    /// Orders that a text is too short for count as almost nothing, as in `chrF++.py`, NLTK and Moses; else they are left out.
    pub every_order: bool,
}

/// Counts of one order: runs of the hypotheses, of the references, and of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OrderCounts {
    hypothesis: u64,
    reference: u64,
    both: u64,
}

impl Metric for Chrf {
    type Counts = Vec<OrderCounts>;

    /// The counts of one segment, by order: of characters, then of words. Of several references those of the first that gives the best
    /// score.
    fn counts(&self, hypothesis: &str, references: &[&str]) -> Vec<OrderCounts> {
        let cased = |text: &str| if self.lower { text.to_lowercase() } else { text.to_owned() };
        let hypothesis = cased(hypothesis);
        let (characters, words) = (self.characters(&hypothesis), words(&hypothesis));
        let mut best: Option<(f64, Vec<OrderCounts>)> = None;
        for reference in or_empty(references) {
            let reference = cased(reference);
            let counts = self.beside(&characters, &words, &reference);
            let score = self.value(&counts);
            if best.as_ref().is_none_or(|(known, _)| score > *known) {
                best = Some((score, counts));
            }
        }
        best.map(|(_, counts)| counts).unwrap_or_default()
    }

    fn sum<'a>(&self, counts: impl Iterator<Item = &'a Vec<OrderCounts>>) -> Vec<OrderCounts> {
        let mut sum = vec![OrderCounts::default(); CHARACTERS + self.words];
        for counts in counts {
            for (sum, more) in sum.iter_mut().zip(counts) {
                sum.hypothesis += more.hypothesis;
                sum.reference += more.reference;
                sum.both += more.both;
            }
        }
        sum
    }

    /// The F score of the mean precision and mean recall over the orders that both sides have; over every order the mean of F scores.
    fn value(&self, sum: &Vec<OrderCounts>) -> f64 {
        let factor = f64::from(self.beta * self.beta);
        let f_score = |precision: f64, recall: f64| (1.0 + factor) * precision * recall / (factor * precision + recall);
        let share = |part: u64, whole: u64| if whole > 0 { part as f64 / whole as f64 } else { EPSILON };
        let shares = sum.iter().map(|order| (share(order.both, order.hypothesis), share(order.both, order.reference)));
        if self.every_order {
            let score = |(precision, recall): (f64, f64)| match factor * precision + recall > 0.0 {
                true => f_score(precision, recall),
                false => EPSILON,
            };
            return 100.0 * shares.map(score).sum::<f64>() / sum.len() as f64;
        }
        let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
        for (order, shares) in sum.iter().zip(shares) {
            if order.hypothesis > 0 && order.reference > 0 {
                precision += shares.0;
                recall += shares.1;
                orders += 1.0;
            }
        }
        if precision + recall == 0.0 { 0.0 } else { 100.0 * f_score(precision / orders, recall / orders) }
    }

    fn settings(&self) -> String {
        let (case, words) = (case(self.lower), self.words);
        let (effective, space) = (yes(!self.every_order), yes(self.whitespace));
        format!("case:{case}|eff:{effective}|nc:{CHARACTERS}|nw:{words}|space:{space}")
    }
}

impl Chrf {
    /// sacreBLEU's default: chrF2.
    pub const DEFAULT: Self = Self { lower: false, words: 0, beta: BETA, whitespace: false, every_order: false };
    /// chrF2++, with runs of one and two words.
    pub const PLUS_PLUS: Self = Self { words: 2, ..Self::DEFAULT };

    /// How sacreBLEU names the settings, with one reference.
    pub fn signature(&self) -> String {
        self.signed(Some(1), None)
    }

    /// The line that sacreBLEU prints.
    pub fn text(&self, score: f64) -> String {
        format!("{} = {score:.2}", self.name())
    }

    /// `chrF2`, `chrF2++`.
    pub fn name(&self) -> String {
        format!("chrF{}{}", self.beta, "+".repeat(self.words))
    }

    /// The score of a corpus of hypotheses, each with its reference, 0 to 100.
    pub fn corpus<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> f64 {
        let counts: Vec<_> =
            pairs.into_iter().map(|(hypothesis, reference)| self.counts(hypothesis, &[reference])).collect();
        self.of_all(&counts)
    }

    /// The counts of a hypothesis beside one reference.
    fn beside(&self, ours: &[char], our_words: &[&str], reference: &str) -> Vec<OrderCounts> {
        let theirs = self.characters(reference);
        let mut counts: Vec<_> = (1..=CHARACTERS).map(|order| of_order(ours, &theirs, order)).collect();
        let theirs = words(reference);
        counts.extend((1..=self.words).map(|order| of_order(our_words, &theirs, order)));
        counts
    }

    fn characters(&self, text: &str) -> Vec<char> {
        text.chars().filter(|c| self.whitespace || !is_space(*c)).collect()
    }
}

fn of_order<T: std::hash::Hash + Eq>(ours: &[T], theirs: &[T], order: usize) -> OrderCounts {
    let (ours, theirs) = (ngrams(ours, order), ngrams(theirs, order));
    OrderCounts {
        // Runs of an order that the reference is too short for do not count.
        hypothesis: if theirs.is_empty() { 0 } else { ours.values().sum() },
        reference: theirs.values().sum(),
        both: matches(&ours, &theirs),
    }
}

/// Words with one mark at an end set apart: the last, else the first (`(hi)` is `(hi` and `)`).
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in split(text) {
        let mark = |c: char| c.is_ascii_punctuation().then(|| c.len_utf8());
        let first = word.chars().next().and_then(mark);
        let last = word.chars().next_back().and_then(mark);
        let at = match (first, last) {
            _ if word.chars().nth(1).is_none() => None,
            (_, Some(length)) => word.len().checked_sub(length),
            (first, None) => first,
        };
        match at.and_then(|at| word.split_at_checked(at)) {
            Some((before, behind)) => words.extend([before, behind]),
            None => words.push(word),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_set_apart_at_one_end() {
        assert_eq!(words("(hi) \"x . ... ¿qué? é."), ["(hi", ")", "\"", "x", ".", "..", ".", "¿qué", "?", "é", "."]);
    }

    /// By hand, with orders 1 and 2 only, as the longer ones are not there: precision (2/2 + 1/1) / 2, recall (2/3 +
    /// 1/2) / 2.
    #[test]
    fn short_sentences_count_the_orders_they_have() {
        let found = Chrf::DEFAULT.corpus([("a b", "a bc")]);
        let (precision, recall) = (1.0, 7.0 / 12.0);
        let wanted = 100.0 * 5.0 * precision * recall / (4.0 * precision + recall);
        assert!((found - wanted).abs() < 1e-9, "{found}");
    }

    #[test]
    fn case_and_nothing() {
        let chrf = Chrf { lower: true, ..Chrf::PLUS_PLUS };
        assert!((chrf.corpus([("ÉTÉ Paris", "été paris")]) - 100.0).abs() < 1e-9);
        assert_eq!(chrf.corpus([("", "a")]), 0.0);
        assert_eq!(chrf.corpus([("a", "")]), 0.0);
        assert_eq!(chrf.text(70.334), "chrF2++ = 70.33");
        assert_eq!(chrf.signature(), "nrefs:1|case:lc|eff:yes|nc:6|nw:2|space:no|version:2.6.0");
    }

    /// By hand: "a b" and "a b" with one space have three, two and one run; without the space the words are one run shorter.
    #[test]
    fn white_space_and_every_order() {
        let counts = Chrf { whitespace: true, ..Chrf::DEFAULT }.counts("a b", &["a b"]);
        assert_eq!(counts.iter().map(|order| order.both).collect::<Vec<_>>(), [3, 2, 1, 0, 0, 0]);
        // Two of six orders are there, and right; the others count as nothing.
        let found = Chrf { every_order: true, ..Chrf::DEFAULT }.corpus([("a b", "a b")]);
        assert!((found - 100.0 / 3.0).abs() < 1e-9, "{found}");
        // The first of the best references counts.
        assert_eq!(Chrf::DEFAULT.counts("ab", &["x", "abc", "abd"]), Chrf::DEFAULT.counts("ab", &["abc"]));
    }
}

//! chrF (Popović, 2015) and chrF++ (2017) as sacreBLEU computes them.

use super::tokenize::{is_space, split};
use super::{VERSION, case, matches, ngrams};

/// The longest run of characters.
const CHARACTERS: usize = 6;
/// How much more recall weighs than precision.
const BETA: u32 = 2;

/// What chrF is computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chrf {
    /// Texts are made lower case first.
    pub lower: bool,
    /// The longest run of words: 0 for chrF, 2 for chrF++.
    pub words: usize,
}

/// Counts of one order: runs of the hypotheses, of the references, and of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OrderCounts {
    hypothesis: u64,
    reference: u64,
    both: u64,
}

impl Chrf {
    /// How sacreBLEU names the settings.
    pub fn signature(&self) -> String {
        let (case, words) = (case(self.lower), self.words);
        format!("nrefs:1|case:{case}|eff:yes|nc:{CHARACTERS}|nw:{words}|space:no|version:{VERSION}")
    }

    /// The line that sacreBLEU prints.
    pub fn text(&self, score: f64) -> String {
        format!("chrF{BETA}{} = {score:.2}", "+".repeat(self.words))
    }

    /// The score of a corpus of hypotheses, each with its reference, 0 to 100.
    pub fn corpus<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> f64 {
        let mut sum = vec![OrderCounts::default(); CHARACTERS + self.words];
        for (hypothesis, reference) in pairs {
            for (sum, more) in sum.iter_mut().zip(self.counts(hypothesis, reference)) {
                sum.hypothesis += more.hypothesis;
                sum.reference += more.reference;
                sum.both += more.both;
            }
        }
        score(&sum)
    }

    /// The counts of one sentence, by order: of characters, then of words.
    pub fn counts(&self, hypothesis: &str, reference: &str) -> Vec<OrderCounts> {
        let cased = |text: &str| if self.lower { text.to_lowercase() } else { text.to_owned() };
        let (hypothesis, reference) = (cased(hypothesis), cased(reference));
        let (ours, theirs) = (characters(&hypothesis), characters(&reference));
        let mut counts: Vec<_> = (1..=CHARACTERS).map(|order| of_order(&ours, &theirs, order)).collect();
        let (ours, theirs) = (words(&hypothesis), words(&reference));
        counts.extend((1..=self.words).map(|order| of_order(&ours, &theirs, order)));
        counts
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

fn characters(text: &str) -> Vec<char> {
    text.chars().filter(|c| !is_space(*c)).collect()
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

/// The F score of the mean precision and mean recall over the orders that both sides have, 0 to 100.
pub fn score(counts: &[OrderCounts]) -> f64 {
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for OrderCounts { hypothesis, reference, both } in counts.iter().copied() {
        if hypothesis > 0 && reference > 0 {
            precision += both as f64 / hypothesis as f64;
            recall += both as f64 / reference as f64;
            orders += 1.0;
        }
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / orders, recall / orders);
    let factor = f64::from(BETA * BETA);
    100.0 * ((1.0 + factor) * precision * recall / (factor * precision + recall))
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
        let found = Chrf { lower: false, words: 0 }.corpus([("a b", "a bc")]);
        let (precision, recall) = (1.0, 7.0 / 12.0);
        let wanted = 100.0 * 5.0 * precision * recall / (4.0 * precision + recall);
        assert!((found - wanted).abs() < 1e-9, "{found}");
    }

    #[test]
    fn case_and_nothing() {
        let chrf = Chrf { lower: true, words: 2 };
        assert!((chrf.corpus([("ÉTÉ Paris", "été paris")]) - 100.0).abs() < 1e-9);
        assert_eq!(chrf.corpus([("", "a")]), 0.0);
        assert_eq!(chrf.corpus([("a", "")]), 0.0);
        assert_eq!(chrf.text(70.334), "chrF2++ = 70.33");
        assert_eq!(chrf.signature(), "nrefs:1|case:lc|eff:yes|nc:6|nw:2|space:no|version:2.6.0");
    }
}

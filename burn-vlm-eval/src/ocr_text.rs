//! How much of a text was read: words or characters as a bag, as CC-OCR's evaluation counts them.
//!
//! Unusual here: the order of the tokens does not matter, and every division has a small number added below, so that
//! all is right gives 0.999999999 rather than 1.

use std::collections::HashMap;

/// Added below every division; published numbers have it.
const EPSILON: f64 = 1e-9;
/// What is deleted: marks of headings and of rules in Markdown.
const DELETED: [&str; 2] = ["###", "***"];

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// What stands between white space; marks stay with their word.
    Word,
    /// Every character but white space.
    Character,
}

/// The tokens of two texts that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overlap {
    /// Tokens of the right text.
    pub gold: usize,
    /// Tokens that were read.
    pub found: usize,
    /// Tokens that both have, each as often as the one that has fewer of them.
    pub right: usize,
}

/// Recall, precision and their harmonic mean.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Of the right tokens.
    pub recall: f64,
    /// Of those that were read.
    pub precision: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

/// The tokens of a text in lower case.
pub fn tokens(text: &str, unit: Unit) -> Vec<String> {
    let text = DELETED.iter().fold(text.to_owned(), |text, deleted| text.replace(deleted, ""));
    match unit {
        Unit::Word => text.split_whitespace().map(str::to_lowercase).collect(),
        Unit::Character => text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_lowercase().collect()).collect(),
    }
}

impl Overlap {
    /// Compares two texts.
    pub fn of(gold: &str, found: &str, unit: Unit) -> Self {
        let (gold, found) = (tokens(gold, unit), tokens(found, unit));
        let mut left: HashMap<&str, usize> = HashMap::new();
        for token in &gold {
            *left.entry(token).or_default() += 1;
        }
        let mut right = 0;
        for token in &found {
            if let Some(count) = left.get_mut(token.as_str()).filter(|count| **count > 0) {
                *count -= 1;
                right += 1;
            }
        }
        Self { gold: gold.len(), found: found.len(), right }
    }

    /// Its rates.
    pub fn rates(self) -> Rates {
        let recall = over(self.right as f64, self.gold);
        let precision = over(self.right as f64, self.found);
        Rates { recall, precision, f1: 2.0 * recall * precision / (recall + precision + EPSILON) }
    }
}

/// A sum over a count, as it is always divided here.
pub fn over(sum: f64, count: usize) -> f64 {
    sum / (count as f64 + EPSILON)
}

/// The means of the rates of several texts.
pub fn macro_rates(overlaps: &[Overlap]) -> Rates {
    let rates: Vec<Rates> = overlaps.iter().map(|overlap| overlap.rates()).collect();
    let mean = |of: fn(&Rates) -> f64| over(rates.iter().map(of).sum(), rates.len());
    Rates { recall: mean(|rates| rates.recall), precision: mean(|rates| rates.precision), f1: mean(|rates| rates.f1) }
}

/// The rates of all tokens of several texts together.
pub fn micro_rates(overlaps: &[Overlap]) -> Rates {
    let add =
        |a: Overlap, b: &Overlap| Overlap { gold: a.gold + b.gold, found: a.found + b.found, right: a.right + b.right };
    overlaps.iter().fold(Overlap::default(), add).rates()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_tokens() {
        assert_eq!(tokens(" ### Größe\u{3000}und\tMaß: *** ", Unit::Word), ["größe", "und", "maß:"]);
        assert_eq!(tokens("Ab\u{3000}c", Unit::Character), ["a", "b", "c"]);
        assert!(tokens(" \n", Unit::Word).is_empty());
    }

    #[test]
    fn tokens_count_as_often_as_both_have_them() {
        let overlap = Overlap::of("a a b", "b a c c", Unit::Word);
        assert_eq!(overlap, Overlap { gold: 3, found: 4, right: 2 });
        assert_eq!(Overlap::of("STRASSE", "straße", Unit::Word).right, 0);
        // Nothing in both is nothing right, and no error.
        assert_eq!(Overlap::of("", "", Unit::Word).rates(), Rates::default());
    }
}

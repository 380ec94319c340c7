//! BLEU (Papineni et al., 2002) as sacreBLEU computes it: orders 1 to 4, and the smoothings of Chen and Cherry (2014).

use std::collections::HashMap;

use serde_json::{Value, json};

use super::tokenize::Tokenizer;
use super::{Metric, case, matches, ngrams, or_empty, yes};

/// The longest run of words.
const ORDERS: usize = 4;
/// Stands for the logarithm of 0.
const LOG_OF_ZERO: f64 = -9_999_999_999.0;

/// What BLEU is computed with.
#[derive(Debug, Clone)]
pub struct Bleu {
    /// Texts are made lower case first.
    pub lower: bool,
    /// How words are told.
    pub tokenizer: Tokenizer,
    /// Orders that the hypothesis is too short for are left out: for sentences by themselves.
    pub effective_order: bool,
    /// What an order without a match counts.
    pub smoothing: Smoothing,
}

/// What an order counts in which the references have nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Smoothing {
    /// Half of one match, the next such order a quarter, and so on: sacreBLEU's `exp`, the default.
    #[default]
    Exponential,
    /// That much of a match: `floor`.
    Floor(f64),
    /// That much is added to the matches and the runs of every order but the first: `add-k`.
    Add(f64),
    /// Nothing, and so the whole score: `none`.
    None,
}

impl Smoothing {
    /// The names of sacreBLEU.
    pub const NAMES: [&str; 4] = ["exp", "floor", "add-k", "none"];

    /// sacreBLEU's smoothing of a name, with its default value.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "exp" => Some(Self::Exponential),
            "floor" => Some(Self::Floor(0.1)),
            "add-k" => Some(Self::Add(1.0)),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    fn signature(self) -> String {
        match self {
            Self::Exponential => "exp".to_owned(),
            Self::Floor(value) => format!("floor[{value:.2}]"),
            Self::Add(value) => format!("add-k[{value:.2}]"),
            Self::None => "none".to_owned(),
        }
    }
}

/// Counts of some sentences, from which their score follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BleuCounts {
    /// Words of the hypotheses.
    pub hypothesis: u64,
    /// Words of the references, of several the length nearest to the hypothesis's.
    pub reference: u64,
    /// Runs of each order that a reference has too.
    pub correct: [u64; ORDERS],
    /// Runs of each order in the hypotheses.
    pub total: [u64; ORDERS],
}

/// A score with what it was computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct BleuScore {
    /// 0 to 100.
    pub score: f64,
    /// The counts.
    pub counts: BleuCounts,
    /// What smoothing added to matches and runs of every order but the first.
    pub added: f64,
    /// The precision of each order in percent, smoothed.
    pub precisions: [f64; ORDERS],
    /// The brevity penalty.
    pub brevity: f64,
}

impl Metric for Bleu {
    type Counts = BleuCounts;

    fn counts(&self, hypothesis: &str, references: &[&str]) -> BleuCounts {
        let words = |text: &str| match self.lower {
            true => self.tokenizer.words(&text.to_lowercase()),
            false => self.tokenizer.words(text),
        };
        let hypothesis = words(hypothesis);
        let references: Vec<Vec<String>> = or_empty(references).iter().map(|reference| words(reference)).collect();
        let lengths = references.iter().map(|reference| reference.len() as u64);
        let ours = hypothesis.len() as u64;
        let mut counts = BleuCounts {
            hypothesis: ours,
            // Of two that are as near the shorter one.
            reference: lengths.min_by_key(|length| (ours.abs_diff(*length), *length)).unwrap_or(0),
            ..BleuCounts::default()
        };
        for (order, (correct, total)) in (1..).zip(counts.correct.iter_mut().zip(&mut counts.total)) {
            let ours = ngrams(&hypothesis, order);
            let mut theirs: HashMap<&[String], u64> = HashMap::new();
            for (run, count) in references.iter().flat_map(|reference| ngrams(reference, order)) {
                let most = theirs.entry(run).or_default();
                *most = count.max(*most);
            }
            *correct = matches(&ours, &theirs);
            *total = ours.values().sum();
        }
        counts
    }

    fn sum<'a>(&self, counts: impl Iterator<Item = &'a BleuCounts>) -> BleuCounts {
        counts.fold(BleuCounts::default(), |mut sum, counts| {
            sum.add(counts);
            sum
        })
    }

    fn value(&self, sum: &BleuCounts) -> f64 {
        self.score(*sum).score
    }

    fn settings(&self) -> String {
        let (case, effective) = (case(self.lower), yes(self.effective_order));
        let (tokenizer, smoothing) = (self.tokenizer.signature(), self.smoothing.signature());
        format!("case:{case}|eff:{effective}|tok:{tokenizer}|smooth:{smoothing}")
    }
}

impl Bleu {
    /// sacreBLEU's default: case counts, `13a`, exponential smoothing, all orders.
    pub const DEFAULT: Self =
        Self { lower: false, tokenizer: Tokenizer::V13a, effective_order: false, smoothing: Smoothing::Exponential };

    /// How sacreBLEU names the settings, with one reference.
    pub fn signature(&self) -> String {
        self.signed(Some(1), None)
    }

    /// The score of a corpus of hypotheses, each with its reference.
    pub fn corpus<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> BleuScore {
        let mut sum = BleuCounts::default();
        for (hypothesis, reference) in pairs {
            sum.add(&self.counts(hypothesis, &[reference]));
        }
        self.score(sum)
    }

    /// The score of counts.
    pub fn score(&self, counts: BleuCounts) -> BleuScore {
        let BleuCounts { hypothesis, reference, correct, total } = counts;
        let brevity = match (hypothesis, reference) {
            (0, 1..) => 0.0,
            (ours, theirs) if ours < theirs => (1.0 - theirs as f64 / ours as f64).exp(),
            _ => 1.0,
        };
        let mut precisions = [0.0; ORDERS];
        if correct.iter().all(|count| *count == 0) {
            return BleuScore { score: 0.0, counts, added: 0.0, precisions, brevity };
        }
        let added = if let Smoothing::Add(value) = self.smoothing { value } else { 0.0 };
        // Each order without a match halves what the next one gets.
        let mut halved = 1.0;
        let mut orders = ORDERS;
        for (order, (precision, (correct, total))) in
            (1..).zip(precisions.iter_mut().zip(correct.into_iter().zip(total)))
        {
            let added = if order > 1 { added } else { 0.0 };
            let (correct, total) = (correct as f64 + added, total as f64 + added);
            if total == 0.0 {
                break;
            }
            if self.effective_order {
                orders = order;
            }
            *precision = match self.smoothing {
                _ if correct != 0.0 => 100.0 * correct / total,
                Smoothing::Exponential => {
                    halved *= 2.0;
                    100.0 / (halved * total)
                }
                Smoothing::Floor(value) => 100.0 * value / total,
                Smoothing::Add(_) | Smoothing::None => 0.0,
            };
        }
        let logarithm = |precision: &f64| if *precision == 0.0 { LOG_OF_ZERO } else { precision.ln() };
        let sum: f64 = precisions.iter().take(orders).map(logarithm).sum();
        BleuScore { score: brevity * (sum / orders as f64).exp(), counts, added, precisions, brevity }
    }
}

impl BleuCounts {
    /// Adds the counts of other sentences.
    pub fn add(&mut self, other: &Self) {
        self.hypothesis += other.hypothesis;
        self.reference += other.reference;
        for (sum, more) in self.correct.iter_mut().zip(other.correct) {
            *sum += more;
        }
        for (sum, more) in self.total.iter_mut().zip(other.total) {
            *sum += more;
        }
    }
}

impl BleuScore {
    /// The line that sacreBLEU prints.
    pub fn text(&self) -> String {
        let precisions: Vec<String> = self.precisions.iter().map(|precision| format!("{precision:.1}")).collect();
        let BleuCounts { hypothesis, reference, .. } = self.counts;
        let ratio = if reference == 0 { 0.0 } else { hypothesis as f64 / reference as f64 };
        format!(
            "BLEU = {:.2} {} (BP = {:.3} ratio = {ratio:.3} hyp_len = {hypothesis} ref_len = {reference})",
            self.score,
            precisions.join("/"),
            self.brevity
        )
    }

    /// What the score was computed from, under sacreBLEU's names.
    pub fn details(&self) -> Value {
        json!({
            "precisions": self.precisions,
            "bp": self.brevity,
            "sys_len": self.counts.hypothesis,
            "ref_len": self.counts.reference,
            "counts": self.smoothed(self.counts.correct),
            "totals": self.smoothed(self.counts.total),
        })
    }
}

impl BleuScore {
    /// Counts as sacreBLEU prints them, with what smoothing added to them.
    fn smoothed(&self, counts: [u64; ORDERS]) -> Vec<Value> {
        let with = |(order, count): (usize, u64)| match order {
            0 => json!(count),
            _ if self.added == 0.0 => json!(count),
            _ => json!(count as f64 + self.added),
        };
        counts.into_iter().enumerate().map(with).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORPUS: Bleu = Bleu::DEFAULT;

    #[test]
    fn nothing_in_common_nothing_there_and_everything() {
        let score = |hypothesis, reference| CORPUS.corpus([(hypothesis, reference)]);
        assert_eq!(score("", "a b c d").score, 0.0);
        assert_eq!(score("", "a b c d").brevity, 0.0);
        assert_eq!(
            score("", "").text(),
            "BLEU = 0.00 0.0/0.0/0.0/0.0 (BP = 1.000 ratio = 0.000 hyp_len = 0 ref_len = 0)"
        );
        assert_eq!(score("x y", "a b c d").score, 0.0);
        assert!((score("a b c d", "a b c d").score - 100.0).abs() < 1e-9);
        // Too short for four orders: the logarithm of 0 leaves nothing, but not for a sentence by itself.
        assert_eq!(score("a b", "a b").score, 0.0);
        let alone = Bleu { effective_order: true, ..CORPUS };
        assert!((alone.corpus([("a b", "a b")]).score - 100.0).abs() < 1e-9);
        assert!(alone.signature().contains("eff:yes"));
    }

    /// By hand: 1-grams 3 of 4, 2-grams 1 of 3, then 0 of 2 and 0 of 1, which count as 1/2 of one and 1/4 of one.
    #[test]
    fn orders_without_a_match_are_smoothed() {
        let found = CORPUS.corpus([("a b x c", "a b c d")]);
        let wanted = (75.0 * (100.0 / 3.0) * (50.0 / 2.0) * 25.0_f64).powf(0.25);
        assert!((found.score - wanted).abs() < 1e-9, "{found:?}");
        assert_eq!(found.counts.correct, [3, 1, 0, 0]);
    }

    /// By hand, from the same counts: 3 of 4, 1 of 3, 0 of 2, 0 of 1.
    #[test]
    fn every_smoothing_counts_missing_orders_in_its_way() {
        let score = |smoothing| Bleu { smoothing, ..CORPUS }.corpus([("a b x c", "a b c d")]);
        let found = score(Smoothing::Floor(0.1));
        let wanted = (75.0 * (100.0 / 3.0) * 5.0 * 10.0_f64).powf(0.25);
        assert!((found.score - wanted).abs() < 1e-9, "{found:?}");
        let found = score(Smoothing::Add(1.0));
        let wanted = (75.0 * 50.0 * (100.0 / 3.0) * 50.0_f64).powf(0.25);
        assert!((found.score - wanted).abs() < 1e-9, "{found:?}");
        assert_eq!(found.details()["totals"], json!([4, 4.0, 3.0, 2.0]));
        assert_eq!(score(Smoothing::None).score, 0.0);
        for (name, end) in Smoothing::NAMES.into_iter().zip(["exp", "floor[0.10]", "add-k[1.00]", "none"]) {
            let smoothing = Smoothing::named(name).unwrap();
            let signature = Bleu { smoothing, ..CORPUS }.signature();
            assert!(signature.contains(&format!("|smooth:{end}|")), "{signature}");
        }
    }

    /// Of the runs the most that one reference has, never the sum; of two lengths that are as near the shorter one.
    #[test]
    fn several_references() {
        let counts = CORPUS.counts("a a a b", &["a a c d e", "a b c"]);
        assert_eq!((counts.reference, counts.correct), (3, [3, 2, 0, 0]));
        assert_eq!(CORPUS.signed(Some(2), None), "nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0");
    }
}

//! BLEU (Papineni et al., 2002) as sacreBLEU computes it: exponential smoothing, orders 1 to 4.

use serde_json::{Value, json};

use super::tokenize::Tokenizer;
use super::{VERSION, case, matches, ngrams};

/// The longest run of words.
const ORDERS: usize = 4;
/// Stands for the logarithm of 0.
const LOG_OF_ZERO: f64 = -9_999_999_999.0;

/// What BLEU is computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bleu {
    /// Texts are made lower case first.
    pub lower: bool,
    /// How words are told.
    pub tokenizer: Tokenizer,
    /// Orders that the hypothesis is too short for are left out: for sentences by themselves.
    pub effective_order: bool,
}

/// Counts of some sentences, from which their score follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BleuCounts {
    /// Words of the hypotheses.
    pub hypothesis: u64,
    /// Words of the references.
    pub reference: u64,
    /// Runs of each order that the reference has too.
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
    /// The precision of each order in percent, smoothed.
    pub precisions: [f64; ORDERS],
    /// The brevity penalty.
    pub brevity: f64,
}

impl Bleu {
    /// How sacreBLEU names the settings.
    pub fn signature(&self) -> String {
        let effective = if self.effective_order { "yes" } else { "no" };
        let (case, tokenizer) = (case(self.lower), self.tokenizer.signature());
        format!("nrefs:1|case:{case}|eff:{effective}|tok:{tokenizer}|smooth:exp|version:{VERSION}")
    }

    /// The score of a corpus of hypotheses, each with its reference.
    pub fn corpus<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> BleuScore {
        let mut sum = BleuCounts::default();
        for (hypothesis, reference) in pairs {
            sum.add(&self.counts(hypothesis, reference));
        }
        self.score(sum)
    }

    /// The counts of one sentence.
    pub fn counts(&self, hypothesis: &str, reference: &str) -> BleuCounts {
        let words = |text: &str| match self.lower {
            true => self.tokenizer.words(&text.to_lowercase()),
            false => self.tokenizer.words(text),
        };
        let (hypothesis, reference) = (words(hypothesis), words(reference));
        let mut counts = BleuCounts {
            hypothesis: hypothesis.len() as u64,
            reference: reference.len() as u64,
            ..BleuCounts::default()
        };
        for (order, (correct, total)) in (1..).zip(counts.correct.iter_mut().zip(&mut counts.total)) {
            let ours = ngrams(&hypothesis, order);
            *correct = matches(&ours, &ngrams(&reference, order));
            *total = ours.values().sum();
        }
        counts
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
            return BleuScore { score: 0.0, counts, precisions, brevity };
        }
        // Each order without a match halves what the next one gets.
        let mut smoothing = 1.0;
        let mut orders = ORDERS;
        for (order, (precision, (correct, total))) in
            (1..).zip(precisions.iter_mut().zip(correct.into_iter().zip(total)))
        {
            if total == 0 {
                break;
            }
            if self.effective_order {
                orders = order;
            }
            *precision = if correct == 0 {
                smoothing *= 2.0;
                100.0 / (smoothing * total as f64)
            } else {
                100.0 * correct as f64 / total as f64
            };
        }
        let logarithm = |precision: &f64| if *precision == 0.0 { LOG_OF_ZERO } else { precision.ln() };
        let sum: f64 = precisions.iter().take(orders).map(logarithm).sum();
        BleuScore { score: brevity * (sum / orders as f64).exp(), counts, precisions, brevity }
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
            "counts": self.counts.correct,
            "totals": self.counts.total,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORPUS: Bleu = Bleu { lower: false, tokenizer: Tokenizer::V13a, effective_order: false };

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
}

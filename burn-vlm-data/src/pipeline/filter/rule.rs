//! Which score a row of a language must have.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The name of rows without a language.
pub const NO_LANGUAGE: &str = "-";

/// What decides within a language.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    /// A score.
    Threshold(f64),
    /// The score below which that part of the language's scores lie.
    Quantile(f64),
}

/// A rule for all languages, and for single ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cuts {
    /// Of languages that have none of their own.
    pub all: Option<Cut>,
    /// Of single languages, by the name that the rows give.
    pub languages: BTreeMap<String, Cut>,
    /// A score must be above its threshold; else it may be equal to it.
    pub strict: bool,
}

/// `0.85` or `de=0.85`.
#[derive(Debug, Clone, PartialEq)]
pub struct OfLanguage {
    /// The language; none for all.
    pub language: Option<String>,
    /// The number.
    pub value: f64,
}

impl FromStr for OfLanguage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (language, number) = match text.split_once('=') {
            Some((language, number)) if !language.trim().is_empty() => (Some(language.trim().to_owned()), number),
            Some(_) => return Err(format!("{text:?}: expected a number, or LANGUAGE=NUMBER")),
            None => (None, text),
        };
        let value = number.trim().parse().ok().filter(|value: &f64| value.is_finite());
        let value = value.ok_or_else(|| format!("{text:?}: expected a number such as 0.85, or LANGUAGE=NUMBER"))?;
        Ok(Self { language, value })
    }
}

impl Cuts {
    /// Rules of thresholds and quantiles.
    ///
    /// # Errors
    /// Two rules for the same, a quantile outside 0 to 1, no rule at all.
    pub fn new(thresholds: &[OfLanguage], quantiles: &[OfLanguage], strict: bool) -> Result<Self, String> {
        let mut cuts = Self { strict, ..Self::default() };
        let thresholds = thresholds.iter().map(|given| (given, Cut::Threshold(given.value)));
        let quantiles = quantiles.iter().map(|given| (given, Cut::Quantile(given.value)));
        for (OfLanguage { language, value }, cut) in thresholds.chain(quantiles) {
            if matches!(cut, Cut::Quantile(_)) && !(0.0..=1.0).contains(value) {
                return Err(format!("a quantile of {value}: expected a part from 0 (keeps all) to 1"));
            }
            let before = match language {
                Some(language) => cuts.languages.insert(language.clone(), cut),
                None => cuts.all.replace(cut),
            };
            if before.is_some() {
                let of = language.as_deref().unwrap_or("all languages");
                return Err(format!("two rules for {of}; keep one"));
            }
        }
        if cuts.all.is_none() && cuts.languages.is_empty() {
            return Err("no rule: give a threshold such as 0.85, or a quantile such as 0.5".to_owned());
        }
        Ok(cuts)
    }

    /// The threshold of each language, of the scores that its rows have.
    ///
    /// # Errors
    /// A language without a rule, a rule for a language that no row has.
    pub fn thresholds(&self, scores: &mut BTreeMap<String, Vec<f64>>) -> Result<BTreeMap<String, f64>, String> {
        if let Some(unknown) = self.languages.keys().find(|language| !scores.contains_key(*language)) {
            let there = scores.keys().map(String::as_str);
            let hint = burn_vlm_base::suggest::hint(unknown, there);
            return Err(format!("a rule for {unknown:?}, which no row has as its language{hint}"));
        }
        let mut thresholds = BTreeMap::new();
        for (language, scores) in scores {
            let Some(cut) = self.languages.get(language).copied().or(self.all) else {
                return Err(format!("no rule for {language:?}: give one for all languages, or one for it"));
            };
            let threshold = match cut {
                Cut::Threshold(threshold) => threshold,
                Cut::Quantile(part) => quantile(scores, part),
            };
            thresholds.insert(language.clone(), threshold);
        }
        Ok(thresholds)
    }

    /// Whether a score is enough.
    pub fn keeps(&self, score: f64, threshold: f64) -> bool {
        if self.strict { score > threshold } else { score >= threshold }
    }
}

/// The smallest score at or below which more than that part of the scores lie, so that with 0 the least score is its own threshold, and
/// with 0.5 of ten scores the sixth; of 1, and without scores, infinity: nothing is kept.
fn quantile(scores: &mut [f64], part: f64) -> f64 {
    scores.sort_by(f64::total_cmp);
    let rank = (part * scores.len() as f64).floor() as usize;
    scores.get(rank).copied().unwrap_or(f64::INFINITY)
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threshold(threshold) => write!(f, "threshold {threshold}"),
            Self::Quantile(part) => write!(f, "quantile {part}"),
        }
    }
}

impl Serialize for Cut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

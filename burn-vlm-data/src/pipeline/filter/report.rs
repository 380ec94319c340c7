//! What was kept and what was not, by language and reason, and what other thresholds would keep.

use super::{Cuts, Rejection};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Thresholds whose shares are told, beside each other since papers use each of them.
pub const SHARES: [f64; 4] = [0.75, 0.80, 0.85, 0.90];
/// Bars of a histogram.
pub(super) const BARS: usize = 40;

/// What became of the rows of a language.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LanguageFilter {
    /// Its rows.
    pub rows: u64,
    /// Those with a score.
    pub scored: u64,
    /// Those that are kept.
    pub kept: u64,
    /// Those that are not, by why.
    pub rejected: BTreeMap<Rejection, u64>,
    /// Its threshold; none where a quantile keeps nothing.
    pub threshold: Option<f64>,
    /// What decided.
    pub rule: String,
    /// Mean score.
    pub mean: Option<f64>,
    /// Median score (of an even number the upper of the middle two).
    pub median: Option<f64>,
    /// Parts of the scored rows that each of [`SHARES`] as threshold would keep, as the rule compares.
    pub shares: Vec<Option<f64>>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilterReport {
    /// The field with the score.
    pub score: String,
    /// Scores must be above the threshold, not equal to it.
    pub strict: bool,
    /// The thresholds of `shares`.
    pub thresholds: [f64; SHARES.len()],
    /// By language.
    pub languages: BTreeMap<String, LanguageFilter>,
    /// Of all together.
    pub all: LanguageFilter,
    /// Rows that cannot be read at all, which have no language.
    pub unreadable: u64,
    /// Where the bars of the histograms begin and end.
    pub range: (f64, f64),
    /// How many scores stand in each bar, by language.
    pub histograms: BTreeMap<String, Vec<u64>>,
}

impl FilterReport {
    /// Before anything is kept: `scores` by language, as they were read, with the threshold of each.
    pub fn new(
        score: &str,
        cuts: &Cuts,
        scores: &BTreeMap<String, Vec<f64>>,
        thresholds: &BTreeMap<String, f64>,
    ) -> Self {
        let of = |scores: &mut Vec<f64>, threshold: Option<f64>, rule: String| {
            scores.sort_by(f64::total_cmp);
            let count = scores.len() as f64;
            let share = |threshold: f64| {
                let kept = scores.iter().filter(|score| cuts.keeps(**score, threshold)).count();
                (!scores.is_empty()).then(|| kept as f64 / count)
            };
            LanguageFilter {
                rows: 0,
                scored: scores.len() as u64,
                kept: 0,
                rejected: BTreeMap::new(),
                threshold: threshold.filter(|threshold| threshold.is_finite()),
                rule,
                mean: (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / count),
                median: scores.get(scores.len() / 2).copied(),
                shares: SHARES.map(share).to_vec(),
            }
        };
        let rule = |language: &String| {
            cuts.languages.get(language).or(cuts.all.as_ref()).map_or_else(String::new, ToString::to_string)
        };
        let languages = scores.iter().map(|(language, scores)| {
            let filter = of(&mut scores.clone(), thresholds.get(language).copied(), rule(language));
            (language.clone(), filter)
        });
        let languages = languages.collect();
        let mut together: Vec<f64> = scores.values().flatten().copied().collect();
        let all = of(&mut together, None, String::new());
        // Scores of quality lie between 0 and 1, but not all do.
        let low = together.first().copied().unwrap_or(0.0).min(0.0);
        let high = together.last().copied().unwrap_or(1.0).max(1.0);
        let bar = |score: f64| (((score - low) / (high - low) * BARS as f64) as usize).min(BARS - 1);
        let histogram = |(language, scores): (&String, &Vec<f64>)| {
            let mut bars = vec![0; BARS];
            scores.iter().for_each(|score| bars[bar(*score)] += 1);
            (language.clone(), bars)
        };
        let histograms = scores.iter().map(histogram).collect();
        let (score, strict) = (score.to_owned(), cuts.strict);
        Self { score, strict, thresholds: SHARES, languages, all, unreadable: 0, range: (low, high), histograms }
    }

    /// Counts a row of a language.
    pub fn add(&mut self, language: &str, rejected: Option<Rejection>) {
        for counts in self.languages.get_mut(language).into_iter().chain([&mut self.all]) {
            counts.rows += 1;
            match rejected {
                None => counts.kept += 1,
                Some(reason) => *counts.rejected.entry(reason).or_default() += 1,
            }
        }
    }

    /// The columns of its table.
    pub(super) fn columns(&self) -> Vec<String> {
        let reasons = Rejection::ALL.iter().filter(|reason| self.all.rejected.contains_key(reason));
        let head = ["language", "rows", "kept", "share", "threshold", "mean", "median"].map(str::to_owned);
        let shares = SHARES.iter().map(|threshold| format!("at {threshold:.2}"));
        head.into_iter().chain(reasons.map(|reason| reason.as_str().replace('_', " "))).chain(shares).collect()
    }

    /// Its rows: each language, then all.
    pub(super) fn table(&self) -> Vec<Vec<String>> {
        let reasons: Vec<Rejection> =
            Rejection::ALL.into_iter().filter(|reason| self.all.rejected.contains_key(reason)).collect();
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        let percent =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{:.1} %", 100.0 * value));
        let row = |name: &str, of: &LanguageFilter| {
            let share = (of.rows > 0).then(|| of.kept as f64 / of.rows as f64);
            let mut row = vec![name.to_owned(), of.rows.to_string(), of.kept.to_string(), percent(share)];
            row.extend([number(of.threshold), number(of.mean), number(of.median)]);
            row.extend(reasons.iter().map(|reason| of.rejected.get(reason).copied().unwrap_or(0).to_string()));
            row.extend(of.shares.iter().map(|share| percent(*share)));
            row
        };
        let languages = self.languages.iter().map(|(name, of)| row(name, of));
        languages.chain([row("all", &self.all)]).collect()
    }
}

impl fmt::Display for FilterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<Vec<String>> = std::iter::once(self.columns()).chain(self.table()).collect();
        let columns = rows.first().map_or(0, Vec::len);
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &rows {
            let cell = |(at, text): (usize, &String)| {
                let width = widths[at];
                if at == 0 { format!("{text:width$}") } else { format!("{text:>width$}") }
            };
            writeln!(f, "{}", row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end())?;
        }
        if self.unreadable > 0 {
            writeln!(f, "{} rows cannot be read", self.unreadable)?;
        }
        Ok(())
    }
}

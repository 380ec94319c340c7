//! What became of rows that were scored, as `data score` tells it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use burn_vlm_data::source::Skip;
use burn_vlm_train::quality::Outcome;
use serde::Serialize;

/// Rows that cannot be read of which the place is told.
const TOLD: usize = 5;
/// Shares of the scores that are told.
const THRESHOLDS: [f32; 4] = [0.75, 0.80, 0.85, 0.90];

/// What became of the rows.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    /// All of them.
    pub(super) rows: u64,
    /// Those with a score.
    scored: u64,
    /// Sum of the scores.
    sum: f64,
    /// Those with a score at least as high as each of [`THRESHOLDS`].
    at_least: [u64; THRESHOLDS.len()],
    /// Those without one, by reason.
    rejected: BTreeMap<&'static str, u64>,
    /// Those that were scored by sentences.
    by_sentences: u64,
    /// Those of which the model did not see all.
    cut: u64,
    /// Tokens that it did not see: of translations, sources, references.
    lost: [u64; 3],
    /// Those that could not be read.
    unreadable: u64,
    /// Where the first of them are, and why.
    #[serde(skip)]
    first: Vec<String>,
}

impl Counts {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        let score = match outcome {
            Outcome::Rejected { reason, .. } => return self.add_rejected(reason.as_str()),
            Outcome::Scored(score) => score,
        };
        self.add_score(score.score);
        self.by_sentences += u64::from(score.sentences.is_some());
        self.cut += u64::from(!score.lost.is_nothing());
        let lost = [score.lost.translation, score.lost.source, score.lost.reference];
        self.lost.iter_mut().zip(lost).for_each(|(sum, lost)| *sum += lost as u64);
    }

    pub(super) fn add_score(&mut self, score: f32) {
        self.scored += 1;
        self.sum += f64::from(score);
        for (count, threshold) in self.at_least.iter_mut().zip(THRESHOLDS) {
            *count += u64::from(score >= threshold);
        }
    }

    pub(super) fn add_rejected(&mut self, reason: &'static str) {
        *self.rejected.entry(reason).or_default() += 1;
    }

    pub(super) fn unreadable(&mut self, skip: &Skip) {
        self.unreadable += 1;
        if self.first.len() < TOLD {
            self.first.push(skip.to_string());
        }
    }

    pub(super) fn tell(&self, path: &Path, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}: {} rows", path.display(), self.rows - self.unreadable)?;
        let percent = |count: u64| 100.0 * count as f64 / self.scored.max(1) as f64;
        let shares = THRESHOLDS.iter().zip(self.at_least);
        let shares: Vec<String> =
            shares.map(|(threshold, count)| format!("{threshold:.2} {:.1} %", percent(count))).collect();
        let mean = self.sum / self.scored.max(1) as f64;
        writeln!(out, "  scored        {}, mean {mean:.4}; at least {}", self.scored, shares.join(", "))?;
        let rejected: u64 = self.rejected.values().sum();
        let reasons: Vec<String> = self.rejected.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        writeln!(out, "  without score {rejected}{}{}", if rejected > 0 { ": " } else { "" }, reasons.join(", "))?;
        if self.by_sentences > 0 {
            writeln!(out, "  by sentences  {}", self.by_sentences)?;
        }
        if self.cut > 0 {
            let [translation, source, reference] = self.lost;
            writeln!(
                out,
                "  cut           {}: {source} tokens of the sources were not seen, {translation} of the translations, {reference} of the references",
                self.cut
            )?;
        }
        if self.unreadable > 0 {
            writeln!(out, "  unreadable    {}, the first:", self.unreadable)?;
            self.first.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
        }
        Ok(())
    }
}

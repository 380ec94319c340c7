//! What was compared, what was found, and what could not be compared.

use super::{Benchmarks, Fingerprint, Found, Reason};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What was looked at of a source or benchmark.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SideCounts {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Rows without any picture or video.
    pub without_pictures: u64,
    /// Pictures and videos whose bytes were read.
    pub pictures: u64,
    /// Pictures of one colour or nearly so, which are compared by their bytes alone.
    pub flat: u64,
    /// Rows of which something cannot be read.
    pub unreadable: u64,
}

impl SideCounts {
    /// None so far.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Counts a row.
    pub fn add(&mut self, row: &Fingerprint) {
        self.rows += 1;
        self.pictures += row.pictures.len() as u64;
        self.flat += row.pictures.iter().filter(|picture| picture.flat).count() as u64;
        self.unreadable += u64::from(!row.problems.is_empty());
        self.without_pictures += u64::from(row.pictures.is_empty() && row.problems.is_empty());
    }
}

/// A text that many rows of a benchmark share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommonText {
    /// Its letters alone.
    pub letters: String,
    /// Rows that have it.
    pub rows: u64,
}

/// What was found of a benchmark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BenchmarkCounts {
    /// What was looked at.
    #[serde(flatten)]
    pub side: SideCounts,
    /// Rows that have something in common with training.
    pub found: u64,
    /// The same by what it is; a row counts under each.
    pub by_reason: BTreeMap<Reason, u64>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OverlapReport {
    /// The training data.
    pub training: Vec<SideCounts>,
    /// Training rows that have something in common with a benchmark.
    pub training_found: u64,
    /// The benchmarks.
    pub benchmarks: Vec<BenchmarkCounts>,
    /// Pairs.
    pub pairs: u64,
    /// The same by what they share; a pair counts under each.
    pub by_reason: BTreeMap<Reason, u64>,
    /// Pairs that are not listed, since their training row has so many.
    pub unlisted: u64,
    /// Texts of the benchmarks that are too short to be compared.
    pub short_texts: u64,
    /// Texts that are not compared since many rows of a benchmark share them.
    pub common_texts: Vec<CommonText>,
    /// Of each row of a benchmark by what it was found.
    #[serde(skip)]
    rows: BTreeMap<usize, BTreeSet<Reason>>,
}

impl OverlapReport {
    /// Before any training row is looked up.
    pub fn new(benchmarks: &Benchmarks) -> Self {
        let mut sides: Vec<SideCounts> = benchmarks.names().iter().map(|name| SideCounts::new(name)).collect();
        benchmarks.rows().iter().for_each(|(number, row)| sides[*number].add(row));
        let counts = |side| BenchmarkCounts { side, found: 0, by_reason: BTreeMap::new() };
        Self {
            training: Vec::new(),
            training_found: 0,
            benchmarks: sides.into_iter().map(counts).collect(),
            pairs: 0,
            by_reason: BTreeMap::new(),
            unlisted: 0,
            short_texts: benchmarks.short_texts(),
            common_texts: benchmarks.common_texts().to_vec(),
            rows: BTreeMap::new(),
        }
    }

    /// Counts what was found of a training row.
    pub fn add(&mut self, benchmarks: &Benchmarks, found: &Found) {
        self.training_found += u64::from(!found.rows.is_empty());
        self.pairs += found.pairs.len() as u64 + found.unlisted;
        self.unlisted += found.unlisted;
        found.reasons.iter().for_each(|(reason, count)| *self.by_reason.entry(*reason).or_default() += count);
        for (number, reasons) in &found.rows {
            let known = self.rows.entry(*number).or_default();
            let benchmark = &mut self.benchmarks[benchmarks.rows()[*number].0];
            benchmark.found += u64::from(known.is_empty());
            for reason in reasons.iter().filter(|reason| known.insert(**reason)) {
                *benchmark.by_reason.entry(*reason).or_default() += 1;
            }
        }
    }
}

/// `bytes 3, text 1`
pub(super) fn by_reason(counts: &BTreeMap<Reason, u64>) -> String {
    let shown = counts.iter().map(|(reason, count)| format!("{} {count}", reason.as_str()));
    shown.collect::<Vec<_>>().join(", ")
}

fn side(f: &mut fmt::Formatter<'_>, counts: &SideCounts) -> fmt::Result {
    let SideCounts { name, rows, without_pictures, pictures, flat, unreadable } = counts;
    writeln!(f, "  {name:24} {rows} rows, {pictures} pictures")?;
    for (count, what) in [
        (without_pictures, "rows without pictures: compared by ids and texts"),
        (flat, "pictures of one colour or nearly so: compared by bytes"),
        (unreadable, "rows of which something cannot be read"),
    ] {
        if *count > 0 {
            writeln!(f, "  {:24} {count} {what}", "")?;
        }
    }
    Ok(())
}

impl fmt::Display for OverlapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "training")?;
        self.training.iter().try_for_each(|counts| side(f, counts))?;
        writeln!(f, "benchmarks")?;
        for BenchmarkCounts { side: counts, found, by_reason: reasons } in &self.benchmarks {
            side(f, counts)?;
            let share = 100.0 * *found as f64 / counts.rows.max(1) as f64;
            let reasons = if reasons.is_empty() { String::new() } else { format!(": {}", by_reason(reasons)) };
            writeln!(f, "  {:24} {found} rows ({share:.1} %) stand in training{reasons}", "")?;
        }
        let all: u64 = self.training.iter().map(|counts| counts.rows).sum();
        let found = self.training_found;
        writeln!(f, "{} pairs, of {found} of {all} training rows", self.pairs)?;
        if !self.by_reason.is_empty() {
            writeln!(f, "  by {}", by_reason(&self.by_reason))?;
        }
        if self.unlisted > 0 {
            writeln!(f, "  {} of them are not listed, their training rows have so many", self.unlisted)?;
        }
        if self.short_texts > 0 {
            writeln!(f, "  {} texts of the benchmarks are too short to be compared", self.short_texts)?;
        }
        if let Some(first) = self.common_texts.first() {
            let (count, rows, text) = (self.common_texts.len(), first.rows, &first.letters);
            let text = burn_vlm_base::shorten::shorten(text);
            writeln!(
                f,
                "  {count} texts are shared by many rows of a benchmark and not compared, {rows} rows have {text}"
            )?;
        }
        Ok(())
    }
}

//! `skipped.jsonl`: every record that was left out, once; and the limit above which a run stops.
//!
//! The file is its own state: a resumed run reads it, and what the killed run had met already is not listed again.

use super::skip::{Skip, SkipKind};
use burn_vlm_base::files::FileError;
use burn_vlm_base::jsonl::JsonlWriter;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// When too much is left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SkipLimit {
    /// The largest part of the samples drawn so far, from 0 to 1.
    pub fraction: f64,
    /// As many are let pass in any case, so that one bad sample among the first ten stops nothing.
    pub min_count: u64,
}

impl Default for SkipLimit {
    /// 1 %, and 10 in any case.
    fn default() -> Self {
        Self { fraction: 0.01, min_count: 10 }
    }
}

/// More is left out than allowed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "{} records cannot be used and were left out of {drawn} samples (in the place of each another is drawn, which may be such a one, too); \
     allowed are {:.2} % of the samples, or {} records where that is more: {summary}{}",
    summary.total(),
    limit.fraction * 100.0,
    limit.min_count,
    listed.as_ref().map_or(String::new(), |path| format!("; all are listed in {}", path.display()))
)]
pub struct TooManySkipped {
    /// Samples drawn so far.
    pub drawn: u64,
    /// The limit.
    pub limit: SkipLimit,
    /// What was left out, by reason.
    pub summary: SkipSummary,
    /// The file that lists them.
    pub listed: Option<PathBuf>,
}

/// A log that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SkipLogError {
    /// Too much is left out.
    #[error(transparent)]
    TooMany(#[from] TooManySkipped),
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What was left out, by reason, with an example of each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SkipSummary {
    /// Number of records and the first of them.
    pub reasons: BTreeMap<SkipKind, (u64, String)>,
}

impl SkipSummary {
    /// Number of records left out.
    pub fn total(&self) -> u64 {
        self.reasons.values().map(|(count, _)| count).sum()
    }

    /// Adds a record.
    pub fn add(&mut self, skip: &Skip) {
        self.reasons.entry(skip.reason).or_insert_with(|| (0, skip.to_string())).0 += 1;
    }
}

impl fmt::Display for SkipSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (reason, (count, example))) in self.reasons.iter().enumerate() {
            write!(f, "{}{count} x {reason} (first: {example})", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// The records that are left out. Threads may share it.
#[derive(Debug)]
pub struct SkipLog {
    path: Option<PathBuf>,
    limit: SkipLimit,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<JsonlWriter>,
    /// Source and number of the records that are listed.
    known: HashSet<(String, u64)>,
    summary: SkipSummary,
    drawn: u64,
    /// Records of `summary` that were found when the sources were opened, and so were never drawn.
    never_drawn: u64,
}

impl SkipLog {
    /// A log that is not written to a file.
    pub fn in_memory(limit: SkipLimit) -> Self {
        Self { path: None, limit, state: Mutex::default() }
    }

    /// Opens the file, or makes it. What it lists already counts; half a line that a killed run left at its end is removed.
    ///
    /// # Errors
    /// A file that cannot be read or written, or has another content.
    pub fn open(path: impl AsRef<Path>, limit: SkipLimit) -> Result<Self, SkipLogError> {
        let path = path.as_ref();
        let mut state = State::default();
        let file = JsonlWriter::resume(path, |skip: &Skip| {
            state.summary.add(skip);
            state.known.insert((skip.source.clone(), skip.record));
            true
        })?;
        state.file = Some(file);
        Ok(Self { path: Some(path.to_owned()), limit, state: Mutex::new(state) })
    }

    /// Notes the records that were found unusable among `records` when their sources were opened; these will not be drawn.
    ///
    /// # Errors
    /// They are more than the limit allows, or the file cannot be written.
    pub fn record_unread(&self, records: u64, skips: Vec<Skip>) -> Result<(), SkipLogError> {
        let mut state = self.lock();
        let found = skips.len() as u64;
        state.never_drawn += found;
        self.list(&mut state, skips)?;
        self.check(&state, found, records)
    }

    /// Notes what was left out until `drawn` samples of the run (or resumed runs) were drawn.
    ///
    /// # Errors
    /// More is left out than the limit allows, or the file cannot be written.
    pub fn record(&self, drawn: u64, skips: impl IntoIterator<Item = Skip>) -> Result<(), SkipLogError> {
        let mut state = self.lock();
        state.drawn = state.drawn.max(drawn);
        if !self.list(&mut state, skips)? {
            return Ok(());
        }
        let skipped = state.summary.total().saturating_sub(state.never_drawn);
        self.check(&state, skipped, state.drawn)
    }

    /// Lists those that are new; whether there were any.
    fn list(&self, state: &mut State, skips: impl IntoIterator<Item = Skip>) -> Result<bool, SkipLogError> {
        let mut any = false;
        for skip in skips {
            if state.known.insert((skip.source.clone(), skip.record)) {
                any = true;
                state.summary.add(&skip);
                if let Some(file) = &mut state.file {
                    file.append(&skip)?;
                }
            }
        }
        Ok(any)
    }

    fn check(&self, state: &State, skipped: u64, drawn: u64) -> Result<(), SkipLogError> {
        if skipped > self.limit.min_count && skipped as f64 > self.limit.fraction * drawn as f64 {
            let summary = state.summary.clone();
            return Err(TooManySkipped { drawn, limit: self.limit, summary, listed: self.path.clone() }.into());
        }
        Ok(())
    }

    /// What was left out so far.
    pub fn summary(&self) -> SkipSummary {
        self.lock().summary.clone()
    }

    /// A panic between two statements leaves counts that are still counts.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(record: u64, reason: SkipKind) -> Skip {
        let place = format!("line {record}");
        Skip { source: "s".into(), record, file: "f".into(), place, id: None, reason, detail: "bad".into() }
    }

    #[test]
    fn stops_above_the_limit_with_a_summary() {
        let log = SkipLog::in_memory(SkipLimit { fraction: 0.1, min_count: 2 });
        log.record(3, [skip(0, SkipKind::NoAnswer), skip(1, SkipKind::MissingImage)]).unwrap();
        // The same records again, in the next epoch, are no more bad records.
        log.record(20, [skip(0, SkipKind::NoAnswer), skip(1, SkipKind::MissingImage)]).unwrap();
        log.record(30, [skip(2, SkipKind::NoAnswer)]).unwrap();
        let error = log.record(31, [skip(3, SkipKind::NoAnswer)]).unwrap_err().to_string();
        for part in [
            "4 records cannot be used",
            "of 31 samples",
            "10.00 %",
            "3 x no_answer (first: f, line 0: no_answer: bad)",
            "1 x missing_image",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let log = SkipLog::in_memory(SkipLimit::default());
        for record in 0..10 {
            log.record(record + 1, [skip(record, SkipKind::NoAnswer)]).unwrap();
        }
        assert!(log.record(11, [skip(10, SkipKind::NoAnswer)]).is_err());
        assert!(log.record(1101, [skip(11, SkipKind::NoAnswer)]).is_err());
        assert!(log.record(1300, [skip(12, SkipKind::NoAnswer)]).is_ok());
    }

    /// Records without a language are never drawn: they count against all records, and not against the few drawn so far.
    #[test]
    fn what_is_never_drawn_counts_apart() {
        let bad =
            |from: u64| (from..from + 15).map(|record| skip(record, SkipKind::UnknownLanguage)).collect::<Vec<_>>();
        let log = SkipLog::in_memory(SkipLimit::default());
        log.record_unread(2000, bad(0)).unwrap();
        log.record(4, [skip(100, SkipKind::NoAnswer)]).unwrap();
        assert_eq!(log.summary().total(), 16);
        let error = SkipLog::in_memory(SkipLimit::default()).record_unread(1400, bad(0)).unwrap_err().to_string();
        assert!(error.contains("15 records") && error.contains("of 1400 samples"), "{error}");
    }

    #[test]
    fn the_file_is_the_state() {
        let path = tempfile::tempdir().unwrap().keep().join("skipped.jsonl");
        let log = SkipLog::open(&path, SkipLimit::default()).unwrap();
        log.record(5, [skip(1, SkipKind::NoAnswer), skip(2, SkipKind::PathEscape)]).unwrap();
        drop(log);
        let whole = std::fs::read_to_string(&path).unwrap();
        assert!(
            whole.starts_with(r#"{"source":"s","record":1,"file":"f","place":"line 1","reason":"no_answer","#),
            "{whole}"
        );
        // Killed while it wrote the third.
        std::fs::write(&path, format!("{whole}{{\"source\":\"s\",\"rec")).unwrap();
        let log = SkipLog::open(&path, SkipLimit::default()).unwrap();
        assert_eq!(log.summary().total(), 2);
        log.record(6, [skip(2, SkipKind::PathEscape), skip(3, SkipKind::NoAnswer)]).unwrap();
        let lines = std::fs::read_to_string(&path).unwrap();
        assert_eq!(lines.lines().count(), 3);
        std::fs::write(&path, "something else\n").unwrap();
        assert!(SkipLog::open(&path, SkipLimit::default()).unwrap_err().to_string().contains("line 1"));
    }
}

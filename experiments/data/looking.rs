//! The long part of `data inspect`: one source with a bar, and the file that lists what cannot be used.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn_vlm_data::source::inspect::{InspectOptions, Inspection, Reader, Step, inspect_with};
use burn_vlm_data::source::{Skip, Source};
use burn_vlm_train::ablation::{FileError, Reporter, create_dir_all, show_duration};

use crate::AnyError;

/// `skipped.jsonl`, as training writes it.
pub(super) struct SkippedFile {
    path: PathBuf,
    file: BufWriter<File>,
    records: u64,
}

impl SkippedFile {
    /// Begins the file anew.
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            create_dir_all(folder)?;
        }
        let file = File::create(path).map_err(FileError::io("write", path))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), records: 0 })
    }

    fn add(&mut self, skipped: &[Skip]) -> io::Result<()> {
        for skip in skipped {
            serde_json::to_writer(&mut self.file, skip)?;
            self.file.write_all(b"\n")?;
            self.records += 1;
        }
        Ok(())
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> FileError {
        FileError::io("write", &self.path)
    }

    /// Ends the file; a line that says what is in it.
    pub(super) fn finish(mut self) -> Result<String, FileError> {
        self.file.flush().map_err(self.failed())?;
        Ok(format!("records that cannot be used: {} ({})", self.path.display(), self.records))
    }
}

/// Looks at a source; what cannot be used goes to `skipped` as it is found.
pub(super) fn look(
    source: &Arc<Source>,
    reader: Option<&Arc<Reader>>,
    options: InspectOptions,
    mut skipped: Option<&mut SkippedFile>,
    reporter: &Reporter,
) -> Result<Inspection, AnyError> {
    let total = source.len().min(options.max_records.unwrap_or(u64::MAX));
    let bar = reporter.bar(&source.config().name, total);
    let began = Instant::now();
    let mut failed = None;
    let inspection = inspect_with(source, reader, options, |step| {
        bar.set(step.looked_at, rate(&step, began.elapsed()));
        if let Some(file) = &mut skipped
            && let Err(error) = file.add(step.skipped)
        {
            failed = Some(file.failed()(error));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(inspection),
    }
}

/// Records a second and the time that is left.
fn rate(step: &Step<'_>, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-3);
    let left = elapsed.mul_f64((step.records - step.looked_at) as f64 / step.looked_at.max(1) as f64);
    format!("records, {:.0} a second, {} left", step.looked_at as f64 / seconds, show_duration(left))
}

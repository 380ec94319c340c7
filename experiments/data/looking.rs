//! The long part of `data inspect`: one source with a bar.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn_vlm_base::jsonl::JsonlWriter;
use burn_vlm_base::progress::{Reporter, show_duration};
use burn_vlm_data::source::Source;
use burn_vlm_data::source::inspect::{InspectOptions, Inspection, Reader, Step, inspect_with};

use crate::AnyError;

/// Looks at a source; what cannot be used goes to `skipped` as it is found.
pub(super) fn look(
    source: &Arc<Source>,
    reader: Option<&Arc<Reader>>,
    options: InspectOptions,
    mut skipped: Option<&mut JsonlWriter>,
    reporter: &Reporter,
) -> Result<Inspection, AnyError> {
    let total = source.len().min(options.max_records.unwrap_or(u64::MAX));
    let bar = reporter.bar(&source.config().name, total);
    let began = Instant::now();
    let mut failed = None;
    let inspection = inspect_with(source, reader, options, |step| {
        bar.set(step.looked_at, rate(&step, began.elapsed()));
        if let Some(file) = &mut skipped
            && let Err(error) = step.skipped.iter().try_for_each(|skip| file.append(skip))
        {
            failed = Some(error);
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

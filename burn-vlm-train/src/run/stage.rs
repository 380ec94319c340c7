//! The data of a stage with a mixture: its sources opened, what cannot be used listed, the same data on a second call.

use std::path::Path;
use std::sync::Arc;

use burn_vlm_base::files::{read_json_if_there, write_json_atomic};
use burn_vlm_data::mixture::{MixtureConfig, Plan};
use burn_vlm_data::source::{Mixed, SkipLog, StreamOptions, StreamState, open_mixture};

use crate::checkpoint;
use crate::error::{Result, TrainError};
use crate::recipe::{MixtureRecipe, StageRecipe};

/// An open mixture with the stage that it decides the length of.
pub struct MixtureStage {
    /// The stage, `steps` set.
    pub stage: StageRecipe,
    /// The stream.
    pub mixed: Arc<Mixed>,
    /// What is drawn of which source in which language.
    pub plan: Plan,
    /// What is left out.
    pub log: Arc<SkipLog>,
    /// Hash of what the stream is made of.
    pub fingerprint: String,
}

/// Opens the mixture of a stage. `skipped.jsonl` and `data.json` go to `folder`; if `data.json` is there already, the data must
/// still be what it says.
///
/// # Errors
/// A mixture file or a source that cannot be opened, data that has changed since, too many records without a language.
pub fn open_mixture_stage(
    name: &str,
    stage: &StageRecipe,
    mixture: &MixtureRecipe,
    base: &Path,
    folder: &Path,
    seed: u64,
) -> Result<MixtureStage> {
    let place = format!("[stage.{name}.mixture]");
    let config = MixtureConfig::from_file(base.join(&mixture.file)).map_err(TrainError::within(&place))?;
    let options = StreamOptions { seed, shuffle_bytes: mixture.shuffle_megabytes << 20 };
    let opened = open_mixture(&config, mixture.limits, options).map_err(TrainError::within(&place))?;
    let mixed = opened.mixed;
    let file = folder.join("data.json");
    // Data that nothing has been trained on may change.
    let begun = !checkpoint::list(folder)?.is_empty();
    let before: Option<StreamState> = if begun { read_json_if_there(&file)? } else { None };
    if let Some(before) = &before {
        mixed.resume(before).map_err(|error| {
            TrainError::invalid(
                &file,
                format!("the data of stage {name} is not what it was when this run began: {error}"),
            )
        })?;
    }
    let state = mixed.state(0);
    if before.is_none() {
        write_json_atomic(&file, &state)?;
    }
    let listed = folder.join("skipped.jsonl");
    if !begun && listed.exists() {
        std::fs::remove_file(&listed).map_err(|e| TrainError::io("cannot remove", &listed, e))?;
    }
    let log = SkipLog::open(folder.join("skipped.jsonl"), mixture.skip_limit).map_err(TrainError::within(&place))?;
    let records = mixed.sources().iter().map(|source| source.len()).sum();
    log.record_unread(records, opened.skipped).map_err(TrainError::within(&place))?;
    let steps = stage.steps_over(name, mixed.epoch_len())?;
    let text = serde_json::to_string(&state).map_err(TrainError::within(&place))?;
    let fingerprint = blake3::hash(text.as_bytes()).to_hex().to_string();
    Ok(MixtureStage {
        stage: StageRecipe { steps, ..stage.clone() },
        mixed,
        plan: opened.plan,
        log: Arc::new(log),
        fingerprint,
    })
}

impl MixtureStage {
    /// What is drawn, a line each.
    pub fn describe(&self) -> Vec<String> {
        let sources = self.mixed.sources();
        let records: u64 = sources.iter().map(|source| source.len()).sum();
        let epoch = self.mixed.epoch_len();
        let samples = (self.stage.steps * self.stage.samples_per_step()) as u64;
        let languages = self.plan.by_language().into_iter().map(|(language, count)| {
            let tag = language.map_or("no language", |language| language.tag());
            format!("{tag} {:.1} %", count as f64 / epoch.max(1) as f64 * 100.0)
        });
        vec![
            format!(
                "{} sources with {records} records; an epoch draws {epoch}, the stage {samples} ({:.2} epochs)",
                sources.len(),
                samples as f64 / epoch.max(1) as f64
            ),
            format!("languages: {}", languages.collect::<Vec<_>>().join(", ")),
        ]
    }
}

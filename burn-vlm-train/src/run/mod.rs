//! Training by a recipe: its stages one after the other on one model, from parts to a Hugging Face folder.
//!
//! ```text
//! out/
//!   recipe.toml                   what the run is of; another recipe is refused
//!   stages/1-align/log.jsonl      losses, rates, tokens; step-00000500/ ... are checkpoints
//!   stages/1-align/data.json      what the stream of a mixture was made of; changed data is refused
//!   stages/1-align/skipped.jsonl  every record that was left out
//!   loss.svg                      curves of the stages
//!   model/                        weights, config, tokenizer, template, image processor
//! ```
//!
//! The same call goes on where a killed run stopped, bit for bit.

mod curve;
pub mod estimate;
mod folder;
mod stage;

pub use folder::save_model;
pub use stage::{MixtureStage, open_mixture_stage};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use burn_vlm::vlm::Vlm;
use burn_vlm_base::files::write_atomic;
use burn_vlm_base::lock::{Attempt, FileLock};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::image::ImageProcessorConfig;
use burn_vlm_data::random::mix;

use self::folder::{claim, part_state};
use crate::assemble::{Assembled, assemble, part_folder};
use crate::error::{Result, TrainError};
use crate::log::StepLog;
use crate::objective::{SourceObjective, SourceStage, TextObjective};
use crate::optim::LearningRates;
use crate::params::list_params;
use crate::pictures::{grid_pinpoints, processor_of};
use crate::pretrain::Context;
use crate::recipe::{ObjectiveKind, Recipe, StageRecipe};
use crate::study::{stage_conversations, stage_objective};
use crate::trainer::{Objective, StageRun, train_stage};

/// What a run needs besides its recipe.
pub struct TrainRun<'a> {
    /// The embedded corpus (for stages with `data`), device and worker threads.
    pub context: &'a Context,
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Where its relative paths begin.
    pub base: &'a Path,
    /// Folder of parts.
    pub parts: &'a Path,
    /// More devices, with autodiff, that share each step with the context's.
    pub replicas: &'a [Device],
    /// Folder of the results.
    pub out: &'a Path,
    /// Where to tell how far it is.
    pub reporter: &'a Reporter,
}

/// What a finished run has.
#[derive(Debug, Clone)]
pub struct Trained {
    /// Name and log of each stage.
    pub stages: Vec<(String, Vec<StepLog>)>,
    /// Folder of the model.
    pub model: PathBuf,
}

/// Runs all stages of a recipe and writes the model.
///
/// # Errors
/// Parts or sources that cannot be opened, a folder that holds another run, and all that can go wrong in training.
pub fn train(run: &TrainRun<'_>) -> Result<Trained> {
    let TrainRun { context, recipe, out, reporter, .. } = run;
    fs::create_dir_all(out).map_err(|e| TrainError::io("cannot create", out, e))?;
    let _lock = match FileLock::try_take(&out.join(".lock"))? {
        Attempt::Taken(lock) => lock,
        Attempt::Busy(who) => {
            return Err(TrainError::invalid(out, format!("a run is under way in this folder ({who})")));
        }
    };
    claim(out, recipe)?;
    let device = context.device.clone().autodiff();
    let [encoder, backbone] = [&recipe.model.encoder, &recipe.model.backbone].map(|name| part_folder(name, run.parts));
    let (encoder, backbone) = (encoder?, backbone?);
    let mut assembled = assemble(&recipe.model, &encoder, &backbone, recipe.seed, &device)?;
    recipe.compute.apply(&mut assembled.model);
    let mut opened = run.open_stages(&assembled)?;
    let made_of = (&recipe.model, recipe.seed, recipe.compute, part_state(&encoder)?, part_state(&backbone)?);
    let mut fingerprint = format!("{made_of:?}");
    let mut stages = Vec::with_capacity(recipe.stages.len());
    for (number, name) in recipe.stages.iter().enumerate() {
        let stage = recipe.stage.get(name).ok_or_else(|| TrainError::Recipe(format!("there is no [stage.{name}]")))?;
        let folder = stage_folder(out, number, name);
        fingerprint = blake3::hash(format!("{fingerprint} {number} {stage:?}").as_bytes()).to_hex().to_string();
        let at = StageAt {
            name,
            stage,
            folder: &folder,
            fingerprint: &fingerprint,
            seed: mix(recipe.seed, number as u64 + 1),
        };
        let (trained, log) = run.stage(&at, opened.remove(&number), assembled, &device)?;
        assembled = trained;
        stages.push((name.clone(), log));
        write_atomic(&out.join("loss.svg"), curve::draw(&stages).as_bytes())?;
    }
    let model = out.join("model");
    save_model(&assembled, &saved_processor(&assembled)?, &backbone, &model)?;
    reporter.line(&format!("model written to {}", model.display()));
    Ok(Trained { stages, model })
}

/// The folder of a stage, by its place in the run.
pub fn stage_folder(out: &Path, number: usize, name: &str) -> PathBuf {
    out.join("stages").join(format!("{}-{name}", number + 1))
}

/// How the trained model wants its pictures: tiled, where it was made for tiles.
fn saved_processor(assembled: &Assembled) -> Result<ImageProcessorConfig> {
    let config = &assembled.model.config;
    let mut processor = processor_of(&assembled.encoder, config.vision_config.image_size())?;
    if config.is_tiled() {
        processor.image_grid_pinpoints = Some(grid_pinpoints(config));
        processor.image_processor_type = Some("LlavaNextImageProcessor".into());
    }
    Ok(processor)
}

/// The data of a stage on sources, and the loss on it.
type SourcesOpen = (MixtureStage, Arc<SourceObjective>);

/// A stage and where it stands.
struct StageAt<'a> {
    name: &'a str,
    stage: &'a StageRecipe,
    folder: &'a Path,
    fingerprint: &'a str,
    seed: u64,
}

impl TrainRun<'_> {
    /// Opens the data of every stage, by the stage's number, and checks what can be checked of it: a mistake in the last stage is
    /// told before the first has been trained.
    fn open_stages(&self, assembled: &Assembled) -> Result<BTreeMap<usize, SourcesOpen>> {
        let processor = processor_of(&assembled.encoder, assembled.model.config.vision_config.image_size())?;
        let mut opened = BTreeMap::new();
        for (number, name) in self.recipe.stages.iter().enumerate() {
            let Some(stage) = self.recipe.stage.get(name) else { continue };
            let params = match stage.objective {
                ObjectiveKind::Text => list_params(&assembled.model.language_model),
                _ => list_params(&assembled.model),
            };
            LearningRates::new(&stage.train)?.check(&params)?;
            let folder = stage_folder(self.out, number, name);
            fs::create_dir_all(&folder).map_err(|e| TrainError::io("cannot create", &folder, e))?;
            let Some(mixture) = &stage.mixture else { continue };
            let seed = mix(self.recipe.seed, number as u64 + 1);
            let data = open_mixture_stage(name, stage, mixture, self.base, &folder, seed)?;
            let of = SourceStage { stage: &data.stage, mixture, assembled, processor: &processor, seed };
            let objective = Arc::new(SourceObjective::new(data.mixed.clone(), data.log.clone(), &of)?);
            // A first sample tells whether mask, template and lengths fit the data at all.
            objective.item(0)?;
            opened.insert(number, (data, objective));
        }
        Ok(opened)
    }

    /// Trains a stage. The model is moved in and out: a second handle on its parameters would double them for as long as it lives.
    fn stage(
        &self,
        at: &StageAt<'_>,
        sources: Option<SourcesOpen>,
        mut assembled: Assembled,
        device: &Device,
    ) -> Result<(Assembled, Vec<StepLog>)> {
        if let Some((opened, objective)) = sources {
            opened.describe().iter().for_each(|line| self.reporter.line(&format!("{}: {line}", at.name)));
            let fingerprint = format!("{} {}", at.fingerprint, opened.fingerprint);
            let run = self.stage_run(at, &opened.stage, &fingerprint, device);
            return train_vlm(&run, objective, assembled);
        }
        let run = self.stage_run(at, at.stage, at.fingerprint, device);
        match at.stage.objective {
            ObjectiveKind::Vlm => {
                let objective = stage_objective(self.context, self.recipe, at.stage, &assembled, at.seed)?;
                train_vlm(&run, objective, assembled)
            }
            ObjectiveKind::Text => {
                let conversations = stage_conversations(self.context, self.recipe, at.stage, &assembled, at.seed)?;
                let objective = Arc::new(TextObjective::new(conversations));
                let (language_model, result) = train_stage(&run, objective, assembled.model.language_model)?;
                assembled.model.language_model = language_model;
                Ok((assembled, result.log))
            }
            ObjectiveKind::Siglip | ObjectiveKind::Clip => Err(TrainError::Recipe(format!(
                "[stage.{}]: a contrastive objective trains an encoder; describe it under [part.*]",
                at.name
            ))),
        }
    }

    fn stage_run<'b>(
        &'b self,
        at: &StageAt<'b>,
        stage: &'b StageRecipe,
        fingerprint: &'b str,
        device: &'b Device,
    ) -> StageRun<'b> {
        StageRun {
            name: at.name,
            recipe: stage,
            folder: at.folder,
            fingerprint,
            device,
            replicas: self.replicas,
            workers: self.context.workers,
            reporter: self.reporter,
        }
    }
}

/// A stage that trains the whole VLM, or what the recipe names of it.
fn train_vlm<O: Objective<Model = Vlm>>(
    run: &StageRun<'_>,
    objective: Arc<O>,
    mut assembled: Assembled,
) -> Result<(Assembled, Vec<StepLog>)> {
    let model = assembled.model.with_bypassed_experts(run.recipe.bypass_experts);
    let (model, result) = train_stage(run, objective, model)?;
    assembled.model = model;
    Ok((assembled, result.log))
}

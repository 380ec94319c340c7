//! What one cell of a study does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_vlm::checkpoint::TensorSource;
use burn_vlm::vlm::Vlm;
use burn_vlm_base::files::write_atomic;
use burn_vlm_base::jsonl::write_jsonl_atomic;
use burn_vlm_base::progress::Reporter;
use serde_json::json;

use super::banks::{BankKey, bank, scored_pictures, training_pictures};
use super::questions::{Questions, questions};
use super::stage::{stage_conversations, vlm_objective};
use crate::ablation::{Cell, CellJob, Inputs, JobError, PartStore, Provenance, hash_table};
use crate::analysis::Probe;
use crate::assemble::{assemble, part_folder, tower_is_frozen};
use crate::error::{Result, TrainError};
use crate::eval::{Prediction, Scorer, captions, cloze, lettered, yes_no};
use crate::features::FeatureBank;
use crate::objective::{TextObjective, VisualSource};
use crate::pictures::Pictures;
use crate::pretrain::{Context, part_fingerprint, pretrain_part};
use crate::recipe::{EvaluationRecipe, ObjectiveKind, Recipe};
use crate::run::save_model;
use crate::trainer::{StageRun, train_stage};

/// Raised when the same recipe gives other results than before.
const VERSION: u32 = 1;

/// Where a study finds and keeps what its cells share.
#[derive(Debug, Clone)]
pub struct StudyInputs {
    /// Folder of pretrained parts.
    pub parts: PathBuf,
    /// Folder of what is made on the way and shared by cells: features, parts that are pretrained in the study.
    pub shared: PathBuf,
    /// Pretrain the parts in the study instead of reading them from `parts`.
    pub from_scratch: bool,
}

/// Trains and evaluates a VLM by the cell's recipe.
pub struct VlmJob {
    context: Context,
    inputs: StudyInputs,
    store: PartStore,
    /// Kept with each cell: command, commit, device.
    origin: serde_json::Value,
}

/// One cell's recipe, read and checked.
struct Read {
    recipe: Recipe,
    evaluation: EvaluationRecipe,
}

impl VlmJob {
    /// A job on a device, with its shared folder.
    pub fn new(context: Context, inputs: StudyInputs) -> Self {
        let store = PartStore::new(&inputs.shared);
        Self { context, inputs, store, origin: serde_json::Value::Null }
    }

    /// Notes with each cell by what command, at which commit and on which device it was made.
    pub fn with_origin(mut self, origin: &Provenance, device: &str) -> Self {
        self.origin = json!({
            "command": origin.command_text(),
            "commit": origin.commit.to_string(),
            "device": origin.device_text(device),
        });
        self
    }

    fn read(&self, cell: &Cell) -> Result<Read> {
        let recipe = Recipe { seed: cell.seed, ..Recipe::from_table(cell.recipe.clone())? };
        let evaluation = EvaluationRecipe::from_table(cell.evaluation.clone())?;
        Ok(Read { recipe, evaluation })
    }

    /// The folder of a part, pretrained here if the study starts from scratch.
    fn part(&self, recipe: &Recipe, name: &str, reporter: &Reporter) -> Result<PathBuf> {
        if !self.inputs.from_scratch {
            return part_folder(name, &self.inputs.parts);
        }
        let key = part_fingerprint(recipe, name)?;
        self.store
            .get_or_make(&key, name, reporter, |making| {
                pretrain_part(&self.context, recipe, name, &making.work(), &making.folder(), reporter)
                    .map_err(Into::into)
            })
            .map_err(|e| TrainError::Data(e.to_string()))
    }

    /// Hash of what a part is, without making it.
    fn part_hash(&self, recipe: &Recipe, name: &str) -> Result<String> {
        if self.inputs.from_scratch {
            return part_fingerprint(recipe, name);
        }
        hash_folder(&part_folder(name, &self.inputs.parts)?)
    }

    fn work(&self, cell: &Cell, folder: &Path, reporter: &Reporter) -> Result<serde_json::Value> {
        let Read { recipe, evaluation } = self.read(cell)?;
        let device = self.context.device.clone().autodiff();
        let encoder = self.part(&recipe, &recipe.model.encoder, reporter)?;
        let backbone = self.part(&recipe, &recipe.model.backbone, reporter)?;
        let mut assembled = assemble(&recipe.model, &encoder, &backbone, recipe.seed, &device)?;
        recipe.compute.apply(&mut assembled.model);
        let (tokenizer, template) = (assembled.tokenizer.clone(), assembled.template.clone());
        let size = assembled.model.config.vision_config.image_size();
        let pictures = Arc::new(Pictures::for_encoder(self.context.corpus.clone(), &encoder, size)?);
        let stages = || recipe.stages.iter().filter_map(|name| recipe.stage.get(name).map(|stage| (name, stage)));
        let frozen = tower_is_frozen(stages().map(|(_, stage)| stage));
        let encoder_hash = hash_folder(&encoder)?;
        let shared_bank = |model: &Vlm, views: usize| -> Result<Arc<FeatureBank>> {
            let which = match views {
                0 => scored_pictures(&self.context.corpus),
                _ => training_pictures(&self.context.corpus),
            };
            let vlm = &model.config;
            let strategy = vlm.vision_feature_select_strategy;
            let config = format!("{:?} {strategy:?} {:?}", vlm.vision_feature_layer, vlm.visual_tokens);
            let key = BankKey { encoder: &encoder_hash, config, views };
            bank(&self.store, &key, model, &pictures, &which, &device, reporter)
        };
        let fingerprint = format!(
            "{}-{}-{}-{}",
            hash_table(&cell.recipe),
            cell.seed,
            self.part_hash(&recipe, &recipe.model.encoder)?,
            self.part_hash(&recipe, &recipe.model.backbone)?
        );

        let questions = questions(&self.context.corpus, &evaluation)?;
        let mut moments = Vec::new();
        let scorer = |model: &Vlm, features| {
            Scorer::new(model, &device, &self.context.corpus, &tokenizer, &template, features, evaluation.batch)
        };
        let mut losses = serde_json::Map::new();
        for (number, (name, stage)) in stages().enumerate() {
            let seed = burn_vlm_data::random::mix(recipe.seed, number as u64 + 1);
            let stage_folder = folder.join("stages").join(format!("{}-{name}", number + 1));
            let fingerprint = format!("{fingerprint}-{number}-{name}");
            let run = StageRun {
                name,
                recipe: stage,
                folder: &stage_folder,
                fingerprint: &fingerprint,
                device: &device,
                replicas: &[],
                workers: self.context.workers,
                reporter,
            };
            let conversations = stage_conversations(&self.context, &recipe, stage, &assembled, seed)?;
            let model = &assembled.model;
            let log = match stage.objective {
                ObjectiveKind::Vlm => {
                    let source = if frozen && stage.data.views > 0 {
                        VisualSource::Features(shared_bank(model, stage.data.views)?)
                    } else {
                        VisualSource::Pixels { pictures: pictures.clone(), augment: stage.data.augment }
                    };
                    let objective = Arc::new(vlm_objective::<Vlm>(conversations, source, model, seed));
                    let model_of_stage = model.clone().with_bypassed_experts(stage.bypass_experts);
                    if !questions.analysis.is_empty() && frozen {
                        let scorer = scorer(&model_of_stage, shared_bank(&model_of_stage, 0)?);
                        moments.push(Probe::new(&scorer, &questions.analysis)?.moment(name)?);
                    }
                    let (trained, result) = train_stage(&run, objective, model_of_stage)?;
                    assembled.model = trained;
                    result.log
                }
                ObjectiveKind::Text => {
                    let objective = Arc::new(TextObjective::new(conversations));
                    let (trained, result) = train_stage(&run, objective, model.language_model.clone())?;
                    assembled.model.language_model = trained;
                    result.log
                }
                ObjectiveKind::Siglip | ObjectiveKind::Clip => {
                    return Err(TrainError::Recipe(format!(
                        "[stage.{name}]: a contrastive objective trains an encoder; describe it under [part.*]"
                    )));
                }
            };
            losses.insert(name.clone(), json!(log.last().map(|entry| entry.loss_mean)));
        }

        let model = &assembled.model;
        let features = if frozen {
            shared_bank(model, 0)?
        } else {
            let which = scored_pictures(&self.context.corpus);
            Arc::new(FeatureBank::compute(model, &pictures, &which, 0, &device, |_, _| {})?)
        };
        let scorer = scorer(model, features);
        let predictions = self.ask(&scorer, &evaluation, &questions, reporter)?;
        let count = predictions.len();
        if !questions.analysis.is_empty() {
            let analysis = Probe::new(&scorer, &questions.analysis)?.analyse(moments)?;
            write_json(&folder.join("analysis.json"), &analysis)?;
        }
        write_predictions(&folder.join("predictions.jsonl"), &predictions)?;
        save_model(&assembled, pictures.processor_config(), &backbone, &folder.join("model"))?;
        // the model is saved; checkpoints have done their work
        for (number, (name, _)) in stages().enumerate() {
            let stage_folder = folder.join("stages").join(format!("{}-{name}", number + 1));
            for checkpoint in crate::checkpoint::list_all(&stage_folder)? {
                fs::remove_dir_all(&checkpoint).map_err(|e| TrainError::io("cannot remove", &checkpoint, e))?;
            }
        }
        Ok(json!({ "losses": losses, "predictions": count, "origin": self.origin }))
    }

    fn ask(
        &self,
        scorer: &Scorer<'_>,
        recipe: &EvaluationRecipe,
        questions: &Questions,
        reporter: &Reporter,
    ) -> Result<Vec<Prediction>> {
        reporter.line(&format!("evaluation: {} choice questions", questions.choice.len()));
        let bar = reporter.bar("cloze", 0);
        let mut predictions = cloze(scorer, &questions.choice, recipe.cloze, |done, total| {
            bar.set(done as u64, format!("of {total} answers scored"));
        })?;
        drop(bar);
        if recipe.lettered {
            let bar = reporter.bar("lettered", (questions.choice.len() * 4) as u64);
            predictions.extend(lettered(scorer, &questions.choice, |done, _| bar.set(done as u64, "prompts"))?);
        }
        for (concepts, samples) in &questions.captions {
            let bar = reporter.bar("captions", samples.len() as u64);
            let told = |done, _| bar.set(done as u64, "pictures");
            predictions.extend(captions(scorer, samples, concepts, told)?);
        }
        if !questions.yes_no.is_empty() {
            let bar = reporter.bar("yes/no", (questions.yes_no.len() * 2) as u64);
            predictions.extend(yes_no(scorer, &questions.yes_no, |done, _| bar.set(done as u64, "answers"))?);
        }
        Ok(predictions)
    }
}

impl CellJob for VlmJob {
    fn version(&self) -> u32 {
        VERSION
    }

    fn inputs(&self, cell: &Cell) -> Result<Inputs, JobError> {
        let Read { recipe, .. } = self.read(cell)?;
        let mut inputs = Inputs::new();
        for name in [&recipe.model.encoder, &recipe.model.backbone] {
            if !self.inputs.from_scratch {
                // A damaged part is told before hours of training, not after.
                TensorSource::open(&part_folder(name, &self.inputs.parts)?)?;
            }
            inputs.insert(format!("part {name}"), self.part_hash(&recipe, name)?);
        }
        Ok(inputs)
    }

    fn run(&self, cell: &Cell, folder: &Path, reporter: &Reporter) -> Result<serde_json::Value, JobError> {
        Ok(self.work(cell, folder, reporter)?)
    }
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| TrainError::invalid(path, e.to_string()))?;
    write_atomic(path, text.as_bytes()).map_err(TrainError::from)
}

/// Hash of the files that decide what a part is.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn hash_folder(folder: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"] {
        let path = folder.join(name);
        match fs::read(&path) {
            Ok(bytes) => {
                hasher.update(name.as_bytes());
                hasher.update(blake3::hash(&bytes).as_bytes());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(TrainError::io("cannot read", &path, error)),
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn write_predictions(path: &Path, predictions: &[Prediction]) -> Result<()> {
    Ok(write_jsonl_atomic(path, predictions)?)
}

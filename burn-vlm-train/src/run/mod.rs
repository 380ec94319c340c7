//! Training by a recipe: its stages one after the other on one model, from parts to a Hugging Face folder.
//!
//! ```text
//! out/
//!   recipe.toml                   what the run is of; another recipe is refused
//!   stages/1-align/log.jsonl      losses, rates, tokens; step-00000500/ ... are checkpoints
//!   stages/1-align/data.json      what the stream was made of; changed data is refused
//!   stages/1-align/samples.json   how many samples it draws, by language and source
//!   stages/1-align/extended.json  what the stage was before it was extended, if it was
//!   stages/1-align/validation.jsonl  losses on what is held out, by language and source
//!   stages/1-align/skipped.jsonl  every record that was left out
//!   stages/1-align/taken.json     which run trained the stage, if another did
//!   loss.svg                      curves of the stages
//!   model/                        weights, config, tokenizer, template, image processor, and README.md, the model card
//!   adapter/                      of a last stage with `lora`: what it trained, in peft's layout, with a card; `model/` has it merged
//!   base/                         the model below the adapter, where that is not `model.from` itself; with a card
//! ```
//!
//! The same call goes on where a killed run stopped, bit for bit.

mod adapters;
mod begin;
mod card;
mod card_copies;
mod card_programs;
mod card_scores;
mod card_sources;
mod contents;
mod curve;
mod data;
mod drawn;
pub mod estimate;
mod extend;
mod folder;
mod samples;
mod shared;

pub(crate) use adapters::stage_params;
pub use begin::Start;
pub(crate) use card_copies::write_part_card;
pub use card_copies::{write_copied_card, write_merged_card};
pub use card_scores::{CardScores, write_scores};
pub(crate) use contents::files_state;
pub use data::{DataOrigin, StageData, open_stage_data, open_stage_sources};
pub use drawn::DrawnSamples;
pub use folder::save_model;
pub(crate) use folder::{claim, part_state};
pub use samples::{sources_objective, stage_objective, stage_samples, text_samples};
pub(crate) use shared::taken;
pub use shared::{SharedStages, TakenStage};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm::vlm::{Vlm, VlmConfig};
use burn_vlm_base::files::{remove_stale_temps, write_atomic};
use burn_vlm_base::lock::{Attempt, FileLock};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::conversation::IMAGE_PLACEHOLDER;
use burn_vlm_data::image::ImageProcessorConfig;
use burn_vlm_data::plain::PromptTemplate;
use burn_vlm_data::prepare::{FeatureBank, Views};
use burn_vlm_data::random::mix;
use burn_vlm_data::source::Source;
use burn_vlm_data::video::Clips;

use self::extend::{Extending, chain};
use self::shared::Beginning;
use crate::ablation::PartStore;
use crate::assemble::{Assembled, assemble_recipe, is_whole, part_folder, tower_is_frozen};
use crate::checkpoint;
use crate::error::{Result, TrainError};
use crate::features::{BankKey, Shown, feature_bytes, is_stored, pictures_of, stored_bank};
use crate::log::StepLog;
use crate::objective::{SampleMaker, SampleStream, TextObjective, VlmObjective};
use crate::pictures::processor_for;
use crate::pretrain::Context;
use crate::processor::picture_config;
use crate::recipe::{ObjectiveKind, PictureView, Recipe, StageRecipe};
use crate::trainer::{Observer, StageResult, StageRun, train_stage};
use crate::watch::{self, ValidationLog};

/// Most megabytes of features of the corpus's pictures: all of them in all views of the largest preset fit.
const CORPUS_FEATURE_MEGABYTES: u64 = 4096;
/// Held by the run that is under way in a folder.
const RUN_LOCK: &str = ".run.lock";

/// Folders of the parts that a model is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartFolders {
    /// The vision encoder's.
    pub encoder: PathBuf,
    /// The language model's.
    pub backbone: PathBuf,
}

impl PartFolders {
    /// The parts that a recipe names: folders below `parts`, or by their paths.
    ///
    /// # Errors
    /// A part that is not there.
    pub fn named(recipe: &Recipe, parts: &Path) -> Result<Self> {
        let folder = |name: &str| part_folder(name, parts);
        Ok(Self { encoder: folder(recipe.model.encoder_part())?, backbone: folder(recipe.model.backbone_part())? })
    }
}

/// What a run needs besides its recipe.
pub struct TrainRun<'a> {
    /// The embedded corpus (for stages with `data`), device and worker threads.
    pub context: &'a Context,
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Where its relative paths begin.
    pub base: &'a Path,
    /// The parts.
    pub parts: &'a PartFolders,
    /// Where features of frozen towers are kept; runs that share it share them.
    pub features: &'a Path,
    /// More devices, with autodiff, that share each step with the context's.
    pub replicas: &'a [Device],
    /// Folder of the results.
    pub out: &'a Path,
    /// How it begins, or goes on.
    pub start: &'a Start,
    /// Where to tell how far it is.
    pub reporter: &'a Reporter,
    /// Who else is told, and may stop it.
    pub observer: Option<&'a dyn Observer>,
}

/// What a finished run has.
pub struct Trained<T: VisionTower = VisionEncoder, P: Projector = Connector> {
    /// The stages.
    pub stages: Vec<TrainedStage>,
    /// The model in memory, on a device with autodiff.
    pub assembled: Assembled<T, P>,
    /// How it is shown pictures.
    pub image: ImageProcessorConfig,
    /// Folder of the model.
    pub model: PathBuf,
}

impl<T: VisionTower, P: Projector> std::fmt::Debug for Trained<T, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trained").field("stages", &self.stages).field("model", &self.model).finish_non_exhaustive()
    }
}

/// A finished stage.
#[derive(Debug, Clone)]
pub struct TrainedStage {
    /// Its name.
    pub name: String,
    /// Its losses.
    pub log: Vec<StepLog>,
    /// Its validations.
    pub validations: Vec<ValidationLog>,
    /// That of the weights which the stage gave: of the best, where it keeps these, else the last.
    pub validated: Option<ValidationLog>,
    /// Where it was taken from, if another run trained it.
    pub taken: Option<TakenStage>,
}

/// Is shown the model before each stage: its name, and the model as the stage finds it.
pub type BeforeStage<'a, T, P> = &'a mut dyn FnMut(&str, &Vlm<T, P>) -> Result<()>;

/// Runs all stages of a recipe and writes the model.
///
/// # Errors
/// Parts or sources that cannot be opened, a folder that holds another run, and all that can go wrong in training.
pub fn train(run: &TrainRun<'_>) -> Result<Trained> {
    train_parts(run, &mut |_, _| Ok(()))
}

/// As [`train`], for a model of any tower and connector.
///
/// # Errors
/// As [`train`]; what `before_stage` fails with.
pub fn train_parts<T: VisionTower, P: Projector>(
    run: &TrainRun<'_>,
    before_stage: BeforeStage<'_, T, P>,
) -> Result<Trained<T, P>> {
    let TrainRun { context, recipe, out, start, reporter, parts, .. } = run;
    fs::create_dir_all(out).map_err(|e| TrainError::io("cannot create", out, e))?;
    let _lock = match FileLock::try_take(&out.join(RUN_LOCK))? {
        Attempt::Taken(lock) => lock,
        Attempt::Busy(who) => {
            return Err(TrainError::invalid(out, format!("a run is under way in this folder ({who})")));
        }
    };
    let extending = start.extend.then(|| Extending::of(out, recipe)).transpose()?;
    if extending.is_none() {
        claim(out, recipe)?;
    }
    let model = out.join("model");
    // What a killed run left; the lock says that nobody is at it.
    [out, model.as_path()].into_iter().try_for_each(remove_stale_temps)?;
    let device = context.device.clone().autodiff();
    let assembled = assemble_recipe::<T, P>(recipe, &parts.encoder, &parts.backbone, &device)?;
    let (mut assembled, init) = begin::init(out, recipe, start, assembled, &device)?;
    recipe.compute.apply(&mut assembled.model);
    run.tell(&assembled);
    init.iter().for_each(|init| reporter.line(&format!("begins with {init}")));
    let opened = run.open_stages(&assembled, extending.as_ref())?;
    let states = (part_state(&parts.encoder)?, part_state(&parts.backbone)?);
    let made_of = (&recipe.model, recipe.seed, recipe.compute, states);
    // As it was before there was this key: runs of then go on.
    let made_of = format!("{made_of:?}").replace(", softcap_logits: true", "");
    let mut fingerprint = match init {
        None => made_of,
        Some(init) => format!("{made_of} {}", init.blake3),
    };
    if recipe.video.as_ref().is_some_and(|video| video.extend_model) {
        fingerprint.push_str(" with videos");
    }
    // Beyond what a checkpoint knows: the data of the stages before, and what decides on the records of each.
    let mut beginning = Beginning::new(&format!("{fingerprint} {:?} {}", recipe.tokenizer, recipe.held_out_share()));
    let mut stages = Vec::with_capacity(recipe.stages.len());
    for (number, (name, open)) in recipe.stages.iter().zip(opened).enumerate() {
        let OpenStage { data, samples, held_out, lines } = open;
        lines.iter().for_each(|line| reporter.line(&format!("{name}: {line}")));
        if let Some(extending) = extending.as_ref().filter(|extending| extending.number == number) {
            let changes = extending.commit((out, recipe), (name, &fingerprint), &data)?;
            changes.iter().for_each(|line| reporter.line(&format!("{name}: {line}")));
        }
        let StageData { stage, fingerprint: data, .. } = data;
        fingerprint = chain(&fingerprint, number, &stage);
        let folder = stage_folder(out, number, name);
        let earlier = checkpoint::earlier(&folder)?;
        let fingerprint = match earlier.as_slice() {
            [] => format!("{fingerprint} {data}"),
            earlier => {
                let earlier = blake3::hash(format!("{earlier:?}").as_bytes()).to_hex();
                format!("{fingerprint} {data} {earlier}")
            }
        };
        beginning = beginning.then(&fingerprint);
        let maker = match start.shared.as_ref().filter(|shared| number < shared.stages) {
            Some(shared) => shared.take((number, name), &beginning, &folder, reporter)?.map(|maker| (shared, maker)),
            None => None,
        };
        if let Some(runs) = &start.reuse
            && let Some((from, step)) = begin::take_over(runs, out, (number, name), &fingerprint)?
        {
            reporter.line(&format!(
                "{name}: {step} steps taken from {}, whose parts, recipe, data and seed are the same up to here",
                from.display()
            ));
        }
        let stage_run = StageRun {
            name,
            recipe: &stage,
            folder: &folder,
            fingerprint: &fingerprint,
            device: &device,
            replicas: run.replicas,
            workers: context.workers,
            reporter,
            observer: run.observer,
        };
        let clips = samples.maker.clips.clone();
        // The model is moved in and out: a second handle on its parameters would double them for as long as it lives.
        let StageResult { log, validations } = match stage.objective {
            ObjectiveKind::Text => {
                let objective = Arc::new(TextObjective::new(samples).with_validation(held_out));
                before_stage(name, &assembled.model)?;
                let (language_model, result) = train_stage(&stage_run, objective, assembled.model.language_model)?;
                assembled.model.language_model = language_model;
                result
            }
            _ => {
                let objective = Arc::new(VlmObjective::<T, P>::new(samples).with_validation(held_out));
                let last = number + 1 == recipe.stages.len();
                let base = match &stage.lora {
                    Some(lora) if last => Some(run.write_base(&assembled, number, lora.base)?),
                    _ => None,
                };
                let (model, plan) = run.with_adapters(assembled.model, &stage, number, &device)?;
                let model = model.with_bypassed_experts(stage.bypass_experts);
                before_stage(name, &model)?;
                let (model, result) = train_stage(&stage_run, objective, model)?;
                assembled.model = match plan {
                    None => model,
                    Some(plan) => run.merged(model, &plan, (&stage, base.as_ref()), &device)?,
                };
                result
            }
        };
        let damaged = clips.map(|clips| clips.damaged()).unwrap_or_default();
        if let Some((video, damage)) = damaged.iter().next() {
            reporter.line(&format!(
                "{name}: {} videos are not whole and were shown as far as they go, the first: {video}: {damage}",
                damaged.len()
            ));
        }
        if let Some((shared, maker)) = maker {
            shared.publish(maker, &folder, &log)?;
        }
        let validated = watch::of_result(&validations, &stage).cloned();
        stages.push(TrainedStage { name: name.clone(), log, validations, validated, taken: taken(&folder)? });
        write_atomic(&out.join("loss.svg"), curve::draw(&stages).as_bytes())?;
    }
    let image = picture_rule(recipe, &assembled.model.config, &assembled.encoder)?;
    save_model(&assembled, &image, &parts.backbone, &model)?;
    for edited in card::write(recipe, parts, (out, &stages), &model)? {
        reporter.line(&format!(
            "{} was edited and stays as it is, scores that it has among it: move it away and run this again for the card of this run",
            edited.display()
        ));
    }
    reporter.line(&format!("model written to {}", model.display()));
    Ok(Trained { stages, assembled, image, model })
}

/// Refuses a step whose pictures alone are more than this machine's memory (bytes, where it is known), before anything is made.
fn fits_memory(name: &str, stage: &StageRecipe, sample: u64, total: Option<u64>) -> Result<()> {
    let needed = sample.saturating_mul(stage.samples_per_step() as u64);
    match total.filter(|total| needed > *total) {
        None => Ok(()),
        Some(total) => Err(TrainError::Recipe(format!(
            "[stage.{name}]: the pictures of a step of {} samples (batch x accumulate) take {:.1} GB and this machine has {:.1} GB; \
             lower `batch` or `accumulate`",
            stage.samples_per_step(),
            needed as f64 / 1e9,
            total as f64 / 1e9
        ))),
    }
}

/// Bytes of this machine's memory, where the system tells.
fn total_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// The folder of a stage, by its place in the run.
pub fn stage_folder(out: &Path, number: usize, name: &str) -> PathBuf {
    out.join("stages").join(format!("{}-{name}", number + 1))
}

/// How a stage lays pictures into the tower's square.
fn view_of(stage: &StageRecipe) -> PictureView {
    stage.mixture.as_ref().map_or(stage.data.pictures, |mixture| mixture.pictures)
}

/// The view of a stage for a model of this config, whose folder shows pictures as `image` says: of a whole model (`model.from`), its
/// own, where the stage asks for no other.
///
/// # Errors
/// Tiles for a model that has none, another view for one that is made of tiles, any for pictures with grids of their own.
pub(crate) fn resolved_view(
    asked: PictureView,
    whole: bool,
    config: &VlmConfig,
    image: &ImageProcessorConfig,
) -> Result<PictureView> {
    match (asked, whole) {
        (PictureView::Tiles | PictureView::Pad, _) if config.is_flexible() => {
            let (asked, name) = (format!("{asked:?}").to_lowercase(), config.vision_config.name());
            Err(TrainError::Recipe(format!(
                "`pictures = \"{asked}\"`: {name} takes each picture whole and in its own aspect ratio; leave `pictures` out"
            )))
        }
        (PictureView::Tiles, _) if !config.is_tiled() => {
            Err(TrainError::Recipe("`pictures = \"tiles\"`: the model's pictures are not tiled".into()))
        }
        (PictureView::Square, true) if config.is_tiled() => Ok(PictureView::Tiles),
        (PictureView::Square, true) if image.pads_to_square() => Ok(PictureView::Pad),
        _ => Ok(asked),
    }
}

/// How the trained model wants its pictures: tiled, where it was made for tiles, else as the last stage that showed it any did.
pub(crate) fn picture_rule(recipe: &Recipe, config: &VlmConfig, encoder: &Path) -> Result<ImageProcessorConfig> {
    let image = processor_for(encoder, &config.vision_config)?;
    let shown = |stage: &StageRecipe| (stage.objective == ObjectiveKind::Vlm).then(|| view_of(stage));
    let last = recipe.stages.iter().rev().find_map(|name| recipe.stage.get(name).and_then(shown));
    let whole = recipe.model.from.is_some();
    let view = match config.is_tiled() {
        true => PictureView::Tiles,
        false => resolved_view(last.unwrap_or_default(), whole, config, &image)?,
    };
    Ok(picture_config(config, &image, view, whole))
}

/// Whether what reads the videos of a stage is there. Else every sample with one would be left out, one by one.
fn check_programs(name: &str, data: &StageData, clips: Option<&Clips>) -> Result<()> {
    match (&data.by_program, clips) {
        (Some(video), Some(clips)) => {
            clips.reader().programs().map(drop).map_err(TrainError::within(format!("[stage.{name}]: {video}")))
        }
        _ => Ok(()),
    }
}

/// A stage with its data open.
struct OpenStage {
    data: StageData,
    samples: SampleStream,
    held_out: Option<crate::objective::HeldOut>,
    /// What is drawn, for people.
    lines: Vec<String>,
}

impl TrainRun<'_> {
    /// What was done to the parts, and what is amiss with them.
    fn tell<T: VisionTower, P: Projector>(&self, assembled: &Assembled<T, P>) {
        let rows = assembled.rows_added;
        if assembled.image_token_added {
            let id = assembled.tokenizer.image_id().unwrap_or_default();
            let grown = match rows {
                0 => "the table of embeddings has a row for it".to_owned(),
                1 => "the table of embeddings has a row more, the mean of the others".to_owned(),
                rows => format!("the table of embeddings has {rows} rows more, each the mean of the others"),
            };
            self.reporter
                .line(&format!("{IMAGE_PLACEHOLDER} added to the backbone's tokenizer with the id {id}; {grown}"));
        } else if rows > 0 {
            self.reporter.line(&format!(
                "the table of embeddings has {rows} more rows, each the mean of the others: {IMAGE_PLACEHOLDER} had none"
            ));
        }
        for folder in self.left_out_projectors() {
            self.reporter.line(&format!(
                "a new connector is made: the projector of {} is not taken, nor its newline; `model.from = \"{}\"` starts from the \
                 whole model",
                folder.display(),
                folder.display()
            ));
        }
        let chats = |name: &String| {
            let stage = self.recipe.stage.get(name);
            stage.is_some_and(|stage| {
                stage.mixture.as_ref().is_none_or(|mixture| mixture.template == PromptTemplate::Chat)
            })
        };
        if let Some(note) = assembled.note.as_ref().filter(|_| self.recipe.stages.iter().any(chats)) {
            self.reporter.line(note);
        }
    }

    /// Parts that are whole models, of which only a part is taken.
    fn left_out_projectors(&self) -> Vec<&Path> {
        let mut folders = vec![self.parts.encoder.as_path(), self.parts.backbone.as_path()];
        folders.dedup();
        folders.retain(|folder| self.recipe.model.from.is_none() && is_whole(folder));
        folders
    }

    /// Opens the data of every stage, in their order, and checks what can be checked of it: a mistake in the last stage is told
    /// before the first has been trained.
    fn open_stages<T: VisionTower, P: Projector>(
        &self,
        assembled: &Assembled<T, P>,
        extending: Option<&Extending>,
    ) -> Result<Vec<OpenStage>> {
        let origin = DataOrigin::new(self.context, self.recipe, self.base);
        let mut all = Vec::new();
        let mut begun: Vec<&StageRecipe> = Vec::new();
        for (number, name) in self.recipe.stages.iter().enumerate() {
            let stage =
                self.recipe.stage.get(name).ok_or_else(|| TrainError::Recipe(format!("there is no [stage.{name}]")))?;
            if matches!(stage.objective, ObjectiveKind::Siglip | ObjectiveKind::Clip) {
                return Err(TrainError::Recipe(format!(
                    "[stage.{name}]: a contrastive objective trains an encoder; describe it under [part.*]"
                )));
            }
            let remark = adapters::stage_params(stage, &assembled.model)
                .and_then(|(rates, params)| rates.check(&params).map(|()| rates.remark(&params)))
                .map_err(TrainError::in_stage(name))?;
            if let Some(remark) = remark {
                self.reporter.line(&format!("{name}: {remark}"));
            }
            let folder = stage_folder(self.out, number, name);
            fs::create_dir_all(&folder).map_err(|e| TrainError::io("cannot create", &folder, e))?;
            let seed = mix(self.recipe.seed, number as u64 + 1);
            let data = match extending.is_some_and(|extending| extending.number == number) {
                false => open_stage_data(name, stage, origin, &folder, seed)?,
                true => data::open_extended_data(name, stage, origin, &folder, seed)?,
            };
            begun.push(stage);
            all.push((number, (name.as_str(), stage), data, tower_is_frozen(begun.iter().copied()), seed));
        }
        // Those with videos first: that a program is missing is told before the features of other stages are computed, which takes minutes.
        all.sort_by_key(|(_, _, data, ..)| data.by_program.is_none());
        let mut opened = BTreeMap::new();
        for (number, (name, stage), mut data, frozen, seed) in all {
            let samples = self.samples(name, &data, assembled, (frozen, seed))?;
            if samples.maker.bank.is_none() {
                check_programs(name, &data, samples.maker.clips.as_deref())?;
            }
            // A first sample tells whether mask, template and lengths fit the data at all.
            let first = samples.sample(0)?;
            fits_memory(name, &data.stage, first.image_bytes() as u64, total_memory())?;
            let lines = if stage.mixture.is_some() || data.held_out.is_some() { data.describe() } else { Vec::new() };
            let held_out = data.held_out.take();
            opened.insert(number, OpenStage { data, samples, held_out, lines });
        }
        Ok(opened.into_values().collect())
    }

    /// The samples of a stage, with the features of a frozen tower where they are to be kept.
    fn samples<T: VisionTower, P: Projector>(
        &self,
        name: &str,
        data: &StageData,
        assembled: &Assembled<T, P>,
        (frozen, seed): (bool, u64),
    ) -> Result<SampleStream> {
        let stage = &data.stage;
        let config = &assembled.model.config;
        let image = processor_for(&assembled.encoder, &config.vision_config)?;
        let mut samples = stage_samples(data, assembled, &image, seed)?;
        let (views, augment, megabytes) = match &stage.mixture {
            Some(mixture) => (mixture.views, mixture.augment, mixture.feature_megabytes),
            None => (stage.data.views, stage.data.augment, CORPUS_FEATURE_MEGABYTES),
        };
        let takes_videos = samples.layout.video_id.is_some();
        let tiled = samples.layout.tiled && !takes_videos;
        if stage.objective == ObjectiveKind::Text || !frozen || views == 0 || tiled {
            return Ok(samples);
        }
        // Frames are not augmented.
        let views = if augment && !takes_videos { Views::Augmented(views) } else { Views::Plain };
        let bank = self.bank((name, data), assembled, (&samples.maker, &image), views, megabytes)?;
        samples.maker.bank = bank;
        Ok(samples)
    }

    /// The features of all pictures of a stage, or of all frames of a model that takes videos, whose pictures are tiled; `None` where
    /// they would be too large.
    fn bank<T: VisionTower, P: Projector>(
        &self,
        (name, data): (&str, &StageData),
        assembled: &Assembled<T, P>,
        (maker, image): (&SampleMaker, &ImageProcessorConfig),
        views: Views,
        megabytes: u64,
    ) -> Result<Option<Arc<FeatureBank>>> {
        let config = &assembled.model.config;
        // What is validated on is shown as it is: a bank of augmented views has nothing for it.
        let validated = data.held_out.iter().filter(|_| views == Views::Plain).flat_map(|held_out| &held_out.sources);
        let trained = data.mixed.sources();
        let known = |source: &&Arc<dyn Source>| !trained.iter().any(|trained| Arc::ptr_eq(trained, source));
        let processor = &maker.processor;
        let frames_alone = processor.video_processor().is_some();
        let shown = Shown { clips: maker.clips.as_ref(), frames_alone };
        let pictures = pictures_of(trained.iter().chain(validated.filter(known)), shown);
        if pictures.is_empty() {
            return Ok(None);
        }
        let count = match views {
            Views::Plain => 1,
            Views::Augmented(count) => count,
        };
        let bytes = feature_bytes(config, processor) * (pictures.len() * count) as u64;
        if bytes > megabytes << 20 {
            self.reporter.line(&format!(
                "features of {} pictures x {count} views take {} MB, more than feature_megabytes = {megabytes}: the tower runs in every step",
                pictures.len(),
                bytes >> 20
            ));
            return Ok(None);
        }
        let encoder = part_state(&self.parts.encoder)?;
        let view = resolved_view(view_of(&data.stage), assembled.whole, config, image)?;
        let image = match processor.video_processor() {
            Some(videos) => videos.config().frames().clone(),
            None => picture_config(config, image, view, assembled.whole),
        };
        let precision = self.recipe.compute.precision;
        let key = BankKey { encoder: &encoder, config, image: &image, views, precision };
        let store = PartStore::new(self.features);
        let device = self.context.device.clone();
        if !is_stored(&store, &key, &pictures)? {
            check_programs(name, data, maker.clips.as_deref())?;
        }
        stored_bank(&store, &key, &assembled.model, processor, &pictures, (&device, self.reporter)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_must_fit_the_machine() {
        let stage: StageRecipe =
            toml::from_str("objective = 'vlm'\nsteps = 1\nbatch = 512\naccumulate = 4\ntrain = { a = 1e-3 }").unwrap();
        let picture = 3 * 384 * 384 * 4;
        assert!(fits_memory("align", &stage, picture, None).is_ok());
        assert!(fits_memory("align", &stage, picture, Some(picture * 2048)).is_ok());
        let error = fits_memory("align", &stage, picture, Some(picture * 2048 - 1)).unwrap_err().to_string();
        for part in ["[stage.align]", "2048 samples", "3.6 GB", "`batch`"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(fits_memory("align", &stage, u64::MAX, Some(1)).is_err());
    }
}

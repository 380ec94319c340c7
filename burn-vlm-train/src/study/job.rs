//! What one cell of a study does: it runs the cell's recipe, then asks the trained model everything.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn_vlm::checkpoint::{StoreDtype, TensorSource};
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::nn::vectors::Vectors;
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm::vlm::Vlm;
use burn_vlm_base::files::write_json_atomic;
use burn_vlm_base::jsonl::write_jsonl_atomic;
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::prepare::{FeatureBank, Views};
use burn_vlm_data::sample::{Sample, pictures};
use serde_json::json;

use super::beginnings::{SharedBeginnings, beginnings};
use super::forgetting::TextWatch;
use super::missing::{MissingInputs, NeededFor};
use super::parts;
use super::pivot::BackboneTranslator;
use super::questions::analysis_samples;
use super::scores_card;
use super::seen_words::check_seen_words;
use crate::ablation::{Cell, CellJob, Inputs, JobError, PartStore, Plan, Provenance};
use crate::analysis::Probe;
use crate::assemble::{part_folder, tower_is_frozen};
use crate::error::{Result, TrainError};
use crate::eval::{
    Benchmark, BenchmarkError, Benchmarks, PivotRecipe, Prediction, Progress, PublishedBenchmark, Question, Scorer,
    TextQuestions, asked, evaluate, evaluate_through,
};
use crate::features::{BankKey, PictureSet, add_pictures, feature_bytes, stored_bank};
use crate::params::{ParamInfo, list_params};
use crate::pretrain::{Context, PartPlaces, part_fingerprint, pretrain_part};
use crate::processor::model_processor;
use crate::recipe::{EvaluationRecipe, Recipe};
use crate::run::estimate::{Assumptions, EstimateInput, check_patterns};
use crate::run::{
    PartFolders, SharedStages, Start, TrainRun, files_state, part_state, picture_rule, stage_folder, stage_params,
    train_parts,
};

/// Raised when the same recipe gives other results than before.
const VERSION: u32 = 3;

/// The most features of asked pictures that are kept in a bank: 1 GiB. Beyond, the scorer makes them as it goes.
const BANK_BYTES: u64 = 1 << 30;

/// Questions whose visual tokens are counted: those of one study's questions differ little.
const LOOKED_AT: usize = 64;

/// Where a study finds and keeps what its cells share.
#[derive(Debug, Clone)]
pub struct StudyInputs {
    /// Folder of pretrained parts.
    pub parts: PathBuf,
    /// Folder of what is made on the way and shared by cells: features, parts that are pretrained in the study.
    pub shared: PathBuf,
    /// Where relative paths of mixtures and benchmarks begin: the folder of the study's file.
    pub base: PathBuf,
    /// Pretrain the parts in the study instead of reading them from `parts`.
    pub from_scratch: bool,
}

/// Trains and evaluates a VLM by the cell's recipe. `T` and `P` are the towers and connectors that its recipes may name; for your own
/// beside this library's there is [`Either`](burn_vlm::parts::Either).
pub struct VlmJob<T = VisionEncoder, P = Connector> {
    pub(super) context: Context,
    inputs: StudyInputs,
    pub(super) store: PartStore,
    /// Benchmarks of your own, asked after those of the study's file.
    own: Vec<Arc<dyn Benchmark>>,
    /// What was opened, by its settings: most cells of a study are asked the same.
    opened: Mutex<HashMap<String, Asked>>,
    /// Stages that several cells begin with.
    shared: SharedBeginnings,
    /// What stands before a cell's name where cells of other studies may take its stages.
    among: String,
    /// Name and preset of the study, for the cards of its models.
    study: Option<(String, String)>,
    /// Kept with each cell: command, commit, device.
    origin: serde_json::Value,
    /// The kind of device: `cuda`, whichever of them.
    device: String,
    model: PhantomData<fn() -> (T, P)>,
}

/// Benchmarks with the hashes of their questions.
#[derive(Clone)]
struct Asked {
    benchmarks: Benchmarks,
    keys: BTreeMap<String, String>,
    /// What the decoder is asked without pictures, before training and after each stage.
    text: Option<Arc<TextQuestions>>,
}

/// One cell's recipe, read and checked.
struct Read {
    recipe: Recipe,
    evaluation: EvaluationRecipe,
}

/// For each cell of a plan the [`beginnings`] of its recipe.
fn beginnings_of(plan: &Plan, from_scratch: bool) -> Result<Vec<Vec<String>>> {
    plan.cells.iter().map(|cell| beginnings(&read(cell)?.recipe, from_scratch)).collect()
}

fn read(cell: &Cell) -> Result<Read> {
    let recipe = Recipe { seed: cell.seed, ..Recipe::from_table(cell.recipe.clone())? };
    let evaluation = EvaluationRecipe::from_table(cell.evaluation.clone())?;
    Ok(Read { recipe, evaluation })
}

impl<T: VisionTower, P: Projector> VlmJob<T, P> {
    /// A job on a device, with its shared folder.
    pub fn new(context: Context, inputs: StudyInputs) -> Self {
        let store = PartStore::new(&inputs.shared);
        Self {
            context,
            inputs,
            store,
            own: Vec::new(),
            opened: Mutex::default(),
            shared: SharedBeginnings::default(),
            among: String::new(),
            study: None,
            origin: serde_json::Value::Null,
            device: String::new(),
            model: PhantomData,
        }
    }

    /// Trains stages that several cells of the plan begin with once, and lets the other cells take them: the results are the same, bit
    /// for bit.
    ///
    /// # Errors
    /// A recipe that cannot be read.
    pub fn sharing_stages(mut self, plan: &Plan) -> Result<Self> {
        self.shared = SharedBeginnings::of(beginnings_of(plan, self.inputs.from_scratch)?);
        Ok(self)
    }

    /// As [`sharing_stages`](Self::sharing_stages), among the cells of several plans, this one's too, whose jobs have the same
    /// [`shared`](StudyInputs::shared) folder. Each plan comes with its [`from_scratch`](StudyInputs::from_scratch).
    ///
    /// # Errors
    /// A recipe that cannot be read.
    pub fn sharing_stages_among(mut self, plan: &Plan, plans: &[(&Plan, bool)]) -> Result<Self> {
        let all = plans.iter().map(|(plan, from_scratch)| beginnings_of(plan, *from_scratch));
        self.shared = SharedBeginnings::of(all.collect::<Result<Vec<_>>>()?.concat());
        self.among = format!("{}: ", plan.study.name);
        Ok(self)
    }

    /// For each stage of a cell with which other cells of the plan begin too, a hash of all up to it: cells with the same one have the
    /// same stage. Nothing where each cell trains its own.
    ///
    /// # Errors
    /// A recipe that cannot be read.
    pub fn shared_stages(&self, cell: &Cell) -> Result<Vec<String>> {
        let mut beginnings = beginnings(&read(cell)?.recipe, self.inputs.from_scratch)?;
        beginnings.truncate(self.shared.count(&beginnings));
        Ok(beginnings)
    }

    /// What a cell is called by those that take a stage of its.
    pub fn called(&self, cell: &Cell) -> String {
        format!("{}{}", self.among, cell.name)
    }

    /// Whether stages are kept that cells have trained and others may take.
    pub fn keeps_stages(&self) -> bool {
        self.stage_store().is_dir()
    }

    /// Removes the stages that cells shared. Call it when no cell is left that needs them.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn remove_shared_stages(&self) -> Result<()> {
        let folder = self.stage_store();
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(TrainError::io("cannot remove", &folder, error))
            }
            _ => Ok(()),
        }
    }

    fn stage_store(&self) -> PathBuf {
        self.inputs.shared.join("stages")
    }

    /// Asks a benchmark of your own too, after those of the study's file.
    pub fn with_benchmark(mut self, benchmark: Arc<dyn Benchmark>) -> Self {
        self.own.push(benchmark);
        self
    }

    /// What the cells of a plan are asked, checked against its columns.
    ///
    /// # Errors
    /// A benchmark that cannot be used or shown.
    pub fn benchmarks(&self, plan: &Plan) -> Result<Benchmarks> {
        let first = plan.cells.first().ok_or_else(|| TrainError::Recipe("the study has no cells".into()))?;
        let evaluation = EvaluationRecipe::from_table(first.evaluation.clone())?;
        for cell in &plan.cells[1..] {
            let other = EvaluationRecipe::from_table(cell.evaluation.clone())?;
            if !evaluation.asks_as(&other) {
                let message = format!(
                    "cells {} and {} are asked other questions: an axis value's `evaluation` may only change `pivot`, how they are asked",
                    first.setting, cell.setting
                );
                return Err(TrainError::Recipe(message));
            }
        }
        check_seen_words(plan, &evaluation)?;
        let benchmarks = self.asked(&evaluation)?.benchmarks;
        benchmarks.check_columns(&plan.columns)?;
        Ok(benchmarks)
    }

    /// As [`benchmarks`](Self::benchmarks), without those of which files are not there, whose settings are checked alone; and so without
    /// looking at columns.
    ///
    /// # Errors
    /// A benchmark that cannot be used.
    pub fn benchmarks_there(&self, plan: &Plan, missing: &MissingInputs) -> Result<Benchmarks> {
        let first = plan.cells.first().ok_or_else(|| TrainError::Recipe("the study has no cells".into()))?;
        let mut evaluation = EvaluationRecipe::from_table(first.evaluation.clone())?;
        let lacks =
            |name: &str| missing.iter().any(|missing| missing.needed == NeededFor::Benchmark && missing.name == name);
        let name =
            |table: &toml::Table| table.get("name").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
        let (missing, there): (Vec<_>, Vec<_>) =
            evaluation.benchmark.into_iter().partition(|table| lacks(&name(table)));
        missing.iter().try_for_each(Benchmarks::check_table)?;
        evaluation.benchmark = there;
        if let Some(mut used) = evaluation.suite.take() {
            let is_there = self.inputs.base.join(&used.file).exists();
            let names =
                if is_there { used.load(&self.inputs.base)?.benchmarks.iter().map(name).collect() } else { Vec::new() };
            used.only = names.into_iter().filter(|name| !lacks(name)).collect();
            // None is no choice, and would be all.
            evaluation.suite = (!used.only.is_empty()).then_some(used);
        }
        Ok(self.asked(&evaluation)?.benchmarks)
    }

    /// What the decoders of a plan are asked without pictures, if they are.
    ///
    /// # Errors
    /// As [`benchmarks`](Self::benchmarks).
    pub fn text_questions(&self, plan: &Plan) -> Result<Option<TextQuestions>> {
        let first = plan.cells.first().ok_or_else(|| TrainError::Recipe("the study has no cells".into()))?;
        TextQuestions::new(&self.context.corpus, &EvaluationRecipe::from_table(first.evaluation.clone())?)
    }

    fn asked(&self, evaluation: &EvaluationRecipe) -> Result<Asked> {
        // Through whichever language: the questions are the same.
        let settings = format!("{:?}", EvaluationRecipe { pivot: None, ..evaluation.clone() });
        // A poisoned lock guards a table that is whole: it is changed by single calls.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = opened.get(&settings) {
            return Ok(asked.clone());
        }
        let mut benchmarks = Benchmarks::open(evaluation, &self.context.corpus, &self.inputs.base)?;
        self.own.iter().try_for_each(|benchmark| benchmarks.push(benchmark.clone()))?;
        let needs = |benchmark: &&dyn Benchmark| benchmark.published().is_some_and(PublishedBenchmark::needs_judge);
        if let Some(judged) = benchmarks.iter().find(needs) {
            let message = "these rules need a judge, which a study does not ask: choose other `rules`, or score the finished cells by \
                           `burn-vlm evaluate --judge`";
            let (name, message) = (judged.name().to_owned(), message.to_owned());
            return Err(BenchmarkError::Setting { name, message }.into());
        }
        let text = TextQuestions::new(&self.context.corpus, evaluation)?.map(Arc::new);
        let asked = Asked { keys: benchmarks.keys()?, benchmarks, text };
        opened.insert(settings, asked.clone());
        Ok(asked)
    }

    /// Names the study in the cards of its models.
    pub fn of_study(mut self, plan: &Plan) -> Self {
        self.study = Some((plan.study.name.clone(), plan.preset.clone()));
        self
    }

    /// Notes with each cell by what command, at which commit and on which device it was made.
    pub fn with_origin(mut self, origin: &Provenance, device: &str) -> Self {
        self.origin = json!({
            "command": origin.command_text(),
            "commit": origin.commit.to_string(),
            "device": origin.device_text(device),
        });
        self.device = device.split(':').next().unwrap_or_default().to_owned();
        self
    }

    /// The folder of a part, pretrained here if the study starts from scratch.
    fn part(&self, recipe: &Recipe, name: &str, reporter: &Reporter) -> Result<PathBuf> {
        if !self.inputs.from_scratch {
            return part_folder(name, &self.inputs.parts);
        }
        let mut begin_from: Option<PathBuf> = None;
        for name in recipe.lineage(name)? {
            let key = part_fingerprint(recipe, name)?;
            let made = self.store.get_or_make(&key, name, reporter, |making| {
                let (work, out) = (making.work(), making.folder());
                let places = PartPlaces { begin_from: begin_from.as_deref(), work: &work, out: &out };
                pretrain_part(&self.context, recipe, name, places, reporter).map_err(Into::into)
            })?;
            begin_from = Some(made);
        }
        begin_from.ok_or_else(|| TrainError::Recipe(format!("there is no [part.{name}]")))
    }

    /// What decides on the last bits beside recipe and data.
    pub(super) fn made_by(&self) -> String {
        format!("{VERSION} {} {} {}", self.device, Vectors::used(), Vectors::of_processor())
    }

    /// What decides on a decoder's answers before training: cells with the same key share them.
    fn text_key(&self, recipe: &Recipe, text: &TextQuestions, made_by: &str) -> Result<String> {
        let backbone = self.part_hash(recipe, recipe.model.backbone_part())?;
        let made_of = format!("{backbone} {:?} {:?} {made_by} {}", recipe.model.answer_end, recipe.compute, text.key());
        Ok(blake3::hash(made_of.as_bytes()).to_hex().to_string())
    }

    /// Hash of what a part is, without making it.
    fn part_hash(&self, recipe: &Recipe, name: &str) -> Result<String> {
        if self.inputs.from_scratch {
            return part_fingerprint(recipe, name);
        }
        part_state(&part_folder(name, &self.inputs.parts)?)
    }

    fn work(&self, cell: &Cell, folder: &Path, reporter: &Reporter) -> Result<serde_json::Value> {
        let Read { recipe, evaluation } = read(cell)?;
        let parts = PartFolders {
            encoder: self.part(&recipe, recipe.model.encoder_part(), reporter)?,
            backbone: self.part(&recipe, recipe.model.backbone_part(), reporter)?,
        };
        let Asked { benchmarks, text, .. } = self.asked(&evaluation)?;
        let asking = Asking {
            job: self,
            parts: &parts,
            recipe: &recipe,
            frozen: tower_is_frozen(recipe.stages.iter().filter_map(|name| recipe.stage.get(name))),
            benchmarks,
            probed: analysis_samples(&self.context.corpus, &evaluation)?,
            batch: evaluation.batch,
            reporter,
        };
        let mut moments = Vec::new();
        let stages = self.shared.count(&beginnings(&recipe, self.inputs.from_scratch)?);
        let made_by = self.made_by();
        let mut watch = match &text {
            None => None,
            Some(text) => {
                let key = self.text_key(&recipe, text, &made_by)?;
                Some(TextWatch::new(text, &recipe, (&self.store, key), reporter))
            }
        };
        let shared = SharedStages { store: self.stage_store(), stages, run: self.called(cell), made_by };
        let run = TrainRun {
            context: &self.context,
            recipe: &recipe,
            base: &self.inputs.base,
            parts: &parts,
            features: &self.inputs.shared,
            replicas: &[],
            out: folder,
            start: &Start { shared: (stages > 0).then_some(shared), ..Start::default() },
            reporter,
            observer: None,
        };
        // How a connector changes from stage to stage is looked at on the features of a frozen tower; else the tower changes too.
        let mut note = |stage: &str, model: &Vlm<T, P>| -> Result<()> {
            if let Some(watch) = &mut watch {
                watch.next(model, || asking.text_scorer(model))?;
            }
            if !asking.probed.is_empty() && asking.frozen {
                let scorer = asking.scorer(model)?;
                moments.push(Probe::new(&scorer, &asking.probed)?.moment(stage)?);
            }
            Ok(())
        };
        let trained = train_parts::<T, P>(&run, &mut note)?;
        let losses: serde_json::Map<String, serde_json::Value> = trained
            .stages
            .iter()
            .map(|stage| (stage.name.clone(), json!(stage.log.last().map(|entry| entry.loss_mean))))
            .collect();
        let scorer = asking.scorer(&trained.assembled.model)?;
        let before = Instant::now();
        let (predictions, translating) = asking.ask(&scorer, evaluation.pivot.as_ref())?;
        // What is translated depends on what other cells have translated before.
        let asked = asking.cost(&scorer, before.elapsed().saturating_sub(translating))?;
        let count = predictions.len();
        if !asking.probed.is_empty() {
            let analysis = Probe::new(&scorer, &asking.probed)?.analyse(moments)?;
            write_json_atomic(&folder.join("analysis.json"), &analysis)?;
        }
        if let Some(watch) = &mut watch {
            let model = &trained.assembled.model;
            watch.next(model, || asking.text_scorer(model))?;
            watch.write(folder)?;
        }
        write_jsonl_atomic(&folder.join("predictions.jsonl"), &predictions)?;
        if let Some(study) = &self.study {
            scores_card::write(study, cell, &evaluation, (&asking.benchmarks, predictions), &trained.model)?;
        }
        parts::keep(recipe.model.encoder_part(), &asking.parts.encoder, folder)?;
        let Counts { parameters, trained_parameters, training_bytes } = counts(&recipe, &trained.assembled.model)?;
        // the model is saved; checkpoints have done their work
        for (number, name) in recipe.stages.iter().enumerate() {
            for checkpoint in crate::checkpoint::list_all(&stage_folder(folder, number, name))? {
                fs::remove_dir_all(&checkpoint).map_err(|e| TrainError::io("cannot remove", &checkpoint, e))?;
            }
        }
        Ok(json!({
            "losses": losses,
            "predictions": count,
            "asked": asked,
            "parameters": parameters,
            "trained_parameters": trained_parameters,
            "training_bytes": training_bytes,
            "origin": self.origin,
        }))
    }
}

/// How large a cell's model is, and its training.
struct Counts {
    /// Parameters of the model.
    parameters: usize,
    /// Parameters that each stage trains.
    trained_parameters: BTreeMap<String, usize>,
    /// Bytes of each stage's weights, gradients and moments.
    training_bytes: BTreeMap<String, usize>,
}

fn counts<T: VisionTower, P: Projector>(recipe: &Recipe, model: &Vlm<T, P>) -> Result<Counts> {
    let parameters = list_params(model).iter().map(ParamInfo::count).sum();
    let mut counts = Counts { parameters, trained_parameters: BTreeMap::new(), training_bytes: BTreeMap::new() };
    for (name, stage) in recipe.stages.iter().filter_map(|name| Some((name, recipe.stage.get(name)?))) {
        let (rates, of_stage) = stage_params(stage, model)?;
        let (trained, frozen): (Vec<_>, Vec<_>) = of_stage.iter().partition(|param| rates.rate(&param.path).is_some());
        let count = |params: Vec<&ParamInfo>| params.into_iter().map(ParamInfo::count).sum::<usize>();
        let (trained, frozen) = (count(trained), count(frozen));
        // Of an objective without pictures the stage's model is the decoder; the rest is there all the same.
        let frozen = frozen.max(parameters.saturating_sub(trained));
        let halved = stage.lora.as_ref().is_some_and(|lora| lora.base != StoreDtype::F32);
        // The sum over micro-batches and the gradient of the next one.
        let gradients = if stage.accumulate > 1 { 2 } else { 1 };
        let state = trained * size_of::<f32>() * (1 + gradients + 2);
        let bytes = state + frozen * if halved { size_of::<u16>() } else { size_of::<f32>() };
        counts.trained_parameters.insert(name.clone(), trained);
        counts.training_bytes.insert(name.clone(), bytes);
    }
    Ok(counts)
}

/// What a cell's model is asked, and with what.
pub(super) struct Asking<'a, T, P> {
    pub(super) job: &'a VlmJob<T, P>,
    pub(super) parts: &'a PartFolders,
    pub(super) recipe: &'a Recipe,
    /// Whether the tower is the encoder's own from beginning to end.
    frozen: bool,
    benchmarks: Benchmarks,
    probed: Vec<Sample>,
    batch: usize,
    pub(super) reporter: &'a Reporter,
}

impl<T: VisionTower, P: Projector> Asking<'_, T, P> {
    /// A scorer of a model; the features of a frozen tower are those that all cells of the encoder share.
    pub(super) fn scorer(&self, model: &Vlm<T, P>) -> Result<Scorer<T, P>> {
        let config = &model.config;
        let device = &self.job.context.device;
        let image = picture_rule(self.recipe, config, &self.parts.encoder)?;
        let (backbone, end) = (&self.parts.backbone, self.recipe.model.answer_end);
        let processor = Arc::new(model_processor(config, backbone, end, &image, self.benchmarks.limits())?);
        let bank = self.bank(model, (&processor, &image))?;
        Ok(Scorer::new(model, device, processor, bank, self.batch))
    }

    /// A scorer of what needs no picture.
    pub(super) fn text_scorer(&self, model: &Vlm<T, P>) -> Result<Scorer<T, P>> {
        let config = &model.config;
        let image = picture_rule(self.recipe, config, &self.parts.encoder)?;
        let (backbone, end) = (&self.parts.backbone, self.recipe.model.answer_end);
        let processor = Arc::new(model_processor(config, backbone, end, &image, self.benchmarks.limits())?);
        Ok(Scorer::new(model, &self.job.context.device, processor, None, self.batch))
    }

    fn bank(
        &self,
        model: &Vlm<T, P>,
        (processor, image): (&burn_vlm_data::processor::Processor, &burn_vlm_data::image::ImageProcessorConfig),
    ) -> Result<Option<Arc<FeatureBank>>> {
        let config = &model.config;
        if !self.frozen || config.is_tiled() {
            return Ok(None);
        }
        let mut asked = PictureSet::new();
        for question in self.benchmarks.iter().flat_map(Benchmark::questions) {
            add_pictures(&mut asked, pictures(&question.media));
        }
        self.probed.iter().for_each(|sample| add_pictures(&mut asked, sample.pictures()));
        if asked.is_empty() || feature_bytes(config, processor) * asked.len() as u64 > BANK_BYTES {
            return Ok(None);
        }
        let encoder = part_state(&self.parts.encoder)?;
        let precision = self.recipe.compute.precision;
        let key = BankKey { encoder: &encoder, config, image, views: Views::Plain, precision };
        let on = (&self.job.context.device, self.reporter);
        stored_bank(&self.job.store, &key, model, processor, &asked, on).map(Some)
    }

    /// What a question that shows a picture costs: visual tokens, and the time of all questions shared among these.
    fn cost(&self, scorer: &Scorer<T, P>, took: Duration) -> Result<serde_json::Value> {
        let shown: Vec<&Question> = self
            .benchmarks
            .iter()
            .flat_map(Benchmark::questions)
            .filter(|question| !question.media.is_empty())
            .collect();
        if shown.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        let looked_at: Vec<&&Question> = shown.iter().step_by(shown.len().div_ceil(LOOKED_AT)).collect();
        let counts = looked_at.iter().map(|question| scorer.visual_tokens(&question.media));
        let visual_tokens: usize = counts.sum::<Result<usize>>()?;
        Ok(json!({
            "visual_tokens": visual_tokens as f64 / looked_at.len() as f64,
            "seconds": took.as_secs_f64() / shown.len() as f64,
        }))
    }

    /// Asks a model all benchmarks, through another language where one is given. Also how long the translator took.
    fn ask(&self, scorer: &Scorer<T, P>, pivot: Option<&PivotRecipe>) -> Result<(Vec<Prediction>, Duration)> {
        let mut predictions = Vec::new();
        let mut translator = pivot.map(|pivot| BackboneTranslator::new(self, pivot)).transpose()?;
        for benchmark in self.benchmarks.iter() {
            benchmark.notes().iter().for_each(|note| self.reporter.line(note));
            self.reporter.line(&asked(benchmark));
            let bar = self.reporter.bar(benchmark.name(), 0);
            let told = |progress: Progress| bar.set_of(progress.done as u64, progress.total as u64, "questions");
            predictions.extend(match (pivot, &mut translator) {
                (Some(pivot), Some(translator)) => {
                    evaluate_through(scorer, pivot.through, translator, benchmark, told)?
                }
                _ => evaluate(scorer, benchmark, told)?,
            });
        }
        Ok((predictions, translator.map_or(Duration::ZERO, |translator| translator.took())))
    }
}

impl<T: VisionTower, P: Projector> CellJob for VlmJob<T, P> {
    fn version(&self) -> u32 {
        VERSION
    }

    fn inputs(&self, cell: &Cell) -> Result<Inputs, JobError> {
        let Read { recipe, evaluation } = read(cell)?;
        let mut inputs = Inputs::new();
        let Asked { keys, text, .. } = self.asked(&evaluation)?;
        for (name, key) in keys {
            inputs.insert(format!("benchmark {name}"), key);
        }
        inputs.extend(text.map(|text| ("text".to_owned(), text.key())));
        for name in &recipe.stages {
            let files =
                recipe.stage.get(name).map(|stage| files_state(stage, &self.inputs.base)).transpose()?.flatten();
            inputs.extend(files.map(|state| (format!("data of {name}"), state)));
        }
        if !self.inputs.from_scratch {
            let Self { context, inputs: StudyInputs { base, parts, .. }, .. } = self;
            let assumptions = Assumptions::default();
            check_patterns(&EstimateInput { context, recipe: &recipe, base, parts, shapes: &[], assumptions })?;
        }
        for name in [recipe.model.encoder_part(), recipe.model.backbone_part()] {
            if !self.inputs.from_scratch {
                // A damaged part is told before hours of training, not after.
                TensorSource::open(&part_folder(name, &self.inputs.parts)?)?;
            }
            inputs.insert(format!("part {name}"), self.part_hash(&recipe, name)?);
        }
        Ok(inputs)
    }

    fn beginning(&self, cell: &Cell) -> Option<String> {
        // A cell whose recipe cannot be read says so when it runs.
        self.shared_stages(cell).ok()?.pop()
    }

    fn run(&self, cell: &Cell, folder: &Path, reporter: &Reporter) -> Result<serde_json::Value, JobError> {
        Ok(self.work(cell, folder, reporter)?)
    }
}

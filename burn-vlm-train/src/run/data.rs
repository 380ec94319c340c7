//! The data of a stage: its sources opened and mixed, what is held out for validation, what cannot be used listed, and the same data
//! on a second call.
//!
//! `data` of a stage is short for a mixture whose sources are tasks of the embedded corpus; everything after the sources is the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_vlm_base::files::{read_json_if_there, write_json_atomic};
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::Language;
use burn_vlm_data::mixture::{LanguageCounts, MixtureConfig, Share, largest_remainder};
use burn_vlm_data::source::{
    Group, LanguageRecords, Limits, Mixed, Records, Skip, SkipLimit, SkipLog, Source, StreamOptions, open_mixture, told,
};
use burn_vlm_data::tasks::{Task, training_source};
use burn_vlm_data::video::{VideoReader, VideoSettings};

use super::contents::{DataState, validated_by_program, videos_of};
use super::drawn::DrawnSamples;
use crate::checkpoint;
use crate::error::{Result, TrainError};
use crate::objective::{self, HeldOut};
use crate::pretrain::Context;
use crate::recipe::{DataRecipe, MixtureRecipe, Recipe, StageRecipe, TextShare, ValidationRecipe, VideoRecipe};

/// Positions in which tasks and languages of the corpus stand in their proportions, at least.
const CORPUS_EPOCH: u64 = 1000;
/// What the stream of a stage is made of.
const DATA: &str = "data.json";
/// What a weight of 1 is counted in.
const WEIGHT_ONE: f64 = 1e9;

/// The open data of a stage, with the stage that it decides the length of.
pub struct StageData {
    /// The stage, `steps` set.
    pub stage: StageRecipe,
    /// The stream.
    pub mixed: Arc<Mixed>,
    /// What an epoch draws in each language.
    pub languages: LanguageCounts,
    /// What is left out.
    pub log: Arc<SkipLog>,
    /// What is validated on.
    pub held_out: Option<HeldOut>,
    /// Hash of what the stream is made of.
    pub fingerprint: String,
    /// What is not as it was when the stage began, a line each; only a stage that is being extended may have any.
    pub changes: Vec<String>,
    /// How its videos are shown.
    pub video: VideoSettings,
    /// Where relative paths begin.
    pub base: PathBuf,
    /// The first video that the programs `ffmpeg` and `ffprobe` read, to train or to validate on.
    pub by_program: Option<String>,
    /// For `data.json`.
    state: DataState,
}

/// Where the data of a stage comes from.
#[derive(Clone, Copy)]
pub struct DataOrigin<'a> {
    /// The embedded corpus.
    pub corpus: &'a EmojiCorpus,
    /// Languages to which samples of the corpus stay parallel.
    pub parallel: &'a [Language],
    /// Where relative paths of mixtures begin.
    pub base: &'a Path,
    /// What is held out of every stage's data: what one stage validates on no other may train on.
    pub held_out: Share,
    /// How videos are shown; by default, where absent.
    pub video: Option<&'a VideoRecipe>,
}

impl<'a> DataOrigin<'a> {
    /// Of a recipe whose relative paths begin in `base`.
    pub fn new(context: &'a Context, recipe: &'a Recipe, base: &'a Path) -> Self {
        let held_out = recipe.held_out_share();
        Self {
            corpus: &context.corpus,
            parallel: &recipe.tokenizer.languages,
            base,
            held_out,
            video: recipe.video.as_ref(),
        }
    }
}

/// A stream before it is checked against what was there.
struct Opened {
    mixed: Arc<Mixed>,
    languages: LanguageCounts,
    held_out: Vec<LanguageRecords>,
    skipped: Vec<Skip>,
    limit: SkipLimit,
}

/// Opens the data of a stage. `skipped.jsonl`, `samples.json` and `data.json` go to `folder`; if `data.json` is there already, the data must still be
/// what it says.
///
/// # Errors
/// A mixture file or a source that cannot be opened, a language without texts, data that has changed since, too many records without a
/// language, nothing held out for validation.
pub fn open_stage_data(
    name: &str,
    stage: &StageRecipe,
    origin: DataOrigin<'_>,
    folder: &Path,
    seed: u64,
) -> Result<StageData> {
    open_data((name, stage), origin, folder, seed, false)
}

/// The same, of a stage whose data may be another one than when it began; [`StageData::accept`] makes it the stage's.
///
/// # Errors
/// As [`open_stage_data`], but for data that has changed.
pub(super) fn open_extended_data(
    name: &str,
    stage: &StageRecipe,
    origin: DataOrigin<'_>,
    folder: &Path,
    seed: u64,
) -> Result<StageData> {
    open_data((name, stage), origin, folder, seed, true)
}

fn open_data(
    (name, stage): (&str, &StageRecipe),
    origin: DataOrigin<'_>,
    folder: &Path,
    seed: u64,
    may_change: bool,
) -> Result<StageData> {
    let within = || format!("[stage.{name}]");
    let share = origin.held_out;
    let opened = match &stage.mixture {
        Some(mixture) => open_file(mixture, origin.base, seed, share).map_err(|e| TrainError::within(within())(e))?,
        None => open_corpus(&stage.data, origin, stage, seed, share).map_err(|e| TrainError::within(within())(e))?,
    };
    stage_of((name, stage), opened, (true, may_change), (origin.base, origin.video), folder)
}

/// The same for sources of one's own, in the place of what the stage names: every record of each once an epoch, but for what is held
/// out. Where the stage has a `mixture`, its settings hold, its file is not read.
///
/// # Errors
/// As [`open_stage_data`]; a stage that the recipe does not have, sources without a record.
pub fn open_stage_sources(
    (recipe, name): (&Recipe, &str),
    sources: Vec<Arc<dyn Source>>,
    base: &Path,
    folder: &Path,
    seed: u64,
) -> Result<StageData> {
    let Some(stage) = recipe.stage.get(name) else {
        let stages = recipe.stage.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(TrainError::Recipe(format!("there is no [stage.{name}]; the recipe has: {stages}")));
    };
    // What one stage validates on, no stage trains on.
    let share = recipe.held_out_share();
    let (mut groups, mut held_out, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    let mut languages = LanguageCounts::new();
    for (number, source) in sources.iter().enumerate() {
        for (language, records) in source.by_language(&mut |skip| skipped.push(skip)) {
            let held = |record: &u64| share.holds_out(source.split_key(*record));
            let (held, kept): (Vec<u64>, Vec<u64>) = records.into_iter().partition(held);
            if !held.is_empty() {
                held_out.push(LanguageRecords { source: number, language, records: held.into() });
            }
            let draws = kept.len() as u64;
            if draws > 0 {
                *languages.entry(language).or_default() += draws;
                groups.push(Group { source: number, records: Records::List(kept.into()), draws });
            }
        }
    }
    if groups.is_empty() {
        let message = format!("[stage.{name}]: the sources have no record to train on");
        return Err(TrainError::Recipe(message));
    }
    let mixture = stage.mixture.as_ref();
    let shuffle_bytes =
        mixture.map_or(StreamOptions::seeded(seed).shuffle_bytes, |mixture| mixture.shuffle_megabytes << 20);
    let options = StreamOptions { seed, shuffle_bytes, held_out: share };
    let limit = mixture.map_or_else(SkipLimit::default, |mixture| mixture.skip_limit);
    let mixed = Arc::new(Mixed::new(sources, groups, options)?);
    let opened = Opened { mixed, languages, held_out, skipped, limit };
    stage_of((name, stage), opened, (false, false), (base, recipe.video.as_ref()), folder)
}

/// What was opened, as the data of a stage: against what was there before, with its length and what is validated on. `has_files` says
/// whether it is read from the files that the stage names.
fn stage_of(
    (name, stage): (&str, &StageRecipe),
    opened: Opened,
    (has_files, may_change): (bool, bool),
    (base, video): (&Path, Option<&VideoRecipe>),
    folder: &Path,
) -> Result<StageData> {
    let Opened { mixed, languages, held_out, skipped, limit } = opened;
    let settings = video.map(VideoRecipe::settings).unwrap_or_default();
    let reader = VideoReader::new(settings.reading.clone());
    let videos = videos_of(&mixed, &reader);
    let by_program = videos.by_program.clone();
    let state = DataState::of(&mixed, has_files.then_some((stage, base)), (videos, &reader))
        .map_err(TrainError::within(format!("[stage.{name}]")))?;
    let file = folder.join(DATA);
    // Data that nothing has been trained on may change.
    let begun = !checkpoint::list(folder)?.is_empty();
    let before: Option<DataState> = if begun { read_json_if_there(&file)? } else { None };
    let changes = before.as_ref().map(|before| state.changes(before)).unwrap_or_default();
    if let Some(before) = &before
        && !may_change
        && let Some(reason) = state.refusal(before, &mixed)
    {
        return Err(TrainError::invalid(
            &file,
            format!(
                "the data of stage {name} is not what it was when this run began: {reason}; put back what was there, train on it in \
                 another folder, or, where this is the last stage and at its end, go on from there with --extend"
            ),
        ));
    }
    if before.is_none() {
        write_json_atomic(&file, &state)?;
    }
    let listed = folder.join("skipped.jsonl");
    if !begun && listed.exists() {
        std::fs::remove_file(&listed).map_err(|e| TrainError::io("cannot remove", &listed, e))?;
    }
    let log = SkipLog::open(listed, limit)?;
    let records = mixed.sources().iter().map(|source| source.len()).sum();
    log.record_unread(records, skipped)?;
    let steps = stage.steps_over(name, mixed.epoch_len())?;
    DrawnSamples::of(&mixed, &languages, (steps * stage.samples_per_step()) as u64).write(folder)?;
    let held_out = stage.validation().map(|validation| held_out_samples(&validation, stage, base, &mixed, &held_out));
    let held_out = held_out.transpose().map_err(|e| TrainError::within(format!("[stage.{name}.validation]"))(e))?;
    // What is held out of the sources was looked at with them.
    let own_file = held_out.as_ref().filter(|_| stage.validation().is_some_and(|validation| validation.file.is_some()));
    let by_program = by_program.or_else(|| validated_by_program(own_file?, &reader));
    // Of a stage that goes on, what it knew: a newer version may know more.
    let known = before.as_ref().filter(|_| !may_change).unwrap_or(&state);
    let text = serde_json::to_string(known).map_err(|e| TrainError::invalid(&file, e.to_string()))?;
    // What is validated on decides on weights and length too.
    let validated = held_out.as_ref().map(HeldOut::describe);
    let shown = video.map(VideoRecipe::fingerprint).unwrap_or_default();
    let fingerprint = blake3::hash(format!("{text}{validated:?}{shown}").as_bytes()).to_hex().to_string();
    Ok(StageData {
        stage: StageRecipe { steps, ..stage.clone() },
        mixed,
        languages,
        log: Arc::new(log),
        held_out,
        fingerprint,
        changes,
        video: settings,
        base: base.to_owned(),
        by_program,
        state,
    })
}

/// A mixture by its file.
fn open_file(mixture: &MixtureRecipe, base: &Path, seed: u64, held_out: Share) -> Result<Opened> {
    let file = base.join(&mixture.file);
    let config = mixture.config(base)?;
    let options = StreamOptions { seed, shuffle_bytes: mixture.shuffle_megabytes << 20, held_out };
    let opened = open_mixture(&config, mixture.limits, options);
    let opened = opened.map_err(|error| TrainError::within(file.display().to_string())(error))?;
    let (languages, limit) = (opened.plan.by_language(), mixture.skip_limit);
    Ok(Opened { mixed: opened.mixed, languages, held_out: opened.held_out, skipped: opened.skipped, limit })
}

/// Tasks and languages of the corpus: one source each, mixed by task weight x language share.
fn open_corpus(
    data: &DataRecipe,
    DataOrigin { corpus, parallel, .. }: DataOrigin<'_>,
    stage: &StageRecipe,
    seed: u64,
    share: Share,
) -> Result<Opened> {
    let (mut sources, mut weights): (Vec<Arc<dyn Source>>, Vec<u64>) = (Vec::new(), Vec::new());
    let mut parts = Vec::new();
    let mut held_out = Vec::new();
    let settings = data.task_settings();
    for drawn in drawn_of_corpus(data) {
        let mut of_kind = Vec::new();
        // Whether each task that is asked for gives anything: what is wanted and not there must not pass for what is there.
        let mut given: BTreeMap<Task, bool> = BTreeMap::new();
        for (task, language, weight) in drawn.of {
            let weight = (weight * WEIGHT_ONE).round() as u64;
            if weight == 0 {
                continue;
            }
            let source = training_source(corpus, task, language, drawn.languages, parallel, seed, &settings)?;
            *given.entry(task).or_default() |= !source.is_empty();
            if !source.is_empty() {
                of_kind.push((language, source, weight));
            }
        }
        if let Some((task, _)) = given.iter().find(|(_, given)| !**given) {
            let languages = drawn.languages.iter().map(|language| language.tag()).collect::<Vec<_>>().join(", ");
            let message = format!("the task `{}` gives no samples in {languages} with these settings", task.as_str());
            return Err(TrainError::Recipe(message));
        }
        let sum: f64 = of_kind.iter().map(|(_, _, weight)| *weight as f64).sum();
        for (language, source, weight) in of_kind {
            // A kind of samples that stands beside another has its share, whatever its own weights add up to.
            let weight = drawn.share.map_or(weight, |share| (weight as f64 / sum * share * WEIGHT_ONE).round() as u64);
            if weight == 0 {
                continue;
            }
            let held = |record: &u64| share.holds_out(source.split_key(*record));
            let (held, kept): (Vec<u64>, Vec<u64>) = (0..source.len()).partition(held);
            if !held.is_empty() {
                held_out.push(LanguageRecords {
                    source: sources.len(),
                    language: Some(language),
                    records: held.into(),
                });
            }
            let all = kept.len() as u64 == source.len();
            parts.push((language, if all { Records::Range(0..source.len()) } else { Records::List(kept.into()) }));
            sources.push(Arc::new(source));
            weights.push(weight);
        }
    }
    if sources.is_empty() {
        return Err(TrainError::Recipe("the stage's tasks and languages give no samples".into()));
    }
    let epoch = ((stage.steps * stage.samples_per_step()) as u64).max(CORPUS_EPOCH);
    let draws = largest_remainder(epoch, &weights);
    let mut languages = LanguageCounts::new();
    let mut groups = Vec::with_capacity(draws.len());
    for (source, ((language, records), draws)) in parts.into_iter().zip(draws).enumerate() {
        if draws == 0 {
            let message = format!(
                "{}: its weight is below one in {epoch} samples, it would never be drawn",
                sources[source].name()
            );
            return Err(TrainError::Recipe(message));
        }
        *languages.entry(Some(language)).or_default() += draws;
        groups.push(Group { source, records, draws });
    }
    let mixed = Arc::new(Mixed::new(sources, groups, StreamOptions::seeded(seed))?);
    Ok(Opened { mixed, languages, held_out, skipped: Vec::new(), limit: SkipLimit::default() })
}

/// Samples of one kind, of the embedded corpus.
struct DrawnOfCorpus<'a> {
    /// Their share of the stage; none where there is no other kind.
    share: Option<f64>,
    /// Languages of the answers.
    languages: &'a [Language],
    /// Tasks and languages, each with its weight.
    of: Vec<(Task, Language, f64)>,
}

/// The samples of a stage on the corpus: those of its tasks, and, where it asks for them, texts without pictures.
fn drawn_of_corpus(data: &DataRecipe) -> Vec<DrawnOfCorpus<'_>> {
    let DataRecipe { languages, tasks, text, .. } = data;
    let of = |tasks: &BTreeMap<Task, f64>, shares: &dyn Fn(Task) -> Vec<(Language, f64)>| {
        let each = |(task, weight): (&Task, &f64)| {
            let (task, weight) = (*task, *weight);
            let shares = shares(task).into_iter();
            shares.map(|(language, share)| (task, language, weight * share)).collect::<Vec<_>>()
        };
        tasks.iter().flat_map(each).collect()
    };
    let share = text.as_ref().map(|text| 1.0 - text.share);
    let mut drawn = vec![DrawnOfCorpus { share, languages, of: of(tasks, &|task| data.languages_of(task)) }];
    if let Some(TextShare { share, languages, tasks }) = text {
        let even = |_| languages.iter().map(|language| (*language, 1.0 / languages.len() as f64)).collect();
        drawn.push(DrawnOfCorpus { share: Some(*share), languages, of: of(tasks, &even) });
    }
    drawn
}

/// The stream of a stage on the corpus, nothing held out, and what an epoch of it draws in each language.
///
/// # Errors
/// A language without texts, a task or language that would never be drawn.
pub(crate) fn corpus_mixture(
    stage: &StageRecipe,
    origin: DataOrigin<'_>,
    seed: u64,
) -> Result<(Arc<Mixed>, LanguageCounts)> {
    let opened = open_corpus(&stage.data, origin, stage, seed, Share::ZERO)?;
    Ok((opened.mixed, opened.languages))
}

/// What a stage is validated on: at most `samples`, evenly from all that is held out, or of a file of their own.
fn held_out_samples(
    validation: &ValidationRecipe,
    stage: &StageRecipe,
    base: &Path,
    mixed: &Mixed,
    held_out: &[LanguageRecords],
) -> Result<HeldOut> {
    let (sources, held_out) = match &validation.file {
        None => (mixed.sources().to_vec(), held_out.to_vec()),
        Some(file) => {
            let config = MixtureConfig::from_file(base.join(file))?;
            let limits = stage.mixture.as_ref().map_or_else(Limits::default, |mixture| mixture.limits);
            // All that an epoch of it would draw.
            let opened = open_mixture(&config, limits, StreamOptions::seeded(0))?;
            (opened.mixed.sources().to_vec(), opened.drawn)
        }
    };
    let total: u64 = held_out.iter().map(|held| held.records.len() as u64).sum();
    if total == 0 {
        return Err(TrainError::Recipe("no sample is held out: raise `share`, or name a `file`".into()));
    }
    let wanted = (validation.samples as u64).min(total);
    let sizes: Vec<u64> = held_out.iter().map(|held| held.records.len() as u64).collect();
    let parts = largest_remainder(wanted, &sizes);
    let groups = held_out.iter().zip(parts).filter(|(_, part)| *part > 0).map(|(held, part)| {
        let every = |rank: u64| held.records[(rank * held.records.len() as u64 / part) as usize];
        let records = Records::List((0..part).map(every).collect());
        objective::Group { source: held.source, language: held.language, records }
    });
    Ok(HeldOut { groups: groups.collect(), sources })
}

impl StageData {
    /// Makes this the data of the stage from now on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn accept(&self, folder: &Path) -> Result<()> {
        Ok(write_json_atomic(&folder.join(DATA), &self.state)?)
    }

    /// What is drawn, a line each.
    pub fn describe(&self) -> Vec<String> {
        let sources = self.mixed.sources();
        let records: u64 = sources.iter().map(|source| source.len()).sum();
        let epoch = self.mixed.epoch_len();
        let samples = (self.stage.steps * self.stage.samples_per_step()) as u64;
        let languages = self.languages.iter().map(|(language, count)| {
            let tag = language.map_or("no language", |language| language.tag());
            format!("{tag} {:.1} %", *count as f64 / epoch.max(1) as f64 * 100.0)
        });
        let mut lines = vec![
            format!(
                "{} sources with {records} records; the stage draws {samples} samples, {:.2} times an epoch of {epoch}",
                sources.len(),
                samples as f64 / epoch.max(1) as f64
            ),
            format!("languages: {}", languages.collect::<Vec<_>>().join(", ")),
        ];
        lines.extend(sources.iter().flat_map(|source| told(&**source)));
        if let Some(held_out) = &self.held_out {
            lines.push(format!("validated on {} held-out samples", held_out.len()));
        }
        lines
    }
}

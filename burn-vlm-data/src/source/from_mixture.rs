//! From a mixture file to a stream: opens its sources, counts what they have by language, and draws as its plan says.

use super::config::{Fields, Format, LanguageRule, SourceConfig};
use super::error::SourceError;
use super::files;
use super::skip::Skip;
use super::stream::{Group, Mixed, Records, StreamError, StreamOptions};
use super::{FileSource, Limits, ListSource, Source};
use crate::braces::expand_braces;
use crate::emoji::EmojiCorpus;
use crate::language::Language;
use crate::mixture::{self, LanguageCounts, MixtureConfig, Plan, PlanError, Share, SourceFormat};
use crate::tasks::{Task, TaskSettings, training_samples};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Numbers of records by language.
type ByLanguage = BTreeMap<Option<Language>, Vec<u64>>;

/// A mixture whose sources are open.
pub struct OpenMixture {
    /// The stream.
    pub mixed: Arc<Mixed>,
    /// What is drawn of which source in which language.
    pub plan: Plan,
    /// Records that are held out ([`StreamOptions::held_out`]), by source (its number in the stream) and language.
    pub held_out: Vec<LanguageRecords>,
    /// Records that an epoch draws, each once however often it does.
    pub drawn: Vec<LanguageRecords>,
    /// Records without a usable language, which belong to no group; for the [`SkipLog`](super::SkipLog).
    pub skipped: Vec<Skip>,
}

/// Some records of one source in one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanguageRecords {
    /// Number of the source in the stream.
    pub source: usize,
    /// The language.
    pub language: Option<Language>,
    /// The records.
    pub records: Arc<[u64]>,
}

/// A mixture that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenMixtureError {
    /// A source cannot be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Several sources cannot be opened.
    #[error("{} of {total} sources cannot be opened:{}", errors.len(), lines(errors))]
    Sources {
        /// What is wrong with each.
        errors: Vec<SourceError>,
        /// Number of sources of the mixture that its tags let in.
        total: usize,
    },
    /// No source has a record that can be drawn.
    #[error("{error}:{}", sources.concat())]
    Nothing {
        /// What was asked for.
        error: PlanError,
        /// A line for each source: its file, what it has, and why that is left out.
        sources: Vec<String>,
    },
    /// The sources have not what is asked for.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The stream cannot begin.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

fn lines(errors: &[SourceError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}

/// Opens the sources of a mixture that its tags let in. An epoch holds exactly the records of its plan. Which records are
/// chosen is decided by the mixture's seed, their order by that of `options`.
///
/// # Errors
/// Sources that cannot be opened, too few records of some source or language.
pub fn open_mixture(
    config: &MixtureConfig,
    limits: Limits,
    options: StreamOptions,
) -> Result<OpenMixture, OpenMixtureError> {
    mix_sources(config, &open_sources(config, limits)?, options)
}

/// The first half of [`open_mixture`]: the sources alone, in the order of the file; `None` where its tags leave one out.
///
/// # Errors
/// All sources that cannot be opened.
pub fn open_sources(config: &MixtureConfig, limits: Limits) -> Result<Vec<Option<Arc<dyn Source>>>, OpenMixtureError> {
    let (mut sources, mut errors) = (Vec::new(), Vec::new());
    for (source, active) in config.sources.iter().zip(config.active()) {
        let open = || match source.format {
            SourceFormat::Emoji => corpus_source(source),
            _ => Ok(Arc::new(FileSource::open(source_config(config, source, limits)?)?) as Arc<dyn Source>),
        };
        match active.then(open).transpose() {
            Ok(source) => sources.push(source),
            Err(error) => errors.push(error),
        }
    }
    match (errors.len(), errors.pop()) {
        (1, Some(error)) => Err(error.into()),
        (_, Some(last)) => {
            errors.push(last);
            let total = config.active().into_iter().filter(|active| *active).count();
            Err(OpenMixtureError::Sources { errors, total })
        }
        (_, None) => Ok(sources),
    }
}

/// What the sources of a mixture are opened with, in the order of the file, for who looks at their rows: `None` where its tags leave one out,
/// and of the embedded corpus, which has no files.
///
/// # Errors
/// A source whose columns are not known.
pub fn file_sources(config: &MixtureConfig, limits: Limits) -> Result<Vec<Option<SourceConfig>>, SourceError> {
    let sources = config.sources.iter().zip(config.active());
    let of_files = |(source, active): (&mixture::SourceConfig, bool)| {
        (active && source.format != SourceFormat::Emoji).then(|| source_config(config, source, limits)).transpose()
    };
    sources.map(of_files).collect()
}

/// The files that the sources of a mixture are read from, but for their pictures.
///
/// # Errors
/// A source without a file.
pub fn mixture_files(config: &MixtureConfig) -> Result<Vec<PathBuf>, OpenMixtureError> {
    let mut found = Vec::new();
    let active = config.sources.iter().zip(config.active()).filter(|(_, active)| *active);
    for (source, _) in active.filter(|(source, _)| source.format != SourceFormat::Emoji) {
        let SourceConfig { name, path, format, .. } = source_config(config, source, Limits::default())?;
        found.extend(files::expand(&name, &path, format)?);
    }
    Ok(found)
}

/// A file or folder of a mixture that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFile {
    /// The source that needs it.
    pub source: String,
    /// Where it should be; with a wildcard, where something that fits it should be.
    pub path: PathBuf,
    /// Where it is published.
    pub from: Option<String>,
}

/// The files and folders of pictures of a mixture that are not there. Nothing is read.
///
/// # Errors
/// A path that cannot be understood.
pub fn missing_files(config: &MixtureConfig) -> Result<Vec<MissingFile>, SourceError> {
    let mut missing = Vec::new();
    let active = config.sources.iter().zip(config.active()).filter(|(_, active)| *active);
    for (source, _) in active.filter(|(source, _)| source.format != SourceFormat::Emoji) {
        let pattern = config.resolve(&source.path).display().to_string();
        let paths = expand_braces(&pattern).map_err(|reason| SourceError::Pattern {
            source_name: source.name.clone(),
            pattern: pattern.clone(),
            reason,
        })?;
        let is_there = |path: &PathBuf| match path.file_name().is_some_and(|name| name.to_string_lossy().contains('*'))
        {
            true => files::expand(&source.name, &path.display().to_string(), None).is_ok(),
            false => path.exists(),
        };
        let mut wanted: Vec<PathBuf> = paths.into_iter().map(PathBuf::from).filter(|path| !is_there(path)).collect();
        // Without `.` in it, for people.
        let folder = |root: &PathBuf| config.resolve(root).components().collect::<PathBuf>();
        let roots = source.image_root.iter().chain(&source.video_root);
        wanted.extend(roots.map(folder).filter(|root| !root.exists()));
        let from = source.from.as_ref().or(config.from.as_ref());
        missing.extend(wanted.into_iter().map(|path| MissingFile {
            source: source.name.clone(),
            path,
            from: from.cloned(),
        }));
    }
    Ok(missing)
}

/// The second half of [`open_mixture`], with the sources that [`open_sources`] gave for the same file.
///
/// # Errors
/// Too few records of some source or language.
pub fn mix_sources(
    config: &MixtureConfig,
    opened: &[Option<Arc<dyn Source>>],
    options: StreamOptions,
) -> Result<OpenMixture, OpenMixtureError> {
    let (mut sources, mut counts, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    let mut held_out = Vec::new();
    // Of each source of the file: its number among the open ones, and its chosen records by language.
    let mut chosen: Vec<(usize, ByLanguage)> = Vec::new();
    for (number, (source, open)) in config.sources.iter().zip(opened).enumerate() {
        let Some(open) = open else {
            counts.push(LanguageCounts::new());
            chosen.push((0, ByLanguage::new()));
            continue;
        };
        let selection = source.take.select(open.len(), config.source_seed(number));
        let selection = selection.map_err(|reason| PlanError::Take { source_name: source.name.clone(), reason })?;
        let mut groups = open.by_language(&mut |skip| {
            if selection.contains(skip.record) {
                skipped.push(skip);
            }
        });
        groups.values_mut().for_each(|records| records.retain(|record| selection.contains(*record)));
        if options.held_out != Share::ZERO {
            for (language, records) in &mut groups {
                let kept = |record: &u64| !options.held_out.holds_out(open.split_key(*record));
                let (kept, held): (Vec<u64>, Vec<u64>) = records.iter().partition(|record| kept(record));
                *records = kept;
                if !held.is_empty() {
                    held_out.push(LanguageRecords { source: sources.len(), language: *language, records: held.into() });
                }
            }
        }
        counts.push(groups.iter().map(|(language, records)| (*language, records.len() as u64)).collect());
        chosen.push((sources.len(), groups));
        sources.push(open.clone());
    }
    let plan = Plan::new(config, &counts).map_err(|error| match error {
        PlanError::Empty { .. } => {
            let mut sources = Vec::new();
            for ((source, open), counts) in config.sources.iter().zip(opened).zip(&counts) {
                let path = config.resolve(&source.path).display().to_string();
                sources.push(told_of(&source.name, &path, open.as_deref(), counts.values().sum(), &skipped));
            }
            OpenMixtureError::Nothing { error, sources }
        }
        error => error.into(),
    })?;
    // What the mixture does not draw of is not validated on either.
    let drawn = |held: &LanguageRecords| {
        plan.cells().iter().any(|cell| cell.language == held.language && chosen[cell.source].0 == held.source)
    };
    held_out.retain(drawn);
    let groups = plan.cells().iter().flat_map(|cell| {
        let (source, groups) = &chosen[cell.source];
        let records = groups.get(&cell.language).map(Vec::as_slice).unwrap_or_default();
        // Records are drawn so many times each; those that are drawn once more are a group of their own.
        let whole = cell.draw / cell.available.max(1);
        let more = |(rank, _): &(usize, &u64)| cell.copies(*rank as u64) > whole;
        let rest: Arc<[u64]> = records.iter().enumerate().filter(more).map(|(_, record)| *record).collect();
        let group = |records: Arc<[u64]>, times: u64| {
            let draws = records.len() as u64 * times;
            Group { source: *source, records: Records::List(records), draws }
        };
        let all = (whole > 0).then(|| group(records.into(), whole));
        let rest = (!rest.is_empty()).then(|| group(rest, 1));
        all.into_iter().chain(rest).collect::<Vec<_>>()
    });
    let groups = groups.collect();
    let records = plan.cells().iter().map(|cell| {
        let (source, groups) = &chosen[cell.source];
        let records = groups.get(&cell.language).map(Vec::as_slice).unwrap_or_default();
        let drawn = records.iter().enumerate().filter(|(rank, _)| cell.copies(*rank as u64) > 0);
        LanguageRecords {
            source: *source,
            language: cell.language,
            records: drawn.map(|(_, record)| *record).collect(),
        }
    });
    let drawn = records.filter(|drawn| !drawn.records.is_empty()).collect();
    let mixed = Arc::new(Mixed::new(sources, groups, options)?);
    Ok(OpenMixture { mixed, plan, held_out, drawn, skipped })
}

/// What a source has, in a line.
fn told_of(name: &str, path: &str, open: Option<&dyn Source>, usable: u64, skipped: &[Skip]) -> String {
    let Some(open) = open else { return format!("\n  {name:?} ({path}): left out by its tags") };
    let own: Vec<&Skip> = skipped.iter().filter(|skip| skip.source == name).collect();
    let why = own.first().map(|first| format!("; {} left out, first: {first}", own.len())).unwrap_or_default();
    format!("\n  {name:?} ({path}): {} records, {usable} of them chosen by `take` and with a language{why}", open.len())
}

/// Training samples of the embedded corpus.
fn corpus_source(source: &mixture::SourceConfig) -> Result<Arc<dyn Source>, SourceError> {
    let wrong = |key: &'static str, expected: String, found: String| SourceError::Config {
        source_name: source.name.clone(),
        key,
        expected,
        found,
    };
    let tasks = || Task::ALL.map(Task::as_str).join(", ");
    let task = Task::ALL.into_iter().find(|task| task.as_str() == source.path);
    let task = task.ok_or_else(|| wrong("path", format!("a task of the corpus: {}", tasks()), source.path.clone()))?;
    let language =
        source.language.ok_or_else(|| wrong("language", "the language of the answers".into(), "none".into()))?;
    let corpus = EmojiCorpus::embedded().map_err(|e| wrong("format", "the embedded corpus".into(), e.to_string()))?;
    let unread = [
        ("columns", !source.columns.is_empty()),
        ("image_root", source.image_root.is_some()),
        ("video_root", source.video_root.is_some()),
        ("allow_links", source.allow_links),
        ("ignore", !source.ignore.is_empty()),
        ("language_column", source.language_column.is_some()),
        ("language_map", !source.language_map.is_empty()),
    ];
    if let Some((key, _)) = unread.into_iter().find(|(_, given)| *given) {
        return Err(wrong(key, "no such key beside `format = \"emoji\"`".into(), "one".into()));
    }
    let from: &[Language] = if language == Language::EN { &[language] } else { &[Language::EN, language] };
    let samples = training_samples(&corpus, task, language, from, &[], 0, &TaskSettings::default());
    let mut samples = samples.map_err(|e| wrong("language", "a language of the corpus".into(), e.to_string()))?;
    samples.iter_mut().for_each(|sample| sample.tags = Arc::from(source.tags.clone()));
    Ok(Arc::new(ListSource::new(&source.name, samples)))
}

/// The source as its reader wants it.
fn source_config(
    config: &MixtureConfig,
    source: &mixture::SourceConfig,
    limits: Limits,
) -> Result<SourceConfig, SourceError> {
    let mut fields = Fields { ignore: source.ignore.clone(), ..Fields::default() };
    for (column, name) in &source.columns {
        let field = match column.as_str() {
            "id" => &mut fields.id,
            "image" => &mut fields.image,
            "video" => &mut fields.video,
            "conversations" => &mut fields.conversations,
            "question" => &mut fields.question,
            "answer" => &mut fields.answer,
            "caption" => &mut fields.caption,
            "system" => &mut fields.system,
            _ => {
                let expected = "id, image, video, conversations, question, answer, caption or system".to_owned();
                let source_name = source.name.clone();
                return Err(SourceError::Config { source_name, key: "columns", expected, found: column.clone() });
            }
        };
        *field = Some(name.clone());
    }
    let path = config.resolve(&source.path);
    let folder = || path.parent().unwrap_or(Path::new("")).to_owned();
    let image_root = source.image_root.as_ref().map_or_else(folder, |root| config.resolve(root));
    let field = |field: &String| LanguageRule::Field { field: field.clone(), aliases: source.language_map.clone() };
    let language = source.language.map(LanguageRule::Fixed).or_else(|| source.language_column.as_ref().map(field));
    Ok(SourceConfig {
        format: Some(match source.format {
            SourceFormat::LlavaJson | SourceFormat::LlavaJsonl => Format::Json,
            SourceFormat::Parquet => Format::Parquet,
            SourceFormat::Webdataset => Format::WebDataset,
            SourceFormat::VlmevalkitTsv => Format::Tsv,
            SourceFormat::Emoji => {
                let expected = "a format of files".to_owned();
                return Err(SourceError::Config {
                    source_name: source.name.clone(),
                    key: "format",
                    expected,
                    found: "emoji".into(),
                });
            }
        }),
        image_root: Some(image_root),
        video_root: source.video_root.as_ref().map(|root| config.resolve(root)),
        allow_links: source.allow_links,
        language,
        tags: source.tags.clone(),
        fields,
        limits,
        ..SourceConfig::new(source.name.clone(), path.display().to_string())
    })
}

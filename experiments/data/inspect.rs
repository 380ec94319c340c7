//! `data inspect`: figures of a source or of all sources of a mixture, a page of samples, what cannot be used.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_vlm_base::files::{write_atomic, write_json_atomic};
use burn_vlm_base::jsonl::JsonlWriter;
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::encode::MaskStyle;
use burn_vlm_data::image::ImageProcessor;
use burn_vlm_data::language::Language;
use burn_vlm_data::mixture::{MixtureConfig, PlanSummary};
use burn_vlm_data::processor::Processor;
use burn_vlm_data::source::inspect::{
    InspectOptions, Inspection, PageOptions, Reader, SharedPictures, Split, mixture_page, page, shared_pictures,
};
use burn_vlm_data::source::{
    Fields, FileSource, Format, LanguageRule, Limits, Source, SourceConfig, StreamOptions, mix_sources, open_sources,
};
use burn_vlm_data::video::VideoSettings;
use burn_vlm_train::pictures::processor_file;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::looking::look;
use crate::AnyError;
use crate::args::RuleArgs;
use crate::call::examples;

/// Only the plan of a mixture is asked for, no stream is drawn.
const NO_SHUFFLE: u64 = 1;
/// Which samples a page shows.
const PAGE_SEED: u64 = 0;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        ("data", "inspect llava_665k.json --image-root images --language en", "counts, lengths, what is broken"),
        (
            "data",
            "inspect 'data/train-*.parquet' --html runs/page.html",
            "the same of many files, and a page of samples with their pictures",
        ),
        (
            "data",
            "inspect chat.jsonl --tokenizer MODEL --html runs/page.html",
            "token lengths, and the page shows which tokens are trained",
        ),
        ("data", "inspect train.json --against test.json", "which pictures of one split stand in the other"),
        (
            "data",
            "inspect mixture.toml --skipped skipped.jsonl",
            "every source of a mixture, what an epoch draws of it, and a list of all bad records",
        ),
    ];
    examples(&lines, "Records that cannot be used are counted, not an error. A file that cannot be opened is one.")
}

/// Show what is in a source, or in all sources of a mixture file
///
/// Counts samples by language, tag and number of pictures, tells how long they are, and finds every record that cannot be used
/// (pictures that are missing or broken, unknown languages, no answer, ...).
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct InspectArgs {
    /// A file, several ('{a,b}.json', 'train-{000..009}.tar', 'data/*.parquet'), a folder, or a mixture (.toml)
    path: String,

    /// How the files are written [default: told by their ending]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FileFormat>,

    /// Where the paths of pictures in the records begin, and those of videos without --video-root [default: the folder of the file]
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,

    /// Where the video paths of the records begin [default: as --image-root]
    #[arg(long, value_name = "DIR")]
    video_root: Option<PathBuf>,

    /// Which frames of each video are decoded, shown on the page and counted: as a model is shown them.
    #[command(flatten)]
    rule: RuleArgs,

    /// Follow links below the image root that lead out of it, to a shared disk for example
    #[arg(long)]
    allow_links: bool,

    /// A field that is not read on purpose: nothing is said of it; several times for several
    #[arg(long, value_name = "NAME")]
    ignore: Vec<String>,

    /// The language of all samples: en, de, zh-Hans, ...
    #[arg(long, value_name = "TAG", conflicts_with = "language_field")]
    language: Option<Language>,

    /// The field or column that has each sample's language
    #[arg(long, value_name = "NAME")]
    language_field: Option<String>,

    /// Languages that the data writes differently, with --language-field: zh=zh-Hans,german=de
    #[arg(long, value_name = "TAG=LANGUAGE", requires = "language_field", value_delimiter = ',', value_parser = alias)]
    aliases: Vec<(String, Language)>,

    /// A tag of the source (public, synthetic, translated, ...); several times for several
    #[arg(long, value_name = "T")]
    tag: Vec<String>,

    /// A model's folder with tokenizer.json and a chat template: counts tokens, and colours the trained ones on the page
    #[arg(long, value_name = "FOLDER")]
    tokenizer: Option<PathBuf>,

    /// A folder with preprocessor_config.json (an encoder's, a whole model's): the page shows each picture as its tower sees it, too
    /// [default: the folder of --tokenizer, if it has one]
    #[arg(long, value_name = "FOLDER")]
    encoder: Option<PathBuf>,

    /// Another split (a file, several, a folder, a mixture): tells which pictures stand in both, by their bytes
    #[arg(long, value_name = "PATH", conflicts_with = "no_decode")]
    against: Option<String>,

    /// Which tokens are trained
    #[arg(long, value_enum, requires = "tokenizer", default_value_t = Mask::AnswersOnly)]
    mask: Mask,

    /// Visual tokens of a picture, and of a frame where the model takes no videos; of tiled pictures, a mean
    /// [default: as many as the model of --tokenizer makes, where its folder says and pictures do not differ; else 576]
    #[arg(long, value_name = "N", requires = "tokenizer")]
    tokens_per_picture: Option<usize>,

    /// Write one self-contained page of samples with pictures and conversations
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Samples of each source on the page
    #[arg(long, value_name = "N", default_value_t = 24)]
    samples: usize,

    /// Look at the first N records of each source only
    #[arg(long, value_name = "N")]
    max_records: Option<u64>,

    /// Only look whether pictures are there: quicker, but broken ones are not found
    #[arg(long)]
    no_decode: bool,

    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// List every record that cannot be used, one a line, with file, place and reason
    #[arg(long, value_name = "FILE")]
    skipped: Option<PathBuf>,

    /// Threads that read and decode [default: one a core]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

/// `--format`
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FileFormat {
    /// LLaVA's JSON or JSONL
    #[value(aliases = ["jsonl", "llava_json", "llava_jsonl"])]
    Json,
    /// Hugging Face parquet
    Parquet,
    /// Tar archives of 0001.jpg and 0001.json or .txt
    #[value(name = "webdataset")]
    WebDataset,
    /// VLMEvalKit's table
    #[value(alias = "vlmevalkit_tsv")]
    Tsv,
}

/// `--mask`
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Mask {
    /// Answers and the tokens that end them
    AnswersOnly,
    /// As TowerVision's training code
    Towervision,
    /// As LLaVA-NeXT's for Qwen
    LlavaNextQwen,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Figures<'a> {
    sources: Vec<&'a Inspection>,
    /// Of a mixture that can be drawn.
    plan: Option<&'a PlanSummary>,
    /// Why a mixture cannot be drawn.
    plan_error: Option<String>,
    /// Pictures that `--against` has too.
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<SharedPictures>,
}

/// `zh=zh-Hans`
fn alias(text: &str) -> Result<(String, Language), String> {
    let (tag, language) =
        text.split_once('=').filter(|(tag, _)| !tag.is_empty()).ok_or("expected TAG=LANGUAGE, such as zh=zh-Hans")?;
    Ok((tag.to_owned(), Language::parse(language).map_err(|error| error.to_string())?))
}

/// Runs the command.
pub(super) fn run(args: &InspectArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    let mixture = args.mixture()?;
    let videos = args.rule.settings()?;
    let reader = args.reader()?;
    let tower = args.tower()?;
    args.check_outputs()?;
    if let (Some(note), Some(folder)) = (reader.as_ref().and_then(|reader| reader.note()), &args.tokenizer) {
        writeln!(out, "warning: {}: {note}", folder.display())?;
    }
    let opening = reporter.bar(&format!("opening {}", args.path), 1);
    let opened = match &mixture {
        Some(config) => open_sources(config, Limits::default())?,
        None => vec![Some(Arc::new(FileSource::open(args.source(&args.path))?) as Arc<dyn Source>)],
    };
    drop(opening);
    let mut skipped = args.skipped.as_deref().map(JsonlWriter::create).transpose()?;
    let mut looked = Vec::new();
    for source in opened.iter().flatten() {
        let inspection = look(source, reader.as_ref(), args.options(&videos), skipped.as_mut(), reporter)?;
        writeln!(out, "{inspection}")?;
        looked.push((source.clone(), inspection));
    }
    if let (Some(file), Some(path)) = (skipped, &args.skipped) {
        writeln!(out, "records that cannot be used: {} ({})", path.display(), file.records())?;
    }
    let shared = args.against.as_deref().map(|other| args.shared(&looked, other, &videos, reporter)).transpose()?;
    if let (Some(shared), Some(other)) = (&shared, &args.against) {
        writeln!(out, "{} and {other}: {shared}\n", args.path)?;
    }
    let plan = mixture.as_ref().map(|config| {
        let mixed = mix_sources(
            config,
            &opened,
            StreamOptions { shuffle_bytes: NO_SHUFFLE, ..StreamOptions::seeded(config.seed) },
        );
        mixed.map(|mixed| mixed.plan.summary(config)).map_err(|error| format!("{}: {error}", args.path))
    });
    if let Some(Ok(plan)) = &plan {
        writeln!(out, "{plan}")?;
    }
    let summary = plan.as_ref().and_then(|plan| plan.as_ref().ok());
    if let Some(path) = &args.html {
        let (reader, tower) = (reader.as_deref(), tower.as_ref());
        let shown = PageOptions { reader, tower, videos: &videos, samples: args.samples, seed: PAGE_SEED };
        let html = match (looked.as_slice(), &mixture) {
            ([(source, inspection)], None) => page(&**source, inspection, shown),
            (looked, mixture) => {
                let name = mixture.as_ref().map(|config| config.name.as_str()).filter(|name| !name.is_empty());
                let title = name.unwrap_or(&args.path);
                mixture_page(title, looked, summary, shown)
            }
        };
        write_atomic(path, html.as_bytes())?;
        writeln!(out, "page of samples: {}", path.display())?;
    }
    if let Some(path) = &args.json {
        let sources = looked.iter().map(|(_, inspection)| inspection).collect();
        let plan_error = plan.as_ref().and_then(|plan| plan.as_ref().err().cloned());
        write_json_atomic(path, &Figures { sources, plan: summary, plan_error, shared })?;
        writeln!(out, "figures as JSON: {}", path.display())?;
    }
    if let Some(reader) = &reader {
        let any = |shown: fn(&Inspection) -> bool| looked.iter().any(|(_, inspection)| shown(inspection));
        if any(|inspection| !inspection.videos.is_empty()) {
            let frames = videos.sampling.most_frames();
            writeln!(out, "a video of {frames} frames counts {}", reader.video_tokens(frames))?;
        }
        let pictures = any(|inspection| inspection.pictures.keys().any(|count| *count > 0));
        if let Some(note) = reader.note_of_pictures().filter(|_| pictures) {
            writeln!(out, "{note}; --tokens-per-picture N counts another number")?;
        }
    }
    args.hints(mixture.is_some(), &looked).iter().try_for_each(|hint| writeln!(out, "{hint}"))?;
    match plan {
        Some(Err(error)) => Err(error.into()),
        _ => Ok(()),
    }
}

fn is_mixture(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"))
}

impl InspectArgs {
    /// The mixture, where the path is one.
    fn mixture(&self) -> Result<Option<MixtureConfig>, AnyError> {
        let path = Path::new(&self.path);
        if !is_mixture(&self.path) {
            return Ok(None);
        }
        let given = [
            ("--format", self.format.is_some()),
            ("--image-root", self.image_root.is_some()),
            ("--video-root", self.video_root.is_some()),
            ("--allow-links", self.allow_links),
            ("--ignore", !self.ignore.is_empty()),
            ("--language", self.language.is_some()),
            ("--language-field", self.language_field.is_some()),
            ("--aliases", !self.aliases.is_empty()),
            ("--tag", !self.tag.is_empty()),
        ];
        if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
            return Err(format!("{option} is for a single source; {} says it for each of its own", self.path).into());
        }
        Ok(Some(MixtureConfig::from_file(path)?))
    }

    /// A slip must not write over the data.
    fn check_outputs(&self) -> Result<(), AnyError> {
        let data = Path::new(&self.path).canonicalize().ok();
        for (option, path) in [("--html", &self.html), ("--json", &self.json), ("--skipped", &self.skipped)] {
            if data.is_some() && path.as_ref().and_then(|path| path.canonicalize().ok()) == data {
                return Err(format!("{option} would write over {}; name another file", self.path).into());
            }
        }
        Ok(())
    }

    fn reader(&self) -> Result<Option<Arc<Reader>>, AnyError> {
        let Some(folder) = &self.tokenizer else { return Ok(None) };
        let mask = match self.mask {
            Mask::AnswersOnly => MaskStyle::AnswersOnly,
            Mask::Towervision => MaskStyle::Towervision,
            Mask::LlavaNextQwen => MaskStyle::LlavaNextQwen,
        };
        Ok(Some(Arc::new(Reader::from_folder(folder, mask, self.tokens_per_picture)?)))
    }

    /// How the tower of a folder is shown pictures.
    fn tower(&self) -> Result<Option<ImageProcessor>, AnyError> {
        // A backbone's folder says nothing of pictures, a whole model's does.
        let folder = match (&self.encoder, &self.tokenizer) {
            (Some(encoder), _) => encoder,
            (None, Some(folder)) if folder.is_dir() && processor_file(folder)?.is_some() => folder,
            _ => return Ok(None),
        };
        Ok(Some(ImageProcessor::new(Processor::image_config(folder)?)?))
    }

    /// The pictures that another split has too; its records are read as those of this one.
    fn shared(
        &self,
        looked: &Split,
        other: &str,
        videos: &VideoSettings,
        reporter: &Reporter,
    ) -> Result<SharedPictures, AnyError> {
        let sources = match is_mixture(other) {
            true => open_sources(&MixtureConfig::from_file(Path::new(other))?, Limits::default())?,
            false => vec![Some(Arc::new(FileSource::open(self.source(other))?) as Arc<dyn Source>)],
        };
        let mut there = Vec::new();
        for source in sources.into_iter().flatten() {
            let inspection = look(&source, None, self.options(videos), None, reporter)?;
            there.push((source, inspection));
        }
        Ok(shared_pictures(looked, &there))
    }

    fn source(&self, data: &str) -> SourceConfig {
        let path = Path::new(data);
        let name = path.file_name().map_or_else(|| data.to_owned(), |name| name.to_string_lossy().into_owned());
        // As in mixtures, paths begin beside the file; a folder of data is its own.
        let beside = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
        let beside = if beside.as_os_str().is_empty() { Path::new(".") } else { beside };
        let image_root = self.image_root.clone().or_else(|| beside.is_dir().then(|| beside.to_owned()));
        let aliases: BTreeMap<String, Language> = self.aliases.iter().cloned().collect();
        let field = |field: &String| LanguageRule::Field { field: field.clone(), aliases: aliases.clone() };
        let language = self.language.map(LanguageRule::Fixed).or_else(|| self.language_field.as_ref().map(field));
        let format = self.format.map(|format| match format {
            FileFormat::Json => Format::Json,
            FileFormat::Parquet => Format::Parquet,
            FileFormat::WebDataset => Format::WebDataset,
            FileFormat::Tsv => Format::Tsv,
        });
        SourceConfig {
            format,
            image_root,
            video_root: self.video_root.clone(),
            allow_links: self.allow_links,
            language,
            tags: self.tag.clone(),
            fields: Fields { ignore: self.ignore.clone(), ..Fields::default() },
            ..SourceConfig::new(name, data)
        }
    }

    fn options(&self, videos: &VideoSettings) -> InspectOptions {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let workers = self.workers.unwrap_or_else(cores);
        InspectOptions { workers, decode: !self.no_decode, max_records: self.max_records, videos: videos.clone() }
    }

    /// What more could be asked for.
    fn hints(&self, mixture: bool, looked: &[(Arc<dyn Source>, Inspection)]) -> Vec<String> {
        let left_out: u64 = looked.iter().map(|(_, inspection)| inspection.summary.total()).sum();
        let mut hints = Vec::new();
        if left_out > 0 && self.skipped.is_none() {
            hints.push(format!("to list all {left_out} records that cannot be used: --skipped skipped.jsonl"));
        }
        if !mixture && self.language.is_none() && self.language_field.is_none() {
            let help = "if all samples have one, or --language-field language if the records say it";
            hints.push(format!("to count by language: --language en {help}"));
        }
        if self.tokenizer.is_none() {
            hints.push("to count tokens: --tokenizer FOLDER".to_owned());
        }
        if self.html.is_none() {
            hints.push("to see samples with their pictures: --html page.html".to_owned());
        }
        hints
    }
}

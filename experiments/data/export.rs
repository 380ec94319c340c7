//! `data export`: training samples of the embedded corpus as files, in any format that sources read.
//!
//! Samples are in random order, but the translations of one stand together: a limit keeps what languages have in common.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::PathBuf;

use burn_vlm_base::files::{create_dir_all, write_atomic};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::image::{DecodeLimits, decode, encode_png, to_rgb};
use burn_vlm_data::language::{Language, LanguageSet};
use burn_vlm_data::random::{hash_bytes, mix};
use burn_vlm_data::sample::{MediaKey, Picture, Sample};
use burn_vlm_data::source::write::{NewPicture, NewSample, SampleWriter, WriteFormat, Written};
use burn_vlm_data::tasks::{Task, TaskSettings, training_samples};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::mixture_file::mixture_file;
use super::recipe_file::recipe_file;
use crate::AnyError;
use crate::args::check_empty;
use crate::call::{call, examples};

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "export --out runs/emoji --format json",
            "2,000 captions and yes/no questions in five languages as LLaVA JSON",
        ),
        (
            "data",
            "export --out runs/choice --format tsv --tasks choice --limit 0",
            "all four-way choices as VLMEvalKit's table",
        ),
    ];
    let look = call("data", "inspect runs/emoji/mixture.toml --html runs/page.html");
    examples(&lines, &format!("Then look at it:\n  {look}"))
}

/// Write training samples of the embedded emoji corpus as a data set of your own would look
///
/// One file for each task with its pictures, and a mixture.toml that names them: a first data set to inspect and to train on,
/// and a template.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct ExportArgs {
    /// The folder to write; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// How the files are written
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    format: WriteFormat,

    /// Languages by tag, or a set of them (tiny-5, parrot-6, towervision-20, ...), with commas between
    #[arg(long, value_name = "TAGS", default_value = "tiny-5", value_parser = languages)]
    languages: Languages,

    /// What is asked, with commas between
    #[arg(long, value_name = "TASKS", default_values = ["caption", "yes_no"], value_delimiter = ',', value_parser = tasks())]
    tasks: Vec<Task>,

    /// Write so many samples of all tasks together; 0 for all there are
    #[arg(long, value_name = "N", default_value_t = 2000)]
    limit: usize,

    /// Decides which samples are taken, and their distractors
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

/// `--languages`
#[derive(Debug, Clone)]
pub(super) struct Languages(pub(super) Vec<Language>);

fn formats() -> impl TypedValueParser<Value = WriteFormat> {
    let names = PossibleValuesParser::new(WriteFormat::ALL.map(WriteFormat::as_str));
    names.try_map(|name| WriteFormat::ALL.into_iter().find(|format| format.as_str() == name).ok_or("no such format"))
}

fn tasks() -> impl TypedValueParser<Value = Task> {
    let names = PossibleValuesParser::new(Task::ALL.map(Task::as_str));
    names.try_map(|name| Task::ALL.into_iter().find(|task| task.as_str() == name).ok_or("no such task"))
}

pub(super) fn languages(text: &str) -> Result<Languages, String> {
    let mut languages = Vec::new();
    for name in text.split(',') {
        match (LanguageSet::by_name(name), Language::parse(name)) {
            (Ok(set), _) => languages.extend_from_slice(set.languages),
            (_, Ok(language)) => languages.push(language),
            // Tags are short; a longer name was meant as a set.
            (_, Err(error)) if name.len() <= 6 => return Err(error.to_string()),
            (Err(error), _) => return Err(error.to_string()),
        }
    }
    let mut seen = std::collections::HashSet::new();
    languages.retain(|language| seen.insert(*language));
    Ok(Languages(languages))
}

/// A file of the data set.
pub(super) struct Exported {
    /// The task that it holds.
    pub(super) task: Task,
    /// The file or files.
    pub(super) written: Written,
    /// Samples by language.
    languages: BTreeMap<Language, u64>,
}

/// Runs the command.
pub(super) fn run(args: &ExportArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    let folder = args.out.as_path();
    check_empty(folder)?;
    let corpus = EmojiCorpus::embedded()?;
    let samples = args.samples(&corpus)?;
    if samples.is_empty() {
        return Err(
            "the corpus has no such samples: translations need two languages; name more languages or tasks".into()
        );
    }
    create_dir_all(folder)?;
    let bar = reporter.bar("writing", samples.len() as u64);
    let mut pictures = Pictures::default();
    let mut files = Vec::new();
    for task in &args.tasks {
        let chosen: Vec<&Sample> =
            samples.iter().filter(|sample| sample.tags.iter().any(|tag| tag == task.as_str())).collect();
        // A task may be named twice, or a small limit may leave nothing of it.
        if chosen.is_empty() || files.iter().any(|file: &Exported| file.task == *task) {
            continue;
        }
        let mut writer = SampleWriter::create(folder, task.as_str(), args.format)?;
        let mut languages = BTreeMap::new();
        for sample in chosen {
            let shown = sample.pictures().map(|picture| pictures.png(picture)).collect::<Result<Vec<_>, _>>()?;
            let language = sample.language;
            writer.write(&NewSample { id: &sample.id, turns: &sample.turns, language, pictures: &shown })?;
            language.iter().for_each(|language| *languages.entry(*language).or_default() += 1);
            bar.advance(1);
        }
        files.push(Exported { task: *task, written: writer.finish()?, languages });
    }
    drop(bar);
    let recipe = folder.join("recipe.toml");
    write_atomic(&recipe, recipe_file(args.format, samples.len() as u64).as_bytes())?;
    let mixture = folder.join("mixture.toml");
    // Last: where it stands, the data set is whole.
    write_atomic(&mixture, mixture_file(&files, args.format, args.seed).as_bytes())?;
    writeln!(out, "{}: {} samples as {}", folder.display(), samples.len(), args.format)?;
    for Exported { written, languages, .. } in &files {
        let counts: Vec<String> = languages.iter().map(|(language, count)| format!("{language} {count}")).collect();
        writeln!(out, "  {:24} {:>8}  {}", written.path, written.samples, counts.join(", "))?;
    }
    writeln!(out, "  {:24} {:>8}  names them as sources of a mixture", "mixture.toml", "")?;
    writeln!(out, "  {:24} {:>8}  trains a small model on it", "recipe.toml", "")?;
    let look = format!("inspect {} --html runs/page.html", mixture.display());
    writeln!(out, "to look at it: {}", call("data", &look))?;
    writeln!(out, "to train on it: {}", call("train", &recipe.display().to_string()))?;
    Ok(())
}

impl ExportArgs {
    /// The chosen samples of all tasks.
    fn samples(&self, corpus: &EmojiCorpus) -> Result<Vec<Sample>, AnyError> {
        let languages = &self.languages.0;
        let mut samples = Vec::new();
        for (number, task) in self.tasks.iter().enumerate().filter(|(n, task)| !self.tasks[..*n].contains(task)) {
            for language in languages {
                let found = training_samples(
                    corpus,
                    *task,
                    *language,
                    languages,
                    languages,
                    self.seed,
                    &TaskSettings::default(),
                )?;
                samples.extend(found.into_iter().map(|sample| (group(&sample, number, self.seed), sample)));
            }
        }
        // Stable: within a group the order of the languages.
        samples.sort_by_key(|(group, _)| *group);
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        Ok(samples.into_iter().map(|(_, sample)| sample).take(limit).collect())
    }
}

/// The same for a sample and its translations, else random.
fn group(sample: &Sample, task: usize, seed: u64) -> u64 {
    let picture = sample.pictures().next().map_or(0, |picture| hash_bytes(picture.name().as_bytes()));
    let concept = hash_bytes(sample.group.as_deref().unwrap_or_default().as_bytes());
    mix(mix(seed, task as u64), mix(concept, picture))
}

/// Pictures of the corpus as PNG files, encoded once: by what they show, which a name need not tell.
#[derive(Default)]
pub(super) struct Pictures {
    encoded: HashMap<MediaKey, NewPicture>,
}

impl Pictures {
    pub(super) fn png(&mut self, picture: &Picture) -> Result<NewPicture, AnyError> {
        let key = picture.key()?;
        if let Some(picture) = self.encoded.get(&key) {
            return Ok(picture.clone());
        }
        let name = picture.name();
        let bytes = match picture {
            Picture::Drawn(drawn) => drawn.png()?,
            other => {
                let image = decode(&name, &other.read()?, &DecodeLimits::default())?;
                encode_png(&to_rgb(image, Some([255; 3])))?.into()
            }
        };
        let picture = NewPicture { name: format!("{name}.png"), bytes };
        self.encoded.insert(key, picture.clone());
        Ok(picture)
    }
}

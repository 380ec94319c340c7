//! `data captions`: the embedded corpus as captioned pictures are published: a picture and its English caption, nothing asked.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use burn_vlm_base::files::{FileError, create_dir_all, publish_dir, temp_dir_for, write_atomic_with};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::Language;
use burn_vlm_data::random::{hash_bytes, mix};
use burn_vlm_data::sample::Sample;
use burn_vlm_data::tasks::{Task, TaskSettings, training_samples};
use clap::Args;
use serde_json::{Map, json};

use super::export::{Languages, Pictures, languages};
use crate::AnyError;
use crate::args::check_empty;
use crate::call::{call, examples};

/// What is written.
const CAPTIONS: &str = "captions.jsonl";

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "captions --out runs/captions",
            "2,851 pictures with their English captions, and names in four languages",
        ),
        (
            "data",
            "captions --out runs/captions --names towervision-20 --limit 200",
            "names to compare 20 languages with",
        ),
    ];
    let more = "A row: {\"id\": \"noto/1f34e\", \"image\": \"images/noto/1f34e.png\", \"caption\": \"red apple\", \"language\": \"en\",\n       \
                \"names\": {\"de\": \"roter Apfel\", ...}}";
    examples(&lines, more)
}

/// Write the embedded emoji corpus as captions to translate: pictures with an English caption, as PixMo-Cap has them
///
/// `names` has the corpus's own names in other languages: what `data score --metric chrf --reference names` compares translations with.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct CaptionsArgs {
    /// The folder to write; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Languages of `names` by tag, or a set of them (tiny-5, parrot-6, towervision-20, ...), with commas between
    #[arg(long, value_name = "TAGS", default_value = "tiny-5", value_parser = languages)]
    names: Languages,

    /// Write so many pictures; 0 for all there are
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: usize,

    /// Decides which, and their order
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

/// Runs the command.
pub(super) fn run(args: &CaptionsArgs, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    check_empty(&args.out)?;
    let corpus = EmojiCorpus::embedded()?;
    let others: Vec<Language> = args.names.0.iter().copied().filter(|language| *language != Language::EN).collect();
    // A picture that lacks a name in one of them is left out: the others are compared in all.
    let all: Vec<Language> = [Language::EN].into_iter().chain(others.iter().copied()).collect();
    let captions = |language| {
        training_samples(&corpus, Task::Caption, language, &[language], &all, args.seed, &TaskSettings::default())
    };
    let mut samples = captions(Language::EN)?;
    let mut names: BTreeMap<String, Map<String, serde_json::Value>> = BTreeMap::new();
    for language in others {
        for sample in captions(language)? {
            let of = names.entry(picture(&sample)).or_default();
            of.insert(language.tag().to_owned(), json!(sample.answer()));
        }
    }
    samples.sort_by_key(|sample| mix(args.seed, hash_bytes(picture(sample).as_bytes())));
    if args.limit > 0 {
        samples.truncate(args.limit);
    }
    let folder = temp_dir_for(&args.out)?;
    let bar = reporter.bar("writing", samples.len() as u64);
    let mut pictures = Pictures::default();
    let mut lines = Vec::new();
    for sample in &samples {
        let id = picture(sample);
        let image = format!("images/{id}.png");
        let file = folder.path().join(&image);
        if let (Some(shown), Some(parent)) = (sample.pictures().next(), file.parent()) {
            create_dir_all(parent)?;
            // The folder is not there before it is whole: no file has to be safe by itself.
            let bytes = pictures.png(shown)?.bytes;
            std::fs::write(&file, &bytes).map_err(FileError::io("write", &file))?;
        }
        let names = names.remove(&id).unwrap_or_default();
        lines.push(
            json!({ "id": id, "image": image, "caption": sample.answer(), "language": Language::EN, "names": names }),
        );
        bar.advance(1);
    }
    drop(bar);
    write_atomic_with(&folder.path().join(CAPTIONS), |file| {
        let mut file = BufWriter::new(file);
        lines.iter().try_for_each(|line| writeln!(file, "{line}"))?;
        file.flush()
    })?;
    publish_dir(folder.path(), &args.out)?;
    let file = args.out.join(CAPTIONS);
    writeln!(out, "{}: {} pictures with an English caption", file.display(), samples.len())?;
    let next = format!("translate {} --model parts/backbone --template tiny --languages de --out DIR", file.display());
    writeln!(out, "to translate them: {}", call("data", &next))?;
    Ok(())
}

/// The picture that a caption is about: `noto/1f34e`.
fn picture(sample: &Sample) -> String {
    sample.pictures().next().map(burn_vlm_data::sample::Picture::name).unwrap_or_default()
}

//! `data benchmark blind`: which items text-only models answer, and the benchmark without them.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use burn_vlm_base::files::write_atomic;
use burn_vlm_base::jsonl::write_jsonl_atomic;
use burn_vlm_eval::Item;
use burn_vlm_eval::build::EditionFile;
use burn_vlm_eval::build::blind::{Rule, Run, Unit, expected_by_chance, units};
use burn_vlm_eval::build::folder::{self, Folder};
use burn_vlm_eval::build::write::{ending, stem};
use clap::Args;

use super::build;
use crate::AnyError;
use crate::args::check_empty;
use crate::call::examples;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "evaluate",
            "runs/mmbench/benchmark.toml --model Qwen2-7B --without-pictures --out runs/text-only",
            "first: ask a model without the pictures",
        ),
        (
            "data",
            "benchmark blind runs/mmbench --predictions runs/text-only/predictions.jsonl --out runs/mmbench-seen",
            "then: the benchmark without what it got right beyond chance",
        ),
        (
            "data",
            "benchmark blind runs/mmbench --predictions runs/a/predictions.jsonl runs/b/predictions.jsonl runs/c/predictions.jsonl \
             --in-runs 2 --out runs/mmbench-seen",
            "what two of three models answer in every rotation",
        ),
    ];
    let more = "Two runs of one model that chooses the likeliest word are one: they agree by themselves.";
    examples(&lines, more)
}

/// Find the items that text-only models answer without the picture, and write the benchmark without them
///
/// Right answers are counted over all models, rotations and languages, and compared with guessing. What belongs together (rotations,
/// the questions about a picture) goes or stays together, in every language.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct BlindArgs {
    /// A folder that `data benchmark build` wrote
    folder: PathBuf,

    /// predictions.jsonl of `burn-vlm evaluate --without-pictures --out`, one of each text-only model
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    predictions: Vec<PathBuf>,

    /// The folder to write; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// An item goes if guessing has at least so many right with at most this probability
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    at_most: f64,

    /// An item goes if at least so many runs have all of its rows right, whatever chance says
    #[arg(long, value_name = "K", conflicts_with = "at_most")]
    in_runs: Option<usize>,
}

pub(super) fn run(args: &BlindArgs, out: &mut dyn Write) -> Result<(), AnyError> {
    check_empty(&args.out)?;
    let rule = match args.in_runs {
        Some(least) if least == 0 || least > args.predictions.len() => {
            return Err(format!(
                "--in-runs {least}: expected 1 to {}, as many as there are --predictions",
                args.predictions.len()
            )
            .into());
        }
        Some(least) => Rule::Runs(least),
        None if args.at_most > 0.0 && args.at_most < 1.0 => Rule::Probability(args.at_most),
        None => return Err(format!("--at-most {}: expected a probability between 0 and 1", args.at_most).into()),
    };
    let built = Folder::read(&args.folder)?;
    let items = built.items(&args.folder)?;
    let mut runs = Vec::new();
    for (at, file) in args.predictions.iter().enumerate() {
        // Two of one run would be as sure as two runs.
        for other in &args.predictions[..at] {
            if same_bytes(file, other)? {
                let (file, other) = (file.display(), other.display());
                return Err(format!("--predictions: {file} is {other} once more; name each run once").into());
            }
        }
        let run = Run::read(file)?;
        if run.with_picture > 0 {
            writeln!(
                out,
                "{}: {} replies name a picture, so that it may have been shown; `evaluate --without-pictures` withholds it",
                file.display(),
                run.with_picture
            )?;
        }
        runs.push(run);
    }
    let found = units(&built.manifest.name, built.source.kind, &items, &runs, rule)?;
    let gone = gone(&built, &items, &found);
    let languages = built.manifest.languages.clone();
    let mut editions = build::editions(
        &built.source,
        &built.translations,
        &languages,
        &built.manifest.words,
        &built.manifest.options,
    )?;
    editions.iter_mut().for_each(|edition| folder::without(edition, &gone));
    if editions.iter().any(|edition| edition.items.is_empty()) {
        return Err("every item is answered without its picture, so that nothing is left".into());
    }
    let text = text(&found, &items, runs.len(), rule);
    let formats: Vec<EditionFile> = [EditionFile::Tsv, EditionFile::Parquet]
        .into_iter()
        .filter(|format| built.manifest.formats.iter().any(|name| name == format.ending()))
        .collect();
    let mut manifest = built.manifest.clone();
    manifest.source = args.folder.display().to_string();
    manifest.notes.push(format!(
        "{} items that are answered without their picture are left out",
        found.iter().filter(|unit| unit.blind).count()
    ));
    let written = folder::write(&args.out, manifest, &built.source, &editions.iter().collect::<Vec<_>>(), &formats)?;
    write_jsonl_atomic(&args.out.join("blind.jsonl"), &found)?;
    write_atomic(&args.out.join("blind.md"), format!("# Without pictures\n\n{text}").as_bytes())?;
    writeln!(out, "{text}")?;
    build::report(&args.out, &written, &editions, out)
}

/// Whether two files hold the same, or are the same. What cannot be read is told when it is read as predictions.
fn same_bytes(one: &Path, other: &Path) -> Result<bool, AnyError> {
    let length = |path: &Path| path.metadata().map(|about| about.len()).ok();
    Ok(match (length(one), length(other)) {
        (Some(one_length), Some(other_length)) if one_length == other_length => {
            std::fs::read(one)? == std::fs::read(other)?
        }
        _ => false,
    })
}

/// The rows that go, as the source's edition calls them.
fn gone(built: &Folder, items: &[Item], found: &[Unit]) -> BTreeSet<String> {
    let by_id: HashMap<&str, &Item> = items.iter().map(|item| (item.id.as_str(), item)).collect();
    let of_source = |id: &String| {
        let item = by_id.get(id.as_str())?;
        let stem = stem(&item.part, item.language);
        Some(format!("{stem}_{}/{}", ending(built.source.language), item.index))
    };
    found.iter().filter(|unit| unit.blind).flat_map(|unit| unit.rows.iter().filter_map(of_source)).collect()
}

/// What was found, in words.
fn text(found: &[Unit], items: &[Item], runs: usize, rule: Rule) -> String {
    let asked: Vec<&Unit> = found.iter().filter(|unit| unit.replies > 0).collect();
    let (replies, right): (usize, usize) =
        asked.iter().fold((0, 0), |(replies, right), unit| (replies + unit.replies, right + unit.right));
    let chance: f64 = asked.iter().map(|unit| unit.by_chance).sum();
    let share = |part: f64| 100.0 * part / (replies.max(1) as f64);
    let blind = found.iter().filter(|unit| unit.blind).count();
    let expected = expected_by_chance(&asked.iter().map(|unit| (*unit).clone()).collect::<Vec<_>>(), items, rule);
    let how = match rule {
        Rule::Probability(most) => format!("guessing has as many right with a probability of at most {most}"),
        Rule::Runs(least) => format!("at least {least} of {runs} runs have all rows right"),
    };
    let mut text = format!(
        "Right without the picture: {right} of {replies} replies ({:.1} %, by chance {:.1} %), of {runs} runs.\n\n\
         Answered without the picture ({how}): {blind} of {} items; guessing alone would give {expected:.1}. They are left out, {} stay.\n",
        share(right as f64),
        share(chance),
        found.len(),
        found.len() - blind
    );
    if asked.len() < found.len() {
        text.push_str(&format!("\n{} items have no reply, and stay.\n", found.len() - asked.len()));
    }
    // Where even the best case is within chance, nothing can be found.
    if matches!(rule, Rule::Probability(_)) && expected == 0.0 {
        text.push_str("\nThere are so few replies to each item that even all right could be guessed: ask more models, or raise --at-most.\n");
    }
    text.push_str("\n| right of replies | items | left out |\n|---|--:|--:|\n");
    let mut kinds: Vec<(usize, usize)> = found.iter().map(|unit| (unit.replies, unit.right)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for (replies, right) in kinds {
        let of_kind = || found.iter().filter(|unit| (unit.replies, unit.right) == (replies, right));
        text.push_str(&format!(
            "| {right} of {replies} | {} | {} |\n",
            of_kind().count(),
            of_kind().filter(|unit| unit.blind).count()
        ));
    }
    text
}

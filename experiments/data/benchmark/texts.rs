//! `data benchmark texts`: what has to be translated, for a translator or a program.

use std::io::Write;
use std::path::PathBuf;

use burn_vlm_base::jsonl::write_jsonl_atomic;
use clap::Args;
use serde::Serialize;

use super::SourceArgs;
use crate::AnyError;
use crate::call::examples;

/// The end of `--help`.
fn help() -> String {
    let lines = [(
        "data",
        "benchmark texts MME.tsv --kind mme --out texts.jsonl",
        "MME's questions, each with its picture's other one",
    )];
    let more = "Each line has `id`, `field` (question, hint, A, B, ...), `source` and `source_lang`; `context` holds the item's other texts. A \
        translation adds `translation` and `lang`, perhaps `back_translation` and `score`, for `data benchmark build`.";
    examples(&lines, more)
}

/// Write the texts of a benchmark that have to be translated, a line of JSON each
///
/// A question with rotations has its texts once. Answers, ids, categories, numbers and single letters are not translated, nor is
/// the request for yes or no below MME's questions: the languages have their own.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct TextsArgs {
    #[command(flatten)]
    source: SourceArgs,

    /// The file to write; it must not be there
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    field: &'a str,
    source: &'a str,
    source_lang: &'static str,
    /// The item's other texts: an option is translated as its question wants it.
    context: Vec<String>,
}

pub(super) fn run(args: &TextsArgs, out: &mut dyn Write) -> Result<(), AnyError> {
    if args.out.exists() {
        return Err(format!("{} is there already; name another file, or remove it first", args.out.display()).into());
    }
    let source = args.source.read()?;
    let wanted = source.to_translate();
    let mut lines = Vec::with_capacity(wanted.len());
    for (item, text) in &wanted {
        let others = source.texts(item).into_iter().map(|(other, _)| other).filter(|other| other != text);
        lines.push(Line {
            id: &item.id,
            field: &text.field,
            source: &text.text,
            source_lang: source.language.tag(),
            context: others.map(|other| other.text).collect(),
        });
    }
    write_jsonl_atomic(&args.out, &lines)?;
    source.notes.iter().try_for_each(|note| writeln!(out, "{note}"))?;
    let (items, rows) = (source.groups().len(), source.items.len());
    writeln!(out, "{}: {} texts of {items} items ({rows} rows)", args.out.display(), wanted.len())?;
    Ok(())
}

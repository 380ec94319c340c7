//! `data questions`: questions about the embedded corpus as a table of one's own would look, for `[[benchmark]] kind = "choice"`.

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_vlm_base::files::{create_dir_all, write_atomic};
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::random::{hash_bytes, mix};
use burn_vlm_data::tasks::{ChoiceItem, Distractors, LETTERS, Pool, TaskBuilder};
use clap::Args;

use super::export::{Languages, languages};
use crate::AnyError;
use crate::call::examples;

/// The end of `--help`.
fn help() -> String {
    let lines =
        [("data", "questions --out questions.tsv --languages en,de --limit 100", "two languages, the same questions")];
    let study = "Then, in a study:\n  [[benchmark]]\n  name = \"mine\"\n  kind = \"choice\"\n  file = \"questions.tsv\"\n  \
        language_column = \"language\"\n  group_column = \"group\"";
    examples(&lines, study)
}

/// Write four-way questions about the embedded emoji corpus as a table of your own would look
///
/// One row a question in VLMEvalKit's columns (`index`, `question`, `A` to `D`, `answer`, `image` in base64), with `language` and
/// `group`, which the translations of a question share. The concepts are in no training data.
#[derive(Debug, Args)]
#[command(
    max_term_width = 100,
    after_help = help()
)]
pub(super) struct QuestionsArgs {
    /// The file to write; it must not be there
    #[arg(long, value_name = "TSV")]
    out: PathBuf,

    /// Languages by tag, or a set of them (tiny-5, parrot-6, towervision-20, ...), with commas between
    #[arg(long, value_name = "TAGS", default_value = "tiny-5", value_parser = languages)]
    languages: Languages,

    /// Questions of each language; 0 for all there are
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,

    /// Decides which questions are taken, and their wrong options
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

/// Runs the command.
pub(super) fn run(args: &QuestionsArgs, out: &mut dyn Write) -> Result<(), AnyError> {
    // Questions of one's own may stand there.
    if args.out.exists() {
        return Err(format!("{} is there already; name another file, or remove it first", args.out.display()).into());
    }
    let corpus = EmojiCorpus::embedded()?;
    let tasks = TaskBuilder::new(&corpus, &args.languages.0, args.seed)?;
    let mut items = tasks.choice_items(Pool::TEST_UNSEEN, Distractors::Far, 1);
    // Translations of a question stand together, in an order that only the seed and the question decide.
    items.sort_by_key(|item| mix(args.seed, hash_bytes(item.parallel.as_bytes())));
    if args.limit > 0 {
        items.truncate(args.limit * args.languages.0.len());
    }
    let mut text = String::from("index\tquestion\tA\tB\tC\tD\tanswer\tlanguage\tgroup\timage\n");
    items.iter().for_each(|item| text.push_str(&row(item, &corpus)));
    if let Some(folder) = args.out.parent().filter(|folder| *folder != Path::new("")) {
        create_dir_all(folder)?;
    }
    write_atomic(&args.out, text.as_bytes())?;
    writeln!(out, "{}: {} questions", args.out.display(), items.len())?;
    Ok(())
}

fn row(item: &ChoiceItem, corpus: &EmojiCorpus) -> String {
    let picture = STANDARD.encode(&corpus.picture(item.picture).webp);
    let cells = [&item.id, &item.prompt].into_iter().chain(&item.options).map(String::as_str);
    let rest = [LETTERS[item.answer], item.language.tag(), &item.parallel, &picture];
    let mut row = cells.chain(rest).map(cell).collect::<Vec<_>>().join("\t");
    row.push('\n');
    row
}

/// A cell as tables of this kind quote it.
fn cell(text: &str) -> String {
    if text.contains(['\t', '\n', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

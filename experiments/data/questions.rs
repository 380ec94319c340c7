//! `data questions`: questions about the embedded corpus as a table of one's own would look, for `[[benchmark]] kind = "choice"`, or in the
//! form of MMMB's and MMBench's published files.

use std::collections::BTreeMap;
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
    let lines = [
        ("data", "questions --out questions.tsv --languages en,de --limit 100", "two languages, the same questions"),
        (
            "data",
            "questions --form mmmb --out runs/mmmb --languages parrot-6",
            "as MMMB's files: mmmb_en.tsv, mmmb_cn.tsv, ...",
        ),
    ];
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
    /// The file to write; with --form mmmb or mmbench the folder. It must not be there
    #[arg(long, value_name = "PATH")]
    out: PathBuf,

    /// How it is written: one table with `language` and `group`; as MMMB's published files, one a language; as MMBench's, with the rotations
    /// of the options that its circular evaluation asks
    #[arg(long, value_enum, default_value_t = Form::Table)]
    form: Form,

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

/// `--form`
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Table,
    Mmmb,
    Mmbench,
}

/// Rows of MMBench whose indices are this far apart are rotations of one.
const ROTATION: usize = 1_000_000;

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
    if args.form != Form::Table {
        return published(args, &items, &corpus, out);
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

/// One file a language, as published: whole indices that the languages share, a category, the picture once for all rotations.
fn published(
    args: &QuestionsArgs,
    items: &[ChoiceItem],
    corpus: &EmojiCorpus,
    out: &mut dyn Write,
) -> Result<(), AnyError> {
    let mut indices: BTreeMap<&str, usize> = BTreeMap::new();
    let mut files: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for item in items {
        let next = indices.len() + 1;
        let index = *indices.entry(&item.parallel).or_insert(next);
        let name = match args.form {
            Form::Mmmb => format!("mmmb_{}.tsv", ending(item.language.tag())),
            _ => format!("mmbench_dev_{}.tsv", ending(item.language.tag())),
        };
        let head = "index\tquestion\tA\tB\tC\tD\tanswer\tcategory\tl2-category\tsplit\timage\n";
        let (text, count) = files.entry(name).or_insert_with(|| (head.to_owned(), 0));
        let rotations = if args.form == Form::Mmbench { LETTERS.len() } else { 1 };
        for rotation in 0..rotations {
            let mut options = item.options.to_vec();
            options.rotate_left(rotation);
            let answer = (item.answer + LETTERS.len() - rotation) % LETTERS.len();
            // Rotations name the row that has the picture.
            let picture = match rotation {
                0 => STANDARD.encode(&corpus.picture(item.picture).webp),
                _ => index.to_string(),
            };
            let index = (index + rotation * ROTATION).to_string();
            let concepts = item.pool.concepts.as_str();
            let rest = [LETTERS[answer], item.distractors.as_str(), concepts, "dev", &picture];
            let cells =
                [index.as_str(), &item.prompt].into_iter().chain(options.iter().map(String::as_str)).chain(rest);
            text.push_str(&cells.map(cell).collect::<Vec<_>>().join("\t"));
            text.push('\n');
            *count += 1;
        }
    }
    create_dir_all(&args.out)?;
    for (name, (text, count)) in files {
        let path = args.out.join(name);
        write_atomic(&path, text.as_bytes())?;
        writeln!(out, "{}: {count} rows", path.display())?;
    }
    Ok(())
}

/// The end of a published file's name for a language.
fn ending(tag: &str) -> String {
    match tag {
        "zh-Hans" => "cn".to_owned(),
        "pt-BR" => "pt".to_owned(),
        other => other.to_lowercase(),
    }
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

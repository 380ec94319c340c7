//! Questions in a file: what every benchmark of your own says in `[[benchmark]]`, and its two kinds.
//!
//! ```toml
//! [[benchmark]]
//! name = "mine"
//! kind = "choice"            # or "short_answer"
//! file = "questions.tsv"     # TSV as VLMEvalKit writes it, JSON, JSONL or parquet; relative to the study's file
//! image_root = "images"      # where the paths of pictures begin
//! language = "de"            # or language_column = "lang", language_map = { german = "de" }
//! protocol = "letters"       # "likelihood" or "generate"
//! limit = 500                # of each language, drawn once
//! ```

mod choice;
mod short_answer;

pub use choice::{Choice, ChoiceProtocol, ChoiceRecipe};
pub use short_answer::{ShortAnswer, ShortAnswerRecipe};

use std::path::Path;
use std::sync::Arc;

use burn_vlm_base::shorten::shorten;
use burn_vlm_data::conversation::IMAGE_PLACEHOLDER;
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::{Media, VIDEO_PLACEHOLDER, resolve_numbered};
use burn_vlm_data::source::{Place, Row, Skip, SkipKind, SkipReason, answer_texts, place_media};
use burn_vlm_eval::file::{Cells, FileRecipe, skip_notes};
use burn_vlm_eval::table::{Names, Table, draw, refuse, shown, text_of};
use serde_json::Value;

use super::{BenchmarkError, Prediction, Question, Unreadable};

/// What every row of a file has.
#[derive(Clone)]
struct Common {
    id: String,
    /// Its number among all rows.
    record: u64,
    /// Where it stands.
    file: Arc<Path>,
    place: Place,
    language: Language,
    question: String,
    media: Vec<Media>,
    /// What is drawn, in every language together.
    key: String,
    /// What is resampled together.
    group: String,
}

impl Common {
    fn of(recipe: &FileRecipe, record: u64, row: &Row) -> Result<Self, SkipReason> {
        let name = recipe.fields.question.as_deref().unwrap_or(QUESTION);
        let question = text_of(row, name).filter(|text| !text.trim().is_empty());
        let question = question.ok_or_else(|| refuse(format!("no {name}")))?;
        let hint = text_of(row, HINT).map(|hint| format!("{hint}\n")).unwrap_or_default();
        let mut question = format!("{hint}{question}");
        let mut media = row.media.clone();
        resolve_numbered([&mut question], &mut media)?;
        let language = row.language.ok_or_else(|| SkipReason::new(SkipKind::UnknownLanguage, "no language"))?;
        let media = place_media(&mut question, media)?;
        let own = match &recipe.group_column {
            Some(column) => {
                let group = text_of(row, column).ok_or_else(|| refuse(format!("no {column}")))?;
                Some(group)
            }
            None => None,
        };
        let key = own.clone().unwrap_or_else(|| row.id.clone());
        let group = own.or_else(|| shown(&media)).unwrap_or_else(|| row.id.clone());
        let (id, file, place) = (row.id.clone(), row.file.clone(), row.place.clone());
        Ok(Self { id, record, file, place, language, question, media, key, group })
    }

    /// The row as one that is left out.
    fn skip(&self, benchmark: &str, reason: &SkipReason) -> Skip {
        Skip {
            source: benchmark.to_owned(),
            record: self.record,
            file: self.file.display().to_string(),
            place: self.place.to_string(),
            id: Some(self.id.clone()),
            reason: reason.kind,
            detail: reason.detail.clone(),
        }
    }

    fn prediction(&self, benchmark: &str, question: &Question) -> Prediction {
        Prediction {
            language: Some(self.language.tag().to_owned()),
            picture: shown(&self.media).unwrap_or_default(),
            question: self.question.replace(IMAGE_PLACEHOLDER, "").replace(VIDEO_PLACEHOLDER, "").trim().to_owned(),
            ..Prediction::new(&question.id, benchmark, &self.group)
        }
    }
}

/// The answers as the record has them: a list, or one; objects by their text. And the field that they stand in.
fn answers<'r>(recipe: &'r FileRecipe, row: &'r Row) -> Result<(Vec<String>, (&'r str, &'r Value)), SkipReason> {
    let names = match &recipe.fields.answer {
        Some(name) => vec![name.as_str()],
        None => ANSWERS.to_vec(),
    };
    let none = || SkipReason::new(SkipKind::NoAnswer, format!("no {}", names[0]));
    let found = names.iter().find_map(|name| Some((*name, row.fields.get(*name).filter(|found| !found.is_null())?)));
    let (name, answer) = found.ok_or_else(none)?;
    let all = match answer {
        Value::Bool(answer) => vec![answer.to_string()],
        answer => answer_texts(name, answer)?,
    };
    if all.is_empty() {
        return Err(none());
    }
    Ok((all.into_iter().map(|answer| answer.trim().to_owned()).collect(), (name, answer)))
}

/// Columns of every kind, under their usual names.
const QUESTION: &str = "question";
const ANSWERS: [&str; 2] = ["answer", "answers"];
const HINT: &str = "hint";
/// The most names of columns that a note has.
const NAMED: usize = 12;

/// What is said of columns that are there and not read. Published files have many (category, split, source), so it is no error.
fn unread_note(recipe: &FileRecipe, table: &Table, own: &[&str]) -> Option<String> {
    let question = recipe.fields.question.as_deref().unwrap_or(QUESTION);
    let answers = recipe.fields.answer.as_deref().map_or(ANSWERS.to_vec(), |answer| vec![answer]);
    let read: Vec<&str> = [question, HINT].into_iter().chain(answers).chain(own.iter().copied()).collect();
    let mut unread = table.others();
    unread.retain(|name, _| !read.contains(name));
    if unread.is_empty() {
        return None;
    }
    let named: Vec<String> =
        unread.iter().take(NAMED).map(|(name, rows)| format!("{} ({rows} rows)", shorten(name))).collect();
    let more = unread.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    Some(format!(
        "{}: columns that are not read: {}{more}; read are those of id, pictures, video and language, {}; `fields = {{ ignore = \
         [\"{}\"] }}` says nothing of one",
        recipe.name,
        named.join(", "),
        read.join(", "),
        unread.keys().next().copied().unwrap_or_default(),
    ))
}

/// The rows of a file that are asked about.
struct Rows<T> {
    items: Vec<T>,
    /// Hash of what was read.
    key: String,
    notes: Vec<String>,
    /// Those that cannot be used.
    skipped: Vec<Skip>,
}

impl<T: Clone> Rows<T> {
    /// Without those whose pictures or videos cannot be read.
    fn without(
        &self,
        recipe: &FileRecipe,
        unreadable: &Unreadable,
        common: impl Fn(&T) -> &Common,
    ) -> Result<Self, BenchmarkError> {
        let skip =
            |(number, reason): (&usize, &SkipReason)| Some(common(self.items.get(*number)?).skip(&recipe.name, reason));
        let more: Vec<Skip> = unreadable.iter().filter_map(skip).collect();
        let skipped = recipe.leave_out(&self.skipped, &more, self.items.len())?;
        let left = self.items.iter().enumerate().filter(|(number, _)| !unreadable.contains_key(number));
        let items = left.map(|(_, item)| item.clone()).collect();
        let notes = self.notes.iter().cloned().chain(skip_notes(&recipe.name, &more)).collect();
        Ok(Self { items, key: self.key.clone(), notes, skipped })
    }
}

/// Reads the rows that have a question and an answer; `own` are the columns of the kind.
fn read<T>(
    recipe: &FileRecipe,
    base: &Path,
    own: &[&str],
    make: impl Fn(Common, &Row) -> Result<T, SkipReason>,
    common: impl Fn(&T) -> &Common,
) -> Result<Rows<T>, BenchmarkError> {
    check_language(recipe)?;
    let mut table = Table::read(recipe.source(), base, recipe.max_skipped)?;
    if recipe.cells == Cells::Vlmevalkit {
        table.read_as_pandas();
    }
    table.require(&[recipe.fields.question.as_deref().unwrap_or(QUESTION)])?;
    match &recipe.fields.answer {
        Some(name) => table.require(&[name])?,
        None => table.require(&ANSWERS)?,
    }
    if let Some(column) = &recipe.group_column {
        table.require(&[column])?;
    }
    let unread = unread_note(recipe, &table, own);
    let key = table.key.clone();
    let mut names = Names::default();
    let (items, skipped) = table.items(|record, row| {
        let common = Common::of(recipe, record, &row)?;
        names.note(common.language.tag(), &common.id, (&row.file, row.place.to_string()))?;
        make(common, &row).map(Some)
    })?;
    let of = |item: &T| (common(item).language.tag().to_owned(), common(item).key.clone());
    let items: Vec<T> = items.into_iter().filter(|item| recipe.asks_in(Some(common(item).language))).collect();
    if items.is_empty() {
        let why = Some("none of its rows is in one of `languages`".to_owned());
        return Err(BenchmarkError::Empty { name: recipe.name.clone(), why });
    }
    let items = draw(items, recipe.limit, recipe.seed, of);
    let notes = skip_notes(&recipe.name, &skipped).into_iter().chain(unread).collect();
    Ok(Rows { items, key, notes, skipped })
}

/// The language is told in exactly one way.
fn check_language(recipe: &FileRecipe) -> Result<(), BenchmarkError> {
    let message = match (recipe.language, &recipe.language_column) {
        (None, None) => "say in which language the questions are: `language = \"de\"`, or `language_column = \"lang\"`",
        (Some(_), Some(_)) => "`language` and `language_column` exclude each other",
        _ => return Ok(()),
    };
    Err(BenchmarkError::Setting { name: recipe.name.clone(), message: message.into() })
}

fn check_tokens(name: &str, tokens: usize) -> Result<(), BenchmarkError> {
    if tokens > 0 {
        return Ok(());
    }
    Err(BenchmarkError::Setting { name: name.to_owned(), message: "`max_new_tokens` must be at least 1".into() })
}

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

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_vlm_data::conversation::IMAGE_PLACEHOLDER;
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::{Media, resolve_numbered};
use burn_vlm_data::source::{
    Fields, Format, LanguageRule, Limits, Row, Skip, SkipKind, SkipReason, SourceConfig, answer_texts,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::table::{Names, Table, draw, refuse, shown, text_of};
use super::{BenchmarkError, Prediction, Question};

/// What the cells of a table mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cells {
    /// What is written in them.
    #[default]
    AsWritten,
    /// What pandas reads, and VLMEvalKit with it: `None`, `NA`, `null` and `nan` are missing, and a column of numbers with a hole has
    /// `17.0` where `17` is written.
    Vlmevalkit,
}

impl Cells {
    fn is_as_written(&self) -> bool {
        *self == Self::AsWritten
    }
}

/// What every file of questions says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRecipe {
    /// Name of the benchmark, and of its scores.
    pub name: String,
    /// The file, or files as `{en,de}.tsv`, `part-*.parquet`.
    pub file: String,
    /// How it is written; told by its ending where absent.
    #[serde(default)]
    pub format: Option<Format>,
    /// Where paths of pictures begin.
    #[serde(default)]
    pub image_root: Option<PathBuf>,
    /// Follow links below `image_root` that lead out of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_links: bool,
    /// The language of all questions.
    #[serde(default)]
    pub language: Option<Language>,
    /// The column with each question's language.
    #[serde(default)]
    pub language_column: Option<String>,
    /// Languages that the data writes differently, `zh = "zh-Hans"`.
    #[serde(default)]
    pub language_map: BTreeMap<String, Language>,
    /// Columns that are called otherwise than usual.
    #[serde(default)]
    pub fields: Fields,
    /// Most questions of a language, drawn by the seed; 0 for all.
    #[serde(default)]
    pub limit: usize,
    /// Seed of the draw.
    #[serde(default)]
    pub seed: u64,
    /// The column with what several questions have in common (a pair, the original of a translation): drawn together, in every
    /// language the same, and resampled together. Without it the id is drawn by, and the picture resampled.
    #[serde(default)]
    pub group_column: Option<String>,
    /// Rows that may be left out because they cannot be used.
    #[serde(default)]
    pub max_skipped: usize,
    /// What the cells of a table mean.
    #[serde(default, skip_serializing_if = "Cells::is_as_written")]
    pub cells: Cells,
    /// What is refused.
    #[serde(default)]
    pub limits: Limits,
}

impl FileRecipe {
    /// `cells` is a key of files that are read as written by default; MMMB's always are as VLMEvalKit reads them.
    pub(super) const KEYS: [&str; 14] = [
        "name",
        "file",
        "format",
        "image_root",
        "allow_links",
        "language",
        "language_column",
        "language_map",
        "fields",
        "limit",
        "seed",
        "group_column",
        "max_skipped",
        "limits",
    ];
    pub(super) const CELLS: [&str; 1] = ["cells"];

    /// The source that reads the file.
    pub(super) fn source(&self) -> SourceConfig {
        let mut fields = self.fields.clone();
        fields.more.extend(self.group_column.clone());
        let by_column = || {
            let field = self.language_column.clone()?;
            Some(LanguageRule::Field { field, aliases: self.language_map.clone() })
        };
        SourceConfig {
            format: self.format,
            image_root: self.image_root.clone(),
            allow_links: self.allow_links,
            language: self.language.map(LanguageRule::Fixed).or_else(by_column),
            fields,
            limits: self.limits,
            ..SourceConfig::new(&self.name, &self.file)
        }
    }

    /// The language that the data means by a tag.
    pub(super) fn tag(&self, tag: &str) -> Option<Language> {
        self.language_map.get(tag).copied().or_else(|| Language::parse(tag).ok())
    }

    fn check(&self) -> Result<(), BenchmarkError> {
        let message = match (self.language, &self.language_column) {
            (None, None) => {
                "say in which language the questions are: `language = \"de\"`, or `language_column = \"lang\"`"
            }
            (Some(_), Some(_)) => "`language` and `language_column` exclude each other",
            _ => return Ok(()),
        };
        Err(BenchmarkError::Setting { name: self.name.clone(), message: message.into() })
    }
}

/// What a reader must know of rows that are left out.
pub(super) fn skip_notes(name: &str, skipped: &[Skip]) -> Vec<String> {
    skipped.iter().map(|skip| format!("{name}: left out: {skip}")).collect()
}

/// What every row of a file has.
struct Common {
    id: String,
    language: Language,
    question: String,
    media: Vec<Media>,
    /// What is drawn, in every language together.
    key: String,
    /// What is resampled together.
    group: String,
}

impl Common {
    fn of(recipe: &FileRecipe, row: &Row) -> Result<Self, SkipReason> {
        let name = recipe.fields.question.as_deref().unwrap_or("question");
        let question = text_of(row, name).filter(|text| !text.trim().is_empty());
        let question = question.ok_or_else(|| refuse(format!("no {name}")))?;
        let hint = text_of(row, "hint").map(|hint| format!("{hint}\n")).unwrap_or_default();
        let mut question = format!("{hint}{question}");
        let mut media = row.media.clone();
        resolve_numbered([&mut question], &mut media)?;
        let language = row.language.ok_or_else(|| SkipReason::new(SkipKind::UnknownLanguage, "no language"))?;
        let placed = question.matches(IMAGE_PLACEHOLDER).count();
        if placed > 0 && placed != media.len() {
            let detail = format!("{placed} placeholders for {} pictures", media.len());
            return Err(SkipReason::new(SkipKind::Placeholders, detail));
        }
        let own = match &recipe.group_column {
            Some(column) => {
                let group = text_of(row, column).ok_or_else(|| refuse(format!("no {column}")))?;
                Some(group)
            }
            None => None,
        };
        let key = own.clone().unwrap_or_else(|| row.id.clone());
        let group = own.or_else(|| shown(&media)).unwrap_or_else(|| row.id.clone());
        Ok(Self { id: row.id.clone(), language, question, media, key, group })
    }

    fn prediction(&self, benchmark: &str, question: &Question) -> Prediction {
        Prediction {
            language: Some(self.language.tag().to_owned()),
            picture: shown(&self.media).unwrap_or_default(),
            question: self.question.replace(IMAGE_PLACEHOLDER, "").trim().to_owned(),
            ..Prediction::new(&question.id, benchmark, &self.group)
        }
    }
}

/// The answers as the record has them: a list, or one; objects by their text. And the field that they stand in.
fn answers<'r>(recipe: &'r FileRecipe, row: &'r Row) -> Result<(Vec<String>, (&'r str, &'r Value)), SkipReason> {
    let names = match &recipe.fields.answer {
        Some(name) => vec![name.as_str()],
        None => vec!["answer", "answers"],
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

/// Reads the rows that have a question and an answer.
fn read<T>(
    recipe: &FileRecipe,
    base: &Path,
    make: impl Fn(Common, &Row) -> Result<T, SkipReason>,
    common: impl Fn(&T) -> &Common,
) -> Result<(Vec<T>, String, Vec<String>), BenchmarkError> {
    recipe.check()?;
    let mut table = Table::read(recipe.source(), base, recipe.max_skipped)?;
    if recipe.cells == Cells::Vlmevalkit {
        table.read_as_pandas();
    }
    table.require(&[recipe.fields.question.as_deref().unwrap_or("question")])?;
    match &recipe.fields.answer {
        Some(name) => table.require(&[name])?,
        None => table.require(&["answer", "answers"])?,
    }
    if let Some(column) = &recipe.group_column {
        table.require(&[column])?;
    }
    let key = table.key.clone();
    let mut names = Names::default();
    let (items, skipped) = table.items(|_, row| {
        let common = Common::of(recipe, &row)?;
        names.note(common.language.tag(), &common.id, (&row.file, row.place.to_string()))?;
        make(common, &row).map(Some)
    })?;
    let of = |item: &T| (common(item).language.tag().to_owned(), common(item).key.clone());
    let items = draw(items, recipe.limit, recipe.seed, of);
    Ok((items, key, skip_notes(&recipe.name, &skipped)))
}

fn check_tokens(name: &str, tokens: usize) -> Result<(), BenchmarkError> {
    if tokens > 0 {
        return Ok(());
    }
    Err(BenchmarkError::Setting { name: name.to_owned(), message: "`max_new_tokens` must be at least 1".into() })
}

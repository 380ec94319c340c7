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

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn_vlm_data::language::Language;
use burn_vlm_data::source::{Fields, Format, LanguageRule, Limits, Skip, SourceConfig};
use serde::{Deserialize, Serialize};

use crate::error::BenchmarkError;

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
    /// Where paths of videos begin; `image_root` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_root: Option<PathBuf>,
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
    /// Only questions in these languages; all where absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<Language>,
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
    pub const KEYS: [&str; 16] = [
        "name",
        "file",
        "format",
        "image_root",
        "video_root",
        "allow_links",
        "language",
        "language_column",
        "language_map",
        "fields",
        "languages",
        "limit",
        "seed",
        "group_column",
        "max_skipped",
        "limits",
    ];
    /// The key of `cells`.
    pub const CELLS: [&str; 1] = ["cells"];

    /// The source that reads the file.
    pub fn source(&self) -> SourceConfig {
        let mut fields = self.fields.clone();
        fields.more.extend(self.group_column.clone());
        let by_column = || {
            let field = self.language_column.clone()?;
            Some(LanguageRule::Field { field, aliases: self.language_map.clone() })
        };
        SourceConfig {
            format: self.format,
            image_root: self.image_root.clone(),
            video_root: self.video_root.clone(),
            allow_links: self.allow_links,
            language: self.language.map(LanguageRule::Fixed).or_else(by_column),
            fields,
            limits: self.limits,
            ..SourceConfig::new(&self.name, &self.file)
        }
    }

    /// Whether questions in a language are wanted.
    pub fn asks_in(&self, language: Option<Language>) -> bool {
        self.languages.is_empty() || language.is_some_and(|language| self.languages.contains(&language))
    }

    /// All that is left out: what could not be used when the file was read, and `more`, questions whose pictures or videos turn out
    /// to be unreadable later, of `asked`.
    ///
    /// # Errors
    /// More than [`Self::max_skipped`] in all; no question that is left.
    pub fn leave_out(&self, before: &[Skip], more: &[Skip], asked: usize) -> Result<Vec<Skip>, BenchmarkError> {
        let (name, rows) = (self.name.clone(), before.len() + asked);
        let skipped = [before, more].concat();
        if skipped.len() > self.max_skipped {
            return Err(BenchmarkError::Skipped { name, rows, allowed: self.max_skipped, skipped });
        }
        match more.last() {
            Some(last) if more.len() == asked => Err(BenchmarkError::Empty {
                name,
                why: Some(format!("nothing that they show can be read, such as {last}")),
            }),
            _ => Ok(skipped),
        }
    }

    /// The language that the data means by a tag.
    pub fn tag(&self, tag: &str) -> Option<Language> {
        self.language_map.get(tag).copied().or_else(|| Language::parse(tag).ok())
    }
}

/// What a reader must know of rows that are left out.
pub fn skip_notes(name: &str, skipped: &[Skip]) -> Vec<String> {
    skipped.iter().map(|skip| format!("{name}: left out: {skip}")).collect()
}

//! What a user says about a source: where it is, how it is written, which language it has.

use crate::image::DecodeLimits;
use crate::language::Language;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A source as a recipe names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// What reports and skipped samples call it.
    pub name: String,
    /// A file; several as `{a,b}.json`, `train-{000..009}.tar` or `data/*.parquet`; or a folder, whose files of the format
    /// are taken in the order of their names.
    pub path: String,
    /// How the files are written; told by their ending where absent.
    #[serde(default)]
    pub format: Option<Format>,
    /// Where relative image paths begin, and what they may not leave. Records that name image files need it.
    #[serde(default)]
    pub image_root: Option<PathBuf>,
    /// The same for paths of videos; `image_root` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_root: Option<PathBuf>,
    /// Follow links below `image_root` that lead out of it, to a shared disk for example.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_links: bool,
    /// The language of the samples.
    #[serde(default)]
    pub language: Option<LanguageRule>,
    /// Tags (public, synthetic, translated, ...).
    #[serde(default)]
    pub tags: Vec<String>,
    /// Which fields or columns are read.
    #[serde(default)]
    pub fields: Fields,
    /// What is done with conversations that show no placeholder for their pictures.
    #[serde(default)]
    pub placeholders: Placeholders,
    /// What is refused.
    #[serde(default)]
    pub limits: Limits,
}

/// How the files of a source are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// LLaVA's JSON: one array of records, or one record a line (JSONL); told apart by the first character.
    Json,
    /// Parquet as Hugging Face writes it.
    Parquet,
    /// Tar archives whose entries share a key: `0001.jpg`, `0001.json`.
    WebDataset,
    /// Tab-separated values as VLMEvalKit writes them: pictures in base64, options A, B, C, ...
    Tsv,
}

/// Where the language of a sample stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LanguageRule {
    /// All samples have this one.
    Fixed(Language),
    /// Each record says so itself.
    Field {
        /// The field or column with the tag.
        field: String,
        /// Tags of the data that are written differently, `zh = "zh-Hans"`.
        #[serde(default)]
        aliases: BTreeMap<String, Language>,
    },
}

/// Names of fields or columns; those that are absent are looked for under their usual names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    /// The id (`id`, `index`).
    pub id: Option<String>,
    /// The picture or pictures (`image`, `images`, `image_path`, `image_paths`; `file_name`, `file_names`; `image_1`, `image_2`, ...).
    pub image: Option<String>,
    /// The video (`video`): a file, or its frames as files or as the folder that holds them.
    pub video: Option<String>,
    /// The conversation (`conversations`, `messages`, `texts`).
    pub conversations: Option<String>,
    /// The question (`question`); lettered options beside it are in `A`, `B`, ..., a hint in `hint`.
    pub question: Option<String>,
    /// The answer (`answer`, `answers`); of a list the first, of objects their `answer`; a number beside options is a place among them,
    /// from 0.
    pub answer: Option<String>,
    /// The caption (`caption`, `text`, `txt`).
    pub caption: Option<String>,
    /// What a caption answers; without it the user's turn is the picture alone.
    pub caption_prompt: Option<String>,
    /// What the system says before the conversation (`system`, `system_prompt`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Fields that are not read on purpose: nothing is said of them, and none is a reason to leave a record out. Keys of turns as
    /// reports name them (`conversations: image`), entries of archives by their ending (`.mp4`). A field that is named otherwise
    /// here is read all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Other fields that [`FileSource::rows`](super::FileSource::rows) shall have; only parquet files leave out what is not named, and TSV
    /// files the `image_path`.
    pub more: Vec<String>,
}

impl Fields {
    /// Whether a field is not read on purpose.
    pub(super) fn ignores(&self, name: &str) -> bool {
        self.ignore.iter().any(|ignored| ignored == name) && !self.named().any(|named| named == name)
    }

    /// The names that were chosen.
    pub(super) fn named(&self) -> impl Iterator<Item = &str> {
        let Self { id, image, video, conversations, question, answer, caption, system, more, .. } = self;
        let named = [id, image, video, conversations, question, answer, caption, system];
        named.into_iter().flatten().chain(more).map(String::as_str)
    }
}

/// What is done with conversations that show no placeholder for their pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placeholders {
    /// Placeholders stand where the data has them; a conversation that lacks them is skipped.
    #[default]
    AsGiven,
    /// Where a conversation has none, they are put before the first turn of the user, one a line.
    Prepend,
}

/// What a source refuses; nothing from outside is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most bytes of a record, an archive entry or an image file.
    pub max_entry_bytes: u64,
    /// The most pixels of a picture, width times height.
    pub max_pixels: u64,
    /// How deep JSON may be nested.
    pub max_depth: usize,
    /// The most pictures of a sample, frames counted.
    pub max_pictures: usize,
}

impl Default for Limits {
    /// 64 MiB an entry, 64 million pixels, 32 levels, 1,024 pictures.
    fn default() -> Self {
        Self { max_entry_bytes: 64 << 20, max_pixels: 64 << 20, max_depth: 32, max_pictures: 1024 }
    }
}

impl Limits {
    /// The part that decoders obey.
    pub fn decode(&self) -> DecodeLimits {
        DecodeLimits { max_pixels: self.max_pixels, ..DecodeLimits::default() }
    }
}

impl SourceConfig {
    /// A source with defaults for everything but its name and path.
    pub fn new(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            format: None,
            image_root: None,
            video_root: None,
            allow_links: false,
            language: None,
            tags: Vec::new(),
            fields: Fields::default(),
            placeholders: Placeholders::default(),
            limits: Limits::default(),
        }
    }
}

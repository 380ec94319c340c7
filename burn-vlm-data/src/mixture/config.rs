//! The mixture file: sources, and in which proportions they are drawn.

use super::amount::{Share, Weight};
use super::error::MixtureConfigError;
use super::languages::LanguageRatios;
use super::take::Take;
use crate::braces::expand_braces;
use crate::language::Language;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The tag of sources without pictures.
pub(super) const TEXT: &str = "text";

/// A mixture of sources, as its TOML file has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureConfig {
    /// A name for logs and reports.
    #[serde(default)]
    pub name: String,
    /// The folder that paths start from; the folder of the file where absent. A relative one starts there, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Where the data is published, for who has to get it; of a source, what that says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Seed of everything random: which samples are drawn, and in which order.
    #[serde(default)]
    pub seed: u64,
    /// Samples of an epoch. Where absent: all samples, or with ratios or weights the most that need no repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Draw samples several times where there are too few; else that is an error.
    #[serde(default)]
    pub allow_repeats: bool,
    /// Languages and their ratios; whatever the sources have where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub languages: Option<LanguageRatios>,
    /// The share of samples from sources that are tagged `text`, those without pictures; as their numbers give it where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Share>,
    /// Only sources with one of these tags; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include_tags: Vec<String>,
    /// No sources with one of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_tags: Vec<String>,
    /// The sources.
    #[serde(rename = "source")]
    pub sources: Vec<SourceConfig>,
}

/// One source of a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Its name, unique in the mixture: for logs, and to choose its random samples.
    pub name: String,
    /// The file or folder; `{a,b}` and `{000..127}` stand for several.
    pub path: String,
    /// How the file is read.
    pub format: SourceFormat,
    /// Where it is published, for who has to get it; as the mixture says where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The folder that image paths start from; that of the data file where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_root: Option<PathBuf>,
    /// The folder that video paths start from; `image_root` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_root: Option<PathBuf>,
    /// Follow links below `image_root` that lead out of it, to a shared disk for example.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_links: bool,
    /// The language of all its samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// The column (JSON key) that has each sample's language.
    #[serde(default, alias = "language_field", skip_serializing_if = "Option::is_none")]
    pub language_column: Option<String>,
    /// What values of that column mean, where they are no tags: `{ Chinese = "zh-Hans" }`.
    #[serde(default, alias = "aliases", skip_serializing_if = "BTreeMap::is_empty")]
    pub language_map: BTreeMap<String, Language>,
    /// Which of its samples are used.
    #[serde(default)]
    pub take: Take,
    /// Its share beside the other sources; by its number of samples where no source has a weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Its number of samples before `take`, for what is computed without the data (dry runs).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// What it is about, for reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Tags for reports and for choosing sources: `"public"`, `"synthetic"`, `"translated"`, ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Names of columns (JSON keys), where they are not the format's own: `{ image = "picture" }`.
    #[serde(default, alias = "fields", skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
    /// Columns that are not read on purpose: nothing is said of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
}

/// The format of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceFormat {
    /// LLaVA's JSON: one list of samples.
    #[serde(alias = "json")]
    LlavaJson,
    /// The same, one sample a line.
    #[serde(alias = "jsonl")]
    LlavaJsonl,
    /// Hugging Face parquet.
    Parquet,
    /// WebDataset: tar shards.
    Webdataset,
    /// VLMEvalKit's tables.
    #[serde(alias = "tsv")]
    VlmevalkitTsv,
    /// The embedded corpus: `path` is a task (`caption`, `yes_no`, ...), `language` the language of its answers.
    Emoji,
}

impl MixtureConfig {
    /// Reads a mixture file.
    ///
    /// # Errors
    /// A file that cannot be read, is no mixture (with the line), or contradicts itself.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, MixtureConfigError> {
        let path = path.as_ref();
        let text =
            std::fs::read_to_string(path).map_err(|source| MixtureConfigError::Io { path: path.to_owned(), source })?;
        Self::from_toml(&text, path)
    }

    /// The same with some of its keys set otherwise, as if the file said so: `set` has keys of the file's top (`languages`, `exclude_tags`,
    /// `total`, ...).
    ///
    /// # Errors
    /// As [`MixtureConfig::from_file`]; a key that a mixture file does not have.
    pub fn from_file_with(path: impl AsRef<Path>, set: &toml::Table) -> Result<Self, MixtureConfigError> {
        let path = path.as_ref();
        if set.is_empty() {
            return Self::from_file(path);
        }
        let text =
            std::fs::read_to_string(path).map_err(|source| MixtureConfigError::Io { path: path.to_owned(), source })?;
        // What is wrong with the file itself is told with its place.
        Self::from_toml(&text, path)?;
        let wrong = |reason: String| MixtureConfigError::Toml { path: path.to_owned(), reason };
        let mut table: toml::Table = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        table.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
        let keys: Vec<&str> = set.keys().map(String::as_str).collect();
        let config = Self::deserialize(toml::Value::Table(table))
            .map_err(|error| wrong(format!("with `set = {{ {} }}`: {}", keys.join(", "), error.message())))?;
        config.in_folder_of(path)
    }

    /// Reads the contents of a mixture file; `path` is named in errors, and its folder is where relative paths start.
    ///
    /// # Errors
    /// As [`MixtureConfig::from_file`].
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, MixtureConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|error| MixtureConfigError::Toml { path: path.to_owned(), reason: error.to_string() })?;
        config.in_folder_of(path)
    }

    /// Checks what is read and lets its relative paths begin in the folder of its file.
    fn in_folder_of(mut self, path: &Path) -> Result<Self, MixtureConfigError> {
        self.check(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        self.root = Some(self.root.as_deref().map_or_else(|| folder.to_owned(), |root| folder.join(root)));
        Ok(self)
    }

    /// Checks what no single value shows: unique names, weights for all sources or none, tags that some source has.
    ///
    /// # Errors
    /// The first contradiction; `path` is named as the file.
    pub fn check(&self, path: &Path) -> Result<(), MixtureConfigError> {
        let fail = |place: &str, problem: String, help: &str| {
            let (path, place, help) = (path.to_owned(), place.to_owned(), help.to_owned());
            Err(MixtureConfigError::Invalid { path, place, problem, help })
        };
        if self.sources.is_empty() {
            return fail("source", "the mixture has none".to_owned(), "add a [[source]] with name, path and format");
        }
        let mut names = BTreeSet::new();
        let weighted = self.sources.iter().filter(|source| source.weight.is_some()).count();
        for source in &self.sources {
            let place = format!("source {:?}", source.name);
            if !names.insert(source.name.as_str()) {
                return fail(&place, "two sources have this name".to_owned(), "names tell sources apart; rename one");
            }
            if source.language.is_some() && source.language_column.is_some() {
                let help = "language is for all samples, language_column for each; keep one";
                return fail(&place, "it has both language and language_column".to_owned(), help);
            }
            if !source.language_map.is_empty() && source.language_column.is_none() {
                let help = "language_map translates the values of language_column; name that column";
                return fail(&place, "it has a language_map but no language_column".to_owned(), help);
            }
            if weighted > 0 && source.weight.is_none() {
                let help = "give every source a weight (0 leaves it out), or none";
                return fail(&place, "it has no weight, other sources do".to_owned(), help);
            }
            if let Err(problem) = expand_braces(&source.path) {
                return fail(&place, problem, "write path = \"a.json\", \"{a,b}.json\" or \"{000..127}.tar\"");
            }
        }
        for tag in self.include_tags.iter().chain(&self.exclude_tags) {
            let known: BTreeSet<&str> = self.sources.iter().flat_map(|s| &s.tags).map(String::as_str).collect();
            if !known.contains(tag.as_str()) {
                let help = format!("the tags are: {}", known.into_iter().collect::<Vec<_>>().join(", "));
                return fail("include_tags or exclude_tags", format!("no source has the tag {tag:?}"), &help);
            }
        }
        if let Some(share) = self.text {
            let active = self.active();
            let is_drawn = |source: &SourceConfig| source.weight.is_none_or(|weight| weight.parts() > 0);
            let active = self.sources.iter().zip(active).filter(|(source, active)| *active && is_drawn(source));
            let of_text = active.map(|(source, _)| source.tags.iter().any(|tag| tag == TEXT));
            let (text, others): (Vec<bool>, Vec<bool>) = of_text.partition(|of_text| *of_text);
            if share != Share::ZERO && text.is_empty() {
                let help = "tag the sources without pictures: tags = [\"text\"]; include_tags and exclude_tags must let one in";
                return fail("text", "no source of the mixture is tagged \"text\"".to_owned(), help);
            }
            if share != Share::ONE && others.is_empty() {
                let help = "leave text out, or let sources with pictures in";
                return fail("text", "every source of the mixture is tagged \"text\"".to_owned(), help);
            }
        }
        if self.text.is_some() && self.languages.is_some() {
            let help = "languages divide the total, and so does text; keep one";
            return fail("text", "the mixture has both text and languages".to_owned(), help);
        }
        if self.total == Some(0) {
            return fail("total", "a mixture of 0 samples".to_owned(), "set a number of samples, or leave it out");
        }
        if self.allow_repeats && self.total.is_none() {
            let help = "set total: repeats make any size possible";
            return fail("allow_repeats", "it needs a size".to_owned(), help);
        }
        Ok(())
    }

    /// True for each source that its tags let into the mixture.
    pub fn active(&self) -> Vec<bool> {
        let any = |source: &SourceConfig, tags: &[String]| source.tags.iter().any(|tag| tags.contains(tag));
        let active = |source: &SourceConfig| {
            (self.include_tags.is_empty() || any(source, &self.include_tags)) && !any(source, &self.exclude_tags)
        };
        self.sources.iter().map(active).collect()
    }

    /// A path of the file, from [`MixtureConfig::root`] unless it is absolute.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.as_deref().unwrap_or(Path::new("")).join(path)
    }
}

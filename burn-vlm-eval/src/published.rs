//! What a published benchmark is: how its files are read, how each item is asked, and what replies are worth under the
//! rules of somebody's code.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_data::sample::Media;
use burn_vlm_data::source::Skip;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::ask::{Ask, Reply};
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::rules::{PromptStyle, Rules};

/// A published benchmark. To add one, write its file and name it in [`crate::benchmarks::all`].
pub trait Published: Send + Sync {
    /// Its name in recipes, such as `mmbench`.
    fn name(&self) -> &'static str;

    /// What it is, in a sentence, with the paper.
    fn about(&self) -> &'static str;

    /// The rules that it can be scored by, the default first.
    fn rules(&self) -> &'static [Rules];

    /// Reads the files as the rules' owner does.
    ///
    /// # Errors
    /// Files that are not this benchmark's: a missing column or picture, an answer outside the options, two rows of one
    /// index.
    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError>;

    /// The prompts that it can be asked with under the rules, the default first.
    fn prompts(&self, rules: Rules) -> Vec<PromptStyle> {
        vec![PromptStyle::of(rules)]
    }

    /// How an item is asked.
    fn question(&self, item: &Item, style: PromptStyle) -> Asked;

    /// The question that is asked twice, with the item's pictures and without, to tell by [`crate::cxmi`] what these
    /// are worth to the model: the first of its answers is the one whose likelihood counts. None of a benchmark that
    /// has no such question.
    fn picture_use(&self, _item: &Item, _style: PromptStyle) -> Option<Asked> {
        None
    }

    /// What the judge is asked about a reply; none of a benchmark without a judge.
    fn judge(&self, _item: &Item, _reply: &str, _rules: Rules) -> Option<JudgePrompt> {
        None
    }

    /// What the answers are worth, one of each item in their order. `style` is what they were asked with.
    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, style: PromptStyle) -> Scored;

    /// What the scores of an item mean, the first the one that matters most.
    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo>;
}

/// One question of a benchmark, as its rules read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Unique in the benchmark: `part/index`.
    pub id: String,
    /// What totals are taken apart by: the stem of its file, a split, a language.
    pub part: String,
    /// Its index within the part, as the file names it.
    pub index: String,
    /// Number of its row among all rows of its files, from 0; rows that are dropped count.
    pub row: u64,
    /// Its language, where that is told.
    pub language: Option<Language>,
    /// The pictures.
    pub media: Vec<Media>,
    /// What is resampled together: the picture, or what several questions have in common.
    pub group: String,
    /// The question as the file has it.
    pub question: String,
    /// The options with their letters; none of questions that are answered freely.
    pub options: Vec<(char, String)>,
    /// What is right: a letter, or every text that is accepted.
    pub answers: Vec<String>,
    /// The file's other columns as the rules read them (names as in the file); missing ones are absent.
    pub cells: BTreeMap<String, Value>,
}

/// The items of a benchmark.
#[derive(Debug, Clone, Default)]
pub struct Items {
    /// In the files' order.
    pub items: Vec<Item>,
    /// Hash of all that was read but the pictures.
    pub key: String,
    /// What a reader of the scores must know: rows that were left out, groups that are not whole.
    pub notes: Vec<String>,
    /// Ids (`part/index`) of rows that the files have and nobody is asked: the rules do not count them, or they are not drawn.
    pub unasked: Vec<String>,
    /// Rows that cannot be used and are left out, as the file's recipe allows; the notes name them.
    pub skipped: Vec<Skip>,
}

/// How an item is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The user's turn. It has no placeholder of a picture ([`IMAGE_PLACEHOLDER`], all pictures stand first then), one
    /// for each of [`Item::media`] in their order, or, as in M3Exam, fewer: then the pictures that lack one stand
    /// first, and the others where the placeholders are.
    ///
    /// [`IMAGE_PLACEHOLDER`]: burn_vlm_data::conversation::IMAGE_PLACEHOLDER
    pub text: String,
    /// What is wanted.
    pub ask: Ask,
}

/// What a judge is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JudgePrompt {
    /// The system's turn.
    pub system: Option<String>,
    /// The user's turn.
    pub text: String,
    /// Sampling temperature, in thousandths: prompts are compared and hashed.
    pub temperature_milli: u32,
    /// The most tokens of its reply.
    pub max_tokens: u32,
}

/// What came back for an item.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The model's reply; none if it was not asked or the predictions lack it.
    pub reply: Option<Reply>,
    /// The judge's, where there is one.
    pub judge: Option<String>,
}

/// What is worth knowing of an answer beyond its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// Nothing could be understood of the reply.
    Invalid,
    /// There is no reply.
    NoReply,
    /// The reference reads the reply back from its file of results as a missing value, and scores the text `nan`.
    ReadAsMissing,
    /// The reference would draw an answer at random here; ours counts it as wrong.
    RandomInReference,
    /// The judge gave nothing that could be read.
    JudgeFailed,
}

impl Flag {
    /// The name in predictions and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NoReply => "no_reply",
            Self::ReadAsMissing => "read_as_missing",
            Self::RandomInReference => "random_in_reference",
            Self::JudgeFailed => "judge_failed",
        }
    }
}

/// What an answer is worth.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Verdict {
    /// What was understood of the reply: a letter, yes or no, the text that was compared. None where nothing was.
    pub understood: Option<String>,
    /// What the item contributes to each metric, by [`MetricInfo::key`], 0 to 1. A metric that is taken over groups has
    /// its value on one item of each group only.
    pub scores: Vec<(&'static str, f64)>,
    /// What else is worth knowing.
    pub flags: Vec<Flag>,
    /// What the reference notes of the item, under its own names; null where it notes nothing.
    pub details: Map<String, Value>,
}

/// What all answers are worth.
#[derive(Debug, Clone, Default)]
pub struct Scored {
    /// One an item; none where the rules drop the item.
    pub verdicts: Vec<Option<Verdict>>,
    /// The totals that the reference prints, under its own names and in its own units.
    pub totals: Value,
    /// What a reader must know: groups that are not whole, draws that the reference would make.
    pub notes: Vec<String>,
}

/// What a score of an item means.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricInfo {
    /// The key in [`Verdict::scores`].
    pub key: &'static str,
    /// The name in tables: `accuracy`, `circular`.
    pub label: String,
    /// How it is computed, in one or two sentences.
    pub explanation: String,
    /// The score of guessing, in percent; none where guessing means nothing.
    pub chance: Option<f64>,
}

impl Items {
    /// The same with the ids of all rows, of which those of no item are not asked.
    #[must_use]
    pub fn of_rows(mut self, mut ids: Vec<String>) -> Self {
        let asked: HashSet<&str> = self.items.iter().map(|item| item.id.as_str()).collect();
        ids.retain(|id| !asked.contains(id.as_str()));
        self.unasked = ids;
        self
    }
}

impl Item {
    /// A column as text; numbers are written out, missing cells and null are none.
    pub fn cell(&self, column: &str) -> Option<String> {
        crate::table::as_text(self.cells.get(column)?)
    }

    /// The option's text.
    pub fn option(&self, letter: char) -> Option<&str> {
        self.options.iter().find(|(known, _)| *known == letter).map(|(_, text)| text.as_str())
    }

    /// The first answer.
    pub fn answer(&self) -> &str {
        self.answers.first().map_or("", String::as_str)
    }
}

impl Answer {
    /// A reply in words.
    pub fn text(text: impl Into<String>) -> Self {
        Self { reply: Some(Reply::Text(text.into())), judge: None }
    }

    /// The reply if it is a text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.reply {
            Some(Reply::Text(text)) => Some(text),
            _ => None,
        }
    }
}

impl Verdict {
    /// Right or wrong under one metric.
    pub fn right(key: &'static str, understood: Option<String>, right: bool) -> Self {
        Self { understood, scores: vec![(key, f64::from(u8::from(right)))], ..Self::default() }
    }

    /// Notes what the reference notes.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a flag if it holds.
    #[must_use]
    pub fn flagged(mut self, flag: Flag, holds: bool) -> Self {
        self.flags.extend(holds.then_some(flag));
        self
    }

    /// The contribution to a metric.
    pub fn score(&self, key: &str) -> Option<f64> {
        self.scores.iter().find(|(known, _)| *known == key).map(|(_, score)| *score)
    }
}

/// The parts of some items in their order.
pub fn parts(items: &[Item]) -> Vec<&str> {
    let mut parts: Vec<&str> = Vec::new();
    for item in items {
        if !parts.contains(&item.part.as_str()) {
            parts.push(&item.part);
        }
    }
    parts
}

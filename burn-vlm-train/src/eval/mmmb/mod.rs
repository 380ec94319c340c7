//! MMMB (Parrot, section 2) from its published TSV files, in both of its protocols.
//!
//! Unusual here:
//! - the paper describes yes/no pairs, right only if both answers are; the published files are plain multiple choice and the
//!   published code counts each question. [`Protocol::Vanilla`] is the code, [`Protocol::Paired`] the paper, over a file of yes/no
//!   questions; they have names of their own, and every score says how many questions it rests on;
//! - rows, prompts and letters are those of the published scorers, oddities included, so that a number can stand beside a
//!   published one. A benchmark of your own is better asked as [`choice`](super::Choice).

mod kit;
mod reply;

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_data::image::DecodeLimits;
use burn_vlm_data::language::Language;
use burn_vlm_data::source::{LanguageRule, SkipKind, SkipReason};
use serde::{Deserialize, Serialize};

pub use kit::PromptStyle;
pub(super) use kit::pandas_column;
pub use reply::{Options, Reader, letter, parrot_clean_up, yes_no};

use self::kit::{ENGLISH, KitRow, choice_prompt, is_missing, yes_no_prompt};
use super::benchmark::check_replies;
use super::file::FileRecipe;
use super::table::{Names, Table, draw, refuse, shown};
use super::{Ask, Benchmark, BenchmarkError, Metric, NamedScore, Prediction, Question, Reply, mean};
use crate::error::Result;

/// Tokens of a reply, as Parrot's model class allows.
const MAX_NEW_TOKENS: usize = 512;

/// Ends of the published files' names that are no tags of ours.
const FILE_LANGUAGES: [(&str, Language); 3] =
    [("cn", Language::ZH_HANS), ("zh", Language::ZH_HANS), ("pt", Language::PT_BR)];

/// What counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Multiple choice, each question by itself: the published code.
    #[default]
    Vanilla,
    /// Yes/no questions, a picture only if all of its questions are answered right: the paper.
    Paired,
}

/// `kind = "mmmb"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MmmbRecipe {
    /// Where the questions are.
    #[serde(flatten)]
    pub file: FileRecipe,
    /// What counts.
    #[serde(default)]
    pub protocol: Protocol,
    /// Who writes the prompt.
    #[serde(default = "parrot_prompt")]
    pub prompt: PromptStyle,
    /// Who reads the replies; in pairs [`Reader::Parrot`] reads as its kit does.
    #[serde(default = "parrot_reader")]
    pub reader: Reader,
    /// The most tokens of a reply.
    #[serde(default = "max_new_tokens")]
    pub max_new_tokens: usize,
}

fn parrot_prompt() -> PromptStyle {
    PromptStyle::Parrot
}

fn parrot_reader() -> Reader {
    Reader::Parrot
}

fn max_new_tokens() -> usize {
    MAX_NEW_TOKENS
}

/// MMMB.
pub struct Mmmb {
    name: String,
    recipe: MmmbRecipe,
    questions: Vec<Question>,
    items: Vec<Item>,
    /// By item: the first of its pair, and all of the pair.
    pairs: Vec<usize>,
    key: String,
    notes: Vec<String>,
}

/// One row.
struct Item {
    row: KitRow,
    language: String,
    /// What the bootstrap resamples: the picture.
    group: String,
    /// Questions that count together.
    pair: String,
    options: Vec<(char, String)>,
    /// The right letter; of yes/no questions `Y` or `N`.
    answer: char,
    /// Whether the prompt ends with the English request for a letter.
    english: bool,
}

impl MmmbRecipe {
    /// Keys beyond those of every file of questions.
    pub(super) const KEYS: [&str; 4] = ["protocol", "prompt", "reader", "max_new_tokens"];
}

impl Mmmb {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be read, a column that is missing, rows that cannot be used.
    pub fn open(recipe: MmmbRecipe, base: &Path) -> Result<Self, BenchmarkError> {
        let setting =
            |message: &str| BenchmarkError::Setting { name: recipe.file.name.clone(), message: message.into() };
        if recipe.protocol == Protocol::Vanilla && recipe.reader == Reader::LmmsEval {
            return Err(setting("`reader = \"lmms_eval\"` reads yes and no only, see `protocol = \"paired\"`"));
        }
        if recipe.max_new_tokens == 0 {
            return Err(setting("`max_new_tokens` must be at least 1"));
        }
        let mut source = recipe.file.source();
        // Languages stand in the names of the published files.
        source.language = recipe.file.language.map(LanguageRule::Fixed);
        let table = Table::read(source, base, recipe.file.max_skipped)?;
        table.require(&["question"])?;
        table.require(&["answer"])?;
        let key = table.key.clone();
        // Cells are typed by column, so all rows are needed before the first question.
        let typed = kit::rows(table.rows());
        let mut dropped = 0;
        let mut names = Names::default();
        let (items, skipped) = table.items(|at, row| {
            if row.media.is_empty() {
                // The kit leaves such rows out before it counts.
                dropped += 1;
                return Ok(None);
            }
            let item = item(&recipe, row.language, typed[at].clone())?;
            names.note(&item.row.file, &item.row.index, (&row.file, row.place.to_string()))?;
            Ok(Some(item))
        })?;
        let file = &recipe.file;
        let items = draw(items, file.limit, file.seed, |item: &Item| {
            let key = match recipe.protocol {
                Protocol::Vanilla => item.row.index.clone(),
                Protocol::Paired => item.pair.clone(),
            };
            (item.language.clone(), key)
        });
        if items.is_empty() {
            return Err(BenchmarkError::Empty { name: file.name.clone(), why: Some("no row has a picture".into()) });
        }
        let questions = items.iter().map(|item| {
            let prompt = match recipe.protocol {
                Protocol::Vanilla => choice_prompt(&item.row, recipe.prompt),
                Protocol::Paired => yes_no_prompt(&item.row, recipe.prompt),
            };
            let id = format!("{}/{}", item.row.file, item.row.index);
            Question::new(id, prompt, item.row.media.clone(), Ask::Generate { max_new_tokens: recipe.max_new_tokens })
        });
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        let pairs = items.iter().enumerate().map(|(at, item)| *first.entry(&item.pair).or_insert(at)).collect();
        let mut notes = super::file::skip_notes(&file.name, &skipped);
        if dropped > 0 {
            notes.push(format!("{}: {dropped} rows without a picture are not counted, as in VLMEvalKit", file.name));
        }
        Ok(Self { name: file.name.clone(), questions: questions.collect(), pairs, items, key, notes, recipe })
    }

    fn each(&self) -> String {
        format!("{}_each", self.name)
    }
}

/// The question of a row.
fn item(recipe: &MmmbRecipe, fixed: Option<Language>, row: KitRow) -> Result<Item, SkipReason> {
    let file = &recipe.file;
    let language = match (fixed, &file.language_column) {
        (Some(language), _) => language,
        (None, Some(column)) => {
            let tag = row.cell(&column.to_lowercase()).unwrap_or_default();
            file.tag(tag).ok_or_else(|| SkipReason::new(SkipKind::UnknownLanguage, format!("{column}: {tag:?}")))?
        }
        (None, None) => {
            let tag = row.file.rsplit_once('_').map_or(row.file.as_str(), |(_, tag)| tag);
            let known = FILE_LANGUAGES.iter().find(|(end, _)| *end == tag).map(|(_, language)| *language);
            file.tag(tag).or(known).ok_or_else(|| {
                let detail = format!(
                    "the file's name {:?} does not end with a language (mmmb_en); set `language`, `language_column` or `language_map`",
                    row.file
                );
                SkipReason::new(SkipKind::UnknownLanguage, detail)
            })?
        }
    };
    if row.cell("question").is_none() {
        return Err(refuse("no question"));
    }
    let language = language.tag().to_owned();
    let group = shown(&row.media).unwrap_or_else(|| row.index.clone());
    let pair = match &file.group_column {
        Some(column) => row.cell(&column.to_lowercase()).map_or_else(|| group.clone(), str::to_owned),
        None => group.clone(),
    };
    let pair = format!("{language}/{pair}");
    let options = row.options();
    let given = row.cell("answer").ok_or_else(|| SkipReason::new(SkipKind::NoAnswer, "no answer"))?.trim();
    let answer = match recipe.protocol {
        Protocol::Vanilla => {
            let mut letters = given.chars();
            let letter = letters.next().filter(|letter| options.iter().any(|(known, _)| known == letter));
            letter.filter(|_| letters.next().is_none()).ok_or_else(|| {
                let letters: String = options.iter().map(|(letter, _)| *letter).collect();
                refuse(format!("answer {given:?} is none of the options' letters {letters:?}"))
            })?
        }
        Protocol::Paired => match given.to_lowercase().as_str() {
            "yes" => 'Y',
            "no" => 'N',
            _ => return Err(refuse(format!("answer {given:?}, expected Yes or No"))),
        },
    };
    let english = recipe.protocol == Protocol::Vanilla && choice_prompt(&row, recipe.prompt).ends_with(ENGLISH);
    Ok(Item { row, language, group, pair, options, answer, english })
}

impl Benchmark for Mmmb {
    fn name(&self) -> &str {
        &self.name
    }

    fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        check_replies(self, replies)?;
        let reader = self.recipe.reader;
        let mut understood = Vec::with_capacity(replies.len());
        for (item, reply) in self.items.iter().zip(replies) {
            let text = reply.text(&self.name)?;
            understood.push(match self.recipe.protocol {
                Protocol::Vanilla => {
                    let cleaned = match item.english && self.recipe.prompt != PromptStyle::Vlmevalkit {
                        true => parrot_clean_up(text),
                        false => text.to_owned(),
                    };
                    letter(as_stored(&cleaned), &item.options, reader)
                }
                Protocol::Paired => yes_no(text, reader).map(|yes| if yes { 'Y' } else { 'N' }),
            });
        }
        let right: Vec<bool> =
            self.items.iter().zip(&understood).map(|(item, found)| *found == Some(item.answer)).collect();
        let mut whole = vec![true; self.items.len()];
        for (first, right) in self.pairs.iter().zip(&right) {
            whole[*first] &= right;
        }
        let mut predictions = Vec::with_capacity(replies.len());
        for (at, (item, reply)) in self.items.iter().zip(replies).enumerate() {
            let mut scores = Vec::new();
            match self.recipe.protocol {
                Protocol::Vanilla => scores.push(NamedScore::right(&self.name, right[at])),
                Protocol::Paired => {
                    // A pair counts once, whatever its size: with its first question.
                    if self.pairs[at] == at {
                        scores.push(NamedScore::right(&self.name, whole[at]));
                    }
                    scores.push(NamedScore::right(self.each(), right[at]));
                }
            }
            let words = |letter: char| match (self.recipe.protocol, letter) {
                (Protocol::Paired, 'Y') => "Yes".to_owned(),
                (Protocol::Paired, _) => "No".to_owned(),
                (Protocol::Vanilla, letter) => letter.to_string(),
            };
            predictions.push(Prediction {
                language: Some(item.language.clone()),
                picture: shown(&item.row.media).unwrap_or_default(),
                question: item.row.cell("question").unwrap_or_default().to_owned(),
                answer: item.options.iter().position(|(letter, _)| *letter == item.answer),
                references: if item.options.is_empty() { vec![words(item.answer)] } else { Vec::new() },
                options: item.options.iter().map(|(_, text)| text.clone()).collect(),
                tags: item.row.tags(),
                text: Some(reply.text(&self.name)?.to_owned()),
                understood: understood[at].map(words),
                scores,
                ..Prediction::new(&self.questions[at].id, &self.name, &item.group)
            });
        }
        Ok(predictions)
    }

    fn metrics(&self) -> Vec<Metric> {
        let reader = match self.recipe.reader {
            Reader::Vlmevalkit => "VLMEvalKit's rules without a judge",
            Reader::Parrot => "the rules of Parrot's copy of VLMEvalKit, without a judge",
            Reader::LmmsEval => "lmms-eval's rules",
        };
        let prompt = match self.recipe.prompt {
            PromptStyle::Vlmevalkit => "VLMEvalKit's",
            PromptStyle::Parrot => "Parrot's, file by file",
            PromptStyle::ParrotAsSet => "Parrot's, all files as one set",
        };
        match self.recipe.protocol {
            Protocol::Vanilla => {
                let chance = mean(self.items.iter().map(|item| 100.0 / item.options.len().max(1) as f64));
                vec![Metric {
                    name: self.name.clone(),
                    label: format!("{}, each question", self.name),
                    explanation: format!(
                        "Multiple choice, answered freely; each question counts by itself (what the published code does). \
                         Prompts are {prompt}; letters are told by {reader}."
                    ),
                    chance: Some(chance),
                }]
            }
            Protocol::Paired => {
                let mut sizes = vec![0i32; self.items.len()];
                self.pairs.iter().for_each(|first| sizes[*first] += 1);
                let chance = mean(sizes.into_iter().filter(|size| *size > 0).map(|size| 100.0 * 0.5f64.powi(size)));
                let how = format!("Prompts are {prompt}; yes and no are told by {reader}.");
                vec![
                    Metric {
                        name: self.name.clone(),
                        label: format!("{}, pairs", self.name),
                        explanation: format!(
                            "Yes/no questions; a picture counts only if all of its questions are answered right (the paper's \
                             protocol, for which no code is published). {how} N counts pictures."
                        ),
                        chance: Some(chance),
                    },
                    Metric {
                        name: self.each(),
                        label: format!("{}, each question", self.name),
                        explanation: "The same questions, each counted by itself.".into(),
                        chance: Some(50.0),
                    },
                ]
            }
        }
    }

    fn languages(&self) -> Vec<String> {
        super::distinct(self.items.iter().map(|item| item.language.as_str()))
    }

    fn key(&self) -> String {
        self.key.clone()
    }

    fn limits(&self) -> DecodeLimits {
        self.recipe.file.limits.decode()
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

/// A reply as it comes back from the kit's file of results: one that pandas takes for missing is the text `nan`.
fn as_stored(reply: &str) -> &str {
    if is_missing(reply) { "nan" } else { reply }
}

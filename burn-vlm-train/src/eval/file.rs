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
use std::path::{Path, PathBuf};

use burn_vlm_base::shorten::shorten;
use burn_vlm_data::conversation::IMAGE_PLACEHOLDER;
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::{Media, resolve_numbered};
use burn_vlm_data::source::{
    Fields, Format, LanguageRule, Limits, Row, Skip, SkipKind, SkipReason, SourceConfig, answer_texts, option_place,
    option_texts,
};
use burn_vlm_data::tasks::prompts;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::benchmark::check_replies;
use super::mmmb::{Reader, letter};
use super::prediction::argmax;
use super::table::{Names, Table, draw, refuse, shown, text_of};
use super::{
    Ask, Benchmark, BenchmarkError, Metric, NamedScore, OptionScores, Prediction, Question, Reply, distinct, mean,
};
use crate::error::Result;
use crate::stats::{chrf, exact_match};

/// Letters of options.
const LETTERS: [&str; 10] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"];
/// Names of fields with the options as a list.
const OPTION_LISTS: [&str; 2] = ["options", "choices"];
/// Tokens of a reply that should be a letter or the text of an option.
const CHOICE_TOKENS: usize = 32;
/// Tokens of a short answer.
const ANSWER_TOKENS: usize = 32;

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
    pub(super) const KEYS: [&str; 15] = [
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
        "cells",
        "limits",
    ];

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

/// How a choice is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChoiceProtocol {
    /// The question alone; the likeliest option is the answer.
    #[default]
    Likelihood,
    /// The options with letters in the prompt; the letter with the largest logit is the answer.
    Letters,
    /// The same prompt, answered freely; see [`letter`] for how the answer is read.
    Generate,
}

/// `kind = "choice"`: multiple choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChoiceRecipe {
    /// Where the questions are.
    #[serde(flatten)]
    pub file: FileRecipe,
    /// How they are asked.
    #[serde(default)]
    pub protocol: ChoiceProtocol,
    /// What stands below the options; where absent, the language's "Answer with the letter only."
    #[serde(default)]
    pub instruction: Option<String>,
    /// The most tokens of a free reply.
    #[serde(default = "choice_tokens")]
    pub max_new_tokens: usize,
}

/// `kind = "short_answer"`: questions that are answered in a word or phrase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShortAnswerRecipe {
    /// Where the questions are.
    #[serde(flatten)]
    pub file: FileRecipe,
    /// What stands below the question.
    #[serde(default)]
    pub instruction: Option<String>,
    /// The most tokens of a reply.
    #[serde(default = "answer_tokens")]
    pub max_new_tokens: usize,
}

fn choice_tokens() -> usize {
    CHOICE_TOKENS
}

fn answer_tokens() -> usize {
    ANSWER_TOKENS
}

impl ChoiceRecipe {
    pub(super) const KEYS: [&str; 3] = ["protocol", "instruction", "max_new_tokens"];
}

impl ShortAnswerRecipe {
    pub(super) const KEYS: [&str; 2] = ["instruction", "max_new_tokens"];
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

/// Multiple choice from a file.
pub struct Choice {
    recipe: ChoiceRecipe,
    questions: Vec<Question>,
    items: Vec<ChoiceItem>,
    key: String,
    notes: Vec<String>,
}

struct ChoiceItem {
    common: Common,
    options: Vec<String>,
    answer: usize,
}

impl Choice {
    /// Reads the file.
    ///
    /// # Errors
    /// A file that cannot be read, a column that is missing, more rows that cannot be used than `max_skipped`.
    pub fn open(recipe: ChoiceRecipe, base: &Path) -> Result<Self, BenchmarkError> {
        check_tokens(&recipe.file.name, recipe.max_new_tokens)?;
        let make = |common: Common, row: &Row| {
            let options = options(row)?;
            let (answers, field) = answers(&recipe.file, row)?;
            let answer = right_option(&answers, field, &options)?;
            Ok(ChoiceItem { common, options, answer })
        };
        let (items, key, notes) = read(&recipe.file, base, make, |item| &item.common)?;
        let questions = items.iter().map(|item| Self::question(&recipe, item)).collect();
        Ok(Self { recipe, questions, items, key, notes })
    }

    fn question(recipe: &ChoiceRecipe, item: &ChoiceItem) -> Question {
        let Common { id, language, question, media, .. } = &item.common;
        let letters = || LETTERS[..item.options.len()].iter().map(|letter| (*letter).to_owned()).collect();
        let ask = match recipe.protocol {
            ChoiceProtocol::Likelihood => Ask::Likelihood { answers: item.options.clone() },
            ChoiceProtocol::Letters => Ask::FirstToken { answers: letters() },
            ChoiceProtocol::Generate => Ask::Generate { max_new_tokens: recipe.max_new_tokens },
        };
        let text = match recipe.protocol {
            ChoiceProtocol::Likelihood => question.clone(),
            _ => {
                let lines = LETTERS.iter().zip(&item.options).map(|(letter, text)| format!("{letter}. {text}\n"));
                let request = recipe.instruction.as_deref().unwrap_or(prompts(*language).letter_only);
                format!("{question}\n{}{request}", lines.collect::<String>())
            }
        };
        Question::new(format!("{}/{id}/{language}", recipe.file.name), text, media.clone(), ask)
    }
}

fn check_tokens(name: &str, tokens: usize) -> Result<(), BenchmarkError> {
    if tokens > 0 {
        return Ok(());
    }
    Err(BenchmarkError::Setting { name: name.to_owned(), message: "`max_new_tokens` must be at least 1".into() })
}

/// The options: columns A, B, ... up to the first that is absent, or a list.
fn options(row: &Row) -> Result<Vec<String>, SkipReason> {
    let columns = text_of(row, LETTERS[0]).is_some();
    let list =
        OPTION_LISTS.iter().find_map(|name| Some((*name, row.fields.get(*name).filter(|list| !list.is_null())?)));
    let list = match list.map(|(name, list)| option_texts(name, list)) {
        // Beside lettered columns, `options` may be anything.
        Some(Err(_)) if columns => None,
        list => list.transpose()?.filter(|list| !(list.is_empty() && columns)),
    };
    let options: Vec<String> = match &list {
        Some(list) => list.iter().map(|option| option.trim().to_owned()).collect(),
        None => LETTERS.iter().map_while(|letter| text_of(row, letter)).map(|text| text.trim().to_owned()).collect(),
    };
    let gap = LETTERS.iter().skip(options.len()).find(|letter| list.is_none() && text_of(row, letter).is_some());
    if let Some(letter) = gap {
        return Err(refuse(format!("there is an option {letter} but none for {}", LETTERS[options.len()])));
    }
    if options.len() < 2 {
        return Err(refuse("fewer than two options: expected columns A, B, ..., or a list in `options`"));
    }
    if options.len() > LETTERS.len() {
        return Err(refuse(format!("{} options, at most {} are possible", options.len(), LETTERS.len())));
    }
    if let Some(text) = options.iter().enumerate().find_map(|(at, text)| options[..at].contains(text).then_some(text)) {
        return Err(refuse(format!("two options read {}", shorten(text))));
    }
    Ok(options)
}

/// The position of the right option, by the rule by which sources read it ([`option_place`]).
fn right_option(answers: &[String], (name, value): (&str, &Value), options: &[String]) -> Result<usize, SkipReason> {
    let [answer] = answers else {
        return Err(refuse(format!("{} answers, expected one", answers.len())));
    };
    let place = match value {
        Value::Bool(_) => option_place(name, &Value::String(answer.clone()), options)?,
        value => option_place(name, value, options)?,
    };
    place.ok_or_else(|| {
        let text = shorten(answer);
        refuse(format!("answer {text} is neither a letter nor the text of one of the {} options", options.len()))
    })
}

impl Benchmark for Choice {
    fn name(&self) -> &str {
        &self.recipe.file.name
    }

    fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        check_replies(self, replies)?;
        let name = self.name();
        let predict = |((item, question), reply): ((&ChoiceItem, &Question), &Reply)| {
            let mut prediction = Prediction {
                options: item.options.clone(),
                answer: Some(item.answer),
                ..item.common.prediction(name, question)
            };
            let chosen = if self.recipe.protocol == ChoiceProtocol::Generate {
                let text = reply.text(name)?;
                let lettered: Vec<(char, String)> = ('A'..).zip(item.options.iter().cloned()).collect();
                let found = letter(text, &lettered, Reader::Vlmevalkit);
                prediction.text = Some(text.to_owned());
                found.and_then(|found| ('A'..).take(item.options.len()).position(|letter| letter == found))
            } else {
                let scores = reply.scores(name, item.options.len())?;
                let rule = if self.recipe.protocol == ChoiceProtocol::Letters { "letters" } else { "likelihood" };
                prediction.option_scores = vec![OptionScores::new(rule, scores.to_vec())];
                Some(argmax(scores))
            };
            prediction.understood = chosen.map(|at| LETTERS[at].to_owned());
            prediction.scores = vec![NamedScore::right(name, chosen == Some(item.answer))];
            Ok(prediction)
        };
        self.items.iter().zip(&self.questions).zip(replies).map(predict).collect()
    }

    fn metrics(&self) -> Vec<Metric> {
        let explanation = match self.recipe.protocol {
            ChoiceProtocol::Likelihood => {
                "The option with the highest mean log-likelihood as answer to the question is the answer."
            }
            ChoiceProtocol::Letters => {
                "The options stand in the prompt with letters; the likeliest letter is the answer."
            }
            ChoiceProtocol::Generate => {
                "The options stand in the prompt with letters; of the reply the letter is taken, else the only option whose text \
                 it holds (VLMEvalKit's rules without a judge); a reply that means no option is wrong."
            }
        };
        let chance = mean(self.items.iter().map(|item| 100.0 / item.options.len() as f64));
        let name = self.recipe.file.name.clone();
        vec![Metric { label: name.clone(), name, explanation: explanation.into(), chance: Some(chance) }]
    }

    fn languages(&self) -> Vec<String> {
        distinct(self.items.iter().map(|item| item.common.language.tag()))
    }

    fn key(&self) -> String {
        self.key.clone()
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

/// Short answers from a file.
pub struct ShortAnswer {
    recipe: ShortAnswerRecipe,
    questions: Vec<Question>,
    items: Vec<AnswerItem>,
    key: String,
    notes: Vec<String>,
}

struct AnswerItem {
    common: Common,
    references: Vec<String>,
}

impl ShortAnswer {
    /// Reads the file.
    ///
    /// # Errors
    /// As [`Choice::open`].
    pub fn open(recipe: ShortAnswerRecipe, base: &Path) -> Result<Self, BenchmarkError> {
        check_tokens(&recipe.file.name, recipe.max_new_tokens)?;
        let make = |common: Common, row: &Row| {
            let (references, _) = answers(&recipe.file, row)?;
            Ok(AnswerItem { common, references })
        };
        let (items, key, notes) = read(&recipe.file, base, make, |item| &item.common)?;
        let question = |item: &AnswerItem| {
            let Common { id, language, question, media, .. } = &item.common;
            let request = recipe.instruction.as_ref().map(|text| format!("\n{text}")).unwrap_or_default();
            let ask = Ask::Generate { max_new_tokens: recipe.max_new_tokens };
            let id = format!("{}/{id}/{language}", recipe.file.name);
            Question::new(id, format!("{question}{request}"), media.clone(), ask)
        };
        let questions = items.iter().map(question).collect();
        Ok(Self { recipe, questions, items, key, notes })
    }

    fn chrf(&self) -> String {
        format!("{}_chrf", self.recipe.file.name)
    }
}

impl Benchmark for ShortAnswer {
    fn name(&self) -> &str {
        &self.recipe.file.name
    }

    fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        check_replies(self, replies)?;
        let name = self.name();
        let predict = |((item, question), reply): ((&AnswerItem, &Question), &Reply)| {
            let text = reply.text(name)?;
            let right = item.references.iter().any(|reference| exact_match(text, reference));
            let close = item.references.iter().map(|reference| chrf(text, reference)).fold(0.0, f64::max);
            Ok(Prediction {
                references: item.references.clone(),
                text: Some(text.to_owned()),
                scores: vec![NamedScore::right(name, right), NamedScore::new(self.chrf(), close / 100.0)],
                ..item.common.prediction(name, question)
            })
        };
        self.items.iter().zip(&self.questions).zip(replies).map(predict).collect()
    }

    fn metrics(&self) -> Vec<Metric> {
        let name = &self.recipe.file.name;
        vec![
            Metric {
                name: name.clone(),
                label: format!("{name}, exact"),
                explanation: "The reply equals one of the answers (case, spaces and forms of Unicode aside).".into(),
                chance: None,
            },
            Metric {
                name: self.chrf(),
                label: format!("{name}, chrF"),
                explanation: "chrF2 of the reply against the answer that it comes nearest to.".into(),
                chance: None,
            },
        ]
    }

    fn languages(&self) -> Vec<String> {
        distinct(self.items.iter().map(|item| item.common.language.tag()))
    }

    fn key(&self) -> String {
        self.key.clone()
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

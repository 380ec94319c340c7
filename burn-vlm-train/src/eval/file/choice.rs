//! `kind = "choice"`: multiple choice from a file.

use std::path::Path;
use std::sync::Arc;

use burn_vlm_base::shorten::shorten;
use burn_vlm_data::image::DecodeLimits;
use burn_vlm_data::source::{Row, SkipReason, option_place, option_texts};
use burn_vlm_data::tasks::prompts;
use burn_vlm_eval::file::FileRecipe;
use burn_vlm_eval::reply::letter;
use burn_vlm_eval::table::{refuse, text_of};
use burn_vlm_eval::{Rules, mean};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::benchmark::{check_replies, readable};
use super::super::prediction::argmax;
use super::super::{
    Ask, Benchmark, BenchmarkError, Metric, NamedScore, OptionScores, Prediction, Question, Reply, Unreadable, distinct,
};
use super::{Common, Rows, answers, check_tokens, read};
use crate::error::Result;

/// Letters of options.
const LETTERS: [&str; 10] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"];
/// Names of fields with the options as a list.
const OPTION_LISTS: [&str; 2] = ["options", "choices"];
/// Tokens of a reply that should be a letter or the text of an option.
const CHOICE_TOKENS: usize = 32;

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

fn choice_tokens() -> usize {
    CHOICE_TOKENS
}

impl ChoiceRecipe {
    pub(in crate::eval) const KEYS: [&str; 3] = ["protocol", "instruction", "max_new_tokens"];
}

/// Multiple choice from a file.
pub struct Choice {
    recipe: ChoiceRecipe,
    questions: Vec<Question>,
    rows: Rows<ChoiceItem>,
}

#[derive(Clone)]
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
        let own: Vec<&str> = LETTERS.into_iter().chain(OPTION_LISTS).collect();
        let rows = read(&recipe.file, base, &own, make, |item| &item.common)?;
        let questions = rows.items.iter().map(|item| Self::question(&recipe, item)).collect();
        Ok(Self { recipe, questions, rows })
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
                let found = letter(text, &lettered, Rules::Vlmevalkit);
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
        self.rows.items.iter().zip(&self.questions).zip(replies).map(predict).collect()
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
        let chance = mean(self.rows.items.iter().map(|item| 100.0 / item.options.len() as f64));
        let name = self.recipe.file.name.clone();
        vec![Metric { label: name.clone(), name, explanation: explanation.into(), chance: Some(chance) }]
    }

    fn language_of(&self, question: usize) -> Option<String> {
        Some(self.rows.items.get(question)?.common.language.tag().to_owned())
    }

    fn languages(&self) -> Vec<String> {
        distinct(self.rows.items.iter().map(|item| item.common.language.tag()))
    }

    fn without(&self, unreadable: &Unreadable) -> Result<Arc<dyn Benchmark>> {
        let rows = self.rows.without(&self.recipe.file, unreadable, |item| &item.common)?;
        let (recipe, questions) = (self.recipe.clone(), readable(&self.questions, unreadable));
        Ok(Arc::new(Self { recipe, questions, rows }))
    }

    fn key(&self) -> String {
        self.rows.key.clone()
    }

    fn limits(&self) -> DecodeLimits {
        self.recipe.file.limits.decode()
    }

    fn notes(&self) -> Vec<String> {
        self.rows.notes.clone()
    }
}

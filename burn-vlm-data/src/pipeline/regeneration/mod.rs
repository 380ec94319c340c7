//! Captions, questions and answers from pictures, by a vision-language model that is asked for them.
//!
//! Unusual here:
//! - what is asked stands in a TOML file, prompt by prompt, each with the form of its answer: a form has its parser, and what does not
//!   parse is rejected, never mended;
//! - which prompt and which language a row gets is drawn by its id and a seed, whatever the order;
//! - markers of a form (`Question:`, `Final Answer:`) are English in every language, as the prompts ask for them.

mod parse;
mod prompts;

use serde_json::{Value, json};

pub use parse::{Form, Pair, ParseError};
pub use prompts::{Prompt, Prompts, PromptsError};

use super::translation::{CaptionRequests, LanguageNames, language_fault};
use super::{Fault, Finish, Message, Part, Question, Reply, Schema, Settings, Task};
use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use crate::language::Language;
use crate::random::{hash_bytes, mix};
use crate::sample::Sample;
use crate::source::SkipReason;

/// Mixed into the seed of the language, so that prompt and language are drawn apart.
const OF_LANGUAGE: u64 = 0x6c61_6e67;
/// How models begin that do not want to.
const REFUSALS: [&str; 6] = ["i'm sorry", "i am sorry", "i cannot", "i can't", "i'm unable", "as an ai"];

/// What is asked about which rows.
#[derive(Debug, Clone)]
pub struct RegenerationPlan {
    /// The prompts.
    pub prompts: Prompts,
    /// Languages to write in, of which one is drawn for each row.
    pub languages: Vec<Language>,
    /// Decides which prompt, which language, and what a caption's user asks.
    pub seed: u64,
    /// What the model calls languages.
    pub names: LanguageNames,
    /// How it is answered.
    pub settings: Settings,
    /// The model, for the keys of the log.
    pub model: String,
    /// Whether the form of an answer that is JSON is sent as a schema, for endpoints that hold a model to it.
    pub schema: bool,
    /// What a caption's user asks.
    pub requests: CaptionRequests,
}

/// A row with what is asked about it.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureTask<'p> {
    /// The prompt that was drawn.
    pub prompt: &'p Prompt,
    /// The language that was drawn.
    pub language: Language,
    /// The question.
    pub task: Task,
}

impl RegenerationPlan {
    /// What is asked about a row; reads its pictures.
    ///
    /// # Errors
    /// A row without pictures, or with one that cannot be read; a prompt about a text that the row does not have.
    pub fn task(&self, sample: &Sample) -> Result<PictureTask<'_>, SkipReason> {
        let drawn = mix(self.seed, hash_bytes(sample.id.as_bytes()));
        let prompt = self.prompts.draw(drawn);
        let place = mix(drawn, OF_LANGUAGE) % self.languages.len().max(1) as u64;
        let language = self.languages.get(place as usize).copied().unwrap_or(Language::EN);
        let name = self.names.of(language);
        let mut parts = Vec::new();
        for picture in sample.pictures() {
            parts.push(Part::Picture(picture.read()?));
        }
        if parts.is_empty() {
            return Err(SkipReason::new(crate::source::SkipKind::MissingImage, "the row has no picture"));
        }
        parts.push(Part::Text(prompt.user(name, sample)?));
        let mut messages = Vec::new();
        if let Some(system) = prompt.system(name) {
            messages.push(Message { role: Role::System, parts: vec![Part::Text(system)] });
        }
        messages.push(Message { role: Role::User, parts });
        let mut settings = self.settings.clone();
        if let Some(schema) = prompt.form.schema().filter(|_| self.schema) {
            settings.schema = Some(Schema { name: prompt.form.as_str().to_owned(), schema });
        }
        let question = Question { messages, settings };
        let key = question.key(&sample.id, &self.model);
        let note = json!({ "form": prompt.form, "language": language });
        Ok(PictureTask { prompt, language, task: Task { key, row: sample.id.clone(), question, note } })
    }

    /// The conversation of a reply that was kept.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn turns(
        &self,
        sample: &Sample,
        form: Form,
        language: Language,
        reply: &Reply,
    ) -> Result<Vec<Turn>, Vec<Fault>> {
        let (faults, pairs) = faults(form, language, reply);
        if !faults.is_empty() {
            return Err(faults);
        }
        let shown = vec![IMAGE_PLACEHOLDER; sample.pictures().count()].join("\n");
        let own = || -> Option<&str> {
            let turn = sample.turns.iter().find(|turn| turn.role == Role::User)?;
            Some(turn.text.as_str())
        };
        let mut turns = Vec::with_capacity(2 * pairs.len());
        for (number, Pair { question, answer }) in pairs.into_iter().enumerate() {
            let asked = match question {
                Some(question) if number == 0 => format!("{shown}\n{question}"),
                Some(question) => question,
                None if form == Form::Caption => {
                    let request = self.requests.draw(language, &sample.id).unwrap_or_default();
                    format!("{shown}\n{request}").trim_end().to_owned()
                }
                // An answer to the row's own question, which shows the pictures where it wants them.
                None => own().unwrap_or_default().to_owned(),
            };
            turns.extend([Turn::user(asked), Turn::assistant(answer)]);
        }
        Ok(turns)
    }
}

/// The first fault of a reply to a [`PictureTask`].
///
/// # Errors
/// The fault.
pub fn check(task: &Task, reply: &Reply) -> Result<(), Fault> {
    let form = serde_json::from_value(task.note["form"].clone()).ok();
    let language = task.note["language"].as_str().and_then(|tag| Language::parse(tag).ok());
    let (Some(form), Some(language)) = (form, language) else { return Ok(()) };
    faults(form, language, reply).0.into_iter().next().map_or(Ok(()), Err)
}

/// What is wrong with a reply, and what it holds.
fn faults(form: Form, language: Language, reply: &Reply) -> (Vec<Fault>, Vec<Pair>) {
    let text = reply.text.trim();
    let fault = |reason, detail: String| Fault { reason, detail };
    if text.is_empty() {
        return (vec![fault("empty", String::new())], Vec::new());
    }
    let mut found = Vec::new();
    let parsed = form.parse(text);
    // Valid JSON is whole, also where white space filled the rest; anything else that had all its tokens is cut.
    if reply.is_cut() && !(form == Form::QaJson && parsed.is_ok()) {
        found.push(fault("cut", String::new()));
    }
    if reply.finish == Finish::Filter {
        found.push(fault("filtered", String::new()));
    }
    if reply.is_broken() {
        found.push(fault("broken_character", String::new()));
    }
    let begins = text.to_lowercase().replace('’', "'");
    if REFUSALS.iter().any(|refusal| begins.starts_with(refusal)) {
        found.push(fault("refusal", String::new()));
    }
    let pairs = match parsed {
        Ok(pairs) => pairs,
        Err(error) => {
            // What was cut does not parse, which says nothing more.
            if !reply.is_cut() {
                found.push(fault("malformed", error.to_string()));
            }
            return (found, Vec::new());
        }
    };
    let words: Vec<&str> =
        pairs.iter().flat_map(|pair| [pair.question.as_deref(), Some(&pair.answer)]).flatten().collect();
    found.extend(language_fault(Language::EN, language, "", &words.join("\n")));
    (found, pairs)
}

impl Form {
    /// What an endpoint holds the model to.
    fn schema(self) -> Option<Value> {
        (self == Self::QaJson).then(|| {
            let text = json!({ "type": "string" });
            let pair = json!({
                "type": "object", "properties": { "question": text, "answer": text },
                "required": ["question", "answer"], "additionalProperties": false,
            });
            json!({
                "type": "object", "properties": { "pairs": { "type": "array", "items": pair } },
                "required": ["pairs"], "additionalProperties": false,
            })
        })
    }
}

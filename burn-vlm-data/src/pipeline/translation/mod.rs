//! Translating the texts of samples, turn by turn, with a model that is asked for it.
//!
//! Unusual here:
//! - placeholders of pictures at the ends of a turn are taken off before it is translated, and put back: what the translator does not see it cannot lose;
//! - which language a sample is translated into is drawn by its id and a seed, whatever the order;
//! - a sample is kept if all of its turns are;
//! - checks look at the replies in the log, so that changing them asks nothing again.

mod checks;
mod language_check;
mod requests;
mod template;

use serde_json::{Value, json};

pub(crate) use language_check::language_fault;

pub use checks::{TranslationCheck, TranslationChecks};
pub use requests::CaptionRequests;
pub use template::{LanguageNames, Template, TemplateError};

use super::{Fault, Key, Question, Reply, Settings, Task};
use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn, VIDEO_PLACEHOLDER};
use crate::language::Language;
use crate::random::{hash_bytes, mix};
use crate::sample::Sample;

/// Into which languages a sample is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// Into one of them, each as likely as the others.
    One {
        /// Decides which.
        seed: u64,
    },
    /// Into all of them.
    All,
}

/// What is translated into what, and how it is asked for.
#[derive(Debug, Clone)]
pub struct TranslationPlan {
    /// Languages of the translations.
    pub languages: Vec<Language>,
    /// How many of them a sample gets.
    pub draw: Draw,
    /// The language of samples that do not say theirs.
    pub from: Language,
    /// What is asked.
    pub template: Template,
    /// What the translator calls languages.
    pub names: LanguageNames,
    /// How it is answered.
    pub settings: Settings,
    /// The translator, for the keys of the log.
    pub model: String,
    /// What a caption's user asks, where the user says nothing.
    pub requests: CaptionRequests,
}

/// A turn, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taken<'t> {
    before: &'t str,
    text: &'t str,
    after: &'t str,
}

/// A turn that is to be translated.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnTask {
    /// Which turn of the sample.
    pub turn: usize,
    /// Its question.
    pub task: Task,
}

/// What is known of a turn's translation.
#[derive(Debug, Clone, PartialEq)]
pub enum Translated {
    /// Nothing: it has not been asked for, or the next run asks again.
    Unknown,
    /// There is none, for good.
    Failed {
        /// A word that reports count.
        reason: String,
        /// The same in words.
        detail: String,
    },
    /// A reply.
    Reply(Reply),
}

/// A sample in another language, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Assembled {
    /// The turns.
    Kept(Vec<Turn>),
    /// Some of it has not been asked for.
    Unknown,
    /// What is wrong: all faults of its first turn that has some, with that turn's reply.
    Rejected {
        /// The turn, from 0.
        turn: usize,
        /// At least one.
        faults: Vec<Fault>,
        /// The translation.
        reply: String,
    },
    /// A turn has no reply.
    Failed {
        /// The turn, from 0.
        turn: usize,
        /// A word that reports count.
        reason: String,
        /// The same in words.
        detail: String,
    },
}

impl TranslationPlan {
    /// The language that a sample is in.
    pub fn language_of(&self, sample: &Sample) -> Language {
        sample.language.unwrap_or(self.from)
    }

    /// The languages that a sample is translated into; none where it is in the only one.
    pub fn targets(&self, sample: &Sample) -> Vec<Language> {
        let from = self.language_of(sample);
        let mut targets: Vec<Language> = self.languages.iter().copied().filter(|language| *language != from).collect();
        match self.draw {
            Draw::All => targets,
            Draw::One { seed } if !targets.is_empty() => {
                let place = mix(seed, hash_bytes(sample.id.as_bytes())) % targets.len() as u64;
                vec![targets.swap_remove(place as usize)]
            }
            Draw::One { .. } => targets,
        }
    }

    /// What is asked for a sample in one language: a question for each turn that has words.
    pub fn tasks(&self, sample: &Sample, to: Language) -> Vec<TurnTask> {
        let from = self.language_of(sample);
        let of = |(turn, said): (usize, &Turn)| {
            let Taken { text, .. } = take(&said.text);
            (!text.is_empty()).then(|| TurnTask { turn, task: self.task(sample, turn, from, to, text) })
        };
        sample.turns.iter().enumerate().filter_map(of).collect()
    }

    fn task(&self, sample: &Sample, turn: usize, from: Language, to: Language, text: &str) -> Task {
        let prompt = self.template.fill(self.names.of(from), self.names.of(to), text);
        let question = Question::user(prompt, self.settings.clone());
        let row = format!("{} {to} {turn}", sample.id);
        let key = question.key(&row, &self.model);
        Task { key, row, question, note: json!({ "from": from, "to": to, "text": text }) }
    }

    /// A sample in another language, of what the log knows of its turns.
    ///
    /// # Errors
    /// What `known` returns.
    pub fn assemble<E>(
        &self,
        sample: &Sample,
        to: Language,
        checks: &TranslationChecks,
        mut known: impl FnMut(Key) -> Result<Translated, E>,
    ) -> Result<Assembled, E> {
        let from = self.language_of(sample);
        let mut turns = sample.turns.clone();
        for TurnTask { turn, task } in self.tasks(sample, to) {
            let Taken { before, text, after } = take(&sample.turns[turn].text);
            let reply = match known(task.key)? {
                Translated::Unknown => return Ok(Assembled::Unknown),
                Translated::Failed { reason, detail } => return Ok(Assembled::Failed { turn, reason, detail }),
                Translated::Reply(reply) => reply,
            };
            let faults = checks.faults(from, to, text, &reply);
            if !faults.is_empty() {
                return Ok(Assembled::Rejected { turn, faults, reply: reply.text });
            }
            turns[turn].text = format!("{before}{}{after}", reply.text.trim());
        }
        for turn in turns.iter_mut().filter(|turn| turn.role == Role::User && take(&turn.text).text.is_empty()) {
            if let Some(request) = self.requests.draw(to, &sample.id) {
                let shown = turn.text.trim_end();
                turn.text = if shown.is_empty() { request.to_owned() } else { format!("{shown}\n{request}") };
            }
        }
        Ok(Assembled::Kept(turns))
    }
}

impl TranslationChecks {
    /// The first fault of a reply to a question of [`TranslationPlan::tasks`].
    ///
    /// # Errors
    /// The fault.
    pub fn check(&self, task: &Task, reply: &Reply) -> Result<(), Fault> {
        let language = |name: &str| task.note[name].as_str().and_then(|tag| Language::parse(tag).ok());
        let (Some(from), Some(to), Value::String(text)) = (language("from"), language("to"), &task.note["text"]) else {
            return Ok(());
        };
        self.faults(from, to, text, reply).into_iter().next().map_or(Ok(()), Err)
    }
}

/// Takes the placeholders and the white space off both ends of a turn.
fn take(turn: &str) -> Taken<'_> {
    let both = [IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER];
    let mut text = turn.trim();
    while let Some(rest) = both.iter().find_map(|placeholder| text.strip_prefix(placeholder)) {
        text = rest.trim_start();
    }
    while let Some(rest) = both.iter().find_map(|placeholder| text.strip_suffix(placeholder)) {
        text = rest.trim_end();
    }
    // Where the text stands, by what is left of it: it is a part of the turn.
    let begin = text.as_ptr() as usize - turn.as_ptr() as usize;
    Taken { before: &turn[..begin], text, after: &turn[begin + text.len()..] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_taken_apart() {
        for (turn, parts) in [
            ("<image>\nWhat?", ("<image>\n", "What?", "")),
            (
                " <image>\n<video>\nWhat is <image> this?\n<image> ",
                (" <image>\n<video>\n", "What is <image> this?", "\n<image> "),
            ),
            ("<image>", ("<image>", "", "")),
            ("", ("", "", "")),
            ("What?", ("", "What?", "")),
        ] {
            let Taken { before, text, after } = take(turn);
            assert_eq!((before, text, after), parts);
        }
    }
}

//! Where answers end: a template without an end of its own may be given one.

use super::{EncodeError, Scribe, Style};
use crate::chat_template::ChatTemplate;
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

/// What is done about a chat template that ends an answer with no special token, so that no model can learn to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerEnd {
    /// The template is taken as it is; that it ends no answer is said.
    #[default]
    Template,
    /// The tokenizer's end token is written behind the words of every answer, in training and in use.
    Add,
    /// Such a template is refused.
    Refuse,
}

impl AnswerEnd {
    /// Whether this is the default.
    pub fn is_template(&self) -> bool {
        *self == Self::Template
    }

    /// The template with an end of answers, if that is wanted and it has none of its own; and what is to be said where it still has
    /// none.
    ///
    /// # Errors
    /// [`EncodeError::NoEnd`] where such a template is refused, or the tokenizer has no end token to add; a template that drops
    /// what is said.
    pub fn apply(
        self,
        tokenizer: &Tokenizer,
        template: ChatTemplate,
    ) -> Result<(ChatTemplate, Option<String>), EncodeError> {
        let style = Style::of_language_model(tokenizer, &template)?;
        // A template that refuses a question and an answer tells nothing of their end.
        let end = Scribe { tokenizer, template: &template, style: &style }.end_of_turn();
        if !matches!(end, Ok(None)) {
            return Ok((template, None));
        }
        let eos = tokenizer.eos_token();
        match self {
            Self::Template => Ok((template, Some(NO_END.to_owned()))),
            Self::Refuse => Err(EncodeError::NoEnd { help: "answer_end = \"refuse\" refuses it" }),
            Self::Add if tokenizer.eos_id().is_some_and(|id| tokenizer.is_special(id)) => {
                let template = template.with_answer_end(eos);
                Ok((template, None))
            }
            Self::Add => {
                let help = "answer_end = \"add\" writes the tokenizer's end token behind answers, and it has none that is a \
                            special token: name it as \"eos_token\" in tokenizer_config.json";
                Err(EncodeError::NoEnd { help })
            }
        }
    }
}

/// What is said of a template that ends no answer.
pub const NO_END: &str = "the chat template ends an answer with no special token, so no end of an answer is trained and a model \
    cannot learn to stop; `answer_end = \"add\"` under [model] of a recipe writes the tokenizer's end token (eos_token) behind answers";

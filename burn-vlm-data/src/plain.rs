//! Conversations without roles: the `plain` template of alignment and the `document` template of pretraining.
//!
//! `plain`: pictures and videos, caption, line break; only what is shown is not trained.
//! As LLaVA's `preprocess_plain`: the question's text is dropped, there are no roles and no headers, and what the model
//! sees is the start token (where the tokenizer has one), the pictures, and the caption as it stands.
//!
//! `document`: the words of all turns, one turn a line, every token trained: what a language model sees before it is taught to follow
//! instructions.

use crate::chat_template::ChatTemplate;
use crate::conversation::{Role, Turn};
use crate::encode::{EncodeError, EncodeOptions, Encoded, IGNORE, Scribe, Style, VisualCounts, VisualIds, truncate};
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

/// What ends a caption.
const END: &str = "\n";

/// How the conversations of a stage are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptTemplate {
    /// By the model's chat template.
    #[default]
    Chat,
    /// As pictures followed by a caption: alignment of the connector.
    Plain,
    /// As a text without roles, each turn a line, all of it trained: pretraining of a language model.
    Document,
}

impl PromptTemplate {
    /// Encodes a conversation; `template` and the mask style are used by [`PromptTemplate::Chat`] alone. Tokenizer and template
    /// are asked anew each time how they write: [`Processor::encode_as`](crate::processor::Processor::encode_as) is faster.
    ///
    /// # Errors
    /// As [`Processor::encode_as`](crate::processor::Processor::encode_as).
    pub fn encode(
        self,
        tokenizer: &Tokenizer,
        template: &ChatTemplate,
        turns: &[Turn],
        pictures: &[usize],
        options: &EncodeOptions,
    ) -> Result<Encoded, EncodeError> {
        let style = Style::of_language_model(tokenizer, template)?;
        let counts = VisualCounts::of_images(pictures);
        match self {
            Self::Chat => Scribe { tokenizer, template, style: &style }.encode(turns, counts, options),
            Self::Plain => encode_plain(tokenizer, &style, turns, counts, options),
            Self::Document => encode_document(tokenizer, &style, turns, counts, options),
        }
    }
}

/// Encodes a caption of pictures or videos: a turn of the user with the placeholders, and a turn of the assistant.
///
/// # Errors
/// Other turns than these two, or no placeholder in the first or one in the second; placeholders that do not match `counts`, or for which
/// the tokenizer has no token; a caption that is too long.
pub(crate) fn encode_plain(
    tokenizer: &Tokenizer,
    style: &Style,
    turns: &[Turn],
    counts: VisualCounts<'_>,
    options: &EncodeOptions,
) -> Result<Encoded, EncodeError> {
    let visual = VisualIds::of(style);
    let shape = || EncodeError::NoCaption { roles: turns.iter().map(|turn| turn.role.as_str()).collect() };
    let [question, caption] = turns else { return Err(shape()) };
    let (shown, _) = visual.split(&question.text);
    let (in_caption, _) = visual.split(&caption.text);
    let roles = (question.role, caption.role);
    if roles != (Role::User, Role::Assistant) || shown.is_empty() || !in_caption.is_empty() {
        return Err(shape());
    }
    let mut ids = style.start.clone();
    for (_, medium) in shown {
        ids.push(visual.id(medium)?);
    }
    let mut labels = vec![IGNORE; ids.len()];
    let caption = tokenizer.encode(&format!("{}{END}", caption.text))?;
    labels.extend(caption.iter().map(|id| i64::from(*id)));
    ids.extend(caption);
    let encoded = Encoded { ids, labels, ..Encoded::default() };
    truncate(&visual.all(), visual.expand(encoded, turns, counts)?, options)
}

/// Encodes a conversation as a text: the turns' words, each on a line of its own, between the tokenizer's start and end of a text (where
/// it has them). Every token but the first and those of pictures and videos is trained.
///
/// # Errors
/// Pictures for which the tokenizer has no token, placeholders that do not match `counts`; a text that is too long.
pub(crate) fn encode_document(
    tokenizer: &Tokenizer,
    style: &Style,
    turns: &[Turn],
    counts: VisualCounts<'_>,
    options: &EncodeOptions,
) -> Result<Encoded, EncodeError> {
    let visual = VisualIds::of(style);
    let mut ids = style.start.clone();
    let mut labels = vec![IGNORE; ids.len()];
    let words = |ids: &mut Vec<u32>, labels: &mut Vec<i64>, text: &str| -> Result<(), EncodeError> {
        let words = tokenizer.encode(text)?;
        labels.extend(words.iter().map(|id| i64::from(*id)));
        ids.extend(words);
        Ok(())
    };
    let lines: Vec<&str> = turns.iter().map(|turn| turn.text.as_str()).collect();
    let text = lines.join(END);
    let (parts, rest) = visual.split(&text);
    for (before, medium) in parts {
        words(&mut ids, &mut labels, before)?;
        ids.push(visual.id(medium)?);
        labels.push(IGNORE);
    }
    words(&mut ids, &mut labels, rest)?;
    if let Some(end) = tokenizer.eos_id() {
        ids.push(end);
        labels.push(i64::from(end));
    }
    let encoded = Encoded { ids, labels, ..Encoded::default() };
    truncate(&visual.all(), visual.expand(encoded, turns, counts)?, options)
}

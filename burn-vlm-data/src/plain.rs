//! Conversations without roles: the `plain` template of alignment and the `document` template of pretraining.
//!
//! `plain`: pictures, caption, line break; only the pictures are not trained.
//! As LLaVA's `preprocess_plain`: the question's text is dropped, there are no roles and no headers, and what the model
//! sees is the start token (where the tokenizer has one), the pictures, and the caption as it stands.
//!
//! `document`: the words of all turns, one turn a line, every token trained: what a language model sees before it is taught to follow
//! instructions.

use crate::chat_template::ChatTemplate;
use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn, count_images};
use crate::encode::{
    EncodeError, EncodeOptions, Encoded, IGNORE, Scribe, Style, VisualCounts, expand_images, truncate,
};
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
        match self {
            Self::Chat => {
                Scribe { tokenizer, template, style: &style }.encode(turns, VisualCounts::of_images(pictures), options)
            }
            Self::Plain => encode_plain(tokenizer, &style, turns, pictures, options),
            Self::Document => encode_document(tokenizer, &style, turns, pictures, options),
        }
    }
}

/// Encodes a caption of pictures: a turn of the user with the placeholders, and a turn of the assistant.
///
/// # Errors
/// Other turns than these two, or none of the pictures in the first; placeholders that do not match `pictures`; a caption
/// that is too long.
pub(crate) fn encode_plain(
    tokenizer: &Tokenizer,
    style: &Style,
    turns: &[Turn],
    pictures: &[usize],
    options: &EncodeOptions,
) -> Result<Encoded, EncodeError> {
    let shape = || EncodeError::NoCaption { roles: turns.iter().map(|turn| turn.role.as_str()).collect() };
    let [question, caption] = turns else { return Err(shape()) };
    let placeholders = count_images(std::slice::from_ref(question));
    let roles = (question.role, caption.role);
    if roles != (Role::User, Role::Assistant) || placeholders == 0 || count_images(turns) != placeholders {
        return Err(shape());
    }
    let image = image_token(style)?;
    let mut ids = style.start.clone();
    ids.extend(std::iter::repeat_n(image, placeholders));
    let mut labels = vec![IGNORE; ids.len()];
    let caption = tokenizer.encode(&format!("{}{END}", caption.text))?;
    labels.extend(caption.iter().map(|id| i64::from(*id)));
    ids.extend(caption);
    let encoded = Encoded { ids, labels, ..Encoded::default() };
    truncate(&[image], expand_images(Some(image), encoded, turns, pictures)?, options)
}

/// The id that stands for a picture.
fn image_token(style: &Style) -> Result<u32, EncodeError> {
    let token = || EncodeError::NoToken {
        token: IMAGE_PLACEHOLDER.to_owned(),
        help: "add it to the tokenizer's special tokens",
    };
    style.image_id().ok_or_else(token)
}

/// Encodes a conversation as a text: the turns' words, each on a line of its own, between the tokenizer's start and end of a text (where
/// it has them). Every token but the first and those of pictures is trained.
///
/// # Errors
/// Pictures for which the tokenizer has no token, placeholders that do not match `pictures`; a text that is too long.
pub(crate) fn encode_document(
    tokenizer: &Tokenizer,
    style: &Style,
    turns: &[Turn],
    pictures: &[usize],
    options: &EncodeOptions,
) -> Result<Encoded, EncodeError> {
    let image = style.image_id();
    let mut ids = style.start.clone();
    let mut labels = vec![IGNORE; ids.len()];
    let lines: Vec<&str> = turns.iter().map(|turn| turn.text.as_str()).collect();
    for (number, piece) in lines.join(END).split(IMAGE_PLACEHOLDER).enumerate() {
        if number > 0 {
            ids.push(image_token(style)?);
            labels.push(IGNORE);
        }
        let words = tokenizer.encode(piece)?;
        labels.extend(words.iter().map(|id| i64::from(*id)));
        ids.extend(words);
    }
    if let Some(end) = tokenizer.eos_id() {
        ids.push(end);
        labels.push(i64::from(end));
    }
    let encoded = Encoded { ids, labels, ..Encoded::default() };
    truncate(image.as_slice(), expand_images(image, encoded, turns, pictures)?, options)
}

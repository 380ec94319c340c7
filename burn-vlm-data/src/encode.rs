//! Conversation -> token ids and labels.
//!
//! Unusual here:
//! - the conversation is encoded turn by turn, each part's text being what the template adds for it; a rendered text is
//!   never searched for answers, so an answer that quotes the template cannot shift the labels;
//! - the prompt of a training sample has exactly the tokens that the prompt has at inference;
//! - an `<image>` token stands for as many tokens as the picture has;
//! - nothing is cut silently.

use crate::chat_template::{ChatTemplate, TemplateError};
use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn, count_images};
use crate::tokenizer::{Tokenizer, TokenizerError};
use crate::user_turns::user_turns;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The label of positions that are not trained (PyTorch's `ignore_index`).
pub const IGNORE: i64 = -100;

/// Which tokens are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskStyle {
    /// The answers and the tokens that end them.
    #[default]
    AnswersOnly,
    /// As TowerVision's training code does (`preprocess_gemma2`): whole assistant turns with their headers, and besides
    /// every `<start_of_turn>`, `<end_of_turn>` and single line break, those of the user's turns included.
    Towervision,
    /// As LLaVA-NeXT does for Qwen (`preprocess_qwen`): whole assistant turns with their headers, and besides every
    /// `<|im_start|>`, `<|im_end|>` and single line break.
    LlavaNextQwen,
}

/// What to do with a conversation that has too many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// Report it.
    #[default]
    Error,
    /// Cut its end and count what was cut; pictures are never cut.
    Count,
}

/// How conversations are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EncodeOptions {
    /// Which tokens are trained.
    pub mask: MaskStyle,
    /// The most tokens of a conversation, visual tokens included; no limit where absent.
    pub max_tokens: Option<usize>,
    /// What to do with longer ones.
    pub truncation: Truncation,
    /// Whether to note where the user's own text stands ([`Encoded::user_turns`]).
    pub user_turns: bool,
}

/// Token ids and labels of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoded {
    /// Token ids; the image token's id at each visual token.
    pub ids: Vec<u32>,
    /// As long as `ids`: the id itself where it is trained, else [`IGNORE`]. Not shifted: `labels[i]` is the target of
    /// position `i - 1`.
    pub labels: Vec<i64>,
    /// Number of tokens that were cut from the end.
    pub truncated: usize,
    /// Positions of each user turn's own text, where [`EncodeOptions::user_turns`] asks for them; else empty.
    pub user_turns: Vec<Range<usize>>,
}

/// A conversation that cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The template refused the conversation.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The template changes earlier text when a turn is added, so that no text belongs to the turn.
    #[error(
        "turn {turn}: the template renders the turns before it differently once it is there, so its tokens cannot be told \
         apart; use a template that only appends (rendered before: {before:?}, after: {after:?})"
    )]
    NotAppending {
        /// Number of the turn, from 0.
        turn: usize,
        /// The end of the rendering without the turn.
        before: String,
        /// What stands there with the turn.
        after: String,
    },
    /// Placeholders and pictures do not match.
    #[error(
        "the conversation has {placeholders} image placeholders ({found} image tokens when encoded) for {pictures} pictures"
    )]
    Images {
        /// `<image>` in the turns.
        placeholders: usize,
        /// Image tokens after encoding.
        found: usize,
        /// Pictures given.
        pictures: usize,
    },
    /// The tokenizer lacks a token.
    #[error("the tokenizer has no token {token:?}; {help}")]
    NoToken {
        /// The token.
        token: String,
        /// What to do.
        help: &'static str,
    },
    /// The conversation is too long.
    #[error("the conversation has {tokens} tokens, {max} are allowed; raise max_tokens, or set truncation = \"count\"")]
    TooLong {
        /// Its tokens.
        tokens: usize,
        /// The limit.
        max: usize,
    },
    /// The `plain` template has no place for other turns.
    #[error(
        "the plain template needs a user's turn with <image> and an assistant's turn with the caption, found {roles:?}; use \
         the chat template for conversations"
    )]
    NoCaption {
        /// Who speaks in the conversation.
        roles: Vec<&'static str>,
    },
    /// Truncation would cut a picture.
    #[error(
        "truncating to {max} tokens would cut a picture, whose last visual token is number {last}; raise max_tokens"
    )]
    CutsPicture {
        /// The limit.
        max: usize,
        /// Number of the last visual token, from 1.
        last: usize,
    },
}

/// A part of the rendered conversation.
pub(crate) struct Part<'a> {
    pub(crate) text: &'a str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Given to the model.
    Prompt,
    /// An answer, with what the template writes after it; with whole turns also what it writes before it.
    Answer,
}

/// Encodes a whole conversation with its labels.
///
/// `pictures` has the number of visual tokens of each picture, in the order of the placeholders.
///
/// # Errors
/// A conversation that template or tokenizer refuse, placeholders that do not match `pictures`, one that is too long.
pub fn encode(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    turns: &[Turn],
    pictures: &[usize],
    options: &EncodeOptions,
) -> Result<Encoded, EncodeError> {
    let whole = template.render(turns, false)?;
    let structure = Structure::of(options.mask, tokenizer)?;
    let mut encoded = Encoded::default();
    for part in split(template, turns, &whole, structure.is_some())? {
        let ids = tokenizer.encode(part.text)?;
        let trained = match (part.kind, &structure) {
            (Kind::Answer, None) => 0..answer_end(tokenizer, &ids),
            (Kind::Answer, Some(_)) => 0..ids.len(),
            (Kind::Prompt, _) => 0..0,
        };
        for (position, id) in ids.into_iter().enumerate() {
            let structural = structure.as_ref().is_some_and(|s| s.0.contains(&id));
            let label = if trained.contains(&position) || structural { i64::from(id) } else { IGNORE };
            encoded.ids.push(id);
            encoded.labels.push(label);
        }
    }
    let mut encoded = expand_images(tokenizer, encoded, turns, pictures)?;
    if options.user_turns {
        encoded.user_turns = user_turns(tokenizer, template, turns, pictures, options.mask)?;
    }
    truncate(tokenizer, encoded, options)
}

/// Encodes the prompt of a conversation: everything up to where the assistant's answer begins.
///
/// # Errors
/// As [`encode`], without the limit on tokens.
pub fn encode_prompt(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    turns: &[Turn],
    pictures: &[usize],
) -> Result<Vec<u32>, EncodeError> {
    let whole = template.render(turns, true)?;
    let mut encoded = Encoded::default();
    for part in split(template, turns, &whole, false)? {
        encoded.ids.extend(tokenizer.encode(part.text)?);
    }
    encoded.labels.resize(encoded.ids.len(), IGNORE);
    Ok(expand_images(tokenizer, encoded, turns, pictures)?.ids)
}

/// The special token that ends an assistant's turn under this template (`<|im_end|>`, `<end_of_turn>`, ...): where generation
/// has to stop. `None` if the template writes no special token there.
///
/// # Errors
/// A template or tokenizer that refuses a conversation of one question and one answer.
pub fn end_of_turn(tokenizer: &Tokenizer, template: &ChatTemplate) -> Result<Option<u32>, EncodeError> {
    let turns = [Turn::user("a"), Turn::assistant("b")];
    let whole = template.render(&turns, false)?;
    let parts = split(template, &turns, &whole, false)?;
    let Some(answer) = parts.iter().rfind(|part| part.kind == Kind::Answer) else { return Ok(None) };
    let ids = tokenizer.encode(answer.text)?;
    Ok(ids.into_iter().rfind(|id| tokenizer.is_special(*id)))
}

/// Splits the rendering of a conversation at its answers, or with `whole_turns` at the assistant's turns with their headers
/// (as the training codes that train these encode them). The parts together are the rendering, byte by byte.
pub(crate) fn split<'a>(
    template: &ChatTemplate,
    turns: &[Turn],
    whole: &'a str,
    whole_turns: bool,
) -> Result<Vec<Part<'a>>, EncodeError> {
    let mut parts = Vec::new();
    let mut done = 0;
    let mut push = |until: usize, kind: Kind| {
        if until > done {
            parts.push(Part { text: &whole[done..until], kind });
        }
        done = done.max(until);
    };
    for (turn, _) in turns.iter().enumerate().filter(|(_, turn)| turn.role == Role::Assistant) {
        // Each of these renderings must be the beginning of the next longer one; its length is where a part ends.
        let end = |turns: &[Turn], generation_prompt: bool| -> Result<usize, EncodeError> {
            let prefix = template.render(turns, generation_prompt)?;
            if whole.starts_with(&prefix) {
                return Ok(prefix.len());
            }
            Err(not_appending(turn, &prefix, whole))
        };
        match (whole_turns, turn) {
            (true, 0) => {}
            (true, _) => push(end(&turns[..turn], false)?, Kind::Prompt),
            (false, _) => push(end(&turns[..turn], true)?, Kind::Prompt),
        }
        push(end(&turns[..=turn], false)?, Kind::Answer);
    }
    push(whole.len(), Kind::Prompt);
    Ok(parts)
}

fn not_appending(turn: usize, prefix: &str, whole: &str) -> EncodeError {
    let common = prefix
        .char_indices()
        .zip(whole.chars())
        .find(|((_, a), b)| a != b)
        .map_or(whole.len().min(prefix.len()), |((i, _), _)| i);
    let show = |text: &str| text.get(common..).unwrap_or_default().chars().take(40).collect();
    EncodeError::NotAppending { turn, before: show(prefix), after: show(whole) }
}

/// Number of an answer's tokens that are trained: all up to the last special token, which ends the turn; what the
/// template writes after it (Gemma's line break) is not for the model to say.
fn answer_end(tokenizer: &Tokenizer, ids: &[u32]) -> usize {
    ids.iter().rposition(|id| tokenizer.is_special(*id)).map_or(ids.len(), |last| last + 1)
}

/// The tokens that some training codes train wherever they stand.
struct Structure(Vec<u32>);

impl Structure {
    fn of(mask: MaskStyle, tokenizer: &Tokenizer) -> Result<Option<Self>, EncodeError> {
        let names = match mask {
            MaskStyle::AnswersOnly => return Ok(None),
            MaskStyle::Towervision => ["<start_of_turn>", "<end_of_turn>"],
            MaskStyle::LlavaNextQwen => ["<|im_start|>", "<|im_end|>"],
        };
        // Only a line break that is a token of its own: Gemma's "\n\n" is another token and stays masked.
        let mut ids = tokenizer.encode("\n")?;
        ids.truncate(if ids.len() == 1 { 1 } else { 0 });
        for name in names {
            let help = "this mask style belongs to another family of tokenizers; mask = \"answers_only\" fits all";
            ids.push(tokenizer.token_id(name).ok_or_else(|| EncodeError::NoToken { token: name.to_owned(), help })?);
        }
        Ok(Some(Self(ids)))
    }
}

/// Repeats each image token as often as its picture has visual tokens; these are never trained.
pub(crate) fn expand_images(
    tokenizer: &Tokenizer,
    encoded: Encoded,
    turns: &[Turn],
    pictures: &[usize],
) -> Result<Encoded, EncodeError> {
    let placeholders = count_images(turns);
    let Some(image) = tokenizer.image_id() else {
        if placeholders == 0 && pictures.is_empty() {
            return Ok(encoded);
        }
        let help = "add it to the tokenizer's special tokens";
        return Err(EncodeError::NoToken { token: IMAGE_PLACEHOLDER.to_owned(), help });
    };
    let found = encoded.ids.iter().filter(|id| **id == image).count();
    if found != pictures.len() || placeholders != pictures.len() {
        return Err(EncodeError::Images { placeholders, found, pictures: pictures.len() });
    }
    let mut tokens = pictures.iter();
    let mut expanded = Encoded::default();
    for (id, label) in encoded.ids.into_iter().zip(encoded.labels) {
        match if id == image { tokens.next() } else { None } {
            Some(count) => {
                expanded.ids.extend(std::iter::repeat_n(id, *count));
                expanded.labels.extend(std::iter::repeat_n(IGNORE, *count));
            }
            None => {
                expanded.ids.push(id);
                expanded.labels.push(label);
            }
        }
    }
    Ok(expanded)
}

pub(crate) fn truncate(
    tokenizer: &Tokenizer,
    mut encoded: Encoded,
    options: &EncodeOptions,
) -> Result<Encoded, EncodeError> {
    let tokens = encoded.ids.len();
    let Some(max) = options.max_tokens.filter(|max| tokens > *max) else {
        return Ok(encoded);
    };
    if options.truncation == Truncation::Error {
        return Err(EncodeError::TooLong { tokens, max });
    }
    let last = tokenizer.image_id().and_then(|image| encoded.ids.iter().rposition(|id| *id == image));
    if let Some(last) = last.filter(|last| *last >= max) {
        return Err(EncodeError::CutsPicture { max, last: last + 1 });
    }
    encoded.ids.truncate(max);
    encoded.labels.truncate(max);
    encoded.user_turns.iter_mut().for_each(|turn| *turn = turn.start.min(max)..turn.end.min(max));
    encoded.truncated = tokens - max;
    Ok(encoded)
}

impl Encoded {
    /// Number of trained tokens.
    pub fn trained(&self) -> usize {
        self.labels.iter().filter(|label| **label != IGNORE).count()
    }
}

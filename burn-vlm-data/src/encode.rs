//! Conversation -> token ids and labels.
//!
//! Unusual here:
//! - the conversation is encoded turn by turn, each part's text being what the template adds for it; a rendered text is
//!   never searched for answers, so an answer that quotes the template cannot shift the labels;
//! - what a part's tokens are depends on the text before it alone, so the prompt of a training sample has exactly the tokens that
//!   the prompt has at inference, whatever the answer is;
//! - a text whose words a template would drop is never encoded: templates that read lists are given lists;
//! - an `<image>` token stands for as many tokens as the picture has, a `<video>` token for as many as the video has;
//! - nothing is cut silently.

mod answer_end;
mod ends;
mod visual;

pub use answer_end::{AnswerEnd, NO_END};
pub(crate) use ends::{Ends, Place};
pub(crate) use visual::VisualIds;

use crate::chat_template::{ChatTemplate, Message, RenderOptions, TemplateError};
use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn, VIDEO_PLACEHOLDER};
use crate::tokenizer::{Encoding, Tokenizer, TokenizerError};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

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
    /// Placeholders and videos do not match.
    #[error(
        "the conversation has {placeholders} video placeholders ({found} video tokens when encoded) for {videos} videos"
    )]
    Videos {
        /// `<video>` in the turns.
        placeholders: usize,
        /// Video tokens after encoding.
        found: usize,
        /// Videos given.
        videos: usize,
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
        "the plain template needs a user's turn with <image> or <video> and an assistant's turn with the caption, found {roles:?}; use \
         the chat template for conversations"
    )]
    NoCaption {
        /// Who speaks in the conversation.
        roles: Vec<&'static str>,
    },
    /// A family's own format has no such mask.
    #[error("mask = {mask:?} belongs to chat templates; Parrot's own format trains answers alone (answers_only)")]
    Mask {
        /// The mask asked for.
        mask: MaskStyle,
    },
    /// The template drops what is said.
    #[error(
        "the chat template writes a user's turn without its words, whether they are given as a text or as a list of parts; nothing \
         could be learned from it"
    )]
    LosesText,
    /// The template has no place for videos.
    #[error(
        "{origin}: the chat template writes no {video:?} for a part of type video, nor one {image:?} for a part of type image, in whose \
         place it could be written: give the folder a chat_template.jinja that writes them, such as \
         `{{% if part['type'] == 'video' %}}{{{{ '{video}' }}}}{{% endif %}}` beside its text parts"
    )]
    NoVideos {
        /// The template's file.
        origin: String,
        /// What stands for a video.
        video: String,
        /// What stands for a picture.
        image: String,
    },
    /// The template ends no answer.
    #[error("the chat template ends an answer with no special token: {help}")]
    NoEnd {
        /// Why that is an error, and what to do.
        help: &'static str,
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

/// How many visual tokens what is shown has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VisualCounts<'a> {
    /// Those of each picture, in the order of the pictures' placeholders.
    pub images: &'a [usize],
    /// Those of each video, in the order of the videos' placeholders. The order of pictures and videos among each other is free.
    pub videos: &'a [usize],
}

impl<'a> VisualCounts<'a> {
    /// Pictures alone.
    pub fn of_images(images: &'a [usize]) -> Self {
        Self { images, videos: &[] }
    }
}

/// How a tokenizer and a template write conversations: found out once, the same for training and for use.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    /// Whether the template takes a message as a list of images and texts, else as a text.
    pub(crate) takes_parts: bool,
    /// Whether the tokenizer treats the beginning of a text otherwise than its middle (a space put before it), so that a part's
    /// tokens are only known with what stands before it.
    joins: bool,
    /// What the tokenizer puts before every text.
    pub(crate) start: Vec<u32>,
    /// What stands for a picture, and its id.
    pub(crate) image: Option<(String, u32)>,
    /// What stands for a video, and its id; `None` where `<video>` is a word.
    pub(crate) video: Option<(String, u32)>,
}

/// A private-use character, which no template writes by itself.
const MARK: &str = "\u{f8ff}";
/// A text that no template writes by itself.
const PROBE: &str = "burnvlmprobe";

impl Style {
    /// Asks tokenizer and template.
    ///
    /// # Errors
    /// A tokenizer that fails on a letter, a template that drops the words of a turn.
    pub(crate) fn of(
        tokenizer: &Tokenizer,
        template: &ChatTemplate,
        image: Option<(String, u32)>,
    ) -> Result<Self, EncodeError> {
        let picture = image.as_ref().map_or(String::new(), |_| format!("{IMAGE_PLACEHOLDER}\n"));
        let probe = [Turn::user(picture + PROBE)];
        let token = image.as_ref().map(|(token, _)| token.as_str());
        let tokens = Placeholders { image: token, video: None };
        let text = render(template, &probe, false, false, tokens);
        let parts = render(template, &probe, false, true, tokens);
        let words = |text: &Result<String, TemplateError>| text.as_ref().map(|text| text.contains(PROBE)).ok();
        let shown = |text: &String| text.contains(PROBE) && token.is_none_or(|token| text.contains(token));
        // Templates of vision-language models take lists, those of language models texts. Given a list, the latter fail or print it.
        let lists = parts.as_ref().is_ok_and(|text| shown(text) && !text.contains("type"));
        // One that was made to take lists is given the texts that it was trained with.
        let takes_parts = lists && !template.flattens() && (image.is_some() || words(&text) != Some(true));
        if !lists && words(&text) == Some(false) {
            return Err(EncodeError::LosesText);
        }
        let joins = !tokenizer.encode("\na")?.ends_with(&tokenizer.encode("a")?);
        Ok(Self { takes_parts, joins, start: start(tokenizer)?, image, video: None })
    }

    /// The same where a token stands for videos, and the template that writes it: the given one, or, where that writes pictures alone,
    /// one that writes a video as it writes a picture.
    ///
    /// # Errors
    /// [`EncodeError::NoVideos`].
    pub(crate) fn for_videos(
        self,
        template: &Arc<ChatTemplate>,
        (token, id): (String, u32),
    ) -> Result<(Self, Arc<ChatTemplate>), EncodeError> {
        let style = Self { video: Some((token.clone(), id)), ..self };
        let written = |template: &ChatTemplate, placeholder: &str| {
            let turns = [Turn::user(format!("{placeholder}\n{PROBE}"))];
            render(template, &turns, false, style.takes_parts, style.placeholders())
        };
        let writes = |template: &ChatTemplate| {
            written(template, VIDEO_PLACEHOLDER)
                .is_ok_and(|text| text.matches(&token).count() == 1 && text.contains(PROBE))
        };
        if writes(template) {
            return Ok((style, template.clone()));
        }
        let refused = |image: &str| EncodeError::NoVideos {
            origin: template.origin().to_owned(),
            video: token.clone(),
            image: image.to_owned(),
        };
        let image = style.image.as_ref().map(|(token, _)| token.clone()).filter(|_| style.takes_parts);
        let image = image.ok_or_else(|| refused(IMAGE_PLACEHOLDER))?;
        let made = template.for_videos(&image, &token)?;
        let as_picture = written(template, IMAGE_PLACEHOLDER)?.replacen(&image, &token, 1);
        match written(&made, VIDEO_PLACEHOLDER) {
            Ok(text) if text == as_picture && writes(&made) => Ok((style, Arc::new(made))),
            _ => Err(refused(&image)),
        }
    }

    /// For captions alone, which no template writes.
    pub(crate) fn of_captions(tokenizer: &Tokenizer, image_id: u32) -> Result<Self, EncodeError> {
        let image = Some((IMAGE_PLACEHOLDER.to_owned(), image_id));
        Ok(Self { takes_parts: false, joins: false, start: start(tokenizer)?, image, video: None })
    }

    /// The id that stands for a visual token.
    pub(crate) fn image_id(&self) -> Option<u32> {
        self.image.as_ref().map(|(_, id)| *id)
    }

    /// The id that stands for a visual token of a video.
    pub(crate) fn video_id(&self) -> Option<u32> {
        self.video.as_ref().map(|(_, id)| *id)
    }

    /// What stands for pictures and videos.
    fn placeholders(&self) -> Placeholders<'_> {
        let [image, video] = [&self.image, &self.video].map(|named| named.as_ref().map(|(token, _)| token.as_str()));
        Placeholders { image, video }
    }
}

/// What the post-processor puts before every text: the start token, where there is one. What it puts behind a text would end a
/// prompt whose answer is to come.
fn start(tokenizer: &Tokenizer) -> Result<Vec<u32>, TokenizerError> {
    let (letter, whole) = (tokenizer.encode("a")?, tokenizer.encode_with_special_tokens("a")?);
    let begin = whole.windows(letter.len().max(1)).position(|ids| ids == letter).unwrap_or(0);
    Ok(whole[..begin].to_vec())
}

/// The texts that stand for pictures and videos.
#[derive(Clone, Copy)]
struct Placeholders<'a> {
    image: Option<&'a str>,
    video: Option<&'a str>,
}

/// A conversation in the template's words; a placeholder becomes its token, as a part of a list or within the text.
fn render(
    template: &ChatTemplate,
    turns: &[Turn],
    add_generation_prompt: bool,
    parts: bool,
    tokens: Placeholders<'_>,
) -> Result<String, TemplateError> {
    if parts {
        let message = |turn: &Turn| match tokens.video {
            Some(_) => Message::with_videos(turn),
            None => Message::from(turn),
        };
        let messages: Vec<Message> = turns.iter().map(message).collect();
        return template.render_messages(&messages, &RenderOptions { add_generation_prompt, ..Default::default() });
    }
    let others = [(IMAGE_PLACEHOLDER, tokens.image), (VIDEO_PLACEHOLDER, tokens.video)];
    let others: Vec<(&str, &str)> = others
        .into_iter()
        .filter_map(|(placeholder, token)| Some((placeholder, token?)))
        .filter(|(a, b)| a != b)
        .collect();
    if others.is_empty() {
        return template.render(turns, add_generation_prompt);
    }
    let named = |turn: &Turn| {
        let text = others.iter().fold(turn.text.clone(), |text, (placeholder, token)| text.replace(placeholder, token));
        Turn { role: turn.role, text }
    };
    template.render(&turns.iter().map(named).collect::<Vec<_>>(), add_generation_prompt)
}

/// Writes conversations as ids.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scribe<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) template: &'a ChatTemplate,
    pub(crate) style: &'a Style,
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
    /// An answer, with what the template writes after it.
    Answer,
}

impl Scribe<'_> {
    /// The conversation in the template's words.
    pub(crate) fn render(&self, turns: &[Turn], add_generation_prompt: bool) -> Result<String, TemplateError> {
        render(self.template, turns, add_generation_prompt, self.style.takes_parts, self.style.placeholders())
    }

    /// See [`Processor::encode`](crate::processor::Processor::encode).
    pub(crate) fn encode(
        &self,
        turns: &[Turn],
        counts: VisualCounts<'_>,
        options: &EncodeOptions,
    ) -> Result<Encoded, EncodeError> {
        let whole = self.render(turns, false)?;
        let structure = Structure::of(options.mask, self.tokenizer)?;
        let parts = self.split(turns, &whole)?;
        let mut encoded = Encoded::default();
        for (number, (ids, part)) in self.pieces(&parts)?.into_iter().zip(&parts).enumerate() {
            let before_answer = parts.get(number + 1).is_some_and(|part| part.kind == Kind::Answer);
            let trained = match (part.kind, &structure) {
                (Kind::Answer, None) => 0..answer_end(self.tokenizer, &ids),
                (Kind::Answer, Some(_)) => 0..ids.len(),
                (Kind::Prompt, Some(structure)) if before_answer => structure.header(&ids)..ids.len(),
                (Kind::Prompt, _) => 0..0,
            };
            for (position, id) in ids.into_iter().enumerate() {
                let structural = structure.as_ref().is_some_and(|s| s.0.contains(&id));
                let label = if trained.contains(&position) || structural { i64::from(id) } else { IGNORE };
                encoded.ids.push(id);
                encoded.labels.push(label);
            }
        }
        let visual = VisualIds::of(self.style);
        let mut encoded = visual.expand(encoded, turns, counts)?;
        if options.user_turns {
            encoded.user_turns = self.user_turns(turns, counts)?;
        }
        truncate(&visual.all(), encoded, options)
    }

    /// See [`Processor::encode_prompt`](crate::processor::Processor::encode_prompt).
    pub(crate) fn encode_prompt(&self, turns: &[Turn], counts: VisualCounts<'_>) -> Result<Vec<u32>, EncodeError> {
        let whole = self.render(turns, true)?;
        let ids = self.pieces(&self.split(turns, &whole)?)?.concat();
        let labels = vec![IGNORE; ids.len()];
        Ok(VisualIds::of(self.style).expand(Encoded { ids, labels, ..Encoded::default() }, turns, counts)?.ids)
    }

    /// The special token that ends an assistant's turn under this template (`<|im_end|>`, `<end_of_turn>`, ...). `None` if the
    /// template writes no special token there.
    pub(crate) fn end_of_turn(&self) -> Result<Option<u32>, EncodeError> {
        let turns = [Turn::user("a"), Turn::assistant("b")];
        let whole = self.render(&turns, false)?;
        let parts = self.split(&turns, &whole)?;
        let Some(answer) = parts.iter().rfind(|part| part.kind == Kind::Answer) else { return Ok(None) };
        let ids = self.tokenizer.encode(answer.text)?;
        Ok(ids.into_iter().rfind(|id| self.tokenizer.is_special(*id)))
    }

    /// Splits the rendering of a conversation at its answers. The parts together are the rendering, byte by byte.
    pub(crate) fn split<'t>(&self, turns: &[Turn], whole: &'t str) -> Result<Vec<Part<'t>>, EncodeError> {
        let mut parts = Vec::new();
        let mut done = 0;
        let mut push = |until: usize, kind: Kind| {
            if until > done {
                parts.push(Part { text: &whole[done..until], kind });
            }
            done = done.max(until);
        };
        let mut ends = Ends::new(self, turns, whole);
        for (turn, _) in turns.iter().enumerate().filter(|(_, turn)| turn.role == Role::Assistant) {
            // Each of these renderings must be the beginning of the next longer one; its length is where a part ends.
            let end = |turns: &[Turn], generation_prompt: bool| -> Result<usize, EncodeError> {
                let prefix = self.render(turns, generation_prompt)?;
                if whole.starts_with(&prefix) {
                    return Ok(prefix.len());
                }
                Err(not_appending(turn, &prefix, whole))
            };
            let prompt =
                || end(&turns[..turn], true).or_else(|error| self.answer_begin(turns, turn, whole).ok_or(error));
            push(ends.find(turn, Place::Prompt, prompt)?, Kind::Prompt);
            push(ends.find(turn, Place::Answer, || end(&turns[..=turn], false))?, Kind::Answer);
        }
        push(whole.len(), Kind::Prompt);
        Ok(parts)
    }

    /// Where the words of an answer begin, under a template whose prompt for an answer differs in spaces at its end from what it writes
    /// before one: LLaVA-OneVision's for Qwen2 puts a space behind the role of every turn, but not of the prompt. `None` where more
    /// differs: such an answer would be trained behind another prompt than it is asked for by.
    fn answer_begin(&self, turns: &[Turn], turn: usize, whole: &str) -> Option<usize> {
        let mut marked = turns.get(..turn)?.to_vec();
        marked.push(Turn::assistant(MARK));
        let marked = self.render(&marked, false).ok()?;
        let (before, _) = marked.rsplit_once(MARK)?;
        let prompt = self.render(turns.get(..turn)?, true).ok()?;
        (before.trim_end() == prompt.trim_end() && whole.starts_with(before)).then_some(before.len())
    }

    /// The ids of each part, the first with what the tokenizer puts before a text, unless the template has written it.
    fn pieces(&self, parts: &[Part<'_>]) -> Result<Vec<Vec<u32>>, EncodeError> {
        let mut pieces = Vec::with_capacity(parts.len());
        let mut before = "";
        for part in parts {
            let mut ids = self.piece(before, part.text)?;
            if before.is_empty() && !ids.starts_with(&self.style.start) {
                ids.splice(0..0, self.style.start.iter().copied());
            }
            pieces.push(ids);
            before = part.text;
        }
        Ok(pieces)
    }

    /// The ids of a text that stands behind another: as in the middle of a text, unless a token reaches across the seam.
    fn piece(&self, before: &str, text: &str) -> Result<Vec<u32>, EncodeError> {
        if before.is_empty() || !self.style.joins {
            return Ok(self.tokenizer.encode(text)?);
        }
        let (before_ids, joint) = (self.tokenizer.encode(before)?, self.tokenizer.encode(&format!("{before}{text}"))?);
        match joint.strip_prefix(before_ids.as_slice()) {
            Some(ids) => Ok(ids.to_vec()),
            None => Ok(self.tokenizer.encode(text)?),
        }
    }

    /// As [`Self::piece`], with the places of the tokens within `text`, in characters.
    pub(crate) fn piece_with_offsets(&self, before: &str, text: &str) -> Result<Encoding, EncodeError> {
        if !before.is_empty() && self.style.joins {
            let before_ids = self.tokenizer.encode(before)?;
            let mut joint = self.tokenizer.encode_with_offsets(&format!("{before}{text}"), false)?;
            if joint.ids.starts_with(&before_ids) {
                let skipped = before.chars().count();
                joint.ids.drain(..before_ids.len());
                joint.tokens.drain(..before_ids.len());
                joint.offsets.drain(..before_ids.len());
                for (from, to) in &mut joint.offsets {
                    (*from, *to) = (from.saturating_sub(skipped), to.saturating_sub(skipped));
                }
                return Ok(joint);
            }
        }
        Ok(self.tokenizer.encode_with_offsets(text, false)?)
    }
}

/// As [`Processor::encode`](crate::processor::Processor::encode), for a tokenizer and a template that are asked anew each time:
/// a [`Processor`](crate::processor::Processor) is faster.
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
    let style = Style::of_language_model(tokenizer, template)?;
    Scribe { tokenizer, template, style: &style }.encode(turns, VisualCounts::of_images(pictures), options)
}

/// As [`Processor::encode_prompt`](crate::processor::Processor::encode_prompt), see [`encode`].
///
/// # Errors
/// As [`encode`], without the limit on tokens.
pub fn encode_prompt(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    turns: &[Turn],
    pictures: &[usize],
) -> Result<Vec<u32>, EncodeError> {
    let style = Style::of_language_model(tokenizer, template)?;
    Scribe { tokenizer, template, style: &style }.encode_prompt(turns, VisualCounts::of_images(pictures))
}

impl Style {
    /// [`Self::of`] where `<image>` stands for pictures, if the tokenizer has it.
    pub(crate) fn of_language_model(tokenizer: &Tokenizer, template: &ChatTemplate) -> Result<Self, EncodeError> {
        let image = tokenizer.image_id().map(|id| (IMAGE_PLACEHOLDER.to_owned(), id));
        Self::of(tokenizer, template, image)
    }
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

/// The tokens that some training codes train wherever they stand: the one that begins a turn, the one that ends it, and the line
/// break where it is a token of its own.
struct Structure(Vec<u32>);

impl Structure {
    fn of(mask: MaskStyle, tokenizer: &Tokenizer) -> Result<Option<Self>, EncodeError> {
        let names = match mask {
            MaskStyle::AnswersOnly => return Ok(None),
            MaskStyle::Towervision => ["<start_of_turn>", "<end_of_turn>"],
            MaskStyle::LlavaNextQwen => ["<|im_start|>", "<|im_end|>"],
        };
        let mut ids = Vec::new();
        for name in names {
            let help = "this mask style belongs to another family of tokenizers; mask = \"answers_only\" fits all";
            ids.push(tokenizer.token_id(name).ok_or_else(|| EncodeError::NoToken { token: name.to_owned(), help })?);
        }
        // Only a line break that is a token of its own: Gemma's "\n\n" is another token and stays masked.
        ids.extend(Some(tokenizer.encode("\n")?).filter(|ids| ids.len() == 1).into_iter().flatten());
        Ok(Some(Self(ids)))
    }

    /// Where the header of an answer begins in the prompt before it.
    fn header(&self, prompt: &[u32]) -> usize {
        prompt.iter().rposition(|id| self.0.first() == Some(id)).unwrap_or(prompt.len())
    }
}

/// Applies the limit on tokens; `visual` has the ids of visual tokens, which are never cut.
pub(crate) fn truncate(visual: &[u32], mut encoded: Encoded, options: &EncodeOptions) -> Result<Encoded, EncodeError> {
    let tokens = encoded.ids.len();
    let Some(max) = options.max_tokens.filter(|max| tokens > *max) else {
        return Ok(encoded);
    };
    if options.truncation == Truncation::Error {
        return Err(EncodeError::TooLong { tokens, max });
    }
    let last = encoded.ids.iter().rposition(|id| visual.contains(id));
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

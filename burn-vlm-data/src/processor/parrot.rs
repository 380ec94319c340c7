//! Parrot's conversations: ChatML with the picture at the front of its turn, and labels on answers only.
//!
//! Unusual here:
//! - a picture is no token of the vocabulary but the id -200, which the model replaces by its visual tokens;
//! - every turn is tokenized alone; the line break between turns belongs to the turn before it, and is trained with an answer
//!   that is not the last turn;
//! - the whole header of an answer is masked, also with tokenizers that cut it into more than Qwen's three tokens.

use super::{EncodeError, Encoded, VisualCounts, VisualIds};
use crate::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use crate::encode::IGNORE;
use crate::tokenizer::{Tokenizer, TokenizerError};
use std::ops::Range;

/// Stands for a picture among token ids.
const IMAGE_TOKEN_INDEX: i64 = -200;
/// The system's turn of conversations that do not begin with one.
const SYSTEM: &str = "You are a helpful assistant.";
/// What ends a turn.
pub(super) const END: &str = "<|im_end|>";

/// A conversation as ids and labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ParrotEncoded {
    /// Token ids; [`IMAGE_TOKEN_INDEX`] for a picture.
    input_ids: Vec<i64>,
    /// As long: the id itself where it is trained, else [`IGNORE`].
    labels: Vec<i64>,
    /// Positions of each user turn's text, pictures included.
    user_turns: Vec<Range<usize>>,
}

impl ParrotEncoded {
    /// The ids with those of pictures instead of [`IMAGE_TOKEN_INDEX`], repeated as `counts` says; none of them is trained.
    ///
    /// # Errors
    /// Placeholders that do not match `counts`.
    pub(super) fn expanded(
        self,
        image_id: u32,
        turns: &[Turn],
        counts: &[usize],
        user_turns: bool,
    ) -> Result<Encoded, EncodeError> {
        let id = |id: &i64| u32::try_from(*id).unwrap_or(image_id);
        let ids: Vec<u32> = self.input_ids.iter().map(id).collect();
        let mut shift = vec![0; ids.len() + 1];
        let mut widths = counts.iter();
        for (at, id) in ids.iter().enumerate() {
            shift[at + 1] = shift[at] + if *id == image_id { widths.next().copied().unwrap_or(1) } else { 1 };
        }
        let encoded = Encoded { ids, labels: self.labels, ..Encoded::default() };
        let mut encoded = VisualIds::of_images(image_id).expand(encoded, turns, VisualCounts::of_images(counts))?;
        if user_turns {
            encoded.user_turns = self.user_turns.iter().map(|turn| shift[turn.start]..shift[turn.end]).collect();
        }
        Ok(encoded)
    }
}

/// Encodes a conversation with its labels.
///
/// # Errors
/// As [`Tokenizer::encode`].
pub(super) fn encode(tokenizer: &Tokenizer, turns: &[Turn]) -> Result<ParrotEncoded, TokenizerError> {
    format(tokenizer, turns, false)
}

/// Encodes a conversation up to where the assistant's answer begins; nothing is trained.
///
/// # Errors
/// As [`Tokenizer::encode`].
pub(super) fn encode_prompt(tokenizer: &Tokenizer, turns: &[Turn]) -> Result<ParrotEncoded, TokenizerError> {
    let mut encoded = format(tokenizer, turns, true)?;
    encoded.labels.fill(IGNORE);
    Ok(encoded)
}

fn format(tokenizer: &Tokenizer, turns: &[Turn], open: bool) -> Result<ParrotEncoded, TokenizerError> {
    let mut encoded = ParrotEncoded::default();
    if turns.first().is_none_or(|turn| turn.role != Role::System) {
        add(tokenizer, &mut encoded, Role::System, &format!("{SYSTEM}<|im_end|>\n"))?;
    }
    for (index, turn) in turns.iter().enumerate() {
        let last = index + 1 == turns.len() && !open;
        let body = format!("{}<|im_end|>{}", image_first(&turn.text), if last { "" } else { "\n" });
        add(tokenizer, &mut encoded, turn.role, &body)?;
    }
    if open {
        add(tokenizer, &mut encoded, Role::Assistant, "")?;
    }
    Ok(encoded)
}

/// A turn's text with its pictures at the front, each on a line of its own.
fn image_first(text: &str) -> String {
    let images = text.matches(IMAGE_PLACEHOLDER).count();
    if images == 0 {
        return text.to_owned();
    }
    format!("{IMAGE_PLACEHOLDER}\n").repeat(images) + text.replace(IMAGE_PLACEHOLDER, "").trim()
}

/// Adds a turn's header and body.
fn add(tokenizer: &Tokenizer, encoded: &mut ParrotEncoded, role: Role, body: &str) -> Result<(), TokenizerError> {
    let header = format!("<|im_start|>{}\n", role.as_str());
    let header_ids = tokenizer.encode(&header)?.len();
    let masked = if role == Role::Assistant { header_ids } else { usize::MAX };
    let text = header + body;
    let mut ids = Vec::new();
    for (index, piece) in text.split(IMAGE_PLACEHOLDER).enumerate() {
        ids.extend((index > 0).then_some(IMAGE_TOKEN_INDEX));
        ids.extend(tokenizer.encode(piece)?.into_iter().map(i64::from));
    }
    if role == Role::User {
        let begun = encoded.input_ids.len();
        let end = tokenizer.token_id(END).map(i64::from);
        let end = ids.iter().rposition(|id| Some(*id) == end).unwrap_or(ids.len());
        encoded.user_turns.push(begun + header_ids.min(end)..begun + end);
    }
    let label = |(position, id): (usize, &i64)| {
        if position < masked || *id == IMAGE_TOKEN_INDEX { IGNORE } else { *id }
    };
    encoded.labels.extend(ids.iter().enumerate().map(label));
    encoded.input_ids.extend(ids);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{AspectRatio, DecodeLimits, ImageProcessor, ImageProcessorConfig, decode, to_rgb};
    use serde_json::Value;
    use std::fs;
    use std::path::{Path, PathBuf};

    #[test]
    fn pictures_go_to_the_front_of_their_turn() {
        assert_eq!(image_first("What is this?\n<image>"), "<image>\nWhat is this?");
        assert_eq!(image_first("  no picture "), "  no picture ");
        assert_eq!(image_first("a <image> b <image>"), "<image>\n<image>\na  b");
    }

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parrot")
    }

    fn turn(record: &Value) -> Turn {
        let text = record["value"].as_str().unwrap();
        match record["from"].as_str().unwrap() {
            "system" => Turn::system(text),
            "human" => Turn::user(text),
            "gpt" => Turn::assistant(text),
            other => panic!("{other}"),
        }
    }

    fn text(tokenizer: &Tokenizer, ids: &[i64]) -> String {
        let pieces = ids.split(|id| *id == IMAGE_TOKEN_INDEX);
        let ids = |piece: &[i64]| piece.iter().map(|id| *id as u32).collect::<Vec<_>>();
        let texts = pieces.map(|piece| tokenizer.decode(&ids(piece), false).unwrap());
        texts.collect::<Vec<_>>().join(IMAGE_PLACEHOLDER)
    }

    /// Formatting and labels against the authors' own (tests/fixtures/README.md).
    #[test]
    fn conversations_and_labels() {
        let expected: Value = serde_json::from_slice(&fs::read(folder().join("expected.json")).unwrap()).unwrap();
        let ints = |value: &Value| serde_json::from_value::<Vec<i64>>(value.clone()).unwrap();
        let tokenizer = Tokenizer::from_file(folder().join("tokenizer.json")).unwrap();
        let visual_tokens = expected["visual_tokens"].as_u64().unwrap() as usize;
        // No token of the vocabulary.
        let image_id = tokenizer.vocab_size() as u32 + 1;
        for (index, conversation) in expected["conversations"].as_array().unwrap().iter().enumerate() {
            let turns: Vec<Turn> = conversation.as_array().unwrap().iter().map(turn).collect();
            let encoded = encode(&tokenizer, &turns).unwrap();
            assert_eq!(text(&tokenizer, &encoded.input_ids), expected["prompts"][index].as_str().unwrap());
            assert_eq!(encoded.input_ids, ints(&expected["input_ids"][index]));
            assert_eq!(encoded.labels, ints(&expected["labels"][index]));
            let counts = vec![visual_tokens; crate::conversation::count_images(&turns)];
            let encoded = encoded.expanded(image_id, &turns, &counts, true).unwrap();
            assert_eq!(encoded.labels, ints(&expected["merged_labels"][index]));
            let users: Vec<&Turn> = turns.iter().filter(|turn| turn.role == Role::User).collect();
            assert_eq!(users.len(), encoded.user_turns.len());
            for (user, range) in users.iter().zip(encoded.user_turns) {
                let words: Vec<u32> = encoded.ids[range.clone()].iter().copied().filter(|id| *id != image_id).collect();
                let words = tokenizer.decode(&words, false).unwrap();
                assert_eq!(words.trim(), user.text.replace(IMAGE_PLACEHOLDER, "").trim());
                let shown = encoded.ids[range].iter().filter(|id| **id == image_id).count();
                assert_eq!(shown, visual_tokens * user.text.matches(IMAGE_PLACEHOLDER).count());
            }
        }
        for (query, ids) in
            expected["gen_queries"].as_array().unwrap().iter().zip(expected["gen_prompts"].as_array().unwrap())
        {
            let prompt = encode_prompt(&tokenizer, &[Turn::user(query.as_str().unwrap())]).unwrap();
            let ids = ints(ids);
            assert_eq!(prompt.input_ids, ids);
            assert!(prompt.labels.iter().all(|label| *label < 0));
            assert!(text(&tokenizer, &ids).ends_with("<|im_start|>assistant\n"));
        }
    }

    /// Padding to a square in the mean colour, then CLIP's processing: byte for byte.
    #[test]
    fn pixels() {
        let mut config = ImageProcessorConfig::from_folder(folder()).unwrap();
        config.image_aspect_ratio = Some(AspectRatio::Pad);
        config.do_normalize = false;
        config.do_rescale = false;
        let processor = ImageProcessor::new(config).unwrap();
        for name in ["cat_451x300", "astronaut_tall_171x437"] {
            let image = folder().join(format!("../../../../tests/fixtures/images/{name}.png"));
            let pixels = processor.process_bytes(name, &fs::read(image).unwrap()).unwrap();
            let expected = fs::read(folder().join(format!("{name}.56.png"))).unwrap();
            let expected = to_rgb(decode(name, &expected, &DecodeLimits::default()).unwrap(), None);
            let plane = pixels.height * pixels.width;
            assert_eq!(pixels.data.len(), expected.as_raw().len());
            for (at, value) in pixels.data.iter().enumerate() {
                assert_eq!(*value, f32::from(expected.as_raw()[at % plane * 3 + at / plane]), "{name} {at}");
            }
        }
    }
}

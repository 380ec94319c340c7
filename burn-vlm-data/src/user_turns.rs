//! Which tokens of an encoded conversation are the user's own text, turn by turn.
//!
//! Unusual here: what the template writes around a turn (headers, the end of turn) is found by rendering the same turn with another
//! text, never by searching for the text, so a user who writes `user` or quotes the template shifts nothing.

use std::ops::Range;

use crate::chat_template::ChatTemplate;
use crate::conversation::{Role, Turn};
use crate::encode::{EncodeError, MaskStyle, split};
use crate::tokenizer::Tokenizer;

/// A private-use character, which no conversation has.
const MARK: &str = "\u{f8ff}";

/// The tokens of each user turn as a range of positions, in the order of the turns; a picture's tokens, where the turn has one, are
/// inside. `pictures` has the number of visual tokens of each picture, `mask` is the style that the conversation is encoded with
/// (some encode headers by themselves).
///
/// # Errors
/// A conversation that template or tokenizer refuse.
pub fn user_turns(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    turns: &[Turn],
    pictures: &[usize],
    mask: MaskStyle,
) -> Result<Vec<Range<usize>>, EncodeError> {
    let whole = template.render(turns, false)?;
    let texts = texts(template, turns, length(&whole))?;
    let mut found: Vec<Range<usize>> = vec![0..0; texts.len()];
    let mut pictures = pictures.iter();
    let (mut begun, mut position) = (0, 0);
    for part in split(template, turns, &whole, mask != MaskStyle::AnswersOnly)? {
        let encoding = tokenizer.encode_with_offsets(part.text, false)?;
        for (id, (from, to)) in encoding.ids.iter().zip(&encoding.offsets) {
            let width = if Some(*id) == tokenizer.image_id() { pictures.next().copied().unwrap_or(1) } else { 1 };
            let (from, to) = (begun + from, begun + to);
            for (turn, text) in found.iter_mut().zip(&texts) {
                // a token counts if any of its characters are the user's
                if from < text.end && to > text.start {
                    turn.start = if turn.end == 0 { position } else { turn.start };
                    turn.end = position + width;
                }
            }
            position += width;
        }
        begun += length(part.text);
    }
    Ok(found)
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// The characters of each user turn's text within the rendered conversation, which has `whole` of them.
fn texts(template: &ChatTemplate, turns: &[Turn], whole: usize) -> Result<Vec<Range<usize>>, EncodeError> {
    let mut texts = Vec::new();
    for (index, _) in turns.iter().enumerate().filter(|(_, turn)| turn.role == Role::User) {
        let mut marked = turns[..index].to_vec();
        marked.push(Turn::user(MARK));
        let marked = template.render(&marked, false)?;
        let (before, after) = marked.rsplit_once(MARK).unwrap_or((&marked, ""));
        let (start, after) = (length(before), length(after));
        let end = if index + 1 == turns.len() { whole } else { length(&template.render(&turns[..=index], false)?) };
        texts.push(start..end.saturating_sub(after).max(start));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{EncodeOptions, encode};
    use crate::tokenizer::TINY_SPECIAL_TOKENS;

    fn tokenizer() -> Tokenizer {
        // bytes alone, so that each token is a letter
        Tokenizer::train_bpe(["a"], 256 + TINY_SPECIAL_TOKENS.len(), &TINY_SPECIAL_TOKENS).unwrap()
    }

    fn read(turns: &[Turn], pictures: &[usize]) -> Vec<String> {
        let (tokenizer, template) = (tokenizer(), ChatTemplate::tiny().unwrap());
        let encoded = encode(&tokenizer, &template, turns, pictures, &EncodeOptions::default()).unwrap();
        let ranges = user_turns(&tokenizer, &template, turns, pictures, MaskStyle::AnswersOnly).unwrap();
        ranges.into_iter().map(|range| tokenizer.decode(&encoded.ids[range], false).unwrap()).collect()
    }

    #[test]
    fn headers_and_answers_are_left_out() {
        let turns = [Turn::user("one"), Turn::assistant("two"), Turn::user("three"), Turn::assistant("four")];
        assert_eq!(read(&turns, &[]), ["one", "three"]);
    }

    #[test]
    fn a_user_who_quotes_the_template_shifts_nothing() {
        let turns = [Turn::user("two user"), Turn::assistant("two"), Turn::user("two"), Turn::assistant("end")];
        assert_eq!(read(&turns, &[]), ["two user", "two"]);
    }

    #[test]
    fn pictures_are_inside_their_turn() {
        let turns = [Turn::user("<image>\nwhat"), Turn::assistant("a"), Turn::user("<image>b"), Turn::assistant("c")];
        assert_eq!(read(&turns, &[3, 2]), ["<image><image><image>\nwhat", "<image><image>b"]);
    }

    #[test]
    fn an_unfinished_conversation_counts_too() {
        assert_eq!(read(&[Turn::user("alone")], &[]), ["alone"]);
        assert_eq!(read(&[Turn::user(""), Turn::assistant("x")], &[]), [""]);
    }
}

//! Which tokens of an encoded conversation are the user's own text, turn by turn.
//!
//! Unusual here: what the template writes around a turn (headers, the end of turn) is found by rendering the same turn with another
//! text, never by searching for the text, so a user who writes `user` or quotes the template shifts nothing.

use std::ops::Range;

use crate::conversation::{Role, Turn};
use crate::encode::{EncodeError, Ends, Place, Scribe, VisualCounts};

/// A private-use character, which no conversation has.
const MARK: &str = "\u{f8ff}";

impl Scribe<'_> {
    /// The tokens of each user turn as a range of positions, in the order of the turns; a picture's tokens, where the turn has one,
    /// are inside, and so are a video's.
    ///
    /// # Errors
    /// A conversation that template or tokenizer refuse.
    pub(crate) fn user_turns(
        &self,
        turns: &[Turn],
        counts: VisualCounts<'_>,
    ) -> Result<Vec<Range<usize>>, EncodeError> {
        let whole = self.render(turns, false)?;
        let texts = self.texts(turns, &whole)?;
        let mut found: Vec<Range<usize>> = vec![0..0; texts.len()];
        let (mut images, mut videos) = (counts.images.iter(), counts.videos.iter());
        let (mut begun, mut position) = (0, 0);
        // The first text that has not ended: tokens come in their order, and so do the texts.
        let mut open = 0;
        let mut before = "";
        for part in self.split(turns, &whole)? {
            let encoding = self.piece_with_offsets(before, part.text)?;
            if before.is_empty() && !encoding.ids.starts_with(&self.style.start) {
                position += self.style.start.len();
            }
            for (id, (from, to)) in encoding.ids.iter().zip(&encoding.offsets) {
                let width = match Some(*id) {
                    id if id == self.style.image_id() => images.next(),
                    id if id == self.style.video_id() => videos.next(),
                    _ => None,
                };
                let width = width.copied().unwrap_or(1);
                let (from, to) = (begun + from, begun + to);
                open += texts[open..].iter().take_while(|text| text.end <= from).count();
                for (turn, text) in found[open..].iter_mut().zip(&texts[open..]) {
                    if text.start >= to {
                        break;
                    }
                    // a token counts if any of its characters are the user's
                    if from < text.end && to > text.start {
                        turn.start = if turn.end == 0 { position } else { turn.start };
                        turn.end = position + width;
                    }
                }
                position += width;
            }
            begun += length(part.text);
            before = part.text;
        }
        Ok(found)
    }

    /// The characters of each user turn's text within the rendered conversation.
    fn texts(&self, turns: &[Turn], whole: &str) -> Result<Vec<Range<usize>>, EncodeError> {
        let mut ends = Ends::new(self, turns, whole);
        let mut texts = Vec::new();
        // Characters up to the last place that was asked for: places come in their order.
        let (mut bytes, mut characters) = (0, 0);
        let mut count = |at: usize| {
            match whole.get(bytes..at) {
                Some(more) => characters += length(more),
                None => characters = length(whole.get(..at).unwrap_or(whole)),
            }
            bytes = at;
            characters
        };
        for (index, _) in turns.iter().enumerate().filter(|(_, turn)| turn.role == Role::User) {
            // The same conversation with another text: what stands before it and behind it.
            let around = || -> Result<(String, String), EncodeError> {
                let mut marked = turns[..index].to_vec();
                marked.push(Turn::user(MARK));
                let marked = self.render(&marked, false)?;
                let (before, after) = marked.rsplit_once(MARK).unwrap_or((&marked, ""));
                Ok((before.to_owned(), after.to_owned()))
            };
            let start = ends.find(index, Place::TextBegin, || around().map(|(before, _)| before.len()))?;
            let end = ends.find(index, Place::TextEnd, || -> Result<usize, EncodeError> {
                let (_, after) = around()?;
                let end =
                    if index + 1 == turns.len() { whole.len() } else { self.render(&turns[..=index], false)?.len() };
                Ok(end.saturating_sub(after.len()))
            })?;
            let (start, end) = (start.min(whole.len()), end.min(whole.len()));
            let start = count(start);
            texts.push(start..count(end).max(start));
        }
        Ok(texts)
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat_template::ChatTemplate;
    use crate::encode::EncodeOptions;
    use crate::processor::{Processor, ProcessorParts};
    use crate::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};

    fn tokenizer() -> Tokenizer {
        // bytes alone, so that each token is a letter
        Tokenizer::train_bpe(["a"], 256 + TINY_SPECIAL_TOKENS.len(), &TINY_SPECIAL_TOKENS).unwrap()
    }

    fn read(turns: &[Turn], pictures: &[usize]) -> Vec<String> {
        let parts = ProcessorParts::text(tokenizer(), ChatTemplate::tiny().unwrap());
        let processor = Processor::new(parts).unwrap();
        let options = EncodeOptions { user_turns: true, ..EncodeOptions::default() };
        let encoded = processor.encode(turns, pictures, &options).unwrap();
        let text = |range: Range<usize>| processor.tokenizer().decode(&encoded.ids[range], false).unwrap();
        encoded.user_turns.into_iter().map(text).collect()
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

//! Text from tokens that come one by one.
//!
//! Unusual here:
//! - a character whose bytes are spread over several tokens comes out whole or not at all;
//! - a text that may be the beginning of a stop string is held back until it is clear, so that no half of one is shown.

use crate::tokenizer::{Tokenizer, TokenizerError};

/// The replacement character, which the decoder writes for bytes that are no character (yet).
const INCOMPLETE: char = '\u{FFFD}';

/// Turns token ids into text as they come.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    stop: Vec<String>,
    ids: Vec<u32>,
    /// Where the ids begin that are decoded again at each step, as context of the first new one.
    context: usize,
    /// Where the ids begin whose text has not come out.
    open: usize,
    /// Text that may begin a stop string.
    held: String,
    /// Bytes of text that the tokens have given, what is held among them.
    decoded: usize,
    stopped: bool,
    /// Spaces before the first word are left out.
    trimmed: bool,
}

impl<'a> TextStream<'a> {
    /// A stream that ends before the first of the stop strings (none: an empty list).
    pub fn new(tokenizer: &'a Tokenizer, stop: &[String]) -> Self {
        let stop = stop.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self {
            tokenizer,
            stop,
            ids: Vec::new(),
            context: 0,
            open: 0,
            held: String::new(),
            decoded: 0,
            stopped: false,
            trimmed: false,
        }
    }

    /// The same without the spaces before the first word, which the tokens of words bring along: for text that a program reads, JSON say.
    pub fn trimmed(self) -> Self {
        Self { trimmed: true, ..self }
    }

    /// Adds a token and returns the text that is now certain; often empty. Special tokens have no text.
    ///
    /// # Errors
    /// An id that the tokenizer cannot decode.
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        self.ids.push(id);
        let known = self.tokenizer.decode(&self.ids[self.context..self.open], true)?;
        let all = self.tokenizer.decode(&self.ids[self.context..], true)?;
        if all.ends_with(INCOMPLETE) || all.len() <= known.len() || !all.is_char_boundary(known.len()) {
            return Ok(String::new());
        }
        self.context = self.open;
        self.open = self.ids.len();
        Ok(self.release(&all[known.len()..], false))
    }

    /// The text that was held back, at the end of the tokens. Bytes that never became a character come out as U+FFFD.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self) -> Result<String, TokenizerError> {
        let known = self.tokenizer.decode(&self.ids[self.context..self.open], true)?;
        let all = self.tokenizer.decode(&self.ids[self.context..], true)?;
        self.context = self.ids.len();
        self.open = self.ids.len();
        let rest = all.get(known.len()..).unwrap_or_default();
        Ok(self.release(rest, true))
    }

    /// Bytes of text that the tokens so far have given: what came out, and what is held back, but not what [`Self::trimmed`] leaves out. Where the text of the next token begins.
    pub fn decoded(&self) -> usize {
        self.decoded
    }

    /// Whether a stop string has come.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes new text and gives what can be shown.
    fn release(&mut self, text: &str, last: bool) -> String {
        if self.stopped {
            return String::new();
        }
        let text = if self.trimmed { text.trim_start_matches(' ') } else { text };
        self.trimmed &= text.is_empty();
        self.held.push_str(text);
        self.decoded += text.len();
        if let Some(at) = self.stop.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let keep = if last { 0 } else { self.possible_beginning() };
        let rest = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, rest)
    }

    /// Bytes at the end of the held text that may begin a stop string.
    fn possible_beginning(&self) -> usize {
        let starts = self.held.char_indices().map(|(at, _)| &self.held[at..]);
        starts.filter(|end| self.stop.iter().any(|stop| stop.starts_with(end))).map(str::len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        // Bytes and few merges: every character outside ASCII is several tokens.
        Tokenizer::train_bpe(["a b c the the the"], 300, &["<eos>"]).unwrap()
    }

    fn pieces(text: &str, stop: &[&str]) -> (Vec<String>, bool) {
        let tokenizer = tokenizer();
        let stop: Vec<String> = stop.iter().map(|stop| (*stop).to_owned()).collect();
        let mut stream = TextStream::new(&tokenizer, &stop);
        let ids = tokenizer.encode(text).unwrap();
        let mut pieces: Vec<String> = ids.into_iter().map(|id| stream.push(id).unwrap()).collect();
        pieces.push(stream.finish().unwrap());
        (pieces, stream.stopped())
    }

    #[test]
    fn characters_come_out_whole_and_none_is_lost() {
        for text in ["the cat", "猫と犬, кошка", "🐈‍⬛ 🇧🇷!", "नमस्ते", "  two  spaces "]
        {
            let (pieces, stopped) = pieces(text, &[]);
            assert_eq!(pieces.concat(), text);
            assert!(!stopped && pieces.iter().all(|piece| !piece.contains(INCOMPLETE)));
            assert!(pieces.len() > 3, "{pieces:?}");
        }
    }

    #[test]
    fn a_stop_string_ends_the_text_and_no_part_of_it_is_shown() {
        let (parts, stopped) = pieces("yes</s>no", &["</s>", "xyz"]);
        assert_eq!((parts.concat().as_str(), stopped), ("yes", true));
        assert!(parts.iter().all(|piece| !piece.contains('<')));
        let (parts, stopped) = pieces("a < b </b>", &["</s>"]);
        assert_eq!((parts.concat().as_str(), stopped), ("a < b </b>", false));
    }

    #[test]
    fn spaces_before_the_first_word_are_left_out_where_that_is_wanted() {
        let tokenizer = tokenizer();
        let mut stream = TextStream::new(&tokenizer, &[]).trimmed();
        let ids = tokenizer.encode("  the  cat ").unwrap();
        let mut text: String = ids.into_iter().map(|id| stream.push(id).unwrap()).collect();
        text.push_str(&stream.finish().unwrap());
        assert_eq!((text.as_str(), stream.decoded()), ("the  cat ", "the  cat ".len()));
    }

    #[test]
    fn bytes_that_are_no_character_are_shown_as_such_at_the_end() {
        let tokenizer = tokenizer();
        let mut stream = TextStream::new(&tokenizer, &[]);
        let first = tokenizer.encode("猫").unwrap()[0];
        assert_eq!((stream.push(first).unwrap(), stream.decoded()), (String::new(), 0));
        assert_eq!(stream.finish().unwrap(), INCOMPLETE.to_string());
        // What is held back has been decoded.
        let mut stream = TextStream::new(&tokenizer, &["cab".to_owned()]);
        let pieces: Vec<String> =
            tokenizer.encode("a c").unwrap().into_iter().map(|id| stream.push(id).unwrap()).collect();
        assert_eq!((pieces.concat().as_str(), stream.decoded()), ("a ", 3));
    }
}

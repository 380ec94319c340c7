//! Which tokens of a vocabulary may come next.
//!
//! Tokens are walked through in the order of their bytes, so that what tokens begin with alike is followed once, and what leads nowhere is
//! left with all that begin with it. Most of a vocabulary are plain characters, which go on with every text: in a text they are taken
//! together.

use super::schema::Schema;
use super::state::State;
use crate::tokenizer::{Tokenizer, TokenizerError};

/// A text of all that JSON is written with, by which it is seen whether a tokenizer's tokens are the bytes of their text.
const SAMPLE: &str = "{\"a b\": [1, -2.5e3, true, null], \"Ключ\": \"猫 \\\"x\\\\\\n\"}";

/// A set of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenSet(Vec<u64>);

impl TokenSet {
    fn new(vocabulary: usize) -> Self {
        Self(vec![0; vocabulary.div_ceil(64)])
    }

    fn insert(&mut self, id: u32) {
        if let Some(word) = self.0.get_mut(id as usize / 64) {
            *word |= 1 << (id % 64);
        }
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }
}

/// Tokens in the order of their bytes.
#[derive(Debug, Default)]
struct Sorted {
    ids: Vec<u32>,
    /// The bytes of all, and where each one's end.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Bytes that each one has in common with the one before.
    shared: Vec<usize>,
}

impl Sorted {
    fn new(mut tokens: Vec<(Vec<u8>, u32)>) -> Self {
        tokens.sort_unstable();
        let mut sorted = Self::default();
        let mut before: &[u8] = &[];
        for (bytes, id) in &tokens {
            sorted.ids.push(*id);
            sorted.shared.push(before.iter().zip(bytes).take_while(|(a, b)| a == b).count());
            sorted.bytes.extend_from_slice(bytes);
            sorted.ends.push(sorted.bytes.len());
            before = bytes;
        }
        sorted
    }

    /// Adds the tokens that may follow a state.
    fn walk(&self, schema: &Schema, state: &State, found: &mut TokenSet) {
        if state.is_dead() {
            return;
        }
        // The state behind each byte of the token before; where that one led nowhere, up to there.
        let mut levels: Vec<State> = vec![state.clone()];
        let mut dead = usize::MAX;
        let mut begin = 0;
        for ((id, end), shared) in self.ids.iter().zip(&self.ends).zip(&self.shared) {
            let bytes = &self.bytes[begin..*end];
            begin = *end;
            if *shared > dead {
                continue;
            }
            dead = usize::MAX;
            levels.truncate(shared + 1);
            for (at, byte) in bytes.iter().enumerate().skip(*shared) {
                let next = levels.last().map_or_else(|| state.clone(), |state| state.push(schema, *byte));
                if next.is_dead() {
                    dead = at;
                    break;
                }
                levels.push(next);
            }
            if dead == usize::MAX {
                found.insert(*id);
            }
        }
    }
}

/// The tokens of a vocabulary by their bytes; made once for a model.
#[derive(Debug)]
pub struct TokenTable {
    /// Of plain characters: they go on with every text. With how many characters each has, and all of them as a set.
    plain: Sorted,
    characters: Vec<(u32, usize)>,
    all_plain: TokenSet,
    others: Sorted,
    vocabulary: usize,
    /// Tokens that end an answer.
    stop: Vec<u32>,
    bytes: Vec<Vec<u8>>,
}

/// Why a tokenizer's answers cannot be kept to a form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenTableError {
    /// Its tokens are not the bytes of their text.
    #[error(
        "the tokenizer's tokens are not the bytes of its texts ({0}), so that no form can be kept to token by token"
    )]
    NotBytes(String),
    /// A byte has no token.
    #[error("the tokenizer has no token for {0:?} alone, so that an answer could be stuck before it")]
    MissingByte(char),
    /// It failed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl TokenTable {
    /// The tokens of a tokenizer but special and added ones, which have no place in a text; `stop` end an answer.
    ///
    /// # Errors
    /// A tokenizer whose tokens are not the bytes of its texts, or that lacks one for a character of JSON.
    pub fn new(tokenizer: &Tokenizer, stop: &[u32]) -> Result<Self, TokenTableError> {
        let tokens = tokenizer.text_tokens();
        let vocabulary = tokens.iter().map(|(id, _)| *id as usize + 1).max().unwrap_or(0);
        let mut bytes = vec![Vec::new(); vocabulary];
        let mut alone = [false; 256];
        for (id, token) in &tokens {
            if let [byte] = token.as_slice() {
                alone[usize::from(*byte)] = true;
            }
            bytes[*id as usize].clone_from(token);
        }
        let ids = tokenizer.encode(SAMPLE)?;
        let text = tokenizer.decode(&ids, false)?;
        let joined: Vec<u8> = ids.iter().filter_map(|id| bytes.get(*id as usize)).flatten().copied().collect();
        // Tokenizers of words put a space before the first.
        if text.trim_start() != SAMPLE || joined.trim_ascii_start() != SAMPLE.as_bytes() {
            return Err(TokenTableError::NotBytes(format!("{:?}", String::from_utf8_lossy(&joined))));
        }
        if let Some(byte) = (0x20..0x7f).find(|byte| !alone[usize::from(*byte)]) {
            return Err(TokenTableError::MissingByte(char::from(byte)));
        }
        // A character may be written byte by byte only where every byte can be.
        let by_bytes = alone[0x80..0xc0].iter().all(|alone| *alone);
        let (mut plain, mut others, mut characters) = (Vec::new(), Vec::new(), Vec::new());
        let mut all_plain = TokenSet::new(vocabulary);
        for (id, token) in tokens {
            let text = std::str::from_utf8(&token).ok();
            if token.is_empty() || text.is_none() && !by_bytes {
                continue;
            }
            match text.filter(|text| text.chars().all(|char| char >= ' ' && char != '"' && char != '\\')) {
                Some(text) => {
                    characters.push((id, text.chars().count()));
                    all_plain.insert(id);
                    plain.push((token, id));
                }
                None => others.push((token, id)),
            }
        }
        let (plain, others) = (Sorted::new(plain), Sorted::new(others));
        Ok(Self { plain, characters, all_plain, others, vocabulary, stop: stop.to_vec(), bytes })
    }

    /// The tokens that may come next.
    pub(super) fn next(&self, schema: &Schema, state: &State) -> TokenSet {
        let stop = self.stop.iter().map(|id| *id as usize + 1).max().unwrap_or(0);
        let mut found = TokenSet::new(self.vocabulary.max(stop));
        let (room, others) = state.in_texts(schema);
        match room {
            None => {}
            Some(usize::MAX) => found.0.iter_mut().zip(&self.all_plain.0).for_each(|(found, plain)| *found |= plain),
            Some(room) => {
                let fit = self.characters.iter().filter(|(_, characters)| *characters <= room);
                fit.for_each(|(id, _)| found.insert(*id));
            }
        }
        self.plain.walk(schema, &others, &mut found);
        self.others.walk(schema, state, &mut found);
        if state.is_whole(schema) {
            self.stop.iter().for_each(|id| found.insert(*id));
        }
        found
    }

    /// The bytes of a token; none for those that have no place in a text.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], Vec::as_slice)
    }
}

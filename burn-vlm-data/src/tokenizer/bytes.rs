//! Tokens as the bytes that they stand for in a text.

use tokenizers::decoders::DecoderWrapper;

use super::Tokenizer;

impl Tokenizer {
    /// The bytes that a token stands for in a text, which need be no whole characters: a space where the vocabulary writes `\u{2581}` or
    /// `\u{120}`, one byte for `<0xE2>`. Special and added tokens stand for what they are called.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        let token = self.token(id)?;
        if self.inner.get_added_tokens_decoder().contains_key(&id) {
            return Some(token.into_bytes());
        }
        Some(bytes_of(&token, self.is_by_bytes()))
    }

    /// All tokens that are neither special nor added, in the order of their ids, with the bytes that each stands for in a text.
    pub fn text_tokens(&self) -> Vec<(u32, Vec<u8>)> {
        let (added, by_bytes) = (self.inner.get_added_tokens_decoder(), self.is_by_bytes());
        let tokens = self.inner.get_vocab(false).into_iter().filter(|(_, id)| !added.contains_key(id));
        let mut tokens: Vec<(u32, Vec<u8>)> = tokens.map(|(token, id)| (id, bytes_of(&token, by_bytes))).collect();
        tokens.sort_unstable();
        tokens
    }

    /// Whether the vocabulary writes every byte as a character of its own.
    fn is_by_bytes(&self) -> bool {
        let by_bytes = |decoder: &DecoderWrapper| matches!(decoder, DecoderWrapper::ByteLevel(_));
        match self.inner.get_decoder() {
            Some(DecoderWrapper::Sequence(all)) => all.get_decoders().iter().any(by_bytes),
            Some(decoder) => by_bytes(decoder),
            None => false,
        }
    }
}

/// The bytes of a token as the vocabulary writes it.
fn bytes_of(token: &str, by_bytes: bool) -> Vec<u8> {
    if by_bytes && let Some(bytes) = token.chars().map(byte_of).collect() {
        return bytes;
    }
    let byte = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    let byte = byte.filter(|digits| digits.len() == 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    byte.map_or_else(|| token.replace('\u{2581}', " ").into_bytes(), |byte| vec![byte])
}

/// The byte that a character of a byte-level vocabulary stands for: printable ones for themselves, the others are numbered from U+0100
/// on, in their order.
fn byte_of(character: char) -> Option<u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    match u32::from(character) {
        code @ 0..=0xFF => u8::try_from(code).ok().filter(|byte| printable(*byte)),
        code => (0..=u8::MAX).filter(|byte| !printable(*byte)).nth(code as usize - 0x100),
    }
}

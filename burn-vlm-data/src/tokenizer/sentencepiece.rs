//! XLM-RoBERTa's `sentencepiece.bpe.model` as a tokenizer, for folders without `tokenizer.json`.
//!
//! Unusual here: the ids are not SentencePiece's. fairseq, which trained the first of these models, has `<s>` 0, `<pad>` 1, `</s>` 2 and
//! `<unk>` 3, then the pieces from the fourth on (the model's own first three are its `<unk>`, `<s>` and `</s>`), and `<mask>` last. The
//! file's name says BPE, the model is a unigram one.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Tokenizer, TokenizerError};

/// Tokens before the pieces.
const FIRST: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];
/// Pieces of the model that the tokens stand for.
const REPLACED: usize = 3;
/// The token after the pieces.
const LAST: &str = "<mask>";
/// `trainer_spec.model_type` of a unigram model.
const UNIGRAM: u64 = 1;

impl Tokenizer {
    /// The name of the file.
    pub const SENTENCEPIECE: &'static str = "sentencepiece.bpe.model";

    /// Loads a `sentencepiece.bpe.model` with the ids that XLM-RoBERTa's tokenizers have, as transformers converts it.
    ///
    /// # Errors
    /// A file that is missing or no unigram model of SentencePiece, named.
    pub fn from_xlm_roberta_sentencepiece(path: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| TokenizerError::Io { path: path.to_owned(), source })?;
        let wrong = |reason: &str| TokenizerError::Config {
            path: path.to_owned(),
            reason: format!("not a unigram model of SentencePiece: {reason}"),
        };
        let model = Model::read(&bytes).ok_or_else(|| wrong("the file is damaged, or something else"))?;
        if model.kind != UNIGRAM {
            return Err(wrong("it is of another kind (BPE, words or characters)"));
        }
        if model.pieces.len() <= REPLACED {
            return Err(wrong("it has no pieces"));
        }
        let mut tokenizer = Self::from_bytes(model.json().to_string().as_bytes(), path)?;
        let role = |token: &str| Some(token.to_owned());
        (tokenizer.roles.bos, tokenizer.roles.pad, tokenizer.roles.eos) = (role("<s>"), role("<pad>"), role("</s>"));
        Ok(tokenizer)
    }
}

/// What is read of a model's protobuf.
#[derive(Default)]
struct Model {
    pieces: Vec<(String, f32)>,
    kind: u64,
    characters: Vec<u8>,
}

impl Model {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut model = Self { kind: UNIGRAM, ..Self::default() };
        let mut fields = Fields(bytes);
        while let Some((number, content)) = fields.next()? {
            match (number, content) {
                (1, Content::Bytes(piece)) => {
                    let (mut text, mut score) = (String::new(), 0.0);
                    let mut fields = Fields(piece);
                    while let Some((number, content)) = fields.next()? {
                        match (number, content) {
                            (1, Content::Bytes(bytes)) => text = String::from_utf8(bytes.to_vec()).ok()?,
                            (2, Content::Bits32(bits)) => score = f32::from_bits(bits),
                            _ => {}
                        }
                    }
                    model.pieces.push((text, score));
                }
                (2, Content::Bytes(trainer)) => {
                    let mut fields = Fields(trainer);
                    while let Some((number, content)) = fields.next()? {
                        if let (3, Content::Number(kind)) = (number, content) {
                            model.kind = kind;
                        }
                    }
                }
                (3, Content::Bytes(normalizer)) => {
                    let mut fields = Fields(normalizer);
                    while let Some((number, content)) = fields.next()? {
                        if let (2, Content::Bytes(characters)) = (number, content) {
                            model.characters = characters.to_vec();
                        }
                    }
                }
                _ => {}
            }
        }
        Some(model)
    }

    /// The same as `tokenizer.json`.
    fn json(&self) -> Value {
        let special = FIRST.iter().map(|token| json!([token, 0.0]));
        let pieces = self.pieces[REPLACED..].iter().map(|(piece, score)| json!([piece, score]));
        let vocabulary: Vec<Value> = special.chain(pieces).chain([json!([LAST, 0.0])]).collect();
        let last = vocabulary.len() - 1;
        let added = FIRST.iter().enumerate().map(|(id, token)| (id, *token)).chain([(last, LAST)]);
        let added: Vec<Value> = added
            .map(|(id, token)| {
                json!({ "id": id, "content": token, "single_word": false, "lstrip": token == LAST, "rstrip": false,
                        "normalized": false, "special": true })
            })
            .collect();
        let spaces = json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true });
        let token = |id: &str| json!({ "SpecialToken": { "id": id, "type_id": 0 } });
        let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
        let mut steps = vec![
            json!({ "type": "Strip", "strip_left": false, "strip_right": true }),
            json!({ "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": "▁" }),
        ];
        if !self.characters.is_empty() {
            steps
                .insert(0, json!({ "type": "Precompiled", "precompiled_charsmap": STANDARD.encode(&self.characters) }));
        }
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": { "type": "Sequence", "normalizers": steps },
            "pre_tokenizer": spaces, "decoder": spaces,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [token("<s>"), text("A"), token("</s>")],
                "pair": [token("<s>"), text("A"), token("</s>"), token("</s>"), text("B"), token("</s>")],
                "special_tokens": {
                    "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] },
                    "</s>": { "id": "</s>", "ids": [2], "tokens": ["</s>"] },
                },
            },
            "model": { "type": "Unigram", "unk_id": 3, "vocab": vocabulary, "byte_fallback": false },
        })
    }
}

enum Content<'a> {
    Number(u64),
    Bits32(u32),
    Bytes(&'a [u8]),
    Bits64,
}

/// Fields of a protobuf message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Number and content of the next field; `Some(None)` at the end, `None` for damage.
    fn next(&mut self) -> Option<Option<(u64, Content<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let key = self.number()?;
        let content = match key & 7 {
            0 => Content::Number(self.number()?),
            1 => {
                self.take(8)?;
                Content::Bits64
            }
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Content::Bytes(self.take(length)?)
            }
            5 => Content::Bits32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some(Some((key >> 3, content)))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take(1)? else { return None };
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_model_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(Tokenizer::SENTENCEPIECE);
        for (bytes, reason) in [
            (&b"not a model"[..], "damaged"),
            (b"", "no pieces"),
            // trainer_spec { model_type: BPE }
            (&[0x12, 2, 0x18, 2], "another kind"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = Tokenizer::from_xlm_roberta_sentencepiece(&path).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(Tokenizer::SENTENCEPIECE), "{error}");
        }
    }
}

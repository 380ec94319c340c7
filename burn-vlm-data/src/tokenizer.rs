//! Tokenizers: any Hugging Face `tokenizer.json`, and small byte-level BPE ones trained here.
//!
//! Unusual here:
//! - [`Tokenizer::encode`] never adds special tokens: the chat template has written them, and they are recognised in the
//!   text;
//! - patterns are read as Python's package reads them, whose engine takes `{1,3}+` for a group that is repeated; the engine here takes
//!   it for a possessive repetition, so it is written out;
//! - training is deterministic: the same texts give the same bytes on every run;
//! - the trained tokenizer splits words by letters *and* combining marks, so that Hindi, Bengali, Tamil and Sinhala words
//!   are not cut at each vowel sign.

mod bytes;
mod patterns;
mod sentencepiece;

use burn_vlm_base::files::{FileError, write_atomic};
use burn_vlm_base::guard::guarded;
use burn_vlm_base::model_folder::without_tokenizer;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, TokenizerImpl};

/// The special tokens of the tiny models; they have the ids 0 to 6.
pub const TINY_SPECIAL_TOKENS: [&str; 7] =
    ["<pad>", "<bos>", "<eos>", "<image>", "<|user|>", "<|assistant|>", "<|end|>"];

/// Words with their combining marks, single digits, runs of signs, runs of spaces.
const WORDS: &str = r"'(?:[sdmt]|ll|ve|re)| ?[\p{L}\p{M}]+| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+";

/// A tokenizer that cannot be loaded, trained or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no `tokenizer.json`.
    #[error("{}: {help}", path.display())]
    Missing {
        /// The file that is not there.
        path: PathBuf,
        /// What is there instead, and what to do.
        help: String,
    },
    /// A token whose id has no row in the model's table of embeddings.
    #[error(
        "{}: the token {token:?} has the id {id}, the model's table of embeddings has {rows} rows (ids 0 to {}); enlarge the \
         table (transformers: `model.resize_token_embeddings(len(tokenizer))`, then save both), or take the token out of the \
         tokenizer",
        path.display(), i64::try_from(*rows).unwrap_or(i64::MAX) - 1
    )]
    BeyondTable {
        /// The tokenizer's file, or the model's folder.
        path: PathBuf,
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// Rows of the table.
        rows: usize,
    },
    /// A file is no tokenizer.
    #[error("{}: not a Hugging Face tokenizer.json: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// A file beside a tokenizer is not what it should be.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key.
        reason: String,
    },
    /// The vocabulary has no room for the bytes and the special tokens.
    #[error("vocabulary size {given} is too small: {least} are needed for the 256 bytes and {special} special tokens")]
    VocabularyTooSmall {
        /// The size asked for.
        given: usize,
        /// The least possible.
        least: usize,
        /// Number of special tokens.
        special: usize,
    },
    /// Training failed.
    #[error("training a tokenizer: {0}")]
    Training(String),
    /// Rows of different lengths cannot be padded.
    #[error("the tokenizer has no padding token; name one as \"pad_token\" in tokenizer_config.json")]
    NoPadding,
    /// A text could not be encoded, or ids not decoded.
    #[error("tokenizing {text:?}: {reason}")]
    Encoding {
        /// The text, shortened.
        text: String,
        /// What the library said.
        reason: String,
    },
}

/// A tokenizer with its special tokens.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: BTreeMap<u32, String>,
    roles: Roles,
    padding_side: PaddingSide,
}

/// On which side rows of a batch are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum PaddingSide {
    /// Before the text, as generation needs it.
    Left,
    /// After the text.
    #[default]
    Right,
}

/// A tokenized text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// The tokens as the vocabulary writes them.
    pub tokens: Vec<String>,
    /// Where each token begins and ends in the text, counted in characters; the end is the first character after it.
    pub offsets: Vec<(usize, usize)>,
}

/// Rows of ids of one length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PaddedBatch {
    /// `[rows][width]`, with the padding token where a text is shorter.
    pub input_ids: Vec<Vec<u32>>,
    /// As `input_ids`: 1 at tokens, 0 at padding.
    pub attention_mask: Vec<Vec<u32>>,
}

/// Which special token plays which role.
#[derive(Debug, Clone, Default)]
struct Roles {
    pad: Option<String>,
    bos: Option<String>,
    eos: Option<String>,
}

impl Tokenizer {
    /// Trains a byte-level BPE on `texts`: every string can be encoded, and decodes to itself.
    ///
    /// `vocab_size` counts the special tokens, which get the first ids in their order, and the 256 bytes. The
    /// vocabulary is smaller where the texts do not have that many pairs.
    ///
    /// # Errors
    /// A vocabulary without room for the bytes and special tokens.
    pub fn train_bpe<I, S>(texts: I, vocab_size: usize, special: &[&str]) -> Result<Self, TokenizerError>
    where
        I: IntoIterator<Item = S>,
        I::IntoIter: Send,
        S: AsRef<str> + Send,
    {
        let least = 256 + special.len();
        if vocab_size < least {
            return Err(TokenizerError::VocabularyTooSmall { given: vocab_size, least, special: special.len() });
        }
        let failed = |error: tokenizers::Error| TokenizerError::Training(error.to_string());
        let words = Split::new(SplitPattern::Regex(WORDS.to_owned()), SplitDelimiterBehavior::Isolated, false)
            .map_err(failed)?;
        let bytes = ByteLevel::new(false, false, false);
        let tokens: Vec<AddedToken> = special.iter().map(|token| AddedToken::from(*token, true)).collect();
        let mut trainer = BpeTrainer::builder()
            .vocab_size(vocab_size)
            .show_progress(false)
            .special_tokens(tokens.clone())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut inner =
            TokenizerImpl::<BPE, tokenizers::NormalizerWrapper, Sequence, ByteLevel, ByteLevel>::new(BPE::default());
        inner.with_pre_tokenizer(Some(Sequence::new(vec![words.into(), bytes.into()])));
        inner.with_decoder(Some(bytes));
        inner.train(&mut trainer, texts.into_iter()).map_err(failed)?;
        inner.add_special_tokens(&tokens);
        // Through the file format, so that a trained tokenizer and a loaded one are the same thing.
        let json = inner.to_string(false).map_err(failed)?;
        Self::from_bytes(json.as_bytes(), Path::new("(trained tokenizer)"))
    }

    /// Loads a `tokenizer.json`; a `tokenizer_config.json` beside it (and what that leaves out, a `special_tokens_map.json`) names
    /// the padding, start and end tokens.
    ///
    /// # Errors
    /// A file that is missing or no tokenizer, named.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        let path = path.as_ref();
        let folder = path.parent().unwrap_or(Path::new(""));
        if !path.exists() && folder.is_dir() {
            return Err(TokenizerError::Missing { path: path.to_owned(), help: without_tokenizer(folder) });
        }
        let read =
            |path: &Path| std::fs::read(path).map_err(|source| TokenizerError::Io { path: path.to_owned(), source });
        let mut tokenizer = Self::from_bytes(&read(path)?, path)?;
        let json = |name: &str| {
            let file = path.with_file_name(name);
            let bytes = if file.is_file() { Some(read(&file)?) } else { None };
            let value = bytes.map(|bytes| serde_json::from_slice::<Value>(&bytes)).transpose();
            value.map_err(|error| TokenizerError::Config { path: file, reason: error.to_string() })
        };
        let wrong = |name: &str, key: &str, found: String| {
            let reason = format!("`{key}`: expected a token, as a text or as {{\"content\": ...}}, found {found}");
            TokenizerError::Config { path: path.with_file_name(name), reason }
        };
        let (config, map) = (json("tokenizer_config.json")?, json("special_tokens_map.json")?);
        if config.is_none() && map.is_none() {
            return Ok(tokenizer);
        }
        for (key, role) in [
            ("pad_token", &mut tokenizer.roles.pad),
            ("bos_token", &mut tokenizer.roles.bos),
            ("eos_token", &mut tokenizer.roles.eos),
        ] {
            // Absent (or null) in the newer file, a role may be in the older one.
            *role = match special_token(config.as_ref(), key)
                .map_err(|found| wrong("tokenizer_config.json", key, found))?
            {
                Some(token) => Some(token),
                None => {
                    special_token(map.as_ref(), key).map_err(|found| wrong("special_tokens_map.json", key, found))?
                }
            };
        }
        match config.as_ref().and_then(|config| config.get("padding_side")) {
            None | Some(Value::Null) => {}
            Some(Value::String(side)) if side == "left" => tokenizer.padding_side = PaddingSide::Left,
            Some(Value::String(side)) if side == "right" => {}
            Some(other) => {
                let reason = format!("`padding_side`: expected \"left\" or \"right\", found {other}");
                return Err(TokenizerError::Config { path: path.with_file_name("tokenizer_config.json"), reason });
            }
        }
        Ok(tokenizer)
    }

    /// Reads the contents of a `tokenizer.json`; `path` is named in errors.
    ///
    /// `<pad>`, `<bos>` and `<eos>`, where they are in the vocabulary, play those roles.
    ///
    /// # Errors
    /// Contents that are no tokenizer.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, TokenizerError> {
        let invalid = |reason: String| TokenizerError::Invalid { path: path.to_owned(), reason };
        let translated = patterns::translated(bytes);
        let bytes = translated.as_deref().unwrap_or(bytes);
        // The library answers some damaged files with a panic; it keeps no state that could be left half changed.
        let inner = guarded(|| tokenizers::Tokenizer::from_bytes(bytes))
            .map_err(|_| invalid("the tokenizers library cannot make sense of it".to_owned()))?
            .map_err(|error| invalid(error.to_string()))?;
        let added = inner.get_added_tokens_decoder();
        let special =
            added.into_iter().filter(|(_, token)| token.special).map(|(id, token)| (id, token.content)).collect();
        let known = |token: &str| inner.token_to_id(token).map(|_| token.to_owned());
        let roles = Roles { pad: known("<pad>"), bos: known("<bos>"), eos: known("<eos>") };
        Ok(Self { inner, special, roles, padding_side: PaddingSide::default() })
    }

    /// The contents of `tokenizer.json`.
    ///
    /// # Errors
    /// Only if the library cannot serialise the tokenizer.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        self.inner.to_string(false).map_err(|error| TokenizerError::Training(error.to_string()))
    }

    /// Writes `tokenizer.json`, whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written, named.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), TokenizerError> {
        Ok(write_atomic(path.as_ref(), self.to_json()?.as_bytes())?)
    }

    /// The ids of a text. No special token is added; those that stand in the text are recognised.
    ///
    /// # Errors
    /// A text that the model has no tokens for (byte-level models have them for every text).
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.ids(text, false)
    }

    /// The ids of a text with the tokens that the tokenizer's post-processor adds (`<bos>`, where there is one).
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_special_tokens(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.ids(text, true)
    }

    fn ids(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        let encoding = called(text, || self.inner.encode_fast(text, add_special_tokens))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text with their tokens and places in it; slower than [`Tokenizer::encode`].
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_offsets(&self, text: &str, add_special_tokens: bool) -> Result<Encoding, TokenizerError> {
        let encoding = called(text, || self.inner.encode_char_offsets(text, add_special_tokens))?;
        Ok(Encoding {
            ids: encoding.get_ids().to_vec(),
            tokens: encoding.get_tokens().to_vec(),
            offsets: encoding.get_offsets().to_vec(),
        })
    }

    /// Texts as rows of one length, with the tokens of the post-processor, padded on the configured side.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`]; texts of different lengths where there is no padding token.
    pub fn encode_batch(&self, texts: &[&str]) -> Result<PaddedBatch, TokenizerError> {
        let rows = texts.iter().map(|text| self.ids(text, true)).collect::<Result<Vec<_>, _>>()?;
        self.pad(&rows, self.padding_side)
    }

    /// Rows of ids padded to the longest.
    ///
    /// # Errors
    /// Rows of different lengths where there is no padding token.
    pub fn pad(&self, rows: &[Vec<u32>], side: PaddingSide) -> Result<PaddedBatch, TokenizerError> {
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut batch = PaddedBatch::default();
        for row in rows {
            let missing = width - row.len();
            let pad = if missing > 0 { self.pad_id().ok_or(TokenizerError::NoPadding)? } else { 0 };
            let (padding, zeros, ones) = (vec![pad; missing], vec![0; missing], vec![1; row.len()]);
            let (ids, mask) = match side {
                PaddingSide::Left => ([padding.as_slice(), row].concat(), [zeros, ones].concat()),
                PaddingSide::Right => ([row, padding.as_slice()].concat(), [ones, zeros].concat()),
            };
            batch.input_ids.push(ids);
            batch.attention_mask.push(mask);
        }
        Ok(batch)
    }

    /// The side on which batches are padded: `padding_side` of `tokenizer_config.json`, right where it is not said.
    pub fn padding_side(&self) -> PaddingSide {
        self.padding_side
    }

    /// The text of some ids, without the special tokens if `skip_special_tokens`.
    ///
    /// # Errors
    /// Only if the library's decoder fails; unknown ids are left out.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, TokenizerError> {
        let first = || format!("{:?}", &ids[..ids.len().min(20)]);
        let failed = |reason: String| TokenizerError::Encoding { text: first(), reason };
        guarded(|| self.inner.decode(ids, skip_special_tokens))
            .map_err(failed)?
            .map_err(|error| failed(error.to_string()))
    }

    /// Number of ids, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id of a token by its text, `"<image>"`.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// True for the ids of special tokens.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains_key(&id)
    }

    /// The special tokens by id.
    pub fn special_tokens(&self) -> &BTreeMap<u32, String> {
        &self.special
    }

    /// The start token's text; empty where there is none.
    pub fn bos_token(&self) -> &str {
        self.roles.bos.as_deref().unwrap_or_default()
    }

    /// The end token's text; empty where there is none.
    pub fn eos_token(&self) -> &str {
        self.roles.eos.as_deref().unwrap_or_default()
    }

    /// The id to pad with.
    pub fn pad_id(&self) -> Option<u32> {
        self.roles.pad.as_deref().and_then(|token| self.token_id(token))
    }

    /// The id of the start token.
    pub fn bos_id(&self) -> Option<u32> {
        self.roles.bos.as_deref().and_then(|token| self.token_id(token))
    }

    /// The id of the end token.
    pub fn eos_id(&self) -> Option<u32> {
        self.roles.eos.as_deref().and_then(|token| self.token_id(token))
    }

    /// The same tokenizer with one more special token, at the next free id; as it is if it has the token already.
    ///
    /// # Errors
    /// Only if the library refuses the token.
    pub fn with_special_token(mut self, token: &str) -> Result<Self, TokenizerError> {
        if self.token_id(token).is_some() {
            return Ok(self);
        }
        self.inner.add_special_tokens(&[AddedToken::from(token, true)]);
        let id = self.token_id(token);
        let id = id.ok_or_else(|| TokenizerError::Training(format!("the token {token:?} could not be added")))?;
        self.special.insert(id, token.to_owned());
        Ok(self)
    }

    /// Checks that every token has a row in a table of embeddings of `rows` rows, but for `image`: what stands for a visual token is
    /// never looked up. `path` is named in the error.
    ///
    /// # Errors
    /// [`TokenizerError::BeyondTable`] for the first token without a row.
    pub fn check_rows(&self, rows: usize, image: Option<u32>, path: &Path) -> Result<(), TokenizerError> {
        let beyond = |id: u32| id as usize >= rows && Some(id) != image;
        // Few tokenizers have ids beyond the number of their tokens; these need no look at each of them.
        let added = self.inner.get_added_tokens_decoder();
        let all = self.vocab_size();
        if all <= rows && !added.keys().any(|id| beyond(*id)) {
            return Ok(());
        }
        let vocabulary = self.inner.get_vocab(true);
        let first = vocabulary.into_iter().filter(|(_, id)| beyond(*id)).min_by_key(|(_, id)| *id);
        let Some((token, id)) = first else { return Ok(()) };
        Err(TokenizerError::BeyondTable { path: path.to_owned(), token, id, rows })
    }

    /// The id of `<image>`.
    pub fn image_id(&self) -> Option<u32> {
        self.token_id(crate::conversation::IMAGE_PLACEHOLDER)
    }
}

/// A special token of a file, written as a text or as an object with `content`; a wrong value comes back as it is written.
pub(crate) fn special_token(file: Option<&Value>, key: &str) -> Result<Option<String>, String> {
    match file.and_then(|file| file.get(key)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(token)) => Ok(Some(token.clone())),
        Some(value) => match value.get("content").and_then(Value::as_str) {
            Some(token) => Ok(Some(token.to_owned())),
            None => Err(value.to_string().chars().take(60).collect()),
        },
    }
}

/// Calls the library with a text. A tokenizer from outside may bring it to a panic, which is an error of the text.
fn called<T>(text: &str, call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, TokenizerError> {
    let failed = |reason: String| TokenizerError::Encoding { text: text.chars().take(60).collect(), reason };
    guarded(call).map_err(failed)?.map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emoji::{EmojiCorpus, Split};
    use crate::language::TINY_5;
    use crate::random::hash_bytes;

    /// A stand-in for a library that fails in a way nobody foresaw.
    #[test]
    fn a_library_that_panics_is_an_error_of_the_text() {
        let error =
            called("some words", || -> tokenizers::Result<()> { panic!("told to fail") }).unwrap_err().to_string();
        assert!(error.contains("some words") && error.contains("told to fail"), "{error}");
    }

    fn training_texts() -> Vec<String> {
        let corpus = EmojiCorpus::embedded().unwrap();
        let mut texts = Vec::new();
        for concept in corpus.split(Split::Train) {
            for language in TINY_5.languages {
                let text = corpus.text(concept.id, *language).unwrap();
                texts.push(text.name.clone());
                texts.extend(text.keywords.iter().cloned());
            }
        }
        texts
    }

    #[test]
    fn training_is_deterministic_and_lossless() {
        let texts = training_texts();
        let train = || Tokenizer::train_bpe(texts.iter(), 4096, &TINY_SPECIAL_TOKENS).unwrap();
        let first = train();
        assert_eq!(first.to_json().unwrap(), train().to_json().unwrap());
        // Pins the bytes across processes too: hash maps are seeded anew in each.
        assert_eq!(hash_bytes(first.to_json().unwrap().as_bytes()), 0xd362_e7f6_c522_b5d9);
        assert_eq!(first.vocab_size(), 4096);
        for (id, token) in TINY_SPECIAL_TOKENS.iter().enumerate() {
            assert_eq!(first.token_id(token), Some(id as u32));
            assert!(first.is_special(id as u32));
        }
        assert_eq!(
            (first.pad_id(), first.bos_id(), first.eos_id(), first.image_id()),
            (Some(0), Some(1), Some(2), Some(3))
        );
        for text in ["red apple", "  двойные  пробелы\n", "这是什么？", "हिन्दी में", "emoji 😀 \u{0}\u{7f}"]
        {
            let ids = first.encode(text).unwrap();
            assert_eq!(first.decode(&ids, false).unwrap(), text);
        }
        let ids = first.encode("<|user|><image>\nWas ist das?<|assistant|>Apfel<|end|>").unwrap();
        assert_eq!((ids[0], ids[1], *ids.last().unwrap()), (4, 3, 6));
        assert_eq!(first.decode(&ids, true).unwrap(), "\nWas ist das?Apfel");
    }

    #[test]
    fn the_bytes_of_tokens_are_those_of_the_text() {
        let tokenizer = Tokenizer::train_bpe(["low lower lowest"], 300, &TINY_SPECIAL_TOKENS).unwrap();
        for text in ["lower  low", "猫 é\u{0}\u{7f}\n\u{ad}", "🐈‍⬛ ¡ÿ"] {
            let ids = tokenizer.encode(text).unwrap();
            let bytes: Vec<Vec<u8>> = ids.iter().map(|id| tokenizer.token_bytes(*id).unwrap()).collect();
            assert_eq!(bytes.concat(), text.as_bytes());
            assert!(bytes.iter().all(|bytes| !bytes.is_empty()));
        }
        // Every byte has its token.
        let bytes: std::collections::BTreeSet<u8> =
            (0..300).filter_map(|id| tokenizer.token_bytes(id)).flatten().collect();
        assert_eq!(bytes.len(), 256);
        assert_eq!(tokenizer.token_bytes(3).unwrap(), b"<image>");
        assert_eq!(tokenizer.token_bytes(4000), None);
        // As SentencePiece writes them: words with their space, bytes by number.
        let json = r#"{"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
            "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}]}, "model": {"type": "BPE", "byte_fallback": true, "merges": [],
            "vocab": {"▁a": 0, "<0xE2>": 1, "<0x0A>": 2, "Ġ": 3}}}"#;
        let tokenizer = Tokenizer::from_bytes(json.as_bytes(), Path::new("tokenizer.json")).unwrap();
        let bytes: Vec<Vec<u8>> = (0..4).filter_map(|id| tokenizer.token_bytes(id)).collect();
        assert_eq!(bytes, [b" a".to_vec(), vec![0xE2], vec![b'\n'], "Ġ".as_bytes().to_vec()]);
    }

    #[test]
    fn saved_and_loaded_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let trained = Tokenizer::train_bpe(["low lower lowest", "new newer"], 300, &TINY_SPECIAL_TOKENS).unwrap();
        trained.save(&path).unwrap();
        let loaded = Tokenizer::from_file(&path).unwrap();
        assert_eq!(loaded.to_json().unwrap(), trained.to_json().unwrap());
        assert_eq!(loaded.encode("lower<eos>").unwrap(), trained.encode("lower<eos>").unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn errors_name_file_and_size() {
        let error = Tokenizer::train_bpe(["a"], 100, &TINY_SPECIAL_TOKENS).unwrap_err().to_string();
        assert!(error.contains("263"), "{error}");
        let error = Tokenizer::from_file("/nowhere/tokenizer.json").unwrap_err().to_string();
        assert!(error.contains("/nowhere/tokenizer.json"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.json");
        std::fs::write(&path, "{\"version\": 1").unwrap();
        let error = Tokenizer::from_file(&path).unwrap_err().to_string();
        assert!(error.contains("broken.json"), "{error}");
    }
}

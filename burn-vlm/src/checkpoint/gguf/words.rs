//! Tokenizer and conversation template of a GGUF file, as the files of a Hugging Face folder.
//!
//! Two kinds of tokenizer are in use. `gpt2` is byte-level BPE with its merges; how a text is cut before it, only a name says
//! (`tokenizer.ggml.pre`), and the patterns are those that the names have in llama.cpp. `llama` is SentencePiece's BPE, whose merges are
//! those pairs of pieces that are a piece, by its score.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::decoder::Keys;
use super::header::Header;

/// Kinds of tokens: what stands for what is unknown, control tokens, tokens that a user defined, and rows that are no token.
const UNKNOWN: f64 = 2.0;
/// See [`UNKNOWN`].
const CONTROL: f64 = 3.0;
/// See [`UNKNOWN`].
const USER_DEFINED: f64 = 4.0;
/// See [`UNKNOWN`].
const UNUSED: f64 = 5.0;
/// See [`UNKNOWN`]: a byte, `<0x0A>`.
const BYTE: f64 = 6.0;

/// GPT-2's words.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Llama 3's.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2's.
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// SentencePiece's space.
const SPACE: &str = "\u{2581}";

/// Files by name.
pub type Files = Vec<(&'static str, String)>;

/// The files about words of a folder.
///
/// # Errors
/// Which key of the metadata is missing or is not what is read.
pub fn files(header: &Header) -> Result<Files, String> {
    let keys = Keys(&header.metadata);
    let vocabulary = Vocabulary::new(&keys)?;
    let tokenizer = vocabulary.tokenizer(&keys)?;
    let named = |name: &str| -> Result<Option<&String>, String> {
        Ok(vocabulary.id(&keys, name)?.map(|id| &vocabulary.tokens[id]))
    };
    let mut settings = json!({ "tokenizer_class": "PreTrainedTokenizerFast" });
    for (key, name) in [("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")]
    {
        if let Some(token) = named(name)? {
            settings[key] = json!(token);
        }
    }
    let mut ends = Vec::new();
    for name in ["eos", "eot", "eom"] {
        ends.extend(vocabulary.id(&keys, name)?.filter(|id| !ends.contains(id)));
    }
    let mut generation = json!({});
    for (key, name) in [("bos_token_id", "bos"), ("pad_token_id", "padding")] {
        if let Some(id) = vocabulary.id(&keys, name)? {
            generation[key] = json!(id);
        }
    }
    if !ends.is_empty() {
        generation["eos_token_id"] = json!(ends);
    }
    let mut files = vec![
        ("tokenizer.json", tokenizer.to_string()),
        ("tokenizer_config.json", settings.to_string()),
        ("generation_config.json", generation.to_string()),
    ];
    if let Some(template) = keys.text("tokenizer.chat_template")? {
        files.push(("chat_template.jinja", template.to_owned()));
    }
    Ok(files)
}

struct Vocabulary<'a> {
    tokens: &'a [String],
    kinds: &'a [f64],
}

impl<'a> Vocabulary<'a> {
    fn new(keys: &'a Keys<'a>) -> Result<Self, String> {
        let tokens = keys.texts("tokenizer.ggml.tokens")?.unwrap_or_default();
        if tokens.is_empty() {
            return Err("the metadata lacks `tokenizer.ggml.tokens`: there is no tokenizer in the file".to_owned());
        }
        let kinds = keys.numbers("tokenizer.ggml.token_type")?.unwrap_or_default();
        if !kinds.is_empty() && kinds.len() != tokens.len() {
            let (kinds, tokens) = (kinds.len(), tokens.len());
            return Err(format!("`tokenizer.ggml.token_type` has {kinds} elements, expected {tokens}, one a token"));
        }
        Ok(Self { tokens, kinds })
    }

    fn kind(&self, id: usize) -> f64 {
        self.kinds.get(id).copied().unwrap_or(1.0)
    }

    /// The id that a key names, if it is there.
    fn id(&self, keys: &Keys<'_>, name: &str) -> Result<Option<usize>, String> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let Some(id) = keys.count(&key)? else { return Ok(None) };
        let count = self.tokens.len();
        match usize::try_from(id) {
            Ok(id) if id < count => Ok(Some(id)),
            _ => Err(format!("`{key}` is {id}, expected an id below {count}")),
        }
    }

    fn tokenizer(&self, keys: &Keys<'_>) -> Result<Json, String> {
        let model = keys.text("tokenizer.ggml.model")?.unwrap_or_default();
        let mut tokenizer = match model {
            "gpt2" => self.byte_level(keys)?,
            "llama" => self.sentence_piece(keys)?,
            other => {
                return Err(format!(
                    "`tokenizer.ggml.model` is {other:?}, expected gpt2 (byte-level BPE) or llama (SentencePiece's BPE)"
                ));
            }
        };
        let added = (0..self.tokens.len()).filter(|id| [UNKNOWN, CONTROL, USER_DEFINED].contains(&self.kind(*id)));
        let added = added.map(|id| {
            json!({
                "id": id, "content": self.tokens[id], "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": self.kind(id) != USER_DEFINED,
            })
        });
        tokenizer["added_tokens"] = added.collect();
        let around = |name: &str, by_default: bool| -> Result<Option<usize>, String> {
            let wanted = keys.truth(&format!("tokenizer.ggml.add_{name}_token"))?.unwrap_or(by_default);
            Ok(self.id(keys, name)?.filter(|_| wanted))
        };
        let (before, behind) = (around("bos", model == "llama")?, around("eos", false)?);
        if before.is_some() || behind.is_some() {
            let special = |id: usize, kind: u8| json!({ "SpecialToken": { "id": self.tokens[id], "type_id": kind } });
            let parts = |sequence: &str, kind: u8| -> Vec<Json> {
                let text = json!({ "Sequence": { "id": sequence, "type_id": kind } });
                let before = before.map(|id| special(id, kind));
                before.into_iter().chain([text]).chain(behind.map(|id| special(id, kind))).collect()
            };
            let tokens = before.into_iter().chain(behind).map(|id| {
                let token = &self.tokens[id];
                (token.clone(), json!({ "id": token, "ids": [id], "tokens": [token] }))
            });
            let pair = [parts("A", 0), parts("B", 1)].concat();
            tokenizer["post_processor"] = json!({
                "type": "TemplateProcessing",
                "single": parts("A", 0),
                "pair": pair,
                "special_tokens": tokens.collect::<serde_json::Map<_, _>>(),
            });
        }
        Ok(tokenizer)
    }

    /// Ids by token; a row that is no token has none.
    fn ids(&self) -> Result<HashMap<&'a str, usize>, String> {
        let mut ids = HashMap::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate().filter(|(id, _)| self.kind(*id) != UNUSED) {
            if let Some(other) = ids.insert(token.as_str(), id) {
                return Err(format!("the tokens {other} and {id} are both {token:?}"));
            }
        }
        Ok(ids)
    }

    fn byte_level(&self, keys: &Keys<'_>) -> Result<Json, String> {
        let merges = keys.texts("tokenizer.ggml.merges")?;
        let Some(merges) = merges else { return Err("the metadata lacks `tokenizer.ggml.merges`".to_owned()) };
        let ids = self.ids()?;
        let mut pairs = Vec::with_capacity(merges.len());
        for (at, merge) in merges.iter().enumerate() {
            // A space in a token is another character.
            let pair = merge.split_once(' ').filter(|(left, right)| ids.contains_key(left) && ids.contains_key(right));
            let Some((left, right)) = pair.filter(|(left, right)| ids.contains_key(format!("{left}{right}").as_str()))
            else {
                return Err(format!(
                    "element {at} of `tokenizer.ggml.merges` is {merge:?}, expected two tokens that make a third"
                ));
            };
            pairs.push(json!([left, right]));
        }
        let name = keys.text("tokenizer.ggml.pre")?.unwrap_or("default");
        let split = |pattern: &str| json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
        let digits = json!({ "type": "Digits", "individual_digits": true });
        let (first, normalizer, whole_words) = match name {
            "gpt-2" | "gpt2" => (vec![split(GPT2)], Json::Null, false),
            "smollm" | "starcoder" | "refact" | "codeshell" => (vec![digits, split(GPT2)], Json::Null, false),
            "llama3" | "llama-v3" | "llama-bpe" => (vec![split(LLAMA3)], Json::Null, true),
            "qwen2" | "deepseek-r1-qwen" => (vec![split(QWEN2)], json!({ "type": "NFC" }), false),
            other => {
                return Err(format!(
                    "`tokenizer.ggml.pre` is {other:?}: how a text is cut is known for gpt-2, smollm, starcoder, llama-bpe and qwen2"
                ));
            }
        };
        let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
        let cuts = [first, vec![bytes.clone()]].concat();
        Ok(json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": normalizer,
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": cuts },
            "post_processor": null, "decoder": bytes,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": whole_words,
                "vocab": ids, "merges": pairs,
            },
        }))
    }

    fn sentence_piece(&self, keys: &Keys<'_>) -> Result<Json, String> {
        let scores = keys.numbers("tokenizer.ggml.scores")?.unwrap_or_default();
        if scores.len() != self.tokens.len() {
            let (scores, tokens) = (scores.len(), self.tokens.len());
            return Err(format!("`tokenizer.ggml.scores` has {scores} elements, expected {tokens}, one a token"));
        }
        let ids = self.ids()?;
        // As transformers' conversion orders them: by the score of what they make, then by their lengths, then by their own scores.
        let mut merges: Vec<(&str, &str, f64, [usize; 2])> = Vec::new();
        for (id, token) in self.tokens.iter().enumerate() {
            if [UNKNOWN, CONTROL, UNUSED, BYTE].contains(&self.kind(id)) {
                continue;
            }
            let first = merges.len();
            for (at, _) in token.char_indices().skip(1) {
                let (left, right) = token.split_at(at);
                if ids.contains_key(left) && ids.contains_key(right) {
                    merges.push((left, right, scores[id], [left.chars().count(), right.chars().count()]));
                }
            }
            merges[first..].sort_by_key(|(left, right, ..)| (ids[left], ids[right]));
        }
        merges.sort_by(|a, b| b.2.total_cmp(&a.2).then(b.3.cmp(&a.3)));
        let merges: Vec<[&str; 2]> = merges.into_iter().map(|(left, right, ..)| [left, right]).collect();
        let unknown = match self.id(keys, "unknown")? {
            Some(id) => Some(&self.tokens[id]),
            None => (0..self.tokens.len()).find(|id| self.kind(*id) == UNKNOWN).map(|id| &self.tokens[id]),
        };
        let prefix = keys.truth("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        let spaces = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
        let normalizer = match prefix {
            true => json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": SPACE }, spaces] }),
            false => spaces,
        };
        let mut decoders = vec![
            json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
            json!({ "type": "ByteFallback" }),
            json!({ "type": "Fuse" }),
        ];
        if prefix {
            decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        }
        Ok(json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": normalizer, "pre_tokenizer": null,
            "post_processor": null, "decoder": { "type": "Sequence", "decoders": decoders },
            "model": {
                "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                "vocab": ids, "merges": merges,
            },
        }))
    }
}

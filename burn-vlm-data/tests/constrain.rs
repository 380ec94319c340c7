//! Random answers of many schemas: whatever is chosen among the tokens that may come, the answer is JSON that the schema allows.
//!
//! The rule that they are checked by is another one than that by which they are written: a schema is interpreted on the finished value.

use std::sync::Arc;

use burn_vlm_base::random::Stream;
use burn_vlm_data::constrain::{Form, Schema, SchemaError, TokenTable, TokenTableError};
use burn_vlm_data::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};
use serde_json::{Value, json};

/// Tokens of an answer that is left to random choices.
const TOKENS: usize = 3000;

fn tokenizer() -> Tokenizer {
    let texts = [
        r#"{"name": "red apple", "count": 12, "tags": ["a", "b"], "ok": true, "other": null, "x": -1.5e3}"#,
        "what is this? a red apple. Äpfel, 猫\n",
    ];
    Tokenizer::train_bpe(texts, 400, &TINY_SPECIAL_TOKENS).unwrap()
}

fn schema(text: &str) -> Result<Schema, SchemaError> {
    Schema::new(&serde_json::from_str(text).unwrap())
}

/// Whether a value is one of the schema's, by its words.
fn allows(whole: &Value, schema: &Value, value: &Value) -> bool {
    let Value::Object(keywords) = schema else { return schema == &json!(true) };
    let number = |name: &str| keywords.get(name).and_then(Value::as_f64);
    let of = |other: &Value| allows(whole, other, value);
    keywords.iter().all(|(name, said)| match name.as_str() {
        "$ref" => of(whole.pointer(said.as_str().unwrap().trim_start_matches('#')).unwrap()),
        "anyOf" => said.as_array().unwrap().iter().any(of),
        "allOf" => said.as_array().unwrap().iter().all(of),
        "oneOf" => said.as_array().unwrap().iter().filter(|one| of(one)).count() == 1,
        "const" => value == said,
        "enum" => said.as_array().unwrap().contains(value),
        "type" => {
            let is = |kind: &Value| match (kind.as_str().unwrap(), value) {
                ("null", Value::Null) | ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) => true,
                ("string", Value::String(_)) | ("array", Value::Array(_)) | ("object", Value::Object(_)) => true,
                ("integer", Value::Number(number)) => number.is_i64() || number.is_u64(),
                _ => false,
            };
            said.as_array().map_or_else(|| is(said), |kinds| kinds.iter().any(is))
        }
        "minimum" => value.as_f64().is_none_or(|value| value >= number(name).unwrap()),
        "maximum" => value.as_f64().is_none_or(|value| value <= number(name).unwrap()),
        "exclusiveMinimum" => value.as_f64().is_none_or(|value| value > number(name).unwrap()),
        "exclusiveMaximum" => value.as_f64().is_none_or(|value| value < number(name).unwrap()),
        "minLength" => value.as_str().is_none_or(|text| text.chars().count() as f64 >= number(name).unwrap()),
        "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as f64 <= number(name).unwrap()),
        "minItems" => value.as_array().is_none_or(|items| items.len() as f64 >= number(name).unwrap()),
        "maxItems" => value.as_array().is_none_or(|items| items.len() as f64 <= number(name).unwrap()),
        "prefixItems" => {
            let first = said.as_array().unwrap();
            value.as_array().is_none_or(|items| first.iter().zip(items).all(|(own, item)| allows(whole, own, item)))
        }
        "items" => {
            let first = keywords.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
            value.as_array().is_none_or(|items| items.iter().skip(first).all(|item| allows(whole, said, item)))
        }
        "required" => {
            let names = said.as_array().unwrap();
            value.as_object().is_none_or(|map| names.iter().all(|name| map.contains_key(name.as_str().unwrap())))
        }
        "properties" => value.as_object().is_none_or(|map| {
            said.as_object()
                .unwrap()
                .iter()
                .all(|(key, own)| map.get(key).is_none_or(|value| allows(whole, own, value)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|map| {
            let named = keywords.get("properties").and_then(Value::as_object);
            let other = |key: &String| named.is_none_or(|named| !named.contains_key(key));
            map.iter().filter(|(key, _)| other(key)).all(|(_, value)| allows(whole, said, value))
        }),
        "$defs" | "title" => true,
        other => panic!("{other}"),
    })
}

/// An answer of random choices; `None` if it has not ended.
fn written(form: &Arc<Form>, tokenizer: &Tokenizer, end: u32, seed: u64) -> Option<String> {
    let mut random = Stream::new(seed);
    let mut writing = form.begin();
    let mut ids = Vec::new();
    let vocabulary = tokenizer.vocab_size() as u32;
    // What ends something is taken more often than not, so that random answers have an end.
    let closing: Vec<u32> = "\"}]".chars().map(|char| tokenizer.encode(&char.to_string()).unwrap()[0]).collect();
    for _ in 0..TOKENS {
        let mut logits: Vec<f32> = (0..vocabulary).map(|_| random.uniform(0.0, 1.0)).collect();
        closing.iter().for_each(|id| logits[*id as usize] += 0.9 * random.uniform(0.0, 1.2));
        writing.mask(&mut logits);
        let (best, logit) = (0..).zip(&logits).max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap();
        let so_far = || tokenizer.decode(&ids, true).unwrap();
        assert!(logit.is_finite(), "stuck behind {:?}", so_far());
        assert!(!tokenizer.is_special(best) || best == end, "a special token behind {:?}", so_far());
        if best == end {
            return Some(so_far());
        }
        ids.push(best);
        if writing.take(best) {
            return Some(tokenizer.decode(&ids, true).unwrap());
        }
    }
    None
}

/// Schemas of all that is kept to.
const SCHEMAS: [&str; 22] = [
    r#"{"type": "object"}"#,
    "true",
    r#"{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"],
        "additionalProperties": false}"#,
    r#"{"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "boolean"}, "c": {"type": "number"}}, "required": ["b"]}"#,
    r#"{"type": "object", "additionalProperties": {"type": "integer", "minimum": -5, "exclusiveMaximum": 120}}"#,
    r#"{"type": "object", "properties": {"ab": {"type": "integer"}}, "additionalProperties": {"type": "boolean"}}"#,
    r#"{"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 2, "maxItems": 4}"#,
    r#"{"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string", "minLength": 2, "maxLength": 2}]}"#,
    r#"{"type": "array", "prefixItems": [{"enum": ["x", "y"]}], "items": {"type": "boolean"}, "minItems": 2}"#,
    r#"{"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}], "items": false, "minItems": 2}"#,
    r#"{"type": ["string", "null", "integer"], "maxLength": 5, "minimum": 10}"#,
    r#"{"enum": ["red", "green", "greenish", 1, 12, 1.5, null, true, {"a": [1, "é"]}, [], "\"quoted\\\n"]}"#,
    r#"{"enum": ["red", 3, 4.5], "type": ["string", "integer"]}"#,
    r#"{"const": {"k": "v"}}"#,
    r#"{"type": "integer", "minimum": 7, "maximum": 7}"#,
    r#"{"type": "number", "minimum": 0, "maximum": 1}"#,
    r#"{"type": "number", "exclusiveMinimum": -0.25, "exclusiveMaximum": 0.5}"#,
    r#"{"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, {"type": "array", "items": {"type": "number"}},
        {"type": "string", "minLength": 3}]}"#,
    r##"{"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"value": {"type": "integer"}, "parts": {"type": "array",
        "items": {"$ref": "#/$defs/tree"}}}, "required": ["value", "parts"], "additionalProperties": false}}}"##,
    r##"{"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]}"##,
    r#"{"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind", "x"]},
        {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]}, {"type": "string"}]}"#,
    r#"{"allOf": [{"type": "string", "minLength": 1, "maxLength": 1}], "title": "a character"}"#,
];

#[test]
fn answers_are_what_their_schema_allows() {
    let tokenizer = tokenizer();
    let end = tokenizer.eos_id().unwrap();
    let table = Arc::new(TokenTable::new(&tokenizer, &[end]).unwrap());
    for text in SCHEMAS {
        let by_words: Value = serde_json::from_str(text).unwrap();
        let form = Form::new(schema(text).unwrap(), table.clone());
        let (mut ended, mut different) = (0, std::collections::BTreeSet::new());
        for seed in 0..40 {
            let Some(answer) = written(&form, &tokenizer, end, seed) else { continue };
            ended += 1;
            let value: Value =
                serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{text}: {error}: {answer:?}"));
            assert!(allows(&by_words, &by_words, &value), "{text}: {answer}");
            different.insert(value.to_string());
        }
        assert!(ended >= 20, "{text}: only {ended} of 40 have an end");
        let single = text.contains("const\": {\"k") || text.contains("\"maximum\": 7");
        assert_eq!(different.len() > 1, !single, "{text}: {different:?}");
    }
}

/// A vocabulary of bytes alone, and its table.
struct Bytes {
    table: Arc<TokenTable>,
    ids: Vec<u32>,
    end: u32,
}

impl Bytes {
    fn new() -> Self {
        let tokenizer = Tokenizer::train_bpe([""], 256 + TINY_SPECIAL_TOKENS.len(), &TINY_SPECIAL_TOKENS).unwrap();
        let end = tokenizer.eos_id().unwrap();
        let mut ids = vec![u32::MAX; 256];
        for (id, bytes) in tokenizer.text_tokens() {
            ids[usize::from(bytes[0])] = id;
        }
        Self { table: TokenTable::new(&tokenizer, &[end]).unwrap().into(), ids, end }
    }

    /// Whether a text may be written, and is whole at its end.
    fn takes(&self, schema: Schema, text: &str) -> (bool, bool) {
        let mut writing = Form::new(schema, self.table.clone()).begin();
        for byte in text.bytes() {
            let id = self.ids[usize::from(byte)];
            if !writing.allows(id) {
                return (false, false);
            }
            writing.take(id);
        }
        (true, writing.allows(self.end))
    }
}

#[test]
fn texts_are_followed_to_their_end() {
    let bytes = Bytes::new();
    for (text, good, bad) in [
        (
            r#"{"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "integer"}}}, "required": ["b"]}"#,
            vec![r#"{"a": "x", "b": [1, 2,3]}"#, r#"{"b":[]}"#, r#" {"a":"\u00e9\n\"猫😀","b":[-1]}"#],
            vec![
                r#"{"b": [], "a": "x"}"#,
                r#"{"a": "x"}"#,
                r#"{"b": [1.5]}"#,
                r#"{"b":[],"c":1}"#,
                r#"{  "b": []}"#,
                r#"{"b": [,1]}"#,
            ],
        ),
        (
            r#"{"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": {"type": "integer"}}"#,
            vec![r#"{"a": null, "b": 1}"#, r#"{"ab": 1, "b": 2}"#, "{}"],
            vec![
                r#"{"b": 1, "a": null}"#,
                r#"{"b": 1, "a": 2}"#,
                r#"{"b": 1, "b": 2}"#,
                r#"{"a": 1}"#,
                r#"{"\u0061": 1}"#,
                r#"{"a": null,}"#,
            ],
        ),
        (
            r#"{"type": "string", "minLength": 2, "maxLength": 3}"#,
            vec!["\"ab\"", "\"äöü\"", "\"\\n\\u00e9\"", "\"猫😀x\""],
            vec!["\"a\"", "\"abcd\"", "\"a\nb\"", "\"\\ud83d\\ude00\""],
        ),
        (
            r#"{"enum": [1, 12, "a", "ab", null]}"#,
            vec!["1", "12", "\"a\"", "\"ab\"", "null", " 1"],
            vec!["2", "121", "nul", "\"abc\"", "\"b\"", "  1"],
        ),
        (
            r#"{"anyOf": [{"type": "integer"}, {"type": "number", "minimum": 0.5}]}"#,
            vec!["3", "-3", "0.75"],
            vec!["-0.75", "1e3", "-"],
        ),
    ] {
        let schema = schema(text).unwrap();
        for text in good {
            assert_eq!(bytes.takes(schema.clone(), text), (true, true), "{text}");
        }
        for text in bad {
            assert!(!bytes.takes(schema.clone(), text).1, "{text}");
        }
    }
    // Nested as deep as may be, and no deeper.
    let any = Schema::object();
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(bytes.takes(any.clone(), &nested(63)), (true, true));
    assert!(!bytes.takes(any, &nested(64)).0);
}

#[test]
fn what_is_not_kept_to_is_an_error_with_its_place() {
    let many = format!(
        r#"{{"type": "array", "minItems": 1, "items": {}{{"type": "null"}}{}}}"#,
        r#"{"type": "array", "minItems": 1, "items": "#.repeat(99),
        "}".repeat(99)
    );
    let chain: Vec<String> = (0..300).map(|at| format!(r##""d{at}": {{"$ref": "#/$defs/d{}"}}"##, at + 1)).collect();
    let chain = format!(r##"{{"$ref": "#/$defs/d0", "$defs": {{{}, "d300": {{"type": "null"}}}}}}"##, chain.join(", "));
    for (text, path, words) in [
        ("3", "", "expected a schema, found a number"),
        ("false", "", "no value"),
        (r#"{"type": "text"}"#, "type", "unknown type \"text\""),
        (r#"{"type": "strin"}"#, "type", "did you mean `string`?"),
        (r#"{"type": 3}"#, "type", "a number"),
        (r#"{"typ": "string"}"#, "typ", "did you mean `type`?"),
        (r#"{"type": "string", "pattern": "a+"}"#, "pattern", "not supported"),
        (
            r#"{"type": "object", "properties": {"a": {"type": "string", "format": "date"}}}"#,
            "properties.a.format",
            "not supported",
        ),
        (r#"{"type": "object", "properties": [1]}"#, "properties", "a list"),
        (r#"{"type": "object", "properties": {"a": 1}}"#, "properties.a", "a number"),
        (r#"{"properties": {"a": true}}"#, "properties", "needs `\"type\": \"object\"`"),
        (r#"{"type": "string", "maxItems": 3}"#, "maxItems", "says nothing about values of the type string"),
        (r#"{"type": "object", "required": ["a"], "additionalProperties": false}"#, "required", "\"a\""),
        (r#"{"type": "integer", "minimum": 1.2, "maximum": 1.8}"#, "", "no number"),
        (r#"{"type": "number", "minimum": "1"}"#, "minimum", "a text"),
        (r#"{"type": "number", "minimum": 0.0000000000001}"#, "minimum", "twelve digits"),
        (r#"{"type": "string", "minLength": 3, "maxLength": 2}"#, "minLength", "3 is more"),
        (r#"{"type": "string", "minLength": -1}"#, "minLength", "whole number"),
        (r#"{"type": "array", "prefixItems": [true], "minItems": 2}"#, "minItems", "2 items"),
        (r#"{"enum": []}"#, "enum", "no value"),
        (r#"{"enum": [1], "type": "string"}"#, "enum", "no value of the types"),
        (r#"{"enum": ["a"], "maxLength": 3}"#, "maxLength", "beside `enum`"),
        (r#"{"anyOf": [{"type": "null"}], "type": "null"}"#, "type", "beside `anyOf`"),
        (r#"{"allOf": [true, true]}"#, "allOf", "not supported"),
        (r#"{"anyOf": [{"type": "null"}, {"type": "x"}]}"#, "anyOf[1].type", "unknown type"),
        (r#"{"oneOf": [{"type": "integer"}, {"type": "number"}]}"#, "oneOf", "both 0 and 1"),
        (r##"{"$ref": "#/$defs/a"}"##, "$ref", "nothing at"),
        (r##"{"$ref": "#"}"##, "", "no end"),
        (r##"{"anyOf": [{"$ref": "#"}, {"type": "null"}]}"##, "", "leads to itself"),
        (r##"{"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}"##, "", "no end"),
        (r#"{"$ref": "https://example.org/a.json"}"#, "$ref", "outside"),
        (r#"{"type": "null", "type": "null"}"#, "type", "stands twice"),
        (&chain, "$defs", "schemas in each other"),
        (&many, "", "deeper than 64"),
    ] {
        let error = schema(text).map(drop).unwrap_err();
        assert!(error.path == path || path == "$defs" && error.path.starts_with(path), "{text}: {error}");
        assert!(error.reason.contains(words), "{text}: {error}");
    }
}

#[test]
fn tokenizers_whose_tokens_are_no_bytes_are_refused() {
    let tokenizer = tokenizer();
    let table = TokenTable::new(&tokenizer, &[]).unwrap();
    let form = Form::new(Schema::object(), table.into());
    // Without an end token an answer still ends.
    assert!(written(&form, &tokenizer, u32::MAX, 1).is_some());
    // A vocabulary of words in lower case.
    let words = r#"{"version": "1.0", "added_tokens": [], "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null, "decoder": null, "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2}, "unk_token": "?"}}"#;
    let words = Tokenizer::from_bytes(words.as_bytes(), "words.json".as_ref()).unwrap();
    assert!(matches!(TokenTable::new(&words, &[]), Err(TokenTableError::NotBytes(_))));
}

#[test]
fn what_was_trained_from_sentences_is_followed_too() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    for (name, seeds) in [("tok_gemma", 6), ("tok_qwen", 6)] {
        let tokenizer = Tokenizer::from_file(folder.join(name).join("tokenizer.json")).unwrap();
        let end = tokenizer.eos_id().unwrap();
        let table = Arc::new(TokenTable::new(&tokenizer, &[end]).unwrap());
        let text = r#"{"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "n": {"type": "integer", "maximum": 99,
            "minimum": 0}}, "required": ["name", "n"], "additionalProperties": false}"#;
        let by_words: Value = serde_json::from_str(text).unwrap();
        let form = Form::new(schema(text).unwrap(), table);
        for seed in 0..seeds {
            let answer = written(&form, &tokenizer, end, seed).unwrap();
            let value: Value =
                serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{name}: {error}: {answer:?}"));
            assert!(allows(&by_words, &by_words, &value), "{name}: {answer}");
        }
    }
}

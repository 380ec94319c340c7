//! Answers of a form, `response_format`: whatever a random model would rather say, they are JSON that the schema allows.

use std::fs;
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Served, chat, content, models, request, said, shown, streamed};

/// What the schema below describes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    name: String,
    count: u8,
    kind: Option<Kind>,
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Fruit,
    Animal,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Part {
    Size(f64),
    Whole(bool),
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 2, "maxLength": 9},
            "count": {"type": "integer", "minimum": 0, "maximum": 200},
            "kind": {"enum": ["fruit", "animal", null]},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "maxItems": 3},
        },
        "required": ["name", "count", "kind"],
        "additionalProperties": false,
        "$defs": {"part": {"anyOf": [{"type": "number"}, {"type": "boolean"}]}},
    })
}

fn form(schema: Value) -> Value {
    json!({"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": schema}}})
}

fn with(mut one: Value, other: Value) -> Value {
    one.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    one
}

fn read(text: &str) -> Reading {
    let reading: Reading = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    assert!((2..=9).contains(&reading.name.chars().count()) && reading.count <= 200, "{reading:?}");
    assert!(reading.parts.len() <= 3, "{reading:?}");
    let is_good = |part: &Part| match part {
        Part::Size(size) => size.is_finite(),
        Part::Whole(true | false) => true,
    };
    assert!(reading.parts.iter().all(is_good), "{reading:?}");
    reading
}

#[test]
fn answers_of_a_form_are_what_the_schema_allows() {
    let served = Served::start(&models().vlm(), &["--batch", "4"]);
    let asked = json!([shown(0), said("what is this?")]);
    let mut kinds = 0;
    let mut names = std::collections::BTreeSet::new();
    for seed in 0..12 {
        let more =
            with(form(schema()), json!({"temperature": 1.0, "top_k": 0, "seed": seed, "n": 3, "max_tokens": 200}));
        let mut body = request("tiny", asked.clone(), more);
        let reply = served.answer(&body);
        for choice in reply["choices"].as_array().unwrap() {
            assert_eq!(choice["finish_reason"], "stop", "{choice}");
            let reading = read(choice["message"]["content"].as_str().unwrap());
            kinds += usize::from(matches!(reading.kind, Some(Kind::Fruit | Kind::Animal)));
            names.insert(reading.name);
        }
        if seed < 3 {
            body["stream"] = json!(true);
            let texts: Vec<&str> = reply["choices"]
                .as_array()
                .unwrap()
                .iter()
                .map(|choice| choice["message"]["content"].as_str().unwrap())
                .collect();
            assert_eq!(streamed(&served.ask(&body).events(), 3), texts);
        }
    }
    assert!(kinds > 0 && names.len() > 20, "{kinds} {names:?}");
    // Any object, as deep as this model likes: cut, or JSON.
    for seed in 0..8 {
        let more = json!({"response_format": {"type": "json_object"}, "temperature": 1.0, "top_k": 0, "seed": seed, "max_tokens": 300});
        let reply = served.answer(&request("tiny", json!("what?"), more));
        let text = content(&reply);
        match reply["choices"][0]["finish_reason"].as_str() {
            Some("stop") => assert!(serde_json::from_str::<Value>(text).unwrap().is_object(), "{text}"),
            reason => assert!(reason == Some("length") && text.trim_start().starts_with('{'), "{reason:?} {text}"),
        }
    }
    // Cut by the number of tokens, which is told.
    let long = with(form(json!({"type": "string", "minLength": 100})), json!({"max_tokens": 5}));
    let cut = served.answer(&request("tiny", json!("what?"), long));
    assert_eq!(
        (&cut["choices"][0]["finish_reason"], &cut["usage"]["completion_tokens"]),
        (&json!("length"), &json!(5))
    );
    // Nothing but one answer.
    let one = served.answer(&request("tiny", json!("what?"), form(json!({"const": {"a": [1, "é"]}}))));
    assert_eq!(
        (content(&one).trim_start(), &one["choices"][0]["finish_reason"]),
        ("{\"a\":[1,\"é\"]}", &json!("stop"))
    );
    // A stop text still ends it.
    let stopped = with(form(json!({"const": {"a": [1, "é"]}})), json!({"stop": ":"}));
    assert_eq!(content(&served.answer(&request("tiny", json!("what?"), stopped))).trim_start(), "{\"a\"");
}

#[test]
fn a_form_is_one_requests_matter_and_probabilities_are_the_models() {
    let served = Served::start(&models().vlm(), &["--batch", "6"]);
    let free = request("tiny", json!("what is this?"), json!({"logprobs": true, "top_logprobs": 5}));
    let formed = with(free.clone(), with(form(schema()), json!({"max_tokens": 200})));
    let (alone, kept) = (served.answer(&free), served.answer(&formed));
    read(content(&kept));
    let tokens = |reply: &Value| reply["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    // At the first place both are in the same state: the likeliest tokens of the model are told, though the form forbids them.
    let (alone_first, kept_first) = (&tokens(&alone)[0], &tokens(&kept)[0]);
    let ids = |token: &Value| -> Vec<Value> {
        token["top_logprobs"].as_array().unwrap().iter().map(|top| top["bytes"].clone()).collect()
    };
    assert_eq!(ids(alone_first), ids(kept_first));
    assert_ne!(alone_first["bytes"], kept_first["bytes"]);
    let of = |token: &Value| token["logprob"].as_f64().unwrap();
    assert!(of(kept_first) < of(alone_first));
    let bytes: Vec<u8> = tokens(&kept)
        .iter()
        .flat_map(|token| token["bytes"].as_array().unwrap().clone())
        .map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap())
        .collect();
    // A blank that the tokenizer has before the first word is a token's and no part of the form.
    assert_eq!(String::from_utf8(bytes).unwrap().trim_start(), content(&kept), "the tokens are the text");
    // Together with others that have none, or another.
    let other = with(
        free.clone(),
        with(
            form(json!({"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4})),
            json!({"max_tokens": 200}),
        ),
    );
    let bodies = [&free, &formed, &other, &free, &formed, &other];
    let one_by_one: Vec<Value> = bodies.iter().map(|body| served.answer(body)).collect();
    let together: Vec<Value> = std::thread::scope(|scope| {
        let served = &served;
        let asked: Vec<_> = bodies.iter().map(|body| scope.spawn(move || served.answer(body))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (one, other) in one_by_one.iter().zip(&together) {
        assert_eq!(content(one), content(other));
    }
    let numbers: Vec<i64> = serde_json::from_str(content(&one_by_one[2])).unwrap();
    assert_eq!(numbers.len(), 4);
}

#[test]
fn chat_keeps_to_a_form_too() {
    let model = models().vlm();
    let served = Served::start(&model, &[]);
    let file = models().folder.join("schema.json");
    fs::write(&file, schema().to_string()).unwrap();
    let path = file.display().to_string();
    let there = chat(&model, "what is this?", &["--json-schema", &path, "--max-new-tokens", "200"]);
    read(&there);
    assert!(there.starts_with('{'), "{there}");
    // Keys of a JSON value of serde_json are sorted, in the file and in the request.
    let here =
        served.answer(&request("tiny", json!("what is this?"), with(form(schema()), json!({"max_tokens": 200}))));
    assert_eq!(there, content(&here));
    // A program that reads the answer is told that it is none: the beginning of one is printed, and the end is an error.
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
    command.arg("chat").arg("--model").arg(&model).args(["--prompt", "what is this?", "--quiet", "--device", "flex"]);
    let output = command.args(["--json-schema", &path, "--max-new-tokens", "3"]).output().unwrap();
    let (begun, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(there.starts_with(begun.trim_end()) && begun.starts_with('{'), "{begun}");
    assert!(error.contains("was cut before") && error.contains("as --max-new-tokens allows (3)"), "{error}");
}

//! What is sent.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use burn_vlm_data::conversation::Role;
use burn_vlm_data::pipeline::{Message, Part, Question};
use serde_json::{Map, Value, json};

/// What a file begins with, and what it is then.
const KINDS: [(&[u8], &str); 5] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"RIFF", "image/webp"),
];
/// Of a file that begins otherwise.
const OTHER: &str = "application/octet-stream";

/// The body of a request. `n` is not named: it is 1 then.
pub(super) fn body(model: &str, question: &Question) -> Value {
    let settings = &question.settings;
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(model));
    body.insert("messages".to_owned(), question.messages.iter().map(message).collect());
    body.insert("temperature".to_owned(), json!(settings.temperature));
    body.insert("max_tokens".to_owned(), json!(settings.max_tokens));
    if let Some(top_p) = settings.top_p {
        body.insert("top_p".to_owned(), json!(top_p));
    }
    if let Some(seed) = settings.seed {
        body.insert("seed".to_owned(), json!(seed));
    }
    if let Some(schema) = &settings.schema {
        let schema = json!({ "name": schema.name, "strict": true, "schema": schema.schema });
        body.insert("response_format".to_owned(), json!({ "type": "json_schema", "json_schema": schema }));
    }
    for (name, value) in &settings.more {
        match value {
            Value::Null => body.remove(name),
            value => body.insert(name.clone(), value.clone()),
        };
    }
    Value::Object(body)
}

fn message(message: &Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    // What every server takes where there are words alone.
    if let [Part::Text(text)] = message.parts.as_slice() {
        return json!({ "role": role, "content": text });
    }
    let content: Vec<Value> = message.parts.iter().map(part).collect();
    json!({ "role": role, "content": content })
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::Picture(bytes) => {
            let kind = KINDS.iter().find(|(begin, _)| bytes.starts_with(begin)).map_or(OTHER, |(_, kind)| kind);
            let url = format!("data:{kind};base64,{}", BASE64_STANDARD.encode(bytes));
            json!({ "type": "image_url", "image_url": { "url": url } })
        }
    }
}

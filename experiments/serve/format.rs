//! The form of the answers that a request asks for, `response_format`.

use burn_vlm_data::constrain::{Json, Schema};
use serde::Deserialize;

use super::error::ApiError;
use super::request::{Fields, cut};

/// Characters of a schema's name, as in OpenAI's API.
const LONGEST_NAME: usize = 64;

/// The body once more, with the keys of the schema in their order.
#[derive(Deserialize)]
struct Body {
    response_format: Format,
}

#[derive(Deserialize)]
struct Format {
    json_schema: Named,
}

#[derive(Deserialize)]
struct Named {
    schema: Json,
}

/// What answers are kept to; `None` for any text.
///
/// # Errors
/// 400 for a form that is not known, and for a schema that is wrong or not kept to, naming the keyword.
pub(super) fn read(fields: &Fields<'_>, body: &[u8]) -> Result<Option<Schema>, ApiError> {
    let Some(value) = fields.get("response_format") else { return Ok(None) };
    let format = Fields::of("response_format".into(), value)?;
    format.only(&["type", "json_schema"])?;
    let kind = format.text("type")?.ok_or_else(|| format.missing("type"))?;
    if kind != "json_schema" && format.get("json_schema").is_some() {
        let path = format.path("json_schema");
        let message = format!("`{path}` is for the type `json_schema`, not for {}", cut(kind));
        return Err(ApiError::field(path, message));
    }
    match kind {
        "text" => Ok(None),
        "json_object" => Ok(Some(Schema::object())),
        "json_schema" => schema(&format, body).map(Some),
        other => {
            let message = format!("unknown type {}, expected `text`, `json_object` or `json_schema`", cut(other));
            Err(ApiError::field(format.path("type"), message))
        }
    }
}

fn schema(format: &Fields<'_>, body: &[u8]) -> Result<Schema, ApiError> {
    let value = format.get("json_schema").ok_or_else(|| format.missing("json_schema"))?;
    let named = Fields::of(format.path("json_schema"), value)?;
    named.only(&["name", "description", "schema", "strict"])?;
    let name = named.text("name")?.ok_or_else(|| named.missing("name"))?;
    let is_good = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_good) {
        let message = format!("the name {} is not 1 to {LONGEST_NAME} of a-z, A-Z, 0-9, _ and -", cut(name));
        return Err(ApiError::field(named.path("name"), message));
    }
    named.text("description")?;
    // Every schema is kept to, whether that is asked for or not.
    named.flag("strict")?;
    let path = named.path("schema");
    named.get("schema").ok_or_else(|| named.missing("schema"))?;
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| ApiError::field(&path, format!("`{path}` cannot be read: {error}")))?;
    Schema::new(&body.response_format.json_schema.schema).map_err(|error| {
        let param = if error.path.is_empty() { path.clone() } else { format!("{path}.{}", error.path) };
        let message = format!("`{param}`: {}", error.reason);
        ApiError { code: Some("invalid_schema"), ..ApiError::field(param, message) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(format: Value) -> Result<Option<Schema>, ApiError> {
        let body = json!({ "response_format": format });
        let text = body.to_string();
        let Value::Object(map) = &body else { panic!("an object") };
        read(&Fields { at: String::new(), map }, text.as_bytes())
    }

    #[test]
    fn forms_are_read_and_what_is_wrong_is_named() {
        let named = |more: Value| {
            let mut schema =
                json!({"name": "answer", "schema": {"type": "object"}, "strict": true, "description": "what"});
            schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"type": "json_schema", "json_schema": schema})
        };
        assert!(of(json!(null)).unwrap().is_none() && of(json!({"type": "text"})).unwrap().is_none());
        assert!(of(json!({"type": "json_object"})).unwrap().is_some() && of(named(json!({}))).unwrap().is_some());
        for (format, param, words) in [
            (json!("json"), "response_format", "a text"),
            (json!({}), "response_format.type", "missing"),
            (json!({"type": "xml"}), "response_format.type", "\"xml\""),
            (json!({"type": "json_schema"}), "response_format.json_schema", "missing"),
            (json!({"type": "json_object", "json_schema": {}}), "response_format.json_schema", "json_object"),
            (json!({"type": "text", "schema": {}}), "response_format.schema", "unknown"),
            (named(json!({"name": "an answer"})), "response_format.json_schema.name", "an answer"),
            (named(json!({"name": null})), "response_format.json_schema.name", "missing"),
            (named(json!({"schema": null})), "response_format.json_schema.schema", "missing"),
            (named(json!({"strict": 1})), "response_format.json_schema.strict", "a number"),
            (named(json!({"schema": {"type": "x"}})), "response_format.json_schema.schema.type", "unknown type"),
            (
                named(json!({"schema": {"type": "object", "properties": {"a": {"type": "string", "pattern": "b"}}}})),
                "response_format.json_schema.schema.properties.a.pattern",
                "not supported",
            ),
            (named(json!({"schema": 3})), "response_format.json_schema.schema", "a number"),
        ] {
            let error = of(format.clone()).map(drop).unwrap_err();
            assert_eq!((error.status.as_u16(), error.param.as_deref()), (400, Some(param)), "{format}: {error:?}");
            assert!(error.message.contains(words), "{format}: {error:?}");
        }
    }
}

//! Chat templates of Hugging Face folders: where they stand, and the special tokens that they know.

use super::{ChatTemplate, TemplateError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file and the key in which this library writes the token that it puts behind an answer, see
/// [`ChatTemplate::with_answer_end`].
const PROCESSOR: &str = "processor_config.json";
/// Its key in `processor_config.json`.
pub const ANSWER_END: &str = "answer_end";
/// The name of the template that is meant where none is named.
const DEFAULT: &str = "default";

impl ChatTemplate {
    /// The template of a Hugging Face folder with its special tokens: `chat_template.jinja`, else `chat_template.json`, else
    /// the `chat_template` of `tokenizer_config.json`; of several the one called `default`.
    ///
    /// # Errors
    /// A folder without a template, an unreadable file, a syntax error; the file is named.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, TemplateError> {
        Self::from_folder_named(folder, DEFAULT)
    }

    /// As [`ChatTemplate::from_folder`], for the template of a name: `"tool_use"`, `"rag"`, ... (also
    /// `additional_chat_templates/<name>.jinja`).
    ///
    /// # Errors
    /// As [`ChatTemplate::from_folder`]; a name that is not there, with those that are.
    pub fn from_folder_named(folder: impl AsRef<Path>, name: &str) -> Result<Self, TemplateError> {
        let folder = folder.as_ref();
        let (source, path) = find(folder, name)?;
        let mut template = Self::compile(&source, &path.display().to_string())?;
        for (name, token) in special_tokens(folder)? {
            template = template.with_variable(name, token);
        }
        let path = folder.join(PROCESSOR);
        match read_json(&path)?.as_ref().and_then(|file| file.get(ANSWER_END)) {
            None | Some(Value::Null) => Ok(template),
            Some(Value::String(token)) => Ok(template.with_answer_end(token)),
            Some(other) => {
                let reason = format!("{ANSWER_END}: expected a token, found {other}");
                Err(TemplateError::Invalid { path, reason })
            }
        }
    }
}

/// The template's source and the file that it is in.
fn find(folder: &Path, name: &str) -> Result<(String, PathBuf), TemplateError> {
    let file = match name {
        DEFAULT => folder.join("chat_template.jinja"),
        name => folder.join("additional_chat_templates").join(format!("{name}.jinja")),
    };
    if let Some(source) = read(&file)? {
        return Ok((source, file));
    }
    for file in ["chat_template.json", "tokenizer_config.json"] {
        let path = folder.join(file);
        let Some(value) = read_json(&path)? else { continue };
        let invalid = |reason: String| TemplateError::Invalid { path: path.clone(), reason };
        let source = match value.get("chat_template") {
            None | Some(Value::Null) => continue,
            Some(Value::String(source)) if name == DEFAULT => source.clone(),
            Some(Value::String(_)) => return Err(invalid(format!("one chat template only, none called {name:?}"))),
            Some(Value::Array(named)) => {
                let named = named_templates(named)
                    .ok_or_else(|| invalid("chat_template: expected a list of {\"name\", \"template\"}".to_owned()))?;
                let names: Vec<&str> = named.keys().copied().collect();
                let found = named.get(name);
                found.ok_or_else(|| invalid(format!("no chat template {name:?} among {names:?}")))?.to_string()
            }
            Some(_) => return Err(invalid("chat_template: expected a string or a list".to_owned())),
        };
        return Ok((source, path));
    }
    Err(TemplateError::Missing { path: folder.to_owned() })
}

fn named_templates(list: &[Value]) -> Option<BTreeMap<&str, &str>> {
    list.iter().map(|entry| Some((entry.get("name")?.as_str()?, entry.get("template")?.as_str()?))).collect()
}

/// All keys ending in `_token` of `tokenizer_config.json`, else of `special_tokens_map.json`, whether they are written as a
/// string or as an object with `content`.
fn special_tokens(folder: &Path) -> Result<BTreeMap<String, String>, TemplateError> {
    let mut tokens = BTreeMap::new();
    for file in ["tokenizer_config.json", "special_tokens_map.json"] {
        let Some(Value::Object(config)) = read_json(&folder.join(file))? else { continue };
        for (name, value) in config {
            let token = value.as_str().or_else(|| value.get("content")?.as_str());
            if let Some(token) = token.filter(|_| name.ends_with("_token")) {
                tokens.entry(name).or_insert_with(|| token.to_owned());
            }
        }
    }
    Ok(tokens)
}

/// A text file, where there is one.
fn read(path: &Path) -> Result<Option<String>, TemplateError> {
    let text = path.is_file().then(|| std::fs::read_to_string(path)).transpose();
    text.map_err(|source| TemplateError::Io { path: path.to_owned(), source })
}

fn read_json(path: &Path) -> Result<Option<Value>, TemplateError> {
    let value = read(path)?.map(|text| serde_json::from_str(&text)).transpose();
    value.map_err(|error| TemplateError::Invalid { path: path.to_owned(), reason: error.to_string() })
}

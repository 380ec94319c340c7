//! Strict TOML with places: errors name file, line, column and, for an unknown key, the nearest valid one.
//!
//! Unusual here: serde reports an unknown key as text (`unknown field ..., expected one of ...`), and this module
//! reads the candidates back out of that text. If serde words it differently one day, the suggestion is missing, the
//! error stays.

use std::path::{Path, PathBuf};

use burn_vlm_base::suggest;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

/// A TOML text that is not what its reader expects.
#[derive(Debug, thiserror::Error)]
#[error("{file}{at}: {message}", file = .file.display(), at = .place.map(|p| format!(":{p}")).unwrap_or_default())]
pub struct TomlError {
    /// The file, or what stands in for one.
    pub file: PathBuf,
    /// Where in the file, if known.
    pub place: Option<Place>,
    /// What was wrong, what was expected, and the nearest valid name.
    pub message: String,
}

impl TomlError {
    /// An error at a place of `file`.
    pub fn new(file: impl Into<PathBuf>, place: Option<Place>, message: impl Into<String>) -> Self {
        Self { file: file.into(), place, message: message.into() }
    }
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Place {
    fn of_offset(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// Parses `text`, which came from `file`, into `T`. Give `T` `#[serde(deny_unknown_fields)]`.
///
/// # Errors
/// Names file, line and column, and for an unknown key or variant the nearest valid one.
pub fn parse_toml<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| Place::of_offset(text, span.start));
        TomlError::new(file, place, with_suggestion(error.message()))
    })
}

/// Reads a table that was already parsed (such as a cell's merged recipe) into `T`.
///
/// # Errors
/// Names `what` the table is and the key's path, and for an unknown key or variant the nearest valid one.
pub fn parse_table<T: DeserializeOwned>(what: &str, table: &toml::Table) -> Result<T, TomlError> {
    table.clone().try_into().map_err(|error: toml::de::Error| {
        // The path of the key is only in the display form: "message\nin `a.b`\n".
        let shown = error.to_string();
        let path = shown.lines().find_map(|line| line.strip_prefix("in `")?.strip_suffix('`'));
        let message = with_suggestion(error.message());
        let message = match path {
            Some(path) => format!("in `{path}`: {message}"),
            None => message,
        };
        TomlError::new(what, None, message)
    })
}

/// Where the key at `path` stands in `text`: the deepest key of the path that exists. Elements of arrays of tables are
/// addressed by their index or by the value of their `name`.
pub(super) fn locate<S: AsRef<str>>(text: &str, path: &[S]) -> Option<Place> {
    let document = DeTable::parse(text).ok()?;
    let mut found = None;
    let mut table = document.get_ref();
    let mut segments = path.iter().map(AsRef::as_ref);
    while let Some(segment) = segments.next() {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == segment) else {
            break;
        };
        found = Some(key.span().start);
        let mut value = value.get_ref();
        while let DeValue::Array(items) = value {
            let Some(segment) = segments.next() else { break };
            let item = items
                .iter()
                .enumerate()
                .find(|(index, item)| segment.parse() == Ok(*index) || element_name(item.get_ref()) == Some(segment));
            let Some((_, item)) = item else { break };
            found = Some(item.span().start);
            value = item.get_ref();
        }
        match value {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found.map(|offset| Place::of_offset(text, offset))
}

fn element_name<'a>(value: &'a DeValue<'_>) -> Option<&'a str> {
    let DeValue::Table(table) = value else { return None };
    table.iter().find(|(key, _)| key.get_ref() == "name").and_then(|(_, value)| match value.get_ref() {
        DeValue::String(name) => Some(name.as_ref()),
        _ => None,
    })
}

/// Adds the nearest valid name to serde's `unknown field` and `unknown variant` messages.
fn with_suggestion(message: &str) -> String {
    let message = message.trim_end();
    let Some((unknown, expected)) = message.split_once("expected ") else {
        return message.to_owned();
    };
    if !unknown.starts_with("unknown field") && !unknown.starts_with("unknown variant") {
        return message.to_owned();
    }
    let Some(name) = unknown.split('`').nth(1) else {
        return message.to_owned();
    };
    match suggest::nearest(name, expected.split('`').skip(1).step_by(2)) {
        Some(nearest) => format!("{message}; did you mean `{nearest}`?"),
        None => message.to_owned(),
    }
}

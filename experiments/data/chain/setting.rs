//! A setting of a chain: its value, what it is, what of it is nowhere stated, and how to get what it names.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::Error as _;
use toml::Value;

/// A setting.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Setting {
    /// As a command line has it; empty where it has to be given.
    pub(super) value: String,
    /// What it is.
    pub(super) about: Option<String>,
    /// What the paper does not say of it, so that the value is a choice of ours.
    pub(super) unstated: Option<String>,
    /// How to get what it names.
    get: Option<String>,
    kind: Option<Kind>,
}

/// What a setting names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    File,
    Folder,
}

/// The form of a setting that tells more than its value.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    value: Value,
    #[serde(default)]
    about: Option<String>,
    #[serde(default)]
    unstated: Option<String>,
    #[serde(default)]
    get: Option<String>,
    #[serde(default)]
    kind: Option<Kind>,
}

impl TryFrom<Value> for Setting {
    type Error = toml::de::Error;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        if !value.is_table() {
            return Ok(Self { value: plain(&value), about: None, unstated: None, get: None, kind: None });
        }
        let Told { value, about, unstated, get, kind } = value.try_into()?;
        if value.is_table() {
            return Err(toml::de::Error::custom("`value` of a setting is a text, a number, a truth value or a list"));
        }
        Ok(Self { value: plain(&value), about, unstated, get, kind })
    }
}

/// A value as a command line has it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Why something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The setting is empty.
    NotGiven,
    /// What it names is not there.
    NotThere,
}

/// What a chain lacks.
#[derive(Debug, Clone)]
pub(super) struct Missing {
    name: String,
    value: String,
    about: Option<String>,
    get: Option<String>,
    pub(super) why: Why,
}

impl Setting {
    /// What is missing of it, if anything. Patterns of several files are not looked up.
    pub(super) fn missing(&self, name: &str) -> Option<Missing> {
        let Self { value, about, get, .. } = self.clone();
        let path = Path::new(&value);
        let is_there = match self.kind {
            None => true,
            Some(_) if value.contains(['*', '{']) => true,
            // A source may be a folder of files.
            Some(Kind::File) => path.exists(),
            Some(Kind::Folder) => path.is_dir(),
        };
        let why = match (value.is_empty(), is_there) {
            (true, _) => Why::NotGiven,
            (false, false) => Why::NotThere,
            (false, true) => return None,
        };
        Some(Missing { name: name.to_owned(), value, about, get, why })
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, about, get, why } = self;
        match why {
            Why::NotGiven => write!(f, "the setting {name} has to be given: --set {name}=VALUE")?,
            Why::NotThere => write!(f, "{name}: {value} is not there; name another one with --set {name}=VALUE")?,
        }
        for more in [about, get].into_iter().flatten() {
            write!(f, "; {more}")?;
        }
        Ok(())
    }
}

//! The keywords of a JSON schema, and what each says.

use burn_vlm_base::suggest;

use super::json::Json;
use super::number;
use super::schema::SchemaError;

/// Characters of a schema's own words in a message.
pub(super) const SHOWN: usize = 60;

/// Keywords that say nothing about the value.
pub(super) const ANNOTATIONS: [&str; 15] = [
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "discriminator",
    "example",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];
/// Keywords that are kept to.
pub(super) const KEPT: [&str; 20] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "oneOf",
    "prefixItems",
    "properties",
    "required",
    "type",
];
/// Keywords that JSON schema has, and that are not kept to here.
pub(super) const REFUSED: [&str; 24] = [
    "$dynamicRef",
    "additionalItems",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "format",
    "if",
    "maxContains",
    "maxProperties",
    "minContains",
    "minProperties",
    "multipleOf",
    "not",
    "pattern",
    "patternProperties",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
];
/// Keywords of each type.
const OF_OBJECTS: [&str; 3] = ["additionalProperties", "properties", "required"];
const OF_LISTS: [&str; 4] = ["items", "maxItems", "minItems", "prefixItems"];
const OF_TEXTS: [&str; 2] = ["maxLength", "minLength"];
const OF_NUMBERS: [&str; 4] = ["exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum"];
const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

/// The types whose values a keyword says something about; none for one that is about all.
pub(super) fn types_of(keyword: &str) -> &'static [&'static str] {
    match keyword {
        name if OF_OBJECTS.contains(&name) => &["object"],
        name if OF_LISTS.contains(&name) => &["array"],
        name if OF_TEXTS.contains(&name) => &["string"],
        name if OF_NUMBERS.contains(&name) => &["number", "integer"],
        _ => &[],
    }
}

type Result<T> = std::result::Result<T, SchemaError>;

pub(super) fn error<T>(path: &str, reason: impl Into<String>) -> Result<T> {
    Err(SchemaError { path: cut(path, 4 * SHOWN), reason: reason.into() })
}

pub(super) fn cut(text: &str, most: usize) -> String {
    let cut: String = text.chars().take(most).collect();
    if cut.len() < text.len() { format!("{cut}...") } else { cut }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Keywords with what they say, and where they are.
pub(super) struct Keywords<'s, 'p> {
    pub(super) at: &'p str,
    pub(super) entries: &'s [(String, Json)],
}

impl<'s> Keywords<'s, '_> {
    pub(super) fn get(&self, name: &str) -> Option<&'s Json> {
        self.entries.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(super) fn path(&self, name: &str) -> String {
        join(self.at, name)
    }

    pub(super) fn wrong<T>(&self, name: &str, expected: &str, found: &Json) -> Result<T> {
        error(&self.path(name), format!("expected {expected}, found {}", found.kind()))
    }

    pub(super) fn list(&self, name: &str) -> Result<Option<&'s [Json]>> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::List(items)) => Ok(Some(items)),
            Some(other) => self.wrong(name, "a list", other),
        }
    }

    pub(super) fn count(&self, name: &str) -> Result<Option<u32>> {
        match self.get(name) {
            None => Ok(None),
            // Some write 3 as 3.0.
            Some(Json::Number(number)) => match number.as_f64().filter(|count| *count >= 0.0 && count.fract() == 0.0) {
                Some(count) => Ok(Some(count.min(f64::from(u32::MAX)) as u32)),
                None => error(&self.path(name), format!("expected a whole number from 0 on, found {number}")),
            },
            Some(other) => self.wrong(name, "a whole number", other),
        }
    }

    /// Least and most of something that is counted.
    pub(super) fn counts(&self, least: &str, most: &str) -> Result<(u32, u32)> {
        let (low, high) = (self.count(least)?.unwrap_or(0), self.count(most)?.unwrap_or(u32::MAX));
        if low > high {
            return error(&self.path(least), format!("{low} is more than `{most}`, {high}"));
        }
        Ok((low, high))
    }

    /// A bound of numbers in steps; an exclusive one is moved by a step.
    pub(super) fn bound(&self, name: &str, exclusive: &str, inwards: i128) -> Result<Option<i128>> {
        let one = |name: &str| match self.get(name) {
            None => Ok(None),
            Some(Json::Number(number)) => match number::steps(number) {
                Some(steps) => Ok(Some(steps)),
                None => error(&self.path(name), format!("{number} has more than twelve digits behind the point")),
            },
            Some(other) => self.wrong(name, "a number", other),
        };
        let (own, open) = (one(name)?, one(exclusive)?.map(|bound| bound + inwards));
        Ok(match (own, open) {
            (Some(own), Some(open)) if inwards > 0 => Some(own.max(open)),
            (Some(own), Some(open)) => Some(own.min(open)),
            (own, open) => own.or(open),
        })
    }

    /// Refuses keywords besides these and annotations.
    pub(super) fn alone(&self, name: &str, besides: &[&str]) -> Result<()> {
        let other = self
            .entries
            .iter()
            .find(|(key, _)| key != name && !besides.contains(&key.as_str()) && !ANNOTATIONS.contains(&key.as_str()));
        match other {
            Some((key, _)) => error(&self.path(key), format!("a keyword beside `{name}`, which is not supported")),
            None => Ok(()),
        }
    }

    pub(super) fn types(&self) -> Result<Vec<&'s str>> {
        let known = |value: &'s Json| match value {
            Json::Text(name) if TYPES.contains(&name.as_str()) => Ok(name.as_str()),
            Json::Text(name) => {
                let hint = suggest::hint(name, TYPES);
                error(&self.path("type"), format!("unknown type {:?}{hint}", cut(name, SHOWN)))
            }
            other => self.wrong("type", "a text", other),
        };
        match self.get("type") {
            None => Ok(Vec::new()),
            Some(Json::List(names)) if names.is_empty() => error(&self.path("type"), "an empty list"),
            Some(Json::List(names)) => names.iter().map(known).collect(),
            Some(name) => Ok(vec![known(name)?]),
        }
    }
}

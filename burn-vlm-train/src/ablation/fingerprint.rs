//! The content hash of a cell: what decides whether a finished cell is this cell.
//!
//! It covers the merged recipe, the seed, the evaluation's settings and languages, the job's version and the hashes of
//! named inputs (corpus, shipped weights). It does not cover names, labels and captions, nor the order of keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::cell::Cell;
use super::patch;

/// Increased when the meaning of a cell's folder changes, so that old results are not taken for new ones.
const FORMAT_VERSION: u32 = 1;

/// How many differing keys a message lists.
const DIFFERENCES_SHOWN: usize = 6;

/// Named inputs of a cell beyond its recipe, each with the hash of its content.
pub type Inputs = BTreeMap<String, String>;

/// What a cell's result depends on, and its hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// BLAKE3 over the canonical form of the rest, in hexadecimal.
    pub hash: String,
    /// The recipe.
    pub recipe: Table,
    /// The seed.
    pub seed: u64,
    /// The evaluation's settings.
    pub evaluation: Table,
    /// The languages that are evaluated.
    pub languages: Vec<String>,
    /// The job's version, see [`CellJob::version`](super::CellJob::version).
    pub version: u32,
    /// Hashes of other inputs.
    pub inputs: Inputs,
}

impl Fingerprint {
    /// The fingerprint of `cell`, evaluated in `languages` by a job of this `version` with these `inputs`.
    pub fn new(cell: &Cell, languages: &[&str], version: u32, inputs: Inputs) -> Self {
        let mut fingerprint = Self {
            hash: String::new(),
            recipe: cell.recipe.clone(),
            seed: cell.seed,
            evaluation: cell.evaluation.clone(),
            languages: languages.iter().map(|&language| language.to_owned()).collect(),
            version,
            inputs,
        };
        fingerprint.hash = fingerprint.compute();
        fingerprint
    }

    fn compute(&self) -> String {
        let mut hasher = Canonical::default();
        hasher.number(FORMAT_VERSION.into());
        hasher.table(&self.recipe);
        hasher.number(self.seed);
        hasher.table(&self.evaluation);
        hasher.number(self.languages.len() as u64);
        for language in &self.languages {
            hasher.text(language);
        }
        hasher.number(self.version.into());
        hasher.number(self.inputs.len() as u64);
        for (name, hash) in &self.inputs {
            hasher.text(name);
            hasher.text(hash);
        }
        hasher.0.finalize().to_hex().to_string()
    }

    /// In which keys `there` (what a folder holds) and `self` (what is asked for) differ, one a line.
    pub fn differences(&self, there: &Self) -> String {
        let mut lines = Vec::new();
        compare("recipe", &there.recipe, &self.recipe, &mut lines);
        compare("evaluation", &there.evaluation, &self.evaluation, &mut lines);
        if there.seed != self.seed {
            lines.push(format!("seed: {} there, {} now", there.seed, self.seed));
        }
        if there.languages != self.languages {
            let (old, new) = (there.languages.join(" "), self.languages.join(" "));
            lines.push(format!("languages: {old} there, {new} now"));
        }
        if there.version != self.version {
            lines.push(format!("version of the job: {} there, {} now", there.version, self.version));
        }
        for name in there.inputs.keys().chain(self.inputs.keys()) {
            let line = format!("input `{name}`: its content is another one");
            if there.inputs.get(name) != self.inputs.get(name) && !lines.contains(&line) {
                lines.push(line);
            }
        }
        if lines.is_empty() {
            lines.push("it was written by another version of this program".to_owned());
        }
        let more = lines.len().saturating_sub(DIFFERENCES_SHOWN);
        lines.truncate(DIFFERENCES_SHOWN);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines.join("\n  ")
    }
}

/// The hash of any TOML table in its canonical form, hexadecimal: for keys of parts.
pub fn hash_table(table: &Table) -> String {
    let mut hasher = Canonical::default();
    hasher.table(table);
    hasher.0.finalize().to_hex().to_string()
}

/// Whether two tables have the same content.
pub(super) fn same_table(a: &Table, b: &Table) -> bool {
    hash_table(a) == hash_table(b)
}

/// Feeds values to the hash so that different values give different bytes: a tag, a length, the content; tables by
/// sorted key, whatever the order in which the map iterates.
#[derive(Default)]
struct Canonical(blake3::Hasher);

impl Canonical {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn table(&mut self, table: &Table) {
        let mut entries: Vec<(&String, &Value)> = table.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        self.number(entries.len() as u64);
        for (key, value) in entries {
            self.text(key);
            self.value(value);
        }
    }

    fn value(&mut self, value: &Value) {
        let tag: u8 = match value {
            Value::String(_) => 0,
            Value::Integer(_) => 1,
            Value::Float(_) => 2,
            Value::Boolean(_) => 3,
            Value::Datetime(_) => 4,
            Value::Array(_) => 5,
            Value::Table(_) => 6,
        };
        self.0.update(&[tag]);
        match value {
            Value::String(text) => self.text(text),
            Value::Integer(number) => self.number(*number as u64),
            Value::Float(number) => self.number(number.to_bits()),
            Value::Boolean(flag) => self.number(u64::from(*flag)),
            Value::Datetime(date) => self.text(&date.to_string()),
            Value::Array(items) => {
                self.number(items.len() as u64);
                items.iter().for_each(|item| self.value(item));
            }
            Value::Table(table) => self.table(table),
        }
    }
}

fn compare(path: &str, there: &Table, now: &Table, lines: &mut Vec<String>) {
    let mut keys: Vec<&String> = there.keys().chain(now.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let path = format!("{path}.{}", patch::show_strs(&[key]));
        match (there.get(key), now.get(key)) {
            (Some(old), Some(new)) => compare_values(&path, old, new, lines),
            (Some(old), None) => lines.push(format!("{path}: {old} there, missing now")),
            (None, Some(new)) => lines.push(format!("{path}: missing there, {new} now")),
            (None, None) => {}
        }
    }
}

fn compare_values(path: &str, there: &Value, now: &Value, lines: &mut Vec<String>) {
    match (there, now) {
        (Value::Table(there), Value::Table(now)) => compare(path, there, now, lines),
        (Value::Array(there), Value::Array(now)) if there.len() == now.len() => {
            for (index, (old, new)) in there.iter().zip(now).enumerate() {
                compare_values(&format!("{path}[{index}]"), old, new, lines);
            }
        }
        _ if there != now => lines.push(format!("{path}: {there} there, {now} now")),
        _ => {}
    }
}

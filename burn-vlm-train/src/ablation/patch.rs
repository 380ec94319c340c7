//! Patches: what a preset or an axis value changes of the base recipe.
//!
//! - Tables merge, key by key; scalars and arrays replace.
//! - Where the base has an array of named tables (`[[stage]]` with `name = "align"`), a patch may address its elements
//!   by name: `stage.align.steps = 50`.
//! - `_replace = true` in a patch's table replaces the base's table whole, for tables whose keys depend on a kind:
//!   `connector = { _replace = true, kind = "parrot", experts = 6 }`.
//! - `_remove = true` alone in a patch's table removes the base's table: `lora = { _remove = true }`.
//! - A key that the base does not have is an error with the nearest one that it has, since a mistyped patch would
//!   otherwise train the unpatched recipe. Exceptions are declared ([`PatchRules`]): open tables, whose keys are free
//!   (patterns on parameter names), and optional keys.

use burn_vlm_base::suggest;
use toml::{Table, Value};

/// The key in a patch's table that makes it replace the base's table instead of merging with it.
const REPLACE: &str = "_replace";

/// The key that, alone in a patch's table, removes the base's table.
const REMOVE: &str = "_remove";

/// A path of keys from the root of a recipe; elements of arrays of named tables are addressed by name.
pub type KeyPath = Vec<String>;

/// Which keys a patch may add to the base recipe.
///
/// Paths are dotted, `*` stands for any one key: `stage.*.learning_rate`.
#[derive(Debug, Clone, Default)]
pub struct PatchRules {
    open: Vec<KeyPath>,
    optional: Vec<KeyPath>,
}

impl PatchRules {
    /// No exceptions: a patch may only change what the base recipe states.
    pub fn new() -> Self {
        Self::default()
    }

    /// The table at `path` is open: any key may be added to it. It need not exist in the base.
    pub fn open(mut self, path: &str) -> Self {
        self.open.push(split(path));
        self
    }

    /// The key at `path` is optional: it may be added where the base does not state it.
    pub fn optional(mut self, path: &str) -> Self {
        self.optional.push(split(path));
        self
    }

    fn may_add(&self, path: &[String]) -> bool {
        let covers = |pattern: &KeyPath| matches(pattern, path);
        let opens = |pattern: &KeyPath| pattern.len() < path.len() && matches(pattern, &path[..pattern.len()]);
        self.optional.iter().any(covers) || self.open.iter().any(|open| covers(open) || opens(open))
    }
}

/// A patch that does not fit its base.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatchError {
    /// The key in question, from the root of the patch.
    pub path: KeyPath,
    /// What is wrong with it, with the nearest valid name.
    pub message: String,
}

/// Which keys a patch sets.
#[derive(Debug, Clone, Default)]
pub(super) struct Touched {
    /// Paths of the scalars and arrays that were set.
    leaves: Vec<KeyPath>,
    /// Paths of the tables that were replaced whole.
    replaced: Vec<KeyPath>,
}

impl Touched {
    pub(super) fn extend(&mut self, other: Self) {
        self.leaves.extend(other.leaves);
        self.replaced.extend(other.replaced);
    }

    /// A key that both set, if `later` is merged after `self`: `self`'s setting would be lost.
    pub(super) fn lost_to<'a>(&self, later: &'a Self) -> Option<&'a KeyPath> {
        let overlaps = |a: &KeyPath, b: &KeyPath| a.starts_with(b) || b.starts_with(a);
        let leaf = later.leaves.iter().find(|leaf| self.leaves.iter().any(|own| overlaps(own, leaf)));
        leaf.or_else(|| {
            later.replaced.iter().find(|table| {
                let mut own = self.leaves.iter().chain(&self.replaced);
                own.any(|own| own.starts_with(table))
            })
        })
    }
}

/// Merges `patch` into `base`.
///
/// # Errors
/// A key that the base does not have and `rules` do not allow, a table where the base has none, or the reverse. `base`
/// is then partly merged.
pub fn merge(base: &mut Table, patch: &Table, rules: &PatchRules) -> Result<(), PatchError> {
    merge_touching(base, patch, rules).map(|_| ())
}

/// [`merge`], and which keys it set.
pub(super) fn merge_touching(base: &mut Table, patch: &Table, rules: &PatchRules) -> Result<Touched, PatchError> {
    for (key, does) in [(REPLACE, "replace"), (REMOVE, "remove")] {
        if patch.contains_key(key) {
            return Err(PatchError {
                path: vec![key.to_owned()],
                message: format!("`{key}` stands in a table of the recipe, it cannot {does} the whole recipe"),
            });
        }
    }
    let root = base.clone();
    let mut merger = Merger { root: &root, rules, path: Vec::new(), touched: Touched::default() };
    merger.table(base, patch)?;
    Ok(merger.touched)
}

struct Merger<'a> {
    root: &'a Table,
    rules: &'a PatchRules,
    path: KeyPath,
    touched: Touched,
}

impl Merger<'_> {
    fn table(&mut self, base: &mut Table, patch: &Table) -> Result<(), PatchError> {
        for (key, value) in patch {
            self.path.push(key.clone());
            let removes = self.removes(value)?;
            match base.get_mut(key) {
                Some(Value::Table(_)) if removes => {
                    self.touched.leaves.push(self.path.clone());
                    base.remove(key);
                }
                _ if removes => {
                    let path = show(&self.path);
                    return Err(self.error(format!(
                        "`{path}.{REMOVE}`: the base recipe has no table `{path}` to remove; leave it out"
                    )));
                }
                Some(slot) => self.value(slot, value)?,
                None if self.rules.may_add(&self.path) => {
                    base.insert(key.clone(), self.set(value));
                }
                None => return Err(self.unknown(key, base.keys().map(String::as_str).collect())),
            }
            self.path.pop();
        }
        Ok(())
    }

    fn value(&mut self, slot: &mut Value, patch: &Value) -> Result<(), PatchError> {
        match (&mut *slot, patch) {
            (Value::Table(_), Value::Table(patch_table)) if self.replaces(patch_table)? => {
                self.touched.replaced.push(self.path.clone());
                *slot = self.set(patch);
                Ok(())
            }
            (Value::Table(base), Value::Table(patch)) => self.table(base, patch),
            (Value::Array(items), Value::Table(patch)) => self.elements(items, patch),
            (Value::Table(_), _) => Err(self.error(format!(
                "`{}` is a table in the base recipe, the patch makes it {}",
                show(&self.path),
                kind(patch)
            ))),
            (base, Value::Table(_)) => Err(self.error(format!(
                "`{}` is {} in the base recipe, the patch makes it a table",
                show(&self.path),
                kind(base)
            ))),
            (slot, patch) => {
                *slot = self.set(patch);
                Ok(())
            }
        }
    }

    /// A patch of the elements of an array of tables, addressed by their `name`.
    fn elements(&mut self, items: &mut [Value], patch: &Table) -> Result<(), PatchError> {
        let names: Vec<String> =
            items.iter().filter_map(|item| item.get("name")?.as_str().map(str::to_owned)).collect();
        if names.len() != items.len() || names.is_empty() {
            return Err(self.error(format!(
                "`{}` is an array whose elements have no `name` to address them by: give the whole array",
                show(&self.path)
            )));
        }
        for (name, value) in patch {
            self.path.push(name.clone());
            if self.removes(value)? {
                return Err(self.error(format!(
                    "`{}.{REMOVE}`: an element of an array cannot be removed: give the whole array",
                    show(&self.path)
                )));
            }
            match names.iter().position(|candidate| candidate == name) {
                Some(index) => self.value(&mut items[index], value)?,
                None => return Err(self.unknown(name, names.iter().map(String::as_str).collect())),
            }
            self.path.pop();
        }
        Ok(())
    }

    fn replaces(&self, patch: &Table) -> Result<bool, PatchError> {
        match patch.get(REPLACE) {
            None => Ok(false),
            Some(Value::Boolean(true)) => Ok(true),
            Some(_) => {
                Err(self.error(format!("`{}.{REPLACE}` can only be true (leave it out to merge)", show(&self.path))))
            }
        }
    }

    fn removes(&self, patch: &Value) -> Result<bool, PatchError> {
        match patch.get(REMOVE) {
            None => Ok(false),
            Some(Value::Boolean(true)) if patch.as_table().is_some_and(|table| table.len() == 1) => Ok(true),
            Some(_) => Err(self
                .error(format!("`{}.{REMOVE}` can only be true, and nothing may stand beside it", show(&self.path)))),
        }
    }

    /// The value to store for `patch`, noting every key that it sets.
    fn set(&mut self, patch: &Value) -> Value {
        let Value::Table(table) = patch else {
            self.touched.leaves.push(self.path.clone());
            return patch.clone();
        };
        let mut stored = Table::new();
        for (key, value) in table.iter().filter(|(key, _)| *key != REPLACE) {
            self.path.push(key.clone());
            stored.insert(key.clone(), self.set(value));
            self.path.pop();
        }
        Value::Table(stored)
    }

    fn unknown(&self, key: &str, siblings: Vec<&str>) -> PatchError {
        let mut hint = suggest::hint(key, siblings.iter().copied());
        if suggest::nearest(key, siblings).is_none() {
            // Not a typo, then perhaps the right key at the wrong place.
            let mut elsewhere = Vec::new();
            find_key(self.root, key, &mut Vec::new(), &mut elsewhere);
            if let Some(path) = elsewhere.first() {
                hint = format!("; did you mean `{}`?", show(path));
            }
        }
        self.error(format!("unknown key `{}`: the base recipe does not have it{hint}", show(&self.path)))
    }

    fn error(&self, message: String) -> PatchError {
        PatchError { path: self.path.clone(), message }
    }
}

/// All paths in `table` that end in `key`.
fn find_key(table: &Table, key: &str, path: &mut KeyPath, found: &mut Vec<KeyPath>) {
    for (name, value) in table {
        path.push(name.clone());
        if name == key {
            found.push(path.clone());
        }
        match value {
            Value::Table(inner) => find_key(inner, key, path, found),
            Value::Array(items) => {
                for item in items.iter().filter_map(Value::as_table) {
                    if let Some(name) = item.get("name").and_then(Value::as_str) {
                        path.push(name.to_owned());
                        find_key(item, key, path, found);
                        path.pop();
                    }
                }
            }
            _ => {}
        }
        path.pop();
    }
}

/// A path as it is written in TOML: `stage.align."vision_tower.*"`.
pub(super) fn show(path: &[String]) -> String {
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    show_strs(&keys)
}

/// [`show`] of borrowed keys.
pub(super) fn show_strs(path: &[&str]) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let quoted: Vec<String> = path
        .iter()
        .map(|key| match key.chars().all(bare) && !key.is_empty() {
            true => (*key).to_owned(),
            false => format!("\"{key}\""),
        })
        .collect();
    quoted.join(".")
}

fn split(path: &str) -> KeyPath {
    path.split('.').map(|key| key.trim().to_owned()).collect()
}

fn matches(pattern: &[String], path: &[String]) -> bool {
    pattern.len() == path.len() && pattern.iter().zip(path).all(|(p, key)| p == "*" || p == key)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "an array",
        Value::Table(_) => "a table",
    }
}

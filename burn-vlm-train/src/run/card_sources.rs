//! What cards say of the folders that a model is made of, and the YAML that stands first in one.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::card::FILE;

/// What the name of a repository begins with in the hub's cache.
const CACHED: &str = "models--";

/// A folder that a model is made of.
#[derive(Debug)]
pub(super) struct Named {
    /// What it gave.
    what: &'static str,
    /// What people call it.
    name: String,
    /// What the hub calls it, where its path tells.
    hub: Option<String>,
    /// As its own card says.
    licence: Option<String>,
}

impl Named {
    pub(super) fn new(what: &'static str, name: &str, folder: &Path) -> Self {
        Self { what, name: name.to_owned(), hub: hub_id(folder), licence: licence(folder) }
    }
}

/// `org/name` of a folder in the hub's cache (`models--org--name/snapshots/...`). Of any other folder nobody knows it.
fn hub_id(folder: &Path) -> Option<String> {
    let whole = folder.canonicalize().ok()?;
    let mut parts = whole.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    parts.find_map(|part| part.strip_prefix(CACHED).map(|name| name.replacen("--", "/", 1)))
}

/// The table of what a model was made from, with the licences that these folders state.
pub(super) fn made_of(card: &mut String, named: &[Named]) {
    card.push_str("## Made from\n\n| part | name | its licence |\n|---|---|---|\n");
    for Named { what, name, hub, licence } in named {
        let licence = licence.as_deref().unwrap_or("not stated in its folder");
        let _ = writeln!(card, "| {what} | {} | {} |", cell(hub.as_ref().unwrap_or(name)), cell(licence));
    }
    card.push_str(
        "\nA model that is trained from others is bound by their licences, and by those of its data: look both up before you pass it on.\n\n",
    );
}

/// Text in a table: what would end its cell or its line is replaced.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// `license` (and `license_name`) of the YAML in a folder's own card.
fn licence(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join(FILE)).ok()?;
    let yaml = text.strip_prefix("---")?.split("\n---").next()?;
    let value = |key: &str| {
        let line = yaml.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let value = line.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    let licence = value("license")?;
    Some(match value("license_name").filter(|_| licence == "other") {
        Some(name) => name,
        None => licence,
    })
}

/// The YAML that the hub reads.
#[derive(Debug)]
pub(super) struct Yaml(String);

impl Yaml {
    pub(super) fn begin(library: &str, task: Option<&str>) -> Self {
        let task = task.map_or_else(String::new, |task| format!("pipeline_tag: {task}\n"));
        Self(format!("---\nlibrary_name: {library}\n{task}"))
    }

    /// A key with a list; nothing where that is empty.
    pub(super) fn list<'a>(&mut self, key: &str, items: impl IntoIterator<Item = &'a str>) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_some() {
            let _ = writeln!(self.0, "{key}:");
            items.for_each(|item| self.0.push_str(&format!("- {}\n", quoted(item))));
        }
    }

    /// Where the hub knows the folders, by their names there.
    pub(super) fn base_models(&mut self, named: &[Named]) {
        self.list("base_model", named.iter().filter_map(|named| named.hub.as_deref()));
    }

    /// A licence that has no short name of the hub's.
    pub(super) fn licence(&mut self, name: &str) {
        let _ = writeln!(self.0, "license: other\nlicense_name: {}", quoted(name));
    }

    pub(super) fn end(mut self) -> String {
        self.0.push_str("---\n\n");
        self.0
    }
}

/// A YAML string: a language `no` is not false, and a name may hold a colon.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_those_of_the_cards() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(licence(folder.path()), None);
        let of = |text: &str| {
            fs::write(folder.path().join(FILE), text).unwrap();
            licence(folder.path())
        };
        assert_eq!(of("---\nlanguage: en\nlicense: apache-2.0\n---\n# A"), Some("apache-2.0".into()));
        assert_eq!(of("---\nlicense: \"gemma\"\nlicense_name: x\n---\n"), Some("gemma".into()));
        assert_eq!(of("---\nlicense: other\nlicense_name: qwen\n---\n"), Some("qwen".into()));
        // In the text below it is no licence.
        assert_eq!(of("---\nlanguage: en\n---\nlicense: mit\n"), None);
        assert_eq!(of("# A\nlicense: mit\n"), None);
        assert_eq!(of("---\nlicense:\n---\n"), None);
    }
}

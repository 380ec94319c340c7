//! The file of a chain: its settings, what presets change of them, and its steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn_vlm_base::suggest::hint;
use serde::Deserialize;
use toml::Value;

use crate::AnyError;

/// The name within braces that stands for a step's own folder.
const OWN: &str = "out";

/// A chain as its file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChainFile {
    /// What it is.
    pub(super) chain: About,
    /// Named values that steps use. An empty text has to be given.
    #[serde(default)]
    settings: BTreeMap<String, Value>,
    /// What presets change.
    #[serde(default)]
    preset: BTreeMap<String, Preset>,
    /// The steps, in their order.
    step: Vec<Step>,
}

/// What a chain is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    /// Its name.
    pub(super) name: String,
    /// What it makes.
    pub(super) about: String,
    /// Where it is described.
    #[serde(default)]
    pub(super) paper: Option<String>,
}

/// What a preset changes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Preset {
    /// What must be known of what it makes.
    #[serde(default)]
    note: Option<String>,
    /// Settings.
    #[serde(default)]
    settings: BTreeMap<String, Value>,
    /// Commands of steps in place of their own, by the steps' names; an empty one leaves the step out.
    #[serde(default)]
    run: BTreeMap<String, Vec<String>>,
}

/// A step.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// Its name, and that of its folder.
    pub(super) name: String,
    /// What it does.
    pub(super) about: String,
    /// Its command, word by word: a verb of `data`, or `train`. `{NAME}` is a setting or the folder of an earlier step, `{out}` its own.
    pub(super) run: Vec<String>,
    /// Files of its folder that the report links to.
    #[serde(default)]
    pub(super) show: Vec<String>,
}

/// A chain with all names filled in.
#[derive(Debug, Clone)]
pub(super) struct Filled {
    pub(super) about: About,
    /// What must be known of the preset.
    pub(super) note: Option<String>,
    /// Every setting with its value.
    pub(super) settings: BTreeMap<String, String>,
    pub(super) steps: Vec<Step>,
}

impl ChainFile {
    /// Reads the file's text; `name` is what errors call it.
    ///
    /// # Errors
    /// Text that is no chain, steps of one name or of a setting's.
    pub(super) fn parse(text: &str, name: &str) -> Result<Self, AnyError> {
        let file: Self = toml::from_str(text).map_err(|error| format!("{name}: {error}"))?;
        let mut names: BTreeSet<&str> = file.settings.keys().map(String::as_str).chain([OWN]).collect();
        for Step { name: step, run, .. } in &file.step {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
            if step.is_empty() || !step.chars().all(plain) {
                return Err(format!("{name}: a step is called {step:?}; expected letters, digits, - and _").into());
            }
            if !names.insert(step) {
                return Err(format!("{name}: {step:?} is the name of two things; rename the step").into());
            }
            if run.is_empty() {
                return Err(format!("{name}: step {step:?} has no command").into());
            }
        }
        for (preset, Preset { settings, run, .. }) in &file.preset {
            let steps = || file.step.iter().map(|step| step.name.as_str());
            if let Some(step) = run.keys().find(|step| !steps().any(|known| known == *step)) {
                return Err(format!("{name}: preset {preset:?}: no step {step:?}{}", hint(step, steps())).into());
            }
            let known = || file.settings.keys().map(String::as_str);
            if let Some(key) = settings.keys().find(|key| !file.settings.contains_key(*key)) {
                return Err(format!("{name}: preset {preset:?}: no setting {key:?}{}", hint(key, known())).into());
            }
        }
        Ok(file)
    }

    /// Fills in what stands in braces: settings as the preset and `set` (`NAME=VALUE`) have them, folders below `out`.
    ///
    /// # Errors
    /// An unknown preset, setting or name, a setting that has to be given.
    pub(super) fn fill(&self, preset: Option<&str>, set: &[String], out: &Path) -> Result<Filled, AnyError> {
        let name = &self.chain.name;
        let preset = match preset {
            None => Preset::default(),
            Some(wanted) => self.preset.get(wanted).cloned().ok_or_else(|| {
                format!("{name}: no preset {wanted:?}{}", hint(wanted, self.preset.keys().map(String::as_str)))
            })?,
        };
        let mut settings: BTreeMap<String, String> =
            self.settings.iter().chain(&preset.settings).map(|(key, value)| (key.clone(), plain(value))).collect();
        for given in set {
            let (key, value) = given.split_once('=').ok_or_else(|| format!("--set {given}: expected NAME=VALUE"))?;
            match settings.get_mut(key) {
                Some(known) => *known = value.to_owned(),
                None => {
                    let close = hint(key, settings.keys().map(String::as_str));
                    return Err(format!("--set {given}: {name} has no setting {key:?}{close}").into());
                }
            }
        }
        let mut places = settings.clone();
        let mut steps = Vec::new();
        for step in &self.step {
            let run = preset.run.get(&step.name).unwrap_or(&step.run);
            if run.is_empty() {
                continue;
            }
            let own = out.join(&step.name).display().to_string();
            places.insert(OWN.to_owned(), own.clone());
            let fill = |word: &String| {
                fill(word, &places).map_err(|problem| format!("{name}: step {:?}: {problem}", step.name))
            };
            let run = run.iter().map(fill).collect::<Result<Vec<String>, String>>()?;
            steps.push(Step { run, ..step.clone() });
            places.insert(step.name.clone(), own);
        }
        Ok(Filled { about: self.chain.clone(), note: preset.note, settings, steps })
    }

    /// What comes with it.
    pub(super) fn presets(&self) -> impl Iterator<Item = &str> {
        self.preset.keys().map(String::as_str)
    }
}

/// A value as a command line has it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A word with its names filled in.
fn fill(word: &str, places: &BTreeMap<String, String>) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), word);
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        // Braces of file names ({a,b}.json) stay.
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        filled.push_str(before);
        match places.get(name) {
            Some(value) if value.is_empty() => {
                return Err(format!("the setting {name} has to be given: --set {name}=VALUE"));
            }
            Some(value) => filled.push_str(value),
            None if is_name => {
                return Err(format!(
                    "{{{name}}} is no setting and no earlier step{}",
                    hint(name, places.keys().map(String::as_str))
                ));
            }
            None => filled.push_str(&format!("{{{name}}}")),
        }
        rest = behind;
    }
    Ok(filled + rest)
}

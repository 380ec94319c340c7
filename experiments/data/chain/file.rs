//! The file of a chain: its settings, what presets change of them, texts that it brings along, and its steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn_vlm_base::suggest::hint;
use serde::Deserialize;
use toml::Value;

use super::setting::{Missing, Setting, Why, plain};
use crate::AnyError;
use crate::study::default_parts;

/// The name within braces that stands for a step's own folder.
const OWN: &str = "out";
/// The name of the folder with the texts that the file brings along.
pub(super) const FILES: &str = "files";
/// The name of the folder with the shipped parts.
const PARTS: &str = "parts";

/// A chain as its file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChainFile {
    /// What it is.
    pub(super) chain: About,
    /// Named values that steps use. An empty text has to be given.
    #[serde(default)]
    settings: BTreeMap<String, Setting>,
    /// What presets change.
    #[serde(default)]
    preset: BTreeMap<String, Preset>,
    /// Texts that steps read, by the name of the file that is made of each.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// The steps, in their order.
    step: Vec<StepFile>,
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
    run: BTreeMap<String, Vec<Word>>,
}

/// A word of a command, or several that are left out together where a setting in them is empty.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Word {
    One(String),
    Some(Vec<String>),
}

/// A step as the file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFile {
    name: String,
    about: String,
    /// Its command: a verb of `data`, or `train`. `{NAME}` is a setting or the folder of an earlier step, `{out}` its own, `{files}` that of
    /// the chain's texts, `{parts}` that of the shipped parts.
    run: Vec<Word>,
    #[serde(default)]
    show: Vec<String>,
}

/// A step.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Its name, and that of its folder.
    pub(super) name: String,
    /// What it does.
    pub(super) about: String,
    /// Its command, word by word.
    pub(super) run: Vec<String>,
    /// Files of its folder that the report links to.
    pub(super) show: Vec<String>,
    /// Whether a setting of it is not given.
    pub(super) lacks: bool,
}

/// A chain with all names filled in.
#[derive(Debug, Clone)]
pub(super) struct Filled {
    pub(super) about: About,
    /// What must be known of the preset.
    pub(super) note: Option<String>,
    /// Every setting.
    pub(super) settings: BTreeMap<String, Setting>,
    /// Texts that steps read.
    pub(super) files: BTreeMap<String, String>,
    pub(super) steps: Vec<Step>,
    /// Settings that have to be given, and files that are not there.
    pub(super) missing: Vec<Missing>,
}

impl ChainFile {
    /// Reads the file's text; `name` is what errors call it.
    ///
    /// # Errors
    /// Text that is no chain, steps of one name or of a setting's.
    pub(super) fn parse(text: &str, name: &str) -> Result<Self, AnyError> {
        let file: Self = toml::from_str(text).map_err(|error| format!("{name}: {error}"))?;
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        let mut names: BTreeSet<&str> = file.settings.keys().map(String::as_str).chain([OWN, FILES, PARTS]).collect();
        for StepFile { name: step, run, .. } in &file.step {
            if step.is_empty() || !step.chars().all(plain) {
                return Err(format!("{name}: a step is called {step:?}; expected letters, digits, - and _").into());
            }
            if !names.insert(step) {
                return Err(format!("{name}: {step:?} is the name of two things; rename the step").into());
            }
            // A step of presets alone has none of its own.
            if run.is_empty() && !file.preset.values().any(|preset| preset.run.contains_key(step)) {
                return Err(format!("{name}: step {step:?} has no command").into());
            }
        }
        let path = |letter: char| plain(letter) || letter == '.';
        if let Some(text) = file.files.keys().find(|text| text.starts_with('.') || !text.chars().all(path)) {
            return Err(
                format!("{name}: [files] has {text:?}; expected a file's name of letters, digits, -, _ and .").into()
            );
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

    /// Fills in what stands in braces: settings as the preset and `set` (`NAME=VALUE`) have them, folders below `out`. A setting that is not
    /// given stands as `<NAME>`, and is listed.
    ///
    /// # Errors
    /// An unknown preset, setting or name.
    pub(super) fn fill(&self, preset: Option<&str>, set: &[String], out: &Path) -> Result<Filled, AnyError> {
        let name = &self.chain.name;
        let preset = match preset {
            None => Preset::default(),
            Some(wanted) => self.preset.get(wanted).cloned().ok_or_else(|| {
                format!("{name}: no preset {wanted:?}{}", hint(wanted, self.preset.keys().map(String::as_str)))
            })?,
        };
        let mut settings = self.settings.clone();
        for (key, value) in &preset.settings {
            settings.entry(key.clone()).and_modify(|setting| setting.value = plain(value));
        }
        for given in set {
            let (key, value) = given.split_once('=').ok_or_else(|| format!("--set {given}: expected NAME=VALUE"))?;
            match settings.get_mut(key) {
                Some(known) => known.value = value.to_owned(),
                None => {
                    let close = hint(key, settings.keys().map(String::as_str));
                    return Err(format!("--set {given}: {name} has no setting {key:?}{close}").into());
                }
            }
        }
        let folder = |name: &str| out.join(name).display().to_string();
        let values = settings.iter().map(|(name, setting)| (name.clone(), setting.value.clone()));
        let mut places: BTreeMap<String, String> = values.collect();
        places.insert(FILES.to_owned(), folder(FILES));
        places.insert(PARTS.to_owned(), default_parts().display().to_string());
        let (mut steps, mut used) = (Vec::new(), BTreeSet::new());
        for step in &self.step {
            let run = preset.run.get(&step.name).unwrap_or(&step.run);
            if run.is_empty() {
                continue;
            }
            let own = folder(&step.name);
            places.insert(OWN.to_owned(), own.clone());
            let mut of_step = BTreeSet::new();
            let run = fill_all(run, &places, &mut of_step)
                .map_err(|problem| format!("{name}: step {:?}: {problem}", step.name))?;
            let lacks = of_step.iter().any(|name| places.get(name).is_some_and(String::is_empty));
            let StepFile { name, about, show, .. } = step.clone();
            steps.push(Step { name, about, run, show, lacks });
            used.extend(of_step);
            places.insert(step.name.clone(), own);
        }
        let missing = settings.iter().filter(|(name, _)| used.contains(*name));
        let missing = missing.filter_map(|(name, setting)| setting.missing(name)).collect();
        let (about, files) = (self.chain.clone(), self.files.clone());
        Ok(Filled { about, note: preset.note, settings, files, steps, missing })
    }

    /// What comes with it.
    pub(super) fn presets(&self) -> impl Iterator<Item = &str> {
        self.preset.keys().map(String::as_str)
    }
}

impl Filled {
    /// What has to be given before anything is run.
    ///
    /// # Errors
    /// All of it, with how to get it. A file that is not there is told by the step that reads it.
    pub(super) fn check_given(&self) -> Result<(), AnyError> {
        let lacking: Vec<&Missing> = self.missing.iter().filter(|missing| missing.why == Why::NotGiven).collect();
        match lacking.as_slice() {
            [] => Ok(()),
            [one] => Err(format!("{}: {one}", self.about.name).into()),
            many => {
                let lines: String = many.iter().map(|missing| format!("\n  {missing}")).collect();
                Err(format!("{}: {} settings have to be given:{lines}", self.about.name, many.len()).into())
            }
        }
    }
}

/// A command with its names filled in; `used` is told which settings it has.
fn fill_all(
    words: &[Word],
    places: &BTreeMap<String, String>,
    used: &mut BTreeSet<String>,
) -> Result<Vec<String>, String> {
    let mut filled = Vec::new();
    for word in words {
        match word {
            Word::One(word) => filled.push(fill(word, places, used)?),
            Word::Some(words) => {
                let mut inside = BTreeSet::new();
                let words = words.iter().map(|word| fill(word, places, &mut inside));
                let words = words.collect::<Result<Vec<String>, String>>()?;
                if inside.iter().all(|name| places.get(name).is_some_and(|value| !value.is_empty())) {
                    filled.extend(words);
                    used.extend(inside);
                }
            }
        }
    }
    Ok(filled)
}

/// A word with its names filled in.
fn fill(word: &str, places: &BTreeMap<String, String>, used: &mut BTreeSet<String>) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), word);
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        // Braces of file names ({a,b}.json) stay.
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        filled.push_str(before);
        match places.get(name) {
            Some(value) => {
                used.insert(name.to_owned());
                filled.push_str(&if value.is_empty() { format!("<{name}>") } else { value.clone() });
            }
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

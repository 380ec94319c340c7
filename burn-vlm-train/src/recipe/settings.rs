//! A recipe's file, and `KEY=VALUE` on a command line: one key of a recipe in TOML's own notation, `stage.finetune.steps=10`.
//!
//! Unusual here: `steps` takes the place of `epochs` and the other way round, since a recipe may have one of them only.

use std::path::Path;

use toml::{Table, Value};

use super::Recipe;
use crate::ablation::{PatchRules, merge, parse_toml};
use crate::error::{Result, TrainError};

/// Where keys may be added that the recipe leaves at their defaults; those that no recipe has are found when it is read.
fn rules() -> PatchRules {
    PatchRules::new()
        .optional("seed")
        .optional("compute")
        .open("compute")
        .optional("video")
        .open("video")
        .optional("model.*")
        .optional("stage.*.*")
        .optional("stage.*.*.*")
        .optional("stage.*.*.*.*")
}

/// Reads a recipe's file, with [settings](apply_setting) instead of what it says.
///
/// # Errors
/// A file that cannot be read or is no recipe, a setting that does not fit it.
pub fn read_recipe(file: &Path, settings: &[String]) -> Result<Recipe> {
    let text = std::fs::read_to_string(file).map_err(|e| TrainError::io("cannot read", file, e))?;
    let mut table: Table = parse_toml(file, &text).map_err(|e| TrainError::Recipe(e.to_string()))?;
    for setting in settings {
        apply_setting(&mut table, setting)?;
    }
    Recipe::from_table(table).map_err(|error| match error {
        TrainError::Recipe(message) => TrainError::invalid(file, message),
        other => other,
    })
}

/// Changes one key of a recipe. A value that is no TOML is a text: `model.encoder=siglip1`.
///
/// # Errors
/// A setting without `=`, a key that a recipe does not have, a value where a table belongs.
pub fn apply_setting(recipe: &mut Table, setting: &str) -> Result<()> {
    let fail = |message: String| TrainError::Recipe(format!("--set {setting}: {message}"));
    let Some((key, value)) = setting.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
        return Err(fail("expected KEY=VALUE, such as stage.finetune.steps=10".into()));
    };
    let text = Value::String(value.to_owned());
    let patch: Table = toml::from_str(&format!("{key} = {value}"))
        .or_else(|_| toml::from_str(&format!("{key} = {text}")))
        .map_err(|error: toml::de::Error| fail(format!("`{key}` is no key of TOML: {}", error.message())))?;
    let whole = toml::from_str::<Table>(&format!("value = {value}")).is_ok_and(|table| table["value"].is_table());
    // The keys are looked up in the recipe as it is; a whole table then takes the place of what was there.
    let mut merged = recipe.clone();
    merge(&mut merged, &patch, &rules()).map_err(|error| fail(error.message))?;
    if let (true, Ok(path)) = (whole, toml::from_str::<Table>(&format!("{key} = 0"))) {
        replace(&mut merged, &path, &patch);
    }
    *recipe = merged;
    for (stage, set) in patch.get("stage").and_then(Value::as_table).into_iter().flatten() {
        let Some(stage) = recipe.get_mut("stage").and_then(|stages| stages.get_mut(stage)?.as_table_mut()) else {
            continue;
        };
        match (set.get("steps"), set.get("epochs")) {
            (Some(_), None) => stage.remove("epochs"),
            (None, Some(_)) => stage.remove("steps"),
            _ => None,
        };
    }
    Ok(())
}

/// Puts the patch's table at a path in the place of the recipe's: what the setting does not name shall go.
fn replace(recipe: &mut Table, path: &Table, patch: &Table) {
    let Some((key, rest)) = path.iter().next() else { return };
    let (Some(there), Some(given)) =
        (recipe.get_mut(key).and_then(Value::as_table_mut), patch.get(key).and_then(Value::as_table))
    else {
        return;
    };
    match rest.as_table() {
        Some(rest) => replace(there, rest, given),
        None => there.clone_from(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Table {
        toml::from_str(
            "[model]\nencoder = \"a\"\nvisual_tokens = { pool = 4, pooled_head = true }\n[stage.finetune]\nepochs = 1\nbatch = 8\ntrain = { language_model = 1e-5 }\n\
             [stage.finetune.mixture]\nfile = \"m.toml\"\nbatching = { strategy = \"packed\" }",
        )
        .unwrap()
    }

    fn set(setting: &str) -> Result<Table> {
        let mut recipe = base();
        apply_setting(&mut recipe, setting).map(|()| recipe)
    }

    #[test]
    fn a_key_is_changed_or_added() {
        let steps = set("stage.finetune.steps=10").unwrap();
        assert_eq!(steps["stage"]["finetune"]["steps"].as_integer(), Some(10));
        assert!(steps["stage"]["finetune"].get("epochs").is_none(), "steps take the place of epochs");
        assert_eq!(set("model.encoder = siglip1").unwrap()["model"]["encoder"].as_str(), Some("siglip1"));
        assert_eq!(set("model.encoder=\"x\"").unwrap()["model"]["encoder"].as_str(), Some("x"));
        assert_eq!(set("compute.precision=bf16").unwrap()["compute"]["precision"].as_str(), Some("bf16"));
        let batching = set("stage.finetune.mixture.batching.max_tokens=4096").unwrap();
        assert_eq!(batching["stage"]["finetune"]["mixture"]["batching"]["max_tokens"].as_integer(), Some(4096));
        let train = set("stage.finetune.train.\"vision_tower[.]encoder\"=1e-6").unwrap();
        assert_eq!(train["stage"]["finetune"]["train"]["vision_tower[.]encoder"].as_float(), Some(1e-6));
    }

    #[test]
    fn a_table_is_replaced_as_a_whole() {
        let train =
            &set("stage.finetune.train={ multi_modal_projector = 1e-3 }").unwrap()["stage"]["finetune"]["train"];
        assert_eq!(train.as_table().unwrap().keys().collect::<Vec<_>>(), ["multi_modal_projector"]);
        let batching = set("stage.finetune.mixture.batching={ max_tokens = 9 }").unwrap();
        assert!(batching["stage"]["finetune"]["mixture"]["batching"].get("strategy").is_none());
        assert_eq!(batching["stage"]["finetune"]["mixture"]["file"].as_str(), Some("m.toml"), "its neighbours stay");
        let tokens = &set("model.visual_tokens={ pool = 2 }").unwrap()["model"]["visual_tokens"];
        assert_eq!(tokens.to_string(), "{ pool = 2 }", "its keys are those that the recipe had");
    }

    #[test]
    fn mistakes_are_named() {
        for (setting, word) in [
            ("stage.finetune.steps", "KEY=VALUE"),
            ("stage.finetun.steps=1", "`finetune`"),
            ("stagee=1", "`stage`"),
            ("stage.finetune.train=1", "is a table"),
            ("a b=1", "no key"),
        ] {
            let error = set(setting).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(setting), "{error}");
        }
    }
}

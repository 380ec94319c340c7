//! TOML on a page is what it says it is.

use std::fs;
use std::path::Path;

use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::pipeline::regeneration::Prompts;
use burn_vlm_train::ablation::Study;
use burn_vlm_train::eval::{Benchmarks, Suite};
use burn_vlm_train::recipe::{EvaluationRecipe, Recipe};
use toml::{Table, Value};

use super::pages::{Block, pages, root};

/// What parts are put into.
const RECIPE: &str = "recipes/tiny.toml";
const STUDY: &str = "experiments/encoder.toml";
const SUITE: &str = "evaluations/towervision.toml";

fn text_of(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// Puts a part into a whole: its tables are put into those that are there, tables of a list behind them.
fn put(whole: &mut Table, part: Table) {
    for (key, value) in part {
        match (whole.get_mut(&key), value) {
            (Some(Value::Table(there)), Value::Table(more)) => put(there, more),
            (Some(Value::Array(there)), Value::Array(more)) if more.iter().all(Value::is_table) => there.extend(more),
            (_, value) => {
                whole.insert(key, value);
            }
        }
    }
}

/// A file with a part in it, at the table that a path names.
fn with_part(file: &str, path: &str, part: Table) -> Table {
    let mut whole: Table = toml::from_str(&text_of(file)).unwrap();
    // A preset is replaced: one that is a study of its own has nothing else.
    for name in part.get("presets").and_then(Value::as_table).into_iter().flat_map(Table::keys) {
        if let Some(Value::Table(presets)) = whole.get_mut("presets") {
            presets.remove(name);
        }
    }
    let part = path
        .rsplit('.')
        .filter(|key| !key.is_empty())
        .fold(part, |part, key| Table::from_iter([(key.to_owned(), Value::Table(part))]));
    put(&mut whole, part);
    whole
}

/// Questions whose files need not be there.
fn questions(mut table: Table) -> Result<(), String> {
    let mut evaluation = match table.remove("evaluation") {
        Some(Value::Table(evaluation)) => evaluation,
        _ => Table::new(),
    };
    evaluation.extend(table);
    let recipe = EvaluationRecipe::from_table(evaluation).map_err(|error| error.to_string())?;
    let corpus = EmojiCorpus::embedded().map_err(|error| error.to_string())?;
    match Benchmarks::open(&recipe, &corpus, Path::new("nowhere")) {
        Ok(_) => Ok(()),
        // It comes after all keys were read.
        Err(error) if error.to_string().contains("nowhere/") => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Dependencies of a user's project: crates of this workspace, with features that they have.
fn manifest(table: &Table) -> Result<(), String> {
    let dependencies = table.get("dependencies").and_then(Value::as_table).ok_or("there are no [dependencies]")?;
    for (name, wanted) in dependencies {
        let path = wanted.get("path").and_then(Value::as_str).ok_or_else(|| format!("{name} has no path"))?;
        let found: Table =
            toml::from_str(&text_of(&format!("{path}/Cargo.toml"))).map_err(|error| error.to_string())?;
        if found["package"]["name"].as_str() != Some(name) {
            return Err(format!("{path} is not {name}"));
        }
        for feature in wanted.get("features").and_then(Value::as_array).into_iter().flatten() {
            if found.get("features").is_none_or(|known| known.get(feature.as_str().unwrap_or_default()).is_none()) {
                return Err(format!("{name} has no feature {feature}"));
            }
        }
    }
    Ok(())
}

/// Reads a block as what its marker says.
///
/// # Errors
/// What the type's reader says, or that the marker says nothing.
fn read(marker: &str, text: &str) -> Result<(), String> {
    let (kind, name) = marker.split_once(": ").unwrap_or((marker, ""));
    let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let study = |text: &str| Study::parse(&root().join(STUDY), text).map(|_| ()).map_err(|error| error.to_string());
    match kind {
        "recipe" => Recipe::from_table(table).map(|_| ()).map_err(|error| error.to_string()),
        "part of a recipe" => {
            Recipe::from_table(with_part(RECIPE, name, table)).map(|_| ()).map_err(|error| error.to_string())
        }
        "tables of a recipe" => {
            let mut whole: Table = toml::from_str(&text_of(RECIPE)).map_err(|error| error.to_string())?;
            whole.extend(table);
            Recipe::from_table(whole).map(|_| ()).map_err(|error| error.to_string())
        }
        "mixture" => {
            MixtureConfig::from_toml(text, Path::new("mixture.toml")).map(|_| ()).map_err(|error| error.to_string())
        }
        "study" => study(text),
        "part of a study" => {
            let adds_axis = table.contains_key("axis");
            let mut whole = with_part(STUDY, name, table);
            if adds_axis {
                // The paper's rows name cells of the axes that were there.
                whole.remove("paper");
            }
            study(&whole.to_string())
        }
        "questions" => questions(table),
        "prompts" => Prompts::parse(text).map(|_| ()).map_err(|error| error.to_string()),
        "part of a suite" => {
            let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
            let file = folder.path().join("suite.toml");
            fs::write(&file, with_part(SUITE, name, table).to_string()).map_err(|error| error.to_string())?;
            Suite::load(&file, None).map(|_| ()).map_err(|error| error.to_string())
        }
        "manifest" => manifest(&table),
        _ => Err(format!("`<!-- {marker} -->` says not what it is; experiments/printed/mod.rs has what can be said")),
    }
}

#[test]
fn tables_are_what_they_say() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for Block { place, marker, text, .. } in
        pages().iter().flat_map(|page| page.blocks()).filter(|block| block.language == "toml")
    {
        match read(marker.as_deref().unwrap_or_default(), &text) {
            Ok(()) => checked += 1,
            Err(error) => wrong.push(format!("{place}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(checked > 15, "{checked} blocks: were they found?");
}

#[test]
fn records_are_json() {
    let mut checked = 0;
    for block in pages().iter().flat_map(|page| page.blocks()).filter(|block| block.language == "json") {
        let values = serde_json::Deserializer::from_str(&block.text).into_iter::<serde_json::Value>();
        values.for_each(|value| assert!(value.is_ok_and(|value| value.is_object()), "{}", block.place));
        checked += 1;
    }
    assert!(checked >= 2, "{checked}");
}

/// A block in a language that nothing here looks at.
#[test]
fn no_block_is_of_a_language_that_nobody_reads() {
    // `text` and none are shown, not used; Python is what another library is asked by.
    let known = ["bash", "sh", "toml", "rust", "json", "yaml", "python", "text", ""];
    for block in pages().iter().flat_map(|page| page.blocks()) {
        assert!(known.contains(&&*block.language), "{}: `{}`", block.place, block.language);
    }
}

#[test]
fn what_is_stale_is_found() {
    assert!(read("", "a = 1").is_err());
    assert!(read("recipe", "a = 1").is_err());
    let part = |path: &str, text: &str| read(&format!("part of a recipe{path}"), text);
    assert_eq!(part("", "[compute]\ngradient_checkpointing = true"), Ok(()));
    assert!(part("", "[compute]\ngradient_checkpoint = true").is_err());
    assert!(part(": stage.align.data", "tasks = { captions = 1.0 }").is_err());
    assert!(read("mixture", "[[source]]\nname = \"a\"\npath = \"a.json\"\nimages = \"b\"").is_err());
    let benchmark = "[[benchmark]]\nname = \"a\"\nkind = \"choice\"\nfile = \"a.tsv\"\nlanguage = \"de\"\n";
    assert_eq!(read("questions", benchmark), Ok(()));
    assert!(read("questions", &format!("{benchmark}grup_column = \"b\"")).is_err());
    assert!(read("manifest", "[dependencies]\nburn-vlm = { path = \"burn-vlm\", features = [\"cudo\"] }").is_err());
}

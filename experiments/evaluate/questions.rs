//! What is asked: a file of questions, a suite, a study's file or a built-in study, with what the command line changes.

use std::path::{Path, PathBuf};

use burn_vlm_base::suggest;
use burn_vlm_data::language::Language;
use burn_vlm_eval::{Rules, benchmarks};
use burn_vlm_train::ablation::{PatchRules, Study, parse_toml};
use burn_vlm_train::eval::Suite;
use burn_vlm_train::recipe::{EvaluationRecipe, SuiteUse};
use toml::{Table, Value};

use crate::AnyError;
use crate::command::{Named, named};

/// Tables of a file of questions that is no study.
const TABLES: [&str; 3] = ["evaluation", "benchmark", "suite"];
/// Tables that only a study has.
const OF_A_STUDY: [&str; 2] = ["axis", "recipe"];
/// Kinds of `[[benchmark]]` on the embedded corpus, whose questions are limited by concept.
const EMBEDDED: [&str; 4] = ["cloze", "lettered", "yes_no", "caption"];

/// What is asked.
pub(super) struct Wanted {
    /// All of it; the benchmarks of a suite are among its tables.
    pub(super) recipe: EvaluationRecipe,
    /// Where relative paths begin.
    pub(super) base: PathBuf,
    /// The suite that it comes from.
    pub(super) suite: Option<Suite>,
    /// What the command line's settings could not be applied to.
    pub(super) notes: Vec<String>,
}

/// What the command line changes.
pub(super) struct Changes<'a> {
    pub(super) preset: Option<&'a str>,
    pub(super) data: Option<&'a Path>,
    pub(super) only: &'a [String],
    pub(super) rules: Option<Rules>,
    pub(super) limit: Option<usize>,
    pub(super) languages: &'a [Language],
}

/// Reads what is asked.
///
/// # Errors
/// A file that cannot be read or is none of what can be asked, files of a suite that are not there, a benchmark in `only` that nobody has.
pub(super) fn read(name: &str, changes: &Changes<'_>) -> Result<Wanted, AnyError> {
    let (mut recipe, base, used) = of_name(name, changes)?;
    let suite = match used {
        None => None,
        Some(Used::Whole(suite)) => Some(suite),
        Some(Used::Named(used)) => Some(used.load(&base)?),
    };
    let mut suite = suite;
    if let Some(suite) = &mut suite {
        if !changes.only.is_empty() {
            suite.keep(changes.only);
        }
        suite.check_files()?;
        recipe.benchmark.extend(suite.benchmarks.iter().cloned());
    }
    recipe.suite = None;
    if !changes.only.is_empty() {
        only(name, &mut recipe, changes.only)?;
    }
    let notes = change(&mut recipe, changes);
    Ok(Wanted { recipe, base, suite, notes })
}

/// A suite by itself, or by a file that uses it.
enum Used {
    Whole(Suite),
    Named(SuiteUse),
}

fn of_name(name: &str, changes: &Changes<'_>) -> Result<(EvaluationRecipe, PathBuf, Option<Used>), AnyError> {
    let file = match named(name)? {
        Named::BuiltIn(study) => return of_study(&crate::parse(&study)?, changes),
        Named::File(file) => file,
    };
    let text = std::fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let mut table: Table = parse_toml(&file, &text)?;
    if OF_A_STUDY.iter().any(|key| table.contains_key(*key)) {
        return of_study(&Study::load(&file)?, changes);
    }
    let wrong = |message: String| AnyError::from(format!("{}: {message}", file.display()));
    if let Some(preset) = changes.preset {
        return Err(wrong(format!("only a study has presets; leave `--preset {preset}` away")));
    }
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    // A suite has a name; who uses one names its file.
    if table.get("suite").and_then(Value::as_table).is_some_and(|suite| suite.contains_key("name")) {
        let suite = Suite::load(&file, changes.data)?;
        let nothing = EvaluationRecipe { suite: None, ..EvaluationRecipe::from_table(suite_table(&suite))? };
        return Ok((EvaluationRecipe { benchmark: Vec::new(), ..nothing }, folder, Some(Used::Whole(suite))));
    }
    if let Some(key) = table.keys().find(|key| !TABLES.contains(&key.as_str())) {
        return Err(wrong(format!("unknown key `{key}`{}", suggest::hint(key, TABLES))));
    }
    let mut evaluation = match table.remove("evaluation") {
        None => Table::new(),
        Some(Value::Table(evaluation)) => evaluation,
        Some(_) => return Err(wrong("`evaluation` must be a table: [evaluation]".into())),
    };
    for key in ["benchmark", "suite"] {
        if let Some(value) = table.remove(key) {
            evaluation.insert(key.into(), value);
        }
    }
    let recipe = EvaluationRecipe::from_table(evaluation).map_err(|error| wrong(error.to_string()))?;
    let used = with_data(recipe.suite.clone(), changes);
    Ok((recipe, folder, used))
}

/// A suite's benchmarks as an evaluation.
fn suite_table(suite: &Suite) -> Table {
    let benchmarks = suite.benchmarks.iter().cloned().map(Value::Table).collect();
    Table::from_iter([("benchmark".to_owned(), Value::Array(benchmarks))])
}

fn with_data(used: Option<SuiteUse>, changes: &Changes<'_>) -> Option<Used> {
    used.map(|used| {
        let data = changes.data.map(|data| std::path::absolute(data).unwrap_or_else(|_| data.to_owned())).or(used.data);
        Used::Named(SuiteUse { data, ..used })
    })
}

/// What the cells of a study are asked.
fn of_study(study: &Study, changes: &Changes<'_>) -> Result<(EvaluationRecipe, PathBuf, Option<Used>), AnyError> {
    let plan = study.plan(changes.preset.unwrap_or(study.usual_preset()), None, &PatchRules::new())?;
    let first = plan.cells.first().ok_or("the study has no cells")?;
    let recipe = EvaluationRecipe::from_table(first.evaluation.clone())?;
    let used = with_data(recipe.suite.clone(), changes);
    Ok((recipe, study.folder().to_owned(), used))
}

/// Keeps some benchmarks by their names.
fn only(file: &str, recipe: &mut EvaluationRecipe, only: &[String]) -> Result<(), AnyError> {
    let name = |table: &Table| table.get("name").and_then(Value::as_str).map(str::to_owned);
    let known: Vec<String> = recipe.benchmark.iter().filter_map(name).collect();
    if let Some(unknown) = only.iter().find(|name| !known.contains(name)) {
        let hint = suggest::hint(unknown, known.iter().map(String::as_str));
        return Err(format!("{file}: --only {unknown}: no [[benchmark]] has this name{hint}").into());
    }
    recipe.benchmark.retain(|table| name(table).is_some_and(|name| only.contains(&name)));
    recipe.languages.clear();
    Ok(())
}

/// Applies rules, limit and languages to everything that has such; returns what has not.
fn change(recipe: &mut EvaluationRecipe, changes: &Changes<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if recipe.text.take().is_some() {
        notes.push(
            "`text` of [evaluation] is asked in studies, before and after training, and left out here".to_owned(),
        );
    }
    if recipe.pivot.take().is_some() {
        notes.push("`pivot` of [evaluation] is for the cells of a study, and left out here".to_owned());
    }
    if let Some(limit) = changes.limit {
        recipe.seen = at_most(recipe.seen, limit);
        recipe.unseen = at_most(recipe.unseen, limit);
    }
    if !changes.languages.is_empty() {
        recipe.languages.retain(|language| changes.languages.contains(language));
    }
    for table in &mut recipe.benchmark {
        let text = |key: &str| table.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, kind) = (text("name"), text("kind"));
        let embedded = EMBEDDED.contains(&kind.as_str());
        if let Some(limit) = changes.limit {
            let keys: &[&str] = if embedded { &["seen", "unseen"] } else { &["limit"] };
            for key in keys {
                let written = table.get(*key).and_then(Value::as_integer).unwrap_or(0);
                let limit = at_most(usize::try_from(written).unwrap_or(0), limit);
                table.insert((*key).to_owned(), Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
            }
        }
        if !changes.languages.is_empty() {
            let tags = changes.languages.iter().map(|language| Value::String(language.tag().to_owned())).collect();
            table.insert("languages".into(), Value::Array(tags));
        }
        if let (Some(rules), Some(published)) = (changes.rules, benchmarks::find(&kind)) {
            if published.rules().contains(&rules) {
                table.insert("rules".into(), Value::String(rules.to_string()));
                // What was chosen for other rules need not go with these.
                table.remove("prompt");
            } else {
                let own: Vec<&str> = published.rules().iter().map(|rules| rules.as_str()).collect();
                notes.push(format!(
                    "{name}: {kind} has no rules of {rules} (it has {}); it keeps its own",
                    own.join(", ")
                ));
            }
        }
    }
    notes
}

/// The smaller, where 0 is all.
fn at_most(written: usize, limit: usize) -> usize {
    if written == 0 { limit } else { written.min(limit) }
}

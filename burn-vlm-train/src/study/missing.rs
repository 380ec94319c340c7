//! What a study needs and what is not there: parts, mixtures, the files that these name, files of benchmarks; with how to get each.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::source::{OpenMixtureError, missing_files as missing_of_mixture};

use super::job::StudyInputs;
use crate::ablation::{Cell, Plan};
use crate::assemble::part_is_missing;
use crate::error::{Result, TrainError};
use crate::eval::{Origin, missing_benchmark_files};
use crate::recipe::{EvaluationRecipe, Recipe};
use crate::run::estimate::ShippedShape;

/// What something is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeededFor {
    /// A part of the model.
    Part,
    /// A mixture, which says what is trained on.
    Mixture,
    /// What is trained on.
    Training,
    /// What is asked.
    Benchmark,
}

impl fmt::Display for NeededFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Part => "parts",
            Self::Mixture => "files that name training data or benchmarks",
            Self::Training => "training data",
            Self::Benchmark => "benchmarks",
        })
    }
}

/// A file or folder that is not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingInput {
    /// What it is needed for.
    pub needed: NeededFor,
    /// How to get it, where that is known.
    pub get: Option<String>,
    /// Where it should be: from the folder of work where it lies below that.
    pub path: PathBuf,
    /// The part, source or benchmark.
    pub name: String,
}

/// All that a study needs and that is not there, each once: by what it is for, and how to get it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingInputs(Vec<MissingInput>);

impl MissingInputs {
    /// Of the cells of a plan. `shapes` know the published parts.
    ///
    /// # Errors
    /// A recipe, mixture or suite that cannot be read, a path that cannot be understood.
    pub fn of(plan: &Plan, inputs: &StudyInputs, shapes: &[ShippedShape]) -> Result<Self> {
        let mut found = Vec::new();
        for cell in &plan.cells {
            of_cell(cell, inputs, shapes, &mut found).map_err(TrainError::within(format!("cell {}", cell.name)))?;
        }
        let here = std::env::current_dir().unwrap_or_default();
        found.iter_mut().for_each(|missing| missing.path = as_typed(&missing.path, &here));
        found.sort();
        found.dedup();
        Ok(Self(found))
    }

    /// Whether all is there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is not there.
    pub fn iter(&self) -> impl Iterator<Item = &MissingInput> {
        self.0.iter()
    }
}

impl fmt::Display for MissingInputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.chunk_by(same_path).count();
        let (what, are) = if count == 1 { ("file or folder", "is") } else { ("files and folders", "are") };
        write!(f, "{count} {what} that the study needs {are} not there:")?;
        for group in self.0.chunk_by(|a, b| (a.needed, &a.get) == (b.needed, &b.get)) {
            let Some(first) = group.first() else { continue };
            write!(f, "\n  {}", first.needed)?;
            if let Some(get) = &first.get {
                write!(f, "; {get}")?;
            }
            // A file that several sources read is one file to get.
            for file in group.chunk_by(same_path) {
                let Some(first) = file.first() else { continue };
                let names: Vec<&str> = file.iter().map(|missing| missing.name.as_str()).collect();
                write!(f, "\n    {}: {}", first.path.display(), names.join(", "))?;
            }
        }
        Ok(())
    }
}

/// Whether two are of one file, in the order of the list.
fn same_path(a: &MissingInput, b: &MissingInput) -> bool {
    (a.needed, &a.get, &a.path) == (b.needed, &b.get, &b.path)
}

/// A path as a person would type it in the folder `here`: without the ways out of folders that come of paths in files of other folders.
fn as_typed(path: &Path, here: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    match plain.strip_prefix(here) {
        Ok(below) if !below.as_os_str().is_empty() => below.to_owned(),
        _ => plain,
    }
}

fn of_cell(cell: &Cell, inputs: &StudyInputs, shapes: &[ShippedShape], found: &mut Vec<MissingInput>) -> Result<()> {
    let recipe = Recipe::from_table(cell.recipe.clone())?;
    parts(&recipe, inputs, shapes, found);
    for stage in recipe.stages.iter().filter_map(|name| recipe.stage.get(name)) {
        let validated = stage.validation.as_ref().and_then(|validation| validation.file.as_ref());
        let mixed = stage.mixture.iter().map(|mixture| (&mixture.file, mixture.set.clone()));
        for (file, set) in mixed.chain(validated.map(|file| (file, toml::Table::new()))) {
            mixture(&inputs.base.join(file), &set, found)?;
        }
    }
    benchmarks(cell, &inputs.base, found)
}

fn parts(recipe: &Recipe, inputs: &StudyInputs, shapes: &[ShippedShape], found: &mut Vec<MissingInput>) {
    if inputs.from_scratch {
        return;
    }
    for name in [recipe.model.encoder_part(), recipe.model.backbone_part()] {
        if !part_is_missing(name, &inputs.parts) {
            continue;
        }
        let path = inputs.parts.join(name);
        let last = Path::new(name).file_name().and_then(|last| last.to_str()).unwrap_or(name);
        let get = match shapes.iter().find(|shape| shape.name == last) {
            Some(shape) if shape.repository.is_empty() => "not published; for who has it".to_owned(),
            Some(shape) => format!("hf download {} --local-dir {}", shape.repository, path.display()),
            None if recipe.part.contains_key(name) => {
                "--from-scratch pretrains them in the study; --parts names another folder of parts".to_owned()
            }
            None => {
                "--parts names another folder of parts; hf download REPOSITORY --local-dir FOLDER gets one".to_owned()
            }
        };
        found.push(MissingInput { needed: NeededFor::Part, get: Some(get), name: name.to_owned(), path });
    }
}

fn mixture(file: &Path, set: &toml::Table, found: &mut Vec<MissingInput>) -> Result<()> {
    if !file.exists() {
        let name = "mixture".to_owned();
        found.push(MissingInput { needed: NeededFor::Mixture, get: None, name, path: file.to_owned() });
        return Ok(());
    }
    for missing in missing_of_mixture(&MixtureConfig::from_file_with(file, set)?).map_err(OpenMixtureError::from)? {
        let get = published(missing.from);
        found.push(MissingInput { needed: NeededFor::Training, get, name: missing.source, path: missing.path });
    }
    Ok(())
}

fn benchmarks(cell: &Cell, base: &Path, found: &mut Vec<MissingInput>) -> Result<()> {
    let evaluation = EvaluationRecipe::from_table(cell.evaluation.clone())?;
    let origins = evaluation.benchmark.iter().filter_map(|table| {
        let name = table.get("name").and_then(|name| name.as_str())?;
        let from = table.get("from").and_then(|from| from.as_str()).map(str::to_owned);
        Some((name.to_owned(), Origin { from, ..Origin::default() }))
    });
    let mut missing = missing_benchmark_files(&evaluation.benchmark, &origins.collect(), base)?;
    if let Some(suite) = &evaluation.suite {
        let file = base.join(&suite.file);
        if file.exists() {
            missing.extend(suite.load(base)?.missing()?);
        } else {
            found.push(MissingInput { needed: NeededFor::Mixture, get: None, name: "suite".to_owned(), path: file });
        }
    }
    found.extend(missing.into_iter().map(|missing| MissingInput {
        needed: NeededFor::Benchmark,
        get: published(missing.from),
        name: missing.benchmark,
        path: missing.file,
    }));
    Ok(())
}

fn published(from: Option<String>) -> Option<String> {
    from.map(|from| format!("published: {from}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(needed: NeededFor, get: Option<&str>, name: &str) -> MissingInput {
        MissingInput { needed, get: get.map(str::to_owned), name: name.to_owned(), path: PathBuf::from(name) }
    }

    #[test]
    fn paths_are_as_a_person_types_them() {
        let cases = [
            ("/home/me/work/experiments/paper/../../data/a.json", "data/a.json"),
            ("experiments/paper/../../data/a.json", "data/a.json"),
            ("./a.json", "a.json"),
            ("../../a.json", "../../a.json"),
            ("/home/me/other/./a.json", "/home/me/other/a.json"),
            ("/home/me/work", "/home/me/work"),
            ("/../a.json", "/../a.json"),
        ];
        for (path, typed) in cases {
            assert_eq!(as_typed(Path::new(path), Path::new("/home/me/work")), Path::new(typed), "{path}");
        }
    }

    #[test]
    fn the_list_is_by_kind_and_how_to_get_it() {
        let list = MissingInputs(vec![
            missing(NeededFor::Part, Some("hf download a/b"), "b"),
            missing(NeededFor::Training, None, "x.json"),
            missing(NeededFor::Training, Some("published: there"), "y.json"),
            missing(NeededFor::Training, Some("published: there"), "z.json"),
            MissingInput { name: "w".to_owned(), ..missing(NeededFor::Training, Some("published: there"), "z.json") },
        ]);
        let expected = "4 files and folders that the study needs are not there:\n  parts; hf download a/b\n    b: b\n  \
                        training data\n    x.json: x.json\n  training data; published: there\n    y.json: y.json\n    z.json: z.json, w";
        assert_eq!(list.to_string(), expected);
    }
}

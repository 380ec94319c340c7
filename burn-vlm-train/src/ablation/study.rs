//! The study file (`experiments/*.toml`): an experiment as data.
//!
//! ```toml
//! name = "encoder"                        # also the default name of its output folder
//! title = "Which vision encoder?"
//! seeds = 1                               # seeds 0, 1, ... of every cell
//! recipe = "../recipes/tiny.toml"         # or the recipe itself as a table: [recipe]
//! open_tables = ["stage.*.learning_rate"] # tables of the recipe whose keys patches may add
//! caveats = ["One seed: the intervals do not cover the spread between runs."]
//!
//! [evaluation]                            # settings of the evaluation; handed to the job as they are
//! items = 200
//!
//! [[benchmark]]                           # what is asked, each a table that the job reads
//! name = "mine"
//! kind = "choice"
//! file = "questions.tsv"
//! limit = 500
//!
//! [presets.paper]                         # or a study of its own: other parts, data, benchmarks
//! study = "paper/encoder.toml"
//!
//! [presets.smoke]                         # what `--preset smoke` changes; a study may have no preset
//! seeds = 1
//! patch = { train = { steps = 10 } }
//! evaluation = { items = 20 }
//! benchmark.mine = { limit = 20 }         # by the benchmark's name
//!
//! [[axis]]                                # the first axis varies slowest in tables
//! name = "encoder"
//! label = "Vision encoder"
//! values = [
//!     { name = "siglip1", label = "SigLIP1", patch = { encoder = { texts = ["en"] } } },
//!     { name = "siglip2", label = "SigLIP2", patch = { encoder = { texts = ["en", "de"] } } },
//! ]
//!
//! [[column]]                              # a column of the table: the mean over these languages
//! name = "En"
//! languages = ["en"]
//!
//! [[paper]]                               # published numbers to print beside ours
//! source = "TowerVision, Table 5"
//! metric = "ALM-Bench, percent"
//! rows = [{ scale = "2B", cell = "siglip1", scores = { En = 67.4 } }]
//! ```
//!
//! A cell's recipe is the base, patched by the preset, then by one value of each axis in file order (`patch`, then
//! what the value has under `presets.<preset>`); a value's `evaluation` patches how the cell is asked. See [`patch`](super::patch) for how patches merge. Two axes must not
//! set the same key, since the later would silently undo the earlier. Where two axes choose one thing together, a string of the recipe
//! has their names in braces, which stand for the names of the values: `backbone = "{family}-{tuning}"`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_vlm_base::files::FileError;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::study_check;
use super::toml_text::{self, TomlError};

/// A study file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its content is wrong.
    #[error(transparent)]
    Content(#[from] TomlError),
}

/// A study: a base recipe, the axes that vary it, and how its results are told.
#[derive(Debug, Clone)]
pub struct Study {
    /// Short name, safe as a file name.
    pub name: String,
    /// One line for headings.
    pub title: String,
    /// What is asked and how it is answered.
    pub description: String,
    /// The base recipe. The runner only patches it; its meaning is the job's.
    pub recipe: Table,
    /// Number of seeds where a preset does not say.
    pub seeds: u64,
    /// Tables of the recipe whose keys are free, as paths for [`PatchRules::open`](super::PatchRules::open).
    pub open_tables: Vec<String>,
    /// Settings of the evaluation. The runner only patches them.
    pub evaluation: Table,
    /// What is asked beside the evaluation's own questions, each with a `name`. The runner only patches them; a cell's evaluation
    /// has them under `benchmark`.
    pub benchmarks: Vec<Table>,
    /// `[suite]`: a file with more benchmarks. The runner does not read it; a cell's evaluation has it under `suite`.
    pub suite: Option<Table>,
    /// What each preset changes.
    pub presets: BTreeMap<String, Preset>,
    /// What is varied, in the order of the file.
    pub axes: Vec<Axis>,
    /// Columns of the result table, in the order of the file.
    pub columns: Vec<Column>,
    /// Published numbers to show beside ours.
    pub papers: Vec<Paper>,
    /// What a reader of the results must know.
    pub caveats: Vec<String>,
    pub(super) source: Source,
}

/// Where a study came from, for places in error messages.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) text: String,
}

/// What a preset changes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What it is for, one line.
    #[serde(default)]
    pub description: String,
    /// Number of seeds, if not the study's.
    pub seeds: Option<u64>,
    /// Patch of the base recipe.
    #[serde(default)]
    pub patch: Table,
    /// Patch of the evaluation settings.
    #[serde(default)]
    pub evaluation: Table,
    /// Patches of benchmarks, by their names.
    #[serde(default)]
    pub benchmark: BTreeMap<String, Table>,
    /// Another suite than the study's.
    pub suite: Option<Table>,
    /// Languages of columns that differ from the study's.
    #[serde(default)]
    pub columns: BTreeMap<String, Vec<String>>,
    /// Instead of all of these: another study's file, which asks the same with other parts, data and benchmarks. Its own usual preset
    /// is what is run.
    #[serde(default)]
    pub study: Option<PathBuf>,
    /// That study, read; or why it is not: a study that is copied without it has its other presets all the same.
    #[serde(skip)]
    pub(super) other: Option<Result<Box<Study>, String>>,
}

impl Preset {
    /// Whether it patches anything of the study that it stands in.
    fn changes_something(&self) -> bool {
        let Self { description: _, seeds, patch, evaluation, benchmark, columns, suite, study: _, other: _ } = self;
        let tables = [patch.is_empty(), evaluation.is_empty(), benchmark.is_empty(), columns.is_empty()];
        seeds.is_some() || suite.is_some() || tables.contains(&false)
    }
}

/// One thing that the study varies.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Short name: the key in `summary.json`.
    pub name: String,
    /// Name in tables and plots.
    #[serde(default)]
    pub label: String,
    /// Its values, in the order of the tables.
    pub values: Vec<AxisValue>,
}

/// One value of an axis.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisValue {
    /// Short name: a segment of the cell's name.
    pub name: String,
    /// Name in tables and plots.
    #[serde(default)]
    pub label: String,
    /// Patch of the recipe.
    #[serde(default)]
    pub patch: Table,
    /// Patch of the evaluation settings.
    #[serde(default)]
    pub evaluation: Table,
    /// Further patches that only hold under a preset (another checkpoint for `small`, say).
    #[serde(default)]
    pub presets: BTreeMap<String, Table>,
}

/// A column of the result table.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// The languages whose mean it shows; their meaning is the job's.
    pub languages: Vec<String>,
    /// One line on what it measures.
    #[serde(default)]
    pub description: String,
    /// Only questions with these tags (`{ size = "1/4" }`); all where there are none. All columns of a study have the same tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Published numbers.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// Which paper and table.
    pub source: String,
    /// What the numbers are.
    pub metric: String,
    /// How to read them beside ours.
    #[serde(default)]
    pub note: String,
    /// The rows; none where only the paper's words are quoted.
    #[serde(default)]
    pub rows: Vec<PaperRow>,
}

/// One row of published numbers.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PaperRow {
    /// Model size or another heading over groups of rows.
    #[serde(default)]
    pub scale: String,
    /// Our setting that it corresponds to (`siglip1/en`), if any.
    pub cell: Option<String>,
    /// The row's name in the paper.
    #[serde(default)]
    pub label: String,
    /// Score by column name.
    pub scores: BTreeMap<String, f64>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StudyFile {
    name: String,
    title: String,
    #[serde(default)]
    description: String,
    #[serde(default = "one")]
    seeds: u64,
    recipe: Value,
    #[serde(default)]
    open_tables: Vec<String>,
    #[serde(default)]
    evaluation: Table,
    #[serde(default)]
    benchmark: Vec<Table>,
    suite: Option<Table>,
    #[serde(default)]
    presets: BTreeMap<String, Preset>,
    #[serde(default)]
    axis: Vec<Axis>,
    #[serde(default)]
    column: Vec<Column>,
    #[serde(default)]
    paper: Vec<Paper>,
    #[serde(default)]
    caveats: Vec<String>,
}

fn one() -> u64 {
    1
}

impl Study {
    /// Reads a study file. A recipe given as a path is looked up beside it.
    ///
    /// # Errors
    /// Names file, place and what was expected, with the nearest valid name.
    pub fn load(file: &Path) -> Result<Self, StudyError> {
        let text = std::fs::read_to_string(file).map_err(FileError::io("read", file))?;
        Self::parse(file, &text)
    }

    /// Reads a study from its text. `file` is what errors name, and where a recipe given as a path is looked up.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(file: &Path, text: &str) -> Result<Self, StudyError> {
        Self::parse_with(file, text, |path| std::fs::read_to_string(path))
    }

    /// As [`parse`](Self::parse), with `read` instead of the file system for a recipe given as a path: for studies whose
    /// files are embedded in a program.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse_with(
        file: &Path,
        text: &str,
        read: impl Fn(&Path) -> std::io::Result<String>,
    ) -> Result<Self, StudyError> {
        Self::parse_by(file, text, &read, false)
    }

    /// `is_preset`: it is what a preset of another study names.
    fn parse_by(
        file: &Path,
        text: &str,
        read: &dyn Fn(&Path) -> std::io::Result<String>,
        is_preset: bool,
    ) -> Result<Self, StudyError> {
        let content: StudyFile = toml_text::parse_toml(file, text)?;
        let recipe = match content.recipe {
            Value::Table(recipe) => recipe,
            Value::String(path) => {
                let path = file.parent().unwrap_or(Path::new("")).join(path);
                let text = read(&path).map_err(FileError::io("read the recipe", &path))?;
                toml_text::parse_toml(&path, &text)?
            }
            _ => {
                let place = toml_text::locate(text, &["recipe"]);
                let message = "`recipe` must be a table ([recipe]) or the path of a recipe's file";
                return Err(TomlError::new(file, place, message).into());
            }
        };
        let mut presets = content.presets;
        for (name, preset) in &mut presets {
            let Some(path) = &preset.study else { continue };
            let wrong = |message: &str| {
                let place = toml_text::locate(text, &["presets", name, "study"]);
                StudyError::from(TomlError::new(file, place, message))
            };
            if is_preset {
                return Err(wrong("the study of a preset cannot have such presets itself"));
            }
            if preset.changes_something() {
                return Err(wrong("a preset that is a `study` of its own has nothing else but a `description`"));
            }
            let path = file.parent().unwrap_or(Path::new("")).join(path);
            preset.other = Some(match read(&path).map_err(FileError::io("read the study", &path)) {
                Err(error) => Err(error.to_string()),
                Ok(text) => Ok(Box::new(Self::parse_by(&path, &text, read, true)?)),
            });
        }
        let mut study = Self {
            name: content.name,
            title: content.title,
            description: content.description,
            recipe,
            seeds: content.seeds,
            open_tables: content.open_tables,
            evaluation: content.evaluation,
            benchmarks: content.benchmark,
            suite: content.suite,
            presets,
            axes: content.axis,
            columns: content.column,
            papers: content.paper,
            caveats: content.caveats,
            source: Source { file: file.to_owned(), text: text.to_owned() },
        };
        study.fill_labels();
        study_check::check(&study)?;
        Ok(study)
    }

    /// The folder of the study's file, where relative paths of its benchmarks begin.
    pub fn folder(&self) -> &Path {
        self.source.file.parent().unwrap_or(Path::new(""))
    }

    /// The names of all combinations of axis values (`siglip1/en`), the first axis slowest.
    pub fn settings(&self) -> Vec<String> {
        self.combinations()
            .iter()
            .map(|values| {
                let names: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
                names.join("/")
            })
            .collect()
    }

    /// All combinations of axis values, the first axis slowest.
    pub(super) fn combinations(&self) -> Vec<Vec<&AxisValue>> {
        let mut all = vec![Vec::new()];
        for axis in &self.axes {
            all = all
                .into_iter()
                .flat_map(|head: Vec<&AxisValue>| {
                    axis.values.iter().map(move |value| {
                        let mut values = head.clone();
                        values.push(value);
                        values
                    })
                })
                .collect();
        }
        all
    }

    /// An error at the key `path` of this study's file.
    pub(super) fn error_at<S: AsRef<str>>(&self, path: &[S], message: impl Into<String>) -> StudyError {
        let place = toml_text::locate(&self.source.text, path);
        TomlError::new(&self.source.file, place, message).into()
    }

    /// A label that is left out is the name.
    fn fill_labels(&mut self) {
        for axis in &mut self.axes {
            if axis.label.is_empty() {
                axis.label.clone_from(&axis.name);
            }
            for value in &mut axis.values {
                if value.label.is_empty() {
                    value.label.clone_from(&value.name);
                }
            }
        }
        for row in self.papers.iter_mut().flat_map(|paper| &mut paper.rows) {
            if row.label.is_empty() {
                row.label = row.cell.clone().unwrap_or_default();
            }
        }
    }
}

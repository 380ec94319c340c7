//! From a study file and a preset to the list of cells.
//!
//! Unusual here: seeds vary slowest, so a study that is stopped early has every setting at its first seeds, which is a
//! comparison already, instead of some settings at all seeds.

use burn_vlm_base::suggest;
use toml::{Table, Value};

use super::cell::{self, AxisChoice, Cell, UnknownCell};
use super::fingerprint;
use super::patch::{self, PatchError, PatchRules, Touched};
use super::study::{AxisValue, Column, Preset, Study, StudyError};

/// What the plan of a study without presets calls its preset: the study as it stands.
pub const NO_PRESET: &str = "default";
/// The preset that is meant where none is named, of studies that have it.
const USUAL_PRESET: &str = "tiny";

/// Key of the benchmarks in a cell's evaluation.
pub(super) const BENCHMARK: &str = "benchmark";

/// Key of the evaluation's settings in a study and in a preset.
const EVALUATION: &str = "evaluation";

/// Key of the suite in a cell's evaluation.
const SUITE: &str = "suite";

/// The name that a benchmark's table gives.
pub(super) fn benchmark_name(benchmark: &Table) -> Option<&str> {
    benchmark.get("name").and_then(Value::as_str)
}

/// A study under one preset: its cells in the order in which they run and are reported.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The study.
    pub study: Study,
    /// The preset's name.
    pub preset: String,
    /// Number of seeds of every setting.
    pub seeds: u64,
    /// The columns under this preset.
    pub columns: Vec<Column>,
    /// All cells: seeds slowest, then the first axis, and so on.
    pub cells: Vec<Cell>,
}

impl Study {
    /// The cells of this study under `preset`, with `seeds` seeds if given.
    ///
    /// `rules` says which keys of the recipe patches may add; the study's own `open_tables` come on top. A study without presets
    /// has one plan, [`NO_PRESET`]: the study as it stands.
    ///
    /// # Errors
    /// An unknown preset, a patch that does not fit the base recipe, two axes that set the same key, two cells with the
    /// same recipe: with file, place and the nearest valid name.
    pub fn plan(&self, preset: &str, seeds: Option<u64>, rules: &PatchRules) -> Result<Plan, StudyError> {
        let chosen = &self.preset(preset)?;
        if let Some(other) = &chosen.other {
            let other = other.as_ref().map_err(|error| self.error_at(&["presets", preset, "study"], error.clone()))?;
            return Ok(Plan { preset: preset.to_owned(), ..other.plan(other.usual_preset(), seeds, rules)? });
        }
        let rules = self.open_tables.iter().fold(rules.clone(), |rules, path| rules.open(path));
        let mut evaluation = self.evaluation_under(preset, chosen, &rules)?;
        let benchmarks = self.benchmarks_under(preset, chosen, &rules)?;
        if !benchmarks.is_empty() {
            let benchmarks = benchmarks.into_iter().map(Value::Table).collect();
            evaluation.insert(BENCHMARK.to_owned(), Value::Array(benchmarks));
        }
        if let Some(suite) = chosen.suite.as_ref().or(self.suite.as_ref()) {
            evaluation.insert(SUITE.to_owned(), Value::Table(suite.clone()));
        }
        let settings = self.merge_all(preset, chosen, &evaluation, &rules)?;
        let seeds = seeds.or(chosen.seeds).unwrap_or(self.seeds);
        if seeds == 0 {
            return Err(self.error_at(&["seeds"], "the number of seeds must be at least 1"));
        }
        let mut cells = Vec::new();
        for seed in 0..seeds {
            for Setting { values, recipe, evaluation } in &settings {
                cells.push(self.cell(values, seed, recipe.clone(), evaluation.clone()));
            }
        }
        Ok(Plan { columns: self.columns_under(chosen), study: self.clone(), preset: preset.to_owned(), seeds, cells })
    }

    /// Plans the study under every preset, to find mistakes in presets that are not run.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn check_presets(&self, rules: &PatchRules) -> Result<(), StudyError> {
        let alone = self.presets.is_empty().then_some(NO_PRESET);
        let there = self.presets.iter().filter(|(_, preset)| !matches!(preset.other, Some(Err(_))));
        let mut presets = there.map(|(name, _)| name.as_str()).chain(alone);
        presets.try_for_each(|preset| self.plan(preset, None, rules).map(|_| ()))
    }

    /// The preset that is meant where none is named: `tiny`; of a study with one preset that; of one without, [`NO_PRESET`].
    pub fn usual_preset(&self) -> &str {
        match self.presets.len() {
            0 => NO_PRESET,
            1 => self.presets.keys().next().map_or(NO_PRESET, String::as_str),
            _ => USUAL_PRESET,
        }
    }

    fn preset(&self, name: &str) -> Result<Preset, StudyError> {
        if let Some(preset) = self.presets.get(name) {
            return Ok(preset.clone());
        }
        let message = match self.presets.is_empty() {
            true if name == NO_PRESET => return Ok(Preset::default()),
            true => format!("unknown preset `{name}`: this study has no [presets.*]; leave --preset away"),
            false => format!("unknown preset `{name}`{}", suggest::hint(name, self.presets.keys().map(String::as_str))),
        };
        Err(self.error_at(&["presets"], message))
    }

    /// The evaluation as the preset patches it, or replaces it as a whole (`_replace = true`).
    fn evaluation_under(&self, name: &str, preset: &Preset, rules: &PatchRules) -> Result<Table, StudyError> {
        let mut evaluation = self.evaluation.clone();
        self.patch_evaluation(&mut evaluation, &preset.evaluation, &["presets", name], rules)?;
        Ok(evaluation)
    }

    /// Patches an evaluation by what stands under `evaluation` at `place`, and says which keys that sets.
    fn patch_evaluation(
        &self,
        evaluation: &mut Table,
        patch: &Table,
        place: &[&str],
        rules: &PatchRules,
    ) -> Result<Touched, StudyError> {
        let within = |table: &Table| Table::from_iter([(EVALUATION.to_owned(), Value::Table(table.clone()))]);
        let mut whole = within(evaluation);
        let touched =
            patch::merge_touching(&mut whole, &within(patch), rules).map_err(|error| self.patch_error(place, error))?;
        if let Some(Value::Table(patched)) = whole.remove(EVALUATION) {
            *evaluation = patched;
        }
        Ok(touched)
    }

    /// The benchmarks as the preset patches them.
    fn benchmarks_under(&self, name: &str, preset: &Preset, rules: &PatchRules) -> Result<Vec<Table>, StudyError> {
        let patched = |benchmark: &Table| {
            let mut benchmark = benchmark.clone();
            let patch = benchmark_name(&benchmark).and_then(|own| Some((own.to_owned(), preset.benchmark.get(own)?)));
            if let Some((own, patch)) = patch {
                patch::merge(&mut benchmark, patch, rules)
                    .map_err(|error| self.patch_error(&["presets", name, BENCHMARK, &own], error))?;
            }
            Ok(benchmark)
        };
        self.benchmarks.iter().map(patched).collect()
    }

    /// Recipe and evaluation of every setting.
    fn merge_all(
        &self,
        preset_name: &str,
        preset: &Preset,
        evaluation: &Table,
        rules: &PatchRules,
    ) -> Result<Vec<Setting<'_>>, StudyError> {
        let mut base = self.recipe.clone();
        patch::merge(&mut base, &preset.patch, rules)
            .map_err(|error| self.patch_error(&["presets", preset_name, "patch"], error))?;
        self.check_axes_apart(preset_name, (&base, evaluation), rules)?;
        let mut settings: Vec<Setting<'_>> = Vec::new();
        for values in self.combinations() {
            let (mut recipe, mut evaluation) = (base.clone(), evaluation.clone());
            for (axis, value) in self.axes.iter().zip(&values) {
                self.merge_value((&mut recipe, &mut evaluation), &axis.name, value, preset_name, rules)?;
            }
            let names = self.axes.iter().map(|axis| axis.name.as_str()).zip(values.iter().map(|value| &*value.name));
            for (axis, value) in names {
                put_in_place(&mut recipe, &format!("{{{axis}}}"), value);
            }
            let same = |other: &&Setting<'_>| {
                fingerprint::same_table(&other.recipe, &recipe)
                    && fingerprint::same_table(&other.evaluation, &evaluation)
            };
            if let Some(twin) = settings.iter().find(same) {
                let message = format!(
                    "cells `{}` and `{}` have the same recipe and evaluation under preset `{preset_name}`: a value's patch is missing \
                     or changes nothing",
                    joined(&twin.values),
                    joined(&values)
                );
                return Err(self.error_at(&["axis"], message));
            }
            settings.push(Setting { values, recipe, evaluation });
        }
        Ok(settings)
    }

    /// Merges what `value` changes under the preset, and says which keys those are.
    fn merge_value(
        &self,
        (recipe, evaluation): (&mut Table, &mut Table),
        axis: &str,
        value: &AxisValue,
        preset: &str,
        rules: &PatchRules,
    ) -> Result<Touched, StudyError> {
        let path = ["axis", axis, "values", &value.name];
        let mut touched = patch::merge_touching(recipe, &value.patch, rules)
            .map_err(|error| self.patch_error(&[&path[..], &["patch"]].concat(), error))?;
        if let Some(patch) = value.presets.get(preset) {
            let more = patch::merge_touching(recipe, patch, rules)
                .map_err(|error| self.patch_error(&[&path[..], &["presets", preset]].concat(), error))?;
            touched.extend(more);
        }
        touched.extend(self.patch_evaluation(evaluation, &value.evaluation, &path, rules)?);
        Ok(touched)
    }

    /// No axis may undo what an earlier one sets.
    fn check_axes_apart(
        &self,
        preset: &str,
        (base, evaluation): (&Table, &Table),
        rules: &PatchRules,
    ) -> Result<(), StudyError> {
        let mut earlier: Vec<(&str, Touched)> = Vec::new();
        for axis in &self.axes {
            let mut touched = Touched::default();
            for value in &axis.values {
                touched.extend(self.merge_value(
                    (&mut base.clone(), &mut evaluation.clone()),
                    &axis.name,
                    value,
                    preset,
                    rules,
                )?);
            }
            for (other, set) in &earlier {
                if let Some(path) = set.lost_to(&touched) {
                    let message = format!(
                        "axes `{other}` and `{}` both set `{}`: the later would undo the earlier",
                        axis.name,
                        patch::show(path)
                    );
                    return Err(self.error_at(&["axis", &axis.name], message));
                }
            }
            earlier.push((&axis.name, touched));
        }
        Ok(())
    }

    fn cell(&self, values: &[&AxisValue], seed: u64, recipe: Table, evaluation: Table) -> Cell {
        let setting = joined(values);
        let axes = self.axes.iter().zip(values).map(|(axis, value)| AxisChoice {
            axis: axis.name.clone(),
            value: value.name.clone(),
            label: value.label.clone(),
        });
        Cell { name: format!("{setting}/seed{seed}"), setting, axes: axes.collect(), seed, recipe, evaluation }
    }

    fn columns_under(&self, preset: &Preset) -> Vec<Column> {
        let mut columns = self.columns.clone();
        for column in &mut columns {
            if let Some(languages) = preset.columns.get(&column.name) {
                column.languages.clone_from(languages);
            }
        }
        columns
    }

    fn patch_error(&self, place: &[&str], error: PatchError) -> StudyError {
        let inner = error.path.iter().map(String::as_str);
        let path: Vec<&str> = place.iter().copied().chain(inner).collect();
        self.error_at(&path, format!("in `{}`: {error}", patch::show_strs(place)))
    }
}

/// What one value of each axis makes of the study.
struct Setting<'a> {
    values: Vec<&'a AxisValue>,
    recipe: Table,
    evaluation: Table,
}

impl Plan {
    /// All languages of the columns, sorted, each once: what a cell is evaluated in.
    pub fn languages(&self) -> Vec<&str> {
        let mut all: Vec<&str> =
            self.columns.iter().flat_map(|column| column.languages.iter().map(String::as_str)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The cells that `--only` selects, as indices; all if `only` is empty. See [`cell::select`].
    ///
    /// # Errors
    /// A pattern that selects nothing, with the nearest name.
    pub fn select(&self, only: &[String]) -> Result<Vec<usize>, UnknownCell> {
        cell::select(&self.cells, only)
    }

    /// Pairs of settings that differ in exactly one axis, with that axis: the comparisons that the study makes.
    /// The first of a pair comes first in the file.
    pub fn contrasts(&self) -> Vec<(&Cell, &Cell, &str)> {
        let settings = &self.cells[..self.cells.len() / self.seeds as usize];
        let mut pairs = Vec::new();
        for (index, first) in settings.iter().enumerate() {
            for second in &settings[index + 1..] {
                let mut differing = first.axes.iter().zip(&second.axes).filter(|(a, b)| a.value != b.value);
                if let (Some((choice, _)), None) = (differing.next(), differing.next()) {
                    pairs.push((first, second, choice.axis.as_str()));
                }
            }
        }
        pairs
    }
}

/// Writes `value` for `placeholder` in all strings of a recipe: where two axes choose one thing together (`backbone = "{family}-{tuning}"`).
fn put_in_place(table: &mut Table, placeholder: &str, value: &str) {
    fn replace(place: &mut Value, placeholder: &str, value: &str) {
        match place {
            Value::String(text) if text.contains(placeholder) => *text = text.replace(placeholder, value),
            Value::Array(items) => items.iter_mut().for_each(|item| replace(item, placeholder, value)),
            Value::Table(table) => put_in_place(table, placeholder, value),
            _ => {}
        }
    }
    table.iter_mut().for_each(|(_, item)| replace(item, placeholder, value));
}

fn joined(values: &[&AxisValue]) -> String {
    let names: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
    names.join("/")
}

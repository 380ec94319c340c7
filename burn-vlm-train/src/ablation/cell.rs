//! A cell: one value of every axis and one seed, with the recipe that they make.

use std::path::PathBuf;

use burn_vlm_base::suggest;
use serde::{Deserialize, Serialize};
use toml::Table;

/// One job of a study: a setting (one value of every axis) and a seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Its name, as `--only` takes it: `siglip1/en/seed0`.
    pub name: String,
    /// The name without the seed, `siglip1/en`: cells of one setting are summarised together.
    pub setting: String,
    /// The value of every axis, in the study's order.
    pub axes: Vec<AxisChoice>,
    /// The seed that everything random in the cell comes from.
    pub seed: u64,
    /// The recipe: the study's base with the patches of preset and values.
    pub recipe: Table,
    /// The evaluation's settings: the study's with the preset's patch.
    pub evaluation: Table,
}

/// The value of one axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxisChoice {
    /// The axis' name.
    pub axis: String,
    /// The value's name.
    pub value: String,
    /// The value's name in tables and plots.
    pub label: String,
}

impl Cell {
    /// The name of its value of `axis`, if the study has that axis.
    pub fn value(&self, axis: &str) -> Option<&str> {
        self.axes.iter().find(|choice| choice.axis == axis).map(|choice| choice.value.as_str())
    }

    /// Its values as `{axis: value}`, as `summary.json` shows them.
    pub fn axes_json(&self) -> serde_json::Map<String, serde_json::Value> {
        self.axes.iter().map(|choice| (choice.axis.clone(), choice.value.clone().into())).collect()
    }

    /// Its labels joined for a table's row or a plot's legend: `SigLIP1, En`.
    pub fn label(&self) -> String {
        let labels: Vec<&str> = self.axes.iter().map(|choice| choice.label.as_str()).collect();
        labels.join(", ")
    }

    /// Its name as a single file name: `siglip1--en--seed0`.
    pub fn slug(&self) -> String {
        self.name.replace('/', "--")
    }

    /// Its name as a relative path of one folder a segment.
    pub(super) fn path(&self) -> PathBuf {
        self.name.split('/').collect()
    }
}

/// An `--only` that selects no cell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--only {pattern}: the study has no such cell{hint}; --dry-run lists the cells")]
pub struct UnknownCell {
    /// What was given.
    pub pattern: String,
    /// The nearest cell or setting.
    pub hint: String,
}

/// The indices of the cells that any of `patterns` selects, in order; all if there are no patterns.
///
/// A pattern is a cell's name or its beginning by segments (`siglip1/en` has all seeds), `*` stands for any segment.
///
/// # Errors
/// A pattern that selects nothing, with the nearest name.
pub fn select(cells: &[Cell], patterns: &[String]) -> Result<Vec<usize>, UnknownCell> {
    if patterns.is_empty() {
        return Ok((0..cells.len()).collect());
    }
    for pattern in patterns {
        if !cells.iter().any(|cell| selects(pattern, &cell.name)) {
            let mut names: Vec<&str> = cells.iter().map(|cell| cell.setting.as_str()).collect();
            names.dedup();
            // A pattern as deep as a cell's name means a cell.
            let depth = pattern.trim_matches('/').split('/').count();
            if cells.first().is_some_and(|cell| depth > cell.axes.len()) {
                names = cells.iter().map(|cell| cell.name.as_str()).collect();
            }
            return Err(UnknownCell { pattern: pattern.clone(), hint: suggest::hint(pattern, names) });
        }
    }
    Ok((0..cells.len()).filter(|index| patterns.iter().any(|pattern| selects(pattern, &cells[*index].name))).collect())
}

fn selects(pattern: &str, name: &str) -> bool {
    let mut segments = name.split('/');
    let pattern = pattern.trim_matches('/').split('/');
    pattern.into_iter().all(|wanted| segments.next().is_some_and(|segment| wanted == "*" || wanted == segment))
}

//! What must hold in a study file beyond its types: names that are safe and unique, references that exist.

use std::collections::BTreeSet;

use burn_vlm_base::suggest;

use super::plan::{BENCHMARK, benchmark_name};
use super::study::{Study, StudyError};

/// Longest name of a study, preset, axis or value: cell folders of several axes must stay valid file names.
const NAME_AT_MOST: usize = 48;

/// Names that Windows reserves for devices.
const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];

/// Why `name` cannot be a part of a file name, if it cannot.
///
/// `--` is excluded because it joins the segments of a cell's name where a flat name is needed, and `seedN` because it
/// is a cell's last segment.
pub(super) fn unsafe_name(name: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
    let is_seed = name
        .strip_prefix("seed")
        .is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()));
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > NAME_AT_MOST {
        Some("it has more than 48 characters")
    } else if !name.chars().all(allowed) {
        Some("only ASCII letters, digits and `_ - . +` are allowed")
    } else if name.starts_with(['-', '.']) || name.ends_with(['-', '.']) || name.contains("--") {
        Some("`-` and `.` may only stand inside, and no two `-` together")
    } else if RESERVED.contains(&name.to_lowercase().as_str()) {
        Some("it is reserved on some systems")
    } else if is_seed {
        Some("names like `seed0` are kept for the seeds")
    } else {
        None
    }
}

pub(super) fn check(study: &Study) -> Result<(), StudyError> {
    check_name(study, &["name"], "study", &study.name)?;
    if study.seeds == 0 {
        return Err(study.error_at(&["seeds"], "`seeds` must be at least 1"));
    }
    check_axes(study)?;
    check_columns(study)?;
    check_benchmarks(study)?;
    check_presets(study)?;
    check_papers(study)
}

fn check_axes(study: &Study) -> Result<(), StudyError> {
    if study.axes.is_empty() {
        return Err(study.error_at(&["axis"], "a study needs at least one [[axis]]"));
    }
    check_unique(study, &["axis"], "axis", study.axes.iter().map(|axis| &*axis.name))?;
    for axis in &study.axes {
        let path = ["axis", &axis.name, "values"];
        check_name(study, &path[..2], "axis", &axis.name)?;
        if axis.values.is_empty() {
            let message = format!("axis `{}` needs at least one value", axis.name);
            return Err(study.error_at(&path, message));
        }
        check_unique(study, &path, "value", axis.values.iter().map(|value| &*value.name))?;
        for value in &axis.values {
            let path = ["axis", &axis.name, "values", &value.name];
            check_name(study, &path, "value", &value.name)?;
            for preset in value.presets.keys() {
                if !study.presets.contains_key(preset) {
                    let hint = suggest::hint(preset, study.presets.keys().map(String::as_str));
                    let message = format!("unknown preset `{preset}` of value `{}`{hint}", value.name);
                    return Err(study.error_at(&[&path[..], &["presets", preset]].concat(), message));
                }
            }
        }
    }
    Ok(())
}

fn check_columns(study: &Study) -> Result<(), StudyError> {
    check_unique(study, &["column"], "column", study.columns.iter().map(|column| &*column.name))?;
    let tags = |column: &super::Column| column.tags.keys().cloned().collect::<Vec<_>>();
    for column in &study.columns {
        if tags(column) != tags(&study.columns[0]) {
            let (first, other) = (tags(&study.columns[0]).join(", "), tags(column).join(", "));
            let message = format!(
                "column `{}` has the tags [{other}], the first column [{first}]: a question is in one column or in none, so all columns \
                 have the same tags",
                column.name
            );
            return Err(study.error_at(&["column", &column.name, "tags"], message));
        }
        if column.languages.is_empty() {
            let message = format!("column `{}` has no languages", column.name);
            return Err(study.error_at(&["column", &column.name, "languages"], message));
        }
    }
    Ok(())
}

fn check_benchmarks(study: &Study) -> Result<(), StudyError> {
    if study.evaluation.contains_key(BENCHMARK) {
        let message = "benchmarks stand in tables of their own: [[benchmark]], not below [evaluation]";
        return Err(study.error_at(&["evaluation", BENCHMARK], message));
    }
    let mut names = Vec::new();
    for (number, benchmark) in study.benchmarks.iter().enumerate() {
        let Some(name) = benchmark_name(benchmark) else {
            let message = format!("the [[benchmark]] number {} has no `name`", number + 1);
            return Err(study.error_at(&[BENCHMARK, &number.to_string()], message));
        };
        check_name(study, &[BENCHMARK, name], "benchmark", name)?;
        names.push(name);
    }
    check_unique(study, &[BENCHMARK], "benchmark", names.iter().copied())?;
    for (preset, settings) in &study.presets {
        if let Some(name) = settings.benchmark.keys().find(|name| !names.contains(&name.as_str())) {
            let hint = suggest::hint(name, names.iter().copied());
            let message = format!("unknown benchmark `{name}`{hint}");
            return Err(study.error_at(&["presets", preset, BENCHMARK, name], message));
        }
    }
    Ok(())
}

fn check_presets(study: &Study) -> Result<(), StudyError> {
    for (name, preset) in &study.presets {
        check_name(study, &["presets", name], "preset", name)?;
        if preset.seeds == Some(0) {
            return Err(study.error_at(&["presets", name, "seeds"], "`seeds` must be at least 1"));
        }
        for (column, languages) in &preset.columns {
            let path = ["presets", name, "columns", column];
            check_column(study, &path, column)?;
            if languages.is_empty() {
                return Err(study.error_at(&path, format!("column `{column}` has no languages")));
            }
        }
    }
    Ok(())
}

fn check_papers(study: &Study) -> Result<(), StudyError> {
    let settings = study.settings();
    for (paper_index, paper) in study.papers.iter().enumerate() {
        for (row_index, row) in paper.rows.iter().enumerate() {
            let (paper_index, row_index) = (paper_index.to_string(), row_index.to_string());
            let path = ["paper", &paper_index, "rows", &row_index];
            match &row.cell {
                Some(cell) if !settings.contains(cell) => {
                    let hint = suggest::hint(cell, settings.iter().map(String::as_str));
                    let message = format!("unknown cell `{cell}` in the paper's rows{hint}");
                    return Err(study.error_at(&[&path[..], &["cell"]].concat(), message));
                }
                None if row.label.is_empty() => {
                    return Err(study.error_at(&path, "a paper's row needs `cell` or `label`"));
                }
                _ => {}
            }
            for column in row.scores.keys() {
                check_column(study, &[&path[..], &["scores", column]].concat(), column)?;
            }
        }
    }
    Ok(())
}

fn check_column(study: &Study, path: &[&str], column: &str) -> Result<(), StudyError> {
    if study.columns.iter().any(|known| known.name == column) {
        return Ok(());
    }
    let hint = suggest::hint(column, study.columns.iter().map(|column| &*column.name));
    Err(study.error_at(path, format!("unknown column `{column}`{hint}")))
}

fn check_name(study: &Study, path: &[&str], what: &str, name: &str) -> Result<(), StudyError> {
    match unsafe_name(name) {
        None => Ok(()),
        Some(why) => {
            let message = format!("the {what} name `{name}` cannot be part of a file name: {why}");
            Err(study.error_at(path, message))
        }
    }
}

/// Names must differ in more than case: some file systems do not tell `A` from `a`.
fn check_unique<'a>(
    study: &Study,
    path: &[&str],
    what: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), StudyError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.to_lowercase()) {
            let message = format!("two {what}s are named `{name}` (case does not count)");
            return Err(study.error_at(&[path, &[name]].concat(), message));
        }
    }
    Ok(())
}

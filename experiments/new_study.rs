//! `burn-vlm study --new NAME`: a study to begin with, on no paper's question.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use burn_vlm_base::files::create_dir_all;

use crate::call::call;
use crate::{AnyError, STUDIES};

/// The study; `NAME` is its name.
pub(crate) const TEMPLATE: &str = include_str!("new_study.toml");

/// Writes the file `NAME.toml`, where there is none; what to do next.
pub(crate) fn write_new(name: &str) -> Result<String, AnyError> {
    let path = Path::new(name.strip_suffix(".toml").unwrap_or(name));
    let stem = path.file_name().and_then(|stem| stem.to_str()).unwrap_or_default();
    if stem.is_empty() || !stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Err(format!("--new {name}: a study's name is of letters, digits, `_` and `-`, such as mine").into());
    }
    if STUDIES.iter().any(|study| study.file == stem) {
        return Err(format!("--new {name}: a built-in study has this name, and its results the same folder").into());
    }
    let file = PathBuf::from(format!("{}.toml", path.display()));
    if let Some(folder) = file.parent().filter(|folder| *folder != Path::new("")) {
        create_dir_all(folder)?;
    }
    let mut opened =
        OpenOptions::new().write(true).create_new(true).open(&file).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                AnyError::from(format!("{} is there already: name another study", file.display()))
            }
            _ => format!("cannot write {}: {error}", file.display()).into(),
        })?;
    let shown = file.display().to_string();
    let text = TEMPLATE.replace("NAME.toml", &shown).replace("NAME", stem);
    opened.write_all(text.as_bytes()).map_err(|error| format!("cannot write {shown}: {error}"))?;
    Ok(format!(
        "{shown}: a study of four cells that runs as it is; make it yours\nto see what it would do: {}\nto run it: {}",
        call("study", &format!("{shown} --dry-run")),
        call("study", &shown)
    ))
}

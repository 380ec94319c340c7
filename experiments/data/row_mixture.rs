//! The mixture file beside rows that a step of a pipeline has written, so that they can be trained on as they are.

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_base::files::write_atomic;
use burn_vlm_data::pipeline::picture_root;
use burn_vlm_data::source::{FileSource, LanguageRule, Source, SourceConfig};
use toml::{Table, Value};

use super::opened::beside;
use crate::AnyError;
use crate::call::call;

/// Rows that are tried.
const TRIED: u64 = 16;

/// Writes `mixture.toml` into the folder `written`, which will be `out`, if the rows of its file `name` can be trained on. What there is to
/// say of it.
pub(super) fn row_mixture(
    source: &FileSource,
    written: &Path,
    out: &Path,
    name: &str,
    language_field: &str,
) -> Result<String, AnyError> {
    let root = picture_root(source);
    let allow_links = source.config().allow_links;
    let file = written.join(name);
    let language = LanguageRule::Field { field: language_field.to_owned(), aliases: BTreeMap::new() };
    let config = beside(&file.to_string_lossy(), root.as_deref(), allow_links, &[]);
    let rows = FileSource::open(SourceConfig { language: Some(language), ..config })?;
    if rows.is_empty() {
        return Ok("no row is kept, so that there is nothing to train on".to_owned());
    }
    let first: Vec<u64> = (0..rows.len().min(TRIED)).collect();
    let mut tried = rows.get_many(&first);
    if !tried.iter().any(Result::is_ok) {
        let why = tried.pop().and_then(Result::err).map(|skip| format!("{}: {}", skip.reason, skip.detail));
        let pictures = root.map(|root| format!(" --image-root {}", root.display())).unwrap_or_default();
        let next = call("data", &format!("pair-prompts {}{pictures} --out DIR", out.join(name).display()));
        return Ok(format!(
            "no mixture.toml: these rows cannot be trained on as they are ({}). What makes conversations of translations: {next}",
            why.unwrap_or_default()
        ));
    }
    let entry = |key: &str, value: &str| (key.to_owned(), Value::from(value));
    let folder = root.map_or_else(|| ".".to_owned(), |root| root.to_string_lossy().into_owned());
    let mut of = Table::from_iter([
        entry("name", name.trim_end_matches(".jsonl")),
        entry("path", name),
        entry("format", "llava_jsonl"),
        entry("image_root", &folder),
        entry("language_column", language_field),
    ]);
    if allow_links {
        of.insert("allow_links".to_owned(), Value::from(true));
    }
    let mixture = Table::from_iter([("source".to_owned(), Value::Array(vec![Value::Table(of)]))]);
    write_atomic(&written.join("mixture.toml"), toml::to_string(&mixture)?.as_bytes())?;
    let look = call("data", &format!("inspect {}", out.join("mixture.toml").display()));
    Ok(format!("to look at what is kept, and to train on it: {look}"))
}

//! How the steps of a pipeline open what they read: a file, several, or a folder; the sources of a mixture.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn_vlm_base::progress::{Bar, show_duration};
use burn_vlm_base::suggest::hint;
use burn_vlm_data::mixture::{MixtureConfig, SourceFormat};
use burn_vlm_data::pipeline::overlap::{FileRecords, OverlapRecords, SampleRecords};
use burn_vlm_data::source::{
    Fields, FileSource, Limits, Source, SourceConfig, SourceError, file_sources, open_sources,
};
use clap::Args;
use toml::Table;

use crate::AnyError;

/// How the rows of files are read, beside their path.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// A further column of parquet files that is read and written; several times for several
    #[arg(long, value_name = "NAME")]
    pub(super) column: Vec<String>,

    /// Where the paths of pictures and videos in the rows begin [default: the folder of the file]
    #[arg(long, value_name = "DIR")]
    pub(super) image_root: Option<PathBuf>,

    /// Follow links below the image root that lead out of it
    #[arg(long)]
    pub(super) allow_links: bool,
}

impl FileArgs {
    /// The configuration of files with these options and `more` columns.
    pub(super) fn of(&self, data: &str, more: &[String]) -> SourceConfig {
        beside(data, self.image_root.as_deref(), self.allow_links, more)
    }
}

/// The fields of the first rows of a source.
pub(super) struct FirstRows<'a> {
    path: &'a str,
    count: usize,
    names: BTreeSet<String>,
}

impl<'a> FirstRows<'a> {
    /// Of at most `most` rows; those that cannot be read have none.
    pub(super) fn of(path: &'a str, source: &FileSource, most: u64) -> Self {
        let first: Vec<u64> = (0..source.len().min(most)).collect();
        let rows: Vec<_> = source.texts(&first).into_iter().flatten().collect();
        let names = rows.iter().flat_map(|row| row.fields.keys().cloned()).collect();
        Self { path, count: rows.len(), names }
    }

    /// Fields, each with the option that names it, must be there in one of the rows: a name that is misspelt would leave out all of them.
    pub(super) fn must_have(&self, fields: &[(&str, &str)]) -> Result<(), AnyError> {
        let Self { path, count, names } = self;
        match fields.iter().find(|(_, field)| *count > 0 && !names.contains(*field)) {
            None => Ok(()),
            Some((option, field)) => {
                let close = hint(field, names.iter().map(String::as_str));
                let there = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                Err(format!(
                    "{path}: none of the first {count} rows has `{field}` ({option}){close}; there are {there}"
                )
                .into())
            }
        }
    }

    /// A field that `option` names must be new: what the rows have by its name would be lost.
    pub(super) fn must_lack(&self, option: &str, field: &str) -> Result<(), AnyError> {
        match self.names.contains(field) {
            false => Ok(()),
            true => Err(format!(
                "{}: its rows have a `{field}` already, which {option} would replace; name another",
                self.path
            )
            .into()),
        }
    }
}

/// The configuration of files as a mixture would have it: pictures are looked for beside them.
pub(super) fn beside(data: &str, image_root: Option<&Path>, allow_links: bool, more: &[String]) -> SourceConfig {
    let path = Path::new(data);
    let name = path.file_name().map_or_else(|| data.to_owned(), |name| name.to_string_lossy().into_owned());
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let image_root: Option<PathBuf> =
        image_root.map(Path::to_owned).or_else(|| folder.is_dir().then(|| folder.to_owned()));
    let mut named = BTreeSet::new();
    let more = more.iter().filter(|name| named.insert(name.as_str())).cloned().collect();
    let fields = Fields { more, ..Fields::default() };
    SourceConfig { image_root, allow_links, fields, ..SourceConfig::new(name, data) }
}

/// Opens files with those of `fields.more` that they have: parquet files refuse a column that is not there, and what a step looks for need not
/// be in each of them.
///
/// # Errors
/// As [`FileSource::open`].
pub(super) fn open_files(mut config: SourceConfig) -> Result<FileSource, SourceError> {
    loop {
        match FileSource::open(config.clone()) {
            Err(SourceError::Column { column, .. }) if config.fields.more.contains(&column) => {
                config.fields.more.retain(|name| *name != column);
            }
            other => return other,
        }
    }
}

/// Whether a path is a mixture's file: TOML with sources.
///
/// # Errors
/// A TOML file that cannot be read.
pub(super) fn is_mixture(path: &str) -> Result<bool, AnyError> {
    if !Path::new(path).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) {
        return Ok(false);
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let table: Table = text.parse().map_err(|error| format!("{path}: {error}"))?;
    Ok(table.contains_key("source"))
}

/// The records of a mixture's sources, all of them, whatever `take` says.
///
/// # Errors
/// A mixture or a source that cannot be read.
pub(super) fn mixture_records(
    path: &str,
    columns: &[String],
    more: &[String],
) -> Result<Vec<Arc<dyn OverlapRecords>>, AnyError> {
    let config = MixtureConfig::from_file(Path::new(path))?;
    let files = file_sources(&config, Limits::default())?;
    // Those of the embedded corpus alone: the others are opened as files, with all of their columns.
    let mut embedded = config.clone();
    embedded.sources.retain(|source| source.format == SourceFormat::Emoji);
    let embedded = if embedded.sources.is_empty() { Vec::new() } else { open_sources(&embedded, Limits::default())? };
    let mut embedded = embedded.into_iter();
    let mut found: Vec<Arc<dyn OverlapRecords>> = Vec::new();
    for (source, file) in config.sources.iter().zip(files) {
        match (source.format, file) {
            (SourceFormat::Emoji, _) => {
                if let Some(Some(source)) = embedded.next() {
                    found.push(Arc::new(SampleRecords::new(source)));
                }
            }
            (_, Some(mut file)) => {
                file.fields.more.extend(more.iter().cloned());
                found.push(Arc::new(FileRecords::new(open_files(file)?, columns)));
            }
            (_, None) => {}
        }
    }
    Ok(found)
}

/// Tells a bar how fast it goes and when it is done.
pub(super) fn paced(bar: &Bar, done: u64, total: u64, began: Instant) {
    let elapsed = began.elapsed();
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = elapsed.mul_f64(total.saturating_sub(done) as f64 / done.max(1) as f64);
    bar.set(done, format!("records, {rate:.0} a second, {} left", show_duration(left)));
}

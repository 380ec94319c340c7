//! The rows that a pipeline works on: those of a file, a folder, or all sources of a mixture.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn_vlm_data::language::Language;
use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::sample::Sample;
use burn_vlm_data::source::{
    Fields, FileSource, LanguageRule, Limits, Placeholders, Row, Skip, Source, SourceConfig, open_sources,
};
use clap::Args;

use super::opened::{FirstRows, beside};
use crate::AnyError;

/// Rows that are read at once.
const WINDOW: u64 = 64;

/// Which rows.
#[derive(Debug, Args)]
pub(super) struct RowArgs {
    /// A file, several ('{a,b}.json', 'data/*.parquet'), a folder, or a mixture (.toml), which says all of the following for each source
    pub(super) path: String,

    /// Where the paths of pictures and videos in the records begin [default: the folder of the file]
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,

    /// The field or column that has each row's language
    #[arg(long, value_name = "NAME")]
    language_field: Option<String>,

    /// The field or column with the caption, where it has another name than usual
    #[arg(long, value_name = "NAME")]
    caption_field: Option<String>,

    /// Take only the first N rows of each source; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: u64,
}

/// Sources with their rows.
pub(super) struct Rows {
    sources: Vec<Arc<dyn Source>>,
    /// The only one, where fields of its rows are wanted too.
    with_fields: Option<FileSource>,
    limit: u64,
    /// Rows that have been read by the walk under way.
    pub(super) read: AtomicU64,
}

/// A row as a sample, and as it stands in its file where fields of it are wanted.
pub(super) struct ReadRow {
    pub(super) sample: Sample,
    /// Its number.
    pub(super) record: u64,
    pub(super) row: Option<Row>,
}

impl RowArgs {
    pub(super) fn open(&self, language: Option<Language>) -> Result<Rows, AnyError> {
        self.open_with(language, &[])
    }

    /// The same with fields of the rows, which options name: pairs of an option and a field.
    ///
    /// # Errors
    /// As [`Self::open`]; fields of a mixture; a field that none of the first rows has.
    pub(super) fn open_with(&self, language: Option<Language>, fields: &[(&str, &str)]) -> Result<Rows, AnyError> {
        let path = Path::new(&self.path);
        let sources = if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) {
            let given = [
                ("--image-root", self.image_root.is_some()),
                ("--language-field", self.language_field.is_some()),
                ("--caption-field", self.caption_field.is_some()),
            ];
            let wanted = fields.iter().map(|(option, _)| (*option, true));
            if let Some((option, _)) = given.into_iter().chain(wanted).find(|(_, given)| *given) {
                return Err(
                    format!("{option} is for a single source; {} says it for each of its own", self.path).into()
                );
            }
            open_sources(&MixtureConfig::from_file(path)?, Limits::default())?.into_iter().flatten().collect()
        } else {
            let named = [("--caption-field", &self.caption_field), ("--language-field", &self.language_field)];
            let named: Vec<_> =
                named.into_iter().filter_map(|(option, name)| Some((option, name.as_deref()?))).collect();
            if !named.is_empty() {
                // By a field that is not there no row would be read.
                let any_language = SourceConfig { language: None, ..self.source(language, &named) };
                self.check_fields(FileSource::open(any_language)?, &named)?;
            }
            vec![Arc::new(FileSource::open(self.source(language, &[]))?) as Arc<dyn Source>]
        };
        let with_fields = match fields {
            [] => None,
            fields => Some(self.check_fields(FileSource::open(self.source(language, fields))?, fields)?),
        };
        Ok(Rows { sources, with_fields, limit: self.limit, read: AtomicU64::new(0) })
    }

    fn check_fields(&self, source: FileSource, fields: &[(&str, &str)]) -> Result<FileSource, AnyError> {
        FirstRows::of(&self.path, &source, WINDOW).must_have(fields)?;
        Ok(source)
    }

    fn source(&self, language: Option<Language>, fields: &[(&str, &str)]) -> SourceConfig {
        let more: Vec<String> = fields.iter().map(|(_, field)| (*field).to_owned()).collect();
        let field = |field: &String| LanguageRule::Field { field: field.clone(), aliases: Default::default() };
        let config = beside(&self.path, self.image_root.as_deref(), false, &more);
        SourceConfig {
            language: self.language_field.as_ref().map(field).or(language.map(LanguageRule::Fixed)),
            fields: Fields { caption: self.caption_field.clone(), ..config.fields },
            placeholders: Placeholders::Prepend,
            ..config
        }
    }
}

impl Rows {
    /// How many there are, unreadable ones included.
    pub(super) fn len(&self) -> u64 {
        self.sources.iter().map(|source| self.of(source.as_ref())).sum()
    }

    fn of(&self, source: &dyn Source) -> u64 {
        if self.limit == 0 { source.len() } else { source.len().min(self.limit) }
    }

    /// All rows, source by source. Some are read at once, none is kept.
    pub(super) fn walk(&self) -> impl Iterator<Item = Result<Sample, Box<Skip>>> + Send + '_ {
        self.walk_rows().map(|row| row.map(|row| row.sample))
    }

    /// The same with what else was wanted of them.
    pub(super) fn walk_rows(&self) -> impl Iterator<Item = Result<ReadRow, Box<Skip>>> + Send + '_ {
        self.read.store(0, Ordering::Relaxed);
        let windows = self.sources.iter().flat_map(move |source| {
            let rows = self.of(source.as_ref());
            (0..rows).step_by(WINDOW as usize).map(move |begin| (source, begin..rows.min(begin + WINDOW)))
        });
        windows.flat_map(move |(source, rows)| {
            let rows: Vec<u64> = rows.collect();
            let read = source.get_many(&rows);
            // None where no fields are wanted.
            let found = self.with_fields.iter().flat_map(|source| source.texts(&rows)).collect::<Vec<_>>();
            let mut found = found.into_iter();
            read.into_iter().zip(rows).map(move |(sample, record)| {
                self.read.fetch_add(1, Ordering::Relaxed);
                let row = found.next().transpose()?;
                sample.map(|sample| ReadRow { sample, record, row })
            })
        })
    }
}

//! The rows that a pipeline works on: those of a file, a folder, or all sources of a mixture.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn_vlm_data::language::Language;
use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::sample::Sample;
use burn_vlm_data::source::{
    Fields, FileSource, LanguageRule, Limits, Placeholders, Skip, Source, SourceConfig, open_sources,
};
use clap::Args;

use super::opened::beside;
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
    limit: u64,
    /// Rows that have been read by the walk under way.
    pub(super) read: AtomicU64,
}

impl RowArgs {
    pub(super) fn open(&self, language: Option<Language>) -> Result<Rows, AnyError> {
        let path = Path::new(&self.path);
        let sources = if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) {
            let given = [
                ("--image-root", self.image_root.is_some()),
                ("--language-field", self.language_field.is_some()),
                ("--caption-field", self.caption_field.is_some()),
            ];
            if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
                return Err(
                    format!("{option} is for a single source; {} says it for each of its own", self.path).into()
                );
            }
            open_sources(&MixtureConfig::from_file(path)?, Limits::default())?.into_iter().flatten().collect()
        } else {
            vec![Arc::new(FileSource::open(self.source(language))?) as Arc<dyn Source>]
        };
        Ok(Rows { sources, limit: self.limit, read: AtomicU64::new(0) })
    }

    fn source(&self, language: Option<Language>) -> SourceConfig {
        let field = |field: &String| LanguageRule::Field { field: field.clone(), aliases: Default::default() };
        let config = beside(&self.path, self.image_root.as_deref(), false, &[]);
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
        self.read.store(0, Ordering::Relaxed);
        let windows = self.sources.iter().flat_map(move |source| {
            let rows = self.of(source.as_ref());
            (0..rows).step_by(WINDOW as usize).map(move |begin| (source, begin..rows.min(begin + WINDOW)))
        });
        windows.flat_map(move |(source, rows)| {
            let read = source.get_many(&rows.collect::<Vec<u64>>());
            read.into_iter().inspect(move |_| {
                self.read.fetch_add(1, Ordering::Relaxed);
            })
        })
    }
}

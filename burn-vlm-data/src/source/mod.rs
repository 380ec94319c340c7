//! Sources: numbered samples, whatever they come from: a user's files in several formats, the embedded corpus, a list in memory,
//! or a [`Source`] of your own.
//!
//! ```no_run
//! use burn_vlm_data::source::{FileSource, Source, SourceConfig};
//!
//! let config = SourceConfig { image_root: Some("images".into()), ..SourceConfig::new("llava", "llava_665k.json") };
//! let source = FileSource::open(config)?;
//! for number in 0..source.len() {
//!     match source.get(number) {
//!         Ok(sample) => println!("{}: {} pictures", sample.id, sample.media.len()),
//!         Err(skip) => println!("left out: {skip}"),
//!     }
//! }
//! # Ok::<(), burn_vlm_data::source::SourceError>(())
//! ```
//!
//! Unusual here:
//! - a sample is a pure function of its number, in every format; so the number is the cursor, and order, mixtures and resume
//!   are arithmetic on numbers;
//! - memory does not grow with the data: where records begin is kept for some of them only, and nothing that was read is;
//! - pictures are named or held as they are encoded, never as pixels; who needs them decodes them, in worker threads;
//! - what cannot be used is a [`Skip`] with its place and reason, never silence and never a panic.

mod answers;
mod checkpoints;
mod config;
mod conversation;
mod error;
mod files;
mod from_mixture;
mod image_root;
pub mod inspect;
mod interpret;
mod list;
mod named;
mod parquet;
mod record;
mod row;
mod skip;
mod skip_log;
mod stored;
mod stream;
mod text;
mod turns;
mod webdataset;
pub mod write;

pub use answers::{answer_texts, option_place, option_texts};
pub use config::{Fields, Format, LanguageRule, Limits, Placeholders, SourceConfig};
pub use error::SourceError;
pub use files::find_paths;
pub use from_mixture::{
    LanguageRecords, MissingFile, OpenMixture, OpenMixtureError, file_sources, missing_files, mix_sources,
    mixture_files, open_mixture, open_sources,
};
pub use image_root::ImageRoot;
pub use interpret::place_media;
pub use list::ListSource;
pub use row::Row;
pub use skip::{Place, Skip, SkipKind, SkipReason};
pub use skip_log::{SkipLimit, SkipLog, SkipLogError, SkipSummary, TooManySkipped};
pub use stored::{RecordPictures, StoredPicture};
pub use stream::{Drawn, Draws, Group, GroupState, Mixed, Records, StreamError, StreamOptions, StreamState};

use self::parquet::ParquetFile;
use crate::language::Language;
use crate::sample::Sample;
use burn_vlm_base::shorten::shorten_message;
use interpret::Interpreter;
use record::{Joined, RawRecord, RawResult, RawSkip, ReadRecords};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use text::{JsonFile, TsvFile};
use webdataset::TarFile;

/// Marks of where records begin, over all files of a source; 16 bytes each.
const MAX_MARKS: usize = 1 << 18;
/// Records that are looked at for fields that are not read, before training; an inspection looks at all.
const TOLD_RECORDS: u64 = 256;
/// How many of them are held at once: each may hold its pictures in base64.
const TOLD_AT_ONCE: usize = 16;
/// The most of these that are named.
const TOLD_FIELDS: usize = 20;
/// Records read at once when all are walked through.
const WALK: u64 = 64;

/// The paths that a pattern with `{a,b}` and `{000..009}` stands for, whether they are there or not; wildcards stay.
///
/// # Errors
/// Braces that do not match, a pattern that stands for too many files.
pub fn pattern_paths(pattern: &str) -> Result<Vec<PathBuf>, String> {
    Ok(crate::braces::expand_braces(pattern)?.into_iter().map(PathBuf::from).collect())
}

/// Samples, and how many of their records have a field that is not read, by its name.
pub type Told = (Vec<Result<Sample, Box<Skip>>>, BTreeMap<String, u64>);

/// Numbered records, each a pure function of its number, whatever they come from.
///
/// Order, mixtures, validation splits and resuming are arithmetic on numbers; so a source of your own needs to say how many records
/// there are and what each of them is. A record that cannot be used is a [`Skip`] with its place and reason, never silence and never a
/// panic. Everything is asked of worker threads too.
pub trait Source: Send + Sync {
    /// What reports and skipped records call it; unique in a mixture.
    fn name(&self) -> &str;

    /// Number of records, those that cannot be used counted.
    fn len(&self) -> u64;

    /// The sample of a record's number, from 0; the same whenever it is asked for.
    ///
    /// # Errors
    /// Why the record cannot be used. Pictures in files are checked for being there, but read by
    /// [`Picture::read`](crate::sample::Picture::read).
    fn get(&self, record: u64) -> Result<Sample, Box<Skip>>;

    /// True if there is no record.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples of records whose numbers rise; in parquet files cheaper than one by one.
    fn get_many(&self, records: &[u64]) -> Vec<Result<Sample, Box<Skip>>> {
        records.iter().map(|record| self.get(*record)).collect()
    }

    /// Mean bytes of a record, in formats (parquet) where reading one alone costs as much as reading its neighbours too.
    fn bytes_together(&self) -> Option<u64> {
        None
    }

    /// The numbers of the records of each language, rising: 8 bytes a record. `skip` is told of those that cannot be counted.
    fn by_language(&self, skip: &mut dyn FnMut(Skip)) -> BTreeMap<Option<Language>, Vec<u64>> {
        let mut groups: BTreeMap<Option<Language>, Vec<u64>> = BTreeMap::new();
        for record in 0..self.len() {
            match self.get(record) {
                Ok(sample) => groups.entry(sample.language).or_default().push(record),
                Err(reason) => skip(*reason),
            }
        }
        groups
    }

    /// How many of some records (numbers that rise) have a field that is there and not read, by the field's name. Of an archive,
    /// entries are named by their ending (`.cls`), of a parquet file the columns that are not read are counted for every record.
    fn unread(&self, _records: &[u64]) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    /// [`Self::get_many`] and [`Self::unread`] of the same records, which a source of files reads once for both.
    fn get_many_told(&self, records: &[u64]) -> Told {
        (self.get_many(records), self.unread(records))
    }

    /// What a reader must know of the files as a whole, a line each: an archive without its end, for example.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// What decides on which side of a validation split a record stands: equal keys stand together. The record's number where a
    /// source knows nothing better.
    fn split_key(&self, record: u64) -> u64 {
        record
    }

    /// The skip that a reason found later (when decoding, when encoding) makes of a record.
    fn skip_of(&self, record: u64, sample: &Sample, reason: SkipReason) -> Skip {
        Skip {
            source: self.name().to_owned(),
            record,
            file: self.name().to_owned(),
            place: format!("record {record}"),
            id: Some(sample.id.clone()),
            reason: reason.kind,
            detail: reason.detail,
        }
    }

    /// What decoding its pictures may use.
    fn limits(&self) -> Limits {
        Limits::default()
    }
}

/// What is told of a source before it is trained on, a line each: its [`Source::notes`], and which fields its first records have that
/// are not read.
pub fn told(source: &dyn Source) -> Vec<String> {
    let first: Vec<u64> = (0..source.len().min(TOLD_RECORDS)).collect();
    let mut lines: Vec<String> = source.notes();
    let mut unread: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in first.chunks(TOLD_AT_ONCE).flat_map(|records| source.unread(records)) {
        *unread.entry(name).or_default() += count;
    }
    if !unread.is_empty() {
        let fields: Vec<String> =
            unread.iter().take(TOLD_FIELDS).map(|(name, count)| format!("{name} {count}")).collect();
        let more = unread.len().saturating_sub(TOLD_FIELDS);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        lines.push(format!(
            "fields of its first {} records that are not read: {}{more}",
            first.len(),
            fields.join(", ")
        ));
    }
    lines.iter().map(|line| format!("{}: {line}", source.name())).collect()
}

/// A source of files.
pub struct FileSource {
    config: SourceConfig,
    records: Box<dyn ReadRecords>,
    interpreter: Interpreter,
}

impl FileSource {
    /// Finds the files, counts their records and checks the schema of those that have one.
    ///
    /// JSON, JSONL and TSV files are read through once (about a gigabyte a second), of archives the headers, of parquet files
    /// the footers.
    ///
    /// # Errors
    /// Files that are missing, damaged as a whole, or of another schema; an image root that is no folder.
    pub fn open(config: SourceConfig) -> Result<Self, SourceError> {
        let files = files::expand(&config.name, &config.path, config.format)?;
        let format = match config.format {
            Some(format) => format,
            None => {
                let told = files.iter().find_map(|file| files::format_of(file));
                let path = || files.first().cloned().unwrap_or_default();
                told.ok_or_else(|| SourceError::Format { source_name: config.name.clone(), path: path() })?
            }
        };
        let opener = Opener { config: &config, max_marks: MAX_MARKS / files.len() };
        let records: Box<dyn ReadRecords> = match format {
            Format::Json => Box::new(opener.all(files, Opener::json)?),
            Format::Parquet => Box::new(opener.all(files, Opener::parquet)?),
            Format::WebDataset => Box::new(opener.all(files, Opener::webdataset)?),
            Format::Tsv => Box::new(opener.all(files, Opener::tsv)?),
        };
        let interpreter = Interpreter::new(config.clone())?;
        Ok(Self { config, records, interpreter })
    }

    /// What the source was opened with.
    pub fn config(&self) -> &SourceConfig {
        &self.config
    }

    /// Reads records without the fields that are not read on purpose.
    fn read(&self, records: &[u64], pictures: bool) -> Vec<RawResult> {
        let mut raw = self.records.read(records, pictures);
        if !self.config.fields.ignore.is_empty() {
            raw.iter_mut().flatten().for_each(|raw| self.interpreter.leave_ignored(&mut raw.fields));
        }
        raw
    }

    /// The samples of records whose numbers rise; `seen` is shown each record before.
    fn samples(&self, records: &[u64], mut seen: impl FnMut(&RawResult)) -> Vec<Result<Sample, Box<Skip>>> {
        let inside = records.partition_point(|record| *record < self.len());
        let interpret = |(raw, record): (RawResult, &u64)| {
            seen(&raw);
            self.interpret(raw, *record)
        };
        let mut samples: Vec<_> = self.read(&records[..inside], true).into_iter().zip(records).map(interpret).collect();
        samples.extend(records[inside..].iter().map(|record| Err(Box::new(self.no_such_record(*record)))));
        samples
    }

    fn count_unread(&self, raw: &RawResult, counts: &mut BTreeMap<String, u64>) {
        let names = raw.iter().flat_map(|raw| self.interpreter.unread(raw));
        names.for_each(|name| *counts.entry(name).or_default() += 1);
    }

    fn interpret(&self, raw: RawResult, record: u64) -> Result<Sample, Box<Skip>> {
        let sample = raw.and_then(|raw| {
            let (file, place) = (raw.file.clone(), raw.place.clone());
            self.interpreter.sample(raw).map_err(|(id, reason)| RawSkip { file, place, id, reason })
        });
        sample.map_err(|raw| Box::new(self.skip(raw, record)))
    }

    fn skip(&self, raw: RawSkip, record: u64) -> Skip {
        Skip {
            source: self.config.name.clone(),
            record,
            file: raw.file.display().to_string(),
            place: raw.place.to_string(),
            id: raw.id.map(|id| shorten_message(&id)),
            reason: raw.reason.kind,
            detail: shorten_message(&raw.reason.detail),
        }
    }

    fn no_such_record(&self, record: u64) -> Skip {
        let reason = SkipReason::new(SkipKind::DamagedFile, format!("the source has {} records", self.len()));
        let raw =
            RawSkip { file: Arc::from(Path::new(&self.config.path)), place: Place::Element(record), id: None, reason };
        self.skip(raw, record)
    }
}

impl Source for FileSource {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn len(&self) -> u64 {
        self.records.len()
    }

    fn bytes_together(&self) -> Option<u64> {
        self.records.bytes_together()
    }

    fn limits(&self) -> Limits {
        self.config.limits
    }

    fn get(&self, record: u64) -> Result<Sample, Box<Skip>> {
        let sample = self.get_many(&[record]).pop();
        sample.unwrap_or_else(|| Err(Box::new(self.no_such_record(record))))
    }

    fn get_many(&self, records: &[u64]) -> Vec<Result<Sample, Box<Skip>>> {
        self.samples(records, |_| ())
    }

    fn get_many_told(&self, records: &[u64]) -> Told {
        let mut counts = BTreeMap::new();
        let samples = self.samples(records, |raw| self.count_unread(raw, &mut counts));
        (samples, counts)
    }

    /// Reads all texts once where the language stands in the records, but no pictures.
    fn by_language(&self, skip: &mut dyn FnMut(Skip)) -> BTreeMap<Option<Language>, Vec<u64>> {
        let mut groups: BTreeMap<Option<Language>, Vec<u64>> = BTreeMap::new();
        for begin in (0..self.len()).step_by(WALK as usize) {
            let records: Vec<u64> = (begin..self.len().min(begin + WALK)).collect();
            for (raw, record) in self.read(&records, false).into_iter().zip(records) {
                let language = raw.and_then(|raw| {
                    let RawRecord { file, place, fields, .. } = raw;
                    let language = self.interpreter.language(&fields);
                    language.map_err(|reason| RawSkip { file, place, id: self.interpreter.given_id(&fields), reason })
                });
                match language {
                    Ok(language) => groups.entry(language).or_default().push(record),
                    Err(raw) => skip(self.skip(raw, record)),
                }
            }
        }
        groups
    }

    fn unread(&self, records: &[u64]) -> BTreeMap<String, u64> {
        let inside = records.partition_point(|record| *record < self.len());
        let mut counts = BTreeMap::new();
        self.read(&records[..inside], false).iter().for_each(|raw| self.count_unread(raw, &mut counts));
        counts
    }

    fn notes(&self) -> Vec<String> {
        self.records.notes()
    }

    fn skip_of(&self, record: u64, sample: &Sample, reason: SkipReason) -> Skip {
        // Read again for its place; this is rare.
        let (file, place) = match self.records.read(&[record], false).pop() {
            Some(Ok(RawRecord { file, place, .. }) | Err(RawSkip { file, place, .. })) => (file, place),
            None => (Arc::from(Path::new("")), Place::Element(record)),
        };
        self.skip(RawSkip { file, place, id: Some(sample.id.clone()), reason }, record)
    }
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSource").field("config", &self.config).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Opens the files of a source.
struct Opener<'a> {
    config: &'a SourceConfig,
    /// Of each file.
    max_marks: usize,
}

impl Opener<'_> {
    fn all<R: ReadRecords>(
        &self,
        files: Vec<PathBuf>,
        open: impl Fn(&Self, Arc<Path>) -> Result<R, SourceError>,
    ) -> Result<Joined<R>, SourceError> {
        let open = |path: PathBuf| {
            let unreadable = |reason: String| SourceError::Unreadable {
                source_name: self.config.name.clone(),
                path: path.clone(),
                reason,
            };
            let metadata = path.metadata().map_err(|error| unreadable(error.to_string()))?;
            if !metadata.is_file() {
                return Err(unreadable("it is not a file".to_owned()));
            }
            open(self, Arc::from(path.as_path()))
        };
        Ok(Joined::new(files.into_iter().map(open).collect::<Result<_, _>>()?))
    }

    fn damaged(&self, path: &Path, (place, reason): (String, String)) -> SourceError {
        SourceError::Damaged { source_name: self.config.name.clone(), path: path.to_owned(), place, reason }
    }

    fn json(&self, path: Arc<Path>) -> Result<JsonFile, SourceError> {
        let opened = JsonFile::open(path.clone(), &self.config.fields, &self.config.limits, self.max_marks);
        opened.map_err(|why| self.damaged(&path, why))
    }

    fn tsv(&self, path: Arc<Path>) -> Result<TsvFile, SourceError> {
        let opened = TsvFile::open(path.clone(), &self.config.fields, &self.config.limits, self.max_marks);
        opened.map_err(|why| self.damaged(&path, why))
    }

    fn webdataset(&self, path: Arc<Path>) -> Result<TarFile, SourceError> {
        TarFile::open(path.clone(), &self.config.fields, &self.config.limits, self.max_marks)
            .map_err(|why| self.damaged(&path, why))
    }

    fn parquet(&self, path: Arc<Path>) -> Result<ParquetFile, SourceError> {
        let language = match &self.config.language {
            Some(LanguageRule::Field { field, .. }) => Some(field.as_str()),
            _ => None,
        };
        ParquetFile::open(&self.config.name, path, &self.config.fields, language, &self.config.limits)
    }
}

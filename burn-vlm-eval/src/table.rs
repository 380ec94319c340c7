//! The rows of a file of questions: read once and held in memory, their pictures up to a bound.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_vlm_data::image::DecodeLimits;
use burn_vlm_data::random::{hash_bytes, mix};
use burn_vlm_data::sample::{Media, MediaKey, Picture, Video, clips, pictures};
use burn_vlm_data::source::{FileSource, RecordPictures, Row, Skip, SkipKind, SkipReason, Source, SourceConfig};
use burn_vlm_data::video::Clip;
use serde_json::Value;

use crate::error::BenchmarkError;
use crate::pandas::pandas_column;

/// Rows read at once.
const CHUNK: u64 = 64;
/// Bytes of pictures that are held in memory: 64 MiB. The rest is read when it is shown.
const HELD: usize = 64 << 20;

/// All rows of a benchmark's files.
pub struct Table {
    name: String,
    max_skipped: usize,
    /// Number of rows, those that cannot be used counted.
    len: usize,
    rows: Vec<(u64, Row)>,
    skipped: Vec<Skip>,
    /// Each file with the number of its first row.
    files: Vec<(PathBuf, u64)>,
    /// Hash of all that was read but the pictures.
    pub key: String,
}

impl Table {
    /// Reads all rows. Relative paths begin at `base`.
    pub fn read(mut config: SourceConfig, base: &Path, max_skipped: usize) -> Result<Self, BenchmarkError> {
        config.path = base.join(&config.path).to_string_lossy().into_owned();
        config.image_root = config.image_root.map(|root| base.join(root));
        config.video_root = config.video_root.map(|root| base.join(root));
        let name = config.name.clone();
        let stored = RecordPictures::new(FileSource::open(config)?);
        let source = stored.source();
        let (rows, skipped, files) = (Vec::new(), Vec::new(), Vec::new());
        let mut table = Self { name, max_skipped, len: 0, rows, skipped, files, key: String::new() };
        let mut hasher = blake3::Hasher::new();
        let mut known = Known { limits: source.limits().decode(), ..Known::default() };
        for begin in (0..source.len()).step_by(CHUNK as usize) {
            let records: Vec<u64> = (begin..source.len().min(begin + CHUNK)).collect();
            for (record, row) in records.iter().zip(source.rows(&records)) {
                table.len += 1;
                let path = row.as_ref().map_or_else(|skip| Path::new(&skip.file), |row| &row.file);
                if table.files.last().is_none_or(|(last, _)| last != path) {
                    table.files.push((path.to_owned(), *record));
                }
                let mut row = match row {
                    Ok(row) => row,
                    Err(skip) => {
                        table.skipped.push(*skip);
                        continue;
                    }
                };
                if let Err(SkipReason { kind: reason, detail }) = known.admit(&mut row, *record, &stored) {
                    table.skipped.push(Skip { reason, detail, ..left_out(&table.name, *record, &row) });
                    continue;
                }
                hasher.update(row.id.as_bytes());
                hasher.update(Value::Object(row.fields.clone()).to_string().as_bytes());
                table.rows.push((*record, row));
            }
        }
        table.key = hasher.finalize().to_hex().to_string();
        Ok(table)
    }

    /// Changes every row; those that cannot be changed are left out.
    pub fn amend(&mut self, mut change: impl FnMut(&mut Row) -> Result<(), SkipReason>) {
        let mut rows = Vec::with_capacity(self.rows.len());
        for (record, mut row) in std::mem::take(&mut self.rows) {
            match change(&mut row) {
                Ok(()) => rows.push((record, row)),
                Err(SkipReason { kind: reason, detail }) => {
                    self.skipped.push(Skip { reason, detail, ..left_out(&self.name, record, &row) });
                }
            }
        }
        self.rows = rows;
    }

    /// Texts of the rows as pandas reads a table: missing cells are absent, columns of numbers are printed as such. The
    /// columns of each file are typed by themselves; ids stay as written.
    pub fn read_as_pandas(&mut self) {
        for rows in self.rows.chunk_by_mut(|(_, a), (_, b)| a.file == b.file) {
            let columns: BTreeSet<String> = rows.iter().flat_map(|(_, row)| row.fields.keys().cloned()).collect();
            for name in columns {
                let text = |row: &Row| row.fields.get(&name).is_none_or(Value::is_string);
                // Parquet and JSON have types of their own.
                if !rows.iter().all(|(_, row)| text(row)) {
                    continue;
                }
                let column = rows.iter().map(|(_, row)| text_of(row, &name)).collect();
                for ((_, row), cell) in rows.iter_mut().zip(pandas_column(column)) {
                    match cell {
                        Some(cell) => drop(row.fields.insert(name.clone(), cell.into())),
                        None => drop(row.fields.remove(&name)),
                    }
                }
            }
        }
    }

    /// The rows that can be used, to bring the columns of a published format into the usual form.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.rows.iter_mut().map(|(_, row)| row)
    }

    /// The number of the first row of each part, which `part` makes of a file's path.
    pub fn firsts(&self, part: impl Fn(&Path) -> String) -> HashMap<String, u64> {
        let mut firsts = HashMap::new();
        for (file, first) in &self.files {
            firsts.entry(part(file)).or_insert(*first);
        }
        firsts
    }

    /// Names of what some rows have beside id, language, pictures and videos, with the number of these rows.
    pub fn others(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for name in self.rows.iter().flat_map(|(_, row)| &row.others) {
            *counts.entry(name.as_str()).or_default() += 1;
        }
        counts
    }

    /// An error if no row has the field, by the first row's file: the column is not there, or empty.
    pub fn require(&self, names: &[&str]) -> Result<(), BenchmarkError> {
        let has = |row: &Row| names.iter().any(|name| row.fields.get(*name).is_some_and(|value| !value.is_null()));
        match self.rows.first() {
            Some((_, first)) if !self.rows.iter().any(|(_, row)| has(row)) => {
                let columns: BTreeSet<&String> = self.rows.iter().flat_map(|(_, row)| row.fields.keys()).collect();
                Err(BenchmarkError::NoColumn {
                    name: self.name.clone(),
                    file: first.file.to_path_buf(),
                    column: names.first().copied().unwrap_or_default().to_owned(),
                    columns: columns.into_iter().cloned().collect(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Makes an item of every row (with its number among all rows of the files), or nothing where it is no question;
    /// rows that are refused are left out, up to the limit. Returns the items and what was left out.
    pub fn items<T>(
        self,
        mut make: impl FnMut(u64, Row) -> Result<Option<T>, SkipReason>,
    ) -> Result<(Vec<T>, Vec<Skip>), BenchmarkError> {
        let Self { name, max_skipped, len, rows, mut skipped, .. } = self;
        let mut items = Vec::with_capacity(rows.len());
        for (record, row) in rows {
            let mut skip = left_out(&name, record, &row);
            match make(record, row) {
                Ok(item) => items.extend(item),
                Err(SkipReason { kind, detail }) => {
                    (skip.reason, skip.detail) = (kind, detail);
                    skipped.push(skip);
                }
            }
        }
        skipped.sort_by_key(|skip| skip.record);
        if skipped.len() > max_skipped {
            return Err(BenchmarkError::Skipped { name, rows: len, allowed: max_skipped, skipped });
        }
        if items.is_empty() {
            let why = (len == 0).then(|| "its file has no row".to_owned());
            return Err(BenchmarkError::Empty { name, why });
        }
        Ok((items, skipped))
    }
}

/// The pictures of the rows so far.
#[derive(Default)]
struct Known {
    limits: DecodeLimits,
    /// By what they are: rows that show the same picture hold it once.
    encoded: HashMap<MediaKey, Picture>,
    files: HashSet<String>,
    /// Bytes that are held.
    held: usize,
}

impl Known {
    /// Looks at the pictures of a row: whether they are pictures is told before anything is trained, where the model sees them after it.
    /// Each is looked at once; those beyond the bound are left in their file.
    fn admit(&mut self, row: &mut Row, record: u64, stored: &Arc<RecordPictures>) -> Result<(), SkipReason> {
        let clips = row.media.iter_mut().filter_map(|medium| match medium {
            Media::Video(Video::Clip(clip)) => Some(clip),
            _ => None,
        });
        for (number, clip) in clips.enumerate() {
            if let Clip::Encoded { name, bytes } = clip {
                if self.held + bytes.len() > HELD {
                    *clip = Clip::Stored(stored.video(record, number, MediaKey::of(bytes), name.clone()));
                } else {
                    self.held += bytes.len();
                }
            }
        }
        let pictures = row.media.iter_mut().flat_map(|medium| match medium {
            Media::Image(picture) => std::slice::from_mut(picture),
            Media::Video(Video::Frames(frames)) => frames.as_mut_slice(),
            // Decoding a video to look at it would take longer than a table may.
            Media::Video(Video::Clip(_)) => &mut [],
        });
        for (number, picture) in pictures.enumerate() {
            match picture {
                Picture::File { .. } => {
                    let name = picture.name();
                    if !self.files.contains(&name) {
                        picture.look(&self.limits)?;
                        self.files.insert(name);
                    }
                }
                Picture::Encoded { name, bytes } => {
                    let (key, size) = (MediaKey::of(bytes), bytes.len());
                    if let Some(known) = self.encoded.get(&key) {
                        *picture = known.clone();
                        continue;
                    }
                    let name = name.clone();
                    picture.look(&self.limits)?;
                    if self.held + size > HELD {
                        *picture = Picture::Stored(stored.picture(record, number, key, name));
                    } else {
                        self.held += size;
                    }
                    self.encoded.insert(key, picture.clone());
                }
                Picture::Stored(_) | Picture::Drawn(_) => {}
            }
        }
        Ok(())
    }
}

/// A row that is left out; why is filled in.
fn left_out(source: &str, record: u64, row: &Row) -> Skip {
    let (file, place) = (row.file.display().to_string(), row.place.to_string());
    let (reason, detail) = (SkipKind::Malformed, String::new());
    Skip { source: source.to_owned(), record, file, place, id: Some(row.id.clone()), reason, detail }
}

/// What rows are called, with the place of the first of each name.
#[derive(Default)]
pub struct Names(HashMap<(String, String), String>);

impl Names {
    /// Notes the name of a row among those of `among` (a language, a file).
    ///
    /// # Errors
    /// Another row has it: its predictions would be told apart by nothing, and cells compared by the wrong ones.
    pub fn note(&mut self, among: &str, id: &str, (file, place): (&Path, String)) -> Result<(), SkipReason> {
        let here = format!("{}, {place}", file.display());
        match self.0.entry((among.to_owned(), id.to_owned())) {
            Entry::Vacant(free) => {
                free.insert(here);
                Ok(())
            }
            Entry::Occupied(first) => {
                Err(refuse(format!("its index {id:?} is that of {}: give each question one of its own", first.get())))
            }
        }
    }
}

/// What questions about the same pictures and videos have in common, and what they are called: a file's path, else the key of the bytes; `None`
/// without pictures.
pub fn shown(media: &[Media]) -> Option<String> {
    let one = |picture: &Picture| match picture {
        Picture::File { .. } => picture.name(),
        Picture::Encoded { bytes, .. } => format!("{:016x}", MediaKey::of(bytes).seed()),
        Picture::Stored(stored) => format!("{:016x}", stored.key().seed()),
        Picture::Drawn(drawn) => format!("{:016x}", drawn.key().seed()),
    };
    let clip = |clip: &Clip| match clip {
        Clip::File(_) => clip.name(),
        Clip::Encoded { bytes, .. } => format!("{:016x}", MediaKey::of(bytes).seed()),
        Clip::Stored(stored) => format!("{:016x}", stored.key().seed()),
    };
    let names: Vec<String> = pictures(media).map(one).chain(clips(media).map(clip)).collect();
    (!names.is_empty()).then(|| names.join("+"))
}

/// At most `limit` (0: all) items of each language, drawn by the seed and the items' keys alone: questions that have
/// the same key in several languages are drawn together.
pub fn draw<T>(items: Vec<T>, limit: usize, seed: u64, key: impl Fn(&T) -> (String, String)) -> Vec<T> {
    if limit == 0 {
        return items;
    }
    let mut keys: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for item in &items {
        let (language, key) = key(item);
        keys.entry(language).or_default().push((mix(seed, hash_bytes(key.as_bytes())), key));
    }
    let chosen: BTreeMap<String, BTreeSet<String>> = keys
        .into_iter()
        .map(|(language, mut keys)| {
            keys.sort_unstable();
            // Whole keys, as many as fit: a pair is never torn apart.
            let mut taken = BTreeSet::new();
            let mut count = 0;
            for same in keys.chunk_by(|a, b| a.1 == b.1) {
                count += same.len();
                if count > limit && !taken.is_empty() {
                    break;
                }
                taken.insert(same[0].1.clone());
            }
            (language, taken)
        })
        .collect();
    let is_chosen = |item: &T| {
        let (language, key) = key(item);
        chosen.get(&language).is_some_and(|keys| keys.contains(&key))
    };
    items.into_iter().filter(is_chosen).collect()
}

/// A field as text; numbers are written out, nothing and null are `None`.
pub fn text_of(row: &Row, name: &str) -> Option<String> {
    as_text(row.fields.get(name)?)
}

/// A cell as text; numbers are written out, null, lists and objects are `None`.
pub fn as_text(cell: &Value) -> Option<String> {
    match cell {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// A row that cannot be a question.
pub fn refuse(detail: impl Into<String>) -> SkipReason {
    SkipReason::new(SkipKind::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_parallel_limited_and_keep_keys_whole() {
        let item = |language: &str, key: usize, part: usize| (language.to_owned(), format!("q{key}"), part);
        let items: Vec<_> = ["en", "de"]
            .iter()
            .flat_map(|language| (0..20).flat_map(move |key| [item(language, key, 0), item(language, key, 1)]))
            .collect();
        let drawn = draw(items.clone(), 7, 3, |(language, key, _)| (language.clone(), key.clone()));
        let of = |wanted: &str| -> Vec<(String, usize)> {
            drawn
                .iter()
                .filter(|(language, ..)| language == wanted)
                .map(|(_, key, part)| (key.clone(), *part))
                .collect()
        };
        assert_eq!(of("en"), of("de"));
        assert_eq!(of("en").len(), 6);
        let other = draw(items.clone(), 7, 4, |(language, key, _)| (language.clone(), key.clone()));
        assert_ne!(drawn, other);
        assert_eq!(draw(items.clone(), 0, 3, |(language, key, _)| (language.clone(), key.clone())), items);
    }
}

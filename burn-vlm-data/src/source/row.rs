//! Records as they are written, for who makes something else of them than a conversation: the questions of a benchmark.

use super::interpret::{label, made_up_id};
use super::record::{RawRecord, RawSkip};
use super::skip::{Place, Skip, SkipReason};
use super::{FileSource, Source};
use crate::language::Language;
use crate::sample::Media;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// One record: its fields as the file has them, and its pictures.
#[derive(Debug, Clone)]
pub struct Row {
    /// As the data names it, else the file's name and the place in it.
    pub id: String,
    /// The file.
    pub file: Arc<Path>,
    /// Where in the file.
    pub place: Place,
    /// The fields but for the pictures and those that are not read on purpose. In TSV files every cell is a string, and an empty one is absent.
    pub fields: Map<String, Value>,
    /// The pictures, none where the record has none.
    pub media: Vec<Media>,
    /// The language by the source's rule.
    pub language: Option<Language>,
    /// Names of what the record has beside its id, language, pictures and videos: the other [`Self::fields`], and what the format
    /// makes no field of (columns of a parquet file that nobody names, entries of an archive).
    pub others: BTreeSet<String>,
}

impl FileSource {
    /// The records of these numbers, which rise, without anything being made of their texts.
    ///
    /// # Errors
    /// One result a record: why it cannot be read, its pictures are not there, or its language is not known.
    pub fn rows(&self, records: &[u64]) -> Vec<Result<Row, Box<Skip>>> {
        let inside = records.partition_point(|record| *record < self.len());
        let raw = self.read(&records[..inside], true);
        let mut rows: Vec<_> = raw
            .into_iter()
            .zip(records)
            .map(|(raw, &record)| raw.and_then(|raw| self.row(raw)).map_err(|raw| Box::new(self.skip(raw, record))))
            .collect();
        rows.extend(records[inside..].iter().map(|record| Err(Box::new(self.no_such_record(*record)))));
        rows
    }

    /// The same without the pictures, which need not be there: for who works on texts alone.
    ///
    /// # Errors
    /// One result a record: why it cannot be read, or that its language is not known.
    pub fn texts(&self, records: &[u64]) -> Vec<Result<Row, Box<Skip>>> {
        let inside = records.partition_point(|record| *record < self.len());
        let raw = self.records.read(&records[..inside], false);
        let text = |(raw, record): (Result<RawRecord, RawSkip>, &u64)| {
            raw.and_then(|raw| self.text(raw)).map_err(|raw| Box::new(self.skip(raw, *record)))
        };
        let mut rows: Vec<_> = raw.into_iter().zip(records).map(text).collect();
        rows.extend(records[inside..].iter().map(|record| Err(Box::new(self.no_such_record(*record)))));
        rows
    }

    fn text(&self, raw: RawRecord) -> Result<Row, RawSkip> {
        let given = self.interpreter.given_id(&raw.fields);
        let id = given.clone().unwrap_or_else(|| made_up_id(&raw));
        let others = self.interpreter.others(&raw.fields, &raw.unread);
        let RawRecord { file, place, fields, .. } = raw;
        match self.interpreter.language(&fields) {
            Ok(language) => Ok(Row { id, file, place, fields, media: Vec::new(), language, others }),
            Err(reason) => Err(RawSkip { file, place, id: given, reason }),
        }
    }

    fn row(&self, raw: RawRecord) -> Result<Row, RawSkip> {
        let given = self.interpreter.given_id(&raw.fields);
        let id = given.clone().unwrap_or_else(|| made_up_id(&raw));
        let label = label(&raw);
        let unread = raw.unknown_columns();
        let others = self.interpreter.others(&raw.fields, &raw.unread);
        let RawRecord { file, place, fields, pictures, frames, .. } = raw;
        let read = self.interpreter.language(&fields);
        let media = || -> Result<Vec<Media>, SkipReason> {
            let media = self.interpreter.media(&fields, pictures, frames, &label)?;
            if media.is_empty() {
                self.interpreter.check_known(fields.iter(), &unread)?;
            }
            Ok(media)
        };
        let read = read.and_then(|language| Ok((language, media()?)));
        match read {
            Ok((language, media)) => Ok(Row { id, file, place, fields, media, language, others }),
            Err(reason) => Err(RawSkip { file, place, id: given, reason }),
        }
    }
}

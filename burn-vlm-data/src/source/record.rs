//! What the formats have in common: numbered records that are read a few at a time.

use super::skip::{Place, SkipReason};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// A record as its file has it, before anything is made of it.
#[derive(Debug, Clone)]
pub(super) struct RawRecord {
    /// The file.
    pub(super) file: Arc<Path>,
    /// Where in the file.
    pub(super) place: Place,
    /// Fields or columns without the pictures.
    pub(super) fields: Map<String, Value>,
    /// Pictures that the format itself holds; `None` where the fields name files.
    pub(super) pictures: Option<Vec<RawPicture>>,
    /// Frames that the format itself holds.
    pub(super) frames: Option<Vec<RawPicture>>,
    /// What the format has of the record and does not make a field of: entries of an archive by their ending, columns.
    pub(super) unread: Arc<[String]>,
}

impl RawRecord {
    /// Columns and entries of which it is not known whether they hold the record's pictures: none where the format itself found some
    /// place for them.
    pub(super) fn unknown_columns(&self) -> Arc<[String]> {
        if self.pictures.is_some() { Arc::default() } else { self.unread.clone() }
    }
}

/// A picture as a record has it.
#[derive(Debug, Clone)]
pub(super) enum RawPicture {
    /// A path below the image root.
    Path(String),
    /// Its bytes, and a name.
    Encoded(String, Bytes),
}

/// A record that cannot be read.
#[derive(Debug, Clone)]
pub(super) struct RawSkip {
    pub(super) file: Arc<Path>,
    pub(super) place: Place,
    pub(super) id: Option<String>,
    pub(super) reason: SkipReason,
}

/// A record, or why there is none.
pub(super) type RawResult = Result<RawRecord, RawSkip>;

/// An open file or set of files.
pub(super) trait ReadRecords: Send + Sync {
    /// Number of records.
    fn len(&self) -> u64;

    /// Reads the records of these numbers, which rise; as many results come back. Without `pictures` those that the format
    /// itself holds may be left out.
    fn read(&self, records: &[u64], pictures: bool) -> Vec<RawResult>;

    /// Mean bytes of a record, in formats where reading one alone costs as much as reading its neighbours too.
    fn bytes_together(&self) -> Option<u64> {
        None
    }

    /// What a reader must know of the file as a whole, a line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Several files, one after the other.
pub(super) struct Joined<R> {
    /// Each with the number of its first record.
    files: Vec<(u64, R)>,
    len: u64,
}

impl<R: ReadRecords> Joined<R> {
    pub(super) fn new(files: Vec<R>) -> Self {
        let mut len = 0;
        let mut start = |file: R| {
            let begin = len;
            len += file.len();
            (begin, file)
        };
        let files = files.into_iter().map(&mut start).collect();
        Self { files, len }
    }
}

impl<R: ReadRecords> ReadRecords for Joined<R> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, records: &[u64], pictures: bool) -> Vec<RawResult> {
        let mut results = Vec::with_capacity(records.len());
        let mut rest = records;
        for (number, (begin, file)) in self.files.iter().enumerate() {
            let end = self.files.get(number + 1).map_or(self.len, |(begin, _)| *begin);
            let (here, later) = rest.split_at(rest.partition_point(|record| *record < end));
            if !here.is_empty() {
                let local: Vec<u64> = here.iter().map(|record| record - begin).collect();
                results.extend(file.read(&local, pictures));
            }
            rest = later;
        }
        results
    }

    fn bytes_together(&self) -> Option<u64> {
        let sized = self.files.iter().filter_map(|(_, file)| Some((file.bytes_together()?, file.len())));
        let (bytes, records) = sized.fold((0, 0), |(bytes, records), (mean, len)| (bytes + mean * len, records + len));
        (records > 0).then(|| bytes / records)
    }

    fn notes(&self) -> Vec<String> {
        self.files.iter().flat_map(|(_, file)| file.notes()).collect()
    }
}

//! Pictures that stay in their file until they are shown: who holds many records holds no picture.

use super::{FileSource, SkipKind, SkipReason, Source};
use crate::sample::{MediaKey, clips, pictures};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// Records read at once: the neighbours of one that is shown are shown next.
const CHUNK: u64 = 16;
/// Chunks that are held.
const HELD: usize = 4;

/// The pictures of a source's records.
pub struct RecordPictures {
    source: FileSource,
    /// By number of the chunk, the pictures of its records; the oldest first.
    held: Mutex<VecDeque<(u64, Vec<RecordBytes>)>>,
}

/// The pictures of a record, or why they cannot be read.
type RecordBytes = Result<Vec<Bytes>, String>;

/// A picture of a record, or a video.
#[derive(Clone)]
pub struct StoredPicture {
    of: Arc<RecordPictures>,
    record: u64,
    number: usize,
    is_video: bool,
    key: MediaKey,
    name: String,
}

impl RecordPictures {
    /// The pictures of a source of files.
    pub fn new(source: FileSource) -> Arc<Self> {
        Arc::new(Self { source, held: Mutex::default() })
    }

    /// The source.
    pub fn source(&self) -> &FileSource {
        &self.source
    }

    /// The picture of this number, from 0, of a record. `key` is what was there when it was looked at.
    pub fn picture(self: &Arc<Self>, record: u64, number: usize, key: MediaKey, name: String) -> StoredPicture {
        StoredPicture { of: Arc::clone(self), record, number, is_video: false, key, name }
    }

    /// The same of a record's videos. One is read without its neighbours: it may be large.
    pub fn video(self: &Arc<Self>, record: u64, number: usize, key: MediaKey, name: String) -> StoredPicture {
        StoredPicture { of: Arc::clone(self), record, number, is_video: true, key, name }
    }

    fn read_video(&self, record: u64, number: usize) -> Result<Bytes, String> {
        let row = self.source.rows(&[record]).pop().ok_or("there is no such record")?;
        let row = row.map_err(|skip| skip.to_string())?;
        let clip = clips(&row.media).nth(number).ok_or("the record has fewer videos")?;
        clip.read().map_err(|reason| reason.to_string())
    }

    fn read(&self, record: u64, number: usize) -> Result<Bytes, String> {
        let chunk = record / CHUNK;
        // A poisoned lock guards a list that is whole: it is changed by single calls.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.iter().any(|(known, _)| *known == chunk) {
            let end = self.source.len().min((chunk + 1) * CHUNK);
            let records: Vec<u64> = (chunk * CHUNK..end).collect();
            let bytes = |row: Result<super::Row, Box<super::Skip>>| -> RecordBytes {
                let row = row.map_err(|skip| skip.to_string())?;
                pictures(&row.media).map(|picture| picture.read().map_err(|reason| reason.to_string())).collect()
            };
            held.push_back((chunk, self.source.rows(&records).into_iter().map(bytes).collect()));
            if held.len() > HELD {
                held.pop_front();
            }
        }
        let (_, records) = held.iter().find(|(known, _)| *known == chunk).ok_or("it is not there")?;
        let of_record = records.get((record % CHUNK) as usize).ok_or("there is no such record")?.as_ref()?;
        of_record.get(number).cloned().ok_or_else(|| "the record has fewer pictures".to_owned())
    }
}

impl StoredPicture {
    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    pub fn key(&self) -> MediaKey {
        self.key
    }

    /// The encoded bytes, read anew.
    ///
    /// # Errors
    /// A file that cannot be read, or has changed since the picture was looked at.
    pub fn read(&self) -> Result<Bytes, SkipReason> {
        let kind = if self.is_video { SkipKind::UnreadableVideo } else { SkipKind::UnreadableImage };
        let fail = |why: String| SkipReason::new(kind, format!("{}: {why}", self.name));
        let bytes = match self.is_video {
            true => self.of.read_video(self.record, self.number),
            false => self.of.read(self.record, self.number),
        };
        let bytes = bytes.map_err(fail)?;
        match MediaKey::of(&bytes) == self.key {
            true => Ok(bytes),
            false => Err(fail("its file has changed since it was opened".to_owned())),
        }
    }
}

impl fmt::Debug for StoredPicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredPicture").field("name", &self.name).field("key", &self.key).finish_non_exhaustive()
    }
}

/// The same bytes are the same picture.
impl PartialEq for StoredPicture {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.name == other.name
    }
}

impl Eq for StoredPicture {}

impl Hash for StoredPicture {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        self.name.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::super::SourceConfig;
    use super::*;
    use crate::image::{RgbImage, encode_png};
    use crate::sample::Picture;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use std::fmt::Write;

    fn png(value: u8) -> Vec<u8> {
        encode_png(&RgbImage::from_fn(4, 4, |x, _| [value, x as u8, 7].into())).unwrap()
    }

    #[test]
    fn pictures_come_back_in_any_order_and_changes_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("q.tsv");
        let table = |offset: u8| {
            let mut text = String::from("index\tquestion\tanswer\timage\n");
            for row in 0..100u8 {
                // Every third row shows the picture of the one before it.
                let image = match row % 3 {
                    2 => (row - 1).to_string(),
                    _ => STANDARD.encode(png(row + offset)),
                };
                writeln!(text, "{row}\twhat?\tx\t{image}").unwrap();
            }
            text
        };
        std::fs::write(&path, table(0)).unwrap();
        let open = || FileSource::open(SourceConfig::new("q", path.to_string_lossy())).unwrap();
        let stored = RecordPictures::new(open());
        let expected = |row: u8| png(if row % 3 == 2 { row - 1 } else { row });
        let picture = |row: u8| {
            let bytes = expected(row);
            Picture::Stored(stored.picture(row.into(), 0, MediaKey::of(&bytes), format!("q:{row}")))
        };
        for row in [99, 0, 50, 51, 2, 98, 17, 16, 15] {
            assert_eq!(picture(row).read().unwrap(), expected(row), "{row}");
            assert_eq!(picture(row).key().unwrap(), MediaKey::of(&expected(row)));
        }
        let other = Picture::Stored(stored.picture(3, 0, MediaKey::of(b"x"), "q:3".into()));
        assert!(other.read().unwrap_err().to_string().contains("q:3: its file has changed"), "{other:?}");
        let beyond = Picture::Stored(stored.picture(3, 1, MediaKey::of(b"x"), "q:3".into()));
        assert!(beyond.read().unwrap_err().to_string().contains("fewer pictures"));
    }
}

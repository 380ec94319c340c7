//! What the fuzz targets share: the input as a file, and checks that hold for every source.

pub mod checkpoint;

use burn_vlm_data::source::{FileSource, Format, Limits, Source, SourceConfig, SourceError};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The most bytes of a record: small, so that the limit itself is met.
pub const MAX_ENTRY: u64 = 512;
/// Records that are looked at one by one.
const LOOKED_AT: u64 = 64;

/// Writes the input to a file of this process, always the same one.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder"));
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("room for the input");
    path
}

/// Opens a file as a source with small limits.
pub fn open(path: &Path, format: Format) -> Result<FileSource, SourceError> {
    let limits = Limits { max_entry_bytes: MAX_ENTRY, max_depth: 8, max_pictures: 4, ..Limits::default() };
    let config = SourceConfig { format: Some(format), limits, ..SourceConfig::new("fuzz", path.to_string_lossy()) };
    FileSource::open(config)
}

/// Every record is the same alone and among others, in any order, and says why where it cannot be used.
pub fn read_all(source: &dyn Source) {
    let records: Vec<u64> = (0..source.len().min(LOOKED_AT)).collect();
    let together = source.get_many(&records);
    assert_eq!(together.len(), records.len());
    for (record, sample) in records.iter().zip(together).rev() {
        match (source.get(*record), sample) {
            (Ok(alone), Ok(among)) => assert_eq!(alone, among, "record {record}"),
            (Err(alone), Err(among)) => {
                assert_eq!(alone.to_string(), among.to_string(), "record {record}");
                assert!(!alone.detail.is_empty(), "{alone}");
            }
            (alone, among) => panic!("record {record}: {alone:?} alone, {among:?} among others"),
        }
    }
    assert!(source.get(source.len()).is_err(), "there is no record behind the last");
    let mut skipped = 0;
    let groups = source.by_language(&mut |_| skipped += 1);
    let grouped: usize = groups.values().map(Vec::len).sum();
    assert_eq!(grouped as u64 + skipped, source.len(), "each record has a group or is skipped");
}

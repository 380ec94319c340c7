//! Memory of a parquet stream: flat in the size of the data.
//!
//! The large run: `cargo test --release -p burn-vlm-data --test source_memory -- --ignored --nocapture`, with
//! `SOURCE_MEMORY_MB` megabytes (2,048 by default) in the temporary folder.

#![cfg(target_os = "linux")]

use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::image::DecodeLimits;
use burn_vlm_data::random::Stream;
use burn_vlm_data::sample::Sample;
use burn_vlm_data::source::{
    FileSource, Group, Mixed, Records, SkipLimit, SkipLog, Source, SourceConfig, StreamOptions,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a row: a picture, followed by bytes that no decoder reads and no compression makes smaller.
const ROW: usize = 100_000;
/// The 2 GB of the target may take 500 MB; everything of the process is counted.
const MAX_LARGE: u64 = 500 << 20;
/// A small run in all: pools of 8 MiB twice, rows twice while they are decoded, threads.
const MAX_SMALL: u64 = 72 << 20;

/// Bytes of the process in memory: now, and at most since [`forget_peak`].
fn resident(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Writes rows in row groups of `group`.
fn write(path: &Path, rows: usize, group: usize) {
    let corpus = EmojiCorpus::embedded().unwrap();
    let mut random = Stream::new(1);
    let mut writer: Option<ArrowWriter<File>> = None;
    for begin in (0..rows).step_by(50) {
        let numbers: Vec<usize> = (begin..rows.min(begin + 50)).collect();
        let picture = |number: &usize| {
            let mut bytes = corpus.pictures()[number % corpus.pictures().len()].webp.to_vec();
            while bytes.len() < ROW {
                bytes.extend(random.next_u64().to_le_bytes());
            }
            bytes
        };
        let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(numbers.iter().map(picture)));
        let captions = numbers.iter().map(|number| format!("picture {number}"));
        let captions: ArrayRef = Arc::new(StringArray::from_iter_values(captions));
        let batch = RecordBatch::try_from_iter([("image", images), ("caption", captions)]).unwrap();
        let writer = writer.get_or_insert_with(|| {
            let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
            ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap()
        });
        writer.write(&batch).unwrap();
    }
    writer.unwrap().close().unwrap();
}

/// Streams one epoch with every picture decoded; the peak above what the process had before.
fn peak(path: &Path, shuffle_bytes: u64) -> (u64, u64) {
    let before = resident("VmRSS");
    forget_peak();
    let source = FileSource::open(SourceConfig::new("large", path.display().to_string())).unwrap();
    let rows = source.len();
    let groups = vec![Group { source: 0, records: Records::Range(0..rows), draws: rows }];
    let mixed = Mixed::new(vec![Arc::new(source)], groups, StreamOptions { shuffle_bytes, ..StreamOptions::seeded(5) })
        .unwrap();
    let make = |_, sample: &Sample| {
        for picture in sample.pictures() {
            assert_eq!(picture.decode(&DecodeLimits::default())?.dimensions(), (64, 64));
        }
        Ok(sample.turns[1].text.clone())
    };
    let log = Arc::new(SkipLog::in_memory(SkipLimit::default()));
    let stream = Arc::new(mixed).stream(0..rows, (2, 8), log, make).unwrap();
    let mut seen = vec![false; rows as usize];
    for drawn in stream {
        let text = drawn.unwrap().item;
        let number: usize = text.strip_prefix("picture ").unwrap().parse().unwrap();
        assert!(!std::mem::replace(&mut seen[number], true), "{text} twice");
    }
    assert!(seen.iter().all(|seen| *seen));
    (rows, resident("VmHWM").saturating_sub(before))
}

fn measure(megabytes: usize, group: usize, shuffle_bytes: u64, max: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.parquet");
    write(&path, (megabytes << 20) / ROW, group);
    let size = path.metadata().unwrap().len();
    let begin = std::time::Instant::now();
    let (rows, peak) = peak(&path, shuffle_bytes);
    let (size, peak, max) = (size >> 20, peak >> 20, max >> 20);
    println!(
        "{size} MiB, {rows} rows in groups of {group}: {:.1} s, peak {peak} MiB above the start (at most {max})",
        begin.elapsed().as_secs_f32()
    );
    assert!(peak <= max, "{peak} MiB");
}

/// One row group: nothing helps but reading page by page.
#[test]
fn small_stream() {
    measure(160, usize::MAX >> 1, 8 << 20, MAX_SMALL);
}

#[test]
#[ignore = "writes 2 GB"]
fn large_stream() {
    let megabytes = std::env::var("SOURCE_MEMORY_MB").ok().and_then(|text| text.parse().ok()).unwrap_or(2048);
    measure(megabytes, 1000, 64 << 20, MAX_LARGE);
}

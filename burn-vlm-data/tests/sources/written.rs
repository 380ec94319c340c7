//! What is written reads back: the same ids, turns, languages and picture bytes in every format; or it is refused.

use crate::files::{Item, compared, expected, rich_items, simple_items, temporary};
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::language::Language;
use burn_vlm_data::source::write::{NewPicture, NewSample, SampleWriter, WriteError, WriteFormat, Written};
use burn_vlm_data::source::{FileSource, LanguageRule, Source, SourceConfig};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn pictures(item: &Item) -> Vec<NewPicture> {
    let picture = |(name, bytes): &(String, Vec<u8>)| NewPicture { name: name.clone(), bytes: bytes.clone().into() };
    item.pictures.iter().map(picture).collect()
}

fn write(folder: &Path, items: &[Item], format: WriteFormat) -> Result<Written, WriteError> {
    let mut writer = SampleWriter::create(folder, "some", format)?;
    for item in items {
        let (id, turns, language) = (item.id.as_str(), item.turns.as_slice(), Some(item.language));
        writer.write(&NewSample { id, turns, language, pictures: &pictures(item) })?;
    }
    writer.finish()
}

fn open(folder: &Path, written: &Written) -> FileSource {
    let language = LanguageRule::Field { field: "language".into(), aliases: BTreeMap::new() };
    let path = folder.join(&written.path).display().to_string();
    let image_root = Some(folder.to_owned());
    FileSource::open(SourceConfig { language: Some(language), image_root, ..SourceConfig::new("some", path) }).unwrap()
}

#[test]
fn every_format_reads_back() {
    for format in WriteFormat::ALL {
        let folder = temporary();
        // More than a batch of rows; a table has one picture and one answer a row.
        let items = if format == WriteFormat::Tsv { simple_items(300) } else { rich_items(300) };
        let written = write(&folder, &items, format).unwrap();
        assert_eq!(written.samples, 300);
        let source = open(&folder, &written);
        assert_eq!(source.len(), 300, "{format}");
        let numbers: Vec<u64> = (0..300).collect();
        let found: Vec<_> = source.get_many(&numbers).iter().map(|sample| compared(sample.as_ref().unwrap())).collect();
        assert_eq!(found, expected(&items), "{format}");
    }
}

#[test]
fn empty_files_are_files() {
    for format in WriteFormat::ALL {
        let folder = temporary();
        let written = write(&folder, &[], format).unwrap();
        assert_eq!((written.samples, open(&folder, &written).len()), (0, 0), "{format}");
    }
}

/// A picture that many samples show is stored once where the format can refer to it.
#[test]
fn pictures_are_shared() {
    let mut items = simple_items(40);
    let picture = items[0].pictures.clone();
    items.iter_mut().for_each(|item| item.pictures = picture.clone());
    let size = picture[0].1.len() as u64;
    for format in [WriteFormat::Json, WriteFormat::Tsv] {
        let folder = temporary();
        let written = write(&folder, &items, format).unwrap();
        let table = fs::metadata(folder.join(&written.path)).unwrap().len();
        assert!(table < 40 * 300 + 2 * size, "{format}: {table} bytes for pictures of {size}");
        let source = open(&folder, &written);
        let found: Vec<_> = (0..40).map(|number| compared(&source.get(number).unwrap())).collect();
        assert_eq!(found, expected(&items), "{format}");
    }
}

/// Archives go on in the next one, and the path names them all.
#[test]
fn many_samples_become_several_archives() {
    let folder = temporary();
    let mut writer = SampleWriter::create(&folder, "some", WriteFormat::WebDataset).unwrap();
    let turns = [Turn::user("2 + 2?"), Turn::assistant("4")];
    for number in 0..10_001 {
        let id = format!("item.{number}");
        writer.write(&NewSample { id: &id, turns: &turns, language: None, pictures: &[] }).unwrap();
    }
    let written = writer.finish().unwrap();
    assert_eq!(written.path, "some-{000000..000001}.tar");
    let source = FileSource::open(SourceConfig::new("some", folder.join(&written.path).display().to_string())).unwrap();
    assert_eq!(source.len(), 10_001);
    for number in [0, 9_999, 10_000] {
        let sample = source.get(number).unwrap();
        assert_eq!((sample.id, sample.turns), (format!("item.{number}"), turns.to_vec()));
    }
}

#[test]
fn what_could_not_be_read_back_is_refused() {
    let picture = |name: &str| NewPicture { name: name.into(), bytes: vec![7; 100].into() };
    let (one, outside, text) = ([picture("a/b.png")], [picture("../b.png")], [picture("b.txt")]);
    let absolute = [picture("/b.png")];
    let asked = [Turn::user("<image>\nWhat?"), Turn::assistant("This.")];
    let twice = [Turn::user("<image><image>"), Turn::assistant("This.")];
    let silent = [Turn::user("<image>\nWhat?"), Turn::assistant(" ")];
    let longer = [&asked[..], &[Turn::user("Why?"), Turn::assistant("So.")]].concat();
    let pair = [picture("a.png"), picture("b.png")];
    for format in WriteFormat::ALL {
        let mut writer = SampleWriter::create(temporary(), "some", format).unwrap();
        let mut refused = |id: &str, turns: &[Turn], pictures: &[NewPicture], word: &str| {
            let sample = NewSample { id, turns, language: Some(Language::EN), pictures };
            let error = writer.write(&sample).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(format.as_str()), "{format}: {word}: {error}");
        };
        refused("", &asked, &one, "id");
        refused("a", &asked, &[], "1 <image> placeholders for 0 pictures");
        refused("a", &twice, &one, "2 <image> placeholders for 1 pictures");
        refused("a", &silent, &one, "says nothing");
        for bad in [&outside, &text, &absolute] {
            refused("a", &asked, bad, "relative path");
        }
        if format == WriteFormat::Tsv {
            refused("a", &longer, &one, "one question and its answer");
            refused("a", &twice, &pair, "several pictures");
            let tiny = [NewPicture { name: "t.png".into(), bytes: vec![7; 10].into() }];
            refused("a", &asked, &tiny, "too small");
        }
        assert_eq!(writer.finish().unwrap().samples, 0, "{format}");
    }
    let error = SampleWriter::create(temporary().join("none"), "some", WriteFormat::Json).err().unwrap().to_string();
    assert!(error.contains("some.json"), "{error}");
}

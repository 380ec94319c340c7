//! Archives as other programs write them: names that belong to no sample, endings that nobody reads, and their end.

use crate::files::{self, append, simple_items, temporary};
use burn_vlm_data::source::{Fields, FileSource, SkipKind, Source, SourceConfig, told};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// An archive of these entries; the contents of pictures are one picture.
fn archive(entries: &[(&str, &str)]) -> PathBuf {
    let path = temporary().join("data.tar");
    let picture = simple_items(1)[0].pictures[0].1.clone();
    let mut archive = tar::Builder::new(File::create(&path).unwrap());
    for (name, content) in entries {
        append(&mut archive, name, if *content == "picture" { &picture } else { content.as_bytes() });
    }
    archive.finish().unwrap();
    path
}

fn open(path: &Path) -> Result<FileSource, String> {
    FileSource::open(SourceConfig { language: None, ..files::config(path) }).map_err(|error| error.to_string())
}

#[test]
fn names_that_begin_with_a_dot_belong_to_no_sample() {
    let path = archive(&[
        ("./._0001.jpg", "attributes"),
        ("./0001.jpg", "picture"),
        ("./._0001.txt", "attributes"),
        ("./0001.txt", "One."),
        ("README", "a text"),
        (".DS_Store", "x"),
        ("__meta__/x.json", "{}"),
        ("0002.v1.jpg", "picture"),
        ("0002.txt", "Two."),
    ]);
    let source = open(&path).unwrap();
    assert_eq!(source.len(), 2);
    for record in [0, 1] {
        assert_eq!(source.get(record).unwrap().pictures().count(), 1);
    }
    let notes = source.notes().join("\n");
    assert!(
        notes.contains("3 entries whose name begins with a dot")
            && notes.contains("1 entries of webdataset itself")
            && notes.contains("1 entries without an ending"),
        "{notes}"
    );
}

#[test]
fn endings_that_nobody_reads_are_let_be() {
    let path = archive(&[
        ("0001.cls", "3"),
        ("0001.jpg", "picture"),
        ("0001.txt", "One."),
        ("0001.npy", "x"),
        ("0002.gif", "picture"),
        ("0002.txt", "Two."),
        ("0003.avif", "x"),
        ("0003.txt", "Three."),
        ("0004.mp4", "x"),
        ("0004.txt", "Four."),
    ]);
    let source = open(&path).unwrap();
    assert_eq!(source.get(0).unwrap().answer(), "One.");
    assert_eq!(source.get(1).unwrap().pictures().count(), 1, "a GIF is a picture");
    // Known pictures that cannot be read are no reason to train on the text alone.
    let skip = source.get(2).unwrap_err();
    assert!(skip.reason == SkipKind::UnreadField && skip.detail.contains("avif"), "{skip}");
    assert_eq!(source.get(3).unwrap().clips().count(), 1, "a video is one");
    assert!(told(&source).iter().any(|line| line.contains(".cls 1, .npy 1")), "{:?}", told(&source));
    // Not read on purpose: no reason to leave a record out, and not told.
    let ignore = [".mp4", ".avif", ".cls", ".npy"].map(str::to_owned).to_vec();
    let fields = Fields { ignore, ..Fields::default() };
    let source = FileSource::open(SourceConfig { language: None, fields, ..files::config(&path) }).unwrap();
    assert!((0..4).all(|record| source.get(record).is_ok()) && told(&source).is_empty(), "{:?}", told(&source));
}

#[test]
fn texts_do_not_overwrite_each_other() {
    let path = archive(&[
        ("0001.jpg", "picture"),
        ("0001.caption", "A caption."),
        ("0001.txt", "A text."),
        ("0002.jpg", "picture"),
        ("0002.txt", "Two."),
        ("0002.de.txt", "Zwei."),
        ("0003.jpg", "picture"),
        ("0003.en.txt", "Three."),
        ("0004.json", r#"{"caption": "four", "id": "x"}"#),
        ("0004.more.json", r#"{"caption": "vier", "id": "x"}"#),
    ]);
    let source = open(&path).unwrap();
    let answers: Vec<String> = (0..3).map(|record| source.get(record).unwrap().answer().to_owned()).collect();
    assert_eq!(answers, ["A caption.", "Two.", "Three."]);
    assert_eq!(source.unread(&[0, 1, 2]), [("txt".to_owned(), 1), ("de.txt".to_owned(), 1)].into());
    let skip = source.get(3).unwrap_err();
    assert!(skip.reason == SkipKind::UnexpectedEntry && skip.detail.contains("caption"), "{skip}");
}

/// A zeroed header, a cut between two entries, an end mark that is missing, nothing at all.
#[test]
fn archives_that_end_too_early() {
    let path = archive(&[("1.txt", "One."), ("2.txt", "Two."), ("3.txt", "Three.")]);
    let whole = fs::read(&path).unwrap();
    assert!(open(&path).unwrap().notes().is_empty());
    let mut zeroed = whole.clone();
    zeroed[1024..1536].fill(0);
    fs::write(&path, zeroed).unwrap();
    let error = open(&path).unwrap_err();
    assert!(error.contains("data.tar, byte 1024") && error.contains("zeroed"), "{error}");
    fs::write(&path, [&whole[..], &whole[..]].concat()).unwrap();
    assert!(open(&path).unwrap_err().contains("joined"));
    fs::write(&path, &whole[..2048]).unwrap();
    let source = open(&path).unwrap();
    assert!(source.len() == 2 && source.notes()[0].contains("no end mark"), "{:?}", source.notes());
    fs::write(&path, "").unwrap();
    assert!(open(&path).unwrap_err().contains("empty"));
    fs::write(&path, [0; 1024]).unwrap();
    assert!(open(&path).unwrap().notes()[0].contains("no sample"));
}

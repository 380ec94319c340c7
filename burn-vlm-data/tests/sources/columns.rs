//! Columns of parquet files: those that hold or name pictures, those of other types than usual, those of nothing.

use crate::files::{self, simple_items, temporary};
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Float16Type;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Decimal128Array, Float16Array, Float32Array, Float64Array,
    Int64Array, NullArray, StringArray, StructArray,
};
use arrow_schema::Field;
use burn_vlm_data::source::{Fields, FileSource, SkipKind, Source, SourceConfig, told};
use std::path::PathBuf;
use std::sync::Arc;

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// A parquet file of these columns, beside the pictures `part/000.webp` to `part/003.webp`.
fn write(columns: Vec<(&str, ArrayRef)>) -> PathBuf {
    let folder = temporary();
    files::write_json(&folder, &simple_items(4));
    let path = folder.join("metadata.parquet");
    files::write_columns(&path, columns, 2);
    path
}

fn try_open(path: &PathBuf, fields: Fields) -> Result<FileSource, String> {
    let image_root = path.parent().map(|folder| folder.join("images"));
    let config = SourceConfig { image_root, language: None, fields, ..files::config(path) };
    FileSource::open(config).map_err(|error| error.to_string())
}

fn open(columns: Vec<(&str, ArrayRef)>) -> FileSource {
    try_open(&write(columns), Fields::default()).unwrap()
}

fn ignoring(names: &[&str]) -> Fields {
    Fields { ignore: names.iter().map(|name| (*name).to_owned()).collect(), ..Fields::default() }
}

fn texts(values: &[&str]) -> ArrayRef {
    files::text_column(values)
}

fn lists(rows: &[&[&str]]) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in rows {
        lists.append_value(row.iter().map(|text| Some(*text)));
    }
    Arc::new(lists.finish())
}

fn structs(columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let field = |(name, array): (&str, ArrayRef)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array);
    Arc::new(StructArray::from(columns.into_iter().map(field).collect::<Vec<_>>()))
}

fn names(source: &FileSource, record: u64) -> Vec<String> {
    let sample = source.get(record).unwrap();
    sample.pictures().map(|picture| picture.name().rsplit('/').next().unwrap().to_owned()).collect()
}

fn answers(source: &FileSource) -> Vec<String> {
    (0..source.len()).map(|record| source.get(record).unwrap().answer().to_owned()).collect()
}

/// The metadata of an imagefolder as parquet, as JSON has it.
#[test]
fn pictures_are_named_by_file_name() {
    let source = open(vec![
        ("file_name", texts(&["part/000.webp", "notes.txt", "part/001.webp"])),
        ("text", texts(&["Red.", "Green.", "Blue."])),
    ]);
    assert_eq!(names(&source, 0), ["000.webp"]);
    assert_eq!(source.get(0).unwrap().turns[0].text, "<image>");
    // The name of a text is no picture; it is told.
    assert!(names(&source, 1).is_empty());
    assert_eq!(source.unread(&[0, 1, 2]), [("file_name".to_owned(), 1)].into());
    let source =
        open(vec![("file_names", lists(&[&["part/000.webp", "part/001.webp"]])), ("caption", texts(&["Red."]))]);
    assert_eq!(names(&source, 0), ["000.webp", "001.webp"]);
    // Beside numbered pictures, where those have nothing.
    let numbered: ArrayRef = Arc::new(StringArray::from(vec![Some("part/002.webp"), None]));
    let source = open(vec![
        ("image_1", numbered),
        ("file_name", texts(&["notes.txt", "part/001.webp"])),
        ("caption", texts(&["Red.", "Green."])),
    ]);
    assert_eq!((names(&source, 0), names(&source, 1)), (vec!["002.webp".to_owned()], vec!["001.webp".to_owned()]));
    // Pictures of the table go before names.
    let source = open(vec![
        ("image", texts(&["part/002.webp"])),
        ("file_name", texts(&["part/001.webp"])),
        ("caption", texts(&["Red."])),
    ]);
    assert_eq!(names(&source, 0), ["002.webp"]);
}

/// A video that is not configured is read as in JSON, or refused: a folder, a list of files, bytes of frames, anything else.
#[test]
fn videos_are_not_passed_over() {
    let captions = || ("caption", texts(&["Red."]));
    let fields = || Fields { caption_prompt: Some("<video>".into()), ..Fields::default() };
    let bytes = simple_items(1)[0].pictures[0].1.clone();
    for (video, frames) in [
        (texts(&["part"]), 4),
        (lists(&[&["part/000.webp", "part/001.webp"]]), 2),
        (texts(&["['part/000.webp', 'part/001.webp']"]), 2),
        (files::bytes_column(&[&bytes]), 1),
        (files::image_column(vec![(Some(&bytes), None)]), 1),
    ] {
        let source = try_open(&write(vec![("video", video.clone()), captions()]), fields()).unwrap();
        assert_eq!(source.get(0).unwrap().pictures().count(), frames, "{video:?}");
        let named = Fields { video: Some("clip".into()), ..fields() };
        let source = try_open(&write(vec![("clip", video), captions()]), named).unwrap();
        assert_eq!(source.get(0).unwrap().pictures().count(), frames);
    }
    for (video, word) in [(texts(&["part/000.png"]), "is a picture"), (Arc::new(Int64Array::from(vec![1])), "a number")]
    {
        let path = write(vec![("video", video), captions()]);
        let skip = try_open(&path, Fields::default()).unwrap().get(0).unwrap_err();
        assert!(skip.detail.contains(word), "{skip}");
        assert_eq!(answers(&try_open(&path, ignoring(&["video"])).unwrap()), ["Red."]);
    }
    // Nothing there is nothing, for text alone and beside a picture.
    for image in ["", "part/000.webp"] {
        let source = open(vec![("image", texts(&[image])), ("video", texts(&[""])), captions()]);
        assert_eq!(source.get(0).unwrap().pictures().count(), usize::from(!image.is_empty()));
    }
}

/// A benchmark whose picture column is not read is not asked without pictures, nor trained on.
#[test]
fn known_picture_columns_are_refused() {
    let bytes = simple_items(1)[0].pictures[0].1.clone();
    let path = write(vec![
        ("img", files::bytes_column(&[&bytes])),
        ("question", texts(&["What?"])),
        ("answer", texts(&["This."])),
    ]);
    let source = try_open(&path, Fields::default()).unwrap();
    for skip in [source.get(0).unwrap_err(), source.rows(&[0]).pop().unwrap().unwrap_err()] {
        assert!(skip.reason == SkipKind::UnreadField && skip.detail.contains("image = \"img\""), "{skip}");
    }
    let source = try_open(&path, ignoring(&["img"])).unwrap();
    assert!(source.get(0).is_ok() && source.rows(&[0])[0].as_ref().unwrap().media.is_empty());
    assert!(told(&source).is_empty());
    let named = Fields { image: Some("img".into()), ..Fields::default() };
    assert_eq!(try_open(&path, named).unwrap().rows(&[0])[0].as_ref().unwrap().media.len(), 1);
    let source = open(vec![("mp4", texts(&["a.mp4"])), ("caption", texts(&["Red."]))]);
    assert!(source.get(0).unwrap_err().detail.contains("video = \"mp4\""));
}

/// Columns in which no row has anything have no type of their own (pandas writes None so); they keep no file from being read.
#[test]
fn columns_of_nothing() {
    let nothing = |rows: usize| Arc::new(NullArray::new(rows)) as ArrayRef;
    let columns = |names: &[&'static str]| {
        let mut columns = vec![("image", texts(&["part/000.webp"])), ("question", texts(&["What?"]))];
        columns.push(("answer", texts(&["This."])));
        columns.extend(names.iter().map(|name| (*name, nothing(1))));
        columns
    };
    let source = open(columns(&["system", "image_5", "hint", "A", "options", "video", "id", "conversations"]));
    assert_eq!((answers(&source), names(&source, 0)), (vec!["This.".to_owned()], vec!["000.webp".to_owned()]));
    // Nothing is there, and nothing is told.
    assert!(told(&source).is_empty(), "{:?}", told(&source));
    let fields = Fields { system: Some("rules".into()), video: Some("clip".into()), ..Fields::default() };
    assert_eq!(answers(&try_open(&write(columns(&["rules", "clip"])), fields).unwrap()), ["This."]);
    // The next of the usual names holds what is looked for.
    let source = open(vec![("caption", nothing(1)), ("text", texts(&["Red."])), ("image", nothing(1))]);
    assert_eq!(answers(&source), ["Red."]);
    let source = open(vec![("question", texts(&["?"])), ("answer", nothing(1)), ("answers", texts(&["Red."]))]);
    assert_eq!(answers(&source), ["Red."]);
    let source =
        open(vec![("image_1", texts(&["part/001.webp"])), ("image_5", nothing(1)), ("text", texts(&["Red."]))]);
    assert_eq!(names(&source, 0), ["001.webp"]);
    // A file that says nothing at all is a file without usable records.
    for columns in [vec![("caption", nothing(2))], vec![("question", texts(&["a", "b"])), ("answer", nothing(2))]] {
        let source = open(columns);
        assert!(source.len() == 2 && source.get(1).is_err());
    }
}

/// A system text of another type leaves its record out, not the file; other columns can be ignored.
#[test]
fn columns_of_other_types() {
    let base = |name: &'static str, column: ArrayRef| {
        let columns = vec![("question", texts(&["What?"])), ("answer", texts(&["This."]))];
        write(columns.into_iter().chain([(name, column)]).collect())
    };
    let flag = || Arc::new(BooleanArray::from(vec![true])) as ArrayRef;
    let path = base("system", flag());
    let skip = try_open(&path, Fields::default()).unwrap().get(0).unwrap_err();
    assert!(skip.detail.contains("system is true or false"), "{skip}");
    assert_eq!(answers(&try_open(&path, ignoring(&["system"])).unwrap()), ["This."]);
    let path = base("rules", flag());
    let named = Fields { system: Some("rules".into()), ..Fields::default() };
    assert!(try_open(&path, named).unwrap_err().contains("\"rules\""));
    // Read on purpose goes before not read on purpose.
    let named = Fields { answer: Some("answer".into()), ..ignoring(&["answer", "rules"]) };
    assert_eq!(answers(&try_open(&path, named).unwrap()), ["This."]);
    for (name, column, word) in [
        ("hint", flag(), "strings or numbers"),
        ("image", flag(), "bytes and path"),
        ("image_1", flag(), "bytes and path"),
        ("id", flag(), "whole numbers"),
    ] {
        let path = base(name, column);
        let error = try_open(&path, Fields::default()).unwrap_err();
        assert!(error.contains(word) && error.contains(name), "{error}");
        assert_eq!(answers(&try_open(&path, ignoring(&[name])).unwrap()), ["This."]);
    }
    // One option is no choice: a column that happens to be called A.
    assert_eq!(answers(&try_open(&base("A", flag()), Fields::default()).unwrap()), ["This."]);
}

/// Numbers as they are written; decimals and halves have none in JSON here, so that nothing would be read in their place.
#[test]
fn numbers_as_answers() {
    let with = |answer: ArrayRef| {
        try_open(&write(vec![("question", texts(&["How many?"])), ("answer", answer)]), Fields::default())
    };
    let halves = Float16Array::from_iter_values([Half::from_f32(0.5)]);
    for (answer, expected) in [
        (Arc::new(Float32Array::from(vec![0.1])) as ArrayRef, "0.1"),
        (Arc::new(Float32Array::from(vec![16_777_216.0])), "16777216.0"),
        (Arc::new(Float64Array::from(vec![0.1])), "0.1"),
        (Arc::new(Int64Array::from(vec![i64::MIN])), "-9223372036854775808"),
        (structs(vec![("answer", Arc::new(Float32Array::from(vec![2.5])))]), "2.5"),
    ] {
        assert_eq!(answers(&with(answer).unwrap()), [expected]);
    }
    let decimals = || Arc::new(Decimal128Array::from(vec![15]).with_precision_and_scale(5, 1).unwrap()) as ArrayRef;
    for answer in
        [decimals(), Arc::new(halves), structs(vec![("answer", decimals())]), structs(vec![("label", texts(&["x"]))])]
    {
        let error = with(answer).unwrap_err();
        assert!(error.contains("\"answer\"") && error.contains("32 or 64 bits"), "{error}");
    }
    // An option that would read as nothing is no option less.
    let options = structs(vec![("A", decimals()), ("B", texts(&["x"]))]);
    let path = write(vec![("question", texts(&["?"])), ("answer", texts(&["B"])), ("options", options)]);
    assert!(try_open(&path, Fields::default()).unwrap_err().contains("\"options\""));
    assert_eq!(answers(&try_open(&path, ignoring(&["options"])).unwrap()), ["B"]);
}

/// Captions in lists and objects, options in columns of five for a question of four.
#[test]
fn captions_and_options_as_json_has_them() {
    let source = open(vec![("caption", lists(&[&[" ", "Red."], &["Green."]]))]);
    assert_eq!(answers(&source), ["Red.", "Green."]);
    assert_eq!(answers(&open(vec![("caption", structs(vec![("text", texts(&["Red."]))]))])), ["Red."]);
    let options = |last: ArrayRef| structs(vec![("A", texts(&["a cat"])), ("B", texts(&["a dog"])), ("C", last)]);
    for last in [Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef, Arc::new(NullArray::new(1))] {
        let answer: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let source = open(vec![("question", texts(&["Which?"])), ("options", options(last)), ("answer", answer)]);
        let sample = source.get(0).unwrap();
        assert!(sample.turns[0].text.contains("A. a cat\nB. a dog\nPlease"), "{}", sample.turns[0].text);
        assert_eq!(sample.answer(), "B");
    }
}

//! What cannot be used: each kind is told by its reason and place, and nothing around it is lost.

use crate::files::{self, Item, append, compared, expected, simple_items, temporary};
use burn_vlm_data::image::DecodeLimits;
use burn_vlm_data::random::Stream;
use burn_vlm_data::sample::{Picture, Sample};
use burn_vlm_data::source::{FileSource, LanguageRule, Limits, Skip, SkipKind, SkipReason, Source, SourceConfig};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::Path;

/// The reason of each record, also of those whose pictures cannot be decoded; `None` where all is well.
fn reasons(source: &dyn Source) -> Vec<Option<Skip>> {
    let limits = source.limits().decode();
    let reason = |record| match source.get(record) {
        Err(skip) => Some(*skip),
        Ok(sample) => decode(&sample, &limits).err().map(|reason| source.skip_of(record, &sample, reason)),
    };
    (0..source.len()).map(reason).collect()
}

pub fn decode(sample: &Sample, limits: &DecodeLimits) -> Result<(), SkipReason> {
    sample.pictures().try_for_each(|picture| picture.decode(limits).map(drop))
}

/// Checks kind, place and a word of each record's reason.
fn check(source: &dyn Source, cases: &[(Option<SkipKind>, &str)]) {
    let reasons = reasons(source);
    assert_eq!(reasons.len(), cases.len());
    for (record, (skip, (kind, word))) in reasons.iter().zip(cases).enumerate() {
        assert_eq!(skip.as_ref().map(|skip| skip.reason), *kind, "record {record}: {skip:?}");
        if let Some(skip) = skip {
            let line = serde_json::to_string(skip).unwrap();
            assert!(line.contains(word), "record {record}: {word}: {line}");
            assert_eq!((skip.record, skip.source.as_str()), (record as u64, "test"));
            assert_eq!(serde_json::from_str::<Skip>(&line).unwrap(), *skip);
        }
    }
}

/// A PNG whose header says 30,000 x 30,000 pixels.
pub fn giant_png() -> Vec<u8> {
    let mut bytes = vec![0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13];
    let mut header = b"IHDR".to_vec();
    header.extend(30_000u32.to_be_bytes());
    header.extend(30_000u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let crc = !header.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
    });
    bytes.extend(header);
    bytes.extend(crc.to_be_bytes());
    // An empty IDAT chunk, so that only the size is wrong.
    bytes.extend([0, 0, 0, 0]);
    bytes.extend(b"IDAT");
    bytes.extend(0x35af_061eu32.to_be_bytes());
    bytes
}

fn record(id: &str, image: Value, question: &str, answer: &str) -> Value {
    let turns = json!([{"from": "human", "value": question}, {"from": "gpt", "value": answer}]);
    json!({"id": id, "image": image, "conversations": turns, "language": "en"})
}

fn json_folder() -> (std::path::PathBuf, SourceConfig, Vec<Item>) {
    let folder = temporary();
    let items = simple_items(4);
    let config = files::write_json(&folder, &items);
    let image = &items[0].pictures[0].1;
    let root = folder.join("images");
    fs::write(root.join("cut.webp"), &image[..image.len() / 2]).unwrap();
    fs::write(root.join("text.png"), "no picture").unwrap();
    fs::write(root.join("giant.png"), giant_png()).unwrap();
    fs::write(root.join("large.webp"), [image.as_slice(), &vec![0; 300_000]].concat()).unwrap();
    fs::write(folder.join("secret.webp"), image).unwrap();
    (folder, config, items)
}

#[test]
fn json_records() {
    let (folder, config, _) = json_folder();
    let good = |id: &str| record(id, json!("part/000.webp"), "<image>\nWhat?", "This.");
    let image = |path: &str| record("x", json!(path), "<image>\nWhat?", "This.");
    let with = |key: &str, value: Value| {
        let mut record = good("x");
        record[key] = value;
        record
    };
    let deep: Value = serde_json::from_str(&format!("{}{}", "[".repeat(50), "]".repeat(50))).unwrap();
    let secret = folder.join("secret.webp").display().to_string();
    let cases: Vec<(Value, Option<SkipKind>, &str)> = vec![
        (good("a"), None, ""),
        (image("part/none.webp"), Some(SkipKind::MissingImage), "none.webp"),
        (image("cut.webp"), Some(SkipKind::UnreadableImage), "cut.webp"),
        (image("text.png"), Some(SkipKind::UnreadableImage), "text.png"),
        (image("giant.png"), Some(SkipKind::ImageTooLarge), "30000 x 30000"),
        (image("large.webp"), Some(SkipKind::EntryTooLarge), "large.webp"),
        (image("../secret.webp"), Some(SkipKind::PathEscape), "../secret.webp"),
        (image("part/../../secret.webp"), Some(SkipKind::PathEscape), "below the image root"),
        (image(&secret), Some(SkipKind::PathEscape), "secret.webp"),
        (image("link.webp"), Some(SkipKind::PathEscape), "link"),
        (good("b"), None, ""),
        (record("x", json!("part/000.webp"), "<image>\nWhat?", "  "), Some(SkipKind::NoAnswer), "nothing"),
        (with("conversations", json!([{"from": "human", "value": "<image>"}])), Some(SkipKind::NoAnswer), "nothing"),
        (with("conversations", json!(null)), Some(SkipKind::NoConversation), "caption"),
        (with("language", json!("german")), Some(SkipKind::UnknownLanguage), "\\\"de\\\""),
        (with("language", json!(null)), Some(SkipKind::UnknownLanguage), "null"),
        (with("extra", deep), Some(SkipKind::NestedTooDeep), "levels"),
        (with("extra", json!("x".repeat(300_000))), Some(SkipKind::EntryTooLarge), "bytes"),
        (record("x", json!("part/000.webp"), "What?", "This."), Some(SkipKind::Placeholders), "0 placeholders for 1"),
        (record("x", json!(vec!["part/000.webp"; 5]), "<image>", "This."), Some(SkipKind::EntryTooLarge), "5 pictures"),
        (record("x", json!(7), "<image>", "This."), Some(SkipKind::Malformed), "a number"),
        (with("video", json!("red.png")), Some(SkipKind::UnsupportedVideo), "is a picture"),
        (json!([1, 2]), Some(SkipKind::Malformed), "an array"),
        (good("c"), None, ""),
    ];
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.join("secret.webp"), folder.join("images/link.webp")).unwrap();
    let records: Vec<&Value> = cases.iter().map(|(record, ..)| record).collect();
    let expected: Vec<(Option<SkipKind>, &str)> = cases.iter().map(|(_, kind, word)| (*kind, *word)).collect();
    let limits = Limits { max_entry_bytes: 200_000, max_pictures: 4, ..Limits::default() };
    fs::write(folder.join("llava.json"), serde_json::to_string(&records).unwrap()).unwrap();
    let source = FileSource::open(SourceConfig { limits, ..config.clone() }).unwrap();
    check(&source, &expected);
    let skip = source.get(1).unwrap_err();
    assert_eq!((skip.id.as_deref(), skip.place.as_str()), (Some("x"), "element 1"));

    // The same as lines, with one that is no JSON.
    let mut lines: Vec<String> = records.iter().map(|record| record.to_string()).collect();
    lines.push("{\"id\": \"cut off".to_owned());
    let mut expected = expected;
    expected.push((Some(SkipKind::Malformed), "not valid JSON"));
    fs::write(folder.join("lines.jsonl"), lines.join("\n")).unwrap();
    let path = folder.join("lines.jsonl").display().to_string();
    let source = FileSource::open(SourceConfig { path, limits, ..config.clone() }).unwrap();
    check(&source, &expected);
    assert_eq!(source.get(24).unwrap_err().place, "line 25");

    // Without an image root no path is read at all.
    let source = FileSource::open(SourceConfig { image_root: None, limits, ..config }).unwrap();
    assert!(source.get(0).unwrap_err().detail.contains("image_root"));
}

#[test]
fn unknown_languages_are_listed_and_can_be_named() {
    let folder = temporary();
    let config = files::write_json(&folder, &simple_items(1));
    let with = |tag: &str| {
        let mut record = record(tag, json!("part/000.webp"), "<image>", "This.");
        record["language"] = json!(tag);
        record
    };
    let records = [with("zh"), with("en"), with("klingon")];
    fs::write(folder.join("llava.json"), serde_json::to_string(&records).unwrap()).unwrap();
    let source = FileSource::open(config.clone()).unwrap();
    let mut skips = Vec::new();
    let groups = source.by_language(&mut |skip| skips.push(skip));
    assert_eq!(groups.into_values().collect::<Vec<_>>(), [vec![1]]);
    assert_eq!(skips.iter().map(|skip| skip.id.clone().unwrap()).collect::<Vec<_>>(), ["zh", "klingon"]);
    assert!(skips.iter().all(|skip| skip.reason == SkipKind::UnknownLanguage));
    let aliases = [("zh".to_owned(), burn_vlm_data::language::Language::ZH_HANS)].into();
    let language = Some(LanguageRule::Field { field: "language".into(), aliases });
    let source = FileSource::open(SourceConfig { language, ..config }).unwrap();
    assert_eq!(source.get(0).unwrap().language, Some(burn_vlm_data::language::Language::ZH_HANS));
}

#[test]
fn archive_entries() {
    let folder = temporary();
    let items = simple_items(1);
    let image = &items[0].pictures[0].1;
    let conversation = serde_json::to_vec(&record("x", Value::Null, "<image>", "This.")).unwrap();
    let path = folder.join("data.tar");
    let mut archive = tar::Builder::new(File::create(&path).unwrap());
    let mut folder_header = tar::Header::new_gnu();
    folder_header.set_entry_type(tar::EntryType::Directory);
    folder_header.set_size(0);
    archive.append_data(&mut folder_header, "d/", &[][..]).unwrap();
    append(&mut archive, "d/good.webp", image);
    append(&mut archive, "d/good.json", &conversation);
    append(&mut archive, "alone.webp", image);
    append(&mut archive, "cut.webp", &image[..image.len() / 2]);
    append(&mut archive, "cut.json", &conversation);
    append(&mut archive, "giant.png", &giant_png());
    append(&mut archive, "giant.json", &conversation);
    append(&mut archive, "twice.webp", image);
    append(&mut archive, "twice.webp", image);
    append(&mut archive, "twice.json", &conversation);
    append(&mut archive, "other.exe", b"MZ");
    append(&mut archive, "other.json", &conversation);
    append(&mut archive, "broken.webp", image);
    append(&mut archive, "broken.json", b"{\"id\":");
    append(&mut archive, "large.webp", &vec![0; 300_000]);
    append(&mut archive, "large.json", &conversation);
    append(&mut archive, "nopicture.json", &conversation);
    append(
        &mut archive,
        "named.json",
        &serde_json::to_vec(&record("x", json!("../../secret.webp"), "<image>", "This.")).unwrap(),
    );
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    archive.append_link(&mut link, "link.webp", "/etc/passwd").unwrap();
    append(&mut archive, "link.json", &conversation);
    append(&mut archive, "bytes.webp", image);
    append(&mut archive, "bytes.txt", &[0xff, 0xfe]);
    append(&mut archive, "caption.webp", image);
    append(&mut archive, "caption.txt", b"A caption.");
    append(&mut archive, "last.webp", image);
    append(&mut archive, "last.json", &conversation);
    archive.finish().unwrap();
    drop(archive);
    let limits = Limits { max_entry_bytes: 200_000, ..Limits::default() };
    let config = SourceConfig { limits, language: None, ..files::config(&path) };
    let cases = [
        (None, ""),
        (Some(SkipKind::NoConversation), "alone"),
        (Some(SkipKind::UnreadableImage), "cut.webp"),
        (Some(SkipKind::ImageTooLarge), "30000 x 30000"),
        (Some(SkipKind::UnexpectedEntry), "twice.webp"),
        (Some(SkipKind::Placeholders), "1 placeholders for 0"),
        (Some(SkipKind::Malformed), "broken.json"),
        (Some(SkipKind::EntryTooLarge), "large.webp"),
        (Some(SkipKind::Placeholders), "1 placeholders for 0"),
        (Some(SkipKind::MissingImage), "named"),
        (Some(SkipKind::UnexpectedEntry), "link.webp"),
        (Some(SkipKind::Malformed), "UTF-8"),
        (None, ""),
        (None, ""),
    ];
    check(&FileSource::open(config.clone()).unwrap(), &cases);

    // An archive that ends within the last picture: one sample is lost, and said to be.
    let bytes = fs::read(&path).unwrap();
    let end = bytes.windows(9).rposition(|name| name == b"last.webp").unwrap() + 512 + 10;
    fs::write(&path, &bytes[..end]).unwrap();
    let source = FileSource::open(config.clone()).unwrap();
    let mut cases = cases.to_vec();
    *cases.last_mut().unwrap() = (Some(SkipKind::DamagedFile), "ends within");
    check(&source, &cases);

    // A header that is no header.
    let mut bytes = bytes;
    let at = bytes.windows(9).position(|name| name == b"cut.webp\0").unwrap();
    bytes[at + 200] ^= 0x55;
    fs::write(&path, &bytes).unwrap();
    let error = FileSource::open(config).unwrap_err().to_string();
    assert!(error.contains("data.tar") && error.contains("byte"), "{error}");
}

#[test]
fn parquet_rows() {
    let folder = temporary();
    let items = simple_items(2);
    files::write_json(&folder, &items);
    fs::write(folder.join("secret.webp"), "x").unwrap();
    let image = items[0].pictures[0].1.as_slice();
    let (giant, large) = (giant_png(), vec![0; 300_000]);
    let images = vec![
        (Some(image), None),
        (None, Some("part/000.webp")),
        (None, Some("../secret.webp")),
        (None, Some("part/none.webp")),
        (Some(&image[..100]), None),
        (Some(&giant[..]), None),
        (Some(&large[..]), None),
        (None, None),
        (Some(image), None),
    ];
    let path = folder.join("data.parquet");
    let answers = ["a", "a", "a", "a", "a", "a", "a", "a", " "];
    let columns = vec![
        ("image", files::image_column(images)),
        ("question", files::text_column(&["<image> What?"; 9])),
        ("answer", files::text_column(&answers)),
    ];
    files::write_columns(&path, columns, 4);
    let limits = Limits { max_entry_bytes: 200_000, ..Limits::default() };
    let image_root = Some(folder.join("images"));
    let config = SourceConfig { limits, image_root, language: None, ..files::config(&path) };
    let cases = [
        (None, ""),
        (None, ""),
        (Some(SkipKind::PathEscape), "row 2"),
        (Some(SkipKind::MissingImage), "part/none.webp"),
        (Some(SkipKind::UnreadableImage), "row 4"),
        (Some(SkipKind::ImageTooLarge), "30000 x 30000"),
        (Some(SkipKind::EntryTooLarge), "300000 bytes"),
        (Some(SkipKind::Placeholders), "1 placeholders for 0"),
        (Some(SkipKind::NoAnswer), "row 8"),
    ];
    check(&FileSource::open(config).unwrap(), &cases);
}

#[test]
fn table_rows() {
    let folder = temporary();
    files::write_json(&folder, &simple_items(1));
    let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
    let path = folder.join("data.tsv");
    let base64 = "A".repeat(100);
    files::write_rows(
        &path,
        &[
            row(["index", "image", "image_path", "question", "answer"]),
            row(["0", "", "part/000.webp", "What?", "This."]),
            row(["1", "", "../images/part/000.webp", "What?", "This."]),
            row(["2", &base64, "", "What?", "This."]),
            row(["3", &"?".repeat(100), "", "What?", "This."]),
            row(["4", "", "part/000.webp", "What?", ""]),
            ["5", "too", "few"].map(str::to_owned).to_vec(),
            row(["6", "", "part/000.webp", "What?", "This."]),
        ],
    );
    let image_root = Some(folder.join("images"));
    let config = SourceConfig { image_root, language: None, ..files::config(&path) };
    let cases = [
        (None, ""),
        (Some(SkipKind::PathEscape), "line 3"),
        (Some(SkipKind::UnreadableImage), "line 4"),
        (Some(SkipKind::UnreadableImage), "not base64"),
        (Some(SkipKind::NoAnswer), "\"id\":\"4\""),
        (Some(SkipKind::Malformed), "3 cells under 5 columns"),
        (None, ""),
    ];
    check(&FileSource::open(config).unwrap(), &cases);
}

/// Flipped bits in the middle of files: nothing panics, and what is still read is one of the samples or has a reason.
#[test]
fn damaged_files() {
    let folder = temporary();
    let items = simple_items(40);
    let configs = [
        ("Plain-9.parquet", files::write_parquet(&folder, &items, files::Types::Plain, 9)),
        ("llava.json", files::write_json(&folder, &items)),
        ("table.tsv", files::write_tsv(&folder, &items)),
        ("shard-000.tar", files::write_webdataset(&folder, &items)),
    ];
    let expected = expected(&items);
    for (file, config) in configs {
        let original = fs::read(folder.join(file)).unwrap();
        let (mut refused, mut left_out, mut read) = (0, 0, 0);
        for seed in 0..30 {
            let mut stream = Stream::new(seed);
            let mut bytes = original.clone();
            for _ in 0..1 + seed % 4 {
                let (byte, bit) = (stream.below(bytes.len()), stream.below(8));
                bytes[byte] ^= 1 << bit;
            }
            fs::write(folder.join(file), &bytes).unwrap();
            let Ok(source) = FileSource::open(config.clone()) else {
                refused += 1;
                continue;
            };
            for record in 0..source.len() {
                match source.get(record) {
                    Ok(sample) => {
                        read += 1;
                        let _ = sample
                            .pictures()
                            .try_for_each(|picture| picture.decode(&DecodeLimits::default()).map(drop));
                    }
                    Err(skip) => {
                        left_out += 1;
                        assert!(!skip.detail.is_empty() && Path::new(&skip.file).is_absolute(), "{skip}");
                    }
                }
            }
        }
        fs::write(folder.join(file), &original).unwrap();
        let source = FileSource::open(config).unwrap();
        assert_eq!(compared(&source.get(3).unwrap()), expected[3]);
        println!("{file}: {refused} of 30 files refused, {left_out} records left out, {read} read");
        assert!(read > 0 && refused + left_out > 0);
    }
}

#[test]
fn pictures_of_archives_are_bytes() {
    let folder = temporary();
    let source = FileSource::open(files::write_webdataset(&folder, &simple_items(2))).unwrap();
    let sample = source.get(0).unwrap();
    let Some(Picture::Encoded { name, .. }) = sample.pictures().next() else { panic!("bytes") };
    assert!(name.contains("item-000.0.webp") && name.contains("shard-000.tar"), "{name}");
}

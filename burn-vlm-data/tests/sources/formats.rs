//! Each format gives the same samples.

use crate::files::{self, Compared, compared, expected, rich_items, simple_items, temporary};
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::Media;
use burn_vlm_data::source::{Fields, FileSource, Format, LanguageRule, Placeholders, Source, SourceConfig};
use std::fs;
use std::path::Path;

fn all(source: &dyn Source) -> Vec<Compared> {
    (0..source.len()).map(|record| compared(&source.get(record).unwrap())).collect()
}

#[test]
fn every_format_gives_the_same_samples() {
    let folder = temporary();
    for (items, table) in [(simple_items(23), true), (rich_items(23), false)] {
        let mut configs = files::write_all(&folder, &items);
        if table {
            configs.push(("tsv".to_owned(), files::write_tsv(&folder, &items)));
        }
        for (name, config) in configs {
            let source = FileSource::open(config).unwrap();
            assert_eq!(source.len(), 23, "{name}");
            let samples = all(&source);
            assert_eq!(samples, expected(&items), "{name}");
            // In any order, and several at once.
            for record in (0..23).rev() {
                assert_eq!(compared(&source.get(record).unwrap()), samples[record as usize], "{name}");
            }
            let some = [0, 1, 2, 9, 10, 11, 22];
            let many = source.get_many(&some).into_iter().map(|sample| compared(&sample.unwrap()));
            assert_eq!(many.collect::<Vec<_>>(), some.map(|record| samples[record as usize].clone()), "{name}");
            let sample = source.get(4).unwrap();
            assert_eq!((&*sample.source, &*sample.tags), ("test", ["public".to_owned()].as_slice()));
            assert!(source.get(23).is_err());
        }
    }
}

#[test]
fn records_by_language() {
    let folder = temporary();
    let items = simple_items(10);
    for config in [files::write_json(&folder, &items), files::write_tsv(&folder, &items)] {
        let source = FileSource::open(config.clone()).unwrap();
        let groups = source.by_language(&mut |skip| panic!("{skip}"));
        let expected =
            [(Language::EN, vec![0, 3, 6, 9]), (Language::DE, vec![1, 4, 7]), (Language::ZH_HANS, vec![2, 5, 8])];
        assert_eq!(groups, expected.map(|(language, records)| (Some(language), records)).into());
        let fixed = SourceConfig { language: Some(LanguageRule::Fixed(Language::PL)), ..config };
        assert_eq!(FileSource::open(fixed).unwrap().get(1).unwrap().language, Some(Language::PL));
    }
}

/// Folders, lists and wildcards give the files in order; the format is told by the ending.
#[test]
fn paths() {
    let folder = temporary();
    let items = simple_items(6);
    files::write_webdataset(&folder, &items);
    for path in [folder.join("shard-*.tar"), folder.join("shard-{000,001}.tar")] {
        assert_eq!(all(&FileSource::open(files::config(path)).unwrap()), expected(&items));
    }
    let config = SourceConfig { format: Some(Format::WebDataset), ..files::config(&folder) };
    assert_eq!(all(&FileSource::open(config).unwrap()), expected(&items));
}

#[test]
fn videos_are_frames() {
    let folder = temporary();
    let items = simple_items(3);
    let config = files::write_json(&folder, &items);
    let turns = r#"[{"from": "human", "value": "<image> is a frame of <video>?"}, {"from": "gpt", "value": "Yes."}]"#;
    let list = r#""video": ["part/000.webp", "part/001.webp"]"#;
    let data = format!(
        r#"[{{"image": "part/002.webp", {list}, "conversations": {turns}}},
            {{"image": "part/002.webp", "video": "part", "conversations": {turns}}},
            {{"image": "part/002.webp", "video": ["part/000.webp", "none.mp4"], "conversations": {turns}}}]"#
    );
    fs::write(folder.join("llava.json"), data).unwrap();
    let source = FileSource::open(SourceConfig { language: None, ..config }).unwrap();
    for (record, frames) in [(0, 2), (1, 3)] {
        let sample = source.get(record).unwrap();
        assert!(matches!(&sample.media[..], [Media::Image(_), Media::Video(video)] if video.frames().len() == frames));
        let text = format!("<image> is a frame of {}?", vec!["<image>"; frames].join("\n"));
        assert_eq!(sample.image_turns()[0], Turn::user(text));
        assert_eq!(sample.id, format!("llava:{record}"));
        assert_eq!(sample.pictures().count(), frames + 1);
    }
    let skip = source.get(2).unwrap_err();
    assert!(skip.detail.contains("1 videos and 1 pictures"), "{skip}");
}

#[test]
fn parquet_columns_of_other_names() {
    let folder = temporary();
    let items = simple_items(3);
    files::write_json(&folder, &items);
    let bytes: Vec<&[u8]> = items.iter().map(|item| item.pictures[0].1.as_slice()).collect();
    let paths = ["part/000.webp", "part/001.webp", "part/002.webp"];
    let images = vec![(Some(bytes[0]), Some("x")), (None, Some(paths[1])), (Some(bytes[2]), None)];
    let path = folder.join("columns.parquet");
    let columns = vec![
        ("photo", files::bytes_column(&bytes)),
        ("file", files::text_column(&paths)),
        ("image", files::image_column(images)),
        ("q", files::text_column(&["What?", "Who?", "Why?"])),
        ("a", files::text_column(&["This.", "She.", "So."])),
        ("caption", files::text_column(&["one", "two", "three"])),
    ];
    files::write_columns(&path, columns, 2);
    let base = SourceConfig { image_root: Some(folder.join("images")), language: None, ..files::config(&path) };
    let open = |fields: Fields| FileSource::open(SourceConfig { fields, ..base.clone() }).unwrap();
    let name = |text: &str| Some(text.to_owned());
    for image in ["photo", "file", "image"] {
        let questions =
            open(Fields { image: name(image), question: name("q"), answer: name("a"), ..Fields::default() });
        let captions = open(Fields { image: name(image), ..Fields::default() });
        let fields = Fields { image: name(image), caption_prompt: name("Describe."), ..Fields::default() };
        let prompted = open(fields);
        for record in 0..3 {
            let sample = questions.get(record as u64).unwrap();
            let question = ["<image>\nWhat?", "<image>\nWho?", "<image>\nWhy?"][record];
            assert_eq!(sample.turns, [Turn::user(question), Turn::assistant(["This.", "She.", "So."][record])]);
            assert_eq!(sample.pictures().next().unwrap().read().unwrap(), bytes[record]);
            let sample = captions.get(record as u64).unwrap();
            assert_eq!(sample.turns, [Turn::user("<image>"), Turn::assistant(["one", "two", "three"][record])]);
            assert_eq!(prompted.get(record as u64).unwrap().turns[0], Turn::user("<image>\nDescribe."));
        }
    }
}

#[test]
fn tables_with_options_and_shared_pictures() {
    let folder = temporary();
    let items = simple_items(2);
    files::write_tsv(&folder, &items);
    let image = fs::read_to_string(folder.join("table.tsv")).unwrap();
    let image = image.lines().nth(1).unwrap().split('\t').nth(1).unwrap().to_owned();
    let row = |cells: [&str; 7]| cells.map(str::to_owned).to_vec();
    let header = row(["index", "image", "question", "A", "B", "hint", "answer"]);
    files::write_rows(
        &folder.join("mcq.tsv"),
        &[
            header,
            row(["1", &image, "Which?\nThis?", "a \"cat\"", "dog", "Look.", "A"]),
            row(["1000001", "1", "Which?", "dog", "cat", "", "B"]),
            row(["3", "", "2 + 2?", "3", "4", "", "B"]),
            row(["4", "77", "Which?", "3", "4", "", "B"]),
        ],
    );
    let source = FileSource::open(SourceConfig { language: None, ..files::config(folder.join("mcq.tsv")) }).unwrap();
    assert_eq!(source.len(), 4);
    let select = "Please select the correct answer from the options above.";
    let texts = [
        format!("<image>\nHint: Look.\nQuestion: Which?\nThis?\nOptions:\nA. a \"cat\"\nB. dog\n{select}"),
        format!("<image>\nQuestion: Which?\nOptions:\nA. dog\nB. cat\n{select}"),
        format!("Question: 2 + 2?\nOptions:\nA. 3\nB. 4\n{select}"),
    ];
    for (record, text) in texts.iter().enumerate() {
        let sample = source.get(record as u64).unwrap();
        assert_eq!(&sample.turns[0].text, text);
        let pictures: Vec<_> = sample.pictures().map(|picture| picture.read().unwrap().to_vec()).collect();
        assert_eq!(pictures, if record < 2 { vec![items[0].pictures[0].1.clone()] } else { Vec::new() });
    }
    assert_eq!(source.get(0).unwrap().id, "1");
    let skip = source.get(3).unwrap_err();
    assert!(skip.place == "line 6" && skip.detail.contains("\"77\""), "{skip}");
}

#[test]
fn placeholders_can_be_prepended() {
    let folder = temporary();
    let config = files::write_json(&folder, &simple_items(1));
    let turns = r#"[{"from": "human", "value": "What?"}, {"from": "gpt", "value": "This."}]"#;
    fs::write(folder.join("llava.json"), format!(r#"[{{"image": "part/000.webp", "conversations": {turns}}}]"#))
        .unwrap();
    let config = SourceConfig { language: None, ..config };
    assert!(FileSource::open(config.clone()).unwrap().get(0).unwrap_err().detail.contains("0 placeholders for 1"));
    let config = SourceConfig { placeholders: Placeholders::Prepend, ..config };
    assert_eq!(FileSource::open(config).unwrap().get(0).unwrap().turns[0].text, "<image>\nWhat?");
}

#[test]
fn sources_that_cannot_be_opened() {
    let folder = temporary();
    let items = simple_items(4);
    let json = files::write_json(&folder, &items);
    let parquet = files::write_parquet(&folder, &items, files::Types::Plain, 2);
    let tar = files::write_webdataset(&folder, &items);
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.join(name), bytes).unwrap();
        folder.join(name)
    };
    let cut = |path: &str| {
        let bytes = fs::read(folder.join(path)).unwrap();
        bytes[..bytes.len() / 2].to_vec()
    };
    let fields = |fields: Fields| SourceConfig { fields, ..parquet.clone() };
    let name = |text: &str| Some(text.to_owned());
    let cases: Vec<(SourceConfig, Vec<&str>)> = vec![
        (files::config(folder.join("none.json")), vec!["none.json", "cannot read"]),
        (files::config(folder.join("*.csv")), vec!["no file"]),
        (files::config(write("data.bin", b"x")), vec!["data.bin", "format"]),
        (SourceConfig { image_root: Some(folder.join("nowhere")), ..json.clone() }, vec!["nowhere", "image_root"]),
        (files::config(write("cut.json", &cut("llava.json"))), vec!["cut.json", "byte", "truncated"]),
        (files::config(write("cut.parquet", &cut("Plain-2.parquet"))), vec!["cut.parquet", "footer"]),
        (
            files::config(write("text.tar", b"no archive at all".repeat(100).as_slice())),
            vec!["text.tar", "tar archive"],
        ),
        (files::config(write("quote.tsv", b"index\tquestion\n1\t\"open\n2\tx\n")), vec!["line 2", "never closed"]),
        (files::config(write("plain.tsv", b"no columns\n")), vec!["line 1", "header"]),
        (
            fields(Fields { image: name("picture"), ..Fields::default() }),
            vec!["\"picture\"", "bytes and path", "no such column"],
        ),
        (fields(Fields { image: name("unused"), ..Fields::default() }), vec!["\"unused\"", "bytes and path", "Int64"]),
        (
            fields(Fields { conversations: name("unused"), ..Fields::default() }),
            vec!["\"unused\"", "list of structs", "Int64"],
        ),
        (fields(Fields { caption: name("images"), ..Fields::default() }), vec!["\"images\"", "column of strings"]),
        (
            SourceConfig {
                language: Some(LanguageRule::Field { field: "lang".into(), aliases: Default::default() }),
                ..parquet.clone()
            },
            vec!["\"lang\"", "no such column", "language"],
        ),
    ];
    for (config, words) in cases {
        let error = FileSource::open(config).unwrap_err().to_string();
        for word in words.iter().chain(&["\"test\""]) {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
    assert!(FileSource::open(tar).is_ok());
    assert!(Path::new(&json.path).exists());
}

#[test]
fn configurations_are_serialised() {
    let toml = r#"{"name": "x", "path": "a.json", "language": {"field": "lang", "aliases": {"zh": "zh-Hans"}}, "format": "json"}"#;
    let config: SourceConfig = serde_json::from_str(toml).unwrap();
    let LanguageRule::Field { field, aliases } = config.language.clone().unwrap() else { panic!() };
    assert_eq!((field.as_str(), aliases["zh"]), ("lang", Language::ZH_HANS));
    let again: SourceConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!(again, config);
    assert!(serde_json::from_str::<SourceConfig>(r#"{"name": "x", "path": "a", "imageroot": "b"}"#).is_err());
    for format in files::ALL_FORMATS {
        let json = serde_json::to_string(&format).unwrap();
        assert_eq!(serde_json::from_str::<Format>(&json).unwrap(), format);
    }
}

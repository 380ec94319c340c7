//! Fields that other tools write: read, refused by name, or told with their count; never lost without a word.

use crate::files::{self, simple_items, temporary};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::sample::Sample;
use burn_vlm_data::source::inspect::{InspectOptions, inspect};
use burn_vlm_data::source::{Fields, FileSource, Skip, SkipKind, Source, SourceConfig, told};
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;

/// A source of these records, beside the pictures `part/000.webp` to `part/003.webp` and a picture `red.png`.
fn source_with(records: &[Value], fields: Fields) -> FileSource {
    let folder = temporary();
    files::write_json(&folder, &simple_items(4));
    let root = folder.join("images");
    fs::copy(root.join("part/000.webp"), root.join("red.png")).unwrap();
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    fs::write(folder.join("train.jsonl"), lines.join("\n")).unwrap();
    let path = folder.join("train.jsonl").display().to_string();
    FileSource::open(SourceConfig { image_root: Some(root), fields, ..SourceConfig::new("test", path) }).unwrap()
}

fn one(record: Value) -> Result<Sample, Box<Skip>> {
    source_with(&[record], Fields::default()).get(0)
}

fn picture_names(sample: &Sample) -> Vec<String> {
    let name = |name: String| name.rsplit('/').next().unwrap_or_default().to_owned();
    sample.pictures().map(|picture| name(picture.name())).collect()
}

fn chat() -> Value {
    json!([{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "This."}])
}

/// The metadata of an imagefolder, and its siblings: lists of names, one field a picture.
#[test]
fn pictures_are_named_by_file_name() {
    for (record, names) in [
        (json!({"file_name": "red.png", "text": "Red."}), &["red.png"][..]),
        (json!({"file_names": ["red.png", "part/001.webp"], "text": "Red."}), &["red.png", "001.webp"]),
        (json!({"image_paths": ["part/001.webp"], "caption": "Red."}), &["001.webp"]),
        (
            json!({"image_2": "part/002.webp", "image_10": null, "image_1": "red.png", "caption": "."}),
            &["red.png", "002.webp"],
        ),
        (json!({"image": null, "image_path": "red.png", "caption": "Red."}), &["red.png"]),
        (json!({"images": "['red.png', 'part/001.webp']", "caption": "Red."}), &["red.png", "001.webp"]),
    ] {
        let sample = one(record.clone()).unwrap();
        assert_eq!(picture_names(&sample), names, "{record}");
        assert_eq!(sample.turns[0].text.matches("<image>").count(), names.len(), "{record}");
    }
    // The name of a text is no picture; it is told.
    let source = source_with(&[json!({"file_name": "a.txt", "text": "Red."})], Fields::default());
    assert_eq!(source.get(0).unwrap().pictures().count(), 0);
    assert_eq!(source.unread(&[0]), [("file_name".to_owned(), 1)].into());
}

/// A field that is known to hold a picture is no reason to train on the text alone.
#[test]
fn known_pictures_that_are_not_read_are_refused() {
    for name in ["img", "image_url", "picture", "jpg", "videos", "image_file"] {
        let mut record = json!({"caption": "Red."});
        record[name] = json!("red.png");
        let skip = one(record.clone()).unwrap_err();
        assert!(skip.reason == SkipKind::UnreadField && skip.detail.contains(name), "{skip}");
        // Empty, named, to be ignored, or beside a picture: no reason.
        let mut empty = record.clone();
        empty[name] = json!("");
        one(empty).unwrap();
        let ignore = Fields { ignore: vec![name.to_owned()], ..Fields::default() };
        let source = source_with(std::slice::from_ref(&record), ignore);
        assert!(source.get(0).is_ok() && source.unread(&[0]).is_empty());
        let mut beside = record.clone();
        beside["image"] = json!("part/001.webp");
        assert_eq!(picture_names(&one(beside).unwrap()), ["001.webp"]);
        let named = Fields { image: Some(name.to_owned()), ..Fields::default() };
        assert_eq!(picture_names(&source_with(&[record], named).get(0).unwrap()), ["red.png"]);
    }
    let turn = json!([{"from": "human", "value": "What?", "image": "red.png"}, {"from": "gpt", "value": "This."}]);
    let skip = one(json!({"conversations": turn})).unwrap_err();
    assert!(skip.reason == SkipKind::UnreadField && skip.detail.contains("conversations: image"), "{skip}");
}

/// What is not read on purpose is no reason to leave a record out, whatever it holds and wherever it stands, and is not told.
#[test]
fn ignored_fields_have_no_part_in_a_record() {
    let turn = json!([{"from": "human", "value": "What?", "image": "red.png"}, {"from": "gpt", "value": "This."}]);
    for (name, record) in [
        ("options", json!({"question": "What?", "answer": "This.", "options": "one of two"})),
        ("choices", json!({"question": "What?", "answer": "This.", "choices": 7})),
        ("system", json!({"question": "What?", "answer": "This.", "system": {"os": "x"}})),
        ("hint", json!({"question": "What?", "answer": "This.", "hint": [], "A": "", "B": ""})),
        ("image", json!({"question": "What?", "answer": "This.", "image": "none.png"})),
        ("video", json!({"question": "What?", "answer": "This.", "video": "none.mp4"})),
        ("messages", json!({"question": "What?", "answer": "This.", "messages": 3})),
        ("conversations: image", json!({"conversations": turn})),
    ] {
        let fields = Fields { ignore: vec![name.to_owned()], ..Fields::default() };
        let source = source_with(std::slice::from_ref(&record), fields);
        let sample = source.get(0).unwrap_or_else(|skip| panic!("{record}: {skip}"));
        assert_eq!(sample.turns, [Turn::user("What?"), Turn::assistant("This.")], "{record}");
        assert!(told(&source).is_empty(), "{:?}", told(&source));
        let row = source.rows(&[0]).pop().unwrap().unwrap();
        assert!(row.media.is_empty() && !row.fields.contains_key(name));
    }
    // A field that is read on purpose, too, is read.
    let ignore = ["this", "tongue", "id"].map(str::to_owned).to_vec();
    let fields = Fields { question: Some("this".into()), id: Some("id".into()), ignore, ..Fields::default() };
    let record = json!({"id": "x", "this": "What?", "answer": "This.", "tongue": 7});
    let sample = source_with(&[record], fields).get(0).unwrap();
    assert_eq!((sample.id.as_str(), sample.turns[0].text.as_str()), ("x", "What?"));
}

/// An empty text is no video, as it is no picture.
#[test]
fn nothing_is_no_video() {
    for nothing in [json!(""), json!(" "), json!([]), json!({}), json!(null)] {
        let record = json!({"image": "red.png", "video": nothing, "caption": "Red."});
        assert_eq!(one(record).unwrap().turns[0].text, "<image>");
    }
}

/// Records are read once for what they are and for what of them is not read, and a few at once before training.
#[test]
fn samples_and_what_they_hold_beside() {
    let record = |number: usize| json!({"id": number, "image": "red.png", "conversations": chat(), "extra": 1});
    let mut records: Vec<Value> = (0..70).map(record).collect();
    records[3]["image"] = json!("none.png");
    let source = source_with(&records, Fields::default());
    let (samples, unread) = source.get_many_told(&[0, 3, 69, 99]);
    assert_eq!(samples.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, false]);
    assert_eq!(unread, source.unread(&[0, 3, 69]));
    assert_eq!(unread, [("extra".to_owned(), 3)].into());
    assert_eq!(told(&source), ["test: fields of its first 70 records that are not read: extra 70"]);
}

#[test]
fn a_system_text_beside_the_conversation_is_its_first_turn() {
    let with = |record: Value| one(record).map(|sample| sample.turns);
    let system = Turn::system("Be brief.");
    for record in [
        json!({"system": "Be brief.", "image": "red.png", "conversations": chat()}),
        json!({"system_prompt": "Be brief.", "image": "red.png", "conversations": chat()}),
        json!({"system": "Be brief.", "image": "red.png", "question": "What?", "answer": "This."}),
    ] {
        let turns = with(record.clone()).unwrap();
        assert_eq!(turns, [system.clone(), Turn::user("<image>\nWhat?"), Turn::assistant("This.")], "{record}");
    }
    let mut own = chat();
    own.as_array_mut().unwrap().insert(0, json!({"from": "system", "value": "Be brief."}));
    assert_eq!(with(json!({"system": "Be brief.", "image": "red.png", "conversations": own})).unwrap().len(), 3);
    assert_eq!(with(json!({"system": " ", "image": "red.png", "conversations": chat()})).unwrap().len(), 2);
    for (system, word) in [(json!("Be long."), "another in the first turn"), (json!({"os": "x"}), "an object")] {
        let skip = with(json!({"system": system, "image": "red.png", "conversations": own})).unwrap_err();
        assert!(skip.detail.contains(word) && skip.detail.contains("system"), "{skip}");
    }
    let fields = Fields { system: Some("rules".into()), ..Fields::default() };
    let source = source_with(&[json!({"rules": "Be brief.", "image": "red.png", "conversations": chat()})], fields);
    assert_eq!(source.get(0).unwrap().turns[0], system);
}

/// As transformers, TRL, Qwen, OpenAI and Anthropic write them.
#[test]
fn pictures_inside_content_parts() {
    let bytes = STANDARD.encode(&simple_items(1)[0].pictures[0].1);
    let uri = format!("data:image/webp;base64,{bytes}");
    for part in [
        json!({"type": "image", "image": "red.png"}),
        json!({"type": "image", "path": "red.png"}),
        json!({"type": "image", "url": "red.png"}),
        json!({"type": "image_url", "image_url": {"url": "red.png", "detail": "low"}}),
        json!({"type": "image_url", "image_url": "red.png"}),
        json!({"type": "image", "image": {"bytes": null, "path": "red.png"}}),
        json!({"type": "image", "text": null, "image": "red.png", "max_pixels": 100}),
        json!({"image": "red.png"}),
        // As a table writes parts: every key in each.
        json!({"type": "image", "text": "", "image": "red.png", "video": []}),
        json!({"type": "image_url", "image_url": {"url": uri}}),
        json!({"type": "image", "base64": bytes}),
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": bytes}}),
    ] {
        let turns = json!([
            {"role": "user", "content": [part, {"type": "text", "text": "What?"}]},
            {"role": "assistant", "content": "This."}
        ]);
        let sample = one(json!({"messages": turns})).unwrap();
        assert_eq!(sample.turns[0].text, "<image>\nWhat?");
        let read = sample.pictures().next().unwrap().read().unwrap();
        assert_eq!(read, simple_items(1)[0].pictures[0].1, "{part}");
    }
    // Parts that name their picture and such that stand for the record's, in their order; frames of a video.
    let turns = json!([
        {"role": "user", "content": [{"type": "text", "text": "<image>"}, {"type": "image", "image": "red.png"}, {"type": "image"}]},
        {"role": "assistant", "content": "This."},
        {"role": "user", "content": [{"type": "video", "video": ["red.png", "part/003.webp"]}, {"type": "image", "image": "part/002.webp"}]},
        {"role": "assistant", "content": "That."}
    ]);
    let sample = one(json!({"messages": turns, "images": ["part/000.webp", "part/001.webp"]})).unwrap();
    assert_eq!(picture_names(&sample), ["000.webp", "red.png", "001.webp", "red.png", "003.webp", "002.webp"]);
    // What does not fit is told as what it is.
    for (part, images, kind, word) in [
        (
            json!({"type": "image", "image": "red.png"}),
            json!("red.png"),
            SkipKind::Placeholders,
            "inside content parts",
        ),
        (json!({"type": "image", "image": "none.png"}), json!(null), SkipKind::MissingImage, "none.png"),
        (json!({"type": "image", "uri": "red.png"}), json!(null), SkipKind::UnreadField, "uri"),
        (json!({"type": "image", "image": ["red.png", "red.png"]}), json!(null), SkipKind::Placeholders, "names 2"),
        (json!({"type": "audio", "audio": "a.wav"}), json!(null), SkipKind::Malformed, "audio"),
        // Two things in one part: neither may be lost.
        (json!({"type": "text", "text": "?", "image": "red.png"}), json!(null), SkipKind::UnreadField, "\"image\" too"),
        (
            json!({"type": "text", "text": "?", "video": ["red.png"]}),
            json!(null),
            SkipKind::UnreadField,
            "\"video\" too",
        ),
        (json!({"type": "text", "text": "?", "path": "red.png"}), json!(null), SkipKind::UnreadField, "\"path\" too"),
        (json!({"type": "text", "text": "?", "url": "red.png"}), json!(null), SkipKind::UnreadField, "\"url\" too"),
        (
            json!({"type": "text", "text": "?", "file_name": "red.png"}),
            json!(null),
            SkipKind::UnreadField,
            "\"file_name\" too",
        ),
        (
            json!({"type": "input_text", "text": "?", "source": {"type": "base64", "data": bytes}}),
            json!(null),
            SkipKind::UnreadField,
            "\"source\" too",
        ),
        (
            json!({"type": "video", "video": ["red.png"], "source": {"data": bytes}}),
            json!(null),
            SkipKind::UnreadField,
            "\"source\" too",
        ),
        (json!({"type": "image", "text": "?", "image": "red.png"}), json!(null), SkipKind::UnreadField, "\"text\" too"),
        (json!({"text": "?", "image": "red.png"}), json!(null), SkipKind::UnreadField, "\"text\" too"),
        (json!({"type": "image", "text": "?"}), json!("red.png"), SkipKind::UnreadField, "\"text\" too"),
        (json!({"image": "red.png", "video": ["red.png"]}), json!(null), SkipKind::UnreadField, "\"video\" too"),
        (
            json!({"type": "video", "video": ["red.png"], "text": "?"}),
            json!(null),
            SkipKind::UnreadField,
            "\"text\" too",
        ),
        (json!({"type": "video", "url": "a.mp4"}), json!(null), SkipKind::UnreadField, "url"),
    ] {
        let turns = json!([{"role": "user", "content": [part]}, {"role": "assistant", "content": "This."}]);
        let skip = one(json!({"messages": turns, "images": images})).unwrap_err();
        assert!(skip.reason == kind && skip.detail.contains(word), "{part}: {skip}");
    }
}

#[test]
fn answers_as_objects_and_options_as_lists() {
    let answer = |record: Value| one(record).map(|sample| sample.answer().to_owned());
    let red =
        json!([{"answer": "red", "answer_confidence": "yes", "answer_id": 1}, {"answer": "blue", "answer_id": 2}]);
    assert_eq!(answer(json!({"question": "What?", "answers": red})).unwrap(), "red");
    assert_eq!(answer(json!({"question": "What?", "answers": {"text": ["red"], "answer_start": [3]}})).unwrap(), "red");
    assert_eq!(answer(json!({"text": [{"text": "A cat."}]})).unwrap(), "A cat.");
    let skip = answer(json!({"question": "What?", "answers": [{"label": 3}]})).unwrap_err();
    assert!(
        skip.detail.contains("answers") && skip.detail.contains("object") && skip.detail.contains("label"),
        "{skip}"
    );

    let asked = "Hint: Look.\nQuestion: Which?\nOptions:\nA. a cat\nB. a dog\nPlease select the correct answer from the options above.";
    let row = |answer: Value, choices: Value| json!({"question": "Which?", "hint": "Look.", "choices": choices, "answer": answer});
    for (given, expected) in [(json!(1), "B"), (json!("1"), "B"), (json!("B"), "B"), (json!("a dog"), "a dog")] {
        for choices in [json!(["a cat", "a dog"]), json!("['a cat', 'a dog']")] {
            let turns = one(row(given.clone(), choices)).unwrap().turns;
            assert_eq!(turns, [Turn::user(asked), Turn::assistant(expected)]);
        }
    }
    let place = json!({"question": "Which?", "choices": ["a cat", "a dog"], "correct_choice_idx": 0});
    assert_eq!(answer(place).unwrap(), "A");
    assert_eq!(answer(row(json!("free"), json!([]))).unwrap(), "free");
    for (given, choices, word) in [(json!(2), json!(["a", "b"]), "2 options"), (json!("A"), json!("a or b"), "choices")]
    {
        assert!(answer(row(given, choices)).unwrap_err().detail.contains(word));
    }
}

#[test]
fn placeholders_with_numbers() {
    let images = json!(["red.png", "part/001.webp"]);
    let record = json!({"images": images, "question": "Is <image_2> like <image 1>?", "answer": "No."});
    let sample = one(record).unwrap();
    assert_eq!(sample.turns[0].text, "Is <image> like <image>?");
    assert_eq!(picture_names(&sample), ["001.webp", "red.png"]);
    // MMMU: a field a picture, one of them among the options.
    let record = json!({
        "image_1": "red.png", "image_2": "part/001.webp", "question": "<image 1> Which?", "options": "['<image 2>', 'none']",
        "answer": "A"
    });
    let sample = one(record).unwrap();
    assert_eq!(picture_names(&sample), ["red.png", "001.webp"]);
    assert_eq!(sample.turns[0].text.matches("<image>").count(), 2);
    let skip = one(json!({"images": images, "question": "<image_3>?", "answer": "No."})).unwrap_err();
    assert!(skip.reason == SkipKind::Placeholders && skip.detail.contains("picture 3"), "{skip}");
}

/// NaN and the infinities as Python writes them are null, in text they stay.
#[test]
fn numbers_that_are_none() {
    let folder = temporary();
    files::write_json(&folder, &simple_items(1));
    let turns = r#"[{"from": "human", "value": "NaN? \"NaN\" Infinity"}, {"from": "gpt", "value": "NaN"}]"#;
    let text = format!(
        r#"[{{"id": 1, "image": NaN, "conversations": {turns}}},
            {{"id": 2, "score": -Infinity, "more": [Infinity, {{"x": NaN}}], "conversations": {turns}}},
            {{"id": 3, "score": nan, "conversations": {turns}}}]"#
    );
    fs::write(folder.join("nan.json"), text).unwrap();
    let source = FileSource::open(SourceConfig::new("test", folder.join("nan.json").display().to_string())).unwrap();
    for record in [0, 1] {
        let sample = source.get(record).unwrap();
        assert_eq!(sample.turns, [Turn::user("NaN? \"NaN\" Infinity"), Turn::assistant("NaN")]);
    }
    assert!(source.get(2).unwrap_err().detail.contains("not valid JSON"));
}

/// One object that holds the list is refused as what it is, however it is laid out; a record cut off is a record cut off.
#[test]
fn a_list_inside_an_object() {
    let folder = temporary();
    let open = |text: &str| {
        let path = folder.join("data.json");
        fs::write(&path, text).unwrap();
        FileSource::open(SourceConfig::new("test", path.display().to_string())).map_err(|error| error.to_string())
    };
    let record = json!({"id": 1, "caption": "Red."});
    let whole = json!({"version": "1 [x]", "data": [record, record]});
    let broken = format!("{{\"version\": 1, \"data\": [\n{record},\n{record}\n]}}");
    for text in [serde_json::to_string_pretty(&whole).unwrap(), whole.to_string(), broken] {
        let error = open(&text).unwrap_err();
        assert!(
            error.contains("one object") && error.contains("\"data\"") && error.contains("one record a line"),
            "{error}"
        );
    }
    let source = open(&format!("{{\"id\": \"cut off\n{record}\n")).unwrap();
    assert!(source.len() == 2 && source.get(0).is_err() && source.get(1).is_ok());
    assert_eq!(open(&record.to_string()).unwrap().len(), 1);
}

/// Fields that nobody reads are told with their count: by an inspection of all records, before training of the first.
#[test]
fn what_is_not_read_is_told() {
    let record = |more: Value| {
        let mut record = json!({"id": 1, "image": "red.png", "conversations": chat()});
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record
    };
    let mut weighted = chat();
    weighted[1]["weight"] = json!(0);
    let records = [
        record(json!({"split": "train", "url": ""})),
        record(json!({"split": "train", "score": 0.5, "caption": "unused"})),
        json!({"image": "red.png", "conversations": weighted, "tags": []}),
    ];
    let source = source_with(&records, Fields::default());
    let counts = [("caption", 1), ("conversations: weight", 1), ("score", 1), ("split", 2)];
    let counts: std::collections::BTreeMap<String, u64> = counts.map(|(name, count)| (name.to_owned(), count)).into();
    assert_eq!(source.unread(&[0, 1, 2]), counts);
    let line =
        "test: fields of its first 3 records that are not read: caption 1, conversations: weight 1, score 1, split 2";
    assert_eq!(told(&source), [line]);
    let source: Arc<dyn Source> = Arc::new(source);
    let inspection = inspect(&source, None, InspectOptions::default()).unwrap();
    assert_eq!((inspection.usable(), &inspection.unread), (3, &counts));
    assert!(inspection.to_string().contains("not read           caption 1"), "{inspection}");
    // Data that says nothing else has nothing to tell.
    let source = source_with(&[json!({"id": 1, "image": "red.png", "conversations": chat()})], Fields::default());
    assert!(told(&source).is_empty());
}

/// A picture in the place of a name, a tag or a role is not printed.
#[test]
fn reasons_stay_short() {
    let long = "x_".repeat(20_000);
    let turns = |from: &str| json!([{"from": from, "value": "?"}, {"from": "gpt", "value": "!"}]);
    let mut keys = json!({"id": 1});
    keys[&long] = json!(1);
    let records = [
        json!({"id": long, "image": long, "conversations": chat()}),
        json!({"id": 1, "image": format!("http://{long}"), "conversations": chat()}),
        json!({"id": 1, "image": format!("data:image/png,{long}"), "conversations": chat()}),
        json!({"conversations": turns(&long)}),
        json!({"conversations": [{long.clone(): 1}]}),
        json!({"question": "?", "answers": [{long.clone(): 1}]}),
        json!({"question": "?", "choices": long, "answer": "!"}),
        json!({"video": long, "conversations": chat()}),
        keys,
    ];
    let source = source_with(&records, Fields::default());
    for record in 0..source.len() {
        let skip = source.get(record).unwrap_err();
        let line = serde_json::to_string(&skip).unwrap();
        assert!(line.len() < 2000 && skip.detail.chars().count() < 700, "{record}: {line}");
    }
}

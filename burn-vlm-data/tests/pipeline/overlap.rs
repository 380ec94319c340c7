//! Training data and benchmarks with known things in common.

use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::image::{DecodeLimits, RgbImage, decode, encode_png, small_jpeg, to_rgb};
use burn_vlm_data::pipeline::overlap::{
    AskedRecord, AskedRecords, Benchmarks, FileRecords, Fingerprint, Found, OverlapOptions, OverlapRecords,
    OverlapReport, Reason, SampleRecords, SideCounts, fingerprints, overlap_page,
};
use burn_vlm_data::sample::{Media, Picture, Sample};
use burn_vlm_data::source::{FileSource, Limits, ListSource, SkipKind, SourceConfig};
use image::imageops::{FilterType, crop_imm, resize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// A picture of the corpus, by its place among the coloured ones of a set.
fn picture(number: usize) -> RgbImage {
    let corpus = EmojiCorpus::embedded().unwrap();
    let picture = corpus.pictures().iter().filter(|picture| picture.style.as_str() == "noto").nth(number).unwrap();
    to_rgb(decode("p", &picture.webp, &DecodeLimits::default()).unwrap(), Some([255; 3]))
}

fn jsonl(folder: &Path, name: &str, rows: &[Value]) -> Arc<dyn OverlapRecords> {
    let path = folder.join(name);
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(&path, text).unwrap();
    let config = SourceConfig {
        image_root: Some(folder.to_owned()),
        ..SourceConfig::new(name, path.to_string_lossy().into_owned())
    };
    Arc::new(FileRecords::new(FileSource::open(config).unwrap(), &["question_id".to_owned()]))
}

fn prints(records: &Arc<dyn OverlapRecords>) -> Vec<Fingerprint> {
    let mut all = Vec::new();
    fingerprints(records, 2, |batch| {
        all.extend(batch);
        ControlFlow::Continue(())
    })
    .unwrap();
    all
}

fn index(records: &Arc<dyn OverlapRecords>, options: OverlapOptions) -> Benchmarks {
    Benchmarks::new(vec![(records.name().to_owned(), prints(records))], options)
}

/// What a training row shares with which rows of the benchmark.
fn shared(found: &Found) -> Vec<(u64, Vec<&'static str>)> {
    let mut pairs: Vec<_> = found.pairs.iter().map(|pair| (pair.benchmark.record, pair.reason_names())).collect();
    pairs.sort();
    pairs
}

const QUESTION: &str = "Which of these animals lays eggs in the sand of a beach at night?";

/// A benchmark, and training rows that have something of it.
fn files(folder: &Path) -> (Arc<dyn OverlapRecords>, Arc<dyn OverlapRecords>) {
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let (first, second, third) = (picture(10), picture(200), picture(400));
    write("first.png", &encode_png(&first).unwrap());
    write("second.png", &encode_png(&second).unwrap());
    write("third.png", &encode_png(&third).unwrap());
    write("white.png", &encode_png(&RgbImage::from_pixel(30, 30, [255; 3].into())).unwrap());
    write("white2.png", &encode_png(&RgbImage::from_pixel(31, 30, [255; 3].into())).unwrap());
    write("broken.png", b"no picture at all, but the same bytes on both sides");
    write("again.png", &encode_png(&first).unwrap());
    write("jpeg.jpg", &small_jpeg(second.clone(), u32::MAX, 80).unwrap());
    write("larger.png", &encode_png(&resize(&second, 100, 100, FilterType::Triangle)).unwrap());
    let (width, height) = third.dimensions();
    write("cropped.png", &encode_png(&crop_imm(&third, 1, 1, width - 2, height - 2).to_image()).unwrap());
    let form = "Answer with the letter of the option that fits the picture best.";
    let benchmark: Vec<Value> = vec![
        json!({"id": "q-0", "image": "first.png", "question": "What is it?", "hint": form}),
        json!({"id": "q-1", "image": "second.png", "question": "And this?", "hint": form}),
        json!({"id": "q-2", "image": "third.png", "question": "And that?", "hint": form}),
        json!({"id": "q-3", "question": QUESTION, "hint": form}),
        json!({"id": "17", "question": "A row with a number", "hint": form}),
        json!({"id": "q-5", "image": "broken.png", "question": "Broken", "hint": form}),
        json!({"id": "q-6", "image": "missing.png", "question": "Missing", "hint": form}),
        json!({"id": "q-7", "image": "white.png", "question": "White", "hint": form}),
        json!({"id": "q-8", "question_id": "science-8", "question": "What?", "hint": form}),
    ];
    let hash: String =
        Sha256::digest(fs::read(folder.join("third.png")).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
    let training: Vec<Value> = vec![
        json!({"id": "t-0", "image": "again.png", "caption": "a file of another name"}),
        json!({"id": "t-1", "image": "jpeg.jpg", "caption": "encoded anew"}),
        json!({"id": "t-2", "image": "larger.png", "caption": "another size"}),
        json!({"id": "t-3", "image": "cropped.png", "caption": "one pixel cut off"}),
        json!({"id": "t-4", "caption": format!("Q: {}  A: turtles", QUESTION.to_uppercase())}),
        json!({"id": "17", "caption": "a number of its own"}),
        json!({"id": "t-6", "caption": "Welches Tier legt Eier?", "provenance": {"source_id": "q-3"}}),
        json!({"id": "t-7", "image": "broken.png", "caption": "bytes are compared all the same"}),
        json!({"id": "t-8", "image": "white2.png", "caption": "one colour is no likeness"}),
        json!({"id": "t-9", "image_url": "gone", "image_sha256": hash, "caption": "by its hash alone"}),
        json!({"id": "t-10", "caption": form}),
        json!({"id": "t-11", "question_id": "science-8", "caption": "Was ist das?"}),
        json!({"id": "t-12", "caption": "nothing in common with any of them, whatever is compared"}),
    ];
    (jsonl(folder, "training.jsonl", &training), jsonl(folder, "benchmark.jsonl", &benchmark))
}

#[test]
fn each_way_of_being_the_same_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (training, benchmark) = files(folder.path());
    let options = OverlapOptions::default();
    let index = index(&benchmark, options);
    let rows = prints(&training);
    let found: Vec<_> = rows.iter().map(|row| shared(&index.find("training.jsonl", row))).collect();
    let expected = [
        vec![(0, vec!["bytes", "perceptual"])],
        vec![(1, vec!["perceptual"])],
        vec![(1, vec!["perceptual"])],
        vec![(2, vec!["perceptual"])],
        vec![(3, vec!["text"])],
        vec![],
        vec![(3, vec!["id"])],
        vec![(5, vec!["bytes"])],
        vec![],
        vec![(2, vec!["bytes"])],
        vec![],
        vec![(8, vec!["id"])],
        vec![],
    ];
    for (row, (found, expected)) in rows.iter().zip(found.iter().zip(&expected)) {
        assert_eq!(found, expected, "{}", row.id);
    }
    // The instruction stands in every row: it is named, not compared.
    assert_eq!(index.common_texts().len(), 1);
    assert_eq!(index.common_texts()[0].rows, 9);
    assert!(index.short_texts() >= 8);
    let pair = index.find("training.jsonl", &rows[1]).pairs.remove(0);
    assert!(pair.distance.unwrap() <= 8 && pair.difference.unwrap() < 10.0, "{pair:?}");
    assert_eq!(pair.benchmark.picture.as_deref().map(|path| path.ends_with("second.png")), Some(true));
    let text = index.find("training.jsonl", &rows[4]).pairs.remove(0).shared_text.unwrap();
    assert!(text.starts_with("whichoftheseanimals"), "{text}");
    // Numbers are ids where that is said, colours differ too much where that is said, bytes alone where that is said.
    let numbers = self::index(&benchmark, OverlapOptions { numbers: true, ..options });
    assert_eq!(shared(&numbers.find("t", &rows[5])), [(4, vec!["id"])]);
    let colours = self::index(&benchmark, OverlapOptions { most_difference: Some(0.0), ..options });
    assert!(shared(&colours.find("t", &rows[1])).is_empty());
    let bytes = self::index(&benchmark, OverlapOptions { near_bits: None, least_letters: None, ..options });
    assert_eq!(shared(&bytes.find("t", &rows[0])), [(0, vec!["bytes"])]);
    assert!(shared(&bytes.find("t", &rows[4])).is_empty());
}

#[test]
fn counts_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let (training, benchmark) = files(folder.path());
    let index = index(&benchmark, OverlapOptions::default());
    let mut report = OverlapReport::new(&index);
    let (mut counts, mut pairs, mut problems) = (SideCounts::new("training.jsonl"), Vec::new(), Vec::new());
    for row in prints(&training) {
        counts.add(&row);
        let found = index.find("training.jsonl", &row);
        report.add(&index, &found);
        problems.extend(row.problems);
        pairs.extend(found.pairs);
    }
    report.training.push(counts.clone());
    // The picture that cannot be decoded, and the row of which a picture is known but not read.
    assert_eq!(problems.iter().map(|skip| skip.id.as_deref()).collect::<Vec<_>>(), [Some("t-7"), Some("t-9")]);
    assert_eq!((problems[0].reason, problems[1].reason), (SkipKind::UnreadableImage, SkipKind::UnreadField));
    assert_eq!(
        (counts.rows, counts.pictures, counts.flat, counts.unreadable, counts.without_pictures),
        (13, 6, 1, 2, 6)
    );
    let side = &report.benchmarks[0].side;
    assert_eq!((side.rows, side.pictures, side.flat, side.unreadable, side.without_pictures), (9, 5, 1, 2, 3));
    assert_eq!((report.pairs, report.training_found, report.benchmarks[0].found), (9, 9, 6));
    assert_eq!(report.by_reason[&Reason::Perceptual], 4);
    let shown: Vec<_> = pairs
        .into_iter()
        .map(|pair| {
            let one = |records: &Arc<dyn OverlapRecords>, at: u64| records.read(at..at + 1).pop().unwrap();
            let sides = (one(&training, pair.training.record), one(&benchmark, pair.benchmark.record));
            (pair, sides.0, sides.1)
        })
        .collect();
    let page = overlap_page("<both>", &report, &shown);
    assert!(
        page.contains("&lt;both&gt;") && page.contains("Pictures that look alike") && page.contains("The same row")
    );
    assert_eq!(page.matches("<article>").count(), 9);
    // Of the five pairs of pictures, both; of the broken one why there is none.
    assert!(page.matches("data:image/jpeg;base64,").count() >= 8, "{}", page.matches("data:image").count());
    let text = report.to_string();
    for part in
        ["9 pairs, of 9 of 13 training rows", "6 rows (66.7 %) stand in training", "1 texts are shared by many rows"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Samples of any source and questions as they are asked are compared, too; of one row's many pairs the most are listed and all counted.
#[test]
fn samples_and_questions() {
    let bytes = encode_png(&picture(77)).unwrap();
    let shown = || vec![Media::Image(Picture::Encoded { name: "p.png".into(), bytes: bytes.clone().into() })];
    let prompt = format!("<image>\n{QUESTION}\nA. fish\nB. turtles\nAnswer with the letter.");
    let asked = |number: usize| AskedRecord {
        id: format!("asked-{number}"),
        language: None,
        turns: vec![Turn::user(&prompt)],
        media: shown(),
    };
    let asked = (0..7).map(asked).collect();
    let benchmark: Arc<dyn OverlapRecords> = Arc::new(AskedRecords::new("asked", asked, Limits::default()));
    let turns = vec![Turn::user(format!("<image>\n{QUESTION}")), Turn::assistant("Turtles.")];
    let samples = vec![Sample::new("s", turns, shown(), None)];
    let training: Arc<dyn OverlapRecords> = Arc::new(SampleRecords::new(Arc::new(ListSource::new("mine", samples))));
    let index = index(&benchmark, OverlapOptions { most_pairs: 3, ..OverlapOptions::default() });
    let found = index.find("mine", &prints(&training)[0]);
    assert_eq!((found.pairs.len(), found.unlisted, found.rows.len()), (3, 4, 7));
    assert!(found.pairs.iter().all(|pair| pair.reason_names() == ["bytes", "text", "perceptual"]));
    assert_eq!(found.reasons.values().copied().collect::<Vec<_>>(), [7, 7, 7]);
}

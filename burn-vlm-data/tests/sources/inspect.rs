//! What inspection counts and shows.

use crate::files::{self, simple_items, temporary};
use burn_vlm_data::encode::MaskStyle;
use burn_vlm_data::source::inspect::{InspectOptions, Inspection, Reader, inspect, page};
use burn_vlm_data::source::{Skip, SkipKind, Source, SourceConfig};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Twelve good samples, two broken files, markup where markup could do harm.
fn source() -> Arc<Source> {
    let folder = temporary();
    let mut items = simple_items(15);
    items[9].turns[1].text = "<script>alert('x')</script> & \"so\"".into();
    items[9].id = "<b>nine</b>".into();
    let config = files::write_json(&folder, &items);
    fs::remove_file(folder.join("images/part/004.webp")).unwrap();
    fs::write(folder.join("images/part/007.webp"), "no picture").unwrap();
    let mut records: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(folder.join("llava.json")).unwrap()).unwrap();
    records[2]["language"] = json!("klingon");
    fs::write(folder.join("llava.json"), serde_json::to_string(&records).unwrap()).unwrap();
    let tags = vec!["public".to_owned(), "translated".to_owned()];
    Arc::new(Source::open(SourceConfig { tags, ..config }).unwrap())
}

fn reader(folder: &str, mask: MaskStyle) -> Arc<Reader> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(folder);
    Arc::new(Reader::from_folder(folder, mask, 5).unwrap())
}

fn look(source: &Arc<Source>, reader: Option<&Arc<Reader>>) -> Inspection {
    inspect(source, reader, InspectOptions::default()).unwrap()
}

#[test]
fn counts() {
    let source = source();
    let inspection = look(&source, None);
    assert_eq!((inspection.records, inspection.looked_at, inspection.usable()), (15, 15, 12));
    let languages = [("de", 3), ("en", 5), ("zh-Hans", 4)].map(|(tag, count)| (tag.to_owned(), count));
    // 0, 3, 6, 9, 12 are English, 1, 10, 13 German without 4 and 7, 5, 8, 11, 14 Chinese without 2.
    assert_eq!(inspection.languages, languages.into());
    assert_eq!(inspection.tags.values().collect::<Vec<_>>(), [&12, &12]);
    assert_eq!(inspection.pictures, [(1, 12)].into());
    assert!(inspection.turns.mean() == 2.0 && inspection.tokens.is_none());
    let skipped: Vec<(u64, SkipKind)> =
        inspection.skipped.iter().map(|skip: &Skip| (skip.record, skip.reason)).collect();
    assert_eq!(skipped, [(2, SkipKind::UnknownLanguage), (4, SkipKind::MissingImage), (7, SkipKind::UnreadableImage)]);
    let text = inspection.to_string();
    assert!(
        text.contains("zh-Hans 4") && text.contains("unreadable_image") && text.contains("translated 12"),
        "{text}"
    );
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(json["turns"]["p50"], 2);
    // Without decoding, a file that is no picture is not found out; and a part is a part.
    let options = InspectOptions { decode: false, max_records: Some(8), workers: 1 };
    let inspection = inspect(&source, None, options).unwrap();
    assert_eq!((inspection.looked_at, inspection.usable(), inspection.skipped.len()), (8, 6, 2));
}

#[test]
fn tokens_are_those_of_encode() {
    let source = source();
    for (folder, mask) in [("llava_clip_qwen2", MaskStyle::AnswersOnly), ("tok_gemma", MaskStyle::Towervision)] {
        let reader = reader(folder, mask);
        let inspection = look(&source, Some(&reader));
        assert_eq!(inspection.usable(), 12, "{folder}: {}", inspection.summary);
        let (tokens, trained) = (inspection.tokens.unwrap(), inspection.trained.unwrap());
        let encoded: Vec<_> = (0..15)
            .filter(|record| ![2, 4, 7].contains(record))
            .map(|record| reader.encode(&source.get(record).unwrap()).unwrap())
            .collect();
        assert_eq!(tokens.sum(), encoded.iter().map(|encoded| encoded.ids.len() as u64).sum::<u64>());
        assert_eq!(trained.sum(), encoded.iter().map(|encoded| encoded.trained() as u64).sum::<u64>());
        assert!(trained.sum() > 12 && trained.sum() < tokens.sum());
        // The stretches are the conversation: the answer stands in a trained one, the question in one that is not.
        let segments = reader.segments(&source.get(0).unwrap()).unwrap();
        let answer = source.get(0).unwrap().answer().to_owned();
        let with = |text: &str| segments.iter().find(|segment| segment.text.contains(text)).unwrap();
        assert!(with(&answer).trained && !with("this").trained, "{segments:?}");
    }
}

#[test]
fn pages_are_whole_and_harmless() {
    let source = source();
    let reader = reader("llava_clip_qwen2", MaskStyle::AnswersOnly);
    let inspection = look(&source, Some(&reader));
    let html = page(&source, &inspection, Some(&reader), 100, 1);
    assert_eq!(html.matches("<article>").count(), 13);
    assert_eq!(html.matches("src=\"data:image/jpeg;base64,").count(), 12);
    assert!(html.matches("class=\"trained\"").count() > 12 && html.contains("5 visual tokens"));
    assert!(!html.contains("<script") && !html.contains("<b>nine") && html.contains("&lt;b&gt;nine&lt;/b&gt;"));
    assert!(html.contains("klingon") && html.contains("missing_image") && html.contains("Left out: 3"));
    assert!(!html.contains("http://") && !html.contains("https://"));
    assert_eq!(html.matches("<article>").count(), html.matches("</article>").count());
    let few = page(&source, &inspection, None, 3, 1);
    assert_eq!(few.matches("<article>").count(), 3);
    assert!(few.contains("class=\"role\">assistant<"));
    assert_ne!(few, page(&source, &inspection, None, 3, 2));
    if let Ok(path) = std::env::var("INSPECT_PAGE") {
        fs::write(path, html).unwrap();
    }
}

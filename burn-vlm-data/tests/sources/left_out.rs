//! Streams over bad data: what is left out is listed and replaced, and too much of it stops them.

use crate::bad::decode;
use crate::files::{self, simple_items, temporary};
use burn_vlm_data::image::DecodeLimits;
use burn_vlm_data::sample::Sample;
use burn_vlm_data::source::{
    FileSource, Group, Mixed, Records, Skip, SkipKind, SkipLimit, SkipLog, SkipLogError, SkipReason, Source,
    StreamError, StreamOptions,
};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn mixed(source: FileSource) -> Arc<Mixed> {
    let records = Records::Range(0..source.len());
    let draws = records.len();
    Arc::new(
        Mixed::new(vec![Arc::new(source)], vec![Group { source: 0, records, draws }], StreamOptions::seeded(3))
            .unwrap(),
    )
}

/// A stream over bad data: replaced by other records, listed once each, and stopped above the limit.
#[test]
fn streams_list_what_they_leave_out() {
    let folder = temporary();
    let items = simple_items(100);
    let config = files::write_json(&folder, &items);
    for number in [7, 21, 63] {
        fs::remove_file(folder.join(format!("images/part/{number:03}.webp"))).unwrap();
    }
    fs::write(folder.join("images/part/050.webp"), "no picture").unwrap();
    let mixed = mixed(FileSource::open(config).unwrap());
    let run = |limit: SkipLimit, path: &Path, workers: usize| -> Result<Vec<String>, StreamError> {
        let log = Arc::new(SkipLog::open(path, limit).unwrap());
        let make = |_, sample: &Sample| {
            decode(sample, &DecodeLimits::default())?;
            Ok::<_, SkipReason>(sample.id.clone())
        };
        mixed.stream(0..200, (workers, 4), log, make)?.map(|drawn| drawn.map(|drawn| drawn.item)).collect()
    };
    let path = folder.join("skipped.jsonl");
    let ids = run(SkipLimit::default(), &path, 2).unwrap();
    assert_eq!(ids.len(), 200);
    assert!(["item-007", "item-021", "item-050", "item-063"].iter().all(|bad| !ids.iter().any(|id| id == bad)));
    let skips: Vec<Skip> =
        fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut listed: Vec<(u64, SkipKind)> = skips.iter().map(|skip| (skip.record, skip.reason)).collect();
    listed.sort();
    let missing = SkipKind::MissingImage;
    assert_eq!(listed, [(7, missing), (21, missing), (50, SkipKind::UnreadableImage), (63, missing)]);
    assert!(skips.iter().all(|skip| skip.id.is_some() && skip.place == format!("element {}", skip.record)));
    // The same with other workers, down to the file.
    let again = folder.join("again.jsonl");
    assert_eq!(run(SkipLimit::default(), &again, 5).unwrap(), ids);
    assert_eq!(fs::read(&again).unwrap(), fs::read(&path).unwrap());

    let error = run(SkipLimit { fraction: 0.01, min_count: 2 }, &folder.join("limit.jsonl"), 2).unwrap_err();
    let StreamError::Skipped(SkipLogError::TooMany(too_many)) = &error else { panic!("{error}") };
    assert_eq!(too_many.summary.total(), 3);
    let text = error.to_string();
    assert!(text.contains("missing_image") && text.contains("limit.jsonl") && text.contains("1.00 %"), "{text}");

    // Nothing is usable: the stream says so instead of trying for ever.
    let nothing = mixed.get(0, |_| Err::<(), _>(SkipReason::new(SkipKind::NotEncodable, "too long"))).unwrap_err();
    assert!(nothing.to_string().contains("not_encodable"), "{nothing}");
}

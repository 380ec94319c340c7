//! What inspection counts and shows.

use crate::files::{self, simple_items, temporary};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_vlm_data::encode::MaskStyle;
use burn_vlm_data::image::{
    AspectRatio, DecodeLimits, GridPinpoint, ImageProcessor, ImageProcessorConfig, RgbImage, decode, encode_png, to_rgb,
};
use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::source::inspect::{
    InspectOptions, Inspection, KEPT_SKIPS, PageOptions, Reader, inspect, inspect_with, mixture_page, page,
    shared_pictures,
};
use burn_vlm_data::source::{
    FileSource, Limits, Skip, SkipKind, Source, SourceConfig, StreamOptions, mix_sources, open_sources,
};
use burn_vlm_data::video::VideoSettings;
use serde_json::json;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// Twelve good samples, two broken files, markup where markup could do harm.
fn source() -> Arc<dyn Source> {
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
    Arc::new(FileSource::open(SourceConfig { tags, ..config }).unwrap()) as Arc<dyn Source>
}

fn reader(folder: &str, mask: MaskStyle) -> Arc<Reader> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(folder);
    Arc::new(Reader::from_folder(folder, mask, Some(5)).unwrap())
}

fn options(reader: Option<&Arc<Reader>>, samples: usize, seed: u64) -> PageOptions<'_> {
    static VIDEOS: LazyLock<VideoSettings> = LazyLock::new(VideoSettings::default);
    PageOptions { reader: reader.map(|reader| &**reader), tower: None, videos: &VIDEOS, samples, seed }
}

fn look(source: &Arc<dyn Source>, reader: Option<&Arc<Reader>>) -> Inspection {
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
    let options = InspectOptions { decode: false, max_records: Some(8), workers: 1, ..InspectOptions::default() };
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
        let segments = reader.segments(&source.get(0).unwrap(), &[]).unwrap();
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
    let html = page(&*source, &inspection, options(Some(&reader), 100, 1));
    assert_eq!(html.matches("<article>").count(), 13);
    assert_eq!(html.matches("src=\"data:image/jpeg;base64,").count(), 12);
    assert!(html.matches("class=\"trained\"").count() > 12 && html.contains("5 visual tokens"));
    assert!(!html.contains("<script") && !html.contains("<b>nine") && html.contains("&lt;b&gt;nine&lt;/b&gt;"));
    assert!(html.contains("klingon") && html.contains("missing_image") && html.contains("Left out: 3"));
    assert!(!html.contains("http://") && !html.contains("https://"));
    assert_eq!(html.matches("<article>").count(), html.matches("</article>").count());
    let few = page(&*source, &inspection, options(None, 3, 1));
    assert_eq!(few.matches("<article>").count(), 3);
    assert!(few.contains("class=\"role\">assistant<"));
    assert_ne!(few, page(&*source, &inspection, options(None, 3, 2)));
    if let Ok(path) = std::env::var("INSPECT_PAGE") {
        fs::write(path, html).unwrap();
    }
}

#[test]
fn steps_tell_how_far_it_is_and_what_is_left_out() {
    let source = source();
    let (mut steps, mut skipped) = (Vec::new(), Vec::new());
    let inspection = inspect_with(&source, None, InspectOptions::default(), |step| {
        steps.push((step.looked_at, step.records));
        skipped.extend_from_slice(step.skipped);
        ControlFlow::Continue(())
    });
    assert_eq!(inspection.unwrap().skipped, skipped);
    assert_eq!((steps.last(), skipped.len()), (Some(&(15, 15)), 3));
}

/// Data that is bad throughout: all of it is counted and told, but not kept; and an inspection may end early.
#[test]
fn what_is_kept_does_not_grow_with_bad_data() {
    let path = temporary().join("bad.jsonl");
    let records = 3 * KEPT_SKIPS;
    fs::write(&path, "{\"id\": 1}\n".repeat(records)).unwrap();
    let source =
        Arc::new(FileSource::open(SourceConfig::new("bad", path.display().to_string())).unwrap()) as Arc<dyn Source>;
    let mut told = 0;
    let inspection = inspect_with(&source, None, InspectOptions::default(), |step| {
        told += step.skipped.len();
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((told, inspection.skipped.len(), inspection.summary.total()), (records, KEPT_SKIPS, records as u64));
    assert!(page(&*source, &inspection, options(None, 2, 1)).contains("Left out: 3000"));
    let stop = |step: burn_vlm_data::source::inspect::Step<'_>| match step.looked_at {
        0..100 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let part = inspect_with(&source, None, InspectOptions::default(), stop).unwrap();
    assert!((100..200).contains(&part.looked_at) && part.summary.total() == part.looked_at);
}

/// What the tower sees stands beside each picture: the pixels that training would have, made colours again.
#[test]
fn pages_show_pictures_as_the_tower_sees_them() {
    let folder = temporary();
    // Left half red, right half blue, wide: a centre crop cuts the sides, padding adds bars, squeezing neither.
    let wide = RgbImage::from_fn(120, 60, |x, _| if x < 60 { [255, 0, 0] } else { [0, 0, 255] }.into());
    fs::write(folder.join("wide.png"), encode_png(&wide).unwrap()).unwrap();
    let record = json!([{ "id": "a", "image": "wide.png", "conversations": [
        { "from": "human", "value": "<image>\nWhat?" }, { "from": "gpt", "value": "two colours" } ] }]);
    fs::write(folder.join("data.json"), record.to_string()).unwrap();
    let config = SourceConfig {
        image_root: Some(folder.clone()),
        ..SourceConfig::new("d", folder.join("data.json").to_string_lossy())
    };
    let source = Arc::new(FileSource::open(config).unwrap()) as Arc<dyn Source>;
    let inspection = look(&source, None);
    let seen = |config: ImageProcessorConfig| -> (String, Vec<RgbImage>) {
        let tower = ImageProcessor::new(config).unwrap();
        let html = page(&*source, &inspection, PageOptions { tower: Some(&tower), ..options(None, 1, 1) });
        let images = html.split("class=\"seen\" src=\"data:image/jpeg;base64,").skip(1).map(|rest| {
            let data = STANDARD.decode(rest.split('"').next().unwrap()).unwrap();
            to_rgb(decode("seen", &data, &DecodeLimits::default()).unwrap(), None)
        });
        let images = images.collect();
        (html, images)
    };
    let near = |image: &RgbImage, x: u32, y: u32, colour: [u8; 3]| {
        let found = image.get_pixel(x, y).0;
        let off = found.iter().zip(colour).map(|(a, b)| a.abs_diff(b)).max().unwrap();
        assert!(off < 24, "{found:?} at {x}, {y}, expected {colour:?}");
    };
    for config in [ImageProcessorConfig::siglip(48), ImageProcessorConfig::clip(48)] {
        let (html, images) = seen(config);
        assert!(html.contains("as the tower sees it: one view of 48 x 48"), "{html}");
        assert_eq!(images.iter().map(|image| image.dimensions()).collect::<Vec<_>>(), [(48, 48)]);
        near(&images[0], 2, 24, [255, 0, 0]);
        near(&images[0], 45, 24, [0, 0, 255]);
    }
    let padded = ImageProcessorConfig { image_aspect_ratio: Some(AspectRatio::Pad), ..ImageProcessorConfig::clip(48) };
    let (_, images) = seen(padded);
    near(&images[0], 24, 2, [122, 116, 104]);
    near(&images[0], 2, 24, [255, 0, 0]);
    let tiled = ImageProcessorConfig {
        image_grid_pinpoints: Some(vec![GridPinpoint(48, 96), GridPinpoint(96, 48)]),
        ..ImageProcessorConfig::siglip(48)
    };
    let (html, images) = seen(tiled);
    assert!(html.contains("3 views of 48 x 48"), "{html}");
    near(&images[1], 24, 24, [255, 0, 0]);
    near(&images[2], 24, 24, [0, 0, 255]);
}

/// The same bytes under another name, in another format, are the same picture.
#[test]
fn pictures_of_two_splits_are_told() {
    let folder = temporary();
    let items = simple_items(12);
    let train = Arc::new(FileSource::open(files::write_json(&folder, &items[..8])).unwrap()) as Arc<dyn Source>;
    let mut others = items[6..].to_vec();
    others.iter_mut().for_each(|item| item.pictures[0].0 = format!("renamed-{}", item.pictures[0].0.replace('/', "-")));
    let parquet = files::write_parquet(&folder, &others, files::Types::Plain, 3);
    let test = Arc::new(FileSource::open(parquet).unwrap()) as Arc<dyn Source>;
    let looked = |source: &Arc<dyn Source>| vec![(source.clone(), look(source, None))];
    let (train, test) = (looked(&train), looked(&test));
    let shared = shared_pictures(&train, &test);
    assert_eq!((shared.pictures, shared.shared, shared.examples.len()), (8, 2, 2), "{shared:?}");
    let text = shared.to_string();
    assert!(text.starts_with("2 of 8 pictures (25.0 %) stand in both\n") && text.contains("record 6"), "{text}");
    assert_eq!(shared_pictures(&train[..0], &test).shared, 0);
    assert_eq!((train[0].1.repeated, shared_pictures(&test, &test).shared), (0, 6));
    // Without decoding nothing is known of them, which is not the same as none.
    let options = InspectOptions { decode: false, ..InspectOptions::default() };
    assert!(inspect(&train[0].0, None, options).unwrap().first_seen.is_empty());
    // A picture in several samples: a share of the records would put it on both sides.
    let twice = [items[..3].to_vec(), items[..2].to_vec()].concat();
    fs::create_dir(folder.join("twice")).unwrap();
    let source = Arc::new(
        FileSource::open(files::write_parquet(&folder.join("twice"), &twice, files::Types::Plain, 3)).unwrap(),
    );
    let inspection = look(&(source as Arc<dyn Source>), None);
    assert!(inspection.to_string().contains("repeated pictures  2 of 3 stand in several samples"), "{inspection}");
}

#[test]
fn one_page_for_a_mixture() {
    let folder = temporary();
    let items = simple_items(30);
    let json = files::write_json(&folder, &items[..18]);
    let parquet = files::write_parquet(&folder, &items[18..], files::Types::Plain, 5);
    let text = format!(
        "total = 9\nexclude_tags = [\"video\"]\n\
         [[source]]\nname = \"<j>\"\nformat = \"llava_json\"\npath = \"{}\"\nimage_root = \"images\"\nlanguage_column = \"language\"\n\
         [[source]]\nname = \"v\"\nformat = \"webdataset\"\npath = \"none.tar\"\ntags = [\"video\"]\n\
         [[source]]\nname = \"p\"\nformat = \"parquet\"\npath = \"{}\"\nlanguage = \"de\"\n",
        json.path, parquet.path
    );
    let config = MixtureConfig::from_toml(&text, &folder.join("mixture.toml")).unwrap();
    let opened = open_sources(&config, Limits::default()).unwrap();
    assert_eq!(opened.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let plan = mix_sources(&config, &opened, StreamOptions::seeded(config.seed)).unwrap().plan.summary(&config);
    let looked: Vec<_> = opened.into_iter().flatten().map(|source| (source.clone(), look(&source, None))).collect();
    let html = mixture_page("a & b", &looked, Some(&plan), options(None, 4, 1));
    assert_eq!(html.matches("<article>").count(), 8);
    assert!(html.contains("<h1>a &amp; b</h1>") && html.contains("<h2 id=\"source-1\">p</h2>"));
    assert!(html.contains("href=\"#source-0\">&lt;j&gt;</a>") && html.contains("An epoch draws 9 samples"));
    // 18 and 12 samples, by number of samples: 5.4 and 3.6 of 9, the German ones of the first 5 / 3.
    assert_eq!(plan.by_source().iter().map(|(_, drawn, of)| (*drawn, *of)).collect::<Vec<_>>(), [(5, 18), (4, 12)]);
    assert!(html.contains("4 of 12"), "{html}");
}

#[test]
fn all_sources_that_cannot_be_opened_are_named() {
    let source =
        |name: &str| format!("[[source]]\nname = \"{name}\"\nformat = \"parquet\"\npath = \"{name}.parquet\"\n");
    let open = |text: String| {
        let config = MixtureConfig::from_toml(&text, &temporary().join("mixture.toml")).unwrap();
        open_sources(&config, Limits::default()).err().unwrap().to_string()
    };
    let error = open(source("one"));
    assert!(error.contains("one.parquet") && !error.contains("1 of 1"), "{error}");
    let error = open(source("one") + &source("two"));
    for part in ["2 of 2", "one.parquet", "two.parquet"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

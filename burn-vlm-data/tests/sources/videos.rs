//! Records whose videos are files: in every format, shown by a rule, and left out with their reason where they cannot be read.

use crate::files;
use burn_vlm_data::batching::Batching;
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::encode::{EncodeOptions, MaskStyle};
use burn_vlm_data::image::{ImageProcessorConfig, RgbImage};
use burn_vlm_data::language::Language;
use burn_vlm_data::plain::PromptTemplate;
use burn_vlm_data::prepare::SampleMaker;
use burn_vlm_data::processor::Processor;
use burn_vlm_data::sample::{Media, Sample, Video};
use burn_vlm_data::source::inspect::{InspectOptions, PageOptions, Reader, inspect, page};
use burn_vlm_data::source::{FileSource, Format, SkipKind, Source, SourceConfig};
use burn_vlm_data::video::{Clip, Clips, Sampling, VideoProcessor, VideoProcessorConfig, VideoSettings};
use image::codecs::gif::GifEncoder;
use image::{Delay, Frame, RgbaImage};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Frame `n` of a clip is grey of this level.
fn level(n: u8) -> u8 {
    20 * n + 10
}

/// A GIF of so many grey frames, 100 ms each.
fn gif(frames: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for n in 0..frames {
        let grey = RgbaImage::from_pixel(24, 16, [level(n), level(n), level(n), 255].into());
        encoder.encode_frame(Frame::from_parts(grey, 0, 0, Delay::from_numer_denom_ms(100, 1))).unwrap();
    }
    drop(encoder);
    bytes
}

fn processor() -> VideoProcessor {
    VideoProcessor::new(VideoProcessorConfig::new(ImageProcessorConfig::siglip(8)).unwrap()).unwrap()
}

fn clips(settings: &VideoSettings) -> Arc<Clips> {
    Clips::new(settings, processor(), Path::new("")).unwrap()
}

fn frames(count: usize) -> VideoSettings {
    VideoSettings { sampling: Sampling::Linspace { frames: count }, ..VideoSettings::default() }
}

/// The level of every frame that a sample shows.
fn shown(clips: &Arc<Clips>, sample: &Sample) -> Vec<u8> {
    let sample = clips.show_sample(sample, true).unwrap();
    let pixel = |image: RgbImage| {
        assert_eq!(image.dimensions(), (8, 8), "resized for the tower");
        image.get_pixel(4, 4).0[0]
    };
    sample.pictures().map(|picture| pixel(picture.decode(&Default::default()).unwrap())).collect()
}

fn write_json(folder: &Path, records: &Value) -> SourceConfig {
    fs::create_dir_all(folder.join("clips")).unwrap();
    fs::write(folder.join("clips/a.gif"), gif(9)).unwrap();
    fs::write(folder.join("clips/b.gif"), gif(3)).unwrap();
    fs::write(folder.join("clips/cut.gif"), &gif(9)[..30]).unwrap();
    fs::write(folder.join("data.json"), records.to_string()).unwrap();
    SourceConfig {
        image_root: Some(folder.to_owned()),
        video_root: Some(folder.join("clips")),
        ..SourceConfig::new("videos", folder.join("data.json").display().to_string())
    }
}

fn turns(question: &str) -> Value {
    json!([{"from": "human", "value": question}, {"from": "gpt", "value": "Grey."}])
}

#[test]
fn json_names_files_below_the_video_root() {
    let folder = files::temporary();
    let config = write_json(
        &folder,
        &json!([
            {"video": "a.gif", "conversations": turns("<image>\nWhat?")},
            {"video": ["a.gif", "b.gif"], "conversations": turns("<video> and <video>?")},
            {"video": "a.gif", "image": "clips/b.gif", "conversations": turns("<video> beside <image>?")},
            {"conversations": [{"role": "user", "content": [{"type": "video", "video": "b.gif"}, {"type": "text", "text": "What?"}]},
                               {"role": "assistant", "content": "Grey."}]},
            {"video": "../data.json", "conversations": turns("<video>?")},
            {"video": "none.mp4", "conversations": turns("<video>?")},
            {"video": ["a.gif", "b.gif"], "conversations": turns("<image> and <video>?")},
        ]),
    );
    let source = FileSource::open(config).unwrap();
    let clips = clips(&frames(3));
    let sample = source.get(0).unwrap();
    // LLaVA's files say <image> where a video is shown.
    assert_eq!(sample.turns[0], Turn::user("<video>\nWhat?"));
    assert_eq!(shown(&clips, &sample), [level(0), level(4), level(8)]);
    let sample = source.get(1).unwrap();
    assert_eq!(shown(&clips, &sample), [0, 4, 8, 0, 1, 2].map(level));
    assert_eq!(
        clips.show_sample(&sample, false).unwrap().image_turns()[0].text,
        "<image>\n<image>\n<image> and <image>\n<image>\n<image>?"
    );
    let sample = source.get(2).unwrap();
    assert!(
        matches!(&sample.media[..], [Media::Video(Video::Clip(_)), Media::Image(_)]),
        "in the order of the placeholders"
    );
    assert_eq!(shown(&clips, &source.get(3).unwrap()), [0, 1, 2].map(level));
    for (record, kind) in [(4, SkipKind::PathEscape), (5, SkipKind::MissingVideo), (6, SkipKind::Placeholders)] {
        let skip = source.get(record).unwrap_err();
        assert_eq!(skip.reason, kind, "{skip}");
    }
}

#[test]
fn parquet_and_archives_hold_videos() {
    let folder = files::temporary();
    let path = folder.join("clips.parquet");
    let (long, short) = (gif(9), gif(3));
    let columns = vec![
        ("video", files::image_column(vec![(Some(&long), Some("a.gif")), (Some(&short), None)])),
        ("question", files::text_column(&["<video>\nWhat?", "<video>\nWhat?"])),
        ("answer", files::text_column(&["Grey.", "Grey."])),
    ];
    files::write_columns(&path, columns, 2);
    let source = FileSource::open(SourceConfig::new("p", path.display().to_string())).unwrap();
    let clips = clips(&frames(2));
    assert_eq!(shown(&clips, &source.get(0).unwrap()), [0, 8].map(level));
    assert_eq!(shown(&clips, &source.get(1).unwrap()), [0, 2].map(level));

    let path = folder.join("clips.tar");
    let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
    // What the bytes are decides, not the ending.
    files::append(&mut archive, "1.mp4", &long);
    files::append(&mut archive, "1.json", turns_of("<video>\nWhat?").as_bytes());
    files::append(&mut archive, "2.gif", &short);
    files::append(&mut archive, "2.json", turns_of("<video>\nWhat?").as_bytes());
    files::append(&mut archive, "3.gif", &short);
    files::append(&mut archive, "3.json", turns_of("<image>\nWhat?").as_bytes());
    archive.finish().unwrap();
    drop(archive);
    let config =
        SourceConfig { format: Some(Format::WebDataset), ..SourceConfig::new("w", path.display().to_string()) };
    let source = FileSource::open(config).unwrap();
    assert_eq!(shown(&clips, &source.get(0).unwrap()), [0, 8].map(level));
    assert_eq!(shown(&clips, &source.get(1).unwrap()), [0, 2].map(level));
    assert_eq!(source.get(2).unwrap().pictures().count(), 1, "a GIF that is asked about as a picture is one");
}

fn turns_of(question: &str) -> String {
    json!({"conversations": turns(question)}).to_string()
}

#[test]
fn frames_are_known_before_they_are_decoded() {
    let folder = files::temporary();
    let config = write_json(&folder, &json!([{"video": "a.gif", "conversations": turns("<video>\nWhat?")}]));
    let sample = FileSource::open(config).unwrap().get(0).unwrap();
    let keys = |settings: &VideoSettings, sample: &Sample| -> Vec<_> {
        let clips = clips(settings);
        let sample = clips.show_sample(sample, false).unwrap().into_owned();
        sample.pictures().map(|picture| picture.key().unwrap()).collect()
    };
    let of = keys(&frames(4), &sample);
    assert_eq!(of, keys(&frames(4), &sample));
    assert!(of.iter().zip(keys(&frames(3), &sample)).all(|(a, b)| *a != b), "another rule, other frames");
    // The same bytes under another name are the same frames.
    let copy = Clip::Encoded { name: "copy".into(), bytes: gif(9).into() };
    let copied = Sample { media: vec![Media::Video(Video::Clip(copy))], ..sample.clone() };
    assert_eq!(keys(&frames(4), &copied), of);
    // A file that cannot be decoded has keys too, and says at its first frame why it has no pixels.
    let broken = Sample { media: vec![Media::Video(Video::Clip(Clip::File(folder.join("clips/cut.gif"))))], ..sample };
    assert_eq!(keys(&frames(4), &broken).len(), 4);
    let lazy = clips(&frames(4)).show_sample(&broken, false).unwrap().into_owned();
    let reason = lazy.pictures().next().unwrap().decode(&Default::default()).unwrap_err();
    assert!(reason.kind == SkipKind::UnreadableVideo && !reason.detail.contains("unreadable"), "{reason}");
    let clips = clips(&frames(4));
    let reason = clips.show_sample(&broken, true).unwrap_err();
    assert!(reason.kind == SkipKind::UnreadableVideo && reason.detail.contains("cut.gif"), "{reason}");
}

#[test]
fn a_rule_chooses_among_listed_frames_too() {
    let picture =
        |name: usize| burn_vlm_data::sample::Picture::Encoded { name: name.to_string(), bytes: gif(1).into() };
    let listed = vec![Media::frames((0..9).map(picture)), Media::frames((0..2).map(picture))];
    let shown = clips(&frames(3)).show(&listed, true).unwrap().into_owned();
    let names: Vec<String> = burn_vlm_data::sample::pictures(&shown).map(|picture| picture.name()).collect();
    assert_eq!(names, ["0", "4", "8", "0", "1"]);
}

#[test]
fn the_time_instruction_stands_before_english_questions() {
    let folder = files::temporary();
    let config = write_json(&folder, &json!([{"video": "a.gif", "conversations": turns("<video>\nWhat?")}]));
    let mut sample = FileSource::open(config).unwrap().get(0).unwrap();
    let clips = clips(&VideoSettings { time_instruction: true, ..frames(2) });
    let told = clips.show_sample(&sample, true).unwrap().turns[0].text.clone();
    assert!(
        told.starts_with("<video>\nThe video lasts for 0.90 seconds, and 2 frames") && told.ends_with("\nWhat?"),
        "{told}"
    );
    sample.language = Some(Language::PL);
    assert_eq!(clips.show_sample(&sample, true).unwrap().turns[0].text, "<video>\nWhat?");
}

#[test]
fn resized_frames_are_taken_from_the_cache() {
    let folder = files::temporary();
    let cache: PathBuf = folder.join("cache");
    let settings = VideoSettings { cache: Some(cache.clone()), ..frames(3) };
    let file = folder.join("a.gif");
    fs::write(&file, gif(9)).unwrap();
    let media = [Media::Video(Video::Clip(Clip::File(file.clone())))];
    let first = clips(&settings);
    assert_eq!(first.record(&Clip::File(file.clone())).unwrap().indices, [0, 4, 8]);
    let kept: Vec<_> = fs::read_dir(&cache).unwrap().collect();
    assert_eq!(kept.len(), 1);
    // What would decode refuses it: the cache alone answers.
    let mut settings = settings;
    settings.reading.limits.max_frames = 1;
    let frames = clips(&settings).show(&media, true).unwrap().into_owned();
    assert_eq!(burn_vlm_data::sample::pictures(&frames).count(), 3);
}

#[test]
fn inspection_decodes_videos_and_shows_strips() {
    let folder = files::temporary();
    let config = write_json(
        &folder,
        &json!([
            {"video": "a.gif", "conversations": turns("<video>\nWhat?")},
            {"video": "cut.gif", "conversations": turns("<video>\nWhat?")},
        ]),
    );
    let source: Arc<dyn Source> = Arc::new(FileSource::open(config).unwrap());
    let options = InspectOptions { videos: frames(3), ..InspectOptions::default() };
    let found = inspect(&source, None, options.clone()).unwrap();
    assert_eq!((found.usable(), found.videos.get(&1)), (1, Some(&1)));
    let [skip] = found.skipped.as_slice() else { panic!("{:?}", found.skipped) };
    assert!(skip.reason == SkipKind::UnreadableVideo && skip.detail.contains("cut.gif"), "{skip}");
    let videos = frames(3);
    let shown = PageOptions { reader: None, tower: None, videos: &videos, samples: 2, seed: 0 };
    let html = page(&*source, &found, shown);
    assert_eq!(html.matches("title=\"frame ").count(), 3, "0, 4 and 8");
    assert!(html.contains("3 of 9 frames by linspace, 24 x 16"), "{html}");
    // Without decoding the file is only looked for.
    assert_eq!(inspect(&source, None, InspectOptions { decode: false, ..options }).unwrap().usable(), 2);
}

/// What can be shown in part alone is said where the figures are, each file once. Where ffmpeg is not there, nothing makes such a clip.
#[test]
fn inspection_names_videos_that_are_not_whole() {
    let folder = files::temporary();
    let whole = folder.join("whole.mkv");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=96x64:rate=10:duration=6", "-pix_fmt", "yuv420p"])
        .arg(&whole)
        .status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: ffmpeg is not there");
        return;
    }
    let bytes = fs::read(&whole).unwrap();
    fs::create_dir_all(folder.join("clips")).unwrap();
    let mut records = vec![json!({"video": "a.gif", "conversations": turns("<video>\nWhat?")})];
    for number in 0..5 {
        // Each has other bytes: the same are one video.
        let cut = &bytes[..bytes.len() * (5 + number % 4) / 10];
        fs::write(folder.join(format!("clips/cut{number}.mkv")), cut).unwrap();
        let record = json!({"video": format!("cut{number}.mkv"), "conversations": turns("<video>\nWhat?")});
        records.extend([record.clone(), record]);
    }
    let source: Arc<dyn Source> = Arc::new(FileSource::open(write_json(&folder, &json!(records))).unwrap());
    let found = inspect(&source, None, InspectOptions { videos: frames(3), ..InspectOptions::default() }).unwrap();
    let (count, named) = found.not_whole.clone().unwrap();
    assert_eq!((found.usable(), count, named.len()), (11, 4, 3));
    assert!(named[0].contains("cut0.mkv: ") && named[0].contains("ffprobe said: "), "{named:?}");
    let said = found.to_string();
    let line = said.lines().find(|line| line.contains("not whole")).unwrap();
    assert!(
        line.trim_start().starts_with("warning") && line.contains("4 videos") && line.ends_with("and 1 more"),
        "{line}"
    );
}

/// A file, a list of more frames than are shown and one of fewer, and a folder of frames.
fn files_and_lists(folder: &Path) -> Arc<dyn Source> {
    for n in 0..5 {
        let path = folder.join(format!("clips/frames/{n}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_pixel(24, 16, [level(n); 3].into()).save(path).unwrap();
    }
    let listed = |frames: usize| (0..frames).map(|n| format!("frames/{n}.png")).collect::<Vec<_>>();
    let record = |video: Value| json!({"video": video, "conversations": turns("<video>\nWhat?")});
    let records = [json!("a.gif"), json!(listed(4)), json!(listed(2)), json!("frames")].map(record);
    Arc::new(FileSource::open(write_json(folder, &json!(records))).unwrap())
}

/// Inspection counts the tokens that training makes of a sample, whether the model takes videos or is shown their frames as pictures.
#[test]
fn tokens_of_videos_are_those_of_training() {
    let folder = files::temporary();
    let source = files_and_lists(&folder);
    for (model, videos) in
        [("onevision_siglip_gemma2_video4", true), ("llava_clip_qwen2", false), ("llava_next_clip_qwen2", false)]
    {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(model);
        let processor = Arc::new(Processor::from_folder(&model).unwrap());
        assert_eq!(processor.video_token_id().is_some(), videos);
        // Where pictures are tiled, a frame of a file is one view and the newline behind it; those of lists and folders are pictures, whose
        // tokens their sizes say.
        let tiled = !videos && processor.visual_tokens().unwrap().tiling.is_some();
        let view = processor.visual_tokens().unwrap().view + usize::from(tiled);
        assert_eq!(processor.num_frame_tokens().unwrap(), view + usize::from(videos));
        let frames_of = processor.frame_processor().unwrap();
        let mut maker = SampleMaker::new(
            processor.clone(),
            PromptTemplate::Chat,
            EncodeOptions::default(),
            Batching::default(),
            usize::MAX,
        );
        maker.clips = Some(Clips::new(&frames(3), frames_of, Path::new("")).unwrap());
        let reader = Arc::new(Reader::from_folder(&model, MaskStyle::AnswersOnly, None).unwrap());
        let mut all = 0;
        for record in (0..source.len()).filter(|record| !tiled || *record == 0) {
            let sample = source.get(record).unwrap();
            let shown = if record == 2 { 2 } else { 3 };
            let read = reader.encode_frames(&sample, &[shown]).unwrap();
            assert_eq!(read.ids, maker.make(&sample, None).unwrap().encoded.ids, "record {record}");
            let visual: usize = reader
                .segments(&sample, &[shown])
                .unwrap()
                .iter()
                .filter(|segment| segment.visual)
                .map(|segment| segment.text.parse::<usize>().unwrap())
                .sum();
            assert_eq!(visual, if videos { processor.num_video_tokens(shown) } else { shown * view }, "{record}");
            all += read.ids.len() as u64;
        }
        let options = InspectOptions { videos: frames(3), ..InspectOptions::default() };
        if !tiled {
            assert_eq!(inspect(&source, Some(&reader), options).unwrap().tokens.unwrap().sum(), all);
        }
        let words = reader.video_tokens(3);
        let count = if videos { processor.num_video_tokens(3) } else { 3 * view };
        assert!(words.starts_with(&format!("{count} tokens")) && words.contains("pictures") != videos, "{words}");
    }
}

/// Of nine frames in 0.9 s every second is chosen for 5 a second, with and without decoding; what is counted is what is shown.
#[test]
fn inspection_counts_by_other_rules() {
    let folder = files::temporary();
    let config = write_json(&folder, &json!([{"video": "a.gif", "conversations": turns("<video>\nWhat?")}]));
    let source: Arc<dyn Source> = Arc::new(FileSource::open(config).unwrap());
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/llava_next_clip_qwen2");
    let reader = Arc::new(Reader::from_folder(&model, MaskStyle::AnswersOnly, None).unwrap());
    let right = reader.encode_frames(&source.get(0).unwrap(), &[5]).unwrap().ids.len() as u64;
    let sampling = Sampling::Fps { fps: 5.0, upper_bound: Some(8), force: false };
    let videos = VideoSettings { sampling, ..VideoSettings::default() };
    for decode in [true, false] {
        let options = InspectOptions { decode, videos: videos.clone(), ..InspectOptions::default() };
        let found = inspect(&source, Some(&reader), options).unwrap();
        assert_eq!(found.tokens.as_ref().unwrap().sum(), right, "{decode}");
        let shown = PageOptions { reader: Some(&reader), tower: None, videos: &videos, samples: 1, seed: 0 };
        let html = page(&*source, &found, shown);
        let tokens = Processor::from_folder(&model).unwrap().num_frame_tokens().unwrap();
        assert!(html.contains("5 of 9 frames by fps"), "{html}");
        assert_eq!(html.matches(&format!(">{tokens} visual tokens<")).count(), 5, "{html}");
    }
    // What somebody says counts, and what limits the reading of files.
    let reader = Reader::from_folder(&model, MaskStyle::AnswersOnly, Some(7)).unwrap();
    assert!(reader.video_tokens(3).starts_with("21 tokens") && reader.note_of_pictures().is_none());
    let mut short = videos;
    short.reading.limits.max_frames = 8;
    let options = InspectOptions { videos: short, ..InspectOptions::default() };
    let found = inspect(&source, None, options).unwrap();
    assert!(found.skipped[0].detail.contains("more than 8 frames"), "{:?}", found.skipped);
}

/// A model of tiled pictures that takes no videos sees a frame once and whole, not cut to its middle, and not once more in tiles.
#[test]
fn frames_are_one_view_of_a_tiled_model() {
    let folder = files::temporary();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/llava_next_clip_qwen2");
    let processor = Arc::new(Processor::from_folder(&model).unwrap());
    let image = RgbImage::from_fn(90, 30, |x, _| if x < 30 { [255, 0, 0] } else { [0, 0, 255] }.into());
    let clip = folder.join("clip");
    fs::create_dir(&clip).unwrap();
    (0..2).for_each(|number| image.save(clip.join(format!("{number}.png"))).unwrap());
    let clips = Clips::new(&frames(2), processor.frame_processor().unwrap(), Path::new("")).unwrap();
    let media = [Media::Video(Video::Clip(Clip::File(clip)))];
    let shown = clips.show(&media, true).unwrap().into_owned();
    let frame = burn_vlm_data::sample::pictures(&shown).next().unwrap();
    let resized = frame.decode(&Default::default()).unwrap();
    let (width, height) = resized.dimensions();
    let red = |x: u32| resized.get_pixel(x, height / 2).0[0] > 200;
    assert!(width == height && red(0) && red(width / 3 - 2) && !red(width / 3 + 2), "{width} x {height}");
    let processed = processor.process_picture(frame, 2).unwrap();
    assert_eq!((processed.tiles, processed.height, processed.width), (1, height as usize, width as usize));
    assert_eq!(processor.num_image_tokens(&processed), processor.num_frame_tokens().unwrap());
    // A picture like it is tiled.
    let picture = processor.process_image(burn_vlm_data::processor::PictureInput::Rgb(&image), 2).unwrap();
    assert!(picture.tiles > 1 && processor.num_image_tokens(&picture) > processor.num_image_tokens(&processed));
}

/// Frames in a folder and listed ones are one video each, in the counts and on the page.
#[test]
fn lists_of_frames_are_videos_to_inspection() {
    let folder = files::temporary();
    let source = files_and_lists(&folder);
    let options = InspectOptions { videos: frames(3), ..InspectOptions::default() };
    let found = inspect(&source, None, options.clone()).unwrap();
    assert_eq!((found.videos, found.pictures), ([(1, 4)].into(), [(0, 4)].into()));
    let found = inspect(&source, None, options).unwrap();
    let videos = frames(3);
    let shown = PageOptions { reader: None, tower: None, videos: &videos, samples: 4, seed: 0 };
    let html = page(&*source, &found, shown);
    assert_eq!(html.matches("class=\"strip\"").count(), 4, "{html}");
    assert_eq!(html.matches("title=\"frame ").count(), 3 + 3 + 2 + 3);
    for caption in ["3 of 4 listed frames, 24 x 16", "2 of 2 listed frames", "3 of 5 listed frames"] {
        assert!(html.contains(caption), "{caption}: {html}");
    }
}

//! The video processor against transformers 5.24.0, and conversations with pictures and videos against its ids, where the fixtures are there.

use burn_vlm_base::onevision::{FrameTokens, NewlinePosition, PoolMode};
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Role, Turn, VIDEO_PLACEHOLDER};
use burn_vlm_data::encode::{EncodeOptions, VisualCounts};
use burn_vlm_data::image::{DecodeLimits, ImageProcessor, ImageProcessorConfig, RgbImage, decode, to_rgb};
use burn_vlm_data::processor::{PictureInput, Processor, ProcessorError};
use burn_vlm_data::video::{
    FrameCache, ProcessedVideo, Sampling, VideoError, VideoOptions, VideoProcessor, VideoProcessorConfig, VideoReader,
    VideoRecord,
};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Of values from -1 to 1: rounding of the last bit, in another order of operations.
const ROUNDING: f32 = 1e-6;
/// One level of 255 after normalising: torchvision's resize rounds otherwise than Pillow's, after which ours is made.
const LEVEL: f32 = 2.0 / 255.0 + ROUNDING;
/// How far torchvision's values are from Pillow's on average.
const MEAN: f32 = 2e-5;

fn fixtures(name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures").join(name);
    if !folder.is_dir() {
        println!("skipped: the fixture {name} is not there");
        return None;
    }
    Some(folder)
}

struct Tensors(Vec<u8>);

impl Tensors {
    fn of(folder: &Path) -> Self {
        Self(std::fs::read(folder.join("expected.safetensors")).unwrap())
    }

    fn bytes(&self, name: &str) -> (Vec<usize>, Vec<u8>) {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let view = tensors.tensor(name).unwrap();
        (view.shape().to_vec(), view.data().to_vec())
    }

    fn floats(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let (shape, bytes) = self.bytes(name);
        (shape, bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect())
    }

    fn integers(&self, name: &str) -> (Vec<usize>, Vec<i64>) {
        let (shape, bytes) = self.bytes(name);
        (shape, bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect())
    }
}

/// The largest and the mean difference.
fn difference(a: &[f32], b: &[f32]) -> (f32, f32) {
    assert_eq!(a.len(), b.len());
    let all = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    (all.clone().fold(0.0, f32::max), all.sum::<f32>() / a.len() as f32)
}

#[test]
fn frames_become_the_librarys_pixels() {
    let Some(folder) = fixtures("proc_onevision_video_48") else { return };
    let tensors = Tensors::of(&folder);
    let (shape, bytes) = tensors.bytes("frames");
    let [_, height, width, 3] = shape[..] else { panic!("{shape:?}") };
    let frames: Vec<RgbImage> = bytes
        .chunks_exact(3 * height * width)
        .map(|frame| RgbImage::from_raw(width as u32, height as u32, frame.to_vec()).unwrap())
        .collect();
    let processor = VideoProcessor::from_folder(&folder).unwrap();
    let pixels = processor.process_frames(&frames).unwrap();
    let (shape, right) = tensors.floats("pil.pixel_values_videos");
    assert_eq!([pixels.frames, 3, pixels.height, pixels.width][..], shape);
    let (largest, _) = difference(&pixels.data, &right);
    assert!(largest <= ROUNDING, "{largest} from Pillow");
    let (_, right) = tensors.floats("pixel_values_videos");
    let (far, mean) = difference(&pixels.data, &right);
    assert!(far <= LEVEL && mean <= MEAN, "{far}, {mean} on average from torchvision");
    println!("{largest} from Pillow; {far}, {mean} on average, from torchvision");
    // The clip itself, where it can be read: the same frames, bit for bit.
    let clip = folder.join("../video/h264_bframes.mp4");
    let read = processor.process_path(&VideoReader::default(), clip, &Sampling::Linspace { frames: 8 }, None);
    match read {
        Ok((read, record)) => {
            let indices: Vec<i64> = record.indices.iter().map(|index| *index as i64).collect();
            assert_eq!(indices, tensors.integers("indices").1);
            assert!(read == pixels);
        }
        Err(error @ VideoError::NoProgram { .. }) => println!("the clip is skipped: {error}"),
        Err(error) => panic!("{error}"),
    }
}

/// A conversation of `expected.json` with its placeholders.
fn turns(messages: &Value) -> Vec<Turn> {
    let message = |message: &Value| {
        let mut text = String::new();
        for part in message["content"].as_array().unwrap() {
            match part["type"].as_str().unwrap() {
                "image" => text += &format!("{IMAGE_PLACEHOLDER}\n"),
                "video" => text += &format!("{VIDEO_PLACEHOLDER}\n"),
                _ => text += part["text"].as_str().unwrap(),
            }
        }
        let role = if message["role"] == "assistant" { Role::Assistant } else { Role::User };
        Turn { role, text }
    };
    messages.as_array().unwrap().iter().map(message).collect()
}

fn picture(folder: &Path, name: &str) -> (String, Vec<u8>) {
    let images = folder.join("../images");
    let path =
        ["png", "jpg", "webp"].iter().map(|ending| images.join(name).with_extension(ending)).find(|p| p.is_file());
    (name.to_owned(), std::fs::read(path.unwrap()).unwrap())
}

/// The crops of a picture that are the frames of a video.
fn frames(folder: &Path, video: &Value, background: Option<[u8; 3]>) -> Vec<RgbImage> {
    let (name, bytes) = picture(folder, video["image"].as_str().unwrap());
    let whole = to_rgb(decode(&name, &bytes, &DecodeLimits::default()).unwrap(), background);
    let crop = |sides: &Value| {
        let side = |at: usize| u32::try_from(sides[at].as_u64().unwrap()).unwrap();
        let (left, top) = (side(0), side(1));
        image::imageops::crop_imm(&whole, left, top, side(2) - left, side(3) - top).to_image()
    };
    video["crops"].as_array().unwrap().iter().map(crop).collect()
}

/// Text, pictures and videos in any order: ids, counts and pixels.
#[test]
fn conversations_with_videos_have_the_librarys_ids() {
    for name in ["onevision_siglip_gemma2", "onevision_siglip_qwen2"] {
        let Some(folder) = fixtures(name) else { continue };
        let processor = Processor::from_folder(&folder).unwrap();
        let tensors = Tensors::of(&folder);
        let expected: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
        assert_eq!(processor.video_token_id().map(u64::from), expected["video_token_id"].as_u64());
        let background = processor.image_processor().unwrap().config().background;
        for (case, what) in expected["cases"].as_object().unwrap() {
            let (mut images_seen, mut videos_seen) = (Vec::new(), Vec::new());
            let (shape, ids) = tensors.integers(&format!("{case}.input_ids"));
            let (_, mask) = tensors.integers(&format!("{case}.attention_mask"));
            let mut pixels = Vec::new();
            for (row, messages) in what["conversations"].as_array().unwrap().iter().enumerate() {
                let files: Vec<(String, Vec<u8>)> = what["images"][row]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|name| picture(&folder, name.as_str().unwrap()))
                    .collect();
                let inputs: Vec<PictureInput<'_>> =
                    files.iter().map(|(name, bytes)| PictureInput::File { name, bytes }).collect();
                let images: Vec<usize> = processor
                    .process_images(&inputs)
                    .unwrap()
                    .iter()
                    .map(|image| processor.num_image_tokens(image))
                    .collect();
                let videos: Vec<Vec<RgbImage>> = what["videos"][row]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|video| frames(&folder, video, background))
                    .collect();
                for frames in &videos {
                    pixels.extend(processor.video_processor().unwrap().process_frames(frames).unwrap().data);
                }
                let counts: Vec<usize> = videos.iter().map(|frames| processor.num_video_tokens(frames.len())).collect();
                let prompt = processor
                    .encode_media_prompt(&turns(messages), VisualCounts { images: &images, videos: &counts })
                    .unwrap();
                let at = row * shape[1]..(row + 1) * shape[1];
                let right: Vec<u32> = ids[at.clone()]
                    .iter()
                    .zip(&mask[at])
                    .filter(|(_, mask)| **mask == 1)
                    .map(|(id, _)| u32::try_from(*id).unwrap())
                    .collect();
                assert_eq!(prompt, right, "{name}: {case}, row {row}");
                images_seen.extend(images);
                videos_seen.extend(counts);
            }
            let counts = |key: &str| -> Vec<usize> {
                what[key]
                    .as_array()
                    .map_or(Vec::new(), |all| all.iter().map(|n| n.as_u64().unwrap() as usize).collect())
            };
            assert_eq!(images_seen, counts("num_image_tokens"), "{name}: {case}");
            assert_eq!(videos_seen, counts("num_video_tokens"), "{name}: {case}");
            if !pixels.is_empty() {
                let (far, mean) = difference(&pixels, &tensors.floats(&format!("{case}.pixel_values_videos")).1);
                assert!(far <= LEVEL && mean <= MEAN * 10.0, "{name}: {case}: {far}, {mean}");
            }
            println!("{name}: {case}: {} pictures, {} videos", images_seen.len(), videos_seen.len());
        }
    }
}

/// The template for Qwen2 puts a space behind the role of an answer, but not behind that of a prompt for one: answers are found all the same.
#[test]
fn answers_behind_another_header_than_the_prompts() {
    let Some(folder) = fixtures("onevision_siglip_qwen2") else { return };
    let processor = Processor::from_folder(&folder).unwrap();
    let turns = [Turn::user("<video>\nIs it there?"), Turn::assistant("yes"), Turn::user("No?"), Turn::assistant("no")];
    let counts = VisualCounts { images: &[], videos: &[2] };
    let encoded = processor.encode_media(&turns, counts, &EncodeOptions::default()).unwrap();
    let decoded = |ids: &[u32]| processor.tokenizer().decode(ids, false).unwrap();
    let text = decoded(&encoded.ids);
    assert!(text.contains("<|im_start|>assistant \nyes<|im_end|>"), "{text}");
    let trained: Vec<u32> = encoded.labels.iter().filter_map(|label| u32::try_from(*label).ok()).collect();
    assert_eq!(decoded(&trained), "yes<|im_end|>no<|im_end|>");
}

/// What is trained of a conversation with a video: the answer alone; and the prompt is its beginning.
#[test]
fn videos_are_not_trained_and_errors_are_named() {
    let Some(folder) = fixtures("onevision_siglip_gemma2") else { return };
    let processor = Processor::from_folder(&folder).unwrap();
    let turns = [Turn::user("<video>\n<image>\nIs it there?"), Turn::assistant("yes")];
    let counts = VisualCounts { images: &[3], videos: &[5] };
    let options = EncodeOptions { user_turns: true, ..EncodeOptions::default() };
    let encoded = processor.encode_media(&turns, counts, &options).unwrap();
    let prompt = processor.encode_media_prompt(&turns[..1], counts).unwrap();
    assert_eq!(encoded.ids[..prompt.len()], prompt);
    assert!(encoded.labels[..prompt.len()].iter().all(|label| *label == -100) && encoded.trained() > 0);
    let count = |id: Option<u32>| encoded.ids.iter().filter(|other| Some(**other) == id).count();
    assert_eq!((count(processor.video_token_id()), count(processor.image_token_id())), (5, 3));
    let words = processor.tokenizer().decode(&encoded.ids[encoded.user_turns[0].clone()], false).unwrap();
    assert!(words.ends_with("Is it there?"), "{words}");
    let error = processor.encode(&turns, &[3], &options).unwrap_err().to_string();
    assert!(error.contains("1 video placeholders") && error.contains("for 0 videos"), "{error}");
    let limit = EncodeOptions { max_tokens: Some(6), truncation: burn_vlm_data::encode::Truncation::Count, ..options };
    let error = processor.encode_media(&turns, counts, &limit).unwrap_err().to_string();
    assert!(error.contains("would cut a picture"), "{error}");
}

/// Counts are known before a file is opened: 32 frames of 27 x 27 tokens, by each way of pooling and of ending rows.
#[test]
fn counts_of_videos() {
    let tokens = |mode, newline| FrameTokens { side: 27, mode, stride: 2, newline }.of_video(32);
    let frames = Sampling::Linspace { frames: 32 }.frames().unwrap();
    assert_eq!(frames, 32);
    use NewlinePosition::{Frame, Grid, NoToken, OneToken};
    let counts = [OneToken, NoToken, Frame, Grid].map(|newline| tokens(PoolMode::Bilinear, newline));
    assert_eq!(counts, [32 * 196 + 1, 32 * 196, 32 * 197, 32 * 14 * 15]);
    let counts = [OneToken, NoToken, Frame, Grid].map(|newline| tokens(PoolMode::Average, newline));
    assert_eq!(counts, [32 * 169 + 1, 32 * 169, 32 * 170, 32 * 13 * 14]);
}

/// Keys of the folder that are wrong are named.
#[test]
fn folders_that_are_wrong() {
    let Some(fixture) = fixtures("onevision_siglip_qwen2") else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "preprocessor_config.json",
        "processor_config.json",
        "video_preprocessor_config.json",
    ] {
        std::fs::write(folder.path().join(name), std::fs::read(fixture.join(name)).unwrap()).unwrap();
    }
    let with = |key: &str, value: Value| {
        let path = folder.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(fixture.join("config.json")).unwrap()).unwrap();
        config[key] = value;
        std::fs::write(&path, config.to_string()).unwrap();
        Processor::from_folder(folder.path())
    };
    let error = |key: &str, value: Value| {
        let error: ProcessorError = with(key, value).unwrap_err();
        assert!(error.to_string().contains(key) && error.to_string().contains("config.json"), "{error}");
    };
    error("video_token_index", 3.into());
    error("vision_aspect_ratio", "anyres_max_0".into());
    error("mm_newline_position", "row".into());
    error("mm_spatial_pool_mode", "median".into());
    error("mm_spatial_pool_stride", 99.into());
    error("tile_every_image", "yes".into());
    // Frames that are no squares have no square of tokens.
    let path = folder.path().join("video_preprocessor_config.json");
    let square = std::fs::read_to_string(&path).unwrap();
    let mut config: Value = serde_json::from_str(&square).unwrap();
    config["size"]["width"] = (2 * config["size"]["height"].as_u64().unwrap()).into();
    std::fs::write(&path, config.to_string()).unwrap();
    let found = with("tile_every_image", true.into()).unwrap_err().to_string();
    assert!(found.contains("as high as wide") && found.contains(&folder.path().display().to_string()), "{found}");
    std::fs::write(&path, square).unwrap();
    // As training code has it: a newline behind each row of each frame.
    let trained = with("mm_newline_position", "grid".into()).unwrap();
    let tokens = trained.frame_tokens().unwrap();
    let side = tokens.pooled_side();
    assert_eq!(trained.num_video_tokens(2), 2 * side * (side + 1));
    // Versions before 4.53 tile each of several pictures.
    let old = with("transformers_version", "4.51.3".into()).unwrap();
    assert!(!old.several_differ() && with("transformers_version", "4.53.0".into()).unwrap().several_differ());
}

/// Resizing and normalising in two steps is the image processor's one.
#[test]
fn frames_are_prepared_like_pictures() {
    let frame = RgbImage::from_fn(37, 21, |x, y| image::Rgb([(7 * x) as u8, (11 * y) as u8, (x * y) as u8]));
    let mut uncropped = ImageProcessorConfig::clip(40);
    uncropped.do_resize = false;
    for config in [ImageProcessorConfig::siglip(16), ImageProcessorConfig::clip(12), uncropped] {
        let right = ImageProcessor::new(config.clone()).unwrap().process(&frame).unwrap();
        let processor = VideoProcessor::new(VideoProcessorConfig::new(config).unwrap()).unwrap();
        let pixels = processor.process_frames(&[frame.clone(), frame.clone()]).unwrap();
        assert_eq!(pixels.data, [right.data.clone(), right.data].concat());
        assert_eq!((pixels.frames, pixels.height, pixels.width), (2, right.height, right.width));
    }
    let tiled = ImageProcessorConfig {
        image_grid_pinpoints: Some(vec![burn_vlm_data::image::GridPinpoint(16, 16)]),
        ..ImageProcessorConfig::siglip(16)
    };
    assert!(VideoProcessorConfig::new(tiled).unwrap_err().to_string().contains("not tiled"));
}

/// A folder of frames of one colour each.
fn folder_of_frames(folder: &Path, colours: &[u8]) {
    std::fs::create_dir_all(folder).unwrap();
    for (number, colour) in colours.iter().enumerate() {
        RgbImage::from_pixel(20, 10, image::Rgb([*colour; 3])).save(folder.join(format!("{number}.png"))).unwrap();
    }
}

fn cached(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn frames_are_kept_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (clip, place) = (folder.path().join("clip"), folder.path().join("cache"));
    folder_of_frames(&clip, &[10, 20, 30]);
    let cache = FrameCache::open(&place, 1 << 20).unwrap();
    let processor = VideoProcessor::new(VideoProcessorConfig::onevision(8).unwrap()).unwrap();
    let read = |rule: Sampling, options: VideoOptions, cache| {
        processor.process_path(&VideoReader::new(options), &clip, &rule, cache).unwrap()
    };
    let (rule, options) = (Sampling::Linspace { frames: 4 }, VideoOptions::default());
    let fresh = read(rule, options.clone(), None);
    assert_eq!(read(rule, options.clone(), Some(&cache)), fresh);
    assert_eq!(cached(&place).len(), 1);
    // What is there is not decoded again: another content under the same key would be another key.
    let kept = cached(&place).remove(0);
    let key = cache.key(&clip, &options, processor.config(), &rule).unwrap();
    assert_eq!(cache.get(&key).unwrap().record, fresh.1);
    assert_eq!(read(rule, options.clone(), Some(&cache)), fresh);
    // Another rule, ground, rate or content is another key.
    read(Sampling::Transformers5 { frames: 2 }, options.clone(), Some(&cache));
    read(rule, VideoOptions { background: [0; 3], ..options.clone() }, Some(&cache));
    read(rule, VideoOptions { folder_fps: Some(2.0), ..options.clone() }, Some(&cache));
    assert_eq!(cached(&place).len(), 4);
    folder_of_frames(&clip, &[11, 20, 30]);
    assert_ne!(read(rule, options.clone(), Some(&cache)).0, fresh.0);
    assert_eq!(cached(&place).len(), 5);
    // Damage is found, and what is damaged goes.
    let bytes = std::fs::read(&kept).unwrap();
    for at in [0, 30, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        std::fs::write(&kept, &damaged).unwrap();
        assert!(cache.get(&key).is_none() && !kept.exists(), "{at}");
    }
    std::fs::write(&kept, &bytes[..bytes.len() / 2]).unwrap();
    assert!(cache.get(&key).is_none());
    std::fs::write(&kept, &bytes).unwrap();
    assert_eq!(cache.get(&key).unwrap().record, fresh.1);
}

/// What docs/video.md shows.
fn chosen(model: &Path, clip: &Path) -> Result<(ProcessedVideo, VideoRecord), Box<dyn std::error::Error>> {
    let reader = VideoReader::default();
    let processor = VideoProcessor::from_folder(model)?;
    let rule = Sampling::Linspace { frames: 32 };
    let (pixels, record) = processor.process_path(&reader, clip, &rule, None)?;
    Ok((pixels, record))
}

#[test]
fn frames_are_chosen_by_a_models_folder() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip");
    folder_of_frames(&clip, &[10, 20, 30]);
    let config = VideoProcessorConfig::onevision(16).unwrap().to_json();
    std::fs::write(folder.path().join("video_preprocessor_config.json"), config.to_string()).unwrap();
    let (pixels, record) = chosen(folder.path(), &clip).unwrap();
    assert_eq!((pixels.frames, pixels.height, pixels.width), (32, 16, 16));
    assert_eq!((record.indices.len(), record.indices.first(), record.indices.last()), (32, Some(&0), Some(&2)));
}

#[test]
fn the_cache_has_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (clip, place) = (folder.path().join("clip"), folder.path().join("cache"));
    folder_of_frames(&clip, &[10, 20, 30, 40, 50, 60]);
    let processor = VideoProcessor::new(VideoProcessorConfig::onevision(16).unwrap()).unwrap();
    let reader = VideoReader::default();
    // A frame has 768 bytes; a file with two of them has less than 2,300, five are more than the limit allows.
    let cache = FrameCache::open(&place, 10_000).unwrap();
    let fill = |cache: &FrameCache, frames: usize| {
        processor.process_path(&reader, &clip, &Sampling::Transformers5 { frames }, Some(cache)).unwrap();
    };
    for frames in 1..=6 {
        fill(&cache, frames);
        let all: u64 = cached(&place).iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(all <= 10_000, "{all}");
    }
    assert!(!cached(&place).is_empty());
    // What was just written stays, and everything else goes for it: it has 95 hundredths of the limit.
    let file = |frames: usize| {
        let place = tempfile::tempdir().unwrap();
        fill(&FrameCache::open(place.path(), 10_000).unwrap(), frames);
        cached(place.path())[0].metadata().unwrap().len()
    };
    let tight = tempfile::tempdir().unwrap();
    let tight = FrameCache::open(tight.path(), file(6) * 100 / 95).unwrap();
    for frames in [1, 6] {
        fill(&tight, frames);
        let key = tight.key(&clip, reader.options(), processor.config(), &Sampling::Transformers5 { frames });
        assert!(tight.get(&key.unwrap()).is_some(), "{frames}");
    }
    // What alone is more than the limit is not kept, and a smaller limit holds at once.
    let small = FrameCache::open(&place, 1000).unwrap();
    assert!(cached(&place).is_empty());
    fill(&small, 6);
    assert!(cached(&place).is_empty());
}

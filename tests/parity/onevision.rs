//! LLaVA-OneVision: rows with text, pictures and videos in one batch. A folder has several batches (cases), each under its own prefix:
//! features of tower, connector and pooling, visual tokens, merged embeddings, hidden states, logits, loss, gradients, greedy
//! tokens; and the logits of other versions of transformers from the same weights (see [`crate::versions`]).

use std::collections::BTreeSet;

use burn::tensor::{Device, Tensor};
use burn_vlm::vlm::tiling::Size;
use burn_vlm::vlm::{Medium, VisualFeatures, Vlm, VlmInput};

use crate::common::{FORWARD_TOLERANCE, Fixture, autodiff_device, llava, rows};
use crate::versions::{POST_NORMED, model_of};
use crate::vlm::{batch, check_forward, check_generation, check_legacy, last_logits, loss};

/// What other versions compute.
pub const VERSIONS: &str = "other_versions.safetensors";
/// How sure the greedy tokens were.
const UNCHECKED: [&str; 1] = ["gen.margins"];
/// Keys of a case in expected.json that are looked at here or are the processor's.
const KEYS: [&str; 6] = ["conversations", "prompts", "images", "videos", "num_image_tokens", "num_video_tokens"];

/// A batch: what it shows, in the order of the places in the ids, and the pixels of all views.
struct Shown {
    media: Vec<Medium>,
    pixels: Tensor<4>,
    /// The pixels of the videos alone, `[videos, frames, channels, height, width]`.
    videos: Option<Tensor<5>>,
}

impl Shown {
    /// Pictures and videos lie in the folder apart; the ids before they were expanded say in which order they are shown.
    fn read(case: &Fixture, model: &Vlm, device: &Device) -> Self {
        let config = &model.config;
        let video_token = config.video_token_index.unwrap();
        let pictures = case.has("pixel_values").then(|| case.float_tensor::<5>("pixel_values", device));
        let videos = case.has("pixel_values_videos").then(|| case.float_tensor::<5>("pixel_values_videos", device));
        let sizes: Vec<Size> = if case.has("image_sizes") {
            case.ints("image_sizes").0.chunks(2).map(|size| (size[0] as usize, size[1] as usize)).collect()
        } else {
            Vec::new()
        };
        let (mut media, mut views, mut in_rows) = (Vec::new(), Vec::new(), Vec::new());
        let (mut picture, mut video) = (0, 0);
        for row in 0.. {
            let name = format!("raw_ids.{row}");
            if !case.has(&name) {
                break;
            }
            let ids = case.ints(&name).0;
            let in_row = ids.iter().filter(|id| **id == config.image_token_index).count();
            in_rows.extend((in_row > 0).then_some(in_row as i64));
            for id in ids {
                if id == config.image_token_index {
                    // The folder's numbers are those of transformers 5.
                    let tiles = if in_row == 1 { config.num_tiles(sizes[picture]).unwrap() } else { 1 };
                    media.push(Medium::Picture { tiles, size: sizes[picture] });
                    views.push(of_view(pictures.as_ref().unwrap(), picture, tiles));
                    picture += 1;
                } else if id == video_token {
                    let frames = videos.as_ref().unwrap().dims()[1];
                    media.push(Medium::Video { frames });
                    views.push(of_view(videos.as_ref().unwrap(), video, frames));
                    video += 1;
                }
            }
        }
        if case.has("batch_num_images") {
            case.check_exact("batch_num_images", &in_rows, &case.ints("batch_num_images").0);
        }
        let side = config.vision_config.image_size();
        let nothing = || Tensor::zeros([0, config.vision_config.shape().num_channels, side, side], device);
        let pixels = if views.is_empty() { nothing() } else { Tensor::cat(views, 0) };
        Self { media, pixels, videos }
    }

    fn features(&self, model: &Vlm) -> VisualFeatures {
        model.encode_media(self.pixels.clone(), &self.media).unwrap()
    }
}

/// The first views of one picture or video.
fn of_view(pixels: &Tensor<5>, index: usize, views: usize) -> Tensor<4> {
    let [_, _, channels, height, width] = pixels.dims();
    pixels.clone().narrow(0, index, 1).narrow(1, 0, views).reshape([views, channels, height, width])
}

/// Checks a folder.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let model = Vlm::load_pretrained(&fixture.dir, &device).unwrap();
    let names = fixture.names();
    let cases: BTreeSet<&str> = names.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    let expected = fixture.json_if("expected.json");
    for (at, name) in cases.iter().enumerate() {
        let case = fixture.part(&format!("{name}."));
        let expected = expected.as_ref().map(|expected| &expected["cases"][name]);
        check_case(&case, &model, expected, at == 0, &device);
        case.finish(&UNCHECKED);
    }
    match fixture.dir.join(VERSIONS).is_file() {
        true => check_versions(&fixture, &model, &device),
        false => fixture.skipped(VERSIONS),
    }
    fixture.finish(&[]);
}

fn check_case(case: &Fixture, model: &Vlm, expected: Option<&serde_json::Value>, first: bool, device: &Device) {
    if !case.asks("input_ids") || !case.asks("raw_ids.0") {
        return;
    }
    let shown = Shown::read(case, model, device);
    check_counts(case, model, &shown, expected);
    let features = match &shown.media[..] {
        [] => VisualFeatures::default(),
        _ => {
            check_features(case, model, &shown);
            shown.features(model)
        }
    };
    let (input, real) = batch(case, features.clone(), device);
    check_forward(case, model, &input, &real);
    if let Some(loss) = loss(case, model, &input, device) {
        case.check_gradients(model, loss.backward(), llava);
    }
    check_generation(case, model, &features, device);
    if first {
        check_legacy(case, model, &input, device);
    }
}

/// How many tokens pictures and videos have, and the ids with so many of each.
fn check_counts(case: &Fixture, model: &Vlm, shown: &Shown, expected: Option<&serde_json::Value>) {
    let config = &model.config;
    let packing = config.pack(&shown.media).unwrap();
    let (mut pictures, mut videos) = (Vec::new(), Vec::new());
    for (medium, &count) in shown.media.iter().zip(packing.image_tokens()) {
        match *medium {
            Medium::Picture { tiles, size } => {
                assert!(tiles == 1 || config.num_image_tokens(size).unwrap() == count, "{medium:?}");
                pictures.push(count);
            }
            Medium::Video { frames } => {
                assert_eq!(config.num_video_tokens(frames).unwrap(), count);
                videos.push(count);
            }
        }
    }
    if let Some(expected) = expected {
        case.check_keys("expected.json", expected, &KEYS);
        for (key, found) in [("num_image_tokens", &pictures), ("num_video_tokens", &videos)] {
            let numbers: Option<Vec<usize>> = serde_json::from_value(expected[key].clone()).unwrap();
            case.check_exact(key, found, &numbers.unwrap_or_default());
        }
    }
    let (ids, shape) = case.ints("input_ids");
    let expanded = rows(&ids, &case.ints("attention_mask").0, shape[1]);
    let mut counts = packing.image_tokens().iter();
    for (row, expanded) in expanded.iter().enumerate() {
        let raw = case.ints(&format!("raw_ids.{row}")).0;
        let times = |id: i64| if config.visual_ids().contains(&id) { *counts.next().unwrap() } else { 1 };
        let found: Vec<u32> = raw
            .iter()
            .zip(raw.iter().copied().map(times).collect::<Vec<_>>())
            .flat_map(|(id, times)| std::iter::repeat_n(*id as u32, times))
            .collect();
        case.check_exact(&format!("input_ids of row {row}"), &found, expanded);
    }
}

/// The videos' way through tower, connector and pooling, and what stands in each place.
fn check_features(case: &Fixture, model: &Vlm, shown: &Shown) {
    if let Some(videos) = shown.videos.clone() {
        let [count, frames, channels, height, width] = videos.dims();
        let views = || videos.clone().reshape([count * frames, channels, height, width]);
        let by_video = |tokens: Tensor<3>| {
            let [_, tokens_per_frame, width] = tokens.dims();
            tokens.reshape([count, frames, tokens_per_frame, width])
        };
        let features = model.encode_images(views()).unwrap();
        case.check_if("video_tower_features", FORWARD_TOLERANCE, || by_video(features.clone()));
        case.check_if("video_projected", FORWARD_TOLERANCE, || {
            by_video(model.connect(features.clone(), None).unwrap())
        });
        case.check_if("video_pooled", FORWARD_TOLERANCE, || by_video(model.encode_frames(views()).unwrap()));
    }
    // At once and a few views at a time.
    let at_once = VlmInput::new(Tensor::zeros([1, 1], &shown.pixels.device())).with_features(shown.features(model));
    let at_once = model.visual_tokens(&at_once).unwrap().unwrap();
    let by_chunks = model.media_tokens(shown.pixels.clone(), &shown.media).unwrap();
    let counts = by_chunks.packing.unwrap().image_tokens().to_vec();
    for tokens in [at_once, by_chunks.tokens.unwrap()] {
        let (mut first, mut pictures, mut videos) = (0, 0, 0);
        for (medium, &count) in shown.media.iter().zip(&counts) {
            let (kind, number) = match medium {
                Medium::Picture { .. } => ("image", &mut pictures),
                Medium::Video { .. } => ("video", &mut videos),
            };
            let own = tokens.clone().narrow(1, first, count).squeeze_dim::<2>(0);
            case.check_if(&format!("{kind}_features.{number}"), FORWARD_TOLERANCE, || own);
            first += count;
            *number += 1;
        }
        assert_eq!(first, tokens.dims()[1], "visual tokens of nothing");
    }
}

/// `v4.51.3.mixed.layer-1.logits_last8`: the version, the case, `vision_feature_layer`.
fn check_versions(fixture: &Fixture, loaded: &Vlm, device: &Device) {
    let versions = fixture.with_file(VERSIONS);
    for name in versions.names() {
        let parts: Vec<&str> = name.strip_prefix('v').unwrap_or_default().rsplitn(4, '.').collect();
        let [what, layer, case, version] = parts[..] else { continue };
        let layer = layer.strip_prefix("layer").and_then(|layer| layer.parse::<i64>().ok());
        let last = what.strip_prefix("logits_last").and_then(|last| last.parse::<usize>().ok());
        let (Some(layer), Some(last)) = (layer, last) else { continue };
        let inputs = fixture.part(&format!("{case}."));
        let shown = Shown::read(&inputs, loaded, device);
        let model = model_of(fixture, version, layer, device);
        let mut features = shown.features(&model);
        if version == POST_NORMED && layer == -1 {
            features.features = Some(model.vision_tower.forward(shown.pixels.clone()).unwrap().last_hidden_state);
        }
        let (input, _) = batch(&inputs, features, device);
        let logits = last_logits(&model, model.forward(&input).unwrap(), last);
        versions.check(&name, logits, FORWARD_TOLERANCE);
    }
    versions.finish(&[]);
}

//! What training, and the frames of a video, hold in memory, counted by the allocator of this program: every tensor of the CPU backend comes from it.
//!
//! The full-size head, with the resident set beside the count (24 GB are enough for either; the plain form needs over 8):
//!
//! ```text
//! cargo test --release --workspace --test memory -- --ignored --nocapture --test-threads 1
//! ```
//!
//! `HEAD_TOKENS`, `HEAD_VOCABULARY` and `HEAD_HIDDEN` change its size (4096, 256000, 64), `HEAD_FORM=plain` its form.
#![cfg(feature = "flex")]

#[path = "common/counting.rs"]
mod counting;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::init::Scope;
use burn_vlm::language::{AttentionInput, LanguageConfig, LanguageModel, LlamaConfig};
use burn_vlm::nn::{
    AdamWHyper, AttentionMask, AttentionOptions, HeadWeight, adamw_step, attention, composed, linear_cross_entropy,
};
use burn_vlm::vision::{SiglipVisionConfig, VisionConfig, VisionEncoder};
use burn_vlm::vlm::{Medium, Vlm, VlmConfig, VlmInput};
use counting::{LIVE, PEAK};

/// One measurement at a time: the counters are the whole program's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result, the bytes held at the highest point above those before, and the bytes still held.
fn measure<R>(run: impl FnOnce() -> R) -> (R, usize, usize) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = run();
    (result, PEAK.load(Relaxed).saturating_sub(before), LIVE.load(Relaxed).saturating_sub(before))
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn values<const D: usize>(shape: [usize; D], scale: f32) -> Tensor<D> {
    let count = shape.iter().product::<usize>();
    let value = |i: usize| ((i.wrapping_mul(2_654_435_761) >> 8) % 1999) as f32 / 999.0 - 1.0;
    let data: Vec<f32> = (0..count).map(|i| scale * value(i)).collect();
    Tensor::from_data(TensorData::new(data, shape), &device())
}

fn targets(tokens: usize, vocabulary: usize) -> Tensor<1, Int> {
    let data: Vec<i64> = (0..tokens).map(|i| (i * 7919 % vocabulary) as i64).collect();
    Tensor::from_data(TensorData::new(data, [tokens]), &device())
}

struct HeadRun {
    /// Above weight, gradient and both moments, in the forward and backward pass.
    of_loss: usize,
    /// The same, in the optimizer's update.
    of_update: usize,
    loss: f32,
}

/// Two steps of a head that is trained with AdamW, the peak of the second.
fn train_head(tokens: usize, vocabulary: usize, hidden: usize, plain: bool) -> HeadRun {
    let state = 4 * vocabulary * hidden * size_of::<f32>();
    let start = LIVE.load(Relaxed);
    let mut weight = values([vocabulary, hidden], 0.05);
    let zeros = || Tensor::<2>::zeros([vocabulary, hidden], &Device::flex());
    let (mut exp_avg, mut exp_avg_sq) = (zeros(), zeros());
    let mut last = HeadRun { of_loss: 0, of_update: 0, loss: 0.0 };
    for step in 1..=2 {
        let x = values([tokens, hidden], 1.0).require_grad();
        PEAK.store(LIVE.load(Relaxed), Relaxed);
        let leaf = Tensor::from_inner(weight.inner()).require_grad();
        let form = if plain { composed::linear_cross_entropy } else { linear_cross_entropy };
        let losses = form(x, HeadWeight::Table(leaf.clone()), targets(tokens, vocabulary), None);
        let loss = losses.mean();
        last.loss = loss.clone().into_scalar::<f32>();
        let mut grads = loss.backward();
        let grad = leaf.grad_remove(&mut grads).expect("the head trains");
        drop(grads);
        let of_loss = (PEAK.load(Relaxed) - start).saturating_sub(state);
        PEAK.store(LIVE.load(Relaxed), Relaxed);
        let hyper = AdamWHyper { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, step };
        let updated = adamw_step(leaf.inner(), grad, exp_avg, exp_avg_sq, &hyper);
        (weight, exp_avg, exp_avg_sq) = (Tensor::from_inner(updated.0), updated.1, updated.2);
        let of_update = (PEAK.load(Relaxed) - start).saturating_sub(state);
        last = HeadRun { of_loss, of_update, ..last };
    }
    last
}

#[test]
fn a_head_holds_a_chunk_of_its_logits() {
    let _alone = alone();
    // Logits of 256 MB where the chunks are of 64: small enough to run always, large enough to tell the forms apart although
    // burn-flex allocates the result of a product twice before it writes it, and each thread packs a megabyte.
    let (tokens, vocabulary, hidden) = (1024, 64 * 1024, 16);
    let logits = tokens * vocabulary * size_of::<f32>();
    let chunked = train_head(tokens, vocabulary, hidden, false);
    let plain = train_head(tokens, vocabulary, hidden, true);
    assert!((chunked.loss - plain.loss).abs() < 1e-4 * plain.loss, "{} {}", chunked.loss, plain.loss);
    assert!(chunked.of_loss < logits, "{} bytes for logits of {logits}", chunked.of_loss);
    assert!(plain.of_loss > logits, "the measurement sees what the plain form holds: {}", plain.of_loss);
}

fn env(key: &str, default: usize) -> usize {
    std::env::var(key).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// `VmHWM` of this process in bytes, where the system tells.
fn resident_peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? * 1024)
}

#[test]
#[ignore = "half a TFLOP and 1 GB: a minute on two idle cores"]
fn a_head_of_gemmas_size_trains_within_a_gigabyte() {
    let _alone = alone();
    let (tokens, vocabulary) = (env("HEAD_TOKENS", 4096), env("HEAD_VOCABULARY", 256_000));
    let hidden = env("HEAD_HIDDEN", 64);
    let plain = std::env::var("HEAD_FORM").is_ok_and(|form| form == "plain");
    let run = train_head(tokens, vocabulary, hidden, plain);
    let megabytes = |bytes: usize| bytes / 1_000_000;
    println!(
        "{tokens} tokens, {vocabulary} words, width {hidden}, plain {plain}: loss {}, {} MB (in the update {}) above {} MB of weight, \
         gradient and moments; VmHWM {} MB",
        run.loss,
        megabytes(run.of_loss),
        megabytes(run.of_update),
        megabytes(4 * vocabulary * hidden * size_of::<f32>()),
        resident_peak().map_or(0, megabytes),
    );
    assert!(run.loss.is_finite());
    if !plain {
        assert!(run.of_loss.max(run.of_update) < 1 << 30, "{} and {} bytes", run.of_loss, run.of_update);
    }
}

const WIDTH: usize = 64;
const TOKENS: usize = 256;
/// Pictures of the two measurements of a tower.
const FEW: usize = 4;
const MANY: usize = 16;

fn decoder() -> LanguageModel {
    let config = LlamaConfig {
        vocab_size: 64,
        hidden_size: WIDTH,
        intermediate_size: 4 * WIDTH,
        num_hidden_layers: 8,
        num_attention_heads: 4,
        max_position_embeddings: TOKENS,
        ..LlamaConfig::default()
    };
    let model = LanguageConfig::Llama(config).init_with(&Scope::new(1, &device())).unwrap();
    // Parameters are drawn when they are first read; not in the middle of a measurement.
    model.num_params();
    decoder_step(&model);
    model
}

fn decoder_step(model: &LanguageModel) -> f32 {
    let ids: Vec<i64> = (0..4 * TOKENS).map(|i| (i * 31 % 64) as i64).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [4, TOKENS]), &device());
    let hidden = model.forward(model.embed(ids), &AttentionInput::contiguous(), None).unwrap();
    let loss = hidden.powi_scalar(2).mean();
    let value = loss.clone().into_scalar::<f32>();
    drop(loss.backward());
    value
}

#[test]
fn checkpointed_layers_keep_their_inputs_only() {
    let _alone = alone();
    let mut model = decoder();
    let (plain_loss, plain, _) = measure(|| decoder_step(&model));
    model.set_gradient_checkpointing(true);
    let (loss, checkpointed, _) = measure(|| decoder_step(&model));
    println!("8 layers: {plain} bytes at most, {checkpointed} with gradient checkpointing");
    assert_eq!(loss, plain_loss);
    // Eight layers' activations against one layer's, eight inputs, and the same gradients on both sides.
    assert!(checkpointed * 2 < plain, "{checkpointed} against {plain} bytes");
}

#[test]
fn attention_holds_no_score_matrix() {
    let _alone = alone();
    let (heads, tokens, head_dim) = (4, 1024, 16);
    let scores = heads * tokens * tokens * size_of::<f32>();
    let run = |fused: bool| {
        let [q, k, v] = [1.0, 0.5, 0.2].map(|scale| values([1, tokens, heads, head_dim], scale).require_grad());
        let f = if fused { attention } else { composed::attention };
        let out = f(q, k, v, &AttentionMask::causal(), &AttentionOptions::new(head_dim));
        drop(out.sum().backward());
    };
    let (_, fused, _) = measure(|| run(true));
    let (_, plain, _) = measure(|| run(false));
    assert!(fused < scores / 4, "{fused} bytes, the scores are {scores}");
    assert!(plain > scores, "the measurement sees what the plain form holds: {plain}");
}

#[test]
fn a_frozen_tower_keeps_its_features_only() {
    let _alone = alone();
    let config = SiglipVisionConfig {
        hidden_size: WIDTH,
        intermediate_size: 4 * WIDTH,
        num_hidden_layers: 6,
        num_attention_heads: 4,
        image_size: 64,
        patch_size: 8,
        vision_use_head: false,
        ..SiglipVisionConfig::default()
    };
    let tower = VisionConfig::Siglip(config).init_with(&Scope::new(1, &device())).unwrap();
    let encode = |tower: &VisionEncoder, images: usize| {
        let pixels = values([images, 3, 64, 64], 1.0);
        tower.features(pixels, &[-1], false).unwrap().layers.swap_remove(0)
    };
    // Bytes kept besides the features themselves.
    let kept = |tower: &VisionEncoder, images: usize| {
        let (features, _, kept) = measure(|| encode(tower, images));
        (kept - features.dims().iter().product::<usize>() * size_of::<f32>(), features.is_tracked())
    };
    let growth = |tower: &VisionEncoder| {
        encode(tower, MANY);
        let ((few, _), (many, tracked)) = (kept(tower, FEW), kept(tower, MANY));
        (many.saturating_sub(few), tracked)
    };
    // What one layer's output grows by.
    let layer = (MANY - FEW) * 64 * WIDTH * size_of::<f32>();
    let (trained, tracked) = growth(&tower);
    assert!(tracked && trained > 10 * layer, "the measurement sees what a trained tower keeps: {trained}");
    let (frozen, tracked) = growth(&tower.no_grad());
    // Burn notes constants in its graph, too, but not their values.
    assert!(!tracked && frozen < layer / 4, "{frozen} bytes more kept for more pictures, a layer's output is {layer}");
}

/// A tower of 8 x 8 patches before a decoder as wide as the tower: a frame has 64 features and 16 visual tokens.
fn video_model() -> Vlm {
    let (hidden, heads) = (64, 2);
    let vision = SiglipVisionConfig {
        hidden_size: hidden,
        intermediate_size: 2 * hidden,
        num_hidden_layers: 2,
        num_attention_heads: heads,
        image_size: 64,
        patch_size: 8,
        vision_use_head: false,
        ..SiglipVisionConfig::default()
    };
    let text = LlamaConfig {
        vocab_size: 8,
        hidden_size: hidden,
        intermediate_size: hidden,
        num_hidden_layers: 1,
        num_attention_heads: heads,
        ..LlamaConfig::default()
    };
    let config = VlmConfig::new(VisionConfig::Siglip(vision), LanguageConfig::Llama(text), 7);
    config.for_videos(None).init(&Device::flex()).unwrap()
}

#[test]
fn frames_leave_nothing_but_their_tokens() {
    let _alone = alone();
    let model = video_model();
    let ids = Tensor::<2, Int>::zeros([1, 1], &Device::flex());
    let peak = |frames: usize, by_chunks: bool| {
        let pixels = values([frames, 3, 64, 64], 1.0).inner();
        let media = [Medium::Video { frames }];
        let run = || match by_chunks {
            true => model.media_tokens(pixels, &media).unwrap().tokens,
            false => {
                let features = model.encode_media(pixels, &media).unwrap();
                model.visual_tokens(&VlmInput::new(ids.clone()).with_features(features)).unwrap()
            }
        };
        measure(run).1
    };
    // Weights are drawn when they are first used.
    peak(1, true);
    let (few, many) = (16, 144);
    let tokens = (many - few) * 16 * 64 * size_of::<f32>();
    let growth = |by_chunks| peak(many, by_chunks).saturating_sub(peak(few, by_chunks));
    // The tokens in chunks and, for the time of a copy, in one piece; and where each stands.
    let (chunked, at_once) = (growth(true), growth(false));
    assert!(chunked < 9 * tokens / 4, "{chunked} bytes more for {tokens} bytes of tokens");
    println!("{chunked} bytes more in chunks, {at_once} at once, for {tokens} bytes of tokens");
    assert!(at_once > 8 * tokens, "the measurement sees what all frames at once hold: {at_once} for {tokens}");
}

//! Training steps on this machine: forward, backward and AdamW of the two models that the PyTorch reference times.
//!
//! `cargo bench --bench train_step` prints elements (tokens) a second; the lines before it say how many floating-point
//! operations a step has. Decoder: Gemma-2-shaped, d 256, 6 layers, 4 heads of 64, gated tanh-GELU 1024, vocabulary 8192,
//! tied head, batch 8 x 256. VLM: ViT 224/16 of width 192 and 6 layers before it, 196 visual and 64 text tokens, batch 8,
//! logits at the text positions only. The machine must be idle for a figure worth quoting.

use std::hint::black_box;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::language::{AttentionInput, Gemma2Config, LanguageConfig, LanguageModel};
use burn_vlm::vision::{SiglipVisionConfig, VisionConfig};
use burn_vlm::vlm::{FeatureLayer, SelectStrategy, Vlm, VlmConfig, VlmInput};
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::optim::{AdamW, AdamWConfig, LearningRates};
use criterion::{Criterion, Throughput, criterion_group};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 8;
const VOCAB: usize = 8192;
const TEXT: usize = 256;
const VLM_TEXT: usize = 64;
const PATCHES: usize = 196;

fn decoder_config() -> Gemma2Config {
    Gemma2Config {
        vocab_size: VOCAB,
        hidden_size: 256,
        intermediate_size: 1024,
        num_hidden_layers: 6,
        num_attention_heads: 4,
        num_key_value_heads: 4,
        head_dim: 64,
        query_pre_attn_scalar: 64.0,
        attn_logit_softcapping: None,
        final_logit_softcapping: None,
        ..Gemma2Config::default()
    }
}

fn ids(count: usize) -> Vec<i64> {
    (0..count).map(|i| ((i * 2_654_435_761) >> 7) as i64 % VOCAB as i64).collect()
}

fn int<const D: usize>(values: Vec<i64>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// One step of any model: gradients of a summed loss over `count` targets, then AdamW.
fn step<M: Module>(model: M, loss: Tensor<1>, count: usize, optimizer: &mut AdamW, rates: &LearningRates) -> M {
    let grads = GradientsParams::from_grads((loss / count as f64).backward(), &model);
    optimizer.step(model, grads, rates, 1.0, 1.0)
}

fn rates() -> LearningRates {
    LearningRates::new(&[(".*".to_string(), 1e-4)].into()).expect("a valid pattern")
}

fn decoder(c: &mut Criterion) {
    let device = choose(DeviceChoice::Auto).expect("a device").device.autodiff();
    let config = LanguageConfig::Gemma2(decoder_config());
    let mut model: Option<LanguageModel> = Some(rates().apply(config.init(&device).expect("a valid config")));
    let (mut optimizer, rates) = (AdamW::new(AdamWConfig::default()), rates());
    let tokens = BATCH * TEXT;
    let body: usize = 6 * (4 * 256 * 256 + 3 * 256 * 1024) + VOCAB * 256;
    let attention = 4 * BATCH * 4 * TEXT * TEXT * 64 * 6;
    println!("decoder: {:.1} GFLOP a step", (6 * body * tokens + 3 * attention) as f64 / 1e9);
    let mut group = c.benchmark_group("train_step");
    group.sample_size(10).throughput(Throughput::Elements(tokens as u64));
    group.bench_function("decoder", |bencher| {
        bencher.iter(|| {
            let current = model.take().expect("the model is put back after each step");
            let embeds = current.embed(int(ids(tokens), [BATCH, TEXT], &device));
            let hidden = current.forward(embeds, &AttentionInput::contiguous(), None).expect("a valid batch");
            let rows = int((0..tokens as i64).collect(), [tokens], &device);
            let losses = current.target_losses(hidden, rows, int(ids(tokens), [tokens], &device));
            model = Some(step(current, losses.sum(), tokens, &mut optimizer, &rates));
        });
    });
    group.finish();
}

fn vlm(c: &mut Criterion) {
    let device = choose(DeviceChoice::Auto).expect("a device").device.autodiff();
    let vision = SiglipVisionConfig {
        hidden_size: 192,
        intermediate_size: 768,
        num_hidden_layers: 6,
        num_attention_heads: 3,
        image_size: 224,
        patch_size: 16,
        vision_use_head: false,
        ..SiglipVisionConfig::default()
    };
    let config = VlmConfig {
        vision_feature_layer: FeatureLayer::One(-1),
        vision_feature_select_strategy: SelectStrategy::Full,
        ..VlmConfig::new(VisionConfig::Siglip(vision), LanguageConfig::Gemma2(decoder_config()), 3)
    };
    let mut model: Option<Vlm> = Some(rates().apply(config.init(&device).expect("a valid config")));
    let (mut optimizer, rates) = (AdamW::new(AdamWConfig::default()), rates());
    let width = PATCHES + VLM_TEXT;
    let row = |r: usize| {
        (0..PATCHES).map(|_| 3).chain(ids(VLM_TEXT * (r + 1)).into_iter().skip(VLM_TEXT * r).map(|id| id.max(4)))
    };
    let text: Vec<i64> = (0..BATCH).flat_map(row).collect();
    let images: Vec<i64> = (0i64..).zip(&text).filter(|(_, id)| **id == 3).map(|(at, _)| at).collect();
    let targets: Vec<i64> =
        (0..BATCH).flat_map(|r| (PATCHES - 1..width - 1).map(move |t| (r * width + t) as i64)).collect();
    let pixels: Vec<f32> = (0..BATCH * 3 * 224 * 224).map(|i| (i % 255) as f32 / 127.5 - 1.0).collect();
    let mut group = c.benchmark_group("train_step");
    group.sample_size(10).throughput(Throughput::Elements((BATCH * width) as u64));
    group.bench_function("tiny_vlm", |bencher| {
        bencher.iter(|| {
            let current = model.take().expect("the model is put back after each step");
            let pixels = Tensor::<4>::from_data(TensorData::new(pixels.clone(), [BATCH, 3, 224, 224]), &device);
            let input = VlmInput {
                ids: int(text.clone(), [BATCH, width], &device),
                features: Some(current.encode_images(black_box(pixels)).expect("pictures of the right size")),
                packing: None,
                tokens: None,
                image_positions: Some(int(images.clone(), [images.len()], &device)),
                routing_text: None,
                noise_seed: None,
                attention: AttentionInput::contiguous(),
            };
            let count = targets.len();
            let rows = int(targets.clone(), [count], &device);
            let losses = current.target_losses(&input, rows, int(ids(count), [count], &device)).expect("a valid batch");
            model = Some(step(current, losses.sum(), count, &mut optimizer, &rates));
        });
    });
    group.finish();
}

criterion_group!(benches, decoder, vlm);

/// On a thread of a pool, as the programs of this library compute.
fn main() {
    rayon::ThreadPoolBuilder::new().build().expect("threads").install(benches);
    Criterion::default().configure_from_args().final_summary();
}

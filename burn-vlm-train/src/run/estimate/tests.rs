//! Hand-worked operations and bytes.

use burn_vlm::language::{Gemma2Config, LanguageConfig, LlamaConfig};
use burn_vlm::vision::{SiglipVisionConfig, VisionConfig};
use burn_vlm::vlm::{FeatureLayer, VlmConfig, VlmType};

use super::flops::{self, Trained};
use super::samples::{Shown, corpus_tiles};
use super::{MicroBatch, SampleEstimate, memory};
use crate::optim::LearningRates;
use crate::params::ParamInfo;
use crate::recipe::{ComputeRecipe, ObjectiveKind, StageRecipe};

/// Sums of products of numbers below 2^53 in f64: exact, but for the order of additions.
const ROUNDING: f64 = 1e-12;

/// What a stage must say beside its data.
const STAGE: &str = "objective = 'vlm'\nsteps = 1\nbatch = 2\ntrain = { a = 1e-3 }\n";

fn config(language: LanguageConfig) -> VlmConfig {
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
    VlmConfig {
        vision_feature_layer: FeatureLayer::One(-1),
        ..VlmConfig::new(VisionConfig::Siglip(vision), language, 3)
    }
}

/// The decoder of `benches/train_step.rs`.
fn decoder() -> LanguageConfig {
    LanguageConfig::Gemma2(Gemma2Config {
        vocab_size: 8192,
        hidden_size: 256,
        intermediate_size: 1024,
        num_hidden_layers: 6,
        num_attention_heads: 4,
        num_key_value_heads: 4,
        head_dim: 64,
        ..Gemma2Config::default()
    })
}

fn trained(config: &VlmConfig, patterns: &[&str], objective: ObjectiveKind) -> Trained {
    let listed = match objective {
        ObjectiveKind::Text => config.text_config.parameters().unwrap(),
        _ => config.parameters().unwrap(),
    };
    let params: Vec<ParamInfo> = listed.into_iter().map(|p| ParamInfo { path: p.path, shape: p.shape }).collect();
    let rates = LearningRates::new(&patterns.iter().map(|p| (p.to_string(), 1e-3)).collect()).unwrap();
    Trained::of(config, &params, &rates, objective)
}

fn sample(pictures: f64, visual_tokens: f64, text_tokens: f64, targets: f64) -> SampleEstimate {
    SampleEstimate {
        epoch: None,
        pictures,
        views_of_picture: 1.0,
        visual_tokens,
        text_tokens,
        targets,
        picture: (224, 224),
        languages: Default::default(),
        notes: Vec::new(),
    }
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() <= ROUNDING * expected, "{found}, expected {expected}");
}

/// The count that `benches/train_step.rs` works out by hand: 8 rows of 256 tokens, all of them targets.
#[test]
fn a_decoder_costs_what_the_bench_says() {
    let config = config(decoder());
    let trained = trained(&config, &[".*"], ObjectiveKind::Text);
    let flops = flops::estimate(&config, &trained, &sample(0.0, 0.0, 256.0, 256.0), false).times(8.0);
    let body: u64 = 6 * (4 * 256 * 256 + 3 * 256 * 1024) + 8192 * 256;
    let attention: u64 = 4 * 8 * 4 * 256 * 256 * 64 * 6;
    near(flops.total(), (6 * body * 8 * 256 + 3 * attention) as f64);
    let again = flops::estimate(&config, &trained, &sample(0.0, 0.0, 256.0, 256.0), true).times(8.0);
    near(again.recomputed, (2 * (body - 8192 * 256) * 8 * 256 + attention) as f64);
    assert_eq!(again.model, flops.model);
}

/// 196 visual and 64 text tokens, by hand, as three stages train them.
#[test]
fn stages_cost_what_they_train() {
    let config = config(decoder());
    let one = sample(1.0, 196.0, 64.0, 32.0);
    let tower = 2.0 * (6.0 * (4 * 192 * 192 + 2 * 192 * 768) as f64 + (768 * 192) as f64) * 196.0;
    let tower_scores = 4.0 * 196.0 * 196.0 * 192.0 * 6.0;
    let (first, second) = (2.0 * (192 * 256) as f64 * 196.0, 2.0 * (256 * 256) as f64 * 196.0);
    let layers = 2.0 * 6.0 * (4 * 256 * 256 + 3 * 256 * 1024) as f64 * 260.0;
    let scores = 4.0 * 260.0 * 260.0 * 256.0 * 6.0;
    let head = 2.0 * (8192 * 256) as f64 * 32.0;
    let cost = |patterns: &[&str]| {
        let trained = trained(&config, patterns, ObjectiveKind::Vlm);
        flops::estimate(&config, &trained, &one, false).total()
    };
    // the gradient of the projector comes through the frozen decoder, and ends before the frozen tower
    let align = tower + tower_scores + 2.0 * first + 3.0 * second + 2.0 * (layers + head) + 3.0 * scores;
    near(cost(&["multi_modal_projector"]), align);
    let finetune = tower + tower_scores + 2.0 * first + 3.0 * second + 3.0 * (layers + head + scores);
    near(cost(&["multi_modal_projector", "language_model"]), finetune);
    let all = 3.0 * (tower + tower_scores + first + second + layers + head + scores);
    near(cost(&[".*"]), all);
}

/// The decoder of `burn-vlm/tests/memory.rs` as its counting allocator measured it: 44.8 MB, 9.7 MB with gradient checkpointing
/// (`docs/memory.md`); there the loss needs no head.
#[test]
fn activations_are_near_what_was_measured() {
    const MEASURED: [(bool, f64); 2] = [(false, 44.8e6), (true, 9.7e6)];
    /// What the measurement has besides: intermediate gradients, the loss's own tensors.
    const NEAR: f64 = 0.15;
    let language = LanguageConfig::Llama(LlamaConfig {
        vocab_size: 64,
        hidden_size: 64,
        intermediate_size: 256,
        num_hidden_layers: 8,
        num_attention_heads: 4,
        max_position_embeddings: 256,
        ..LlamaConfig::default()
    });
    let config = config(language);
    let trained = trained(&config, &[".*"], ObjectiveKind::Text);
    let micro = MicroBatch { samples: 4.0, tokens: 1024.0, views: 0.0, count: 1.0 };
    for (checkpointing, measured) in MEASURED {
        let compute = ComputeRecipe::default();
        let found = memory::estimate(&config, &trained, &micro, &sample(0.0, 0.0, 256.0, 0.0), &compute, checkpointing);
        let found = (found.activations + found.gradients) as f64;
        assert!((found / measured - 1.0).abs() < NEAR, "{found} bytes, measured {measured}");
    }
}

/// Master weights, gradients and two moments in f32: 16 bytes a trained parameter, 4 a frozen one, 4 more while micro-batches add up.
#[test]
fn state_is_sixteen_bytes_a_trained_parameter() {
    let config = config(decoder());
    let trained = trained(&config, &["language_model"], ObjectiveKind::Vlm);
    let compute = ComputeRecipe::default();
    let of = |count: f64| {
        let micro = MicroBatch { samples: 1.0, tokens: 260.0, views: 1.0, count };
        memory::estimate(&config, &trained, &micro, &sample(1.0, 196.0, 64.0, 32.0), &compute, false)
    };
    let language = config.text_config.num_parameters().unwrap();
    let (one, several) = (of(1.0), of(4.0));
    assert_eq!(one.weights, 4 * config.num_parameters().unwrap());
    assert_eq!((one.gradients, one.optimizer), (4 * language, 8 * language));
    assert_eq!(several.gradients, 2 * one.gradients);
}

/// Tiles of 64 pixels: pictures of the corpus are one tile beside the whole, scenes of 192 pixels nine. By the tasks' weights, not by the
/// largest picture.
#[test]
fn tiles_of_the_corpus_are_those_of_each_task() {
    let mut config = config(decoder());
    let VisionConfig::Siglip(vision) = &mut config.vision_config else { panic!() };
    (vision.image_size, vision.patch_size) = (64, 16);
    config.model_type = VlmType::LlavaNext;
    config.image_grid_pinpoints =
        Some((1..=3).flat_map(|rows| (1..=3).map(move |across| (64 * rows, 64 * across))).collect());
    let of = |data: &str| {
        let stage: StageRecipe = toml::from_str(&format!("data = {{ languages = ['en'], {data} }}\n{STAGE}")).unwrap();
        corpus_tiles(&config, &stage).unwrap()
    };
    // 16 tokens of the whole, and of the tiles four rows of four and a newline, or twelve of twelve and one.
    let (small, large) = (16.0 + 4.0 * 5.0, 16.0 + 12.0 * 13.0);
    assert_eq!(of("tasks = { caption = 1.0, name = 5.0 }"), Shown { views: 2.0, tokens: small, side: 64 });
    assert_eq!(of("tasks = { scenes = 0.5 }"), Shown { views: 10.0, tokens: large, side: 192 });
    let mixed = of("tasks = { caption = 3.0, scenes = 1.0 }");
    assert_eq!(mixed, Shown { views: 4.0, tokens: (3.0 * small + large) / 4.0, side: 192 });
    // Words are as large as they are drawn.
    let words = of("tasks = { words = 1.0 }, words = { size = 128 }");
    assert_eq!(words, Shown { views: 5.0, tokens: 16.0 + 8.0 * 9.0, side: 128 });
    assert_eq!(of("tasks = { name = 1.0 }"), Shown { views: 0.0, tokens: 0.0, side: 0 });
}

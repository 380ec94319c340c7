//! The estimate of memory beside what a training run takes: bytes by a counting allocator, and the resident set of this process.
//!
//! ```text
//! cargo test --release --workspace --test train_memory -- --ignored --nocapture
//! ```
//!
//! `GRADIENT_CHECKPOINTING=true` measures with that; one measurement a process, since a high-water mark only rises.
#![cfg(target_os = "linux")]

#[path = "../burn-vlm/tests/common/counting.rs"]
mod counting;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use burn_vlm::checkpoint::{Pretrained, StoreDtype};
use burn_vlm::language::{LanguageConfig, Qwen2Config};
use burn_vlm::vision::{SiglipVisionConfig, VisionConfig};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::recipe::{Recipe, apply_setting};
use burn_vlm_train::run::estimate::{Assumptions, EstimateInput, estimate_run};
use burn_vlm_train::run::{PartFolders, Start, TrainRun, train};
use counting::{LIVE, PEAK};

/// Rows are padded to their batch's longest, and gradients of activations come and go: neither is estimated.
const NEAR: f64 = 0.1;

/// The most bytes held when the last step is logged, and the resident set's peak by then: what is written after it is no part of the
/// step.
fn at_last_step(log: &Path, steps: usize) -> (f64, f64) {
    loop {
        if fs::read_to_string(log).is_ok_and(|text| text.lines().count() == steps) {
            return (PEAK.load(Relaxed) as f64, status("VmHWM"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A line of `/proc/self/status`, in bytes.
fn status(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

/// Parts of 38 and 8 million parameters with random weights and the tokenizer that ships.
fn parts(folder: &Path) {
    let device = choose(DeviceChoice::Flex).unwrap().device;
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let vision = SiglipVisionConfig {
        hidden_size: 320,
        intermediate_size: 1280,
        num_hidden_layers: 6,
        num_attention_heads: 5,
        image_size: 64,
        patch_size: 8,
        vision_use_head: false,
        ..SiglipVisionConfig::default()
    };
    let language = Qwen2Config {
        vocab_size: 8192,
        hidden_size: 512,
        intermediate_size: 2048,
        num_hidden_layers: 8,
        num_attention_heads: 8,
        num_key_value_heads: 8,
        max_position_embeddings: 256,
        tie_word_embeddings: true,
        ..Qwen2Config::default()
    };
    let (encoder, backbone) = (folder.join("encoder"), folder.join("backbone"));
    VisionConfig::Siglip(vision).init(&device).unwrap().save_pretrained(&encoder, StoreDtype::F32).unwrap();
    LanguageConfig::Qwen2(language).init(&device).unwrap().save_pretrained(&backbone, StoreDtype::F32).unwrap();
    for name in ["tokenizer.json", "chat_template.jinja"] {
        fs::copy(root.join("parts/backbone").join(name), backbone.join(name)).unwrap();
    }
}

fn recipe(checkpointing: bool) -> Recipe {
    let text = include_str!("../recipes/tiny.toml");
    let mut table: toml::Table = toml::from_str(text).unwrap();
    let compute = format!("compute.gradient_checkpointing={checkpointing}");
    let settings = [
        "stages=[\"finetune\"]",
        "model.encoder=encoder",
        "model.visual_tokens={ _replace = true, normalize = true }",
        "stage.finetune.steps=2",
        "stage.finetune.batch=32",
        "stage.finetune.log_every=1",
        "stage.finetune.checkpoint_every=0",
        &compute,
    ];
    settings.iter().for_each(|setting| apply_setting(&mut table, setting).unwrap());
    Recipe::from_table(table).unwrap()
}

#[test]
#[ignore = "2 GB, and two steps of 46 million parameters"]
fn the_estimate_is_near_what_is_held() {
    let folder = tempfile::tempdir().unwrap();
    parts(folder.path());
    let context = Context {
        corpus: EmojiCorpus::embedded().unwrap(),
        device: choose(DeviceChoice::Flex).unwrap().device,
        workers: 1,
    };
    let checkpointing = std::env::var("GRADIENT_CHECKPOINTING").is_ok_and(|value| value == "true");
    let recipe = recipe(checkpointing);
    let input = EstimateInput {
        context: &context,
        recipe: &recipe,
        base: folder.path(),
        parts: folder.path(),
        shapes: &[],
        assumptions: Assumptions::default(),
    };
    let estimate = estimate_run(&input).unwrap();
    let (before, resident) = (LIVE.load(Relaxed) as f64, status("VmRSS"));
    PEAK.store(LIVE.load(Relaxed), Relaxed);
    let out = folder.path().join("run");
    let log = out.join("stages/1-finetune/log.jsonl");
    let watch = std::thread::spawn(move || at_last_step(&log, 2));
    let reporter = Reporter::new(true);
    let parts = folder.path();
    train(&TrainRun {
        context: &context,
        recipe: &recipe,
        base: parts,
        parts: &PartFolders::named(&recipe, parts).unwrap(),
        features: &out.join("features"),
        out: &out,
        start: &Start::default(),
        replicas: &[],
        reporter: &reporter,
        observer: None,
    })
    .unwrap();
    let (counted, high) = watch.join().unwrap();
    let (counted, high) = (counted - before, high - resident);
    let memory = estimate.stages[0].memory;
    println!(
        "gradient checkpointing {checkpointing}: estimated {:.0} MB, counted {:.0} MB, resident {:.0} MB; with what is written \
         afterwards {:.0} MB ({memory:?})",
        memory.total() as f64 / 1e6,
        counted / 1e6,
        high / 1e6,
        (PEAK.load(Relaxed) as f64 - before) / 1e6,
    );
    let ratio = memory.total() as f64 / counted;
    assert!((ratio - 1.0).abs() < NEAR, "{ratio}");
}

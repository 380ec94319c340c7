//! The recipe of TowerVision 2B at its published size, on random weights: what tiny models cannot show (offsets beyond 32 bits, memory,
//! pictures of 729 tokens, a vocabulary of 256,000) breaks here or nowhere.
//!
//! ```text
//! cargo test --release --test real_size -- --ignored --nocapture
//! ```
//!
//! `STEPS` (2) steps of alignment, `BATCH` (2) pictures each: the projector is trained, tower and decoder are frozen.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use burn_vlm::init::Scope;
use burn_vlm::language::{Gemma2Config, LanguageConfig};
use burn_vlm::vision::{SiglipVisionConfig, VisionConfig};
use burn_vlm::vlm::{Vlm, VlmConfig};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::tokenizer::Tokenizer;
use burn_vlm_train::assemble::Assembled;
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::params::list_params;
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::recipe::Recipe;
use burn_vlm_train::run::{DataOrigin, stage_objective};
use burn_vlm_train::trainer::{StageRun, train_stage};

#[path = "../burn-vlm-data/tests/sources/files.rs"]
#[allow(dead_code)]
mod files;

/// As published: <https://huggingface.co/google/siglip2-so400m-patch14-384> without its last layer and its head, and Gemma 2 2B.
fn config(image_token: i64) -> VlmConfig {
    let vision = SiglipVisionConfig::so400m_without_last();
    let language = Gemma2Config {
        vocab_size: 256_000,
        hidden_size: 2304,
        intermediate_size: 9216,
        num_hidden_layers: 26,
        num_attention_heads: 8,
        num_key_value_heads: 4,
        head_dim: 256,
        query_pre_attn_scalar: 256.0,
        sliding_window: Some(4096),
        max_position_embeddings: 8192,
        ..Gemma2Config::default()
    };
    let base = VlmConfig::new(VisionConfig::Siglip(vision), LanguageConfig::Gemma2(language), image_token);
    VlmConfig { scale_visual_embeds: Some(true), ..base }
}

fn env(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Most bytes of the process in memory so far.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) << 10
}

#[test]
#[ignore = "13 GB of memory and some minutes"]
fn alignment_of_towervision_2b() {
    let (steps, batch) = (env("STEPS", 2), env("BATCH", 2));
    let device = choose(DeviceChoice::Auto).unwrap().device.autodiff();
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("parts");
    let tokenizer = Tokenizer::from_file(parts.join("backbone/tokenizer.json")).unwrap();
    let template = ChatTemplate::from_folder(parts.join("backbone")).unwrap();
    let config = config(i64::from(tokenizer.image_id().unwrap()));
    let mut model: Vlm = config.init_with(&Scope::new(1, &device)).unwrap();
    let count: usize = list_params(&model).iter().map(|param| param.count()).sum();
    println!("{:.2} billion parameters, {:.1} GB so far", count as f64 / 1e9, peak() as f64 / 1e9);
    // 0.41 + 0.008 + 2.61 billion
    assert!((3.00e9..3.06e9).contains(&(count as f64)), "{count}");

    let folder = files::temporary();
    let source = files::write_json(&folder, &files::simple_items(steps * batch));
    let mixture = format!(
        "[[source]]\nname = \"data\"\npath = {:?}\nformat = \"llava_json\"\nimage_root = {:?}\nlanguage_column = \"language\"\n",
        source.path,
        source.image_root.unwrap()
    );
    std::fs::write(folder.join("mixture.toml"), mixture).unwrap();
    let recipe = format!(
        r#"
        stages = ["align"]
        model = {{ encoder = "none", backbone = "none" }}
        compute = {{ gradient_checkpointing = true, images_per_chunk = 1 }}
        [stage.align]
        objective = "vlm"
        epochs = 1
        batch = {batch}
        log_every = 1
        train = {{ multi_modal_projector = 1e-3 }}
        mixture = {{ file = "mixture.toml", template = "plain" }}
        "#
    );
    let recipe = Recipe::from_table(toml::from_str(&recipe).unwrap()).unwrap();
    recipe.compute.apply(&mut model);
    let assembled = Assembled {
        videos: None,
        video_token_added: false,
        model,
        tokenizer: Arc::new(tokenizer),
        template: Arc::new(template),
        image_token_added: false,
        rows_added: 0,
        note: None,
        whole: false,
        encoder: parts.join("siglip2"),
    };
    let stage = &recipe.stage["align"];
    let context = Context { corpus: EmojiCorpus::embedded().unwrap(), device: Device::flex(), workers: 1 };
    let out = folder.join("stage");
    let origin = DataOrigin::new(&context, &recipe, &folder);
    let (stage, objective) = stage_objective(("align", stage), origin, &assembled, &out, 1).unwrap();
    let run = StageRun {
        name: "align",
        recipe: &stage,
        folder: &out,
        fingerprint: "real size",
        device: &device,
        replicas: &[],
        workers: 1,
        reporter: &Reporter::new(false),
        observer: None,
    };
    let Assembled { model, .. } = assembled;
    let (_, result) = train_stage(&run, objective, model).unwrap();
    for entry in &result.log {
        println!(
            "step {}: loss {:.3}, gradient {:.3}, {} tokens, {:.1} s",
            entry.step, entry.loss, entry.grad_norm, entry.tokens, entry.seconds
        );
    }
    println!("at most {:.1} GB", peak() as f64 / 1e9);
    // random weights: near the entropy of a uniform guess among 256,000
    let losses: Vec<f32> = result.log.iter().map(|entry| entry.loss).collect();
    assert!(losses.iter().all(|loss| (10.0..20.0).contains(loss)), "{losses:?}");
    assert!(result.log.iter().all(|entry| entry.grad_norm > 0.0));
}

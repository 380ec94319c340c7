//! Loading a checkpoint of 1 GB beside plain reading of the same bytes: the difference is conversion and transposition.
//!
//! `cargo bench --bench load`. The files are written first, so they lie in the page cache, which leaves the disk out and shows
//! the work at its worst. Prints seconds, the ratio to plain reading, and the peak of resident memory above the model
//! (Linux).

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use burn_vlm::checkpoint::{LoadOptions, Pretrained, StoreDtype, parameters};
use burn_vlm::language::{LanguageConfig, LanguageModel, Qwen2Config};
use safetensors::Dtype;
use safetensors::tensor::View;

/// 256 million values: 1.0 GB as f32.
fn config(layers: usize) -> LanguageConfig {
    LanguageConfig::Qwen2(Qwen2Config {
        vocab_size: 32_000,
        hidden_size: 2048,
        intermediate_size: 5504,
        num_hidden_layers: layers,
        num_attention_heads: 16,
        num_key_value_heads: 16,
        max_position_embeddings: 2048,
        tie_word_embeddings: true,
        ..Qwen2Config::default()
    })
}

/// A tensor with a pattern for values; only one is in memory at a time.
struct Pattern {
    shape: Vec<usize>,
    dtype: Dtype,
}

impl View for Pattern {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        (0..self.data_len()).map(|index| (index % 61) as u8).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

fn main() {
    // `cargo test --all-targets` runs benches too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    for (name, dtype, layers) in [("f32", Dtype::F32, 4), ("bf16", Dtype::BF16, 8)] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let device = Device::flex();
        let model = config(layers).init(&device).expect("a valid config");
        let tensors = parameters(&model).into_iter().map(|p| (p.name, Pattern { shape: p.shape, dtype }));
        let path = dir.path().join("model.safetensors");
        safetensors::serialize_to_file(tensors, None, &path).expect("room on the disk");
        let text = serde_json::to_string(&config(layers)).expect("a config");
        std::fs::write(dir.path().join("config.json"), text).expect("room on the disk");
        let bytes = std::fs::metadata(&path).expect("the file").len();
        for _ in 0..2 {
            let plain = plain_read(&path);
            for (memory, dtype) in [("f32", StoreDtype::F32), ("bf16", StoreDtype::BF16)] {
                let before = resident("VmRSS");
                // Begin the peak anew; where that is not allowed it is the highest so far.
                let _ = std::fs::write("/proc/self/clear_refs", "5");
                let start = Instant::now();
                let options = LoadOptions { dtype, ..LoadOptions::default() };
                let loaded =
                    LanguageModel::load_pretrained_with(dir.path(), &device, &options).expect("a valid folder");
                let seconds = start.elapsed().as_secs_f64();
                let size: usize = parameters(&loaded).iter().map(|parameter| parameter.num_elements()).sum();
                let size = size * if dtype == StoreDtype::F32 { 4 } else { 2 };
                println!(
                    "{name} file of {:.2} GB to {memory}: read {plain:.2} s, load {seconds:.2} s ({:.2}x), peak {:.0} MB \
                     above {:.0} MB before, model {:.0} MB",
                    bytes as f64 / 1e9,
                    seconds / plain,
                    resident("VmHWM") - before,
                    before,
                    size as f64 / 1e6
                );
            }
        }
    }
}

/// Seconds to read a file into a buffer that is used again.
fn plain_read(path: &Path) -> f64 {
    let mut file = File::open(path).expect("the file");
    let mut buffer = vec![0; 8 << 20];
    let start = Instant::now();
    while file.read(&mut buffer).expect("readable") > 0 {}
    start.elapsed().as_secs_f64()
}

/// Resident memory in MB from the system's table; 0 where there is none.
fn resident(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(key));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1e3
}

//! Prefill and decode of a Qwen-2-shaped decoder with 100 million parameters, in tokens per second, with weights in f32, bf16, f16, q8 and q4;
//! decode alone and in a batch of eight.
//!
//! `cargo bench --workspace --bench generate`

use std::hint::black_box;
use std::time::Duration;

use burn::tensor::Device;
use burn_vlm::checkpoint::{LoadOptions, Packed, Pretrained, StoreDtype, parameters};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::language::{LanguageConfig, LanguageModel, Qwen2Config};
use criterion::{BatchSize, Bencher, Criterion, Throughput, criterion_group};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tokens of the prompt that the prefill runs.
const PROMPT: usize = 512;
/// Tokens of the prompt before the tokens that are timed one by one.
const SHORT_PROMPT: usize = 64;
/// Tokens that are timed one by one.
const NEW: usize = 32;

fn config() -> LanguageConfig {
    LanguageConfig::Qwen2(Qwen2Config {
        vocab_size: 32_000,
        hidden_size: 768,
        intermediate_size: 2048,
        num_hidden_layers: 12,
        num_attention_heads: 12,
        num_key_value_heads: 4,
        max_position_embeddings: 1024,
        tie_word_embeddings: true,
        ..Qwen2Config::default()
    })
}

fn prompt(tokens: usize) -> Vec<Vec<u32>> {
    vec![(0..tokens).map(|at| (at * 7919 % 32_000) as u32).collect()]
}

/// Each element type that weights may be held in, and numbers of few bits beside it; f32 first.
const DTYPES: [(StoreDtype, Option<Packed>, &str); 5] = [
    (StoreDtype::F32, None, "f32"),
    (StoreDtype::BF16, None, "bf16"),
    (StoreDtype::F16, None, "f16"),
    (StoreDtype::F16, Some(Packed::Q8), "q8"),
    (StoreDtype::F16, Some(Packed::Q4), "q4"),
];

fn generate(c: &mut Criterion) {
    let device = Device::flex();
    let Ok(model) = config().init(&device) else { return };
    let count: usize = parameters(&model).iter().map(|parameter| parameter.num_elements()).sum();
    println!("{:.1} M parameters", count as f64 / 1e6);
    let folder = tempfile::tempdir().expect("a temporary folder");
    model.save_pretrained(folder.path(), StoreDtype::F32).expect("the folder is written");
    drop(model);
    let mut group = c.benchmark_group("qwen2_100m");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    let one = GenerationConfig { max_new_tokens: 1, ..Default::default() };
    let more = GenerationConfig { max_new_tokens: NEW + 1, ..Default::default() };
    for (dtype, packed, name) in DTYPES {
        let options = LoadOptions { dtype, packed, ..LoadOptions::default() };
        let model = LanguageModel::load_pretrained_with(folder.path(), &device, &options).expect("the folder is read");
        group.throughput(Throughput::Elements(PROMPT as u64));
        let prefill = |b: &mut Bencher<'_>| b.iter(|| black_box(model.generate(&prompt(PROMPT), &one, &device)));
        group.bench_function(format!("prefill/{name}"), prefill);
        for rows in [1, 8] {
            group.throughput(Throughput::Elements((rows * NEW) as u64));
            group.bench_function(format!("decode/{name}/{rows}"), |b| {
                b.iter_batched(
                    || {
                        let mut stream = model.stream(&vec![prompt(SHORT_PROMPT).concat(); rows], &more, &device).ok();
                        // The first step is the prefill.
                        stream.as_mut().and_then(Iterator::next);
                        stream
                    },
                    |stream| stream.map(|stream| black_box(stream.finish())),
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, generate);

/// On a thread of a pool, as the programs of this library compute.
fn main() {
    rayon::ThreadPoolBuilder::new().build().expect("threads").install(benches);
    Criterion::default().configure_from_args().final_summary();
}

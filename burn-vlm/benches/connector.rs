//! Parrot's connector beside the plain one: time, and memory at its peak, in inference.
//!
//! `cargo bench --workspace --bench connector`. Eight images of 577 tokens, width 1,024 before and behind, six gated experts of 4,096: 75
//! million parameters in the experts, and 697 GFLOP. Memory is counted in the allocator, from the moment at which weights and features are there.

#[path = "../tests/common/counting.rs"]
mod counting;

use std::sync::atomic::Ordering::Relaxed;

use burn::tensor::{Bool, Device, Tensor};
use burn_vlm::connector::{Connector, ConnectorShape, MlpConnector, ParrotConfig, Projector, RoutingText};
use burn_vlm::init::Scope;
use burn_vlm::nn::Activation;
use counting::{LIVE, PEAK};
use criterion::{Criterion, criterion_group, criterion_main};

const IMAGES: usize = 8;
const TOKENS: usize = 577;
const HIDDEN: usize = 1024;
const WORDS: usize = 64;
const BYTES: usize = 4;

/// Bytes at the peak of `work` beyond what lives when it begins.
fn peak(work: impl FnOnce() -> Tensor<3>) -> usize {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    let peak = PEAK.load(Relaxed) - before;
    drop(result);
    peak
}

fn connectors(criterion: &mut Criterion) {
    let device = Device::flex();
    let scope = Scope::new(0, &device);
    let projector =
        ConnectorShape { tokens: TOKENS, input: HIDDEN, hidden: HIDDEN, activation: Activation::Gelu, bias: true };
    let parrot_config = ParrotConfig::default();
    let mlp = Connector::Mlp(MlpConnector::new(&projector, &scope));
    let parrot = Connector::Parrot(parrot_config.init_with(&projector, &scope));
    let features = Tensor::<3>::ones([IMAGES, TOKENS, HIDDEN], &device);
    let text = RoutingText {
        embeddings: Tensor::ones([IMAGES, WORDS, HIDDEN], &device),
        mask: Tensor::<2, Bool>::full([IMAGES, WORDS], true, &device),
        tiles: None,
    };
    let forward = |connector: &Connector| connector.connect(features.clone(), Some(&text)).expect("the shapes fit");
    forward(&parrot); // buffers that are made once

    let (plain, routed) = (peak(|| forward(&mlp)), peak(|| forward(&parrot)));
    // gate and up, both as wide as the expert, and what comes down
    let expert = IMAGES * TOKENS * (2 * parrot_config.intermediate_size + HIDDEN) * BYTES;
    let above = routed.saturating_sub(plain);
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!(
        "peak memory: mlp {:.0} MiB, parrot {:.0} MiB; {:.0} MiB above, {:.2} x one expert's activations ({:.0} MiB)",
        mib(plain),
        mib(routed),
        mib(above),
        above as f64 / expert as f64,
        mib(expert)
    );

    let mut group = criterion.benchmark_group("connector, 8 x 577 tokens of 1,024");
    group.sample_size(10);
    group.bench_function("mlp", |bencher| bencher.iter(|| forward(&mlp)));
    group.bench_function("parrot, 6 experts of 4,096", |bencher| bencher.iter(|| forward(&parrot)));
    group.finish();
}

criterion_group!(benches, connectors);
criterion_main!(benches);

//! Forward and backward of the fused operations against the same formulas composed of Burn's own operations.
//!
//! `cargo bench -p burn-vlm --bench nn_ops`. Shapes: a decoder of width 256 (batch 8 x 256 tokens, vocabulary 8192),
//! the tiny decoder (64 x 16 tokens, width 192) and the tiny vision tower (128 x 64 patches, width 128).
//! Measure on an idle machine, and with the allocator of the training programs: the allocator is half the story.

use std::hint::black_box;
use std::time::Duration;

use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_vlm::nn::{
    Activation, AdamWHyper, AttentionMask, AttentionOptions, RopeTable, adamw_step, attention, composed, cross_entropy,
    gated, layer_norm, rms_norm, rope,
};
use criterion::{Criterion, criterion_group, criterion_main};

/// Samples of each measurement.
const SAMPLES: usize = 10;
/// The slow cases take a tenth of a second, the fast ones a tenth of a millisecond.
const MEASUREMENT: Duration = Duration::from_millis(1500);
/// Fills caches and the allocator's pools.
const WARM_UP: Duration = Duration::from_millis(300);

fn device() -> Device {
    Device::flex().autodiff()
}

/// A leaf with gradient.
fn leaf<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device()).require_grad()
}

/// One operation in both forms, forward and backward.
fn compare<const D: usize>(
    c: &mut Criterion,
    name: &str,
    fused: impl Fn() -> Tensor<D>,
    composed: impl Fn() -> Tensor<D>,
) {
    let mut group = c.benchmark_group(name);
    group.sample_size(SAMPLES).measurement_time(MEASUREMENT).warm_up_time(WARM_UP);
    group.bench_function("fused", |b| b.iter(|| black_box(fused().sum().backward())));
    group.bench_function("composed", |b| b.iter(|| black_box(composed().sum().backward())));
    group.finish();
}

/// `[batch, tokens, heads, head_dim]` of the three models, and whether attention is causal.
const HEADS: [(&str, [usize; 4], bool); 3] = [
    ("decoder", [8, 256, 4, 64], true),
    ("tiny_decoder", [64, 16, 4, 48], true),
    ("tiny_vision", [128, 64, 4, 32], false),
];

fn attention_and_rope(c: &mut Criterion) {
    for (name, shape, causal) in HEADS {
        let [q, k, v] = [(); 3].map(|()| leaf(shape));
        let mask = AttentionMask { causal, ..AttentionMask::full() };
        let options = AttentionOptions::new(shape[3]);
        compare(
            c,
            &format!("attention/{name}"),
            || attention(q.clone(), k.clone(), v.clone(), &mask, &options),
            || composed::attention(q.clone(), k.clone(), v.clone(), &mask, &options),
        );
        let angles = RopeTable::new(shape[3], 1e4, shape[1], &device()).contiguous(0, shape[1]);
        compare(c, &format!("rope/{name}"), || rope(q.clone(), &angles), || composed::rope(q.clone(), &angles));
    }
}

fn losses(c: &mut Criterion) {
    for (name, rows) in [("decoder", 2048), ("tiny_decoder", 1024)] {
        let logits = leaf([rows, 8192]);
        let targets = Tensor::<1, Int>::arange(0..rows as i64, &device());
        compare(
            c,
            &format!("cross_entropy/{name}"),
            || cross_entropy(logits.clone(), targets.clone(), None),
            || composed::cross_entropy(logits.clone(), targets.clone(), None),
        );
    }
}

fn norms(c: &mut Criterion) {
    for (name, rows, hidden) in [("decoder", 2048, 256), ("tiny_decoder", 1024, 192), ("tiny_vision", 8192, 128)] {
        let (x, w, b) = (leaf([rows, hidden]), leaf([hidden]), leaf([hidden]));
        compare(
            c,
            &format!("rms_norm/{name}"),
            || rms_norm(x.clone(), w.clone(), 1e-6, true),
            || composed::rms_norm(x.clone(), w.clone(), 1e-6, true),
        );
        compare(
            c,
            &format!("layer_norm/{name}"),
            || layer_norm(x.clone(), w.clone(), b.clone(), 1e-6),
            || composed::layer_norm(x.clone(), w.clone(), b.clone(), 1e-6),
        );
    }
}

fn units(c: &mut Criterion) {
    for (name, rows, hidden) in [("decoder", 2048, 1024), ("tiny_decoder", 1024, 768), ("tiny_vision", 8192, 512)] {
        let (gate, up) = (leaf([rows, hidden]), leaf([rows, hidden]));
        for activation in [Activation::Gelu, Activation::GeluPytorchTanh] {
            compare(
                c,
                &format!("gated_{activation:?}/{name}"),
                || gated(activation, gate.clone(), up.clone()),
                || composed::gated(activation, gate.clone(), up.clone()),
            );
            compare(
                c,
                &format!("{activation:?}/{name}"),
                || activation.forward(gate.clone()),
                || composed::activation(activation, gate.clone()),
            );
        }
    }
}

fn optimizer(c: &mut Criterion) {
    let hyper = AdamWHyper { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 10 };
    let zeros = || Tensor::<2>::zeros([8192, 256], &Device::flex());
    let grad = Tensor::<2>::ones([8192, 256], &Device::flex());
    let mut group = c.benchmark_group("adamw/8192x256");
    group.sample_size(SAMPLES).measurement_time(MEASUREMENT).warm_up_time(WARM_UP);
    for (name, step) in [("fused", adamw_step::<2> as fn(_, _, _, _, &_) -> _), ("composed", composed::adamw_step::<2>)]
    {
        group.bench_function(name, |b| {
            let mut state = (zeros(), zeros(), zeros());
            b.iter(|| {
                let (param, mean, square) = std::mem::replace(&mut state, (zeros_like(), zeros_like(), zeros_like()));
                state = step(param, grad.clone(), mean, square, &hyper);
            });
        });
    }
    group.finish();
}

/// A placeholder while the state is updated in place.
fn zeros_like() -> Tensor<2> {
    Tensor::zeros([1, 1], &Device::flex())
}

criterion_group!(benches, attention_and_rope, losses, norms, units, optimizer);
criterion_main!(benches);

//! Norms and cross entropy.

use burn::tensor::{DType, Int, Tensor, TensorData};

use super::*;
use crate::nn::{composed, cross_entropy, layer_norm, rms_norm, token_log_probs};

/// bf16 keeps eight bits of mantissa.
const BF16: f64 = 2e-2;

const SIZES: [(usize, usize); 5] = [(1, 1), (3, 5), (130, 48), (67, 100), (200, 256)];

#[test]
fn rms_norm_matches_the_composed_form() {
    for (rows, hidden) in SIZES {
        for offset in [false, true] {
            let run = |form: Form| {
                let (x, w) = (random([rows, hidden], 1), random([hidden], 2));
                let f = if form.is_fused() { rms_norm::<2> } else { composed::rms_norm::<2> };
                let y = f(form.input(&x), form.input(&w), 1e-6, offset).cast(DType::F32);
                let grads = weighted_sum(y.clone(), 3).backward();
                [to_vec(y), grad(&x, &grads), grad(&w, &grads)]
            };
            let composed = run(Form::Composed);
            for form in HAND_WRITTEN {
                for ((actual, expected), what) in run(form).iter().zip(&composed).zip(["y", "dx", "dw"]) {
                    let what = format!("{form:?} {what} {rows}x{hidden} {offset}");
                    assert_close(actual, expected, SAME_FORMULA, &what);
                }
            }
        }
    }
}

#[test]
fn layer_norm_matches_the_composed_form() {
    for (rows, hidden) in SIZES {
        let run = |form: Form| {
            let (x, w, b) = (random([1, rows, hidden], 1), random([hidden], 2), random([hidden], 3));
            let f = if form.is_fused() { layer_norm::<3> } else { composed::layer_norm::<3> };
            let y = f(form.input(&x), form.input(&w), form.input(&b), 1e-5).cast(DType::F32);
            let grads = weighted_sum(y.clone(), 4).backward();
            [to_vec(y), grad(&x, &grads), grad(&w, &grads), grad(&b, &grads)]
        };
        let composed = run(Form::Composed);
        for form in HAND_WRITTEN {
            let names = ["y", "dx", "dw", "db"];
            for ((actual, expected), what) in run(form).iter().zip(&composed).zip(names) {
                let what = format!("{form:?} {what} {rows}x{hidden}");
                assert_close(actual, expected, SAME_FORMULA, &what);
            }
        }
    }
}

/// `(x - mean) / sqrt(var + eps) * w + b` in f64; without mean if `rms`.
fn norm_f64(x: &[f64], w: &[f64], b: &[f64], rms: bool) -> Vec<f64> {
    let n = w.len() as f64;
    let row = |x: &[f64]| -> Vec<f64> {
        let mean = if rms { 0.0 } else { x.iter().sum::<f64>() / n };
        let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
        let normalise = |(i, x): (usize, &f64)| (x - mean) / (variance + 1e-5).sqrt() * w[i] + b[i];
        x.iter().enumerate().map(normalise).collect()
    };
    x.chunks(w.len()).flat_map(row).collect()
}

#[test]
fn norm_gradients_match_finite_differences() {
    for rms in [false, true] {
        let (x, w, b) = (random([3, 7], 1), random([7], 2), random([7], 3));
        let y = if rms {
            rms_norm(x.clone(), w.clone(), 1e-5, false)
        } else {
            layer_norm(x.clone(), w.clone(), b.clone(), 1e-5)
        };
        let grads = weighted_sum(y.clone(), 4).backward();
        let weights = values(21, 4);
        let f64s = |x: Vec<f32>| -> Vec<f64> { x.into_iter().map(f64::from).collect() };
        let bias = if rms { vec![0.0; 7] } else { f64s(to_vec(b.clone())) };
        let point = [f64s(to_vec(x.clone())), f64s(to_vec(w.clone())), bias];
        let forward = |p: &[Vec<f64>; 3]| norm_f64(&p[0], &p[1], &p[2], rms);
        assert_close(&to_vec(y), &forward(&point), AGAINST_F64, "forward");
        let mut computed = vec![grad(&x, &grads), grad(&w, &grads)];
        if !rms {
            computed.push(grad(&b, &grads));
        }
        for (which, computed) in computed.iter().enumerate() {
            let difference = |i: usize| {
                let moved = |by: f64| -> f64 {
                    let mut point = point.clone();
                    point[which][i] += by;
                    forward(&point).iter().zip(&weights).map(|(y, &w)| y * f64::from(w)).sum()
                };
                (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
            };
            let differences: Vec<f64> = (0..computed.len()).map(difference).collect();
            assert_close(computed, &differences, DIFFERENCES, "difference");
        }
    }
}

#[test]
fn norms_take_strided_and_bf16_input() {
    let (x, w, b) = (random([40, 30], 1), random([40], 2), random([40], 3));
    let view = Tensor::from_inner(x.clone().inner().transpose());
    let copy = Tensor::from_inner(x.inner().transpose() + 0.0);
    let expected = to_vec(layer_norm(copy.clone(), w.clone(), b.clone(), 1e-5));
    assert_close(&to_vec(layer_norm(view.clone(), w.clone(), b, 1e-5)), &expected, SAME_FORMULA, "layer");
    let expected = to_vec(rms_norm(copy.clone(), w.clone(), 1e-5, true));
    assert_close(&to_vec(rms_norm(view, w.clone(), 1e-5, true)), &expected, SAME_FORMULA, "rms");
    let half = rms_norm(copy.cast(DType::BF16), w.cast(DType::BF16), 1e-5, true);
    assert_eq!(half.dtype(), DType::BF16);
    assert_close(&to_vec(half), &expected, BF16, "bf16");
}

fn targets(rows: usize, classes: usize) -> Tensor<1, Int> {
    // Every fifth row does not count.
    let target = |i: usize| {
        if i % 5 == 4 { -100 } else { (i * 7 % classes) as i64 }
    };
    let data: Vec<i64> = (0..rows).map(target).collect();
    Tensor::from_data(TensorData::new(data, [rows]), &device())
}

#[test]
fn cross_entropy_matches_the_composed_form() {
    for (rows, classes) in [(1, 1), (7, 13), (30, 1000), (65, 333)] {
        for softcap in [None, Some(3.0)] {
            let run = |form: Form| {
                let x = random([rows, classes], 1);
                let f = if form.is_fused() { cross_entropy } else { composed::cross_entropy };
                let losses = f(form.input(&x) * 3.0, targets(rows, classes), softcap);
                let grads = weighted_sum(losses.clone(), 2).backward();
                [to_vec(losses), grad(&x, &grads)]
            };
            let composed = run(Form::Composed);
            for form in HAND_WRITTEN {
                for ((actual, expected), what) in run(form).iter().zip(&composed).zip(["loss", "dx"]) {
                    let what = format!("{form:?} {what} {rows}x{classes} {softcap:?}");
                    assert_close(actual, expected, SAME_FORMULA, &what);
                }
            }
        }
    }
}

#[test]
fn cross_entropy_gradient_matches_finite_differences() {
    for softcap in [None, Some(2.0)] {
        let (rows, classes) = (6, 5);
        let x = random([rows, classes], 1);
        let losses = cross_entropy(x.clone(), targets(rows, classes), softcap);
        let grads = losses.sum().backward();
        let point: Vec<f64> = to_vec(x.clone()).into_iter().map(f64::from).collect();
        let loss = |x: &[f64]| -> f64 {
            let row = |(i, x): (usize, &[f64])| {
                let cap = |x: f64| softcap.map_or(x, |cap: f64| cap * (x / cap).tanh());
                let sum: f64 = x.iter().map(|&x| cap(x).exp()).sum();
                if i % 5 == 4 { 0.0 } else { sum.ln() - cap(x[i * 7 % classes]) }
            };
            x.chunks(classes).enumerate().map(row).sum()
        };
        let difference = |i: usize| {
            let moved = |by: f64| {
                let mut point = point.clone();
                point[i] += by;
                loss(&point)
            };
            (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
        };
        let differences: Vec<f64> = (0..point.len()).map(difference).collect();
        assert_close(&grad(&x, &grads), &differences, DIFFERENCES, "difference");
    }
}

#[test]
fn cross_entropy_survives_large_logits_and_reports_bad_ones() {
    let logits = Tensor::<2>::from_data([[1e4, -1e4, 0.0], [f32::NAN, 0.0, 0.0], [0.0, 0.0, 0.0]], &device());
    let targets = Tensor::<1, Int>::from_data([1, 0, -100], &device());
    let losses = to_vec(cross_entropy(logits.clone(), targets.clone(), None));
    assert_eq!(losses[0], 2e4);
    assert!(losses[1].is_nan());
    assert_eq!(losses[2], 0.0);
    let scores = to_vec(token_log_probs(logits, targets, None));
    assert_eq!(scores[0], -2e4);
}

#[test]
fn a_batch_without_targets_has_zero_loss_and_gradient() {
    let x = random([4, 10], 1);
    let targets = Tensor::<1, Int>::from_data([-100, -1, -100, -100], &device());
    let losses = cross_entropy(x.clone(), targets, None);
    assert_eq!(to_vec(losses.clone()), [0.0; 4]);
    assert!(grad(&x, &losses.sum().backward()).iter().all(|&g| g == 0.0));
}

#[test]
fn logits_that_are_still_used_are_not_overwritten() {
    let x = random([50, 700], 1);
    let logits = x.clone() * 1.0;
    let before = to_vec(logits.clone());
    let losses = cross_entropy(logits.clone(), targets(50, 700), None);
    losses.sum().backward();
    assert_eq!(to_vec(logits), before);
}

#[test]
fn threads_do_not_change_bits() {
    assert_thread_invariant(|| {
        let (x, w, b) = (random([1000, 96], 1), random([96], 2), random([96], 3));
        let y = layer_norm(rms_norm(x.clone(), w.clone(), 1e-6, true), w.clone(), b.clone(), 1e-6);
        let losses = cross_entropy(y, targets(1000, 96), Some(5.0));
        let grads = losses.clone().sum().backward();
        let [dw, db] = [w, b].map(|p| bits(p.grad(&grads).unwrap()));
        vec![bits(losses), bits(x.grad(&grads).unwrap()), dw, db]
    });
}

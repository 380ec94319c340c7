//! The head with its loss in chunks, against the whole product and its cross entropy.

use burn::tensor::{DType, Int, Tensor, TensorData};

use super::*;
use crate::nn::loss::linear_cross_entropy_chunked;
use crate::nn::{HeadWeight, composed, label_losses, linear_cross_entropy};

/// bf16 keeps eight bits of mantissa.
const BF16: f64 = 3e-2;
/// The logit comes back out of `lse - loss`, two roundings of numbers of order 10; gradients of a few hundred terms.
const CHUNKED: f64 = 4e-5;
const SOFTCAPS: [Option<f64>; 2] = [None, Some(3.0)];
/// Small enough that [`CLASSES`] make several chunks, the last one narrower.
const CHUNK: usize = 40 * 256;
const ROWS: usize = 33;
const HIDDEN: usize = 24;
const CLASSES: usize = 700;

fn targets(rows: usize) -> Tensor<1, Int> {
    // Every fifth row does not count; the others fall into all chunks, the edges among them.
    let edges = [0, 255, 256, 511, 512, CLASSES as i64 - 1];
    let target = |i: usize| match i {
        _ if i % 5 == 4 => -100,
        _ if i < 8 => edges[i % 6],
        _ => (i * 97 % CLASSES) as i64,
    };
    let data: Vec<i64> = (0..rows).map(target).collect();
    Tensor::from_data(TensorData::new(data, [rows]), &device())
}

fn weight(table: bool) -> Tensor<2> {
    random(if table { [CLASSES, HIDDEN] } else { [HIDDEN, CLASSES] }, 2)
}

fn head(table: bool, weight: Tensor<2>) -> HeadWeight {
    if table { HeadWeight::Table(weight) } else { HeadWeight::Linear(weight) }
}

#[test]
fn chunks_equal_the_whole() {
    for table in [false, true] {
        for softcap in SOFTCAPS {
            let run = |form: Form, chunk: usize| {
                let (x, w) = (random([ROWS, HIDDEN], 1), weight(table));
                let (x1, w1) = (form.input(&x), head(table, form.input(&w)));
                let losses = match form {
                    Form::Composed => composed::linear_cross_entropy(x1, w1, targets(ROWS), softcap),
                    _ => linear_cross_entropy_chunked(x1, w1, targets(ROWS), softcap, chunk),
                };
                let grads = weighted_sum(losses.clone().cast(DType::F32), 3).backward();
                [to_vec(losses), grad(&x, &grads), grad(&w, &grads)]
            };
            let composed = run(Form::Composed, 0);
            for form in HAND_WRITTEN {
                for chunk in [1, CHUNK, usize::MAX] {
                    for ((actual, expected), what) in run(form, chunk).iter().zip(&composed).zip(["loss", "dx", "dw"]) {
                        let what = format!("{form:?} {what} table {table} softcap {softcap:?} chunk {chunk}");
                        assert_close(actual, expected, CHUNKED, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn frozen_sides_get_no_gradient_and_do_not_disturb_the_other() {
    let (x, w) = (random([ROWS, HIDDEN], 1), weight(true));
    let run = |x: Tensor<2>, w: Tensor<2>| {
        linear_cross_entropy_chunked(x, HeadWeight::Table(w), targets(ROWS), None, CHUNK).sum().backward()
    };
    let both = run(x.clone(), w.clone());
    let frozen = constant(w.clone());
    let frozen_weight = run(x.clone(), frozen.clone());
    assert!(!frozen.is_tracked());
    assert_eq!(grad(&x, &frozen_weight), grad(&x, &both));
    let frozen = constant(x);
    let frozen_hidden = run(frozen.clone(), w.clone());
    assert!(!frozen.is_tracked());
    assert_eq!(grad(&w, &frozen_hidden), grad(&w, &both));
}

#[test]
fn rows_without_a_label_are_not_computed() {
    let (x, w) = (random([ROWS, HIDDEN], 1), weight(true));
    let expected = linear_cross_entropy(x.clone(), HeadWeight::Table(w.clone()), targets(ROWS), None);
    let expected_grads = expected.clone().sum().backward();
    // NaN in every row that does not count: it would spread through any product that the row takes part in.
    let counts: Vec<f32> = (0..ROWS).map(|row| if row % 5 == 4 { f32::NAN } else { 1.0 }).collect();
    let counts = Tensor::<2>::from_data(TensorData::new(counts, [ROWS, 1]), &device());
    let poisoned = Tensor::from_inner((x.clone().inner() * counts.inner()).detach()).require_grad();
    let losses = label_losses(poisoned.clone(), HeadWeight::Table(w.clone()), targets(ROWS), None).unwrap();
    assert_close(&to_vec(losses.clone()), &to_vec(expected), CHUNKED, "losses");
    let grads = losses.sum().backward();
    assert_close(&grad(&poisoned, &grads), &grad(&x, &expected_grads), CHUNKED, "dx");
    assert_close(&grad(&w, &grads), &grad(&w, &expected_grads), CHUNKED, "dw");
    let none = Tensor::<1, Int>::from_data(TensorData::new(vec![-100i64; ROWS], [ROWS]), &device());
    let losses = label_losses(x, HeadWeight::Table(w), none, None).unwrap();
    assert_eq!(to_vec(losses), vec![0.0; ROWS]);
}

#[test]
fn a_target_beyond_the_vocabulary_is_reported_as_nan() {
    let data: Vec<i64> = (0..ROWS as i64).map(|row| if row == 3 { CLASSES as i64 } else { row }).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(data, [ROWS]), &device());
    for chunk in [CHUNK, usize::MAX] {
        let x = random([ROWS, HIDDEN], 1);
        let losses = linear_cross_entropy_chunked(x, HeadWeight::Table(weight(true)), targets.clone(), None, chunk);
        let losses = to_vec(losses);
        assert!(losses[3].is_nan());
        assert!(losses.iter().enumerate().all(|(row, loss)| row == 3 || loss.is_finite()));
    }
}

#[test]
fn half_precision_states_meet_a_full_precision_weight() {
    let (x, w) = (random([ROWS, HIDDEN], 1), weight(true));
    let run = |x1: Tensor<2>| {
        let losses = linear_cross_entropy_chunked(x1, HeadWeight::Table(w.clone()), targets(ROWS), Some(20.0), CHUNK);
        assert_eq!(losses.dtype(), DType::F32);
        let grads = losses.clone().sum().backward();
        let (dx, dw) = (x.grad(&grads).unwrap(), w.grad(&grads).unwrap());
        assert_eq!((dx.dtype(), dw.dtype()), (DType::F32, DType::F32));
        [to_vec(losses), to_vec(dx), to_vec(dw)]
    };
    let full = run(x.clone());
    let half = run(x.clone().cast(DType::BF16));
    for ((half, full), what) in half.iter().zip(&full).zip(["loss", "dx", "dw"]) {
        assert_close(half, full, BF16, what);
    }
}

#[test]
fn threads_do_not_change_bits() {
    assert_thread_invariant(|| {
        let (x, w) = (random([200, 48], 1), random([CLASSES, 48], 2));
        let losses = linear_cross_entropy_chunked(x.clone(), HeadWeight::Table(w.clone()), targets(200), None, 1);
        let grads = losses.clone().sum().backward();
        vec![bits(losses), bits(x.grad(&grads).unwrap()), bits(w.grad(&grads).unwrap())]
    });
}

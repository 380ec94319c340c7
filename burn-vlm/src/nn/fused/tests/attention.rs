//! Attention forward and backward.

use burn::tensor::{Bool, DType, Int, Tensor, TensorData};

use super::*;
use crate::nn::attention::attention_blockwise;
use crate::nn::fused::packed::held_beside;
use crate::nn::{AttentionMask, AttentionOptions, attention, composed};

/// bf16 keeps eight bits of mantissa.
const BF16: f64 = 2e-2;

/// Tokens of the trunk and of each twig of a tree.
const TRUNK: usize = 6;
const TWIG: usize = 5;

#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    tq: usize,
    tk: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    causal: bool,
    window: Option<usize>,
    softcap: Option<f64>,
    /// Real keys are those from `2 * row` on (left padding), or all.
    padded: bool,
    segments: Segments,
}

/// How rows are cut into segments.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Segments {
    /// Not at all.
    One,
    /// Into pieces of eleven tokens, shifted from row to row: packed samples.
    Packed,
    /// Every third token belongs together.
    Interleaved,
    /// A trunk of six tokens, and twigs of five that each grow from it.
    Tree,
}

const PLAIN: Case = Case {
    batch: 2,
    tq: 37,
    tk: 37,
    heads: 4,
    kv_heads: 4,
    head_dim: 16,
    causal: false,
    window: None,
    softcap: None,
    padded: false,
    segments: Segments::One,
};

fn cases() -> Vec<Case> {
    let causal = Case { causal: true, ..PLAIN };
    vec![
        PLAIN,
        causal,
        Case { kv_heads: 2, ..causal },
        Case { kv_heads: 1, head_dim: 20, ..causal },
        Case { softcap: Some(1.5), ..causal },
        Case { window: Some(5), ..causal },
        Case { window: Some(5), ..PLAIN },
        Case { padded: true, ..causal },
        Case { padded: true, softcap: Some(2.0), kv_heads: 2, window: Some(9), ..causal },
        Case { tq: 7, tk: 45, kv_heads: 2, ..causal },
        Case { tq: 1, tk: 29, kv_heads: 2, window: Some(20), ..causal },
        Case { tq: 3, tk: 18, padded: true, softcap: Some(2.0), ..causal },
        Case { tq: 1, tk: 64, head_dim: 32, ..PLAIN },
        Case { tq: 9, tk: 4, ..causal },
        Case { batch: 1, tq: 97, tk: 97, heads: 3, kv_heads: 1, head_dim: 7, ..causal },
        Case { segments: Segments::Packed, ..causal },
        Case { segments: Segments::Packed, ..PLAIN },
        Case { segments: Segments::Packed, window: Some(5), softcap: Some(2.0), padded: true, kv_heads: 2, ..causal },
        Case { segments: Segments::Packed, tq: 9, tk: 50, ..causal },
        Case { segments: Segments::Interleaved, window: Some(20), kv_heads: 2, ..causal },
        Case { segments: Segments::Interleaved, padded: true, ..PLAIN },
        Case { segments: Segments::Tree, ..causal },
        Case { segments: Segments::Tree, padded: true, softcap: Some(2.0), kv_heads: 2, window: Some(30), ..causal },
        Case { segments: Segments::Tree, tq: 9, tk: 50, ..causal },
        Case { segments: Segments::Tree, tq: 3, tk: 18, ..causal },
    ]
}

impl Case {
    fn mask(&self) -> AttentionMask {
        let real: Vec<bool> = (0..self.batch * self.tk).map(|i| i % self.tk >= 2 * (i / self.tk)).collect();
        let padding = Tensor::<2, Bool>::from_data(TensorData::new(real, [self.batch, self.tk]), &device());
        let ids: Vec<i64> = (0..self.batch * self.tk).map(|i| self.segment(i / self.tk, i % self.tk)).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [self.batch, self.tk]), &device());
        AttentionMask {
            causal: self.causal,
            window: self.window,
            key_padding: self.padded.then_some(padding),
            segments: (!matches!(self.segments, Segments::One | Segments::Tree)).then_some(ids.clone()),
            until: (self.segments == Segments::Tree).then_some(ids),
        }
    }

    fn options(&self) -> AttentionOptions {
        AttentionOptions { softcap: self.softcap, ..AttentionOptions::new(self.head_dim) }
    }

    fn inputs(&self) -> [Tensor<4>; 3] {
        let keys = [self.batch, self.tk, self.kv_heads, self.head_dim];
        [random([self.batch, self.tq, self.heads, self.head_dim], 1), random(keys, 2), random(keys, 3)]
    }

    fn segment(&self, row: usize, at: usize) -> i64 {
        match self.segments {
            Segments::One => 0,
            Segments::Packed => ((at + 3 * row) / 11) as i64,
            Segments::Interleaved => (at % 3) as i64 - 1,
            // The end of a twig; the trunk has none.
            Segments::Tree if at < TRUNK => 1_000,
            Segments::Tree => (TRUNK + ((at - TRUNK) / TWIG + 1) * TWIG) as i64,
        }
    }

    fn visible(&self, row: usize, i: usize, j: usize) -> bool {
        let distance = (i + self.tk) as isize - self.tq as isize - j as isize;
        (!self.causal || distance >= 0)
            && self.window.is_none_or(|window| distance < window as isize)
            && (!self.padded || j >= 2 * row)
            && match self.segments {
                Segments::One => true,
                Segments::Tree => ((i + self.tk - self.tq) as i64) < self.segment(row, j),
                _ => self.segment(row, i + self.tk - self.tq) == self.segment(row, j),
            }
    }

    /// The definition, in f64.
    fn reference(&self, q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
        let Case { tq, tk, heads, kv_heads, head_dim: d, .. } = *self;
        let mut out = vec![0.0; q.len()];
        for (row, target) in out.chunks_mut(d).enumerate() {
            let (b, i, h) = (row / heads / tq, row / heads % tq, row % heads);
            let key = |j: usize| ((b * tk + j) * kv_heads + h / (heads / kv_heads)) * d;
            let weight = |j: usize| {
                let dot: f64 = (0..d).map(|e| q[row * d + e] * k[key(j) + e]).sum();
                let score = dot * self.options().scale;
                self.softcap.map_or(score, |cap| cap * (score / cap).tanh()).exp()
            };
            let weights: Vec<f64> = (0..tk).map(|j| if self.visible(b, i, j) { weight(j) } else { 0.0 }).collect();
            let sum: f64 = weights.iter().sum();
            if sum > 0.0 {
                for (j, weight) in weights.iter().enumerate() {
                    for (e, target) in target.iter_mut().enumerate() {
                        *target += weight / sum * v[key(j) + e];
                    }
                }
            }
        }
        out
    }
}

fn f64s(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn forward_matches_the_definition() {
    for case in cases() {
        let [q, k, v] = case.inputs();
        let [rq, rk, rv] = [&q, &k, &v].map(|x| f64s(&to_vec(x.clone())));
        let expected = case.reference(&rq, &rk, &rv);
        let out = attention(q.clone(), k.clone(), v.clone(), &case.mask(), &case.options());
        assert_close(&to_vec(out), &expected, AGAINST_F64, &format!("{case:?}"));
        let out = composed::attention(q, k, v, &case.mask(), &case.options());
        assert_close(&to_vec(out), &expected, AGAINST_F64, &format!("composed {case:?}"));
    }
}

#[test]
fn gradients_match_the_composed_form() {
    for case in cases() {
        let run = |form: Form| {
            let [q, k, v] = case.inputs();
            let f = if form.is_fused() { attention } else { composed::attention };
            let [q1, k1, v1] = [&q, &k, &v].map(|x| form.input(x));
            let out = f(q1, k1, v1, &case.mask(), &case.options()).cast(DType::F32);
            let grads = weighted_sum(out.clone(), 4).backward();
            [to_vec(out), grad(&q, &grads), grad(&k, &grads), grad(&v, &grads)]
        };
        let composed = run(Form::Composed);
        for form in HAND_WRITTEN {
            for ((actual, expected), name) in run(form).iter().zip(&composed).zip(["out", "dq", "dk", "dv"]) {
                assert_close(actual, expected, SAME_FORMULA, &format!("{form:?} {name} of {case:?}"));
            }
        }
    }
}

#[test]
fn blocks_of_queries_equal_the_whole() {
    for case in cases() {
        let run = |score_elements: usize| {
            let [q, k, v] = case.inputs();
            let [q1, k1, v1] = [&q, &k, &v].map(|x| Form::Generic.input(x));
            let out = attention_blockwise(q1, k1, v1, &case.mask(), &case.options(), score_elements).cast(DType::F32);
            let grads = weighted_sum(out.clone(), 4).backward();
            [to_vec(out), grad(&q, &grads), grad(&k, &grads), grad(&v, &grads)]
        };
        // One query each would do, but a block has at least sixteen: three and seven blocks in the cases above.
        for ((blocks, whole), name) in run(1).iter().zip(&run(usize::MAX)).zip(["out", "dq", "dk", "dv"]) {
            assert_close(blocks, whole, SAME_FORMULA, &format!("{name} of {case:?}"));
        }
    }
}

#[test]
fn packed_samples_equal_samples_on_their_own() {
    let case = Case { batch: 1, tq: 33, tk: 33, kv_heads: 2, causal: true, segments: Segments::Packed, ..PLAIN };
    let [q, k, v] = case.inputs();
    let packed = to_vec(attention(q.clone(), k.clone(), v.clone(), &case.mask(), &case.options()));
    let alone: Vec<f32> = (0..3)
        .flat_map(|sample| {
            let [q, k, v] = [&q, &k, &v].map(|x| x.clone().narrow(1, 11 * sample, 11));
            to_vec(attention(q, k, v, &AttentionMask::causal(), &case.options()))
        })
        .collect();
    assert_close(&packed, &alone, SAME_FORMULA, "packed");
}

#[test]
fn gradients_match_finite_differences() {
    let case = Case {
        batch: 1,
        tq: 5,
        tk: 7,
        heads: 2,
        kv_heads: 1,
        head_dim: 3,
        causal: true,
        softcap: Some(1.5),
        window: Some(4),
        ..PLAIN
    };
    let inputs = case.inputs();
    let [q, k, v] = inputs.clone();
    let out = attention(q, k, v, &case.mask(), &case.options());
    let weights = f64s(&values(out.dims().iter().product(), 4));
    let grads = weighted_sum(out, 4).backward();
    let point = inputs.clone().map(|x| f64s(&to_vec(x)));
    let loss = |point: &[Vec<f64>; 3]| -> f64 {
        let out = case.reference(&point[0], &point[1], &point[2]);
        out.iter().zip(&weights).map(|(o, w)| o * w).sum()
    };
    for (which, input) in inputs.iter().enumerate() {
        let differences: Vec<f64> = (0..point[which].len())
            .map(|i| {
                let moved = |by: f64| {
                    let mut point = point.clone();
                    point[which][i] += by;
                    loss(&point)
                };
                (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
            })
            .collect();
        assert_close(&grad(input, &grads), &differences, DIFFERENCES, "difference");
    }
}

#[test]
fn rows_without_keys_give_zeros() {
    let case = Case { batch: 1, tq: 40, tk: 40, ..PLAIN };
    let mask = AttentionMask {
        key_padding: Some(Tensor::<2, Bool>::from_data(TensorData::new(vec![false; 40], [1, 40]), &device())),
        ..AttentionMask::causal()
    };
    let [q, k, v] = case.inputs();
    let out = attention(q.clone(), k.clone(), v, &mask, &case.options());
    assert!(to_vec(out.clone()).iter().all(|&x| x == 0.0));
    let grads = out.sum().backward();
    assert!(grad(&q, &grads).iter().chain(&grad(&k, &grads)).all(|&x| x == 0.0));
}

#[test]
fn nan_is_not_hidden() {
    let [q, k, v] = PLAIN.inputs();
    let out = attention(q * f32::NAN, k, v, &AttentionMask::causal(), &PLAIN.options());
    assert!(to_vec(out).iter().all(|x| x.is_nan()));
}

#[test]
fn strided_inputs_need_no_particular_layout() {
    let case = Case { kv_heads: 2, causal: true, ..PLAIN };
    let [q, k, v] = case.inputs();
    let expected = to_vec(attention(q.clone(), k.clone(), v.clone(), &case.mask(), &case.options()));
    // As views of one wide projection, of a transposed tensor, and of a tensor with reversed dimensions.
    let width = case.head_dim;
    let wide = Tensor::cat(vec![k.clone(), k.clone()], 3).narrow(3, width, width);
    let q_view = q.swap_dims(1, 2).inner();
    let q_view = Tensor::from_inner(q_view + 0.0).swap_dims(1, 2);
    let v_view = Tensor::from_inner(v.permute([3, 2, 1, 0]).inner() + 0.0).permute([3, 2, 1, 0]);
    let out = attention(q_view, wide, v_view, &case.mask(), &case.options());
    assert_close(&to_vec(out), &expected, SAME_FORMULA, "views");
}

#[test]
fn other_element_types_use_the_composed_form() {
    let case = Case { causal: true, ..PLAIN };
    let [q, k, v] = case.inputs();
    let expected = to_vec(attention(q.clone(), k.clone(), v.clone(), &case.mask(), &case.options()));
    let [q, k, v] = [q, k, v].map(|x| x.cast(DType::BF16));
    let out = attention(q, k, v, &case.mask(), &case.options());
    assert_eq!(out.dtype(), DType::BF16);
    assert_close(&to_vec(out), &expected, BF16, "bf16");
}

/// As they are held beside packed weights: bit by bit what comes of the same values in f32, few queries or many, a view or a whole.
#[test]
fn keys_and_values_in_f16_give_the_bits_of_wide_ones() {
    let causal = Case { causal: true, kv_heads: 2, ..PLAIN };
    let decoding = [
        Case { batch: 1, tq: 1, tk: 70, head_dim: 256, ..causal },
        Case { tq: 4, tk: 33, head_dim: 84, softcap: Some(2.0), padded: true, ..causal },
        Case { tq: 2, tk: 50, head_dim: 130, window: Some(20), kv_heads: 1, ..causal },
    ];
    for case in cases().into_iter().chain(decoding) {
        let [q, k, v] = case.inputs().map(Tensor::inner);
        // With tokens around them that are not seen.
        let part = |x: Tensor<4>| {
            let more = Tensor::cat(vec![x.clone() * 2.0, x.clone(), x], 1);
            held_beside(more).narrow(1, case.tk, case.tk)
        };
        let [k, v] = [k, v].map(part);
        assert_eq!((k.dtype(), v.dtype()), (DType::F16, DType::F16));
        let mask = case.mask().inner();
        let [wide_k, wide_v] = [k.clone(), v.clone()].map(|x| x.cast(DType::F32));
        let expected = attention(q.clone(), wide_k, wide_v, &mask, &case.options());
        assert_eq!(bits(attention(q, k, v, &mask, &case.options())), bits(expected), "{case:?}");
    }
}

#[test]
fn what_f16_cannot_hold_is_held_at_its_end() {
    let x = Tensor::<1>::from_data([1.0e6, -1.0e6, f32::INFINITY, 1.5, f32::NAN], &device()).inner();
    let held = to_vec(held_beside(x).cast(DType::F32));
    assert_eq!(held[..4], [65504.0, -65504.0, 65504.0, 1.5]);
    assert!(held[4].is_nan());
}

#[test]
fn threads_do_not_change_bits() {
    let case = Case { batch: 3, tq: 70, tk: 70, kv_heads: 2, softcap: Some(2.0), causal: true, ..PLAIN };
    assert_thread_invariant(|| {
        let [q, k, v] = case.inputs();
        let out = attention(q.clone(), k.clone(), v.clone(), &case.mask(), &case.options());
        let grads = weighted_sum(out.clone(), 4).backward();
        let inputs = [q, k, v].map(|x| bits(x.grad(&grads).unwrap()));
        inputs.into_iter().chain([bits(out)]).collect()
    });
}

//! The CPU backend: f32 runs through the kernels, other element types through the composed bodies.
//!
//! A result is written into the buffer of an input wherever nobody else holds that buffer; large allocations are
//! what a training step on the CPU would otherwise wait for.

use ::half::slice::HalfFloatSliceExt;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Bytes, DType, Shape, bf16, f16};
use burn_flex::{FlexTensor, Layout};

use super::generic::tensor::Float;
use super::kernels::attention::{self, Ends, FEW_QUERIES, Heads, KeysValues, Padding, Problem, Saved, Segments};
use super::kernels::half::{self, Half, HalfMatrix};
use super::kernels::norm::{self, Norm};
use super::kernels::parallel::{self, Buffer, PIECE};
use super::kernels::product::{self, View};
use super::kernels::{cross_entropy, elementwise};
use super::{AttentionConfig, AttentionSaved, FusedKernels, KeyMask, generic};
use crate::nn::{Activation, AdamWHyper};

/// Whether all tensors have the element type of the kernels.
fn all_f32(tensors: &[&FlexTensor]) -> bool {
    tensors.iter().all(|tensor| tensor.dtype() == DType::F32)
}

/// A new tensor that owns `data`.
pub(super) fn tensor(data: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(data), Layout::contiguous(shape), DType::F32)
}

/// The same values with contiguous elements.
pub(super) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.layout().contiguous_offsets().is_some() { tensor } else { tensor.to_contiguous() }
}

/// The elements of a contiguous tensor.
pub(super) fn elements(tensor: &FlexTensor) -> &[f32] {
    match tensor.layout().contiguous_offsets() {
        Some((start, end)) => &tensor.storage::<f32>()[start..end],
        None => unreachable!("made contiguous before"),
    }
}

/// Runs `f` on the values of `source`, in its own buffer if nobody else holds it, else in a copy.
fn transform<R>(source: FlexTensor, f: impl FnOnce(Buffer) -> R) -> (FlexTensor, R) {
    let mut source = source;
    let layout = source.layout();
    let n = layout.num_elements();
    let whole = layout.contiguous_offsets() == Some((0, n)) && source.bytes().len() == n * size_of::<f32>();
    if whole && let Some(target) = source.try_storage_mut::<f32>() {
        let result = f(Buffer::in_place(target));
        return (source, result);
    }
    let source = contiguous(source);
    let (target, result) = Buffer::on_copy(elements(&source), f);
    (tensor(target, source.shape()), result)
}

/// The parameters of a norm for f32 rows: of half precision, which costs nothing beside the rows, as f32.
fn beside<const N: usize>(x: &FlexTensor, parameters: [FlexTensor; N]) -> [FlexTensor; N] {
    let halves = [DType::BF16, DType::F16];
    parameters.map(|tensor| match x.dtype() {
        DType::F32 if halves.contains(&tensor.dtype()) => Float::<Flex>(tensor).cast(DType::F32),
        _ => tensor,
    })
}

/// A weight of 16-bit floats as the kernel reads it; none where neither its rows nor its columns are contiguous.
fn half_matrix(weight: &FlexTensor) -> Option<HalfMatrix<'_>> {
    let layout = weight.layout();
    let (&[row, column], [rows, columns]) = (layout.strides(), weight.shape().dims()) else { return None };
    let strides = (usize::try_from(row).ok()?, usize::try_from(column).ok()?);
    let (bits, kind): (&[u16], Half) = match weight.dtype() {
        DType::BF16 => (weight.storage::<bf16>().reinterpret_cast(), Half::Bf16),
        DType::F16 => (weight.storage::<f16>().reinterpret_cast(), Half::F16),
        _ => return None,
    };
    HalfMatrix::new(bits.get(layout.start_offset()..)?, kind, (rows, columns), strides)
}

/// A matrix as products read it; none for strides that are negative.
fn view(matrix: &FlexTensor) -> Option<View<'_>> {
    let layout = matrix.layout();
    let (&[row, column], [rows, columns]) = (layout.strides(), matrix.shape().dims()) else { return None };
    let strides = (usize::try_from(row).ok()?, usize::try_from(column).ok()?);
    View::new(matrix.storage::<f32>().get(layout.start_offset()..)?, (rows, columns), strides)
}

/// Targets as i64, whatever the integer type.
fn indices(tensor: FlexTensor) -> Vec<i64> {
    tensor.into_data().iter::<i64>().collect()
}

/// A tensor whose last dimension is contiguous, as attention reads it.
fn rows_contiguous(tensor: FlexTensor) -> FlexTensor {
    let strides = tensor.layout().strides();
    let fits = strides.iter().all(|&stride| stride >= 0) && strides[strides.len() - 1] == 1;
    if fits { tensor } else { tensor.to_contiguous() }
}

fn heads(tensor: &FlexTensor) -> Heads<'_> {
    heads_in(tensor, tensor.storage::<f32>())
}

/// The heads of a tensor, whose elements these are.
fn heads_in<'a, T>(tensor: &FlexTensor, elements: &'a [T]) -> Heads<'a, T> {
    let layout = tensor.layout();
    let stride = |dim: usize| layout.strides()[dim] as usize;
    Heads { data: &elements[layout.start_offset()..], strides: [stride(0), stride(1), stride(2)] }
}

/// f16 as f32.
fn widened(tensor: FlexTensor) -> FlexTensor {
    let shape = tensor.shape();
    let halves = contiguous(tensor);
    let Some((start, end)) = halves.layout().contiguous_offsets() else { unreachable!("made contiguous before") };
    let halves = &halves.storage::<f16>()[start..end];
    let mut wide = vec![0.0; halves.len()];
    parallel::chunks(wide.len(), (Buffer::in_place(&mut wide), PIECE), |at, wide| {
        halves[at * PIECE..][..wide.len()].convert_to_f32_slice(wide);
    });
    self::tensor(wide, shape)
}

/// f32 as f16; what is beyond its range becomes the largest or least that there is. NaN stays.
pub(super) fn to_f16(tensor: FlexTensor) -> FlexTensor {
    let shape = tensor.shape();
    let tensor = contiguous(tensor);
    let mut halves = vec![f16::ZERO; shape.num_elements()];
    let mut inside = [0.0; 256];
    for (halves, values) in halves.chunks_mut(inside.len()).zip(elements(&tensor).chunks(inside.len())) {
        for (inside, value) in inside.iter_mut().zip(values) {
            *inside = value.clamp(f16::MIN.to_f32_const(), f16::MAX.to_f32_const());
        }
        halves.convert_from_f32_slice(&inside[..values.len()]);
    }
    FlexTensor::new(Bytes::from_elems(halves), Layout::contiguous(shape), DType::F16)
}

fn problem<'a>(q: &FlexTensor, k: &FlexTensor, keys: &'a HostMask, config: &AttentionConfig) -> Problem<'a> {
    let ([batch, tq, heads, head_dim], [_, tk, kv_heads, _]) = (q.shape().dims(), k.shape().dims());
    Problem {
        batch,
        tq,
        tk,
        heads,
        kv_heads,
        head_dim,
        scale: config.scale as f32,
        softcap: config.softcap.map(|cap| cap as f32),
        causal: config.causal,
        window: config.window,
        padding: keys.padding.as_ref(),
        segments: keys.segments.as_ref(),
        until: keys.until.as_ref(),
    }
}

/// What hides keys, as the kernels read it.
struct HostMask {
    padding: Option<Padding>,
    segments: Option<Segments>,
    until: Option<Ends>,
}

impl HostMask {
    fn new(mask: KeyMask<Flex>) -> Self {
        let padding = mask.padding.map(|mask| {
            let [_, tokens] = mask.shape().dims();
            Padding::new(mask.into_data().iter::<bool>().map(u8::from).collect(), tokens)
        });
        let segments = mask.segments.map(|ids| {
            let [_, tokens] = ids.shape().dims();
            Segments::new(indices(ids), tokens)
        });
        let until = mask.until.map(|until| {
            let [_, tokens] = until.shape().dims();
            Ends::new(indices(until), tokens)
        });
        Self { padding, segments, until }
    }
}

impl FusedKernels for Flex {
    fn attention_forward(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        keys: KeyMask<Self>,
        config: &AttentionConfig,
    ) -> (FlexTensor, FlexTensor) {
        let halves = q.dtype() == DType::F32 && k.dtype() == DType::F16 && v.dtype() == DType::F16;
        let in_f16 = halves && q.shape()[1] <= FEW_QUERIES && config.scale > 0.0;
        let [k, v] = if halves && !in_f16 { [k, v].map(widened) } else { [k, v] };
        if !(in_f16 || all_f32(&[&q, &k, &v])) || config.scale <= 0.0 {
            return generic::attention_forward::<Self>(q, k, v, keys, config);
        }
        let [q, k, v] = [q, k, v].map(rows_contiguous);
        let keys = HostMask::new(keys);
        let problem = problem(&q, &k, &keys, config);
        let keys_values = if in_f16 {
            let half = |tensor| heads_in(tensor, FlexTensor::storage::<f16>(tensor).reinterpret_cast());
            KeysValues::F16(half(&k), half(&v))
        } else {
            KeysValues::F32(heads(&k), heads(&v))
        };
        let (out, lse) = attention::forward(&problem, heads(&q), keys_values);
        let lse_shape = Shape::from([problem.batch, problem.heads, problem.tq]);
        (tensor(out, q.shape()), tensor(lse, lse_shape))
    }

    fn attention_backward(saved: AttentionSaved<Self>, grad: FlexTensor, config: &AttentionConfig) -> [FlexTensor; 3] {
        if !all_f32(&[&saved.q, &saved.k, &saved.v]) || config.scale <= 0.0 {
            return generic::attention_backward::<Self>(saved, grad, config);
        }
        let AttentionSaved { q, k, v, keys, out, lse } = saved;
        let [q, k, v, out, grad] = [q, k, v, out, grad].map(rows_contiguous);
        let keys = HostMask::new(keys);
        let problem = problem(&q, &k, &keys, config);
        let saved = Saved {
            q: heads(&q),
            k: heads(&k),
            v: heads(&v),
            out: heads(&out),
            lse: elements(&lse),
            grad: heads(&grad),
        };
        let [dq, dk, dv] = attention::backward(&problem, &saved);
        [tensor(dq, q.shape()), tensor(dk, k.shape()), tensor(dv, v.shape())]
    }

    fn cross_entropy_forward(
        logits: FlexTensor,
        targets: FlexTensor,
        softcap: Option<f64>,
    ) -> (FlexTensor, FlexTensor) {
        if !all_f32(&[&logits]) {
            return generic::cross_entropy_forward::<Self>(logits, targets, softcap);
        }
        let (logits, targets) = (contiguous(logits), indices(targets));
        let rows = targets.len();
        let (mut losses, mut lse) = (vec![0.0; rows], vec![0.0; rows]);
        let softcap = softcap.map(|cap| cap as f32);
        cross_entropy::forward(elements(&logits), &targets, softcap, &mut losses, &mut lse);
        (tensor(losses, Shape::from([rows])), tensor(lse, Shape::from([rows])))
    }

    fn cross_entropy_backward(
        logits: FlexTensor,
        targets: FlexTensor,
        lse: FlexTensor,
        grad: FlexTensor,
        softcap: Option<f64>,
    ) -> FlexTensor {
        if !all_f32(&[&logits]) {
            return generic::cross_entropy_backward::<Self>(logits, targets, lse, grad, softcap);
        }
        let (targets, grad) = (indices(targets), contiguous(grad));
        let softcap = softcap.map(|cap| cap as f32);
        let backward = |logits: Buffer| {
            cross_entropy::backward(logits, &targets, elements(&lse), elements(&grad), softcap);
        };
        transform(logits, backward).0
    }

    fn rms_norm_forward(x: FlexTensor, weight: FlexTensor, eps: f64, offset: bool) -> (FlexTensor, FlexTensor) {
        let [weight] = beside(&x, [weight]);
        if !all_f32(&[&x, &weight]) {
            return generic::rms_norm_forward::<Self>(x, weight, eps, offset);
        }
        let weight = contiguous(weight);
        norm_forward(x, rms(&weight, offset), eps)
    }

    fn rms_norm_backward(
        x: FlexTensor,
        weight: FlexTensor,
        statistics: FlexTensor,
        grad: FlexTensor,
        offset: bool,
    ) -> [FlexTensor; 2] {
        let dtype = weight.dtype();
        let [weight] = beside(&x, [weight]);
        if !all_f32(&[&x, &weight, &grad]) {
            return generic::rms_norm_backward::<Self>(x, weight, statistics, grad, offset);
        }
        let (x, weight) = (contiguous(x), contiguous(weight));
        let norm = rms(&weight, offset);
        let backward = |grad: Buffer| norm::backward(grad, elements(&x), norm, elements(&statistics));
        let (dx, (dw, _)) = transform(grad, backward);
        [dx, Float::<Flex>(tensor(dw, weight.shape())).cast(dtype)]
    }

    fn layer_norm_forward(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, eps: f64) -> (FlexTensor, FlexTensor) {
        let [weight, bias] = beside(&x, [weight, bias]);
        if !all_f32(&[&x, &weight, &bias]) {
            return generic::layer_norm_forward::<Self>(x, weight, bias, eps);
        }
        let (weight, bias) = (contiguous(weight), contiguous(bias));
        let norm = Norm::Layer { weight: elements(&weight), bias: elements(&bias) };
        norm_forward(x, norm, eps)
    }

    fn layer_norm_backward(
        x: FlexTensor,
        weight: FlexTensor,
        statistics: FlexTensor,
        grad: FlexTensor,
    ) -> [FlexTensor; 3] {
        let dtype = weight.dtype();
        let [weight] = beside(&x, [weight]);
        if !all_f32(&[&x, &weight, &grad]) {
            return generic::layer_norm_backward::<Self>(x, weight, statistics, grad);
        }
        let (x, weight) = (contiguous(x), contiguous(weight));
        // The bias does not enter its own gradient.
        let norm = Norm::Layer { weight: elements(&weight), bias: elements(&weight) };
        let backward = |grad: Buffer| norm::backward(grad, elements(&x), norm, elements(&statistics));
        let (dx, (dw, db)) = transform(grad, backward);
        let [dw, db] = [dw, db].map(|d| Float::<Flex>(tensor(d, weight.shape())).cast(dtype));
        [dx, dw, db]
    }

    fn activation_forward(activation: Activation, x: FlexTensor) -> FlexTensor {
        if !all_f32(&[&x]) {
            return generic::activation_forward::<Self>(activation, x);
        }
        transform(x, |x| elementwise::activate(activation, x)).0
    }

    fn activation_backward(activation: Activation, x: FlexTensor, grad: FlexTensor) -> FlexTensor {
        if !all_f32(&[&x, &grad]) {
            return generic::activation_backward::<Self>(activation, x, grad);
        }
        let x = contiguous(x);
        transform(grad, |grad| elementwise::activate_backward(activation, grad, elements(&x))).0
    }

    fn gated_forward(activation: Activation, gate: FlexTensor, up: FlexTensor) -> FlexTensor {
        if !all_f32(&[&gate, &up]) {
            return generic::gated_forward::<Self>(activation, gate, up);
        }
        let up = contiguous(up);
        transform(gate, |gate| elementwise::gated(activation, gate, elements(&up))).0
    }

    fn gated_backward(activation: Activation, gate: FlexTensor, up: FlexTensor, grad: FlexTensor) -> [FlexTensor; 2] {
        if !all_f32(&[&gate, &up, &grad]) {
            return generic::gated_backward::<Self>(activation, gate, up, grad);
        }
        let gate = contiguous(gate);
        let (d_gate, (d_up, ())) = transform(grad, |grad| {
            transform(up, |up| elementwise::gated_backward(activation, grad, elements(&gate), up))
        });
        [d_gate, d_up]
    }

    fn product(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        if !all_f32(&[&a, &b]) {
            return Self::float_matmul(a, b);
        }
        let [a, b] = [a, b].map(|matrix| if view(&matrix).is_some() { matrix } else { matrix.to_contiguous() });
        match (view(&a), view(&b)) {
            (Some(left), Some(right)) => {
                let [rows, _] = a.shape().dims();
                let [_, columns] = b.shape().dims();
                tensor(product::product(left, right), Shape::from([rows, columns]))
            }
            _ => Self::float_matmul(a, b),
        }
    }

    fn half_linear(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        let [rows, _] = x.shape().dims();
        let whole = if half_matrix(&weight).is_some() { weight } else { weight.to_contiguous() };
        match half_matrix(&whole) {
            Some(matrix) if x.dtype() == DType::F32 => {
                let x = contiguous(x);
                tensor(half::multiply(elements(&x), matrix), Shape::from([rows, matrix.columns()]))
            }
            _ => {
                let whole = Float::<Flex>(whole).cast(x.dtype());
                Float::<Flex>(x).matmul(Float(whole)).0
            }
        }
    }

    fn rotate_kernel(x: FlexTensor, cos: FlexTensor, sin: FlexTensor, inverse: bool) -> FlexTensor {
        if !all_f32(&[&x, &cos, &sin]) {
            return generic::rotate::<Self>(x, cos, sin, inverse);
        }
        let [_, _, heads, head_dim] = x.shape().dims();
        let (cos, sin) = (contiguous(cos), contiguous(sin));
        let rotation = elementwise::Rotation { cos: elements(&cos), sin: elements(&sin), heads, head_dim, inverse };
        transform(x, |x| elementwise::rotate(x, rotation)).0
    }

    fn sum_squares_kernel(x: FlexTensor) -> FlexTensor {
        if !all_f32(&[&x]) {
            return generic::sum_squares::<Self>(x);
        }
        tensor(vec![elementwise::sum_squares(elements(&contiguous(x)))], Shape::from([1]))
    }

    /// Burn's own zeros are made twice, once unaligned, and copied; of an embedding table that is gigabytes for a moment.
    fn zeros_like(like: &FlexTensor) -> FlexTensor {
        if like.dtype() != DType::F32 {
            return FlexTensor::zeros(like.shape(), like.dtype());
        }
        let shape = like.shape();
        tensor(vec![0.0; shape.num_elements()], shape)
    }

    fn adamw_kernel(
        param: FlexTensor,
        grad: FlexTensor,
        exp_avg: FlexTensor,
        exp_avg_sq: FlexTensor,
        hyper: &AdamWHyper,
    ) -> [FlexTensor; 3] {
        if !all_f32(&[&param, &grad, &exp_avg, &exp_avg_sq]) {
            return generic::adamw::<Self>(param, grad, exp_avg, exp_avg_sq, hyper);
        }
        let grad = contiguous(grad);
        let (param, (exp_avg, (exp_avg_sq, ()))) = transform(param, |param| {
            transform(exp_avg, |exp_avg| {
                transform(exp_avg_sq, |exp_avg_sq| {
                    elementwise::adamw((param, exp_avg, exp_avg_sq), elements(&grad), hyper);
                })
            })
        });
        [param, exp_avg, exp_avg_sq]
    }
}

fn rms(weight: &FlexTensor, offset: bool) -> Norm<'_> {
    Norm::Rms { weight: elements(weight), offset: if offset { 1.0 } else { 0.0 } }
}

fn norm_forward(x: FlexTensor, norm: Norm, eps: f64) -> (FlexTensor, FlexTensor) {
    let rows = x.layout().num_elements() / norm.hidden().max(1);
    let mut statistics = vec![0.0; rows * 2];
    let (y, ()) = transform(x, |x| norm::forward(x, norm, eps as f32, &mut statistics));
    (y, tensor(statistics, Shape::from([rows, 2])))
}

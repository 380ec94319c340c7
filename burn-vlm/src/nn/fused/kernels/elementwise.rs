//! Activations, gated units, rotary positions and the AdamW update.

use super::math::{erf, exp, sigmoid, tanh};
use super::parallel::{Buffer, PIECE, chunks, chunks2, chunks3, rows_per_piece};
use super::simd::{Isa, Kernel, dispatch, dot};
use crate::nn::{Activation, AdamWHyper};

/// A function and its derivative, compiled for any instruction set.
trait Function: Copy + Send + Sync {
    /// `f(x)` and `f'(x)`; the part that is not used is compiled away.
    fn value_and_slope<I: Isa>(self, x: f32) -> (f32, f32);
}

/// Defines a [`Function`].
macro_rules! function {
    ($(#[$doc:meta])* $name:ident, |$x:ident| <$isa:ident> $body:block) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        struct $name;
        impl Function for $name {
            #[inline(always)]
            fn value_and_slope<$isa: Isa>(self, $x: f32) -> (f32, f32) $body
        }
    };
}

function!(
    /// `x Phi(x)`.
    Gelu,
    |x| <I> {
        const INVERSE_SQRT_2: f32 = std::f32::consts::FRAC_1_SQRT_2;
        const INVERSE_SQRT_2_PI: f32 = 0.398_942_3;
        let phi = I::mul_add(erf::<I>(x * INVERSE_SQRT_2), 0.5, 0.5);
        let density = INVERSE_SQRT_2_PI * exp::<I>(-0.5 * x * x);
        (x * phi, I::mul_add(x, density, phi))
    }
);
function!(
    /// The tanh form of GELU; `(1 + tanh u) / 2` is `sigmoid(2 u)`.
    GeluTanh,
    |x| <I> {
        const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769;
        const CUBIC: f32 = 0.044_715;
        let s = x * x;
        let u = TWICE_SQRT_2_OVER_PI * x * I::mul_add(CUBIC, s, 1.0);
        let gate = sigmoid::<I>(u);
        let u_slope = TWICE_SQRT_2_OVER_PI * I::mul_add(3.0 * CUBIC, s, 1.0);
        (x * gate, I::mul_add(x * u_slope, gate * (1.0 - gate), gate))
    }
);
function!(
    /// `x sigmoid(1.702 x)`.
    QuickGelu,
    |x| <I> {
        const SLOPE: f32 = 1.702;
        let gate = sigmoid::<I>(SLOPE * x);
        (x * gate, I::mul_add(SLOPE * x, gate * (1.0 - gate), gate))
    }
);
function!(
    /// `x sigmoid(x)`.
    Silu,
    |x| <I> {
        let gate = sigmoid::<I>(x);
        (x * gate, I::mul_add(x, gate * (1.0 - gate), gate))
    }
);
function!(
    /// `max(x, 0)`, which keeps NaN.
    Relu,
    |x| <I> { if x <= 0.0 { (0.0, 0.0) } else { (x, 1.0) } }
);
function!(
    /// Hyperbolic tangent.
    Tanh,
    |x| <I> {
        let y = tanh::<I>(x);
        (y, I::mul_add(-y, y, 1.0))
    }
);
function!(
    /// Logistic function.
    Sigmoid,
    |x| <I> {
        let y = sigmoid::<I>(x);
        (y, y * (1.0 - y))
    }
);
function!(
    /// The identity.
    Linear,
    |x| <I> { (x, 1.0) }
);

/// Calls a generic function with the [`Function`] of an [`Activation`].
macro_rules! with_function {
    ($activation:expr, $call:ident($($argument:expr),*)) => {
        match $activation {
            Activation::Gelu => $call(Gelu, $($argument),*),
            Activation::GeluPytorchTanh | Activation::GeluNew => $call(GeluTanh, $($argument),*),
            Activation::QuickGelu => $call(QuickGelu, $($argument),*),
            Activation::Silu => $call(Silu, $($argument),*),
            Activation::Relu => $call(Relu, $($argument),*),
            Activation::Tanh => $call(Tanh, $($argument),*),
            Activation::Sigmoid => $call(Sigmoid, $($argument),*),
            Activation::Linear => $call(Linear, $($argument),*),
        }
    };
}

/// `x = f(x)`.
pub fn activate(activation: Activation, x: Buffer) {
    fn go<F: Function>(function: F, x: Buffer) {
        chunks(x.len(), (x, PIECE), |_, x| dispatch(Activate(function, x)));
    }
    with_function!(activation, go(x))
}

/// `grad = grad * f'(x)`.
pub fn activate_backward(activation: Activation, grad: Buffer, x: &[f32]) {
    fn go<F: Function>(function: F, grad: Buffer, x: &[f32]) {
        chunks(x.len(), (grad, PIECE), |i, grad| {
            dispatch(ActivateBackward(function, grad, &x[i * PIECE..]));
        });
    }
    with_function!(activation, go(grad, x))
}

/// `gate = f(gate) * up`.
pub fn gated(activation: Activation, gate: Buffer, up: &[f32]) {
    fn go<F: Function>(function: F, gate: Buffer, up: &[f32]) {
        chunks(up.len(), (gate, PIECE), |i, gate| dispatch(Gated(function, gate, &up[i * PIECE..])));
    }
    with_function!(activation, go(gate, up))
}

/// From `grad` of `f(gate) * up`: `grad` becomes that of `gate`, `up` that of `up`.
pub fn gated_backward(activation: Activation, grad: Buffer, gate: &[f32], up: Buffer) {
    fn go<F: Function>(function: F, grad: Buffer, gate: &[f32], up: Buffer) {
        chunks2(gate.len(), (grad, PIECE), (up, PIECE), |i, grad, up| {
            dispatch(GatedBackward(function, grad, &gate[i * PIECE..], up));
        });
    }
    with_function!(activation, go(grad, gate, up))
}

struct Activate<'a, F>(F, &'a mut [f32]);

impl<F: Function> Kernel for Activate<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for x in self.1 {
            *x = self.0.value_and_slope::<I>(*x).0;
        }
    }
}

struct ActivateBackward<'a, F>(F, &'a mut [f32], &'a [f32]);

impl<F: Function> Kernel for ActivateBackward<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (grad, x) in self.1.iter_mut().zip(self.2) {
            *grad *= self.0.value_and_slope::<I>(*x).1;
        }
    }
}

struct Gated<'a, F>(F, &'a mut [f32], &'a [f32]);

impl<F: Function> Kernel for Gated<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (gate, up) in self.1.iter_mut().zip(self.2) {
            *gate = self.0.value_and_slope::<I>(*gate).0 * up;
        }
    }
}

struct GatedBackward<'a, F>(F, &'a mut [f32], &'a [f32], &'a mut [f32]);

impl<F: Function> Kernel for GatedBackward<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for ((grad, gate), up) in self.1.iter_mut().zip(self.2).zip(self.3) {
            let (value, slope) = self.0.value_and_slope::<I>(*gate);
            let upstream = *grad;
            *grad = upstream * *up * slope;
            *up = upstream * value;
        }
    }
}

/// Sizes of a rotation.
#[derive(Clone, Copy)]
pub struct Rotation<'a> {
    /// `[1 or batch, tokens, head_dim / 2]`
    pub cos: &'a [f32],
    /// As `cos`.
    pub sin: &'a [f32],
    /// Heads of each token.
    pub heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Rotate backwards, as the gradient needs it.
    pub inverse: bool,
}

/// Rotates the heads of `[batch, tokens, heads, head_dim]` in place; angles repeat when they cover one batch row.
pub fn rotate(x: Buffer, rotation: Rotation) {
    let token = rotation.heads * rotation.head_dim;
    let tokens = rows_per_piece(token);
    chunks(x.len(), (x, tokens * token), |i, x| {
        dispatch(Rotate { x, rotation, first: i * tokens });
    });
}

struct Rotate<'a> {
    x: &'a mut [f32],
    rotation: Rotation<'a>,
    /// Index of the first token.
    first: usize,
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Rotation { cos, sin, heads, head_dim, inverse } = self.rotation;
        let half = head_dim / 2;
        let angles = cos.len() / half.max(1);
        let sign = if inverse { -1.0 } else { 1.0 };
        for (i, token) in self.x.chunks_exact_mut((heads * head_dim).max(1)).enumerate() {
            let start = (self.first + i) % angles.max(1) * half;
            let (cos, sin) = (&cos[start..start + half], &sin[start..start + half]);
            for head in token.chunks_exact_mut(head_dim) {
                let (x1, x2) = head.split_at_mut(half);
                for (((x1, x2), cos), sin) in x1.iter_mut().zip(x2).zip(cos).zip(sin) {
                    let sin = sign * sin;
                    let rotated = I::mul_add(*x1, *cos, -(*x2 * sin));
                    *x2 = I::mul_add(*x2, *cos, *x1 * sin);
                    *x1 = rotated;
                }
            }
        }
    }
}

/// Sum of squares: pieces in f32, their sum in f64 and in order.
pub fn sum_squares(x: &[f32]) -> f32 {
    let mut partial = vec![0.0; x.len().div_ceil(PIECE)];
    chunks(x.len(), (Buffer::in_place(&mut partial), 1), |i, sum| {
        let start = i * PIECE;
        sum[0] = dispatch(SumSquares(&x[start..(start + PIECE).min(x.len())]));
    });
    partial.iter().map(|&sum| f64::from(sum)).sum::<f64>() as f32
}

struct SumSquares<'a>(&'a [f32]);

impl Kernel for SumSquares<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self) -> f32 {
        dot::<I>(self.0, self.0)
    }
}

/// One AdamW update of parameter, mean and mean square.
pub fn adamw((param, exp_avg, exp_avg_sq): (Buffer, Buffer, Buffer), grad: &[f32], hyper: &AdamWHyper) {
    let elements = grad.len();
    let buffers = (param, exp_avg, exp_avg_sq);
    chunks3(elements, buffers, PIECE, |i, param, exp_avg, exp_avg_sq| {
        dispatch(AdamW { param, grad: &grad[i * PIECE..], exp_avg, exp_avg_sq, hyper: *hyper });
    });
}

struct AdamW<'a> {
    param: &'a mut [f32],
    grad: &'a [f32],
    exp_avg: &'a mut [f32],
    exp_avg_sq: &'a mut [f32],
    hyper: AdamWHyper,
}

impl Kernel for AdamW<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let hyper = self.hyper;
        let (correction1, correction2) = hyper.bias_corrections();
        let decay = (1.0 - hyper.lr * hyper.weight_decay) as f32;
        let (keep1, new1) = (hyper.beta1 as f32, (1.0 - hyper.beta1) as f32);
        let (keep2, new2) = (hyper.beta2 as f32, (1.0 - hyper.beta2) as f32);
        let step_size = (hyper.lr / correction1) as f32;
        let root = correction2.sqrt() as f32;
        let eps = hyper.eps as f32;
        let state = self.exp_avg.iter_mut().zip(self.exp_avg_sq);
        for ((param, grad), (mean, square)) in self.param.iter_mut().zip(self.grad).zip(state) {
            *mean = I::mul_add(keep1, *mean, new1 * grad);
            *square = I::mul_add(keep2, *square, new2 * grad * grad);
            let denominator = square.sqrt() / root + eps;
            *param = I::mul_add(decay, *param, -(step_size * (*mean / denominator)));
        }
    }
}

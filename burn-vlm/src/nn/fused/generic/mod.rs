//! Every operation composed of a backend's own primitives: forward and hand-written backward.
//!
//! These bodies serve all backends and element types without kernels of their own. Statistics and sums are f32,
//! results have the element type of the input.

mod attention;
mod loss;
mod norm;
mod pointwise;
pub(super) mod tensor;

pub use attention::{backward as attention_backward, forward as attention_forward};
pub use loss::{backward as cross_entropy_backward, forward as cross_entropy_forward};
pub use norm::{layer_norm_backward, layer_norm_forward, rms_norm_backward, rms_norm_forward};
pub use pointwise::{
    activation_backward, activation_forward, adamw, gated_backward, gated_forward, rotate, sum_squares,
};

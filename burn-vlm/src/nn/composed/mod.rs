//! The same functions composed of Burn's own tensor operations, differentiated by Burn.
//!
//! They are the reference the fused operations are tested and measured against, and what runs for element
//! types the fused operations do not cover.

mod attention;
mod pointwise;

pub use attention::attention;
pub use pointwise::{activation, adamw_step, cross_entropy, gated, layer_norm, rms_norm, rope};

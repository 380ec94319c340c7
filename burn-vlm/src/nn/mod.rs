//! Building blocks that all models share: attention, rotary positions, normalisation, gated units, losses.
//!
//! Every function works on every backend, on plain and on autodiff tensors. What is unusual here:
//! - activations keep the layout `[batch, tokens, heads, head_dim]` from the projections to the output
//!   projection, so no transposed copy is ever made;
//! - modules name their parameters as the published checkpoints do (`weight`, `bias`).

pub mod activation;
pub mod adamw;
pub mod attention;
pub mod checkpointing;
pub mod composed;
pub mod dropout;
pub mod embedding;
pub(crate) mod fused;
pub mod linear;
pub mod lora;
pub mod loss;
pub mod norm;
pub mod precision;
pub mod rope;
pub mod vectors;

pub use activation::{Activation, gated};
pub use adamw::{AdamWHyper, adamw_step, sum_squares};
pub use attention::{AttentionMask, AttentionOptions, attention};
pub use checkpointing::checkpoint;
pub use dropout::with_dropout;
pub use embedding::{Embedding, embedding};
pub use linear::{Linear, linear};
pub use lora::{Lora, LoraMatrix};
pub use loss::{CHUNK_ELEMENTS, HeadWeight, cross_entropy, label_losses, linear_cross_entropy, token_log_probs};
pub use norm::{LayerNorm, RmsNorm, layer_norm, rms_norm};
pub use precision::Precision;
pub use rope::{RopeAngles, RopeTable, rope};

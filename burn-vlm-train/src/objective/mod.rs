//! What is minimised, and on which samples.
//!
//! `Mixed` stream -> [`SampleMaker`] (ids, labels, pixels or features) -> [`Layout`] (micro-batches) -> [`IntoInput`] -> the model's
//! loss. There is no other way into training, whatever the samples come from.

mod contrastive;
mod losses;
mod text;
mod validation;
mod vlm;

pub use burn_vlm_data::prepare::{
    Batch, Features, Layout, Packed, PreparedImage, PreparedSample, SampleMaker, SampleStream, Visual,
    next_token_targets, pixels,
};
pub use contrastive::{ContrastiveObjective, PairBatch, encode_text};
pub use losses::{BatchLoss, LossSums, TargetLosses};
pub use text::TextObjective;
pub use validation::{Group, HeldOut, Validation};
pub use vlm::{IntoInput, VlmObjective, batch_size, int_tensor, routing_text, visual_features};

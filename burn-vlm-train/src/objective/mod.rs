//! What is minimised, and on which samples: from a [`Source`](burn_vlm_data::source::Source)'s sample to a loss.
//!
//! `Mixed` stream -> [`SampleMaker`] (ids, labels, pixels or features) -> [`Layout`] (micro-batches) -> [`Batch::input`] ->
//! the model's loss. There is no other way into training, whatever the samples come from.

mod batch;
mod cache;
mod contrastive;
mod prepare;
mod stream;
mod text;
mod validation;
mod vlm;

pub use batch::{Batch, Layout, Packed, Visual, int_tensor, next_token_targets, routing_text};
pub use contrastive::{ContrastiveObjective, PairBatch, encode_text};
pub use prepare::{Features, PreparedImage, PreparedSample, SampleMaker, pixels};
pub use stream::SampleStream;
pub use text::TextObjective;
pub use validation::{Group, HeldOut, Validation};
pub use vlm::VlmObjective;

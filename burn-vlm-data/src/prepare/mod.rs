//! The last way before the tensor: a sample made ready, its features if a frozen tower made them before, and micro-batches.

mod features;
mod layout;
mod maker;
mod stream;

pub use features::{FeatureBank, Views};
pub use layout::{Batch, Layout, Packed, ShownMedia, ShownMedium, Visual, next_token_targets};
pub use maker::{Features, Origin, PreparedImage, PreparedSample, SampleMaker, pixels};
pub use stream::{SampleStream, Steps};

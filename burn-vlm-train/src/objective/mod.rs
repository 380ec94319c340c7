//! What is minimised, and on which samples.

mod contrastive;
mod conversation;
mod sources;
mod text;
mod vlm;

pub use contrastive::{ContrastiveObjective, PairBatch, encode_text};
pub use conversation::{
    ConversationBatch, ConversationPlan, Conversations, encode_turns, image_positions, next_token_targets,
};
pub use sources::{Packed, PreparedSample, SampleMaker, SourceBatch, SourceObjective, SourceStage};
pub use text::TextObjective;
pub use vlm::{VisionLanguage, Visual, VisualSource, VlmBatch, VlmObjective, needs_user_turns, routing_text};

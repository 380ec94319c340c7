//! Optimization: AdamW as PyTorch has it, learning rates by name pattern, one schedule for all, the global gradient norm.

mod adamw;
mod groups;
mod norm;
mod schedule;

pub use adamw::{AdamW, AdamWConfig, Moments};
pub use groups::thousands;
pub use groups::{LearningRates, PartReport};
pub use norm::global_norm;
pub use schedule::{Schedule, ScheduleKind};

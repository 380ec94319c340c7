//! Steps between raw data and training: what stands in training and in a benchmark, which translations are kept, what they answer.

pub mod filter;
mod languages;
pub mod overlap;
pub mod pair_prompts;
mod rows;
mod said;

pub use languages::{assign_languages, language_key};
pub use rows::{RowError, RowWriter, picture_root};
pub use said::said;

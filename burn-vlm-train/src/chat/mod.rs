//! Talking to a vision-language model, or to a language model alone: a folder, pictures, turns, and the answer as it is written.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use burn_vlm_train::chat::ChatModel;
//!
//! let device = burn::tensor::Device::flex();
//! let chat = ChatModel::load("llava-1.5-7b-hf".as_ref(), &device)?;
//! let mut session = chat.session();
//! session.add_image("cat.jpg", &std::fs::read("cat.jpg")?)?;
//! for text in session.ask("What is this?")? {
//!     print!("{}", text?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Unusual here:
//! - a folder is a published checkpoint or a trained run of this library, there is no difference;
//! - the next turn runs only what was said since: the cache of the earlier turns is kept as far as the tokens agree;
//! - dropping the answer half-way keeps what was written as the assistant's turn;
//! - many conversations are answered at once by a [`ChatBatch`], which one may join and leave at any time, each with the answer that it
//!   has alone;
//! - an answer may be kept to a form ([`ChatModel::form`]): JSON that a schema allows.

mod answer;
mod batch;
mod form;
mod model;
mod prompt;
mod session;
#[cfg(test)]
mod tests;

pub use answer::{Answer, AnswerStats};
pub use batch::{AnswerEnd, AnswerPart, AnswerSettings, BatchLimits, ChatBatch, WrittenToken};
pub use model::{ChatModel, Talker, is_language_model, model_folder};
pub use prompt::{ChatPrompt, PromptError, PromptMedium, Said, SaidPiece};
pub use session::ChatSession;

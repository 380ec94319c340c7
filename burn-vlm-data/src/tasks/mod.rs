//! Tasks built from the emoji corpus: what is trained and what is asked.
//!
//! Unusual here:
//! - everything is drawn by concept alone (a hash of seed and concept), never by language, so that the samples and
//!   questions of all languages are parallel: same concepts, same pictures, same distractors, same option order;
//! - training samples come from split train and the training styles only; questions show the style twemoji;
//! - distractors come from the target's own split: a caption model likes names that it has trained on, and would
//!   score below chance on an unseen name among seen ones;
//! - pictures of words are drawn when they are shown; their question is the picture alone;
//! - text-only tasks have the shape of the picture tasks, text standing where the picture will.
//!
//! ```
//! use burn_vlm_data::{emoji::EmojiCorpus, language::Language, tasks::{Distractors, Pool, TaskBuilder}};
//! let corpus = EmojiCorpus::embedded()?;
//! let tasks = TaskBuilder::new(&corpus, &[Language::EN, Language::DE], 0)?;
//! let training = tasks.captions();
//! let questions = tasks.choice_items(Pool::TEST_SEEN, Distractors::Near, 1);
//! assert_eq!(questions.len() % 2, 0);
//! # assert!(!training.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod choice;
mod clips;
mod items;
mod pictures;
mod pool;
mod prompts;
mod scenes;
mod settings;
mod task;
mod text;
mod training;
mod translated;
mod words;

pub use builder::{TaskBuilder, TaskError};
pub use clips::{CLIP_SIDE, ClipItem, ClipQuestion, ClipSettings};
pub use items::{ChoiceItem, ChoiceQuestion, LETTERS, Lettered, YesNoItem};
pub use pool::{Concepts, Distractors, Pool, Purpose};
pub use prompts::{Prompts, prompts, wording};
pub use scenes::{CANVAS, IconSize, SceneItem, SceneOptions, SceneQuestion, SceneSettings};
pub use settings::{TaskSettings, WordSettings};
pub use task::Task;
pub use training::{training_samples, training_source};
pub use translated::{TranslatedName, TranslatedSettings, translated_names};
pub use words::{Vocabulary, WordItem, WordTasks};

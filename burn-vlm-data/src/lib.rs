//! Data for vision-language models: everything that comes before the tensor.
//!
//! - [`language`]: languages and the papers' language sets
//! - [`emoji`]: the embedded corpus of real pictures with human-curated texts in 32 languages
//! - [`tasks`]: captions, choice questions, translations, ... built from it, parallel across languages
//! - [`words`]: words rendered in pictures, in eleven scripts
//! - [`conversation`], [`sample`]: turns, and a conversation with its origin; [`drawn`]: pictures that are drawn when they are shown
//! - [`processor`]: conversations and pictures -> ids, labels and pixels, one way for training, scoring and chat; it is made of
//!   [`tokenizer`], [`chat_template`], [`encode`], [`plain`] and [`image`]; [`text_stream`]: and back; [`constrain`]: answers that are
//!   JSON by a schema
//! - [`source`]: a user's own data: LLaVA JSON, parquet, WebDataset, TSV
//! - [`image`]: picture bytes -> normalised pixels, and light augmentation
//! - [`video`]: video files -> chosen frames -> normalised pixels
//! - [`mixture`]: sources of a user's own data, their proportions by language, and the samples that they draw
//! - [`pipeline`]: steps between raw data and training: translating, filtering, what stands in a benchmark too; and a log of long work
//! - [`comet`]: pairs of texts for translation metrics, and the error spans that come of them
//! - `dataset` (feature `burn-dataset`): sources and mixtures as data sets of Burn
//! - [`collate`], [`sampler`], [`loader`]: batches, sample order, worker threads
//! - [`batching`]: batches by real length within a budget of tokens, and packed rows
//!
//! The crate knows no tensor library: it ends at plain vectors. Everything random is a pure function of a seed and a
//! position ([`random`]), so that an interrupted run continues exactly.
//!
//! The book has pages on [your own data](https://github.com/burn-vlm/burn-vlm/blob/main/docs/own-data.md), [sources](https://github.com/burn-vlm/burn-vlm/blob/main/docs/sources.md),
//! [pictures](https://github.com/burn-vlm/burn-vlm/blob/main/docs/image-processing.md) and
//! [videos](https://github.com/burn-vlm/burn-vlm/blob/main/docs/video.md).

#![deny(missing_docs)]
// FFmpeg's libraries are the one place where it is allowed, by name.
#![cfg_attr(not(feature = "libav"), forbid(unsafe_code))]
#![cfg_attr(feature = "libav", deny(unsafe_code))]

pub mod batching;
mod braces;
pub mod chat_template;
pub mod collate;
pub mod comet;
pub mod constrain;
pub mod conversation;
#[cfg(feature = "burn-dataset")]
pub mod dataset;
pub mod drawn;
pub mod emoji;
pub mod encode;
pub mod image;
pub mod language;
pub mod loader;
pub mod mixture;
pub mod pipeline;
pub mod plain;
pub mod prepare;
pub mod processor;
pub use burn_vlm_base::random;
pub mod sample;
pub mod sampler;
pub mod source;
pub mod tasks;
pub mod text_stream;
pub mod tokenizer;
pub mod video;
pub mod words;

//! What the other crates stand on and what knows nothing of them: no tensors, no file formats, no models.
//!
//! - [`files`]: files and folders that are there whole or not at all;
//! - [`guard`]: calls into libraries that panic;
//! - [`jsonl`]: one JSON record a line, which survives being killed in the middle of a line;
//! - [`lock`]: at most one process works on a folder;
//! - [`onevision`]: how many visual tokens videos and large pictures give;
//! - [`published`]: JSON files of Hugging Face, whose `null`s are absent and whose errors name the key;
//! - [`model_folder`]: what a folder is that is no model;
//! - `progress` (a feature): bars and lines of what runs;
//! - [`seal`]: hashes of what a later step reads back;
//! - [`stop`]: the wish to stop at a safe point;
//! - [`suggest`]: "did you mean";
//! - [`shorten`]: values from outside in messages, cut to a length that can be read;
//! - [`random`]: seeded choices that are the same everywhere;
//! - [`tiling`]: into which tiles a picture is cut, and how many visual tokens they give.
//!
//! The book has a page on [how the crates belong together](https://github.com/burn-vlm/burn-vlm/blob/main/docs/architecture.md).

#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod files;
pub mod guard;
pub mod jsonl;
pub mod lock;
pub mod model_folder;
pub mod onevision;
#[cfg(feature = "progress")]
pub mod progress;
pub mod published;
pub mod random;
pub mod seal;
pub mod shorten;
pub mod stop;
pub mod suggest;
pub mod tiling;

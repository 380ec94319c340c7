//! Translated benchmarks that stay scorable: from a published benchmark and a table of translations to files that the benchmark's own
//! reader and scorer take.
//!
//! | module | what it holds |
//! |---|---|
//! | [`source`] | a benchmark, its texts, and what belongs together in it |
//! | [`translations`] | tables of translations |
//! | [`words`] | what is asked for below a question, and the words for yes and no |
//! | [`mod@edition`] | a benchmark in another language, with what was found wrong |
//! | [`check`] | what a translation may break |
//! | [`write`](mod@write), [`parquet`] | files: VLMEvalKit's table, and parquet |
//! | [`folder`] | a folder with all of it |
//! | [`gold`] | the right answers as replies, which must score 100 % |
//! | [`blind`] | questions that are answered without the picture |
//! | [`calibrate`] | what people make of translations: versions, votes, comments |
//!
//! Unusual here: what is right, ids, the order and the number of options come from the source and are never read from a translation, and
//! what belongs together (the rotations of a question, the two questions about a picture) is translated or left together.

pub mod blind;
pub mod calibrate;
pub mod check;
pub mod edition;
pub mod folder;
pub mod gold;
pub mod parquet;
pub mod source;
pub mod translations;
pub mod words;
pub mod write;

pub use edition::{BuildOptions, Edition, ItemReport, OnProblem, edition};
pub use source::{SourceBenchmark, kinds};
pub use translations::Translations;
pub use words::{AnswerWords, GivenWords};
pub use write::{EditionFile, Table};

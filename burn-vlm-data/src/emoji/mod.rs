//! The emoji corpus: pictures of 1,914 concepts in several independently drawn styles, with names and keywords in 32
//! languages (Unicode CLDR 48.2). It is embedded in the crate, so that every study runs with no download.
//!
//! Unusual here:
//! - concepts are split into train, validation and test by family, so *unseen concept*, *unseen style* (twemoji) and
//!   *unseen language* are three separate ways of holding out;
//! - some pictures look the same for several concepts (flags of France and Mayotte, most families of twemoji): the
//!   corpus knows these [`lookalikes`](EmojiCorpus::lookalikes), and task builders neither train nor score on them;
//! - Danish has no flag names of its own: they are composed as CLDR composes them in the other languages, from the
//!   word for "flag" and the territory's name.

mod corpus;
mod error;
mod parquet_columns;
mod read;
mod records;

pub use corpus::EmojiCorpus;
pub use error::CorpusError;
pub use records::{
    Concept, ConceptId, PICTURE_SIDE, Picture, PictureId, Split, Strings, StringsFacts, Style, TerritoryFact, Text,
};

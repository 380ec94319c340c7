//! What stands before and behind a translation metric of COMET's: pairs of texts as joined ids, long texts, error spans.
//!
//! Unusual here:
//! - the translation stands first, and each text is tokenized and cut alone before they are joined and cut again: with a long
//!   translation nearly nothing of the source is left, which is counted ([`Joined::lost`]);
//! - a padding token written in a text is dropped when texts are joined, while the places of the tokens are not moved with it, as in
//!   COMET;
//! - a long pair may be scored sentence by sentence instead ([`aligned_sentences`]), which COMET does not do.

mod join;
mod sentences;
mod spans;

pub use join::{Joined, PairTokenizer, Piece};
pub use sentences::{aligned_sentences, sentences};
pub use spans::{ErrorSpan, Severity, error_spans, mqm_score};

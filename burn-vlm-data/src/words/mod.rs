//! Words rendered in pictures, in eleven scripts and five levels of difficulty.
//!
//! - [`Lexicon`]: which words there are: names and keywords of the corpus that are one short word, held-out ones apart;
//! - [`Font`]: the fonts, for every script one that training never shows;
//! - [`Layout`], [`Level`]: where and how a word stands, some values of each held out;
//! - [`WordPicture`]: the picture of a word, drawn when it is shown.
//!
//! Samples and questions are made of them in [`tasks`](crate::tasks).

mod draw;
mod fonts;
mod layout;
mod lexicon;
mod outline;
mod script;

pub use draw::{Level, SIDES, WordPicture};
pub use fonts::Font;
pub use layout::Layout;
pub use lexicon::{Lexicon, Word, fold};
pub use script::Script;

//! Clips: icons of the corpus that move, grow, turn or follow one another, and what can be asked about that in the corpus's own words.
//!
//! A clip is a video of 32 frames of 64 x 64 pixels, of which some are shown, evenly spaced (`frames`). Every question has two answers.
//!
//! Six of the eight questions need several frames in their order, by how clips are made: each clip that is played backwards is a clip with
//! the other answer, and is drawn as often; and what its middle frame shows is drawn alike for both answers. So neither the frames without
//! their order, nor the middle frame, nor any one frame whose place is not told says anything of the answer. (Who knows that a frame is the
//! first one can tell more: which icon was first, and of some movements, which begin near an end of their way, where they go.)
//!
//! Held out: concepts (the corpus's own splits, as everywhere) and the style twemoji. Training clips show neither, scored ones nothing else.
//!
//! Unusual here: answers are names of arrows and signs, or of what is shown, in their order; CLDR has no words for "moves" or "then".

mod film;
mod items;
mod picture;
mod question;
mod settings;
#[cfg(test)]
mod tests;
mod time;
mod words;

pub use items::ClipItem;
pub use picture::CLIP_SIDE;
pub use question::ClipQuestion;
pub use settings::ClipSettings;

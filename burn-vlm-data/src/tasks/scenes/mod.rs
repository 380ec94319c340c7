//! Scenes: several icons of the corpus on a canvas, and what can be asked about them in the corpus's own words.
//!
//! A scene is 192 x 192 pixels with icons of one size, from a half to an eighth of its side: the size is what must be seen to answer, and
//! questions are scored by it. Wrong answers are names that the picture does not show (then it is enough to see what is there) or the
//! names of its other icons (then one must see where each stands).
//!
//! Held out: concepts (the corpus's own splits, as everywhere), the style twemoji, and about a quarter of the layouts that each form of
//! question can have. Training scenes show none of these, scored ones nothing but held-out layouts in the held-out style. A layout is where
//! the icons of all pictures of a question stand: of a pair of pictures the pair, of which a single one may stand in training.
//!
//! Not asked: which icon is the largest, or what lies between two others; CLDR's names have no words for that.

mod compose;
mod items;
mod layout;
mod level;
mod picture;
mod settings;
#[cfg(test)]
mod tests;
mod words;

pub use items::SceneItem;
pub use level::{CANVAS, IconSize, SceneOptions, SceneQuestion};
pub use settings::SceneSettings;

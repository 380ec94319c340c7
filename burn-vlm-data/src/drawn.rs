//! Pictures that are drawn when they are shown: a description and a seed instead of the bytes of a file.
//!
//! Words rendered in a font, several icons on a canvas: a recipe of data makes thousands of them, so none is kept. What a picture is
//! is decided by its description alone, which is what its [`MediaKey`] is made of: features that were computed for it are found
//! again without drawing it.

use crate::image::{RgbImage, encode_png};
use crate::sample::MediaKey;
use crate::source::{SkipKind, SkipReason};
use bytes::Bytes;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// How a picture is drawn.
///
/// Drawing is a pure function of the description: the same on every call, thread and machine.
pub trait Drawing: fmt::Debug + Send + Sync {
    /// Everything that decides the pixels, in one line that begins with the kind of drawing and the version of its code
    /// (`words/1 ...`): two drawings of one description are the same picture, and what draws otherwise has another description.
    fn description(&self) -> String;

    /// The pixels.
    ///
    /// # Errors
    /// What cannot be drawn, in words: a missing font, a damaged icon.
    fn draw(&self) -> Result<RgbImage, String>;

    /// Whether it is a frame of a video, which is shown whole and in one view.
    fn is_frame(&self) -> bool {
        false
    }

    /// What a drawing that fails is counted as.
    fn failure(&self) -> SkipKind {
        if self.is_frame() { SkipKind::UnreadableVideo } else { SkipKind::UnreadableImage }
    }
}

/// A picture that is drawn when it is shown.
#[derive(Clone)]
pub struct DrawnPicture {
    name: String,
    key: MediaKey,
    drawing: Arc<dyn Drawing>,
}

impl DrawnPicture {
    /// A picture of this name, which errors and predictions call it by.
    pub fn new(name: impl Into<String>, drawing: Arc<dyn Drawing>) -> Self {
        let key = MediaKey::of(drawing.description().as_bytes());
        Self { name: name.into(), key, drawing }
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash of its description.
    pub fn key(&self) -> MediaKey {
        self.key
    }

    /// Whether it is a frame of a video.
    pub fn is_frame(&self) -> bool {
        self.drawing.is_frame()
    }

    /// What decides its pixels, in a line.
    pub fn description(&self) -> String {
        self.drawing.description()
    }

    /// The pixels, drawn anew at each call.
    ///
    /// # Errors
    /// What cannot be drawn, with the picture's name.
    pub fn draw(&self) -> Result<RgbImage, SkipReason> {
        self.drawing.draw().map_err(|why| self.fail(why))
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// As [`Self::draw`].
    pub fn png(&self) -> Result<Bytes, SkipReason> {
        encode_png(&self.draw()?).map(Bytes::from).map_err(|error| self.fail(error.to_string()))
    }

    fn fail(&self, why: String) -> SkipReason {
        SkipReason::new(self.drawing.failure(), format!("{}: {why}", self.name))
    }
}

impl fmt::Debug for DrawnPicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrawnPicture")
            .field("name", &self.name)
            .field("description", &self.drawing.description())
            .finish()
    }
}

/// By what is drawn; [`Self::name`] counts too, as with pictures that are held.
impl PartialEq for DrawnPicture {
    fn eq(&self, other: &Self) -> bool {
        (self.key, &self.name) == (other.key, &other.name)
    }
}

impl Eq for DrawnPicture {}

impl Hash for DrawnPicture {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.key, &self.name).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::DecodeLimits;
    use crate::sample::Picture;
    use image::Rgb;

    #[derive(Debug)]
    struct Square(u8);

    impl Drawing for Square {
        fn description(&self) -> String {
            format!("square/1 {}", self.0)
        }

        fn draw(&self) -> Result<RgbImage, String> {
            let grey = Rgb([self.0; 3]);
            if self.0 == 0 { Err("black is missing".into()) } else { Ok(RgbImage::from_pixel(3, 2, grey)) }
        }
    }

    fn square(name: &str, grey: u8) -> Picture {
        Picture::Drawn(DrawnPicture::new(name, Arc::new(Square(grey))))
    }

    #[test]
    fn what_is_drawn_is_a_picture_like_any_other() {
        let (picture, limits) = (square("a", 7), DecodeLimits::default());
        let drawn = picture.decode(&limits).unwrap();
        assert_eq!((drawn.dimensions(), drawn.get_pixel(2, 1).0), ((3, 2), [7; 3]));
        let bytes = picture.read().unwrap();
        let file = Picture::Encoded { name: "a.png".into(), bytes };
        assert_eq!(file.decode(&limits).unwrap(), drawn);
        picture.look(&limits).unwrap();
    }

    #[test]
    fn it_is_known_by_its_description() {
        let key = |name, grey| square(name, grey).key().unwrap();
        assert_eq!(key("a", 7), key("b", 7));
        assert_ne!(key("a", 7), key("a", 8));
        assert_eq!(key("a", 7), MediaKey::of(b"square/1 7"));
        assert!(square("a", 7) == square("a", 7) && square("a", 7) != square("b", 7));
    }

    #[test]
    fn what_cannot_be_drawn_says_why() {
        let reason = square("a", 0).read().unwrap_err();
        assert_eq!((reason.kind, reason.detail.as_str()), (SkipKind::UnreadableImage, "a: black is missing"));
    }
}

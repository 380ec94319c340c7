//! Where a word stands, how it is turned and coloured: a few values each, some of which training never uses.

use super::draw::Level;
use crate::random::Stream;

/// Percent of the free room to the left of a word, and above it: those of training, those held out.
const PLACES: [&[u8]; 2] = [&[0, 30, 50, 70, 100], &[15, 40, 85]];
/// Degrees, clockwise.
const ANGLES: [&[i8]; 2] = [&[-30, -20, 20, 30], &[-25, 25]];
/// Percent of the largest size that fits.
const SCALES: [&[u8]; 2] = [&[100, 90, 80], &[95, 85]];
/// Positions in [`COLOURS`].
const PAIRS: [&[u8]; 2] = [&[0, 1, 2, 3, 4, 5, 6, 7], &[8, 9, 10, 11]];
/// Word and ground.
const COLOURS: [([u8; 3], [u8; 3]); 12] = [
    ([255, 255, 255], [20, 20, 20]),
    ([200, 30, 30], [255, 255, 255]),
    ([20, 60, 170], [250, 240, 200]),
    ([255, 220, 60], [30, 70, 40]),
    ([240, 240, 255], [150, 40, 90]),
    ([30, 100, 50], [220, 240, 220]),
    ([120, 50, 0], [255, 210, 150]),
    ([60, 20, 110], [190, 220, 255]),
    ([255, 255, 255], [20, 80, 180]),
    ([20, 90, 100], [255, 240, 245]),
    ([255, 230, 200], [90, 30, 20]),
    ([160, 20, 120], [225, 245, 255]),
];

/// Where a word stands, its turn, colours and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout {
    /// Percent of the free room on the left.
    pub across: u8,
    /// Percent of the free room above.
    pub down: u8,
    /// Degrees, clockwise; [`Level::Rotated`] alone is turned.
    pub angle: i8,
    /// Which colours [`Level::Coloured`] has.
    pub colours: u8,
    /// Percent of the largest size that fits.
    pub scale: u8,
}

impl Layout {
    /// In the middle, as it is.
    #[cfg(test)]
    pub(super) const CENTRE: Self = Self { across: 50, down: 50, angle: 0, colours: 0, scale: 100 };

    /// Draws a layout of training, or one that is held out: then each of its values is.
    pub fn draw(stream: &mut Stream, held_out: bool) -> Self {
        let side = usize::from(held_out);
        Self {
            across: pick(PLACES[side], stream),
            down: pick(PLACES[side], stream),
            angle: pick(ANGLES[side], stream),
            colours: pick(PAIRS[side], stream),
            scale: pick(SCALES[side], stream),
        }
    }

    /// Whether it is a layout that training draws; held-out ones have no value in common with them.
    pub fn is_training(&self) -> bool {
        let [places, angles] = [PLACES[0].contains(&self.across) && PLACES[0].contains(&self.down), true];
        let angles = angles && (self.angle == 0 || ANGLES[0].contains(&self.angle));
        places && angles && PAIRS[0].contains(&self.colours) && SCALES[0].contains(&self.scale)
    }

    /// What a level uses of it; the rest at its first value, so that equal pixels have equal layouts.
    pub(super) fn of(self, level: Level) -> Self {
        let angle = if level == Level::Rotated { self.angle } else { 0 };
        let colours = if level == Level::Coloured { self.colours } else { 0 };
        Self { angle, colours, ..self }
    }

    /// Colour of the word and of the ground.
    pub(super) fn colours(&self) -> ([u8; 3], [u8; 3]) {
        COLOURS[usize::from(self.colours) % COLOURS.len()]
    }

    pub(super) fn describe(&self) -> String {
        let Self { across, down, angle, colours, scale } = self;
        format!("{across} {down} {angle} {colours} {scale}")
    }
}

fn pick<T: Copy>(values: &[T], stream: &mut Stream) -> T {
    values[stream.below(values.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sides_have_no_value_in_common() {
        let mut stream = Stream::new(1);
        for _ in 0..200 {
            assert!(Layout::draw(&mut stream, false).is_training());
            let held_out = Layout::draw(&mut stream, true);
            assert!(!held_out.is_training());
            for one in [
                Layout { across: held_out.across, ..Layout::CENTRE },
                Layout { down: held_out.down, ..Layout::CENTRE },
                Layout { angle: held_out.angle, ..Layout::CENTRE },
                Layout { colours: held_out.colours, ..Layout::CENTRE },
                Layout { scale: held_out.scale, ..Layout::CENTRE },
            ] {
                assert!(!one.is_training(), "{one:?}");
            }
        }
        assert!(Layout::CENTRE.is_training());
    }

    /// The words can be told from their ground: WCAG's contrast of at least 4.5, its level AA for text.
    #[test]
    fn colours_have_contrast() {
        let linear = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let luminance = |[r, g, b]: [u8; 3]| 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        for (word, ground) in COLOURS {
            let (a, b) = (luminance(word), luminance(ground));
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(contrast >= 4.5, "{word:?} on {ground:?}: {contrast:.2}");
        }
    }
}

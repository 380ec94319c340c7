//! Where the icons of a scene stand, and which layouts are held out.
//!
//! Unusual here: what is held out is decided by the layout alone, by a hash of its places, so that no seed, concept, style or language
//! moves one from training to the questions.

use super::level::{CANVAS, IconSize};
use crate::random::{Stream, hash_bytes, mix};

/// Corners lie on a lattice of so many pixels.
const STEP: u32 = 8;
/// The least distance, in pixels, of an icon's middle from the canvas's middle lines where quarters are asked about: on the line it would
/// stand in none of them.
const CLEAR: u32 = 16;
/// Layouts that are drawn before giving up. A quarter is held out, and the tightest arrangement (three icons of half the canvas's
/// side) fits once in about ten draws.
const TRIES: usize = 400;
/// One layout in so many is held out.
const HELD_OUT: u64 = 4;
const SALT: u64 = 0x6c61_796f_7574_0001;

/// The upper left corner of an icon, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Corner {
    pub(super) left: u32,
    pub(super) top: u32,
}

/// A quarter of the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Quarter {
    UpLeft,
    UpRight,
    DownLeft,
    DownRight,
}

impl Quarter {
    pub(super) const ALL: [Quarter; 4] = [Self::UpLeft, Self::UpRight, Self::DownLeft, Self::DownRight];

    fn is_right(self) -> bool {
        matches!(self, Self::UpRight | Self::DownRight)
    }

    fn is_down(self) -> bool {
        matches!(self, Self::DownLeft | Self::DownRight)
    }
}

/// True for layouts that only questions have. `pictures` has the corners of each picture's icons; which icon stands where says nothing.
pub(super) fn is_held_out(size: IconSize, pictures: &[Vec<Corner>]) -> bool {
    let mut text = size.as_str().to_owned();
    for corners in pictures {
        let mut corners = corners.clone();
        corners.sort_unstable();
        text.push('|');
        corners.iter().for_each(|corner| text.push_str(&format!(" {},{}", corner.left, corner.top)));
    }
    mix(hash_bytes(text.as_bytes()), SALT).is_multiple_of(HELD_OUT)
}

/// Draws until a layout is on the side that is wanted: held out, or not.
pub(super) fn find(
    size: IconSize,
    held_out: bool,
    mut draw: impl FnMut() -> Option<Vec<Vec<Corner>>>,
) -> Option<Vec<Vec<Corner>>> {
    (0..TRIES).find_map(|_| draw().filter(|pictures| is_held_out(size, pictures) == held_out))
}

/// One icon anywhere.
pub(super) fn anywhere(size: IconSize, stream: &mut Stream) -> Corner {
    let room = CANVAS - size.side();
    Corner { left: on_lattice(0, room, stream), top: on_lattice(0, room, stream) }
}

/// One icon in each of these quarters, its middle well inside; none where two would overlap.
pub(super) fn quarters(size: IconSize, filled: &[Quarter], stream: &mut Stream) -> Option<Vec<Corner>> {
    let mut corners: Vec<Corner> = Vec::new();
    for quarter in filled {
        let left = in_half(size, quarter.is_right(), stream);
        let corner = Corner { left, top: in_half(size, quarter.is_down(), stream) };
        let apart = |other: &Corner| {
            corner.left.abs_diff(other.left) >= size.side() || corner.top.abs_diff(other.top) >= size.side()
        };
        if !corners.iter().all(apart) {
            return None;
        }
        corners.push(corner);
    }
    Some(corners)
}

/// Three icons beside each other, from left to right, each at some height. They take a third of the canvas's side at most.
pub(super) fn row(size: IconSize, stream: &mut Stream) -> Vec<Corner> {
    let third = CANVAS / 3;
    let room = third.saturating_sub(size.side());
    let corner = |number: u32| Corner {
        left: number * third + on_lattice(0, room, stream),
        top: on_lattice(0, CANVAS - size.side(), stream),
    };
    (0..3).map(corner).collect()
}

/// So many icons in cells of the grid that they would fill.
pub(super) fn grid(size: IconSize, count: usize, stream: &mut Stream) -> Vec<Corner> {
    let (across, side) = (size.across(), size.side());
    let mut cells: Vec<u32> = (0..across * across).collect();
    stream.shuffle(&mut cells);
    cells.truncate(count);
    cells.iter().map(|cell| Corner { left: cell % across * side, top: cell / across * side }).collect()
}

/// A coordinate of a corner, so that the middle lies in the first or second half.
fn in_half(size: IconSize, second: bool, stream: &mut Stream) -> u32 {
    let side = size.side();
    let most = (CANVAS / 2 - CLEAR).saturating_sub(side / 2);
    // Icons of half the canvas's side only fit beside each other at its edges.
    let at_edge = size == IconSize::Half && stream.below(2) == 0;
    let from_edge = if at_edge { 0 } else { on_lattice(0, most, stream) };
    if second { CANVAS - side - from_edge } else { from_edge }
}

/// A multiple of the step from `low`, at most `high`.
fn on_lattice(low: u32, high: u32, stream: &mut Stream) -> u32 {
    let places = (high - low) / STEP + 1;
    low + STEP * u32::try_from(stream.below(places as usize)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn icons_stay_on_the_canvas_and_apart() {
        let mut stream = Stream::new(1);
        for size in IconSize::ALL {
            let side = size.side();
            for _ in 0..300 {
                let mut layouts = vec![vec![anywhere(size, &mut stream)]];
                layouts.extend(quarters(size, &Quarter::ALL[1..], &mut stream));
                if size != IconSize::Half {
                    layouts.push(row(size, &mut stream));
                    layouts.push(grid(size, 8, &mut stream));
                }
                for (number, corner) in layouts.iter().flat_map(|corners| corners.iter().enumerate()) {
                    assert!(
                        corner.left + side <= CANVAS && corner.top + side <= CANVAS,
                        "{size:?} {number} {corner:?}"
                    );
                }
                for corners in &layouts {
                    for (number, one) in corners.iter().enumerate() {
                        let apart = |other: &Corner| {
                            one.left.abs_diff(other.left) >= side || one.top.abs_diff(other.top) >= side
                        };
                        assert!(corners[..number].iter().all(apart), "{size:?} {corners:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn middles_lie_in_their_quarters_and_rows_run_to_the_right() {
        let mut stream = Stream::new(2);
        for size in IconSize::ALL {
            let middle = |corner: u32| corner + size.side() / 2;
            for quarter in Quarter::ALL {
                let corner = quarters(size, &[quarter], &mut stream).unwrap()[0];
                assert_eq!(middle(corner.left) > CANVAS / 2, quarter.is_right());
                assert_eq!(middle(corner.top) > CANVAS / 2, quarter.is_down());
            }
            if size != IconSize::Half {
                let lefts: Vec<u32> = row(size, &mut stream).iter().map(|corner| corner.left).collect();
                assert!(lefts.windows(2).all(|pair| pair[0] + size.side() <= pair[1]), "{lefts:?}");
            }
        }
    }

    /// Both sides have many layouts at every size, and about a quarter is held out.
    #[test]
    fn a_quarter_of_the_layouts_is_held_out() {
        for size in IconSize::ALL {
            let mut stream = Stream::new(3);
            let mut layouts = BTreeSet::new();
            for _ in 0..20_000 {
                let filled = if stream.below(2) == 0 { &Quarter::ALL[..2] } else { &Quarter::ALL[1..] };
                layouts.extend(quarters(size, filled, &mut stream).map(|corners| vec![corners]));
            }
            let held_out = layouts.iter().filter(|layout| is_held_out(size, layout)).count();
            let share = held_out as f64 / layouts.len() as f64;
            assert!(layouts.len() > 20 && (0.1..0.4).contains(&share), "{size:?}: {held_out} of {}", layouts.len());
        }
        let pair = [Corner { left: 0, top: 8 }, Corner { left: 96, top: 0 }];
        let turned = [pair[1], pair[0]];
        let of = |corners: &[Corner]| is_held_out(IconSize::Sixth, &[corners.to_vec()]);
        assert_eq!(of(&pair), of(&turned));
    }

    #[test]
    fn the_side_that_is_wanted_is_found() {
        for size in IconSize::ALL {
            for held_out in [false, true] {
                let mut stream = Stream::new(4);
                for _ in 0..50 {
                    let drawn = find(size, held_out, || Some(vec![quarters(size, &Quarter::ALL[..3], &mut stream)?]));
                    assert_eq!(is_held_out(size, &drawn.unwrap()), held_out);
                }
            }
        }
        assert_eq!(find(IconSize::Half, true, || None), None);
    }
}

//! Geometry of LLaVA-OneVision: how many visual tokens videos and large pictures give. Plain integers: the processor expands
//! placeholders by these counts, and the model pools and packs by them.
//!
//! Unusual here:
//! - frames are pooled, pictures are not; a picture's grid is scaled down only beyond `anyres_max_N` tiles, and then by any ratio;
//! - where newlines stand among a video's tokens differs between transformers (one, at the end) and the code that trained
//!   (its default ends each row of each frame), and so does how frames are pooled: [`FrameTokens`] has both.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tiling::{Size, tile_grid, unpad};

/// `vision_aspect_ratio` of a config that names none.
pub const DEFAULT_ASPECT_RATIO: &str = "anyres_max_9";
/// `mm_spatial_pool_stride` of a config that names none.
pub const DEFAULT_STRIDE: usize = 2;
/// The first transformers version that tiles a picture only where it is alone.
const SQUARE_SINCE: (u32, u32) = (4, 53);
/// `image_grid_pinpoints` of a config that names none are all sizes of 1 to this many tiles of [`DEFAULT_TILE`] along each side.
const DEFAULT_TILES_A_SIDE: usize = 6;
/// Side of a tile of the default pinpoints, in pixels.
const DEFAULT_TILE: usize = 384;
/// A grid is scaled down only where it is more than this ratio too large.
const LEAST_RATIO: f64 = 1.1;
/// Sides of the towers for which LLaVA's code reads a range of grids, in pixels.
const RANGE_TOWERS: [usize; 5] = [224, 336, 384, 448, 512];
/// A range of grids goes up to at most so many tiles along a side. The published ones go up to six.
const MAX_RANGE: usize = 64;

/// How the tokens of a frame become fewer (`mm_spatial_pool_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolMode {
    /// Bilinear interpolation; a side that the stride does not divide is rounded up. The only mode of transformers.
    #[default]
    Bilinear,
    /// Means of squares; what is left at the end of a side that the stride does not divide is dropped.
    Average,
    /// Maxima of squares, as [`Self::Average`].
    Max,
}

/// Where `image_newline` stands among the tokens of a video (`mm_newline_position`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewlinePosition {
    /// Behind each row of each frame.
    Grid,
    /// Behind each frame.
    Frame,
    /// Behind the last frame. The only one of transformers.
    #[default]
    OneToken,
    /// Nowhere.
    NoToken,
}

/// How a frame becomes tokens, and a video a row of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameTokens {
    /// Tokens along a side of a frame before it is pooled.
    pub side: usize,
    /// How it is pooled.
    pub mode: PoolMode,
    /// By how much each side shrinks.
    pub stride: usize,
    /// Where newlines stand.
    pub newline: NewlinePosition,
}

impl FrameTokens {
    /// Tokens along a side of a pooled frame.
    pub fn pooled_side(&self) -> usize {
        let stride = self.stride.max(1);
        match self.mode {
            PoolMode::Bilinear => self.side.div_ceil(stride),
            PoolMode::Average | PoolMode::Max => self.side / stride,
        }
    }

    /// Visual tokens of a video of `frames` frames: as many placeholders belong in the ids.
    pub fn of_video(&self, frames: usize) -> usize {
        let side = self.pooled_side();
        let (pooled, newlines) = match self.newline {
            NewlinePosition::Grid => (side * side, side),
            NewlinePosition::Frame => (side * side, 1),
            NewlinePosition::OneToken => return frames.saturating_mul(side * side).saturating_add(1),
            NewlinePosition::NoToken => (side * side, 0),
        };
        frames.saturating_mul(pooled + newlines)
    }
}

/// `image_grid_pinpoints` of a config that names none: 36 sizes.
pub fn default_pinpoints() -> Vec<Size> {
    let sides = || (1..=DEFAULT_TILES_A_SIDE).map(|tiles| tiles * DEFAULT_TILE);
    sides().flat_map(|height| sides().map(move |width| (height, width))).collect()
}

/// The size to which a picture's unpadded grid of tokens is scaled down; `None` where it stays as it is.
///
/// - `grid`: (rows, columns); `side`: side of a tile in tokens; `max_tiles`: N of `anyres_max_N`
pub fn capped_grid(grid: Size, side: usize, max_tiles: usize) -> Option<Size> {
    let (rows, columns) = grid;
    let most = max_tiles.saturating_mul(side).saturating_mul(side);
    let ratio = ((rows * columns) as f64 / most as f64).sqrt();
    (ratio > LEAST_RATIO && ratio.is_finite()).then(|| (divide(rows, ratio), divide(columns, ratio)))
}

/// Python's `int(tokens // ratio)` for positive numbers, which the published code counts with: from the remainder, which is exact,
/// and not from the rounded quotient, which may reach a whole number that the true one does not.
fn divide(tokens: usize, ratio: f64) -> usize {
    let tokens = tokens as f64;
    let quotient = (tokens - tokens % ratio) / ratio;
    // The difference is a multiple of the ratio; its quotient is off a whole number by rounding alone. (The published code fails on a
    // side of nothing.)
    (quotient.round() as usize).max(1)
}

/// Visual tokens of a tiled picture: the base tile's, then those of the unpadded grid, scaled down where it has more than
/// `max_tiles` tiles' tokens, and one newline for each of its rows. `None` as [`tile_grid`].
///
/// - `tile`: side of a tile in pixels; `side`: side of a tile in tokens; `max_tiles`: N of `anyres_max_N`, `None` for no limit
pub fn num_image_tokens(
    size: Size,
    pinpoints: &[Size],
    tile: usize,
    side: usize,
    max_tiles: Option<usize>,
) -> Option<usize> {
    let (down, across) = tile_grid(size, pinpoints, tile)?;
    let (rows, columns) = unpad(size, (down * side, across * side));
    let grid = (rows.len(), columns.len());
    let (rows, columns) = max_tiles.and_then(|most| capped_grid(grid, side, most)).unwrap_or(grid);
    Some(side * side + rows * (columns + 1))
}

/// Whether a picture is tiled that is not the only one of its conversation, where the config does not say it: in files of transformers
/// before 4.53 and in those that name no version.
pub fn tiles_every_image(transformers_version: Option<&str>) -> bool {
    let mut numbers = transformers_version.unwrap_or_default().split('.').map(|number| number.parse::<u32>().ok());
    let version = numbers.next().flatten().zip(numbers.next().flatten());
    version.is_none_or(|version| version < SQUARE_SINCE)
}

/// Whether a config of LLaVA's original layout with tiled pictures is of a model that takes videos too: one whose grids have a largest
/// size, or that says how frames are pooled (`mm_spatial_pool_mode`, `mm_spatial_pool_stride`).
///
/// - `aspect_ratio`: `image_aspect_ratio`, `anyres` or `anyres_max_N`
pub fn original_takes_videos(aspect_ratio: &str, pools: bool) -> bool {
    pools || aspect_ratio != "anyres"
}

/// `image_grid_pinpoints` of a config of LLaVA's original layout as (height, width); the layout has (width, height). It is a list, a list
/// in a string, or a range of grids such as `(1x1),...,(6x6)`: all from the first to the last, in tiles of the tower's side.
///
/// - `aspect_ratio`: `image_aspect_ratio`, named in errors
/// - `tile`: the tower's side in pixels
///
/// # Errors
/// What was expected, for anything else, a range of another tower than LLaVA's code reads one for, and one of too many grids.
pub fn original_pinpoints(value: &Value, aspect_ratio: &str, tile: usize) -> Result<Vec<Size>, String> {
    let expected = || {
        format!(
            "a list of [width, height] or a range such as \"(1x1),...,(6x6)\" up to {MAX_RANGE} tiles a side, where image_aspect_ratio is \
             {aspect_ratio:?}"
        )
    };
    let list = |value: &Value| Vec::<(usize, usize)>::deserialize(value).ok();
    let pairs = match value.as_str() {
        None => list(value),
        Some(text) if text.contains('x') => {
            if !RANGE_TOWERS.contains(&tile) {
                return Err(format!(
                    "a list of [width, height], where image_aspect_ratio is {aspect_ratio:?} and the tower's side {tile} pixels: LLaVA's \
                     code reads a range of grids for towers of 224, 336, 384, 448 and 512 pixels alone"
                ));
            }
            range(text).map(|grids| grids.into_iter().map(|(across, down)| (across * tile, down * tile)).collect())
        }
        // A Python literal: with tuples, it has round brackets.
        Some(text) => serde_json::from_str(&text.replace('(', "[").replace(')', "]")).ok().as_ref().and_then(list),
    };
    let pairs = pairs.filter(|pairs| !pairs.is_empty()).ok_or_else(expected)?;
    Ok(pairs.into_iter().map(|(width, height)| (height, width)).collect())
}

/// The grids from the first `(AxB)` of a text to its last one, both included.
fn range(text: &str) -> Option<Vec<Size>> {
    let grid = |part: &str| {
        let (across, down) = part.split_once('x')?;
        let number = |text: &str| text.trim().parse().ok().filter(|tiles| (1..=MAX_RANGE).contains(tiles));
        Some((number(across)?, number(down)?))
    };
    let grids: Vec<&str> =
        text.split('(').skip(1).filter_map(|rest| rest.split_once(')')).map(|(part, _)| part).collect();
    let (first, last) = (grid(grids.first()?)?, grid(grids.last()?)?);
    Some((first.0..=last.0).flat_map(|across| (first.1..=last.1).map(move |down| (across, down))).collect())
}

/// N of a `vision_aspect_ratio` of `anyres_max_N`, `None` for `anyres`, which has no limit.
///
/// # Errors
/// What was expected, for any other text.
pub fn max_tiles(aspect_ratio: &str) -> Result<Option<usize>, &'static str> {
    if aspect_ratio == "anyres" {
        return Ok(None);
    }
    let number = aspect_ratio.strip_prefix("anyres_max_").and_then(|number| number.parse().ok());
    number.filter(|number| *number > 0).map(Some).ok_or("`anyres_max_N` with N of at least 1, or `anyres`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(mode: PoolMode, newline: NewlinePosition) -> FrameTokens {
        FrameTokens { side: 27, mode, stride: 2, newline }
    }

    #[test]
    fn videos_have_the_published_numbers_of_tokens() {
        use NewlinePosition::{Frame, Grid, NoToken, OneToken};
        // 27 x 27 patches of 384 pixels: 14 x 14 by interpolation, 13 x 13 by squares.
        for (newline, count) in [(OneToken, 6273), (NoToken, 6272), (Frame, 6304), (Grid, 32 * 14 * 15)] {
            assert_eq!(frames(PoolMode::Bilinear, newline).of_video(32), count, "{newline:?}");
        }
        for mode in [PoolMode::Average, PoolMode::Max] {
            assert_eq!(frames(mode, OneToken).of_video(32), 32 * 169 + 1);
        }
        assert_eq!(FrameTokens { stride: 1, ..frames(PoolMode::Max, NoToken) }.of_video(2), 2 * 729);
        assert_eq!(frames(PoolMode::Bilinear, OneToken).of_video(usize::MAX), usize::MAX);
    }

    #[test]
    fn keys_are_the_published_words() {
        let words = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let newlines =
            [NewlinePosition::Grid, NewlinePosition::Frame, NewlinePosition::OneToken, NewlinePosition::NoToken];
        let newlines = newlines.map(|newline| words(serde_json::json!(newline)));
        assert_eq!(newlines, ["grid", "frame", "one_token", "no_token"]);
        let modes = [PoolMode::Bilinear, PoolMode::Average, PoolMode::Max].map(|mode| words(serde_json::json!(mode)));
        assert_eq!(modes, ["bilinear", "average", "max"]);
    }

    #[test]
    fn aspect_ratios_name_their_limit() {
        assert_eq!(max_tiles("anyres_max_9"), Ok(Some(9)));
        assert_eq!(max_tiles("anyres"), Ok(None));
        for wrong in ["anyres_max_0", "anyres_max_", "anyres_max_-1", "pad", ""] {
            assert!(max_tiles(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pinpoints_of_the_original_layout_have_three_forms() {
        let read = |value: Value, tile| original_pinpoints(&value, "anyres_max_9", tile);
        // The published models': all 36 grids of tiles of 384 pixels, as (height, width).
        let grids = read("(1x1),...,(6x6)".into(), 384).unwrap();
        assert_eq!((grids.len(), &grids[..2], grids[35]), (36, &[(384, 384), (768, 384)][..], (2304, 2304)));
        // A rectangle between the two ends, whatever stands between them.
        assert_eq!(read("(1x1),(2x2),(3x1)".into(), 224), Ok(vec![(224, 224), (224, 448), (224, 672)]));
        let list = vec![(672, 336), (336, 672)];
        assert_eq!(read(serde_json::json!([[336, 672], [672, 336]]), 70), Ok(list.clone()));
        assert_eq!(read("[[336, 672], [672, 336]]".into(), 70), Ok(list.clone()));
        assert_eq!(read("[(336, 672), (672, 336)]".into(), 70), Ok(list));
        for (wrong, tile) in [
            (Value::from("(1x1),...,(6x6)"), 70),
            ("(1x1),...,(65x1)".into(), 384),
            ("(0x1),...,(6x6)".into(), 384),
            ("(2x2),...,(1x1)".into(), 384),
            ("1x1".into(), 384),
            ("x".into(), 384),
            ("".into(), 384),
            (serde_json::json!([]), 384),
            (serde_json::json!([[1, 2, 3]]), 384),
            (Value::Null, 384),
        ] {
            let error = read(wrong.clone(), tile).unwrap_err();
            assert!(
                error.contains("image_aspect_ratio is \"anyres_max_9\"") && error.contains("list"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn versions_decide_about_several_pictures() {
        for (version, tiles) in [
            (None, true),
            (Some("4.52.4"), true),
            (Some("4.53.0"), false),
            (Some("5.0.0.dev0"), false),
            (Some("x"), true),
        ] {
            assert_eq!(tiles_every_image(version), tiles, "{version:?}");
        }
    }

    #[test]
    fn only_grids_that_are_much_too_large_shrink() {
        // Nine tiles of 27 x 27 are 81 x 81; 1.1 times that is 89.1.
        assert_eq!(capped_grid((81, 81), 27, 9), None);
        assert_eq!(capped_grid((89, 89), 27, 9), None);
        assert_eq!(capped_grid((93, 93), 27, 9), Some((81, 81)));
        assert_eq!(capped_grid((108, 162), 27, 9), Some((66, 99)));
        assert_eq!(capped_grid((90, 90), 0, 9), None);
    }

    /// Python 3.11: `[int(n // math.sqrt(n * n / (9 * 27**2))) for n in range(90, 163)]` is 80 for these and 81 for the others, though
    /// by exact arithmetic all are 81: the root was rounded up. (The floor of the rounded quotient is 80 for 91, 104 and 116.)
    #[test]
    fn sides_are_divided_as_python_divides() {
        let short = [
            90, 91, 94, 95, 98, 99, 102, 103, 104, 106, 107, 110, 111, 114, 115, 116, 118, 119, 122, 123, 126, 130,
            131, 132, 134, 135, 138, 139, 142, 143, 146, 147, 150, 151, 152, 154, 155, 158, 159, 160,
        ];
        for side in 90..163 {
            let expected = if short.contains(&side) { 80 } else { 81 };
            assert_eq!(capped_grid((side, side), 27, 9), Some((expected, expected)), "{side}");
        }
    }

    #[test]
    fn pictures_have_the_published_numbers_of_tokens() {
        let pinpoints = default_pinpoints();
        assert_eq!((pinpoints.len(), pinpoints[1], pinpoints[35]), (36, (384, 768), (2304, 2304)));
        // Computed by the plain Python of [`crate::tiling`]'s test, with the published code's three lines behind it:
        //   r = math.sqrt(ch * cw / (most * side**2))
        //   if r > 1.1: ch, cw = int(ch // r), int(cw // r)
        //   return side * side + ch * cw + ch
        for (size, nine, unlimited) in [
            ((100, 100), 1485, 1485),
            ((600, 3000), 5945, 5945),
            ((3000, 600), 6075, 6075),
            ((2000, 2000), 7371, 27135),
            ((1080, 1920), 7269, 10929),
            ((768, 1152), 5157, 5157),
            ((5, 700), 784, 784),
            ((1200, 1210), 7371, 12501),
            ((4000, 3000), 7332, 20493),
            // 8,601 tokens are within 1.1 of nine tiles' 6,561, measured along a side.
            ((1300, 1100), 8601, 8601),
        ] {
            assert_eq!(num_image_tokens(size, &pinpoints, 384, 27, Some(9)), Some(nine), "{size:?}");
            assert_eq!(num_image_tokens(size, &pinpoints, 384, 27, None), Some(unlimited), "{size:?}");
        }
        assert_eq!(num_image_tokens((0, 5), &pinpoints, 384, 27, Some(9)), None);
    }
}

//! Geometry of any-resolution pictures (LLaVA-NeXT): which tiles a picture is cut into and how many visual tokens they give.
//! Plain integers: the image processor cuts by these rules, and the model counts and packs by them.
//!
//! Unusual here:
//! - every size is (height, width), as in the published `image_sizes` and `image_grid_pinpoints`;
//! - scales are floating point and truncated where the published code truncates them: a token more or less than the processor
//!   counted is an error.

use std::ops::Range;

/// (height, width), in pixels or in tokens.
pub type Size = (usize, usize);

/// `image_grid_pinpoints` of a config that names none.
pub const DEFAULT_PINPOINTS: [Size; 5] = [(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)];

/// Digits kept before a scaled side is truncated: 55.99999999 is 56.
const SIDE_PRECISION: f64 = 1e7;

/// The pinpoint that keeps most of the picture's pixels, among equals the one that wastes fewest of its own, among those the
/// first.
///
/// `None` without pinpoints, for an empty picture, and for one so thin that no pinpoint keeps a pixel of it.
pub fn select_best_resolution(size: Size, pinpoints: &[Size]) -> Option<Size> {
    let (height, width) = size;
    if height == 0 || width == 0 {
        return None;
    }
    let mut best = None;
    let (mut most_kept, mut least_wasted) = (0, usize::MAX);
    for &(rows, columns) in pinpoints {
        let scale = (columns as f64 / width as f64).min(rows as f64 / height as f64);
        let scaled = ((height as f64 * scale) as usize, (width as f64 * scale) as usize);
        let kept = scaled.0.saturating_mul(scaled.1).min(height.saturating_mul(width));
        let wasted = rows.saturating_mul(columns).saturating_sub(kept);
        if kept > most_kept || (kept == most_kept && kept > 0 && wasted < least_wasted) {
            (most_kept, least_wasted) = (kept, wasted);
            best = Some((rows, columns));
        }
    }
    best
}

/// Tiles down and across a picture, without the base tile (the whole picture, squashed into one); `None` as
/// [`select_best_resolution`], and where the tile is larger than the pinpoint.
///
/// - `tile`: side of a tile in pixels
pub fn tile_grid(size: Size, pinpoints: &[Size], tile: usize) -> Option<Size> {
    let (rows, columns) = select_best_resolution(size, pinpoints)?;
    let grid = (rows.checked_div(tile)?, columns.checked_div(tile)?);
    (grid.0 > 0 && grid.1 > 0).then_some(grid)
}

/// Rows and columns of `grid` that hold the picture: it was scaled to fit and centred, the rest is padding.
///
/// Both sides lose the same number, so that a padding of odd size leaves one row or column of padding over.
pub fn unpad(size: Size, grid: Size) -> (Range<usize>, Range<usize>) {
    let ((height, width), (rows, columns)) = (size, grid);
    let (all_rows, all_columns) = (0..rows, 0..columns);
    if height == 0 || width == 0 || rows == 0 || columns == 0 {
        return (all_rows, all_columns);
    }
    let cut = |side: usize, scale: f64, full: usize| {
        let kept = ((side as f64 * scale * SIDE_PRECISION).round() / SIDE_PRECISION) as usize;
        let padding = full.saturating_sub(kept) / 2;
        padding..full - padding
    };
    if width as f64 / height as f64 > columns as f64 / rows as f64 {
        (cut(height, columns as f64 / width as f64, rows), all_columns)
    } else {
        (all_rows, cut(width, rows as f64 / height as f64, columns))
    }
}

/// Visual tokens of a picture's grid of `grid` (rows, columns) tokens: what is left without the padding, and a newline for
/// each row.
pub fn grid_tokens(size: Size, grid: Size) -> usize {
    let (rows, columns) = unpad(size, grid);
    rows.len() * (columns.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onevision::num_image_tokens;

    /// TowerVision's grids of at most six tiles.
    fn six_tiles(tile: usize) -> Vec<Size> {
        (1..=6).flat_map(|rows| (1..=6 / rows).map(move |columns| (rows * tile, columns * tile))).collect()
    }

    #[test]
    fn the_best_resolution_keeps_most_and_wastes_least() {
        assert_eq!(six_tiles(384).len(), 14);
        // A small picture keeps all of itself in every pinpoint that holds it: the smallest wins.
        assert_eq!(select_best_resolution((100, 100), &six_tiles(384)), Some((384, 384)));
        assert_eq!(select_best_resolution((600, 3000), &six_tiles(384)), Some((384, 1920)));
        // The order decides between equals.
        assert_eq!(select_best_resolution((10, 10), &[(20, 40), (40, 20)]), Some((20, 40)));
        assert_eq!(select_best_resolution((10, 10), &[(40, 20), (20, 40)]), Some((40, 20)));
    }

    #[test]
    fn pictures_without_a_resolution_have_none() {
        assert_eq!(select_best_resolution((10, 10), &[]), None);
        assert_eq!(select_best_resolution((0, 10), &[(56, 56)]), None);
        // 1 x 100 scaled to 56 columns is half a pixel high.
        assert_eq!(select_best_resolution((1, 100), &[(56, 56)]), None);
        assert_eq!(tile_grid((10, 10), &[(56, 56)], 0), None);
        assert_eq!(tile_grid((10, 10), &[(56, 56)], 57), None);
    }

    #[test]
    fn unpadding_cuts_both_sides_alike() {
        // A picture of 2:1 in a square grid of 8: 4 rows are left.
        assert_eq!(unpad((100, 200), (8, 8)), (2..6, 0..8));
        assert_eq!(unpad((200, 100), (8, 8)), (0..8, 2..6));
        // 4.5 rows of 9 are the picture, truncated to 4: of 5 rows of padding each side loses 2, one stays.
        assert_eq!(unpad((50, 100), (9, 9)), (2..7, 0..9));
        assert_eq!(unpad((33, 33), (4, 4)), (0..4, 0..4));
        // 24 x 48 patches of 336 x 672: 192 of 336 rows are the picture, 13.68 of 24 patches.
        assert_eq!(unpad((171, 600), (24, 48)), (5..19, 0..48));
        assert_eq!(unpad((600, 171), (48, 24)), (0..48, 5..19));
        // 103 * (16 / 206) is 7.999999999999999 in floating point, and 8.
        assert_eq!(unpad((103, 206), (16, 16)), (4..12, 0..16));
    }

    #[test]
    fn tokens_are_those_of_the_published_code() {
        // Computed by transcribing the published functions to plain Python:
        //
        // def select(o, pinpoints):
        //     (oh, ow), best, most, least = o, None, 0, float("inf")
        //     for h, w in pinpoints:
        //         s = min(w / ow, h / oh); dw, dh = int(ow * s), int(oh * s)
        //         kept = min(dw * dh, ow * oh); wasted = h * w - kept
        //         if kept > most or (kept == most and wasted < least): most, least, best = kept, wasted, (h, w)
        //     return best
        // def tokens(o, pinpoints, tile, side):
        //     h, w = select(o, pinpoints); ch, cw, (oh, ow) = h // tile * side, w // tile * side, o
        //     if ow / oh > cw / ch: ch -= (ch - int(round(oh * (cw / ow), 7))) // 2 * 2
        //     else: cw -= (cw - int(round(ow * (ch / oh), 7))) // 2 * 2
        //     return (h, w), side * side + ch * cw + ch
        let six = six_tiles(384);
        for (size, best, tokens, default_best, default_tokens) in [
            ((100, 100), (384, 384), 1485, (336, 672), 1176),
            ((384, 400), (384, 768), 1512, (672, 672), 2830),
            ((600, 3000), (384, 1920), 4401, (336, 1008), 1598),
            ((3000, 600), (1920, 384), 4509, (1008, 336), 1656),
            ((2000, 2000), (768, 768), 3699, (672, 672), 2928),
            ((333, 1499), (384, 1536), 3236, (336, 1008), 1744),
            ((437, 171), (768, 384), 1917, (672, 336), 1488),
            ((300, 451), (384, 768), 1836, (336, 672), 1464),
            ((1080, 1920), (768, 1152), 4501, (672, 672), 1948),
            ((768, 1152), (768, 1152), 5157, (672, 672), 2144),
            ((5, 700), (384, 768), 784, (336, 1008), 576),
        ] {
            assert_eq!(select_best_resolution(size, &six), Some(best), "{size:?}");
            assert_eq!(num_image_tokens(size, &six, 384, 27, None), Some(tokens), "{size:?}");
            assert_eq!(select_best_resolution(size, &DEFAULT_PINPOINTS), Some(default_best), "{size:?}");
            assert_eq!(num_image_tokens(size, &DEFAULT_PINPOINTS, 336, 24, None), Some(default_tokens), "{size:?}");
        }
    }
}

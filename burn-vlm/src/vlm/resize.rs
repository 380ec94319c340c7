//! Grids of visual tokens made smaller: the pooling of a video's frames, and the largest size of a picture's grid.
//!
//! Unusual here: interpolation is bilinear without antialiasing, as PyTorch's `interpolate(mode="bilinear", align_corners=False)`: a
//! new token sees at most two old ones along each side, however much the grid shrinks, and the scale is the quotient of the sides
//! (27 to 14 is 27 / 14, not 2). A side that is exactly halved gives plain means of two, any other does not.

use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_vlm_base::onevision::{FrameTokens, PoolMode};

use super::average_pool;
use super::tiling::Size;
use crate::nn::precision::cast_to;

/// Frames with fewer tokens.
///
/// # Shapes
/// - `tokens`: `[frames, side * side, hidden]`, row by row
/// - returns `[frames, pooled_side * pooled_side, hidden]`, row by row, computed in f32
pub(super) fn pool_frames(tokens: Tensor<3>, frame: &FrameTokens) -> Tensor<3> {
    let ([frames, _, hidden], dtype) = (tokens.dims(), tokens.dtype());
    let (side, pooled) = (frame.side, frame.pooled_side());
    let grid = cast_to(tokens, DType::F32).reshape([frames, side, side, hidden]);
    let pooled = match frame.mode {
        PoolMode::Bilinear => resize(grid, (pooled, pooled)).reshape([frames, pooled * pooled, hidden]),
        PoolMode::Average | PoolMode::Max => {
            let (stride, kept) = (frame.stride, pooled * frame.stride);
            let grid = grid.narrow(1, 0, kept).narrow(2, 0, kept);
            if frame.mode == PoolMode::Average {
                average_pool(grid.reshape([frames, kept * kept, hidden]), kept, stride)
            } else {
                let squares = grid.reshape([frames, pooled, stride, pooled, stride, hidden]);
                squares.max_dim(2).max_dim(4).reshape([frames, pooled * pooled, hidden])
            }
        }
    };
    cast_to(pooled, dtype)
}

/// Bilinear interpolation.
///
/// # Shapes
/// - `grid`: `[n, rows, columns, hidden]`
/// - returns `[n, to.0, to.1, hidden]`
pub(super) fn resize(grid: Tensor<4>, to: Size) -> Tensor<4> {
    along(along(grid, 1, to.0), 2, to.1)
}

/// Interpolation along one dimension.
fn along(grid: Tensor<4>, dim: usize, new: usize) -> Tensor<4> {
    let old = grid.dims()[dim];
    if old == new {
        return grid;
    }
    let device = grid.device();
    let taps = taps(old, new);
    let neighbour = |offset: i64| {
        let at: Vec<i64> = taps.iter().map(|(at, _)| (at + offset).min(old as i64 - 1)).collect();
        grid.clone().select(dim, Tensor::<1, Int>::from_data(TensorData::new(at, [new]), &device))
    };
    let mut shape = [1; 4];
    shape[dim] = new;
    let share: Vec<f32> = taps.iter().map(|(_, share)| *share as f32).collect();
    let share = Tensor::<4>::from_data(TensorData::new(share, shape), &device).cast(grid.dtype());
    neighbour(0) * (-share.clone() + 1.0) + neighbour(1) * share
}

/// For each of `new` places the old one before it, and the share of the next.
fn taps(old: usize, new: usize) -> Vec<(i64, f64)> {
    let scale = old as f64 / new as f64;
    let place = |index: usize| ((index as f64 + 0.5) * scale - 0.5).max(0.0);
    (0..new).map(|index| (place(index).floor() as i64, place(index).fract())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f64 arithmetic on numbers of order 10.
    const ROUNDING: f64 = 1e-12;

    #[test]
    fn places_are_those_of_the_centres() {
        // 27 to 14, the last: 13.5 * 27 / 14 - 0.5 = 25.5357; the first: 0.5 * 27 / 14 - 0.5 = 0.4643.
        let found = taps(27, 14);
        for (index, at, share) in [(0, 0, 6.5 / 14.0), (1, 2, 5.5 / 14.0), (7, 13, 13.5 / 14.0), (13, 25, 7.5 / 14.0)] {
            assert_eq!(found[index].0, at);
            assert!((found[index].1 - share).abs() < ROUNDING, "{index}: {:?}", found[index]);
        }
        // Halving is the mean of two; growing never leaves the edge.
        assert_eq!(taps(4, 2), [(0, 0.5), (2, 0.5)]);
        assert_eq!(taps(2, 4), [(0, 0.0), (0, 0.25), (0, 0.75), (1, 0.25)]);
    }

    #[cfg(feature = "flex")]
    mod grids {
        use burn::tensor::Device;

        use super::*;
        use crate::vlm::onevision::NewlinePosition;

        /// f32 sums of a few numbers of order 10.
        const ROUNDING: f32 = 1e-5;

        /// A frame of `side * side` tokens of width one, counted row by row, and its negative.
        fn pooled(side: usize, mode: PoolMode, stride: usize) -> (Vec<usize>, Vec<f32>) {
            let frame = Tensor::<1, Int>::arange(0..(side * side) as i64, &Device::flex()).float();
            let frame = frame.reshape([1, side * side, 1]);
            let tokens = Tensor::cat(vec![frame.clone(), -frame], 0);
            let frame = FrameTokens { side, mode, stride, newline: NewlinePosition::NoToken };
            let pooled = pool_frames(tokens, &frame);
            (pooled.dims().to_vec(), pooled.into_data().try_into_vec::<f32>().unwrap())
        }

        fn close(found: &[f32], expected: &[f32]) {
            let same = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < ROUNDING);
            assert!(same && found.len() == expected.len(), "{found:?}, expected {expected:?}");
        }

        /// By hand. 5 to 3 has the scale 5 / 3: places 1/3, 2 and 11/3 along each side, and on a grid that counts row by row the value
        /// at (y, x) is 5 y + x.
        #[test]
        fn odd_sides_are_interpolated_between_neighbours() {
            let (shape, found) = pooled(5, PoolMode::Bilinear, 2);
            assert_eq!(shape, [2, 9, 1]);
            let places = [1.0 / 3.0, 2.0, 11.0 / 3.0];
            let expected: Vec<f32> = places.iter().flat_map(|y| places.map(|x| 5.0 * y + x)).collect();
            close(&found[..9], &expected);
            close(&found[9..], &expected.iter().map(|value| -value).collect::<Vec<_>>());
        }

        /// By hand: on a 4 x 4 grid the squares are 0 1 4 5, 2 3 6 7, 8 9 12 13 and 10 11 14 15.
        #[test]
        fn even_sides_are_means_of_squares() {
            let means = [2.5, 4.5, 10.5, 12.5];
            for mode in [PoolMode::Bilinear, PoolMode::Average] {
                close(&pooled(4, mode, 2).1[..4], &means);
            }
            close(&pooled(4, PoolMode::Max, 2).1, &[5.0, 7.0, 13.0, 15.0, 0.0, -2.0, -8.0, -10.0]);
        }

        /// By hand: the last row and column of 5 x 5 are dropped, squares begin at 0, 2, 10 and 12.
        #[test]
        fn squares_leave_the_rest_of_an_odd_side() {
            close(&pooled(5, PoolMode::Average, 2).1[..4], &[3.0, 5.0, 13.0, 15.0]);
            close(&pooled(5, PoolMode::Max, 2).1[..4], &[6.0, 8.0, 16.0, 18.0]);
            close(&pooled(5, PoolMode::Average, 3).1[..1], &[6.0]);
        }

        #[test]
        fn a_stride_of_one_changes_nothing() {
            let counted: Vec<f32> = (0..9).map(|value| value as f32).collect();
            for mode in [PoolMode::Bilinear, PoolMode::Average, PoolMode::Max] {
                assert_eq!(pooled(3, mode, 1).1[..9], counted, "{mode:?}");
            }
        }
    }
}

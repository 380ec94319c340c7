//! Learned positions on another grid: bicubic interpolation, as PyTorch's `interpolate(mode="bicubic", align_corners=False)`, and
//! antialiased bilinear interpolation, as `interpolate(mode="bilinear", align_corners=False, antialias=True)`.
//!
//! Unusual here: interpolating is linear in the table, so it is one product with a matrix that is made on the host; gradients
//! reach the table through it like through any other product.

use burn::tensor::{Device, Tensor, TensorData};

/// PyTorch's bicubic kernel.
const A: f64 = -0.75;

/// Positions of a grid with `rows x columns` patches from the table of a square one. The same size gives the table itself.
///
/// # Shapes
/// - `table`: `[grid * grid, hidden]`
/// - returns `[rows * columns, hidden]`
pub(super) fn interpolate_positions(table: Tensor<2>, grid: usize, rows: usize, columns: usize) -> Tensor<2> {
    if (rows, columns) == (grid, grid) {
        return table;
    }
    let weights = interpolation_matrix(grid, rows, columns, &table.device());
    let dtype = table.dtype();
    weights.cast(dtype).matmul(table)
}

/// The matrix `[rows * columns, grid * grid]`: the product of the weights along each axis.
fn interpolation_matrix(grid: usize, rows: usize, columns: usize, device: &Device) -> Tensor<2> {
    let values = products(grid, &axis_weights(grid, rows), &axis_weights(grid, columns));
    Tensor::from_data(TensorData::new(values, [rows * columns, grid * grid]), device)
}

/// The weights of each place of a grid, `[rows * columns, grid * grid]`, from those along each axis, `[rows, grid]` and
/// `[columns, grid]`.
fn products(grid: usize, down: &[f64], across: &[f64]) -> Vec<f32> {
    let places = down.chunks(grid).flat_map(|down| across.chunks(grid).map(move |across| (down, across)));
    places
        .flat_map(|(down, across)| down.iter().flat_map(move |down| across.iter().map(move |across| down * across)))
        .map(|weight| weight as f32)
        .collect()
}

/// The weights of the places of a square table of `grid * grid` in each place of `rows x columns`, antialiased bilinear:
/// `[rows * columns, grid * grid]`, row by row.
pub(super) fn antialiased_weights(grid: usize, rows: usize, columns: usize) -> Vec<f32> {
    products(grid, &triangle_weights(grid, rows), &triangle_weights(grid, columns))
}

/// Weights of the `old` samples in each of `new`, `[new, old]`: a triangle around the new sample's centre, as wide as two samples
/// of the coarser grid; beyond an edge there is nothing, and what remains sums to one.
fn triangle_weights(old: usize, new: usize) -> Vec<f64> {
    let mut weights = vec![0.0; new * old];
    let scale = old as f64 / new as f64;
    let half = scale.max(1.0);
    for (index, row) in weights.chunks_mut(old).enumerate() {
        let place = (index as f64 + 0.5) * scale - 0.5;
        for (at, weight) in row.iter_mut().enumerate() {
            *weight = (1.0 - (at as f64 - place).abs() / half).max(0.0);
        }
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|weight| *weight /= sum);
    }
    weights
}

/// Weights of the `old` samples in each of `new`, `[new, old]`: four taps around the place of the new sample's centre, those
/// beyond an edge on the edge.
fn axis_weights(old: usize, new: usize) -> Vec<f64> {
    let mut weights = vec![0.0; new * old];
    let scale = old as f64 / new as f64;
    for (index, row) in weights.chunks_mut(old).enumerate() {
        let place = (index as f64 + 0.5) * scale - 0.5;
        let first = place.floor();
        for tap in -1..=2 {
            let at = first + f64::from(tap);
            row[at.clamp(0.0, old as f64 - 1.0) as usize] += cubic(place - at);
        }
    }
    weights
}

/// The cubic convolution kernel.
fn cubic(distance: f64) -> f64 {
    let x = distance.abs();
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f64 sums.
    const ROUNDING: f64 = 1e-12;

    #[test]
    fn weights_of_a_sample_sum_to_one() {
        for (old, new) in [(4, 6), (4, 3), (27, 32), (1, 5), (2, 2)] {
            for row in axis_weights(old, new).chunks(old) {
                assert!((row.iter().sum::<f64>() - 1.0).abs() < ROUNDING, "{old} -> {new}: {row:?}");
            }
        }
    }

    #[test]
    fn the_same_size_is_the_identity() {
        for weights in [axis_weights(3, 3), triangle_weights(3, 3)] {
            for (index, weight) in weights.into_iter().enumerate() {
                assert!((weight - f64::from(u8::from(index % 4 == 0))).abs() < ROUNDING);
            }
        }
    }

    /// By hand. Growing is plain interpolation between neighbours, with the edge beyond an edge; shrinking takes the mean of all that
    /// a new sample stands for and a little of what lies beside.
    #[test]
    fn triangles_grow_and_shrink() {
        let close = |found: Vec<f64>, expected: &[f64]| {
            assert_eq!(found.len(), expected.len());
            let same = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < ROUNDING);
            assert!(same, "{found:?}, expected {expected:?}");
        };
        close(triangle_weights(2, 4), &[1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
        // Centres 0.5 and 2.5, half a width of 2: 1 - 0.5 / 2 twice, 1 - 1.5 / 2, nothing.
        close(
            triangle_weights(4, 2),
            &[0.75 / 1.75, 0.75 / 1.75, 0.25 / 1.75, 0.0, 0.0, 0.25 / 1.75, 0.75 / 1.75, 0.75 / 1.75],
        );
        close(triangle_weights(3, 1), &[2.0 / 7.0, 3.0 / 7.0, 2.0 / 7.0]);
        close(triangle_weights(1, 3), &[1.0; 3]);
        let sums = antialiased_weights(4, 2, 9).chunks(16).map(|row| row.iter().sum::<f32>()).collect::<Vec<_>>();
        assert!(sums.len() == 18 && sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6), "{sums:?}");
    }

    #[test]
    fn doubling_gives_the_known_taps() {
        // At a quarter between two samples the kernel is -0.10546875, 0.87890625, 0.26171875, -0.03515625.
        let weights = axis_weights(6, 12);
        let row = &weights[5 * 6..6 * 6];
        for (found, expected) in row.iter().zip([0.0, -0.105_468_75, 0.878_906_25, 0.261_718_75, -0.035_156_25, 0.0]) {
            assert!((found - expected).abs() < ROUNDING, "{row:?}");
        }
    }
}

//! Learned positions on another grid: bicubic interpolation, as PyTorch's `interpolate(mode="bicubic", align_corners=False)`.
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
    let (down, across) = (axis_weights(grid, rows), axis_weights(grid, columns));
    let values: Vec<f32> = down
        .chunks(grid)
        .flat_map(|down| across.chunks(grid).map(move |across| (down, across)))
        .flat_map(|(down, across)| down.iter().flat_map(move |down| across.iter().map(move |across| down * across)))
        .map(|weight| weight as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, [rows * columns, grid * grid]), device)
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
        for (index, weight) in axis_weights(3, 3).into_iter().enumerate() {
            assert!((weight - f64::from(u8::from(index % 4 == 0))).abs() < ROUNDING);
        }
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

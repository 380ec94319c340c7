//! Do the experts compute different things? Centred kernel alignment and cosine of their outputs on the same tokens.

/// Rows of equal width, `[rows][width]`, one expert's outputs.
pub type Rows = Vec<Vec<f64>>;

/// Linear CKA (Kornblith et al. 2019, equation 4 with linear kernels): `|Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F)` of centred columns. 1
/// for outputs that are equal up to rotation and scale, near 0 for unrelated ones; 0 where one of them is constant.
pub fn linear_cka(x: &Rows, y: &Rows) -> f64 {
    let (x, y) = (centred(x), centred(y));
    let (xy, xx, yy) = (cross_norm_squared(&x, &y), cross_norm_squared(&x, &x), cross_norm_squared(&y, &y));
    let scale = (xx * yy).sqrt();
    if scale > 0.0 { xy / scale } else { 0.0 }
}

/// Mean cosine between rows at the same place.
pub fn mean_cosine(x: &Rows, y: &Rows) -> f64 {
    let cosines: Vec<f64> = x.iter().zip(y).map(|(a, b)| cosine(a, b)).collect();
    cosines.iter().sum::<f64>() / cosines.len().max(1) as f64
}

/// Cosine of two vectors; 0 where one has no length.
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let scale = (dot(a, a) * dot(b, b)).sqrt();
    if scale > 0.0 { dot(a, b) / scale } else { 0.0 }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Each column minus its mean.
pub(super) fn centred(rows: &Rows) -> Rows {
    let width = rows.first().map_or(0, Vec::len);
    let count = rows.len().max(1) as f64;
    let means: Vec<f64> = (0..width).map(|column| rows.iter().map(|row| row[column]).sum::<f64>() / count).collect();
    rows.iter().map(|row| row.iter().zip(&means).map(|(value, mean)| value - mean).collect()).collect()
}

/// `|Y^T X|_F^2`, through the Gram matrices of the rows: `sum_ij (x_i x_j) (y_i y_j)`.
fn cross_norm_squared(x: &Rows, y: &Rows) -> f64 {
    let mut sum = 0.0;
    for i in 0..x.len() {
        for j in 0..x.len() {
            sum += dot(&x[i], &x[j]) * dot(&y[i], &y[j]);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: f64 = 1e-12; // sums of a few products in f64

    #[test]
    fn cka_ignores_rotation_scale_and_shift() {
        let x: Rows = vec![vec![1.0, 0.0], vec![0.0, 2.0], vec![-1.0, 1.0], vec![3.0, -1.0]];
        let rotated: Rows = x.iter().map(|row| vec![-3.0 * row[1] + 5.0, 3.0 * row[0] - 1.0]).collect();
        assert!((linear_cka(&x, &x) - 1.0).abs() < TOLERANCE);
        assert!((linear_cka(&x, &rotated) - 1.0).abs() < TOLERANCE);
        // centred columns (1, -1, 0, 0) and (0, 0, 1, -1) share nothing
        let a: Rows = [1.0, -1.0, 0.0, 0.0].map(|v| vec![v]).into();
        let b: Rows = [0.0, 0.0, 1.0, -1.0].map(|v| vec![v]).into();
        assert!(linear_cka(&a, &b).abs() < TOLERANCE);
        // (1, -1, 0, 0) with (1, 0, -1, 0): (1)^2 / (2 * 2)
        let c: Rows = [1.0, 0.0, -1.0, 0.0].map(|v| vec![v]).into();
        assert!((linear_cka(&a, &c) - 0.25).abs() < TOLERANCE);
        assert_eq!(linear_cka(&vec![vec![2.0]; 3], &b[..3].to_vec()), 0.0);
    }

    #[test]
    fn cosines() {
        assert!((cosine(&[3.0, 4.0], &[4.0, 3.0]) - 0.96).abs() < TOLERANCE);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
        let (x, y) = (vec![vec![1.0, 0.0], vec![0.0, 1.0]], vec![vec![1.0, 0.0], vec![0.0, -1.0]]);
        assert!(mean_cosine(&x, &y).abs() < TOLERANCE);
    }
}

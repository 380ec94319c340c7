//! Products of f32 matrices.

use burn::tensor::{Tensor, TensorData};

use super::{AGAINST_F64, SAME_FORMULA, assert_close, assert_thread_invariant, bits, device, grad, to_vec, values};
use crate::nn::linear;
use crate::nn::linear::product;

/// Rows, inner dimension and columns: none, vectors, within a tile, above what one piece has, above what `gemm` sums at once.
const SIZES: [(usize, usize, usize); 9] = [
    (0, 3, 2),
    (2, 0, 3),
    (1, 1, 1),
    (1, 70, 300),
    (300, 70, 1),
    (5, 2, 7),
    (130, 65, 67),
    (257, 1_100, 140),
    (70, 600, 1_027),
];

/// How the two matrices lie in memory: as they are, transposed, and as columns of something wider.
const LAYOUTS: [&str; 3] = ["contiguous", "transposed", "cut"];

fn matrix((rows, columns): (usize, usize), layout: &str, seed: u64) -> Tensor<2> {
    let data = |shape: [usize; 2]| TensorData::new(values(shape[0] * shape[1], seed), shape);
    match layout {
        "transposed" => Tensor::<2>::from_data(data([columns, rows]), &device()).transpose(),
        "cut" => Tensor::<2>::from_data(data([rows, columns + 5]), &device()).narrow(1, 3, columns),
        _ => Tensor::from_data(data([rows, columns]), &device()),
    }
}

/// Against plain f64 loops.
#[test]
fn products_are_sums_of_products() {
    for (m, k, n) in SIZES {
        for (left, right) in LAYOUTS.into_iter().flat_map(|left| LAYOUTS.map(|right| (left, right))) {
            if (m == 0 || k == 0) && (left, right) != ("contiguous", "contiguous") {
                continue;
            }
            let (a, b) = (matrix((m, k), left, 3), matrix((k, n), right, 7));
            let (xs, ws) = (to_vec(a.clone()), to_vec(b.clone()));
            let element = |at: usize| {
                let terms = (0..k).map(|p| f64::from(xs[at / n * k + p]) * f64::from(ws[p * n + at % n]));
                terms.sum::<f64>()
            };
            let expected: Vec<f64> = (0..m * n).map(element).collect();
            let found = product(a, b);
            assert_eq!(found.dims(), [m, n]);
            assert_close(&to_vec(found), &expected, AGAINST_F64, &format!("{m} x {k} x {n}, {left}, {right}"));
        }
    }
}

/// Cut among any number of threads, every element has the same bits, at sizes whose last piece is short too.
#[test]
fn threads_change_no_bit() {
    for (m, k, n) in [(257, 1_100, 140), (70, 600, 1_027), (1_537, 60, 129), (3, 700, 4_000), (600, 200, 600)] {
        for (left, right) in [("contiguous", "contiguous"), ("transposed", "contiguous"), ("contiguous", "transposed")]
        {
            let (a, b) = (matrix((m, k), left, 3), matrix((k, n), right, 7));
            assert_thread_invariant(|| vec![bits(product(a.clone(), b.clone()))]);
        }
    }
}

/// Gradients are those of Burn's product, each where it is wanted and nowhere else.
#[test]
fn gradients_are_those_that_are_wanted() {
    for (rows_wanted, weight_wanted) in [(true, true), (true, false), (false, true)] {
        let run = |ours: bool| {
            let (mut x, mut w) = (matrix((50, 70), "contiguous", 1), matrix((70, 90), "transposed", 2));
            let bias = Tensor::<1>::from_data(TensorData::new(values(90, 3), [90]), &device()).require_grad();
            if rows_wanted {
                x = x.require_grad();
            }
            if weight_wanted {
                w = w.require_grad();
            }
            let y = match ours {
                true => linear(x.clone(), w.clone(), Some(bias.clone())),
                false => x.clone().matmul(w.clone()) + bias.clone().unsqueeze::<2>(),
            };
            let grads = super::weighted_sum(y.clone(), 5).backward();
            assert_eq!((x.grad(&grads).is_some(), w.grad(&grads).is_some()), (rows_wanted, weight_wanted));
            let mut found = vec![to_vec(y), grad(&bias, &grads)];
            found.extend([x.grad(&grads), w.grad(&grads)].into_iter().flatten().map(to_vec));
            found
        };
        for (found, expected) in run(true).iter().zip(run(false)) {
            assert_close(found, &expected, SAME_FORMULA, &format!("{rows_wanted} {weight_wanted}"));
        }
    }
}

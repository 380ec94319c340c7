//! The elementary functions and the tile product.

use super::super::kernels::math::{erf, exp, sigmoid, tanh};
use super::super::kernels::matmul::{Rows, RowsMut, Strided};
use super::super::kernels::simd::{Isa, Kernel, Portable, dispatch};
use super::{AGAINST_F64, assert_close, values};

/// Relative error of `exp`, about two units in the last place.
const EXP_ERROR: f64 = 2.5e-7;
/// Relative error of `sigmoid` and `tanh`.
const RATIO_ERROR: f64 = 1e-6;
/// Absolute error of `erf`.
const ERF_ERROR: f64 = 5e-7;

/// Applies a function to a slice, compiled for this processor.
struct Map<'a>(&'a str, &'a mut [f32]);

impl Kernel for Map<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for x in self.1 {
            *x = match self.0 {
                "exp" => exp::<I>(*x),
                "sigmoid" => sigmoid::<I>(*x),
                "tanh" => tanh::<I>(*x),
                _ => erf::<I>(*x),
            };
        }
    }
}

fn grid(limit: f32) -> Vec<f32> {
    (-40_000..=40_000).map(|i| i as f32 / 40_000.0 * limit).collect()
}

/// The largest error of a function on a grid, for the best instruction set and the portable one.
fn largest_error(name: &str, limit: f32, reference: fn(f64) -> f64, relative: bool) -> f64 {
    let x = grid(limit);
    let (mut best, mut portable) = (x.clone(), x.clone());
    dispatch(Map(name, &mut best));
    Map(name, &mut portable).run::<Portable>();
    let error = |(x, y): (&f32, &f32)| {
        let expected = reference(f64::from(*x));
        let scale = if relative { expected.abs().max(1e-37) } else { 1.0 };
        (f64::from(*y) - expected).abs() / scale
    };
    let both = x.iter().zip(&best).chain(x.iter().zip(&portable));
    both.map(error).fold(0.0, f64::max)
}

/// `erf` by its power series, which converges fast enough for these arguments in f64.
fn erf_series(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

#[test]
fn elementary_functions_are_accurate() {
    assert!(largest_error("exp", 87.0, f64::exp, true) < EXP_ERROR);
    assert!(largest_error("exp", 1.0, f64::exp, true) < EXP_ERROR);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    assert!(largest_error("sigmoid", 80.0, sigmoid, true) < RATIO_ERROR);
    assert!(largest_error("tanh", 12.0, f64::tanh, true) < RATIO_ERROR);
    assert!(largest_error("tanh", 0.01, f64::tanh, true) < RATIO_ERROR);
    let erf = largest_error("erf", 4.5, erf_series, false);
    assert!(erf < ERF_ERROR, "{erf}");
}

#[test]
fn special_values_survive() {
    let mut x = [f32::NEG_INFINITY, -200.0, 0.0, 200.0, f32::INFINITY, f32::NAN];
    dispatch(Map("exp", &mut x));
    assert_eq!(x[..3], [0.0, 0.0, 1.0]);
    assert!(x[3] > 1e38 && x[4] > 1e38 && x[5].is_nan());
    for name in ["sigmoid", "tanh", "erf"] {
        let mut x = [f32::NEG_INFINITY, f32::INFINITY, f32::NAN];
        dispatch(Map(name, &mut x));
        assert!(x[0].is_finite() && (x[1] - 1.0).abs() < 1e-6 && x[2].is_nan(), "{name}");
    }
}

struct Product<'a> {
    size: (usize, usize, usize),
    a: Strided<'a>,
    b: Rows<'a>,
    c: &'a mut [f32],
    accumulate: bool,
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let c = RowsMut::new(self.c, self.size.1);
        // SAFETY: the test passes matrices of these sizes.
        unsafe { I::matmul(self.size, self.a, self.b, c, self.accumulate) }
    }
}

#[test]
fn tile_products_match_plain_loops() {
    for (m, n, k) in [(1, 1, 1), (13, 59, 7), (8, 32, 16), (21, 48, 33), (5, 0, 3), (3, 17, 0)] {
        let (a, b, old) = (values(m * k, 1), values(k * n, 2), values(m * n, 3));
        let at = |i: usize, p: usize| f64::from(a[i * k + p]);
        let transposed: Vec<f32> = (0..k * m).map(|i| a[i % m * k + i / m]).collect();
        let expected: Vec<f64> =
            (0..m * n).map(|e| (0..k).map(|p| at(e / n, p) * f64::from(b[p * n + e % n])).sum()).collect();
        let with_old: Vec<f64> = expected.iter().zip(&old).map(|(e, o)| e + f64::from(*o)).collect();
        for (data, row, column) in [(&a, k, 1), (&transposed, 1, m)] {
            for portable in [false, true] {
                for accumulate in [false, true] {
                    let mut c = old.clone();
                    let product = Product {
                        size: (m, n, k),
                        a: Strided::new(data, row, column),
                        b: Rows::new(&b, n),
                        c: &mut c,
                        accumulate,
                    };
                    if portable {
                        product.run::<Portable>()
                    } else {
                        dispatch(product)
                    }
                    let expected = if accumulate { &with_old } else { &expected };
                    assert_close(&c, expected, AGAINST_F64, "product");
                }
            }
        }
    }
}

//! Products with weights of 16-bit floats.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{AGAINST_F64, SAME_FORMULA, assert_close, assert_thread_invariant, bits, device, grad, to_vec, values};
use crate::nn::linear;

const HALVES: [DType; 2] = [DType::BF16, DType::F16];

/// A weight `[input, output]` in half precision, with contiguous rows or, as a tied head's, columns.
fn weight((input, output): (usize, usize), dtype: DType, columns: bool, device: &Device) -> Tensor<2> {
    let data = |shape| TensorData::new(values(input * output, 7), shape);
    if columns {
        Tensor::<2>::from_data(data([output, input]), device).cast(dtype).transpose()
    } else {
        Tensor::<2>::from_data(data([input, output]), device).cast(dtype)
    }
}

fn rows(n: usize, input: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values(n * input, 3), [n, input]), device)
}

/// Sizes below, at and above every block of the kernel: rows, input, output.
const SIZES: [(usize, usize, usize); 9] = [
    (1, 1, 1),
    (1, 5, 3),
    (1, 64, 300),
    (3, 100, 70),
    (8, 130, 600),
    (9, 17, 33),
    (20, 200, 129),
    (130, 65, 67),
    (257, 150, 100),
];

/// Against plain f64 loops over the weight's own values: nothing is rounded but sums.
#[test]
fn products_are_those_of_the_stored_values() {
    let device = Device::flex();
    for (n, input, output) in SIZES {
        for (dtype, columns) in HALVES.into_iter().flat_map(|dtype| [(dtype, false), (dtype, true)]) {
            let (x, w) = (rows(n, input, &device), weight((input, output), dtype, columns, &device));
            let (xs, ws) = (to_vec(x.clone()), to_vec(w.clone()));
            let expected: Vec<f64> = (0..n * output)
                .map(|at| {
                    let terms = (0..input)
                        .map(|p| f64::from(xs[at / output * input + p]) * f64::from(ws[p * output + at % output]));
                    terms.sum()
                })
                .collect();
            let y = linear(x, w, None);
            assert_eq!(y.dtype(), DType::F32);
            assert_close(&to_vec(y), &expected, AGAINST_F64, &format!("{n} x {input} x {output} {dtype:?} {columns}"));
        }
    }
}

/// A row has the same bits alone and among others, with any number of threads.
#[test]
fn a_row_does_not_depend_on_the_others() {
    let device = Device::flex();
    let (n, input, output) = (150, 200, 600);
    for (dtype, columns) in HALVES.into_iter().flat_map(|dtype| [(dtype, false), (dtype, true)]) {
        let (x, w) = (rows(n, input, &device), weight((input, output), dtype, columns, &device));
        let all = bits(linear(x.clone(), w.clone(), None));
        for (row, few) in [(0, 1), (7, 1), (40, 3), (100, 8), (60, 70)] {
            let some = bits(linear(x.clone().narrow(0, row, few), w.clone(), None));
            assert_eq!(some, all[row * output..(row + few) * output], "{few} rows from {row} on, {dtype:?} {columns}");
        }
        assert_thread_invariant(|| vec![bits(linear(x.clone(), w.clone(), None))]);
    }
}

/// Every number there is, widened as the type's definition has it: times one, beside zeros times zero.
#[test]
fn all_sixteen_bit_numbers_are_widened_exactly() {
    const NUMBERS: usize = 1 << 16;
    let device = Device::flex();
    let x = Tensor::<2>::from_data([[1.0, 0.0, 0.0]], &device);
    for (dtype, columns) in HALVES.into_iter().flat_map(|dtype| [(dtype, false), (dtype, true)]) {
        // From one number to the next, where each column is contiguous.
        let others = if columns { 3 } else { 1 };
        let stored =
            |at: usize| if at.is_multiple_of(others) && at / others < NUMBERS { (at / others) as u16 } else { 0 };
        let shape = if columns { [NUMBERS, 3] } else { [3, NUMBERS] };
        let data = match dtype {
            DType::BF16 => {
                TensorData::new((0..3 * NUMBERS).map(|at| half::bf16::from_bits(stored(at))).collect(), shape)
            }
            _ => TensorData::new((0..3 * NUMBERS).map(|at| half::f16::from_bits(stored(at))).collect(), shape),
        };
        let w = Tensor::<2>::from_data(data, (&device, dtype));
        assert_eq!(w.dtype(), dtype);
        let w = if columns { w.transpose() } else { w };
        let y = to_vec(linear(x.clone(), w, None));
        for (bits, y) in (0..=u16::MAX).zip(y) {
            let exact = match dtype {
                DType::BF16 => half::bf16::from_bits(bits).to_f32(),
                _ => half::f16::from_bits(bits).to_f32(),
            };
            assert!(y == exact || y.is_nan() && exact.is_nan(), "{bits:#06x} {dtype:?} {columns}: {y}, not {exact}");
        }
    }
}

/// The gradient of the rows is that through the weight as f32; the bias has one, the weight none.
#[test]
fn gradients_reach_the_rows() {
    let device = device();
    for (dtype, columns) in HALVES.into_iter().flat_map(|dtype| [(dtype, false), (dtype, true)]) {
        let run = |widened: bool| {
            let w = weight((70, 90), dtype, columns, &device);
            let w = if widened { w.cast(DType::F32) } else { w };
            let x = rows(12, 70, &device).require_grad();
            let bias = Tensor::<1>::ones([90], &device).require_grad();
            let y = linear(x.clone(), w, Some(bias.clone()));
            let grads = super::weighted_sum(y.clone(), 5).backward();
            [to_vec(y), grad(&x, &grads), grad(&bias, &grads)]
        };
        for (half, whole) in run(false).iter().zip(run(true)) {
            assert_close(half, &whole, SAME_FORMULA, &format!("{dtype:?} {columns}"));
        }
    }
}

/// Rows in half precision are multiplied in f32 and rounded once.
#[test]
fn rows_of_half_precision_are_rounded_once() {
    let device = Device::flex();
    let (x, w) = (rows(4, 300, &device).cast(DType::BF16), weight((300, 50), DType::BF16, false, &device));
    let y = linear(x.clone(), w.clone(), None);
    assert_eq!(y.dtype(), DType::BF16);
    let once = linear(x.cast(DType::F32), w, None).cast(DType::BF16);
    assert_eq!(bits(y), bits(once));
}

/// Norms of f32 rows whose parameters are in half precision: the same as with the parameters as f32, forwards and backwards.
#[test]
fn norms_have_parameters_of_half_precision() {
    use crate::nn::{layer_norm, rms_norm};
    let device = device();
    for dtype in HALVES {
        let run = |widened: bool| {
            let parameter = |seed| {
                let data = TensorData::new(values(40, seed), [40]);
                let stored = Tensor::<1>::from_data(data, &device).cast(dtype);
                if widened { stored.cast(DType::F32) } else { stored }
            };
            let x = rows(9, 40, &device).require_grad();
            let layer = layer_norm(x.clone(), parameter(1), parameter(2), 1e-5);
            let rms = rms_norm(x.clone(), parameter(1), 1e-5, true);
            assert_eq!((layer.dtype(), rms.dtype()), (DType::F32, DType::F32));
            let grads = (super::weighted_sum(layer.clone(), 5) + super::weighted_sum(rms.clone(), 6)).backward();
            [to_vec(layer), to_vec(rms), grad(&x, &grads)]
        };
        for (half, whole) in run(false).iter().zip(run(true)) {
            assert_close(half, &whole, SAME_FORMULA, &format!("{dtype:?}"));
        }
    }
}

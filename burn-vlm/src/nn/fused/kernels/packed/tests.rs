//! The kernels against scalar loops over what is packed, and against the product that they stand for.

use super::*;
use crate::nn::vectors::Vectors;

/// f32 sums of f64's terms, relative to the sum of their magnitudes.
const ROUNDING: f64 = 1e-6;

/// Reproducible values in about `-1.7..1.7` with unit variance.
fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 12f32.sqrt()
    };
    (0..n).map(|_| next()).collect()
}

const FORMS: [Form; 3] = [Form::Eight, Form::Four, Form::FourLeast];

fn packed(weights: &[f32], size: Size, form: Form) -> Vec<u8> {
    let mut bytes = vec![7; size.bytes(form)];
    Packer::new(&mut bytes, size, form).push(weights).unwrap();
    bytes
}

/// All weights as they are packed, output by output.
fn unpacked(w: Matrix) -> Vec<f32> {
    let mut weights = vec![0.0; w.size.input * w.size.output];
    weights.chunks_mut(w.size.input).enumerate().for_each(|(output, weights)| w.unpack(output, weights));
    weights
}

const SIZES: [(usize, usize); 8] = [(1, 1), (31, 3), (32, 16), (33, 17), (96, 8), (100, 50), (64, 9), (576, 40)];
const ROWS: [usize; 8] = [0, 1, 2, 3, 7, 8, 13, 131];

/// Products by the definition: integers, then one chain over the blocks.
fn by_hand(x: &[f32], w: Matrix) -> Vec<f32> {
    let Size { input, output } = w.size;
    let weights: Vec<_> = (0..output)
        .map(|output| {
            let (panel, lane) = (output / PANEL, output % PANEL);
            let number = |at: usize| number_of(w.form, w.block(panel, at / BLOCK).0, at % BLOCK, lane);
            let scales = (0..w.size.blocks()).map(|block| {
                let (_, scales) = w.block(panel, block);
                (scale_of(scales, lane), least_of(w.form, scales, lane))
            });
            (Vec::from_iter((0..input).map(number)), Vec::from_iter(scales))
        })
        .collect();
    let mut out = Vec::new();
    for row in x.chunks(input) {
        let rounded: Vec<(Vec<i32>, f32)> = row
            .chunks(BLOCK)
            .map(|values| {
                let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                let inverse = 127.0 / largest;
                let number = |value: &f32| if largest > 0.0 { (value * inverse).round_ties_even() as i32 } else { 0 };
                (values.iter().map(number).collect(), largest / 127.0)
            })
            .collect();
        for (numbers, scales) in &weights {
            let mut sum = 0f32;
            for ((numbers, (scale, least)), (values, row_scale)) in numbers.chunks(BLOCK).zip(scales).zip(&rounded) {
                let dot: i32 = numbers.iter().zip(values).map(|(a, b)| a * b).sum();
                sum = (dot as f32).mul_add(scale * row_scale, sum);
                if w.form == Form::FourLeast {
                    sum = least.mul_add(row_scale * values.iter().sum::<i32>() as f32, sum);
                }
            }
            out.push(sum);
        }
    }
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_unit_has_the_bits_of_the_definition() {
    for (at, (input, output)) in SIZES.into_iter().enumerate() {
        for form in FORMS {
            let size = Size { input, output };
            let bytes = packed(&values(input * output, at as u64), size, form);
            let w = Matrix::new(&bytes, size, form).unwrap();
            for m in ROWS {
                let mut x = values(m * input, 100 + m as u64);
                // A block of zeros, and one of large and small values.
                x.iter_mut().take(BLOCK).for_each(|value| *value = 0.0);
                x.iter_mut()
                    .skip(BLOCK)
                    .take(BLOCK)
                    .enumerate()
                    .for_each(|(at, value)| *value *= 10f32.powi(at as i32 % 9 - 4));
                let expected = bits(&by_hand(&x, w));
                for unit in Unit::of_processor(Vectors::of_processor()) {
                    assert_eq!(bits(&multiply_by(unit, &x, w)), expected, "{unit:?} {m} x {size:?} {form:?}");
                }
            }
        }
    }
}

/// Numbers at their ends, in sums as long as a block: what is added up in 16 bits must not leave them.
#[test]
fn the_largest_numbers_fit_their_sums() {
    let size = Size { input: 96, output: 5 };
    let x: Vec<f32> = (0..3 * 96)
        .map(|at| {
            if at < 96 {
                1.0
            } else if at < 192 {
                -1.0
            } else {
                1.0 - 2.0 * (at % 2) as f32
            }
        })
        .collect();
    let weights: Vec<f32> = (0..96 * 5).map(|at| [1.0, -1.0, 0.875][at / 96 % 3]).collect();
    for form in FORMS {
        let bytes = packed(&weights, size, form);
        let w = Matrix::new(&bytes, size, form).unwrap();
        let expected = bits(&by_hand(&x, w));
        for unit in Unit::of_processor(Vectors::of_processor()) {
            assert_eq!(bits(&multiply_by(unit, &x, w)), expected, "{unit:?} {form:?}");
        }
    }
    let extremes = [Nibbles { numbers: [0xff; four::HALF], scale: 2.0, least: -3.0 }; 15];
    for form in [Form::Four, Form::FourLeast] {
        let mut bytes = vec![1; size.bytes(form)];
        Packer::new(&mut bytes, size, form).push_nibbles(&extremes).unwrap();
        let w = Matrix::new(&bytes, size, form).unwrap();
        let weight = if form == Form::Four { 14.0 } else { 27.0 };
        assert_eq!(unpacked(w), [weight; 96 * 5]);
        for unit in Unit::of_processor(Vectors::of_processor()) {
            assert_eq!(bits(&multiply_by(unit, &x, w)), bits(&by_hand(&x, w)), "{unit:?} {form:?}");
            assert_eq!(multiply_by(unit, &x[..96], w), [96.0 * weight; 5], "{unit:?} {form:?}");
        }
    }
}

/// With 4 bits, the product is that of the weights as they are packed but for the rounding of the rows.
#[test]
fn of_4_bits_only_the_rows_are_rounded_again() {
    for (input, output) in SIZES {
        let size = Size { input, output };
        let x = values(5 * input, 2);
        for form in [Form::Four, Form::FourLeast] {
            let bytes = packed(&values(input * output, 1), size, form);
            let w = Matrix::new(&bytes, size, form).unwrap();
            let (weights, y) = (unpacked(w), multiply(&x, w));
            for (row, y) in x.chunks(input).zip(y.chunks(output)) {
                for (weights, y) in weights.chunks(input).zip(y) {
                    let (mut exact, mut bound) = (0.0, 0.0);
                    for (weights, values) in weights.chunks(BLOCK).zip(row.chunks(BLOCK)) {
                        let largest = values.iter().fold(0f64, |most, value| most.max(f64::from(value.abs())));
                        for (weight, value) in weights.iter().zip(values) {
                            exact += f64::from(*weight) * f64::from(*value);
                            // The sums of a block's two parts may be larger than their sum.
                            bound += largest / 254.0 * f64::from(weight.abs()) + ROUNDING * largest * 16.0;
                        }
                    }
                    assert!((f64::from(*y) - exact).abs() <= bound, "{y} instead of {exact} within {bound}");
                }
            }
        }
    }
}

/// The bound in this module's description, against the product of what was packed in f64.
#[test]
fn the_error_is_within_its_bound() {
    for (input, output) in SIZES {
        let size = Size { input, output };
        let weights = values(input * output, 1);
        let bytes = packed(&weights, size, Form::Eight);
        let w = Matrix::new(&bytes, size, Form::Eight).unwrap();
        let x = values(5 * input, 2);
        let y = multiply(&x, w);
        for (row, y) in x.chunks(input).zip(y.chunks(output)) {
            for (weights, y) in weights.chunks(input).zip(y) {
                let (mut exact, mut bound) = (0.0, 0.0);
                for (weights, values) in weights.chunks(BLOCK).zip(row.chunks(BLOCK)) {
                    let largest = |values: &[f32]| values.iter().fold(0f64, |most, v| most.max(f64::from(v.abs())));
                    let (a, b) = (largest(weights), largest(values));
                    // A scale is rounded up by a binary16's step.
                    let (half_a, half_b) = (a / 254.0 * (1.0 + 1.0 / 1024.0), b / 254.0);
                    for (weight, value) in weights.iter().zip(values) {
                        exact += f64::from(*weight) * f64::from(*value);
                        bound += a * half_b + b * half_a + half_a * half_b + ROUNDING * a * b;
                    }
                }
                assert!((f64::from(*y) - exact).abs() <= bound, "{y} instead of {exact} within {bound}");
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_in_a_batch_and_with_any_number_of_threads() {
    let size = Size { input: 200, output: 700 };
    for form in FORMS {
        let bytes = packed(&values(200 * 700, 1), size, form);
        let x = values(77 * 200, 2);
        let run = |rows: &[f32]| multiply(rows, Matrix::new(&bytes, size, form).unwrap());
        let batch = run(&x);
        for (row, expected) in x.chunks(200).zip(batch.chunks(700)) {
            assert_eq!(bits(&run(row)), bits(expected));
        }
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(bits(&pool.install(|| run(&x))), bits(&batch));
        }
    }
}

/// Of 4 bits, half a scale is a sixteenth of the largest weight, or a thirtieth of what lies between the least and the largest; the last
/// is not kept to where fewer squares of errors are got with less.
#[test]
fn weights_of_4_bits_are_near_and_in_parts_the_same() {
    for (input, output) in SIZES {
        let size = Size { input, output };
        let weights = values(input * output, 3);
        let errors = [Form::Four, Form::FourLeast].map(|form| {
            let bytes = packed(&weights, size, form);
            let mut parts = vec![1; size.bytes(form)];
            let mut packer = Packer::new(&mut parts, size, form);
            weights.chunks(3 * input).for_each(|part| packer.push(part).unwrap());
            assert_eq!(parts, bytes);
            let unpacked = unpacked(Matrix::new(&bytes, size, form).unwrap());
            let mut sum = 0.0;
            for (weights, unpacked) in weights.chunks(input).zip(unpacked.chunks(input)) {
                for (weights, unpacked) in weights.chunks(BLOCK).zip(unpacked.chunks(BLOCK)) {
                    let low = weights.iter().fold(f32::INFINITY, |low, weight| low.min(*weight));
                    let high = weights.iter().fold(f32::NEG_INFINITY, |high, weight| high.max(*weight));
                    let most = match form {
                        // The largest of the other sign has no number of its own.
                        Form::Four => low.abs().max(high.abs()) / 8.0 * 1.001,
                        _ => (high - low) * 0.1 + high.abs().max(low.abs()) * 1e-3,
                    };
                    for (weight, unpacked) in weights.iter().zip(unpacked) {
                        assert!((weight - unpacked).abs() <= most, "{weight} became {unpacked}, within {most}");
                        sum += f64::from(weight - unpacked).powi(2);
                    }
                }
            }
            sum
        });
        assert!(input < BLOCK || errors[1] < errors[0], "{size:?}: {errors:?}");
    }
}

#[test]
fn weights_are_within_half_a_scale_and_in_parts_the_same() {
    for (input, output) in SIZES {
        let size = Size { input, output };
        let mut weights = values(input * output, 3);
        weights[0] = 1e-7;
        let bytes = packed(&weights, size, Form::Eight);
        let mut parts = vec![1; size.bytes(Form::Eight)];
        let mut packer = Packer::new(&mut parts, size, Form::Eight);
        for part in weights.chunks(3 * input) {
            packer.push(part).unwrap();
        }
        assert_eq!(parts, bytes);
        let w = Matrix::new(&bytes, size, Form::Eight).unwrap();
        let mut unpacked = vec![0.0; input];
        for (output, weights) in weights.chunks(input).enumerate() {
            w.unpack(output, &mut unpacked);
            for (weights, unpacked) in weights.chunks(BLOCK).zip(unpacked.chunks(BLOCK)) {
                let scale = not_less(weights.iter().fold(0f32, |most, w| most.max(w.abs())) / 127.0).to_f32();
                for (weight, unpacked) in weights.iter().zip(unpacked) {
                    assert!((weight - unpacked).abs() <= scale * 0.500_01, "{weight} became {unpacked}, scale {scale}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_is_refused_or_shows() {
    let size = Size { input: 40, output: 3 };
    for form in FORMS {
        let mut bytes = vec![0; size.bytes(form)];
        for bad in [f32::NAN, f32::INFINITY, 1e8] {
            let mut weights = values(120, 1);
            weights[77] = bad;
            let error = Packer::new(&mut bytes, size, form).push(&weights).unwrap_err();
            assert_eq!(error.0.to_bits(), bad.to_bits());
        }
        let bytes = packed(&values(120, 1), size, form);
        let w = Matrix::new(&bytes, size, form).unwrap();
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = values(80, 2);
            x[41] = bad;
            let y = multiply(&x, w);
            assert!(y[..3].iter().all(|y| y.is_finite()) && y[3..].iter().all(|y| y.is_nan()), "{y:?}");
        }
        let tiny = multiply(&[1e-35; 40], w);
        assert_eq!(tiny, [0.0; 3]);
        assert!(Matrix::new(&bytes[1..], size, form).is_none());
    }
    let nibbles = Nibbles { scale: 1.0, least: 1e6, ..Default::default() };
    let mut bytes = vec![0; size.bytes(Form::FourLeast)];
    assert_eq!(Packer::new(&mut bytes, size, Form::FourLeast).push_nibbles(&[nibbles; 2]), Err(Unfit(1e6)));
}

/// What a file of `Q8_0` stands for has its numbers again: the largest of a block is 127, and the scale is found exactly.
#[test]
fn numbers_come_back_as_they_were() {
    for (input, output) in SIZES {
        let size = Size { input, output };
        let bytes = packed(&values(input * output, 9), size, Form::Eight);
        let weights = unpacked(Matrix::new(&bytes, size, Form::Eight).unwrap());
        assert_eq!(packed(&weights, size, Form::Eight), bytes, "{size:?}");
    }
}

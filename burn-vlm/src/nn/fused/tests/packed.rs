//! Weights of 8-bit and 4-bit numbers as tensors.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::{SAME_FORMULA, assert_close, bits, device, grad, to_vec, values};
use crate::nn::fused::packed::{Form, Size, float, pack, packed};
use crate::nn::{HeadWeight, embedding, linear, token_log_probs};

/// Rounding weights and rows to 8 bits, relative to the largest result of sums of some hundred terms.
const ROUNDED: f64 = 1e-2;

/// As [`ROUNDED`], with the weights in 4 bits: of what a block covers up to a tenth is cut at either end, and half a step is a thirtieth.
const ROUNDED_TO_4: f64 = 0.25;

const SIZES: [(usize, usize); 4] = [(1, 1), (24, 40), (100, 70), (64, 300)];
const FORMS: [(Form, f64); 3] = [(Form::Eight, ROUNDED), (Form::Four, ROUNDED_TO_4), (Form::FourLeast, ROUNDED_TO_4)];

fn rows(n: usize, input: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values(n * input, 3), [n, input]), device)
}

fn ids(ids: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(ids.to_vec(), [ids.len()]), device)
}

#[test]
fn layers_and_tables_compute_what_their_weights_stand_for() {
    let device = Device::flex();
    for (input, output) in SIZES {
        for (form, rounded) in FORMS {
            let weights = values(input * output, 7);
            let both = [false, true].map(|table| packed(&weights, form, [output, input], table));
            let [layer, table] = both;
            assert_eq!((layer.dims(), table.dims()), ([input, output], [output, input]));
            let exact = Tensor::<2>::from_data(TensorData::new(weights, [output, input]), &device);
            // The weights themselves, in both directions.
            assert_eq!(bits(float(layer.clone()).transpose()), bits(float(table.clone())));
            assert_close(&to_vec(float(table.clone())), &to_vec(exact.clone()), rounded, "weights");
            let x = rows(9, input, &device);
            let bias = Tensor::<1>::from_data(TensorData::new(values(output, 5), [output]), &device);
            let y = linear(x.clone(), layer.clone(), Some(bias.clone()));
            let expected = x.clone().matmul(exact.transpose()) + bias.clone().unsqueeze::<2>();
            assert_close(&to_vec(y.clone()), &to_vec(expected), rounded, "layer");
            // Of what is packed nothing is lost but by rounding the rows.
            let near = x.clone().matmul(float(layer.clone())) + bias.clone().unsqueeze::<2>();
            assert_close(&to_vec(y.clone()), &to_vec(near), ROUNDED, "packed layer");
            // A tied head is the same product; so is that of rows in more dimensions, and in half precision.
            assert_eq!(bits(linear(x.clone(), table.clone().transpose(), Some(bias.clone()))), bits(y.clone()));
            let cube = linear(x.clone().reshape([3, 3, input]), layer.clone(), Some(bias.clone()));
            assert_eq!(bits(cube.reshape([9, output])), bits(y));
            let half = x.cast(DType::BF16);
            let y = linear(half.clone(), layer.clone(), Some(bias.clone()));
            assert_eq!(y.dtype(), DType::BF16);
            assert_eq!(bits(y), bits(linear(half.cast(DType::F32), layer, Some(bias)).cast(DType::BF16)));
        }
    }
}

#[test]
fn rows_of_a_table_are_its_weights() {
    let device = Device::flex();
    for (form, _) in FORMS {
        let table = packed(&values(50 * 40, 1), form, [50, 40], true);
        let chosen = Tensor::<2, Int>::from_data([[0, 49], [7, 7]], &device);
        let expected = float(table.clone()).select(0, ids(&[0, 49, 7, 7], &device));
        assert_eq!(bits(embedding(table.clone(), chosen).reshape([4, 40])), bits(expected));
        // An id that has no row.
        let none = Tensor::<2, Int>::from_data([[50, -1]], &device);
        assert_eq!(to_vec(embedding(table, none)), [0.0; 80]);
    }
}

#[test]
fn losses_are_those_of_the_logits() {
    let device = Device::flex();
    let (weights, hidden) = (values(90 * 40, 1), rows(11, 40, &device));
    let targets = ids(&[3, 0, 89, -100, 5, 6, 7, 8, 9, 10, 11], &device);
    for table in [false, true] {
        let weight = packed(&weights, Form::Eight, [90, 40], table);
        let (matrix, head) = match table {
            true => (weight.clone().transpose(), HeadWeight::Table(weight)),
            false => (weight.clone(), HeadWeight::Linear(weight)),
        };
        let logits = linear(hidden.clone(), matrix, None);
        let expected = token_log_probs(logits, targets.clone(), Some(5.0)).neg();
        for chunk in [1, 200, 1 << 20] {
            let losses = crate::nn::loss::linear_cross_entropy_chunked(
                hidden.clone(),
                head.clone(),
                targets.clone(),
                Some(5.0),
                chunk,
            );
            assert_eq!(bits(losses), bits(expected.clone()), "{table} {chunk}");
        }
    }
}

/// Where rows are trained through such a weight, theirs is the gradient of the product with the weights as floats.
#[test]
fn gradients_go_through() {
    let weight = packed(&values(30 * 20, 1), Form::FourLeast, [20, 30], false);
    let x = super::random([7, 30], 2);
    let y = linear(x.clone(), weight.clone(), None);
    let grads = super::weighted_sum(y.clone(), 5).backward();
    let other = super::random([7, 30], 2);
    let z = other.clone().matmul(Tensor::from_inner(float(weight)));
    let expected = super::weighted_sum(z.clone(), 5).backward();
    assert_close(&to_vec(y), &to_vec(z), SAME_FORMULA, "product");
    assert_close(&grad(&x, &grads), &grad(&other, &expected), SAME_FORMULA, "gradient");
    assert!(x.device() == device());
}

/// Burn's own operations do not know how such a weight lies in memory, and must not seem to.
#[test]
fn what_goes_past_the_functions_shows() {
    let device = Device::flex();
    for (form, _) in FORMS {
        for (input, output) in SIZES {
            let weight = packed(&values(input * output, 1), form, [output, input], false);
            assert!(to_vec(weight.clone().dequantize()).iter().all(|value| value.is_nan()), "{form:?}");
            let y = rows(2, input, &device).matmul(weight);
            assert!(to_vec(y).iter().all(|value| value.is_nan()), "{form:?}");
        }
        let size = Size { input: 40, output: 1 };
        let error = pack(size, form, false, |packer| packer.push(&[f32::NAN; 40])).unwrap_err();
        assert!(error.0.is_nan());
    }
}

//! Weights of 8-bit or 4-bit numbers as tensors, on the CPU's `flex` backend.
//!
//! Unusual here: such a weight is a tensor of Burn's quantised kind with the shape of the matrix, so that parameters, shapes, transposes
//! and devices need nothing new; its bytes are in the order of our kernels, scales included. Burn's own operations, which know nothing of
//! that order, are given NaN for a scale: what reaches a weight past the functions here gives NaN, and not something that looks right.

use burn::backend::{BackendTensor, DispatchKindConversion, DispatchTensor, Flex, TensorMetadata};
use burn::tensor::quantization::{QuantScheme, QuantStore, QuantValue, ScaleDtype};
use burn::tensor::{Bytes, DType, Int, Shape, Tensor};
use burn_flex::{FlexQTensor, FlexTensor, Layout};

use super::flex::{contiguous, elements, tensor, to_f16};
use super::kernels::packed::{self, Matrix};
pub use super::kernels::packed::{BLOCK, Form, Nibbles, PANEL, Packer, Size, Unfit};

/// Where numbers begin in memory: registers are then filled from one line of the cache.
const ALIGNMENT: usize = 64;

/// Whether a weight of this element type is one of these.
pub fn is_packed(dtype: DType) -> bool {
    matches!(dtype, DType::QFloat(_))
}

/// A weight that `fill` packs: `[input, output]`, or `[output, input]` if `table`.
///
/// # Errors
/// Those of `fill`.
pub fn pack<E>(
    size: Size,
    form: Form,
    table: bool,
    fill: impl FnOnce(&mut Packer<'_>) -> Result<(), E>,
) -> Result<Tensor<2>, E> {
    let mut bytes = vec![0u8; size.bytes(form) + ALIGNMENT];
    let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
    fill(&mut Packer::new(&mut bytes[start..][..size.bytes(form)], size, form))?;
    // The distance of two outputs is never 1, whatever the sizes.
    let line = line(size, form) as isize;
    let (shape, strides) = match table {
        true => ([size.output, size.input], vec![line, 1]),
        false => ([size.input, size.output], vec![1, line]),
    };
    let numbers = FlexTensor::new(Bytes::from_elems(bytes), Layout::new(Shape::from(shape), strides, start), DType::I8);
    let scheme =
        QuantScheme::default().with_value(value_of(form)).with_store(QuantStore::Native).per_tensor(ScaleDtype::F32);
    let held = FlexQTensor::new(numbers, scheme, vec![f32::NAN], None);
    let held = BackendTensor::<Flex>::Quantized(held);
    Ok(Tensor::from_dispatch(<DispatchTensor as DispatchKindConversion<Flex>>::from_backend(held)))
}

/// How Burn's element type says the form.
fn value_of(form: Form) -> QuantValue {
    match form {
        Form::Eight => QuantValue::Q8S,
        Form::Four => QuantValue::Q4S,
        Form::FourLeast => QuantValue::Q4F,
    }
}

fn form_of(value: QuantValue) -> Option<Form> {
    [Form::Eight, Form::Four, Form::FourLeast].into_iter().find(|form| value_of(*form) == value)
}

/// From output to output, as the layout says. With 4 bits half of what a row of values needs, so that what a layout of values in 8 bits
/// reaches is inside the bytes.
fn line(size: Size, form: Form) -> usize {
    let values = size.blocks() * BLOCK;
    if form == Form::Eight { values } else { values / 2 }
}

/// What a weight holds.
///
/// # Panics
/// For a tensor that [`pack`] has not made, or a part of one.
fn held(weight: Tensor<2>) -> FlexQTensor {
    match <DispatchTensor as DispatchKindConversion<Flex>>::try_into_backend(weight.into_dispatch()) {
        Ok(BackendTensor::Quantized(held)) => held,
        _ => unreachable!("packed weights are held by `flex`"),
    }
}

/// The matrix in it.
fn matrix(held: &FlexQTensor) -> Matrix<'_> {
    let layout = held.tensor().layout();
    let (dims, strides) = (layout.shape().dims::<2>(), layout.strides());
    let [output, input] = if strides[1] == 1 { dims } else { [dims[1], dims[0]] };
    let size = Size { input, output };
    let bytes = held.tensor().bytes().get(layout.start_offset()..).unwrap_or_default();
    let DType::QFloat(scheme) = held.dtype() else { unreachable!("a quantised tensor") };
    let form = form_of(scheme.value).filter(|form| {
        let expected = line(size, *form) as isize;
        strides == [expected, 1] || strides == [1, expected]
    });
    match form.and_then(|form| Matrix::new(bytes, size, form)) {
        Some(matrix) => matrix,
        None => unreachable!("a packed weight is used as a whole: {size:?} with strides {strides:?}"),
    }
}

/// `x w`, or `x w^T` for a weight `[output, input]`, in f32. With autodiff, the product with the weights as floats, in which no gradient
/// reaches the weight.
///
/// # Shapes
/// - `x`: `[rows, input]`, f32
/// - returns `[rows, output]`
pub fn product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let held = held(weight);
    let matrix = matrix(&held);
    match x.clone().try_into_primitive::<Flex>() {
        Ok(values) => {
            let [rows, _] = x.dims();
            drop(x);
            let values = contiguous(values);
            let y = packed::multiply(elements(&values), matrix);
            Tensor::from_primitive::<Flex>(tensor(y, Shape::from([rows, matrix.size().output])))
        }
        Err(_) => x.matmul(Tensor::from_inner(floats(matrix, (0..matrix.size().output).map(Some)).transpose())),
    }
}

/// Keys or values as they are held beside such weights: in f16, which rounds far less than those do, and what is beyond its range at its
/// end. With autodiff, as they are.
pub fn held_beside<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.clone().try_into_primitive::<Flex>() {
        Ok(values) if values.dtype() == DType::F32 => {
            drop(x);
            Tensor::from_primitive::<Flex>(to_f16(values))
        }
        _ => x,
    }
}

/// Rows of f32, one for each output that is asked for; zeros where there is none.
fn floats(matrix: Matrix<'_>, outputs: impl ExactSizeIterator<Item = Option<usize>>) -> Tensor<2> {
    let (width, count) = (matrix.size().input, outputs.len());
    let mut values = vec![0.0; count * width];
    for (values, output) in values.chunks_exact_mut(width.max(1)).zip(outputs) {
        if let Some(output) = output {
            matrix.unpack(output, values);
        }
    }
    Tensor::from_primitive::<Flex>(tensor(values, Shape::from([count, width])))
}

/// Outputs of a weight by index, in f32; zeros for an index that it does not have.
///
/// # Shapes
/// - `ids`: `[n]`
/// - returns `[n, input]`
pub fn rows(weight: Tensor<2>, ids: Tensor<1, Int>) -> Tensor<2> {
    let held = held(weight);
    let matrix = matrix(&held);
    let ids: Vec<i64> = ids.into_data().iter::<i64>().collect();
    let output = |id: &i64| usize::try_from(*id).ok().filter(|id| *id < matrix.size().output);
    floats(matrix, ids.iter().map(output))
}

/// A tensor as floats: the values that a packed weight stands for, or itself.
pub fn float<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if !is_packed(tensor.dtype()) {
        return tensor;
    }
    let held = held(Tensor::from_dispatch(tensor.into_dispatch()));
    let matrix = matrix(&held);
    let rows = floats(matrix, (0..matrix.size().output).map(Some));
    let as_table = held.tensor().layout().strides()[1] == 1;
    Tensor::from_dispatch(if as_table { rows } else { rows.transpose() }.into_dispatch())
}

#[cfg(test)]
pub fn packed(values: &[f32], form: Form, [output, input]: [usize; 2], table: bool) -> Tensor<2> {
    pack(Size { input, output }, form, table, |packer| packer.push(values)).expect("weights that fit")
}

//! Any bytes as a safetensors file: no panic, no memory beyond the file's size, and the values that the format's own library reads.

#![no_main]

use burn_vlm_fuzz::checkpoint::{StoredTensor, TensorSource, read_transposed};
use burn_vlm_fuzz::file;
use half::{bf16, f16};
use libfuzzer_sys::fuzz_target;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

fuzz_target!(|bytes: &[u8]| {
    let source = TensorSource::open(&file("model.safetensors", bytes));
    let library = SafeTensors::deserialize(bytes);
    if let (Err(error), Ok(_)) = (&source, &library) {
        panic!("the library reads what we refuse: {error}");
    }
    let Ok(source) = source else { return };
    for (key, tensor) in source.tensors() {
        let found = source.read_f32(key, tensor);
        let transposed = read_transposed(&source, key, tensor);
        assert_eq!(found.is_ok(), transposed.is_ok(), "{key}");
        let (Ok(found), Ok(transposed)) = (found, transposed) else {
            assert!(!is_float(tensor), "{key}: a float that cannot be read");
            continue;
        };
        assert!(found.len() <= bytes.len(), "{key}: {} values of {} bytes", found.len(), bytes.len());
        assert_same(key, &transposed, &transpose(&found, &tensor.shape));
        if let Ok(library) = &library {
            let view = library.tensor(key).expect("both have the same keys");
            assert_eq!((view.dtype(), view.shape()), (tensor.dtype, tensor.shape.as_slice()), "{key}");
            assert_same(key, &found, &values(&view));
        }
    }
});

fn is_float(tensor: &StoredTensor) -> bool {
    matches!(tensor.dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// Equal bit by bit, but for the kind of NaN: conversions from half precision may make it a quiet one.
fn assert_same(key: &str, found: &[f32], expected: &[f32]) {
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    let all = found.len() == expected.len() && found.iter().zip(expected).all(same);
    assert!(all, "{key}: {found:?}, expected {expected:?}");
}

fn values(view: &TensorView<'_>) -> Vec<f32> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        _ => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
    }
}

fn transpose(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let &[rows, columns] = shape else { return values.to_vec() };
    if values.is_empty() {
        return Vec::new();
    }
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

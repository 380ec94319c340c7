//! Any bytes as a file of `torch.save`: no panic, no more values than the file has bytes, and the same ones again.

#![no_main]

use burn_vlm_fuzz::checkpoint::{TensorSource, read_transposed};
use burn_vlm_fuzz::file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = file("model.ckpt", bytes);
    let source = match TensorSource::open(&path) {
        Ok(source) => source,
        Err(error) => {
            assert!(error.to_string().contains("model.ckpt"), "no file is named: {error}");
            return;
        }
    };
    for (key, tensor) in source.tensors() {
        let found = source.read_f32(key, tensor);
        let transposed = read_transposed(&source, key, tensor);
        assert_eq!(found.is_ok(), transposed.is_ok(), "{key}");
        let (Ok(found), Ok(transposed)) = (found, transposed) else { continue };
        assert!(found.len() <= bytes.len(), "{key}: {} values of {} bytes", found.len(), bytes.len());
        assert_eq!(found.len(), tensor.shape.iter().product::<usize>(), "{key}");
        assert_eq!(found.len(), transposed.len(), "{key}");
    }
});

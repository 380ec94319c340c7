//! Any bytes as a GGUF file: no panic, as many values as a tensor's shape says and the same ones transposed, and words that are texts.

#![no_main]

use burn_vlm_fuzz::checkpoint::{TensorSource, gguf_config, gguf_words, read_transposed};
use burn_vlm_fuzz::file;
use libfuzzer_sys::fuzz_target;

/// Values of a byte where they are smallest: blocks of 4 bits without anything beside them.
const VALUES_OF_A_BYTE: usize = 2;

fuzz_target!(|bytes: &[u8]| {
    let path = file("model.gguf", bytes);
    for error in [gguf_config(&path).err(), gguf_words(&path).err()].into_iter().flatten() {
        assert!(error.to_string().contains("model.gguf"), "no file is named: {error}");
    }
    let source = match TensorSource::open(&path) {
        Ok(source) => source,
        Err(error) => {
            assert!(error.to_string().contains("model.gguf"), "no file is named: {error}");
            return;
        }
    };
    for (key, tensor) in source.tensors() {
        let found = source.read_f32(key, tensor);
        let transposed = read_transposed(&source, key, tensor);
        assert_eq!(found.is_ok(), transposed.is_ok(), "{key}");
        let (Ok(found), Ok(transposed)) = (found, transposed) else { continue };
        assert!(found.len() <= VALUES_OF_A_BYTE * bytes.len(), "{key}: {} values of {} bytes", found.len(), bytes.len());
        assert_eq!(found.len(), tensor.shape.iter().product::<usize>(), "{key}");
        assert_eq!(found.len(), transposed.len(), "{key}");
    }
});

//! Any bytes as a GGUF file: no panic, as many values as a tensor's shape says, no more than the file can hold, and errors that name it.

#![no_main]

use burn_vlm_fuzz::checkpoint::{gguf_config, gguf_words, read_all};
use burn_vlm_fuzz::file;
use libfuzzer_sys::fuzz_target;

/// Values of a byte where they are smallest: blocks of 4 bits without anything beside them.
const VALUES_OF_A_BYTE: usize = 2;

fuzz_target!(|bytes: &[u8]| {
    let path = file("model.gguf", bytes);
    for error in [gguf_config(&path).err(), gguf_words(&path).err()].into_iter().flatten() {
        assert!(error.to_string().contains("model.gguf"), "no file is named: {error}");
    }
    read_all(&path, bytes.len(), VALUES_OF_A_BYTE);
});

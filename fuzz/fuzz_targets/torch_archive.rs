//! Any bytes as a file of `torch.save`: no panic, no more values than the file has bytes, and the same ones again.

#![no_main]

use burn_vlm_fuzz::checkpoint::read_all;
use burn_vlm_fuzz::file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| read_all(&file("model.ckpt", bytes), bytes.len(), 1));

#!/usr/bin/env bash
# Burn's CPU backend holds the memory of a new tensor twice for a moment, and copies all of it.
#
# burn-flex 0.22.1 makes every fresh float tensor (`zeros`, `empty`, the result of each matrix product) as a `Vec<u8>` of
# zeros and hands it to `Bytes::from_bytes_vec`. A byte vector's layout promises an alignment of 1, the bytes are to have 16,
# and what counts is the promise, not the address: so a second block is allocated and everything is copied, although the
# allocator's address was aligned all along. A tensor that is made of a `Vec<f32>` with its values has one block.
#
# Seen (burn-flex 0.22.1, cubecl-environment 0.11.3), for a tensor of 64 MiB:
#   zeros: 128 MiB at the peak, 64 MiB after
#   product of [4096, 8] and [8, 4096]: 128 MiB at the peak, 65 MiB after
# Expected by most: 64 MiB, as `numpy.zeros` and `torch.zeros` need, and no copy.
#
# Why it matters: the largest tensor of a language model's training step is its logits, the result of a product. Whoever plans
# memory by the size of the tensors (tokens x vocabulary x 4 bytes) is short by that much again: 4 GB of logits need 8 GB.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "twice"
version = "0.0.0"
edition = "2024"

[dependencies]
burn-flex = "=0.22.1"
burn-backend = "=0.22.1"
burn-std = "=0.22.1"

[profile.dev]
debug = false
TOML
cat > src/main.rs <<'RUST'
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use burn_backend::FloatDType;
use burn_backend::ops::FloatTensorOps;
use burn_flex::{Flex, FlexDevice};
use burn_std::Shape;

struct Counting;
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

fn measure<T>(name: &str, make: impl FnOnce() -> T) -> usize {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let made = make();
    let mebibytes = |bytes: usize| (bytes - before) >> 20;
    let peak = mebibytes(PEAK.load(Relaxed));
    println!("{name}: {peak} MiB at the peak, {} MiB after", mebibytes(LIVE.load(Relaxed)));
    drop(made);
    peak
}

fn main() {
    let (device, dtype) = (FlexDevice, FloatDType::F32);
    let zeros = |rows, columns| Flex::float_zeros(Shape::from(vec![rows, columns]), &device, dtype);
    let a = measure("zeros", || zeros(4096, 4096));
    let (x, y) = (zeros(4096, 8), zeros(8, 4096));
    let b = measure("product of [4096, 8] and [8, 4096]", || Flex::float_matmul(x, y));
    // Of one block each the peaks would be 64 MiB, and of the product a little more for its packing.
    std::process::exit(i32::from(a < 128 || b < 128));
}
RUST
echo "a float tensor of 64 MiB:"
cargo run --quiet 2> build.log || { status=$?; cat build.log; echo "changed (exit $status)"; exit 1; }

//! What adapters learn from pictures and what they keep, against all weights; `--study rates`: at which learning rates.
//!
//! `cargo run --release --example ablate_adapter -- --help`

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::run_studies("ablate_adapter", &burn_vlm_experiments::ADAPTER)
}

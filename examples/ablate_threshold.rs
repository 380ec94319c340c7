//! How good must a translation be to train on it? (TowerVision, section 2.1.)
//!
//! `cargo run --release --example ablate_threshold -- --help`

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::run_studies("ablate_threshold", &[burn_vlm_experiments::THRESHOLD])
}

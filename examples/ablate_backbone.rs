//! Which backbone: English-centric or multilingual, pretrained or instruction-tuned? (TowerVision, Table 4.)
//!
//! `cargo run --release --example ablate_backbone -- --help`

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::run_studies("ablate_backbone", &[burn_vlm_experiments::BACKBONE])
}

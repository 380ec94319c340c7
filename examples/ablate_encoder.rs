//! Which vision encoder, on which finetuning data? (TowerVision, Table 5.)
//!
//! `cargo run --release --example ablate_encoder -- --help`

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::run_studies("ablate_encoder", &[burn_vlm_experiments::ENCODER])
}

//! Ten finetuning languages or twenty, from the same number of samples? (TowerVision, Figure 3 and Table 11.)
//!
//! `cargo run --release --example ablate_languages -- --help`

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::run_studies("ablate_languages", &[burn_vlm_experiments::LANGUAGES])
}

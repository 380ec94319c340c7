//! Pixels, patches and tiles: many small tiles or few large ones? (TowerVision, Table 10.)
//!
//! `cargo run --release --example ablate_resolution -- --help`

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::run_studies("ablate_resolution", &[burn_vlm_experiments::RESOLUTION])
}

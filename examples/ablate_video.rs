//! Does a video stage need other languages than English? (TowerVision, Table 7.) And how many frames does a question need?
//!
//! `cargo run --release --example ablate_video -- --help`

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::run_studies("ablate_video", &burn_vlm_experiments::VIDEO)
}

//! Do translated captions help the alignment of the projector? (TowerVision, Table 6 and section 4.)
//!
//! `cargo run --release --example ablate_alignment -- --help`

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::run_studies("ablate_alignment", &[burn_vlm_experiments::ALIGNMENT])
}

//! What finetuning on pictures costs the backbone in its own languages, and whether texts among the samples keep it.
//!
//! `cargo run --release --example ablate_forgetting -- --help`

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::run_studies("ablate_forgetting", &[burn_vlm_experiments::FORGETTING])
}

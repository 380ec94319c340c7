//! Score a model, or replies of another system, on published benchmarks or questions of your own:
//! `cargo run --release --example evaluate -- --help`.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::evaluate_command()
}

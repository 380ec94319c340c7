//! Trains a model by a recipe: `cargo run --release --example train -- --help`.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::train()
}

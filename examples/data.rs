//! Look at training data, or write some to begin with: `cargo run --release --example data -- --help`.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::data()
}

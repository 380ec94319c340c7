//! Pretrains the parts that ship with the repository: `cargo run --release --example pretrain -- --help`.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::pretrain()
}

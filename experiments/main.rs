//! `burn-vlm`: studies, training, evaluation and chat in one program; `burn-vlm --help` tells more.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::command()
}

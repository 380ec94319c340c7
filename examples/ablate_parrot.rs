//! Do Parrot's language experts do anything? (Parrot, Tables 6, 7, 9, 10, 11 and 14, Figures 6 and 7.)
//!
//! `cargo run --release --example ablate_parrot -- --help`

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::run_studies("ablate_parrot", &burn_vlm_experiments::PARROT)
}

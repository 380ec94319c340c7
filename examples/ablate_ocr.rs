//! What does finetuning on text in pictures give, and what does it cost? (TowerVision, Table 1, the -OCR rows.)
//!
//! `cargo run --release --example ablate_ocr -- --help`

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    burn_vlm_experiments::run_studies("ablate_ocr", &[burn_vlm_experiments::OCR])
}

//! The benchmarks, one file each.

mod ai2d;
mod alm_bench;
mod cc_ocr;
mod commute;
mod gqa;
mod llava_bench;
mod m3exam;
mod mmbench;
mod mme;
mod mmmb;
mod mmmb_paired;
mod mmstar;
mod multi30k;
mod ocrbench;
mod pope;
mod realworldqa;
mod scienceqa;
mod seedbench;
mod textvqa;
mod vimul_bench;
mod vqav2;

use crate::published::Published;

pub(crate) use cc_ocr::set_subset as set_cc_ocr_subset;
pub(crate) use mme::{COGNITION as MME_COGNITION, PERCEPTION as MME_PERCEPTION};
pub(crate) use ocrbench::FORMULA as OCRBENCH_FORMULA;

/// All benchmarks; to add one, write its file and name it here.
pub fn all() -> Vec<&'static dyn Published> {
    vec![
        &ai2d::Ai2d,
        &alm_bench::AlmBench,
        &cc_ocr::CcOcr,
        &commute::Commute,
        &gqa::Gqa,
        &llava_bench::LlavaBench,
        &m3exam::M3Exam,
        &mmbench::MmBench,
        &mme::Mme,
        &mmmb::Mmmb,
        &mmmb_paired::MmmbPaired,
        &mmstar::MmStar,
        &multi30k::Multi30k,
        &ocrbench::OcrBench,
        &pope::Pope,
        &realworldqa::RealWorldQa,
        &scienceqa::ScienceQa,
        &seedbench::SeedBench,
        &textvqa::TextVqa,
        &vimul_bench::VimulBench,
        &vqav2::VqaV2,
    ]
}

/// The benchmark of a name.
pub fn find(name: &str) -> Option<&'static dyn Published> {
    all().into_iter().find(|benchmark| benchmark.name() == name)
}

/// The prompt for a translation of TowerVision's fork of lmms-eval.
fn translation_prompt(language: &str, source: &str) -> String {
    format!("Translate the following source text from English to {language}:\n{source}")
}

//! The models of burn-vlm: tensors in, tensors out; no files but checkpoints.
//!
//! | module | what it holds |
//! |---|---|
//! | [`vision`] | image encoders: SigLIP 1 and 2, CLIP, Chinese-CLIP, the enum [`VisionEncoder`](vision::VisionEncoder) |
//! | [`text`] | the text towers of the dual encoders; XLM-RoBERTa and XLM-RoBERTa-XL |
//! | [`comet`] | the translation metrics COMETKiwi and XCOMET |
//! | [`dual`] | contrastive dual encoders (SigLIP, CLIP) and their losses |
//! | [`language`] | decoders: Gemma 2, Llama, Mistral, Qwen 2, the enum [`LanguageModel`](language::LanguageModel), the KV cache |
//! | [`connector`] | from visual features to the decoder's embedding space: LLaVA's MLP, Parrot's experts, pixel shuffle |
//! | [`vlm`] | [`Vlm`](vlm::Vlm): vision tower x connector x language model |
//! | [`generate`] | KV-cached greedy and sampled generation |
//! | [`lora`] | low-rank adapters on the linear layers of any part |
//! | [`checkpoint`] | safetensors in the Hugging Face layout, in and out; adapters in peft's |
//! | [`count`] | parameters and layer sizes from a config alone |
//! | [`parts`] | your own tower or connector beside this library's |
//! | [`nn`], [`encoder`], [`init`] | blocks that several models share, and how their weights begin |
//!
//! Every module is backend-agnostic: it takes a [`Device`](burn::tensor::Device) and never names a backend.
//! Struct fields are named after the keys of the published checkpoints, configs after the keys of `config.json`.
//!
//! The book has pages on [real checkpoints](https://github.com/burn-vlm/burn-vlm/blob/main/docs/checkpoints.md) and on
//! [parts of your own](https://github.com/burn-vlm/burn-vlm/blob/main/docs/extending.md).
//!
//! # From a picture's bytes to features
//!
//! [`burn`] is re-exported: a program needs no dependency on it, nor on its version. Backends are features of this crate (`flex`, the
//! default, is a CPU's). `burn-vlm-data` reads pictures.
//!
// Compiled and run by CI from a project outside of this workspace; the README has the same text.
#![doc = concat!("```rust,ignore\n", include_str!("../docs/features.rs"), "```")]
#![deny(missing_docs)]
// The fused kernels alone have any.
#![deny(unsafe_code)]

pub mod checkpoint;
pub mod comet;
pub mod connector;
pub mod count;
pub mod dual;
pub mod encoder;
pub mod error;
pub mod generate;
pub mod init;
pub mod language;
pub mod lora;
pub mod nn;
pub mod parts;
pub mod text;
pub mod vision;
pub mod vlm;

/// The Burn that this crate is built on: its tensors, devices and modules are those of all signatures here.
pub use burn;
pub use error::ModelError;

/// The version of Burn that this crate is built on, for the record of a result.
pub const BURN_VERSION: &str = "0.22.1";

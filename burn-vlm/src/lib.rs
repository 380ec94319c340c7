//! The models of burn-vlm: tensors in, tensors out; no files but checkpoints.
//!
//! | module | what it holds |
//! |---|---|
//! | [`vision`] | image encoders: SigLIP 1 and 2, CLIP, Chinese-CLIP, the enum [`VisionEncoder`](vision::VisionEncoder) |
//! | [`text`] | the text towers of the dual encoders |
//! | [`dual`] | contrastive dual encoders (SigLIP, CLIP) and their losses |
//! | [`language`] | decoders: Gemma 2, Llama, Qwen 2, the enum [`LanguageModel`](language::LanguageModel), the KV cache |
//! | [`connector`] | from visual features to the decoder's embedding space |
//! | [`vlm`] | [`Vlm`](vlm::Vlm): vision tower x connector x language model |
//! | [`generate`] | KV-cached greedy and sampled generation |
//! | [`checkpoint`] | safetensors in the Hugging Face layout, in and out |
//! | [`count`] | parameters and layer sizes from a config alone |
//! | [`parts`] | one's own tower or connector beside this library's |
//! | [`nn`] | blocks several models share |
//!
//! Every module is backend-agnostic: it takes a [`Device`](burn::tensor::Device) and never names a backend.
//! Struct fields are named after the keys of the published checkpoints, configs after the keys of `config.json`.

#![deny(missing_docs)]

pub mod checkpoint;
pub mod connector;
pub mod count;
pub mod dual;
pub mod encoder;
pub mod error;
pub mod generate;
pub mod init;
pub mod language;
pub mod nn;
pub mod parts;
pub mod text;
pub mod vision;
pub mod vlm;

pub use error::ModelError;

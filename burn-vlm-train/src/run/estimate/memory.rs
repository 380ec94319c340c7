//! Memory of a training step, from what the layers keep for their backward pass.
//!
//! What a decoder layer keeps of a token, in values: the inputs and outputs of its norms, queries, keys, values and what attention gives,
//! gate, up and their product. Scores and logits are never held (`docs/memory.md`). With gradient checkpointing it keeps its input, and
//! one layer at a time all of that. Slack of the device's allocator, workspaces of its libraries and the system are not counted.

use burn_vlm::count::LayerShape;
use burn_vlm::nn::{CHUNK_ELEMENTS, Precision};
use burn_vlm::vlm::VlmConfig;

use super::flops::{Trained, tower_layers};
use super::{MicroBatch, SampleEstimate};
use crate::recipe::{ComputeRecipe, StageRecipe};

/// Bytes of a parameter, a gradient, a moment, a pixel.
const F32: f64 = 4.0;
/// Chunks of logits that are there at once: the logits, and their gradient.
const LOGIT_CHUNKS: usize = 2;
/// Samples that are prepared ahead of a step, in micro-batches.
const AHEAD: f64 = 2.0;

/// Bytes on the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Parameters, f32.
    pub weights: u64,
    /// Gradients, f32; twice where micro-batches are added up.
    pub gradients: u64,
    /// Both moments of AdamW, f32.
    pub optimizer: u64,
    /// What is kept for the backward pass, and the largest that is there besides.
    pub activations: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.gradients + self.optimizer + self.activations
    }
}

/// Bytes on the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Host {
    /// Samples of a step with their pixels, those prepared ahead, and the micro-batches made of them.
    pub samples: u64,
    /// Pictures being decoded.
    pub decoding: u64,
}

/// Values that a layer keeps of a token.
fn layer_values(shape: &LayerShape) -> f64 {
    let LayerShape { hidden_size, heads, kv_heads, head_dim, intermediate_size, gated, norms, .. } = shape;
    // two norms have the residual stream as input; further ones what a sublayer gives, and all keep what they give themselves but
    // those behind a sublayer, whose output is only added
    let norms = hidden_size * (4 + norms.saturating_sub(2));
    let attention = (heads + 2 * kv_heads) * head_dim + heads * head_dim;
    let mlp = if *gated { 3 } else { 2 } * intermediate_size;
    (norms + attention + mlp) as f64
}

pub(super) fn estimate(
    config: &VlmConfig,
    trained: &Trained,
    micro: &MicroBatch,
    sample: &SampleEstimate,
    compute: &ComputeRecipe,
    checkpointing: bool,
) -> Memory {
    let bytes = if compute.precision == Precision::Bf16 { 2.0 } else { F32 };
    let stack = Stack { bytes, casts: compute.precision == Precision::Bf16, checkpointing };
    let shape = config.text_config.layer_shape();
    let mut kept = stack.kept(&shape, shape.layers, micro.tokens, micro.tokens, trained.through_language);
    // embeddings and the final norm's input and output
    kept += 3.0 * micro.tokens * shape.hidden_size as f64 * bytes;
    let head = config.text_config.vocab_size() * shape.hidden_size;
    let targets = micro.samples * sample.targets;
    let logits = (targets * config.text_config.vocab_size() as f64).min(CHUNK_ELEMENTS as f64);
    let casts = if stack.casts { head as f64 * bytes } else { 0.0 };
    let mut largest = logits * F32 * LOGIT_CHUNKS as f64 + casts;
    if trained.sees {
        let tower = config.vision_config.layer_shape();
        let grid = config.vision_config.grid() as f64;
        let tokens = grid * grid + f64::from(u8::from(config.vision_config.has_class_token()));
        let at_once = compute.images_per_chunk.map_or(micro.views, |chunk| micro.views.min(chunk as f64));
        let trains = trained.tower > 0.0;
        let (all, once) = (micro.views * tokens, at_once * tokens);
        let tower_bytes = stack.kept(&tower, tower_layers(config), all, once, trains);
        // nothing of a frozen tower is left when the decoder runs
        if trains {
            kept += tower_bytes
        } else {
            largest = largest.max(tower_bytes)
        }
        let side = config.vision_config.image_size() as f64;
        let pixels = micro.views * config.vision_config.num_channels() as f64 * side * side * F32;
        let features = micro.views * config.num_feature_tokens() as f64;
        kept += pixels + features * (config.feature_width() + 3 * shape.hidden_size) as f64 * bytes;
    }
    let sets = if micro.count > 1.0 { 2.0 } else { 1.0 };
    let gradient = trained.with_gradient as f64 * F32;
    Memory {
        weights: (trained.parameters - trained.with_gradient) * trained.frozen_bytes + gradient as u64,
        gradients: (gradient * sets) as u64,
        optimizer: (gradient * 2.0) as u64,
        activations: (kept + largest) as u64,
    }
}

/// How a stack of layers is computed.
struct Stack {
    bytes: f64,
    /// Whether weights are cast, which makes copies of them.
    casts: bool,
    checkpointing: bool,
}

impl Stack {
    /// Bytes that `layers` layers hold for `tokens` tokens, of which `at_once` go through them together.
    fn kept(&self, shape: &LayerShape, layers: usize, tokens: f64, at_once: f64, gradient: bool) -> f64 {
        let copies = if self.casts { shape.matrix_values() as f64 * self.bytes } else { 0.0 };
        let one = at_once * layer_values(shape) * self.bytes + copies;
        match (gradient, self.checkpointing) {
            (false, _) => one,
            (true, true) => layers as f64 * tokens * shape.hidden_size as f64 * self.bytes + one,
            (true, false) => layers as f64 * (tokens * layer_values(shape) * self.bytes + copies),
        }
    }
}

pub(super) fn host(config: &VlmConfig, stage: &StageRecipe, sample: &SampleEstimate, workers: usize) -> Host {
    let side = config.vision_config.image_size() as f64;
    let view = config.vision_config.num_channels() as f64 * side * side * F32;
    let ahead = AHEAD * stage.batch as f64;
    // a step's samples are there while its micro-batches, which hold the same pixels, are made of them
    let samples = 2.0 * stage.samples_per_step() as f64 + ahead;
    let (width, height) = sample.picture;
    let decoded = f64::from(width) * f64::from(height) * (3.0 + 3.0 * F32);
    Host {
        samples: (samples * sample.views() * view) as u64,
        decoding: (workers as f64 * sample.pictures.ceil() * decoded) as u64,
    }
}

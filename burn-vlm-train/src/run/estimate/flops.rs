//! Floating-point operations of a training step.
//!
//! A matrix of N values costs 2 N a token forward, 2 N for the gradient of its input and 2 N for its own: 6 N T where all is trained,
//! 4 N T where a frozen part passes the gradient on (the language model in alignment), 2 N T where nothing before it is trained.
//! Attention counts the whole square of scores, as is usual, within a layer's window. Norms, activations and biases are left out.

use burn_vlm::vlm::VlmConfig;

use super::SampleEstimate;
use crate::optim::LearningRates;
use crate::params::ParamInfo;
use crate::recipe::ObjectiveKind;

/// Operations of one pass over something.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Flops {
    /// Forward and backward.
    pub model: f64,
    /// Forward once more, by gradient checkpointing.
    pub recomputed: f64,
    /// The vision tower's part of both.
    pub vision: f64,
}

impl Flops {
    /// All that the device computes.
    pub fn total(&self) -> f64 {
        self.model + self.recomputed
    }

    /// So many times as much.
    pub fn times(self, count: f64) -> Self {
        Self { model: self.model * count, recomputed: self.recomputed * count, vision: self.vision * count }
    }
}

/// What a stage trains, by part.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Trained {
    /// Whether there are pictures at all.
    pub(super) sees: bool,
    /// Trained share of the tower's layers that run.
    pub(super) tower: f64,
    pub(super) connector: f64,
    /// Of the decoder, its embeddings included.
    pub(super) language: f64,
    /// Whether a gradient goes through the decoder's layers.
    pub(super) through_language: bool,
    /// Parameters, and those that receive gradients.
    pub(super) parameters: u64,
    pub(super) with_gradient: u64,
    /// Bytes of a value that is frozen.
    pub(super) frozen_bytes: u64,
    /// Values of the connector's matrices, of the first one, and of the largest parameter.
    pub(super) connector_values: u64,
    pub(super) first_connector: u64,
    pub(super) largest: u64,
}

impl Trained {
    pub(super) fn of(
        config: &VlmConfig,
        params: &[ParamInfo],
        rates: &LearningRates,
        objective: ObjectiveKind,
    ) -> Self {
        let unused = unused_layers(config);
        let runs = |path: &str| !unused.iter().any(|prefix| path.starts_with(prefix.as_str()));
        let share = |prefix: &str| {
            let part = params.iter().filter(|param| param.path.starts_with(prefix) && runs(&param.path));
            let (all, trained) = part.fold((0, 0), |(all, trained), param| {
                let trains = rates.rate(&param.path).is_some();
                (all + param.count(), trained + if trains { param.count() } else { 0 })
            });
            trained as f64 / all.max(1) as f64
        };
        let sees = objective != ObjectiveKind::Text;
        let (tower, connector, newline) = match sees {
            true => (share("vision_tower."), share("multi_modal_projector."), share("image_newline")),
            false => (0.0, 0.0, 0.0),
        };
        let language = share(if sees { "language_model." } else { "" });
        let matrices = || params.iter().filter(|p| p.path.starts_with("multi_modal_projector.") && p.shape.len() == 2);
        let counted = |p: &&ParamInfo| rates.rate(&p.path).is_some() && runs(&p.path);
        Self {
            sees,
            tower,
            connector,
            language,
            through_language: tower + connector + newline + language > 0.0,
            parameters: params.iter().map(|p| p.count() as u64).sum(),
            with_gradient: params.iter().filter(counted).map(|p| p.count() as u64).sum(),
            frozen_bytes: 4,
            connector_values: matrices().map(|p| p.count() as u64).sum(),
            first_connector: matrices().next().map_or(0, |p| p.count() as u64),
            largest: params.iter().map(|p| p.count() as u64).max().unwrap_or_default(),
        }
    }
}

/// Layers of the tower that run: the last whose output is read.
pub(super) fn tower_layers(config: &VlmConfig) -> usize {
    let layers = config.vision_config.num_hidden_layers();
    if config.visual_tokens.pooled_head {
        return layers;
    }
    let read = |layer: &i64| if *layer < 0 { (layers as i64 + 1 + layer).max(0) as usize } else { *layer as usize };
    config.vision_feature_layer.layers().iter().map(read).max().unwrap_or(layers).min(layers)
}

/// Paths of the tower's parameters that no visual token depends on: they get no gradient.
fn unused_layers(config: &VlmConfig) -> Vec<String> {
    if config.visual_tokens.pooled_head {
        return Vec::new();
    }
    let unused = tower_layers(config)..config.vision_config.num_hidden_layers();
    let layers = unused.map(|layer| format!("vision_tower.encoder.layers.{layer}."));
    layers.chain(["vision_tower.post_layernorm.".into(), "vision_tower.head.".into()]).collect()
}

/// Operations of one average sample.
pub(super) fn estimate(config: &VlmConfig, trained: &Trained, sample: &SampleEstimate, checkpointing: bool) -> Flops {
    let mut flops = Flops::default();
    if trained.sees {
        let views = sample.views();
        let layers = tower_layers(config) as f64;
        let shape = config.vision_config.layer_shape();
        let grid = config.vision_config.grid() as f64;
        let tokens = grid * grid + f64::from(u8::from(config.vision_config.has_class_token()));
        let side = config.vision_config.image_size() as f64 / grid.max(1.0);
        let patch = side.floor() * side.floor() * (config.vision_config.num_channels() * shape.hidden_size) as f64;
        let matrices = 2.0 * (layers * shape.matrix_values() as f64 * tokens + patch * grid * grid);
        let attention = 4.0 * tokens * tokens * (shape.heads * shape.head_dim) as f64 * layers;
        let forward = views * (matrices + attention);
        let passes = f64::from(u8::from(trained.tower > 0.0));
        flops.vision = forward + views * (trained.tower * matrices + passes * (matrices + 2.0 * attention));
        flops.model += flops.vision;
        if checkpointing && trained.tower > 0.0 {
            flops.recomputed += forward;
            flops.vision += forward;
        }
        let features = views * config.num_feature_tokens() as f64;
        let (all, first) = (trained.connector_values as f64, trained.first_connector as f64);
        let passed = match (trained.tower > 0.0, trained.connector > 0.0) {
            (true, _) => all,
            (false, true) => all - first,
            (false, false) => 0.0,
        };
        flops.model += 2.0 * features * (all + trained.connector * all + passed);
    }
    let language = &config.text_config;
    let shape = language.layer_shape();
    let tokens = sample.tokens();
    let seen = |layer: usize| language.layer_window(layer).map_or(tokens, |window| tokens.min(window as f64));
    let pairs: f64 = (0..shape.layers).map(|layer| tokens * seen(layer)).sum();
    let matrices = 2.0 * (shape.layers as u64 * shape.matrix_values()) as f64 * tokens;
    let attention = 4.0 * pairs * (shape.heads * shape.head_dim) as f64;
    let head = 2.0 * (language.vocab_size() * shape.hidden_size) as f64 * sample.targets;
    let passes = f64::from(u8::from(trained.through_language));
    flops.model += matrices + attention + head;
    flops.model += trained.language * (matrices + head) + passes * (matrices + 2.0 * attention + head);
    if checkpointing && trained.through_language {
        flops.recomputed += matrices + attention;
    }
    flops
}

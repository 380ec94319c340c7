//! What the stages of each cell were trained on, and what came of it: counts and losses, no times, which differ from run to run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::run::DrawnSamples;
use crate::stats::Axes;

/// One stage of one training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// The cell.
    pub axes: Axes,
    /// The seed.
    pub seed: u64,
    /// Name of the stage.
    pub stage: String,
    /// Optimizer steps that were taken.
    pub steps: u64,
    /// What it draws; null where that was not noted.
    pub samples: Option<DrawnSamples>,
    /// Tokens that it was trained on, visual tokens counted, padding not.
    pub tokens: u64,
    /// Parameters that it trains; null where that was not noted.
    pub trained_parameters: Option<u64>,
    /// Bytes of weights, gradients and the optimizer's moments while it trains, without activations; null where that was not noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_bytes: Option<u64>,
    /// Loss over the last interval that was logged, nats per token.
    pub loss: Option<f32>,
    /// The same by tag of the language; empty where there is one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loss_by_language: BTreeMap<String, f32>,
    /// The same by source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loss_by_source: BTreeMap<String, f32>,
    /// The same on what is held out, at the last validation; null where the stage is not validated.
    pub held_out_loss: Option<f32>,
    /// The held-out loss by tag of the language.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held_out_loss_by_language: BTreeMap<String, f32>,
    /// The same by source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held_out_loss_by_source: BTreeMap<String, f32>,
}

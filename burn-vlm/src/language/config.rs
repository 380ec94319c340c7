//! Config values that several decoders share.

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// One token id or several, as `eos_token_id` comes in both forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenIds {
    /// One id.
    One(u32),
    /// Several.
    Many(Vec<u32>),
}

impl TokenIds {
    /// All of them.
    pub fn to_vec(&self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![*id],
            Self::Many(ids) => ids.clone(),
        }
    }
}

/// What a layer attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerType {
    /// Everything before.
    FullAttention,
    /// The last `sliding_window` positions.
    SlidingAttention,
}

/// Rotary parameters as transformers 5.x writes them (4.x has `rope_theta` beside the other keys).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RopeParameters {
    /// Base of the frequencies.
    pub rope_theta: f64,
    /// Only `default` is supported.
    pub rope_type: String,
}

impl Default for RopeParameters {
    fn default() -> Self {
        Self { rope_theta: 10_000.0, rope_type: "default".into() }
    }
}

/// The base of the rotary frequencies from the keys of either version.
///
/// # Errors
/// [`ModelError::Config`] for any scaled kind.
pub(super) fn rope_theta(
    model: &'static str,
    theta: f64,
    parameters: Option<&RopeParameters>,
    scaling: Option<&serde_json::Value>,
) -> Result<f64, ModelError> {
    if let Some(scaling) = scaling
        && !scaling.is_null()
    {
        let kind = scaling.get("rope_type").or_else(|| scaling.get("type")).and_then(|kind| kind.as_str());
        if kind != Some("default") {
            return Err(ModelError::config(
                model,
                "rope_scaling",
                scaling,
                "null: scaled rotary positions are not supported",
            ));
        }
    }
    match parameters {
        Some(parameters) if parameters.rope_type == "default" => Ok(parameters.rope_theta),
        Some(parameters) => {
            let expected = "`default`: scaled rotary positions are not supported";
            Err(ModelError::config(model, "rope_parameters.rope_type", &parameters.rope_type, expected))
        }
        None => Ok(theta),
    }
}

/// Checks heads and widths that every decoder has.
pub(super) fn check_heads(
    model: &'static str,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    layer_types: Option<&[LayerType]>,
    layers: usize,
) -> Result<(), ModelError> {
    if heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        let expected = format!("a positive divisor of num_attention_heads {heads}");
        return Err(ModelError::config(model, "num_key_value_heads", kv_heads, expected));
    }
    if head_dim == 0 || !head_dim.is_multiple_of(2) {
        return Err(ModelError::config(model, "head_dim", head_dim, "a positive even number (rotary pairs)"));
    }
    if let Some(types) = layer_types
        && types.len() != layers
    {
        let expected = format!("{layers} entries (num_hidden_layers)");
        return Err(ModelError::config(model, "layer_types", types.len(), expected));
    }
    Ok(())
}

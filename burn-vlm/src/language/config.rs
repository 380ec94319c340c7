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

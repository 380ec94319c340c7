//! `[part.NAME]` and `[tokenizer]`: how the parts of a VLM are pretrained here.

use burn_vlm::dual::DualConfig;
use burn_vlm::language::LanguageConfig;
use burn_vlm_data::language::Language;
use serde::{Deserialize, Serialize};

use super::StageRecipe;

/// A byte-level BPE tokenizer trained on the training texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerRecipe {
    /// Number of entries, special tokens included.
    pub vocab_size: usize,
    /// Languages whose training texts it sees.
    pub languages: Vec<Language>,
}

/// How a part is pretrained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
pub enum PartRecipe {
    /// A vision encoder, pretrained with a text tower by a contrastive loss.
    Encoder {
        /// The vision tower and the text tower it is pretrained against.
        model: Box<DualConfig>,
        /// Seed of this part.
        #[serde(default)]
        seed: u64,
        /// Its training.
        stage: Box<StageRecipe>,
    },
    /// A language model, pretrained on texts.
    Backbone {
        /// The decoder.
        model: Box<LanguageConfig>,
        /// Seed of this part.
        #[serde(default)]
        seed: u64,
        /// Its training.
        stage: Box<StageRecipe>,
    },
}

impl PartRecipe {
    /// The part's training stage.
    pub fn stage(&self) -> &StageRecipe {
        match self {
            Self::Encoder { stage, .. } | Self::Backbone { stage, .. } => stage,
        }
    }
}

//! Tiny models with random weights.

use burn::tensor::Device;
use burn_vlm::init::Scope;
use burn_vlm::language::{Gemma2Config, LanguageConfig, LanguageModel, LlamaConfig, MistralConfig, Qwen2Config};
use burn_vlm::vision::{ClipVisionConfig, SiglipVisionConfig, VisionConfig};
use burn_vlm::vlm::{VisualTokens, Vlm, VlmConfig, VlmType};

pub const VOCABULARY: usize = 50;
pub const IMAGE_TOKEN: i64 = 49;

/// Large enough that logits differ by more than rounding.
const RANGE: f64 = 0.3;

pub fn gemma2() -> LanguageConfig {
    LanguageConfig::Gemma2(Gemma2Config {
        vocab_size: VOCABULARY,
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        max_position_embeddings: 64,
        initializer_range: RANGE,
        query_pre_attn_scalar: 8.0,
        sliding_window: Some(5),
        ..Gemma2Config::default()
    })
}

pub fn qwen2() -> LanguageConfig {
    LanguageConfig::Qwen2(Qwen2Config {
        vocab_size: VOCABULARY,
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 6,
        num_key_value_heads: 3,
        max_position_embeddings: 64,
        initializer_range: RANGE,
        ..Qwen2Config::default()
    })
}

/// With every bias, and positions stretched as Llama 3.1 does.
pub fn llama() -> LanguageConfig {
    let scaling = r#"{"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16}"#;
    LanguageConfig::Llama(LlamaConfig {
        vocab_size: VOCABULARY,
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 6,
        num_key_value_heads: Some(3),
        max_position_embeddings: 64,
        initializer_range: RANGE,
        attention_bias: true,
        mlp_bias: true,
        rope_scaling: serde_json::from_str(scaling).ok(),
        ..LlamaConfig::default()
    })
}

/// A window shorter than the head is wide, heads wider than the stream divided by their number.
pub fn mistral() -> LanguageConfig {
    LanguageConfig::Mistral(MistralConfig {
        vocab_size: VOCABULARY,
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: Some(8),
        max_position_embeddings: 64,
        initializer_range: RANGE,
        sliding_window: Some(5),
        ..MistralConfig::default()
    })
}

/// The same with room for the tokens of tiles.
fn with_positions(mut config: LanguageConfig) -> LanguageConfig {
    match &mut config {
        LanguageConfig::Gemma2(config) => config.max_position_embeddings = 512,
        LanguageConfig::Llama(config) => config.max_position_embeddings = 512,
        LanguageConfig::Mistral(config) => config.max_position_embeddings = 512,
        LanguageConfig::Qwen2(config) => config.max_position_embeddings = 512,
    }
    config
}

pub fn language(config: &LanguageConfig, seed: u64, device: &Device) -> LanguageModel {
    config.init_with(&Scope::new(seed, device)).unwrap()
}

/// Pictures of 16 x 16 in patches of 4.
pub fn siglip() -> VisionConfig {
    VisionConfig::Siglip(SiglipVisionConfig {
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 16,
        patch_size: 4,
        ..SiglipVisionConfig::default()
    })
}

pub fn clip() -> VisionConfig {
    VisionConfig::Clip(ClipVisionConfig {
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 16,
        patch_size: 4,
        ..ClipVisionConfig::default()
    })
}

/// Four pooled patches and the pooled head output, normalised: 5 visual tokens.
pub fn vlm_config(vision: VisionConfig, text: LanguageConfig) -> VlmConfig {
    VlmConfig {
        visual_tokens: VisualTokens { pool: Some(2), pooled_head: true, normalize: true, noise: 0.0 },
        ..VlmConfig::new(vision, text, IMAGE_TOKEN)
    }
}

/// Tiles of 16 x 16 pixels and 4 x 4 tokens, two or four a picture.
pub fn tiled_config(vision: VisionConfig, text: LanguageConfig) -> VlmConfig {
    VlmConfig {
        model_type: VlmType::LlavaNext,
        image_grid_pinpoints: Some(vec![(16, 32), (32, 16), (32, 32)]),
        ..VlmConfig::new(vision, with_positions(text), IMAGE_TOKEN)
    }
}

pub const VIDEO_TOKEN: i64 = 48;

/// The same for videos too, whose frames are 2 x 2 tokens.
pub fn onevision_config(vision: VisionConfig, text: LanguageConfig) -> VlmConfig {
    VlmConfig {
        model_type: VlmType::LlavaOnevision,
        video_token_index: Some(VIDEO_TOKEN),
        ..tiled_config(vision, text)
    }
}

pub fn vlm(config: &VlmConfig, seed: u64, device: &Device) -> Vlm {
    config.init_with(&Scope::new(seed, device)).unwrap()
}

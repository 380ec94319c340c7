//! Parameters of the decoders: one shape, in which they differ by biases and norms.

use super::{LayerShape, List};
use crate::language::LanguageConfig;

/// A layer with what tells the decoders apart.
pub(super) struct Layer {
    pub(super) shape: LayerShape,
    qkv_bias: bool,
    out_bias: bool,
    mlp_bias: bool,
    norms: &'static [&'static str],
}

const PRE_NORMS: [&str; 2] = ["input_layernorm", "post_attention_layernorm"];
const SANDWICH: [&str; 4] =
    ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"];

impl Layer {
    pub(super) fn of(config: &LanguageConfig) -> Self {
        let (layers, heads, kv_heads, head_dim, intermediate_size) = match config {
            LanguageConfig::Gemma2(c) => {
                (c.num_hidden_layers, c.num_attention_heads, c.num_key_value_heads, c.head_dim, c.intermediate_size)
            }
            LanguageConfig::Llama(c) => {
                (c.num_hidden_layers, c.num_attention_heads, c.kv_heads(), c.head_dim(), c.intermediate_size)
            }
            LanguageConfig::Mistral(c) => {
                (c.num_hidden_layers, c.num_attention_heads, c.num_key_value_heads, c.head_dim(), c.intermediate_size)
            }
            LanguageConfig::Qwen2(c) => {
                (c.num_hidden_layers, c.num_attention_heads, c.num_key_value_heads, c.head_dim(), c.intermediate_size)
            }
        };
        let (qkv_bias, out_bias, mlp_bias) = match config {
            LanguageConfig::Gemma2(_) | LanguageConfig::Mistral(_) => (false, false, false),
            LanguageConfig::Llama(config) => (config.attention_bias, config.attention_bias, config.mlp_bias),
            LanguageConfig::Qwen2(_) => (true, false, false),
        };
        let norms: &[&str] = if matches!(config, LanguageConfig::Gemma2(_)) { &SANDWICH } else { &PRE_NORMS };
        let shape = LayerShape {
            layers,
            hidden_size: config.hidden_size(),
            heads,
            kv_heads,
            head_dim,
            intermediate_size,
            gated: true,
            norms: norms.len(),
        };
        Self { shape, qkv_bias, out_bias, mlp_bias, norms }
    }

    fn list(&self, list: &mut List) {
        let LayerShape { hidden_size: hidden, intermediate_size: inner, heads, kv_heads, head_dim, .. } = self.shape;
        let mut attention = list.at("self_attn");
        attention.linear("q_proj", hidden, heads * head_dim, self.qkv_bias);
        attention.linear("k_proj", hidden, kv_heads * head_dim, self.qkv_bias);
        attention.linear("v_proj", hidden, kv_heads * head_dim, self.qkv_bias);
        attention.linear("o_proj", heads * head_dim, hidden, self.out_bias);
        let mut mlp = list.at("mlp");
        mlp.linear("gate_proj", hidden, inner, self.mlp_bias);
        mlp.linear("up_proj", hidden, inner, self.mlp_bias);
        mlp.linear("down_proj", inner, hidden, self.mlp_bias);
        self.norms.iter().for_each(|norm| list.rms_norm(norm, hidden));
    }
}

pub(super) fn decoder(config: &LanguageConfig, list: &mut List) {
    let (hidden, vocab) = (config.hidden_size(), config.vocab_size());
    let layer = Layer::of(config);
    let mut model = list.at("model");
    model.at("embed_tokens").add("weight", [vocab, hidden]);
    for index in 0..layer.shape.layers {
        layer.list(&mut model.at("layers").at(index));
    }
    model.rms_norm("norm", hidden);
    if !config.tie_word_embeddings() {
        list.linear("lm_head", hidden, vocab, false);
    }
}

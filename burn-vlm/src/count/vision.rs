//! Parameters of the vision towers.

use super::List;
use crate::vision::{ClipVisionConfig, SiglipVisionConfig, VisionConfig};

pub(super) fn tower(config: &VisionConfig, list: &mut List) {
    match config {
        VisionConfig::Siglip(config) => siglip(config, list),
        VisionConfig::Clip(config) | VisionConfig::ChineseClip(config) => clip(config, list),
    }
}

fn siglip(config: &SiglipVisionConfig, list: &mut List) {
    let (hidden, inner, patch) = (config.hidden_size, config.intermediate_size, config.patch_size);
    let grid = config.image_size / patch;
    let mut embeddings = list.at("embeddings");
    embeddings.at("patch_embedding").add("weight", [hidden, config.num_channels, patch, patch]);
    embeddings.at("patch_embedding").add("bias", [hidden]);
    embeddings.at("position_embedding").add("weight", [grid * grid, hidden]);
    encoder(config.num_hidden_layers, hidden, inner, list);
    list.layer_norm("post_layernorm", hidden);
    if config.vision_use_head {
        let mut head = list.at("head");
        head.add("probe", [1, 1, hidden]);
        let mut attention = head.at("attention");
        attention.add("in_proj_weight", [3 * hidden, hidden]);
        attention.add("in_proj_bias", [3 * hidden]);
        attention.linear("out_proj", hidden, hidden, true);
        head.layer_norm("layernorm", hidden);
        mlp(hidden, inner, &mut head);
    }
}

fn clip(config: &ClipVisionConfig, list: &mut List) {
    let (hidden, patch) = (config.hidden_size, config.patch_size);
    let grid = config.image_size / patch;
    let mut embeddings = list.at("embeddings");
    embeddings.add("class_embedding", [hidden]);
    embeddings.at("patch_embedding").add("weight", [hidden, config.num_channels, patch, patch]);
    embeddings.at("position_embedding").add("weight", [grid * grid + 1, hidden]);
    list.layer_norm("pre_layrnorm", hidden);
    encoder(config.num_hidden_layers, hidden, config.intermediate_size, list);
    list.layer_norm("post_layernorm", hidden);
}

fn encoder(layers: usize, hidden: usize, inner: usize, list: &mut List) {
    for index in 0..layers {
        let mut encoder = list.at("encoder.layers");
        let mut layer = encoder.at(index);
        let mut attention = layer.at("self_attn");
        for name in ["k_proj", "v_proj", "q_proj", "out_proj"] {
            attention.linear(name, hidden, hidden, true);
        }
        layer.layer_norm("layer_norm1", hidden);
        mlp(hidden, inner, &mut layer);
        layer.layer_norm("layer_norm2", hidden);
    }
}

fn mlp(hidden: usize, inner: usize, list: &mut List) {
    let mut mlp = list.at("mlp");
    mlp.linear("fc1", hidden, inner, true);
    mlp.linear("fc2", inner, hidden, true);
}

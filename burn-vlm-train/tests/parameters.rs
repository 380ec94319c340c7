//! Parameters counted from configs against those of initialised models, and against published totals.

use burn::module::Module;
use burn::tensor::Device;
use burn_vlm::connector::{ConnectorConfig, ExpertKind, ParrotConfig};
use burn_vlm::count::ParameterShape;
use burn_vlm::language::{Gemma2Config, LanguageConfig, LlamaConfig, MistralConfig, Qwen2Config};
use burn_vlm::vision::{ClipVisionConfig, SiglipVisionConfig, VisionConfig};
use burn_vlm::vlm::{SelectStrategy, VlmConfig, VlmType};
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::params::list_params;

fn device() -> Device {
    choose(DeviceChoice::Auto).unwrap().device
}

/// Names and shapes, whatever their order.
fn assert_same<M: Module>(counted: Vec<ParameterShape>, model: &M, what: &str) {
    let mut counted: Vec<(String, Vec<usize>)> = counted.into_iter().map(|p| (p.path, p.shape)).collect();
    let mut listed: Vec<(String, Vec<usize>)> = list_params(model).into_iter().map(|p| (p.path, p.shape)).collect();
    counted.sort();
    listed.sort();
    assert_eq!(counted, listed, "{what}");
}

fn siglip(vision_use_head: bool) -> VisionConfig {
    VisionConfig::Siglip(SiglipVisionConfig {
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 20,
        patch_size: 6,
        vision_use_head,
        ..SiglipVisionConfig::default()
    })
}

fn clip() -> ClipVisionConfig {
    ClipVisionConfig {
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 20,
        patch_size: 5,
        ..ClipVisionConfig::default()
    }
}

fn languages() -> Vec<LanguageConfig> {
    let gemma = |tie_word_embeddings: bool| Gemma2Config {
        vocab_size: 31,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        tie_word_embeddings,
        ..Gemma2Config::default()
    };
    let llama = |bias: bool| LlamaConfig {
        vocab_size: 31,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        head_dim: Some(8),
        attention_bias: bias,
        mlp_bias: bias,
        tie_word_embeddings: bias,
        max_position_embeddings: 64,
        ..LlamaConfig::default()
    };
    let mistral = MistralConfig {
        vocab_size: 31,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 64,
        ..MistralConfig::default()
    };
    let qwen = Qwen2Config {
        vocab_size: 31,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 64,
        ..Qwen2Config::default()
    };
    vec![
        LanguageConfig::Gemma2(gemma(true)),
        LanguageConfig::Gemma2(gemma(false)),
        LanguageConfig::Llama(llama(false)),
        LanguageConfig::Llama(llama(true)),
        LanguageConfig::Mistral(mistral),
        LanguageConfig::Qwen2(qwen),
    ]
}

#[test]
fn towers() {
    for config in [siglip(true), siglip(false), VisionConfig::Clip(clip()), VisionConfig::ChineseClip(clip())] {
        let what = format!("{config:?}");
        assert_same(config.parameters().unwrap(), &config.init(&device()).unwrap(), &what);
    }
}

#[test]
fn decoders() {
    for config in languages() {
        let what = format!("{config:?}");
        assert_same(config.parameters().unwrap(), &config.init(&device()).unwrap(), &what);
        let grown = config.clone().with_vocab_size(40);
        let heads = if config.tie_word_embeddings() { 1 } else { 2 };
        assert_eq!(grown.num_parameters().unwrap() - config.num_parameters().unwrap(), 9 * 24 * heads, "{what}");
    }
}

#[test]
fn whole_models() {
    let language = languages().swap_remove(0);
    let parrot = |expert| {
        ConnectorConfig::Parrot(ParrotConfig { num_experts: 3, intermediate_size: 16, expert, ..Default::default() })
    };
    for connector in [ConnectorConfig::default(), parrot(ExpertKind::Swiglu), parrot(ExpertKind::Mlp2)] {
        let base = VlmConfig::new(VisionConfig::Clip(clip()), language.clone(), 3);
        let config = VlmConfig { connector, vision_feature_select_strategy: SelectStrategy::Full, ..base };
        let what = format!("{:?}", config.connector);
        assert_same(config.parameters().unwrap(), &config.init(&device()).unwrap(), &what);
    }
    let tiled = VlmConfig {
        model_type: VlmType::LlavaNext,
        image_grid_pinpoints: Some(vec![(20, 40)]),
        multimodal_projector_bias: false,
        ..VlmConfig::new(siglip(true), language, 3)
    };
    assert!(tiled.parameters().unwrap().iter().any(|parameter| parameter.path == "image_newline"));
    assert_same(tiled.parameters().unwrap(), &tiled.init(&device()).unwrap(), "tiled");
}

/// Totals that the publishers' files have; the shapes are those that ship for dry runs.
#[test]
fn published_totals() {
    fn shape(name: &str) -> String {
        let file = format!("{}/../recipes/shapes/{name}/config.json", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(file).unwrap()
    }
    let language = |name: &str| serde_json::from_str::<LanguageConfig>(&shape(name)).unwrap();
    let vision = |name: &str| serde_json::from_str::<VisionConfig>(&shape(name)).unwrap();
    assert_eq!(language("Tower-Plus-2B").num_parameters().unwrap(), 2_614_341_888);
    assert_eq!(language("Tower-Plus-9B").num_parameters().unwrap(), 9_241_705_984);
    assert_eq!(language("vicuna-7b-v1.5").num_parameters().unwrap(), 6_738_415_616);
    assert_eq!(vision("siglip2-so400m-patch14-384").num_parameters().unwrap(), 428_225_600);
    assert_eq!(vision("siglip2-so400m-patch16-naflex").num_parameters().unwrap(), 427_888_064);
    assert_eq!(vision("clip-vit-large-patch14-336").num_parameters().unwrap(), 303_507_456);
    // llava-1.5-7b-hf: 64 more rows of the embeddings and of the head
    let llama = language("vicuna-7b-v1.5").with_vocab_size(32_064);
    let llava = VlmConfig::new(vision("clip-vit-large-patch14-336"), llama, 32_000);
    assert_eq!(llava.num_parameters().unwrap(), 7_063_427_072);
}

//! What `--dry-run` says of a study before it runs: parameters, tokens, floating-point operations, time.

use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm::init::Scope;
use burn_vlm::nn::Precision;
use burn_vlm::vlm::VlmConfig;
use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::emoji::EmojiCorpus;

use crate::ablation::Cell;
use crate::error::Result;
use crate::objective::{ConversationPlan, Conversations};
use crate::params::list_params;
use crate::pretrain::train_tokenizer;
use crate::recipe::{PartRecipe, Recipe};

/// Share of the device's matrix-product rate that a whole training step of small models reaches; measured on the
/// recorded run of the default preset, so an estimate and no more.
pub(crate) const EFFICIENCY: f64 = 0.25;

/// Tokens of one picture in the estimate; the default preset's number.
const IMAGE_TOKENS: usize = 5;

/// What one cell costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Parameters of vision tower, connector and language model together.
    pub parameters: usize,
    /// Tokens of all stages, visual tokens counted.
    pub tokens: u64,
    /// Floating-point operations of all stages.
    pub flops: f64,
    /// Seconds, from a matrix product timed on this device.
    pub seconds: f64,
}

/// Estimates one cell on a device of that [rate](matmul_rate). Six operations a parameter and token (two forward, four backward), the usual count; embeddings
/// are counted at answer tokens only, where the head runs.
///
/// # Errors
/// A recipe that cannot be read, or a language without texts.
pub fn estimate(
    cell: &Cell,
    corpus: &EmojiCorpus,
    template: &ChatTemplate,
    device: &Device,
    rate: f64,
) -> Result<Estimate> {
    let recipe = Recipe::from_table(cell.recipe.clone())?;
    let tokenizer = train_tokenizer(corpus, &recipe.tokenizer)?;
    let mut parameters = 0;
    let mut body = 0;
    let (mut vision, mut language) = (None, None);
    for name in [&recipe.model.encoder, &recipe.model.backbone] {
        match recipe.part.get(name) {
            Some(PartRecipe::Encoder { model, .. }) => {
                let tower = model.init(device)?.into_vision();
                parameters += list_params(&tower).iter().map(|param| param.count()).sum::<usize>();
                vision = Some(tower.config());
            }
            Some(PartRecipe::Backbone { model, .. }) => {
                language = Some(model.as_ref().clone());
                let listed = list_params(&model.init(device)?);
                parameters += listed.iter().map(|param| param.count()).sum::<usize>();
                let layers = listed.iter().filter(|param| !param.path.contains("embed_tokens"));
                body += layers.map(|param| param.count()).sum::<usize>();
            }
            None => {}
        }
    }
    if let (Some(vision), Some(language)) = (vision, language) {
        let config = VlmConfig {
            connector: recipe.model.connector.clone(),
            visual_tokens: recipe.model.visual_tokens,
            ..VlmConfig::new(vision, language, 0)
        };
        let connector: burn_vlm::connector::Connector = config.init_connector(&Scope::new(0, device))?;
        parameters += list_params(&connector).iter().map(|param| param.count()).sum::<usize>();
    }
    let mut tokens = 0.0;
    for stage in recipe.stages.iter().filter_map(|name| recipe.stage.get(name)) {
        let plan = ConversationPlan {
            data: &stage.data,
            parallel: &recipe.tokenizer.languages,
            image_tokens: IMAGE_TOKENS,
            user_turns: false,
            max_tokens: stage.max_tokens,
            batch: stage.batch,
            seed: 0,
        };
        let conversations = Conversations::new(corpus, &tokenizer, template, &plan)?;
        tokens += conversations.mean_tokens() * (stage.steps * stage.batch * stage.accumulate) as f64;
    }
    let flops = 6.0 * body as f64 * tokens;
    let seconds = flops / (rate * EFFICIENCY);
    Ok(Estimate { parameters, tokens: tokens as u64, flops, seconds })
}

/// Floating-point operations a second of a matrix product that is large enough to show the device's rate: the best of a few
/// rounds, since other programs only make it slower.
pub fn matmul_rate(device: &Device) -> f64 {
    const SIDE: usize = 512;
    matmul_rate_of(device, SIDE, Precision::F32)
}

/// The same of `side` x `side` matrices, which a GPU wants larger, in another element type.
pub fn matmul_rate_of(device: &Device, side: usize, precision: Precision) -> f64 {
    const ROUNDS: usize = 16;
    let ones = || {
        let ones = Tensor::<2>::from_data(TensorData::new(vec![1.0f32; side * side], [side, side]), device);
        precision.cast(ones)
    };
    let (a, b) = (ones(), ones());
    // one value back, so that the product is done and nothing else is timed
    let finish = |product: Tensor<2>| product.slice([0..1, 0..1]).into_data();
    finish(a.clone().matmul(b.clone()));
    let rounds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        finish(a.clone().matmul(b.clone()));
        began.elapsed().as_secs_f64()
    });
    2.0 * (side as f64).powi(3) / rounds.fold(f64::INFINITY, f64::min)
}

//! What a stage trains on, as an objective.

use std::sync::Arc;

use burn_vlm::vlm::Vlm;

use crate::assemble::Assembled;
use crate::error::Result;
use crate::objective::{ConversationPlan, Conversations, VisionLanguage, VisualSource, VlmObjective, needs_user_turns};
use crate::pictures::Pictures;
use crate::pretrain::Context;
use crate::recipe::{Recipe, StageRecipe};

/// What `stage` trains on, for a model of one's own around `assembled`: its conversations in the order of `seed`, with pixels as
/// pictures.
///
/// # Errors
/// A language without texts, a sample that cannot be rendered.
pub fn stage_objective<M: VisionLanguage>(
    context: &Context,
    recipe: &Recipe,
    stage: &StageRecipe,
    assembled: &Assembled,
    seed: u64,
) -> Result<Arc<VlmObjective<M>>> {
    let conversations = stage_conversations(context, recipe, stage, assembled, seed)?;
    let size = assembled.model.config.vision_config.image_size();
    let pictures = Arc::new(Pictures::for_encoder(context.corpus.clone(), &assembled.encoder, size)?);
    let source = VisualSource::Pixels { pictures, augment: stage.data.augment };
    Ok(Arc::new(vlm_objective(conversations, source, &assembled.model, seed)))
}

/// The conversations of `stage` in the order of `seed`.
///
/// # Errors
/// A language without texts, a sample that cannot be rendered.
pub fn stage_conversations(
    context: &Context,
    recipe: &Recipe,
    stage: &StageRecipe,
    assembled: &Assembled,
    seed: u64,
) -> Result<Conversations> {
    let plan = ConversationPlan {
        data: &stage.data,
        parallel: &recipe.tokenizer.languages,
        image_tokens: assembled.model.config.num_visual_tokens(),
        user_turns: needs_user_turns(&assembled.model.multi_modal_projector),
        max_tokens: stage.max_tokens,
        batch: stage.batch,
        seed,
    };
    Conversations::new(&context.corpus, &assembled.tokenizer, &assembled.template, &plan)
}

/// Conversations and pictures for a model whose VLM has the shapes of `vlm`.
pub(super) fn vlm_objective<M: VisionLanguage>(
    conversations: Conversations,
    source: VisualSource,
    vlm: &Vlm,
    seed: u64,
) -> VlmObjective<M> {
    let config = &vlm.config;
    let shape = [config.num_feature_tokens(), config.feature_width()];
    VlmObjective::new(conversations, source, shape, config.vision_config.image_size(), seed)
}

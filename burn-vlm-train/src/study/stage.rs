//! One stage of a recipe by itself: its samples and pictures as an objective, for models of one's own.

use std::sync::Arc;

use crate::assemble::Assembled;
use crate::error::Result;
use crate::objective::{ConversationPlan, Conversations, VisionLanguage, VisualSource, VlmObjective, needs_user_turns};
use crate::pictures::Pictures;
use crate::pretrain::Context;
use crate::recipe::{Recipe, StageRecipe};

/// What `stage` trains on, for a model around `assembled`: its conversations in the order of `seed`, with pixels as pictures.
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
    let config = &assembled.model.config;
    let plan = ConversationPlan {
        data: &stage.data,
        parallel: &recipe.tokenizer.languages,
        image_tokens: config.num_visual_tokens(),
        user_turns: needs_user_turns(&assembled.model.multi_modal_projector),
        max_tokens: stage.max_tokens,
        batch: stage.batch,
        seed,
    };
    let conversations = Conversations::new(&context.corpus, &assembled.tokenizer, &assembled.template, &plan)?;
    let size = config.vision_config.image_size();
    let pictures = Arc::new(Pictures::new(context.corpus.clone(), size)?);
    let source = VisualSource::Pixels { pictures, augment: stage.data.augment };
    let shape = [config.num_feature_tokens(), config.feature_width()];
    Ok(Arc::new(VlmObjective::new(conversations, source, shape, size, seed)))
}

//! A stage's adapters: put on the model before it, merged into the weights after it.

use std::path::PathBuf;

use burn::tensor::Device;
use burn_vlm::checkpoint::{StoreDtype, parameters, record_base, save_adapter};
use burn_vlm::connector::Projector;
use burn_vlm::count::parameter_shapes;
use burn_vlm::init::Scope;
use burn_vlm::lora::{Adapt, LoraPlan, attach, merge};
use burn_vlm::vision::VisionTower;
use burn_vlm::vlm::Vlm;
use burn_vlm_base::files::create_dir_all;
use burn_vlm_data::random::mix;

use super::folder::save_model_as;
use super::{TrainRun, picture_rule};
use crate::assemble::Assembled;
use crate::error::Result;
use crate::optim::LearningRates;
use crate::params::{ParamInfo, list_params};
use crate::recipe::{ObjectiveKind, StageRecipe};

/// Beside the seeds of a run's stages, those of their adapters.
const ADAPTER_SEED: u64 = 0x6c6f_7261;

/// The model that adapters are made for.
pub(super) struct BaseFolder {
    /// What people call it.
    name: String,
    /// Where its weights are.
    folder: PathBuf,
}

/// The learning rates of a stage, and the parameters of the model that it trains, its adapters among them.
///
/// # Errors
/// Patterns or adapters that do not fit the model.
pub(crate) fn stage_params<T: VisionTower, P: Projector>(
    stage: &StageRecipe,
    model: &Vlm<T, P>,
) -> Result<(LearningRates, Vec<ParamInfo>)> {
    let Some(lora) = &stage.lora else {
        let params = match stage.objective {
            ObjectiveKind::Text => list_params(&model.language_model),
            _ => list_params(model),
        };
        return Ok((LearningRates::of_stage(stage, &[])?, params));
    };
    let parameters = parameters(model);
    let plan = lora.plan(&parameters)?;
    let shapes = model.rebuild(&Scope::shapes(&Device::default()).with_adapters(&plan))?;
    Ok((LearningRates::of_stage(stage, &parameters)?, infos(parameter_shapes(&shapes))))
}

/// Shapes as the parameters of a model that need not exist.
pub(super) fn infos(shapes: Vec<burn_vlm::count::ParameterShape>) -> Vec<ParamInfo> {
    shapes.into_iter().map(|param| ParamInfo { path: param.path, shape: param.shape }).collect()
}

impl TrainRun<'_> {
    /// Writes the model that the adapters of stage `number` are made for, unless it is a folder already; in the element
    /// type that it is held in meanwhile: with another one the adapters would be beside other weights than those they were trained on.
    pub(super) fn write_base<T: VisionTower, P: Projector>(
        &self,
        assembled: &Assembled<T, P>,
        number: usize,
        dtype: StoreDtype,
    ) -> Result<BaseFolder> {
        let untouched = number == 0
            && assembled.rows_added == 0
            && !assembled.image_token_added
            && !assembled.video_token_added
            && self.start.init_from.is_none()
            && self.recipe.video.as_ref().is_none_or(|video| !video.extend_model);
        if let Some(from) = self.recipe.model.from.as_ref().filter(|_| untouched) {
            return Ok(BaseFolder { name: from.clone(), folder: self.parts.backbone.clone() });
        }
        let folder = self.out.join("base");
        let image = picture_rule(self.recipe, &assembled.model.config, &assembled.encoder)?;
        save_model_as(assembled, &image, (&self.parts.backbone, &folder), dtype)?;
        Ok(BaseFolder { name: folder.display().to_string(), folder })
    }

    /// The model with a stage's adapters, if it has some.
    pub(super) fn with_adapters<T: VisionTower, P: Projector>(
        &self,
        model: Vlm<T, P>,
        stage: &StageRecipe,
        number: usize,
        device: &Device,
    ) -> Result<(Vlm<T, P>, Option<LoraPlan>)> {
        let Some(lora) = &stage.lora else { return Ok((model, None)) };
        let plan = lora.plan(&parameters(&model))?;
        let seed = mix(mix(self.recipe.seed, number as u64 + 1), ADAPTER_SEED);
        let mut model = attach(model, &plan, (seed, lora.base), device)?;
        self.recipe.compute.apply(&mut model);
        Ok((model, Some(plan)))
    }

    /// The model with its adapters in its weights; those of the last stage, whose model `base` is, are written before.
    pub(super) fn merged<T: VisionTower, P: Projector>(
        &self,
        model: Vlm<T, P>,
        plan: &LoraPlan,
        (stage, base): (&StageRecipe, Option<&BaseFolder>),
        device: &Device,
    ) -> Result<Vlm<T, P>> {
        if let Some(BaseFolder { name, folder: base }) = base {
            let folder = self.out.join("adapter");
            // The configuration comes last, so that a folder with one is complete.
            create_dir_all(&folder)?;
            record_base(&folder, base)?;
            save_adapter(&model, plan, &folder, Some(name))?;
            self.reporter.line(&format!("adapter on {name} written to {}", folder.display()));
        }
        let mut model = merge(model, &plan.config, device)?;
        self.recipe.compute.apply(&mut model);
        Ok(model.with_bypassed_experts(stage.bypass_experts))
    }
}

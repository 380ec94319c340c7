//! What a stage trains on, as a model of its parts reads it: for the runs here, and for loops of one's own.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm_data::batching::Strategy;
use burn_vlm_data::encode::EncodeOptions;
use burn_vlm_data::image::ImageProcessorConfig;
use burn_vlm_data::processor::Processor;
use burn_vlm_data::source::Source;
use burn_vlm_data::video::Clips;

use super::data::{DataOrigin, StageData, open_stage_data, open_stage_sources};
use super::resolved_view;
use crate::assemble::Assembled;
use crate::error::{Result, TrainError};
use crate::objective::{Layout, SampleMaker, SampleStream, VlmObjective};
use crate::pictures::processor_for;
use crate::processor::stage_processor;
use crate::recipe::{DataRecipe, MixtureRecipe, PictureView, Recipe, StageRecipe};

/// The samples of an open stage as a model of these parts reads them; `image` is how the encoder wants its pictures.
///
/// # Errors
/// A layout that the model's connector cannot take, a processor that does not fit the tower.
pub fn stage_samples<T: VisionTower, P: Projector>(
    data: &StageData,
    assembled: &Assembled<T, P>,
    image: &ImageProcessorConfig,
    seed: u64,
) -> Result<SampleStream> {
    let Assembled { model, tokenizer, template, .. } = assembled;
    let stage = &data.stage;
    let (config, connector) = (&model.config, &model.multi_modal_projector);
    let corpus;
    let mixture = match &stage.mixture {
        Some(mixture) => mixture,
        None => {
            let DataRecipe { augment, template, pictures, .. } = stage.data;
            corpus = MixtureRecipe { augment, template, pictures, ..MixtureRecipe::new("") };
            &corpus
        }
    };
    if mixture.batching.strategy == Strategy::Packed && connector.reads_text() {
        return Err(TrainError::Recipe(
            "`batching.strategy = \"packed\"` puts several samples into a row, and this connector reads the words of a row to \
             route its pictures; use \"grouped\""
                .into(),
        ));
    }
    let options = EncodeOptions {
        mask: mixture.mask,
        max_tokens: stage.max_tokens,
        truncation: mixture.truncation,
        user_turns: connector.text_scope().is_some_and(|scope| scope.needs_user_turns()),
    };
    let view = resolved_view(mixture.pictures, assembled.whole, config, image)?;
    let limits = mixture.limits.decode();
    let processor =
        stage_processor(config, tokenizer.clone(), template.clone(), image, (view, assembled.whole), limits)?;
    let processor = match assembled.video_parts() {
        Some(videos) => processor.with_videos(videos)?,
        None => processor,
    };
    // A tower whose pictures have grids of their own has no size for frames: samples with video files are left out, and say so.
    let clips = processor.frame_processor().ok();
    let clips = clips.map(|frames| Clips::new(&data.video, frames, &data.base)).transpose()?;
    let positions = config.text_config.max_position_embeddings();
    let mut maker = SampleMaker::new(Arc::new(processor), mixture.template, options, mixture.batching, positions);
    maker.augment = mixture.augment;
    maker.clips = clips;
    let layout = Layout {
        batching: mixture.batching,
        batch: stage.batch,
        pad_id: tokenizer.pad_id().unwrap_or(0),
        image_id: tokenizer.image_id().map(i64::from),
        video_id: maker.processor.video_token_id().map(i64::from),
        tiled: view == PictureView::Tiles,
        seed,
    };
    Ok(SampleStream::new(data.mixed.clone(), data.log.clone(), maker, layout, stage.samples_per_step()))
}

/// The samples of an open stage without pictures, as a language model of so many positions reads them.
pub fn text_samples(data: &StageData, processor: Arc<Processor>, positions: usize, seed: u64) -> SampleStream {
    let stage = &data.stage;
    let plain = MixtureRecipe { template: stage.data.template, ..MixtureRecipe::new("") };
    let options = EncodeOptions { max_tokens: stage.max_tokens, ..EncodeOptions::default() };
    let tokenizer = processor.tokenizer().clone();
    let maker = SampleMaker::new(processor, plain.template, options, plain.batching, positions);
    let layout = Layout {
        batching: plain.batching,
        batch: stage.batch,
        pad_id: tokenizer.pad_id().unwrap_or(0),
        image_id: None,
        video_id: None,
        tiled: false,
        seed,
    };
    SampleStream::new(data.mixed.clone(), data.log.clone(), maker, layout, stage.samples_per_step())
}

/// A stage's data and the loss on it in one, for a loop of your own: the conversations of `stage` in the order of `seed`, pictures as
/// pixels. What cannot be used is listed below `folder`.
///
/// # Errors
/// Data that cannot be opened or read.
pub fn stage_objective<T: VisionTower, P: Projector>(
    (name, stage): (&str, &StageRecipe),
    origin: DataOrigin<'_>,
    assembled: &Assembled<T, P>,
    folder: &Path,
    seed: u64,
) -> Result<(StageRecipe, Arc<VlmObjective<T, P>>)> {
    fs::create_dir_all(folder).map_err(|e| TrainError::io("cannot create", folder, e))?;
    objective_on(open_stage_data(name, stage, origin, folder, seed)?, assembled, seed)
}

/// The same for sources of one's own in the place of what the stage names: files in a format of one's own, samples that the program
/// makes, or a [`ListSource`](burn_vlm_data::source::ListSource) in memory.
///
/// # Errors
/// A stage that the recipe does not have, sources without a record, a folder that cannot be written, data that has changed since the stage began.
pub fn sources_objective<T: VisionTower, P: Projector>(
    (recipe, name): (&Recipe, &str),
    sources: Vec<Arc<dyn Source>>,
    assembled: &Assembled<T, P>,
    folder: &Path,
    seed: u64,
) -> Result<(StageRecipe, Arc<VlmObjective<T, P>>)> {
    fs::create_dir_all(folder).map_err(|e| TrainError::io("cannot create", folder, e))?;
    let data = open_stage_sources((recipe, name), sources, Path::new(""), folder, seed)?;
    objective_on(data, assembled, seed)
}

/// The loss on the open data of a stage.
fn objective_on<T: VisionTower, P: Projector>(
    mut data: StageData,
    assembled: &Assembled<T, P>,
    seed: u64,
) -> Result<(StageRecipe, Arc<VlmObjective<T, P>>)> {
    let image = processor_for(&assembled.encoder, &assembled.model.config.vision_config)?;
    let held_out = data.held_out.take();
    let samples = stage_samples(&data, assembled, &image, seed)?;
    Ok((data.stage, Arc::new(VlmObjective::new(samples).with_validation(held_out))))
}

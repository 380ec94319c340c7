//! Prepared samples as a data set of Burn, and batches of them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;
use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm_data::dataset::Record;
use burn_vlm_data::encode::EncodeOptions;
use burn_vlm_data::plain::PromptTemplate;
use burn_vlm_data::random::{hash_bytes, mix};
use burn_vlm_data::sample::Sample;
use burn_vlm_data::source::{Limits, SkipReason, SkipSummary};
use burn_vlm_data::video::{Clips, VideoSettings};

use crate::assemble::Assembled;
use crate::error::Result;
use crate::objective::{Batch, Layout, PreparedSample, SampleMaker, SampleStream};
use crate::pictures::processor_for;
use crate::processor::stage_processor;
use crate::recipe::{Batching, PictureView};
use crate::run::resolved_view;

/// One epoch of the stream. A record that cannot be used has another one in its place and is listed in the stream's log.
///
/// A type of ours, because neither the stream nor the trait is of this crate.
pub struct StreamDataset(pub Arc<SampleStream>);

impl Dataset<PreparedSample> for StreamDataset {
    /// # Errors
    /// None of many records of a group can be used; more records are left out than the log allows.
    fn get(&self, index: usize) -> Result<PreparedSample, DatasetError> {
        self.0.sample(index).map_err(DatasetError::new)
    }

    fn len(&self) -> usize {
        usize::try_from(self.0.mixed().epoch_len()).unwrap_or(usize::MAX)
    }
}

/// The samples as one batch, a row each, whatever [`Layout::batching`] says: packing and grouping arrange the samples of a whole
/// optimizer step into several batches, and a loader of Burn asks for one. The batch stays on the host, the step puts it where the
/// model is.
#[derive(Debug, Clone, Copy)]
pub struct RowBatcher(pub Layout);

impl Batcher<PreparedSample, Batch> for RowBatcher {
    fn batch(&self, items: Vec<PreparedSample>, _device: &Device) -> Batch {
        // A loader does not number its batches, so the seed of the noise is made of their samples.
        let noise = items.iter().fold(self.0.seed, |seed, item| mix(seed, hash_bytes(item.id.as_bytes())));
        Batch { noise_seed: Some(noise), ..self.0.rows(&items) }
    }
}

/// Batches of samples as they are read, which it makes ready first, without augmentation.
///
/// A batcher cannot fail: samples that cannot be used are left out of their batch and counted in [`Self::left_out`]. Use a
/// [`SampleStream`] where others should take their place, and a limit should stop the run.
#[derive(Clone)]
pub struct SampleBatcher {
    maker: Arc<SampleMaker>,
    layout: Layout,
    left_out: Arc<Mutex<SkipSummary>>,
}

impl SampleBatcher {
    /// Made ready by `maker`, laid out by `layout`. Clones share the count of what is left out.
    pub fn new(maker: Arc<SampleMaker>, layout: Layout) -> Self {
        Self { maker, layout, left_out: Arc::default() }
    }

    /// As a model of these parts reads samples: its tokenizer and template, pictures as its encoder wants them, every setting of the
    /// text at its default.
    ///
    /// # Errors
    /// An image processor that does not fit the tower, a template that drops the words of a turn.
    pub fn for_model<T: VisionTower, P: Projector>(assembled: &Assembled<T, P>) -> Result<Self> {
        let Assembled { model, tokenizer, template, encoder, .. } = assembled;
        let config = &model.config;
        let image = processor_for(encoder, &config.vision_config)?;
        let view = match config.is_tiled() {
            true => PictureView::Tiles,
            false => resolved_view(PictureView::default(), assembled.whole, config, &image)?,
        };
        let limits = Limits::default().decode();
        let processor =
            stage_processor(config, tokenizer.clone(), template.clone(), &image, (view, assembled.whole), limits)?;
        let processor = match assembled.video_parts() {
            Some(videos) => processor.with_videos(videos)?,
            None => processor,
        };
        let frames = processor.frame_processor().ok();
        let clips = frames.map(|frames| Clips::new(&VideoSettings::default(), frames, Path::new(""))).transpose()?;
        let scope = model.multi_modal_projector.text_scope();
        let user_turns = scope.is_some_and(|scope| scope.needs_user_turns());
        let options = EncodeOptions { user_turns, ..EncodeOptions::default() };
        let batching = Batching::default();
        let positions = config.text_config.max_position_embeddings();
        let mut maker = SampleMaker::new(Arc::new(processor), PromptTemplate::default(), options, batching, positions);
        maker.clips = clips;
        let layout = Layout {
            batching,
            batch: 1,
            pad_id: tokenizer.pad_id().unwrap_or(0),
            image_id: tokenizer.image_id().map(i64::from),
            video_id: maker.processor.video_token_id().map(i64::from),
            tiled: view == PictureView::Tiles,
            seed: 0,
        };
        Ok(Self::new(Arc::new(maker), layout))
    }

    /// What makes samples ready.
    pub fn maker(&self) -> &SampleMaker {
        &self.maker
    }

    /// What lays them out.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What was left out so far, as often as it was drawn.
    pub fn left_out(&self) -> SkipSummary {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn make(&self, sample: &Sample) -> Option<PreparedSample> {
        match self.maker.make(sample, None) {
            Ok(made) => Some(made),
            Err(SkipReason { kind, detail }) => {
                let mut summary = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
                let first = || (0, format!("{} {}: {detail}", sample.source, sample.id));
                summary.reasons.entry(kind).or_insert_with(first).0 += 1;
                None
            }
        }
    }
}

impl Batcher<Sample, Batch> for SampleBatcher {
    fn batch(&self, items: Vec<Sample>, device: &Device) -> Batch {
        RowBatcher(self.layout).batch(items.iter().filter_map(|sample| self.make(sample)).collect(), device)
    }
}

impl Batcher<Record, Batch> for SampleBatcher {
    fn batch(&self, items: Vec<Record>, device: &Device) -> Batch {
        let usable = |record: Record| match record {
            Ok(sample) => Some(sample),
            Err(skip) => {
                self.left_out.lock().unwrap_or_else(PoisonError::into_inner).add(&skip);
                None
            }
        };
        self.batch(items.into_iter().filter_map(usable).collect::<Vec<Sample>>(), device)
    }
}

//! Next-token loss of a VLM on samples of a user's own data, streamed from their sources.
//!
//! Unusual here:
//! - workers prepare samples, not batches: the sample at a position of the stream is a pure function of it, and what a step's
//!   samples are does not depend on how they are laid out, so that a run resumes bit for bit from the step alone, and packed,
//!   grouped and plain batches have the same loss;
//! - a record that cannot be used is replaced by another of its group, listed, and counted; above a limit the run stops.

mod batch;
mod sample;

pub use batch::{Packed, SourceBatch};
pub use sample::{PreparedSample, SampleMaker};

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::connector::Projector;
use burn_vlm::language::AttentionInput;
use burn_vlm::vlm::{VisualFeatures, Vlm, VlmInput};
use burn_vlm_data::batching::Strategy;
use burn_vlm_data::encode::EncodeOptions;
use burn_vlm_data::image::ImageProcessorConfig;
use burn_vlm_data::source::{Drawn, Mixed, SkipLog, StreamError};

use self::batch::Layout;
use super::text::int_tensor;
use super::{VisionLanguage, needs_user_turns, routing_text};
use crate::assemble::Assembled;
use crate::error::{Result, TrainError};
use crate::recipe::{MixtureRecipe, PictureView, StageRecipe};
use crate::trainer::{BatchSize, Objective};

/// A stream of samples and the loss on their trained tokens.
pub struct SourceObjective<M = Vlm> {
    mixed: Arc<Mixed>,
    log: Arc<SkipLog>,
    maker: SampleMaker,
    layout: Layout,
    samples_per_step: usize,
    tiled: bool,
    image_size: usize,
    cut: CutCount,
    model: PhantomData<fn() -> M>,
}

/// Conversations that were cut, and the tokens that they lost.
#[derive(Debug, Default)]
struct CutCount {
    conversations: AtomicU64,
    tokens: AtomicU64,
}

/// What a stage on sources is made of.
pub struct SourceStage<'a> {
    /// The stage; its `mixture` is passed beside it.
    pub stage: &'a StageRecipe,
    /// Its mixture.
    pub mixture: &'a MixtureRecipe,
    /// Model, tokenizer and template.
    pub assembled: &'a Assembled,
    /// How the encoder wants its pictures.
    pub processor: &'a ImageProcessorConfig,
    /// Seed of layout and noise; the order of samples is the stream's.
    pub seed: u64,
}

impl<M: VisionLanguage> SourceObjective<M> {
    /// The loss on a stream; what cannot be used goes to `log`.
    ///
    /// # Errors
    /// A layout that the model's connector cannot take, a processor that does not fit the tower.
    pub fn new(mixed: Arc<Mixed>, log: Arc<SkipLog>, of: &SourceStage<'_>) -> Result<Self> {
        let SourceStage { stage, mixture, assembled, processor, seed } = of;
        let Assembled { model, tokenizer, template, .. } = assembled;
        if mixture.batching.strategy == Strategy::Packed && model.multi_modal_projector.reads_text() {
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
            user_turns: needs_user_turns(&model.multi_modal_projector),
        };
        let maker = SampleMaker::new(mixture, options, &model.config, processor, tokenizer.clone(), template.clone())?;
        let layout = Layout {
            batching: mixture.batching,
            batch: stage.batch,
            pad_id: tokenizer.pad_id().unwrap_or(0),
            image_id: tokenizer.image_id().map(i64::from),
            seed: *seed,
        };
        Ok(Self {
            mixed,
            log,
            maker,
            layout,
            samples_per_step: stage.samples_per_step(),
            tiled: mixture.pictures == PictureView::Tiles,
            image_size: model.config.vision_config.image_size(),
            cut: CutCount::default(),
            model: PhantomData,
        })
    }
}

impl<M: VisionLanguage> Objective for SourceObjective<M> {
    type Model = M;
    type Item = Drawn<PreparedSample>;
    type Batch = SourceBatch;

    fn item(&self, index: usize) -> Result<Drawn<PreparedSample>> {
        let drawn = self.mixed.get(index as u64, |sample| self.maker.make(sample));
        drawn.map_err(|error| {
            let message = error.to_string();
            if let StreamError::NothingUsable { skipped, .. } = error {
                // The run ends with the error itself; the list is for whoever looks into the data.
                let _ = self.log.record(index as u64 + 1, skipped);
            }
            TrainError::Data(message)
        })
    }

    fn items_per_step(&self, _accumulate: usize) -> usize {
        self.samples_per_step
    }

    fn items_ahead(&self) -> usize {
        2 * self.layout.batch
    }

    fn micro_batches(&self, first: usize, items: Vec<Drawn<PreparedSample>>) -> Result<Vec<SourceBatch>> {
        let mut samples = Vec::with_capacity(items.len());
        for Drawn { position, item, skipped, .. } in items {
            self.log.record(position + 1, skipped).map_err(|error| TrainError::Data(error.to_string()))?;
            if item.encoded.truncated > 0 {
                self.cut.conversations.fetch_add(1, Ordering::Relaxed);
                self.cut.tokens.fetch_add(item.encoded.truncated as u64, Ordering::Relaxed);
            }
            samples.push(item);
        }
        Ok(self.layout.micro_batches(first, &samples))
    }

    fn ids(&self, index: usize) -> Vec<String> {
        self.item(index).map(|drawn| drawn.item.id).into_iter().collect()
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let summary = self.log.summary();
        if summary.total() > 0 {
            remarks.push(format!("{} records left out (skipped.jsonl): {summary}", summary.total()));
        }
        let [conversations, tokens] =
            [&self.cut.conversations, &self.cut.tokens].map(|count| count.load(Ordering::Relaxed));
        if conversations > 0 {
            remarks.push(format!(
                "{conversations} conversations were cut to max_tokens and lost {tokens} tokens (since this run was last started)"
            ));
        }
        remarks
    }

    fn size(batch: &SourceBatch) -> BatchSize {
        let tokens = batch.text.lengths.iter().sum();
        BatchSize { weight: batch.targets.len() as f64, tokens, images: batch.sizes.len() }
    }

    fn loss(&self, model: &M, batch: SourceBatch, device: &Device) -> Result<Tensor<1>> {
        let vlm = model.vlm();
        let shape = [batch.text.batch, batch.text.tokens];
        let grid = |values: Vec<i64>| Tensor::<2, Int>::from_data(TensorData::new(values, shape), device);
        let images = batch.sizes.len();
        let visual = if images == 0 {
            VisualFeatures::default()
        } else {
            let views: usize = batch.tiles.iter().sum();
            let pixels = TensorData::new(batch.pixels, [views, 3, self.image_size, self.image_size]);
            let pixels = Tensor::<4>::from_data(pixels, device);
            match self.tiled {
                true => vlm.encode_tiled_images(pixels, &batch.tiles, &batch.sizes)?,
                false => vlm.encode_images(pixels)?.into(),
            }
        };
        let input = VlmInput {
            features: visual.features,
            packing: visual.packing,
            image_positions: (images > 0).then(|| int_tensor(&batch.image_positions, device)),
            routing_text: routing_text(&vlm.multi_modal_projector, &batch.text, device)?,
            noise_seed: Some(batch.noise_seed),
            attention: match batch.packed {
                Some(packed) => AttentionInput::packed(grid(packed.segments), grid(packed.positions)),
                // padding is on the right, so that the causal mask alone keeps it from every real position
                None => AttentionInput::contiguous(),
            },
            ids: grid(batch.text.ids),
        };
        let (rows, targets) = (int_tensor(&batch.target_rows, device), int_tensor(&batch.targets, device));
        Ok(model.target_losses(&input, rows, targets)?.sum())
    }
}

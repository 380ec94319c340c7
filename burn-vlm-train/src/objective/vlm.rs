//! Next-token loss of a VLM on the answers to questions about pictures: micro-batches of samples as objectives take them and as a model
//! reads them. The one place where a batch becomes tensors.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::error::ModelError;
use burn_vlm::language::AttentionInput;
use burn_vlm::nn::with_dropout;
use burn_vlm::vision::{PatchPixels, VisionEncoder, VisionTower};
use burn_vlm::vlm::{Medium, Packing, VisualFeatures, Vlm, VlmInput};
use burn_vlm_data::collate::TextBatch;
use burn_vlm_data::prepare::{Batch, Packed, SampleStream, ShownMedia, ShownMedium, Visual};

use super::losses::BatchLoss;
use super::validation::{HeldOut, Validation};
use crate::error::{Result, TrainError};
use crate::trainer::{BatchSize, Objective};

/// The parts of an objective that its samples decide alone.
macro_rules! on_samples {
    () => {
        type Batch = burn_vlm_data::prepare::Batch;

        fn steps(
            self: &std::sync::Arc<Self>,
            steps: std::ops::Range<usize>,
            _accumulate: usize,
            workers: usize,
        ) -> $crate::error::Result<$crate::trainer::Steps<Self::Batch>> {
            Ok(Box::new(self.samples.steps(steps, workers)?.map(|step| Ok(step?))))
        }

        fn ids(&self, step: usize, _accumulate: usize) -> Vec<String> {
            self.samples.ids(step)
        }

        fn remarks(&self) -> Vec<String> {
            self.samples.remarks()
        }

        fn size(batch: &Self::Batch) -> $crate::trainer::BatchSize {
            $crate::objective::batch_size(batch)
        }
    };
}
pub(super) use on_samples;

/// What a batch contains, for weighting and for the log.
pub fn batch_size(batch: &Batch) -> BatchSize {
    let tokens = batch.text.lengths.iter().sum();
    BatchSize { weight: batch.targets.len() as f64, tokens, images: batch.visual.len() }
}

/// A batch as a model's tensors, and the loss on it.
pub trait IntoInput {
    /// The batch as the model's input.
    ///
    /// # Errors
    /// Pictures that do not fit the tower, a connector that reads the users' words in a batch that does not know them.
    fn input<T: VisionTower, P: Projector>(self, vlm: &Vlm<T, P>, device: &Device) -> Result<VlmInput>;

    /// Summed next-token loss of the batch, `[1]`.
    ///
    /// # Errors
    /// As [`Self::input`]; a batch that does not fit the model.
    fn loss<T: VisionTower, P: Projector>(self, vlm: &Vlm<T, P>, device: &Device) -> Result<Tensor<1>>;

    /// The next-token loss of each target, `[targets]`.
    ///
    /// # Errors
    /// As [`Self::loss`].
    fn losses<T: VisionTower, P: Projector>(self, vlm: &Vlm<T, P>, device: &Device) -> Result<Tensor<1>>;
}

impl IntoInput for Batch {
    fn input<T: VisionTower, P: Projector>(self, vlm: &Vlm<T, P>, device: &Device) -> Result<VlmInput> {
        let routing_text = routing_text(&vlm.multi_modal_projector, &self.text, device)?;
        let image_positions = (!self.visual.is_empty()).then(|| int_tensor(&self.image_positions, device));
        let VisualFeatures { features, packing, tokens } = visual_features(self.visual, vlm, device)?;
        Ok(VlmInput {
            features,
            packing,
            tokens,
            image_positions,
            routing_text,
            noise_seed: self.noise_seed,
            attention: attention(self.packed, &self.text, device),
            ids: grid(self.text.ids, (self.text.batch, self.text.tokens), device),
        })
    }

    fn loss<T: VisionTower, P: Projector>(self, vlm: &Vlm<T, P>, device: &Device) -> Result<Tensor<1>> {
        Ok(self.losses(vlm, device)?.sum())
    }

    fn losses<T: VisionTower, P: Projector>(self, vlm: &Vlm<T, P>, device: &Device) -> Result<Tensor<1>> {
        let (rows, targets) = (int_tensor(&self.target_rows, device), int_tensor(&self.targets, device));
        // One seed a micro-batch, none where nothing is trained: of the noise on features, and of what adapters drop.
        with_dropout(self.noise_seed, || {
            let input = self.input(vlm, device)?;
            Ok(vlm.target_losses(&input, rows, targets)?)
        })
    }
}

/// The features of a batch's pictures: the vision tower's, unless they were computed before.
///
/// # Errors
/// Pictures that do not fit the tower.
pub fn visual_features<T: VisionTower, P: Projector>(
    visual: Visual,
    vlm: &Vlm<T, P>,
    device: &Device,
) -> Result<VisualFeatures> {
    let images = visual.len();
    Ok(match visual {
        Visual::None => VisualFeatures::default(),
        Visual::Features { values, shape: [tokens, width], counts } => {
            let features = Tensor::<3>::from_data(TensorData::new(values, [images, tokens, width]), device);
            let packing = counts.map(|counts| Packing::of_padded(&counts, tokens)).transpose()?;
            VisualFeatures { features: Some(features), packing, tokens: None }
        }
        Visual::Patches { values, shape: [most, width], grids } => {
            let patches = Tensor::<3>::from_data(TensorData::new(values, [images, most, width]), device);
            vlm.encode_patches(&PatchPixels::new(patches, grids)?)?
        }
        Visual::Media(shown) => media_features(shown, vlm, device)?,
        Visual::Pixels { values, view, tiles, sizes, tiled } => {
            let pixels = view_pixels(values, view, vlm, device)?;
            match tiled {
                true => vlm.encode_tiled_images(pixels, &tiles, &sizes)?,
                false => vlm.encode_images(pixels)?.into(),
            }
        }
    })
}

/// Views `[views, channels, size, size]` of the size that the tower takes.
fn view_pixels<T: VisionTower, P: Projector>(
    values: Vec<f32>,
    view: Option<(usize, usize)>,
    vlm: &Vlm<T, P>,
    device: &Device,
) -> Result<Tensor<4>> {
    let shape = vlm.config.vision_config.shape();
    let (channels, side) = (shape.num_channels, shape.image_size);
    if view != Some((side, side)) {
        // A processor that neither crops nor has a fixed size gives each picture its own.
        let found = view.map_or("several sizes".to_owned(), |(height, width)| format!("{height} x {width} pixels"));
        return Err(ModelError::Input(format!(
            "the image processor (preprocessor_config.json) makes pictures of {found}, the vision tower takes {side} x {side}: \
             give `size` a height and a width, or let it crop (do_center_crop, crop_size)"
        ))
        .into());
    }
    let views = values.len() / (channels * side * side).max(1);
    Ok(Tensor::<4>::from_data(TensorData::new(values, [views, channels, side, side]), device))
}

/// The features of pictures and videos, of which some views may have been through the tower before.
fn media_features<T: VisionTower, P: Projector>(
    shown: ShownMedia,
    vlm: &Vlm<T, P>,
    device: &Device,
) -> Result<VisualFeatures> {
    let ShownMedia { pixels, view, features, shape: [tokens, width], known, media } = shown;
    let medium = |medium: &ShownMedium| match *medium {
        ShownMedium::Picture { tiles, size } => Medium::Picture { tiles, size },
        ShownMedium::Video { frames } => Medium::Video { frames },
    };
    let packing = vlm.config.pack(&media.iter().map(medium).collect::<Vec<_>>())?;
    let mut parts = Vec::with_capacity(2);
    if !pixels.is_empty() {
        parts.push(vlm.encode_images(view_pixels(pixels, view, vlm, device)?)?);
    }
    if !features.is_empty() {
        let views = features.len() / (tokens * width).max(1);
        parts.push(Tensor::<3>::from_data(TensorData::new(features, [views, tokens, width]), device));
    }
    let features = match parts.len() {
        1 => parts.remove(0),
        _ => {
            // Seen now, then seen before: each view back to its place.
            let mut next = [0, known.iter().filter(|known| !**known).count()];
            let place = |known: &bool| {
                let next = &mut next[usize::from(*known)];
                *next += 1;
                (*next - 1) as i64
            };
            let order: Vec<i64> = known.iter().map(place).collect();
            let dtype = parts[0].dtype();
            let parts = parts.into_iter().map(|part| part.cast(dtype)).collect();
            Tensor::cat(parts, 0).select(0, int_tensor(&order, device))
        }
    };
    Ok(VisualFeatures { features: Some(features), packing: Some(packing), tokens: None })
}

/// Which tokens see which others.
pub(super) fn attention(packed: Option<Packed>, text: &TextBatch, device: &Device) -> AttentionInput {
    let shape = (text.batch, text.tokens);
    match packed {
        Some(Packed { segments, positions }) => {
            AttentionInput::packed(grid(segments, shape, device), grid(positions, shape, device))
        }
        // padding is on the right, so that the causal mask alone keeps it from every real position
        None => AttentionInput::contiguous(),
    }
}

/// A list of integers as a `[rows, tokens]` tensor.
pub(super) fn grid(values: Vec<i64>, (rows, tokens): (usize, usize), device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(values, [rows, tokens]), device)
}

/// A list of integers as a tensor.
pub fn int_tensor(values: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

/// The words that route the connector's experts, if it has any, by its text scope, as a mask over the ids.
///
/// # Errors
/// A scope that needs to know where the user's turns are, in a batch that was made without.
pub fn routing_text<P: Projector>(connector: &P, text: &TextBatch, device: &Device) -> Result<Option<Tensor<2, Bool>>> {
    let Some(scope) = connector.text_scope().filter(|_| connector.reads_text()) else { return Ok(None) };
    let mut mask = Vec::with_capacity(text.batch * text.tokens);
    for (row, (labels, length)) in text.labels.chunks(text.tokens.max(1)).zip(&text.lengths).enumerate() {
        let turns = text.user_turns.get(row).map_or(&[][..], Vec::as_slice);
        if scope.needs_user_turns() && turns.is_empty() {
            let message =
                format!("connector.text_scope = {scope:?}: the batch does not know where the user's turns are");
            return Err(TrainError::Data(message));
        }
        mask.extend(scope.select(&labels[..*length], turns));
        mask.resize(mask.len() + labels.len() - length, false);
    }
    Ok(Some(Tensor::from_data(TensorData::new(mask, [text.batch, text.tokens]), device)))
}

/// A stream of samples and the loss on their trained tokens, for a VLM of any tower and connector.
pub struct VlmObjective<T = VisionEncoder, P = Connector> {
    samples: Arc<SampleStream>,
    held_out: Option<HeldOut>,
    model: PhantomData<fn() -> (T, P)>,
}

impl<T: VisionTower, P: Projector> VlmObjective<T, P> {
    /// The loss on a stream.
    pub fn new(samples: SampleStream) -> Self {
        Self { samples: Arc::new(samples), held_out: None, model: PhantomData }
    }

    /// Validates on samples that are held out.
    pub fn with_validation(self, held_out: Option<HeldOut>) -> Self {
        Self { held_out, ..self }
    }

    /// What it trains on.
    pub fn samples(&self) -> &Arc<SampleStream> {
        &self.samples
    }
}

impl<T: VisionTower, P: Projector> Objective for VlmObjective<T, P> {
    type Model = Vlm<T, P>;

    on_samples!();

    fn loss(&self, model: &Vlm<T, P>, batch: Batch, device: &Device) -> Result<Tensor<1>> {
        batch.loss(model, device)
    }

    fn batch_loss(&self, model: &Vlm<T, P>, batch: Batch, device: &Device) -> Result<BatchLoss> {
        BatchLoss::of_targets(batch, |batch| batch.losses(model, device))
    }

    fn validate(&self, model: &Vlm<T, P>, device: &Device) -> Result<Option<Validation>> {
        let Some(held_out) = &self.held_out else { return Ok(None) };
        let (model, device) = (model.valid(), device.clone().inner());
        held_out.validate(&self.samples, |batch| batch.losses(&model, &device)).map(Some)
    }
}

//! Features of a frozen vision tower, computed once for every picture and view.
//!
//! A frozen tower gives the same features for the same pixels in every step of every cell. With `views = V` and augmentation, each
//! picture is augmented in V fixed ways and sent through the tower once; training then draws among the views. Pictures that are
//! asked about have one view, as they are.
//!
//! Unusual here: a picture is known by the hash of its bytes, so one bank serves the embedded corpus and a user's own files, and the
//! same picture in two sources is computed once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use burn_vlm::connector::Projector;
use burn_vlm::nn::Precision;
use burn_vlm::vision::VisionTower;
use burn_vlm::vlm::{VisualFeatures, Vlm, VlmConfig};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::image::{ImageProcessorConfig, ProcessedImage};
use burn_vlm_data::prepare::{FeatureBank, Views, Visual};
use burn_vlm_data::processor::Processor;
use burn_vlm_data::sample::{Media, MediaKey, Picture};
use burn_vlm_data::source::{SkipReason, Source};
use burn_vlm_data::video::Clips;
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::ablation::PartStore;
use crate::error::{Result, TrainError};
use crate::objective::visual_features;

/// Pictures of one pass through the tower.
const BATCH: usize = 128;

/// File of a bank in its folder.
const FILE: &str = "features.safetensors";
/// What a store calls it.
const PART: &str = "features";

/// Pictures by their content, in an order that depends on nothing else.
pub type PictureSet = BTreeMap<MediaKey, Picture>;

/// Which pictures of samples are wanted.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// Chooses the frames of video files.
    pub clips: Option<&'a Arc<Clips>>,
    /// Whether pictures that are no frames are left out.
    pub frames_alone: bool,
}

/// Every picture of some sources. Records and pictures that cannot be read are left out: training lists them.
pub fn pictures_of<'a>(sources: impl IntoIterator<Item = &'a Arc<dyn Source>>, shown: Shown<'_>) -> PictureSet {
    let mut pictures = PictureSet::new();
    for source in sources {
        for record in 0..source.len() {
            let Ok(sample) = source.get(record) else { continue };
            let sample = match shown.clips.map(|clips| clips.show_sample(&sample, false)) {
                Some(Ok(shown)) => shown,
                Some(Err(_)) => continue,
                None => Cow::Borrowed(&sample),
            };
            let wanted = sample.media.iter().filter(|medium| !shown.frames_alone || matches!(medium, Media::Video(_)));
            wanted.for_each(|medium| {
                add_pictures(&mut pictures, burn_vlm_data::sample::pictures(std::slice::from_ref(medium)))
            });
        }
    }
    pictures
}

/// Adds pictures to a set; those that cannot be read are left out.
pub fn add_pictures<'a>(set: &mut PictureSet, pictures: impl Iterator<Item = &'a Picture>) {
    for picture in pictures {
        if let Ok(key) = picture.key() {
            set.entry(key).or_insert_with(|| picture.clone());
        }
    }
}

/// Bytes of a picture's features in f32, padding included where pictures have grids of their own.
pub fn feature_bytes(config: &VlmConfig, processor: &Processor) -> u64 {
    let most = processor.visual_tokens().and_then(|tokens| tokens.patches);
    let tokens = most.map_or(config.num_feature_tokens(), |budget| budget.max_num_patches as usize);
    (tokens * config.feature_width() * size_of::<f32>()) as u64
}

/// Sends every picture of a set through the tower. Pictures that cannot be decoded are left out, as training does.
///
/// # Errors
/// Pictures that the tower does not take.
pub fn compute<T: VisionTower, P: Projector>(
    model: &Vlm<T, P>,
    processor: &Processor,
    pictures: &PictureSet,
    views: Views,
    device: &Device,
    mut progress: impl FnMut(usize, usize),
) -> Result<FeatureBank> {
    let inference = model.valid();
    let device = device.clone().inner();
    let mut shape = [model.config.num_feature_tokens(), model.config.feature_width()];
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    // Tokens that are no padding, where pictures have grids of their own.
    let mut counts: Vec<u32> = Vec::new();
    let pictures: Vec<(&MediaKey, &Picture)> = pictures.iter().collect();
    let count = views.count();
    let mut done = 0;
    for chunk in pictures.chunks(BATCH.div_ceil(count)) {
        let frames_alone = processor.video_processor().is_some();
        let process = |(key, picture): &(&MediaKey, &Picture)| match frames_alone {
            true => processor.process_frame(picture).map(|frame| vec![frame]),
            false => views.process(processor, **key, picture),
        };
        let made: Vec<Result<Vec<ProcessedImage>, SkipReason>> = chunk.par_iter().map(process).collect();
        let mut images = Vec::new();
        for ((key, _), made) in chunk.iter().zip(made) {
            let Ok(made) = made else { continue };
            keys.push(**key);
            images.extend(made);
        }
        let VisualFeatures { features, packing, .. } =
            visual_features(Visual::of_processed(&images, false), &inference, &device)?;
        if let Some(features) = features {
            let [_, tokens, width] = features.dims();
            shape = [tokens, width];
            values.extend(features.into_data().iter::<f32>());
        }
        let tokens = packing.iter().flat_map(|packing| packing.image_tokens());
        counts.extend(tokens.map(|tokens| u32::try_from(*tokens).unwrap_or(u32::MAX)));
        done += chunk.len() * count;
        progress(done, pictures.len() * count);
    }
    let fits = || TrainError::Data("the tower gave features of another shape than its configuration says".into());
    let bank = FeatureBank::new(keys, views, shape, values).ok_or_else(fits)?;
    if counts.is_empty() { Ok(bank) } else { bank.with_counts(counts).ok_or_else(fits) }
}

/// Writes a bank as one safetensors file.
///
/// # Errors
/// The file cannot be written.
fn save(bank: &FeatureBank, path: &Path) -> Result<()> {
    let keys: Vec<u8> = bank.keys().iter().flat_map(|key| key.0).collect();
    let values: Vec<u8> = bank.values().iter().flat_map(|value| value.to_le_bytes()).collect();
    let invalid = |e: safetensors::SafeTensorError| TrainError::invalid(path, e.to_string());
    let (count, [tokens, width]) = (bank.keys().len(), bank.shape());
    let augmented = [u8::from(bank.views() != Views::Plain)];
    let shape = vec![count, bank.views().count(), tokens, width];
    let counts: Vec<u8> = bank.counts().unwrap_or_default().iter().flat_map(|count| count.to_le_bytes()).collect();
    let counted = bank.counts().map(|_| TensorView::new(Dtype::U32, shape[..2].to_vec(), &counts));
    let mut tensors = vec![
        ("augmented", TensorView::new(Dtype::U8, vec![1], &augmented).map_err(invalid)?),
        ("pictures", TensorView::new(Dtype::U8, vec![count, 16], &keys).map_err(invalid)?),
        ("features", TensorView::new(Dtype::F32, shape, &values).map_err(invalid)?),
    ];
    if let Some(counted) = counted {
        tensors.push(("tokens", counted.map_err(invalid)?));
    }
    let bytes = safetensors::serialize(tensors, None).map_err(invalid)?;
    std::fs::write(path, bytes).map_err(|e| TrainError::io("cannot write", path, e))
}

/// Reads a bank back.
///
/// # Errors
/// A missing or damaged file.
fn load(path: &Path) -> Result<FeatureBank> {
    let bytes = std::fs::read(path).map_err(|e| TrainError::io("cannot read", path, e))?;
    let invalid = |e: safetensors::SafeTensorError| TrainError::invalid(path, e.to_string());
    let file = SafeTensors::deserialize(&bytes).map_err(invalid)?;
    let [augmented, pictures, features] = ["augmented", "pictures", "features"].map(|name| file.tensor(name));
    let (augmented, pictures, features) =
        (augmented.map_err(invalid)?, pictures.map_err(invalid)?, features.map_err(invalid)?);
    let &[count, views, tokens, width] = features.shape() else {
        let message = format!("features of shape {:?}, expected 4 dimensions", features.shape());
        return Err(TrainError::invalid(path, message));
    };
    let keys: Vec<MediaKey> = pictures.data().as_chunks().0.iter().map(|key| MediaKey(*key)).collect();
    let views = if augmented.data() == [0] { Views::Plain } else { Views::Augmented(views) };
    let values = features.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let kinds = pictures.dtype() == Dtype::U8 && features.dtype() == Dtype::F32 && keys.len() == count;
    let mut bank = FeatureBank::new(keys, views, [tokens, width], values).filter(|_| kinds);
    if let Ok(counts) = file.tensor("tokens") {
        let values = counts.data().as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        bank = bank.and_then(|bank| bank.with_counts(values)).filter(|_| counts.dtype() == Dtype::U32);
    }
    bank.ok_or_else(|| TrainError::invalid(path, "pictures and features do not belong together"))
}

/// What decides a bank's content besides its pictures.
pub struct BankKey<'a> {
    /// Content hash of the encoder's folder.
    pub encoder: &'a str,
    /// The VLM's way from encoder output to features.
    pub config: &'a VlmConfig,
    /// How pictures are prepared.
    pub image: &'a ImageProcessorConfig,
    /// Views of each.
    pub views: Views,
    /// In which the tower computes.
    pub precision: Precision,
}

impl BankKey<'_> {
    fn hash(&self, pictures: &PictureSet) -> Result<String> {
        let Self { encoder, config, image, views, precision } = self;
        let image = serde_json::to_string(image).map_err(|e| TrainError::Recipe(e.to_string()))?;
        let way = (&config.vision_feature_layer, config.vision_feature_select_strategy, config.visual_tokens);
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{encoder}|{way:?}|{image}|{views:?}|{precision:?}").as_bytes());
        pictures.keys().for_each(|key| {
            hasher.update(&key.0);
        });
        Ok(hasher.finalize().to_hex().to_string())
    }
}

/// Whether the bank of some pictures is in a store, so that no picture needs to be decoded for it.
///
/// # Errors
/// As [`stored_bank`].
pub fn is_stored(store: &PartStore, key: &BankKey<'_>, pictures: &PictureSet) -> Result<bool> {
    Ok(store.has(&key.hash(pictures)?, PART))
}

/// Reads the bank of some pictures from a store, or computes it.
///
/// # Errors
/// Pictures that the tower does not take, a full disk.
pub fn stored_bank<T: VisionTower, P: Projector>(
    store: &PartStore,
    key: &BankKey<'_>,
    model: &Vlm<T, P>,
    processor: &Processor,
    pictures: &PictureSet,
    (device, reporter): (&Device, &Reporter),
) -> Result<Arc<FeatureBank>> {
    let make = |folder: &Path| -> Result<()> {
        let views = key.views.count();
        reporter.line(&format!("features of {} pictures x {views} views", pictures.len()));
        let bar = reporter.bar("features", (pictures.len() * views) as u64);
        let told = |done, total| bar.set_of(done as u64, total as u64, "pictures");
        save(&compute(model, processor, pictures, key.views, device, told)?, &folder.join(FILE))
    };
    let hash = key.hash(pictures)?;
    let folder = store.get_or_make(&hash, PART, reporter, |making| make(&making.folder()).map_err(Into::into))?;
    Ok(Arc::new(load(&folder.join(FILE))?))
}

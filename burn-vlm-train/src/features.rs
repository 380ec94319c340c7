//! Features of a frozen vision tower, computed once for every picture and view.
//!
//! A frozen tower gives the same features for the same pixels in every step of every cell. With `views = V` and augmentation, each
//! picture is augmented in V fixed ways and sent through the tower once; training then draws among the views. Pictures that are
//! asked about have one view, as they are.
//!
//! Unusual here: a picture is known by the hash of its bytes, so one bank serves the embedded corpus and a user's own files, and the
//! same picture in two sources is computed once.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm::vlm::{Vlm, VlmConfig};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::image::ImageProcessorConfig;
use burn_vlm_data::processor::Processor;
use burn_vlm_data::random::mix;
use burn_vlm_data::sample::{MediaKey, Picture};
use burn_vlm_data::source::{SkipReason, Source};
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::ablation::PartStore;
use crate::error::{Result, TrainError};
use crate::objective;

/// Pictures of one pass through the tower.
const BATCH: usize = 128;

/// Seeds the augmentation of view `v` of a picture apart from every other use of a seed.
const VIEW_SEED: u64 = 0x6665_6174;

/// File of a bank in its folder.
const FILE: &str = "features.safetensors";

/// How many views of a picture are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Views {
    /// The picture as it is.
    Plain,
    /// So many augmented ones.
    Augmented(usize),
}

impl Views {
    fn count(self) -> usize {
        match self {
            Self::Plain => 1,
            Self::Augmented(count) => count.max(1),
        }
    }
}

/// Features of many pictures.
pub struct FeatureBank {
    index: HashMap<MediaKey, usize>,
    views: Views,
    tokens: usize,
    width: usize,
    values: Vec<f32>,
}

/// Pictures by their content, in an order that depends on nothing else.
pub type PictureSet = BTreeMap<MediaKey, Picture>;

/// Every picture of some sources. Records and pictures that cannot be read are left out: training lists them.
pub fn pictures_of<'a>(sources: impl IntoIterator<Item = &'a Arc<dyn Source>>) -> PictureSet {
    let mut pictures = PictureSet::new();
    for source in sources {
        for record in 0..source.len() {
            let Ok(sample) = source.get(record) else { continue };
            add_pictures(&mut pictures, sample.pictures());
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

/// Bytes of a picture's features in f32.
pub fn feature_bytes(config: &VlmConfig) -> u64 {
    (config.num_feature_tokens() * config.feature_width() * size_of::<f32>()) as u64
}

impl FeatureBank {
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
    ) -> Result<Self> {
        let inference = model.valid();
        let device = device.clone().inner();
        let side = model.config.vision_config.image_size();
        let mut bank = Self {
            index: HashMap::new(),
            views,
            tokens: model.config.num_feature_tokens(),
            width: model.config.feature_width(),
            values: Vec::new(),
        };
        let pictures: Vec<(&MediaKey, &Picture)> = pictures.iter().collect();
        let count = views.count();
        for (number, chunk) in pictures.chunks(BATCH.div_ceil(count)).enumerate() {
            let made: Vec<Result<Vec<f32>, SkipReason>> =
                chunk.par_iter().map(|(key, picture)| all_views(processor, **key, picture, views)).collect();
            let mut pixels = Vec::new();
            for ((key, _), made) in chunk.iter().zip(made) {
                let Ok(made) = made else { continue };
                bank.index.insert(**key, bank.index.len());
                pixels.extend(made);
            }
            let rows = pixels.len() / (3 * side * side).max(1);
            if rows > 0 {
                let pixels = Tensor::<4>::from_data(TensorData::new(pixels, [rows, 3, side, side]), &device);
                bank.values.extend(inference.encode_images(pixels)?.into_data().iter::<f32>());
            }
            progress((number + 1) * chunk.len() * count, pictures.len() * count);
        }
        Ok(bank)
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it has no picture.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// `[visual tokens, width]` of one picture.
    pub fn shape(&self) -> [usize; 2] {
        [self.tokens, self.width]
    }

    /// Where the features of a picture stand; `draw` chooses among augmented views. `None` where the bank has no such picture, or
    /// where it is wanted as it is (no `draw`) and the bank has augmented ones only.
    pub fn find(&self, key: MediaKey, draw: Option<u64>) -> Option<usize> {
        let row = self.index.get(&key)?;
        match (self.views, draw) {
            (Views::Plain, _) => Some(*row),
            (Views::Augmented(_), None) => None,
            (views, Some(draw)) => Some(row * views.count() + (draw % views.count() as u64) as usize),
        }
    }

    /// The features at a place that [`Self::find`] gave, `[tokens, width]`.
    pub fn row(&self, row: usize) -> &[f32] {
        let values = self.tokens * self.width;
        &self.values[row * values..(row + 1) * values]
    }

    /// Writes the bank as one safetensors file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut pictures: Vec<(&MediaKey, usize)> = self.index.iter().map(|(key, row)| (key, *row)).collect();
        pictures.sort_by_key(|(_, row)| *row);
        let keys: Vec<u8> = pictures.iter().flat_map(|(key, _)| key.0).collect();
        let values: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let invalid = |e: safetensors::SafeTensorError| TrainError::invalid(path, e.to_string());
        let shape = vec![pictures.len(), self.views.count(), self.tokens, self.width];
        let augmented = [u8::from(self.views != Views::Plain)];
        let views = [
            ("augmented", TensorView::new(Dtype::U8, vec![1], &augmented).map_err(invalid)?),
            ("pictures", TensorView::new(Dtype::U8, vec![pictures.len(), 16], &keys).map_err(invalid)?),
            ("features", TensorView::new(Dtype::F32, shape, &values).map_err(invalid)?),
        ];
        let bytes = safetensors::serialize(views, None).map_err(invalid)?;
        std::fs::write(path, bytes).map_err(|e| TrainError::io("cannot write", path, e))
    }

    /// Reads a bank back.
    ///
    /// # Errors
    /// A missing or damaged file.
    pub fn load(path: &Path) -> Result<Self> {
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
        let index: HashMap<MediaKey, usize> =
            pictures.data().as_chunks().0.iter().enumerate().map(|(row, key)| (MediaKey(*key), row)).collect();
        if index.len() != count || pictures.dtype() != Dtype::U8 || features.dtype() != Dtype::F32 {
            return Err(TrainError::invalid(path, "pictures and features do not belong together"));
        }
        let views = if augmented.data() == [0] { Views::Plain } else { Views::Augmented(views) };
        let values = features.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok(Self { index, views, tokens, width, values })
    }
}

/// The views of a picture, `[views, 3, side, side]`.
fn all_views(processor: &Processor, key: MediaKey, picture: &Picture, views: Views) -> Result<Vec<f32>, SkipReason> {
    let (name, bytes) = (picture.name(), picture.read()?);
    let pixels = |seed: Option<u64>| Ok(objective::pixels(processor, (&name, &bytes), 1, seed)?.data);
    match views {
        Views::Plain => pixels(None),
        Views::Augmented(_) => {
            let view = |view: usize| pixels(Some(mix(mix(VIEW_SEED, key.seed()), view as u64)));
            Ok((0..views.count()).map(view).collect::<Result<Vec<_>, SkipReason>>()?.concat())
        }
    }
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
}

impl BankKey<'_> {
    fn hash(&self, pictures: &PictureSet) -> Result<String> {
        let Self { encoder, config, image, views } = self;
        let image = serde_json::to_string(image).map_err(|e| TrainError::Recipe(e.to_string()))?;
        let way = (&config.vision_feature_layer, config.vision_feature_select_strategy, config.visual_tokens);
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{encoder}|{way:?}|{image}|{views:?}").as_bytes());
        pictures.keys().for_each(|key| {
            hasher.update(&key.0);
        });
        Ok(hasher.finalize().to_hex().to_string())
    }
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
        let told = |done, _| bar.set(done as u64, "pictures");
        FeatureBank::compute(model, processor, pictures, key.views, device, told)?.save(&folder.join(FILE))
    };
    let hash = key.hash(pictures)?;
    let folder = store.get_or_make(&hash, "features", reporter, |making| make(&making.folder()).map_err(Into::into))?;
    Ok(Arc::new(FeatureBank::load(&folder.join(FILE))?))
}

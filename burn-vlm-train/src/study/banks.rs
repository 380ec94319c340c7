//! The pictures' features, shared by all cells that have the same frozen encoder.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use burn_vlm::vlm::Vlm;
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::emoji::{EmojiCorpus, PictureId, Split, Style};

use crate::ablation::PartStore;
use crate::error::{Result, TrainError};
use crate::features::FeatureBank;
use crate::pictures::Pictures;

/// File of a bank in its part's folder.
const FILE: &str = "features.safetensors";

/// What decides a bank's content.
pub struct BankKey<'a> {
    /// Content hash of the encoder's folder.
    pub encoder: &'a str,
    /// The VLM's way from encoder output to features, as text.
    pub config: String,
    /// Augmented views of each picture; 0 for the picture as it is.
    pub views: usize,
}

/// Pictures that training may draw: the training split in the training styles.
pub fn training_pictures(corpus: &EmojiCorpus) -> Vec<PictureId> {
    let trained = corpus.split(Split::Train).flat_map(|concept| corpus.pictures_of(concept.id));
    trained.filter(|picture| picture.style.is_training()).map(|picture| picture.id).collect()
}

/// Pictures that are asked about: the scored style, every split.
pub fn scored_pictures(corpus: &EmojiCorpus) -> Vec<PictureId> {
    corpus.pictures().iter().filter(|picture| picture.style == Style::SCORED).map(|picture| picture.id).collect()
}

/// Reads a bank from the store, or computes it.
///
/// # Errors
/// A picture that cannot be decoded, a full disk.
pub fn bank(
    store: &PartStore,
    key: &BankKey<'_>,
    model: &Vlm,
    pictures: &Pictures,
    which: &[PictureId],
    device: &Device,
    reporter: &Reporter,
) -> Result<Arc<FeatureBank>> {
    let mut hasher = blake3::Hasher::new();
    let numbers = format!("{}|{}|{}|{}", key.encoder, key.config, key.views, pictures.size());
    hasher.update(numbers.as_bytes());
    for picture in which {
        hasher.update(pictures.corpus().picture_name(*picture).as_bytes());
    }
    let hash = hasher.finalize().to_hex().to_string();
    let make = |folder: &Path| -> Result<()> {
        let views = key.views.max(1);
        let label = format!("features of {} pictures x {views} views", which.len());
        reporter.line(&label);
        let bar = reporter.bar("features", (which.len() * views) as u64);
        let bank = FeatureBank::compute(model, pictures, which, key.views, device, |done, _| {
            bar.set(done as u64, "pictures");
        })?;
        bank.save(&folder.join(FILE))
    };
    let folder = store
        .get_or_make(&hash, "features", reporter, |making| make(&making.folder()).map_err(Into::into))
        .map_err(|e| TrainError::Data(e.to_string()))?;
    Ok(Arc::new(FeatureBank::load(&folder.join(FILE))?))
}

//! Features of a frozen vision tower, computed once for every picture and view.
//!
//! A frozen tower gives the same features for the same pixels in every step of every cell. With `views = V`, each
//! training picture is augmented in V fixed ways and sent through the tower once; training then draws among the views.
//! Scored pictures have one view, without augmentation.

use std::collections::HashMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm::vlm::Vlm;
use burn_vlm_data::emoji::PictureId;
use burn_vlm_data::random::mix;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::error::{Result, TrainError};
use crate::pictures::Pictures;

/// Pictures of one pass through the tower.
const BATCH: usize = 128;

/// Seeds the augmentation of view `v` of picture `p` apart from every other use of a seed.
const VIEW_SEED: u64 = 0x6665_6174;

/// Features of many pictures.
pub struct FeatureBank {
    index: HashMap<PictureId, usize>,
    views: usize,
    tokens: usize,
    width: usize,
    values: Vec<f32>,
}

impl FeatureBank {
    /// Sends `views` augmented views of every picture (or, for `views == 0`, the picture as it is) through the tower.
    ///
    /// # Errors
    /// A picture that cannot be decoded, or that the tower does not take.
    pub fn compute(
        model: &Vlm,
        pictures: &Pictures,
        which: &[PictureId],
        views: usize,
        device: &Device,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self> {
        let inference = model.valid();
        let device = device.clone().inner();
        let jobs: Vec<(PictureId, Option<u64>)> = which
            .iter()
            .flat_map(|&picture| {
                (0..views.max(1)).map(move |view| (picture, (views > 0).then(|| view_seed(picture, view))))
            })
            .collect();
        let size = pictures.size();
        let mut values = Vec::new();
        let mut shape = [0, 0];
        let total = jobs.len();
        for (number, chunk) in jobs.chunks(BATCH).enumerate() {
            let pixels = chunk
                .iter()
                .map(|&(picture, view)| pictures.pixels(picture, view))
                .collect::<Result<Vec<_>>>()?
                .concat();
            let pixels = Tensor::<4>::from_data(TensorData::new(pixels, [chunk.len(), 3, size, size]), &device);
            let features = inference.encode_images(pixels)?;
            let [_, tokens, width] = features.dims();
            shape = [tokens, width];
            values.extend(features.into_data().iter::<f32>());
            progress((number * BATCH + chunk.len()).min(total), total);
        }
        let index = which.iter().enumerate().map(|(i, &picture)| (picture, i)).collect();
        Ok(Self { index, views: views.max(1), tokens: shape[0], width: shape[1], values })
    }

    /// The pictures that it holds.
    pub fn pictures(&self) -> impl Iterator<Item = PictureId> {
        self.index.keys().copied()
    }

    /// Number of values of one picture: tokens x width.
    pub fn values(&self) -> usize {
        self.tokens * self.width
    }

    /// `[visual tokens, width]` of one picture.
    pub fn shape(&self) -> [usize; 2] {
        [self.tokens, self.width]
    }

    /// Features of one picture, `[tokens, width]`; `pick` chooses the view.
    ///
    /// # Errors
    /// A picture that the bank does not have.
    pub fn view(&self, picture: PictureId, pick: u64) -> Result<&[f32]> {
        let row = self
            .index
            .get(&picture)
            .ok_or_else(|| TrainError::Data(format!("picture {} is not among the computed features", picture.0)))?;
        let start = (row * self.views + (pick % self.views as u64) as usize) * self.values();
        Ok(&self.values[start..start + self.values()])
    }

    /// Writes the bank as one safetensors file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut pictures: Vec<(PictureId, usize)> = self.index.iter().map(|(p, i)| (*p, *i)).collect();
        pictures.sort_by_key(|(_, row)| *row);
        let ids: Vec<u8> = pictures.iter().flat_map(|(picture, _)| picture.0.to_le_bytes()).collect();
        let values: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let invalid = |e: safetensors::SafeTensorError| TrainError::invalid(path, e.to_string());
        let shape = vec![pictures.len(), self.views, self.tokens, self.width];
        let views = [
            ("pictures", TensorView::new(Dtype::U32, vec![pictures.len()], &ids).map_err(invalid)?),
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
        let pictures = file.tensor("pictures").map_err(invalid)?;
        let features = file.tensor("features").map_err(invalid)?;
        let &[count, views, tokens, width] = features.shape() else {
            return Err(TrainError::invalid(
                path,
                format!("features of shape {:?}, expected 4 dimensions", features.shape()),
            ));
        };
        let words =
            |bytes: &[u8]| -> Vec<[u8; 4]> { bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]).collect() };
        let index: HashMap<PictureId, usize> = words(pictures.data())
            .into_iter()
            .enumerate()
            .map(|(row, word)| (PictureId(u32::from_le_bytes(word)), row))
            .collect();
        if index.len() != count || pictures.dtype() != Dtype::U32 || features.dtype() != Dtype::F32 {
            return Err(TrainError::invalid(path, "pictures and features do not belong together"));
        }
        let values = words(features.data()).into_iter().map(f32::from_le_bytes).collect();
        Ok(Self { index, views, tokens, width, values })
    }
}

fn view_seed(picture: PictureId, view: usize) -> u64 {
    mix(mix(VIEW_SEED, u64::from(picture.0)), view as u64)
}

//! Pictures as patches, each with a grid of its own (NaFlex).

use burn::tensor::{Bool, Device, Tensor, TensorData};

use crate::error::ModelError;

/// The patches of several pictures, each row by row, padded to one number: transformers' `pixel_values` with `spatial_shapes`, of
/// which `pixel_attention_mask` follows.
#[derive(Debug, Clone)]
pub struct PatchPixels {
    patches: Tensor<3>,
    grids: Vec<(usize, usize)>,
}

impl PatchPixels {
    /// Patches with the grid (rows, columns) of each picture.
    ///
    /// # Shapes
    /// - `patches`: `[n, most, patch_size * patch_size * channels]`, the values of a patch row by row, the channels of a pixel
    ///   together; behind the `rows * columns` patches of a picture anything
    ///
    /// # Errors
    /// [`ModelError::Input`] without pictures, for another number of grids, an empty one, or one of more patches than there are.
    pub fn new(patches: Tensor<3>, grids: Vec<(usize, usize)>) -> Result<Self, ModelError> {
        let [pictures, most, _] = patches.dims();
        if pictures == 0 || pictures != grids.len() {
            let text = format!("patches of {pictures} pictures with {} spatial_shapes", grids.len());
            return Err(ModelError::Input(format!("{text}, expected at least one picture and a shape for each")));
        }
        let fits = |(rows, columns): &(usize, usize)| {
            rows.checked_mul(*columns).is_some_and(|patches| (1..=most).contains(&patches))
        };
        if let Some(picture) = grids.iter().position(|grid| !fits(grid)) {
            let (rows, columns) = grids[picture];
            return Err(ModelError::Input(format!(
                "spatial_shapes of picture {picture}: {rows} x {columns}, expected from 1 to {most} patches, as many as pixel_values \
                 have places"
            )));
        }
        Ok(Self { patches, grids })
    }

    /// Pictures of one size, cut into patches on their device; pixels at the right and bottom that do not fill a patch are dropped.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, height, width]`, both at least a patch
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn cut(pixels: Tensor<4>, patch_size: usize) -> Result<Self, ModelError> {
        let [pictures, channels, height, width] = pixels.dims();
        let side = patch_size.max(1);
        let (rows, columns) = (height / side, width / side);
        let whole = pixels.slice([0..pictures, 0..channels, 0..rows * side, 0..columns * side]);
        let patches: Tensor<6> = whole.reshape([pictures, channels, rows, side, columns, side]);
        let patches = patches.permute([0, 2, 4, 3, 5, 1]).reshape([pictures, rows * columns, side * side * channels]);
        Self::new(patches, vec![(rows, columns); pictures])
    }

    /// The padded patches, see [`Self::new`].
    pub fn patches(&self) -> &Tensor<3> {
        &self.patches
    }

    /// Rows and columns of each picture.
    pub fn grids(&self) -> &[(usize, usize)] {
        &self.grids
    }

    /// Patches of each picture.
    pub fn counts(&self) -> Vec<usize> {
        self.grids.iter().map(|(rows, columns)| rows * columns).collect()
    }

    /// Some of the pictures.
    pub(crate) fn narrow(&self, first: usize, count: usize) -> Self {
        let grids = self.grids[first..first + count].to_vec();
        Self { patches: self.patches.clone().narrow(0, first, count), grids }
    }

    /// Which places hold a patch, `[n, most]`.
    pub(super) fn real(&self, device: &Device) -> Tensor<2, Bool> {
        let [pictures, most, _] = self.patches.dims();
        let real: Vec<bool> = self.counts().into_iter().flat_map(|count| (0..most).map(move |at| at < count)).collect();
        Tensor::from_data(TensorData::new(real, [pictures, most]), device)
    }
}

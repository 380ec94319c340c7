//! Cutting a picture into patches and embedding each.
//!
//! Unusual here: the convolution's stride is its kernel, so it is a matrix product over flattened patches, which is several
//! times faster than a convolution on CPU. The weight keeps the convolution's shape, `[hidden, channels, patch, patch]`.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::encoder::check_heads;
use crate::error::ModelError;
use crate::init::{Fill, Scope};
use crate::nn::linear;

/// A convolution whose stride equals its kernel.
#[derive(Module, Debug)]
pub struct PatchEmbedding {
    /// `[hidden, channels, patch, patch]`
    pub weight: Param<Tensor<4>>,
    /// `[hidden]`; CLIP has none.
    pub bias: Option<Param<Tensor<1>>>,
}

impl PatchEmbedding {
    /// A patch embedding in the scope `init`, which is the layer's own.
    pub fn new(hidden: usize, channels: usize, patch: usize, weight: Fill, bias: Option<Fill>, init: &Scope) -> Self {
        Self {
            weight: init.param("weight", [hidden, channels, patch, patch], weight),
            bias: bias.map(|fill| init.param("bias", [hidden], fill)),
        }
    }

    /// Embeds the patches row by row; pixels at the right and bottom that do not fill a patch are dropped. Pixels of any float
    /// type are cast to the weight's.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, height, width]`
    /// - returns `[n, (height / patch) * (width / patch), hidden]`
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<3> {
        let weight = self.weight.val();
        let pixels = pixels.cast(weight.dtype());
        let [hidden, channels, patch, _] = weight.dims();
        let [n, _, height, width] = pixels.dims();
        let (rows, columns) = (height / patch, width / patch);
        let pixels = if (rows * patch, columns * patch) == (height, width) {
            pixels
        } else {
            pixels.slice([0..n, 0..channels, 0..rows * patch, 0..columns * patch])
        };
        let area = channels * patch * patch;
        let patches: Tensor<6> = pixels.reshape([n, channels, rows, patch, columns, patch]);
        // [n, rows, columns, channels, patch row, patch column]: the order of the weight's elements
        let patches = patches.permute([0, 2, 4, 1, 3, 5]).reshape([n * rows * columns, area]);
        let bias = self.bias.as_ref().map(|bias| bias.val());
        let features = linear(patches, weight.reshape([hidden, area]).transpose(), bias);
        features.reshape([n, rows * columns, hidden])
    }
}

/// Checks the shape of `pixel_values` against the tower's picture.
pub(super) fn check_pixels(pixels: &Tensor<4>, channels: usize, size: usize) -> Result<(), ModelError> {
    let found = pixels.dims();
    if found[1..] == [channels, size, size] && found[0] > 0 {
        Ok(())
    } else {
        Err(ModelError::Pixels { found, channels, size })
    }
}

/// Checks pixels of any size, for interpolated positions.
pub(super) fn check_any_pixels(pixels: &Tensor<4>, channels: usize, patch: usize) -> Result<(), ModelError> {
    let found = pixels.dims();
    if found[0] > 0 && found[1] == channels && found[2] >= patch && found[3] >= patch {
        Ok(())
    } else {
        let text = format!(
            "pixel_values have the shape {found:?}, the vision tower takes [n, {channels}, height, width] with sides of at \
             least a patch, {patch} pixels"
        );
        Err(ModelError::Input(text))
    }
}

/// Checks the sizes that every vision tower has.
pub(super) fn check_sizes(
    model: &'static str,
    hidden: usize,
    heads: usize,
    image: usize,
    patch: usize,
) -> Result<(), ModelError> {
    check_heads(model, hidden, heads)?;
    if patch == 0 || patch > image {
        return Err(ModelError::config(model, "patch_size", patch, format!("1..={image} (image_size)")));
    }
    Ok(())
}

//! From the pixels of pictures and videos to features, or straight to the decoder's tokens.
//!
//! Unusual here: [`Vlm::media_tokens`] takes a few views at a time through tower, connector and pooling, so that what is held grows with
//! the tokens that the decoder will read and with nothing else. Training needs the features of all frames instead
//! ([`Vlm::encode_media`]): they may have been computed before, and the connector behind them learns.

use burn::tensor::Tensor;

use super::{Medium, Packing, VisualFeatures, Vlm};
use crate::connector::Projector;
use crate::error::ModelError;
use crate::vision::VisionTower;

/// Views that take the way together unless [`Vlm::images_per_chunk`] says otherwise: enough to keep a tower busy on frames of 384
/// pixels, 3,000 patches, and few enough that what they leave behind is small beside a decoder.
const VIEWS_PER_CHUNK: usize = 4;

impl<T: VisionTower, P: Projector> Vlm<T, P> {
    /// The features of pictures and videos, all views in one stack, with the packing that makes visual tokens of them behind the
    /// connector. As [`Self::encode_images`], [`images_per_chunk`](Self::images_per_chunk) views at a time.
    ///
    /// # Shapes
    /// - `pixels`: `[views, channels, image_size, image_size]`: of each of `media`, in the order of their places in the ids, its tiles
    ///   (the base tile, then the grid row by row) or frames
    ///
    /// # Errors
    /// [`ModelError::Pixels`] for another shape; [`ModelError::Input`] where pixels and media do not fit, and as
    /// [`VlmConfig::pack`](super::VlmConfig::pack).
    pub fn encode_media(&self, pixels: Tensor<4>, media: &[Medium]) -> Result<VisualFeatures, ModelError> {
        self.check_tiled()?;
        let packing = self.config.pack(media)?;
        packing.check_views(pixels.dims()[0], self.config.num_visual_tokens())?;
        Ok(VisualFeatures { features: Some(self.encode_images(pixels)?), packing: Some(packing), tokens: None })
    }

    /// As [`Self::encode_media`], through the connector and pooled as well, a few views at a time: what stands in the places of the
    /// visual tokens. For a model that is not trained: gradients would keep everything alive.
    ///
    /// # Errors
    /// As [`Self::encode_media`] and [`Self::connect`].
    pub fn media_tokens(&self, pixels: Tensor<4>, media: &[Medium]) -> Result<VisualFeatures, ModelError> {
        self.check_tiled()?;
        let packing = self.config.pack(media)?;
        packing.check_views(pixels.dims()[0], self.config.num_visual_tokens())?;
        let (mut tiles, mut frames) = (Vec::new(), Vec::new());
        for (run, are_frames) in packing.runs() {
            let views = pixels.clone().narrow(0, run.start, run.len());
            if are_frames {
                frames.extend(self.views(views, |features| Ok(packing.pool(self.connect(features, None)?)))?);
            } else {
                tiles.extend(self.views(views, |features| self.connect(features, None))?);
            }
        }
        self.joined(packing, tiles, frames)
    }

    /// The tokens of tiles, one by one.
    ///
    /// # Shapes
    /// - `pixels`: `[tiles, channels, image_size, image_size]`
    /// - returns `[tiles, num_visual_tokens, hidden]`
    ///
    /// # Errors
    /// As [`Self::encode_images`] and [`Self::connect`].
    pub fn encode_tiles(&self, pixels: Tensor<4>) -> Result<Tensor<3>, ModelError> {
        one(self.views(pixels, |features| self.connect(features, None))?)
    }

    /// The tokens of a video's frames, pooled. A long video need not be there as a whole: frames are independent of each other.
    ///
    /// # Shapes
    /// - `pixels`: `[frames, channels, image_size, image_size]`
    /// - returns `[frames, pooled_side * pooled_side, hidden]`, see [`VlmConfig::frame_tokens`](super::VlmConfig::frame_tokens)
    ///
    /// # Errors
    /// As [`Self::encode_images`] and [`Self::connect`]; [`ModelError::Input`] for a model without videos.
    pub fn encode_frames(&self, pixels: Tensor<4>) -> Result<Tensor<3>, ModelError> {
        let frames = pixels.dims()[0];
        let packing = self.config.pack(&[Medium::Video { frames }])?;
        one(self.views(pixels, |features| Ok(packing.pool(self.connect(features, None)?)))?)
    }

    /// Tokens from [`Self::encode_tiles`] and [`Self::encode_frames`] as those of pictures and videos.
    ///
    /// # Shapes
    /// - `media`: in the order of their places in the ids
    /// - `tiles`, `frames`: of all pictures and of all videos, each in that order, in any pieces
    ///
    /// # Errors
    /// [`ModelError::Input`] for tokens of other media, and as [`VlmConfig::pack`](super::VlmConfig::pack).
    pub fn join_tokens(
        &self,
        media: &[Medium],
        tiles: Vec<Tensor<3>>,
        frames: Vec<Tensor<3>>,
    ) -> Result<VisualFeatures, ModelError> {
        self.joined(self.config.pack(media)?, tiles, frames)
    }

    fn joined(
        &self,
        packing: Packing,
        tiles: Vec<Tensor<3>>,
        frames: Vec<Tensor<3>>,
    ) -> Result<VisualFeatures, ModelError> {
        let dtype = tiles.iter().chain(&frames).next().map(Tensor::dtype);
        let newline = self.image_newline.as_ref().zip(dtype).map(|(newline, dtype)| newline.val().cast(dtype));
        let tokens = packing.assemble(tiles, frames, newline)?;
        Ok(VisualFeatures { features: None, packing: Some(packing), tokens: Some(tokens) })
    }

    /// Pixels to tokens, a few views at a time and in one piece each time.
    fn views(
        &self,
        pixels: Tensor<4>,
        connect: impl Fn(Tensor<3>) -> Result<Tensor<3>, ModelError>,
    ) -> Result<Vec<Tensor<3>>, ModelError> {
        let views = pixels.dims()[0];
        let step = self.images_per_chunk.unwrap_or(VIEWS_PER_CHUNK).max(1);
        let chunk = |first: usize| {
            let pixels = pixels.clone().narrow(0, first, step.min(views - first));
            connect(self.encode_images(pixels)?)
        };
        (0..views).step_by(step).map(chunk).collect()
    }

    fn check_tiled(&self) -> Result<(), ModelError> {
        if self.config.is_tiled() {
            return Ok(());
        }
        Err(ModelError::Input("this model has neither tiles nor videos: encode_images takes its pictures".into()))
    }
}

/// Pieces as one tensor.
fn one(mut pieces: Vec<Tensor<3>>) -> Result<Tensor<3>, ModelError> {
    match pieces.len() {
        0 => Err(ModelError::Input("no pixels to make visual tokens of".into())),
        1 => Ok(pieces.remove(0)),
        _ => Ok(Tensor::cat(pieces, 0)),
    }
}

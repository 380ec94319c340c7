//! LLaVA-OneVision beside LLaVA-NeXT: videos, the largest size of a picture's grid, and which pictures are tiled.
//!
//! Unusual here:
//! - a video's frames are pooled behind the connector, not before it;
//! - whether a picture is tiled depends on its neighbours in the conversation;
//! - the place of a video may be marked by the image token, as in the code that trained these models.

use burn_vlm_base::onevision::{self, DEFAULT_ASPECT_RATIO, DEFAULT_STRIDE, FrameTokens};
pub use burn_vlm_base::onevision::{NewlinePosition, PoolMode, default_pinpoints};

use super::{Vlm, VlmConfig, VlmType};
use crate::connector::Projector;
use crate::error::ModelError;
use crate::vision::VisionTower;

/// Whether a key need not be written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// As [`is_default`], of the stride.
pub(super) fn is_default_stride(stride: &usize) -> bool {
    *stride == DEFAULT_STRIDE
}

impl VlmConfig {
    /// How a frame becomes visual tokens.
    pub fn frame_tokens(&self) -> FrameTokens {
        FrameTokens {
            side: self.tile_side(),
            mode: self.mm_spatial_pool_mode,
            stride: self.mm_spatial_pool_stride,
            newline: self.mm_newline_position,
        }
    }

    /// Visual tokens of a video of `frames` frames: as many video tokens belong in the ids.
    ///
    /// # Errors
    /// [`ModelError::Input`] for no frames, and for a model without videos.
    pub fn num_video_tokens(&self, frames: usize) -> Result<usize, ModelError> {
        self.check_video(frames)?;
        Ok(self.frame_tokens().of_video(frames))
    }

    pub(super) fn check_video(&self, frames: usize) -> Result<(), ModelError> {
        if !self.takes_videos() {
            return Err(ModelError::Input("this model takes no videos: model_type is not llava_onevision".into()));
        }
        if frames == 0 { Err(ModelError::Input("a video without frames".into())) } else { Ok(()) }
    }

    /// How many tiles' tokens a picture's grid may have; `None` for any number.
    pub fn max_tiles(&self) -> Option<usize> {
        let named = self.vision_aspect_ratio.as_deref().unwrap_or(DEFAULT_ASPECT_RATIO);
        // `validate` refuses other words.
        if self.takes_videos() { onevision::max_tiles(named).ok().flatten() } else { None }
    }

    /// Whether the pictures of a conversation with this many are tiled. Those that are not are padded to a square of the mean colour,
    /// one view and one newline each. Videos beside a picture count for nothing.
    pub fn tiles_images(&self, pictures: usize) -> bool {
        self.is_tiled() && (pictures == 1 || self.tiles_every_image())
    }

    /// Whether a picture is tiled that is not the only one of its conversation: `tile_every_image`, or, where that is absent, whether
    /// `transformers_version` is absent or below 4.53; always in LLaVA-NeXT.
    pub fn tiles_every_image(&self) -> bool {
        !self.takes_videos()
            || self
                .tile_every_image
                .unwrap_or_else(|| onevision::tiles_every_image(self.transformers_version.as_deref()))
    }

    /// The ids that mark places of visual tokens: that of pictures and, where it has one of its own, that of videos.
    pub fn visual_ids(&self) -> Vec<i64> {
        let video = self.video_token_index.filter(|id| self.takes_videos() && *id != self.image_token_index);
        [Some(self.image_token_index), video].into_iter().flatten().collect()
    }

    /// The configuration of the same model for videos too, as TowerVideo's of TowerVision's. Pictures are tiled as they were, up to nine
    /// tiles' tokens a picture; one that had a single square view has that and one tile.
    pub fn for_videos(self, video_token_index: Option<i64>) -> Self {
        let size = self.vision_config.image_size();
        let pinpoints = if self.is_tiled() { self.pinpoints() } else { vec![(size, size)] };
        Self {
            model_type: VlmType::LlavaOnevision,
            image_grid_pinpoints: Some(pinpoints),
            video_token_index,
            tile_every_image: Some(self.tiles_every_image()),
            vision_aspect_ratio: self.vision_aspect_ratio.or_else(|| Some(DEFAULT_ASPECT_RATIO.into())),
            ..self
        }
    }

    pub(super) fn validate_onevision(&self) -> Result<(), ModelError> {
        let error = |key, value: String, expected: String| Err(ModelError::config("vlm", key, value, expected));
        if let Some(id) = self.video_token_index.filter(|id| *id < 0) {
            return error("video_token_index", id.to_string(), "a token id".into());
        }
        if let Some(named) = &self.vision_aspect_ratio
            && let Err(expected) = onevision::max_tiles(named)
        {
            return error("vision_aspect_ratio", named.clone(), expected.into());
        }
        let (side, stride) = (self.tile_side(), self.mm_spatial_pool_stride);
        if !(1..=side).contains(&stride) {
            let expected = format!("from 1 to {side}, the side of a frame in tokens");
            return error("mm_spatial_pool_stride", stride.to_string(), expected);
        }
        Ok(())
    }
}

impl<T: VisionTower, P: Projector> Vlm<T, P> {
    /// The same model for videos too, see [`VlmConfig::for_videos`]. Its newline stays; one that had none gets a new one.
    ///
    /// # Errors
    /// As [`Self::from_parts`].
    pub fn for_videos(self, video_token_index: Option<i64>) -> Result<Self, ModelError> {
        let config = self.config.for_videos(video_token_index);
        let model = Self::from_parts(self.vision_tower, self.multi_modal_projector, self.language_model, &config)?;
        let image_newline = self.image_newline.or(model.image_newline);
        Ok(Self { image_newline, images_per_chunk: self.images_per_chunk, ..model })
    }
}

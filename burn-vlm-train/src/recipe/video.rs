//! `[video]`: how a recipe's stages show videos, and whether the model is made one that takes them.

use std::path::PathBuf;

use burn_vlm_data::video::{Sampling, VideoOptions, VideoSettings};
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};

/// How videos are shown in all stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VideoRecipe {
    /// Makes a model that takes videos of one that takes none: as TowerVideo's from TowerVision's, with a token of videos, pooled frames
    /// and one newline behind a video. Without it such a model is shown a video as so many pictures.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub extend_model: bool,
    /// Which frames of a file are shown: `{ rule = "linspace", frames = 32 }`, `{ rule = "fps", fps = 1.0, upper_bound = 32 }`, ...
    pub sampling: Sampling,
    /// A folder where resized frames are kept, from the folder of the recipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
    /// The most megabytes of that folder.
    #[serde(skip_serializing_if = "is_default_megabytes")]
    pub cache_megabytes: u64,
    /// Words before English questions that say how long the video is and when its frames are.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub time_instruction: bool,
    /// How files are read: limits, the colour below transparent pixels, the programs.
    #[serde(skip_serializing_if = "is_default_reading")]
    pub reading: VideoOptions,
}

fn is_default_megabytes(megabytes: &u64) -> bool {
    *megabytes == VideoSettings::default().cache_megabytes
}

fn is_default_reading(reading: &VideoOptions) -> bool {
    *reading == VideoOptions::default()
}

impl Default for VideoRecipe {
    fn default() -> Self {
        let VideoSettings { sampling, cache, cache_megabytes, time_instruction, reading } = VideoSettings::default();
        Self { extend_model: false, sampling, cache, cache_megabytes, time_instruction, reading }
    }
}

impl VideoRecipe {
    /// How videos are shown.
    pub fn settings(&self) -> VideoSettings {
        let Self { sampling, cache, cache_megabytes, time_instruction, reading, .. } = self.clone();
        VideoSettings { sampling, cache, cache_megabytes, time_instruction, reading }
    }

    /// What decides on weights: all but where frames are kept.
    pub(crate) fn fingerprint(&self) -> String {
        let Self { extend_model, sampling, time_instruction, reading, .. } = self;
        let (background, turn, fps) = (reading.background, reading.turn, reading.folder_fps);
        format!("{extend_model} {sampling:?} {time_instruction} {background:?} {turn} {fps:?}")
    }

    pub(super) fn check(&self) -> Result<()> {
        self.sampling.check().map_err(|error| TrainError::Recipe(format!("[video] sampling: {error}")))?;
        if self.cache.is_some() && self.cache_megabytes == 0 {
            return Err(TrainError::Recipe(
                "[video]: `cache_megabytes` must be at least 1 where there is a `cache`".into(),
            ));
        }
        Ok(())
    }
}

//! `[video]`: how a recipe's stages show videos, and whether the model is made one that takes them.

use std::path::PathBuf;

use burn_vlm_data::video::{Sampling, VideoLimits, VideoOptions, VideoSettings};
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
        let mut text = format!("{extend_model} {sampling:?} {time_instruction} {background:?} {turn} {fps:?}");
        // What is beyond a limit is left out, and another sample drawn. Threads change no pixel.
        let limits = VideoLimits { threads: 1, ..reading.limits };
        if limits != VideoLimits::default() {
            text.push_str(&format!(" {limits:?}"));
        }
        text
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

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(text: &str) -> VideoRecipe {
        toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// What may change weights is in the fingerprint, what may not is not.
    #[test]
    fn the_fingerprint_has_what_decides_on_weights() {
        let plain = recipe("").fingerprint();
        for other in [
            "sampling = { rule = 'linspace', frames = 4 }",
            "time_instruction = true",
            "reading = { limits = { max_frames = 10 } }",
            "reading = { limits = { seconds = 1.0 } }",
            "reading = { background = [0, 0, 0] }",
        ] {
            assert_ne!(recipe(other).fingerprint(), plain, "{other}");
        }
        for same in ["cache = 'frames'", "reading = { limits = { threads = 4 } }", "cache_megabytes = 7"] {
            assert_eq!(recipe(same).fingerprint(), plain, "{same}");
        }
    }

    /// A rule that is written otherwise than as a table is told how it is written.
    #[test]
    fn a_rule_is_a_table() {
        for (wrong, word) in [
            ("sampling = 'linspace'", "{ rule = \"linspace\", frames = 32 }"),
            ("sampling = 8", "{ rule = \"linspace\", frames = 32 }"),
            ("sampling = { frames = 8 }", "rule"),
            ("sampling = { rule = 'linspac', frames = 8 }", "linspace"),
        ] {
            let error = toml::from_str::<VideoRecipe>(wrong).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("internally tagged"), "{wrong}: {error}");
        }
        let read = recipe("sampling = { rule = 'fps', fps = 2.0, upper_bound = 8 }");
        assert_eq!(read.sampling, Sampling::Fps { fps: 2.0, upper_bound: Some(8), force: false });
        let again: VideoRecipe = toml::from_str(&toml::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
    }
}

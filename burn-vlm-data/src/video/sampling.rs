//! Which frames are shown: rules by name.
//!
//! Unusual here: the rules are those of different programs, down to their rounding. Three of them are one library's.

use super::{DEFAULT_FRAMES, FrameSource, VideoError};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// The most frames that are chosen of one video.
pub const MAX_CHOSEN: usize = 4096;

/// A rule that chooses frames.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "rule")]
pub enum Sampling {
    /// `np.linspace(0, total - 1, frames, dtype=int)`: first and last frame and what is evenly between them, as lmms-eval and the forced
    /// sampling of LLaVA-NeXT's training code; frames are repeated where there are fewer.
    #[serde(rename = "linspace")]
    Linspace {
        /// Number of frames.
        frames: usize,
    },
    /// Every `round(average rate / fps)`-th frame, and `linspace` where these are more than the bound: LLaVA-NeXT's training code
    /// (`video_fps`, `frames_upbound`, `force_sample`).
    #[serde(rename = "fps")]
    Fps {
        /// Frames a second of the video.
        fps: f64,
        /// The most frames; none where absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        upper_bound: Option<usize>,
        /// Always as many frames as the bound.
        force: bool,
    },
    /// `k * total // frames`: `load_video` of transformers 5; an error where there are fewer frames.
    #[serde(rename = "transformers-5")]
    Transformers5 {
        /// Number of frames.
        frames: usize,
    },
    /// `np.arange(0, total, total / frames, dtype=int)`: `load_video` of transformers 4, whose step is cut to a whole number; all are the
    /// first frame where there are fewer.
    #[serde(rename = "transformers-4")]
    Transformers4 {
        /// Number of frames.
        frames: usize,
    },
}

/// A rule as a file has it: the same words, read by what serde derives.
#[derive(Deserialize)]
#[serde(tag = "rule", deny_unknown_fields)]
enum Written {
    #[serde(rename = "linspace")]
    Linspace { frames: usize },
    #[serde(rename = "fps")]
    Fps {
        fps: f64,
        #[serde(default)]
        upper_bound: Option<usize>,
        #[serde(default)]
        force: bool,
    },
    #[serde(rename = "transformers-5")]
    Transformers5 { frames: usize },
    #[serde(rename = "transformers-4")]
    Transformers4 { frames: usize },
}

impl From<Written> for Sampling {
    fn from(written: Written) -> Self {
        match written {
            Written::Linspace { frames } => Self::Linspace { frames },
            Written::Fps { fps, upper_bound, force } => Self::Fps { fps, upper_bound, force },
            Written::Transformers5 { frames } => Self::Transformers5 { frames },
            Written::Transformers4 { frames } => Self::Transformers4 { frames },
        }
    }
}

/// What is no table is told what is expected.
impl<'de> Deserialize<'de> for Sampling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Sampling;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a table with the rule and what it needs, such as { rule = \"linspace\", frames = 32 } or \
                     { rule = \"fps\", fps = 1.0, upper_bound = 32 }",
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Sampling, A::Error> {
                Written::deserialize(MapAccessDeserializer::new(map)).map(Sampling::from)
            }
        }
        deserializer.deserialize_map(Table)
    }
}

impl Sampling {
    /// The rule's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linspace { .. } => "linspace",
            Self::Fps { .. } => "fps",
            Self::Transformers5 { .. } => "transformers-5",
            Self::Transformers4 { .. } => "transformers-4",
        }
    }

    /// Number of chosen frames, where it is the same for every video. `transformers-4` may choose one more than it was asked for, by
    /// rounding: 8 of 17 frames for 7.
    pub fn frames(&self) -> Option<usize> {
        match *self {
            Self::Linspace { frames } | Self::Transformers5 { frames } => Some(frames),
            Self::Transformers4 { .. } => None,
            Self::Fps { upper_bound, force, .. } => upper_bound.filter(|_| force),
        }
    }

    /// How many frames it chooses of a video, without decoding it where its container tells.
    ///
    /// # Errors
    /// A video that cannot be read, or has too few frames for the rule.
    pub fn count(&self, source: &mut dyn FrameSource) -> Result<usize, VideoError> {
        let name = source.name().to_owned();
        let info = source.info()?;
        Ok(self.indices(&name, info.decoded.unwrap_or(info.frames), info.fps)?.len())
    }

    /// The most frames that it chooses of a video of any length; those of `fps` without a bound are taken to be [`DEFAULT_FRAMES`].
    pub fn most_frames(&self) -> usize {
        match *self {
            Self::Linspace { frames } | Self::Transformers5 { frames } | Self::Transformers4 { frames } => frames,
            Self::Fps { upper_bound, .. } => upper_bound.unwrap_or(DEFAULT_FRAMES),
        }
    }

    /// Checks that the rule can choose.
    ///
    /// # Errors
    /// No frames, more than [`MAX_CHOSEN`], a rate that is not positive, a forced number that is not given.
    pub fn check(&self) -> Result<(), VideoError> {
        let wrong =
            |key, expected: &str, found: String| Err(VideoError::Rule { key, expected: expected.to_owned(), found });
        let possible = |frames: usize| (1..=MAX_CHOSEN).contains(&frames);
        match *self {
            Self::Linspace { frames } | Self::Transformers5 { frames } | Self::Transformers4 { frames } => {
                if !possible(frames) {
                    return wrong("frames", "a number from 1 to 4096", frames.to_string());
                }
            }
            Self::Fps { fps, upper_bound, force } => {
                if !(fps.is_finite() && fps > 0.0) {
                    return wrong("fps", "a positive number", fps.to_string());
                }
                if upper_bound.is_some_and(|bound| !possible(bound)) || (force && upper_bound.is_none()) {
                    let expected = "a number from 1 to 4096 (needed where the number of frames is forced)";
                    return wrong("upper_bound", expected, format!("{upper_bound:?}"));
                }
            }
        }
        Ok(())
    }

    /// The chosen frames of a video of `total` frames, in order, some perhaps more than once. `fps` is the average rate.
    ///
    /// # Errors
    /// As [`Self::check`]; no frames at all, fewer than the rule needs, an unknown rate where the rule needs it, more than [`MAX_CHOSEN`].
    /// `name` says which video.
    pub fn indices(&self, name: &str, total: usize, fps: Option<f64>) -> Result<Vec<usize>, VideoError> {
        self.check()?;
        if total == 0 {
            return Err(VideoError::NoFrames { name: name.to_owned(), said: String::new() });
        }
        match *self {
            Self::Linspace { frames } => Ok(linspace(total, frames)),
            Self::Transformers5 { frames } if frames > total => {
                Err(VideoError::TooFew { name: name.to_owned(), rule: self.name(), asked: frames, frames: total })
            }
            Self::Transformers5 { frames } => Ok((0..frames).map(|number| number * total / frames).collect()),
            Self::Transformers4 { frames } => {
                let step = total as f64 / frames as f64;
                // numpy counts with the step as it is, and then steps by what is left of it as a whole number.
                let count = (total as f64 / step).ceil() as usize;
                Ok((0..count).map(|number| number * step as usize).collect())
            }
            Self::Fps { fps: wanted, upper_bound, force } => {
                let Some(rate) = fps else {
                    return Err(VideoError::NoRate { name: name.to_owned(), rule: self.name(), fps: wanted });
                };
                let step = step(rate, wanted);
                let count = total.div_ceil(step);
                match upper_bound {
                    Some(bound) if force || count > bound => Ok(linspace(total, bound)),
                    _ if count > MAX_CHOSEN => Err(VideoError::Rule {
                        key: "upper_bound",
                        expected: format!("a bound of at most {MAX_CHOSEN} frames"),
                        found: format!("none, and {count} frames of {name}"),
                    }),
                    _ => Ok((0..total).step_by(step).collect()),
                }
            }
        }
    }
}

/// Frames from one that [`Sampling::Fps`] chooses to the next. Python rounds halves to the even number. Where the training code gets 0,
/// and fails, every frame is taken.
pub(super) fn step(rate: f64, wanted: f64) -> usize {
    ((rate / wanted).round_ties_even() as usize).max(1)
}

/// numpy's, in its order of operations: its product is not always that of whole numbers.
fn linspace(total: usize, frames: usize) -> Vec<usize> {
    let last = total.saturating_sub(1);
    if frames <= 1 {
        return vec![0; frames];
    }
    let step = last as f64 / (frames - 1) as f64;
    let mut indices: Vec<usize> = (0..frames).map(|number| ((number as f64 * step) as usize).min(last)).collect();
    if let Some(end) = indices.last_mut() {
        *end = last;
    }
    indices
}

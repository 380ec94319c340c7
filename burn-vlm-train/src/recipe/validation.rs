//! `[stage.NAME.validation]`: samples that are not trained on, and what their loss decides.

use std::path::PathBuf;

use burn_vlm_data::mixture::Share;
use serde::{Deserialize, Serialize};

/// What a stage is validated on, and what follows from it. `eval_every` of the stage says how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationRecipe {
    /// The share of each source that is held out of training, by a hash of its records (of what they are about, where a source knows
    /// that, so that translations stay together; records of files are chosen one by one, also those that share a picture: hold out a `file`
    /// then). The largest share of any stage is held out of all of them. Absent, 2 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// Instead of `share`: a mixture file whose samples are all held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The most samples that are looked at, evenly from all that is held out.
    pub samples: usize,
    /// Stop after so many validations in a row without a new lowest loss; absent, never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<usize>,
    /// Go on with the weights of the lowest validation loss instead of the last ones.
    pub keep_best: bool,
}

impl ValidationRecipe {
    /// The share that is held out, where no file is.
    pub fn share(&self) -> Share {
        match self.file {
            Some(_) => Share::ZERO,
            None => self.share.unwrap_or(Share::percent(2)),
        }
    }
}

impl Default for ValidationRecipe {
    /// 2 % held out, at most 512 samples looked at, no consequences.
    fn default() -> Self {
        Self { share: None, file: None, samples: 512, early_stop: None, keep_best: false }
    }
}

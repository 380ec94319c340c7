//! `[stage.NAME.mixture]`: a stage on a user's own data.

use std::path::{Path, PathBuf};

use burn_vlm_data::batching::{Batching, Strategy};
use burn_vlm_data::encode::{MaskStyle, Truncation};
use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::plain::PromptTemplate;
use burn_vlm_data::source::{Limits, SkipLimit};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Which sources a stage draws from, and how their samples become batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureRecipe {
    /// The mixture file ([`burn_vlm_data::mixture`]), from the folder of the recipe.
    pub file: PathBuf,
    /// Keys of that file that are set otherwise here, such as `{ languages = "towervision-core-10" }`, `{ exclude_tags = ["video"] }`.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub set: toml::Table,
    /// `chat` by the backbone's template, `plain` (pictures and caption) for alignment, or `document` (a text without roles).
    #[serde(default)]
    pub template: PromptTemplate,
    /// Which tokens are trained: `answers_only`, `towervision` or `llava_next_qwen`.
    #[serde(default)]
    pub mask: MaskStyle,
    /// Conversations of more than `max_tokens`: `error` leaves them out and lists them, `count` cuts their end and counts it.
    #[serde(default)]
    pub truncation: Truncation,
    /// How a picture is laid into the tower's square.
    #[serde(default)]
    pub pictures: PictureView,
    /// How the samples of an optimizer step become micro-batches.
    #[serde(default)]
    pub batching: Batching,
    /// Light augmentation of pictures.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub augment: bool,
    /// With a frozen tower: number of views of each picture (augmented ones with `augment`, else one as it is) whose features are
    /// computed once, before the stage; 0: in every step anew. Not for tiles.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub views: usize,
    /// Features are computed once only if they take at most so many megabytes of memory, and on the disk.
    #[serde(default = "feature_megabytes", skip_serializing_if = "is_default_megabytes")]
    pub feature_megabytes: u64,
    /// What readers refuse.
    #[serde(default)]
    pub limits: Limits,
    /// How much may be left out before the run stops.
    #[serde(default)]
    pub skip_limit: SkipLimit,
    /// Megabytes of rows that are held to shuffle formats that are read in order (parquet).
    #[serde(default = "shuffle_megabytes")]
    pub shuffle_megabytes: u64,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn feature_megabytes() -> u64 {
    2048
}

fn is_default_megabytes(megabytes: &u64) -> bool {
    *megabytes == feature_megabytes()
}

fn shuffle_megabytes() -> u64 {
    64
}

/// How a picture is laid into the tower's square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureView {
    /// As the encoder's own processor does: one view, squashed to the square. With `model.from`, as that model's own processor does:
    /// squashed, padded or tiled.
    #[default]
    Square,
    /// One view, laid in the middle of a square of the mean colour (LLaVA-1.5).
    Pad,
    /// Any-resolution: the whole and its tiles, as `model.tiling` cuts them; where a sample has several pictures, one padded view
    /// of each (LLaVA-NeXT).
    Tiles,
}

impl MixtureRecipe {
    /// A mixture file with every setting at its default.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            set: toml::Table::new(),
            template: PromptTemplate::default(),
            mask: MaskStyle::default(),
            truncation: Truncation::default(),
            pictures: PictureView::default(),
            batching: Batching::default(),
            augment: false,
            views: 0,
            feature_megabytes: feature_megabytes(),
            limits: Limits::default(),
            skip_limit: SkipLimit::default(),
            shuffle_megabytes: shuffle_megabytes(),
        }
    }

    /// The mixture file, from the folder where the recipe's paths begin.
    ///
    /// # Errors
    /// A file that cannot be read, or says what no mixture can be.
    pub fn config(&self, base: &Path) -> Result<MixtureConfig> {
        Ok(MixtureConfig::from_file_with(base.join(&self.file), &self.set)?)
    }

    /// What is wrong with the table, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        let Batching { strategy, max_tokens, max_images, multiple_of } = self.batching;
        if strategy != Strategy::Sequential && max_tokens.is_none() {
            return Some("`mixture.batching` needs `max_tokens`, the budget of a micro-batch".into());
        }
        if max_tokens == Some(0) || max_images == Some(0) || multiple_of == 0 {
            return Some("`mixture.batching`: `max_tokens`, `max_images` and `multiple_of` must be at least 1".into());
        }
        if self.views > 0 && self.pictures == PictureView::Tiles {
            return Some(
                "`mixture.views` keeps features of pictures of one view; it does not go with `pictures = \"tiles\"`"
                    .into(),
            );
        }
        let trained = match self.template {
            PromptTemplate::Chat => None,
            PromptTemplate::Plain => Some(("plain", "the caption")),
            PromptTemplate::Document => Some(("document", "all of the text")),
        };
        if let Some((template, what)) = trained.filter(|_| self.mask != MaskStyle::AnswersOnly) {
            return Some(format!("`mixture.template = \"{template}\"` trains {what}; `mask` belongs to `chat`"));
        }
        None
    }
}

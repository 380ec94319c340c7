//! VisionBlocks, the mixture that TowerVision is trained on, as Table 8 of the paper lists it.
//!
//! The table does not add up: its rows have 38,229 samples more than its total. The file keeps the rows as printed, the
//! totals as printed stand in [`VISIONBLOCKS_TOTALS`], and a test holds the difference, so that neither is mistaken for
//! the other.

use super::config::MixtureConfig;
use super::error::MixtureConfigError;
use std::path::Path;

/// The mixture file.
pub const VISIONBLOCKS_TOML: &str = include_str!("../../data/mixtures/visionblocks.toml");

/// The last three lines of Table 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisionBlocksTotals {
    /// "Total (English)".
    pub english: u64,
    /// "Total (Multilingual)".
    pub multilingual: u64,
    /// "Overall Total".
    pub all: u64,
}

/// The totals that the paper prints. Its rows add up to 4,020,860, 2,330,655 and 6,351,515.
pub const VISIONBLOCKS_TOTALS: VisionBlocksTotals =
    VisionBlocksTotals { english: 3_982_630, multilingual: 2_330_656, all: 6_313_286 };

/// VisionBlocks with its data files under `root`.
///
/// Tags: `public`, `synthetic`, `translated` (the table's own), `english` or `multilingual` (which total a row counts in),
/// `video`, `text`. Image finetuning excludes `video`.
///
/// # Errors
/// None in practice: the file is a constant.
pub fn visionblocks(root: impl AsRef<Path>) -> Result<MixtureConfig, MixtureConfigError> {
    MixtureConfig::from_toml(VISIONBLOCKS_TOML, &root.as_ref().join("visionblocks.toml"))
}

//! Mixtures: which sources are trained on, how many samples of each in each language, and in which order.
//!
//! A mixture is a TOML file:
//!
//! ```toml
//! seed = 1
//! total = 1_000_000                  # samples of an epoch; absent: all
//! languages = "towervision-20"       # or ["en", "de"], or { set = "towervision-20", english = "50%" }
//! exclude_tags = ["video"]
//!
//! [[source]]
//! name = "pixmo-cap"
//! path = "pixmo_cap.json"            # also {a,b}.json, shard-{000..127}.tar
//! format = "llava_json"              # llava_jsonl, parquet, webdataset, vlmevalkit_tsv
//! image_root = "images"
//! language = "en"                    # or language_column = "lang"
//! take = "random:10%"                # first:N, end:N, random:N, a percentage, all
//! tags = ["public"]
//! ```
//!
//! Without `total`, `languages` and weights every sample is drawn once. `languages` gives each language its share (equal
//! ones, or `english` fixed and the rest equal); within a language the sources count as they have samples, or by their
//! `weight`. Without `languages` the weights divide `total` among the sources. Too few samples are an error that names
//! what lacks, unless `allow_repeats`.
//!
//! So the papers' comparisons are one line each: `languages = "towervision-core-10"` or `"towervision-20"` under the same
//! `total`; `languages = "en"` or `{ set = "towervision-20", english = "50%" }`.
//!
//! [`open_mixture`](crate::source::open_mixture) makes a stream of it: it opens the sources that [`MixtureConfig::active`] lets in,
//! chooses by each one's `take`, counts by language, and draws what the [`Plan`] says ([`Cell::draw`], [`Cell::copies`]). Samples
//! of an unknown language are bad data, those without any count as `None`.

mod amount;
mod apportion;
mod config;
mod error;
mod languages;
mod plan;
mod summary;
mod take;
mod visionblocks;

pub use amount::{Share, Weight};
pub use apportion::largest_remainder;
pub use config::{MixtureConfig, SourceConfig, SourceFormat};
pub use error::{MixtureConfigError, PlanError, Shortage};
pub use languages::{Balance, LanguageRatios};
pub use plan::{Cell, Drawn, LanguageCounts, Plan};
pub use summary::{PlanSummary, PlannedDraws};
pub use take::{Amount, Selection, Take, TakesTooMany};
pub use visionblocks::{VISIONBLOCKS_TOML, VISIONBLOCKS_TOTALS, VisionBlocksTotals, visionblocks};

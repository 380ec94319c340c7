//! From outcomes to what a reader sees: `summary.json`, tables, plots and `report.html`.
//!
//! - [`StudySpec`] says what a study is called and how its numbers are grouped; [`summarise`] turns outcomes into a
//!   [`Summary`], the serde type of `summary.json`;
//! - [`write_report`] writes every file of a result, each whole or not at all; [`markdown`], [`csv`], [`html`] and [`charts`]
//!   make single ones;
//! - [`index_html`] is one page over several studies, made of what each has written for it;
//! - [`evaluation_html`] and [`compare_html`] are pages of an evaluation outside any study, and of two;
//! - charts are written as SVG by a small layout of our own ([`Chart`]) and turned into PNG with an embedded font, so they
//!   look the same on every machine.

mod ability;
mod charts;
mod citation;
mod contrasts;
mod csv;
mod curves;
mod error;
mod evaluation;
mod example;
mod font;
mod heatmap;
mod html;
mod index;
mod latex;
mod layout;
mod markdown;
mod page;
mod palette;
mod panels;
mod scatter;
mod scores;
mod section;
mod spec;
mod stages;
mod summary;
mod svg;
mod table;
mod words;
mod write;

pub use ability::{
    ALL as ALL_LANGUAGES, BEFORE, Measure, TextDifference, TextEstimate, TextMeasurement, TextSummary, text_summary,
};
pub use charts::{Chart, LossSeries, charts};
pub use citation::{paper_entry, software_entry};
pub use csv::{csv, differences_csv};
pub use curves::{LossPanel, loss_curves};
pub use error::ReportError;
pub use evaluation::{
    CompareReport, EvaluationReport, EvaluationScore, Pictures, compare_html, comparison_markdown, evaluation_html,
    evaluation_scores, scores_csv,
};
pub use example::{Example, ExampleAnswer, ExamplePicture};
pub use html::{ReportInput, html};
pub use index::{CARD, Card, CardPaper, CardPicture, IndexEntry, Progress, index_html, index_markdown};
pub use latex::latex;
pub(crate) use markdown::duration;
pub use markdown::markdown;
pub(crate) use panels::{percent_share, signed, signed_by};
pub use scores::{ModelScore, model_scores, model_scores_markdown};
pub use section::{Changes, HeatMap, Scatter, ScatterPoint, Section};
pub use spec::{Axis, AxisValue, Column, Paper, PaperRow, StudySpec};
pub use stages::StageSummary;
pub use summary::{Difference, Over, PaperOrder, Provenance, Score, Summary, Test, Timing, blind_scores, summarise};
pub(crate) use words::over_scores;
pub use write::write_report;

#[cfg(test)]
pub(crate) mod tests;

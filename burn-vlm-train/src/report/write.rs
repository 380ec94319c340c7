//! All files of a study's result.

use std::path::{Path, PathBuf};

use burn_vlm_base::files::write_atomic;

use super::charts::charts;
use super::html::html_with;
use super::index::{CARD, Card};
use super::{ReportError, ReportInput, Section, Summary, csv, differences_csv, latex, markdown};

impl Summary {
    /// The bytes of `summary.json`: the same summary always gives the same bytes.
    ///
    /// # Errors
    /// None that input can trigger; a defect is reported as such.
    pub fn to_json(&self) -> Result<Vec<u8>, ReportError> {
        let failed = |error: serde_json::Error| ReportError::Internal {
            what: "summary.json".to_owned(),
            reason: error.to_string(),
        };
        let mut json = serde_json::to_vec_pretty(self).map_err(failed)?;
        json.push(b'\n');
        Ok(json)
    }
}

/// Writes `summary.json`, `summary.csv`, `differences.csv`, `summary.tex`, `summary.md`, `plots/*.svg`, `plots/*.png`, `report.html` and its [`Card`] into a folder, each
/// atomically, and returns their paths. `summary.json` comes last: where it stands, the others stand too.
///
/// # Errors
/// A file that cannot be written; those written before it stay.
pub fn write_report(folder: &Path, input: &ReportInput<'_>) -> Result<Vec<PathBuf>, ReportError> {
    let charts = charts(input.spec, input.summary, input.losses);
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for chart in charts.iter().chain(input.sections.iter().flat_map(Section::charts)) {
        files.push((format!("plots/{}.svg", chart.name), chart.wide.clone().into_bytes()));
        files.push((format!("plots/{}.png", chart.name), chart.png()?));
    }
    let failed = |error: serde_json::Error| ReportError::Internal { what: CARD.to_owned(), reason: error.to_string() };
    let card = Card::new(input.spec, input.summary, &charts);
    files.push((CARD.to_owned(), serde_json::to_vec(&card).map_err(failed)?));
    files.push(("report.html".to_owned(), html_with(input, &charts).into_bytes()));
    files.push(("summary.md".to_owned(), markdown(input.spec, input.summary, input.sections, true).into_bytes()));
    files.push(("summary.tex".to_owned(), latex(input.spec, input.summary).into_bytes()));
    files.push(("summary.csv".to_owned(), csv(input.spec, input.summary)?));
    files.push(("differences.csv".to_owned(), differences_csv(input.summary)?));
    files.push(("summary.json".to_owned(), input.summary.to_json()?));
    let write = |(name, bytes): (String, Vec<u8>)| {
        let path = folder.join(name);
        write_atomic(&path, &bytes)?;
        Ok(path)
    };
    files.into_iter().map(write).collect()
}

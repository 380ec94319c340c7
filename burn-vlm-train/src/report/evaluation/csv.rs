//! `scores.csv`: every score of an evaluation on a line, for a spreadsheet or a data frame.

use super::scores::EvaluationScore;
use crate::report::ReportError;

/// The columns.
const HEAD: [&str; 10] =
    ["benchmark", "rules", "metric", "language", "category", "n", "score", "low", "high", "chance"];

/// The scores as CSV, in percent. `language` is empty for the mean over languages; `category` is `name=value`, for the benchmark's own
/// parts and for what its file files the questions under, several joined by `; `, and empty for all questions. Lines under other rules
/// than the evaluation's follow the benchmark's own.
///
/// # Errors
/// None that input can trigger; a defect is reported as such.
pub fn scores_csv(scores: &[EvaluationScore]) -> Result<Vec<u8>, ReportError> {
    let failed = |reason: String| ReportError::Internal { what: "scores.csv".to_owned(), reason };
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(HEAD).map_err(|error| failed(error.to_string()))?;
    for line in scores {
        let score = &line.score;
        let parts: Vec<String> = score.subset.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let record = [
            line.benchmark.clone(),
            line.rules.map(|rules| rules.to_string()).unwrap_or_default(),
            score.metric.clone(),
            score.language.clone().unwrap_or_default(),
            parts.join("; "),
            score.n.to_string(),
            score.score.to_string(),
            score.low.to_string(),
            score.high.to_string(),
            score.chance.map(|chance| chance.to_string()).unwrap_or_default(),
        ];
        writer.write_record(record).map_err(|error| failed(error.to_string()))?;
    }
    writer.into_inner().map_err(|error| failed(error.to_string()))
}

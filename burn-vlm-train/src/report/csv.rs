//! `summary.csv`: every score on a line, for a spreadsheet or a data frame.

use super::{ReportError, Score, StudySpec, Summary};

/// The scores as CSV. `scope` says what a line is: `column` (mean over seeds), `language` (one language, mean over seeds)
/// or `seed` (one seed). Each axis has its own column, named after it.
///
/// # Errors
/// None that input can trigger; a defect is reported as such.
pub fn csv(spec: &StudySpec, summary: &Summary) -> Result<Vec<u8>, ReportError> {
    let failed = |reason: String| ReportError::Internal { what: "summary.csv".to_owned(), reason };
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut head = vec!["scope"];
    head.extend(spec.axes.iter().map(|axis| axis.name.as_str()));
    head.extend(["column", "protocol"]);
    let facets = facets(summary);
    head.extend(facets.iter().map(String::as_str));
    head.extend(["n", "seeds", "seed", "score", "low", "high", "chance"]);
    writer.write_record(&head).map_err(|error| failed(error.to_string()))?;
    let scopes = [("column", &summary.table), ("language", &summary.languages), ("seed", &summary.cells)];
    for (scope, scores) in scopes {
        for score in scores {
            writer.write_record(line(spec, &facets, scope, score)).map_err(|error| failed(error.to_string()))?;
        }
    }
    writer.into_inner().map_err(|error| failed(error.to_string()))
}

/// Names of the parts that any benchmark has, in the order in which they are met.
fn facets(summary: &Summary) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in summary.table.iter().flat_map(|score| score.subset.iter()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn line(spec: &StudySpec, facets: &[String], scope: &str, score: &Score) -> Vec<String> {
    let optional = |value: Option<String>| value.unwrap_or_default();
    let mut line = vec![scope.to_owned()];
    line.extend(spec.axes.iter().map(|axis| optional(score.axes.get(&axis.name).cloned())));
    line.extend([score.column.clone(), score.protocol.clone()]);
    line.extend(facets.iter().map(|name| score.subset.get(name).unwrap_or_default().to_owned()));
    line.extend([
        score.n.to_string(),
        score.seeds.to_string(),
        optional(score.seed.map(|seed| seed.to_string())),
        score.score.to_string(),
        score.low.to_string(),
        score.high.to_string(),
        optional(score.chance.map(|chance| chance.to_string())),
    ]);
    line
}

//! `summary.csv` and `differences.csv`: every score, and every difference, on a line, for a spreadsheet or a data frame.

use super::{Difference, Over, ReportError, Score, StudySpec, Summary};
use crate::stats::Axes;

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
    head.extend(["n", "seeds", "seed", "score", "low", "high", "chance", "over"]);
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
        over(score.over),
    ]);
    line
}

/// What an interval is over, as `summary.json` has it.
fn over(over: Option<Over>) -> String {
    match over {
        None => "",
        Some(Over::Items) => "items",
        Some(Over::ItemsAndSeeds) => "items_and_seeds",
    }
    .to_owned()
}

/// The differences as CSV, in percentage points. `within` and `against` name the other axes' values as `axis=value`, with semicolons
/// between; `against` is empty but for interactions.
///
/// # Errors
/// None that input can trigger; a defect is reported as such.
pub fn differences_csv(summary: &Summary) -> Result<Vec<u8>, ReportError> {
    let failed =
        |error: &dyn ToString| ReportError::Internal { what: "differences.csv".into(), reason: error.to_string() };
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut head = vec!["axis", "from", "to", "within", "against", "column", "protocol"];
    let facets = facets(summary);
    head.extend(facets.iter().map(String::as_str));
    head.extend(["n", "seeds", "over", "difference", "low", "high", "excludes_zero", "standard_error", "p"]);
    head.extend(["p_holm", "family", "detectable", "seeds_for_one_point", "standard_error_of_items"]);
    writer.write_record(&head).map_err(|error| failed(&error))?;
    for difference in &summary.differences {
        writer.write_record(difference_line(&facets, difference)).map_err(|error| failed(&error))?;
    }
    writer.into_inner().map_err(|error| failed(&error))
}

fn difference_line(facets: &[String], difference: &Difference) -> Vec<String> {
    let axes = |axes: &Axes| {
        let named: Vec<String> = axes.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
        named.join(";")
    };
    let mut line = vec![
        difference.axis.clone(),
        difference.from.clone(),
        difference.to.clone(),
        axes(&difference.within),
        difference.against.as_ref().map(axes).unwrap_or_default(),
        difference.column.clone(),
        difference.protocol.clone(),
    ];
    line.extend(facets.iter().map(|name| difference.subset.get(name).unwrap_or_default().to_owned()));
    line.extend([
        difference.n.to_string(),
        difference.seeds.to_string(),
        over(difference.test.map(|test| test.over)),
        difference.difference.to_string(),
        difference.low.to_string(),
        difference.high.to_string(),
        difference.excludes_zero.to_string(),
    ]);
    match &difference.test {
        None => line.extend(std::iter::repeat_n(String::new(), 7)),
        Some(test) => line.extend([
            test.standard_error.to_string(),
            test.p.to_string(),
            test.p_holm.to_string(),
            test.family.to_string(),
            test.detectable.to_string(),
            test.seeds_for_one_point.map(|seeds| seeds.to_string()).unwrap_or_default(),
            test.standard_error_of_items.map(|error| error.to_string()).unwrap_or_default(),
        ]),
    }
    line
}

//! The scores of one model, outside any study.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::summary::{percent, round};
use crate::eval::Metric;
use crate::stats::{Bootstrap, Estimate, Outcome, Scores, StatsError, Subset, Term};

/// The widest column of the table; longer entries stand out of it. (Widths of the formatter end at 65,535.)
const WIDEST: usize = 200;

/// One score of one model, in percent: a metric, on a part of its benchmark, in a language.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelScore {
    /// The metric.
    pub metric: String,
    /// Its name in tables, with the part of the benchmark.
    pub label: String,
    /// Which part of the benchmark, one key a part; none where it has no parts.
    #[serde(flatten)]
    pub subset: Subset,
    /// Tag of the language; none for the macro mean over all languages of the metric, where there are several.
    pub language: Option<String>,
    /// Number of questions it rests on.
    pub n: usize,
    /// The score.
    pub score: f64,
    /// Lower end of the 95 % interval over what is asked about.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The score of guessing; none where guessing means nothing.
    pub chance: Option<f64>,
}

/// Scores of the outcomes of one run, in the order of `metrics`; each language alone, and the mean over them.
///
/// # Errors
/// No outcome, or a score outside `0..=1`.
pub fn model_scores<'a>(
    metrics: &[Metric],
    outcomes: impl IntoIterator<Item = &'a Outcome>,
    bootstrap: &Bootstrap,
) -> Result<Vec<ModelScore>, StatsError> {
    let scores = Scores::collect(outcomes)?;
    let place = |name: &str| metrics.iter().position(|metric| metric.name == name);
    let mut groups: Vec<_> = scores.groups().collect();
    // Stable: parts of a metric keep their order.
    groups.sort_by_key(|(key, _)| place(&key.protocol).unwrap_or(usize::MAX));
    let mut table = Vec::new();
    for (key, group) in groups {
        let metric = place(&key.protocol).and_then(|at| metrics.get(at));
        let name = metric.map_or(key.protocol.as_str(), |metric| metric.label.as_str()).to_owned();
        let label = std::iter::once(name).chain(key.subset.words()).collect::<Vec<_>>().join(", ");
        let resampled = group.resample(bootstrap);
        let runs: Vec<usize> = (0..group.runs().len()).collect();
        let term = Term { weight: 1.0, runs };
        let mut row = |language: Option<String>, languages: &[usize]| {
            let estimate = resampled.estimate(std::slice::from_ref(&term), languages);
            table.extend(estimate.map(percent).map(|Estimate { value, low, high }| ModelScore {
                metric: key.protocol.clone(),
                label: label.clone(),
                subset: key.subset.clone(),
                language,
                n: languages.iter().map(|&language| group.questions(language)).sum(),
                score: value,
                low,
                high,
                chance: metric.and_then(|metric| metric.chance).map(round),
            }));
        };
        for (number, tag) in group.languages().iter().enumerate() {
            row(Some(tag.clone()), &[number]);
        }
        if group.languages().len() > 1 {
            row(None, &(0..group.languages().len()).collect::<Vec<_>>());
        }
    }
    Ok(table)
}

/// The scores as a Markdown table, columns padded so that it reads in a terminal too.
pub fn model_scores_markdown(scores: &[ModelScore]) -> String {
    let heading = ["Benchmark", "Language", "N", "Score", "95 % interval", "Chance"].map(str::to_owned).to_vec();
    let rows = scores.iter().map(|score| {
        vec![
            score.label.clone(),
            score.language.clone().unwrap_or_else(|| "mean".to_owned()),
            score.n.to_string(),
            format!("{:.1}", score.score),
            format!("{:.1}–{:.1}", score.low, score.high),
            score.chance.map_or_else(|| "–".to_owned(), |chance| format!("{chance:.1}")),
        ]
    });
    padded(&std::iter::once(heading).chain(rows).collect::<Vec<_>>(), 2)
}

/// A Markdown table whose first line is its heading: `names` columns to the left, figures to the right.
pub(super) fn padded(lines: &[Vec<String>], names: usize) -> String {
    // What would end an entry stands within it.
    let safe = |entry: &String| entry.replace('|', "\\|").replace(['\n', '\r'], " ");
    let lines: Vec<Vec<String>> = lines.iter().map(|line| line.iter().map(safe).collect()).collect();
    let columns = lines.first().map_or(0, Vec::len);
    let mut widths = vec![0; columns];
    for line in &lines {
        for (width, text) in widths.iter_mut().zip(line) {
            *width = (*width).max(text.chars().count()).min(WIDEST);
        }
    }
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        // Writing to a string cannot fail.
        for (column, (entry, &width)) in line.iter().zip(&widths).enumerate() {
            let _ =
                if column < names { write!(text, "| {entry:<width$} ") } else { write!(text, "| {entry:>width$} ") };
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                text.push_str(&format!("|{}{}", "-".repeat(width + 1), if column < names { "-" } else { ":" }));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Axes;

    fn outcome(protocol: &str, language: &str, group: &str, score: f64) -> Outcome {
        Outcome {
            axes: Axes::new(),
            seed: 0,
            protocol: protocol.into(),
            subset: Subset::default(),
            language: language.into(),
            group: group.into(),
            score,
        }
    }

    #[test]
    fn each_metric_has_its_languages_and_their_mean() {
        let metric = |name: &str, chance| Metric {
            name: name.into(),
            label: format!("The {name}"),
            explanation: String::new(),
            chance,
        };
        let metrics = [metric("second", None), metric("first", Some(25.0))];
        let mut outcomes = vec![outcome("second", "und", "x", 0.5)];
        for number in 0..8 {
            let group = number.to_string();
            outcomes.push(outcome("first", "en", &group, f64::from(u8::from(number < 4))));
            outcomes.push(outcome("first", "de", &group, 1.0));
        }
        let scores = model_scores(&metrics, &outcomes, &Bootstrap::default()).unwrap();
        type Row<'a> = (&'a str, Option<&'a str>, usize, f64, Option<f64>);
        let found: Vec<Row<'_>> =
            scores.iter().map(|s| (s.metric.as_str(), s.language.as_deref(), s.n, s.score, s.chance)).collect();
        assert_eq!(
            found,
            [
                ("second", Some("und"), 1, 50.0, None),
                ("first", Some("de"), 8, 100.0, Some(25.0)),
                ("first", Some("en"), 8, 50.0, Some(25.0)),
                ("first", None, 16, 75.0, Some(25.0)),
            ]
        );
        let english = &scores[2];
        assert!(english.low < 50.0 && english.high > 50.0 && english.low > 0.0, "{english:?}");
        let table = model_scores_markdown(&scores);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 6);
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{table}");
        assert!(lines[5].starts_with("| The first  | mean     | 16 |  75.0 |"), "{table}");
        assert_eq!(model_scores(&metrics, &[], &Bootstrap::default()), Err(StatsError::NoOutcomes));
    }
}

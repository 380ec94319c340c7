//! Everything that is to be said of one column of ratings: raw agreement, marginals and chance-corrected numbers side by side, because
//! one alone misleads where a category is rare.

use std::fmt;

use serde::Serialize;

use super::chance::{Coefficient, coefficient};
use super::cohen::{Errors, cohen, light, pairs};
use super::interval::{Interval, resample};
use super::{Level, Ratings, Undefined, Weights, alpha, fleiss, percent, randolph};
use crate::resample::Resampling;

/// Labels of the marginals that a table shows; the others are summed up.
const SHOWN: usize = 12;

/// How a column is reported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReportOptions {
    /// What the labels mean to each other.
    pub level: Level,
    /// How items are resampled for the intervals.
    pub resampling: Resampling,
    /// Share of the resamples between the ends of an interval.
    pub confidence: f64,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self { level: Level::Nominal, resampling: Resampling { seed: 0, ..Resampling::default() }, confidence: 0.95 }
    }
}

/// What is known of a column.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What the labels mean to each other.
    pub level: Level,
    /// The labels in their order.
    pub scale: Vec<String>,
    /// Items.
    pub items: usize,
    /// Items with at least two ratings, on which agreement rests.
    pub items_with_two: usize,
    /// Items that every annotator rated.
    pub complete_items: usize,
    /// Ratings that are there.
    pub ratings: usize,
    /// Ratings that are missing, of all items by all annotators.
    pub missing: usize,
    /// The statistics.
    pub measures: Vec<Measure>,
    /// Every pair of annotators.
    pub pairs: Vec<Pair>,
    /// How often each label was chosen.
    pub marginals: Marginals,
    /// Seed of the resamples, which numpy's generator draws.
    pub seed: u64,
}

/// One statistic.
#[derive(Debug, Clone, Serialize)]
pub struct Measure {
    /// A short name for programs.
    pub key: &'static str,
    /// What it is.
    pub name: String,
    /// Its value; none where it is undefined.
    pub value: Option<f64>,
    /// Why it has no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undefined: Option<Undefined>,
    /// Its interval over resampled items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

/// Cohen's kappa of two annotators.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    /// The one.
    pub first: String,
    /// The other.
    pub second: String,
    /// Items that both rated.
    pub items: usize,
    /// Share of them that both rated the same.
    pub agreement: Option<f64>,
    /// Kappa without weights.
    pub kappa: Option<f64>,
    /// Its large-sample errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Errors>,
    /// Kappa with linear weights, of an ordinal scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linear: Option<f64>,
    /// Kappa with quadratic weights, of an ordinal scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quadratic: Option<f64>,
    /// Why there is no kappa.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undefined: Option<Undefined>,
}

/// How often each label was chosen, in the order of the scale.
#[derive(Debug, Clone, Serialize)]
pub struct Marginals {
    /// By all annotators together.
    pub all: Vec<u64>,
    /// By each.
    pub annotators: Vec<(String, Vec<u64>)>,
}

/// A statistic of ratings.
type Statistic = fn(&Ratings, Level) -> Result<f64, Undefined>;

/// The statistics of every level, and those of categories only.
const OF_ALL: [(&str, &str, Statistic); 4] = [
    ("percent_mean_over_items", "percent agreement, mean over items of the agreeing pairs", |ratings, _| {
        Ok(percent(ratings)?.mean_over_items)
    }),
    ("percent_pooled_over_pairs", "percent agreement, pooled over all pairs", |ratings, _| {
        Ok(percent(ratings)?.pooled_over_pairs)
    }),
    ("percent_all_identical", "percent agreement, items that all rate the same", |ratings, _| {
        Ok(percent(ratings)?.all_identical)
    }),
    ("alpha", "Krippendorff's alpha", alpha),
];
const OF_CATEGORIES: [(&str, &str, Statistic); 5] = [
    ("gwet_ac1", "Gwet's AC1", |ratings, _| Ok(coefficient(ratings, Coefficient::Gwet, Weights::Identity)?.value)),
    ("cohen_mean", "Cohen's kappa, mean over pairs (Light)", |ratings, _| Ok(light(ratings, Weights::Identity)?.0)),
    ("fleiss_complete", "Fleiss' kappa, items that all rated", |ratings, _| Ok(fleiss(ratings)?.value)),
    ("fleiss", "Fleiss' kappa, items that two or more rated", |ratings, _| {
        Ok(coefficient(ratings, Coefficient::Fleiss, Weights::Identity)?.value)
    }),
    ("randolph", "Randolph's kappa, items that all rated", |ratings, _| Ok(randolph(ratings)?.value)),
];
const OF_ORDER: [(&str, &str, Statistic); 4] = [
    ("alpha_nominal", "Krippendorff's alpha, nominal", |ratings, _| alpha(ratings, Level::Nominal)),
    ("cohen_mean_linear", "Cohen's kappa, linear weights, mean over pairs", |ratings, _| {
        Ok(light(ratings, Weights::Linear)?.0)
    }),
    ("cohen_mean_quadratic", "Cohen's kappa, quadratic weights, mean over pairs", |ratings, _| {
        Ok(light(ratings, Weights::Quadratic)?.0)
    }),
    ("gwet_ac2_linear", "Gwet's AC2, linear weights", |ratings, _| {
        Ok(coefficient(ratings, Coefficient::Gwet, Weights::Linear)?.value)
    }),
];
/// All of them.
const MOST: usize = OF_ALL.len() + OF_CATEGORIES.len() + OF_ORDER.len();

/// Computes everything that the level allows.
pub fn report(ratings: &Ratings, options: ReportOptions) -> Report {
    let ReportOptions { level, resampling, confidence } = options;
    let is_ordered = level == Level::Ordinal;
    let chosen: Vec<_> = OF_ALL
        .iter()
        .chain(OF_CATEGORIES.iter().filter(|_| !level.is_numeric()))
        .chain(OF_ORDER.iter().filter(|_| is_ordered))
        .collect();
    let intervals = (resampling.resamples > 0).then(|| {
        resample::<MOST>(ratings, resampling, confidence, |ratings| {
            std::array::from_fn(|at| chosen.get(at).and_then(|(.., statistic)| statistic(ratings, level).ok()))
        })
    });
    let measures = chosen.iter().enumerate().map(|(at, (key, name, statistic))| {
        let found = statistic(ratings, level);
        let name = if *key == "alpha" { format!("{name}, {}", level.as_str()) } else { (*name).to_owned() };
        let interval = intervals.as_ref().and_then(|intervals| intervals.get(at)).copied();
        Measure { key, name, value: found.ok(), undefined: found.err(), interval: interval.filter(|_| found.is_ok()) }
    });
    let sizes: Vec<usize> = ratings.rows().map(|row| row.iter().flatten().count()).collect();
    let annotators = ratings.annotators().len();
    let count_of = |fits: &dyn Fn(usize) -> bool| sizes.iter().filter(|size| fits(**size)).count();
    let (all, of_each) = ratings.marginals();
    Report {
        level,
        scale: ratings.scale().labels().to_vec(),
        items: ratings.len(),
        items_with_two: count_of(&|size| size >= 2),
        complete_items: count_of(&|size| size == annotators),
        ratings: ratings.count(),
        missing: ratings.len() * annotators - ratings.count(),
        measures: measures.collect(),
        pairs: if level.is_numeric() { Vec::new() } else { all_pairs(ratings, is_ordered) },
        marginals: Marginals { all, annotators: ratings.annotators().iter().cloned().zip(of_each).collect() },
        seed: resampling.seed,
    }
}

fn all_pairs(ratings: &Ratings, is_ordered: bool) -> Vec<Pair> {
    let name = |number: usize| ratings.annotators().get(number).cloned().unwrap_or_default();
    let pair = |(first, second): (usize, usize)| {
        let plain = cohen(ratings, first, second, Weights::Identity);
        let weighted = |weights| {
            is_ordered.then(|| cohen(ratings, first, second, weights).ok().map(|kappa| kappa.value)).flatten()
        };
        let both =
            ratings.rows().filter_map(|row| row.get(first).copied().flatten().zip(row.get(second).copied().flatten()));
        let (items, same) = both.fold((0, 0), |(items, same), (a, b)| (items + 1, same + usize::from(a == b)));
        Pair {
            first: name(first),
            second: name(second),
            items,
            agreement: (items > 0).then(|| same as f64 / items as f64),
            kappa: plain.ok().map(|kappa| kappa.value),
            errors: plain.ok().and_then(|kappa| kappa.errors),
            linear: weighted(Weights::Linear),
            quadratic: weighted(Weights::Quadratic),
            undefined: plain.err(),
        }
    };
    pairs(ratings.annotators().len()).map(pair).collect()
}

impl fmt::Display for Report {
    /// Tables in Markdown, which read as they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let annotators = self.marginals.annotators.len();
        writeln!(
            f,
            "{} items, {annotators} annotators, {} ratings ({} missing); {} items have two ratings or more, {} were rated by \
             all; {} scale: {}\n",
            self.items,
            self.ratings,
            self.missing,
            self.items_with_two,
            self.complete_items,
            self.level.as_str(),
            shown(&self.scale)
        )?;
        let confidence =
            self.measures.iter().find_map(|measure| measure.interval).map_or(0.95, |found| found.confidence);
        let mut rows =
            vec![["statistic".to_owned(), "value".to_owned(), format!("{:.0} % interval", 100.0 * confidence)]];
        rows.extend(self.measures.iter().map(|measure| {
            let value = measure.value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
            let why = measure.undefined.map_or_else(String::new, |why| why.to_string());
            let interval = measure.interval.map_or(why, |interval| interval.to_string());
            [measure.name.clone(), value, interval]
        }));
        table(f, &rows)?;
        if !self.pairs.is_empty() {
            let is_ordered = self.level == Level::Ordinal;
            writeln!(f)?;
            let mut rows = vec![["pair", "items", "same", "kappa", "linear", "quadratic"].map(str::to_owned)];
            rows.extend(self.pairs.iter().map(|pair| {
                let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
                let kappa = match pair.undefined {
                    Some(why) => why.to_string(),
                    None => number(pair.kappa),
                };
                let name = format!("{}, {}", pair.first, pair.second);
                [
                    name,
                    pair.items.to_string(),
                    number(pair.agreement),
                    kappa,
                    number(pair.linear),
                    number(pair.quadratic),
                ]
            }));
            match is_ordered {
                true => table(f, &rows)?,
                false => table(f, &rows.into_iter().map(|[a, b, c, d, ..]| [a, b, c, d]).collect::<Vec<_>>())?,
            }
        }
        writeln!(f)?;
        self.marginals_table(f)
    }
}

impl Report {
    fn marginals_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Marginals { all, annotators } = &self.marginals;
        let cells = |counts: &[u64]| {
            let sum: u64 = counts.iter().sum();
            let share = |count: &u64| format!("{count} ({:.1} %)", 100.0 * *count as f64 / sum.max(1) as f64);
            let mut cells: Vec<String> = counts.iter().take(SHOWN).map(share).collect();
            if counts.len() > SHOWN {
                cells.push(share(&counts.iter().skip(SHOWN).sum()));
            }
            cells
        };
        let mut header: Vec<String> = self.scale.iter().take(SHOWN).cloned().collect();
        if self.scale.len() > SHOWN {
            header.push(format!("{} more", self.scale.len() - SHOWN));
        }
        let line = |name: &str, cells: Vec<String>| [vec![name.to_owned()], cells].concat();
        let mut rows = vec![line("ratings by", header), line("all", cells(all))];
        rows.extend(annotators.iter().map(|(name, counts)| line(name, cells(counts))));
        table(f, &rows)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low, self.high) {
            (Some(low), Some(high)) => write!(f, "{low:.3} to {high:.3}")?,
            _ => write!(f, "none")?,
        }
        if self.undefined > 0 { write!(f, " ({} resamples undefined)", self.undefined) } else { Ok(()) }
    }
}

/// The first labels of a scale in words.
fn shown(labels: &[String]) -> String {
    let mut text = labels.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if labels.len() > SHOWN {
        text.push_str(&format!(", and {} more", labels.len() - SHOWN));
    }
    text
}

/// A table in Markdown with columns of one width; the first row is the header.
pub fn table<R: AsRef<[String]>>(f: &mut dyn fmt::Write, rows: &[R]) -> fmt::Result {
    let safe = |cell: &String| cell.replace('|', "\\|").replace(['\n', '\r'], " ");
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.as_ref().iter().map(safe).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0).max(3)).collect();
    for (number, row) in rows.iter().enumerate() {
        let cell = |(column, width): (usize, &usize)| {
            let text = row.get(column).map(String::as_str).unwrap_or_default();
            // Numbers stand below each other at their end.
            let space = " ".repeat(width - text.chars().count());
            if column == 0 || column + 1 == widths.len() { format!("{text}{space}") } else { format!("{space}{text}") }
        };
        let cells: Vec<String> = widths.iter().enumerate().map(cell).collect();
        writeln!(f, "| {} |", cells.join(" | "))?;
        if number == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            writeln!(f, "| {} |", rules.join(" | "))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ratings::tests::table as ratings;
    use super::*;

    #[test]
    fn what_is_undefined_is_said() {
        let options = ReportOptions { resampling: Resampling { resamples: 20, seed: 0 }, ..ReportOptions::default() };
        let found = report(&ratings(&["a a .", "a a .", ". . a"]), options);
        let text = found.to_string();
        assert!(text.contains("undefined, agreement 1.0"), "{text}");
        assert!(text.contains("no item was rated by every annotator"), "{text}");
        assert!(text.contains("rated no item in common"), "{text}");
        let json = serde_json::to_value(&found).unwrap();
        assert!(json["measures"][3]["value"].is_null());
        assert!(json["measures"][3]["undefined"].as_str().unwrap().contains("agreement 1.0"));
        assert_eq!(json["measures"][0]["value"], 1.0);
    }

    #[test]
    fn levels_choose_statistics() {
        let rows = ["1 2", "2 2", "5 4", "3 3"];
        let keys = |level| {
            let options = ReportOptions { level, resampling: Resampling { resamples: 0, seed: 0 }, confidence: 0.9 };
            let found = report(&ratings(&rows), options);
            assert!(found.measures.iter().all(|measure| measure.interval.is_none()));
            (found.measures.len(), found.pairs.len())
        };
        assert_eq!(Level::ALL.map(keys), [(9, 1), (13, 1), (4, 0), (4, 0)]);
    }
}

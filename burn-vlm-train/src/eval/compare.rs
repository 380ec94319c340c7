//! Two models' answers to the same questions: what differs, by how much, and whether that is more than chance.
//!
//! Items are paired by benchmark, id and metric. What only one side has, and ids that stand for another question on the other side,
//! are named and not scored.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Serialize;

use super::{Metric, NamedScore, Prediction};
use crate::stats::{
    Axes, Bootstrap, Estimate, GroupKey, Outcome, Resampled, Scores, StatsError, Subset, Term, mcnemar,
};

/// How many names an error lists.
const NAMED: usize = 3;

/// Answers that cannot be compared.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum CompareError {
    /// No item is on both sides under one metric.
    #[error(
        "nothing to compare: {a} (such as {a_names}) and {b} (such as {b_names}) have no item of one benchmark, id and metric in common; \
         evaluate both models on the same benchmarks by the same rules"
    )]
    NothingPairs {
        /// How many items A has, in words.
        a: String,
        /// Some of them.
        a_names: String,
        /// How many items B has, in words.
        b: String,
        /// Some of them.
        b_names: String,
    },
    /// One side answers an item twice.
    #[error("{side} has two answers to `{id}` of `{benchmark}`: which of them counts is not told, keep one")]
    Twice {
        /// Which side.
        side: Side,
        /// The benchmark.
        benchmark: String,
        /// The item.
        id: String,
    },
    /// Scores that no interval can be computed of.
    #[error(transparent)]
    Stats(#[from] StatsError),
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// What comes of comparing two models. Differences are B - A.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison<'a> {
    /// A metric's languages, where there are several, then all of them together; in the order of the metrics.
    pub scores: Vec<PairedScore>,
    /// Items whose score differs, in A's order, metric by metric.
    pub changed: Vec<Changed<'a>>,
    /// Items, or some of their metrics, that only A has.
    pub only_a: Vec<Unpaired<'a>>,
    /// Items, or some of their metrics, that only B has.
    pub only_b: Vec<Unpaired<'a>>,
    /// Ids that both sides have, but for other questions: not the same item.
    pub other_question: Vec<Unpaired<'a>>,
}

/// A metric on both sides, over the items that both have. Scores are percent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairedScore {
    /// The benchmark.
    pub benchmark: String,
    /// The metric.
    pub metric: String,
    /// Its name in tables.
    pub label: String,
    /// Which part of the benchmark; none where it has no parts.
    #[serde(skip_serializing_if = "Subset::is_empty")]
    pub subset: Subset,
    /// Tag of the language; none for the mean over all languages, each weighing the same.
    pub language: Option<String>,
    /// Number of pairs.
    pub n: usize,
    /// Number of groups that the bootstrap resamples.
    pub groups: usize,
    /// A's score.
    pub a: f64,
    /// B's score.
    pub b: f64,
    /// B - A, percentage points.
    pub difference: f64,
    /// Lower end of the paired 95 % interval of the difference.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How the pairs fall.
    pub pairs: Pairs,
}

/// How pairs of scores fall.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Pairs {
    /// Every score is 0 or 1.
    RightOrWrong {
        /// Both right.
        both_right: usize,
        /// Only A right.
        only_a: usize,
        /// Only B right.
        only_b: usize,
        /// Both wrong.
        both_wrong: usize,
        /// Two-sided p-value of McNemar's exact test.
        mcnemar: f64,
    },
    /// Scores between; no test is claimed, only the interval.
    Graded {
        /// A's score is higher.
        a_higher: usize,
        /// B's score is higher.
        b_higher: usize,
        /// The scores are equal.
        equal: usize,
    },
}

/// An item whose score differs.
#[derive(Debug, Clone, Serialize)]
pub struct Changed<'a> {
    /// The metric.
    pub metric: &'a str,
    /// A's answer.
    pub a: &'a Prediction,
    /// B's answer.
    pub b: &'a Prediction,
    /// A's score, 0 to 1.
    pub score_a: f64,
    /// B's score, 0 to 1.
    pub score_b: f64,
}

/// An item, or some of its metrics, without a counterpart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unpaired<'a> {
    /// The benchmark.
    pub benchmark: &'a str,
    /// The item.
    pub id: &'a str,
    /// The metrics that it has there.
    pub metrics: Vec<&'a str>,
}

/// Both scores of an item under one metric.
struct Pair<'a> {
    a: &'a Prediction,
    b: &'a Prediction,
    score_a: f64,
    score_b: f64,
}

/// The pairs of one metric, on one part of a benchmark.
struct Paired<'a> {
    benchmark: &'a str,
    metric: &'a str,
    subset: &'a Subset,
    pairs: Vec<Pair<'a>>,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// Compares two models item by item. `metrics` give order and labels; scores under other names come after them, under their own.
///
/// # Errors
/// Nothing that pairs, two answers to one item, scores outside 0..=1.
pub fn compare<'a>(
    a: &'a [Prediction],
    b: &'a [Prediction],
    metrics: &[Metric],
    bootstrap: &Bootstrap,
) -> Result<Comparison<'a>, CompareError> {
    let in_a = by_name(a, Side::A)?;
    let in_b = by_name(b, Side::B)?;
    let mut groups: Vec<Paired<'a>> = Vec::new();
    let mut place: HashMap<(&str, &str, &Subset), usize> = HashMap::new();
    let mut comparison = Comparison {
        scores: Vec::new(),
        changed: Vec::new(),
        only_a: Vec::new(),
        only_b: Vec::new(),
        other_question: Vec::new(),
    };
    for of_a in a {
        let Some(&of_b) = in_b.get(&name(of_a)) else {
            comparison.only_a.push(unpaired(of_a, |_| true));
            continue;
        };
        if of_a.question.trim() != of_b.question.trim() {
            comparison.other_question.push(unpaired(of_a, |_| true));
            continue;
        }
        for NamedScore { protocol, score } in &of_a.scores {
            let Some(score_b) = of_b.score(protocol) else { continue };
            let at = *place.entry((&of_a.benchmark, protocol, &of_a.subset)).or_insert(groups.len());
            if at == groups.len() {
                let (benchmark, subset) = (of_a.benchmark.as_str(), &of_a.subset);
                groups.push(Paired { benchmark, metric: protocol, subset, pairs: Vec::new() });
            }
            if let Some(group) = groups.get_mut(at) {
                group.pairs.push(Pair { a: of_a, b: of_b, score_a: *score, score_b });
            }
        }
        for (here, there, missing) in [(of_a, of_b, &mut comparison.only_a), (of_b, of_a, &mut comparison.only_b)] {
            let only = unpaired(here, |score| there.score(&score.protocol).is_none());
            if !only.metrics.is_empty() {
                missing.push(only);
            }
        }
    }
    comparison
        .only_b
        .extend(b.iter().filter(|of_b| !in_a.contains_key(&name(of_b))).map(|of_b| unpaired(of_b, |_| true)));
    if groups.is_empty() {
        let (counted_a, a_names) = listed(a);
        let (counted_b, b_names) = listed(b);
        return Err(CompareError::NothingPairs { a: counted_a, a_names, b: counted_b, b_names });
    }
    let known = |metric: &str| metrics.iter().position(|known| known.name == metric);
    groups.sort_by_key(|group| known(group.metric).unwrap_or(usize::MAX));
    for group in &groups {
        let label = known(group.metric).and_then(|at| metrics.get(at)).map_or(group.metric, |metric| &metric.label);
        let label = std::iter::once(label.to_owned()).chain(group.subset.words()).collect::<Vec<_>>().join(", ");
        group.score(&label, bootstrap, &mut comparison.scores)?;
        comparison.changed.extend(group.changed());
    }
    Ok(comparison)
}

fn name(prediction: &Prediction) -> (&str, &str) {
    (&prediction.benchmark, &prediction.id)
}

fn by_name(predictions: &[Prediction], side: Side) -> Result<HashMap<(&str, &str), &Prediction>, CompareError> {
    let mut found = HashMap::with_capacity(predictions.len());
    for prediction in predictions {
        if found.insert(name(prediction), prediction).is_some() {
            let (benchmark, id) = (prediction.benchmark.clone(), prediction.id.clone());
            return Err(CompareError::Twice { side, benchmark, id });
        }
    }
    Ok(found)
}

fn unpaired(prediction: &Prediction, missing: impl Fn(&NamedScore) -> bool) -> Unpaired<'_> {
    let metrics = prediction.scores.iter().filter(|score| missing(score)).map(|score| score.protocol.as_str());
    Unpaired { benchmark: &prediction.benchmark, id: &prediction.id, metrics: metrics.collect() }
}

/// How many items one side has, and some of them with a metric each.
fn listed(predictions: &[Prediction]) -> (String, String) {
    let named = |prediction: &Prediction| {
        let metric = prediction.scores.first().map_or("no metric", |score| &score.protocol);
        format!("`{}` of `{}` under `{metric}`", prediction.id, prediction.benchmark)
    };
    let names: Vec<String> = predictions.iter().take(NAMED).map(named).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let plural = if predictions.len() == 1 { "item" } else { "items" };
    (format!("{} {plural}", predictions.len()), names)
}

impl<'a> Paired<'a> {
    fn changed(&self) -> impl Iterator<Item = Changed<'a>> {
        let differing = self.pairs.iter().filter(|pair| pair.score_a != pair.score_b);
        differing.map(|&Pair { a, b, score_a, score_b }| Changed { metric: self.metric, a, b, score_a, score_b })
    }

    /// The scores of each language, where there are several, and of all.
    fn score(&self, label: &str, bootstrap: &Bootstrap, into: &mut Vec<PairedScore>) -> Result<(), CompareError> {
        let side = |side: Side| Axes::from([("side".to_owned(), side.to_string())]);
        let (side_a, side_b) = (side(Side::A), side(Side::B));
        // Language and group are A's on both sides: what one side does not tell must not part a pair.
        let outcome = |axes: &Axes, pair: &Pair<'_>, score: f64| Outcome {
            axes: axes.clone(),
            seed: 0,
            protocol: self.metric.to_owned(),
            subset: Subset::default(),
            language: pair.a.language_tag().to_owned(),
            group: pair.a.group.clone(),
            score,
        };
        let of_a = self.pairs.iter().map(|pair| outcome(&side_a, pair, pair.score_a));
        let of_b = self.pairs.iter().map(|pair| outcome(&side_b, pair, pair.score_b));
        let scores = Scores::collect(of_a.chain(of_b))?;
        let whole = GroupKey { protocol: self.metric.to_owned(), subset: Subset::default() };
        let Some((_, group)) = scores.groups().find(|(key, _)| **key == whole) else { return Ok(()) };
        let resampled = group.resample(bootstrap);
        let runs = [group.runs_of(&side_a), group.runs_of(&side_b)];
        let languages = group.languages();
        let mut row = |language: Option<&String>, indices: &[usize]| {
            let of_language =
                |pair: &&Pair<'_>| language.is_none_or(|language| pair.a.language_tag() == language.as_str());
            let pairs: Vec<&Pair<'_>> = self.pairs.iter().filter(of_language).collect();
            let Some([a, b, difference]) = estimates(&resampled, &runs, indices) else { return };
            into.push(PairedScore {
                benchmark: self.benchmark.to_owned(),
                metric: self.metric.to_owned(),
                label: label.to_owned(),
                subset: self.subset.clone(),
                language: language.cloned(),
                n: pairs.len(),
                groups: pairs.iter().map(|pair| pair.a.group.as_str()).collect::<HashSet<_>>().len(),
                a: percent(a.value),
                b: percent(b.value),
                difference: percent(difference.value),
                low: percent(difference.low),
                high: percent(difference.high),
                pairs: Pairs::of(&pairs),
            });
        };
        if languages.len() > 1 {
            languages.iter().enumerate().for_each(|(number, language)| row(Some(language), &[number]));
        }
        row(None, &(0..languages.len()).collect::<Vec<_>>());
        Ok(())
    }
}

/// A's score, B's score and B - A.
fn estimates(resampled: &Resampled<'_>, [a, b]: &[Vec<usize>; 2], languages: &[usize]) -> Option<[Estimate; 3]> {
    let term = |weight: f64, runs: &Vec<usize>| Term { weight, runs: runs.clone() };
    Some([
        resampled.estimate(&[term(1.0, a)], languages)?,
        resampled.estimate(&[term(1.0, b)], languages)?,
        resampled.estimate(&[term(1.0, b), term(-1.0, a)], languages)?,
    ])
}

/// A share as percent, without the noise of sums in another order, and never `-0`.
fn percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6 + 0.0
}

impl Pairs {
    fn of(pairs: &[&Pair<'_>]) -> Self {
        let count =
            |holds: &dyn Fn(f64, f64) -> bool| pairs.iter().filter(|pair| holds(pair.score_a, pair.score_b)).count();
        let right_or_wrong = |score: f64| score == 0.0 || score == 1.0;
        if count(&|a, b| right_or_wrong(a) && right_or_wrong(b)) < pairs.len() {
            return Self::Graded {
                a_higher: count(&|a, b| a > b),
                b_higher: count(&|a, b| b > a),
                equal: count(&|a, b| a == b),
            };
        }
        let (only_a, only_b) = (count(&|a, b| a > b), count(&|a, b| b > a));
        Self::RightOrWrong {
            both_right: count(&|a, b| a + b == 2.0),
            only_a,
            only_b,
            both_wrong: count(&|a, b| a + b == 0.0),
            mcnemar: mcnemar(only_a, only_b),
        }
    }
}

impl PairedScore {
    /// Whether 0 lies outside the interval of the difference.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;

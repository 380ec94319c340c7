//! The scores of an evaluation: in all, by language, by what the data files questions under, and under each rule set.

use std::collections::{BTreeMap, BTreeSet};

use burn_vlm_eval::Rules;
use serde::Serialize;

use crate::eval::{Evaluated, Metric, OtherRules, Prediction};
use crate::report::{ModelScore, ReportError, model_scores};
use crate::stats::{Axes, Bootstrap, Outcome};

/// A score, and of what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluationScore {
    /// The benchmark.
    pub benchmark: String,
    /// Whose rules it follows; none of a benchmark that is not published.
    pub rules: Option<Rules>,
    /// Whether these are the rules that the evaluation follows, rather than others on the same replies.
    pub own: bool,
    /// Whether the metric is the benchmark's first.
    pub first: bool,
    /// What the questions are filed under (`category` and its value); none for all of them.
    pub tag: Option<(String, String)>,
    /// The score, its interval over groups of questions, and chance.
    #[serde(flatten)]
    pub score: ModelScore,
}

/// All scores of an evaluation: of each benchmark its metrics in their order, each in all (the mean over its languages, each weighing
/// the same) and by language; the same for every value of every tag, in all alone; then its first metric under other rules.
///
/// # Errors
/// A score outside 0..=1.
pub fn evaluation_scores(evaluated: &[Evaluated], bootstrap: &Bootstrap) -> Result<Vec<EvaluationScore>, ReportError> {
    let mut all = Vec::new();
    for one in evaluated {
        let own = one.predictions.iter().flat_map(outcomes).collect();
        let rules = one.published.as_ref().map(|published| published.rules);
        let place = Place { benchmark: &one.benchmark, rules, own: true, metrics: &one.metrics };
        place.score(own, None, bootstrap, &mut all)?;
        for tag in tags(one) {
            let tagged = |prediction: &Prediction| -> Vec<Outcome> {
                let Some(value) = prediction.tags.get(&tag) else { return Vec::new() };
                let within = |outcome: Outcome| Outcome { subset: outcome.subset.with(&tag, value), ..outcome };
                outcomes(prediction).map(within).collect()
            };
            let tagged = one.predictions.iter().flat_map(tagged).collect();
            place.score(tagged, Some(&tag), bootstrap, &mut all)?;
        }
        for other in &one.others {
            let place = Place { rules: Some(other.rules), own: false, metrics: &other.metrics, ..place };
            place.score(under(one, other), None, bootstrap, &mut all)?;
        }
    }
    Ok(all)
}

/// What a prediction contributes.
fn outcomes(prediction: &Prediction) -> impl Iterator<Item = Outcome> {
    static ALONE: Axes = Axes::new();
    prediction.outcomes(&ALONE, 0)
}

/// What the predictions contribute to the first metric of other rules.
fn under(evaluated: &Evaluated, other: &OtherRules) -> Vec<Outcome> {
    let Some(first) = other.metrics.first() else { return Vec::new() };
    let pairs = evaluated.predictions.iter().zip(&other.verdicts);
    let outcome = |(prediction, verdict): (&Prediction, &Option<_>)| {
        let score = other.first_score(&evaluated.benchmark, verdict.as_ref()?)?;
        Some(Outcome {
            axes: Axes::new(),
            seed: 0,
            protocol: first.name.clone(),
            subset: prediction.subset.clone(),
            language: prediction.language_tag().to_owned(),
            group: prediction.group.clone(),
            score,
        })
    };
    pairs.filter_map(outcome).collect()
}

/// Names of the tags that tell questions apart: more than one value, and not one for each language.
fn tags(evaluated: &Evaluated) -> Vec<String> {
    let mut values: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for prediction in &evaluated.predictions {
        for (tag, value) in &prediction.tags {
            values.entry(tag).or_default().entry(value).or_default().insert(prediction.language_tag());
        }
    }
    let languages: BTreeSet<&str> = evaluated.predictions.iter().map(Prediction::language_tag).collect();
    let tells = |of_tag: &BTreeMap<&str, BTreeSet<&str>>| {
        let one_each = of_tag.len() == languages.len() && of_tag.values().all(|languages| languages.len() == 1);
        of_tag.len() > 1 && !(one_each && languages.len() > 1)
    };
    values.into_iter().filter(|(_, of_tag)| tells(of_tag)).map(|(tag, _)| tag.to_owned()).collect()
}

/// Where scores belong.
#[derive(Clone, Copy)]
struct Place<'a> {
    benchmark: &'a str,
    rules: Option<Rules>,
    own: bool,
    metrics: &'a [Metric],
}

impl Place<'_> {
    /// Scores outcomes; with a tag, of which each has a value, each value by itself.
    fn score(
        self,
        outcomes: Vec<Outcome>,
        tag: Option<&str>,
        bootstrap: &Bootstrap,
        into: &mut Vec<EvaluationScore>,
    ) -> Result<(), ReportError> {
        if outcomes.is_empty() {
            return Ok(());
        }
        let scores = model_scores(self.metrics, &outcomes, bootstrap)?;
        let first = self.metrics.first().map(|metric| metric.name.as_str());
        let mut add = |score: ModelScore| {
            let value = tag.and_then(|tag| Some((tag.to_owned(), score.subset.get(tag)?.to_owned())));
            into.push(EvaluationScore {
                benchmark: self.benchmark.to_owned(),
                rules: self.rules,
                own: self.own,
                first: first == Some(score.metric.as_str()),
                tag: value,
                score,
            });
        };
        for of_metric in scores.chunk_by(|a, b| a.metric == b.metric && a.subset == b.subset) {
            let in_all = of_metric.iter().find(|score| score.language.is_none());
            // With a single language the mean over languages is its score.
            let in_all = in_all.or(of_metric.first()).map(|score| ModelScore { language: None, ..score.clone() });
            in_all.into_iter().for_each(&mut add);
            if tag.is_none() {
                of_metric.iter().filter(|score| score.language.is_some()).cloned().for_each(&mut add);
            }
        }
        Ok(())
    }
}

impl EvaluationScore {
    /// Whether it is a score of all questions in all languages, under the evaluation's own rules.
    pub fn in_all(&self) -> bool {
        self.own && self.tag.is_none() && self.score.language.is_none()
    }
}

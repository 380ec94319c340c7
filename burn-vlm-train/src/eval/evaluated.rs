//! What came of asking a model one benchmark: predictions, totals, and what other rules make of the same replies.

use burn_vlm_eval::{Answer, Flag, PromptStyle, Rules};
use serde::Serialize;
use serde_json::Value;

use super::{Benchmark, Metric, Prediction, PublishedBenchmark, Reply};
use crate::error::Result;

/// A benchmark with its answers.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluated {
    /// The benchmark's name.
    pub benchmark: String,
    /// What is published, where it is a published benchmark.
    pub published: Option<PublishedInfo>,
    /// Number of questions.
    pub questions: usize,
    /// What the scores of [`Self::predictions`] mean, the first the one that matters most.
    pub metrics: Vec<Metric>,
    /// One an item that counts.
    pub predictions: Vec<Prediction>,
    /// The row of the published file that each prediction is of, from 0; none of a benchmark that is not published.
    pub rows: Vec<u64>,
    /// What the rules print, under their own names and in their own units; null of a benchmark that is not published.
    pub totals: Value,
    /// What the benchmark's other rules make of the same replies.
    pub others: Vec<OtherRules>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// Which published benchmark, and by whose rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PublishedInfo {
    /// Its kind: `mmbench`.
    pub kind: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// Whose rules the scores follow.
    pub rules: Rules,
    /// Who wrote the prompts.
    pub prompt: PromptStyle,
}

/// The same replies under other rules.
#[derive(Debug, Clone, Serialize)]
pub struct OtherRules {
    /// Whose.
    pub rules: Rules,
    /// What they print.
    pub totals: Value,
    /// What the scores of [`Self::verdicts`] mean.
    pub metrics: Vec<Metric>,
    /// One an item of [`Evaluated::predictions`], in their order; none where these rules drop the item.
    pub verdicts: Vec<Option<OtherVerdict>>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// What other rules make of one reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherVerdict {
    /// What they understand.
    pub understood: Option<String>,
    /// What the item contributes to each of their metrics, by its key.
    pub scores: Vec<(&'static str, f64)>,
    /// What else is worth knowing.
    pub flags: Vec<Flag>,
}

impl Evaluated {
    /// Scores the answers to a benchmark's questions, one each, in their order. A published benchmark can do without some of them, which
    /// its predictions say; another cannot.
    ///
    /// # Errors
    /// Replies of another kind or number than was asked for, files that another rule set cannot read.
    pub fn new(benchmark: &dyn Benchmark, answers: &[Answer]) -> Result<Self> {
        let common = |predictions| Self {
            benchmark: benchmark.name().to_owned(),
            published: None,
            questions: benchmark.questions().len(),
            metrics: benchmark.metrics(),
            predictions,
            rows: Vec::new(),
            totals: Value::Null,
            others: Vec::new(),
            notes: benchmark.notes(),
        };
        let Some(published) = benchmark.published() else {
            let replies: Vec<Reply> = answers.iter().filter_map(|answer| answer.reply.clone()).collect();
            return Ok(common(benchmark.predictions(&replies)?));
        };
        Self::of_published(published, answers, common)
    }

    fn of_published(
        benchmark: &PublishedBenchmark,
        answers: &[Answer],
        common: impl Fn(Vec<Prediction>) -> Self,
    ) -> Result<Self> {
        let scored = benchmark.score(answers);
        let counted: Vec<bool> = scored.verdicts.iter().map(Option::is_some).collect();
        let mut all = common(benchmark.predictions_of(answers, &scored));
        all.published = Some(PublishedInfo {
            kind: benchmark.spec().name(),
            about: benchmark.spec().about(),
            rules: benchmark.rules(),
            prompt: benchmark.prompt(),
        });
        all.notes.extend(scored.notes.iter().map(|note| format!("{}: {note}", benchmark.name())));
        let items = benchmark.items().iter().zip(&counted);
        all.rows = items.filter(|(_, counted)| **counted).map(|(item, _)| item.row).collect();
        all.totals = scored.totals;
        for &rules in benchmark.spec().rules().iter().filter(|rules| **rules != benchmark.rules()) {
            // Rules whose files have other columns cannot be applied to these: no fault of the user's, but said.
            let theirs = match benchmark.score_under(rules, answers) {
                Ok(theirs) => theirs,
                Err(error) => {
                    all.notes.push(format!("{}: not scored by the rules {rules} too: {error}", benchmark.name()));
                    continue;
                }
            };
            let of_counted = theirs.verdicts.into_iter().zip(&counted).filter(|(_, counted)| **counted);
            let verdicts = of_counted.map(|(verdict, _)| {
                verdict.map(|verdict| OtherVerdict {
                    understood: verdict.understood,
                    scores: verdict.scores,
                    flags: verdict.flags,
                })
            });
            all.others.push(OtherRules {
                rules,
                totals: theirs.totals,
                metrics: benchmark.metrics_under(rules),
                verdicts: verdicts.collect(),
                notes: theirs.notes,
            });
        }
        Ok(all)
    }

    /// Items whose score under the first metric other rules see otherwise: position among the predictions, and their verdict.
    pub fn differing<'a>(&'a self, other: &'a OtherRules) -> impl Iterator<Item = (usize, &'a OtherVerdict)> {
        let first = |prediction: &Prediction| prediction.score(&self.metrics.first()?.name);
        self.predictions.iter().zip(&other.verdicts).enumerate().filter_map(move |(at, (prediction, verdict))| {
            let verdict = verdict.as_ref()?;
            (first(prediction) != other.first_score(&self.benchmark, verdict)).then_some((at, verdict))
        })
    }
}

impl OtherRules {
    /// What a verdict contributes to the first of their metrics, the one that a score under these rules is. Metrics but the first are
    /// called by the benchmark's name and their key.
    pub fn first_score(&self, benchmark: &str, verdict: &OtherVerdict) -> Option<f64> {
        let of_another = |key: &str| {
            self.metrics
                .iter()
                .skip(1)
                .any(|metric| metric.name.strip_prefix(benchmark).and_then(|name| name.strip_prefix('_')) == Some(key))
        };
        verdict.scores.iter().find(|(key, _)| !of_another(key)).map(|(_, score)| *score)
    }
}

//! One scored question, and many of them as dense arrays.
//!
//! Outcomes stream through [`Scores::collect`] and are kept as sums per group, run and language, so millions of them
//! need little memory.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{StatsError, Subset};

/// A cell of a study: the value of each axis.
pub type Axes = BTreeMap<String, String>;

/// The score of one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The cell: the value of each axis.
    pub axes: Axes,
    /// Seed of the training run.
    pub seed: u64,
    /// How it was asked and scored, such as `cloze`.
    pub protocol: String,
    /// Which part of the benchmark it belongs to.
    pub subset: Subset,
    /// Tag of the question's language.
    pub language: String,
    /// What is resampled as a whole: a concept, a picture, a pair.
    pub group: String,
    /// 1 for right, 0 for wrong, or a share between them.
    pub score: f64,
}

/// What makes outcomes comparable: one table has one protocol and one part of its benchmark.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupKey {
    /// How questions are asked and scored.
    pub protocol: String,
    /// Which part of the benchmark.
    #[serde(flatten)]
    pub subset: Subset,
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.protocol)?;
        self.subset.words().try_for_each(|part| write!(f, ", {part}"))
    }
}

/// One training run: a cell and its seed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// The cell.
    pub axes: Axes,
    /// The seed.
    pub seed: u64,
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes: Vec<String> = self.axes.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
        write!(f, "cell {} seed {}", axes.join(","), self.seed)
    }
}

/// All outcomes of a study, by group.
#[derive(Clone, Debug)]
pub struct Scores {
    groups: BTreeMap<GroupKey, Group>,
}

/// The outcomes of one group as dense arrays. Runs, languages and units are sorted.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) runs: Vec<RunKey>,
    pub(super) languages: Vec<String>,
    pub(super) units: Vec<String>,
    /// Number of questions: `[unit, language]`, the same for every run.
    pub(super) counts: Vec<f64>,
    /// Summed scores: `[unit, run, language]`.
    pub(super) sums: Vec<f64>,
    /// Whether a score is a share, from 0 to 1.
    pub(super) shares: bool,
}

impl Scores {
    /// Collects outcomes, in any order; the result does not depend on it.
    ///
    /// # Errors
    /// - no outcome at all, or a score outside `0..=1`;
    /// - within a group, two runs whose questions differ: their scores would not be comparable.
    pub fn collect<I>(outcomes: I) -> Result<Self, StatsError>
    where
        I: IntoIterator,
        I::Item: Borrow<Outcome>,
    {
        let mut builders: Vec<(GroupKey, Builder)> = Vec::new();
        for outcome in outcomes {
            let outcome = outcome.borrow();
            let same = |key: &GroupKey| key.protocol == outcome.protocol && key.subset == outcome.subset;
            let at = match builders.iter().position(|(key, _)| same(key)) {
                Some(at) => at,
                None => {
                    let key = GroupKey { protocol: outcome.protocol.clone(), subset: outcome.subset.clone() };
                    builders.push((key, Builder::default()));
                    builders.len() - 1
                }
            };
            builders[at].1.add(outcome)?;
        }
        if builders.is_empty() {
            return Err(StatsError::NoOutcomes);
        }
        let groups = builders.into_iter().map(|(key, builder)| builder.finish(&key).map(|group| (key, group)));
        Ok(Self { groups: groups.collect::<Result<_, _>>()? })
    }

    /// The groups, sorted by key.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupKey, &Group)> {
        self.groups.iter()
    }

    /// One group.
    pub fn group(&self, key: &GroupKey) -> Option<&Group> {
        self.groups.get(key)
    }
}

impl Group {
    /// The runs, sorted by cell and seed.
    pub fn runs(&self) -> &[RunKey] {
        &self.runs
    }

    /// The languages, sorted by tag.
    pub fn languages(&self) -> &[String] {
        &self.languages
    }

    /// What is resampled, sorted: concepts, pictures or pairs.
    pub fn units(&self) -> &[String] {
        &self.units
    }

    /// The indices of the runs of one cell.
    pub fn runs_of(&self, axes: &Axes) -> Vec<usize> {
        (0..self.runs.len()).filter(|&run| self.runs[run].axes == *axes).collect()
    }

    /// The number of questions in one language, for one run. All runs have the same.
    pub fn questions(&self, language: usize) -> usize {
        let of_language = self.counts.iter().skip(language).step_by(self.languages.len());
        of_language.sum::<f64>() as usize
    }
}

/// Interns names while outcomes stream in.
#[derive(Default)]
struct Builder {
    runs: Vec<RunKey>,
    last_run: usize,
    languages: Names,
    units: Names,
    items: Vec<Item>,
}

/// An outcome in terms of indices.
#[derive(Clone, Copy)]
struct Item {
    run: u32,
    language: u32,
    unit: u32,
    score: f64,
}

#[derive(Default)]
struct Names(HashMap<String, u32>);

impl Names {
    fn index(&mut self, name: &str, what: &'static str) -> Result<u32, StatsError> {
        if let Some(&index) = self.0.get(name) {
            return Ok(index);
        }
        let index = to_index(self.0.len(), what)?;
        self.0.insert(name.to_owned(), index);
        Ok(index)
    }

    /// The names sorted, and for every old index the new one.
    fn sorted(self) -> (Vec<String>, Vec<u32>) {
        let mut names: Vec<(String, u32)> = self.0.into_iter().collect();
        names.sort_unstable();
        let mut order = vec![0; names.len()];
        for (new, (_, old)) in (0..).zip(&names) {
            order[*old as usize] = new;
        }
        (names.into_iter().map(|(name, _)| name).collect(), order)
    }
}

fn to_index(len: usize, what: &'static str) -> Result<u32, StatsError> {
    u32::try_from(len).map_err(|_| StatsError::TooMany { what, limit: u32::MAX as usize })
}

impl Builder {
    fn add(&mut self, outcome: &Outcome) -> Result<(), StatsError> {
        let is_of = |run: &RunKey| run.seed == outcome.seed && run.axes == outcome.axes;
        // Outcomes come run by run, so the last run is nearly always the right one.
        if !self.runs.get(self.last_run).is_some_and(is_of) {
            self.last_run = self.runs.iter().position(is_of).unwrap_or(self.runs.len());
            if self.last_run == self.runs.len() {
                self.runs.push(RunKey { axes: outcome.axes.clone(), seed: outcome.seed });
            }
        }
        if !(0.0..=1.0).contains(&outcome.score) {
            return Err(StatsError::ScoreOutOfRange {
                score: outcome.score,
                group: outcome.group.clone(),
                language: outcome.language.clone(),
                run: self.runs[self.last_run].to_string(),
            });
        }
        self.items.push(Item {
            run: to_index(self.last_run, "runs")?,
            language: self.languages.index(&outcome.language, "languages")?,
            unit: self.units.index(&outcome.group, "groups of questions")?,
            score: outcome.score,
        });
        Ok(())
    }

    fn finish(self, key: &GroupKey) -> Result<Group, StatsError> {
        let mut order: Vec<usize> = (0..self.runs.len()).collect();
        order.sort_by(|&a, &b| self.runs[a].cmp(&self.runs[b]));
        let mut new_run = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            new_run[old] = new;
        }
        let runs: Vec<RunKey> = order.iter().map(|&old| self.runs[old].clone()).collect();
        let (languages, new_language) = self.languages.sorted();
        let (units, new_unit) = self.units.sorted();

        let mut items: Vec<(usize, f64)> = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let (unit, language) = (new_unit[item.unit as usize], new_language[item.language as usize]);
            let row = unit as usize * runs.len() + new_run[item.run as usize];
            items.push((row * languages.len() + language as usize, item.score));
        }
        // Floating-point sums depend on the order of the terms: sorted, they do not depend on the order of arrival.
        items.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut sums = vec![0.0; units.len() * runs.len() * languages.len()];
        let mut found = vec![0_u32; sums.len()];
        for (at, score) in items {
            sums[at] += score;
            found[at] += 1;
        }

        let mut counts = vec![0.0; units.len() * languages.len()];
        for (u, unit) in units.iter().enumerate() {
            for (l, language) in languages.iter().enumerate() {
                let of_run = |run: usize| found[(u * runs.len() + run) * languages.len() + l];
                let expected = of_run(0);
                if let Some(run) = (1..runs.len()).find(|&run| of_run(run) != expected) {
                    return Err(StatsError::QuestionsDiffer {
                        group: key.to_string(),
                        run: runs[run].to_string(),
                        other: runs[0].to_string(),
                        question: format!("`{unit}` in `{language}`"),
                        expected: expected as usize,
                        found: of_run(run) as usize,
                    });
                }
                counts[u * languages.len() + l] = f64::from(expected);
            }
        }
        Ok(Group { runs, languages, units, counts, sums, shares: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(cell: &str, seed: u64, language: &str, concept: &str, score: f64) -> Outcome {
        Outcome {
            axes: Axes::from([("encoder".into(), cell.into())]),
            seed,
            protocol: "cloze".into(),
            subset: Subset::from([("distractors", "far"), ("concepts", "seen")]),
            language: language.into(),
            group: concept.into(),
            score,
        }
    }

    #[test]
    fn arrays_do_not_depend_on_the_order_of_arrival() {
        let mut outcomes = Vec::new();
        for cell in ["a", "b"] {
            for seed in [3, 1] {
                for (i, language) in ["ru", "de"].iter().enumerate() {
                    for concept in 0..5 {
                        for rotation in 0..3 {
                            let score = f64::from((concept * 7 + rotation * 3 + i as i32) % 5) / 7.0;
                            outcomes.push(outcome(cell, seed, language, &format!("c{concept}"), score));
                        }
                    }
                }
            }
        }
        let forwards = Scores::collect(&outcomes).unwrap();
        let backwards = Scores::collect(outcomes.iter().rev()).unwrap();
        let (f, b) = (forwards.groups().next().unwrap().1, backwards.groups().next().unwrap().1);
        assert_eq!(f.runs(), b.runs());
        assert_eq!(f.sums, b.sums);
        assert_eq!(f.languages(), ["de", "ru"]);
        assert_eq!(f.questions(0), 15);
        assert_eq!(f.runs().iter().map(|run| run.seed).collect::<Vec<_>>(), [1, 3, 1, 3]);
    }

    #[test]
    fn runs_that_answered_other_questions_are_refused() {
        let outcomes =
            [outcome("a", 1, "de", "x", 1.0), outcome("a", 1, "de", "y", 0.0), outcome("b", 1, "de", "x", 1.0)];
        let error = Scores::collect(&outcomes).unwrap_err();
        let expected = "cloze, far distractors, seen concepts: cell encoder=b seed 1 has 0 outcomes of `y` in `de`, \
                        but cell encoder=a seed 1 has 1";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn percent_and_nan_are_refused() {
        for score in [50.0, -0.1, f64::NAN] {
            let error = Scores::collect([outcome("a", 1, "de", "x", score)]).unwrap_err();
            assert!(matches!(error, StatsError::ScoreOutOfRange { .. }), "{error}");
        }
        assert_eq!(Scores::collect(Vec::<Outcome>::new()).unwrap_err(), StatsError::NoOutcomes);
    }
}

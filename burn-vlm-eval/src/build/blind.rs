//! Which questions are answered without the picture: right answers of text-only models, against chance.
//!
//! Unusual here: one right answer says little. A question with four options is guessed in a quarter of the cases; so what counts is how
//! probable it is to have at least so many right by guessing, over all models, rotations and languages that were asked. What belongs
//! together (the rotations of a question, the questions about a picture) is one unit: it goes or stays as a whole.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn_vlm_base::files::{FileError, read_regular};
use burn_vlm_base::shorten::shorten;
use serde::{Deserialize, Serialize};

use super::source::group_key;
use super::write::stem;
use crate::kit::ACCURACY;
use crate::published::Item;
use crate::strict::Kind;

/// The most bytes of a file of predictions: 4 GiB.
const MOST_BYTES: u64 = 1 << 32;

/// A file of predictions that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BlindError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line.
    #[error("{}, line {line}: {message}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// Nothing in it is about the benchmark.
    #[error("{}: none of its {replies} replies is to an item of {benchmark:?}, such as {expected}; these are: {found}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// The benchmark.
        benchmark: String,
        /// How many replies it has.
        replies: usize,
        /// The id of an item.
        expected: String,
        /// Ids in the file.
        found: String,
    },
}

/// The replies of a text-only model, as `burn-vlm evaluate` writes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The file.
    pub file: PathBuf,
    /// Whether each is right, by `benchmark/part/index`.
    right: HashMap<String, bool>,
    /// Replies of which the file says that a picture belongs to them: whether it was shown is not known.
    pub with_picture: usize,
}

/// What is read of a prediction.
#[derive(Deserialize)]
struct Line {
    id: String,
    benchmark: String,
    #[serde(default)]
    picture: String,
    scores: Vec<Score>,
}

#[derive(Deserialize)]
struct Score {
    protocol: String,
    score: f64,
}

impl Run {
    /// Reads `predictions.jsonl`.
    ///
    /// # Errors
    /// A file that is not there, a line that is no prediction.
    pub fn read(file: &Path) -> Result<Self, BlindError> {
        let bytes = read_regular(file, MOST_BYTES)?;
        let text = String::from_utf8_lossy(&bytes);
        let (mut right, mut with_picture) = (HashMap::new(), 0);
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |message: String| BlindError::Line { file: file.to_owned(), line: number, message };
            let line: Line = serde_json::from_str(line).map_err(|error| {
                wrong(format!(
                    "{error} in {}; expected a line of predictions.jsonl as `burn-vlm evaluate --out` writes it",
                    shorten(line)
                ))
            })?;
            // Of groups the first metric is that of the group; the row's own has its name.
            let own = format!("{}_{ACCURACY}", line.benchmark);
            let score = [own.as_str(), line.benchmark.as_str()]
                .iter()
                .find_map(|name| line.scores.iter().find(|score| score.protocol == *name));
            let score = score.ok_or_else(|| wrong(format!("no score of {own:?} or {:?}", line.benchmark)))?;
            with_picture += usize::from(!line.picture.is_empty());
            right.insert(line.id, score.score >= 1.0);
        }
        Ok(Self { file: file.to_owned(), right, with_picture })
    }
}

/// When a unit counts as answered without its picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Guessing has at least so many right with at most this probability.
    Probability(f64),
    /// At least so many runs have all its rows right.
    Runs(usize),
}

/// What text-only models made of what belongs together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unit {
    /// What it is called: the part without its language, and the index or the picture.
    pub id: String,
    /// Its rows, of every language.
    pub rows: Vec<String>,
    /// Replies to them.
    pub replies: usize,
    /// Those that are right.
    pub right: usize,
    /// How many are right by guessing, on average.
    pub by_chance: f64,
    /// How probable it is to have at least so many right by guessing.
    pub probability: f64,
    /// Runs that replied, and those whose replies are all right.
    pub runs: usize,
    /// See [`Self::runs`].
    pub runs_right: usize,
    /// It counts as answered without its picture.
    pub blind: bool,
}

/// Looks at what text-only models made of a benchmark, which is called `name` in the runs.
///
/// # Errors
/// A run that has no reply to any item.
pub fn units(name: &str, kind: Kind, items: &[Item], runs: &[Run], rule: Rule) -> Result<Vec<Unit>, BlindError> {
    for run in runs {
        if !items.iter().any(|item| run.right.contains_key(&format!("{name}/{}", item.id))) {
            let mut found: Vec<&str> = run.right.keys().map(String::as_str).collect();
            found.sort_unstable();
            found.truncate(3);
            return Err(BlindError::Foreign {
                file: run.file.clone(),
                benchmark: name.to_owned(),
                replies: run.right.len(),
                expected: items.first().map_or_else(String::new, |item| format!("{name}/{}", item.id)),
                found: found.join(", "),
            });
        }
    }
    let mut groups: BTreeMap<(String, String), Vec<&Item>> = BTreeMap::new();
    let mut order: Vec<(String, String)> = Vec::new();
    for item in items {
        let key = (stem(&item.part, item.language).to_owned(), group_key(kind, item));
        let group = groups.entry(key.clone()).or_default();
        if group.is_empty() {
            order.push(key);
        }
        group.push(item);
    }
    let unit = |key: &(String, String)| {
        let items = groups.get(key).map(Vec::as_slice).unwrap_or_default();
        let (mut chances, mut right, mut asked, mut runs_right) = (Vec::new(), 0, 0, 0);
        for run in runs {
            let replies = items.iter().filter_map(|item| Some((item, run.right.get(&format!("{name}/{}", item.id))?)));
            let replies: Vec<_> = replies.collect();
            asked += usize::from(!replies.is_empty());
            runs_right += usize::from(!replies.is_empty() && replies.iter().all(|(_, right)| **right));
            right += replies.iter().filter(|(_, right)| **right).count();
            chances.extend(replies.iter().map(|(item, _)| guess(item)));
        }
        let probability = at_least(&chances, right);
        let blind = match rule {
            // Without a reply nothing is known.
            _ if chances.is_empty() => false,
            Rule::Probability(most) => probability <= most,
            Rule::Runs(least) => runs_right >= least,
        };
        Unit {
            id: format!("{}/{}", key.0, key.1),
            rows: items.iter().map(|item| item.id.clone()).collect(),
            replies: chances.len(),
            right,
            by_chance: chances.iter().sum(),
            probability,
            runs: asked,
            runs_right,
            blind,
        }
    };
    Ok(order.iter().map(unit).collect())
}

/// How many units guessing alone would make count as answered without their pictures, on average, by probability.
pub fn expected_by_chance(units: &[Unit], items: &[Item], rule: Rule) -> f64 {
    let by_id: HashMap<&str, &Item> = items.iter().map(|item| (item.id.as_str(), item)).collect();
    let one = |unit: &Unit| {
        let chances: Vec<f64> =
            unit.rows.iter().filter_map(|id| by_id.get(id.as_str())).map(|item| guess(item)).collect();
        match rule {
            Rule::Runs(least) => {
                // A run is right on all rows.
                let whole: f64 = chances.iter().product();
                at_least(&vec![whole; unit.runs], least)
            }
            Rule::Probability(most) => {
                // Rows were asked in every run alike, as far as they were asked.
                let chances: Vec<f64> = chances.iter().copied().cycle().take(unit.replies).collect();
                let least = (0..=chances.len()).find(|right| at_least(&chances, *right) <= most);
                least.map_or(0.0, |least| at_least(&chances, least))
            }
        }
    };
    units.iter().filter(|unit| unit.replies > 0).map(one).sum()
}

/// The chance that a guess is right.
fn guess(item: &Item) -> f64 {
    // Yes or no has no options.
    let options = if item.options.is_empty() { 2 } else { item.options.len() };
    1.0 / options as f64
}

/// The probability of at least `least` hits of independent ones with these chances (Poisson binomial).
fn at_least(chances: &[f64], least: usize) -> f64 {
    let mut hits = vec![1.0];
    for chance in chances {
        let mut next = vec![0.0; hits.len() + 1];
        for (count, probability) in hits.iter().enumerate() {
            next[count] += probability * (1.0 - chance);
            next[count + 1] += probability * chance;
        }
        hits = next;
    }
    hits.get(least..).unwrap_or_default().iter().sum::<f64>().min(1.0)
}

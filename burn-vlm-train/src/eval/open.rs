//! From `[evaluation]` and `[[benchmark]]` to benchmarks that are ready to be asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn_vlm_base::shorten::shorten_message;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::image::DecodeLimits;
use burn_vlm_eval::file::FileRecipe;
use serde::de::DeserializeOwned;
use toml::Table;

use super::caption::{Caption, CaptionRecipe};
use super::clips::{Clips, ClipsRecipe};
use super::cloze::{Cloze, ClozeRecipe};
use super::embedded::CorpusRecipe;
use super::file::{Choice, ChoiceRecipe, ShortAnswer, ShortAnswerRecipe};
use super::lettered::Lettered;
use super::published::{PublishedBenchmark, PublishedRecipe};
use super::replies::question_key;
use super::scenes::{Scenes, ScenesRecipe};
use super::words::{WordsBenchmark, WordsRecipe};
use super::yes_no::YesNo;
use super::{Benchmark, BenchmarkError, Metric, Prediction, Unreadable};
use crate::ablation::{Column, hint};
use crate::error::{Result, TrainError};
use crate::recipe::{EvaluationRecipe, from_table};
use crate::stats::GroupKey;

/// Everything that a model is asked, in the order of its report.
#[derive(Clone, Default)]
pub struct Benchmarks(Vec<Arc<dyn Benchmark>>);

/// Makes a benchmark of its table.
type Open = fn(Table, &EmojiCorpus, &Path) -> Result<Arc<dyn Benchmark>>;

const CHOICE: &str = "choice";
const SHORT_ANSWER: &str = "short_answer";

fn choice(table: Table) -> Result<ChoiceRecipe> {
    read(table, &[&FileRecipe::KEYS, &FileRecipe::CELLS, &ChoiceRecipe::KEYS])
}

fn short_answer(table: Table) -> Result<ShortAnswerRecipe> {
    read(table, &[&FileRecipe::KEYS, &FileRecipe::CELLS, &ShortAnswerRecipe::KEYS])
}

fn published(table: Table) -> Result<PublishedRecipe> {
    read(table, &[&FileRecipe::KEYS, &PublishedRecipe::KEYS])
}

/// The kinds of `[[benchmark]]`: to add one, write its file and name it here.
const KINDS: [(&str, Open); 9] = [
    (CHOICE, |table, _, base| Ok(Arc::new(Choice::open(choice(table)?, base)?))),
    (SHORT_ANSWER, |table, _, base| Ok(Arc::new(ShortAnswer::open(short_answer(table)?, base)?))),
    ("cloze", |table, corpus, _| {
        let recipe: ClozeRecipe = read(table, &[&CorpusRecipe::KEYS, &ClozeRecipe::KEYS])?;
        Ok(Arc::new(Cloze::new(corpus, recipe)?))
    }),
    ("scenes", |table, corpus, _| {
        let recipe: ScenesRecipe = read(table, &[&CorpusRecipe::KEYS, &ScenesRecipe::KEYS])?;
        Ok(Arc::new(Scenes::new(corpus, recipe)?))
    }),
    ("clips", |table, corpus, _| {
        let recipe: ClipsRecipe = read(table, &[&CorpusRecipe::KEYS, &ClipsRecipe::KEYS])?;
        Ok(Arc::new(Clips::new(corpus, recipe)?))
    }),
    ("lettered", |table, corpus, _| Ok(Arc::new(Lettered::new(corpus, read(table, &[&CorpusRecipe::KEYS])?)?))),
    ("yes_no", |table, corpus, _| Ok(Arc::new(YesNo::new(corpus, read(table, &[&CorpusRecipe::KEYS])?)?))),
    ("caption", |table, corpus, _| {
        let recipe: CaptionRecipe = read(table, &[&CorpusRecipe::KEYS, &CaptionRecipe::KEYS])?;
        Ok(Arc::new(Caption::new(corpus, recipe)?))
    }),
    ("words", |table, corpus, _| Ok(Arc::new(WordsBenchmark::new(corpus, read(table, &[&WordsRecipe::KEYS])?)?))),
];

/// All kinds: ours, then the published benchmarks.
fn kinds() -> impl Iterator<Item = &'static str> {
    let published = burn_vlm_eval::benchmarks::all().into_iter().map(|published| published.name());
    KINDS.iter().map(|(kind, _)| *kind).chain(published)
}

/// A table without its kind as `T`.
fn read<T: DeserializeOwned>(table: Table, known: &[&[&str]]) -> Result<T> {
    let name = name_of(&table);
    let known = || known.iter().copied().flatten().copied();
    if let Some(key) = table.keys().find(|key| !known().any(|known| known == key.as_str())) {
        let message = format!("unknown key `{key}`{}", hint(key, known()));
        return Err(BenchmarkError::Setting { name, message }.into());
    }
    from_table(table.clone(), &format!("benchmark {name:?}")).map_err(|error| match guilty::<T>(&table, &error) {
        None => error,
        Some(key) => {
            let message = error.to_string();
            let reason = message.split_once("]: ").map_or(message.as_str(), |(_, reason)| reason);
            let value = shorten_message(&table[&key].to_string());
            BenchmarkError::Setting { name, message: format!("`{key} = {value}`: {reason}") }.into()
        }
    })
}

/// The key whose value cannot be read, which the error does not say: the one without which the error is another.
fn guilty<T: DeserializeOwned>(table: &Table, error: &TrainError) -> Option<String> {
    let said = error.to_string();
    let differs = |key: &&String| {
        let mut rest = table.clone();
        rest.remove(key.as_str());
        from_table::<T>(rest, &format!("benchmark {:?}", name_of(table)))
            .map_or_else(|e| e.to_string() != said, |_| true)
    };
    // A key that is missing is nobody's fault, and named.
    (!said.contains("missing field")).then(|| table.keys().find(differs).cloned()).flatten()
}

/// The kind of a table, and the rest of it.
fn kind_of(table: &Table) -> Result<(String, Table)> {
    let mut table = table.clone();
    // Where its files are published is for who has to get them.
    table.remove("from");
    match table.remove("kind") {
        Some(toml::Value::String(kind)) => Ok((kind, table)),
        _ => {
            let message = format!("`kind` is missing (valid: {})", kinds().collect::<Vec<_>>().join(", "));
            Err(BenchmarkError::Setting { name: name_of(&table), message }.into())
        }
    }
}

fn unknown(table: &Table, kind: String) -> TrainError {
    let hint = hint(&kind, kinds());
    BenchmarkError::UnknownKind { name: name_of(table), kind, hint }.into()
}

fn name_of(table: &Table) -> String {
    table.get("name").and_then(toml::Value::as_str).unwrap_or_default().to_owned()
}

impl Benchmarks {
    /// The benchmarks on the embedded corpus that an evaluation is short for, then those of its tables.
    ///
    /// Paths of a table are relative to `base`. What can be wrong with a user's questions is told here, before anything is trained.
    ///
    /// # Errors
    /// An unknown kind or key, a file or picture that is not there, a file without answers, two benchmarks of one name: each
    /// names the benchmark and what was expected.
    pub fn open(evaluation: &EvaluationRecipe, corpus: &EmojiCorpus, base: &Path) -> Result<Self> {
        let mut benchmarks = Self::default();
        for benchmark in embedded(evaluation, corpus)? {
            benchmarks.push(benchmark)?;
        }
        let suite = match &evaluation.suite {
            None => Vec::new(),
            Some(used) => used.benchmarks(base)?,
        };
        for table in evaluation.benchmark.iter().chain(&suite) {
            let (kind, table) = kind_of(table)?;
            if let Some(spec) = burn_vlm_eval::benchmarks::find(&kind) {
                benchmarks.push(Arc::new(PublishedBenchmark::open(spec, published(table)?, base)?))?;
                continue;
            }
            let Some((_, open)) = KINDS.iter().find(|(known, _)| *known == kind) else {
                return Err(unknown(&table, kind));
            };
            benchmarks.push(open(table, corpus, base)?)?;
        }
        Ok(benchmarks)
    }

    /// Checks a table whose files are not there, as far as that goes.
    ///
    /// # Errors
    /// An unknown kind or key, a value of the wrong type.
    pub(crate) fn check_table(table: &Table) -> Result<()> {
        let (kind, table) = kind_of(table)?;
        match kind.as_str() {
            CHOICE => choice(table).map(|_| ()),
            SHORT_ANSWER => short_answer(table).map(|_| ()),
            _ if burn_vlm_eval::benchmarks::find(&kind).is_some() => published(table).map(|_| ()),
            _ if KINDS.iter().any(|(known, _)| *known == kind) => Ok(()),
            _ => Err(unknown(&table, kind)),
        }
    }

    /// Adds a benchmark of your own.
    ///
    /// # Errors
    /// A name or a metric that another benchmark has, no question.
    pub fn push(&mut self, benchmark: Arc<dyn Benchmark>) -> Result<()> {
        if benchmark.questions().is_empty() {
            return Err(BenchmarkError::Empty { name: benchmark.name().to_owned(), why: None }.into());
        }
        if self.iter().any(|other| other.name() == benchmark.name()) {
            let name = benchmark.name().to_owned();
            let message = "there is another benchmark of this name; give one of them another `name`".to_owned();
            return Err(BenchmarkError::Setting { name, message }.into());
        }
        for metric in benchmark.metrics() {
            let same = |other: &&Arc<dyn Benchmark>| other.metrics().iter().any(|known| known.name == metric.name);
            if let Some(other) = self.0.iter().find(same) {
                let (first, second) = (other.name().to_owned(), benchmark.name().to_owned());
                return Err(BenchmarkError::SameMetric { first, second, metric: metric.name }.into());
            }
        }
        self.0.push(benchmark);
        Ok(())
    }

    /// The benchmarks.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Benchmark> {
        self.0.iter().map(|benchmark| &**benchmark)
    }

    /// The same without the questions whose pictures or videos cannot be read, by the benchmarks' names.
    ///
    /// # Errors
    /// As [`Benchmark::without`].
    pub fn without(&self, unreadable: &BTreeMap<String, Unreadable>) -> Result<Self> {
        let one = |benchmark: &Arc<dyn Benchmark>| match unreadable.get(benchmark.name()) {
            Some(unreadable) if !unreadable.is_empty() => benchmark.without(unreadable),
            _ => Ok(benchmark.clone()),
        };
        self.0.iter().map(one).collect::<Result<_>>().map(Self)
    }

    /// All metrics, in the order of the report.
    pub fn metrics(&self) -> Vec<Metric> {
        self.iter().flat_map(Benchmark::metrics).collect()
    }

    /// The largest limits on pictures that one of them has: each has looked at its own already.
    pub fn limits(&self) -> DecodeLimits {
        self.iter().map(Benchmark::limits).fold(DecodeLimits::default(), |a, b| DecodeLimits {
            max_pixels: a.max_pixels.max(b.max_pixels),
            max_bytes: a.max_bytes.max(b.max_bytes),
        })
    }

    /// The scores that a study shows first.
    pub fn headline(&self) -> Option<GroupKey> {
        self.iter().next().map(Benchmark::headline)
    }

    /// Adds to a prediction what its benchmark can tell from it alone.
    pub fn amend(&self, prediction: &mut Prediction) {
        if let Some(benchmark) = self.iter().find(|benchmark| benchmark.name() == prediction.benchmark) {
            benchmark.amend(prediction);
        }
    }

    /// Each benchmark's name with a hash of its questions, pictures and answers: a part of what a cell's result depends on.
    ///
    /// # Errors
    /// A picture that cannot be read.
    pub fn keys(&self) -> Result<BTreeMap<String, String>> {
        self.iter().map(|benchmark| Ok((benchmark.name().to_owned(), key(benchmark)?))).collect()
    }

    /// Whether the columns of a study can show the benchmarks: the first all of them, every other one at least one.
    ///
    /// # Errors
    /// No column, a benchmark without the languages that are asked for.
    pub fn check_columns(&self, columns: &[Column]) -> Result<()> {
        if columns.is_empty() {
            let languages = self.iter().next().map(Benchmark::languages).unwrap_or_default();
            return Err(BenchmarkError::NoColumns { languages }.into());
        }
        for (number, benchmark) in self.iter().enumerate() {
            let languages = benchmark.languages();
            let missing = |column: &Column| -> Vec<String> {
                column.languages.iter().filter(|tag| !languages.contains(tag)).cloned().collect()
            };
            let name = benchmark.name().to_owned();
            if let Some(column) = columns.iter().find(|column| number == 0 && !missing(column).is_empty()) {
                let (missing, column) = (missing(column), column.name.clone());
                return Err(BenchmarkError::HeadlineLacks { name, column, missing }.into());
            }
            if columns.iter().all(|column| !missing(column).is_empty()) {
                let lacks = |column: &Column| format!("`{}` needs {}", column.name, missing(column).join(", "));
                let columns = columns.iter().map(lacks).collect::<Vec<_>>().join("; ");
                return Err(BenchmarkError::NoColumnShows { name, languages, columns }.into());
            }
        }
        Ok(())
    }
}

/// What `[evaluation]` is short for.
fn embedded(evaluation: &EvaluationRecipe, corpus: &EmojiCorpus) -> Result<Vec<Arc<dyn Benchmark>>> {
    let mut all: Vec<Arc<dyn Benchmark>> = Vec::new();
    if evaluation.languages.is_empty() {
        return Ok(all);
    }
    let named = |name: &str| CorpusRecipe {
        name: name.to_owned(),
        languages: evaluation.languages.clone(),
        seen: evaluation.seen,
        unseen: evaluation.unseen,
        seed: evaluation.seed,
        validation: evaluation.validation,
    };
    all.push(Arc::new(Cloze::new(corpus, ClozeRecipe { corpus: named("cloze"), rule: evaluation.cloze })?));
    if evaluation.lettered {
        all.push(Arc::new(Lettered::new(corpus, named("lettered"))?));
    }
    if evaluation.yes_no > 0 {
        all.push(Arc::new(YesNo::new(corpus, named("yes_no").at_most(evaluation.yes_no))?));
    }
    if evaluation.captions > 0 {
        let corpus_recipe = named("caption").at_most(evaluation.captions);
        let recipe = CaptionRecipe { corpus: corpus_recipe, fidelity: evaluation.fidelity };
        all.push(Arc::new(Caption::new(corpus, recipe)?));
    }
    Ok(all)
}

/// Hash of everything that a benchmark asks, and of its own key.
fn key(benchmark: &dyn Benchmark) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    text(&benchmark.key());
    for question in benchmark.questions() {
        text(&question.id);
        text(&question_key(benchmark.name(), question)?);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

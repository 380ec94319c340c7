//! A published benchmark as something that a model is asked: [`burn_vlm_eval`] reads, asks and scores.
//!
//! ```toml
//! [[benchmark]]
//! name = "mmbench_en"
//! kind = "mmbench"
//! file = "MMBench_DEV_EN.tsv"   # as published
//! rules = "lmms-eval"           # whose rules the numbers follow; a default stands in docs/evaluation.md
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_vlm_data::conversation::IMAGE_PLACEHOLDER;
use burn_vlm_data::image::DecodeLimits;
use burn_vlm_data::source::{Skip, SkipReason};
use burn_vlm_eval::file::{FileRecipe, skip_notes};
use burn_vlm_eval::table::shown;
use burn_vlm_eval::{
    Answer, Asked, Item, Items, JudgePrompt, MetricInfo, PromptStyle, Published, Rules, Scored, Verdict,
};
use serde::{Deserialize, Serialize};

use super::benchmark::{check_replies, readable};
use super::{Ask, Benchmark, BenchmarkError, Metric, NamedScore, Prediction, Question, Reply, Unreadable, distinct};
use crate::error::Result;

/// Columns that reports take scores apart by.
const TAGS: [&str; 4] = ["split", "category", "l2-category", "l2_category"];

/// `kind = "mmbench"` and its like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedRecipe {
    /// Where the questions are.
    #[serde(flatten)]
    pub file: FileRecipe,
    /// Whose rules; the benchmark's default where absent.
    #[serde(default)]
    pub rules: Option<Rules>,
    /// Who writes the prompt; where absent, who wrote those of the published numbers.
    #[serde(default)]
    pub prompt: Option<PromptStyle>,
    /// The most tokens of a reply, where it is not the rules'.
    #[serde(default)]
    pub max_new_tokens: Option<usize>,
}

/// A published benchmark.
pub struct PublishedBenchmark {
    spec: &'static dyn Published,
    recipe: PublishedRecipe,
    base: PathBuf,
    rules: Rules,
    style: PromptStyle,
    read: Items,
    questions: Vec<Question>,
    /// Rows of items that are not asked, since what they show cannot be read.
    unreadable: BTreeSet<u64>,
}

impl PublishedRecipe {
    /// Keys beyond those of every file of questions.
    pub(super) const KEYS: [&str; 3] = ["rules", "prompt", "max_new_tokens"];

    /// A question about an item. Pictures that the text has no place for stand first.
    fn question(&self, item: &Item, asked: Asked) -> Question {
        let ask = match (asked.ask, self.max_new_tokens) {
            (Ask::Generate { .. }, Some(max_new_tokens)) => Ask::Generate { max_new_tokens },
            (ask, _) => ask,
        };
        let placed = asked.text.matches(IMAGE_PLACEHOLDER).count();
        let lacking = if placed == 0 { 0 } else { item.media.len().saturating_sub(placed) };
        let text = format!("{}{}", format!("{IMAGE_PLACEHOLDER}\n").repeat(lacking), asked.text);
        Question::new(format!("{}/{}", self.file.name, item.id), text, item.media.clone(), ask)
    }
}

impl PublishedBenchmark {
    /// Reads the files. Relative paths begin at `base`.
    ///
    /// # Errors
    /// Rules or prompts that the benchmark does not have, files that are not the benchmark's.
    pub fn open(spec: &'static dyn Published, recipe: PublishedRecipe, base: &Path) -> Result<Self, BenchmarkError> {
        let setting = |message: String| BenchmarkError::Setting { name: recipe.file.name.clone(), message };
        let rules = match recipe.rules {
            None => spec.rules().first().copied().unwrap_or(Rules::BurnVlm),
            Some(rules) if spec.rules().contains(&rules) => rules,
            Some(rules) => {
                let known: Vec<&str> = spec.rules().iter().map(|rules| rules.as_str()).collect();
                let message = format!("`rules = \"{rules}\"`: {} has those of {}", spec.name(), known.join(", "));
                return Err(setting(message));
            }
        };
        let styles = spec.prompts(rules);
        let style = match recipe.prompt {
            None => styles.first().copied().unwrap_or(PromptStyle::of(rules)),
            Some(style) if styles.contains(&style) => style,
            Some(style) => {
                let message = format!("`prompt`: {style:?} does not go with these rules, which have {styles:?}");
                return Err(setting(message));
            }
        };
        if recipe.max_new_tokens == Some(0) {
            return Err(setting("`max_new_tokens` must be at least 1".into()));
        }
        let read = spec.read(&recipe.file, base, rules)?;
        let questions = read.items.iter().map(|item| recipe.question(item, spec.question(item, style))).collect();
        let unreadable = BTreeSet::new();
        Ok(Self { spec, base: base.to_owned(), rules, style, read, questions, unreadable, recipe })
    }

    /// What is published.
    pub fn spec(&self) -> &'static dyn Published {
        self.spec
    }

    /// Whose rules the scores follow.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The items, one of each question.
    pub fn items(&self) -> &[Item] {
        &self.read.items
    }

    /// Ids (`part/index`) of rows that the files have and nobody is asked.
    pub fn unasked(&self) -> &[String] {
        &self.read.unasked
    }

    /// What the answers are worth under the rules, with the totals that these print.
    pub fn score(&self, answers: &[Answer]) -> Scored {
        self.spec.score(&self.read.items, answers, self.rules, self.style)
    }

    /// What the same answers are worth under other rules of the benchmark, item by item; none for items that those drop.
    ///
    /// # Errors
    /// Files that cannot be read under them.
    pub fn score_under(&self, rules: Rules, answers: &[Answer]) -> Result<Scored, BenchmarkError> {
        let mut read = self.spec.read(&self.recipe.file, &self.base, rules)?;
        read.items.retain(|item| !self.unreadable.contains(&item.row));
        let by_row: BTreeMap<u64, &Answer> = self.read.items.iter().map(|item| item.row).zip(answers).collect();
        let theirs: Vec<Answer> =
            read.items.iter().map(|item| by_row.get(&item.row).copied().cloned().unwrap_or_default()).collect();
        let scored = self.spec.score(&read.items, &theirs, rules, self.style);
        let mut verdicts: BTreeMap<u64, Option<Verdict>> =
            read.items.iter().map(|item| item.row).zip(scored.verdicts).collect();
        let verdicts = self.read.items.iter().map(|item| verdicts.remove(&item.row).flatten()).collect();
        Ok(Scored { verdicts, ..scored })
    }

    /// The name of a metric: the benchmark's for the first, with its key for the others.
    fn metric(&self, key: &str, first: Option<&str>) -> String {
        let name = &self.recipe.file.name;
        if first == Some(key) { name.clone() } else { format!("{name}_{key}") }
    }

    /// The questions that tell what pictures are worth ([`burn_vlm_eval::cxmi`]): of each item with the pictures, then of each without.
    /// None if the benchmark has no such questions.
    pub fn picture_use(&self) -> Option<[Vec<Question>; 2]> {
        let asked: Vec<(&Item, Asked)> =
            self.read.items.iter().filter_map(|item| Some((item, self.spec.picture_use(item, self.style)?))).collect();
        if asked.len() < self.read.items.len() || asked.is_empty() {
            return None;
        }
        let without = |(item, asked): &(&Item, Asked)| {
            let blind = Item { media: Vec::new(), ..(*item).clone() };
            let text = asked.text.replace(IMAGE_PLACEHOLDER, "");
            self.recipe.question(&blind, Asked { text, ..asked.clone() })
        };
        let blind = asked.iter().map(without).collect();
        Some([asked.into_iter().map(|(item, asked)| self.recipe.question(item, asked)).collect(), blind])
    }

    /// What the judge is asked about each answer; none where nothing is.
    pub fn judge_prompts(&self, answers: &[Answer]) -> Vec<Option<JudgePrompt>> {
        let prompt = |(item, answer): (&Item, &Answer)| self.spec.judge(item, answer.as_text()?, self.rules);
        self.read.items.iter().zip(answers).map(prompt).collect()
    }

    /// Whether scores need a judge.
    pub fn needs_judge(&self) -> bool {
        self.read.items.iter().any(|item| self.spec.judge(item, "", self.rules).is_some())
    }

    /// Who wrote the prompts.
    pub fn prompt(&self) -> PromptStyle {
        self.style
    }

    /// What the scores under a rule set mean.
    pub fn metrics_under(&self, rules: Rules) -> Vec<Metric> {
        let metrics = self.spec.metrics(&self.read.items, rules);
        let first = metrics.first().map(|metric| metric.key);
        let metric = |info: MetricInfo| Metric {
            name: self.metric(info.key, first),
            label: format!("{}, {}", self.recipe.file.name, info.label),
            explanation: info.explanation,
            chance: info.chance,
        };
        metrics.into_iter().map(metric).collect()
    }

    /// One prediction an item that the rules count.
    pub fn predictions_of(&self, answers: &[Answer], scored: &Scored) -> Vec<Prediction> {
        let metrics = self.spec.metrics(&self.read.items, self.rules);
        let first = metrics.first().map(|metric| metric.key);
        let one = |((item, question), (answer, verdict)): ((&Item, &Question), (&Answer, &Option<Verdict>))| {
            let verdict = verdict.as_ref()?;
            let mut tags: BTreeMap<String, String> =
                TAGS.iter().filter_map(|name| Some(((*name).to_owned(), item.cell(name)?))).collect();
            if !item.part.is_empty() {
                tags.insert("part".into(), item.part.clone());
            }
            let right = item.answer();
            let answer_at = item.options.iter().position(|(letter, _)| letter.to_string() == right);
            let option_scores = match &answer.reply {
                Some(Reply::Scores(scores)) => vec![super::OptionScores::new("likelihood", scores.clone())],
                _ => Vec::new(),
            };
            Some(Prediction {
                language: item.language.map(|language| language.tag().to_owned()),
                picture: shown(&item.media).unwrap_or_default(),
                question: item.question.clone(),
                options: item.options.iter().map(|(_, text)| text.clone()).collect(),
                answer: answer_at,
                references: if answer_at.is_none() { item.answers.clone() } else { Vec::new() },
                tags,
                option_scores,
                text: answer.as_text().map(str::to_owned),
                understood: verdict.understood.clone(),
                flags: verdict.flags.iter().map(|flag| flag.as_str().to_owned()).collect(),
                scores: verdict
                    .scores
                    .iter()
                    .map(|(key, score)| NamedScore::new(self.metric(key, first), *score))
                    .collect(),
                ..Prediction::new(&question.id, &self.recipe.file.name, &item.group)
            })
        };
        self.read.items.iter().zip(&self.questions).zip(answers.iter().zip(&scored.verdicts)).filter_map(one).collect()
    }
}

impl Benchmark for PublishedBenchmark {
    fn name(&self) -> &str {
        &self.recipe.file.name
    }

    fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        check_replies(self, replies)?;
        let answers: Vec<Answer> =
            replies.iter().map(|reply| Answer { reply: Some(reply.clone()), judge: None }).collect();
        Ok(self.predictions_of(&answers, &self.score(&answers)))
    }

    fn metrics(&self) -> Vec<Metric> {
        self.metrics_under(self.rules)
    }

    fn published(&self) -> Option<&PublishedBenchmark> {
        Some(self)
    }

    fn languages(&self) -> Vec<String> {
        let tags: Vec<String> =
            self.read.items.iter().filter_map(|item| Some(item.language?.tag().to_owned())).collect();
        distinct(tags.iter().map(String::as_str))
    }

    fn language_of(&self, question: usize) -> Option<String> {
        Some(self.read.items.get(question)?.language?.tag().to_owned())
    }

    fn without(&self, unreadable: &Unreadable) -> Result<Arc<dyn Benchmark>> {
        let file = &self.recipe.file;
        let skip = |(number, SkipReason { kind, detail }): (&usize, &SkipReason)| {
            let item = self.read.items.get(*number)?;
            let (source, place) = (file.name.clone(), format!("question {}", item.id));
            let (record, file, id) = (item.row, file.file.clone(), None);
            Some(Skip { source, record, file, place, id, reason: *kind, detail: detail.clone() })
        };
        let more: Vec<Skip> = unreadable.iter().filter_map(skip).collect();
        let mut read = self.read.clone();
        read.skipped = file.leave_out(&read.skipped, &more, read.items.len())?;
        read.notes.extend(skip_notes(&file.name, &more));
        let (left, gone): (Vec<_>, Vec<_>) =
            read.items.into_iter().enumerate().partition(|(number, _)| !unreadable.contains_key(number));
        read.items = left.into_iter().map(|(_, item)| item).collect();
        let rows = gone.into_iter().map(|(_, item)| item.row);
        Ok(Arc::new(Self {
            spec: self.spec,
            recipe: self.recipe.clone(),
            base: self.base.clone(),
            rules: self.rules,
            style: self.style,
            read,
            questions: readable(&self.questions, unreadable),
            unreadable: self.unreadable.iter().copied().chain(rows).collect(),
        }))
    }

    fn key(&self) -> String {
        format!("{} {} {:?}", self.read.key, self.rules, self.style)
    }

    fn limits(&self) -> DecodeLimits {
        self.recipe.file.limits.decode()
    }

    fn notes(&self) -> Vec<String> {
        self.read.notes.clone()
    }
}

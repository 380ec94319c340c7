//! What a benchmark is: questions, how each is asked, what the replies are worth, and what a reader must know of it.
//!
//! A benchmark of your own is one file: implement [`Benchmark`], then hand it to a study or to
//! [`evaluate`](super::evaluate). Questions in a file need no code, see [`Benchmarks::open`](super::Benchmarks::open).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Turn};
use burn_vlm_data::image::DecodeLimits;
use burn_vlm_data::sample::{Media, VIDEO_PLACEHOLDER, Video, image_turns};
use burn_vlm_data::source::SkipReason;
use serde::{Deserialize, Serialize};

use burn_vlm_eval::ask::{Ask, Reply};

use super::{BenchmarkError, Prediction, PublishedBenchmark};
use crate::error::Result;
use crate::stats::GroupKey;

/// One thing that the model is asked. An item of a benchmark may be asked by several (rotations, with and without the picture).
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What messages call it.
    pub id: String,
    /// The conversation up to where the answer begins; a placeholder stands where a medium is shown.
    pub turns: Vec<Turn>,
    /// What the placeholders stand for, in their order.
    pub media: Vec<Media>,
    /// What is wanted of the model.
    pub ask: Ask,
}

/// Questions that are not asked since what they show cannot be read, by their numbers, each with why.
pub type Unreadable = BTreeMap<usize, SkipReason>;

/// What a score means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Its name in predictions and summaries, such as `cloze`; no two metrics of a study may share it.
    pub name: String,
    /// The name in tables and charts.
    pub label: String,
    /// How a question is asked and scored, in one or two sentences.
    pub explanation: String,
    /// The score of guessing, in percent; none where guessing means nothing (generated captions).
    #[serde(default)]
    pub chance: Option<f64>,
}

/// Questions, and what the replies to them are worth.
///
/// Everything is drawn when the benchmark is made, so that every cell of a study is asked the same.
pub trait Benchmark: Send + Sync {
    /// Its name, unique in a study.
    fn name(&self) -> &str;

    /// What is asked.
    fn questions(&self) -> &[Question];

    /// Reads and scores the replies, one to each of [`Self::questions`], in their order.
    ///
    /// # Errors
    /// Replies of another kind or number than was asked for.
    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>>;

    /// What the scores mean, the first the one that matters most. Every score of a prediction is one of them.
    fn metrics(&self) -> Vec<Metric>;

    /// Tags of the languages that have questions, each once. A column of a study shows the benchmark if all of its
    /// languages are among them.
    fn languages(&self) -> Vec<String>;

    /// The language of a question, by its number among [`Self::questions`]; `None` where that is not told. A benchmark in one language
    /// need not say it.
    fn language_of(&self, _question: usize) -> Option<String> {
        let mut languages = self.languages();
        if languages.len() == 1 { languages.pop() } else { None }
    }

    /// The scores that a study shows first, if this is its first benchmark: those of the first metric, unless the benchmark
    /// has parts.
    fn headline(&self) -> GroupKey {
        let name = self.metrics().into_iter().next().map_or_else(|| self.name().to_owned(), |metric| metric.name);
        GroupKey { protocol: name, subset: Default::default() }
    }

    /// Adds to a prediction what can be told from it alone, each time a summary is made: a better measure needs no new
    /// training.
    fn amend(&self, _prediction: &mut Prediction) {}

    /// The same without some of its questions: they count neither as right nor as wrong, and [`Self::notes`] name them. Pictures are looked at
    /// when a benchmark is opened; that a video cannot be read may turn out when the first question about it is to be asked.
    ///
    /// # Errors
    /// More than may be left out. Unless a benchmark says otherwise, that is any.
    fn without(&self, unreadable: &Unreadable) -> Result<Arc<dyn Benchmark>> {
        let first = unreadable.iter().find_map(|(number, reason)| Some((self.questions().get(*number)?, reason)));
        let what = first.map_or_else(String::new, |(question, reason)| format!("{}: {reason}; ", question.id));
        let message = format!("{what}a benchmark of this kind can do without no question");
        Err(BenchmarkError::Setting { name: self.name().to_owned(), message }.into())
    }

    /// Changes when the same replies would be scored otherwise (another answer key): part of what makes a cell. Questions are
    /// covered already.
    fn key(&self) -> String {
        String::new()
    }

    /// The published benchmark that it is: its totals, and what other rules make of the same replies.
    fn published(&self) -> Option<&PublishedBenchmark> {
        None
    }

    /// The largest pictures that may be shown.
    fn limits(&self) -> DecodeLimits {
        DecodeLimits::default()
    }

    /// What a reader must know of how it was drawn, such as rows that could not be used.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Question {
    /// A question in one user turn, its pictures before the text unless the text places them itself.
    pub fn new(id: impl Into<String>, text: impl Into<String>, media: Vec<Media>, ask: Ask) -> Self {
        let mut text = text.into();
        if !text.contains(IMAGE_PLACEHOLDER) && !text.contains(VIDEO_PLACEHOLDER) {
            let placeholder = |medium: &Media| match medium {
                Media::Image(_) => IMAGE_PLACEHOLDER,
                Media::Video(_) => VIDEO_PLACEHOLDER,
            };
            let shown: String = media.iter().map(|medium| format!("{}\n", placeholder(medium))).collect();
            text = format!("{shown}{text}");
        }
        Self { id: id.into(), turns: vec![Turn::user(text)], media, ask }
    }
}

impl Question {
    /// The question with the frames of its videos as pictures, each on a line of its own as a video's placeholder is.
    pub(super) fn with_frames_as_pictures(&self) -> Cow<'_, Self> {
        if !self.media.iter().any(|medium| matches!(medium, Media::Video(Video::Frames(_)))) {
            return Cow::Borrowed(self);
        }
        let turns = image_turns(&self.turns, &self.media);
        let picture = |medium: &Media| match medium {
            Media::Video(Video::Frames(frames)) => frames.iter().cloned().map(Media::Image).collect(),
            other => vec![other.clone()],
        };
        let media = self.media.iter().flat_map(picture).collect();
        Cow::Owned(Self { turns, media, ..self.clone() })
    }
}

/// The questions that are left.
pub(super) fn readable(questions: &[Question], unreadable: &Unreadable) -> Vec<Question> {
    let left = questions.iter().enumerate().filter(|(number, _)| !unreadable.contains_key(number));
    left.map(|(_, question)| question.clone()).collect()
}

/// As many replies as questions?
pub(super) fn check_replies(benchmark: &dyn Benchmark, replies: &[Reply]) -> Result<()> {
    let asked = benchmark.questions().len();
    if replies.len() == asked {
        return Ok(());
    }
    let message = format!("expected {asked} replies, found {}", replies.len());
    Err(BenchmarkError::Replies { name: benchmark.name().to_owned(), message }.into())
}

//! Questions about clips: which of two answers is the likelier, given all frames in their order, and given less?
//!
//! Each item is asked four times: with the clip, with its middle frame alone, with its frames in another order, and without any. The last
//! three are controls: six of the eight questions cannot be answered from them, by how clips are made. An answer's score is the mean
//! log-likelihood of its tokens, or (`pmi`) that less the same without frames.
//!
//! A metric is of one condition, and of one question or of those six together: `clips`, `clips_middle`, `clips_turns`, `clips_turns_middle`.
//!
//! Unusual here: models are shown the frames as pictures in a row, which every model takes; a video's own tokens (OneVision) are not asked for.

use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::sample::{Media, pictures};
use burn_vlm_data::tasks::{ClipItem, ClipQuestion, ClipSettings};
use serde::{Deserialize, Serialize};

use super::benchmark::check_replies;
use super::choice_items::likelihood;
use super::embedded::{CorpusRecipe, Drawn};
use super::prediction::argmax;
use super::{Ask, Benchmark, BenchmarkError, Metric, NamedScore, OptionScores, Prediction, Question, Reply};
use crate::error::Result;
use crate::recipe::ClozeScore;
use crate::stats::{GroupKey, Subset};

/// The tag of how many frames are shown.
const FRAMES: &str = "frames";

/// Answers of an item.
const OPTIONS: usize = 2;

/// `kind = "clips"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipsRecipe {
    /// Which concepts, of those that the clips show.
    #[serde(flatten)]
    pub corpus: CorpusRecipe,
    /// How answers are scored where frames are shown; without them, by their likelihood.
    #[serde(default = "likelihood")]
    pub rule: ClozeScore,
    /// Which questions, how many frames, which groups of concepts; absent, all questions in 8 frames.
    #[serde(default)]
    pub clips: ClipSettings,
    /// Each item in each of these numbers of frames, which are told apart by a tag, `frames`; absent, in that of `clips`.
    #[serde(default)]
    pub frames: Vec<usize>,
}

impl ClipsRecipe {
    pub(super) const KEYS: [&str; 3] = ["rule", "clips", "frames"];

    /// The clips that are asked about, one setting a number of frames.
    fn settings(&self) -> Vec<ClipSettings> {
        let with = |frames: usize| ClipSettings { frames, ..self.clips.clone() };
        if self.frames.is_empty() { vec![self.clips.clone()] } else { self.frames.iter().copied().map(with).collect() }
    }
}

/// What is shown of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// All of it.
    Clip,
    /// Its middle frame.
    Middle,
    /// Its frames in another order.
    Shuffled,
    /// Nothing.
    Blind,
}

impl Condition {
    /// In the order in which an item is asked.
    const ALL: [Condition; 4] = [Self::Clip, Self::Middle, Self::Shuffled, Self::Blind];

    /// The end of the names of its questions and metrics; none of the real one.
    fn suffix(self) -> &'static str {
        match self {
            Self::Clip => "",
            Self::Middle => "middle",
            Self::Shuffled => "shuffled",
            Self::Blind => "blind",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Clip => "",
            Self::Middle => ", middle frame",
            Self::Shuffled => ", shuffled frames",
            Self::Blind => ", no frames",
        }
    }

    /// What is shown, in words.
    fn words(self) -> &'static str {
        match self {
            Self::Clip => "The clip is shown",
            Self::Middle => "Control: the clip's middle frame alone is shown",
            Self::Shuffled => "Control: the clip's frames are shown in an order drawn by lot",
            Self::Blind => "Control: nothing is shown",
        }
    }

    /// What the model is shown of an item, and asked.
    fn ask(self, item: &ClipItem) -> (Vec<Turn>, Vec<Media>) {
        match self {
            Self::Clip => (item.cloze(), vec![item.clip.clone()]),
            Self::Middle => (item.cloze(), vec![item.middle.clone()]),
            Self::Shuffled => (item.cloze(), vec![item.shuffled.clone()]),
            Self::Blind => (item.cloze_text_only(), Vec::new()),
        }
    }
}

/// Questions about clips.
pub struct Clips {
    name: String,
    rule: ClozeScore,
    /// One a condition of each item.
    questions: Vec<Question>,
    /// Without scores, each with what is asked.
    items: Vec<(ClipQuestion, Prediction)>,
    /// The questions that are asked.
    asked: Vec<ClipQuestion>,
}

impl Clips {
    /// Draws the items: `seen` and `unseen` concepts of the recipe, every question of each.
    ///
    /// # Errors
    /// A language that the corpus does not have, no concept.
    pub fn new(corpus: &EmojiCorpus, recipe: ClipsRecipe) -> Result<Self, BenchmarkError> {
        let settings = recipe.settings();
        if let Some(problem) = settings.iter().find_map(ClipSettings::problem) {
            return Err(BenchmarkError::Setting { name: recipe.corpus.name, message: format!("`clips`: {problem}") });
        }
        let drawn = Drawn::new(corpus, &recipe.corpus)?;
        let name = &recipe.corpus.name;
        let (mut questions, mut items) = (Vec::new(), Vec::new());
        for ((pool, limit), settings) in
            drawn.limits().into_iter().flat_map(|pool| settings.iter().map(move |s| (pool, s)))
        {
            let all = drawn.builder.clip_items(pool, settings);
            let mut concepts: Vec<_> = all.iter().map(|item| item.concept).collect();
            concepts.dedup();
            let asked = drawn.first(&concepts, limit);
            for item in all.iter().filter(|item| asked.contains(&item.concept)) {
                let id = match recipe.frames.is_empty() {
                    true => item.id.clone(),
                    false => format!("{}/{}", item.id, settings.frames),
                };
                for condition in Condition::ALL {
                    let (turns, media) = condition.ask(item);
                    let parts = [id.as_str(), condition.suffix()];
                    let id = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
                    let ask = Ask::Likelihood { answers: item.options.to_vec() };
                    questions.push(Question { id, turns, media, ask });
                }
                items.push((item.question, prediction((name, &id), corpus, item, settings.frames)));
            }
        }
        if items.is_empty() {
            return Err(drawn.empty());
        }
        let is_asked = |question: &ClipQuestion| items.iter().any(|(asked, _)| asked == question);
        let asked = ClipQuestion::ALL.into_iter().filter(is_asked).collect();
        Ok(Self { name: name.clone(), rule: recipe.rule, questions, items, asked })
    }

    /// The metric of a question under a condition; of all that need frames in their order, where none is named.
    fn metric(&self, question: Option<ClipQuestion>, condition: Condition) -> String {
        let parts = [self.name.as_str(), question.map_or("", ClipQuestion::as_str), condition.suffix()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
    }

    /// Of what metrics are: the questions that need frames in their order together, if any is asked, then each by itself.
    fn parts(&self) -> Vec<Option<ClipQuestion>> {
        let together = self.asked.iter().any(|question| question.needs_order()).then_some(None);
        together.into_iter().chain(self.asked.iter().copied().map(Some)).collect()
    }

    fn score(&self, (question, item): &(ClipQuestion, Prediction), replies: &[Reply]) -> Result<Prediction> {
        let given = replies.iter().map(|reply| reply.scores(&self.name, OPTIONS)).collect::<Result<Vec<_>, _>>()?;
        let blind = given.last().copied().unwrap_or_default();
        let (mut scores, mut option_scores) = (Vec::new(), Vec::new());
        for (condition, given) in Condition::ALL.into_iter().zip(&given) {
            let values: Vec<f64> = match (self.rule, condition) {
                (ClozeScore::Likelihood, _) | (_, Condition::Blind) => given.to_vec(),
                (ClozeScore::Pmi, _) => given.iter().zip(blind).map(|(given, prior)| given - prior).collect(),
            };
            let right = Some(argmax(&values)) == item.answer;
            if question.needs_order() {
                scores.push(NamedScore::right(self.metric(None, condition), right));
            }
            scores.push(NamedScore::right(self.metric(Some(*question), condition), right));
            let shown = if condition == Condition::Clip { "clip" } else { condition.suffix() };
            option_scores.push(OptionScores::new(shown, values));
        }
        Ok(Prediction { option_scores, scores, ..item.clone() })
    }
}

/// What every prediction about an item has.
fn prediction((benchmark, id): (&str, &str), corpus: &EmojiCorpus, item: &ClipItem, frames: usize) -> Prediction {
    let shown: Vec<String> =
        pictures(std::slice::from_ref(&item.clip)).map(|picture| picture.name()).collect::<Vec<_>>();
    Prediction {
        subset: Subset::from([("concepts", item.pool.concepts.as_str())]),
        language: Some(item.language.tag().to_owned()),
        picture: shown.join(" | "),
        question: item.prompt.clone(),
        options: item.options.to_vec(),
        answer: Some(item.answer),
        tags: [(FRAMES.to_owned(), frames.to_string())].into(),
        ..Prediction::new(id, benchmark, &corpus.concept(item.concept).code)
    }
}

/// A question in words.
fn words(question: Option<ClipQuestion>) -> (&'static str, &'static str) {
    match question {
        None => ("Clips", "Six questions about clips that need several frames in their order."),
        Some(ClipQuestion::Direction) => ("Direction", "Does an icon move to the left or to the right, up or down?"),
        Some(ClipQuestion::Grows) => ("Grows", "Does an icon grow or shrink?"),
        Some(ClipQuestion::Turns) => ("Turns", "Does an icon go round clockwise or not?"),
        Some(ClipQuestion::Order) => ("Order", "In which order are two icons shown?"),
        Some(ClipQuestion::FirstLast) => ("First / last", "Which of three icons was the first, or the last?"),
        Some(ClipQuestion::Becomes) => ("Becomes", "Which of two icons becomes the other?"),
        Some(ClipQuestion::Times) => {
            ("Times", "How many times does an icon appear? Needs several frames, in any order.")
        }
        Some(ClipQuestion::Control) => {
            ("How many", "How many icons are there at the end? Needs one frame, from the middle on.")
        }
    }
}

impl Benchmark for Clips {
    fn name(&self) -> &str {
        &self.name
    }

    fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        check_replies(self, replies)?;
        let conditions = replies.chunks_exact(Condition::ALL.len());
        self.items.iter().zip(conditions).map(|(item, replies)| self.score(item, replies)).collect()
    }

    fn metrics(&self) -> Vec<Metric> {
        let metric = |question: Option<ClipQuestion>, condition: Condition| {
            let (label, asked) = words(question);
            let score = match (self.rule, condition) {
                (ClozeScore::Likelihood, _) | (_, Condition::Blind) => "the mean log-likelihood of its tokens",
                (ClozeScore::Pmi, _) => "the mean log-likelihood of its tokens, less the same where nothing is shown",
            };
            Metric {
                name: self.metric(question, condition),
                label: format!("{label}{}", condition.label()),
                explanation: format!(
                    "{asked} {}; of two answers the one with the higher score is chosen, {score}.",
                    condition.words()
                ),
                chance: Some(100.0 / OPTIONS as f64),
            }
        };
        let parts = self.parts();
        parts.iter().flat_map(|part| Condition::ALL.map(|condition| metric(*part, condition))).collect()
    }

    fn languages(&self) -> Vec<String> {
        super::distinct(self.items.iter().filter_map(|(_, item)| item.language.as_deref()))
    }

    fn language_of(&self, question: usize) -> Option<String> {
        self.items.get(question / Condition::ALL.len())?.1.language.clone()
    }

    /// The questions that need frames in their order, of seen concepts.
    fn headline(&self) -> GroupKey {
        let first = self.items.first().map(|(_, item)| item.subset.clone()).unwrap_or_default();
        let part = self.parts().into_iter().next().flatten();
        GroupKey { protocol: self.metric(part, Condition::Clip), subset: first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_vlm_data::conversation::count_images;
    use burn_vlm_data::language::Language;

    fn open(more: &str) -> Clips {
        let text = format!("name = 'clips'\nlanguages = ['en', 'de']\nseed = 1\n{more}");
        Clips::new(&EmojiCorpus::embedded().unwrap(), toml::from_str(&text).unwrap()).unwrap()
    }

    const FEW: &str = "seen = 5\nunseen = 3\n[clips]\nquestions = ['direction', 'control']\nframes = 4";

    #[test]
    fn each_item_is_asked_under_four_conditions() {
        let clips = open(FEW);
        // Concepts, questions, languages.
        assert_eq!(clips.items.len(), (5 + 3) * 2 * 2);
        assert_eq!(clips.questions().len(), 4 * clips.items.len());
        for asked in clips.questions().chunks(4) {
            // One video each, none where nothing is shown; pictures in a row, for a model that takes no videos.
            let shown: Vec<usize> = asked.iter().map(|question| pictures(&question.media).count()).collect();
            assert_eq!(shown, [4, 1, 4, 0]);
            assert!(asked[..3].iter().all(|question| matches!(question.media[..], [Media::Video(_)])));
            let as_pictures: Vec<_> = asked.iter().map(|question| question.with_frames_as_pictures()).collect();
            assert_eq!(as_pictures.iter().map(|question| question.media.len()).collect::<Vec<_>>(), shown);
            assert_eq!(as_pictures.iter().map(|question| count_images(&question.turns)).collect::<Vec<_>>(), shown);
            assert!(asked[1].id.ends_with("/middle") && !asked[0].id.ends_with('/'), "{}", asked[0].id);
            assert!(asked.iter().all(|question| question.ask == asked[0].ask));
        }
        assert_eq!(clips.languages(), [Language::DE.tag(), Language::EN.tag()]);
        let told = (0..clips.questions().len()).map(|question| clips.language_of(question));
        assert!(told.eq(clips.items.iter().flat_map(|(_, item)| vec![item.language.clone(); 4])));
        let headline = clips.headline();
        assert_eq!((headline.protocol.as_str(), headline.subset.get("concepts")), ("clips", Some("seen")));
        let names: Vec<String> = clips.metrics().into_iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), 3 * 4);
        assert_eq!(names[..5], ["clips", "clips_middle", "clips_shuffled", "clips_blind", "clips_direction"]);
    }

    #[test]
    fn conditions_are_scored_by_themselves() {
        for rule in ["likelihood", "pmi"] {
            let clips = open(&format!("rule = '{rule}'\n{FEW}"));
            // Right with the clip, wrong with its middle frame, right when shuffled; without frames the first option.
            let replies: Vec<Reply> = clips
                .items
                .iter()
                .flat_map(|(_, item)| {
                    let answer = item.answer.unwrap();
                    let values =
                        |best: usize| Reply::Scores((0..2).map(|at| f64::from(u8::from(at == best)) * 9.0).collect());
                    let blind = Reply::Scores(vec![1.0, 0.0]);
                    [values(answer), values(1 - answer), values(answer), blind]
                })
                .collect();
            for ((question, item), made) in clips.items.iter().zip(clips.predictions(&replies).unwrap()) {
                let blind = f64::from(u8::from(item.answer == Some(0)));
                let expected = [("", 1.0), ("_middle", 0.0), ("_shuffled", 1.0), ("_blind", blind)];
                for (suffix, value) in expected {
                    let own = format!("clips_{}{suffix}", question.as_str());
                    assert_eq!(made.score(&own), Some(value), "{own}");
                    let together = made.score(&format!("clips{suffix}"));
                    assert_eq!(together, question.needs_order().then_some(value), "{suffix}");
                }
                // Nine less one, or nine.
                let first = made.option_scores[0].values[0];
                let prior = if rule == "pmi" { 1.0 } else { 0.0 };
                assert_eq!(first, 9.0 * f64::from(u8::from(item.answer == Some(0))) - prior);
            }
            assert!(clips.predictions(&[]).is_err());
        }
    }

    /// The same clips in several numbers of frames, told apart by ids and tags.
    #[test]
    fn frames_may_be_several() {
        let clips = open("seen = 2\nunseen = 1\nframes = [2, 8]\nclips = { questions = ['grows'] }");
        let of = |frames: &str| clips.items.iter().filter(move |(_, item)| item.tags[FRAMES] == frames).count();
        assert_eq!((of("2"), of("8"), clips.items.len()), (3 * 2, 3 * 2, 3 * 4));
        let ids: std::collections::BTreeSet<&String> = clips.questions().iter().map(|question| &question.id).collect();
        assert_eq!(ids.len(), clips.questions().len());
        let groups: std::collections::BTreeSet<&String> = clips.items.iter().map(|(_, item)| &item.group).collect();
        assert_eq!(groups.len(), 3);
    }

    #[test]
    fn settings_are_checked() {
        let table = toml::from_str("name = 'clips'\nlanguages = ['en']\nclips = { frames = 7 }").unwrap();
        let error = Clips::new(&EmojiCorpus::embedded().unwrap(), table).err().unwrap().to_string();
        assert!(error.contains("frames = 7"), "{error}");
    }
}

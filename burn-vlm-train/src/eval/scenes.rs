//! Questions about scenes of several icons, by the size of what must be seen: which of four answers is the likeliest?
//!
//! Scored as the cloze form of the corpus's own questions: by the mean log-likelihood of an answer's tokens, or by the same less what the
//! question alone gives. Each size is a part by itself (`size`, a tag), so that a study's columns can be sizes.

use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::tasks::{SceneItem, SceneOptions, SceneSettings};
use serde::{Deserialize, Serialize};

use super::choice_items::{ChoiceItems, Explained, likelihood, score_words};
use super::embedded::{CorpusRecipe, Drawn};
use super::{Benchmark, BenchmarkError, Metric, Prediction, Question, Reply};
use crate::error::Result;
use crate::recipe::ClozeScore;
use crate::stats::{GroupKey, Subset};

/// The tag under which a prediction has the size of the icons: `1/4`.
pub const SIZE: &str = "size";
/// The tag of how many icons the picture has.
const ICONS: &str = "icons";

/// `kind = "scenes"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenesRecipe {
    /// Which concepts, of those that the scenes show.
    #[serde(flatten)]
    pub corpus: CorpusRecipe,
    /// The headline rule; the other one is given too.
    #[serde(default = "likelihood")]
    pub rule: ClozeScore,
    /// Which questions, sizes and groups of concepts; absent, all.
    #[serde(default)]
    pub scenes: SceneSettings,
    /// Where wrong answers come from; absent, from everywhere.
    #[serde(default)]
    pub options: Vec<SceneOptions>,
}

/// Questions about scenes.
pub struct Scenes(ChoiceItems);

impl ScenesRecipe {
    pub(super) const KEYS: [&str; 3] = ["rule", "scenes", "options"];
}

impl Scenes {
    /// Draws the items: `seen` and `unseen` concepts of the recipe, every level of each.
    ///
    /// # Errors
    /// A language that the corpus does not have, no concept.
    pub fn new(corpus: &EmojiCorpus, recipe: ScenesRecipe) -> Result<Self, BenchmarkError> {
        if let Some(problem) = recipe.scenes.problem() {
            return Err(BenchmarkError::Setting { name: recipe.corpus.name, message: format!("`scenes`: {problem}") });
        }
        let drawn = Drawn::new(corpus, &recipe.corpus)?;
        let is_asked = |item: &SceneItem| recipe.options.is_empty() || recipe.options.contains(&item.options_from);
        let mut items = ChoiceItems::new(&recipe.corpus.name, recipe.rule);
        for (pool, limit) in drawn.limits() {
            let all: Vec<SceneItem> =
                drawn.builder.scene_items(pool, &recipe.scenes).into_iter().filter(is_asked).collect();
            let mut concepts: Vec<_> = all.iter().map(|item| item.concept).collect();
            concepts.dedup();
            let asked = drawn.first(&concepts, limit);
            for item in all.into_iter().filter(|item| asked.contains(&item.concept)) {
                let shown = (item.cloze(), item.media.clone());
                items.push(prediction(&recipe.corpus.name, corpus, &item), shown, item.cloze_text_only());
            }
        }
        if items.items().is_empty() {
            return Err(drawn.empty());
        }
        Ok(Self(items))
    }
}

/// What every prediction about an item has.
fn prediction(benchmark: &str, corpus: &EmojiCorpus, item: &SceneItem) -> Prediction {
    let subset = Subset::from([
        ("scene", item.question.as_str()),
        ("options", item.options_from.as_str()),
        ("concepts", item.pool.concepts.as_str()),
    ]);
    let tags = [(SIZE, item.size.as_str().to_owned()), (ICONS, item.icons.to_string())];
    let pictures = burn_vlm_data::sample::pictures(&item.media).map(|picture| picture.name()).collect::<Vec<_>>();
    Prediction {
        subset,
        language: Some(item.language.tag().to_owned()),
        picture: pictures.join(" | "),
        question: item.prompt.clone(),
        options: item.options.to_vec(),
        answer: Some(item.answer),
        tags: tags.map(|(tag, value)| (tag.to_owned(), value)).into(),
        ..Prediction::new(&item.id, benchmark, &corpus.concept(item.concept).code)
    }
}

impl Benchmark for Scenes {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn questions(&self) -> &[Question] {
        self.0.questions()
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        self.0.predictions(self, replies)
    }

    fn metrics(&self) -> Vec<Metric> {
        self.0.metrics(Explained {
            label: "Scenes",
            first: "A question about a picture of one or several icons, of a style and in a layout that no training sample has: of four \
                    answers the one with the highest score is chosen; an answer's score is",
            other: "The same questions; an answer's score is",
            score: score_words,
        })
    }

    fn languages(&self) -> Vec<String> {
        self.0.languages()
    }

    fn language_of(&self, question: usize) -> Option<String> {
        self.0.language_of(question)
    }

    /// The first question that is asked, of its first kind of options and of seen concepts.
    fn headline(&self) -> GroupKey {
        let first = self.0.items().first().map(|item| item.subset.clone()).unwrap_or_default();
        GroupKey { protocol: self.name().to_owned(), subset: first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_vlm_data::language::Language;

    fn open(more: &str) -> Scenes {
        let text = format!("name = 'scenes'\nlanguages = ['en', 'de']\nseed = 1\n{more}");
        Scenes::new(&EmojiCorpus::embedded().unwrap(), toml::from_str(&text).unwrap()).unwrap()
    }

    #[test]
    fn each_concept_is_asked_at_every_level() {
        let scenes = open("seen = 5\nunseen = 3\n[scenes]\nquestions = ['place']\nsizes = ['1/2', '1/8']");
        // Concepts, sizes, kinds of options, languages; with and without the picture.
        assert_eq!(scenes.0.items().len(), (5 + 3) * 2 * 2 * 2);
        assert_eq!(scenes.questions().len(), 2 * scenes.0.items().len());
        let seen = scenes.0.items().iter().filter(|item| item.subset.get("concepts") == Some("seen")).count();
        assert_eq!(seen, 5 * 2 * 2 * 2);
        assert_eq!(scenes.languages(), [Language::DE.tag(), Language::EN.tag()]);
        // Of both questions about an item.
        let told = (0..scenes.questions().len()).map(|question| scenes.language_of(question));
        let items = scenes.0.items().iter().flat_map(|item| [item.language.clone(), item.language.clone()]);
        assert!(told.eq(items));
        let headline = scenes.headline();
        let parts = ["scene", "options", "concepts"].map(|part| headline.subset.get(part).unwrap());
        assert_eq!((headline.protocol.as_str(), parts), ("scenes", ["place", "elsewhere", "seen"]));
        let sizes: std::collections::BTreeSet<&str> = scenes.0.items().iter().map(|item| &*item.tags[SIZE]).collect();
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), ["1/2", "1/8"]);
    }

    #[test]
    fn the_right_answer_scores_and_the_text_alone_is_taken_away() {
        let scenes =
            open("seen = 2\nunseen = 1\noptions = ['elsewhere']\n[scenes]\nquestions = ['alone']\nsizes = ['1/4']");
        let reply = |item: &Prediction, right: bool, with_picture: bool| {
            let answer = item.answer.unwrap();
            let best = if right { answer } else { (answer + 1) % 4 };
            let value = |at: usize| if at == best && with_picture { -0.5 } else { -1.0 };
            Reply::Scores((0..4).map(value).collect())
        };
        for right in [true, false] {
            let replies: Vec<Reply> = scenes
                .0
                .items()
                .iter()
                .flat_map(|item| [reply(item, right, true), reply(item, right, false)])
                .collect();
            for prediction in scenes.predictions(&replies).unwrap() {
                let expected = f64::from(u8::from(right));
                assert_eq!(prediction.score("scenes"), Some(expected));
                assert_eq!(prediction.score("scenes_pmi"), Some(expected));
                assert_eq!(prediction.option_scores[1].rule, "pmi");
            }
        }
        assert!(scenes.predictions(&[]).is_err());
    }
}

//! Words in pictures: which of four words is written, in a font and a layout that training never shows? `kind = "words"`.
//!
//! The question is the picture alone ([`WordItem::turns`]); an option's score is the mean log-likelihood of its tokens, or (`pmi`) that
//! less the same without the picture, as in [`Cloze`](super::Cloze). Parts that must not be averaged together are whether training shows
//! the word (where both are asked), the level (how it is drawn) and the distractors. The levels ask the same words with the same options.

use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::{Media, Picture};
use burn_vlm_data::tasks::{Distractors, Purpose, Vocabulary, WordItem, WordSettings, WordTasks};
use burn_vlm_data::words::{Level, Script, fold};
use serde::{Deserialize, Serialize};

use super::choice_items::{ChoiceItems, Explained, likelihood};
use super::{Benchmark, BenchmarkError, Metric, Prediction, Question, Reply};
use crate::error::Result;
use crate::recipe::ClozeScore;
use crate::stats::{GroupKey, Subset};

/// `kind = "words"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WordsRecipe {
    /// Name of the benchmark, and of its scores.
    pub name: String,
    /// Languages of the words.
    pub languages: Vec<Language>,
    /// How they are drawn; the first is the headline.
    #[serde(default = "levels")]
    pub levels: Vec<Level>,
    /// Where the wrong words come from; the first is the headline.
    #[serde(default = "distractors")]
    pub distractors: Vec<Distractors>,
    /// Held-out words of each language that are asked; 0 for all.
    #[serde(default)]
    pub words: usize,
    /// Words of each language that training shows in other fonts and layouts, if it draws at least so many (`words` of a stage's words; for
    /// validation twice as many); none where absent. They are the headline: a model may know a word without being able to spell.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seen: usize,
    /// Side of a picture in pixels.
    #[serde(default = "size")]
    pub size: u32,
    /// Seed of the draw.
    #[serde(default)]
    pub seed: u64,
    /// Asks the words for validation instead of those for the test.
    #[serde(default)]
    pub validation: bool,
    /// The headline rule; the other one is given too.
    #[serde(default = "likelihood")]
    pub rule: ClozeScore,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn levels() -> Vec<Level> {
    Level::ALL.to_vec()
}

fn distractors() -> Vec<Distractors> {
    vec![Distractors::Far, Distractors::Near]
}

fn size() -> u32 {
    WordSettings::default().size
}

impl WordsRecipe {
    pub(super) const KEYS: [&str; 10] =
        ["name", "languages", "levels", "distractors", "words", "seen", "size", "seed", "validation", "rule"];
}

/// Which word is written?
pub struct WordsBenchmark {
    /// Each asked with its picture, then by nothing at all.
    items: ChoiceItems,
    headline: Subset,
}

impl WordsBenchmark {
    /// Draws the items.
    ///
    /// # Errors
    /// A language without words, no level, a size that is too small to read.
    pub fn new(corpus: &EmojiCorpus, recipe: WordsRecipe) -> std::result::Result<Self, BenchmarkError> {
        let wrong = |message: String| BenchmarkError::Setting { name: recipe.name.clone(), message };
        let settings = WordSettings { levels: recipe.levels.clone(), size: recipe.size, ..WordSettings::default() };
        if let Some(problem) = settings.problem() {
            return Err(wrong(problem));
        }
        let (Some(level), Some(first)) = (recipe.levels.first(), recipe.distractors.first()) else {
            return Err(wrong("`distractors` is empty; leave it out for both kinds".into()));
        };
        let asked: &[(Vocabulary, usize)] = match recipe.seen {
            0 => &[(Vocabulary::Unseen, recipe.words)],
            seen => &[(Vocabulary::Seen, seen), (Vocabulary::Unseen, recipe.words)],
        };
        let subset = |vocabulary: Vocabulary, level: Level, distractors: Distractors| {
            let parts = Subset::from([("words", level.as_str()), ("distractors", distractors.as_str())]);
            if recipe.seen == 0 { parts } else { parts.with("vocabulary", vocabulary.as_str()) }
        };
        let headline = subset(asked[0].0, *level, *first);
        let tasks = WordTasks::new(corpus, recipe.seed);
        let purpose = if recipe.validation { Purpose::Validation } else { Purpose::Test };
        let mut items = ChoiceItems::new(&recipe.name, recipe.rule);
        for &language in &recipe.languages {
            for (&distractors, &(vocabulary, words)) in
                recipe.distractors.iter().flat_map(|distractors| asked.iter().map(move |asked| (distractors, asked)))
            {
                let of = (recipe.levels.as_slice(), distractors);
                let drawn = tasks.items(language, of, (vocabulary, purpose, words), recipe.size);
                for item in drawn.map_err(|error| wrong(error.to_string()))? {
                    let media = vec![Media::Image(Picture::Drawn(item.picture.clone()))];
                    let parts = subset(item.vocabulary, item.level, item.distractors);
                    items.push(prediction(&recipe.name, item, parts), (WordItem::turns(), media), vec![Turn::user("")]);
                }
            }
        }
        if items.items().is_empty() {
            return Err(BenchmarkError::Empty {
                name: recipe.name,
                why: Some("no word has three others like it".into()),
            });
        }
        Ok(Self { items, headline })
    }
}

/// What is known of an item before it is asked. Its group is the word, whatever the level.
fn prediction(name: &str, item: WordItem, subset: Subset) -> Prediction {
    let script = Script::of(item.language).map_or("", Script::as_str);
    let tags = [("script".to_owned(), script.to_owned())];
    Prediction {
        subset,
        language: Some(item.language.tag().to_owned()),
        picture: item.picture.name().to_owned(),
        options: item.options.to_vec(),
        answer: Some(item.answer),
        tags: tags.into(),
        ..Prediction::new(item.id, name, fold(&item.word))
    }
}

/// What a word's score is.
fn score_words(rule: ClozeScore) -> &'static str {
    match rule {
        ClozeScore::Likelihood => "the mean log-likelihood of its tokens given the picture",
        ClozeScore::Pmi => "the mean log-likelihood of its tokens given the picture, less the same without it",
    }
}

impl Benchmark for WordsBenchmark {
    fn name(&self) -> &str {
        self.items.name()
    }

    fn questions(&self) -> &[Question] {
        self.items.questions()
    }

    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        self.items.predictions(self, replies)
    }

    fn metrics(&self) -> Vec<Metric> {
        self.items.metrics(Explained {
            label: "Words in pictures",
            first: "A word in a held-out font and layout, without a question: of four words of its language and length the one with the \
                    highest score is the answer; a word's score is",
            other: "The same pictures; a word's score is",
            score: score_words,
        })
    }

    fn languages(&self) -> Vec<String> {
        self.items.languages()
    }

    fn language_of(&self, question: usize) -> Option<String> {
        self.items.language_of(question)
    }

    fn headline(&self) -> GroupKey {
        GroupKey { protocol: self.name().to_owned(), subset: self.headline.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::choice_items::OPTIONS;
    use super::*;

    fn open(more: &str) -> std::result::Result<WordsBenchmark, BenchmarkError> {
        let text = format!("name = 'words'\nlanguages = ['en', 'el']\nwords = 3\n{more}");
        WordsBenchmark::new(&EmojiCorpus::embedded().unwrap(), toml::from_str(&text).unwrap())
    }

    #[test]
    fn every_word_is_asked_in_every_level_with_one_set_of_options() {
        let benchmark = open("").unwrap();
        // Two languages, three words, near and far, five levels.
        assert_eq!((benchmark.items.items().len(), benchmark.questions().len()), (60, 120));
        assert_eq!(benchmark.languages(), ["el", "en"]);
        let far = |item: &&Prediction| item.subset.get("distractors") == Some("far");
        for item in benchmark.items.items().iter().filter(far) {
            let same = benchmark.items.items().iter().filter(far).filter(|other| other.group == item.group);
            let options: std::collections::BTreeSet<&[String]> = same.map(|other| other.options.as_slice()).collect();
            assert_eq!(options.len(), 1, "{}", item.id);
            assert_eq!(fold(&item.options[item.answer.unwrap()]), item.group);
        }
    }

    /// Seen words head the report, and no option of theirs is a held-out word; without them nothing is as it was before.
    #[test]
    fn seen_words_are_a_part_of_their_own() {
        let benchmark = open("seen = 12\nlevels = ['plain']").unwrap();
        let (seen, unseen): (Vec<&Prediction>, Vec<&Prediction>) =
            benchmark.items.items().iter().partition(|item| item.subset.get("vocabulary") == Some("seen"));
        assert!(!seen.is_empty() && unseen.len() == 2 * 3 * 2, "{} {}", seen.len(), unseen.len());
        let headline = benchmark.headline().subset;
        assert_eq!((headline.get("vocabulary"), headline.get("distractors")), (Some("seen"), Some("far")));
        let lexicon = burn_vlm_data::words::Lexicon::embedded(&EmojiCorpus::embedded().unwrap());
        assert!(seen.iter().flat_map(|item| &item.options).all(|option| !lexicon.is_held_out(option)));
        assert!(unseen.iter().flat_map(|item| &item.options).all(|option| lexicon.is_held_out(option)));
        assert_eq!(open("").unwrap().headline().subset.get("vocabulary"), None);
    }

    /// Hand-worked: the second option is likelier by itself, the first gains by the picture.
    #[test]
    fn replies_are_scored_by_both_rules() {
        let benchmark = open("levels = ['plain']\ndistractors = ['far']").unwrap();
        let mut replies = Vec::new();
        for item in benchmark.items.items() {
            let answer = item.answer.unwrap();
            let mut given = vec![-2.0; OPTIONS];
            given[(answer + 1) % OPTIONS] = -1.0;
            let mut prior = vec![-2.0; OPTIONS];
            prior[answer] = -4.0;
            prior[(answer + 1) % OPTIONS] = -1.0;
            replies.extend([Reply::Scores(given), Reply::Scores(prior)]);
        }
        for prediction in benchmark.predictions(&replies).unwrap() {
            assert_eq!((prediction.score("words"), prediction.score("words_pmi")), (Some(0.0), Some(1.0)));
        }
        assert_eq!(benchmark.metrics().iter().map(|metric| metric.chance).collect::<Vec<_>>(), [Some(25.0); 2]);
    }

    #[test]
    fn settings_are_checked() {
        for (more, word) in [("levels = []", "levels"), ("distractors = []", "distractors"), ("size = 4", "size = 4")] {
            assert!(open(more).map(|_| ()).unwrap_err().to_string().contains(word), "{more}");
        }
        let thai = "name = 'words'\nlanguages = ['th']";
        let error = WordsBenchmark::new(&EmojiCorpus::embedded().unwrap(), toml::from_str(thai).unwrap()).map(|_| ());
        assert!(error.unwrap_err().to_string().contains("no words to draw in th"));
    }
}

//! What a model's decoder can do without pictures, in each of its languages: what finetuning on pictures may cost it.
//!
//! Everything is asked about held-out concepts of the embedded corpus, which no training sample of a part or a stage is about, in the
//! backbone's own chat template:
//! - the likelihood of a concept's name after keywords of it in the same language, in bits per byte of the name (the end of the
//!   answer is predicted too, and has no byte), so that tokenizers compare;
//! - the translation of its name from English (into English: from each of the other languages in turn), by chrF;
//! - whether that translation is in the language that was asked for.

use std::collections::BTreeMap;

use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::{ConceptId, EmojiCorpus};
use burn_vlm_data::language::{Language, LanguageIdentifier};
use burn_vlm_data::sample::Sample;
use burn_vlm_data::tasks::{Pool, TaskBuilder};
use serde::{Deserialize, Serialize};

use super::embedded::draw;
use super::evaluate::ask_all;
use super::rows::Scorer;
use super::scores::targets;
use super::{Ask, BenchmarkError, PivotRecipe, Progress, Question, Untranslated};
use crate::error::{Result, TrainError};
use crate::recipe::{EvaluationRecipe, TextPrompt};
use crate::stats::chrf;

/// What messages call it.
const NAME: &str = "text";
/// Longest translation in tokens, as of captions; the longest name of the corpus has about half of it.
const MAX_NEW_TOKENS: usize = 32;
/// Decimals of a number of bits that are kept: what is written is what is read back, to the last digit.
const DECIMALS: f64 = 1e6;

/// The texts that a decoder is asked about.
pub struct TextQuestions {
    questions: Vec<Question>,
    /// One a question.
    items: Vec<Item>,
    identifier: LanguageIdentifier,
}

/// What a question is about.
struct Item {
    language: Language,
    group: String,
    /// The right answer.
    name: String,
    /// Of a translation, the language that it is from.
    from: Option<Language>,
}

/// The likelihood of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextLikelihood {
    /// Tag of its language.
    pub language: String,
    /// The concept that it is about.
    pub group: String,
    /// The negative log-likelihood of its tokens and of its end, to the base 2.
    pub bits: f64,
    /// Its bytes in UTF-8.
    pub bytes: usize,
}

/// A translation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Translation {
    /// Tag of the language that was asked for.
    pub language: String,
    /// Tag of the language that it is from.
    pub from: String,
    /// The concept that it is about.
    pub group: String,
    /// What the model wrote.
    pub text: String,
    /// The right answer.
    pub reference: String,
    /// chrF of the one against the other, 0 to 1.
    pub chrf: f64,
    /// Whether what the model wrote is in the language that was asked for.
    pub in_language: bool,
}

/// All that a decoder was asked at one moment of its training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TextScores {
    /// Likelihoods of texts.
    pub likelihood: Vec<TextLikelihood>,
    /// Translations.
    pub translation: Vec<Translation>,
}

impl TextQuestions {
    /// Draws the texts of `evaluation.text`; none where it is not asked for.
    ///
    /// # Errors
    /// A language that the corpus does not have, no concept.
    pub fn new(corpus: &EmojiCorpus, evaluation: &EvaluationRecipe) -> Result<Option<Self>> {
        let Some(recipe) = &evaluation.text else { return Ok(None) };
        let wrong = |message: String| TrainError::Recipe(format!("[evaluation]: `text`: {message}"));
        let mut all = recipe.languages.clone();
        if !all.contains(&Language::EN) {
            all.push(Language::EN);
        }
        let builder = TaskBuilder::new(corpus, &all, evaluation.seed).map_err(|error| wrong(error.to_string()))?;
        let pool = if evaluation.validation { Pool::VALIDATION_UNSEEN } else { Pool::TEST_UNSEEN };
        let concepts = draw(corpus, &builder.named_concepts(pool), recipe.items, evaluation.seed);
        let mut questions =
            Self { questions: Vec::new(), items: Vec::new(), identifier: LanguageIdentifier::new(corpus, &all) };
        let asked = |sample: &Sample| sample.language.is_some_and(|language| recipe.languages.contains(&language));
        for sample in builder.keywords_to_name_items(&concepts).into_iter().filter(asked) {
            questions.push(sample, None, recipe.prompt)?;
        }
        let others: Vec<Language> = all.iter().copied().filter(|language| *language != Language::EN).collect();
        let from_english: Vec<(Language, Language)> = others.iter().map(|to| (Language::EN, *to)).collect();
        for (number, &concept) in concepts.iter().enumerate() {
            let into_english = (!others.is_empty()).then(|| (others[number % others.len()], Language::EN));
            for (from, to) in from_english.iter().copied().chain(into_english) {
                for sample in builder.translation_items(&[concept], &[(from, to)]).into_iter().filter(asked) {
                    let source = name_of(corpus, concept, from);
                    questions.push(sample, Some((from, source)), recipe.prompt)?;
                }
            }
        }
        let unasked = recipe.languages.iter().find(|language| questions.items.iter().all(|i| i.language != **language));
        if let Some(language) = unasked {
            return Err(wrong(format!("there is no text in `{language}` about a held-out concept")));
        }
        Ok(Some(questions))
    }

    fn push(&mut self, sample: Sample, from: Option<(Language, String)>, prompt: TextPrompt) -> Result<()> {
        let Sample { id, mut turns, language, group, .. } = sample;
        let (Some(language), Some(answer)) = (language, turns.pop()) else {
            let message = format!("{id} has no language or no answer");
            return Err(BenchmarkError::Setting { name: NAME.to_owned(), message }.into());
        };
        let ask = match &from {
            None => Ask::Likelihood { answers: vec![answer.text.clone()] },
            Some((from, source)) => {
                if prompt == TextPrompt::Instruction {
                    turns = vec![Turn::user(instruction(*from, language, source))];
                }
                Ask::Generate { max_new_tokens: MAX_NEW_TOKENS }
            }
        };
        self.questions.push(Question { id, turns, media: Vec::new(), ask });
        let (from, group) = (from.map(|(from, _)| from), group.as_deref().unwrap_or_default().to_owned());
        self.items.push(Item { language, group, name: answer.text, from });
        Ok(())
    }

    /// Number of questions.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// Hash of all that is asked, and of the right answers.
    pub fn key(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut text = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        for (question, item) in self.questions.iter().zip(&self.items) {
            question.turns.iter().for_each(|turn| text(&turn.text));
            [&item.name, &item.group].into_iter().for_each(|of_item| text(of_item));
            text(item.language.tag());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// What is asked, by language: likelihoods and translations.
    pub fn counts(&self) -> BTreeMap<Language, (usize, usize)> {
        let mut counts: BTreeMap<Language, (usize, usize)> = BTreeMap::new();
        for item in &self.items {
            let (texts, translations) = counts.entry(item.language).or_default();
            *(if item.from.is_none() { texts } else { translations }) += 1;
        }
        counts
    }

    /// Asks a model; `progress` is told how far it is.
    ///
    /// # Errors
    /// A question that cannot be encoded or does not fit the model.
    pub fn ask<T: VisionTower, P: Projector>(
        &self,
        scorer: &Scorer<T, P>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<TextScores> {
        let replies = ask_all(scorer, (NAME, &self.questions), progress)?;
        let mut scores = TextScores::default();
        for ((question, item), reply) in self.questions.iter().zip(&self.items).zip(replies) {
            let (language, group) = (item.language.tag().to_owned(), item.group.clone());
            match item.from {
                None => {
                    let mean = reply.scores(NAME, 1)?[0];
                    let mut turns = question.turns.clone();
                    turns.push(Turn::assistant(item.name.clone()));
                    let tokens = targets(&scorer.encode(&turns, &[])?).len();
                    let bits = (-mean * tokens as f64 / std::f64::consts::LN_2 * DECIMALS).round() / DECIMALS;
                    scores.likelihood.push(TextLikelihood { language, group, bits, bytes: item.name.len() });
                }
                Some(from) => {
                    let text = reply.text(NAME)?.to_owned();
                    scores.translation.push(Translation {
                        language,
                        from: from.tag().to_owned(),
                        group,
                        chrf: (chrf(&text, &item.name) / 100.0 * DECIMALS).round() / DECIMALS,
                        in_language: self.identifier.identify(&text).fits(item.language),
                        text,
                        reference: item.name.clone(),
                    });
                }
            }
        }
        Ok(scores)
    }
}

fn name_of(corpus: &EmojiCorpus, concept: ConceptId, language: Language) -> String {
    corpus.text(concept, language).map(|text| text.name.clone()).unwrap_or_default()
}

/// Tower+'s own wording (its model card), the space at its end among it.
fn instruction(from: Language, to: Language, source: &str) -> String {
    PivotRecipe::default().prompt_for(&Untranslated { from, to, text: source.to_owned() })
}

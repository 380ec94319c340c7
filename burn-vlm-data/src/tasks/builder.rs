//! The builder: which concepts take part, which pictures are trained, and how choices are drawn.

use super::Task;
use super::pool::{Distractors, Pool};
use crate::conversation::Turn;
use crate::emoji::{Concept, ConceptId, EmojiCorpus, Picture, Split, Style, Text};
use crate::language::Language;
use crate::random::{Stream, hash_bytes, mix};
use crate::sample::{Media, Sample};
use std::sync::Arc;

/// Languages that no tasks can be built for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// No language was given.
    #[error("no language given: name at least one to build tasks in")]
    NoLanguage,
    /// A language was given twice.
    #[error("language {0} is given twice: each language may stand once")]
    Twice(Language),
    /// The corpus has no texts in a language.
    #[error("the corpus has no texts in {language}; it has {}", available.iter().map(|l| l.tag()).collect::<Vec<_>>().join(" "))]
    NotInCorpus {
        /// The language.
        language: Language,
        /// What the corpus has.
        available: Vec<Language>,
    },
    /// There are no words to draw in a language.
    #[error("there are no words to draw in {language}; there are in {}", available.iter().map(|l| l.tag()).collect::<Vec<_>>().join(" "))]
    NoWords {
        /// The language.
        language: Language,
        /// Where there are words.
        available: Vec<Language>,
    },
}

/// Builds samples and questions in several languages at once, parallel across them.
///
/// Concepts without a name in one of the languages are left out in all of them (a handful: `hi`, `sv` and `da` lack
/// up to three names).
#[derive(Debug, Clone)]
pub struct TaskBuilder<'a> {
    pub(super) corpus: &'a EmojiCorpus,
    pub(super) languages: Vec<Language>,
    /// Languages in which concepts must have a name and options must differ; includes `languages`.
    pub(super) parallel: Vec<Language>,
    seed: u64,
    hashes: Vec<u64>,
    source: Arc<str>,
}

impl<'a> TaskBuilder<'a> {
    /// A builder for the given languages.
    ///
    /// # Errors
    /// No language, one language twice, or a language that the corpus lacks.
    pub fn new(corpus: &'a EmojiCorpus, languages: &[Language], seed: u64) -> Result<Self, TaskError> {
        check_languages(corpus, languages)?;
        let hashes = corpus.concepts().iter().map(|concept| hash_bytes(concept.code.as_bytes())).collect();
        Ok(Self {
            corpus,
            languages: languages.to_vec(),
            parallel: languages.to_vec(),
            seed,
            hashes,
            source: Arc::from("emoji"),
        })
    }

    /// Keeps the output parallel to that of builders for other languages: concepts must have a name, and options must
    /// differ, in `others` too. Give every builder of a study the same list, and a cell trained on English sees exactly
    /// the concepts that a multilingual one sees.
    ///
    /// # Errors
    /// A language that the corpus lacks.
    pub fn parallel_to(mut self, others: &[Language]) -> Result<Self, TaskError> {
        for language in others {
            check_languages(self.corpus, &[*language])?;
            if !self.parallel.contains(language) {
                self.parallel.push(*language);
            }
        }
        self.parallel.sort_unstable();
        Ok(self)
    }

    /// The corpus that the tasks are built from.
    pub fn corpus(&self) -> &'a EmojiCorpus {
        self.corpus
    }

    /// The languages that tasks are built in.
    pub fn languages(&self) -> &[Language] {
        &self.languages
    }

    /// The concepts that training samples are about: split train, named in every language, with a picture to train on.
    pub fn training_concepts(&self) -> Vec<ConceptId> {
        let trained =
            |concept: &&Concept| self.is_named(concept.id) && self.training_pictures(concept.id).next().is_some();
        self.corpus.split(Split::Train).filter(trained).map(|concept| concept.id).collect()
    }

    /// The pictures of a training concept that are trained: of the training styles, and of no other concept too.
    pub fn training_pictures(&self, concept: ConceptId) -> impl Iterator<Item = &'a Picture> {
        let corpus = self.corpus;
        corpus.pictures_of(concept).filter(move |p| p.style.is_training() && !corpus.is_ambiguous(p.id))
    }

    /// The concepts of a pool that can be asked about, each with its twemoji picture: named in every language, not
    /// ambiguous, and, where they are to be seen ones, really trained on.
    pub fn scored_concepts(&self, pool: Pool) -> Vec<(ConceptId, &'a Picture)> {
        let picture = |concept: &Concept| {
            let picture = self.corpus.picture_in(concept.id, Style::SCORED)?;
            let usable = pool.contains(concept) && self.is_option(concept) && !self.corpus.is_ambiguous(picture.id);
            usable.then_some((concept.id, picture))
        };
        self.corpus.concepts().iter().filter_map(picture).collect()
    }

    /// True if the concept may stand among the options of a question about its split.
    pub(super) fn is_option(&self, concept: &Concept) -> bool {
        let trained = concept.split != Split::Train || self.training_pictures(concept.id).next().is_some();
        self.is_named(concept.id) && trained
    }

    pub(super) fn is_named(&self, concept: ConceptId) -> bool {
        self.parallel.iter().all(|language| self.corpus.text(concept, *language).is_some())
    }

    /// The text of a concept that takes part; only called for concepts that are named in every language.
    pub(super) fn text(&self, concept: ConceptId, language: Language) -> Option<&'a Text> {
        self.corpus.text(concept, language)
    }

    /// A sample about a concept: its source is the corpus, its tag the task, its group the concept.
    pub(super) fn sample(
        &self,
        task: Task,
        id: String,
        concept: ConceptId,
        picture: Option<&Picture>,
        language: Language,
        turns: Vec<Turn>,
    ) -> Sample {
        Sample {
            id,
            turns,
            media: picture.map(|picture| Media::Image(self.corpus.media(picture.id))).into_iter().collect(),
            language: Some(language),
            source: self.source.clone(),
            tags: Arc::from([task.as_str().to_owned()]),
            group: Some(Arc::from(self.corpus.concept(concept).code.as_str())),
        }
    }

    /// Random numbers for one decision about one concept: the same in every language.
    pub(super) fn stream(&self, purpose: &str, concept: ConceptId, number: usize) -> Stream {
        let decision = mix(self.seed, hash_bytes(purpose.as_bytes()));
        Stream::new(mix(mix(decision, self.hashes[concept.index()]), number as u64))
    }

    /// Draws `count` distractors for a target from `candidates`, or none where there are too few. `name` says what
    /// the options will read; all of them differ in every language, else the next candidate is taken.
    pub(super) fn draw_distractors(
        &self,
        candidates: &[ConceptId],
        target: ConceptId,
        count: usize,
        stream: &mut Stream,
        name: impl Fn(ConceptId, Language) -> Option<&'a str>,
    ) -> Option<Vec<ConceptId>> {
        let salt = stream.next_u64();
        let lookalikes = self.corpus.lookalikes(target);
        let mut ranked: Vec<(u64, ConceptId)> = candidates
            .iter()
            .filter(|candidate| **candidate != target && !lookalikes.contains(candidate))
            .map(|candidate| (mix(salt, self.hashes[candidate.index()]), *candidate))
            .collect();
        ranked.sort_unstable();
        let mut options = vec![target];
        for (_, candidate) in ranked {
            let differs = |other: ConceptId| {
                self.parallel.iter().all(|language| match (name(candidate, *language), name(other, *language)) {
                    (Some(a), Some(b)) => a.to_lowercase() != b.to_lowercase(),
                    _ => false,
                })
            };
            if options.iter().all(|option| differs(*option)) {
                options.push(candidate);
            }
            if options.len() == count + 1 {
                options.remove(0);
                return Some(options);
            }
        }
        None
    }

    /// The concepts of a split that may be options, by subgroup where distractors are near.
    pub(super) fn candidates(&self, split: Split, distractors: Distractors) -> Candidates {
        let mut candidates = Candidates { distractors, all: Vec::new(), by_subgroup: Default::default() };
        for concept in self.corpus.split(split).filter(|concept| self.is_option(concept)) {
            candidates.all.push(concept.id);
            candidates.by_subgroup.entry(concept.subgroup.clone()).or_default().push(concept.id);
        }
        candidates
    }
}

/// Possible distractors of a split.
pub(super) struct Candidates {
    distractors: Distractors,
    all: Vec<ConceptId>,
    by_subgroup: std::collections::HashMap<String, Vec<ConceptId>>,
}

impl Candidates {
    pub(super) fn of(&self, target: &Concept) -> &[ConceptId] {
        match self.distractors {
            Distractors::Far => &self.all,
            Distractors::Near => self.by_subgroup.get(&target.subgroup).map_or(&[], Vec::as_slice),
        }
    }
}

fn check_languages(corpus: &EmojiCorpus, languages: &[Language]) -> Result<(), TaskError> {
    if languages.is_empty() {
        return Err(TaskError::NoLanguage);
    }
    for (position, language) in languages.iter().enumerate() {
        if languages[..position].contains(language) {
            return Err(TaskError::Twice(*language));
        }
        if !corpus.has_language(*language) {
            return Err(TaskError::NotInCorpus { language: *language, available: corpus.languages() });
        }
    }
    Ok(())
}

//! Builders of choice and yes/no questions, and of training samples in the same forms.

use super::Task;
use super::builder::TaskBuilder;
use super::items::{ChoiceItem, ChoiceQuestion, LETTERS, Lettered, YesNoItem, lettered};
use super::pool::{Distractors, Pool};
use super::prompts::prompts;
use crate::conversation::Turn;
use crate::emoji::{ConceptId, Split};
use crate::language::Language;
use crate::sample::Sample;

/// Four concepts in the order of their options.
struct Draw {
    options: [ConceptId; 4],
    answer: usize,
}

impl<'a> TaskBuilder<'a> {
    /// Four-way questions "What is this?" about a pool, `per_concept` a concept (each with other distractors), in every
    /// language. A concept with fewer than three possible distractors is left out: *near* has fewer items than *far*.
    pub fn choice_items(&self, pool: Pool, distractors: Distractors, per_concept: usize) -> Vec<ChoiceItem> {
        self.items(ChoiceQuestion::Name, pool, distractors, per_concept)
    }

    /// Four-way questions for the country of a flag; distractors are other flags of the same split.
    pub fn flag_choice_items(&self, pool: Pool, per_concept: usize) -> Vec<ChoiceItem> {
        self.items(ChoiceQuestion::FlagCountry, pool, Distractors::Near, per_concept)
    }

    /// Training samples in lettered form, one a training picture and language; the rotation changes from concept to
    /// concept, so that every letter is right equally often.
    pub fn choice_samples(&self, distractors: Distractors) -> Vec<Sample> {
        let candidates = self.candidates(Split::Train, distractors);
        let mut samples = Vec::new();
        for concept in self.training_concepts() {
            let possible = candidates.of(self.corpus.concept(concept));
            for (number, picture) in self.training_pictures(concept).enumerate() {
                let mut stream = self.stream("choice-sample", concept, number);
                let rotation = stream.below(4);
                let Some(draw) = self.draw(ChoiceQuestion::Name, possible, concept, &mut stream) else { continue };
                for language in &self.languages {
                    let Some(options) = self.options(ChoiceQuestion::Name, &draw, *language) else { continue };
                    let question = prompts(*language).what_is_this;
                    let Lettered { mut turns, answer, .. } =
                        lettered(*language, question, options, draw.answer, rotation);
                    turns.push(Turn::assistant(LETTERS[answer]));
                    let shown = self.corpus.picture_name(picture.id);
                    let id = format!("choice/{}/{shown}/{language}", distractors.as_str());
                    samples.push(self.sample(Task::Choice, id, concept, Some(picture), *language, turns));
                }
            }
        }
        samples
    }

    /// Yes/no questions about a pool: two a concept and language, one that names the concept and one that names a
    /// distractor.
    pub fn yes_no_items(&self, pool: Pool, distractors: Distractors) -> Vec<YesNoItem> {
        let candidates = self.candidates(pool.split(), distractors);
        let mut items = Vec::new();
        for (concept, picture) in self.scored_concepts(pool) {
            let possible = candidates.of(self.corpus.concept(concept));
            let Some(other) = self.draw_other(possible, concept, "yes-no", 0) else { continue };
            for language in &self.languages {
                let code = &self.corpus.concept(concept).code;
                let pair = format!("{}/{}/{code}/{language}", pool_name(pool), distractors.as_str());
                for (named, answer) in [(concept, true), (other, false)] {
                    let Some(text) = self.text(named, *language) else { continue };
                    items.push(YesNoItem {
                        id: format!("{pair}/{}", if answer { "yes" } else { "no" }),
                        pair: pair.clone(),
                        concept,
                        picture: picture.id,
                        language: *language,
                        prompt: prompts(*language).is_this(&text.name),
                        named,
                        answer,
                        distractors,
                        pool,
                    });
                }
            }
        }
        items
    }

    /// Training samples of the yes/no form: two a training picture and language.
    pub fn yes_no_samples(&self, distractors: Distractors) -> Vec<Sample> {
        let candidates = self.candidates(Split::Train, distractors);
        let mut samples = Vec::new();
        for concept in self.training_concepts() {
            for (number, picture) in self.training_pictures(concept).enumerate() {
                let possible = candidates.of(self.corpus.concept(concept));
                let Some(other) = self.draw_other(possible, concept, "yes-no-sample", number) else { continue };
                for language in &self.languages {
                    let words = prompts(*language);
                    for (named, answer) in [(concept, words.yes), (other, words.no)] {
                        let Some(text) = self.text(named, *language) else { continue };
                        let question = words.is_this(&text.name);
                        let mut sample = self.about(Task::YesNo, picture, *language, &question, answer.to_owned());
                        let word = if named == concept { "yes" } else { "no" };
                        sample.id.push_str(&format!("/{}/{word}", distractors.as_str()));
                        samples.push(sample);
                    }
                }
            }
        }
        samples
    }

    fn items(
        &self,
        question: ChoiceQuestion,
        pool: Pool,
        distractors: Distractors,
        per_concept: usize,
    ) -> Vec<ChoiceItem> {
        let candidates = self.candidates(pool.split(), distractors);
        let kind = match question {
            ChoiceQuestion::Name => distractors.as_str(),
            ChoiceQuestion::FlagCountry => "flag_country",
        };
        let mut items = Vec::new();
        for (concept, picture) in self.scored_concepts(pool) {
            let described = self.corpus.concept(concept);
            if question == ChoiceQuestion::FlagCountry && !described.is_territory_flag() {
                continue;
            }
            for number in 0..per_concept {
                let mut stream = self.stream(&format!("choice/{kind}"), concept, number);
                let Some(draw) = self.draw(question, candidates.of(described), concept, &mut stream) else { continue };
                let parallel = format!("{}/{kind}/{}/{number}", pool_name(pool), described.code);
                let item = |language: &Language| {
                    Some(ChoiceItem {
                        id: format!("{parallel}/{language}"),
                        parallel: parallel.clone(),
                        question,
                        concept,
                        picture: picture.id,
                        language: *language,
                        prompt: question.prompt(*language).to_owned(),
                        options: self.options(question, &draw, *language)?.map(str::to_owned),
                        option_concepts: draw.options,
                        answer: draw.answer,
                        distractors,
                        pool,
                    })
                };
                items.extend(self.languages.iter().filter_map(item));
            }
        }
        items
    }

    fn draw(
        &self,
        question: ChoiceQuestion,
        candidates: &[ConceptId],
        target: ConceptId,
        stream: &mut crate::random::Stream,
    ) -> Option<Draw> {
        let answer = stream.below(4);
        let name = |concept, language| self.option(question, concept, language);
        let mut options = self.draw_distractors(candidates, target, 3, stream, name)?;
        options.insert(answer, target);
        Some(Draw { options: options.try_into().ok()?, answer })
    }

    fn draw_other(
        &self,
        candidates: &[ConceptId],
        target: ConceptId,
        purpose: &str,
        number: usize,
    ) -> Option<ConceptId> {
        let mut stream = self.stream(purpose, target, number);
        let name = |concept, language| self.option(ChoiceQuestion::Name, concept, language);
        self.draw_distractors(candidates, target, 1, &mut stream, name)?.pop()
    }

    fn options(&self, question: ChoiceQuestion, draw: &Draw, language: Language) -> Option<[&'a str; 4]> {
        let [a, b, c, d] = draw.options.map(|concept| self.option(question, concept, language));
        Some([a?, b?, c?, d?])
    }

    /// What an option reads.
    fn option(&self, question: ChoiceQuestion, concept: ConceptId, language: Language) -> Option<&'a str> {
        let text = self.text(concept, language)?;
        match question {
            ChoiceQuestion::Name => Some(&text.name),
            ChoiceQuestion::FlagCountry => self.corpus.concept(concept).is_territory_flag().then(|| text.short_name()),
        }
    }
}

fn pool_name(pool: Pool) -> String {
    format!("{}/{}", pool.purpose.as_str(), pool.concepts.as_str())
}

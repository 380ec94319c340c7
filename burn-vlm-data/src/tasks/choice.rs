//! Builders of choice and yes/no questions, and of training samples in the same forms.

use super::builder::TaskBuilder;
use super::items::{ChoiceItem, ChoiceQuestion, LETTERS, YesNoItem};
use super::pool::{Distractors, Pool};
use super::prompts::prompts;
use crate::conversation::Turn;
use crate::emoji::{ConceptId, Picture, Split};
use crate::language::Language;
use crate::sample::{Sample, Task};

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
            for (number, picture) in self.training_pictures(concept).enumerate() {
                let possible = candidates.of(self.corpus.concept(concept));
                let mut stream = self.stream("choice-sample", concept, number);
                let rotation = stream.below(4);
                let Some(draw) = self.draw(ChoiceQuestion::Name, possible, concept, &mut stream) else { continue };
                for language in &self.languages {
                    let pool = Pool::TEST_SEEN; // The form alone is used; a training sample belongs to no pool.
                    let Some(item) = self.item(ChoiceQuestion::Name, &draw, picture, *language, distractors, pool, 0)
                    else {
                        continue;
                    };
                    let lettered = item.lettered(rotation);
                    let mut turns = lettered.turns;
                    turns.push(Turn::assistant(LETTERS[lettered.answer]));
                    let id =
                        format!("choice/{}/{}/{language}", distractors.as_str(), self.corpus.picture_name(picture.id));
                    let picture = Some(picture.id);
                    samples.push(Sample { id, task: Task::Choice, language: *language, concept, picture, turns });
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
                        sample.id.push_str(if named == concept { "/yes" } else { "/no" });
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
        let mut items = Vec::new();
        for (concept, picture) in self.scored_concepts(pool) {
            let description = self.corpus.concept(concept);
            if question == ChoiceQuestion::FlagCountry && !description.is_territory_flag() {
                continue;
            }
            for number in 0..per_concept {
                let purpose = format!("choice/{}", distractors.as_str());
                let mut stream = self.stream(&purpose, concept, number);
                let Some(draw) = self.draw(question, candidates.of(description), concept, &mut stream) else {
                    continue;
                };
                let in_language =
                    |language: &Language| self.item(question, &draw, picture, *language, distractors, pool, number);
                items.extend(self.languages.iter().filter_map(in_language));
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

    #[allow(clippy::too_many_arguments)] // All of them are what makes an item; a struct would only repeat ChoiceItem.
    fn item(
        &self,
        question: ChoiceQuestion,
        draw: &Draw,
        picture: &Picture,
        language: Language,
        distractors: Distractors,
        pool: Pool,
        number: usize,
    ) -> Option<ChoiceItem> {
        let option = |position: usize| self.option(question, draw.options[position], language).map(str::to_owned);
        let options = [option(0)?, option(1)?, option(2)?, option(3)?];
        let prompt = match question {
            ChoiceQuestion::Name => prompts(language).what_is_this,
            ChoiceQuestion::FlagCountry => prompts(language).whose_flag,
        };
        let code = &self.corpus.concept(picture.concept).code;
        let kind = match question {
            ChoiceQuestion::Name => distractors.as_str(),
            ChoiceQuestion::FlagCountry => "flag_country",
        };
        let parallel = format!("{}/{kind}/{code}/{number}", pool_name(pool));
        Some(ChoiceItem {
            id: format!("{parallel}/{language}"),
            parallel,
            question,
            concept: picture.concept,
            picture: picture.id,
            language,
            prompt: prompt.to_owned(),
            options,
            option_concepts: draw.options,
            answer: draw.answer,
            distractors,
            pool,
        })
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

//! Training samples and caption questions about pictures: names, keyword lists, countries of flags.

use std::collections::HashMap;

use super::Task;
use super::builder::TaskBuilder;
use super::pool::Pool;
use super::prompts::prompts;
use crate::conversation::{IMAGE_PLACEHOLDER, Turn};
use crate::emoji::{Picture, Text};
use crate::language::Language;
use crate::sample::Sample;

/// The longest keyword list: more would teach the tiny model little but enumeration.
const MAX_KEYWORDS: usize = 6;

impl TaskBuilder<'_> {
    /// Captions: "What is this?" -> name, one sample a training picture and language.
    pub fn captions(&self) -> Vec<Sample> {
        self.training_samples(|picture, language, text| Some(self.caption(picture, language, text)))
    }

    /// Captions with other names than the corpus's, by the codes of concepts; pictures of others are left out.
    pub(super) fn translated_captions(&self, names: &HashMap<&str, &str>) -> Vec<Sample> {
        self.training_samples(|picture, language, _| {
            let name = names.get(self.corpus.concept(picture.concept).code.as_str())?;
            let question = prompts(language).what_is_this;
            Some(self.about(Task::TranslatedCaption, picture, language, question, (*name).to_owned()))
        })
    }

    /// Keyword lists: "List keywords for this picture." -> up to six keywords, chosen by concept, in the language's list
    /// style. Pictures whose concept has no keyword are left out.
    pub fn keyword_lists(&self) -> Vec<Sample> {
        self.training_samples(|picture, language, text| {
            let mut keywords: Vec<&str> = text.keywords.iter().map(String::as_str).collect();
            self.stream("keyword-list", picture.concept, 0).shuffle(&mut keywords);
            keywords.truncate(MAX_KEYWORDS);
            let answer = self.join(language, &keywords);
            let question = prompts(language).list_keywords;
            (!keywords.is_empty()).then(|| self.about(Task::KeywordList, picture, language, question, answer))
        })
    }

    /// Countries of flags: "Which country or region does this flag belong to?" -> its name, without the word for flag.
    pub fn flag_countries(&self) -> Vec<Sample> {
        self.training_samples(|picture, language, text| self.flag_country(picture, language, text))
    }

    /// Caption questions of a pool, in the scored style; the assistant turn is the reference.
    pub fn caption_items(&self, pool: Pool) -> Vec<Sample> {
        self.scored_samples(pool, |picture, language, text| Some(self.caption(picture, language, text)))
    }

    /// Questions for the country of a flag, in the scored style; the assistant turn is the reference.
    pub fn flag_country_items(&self, pool: Pool) -> Vec<Sample> {
        self.scored_samples(pool, |picture, language, text| self.flag_country(picture, language, text))
    }

    fn caption(&self, picture: &Picture, language: Language, text: &Text) -> Sample {
        self.about(Task::Caption, picture, language, prompts(language).what_is_this, text.name.clone())
    }

    fn flag_country(&self, picture: &Picture, language: Language, text: &Text) -> Option<Sample> {
        let is_flag = self.corpus.concept(picture.concept).is_territory_flag();
        let question = prompts(language).whose_flag;
        is_flag.then(|| self.about(Task::FlagCountry, picture, language, question, text.short_name().to_owned()))
    }

    /// One sample a training picture and language, in that order.
    fn training_samples(&self, sample: impl Fn(&Picture, Language, &Text) -> Option<Sample>) -> Vec<Sample> {
        let concepts = self.training_concepts();
        let pictures = concepts.iter().flat_map(|concept| self.training_pictures(*concept));
        pictures.flat_map(|picture| self.in_each_language(picture, &sample)).collect()
    }

    fn scored_samples(&self, pool: Pool, sample: impl Fn(&Picture, Language, &Text) -> Option<Sample>) -> Vec<Sample> {
        let concepts = self.scored_concepts(pool);
        concepts.iter().flat_map(|(_, picture)| self.in_each_language(picture, &sample)).collect()
    }

    fn in_each_language(
        &self,
        picture: &Picture,
        sample: impl Fn(&Picture, Language, &Text) -> Option<Sample>,
    ) -> Vec<Sample> {
        let one = |language: &Language| sample(picture, *language, self.text(picture.concept, *language)?);
        self.languages.iter().filter_map(one).collect()
    }

    /// A sample that asks one question about a picture.
    pub(super) fn about(
        &self,
        task: Task,
        picture: &Picture,
        language: Language,
        question: &str,
        answer: String,
    ) -> Sample {
        let id = format!("{}/{}/{language}", task.as_str(), self.corpus.picture_name(picture.id));
        let turns = vec![Turn::user(format!("{IMAGE_PLACEHOLDER}\n{question}")), Turn::assistant(answer)];
        self.sample(task, id, picture.concept, Some(picture), language, turns)
    }

    /// Joins words as the language separates the members of a list.
    pub(super) fn join(&self, language: Language, words: &[&str]) -> String {
        let strings = self.corpus.strings(language);
        let middle = strings.and_then(|s| s.list_patterns.get("listPattern-type-standard")?.get("middle"));
        let separator = middle.map(|pattern| pattern.replace("{0}", "").replace("{1}", ""));
        words.join(separator.as_deref().unwrap_or(", "))
    }
}

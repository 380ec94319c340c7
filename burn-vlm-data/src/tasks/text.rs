//! Text-only tasks that prepare a backbone: naming from keywords, translating names.
//!
//! They have the shape of a caption, `user: "{text}\n{question}"` -> `assistant: name`, so that the backbone meets the
//! form in which pictures will come. Only concepts that training pictures show are trained on; the items are about others.

use super::Task;
use super::builder::TaskBuilder;
use super::pool::Pool;
use super::prompts::prompts;
use crate::conversation::Turn;
use crate::emoji::ConceptId;
use crate::language::Language;
use crate::sample::Sample;

/// The fewest keywords that a name is asked from, where there are that many: one alone is often the next concept's too.
const MIN_KEYWORDS: usize = 2;

/// How often each question counts in the tokenizer's texts: it stands in every sample, so it should be few tokens.
const PROMPT_WEIGHT: usize = 64;

impl<'a> TaskBuilder<'a> {
    /// The texts to train a tokenizer on: names and keywords of the training concepts in the builder's languages, and
    /// the questions and fixed answers.
    pub fn tokenizer_texts(&self) -> Vec<&'a str> {
        let mut texts = Vec::new();
        for language in &self.languages {
            let p = prompts(*language);
            let questions = [p.what_is_this, p.whose_flag, p.list_keywords, p.is_this, p.letter_only, p.yes, p.no];
            (0..PROMPT_WEIGHT).for_each(|_| texts.extend(questions));
            for text in self.training_concepts().into_iter().filter_map(|concept| self.text(concept, *language)) {
                texts.push(text.name.as_str());
                texts.extend(text.keywords.iter().map(String::as_str));
            }
        }
        texts
    }

    /// Plain names: the question alone -> name, one sample a concept and language. It teaches the words of the language
    /// in the place where answers stand.
    pub fn names(&self) -> Vec<Sample> {
        self.text_samples(|concept, language| {
            let text = self.text(concept, language)?;
            let id = format!("name/{}/{language}", self.code(concept));
            Some(self.text_only(Task::Name, id, concept, language, None, &text.name))
        })
    }

    /// Keywords -> name. `variants` samples a concept and language, each from another choice and order of keywords
    /// (at least two of them, the name itself never among them). Concepts without such keywords are left out.
    pub fn keywords_to_name(&self, variants: usize) -> Vec<Sample> {
        let pairs: Vec<_> = self.languages.iter().map(|language| (*language, *language)).collect();
        self.named_by_keywords(Task::KeywordsToName, &self.training_concepts(), &pairs, variants)
    }

    /// The concepts of a pool that are named in every language: what texts without pictures can be asked about.
    pub fn named_concepts(&self, pool: Pool) -> Vec<ConceptId> {
        let of_pool = self.corpus.concepts().iter().filter(|concept| pool.contains(concept));
        of_pool.map(|concept| concept.id).filter(|concept| self.is_named(*concept)).collect()
    }

    /// The same task about other concepts than those of training, one choice of keywords each; the assistant turn is the reference.
    pub fn keywords_to_name_items(&self, concepts: &[ConceptId]) -> Vec<Sample> {
        let pairs: Vec<_> = self.languages.iter().map(|language| (*language, *language)).collect();
        self.named_by_keywords(Task::KeywordsToName, concepts, &pairs, 1)
    }

    /// Translations about other concepts than those of training; the assistant turn is the reference.
    pub fn translation_items(&self, concepts: &[ConceptId], pairs: &[(Language, Language)]) -> Vec<Sample> {
        self.translations_about(concepts, pairs)
    }

    /// Name -> name in another language, for each `(from, to)` in `pairs`; see [`TaskBuilder::all_pairs`]. Pairs in which
    /// both names read the same are left out.
    pub fn translations(&self, pairs: &[(Language, Language)]) -> Vec<Sample> {
        self.translations_about(&self.training_concepts(), pairs)
    }

    fn translations_about(&self, concepts: &[ConceptId], pairs: &[(Language, Language)]) -> Vec<Sample> {
        let one = |concept: ConceptId, from: Language, to: Language| {
            let (source, target) = (self.text(concept, from)?, self.text(concept, to)?);
            let id = format!("translation/{}/{from}-{to}", self.code(concept));
            let sample = || self.text_only(Task::Translation, id, concept, to, Some(&source.name), &target.name);
            (source.name != target.name).then(sample)
        };
        let pairs_of =
            |concept: &ConceptId| pairs.iter().filter_map(|(from, to)| one(*concept, *from, *to)).collect::<Vec<_>>();
        concepts.iter().flat_map(pairs_of).collect()
    }

    /// Keywords in one language -> name in another, for each `(from, to)` in `pairs`, `variants` samples each.
    pub fn keywords_translations(&self, pairs: &[(Language, Language)], variants: usize) -> Vec<Sample> {
        self.named_by_keywords(Task::KeywordsTranslation, &self.training_concepts(), pairs, variants)
    }

    /// All ordered pairs of different languages of the builder.
    pub fn all_pairs(&self) -> Vec<(Language, Language)> {
        let all = |from: &Language| self.languages.iter().map(|to| (*from, *to)).collect::<Vec<_>>();
        self.languages.iter().flat_map(all).filter(|(from, to)| from != to).collect()
    }

    fn named_by_keywords(
        &self,
        task: Task,
        concepts: &[ConceptId],
        pairs: &[(Language, Language)],
        variants: usize,
    ) -> Vec<Sample> {
        let mut samples = Vec::new();
        for &concept in concepts {
            for (from, to) in pairs {
                let (Some(source), Some(target)) = (self.text(concept, *from), self.text(concept, *to)) else {
                    continue;
                };
                let keywords: Vec<&str> = source.keywords_besides_name().collect();
                if keywords.is_empty() {
                    continue;
                }
                for variant in 0..variants {
                    let mut chosen = keywords.clone();
                    let mut stream = self.stream("keywords", concept, variant);
                    stream.shuffle(&mut chosen);
                    let least = MIN_KEYWORDS.min(chosen.len());
                    chosen.truncate(least + stream.below(chosen.len() - least + 1));
                    let id = format!("{}/{}/{from}-{to}/{variant}", task.as_str(), self.code(concept));
                    let given = self.join(*from, &chosen);
                    samples.push(self.text_only(task, id, concept, *to, Some(&given), &target.name));
                }
            }
        }
        samples
    }

    fn text_samples(&self, sample: impl Fn(ConceptId, Language) -> Option<Sample>) -> Vec<Sample> {
        let concepts = self.training_concepts();
        let in_each = |concept: &ConceptId| {
            self.languages.iter().filter_map(|language| sample(*concept, *language)).collect::<Vec<_>>()
        };
        concepts.iter().flat_map(in_each).collect()
    }

    fn text_only(
        &self,
        task: Task,
        id: String,
        concept: ConceptId,
        language: Language,
        given: Option<&str>,
        answer: &str,
    ) -> Sample {
        let question = prompts(language).what_is_this;
        let user = given.map_or_else(|| question.to_owned(), |given| format!("{given}\n{question}"));
        self.sample(task, id, concept, None, language, vec![Turn::user(user), Turn::assistant(answer)])
    }

    fn code(&self, concept: ConceptId) -> &str {
        &self.corpus.concept(concept).code
    }
}

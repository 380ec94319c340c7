//! The training samples of the corpus by task and language, and the corpus as the sources of a mixture.

use super::translated::kept_names;
use super::{Distractors, Task, TaskBuilder, TaskError, TaskSettings, WordTasks};
use crate::emoji::EmojiCorpus;
use crate::language::Language;
use crate::sample::Sample;
use crate::source::ListSource;

/// How many random keyword subsets of a concept become samples.
const KEYWORD_VARIANTS: usize = 3;

/// All training samples of one task whose answers are in one language.
///
/// `parallel` are the languages of the whole study: concepts without a name in one of them are left out in all, so that
/// cells with different languages see the same concepts. Translation tasks have their sources in `sources`; `settings` are for
/// tasks whose samples are drawn or chosen.
///
/// # Errors
/// A language that the corpus does not have, or has no words in.
pub fn training_samples(
    corpus: &EmojiCorpus,
    task: Task,
    language: Language,
    sources: &[Language],
    parallel: &[Language],
    seed: u64,
    settings: &TaskSettings,
) -> Result<Vec<Sample>, TaskError> {
    let builder =
        |languages: &[Language]| TaskBuilder::new(corpus, languages, seed).and_then(|b| b.parallel_to(parallel));
    let alone = || builder(&[language]);
    Ok(match task {
        Task::Caption => alone()?.captions(),
        Task::TranslatedCaption => alone()?.translated_captions(&kept_names(language, seed, &settings.translated)),
        Task::KeywordList => alone()?.keyword_lists(),
        Task::FlagCountry => alone()?.flag_countries(),
        Task::Choice => {
            let alone = alone()?;
            let mut samples = alone.choice_samples(Distractors::Near);
            samples.extend(alone.choice_samples(Distractors::Far));
            samples
        }
        Task::YesNo => alone()?.yes_no_samples(Distractors::Far),
        Task::Name => alone()?.names(),
        Task::KeywordsToName => alone()?.keywords_to_name(KEYWORD_VARIANTS),
        // Of languages that the builder may not have.
        Task::Words => WordTasks::new(corpus, seed).samples(language, &settings.words)?,
        Task::Scenes => alone()?.scene_samples(&settings.scenes),
        Task::Clips => alone()?.clip_samples(&settings.clips),
        Task::Translation | Task::KeywordsTranslation => {
            let pairs: Vec<(Language, Language)> =
                sources.iter().filter(|source| **source != language).map(|source| (*source, language)).collect();
            let mut languages: Vec<Language> = sources.to_vec();
            if !languages.contains(&language) {
                languages.push(language);
            }
            let many = builder(&languages)?;
            if task == Task::Translation { many.translations(&pairs) } else { many.keywords_translations(&pairs, 1) }
        }
    })
}

/// The same as a source, `caption/de`.
///
/// # Errors
/// As [`training_samples`].
pub fn training_source(
    corpus: &EmojiCorpus,
    task: Task,
    language: Language,
    sources: &[Language],
    parallel: &[Language],
    seed: u64,
    settings: &TaskSettings,
) -> Result<ListSource, TaskError> {
    let samples = training_samples(corpus, task, language, sources, parallel, seed, settings)?;
    Ok(ListSource::new(&format!("{}/{language}", task.as_str()), samples))
}

//! Nothing that is scored leaks into training, and everything is parallel across languages.

use burn_vlm_data::emoji::{ConceptId, EmojiCorpus, PictureId, Split, Style};
use burn_vlm_data::language::{Language, TINY_5, TINY_UNSEEN, TOWERVISION_20};
use burn_vlm_data::sample::Sample;
use burn_vlm_data::tasks::{Concepts, Distractors, LETTERS, Pool, Task, TaskBuilder, TaskError, prompts};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

const POOLS: [Pool; 4] = [Pool::TEST_SEEN, Pool::TEST_UNSEEN, Pool::VALIDATION_SEEN, Pool::VALIDATION_UNSEEN];

fn corpus() -> Arc<EmojiCorpus> {
    EmojiCorpus::embedded().unwrap()
}

fn seven() -> Vec<Language> {
    [TINY_5.languages, TINY_UNSEEN.languages].concat()
}

/// What a sample of the corpus says of itself: its task is a tag, its concept the group, its picture a medium.
trait OfTheCorpus {
    fn task(&self) -> Task;
    fn concept(&self) -> ConceptId;
    fn picture(&self) -> Option<PictureId>;
    fn language(&self) -> Language;
}

impl OfTheCorpus for Sample {
    fn task(&self) -> Task {
        Task::ALL.into_iter().find(|task| self.tags[0] == task.as_str()).unwrap()
    }

    fn concept(&self) -> ConceptId {
        corpus().by_code(self.group.as_deref().unwrap()).unwrap().id
    }

    fn picture(&self) -> Option<PictureId> {
        let name = self.pictures().next()?.name();
        let corpus = corpus();
        let mut of_concept = corpus.pictures_of(self.concept());
        Some(of_concept.find(|picture| corpus.picture_name(picture.id) == name).unwrap().id)
    }

    fn language(&self) -> Language {
        self.language.unwrap()
    }
}

/// The output of every builder of training samples.
fn training(tasks: &TaskBuilder) -> Vec<Sample> {
    let pairs = tasks.all_pairs();
    [
        tasks.captions(),
        tasks.keyword_lists(),
        tasks.flag_countries(),
        tasks.choice_samples(Distractors::Near),
        tasks.choice_samples(Distractors::Far),
        tasks.yes_no_samples(Distractors::Near),
        tasks.names(),
        tasks.keywords_to_name(2),
        tasks.translations(&pairs),
        tasks.keywords_translations(&pairs, 1),
    ]
    .concat()
}

#[test]
fn nothing_scored_leaks_into_training() {
    let corpus = corpus();
    let languages = [Language::EN, Language::DE, Language::ZH_HANS];
    let tasks = TaskBuilder::new(&corpus, &languages, 0).unwrap();
    let samples = training(&tasks);
    let ambiguous_flags: HashSet<&str> = corpus.ambiguous_flags().iter().flatten().map(String::as_str).collect();
    let held_out: Vec<(Language, BTreeSet<&str>)> = languages
        .iter()
        .map(|language| {
            let names = corpus.concepts().iter().filter(|c| c.split != Split::Train);
            (*language, names.map(|c| corpus.text(c.id, *language).unwrap().name.as_str()).collect())
        })
        .collect();
    for sample in &samples {
        let concept = corpus.concept(sample.concept());
        assert_eq!(concept.split, Split::Train, "{}", sample.id);
        assert!(!concept.territory.as_deref().is_some_and(|t| ambiguous_flags.contains(t)), "{}", sample.id);
        let text_only =
            matches!(sample.task(), Task::Name | Task::KeywordsToName | Task::Translation | Task::KeywordsTranslation);
        assert_eq!(sample.picture().is_none(), text_only, "{}", sample.id);
        if let Some(picture) = sample.picture().map(|picture| corpus.picture(picture)) {
            assert!(picture.concept == sample.concept() && Style::TRAINING.contains(&picture.style), "{}", sample.id);
            assert!(!corpus.is_ambiguous(picture.id), "{}", sample.id);
        }
        // The answers, and the names in choice and yes/no questions, are of the training split too.
        let names = &held_out.iter().find(|(language, _)| *language == sample.language()).unwrap().1;
        assert!(sample.task() == Task::KeywordList || !names.contains(sample.answer()), "{}", sample.id);
        if sample.task() == Task::Choice {
            let options: Vec<&str> = sample.turns[0].text.lines().skip(2).take(4).map(|line| &line[3..]).collect();
            assert!(options.iter().all(|option| !names.contains(option)), "{}: {options:?}", sample.id);
        }
    }
    // Identical picture bytes never stand on both sides, whatever their names.
    let trained: HashSet<&[u8]> =
        samples.iter().filter_map(|s| s.picture()).map(|picture| &corpus.picture(picture).webp[..]).collect();
    for pool in POOLS {
        for (_, picture) in tasks.scored_concepts(pool) {
            assert!(!trained.contains(&picture.webp[..]), "{}", corpus.picture_name(picture.id));
        }
    }
    let ids: HashSet<&str> = samples.iter().map(|sample| sample.id.as_str()).collect();
    let duplicates = samples.len() - ids.len();
    assert_eq!(duplicates, 0);
}

#[test]
fn training_samples_are_parallel_and_deterministic() {
    let corpus = corpus();
    let all = seven();
    let tasks = TaskBuilder::new(&corpus, &all, 3).unwrap();
    let samples = training(&tasks);
    assert_eq!(samples, training(&TaskBuilder::new(&corpus, &all, 3).unwrap()));
    for task in [Task::Caption, Task::FlagCountry, Task::Choice, Task::YesNo, Task::Name] {
        let mut by_language: BTreeMap<Language, Vec<_>> = BTreeMap::new();
        for sample in samples.iter().filter(|sample| sample.task() == task) {
            by_language.entry(sample.language()).or_default().push((sample.concept(), sample.picture()));
        }
        assert_eq!(by_language.len(), 7);
        assert!(by_language.values().all(|of| *of == by_language[&Language::EN]), "{task:?}");
    }
    // A builder for English alone sees the same concepts, if it is told of the others.
    let flags = |languages: &[Language]| {
        let tasks =
            TaskBuilder::new(&corpus, languages, 3).unwrap().parallel_to(&[Language::HI, Language::SV]).unwrap();
        tasks.captions().into_iter().filter(|s| s.language() == Language::EN).collect::<Vec<_>>()
    };
    assert_eq!(flags(&[Language::EN]), flags(&[Language::EN, Language::HI, Language::SV]));
}

#[test]
fn captions_ask_and_answer() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &[Language::EN, Language::DE], 0).unwrap();
    let captions = tasks.captions();
    let find = |id: &str| captions.iter().find(|sample| sample.id == id).unwrap();
    let face = find("caption/noto/1f600/de");
    assert_eq!((face.turns[0].text.as_str(), face.answer()), ("<image>\nWas ist das?", "grinsendes Gesicht"));
    let dominica = find("caption/flag-icons/1f1e9-1f1f2/en");
    assert_eq!(dominica.answer(), "flag: Dominica");
    let country = tasks.flag_countries().into_iter().find(|s| s.concept() == dominica.concept()).unwrap();
    assert_eq!(country.answer(), "Dominica");
    assert!(country.turns[0].text.ends_with("this flag belong to?"));
    let keywords = tasks.keyword_lists().into_iter().find(|s| s.id == "keyword_list/noto/1f600/en").unwrap();
    assert_eq!(keywords.answer().split(", ").count(), 6);
}

#[test]
fn text_tasks_have_the_shape_of_captions() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &[Language::EN, Language::FR], 0).unwrap();
    let find = |samples: Vec<Sample>, id: &str| samples.into_iter().find(|sample| sample.id == id).unwrap();
    let name = find(tasks.names(), "name/1f600/fr");
    assert_eq!((name.turns[0].text.as_str(), name.answer()), ("Qu’est-ce que c’est ?", "visage rieur"));
    let translated = find(tasks.translations(&tasks.all_pairs()), "translation/1f600/en-fr");
    assert_eq!(translated.turns[0].text, "grinning face\nQu’est-ce que c’est ?");
    assert_eq!((translated.answer(), translated.language()), ("visage rieur", Language::FR));
    let from_keywords = tasks.keywords_to_name(8);
    let variants: HashSet<&str> = from_keywords
        .iter()
        .filter(|s| s.id.starts_with("keywords_to_name/1f600/en-en/"))
        .map(|s| s.turns[0].text.as_str())
        .collect();
    assert!(variants.len() >= 6, "{variants:?}");
    for sample in &from_keywords {
        let given = sample.turns[0].text.split('\n').next().unwrap();
        assert!(
            given.split(", ").all(|keyword| keyword.to_lowercase() != sample.answer().to_lowercase()),
            "{}",
            sample.id
        );
    }
    assert!(
        tasks.translations(&tasks.all_pairs()).iter().all(|s| s.turns[0].text.split('\n').next() != Some(s.answer()))
    );
}

/// The tokenizer learns from training concepts only: names that stand nowhere else in the corpus are not in its texts.
#[test]
fn tokenizer_texts_are_of_the_training_split() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &[Language::EN, Language::RU], 0).unwrap();
    let texts: HashSet<&str> = tasks.tokenizer_texts().into_iter().collect();
    assert!(texts.contains("grinning face") && texts.contains("Что это?"));
    let held_out =
        corpus.split(Split::Test).map(|concept| corpus.text(concept.id, Language::EN).unwrap().name.as_str());
    let shared: Vec<&str> = held_out.filter(|name| texts.contains(name)).collect();
    // A few unseen names are keywords of seen concepts ("fox"): that is no leak of a concept's own text.
    assert!(shared.len() < 30, "{shared:?}");
}

#[test]
fn choice_items_are_fair_and_parallel() {
    let corpus = corpus();
    let languages = seven();
    let tasks = TaskBuilder::new(&corpus, &languages, 0).unwrap();
    let trained: HashSet<ConceptId> = tasks.captions().iter().map(|sample| sample.concept()).collect();
    for pool in POOLS {
        for distractors in [Distractors::Near, Distractors::Far] {
            let items = tasks.choice_items(pool, distractors, 2);
            assert_eq!(items.iter().map(|i| &i.id).collect::<HashSet<_>>().len(), items.len());
            let mut parallel: BTreeMap<&str, Vec<_>> = BTreeMap::new();
            let mut answers = [0usize; 4];
            for item in &items {
                let target = corpus.concept(item.concept);
                let picture = corpus.picture(item.picture);
                assert!(pool.contains(target) && picture.style == Style::Twemoji && picture.concept == item.concept);
                assert!(!corpus.is_ambiguous(item.picture));
                assert_eq!(item.option_concepts[item.answer], item.concept);
                assert_eq!(
                    item.options.iter().map(|o| o.to_lowercase()).collect::<HashSet<_>>().len(),
                    4,
                    "{}",
                    item.id
                );
                for (option, concept) in item.options.iter().zip(item.option_concepts) {
                    assert_eq!(*option, corpus.text(concept, item.language).unwrap().name);
                    let concept = corpus.concept(concept);
                    assert_eq!(concept.split, target.split);
                    assert_eq!(trained.contains(&concept.id), pool.concepts == Concepts::Seen, "{}", item.id);
                    assert!(distractors == Distractors::Far || concept.subgroup == target.subgroup);
                    assert!(!corpus.lookalikes(item.concept).contains(&concept.id), "{}", item.id);
                }
                parallel.entry(&item.parallel).or_default().push((item.option_concepts, item.answer, item.picture));
                answers[item.answer] += 1;
            }
            assert!(parallel.values().all(|of| of.len() == languages.len() && of.iter().all(|item| *item == of[0])));
            let questions = items.len() / languages.len();
            let expected = questions / 4 * languages.len();
            assert!(
                answers.iter().all(|n| n.abs_diff(expected) < expected / 2),
                "{pool:?} {distractors:?} {answers:?}"
            );
            // Enough questions to say something: about 100 near and 190 far ones a concept pool at least.
            assert!(questions >= if distractors == Distractors::Near { 200 } else { 380 }, "{pool:?} {questions}");
        }
    }
}

#[test]
fn seeds_change_questions_and_languages_do_not() {
    let corpus = corpus();
    let items = |languages: &[Language], seed| {
        let tasks = TaskBuilder::new(&corpus, languages, seed).unwrap();
        let items = tasks.choice_items(Pool::TEST_SEEN, Distractors::Far, 1);
        items.into_iter().filter(|item| item.language == Language::EN).collect::<Vec<_>>()
    };
    assert_eq!(items(&[Language::EN], 0), items(&[Language::RU, Language::EN, Language::JA], 0));
    assert_ne!(items(&[Language::EN], 0), items(&[Language::EN], 1));
}

/// In all 20 languages of TowerVision the options differ: some names fall together in one language only.
#[test]
fn twenty_languages() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, TOWERVISION_20.languages, 0).unwrap();
    let items = tasks.choice_items(Pool::TEST_UNSEEN, Distractors::Near, 1);
    assert!(items.iter().all(|item| item.options.iter().collect::<HashSet<_>>().len() == 4));
    assert_eq!(items.len() % 20, 0);
    let flags = tasks.flag_choice_items(Pool::TEST_SEEN, 1);
    assert!(flags.len() / 20 > 80 && flags.iter().all(|item| !item.options[0].contains(':')));
}

#[test]
fn lettered_rotations() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &[Language::EN, Language::JA], 0).unwrap();
    let items = tasks.choice_items(Pool::TEST_SEEN, Distractors::Near, 1);
    let item = &items[0];
    let right = &item.options[item.answer];
    let mut letters = HashSet::new();
    for rotation in 0..4 {
        let lettered = item.lettered(rotation);
        letters.insert(lettered.answer);
        let line = format!("{}. {right}", LETTERS[lettered.answer]);
        assert!(lettered.turns[0].text.lines().any(|l| l == line), "{}", lettered.turns[0].text);
        assert!(lettered.turns[0].text.starts_with("<image>\nWhat is this?\nA. "));
        assert!(lettered.turns[0].text.ends_with("\nAnswer with the letter only."));
    }
    assert_eq!(letters.len(), 4);
    assert_eq!(item.cloze()[0].text, "<image>\nWhat is this?");
    assert_eq!(item.cloze_text_only()[0].text, "What is this?");
    assert_eq!(item.cloze_with(2)[1].text, item.options[2]);
    let samples = tasks.choice_samples(Distractors::Near);
    for letter in LETTERS {
        let share = samples.iter().filter(|s| s.answer() == letter).count() as f64 / samples.len() as f64;
        assert!((0.2..0.3).contains(&share), "{letter} {share}");
    }
}

#[test]
fn yes_no_pairs() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &[Language::ZH_HANS, Language::TR], 0).unwrap();
    let items = tasks.yes_no_items(Pool::TEST_UNSEEN, Distractors::Far);
    for pair in items.chunks(2) {
        assert_eq!((pair[0].pair == pair[1].pair, pair[0].answer, pair[1].answer), (true, true, false));
        assert!(pair[0].picture == pair[1].picture && pair[0].prompt != pair[1].prompt);
        assert_eq!(pair[0].named, pair[0].concept);
        assert_eq!(corpus.concept(pair[1].named).split, Split::Test);
        assert!(["是", "evet"].contains(&pair[0].answer_word()) && ["否", "hayır"].contains(&pair[1].answer_word()));
    }
    let samples = tasks.yes_no_samples(Distractors::Near);
    let yes = samples.iter().filter(|s| s.answer() == prompts(s.language()).yes).count();
    assert_eq!(yes * 2, samples.len());
}

#[test]
fn caption_questions() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &[Language::EN], 0).unwrap();
    let items = tasks.caption_items(Pool::TEST_UNSEEN);
    assert!(items.len() > 190 && items.iter().all(|s| corpus.picture(s.picture().unwrap()).style == Style::Twemoji));
    assert!(tasks.flag_country_items(Pool::TEST_SEEN).iter().all(|s| s.task() == Task::FlagCountry));
}

#[test]
fn languages_are_checked() {
    let corpus = corpus();
    assert_eq!(TaskBuilder::new(&corpus, &[], 0).unwrap_err(), TaskError::NoLanguage);
    let twice = TaskBuilder::new(&corpus, &[Language::EN, Language::EN], 0).unwrap_err();
    assert_eq!(twice, TaskError::Twice(Language::EN));
}

/// What a backbone is asked without pictures is about concepts that no training sample is about, in the form of the training texts.
#[test]
fn text_items_are_held_out() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &[Language::EN, Language::DE, Language::ZH_HANS], 0).unwrap();
    let concepts = tasks.named_concepts(Pool::TEST_UNSEEN);
    // All of the split: names, unlike pictures, are ambiguous nowhere.
    assert_eq!(concepts.len(), 223);
    let pairs = [(Language::EN, Language::DE), (Language::DE, Language::EN)];
    let named = tasks.keywords_to_name_items(&concepts);
    let translated = tasks.translation_items(&concepts, &pairs);
    assert!(named.len() > 500 && translated.len() > 300, "{} {}", named.len(), translated.len());
    let trained: HashSet<Arc<str>> = training(&tasks).iter().filter_map(|sample| sample.group.clone()).collect();
    for item in named.iter().chain(&translated) {
        assert!(item.media.is_empty() && !trained.contains(item.group.as_ref().unwrap()), "{}", item.id);
        let question = prompts(item.language()).what_is_this;
        assert!(item.turns[0].text.ends_with(&format!("\n{question}")), "{}", item.turns[0].text);
    }
}

/// Prints how much there is of everything: `cargo test --release -p burn-vlm-data --test tasks -- --ignored --nocapture`.
#[test]
#[ignore = "prints sizes, checks nothing"]
fn sizes() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &seven(), 0).unwrap();
    println!("training concepts {}", tasks.training_concepts().len());
    let mut sizes: BTreeMap<Task, usize> = BTreeMap::new();
    training(&tasks).iter().for_each(|sample| *sizes.entry(sample.task()).or_default() += 1);
    println!("training samples in 7 languages {sizes:?}");
    for pool in POOLS {
        let count = |distractors| tasks.choice_items(pool, distractors, 1).len() / 7;
        println!("{pool:?}: near {}, far {}", count(Distractors::Near), count(Distractors::Far));
    }
}

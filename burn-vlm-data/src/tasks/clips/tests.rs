//! What is promised of clips: nothing held out is trained, questions are parallel, controls show what they should.

use super::*;
use crate::conversation::Turn;
use crate::emoji::{EmojiCorpus, Split, Style};
use crate::language::Language;
use crate::sample::{Media, Picture, Sample, pictures};
use crate::tasks::{Pool, TaskBuilder};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

const POOLS: [Pool; 4] = [Pool::TEST_SEEN, Pool::TEST_UNSEEN, Pool::VALIDATION_SEEN, Pool::VALIDATION_UNSEEN];

fn corpus() -> Arc<EmojiCorpus> {
    EmojiCorpus::embedded().unwrap()
}

/// Clips of food and drink alone, of some questions.
fn settings(more: &str) -> ClipSettings {
    toml::from_str(&format!("groups = ['food-drink']\n{more}")).unwrap()
}

/// The icons of a frame, style and concept, read off its description.
fn icons(picture: &Picture) -> Vec<(String, String)> {
    let Picture::Drawn(drawn) = picture else { panic!("{picture:?}") };
    let description = drawn.description();
    let icon = |word: &str| {
        let (style, concept) = word.split_once(':')?.0.split_once('/')?;
        Some((style.to_owned(), concept.to_owned()))
    };
    description.split(' ').filter_map(icon).collect()
}

fn frames(media: &Media) -> Vec<&Picture> {
    pictures(std::slice::from_ref(media)).collect()
}

#[test]
fn no_held_out_concept_or_style_is_trained() {
    let corpus = corpus();
    let languages = [Language::EN, Language::DE];
    let tasks = TaskBuilder::new(&corpus, &languages, 0).unwrap();
    let held_out: HashSet<&str> = corpus
        .concepts()
        .iter()
        .filter(|concept| concept.split != Split::Train)
        .flat_map(|concept| languages.map(|language| corpus.text(concept.id, language).unwrap().name.as_str()))
        .collect();
    let samples: Vec<Sample> = tasks.clip_samples(&settings("variants = 2"));
    assert!(samples.len() > 4000, "{}", samples.len());
    let mut ids = HashSet::new();
    for sample in &samples {
        assert!(ids.insert(&sample.id), "{}", sample.id);
        assert_eq!((sample.tags[0].as_str(), sample.media.len()), ("clips", 1));
        assert_eq!(crate::sample::count_placeholders(&sample.turns), 1);
        // "left arrow", "repeat button: tulip", "bear, tulip": none of it is a held-out name.
        for Turn { text, .. } in &sample.turns {
            let mut parts = text.split(['\n', ':', ',']).map(str::trim);
            assert!(parts.all(|part| !held_out.contains(part)), "{}: {text}", sample.id);
        }
        for (style, concept) in sample.pictures().flat_map(icons) {
            assert!(Style::parse(&style).unwrap().is_training(), "{}", sample.id);
            assert_eq!(corpus.by_code(&concept).unwrap().split, Split::Train, "{}", sample.id);
        }
    }
    for pool in POOLS {
        let items = tasks.clip_items(pool, &settings(""));
        assert!(items.len() > 100, "{pool:?}: {}", items.len());
        for item in &items {
            for (style, concept) in frames(&item.clip).into_iter().flat_map(icons) {
                assert_eq!(style, Style::SCORED.as_str(), "{}", item.id);
                assert_eq!(corpus.by_code(&concept).unwrap().split, pool.split(), "{}", item.id);
            }
        }
    }
}

#[test]
fn questions_are_parallel_and_the_same_every_time() {
    let corpus = corpus();
    let languages = [Language::EN, Language::DE, Language::ZH_HANS];
    let build = || TaskBuilder::new(&corpus, &languages, 3).unwrap();
    let items = build().clip_items(Pool::TEST_SEEN, &settings(""));
    assert_eq!(items, build().clip_items(Pool::TEST_SEEN, &settings("")));
    assert_eq!(build().clip_samples(&settings("")), build().clip_samples(&settings("")));
    for of_all in items.chunks(3) {
        let [en, de, zh] = of_all else { panic!("{of_all:?}") };
        for other in [de, zh] {
            assert_eq!((&en.parallel, &en.clip, en.answer), (&other.parallel, &other.clip, other.answer));
            assert_eq!((&en.middle, &en.shuffled, en.concept), (&other.middle, &other.shuffled, other.concept));
            let counted = matches!(en.question, ClipQuestion::Times | ClipQuestion::Control);
            assert!(counted || en.options != other.options, "{}", en.id);
            assert_ne!(en.prompt, other.prompt);
        }
    }
    // Alone, the language asks the same.
    let alone = TaskBuilder::new(&corpus, &[Language::EN], 3).unwrap().parallel_to(&languages).unwrap();
    let english: Vec<_> = items.into_iter().filter(|item| item.language == Language::EN).collect();
    assert_eq!(alone.clip_items(Pool::TEST_SEEN, &settings("")), english);
}

#[test]
fn pools_share_no_question() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &[Language::EN], 0).unwrap();
    let mut pools: BTreeMap<String, Pool> = BTreeMap::new();
    for pool in POOLS {
        for item in tasks.clip_items(pool, &ClipSettings::default()) {
            let code = corpus.concept(item.concept).code.clone();
            assert_eq!(*pools.entry(code).or_insert(pool), pool, "{}", item.id);
        }
    }
}

/// In Latin American Spanish and Icelandic nothing is asked about turning, and everything else is.
#[test]
fn turning_is_not_asked_where_its_words_fail() {
    let corpus = corpus();
    let languages = [Language::EN, Language::ES_419, Language::IS, Language::ES];
    let tasks = TaskBuilder::new(&corpus, &languages, 0).unwrap();
    let mut asked: BTreeMap<Language, HashSet<ClipQuestion>> = BTreeMap::new();
    for item in tasks.clip_items(Pool::TEST_SEEN, &settings("")) {
        asked.entry(item.language).or_default().insert(item.question);
    }
    let trained = |language: Language| {
        let samples = TaskBuilder::new(&corpus, &[language], 0).unwrap().clip_samples(&settings(""));
        samples.iter().map(|sample| sample.id.split('/').nth(1).unwrap().to_owned()).collect::<HashSet<_>>()
    };
    for language in languages {
        let expected = if [Language::ES_419, Language::IS].contains(&language) { 7 } else { 8 };
        assert_eq!((asked[&language].len(), trained(language).len()), (expected, expected), "{language}");
        assert_eq!(trained(language).contains("turns"), expected == 8, "{language}");
    }
}

/// Pairs of names in their order can be read: the names hold no separator, in no language of the study.
#[test]
fn lists_have_two_names() {
    let corpus = corpus();
    let languages = [Language::EN, Language::HI, Language::JA];
    let tasks = TaskBuilder::new(&corpus, &languages, 0).unwrap();
    let some: ClipSettings = toml::from_str("questions = ['order', 'becomes']").unwrap();
    let separators = BTreeMap::from([(Language::EN, ", "), (Language::HI, ", "), (Language::JA, "、")]);
    let items = tasks.clip_items(Pool::TEST_SEEN, &some);
    assert!(items.len() > 500, "{}", items.len());
    for item in &items {
        let [a, b] = item.options.each_ref().map(|option| {
            let names: Vec<&str> = option.split(separators[&item.language]).collect();
            <[&str; 2]>::try_from(names).unwrap()
        });
        assert_eq!((a[0], a[1]), (b[1], b[0]), "{}", item.id);
    }
}

#[test]
fn controls_show_the_frames_of_their_clip() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &[Language::EN], 0).unwrap();
    let mut moved = 0;
    for number in [1, 2, 4, 8, 32] {
        let items = tasks.clip_items(Pool::TEST_SEEN, &settings(&format!("frames = {number}")));
        for item in &items {
            let sorted = |media: &Media| {
                let mut keys: Vec<_> = frames(media).into_iter().map(|frame| frame.key().unwrap()).collect();
                keys.sort_unstable();
                keys
            };
            assert_eq!((frames(&item.clip).len(), frames(&item.middle).len()), (number, 1), "{}", item.id);
            assert_eq!(sorted(&item.clip), sorted(&item.shuffled), "{}", item.id);
            moved += usize::from(item.clip != item.shuffled);
            // One frame is the middle one.
            assert_eq!(number == 1, item.clip == item.middle && number == 1, "{}", item.id);
        }
    }
    assert!(moved > 500, "{moved}");
}

/// Each option is right about equally often, by its place and, of questions with two answers, by its words.
#[test]
fn answers_are_balanced() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &[Language::EN], 0).unwrap();
    let mut places: BTreeMap<ClipQuestion, [f64; 2]> = BTreeMap::new();
    let mut words: BTreeMap<(ClipQuestion, &str), f64> = BTreeMap::new();
    let items = tasks.clip_items(Pool::TEST_SEEN, &ClipSettings::default());
    for item in &items {
        places.entry(item.question).or_default()[item.answer] += 1.0;
        *words.entry((item.question, &item.options[item.answer])).or_default() += 1.0;
        assert_ne!(item.options[0], item.options[1], "{}", item.id);
    }
    // Four standard deviations of a fair coin.
    let even = |a: f64, b: f64| (a - b).abs() < 4.0 * (a + b).sqrt();
    assert!(places.len() == 8 && places.values().all(|[a, b]| even(*a, *b)), "{places:?}");
    for (question, a, b) in [
        (ClipQuestion::Direction, "left arrow", "right arrow"),
        (ClipQuestion::Direction, "fast up button", "fast down button"),
        (ClipQuestion::Grows, "chart increasing", "chart decreasing"),
        (ClipQuestion::Turns, "clockwise vertical arrows", "counterclockwise arrows button"),
    ] {
        assert!(even(words[&(question, a)], words[&(question, b)]), "{question:?}: {words:?}");
    }
}

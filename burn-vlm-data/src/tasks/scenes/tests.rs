//! Nothing that is scored leaks into training scenes, and everything is parallel across languages.

use super::{IconSize, SceneOptions, SceneQuestion, SceneSettings};
use crate::conversation::Turn;
use crate::emoji::{EmojiCorpus, Split, Style};
use crate::language::Language;
use crate::sample::{Picture, Sample, pictures};
use crate::tasks::{Pool, TaskBuilder};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

const POOLS: [Pool; 4] = [Pool::TEST_SEEN, Pool::TEST_UNSEEN, Pool::VALIDATION_SEEN, Pool::VALIDATION_UNSEEN];

fn corpus() -> Arc<EmojiCorpus> {
    EmojiCorpus::embedded().unwrap()
}

/// What a drawing says of itself, read by other code than that which writes it: side, then style, concept, left and top of each icon.
fn read(picture: &Picture) -> (u32, Vec<(String, String, u32, u32)>) {
    let text = format!("{picture:?}");
    let start = text.find("scenes/1 192 ").unwrap() + "scenes/1 192 ".len();
    let end = start + text[start..].find('"').unwrap();
    let mut words = text[start..end].split(' ');
    let side = words.next().unwrap().parse().unwrap();
    let icon = |word: &str| {
        let (name, place) = word.split_once('@').unwrap();
        let (style, concept) = name.split_once(':').unwrap().0.split_once('/').unwrap();
        let (left, top) = place.split_once(',').unwrap();
        (style.to_owned(), concept.to_owned(), left.parse().unwrap(), top.parse().unwrap())
    };
    (side, words.map(icon).collect())
}

/// The places of a picture's icons, whatever they show.
fn places(picture: &Picture) -> (u32, BTreeSet<(u32, u32)>) {
    let (side, icons) = read(picture);
    (side, icons.into_iter().map(|(_, _, left, top)| (left, top)).collect())
}

fn layout(media: &[crate::sample::Media]) -> Vec<(u32, BTreeSet<(u32, u32)>)> {
    let mut layout: Vec<_> = pictures(media).map(places).collect();
    // What was added and what was removed are the same pair of pictures.
    layout.sort_by_key(|(_, places)| places.len());
    layout
}

#[test]
fn no_held_out_concept_style_or_layout_is_trained() {
    let corpus = corpus();
    let languages = [Language::EN, Language::DE];
    let tasks = TaskBuilder::new(&corpus, &languages, 0).unwrap();
    let settings = SceneSettings::default();
    let samples: Vec<Sample> = tasks.scene_samples(&settings);
    let held_out: HashSet<&str> = corpus
        .concepts()
        .iter()
        .filter(|concept| concept.split != Split::Train)
        .flat_map(|concept| languages.map(|language| corpus.text(concept.id, language).unwrap().name.as_str()))
        .collect();
    let mut trained = HashSet::new();
    for sample in &samples {
        assert_eq!(sample.tags[0], "scenes");
        // "tulip", "left arrow, tulip: What is this?": no answer and no part of a question is a held-out name.
        for Turn { text, .. } in &sample.turns {
            let mut parts = text.split(['\n', ':', ',', '、']).map(str::trim).chain([text.as_str()]);
            assert!(parts.all(|part| !held_out.contains(part)), "{}: {text}", sample.id);
        }
        for picture in sample.pictures() {
            for (style, concept, ..) in read(picture).1 {
                assert!(Style::parse(&style).unwrap().is_training(), "{}", sample.id);
                assert_eq!(corpus.by_code(&concept).unwrap().split, Split::Train, "{}", sample.id);
            }
        }
        trained.insert(layout(&sample.media));
    }
    assert!(samples.len() > 50_000 && trained.len() > 10_000, "{} samples, {} layouts", samples.len(), trained.len());
    for pool in POOLS {
        let items = tasks.scene_items(pool, &settings);
        assert!(items.len() > 100, "{pool:?}: {}", items.len());
        for item in &items {
            assert!(!trained.contains(&layout(&item.media)), "{}", item.id);
            for (style, concept, ..) in pictures(&item.media).flat_map(|picture| read(picture).1) {
                assert_eq!(style, Style::SCORED.as_str(), "{}", item.id);
                assert_eq!(corpus.by_code(&concept).unwrap().split, pool.split(), "{}", item.id);
            }
        }
    }
}

#[test]
fn pools_share_no_question() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &[Language::EN], 0).unwrap();
    let mut ids = HashSet::new();
    let mut concepts: BTreeMap<String, Pool> = BTreeMap::new();
    for pool in POOLS {
        for item in tasks.scene_items(pool, &SceneSettings::default()) {
            assert!(ids.insert(item.id.clone()), "{}", item.id);
            let code = corpus.concept(item.concept).code.clone();
            assert_eq!(*concepts.entry(code).or_insert(pool), pool, "{}", item.id);
        }
    }
}

#[test]
fn questions_are_parallel_and_the_same_every_time() {
    let corpus = corpus();
    let languages = [Language::EN, Language::DE, Language::ZH_HANS];
    let settings: SceneSettings = toml::from_str("sizes = ['1/2', '1/6']").unwrap();
    let build = || TaskBuilder::new(&corpus, &languages, 3).unwrap();
    let items = build().scene_items(Pool::TEST_SEEN, &settings);
    assert_eq!(items, build().scene_items(Pool::TEST_SEEN, &settings));
    assert_eq!(build().scene_samples(&settings), build().scene_samples(&settings));
    for of_all in items.chunks(3) {
        let [en, de, zh] = of_all else { panic!("{of_all:?}") };
        for other in [de, zh] {
            assert_eq!((&en.parallel, &en.media, en.answer), (&other.parallel, &other.media, other.answer));
            assert_eq!((en.question, en.size, en.concept), (other.question, other.size, other.concept));
            assert!(en.options_from == SceneOptions::Numbers || en.options != other.options, "{}", en.id);
        }
    }
    // Alone, the language asks the same.
    let alone = TaskBuilder::new(&corpus, &[Language::EN], 3).unwrap().parallel_to(&languages).unwrap();
    let english: Vec<_> = items.into_iter().filter(|item| item.language == Language::EN).collect();
    assert_eq!(alone.scene_items(Pool::TEST_SEEN, &settings), english);
}

#[test]
fn options_are_what_they_are_called() {
    let corpus = corpus();
    let tasks = TaskBuilder::new(&corpus, &[Language::EN], 0).unwrap();
    let mut answers: BTreeMap<(SceneQuestion, usize), usize> = BTreeMap::new();
    for item in tasks.scene_items(Pool::TEST_SEEN, &SceneSettings::default()) {
        let distinct: BTreeSet<&String> = item.options.iter().collect();
        assert_eq!(distinct.len(), 4, "{}: {:?}", item.id, item.options);
        let shown: BTreeSet<String> = pictures(&item.media)
            .flat_map(|picture| read(picture).1)
            .map(|(_, code, ..)| corpus.text(corpus.by_code(&code).unwrap().id, Language::EN).unwrap().name.clone())
            .collect();
        let right = &item.options[item.answer];
        let wrong_shown = item.options.iter().filter(|option| *option != right && shown.contains(*option)).count();
        match item.options_from {
            SceneOptions::Numbers => {
                let name = &corpus.text(item.concept, Language::EN).unwrap().name;
                let code = &corpus.concept(item.concept).code;
                let icons = read(pictures(&item.media).next().unwrap()).1;
                let count = icons.iter().filter(|(_, concept, ..)| concept == code).count();
                assert_eq!(*right, count.to_string(), "{}", item.id);
                assert!(item.prompt.ends_with(name), "{}", item.prompt);
            }
            SceneOptions::Elsewhere => assert_eq!((wrong_shown, shown.contains(right)), (0, true), "{}", item.id),
            SceneOptions::Present => {
                assert_eq!((wrong_shown, shown.contains(right)), (shown.len() - 1, true), "{}", item.id);
            }
        }
        assert_eq!(read(pictures(&item.media).last().unwrap()).1.len(), item.icons);
        assert_eq!(read(pictures(&item.media).last().unwrap()).0, item.size.side());
        *answers.entry((item.question, item.answer)).or_default() += 1;
    }
    // Every place is right about equally often: a quarter of hundreds, four standard deviations to each side.
    for question in SceneQuestion::ALL {
        let counts: Vec<f64> = (0..4).map(|at| answers[&(question, at)] as f64).collect();
        let all: f64 = counts.iter().sum();
        let spread = 4.0 * (all * 0.25 * 0.75).sqrt();
        assert!(counts.iter().all(|count| (count - all / 4.0).abs() < spread), "{question:?}: {counts:?}");
    }
}

/// By hand: what the first sizes take of the canvas.
#[test]
fn sizes_are_shares_of_the_canvas() {
    let sides: Vec<u32> = IconSize::ALL.iter().map(|size| size.side()).collect();
    assert_eq!(sides, [96, 64, 48, 32, 24]);
}

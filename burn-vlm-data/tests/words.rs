//! Words in pictures: nothing that is asked leaks into training, and the levels ask the same.

use burn_vlm_data::emoji::{EmojiCorpus, Split, Style};
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::{Picture, Sample};
use burn_vlm_data::tasks::{
    Distractors, Purpose, Task, TaskError, TaskSettings, Vocabulary, WordItem, WordSettings, WordTasks,
    training_samples,
};
use burn_vlm_data::words::{Level, Script, fold};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

fn corpus() -> Arc<EmojiCorpus> {
    EmojiCorpus::embedded().unwrap()
}

/// One language of each script.
fn languages() -> Vec<Language> {
    let tags = ["en", "ru", "el", "ur", "he", "hi", "bn", "ta", "zh-Hans", "ja", "ko"];
    let languages: Vec<Language> = tags.iter().map(|tag| Language::parse(tag).unwrap()).collect();
    let scripts: BTreeSet<Script> = languages.iter().filter_map(|language| Script::of(*language)).collect();
    assert_eq!(scripts.len(), Script::ALL.len());
    languages
}

fn items(language: Language, distractors: Distractors, purpose: Purpose) -> Vec<WordItem> {
    WordTasks::new(&corpus(), 0)
        .items(language, (&Level::ALL, distractors), (Vocabulary::Unseen, purpose, 0), 64)
        .unwrap()
}

fn samples(language: Language, seed: u64) -> Vec<Sample> {
    let settings =
        TaskSettings { words: WordSettings { variants: 2, ..WordSettings::default() }, ..TaskSettings::default() };
    training_samples(&corpus(), Task::Words, language, &[], &[], seed, &settings).unwrap()
}

/// What a picture's description says.
struct Drawn {
    level: String,
    font: String,
    /// Places across and down, angle, colours, scale.
    layout: [i32; 5],
    behind: String,
    word: String,
}

fn drawn(description: &str) -> Drawn {
    let fields: Vec<&str> = description.split(' ').collect();
    let [_, _, level, font, a, b, c, d, e, behind, word] = fields[..] else { panic!("{description}") };
    let layout = [a, b, c, d, e].map(|number| number.parse().unwrap());
    // Behind the name of what is behind the word stands a hash of it.
    let behind = behind.split(':').next().unwrap();
    let [level, font, behind, word] = [level, font, behind, word].map(str::to_owned);
    Drawn { level, font, layout, behind, word }
}

fn drawn_of(sample: &Sample) -> Drawn {
    let Some(Picture::Drawn(picture)) = sample.pictures().next() else { panic!("{}", sample.id) };
    drawn(&picture.description())
}

/// No word, font, layout or icon of a question is in a training sample, in any language and for any seed.
#[test]
fn nothing_asked_leaks_into_training() {
    let corpus = corpus();
    let (mut words, mut fonts, mut icons) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut values: [HashSet<i32>; 5] = Default::default();
    for (language, seed) in languages().into_iter().zip([0, 1, 2].into_iter().cycle()) {
        for sample in samples(language, seed) {
            let drawn = drawn_of(&sample);
            assert_eq!(sample.answer(), drawn.word, "{}", sample.id);
            assert_eq!(sample.group.as_deref(), Some(format!("word/{}", fold(&drawn.word)).as_str()));
            for (value, known) in drawn.layout.into_iter().zip(&mut values) {
                known.insert(value);
            }
            if drawn.behind != "-" {
                assert_eq!(drawn.level, "clutter");
                icons.insert(drawn.behind);
            }
            words.insert(fold(&drawn.word));
            fonts.insert(drawn.font);
        }
    }
    for icon in &icons {
        let (style, code) = icon.split_once('/').unwrap();
        assert_ne!(style, Style::SCORED.as_str());
        assert_eq!(corpus.by_code(code).unwrap().split, Split::Train, "{icon}");
    }
    let mut asked = 0;
    for (language, distractors) in languages().into_iter().flat_map(|l| [(l, Distractors::Near), (l, Distractors::Far)])
    {
        for item in [Purpose::Test, Purpose::Validation].into_iter().flat_map(|p| items(language, distractors, p)) {
            asked += 1;
            let drawn = drawn(&item.picture.description());
            assert_eq!(drawn.word, item.word);
            assert!(item.options.iter().all(|option| !words.contains(&fold(option))), "{}", item.id);
            assert!(!fonts.contains(&drawn.font) && !icons.contains(&drawn.behind), "{}", item.id);
            for (place, (value, known)) in drawn.layout.into_iter().zip(&values).enumerate() {
                // Upright and black on white are every level's but one.
                let usual = (place == 2 || place == 3) && value == 0;
                assert!(usual || !known.contains(&value), "{}: {value} of {place}", item.id);
            }
        }
    }
    assert!(asked > 10_000 && icons.len() > 200, "{asked} {}", icons.len());
}

/// Questions about seen words ask what a stage with as many words trains, for any seed, in fonts and layouts that it does not show; those
/// for validation ask others.
#[test]
fn seen_words_are_those_that_training_draws_first() {
    const ASKED: usize = 40;
    let corpus = corpus();
    let settings = WordSettings { words: 2 * ASKED, ..WordSettings::default() };
    for (language, seed) in languages().into_iter().zip([0, 1, 2].into_iter().cycle()) {
        let tasks = WordTasks::new(&corpus, seed);
        let trained = tasks.training_pictures(language, &settings).unwrap();
        let words: HashSet<&str> = trained.iter().map(|(word, _)| word.text.as_str()).collect();
        let fonts: HashSet<String> = trained.iter().map(|(_, picture)| drawn(&picture.description()).font).collect();
        assert_eq!(words.len(), 2 * ASKED, "{language}");
        let asked = |purpose| {
            let of = (Vocabulary::Seen, purpose, ASKED);
            let items = tasks.items(language, (&[Level::Plain], Distractors::Far), of, 64).unwrap();
            assert!(items.len() * 2 > ASKED, "{language}: {}", items.len());
            for item in &items {
                assert!(item.options.iter().all(|option| words.contains(option.as_str())), "{}", item.id);
                assert!(!fonts.contains(&drawn(&item.picture.description()).font), "{}", item.id);
            }
            items.into_iter().map(|item| item.word).collect::<BTreeSet<String>>()
        };
        assert!(asked(Purpose::Test).is_disjoint(&asked(Purpose::Validation)), "{language}");
    }
}

/// A word that is asked for in a picture is no word of any answer that other tasks train.
#[test]
fn other_tasks_do_not_teach_the_words_either() {
    let corpus = corpus();
    let held_out: HashSet<String> =
        items(Language::DE, Distractors::Far, Purpose::Test).iter().map(|item| fold(&item.word)).collect();
    assert!(held_out.len() > 80);
    let settings = TaskSettings::default();
    for task in [Task::Caption, Task::KeywordList, Task::Choice, Task::KeywordsToName, Task::Translation] {
        let german = [Language::EN, Language::DE];
        for sample in training_samples(&corpus, task, Language::DE, &german, &[], 0, &settings).unwrap() {
            let answer = sample.answer().to_lowercase();
            let words = answer.split(|c: char| !c.is_alphanumeric());
            assert!(!words.into_iter().any(|word| held_out.contains(word)), "{}: {answer}", sample.id);
        }
    }
}

#[test]
fn the_levels_ask_the_same_words_with_the_same_options() {
    for (language, distractors) in
        languages().into_iter().zip([Distractors::Near, Distractors::Far].into_iter().cycle())
    {
        let mut by_word: BTreeMap<String, Vec<WordItem>> = BTreeMap::new();
        for item in items(language, distractors, Purpose::Test) {
            by_word.entry(item.word.clone()).or_default().push(item);
        }
        assert!(by_word.len() >= 40, "{language}: {}", by_word.len());
        let mut positions = [0usize; 4];
        for (word, items) in &by_word {
            let levels: Vec<Level> = items.iter().map(|item| item.level).collect();
            assert_eq!(levels, Level::ALL, "{word}");
            let first = &items[0];
            assert!(items.iter().all(|item| (&item.options, item.answer) == (&first.options, first.answer)));
            assert_eq!(&first.options[first.answer], word);
            let different: BTreeSet<String> = first.options.iter().map(|option| fold(option)).collect();
            assert_eq!(different.len(), 4, "{:?}", first.options);
            let length = |text: &str| text.chars().count();
            assert!(first.options.iter().all(|option| length(option).abs_diff(length(word)) <= 1));
            let pictures: HashSet<String> = items.iter().map(|item| item.picture.description()).collect();
            assert_eq!(pictures.len(), Level::ALL.len());
            positions[first.answer] += 1;
        }
        assert!(positions.iter().all(|count| *count * 8 > by_word.len()), "{language}: {positions:?}");
    }
}

#[test]
fn near_distractors_share_more_letters() {
    let shared = |distractors| {
        let items = items(Language::EN, distractors, Purpose::Test);
        let of = |item: &WordItem| {
            let letters: BTreeSet<char> = item.word.chars().collect();
            let others = item.options.iter().filter(|option| **option != item.word);
            others.map(|other| other.chars().filter(|c| letters.contains(c)).count()).sum::<usize>()
        };
        items.iter().map(of).sum::<usize>() as f64 / items.len() as f64
    };
    let (near, far) = (shared(Distractors::Near), shared(Distractors::Far));
    assert!(near > far + 2.0, "{near:.2} {far:.2}");
}

#[test]
fn samples_are_a_function_of_the_seed() {
    assert_eq!(samples(Language::KO, 3), samples(Language::KO, 3));
    assert_ne!(samples(Language::KO, 3), samples(Language::KO, 4));
    let settings = WordSettings { words: 5, levels: vec![Level::Small], size: 96, ..WordSettings::default() };
    let corpus = corpus();
    let few = WordTasks::new(&corpus, 0).samples(Language::AR, &settings).unwrap();
    assert!(few.len() == 5 && few.iter().all(|sample| drawn_of(sample).level == "small"));
    let ids: HashSet<String> = samples(Language::EN, 0).into_iter().map(|sample| sample.id).collect();
    assert_eq!(ids.len(), samples(Language::EN, 0).len());
}

#[test]
fn languages_without_words_are_told() {
    let corpus = corpus();
    let error = WordTasks::new(&corpus, 0).samples(Language::SI, &WordSettings::default()).unwrap_err();
    assert!(
        matches!(error, TaskError::NoWords { .. }) && error.to_string().contains("no words to draw in si"),
        "{error}"
    );
}

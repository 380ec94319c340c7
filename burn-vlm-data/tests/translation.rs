//! Translations: what is asked, which language a row gets, and what the checks find.

use std::collections::BTreeMap;

use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::{Language, TOWERVISION_20};
use burn_vlm_data::pipeline::translation::{
    Assembled, CaptionRequests, Draw, LanguageNames, Template, Translated, TranslationCheck, TranslationChecks,
    TranslationPlan,
};
use burn_vlm_data::pipeline::{Finish, Part, Reply, Settings};
use burn_vlm_data::sample::Sample;
use burn_vlm_data::tasks::{Task, TaskSettings, training_samples};

const TOWER: &str = "tower-plus";

fn reply(text: &str) -> Reply {
    Reply { text: text.to_owned(), finish: Finish::Stop, model: None, full: false }
}

fn checks(left_out: &[TranslationCheck]) -> TranslationChecks {
    TranslationChecks::new(Template::named(TOWER).unwrap(), LanguageNames::default(), left_out.iter().copied())
}

fn plan(languages: &[Language], draw: Draw) -> TranslationPlan {
    TranslationPlan {
        languages: languages.to_vec(),
        draw,
        from: Language::EN,
        template: Template::named(TOWER).unwrap(),
        names: LanguageNames::default(),
        settings: Settings::greedy(100),
        model: "tower".to_owned(),
        requests: CaptionRequests::new(0, BTreeMap::new()),
    }
}

fn faults(to: Language, source: &str, text: &str) -> Vec<&'static str> {
    checks(&[]).faults(Language::EN, to, source, &reply(text)).into_iter().map(|fault| fault.reason).collect()
}

/// The shipped backbones have learnt the question of a language, not its name.
#[test]
fn small_backbones_are_asked_as_they_were_taught() {
    let template = Template::named("tiny").unwrap();
    let names = template.language_names([(Language::FR, "Quoi ?".to_owned())]);
    let prompt = |to| template.fill(names.of(Language::EN), names.of(to), "red apple");
    assert_eq!(prompt(Language::DE), "red apple\nWas ist das?");
    assert_eq!(prompt(Language::FR), "red apple\nQuoi ?");
    // A task of the corpus is the same text.
    let corpus = EmojiCorpus::embedded().unwrap();
    let languages = [Language::EN, Language::DE];
    let settings = TaskSettings::default();
    let asked = training_samples(&corpus, Task::Translation, Language::DE, &languages, &[], 0, &settings).unwrap();
    assert!(asked.iter().any(|sample| sample.turns[0].text == prompt(Language::DE)));
    let tower = Template::named(TOWER).unwrap().language_names([]);
    assert_eq!(tower.of(Language::PT_BR), "Portuguese (Brazilian)");
}

#[test]
fn the_prompt_is_the_cards() {
    let template = Template::named(TOWER).unwrap();
    let names = LanguageNames::default();
    // As the model card has it, with the trailing space.
    assert_eq!(
        template.fill(names.of(Language::EN), names.of(Language::PT_BR), "{TGT} is {text}."),
        "Translate the following English source text to Portuguese (Brazilian):\nEnglish: {TGT} is {text}.\nPortuguese (Brazilian): "
    );
    for (language, name) in [
        (Language::PT_PT, "Portuguese (Portugal)"),
        (Language::ES_419, "Spanish (Latin America)"),
        (Language::ZH_HANS, "Chinese (Simplified)"),
        (Language::ZH_HANT, "Chinese (Traditional)"),
        (Language::NB, "Norwegian (Bokmål)"),
        (Language::NN, "Norwegian (Nynorsk)"),
        (Language::DE, "German"),
    ] {
        assert_eq!(names.of(language), name);
    }
    assert_eq!(LanguageNames::new([(Language::DE, "Deutsch".to_owned())]).of(Language::DE), "Deutsch");
    let error = Template::new("mine", "Translate {text}").unwrap_err().to_string();
    assert!(error.contains("mine") && error.contains("{TGT}"), "{error}");
    assert_ne!(template.hash(), Template::named("tower-eval").unwrap().hash());
}

#[test]
fn each_check_finds_its_fault_and_nothing_else() {
    let source = "The 3 signs at https://a.org/x?y=1 show 1,250 m and $x^2 + \\alpha$ on <image>\nin red.";
    let good = "Die drei Schilder bei https://a.org/x?y=1 zeigen 1.250 m und $x^2 + \\alpha$ auf <image>\nin Rot.";
    assert_eq!(faults(Language::DE, source, good), [""; 0]);
    for (from, to, reason) in [
        ("1.250", "125", "numbers"),
        ("x?y=1", "x", "urls"),
        ("\\alpha", "alpha", "latex"),
        ("<image>", "Bild", "placeholders"),
        ("\n", " ", "lines"),
        ("Die drei", "Translate the following English source text to German:\nDie drei", "prompt_remains"),
        ("Die drei", "German: Die drei", "prompt_remains"),
        ("Die drei", "Here is the translation: Die drei", "prompt_remains"),
        ("Schilder", "Sch\u{fffd}lder", "broken_character"),
    ] {
        let changed = good.replacen(from, to, 1);
        let found = faults(Language::DE, source, &changed);
        assert!(found.contains(&reason), "{changed}: {found:?}");
        // A further line is a fault of its own.
        let others: Vec<_> = found.iter().filter(|found| **found != reason && **found != "lines").collect();
        assert!(others.is_empty(), "{changed}: {found:?}");
    }
    assert_eq!(faults(Language::DE, source, " \n"), ["empty"]);
    for reply in [Reply { finish: Finish::Length, ..reply(good) }, Reply { full: true, ..reply(good) }] {
        let found = checks(&[]).faults(Language::EN, Language::DE, source, &reply);
        assert_eq!(found.iter().map(|fault| fault.reason).collect::<Vec<_>>(), ["cut"]);
        assert!(checks(&[TranslationCheck::Cut]).faults(Language::EN, Language::DE, source, &reply).is_empty());
    }
    // Of a reply that nobody counted, the end must show that it is whole.
    let unknown = |text: &str| Reply { finish: Finish::Unknown, ..reply(text) };
    for (text, cut) in [("Die Birne ist rot.", false), ("Die Birne ist r", true)] {
        let found = checks(&[]).faults(Language::EN, Language::DE, "The pear is red.", &unknown(text));
        assert_eq!(found.iter().any(|fault| fault.reason == "cut"), cut, "{text}");
    }
    // Nothing could be trained on an empty text, whatever is left out.
    assert!(!checks(&TranslationCheck::ALL).faults(Language::EN, Language::DE, source, &reply("")).is_empty());
}

#[test]
fn numbers_survive_in_other_scripts_and_with_other_separators() {
    for (to, source, text, lost) in [
        (Language::DE, "It has 1,000.50 rows", "Es hat 1.000,50 Zeilen", false),
        (Language::FR, "It has 12,500 rows", "Il a 12\u{202f}500 lignes", false),
        (Language::FR, "It has 12,500 rows", "Il a 12 500 lignes", false),
        (Language::HI, "In 1999", "१९९९ में", false),
        (Language::AR, "In 1999", "في ١٩٩٩", false),
        (Language::DE, "It has 3 rows", "Es hat drei Zeilen", false),
        (Language::DE, "It has 33 rows", "Es hat drei Zeilen", true),
        (Language::DE, "In 1999.", "Im Jahr 1998.", true),
    ] {
        assert_eq!(faults(to, source, text).contains(&"numbers"), lost, "{text}");
    }
}

#[test]
fn languages_and_scripts() {
    let source = "A red apple lies on a wooden table beside a glass of water and an open book.";
    let german = "Ein roter Apfel liegt auf einem Holztisch neben einem Glas Wasser und einem aufgeschlagenen Buch.";
    let russian = "Красное яблоко лежит на деревянном столе рядом со стаканом воды и открытой книгой.";
    for (to, text, fault) in [
        (Language::DE, german, None),
        (Language::RU, russian, None),
        (Language::DE, russian, Some("wrong_script")),
        (Language::RU, german, Some("wrong_script")),
        (Language::FR, german, Some("wrong_language")),
        (
            Language::NL,
            "A red apple lies on the wooden table beside the glass of water and an open book, all of it.",
            Some("wrong_language"),
        ),
        (Language::JA, "木のテーブルの上に赤いりんごがあります。", None),
        (Language::JA, "一个红苹果放在木桌上旁边有一杯水和一本打开的书", Some("wrong_script")),
        (Language::ZH_HANS, "一个红苹果放在木桌上，旁边有一杯水和一本打开的书。", None),
        (Language::ZH_HANT, "一个红苹果放在木桌上，旁边有一杯水和一本打开的书。", Some("wrong_script")),
        (Language::ZH_HANS, "一個紅蘋果放在木桌上，旁邊有一杯水和一本打開的書。", Some("wrong_script")),
        (Language::ZH_HANT, "一個紅蘋果放在木桌上，旁邊有一杯水和一本打開的書。", None),
        (Language::KO, "나무 탁자 위에 빨간 사과가 있다.", None),
        (Language::IS, "Rautt epli liggur á tréborði við hliðina á vatnsglasi og opinni bók.", None),
        (Language::NN, "Eit raudt eple ligg på eit trebord ved sida av eit glas vatn og ei open bok.", None),
    ] {
        let found = faults(to, source, text);
        assert_eq!(found.first().copied(), fault, "{to}: {text}: {found:?}");
    }
    assert_eq!(faults(Language::DE, source, &source.to_uppercase())[0], "echo");
    // A name is no echo, and may stay in its script.
    assert_eq!(faults(Language::RU, "Linux", "Linux"), [""; 0]);
    let beyond = |tag: &str| Language::parse(tag).unwrap();
    assert_eq!(faults(beyond("el"), source, russian), ["wrong_script"]);
    assert_eq!(faults(beyond("sr-Latn"), source, russian), ["wrong_script"]);
}

/// Names and keywords that people wrote: hardly any is taken for a wrong language.
#[test]
fn texts_of_the_corpus_pass() {
    let corpus = EmojiCorpus::embedded().unwrap();
    for language in TOWERVISION_20.languages.iter().filter(|language| **language != Language::EN) {
        let texts: Vec<(String, String)> = corpus
            .concepts()
            .iter()
            .filter_map(|concept| {
                let joined = |language| {
                    let text = corpus.text(concept.id, language)?;
                    Some([std::slice::from_ref(&text.name), &text.keywords].concat().join(", "))
                };
                Some((joined(Language::EN)?, joined(*language)?))
            })
            .collect();
        let wrong = |(source, text): &&(String, String)| {
            faults(*language, source, text).iter().any(|fault| fault.starts_with("wrong_"))
        };
        let share = texts.iter().filter(wrong).count() as f64 / texts.len() as f64;
        println!("{language}: {:.2} % of {}", 100.0 * share, texts.len());
        assert!(share < 0.05, "{language}: {share}");
    }
}

#[test]
fn languages_are_drawn_evenly_by_the_row() {
    let languages = TOWERVISION_20.languages;
    let plan = plan(languages, Draw::One { seed: 3 });
    let mut counts: BTreeMap<Language, usize> = BTreeMap::new();
    let sample = |number: usize, language| {
        Sample::new(
            format!("row {number}"),
            vec![Turn::user("What?"), Turn::assistant("A pear.")],
            Vec::new(),
            language,
        )
    };
    for number in 0..19_000 {
        let targets = plan.targets(&sample(number, None));
        assert_eq!(targets.len(), 1);
        *counts.entry(targets[0]).or_default() += 1;
    }
    // 1,000 of each are expected; four standard deviations of a binomial are 123.
    assert!(counts.len() == 19 && counts.values().all(|count| (877..=1123).contains(count)), "{counts:?}");
    assert_eq!(plan.targets(&sample(0, Some(Language::DE))).len(), 1);
    let german = TranslationPlan { languages: vec![Language::DE], draw: Draw::All, ..plan.clone() };
    assert!(german.targets(&sample(0, Some(Language::DE))).is_empty());
    let all = TranslationPlan { draw: Draw::All, ..plan };
    assert_eq!(all.targets(&sample(0, None)).len(), 19);
}

#[test]
fn a_sample_is_taken_apart_and_put_together() {
    let plan = plan(&[Language::DE], Draw::All);
    let turns = vec![
        Turn::user("<image>\nWhat is this?"),
        Turn::assistant("A pear."),
        Turn::user("<image>"),
        Turn::assistant("An apple.\n"),
    ];
    let sample = Sample::new("a", turns, Vec::new(), None);
    let tasks = plan.tasks(&sample, Language::DE);
    assert_eq!(tasks.iter().map(|task| task.turn).collect::<Vec<_>>(), [0, 1, 3]);
    assert_eq!(tasks[0].task.row, "a de 0");
    let Part::Text(prompt) = &tasks[0].task.question.messages[0].parts[0] else { panic!("a text") };
    assert!(prompt.contains("English: What is this?\n") && !prompt.contains("<image>"), "{prompt}");
    let known: BTreeMap<_, _> =
        tasks.iter().map(|task| task.task.key).zip(["Was ist das?", " Eine Birne. ", "Ein Apfel."]).collect();
    let checks = checks(&[]);
    let assembled = plan
        .assemble(&sample, Language::DE, &checks, |key| Ok::<_, ()>(Translated::Reply(reply(known[&key]))))
        .unwrap();
    let expected = vec![
        Turn::user("<image>\nWas ist das?"),
        Turn::assistant("Eine Birne."),
        Turn::user("<image>\nWas ist das?"),
        Turn::assistant("Ein Apfel.\n"),
    ];
    assert_eq!(assembled, Assembled::Kept(expected));
    let second = tasks[1].task.key;
    let of = |other: Translated| {
        let known = |key| Ok::<_, ()>(if key == second { other.clone() } else { Translated::Reply(reply("Gut.")) });
        plan.assemble(&sample, Language::DE, &checks, known).unwrap()
    };
    assert_eq!(of(Translated::Unknown), Assembled::Unknown);
    assert!(matches!(of(Translated::Reply(reply(""))), Assembled::Rejected { turn: 1, .. }));
    let failed = Translated::Failed { reason: "timeout".into(), detail: String::new() };
    assert!(matches!(of(failed), Assembled::Failed { turn: 1, .. }));
}

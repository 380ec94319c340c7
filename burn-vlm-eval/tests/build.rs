//! Translated benchmarks: the right answers score 100 % in every language, whatever the texts hold, and what cannot be scored is told.

#[path = "build/blind.rs"]
mod blind;
#[path = "build/check.rs"]
mod check;
#[path = "build/decide.rs"]
mod decide;
#[path = "build/translations.rs"]
mod tables;
#[path = "build/words.rs"]
mod words_of;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_vlm_data::language::Language;
use burn_vlm_eval::build::check::Problem;
use burn_vlm_eval::build::edition::{State, exclude_everywhere, source_edition};
use burn_vlm_eval::build::gold::{self, Form};
use burn_vlm_eval::build::translations::{Translation, Translations};
use burn_vlm_eval::build::write::files;
use burn_vlm_eval::build::{
    AnswerWords, BuildOptions, Edition, EditionFile, GivenWords, OnProblem, SourceBenchmark, Table, edition,
};
use burn_vlm_eval::file::FileRecipe;
use burn_vlm_eval::{Item, Rules};

/// Kinds with their files below the fixtures.
const SOURCES: [(&str, &str); 11] = [
    ("mmbench", "mmbench_vlmeval/data/MMBench_DEV_EN.tsv"),
    ("mmbench", "mmbench_lmms/data/en/dev-00000-of-00001.parquet"),
    ("scienceqa", "scienceqa/data/ScienceQA_TEST.tsv"),
    ("scienceqa", "scienceqa/data/ScienceQA-FULL/test-00000-of-00001.parquet"),
    ("ai2d", "ai2d/data/AI2D_TEST.tsv"),
    ("ai2d", "ai2d/data/test-00000-of-00001.parquet"),
    ("mme", "mme/data/MME.tsv"),
    ("mme", "mme/data/test-00000-of-00001.parquet"),
    ("mme", "mme/data/MME_Benchmark_release_version"),
    ("pope", "pope/data/POPE.tsv"),
    ("pope", "pope/data/test-00000-of-00001.parquet"),
];
const TAGS: [&str; 6] = ["de", "ru", "ar", "zh-Hans", "tr", "sw"];
/// Swahili is a language that this library has no words for.
const SWAHILI: &str = "[sw]\nletter = \"Jibu kwa herufi tu.\"\nyes_no = \"Jibu ndiyo au hapana tu.\"\nyes = [\"ndiyo\"]\nno = [\"hapana\"]";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1).unwrap().join("tests/fixtures/eval")
}

fn recipe(name: &str, file: &str, more: &str) -> FileRecipe {
    toml::from_str(&format!("name = {name:?}\nfile = {file:?}\n{more}")).unwrap()
}

fn source(kind: &str, file: &str) -> SourceBenchmark {
    SourceBenchmark::read(kind, &recipe(kind, file, ""), &fixtures()).unwrap()
}

fn language(tag: &str) -> Language {
    Language::parse(tag).unwrap()
}

/// Words of every language, Swahili's as a user gives them.
fn words(tag: &str) -> AnswerWords {
    let given: GivenWords = toml::from_str(SWAHILI).unwrap();
    AnswerWords::of(language(tag), &given).unwrap()
}

/// A deterministic translation that loses nothing: letters in another alphabet, or the thirteenth behind them.
fn mark(text: &str, tag: &str) -> String {
    let (lower, upper): (Vec<char>, Vec<char>) = match tag {
        "ru" => (('а'..='щ').collect(), ('А'..='Щ').collect()),
        "ar" => (('ا'..='غ').collect(), ('ا'..='غ').collect()),
        "zh-Hans" => (('一'..='丟').collect(), ('丠'..='亻').collect()),
        _ => (Vec::new(), Vec::new()),
    };
    let one = |c: char| {
        let place = (c.to_ascii_lowercase() as usize).wrapping_sub('a' as usize);
        if place >= 26 {
            return c;
        }
        let letters = if c.is_ascii_uppercase() { &upper } else { &lower };
        let turned = char::from(b'a' + ((place as u8) + 13) % 26);
        let turned = if c.is_ascii_uppercase() { turned.to_ascii_uppercase() } else { turned };
        letters.get(place).copied().unwrap_or(turned)
    };
    text.chars().map(one).collect()
}

/// Translations of everything that needs one, changed by `change(number of the item's text, text)`.
fn translations(source: &SourceBenchmark, tag: &str, change: impl Fn(usize, String) -> String) -> Translations {
    let mut all = Translations::default();
    for (number, (item, text)) in source.to_translate().into_iter().enumerate() {
        let made = change(number, mark(&text.text, tag));
        let (source, back) = (Some(text.text.clone()), Some(text.text.clone()));
        let entry = Translation { source, text: made, back, score: None, line: number + 1 };
        all.insert(language(tag), &item.id, &text.field, entry);
    }
    all
}

/// What tables quote, and what looks like a label of an option.
fn awkward(number: usize, text: String) -> String {
    match number % 7 {
        0 => format!("\"{text}\""),
        1 => format!("{text}\t\"x\"\ny"),
        2 => format!("A. {text}"),
        3 => format!("{text}\r\n{text}"),
        4 => format!("{text} (B)"),
        _ => text,
    }
}

/// Writes editions, and gives a recipe for each file.
fn write(source: &SourceBenchmark, edition: &Edition, folder: &Path, format: EditionFile) -> Vec<FileRecipe> {
    let mut recipes = Vec::new();
    for (name, items) in files(&edition.items, source.language) {
        let file = format!("{name}.{}", format.ending());
        let table = Table::of(&items, source.not_written());
        match format {
            EditionFile::Tsv => table.write_tsv(&folder.join(&file)).unwrap(),
            EditionFile::Parquet => table.write_parquet(&folder.join(&file)).unwrap(),
        }
        recipes.push(recipe(source.published.name(), &file, "language_column = 'language'"));
    }
    assert!(!recipes.is_empty());
    recipes
}

/// The right answers score 100 % in everything, and as many rows are read as were written.
fn assert_gold(source: &SourceBenchmark, edition: &Edition, forms: &[(Rules, Form)], what: &str) {
    for format in [EditionFile::Tsv, EditionFile::Parquet] {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = 0;
        for file in write(source, edition, folder.path(), format) {
            let read = source.published.read(&file, folder.path(), Rules::BurnVlm).unwrap();
            assert!(read.notes.is_empty(), "{what}: {:?}", read.notes);
            assert!(read.items.iter().all(|item| item.language == Some(edition.language)), "{what}");
            assert_same(edition, &read.items, what);
            rows += read.items.len();
            for (rules, form) in forms {
                let checked = gold::check(source.published, (&file, folder.path()), *rules, *form).unwrap();
                let counts = checked.unwrap_or_else(|error| panic!("{what} {format:?} {form:?}: {error}"));
                assert!(counts.iter().all(|(_, count)| *count > 0), "{what}: {counts:?}");
            }
        }
        assert_eq!(rows, edition.items.len(), "{what}");
    }
}

/// What was read is what was written: ids, texts, answers, options in their order, the group, the picture.
fn assert_same(edition: &Edition, read: &[Item], what: &str) {
    // An empty cell is none.
    let hint = |item: &Item| item.cell("hint").filter(|hint| !hint.is_empty());
    let picture = |item: &Item| burn_vlm_eval::build::write::picture(item).unwrap();
    for item in read {
        let is_of_this =
            |made: &&Item| made.index == item.index && item.part.starts_with(made.part.trim_end_matches("_en"));
        let made = edition.items.iter().find(is_of_this).unwrap_or_else(|| panic!("{what}: {}", item.id));
        assert_eq!(
            (&item.question, &item.options, item.answer()),
            (&made.question, &made.options, made.answer()),
            "{what}"
        );
        assert_eq!((hint(item), item.cell("category")), (hint(made), made.cell("category")), "{what}");
        assert_eq!(picture(item), picture(made), "{what}: {}", item.id);
    }
}

#[test]
fn right_answers_score_all_points_in_every_language() {
    for (kind, file) in SOURCES {
        let source = source(kind, file);
        let own = source_edition(&source);
        for tag in TAGS {
            let what = format!("{file} in {tag}");
            let table = translations(&source, tag, awkward);
            let made = edition(&source, &table, &words(tag), &BuildOptions::default());
            assert_eq!(made.items.len(), source.items.len(), "{what}");
            let bad: BTreeMap<_, _> = made.problems();
            assert!(bad.is_empty(), "{what}: {bad:?}");
            let mut forms = vec![(Rules::BurnVlm, Form::Plain), (Rules::BurnVlm, Form::OwnWord)];
            // Letters are letters in every scorer.
            if !source.is_yes_no() {
                forms.extend(source.published.rules().iter().map(|rules| (*rules, Form::Plain)));
            }
            assert_gold(&source, &made, &forms, &what);
        }
        assert_gold(&source, &own, &[(Rules::BurnVlm, Form::Plain)], file);
    }
}

#[test]
fn words_in_english_are_for_the_scorers_that_know_no_others() {
    for (kind, file) in SOURCES.into_iter().filter(|(kind, _)| ["mme", "pope"].contains(kind)) {
        let source = source(kind, file);
        let options = BuildOptions { english_yes_no: true, ..BuildOptions::default() };
        for tag in ["de", "ar", "fa"] {
            let words = AnswerWords::of(language(tag), &GivenWords::default()).unwrap();
            let made = edition(&source, &translations(&source, tag, awkward), &words, &options);
            assert!(made.problems().is_empty(), "{file} {tag}: {:?}", made.problems());
            let forms: Vec<_> = source.published.rules().iter().map(|rules| (*rules, Form::OwnWord)).collect();
            assert_gold(&source, &made, &forms, &format!("{file} in {tag}, in English"));
            assert!(made.items[0].cell("answer_instruction").unwrap().contains("yes or no"));
        }
    }
}

#[test]
fn a_language_without_words_is_told_and_stays_in_the_sources() {
    let source = source("mme", "mme/data/MME.tsv");
    let words = AnswerWords::of(language("sw"), &GivenWords::default()).unwrap();
    let table = translations(&source, "sw", |_, text| text);
    let made = edition(&source, &table, &words, &BuildOptions::default());
    assert_eq!(made.problems().get("no_answer_words"), Some(&source.items.len()));
    assert_eq!(made.counts(), [0, source.items.len(), 0]);
    assert_eq!(made.items[0].question, source.items[0].question);
    assert_eq!(made.items[0].cell("text_language").as_deref(), Some("en"));
    assert_gold(&source, &made, &[(Rules::BurnVlm, Form::OwnWord)], "in the source's words");
}

#[test]
fn questions_ask_for_the_languages_own_words() {
    let source = source("mme", "mme/data/MME.tsv");
    let made = edition(&source, &translations(&source, "de", |_, text| text), &words("de"), &BuildOptions::default());
    assert_eq!(made.items[0].question, "Vf gurer n pvepyr va guvf vzntr? Antworte nur mit ja oder nein.");
    let style = source.published.prompts(Rules::BurnVlm)[0];
    let asked = source.published.question(&made.items[0], style).text;
    assert_eq!(asked, "Vf gurer n pvepyr va guvf vzntr?\nAntworte nur mit ja oder nein.");
    let swahili =
        edition(&source, &translations(&source, "sw", |_, text| text), &words("sw"), &BuildOptions::default());
    assert!(source.published.question(&swahili.items[0], style).text.ends_with("\nJibu ndiyo au hapana tu."));
}

/// The first question with options of MMBench: its rotations are one, and go or stay together.
#[test]
fn options_that_collide_are_told_and_take_all_rotations_along() {
    let source = source("mmbench", "mmbench_vlmeval/data/MMBench_DEV_EN.tsv");
    let group = source.groups().into_iter().find(|group| group.len() == 4).unwrap();
    let base = &source.items[group[0]];
    let collide = || {
        let mut table = translations(&source, "de", |_, text| text);
        for field in ["A", "C"] {
            let entry = Translation { source: None, text: "Gleich".into(), back: None, score: None, line: 1 };
            table.insert(Language::DE, &base.id, field, entry);
        }
        table
    };
    for (on_problem, state, rows) in [
        (OnProblem::Source, State::Source, source.items.len()),
        (OnProblem::Exclude, State::Excluded, source.items.len() - 4),
        (OnProblem::ExcludeEverywhere, State::Excluded, source.items.len() - 4),
    ] {
        let options = BuildOptions { on_problem, ..BuildOptions::default() };
        let mut made = edition(&source, &collide(), &words("de"), &options);
        let report = made.reports.iter().find(|report| report.id == base.id).unwrap();
        assert_eq!((report.state, report.rows.len()), (state, 4));
        assert_eq!(report.problems, [Problem::EqualOptions { first: 'A', second: 'C' }]);
        assert_eq!(made.items.len(), rows);
        assert_gold(&source, &made, &[(Rules::BurnVlm, Form::Plain), (Rules::Vlmevalkit, Form::Plain)], "one collides");
        if on_problem == OnProblem::ExcludeEverywhere {
            let other = edition(&source, &translations(&source, "fr", |_, text| text), &words("fr"), &options);
            let own = source_edition(&source);
            let mut all = [other, own];
            all[0].reports.extend(std::mem::take(&mut made.reports));
            let gone = exclude_everywhere(&source, &mut all);
            assert_eq!(gone.len(), 4);
            assert!(all.iter().all(|edition| edition.items.len() == rows));
        }
    }
}

#[test]
fn pairs_stay_whole() {
    let source = source("mme", "mme/data/MME.tsv");
    let lost = &source.items[1].id;
    let mut table = Translations::default();
    for (item, text) in source.to_translate().into_iter().filter(|(item, _)| item.id != *lost) {
        let entry = Translation { source: None, text: mark(&text.text, "de"), back: None, score: None, line: 1 };
        table.insert(Language::DE, &item.id, &text.field, entry);
    }
    let options = BuildOptions { on_problem: OnProblem::Exclude, ..BuildOptions::default() };
    let made = edition(&source, &table, &words("de"), &options);
    assert_eq!(made.items.len(), source.items.len() - 2);
    assert_eq!(made.reports[0].problems, [Problem::Group { id: lost.clone() }]);
    assert_eq!(made.reports[1].problems, [Problem::NoTranslation { field: "question".into() }]);
    assert_gold(&source, &made, &[(Rules::BurnVlm, Form::OwnWord)], "a pair is gone");
}

#[test]
fn tables_of_another_edition_and_bad_back_translations_are_told() {
    let source = source("ai2d", "ai2d/data/AI2D_TEST.tsv");
    let mut table = translations(&source, "de", |_, text| text);
    let entry = |source: Option<&str>, back: Option<&str>| Translation {
        source: source.map(str::to_owned),
        text: "Welche Form?".into(),
        back: back.map(str::to_owned),
        score: Some(0.5),
        line: 42,
    };
    table.insert(Language::DE, &source.items[0].id, "question", entry(Some("Another text"), None));
    table.insert(Language::DE, &source.items[1].id, "question", entry(None, Some("Nothing of it")));
    let made = edition(&source, &table, &words("de"), &BuildOptions::default());
    assert_eq!(made.reports[0].problems, [Problem::OtherSource { field: "question".into(), line: 42 }]);
    assert!(made.reports[1].problems.is_empty());
    assert_eq!(made.flags().get("back_translation"), Some(&1));
    assert_eq!(made.reports[1].texts[0].score, Some(0.5));
}

/// Each picture once: the file of translated rows is no larger than its source by more than its texts.
#[test]
fn pictures_are_written_once() {
    let source = source("mmbench", "mmbench_vlmeval/data/MMBench_DEV_EN.tsv");
    let made = edition(&source, &translations(&source, "de", |_, text| text), &words("de"), &BuildOptions::default());
    let folder = tempfile::tempdir().unwrap();
    write(&source, &made, folder.path(), EditionFile::Tsv);
    let text = std::fs::read_to_string(folder.path().join("MMBench_DEV_de.tsv")).unwrap();
    let mut pictures: Vec<_> =
        source.items.iter().map(|item| burn_vlm_eval::build::write::picture(item).unwrap().unwrap()).collect();
    pictures.sort();
    pictures.dedup();
    assert_eq!(text.matches("iVBORw0KGgo").count(), pictures.len());
    assert!(pictures.len() < source.items.len() / 2);
}

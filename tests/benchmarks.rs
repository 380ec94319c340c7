//! What every benchmark must keep under every rule set that it has, on every published file of the fixtures: whole
//! groups where there is a limit, the wanted languages only, prompts that ask something, scores between 0 and 1 under
//! keys that are explained, and nothing for replies that say nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use burn_vlm_data::conversation::IMAGE_PLACEHOLDER;
use burn_vlm_data::language::Language;
use burn_vlm_eval::ask::{Ask, Reply};
use burn_vlm_eval::file::FileRecipe;
use burn_vlm_eval::{Answer, BenchmarkError, Item, Items, PromptStyle, Published, Rules, Verdict, benchmarks};

/// A benchmark, the fixtures' folder, its files below `data`, settings.
type Files = (&'static str, &'static str, &'static str, &'static str);

const UNSEEN: &str = "fields = { ignore = [\"image\", \"url\"] }";
const PAIRED: &str = "language_column = 'category'\nlanguage_map = { zh = 'zh-Hans', pt = 'pt-BR' }";

/// Every published file of the fixtures. `vimul_bench` has none, its rows are made up below. Under our rules a row of
/// MMMB lacks its picture, and two of OCRBench accept nothing that a reply could be.
const FILES: [Files; 34] = [
    ("ai2d", "ai2d", "AI2D_TEST.tsv", ""),
    ("ai2d", "ai2d", "test-*.parquet", ""),
    ("alm_bench", "alm_bench", "*.parquet", ""),
    ("cc_ocr", "cc_ocr", "tsv/*.tsv", ""),
    ("cc_ocr", "cc_ocr", "multi_lan_ocr/test-*.parquet", ""),
    ("cc_ocr", "cc_ocr", "official", UNSEEN),
    ("commute", "commute", "en-*", ""),
    ("gqa", "gqa", "GQA_TestDev_Balanced.tsv", ""),
    ("gqa", "gqa", "testdev_balanced_instructions/testdev-00000-of-00001.parquet", ""),
    ("llava_bench", "llava_bench", "questions.jsonl", ""),
    ("m3exam", "m3exam", "*.parquet", ""),
    ("mmbench", "mmbench_lmms", "{en,cn}/dev-00000-of-00001.parquet", ""),
    ("mmbench", "mmbench_vlmeval", "MMBench_*.tsv", ""),
    ("mme", "mme", "MME.tsv", ""),
    ("mme", "mme", "test-*.parquet", ""),
    ("mme", "mme", "MME_Benchmark_release_version", ""),
    ("mmmb", "mmmb", "mmmb_*.tsv", "max_skipped = 1"),
    ("mmmb_paired", "mmmb_paired", "mmmb_paired.tsv", PAIRED),
    ("mmstar", "mmstar", "MMStar.tsv", ""),
    ("mmstar", "mmstar", "val-*.parquet", ""),
    ("multi30k", "multi30k", "test_*", ""),
    ("ocrbench", "ocrbench", "OCRBench.tsv", "max_skipped = 2"),
    ("ocrbench", "ocrbench", "test-*.parquet", "max_skipped = 2"),
    ("pope", "pope", "POPE.tsv", ""),
    ("pope", "pope", "test-*.parquet", ""),
    ("pope", "pope", "coco/coco_pope_{random,popular,adversarial}.json", UNSEEN),
    ("realworldqa", "realworldqa", "test-*.parquet", ""),
    ("scienceqa", "scienceqa", "ScienceQA_TEST.tsv", ""),
    ("scienceqa", "scienceqa", "ScienceQA-FULL/*.parquet", ""),
    ("seedbench", "seedbench", "SEEDBench_IMG.tsv", ""),
    ("seedbench", "seedbench", "test-*.parquet", ""),
    ("textvqa", "textvqa", "TextVQA_VAL.tsv", ""),
    ("textvqa", "textvqa", "validation-*.parquet", ""),
    ("vqav2", "vqav2", "validation-*.parquet", ""),
];

/// Questions of a language that are drawn.
const LIMIT: usize = 3;

/// One file under one rule set.
struct Case {
    benchmark: &'static dyn Published,
    rules: Rules,
    base: PathBuf,
    file: FileRecipe,
}

impl Case {
    fn name(&self) -> String {
        format!("{} ({}, {})", self.benchmark.name(), self.file.file, self.rules)
    }

    fn read(&self, change: impl FnOnce(&mut FileRecipe)) -> Result<Items, BenchmarkError> {
        let mut file = self.file.clone();
        change(&mut file);
        self.benchmark.read(&file, &self.base, self.rules)
    }

    fn styles(&self) -> Vec<PromptStyle> {
        self.benchmark.prompts(self.rules)
    }
}

fn fixtures() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().take(2).map(|root| root.join("tests/fixtures/eval"));
    root.into_iter().find(|folder| folder.is_dir()).expect("the fixtures' folder")
}

/// A question with options and an open one, with two frames each, in two languages.
fn vimul(folder: &Path) -> Files {
    const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
    for language in ["german", "hindi"] {
        let mut rows = String::new();
        for row in 0..6 {
            let more =
                if row % 2 == 0 { r#""options": ["rot", "blau"], "answer": "B""# } else { r#""answer": "blau""# };
            writeln!(rows, r#"{{"images": ["{PNG}", "{PNG}"], "question": "Was?", {more}}}"#).unwrap();
        }
        std::fs::write(folder.join(format!("vimulmcq_{language}.jsonl")), rows).unwrap();
    }
    ("vimul_bench", "", "vimulmcq_*.jsonl", "")
}

fn cases(made_up: &Path) -> Vec<Case> {
    let of = |base: &Path, (name, _, files, settings): Files| {
        let benchmark = benchmarks::find(name).unwrap_or_else(|| panic!("no benchmark {name}"));
        let file: FileRecipe = toml::from_str(&format!("name = {name:?}\nfile = {files:?}\n{settings}")).unwrap();
        let (base, rules) = (base.to_owned(), benchmark.rules());
        rules.iter().map(move |rules| Case { benchmark, rules: *rules, base: base.clone(), file: file.clone() })
    };
    let mut cases: Vec<Case> = FILES
        .into_iter()
        .flat_map(|files| of(&fixtures().join(files.1).join("data"), files).collect::<Vec<_>>())
        .collect();
    cases.extend(of(made_up, vimul(made_up)));
    cases
}

/// What counts together, in any language.
fn group(benchmark: &str, item: &Item) -> String {
    match benchmark {
        // Rotations of a question.
        "mmbench" => (item.index.parse::<u64>().unwrap() % 1_000_000).to_string(),
        // A picture, a pair, what is shown with several sentences.
        "mme" | "mmmb_paired" | "commute" | "multi30k" | "llava_bench" => item.group.clone(),
        _ => item.index.clone(),
    }
}

fn tag(item: &Item) -> &'static str {
    item.language.map_or("", Language::tag)
}

/// The groups of each language, each with how many questions it has.
fn groups(benchmark: &str, items: &[Item]) -> BTreeMap<&'static str, BTreeMap<String, usize>> {
    let mut groups: BTreeMap<_, BTreeMap<String, usize>> = BTreeMap::new();
    for item in items {
        *groups.entry(tag(item)).or_default().entry(group(benchmark, item)).or_default() += 1;
    }
    groups
}

/// A limit gives whole groups, as many as fit, at least one of each language, and the same ones in every language that
/// has the same ones.
fn check_limit(case: &Case, all: &Items, wrong: &mut Vec<String>) {
    let drawn = match case.read(|file| file.limit = LIMIT) {
        Ok(drawn) => drawn,
        Err(error) => return wrong.push(format!("{}: limit: {error}", case.name())),
    };
    let (whole, drawn) = (groups(case.benchmark.name(), &all.items), groups(case.benchmark.name(), &drawn.items));
    for (tag, whole) in &whole {
        let none = BTreeMap::new();
        let chosen = drawn.get(tag).unwrap_or(&none);
        if chosen.is_empty() || chosen.len() > LIMIT {
            wrong.push(format!("{} {tag}: {} groups of {} are drawn", case.name(), chosen.len(), whole.len()));
        }
        for (group, count) in chosen {
            if whole.get(group) != Some(count) {
                wrong.push(format!("{} {tag}: {count} of {:?} of {group} are drawn", case.name(), whole.get(group)));
            }
        }
    }
    for ((one, its), (other, theirs)) in whole.iter().zip(whole.iter().skip(1)) {
        if its == theirs && drawn.get(one) != drawn.get(other) {
            wrong.push(format!("{}: {one} and {other} are drawn otherwise", case.name()));
        }
    }
}

/// Every language by itself is what the whole has of it; one that nothing is in is an error.
fn check_languages(case: &Case, all: &Items, wrong: &mut Vec<String>) {
    let languages: BTreeSet<Option<Language>> = all.items.iter().map(|item| item.language).collect();
    for language in languages {
        let Some(language) = language else {
            wrong.push(format!("{}: an item without a language", case.name()));
            continue;
        };
        match case.read(|file| file.languages = vec![language]) {
            Ok(read) => {
                let theirs: Vec<&str> =
                    all.items.iter().filter(|item| item.language == Some(language)).map(|item| &*item.id).collect();
                if read.items.iter().map(|item| &*item.id).collect::<Vec<_>>() != theirs {
                    wrong.push(format!(
                        "{}: {} items in {language}, expected {}",
                        case.name(),
                        read.items.len(),
                        theirs.len()
                    ));
                }
            }
            Err(error) => wrong.push(format!("{}: languages: {error}", case.name())),
        }
    }
    if case.read(|file| file.languages = vec![Language::IS]).is_ok() {
        wrong.push(format!("{}: a file without Icelandic is read in Icelandic", case.name()));
    }
}

/// Every question asks something, with at most one placeholder a picture.
fn check_questions(case: &Case, all: &Items, wrong: &mut Vec<String>) {
    for style in case.styles() {
        for item in &all.items {
            let asked = case.benchmark.question(item, style);
            let turns = match &asked.ask {
                Ask::Conversation { turns, .. } => turns.clone(),
                _ => Vec::new(),
            };
            for text in turns.iter().chain([&asked.text]) {
                if text.trim().is_empty() || text.matches(IMAGE_PLACEHOLDER).count() > item.media.len() {
                    wrong.push(format!("{} {} {style:?}: {text:?}", case.name(), item.id));
                }
            }
        }
    }
}

/// Replies that say nothing, by name.
fn hostile() -> Vec<(&'static str, Answer)> {
    let text = |text: &str| Answer { judge: Some(text.to_owned()), ..Answer::text(text) };
    let scores = |scores: Vec<f64>| Answer { reply: Some(Reply::Scores(scores)), judge: None };
    vec![
        ("none", Answer::default()),
        ("empty", text("")),
        ("long", text(&"zzz ".repeat(500))),
        ("control", text("\u{0}\u{1b}\u{7}\u{9f}\u{202e}\r\n\t")),
        ("thought", text("</think>")),
        ("NaN", text("NaN")),
        ("emoji", text("🙂👩‍👩‍👧‍👦")),
        ("no scores", scores(Vec::new())),
        ("scores", scores(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY])),
        ("two scores", scores(vec![f64::NAN, f64::NEG_INFINITY])),
    ]
}

/// An empty text is one of the accepted answers of the fixtures, and stands in every reply.
const ALL_TEXTS: &[&str] = &["NaN", "control", "emoji", "empty", "long", "thought"];
/// What is known of rules of others that give credit to some of these: benchmark, rules, replies. Ours never do.
const CREDITED: [(&str, Rules, &[&str]); 10] = [
    // Its letters are found inside words.
    ("m3exam", Rules::DeepSpin, &["NaN"]),
    // pandas makes `nan` of these, which is part of an option (banana).
    ("mmmb", Rules::ParrotVlmevalkit, &["NaN", "empty"]),
    ("mmmb", Rules::Vlmevalkit, &["NaN", "empty"]),
    // Single characters are alike.
    ("multi30k", Rules::Official, &["NaN", "long", "thought"]),
    ("ocrbench", Rules::LmmsEval, ALL_TEXTS),
    ("ocrbench", Rules::Vlmevalkit, ALL_TEXTS),
    ("ocrbench", Rules::ParrotVlmevalkit, ALL_TEXTS),
    // Yes is all that does not deny.
    ("pope", Rules::Llava, ALL_TEXTS),
    // Some people answered nothing.
    ("textvqa", Rules::LmmsEval, &["empty", "thought"]),
    ("textvqa", Rules::Llava, &["empty"]),
];

/// The verdicts on one reply to every item, each of which must be there.
fn verdicts(
    case: &Case,
    all: &Items,
    style: PromptStyle,
    answer: impl Fn(&Item) -> Answer,
    wrong: &mut Vec<String>,
) -> Vec<Verdict> {
    let answers: Vec<Answer> = all.items.iter().map(answer).collect();
    let scored = case.benchmark.score(&all.items, &answers, case.rules, style);
    if scored.verdicts.len() != all.items.len() {
        wrong.push(format!("{}: {} verdicts of {} items", case.name(), scored.verdicts.len(), all.items.len()));
    }
    let known = case.benchmark.metrics(&all.items, case.rules);
    let verdicts: Vec<Verdict> = scored.verdicts.into_iter().flatten().collect();
    for (key, score) in verdicts.iter().flat_map(|verdict| &verdict.scores) {
        if !(0.0..=1.0).contains(score) || known.iter().all(|metric| metric.key != *key) {
            wrong.push(format!("{}: {key} is {score}", case.name()));
        }
    }
    verdicts
}

/// Replies that say nothing are worth nothing, but for rules of others that are known for it.
fn check_hostile(case: &Case, all: &Items, wrong: &mut Vec<String>) {
    let known = CREDITED.iter().find(|(name, rules, _)| *name == case.benchmark.name() && *rules == case.rules);
    let known: &[&str] = known.map_or(&[], |(_, _, replies)| replies);
    let mut credited = BTreeSet::new();
    for style in case.styles() {
        for (name, answer) in hostile() {
            let verdicts = verdicts(case, all, style, |_| answer.clone(), wrong);
            if verdicts.iter().any(|verdict| verdict.scores.iter().any(|(_, score)| *score > 0.0)) {
                credited.insert(name);
            }
        }
    }
    if credited != known.iter().copied().collect() {
        wrong.push(format!("{}: credit for {credited:?}, expected {known:?}", case.name()));
    }
}

/// The right answer to an item, with what a judge says who likes it.
fn right(case: &Case, item: &Item) -> Answer {
    let reply = match case.benchmark.name() {
        "commute" => Reply::Scores(vec![-1.0, -2.0]),
        _ => Reply::Text(item.answer().to_owned()),
    };
    let judge = if case.benchmark.name() == "llava_bench" { "9 10" } else { "10" };
    Answer { reply: Some(reply), judge: Some(judge.to_owned()) }
}

/// Right answers have every score that is explained; under our rules they are right.
fn check_right(case: &Case, all: &Items, wrong: &mut Vec<String>) {
    let verdicts = verdicts(case, all, case.styles()[0], |item| right(case, item), wrong);
    for metric in case.benchmark.metrics(&all.items, case.rules) {
        let scores: Vec<f64> = verdicts.iter().filter_map(|verdict| verdict.score(metric.key)).collect();
        if scores.is_empty() {
            wrong.push(format!("{}: no item has {}", case.name(), metric.key));
        }
        // People disagree in VQA; groups may be torn in the fixtures.
        let whole =
            ["accuracy", "score", "choice", "open"].contains(&metric.key) && !case.benchmark.name().contains("vqa");
        if case.rules == Rules::BurnVlm && whole && scores.iter().any(|score| *score < 1.0) {
            let at = verdicts.iter().position(|verdict| verdict.score(metric.key).is_some_and(|score| score < 1.0));
            wrong.push(format!(
                "{}: {} is not 1 for {:?}",
                case.name(),
                metric.key,
                at.map(|at| all.items[at].answer())
            ));
        }
    }
}

#[test]
fn every_benchmark_keeps_its_word_on_every_file() {
    let made_up = tempfile::tempdir().unwrap();
    let cases = cases(made_up.path());
    let mut wrong = Vec::new();
    for benchmark in benchmarks::all() {
        if cases.iter().all(|case| case.benchmark.name() != benchmark.name()) {
            wrong.push(format!("{}: no file", benchmark.name()));
        }
    }
    for entry in std::fs::read_dir(fixtures()).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name();
        if FILES.iter().all(|(_, folder, ..)| name != **folder) {
            wrong.push(format!("{}: no benchmark reads this folder", name.display()));
        }
    }
    for case in &cases {
        match case.read(|_| ()) {
            Ok(all) => {
                check_limit(case, &all, &mut wrong);
                check_languages(case, &all, &mut wrong);
                check_questions(case, &all, &mut wrong);
                check_hostile(case, &all, &mut wrong);
                check_right(case, &all, &mut wrong);
            }
            Err(error) => wrong.push(format!("{}: {error}", case.name())),
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

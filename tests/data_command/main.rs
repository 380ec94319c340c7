//! The `data` command: what it exports reads back the same in every format, and inspection finds what was broken.

mod benchmark;
mod chain;
mod references;
mod regenerate;
#[path = "../../burn-vlm-eval/src/scripted_server.rs"]
mod server;
mod steps;
mod translate;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::image::{DecodeLimits, decode, to_rgb};
use burn_vlm_data::language::Language;
use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::sample::{Picture, Sample};
use burn_vlm_data::source::{Limits, StreamOptions, open_mixture, open_sources};
use burn_vlm_data::tasks::{Task, TaskSettings, training_samples};
use burn_vlm_experiments::{DataArgs, run_data};
use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;

const FORMATS: [&str; 5] = ["json", "jsonl", "parquet", "webdataset", "tsv"];

/// Runs a command line; what it prints, and its error.
fn run(line: &[&str]) -> (String, Result<(), String>) {
    let args = DataArgs::try_parse_from([&["data"], line].concat()).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    let mut out = Vec::new();
    let result = run_data(&args, &mut out).map_err(|error| error.to_string());
    (String::from_utf8(out).unwrap(), result)
}

/// Runs a command line that works.
fn ok(line: &[&str]) -> String {
    let (out, result) = run(line);
    result.unwrap_or_else(|error| panic!("{line:?}: {error}"));
    out
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// The export that tests share; the folder goes with the first value.
fn export(format: &str, more: &[&str]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let out = path(folder.path(), "emoji");
    ok(&[&["export", "--out", &out, "--format", format, "--languages", "en,de,zh-Hans"], more].concat());
    (folder, out)
}

/// All samples of an exported folder by id.
fn read(folder: &str) -> BTreeMap<String, Sample> {
    let config = MixtureConfig::from_file(Path::new(folder).join("mixture.toml")).unwrap();
    let sources = open_sources(&config, Limits::default()).unwrap();
    let samples =
        sources.iter().flatten().flat_map(|source| (0..source.len()).map(|record| source.get(record).unwrap()));
    samples.map(|sample| (sample.id.clone(), sample)).collect()
}

/// What a sample is compared by: turns, language, bytes of its pictures, source and tags.
type Parts<'a> = (&'a [Turn], Option<Language>, Vec<Vec<u8>>, &'a str, &'a [String]);

fn parts(sample: &Sample) -> Parts<'_> {
    let pictures = sample.pictures().map(|picture| picture.read().unwrap().to_vec()).collect();
    (&sample.turns, sample.language, pictures, &sample.source, &sample.tags)
}

/// The samples of the corpus, as training has them.
fn expected(tasks: &[Task], seed: u64) -> BTreeMap<String, Sample> {
    let corpus = EmojiCorpus::embedded().unwrap();
    let languages = [Language::EN, Language::DE, Language::ZH_HANS];
    let settings = TaskSettings::default();
    let all = tasks.iter().flat_map(|task| languages.map(|language| (*task, language)));
    let samples = all.flat_map(|(task, language)| {
        training_samples(&corpus, task, language, &languages, &languages, seed, &settings).unwrap()
    });
    samples.map(|sample| (sample.id.clone(), sample)).collect()
}

#[test]
fn every_format_holds_the_same_samples() {
    // With and without pictures, short and long questions.
    let tasks = [Task::Caption, Task::YesNo, Task::Choice, Task::Translation];
    let names: Vec<&str> = tasks.iter().map(|task| task.as_str()).collect();
    let expected = expected(&tasks, 5);
    let more = ["--tasks", &names.join(","), "--limit", "150", "--seed", "5"];
    let exports = FORMATS.map(|format| export(format, &more));
    let first = read(&exports[0].1);
    assert_eq!(first.len(), 150);
    for (id, sample) in &first {
        let source = &expected[id];
        assert_eq!((&sample.turns, sample.language), (&source.turns, source.language), "{id}");
        assert_eq!(
            (&*sample.source, &*sample.tags),
            (source.tags[0].as_str(), &["public".into(), source.tags[0].clone()][..])
        );
        let pixels: Vec<_> =
            sample.pictures().map(|picture| picture.decode(&DecodeLimits::default()).unwrap()).collect();
        let shown = source.pictures().map(|picture| {
            let picture = decode("corpus", &picture.read().unwrap(), &DecodeLimits::default()).unwrap();
            to_rgb(picture, Some([255; 3]))
        });
        assert_eq!(pixels, shown.collect::<Vec<_>>(), "{id}");
    }
    for (format, (_folder, out)) in FORMATS.iter().zip(&exports) {
        let found = read(out);
        assert_eq!(found.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>(), "{format}");
        for (id, sample) in &found {
            assert_eq!(parts(sample), parts(&first[id]), "{format}: {id}");
        }
    }
}

/// The mixture file is read as it is, and draws what it says once its suggestions are followed.
#[test]
fn the_mixture_file_draws() {
    let (_folder, out) = export("parquet", &["--limit", "300"]);
    let file = Path::new(&out).join("mixture.toml");
    let draws = || {
        let config = MixtureConfig::from_file(&file).unwrap();
        let opened = open_mixture(&config, Limits::default(), StreamOptions::seeded(config.seed)).unwrap();
        assert!(opened.skipped.is_empty());
        opened.plan
    };
    assert_eq!(draws().len(), 300);
    let text = fs::read_to_string(&file).unwrap();
    let followed = text.replace("# total = 150", "total = 40").replace("# languages = {", "languages = {");
    fs::write(&file, followed.replace("# exclude_tags", "exclude_tags")).unwrap();
    let plan = draws();
    let languages: Vec<u64> = plan.by_language().values().copied().collect();
    assert_eq!((plan.len(), languages, plan.of_source(1)), (40, vec![20, 20], 0), "{text}");
}

/// Translations stand together, so that a limit leaves languages with the same pictures; another seed gives other ones.
#[test]
fn a_limit_keeps_languages_parallel() {
    let pictures = |seed: &str| {
        let (_folder, out) = export("jsonl", &["--tasks", "caption", "--limit", "90", "--seed", seed]);
        let mut by_language: BTreeMap<Language, Vec<String>> = BTreeMap::new();
        for (id, sample) in read(&out) {
            let picture = id.rsplit_once('/').unwrap().0.to_owned();
            by_language.entry(sample.language.unwrap()).or_default().push(picture);
        }
        by_language.into_values().collect::<Vec<_>>()
    };
    let found = pictures("0");
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [30, 30, 30]);
    assert!(found[0] == found[1] && found[1] == found[2]);
    assert_eq!(found, pictures("0"));
    assert_ne!(found[0], pictures("1")[0]);
}

/// Each scene is a file of its own beside the others, and shows what its sample shows: other scenes have the same icons elsewhere.
#[test]
fn exported_scenes_are_those_of_their_samples() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(folder.path(), "scenes");
    let settings = ["--format", "json", "--languages", "en", "--tasks", "scenes", "--limit", "4000"];
    ok(&[&["export", "--out", &out], &settings[..]].concat());
    let corpus = EmojiCorpus::embedded().unwrap();
    let languages = [Language::EN];
    let settings = TaskSettings::default();
    let samples = languages.into_iter().flat_map(|language| {
        training_samples(&corpus, Task::Scenes, language, &languages, &languages, 0, &settings).unwrap()
    });
    let drawn: BTreeMap<String, Sample> = samples.map(|sample| (sample.id.clone(), sample)).collect();
    let mut keys = BTreeSet::new();
    for (id, sample) in read(&out) {
        let own: Vec<_> = drawn[&id].pictures().collect();
        assert_eq!(own.len(), sample.pictures().count(), "{id}");
        for (read, own) in sample.pictures().zip(own) {
            let pixels = |picture: &Picture| picture.decode(&DecodeLimits::default()).unwrap();
            assert!(pixels(read) == pixels(own), "{id}: {} is not {}", read.name(), own.name());
            keys.insert(own.key().unwrap());
        }
    }
    let entries: Vec<_> = fs::read_dir(Path::new(&out).join("images")).unwrap().map(Result::unwrap).collect();
    assert!(entries.iter().all(|entry| entry.path().is_file()));
    // As many files as there are different pictures: no two share a name.
    assert_eq!(entries.len(), keys.len());
}

/// An export with one broken picture, one missing, and one record in an unknown language.
fn broken() -> (TempDir, String, [usize; 3]) {
    let (folder, out) = export("json", &["--tasks", "caption,yes_no", "--limit", "120"]);
    let file = Path::new(&out).join("caption.json");
    let mut records: Vec<Value> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let image = |records: &[Value], number: usize| records[number]["image"].as_str().unwrap().to_owned();
    let (truncated, missing) = (image(&records, 0), image(&records, records.len() - 1));
    assert_ne!(truncated, missing);
    let bytes = fs::read(Path::new(&out).join(&truncated)).unwrap();
    fs::write(Path::new(&out).join(&truncated), &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_file(Path::new(&out).join(&missing)).unwrap();
    let middle = records.len() / 2;
    assert!(![&truncated, &missing].contains(&&image(&records, middle)));
    records[middle]["language"] = "klingon".into();
    fs::write(&file, serde_json::to_vec(&records).unwrap()).unwrap();
    let both = [file, Path::new(&out).join("yes_no.json")].map(|file| fs::read_to_string(file).unwrap());
    let show = |picture: &str| both.iter().map(|text| text.matches(&format!("\"{picture}\"")).count()).sum();
    let counts = [show(&truncated), show(&missing), 1];
    (folder, out, counts)
}

#[test]
fn inspecting_a_mixture_finds_what_is_broken() {
    let (folder, out, [truncated, missing, unknown]) = broken();
    let [html, json, skipped] = ["page.html", "figures.json", "skipped.jsonl"].map(|name| path(folder.path(), name));
    let parts = path(Path::new(env!("CARGO_MANIFEST_DIR")), "parts/backbone");
    let mixture = path(Path::new(&out), "mixture.toml");
    let options = ["--html", &html, "--json", &json, "--skipped", &skipped, "--samples", "5", "--tokenizer", &parts];
    let text = ok(&[&["inspect", &mixture, "--tokens-per-picture", "64"], &options[..]].concat());
    let bad = truncated + missing + unknown;

    let figures: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let sum = |name: &str| -> u64 {
        let counts = figures["sources"].as_array().unwrap().iter().map(|source| &source["summary"]["reasons"][name][0]);
        counts.filter_map(Value::as_u64).sum()
    };
    let found = ["unreadable_image", "missing_image", "unknown_language"].map(sum);
    assert_eq!(found, [truncated as u64, missing as u64, unknown as u64]);
    assert_eq!(figures["sources"][0]["source"], "caption");
    let usable: u64 =
        figures["sources"].as_array().unwrap().iter().map(|s| s["turns"]["count"].as_u64().unwrap()).sum();
    assert_eq!(usable as usize, 120 - bad);
    // The plan counts records; what is broken is replaced when it is drawn, but for a language that nobody knows.
    assert_eq!(figures["plan"]["total"], 119);
    assert!(figures["plan_error"].is_null() && figures["sources"][1]["tokens"]["mean"].as_f64().unwrap() > 64.0);

    let lines: Vec<Value> =
        fs::read_to_string(&skipped).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), bad);
    assert!(
        lines
            .iter()
            .any(|line| line["reason"] == "unknown_language" && line["detail"].as_str().unwrap().contains("klingon"))
    );
    assert!(lines.iter().all(|line| line["file"].as_str().unwrap().starts_with(&out) && line["id"].is_string()));

    let page = fs::read_to_string(&html).unwrap();
    assert_eq!(page.matches("<article>").count(), 10);
    assert!(page.contains("<h1>emoji</h1>") && page.contains("An epoch draws 119 samples") && page.contains("klingon"));
    assert!(
        page.contains("64 visual tokens")
            && page.contains("class=\"trained\"")
            && page.contains("data:image/jpeg;base64,")
    );
    for part in ["caption\n", "yes_no\n", "an epoch draws 119 samples", "unreadable_image", "page.html", "figures.json"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains(&format!("skipped.jsonl ({bad})")) && !text.contains("to count tokens"), "{text}");
}

#[test]
fn inspecting_one_file() {
    let (folder, out, _) = broken();
    let file = path(Path::new(&out), "caption.json");
    let json = path(folder.path(), "f.json");
    let figures = |more: &[&str]| -> (Value, String) {
        let text = ok(&[&["inspect", &file, "--json", &json, "--workers", "1"], more].concat());
        (serde_json::from_slice(&fs::read(&json).unwrap()).unwrap(), text)
    };
    let (all, text) = figures(&["--language-field", "language", "--tag", "public", "--tag", "mine"]);
    let source = &all["sources"][0];
    let records = source["records"].as_u64().unwrap();
    let usable = source["turns"]["count"].as_u64().unwrap();
    assert!(usable < records && source["languages"].as_object().unwrap().len() == 3);
    assert_eq!((&source["tags"]["mine"], &source["tags"]["public"]), (&usable.into(), &usable.into()));
    assert!(all["plan"].is_null() && text.contains("--skipped skipped.jsonl") && text.contains("--html page.html"));
    // The truncated picture is there, if nobody looks into it.
    let (quick, text) = figures(&["--language", "de", "--no-decode", "--max-records", "10"]);
    let source = &quick["sources"][0];
    assert_eq!(
        (source["looked_at"].as_u64(), &source["summary"]["reasons"]["unreadable_image"]),
        (Some(10), &Value::Null)
    );
    assert_eq!(source["languages"]["de"], source["turns"]["count"]);
    assert!(text.contains("(the first 10)"), "{text}");
    let (_, text) = figures(&[]);
    assert!(text.contains("--language en"), "{text}");
    // Pictures are looked for below the root that is given.
    let (elsewhere, _) = figures(&["--image-root", &path(Path::new(&out), "images")]);
    assert_eq!(elsewhere["sources"][0]["summary"]["reasons"]["missing_image"][0].as_u64(), Some(records));
}

/// Languages under other names, a tower's view of each picture, and the pictures that a test split has from training.
#[test]
fn inspecting_with_aliases_a_tower_and_another_split() {
    let (folder, out) = export("json", &["--tasks", "caption", "--limit", "30"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let caption = Path::new(&out).join("caption.json");
    let mut records: Vec<Value> = serde_json::from_slice(&fs::read(&caption).unwrap()).unwrap();
    for record in records.iter_mut().filter(|record| record["language"] == "zh-Hans") {
        record["language"] = "zh".into();
    }
    let write = |name: &str, records: &[Value]| {
        let file = Path::new(&out).join(name);
        fs::write(&file, Value::from(records.to_vec()).to_string()).unwrap();
        file.display().to_string()
    };
    let (all, few) = (write("all.json", &records), write("few.json", &records[27..]));
    let text = ok(&["inspect", &all, "--language-field", "language"]);
    assert!(text.contains("unknown_language") && text.contains("--aliases of data inspect"), "{text}");
    let text = ok(&["inspect", &all, "--language-field", "language", "--aliases", "zh=zh-Hans,deutsch=de"]);
    assert!(text.contains("de 10, en 10, zh-Hans 10") && !text.contains("unknown_language"), "{text}");

    let (page, json) = (path(folder.path(), "p.html"), path(folder.path(), "p.json"));
    let siglip = root.join("parts/siglip2").display().to_string();
    let line = ["inspect", &few, "--encoder", &siglip, "--html", &page, "--against", &all, "--json", &json];
    let text = ok(&line);
    assert!(text.contains("1 of 1 pictures (100.0 %) stand in both"), "{text}");
    assert!(text.contains("few.json record 0") && text.contains("all.json record 27"), "{text}");
    assert!(text.contains("repeated pictures  1 of 1 stand in several samples"), "{text}");
    let html = fs::read_to_string(&page).unwrap();
    assert_eq!(html.matches("as the tower sees it: one view of 64 x 64").count(), 3);
    let figures: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(figures["shared"]["shared"], 1);
    // The folder of --tokenizer will do, where it has a processor; a mixture may be the other split.
    let llava = root.join("tests/fixtures/llava_clip_qwen2").display().to_string();
    let mixture = path(Path::new(&out), "mixture.toml");
    let text = ok(&["inspect", &few, "--tokenizer", &llava, "--html", &page, "--against", &mixture]);
    assert!(text.contains("1 of 1 pictures"), "{text}");
    assert!(fs::read_to_string(&page).unwrap().contains("as the tower sees it"));
}

#[test]
fn mistakes_are_errors_that_say_what_to_do() {
    let (folder, out) = export("tsv", &["--limit", "30"]);
    let mixture = path(Path::new(&out), "mixture.toml");
    let fails = |line: &[&str], words: &[&str]| {
        let (text, result) = run(line);
        let error = result.unwrap_err();
        words.iter().for_each(|word| assert!(error.contains(word), "{line:?}: {word}: {error}"));
        text
    };
    fails(&["inspect", "nowhere.json"], &["nowhere.json", "cannot read"]);
    fails(&["inspect", &path(folder.path(), "none.toml")], &["none.toml"]);
    fails(&["inspect", &mixture, "--language", "de"], &["--language", "single source"]);
    fails(&["inspect", &path(Path::new(&out), "caption.tsv"), "--tokenizer", &out], &["tokenizer.json"]);
    fails(&["inspect", &path(Path::new(&out), "caption.tsv"), "--format", "parquet"], &["caption.tsv", "parquet"]);
    let table = path(Path::new(&out), "caption.tsv");
    let before = fs::read(&table).unwrap();
    fails(&["inspect", &table, "--skipped", &table], &["--skipped", "write over"]);
    assert_eq!(fs::read(&table).unwrap(), before);
    fails(&["export", "--out", &out, "--format", "json"], &["not empty", "another folder"]);
    fails(&["questions", "--out", &table], &["caption.tsv is there already", "another file"]);
    assert_eq!(fs::read(&table).unwrap(), before);
    fails(&["inspect", &table, "--encoder", &out], &["preprocessor_config.json"]);
    fails(&["inspect", &table, "--against", "nowhere.tsv"], &["nowhere.tsv"]);
    fails(&["inspect", &mixture, "--language-field", "language", "--aliases", "zh=zh-Hans"], &["single source"]);
    let new = path(folder.path(), "new");
    let translate = ["export", "--out", &new, "--format", "json", "--languages", "en", "--tasks", "translation"];
    fails(&translate, &["two languages"]);
    assert!(!Path::new(&new).exists());
    // A mixture that cannot be drawn: the figures are there, and so is the reason.
    let text = fs::read_to_string(&mixture).unwrap();
    fs::write(&mixture, format!("total = 1000\n{text}")).unwrap();
    let json = path(folder.path(), "figures.json");
    let shown = fails(&["inspect", &mixture, "--json", &json], &["mixture.toml", "too few samples", "total = "]);
    assert!(shown.contains("usable"), "{shown}");
    let figures: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert!(figures["plan"].is_null() && figures["plan_error"].as_str().unwrap().contains("too few samples"));

    for (line, word) in [
        (vec!["export", "--out", "x", "--format", "json", "--languages", "german"], "\"de\""),
        (vec!["export", "--out", "x", "--format", "json", "--languages", "parrot_six"], "parrot-6"),
        (vec!["export", "--out", "x", "--format", "json", "--tasks", "captions"], "caption"),
        (vec!["export", "--out", "x", "--format", "xml"], "webdataset"),
        (vec!["inspect", "x", "--language", "klingon"], "unknown language"),
        (vec!["inspect", "x", "--mask", "towervision"], "--tokenizer"),
        (vec!["inspect", "x", "--aliases", "zh=zh-Hans"], "--language-field"),
        (vec!["inspect", "x", "--language-field", "l", "--aliases", "zh"], "TAG=LANGUAGE"),
        (vec!["inspect", "x", "--language-field", "l", "--aliases", "zh=klingon"], "unknown language"),
        (vec!["inspect", "x", "--against", "y", "--no-decode"], "--no-decode"),
        (vec!["inspect", "x", "--language", "de", "--language-field", "lang"], "--language-field"),
        (vec!["inspect", "x", "--frames", "0"], "'--frames <N>': 0 is not in 1..=4096"),
        (vec!["inspect", "x", "--frames", "100000"], "'--frames <N>': 100000 is not in 1..=4096"),
    ] {
        let error = DataArgs::try_parse_from([&["data"], &line[..]].concat()).unwrap_err().to_string();
        assert!(error.contains(word), "{line:?}: {error}");
    }
}

/// Ratings of two questions in two languages, with a missing one, and one item that nobody but one rated.
const RATINGS: &str = "item,annotator,fluency,verdict,lang\n\
    q1,ann,5,good,de\nq1,bob,4,good,de\nq2,ann,2,bad,de\nq2,bob,2,good,de\nq3,ann,1,bad,de\nq3,bob,,bad,de\n\
    q1,ann,3,good,fr\nq1,bob,3,good,fr\nq2,ann,4,good,fr\nq2,bob,5,good,fr\nq3,ann,2,good,fr\nq3,bob,2,good,fr\n";

#[test]
fn agreement_is_reported_by_column_and_group() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "ratings.csv");
    fs::write(&file, RATINGS).unwrap();
    let out = path(folder.path(), "out");
    let options = ["--label", "fluency,verdict", "--level", "fluency=ordinal", "--scale", "fluency=1,2,3,4,5"];
    let text = ok(&[&["agreement", &file, "--out", &out, "--by", "lang", "--resamples", "50"], &options[..]].concat());
    for part in ["## fluency, de", "## verdict, fr", "quadratic weights", "undefined, agreement 1.0", "--scale"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json: Value = serde_json::from_slice(&fs::read(Path::new(&out).join("agreement.json")).unwrap()).unwrap();
    let columns = json["columns"].as_array().unwrap();
    let names: Vec<_> = columns.iter().map(|column| (column["column"].as_str(), column["group"].as_str())).collect();
    let wanted = [("fluency", "de"), ("fluency", "fr"), ("verdict", "de"), ("verdict", "fr")];
    assert_eq!(names, wanted.map(|(column, group)| (Some(column), Some(group))));
    let measure = |column: &Value, key: &str| {
        column["measures"].as_array().unwrap().iter().find(|measure| measure["key"] == key).unwrap().clone()
    };
    // By hand: of two items that both rated one is the same; 5 against 4 and 2 against 2 on a scale of five.
    assert_eq!(measure(&columns[0], "percent_mean_over_items")["value"], 0.5);
    assert_eq!((columns[0]["items_with_two"].as_u64(), columns[0]["missing"].as_u64()), (Some(2), Some(1)));
    let linear = measure(&columns[0], "cohen_mean_linear")["value"].as_f64().unwrap();
    // Observed distance (1 + 0) / 2, by chance (1 + 3 + 2 + 0) / 4.
    assert!((linear - (1.0 - 0.5 / 1.5)).abs() < 1e-12, "{linear}");
    assert_eq!(measure(&columns[2], "percent_mean_over_items")["value"], 2.0 / 3.0);
    let alpha = measure(&columns[3], "alpha");
    assert!(alpha["value"].is_null() && alpha["undefined"].as_str().unwrap().contains("agreement 1.0"));
    assert!(alpha.get("interval").is_none());
    assert_eq!((&columns[0]["scale_declared"], &columns[2]["scale_declared"]), (&true.into(), &false.into()));
    assert_eq!(fs::read_to_string(Path::new(&out).join("agreement.md")).unwrap().matches("## ").count(), 4);

    // The same of a table with a column an annotator, and of JSON.
    let wide = path(folder.path(), "wide.tsv");
    fs::write(&wide, "item\tann\tbob\nq1\tgood\tgood\nq2\tbad\tgood\nq3\tbad\tbad\n").unwrap();
    let lines = path(folder.path(), "r.jsonl");
    let record = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        serde_json::json!({"item": cells[0], "annotator": cells[1], "label": cells[3]}).to_string() + "\n"
    };
    fs::write(&lines, RATINGS.lines().filter(|line| line.ends_with(",de")).map(record).collect::<String>()).unwrap();
    for (line, name) in [(vec!["agreement", &wide, "--wide"], "a"), (vec!["agreement", &lines], "b")] {
        let out = path(folder.path(), name);
        ok(&[&line[..], &["--out", &out, "--resamples", "50"]].concat());
        let json: Value = serde_json::from_slice(&fs::read(Path::new(&out).join("agreement.json")).unwrap()).unwrap();
        assert_eq!(json["columns"][0]["measures"], columns[2]["measures"]);
        assert_eq!(json["columns"][0]["pairs"], columns[2]["pairs"]);
    }
}

#[test]
fn bad_ratings_are_errors_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |text: &str, more: &[&str], words: &[&str]| {
        let file = path(folder.path(), "r.csv");
        fs::write(&file, text).unwrap();
        let out = path(folder.path(), "out");
        let (_, result) = run(&[&["agreement", &file, "--out", &out], more].concat());
        let error = result.unwrap_err();
        words.iter().for_each(|word| assert!(error.contains(word), "{text:?}: {word}: {error}"));
        assert!(!Path::new(&out).exists(), "{text:?}");
    };
    let head = "item,annotator,label\n";
    let rows = |rows: &str| format!("{head}{rows}");
    fails(&rows("i,a,x\ni,b,maybe\n"), &["--scale", "x,y"], &["r.csv, line 3", "\"maybe\"", "x, y"]);
    fails(&rows("i,a,x\ni,a,y\ni,b,x\n"), &[], &["r.csv, line 3", "already", "line 2"]);
    fails(&rows("i,a,x\nj,a,y\n"), &[], &["r.csv", "all 2 ratings", "\"a\"", "two annotators"]);
    fails(&rows("i,a,\nj,b,\n"), &[], &["r.csv", "no rating"]);
    fails(&rows(""), &[], &["r.csv", "no row"]);
    fails(&rows("i,,x\n"), &[], &["line 2", "\"annotator\""]);
    fails(&rows("i,a,x\ni,b,1\n"), &["--level", "interval"], &["line 2", "no number", "interval"]);
    fails(&rows("i,a,-1\ni,b,1\n"), &["--level", "ratio"], &["line 2", "below 0"]);
    fails(&rows("i,a,low\ni,b,high\n"), &["--level", "ordinal"], &["--scale high,low"]);
    fails(&rows("i,a,x\n"), &["--level", "cardinal"], &["\"cardinal\"", "nominal"]);
    fails(&rows("i,a,x\n"), &["--level", "lable=ordinal"], &["\"lable\"", "label"]);
    fails(&rows("i,a,x\n"), &["--scale", "x,y,x"], &["\"x\" stands twice"]);
    fails(&rows("i,a,x\n"), &["--label", "verdict"], &["no column \"verdict\"", "annotator, label"]);
    fails(&rows("i,a,x\n"), &["--label", "label,label"], &["\"label\" twice"]);
    fails(&rows("i,a,x\n"), &["--by", "lang"], &["no column \"lang\""]);
    fails(&rows("i,a\n"), &[], &["line 2", "2 cells, expected 3"]);
    let full = path(folder.path(), "full");
    fs::create_dir(&full).unwrap();
    fs::write(Path::new(&full).join("x"), "").unwrap();
    assert!(run(&["agreement", "r.csv", "--out", &full]).1.unwrap_err().contains("not empty"));
}

/// Two languages; a table for both, every sentence, signatures as sacreBLEU's.
#[test]
fn translations_are_scored_by_language() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "pairs.tsv");
    let rows = "hypothesis\treference\tother\tlang\nDer Hund läuft schnell davon.\tDer Hund läuft schnell weg.\t\tde\n\
        一只绿色的鸟。\t一只绿色的鸟。\t绿鸟\tzh-Hans\n\tEin Haus am See.\tHaus\tde\n";
    fs::write(&file, rows).unwrap();
    let out = path(folder.path(), "out");
    let line = ["mt-score", &file, "--language-field", "lang", "--reference", "reference,other", "--resamples", "100"];
    let text = ok(&[&line[..], &["--out", &out]].concat());
    for part in [
        "| mean of languages |",
        "nrefs:var|bs:100|seed:12345|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0 (de)",
        "tok:zh|",
        "case:lc|tok:tercom|norm:yes|punct:yes|asian:yes|version:2.6.0 (zh-Hans)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json: Value = serde_json::from_slice(&fs::read(Path::new(&out).join("scores.json")).unwrap()).unwrap();
    let languages = json["languages"].as_array().unwrap();
    let of = |tag: &str| languages.iter().find(|language| language["language"] == tag).unwrap();
    assert_eq!((of("de")["segments"].as_u64(), of("de")["empty_hypotheses"].as_u64()), (Some(2), Some(1)));
    let chinese = &of("zh-Hans")["metrics"];
    assert!((chinese["bleu"]["score"].as_f64().unwrap() - 100.0).abs() < 1e-9);
    assert_eq!(chinese["ter"]["score"], 0.0);
    let lines = fs::read_to_string(Path::new(&out).join("segments.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["line"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!((lines[2]["chrf"].as_f64(), lines[2]["bleu"].as_f64()), (Some(0.0), Some(0.0)));
    // One edit of five words.
    assert_eq!(lines[0]["ter"], 20.0);
    let mean = json["mean_of_languages"]["chrf"].as_f64().unwrap();
    let both = ["de", "zh-Hans"].map(|tag| of(tag)["metrics"]["chrf"]["score"].as_f64().unwrap());
    assert!((mean - (both[0] + both[1]) / 2.0).abs() < 1e-9);

    let fails = |text: &str, more: &[&str], words: &[&str]| {
        fs::write(&file, text).unwrap();
        let out = path(folder.path(), "failed");
        let error = run(&[&["mt-score", &file, "--out", &out], more].concat()).1.unwrap_err();
        words.iter().for_each(|word| assert!(error.contains(word), "{text:?}: {word}: {error}"));
        assert!(!Path::new(&out).exists());
    };
    let one = "hypothesis\treference\nx\ty\n";
    fails(one, &["--language", "ja"], &["ja-mecab", "--mecab-ja DIR", "--tokenizer ja=char"]);
    fails(one, &["--language", "ja", "--mecab-ja", "nowhere"], &["nowhere", "sys.dic", "ipadic"]);
    fails(one, &["--language", "de", "--tokenizer", "spm"], &["\"spm\"", "13a"]);
    fails(one, &["--language", "de", "--tokenizer", "ja=char"], &["ja", "no row"]);
    fails(one, &["--language", "de", "--hypothesis", "mt"], &["no column \"mt\"", "hypothesis, reference"]);
    fails("hypothesis\treference\nx\t\n", &["--language", "de"], &["line 2", "no reference"]);
    let tagged = "hypothesis\treference\tlang\nx\ty\tklingon\n";
    fails(tagged, &["--language-field", "lang"], &["line 2", "klingon"]);
    assert!(DataArgs::try_parse_from(["data", "mt-score", "x.tsv", "--out", "o"]).is_err());
    // By characters it needs no dictionary.
    fs::write(&file, one).unwrap();
    let out = path(folder.path(), "characters");
    ok(&["mt-score", &file, "--out", &out, "--language", "ja", "--tokenizer", "ja=char", "--resamples", "0"]);
}

//! MMMB item by item against the published scorers' own verdicts (tests/fixtures/README.md): prompts, what is understood of each
//! reply, verdicts, totals.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_train::eval::mmmb::parrot_clean_up;
use burn_vlm_train::eval::{Benchmark, Benchmarks, Prediction, Reply};
use burn_vlm_train::recipe::EvaluationRecipe;
use serde_json::Value;

/// Both sides divide the same whole numbers; the references are written with ten digits.
const TEN_DIGITS: f64 = 1e-9;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eval")
}

fn lines(file: &str) -> Vec<Value> {
    let path = folder().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn expected(benchmark: &str, scorer: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(benchmark).join("expected.json")).unwrap();
    let mut all: Value = serde_json::from_str(&text).unwrap();
    all["scorers"][scorer].take()
}

/// As a study opens it: by TOML alone.
fn open(settings: &str) -> Benchmarks {
    let text = format!("[[benchmark]]\nname = 'mmmb'\nkind = 'mmmb'\n{settings}");
    let evaluation = EvaluationRecipe::from_table(toml::from_str(&text).unwrap()).unwrap();
    Benchmarks::open(&evaluation, &EmojiCorpus::embedded().unwrap(), &folder()).unwrap()
}

fn vanilla(settings: &str) -> Benchmarks {
    open(&format!("file = 'mmmb/data/mmmb_{{ar,cn,en,pt,ru,tr}}.tsv'\n{settings}"))
}

fn paired(settings: &str) -> Benchmarks {
    open(&format!(
        "file = 'mmmb_paired/data/mmmb_paired.tsv'\nprotocol = 'paired'\nlanguage_column = 'category'\n\
         language_map = {{ zh = 'zh-Hans', pt = 'pt-BR' }}\n{settings}"
    ))
}

/// Predictions on the fixture's replies, by the reference's ids.
fn predict(benchmarks: &Benchmarks, fixture: &str) -> BTreeMap<String, Prediction> {
    let replies: HashMap<String, String> = lines(&format!("{fixture}/predictions.jsonl"))
        .into_iter()
        .map(|line| (line["id"].as_str().unwrap().to_owned(), line["prediction"].as_str().unwrap().to_owned()))
        .collect();
    let benchmark: &dyn Benchmark = benchmarks.iter().next().unwrap();
    let of_file = |id: &str| id.strip_prefix("mmmb_paired/").unwrap_or(id).to_owned();
    let replies: Vec<Reply> =
        benchmark.questions().iter().map(|question| Reply::Text(replies[&of_file(&question.id)].clone())).collect();
    let predictions = benchmark.predictions(&replies).unwrap();
    predictions.into_iter().map(|prediction| (of_file(&prediction.id), prediction)).collect()
}

fn score(prediction: &Prediction, metric: &str) -> Option<f64> {
    prediction.scores.iter().find(|score| score.protocol == metric).map(|score| score.score)
}

/// The mean of a metric over some predictions, where there are any.
fn mean<'a>(predictions: impl Iterator<Item = &'a Prediction>, metric: &str) -> Option<f64> {
    let scores: Vec<f64> = predictions.filter_map(|prediction| score(prediction, metric)).collect();
    (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
}

#[test]
fn prompts_are_the_published_ones() {
    for (style, field) in
        [("vlmevalkit", "vlmeval"), ("parrot", "parrot_model"), ("parrot_as_set", "parrot_model_as_MMMB")]
    {
        let benchmarks = vanilla(&format!("prompt = '{style}'"));
        let questions: HashMap<&str, &str> = benchmarks
            .iter()
            .flat_map(Benchmark::questions)
            .map(|question| (question.id.as_str(), question.turns[0].text.as_str()))
            .collect();
        let mut compared = 0;
        for line in lines("mmmb/prompts.jsonl") {
            // Rows without a picture have no prompt here: the kit drops them before it counts.
            let Some(found) = questions.get(line["id"].as_str().unwrap()) else { continue };
            assert_eq!(found.strip_prefix("<image>\n"), line[field].as_str(), "{style} {}", line["id"]);
            compared += 1;
        }
        assert_eq!((compared, questions.len()), (143, 143));
    }
    let benchmarks = paired("prompt = 'vlmevalkit'");
    let questions = benchmarks.iter().next().unwrap().questions();
    for (question, line) in questions.iter().zip(lines("mmmb_paired/prompts.jsonl")) {
        assert_eq!(question.turns[0].text.strip_prefix("<image>\n"), line["question"].as_str(), "{}", line["id"]);
    }
    assert_eq!(questions.len(), 96);
}

#[test]
fn vanilla_verdicts_and_totals_are_the_references() {
    for (reader, scorer) in [("vlmevalkit", "vlmeval"), ("parrot", "parrot_vlmeval")] {
        let benchmarks = vanilla(&format!("prompt = 'vlmevalkit'\nreader = '{reader}'"));
        let predictions = predict(&benchmarks, "mmmb");
        let expected = expected("mmmb", scorer);
        let items = expected["items"].as_object().unwrap();
        assert_eq!(items.len(), predictions.len());
        for (id, item) in items {
            let found = &predictions[id];
            assert_eq!(found.understood.as_deref(), item["letter"].as_str(), "{scorer} {id}: {:?}", found.text);
            assert_eq!(score(found, "mmmb"), item["hit"].as_f64(), "{scorer} {id}: {:?}", found.text);
        }
        let mut compared = 0;
        for (name, totals) in expected["scores"].as_object().unwrap() {
            let file = name.to_lowercase();
            let of_file = || predictions.iter().filter(|(id, _)| id.starts_with(&format!("{file}/"))).map(|(_, p)| p);
            let Some(rows) = totals.as_array() else {
                let (file, _) = file.split_once('/').unwrap();
                let loaded = predictions.keys().filter(|id| id.starts_with(&format!("{file}/"))).count();
                assert_eq!(totals.as_u64(), Some(loaded as u64), "{name}");
                continue;
            };
            for row in rows.iter().map(|row| row.as_object().unwrap()) {
                let split = row["split"].as_str().unwrap();
                let tag = |p: &Prediction, name: &str, value: &str| p.tags.get(name).is_some_and(|tag| tag == value);
                let of_split = || of_file().filter(|p| split == "none" || tag(p, "split", split));
                for (category, total) in row.iter().filter(|(key, _)| *key != "split") {
                    let is_of = |p: &&Prediction| {
                        category == "Overall" || tag(p, "category", category) || tag(p, "l2-category", category)
                    };
                    let found = mean(of_split().filter(is_of), "mmmb").unwrap();
                    assert!((found - total.as_f64().unwrap()).abs() < TEN_DIGITS, "{scorer} {name} {split} {category}");
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, 30);
    }
}

#[test]
fn parrots_clean_up_is_the_model_classes() {
    let cases = lines("mmmb/parrot_postprocess.jsonl");
    assert_eq!(cases.len(), 144);
    for line in &cases {
        let raw = line["raw"].as_str().unwrap();
        assert_eq!(parrot_clean_up(raw), line["english_suffix"].as_str().unwrap(), "{raw:?}");
    }
    // It is applied after the English request and nowhere else; what is kept is the reply as it came.
    let predictions = predict(&vanilla("reader = 'parrot'"), "mmmb");
    let english = &predictions["mmmb_en/14"];
    assert_eq!(english.text.as_deref(), Some("I think circle fits, because A man stands there and he points at it"));
    assert_eq!(english.understood, None, "cleaned to the letter I");
    let portuguese = &predictions["mmmb_pt/5"];
    assert_eq!((portuguese.text.as_deref(), portuguese.understood.as_deref()), (Some("the answer is a"), None));
}

#[test]
fn paired_verdicts_and_totals_are_the_references() {
    let tag = |language: &str| match language {
        "zh" => "zh-Hans".to_owned(),
        "pt" => "pt-BR".to_owned(),
        other => other.to_owned(),
    };
    let predictions = predict(&paired("reader = 'vlmevalkit'"), "mmmb_paired");
    let kit = expected("mmmb_paired", "vlmeval");
    for (id, item) in kit["items"].as_object().unwrap() {
        let found = &predictions[id];
        assert_eq!(found.understood.as_deref().unwrap_or("Unknown"), item["extracted"], "{id}: {:?}", found.text);
        assert_eq!(score(found, "mmmb_each"), item["hit"].as_f64(), "{id}: {:?}", found.text);
    }
    let totals = kit["scores"].as_array().unwrap();
    assert_eq!(totals.len(), 8);
    for row in totals {
        let split = row["split"].as_str().unwrap();
        let all = ["Overall", "x"].contains(&split);
        let of = || predictions.values().filter(|p| all || p.language.as_deref() == Some(&tag(split)));
        for (metric, key) in [("mmmb_each", "aAcc"), ("mmmb", "fAcc")] {
            let found = 100.0 * mean(of(), metric).unwrap();
            assert!((found - row[key].as_f64().unwrap()).abs() < 100.0 * TEN_DIGITS, "{split} {key}: {found}");
        }
    }
    assert_eq!(predictions.values().filter(|p| score(p, "mmmb").is_some()).count(), 48, "N counts pictures");

    let predictions = predict(&paired("reader = 'lmms_eval'"), "mmmb_paired");
    let lmms = expected("mmmb_paired", "lmms_eval");
    for (id, item) in lmms["items"].as_object().unwrap() {
        let found = &predictions[id];
        let parsed = found.understood.as_deref().map_or("other".to_owned(), str::to_lowercase);
        assert_eq!(parsed, item["parsed"], "{id}: {:?}", found.text);
        assert_eq!(score(found, "mmmb_each"), item["hit"].as_f64(), "{id}");
    }
    for (language, total) in lmms["scores"].as_object().unwrap() {
        let of = || predictions.values().filter(|p| p.language.as_deref() == Some(&tag(language)));
        let found = 100.0 * (mean(of(), "mmmb_each").unwrap() + mean(of(), "mmmb").unwrap());
        assert!((found - total.as_f64().unwrap()).abs() < 100.0 * TEN_DIGITS, "{language}: {found}");
    }
}

#[test]
fn a_draw_is_the_same_in_every_language_and_keeps_pairs_whole() {
    let drawn = vanilla("limit = 5\nseed = 3");
    let mut by_file: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for question in drawn.iter().flat_map(Benchmark::questions) {
        let (file, index) = question.id.split_once('/').unwrap();
        by_file.entry(file).or_default().push(index);
    }
    // Files with the same indices ask the same; English has more of them, Russian lacks one.
    for file in ["mmmb_cn", "mmmb_pt", "mmmb_tr"] {
        assert_eq!((by_file[file].len(), &by_file[file]), (5, &by_file["mmmb_ar"]));
    }
    let pairs = paired("limit = 6");
    assert_eq!(pairs.iter().next().unwrap().questions().len(), 6 * 6);
    assert_eq!(pairs.metrics().iter().map(|m| m.chance).collect::<Vec<_>>(), [Some(25.0), Some(50.0)]);
}

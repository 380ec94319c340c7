//! `data benchmark`: from the texts of a published file to a translated one that `evaluate` scores, without what needs no picture, and as
//! people decided it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn_vlm_experiments::{EvaluateArgs, evaluate};
use clap::Parser;
use serde_json::{Value, json};

use super::{ok, path, run};

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eval").join(name).display().to_string()
}

fn lines(file: &str) -> Vec<Value> {
    fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn write_lines(file: &str, lines: &[Value]) {
    let text: String = lines.iter().map(|line| line.to_string() + "\n").collect();
    fs::write(file, text).unwrap();
}

/// Translations of `texts.jsonl` into some languages: each word backwards, which loses nothing.
fn translate(texts: &str, to: &str, languages: &[&str]) {
    let turn = |text: &str| text.split(' ').map(|word| word.chars().rev().collect()).collect::<Vec<String>>().join(" ");
    let mut all = Vec::new();
    for language in languages {
        for mut line in lines(texts) {
            line["translation"] = turn(line["source"].as_str().unwrap()).into();
            line["lang"] = (*language).into();
            all.push(line);
        }
    }
    write_lines(to, &all);
}

/// A folder that `build` wrote, in German and Arabic.
fn built(folder: &Path, kind: &str, file: &str, more: &[&str]) -> (String, String) {
    let [texts, table, out] = ["texts.jsonl", "table.jsonl", "built"].map(|name| path(folder, name));
    ok(&["benchmark", "texts", &fixture(file), "--kind", kind, "--out", &texts]);
    translate(&texts, &table, &["de", "ar"]);
    let line = ["benchmark", "build", &fixture(file), "--kind", kind, "--translations", &table, "--out", &out];
    let said = ok(&[&line, more].concat());
    (out, said)
}

/// The items of a folder: id, language, what is right, and how many options there are.
fn items(built: &str, file: &str) -> Vec<(String, String)> {
    let mut reader = fs::read_to_string(Path::new(built).join(file)).unwrap();
    reader.retain(|c| c != '\r');
    let header: Vec<&str> = reader.lines().next().unwrap().split('\t').collect();
    let of = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let (index, answer) = (of("index"), of("answer"));
    let rows = reader.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    // Cells with tabs in them would need a reader; these have none.
    rows.filter(|cells| cells.len() == header.len())
        .map(|cells| (cells[index].to_owned(), cells[answer].to_owned()))
        .collect()
}

fn evaluated(folder: &Path, built: &str, replies: &[Value], name: &str) -> (Value, String) {
    let [predictions, out] = ["replies.jsonl", name].map(|name| path(folder, name));
    write_lines(&predictions, replies);
    let questions = path(Path::new(built), "benchmark.toml");
    let line = ["evaluate", &questions, "--predictions", &predictions, "--without-pictures", "--out", &out, "--quiet"];
    evaluate(&EvaluateArgs::parse_from(line)).unwrap();
    let scores = serde_json::from_str(&fs::read_to_string(Path::new(&out).join("scores.json")).unwrap()).unwrap();
    (scores, path(Path::new(&out), "predictions.jsonl"))
}

/// The scores by metric and language.
fn by_language(scores: &Value) -> BTreeMap<String, f64> {
    let rows = scores["scores"].as_array().unwrap().iter();
    rows.map(|row| (format!("{} {}", row["metric"], row["language"]), row["score"].as_f64().unwrap())).collect()
}

#[test]
fn a_benchmark_in_two_languages_is_scored_and_loses_what_needs_no_picture() {
    let folder = tempfile::tempdir().unwrap();
    let (built, said) = built(folder.path(), "mme", "mme/data/MME.tsv", &["--format", "tsv,parquet", "--name", "mme2"]);
    assert!(said.contains("MME_de.tsv: 74 rows") && said.contains("| ar | 74 | 74 | 0 | 0 |"), "{said}");
    assert!(said.contains("The right answers score 100 %"), "{said}");
    let german = items(&built, "MME_de.tsv");
    assert_eq!(german.len(), 74);
    // Right answers in the languages' words.
    let words = |tag: &str, answer: &str| match (tag, answer) {
        ("de", "Yes") => "Ja.",
        ("de", _) => "Nein.",
        ("ar", "Yes") => "نعم",
        ("ar", _) => "لا",
        (_, answer) => {
            if answer == "Yes" {
                "yes"
            } else {
                "no"
            }
        }
    };
    let reply = |tag: &str, (index, answer): &(String, String)| json!({ "id": format!("MME_{tag}/{index}"), "prediction": words(tag, answer) });
    let all = ["en", "de", "ar"].iter().flat_map(|tag| german.iter().map(|item| reply(tag, item)));
    let (scores, _) = evaluated(folder.path(), &built, &all.collect::<Vec<_>>(), "right");
    assert!(scores["notes"].to_string().contains("without their pictures"), "{}", scores["notes"]);
    let scores = by_language(&scores);
    assert!(scores.len() >= 6 && scores.values().all(|score| (*score - 100.0).abs() < 1e-9), "{scores:?}");

    // A model that knows the first two pictures' questions by heart, and says yes to all others.
    let guessed = ["en", "de", "ar"].iter().flat_map(|tag| {
        german.iter().enumerate().map(|(at, item)| {
            let said = if at < 4 { item.clone() } else { (item.0.clone(), "Yes".to_owned()) };
            reply(tag, &said)
        })
    });
    let (_, predictions) = evaluated(folder.path(), &built, &guessed.collect::<Vec<_>>(), "guessed");
    let out = path(folder.path(), "seen");
    let said = ok(&["benchmark", "blind", &built, "--predictions", &predictions, "--out", &out]);
    // Six of six are right by guessing with a probability of 1/64, three of six in two thirds.
    assert!(
        said.contains("2 of 37 items") && said.contains("| 6 of 6 | 2 | 2 |") && said.contains("35 stay"),
        "{said}"
    );
    assert!(!said.contains("name a picture"), "{said}");
    assert_eq!(items(&out, "MME_ar.tsv").len(), 70);
    assert_eq!(lines(&path(Path::new(&out), "blind.jsonl")).iter().filter(|unit| unit["blind"] == true).count(), 2);
    let two = path(folder.path(), "two");
    let (_, refused) =
        run(&["benchmark", "blind", &built, "--predictions", &predictions, "--in-runs", "2", "--out", &two]);
    assert!(refused.unwrap_err().contains("expected 1 to 1"));
    let copy = path(folder.path(), "copy.jsonl");
    std::fs::copy(&predictions, &copy).unwrap();
    for again in [&predictions, &copy] {
        let (_, refused) = run(&["benchmark", "blind", &built, "--predictions", &predictions, again, "--out", &two]);
        assert!(refused.unwrap_err().contains("once more; name each run once"));
    }
    let (said, strict) =
        run(&["benchmark", "blind", &built, "--predictions", &predictions, "--at-most", "0.001", "--out", &two]);
    strict.unwrap();
    assert!(said.contains("ask more models") && said.contains("0 of 37 items"), "{said}");
}

#[test]
fn tables_that_do_not_fit_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = fixture("ai2d/data/AI2D_TEST.tsv");
    let [table, out, words] = ["table.tsv", "out", "words.toml"].map(|name| path(folder.path(), name));
    fs::write(&table, "lang\tsource\ttranslation\nde\tsquare\tQuadrat\n").unwrap();
    let build = |more: &[&str]| {
        let line = ["benchmark", "build", &file, "--kind", "ai2d", "--translations", &table, "--out", &out];
        run(&[&line[..], more].concat())
    };
    let error = |more: &[&str]| build(more).1.unwrap_err();
    assert!(error(&["--languages", "fr"]).contains("no translation is into fr; the tables have de"));
    assert!(error(&["--on-problem", "exclude"]).contains("no item is left"));
    assert!(error(&["--on-problem", "exclude-everywhere"]).contains("nothing is left"));
    assert!(error(&["--chrf-below", "101"]).contains("from 0 to 100"));
    fs::write(&words, "[german]\nyes = [\"ja\"]\n").unwrap();
    assert!(error(&["--words", &words]).contains("words.toml"));
    let (said, built) = build(&[]);
    built.unwrap();
    let page = fs::read_to_string(Path::new(&out).join("build.md")).unwrap();
    assert!(page.contains("| de | AI2D_TEST_en/0 | no translation of question"), "{page}");
    assert!(said.contains("no_translation") && said.contains("| de | 66 | 0 | 66 | 0 |"), "{said}");
    assert!(build(&[]).1.unwrap_err().contains("not empty"));
    let not_built = path(folder.path(), "nothing");
    let page = ["benchmark", "calibrate", &not_built, "--language", "de", "--html", &table];
    assert!(run(&page).1.unwrap_err().contains("data benchmark build"));
}

#[test]
fn what_people_decide_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let (built, _) = built(folder.path(), "mmbench", "mmbench_vlmeval/data/MMBench_DEV_EN.tsv", &[]);
    let page = path(folder.path(), "de.html");
    ok(&["benchmark", "calibrate", &built, "--language", "de", "--html", &page]);
    assert!(fs::read_to_string(&page).unwrap().contains("MMBench_DEV_en/100"));
    let error = |more: &[&str]| run(&[&["benchmark", "calibrate", &built][..], more].concat()).1.unwrap_err();
    assert!(error(&["--language", "de", "--html", &page]).contains("is there already"));
    assert!(error(&["--language", "en", "--html", &page]).contains("language of the source"));
    assert!(error(&["--language", "fr", "--html", &page]).contains("which has de, ar"));

    // Two refine the first item, two vote for the one, one for the other; another item is left as it is by its only refiner.
    let of_items = lines(&path(Path::new(&built), "items.jsonl"));
    let texts = |number: usize, question: &str| -> Value {
        let texts = of_items[number]["texts"].as_array().unwrap().iter();
        let mut texts: serde_json::Map<String, Value> = texts
            .map(|text| {
                (text["field"].as_str().unwrap().to_owned(), text.get("translation").unwrap_or(&text["source"]).clone())
            })
            .collect();
        if !question.is_empty() {
            texts.insert("question".to_owned(), question.into());
        }
        texts.into()
    };
    let mut records = Vec::new();
    let mut add = |annotator: &str, item: usize, mut event: Value| {
        let number = records.len() + 1;
        event["id"] = number.to_string().into();
        event["time"] = number.into();
        event["annotator"] = annotator.into();
        event["language"] = "de".into();
        event["item"] = of_items[item]["id"].clone();
        records.push(event);
    };
    add("ana", 0, json!({ "event": "refine", "texts": texts(0, "Welche Farbe?") }));
    add("ben", 0, json!({ "event": "refine", "texts": texts(0, "Was für eine Farbe?") }));
    for (voter, text) in [("dan", "Welche Farbe?"), ("eva", "Was für eine Farbe?"), ("fay", "Was für eine Farbe?")] {
        add(voter, 0, json!({ "event": "vote", "texts": texts(0, text) }));
    }
    add("ana", 1, json!({ "event": "refine", "texts": texts(1, "") }));
    add("eva", 1, json!({ "event": "comment", "text": "fine" }));
    let [file, out] = ["records.jsonl", "calibrated"].map(|name| path(folder.path(), name));
    write_lines(&file, &records);
    let said = ok(&["benchmark", "calibrate", &built, "--language", "de", "--records", &file, &file, "--export", &out]);
    assert!(said.contains("| votes | 1 |") && said.contains("3 votes count") && said.contains("1 comments"), "{said}");
    assert!(
        said.contains("Agreement of the voters") && Path::new(&out).join("agreement_de/agreement.json").is_file(),
        "{said}"
    );
    let table = fs::read_to_string(Path::new(&out).join("MMBench_DEV_de.tsv")).unwrap();
    assert_eq!(table.matches("Was für eine Farbe?").count(), 4, "in every rotation");
    assert_eq!(table.matches("Welche Farbe?").count(), 0);
    let decisions = lines(&path(Path::new(&out), "decisions_de.jsonl"));
    assert_eq!((&decisions[0]["by"], &decisions[0]["machine"]), (&json!("votes"), &json!(false)));
    assert_eq!((&decisions[1]["by"], &decisions[1]["machine"]), (&json!("only"), &json!(true)));
    // What cannot be asked is left out when it is wanted; here nothing is.
    let all = path(folder.path(), "all");
    let line = [
        "benchmark",
        "calibrate",
        &built,
        "--language",
        "de",
        "--records",
        &file,
        "--on-problem",
        "exclude",
        "--export",
        &all,
    ];
    assert!(ok(&line).contains("| de | 24 | 24 | 0 | 0 |"));
    // The other language is as it was, and the whole can be gone on with.
    let arabic = |folder: &str| fs::read(Path::new(folder).join("MMBench_DEV_ar.tsv")).unwrap();
    assert_eq!(arabic(&out), arabic(&built));
    ok(&["benchmark", "calibrate", &out, "--language", "ar", "--html", &path(folder.path(), "ar.html")]);
}

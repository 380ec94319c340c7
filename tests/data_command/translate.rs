//! `data translate`: against an endpoint that does what a script says, killed at any moment, and by a model on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use burn_vlm_base::random::Stream;
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::language::Language;
use serde_json::{Value, json};

use super::server::{Act, Server, ends, says, send};
use super::{ok, path, read, run};

/// Rows of the killed run.
const ROWS: usize = 60;
/// Kills.
const KILLS: usize = 10;
/// How long the endpoint thinks.
const THINKS: Duration = Duration::from_millis(60);

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // The last line of a log may be torn.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn write_rows(path: &Path, texts: impl IntoIterator<Item = (String, String)>) {
    let rows = texts.into_iter().map(|(id, text)| {
        let turns = json!([{ "from": "human", "value": format!("Question {id}?") }, { "from": "gpt", "value": text }]);
        json!({ "id": id, "conversations": turns }).to_string()
    });
    fs::write(path, rows.collect::<Vec<_>>().join("\n")).unwrap();
}

/// The text and the language of a prompt.
fn asked(prompt: &str) -> (&str, &str) {
    let (first, rest) = prompt.split_once('\n').unwrap();
    let to = first.strip_prefix("Translate the following English source text to ").unwrap().strip_suffix(':').unwrap();
    let text = rest.strip_prefix("English: ").unwrap().strip_suffix(&format!("\n{to}: ")).unwrap();
    (text, to)
}

fn translation(text: &str, to: &str) -> String {
    match to {
        "Russian" => format!("Перевод: {}", text.chars().filter(char::is_ascii_digit).collect::<String>()),
        _ => format!("Übersetzung: {}", text.chars().filter(char::is_ascii_digit).collect::<String>()),
    }
}

/// What becomes of each row depends on its text alone.
fn script(prompt: &str) -> Act {
    let (text, to) = asked(prompt);
    match text {
        text if text.starts_with("refused") => send("400 Bad Request", "no"),
        text if text.starts_with("empty") => says(" "),
        text if text.starts_with("cut") => ends(&translation(text, to), "length", "tiny"),
        text => says(&translation(text, to)),
    }
}

fn killed_rows(path: &Path) {
    let text = |number: usize| match number % 15 {
        6 => format!("refused {number}"),
        9 => format!("empty {number}"),
        12 => format!("cut {number}"),
        _ => format!("Row number {number}."),
    };
    write_rows(path, (100..100 + ROWS).map(|number| (format!("r{number}"), text(number))));
}

fn line<'a>(rows: &'a str, out: &'a str, url: &'a str) -> Vec<&'a str> {
    let fixed = ["translate", rows, "--out", out, "--languages", "de,ru", "--at-once", "3", "--endpoint-model", "tiny"];
    [&fixed[..], &["--endpoint", url]].concat()
}

#[test]
fn killed_ten_times_it_asks_nothing_twice_and_comes_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let rows = path(folder.path(), "rows.jsonl");
    killed_rows(Path::new(&rows));
    let server = || Server::start(|prompt, _| Act::Slow(THINKS, Box::new(script(prompt))));
    let (whole, killed) = (path(folder.path(), "whole"), path(folder.path(), "killed"));
    let uninterrupted = server();
    ok(&line(&rows, &whole, &uninterrupted.url()));
    assert!(uninterrupted.counts().values().all(|count| *count == 1));
    let questions = uninterrupted.counts().len();
    assert_eq!(questions, 2 * ROWS);

    let counting = server();
    let url = counting.url();
    let log = Path::new(&killed).join("log.jsonl");
    let mut random = Stream::new(7);
    // Each time: what the log has then, and how many requests had come.
    let mut kills: Vec<(BTreeSet<String>, usize)> = Vec::new();
    let mut in_flight = 0;
    for _ in 0..KILLS {
        let mut child = Command::new(env!("CARGO_BIN_EXE_burn-vlm"))
            .arg("data")
            .args(line(&rows, &killed, &url))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Some way into its work, however long it takes to begin.
        let before = counting.seen().len();
        let more = random.below(9) + 1;
        while counting.seen().len() < before + more && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(random.below(60) as u64));
        // SIGKILL on Unix: no destructor, no flush.
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had sent is counted by then.
        std::thread::sleep(2 * THINKS);
        let settled: BTreeSet<String> = lines(&log).iter().map(|line| line["row"].to_string()).collect();
        let seen = counting.seen().len();
        in_flight = seen - settled.len();
        kills.push((settled, seen));
    }
    let told = ok(&line(&rows, &killed, &url));
    assert!(told.contains("kept"), "{told}");
    // The rows of the log by their prompts: a row is `id language turn`.
    let seen = counting.seen();
    assert_eq!(seen.len(), questions + in_flight);
    assert!(in_flight <= 3 * KILLS, "{in_flight}");
    let row = |prompt: &str| {
        let (text, to) = asked(prompt);
        let number: String = text.chars().filter(char::is_ascii_digit).collect();
        let (to, turn) = (if to == "Russian" { "ru" } else { "de" }, usize::from(!text.starts_with("Question")));
        format!("\"r{number} {to} {turn}\"")
    };
    for (settled, count) in &kills {
        for later in &seen[*count..] {
            assert!(!settled.contains(&row(&later.text())), "asked again: {}", later.text());
        }
    }
    // At least some of the kills were in the middle.
    assert!(kills.iter().filter(|(settled, _)| !settled.is_empty() && settled.len() < questions).count() >= 3);
    for name in ["translated.jsonl", "left_out.jsonl", "mixture.toml", "report.json"] {
        let of = |folder: &str| fs::read_to_string(Path::new(folder).join(name)).unwrap().replace(&url, "URL");
        assert_eq!(of(&killed), of(&whole).replace(&uninterrupted.url(), "URL"), "{name}");
    }
    // Once more: nothing is asked at all.
    ok(&line(&rows, &killed, &url));
    assert_eq!(counting.seen().len(), seen.len());
}

#[test]
fn what_is_left_out_says_why_and_checks_can_be_changed_without_asking() {
    let folder = tempfile::tempdir().unwrap();
    let rows = path(folder.path(), "rows.jsonl");
    killed_rows(Path::new(&rows));
    let server = Server::start(|prompt, _| script(prompt));
    let (out, url) = (path(folder.path(), "out"), server.url());
    let told = ok(&line(&rows, &out, &url));
    let report: Value =
        serde_json::from_str(&fs::read_to_string(Path::new(&out).join("report.json")).unwrap()).unwrap();
    let total = &report["total"];
    // Of 60 rows four are refused, four empty and four cut.
    assert_eq!(
        (total["kept"].as_u64(), total["rejected"].as_u64(), total["failed"].as_u64()),
        (Some(48), Some(8), Some(4)),
        "{report}"
    );
    assert_eq!((total["faults"]["empty"].as_u64(), total["faults"]["cut"].as_u64()), (Some(4), Some(4)));
    assert_eq!(total["failures"]["bad_request"].as_u64(), Some(4));
    assert!(told.contains("bad_request 4") && told.contains("cut 4, empty 4"), "{told}");
    let markdown = fs::read_to_string(Path::new(&out).join("report.md")).unwrap();
    assert!(markdown.contains("| all | 48 | 8 | 4 | 0 | 80.0 % |"), "{markdown}");
    let left_out = lines(&Path::new(&out).join("left_out.jsonl"));
    assert_eq!(left_out.len(), 12);
    let cut = left_out.iter().find(|record| record["reason"] == "cut").unwrap();
    assert_eq!((cut["outcome"].as_str(), cut["turn"].as_u64()), (Some("rejected"), Some(1)));
    assert!(cut["reply"].as_str().unwrap().contains(": 1"), "{cut}");
    // Both languages, drawn by the row.
    let made = read(&out);
    assert_eq!(made.len(), 48);
    let languages: BTreeMap<_, usize> = made.values().fold(BTreeMap::new(), |mut counts, sample| {
        *counts.entry(sample.language.unwrap()).or_default() += 1;
        counts
    });
    assert!(languages[&Language::DE] > 12 && languages[&Language::RU] > 12, "{languages:?}");
    let asked = server.seen().len();
    ok(&[&line(&rows, &out, &url)[..], &["--skip-checks", "cut"]].concat());
    assert_eq!((server.seen().len(), read(&out).len()), (asked, 52));
    // Provenance stands beside, and training does not read it.
    let record = &lines(&Path::new(&out).join("translated.jsonl"))[0];
    assert_eq!(record["source_language"], "en");
    assert_eq!(record["source_turns"][1]["from"], "assistant");
    assert_eq!(record["provenance"]["translator"], "tiny");
    assert!(ok(&["inspect", &path(Path::new(&out), "mixture.toml")]).contains("52"));
    // What a budget leaves is asked later.
    let (out, url) = (path(folder.path(), "budget"), server.url());
    let told = ok(&[&line(&rows, &out, &url)[..], &["--max-requests", "30"]].concat());
    assert!(told.contains("not asked") && server.seen().len() == asked + 30, "{told}");
    let told =
        ok(&[&line(&rows, &out, &url)[..], &["--dry-run", "20", "--price-in", "1", "--price-out", "2"]].concat());
    assert!(told.contains("20 questions") && told.contains("70 questions are left") && told.contains("cost"), "{told}");
    ok(&line(&rows, &out, &url));
    assert_eq!(server.seen().len(), asked + 2 * ROWS);
    // An endpoint that refuses: said with what to do, and nothing is lost.
    let refuses = Server::start(|_, _| send("401 Unauthorized", "who?"));
    let (said, result) = run(&line(&rows, &path(folder.path(), "refused"), &refuses.url()));
    let error = result.unwrap_err();
    assert!(error.contains("BURN_VLM_ENDPOINT_KEY") && error.contains("run the same command again"), "{said}{error}");
}

#[test]
fn captions_keep_their_pictures_and_get_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let source = path(folder.path(), "source");
    ok(&["export", "--out", &source, "--format", "json", "--tasks", "caption", "--limit", "9", "--languages", "en"]);
    let server =
        Server::start(|prompt, _| says(if prompt.contains("to German:\n") { "ein Bild" } else { "un dessin" }));
    let out = path(folder.path(), "out");
    let line = [
        "translate",
        &path(Path::new(&source), "mixture.toml"),
        "--out",
        &out,
        "--languages",
        "en,de,fr",
        "--draw",
        "all",
    ];
    ok(&[&line[..], &["--endpoint", &server.url(), "--endpoint-model", "tiny", "--skip-checks", "numbers"]].concat());
    let (sources, made) = (read(&source), read(&out));
    assert_eq!((sources.len(), made.len()), (9, 18));
    for (id, sample) in &sources {
        for (language, text) in [(Language::DE, "ein Bild"), (Language::FR, "un dessin")] {
            let other = &made[&format!("{id}.{language}")];
            assert_eq!(other.language, Some(language));
            assert_eq!(other.answer(), text);
            let bytes = |sample: &burn_vlm_data::sample::Sample| -> Vec<Vec<u8>> {
                sample.pictures().map(|picture| picture.read().unwrap().to_vec()).collect()
            };
            assert_eq!(bytes(other), bytes(sample));
            assert_eq!(other.turns.len(), sample.turns.len());
        }
    }
    // A caption alone: what its user asks is drawn from a list.
    let captions = path(folder.path(), "captions.jsonl");
    fs::write(&captions, json!({ "id": "a", "caption": "A red apple." }).to_string()).unwrap();
    let requests = path(folder.path(), "requests.toml");
    fs::write(&requests, "de = [\"Was sieht man?\"]").unwrap();
    let out = path(folder.path(), "captions");
    let line = [
        "translate",
        &captions,
        "--out",
        &out,
        "--languages",
        "de",
        "--endpoint-model",
        "tiny",
        "--requests",
        &requests,
    ];
    ok(&[&line[..], &["--endpoint", &server.url()]].concat());
    let made = read(&out);
    assert_eq!(made["a.de"].turns, [Turn::user("Was sieht man?"), Turn::assistant("ein Bild")]);
}

/// By the shipped language model, which translates nothing: what it writes is checked, kept in the log, and not written again.
#[test]
fn a_model_on_this_machine_answers_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let rows = path(folder.path(), "rows.jsonl");
    write_rows(Path::new(&rows), (0..5).map(|number| (format!("r{number}"), format!("A red apple {number}."))));
    let out = path(folder.path(), "out");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("parts/backbone").display().to_string();
    let line = [
        "translate",
        &rows,
        "--out",
        &out,
        "--languages",
        "de",
        "--model",
        &model,
        "--max-tokens",
        "6",
        "--device",
        "flex",
    ];
    ok(&line);
    let log = Path::new(&out).join("log.jsonl");
    let first = fs::read(&log).unwrap();
    let records = lines(&log);
    assert_eq!(records.len(), 10);
    assert!(records.iter().all(|record| record["spent"]["prompt_tokens"].as_u64() > Some(10)), "{records:?}");
    ok(&line);
    assert_eq!(fs::read(&log).unwrap(), first);
    // One at a time it says the same.
    let alone = path(folder.path(), "alone");
    let mut line = line.to_vec();
    line[3] = &alone;
    ok(&[&line[..], &["--at-once", "1"]].concat());
    let replies = |log: &Path| -> BTreeMap<String, Value> {
        lines(log).into_iter().map(|record| (record["row"].to_string(), record["body"].clone())).collect()
    };
    assert_eq!(replies(&Path::new(&alone).join("log.jsonl")), replies(&log));
}

/// A row goes into the language that its field names, with the fields that are to be kept.
#[test]
fn the_language_may_be_a_field_of_the_row() {
    let folder = tempfile::tempdir().unwrap();
    let rows = path(folder.path(), "rows.jsonl");
    let row = |id: &str, to: Value| {
        let turns = json!([{ "from": "human", "value": "What?" }, { "from": "gpt", "value": format!("Row 1{id}.") }]);
        json!({ "id": id, "conversations": turns, "to": to, "names": { "de": id } }).to_string()
    };
    let of = [
        ("1", json!("de")),
        ("2", json!("ru")),
        ("3", json!("de")),
        ("4", json!("en")),
        ("5", json!("klingon")),
        ("6", Value::Null),
    ];
    fs::write(&rows, of.map(|(id, to)| row(id, to)).join("\n")).unwrap();
    let server = Server::start(|prompt, _| {
        let (text, to) = asked(prompt);
        says(&translation(text, to))
    });
    let (out, url) = (path(folder.path(), "out"), server.url());
    let line = ["translate", &rows, "--out", &out, "--endpoint-model", "tiny", "--endpoint", &url];
    let text = ok(&[&line[..], &["--target-field", "to", "--keep", "names"]].concat());
    // Two turns of each of three rows.
    assert_eq!(server.seen().len(), 6);
    let made = lines(&Path::new(&out).join("translated.jsonl"));
    let found: Vec<(&str, &str, &str)> = made
        .iter()
        .map(|row| ["id", "language"].map(|name| row[name].as_str().unwrap()))
        .zip(&made)
        .map(|([id, language], row)| (id, language, row["names"]["de"].as_str().unwrap()))
        .collect();
    assert_eq!(found, [("1.de", "de", "1"), ("2.ru", "ru", "2"), ("3.de", "de", "3")]);
    let report: Value =
        serde_json::from_str(&fs::read_to_string(Path::new(&out).join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["counts"]["untouched"], &report["counts"]["unreadable"]), (&json!(1), &json!(2)), "{report}");
    assert!(text.contains("klingon") && text.contains("to is not there"), "{text}");
    for (more, word) in [
        (["--target-field", "two"], "none of the first 6 rows has `two` (--target-field)"),
        (["--keep", "provenance"], "translations have a field of their own"),
    ] {
        let error =
            run(&[&line[..], &more, if more[0] == "--keep" { &["--target-field", "to"] } else { &[] }].concat());
        assert!(error.1.as_ref().unwrap_err().contains(word), "{error:?}");
    }
    let mixture = path(folder.path(), "out/mixture.toml");
    let error = run(&[
        "translate",
        &mixture,
        "--out",
        &out,
        "--endpoint-model",
        "t",
        "--endpoint",
        &url,
        "--target-field",
        "to",
    ]);
    assert!(error.1.unwrap_err().contains("--target-field is for a single source"));
}

//! `data regenerate`: captions, questions and answers of pictures, each form with its parser, and where each comes from.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use burn_vlm_data::conversation::Role;
use serde_json::{Value, json};

use super::server::{Act, Seen, Server, ends, says, send};
use super::{ok, path, read};

/// One prompt of each form.
const PROMPTS: &str = r#"
[[prompt]]
name = "caption"
form = "caption"
user = "caption in {LANGUAGE}"

[[prompt]]
name = "json"
form = "qa_json"
system = "You write {LANGUAGE}."
user = "json in {LANGUAGE}, not {text}"

[[prompt]]
name = "lines"
form = "qa_lines"
user = "lines in {LANGUAGE}"

[[prompt]]
name = "final"
form = "final_answer"
user = "final in {LANGUAGE}: {question}"
"#;

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn script(text: &str) -> Act {
    let pairs =
        |question: &str, answer: &str| json!({ "pairs": [{ "question": question, "answer": answer }] }).to_string();
    match text.split(' ').next().unwrap_or_default() {
        "caption" => says("Un dessin."),
        // Valid JSON is whole, though white space filled the rest; what does not parse was cut.
        "json" if text.len().is_multiple_of(2) => ends(&(pairs("Quoi ?", "Un dessin.") + "   "), "length", "tiny"),
        "json" => ends("{\"pairs\": [{\"ques", "length", "tiny"),
        "lines" => says("Question: Quoi ?\nAnswer: Un dessin.\nQuestion: Où ?\nAnswer: Ici."),
        "final" if text.contains('?') => says("Je vois un dessin.\nFinal Answer: un dessin"),
        _ => send("400 Bad Request", "another prompt"),
    }
}

#[test]
fn every_form_becomes_a_conversation_with_its_origin() {
    let folder = tempfile::tempdir().unwrap();
    let source = path(folder.path(), "source");
    ok(&[
        "export",
        "--out",
        &source,
        "--format",
        "parquet",
        "--tasks",
        "caption",
        "--limit",
        "24",
        "--languages",
        "en",
    ]);
    let prompts = path(folder.path(), "prompts.toml");
    fs::write(&prompts, PROMPTS).unwrap();
    let server = Server::start(|text, _| script(text));
    let out = path(folder.path(), "out");
    let mixture = path(Path::new(&source), "mixture.toml");
    let url = server.url();
    let line = [
        "regenerate",
        &mixture,
        "--out",
        &out,
        "--languages",
        "fr",
        "--prompts",
        &prompts,
        "--schema",
        "--licence",
        "Apache-2.0",
    ];
    let line = [&line[..], &["--endpoint", &url, "--endpoint-model", "tiny", "--at-once", "1"]].concat();
    let told = ok(&line);
    let seen = server.seen();
    assert_eq!(seen.len(), 24);
    // Each prompt is drawn, shown with its picture, and asked in the language that was named.
    let kinds: BTreeSet<String> = seen.iter().map(|seen| seen.text().split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), ["caption", "final", "json", "lines"]);
    let url = |seen: &Seen| {
        let turns = seen.body["messages"].as_array().unwrap();
        turns.last().unwrap()["content"][0]["image_url"]["url"].as_str().unwrap().to_owned()
    };
    assert!(seen.iter().all(|seen| url(seen).starts_with("data:image/png;base64,") && seen.text().contains("French")));
    let of_json = seen.iter().find(|seen| seen.text().starts_with("json")).unwrap();
    assert_eq!(of_json.body["messages"][0], json!({ "role": "system", "content": "You write French." }));
    assert_eq!(of_json.body["response_format"]["type"], "json_schema");
    // The conversations.
    let made = read(&out);
    let sources = read(&source);
    for (id, sample) in &made {
        let (of, prompt) = id.rsplit_once('.').unwrap();
        assert_eq!(sample.language.unwrap().tag(), "fr");
        let pictures = |sample: &burn_vlm_data::sample::Sample| sample.pictures().next().unwrap().read().unwrap();
        assert_eq!(pictures(sample), pictures(&sources[of]));
        let turns: Vec<(Role, &str)> = sample.turns.iter().map(|turn| (turn.role, turn.text.as_str())).collect();
        let expected = match prompt {
            "caption" => vec![(Role::User, "<image>\nQu’est-ce que c’est ?"), (Role::Assistant, "Un dessin.")],
            "json" => vec![(Role::User, "<image>\nQuoi ?"), (Role::Assistant, "Un dessin.")],
            "lines" => vec![
                (Role::User, "<image>\nQuoi ?"),
                (Role::Assistant, "Un dessin."),
                (Role::User, "Où ?"),
                (Role::Assistant, "Ici."),
            ],
            _ => vec![(Role::User, sources[of].turns[0].text.as_str()), (Role::Assistant, "un dessin")],
        };
        assert_eq!(turns, expected, "{id}");
    }
    let records = lines(&Path::new(&out).join("regenerated.jsonl"));
    let origin = &records[0]["provenance"];
    assert_eq!(origin["picture_sha256"][0].as_str().map(str::len), Some(64));
    assert_eq!((origin["generator"].as_str(), origin["licence"].as_str()), (Some("tiny"), Some("Apache-2.0")));
    assert_eq!(origin["prompt_hash"].as_str().map(str::len), Some(16));
    // Questions in JSON that were cut are left out, and said.
    let left_out = lines(&Path::new(&out).join("left_out.jsonl"));
    assert_eq!(left_out.len() + made.len(), 24);
    assert!(left_out.iter().any(|record| record["reason"] == "cut"), "{told}");
    let mut again = Vec::new();
    for name in ["regenerated.jsonl", "left_out.jsonl"] {
        again.push(fs::read(Path::new(&out).join(name)).unwrap());
    }
    ok(&line);
    assert_eq!(server.seen().len(), 24);
    assert_eq!(fs::read(Path::new(&out).join("regenerated.jsonl")).unwrap(), again[0]);
    assert_eq!(fs::read(Path::new(&out).join("left_out.jsonl")).unwrap(), again[1]);
    // The program's own prompts are a file that reads back.
    let own = path(folder.path(), "own.toml");
    ok(&[&line[..], &["--write-prompts", &own]].concat());
    let mut line = line.clone();
    line[7] = &own;
    let told = ok(&[&line[..], &["--limit", "1"]].concat());
    assert!(told.contains("bad_request 1"), "{told}");
}

//! The log of what has become of each row: nothing is lost but a torn line, nothing is done twice, and a million rows open at once.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use burn_vlm_data::pipeline::{
    Answer, Answerer, End, Finish, Key, LogError, Outcome, Part, Question, Questions, Record, RecordLog, Reply, Run,
    RunOptions, Settings, Spent, Task,
};
use serde_json::{Value, json};

/// Rows of the large log.
const MANY: usize = 1_000_000;

fn key(number: usize) -> Key {
    Key::of(["row", &number.to_string()])
}

fn record(number: usize, outcome: Outcome) -> Record<Value> {
    let spent = Spent { requests: 1, prompt_tokens: 10, completion_tokens: number as u64 };
    Record {
        spent,
        ..Record::new(key(number), number.to_string(), outcome, json!({ "text": format!("§ {number}\n") }))
    }
}

fn filled(path: &Path, rows: usize) {
    let mut log = RecordLog::open(path).unwrap();
    for number in 0..rows {
        let record = match number % 3 {
            0 => record(number, Outcome::Kept),
            1 => record(number, Outcome::Rejected).because("empty", ""),
            _ => record(number, Outcome::Failed).because("timeout", "no answer in 3 s"),
        };
        log.append(&record).unwrap();
    }
    assert_eq!(log.len(), rows);
}

#[test]
fn records_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/a.log.jsonl");
    filled(&path, 7);
    let mut log = RecordLog::open(&path).unwrap();
    assert_eq!((log.len(), log.spent().requests, log.spent().tokens()), (7, 7, 70 + 21));
    let outcomes: Vec<_> = (0..8).map(|number| log.outcome(key(number)).map(Outcome::as_str)).collect();
    let expected = ["kept", "rejected", "failed", "kept", "rejected", "failed", "kept"].map(Some);
    assert_eq!(outcomes, [&expected[..], &[None]].concat());
    assert_eq!(
        log.get::<Value>(key(2)).unwrap().unwrap(),
        record(2, Outcome::Failed).because("timeout", "no answer in 3 s")
    );
    assert_eq!(log.get::<Value>(key(9)).unwrap(), None);
    // A record that has just been written, and one that stands for an earlier one.
    log.append(&record(8, Outcome::Kept)).unwrap();
    log.append(&record(2, Outcome::Kept)).unwrap();
    assert_eq!(log.get::<Value>(key(8)).unwrap().unwrap(), record(8, Outcome::Kept));
    drop(log);
    let mut log = RecordLog::open(&path).unwrap();
    assert_eq!((log.len(), log.outcome(key(2)), log.spent().requests), (8, Some(Outcome::Kept), 9));
    let error = log.get::<String>(key(8)).unwrap_err().to_string();
    assert!(error.contains("a.log.jsonl") && error.contains(&key(8).to_string()), "{error}");
}

/// Cut at every byte: whole lines are there, the torn one is not, and what is appended then is read.
#[test]
fn a_kill_at_any_byte_costs_the_torn_line_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    filled(&path, 3);
    let whole = fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let lines = whole[..length].iter().filter(|byte| **byte == b'\n').count();
        let mut log = RecordLog::open(&path).unwrap();
        assert_eq!(log.len(), lines, "{length}");
        assert!((0..3).all(|number| log.outcome(key(number)).is_some() == (number < lines)));
        log.append(&record(5, Outcome::Kept)).unwrap();
        drop(log);
        let mut log = RecordLog::open(&path).unwrap();
        assert_eq!(log.len(), lines + 1, "{length}");
        assert_eq!(log.get::<Value>(key(5)).unwrap().unwrap(), record(5, Outcome::Kept));
    }
}

#[test]
fn damage_in_the_middle_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    filled(&path, 3);
    let whole = fs::read_to_string(&path).unwrap();
    for (from, to, word) in [
        ("\"outcome\":\"rejected\"", "\"outcome\":\"lost\"", "kept"),
        (&key(1).to_string()[..], "abc", "32 hexadecimal digits"),
        ("\"key\"", "key", "line"),
    ] {
        let at = whole.find('\n').unwrap();
        fs::write(&path, whole[..at].to_owned() + &whole[at..].replacen(from, to, 1)).unwrap();
        let error = RecordLog::open(&path).unwrap_err().to_string();
        assert!(error.contains("log.jsonl, line 2") && error.contains(word), "{error}");
    }
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    let log = RecordLog::open(&path).unwrap();
    let error = RecordLog::open(&path).unwrap_err();
    assert!(matches!(error, LogError::Busy { .. }) && error.to_string().contains("wait for it"), "{error}");
    drop(log);
    assert!(RecordLog::open(&path).unwrap().is_empty());
}

#[test]
fn parts_do_not_run_together() {
    let keys = [Key::of(["ab", "c"]), Key::of(["a", "bc"]), Key::of(["abc"]), Key::of(["ab", "c", ""])];
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
    assert_eq!(Key::of(["ab", "c"]), Key::of([b"ab".to_vec(), b"c".to_vec()]));
}

/// What was asked with an earlier version is found by the same key.
#[test]
fn keys_stay_what_they_were() {
    let picture = bytes::Bytes::from_static(b"picture");
    let parts = vec![Part::Picture(picture.clone()), Part::Text("What \"is\" this?\n".to_owned())];
    let mut question = Question::user("", Settings::greedy(7));
    question.messages[0].parts = parts;
    let shown = burn_vlm_data::sample::MediaKey::of(&picture).to_string();
    let messages = json!([["user", [{ "picture": shown }, { "text": "What \"is\" this?\n" }]]]);
    let parts = ["row".to_owned(), messages.to_string(), "model".to_owned(), json!(question.settings).to_string()];
    assert_eq!(question.key("row", "model"), Key::of(parts));
}

/// What the log of a large run takes; by hand, for it writes half a gigabyte:
/// `cargo test --release --workspace --test record_log -- --ignored --nocapture`
#[test]
#[ignore = "writes half a gigabyte"]
fn a_million_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    let text = "A sentence that stands for a translated caption of two hundred letters. ".repeat(5);
    let mut file = std::io::BufWriter::new(fs::File::create(&path).unwrap());
    for number in 0..MANY {
        serde_json::to_writer(&mut file, &Record { body: json!({ "text": text }), ..record(number, Outcome::Kept) })
            .unwrap();
        file.write_all(b"\n").unwrap();
    }
    file.into_inner().unwrap();
    let bytes = fs::metadata(&path).unwrap().len();
    let before = resident();
    let begin = Instant::now();
    let mut log = RecordLog::open(&path).unwrap();
    let opened = begin.elapsed();
    let grown = resident().saturating_sub(before);
    assert_eq!(log.len(), MANY);
    let begin = Instant::now();
    for number in (0..MANY).step_by(10) {
        assert!(log.get::<Value>(key(number)).unwrap().is_some());
    }
    let read = begin.elapsed();
    println!("{MANY} rows, {bytes} bytes: opened in {opened:.2?}, {grown} KiB; every tenth read in {read:.2?}");
    assert!(grown < 500 << 10);
}

/// Answers at once.
struct Stub;

impl Answerer for Stub {
    fn answer(&self, questions: &dyn Questions) -> Result<(), String> {
        while let Some(task) = questions.next() {
            let Part::Text(prompt) = &task.question.messages[0].parts[0] else { return Err("no text".into()) };
            let reply = Reply { text: prompt.to_uppercase(), finish: Finish::Stop, model: None, full: false };
            let spent = Spent { requests: u64::from(questions.may_ask()), prompt_tokens: 50, completion_tokens: 50 };
            questions.answered(task, Answer::Reply(reply), spent);
        }
        Ok(())
    }
}

/// A whole run over a million questions, and one that finds all of them answered; by hand, as above.
#[test]
#[ignore = "writes half a gigabyte"]
fn a_million_questions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    let text = "A caption of two hundred letters that stands for any other. ".repeat(3);
    let before = resident();
    for name in ["first", "again"] {
        let begin = Instant::now();
        let mut log = RecordLog::open(&path).unwrap();
        let opened = begin.elapsed();
        let tasks = (0..MANY).map(|number| {
            let question = Question::user(format!("{number} {text}"), Settings::greedy(100));
            let row = format!("row {number}");
            Task { key: question.key(&row, "stub"), row, question, note: Value::Null }
        });
        let run = Run::new(&mut log, tasks, &|_, _| Ok(()), &|_| {}, RunOptions::default());
        let (progress, end) = run.ask(&Stub).unwrap();
        let grown = resident().saturating_sub(before);
        println!("{name}: opened in {opened:.2?}, run in {:.2?}, {grown} KiB: {progress:?}", begin.elapsed());
        let asked = if name == "first" { MANY as u64 } else { 0 };
        assert_eq!((end, progress.kept, progress.done()), (End::Done, asked, MANY as u64));
        assert!(grown < 500 << 10);
    }
}

/// KiB of this process, where the system tells.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

//! What people decide: the rule, what counts, and the file that it is kept in.

use burn_vlm_data::language::Language;

use burn_vlm_eval::build::calibrate::decide::{By, Comment};
use burn_vlm_eval::build::calibrate::record::{Event, RecordError, RecordFile};
use burn_vlm_eval::build::calibrate::task::{TaskText, Texts};
use burn_vlm_eval::build::calibrate::{Record, Records, Task, TaskItem, decide};

fn task() -> Task {
    let text = |field: &str, machine: &str| TaskText {
        name: field.into(),
        field: field.into(),
        source: "s".into(),
        machine: machine.into(),
        back: None,
        as_it_is: false,
    };
    let item = TaskItem {
        id: "p/1".into(),
        texts: vec![text("question", "m"), text("A", "a")],
        answer: "A".into(),
        picture: None,
        problems: Vec::new(),
        flags: Vec::new(),
    };
    let (name, pictures) = ("t".to_owned(), Vec::new());
    Task { name, language: Language::DE, source_language: Language::EN, items: vec![item], pictures }
}

fn texts(question: &str) -> Texts {
    Texts::from([("question".to_owned(), question.to_owned()), ("A".to_owned(), "a".to_owned())])
}

/// Records in this order: `ana>x` refines, `ana=x` votes, `ana:x` comments.
fn records(lines: &[&str]) -> Records {
    let mut all = Records::default();
    for (time, line) in (1..).zip(lines) {
        let at = line.find(['>', '=', ':']).unwrap();
        let (annotator, text) = (line[..at].to_owned(), line[at + 1..].to_owned());
        let event = match &line[at..=at] {
            ">" => Event::Refine { texts: texts(&text) },
            "=" => Event::Vote { texts: texts(&text) },
            _ => Event::Comment { text },
        };
        let record = Record { id: time.to_string(), time, annotator, language: "de".into(), item: "p/1".into(), event };
        record.check(&task()).unwrap();
        all.insert(record);
    }
    all
}

fn decided(lines: &[&str]) -> (String, By, bool) {
    let decision = decide(&task(), &records(lines)).remove(0);
    let version = decision.version().unwrap().clone();
    (version.texts["question"].clone(), decision.by, decision.machine)
}

#[test]
fn the_rule() {
    let of = |text: &str, by, machine| (text.to_owned(), by, machine);
    assert_eq!(decided(&[]), of("m", By::Only, true));
    assert_eq!(decided(&["ana>x"]), of("x", By::NoVotes, false));
    assert_eq!(decided(&["ana>x", "ben>y", "cem>z", "dan=y"]), of("y", By::Votes, false));
    // The machine's is no version any more when three have written theirs, but for who left it.
    assert_eq!(decided(&["ana>x", "ben>y", "cem>z", "dan=m"]), of("x", By::NoVotes, false));
    assert_eq!(decided(&["ana>x", "ben>m", "cem>z", "dan=m"]), of("m", By::Votes, true));
    // Ties: more writers, the machine's, the first.
    assert_eq!(decided(&["ana>x", "ben>y", "cem>y", "dan=x", "eva=y"]), of("y", By::Tie, false));
    assert_eq!(decided(&["ana>x", "ben>m", "cem>z", "dan=x", "eva=m"]), of("m", By::Tie, true));
    assert_eq!(decided(&["ana>x", "ben>y", "cem>z", "dan=y", "eva=x"]), of("x", By::Tie, false));
    // The last vote of a person counts, and the last text.
    assert_eq!(decided(&["ana>x", "ben>y", "cem>z", "dan=y", "dan=z"]), of("z", By::Votes, false));
    assert_eq!(decided(&["ana>x", "dan=x", "ana>y"]), of("y", By::NoVotes, false));
    // Back to the first one.
    assert_eq!(decided(&["ana>x", "ana>y", "ana>x", "dan=x"]), of("x", By::Votes, false));
}

#[test]
fn votes_that_do_not_count_are_named() {
    let decision = decide(&task(), &records(&["ana>x", "ben>y", "ana=x", "dan=gone", "eva=y", "eva:good"])).remove(0);
    assert_eq!((decision.own_votes, decision.stale_votes), (vec!["ana".to_owned()], vec!["dan".to_owned()]));
    assert_eq!(decision.comments, [Comment { annotator: "eva".into(), text: "good".into() }]);
    assert_eq!(decision.versions[decision.taken].votes, ["eva"]);
}

#[test]
fn records_are_checked() {
    let good = || records(&["ana>x"]).iter().next().unwrap().clone();
    let wrong = |change: &dyn Fn(&mut Record)| {
        let mut record = good();
        change(&mut record);
        record.check(&task()).unwrap_err()
    };
    for (error, words) in [
        (wrong(&|record| record.annotator = "Machine".into()), "take another"),
        (wrong(&|record| record.annotator = " ".into()), "a name of"),
        (wrong(&|record| record.language = "fr".into()), "this is \"de\""),
        (wrong(&|record| record.item = "p/2".into()), "no item"),
        (wrong(&|record| record.event = Event::Refine { texts: texts(" ") }), "\"question\" is missing or blank"),
        (wrong(&|record| record.event = Event::Vote { texts: Texts::new() }), "missing or blank"),
        (wrong(&|record| record.event = Event::Comment { text: String::new() }), "comment"),
    ] {
        assert!(error.contains(words), "{error}");
    }
    let mut more = texts("x");
    more.insert("B".into(), "b".into());
    assert!(wrong(&|record| record.event = Event::Refine { texts: more.clone() }).contains("no text \"B\""));
    // The same twice counts once.
    let mut all = records(&["ana>x"]);
    assert!(!all.insert(good()));
}

#[test]
fn a_file_is_gone_on_with_after_a_torn_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log/records.jsonl");
    let (mut file, _) = RecordFile::open(&path, &task()).unwrap();
    assert!(matches!(RecordFile::open(&path, &task()), Err(RecordError::Taken { .. })));
    records(&["ana>x", "ben>y"]).iter().for_each(|record| file.append(record).unwrap());
    drop(file);
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    let (mut file, found) = RecordFile::open(&path, &task()).unwrap();
    assert_eq!((found.iter().count(), found.torn.len()), (1, 1));
    // What was cut off is sent again by who was not told that it is kept.
    file.append(records(&["ana>x", "ben>y"]).iter().last().unwrap()).unwrap();
    drop(file);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
    std::fs::write(&path, whole.replacen('{', "", 1)).unwrap();
    let error = RecordFile::open(&path, &task()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("expected a record"), "{error}");
}

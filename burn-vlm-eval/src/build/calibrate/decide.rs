//! Which version of an item is taken.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::record::{Event, MACHINE, Record, Records};
use super::task::{Task, TaskItem, Texts};

/// Versions that are voted on: so many people refine an item; while they are fewer, the machine's is one of them.
pub const VERSIONS: usize = 3;

/// How a version is chosen, for people.
pub const RULE: &str = "The version with most votes is taken. Votes of people who refined the item do not count, nor votes for a text that \
     nobody stands for any more. Of equals, the version that more people wrote is taken, who left the machine's text as it is included; \
     then the machine's; then the one that was written first.";

/// A version of an item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Version {
    /// Who wrote it, the first first.
    pub by: Vec<String>,
    /// The texts.
    pub texts: Texts,
    /// Who voted for it.
    pub votes: Vec<String>,
    /// When it was first written; 0 of the machine's.
    pub since: u64,
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// More votes than any other.
    Votes,
    /// The rest of the rule, among equals.
    Tie,
    /// There is but one version.
    Only,
    /// Nobody voted; the rest of the rule.
    NoVotes,
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comment {
    /// Who.
    pub annotator: String,
    /// What.
    pub text: String,
}

/// What was decided of an item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// The item.
    pub id: String,
    /// The language.
    pub language: String,
    /// What decided.
    pub by: By,
    /// The place of the version that is taken.
    pub taken: usize,
    /// It reads as the machine's does.
    pub machine: bool,
    /// The versions.
    pub versions: Vec<Version>,
    /// Votes that do not count: of people who refined the item.
    pub own_votes: Vec<String>,
    /// Votes that do not count: for a text that nobody stands for any more.
    pub stale_votes: Vec<String>,
    /// Comments, by time.
    pub comments: Vec<Comment>,
}

impl Decision {
    /// The version that is taken.
    pub fn version(&self) -> Option<&Version> {
        self.versions.get(self.taken)
    }
}

/// Decides every item of a task.
pub fn decide(task: &Task, records: &Records) -> Vec<Decision> {
    let mut by_item: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records.iter() {
        by_item.entry(&record.item).or_default().push(record);
    }
    let nothing = Vec::new();
    task.items.iter().map(|item| of_item(task, item, by_item.get(item.id.as_str()).unwrap_or(&nothing))).collect()
}

fn of_item(task: &Task, item: &TaskItem, records: &[&Record]) -> Decision {
    let machine = item.machine();
    // The last of each person counts; the first time of a text is its age.
    let mut refined: BTreeMap<&str, &Texts> = BTreeMap::new();
    let mut votes: BTreeMap<&str, &Texts> = BTreeMap::new();
    let mut comments = Vec::new();
    for record in records {
        match &record.event {
            Event::Refine { texts } => drop(refined.insert(&record.annotator, texts)),
            Event::Vote { texts } => drop(votes.insert(&record.annotator, texts)),
            Event::Comment { text } => {
                comments.push(Comment { annotator: record.annotator.clone(), text: text.clone() })
            }
        }
    }
    let mut versions: Vec<Version> = Vec::new();
    for record in records {
        let Event::Refine { texts } = &record.event else { continue };
        if refined.get(record.annotator.as_str()) != Some(&texts) {
            continue;
        }
        match versions.iter_mut().find(|version| version.texts == *texts) {
            Some(version) if version.by.contains(&record.annotator) => {}
            Some(version) => version.by.push(record.annotator.clone()),
            None => versions.push(Version {
                by: vec![record.annotator.clone()],
                texts: texts.clone(),
                votes: Vec::new(),
                since: record.time,
            }),
        }
    }
    if refined.len() < VERSIONS && !versions.iter().any(|version| version.texts == machine) {
        versions
            .insert(0, Version { by: vec![MACHINE.to_owned()], texts: machine.clone(), votes: Vec::new(), since: 0 });
    }
    let (mut own_votes, mut stale_votes) = (Vec::new(), Vec::new());
    for (voter, texts) in votes {
        match versions.iter_mut().find(|version| version.texts == *texts) {
            _ if refined.contains_key(voter) => own_votes.push(voter.to_owned()),
            Some(version) => version.votes.push(voter.to_owned()),
            None => stale_votes.push(voter.to_owned()),
        }
    }
    let writers = |version: &Version| version.by.iter().filter(|name| *name != MACHINE).collect::<BTreeSet<_>>().len();
    let rank = |version: &Version| {
        let is_machines = version.texts == machine;
        (version.votes.len(), writers(version), is_machines, std::cmp::Reverse(version.since))
    };
    let taken = (0..versions.len()).max_by_key(|at| (versions.get(*at).map(rank), std::cmp::Reverse(*at))).unwrap_or(0);
    let most = versions.get(taken).map_or(0, |version| version.votes.len());
    let by = match versions.iter().filter(|version| version.votes.len() == most).count() {
        _ if versions.len() == 1 => By::Only,
        _ if most == 0 => By::NoVotes,
        1 => By::Votes,
        _ => By::Tie,
    };
    let is_machines = versions.get(taken).is_none_or(|version| version.texts == machine);
    Decision {
        id: item.id.clone(),
        language: task.language.tag().to_owned(),
        by,
        taken,
        machine: is_machines,
        versions,
        own_votes,
        stale_votes,
        comments,
    }
}

#[cfg(test)]
mod tests {
    use burn_vlm_data::language::Language;

    use super::super::task::TaskText;
    use super::*;

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
            let record =
                Record { id: time.to_string(), time, annotator, language: "de".into(), item: "p/1".into(), event };
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
        let decision =
            decide(&task(), &records(&["ana>x", "ben>y", "ana=x", "dan=gone", "eva=y", "eva:good"])).remove(0);
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
        use super::super::record::{RecordError, RecordFile};
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
}

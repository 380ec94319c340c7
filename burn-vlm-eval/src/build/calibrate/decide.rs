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

//! `replies.jsonl`: every reply as it comes, so that a run that is killed goes on at the question where it stopped.
//!
//! A reply is kept under a hash of all that was asked (turns, pictures, what is wanted). So the same question in two benchmarks, or under
//! two rule sets with the same prompt, is asked once; and a question that was changed is asked again.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn_vlm_base::files::FileError;
use burn_vlm_base::jsonl::JsonlWriter;
use burn_vlm_data::video::VideoRecord;
use burn_vlm_eval::ask::{Ask, Reply};
use serde::{Deserialize, Serialize};

use super::Question;
use super::rows::shown;
use crate::error::{Result, TrainError};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// [`question_key`].
    question: String,
    /// What messages call the question.
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// As text: JSON numbers are read back with another last digit, and the same replies would give other predictions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scores: Option<Vec<String>>,
    /// Which frames of its video files were shown, by which rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    videos: Vec<ShownVideo>,
}

/// A video file of a question, and which of its frames were shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownVideo {
    /// What the data calls it.
    pub name: String,
    /// The rule, the frames' numbers and times, and what the file is.
    #[serde(flatten)]
    pub record: VideoRecord,
}

impl Line {
    fn new(question: &str, id: &str, reply: &Reply, videos: Vec<ShownVideo>) -> Self {
        let (text, scores) = match reply {
            Reply::Text(text) => (Some(text.clone()), None),
            Reply::Scores(scores) => (None, Some(scores.iter().map(f64::to_string).collect())),
        };
        Self { question: question.to_owned(), id: id.to_owned(), text, scores, videos }
    }

    fn reply(self) -> Result<(String, Reply), String> {
        let scores = |scores: Vec<String>| -> Result<Vec<f64>, String> {
            let number = |text: String| text.parse().map_err(|_| format!("{text:?} is no number"));
            scores.into_iter().map(number).collect()
        };
        let reply = match (self.text, self.scores) {
            (Some(text), None) => Reply::Text(text),
            (None, Some(texts)) => Reply::Scores(scores(texts)?),
            _ => return Err("expected either `text` or `scores`".to_owned()),
        };
        Ok((self.question, reply))
    }
}

/// The replies that are there, and the file that they are added to.
#[derive(Debug)]
pub struct ReplyLog {
    known: HashMap<String, Reply>,
    /// Videos that were shown although their files are cut off or damaged, by their names, with what is wrong.
    damaged: BTreeMap<String, String>,
    writer: Option<JsonlWriter>,
}

impl ReplyLog {
    /// Keeps replies in memory only.
    pub fn in_memory() -> Self {
        Self { known: HashMap::new(), damaged: BTreeMap::new(), writer: None }
    }

    /// Reads what is there and appends to it; a line that was cut off by a kill is dropped.
    ///
    /// # Errors
    /// Names the file, and the line that is no reply.
    pub fn open(path: &Path) -> Result<Self> {
        let writer = JsonlWriter::resume(path, |_: &Line| true)?;
        let mut log = Self { known: HashMap::new(), damaged: BTreeMap::new(), writer: Some(writer) };
        log.merge(path)?;
        Ok(log)
    }

    /// Takes over the replies of another file, which may be written at this moment: a last line without its end is not there yet.
    ///
    /// # Errors
    /// Names the file, and the line that is no reply.
    pub fn merge(&mut self, path: &Path) -> Result<usize> {
        let text = std::fs::read_to_string(path).map_err(FileError::io("read", path))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut count = 0;
        for (number, line) in whole.lines().enumerate() {
            let wrong =
                |why: String| TrainError::Data(format!("{}, line {}: no reply: {why}", path.display(), number + 1));
            let line = serde_json::from_str::<Line>(line).map_err(|error| wrong(error.to_string()))?;
            self.note_damage(&line.videos);
            let (question, reply) = line.reply().map_err(wrong)?;
            self.known.insert(question, reply);
            count += 1;
        }
        Ok(count)
    }

    fn note_damage(&mut self, videos: &[ShownVideo]) {
        for ShownVideo { name, record } in videos {
            if let Some(damage) = &record.damage {
                self.damaged.entry(name.clone()).or_insert_with(|| damage.clone());
            }
        }
    }

    /// Videos that replies are about although their files are cut off or damaged, by their names, with what is wrong.
    pub fn damaged(&self) -> &BTreeMap<String, String> {
        &self.damaged
    }

    /// The reply to a question.
    pub fn get(&self, key: &str) -> Option<&Reply> {
        self.known.get(key)
    }

    /// Number of replies.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Adds a reply; it is in the file when this returns.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn add(&mut self, key: &str, id: &str, reply: Reply) -> Result<()> {
        self.add_with(key, id, reply, Vec::new())
    }

    /// As [`Self::add`], with what was shown of the question's videos.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_with(&mut self, key: &str, id: &str, reply: Reply, videos: Vec<ShownVideo>) -> Result<()> {
        self.note_damage(&videos);
        if let Some(writer) = &mut self.writer {
            writer.append(&Line::new(key, id, &reply, videos))?;
        }
        self.known.insert(key.to_owned(), reply);
        Ok(())
    }
}

/// Hash of all that a reply depends on but the model: turns, pictures, what is wanted.
///
/// # Errors
/// A picture that cannot be read.
pub fn question_key(benchmark: &str, question: &Question) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    question.turns.iter().for_each(|turn| [turn.role.as_str(), &turn.text].into_iter().for_each(&mut text));
    let kind = match &question.ask {
        Ask::Likelihood { answers } | Ask::FirstToken { answers } => {
            answers.iter().for_each(|answer| text(answer));
            if matches!(question.ask, Ask::Likelihood { .. }) { "likelihood" } else { "first token" }
        }
        Ask::Conversation { turns, answer } => {
            turns.iter().chain([answer]).for_each(|said| text(said));
            "conversation"
        }
        Ask::Generate { max_new_tokens } => {
            text(&max_new_tokens.to_string());
            "generate"
        }
    };
    text(kind);
    for shown in shown(benchmark, question)? {
        text(&format!("{:x?}", shown.key.0));
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn question(text: &str, ask: Ask) -> Question {
        Question::new("q", text, Vec::new(), ask)
    }

    #[test]
    fn replies_outlive_a_kill() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("replies.jsonl");
        let generate = |tokens| Ask::Generate { max_new_tokens: tokens };
        let key = |question: &Question| question_key("b", question).unwrap();
        let (first, second) = (question("one?", generate(4)), question("two?", generate(4)));
        let mut log = ReplyLog::open(&path).unwrap();
        log.add(&key(&first), "1", Reply::Text("A".into())).unwrap();
        let scores = Reply::Scores(vec![-1.7605719566345217, 0.0, -2.5e-9]);
        log.add(&key(&second), "2", scores.clone()).unwrap();
        drop(log);
        // A line that is cut off is no reply.
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"question\": \"x").unwrap();
        let log = ReplyLog::open(&path).unwrap();
        assert_eq!(log.len(), 2);
        assert_eq!(log.get(&key(&first)), Some(&Reply::Text("A".into())));
        assert_eq!(log.get(&key(&second)), Some(&scores), "to the last digit");
        // Whatever changes the question changes its key.
        assert_eq!(log.get(&key(&question("one?", generate(5)))), None);
        assert_eq!(log.get(&key(&question("one? ", generate(4)))), None);
        let letters = |ask: fn(Vec<String>) -> Ask| key(&question("one?", ask(vec!["A".into(), "B".into()])));
        assert_ne!(letters(|answers| Ask::Likelihood { answers }), letters(|answers| Ask::FirstToken { answers }));
    }
}

//! A benchmark that is translated: its items, the texts of each, and what belongs together.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use burn_vlm_base::suggest::hint;
use burn_vlm_data::language::Language;

use super::write::{ending, stem};
use crate::benchmarks;
use crate::circular::base_and_turn;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::published::{Item, Published};
use crate::rules::Rules;
use crate::strict::Kind;

/// Benchmarks that can be translated: questions with options, and those for yes or no.
const KINDS: [(&str, Kind); 8] = [
    ("mmbench", Kind::Circular),
    ("scienceqa", Kind::Choice),
    ("ai2d", Kind::Choice),
    ("mmstar", Kind::Choice),
    ("seedbench", Kind::Choice),
    ("mmmb", Kind::Choice),
    ("mme", Kind::Pairs),
    ("pope", Kind::Binary),
];
/// What a table of one's own is read as: MMMB's files have no form beyond VLMEvalKit's.
const OWN_TABLE: (&str, &str) = ("choice", "mmmb");
/// Ends of questions for yes or no that ask for the word, which is asked for in the language's own words afterwards.
const REQUESTS: [&str; 3] = [" Please answer yes or no.", " Yes or No", " Answer in one sentence."];
/// The column with a picture's name in MME's and POPE's files.
const PICTURE: &str = "question_id";
/// The names of texts.
pub const QUESTION: &str = "question";
/// See [`QUESTION`].
pub const HINT: &str = "hint";

/// The names of kinds that can be translated; `choice` is a table of one's own.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(name, _)| *name).chain([OWN_TABLE.0])
}

/// A benchmark in the language that it is translated from.
pub struct SourceBenchmark {
    /// Reads and scores it.
    pub published: &'static dyn Published,
    /// What counts together.
    pub kind: Kind,
    /// Its language.
    pub language: Language,
    /// In the files' order, read by burn-vlm's rules: as written. Their parts are called after their files with the language's end.
    pub items: Vec<Item>,
    /// What a reader must know of its files.
    pub notes: Vec<String>,
}

/// A text of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// `question`, `hint`, or the letter of an option.
    pub field: String,
    /// As the source has it; a question for yes or no without its request.
    pub text: String,
}

impl SourceBenchmark {
    /// Reads the files of a kind, which are in one language.
    ///
    /// # Errors
    /// A kind that nobody knows, files that are not the benchmark's.
    pub fn read(kind: &str, file: &FileRecipe, base: &Path) -> Result<Self, BenchmarkError> {
        let name = if kind == OWN_TABLE.0 { OWN_TABLE.1 } else { kind };
        let found = KINDS.iter().find(|(known, _)| *known == name).copied();
        let (published, kind) =
            found.and_then(|(name, kind)| Some((benchmarks::find(name)?, kind))).ok_or_else(|| {
                BenchmarkError::UnknownKind {
                    name: file.name.clone(),
                    kind: kind.to_owned(),
                    hint: hint(kind, kinds()),
                }
            })?;
        let language = file.language.unwrap_or(Language::EN);
        let file = FileRecipe { language: Some(language), ..file.clone() };
        let mut read = published.read(&file, base, Rules::BurnVlm)?;
        for item in &mut read.items {
            if kind == Kind::Pairs {
                name_picture(item);
            }
            // Ids are those of the files that are written, whatever the source's is called.
            item.part = format!("{}_{}", stem(&item.part, Some(language)), ending(language));
            item.id = format!("{}/{}", item.part, item.index);
        }
        Ok(Self { published, kind, language, items: read.items, notes: read.notes })
    }

    /// Whether what is asked for is yes or no.
    pub fn is_yes_no(&self) -> bool {
        matches!(self.kind, Kind::Binary | Kind::Pairs)
    }

    /// Columns that would be read as something else in a table: POPE's number of a question within its file.
    pub fn not_written(&self) -> &'static [&'static str] {
        if self.kind == Kind::Binary { &[PICTURE] } else { &[] }
    }

    /// What stays or goes together, as numbers of items in their order: the rotations of a question, the questions about a picture where
    /// that balances yes and no, else each item by itself.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (at, item) in self.items.iter().enumerate() {
            let place = *places.entry((item.part.clone(), group_key(self.kind, item))).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Vec::new());
            }
            groups[place].push(at);
        }
        groups
    }

    /// The texts of an item that a translation has to have, and those that stay as they are (false): numbers, signs, single letters.
    pub fn texts(&self, item: &Item) -> Vec<(Text, bool)> {
        let text = |field: &str, text: &str| {
            (Text { field: field.to_owned(), text: text.to_owned() }, needs_translation(text))
        };
        let mut texts = vec![text(QUESTION, self.question(item).0)];
        if let Some(hint) = item.cell(HINT).filter(|hint| !hint.trim().is_empty()) {
            texts.push(text(HINT, &hint));
        }
        texts.extend(item.options.iter().map(|(letter, option)| text(letter.encode_utf8(&mut [0; 4]), option)));
        texts
    }

    /// The question, and the request behind it, which is empty where there is none.
    pub fn question<'i>(&self, item: &'i Item) -> (&'i str, &'i str) {
        let question = item.question.as_str();
        let cut = REQUESTS.iter().find_map(|request| question.strip_suffix(request)).filter(|_| self.is_yes_no());
        cut.map_or((question, ""), |cut| (cut, &question[cut.len()..]))
    }

    /// The texts that somebody has to translate, each once: of a question with rotations those of the first row that has them.
    pub fn to_translate(&self) -> Vec<(&Item, Text)> {
        let mut wanted = Vec::new();
        for group in self.groups() {
            let mut seen: HashSet<(bool, String)> = HashSet::new();
            for at in self.base_first(&group) {
                let Some(item) = self.items.get(at) else { continue };
                for (text, needed) in self.texts(item) {
                    // An option may read as a question does, and be translated otherwise.
                    let is_option = text.field.len() == 1;
                    if needed && (self.kind != Kind::Circular || seen.insert((is_option, text.text.clone()))) {
                        wanted.push((item, text));
                    }
                }
            }
        }
        wanted
    }

    /// The items of a group, those that are not rotated first.
    pub(super) fn base_first(&self, group: &[usize]) -> Vec<usize> {
        let mut group = group.to_vec();
        if self.kind == Kind::Circular {
            group.sort_by_key(|at| self.items.get(*at).map_or(0, |item| base_and_turn(item).1));
        }
        group
    }
}

/// MME's release tells pictures apart by their folders; a table does by a column.
fn name_picture(item: &mut Item) {
    let is_of_folder = item.index.strip_prefix(&item.group).is_some_and(|rest| rest.starts_with('#'));
    if is_of_folder && !item.cells.contains_key(PICTURE) {
        item.cells.insert(PICTURE.to_owned(), item.group.clone().into());
    }
}

/// What the group of an item is called within its part.
pub(super) fn group_key(kind: Kind, item: &Item) -> String {
    match kind {
        Kind::Circular => base_and_turn(item).0,
        Kind::Pairs => item.group.clone(),
        // As many are right with yes as with no about each picture, for each way of choosing what is not there.
        Kind::Binary => format!("{}/{}", item.cell("category").unwrap_or_default(), item.group),
        _ => item.index.clone(),
    }
}

/// Two letters stand together, or there is a character of a script that writes words with one.
fn needs_translation(text: &str) -> bool {
    let mut before = false;
    text.chars().any(|c| {
        let is_letter = c.is_alphabetic();
        let is_word = is_letter
            && (before || matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'));
        before = is_letter;
        is_word
    })
}

//! Editions as files: VLMEvalKit's table, with each picture once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_vlm_base::files::{FileError, write_atomic_at};
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::{Media, Picture, Video};
use burn_vlm_data::source::SkipReason;
use bytes::Bytes;

use super::edition::{LANGUAGE, TEXT_LANGUAGE};
use crate::published::Item;
use crate::strict::{ANSWER_INSTRUCTION, NO_WORDS, YES_WORDS};

/// Columns that come behind a question in this order; those that the source has beside them stand between, by name.
const FIRST: [&str; 1] = ["hint"];
const LAST: [&str; 5] = [LANGUAGE, TEXT_LANGUAGE, ANSWER_INSTRUCTION, YES_WORDS, NO_WORDS];
/// What the reader makes of a row's own columns, or what would be read in their place.
const NOT_WRITTEN: [&str; 8] = ["id", "index", "image", "images", "question", "answer", "text", "label"];
/// A cell of at most so many characters is the index of the row that holds the picture.
const REFERENCE: usize = 64;
/// Ends of published files' names for languages.
const ENDINGS: [(Language, &str); 2] = [(Language::ZH_HANS, "cn"), (Language::PT_BR, "pt")];

/// What cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system refuses.
    #[error(transparent)]
    File(#[from] FileError),
    /// A picture that cannot be read, or has no place in the file.
    #[error("{id}: its picture cannot be written: {reason}")]
    Picture {
        /// The item.
        id: String,
        /// Why.
        reason: String,
    },
    /// The file.
    #[error("cannot write {}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// How an edition is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditionFile {
    /// VLMEvalKit's table.
    Tsv,
    /// Parquet, with the same columns.
    Parquet,
}

impl EditionFile {
    /// How its files end.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Tsv => "tsv",
            Self::Parquet => "parquet",
        }
    }
}

/// The rows of one file.
pub struct Table<'a> {
    /// The columns but the picture.
    pub columns: Vec<String>,
    items: Vec<&'a Item>,
}

impl<'a> Table<'a> {
    /// The columns of some items. `drop` are columns of the source that would be read as something else.
    pub fn of(items: &[&'a Item], drop: &[&str]) -> Self {
        let letters: BTreeSet<char> =
            items.iter().flat_map(|item| item.options.iter().map(|(letter, _)| *letter)).collect();
        let others: BTreeSet<&str> = items.iter().flat_map(|item| item.cells.keys().map(String::as_str)).collect();
        let is_option = |name: &str| name.len() == 1 && name.chars().all(|letter| letter.is_ascii_uppercase());
        let is_other = |name: &&str| {
            !FIRST.contains(name)
                && !LAST.contains(name)
                && !NOT_WRITTEN.contains(name)
                && !drop.contains(name)
                && !is_option(name)
        };
        let first = FIRST.into_iter().filter(|name| others.contains(name));
        let last = LAST.into_iter().filter(|name| others.contains(name));
        let own = others.iter().copied().filter(is_other);
        let columns = ["index", "question"].into_iter().map(str::to_owned);
        let columns = columns.chain(first.map(str::to_owned)).chain(letters.iter().map(char::to_string));
        let columns = columns.chain(["answer".to_owned()]).chain(own.chain(last).map(str::to_owned));
        Self { columns: columns.collect(), items: items.to_vec() }
    }

    /// A row's cells; what it lacks is empty.
    pub fn cells(&self, item: &Item) -> Vec<String> {
        let cell = |name: &String| match name.as_str() {
            "index" => item.index.clone(),
            "question" => item.question.clone(),
            "answer" => item.answer().to_owned(),
            name => {
                let mut letters = name.chars();
                let option = letters.next().filter(|_| letters.next().is_none()).and_then(|letter| item.option(letter));
                option.map(str::to_owned).or_else(|| item.cell(name)).unwrap_or_default()
            }
        };
        self.columns.iter().map(cell).collect()
    }

    /// The rows.
    pub fn items(&self) -> &[&'a Item] {
        &self.items
    }

    /// Writes VLMEvalKit's table: a picture stands in the first row that shows it, the others have that row's index.
    ///
    /// # Errors
    /// A file that cannot be written, a picture that cannot be read or is too small to be told from an index.
    pub fn write_tsv(&self, path: &Path) -> Result<(), WriteError> {
        let failed = |error: std::io::Error| WriteError::Format { path: path.to_owned(), reason: error.to_string() };
        write_atomic_at(path, |temporary| {
            let mut out = BufWriter::new(File::create(temporary).map_err(failed)?);
            let header = self.columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join("\t");
            writeln!(out, "{header}\timage").map_err(failed)?;
            let mut shown: HashMap<blake3::Hash, String> = HashMap::new();
            for item in &self.items {
                let image = image(item, &mut shown)?;
                let cells: Vec<String> = self.cells(item).iter().map(|cell| quoted(cell)).collect();
                writeln!(out, "{}\t{image}", cells.join("\t")).map_err(failed)?;
            }
            out.flush().map_err(failed)
        })
    }
}

/// The cell with the picture of a row: itself, or the index of the row that has it.
fn image(item: &Item, shown: &mut HashMap<blake3::Hash, String>) -> Result<String, WriteError> {
    let wrong = |reason: String| WriteError::Picture { id: item.id.clone(), reason };
    let Some(bytes) = picture(item)? else { return Ok(String::new()) };
    let hash = blake3::hash(&bytes);
    if let Some(index) = shown.get(&hash) {
        return Ok(index.clone());
    }
    let text = STANDARD.encode(&bytes);
    if text.len() <= REFERENCE {
        return Err(wrong(format!(
            "{} bytes are so few that they would be taken for another row's index",
            bytes.len()
        )));
    }
    if item.index.len() <= REFERENCE && !item.index.is_empty() {
        shown.insert(hash, item.index.clone());
    }
    Ok(text)
}

/// The picture of an item, encoded.
///
/// # Errors
/// One that cannot be read, several, or a video: a row has one place.
pub fn picture(item: &Item) -> Result<Option<Bytes>, WriteError> {
    let wrong = |reason: String| WriteError::Picture { id: item.id.clone(), reason };
    let read = |picture: &Picture| picture.read().map_err(|SkipReason { detail, .. }| wrong(detail));
    match item.media.as_slice() {
        [] => Ok(None),
        [Media::Image(picture)] => read(picture).map(Some),
        [Media::Video(Video::Frames(_) | Video::Clip(_))] => Err(wrong("it is a video".to_owned())),
        several => Err(wrong(format!("there are {}, and a row has a place for one", several.len()))),
    }
}

/// A cell as pandas writes it.
fn quoted(cell: &str) -> String {
    match cell.contains(['"', '\t', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

/// The end of a published file's name for a language: `cn` for zh-Hans and `pt` for pt-BR, as the published ones have it.
pub fn ending(language: Language) -> String {
    let published = ENDINGS.iter().find(|(known, _)| *known == language).map(|(_, end)| (*end).to_owned());
    published.unwrap_or_else(|| language.tag().to_lowercase())
}

/// The name of a part without the end that says its language: `MMBench_DEV_EN` and `MMBench_DEV_de` are both `MMBench_DEV`.
pub fn stem(part: &str, language: Option<Language>) -> &str {
    let is_end = |end: &str| {
        let end = end.to_lowercase();
        language.is_some_and(|language| end == ending(language) || end == language.tag().to_lowercase())
    };
    part.rsplit_once('_').filter(|(stem, end)| !stem.is_empty() && is_end(end)).map_or(part, |(stem, _)| stem)
}

/// The items of an edition by the file that they go to: one of each part, called `PART_LANGUAGE`.
pub fn files(items: &[Item], source: Language) -> BTreeMap<String, Vec<&Item>> {
    let mut files: BTreeMap<String, Vec<&Item>> = BTreeMap::new();
    for item in items {
        let language = item.language.unwrap_or(source);
        let stem = stem(&item.part, Some(source));
        files.entry(format!("{stem}_{}", ending(language))).or_default().push(item);
    }
    files
}

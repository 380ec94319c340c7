//! MME as it was released: a folder for each subtask with pictures and, for each picture, a text file of questions.
//!
//! Unusual here: five subtasks keep `images/` and `questions_answers_YN/` apart, in the others pictures and texts lie
//! together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_vlm_base::files::read_regular;
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::{Media, Picture};
use burn_vlm_data::source::{Skip, SkipKind, SkipReason};

use crate::benchmarks::{MME_COGNITION, MME_PERCEPTION};
use crate::error::BenchmarkError;
use crate::file::{FileRecipe, skip_notes};
use crate::published::{Item, Items};
use crate::reading::{Together, drawn, reads_no_pictures, unseen_note};
use crate::table::refuse;

/// Where the layout is split.
const IMAGES: &str = "images";
const QUESTIONS: &str = "questions_answers_YN";
/// Endings of pictures.
const ENDINGS: [&str; 5] = ["jpg", "png", "jpeg", "webp", "JPG"];

/// The file is the folder of a release: it has a subtask's folder.
pub(crate) fn is_release(file: &FileRecipe, base: &Path) -> bool {
    subtasks().any(|subtask| base.join(&file.file).join(subtask).is_dir())
}

/// The index of a question, from 1, about a picture (`existence/1000.png`).
pub(crate) fn index(picture: &str, question: usize) -> String {
    format!("{picture}#{question}")
}

fn subtasks() -> impl Iterator<Item = &'static str> {
    MME_PERCEPTION.into_iter().chain(MME_COGNITION)
}

/// Reads the folder: subtasks in the order of the paper, pictures by name, questions as they stand.
///
/// # Errors
/// A text file that cannot be read, lines that are no question and answer, a picture that is missing.
pub(crate) fn read(file: &FileRecipe, base: &Path) -> Result<Items, BenchmarkError> {
    let root = base.join(&file.file);
    let mut release = Release::new(file);
    for subtask in subtasks().filter(|subtask| root.join(subtask).is_dir()) {
        let folder = root.join(subtask);
        let split = folder.join(QUESTIONS).is_dir();
        let (images, texts) =
            if split { (folder.join(IMAGES), folder.join(QUESTIONS)) } else { (folder.clone(), folder.clone()) };
        for text in texts_of(&texts).map_err(|error| unreadable(file, &texts, &error.to_string()))? {
            release.read_text(subtask, &images, &text);
        }
    }
    let Release { items, skipped, rows, hasher, .. } = release;
    if skipped.len() > file.max_skipped {
        let allowed = file.max_skipped;
        return Err(BenchmarkError::Skipped { name: file.name.clone(), rows: rows as usize, allowed, skipped });
    }
    if items.is_empty() {
        let why = Some(format!("{} has no text file of questions", root.display()));
        return Err(BenchmarkError::Empty { name: file.name.clone(), why });
    }
    let mut notes = skip_notes(&file.name, &skipped);
    notes.extend(unseen_note(file));
    let ids = items.iter().map(|item| item.id.clone()).collect();
    let (items, key) = (drawn(file, items, Together::Group)?, hasher.finalize().to_hex().to_string());
    Ok(Items { items, key, notes, skipped, ..Items::default() }.of_rows(ids))
}

fn unreadable(file: &FileRecipe, path: &Path, reason: &str) -> BenchmarkError {
    let message = format!("{}: {reason}", path.display());
    BenchmarkError::Setting { name: file.name.clone(), message }
}

/// The text files of a folder by name.
fn texts_of(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut texts = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "txt") {
            texts.push(path);
        }
    }
    texts.sort();
    Ok(texts)
}

/// What has been read of a release.
struct Release<'a> {
    file: &'a FileRecipe,
    part: String,
    items: Vec<Item>,
    skipped: Vec<Skip>,
    rows: u64,
    hasher: blake3::Hasher,
    unseen: bool,
}

impl<'a> Release<'a> {
    fn new(file: &'a FileRecipe) -> Self {
        let part =
            Path::new(&file.file).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (items, skipped) = (Vec::new(), Vec::new());
        let (hasher, unseen) = (blake3::Hasher::new(), reads_no_pictures(file));
        Self { file, part, items, skipped, rows: 0, hasher, unseen }
    }

    /// The questions of one text file. What cannot be used is noted with its place.
    fn read_text(&mut self, subtask: &str, images: &Path, path: &Path) {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let text = read_regular(path, self.file.limits.max_entry_bytes).map_err(|error| error.to_string());
        let text = text.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned()));
        let text = match text {
            Ok(text) => text,
            Err(error) => return self.skip(path, "the file", &SkipReason::new(SkipKind::DamagedFile, error)),
        };
        self.hasher.update(path.to_string_lossy().as_bytes());
        self.hasher.update(text.as_bytes());
        let (picture, media) = match self.picture(images, &stem) {
            Ok(found) => found,
            Err(reason) => return self.skip(path, "the file", &reason),
        };
        let picture = format!("{subtask}/{picture}");
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (count, (number, line)) in lines.enumerate() {
            let place = format!("line {}", number + 1);
            let parts = line.rsplit_once('\t').map(|(question, answer)| (question.trim(), answer.trim()));
            let answer = match parts.map(|(_, answer)| answer.to_lowercase()).as_deref() {
                Some("yes") => "Yes",
                Some("no") => "No",
                _ => {
                    let reason = refuse(format!("{line:?}, expected a question, a tab, and Yes or No"));
                    self.skip(path, &place, &reason);
                    continue;
                }
            };
            let index = index(&picture, count + 1);
            self.items.push(Item {
                id: format!("{}/{index}", self.part),
                part: self.part.clone(),
                index,
                row: self.rows,
                language: Some(self.file.language.unwrap_or(Language::EN)),
                media: media.clone(),
                group: picture.clone(),
                question: parts.map(|(question, _)| question.to_owned()).unwrap_or_default(),
                options: Vec::new(),
                answers: vec![answer.to_owned()],
                cells: BTreeMap::from([("category".to_owned(), subtask.into())]),
            });
            self.rows += 1;
        }
    }

    /// The picture beside a text file: its name, and itself.
    fn picture(&self, images: &Path, stem: &str) -> Result<(String, Vec<Media>), SkipReason> {
        let names = ENDINGS.iter().map(|ending| format!("{stem}.{ending}"));
        let found = names.clone().find(|name| images.join(name).is_file());
        match found {
            Some(name) if !self.unseen => {
                let missing = |error: std::io::Error| SkipReason::new(SkipKind::MissingImage, error.to_string());
                let path = images.join(&name).canonicalize().map_err(missing)?;
                let picture = Picture::File { path, max_bytes: self.file.limits.max_entry_bytes };
                picture.look(&self.file.limits.decode())?;
                Ok((name, vec![Media::Image(picture)]))
            }
            Some(name) => Ok((name, Vec::new())),
            None if self.unseen => Ok((stem.to_owned(), Vec::new())),
            None => {
                let names: Vec<String> = names.collect();
                let detail = format!("no picture: expected {} in {}", names.join(" or "), images.display());
                Err(SkipReason::new(SkipKind::MissingImage, detail))
            }
        }
    }

    fn skip(&mut self, path: &Path, place: &str, reason: &SkipReason) {
        self.skipped.push(Skip {
            source: self.file.name.clone(),
            record: self.rows,
            file: path.display().to_string(),
            place: place.to_owned(),
            id: None,
            reason: reason.kind,
            detail: reason.detail.clone(),
        });
        self.rows += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmarks::find;
    use crate::rules::Rules;

    fn release(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join("release").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn read(folder: &Path, settings: &str) -> Result<Items, BenchmarkError> {
        let file = toml::from_str(&format!("name = \"mme\"\nfile = \"release\"\n{settings}")).unwrap();
        find("mme").unwrap().read(&file, folder, Rules::LmmsEval)
    }

    const UNSEEN: &str = "fields = { ignore = [\"image\"] }";

    #[test]
    fn both_layouts() {
        let folder = release(&[
            ("posters/questions_answers_YN/7.txt", "Is it? Please answer yes or no.\tYes\r\nOr not?\tNo\r\n"),
            ("OCR/0001.txt", "Tab\tin the question?\tno"),
        ]);
        let items = read(folder.path(), UNSEEN).unwrap();
        let shown: Vec<_> = items
            .items
            .iter()
            .map(|item| (item.index.as_str(), item.question.as_str(), item.answer(), item.row))
            .collect();
        assert_eq!(
            shown,
            [
                ("posters/7#1", "Is it? Please answer yes or no.", "Yes", 0),
                ("posters/7#2", "Or not?", "No", 1),
                ("OCR/0001#1", "Tab\tin the question?", "No", 2)
            ]
        );
        assert!(items.notes[0].contains("pictures are not read"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = release(&[("OCR/1.txt", "q\tYes\nno answer here\n")]);
        let error = read(folder.path(), UNSEEN).unwrap_err().to_string();
        assert!(
            error.contains("1.txt") && error.contains("line 2") && error.contains("expected a question"),
            "{error}"
        );
        let error = read(folder.path(), "").unwrap_err().to_string();
        assert!(error.contains("no picture") && error.contains("1.jpg or 1.png"), "{error}");
        let folder = release(&[("OCR/readme.md", "")]);
        assert!(read(folder.path(), "").unwrap_err().to_string().contains("no text file"));
        let folder = release(&[("OCR/1.txt", "q\tYes"), ("OCR/1.png", "no picture")]);
        assert!(read(folder.path(), "").unwrap_err().to_string().contains("1.txt"));
    }
}

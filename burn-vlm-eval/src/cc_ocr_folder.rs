//! CC-OCR as it was released: a folder for each subset, with questions in `qa.jsonl` (`url` of the picture, `prompt`),
//! right texts by the picture's name in `label.json`, and the pictures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_vlm_base::files::read_regular;
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::{Media, Picture};
use burn_vlm_data::source::{Skip, SkipKind, SkipReason};
use serde::Deserialize;

use crate::benchmarks::set_cc_ocr_subset;
use crate::error::BenchmarkError;
use crate::file::{FileRecipe, skip_notes};
use crate::published::{Item, Items};
use crate::reading::{Together, drawn, reads_no_pictures, unseen_note};
use crate::table::{Names, refuse};

const QUESTIONS: &str = "qa.jsonl";
const LABELS: &str = "label.json";

/// A line of the questions.
#[derive(Deserialize)]
struct Question {
    url: String,
    prompt: String,
}

/// The file is the folder of a release, or of one subset.
pub(crate) fn is_release(file: &FileRecipe, base: &Path) -> bool {
    let root = base.join(&file.file);
    root.join(QUESTIONS).is_file() || subsets(&root).is_ok_and(|subsets| !subsets.is_empty())
}

/// The folders of subsets by name.
fn subsets(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut subsets = Vec::new();
    for entry in root.read_dir()? {
        let path = entry?.path();
        if path.join(QUESTIONS).is_file() {
            subsets.push(path);
        }
    }
    subsets.sort();
    Ok(subsets)
}

/// Reads the folder.
///
/// # Errors A file that cannot be read, questions without a right text, right texts without a question, pictures that
/// are missing.
pub(crate) fn read(file: &FileRecipe, base: &Path) -> Result<Items, BenchmarkError> {
    let root = base.join(&file.file);
    let unreadable = |error: std::io::Error| damaged(file, &root, &error.to_string());
    let folders =
        if root.join(QUESTIONS).is_file() { vec![root.clone()] } else { subsets(&root).map_err(unreadable)? };
    let mut release = Release::new(file);
    for folder in folders {
        release.read_subset(&folder)?;
    }
    let Release { items, skipped, rows, hasher, .. } = release;
    if skipped.len() > file.max_skipped {
        let allowed = file.max_skipped;
        return Err(BenchmarkError::Skipped { name: file.name.clone(), rows: rows as usize, allowed, skipped });
    }
    if items.is_empty() {
        return Err(BenchmarkError::Empty {
            name: file.name.clone(),
            why: Some(format!("{} is empty", root.display())),
        });
    }
    let mut notes = skip_notes(&file.name, &skipped);
    notes.extend(unseen_note(file));
    let ids = items.iter().map(|item| item.id.clone()).collect();
    let (items, key) = (drawn(file, items, Together::Index)?, hasher.finalize().to_hex().to_string());
    Ok(Items { items, key, notes, skipped, ..Items::default() }.of_rows(ids))
}

fn damaged(file: &FileRecipe, path: &Path, reason: &str) -> BenchmarkError {
    BenchmarkError::Setting { name: file.name.clone(), message: format!("{}: {reason}", path.display()) }
}

/// What has been read of a release.
struct Release<'a> {
    file: &'a FileRecipe,
    items: Vec<Item>,
    names: Names,
    skipped: Vec<Skip>,
    rows: u64,
    hasher: blake3::Hasher,
    unseen: bool,
}

impl<'a> Release<'a> {
    fn new(file: &'a FileRecipe) -> Self {
        let (items, names, skipped, hasher) = (Vec::new(), Names::default(), Vec::new(), blake3::Hasher::new());
        Self { file, items, names, skipped, rows: 0, hasher, unseen: reads_no_pictures(file) }
    }

    fn text(&mut self, path: &Path) -> Result<String, BenchmarkError> {
        let read = read_regular(path, self.file.limits.max_entry_bytes).map_err(|error| error.to_string());
        let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned()));
        let text = text.map_err(|reason| damaged(self.file, path, &reason))?;
        self.hasher.update(path.to_string_lossy().as_bytes());
        self.hasher.update(text.as_bytes());
        Ok(text)
    }

    /// The questions of one subset. What cannot be used is noted with its place.
    fn read_subset(&mut self, folder: &Path) -> Result<(), BenchmarkError> {
        let subset = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (questions, labels) = (folder.join(QUESTIONS), folder.join(LABELS));
        let (lines, right) = (self.text(&questions)?, self.text(&labels)?);
        let mut right: BTreeMap<String, String> = serde_json::from_str(&right).map_err(|error| {
            damaged(self.file, &labels, &format!("{error}; expected an object of right texts by the pictures' names"))
        })?;
        let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (count, (number, line)) in lines.enumerate() {
            let place = format!("line {}", number + 1);
            let item = self.item(folder, &subset, count, line, &mut right).and_then(|item| {
                let name = item.cell("image_name").unwrap_or_default();
                self.names.note(&subset, &name, (&questions, place.clone()))?;
                Ok(item)
            });
            match item {
                Ok(item) => self.items.push(item),
                Err(reason) => self.skip(&questions, &place, reason),
            }
            self.rows += 1;
        }
        // The benchmark's own code counts these as empty replies.
        for name in right.into_keys() {
            self.skip(&labels, "the file", refuse(format!("{name:?} has no question in {QUESTIONS}")));
            self.rows += 1;
        }
        Ok(())
    }

    /// The item of a line; its right text is taken out of those that are left.
    fn item(
        &self,
        folder: &Path,
        subset: &str,
        count: usize,
        line: &str,
        right: &mut BTreeMap<String, String>,
    ) -> Result<Item, SkipReason> {
        let Question { url, prompt } =
            serde_json::from_str(line).map_err(|error| refuse(format!("{error}; expected url and prompt")))?;
        let name = url.rsplit('/').next().unwrap_or_default().to_owned();
        let answer = right
            .remove(&name)
            .ok_or_else(|| refuse(format!("{LABELS} has no right text of {name:?}, or two questions")))?;
        let (index, part) = (count.to_string(), subset.to_owned());
        let mut item = Item {
            id: format!("{part}/{index}"),
            part,
            index,
            row: self.rows,
            language: self.file.language,
            media: if self.unseen { Vec::new() } else { vec![self.picture(folder, &url)?] },
            group: format!("{subset}/{name}"),
            question: prompt,
            options: Vec::new(),
            answers: vec![answer],
            cells: BTreeMap::from([("image_name".to_owned(), name.into()), ("split".to_owned(), subset.into())]),
        };
        set_cc_ocr_subset(&mut item, subset.to_owned());
        item.language = item.language.or(Some(Language::EN));
        Ok(item)
    }

    fn picture(&self, folder: &Path, url: &str) -> Result<Media, SkipReason> {
        let missing = |why: String| SkipReason::new(SkipKind::MissingImage, format!("{url:?}: {why}"));
        let path = folder.join(url).canonicalize().map_err(|error| missing(error.to_string()))?;
        let inside = folder.canonicalize().is_ok_and(|folder| path.starts_with(folder));
        if !inside && !self.file.allow_links {
            return Err(SkipReason::new(SkipKind::PathEscape, format!("{url:?} leads out of {}", folder.display())));
        }
        let picture = Picture::File { path, max_bytes: self.file.limits.max_entry_bytes };
        picture.look(&self.file.limits.decode())?;
        Ok(Media::Image(picture))
    }

    fn skip(&mut self, path: &Path, place: &str, reason: SkipReason) {
        self.skipped.push(Skip {
            source: self.file.name.clone(),
            record: self.rows,
            file: path.display().to_string(),
            place: place.to_owned(),
            id: None,
            reason: reason.kind,
            detail: reason.detail,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmarks::find;
    use crate::rules::Rules;

    fn read(questions: &str, labels: &str, settings: &str) -> Result<Items, BenchmarkError> {
        let folder = tempfile::tempdir().unwrap();
        let subset = folder.path().join("official/German");
        std::fs::create_dir_all(&subset).unwrap();
        std::fs::write(subset.join(QUESTIONS), questions).unwrap();
        std::fs::write(subset.join(LABELS), labels).unwrap();
        let file = toml::from_str(&format!("name = \"c\"\nfile = \"official\"\n{settings}")).unwrap();
        find("cc_ocr").unwrap().read(&file, folder.path(), Rules::Official)
    }

    const UNSEEN: &str = "fields = { ignore = [\"url\"] }";
    const LINE: &str = r#"{"url": "images/a.png", "prompt": "Read."}"#;

    #[test]
    fn what_is_wrong_is_named() {
        for (questions, labels, settings, words) in [
            (LINE, "{}", UNSEEN, ["line 1", "no right text of \"a.png\""]),
            (&format!("{LINE}\n{LINE}"), r#"{"a.png": "x"}"#, UNSEEN, ["line 2", "or two questions"]),
            (LINE, r#"{"a.png": "x", "b.png": "y"}"#, UNSEEN, ["label.json", "\"b.png\" has no question"]),
            (r#"{"url": "a.png"}"#, "{}", UNSEEN, ["line 1", "prompt"]),
            (LINE, "[]", UNSEEN, ["label.json", "expected an object"]),
            (LINE, r#"{"a.png": "x"}"#, "", ["line 1", "images/a.png"]),
            (r#"{"url": "../../../a.png", "prompt": "p"}"#, r#"{"a.png": "x"}"#, "", ["line 1", "../../../a.png"]),
        ] {
            let error = read(questions, labels, settings).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        let items = read(LINE, r#"{"a.png": "x"}"#, UNSEEN).unwrap();
        assert_eq!((items.items[0].id.as_str(), items.items[0].language), ("German/0", Some(Language::DE)));
    }
}

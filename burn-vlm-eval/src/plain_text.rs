//! Benchmarks as plain text: one sentence a line, in files that belong together line by line.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use burn_vlm_base::files::read_regular;
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::{Media, Picture};
use burn_vlm_data::source::{ImageRoot, Skip, SkipKind, SkipReason, SourceError, find_paths};

use crate::error::BenchmarkError;
use crate::file::{FileRecipe, skip_notes};
use crate::published::{Item, Items};
use crate::reading::{Together, drawn, of_tag};

/// The most bytes of one file of lines.
const MOST_BYTES: u64 = 1 << 30;

/// Reads the files of one benchmark.
pub struct Reader<'a> {
    file: &'a FileRecipe,
    base: &'a Path,
    root: Option<ImageRoot>,
    looked_at: HashSet<PathBuf>,
    hasher: blake3::Hasher,
    skipped: Vec<Skip>,
    /// Lines so far: the number of the next item's row.
    pub rows: u64,
}

impl<'a> Reader<'a> {
    /// # Errors
    /// Settings that plain text has no use for; an image root that is no folder.
    pub fn new(file: &'a FileRecipe, base: &'a Path) -> Result<Self, BenchmarkError> {
        let unused = [
            ("format", file.format.is_some()),
            ("language_column", file.language_column.is_some()),
            ("group_column", file.group_column.is_some()),
        ];
        if let Some((key, _)) = unused.into_iter().find(|(_, set)| *set) {
            let message = format!("`{key}` is for tables; this benchmark is read from plain text");
            return Err(BenchmarkError::Setting { name: file.name.clone(), message });
        }
        let root = match &file.image_root {
            None => None,
            Some(root) => {
                let path = base.join(root);
                let root = ImageRoot::new(&path, file.allow_links).map_err(|error| SourceError::Unreadable {
                    source_name: file.name.clone(),
                    path,
                    reason: format!("image_root: {error}"),
                })?;
                Some(root)
            }
        };
        let hasher = blake3::Hasher::new();
        Ok(Self { file, base, root, looked_at: HashSet::new(), hasher, skipped: Vec::new(), rows: 0 })
    }

    /// The files or folders that the recipe names.
    ///
    /// # Errors
    /// Nothing has the name.
    pub fn paths(&self) -> Result<Vec<PathBuf>, BenchmarkError> {
        let pattern = self.base.join(&self.file.file);
        Ok(find_paths(&self.file.name, &pattern.to_string_lossy())?)
    }

    /// Whether pictures are wanted.
    pub fn has_pictures(&self) -> bool {
        self.root.is_some()
    }

    /// The lines of a file, without their ends.
    ///
    /// # Errors
    /// A file that is not there, has no line, or is no UTF-8.
    pub fn lines(&mut self, path: &Path) -> Result<Vec<String>, BenchmarkError> {
        let bytes = read_regular(path, MOST_BYTES).map_err(|error| SourceError::Unreadable {
            source_name: self.file.name.clone(),
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(&bytes);
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            self.damaged(path, format!("line {line}"), "expected UTF-8".to_owned())
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.is_empty() {
            return Err(self.damaged(path, "the whole file".to_owned(), "it has no line".to_owned()));
        }
        Ok(lines)
    }

    /// The lines of a file that stands beside another: as many.
    ///
    /// # Errors
    /// As [`Self::lines`], and another number of lines.
    pub fn lines_beside(&mut self, path: &Path, (first, count): (&Path, usize)) -> Result<Vec<String>, BenchmarkError> {
        let lines = self.lines(path)?;
        if lines.len() == count {
            return Ok(lines);
        }
        let place = format!("line {}", lines.len().min(count) + 1);
        let reason = format!("it has {} lines, expected {count} as in {}", lines.len(), first.display());
        Err(self.damaged(path, place, reason))
    }

    /// The language that a file's ending or a folder's name tells.
    ///
    /// # Errors
    /// A tag that nobody knows.
    pub fn language(&self, path: &Path, tag: &str) -> Result<Language, BenchmarkError> {
        self.file.language.or_else(|| of_tag(self.file, tag)).ok_or_else(|| {
            let message = format!(
                "{}: {tag:?} is no tag of a language; set `language`, or say in `language_map` what it means",
                path.display()
            );
            BenchmarkError::Setting { name: self.file.name.clone(), message }
        })
    }

    /// The picture of a name; none where the recipe has no image root.
    ///
    /// # Errors
    /// A picture that is not there or is none.
    pub fn picture(&mut self, name: &str) -> Result<Vec<Media>, SkipReason> {
        let Some(root) = &self.root else { return Ok(Vec::new()) };
        let limits = self.file.limits;
        let picture = Picture::File { path: root.file(name)?, max_bytes: limits.max_entry_bytes };
        if let Picture::File { path, .. } = &picture
            && !self.looked_at.contains(path)
        {
            picture.look(&limits.decode())?;
            self.looked_at.insert(path.clone());
        }
        Ok(vec![Media::Image(picture)])
    }

    /// Leaves a line (from 0) out.
    pub fn skip(&mut self, path: &Path, line: usize, SkipReason { kind, detail }: SkipReason) {
        self.skipped.push(Skip {
            source: self.file.name.clone(),
            record: self.rows,
            file: path.display().to_string(),
            place: format!("line {}", line + 1),
            id: None,
            reason: kind,
            detail,
        });
    }

    /// A file that is not what it is said to be.
    pub fn damaged(&self, path: &Path, place: String, reason: String) -> BenchmarkError {
        SourceError::Damaged { source_name: self.file.name.clone(), path: path.to_owned(), place, reason }.into()
    }

    /// The items that are asked, where there is a limit whole groups of each language.
    ///
    /// # Errors
    /// More lines left out than allowed; no item.
    pub fn finish(self, items: Vec<Item>) -> Result<Items, BenchmarkError> {
        let Self { file, skipped, rows, hasher, root, .. } = self;
        let name = file.name.clone();
        if skipped.len() > file.max_skipped {
            let rows = usize::try_from(rows).unwrap_or(usize::MAX);
            return Err(BenchmarkError::Skipped { name, rows, allowed: file.max_skipped, skipped });
        }
        if items.is_empty() {
            return Err(BenchmarkError::Empty { name, why: None });
        }
        let mut notes = skip_notes(&name, &skipped);
        if root.is_none() {
            notes.push(format!("{name}: asked without pictures, as there is no `image_root`"));
        }
        let ids = items.iter().map(|item| item.id.clone()).collect();
        let (items, key) = (drawn(file, items, Together::Group)?, hasher.finalize().to_hex().to_string());
        Ok(Items { items, key, notes, skipped, ..Items::default() }.of_rows(ids))
    }
}

/// The name of a language as prompts for translations have it: without what is added in brackets.
pub fn plain_name(language: Language) -> &'static str {
    let name = language.english_name();
    name.split_once(" (").map_or(name, |(plain, _)| plain)
}

/// A line that is empty where a sentence is wanted.
pub fn empty_line(path: &Path) -> SkipReason {
    SkipReason::new(SkipKind::NoConversation, format!("the line is empty in {}", path.display()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An item with a source and a reference.
    pub(crate) fn item(part: &str, index: &str, source: &str, reference: &str) -> Item {
        Item {
            id: format!("{part}/{index}"),
            part: part.to_owned(),
            index: index.to_owned(),
            row: 0,
            language: Some(Language::DE),
            media: Vec::new(),
            group: index.to_owned(),
            question: source.to_owned(),
            options: Vec::new(),
            answers: vec![reference.to_owned()],
            cells: Default::default(),
        }
    }

    #[test]
    fn prompts_name_languages_plainly() {
        assert_eq!(plain_name(Language::ZH_HANS), "Chinese");
        assert_eq!(plain_name(Language::DE), "German");
    }

    #[test]
    fn files_that_are_no_lines_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.de");
        let recipe: FileRecipe = toml::from_str("name = \"t\"\nfile = \"a.de\"").unwrap();
        let lines = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Reader::new(&recipe, folder.path())
                .unwrap()
                .lines_beside(&path, (Path::new("b"), 2))
                .map_err(|e| e.to_string())
        };
        assert_eq!(lines(b"\xef\xbb\xbfa\r\nb\n").unwrap(), ["a", "b"]);
        assert_eq!(lines(b"a\n\n").unwrap(), ["a", ""]);
        for (bytes, words) in [
            (&b"a\nb\nc"[..], "line 3: it has 3 lines, expected 2 as in b"),
            (b"", "no line"),
            (b"a\n\xff\n", "line 2: expected UTF-8"),
        ] {
            let error = lines(bytes).unwrap_err();
            assert!(error.contains(words) && error.contains("a.de"), "{error}");
        }
        for setting in ["format = \"tsv\"", "group_column = \"x\"", "image_root = \"none\""] {
            let recipe: FileRecipe = toml::from_str(&format!("name = \"t\"\nfile = \"a.de\"\n{setting}")).unwrap();
            let error = Reader::new(&recipe, folder.path()).err().unwrap().to_string();
            assert!(error.contains(setting.split(' ').next().unwrap()), "{error}");
        }
    }
}

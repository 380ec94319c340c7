//! A folder with a translated benchmark: the files of all languages, the source's among them, so that nothing else is needed to go on.
//!
//! | file | what |
//! |---|---|
//! | `PART_LANGUAGE.tsv`, `.parquet` | the editions; the source's has the columns of the others |
//! | `benchmark.toml` | the questions for `burn-vlm evaluate` |
//! | `items.jsonl` | of each item and language: texts, translations, problems, flags |
//! | `build.json` | how it was made |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn_vlm_base::files::{FileError, read_json, read_regular, write_atomic, write_json_atomic};
use burn_vlm_data::language::Language;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::edition::{BuildOptions, Edition, ItemReport, LANGUAGE, State};
use super::gold::{self, Form, NotGold};
use super::source::SourceBenchmark;
use super::translations::{Translation, Translations};
use super::words::GivenWords;
use super::write::{EditionFile, Table, WriteError, files};
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::published::Item;
use crate::rules::Rules;

/// How it was made.
pub const MANIFEST: &str = "build.json";
/// The questions for `burn-vlm evaluate`.
pub const QUESTIONS: &str = "benchmark.toml";
/// What became of each item.
pub const ITEMS: &str = "items.jsonl";
/// The most bytes of [`ITEMS`]: 4 GiB.
const MOST_BYTES: u64 = 1 << 32;

/// A folder that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file of it.
    #[error(transparent)]
    File(#[from] FileError),
    /// An edition.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Files that are not the benchmark's.
    #[error(transparent)]
    Benchmark(#[from] BenchmarkError),
    /// The right answers do not score 100 %.
    #[error("{0}; the source's own do, so that the translation has broken something")]
    NotGold(#[from] NotGold),
    /// Something in it.
    #[error("{}: {message}", file.display())]
    Wrong {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what was expected.
        message: String,
    },
}

/// How a folder was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What the benchmark is called.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Where it was read from.
    pub source: String,
    /// The source's language.
    pub source_language: Language,
    /// The others.
    pub languages: Vec<Language>,
    /// Formats of the editions, the first is the one that is read.
    pub formats: Vec<String>,
    /// How it was translated.
    pub options: BuildOptions,
    /// Words that the user gave.
    pub words: GivenWords,
    /// The editions' files.
    pub files: Vec<ManifestFile>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// A file of an edition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its name.
    pub file: String,
    /// Its language.
    pub language: Language,
    /// Its rows.
    pub rows: usize,
}

/// A folder that was read.
pub struct Folder {
    /// How it was made.
    pub manifest: Manifest,
    /// The source's edition.
    pub source: SourceBenchmark,
    /// The translations of all languages.
    pub translations: Translations,
}

/// What is read of [`ITEMS`].
#[derive(Deserialize)]
struct Line {
    language: Language,
    texts: Vec<LineText>,
}

#[derive(Deserialize)]
struct LineText {
    id: String,
    field: String,
    source: String,
    #[serde(default)]
    translation: Option<String>,
    #[serde(default)]
    back_translation: Option<String>,
    #[serde(default)]
    score: Option<f64>,
}

impl Folder {
    /// Reads a folder.
    ///
    /// # Errors
    /// No folder of this kind, files that were changed.
    pub fn read(folder: &Path) -> Result<Self, FolderError> {
        let path = folder.join(MANIFEST);
        if !path.is_file() {
            let message =
                format!("there is no {MANIFEST} here; expected a folder that `burn-vlm data benchmark build` wrote");
            return Err(FolderError::Wrong { file: folder.to_owned(), message });
        }
        let manifest: Manifest = read_json(&path)?;
        let file = manifest.recipe(&[manifest.source_language])?;
        let file = FileRecipe { language: Some(manifest.source_language), language_column: None, ..file };
        let source = SourceBenchmark::read(&manifest.kind, &file, folder)?;
        let mut translations = Translations::default();
        let path = folder.join(ITEMS);
        let bytes = read_regular(&path, MOST_BYTES)?;
        for (number, line) in (1..).zip(String::from_utf8_lossy(&bytes).lines()) {
            let line: Line = serde_json::from_str(line).map_err(|error| {
                let message = format!("line {number}: {error}; expected an item as `build` writes it");
                FolderError::Wrong { file: path.clone(), message }
            })?;
            for text in line.texts {
                let Some(translation) = text.translation else { continue };
                let (source, back, score) = (Some(text.source), text.back_translation, text.score);
                let entry = Translation { source, text: translation, back, score, line: number };
                translations.insert(line.language, &text.id, &text.field, entry);
            }
        }
        Ok(Self { manifest, source, translations })
    }

    /// The items of all languages as they are scored.
    ///
    /// # Errors
    /// Files that are not there any more, or were changed.
    pub fn items(&self, folder: &Path) -> Result<Vec<Item>, FolderError> {
        let languages: Vec<Language> =
            [self.manifest.source_language].into_iter().chain(self.manifest.languages.iter().copied()).collect();
        let file = self.manifest.recipe(&languages)?;
        Ok(self.source.published.read(&file, folder, Rules::BurnVlm)?.items)
    }
}

impl Manifest {
    /// The format that is read.
    fn format(&self) -> EditionFile {
        let is_parquet = self.formats.first().is_some_and(|format| format == EditionFile::Parquet.ending());
        if is_parquet { EditionFile::Parquet } else { EditionFile::Tsv }
    }

    /// The files of some languages in the first format, as one name.
    fn pattern(&self, languages: &[Language]) -> String {
        let end = format!(".{}", self.format().ending());
        let files = self.files.iter().filter(|file| languages.contains(&file.language));
        let stems: Vec<&str> = files.filter_map(|file| file.file.strip_suffix(&end)).collect();
        match stems.as_slice() {
            [one] => format!("{one}{end}"),
            several => format!("{{{}}}{end}", several.join(",")),
        }
    }

    fn recipe(&self, languages: &[Language]) -> Result<FileRecipe, FolderError> {
        recipe(&self.name, &self.pattern(languages))
    }

    /// The questions for `burn-vlm evaluate`.
    pub fn questions(&self) -> String {
        let languages: Vec<Language> =
            [self.source_language].into_iter().chain(self.languages.iter().copied()).collect();
        let text = |text: &str| serde_json::Value::from(text).to_string();
        format!(
            "# Languages have totals of their own; compare them on the items that all have.\n[[benchmark]]\n\
             name = {}\nkind = {}\nfile = {}\nlanguage_column = \"{LANGUAGE}\"\nrules = \"burn-vlm\"\n",
            text(&self.name),
            text(&self.kind),
            text(&self.pattern(&languages))
        )
    }
}

fn recipe(name: &str, file: &str) -> Result<FileRecipe, FolderError> {
    let wrong = |error: serde_json::Error| FolderError::Wrong { file: PathBuf::from(file), message: error.to_string() };
    serde_json::from_value(json!({ "name": name, "file": file, "language_column": LANGUAGE })).map_err(wrong)
}

/// Writes a folder: the source's edition first, then the others. Every file is read back, and the right answers are scored.
///
/// # Errors
/// A file that cannot be written, a picture that cannot be read, an edition whose right answers score less than the source's.
pub fn write(
    folder: &Path,
    manifest: Manifest,
    source: &SourceBenchmark,
    editions: &[&Edition],
    formats: &[EditionFile],
) -> Result<Manifest, FolderError> {
    let mut manifest = Manifest {
        kind: source.published.name().to_owned(),
        formats: formats.iter().map(|format| format.ending().to_owned()).collect(),
        languages: editions
            .iter()
            .map(|edition| edition.language)
            .filter(|language| *language != source.language)
            .collect(),
        files: Vec::new(),
        ..manifest
    };
    let english = manifest.options.english_yes_no && source.is_yes_no();
    let mut is_gold = true;
    for edition in editions {
        for (name, items) in files(&edition.items, source.language) {
            let table = Table::of(&items, source.not_written());
            for format in formats {
                let file = format!("{name}.{}", format.ending());
                match format {
                    EditionFile::Tsv => table.write_tsv(&folder.join(&file))?,
                    EditionFile::Parquet => table.write_parquet(&folder.join(&file))?,
                }
                let read = recipe(&manifest.name, &file)?;
                let rules = if english { Rules::Vlmevalkit } else { Rules::BurnVlm };
                for (rules, form) in [(Rules::BurnVlm, Form::OwnWord), (rules, Form::Plain)] {
                    match gold::check(source.published, (&read, folder), rules, form)? {
                        Ok(_) => {}
                        // The source's own affair, and then the others'.
                        Err(error) if edition.language == source.language => {
                            let note = format!("{error}: this is so in the source already");
                            if is_gold {
                                manifest.notes.push(note);
                            }
                            is_gold = false;
                        }
                        Err(error) if is_gold => return Err(error.into()),
                        Err(_) => {}
                    }
                }
                manifest.files.push(ManifestFile { file, language: edition.language, rows: items.len() });
            }
        }
    }
    let mut text = String::new();
    for report in editions.iter().flat_map(|edition| &edition.reports) {
        let line = serde_json::to_string(report)
            .map_err(|error| FolderError::Wrong { file: folder.join(ITEMS), message: error.to_string() })?;
        text.push_str(&line);
        text.push('\n');
    }
    write_atomic(&folder.join(ITEMS), text.as_bytes())?;
    write_atomic(&folder.join(QUESTIONS), manifest.questions().as_bytes())?;
    write_json_atomic(&folder.join(MANIFEST), &manifest)?;
    Ok(manifest)
}

/// An edition without some rows of every language, by their parts' stems and indices.
pub fn without(edition: &mut Edition, gone: &BTreeSet<String>) {
    edition.items.retain(|item| !gone.contains(&item.id));
    let is_gone = |report: &ItemReport| report.rows.iter().any(|row| gone.contains(row));
    edition.reports.retain(|report| !is_gone(report) || report.state == State::Excluded);
}

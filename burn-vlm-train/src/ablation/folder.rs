//! The output folder of a study, and what it says about its cells.
//!
//! ```text
//! runs/encoder/tiny/
//!   experiment.json                whose folder this is: study and preset
//!   cells/siglip1/en/seed0/
//!     cell.toml                    what the cell is: recipe, seed, hash; written before it starts
//!     done.json                    that it is finished, and its result
//!     seal.json                    the hashes of all these files but README.md, which people may edit; written last
//!     ...                          the job's own files
//!   locks/                         who works on what
//! ```
//!
//! Nothing here is ever deleted but temporary files of killed processes: a folder that holds something else is an
//! error that says what to do.

use std::path::{Path, PathBuf};

use burn_vlm_base::files::{self, FileError, TEMP_PREFIX};
use burn_vlm_base::lock::{Attempt, FileLock};
use burn_vlm_base::seal::{Damage, SEAL, Seal};
use serde::{Deserialize, Serialize};

use super::cell::{AxisChoice, Cell};
use super::fingerprint::Fingerprint;
use super::toml_text::{self, TomlError};

const MARK: &str = "experiment.json";
const CELL: &str = "cell.toml";
const DONE: &str = "done.json";
/// The end of a file's name that is for people to edit: a model's card.
const CARD: &str = "README.md";

/// What an output folder is, in `experiment.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    study: String,
    preset: String,
}

/// What a cell's folder holds, in `cell.toml` (TOML like the recipe, so that it can be copied).
#[derive(Debug, Clone, Serialize, Deserialize)]
struct CellRecord {
    cell: String,
    axes: Vec<AxisChoice>,
    content: Fingerprint,
}

/// That a cell is finished, in `done.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The cell's name.
    pub cell: String,
    /// The hash of what it was made from.
    pub hash: String,
    /// When the run that finished it started, UTC.
    pub started: String,
    /// When it was finished, UTC.
    pub finished: String,
    /// Seconds that the run that finished it took (less than the whole if earlier ones were killed).
    pub seconds: f64,
    /// What the job returned.
    pub result: serde_json::Value,
}

/// How far a cell is.
#[derive(Debug, Clone, PartialEq)]
pub enum CellState {
    /// Nothing is there.
    New,
    /// It was started and not finished.
    Started,
    /// It is finished.
    Done(Box<Done>),
    /// It is finished, and one of its files has been changed or removed since.
    Damaged(Damage),
    /// Its folder holds a cell with another hash; the text says what differs.
    Other(String),
}

impl CellState {
    /// Whether it is finished.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

impl std::fmt::Display for CellState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Started => "started",
            Self::Done(_) => "finished",
            Self::Damaged(_) => "damaged",
            Self::Other(_) => "another recipe's",
        })
    }
}

/// An output folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// What a cell's folder says about the cell is damaged.
    #[error("{0}; delete that cell's folder and run again")]
    Record(#[from] TomlError),
    /// It is another study's.
    #[error(
        "{folder} holds study `{theirs}`, preset `{their_preset}`; this is study `{ours}`, preset `{our_preset}`: choose \
         another folder with --out",
        folder = .folder.display()
    )]
    OtherExperiment {
        /// The folder.
        folder: PathBuf,
        /// The study that it holds.
        theirs: String,
        /// The preset that it holds.
        their_preset: String,
        /// The study that was asked for.
        ours: String,
        /// The preset that was asked for.
        our_preset: String,
    },
    /// It holds something that is no study.
    #[error(
        "{folder} is not empty and has no {MARK}, so it is not a study's output folder (it holds `{example}`): choose \
         another folder with --out",
        folder = .folder.display()
    )]
    NotOurs {
        /// The folder.
        folder: PathBuf,
        /// Something that it holds.
        example: String,
    },
    /// A cell's folder has files but does not say which cell it is.
    #[error(
        "{folder} is not empty and has no {CELL}, so it is not known what made it (it holds `{example}`): delete or move \
         that folder, or choose another one with --out",
        folder = .folder.display()
    )]
    UnknownCellFolder {
        /// The folder.
        folder: PathBuf,
        /// Something that it holds.
        example: String,
    },
}

/// The output folder of a study.
#[derive(Debug, Clone)]
pub(super) struct OutFolder {
    root: PathBuf,
    mark: Mark,
}

impl OutFolder {
    /// The folder `root` for a study under a preset; nothing is read or written yet.
    pub(super) fn new(root: &Path, study: &str, preset: &str) -> Self {
        Self { root: root.to_owned(), mark: Mark { study: study.to_owned(), preset: preset.to_owned() } }
    }

    /// Checks that the folder is this study's or empty, without writing. True if it is marked as this study's.
    pub(super) fn check(&self) -> Result<bool, FolderError> {
        if self.marked()? {
            return Ok(true);
        }
        let names = files::list_dir(&self.root)?;
        match names.into_iter().find(|name| !name.starts_with(TEMP_PREFIX)) {
            None => Ok(false),
            // Another process may have marked it and gone on between the two looks.
            Some(_) if self.marked()? => Ok(true),
            Some(example) => Err(FolderError::NotOurs { folder: self.root.clone(), example }),
        }
    }

    /// Checks the folder as [`check`](Self::check) does, makes it if missing and marks it.
    pub(super) fn claim(&self) -> Result<(), FolderError> {
        if !self.check()? {
            files::write_json_atomic(&self.root.join(MARK), &self.mark)?;
        }
        Ok(())
    }

    fn marked(&self) -> Result<bool, FolderError> {
        let mark: Option<Mark> = files::read_json_if_there(&self.root.join(MARK))?;
        match mark {
            Some(mark) if mark != self.mark => Err(FolderError::OtherExperiment {
                folder: self.root.clone(),
                theirs: mark.study,
                their_preset: mark.preset,
                ours: self.mark.study.clone(),
                our_preset: self.mark.preset.clone(),
            }),
            mark => Ok(mark.is_some()),
        }
    }

    pub(super) fn cell_folder(&self, cell: &Cell) -> PathBuf {
        self.root.join("cells").join(cell.path())
    }

    /// Whether the cell's folder says that it is finished, whatever it was made from.
    pub(super) fn says_finished(&self, cell: &Cell) -> bool {
        self.cell_folder(cell).join(DONE).is_file()
    }

    /// How far the cell is that should have this fingerprint.
    pub(super) fn state(&self, cell: &Cell, wanted: &Fingerprint) -> Result<CellState, FolderError> {
        let folder = self.cell_folder(cell);
        let Some(record) = read_record(&folder.join(CELL))? else {
            let names = files::list_dir(&folder)?;
            return match names.into_iter().find(|name| !name.starts_with(TEMP_PREFIX)) {
                None => Ok(CellState::New),
                Some(_) if folder.join(CELL).is_file() => self.state(cell, wanted),
                Some(example) => Err(FolderError::UnknownCellFolder { folder, example }),
            };
        };
        if record.content.hash != wanted.hash {
            // A cell that failed before it made anything (a damaged part, since repaired) holds no results to protect.
            let made = files::list_dir(&folder)?.into_iter().any(|name| name != CELL && !name.starts_with(TEMP_PREFIX));
            return Ok(if made { CellState::Other(wanted.differences(&record.content)) } else { CellState::New });
        }
        // A damaged done.json (a disk that failed) is no proof of anything: the cell runs again.
        match files::read_json_if_there::<Done>(&folder.join(DONE)) {
            Ok(Some(done)) if done.hash == wanted.hash => Ok(match sealed(&folder)? {
                Ok(()) => CellState::Done(Box::new(done)),
                Err(damage) => CellState::Damaged(damage),
            }),
            Ok(_) | Err(FileError::Json { .. }) => Ok(CellState::Started),
            Err(error) => Err(error.into()),
        }
    }

    /// Marks the cell's folder as this cell's. Call it holding the cell's lock.
    pub(super) fn start(&self, cell: &Cell, fingerprint: &Fingerprint) -> Result<PathBuf, FolderError> {
        let folder = self.cell_folder(cell);
        files::remove_stale_temps(&folder)?;
        // Of an earlier end of this cell; until the next one nothing here is sealed.
        files::remove_if_there(&folder.join(SEAL))?;
        let record = CellRecord { cell: cell.name.clone(), axes: cell.axes.clone(), content: fingerprint.clone() };
        let file = folder.join(CELL);
        if read_record(&file)?.is_none_or(|there| there.content.hash != fingerprint.hash) {
            let text = toml::to_string(&record)
                .map_err(|error| TomlError::new(&file, None, format!("cannot be written: {error}")))?;
            files::write_atomic(&file, text.as_bytes())?;
        }
        Ok(folder)
    }

    /// Marks the cell as finished.
    pub(super) fn finish(&self, cell: &Cell, done: &Done) -> Result<(), FileError> {
        let folder = self.cell_folder(cell);
        files::write_json_atomic(&folder.join(DONE), done)?;
        Seal::write(&folder, |path| !path.ends_with(".lock") && !path.ends_with(CARD))
    }

    /// Removes what writers of the summary left that were killed. Call it holding the summary's lock.
    pub(super) fn sweep(&self) -> Result<(), FileError> {
        // Another run may just be marking the folder.
        files::remove_stale_temps_but(&self.root, MARK)?;
        files::remove_stale_temps(&self.root.join("plots"))
    }

    /// Removes what was being written when the process was killed that had just finished the cell; whoever works on it is left alone.
    pub(super) fn sweep_finished(&self, cell: &Cell) -> Result<(), FileError> {
        match self.try_lock(&cell.slug())? {
            Attempt::Taken(_lock) => files::remove_stale_temps(&self.cell_folder(cell)),
            Attempt::Busy(_) => Ok(()),
        }
    }

    /// Tries to take the lock of the cell, or of the summary, by name.
    pub(super) fn try_lock(&self, name: &str) -> Result<Attempt, FileError> {
        FileLock::try_take(&self.root.join("locks").join(format!("{name}.lock")))
    }
}

/// Whether a finished cell's files are those that it was finished with. One without a seal (its maker was killed before its last
/// word, or somebody removed files on purpose and the seal with them) is taken as it is.
fn sealed(folder: &Path) -> Result<Result<(), Damage>, FolderError> {
    match Seal::read(folder) {
        Ok(seal) => Ok(seal.map_or(Ok(()), |seal| seal.check(folder))),
        Err(error @ FileError::Json { .. }) => Ok(Err(Damage { path: SEAL.into(), why: error.to_string() })),
        Err(error) => Err(error.into()),
    }
}

fn read_record(file: &Path) -> Result<Option<CellRecord>, FolderError> {
    match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::io("read", file)(error).into()),
        Ok(text) => Ok(Some(toml_text::parse_toml(file, &text)?)),
    }
}

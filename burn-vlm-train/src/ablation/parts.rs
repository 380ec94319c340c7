//! Parts that several cells share (pretrained encoders, cached features): made once, used by all.
//!
//! A part is a folder `<store>/<name>-<key>`, which is there whole or not at all: it is made in a folder beside,
//! flushed to the disk and renamed into place. Of two threads, processes or machines that need the same part, one
//! makes it and the others wait. If the maker is killed, the next one that needs the part makes it, and finds in
//! [`Making::work`] what the killed one had saved there.
//!
//! ```text
//! parts/
//!   siglip1-3f2a.../        a part; part.json lists its files and their hashes
//!   .making-siglip1-3f2a.../
//!     part/                 becomes the part
//!     work/                 survives a kill: checkpoints
//!   .locks/
//! ```
//!
//! Unusual here: where the file system has no locks, two processes may make the same part at once, each in a folder of
//! its own; the first to finish puts it into place, the other uses that one.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use burn_vlm_base::files::{self, FileError};
use burn_vlm_base::lock::{Attempt, FileLock};
use burn_vlm_base::progress::Reporter;
use burn_vlm_base::seal::Seal;
use burn_vlm_base::stop;
use serde::{Deserialize, Serialize};

use super::job::{JobError, chain};
use super::study_check::unsafe_name;

/// The list of a part's files with their hashes, written last.
const MANIFEST: &str = "part.json";

/// How many characters of the key are in the folder's name; the manifest has all of it.
const KEY_SHOWN: usize = 16;

/// The first pause between two looks at a lock that another process holds; it doubles up to [`WAIT_AT_MOST`].
const WAIT_AT_FIRST: Duration = Duration::from_millis(20);

/// The longest pause between two looks at a lock: short against making a part, long against asking a network disk.
const WAIT_AT_MOST: Duration = Duration::from_secs(2);

/// A folder of shared parts. Clones share it; it may be used from many threads and processes.
#[derive(Debug, Clone)]
pub struct PartStore {
    folder: PathBuf,
}

/// Where a part is being made.
#[derive(Debug)]
pub struct Making {
    root: PathBuf,
}

impl Making {
    /// An empty folder: what is in it in the end is the part.
    pub fn folder(&self) -> PathBuf {
        self.root.join("part")
    }

    /// A folder that survives if the process is killed, for checkpoints. The next attempt to make the part finds it as
    /// it was left; it is removed when the part is in place.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }
}

/// What [`PartStore::claim`] finds.
#[derive(Debug)]
pub enum Claim {
    /// The part is in place, in this folder.
    InPlace(PathBuf),
    /// Whoever holds this has to make it; until then the others wait.
    Ours(Maker),
}

/// The right to make a part. Dropped without [`publish`](Self::publish), it goes to the next one that needs the part.
#[derive(Debug)]
pub struct Maker {
    store: PartStore,
    key: String,
    name: String,
    making: Making,
    _lock: FileLock,
}

impl Maker {
    /// Where to make it.
    pub fn making(&self) -> &Making {
        &self.making
    }

    /// Puts what is in [`Making::folder`] into place, and returns where that is.
    ///
    /// # Errors
    /// The store's folder cannot be read or written.
    pub fn publish(self) -> Result<PathBuf, PartError> {
        self.store.publish(&self.key, &self.name, &self.making)?;
        Ok(self.store.path(&self.key, &self.name))
    }
}

/// A part that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// A file or folder of the store failed.
    #[error("part `{name}`: {source}")]
    File {
        /// The part.
        name: String,
        /// What failed.
        source: FileError,
    },
    /// The name cannot be part of a folder's name, or the key is no hash.
    #[error("part `{name}` with key `{key}`: {why}")]
    Name {
        /// The part.
        name: String,
        /// Its key.
        key: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Making it failed.
    #[error("making part `{name}` failed: {cause}")]
    Make {
        /// The part.
        name: String,
        /// Why, with all causes.
        cause: String,
    },
    /// The program was asked to stop while somebody else was making it.
    #[error("stopped, as was asked, while waiting for part `{name}`; the same command waits for it again")]
    Stopped {
        /// The part.
        name: String,
    },
    /// A part in place is not what was put there.
    #[error(
        "part `{name}` in {folder} is damaged: {why}; delete that folder and run again, it is then made anew",
        folder = .folder.display()
    )]
    Damaged {
        /// The part.
        name: String,
        /// Its folder.
        folder: PathBuf,
        /// What is wrong.
        why: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    name: String,
    key: String,
    made: String,
    files: Seal,
}

impl PartStore {
    /// The store in `folder`, which is made with the first part.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where a part is or will be.
    pub fn path(&self, key: &str, name: &str) -> PathBuf {
        self.folder.join(folder_name(key, name))
    }

    /// Whether a part is in place.
    pub fn has(&self, key: &str, name: &str) -> bool {
        self.path(key, name).join(MANIFEST).is_file()
    }

    /// The folder of the part `name` whose content `key` (a hexadecimal hash of everything it depends on) identifies;
    /// it is made by `make` if it is not there. While somebody else makes it, this waits and says so on `reporter`.
    ///
    /// # Errors
    /// [`PartError`]: `make` failed, or the store's folder cannot be read or written, or the part is damaged.
    pub fn get_or_make<F>(&self, key: &str, name: &str, reporter: &Reporter, make: F) -> Result<PathBuf, PartError>
    where
        F: FnOnce(&Making) -> Result<(), JobError>,
    {
        match self.claim(key, name, reporter)? {
            Claim::InPlace(folder) => Ok(folder),
            Claim::Ours(maker) => {
                make(maker.making())
                    .map_err(|error| PartError::Make { name: name.to_owned(), cause: chain(&*error) })?;
                maker.publish()
            }
        }
    }

    /// The part's folder, or the right to make it. While somebody else makes it, this waits and says so on `reporter`.
    ///
    /// # Errors
    /// [`PartError`]: the store's folder cannot be read or written, the part is damaged, or the program was asked to stop.
    pub fn claim(&self, key: &str, name: &str, reporter: &Reporter) -> Result<Claim, PartError> {
        check_names(key, name)?;
        let target = self.path(key, name);
        if self.in_place(key, name)? {
            self.sweep(key, name)?;
            return Ok(Claim::InPlace(target));
        }
        let Some(lock) = self.wait_for_lock(key, name, reporter)? else { return Ok(Claim::InPlace(target)) };
        let making = self.prepare(key, name, &lock).map_err(in_part(name))?;
        Ok(Claim::Ours(Maker { store: self.clone(), key: key.to_owned(), name: name.to_owned(), making, _lock: lock }))
    }

    /// Whether a whole part is in place.
    fn in_place(&self, key: &str, name: &str) -> Result<bool, PartError> {
        let folder = self.path(key, name);
        let damaged = |why: String| PartError::Damaged { name: name.to_owned(), folder: folder.clone(), why };
        let manifest: Option<Manifest> = match files::read_json_if_there(&folder.join(MANIFEST)) {
            Err(error @ FileError::Json { .. }) => return Err(damaged(error.to_string())),
            other => other.map_err(in_part(name))?,
        };
        let Some(manifest) = manifest else {
            return match folder.exists() {
                // Another process may have put it into place between the two looks.
                true if self.has(key, name) => self.in_place(key, name),
                true => Err(damaged(format!("{MANIFEST} is missing"))),
                false => Ok(false),
            };
        };
        if manifest.key != key {
            return Err(damaged(format!("it is for the key {}", manifest.key)));
        }
        manifest.files.check(&folder).map_err(|damage| damaged(damage.to_string()))?;
        Ok(true)
    }

    /// The lock of a part, or `None` if the part came into place while waiting for it.
    fn wait_for_lock(&self, key: &str, name: &str, reporter: &Reporter) -> Result<Option<FileLock>, PartError> {
        let path = self.lock_file(key, name);
        let mut pause = WAIT_AT_FIRST;
        let mut said = false;
        loop {
            match FileLock::try_take(&path).map_err(in_part(name))? {
                Attempt::Taken(lock) => {
                    return Ok(match self.in_place(key, name)? {
                        true => None,
                        false => Some(lock),
                    });
                }
                Attempt::Busy(_) if stop::asked() => return Err(PartError::Stopped { name: name.to_owned() }),
                Attempt::Busy(holder) => {
                    if !said {
                        reporter.line(&format!("part `{name}` is being made by {holder}: waiting for it"));
                        said = true;
                    }
                    thread::sleep(pause);
                    pause = (pause * 2).min(WAIT_AT_MOST);
                }
            }
        }
    }

    /// Removes what a maker left that was killed after it had put the part into place.
    fn sweep(&self, key: &str, name: &str) -> Result<(), PartError> {
        let making = self.making_folder(key, name);
        if !making.exists() {
            return Ok(());
        }
        match FileLock::try_take(&self.lock_file(key, name)).map_err(in_part(name))? {
            Attempt::Taken(lock) if lock.is_exclusive() && making.exists() => {
                fs::remove_dir_all(&making).map_err(FileError::io("remove", &making)).map_err(in_part(name))
            }
            // Its maker is about to remove it.
            _ => Ok(()),
        }
    }

    fn making_folder(&self, key: &str, name: &str) -> PathBuf {
        self.folder.join(format!(".making-{}", folder_name(key, name)))
    }

    fn lock_file(&self, key: &str, name: &str) -> PathBuf {
        self.folder.join(".locks").join(format!("{}.lock", folder_name(key, name)))
    }

    fn prepare(&self, key: &str, name: &str, lock: &FileLock) -> Result<Making, FileError> {
        let mut root = self.making_folder(key, name);
        if !lock.is_exclusive() {
            root.as_mut_os_string().push(format!("-{}", std::process::id()));
        }
        let making = Making { root };
        let part = making.folder();
        // What a killed maker had put here is not known to be whole; only its work folder is.
        if part.exists() {
            fs::remove_dir_all(&part).map_err(FileError::io("remove", &part))?;
        }
        files::create_dir_all(&part)?;
        files::create_dir_all(&making.work())?;
        Ok(making)
    }

    fn publish(&self, key: &str, name: &str, making: &Making) -> Result<(), PartError> {
        let part = making.folder();
        let manifest = Manifest {
            name: name.to_owned(),
            key: key.to_owned(),
            made: jiff::Timestamp::now().to_string(),
            files: Seal::of(&part, |_| true).map_err(in_part(name))?,
        };
        files::write_json_atomic(&part.join(MANIFEST), &manifest).map_err(in_part(name))?;
        if let Err(error) = files::publish_dir(&part, &self.path(key, name)) {
            // Without locks another process may have been first; its part is as good.
            if !self.in_place(key, name)? {
                return Err(in_part(name)(error));
            }
        }
        fs::remove_dir_all(&making.root).map_err(FileError::io("remove", &making.root)).map_err(in_part(name))
    }
}

fn in_part(name: &str) -> impl Fn(FileError) -> PartError {
    let name = name.to_owned();
    move |source| PartError::File { name: name.clone(), source }
}

fn folder_name(key: &str, name: &str) -> String {
    format!("{name}-{}", key.get(..KEY_SHOWN).unwrap_or(key))
}

fn check_names(key: &str, name: &str) -> Result<(), PartError> {
    let why = match unsafe_name(name) {
        None if key.len() < KEY_SHOWN => Some("the key must be a hash of at least 16 hexadecimal digits"),
        None if !key.chars().all(|c| c.is_ascii_hexdigit()) => Some("the key must be hexadecimal"),
        other => other,
    };
    why.map_or(Ok(()), |why| Err(PartError::Name { name: name.to_owned(), key: key.to_owned(), why }))
}

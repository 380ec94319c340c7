//! Advisory lock files: at most one process works on a cell or a part at a time.
//!
//! The operating system releases a lock when its process ends, however it ends, so a killed run never blocks the
//! next. Lock files are never deleted (deleting one that another process has just opened would give two owners).
//!
//! Unusual here: some network file systems have no locks. The caller then works without one; everything that is put
//! into place is renamed whole, so at worst the same work is done twice.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs4::fs_std::FileExt;

use crate::files::{self, FileError};

/// Lock files held by this process: on some network file systems locks only hold between processes.
static HELD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The result of trying to take a lock.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours until the value is dropped.
    Taken(FileLock),
    /// Another process or thread has it; who, as far as known.
    Busy(String),
}

/// A lock that is held.
#[derive(Debug)]
pub struct FileLock {
    /// `None` where the file system has no locks.
    file: Option<File>,
    key: PathBuf,
}

impl FileLock {
    /// Tries to take the lock file at `path`, which is made if missing.
    ///
    /// # Errors
    /// A lock file that cannot be made, named.
    pub fn try_take(path: &Path) -> Result<Attempt, FileError> {
        let mut file = files::open_or_create(path)?;
        let key = path.canonicalize().map_err(FileError::io("open", path))?;
        let mut held = held();
        if held.contains(&key) {
            return Ok(Attempt::Busy("this process".to_owned()));
        }
        let locked = match file.try_lock_exclusive() {
            Ok(true) => true,
            Ok(false) => return Ok(Attempt::Busy(holder(&mut file))),
            Err(error) if is_unsupported(&error) => false,
            Err(error) => return Err(FileError::io("lock", path)(error)),
        };
        held.insert(key.clone());
        drop(held);
        if locked {
            // Only for people and messages, so failing to write it is no failure.
            let _ = sign(&mut file);
        }
        Ok(Attempt::Taken(Self { file: locked.then_some(file), key }))
    }

    /// Whether the lock holds against other processes: false where the file system has no locks.
    pub fn is_exclusive(&self) -> bool {
        self.file.is_some()
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // The file first: as soon as the path leaves the set, another thread may open it and lock it.
        if let Some(file) = self.file.take() {
            let _ = FileExt::unlock(&file);
        }
        held().remove(&self.key);
    }
}

fn held() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC");
    writeln!(file, "process {}, since {now}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    match text.trim() {
        "" => "another process".to_owned(),
        text => text.to_owned(),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    // ENOLCK and ENOTSUP / EOPNOTSUPP of Linux and macOS, which std does not map to kinds everywhere.
    const CODES: [i32; 5] = [37, 95, 77, 45, 102];
    error.kind() == io::ErrorKind::Unsupported
        || (cfg!(unix) && error.raw_os_error().is_some_and(|code| CODES.contains(&code)))
}

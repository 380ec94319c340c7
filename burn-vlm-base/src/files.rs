//! Files that are there whole or not at all.
//!
//! Everything is written to a temporary file in the same folder, flushed to the disk (`fsync`) and then renamed: a
//! reader, or a run that continues after `kill -9`, sees the old file or the new one, never half of one. Errors name
//! the file and say what to do about a full disk or a missing permission.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// Temporary files start with this: whoever owns a folder may remove those that a killed process left.
pub const TEMP_PREFIX: &str = ".tmp-";

/// A file or folder that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {action} {path}{hint}", path = .path.display(), hint = hint(.source))]
    Io {
        /// What was tried: "write", "read", ...
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file's content is not the JSON that was expected.
    #[error("{path}{at} is not valid: {source}", path = .path.display(), at = .line.map(|n| format!(", line {n},")).unwrap_or_default())]
    Json {
        /// Which file.
        path: PathBuf,
        /// Line, from 1, in a file of one record a line.
        line: Option<usize>,
        /// What was expected where.
        source: serde_json::Error,
    },
}

impl FileError {
    /// For `map_err`: an error of `action` ("write", "read", ...) on `path`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// What to do about an error of the operating system.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (the disk is full: free some space and run the same command again, finished work is kept)"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            " (this user may not write there: choose another folder or change its permissions)"
        }
        _ => "",
    }
}

/// The bytes of a regular file of at most `most` bytes. What is none is not opened: a device has no end, and a pipe may have no
/// writer.
///
/// # Errors
/// A file that is not there, is no regular file, is larger ([`io::ErrorKind::FileTooLarge`]), or cannot be read; names it.
pub fn read_regular(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let error = |kind: io::ErrorKind, why: String| FileError::io("read", path)(io::Error::new(kind, why));
    let refuse = |why: &str| error(io::ErrorKind::InvalidInput, why.to_owned());
    let too_large = |why: String| error(io::ErrorKind::FileTooLarge, why);
    let data = fs::metadata(path).map_err(FileError::io("read", path))?;
    if data.is_dir() {
        return Err(refuse("it is a folder"));
    }
    if !data.is_file() {
        return Err(refuse("it is a device or a pipe, expected a regular file"));
    }
    if data.len() > most {
        return Err(too_large(format!("{} bytes, at most {most} are allowed", data.len())));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(FileError::io("read", path))?;
    // One more than allowed tells that it has grown meanwhile.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(FileError::io("read", path))?;
    if bytes.len() as u64 > most {
        return Err(too_large(format!("more than the {most} bytes that are allowed")));
    }
    Ok(bytes)
}

/// Writes `bytes` to `path` atomically; missing folders are made.
///
/// # Errors
/// Names the file; the old content, if any, is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// Like [`write_atomic`], for content that is streamed by `write`.
///
/// # Errors
/// Names the file; the old content, if any, is then untouched.
pub fn write_atomic_with<F>(path: &Path, write: F) -> Result<(), FileError>
where
    F: FnOnce(&mut File) -> io::Result<()>,
{
    write_atomic_at(path, |temp| {
        File::options()
            .write(true)
            .open(temp)
            .and_then(|mut file| write(&mut file))
            .map_err(FileError::io("write", path))
    })
}

/// Like [`write_atomic`], for content that something else writes: `write` gets the path of an empty file beside `path` and
/// fills it, or puts another in its place.
///
/// # Errors
/// What `write` returns, and this module's own; the old content, if any, is then untouched.
pub fn write_atomic_at<E, F>(path: &Path, write: F) -> Result<(), E>
where
    E: From<FileError>,
    F: FnOnce(&Path) -> Result<(), E>,
{
    let folder = parent_of(path);
    create_dir_all(folder)?;
    let prefix = temp_prefix(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    // Temporary files are private by default, but a study's folder may be shared: the umask decides.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temp = builder.tempfile_in(folder).map_err(FileError::io("create a file in", folder))?.into_temp_path();
    write(&temp)?;
    sync_file(&temp).map_err(FileError::io("write", path))?;
    temp.persist(path).map_err(|error| FileError::io("write", path)(error.error))?;
    Ok(sync_folder(folder)?)
}

/// A folder beside `target` to fill and to [publish](publish_dir); dropped before that, it is removed. Missing folders above
/// it are made.
///
/// # Errors
/// Names the folder in which none can be made.
pub fn temp_dir_for(target: &Path) -> Result<TempDir, FileError> {
    let folder = parent_of(target);
    create_dir_all(folder)?;
    temp_dir_in(folder, target)
}

/// The same within `folder`, which is there.
///
/// # Errors
/// As [`temp_dir_for`].
pub fn temp_dir_in(folder: &Path, target: &Path) -> Result<TempDir, FileError> {
    let prefix = temp_prefix(target);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    // As for files: the umask decides.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    builder.tempdir_in(folder).map_err(FileError::io("create a folder in", folder))
}

fn temp_prefix(path: &Path) -> String {
    format!("{TEMP_PREFIX}{}-", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Writes `value` as indented JSON with a final newline, atomically.
///
/// # Errors
/// Names the file.
pub fn write_json_atomic<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), FileError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|source| FileError::Json {
        path: path.to_owned(),
        line: None,
        source,
    })?;
    bytes.push(b'\n');
    write_atomic(path, &bytes)
}

/// Reads a JSON file.
///
/// # Errors
/// Names the file, and what in it was not as expected.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let bytes = fs::read(path).map_err(FileError::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| FileError::Json { path: path.to_owned(), line: None, source })
}

/// Reads a JSON file that may not be there.
///
/// # Errors
/// As [`read_json`], except that a missing file is `None`.
pub fn read_json_if_there<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    match read_json(path) {
        Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Opens a file to read and write it as it is, made with its folders if missing.
///
/// # Errors
/// A folder or file that cannot be made or opened, named.
pub fn open_or_create(path: &Path) -> Result<File, FileError> {
    if let Some(folder) = path.parent() {
        create_dir_all(folder)?;
    }
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(FileError::io("open", path))
}

/// Makes a folder and those above it.
///
/// # Errors
/// Names the folder.
pub fn create_dir_all(folder: &Path) -> Result<(), FileError> {
    fs::create_dir_all(folder).map_err(FileError::io("create", folder))
}

/// Puts a folder into place: everything in `temp` is flushed to the disk, then it is renamed to `target`.
///
/// Both must lie on the same disk. `target` must not exist, or be an empty folder.
///
/// # Errors
/// Names the file or folder that failed; `temp` is then still there.
pub fn publish_dir(temp: &Path, target: &Path) -> Result<(), FileError> {
    sync_tree(temp)?;
    fs::rename(temp, target).map_err(FileError::io("put into place", target))?;
    sync_folder(parent_of(target))
}

/// The names in a folder, sorted; a missing folder is empty.
///
/// # Errors
/// Names the folder.
pub fn list_dir(folder: &Path) -> Result<Vec<String>, FileError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(FileError::io("list", folder))?,
    };
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(FileError::io("list", folder))?;
    names.sort();
    Ok(names)
}

/// Removes the temporary files and folders that a killed process left in a folder. Call it only as the folder's owner.
///
/// # Errors
/// Names the file or folder.
pub fn remove_stale_temps(folder: &Path) -> Result<(), FileError> {
    remove_temps(folder, |name| name.starts_with(TEMP_PREFIX))
}

/// The same, without those that are to become the file `kept`, which others may be writing.
///
/// # Errors
/// Names the file or folder.
pub fn remove_stale_temps_but(folder: &Path, kept: &str) -> Result<(), FileError> {
    let kept = temp_prefix(Path::new(kept));
    remove_temps(folder, |name| name.starts_with(TEMP_PREFIX) && !name.starts_with(&kept))
}

fn remove_temps(folder: &Path, stale: impl Fn(&str) -> bool) -> Result<(), FileError> {
    for name in list_dir(folder)?.into_iter().filter(|name| stale(name)) {
        let path = folder.join(&name);
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|data| data.is_dir());
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(FileError::io("remove", &path))?;
    }
    Ok(())
}

/// Removes a file that may not be there.
///
/// # Errors
/// Names the file.
pub fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(FileError::io("remove", path)),
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Opened for writing where allowed: Windows flushes only such handles.
fn sync_file(path: &Path) -> io::Result<()> {
    File::options().append(true).open(path).or_else(|_| File::open(path))?.sync_all()
}

/// Flushes all files and folders below `folder`, and the folder itself.
///
/// # Errors
/// Names the file or folder that failed.
pub fn sync_tree(folder: &Path) -> Result<(), FileError> {
    for name in list_dir(folder)? {
        let path = folder.join(name);
        let kind = fs::symlink_metadata(&path).map_err(FileError::io("read", &path))?;
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            sync_file(&path).map_err(FileError::io("flush", &path))?;
        }
    }
    sync_folder(folder)
}

/// Flushes a folder's entries, so that a rename in it survives a power cut. Some network file systems cannot; the
/// rename is still atomic there, so that is no error.
///
/// # Errors
/// A full disk; names the folder.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> Result<(), FileError> {
    match File::open(folder).and_then(|file| file.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(FileError::io("flush", folder)(error)),
        _ => Ok(()),
    }
}

/// Other systems order renames themselves.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_folder(_folder: &Path) -> Result<(), FileError> {
    Ok(())
}

//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::CheckpointError;

/// Makes the names of two threads of one process differ.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Writes `path` through a temporary file beside it, which is flushed to disk and then renamed. On any error the temporary
/// file is removed and whatever stood at `path` is untouched. Missing folders are created.
///
/// `write` gets the temporary file's path and writes all of it.
///
/// # Errors
/// What `write` returns, and [`CheckpointError::Io`].
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(CheckpointError::io(folder, "creating the folder"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.tmp", unique()));
    let result = write(&temporary).and_then(|()| {
        let sync = File::open(&temporary).and_then(|file| file.sync_all());
        sync.map_err(CheckpointError::io(path, "flushing to disk"))?;
        fs::rename(&temporary, path).map_err(CheckpointError::io(path, "renaming the finished file"))
    });
    if result.is_err() {
        // The error that matters is already at hand.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// A part of a name that no other thread or process uses now.
pub(super) fn unique() -> String {
    format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

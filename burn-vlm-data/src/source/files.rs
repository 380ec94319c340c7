//! From a path pattern to files: braces, ranges, wildcards in the file's name, folders.

use super::config::Format;
use super::error::SourceError;
use crate::braces::expand_braces;
use std::path::{Path, PathBuf};

/// The files of a pattern, in the order that it says; wildcards and folders in the order of names.
pub(super) fn expand(source: &str, pattern: &str, format: Option<Format>) -> Result<Vec<PathBuf>, SourceError> {
    let fail =
        |reason: String| SourceError::Pattern { source_name: source.to_owned(), pattern: pattern.to_owned(), reason };
    let mut files = Vec::new();
    for path in expand_braces(pattern).map_err(fail)? {
        let path = PathBuf::from(path);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.contains('*') {
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let matching = list(source, folder)?.into_iter().filter(|file| wildcard(name, &name_of(file)));
            files.extend(matching);
        } else if path.is_dir() {
            let fits = |file: &PathBuf| match (format_of(file), format) {
                (Some(found), Some(wanted)) => found == wanted,
                (found, None) => found.is_some(),
                (None, Some(_)) => false,
            };
            files.extend(list(source, &path)?.into_iter().filter(fits));
        } else {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(fail("no file has this name; give a file, a list such as {a,b}.json, or a folder".to_owned()));
    }
    Ok(files)
}

/// The paths of a pattern, folders as they are: braces, and wildcards in the last part, where they stand for files and folders in the
/// order of their names. For data whose files tell no format by their ending, or that lie in folders which belong together.
///
/// # Errors
/// A pattern that cannot be understood or that no path fits, a folder that cannot be listed.
pub fn find_paths(source: &str, pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    let fail =
        |reason: String| SourceError::Pattern { source_name: source.to_owned(), pattern: pattern.to_owned(), reason };
    let mut paths = Vec::new();
    for path in expand_braces(pattern).map_err(fail)? {
        let path = PathBuf::from(path);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.contains('*') {
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            paths.extend(entries(source, folder)?.into_iter().filter(|path| wildcard(name, &name_of(path))));
        } else {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(fail(
            "nothing has this name; give a file or folder, a list such as {a,b}, or a name with *".to_owned(),
        ));
    }
    Ok(paths)
}

/// The format that a file's ending tells.
pub(super) fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "json" | "jsonl" | "ndjson" => Some(Format::Json),
        "parquet" => Some(Format::Parquet),
        "tar" => Some(Format::WebDataset),
        "tsv" => Some(Format::Tsv),
        _ => None,
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The files of a folder by name.
fn list(source: &str, folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    Ok(entries(source, folder)?.into_iter().filter(|path| path.is_file()).collect())
}

/// The files and folders of a folder by name.
fn entries(source: &str, folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let fail = |error: std::io::Error| SourceError::Unreadable {
        source_name: source.to_owned(),
        path: folder.to_owned(),
        reason: error.to_string(),
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        paths.push(entry.map_err(fail)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// True if `name` is what the pattern says, in which `*` is any text.
fn wildcard(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        assert!(wildcard("train-*.parquet", "train-0001.parquet"));
        assert!(wildcard("*", "anything"));
        assert!(wildcard("a*b*c", "a1b2b3c"));
        assert!(!wildcard("a*b", "ab1"));
        assert!(!wildcard("train-*.parquet", "test-0001.parquet"));
        assert!(!wildcard("ab*ba", "aba"));
    }

    #[test]
    fn folders_are_paths_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("en-de")).unwrap();
        std::fs::write(folder.path().join("en-xx.txt"), "").unwrap();
        let pattern = |end: &str| format!("{}/{end}", folder.path().display());
        let names = |end: &str| -> Vec<String> {
            find_paths("s", &pattern(end)).unwrap().iter().map(|path| name_of(path)).collect()
        };
        assert_eq!(names("en-*"), ["en-de", "en-xx.txt"]);
        assert_eq!(names("en-{fr,de}"), ["en-fr", "en-de"]);
        assert!(find_paths("s", &pattern("x*")).unwrap_err().to_string().contains("x*"));
    }

    #[test]
    fn folders_hold_their_format_only() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.tsv", "a.tsv", "notes.md", "c.json"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let pattern = folder.path().display().to_string();
        let names = |pattern: &str, format| -> Vec<String> {
            expand("s", pattern, format).unwrap().iter().map(|file| name_of(file)).collect()
        };
        assert_eq!(names(&pattern, Some(Format::Tsv)), ["a.tsv", "b.tsv"]);
        assert_eq!(names(&format!("{pattern}/*.tsv"), None), ["a.tsv", "b.tsv"]);
        assert_eq!(names(&pattern, None), ["a.tsv", "b.tsv", "c.json"]);
        let error = expand("s", &pattern, Some(Format::Parquet)).unwrap_err().to_string();
        assert!(error.contains("no file") && error.contains(&pattern), "{error}");
    }
}

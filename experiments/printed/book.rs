//! The book is all pages of `docs/`, crates lead to it, and what is published is whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::pages::{docs, pages, root};

/// The crates that are published.
const CRATES: [&str; 5] = ["burn-vlm", "burn-vlm-base", "burn-vlm-data", "burn-vlm-eval", "burn-vlm-train"];
/// What crates.io takes of one crate, packed (`max_upload_size`), in bytes.
const UPLOAD: u64 = 10 << 20;

/// What stands in the round brackets of `[..](..)`.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

#[test]
fn the_summary_has_every_page_once() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> = targets(&summary).map(|target| root().join("docs").join(target)).collect();
    let pages: BTreeSet<PathBuf> = docs().into_iter().filter(|path| !path.ends_with("SUMMARY.md")).collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), pages);
    assert_eq!(listed.len(), pages.len(), "a page is listed twice");
}

/// What `.ci/run` types is named there by its pages, and a page with such blocks says so.
#[test]
fn blocks_that_are_run_are_commands() {
    let run = |page: &super::pages::Page| page.blocks().iter().any(|block| block.marker.as_deref() == Some("run"));
    let found: Vec<String> = pages().into_iter().filter(run).map(|page| page.name).collect();
    assert!(found.iter().all(|name| name.starts_with("docs/")), ".ci/run looks in docs/: {found:?}");
    assert!(found.len() >= 2, "{found:?}");
    for block in pages().iter().flat_map(|page| page.blocks()) {
        if block.marker.as_deref() == Some("run") {
            assert_eq!(block.language, "bash", "{}", block.place);
        }
    }
}

#[test]
fn every_crate_leads_to_the_book() {
    for name in CRATES {
        for file in ["src/lib.rs", "README.md"] {
            let path = root().join(name).join(file);
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let page = text.split("/blob/main/docs/").nth(1).or(text.split("](../docs/").nth(1));
            let page = page.unwrap_or_else(|| panic!("{}: no link to a page of docs/", path.display()));
            let end = page.find([')', '#', '>', '\n']).unwrap();
            assert!(root().join("docs").join(&page[..end]).is_file(), "{}: docs/{}", path.display(), &page[..end]);
        }
    }
}

/// Files of Rust below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => sources(&entry, found),
            false if entry.extension().is_some_and(|ending| ending == "rs") => found.push(entry),
            false => {}
        }
    }
}

/// A published crate is compiled without the repository around it.
#[test]
fn no_crate_includes_files_from_outside() {
    let mut checked = 0;
    for name in CRATES {
        let folder = root().join(name).canonicalize().unwrap();
        assert!(!folder.join("build.rs").exists(), "{name}: a build script must not reach out of its package either");
        let mut files = Vec::new();
        sources(&folder.join("src"), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for call in ["include_str!(", "include_bytes!("] {
                for (at, _) in text.match_indices(call) {
                    // In `concat!` the folder stands first, and a name follows.
                    let path = text[at..].split('"').nth(1).unwrap_or_default();
                    let target = file.parent().unwrap().join(path);
                    let inside = target.canonicalize().is_ok_and(|target| target.starts_with(&folder));
                    assert!(inside, "{}: {path:?} is not in {name}", file.display());
                    checked += 1;
                }
            }
        }
    }
    assert!(checked >= 8, "{checked} includes: were they found?");
}

/// Bytes of all files below a folder.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { bytes(&path) } else { path.metadata().unwrap().len() }).sum()
}

/// The corpus and the fonts, which hardly shrink when they are packed, and a third of everything else.
#[test]
fn every_crate_is_small_enough_to_be_published() {
    for name in CRATES {
        let folder = root().join(name);
        let packed = ["data", "assets"].map(|data| folder.join(data)).into_iter().filter(|data| data.is_dir());
        let size = packed.map(|data| bytes(&data)).sum::<u64>() + bytes(&folder.join("src")) / 3;
        assert!(size < UPLOAD, "{name}: about {size} bytes packed, and crates.io takes {UPLOAD}");
    }
}

/// The number in the record of a result is that of the Burn that was compiled.
#[test]
fn the_version_of_burn_is_that_of_the_lock_file() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"burn\"");
    assert_eq!(lines.nth(1), Some(format!("version = \"{}\"", burn_vlm::BURN_VERSION).as_str()));
}

//! Links of the pages in this repository: the file is there, and so is the heading.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are not ours to write, or hold copies of what was run.
const LEFT_OUT: [&str; 4] = ["target", ".git", "runs", "node_modules"];

/// All Markdown files below a folder.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() && !LEFT_OUT.contains(&name.as_str()) {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// A page without its blocks of code, in which brackets mean something else.
fn prose(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let mut fence: Option<String> = None;
    let mut kept = String::new();
    for line in text.lines() {
        let marks: String = line.trim_start().chars().take_while(|c| *c == '`').collect();
        match &fence {
            None if marks.len() >= 3 => fence = Some(marks),
            None => {
                kept.push_str(line);
                kept.push('\n');
            }
            Some(open) if marks.len() >= open.len() => fence = None,
            Some(_) => {}
        }
    }
    kept
}

/// The anchors that a page's headings get: lower case, spaces as hyphens, other marks left out.
fn anchors(prose: &str) -> BTreeSet<String> {
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    prose.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// What stands in the round brackets of `[..](..)`.
fn links(prose: &str) -> Vec<&str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).collect()
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    pages(root, &mut found);
    let (mut checked, mut dead) = (0, Vec::new());
    for page in &found {
        let text = prose(page);
        for link in links(&text) {
            if link.contains(':') || link.contains(char::is_whitespace) {
                continue;
            }
            checked += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            let named = || format!("{}: {link}", page.display());
            if !target.exists() {
                dead.push(named());
            } else if !anchor.is_empty() && target.is_file() && !anchors(&prose(&target)).contains(anchor) {
                dead.push(format!("{} (no such heading)", named()));
            }
        }
    }
    assert!(checked > 100, "{checked} links in {} pages: were they found?", found.len());
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn what_is_a_link_and_an_anchor() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.md");
    fs::write(&page, "# Why `x` is *1.5 x* (here)\n\nSee [a](b.md#c) and ![p](q.png).\n\n```\n[no](link)\n```\n")
        .unwrap();
    let text = prose(&page);
    assert_eq!(links(&text), ["b.md#c", "q.png"]);
    assert_eq!(anchors(&text).into_iter().collect::<Vec<_>>(), ["why-x-is-15-x-here"]);
}

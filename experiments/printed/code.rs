//! Rust on a page is an excerpt of a file that is compiled.

use std::fs;

use super::pages::{pages, root};

/// Where files are that `cargo test` compiles, or `.ci/run` does.
const COMPILED: [&str; 4] = ["examples/", "tests/", "src/", "docs/features.rs"];

/// Code without what no compiler sees: comments, blanks, the comma behind the last of a list.
fn skeleton(code: &str) -> String {
    let line = |line: &str| {
        let line = line.trim();
        match line.starts_with("//") {
            true => String::new(),
            false => line.split_once(" //").map_or(line, |(code, _)| code).split_whitespace().collect(),
        }
    };
    let text: String = code.lines().map(line).collect();
    [")", "]", "}"].iter().fold(text, |text, end| text.replace(&format!(",{end}"), end))
}

/// The parts of a block: a line that is a comment alone stands for what is left out.
fn parts(block: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in block.lines() {
        match line.trim_start().starts_with("// ") {
            true => parts.push(String::new()),
            false => parts.last_mut().unwrap().extend([line, "\n"]),
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// What is wrong with an excerpt, if anything.
fn differs(block: &str, file: &str) -> Option<String> {
    let file = skeleton(file);
    let mut rest = &file[..];
    for part in parts(block) {
        match rest.split_once(&skeleton(&part)) {
            Some((_, after)) => rest = after,
            None => return Some(part),
        }
    }
    None
}

#[test]
fn rust_is_an_excerpt_of_what_is_compiled() {
    let mut checked = 0;
    for block in pages().iter().flat_map(|page| page.blocks()) {
        if !block.language.starts_with("rust") {
            continue;
        }
        let place = &block.place;
        assert_eq!(block.language, "rust", "{place}: nothing is left out of what is checked");
        let file = block.marker.as_deref().and_then(|marker| marker.strip_prefix("excerpt of "));
        let file = file.unwrap_or_else(|| panic!("{place}: the line above must be `<!-- excerpt of FILE -->`"));
        assert!(COMPILED.iter().any(|folder| file.contains(folder)), "{place}: {file} is not compiled");
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{place}: {file}: {error}"));
        if let Some(part) = differs(&block.text, &text) {
            panic!("{place}: {file} does not have\n{part}");
        }
        checked += 1;
    }
    assert!(checked >= 5, "{checked} blocks: were they found?");
}

#[test]
fn what_differs_is_found() {
    let file = "fn f() {\n    // why\n    let x = g(\n        1,\n        2,\n    );\n    h(x);\n    k();\n}\n";
    assert_eq!(differs("let x = g(1, 2); // so\n// ...\nk();\n", file), None);
    assert_eq!(differs("let x = g(1, 3);\n", file).as_deref(), Some("let x = g(1, 3);\n"));
    assert!(differs("k();\n// then\nh(x);\n", file).is_some(), "the order counts");
}

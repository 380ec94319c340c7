//! The pages, and what stands in them.

use std::fs;
use std::path::{Path, PathBuf};

/// The repository.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page.
pub(super) struct Page {
    /// Its path below the repository.
    pub(super) name: String,
    pub(super) text: String,
}

/// A block of code.
pub(super) struct Block {
    /// Its page and line, for people.
    pub(super) place: String,
    /// What the line above says of it.
    pub(super) marker: Option<String>,
    /// The language behind its fence.
    pub(super) language: String,
    pub(super) text: String,
}

/// Pages below `docs/`.
pub(super) fn docs() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false if entry.extension().is_some_and(|ending| ending == "md") => found.push(entry),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// Those, and the pages beside the code.
pub(super) fn pages() -> Vec<Page> {
    let mut paths = docs();
    paths.extend(["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    let folders = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path().join("README.md"));
    paths.extend(folders.filter(|path| path.is_file() && path.parent() != Some(&root().join("docs"))));
    let page = |path: &PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
        Page { name, text: fs::read_to_string(path).unwrap() }
    };
    paths.iter().map(page).collect()
}

impl Page {
    /// Its blocks, in order.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let (mut open, mut marker): (Option<(usize, Block)>, Option<String>) = (None, None);
        for (number, line) in self.text.lines().enumerate() {
            let fence = line.trim_start().chars().take_while(|c| *c == '`').count();
            match &mut open {
                Some((long, _)) if fence >= *long => blocks.extend(open.take().map(|(_, block)| block)),
                Some((_, block)) => block.text.extend([line, "\n"]),
                None if fence >= 3 => {
                    let language = line.trim_start().trim_start_matches('`').trim().to_owned();
                    let place = format!("{}:{}", self.name, number + 1);
                    open = Some((fence, Block { place, marker: marker.take(), language, text: String::new() }));
                }
                None => {
                    let comment = line.trim().strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
                    marker = comment.map(str::to_owned);
                }
            }
        }
        assert!(open.is_none(), "{}: a block without its end", self.name);
        blocks
    }

    /// Code within its sentences, with the line where it begins. It may go on in the next line.
    pub(super) fn spans(&self) -> Vec<(String, String)> {
        let (mut fence, mut prose) = (0, String::new());
        for line in self.text.lines() {
            let marks = line.trim_start().chars().take_while(|c| *c == '`').count();
            match fence {
                0 if marks >= 3 => fence = marks,
                0 => prose.push_str(line),
                _ if marks >= fence => fence = 0,
                _ => {}
            }
            // A paragraph ends at an empty line, and with it what is open.
            prose.push('\n');
        }
        let mut spans = Vec::new();
        let mut number = 1;
        for paragraph in prose.split("\n\n") {
            let mut line = number;
            for (turn, part) in paragraph.split('`').enumerate() {
                if turn % 2 == 1 {
                    let text = part.split_whitespace().collect::<Vec<_>>().join(" ").replace("\\|", "|");
                    spans.push((format!("{}:{line}", self.name), text));
                }
                line += part.matches('\n').count();
            }
            number += paragraph.matches('\n').count() + 2;
        }
        spans
    }
}

#[test]
fn blocks_and_spans_of_a_page() {
    let text = "# A `b`\n\n<!-- run -->\n```bash\necho `x`\n```\nand `c\nd` here\n\n````\n```\n````\n";
    let page = Page { name: "p.md".into(), text: text.into() };
    let blocks = page.blocks();
    assert_eq!(blocks.len(), 2);
    assert_eq!(
        (blocks[0].marker.as_deref(), &*blocks[0].language, &*blocks[0].text),
        (Some("run"), "bash", "echo `x`\n")
    );
    assert_eq!((&*blocks[0].place, &*blocks[1].text, blocks[1].marker.as_deref()), ("p.md:4", "```\n", None));
    assert_eq!(page.spans(), [("p.md:1".to_owned(), "b".to_owned()), ("p.md:7".to_owned(), "c d".to_owned())]);
}

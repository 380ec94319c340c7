//! Tables of named columns: CSV (RFC 4180), TSV and JSONL, small enough to be held in memory.
//!
//! Unusual here: a row knows the line that it begins on, so that a message about it can name the place in an editor.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn_vlm_base::files::{FileError, read_regular};
use burn_vlm_base::shorten::shorten;
use serde_json::{Map, Value};

/// The most bytes of a file: 4 GiB.
const MOST_BYTES: u64 = 1 << 32;

/// A table that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ColumnsError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// An ending that says nothing of the format.
    #[error("{}: cannot tell how it is written; expected a name that ends in .csv, .tsv or .jsonl", file.display())]
    UnknownFormat {
        /// The file.
        file: PathBuf,
    },
    /// A row that is damaged.
    #[error("{}, line {line}: {message}", file.display())]
    Row {
        /// The file.
        file: PathBuf,
        /// The line that the row begins on, from 1.
        line: usize,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// No row.
    #[error("{}: it has no row; expected {expected}", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
        /// What was expected.
        expected: String,
    },
    /// No such column.
    #[error("{}: no column {column:?}; there are {}", file.display(), columns.join(", "))]
    NoColumn {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// Those that there are.
        columns: Vec<String>,
    },
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    /// The file.
    pub file: PathBuf,
    /// Names of the columns.
    pub names: Vec<String>,
    /// The rows.
    pub rows: Vec<ColumnsRow>,
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnsRow {
    /// The line that it begins on, from 1.
    pub line: usize,
    /// A cell for each column. JSON's null, and what a record lacks, is none; an empty cell of CSV or TSV is an empty text.
    pub cells: Vec<Option<String>>,
}

impl Columns {
    /// Reads a file, whose format is told by its ending. Numbers and other values of JSON become texts.
    ///
    /// # Errors
    /// A file that is not there or is not UTF-8, an unknown ending, a damaged row, two columns of a name, a table without rows.
    pub fn read(file: &Path) -> Result<Self, ColumnsError> {
        let ending = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let separator = match ending.as_str() {
            "csv" => Some(','),
            "tsv" => Some('\t'),
            "jsonl" | "ndjson" => None,
            _ => return Err(ColumnsError::UnknownFormat { file: file.to_owned() }),
        };
        let bytes = read_regular(file, MOST_BYTES)?;
        let damaged = |line: usize, message: String| ColumnsError::Row { file: file.to_owned(), line, message };
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            damaged(line, "expected UTF-8".to_owned())
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (names, rows) = match separator {
            Some(separator) => delimited(text, separator),
            None => records(text),
        }
        .map_err(|(line, message)| damaged(line, message))?;
        if rows.is_empty() {
            let expected = match separator {
                Some(_) => "a line of column names and a line for each row",
                None => "a JSON object on each line",
            };
            return Err(ColumnsError::Empty { file: file.to_owned(), expected: expected.to_owned() });
        }
        Ok(Self { file: file.to_owned(), names, rows })
    }

    /// The place of a column.
    ///
    /// # Errors
    /// There is none of the name.
    pub fn column(&self, name: &str) -> Result<usize, ColumnsError> {
        self.names.iter().position(|known| known == name).ok_or_else(|| ColumnsError::NoColumn {
            file: self.file.clone(),
            column: name.to_owned(),
            columns: self.names.clone(),
        })
    }

    /// An error about a row.
    pub fn wrong(&self, row: &ColumnsRow, message: impl Into<String>) -> ColumnsError {
        ColumnsError::Row { file: self.file.clone(), line: row.line, message: message.into() }
    }
}

impl ColumnsRow {
    /// A cell; none where it is missing.
    pub fn cell(&self, column: usize) -> Option<&str> {
        self.cells.get(column)?.as_deref()
    }
}

/// Names and rows, or the line and what is wrong there.
type Parsed = Result<(Vec<String>, Vec<ColumnsRow>), (usize, String)>;

fn delimited(text: &str, separator: char) -> Parsed {
    let mut rows = split_rows(text, separator)?.into_iter();
    let Some((line, names)) = rows.next() else { return Ok((Vec::new(), Vec::new())) };
    let mut seen = HashMap::new();
    for (place, name) in (1..).zip(&names) {
        if let Some(first) = seen.insert(name, place) {
            let message = format!("columns {first} and {place} are both called {name:?}; give each its own name");
            return Err((line, message));
        }
    }
    let row = |(line, cells): Line| match cells.len() == names.len() {
        true => Ok(ColumnsRow { line, cells: cells.into_iter().map(Some).collect() }),
        false => Err((line, format!("{} cells, expected {} as in the first line", cells.len(), names.len()))),
    };
    let rows = rows.map(row).collect::<Result<_, _>>()?;
    Ok((names, rows))
}

/// The cells of a row, and the line that it begins on.
type Line = (usize, Vec<String>);

/// Rows of cells with the line that each begins on; blank lines are none. A cell in quotation marks may hold anything, with `""` for
/// one mark.
fn split_rows(text: &str, separator: char) -> Result<Vec<Line>, (usize, String)> {
    let mut rows = Vec::new();
    let (mut cells, mut cell, mut line, mut begin) = (Vec::new(), String::new(), 1, 1);
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if !quoted && cell.is_empty() => {
                quoted = true;
                let opened = line;
                loop {
                    match chars.next() {
                        Some('"') if chars.peek() == Some(&'"') => {
                            chars.next();
                            cell.push('"');
                        }
                        Some('"') => break,
                        Some(c) => {
                            line += usize::from(c == '\n');
                            cell.push(c);
                        }
                        None => return Err((opened, "a quotation mark is opened and never closed".to_owned())),
                    }
                }
                let next = chars.peek().copied();
                if next.is_some_and(|next| next != separator && !matches!(next, '\n' | '\r')) {
                    let message =
                        "text behind a closing quotation mark; expected the end of the cell (a mark within is doubled)";
                    return Err((line, message.to_owned()));
                }
            }
            '\r' if matches!(chars.peek(), None | Some('\n')) => {}
            '\n' => {
                if !cells.is_empty() || !cell.is_empty() || quoted {
                    cells.push(std::mem::take(&mut cell));
                    rows.push((begin, std::mem::take(&mut cells)));
                }
                quoted = false;
                line += 1;
                begin = line;
            }
            c if c == separator => {
                cells.push(std::mem::take(&mut cell));
                quoted = false;
            }
            c => cell.push(c),
        }
    }
    if !cells.is_empty() || !cell.is_empty() || quoted {
        cells.push(cell);
        rows.push((begin, cells));
    }
    Ok(rows)
}

/// JSON objects, one a line; the columns are all names that occur, in the order in which they do.
fn records(text: &str) -> Parsed {
    let mut names: Vec<String> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut rows = Vec::new();
    for (line, record) in (1..).zip(text.lines()).filter(|(_, record)| !record.trim().is_empty()) {
        let record: Map<String, Value> = serde_json::from_str(record)
            .map_err(|error| (line, format!("{error}; expected one JSON object, found {}", shorten(record))))?;
        let mut cells = vec![None; names.len()];
        for (name, value) in record {
            let place = *places.entry(name).or_insert_with_key(|name| {
                names.push(name.clone());
                names.len() - 1
            });
            cells.resize(cells.len().max(place + 1), None);
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text,
                // Columns that nobody asks for may hold anything.
                value => value.to_string(),
            };
            if let Some(cell) = cells.get_mut(place) {
                *cell = Some(text);
            }
        }
        rows.push(ColumnsRow { line, cells });
    }
    Ok((names, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Columns, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        Columns::read(&file).map_err(|error| error.to_string())
    }

    fn texts(columns: &Columns) -> Vec<(usize, Vec<&str>)> {
        columns
            .rows
            .iter()
            .map(|row| (row.line, (0..row.cells.len()).map(|at| row.cell(at).unwrap_or("-")).collect()))
            .collect()
    }

    #[test]
    fn cells_are_read_as_written() {
        let csv = read("a.csv", "\u{feff}a,b\r\n1,\"x, \"\"y\"\"\nz\"\r\n\r\n,\"\"\n2,3\"4\n").unwrap();
        assert_eq!(csv.names, ["a", "b"]);
        assert_eq!(texts(&csv), [(2, vec!["1", "x, \"y\"\nz"]), (5, vec!["", ""]), (6, vec!["2", "3\"4"])]);
        let tsv = read("a.TSV", "a\tb\nx,y\t \n").unwrap();
        assert_eq!(texts(&tsv), [(2, vec!["x,y", " "])]);
        let jsonl = read("a.jsonl", "{\"a\": 1, \"b\": null}\n\n{\"c\": [1], \"a\": \"\"}\n{\"b\": true}").unwrap();
        assert_eq!(jsonl.names, ["a", "b", "c"]);
        assert_eq!(jsonl.rows[1].cell(0), Some(""));
        assert_eq!((jsonl.rows[1].line, jsonl.rows[1].cell(2)), (3, Some("[1]")));
        assert_eq!((jsonl.rows[2].cell(0), jsonl.rows[2].cell(1), jsonl.rows[2].cell(2)), (None, Some("true"), None));
        assert_eq!((jsonl.column("c").unwrap(), csv.column("z").is_err()), (2, true));
    }

    #[test]
    fn damage_is_named_with_its_line() {
        for (name, text, words) in [
            ("a.csv", "a,b\n1,2\n1,2,3\n", "a.csv, line 3: 3 cells, expected 2"),
            ("a.csv", "a,b\n1,\"2\n\n", "line 2: a quotation mark"),
            ("a.csv", "a,b\n1,\"2\"3\n", "line 2: text behind"),
            ("a.csv", "a,b,a\n", "columns 1 and 3 are both called \"a\""),
            ("a.csv", "a,b\n", "it has no row"),
            ("a.csv", "", "it has no row"),
            ("a.jsonl", "{\"a\": 1}\n[1]\n", "line 2: "),
            ("a.txt", "a", ".csv, .tsv or .jsonl"),
        ] {
            let error = read(name, text).unwrap_err();
            assert!(error.contains(words), "{text:?}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.csv"), b"a,b\n1,\xff\n").unwrap();
        let error = Columns::read(&folder.path().join("b.csv")).unwrap_err().to_string();
        assert!(error.contains("line 2: expected UTF-8"), "{error}");
        assert!(Columns::read(&folder.path().join("none.csv")).unwrap_err().to_string().contains("none.csv"));
    }
}

//! Rows of tab-separated values, with cells in quotes as pandas writes them: a cell in quotes may hold tabs, line breaks and
//! doubled quotes.

use super::super::checkpoints::Mark;
use super::{Damage, Kept, Piece, Walk};
use std::fs::File;
use std::io::{BufRead, BufReader};

/// Goes from row to row.
pub(super) struct Rows {
    reader: BufReader<File>,
    next: Mark,
}

/// Where in a row the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// A cell begins.
    Cell,
    /// A cell without quotes.
    Plain,
    /// Between quotes.
    Quoted,
    /// After a quote within quotes: the end of the cell, or the first half of a doubled one.
    Quote,
}

impl Rows {
    /// `from` says where the reader stands.
    pub(super) fn new(reader: BufReader<File>, from: Mark) -> Self {
        Self { reader, next: from }
    }

    /// Where the next row begins.
    pub(super) fn position(&self) -> Mark {
        self.next
    }
}

impl At {
    /// Reads a buffer up to the line break that ends the row; the bytes before it.
    fn read(&mut self, buffer: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < buffer.len() {
            let found = match self {
                Self::Quoted => memchr::memchr(b'"', &buffer[at..]),
                Self::Plain => memchr::memchr2(b'\t', b'\n', &buffer[at..]),
                Self::Cell | Self::Quote => Some(0),
            };
            let Some(found) = found else { break };
            at += found;
            *self = match (*self, buffer[at]) {
                (Self::Cell | Self::Plain | Self::Quote, b'\n') => return (at, true),
                (Self::Cell | Self::Quote | Self::Plain, b'\t') => Self::Cell,
                (Self::Cell | Self::Quote, b'"') => Self::Quoted,
                (Self::Quoted, _) => Self::Quote,
                (Self::Cell | Self::Plain | Self::Quote, _) => Self::Plain,
            };
            at += 1;
        }
        (buffer.len(), false)
    }
}

impl Walk for Rows {
    fn next(&mut self, keep: bool, max_bytes: u64) -> Result<Option<Piece>, Damage> {
        loop {
            let mark = self.next;
            let mut kept = Kept::new(keep, max_bytes);
            let (mut at, mut blank, mut ended) = (At::Cell, true, false);
            while !ended {
                let buffer = self.reader.fill_buf()?;
                if buffer.is_empty() {
                    break;
                }
                let (used, end) = at.read(buffer);
                let row = &buffer[..used];
                blank &= row.iter().all(|byte| *byte == b'\r');
                kept.add(row);
                self.next.line += memchr::memchr_iter(b'\n', row).count() as u64;
                ended = end;
                self.next.offset += (used + usize::from(ended)) as u64;
                self.reader.consume(used + usize::from(ended));
            }
            if at == At::Quoted && !ended {
                let reason = "a cell that begins with a quote is never closed; quotes in cells are doubled".to_owned();
                return Err(Damage { place: format!("the row of line {}", mark.line), reason });
            }
            self.next.line += 1;
            if !blank {
                return Ok(Some(Piece { mark, bytes: kept.bytes }));
            }
            if !ended {
                return Ok(None);
            }
        }
    }
}

/// The cells of a row.
pub(super) fn cells(row: &str) -> Vec<String> {
    let row = row.strip_suffix('\r').unwrap_or(row);
    let mut cells = Vec::new();
    let mut rest = Some(row);
    while let Some(text) = rest {
        let mut cell = String::new();
        let mut tail = text;
        if let Some(mut quoted) = text.strip_prefix('"') {
            loop {
                let Some((before, after)) = quoted.split_once('"') else {
                    cell.push_str(quoted);
                    tail = "";
                    break;
                };
                cell.push_str(before);
                match after.strip_prefix('"') {
                    Some(more) => {
                        cell.push('"');
                        quoted = more;
                    }
                    None => {
                        tail = after;
                        break;
                    }
                }
            }
        }
        let (plain, next) = match tail.split_once('\t') {
            Some((plain, next)) => (plain, Some(next)),
            None => (tail, None),
        };
        cell.push_str(plain);
        cells.push(cell);
        rest = next;
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_those_of_pandas() {
        assert_eq!(cells("1\tplain\t\tend"), ["1", "plain", "", "end"]);
        assert_eq!(cells("1\t\"a \"\"b\"\"\tc\nd\"\t2\r"), ["1", "a \"b\"\tc\nd", "2"]);
        // A quote inside a cell without quotes is itself.
        assert_eq!(cells("a 5\" pipe\tb"), ["a 5\" pipe", "b"]);
        assert_eq!(cells(""), [""]);
    }
}

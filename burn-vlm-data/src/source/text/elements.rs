//! Elements of one JSON array, told apart by brackets and strings alone: nothing is parsed.

use super::super::checkpoints::Mark;
use super::{Damage, Kept, Piece, Walk};
use std::fs::File;
use std::io::{BufRead, BufReader};

/// Goes from element to element.
pub(super) struct Elements {
    reader: BufReader<File>,
    /// Where the reader stands, and the number of the element that comes next.
    next: Mark,
    expect: Expect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// The opening bracket.
    Open,
    /// The first element, or the closing bracket.
    First,
    /// An element.
    Element,
    /// Nothing but blanks.
    End,
}

/// What ends an element.
#[derive(Clone, Copy)]
enum Delimiter {
    Comma,
    Bracket,
}

/// Where in an element the reader is.
#[derive(Default)]
struct Inside {
    depth: usize,
    string: bool,
    escaped: bool,
}

impl Elements {
    /// `from` says where the reader stands: before the array (offset of its bracket), or at an element.
    pub(super) fn new(reader: BufReader<File>, from: Mark) -> Self {
        // An array begins with its bracket, so no element has the offset of the array itself.
        let expect = if from == ARRAY { Expect::Open } else { Expect::Element };
        Self { reader, next: from, expect }
    }

    fn damage(&self, reason: &str) -> Damage {
        Damage { place: format!("byte {}, element {}", self.next.offset, self.next.line), reason: reason.to_owned() }
    }

    /// The next byte that is no blank, not consumed.
    fn peek(&mut self) -> Result<Option<u8>, Damage> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let blank = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let found = buffer.get(blank).copied();
            self.consume(blank);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
        self.next.offset += bytes as u64;
    }

    /// Reads on to what ends the element.
    fn element(&mut self, kept: &mut Kept) -> Result<Delimiter, Damage> {
        let mut inside = Inside::default();
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Err(self.damage("the file ends within the array; it is truncated"));
            }
            let (used, end) = inside.read(buffer);
            kept.add(&buffer[..used]);
            let closed_too_often = end.is_none() && used < buffer.len();
            self.consume(used + usize::from(end.is_some()));
            if closed_too_often {
                return Err(self.damage("a closing brace that was never opened"));
            }
            if let Some(delimiter) = end {
                return Ok(delimiter);
            }
        }
    }
}

/// Before the array.
pub(super) const ARRAY: Mark = Mark { offset: 0, line: 0 };

impl Walk for Elements {
    fn next(&mut self, keep: bool, max_bytes: u64) -> Result<Option<Piece>, Damage> {
        if self.expect == Expect::Open {
            // A byte order mark is let pass.
            while self.peek()?.is_some_and(|byte| [0xef, 0xbb, 0xbf].contains(&byte)) {
                self.consume(1);
            }
            if self.peek()? != Some(b'[') {
                return Err(self.damage("expected an array: the file begins otherwise"));
            }
            self.consume(1);
            self.expect = Expect::First;
        }
        match (self.expect, self.peek()?) {
            (Expect::End, None) => return Ok(None),
            (Expect::End, Some(_)) => return Err(self.damage("something stands after the array")),
            (_, None) => return Err(self.damage("the file ends within the array; it is truncated")),
            (Expect::First, Some(b']')) => {
                self.consume(1);
                self.expect = Expect::End;
                return self.next(keep, max_bytes);
            }
            (_, Some(b',' | b']')) => return Err(self.damage("a comma without a record beside it")),
            _ => {}
        }
        let mark = self.next;
        let mut kept = Kept::new(keep, max_bytes);
        self.expect = match self.element(&mut kept)? {
            Delimiter::Comma => Expect::Element,
            Delimiter::Bracket => Expect::End,
        };
        self.next.line += 1;
        Ok(Some(Piece { mark, bytes: kept.bytes }))
    }
}

impl Inside {
    /// Reads a buffer up to the delimiter that ends the element: the bytes before it. Without a delimiter, fewer bytes than
    /// the buffer has mean a brace that closes nothing.
    fn read(&mut self, buffer: &[u8]) -> (usize, Option<Delimiter>) {
        let mut at = 0;
        while at < buffer.len() {
            if self.escaped {
                self.escaped = false;
            } else if self.string {
                match memchr::memchr2(b'"', b'\\', &buffer[at..]) {
                    None => return (buffer.len(), None),
                    Some(found) => at += found,
                }
                self.escaped = buffer[at] == b'\\';
                self.string = self.escaped;
            } else {
                match buffer[at] {
                    b'"' => self.string = true,
                    b'{' | b'[' => self.depth += 1,
                    b',' if self.depth == 0 => return (at, Some(Delimiter::Comma)),
                    b']' if self.depth == 0 => return (at, Some(Delimiter::Bracket)),
                    b'}' if self.depth == 0 => return (at, None),
                    b'}' | b']' => self.depth -= 1,
                    _ => {}
                }
            }
            at += 1;
        }
        (at, None)
    }
}

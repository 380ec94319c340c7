//! Lines that are not blank.

use super::super::checkpoints::Mark;
use super::{Damage, Kept, Piece, Walk};
use std::fs::File;
use std::io::{BufRead, BufReader};

/// Goes from line to line.
pub(super) struct Lines {
    reader: BufReader<File>,
    next: Mark,
}

impl Lines {
    /// `from` says where the reader stands.
    pub(super) fn new(reader: BufReader<File>, from: Mark) -> Self {
        Self { reader, next: from }
    }
}

impl Walk for Lines {
    fn next(&mut self, keep: bool, max_bytes: u64) -> Result<Option<Piece>, Damage> {
        loop {
            let mark = self.next;
            let mut kept = Kept::new(keep, max_bytes);
            let mut blank = true;
            let mut ended = false;
            while !ended {
                let buffer = self.reader.fill_buf()?;
                if buffer.is_empty() {
                    break;
                }
                let end = memchr::memchr(b'\n', buffer);
                let line = &buffer[..end.unwrap_or(buffer.len())];
                blank &= line.iter().all(u8::is_ascii_whitespace);
                kept.add(line);
                ended = end.is_some();
                let used = line.len() + usize::from(ended);
                self.next.offset += used as u64;
                self.reader.consume(used);
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

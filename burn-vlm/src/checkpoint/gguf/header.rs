//! The part of a GGUF file before the tensors' bytes: metadata, and of each tensor its name, shape, type and place.
//!
//! Unusual here: nothing is allocated on a number's word. A count or a length is compared with the bytes that are left in the file first,
//! so that a damaged file costs no more memory than it has bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::blocks::BlockType;
use crate::checkpoint::CheckpointError;

/// How a file begins.
pub const START: [u8; 4] = *b"GGUF";
/// The versions that are read; the first had other sizes of counts, and no published file has it.
const VERSIONS: [u32; 2] = [2, 3];
/// Key of the tensors' alignment.
const ALIGNMENT: &str = "general.alignment";
/// The alignment of files that do not say.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Most dimensions of a tensor.
const MAX_DIMENSIONS: u32 = 4;
/// Bytes of the shortest entry of the metadata: an empty key, a type, a byte.
const LEAST_ENTRY: u64 = 8 + 4 + 1;
/// Bytes of the shortest description of a tensor: an empty name, a number of dimensions, a type, an offset.
const LEAST_TENSOR: u64 = 8 + 4 + 4 + 8;

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned number, and a signed one that is not negative.
    Unsigned(u64),
    /// A negative number.
    Negative(i64),
    /// Any float.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of numbers of any type, or of truths.
    Numbers(Vec<f64>),
}

/// A tensor of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// As rows of a matrix: the slowest dimension first, the other way round than in the file.
    pub shape: Vec<usize>,
    /// How its values are stored.
    pub kind: BlockType,
    /// First byte, from the start of the file.
    pub start: u64,
}

/// What stands before the tensors' bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// By key.
    pub metadata: BTreeMap<String, Value>,
    /// By name.
    pub tensors: BTreeMap<String, Info>,
}

/// Reads and checks the header of a file; every tensor lies inside the file.
///
/// # Errors
/// [`CheckpointError::Io`], [`CheckpointError::Format`], which says where in the file and what was expected.
pub fn read(path: &Path, file: &File) -> Result<Header, CheckpointError> {
    let size = file.metadata().map_err(CheckpointError::io(path, "reading the size"))?.len();
    let mut reader = Reader { path, file: BufReader::new(file), at: 0, size };
    reader.header()
}

struct Reader<'a> {
    path: &'a Path,
    file: BufReader<&'a File>,
    /// Bytes that were read.
    at: u64,
    size: u64,
}

impl Reader<'_> {
    fn wrong(&self, reason: String) -> CheckpointError {
        CheckpointError::format(self.path, format!("at byte {}: {reason}", self.at))
    }

    /// Whether `count` things of at least `least` bytes can still be there.
    fn check(&self, what: &str, count: u64, least: u64) -> Result<usize, CheckpointError> {
        let left = self.size - self.at;
        match count.checked_mul(least) {
            Some(bytes) if bytes <= left => usize::try_from(count).map_err(|_| self.wrong(format!("{count} {what}"))),
            _ => Err(self.wrong(format!("{count} {what}, and the file ends after {left} bytes: damaged or truncated"))),
        }
    }

    fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], CheckpointError> {
        self.check(what, N as u64, 1)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(CheckpointError::io(self.path, "reading the header"))?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self, what: &str) -> Result<u32, CheckpointError> {
        self.bytes(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, CheckpointError> {
        self.bytes(what).map(u64::from_le_bytes)
    }

    fn text(&mut self, what: &str) -> Result<String, CheckpointError> {
        let length = self.u64(what)?;
        let mut bytes = vec![0; self.check(&format!("bytes of {what}"), length, 1)?];
        self.file.read_exact(&mut bytes).map_err(CheckpointError::io(self.path, "reading the header"))?;
        let text = String::from_utf8(bytes).map_err(|error| self.wrong(format!("{what} is no UTF-8: {error}")));
        self.at += length;
        text
    }

    /// A number or a truth of a type, as any value; none of another type.
    fn scalar(&mut self, kind: u32, key: &str) -> Result<Option<Value>, CheckpointError> {
        let signed = |value: i64| match u64::try_from(value) {
            Ok(value) => Value::Unsigned(value),
            Err(_) => Value::Negative(value),
        };
        Ok(Some(match kind {
            0 => Value::Unsigned(u64::from(u8::from_le_bytes(self.bytes(key)?))),
            1 => signed(i64::from(i8::from_le_bytes(self.bytes(key)?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.bytes(key)?))),
            3 => signed(i64::from(i16::from_le_bytes(self.bytes(key)?))),
            4 => Value::Unsigned(u64::from(self.u32(key)?)),
            5 => signed(i64::from(i32::from_le_bytes(self.bytes(key)?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.bytes(key)?))),
            7 => match u8::from_le_bytes(self.bytes(key)?) {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => return Err(self.wrong(format!("`{key}` is {other}, expected 0 or 1 for false or true"))),
            },
            10 => Value::Unsigned(self.u64(key)?),
            11 => signed(i64::from_le_bytes(self.bytes(key)?)),
            12 => Value::Float(f64::from_le_bytes(self.bytes(key)?)),
            _ => return Ok(None),
        }))
    }

    fn value(&mut self, key: &str) -> Result<Value, CheckpointError> {
        let kind = self.u32(key)?;
        if let Some(value) = self.scalar(kind, key)? {
            return Ok(value);
        }
        match kind {
            8 => Ok(Value::Text(self.text(&format!("`{key}`"))?)),
            9 => self.list(key),
            other => Err(self.wrong(format!("`{key}` has the type {other}, expected one of 0 to 12"))),
        }
    }

    fn list(&mut self, key: &str) -> Result<Value, CheckpointError> {
        let (kind, count) = (self.u32(key)?, self.u64(key)?);
        let least = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            other => {
                return Err(
                    self.wrong(format!("`{key}` is a list of the type {other}, expected numbers, truths or texts"))
                );
            }
        };
        let count = self.check(&format!("elements of `{key}`"), count, least)?;
        if kind == 8 {
            let texts = (0..count).map(|at| self.text(&format!("element {at} of `{key}`")));
            return Ok(Value::Texts(texts.collect::<Result<_, _>>()?));
        }
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count {
            numbers.push(match self.scalar(kind, key)? {
                Some(Value::Unsigned(value)) => value as f64,
                Some(Value::Negative(value)) => value as f64,
                Some(Value::Float(value)) => value,
                Some(Value::Bool(value)) => f64::from(u8::from(value)),
                _ => return Err(self.wrong(format!("`{key}` is a list of what is no number"))),
            });
        }
        Ok(Value::Numbers(numbers))
    }

    /// A tensor's name, and what is said of it, with the offset from the first tensor for a start.
    fn tensor(&mut self) -> Result<(String, Info), CheckpointError> {
        let name = self.text("a tensor's name")?;
        let dimensions = self.u32(&name)?;
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(self.wrong(format!("`{name}` has {dimensions} dimensions, expected 1 to {MAX_DIMENSIONS}")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let side = self.u64(&name)?;
            shape.push(usize::try_from(side).map_err(|_| self.wrong(format!("a side of `{name}` is {side}")))?);
        }
        shape.reverse();
        let kind = self.u32(&name)?;
        let kind = BlockType::from_number(kind)
            .map_err(|what| self.wrong(format!("`{name}` is stored as {what}; {} can be read", BlockType::NAMES)))?;
        Ok((name.clone(), Info { shape, kind, start: self.u64(&name)? }))
    }

    fn header(&mut self) -> Result<Header, CheckpointError> {
        let start: [u8; 4] = self.bytes("bytes of the start")?;
        if start != START {
            return Err(self.wrong(format!("the file begins with {start:?}, expected GGUF")));
        }
        let version = self.u32("bytes of the version")?;
        if !VERSIONS.contains(&version) {
            let big = VERSIONS.contains(&version.swap_bytes());
            let why = if big { ": the file is big-endian" } else { "" };
            return Err(self.wrong(format!("version {version} of GGUF, expected 2 or 3{why}")));
        }
        let (tensors, entries) = (self.u64("the number of tensors")?, self.u64("the number of metadata's entries")?);
        let entries = self.check("entries of metadata", entries, LEAST_ENTRY)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..entries {
            let key = self.text("a key of the metadata")?;
            let value = self.value(&key)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(self.wrong(format!("`{key}` is there twice")));
            }
        }
        let alignment = match metadata.get(ALIGNMENT) {
            None => DEFAULT_ALIGNMENT,
            Some(Value::Unsigned(value)) if *value > 0 && value.is_multiple_of(8) => *value,
            Some(other) => return Err(self.wrong(format!("`{ALIGNMENT}` is {other:?}, expected a multiple of 8"))),
        };
        let count = self.check("tensors", tensors, LEAST_TENSOR)?;
        let mut found = BTreeMap::new();
        for _ in 0..count {
            let (name, info) = self.tensor()?;
            if found.insert(name.clone(), info).is_some() {
                return Err(self.wrong(format!("the tensor `{name}` is there twice")));
            }
        }
        let first = self.at.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
        for (name, info) in &mut found {
            let (shape, offset, kind) = (info.shape.clone(), info.start, info.kind);
            let wrong = |reason: String| {
                CheckpointError::format(
                    self.path,
                    format!("`{name}` {shape:?}, {} at offset {offset}: {reason}", kind.name()),
                )
            };
            let Some(bytes) = kind.bytes(&shape) else {
                let whole = kind.values();
                return Err(wrong(format!(
                    "its rows are no whole blocks of {whole} values, or it has too many values"
                )));
            };
            if !offset.is_multiple_of(alignment) {
                return Err(wrong(format!("expected an offset that is a multiple of {alignment}")));
            }
            let start = first.checked_add(offset);
            match start.and_then(|start| start.checked_add(bytes)) {
                Some(end) if end <= self.size => {}
                _ => {
                    let size = self.size;
                    let reason = format!("its {bytes} bytes end beyond the file, which has {size}: truncated");
                    return Err(wrong(reason));
                }
            }
            info.start = first + offset;
        }
        Ok(Header { metadata, tensors: found })
    }
}

//! LLaVA's JSON and JSONL.

use super::super::checkpoints::Mark;
use super::super::config::{Fields, Limits};
use super::super::conversation::{CAPTIONS, CONVERSATIONS};
use super::super::record::{RawRecord, RawResult, RawSkip, ReadRecords};
use super::super::skip::{SkipKind, SkipReason};
use super::elements::ARRAY;
use super::{Damage, Layout, TextFile};
use burn_vlm_base::shorten::shorten;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// The byte order mark that some editors write.
const BOM: &[u8] = &[0xef, 0xbb, 0xbf];
/// Read to tell an array from lines.
const HEAD: u64 = 4096;

/// One file of records.
pub(in super::super) struct JsonFile {
    text: TextFile,
    max_depth: usize,
}

impl JsonFile {
    /// Walks through the file once. The error has the place and the reason.
    pub(in super::super) fn open(
        path: Arc<Path>,
        fields: &Fields,
        limits: &Limits,
        max_marks: usize,
    ) -> Result<Self, (String, String)> {
        let file = Self::scan(path, limits, max_marks).and_then(|file| file.check_single(fields));
        file.map_err(|damage| (damage.place, damage.reason))
    }

    fn scan(path: Arc<Path>, limits: &Limits, max_marks: usize) -> Result<Self, Damage> {
        let mut head = Vec::new();
        File::open(&path)?.take(HEAD).read_to_end(&mut head)?;
        let bom = head.starts_with(BOM);
        let text = if bom { &head[BOM.len()..] } else { &head[..] };
        let array = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let (layout, first) = match array {
            true => (Layout::Elements, ARRAY),
            false => (Layout::Lines, Mark { offset: if bom { BOM.len() as u64 } else { 0 }, line: 1 }),
        };
        if !array && let Some(list) = object_over_lines(text) {
            return Err(one_object(list.as_deref()));
        }
        let text = TextFile::scan(path, (layout, first), max_marks, limits.max_entry_bytes, None)?;
        Ok(Self { text, max_depth: limits.max_depth })
    }

    /// A file of one line that is no record may hold the records in one of its lists.
    fn check_single(self, fields: &Fields) -> Result<Self, Damage> {
        if self.text.layout != Layout::Lines || self.text.checkpoints.records() != 1 {
            return Ok(self);
        }
        let record =
            self.text.pieces(&[0]).pop().and_then(|(_, bytes)| parse_object(&bytes.ok()?, self.max_depth).ok());
        let Some(record) = record else { return Ok(self) };
        let named =
            [&fields.conversations, &fields.question, &fields.caption].into_iter().flatten().map(String::as_str);
        let usual = CONVERSATIONS.iter().chain(&CAPTIONS).chain(&["question"]).copied();
        if named.chain(usual).any(|name| record.contains_key(name)) {
            return Ok(self);
        }
        let is_list = |value: &Value| {
            value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_object))
        };
        match record.iter().find(|(_, value)| is_list(value)) {
            Some((name, _)) => Err(one_object(Some(name))),
            None => Ok(self),
        }
    }
}

/// Why one object is no file of records.
fn one_object(list: Option<&str>) -> Damage {
    let list = list.map(|name| format!(", with a list under {}", shorten(name))).unwrap_or_default();
    let reason = format!(
        "the file is one object{list}; expected an array of records, or one record a line: write the list alone into a file"
    );
    Damage { place: "line 1".to_owned(), reason }
}

/// Whether a text begins with an object that goes on over several lines, as no record of JSONL does: the first line ends where JSON goes
/// on, outside strings. The name of the first list in it, as far as the text goes.
fn object_over_lines(text: &[u8]) -> Option<Option<String>> {
    let begin = text.iter().position(|byte| !byte.is_ascii_whitespace()).filter(|at| text[*at] == b'{')?;
    let (mut string, mut escaped, mut depth, mut over) = (false, false, 0usize, false);
    // The last byte that is no blank, the last string of the outermost object.
    let (mut last, mut name, mut list) = (b'{', Vec::new(), None);
    for byte in &text[begin..] {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if string => escaped = true,
            b'"' => {
                string = !string;
                if string && depth == 1 {
                    name.clear();
                }
            }
            _ if string && depth == 1 => name.push(*byte),
            _ if string => {}
            b'\n' if !over => {
                // A line that ends within a value is a record cut off.
                if depth == 0 || !b"{[,:".contains(&last) {
                    return None;
                }
                over = true;
            }
            b'[' if depth == 1 => {
                list = list.or_else(|| String::from_utf8(name.clone()).ok());
                depth += 1;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            last = *byte;
        }
    }
    over.then_some(list)
}

impl ReadRecords for JsonFile {
    fn len(&self) -> u64 {
        self.text.checkpoints.records()
    }

    fn read(&self, records: &[u64], _pictures: bool) -> Vec<RawResult> {
        let record = |(place, bytes): (_, Result<Vec<u8>, SkipReason>)| {
            let file = self.text.path.clone();
            match bytes.and_then(|bytes| parse_object(&bytes, self.max_depth)) {
                Ok(fields) => {
                    Ok(RawRecord { file, place, fields, pictures: None, frames: None, unread: Arc::default() })
                }
                Err(reason) => Err(RawSkip { file, place, id: None, reason }),
            }
        };
        self.text.pieces(records).into_iter().map(record).collect()
    }
}

/// Parses one JSON object.
pub(in super::super) fn parse_object(bytes: &[u8], max_depth: usize) -> Result<Map<String, Value>, SkipReason> {
    match parse_value(bytes, max_depth)? {
        Value::Object(fields) => Ok(fields),
        other => Err(SkipReason::malformed(format!("expected a JSON object, found {}", kind(&other)))),
    }
}

/// Parses JSON. `NaN` and the infinities, which Python writes and reads, are null.
pub(in super::super) fn parse_value(bytes: &[u8], max_depth: usize) -> Result<Value, SkipReason> {
    if depth(bytes) > max_depth {
        return Err(SkipReason::new(SkipKind::NestedTooDeep, format!("more than {max_depth} levels of JSON")));
    }
    let parsed = serde_json::from_slice(bytes).or_else(|error| match without_nan(bytes) {
        Some(bytes) => serde_json::from_slice(&bytes),
        None => Err(error),
    });
    parsed.map_err(|error| SkipReason::malformed(format!("not valid JSON: {error}")))
}

/// The same with `null` where a word outside strings says that a number is none; `None` where there is no such word.
fn without_nan(bytes: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let (mut string, mut escaped, mut found) = (false, false, false);
    let mut text = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let word = WORDS.iter().find(|word| !string && bytes[at..].starts_with(word));
        if let Some(word) = word {
            text.extend_from_slice(b"null");
            (at, found) = (at + word.len(), true);
            continue;
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if string => escaped = true,
            b'"' => string = !string,
            _ => {}
        }
        text.push(*byte);
        at += 1;
    }
    found.then_some(text)
}

/// What a value is, in words.
pub(in super::super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The deepest level of brackets outside strings.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut string, mut escaped) = (0usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if string => escaped = true,
            b'"' => string = !string,
            b'{' | b'[' if !string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str, max_marks: usize) -> Result<JsonFile, (String, String)> {
        let folder = tempfile::tempdir().unwrap().keep();
        let path = folder.join("data.json");
        std::fs::write(&path, text).unwrap();
        let limits = Limits { max_entry_bytes: 200, ..Limits::default() };
        JsonFile::open(Arc::from(path), &Fields::default(), &limits, max_marks)
    }

    fn ids(file: &JsonFile, records: &[u64]) -> Vec<String> {
        let show = |result: RawResult| match result {
            Ok(record) => format!("{} {}", record.place, record.fields["id"]),
            Err(skip) => format!("{} {}", skip.place, skip.reason.kind),
        };
        file.read(records, true).into_iter().map(show).collect()
    }

    #[test]
    fn records_are_found_whatever_the_number_of_marks() {
        let strings = ["plain", "a ] } , [ {", "quote \\\" and \\\\", "日本"];
        let record = |n: usize| format!("{{\"id\": {n}, \"text\": [\"{}\", {{}}]}}", strings[n % 4]);
        let array = format!(" \n[{}\n]\n", (0..50).map(record).collect::<Vec<_>>().join(" ,\n"));
        let lines = format!("\u{feff}{}\n", (0..50).map(record).collect::<Vec<_>>().join("\n\r\n"));
        for marks in [2, 3, 8, 1000] {
            for (text, place) in [(&array, "element"), (&lines, "line")] {
                let file = open(text, marks).unwrap();
                assert_eq!(file.len(), 50);
                for record in 0..50 {
                    let number = if place == "line" { record * 2 + 1 } else { record };
                    assert_eq!(ids(&file, &[record]), [format!("{place} {number} {record}")]);
                }
                let found = ids(&file, &[0, 1, 7, 8, 49]);
                assert_eq!(
                    found.iter().map(|id| id.split(' ').next_back().unwrap()).collect::<Vec<_>>(),
                    ["0", "1", "7", "8", "49"]
                );
            }
        }
        assert_eq!(open("[]", 8).unwrap().len(), 0);
        assert_eq!(open("", 8).unwrap().len(), 0);
    }

    #[test]
    fn bad_records_do_not_hide_good_ones() {
        let long = "x".repeat(300);
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        let expected = |word: &str, first: u64| {
            let kinds = ["0", "entry_too_large", "nested_too_deep", "malformed", "malformed", "5"];
            kinds.iter().zip(first..).map(|(kind, n)| format!("{word} {n} {kind}")).collect::<Vec<_>>()
        };
        let records = [
            "{\"id\":0}",
            &format!("{{\"id\":\"{long}\"}}"),
            &format!("{{\"id\":{deep}}}"),
            "{\"id\" 3}",
            "7",
            "{\"id\":5}",
        ];
        let all = [0, 1, 2, 3, 4, 5];
        let array = open(&format!("[{}]", records.join(",")), 8).unwrap();
        assert_eq!(ids(&array, &all), expected("element", 0));
        let lines = open(&records.join("\n"), 8).unwrap();
        assert_eq!(ids(&lines, &all), expected("line", 1));
    }

    #[test]
    fn broken_arrays_say_where() {
        for (text, word) in [
            ("[{\"id\":0},{\"id\":", "truncated"),
            ("[{\"id\":0},", "truncated"),
            ("[{\"id\":\"0", "truncated"),
            ("[{\"id\":0}}]", "never opened"),
            ("[{\"id\":0},,{}]", "comma"),
            ("[{\"id\":0},]", "comma"),
            ("[{\"id\":0}] x", "after the array"),
        ] {
            let (place, reason) = open(text, 8).err().unwrap();
            assert!(reason.contains(word) && place.contains("byte"), "{text}: {place}: {reason}");
        }
    }
}

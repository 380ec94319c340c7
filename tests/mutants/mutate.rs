//! Mutations: of bytes, and of what the bytes mean where a file is JSON, TOML, a template or a table.

use burn_vlm_base::random::Stream;
use serde_json::{Map, Value, json};

/// What an extreme number may be; text, so that NaN has a place.
const NUMBERS: [&str; 18] = [
    "0",
    "-1",
    "1",
    "2",
    "7",
    "0.5",
    "255",
    "65536",
    "2147483647",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "1e308",
    "-1e308",
    "1e-320",
    "NaN",
];
/// A long text, and a deep nesting.
const LONG: usize = 100_000;
const DEEP: [usize; 3] = [40, 200, 20_000];
/// A number that stands for another in the text that is written.
const MARK: &str = "@@MUTANT@@";

/// Pieces of templates that do much with little.
const PIECES: [&str; 22] = [
    "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
    "{% set x = 'ab' %}{% for i in range(60) %}{% set x = x ~ x %}{% endfor %}{{ x }}",
    "{{ 'x' * 100000000000 }}",
    "{{ [1] * 10000000000 }}",
    "{{ 'a'.ljust(99999999999) }}",
    "{{ 'a'.center(-1) }}",
    "{{ '%99999999999d' % 1 }}",
    "{{ '%s %s' % 'a' }}",
    "{{ messages[::-1] }}",
    "{{ [][::-1] }}",
    "{{ messages[99999999999999999999] }}",
    "{{ 'a'.rsplit('', 5) }}",
    "{{ 'a'.split('') }}",
    "{{ ''.join(messages) }}",
    "{{ 1 / 0 }}{{ 1 % 0 }}{{ 2 ** 4096 }}",
    "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
    "{{ raise_exception('no') }}",
    "{{ strftime_now('%Q%9999999999d') }}",
    "{{ messages | tojson(indent=100000000) }}",
    "{% generation %}",
    "{% include 'chat_template.jinja' %}",
    "{{ 'ß\u{130}'.swapcase().zfill(9223372036854775807) }}",
];

pub struct Mutator {
    pub random: Stream,
}

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Self { random: Stream::new(seed) }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound.max(1))
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// A file changed in one to three places, by what its name says it is.
    pub fn mutate(&mut self, name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..1 + self.below(8) / 6 {
            let by_meaning = self.below(4) > 0;
            let text = std::str::from_utf8(&bytes).ok();
            let changed = match (name.rsplit('.').next(), text) {
                _ if !by_meaning => None,
                (Some("json"), Some(text)) => self.json(text),
                (Some("jsonl"), Some(text)) => self.line(text),
                (Some("toml"), Some(text)) => self.toml(text),
                (Some("jinja"), Some(text)) => Some(self.template(text)),
                (Some("tsv" | "csv"), Some(text)) => Some(self.table(text)),
                (Some("safetensors"), _) => self.safetensors(&bytes),
                _ => None,
            };
            bytes = changed.unwrap_or_else(|| self.bytes(&bytes));
        }
        bytes
    }

    /// A place in bytes.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let begin = self.below(length);
        let most = if self.below(3) == 0 { length } else { 64 };
        begin..(begin + 1 + self.below(most)).min(length)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        if bytes.is_empty() {
            return vec![0; self.below(4)];
        }
        match self.below(8) {
            0 | 1 => {
                for _ in 0..1 + self.below(3) {
                    // Half of them in the beginning, where headers stand.
                    let most = if self.below(2) == 0 { bytes.len().min(256) } else { bytes.len() };
                    let at = self.below(most);
                    bytes[at] ^= 1 << self.below(8);
                }
            }
            2 => bytes.truncate(self.random.below(bytes.len())),
            3 => {
                let range = self.range(bytes.len());
                let copy = bytes[range.clone()].to_vec();
                bytes.splice(range.end..range.end, copy);
            }
            4 => drop(bytes.drain(self.range(bytes.len()))),
            5 => {
                let range = self.range(bytes.len());
                let value = self.pick(&[&[0u8][..], &[0xff], b"9", b"[", b"\"", b"\n", b"{"]);
                bytes[range].fill(value[0]);
            }
            6 => {
                let at = self.below(bytes.len());
                let (open, depth) = (self.pick(&["[", "{\"a\":", "(", "{% if x %}"]), DEEP[self.below(DEEP.len())]);
                bytes.splice(at..at, open.repeat(depth).into_bytes());
            }
            _ => {
                // Digits become an extreme number; without digits, a binary one does.
                let digits: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
                let number = self.pick(&NUMBERS);
                if digits.len() > 3 && self.below(3) > 0 {
                    let begin = digits[self.below(digits.len())];
                    let length = bytes[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    bytes.splice(begin..begin + length, number.bytes());
                } else {
                    let width = [1, 2, 4, 8][self.below(4)];
                    let at = self.below(bytes.len());
                    let values = [u64::MAX, 0, 1 << 31, (1 << 31) - 1, u64::MAX >> 1, 0x7ff8_0000_7fc0_0000, 256];
                    let value = values[self.below(values.len())].to_le_bytes();
                    bytes.iter_mut().skip(at).zip(&value[..width]).for_each(|(byte, value)| *byte = *value);
                }
            }
        }
        bytes
    }

    fn json(&mut self, text: &str) -> Option<Vec<u8>> {
        let mut value: Value = serde_json::from_str(text).ok()?;
        let mut raw = None;
        self.change(&mut value, &mut raw);
        let text = value.to_string();
        Some(match raw {
            Some(raw) => text.replacen(&format!("\"{MARK}\""), &raw, 1).into_bytes(),
            None => text.into_bytes(),
        })
    }

    fn line(&mut self, text: &str) -> Option<Vec<u8>> {
        let lines: Vec<&str> = text.lines().collect();
        let number = self.below(lines.len());
        let changed = String::from_utf8(self.json(lines.get(number)?)?).ok()?;
        let mut lines: Vec<&str> = lines;
        lines[number] = &changed;
        Some(format!("{}\n", lines.join("\n")).into_bytes())
    }

    fn toml(&mut self, text: &str) -> Option<Vec<u8>> {
        let table: toml::Table = text.parse().ok()?;
        let mut value = serde_json::to_value(&table).ok()?;
        let mut raw = None;
        self.change(&mut value, &mut raw);
        // What TOML has no word for is written as it stands elsewhere.
        strip_nulls(&mut value);
        let text = toml::to_string(&value).ok()?;
        let raw = raw.map(|raw| if raw == "NaN" { "nan".to_owned() } else { raw });
        Some(raw.map_or(text.clone(), |raw| text.replacen(&format!("\"{MARK}\""), &raw, 1)).into_bytes())
    }

    /// Changes one node, which is drawn with the same weight for each.
    fn change(&mut self, root: &mut Value, raw: &mut Option<String>) {
        let count = nodes(root);
        let mut left = self.below(count);
        let Some(node) = node(root, &mut left) else { return };
        let kind = self.below(10);
        match (kind, &mut *node) {
            (0..3, Value::Number(_)) | (0, _) => {
                *raw = Some(self.pick(&NUMBERS).to_owned());
                *node = MARK.into();
            }
            (1, _) => {
                let values = [
                    Value::Null,
                    json!(true),
                    json!([]),
                    json!({}),
                    json!(""),
                    json!("text"),
                    json!([[0, null], "a"]),
                    json!({"a": {"b": []}}),
                    json!(-3),
                    json!(0.25),
                ];
                *node = values[self.below(values.len())].clone();
            }
            (2, _) => *node = "a\u{0}é".repeat(LONG / 4).into(),
            (3, _) => {
                let depth = DEEP[self.below(DEEP.len())];
                *raw = Some(format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
                *node = MARK.into();
            }
            (4..7, Value::Object(map)) if !map.is_empty() => {
                let at = self.below(map.len());
                let Some(key) = map.keys().nth(at).cloned() else { return };
                let value = map.remove(&key).unwrap_or_default();
                match kind {
                    4 => {}
                    5 => drop(map.insert(format!("{key}s"), value)),
                    _ => drop(map.insert(String::new(), value)),
                }
            }
            (_, Value::Array(list)) if !list.is_empty() => {
                let at = self.below(list.len());
                match kind {
                    4 => drop(list.remove(at)),
                    5 => list.insert(at, list[at].clone()),
                    6 => *list = std::iter::repeat_n(list[at].clone(), 500).collect(),
                    7 => list.clear(),
                    _ => list.reverse(),
                }
            }
            (_, Value::String(text)) => {
                let changed = self.bytes(text.as_bytes());
                *text = String::from_utf8_lossy(&changed).into_owned();
            }
            (_, Value::Bool(value)) => *value = !*value,
            (_, Value::Number(number)) => {
                let value = number.as_f64().unwrap_or_default();
                *node = match self.below(3) {
                    0 => json!(-value),
                    1 => json!(value * 2.0),
                    _ => number.as_i64().map_or(json!(value + 1.0), |whole| json!(whole.wrapping_add(1))),
                };
            }
            _ => *node = Value::Null,
        }
    }

    fn template(&mut self, text: &str) -> Vec<u8> {
        let mut text = text.to_owned();
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let at = places[self.below(places.len())];
        match self.below(5) {
            0 | 1 => text.insert_str(at, self.pick(&PIECES)),
            2 => {
                let open =
                    self.pick(&["{{ (", "{% if x %}", "{{ [", "{% for a in b %}", "{{ {'a': ", "{{ -", "{{ not "]);
                let again = open.trim_start_matches("{{ ").repeat(DEEP[self.below(DEEP.len())]);
                text.insert_str(at, &format!("{open}{again}"));
            }
            3 => {
                let operator = self.pick(&[" + 1", " ~ 'a'", " and 1", "[0]", ".a", " | upper", " is string", "()"]);
                let long = operator.repeat(DEEP[self.below(DEEP.len())]);
                text.insert_str(at, &format!("{{{{ 1{long} }}}}"));
            }
            _ => return self.bytes(text.as_bytes()),
        }
        text.into_bytes()
    }

    fn table(&mut self, text: &str) -> Vec<u8> {
        let mut rows: Vec<Vec<String>> =
            text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
        if rows.is_empty() {
            return Vec::new();
        }
        let row = self.below(rows.len());
        let column = self.below(rows[row].len());
        match self.below(6) {
            0 => {
                let values = ["", "\"", "\"\"", "nan", "-1", "99999999999999999999", "\u{feff}", "[1, \"a\"", "a\"b"];
                rows[row][column] = self.pick(&values).to_owned();
            }
            1 => rows[row][column] = "A".repeat(LONG),
            2 => drop(rows[row].remove(column)),
            3 => rows[row].push("more".into()),
            4 => rows.iter_mut().filter(|row| column < row.len()).for_each(|row| drop(row.remove(column))),
            _ => {
                let changed = self.bytes(rows[row][column].as_bytes());
                rows[row][column] = String::from_utf8_lossy(&changed).into_owned();
            }
        }
        rows.iter().map(|row| format!("{}\n", row.join("\t"))).collect::<String>().into_bytes()
    }

    /// The header's JSON; values follow as they were.
    fn safetensors(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let length = u64::from_le_bytes(*bytes.first_chunk()?);
        let end = 8usize.checked_add(usize::try_from(length).ok()?)?;
        let text = std::str::from_utf8(bytes.get(8..end)?).ok()?;
        if self.below(3) == 0 {
            return None;
        }
        let header = self.json(text)?;
        Some([&(header.len() as u64).to_le_bytes()[..], &header, &bytes[end..]].concat())
    }
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(list) => {
            list.retain(|value| !value.is_null());
            list.iter_mut().for_each(strip_nulls);
        }
        _ => {}
    }
}

fn children(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(map) => Map::values_mut(map).collect(),
        _ => Vec::new(),
    }
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(nodes).sum(),
        Value::Object(map) => map.values().map(nodes).sum::<usize>(),
        _ => 0,
    }
}

/// The node of a number, in the order of the document.
fn node<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    for child in children(value) {
        let count = nodes(child);
        if *left < count {
            return node(child, left);
        }
        *left -= count;
    }
    None
}

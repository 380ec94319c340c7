//! Regular expressions of a `tokenizer.json`, written so that the engine here reads them as Python's package does.
//!
//! That package has Oniguruma, in whose syntax a plus sign behind `{1,3}` repeats the group again. The engine here (fancy-regex), like
//! most, takes it for a possessive repetition: `\p{N}{1,3}+` then splits `1234567` into 123, 456 and 7 where Python keeps it whole.
//! (`?+`, `*+` and `++` are possessive in both.)

use serde_json::Value;

/// The file with the patterns written out; `None` where none needs it (or it is no JSON, which is for its reader to say).
pub(super) fn translated(bytes: &[u8]) -> Option<Vec<u8>> {
    // Nearly all files have none, and a vocabulary of 256,000 is long to read twice.
    if !bytes.windows(2).any(|pair| pair == b"}+") {
        return None;
    }
    let mut json: Value = serde_json::from_slice(bytes).ok()?;
    let mut changed = false;
    for key in ["normalizer", "pre_tokenizer", "decoder"] {
        if let Some(part) = json.get_mut(key) {
            changed |= translate_all(part);
        }
    }
    changed.then(|| serde_json::to_vec(&json).ok()).flatten()
}

/// Every `"Regex"` below a value.
fn translate_all(value: &mut Value) -> bool {
    match value {
        Value::Object(object) => object.iter_mut().fold(false, |changed, (key, value)| match (key.as_str(), value) {
            ("Regex", Value::String(pattern)) => match grouped(pattern) {
                Some(new) => {
                    *pattern = new;
                    true
                }
                None => changed,
            },
            (_, value) => translate_all(value) | changed,
        }),
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| translate_all(item) | changed),
        _ => false,
    }
}

/// A pattern in which `a{1,3}+` is `(?:a{1,3})+`; `None` where there is no such repetition.
fn grouped(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    // Where in `out` each open group begins, and what the last repeatable item is.
    let (mut open, mut item): (Vec<usize>, Option<usize>) = (Vec::new(), None);
    let (mut at, mut changed) = (0, false);
    while at < pattern.len() {
        let here = &pattern[at..];
        let char = here.chars().next()?;
        let length = match char {
            '\\' => escape_length(here),
            '[' => class_length(here),
            _ => char.len_utf8(),
        };
        let token = &here[..length];
        if let Some(bounds) = bounds_length(here) {
            out.push_str(&here[..bounds]);
            at += bounds;
            if pattern[at..].starts_with('+') && item.is_some() {
                out.insert_str(item.unwrap_or(0), "(?:");
                out.push_str(")+");
                changed = true;
                at += 1;
            }
            continue;
        }
        match char {
            '(' => open.push(out.len()),
            ')' => item = open.pop(),
            '|' | '^' | '$' | '*' | '+' | '?' => {}
            _ => item = Some(out.len()),
        }
        out.push_str(token);
        at += length;
    }
    changed.then_some(out)
}

/// Length of `{2}`, `{1,3}`, `{1,}` or `{,3}`; `None` if the text begins with no such repetition.
fn bounds_length(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('{')?;
    let end = inside.find('}')?;
    let bounds = &inside[..end];
    let holds = bounds.contains(|c: char| c.is_ascii_digit()) && bounds.chars().all(|c| c.is_ascii_digit() || c == ',');
    holds.then_some(end + 2)
}

/// Length of `\d`, `\p{N}`, `\x{41}`, `\u0041`.
fn escape_length(text: &str) -> usize {
    let mut chars = text.chars();
    let (_, kind) = (chars.next(), chars.next());
    let short = 1 + kind.map_or(0, char::len_utf8);
    match kind {
        Some('p' | 'P' | 'x' | 'u' | 'k' | 'g') if text[short..].starts_with('{') => {
            text[short..].find('}').map_or(short, |end| short + end + 1)
        }
        _ => short,
    }
}

/// Length of a class, `[^\s\]]`, with classes inside.
fn class_length(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        let here = &text[at..];
        match here.chars().next() {
            Some('\\') => at += escape_length(here),
            Some('[') => {
                depth += 1;
                at += 1;
                // A bracket at the front of a class is a character of it.
                at += usize::from(text[at..].starts_with('^'));
                at += usize::from(text[at..].starts_with(']'));
            }
            Some(']') => {
                depth -= 1;
                at += 1;
            }
            Some(char) => at += char.len_utf8(),
            None => break,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Tokenizer;
    use std::path::Path;

    #[test]
    fn repeated_bounds_are_groups() {
        for (pattern, expected) in [
            (r"\p{N}{1,3}+", Some(r"(?:\p{N}{1,3})+")),
            (r"a|[^\s\]]{2}+|b", Some(r"a|(?:[^\s\]]{2})+|b")),
            (r"(x|y){1,2}+z", Some(r"(?:(x|y){1,2})+z")),
            (r"\d{2}+\w{3,}+", Some(r"(?:\d{2})+(?:\w{3,})+")),
            (r"(a{1,2}+)+", Some(r"((?:a{1,2})+)+")),
            (r"\p{N}{1,3}|\p{L}++|[^\r\n]?+|\s*+", None),
            (r"\{1,3}+|[{1,3}+]", None),
        ] {
            assert_eq!(grouped(pattern).as_deref(), expected, "{pattern}");
        }
    }

    /// The pieces that tokenizers 0.22.1 of PyPI gives, run once: a run of digits stays whole.
    #[test]
    fn digits_are_split_as_in_python() {
        let split = |pattern: &str| {
            let words = ["1", "2", "3", "12", "123", "123123"].iter().enumerate();
            let vocab: serde_json::Map<String, Value> =
                words.map(|(id, token)| ((*token).to_owned(), id.into())).collect();
            let json = serde_json::json!({
                "version": "1.0", "added_tokens": [], "normalizer": null, "post_processor": null, "decoder": null,
                "pre_tokenizer": {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
                "model": {"type": "BPE", "vocab": vocab,
                    "merges": [["1", "2"], ["12", "3"], ["123", "123"]]}
            });
            let tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes(), Path::new("t.json")).unwrap();
            tokenizer.encode_with_offsets("123123", false).unwrap().tokens
        };
        assert_eq!(split(r"\p{N}{1,3}"), ["123", "123"]);
        assert_eq!(split(r"\p{N}{1,3}+"), ["123123"]);
    }
}

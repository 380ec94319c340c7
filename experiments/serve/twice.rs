//! Keys that stand twice in a JSON object. A parser keeps one of them without a word, and a client whose program writes a field in two
//! places never learns that one of its values is lost.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

/// The first key that stands twice, with the way to it: `messages[0].content`. `None` where there is none, or no JSON.
pub(super) fn find(json: &[u8]) -> Option<String> {
    let mut found = None;
    let mut parser = serde_json::Deserializer::from_slice(json);
    // The error is that of the key; what else is wrong is told by whoever reads the values.
    let _ = Looked { at: String::new(), found: &mut found }.deserialize(&mut parser);
    found
}

/// A value that is walked through.
struct Looked<'f> {
    at: String,
    found: &'f mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Looked<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Looked<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { at, found } = self;
        let mut known = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            if !known.insert(key) {
                *found = Some(path);
                return Err(A::Error::custom("a key that stands twice"));
            }
            map.next_value_seed(Looked { at: path, found: &mut *found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { at, found } = self;
        let mut index = 0;
        while list.next_element_seed(Looked { at: format!("{at}[{index}]"), found: &mut *found })?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_stand_twice_are_found_wherever_they_are() {
        for (json, path) in [
            (r#"{"a": 1, "b": 2, "a": 1}"#, Some("a")),
            (r#"{"a": [1, {"b": null, "\u0062": true}]}"#, Some("a[1].b")),
            (r#"{"a": {"x": {"y": "", "y": 2.5}}}"#, Some("a.x.y")),
            (r#"{"a": {"x": -1}, "x": {"x": [{"x": 1}, {"x": 2}]}}"#, None),
            ("[]", None),
            ("{", None),
            ("3", None),
        ] {
            assert_eq!(find(json.as_bytes()).as_deref(), path, "{json}");
        }
    }
}

//! JSON files as Hugging Face writes them, read into types: an error names the key, and `null` is absent.
//!
//! Unusual here: some versions of transformers write every key that does not apply as `null`. Where a type has no place for a
//! `null` (a `bool`, a size), it is read as if the key were not there, as transformers does; where it has one (an `Option`), `null` is
//! what it says: `"attn_logit_softcapping": null` is no soft-cap, not the class's own.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Keys that are tried when one is to blame.
const MAX_KEYS: usize = 500;

/// A file's content as its type.
///
/// # Errors
/// What serde said, behind the key that is to blame where one is: "`text_config.hidden_size`: invalid type: ...".
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    let error = match serde_json::from_value(value.clone()) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    let without = without_refused_nulls::<T>(&value);
    if let Some(read) = without.as_ref().and_then(|value| serde_json::from_value(value.clone()).ok()) {
        return Ok(read);
    }
    // What is wrong besides the nulls.
    let value = without.unwrap_or(value);
    let reason = serde_json::from_value::<T>(value.clone()).err().unwrap_or(error).to_string();
    let place = culprit::<T>(&value, &reason).map(|key| format!("`{key}`: ")).unwrap_or_default();
    Err(format!("{place}{reason}"))
}

/// The same without a single `null` key, at any depth but in lists: for types that have no use for one.
///
/// # Errors
/// As [`from_value`].
pub fn from_value_without_nulls<T: DeserializeOwned>(mut value: Value) -> Result<T, String> {
    strip_nulls(&mut value);
    from_value(value)
}

/// Takes out the keys whose value is `null`, at any depth but in lists.
pub fn strip_nulls(value: &mut Value) {
    let Some(object) = value.as_object_mut() else { return };
    object.retain(|_, value| !value.is_null());
    object.values_mut().for_each(strip_nulls);
}

/// The value without the nulls that its type does not take; `None` if there are none.
fn without_refused_nulls<T: DeserializeOwned>(value: &Value) -> Option<Value> {
    let mut nulls = Vec::new();
    collect_pointers(value, String::new(), &mut nulls);
    nulls.retain(|pointer| value.pointer(pointer).is_some_and(Value::is_null));
    if nulls.is_empty() {
        return None;
    }
    let mut bare = value.clone();
    strip_nulls(&mut bare);
    if serde_json::from_value::<T>(bare.clone()).is_err() {
        // Something else is wrong, which is to be told.
        return Some(bare);
    }
    let mut kept = bare.clone();
    for pointer in nulls {
        let mut one = bare.clone();
        put_null(&mut one, &pointer);
        if serde_json::from_value::<T>(one).is_ok() {
            put_null(&mut kept, &pointer);
        }
    }
    Some(kept)
}

/// Writes a `null` where the pointer says; its object is there.
fn put_null(value: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    if let Some(object) = value.pointer_mut(parent).and_then(Value::as_object_mut) {
        object.insert(key.to_owned(), Value::Null);
    }
}

/// The key without which the reason is another or none. Serde forgets the path inside of enums that a key tells apart, and most
/// of a config is inside of one.
fn culprit<T: DeserializeOwned>(value: &Value, reason: &str) -> Option<String> {
    let mut pointers = Vec::new();
    collect_pointers(value, String::new(), &mut pointers);
    let mut changed: Vec<String> = Vec::new();
    for pointer in pointers {
        let (parent, key) = pointer.rsplit_once('/')?;
        let mut without = value.clone();
        without.pointer_mut(parent)?.as_object_mut()?.remove(key);
        match serde_json::from_value::<T>(without) {
            Ok(_) => return Some(plain(&pointer)),
            Err(error) if error.to_string() != reason => changed.push(plain(&pointer)),
            Err(_) => {}
        }
    }
    // What holds the culprit is none itself.
    let all = changed.clone();
    changed.retain(|key| !all.iter().any(|other| other.starts_with(&format!("{key}."))));
    // Without the key that tells kinds apart nothing can be read: it is the culprit only if there is no other.
    let position = changed.iter().position(|key| !key.ends_with("model_type")).unwrap_or(0);
    changed.into_iter().nth(position)
}

/// `/text_config/hidden_size` as `text_config.hidden_size`.
fn plain(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

/// JSON pointers of the keys of all objects, inner ones first.
fn collect_pointers(value: &Value, prefix: String, found: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return };
    // Keys with special characters are none that a config has.
    for (key, value) in object.iter().filter(|(key, _)| !key.contains(['/', '~'])) {
        let pointer = format!("{prefix}/{key}");
        collect_pointers(value, pointer.clone(), found);
        if found.len() >= MAX_KEYS {
            return;
        }
        found.push(pointer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(default)]
    struct Inner {
        size: usize,
        flag: bool,
        cap: Option<f64>,
    }

    impl Default for Inner {
        fn default() -> Self {
            Self { size: 7, flag: true, cap: Some(3.0) }
        }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        #[serde(default)]
        inner: Inner,
        needed: usize,
    }

    fn read(value: Value) -> Result<Outer, String> {
        from_value(value)
    }

    #[test]
    fn null_is_absent_where_it_has_no_place() {
        let found = read(json!({ "inner": { "size": null, "flag": null, "cap": null }, "needed": 1 })).unwrap();
        assert_eq!(found, Outer { inner: Inner { cap: None, ..Inner::default() }, needed: 1 });
        let found = read(json!({ "inner": null, "needed": 1 })).unwrap();
        assert_eq!(found.inner, Inner::default());
        // Where no null is refused nothing is touched.
        let found = read(json!({ "inner": { "cap": null }, "needed": 1 })).unwrap();
        assert_eq!(found.inner.cap, None);
        let bare: Outer = from_value_without_nulls(json!({ "inner": { "cap": null }, "needed": 1 })).unwrap();
        assert_eq!(bare.inner.cap, Some(3.0));
    }

    #[test]
    fn what_is_wrong_besides_is_named() {
        let error = read(json!({ "inner": { "size": null, "flag": 3, "cap": null }, "needed": 1 })).unwrap_err();
        assert!(error.starts_with("`inner.flag`: "), "{error}");
        let error = read(json!({ "inner": { "size": null }, "needed": null })).unwrap_err();
        assert!(error.contains("needed"), "{error}");
        assert!(read(json!([1])).is_err());
    }
}

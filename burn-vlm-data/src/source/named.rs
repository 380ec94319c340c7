//! Pictures as the fields of a record name or hold them: paths, bytes in base64, data URIs, objects with one of these.

use super::record::RawPicture;
use super::skip::{SkipKind, SkipReason};
use super::text::{kind, listing};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use burn_vlm_base::shorten::shorten;
use bytes::Bytes;
use serde_json::Value;

/// No picture is as short as this in base64, and no reference to one as long.
pub(super) const SHORTEST_BASE64: usize = 64;
/// No path is as long as this.
const LONGEST_PATH: usize = 4096;
/// Characters of base64 that hold the signature of every format (whole bytes: a multiple of 4).
const SIGNATURE: usize = 32;
/// Padding may be left out: some programs do.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// What Python prints for nothing: columns of pictures have it where a row shows fewer than others (PangeaBench's M3Exam).
const NOTHING: &str = "None";
/// Keys of an object that name a picture or hold it, as chat templates, OpenAI, Anthropic and datasets write it.
pub(super) const KEYS: [&str; 9] =
    ["image", "path", "url", "image_url", "bytes", "base64", "data", "source", "file_name"];
/// How deep objects lie in each other: `{"image_url": {"url": ...}}`.
const DEPTH: usize = 3;

/// The pictures of a value; `label` is what errors call those that it holds itself.
pub(super) fn named(value: &Value, label: &str) -> Result<Vec<RawPicture>, SkipReason> {
    within(value, label, DEPTH)
}

fn within(value: &Value, label: &str, depth: usize) -> Result<Vec<RawPicture>, SkipReason> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) if text.trim().is_empty() || text == NOTHING => Ok(Vec::new()),
        Value::String(text) => match listing(text) {
            Some(items) => items.iter().map(|item| picture(item, label)).collect(),
            None => Ok(vec![picture(text, label)?]),
        },
        Value::Array(items) if depth > 0 => {
            let one = |(number, item)| within(item, &format!("{label} ({number})"), depth - 1);
            let lists = items.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
            Ok(lists.concat())
        }
        Value::Object(fields) if depth > 0 => {
            // Bytes before the path that they once had.
            let order = ["bytes", "base64", "data"].iter().chain(KEYS.iter());
            let found = order.filter_map(|key| fields.get(*key)).find(|value| is_there(value));
            match found {
                Some(found) => within(found, label, depth - 1),
                None if KEYS.iter().any(|key| fields.contains_key(*key)) => Ok(Vec::new()),
                None => {
                    let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
                    let detail = format!("a picture is an object of {}; expected path, url or bytes", keys.join(", "));
                    Err(SkipReason::malformed(detail))
                }
            }
        }
        other => Err(SkipReason::malformed(format!("a picture is {}, expected a path", kind(other)))),
    }
}

/// Something stands there: not null, no empty text, list or object.
pub(super) fn is_there(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// A picture of a string: a data URI, base64, or a path.
fn picture(text: &str, label: &str) -> Result<RawPicture, SkipReason> {
    let text = text.trim();
    if text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        let Some((_, data)) = text.split_once(',').filter(|(head, _)| head.to_ascii_lowercase().ends_with(";base64"))
        else {
            let detail = format!("{}: a data URI that is not in base64", shorten(text));
            return Err(SkipReason::new(SkipKind::UnreadableImage, detail));
        };
        return base64(data, label);
    }
    if holds_base64(text) {
        return base64(text, label);
    }
    Ok(RawPicture::Path(text.strip_prefix("file://").unwrap_or(text).to_owned()))
}

/// A text that is a picture in base64 and no path: long, of its letters alone, and beginning as pictures do.
fn holds_base64(text: &str) -> bool {
    let of_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(&byte);
    if text.len() < SHORTEST_BASE64 || !text.bytes().all(of_base64) {
        return false;
    }
    let begin: String = text.chars().filter(|c| !c.is_ascii_whitespace()).take(SIGNATURE).collect();
    text.len() > LONGEST_PATH || ENGINE.decode(begin).is_ok_and(|bytes| ::image::guess_format(&bytes).is_ok())
}

/// The picture that base64 holds.
pub(super) fn base64(text: &str, label: &str) -> Result<RawPicture, SkipReason> {
    let decoded = match text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        true => ENGINE.decode(text.split_ascii_whitespace().collect::<String>()),
        false => ENGINE.decode(text),
    };
    match decoded {
        Ok(bytes) => Ok(RawPicture::Encoded(label.to_owned(), Bytes::from(bytes))),
        Err(error) => {
            let detail = format!("{label}: {} is not base64: {error}", shorten(text));
            Err(SkipReason::new(SkipKind::UnreadableImage, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `b` bytes, or the path.
    fn found(value: Value) -> Vec<String> {
        let show = |picture| match picture {
            RawPicture::Path(path) => path,
            RawPicture::Encoded(_, bytes) => format!("{} bytes", bytes.len()),
        };
        named(&value, "image").unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn every_way_of_naming_a_picture() {
        let png = crate::image::encode_png(&crate::image::RgbImage::new(9, 9)).unwrap();
        let plain = base64::engine::general_purpose::STANDARD.encode(&png);
        let bytes = vec![format!("{} bytes", png.len())];
        let broken: String = plain.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line) + "\n").collect();
        for whole in [
            json!(plain),
            json!(plain.trim_end_matches('=')),
            json!(broken),
            json!(format!("data:image/png;base64,{plain}")),
            json!(format!("DATA:image/png;charset=x;BASE64,{plain}")),
            json!({"bytes": plain, "path": "a.png"}),
            json!({"base64": plain}),
            json!({"source": {"type": "base64", "data": plain}}),
            json!([plain]),
        ] {
            assert_eq!(found(whole.clone()), bytes, "{whole}");
        }
        for path in [
            json!("a.png"),
            json!("file://a.png"),
            json!({"path": "a.png", "bytes": null}),
            json!({"url": "a.png"}),
            json!({"image_url": {"url": "a.png"}}),
            json!({"file_name": "a.png"}),
            json!("['a.png']"),
        ] {
            assert_eq!(found(path.clone()), ["a.png"], "{path}");
        }
        // A hash is no picture, however long.
        let hash = "0123456789abcdef".repeat(5);
        assert_eq!(found(json!(hash)), [hash]);
        assert!(found(json!("None")).is_empty() && found(json!(["None"])).is_empty());
        assert!(found(json!(null)).is_empty() && found(json!({"bytes": null, "path": null})).is_empty());
        for (bad, word) in [
            (json!("data:image/svg+xml,<svg/>"), "not in base64"),
            (json!("data:image/png;base64,????"), "not base64"),
            (json!(7), "a number"),
            (json!({"uri": "a.png"}), "uri"),
            (json!("A".repeat(5001)), "not base64"),
        ] {
            let reason = named(&bad, "image").unwrap_err();
            assert!(reason.detail.contains(word) && reason.detail.len() < 400, "{bad}: {reason}");
        }
    }
}

//! What a message shows: pictures and videos, as data URIs or as files of this machine.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_vlm_data::conversation::Role;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::error::ApiError;
use super::request::{Fields, Result, Sources, cut};

/// Pictures or videos.
pub(super) struct Medium {
    what: &'static str,
    /// The part's type, and the field of that name.
    name: &'static str,
    code: &'static str,
    /// How the types of data URIs begin.
    types: &'static [&'static str],
    expected: &'static str,
}

pub(super) const PICTURE: Medium = Medium {
    what: "picture",
    name: "image_url",
    code: "invalid_image_url",
    types: &["image/"],
    expected: "data:image/png;base64,... (or jpeg, webp, gif)",
};

/// GIF and WebP may move.
pub(super) const VIDEO: Medium = Medium {
    what: "video",
    name: "video_url",
    code: "invalid_video_url",
    types: &["video/", "image/gif", "image/webp"],
    expected: "data:video/mp4;base64,... (or webm, gif)",
};

/// Where a picture or a video is.
pub(super) enum Given {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// The object of a part that shows something.
pub(super) fn shown<'a>(fields: &Fields<'a>, medium: &Medium, role: Role) -> Result<Fields<'a>> {
    let Medium { what, name, expected, .. } = medium;
    fields.only(&["type", name])?;
    if role != Role::User {
        let message = format!("{what}s are shown by the role `user`, not by `{}`", role.as_str());
        return Err(ApiError::field(fields.at.clone(), message));
    }
    let at = fields.path(name);
    match fields.get(name) {
        None => Err(fields.missing(name)),
        Some(Value::String(_)) => {
            let uri = expected.split(' ').next().unwrap_or_default();
            let message = format!("`{at}` is a text, expected an object: {{\"url\": \"{uri}\"}}");
            Err(ApiError { code: Some("invalid_type"), ..ApiError::field(at, message) })
        }
        Some(value) => Fields::of(at, value),
    }
}

/// What the field `url` of a part's object gives, and the path of that field.
pub(super) fn given(object: &Fields<'_>, medium: &Medium, from: &Sources<'_>) -> Result<(String, Given)> {
    let url = object.text("url")?.ok_or_else(|| object.missing("url"))?;
    let field = object.path("url");
    match located(url, medium, from) {
        Ok(given) => Ok((field, given)),
        Err(message) => Err(wrong_url(&field, medium, &message)),
    }
}

pub(super) fn wrong_url(field: &str, medium: &Medium, message: &str) -> ApiError {
    ApiError { code: Some(medium.code), ..ApiError::field(field, format!("`{field}`: {message}")) }
}

/// The bytes of a data URI or of another machine, or a file.
fn located(url: &str, medium: &Medium, from: &Sources<'_>) -> Result<Given, String> {
    let Medium { what, expected, types, .. } = medium;
    let url = url.trim();
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("data") => {}
        Some("http" | "https") => {
            let fetched = (from.remote)(url).map_err(|error| format!("{}: {error}", cut(url)))?;
            return if fetched.is_empty() {
                Err(format!("{}: an empty {what}", cut(url)))
            } else {
                Ok(Given::Bytes(fetched))
            };
        }
        Some("ftp") => return Err(format!("{}: nothing is fetched by ftp", cut(url))),
        Some("file") => {
            let path = url.strip_prefix("file://").unwrap_or(&url["file:".len()..]);
            let path = path.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(path);
            let path =
                percent_decode_str(path).decode_utf8().map_err(|_| format!("{} is no text in UTF-8", cut(url)))?;
            return (from.file)(&path).map(Given::File);
        }
        // A word before a colon may be a part of a file's name.
        _ => {
            let found = (from.file)(url).map(Given::File);
            return found.map_err(|error| format!("{error}; a {what} in the request: expected {expected}"));
        }
    }
    let comma = url["data:".len()..].split_once(',');
    let (head, data) = comma.ok_or_else(|| format!("a data URI without a comma; expected {expected}"))?;
    let mut head = head.split(';').map(str::trim);
    let kind = head.next().unwrap_or_default().to_ascii_lowercase();
    if !types.iter().any(|known| kind.starts_with(known)) {
        return Err(format!("a data URI of the type {}; expected {expected}", cut(&kind)));
    }
    if !head.any(|word| word.eq_ignore_ascii_case("base64")) {
        return Err(format!("a data URI that is not base64; expected {expected}"));
    }
    let bytes = STANDARD.decode(data.trim()).map_err(|error| format!("not base64: {error}"))?;
    if bytes.is_empty() { Err(format!("an empty {what}")) } else { Ok(Given::Bytes(bytes)) }
}

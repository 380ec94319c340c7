//! Placeholders that say which picture they stand for: `<image_1>`, `<image 1>` (MMMU), `<image1>`, `<|image_1|>` (Phi).

use crate::conversation::IMAGE_PLACEHOLDER;
use crate::sample::{Media, VIDEO_PLACEHOLDER};
use crate::source::{SkipKind, SkipReason};

/// How a numbered placeholder begins and ends.
const FORMS: [(&str, &str); 2] = [("<|image", "|>"), ("<image", ">")];
/// Digits of a number; more are no number of a picture.
const DIGITS: usize = 4;

/// Replaces numbered placeholders by plain ones, and puts the media into the order in which the texts show them: a picture that is
/// named twice is shown twice. Whether there were any.
///
/// Numbers are counted from 1; from 0 where a 0 is among them.
///
/// # Errors
/// A number without a picture, a picture without a number, numbered placeholders beside plain ones or a video.
pub fn resolve_numbered<'t>(
    texts: impl IntoIterator<Item = &'t mut String>,
    media: &mut Vec<Media>,
) -> Result<bool, SkipReason> {
    let mut texts: Vec<&mut String> = texts.into_iter().collect();
    let numbers: Vec<usize> = texts.iter().flat_map(|text| placeholders(text)).map(|(_, _, number)| number).collect();
    if numbers.is_empty() {
        return Ok(false);
    }
    let refuse = |detail: String| Err(SkipReason::new(SkipKind::Placeholders, detail));
    let plain = texts.iter().any(|text| text.contains(IMAGE_PLACEHOLDER) || text.contains(VIDEO_PLACEHOLDER));
    if plain || media.iter().any(|media| matches!(media, Media::Video(_))) {
        return refuse("numbered placeholders (<image_1>) stand beside plain ones or a video".to_owned());
    }
    let first = usize::from(!numbers.contains(&0));
    let pictures = media.len();
    if let Some(number) = numbers.iter().find(|number| **number >= pictures + first) {
        return refuse(format!("a placeholder names picture {number}, counted from {first}; there are {pictures}"));
    }
    if let Some(unnamed) = (first..pictures + first).find(|number| !numbers.contains(number)) {
        return refuse(format!("no placeholder names picture {unnamed} of {pictures}, counted from {first}"));
    }
    for text in &mut texts {
        let found: Vec<_> = placeholders(text).collect();
        for (begin, end, _) in found.into_iter().rev() {
            text.replace_range(begin..end, IMAGE_PLACEHOLDER);
        }
    }
    *media = numbers.iter().map(|number| media[number - first].clone()).collect();
    Ok(true)
}

/// The numbered placeholders of a text: begin, end, number.
fn placeholders(text: &str) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
    memchr::memchr_iter(b'<', text.as_bytes()).filter_map(move |begin| {
        let (length, number) = FORMS.iter().find_map(|(open, close)| numbered(&text[begin..], open, close))?;
        Some((begin, begin + length, number))
    })
}

/// Length and number of the placeholder that a text begins with.
fn numbered(text: &str, open: &str, close: &str) -> Option<(usize, usize)> {
    let rest = text.strip_prefix(open)?;
    let rest = rest.strip_prefix([' ', '_', '-']).unwrap_or(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let after = rest[digits..].strip_prefix(close)?;
    let number = (1..=DIGITS).contains(&digits).then(|| rest[..digits].parse().ok())??;
    Some((text.len() - after.len(), number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Picture;
    use bytes::Bytes;

    fn resolved(texts: &[&str], pictures: usize) -> Result<(Vec<String>, String), SkipReason> {
        let picture = |number: usize| Picture::Encoded { name: number.to_string(), bytes: Bytes::new() };
        let mut media: Vec<Media> = (1..=pictures).map(|number| Media::Image(picture(number))).collect();
        let mut texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        resolve_numbered(texts.iter_mut(), &mut media)?;
        Ok((texts, crate::sample::pictures(&media).map(Picture::name).collect()))
    }

    #[test]
    fn pictures_stand_where_their_number_is() {
        for (texts, order) in [
            (["<image_1> and <image_2>", ""], "12"),
            (["<image 2>, then", "<image 1>\nx"], "21"),
            (["<image1><image-2>", "é <image1>"], "121"),
            (["<|image_1|>\n<|image_2|>", "<| <image"], "12"),
            (["<image_1> <image_0>", ""], "21"),
        ] {
            let (plain, found) = resolved(&texts, 2).unwrap();
            assert_eq!(found, order, "{texts:?}");
            assert_eq!(plain.concat().matches("<image>").count(), order.len(), "{plain:?}");
        }
        assert_eq!(resolved(&["<image>", "<image_x> <image_12345> <images 1>"], 1).unwrap().1, "1");
        for (text, pictures, word) in [
            ("<image_3> <image_1>", 2, "picture 3"),
            ("<image_1>", 2, "picture 2 of 2"),
            ("<image_1>", 0, "there are 0"),
            ("<image_1> <image>", 2, "plain"),
            ("<image_1> <image_2> <video>", 2, "video"),
        ] {
            let reason = resolved(&[text], pictures).unwrap_err();
            assert!(reason.kind == SkipKind::Placeholders && reason.detail.contains(word), "{text}: {reason}");
        }
    }
}

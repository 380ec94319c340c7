//! Names of picture files: which endings can be read, and in which order the frames of a folder are.

use std::cmp::Ordering;
use std::path::Path;

/// Endings of pictures that can be read.
pub(crate) const READABLE_ENDINGS: [&str; 9] = ["jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// Whether a file has such an ending, in any case, and is not hidden.
pub(crate) fn is_picture(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    !hidden && ending.is_some_and(|ending| READABLE_ENDINGS.contains(&ending.as_str()))
}

/// Compares names, runs of digits by their numbers; equal numbers (`1`, `01`) by what is written.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (Some(first), Some(second)) = (left.chars().next(), right.chars().next()) else {
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        let ordering = match (first.is_ascii_digit(), second.is_ascii_digit()) {
            (true, true) => {
                let ((x, after), (y, behind)) = (number(left), number(right));
                (left, right) = (after, behind);
                x.len().cmp(&y.len()).then_with(|| x.cmp(y))
            }
            _ => {
                (left, right) = (&left[first.len_utf8()..], &right[second.len_utf8()..]);
                first.cmp(&second)
            }
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}

/// The digits that a text begins with, without leading zeros, and the rest.
fn number(text: &str) -> (&str, &str) {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    (digits.trim_start_matches('0'), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_by_their_names() {
        for name in ["a.png", "b/a.JPG", "a.b.jfif"] {
            assert!(is_picture(Path::new(name)), "{name}");
        }
        for name in ["a", "png", ".a.png", "b/.a.png", "a.txt", "a.png.txt"] {
            assert!(!is_picture(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn natural_order() {
        let sorted = [
            "",
            "a",
            "a1",
            "a01",
            "a2",
            "a2b1",
            "a2b10",
            "a10",
            "a100000000000000000000",
            "a100000000000000000001",
            "ab",
            "é",
        ];
        for (place, a) in sorted.iter().enumerate() {
            for (other, b) in sorted.iter().enumerate() {
                // a1 and a01 are the same number: the text decides.
                let expected = match (*a, *b) {
                    ("a1", "a01") => Ordering::Greater,
                    ("a01", "a1") => Ordering::Less,
                    _ => place.cmp(&other),
                };
                assert_eq!(natural(a, b), expected, "{a} {b}");
            }
        }
    }
}

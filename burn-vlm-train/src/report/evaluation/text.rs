//! Words and texts from outside, as the pages show them.

use burn_vlm_data::language::Language;

use crate::eval::Prediction;
use crate::report::svg::escape;

/// The most characters of a text that a card shows.
const SHOWN: usize = 600;
/// The most characters of a text in a column of a table.
pub(super) const BRIEF: usize = 200;

/// A number with what it counts: `1 question`, `1,204 questions`.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { many })
}

/// A number with commas between thousands.
pub(super) fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share in percent: `3.2 %`.
pub(super) fn share(part: usize, whole: usize) -> String {
    match whole {
        0 => "–".to_owned(),
        _ => format!("{:.1} %", 100.0 * part as f64 / whole as f64),
    }
}

/// The name of a language in English; the tag of one that has none.
pub(super) fn language_name(tag: &str) -> String {
    match tag {
        "und" => "language not told".to_owned(),
        tag => Language::parse(tag).map_or_else(|_| tag.to_owned(), |language| language.english_name().to_owned()),
    }
}

/// Attributes of an element that holds a text of the prediction's language: which may be written from right to left.
pub(super) fn written(prediction: &Prediction) -> String {
    let lang = prediction.language.as_deref().map(|tag| format!(" lang=\"{}\"", escape(tag))).unwrap_or_default();
    format!("{lang} dir=\"auto\"")
}

/// A text from outside, as a card shows it.
pub(super) fn shown(text: &str) -> String {
    cut(text, SHOWN)
}

/// A text from outside, escaped; of one of more than `most` characters the beginning, and how much is left out.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => escape(text),
        Some((end, _)) => {
            let rest = text.get(end..).unwrap_or_default().chars().count();
            let beginning = escape(text.get(..end).unwrap_or_default());
            format!(
                "{beginning}… <span class=\"cut\">({} not shown)</span>",
                counted(rest, "more character", "more characters")
            )
        }
    }
}

/// What the model wrote, as a card shows it.
pub(super) fn reply(prediction: &Prediction) -> String {
    reply_cut(prediction, SHOWN)
}

/// What the model wrote, as HTML: escaped, at most `most` characters, or said to be nothing.
pub(super) fn reply_cut(prediction: &Prediction, most: usize) -> String {
    match prediction.text.as_deref() {
        Some(text) if text.trim().is_empty() => "<span class=\"cut\">(empty)</span>".to_owned(),
        Some(text) => cut(text, most),
        None if prediction.option_scores.is_empty() => "<span class=\"cut\">(no reply)</span>".to_owned(),
        None => "<span class=\"cut\">(chosen by likelihood)</span>".to_owned(),
    }
}

/// A flag in words: `read as missing`.
pub(super) fn flag_words(flag: &str) -> String {
    flag.replace('_', " ")
}

/// A score of 0 to 1 in words.
pub(super) fn verdict(score: f64) -> String {
    match score {
        1.0 => "✓ right".to_owned(),
        0.0 => "✗ wrong".to_owned(),
        part => format!("{:.0} % right", 100.0 * part),
    }
}

/// The class of a verdict.
pub(super) fn verdict_class(score: f64) -> &'static str {
    match score {
        1.0 => "good",
        0.0 => "bad",
        _ => "part",
    }
}

/// The letter of an option by its position.
pub(super) fn letter(position: usize) -> Option<char> {
    u8::try_from(position).ok().filter(|position| *position < 26).map(|position| char::from(b'A' + position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_said_to_be() {
        assert_eq!(shown("a<b"), "a&lt;b");
        let long = "ё".repeat(SHOWN + 1200);
        let cut = shown(&long);
        assert!(cut.starts_with('ё') && cut.contains("(1,200 more characters not shown)"), "{cut}");
        assert_eq!(cut.matches('ё').count(), SHOWN);
        // Not within an escape.
        assert!(shown(&"&".repeat(SHOWN + 1)).contains("&amp;… <span"));
    }

    #[test]
    fn numbers_and_names_in_words() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(share(1, 0), "–");
        assert_eq!(share(1, 8), "12.5 %");
        assert_eq!(language_name("ar"), "Arabic");
        assert_eq!(language_name("<x"), "<x");
        assert_eq!((letter(0), letter(25), letter(26)), (Some('A'), Some('Z'), None));
    }
}

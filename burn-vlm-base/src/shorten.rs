//! Values from outside in messages: what a record holds may be a whole picture in base64, and no message carries that.

/// The most characters of a value that a message shows.
const SHOWN: usize = 120;
/// The most characters of a whole message about one record.
const MESSAGE: usize = 600;
/// The most characters of a line.
const LINE: usize = 1000;

/// A value in quotes as a message shows it: cut after 120 characters, with the number of characters that it has.
pub fn shorten(value: &str) -> String {
    cut(value, SHOWN, |shown| format!("{shown:?}"))
}

/// A message about a record, cut after 600 characters: the last guard for what others put into it.
pub fn shorten_message(message: &str) -> String {
    cut(message, MESSAGE, str::to_owned)
}

/// A message of any length for people: each of its lines cut after 1,000 characters, control characters left out. Libraries quote whole
/// values, and files have texts of any length.
pub fn shorten_lines(message: &str) -> String {
    let line = |line: &str| {
        let line: String = line.chars().filter(|char| !char.is_control() || *char == '\t').collect();
        cut(&line, LINE, str::to_owned)
    };
    message.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn cut(text: &str, most: usize, show: impl Fn(&str) -> String) -> String {
    match text.char_indices().nth(most) {
        None => show(text),
        Some((at, _)) => format!("{}... ({} characters)", show(&text[..at]), text.chars().count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_and_short_ones_are_not() {
        assert_eq!(shorten("a\"b"), "\"a\\\"b\"");
        let long = "語".repeat(50_000);
        let shown = shorten(&long);
        assert!(shown.ends_with("\"... (50000 characters)") && shown.chars().count() < 150, "{shown}");
        assert_eq!(shorten_message("short"), "short");
        assert!(shorten_message(&long).chars().count() < 650);
        let shown = shorten_lines(&format!("a\0b\n{long}\nc"));
        assert!(shown.starts_with("ab\n") && shown.ends_with("... (50000 characters)\nc"), "{shown}");
        assert!(shown.chars().count() < 1100);
    }
}

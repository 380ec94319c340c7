//! How a sentence is cut into words before its runs of words are compared.

use std::sync::LazyLock;

use regex::Regex;

/// Separators that Python's `split` knows and Unicode's white space lacks.
const SEPARATORS: std::ops::RangeInclusive<char> = '\u{1c}'..='\u{1f}';

/// A tokenizer of sacreBLEU's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokenizer {
    /// `13a`, as in WMT's `mteval-v13a`: ASCII marks stand alone, but for dots and commas between digits; the default.
    V13a,
    /// `intl`, as in `mteval-v14`: marks and symbols of all scripts.
    International,
    /// `char`: every character is a word.
    Characters,
}

impl Tokenizer {
    /// The name in signatures.
    pub fn signature(self) -> &'static str {
        match self {
            Self::V13a => "13a",
            Self::International => "intl",
            Self::Characters => "char",
        }
    }

    /// The words.
    pub fn words(self, text: &str) -> Vec<String> {
        let text = text.trim_end_matches(is_space);
        match self {
            Self::V13a => split(&v13a(text)).map(str::to_owned).collect(),
            Self::International => split(&international(text)).map(str::to_owned).collect(),
            Self::Characters => text.chars().filter(|c| !is_space(*c)).map(String::from).collect(),
        }
    }
}

/// What Python takes for white space.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || SEPARATORS.contains(&c)
}

/// The words between white space, as Python's `split` finds them.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// A text without white space around it, as Python's `strip` leaves it.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn v13a(text: &str) -> String {
    let mut text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    for (entity, mark) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
        text = text.replace(entity, mark);
    }
    // The spaces around let a mark at either end be one that no digit touches.
    let mut chars = vec![' '];
    for c in text.chars() {
        if stands_alone(c) { chars.extend([' ', c, ' ']) } else { chars.push(c) }
    }
    chars.push(' ');
    let digit = |c: char| c.is_ascii_digit();
    let point = |c: char| matches!(c, '.' | ',');
    let chars = rewrite_pairs(&chars, |a, b| !digit(a) && point(b), |a, b| [a, ' ', b, ' ']);
    let chars = rewrite_pairs(&chars, |a, b| point(a) && !digit(b), |a, b| [' ', a, ' ', b]);
    let chars = rewrite_pairs(&chars, |a, b| digit(a) && b == '-', |a, b| [a, ' ', b, ' ']);
    chars.into_iter().collect()
}

/// ASCII marks but for the apostrophe, comma, hyphen and dot.
fn stands_alone(c: char) -> bool {
    c.is_ascii_punctuation() && !matches!(c, '\'' | ',' | '-' | '.')
}

fn international(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let chars = rewrite_pairs(&chars, |a, b| !a.is_numeric() && is_mark(b), |a, b| [a, ' ', b, ' ']);
    let chars = rewrite_pairs(&chars, |a, b| is_mark(a) && !b.is_numeric(), |a, b| [' ', a, ' ', b]);
    let mut out = String::with_capacity(chars.len());
    for c in chars {
        if is_symbol(c) { out.extend([' ', c, ' ']) } else { out.push(c) }
    }
    out
}

/// Rewrites each pair of neighbours that fits, from the left; what is in one pair is in no other.
fn rewrite_pairs(
    chars: &[char],
    fits: impl Fn(char, char) -> bool,
    rewrite: impl Fn(char, char) -> [char; 4],
) -> Vec<char> {
    let mut out = Vec::with_capacity(chars.len());
    let mut rest = chars;
    while let [first, tail @ ..] = rest {
        match tail {
            [second, behind @ ..] if fits(*first, *second) => {
                out.extend(rewrite(*first, *second));
                rest = behind;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// Unicode's category P.
fn is_mark(c: char) -> bool {
    static MARK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\p{P}").ok());
    is_of(&MARK, c)
}

/// Unicode's category S.
fn is_symbol(c: char) -> bool {
    static SYMBOL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\p{S}").ok());
    is_of(&SYMBOL, c)
}

fn is_of(class: &Option<Regex>, c: char) -> bool {
    class.as_ref().is_some_and(|class| class.is_match(c.encode_utf8(&mut [0; 4])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(tokenizer: Tokenizer, text: &str) -> String {
        tokenizer.words(text).join(" ")
    }

    /// What sacreBLEU 2.6.0 prints for these.
    #[test]
    fn sentences_are_cut_as_published() {
        let cases = [
            ("It's 3,500.5 (or so)...", "It's 3,500.5 ( or so ) . . .", "It ' s 3,500.5 ( or so ) . . ."),
            ("l'homme, 10-12 -x", "l'homme , 10 - 12 -x", "l ' homme , 10-12 - x"),
            ("a.,b 1.", "a . , b 1 .", "a . , b 1."),
            (
                "&quot;x&quot; &amp;lt; <skipped>y-\nz\nw",
                "\" x \" < yz w",
                "& quot ; x & quot ; & amp ; lt ; < skipped > y - z w",
            ),
            ("«où»? 5€ 5.€ ２.３", "«où» ? 5€ 5 . € ２ . ３", "« où » ? 5 € 5 . € ２.３"),
            ("a\u{1c}b\u{a0}c", "a b c", "a b c"),
            ("  ", "", ""),
        ];
        for (text, v13a, international) in cases {
            assert_eq!(joined(Tokenizer::V13a, text), v13a, "{text}");
            assert_eq!(joined(Tokenizer::International, text), international, "{text}");
        }
        assert_eq!(joined(Tokenizer::Characters, "ab c\u{301} "), "a b c \u{301}");
    }
}

//! How a sentence is cut into words before its runs of words are compared.

use std::sync::{Arc, LazyLock};

use regex::Regex;

use super::mecab::Mecab;

/// Separators that Python's `split` knows and Unicode's white space lacks.
const SEPARATORS: std::ops::RangeInclusive<char> = '\u{1c}'..='\u{1f}';

/// What XML writes for marks, in the order in which it is undone.
const ENTITIES: [(&str, &str); 4] = [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")];

/// Scripts that `zh` cuts into characters. sacreBLEU writes two more, of the supplementary planes, with `\u20000`, which Python reads
/// as two characters: what they match is `U+2001` to `U+2A6D` (with quotation marks, arrows, signs of currencies) and a few of
/// Kangxi's radicals, while the rare ideographs of these planes stay together.
const CHINESE: [(char, char); 20] = [
    ('\u{3400}', '\u{4db5}'),
    ('\u{4e00}', '\u{9fbb}'),
    ('\u{f900}', '\u{fa2d}'),
    ('\u{fa30}', '\u{fa6a}'),
    ('\u{fa70}', '\u{fad9}'),
    ('\u{2001}', '\u{2a6d}'),
    ('\u{ff00}', '\u{ffef}'),
    ('\u{2e80}', '\u{2eff}'),
    ('\u{3000}', '\u{303f}'),
    ('\u{31c0}', '\u{31ef}'),
    ('\u{2f00}', '\u{2fdf}'),
    ('\u{2ff0}', '\u{2fff}'),
    ('\u{3100}', '\u{312f}'),
    ('\u{31a0}', '\u{31bf}'),
    ('\u{fe10}', '\u{fe1f}'),
    ('\u{fe30}', '\u{fe4f}'),
    ('\u{2600}', '\u{26ff}'),
    ('\u{2700}', '\u{27bf}'),
    ('\u{3200}', '\u{32ff}'),
    ('\u{3300}', '\u{33ff}'),
];

/// A tokenizer of sacreBLEU's. Those of sentence pieces (`spm`, `flores101`, `flores200`) need models that are not here.
#[derive(Debug, Clone)]
pub enum Tokenizer {
    /// `13a`, as in WMT's `mteval-v13a`: ASCII marks stand alone, but for dots and commas between digits; the default.
    V13a,
    /// `intl`, as in `mteval-v14`: marks and symbols of all scripts.
    International,
    /// `char`: every character is a word.
    Characters,
    /// `zh`: ideographs and the marks of Chinese are words, the rest is cut as `13a` does.
    Chinese,
    /// `none`: what stands between white space.
    Whitespace,
    /// `ja-mecab` or `ko-mecab`: words of a dictionary.
    Mecab(Arc<Mecab>),
}

impl Tokenizer {
    /// Those that need no dictionary, by the names that [`Self::named`] knows.
    pub const NAMES: [&str; 5] = ["13a", "intl", "char", "zh", "none"];

    /// A tokenizer that needs no dictionary, by sacreBLEU's name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "13a" => Some(Self::V13a),
            "intl" => Some(Self::International),
            "char" => Some(Self::Characters),
            "zh" => Some(Self::Chinese),
            "none" => Some(Self::Whitespace),
            _ => None,
        }
    }

    /// The name in signatures.
    pub fn signature(&self) -> &'static str {
        match self {
            Self::V13a => "13a",
            Self::International => "intl",
            Self::Characters => "char",
            Self::Chinese => "zh",
            Self::Whitespace => "none",
            Self::Mecab(mecab) => mecab.dictionary().signature(),
        }
    }

    /// The words.
    pub fn words(&self, text: &str) -> Vec<String> {
        let text = text.trim_end_matches(is_space);
        let owned = |text: &str| split(text).map(str::to_owned).collect();
        match self {
            Self::V13a => owned(&v13a(text)),
            Self::International => owned(&international(text)),
            Self::Characters => text.chars().filter(|c| !is_space(*c)).map(String::from).collect(),
            Self::Chinese => owned(&chinese(text)),
            Self::Whitespace => owned(text),
            // A word of a dictionary may be white space, or hold some.
            Self::Mecab(mecab) => mecab.words(strip(text)).into_iter().flat_map(split).map(str::to_owned).collect(),
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
    for (entity, mark) in ENTITIES {
        text = text.replace(entity, mark);
    }
    // The spaces around let a mark at either end be one that no digit touches.
    points_apart(&marks_apart(&format!(" {text} ")))
}

fn chinese(text: &str) -> String {
    let mut apart = String::with_capacity(2 * text.len());
    for c in strip(text).chars() {
        if CHINESE.iter().any(|(first, last)| (*first..=*last).contains(&c)) {
            apart.extend([' ', c, ' ']);
        } else {
            apart.push(c);
        }
    }
    points_apart(&marks_apart(&apart))
}

/// What Tercom's normalisation makes of a text: lines joined, entities as marks, ASCII marks and the English possessive apart.
pub(super) fn tercom_normalized(text: &str) -> String {
    let mut text = text.replace("\n-", "").replace('\n', " ");
    for (entity, mark) in ENTITIES {
        text = text.replace(entity, mark);
    }
    points_apart(&marks_apart(&format!(" {text} ")).replace("'s ", " 's "))
}

/// Marks that stand alone, with spaces around.
fn marks_apart(text: &str) -> String {
    let mut apart = String::with_capacity(2 * text.len());
    for c in text.chars() {
        if stands_alone(c) { apart.extend([' ', c, ' ']) } else { apart.push(c) }
    }
    apart
}

/// Dots and commas that are not between digits, and hyphens after one, with spaces around.
fn points_apart(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
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

    fn joined(tokenizer: &Tokenizer, text: &str) -> String {
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
        let chinese = [
            ("我有2,5只狗，x.y z-1-2。", "我 有 2,5 只 狗 ， x . y z-1 - 2 。"),
            (".a “b” 5€ →", ". a “ b ” 5 € →"),
            // Nothing stands before and behind the text, where 13a has a space.
            (".5 a5.", ".5 a5."),
            ("\u{20000}\u{20001}x", "\u{20000}\u{20001}x"),
        ];
        for (text, wanted) in chinese {
            assert_eq!(joined(&Tokenizer::Chinese, text), wanted, "{text}");
        }
        for (text, v13a, international) in cases {
            assert_eq!(joined(&Tokenizer::V13a, text), v13a, "{text}");
            assert_eq!(joined(&Tokenizer::International, text), international, "{text}");
        }
        assert_eq!(joined(&Tokenizer::Characters, "ab c\u{301} "), "a b c \u{301}");
        assert_eq!(joined(&Tokenizer::Whitespace, " a,b \u{1c}c "), "a,b c");
        for name in Tokenizer::NAMES {
            assert_eq!(Tokenizer::named(name).map(|tokenizer| tokenizer.signature()), Some(name));
        }
        assert!(Tokenizer::named("ja-mecab").is_none());
    }
}

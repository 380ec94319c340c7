//! A text as words and what stands between them.
//!
//! Unusual here: a change of script ends a word (`A입니다` is `A` and `입니다`), each character of scripts without spaces is
//! a word of its own, and a number keeps its sign, its marks and its unit sign (`-1.5`, `10:10`, `5%`).

use unicode_normalization::char::is_combining_mark;

use super::text::fold;

/// What ends a sentence.
const ENDS: [char; 8] = ['.', '!', '?', ';', '。', '।', '؟', '۔'];
/// What parts a sentence.
const PARTS: [char; 2] = [',', '،'];

/// The script of a word, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Number,
    Latin,
    Cyrillic,
    Hangul,
    /// Written without spaces: Chinese characters, kana, Thai.
    Unspaced,
    Other,
}

/// A word.
#[derive(Debug, Clone)]
pub(super) struct Token {
    /// As written.
    pub text: String,
    /// As compared.
    pub folded: String,
    pub script: Script,
    begin: usize,
    end: usize,
}

/// A text and its words.
#[derive(Debug, Clone)]
pub(super) struct Words {
    text: String,
    pub tokens: Vec<Token>,
}

impl Token {
    /// The word if it is one character.
    pub fn single(&self) -> Option<char> {
        let mut chars = self.text.chars();
        chars.next().filter(|_| chars.next().is_none())
    }
}

impl Words {
    /// The words of a text that is [`visible`](super::text::visible).
    pub fn of(text: &str) -> Self {
        let chars: Vec<(usize, char)> = text.char_indices().collect();
        let char_at = |at: usize| chars.get(at).map(|(_, c)| *c);
        let is_digit = |at: usize| char_at(at).is_some_and(char::is_numeric);
        let mut spans: Vec<(usize, usize, Script)> = Vec::new();
        let mut at = 0;
        while let Some(c) = char_at(at) {
            let begin = at;
            let behind = begin.checked_sub(1).and_then(char_at);
            let is_sign = c == '-' && behind.is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '[' | ':' | '='));
            let is_currency = matches!(c, '$' | '€' | '£' | '¥' | '₹');
            let script = match script(c) {
                Some(script) => script,
                None if (is_sign || is_currency) && is_digit(at + 1) => Script::Number,
                None => {
                    at += 1;
                    continue;
                }
            };
            at += 1;
            while let Some(c) = char_at(at) {
                let joins = is_combining_mark(c)
                    || match script {
                        Script::Unspaced => false,
                        Script::Number => {
                            let inner = matches!(c, '.' | ',' | ':' | '/' | '٫' | '٬') && is_digit(at + 1);
                            c.is_numeric()
                                || (inner && is_digit(at - 1))
                                || (matches!(c, '%' | '٪' | '°') && is_digit(at - 1))
                        }
                        script => self::script(c) == Some(script),
                    };
                if !joins {
                    break;
                }
                at += 1;
            }
            spans.push((begin, at, script));
        }
        let byte = |at: usize| chars.get(at).map_or(text.len(), |(byte, _)| *byte);
        let token = |(begin, end, script)| {
            let (begin, end) = (byte(begin), byte(end));
            let text = text.get(begin..end).unwrap_or_default();
            Token { text: text.to_owned(), folded: fold(text), script, begin, end }
        };
        let tokens = spans.into_iter().map(token).collect();
        Self { text: text.to_owned(), tokens }
    }

    /// What stands before a word, back to the word before it; before the end of the text for the number of words.
    pub fn before(&self, at: usize) -> &str {
        let begin = at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |token| token.end);
        let end = self.tokens.get(at).map_or(self.text.len(), |token| token.begin);
        self.text.get(begin..end).unwrap_or_default()
    }

    /// What stands behind a word, up to the next.
    pub fn after(&self, at: usize) -> &str {
        self.before(at + 1)
    }

    /// The text from the begin of a word on.
    pub fn rest(&self, at: usize) -> &str {
        let begin = self.tokens.get(at).map_or(self.text.len(), |token| token.begin);
        self.text.get(begin..).unwrap_or_default()
    }

    /// Whether a word is the last.
    pub fn is_last(&self, at: usize) -> bool {
        at + 1 >= self.tokens.len()
    }

    /// Whether the words from `at` on are these, with nothing between them that ends a sentence.
    pub fn has(&self, at: usize, wanted: &[Token]) -> bool {
        let same = |(offset, token): (usize, &Token)| {
            let is_held = offset == 0 || !ends_sentence(self.before(at + offset));
            is_held && self.tokens.get(at + offset).is_some_and(|found| found.folded == token.folded)
        };
        !wanted.is_empty() && wanted.iter().enumerate().all(same)
    }

    /// Ranges of words between marks of any kind but quotes and emphasis.
    pub fn phrases(&self) -> Vec<std::ops::Range<usize>> {
        let parts = |gap: &str| gap.contains(|c: char| !c.is_whitespace() && !is_dress(c));
        let mut phrases = Vec::new();
        let mut begin = 0;
        for at in 1..=self.tokens.len() {
            if at == self.tokens.len() || parts(self.before(at)) || self.before(at).contains('\n') {
                phrases.push(begin..at);
                begin = at;
            }
        }
        phrases
    }
}

/// The script of a character of words; none of marks and spaces.
pub(super) fn script(c: char) -> Option<Script> {
    if c.is_numeric() {
        return Some(if is_unspaced(c) { Script::Unspaced } else { Script::Number });
    }
    if !c.is_alphabetic() {
        return None;
    }
    Some(match c {
        'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Script::Latin,
        '\u{400}'..='\u{52f}' => Script::Cyrillic,
        '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7a3}' => Script::Hangul,
        c if is_unspaced(c) => Script::Unspaced,
        _ => Script::Other,
    })
}

fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3005}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Quotes and emphasis: what a word wears without being another.
pub(super) fn is_dress(c: char) -> bool {
    matches!(c, '"' | '\'' | '*' | '_' | '`' | '~')
}

/// Whether what stands between two words ends a sentence or a line.
pub(super) fn ends_sentence(gap: &str) -> bool {
    gap.contains(|c| ENDS.contains(&c) || c == '\n')
}

/// Whether what stands between two words keeps them from being read together.
pub(super) fn parts(gap: &str) -> bool {
    // What follows `**Answer**` or `Answer:` may stand on the next line.
    let is_heading = gap.contains([':', '*']);
    gap.contains(|c| ENDS.contains(&c) || PARTS.contains(&c) || (c == '\n' && !is_heading))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_with_their_script() {
        for (text, expected) in [
            ("정답은 A입니다", vec!["정답은", "A", "입니다"]),
            ("答えはAです", vec!["答", "え", "は", "A", "で", "す"]),
            ("Cevap C'dir", vec!["Cevap", "C", "dir"]),
            ("-5 or 1,000.5% at 10:10.", vec!["-5", "or", "1,000.5%", "at", "10:10"]),
            ("C-10 $3 5cm", vec!["C", "10", "$3", "5", "cm"]),
            ("हाँ, नहीं।", vec!["हाँ", "नहीं"]),
            ("第3", vec!["第", "3"]),
            ("", vec![]),
        ] {
            let words = Words::of(text);
            assert_eq!(words.tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}

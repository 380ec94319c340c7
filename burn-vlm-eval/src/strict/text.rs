//! What of a reply is read, and how its letters are compared.

use unicode_normalization::UnicodeNormalization;

/// Blocks in which models think aloud.
const BLOCKS: [&str; 5] = ["think", "thinking", "thought", "analysis", "reasoning"];

/// Zeros of the decimal digits of other scripts.
const ZEROS: [char; 18] = [
    '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}', '\u{be6}', '\u{c66}', '\u{ce6}',
    '\u{d66}', '\u{de6}', '\u{e50}', '\u{ed0}', '\u{f20}', '\u{1040}', '\u{17e0}', '\u{1810}',
];

/// A reply as it is read: without blocks of thought and invisible characters, in Unicode's form NFKC (full-width
/// letters are plain, an accent is one with its letter), with plain quotes and without English contractions.
pub(super) fn visible(reply: &str) -> String {
    let shown = without_specials(&without_thought(reply));
    // NFKC would make `No` of the numero sign.
    let composed: String = shown.replace('№', "#").nfkc().filter_map(plain).collect();
    composed.replace("can't", "cannot").replace("Can't", "Cannot").replace("n't", " not").replace("I'm ", "I am ")
}

/// Drops blocks of thought. One that is never closed drops the rest: the reply was cut off before its answer. A closing
/// tag alone drops all before it: the opening one was part of the prompt.
fn without_thought(reply: &str) -> String {
    let mut text = reply.to_owned();
    for name in BLOCKS {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        while let Some(end) = text.find(&close) {
            let begin = text[..end].find(&open).unwrap_or(0);
            text.replace_range(begin..end + close.len(), "\n");
        }
        if let Some(begin) = text.find(&open) {
            text.truncate(begin);
        }
    }
    text
}

/// Drops special tokens that a chat template left: `<|im_end|>`.
fn without_specials(text: &str) -> String {
    /// The longest name of a token.
    const LONGEST: usize = 64;
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<|") {
        shown.push_str(before);
        let is_named = |c: char| !c.is_whitespace() && c != '|';
        let length = after.chars().take(LONGEST).take_while(|c| is_named(*c)).map(char::len_utf8).sum();
        match after.get(length..).and_then(|after| after.strip_prefix("|>")) {
            Some(after) => rest = after,
            None => {
                shown.push_str("<|");
                rest = after;
            }
        }
    }
    shown.push_str(rest);
    shown
}

/// Quotes and dashes of one kind each; nothing of what is not seen.
fn plain(c: char) -> Option<char> {
    match c {
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => None,
        '‘' | '’' | '‛' | '′' | 'ʼ' => Some('\''),
        '“' | '”' | '„' | '‟' | '«' | '»' | '「' | '」' | '『' | '』' | '″' => Some('"'),
        '\u{2010}' | '\u{2011}' | '\u{2212}' => Some('-'),
        '【' | '〔' => Some('['),
        '】' | '〕' => Some(']'),
        '\r' => Some('\n'),
        other => Some(other),
    }
}

/// A text as it is compared: lower case; without what is often left out or written in two ways (the dots of `ё` and of
/// the Turkish
/// `İ`, Arabic vowel signs, hamza and tatweel, cedilla or comma below), and with plain digits.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            '\u{307}' if folded.ends_with('i') => {}
            '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}' => {}
            'ß' => folded.push_str("ss"),
            other => folded.push(same(other)),
        }
    }
    folded
}

fn same(c: char) -> char {
    match c {
        'ı' => 'i',
        'ё' => 'е',
        'ș' => 'ş',
        'ț' => 'ţ',
        'ς' => 'σ',
        'أ' | 'إ' | 'آ' | 'ٱ' => 'ا',
        'ى' | 'ی' => 'ي',
        'ک' => 'ك',
        'ہ' => 'ه',
        '٫' => '.',
        '٬' => ',',
        '٪' => '%',
        other => digit(other).unwrap_or(other),
    }
}

/// The plain digit of another script's.
fn digit(c: char) -> Option<char> {
    if c.is_ascii() {
        return None;
    }
    let value = |zero: &char| u32::from(c).checked_sub(u32::from(*zero)).filter(|value| *value < 10);
    ZEROS.iter().find_map(value).and_then(|value| char::from_digit(value, 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thought_is_not_read() {
        for (reply, shown) in [
            ("<think>maybe C</think>A", "A"),
            ("<thinking>x</thinking><analysis>y</analysis> B", "B"),
            ("it is C</think> D", "D"),
            ("<think>so long that", ""),
            ("B <think>was it", "B"),
            ("<|im_start|>assistant\nB<|im_end|>", "assistant\nB"),
            ("a <| b", "a <| b"),
        ] {
            assert_eq!(visible(reply).trim(), shown, "{reply}");
        }
    }

    #[test]
    fn what_is_written_in_two_ways_is_one() {
        for (a, b) in [
            ("Ｔａｂｌｅ", "table"),
            ("İSTANBUL", "istanbul"),
            ("HAYIR", "hayır"),
            ("зелёный", "Зеленый"),
            ("الإِجَابَة", "الاجابة"),
            ("STRASSE", "straße"),
            ("răspuns greșit", "răspuns greşit"),
            ("cafe\u{301}", "CAFÉ"),
            ("४२", "42"),
            ("٣٫٥", "3.5"),
        ] {
            assert_eq!(fold(&visible(a)), fold(&visible(b)));
        }
        assert_eq!(visible("№ 5"), "# 5");
    }
}

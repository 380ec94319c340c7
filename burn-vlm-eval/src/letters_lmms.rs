//! From a free reply to a letter as lmms-eval's tasks do it (own words; the code was read and run).
//!
//! Unusual here: [`extract_mcq_answer`] all but always finds a letter, since any capital will do in the end (`Both look
//! right` is B), and an option's text tells it nothing; [`prefetch`] knows the texts, missing options included, whose
//! text is `nan`.

use crate::reply::{NO_REPLY, Options};

/// Letters that [`prefetch`] looks for, whatever options there are.
const LETTERS: [char; 5] = ['A', 'B', 'C', 'D', 'E'];
/// An `A` among more words than this is taken for an article.
const FEW_WORDS: usize = 3;
/// What may stand around a letter, in the order in which it is tried.
const AROUND: [(&str, &str); 12] = [
    ("", "."),
    ("", ","),
    ("", ":"),
    ("", ")"),
    ("", ")."),
    ("(", ")"),
    ("(", ")."),
    (":", ""),
    (":", ","),
    (":", "."),
    (":", ")"),
    (":", ")."),
];

/// The letter that MMBench's evaluator finds before it asks anybody; `None` if it finds none. `options` are all that
/// the reply's row has a column for.
///
/// 1. Exactly one letter of A to E is a word of its own; but nothing if `A` is among more than three words.
/// 2. Exactly one stands as a word with the same marks around it, by the first marks of a list of which this holds.
/// 3. Exactly one option's text is contained in the reply, without regard to case.
pub fn prefetch(reply: &str, options: &Options) -> Option<char> {
    word(reply).or_else(|| {
        let reply = reply.to_lowercase();
        only(options.iter().filter(|(_, text)| reply.contains(&text.to_lowercase())).map(|(letter, _)| *letter))
    })
}

/// Steps 1 and 2.
fn word(reply: &str) -> Option<char> {
    if reply.contains(NO_REPLY) {
        return None;
    }
    let words: Vec<&str> = reply.split_whitespace().collect();
    let with = |before: &str, after: &str| {
        only(LETTERS.into_iter().filter(|letter| words.contains(&format!("{before}{letter}{after}").as_str())))
    };
    let may_be_article = words.len() > FEW_WORDS && words.contains(&"A");
    let bare = if may_be_article { None } else { with("", "") };
    bare.or_else(|| AROUND.iter().find_map(|(before, after)| with(before, after)))
}

/// The one letter; `None` if there are none or more.
fn only(mut letters: impl Iterator<Item = char>) -> Option<char> {
    let first = letters.next();
    first.filter(|_| letters.next().is_none())
}

/// Marks that are taken off both ends of a reply, one after the other.
const ENDS: [char; 8] = [',', '.', '!', '?', ';', ':', '\'', '"'];
/// After each of these, in any case, letters count.
const PHRASES: [&str; 27] = [
    "the answer is",
    "answer is",
    "the correct answer is",
    "correct answer is",
    "the best answer is",
    "best answer is",
    "the correct option is",
    "correct option is",
    "the best option is",
    "best option is",
    "the choice is",
    "choice is",
    "the correct choice is",
    "correct choice is",
    "i choose",
    "i select",
    "i pick",
    "my answer is",
    "my choice is",
    "옵션",
    "정답은",
    "답은",
    "답:",
    "答案是",
    "答案为",
    "选",
    "答えは",
];

/// The letter that the extractor of MMStar, RealWorldQA and MMBench's static variant finds; `None` if the reply has no
/// capital of `choices`. The first of these that any letter fits; of several letters the one that stands last:
///
/// 1. the reply begins with the letter, and no other letter follows;
/// 2. it ends with it, and no other letter is before;
/// 3. a phrase such as `answer is`, and the letter anywhere behind it;
/// 4. `(X)`, `X.`, `X:`, `X)`, `X` and a space, in this order, inside words too;
/// 5. the letter anywhere.
pub fn extract_mcq_answer(reply: &str, choices: &[char]) -> Option<char> {
    let core = ENDS.into_iter().fold(reply.trim(), |text, mark| text.trim_matches(mark));
    let mut ahead = core.trim().chars();
    if let Some(letter) = alone(ahead.next(), ahead.next(), choices) {
        return Some(letter);
    }
    let mut back = core.trim().chars().rev();
    if let Some(letter) = alone(back.next(), back.next(), choices) {
        return Some(letter);
    }
    let text = format!(" {core} ");
    let last = |before: &str, after: &str| {
        let at = |letter: &char| Some((text.rfind(&format!("{before}{letter}{after}"))?, *letter));
        choices.iter().filter_map(at).max().map(|(_, letter)| letter)
    };
    let shapes = [("(", ")"), ("", "."), ("", ":"), ("", ")"), ("", " "), ("", "")];
    stated(&text, choices).or_else(|| shapes.iter().find_map(|(before, after)| last(before, after)))
}

/// A choice at an end of the reply, with no letter next to it.
fn alone(end: Option<char>, next: Option<char>, choices: &[char]) -> Option<char> {
    end.filter(|letter| choices.contains(letter) && !next.is_some_and(is_letter))
}

/// Python's `isalpha`, but for signs of vowels, which are no letters there.
fn is_letter(c: char) -> bool {
    c.is_alphabetic() && !c.is_numeric()
}

/// The choice that stands last, each taken where it is first found behind a phrase.
fn stated(text: &str, choices: &[char]) -> Option<char> {
    let lower = text.to_lowercase();
    let letters: Vec<char> = text.chars().collect();
    let behind = |phrase: &&str| {
        // Places are counted in characters, those of the text in small letters: it may have more of them (`İ`).
        let end = lower[..lower.find(phrase)? + phrase.len()].chars().count();
        let rest = letters.get(end..)?;
        choices.iter().filter_map(|choice| Some((end + rest.iter().position(|c| c == choice)?, *choice))).max()
    };
    PHRASES.iter().filter_map(behind).max().map(|(_, letter)| letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(texts: [&str; 4]) -> Vec<(char, String)> {
        ('A'..='D').zip(texts.map(str::to_owned)).collect()
    }

    /// What lmms-eval 0.7.3 returned, run on these replies.
    #[test]
    fn any_capital_is_a_letter_in_the_end() {
        for (reply, letter) in [
            ("B", Some('B')),
            (" 'B.' ", Some('B')),
            ("B is wrong, so D", Some('B')),
            ("D is wrong, no: C", Some('D')),
            ("it is wrong, so D", Some('D')),
            ("the answer is (B), not C)", Some('C')),
            ("the answer is nothing. A", Some('A')),
            ("A: no; the choice is between B and C, really", Some('A')),
            ("well (B) and C. and D: it is", Some('B')),
            ("well C. and D: and A) and B it is", Some('C')),
            ("well D: and A) and B it is", Some('D')),
            ("well A) and B it is", Some('A')),
            ("well B it is, or C it is", Some('C')),
            ("Both look right to me", Some('B')),
            ("Failed to obtain answer via API.", Some('A')),
            ("(D), so the answer is A-B-yes", Some('B')),
            ("İİİİİİİİ (D), so the answer is A-B-yes", Some('D')),
            ("정답은 C입니다", Some('C')),
            ("the answer is c", None),
            ("E", None),
            ("Ａ", None),
            ("...", None),
            ("", None),
        ] {
            assert_eq!(extract_mcq_answer(reply, &['A', 'B', 'C', 'D']), letter, "{reply}");
        }
    }

    /// As above.
    #[test]
    fn words_come_before_texts() {
        let options = options(["banana", "red", "dark red", "nan"]);
        for (reply, letter) in [
            ("E", Some('E')),
            ("A", Some('A')),
            ("A or so", Some('A')),
            ("A man is red", Some('B')),
            ("A man says C.", Some('C')),
            ("A B", None),
            ("A. B.", None),
            ("A. B. C)", Some('C')),
            ("(B). C:", Some('C')),
            ("**C**", None),
            ("RED!", Some('B')),
            ("dark red", None),
            ("banana", None),
            ("Failed to obtain answer via API. B", None),
            ("", None),
        ] {
            assert_eq!(prefetch(reply, &options), letter, "{reply}");
        }
    }
}

//! What is said of a letter or an option's text in a reply: that it is the answer, or that it is not.

use std::ops::Range;

use super::tokens::{Script, Words, is_dress, parts};
use super::words::{Lexicon, Sense};

/// Words that are looked at on each side.
const REACH: usize = 8;

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing.
    Nothing,
    /// It is pointed at: `option B`, `it is B`, `I choose B`.
    Pointed,
    /// It is the answer: `the answer is B`, `B is right`.
    Stated,
    /// It is not: `not B`, `B is wrong`.
    Denied,
}

/// What is said of the words of a range.
pub(super) fn said(words: &Words, range: &Range<usize>, lexicon: &Lexicon) -> Said {
    match (before(words, range.start, lexicon), behind(words, range.end, lexicon)) {
        (Said::Denied, _) | (_, Said::Denied) => Said::Denied,
        (Said::Stated, _) | (_, Said::Stated) => Said::Stated,
        (Said::Pointed, _) | (_, Said::Pointed) => Said::Pointed,
        _ => Said::Nothing,
    }
}

/// By the words before: back over "the", "letter", "is", "option" to "answer" or "not".
fn before(words: &Words, start: usize, lexicon: &Lexicon) -> Said {
    let mut end = start;
    let (mut is_right, mut is_pointed, mut is_heading) = (false, false, false);
    while end > 0 && start - end < REACH {
        let gap = words.before(end);
        if parts(gap) {
            break;
        }
        is_heading |= gap.contains(':');
        if lexicon.before(Sense::Not, words, end).is_some() || lexicon.any_before(Sense::Wrong, words, end).is_some() {
            return Said::Denied;
        }
        let step = if let Some(count) = lexicon.any_before(Sense::Answer, words, end) {
            let is_wrong = lexicon.any_before(Sense::Wrong, words, end - count).is_some();
            return if is_wrong { Said::Denied } else { Said::Stated };
        } else if let Some(count) = lexicon.any_before(Sense::Right, words, end) {
            is_right = true;
            count
        } else if let Some(count) =
            lexicon.any_before(Sense::Is, words, end).or_else(|| lexicon.any_before(Sense::Option, words, end))
        {
            is_pointed = true;
            count
        } else if let Some(count) = neutral_before(words, end, lexicon) {
            count
        } else {
            break;
        };
        end -= step;
        if is_right && (is_pointed || is_heading) {
            return Said::Stated;
        }
    }
    if is_pointed { Said::Pointed } else { Said::Nothing }
}

/// By the words behind: over "is", "the" to "right", "answer", "wrong" or "not".
fn behind(words: &Words, end: usize, lexicon: &Lexicon) -> Said {
    let mut at = end;
    let (mut is_stated, mut is_linked) = (false, false);
    while let Some(token) = words.tokens.get(at).filter(|_| at - end < REACH) {
        // A bracket closes the letter's own: `(B) is right`.
        if words.before(at).contains(|c: char| !c.is_whitespace() && !is_dress(c) && !matches!(c, ')' | ']')) {
            break;
        }
        if lexicon.at(Sense::NotBehind, words, at).is_some() {
            return Said::Denied;
        }
        let not = lexicon.at(Sense::Not, words, at).or_else(|| lexicon.any_at(Sense::Wrong, words, at));
        if not.is_some() {
            return if is_stated { Said::Stated } else { Said::Denied };
        }
        at += if let Some(count) =
            lexicon.any_at(Sense::Right, words, at).or_else(|| lexicon.any_at(Sense::Answer, words, at))
        {
            // `B right` may be the letter and its text; other scripts are less given to such texts, and often have no
            // "is".
            is_stated |= is_linked || token.script != Script::Latin;
            count
        } else if let Some(count) = lexicon.any_at(Sense::Is, words, at) {
            is_linked = true;
            count
        } else if let Some(count) = lexicon.any_at(Sense::Option, words, at).or_else(|| neutral_at(words, at, lexicon))
        {
            count
        } else {
            break;
        };
    }
    // Where the verb stands last: `Bです`, `B입니다`.
    let ends = words.before(at).contains(|c: char| !c.is_whitespace()) || at >= words.tokens.len();
    match (is_stated, is_linked && ends) {
        (true, _) => Said::Stated,
        (false, true) => Said::Pointed,
        _ => Said::Nothing,
    }
}

fn neutral_before(words: &Words, end: usize, lexicon: &Lexicon) -> Option<usize> {
    lexicon.any_before(Sense::Fill, words, end).or_else(|| lexicon.any_before(Sense::Article, words, end))
}

fn neutral_at(words: &Words, at: usize, lexicon: &Lexicon) -> Option<usize> {
    lexicon.any_at(Sense::Fill, words, at).or_else(|| lexicon.any_at(Sense::Article, words, at))
}

/// Whether a word only speaks of the answer: "the right option is".
pub(super) fn is_frame(words: &Words, at: usize, lexicon: &Lexicon) -> bool {
    [Sense::Answer, Sense::Option, Sense::Is, Sense::Right, Sense::Article, Sense::Fill]
        .into_iter()
        .any(|sense| lexicon.any_at(sense, words, at).is_some())
}

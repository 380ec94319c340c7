//! Short answers: one word or phrase, compared with those that are accepted.

use burn_vlm_data::language::Language;

use super::text::{fold, visible};
use super::tokens::{Script, Words, parts, script};
use super::words::{Lexicon, Sense};
use crate::vqa::leave_one_out;

/// Marks that end an answer without being part of it.
const END_MARKS: [char; 14] = ['.', ',', ';', ':', '!', '?', '。', '、', '،', '؟', '।', '۔', '…', '·'];
/// What an answer may stand in.
const PAIRS: [(char, char); 10] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('*', '*'),
    ('_', '_'),
    ('(', ')'),
    ('[', ']'),
    ('{', '}'),
    ('<', '>'),
    ('$', '$'),
];

/// A short answer as it is compared: what stands in `\boxed{}` or behind `answer:`, else all of the reply; without
/// thought, emphasis, quotes, an article before it and marks behind it; in plain lower case, with plain digits and
/// single spaces.
///
/// Marks within the answer count (`10:10`, `$3`, `5%`), but for a hyphen between letters, which is as good as a space.
pub fn short(reply: &str, language: Option<Language>) -> String {
    let lexicon = Lexicon::of(language);
    let shown = visible(reply);
    let answer = boxed(&shown).or_else(|| announced(&shown, &lexicon)).unwrap_or(shown);
    plain(&answer, &lexicon)
}

/// Whether a short answer is one of those that are accepted.
pub fn accepts<S: AsRef<str>>(reply: &str, accepted: &[S], language: Option<Language>) -> bool {
    let lexicon = Lexicon::of(language);
    let answer = short(reply, language);
    !answer.is_empty() && accepted.iter().any(|accepted| plain(accepted.as_ref(), &lexicon) == answer)
}

/// The score of a short answer by VQA's rule among those of several people: the more others say the same, the better.
pub(super) fn agreeing(reply: &str, people: &[String], language: Option<Language>) -> f64 {
    let lexicon = Lexicon::of(language);
    let people: Vec<String> = people.iter().map(|given| plain(given, &lexicon)).collect();
    let answer = short(reply, language);
    if answer.is_empty() { 0.0 } else { leave_one_out(&answer, &people) }
}

/// Whether a reply holds one of the accepted texts, not as a part of a longer word. Formulas are compared without white
/// space, and their case counts.
pub(super) fn holds(reply: &str, accepted: &[String], language: Option<Language>, is_formula: bool) -> bool {
    let lexicon = Lexicon::of(language);
    let spaceless = |text: &str| visible(text).split_whitespace().collect::<String>();
    let single = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = if is_formula { spaceless(reply) } else { single(spaced(reply)) };
    let texts = accepted.iter().map(|text| if is_formula { spaceless(text) } else { plain(text, &lexicon) });
    texts
        .filter(|text| !text.is_empty())
        .any(|text| if is_formula { shown.contains(&text) } else { stands_in(&text, &shown) })
}

/// Whether a text stands in another and no word goes on at its ends; in scripts without spaces none does.
fn stands_in(text: &str, shown: &str) -> bool {
    let is_one_word = |a: Option<char>, b: Option<char>| {
        let ends = a.and_then(script).filter(|script| !matches!(script, Script::Unspaced | Script::Hangul));
        ends.is_some() && ends == b.and_then(script)
    };
    shown.match_indices(text).any(|(at, found)| {
        let (before, rest) = shown.split_at(at);
        let behind = rest.strip_prefix(found).unwrap_or_default();
        !is_one_word(before.chars().next_back(), text.chars().next())
            && !is_one_word(text.chars().next_back(), behind.chars().next())
    })
}

/// What stands in the last `\boxed{}`.
fn boxed(text: &str) -> Option<String> {
    const OPEN: &str = "\\boxed{";
    let rest = text.get(text.rfind(OPEN)? + OPEN.len()..)?;
    let mut depth = 1;
    for (at, c) in rest.char_indices() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth == 0 {
            let inner = rest.get(..at)?;
            let inner = inner.strip_prefix("\\text{").and_then(|inner| inner.strip_suffix('}')).unwrap_or(inner);
            return Some(inner.to_owned());
        }
    }
    None
}

/// What the last line that begins with "answer:" or "the answer is" says then.
fn announced(text: &str, lexicon: &Lexicon) -> Option<String> {
    text.lines().rev().find_map(|line| {
        let words = Words::of(line);
        let mut at = 0;
        let (mut is_answer, mut is_linked) = (false, false);
        while at < words.tokens.len() && (at == 0 || !parts(words.before(at))) {
            is_linked |= is_answer && words.before(at).contains(':');
            if is_linked {
                break;
            }
            at += if let Some(count) = lexicon.any_at(Sense::Answer, &words, at) {
                is_answer = true;
                count
            } else if let Some(count) = lexicon.any_at(Sense::Is, &words, at).filter(|_| is_answer) {
                is_linked = true;
                count
            } else if let Some(count) = [Sense::Right, Sense::Article, Sense::Fill]
                .into_iter()
                .find_map(|sense| lexicon.any_at(sense, &words, at))
                .filter(|_| !is_linked)
            {
                count
            } else {
                break;
            };
        }
        // From the mark on, so that a sign or a quote before the first word is kept.
        let before = words.before(at);
        let rest = words.rest(at);
        let signs: String = before.chars().rev().take_while(|c| !c.is_whitespace() && *c != ':').collect();
        let signs: String = signs.chars().rev().collect();
        (is_answer && is_linked && !rest.is_empty()).then(|| format!("{signs}{rest}"))
    })
}

/// A text in plain lower case, with spaces for hyphens between letters.
fn spaced(text: &str) -> String {
    let chars: Vec<char> = fold(&visible(text)).chars().collect();
    let letter = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphabetic());
    let hyphen = |at: usize| letter(at.checked_sub(1)) && letter(Some(at + 1));
    chars.iter().enumerate().map(|(at, c)| if *c == '-' && hyphen(at) { ' ' } else { *c }).collect()
}

/// A text in plain lower case and without what it stands in, its article and end marks.
pub(super) fn plain(text: &str, lexicon: &Lexicon) -> String {
    let spaced = spaced(text);
    let mut inner = spaced.trim();
    loop {
        let marked = inner.trim_end_matches(|c: char| END_MARKS.contains(&c) || c.is_whitespace());
        let open = marked.trim_start_matches(['#', '¿', '¡', '…']).trim_start();
        let paired = PAIRS.iter().find_map(|(begin, end)| open.strip_prefix(*begin)?.strip_suffix(*end));
        let next = paired.unwrap_or(open).trim();
        if next == inner || next.is_empty() {
            break;
        }
        inner = next;
    }
    let words = Words::of(inner);
    let article = lexicon.leading(Sense::Article, &words, 0).filter(|count| *count < words.tokens.len());
    let is_led = words.before(0).is_empty() && article.is_some_and(|count| !parts(words.before(count)));
    let bare = match article {
        // `a/b` and `a-1` have no article; `l'eau` has.
        Some(count) if is_led && words.before(count).trim_matches('\'').chars().all(char::is_whitespace) => {
            words.rest(count)
        }
        _ => inner,
    };
    bare.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_held_as_words() {
        let held = |reply: &str, accepted: &str| holds(reply, &[accepted.to_owned()], None, false);
        for (reply, accepted) in [
            ("It says \"The Old  Inn\".", "the old inn"),
            ("Ｔａｂｌｅ", "Table"),
            ("42km", "42"),
            ("到了北京市", "北京"),
            ("Table입니다", "table"),
            ("well known", "well-known"),
        ] {
            assert!(held(reply, accepted), "{reply}: {accepted}");
        }
        for (reply, accepted) in [("NaN", "a"), ("vegetables", "table"), ("100420", "0042"), ("", ""), ("x", "")] {
            assert!(!held(reply, accepted), "{reply}: {accepted}");
        }
        let formula = ["x ^ { 2 }".to_owned()];
        assert!(holds("$x^{2}$", &formula, None, true));
        assert!(!holds("$X^{2}$", &formula, None, true));
    }

    #[test]
    fn votes_leave_one_out() {
        let people = ["The sign", "sign", "sign.", "stop"].map(str::to_owned);
        assert_eq!(agreeing("a sign", &people, Some(Language::EN)), (3.0 * 2.0 / 3.0 + 1.0) / 4.0);
        assert_eq!(agreeing("", &people, None), 0.0);
    }
}

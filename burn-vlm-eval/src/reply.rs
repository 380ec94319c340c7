//! From a free reply to a letter or to yes or no, as the published scorers do it (own words; the code was read and run).
//!
//! Unusual here: the scorers disagree, so that a number means something only with the name of its scorer. Their oddities are kept:
//! `A` as an article hides another letter, `answer: b` is nothing, `know` holds `no`.

use crate::rules::Rules;
use crate::vqa::without_marks;

/// What an option list is to a reader: letters and texts.
pub type Options = [(char, String)];

/// Replies that refuse: a letter that no option has.
const REFUSALS: [&str; 4] = [
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
];
pub(crate) const NO_REPLY: &str = "Failed to obtain answer via API";
/// The letter of a refusal.
const REFUSED: char = 'Z';
/// Marks that VLMEvalKit replaces by spaces before it looks for letters.
const MARKS: &str = ".()[],:;!*#{}";
/// A letter counts among so many last words only.
const LAST_WORDS: usize = 4;

/// The option that a reply means; `None` if none can be told. `Z` is a refusal.
///
/// 1. A refusal is `Z`.
/// 2. Exactly one option's letter stands in the reply as a word of its own: that letter; VLMEvalKit wants it among the last four
///    words.
/// 3. VLMEvalKit: `answer is` and one of A to D, in any case.
/// 4. Exactly one option's text is contained in the reply, without regard to case; VLMEvalKit wants the reply to be at most
///    twice as long as all texts together.
pub fn letter(reply: &str, options: &Options, rules: Rules) -> Option<char> {
    let kit = rules == Rules::Vlmevalkit;
    if !reply.contains(NO_REPLY) {
        if REFUSALS.iter().any(|refusal| reply.contains(refusal)) {
            return Some(REFUSED);
        }
        let spaced = reply.replace(|c| MARKS.contains(c), " ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let at = |letter: char| words.iter().position(|word| is_letter(word, letter));
        let found: Vec<(char, usize)> = options.iter().filter_map(|(c, _)| Some((*c, at(*c)?))).collect();
        match found.as_slice() {
            [(letter, at)] if !kit || at + LAST_WORDS >= words.len() => return Some(*letter),
            [] if at(REFUSED).is_some() => return Some(REFUSED),
            _ => {}
        }
        if let Some(letter) = stated(reply).filter(|_| kit) {
            return Some(letter);
        }
    }
    let reply = reply.to_lowercase();
    let length: usize = options.iter().map(|(_, text)| text.chars().count()).sum();
    if kit && reply.chars().count() > 2 * length {
        return None;
    }
    let mut held = options.iter().filter(|(_, text)| reply.contains(&text.to_lowercase()));
    match (held.next(), held.next()) {
        (Some((letter, _)), None) => Some(*letter),
        _ => None,
    }
}

fn is_letter(word: &str, letter: char) -> bool {
    let mut chars = word.chars();
    chars.next() == Some(letter) && chars.next().is_none()
}

/// The letter after the first `answer is` that has one of A to D behind it, whatever its case.
fn stated(reply: &str) -> Option<char> {
    let lower = reply.to_ascii_lowercase();
    lower.match_indices("answer is").find_map(|(at, phrase)| {
        let rest = lower[at + phrase.len()..].trim_start();
        let rest = rest.strip_prefix("**").unwrap_or(rest);
        rest.chars().next().filter(|c| ('a'..='d').contains(c)).map(|c| c.to_ascii_uppercase())
    })
}

/// Yes or no; `None` if neither can be told.
pub fn yes_no(reply: &str, rules: Rules) -> Option<bool> {
    if rules == Rules::LmmsEval {
        let reply = reply.to_lowercase().trim().replace('.', "");
        let begin: String = reply.chars().take(4).collect();
        return match reply.as_str() {
            "yes" | "y" => Some(true),
            "no" | "n" => Some(false),
            other if other.chars().count() == 1 => None,
            _ if begin.contains("yes") => Some(true),
            _ if begin.contains("no") => Some(false),
            _ => None,
        };
    }
    let reply = without_marks(&reply.to_lowercase(), rules);
    let has = |word: &str| reply.split_whitespace().any(|found| found == word);
    match (has("yes"), has("no")) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

/// What Parrot's model class makes of a reply to a prompt that ends with the English request for a letter, before any scorer sees it:
/// a capital at the begin, else at the end, that a mark or a space sets apart; else what follows `answer is` or `answer:`, again.
pub fn parrot_clean_up(reply: &str) -> String {
    let is_mark = |c: char| c.is_ascii_punctuation() || matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}');
    let mut answer = reply.trim_matches(is_mark);
    loop {
        answer = answer.trim_matches(is_mark);
        let mut ahead = answer.chars();
        let (first, second) = (ahead.next(), ahead.next());
        let mut back = answer.chars().rev();
        let (last, before) = (back.next(), back.next());
        match (first, second, last, before) {
            (Some(first), Some(second), _, _) if first.is_ascii_uppercase() && is_mark(second) => return first.into(),
            (_, _, Some(last), Some(before)) if last.is_ascii_uppercase() && is_mark(before) => return last.into(),
            (Some(_), Some(_), _, _) => {}
            _ => return answer.to_owned(),
        }
        match after(answer, &["answer is", "answer:"]) {
            Some(rest) => answer = after(rest, &["option"]).unwrap_or(rest),
            None => return answer.to_owned(),
        }
    }
}

/// What follows the first phrase of the list that the text has, in any case.
fn after<'a>(text: &'a str, phrases: &[&str]) -> Option<&'a str> {
    let lower = text.to_ascii_lowercase();
    phrases.iter().find_map(|phrase| lower.find(phrase).map(|at| &text[at + phrase.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Vec<(char, String)> {
        [('A', "red"), ('B', "dark red"), ('C', "blue")].map(|(letter, text)| (letter, text.to_owned())).to_vec()
    }

    #[test]
    fn readers_disagree_as_published() {
        let cases = [
            ("the answer is a", Some('A'), None),
            ("B is the right one here because of that outline", None, Some('B')),
            ("blue", Some('C'), Some('C')),
            ("dark red", None, None),
            ("b", None, None),
            ("**B**", Some('B'), Some('B')),
            ("A or B", None, None),
            ("E", None, None),
            ("Z", Some('Z'), Some('Z')),
            ("Cannot determine the answer: B", Some('Z'), Some('Z')),
        ];
        for (reply, kit, parrot) in cases {
            assert_eq!(letter(reply, &options(), Rules::Vlmevalkit), kit, "{reply}");
            assert_eq!(letter(reply, &options(), Rules::ParrotVlmevalkit), parrot, "{reply}");
        }
    }

    #[test]
    fn yes_and_no() {
        for (reply, kit, lmms) in [
            ("Yes.", Some(true), Some(true)),
            ("Yes, no doubt", None, Some(true)),
            ("**No**", None, Some(false)),
            ("There is no lamp", Some(false), None),
            ("y", None, Some(true)),
            ("nothing", None, Some(false)),
            ("oui", None, None),
            ("<think>no?</think> Yes", Some(true), None),
        ] {
            assert_eq!(yes_no(reply, Rules::Vlmevalkit), kit, "{reply}");
            assert_eq!(yes_no(reply, Rules::LmmsEval), lmms, "{reply}");
        }
    }

    #[test]
    fn nothing_panics() {
        for reply in ["", " ", ".", "İ answer is", "答案", "answer is answer is", "é.", ".é"] {
            for rules in [Rules::Vlmevalkit, Rules::ParrotVlmevalkit, Rules::LmmsEval] {
                letter(reply, &options(), rules);
                yes_no(reply, rules);
            }
            parrot_clean_up(reply);
        }
    }
}

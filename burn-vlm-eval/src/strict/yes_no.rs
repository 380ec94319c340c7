//! From a free reply to yes or no.

use std::collections::BTreeSet;

use burn_vlm_data::language::Language;

use super::Reading;
use super::context::{Said, said};
use super::text::visible;
use super::tokens::Words;
use super::words::{self, Lexicon, Sense};

/// What makes no answer of a "no" before it: "no doubt", "no idea".
const NO_AS_ARTICLE: [&str; 7] = ["doubt", "problem", "idea", "matter", "longer", "one", "more"];

/// Whether a reply says yes or no.
///
/// 1. Blocks of thought are dropped; what is left may be [`Reading::Empty`].
/// 2. A reply that is one word for yes or no, of whatever language, is that.
/// 3. What is stated (`the answer is yes`) counts before all else.
/// 4. Else the word that the reply begins with, and those that stand between marks by themselves (`there is one, yes`);
///    both yes and no are [`Reading::Ambiguous`]. A word inside a sentence is no answer: `there is no lamp` is
///    [`Reading::Unread`], as it is in every language that has another word there.
/// 5. A reply that says that there will be no answer is [`Reading::Refused`], unless it begins with yes or no.
pub fn yes_no(reply: &str, language: Option<Language>) -> Reading<bool> {
    read(reply, &Lexicon::of(language))
}

/// The same where the benchmark brings more words along: lists with `|` between, which count before the language's.
pub fn yes_no_with(reply: &str, language: Option<Language>, yes: &str, no: &str) -> Reading<bool> {
    read(reply, &Lexicon::of(language).with(yes, no))
}

/// The words for yes and for no that replies in a language are read by, each list with `|` between; a word with a dot behind it must
/// stand alone. None of a language that has none here.
pub fn yes_no_words(language: Language) -> Option<[&'static str; 2]> {
    let lexicon = Lexicon::of(Some(language));
    let is_english = language.tag().split('-').next() == Some("en");
    if lexicon.is_english() && !is_english { None } else { lexicon.yes_and_no() }
}

fn read(reply: &str, lexicon: &Lexicon) -> Reading<bool> {
    let words = Words::of(&visible(reply));
    if words.tokens.is_empty() {
        let is_blank = words.before(0).trim_matches(|c: char| c.is_whitespace() || c.is_ascii_punctuation()).is_empty();
        return if is_blank { Reading::Empty } else { Reading::Unread };
    }
    if let Some(answer) = whole(&words, lexicon) {
        return Reading::Answer(answer);
    }
    let refused = words::refusal(&words, &[]);
    let stated = stated(&words, lexicon);
    if !stated.is_empty() {
        return agreed(&stated);
    }
    if refused == Some(0) {
        return Reading::Refused;
    }
    let first = first(&words, lexicon);
    if refused.is_some() && first.is_empty() {
        return Reading::Refused;
    }
    let alone = words.phrases().into_iter().filter_map(|phrase| {
        // `yes, or no`: what offers both says neither.
        let begin = phrase.start + lexicon.at(Sense::Or, &words, phrase.start).unwrap_or(0);
        let end = phrase.end - lexicon.before(Sense::Or, &words, phrase.end).unwrap_or(0);
        SENSES.into_iter().find(|(sense, _)| lexicon.is(*sense, &words, begin..end)).map(|(_, answer)| answer)
    });
    agreed(&first.into_iter().chain(alone).collect())
}

const SENSES: [(Sense, bool); 2] = [(Sense::Yes, true), (Sense::No, false)];

fn agreed(answers: &BTreeSet<bool>) -> Reading<bool> {
    match (answers.first(), answers.len()) {
        (Some(answer), 1) => Reading::Answer(*answer),
        (Some(_), _) => Reading::Ambiguous,
        _ => Reading::Unread,
    }
}

/// The answer of a reply that is nothing but a word for it.
fn whole(words: &Words, lexicon: &Lexicon) -> Option<bool> {
    let all = 0..words.tokens.len();
    let own = SENSES.into_iter().find(|(sense, _)| lexicon.is(*sense, words, all.clone()));
    let found = own.or_else(|| SENSES.into_iter().find(|(sense, _)| words::is_anywhere(*sense, words)));
    let short = match words.tokens.as_slice() {
        [token] if lexicon.is_english() && token.folded == "y" => Some(true),
        [token] if lexicon.is_english() && token.folded == "n" => Some(false),
        _ => None,
    };
    found.map(|(_, answer)| answer).or(short)
}

/// What is said to be the answer.
fn stated(words: &Words, lexicon: &Lexicon) -> BTreeSet<bool> {
    let mut answers = BTreeSet::new();
    for at in 0..words.tokens.len() {
        for (sense, answer) in SENSES {
            let Some(count) = lexicon.at(sense, words, at) else { continue };
            // `the answer is no cat` says something else.
            let ends =
                at + count >= words.tokens.len() || words.before(at + count).contains(|c: char| !c.is_whitespace());
            if ends && said(words, &(at..at + count), lexicon) == Said::Stated {
                answers.insert(answer);
            }
        }
    }
    answers
}

/// What the reply begins with: none, yes or no, or both of them together.
fn first(words: &Words, lexicon: &Lexicon) -> BTreeSet<bool> {
    let mut answers = BTreeSet::new();
    let Some((count, answer)) = leading(words, lexicon, 0) else { return answers };
    let is_article =
        words.tokens.get(count).is_some_and(|next| !answer && NO_AS_ARTICLE.contains(&next.folded.as_str()));
    // Without spaces the word may go on: 是 in 是的, 不 in 不过.
    let goes_on = words.tokens.get(count).is_some_and(|next| {
        words.before(count).is_empty() && words.tokens.first().is_some_and(|token| token.script == next.script)
    });
    if is_article || goes_on {
        return answers;
    }
    answers.insert(answer);
    let joined = count + lexicon.at(Sense::Or, words, count).unwrap_or(0);
    if !words.before(count).contains(['.', '!', ',']) {
        answers.extend(leading(words, lexicon, joined).map(|(_, answer)| answer).filter(|other| *other != answer));
    }
    answers
}

/// The word for yes or no of the question's language at a place.
fn leading(words: &Words, lexicon: &Lexicon, at: usize) -> Option<(usize, bool)> {
    SENSES.into_iter().filter_map(|(sense, answer)| Some((lexicon.leading(sense, words, at)?, answer))).max()
}

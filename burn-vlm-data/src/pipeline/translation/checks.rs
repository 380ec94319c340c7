//! What can be told of a translation without knowing the language: that it is empty, cut, an echo, or has lost what must survive.
//!
//! A check that fails rejects the translation; the text stays in the log, so that checks can be changed later without asking again.

use std::collections::BTreeMap;

use super::language_check::{WRONG_LANGUAGE, WRONG_SCRIPT, language_fault};
use super::template::{LanguageNames, Template};
use crate::language::Language;
use crate::pipeline::{Fault, Finish, Reply};
use crate::sample::placeholders_of;

/// Letters from which on an equal text is an echo: a name is the same in many languages.
const ECHO_LETTERS: usize = 20;
/// Digits from which on a number must survive: small ones are written out in words.
const NUMBER_DIGITS: usize = 2;
/// What a URL begins with.
const URLS: [&str; 3] = ["https://", "http://", "www."];
/// What ends a sentence behind a URL and is no part of it.
const AFTER_URLS: [char; 14] = ['.', ',', ';', ':', '!', '?', ')', ']', '}', '"', '\'', '。', '，', '>'];
/// What models put before a translation that they were not asked for.
const NOTES: [&str; 7] = [
    "here is the translation",
    "here's the translation",
    "translation:",
    "translated text:",
    "sure, ",
    "sure! ",
    "certainly",
];
/// The zeros of the scripts whose digits are told apart; nine others follow each.
const ZEROS: [char; 13] = ['0', '٠', '۰', '०', '০', '੦', '૦', '௦', '๐', '໐', '၀', '෦', '０'];

/// A check by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TranslationCheck {
    /// Nothing but white space.
    Empty,
    /// It had as many tokens as it may.
    Cut,
    /// A filter cut it.
    Filtered,
    /// A character is broken (U+FFFD).
    Broken,
    /// A piece of the prompt stands in it, or a note.
    Prompt,
    /// It is the source again.
    Echo,
    /// It is written in another script.
    Script,
    /// It is in another language, as far as that can be told.
    Language,
    /// A number of the source is gone.
    Numbers,
    /// A URL of the source is gone.
    Urls,
    /// Placeholders of pictures are gone, or others have come.
    Placeholders,
    /// Formulas have changed.
    Latex,
    /// It has another number of lines.
    Lines,
}

/// The checks that are made.
#[derive(Debug, Clone)]
pub struct TranslationChecks {
    left_out: Vec<TranslationCheck>,
    template: Template,
    names: LanguageNames,
}

impl TranslationCheck {
    /// All of them, in the order in which they are made.
    pub const ALL: [Self; 13] = [
        Self::Empty,
        Self::Cut,
        Self::Filtered,
        Self::Broken,
        Self::Prompt,
        Self::Echo,
        Self::Script,
        Self::Language,
        Self::Numbers,
        Self::Urls,
        Self::Placeholders,
        Self::Latex,
        Self::Lines,
    ];

    /// The word in logs, reports and options.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Cut => "cut",
            Self::Filtered => "filtered",
            Self::Broken => "broken_character",
            Self::Prompt => "prompt_remains",
            Self::Echo => "echo",
            Self::Script => WRONG_SCRIPT,
            Self::Language => WRONG_LANGUAGE,
            Self::Numbers => "numbers",
            Self::Urls => "urls",
            Self::Placeholders => "placeholders",
            Self::Latex => "latex",
            Self::Lines => "lines",
        }
    }
}

impl TranslationChecks {
    /// All checks but those that are left out. An empty translation is always rejected: nothing could be trained on it.
    pub fn new(template: Template, names: LanguageNames, left_out: impl IntoIterator<Item = TranslationCheck>) -> Self {
        let left_out = left_out.into_iter().filter(|check| *check != TranslationCheck::Empty).collect();
        Self { left_out, template, names }
    }

    /// What is wrong with a translation, one fault for each check that it does not pass.
    pub fn faults(&self, from: Language, to: Language, source: &str, reply: &Reply) -> Vec<Fault> {
        let text = reply.text.trim();
        let language = language_fault(from, to, source, text);
        let mut found = Vec::new();
        for check in TranslationCheck::ALL.into_iter().filter(|check| !self.left_out.contains(check)) {
            let detail = match check {
                TranslationCheck::Empty => text.is_empty().then(String::new),
                TranslationCheck::Cut if reply.is_cut() => Some(String::new()),
                TranslationCheck::Cut => (reply.finish == Finish::Unknown && ends_open(source, text))
                    .then(|| "it lacks the source's last stop, and the endpoint counts no tokens".to_owned()),
                TranslationCheck::Filtered => (reply.finish == Finish::Filter).then(String::new),
                TranslationCheck::Broken => reply.is_broken().then(String::new),
                TranslationCheck::Prompt => self.remains(from, to, source, text),
                TranslationCheck::Echo => is_echo(source, text).then(String::new),
                TranslationCheck::Script | TranslationCheck::Language => {
                    let of_this = language.as_ref().filter(|fault| fault.reason == check.as_str());
                    of_this.map(|fault| fault.detail.clone())
                }
                TranslationCheck::Numbers => lost_number(source, text).map(|number| format!("{number} is gone")),
                TranslationCheck::Urls => lost_url(source, text).map(|url| format!("{url} is gone")),
                TranslationCheck::Placeholders => placeholders(source, text),
                TranslationCheck::Latex => latex(source, text),
                TranslationCheck::Lines => lines(source, text),
            };
            found.extend(detail.map(|detail| Fault { reason: check.as_str(), detail }));
            // Nothing else can be said of nothing.
            if text.is_empty() {
                break;
            }
        }
        found
    }

    fn remains(&self, from: Language, to: Language, source: &str, reply: &str) -> Option<String> {
        let (from, to) = (self.names.of(from), self.names.of(to));
        let piece = self.template.remains(from, to, source, reply);
        let note = || {
            let (reply, source) = (reply.to_lowercase(), source.to_lowercase());
            let note = NOTES.iter().find(|note| reply.starts_with(*note) && !source.starts_with(*note));
            note.map(|note| (*note).to_owned())
        };
        piece.or_else(note).map(|piece| format!("{piece:?}"))
    }
}

/// Whether the source ends as sentences do, and the translation in the middle of a word.
fn ends_open(source: &str, text: &str) -> bool {
    let last = |text: &str| text.trim_end().chars().last();
    let open = last(text).is_some_and(char::is_alphanumeric);
    open && last(source)
        .is_some_and(|last| matches!(last, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '।' | '؟' | '۔'))
}

/// The letters and digits of a text, in lower case.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_echo(source: &str, reply: &str) -> bool {
    let (source, reply) = (letters(source), letters(reply));
    source == reply && source.chars().filter(|c| c.is_alphabetic()).count() >= ECHO_LETTERS
}

/// The value of a digit in any script.
fn digit(c: char) -> Option<char> {
    let zero = ZEROS.iter().find(|zero| (0..10).contains(&(i64::from(u32::from(c)) - i64::from(u32::from(**zero)))))?;
    char::from_digit(u32::from(c) - u32::from(*zero), 10)
}

/// The numbers of a text without their separators: `1,000.5` is `10005`.
fn numbers(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut inside = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let separates = inside && matches!(c, '.' | ',' | '\'' | '’' | '\u{a0}' | '\u{202f}' | '٫' | '٬');
        match digit(c) {
            Some(digit) => match found.last_mut().filter(|_| inside) {
                Some(number) => number.push(digit),
                None => found.push(digit.to_string()),
            },
            None if separates && chars.peek().copied().and_then(digit).is_some() => continue,
            None => {}
        }
        inside = digit(c).is_some();
    }
    found
}

/// A number of the source whose digits the translation does not have one after the other, however it separates them.
fn lost_number(source: &str, reply: &str) -> Option<String> {
    let there: String = reply.chars().filter_map(digit).collect();
    numbers(source).into_iter().find(|number| number.len() >= NUMBER_DIGITS && !there.contains(number))
}

fn urls(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = URLS.iter().filter_map(|begin| rest.find(begin)).min() {
        let url = &rest[at..];
        let end = url.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '`')).unwrap_or(url.len());
        found.push(url[..end].trim_end_matches(AFTER_URLS));
        rest = &url[end..];
    }
    found
}

fn lost_url(source: &str, reply: &str) -> Option<String> {
    urls(source).into_iter().find(|url| !reply.contains(url)).map(str::to_owned)
}

fn placeholders(source: &str, reply: &str) -> Option<String> {
    let (there, here) = (placeholders_of(source), placeholders_of(reply));
    (there != here).then(|| format!("{} in the source, {} in the translation", there.len(), here.len()))
}

/// Commands and dollars, which no translation changes.
fn formulas(text: &str) -> BTreeMap<&str, usize> {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '$']) {
        let begin = &rest[at..];
        let name = begin[1..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(begin.len() - 1);
        // `\(` and `\[` are commands of one sign.
        let sign = begin[1..].chars().next().filter(|c| "()[]{}".contains(*c)).map_or(0, char::len_utf8);
        let length = if begin.starts_with('$') { 1 } else { 1 + name.max(sign) };
        *found.entry(&begin[..length]).or_default() += 1;
        rest = &begin[length..];
    }
    found
}

fn latex(source: &str, reply: &str) -> Option<String> {
    let (there, here) = (formulas(source), formulas(reply));
    fn count(found: &BTreeMap<&str, usize>, name: &str) -> usize {
        found.get(name).copied().unwrap_or(0)
    }
    let changed = there.keys().chain(here.keys()).find(|name| count(&there, name) != count(&here, name))?;
    Some(format!(
        "{changed} {} times in the source, {} in the translation",
        count(&there, changed),
        count(&here, changed)
    ))
}

fn lines(source: &str, reply: &str) -> Option<String> {
    let count = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
    let (there, here) = (count(source), count(reply));
    (there != here).then(|| format!("{there} in the source, {here} in the translation"))
}

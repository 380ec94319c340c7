//! From a free reply to the option that it means.

use std::collections::BTreeSet;
use std::ops::Range;

use burn_vlm_data::language::Language;

use super::Reading;
use super::context::{Said, is_frame, said};
use super::text::visible;
use super::tokens::{Script, Token, Words, ends_sentence, is_dress, parts};
use super::words::{self, Lexicon, Sense};
use crate::reply::Options;

/// Capitals that are words of some language of the project (English "a" and "I", Portuguese "e" and "o", French "y"):
/// where they stand for an option there is more than a space behind them.
const WORDS_TOO: &str = "AEIOUY";

/// Letters of other scripts that stand for an option's. Cyrillic ones that look alike, since the options are shown with
/// Latin letters; the first of the Arabic, Devanagari and Bengali orders, which lists are lettered by.
const STAND_FOR: [(&str, char); 33] = [
    ("А", 'A'),
    ("В", 'B'),
    ("С", 'C'),
    ("Е", 'E'),
    ("Н", 'H'),
    ("К", 'K'),
    ("М", 'M'),
    ("О", 'O'),
    ("Р", 'P'),
    ("Т", 'T'),
    ("Х", 'X'),
    ("І", 'I'),
    ("أ", 'A'),
    ("ا", 'A'),
    ("الف", 'A'),
    ("ب", 'B'),
    ("ج", 'C'),
    ("د", 'D'),
    ("ه", 'E'),
    ("هـ", 'E'),
    ("ہ", 'E'),
    ("क", 'A'),
    ("ख", 'B'),
    ("ग", 'C'),
    ("घ", 'D'),
    ("ए", 'A'),
    ("बी", 'B'),
    ("सी", 'C'),
    ("डी", 'D'),
    ("ক", 'A'),
    ("খ", 'B'),
    ("গ", 'C'),
    ("ঘ", 'D'),
];

/// Copulas and particles that Korean hangs on a word.
const HANGUL_ENDINGS: [&str; 11] = ["입니다", "이다", "이에요", "예요", "요", "은", "는", "이", "가", "을", "를"];
/// Endings of Turkish copulas behind an apostrophe: `C'dir`.
const TURKISH_COPULAS: [&str; 8] = ["dir", "dır", "dur", "dür", "tir", "tır", "tur", "tür"];

/// Up to so many words an option's text counts wherever it stands; a longer reply must begin or end with it, or point
/// at it.
const SHORT_REPLY: usize = 12;

/// How a letter stands in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// In passing.
    Weak,
    /// Where an answer stands: alone, at the begin or end, as a label, in brackets or quotes, pointed at.
    Strong,
    /// Said to be the answer.
    Stated,
}

/// A letter in a reply.
#[derive(Debug, Clone, Copy)]
struct Mention {
    at: usize,
    /// None for a letter that no option has.
    letter: Option<char>,
    place: Place,
}

/// The option that a reply means.
///
/// 1. Blocks of thought are dropped; what is left may be [`Reading::Empty`].
/// 2. A reply that is exactly an option's text, and no letter of an option, is that option.
/// 3. A reply that says that there will be no answer is [`Reading::Refused`], unless it states one behind that.
/// 4. Letters that are denied (`not B`, `B is wrong`) do not count. Letters that are stated (`the answer is B`, `B is
///    right`) count before all others; else those that stand where an answer does. Two different ones are
///    [`Reading::Ambiguous`], and so is a letter beside another option's text.
/// 5. Without a letter, the only option whose text the reply has; a text within a longer one that is an option's, too,
///    does not count.
pub fn letter(reply: &str, options: &Options, language: Option<Language>) -> Reading<char> {
    let words = Words::of(&visible(reply));
    let reader = Reader::new(&words, options, language);
    if let Some(reading) = reader.exactly_a_text(reply) {
        return reading;
    }
    if words.tokens.is_empty() {
        let is_blank = words.before(0).trim_matches(|c: char| c.is_whitespace() || c.is_ascii_punctuation()).is_empty();
        return if is_blank { Reading::Empty } else { Reading::Unread };
    }
    let mentions = reader.mentions();
    if let Some(refused_at) = words::refusal(&words, &reader.texts) {
        let stated = mentions.iter().filter(|mention| mention.place == Place::Stated && mention.at > refused_at);
        return match reader.agreed(stated) {
            Reading::Unread => Reading::Refused,
            reading => reading,
        };
    }
    for place in [Place::Stated, Place::Strong] {
        let reading = reader.agreed(mentions.iter().filter(|mention| mention.place >= place));
        if reading != Reading::Unread {
            return reading;
        }
    }
    reader.by_text()
}

struct Reader<'a> {
    words: &'a Words,
    options: &'a Options,
    /// The words of each option.
    texts: Vec<Vec<Token>>,
    /// Where options' texts stand, those within longer ones left out.
    spans: Vec<(Range<usize>, char)>,
    /// Whether each word is one of several that are an option's text.
    in_text: Vec<bool>,
    lexicon: Lexicon,
    is_turkish: bool,
    knows_urdu: bool,
}

impl<'a> Reader<'a> {
    fn new(words: &'a Words, options: &'a Options, language: Option<Language>) -> Self {
        let texts: Vec<Vec<Token>> = options.iter().map(|(_, text)| option_words(text)).collect();
        let (is_turkish, knows_urdu) = (language == Some(Language::TR), language == Some(Language::UR));
        let lexicon = Lexicon::of(language);
        let in_text = vec![false; words.tokens.len()];
        let mut reader = Self { words, options, texts, spans: Vec::new(), in_text, lexicon, is_turkish, knows_urdu };
        reader.spans = reader.find_spans();
        for (span, _) in reader.spans.iter().filter(|(span, _)| span.len() > 1) {
            if let Some(words) = reader.in_text.get_mut(span.clone()) {
                words.fill(true);
            }
        }
        reader
    }

    /// The option whose text is the whole reply.
    fn exactly_a_text(&self, reply: &str) -> Option<Reading<char>> {
        if matches!(self.words.tokens.as_slice(), [token] if self.option_letter(token).is_some()) {
            return None;
        }
        let reply = super::short::plain(reply, &self.lexicon);
        let same = |(letter, text): &(char, String)| {
            let text = super::short::plain(text, &self.lexicon);
            (!text.is_empty() && text == reply).then_some(*letter)
        };
        let mut found = self.options.iter().filter_map(same);
        match (found.next(), found.next()) {
            (Some(letter), None) => Some(Reading::Answer(letter)),
            (Some(_), Some(_)) => Some(Reading::Ambiguous),
            _ => None,
        }
    }

    /// The option's letter that a word is, and whether it is a plain capital.
    fn option_letter(&self, token: &Token) -> Option<(char, bool)> {
        let known = |letter: char| self.options.iter().any(|(option, _)| *option == letter);
        if let Some(letter) = token.single().filter(char::is_ascii) {
            let capital = letter.to_ascii_uppercase();
            return known(capital).then_some((capital, letter == capital));
        }
        let (_, letter) = STAND_FOR.iter().find(|(text, _)| *text == token.text)?;
        let is_of_urdu = token.text == "الف";
        (known(*letter) && (!is_of_urdu || self.knows_urdu)).then_some((*letter, false))
    }

    /// Whether the word is a letter by itself, and not a part of `C-10`, `C'est`, `N/A`, `D.C.` or of an option's text.
    fn stands_free(&self, at: usize) -> bool {
        let words = self.words;
        if self.in_text.get(at) == Some(&true) {
            return false;
        }
        let hangs = |gap: &str, other: Option<&Token>| {
            let Some(other) = other else { return false };
            let is_other_letter = self.option_letter(other).is_some();
            match gap {
                "" => matches!(other.script, Script::Number | Script::Latin | Script::Cyrillic),
                "-" | "_" => !is_other_letter,
                "." => other.single().is_some(),
                "/" => !is_other_letter,
                _ => false,
            }
        };
        let (before, after) = (words.before(at), words.after(at));
        let next = words.tokens.get(at + 1);
        let previous = at.checked_sub(1).and_then(|at| words.tokens.get(at));
        let has_ending = |next: &Token| self.is_turkish || TURKISH_COPULAS.contains(&next.text.as_str());
        let has_a_text = after == "-" && self.texts.iter().any(|text| self.has_text(at + 1, text));
        let is_elided = after == "'" && !next.is_some_and(has_ending) && next.is_some();
        !(hangs(before, previous)
            || (hangs(after, next) && !has_a_text)
            || is_elided
            || (before == "'" && previous.is_some())
            || before.ends_with('°')
            || after.starts_with(['+', '°']))
    }

    /// All letters of options that the reply has, denied ones aside.
    fn mentions(&self) -> Vec<Mention> {
        let is_all_letters = self.is_all_letters();
        let found = (0..self.words.tokens.len()).filter_map(|at| {
            let (letter, is_capital) = self.option_letter(self.words.tokens.get(at)?)?;
            if !self.stands_free(at) {
                return None;
            }
            let place = if is_all_letters { Place::Strong } else { self.place(at, is_capital)? };
            Some(Mention { at, letter: Some(letter), place })
        });
        let mut mentions: Vec<Mention> = found.collect();
        self.join(&mut mentions);
        mentions
    }

    /// Whether the reply has nothing but letters and "or".
    fn is_all_letters(&self) -> bool {
        let tokens = &self.words.tokens;
        let is_or = |at: usize| self.lexicon.is(Sense::Or, self.words, at..at + 1);
        (0..tokens.len()).all(|at| tokens.get(at).is_some_and(|token| self.option_letter(token).is_some()) || is_or(at))
    }

    /// How the letter stands; none if it is denied.
    fn place(&self, at: usize, is_capital: bool) -> Option<Place> {
        let words = self.words;
        let after = words.after(at);
        // `E' la B`: an accent written as an apostrophe.
        let is_accent = after.starts_with('\'') && !words.before(at).ends_with('\'');
        let is_marked = words.is_last(at) || (!is_accent && after.contains(|c: char| c == '\n' || !c.is_whitespace()));
        let token = words.tokens.get(at)?;
        // A word of its language rather than a letter, if nothing sets it apart.
        let may_be_word = !is_capital || token.text.contains(|c| WORDS_TOO.contains(c));
        let goes_on = is_capital && self.lexicon.any_at(Sense::Is, words, at + 1).is_some();
        let is_linked = goes_on || (at == 0 && self.lexicon.at(Sense::Or, words, 1).is_some() && is_capital);
        let is_named = is_marked && self.lexicon.any_before(Sense::Option, words, at).is_some();
        let said = said(words, &(at..at + 1), &self.lexicon);
        let place = match said {
            Said::Denied if is_capital || is_marked => return None,
            Said::Stated if is_capital || is_marked || at == 0 => Place::Stated,
            _ if self.is_enclosed(at) || self.is_label(at) || self.is_alone(at, is_capital) => Place::Strong,
            Said::Pointed if is_named => Place::Strong,
            _ if words.is_last(at) && (is_capital || token.script != Script::Latin) => Place::Strong,
            _ if !is_capital => Place::Weak,
            _ if at == 0 && (!may_be_word || is_marked || is_linked) => Place::Strong,
            Said::Pointed if !may_be_word || is_marked || is_linked => Place::Strong,
            _ => Place::Weak,
        };
        Some(place)
    }

    /// In brackets, quotes, bold or code.
    fn is_enclosed(&self, at: usize) -> bool {
        let before = self.words.before(at).trim_start().chars().next_back();
        let after = self.words.after(at).chars().next();
        let pairs = [
            ('(', ')'),
            ('[', ']'),
            ('{', '}'),
            ('<', '>'),
            ('"', '"'),
            ('\'', '\''),
            ('*', '*'),
            ('`', '`'),
            ('_', '_'),
        ];
        pairs.iter().any(|(open, close)| before == Some(*open) && after == Some(*close))
    }

    /// First in its line or sentence, with a mark of lists behind it.
    fn is_label(&self, at: usize) -> bool {
        let before = self.words.before(at);
        let is_first = at == 0 || ends_sentence(before);
        let after = self.words.after(at).trim_start_matches(is_dress);
        let spaced_dash = || after.trim_start().starts_with(['-', '–', '—']) && after.ends_with(char::is_whitespace);
        is_first && (after.starts_with(['.', ')', ']', ':', '。', '、']) || spaced_dash())
    }

    /// The whole of its sentence or line.
    fn is_alone(&self, at: usize, is_capital: bool) -> bool {
        let (before, after) = (self.words.before(at), self.words.after(at));
        let is_last = self.words.is_last(at);
        let own_line = (at == 0 || before.contains('\n')) && (is_last || after.contains('\n'));
        let begins = at == 0 || ends_sentence(before);
        let ends = is_last || after.trim_start_matches(is_dress).starts_with(['.', '!', '?', ';', '。']);
        own_line || (is_capital && begins && ends)
    }

    /// Letters that stand together (`A or C`, `A, B`) count alike.
    fn join(&self, mentions: &mut Vec<Mention>) {
        let mut at = 0;
        while let Some(mention) = mentions.get(at).copied() {
            at += 1;
            let Some(next) = self.joined_to(mention.at) else { continue };
            if mentions.get(at).is_none_or(|other| other.at != next) {
                let token = self.words.tokens.get(next);
                let letter = token.and_then(|token| self.option_letter(token)).map(|(letter, _)| letter);
                mentions.insert(at, Mention { at: next, letter, place: mention.place });
            }
            if let Some([mention, other]) = mentions.get_mut(at - 1..=at) {
                let place = mention.place.max(other.place);
                (mention.place, other.place) = (place, place);
            }
        }
    }

    /// The letter that stands behind another with "or" or a mark of lists between them.
    fn joined_to(&self, at: usize) -> Option<usize> {
        let words = self.words;
        let is_letter = |at: usize| {
            let token = words.tokens.get(at)?;
            let is_capital = token.single().is_some_and(|c| c.is_ascii_uppercase());
            (is_capital || self.option_letter(token).is_some()).then_some(at)
        };
        let is_denied = |at: usize| said(words, &(at..at + 1), &self.lexicon) == Said::Denied;
        let gap = words.after(at);
        let count = match self.lexicon.at(Sense::Or, words, at + 1) {
            // `B, or C`; but not `B. Or C`.
            Some(count) if !ends_sentence(gap) => count,
            _ => {
                let marks = gap.trim_matches(|c: char| c.is_whitespace() || is_dress(c) || matches!(c, '(' | ')'));
                let is_list = !marks.is_empty()
                    && marks.chars().all(|c| matches!(c, ',' | ';' | '/' | '&' | '|' | '+' | '،' | '、'));
                let next = is_letter(at + 1).filter(|_| is_list && !gap.contains('\n'))?;
                let after = words.after(next);
                let ends = words.is_last(next) || after.contains(|c: char| !c.is_whitespace());
                let goes_on = self.lexicon.at(Sense::Or, words, next + 1).is_some();
                return (ends || goes_on).then_some(next).filter(|next| !is_denied(*next));
            }
        };
        is_letter(at + 1 + count).filter(|next| !is_denied(*next))
    }

    /// The letter that all mentions agree on, and no text speaks against.
    fn agreed<'m>(&self, mentions: impl Iterator<Item = &'m Mention>) -> Reading<char> {
        let letters: BTreeSet<Option<char>> = mentions.map(|mention| mention.letter).collect();
        let mut letters = letters.into_iter();
        match (letters.next(), letters.next()) {
            (None, _) => Reading::Unread,
            (Some(Some(letter)), None) if !self.has_other_text(letter) => Reading::Answer(letter),
            _ => Reading::Ambiguous,
        }
    }

    /// Whether a sentence or line that speaks of the letter or of nothing else is another option's text: `B. red`,
    /// where A is red.
    fn has_other_text(&self, letter: char) -> bool {
        let own = self.options.iter().position(|(known, _)| *known == letter);
        let own = own.and_then(|at| self.texts.get(at));
        let is_other = |(span, option): &&(Range<usize>, char)| {
            *option != letter
                && own.is_none_or(|own| !self.words.has(span.start, own) || own.is_empty())
                && !(span.len() == 1 && is_frame(self.words, span.start, &self.lexicon) && self.is_framed(span.start))
        };
        let is_covered = |at: usize| {
            let of_letter = |token| self.option_letter(token).is_some_and(|(known, _)| known == letter);
            self.words.tokens.get(at).is_some_and(of_letter) || is_frame(self.words, at, &self.lexicon)
        };
        self.spans.iter().filter(is_other).any(|(span, _)| {
            let mut begin = span.start;
            while begin > 0 && !ends_sentence(self.words.before(begin)) && is_covered(begin - 1) {
                begin -= 1;
            }
            let mut end = span.end;
            while self.words.tokens.len() > end && !ends_sentence(self.words.before(end)) && is_covered(end) {
                end += 1;
            }
            // The label before it is another's: a list of all options, or the reasons against them.
            let label = begin.checked_sub(1).and_then(|at| self.option_letter(self.words.tokens.get(at)?));
            self.is_sentence(begin..end) && label.is_none_or(|(known, _)| known == letter)
        })
    }

    /// Whether a word such as "right" speaks of the letter: `B is the right one`.
    fn is_framed(&self, at: usize) -> bool {
        at > 0
            && !parts(self.words.before(at))
            && !self.words.before(at).contains([':', ')'])
            && is_frame(self.words, at - 1, &self.lexicon)
    }

    /// Whether nothing else is in the sentence or line.
    fn is_sentence(&self, span: Range<usize>) -> bool {
        (span.start == 0 || ends_sentence(self.words.before(span.start)))
            && (span.end >= self.words.tokens.len() || ends_sentence(self.words.before(span.end)))
    }

    /// Where texts of options stand in the reply; a text within a longer one does not count.
    fn find_spans(&self) -> Vec<(Range<usize>, char)> {
        let mut spans: Vec<(Range<usize>, char)> = Vec::new();
        for ((letter, _), text) in self.options.iter().zip(&self.texts) {
            let is_letter =
                matches!(text.as_slice(), [token] if token.single().is_some_and(|c| c.is_ascii_alphabetic()));
            if is_letter {
                continue;
            }
            let found = (0..self.words.tokens.len()).filter(|at| self.has_text(*at, text));
            spans.extend(found.map(|at| (at..at + text.len(), *letter)));
        }
        spans.sort_by_key(|(span, letter)| (span.start, std::cmp::Reverse(span.end), *letter));
        let mut longest = 0..0;
        spans.retain(|(span, _)| {
            let is_within = span.end <= longest.end && span.len() < longest.len();
            if span.end > longest.end {
                longest = span.clone();
            }
            !is_within
        });
        spans
    }

    /// Whether the text stands at a word, in full.
    fn has_text(&self, at: usize, text: &[Token]) -> bool {
        let words = self.words;
        if words.has(at, text) {
            // One Chinese character is a part of many words; kana behind it are not.
            let is_unspaced = |at: Option<usize>| {
                let token = at.and_then(|at| words.tokens.get(at));
                token.is_some_and(|token| token.script == Script::Unspaced && !token.text.contains(is_kana))
            };
            let is_part = (words.before(at).is_empty() && is_unspaced(at.checked_sub(1)))
                || (words.after(at).is_empty() && is_unspaced(Some(at + 1)));
            return !(text.len() == 1 && is_unspaced(Some(at)) && is_part);
        }
        let Some((last, rest)) = text.split_last() else { return false };
        let ends = |token: &Token| {
            let ending = token.folded.strip_prefix(last.folded.as_str());
            token.script == Script::Hangul && ending.is_some_and(|ending| HANGUL_ENDINGS.contains(&ending))
        };
        (rest.is_empty() || words.has(at, rest)) && words.tokens.get(at + rest.len()).is_some_and(ends)
    }

    /// The only option whose text the reply has.
    fn by_text(&self) -> Reading<char> {
        let counted = self.spans.iter().filter_map(|(span, letter)| {
            let place = match said(self.words, span, &self.lexicon) {
                Said::Denied => return None,
                Said::Stated => Place::Stated,
                Said::Pointed => Place::Strong,
                Said::Nothing if self.is_placed(span) => Place::Strong,
                Said::Nothing => Place::Weak,
            };
            Some((place, *letter))
        });
        let counted: Vec<(Place, char)> = counted.collect();
        let least = match counted.iter().map(|(place, _)| *place).max() {
            Some(Place::Stated) => Place::Stated,
            _ if self.words.tokens.len() <= SHORT_REPLY => Place::Weak,
            _ => Place::Strong,
        };
        let letters: BTreeSet<char> =
            counted.iter().filter(|(place, _)| *place >= least).map(|(_, letter)| *letter).collect();
        let mut letters = letters.into_iter();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => Reading::Answer(letter),
            (Some(_), Some(_)) => Reading::Ambiguous,
            _ => Reading::Unread,
        }
    }

    /// Whether the text begins or ends the reply, or is a sentence or a line by itself.
    fn is_placed(&self, span: &Range<usize>) -> bool {
        let begins = span.start == 0 && self.words.before(span.end).contains(|c: char| !c.is_whitespace());
        begins || span.end == self.words.tokens.len() || self.is_sentence(span.clone())
    }
}

fn is_kana(c: char) -> bool {
    ('\u{3040}'..='\u{30ff}').contains(&c)
}

/// The words of an option's text, without an article before them.
fn option_words(text: &str) -> Vec<Token> {
    let words = Words::of(&visible(text));
    let begin = match words.tokens.len() {
        0 | 1 => 0,
        _ => words::article(&words).filter(|count| *count < words.tokens.len()).unwrap_or(0),
    };
    words.tokens.into_iter().skip(begin).collect()
}

//! Where the turns of a conversation begin and end in its rendering.
//!
//! Unusual here: a turn ends where the rendering of the conversation up to it ends, which is exact and takes a rendering for each turn,
//! quadratic in their number. In a long conversation the words of all turns are found by one rendering with marks around them, and
//! how far behind the words a turn ends is asked once for each text that stands between two turns (`<|im_end|>\n<|im_start|>user\n`):
//! the same text, the same end. The last turns are always asked.

use super::Scribe;
use crate::chat_template::TemplateError;
use crate::conversation::{IMAGE_PLACEHOLDER, Turn, VIDEO_PLACEHOLDER};
use std::collections::HashMap;
use std::ops::Range;

/// Conversations up to so many turns are asked turn by turn.
const FEW_TURNS: usize = 16;
/// Private-use characters, which no conversation has.
const BEGIN: char = '\u{f8f0}';
const END: char = '\u{f8f1}';

/// Which end is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Where the prompt of an answer ends.
    Prompt,
    /// Where an answer ends.
    Answer,
    /// Where a user's own text begins.
    TextBegin,
    /// Where it ends.
    TextEnd,
}

/// Finds ends in the rendering of a conversation.
pub(crate) struct Ends<'a> {
    whole: &'a str,
    /// The bytes of each turn's words in the rendering; empty where they are not looked for, or cannot be found.
    words: Vec<Range<usize>>,
    known: HashMap<(Place, &'a str), usize>,
}

impl<'a> Ends<'a> {
    pub(crate) fn new(scribe: &Scribe<'_>, turns: &[Turn], whole: &'a str) -> Self {
        let words = if turns.len() > FEW_TURNS { words(scribe, turns, whole) } else { None };
        Self { whole, words: words.unwrap_or_default(), known: HashMap::new() }
    }

    /// The byte of a place of a turn: as `exact` says, or as it has said behind the same text.
    ///
    /// # Errors
    /// Those of `exact`.
    pub(crate) fn find<E>(
        &mut self,
        turn: usize,
        place: Place,
        exact: impl FnOnce() -> Result<usize, E>,
    ) -> Result<usize, E> {
        let before = matches!(place, Place::Prompt | Place::TextBegin);
        // The text between the turn and its neighbour. The first and the last turn have one neighbour only.
        let between = match before {
            true => turn.checked_sub(1).and_then(|other| Some(self.words.get(other)?.end..self.words.get(turn)?.start)),
            false => self.words.get(turn + 1).and_then(|next| Some(self.words.get(turn)?.end..next.start)),
        };
        let last = turn + 2 >= self.words.len();
        let Some(between) = between.filter(|between| !last && between.start <= between.end) else { return exact() };
        let key = (place, &self.whole[between.clone()]);
        if let Some(behind) = self.known.get(&key) {
            return Ok(between.start + behind);
        }
        let found = exact()?;
        if let Some(behind) = found.checked_sub(between.start).filter(|_| found <= between.end) {
            self.known.insert(key, behind);
        }
        Ok(found)
    }
}

/// Where the words of each turn stand; `None` where the template does not write them as they are, in their order.
fn words(scribe: &Scribe<'_>, turns: &[Turn], whole: &str) -> Option<Vec<Range<usize>>> {
    if whole.contains([BEGIN, END]) {
        return None;
    }
    // Of a model without videos their placeholder is a word.
    let placeholders = [IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER];
    let placeholders = if scribe.style.video.is_some() { &placeholders[..] } else { &placeholders[..1] };
    let cores: Vec<Range<usize>> = turns.iter().map(|turn| core(&turn.text, placeholders)).collect::<Option<_>>()?;
    let mark = |(turn, core): (&Turn, &Range<usize>)| {
        let (before, words, after) = (&turn.text[..core.start], &turn.text[core.clone()], &turn.text[core.end..]);
        Turn { role: turn.role, text: format!("{before}{BEGIN}{words}{END}{after}") }
    };
    let marked: Vec<Turn> = turns.iter().zip(&cores).map(mark).collect();
    let rendered: Result<String, TemplateError> = scribe.render(&marked, false);
    let rendered = rendered.ok()?;
    let (mut found, mut begin, mut position) = (Vec::with_capacity(turns.len()), None, 0);
    let mut rest = rendered.as_str();
    while let Some(at) = rest.find([BEGIN, END]) {
        let text = &rest[..at];
        if !whole[position..].starts_with(text) {
            return None;
        }
        position += text.len();
        match (rest[at..].starts_with(BEGIN), begin) {
            (true, None) => begin = Some(position),
            (false, Some(start)) => {
                let turn: &Turn = turns.get(found.len())?;
                if whole[start..position] != turn.text[cores[found.len()].clone()] {
                    return None;
                }
                found.push(start..position);
                begin = None;
            }
            _ => return None,
        }
        rest = &rest[at + BEGIN.len_utf8()..];
    }
    (whole[position..] == *rest && found.len() == turns.len()).then_some(found)
}

/// The words of a text without what templates trim and move: whitespace, pictures and videos around them.
fn core<'t>(text: &'t str, placeholders: &[&'static str]) -> Option<Range<usize>> {
    let mut inside = text;
    loop {
        let trim = |text: &'t str, placeholder: &&'static str| {
            text.trim_start_matches(*placeholder).trim_end_matches(*placeholder).trim()
        };
        let shorter = placeholders.iter().fold(inside.trim(), trim);
        if shorter.len() == inside.len() {
            break;
        }
        inside = shorter;
    }
    let start = inside.as_ptr() as usize - text.as_ptr() as usize;
    (!inside.is_empty()).then(|| start..start + inside.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat_template::ChatTemplate;
    use crate::conversation::Role;
    use crate::encode::{EncodeError, EncodeOptions, Encoded, Style};
    use crate::processor::{Processor, ProcessorParts};
    use crate::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};
    use std::cell::Cell;

    const CHATML: &str = "{% for m in messages %}{{ '<|user|>' + m.role + '\n' + (m.content | trim) + '<|end|>\n' }}{% endfor %}\
        {% if add_generation_prompt %}{{ '<|user|>assistant\n' }}{% endif %}";
    const LLAVA: &str = "{% for message in messages %}{{ message['role'].upper() + ': ' }}\
        {% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}\
        {% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}{% endfor %}\
        {% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";

    fn tokenizer() -> Tokenizer {
        Tokenizer::train_bpe(["a red apple"], 300, &TINY_SPECIAL_TOKENS).unwrap()
    }

    fn turns(count: usize) -> Vec<Turn> {
        let of = |number: usize| match number % 2 {
            0 if number.is_multiple_of(6) => Turn::user(format!("<image>\n what is {number}? ")),
            0 => Turn::user(format!("{number}, a\nb")),
            _ => Turn::assistant(format!(" user {number}, red\n")),
        };
        (0..count).map(of).collect()
    }

    /// Turn by turn, as it was before.
    fn slowly(scribe: &Scribe<'_>, turns: &[Turn]) -> Vec<usize> {
        let answers = turns.iter().enumerate().filter(|(_, turn)| turn.role == Role::Assistant);
        let ends = answers.flat_map(|(turn, _)| {
            let length = |turns: &[Turn], prompt| scribe.render(turns, prompt).unwrap().len();
            [length(&turns[..turn], true), length(&turns[..=turn], false)]
        });
        ends.collect()
    }

    #[test]
    fn one_rendering_finds_what_one_a_turn_finds() {
        for template in [CHATML, LLAVA, crate::chat_template::TINY_TEMPLATE] {
            let (tokenizer, template) = (tokenizer(), ChatTemplate::new(template).unwrap());
            let style = Style::of_language_model(&tokenizer, &template).unwrap();
            let scribe = Scribe { tokenizer: &tokenizer, template: &template, style: &style };
            let turns = turns(81);
            let whole = scribe.render(&turns, false).unwrap();
            let mut ends = Ends::new(&scribe, &turns, &whole);
            assert_eq!(ends.words.len(), turns.len());
            let asked = Cell::new(0);
            let exact = |turns: &[Turn], prompt: bool| {
                asked.set(asked.get() + 1);
                Ok::<usize, EncodeError>(scribe.render(turns, prompt).unwrap().len())
            };
            let mut found = Vec::new();
            for turn in (1..turns.len()).step_by(2) {
                found.push(ends.find(turn, Place::Prompt, || exact(&turns[..turn], true)).unwrap());
                found.push(ends.find(turn, Place::Answer, || exact(&turns[..=turn], false)).unwrap());
            }
            assert_eq!(found, slowly(&scribe, &turns));
            assert!(asked.get() <= 12, "{} renderings", asked.get());
            // What a template writes otherwise than it is said is asked turn by turn.
            let upper = ChatTemplate::new("{% for m in messages %}{{ m.content | upper }}{% endfor %}").unwrap();
            let scribe = Scribe { template: &upper, ..scribe };
            let whole = scribe.render(&turns, false).unwrap();
            assert!(Ends::new(&scribe, &turns, &whole).words.is_empty());
        }
    }

    #[test]
    fn long_conversations_are_encoded_as_short_ones() {
        let processor = |template: &str| {
            Processor::new(ProcessorParts::text(tokenizer(), ChatTemplate::new(template).unwrap())).unwrap()
        };
        let options = EncodeOptions { user_turns: true, ..EncodeOptions::default() };
        for template in [CHATML, LLAVA] {
            let processor = processor(template);
            let encode = |count: usize| -> Encoded {
                let turns = turns(count);
                let pictures = crate::conversation::count_images(&turns);
                processor.encode(&turns, &vec![3; pictures], &options).unwrap()
            };
            // The long one begins with the short one, which is asked turn by turn.
            let (short, long) = (encode(FEW_TURNS), encode(60));
            let same = short.ids.len();
            assert_eq!((&long.ids[..same], &long.labels[..same]), (&short.ids[..], &short.labels[..]));
            assert_eq!(long.user_turns[..FEW_TURNS / 2], short.user_turns);
            assert_eq!(long.user_turns.len(), 30);
            let trained: Vec<u32> =
                long.labels.iter().filter(|label| **label >= 0).map(|label| *label as u32).collect();
            let words = processor.tokenizer().decode(&trained, false).unwrap();
            assert_eq!(words.matches("user").count(), 30, "{words}");
            let shown = |range: &Range<usize>| processor.tokenizer().decode(&long.ids[range.clone()], false).unwrap();
            assert!(shown(&long.user_turns[20]).trim().ends_with("40, a\nb"), "{}", shown(&long.user_turns[20]));
        }
    }
}

//! Words in pictures: reading them, and four-way questions which word is written.
//!
//! Unusual here: the picture alone is the question. The project has no sentence "What does it say?" in the languages of the words,
//! and the one that it has, "What is this?", asks what a picture shows. So a turn that is a picture and nothing else asks to read it,
//! the same in every language.

use super::pool::{Distractors, Purpose};
use super::settings::WordSettings;
use super::{Task, TaskError};
use crate::conversation::{IMAGE_PLACEHOLDER, Turn};
use crate::drawn::DrawnPicture;
use crate::emoji::{EmojiCorpus, PictureId, Split, Style};
use crate::language::Language;
use crate::random::{Stream, hash_bytes, mix};
use crate::sample::{Media, Picture, Sample};
use crate::words::{Font, Layout, Level, Lexicon, Word, WordPicture, fold};
use std::collections::HashMap;
use std::sync::Arc;
use unicode_segmentation::UnicodeSegmentation;

/// The most that a distractor's length may differ, in characters.
const LENGTHS_APART: usize = 1;
/// Which training words are drawn where not all are, whatever the seed of a run.
const WORDS_SEED: u64 = 0;
/// Near distractors are drawn from so many words that are most alike.
const NEAREST: usize = 6;

/// Samples and questions about words in pictures.
pub struct WordTasks<'a> {
    corpus: &'a EmojiCorpus,
    lexicon: Arc<Lexicon>,
    /// What may stand behind words of training, and behind those that are asked about.
    behind: [Vec<PictureId>; 2],
    seed: u64,
}

/// Whether training shows the words that are asked about. Fonts, layouts and what is behind a word are held out either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vocabulary {
    /// Words of the training side: of the first [`WordSettings::words`] that a stage draws, if it draws as many as are asked about. The
    /// ones for validation stand behind those for the test, so that a stage needs twice as many to be asked for both.
    Seen,
    /// Held-out words, which are in no training text.
    Unseen,
}

impl Vocabulary {
    /// `"seen"` or `"unseen"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Unseen => "unseen",
        }
    }
}

/// Which of four words is written?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordItem {
    /// Unique and stable across runs.
    pub id: String,
    /// The word, in the picture and among the options.
    pub word: String,
    /// Its language.
    pub language: Language,
    /// How hard it is to read.
    pub level: Level,
    /// The picture, in a font and a layout that training never shows.
    pub picture: DrawnPicture,
    /// Whether training shows the word.
    pub vocabulary: Vocabulary,
    /// Four words of this language and about this length, all held out or all among the seen ones that are asked about.
    pub options: [String; 4],
    /// Position of the right option.
    pub answer: usize,
    /// Whether the wrong options share letters with it.
    pub distractors: Distractors,
}

impl WordItem {
    /// The question: the picture.
    pub fn turns() -> Vec<Turn> {
        vec![Turn::user(IMAGE_PLACEHOLDER)]
    }
}

impl<'a> WordTasks<'a> {
    /// Tasks on the words of a corpus.
    pub fn new(corpus: &'a EmojiCorpus, seed: u64) -> Self {
        let behind = [false, true].map(|held_out| behind(corpus, held_out));
        Self { corpus, lexicon: Lexicon::embedded(corpus), behind, seed }
    }

    /// Training samples: the picture -> the word. Words, fonts and layouts that are held out are in none of them, and what is behind a
    /// word is a training picture of a training concept.
    ///
    /// # Errors
    /// A language without words.
    pub fn samples(&self, language: Language, settings: &WordSettings) -> Result<Vec<Sample>, TaskError> {
        let mut samples = Vec::new();
        for (word, picture) in self.training_pictures(language, settings)? {
            let turns = [WordItem::turns(), vec![Turn::assistant(word.text.clone())]].concat();
            samples.push(Sample {
                id: format!("{}/{language}", picture.name()),
                turns,
                media: vec![Media::Image(Picture::Drawn(picture))],
                language: Some(language),
                source: Arc::from("emoji"),
                tags: Arc::from([Task::Words.as_str().to_owned()]),
                group: Some(Arc::from(format!("word/{}", fold(&word.text)))),
            });
        }
        Ok(samples)
    }

    /// The training words of a language with their pictures, [`WordSettings::variants`] each.
    ///
    /// # Errors
    /// A language without words.
    pub fn training_pictures(
        &self,
        language: Language,
        settings: &WordSettings,
    ) -> Result<Vec<(&Word, DrawnPicture)>, TaskError> {
        let words = self.drawn_words(language, Split::Train, settings.words)?;
        let mut pictures = Vec::with_capacity(words.len() * settings.variants);
        for word in words {
            for number in 0..settings.variants {
                let mut stream = self.stream("words/train", word, number);
                let level = settings.levels[stream.below(settings.levels.len())];
                let picture = self.picture((word, &word.text), level, settings.size, (false, &mut stream));
                pictures.push((word, picture));
            }
        }
        Ok(pictures)
    }

    /// One of the pictures that training may show of a language's words, drawn by a stream, so that there are as many as are asked for;
    /// and what is written there: a word, or by [`WordSettings::pieces`] a piece of one that is no held-out word itself.
    ///
    /// # Errors
    /// A language without words.
    pub fn training_picture(
        &self,
        language: Language,
        settings: &WordSettings,
        stream: &mut Stream,
    ) -> Result<(String, DrawnPicture), TaskError> {
        let words = self.drawn_words(language, Split::Train, settings.words)?;
        let word = words[stream.below(words.len())];
        let level = settings.levels[stream.below(settings.levels.len())];
        if settings.pieces > 0.0 && f64::from(stream.uniform(0.0, 1.0)) < settings.pieces {
            let piece = piece(&word.text, stream);
            if !self.lexicon.is_held_out(piece) {
                let picture = self.picture((word, piece), level, settings.size, (false, stream));
                return Ok((piece.to_owned(), picture));
            }
        }
        let picture = self.picture((word, &word.text), level, settings.size, (false, stream));
        Ok((word.text.clone(), picture))
    }

    /// Four-way questions about words of a language, in each level: the same words and options in all levels, so that the levels are
    /// compared on the same questions. `words` of them, 0 for all.
    ///
    /// # Errors
    /// A language without words.
    pub fn items(
        &self,
        language: Language,
        (levels, distractors): (&[Level], Distractors),
        (vocabulary, purpose, words): (Vocabulary, Purpose, usize),
        side: u32,
    ) -> Result<Vec<WordItem>, TaskError> {
        let (asked, pool) = match vocabulary {
            Vocabulary::Unseen => {
                let split = match purpose {
                    Purpose::Test => Split::Test,
                    Purpose::Validation => Split::Validation,
                };
                (self.drawn_words(language, split, words)?, self.lexicon.words(language, split).collect())
            }
            Vocabulary::Seen => {
                let asked = self.seen_words(language, purpose, words)?;
                // Options that training does not show would be told from the right one by that alone.
                (asked.clone(), asked)
            }
        };
        let pool: Vec<&Word> = pool;
        let mut items = Vec::new();
        for word in asked {
            let mut stream = self.stream(&format!("words/{}", distractors.as_str()), word, 0);
            let Some((options, answer)) = draw_options(word, &pool, distractors, &mut stream) else { continue };
            for &level in levels {
                let mut stream = self.stream(&format!("words/{}", level.as_str()), word, 0);
                let picture = self.picture((word, &word.text), level, side, (true, &mut stream));
                let (purpose, distractors_name) = (purpose.as_str(), distractors.as_str());
                let known = if vocabulary == Vocabulary::Seen { "seen/" } else { "" };
                items.push(WordItem {
                    id: format!("{known}{purpose}/{distractors_name}/{}/{language}", picture.name()),
                    word: word.text.clone(),
                    language,
                    vocabulary,
                    level,
                    picture,
                    options: options.clone(),
                    answer,
                    distractors,
                });
            }
        }
        Ok(items)
    }

    /// Words of one side, at most so many (0: all), in an order that seed and words alone decide. Which training words the first are is
    /// the same for every seed: that is how a benchmark knows what was trained.
    fn drawn_words(&self, language: Language, split: Split, most: usize) -> Result<Vec<&Word>, TaskError> {
        let mut words = self.words_of(language, split)?;
        if split == Split::Train && most > 0 {
            words.sort_by_cached_key(ranked(WORDS_SEED));
            words.truncate(most);
        }
        words.sort_by_cached_key(ranked(self.seed));
        if most > 0 {
            words.truncate(most);
        }
        Ok(words)
    }

    /// The training words that are asked about.
    fn seen_words(&self, language: Language, purpose: Purpose, most: usize) -> Result<Vec<&Word>, TaskError> {
        let mut words = self.words_of(language, Split::Train)?;
        words.sort_by_cached_key(ranked(WORDS_SEED));
        let behind = if purpose == Purpose::Validation { most } else { 0 };
        let most = if most == 0 { words.len() } else { most };
        Ok(words.into_iter().skip(behind).take(most).collect())
    }

    fn words_of(&self, language: Language, split: Split) -> Result<Vec<&Word>, TaskError> {
        let words: Vec<&Word> = self.lexicon.words(language, split).collect();
        if words.is_empty() {
            return Err(TaskError::NoWords { language, available: self.lexicon.languages().collect() });
        }
        Ok(words)
    }

    /// `written` is the word or a piece of it.
    fn picture(
        &self,
        (word, written): (&Word, &str),
        level: Level,
        side: u32,
        (held_out, stream): (bool, &mut Stream),
    ) -> DrawnPicture {
        let fonts: Vec<Font> = Font::of(word.script, held_out).collect();
        let font = fonts[stream.below(fonts.len())];
        let layout = Layout::draw(stream, held_out);
        let behind = &self.behind[usize::from(held_out)];
        let icon = behind.get(stream.below(behind.len())).map(|icon| (self.corpus, *icon));
        let picture = WordPicture::new(written, font, (level, layout), side, icon);
        let picture = if written == word.text { picture } else { picture.piece_of(&word.text) };
        let number = stream.next_u64() as u16;
        let name = format!("words/{}/{written}/{}-{number:04x}", level.as_str(), font.name());
        DrawnPicture::new(name, Arc::new(picture))
    }

    fn stream(&self, purpose: &str, word: &Word, number: usize) -> Stream {
        let decision = mix(self.seed, hash_bytes(purpose.as_bytes()));
        Stream::new(mix(mix(decision, hash_bytes(fold(&word.text).as_bytes())), number as u64))
    }
}

/// The place of a word in an order.
fn ranked(seed: u64) -> impl Fn(&&Word) -> u64 {
    move |word| mix(seed, hash_bytes(fold(&word.text).as_bytes()))
}

/// What may stand behind words: training pictures for training, test pictures of the scored style for questions.
fn behind(corpus: &EmojiCorpus, held_out: bool) -> Vec<PictureId> {
    let wanted = if held_out { Split::Test } else { Split::Train };
    let fits = |style: Style| (style == Style::SCORED) == held_out;
    let of_split = corpus.split(wanted).flat_map(|concept| corpus.pictures_of(concept.id));
    of_split.filter(|picture| fits(picture.style) && !corpus.is_ambiguous(picture.id)).map(|p| p.id).collect()
}

/// Neighbouring characters of a word as readers count them, at least one and not all; each number as often, each place as often. A word of
/// one character stays whole.
fn piece<'w>(word: &'w str, stream: &mut Stream) -> &'w str {
    let starts: Vec<usize> = word.grapheme_indices(true).map(|(at, _)| at).collect();
    if starts.len() < 2 {
        return word;
    }
    let length = 1 + stream.below(starts.len() - 1);
    let first = stream.below(starts.len() - length + 1);
    let end = starts.get(first + length).copied().unwrap_or(word.len());
    &word[starts[first]..end]
}

/// The options in their order and the position of the right one, or none where there are too few words of about this length.
fn draw_options(
    word: &Word,
    pool: &[&Word],
    distractors: Distractors,
    stream: &mut Stream,
) -> Option<([String; 4], usize)> {
    let length = |word: &Word| word.text.chars().count();
    let fits = |other: &&&Word| other.text != word.text && length(other).abs_diff(length(word)) <= LENGTHS_APART;
    let mut candidates: Vec<&Word> = pool.iter().filter(fits).copied().collect();
    stream.shuffle(&mut candidates);
    if distractors == Distractors::Near {
        // Stable: of words that are alike equally, those that were drawn first.
        candidates.sort_by_key(|other| std::cmp::Reverse(likeness(&word.text, &other.text)));
        candidates.truncate(NEAREST);
        stream.shuffle(&mut candidates);
    }
    let answer = stream.below(4);
    let mut options: Vec<String> = candidates.into_iter().take(3).map(|other| other.text.clone()).collect();
    if options.len() < 3 {
        return None;
    }
    options.insert(answer, word.text.clone());
    Some((options.try_into().ok()?, answer))
}

/// How many letters two words share, and how many stand at the same place from the front or the end.
fn likeness(a: &str, b: &str) -> usize {
    let letters = |text: &str| fold(text).chars().collect::<Vec<char>>();
    let (a, b) = (letters(a), letters(b));
    let mut counts: HashMap<char, usize> = HashMap::new();
    a.iter().for_each(|letter| *counts.entry(*letter).or_default() += 1);
    let shared = b.iter().filter(|letter| {
        counts.get_mut(letter).is_some_and(|left| {
            let there = *left > 0;
            *left -= usize::from(there);
            there
        })
    });
    let front = a.iter().zip(&b).filter(|(a, b)| a == b).count();
    let end = a.iter().rev().zip(b.iter().rev()).filter(|(a, b)| a == b).count();
    shared.count() + front.max(end)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pieces_are_whole_characters_and_never_the_word() {
        let pieces = |word: &str| {
            let mut stream = Stream::new(1);
            (0..200).map(|_| piece(word, &mut stream).to_owned()).collect::<BTreeSet<String>>()
        };
        let written = |pieces: &[&str]| pieces.iter().map(|piece| (*piece).to_owned()).collect::<BTreeSet<String>>();
        assert_eq!(pieces("abc"), written(&["a", "ab", "b", "bc", "c"]));
        // Signs stay with their consonant: ki, ta, b.
        assert_eq!(pieces("किताब"), written(&["कि", "किता", "ता", "ताब", "ब"]));
        assert_eq!(pieces("é"), written(&["é"]));
    }

    #[test]
    fn likeness_counts_shared_letters_and_places() {
        // By hand: r-a-d-i-o and r-a-t-i-o share 4 letters, all in place; "oidar" has all 5, one in place.
        assert_eq!(likeness("radio", "Ratio"), 8);
        assert_eq!(likeness("radio", "oidar"), 6);
        // From the end: "o" and "io" of unequal lengths.
        assert_eq!(likeness("radio", "trio"), 5);
        assert_eq!(likeness("aa", "ab"), 2);
        assert_eq!(likeness("abc", "xyz"), 0);
    }
}

//! Texts of a benchmark that stand in other texts, as a whole, whatever their case, spaces, punctuation and encoding.

use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// Base of the rolling hash; odd.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Letters and digits alone, in lower case and one encoding (NFKC).
pub fn letters(text: &str) -> Vec<char> {
    text.nfkc().flat_map(char::to_lowercase).filter(|letter| letter.is_alphanumeric()).collect()
}

/// Texts by the hash of their first letters.
#[derive(Debug, Clone)]
pub struct TextIndex {
    /// Letters that a text has at least, and by which it is found.
    least: usize,
    /// `BASE` to the power of `least - 1`, what the oldest letter of a window counts.
    oldest: u64,
    texts: Vec<Vec<char>>,
    by_begin: HashMap<u64, Vec<u32>>,
}

impl TextIndex {
    /// An index of texts as [`letters`] gives them, which are known by their places in the list. Those of fewer than `least` letters are
    /// not found, and an empty one never.
    pub fn new(texts: Vec<Vec<char>>, least: usize) -> Self {
        let least = least.max(1);
        let mut by_begin: HashMap<u64, Vec<u32>> = HashMap::new();
        for (number, text) in texts.iter().enumerate().filter(|(_, text)| text.len() >= least) {
            by_begin.entry(hash(&text[..least])).or_default().push(number as u32);
        }
        // As many letters as no text has where texts are not compared.
        let oldest = BASE.wrapping_pow(u32::try_from(least - 1).unwrap_or(u32::MAX));
        Self { least, oldest, texts, by_begin }
    }

    /// A text of the index.
    pub fn text(&self, number: usize) -> &[char] {
        self.texts.get(number).map_or(&[], Vec::as_slice)
    }

    /// Tells `found` of every text of the index that stands in `text` (as [`letters`] gives it), as often as it does.
    pub fn within(&self, text: &[char], mut found: impl FnMut(usize)) {
        if text.len() < self.least || self.by_begin.is_empty() {
            return;
        }
        let mut window = hash(&text[..self.least]);
        for begin in 0..=text.len() - self.least {
            if begin > 0 {
                let gone = u64::from(text[begin - 1]).wrapping_mul(self.oldest);
                let come = u64::from(text[begin + self.least - 1]);
                window = window.wrapping_sub(gone).wrapping_mul(BASE).wrapping_add(come);
            }
            let candidates = self.by_begin.get(&window).map_or(&[][..], Vec::as_slice);
            let stands = |number: &&u32| text[begin..].starts_with(&self.texts[**number as usize]);
            candidates.iter().filter(stands).for_each(|number| found(*number as usize));
        }
    }
}

fn hash(text: &[char]) -> u64 {
    text.iter().fold(0u64, |hash, letter| hash.wrapping_mul(BASE).wrapping_add(u64::from(*letter)))
}

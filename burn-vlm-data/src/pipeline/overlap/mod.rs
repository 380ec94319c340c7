//! Contamination: what stands both in training data and in a benchmark, by the bytes of pictures, by what they show, by the ids of rows,
//! and by their texts.
//!
//! Unusual here:
//! - the benchmarks are held in memory, the training data is walked through once: 100,000 pictures are looked up among 10,000 without
//!   comparing all with all ([`NearIndex`]);
//! - nothing is left out of the training data here: pairs are listed for people to look at, and what is not compared (short texts, texts
//!   that many rows of a benchmark share, pictures that cannot be read) is counted and listed, too;
//! - a translation has no text in common with its original: it is found by its picture, by the ids of the row that it was made of
//!   ([`ID_COLUMNS`]), or by the original text where a column of the training data keeps it.

mod counts;
mod near;
mod page;
mod pair;
mod print;
mod records;
mod text;

pub use counts::{BenchmarkCounts, CommonText, OverlapReport, SideCounts};
pub use near::NearIndex;
pub use page::overlap_page;
pub use pair::{Found, Pair, Reason, Side};
pub use print::{Fingerprint, PictureFingerprint, fingerprints};
pub use records::{AskedRecord, AskedRecords, FileRecords, ID_COLUMNS, OverlapRecord, OverlapRecords, SampleRecords};
pub use text::{TextIndex, letters};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Bits of 64 by which two pictures' hashes differ at most: found on the embedded corpus (`burn-vlm-data/tests/overlap.rs`).
pub const NEAR_BITS: u32 = 8;
/// Letters that a text has at least to be compared.
pub const LEAST_LETTERS: usize = 32;
/// A text that stands in more rows of a benchmark is part of its form (an instruction, a category), not of a question.
pub const MOST_ROWS: usize = 8;
/// Pairs of a training row that are listed.
pub const MOST_PAIRS: usize = 100;

/// What counts as the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverlapOptions {
    /// Most different bits of two pictures' hashes; none compares bytes alone.
    pub near_bits: Option<u32>,
    /// Most difference in colour of pictures that are near, 0 to 255; none does not look at it.
    pub most_difference: Option<f32>,
    /// Fewest letters of a text that is compared; none compares no texts.
    pub least_letters: Option<usize>,
    /// Most rows of a benchmark that may share a text, for it to be compared.
    pub most_rows: usize,
    /// Compare ids that are plain numbers: they say something only where both sides number the same things.
    pub numbers: bool,
    /// Most pairs of one training row that are listed; all count.
    pub most_pairs: usize,
}

impl Default for OverlapOptions {
    fn default() -> Self {
        Self {
            near_bits: Some(NEAR_BITS),
            most_difference: None,
            least_letters: Some(LEAST_LETTERS),
            most_rows: MOST_ROWS,
            numbers: false,
            most_pairs: MOST_PAIRS,
        }
    }
}

/// The benchmarks, to look up training rows in.
pub struct Benchmarks {
    options: OverlapOptions,
    names: Vec<Arc<str>>,
    /// Each with the number of its benchmark.
    rows: Vec<(usize, Fingerprint)>,
    by_bytes: HashMap<[u8; 32], Vec<(usize, Option<usize>)>>,
    /// Of each hash of `near` the row and the number of its picture.
    looks: Vec<(usize, usize)>,
    near: NearIndex,
    by_id: HashMap<String, Vec<usize>>,
    /// Of each text the rows that have it.
    text_rows: Vec<Vec<usize>>,
    texts: TextIndex,
    common: Vec<CommonText>,
}

impl Benchmarks {
    /// Benchmarks by name, each with its rows.
    pub fn new(benchmarks: Vec<(String, Vec<Fingerprint>)>, options: OverlapOptions) -> Self {
        let names = benchmarks.iter().map(|(name, _)| Arc::from(name.as_str())).collect();
        let rows: Vec<(usize, Fingerprint)> = benchmarks
            .into_iter()
            .enumerate()
            .flat_map(|(number, (_, rows))| rows.into_iter().map(move |row| (number, row)))
            .collect();
        let mut by_bytes: HashMap<_, Vec<_>> = HashMap::new();
        let mut by_id: HashMap<_, Vec<_>> = HashMap::new();
        let (mut looks, mut hashes) = (Vec::new(), Vec::new());
        let mut by_text: HashMap<&[char], Vec<usize>> = HashMap::new();
        for (number, (_, row)) in rows.iter().enumerate() {
            for (at, picture) in row.pictures.iter().enumerate() {
                by_bytes.entry(picture.sha256).or_default().push((number, Some(at)));
                if let Some((hash, _)) = picture.look {
                    looks.push((number, at));
                    hashes.push(hash.0);
                }
            }
            row.sha256.iter().for_each(|hash| by_bytes.entry(*hash).or_default().push((number, None)));
            for id in row.ids.iter().filter(|id| options.compares_id(id)).collect::<HashSet<_>>() {
                by_id.entry(id.clone()).or_default().push(number);
            }
            if let Some(least) = options.least_letters {
                let long = row.texts.iter().filter(|text| text.len() >= least.max(1));
                long.for_each(|text| by_text.entry(text).or_default().push(number));
            }
        }
        let (mut common, mut texts, mut text_rows) = (Vec::new(), Vec::new(), Vec::new());
        for (text, of) in by_text {
            let mut by_benchmark: BTreeMap<usize, usize> = BTreeMap::new();
            of.iter().for_each(|row| *by_benchmark.entry(rows[*row].0).or_default() += 1);
            if by_benchmark.values().any(|count| *count > options.most_rows) {
                common.push(CommonText { letters: text.iter().collect(), rows: of.len() as u64 });
            } else {
                texts.push(text.to_vec());
                text_rows.push(of);
            }
        }
        common.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.letters.cmp(&b.letters)));
        let texts = TextIndex::new(texts, options.least_letters.unwrap_or(usize::MAX));
        Self { options, names, rows, by_bytes, looks, near: NearIndex::new(hashes), by_id, text_rows, texts, common }
    }

    /// Texts that are not compared since too many rows of a benchmark share them.
    pub fn common_texts(&self) -> &[CommonText] {
        &self.common
    }

    /// Texts of the benchmarks that are too short to be compared, each as often as rows have it.
    pub fn short_texts(&self) -> u64 {
        let least = self.options.least_letters.unwrap_or(0);
        self.rows.iter().flat_map(|(_, row)| &row.texts).filter(|text| text.len() < least).count() as u64
    }

    /// All rows, each with the number of its benchmark.
    pub fn rows(&self) -> &[(usize, Fingerprint)] {
        &self.rows
    }

    /// The names.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// What of the benchmarks stands in a training row.
    pub fn find(&self, source: &str, row: &Fingerprint) -> Found {
        let mut matches: BTreeMap<usize, pair::Match> = BTreeMap::new();
        self.by_picture(row, &mut matches);
        let ids: HashSet<&String> = row.ids.iter().filter(|id| self.options.compares_id(id)).collect();
        for id in ids {
            for number in self.by_id.get(id).map_or(&[][..], Vec::as_slice) {
                let found = matches.entry(*number).or_default();
                // Of several the first by name, whatever the order of the set.
                if found.id.as_ref().is_none_or(|known| known > id) {
                    found.id = Some(id.clone());
                }
            }
        }
        for text in &row.texts {
            self.texts.within(text, |number| {
                for row in &self.text_rows[number] {
                    let found = matches.entry(*row).or_default();
                    // The longest says most.
                    if found.text.is_none_or(|known| self.texts.text(known).len() < self.texts.text(number).len()) {
                        found.text = Some(number);
                    }
                }
            });
        }
        self.found(source, row, matches)
    }

    fn by_picture(&self, row: &Fingerprint, matches: &mut BTreeMap<usize, pair::Match>) {
        let pictures = row.pictures.iter().enumerate().map(|(at, picture)| (Some(at), &picture.sha256));
        for (at, sha256) in pictures.chain(row.sha256.iter().map(|hash| (None, hash))) {
            for (number, theirs) in self.by_bytes.get(sha256).map_or(&[][..], Vec::as_slice) {
                let found = matches.entry(*number).or_default();
                found.bytes = true;
                // Both with their picture rather than with a hash of it alone.
                if found.pictures.is_none_or(|(ours, known)| ours.is_none() || known.is_none()) {
                    found.pictures = Some((at, *theirs));
                }
            }
        }
        let Some(radius) = self.options.near_bits else { return };
        for (at, picture) in row.pictures.iter().enumerate() {
            let Some((hash, small)) = &picture.look else { continue };
            self.near.within(hash.0, radius, |number, distance| {
                let (number, theirs) = self.looks[number];
                let Some((_, other)) = &self.rows[number].1.pictures[theirs].look else { return };
                let difference = small.difference(other);
                if self.options.most_difference.is_some_and(|most| difference > most) {
                    return;
                }
                let found = matches.entry(number).or_default();
                let nearer = |(known, far): (u32, f32)| (distance, difference) < (known, far);
                if found.near.is_none_or(nearer) {
                    found.near = Some((distance, difference));
                    if !found.bytes {
                        found.pictures = Some((Some(at), Some(theirs)));
                    }
                }
            });
        }
    }

    fn found(&self, source: &str, row: &Fingerprint, matches: BTreeMap<usize, pair::Match>) -> Found {
        let mut found = Found::default();
        let name = |row: &Fingerprint, at: Option<usize>| at.map(|at| row.pictures[at].name.clone());
        let side = |source: &str, row: &Fingerprint, at: Option<usize>| Side {
            source: source.to_owned(),
            record: row.record,
            id: row.id.clone(),
            language: row.language,
            picture: name(row, at),
            number: at,
        };
        let mut pairs: Vec<Pair> = Vec::new();
        for (number, matched) in matches {
            let (benchmark, theirs) = &self.rows[number];
            let (here, there) = matched.pictures.unwrap_or_default();
            let reasons = matched.reasons();
            reasons.iter().for_each(|reason| *found.reasons.entry(*reason).or_default() += 1);
            found.rows.push((number, reasons.clone()));
            pairs.push(Pair {
                training: side(source, row, here),
                benchmark: side(&self.names[*benchmark], theirs, there),
                reasons,
                distance: matched.near.map(|(distance, _)| distance),
                difference: matched.near.map(|(_, difference)| difference),
                shared_id: matched.id,
                shared_text: matched.text.map(|number| self.texts.text(number).iter().collect()),
            });
        }
        // The surest first, so that what is not listed is the least of it.
        pairs.sort_by(|a, b| a.doubt().partial_cmp(&b.doubt()).unwrap_or(std::cmp::Ordering::Equal));
        found.unlisted = pairs.len().saturating_sub(self.options.most_pairs) as u64;
        pairs.truncate(self.options.most_pairs);
        found.pairs = pairs;
        found
    }
}

impl OverlapOptions {
    fn compares_id(&self, id: &str) -> bool {
        !id.is_empty() && (self.numbers || !id.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

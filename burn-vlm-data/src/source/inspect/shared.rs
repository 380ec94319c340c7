//! Pictures that two splits have in common: what a model has seen in training is no test of it.

use super::super::Source;
use super::Inspection;
use std::fmt;
use std::sync::Arc;

/// Places that are named.
const SHOWN: usize = 3;

/// What two splits share, by the bytes of their pictures.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct SharedPictures {
    /// Different pictures of the first split.
    pub pictures: u64,
    /// Those that the second has too.
    pub shared: u64,
    /// The first of them: where they stand in the one and in the other.
    pub examples: Vec<(String, String)>,
}

/// A split: its sources, as they were looked at with their pictures decoded.
pub type Split = [(Arc<dyn Source>, Inspection)];

/// Compares the pictures of two splits. A picture that was encoded anew (another size, another quality) is another one.
pub fn shared_pictures(one: &Split, other: &Split) -> SharedPictures {
    let mut found = SharedPictures::default();
    let mut keys: Vec<_> = one
        .iter()
        .enumerate()
        .flat_map(|(at, (_, inspection))| inspection.first_seen.iter().map(move |(key, record)| (*key, at, *record)))
        .collect();
    keys.sort_by_key(|(key, at, record)| (*key, *at, *record));
    keys.dedup_by_key(|(key, ..)| *key);
    found.pictures = keys.len() as u64;
    // In the order of the first split, so that the examples are its first.
    keys.sort_by_key(|(_, at, record)| (*at, *record));
    for (key, at, record) in keys {
        let twin = other.iter().find_map(|(source, inspection)| Some((source, *inspection.first_seen.get(&key)?)));
        let Some((twin, theirs)) = twin else { continue };
        found.shared += 1;
        if found.examples.len() < SHOWN {
            found.examples.push((place(&one[at].0, record), place(twin, theirs)));
        }
    }
    found
}

fn place(source: &Arc<dyn Source>, record: u64) -> String {
    match source.get(record) {
        Ok(sample) => format!("{} record {record} (id {:?})", source.name(), sample.id),
        Err(_) => format!("{} record {record}", source.name()),
    }
}

impl fmt::Display for SharedPictures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pictures, shared, examples } = self;
        let share = 100.0 * *shared as f64 / (*pictures).max(1) as f64;
        write!(f, "{shared} of {pictures} pictures ({share:.1} %) stand in both")?;
        for (one, other) in examples {
            write!(f, "\n  {one} = {other}")?;
        }
        let more = shared.saturating_sub(examples.len() as u64);
        if more > 0 { write!(f, "\n  and {more} more") } else { Ok(()) }
    }
}

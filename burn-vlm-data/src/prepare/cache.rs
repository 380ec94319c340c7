//! Conversations that were encoded before: small data is drawn again and again, and writing a template costs more than a step's share.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock};

use crate::conversation::Turn;
use crate::encode::Encoded;

/// Tokens that are kept at most, 12 bytes each: 48 MB beside the conversations themselves.
const MOST_TOKENS: usize = 4 << 20;

/// Encodings by conversation, until there are too many; then what is new is encoded anew each time.
#[derive(Default)]
pub(super) struct EncodedCache {
    hasher: RandomState,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    by_hash: HashMap<u64, Vec<Entry>>,
    tokens: usize,
}

struct Entry {
    turns: Box<[Turn]>,
    counts: Box<[usize]>,
    encoded: Arc<Encoded>,
}

impl EncodedCache {
    /// The encoding of these turns with so many visual tokens for each picture: as it is known, or as `encode` makes it.
    ///
    /// # Errors
    /// What `encode` fails with.
    pub(super) fn get<E>(
        &self,
        turns: &[Turn],
        counts: &[usize],
        encode: impl FnOnce() -> Result<Encoded, E>,
    ) -> Result<Arc<Encoded>, E> {
        let hash = self.hasher.hash_one((turns, counts));
        {
            // A poisoned lock guards a table that is whole: it is changed by single calls.
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let found = known.by_hash.get(&hash).into_iter().flatten();
            if let Some(entry) = found.into_iter().find(|entry| *entry.turns == *turns && *entry.counts == *counts) {
                return Ok(entry.encoded.clone());
            }
        }
        let encoded = Arc::new(encode()?);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.tokens + encoded.ids.len() <= MOST_TOKENS {
            known.tokens += encoded.ids.len();
            let entry = Entry { turns: turns.into(), counts: counts.into(), encoded: encoded.clone() };
            known.by_hash.entry(hash).or_default().push(entry);
        }
        Ok(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_conversation_is_encoded_once() {
        let cache = EncodedCache::default();
        let turns = |text: &str| vec![Turn::user(text), Turn::assistant("b")];
        let get = |text: &str, count: usize| {
            let made = || Ok::<_, ()>(Encoded { ids: vec![text.len() as u32, count as u32], ..Default::default() });
            cache.get(&turns(text), &[count], made).unwrap()
        };
        let first = get("a", 1);
        assert!(Arc::ptr_eq(&first, &get("a", 1)));
        assert_eq!(get("a", 2).ids, [1, 2]);
        assert_eq!(get("aa", 1).ids, [2, 1]);
        assert!(cache.get(&turns("c"), &[], || Err::<Encoded, _>("no")).is_err());
    }
}

//! Several sources as one endless stream of samples, in an order that depends on the seed alone.
//!
//! Unusual here:
//! - position -> sample is a pure function: a run resumes from its position, and workers need no order among themselves;
//! - a record that cannot be used is replaced by another one of its group (same source, same language), so that batches stay
//!   full and ratios hold; which one is a pure function, too. It is listed, and counted against the limit;
//! - nothing decoded is kept: `make`, which runs in worker threads, takes what it needs of a sample's pictures.

mod chunks;
mod interleave;
mod order;

use super::{Skip, SkipLog, SkipLogError, SkipReason, SkipSummary, Source};
use crate::loader::{LoaderError, Prefetcher};
use crate::mixture::Share;
use crate::random::{hash_bytes, mix};
use crate::sample::Sample;
use chunks::Chunks;
use interleave::Interleave;
use order::Order;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Records that are tried for one place before the stream gives up.
const ATTEMPTS: u64 = 32;

/// Records of one source that are drawn together.
#[derive(Debug, Clone)]
pub struct Group {
    /// Number of the source.
    pub source: usize,
    /// Which of its records.
    pub records: Records,
    /// How many are drawn in an epoch of the stream; fewer than there are (the next epoch goes on with others), as many, or
    /// more (each again and again, evenly).
    pub draws: u64,
}

/// Numbers of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// From one to before another.
    Range(Range<u64>),
    /// A list that rises.
    List(Arc<[u64]>),
}

/// How a stream is shuffled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamOptions {
    /// Decides the order.
    pub seed: u64,
    /// About how many bytes of parquet rows are held to shuffle them, over all groups; twice as much while one pool follows
    /// another. Other formats hold nothing: any record of theirs can be read on its own.
    pub shuffle_bytes: u64,
    /// The share of each source's records that is held out, the same whatever the seed is; see [`Source::split_key`].
    pub held_out: Share,
}

impl Share {
    /// Whether a record with this [key](Source::split_key) is in the share that is held out: a function of the key alone.
    pub fn holds_out(self, key: u64) -> bool {
        const SALT: u64 = 0x6865_6c64_206f_7574;
        mix(SALT, key) % Share::ONE.parts() < self.parts()
    }
}

impl StreamOptions {
    /// A seed, and 64 MiB of rows.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, shuffle_bytes: 64 << 20, held_out: Share::ZERO }
    }
}

/// Sources mixed by groups.
pub struct Mixed {
    sources: Vec<Arc<dyn Source>>,
    groups: Vec<OpenGroup>,
    interleave: Interleave,
    seed: u64,
}

struct OpenGroup {
    group: Group,
    order: Order,
    /// Where records are read in chunks.
    chunks: Option<Chunks>,
}

/// A sample of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn<T> {
    /// Its position.
    pub position: u64,
    /// The group that it was drawn from.
    pub group: usize,
    /// What was made of it.
    pub item: T,
    /// Records that were to stand here and cannot be used.
    pub skipped: Vec<Skip>,
}

/// Where a stream stands; all that a checkpoint needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// The position that comes next.
    pub position: u64,
    /// The seed.
    pub seed: u64,
    /// The groups by which the order was made.
    pub groups: Vec<GroupState>,
}

/// What a group was when the state was taken; with other numbers the order would be another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    /// Name of its source.
    pub source: String,
    /// Number of its records.
    pub records: u64,
    /// A hash of which these are.
    pub chosen: u64,
    /// Draws in an epoch.
    pub draws: u64,
    /// Records read together.
    pub chunk: u64,
}

impl std::fmt::Display for GroupState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, records, chosen, draws, chunk } = self;
        write!(
            f,
            "source {source:?} ({draws} draws from {records} records, choice {chosen:016x}, read {chunk} together)"
        )
    }
}

/// A stream that cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Nothing can be drawn.
    #[error("the mixture is empty: no group has records and draws")]
    Empty,
    /// A group that makes no sense.
    #[error("group {group} of source {source_name:?}: {reason}")]
    Group {
        /// Number of the group.
        group: usize,
        /// Name of its source, or its number.
        source_name: String,
        /// What is wrong.
        reason: String,
    },
    /// The state belongs to other data.
    #[error("the data is not what the checkpoint was made with: {reason}; restore the data, or begin anew")]
    State {
        /// What differs.
        reason: String,
    },
    /// None of many records can be used.
    #[error(
        "source {source_name:?}: {attempts} tries at its records (some of them twice) found none that can be used: {summary}"
    )]
    NothingUsable {
        /// The position.
        position: u64,
        /// Name of the source.
        source_name: String,
        /// Records that were tried.
        attempts: u64,
        /// What is wrong with them.
        summary: SkipSummary,
        /// Each of them.
        skipped: Vec<Skip>,
    },
    /// Too much was left out, or that cannot be written down.
    #[error(transparent)]
    Skipped(#[from] SkipLogError),
    /// A worker thread failed.
    #[error(transparent)]
    Worker(#[from] LoaderError<Box<StreamError>>),
}

impl Records {
    /// Number of records.
    pub fn len(&self) -> u64 {
        match self {
            Self::Range(range) => range.end.saturating_sub(range.start),
            Self::List(list) => list.len() as u64,
        }
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them; `rank` is below [`Self::len`].
    pub fn get(&self, rank: u64) -> u64 {
        match self {
            Self::Range(range) => range.start + rank,
            Self::List(list) => list.get(rank as usize).copied().unwrap_or(u64::MAX),
        }
    }

    fn check(&self, len: u64) -> Result<(), String> {
        let last = match self {
            Self::Range(range) => range.end.checked_sub(1),
            Self::List(list) if !list.windows(2).all(|pair| pair[0] < pair[1]) => {
                return Err("the list of records does not rise".to_owned());
            }
            Self::List(list) => list.last().copied(),
        };
        match last.filter(|last| *last >= len) {
            Some(last) => Err(format!("record {last} is not there, the source has {len}")),
            None => Ok(()),
        }
    }

    /// A number that other records do not have.
    pub fn hash(&self) -> u64 {
        match self {
            Self::Range(range) => mix(range.start, range.end),
            Self::List(list) => list.iter().fold(list.len() as u64, |hash, record| mix(hash, *record)),
        }
    }
}

impl Mixed {
    /// Mixes groups of sources; an epoch has as many positions as the groups have draws.
    ///
    /// # Errors
    /// A group without records that is to be drawn from, records that its source does not have, no draws at all.
    pub fn new(sources: Vec<Arc<dyn Source>>, groups: Vec<Group>, options: StreamOptions) -> Result<Self, StreamError> {
        let together = |group: &Group| sources.get(group.source).and_then(|source| source.bytes_together());
        let sequential = groups.iter().filter(|group| group.draws > 0 && together(group).is_some()).count() as u64;
        let budget = options.shuffle_bytes.checked_div(sequential).unwrap_or(0);
        let open = |(number, group): (usize, Group)| {
            let fail = |source_name: String, reason: String| StreamError::Group { group: number, source_name, reason };
            let Some(source) = sources.get(group.source) else {
                return Err(fail(group.source.to_string(), format!("there are {} sources", sources.len())));
            };
            let name = source.name().to_owned();
            group.records.check(source.len()).map_err(|reason| fail(name.clone(), reason))?;
            let len = group.records.len();
            if len == 0 && group.draws > 0 {
                return Err(fail(name.clone(), format!("{} draws from no records", group.draws)));
            }
            let seed = mix(mix(options.seed, hash_bytes(name.as_bytes())), number as u64 + 1);
            let order = match together(&group) {
                None => Order::full(len, seed),
                Some(bytes) => Order::pooled(len, budget / bytes.max(1), seed),
            };
            let chunks = together(&group).map(|_| Chunks::new(order.chunks_in_use()));
            Ok(OpenGroup { group, order, chunks })
        };
        let groups: Vec<OpenGroup> = groups.into_iter().enumerate().map(open).collect::<Result<_, _>>()?;
        let interleave = Interleave::new(groups.iter().map(|group| group.group.draws).collect(), options.seed);
        if interleave.len() == 0 {
            return Err(StreamError::Empty);
        }
        Ok(Self { sources, groups, interleave, seed: options.seed })
    }

    /// Positions of an epoch.
    pub fn epoch_len(&self) -> u64 {
        self.interleave.len()
    }

    /// The sources.
    pub fn sources(&self) -> &[Arc<dyn Source>] {
        &self.sources
    }

    /// The group and the number of the record that stand at a position.
    pub fn at(&self, position: u64) -> Option<(usize, u64)> {
        let (number, draw) = self.interleave.at(position)?;
        let OpenGroup { group, order, .. } = &self.groups[number];
        let spot = order.spot(draw);
        let rank = order.members(spot.epoch, spot.chunk).get(spot.member).copied()?;
        Some((number, group.records.get(rank)))
    }

    /// The number of the source, among [`Self::sources`], that a position draws from.
    pub fn source_at(&self, position: u64) -> Option<usize> {
        let (number, _) = self.interleave.at(position)?;
        Some(self.groups[number].group.source)
    }

    /// The sample at a position, as `make` makes it. Where `make` or the reader refuses a record, another one of the group takes
    /// its place.
    ///
    /// # Errors
    /// None of many records of the group can be used.
    pub fn get<T>(
        &self,
        position: u64,
        make: impl Fn(&Sample) -> Result<T, SkipReason>,
    ) -> Result<Drawn<T>, StreamError> {
        let (number, draw) = self.interleave.at(position).ok_or(StreamError::Empty)?;
        let open = &self.groups[number];
        let source = &self.sources[open.group.source];
        let mut skipped = Vec::new();
        for attempt in 0..ATTEMPTS {
            let (record, sample) =
                if attempt == 0 { self.drawn(open, draw) } else { self.other(open, position, attempt) };
            let made = sample
                .and_then(|sample| make(&sample).map_err(|reason| Box::new(source.skip_of(record, &sample, reason))));
            match made {
                Ok(item) => return Ok(Drawn { position, group: number, item, skipped }),
                Err(skip) => skipped.push(*skip),
            }
        }
        let mut summary = SkipSummary::default();
        skipped.iter().for_each(|skip| summary.add(skip));
        let source_name = source.name().to_owned();
        Err(StreamError::NothingUsable { position, source_name, attempts: ATTEMPTS, summary, skipped })
    }

    /// The record that a draw finds.
    fn drawn(&self, open: &OpenGroup, draw: u64) -> (u64, Result<Sample, Box<Skip>>) {
        let source = &self.sources[open.group.source];
        let spot = open.order.spot(draw);
        let ranks = open.order.members(spot.epoch, spot.chunk);
        let records: Vec<u64> = ranks.iter().map(|rank| open.group.records.get(*rank)).collect();
        let record = records.get(spot.member).copied().unwrap_or(u64::MAX);
        let Some(chunks) = &open.chunks else { return (record, source.get(record)) };
        let sample = chunks.get((spot.epoch, spot.chunk), spot.member, || source.get_many(&records));
        (record, sample.unwrap_or_else(|| source.get(record)))
    }

    /// The record that takes the place of one that cannot be used.
    fn other(&self, open: &OpenGroup, position: u64, attempt: u64) -> (u64, Result<Sample, Box<Skip>>) {
        let rank = mix(mix(self.seed, position), attempt) % open.group.records.len();
        let record = open.group.records.get(rank);
        (record, self.sources[open.group.source].get(record))
    }

    /// The state at a position.
    pub fn state(&self, position: u64) -> StreamState {
        let group = |open: &OpenGroup| GroupState {
            source: self.sources[open.group.source].name().to_owned(),
            records: open.group.records.len(),
            chosen: open.group.records.hash(),
            draws: open.group.draws,
            chunk: open.order.chunk(),
        };
        StreamState { position, seed: self.seed, groups: self.groups.iter().map(group).collect() }
    }

    /// The position of a state that was taken from this mixture.
    ///
    /// # Errors
    /// A state of other data, or of another seed.
    pub fn resume(&self, state: &StreamState) -> Result<u64, StreamError> {
        let own = self.state(state.position);
        if own == *state {
            return Ok(state.position);
        }
        let reason = if own.seed != state.seed {
            format!("seed {} became {}", state.seed, own.seed)
        } else if own.groups.len() != state.groups.len() {
            format!("{} groups became {}", state.groups.len(), own.groups.len())
        } else {
            let differs = own.groups.iter().zip(&state.groups).find(|(own, then)| own != then);
            differs.map_or_else(String::new, |(own, then)| format!("{then} became {own}"))
        };
        Err(StreamError::State { reason })
    }

    /// The samples from a position on, made by `workers` threads of position and record, at most `ahead` of them waiting. What
    /// cannot be used goes to the log, in the order of positions.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn stream<T, F>(
        self: &Arc<Self>,
        positions: Range<u64>,
        (workers, ahead): (usize, usize),
        log: Arc<SkipLog>,
        make: F,
    ) -> Result<Draws<T>, StreamError>
    where
        T: Send + 'static,
        F: Fn(u64, &Sample) -> Result<T, SkipReason> + Send + Sync + 'static,
    {
        let mixed = self.clone();
        let item = move |position| mixed.get(position, |sample| make(position, sample)).map_err(Box::new);
        let items = Prefetcher::new(positions, workers, ahead, item)?;
        Ok(Draws { mixed: self.clone(), items, log })
    }
}

/// Samples in the order of their positions.
pub struct Draws<T> {
    mixed: Arc<Mixed>,
    items: Prefetcher<Drawn<T>, Box<StreamError>>,
    log: Arc<SkipLog>,
}

impl<T> Draws<T> {
    /// The state after the samples that were taken.
    pub fn state(&self) -> StreamState {
        self.mixed.state(self.items.position())
    }
}

impl<T> Iterator for Draws<T> {
    type Item = Result<Drawn<T>, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        let drawn = match self.items.next()? {
            Ok(drawn) => drawn,
            Err(LoaderError::Item { source, .. }) => {
                if let StreamError::NothingUsable { position, skipped, .. } = &*source {
                    // The error itself is what is told; the list is for whoever looks into the data.
                    let _ = self.log.record(position + 1, skipped.iter().cloned());
                }
                return Some(Err(*source));
            }
            Err(error) => return Some(Err(error.into())),
        };
        let noted = self.log.record(drawn.position + 1, drawn.skipped.iter().cloned());
        Some(noted.map(|()| drawn).map_err(StreamError::from))
    }
}

//! How many samples are drawn of each source in each language, and which one comes at which position.
//!
//! Unusual here:
//! - all numbers are exact integers, and the same samples are drawn on every machine;
//! - an epoch always holds the same samples, in an order of its own: "ten or twenty languages at equal size" compares sets
//!   of samples, not of draws;
//! - a source's samples do not change when another source is added, unless its share does.

use super::amount::Share;
use super::apportion::largest_remainder;
use super::config::{MixtureConfig, TEXT};
use super::error::{PlanError, Shortage};
use super::languages::{Balance, LanguageRatios};
use crate::language::Language;
use crate::random::{hash_bytes, mix};
use crate::sampler::Shuffled;
use std::collections::BTreeMap;

/// Number of samples of one source by language, after [`crate::mixture::Take`]; `None` is "no known language".
pub type LanguageCounts = BTreeMap<Option<Language>, u64>;

/// The samples of one source in one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Number of the source in the mixture.
    pub source: usize,
    /// The language; `None` is "no known language".
    pub language: Option<Language>,
    /// Samples there are.
    pub available: u64,
    /// Samples drawn in an epoch; more than `available` only where repeats are allowed.
    pub draw: u64,
    /// Which of them, and in which order.
    order: Shuffled,
}

/// One sample of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Drawn {
    /// Number of the source in the mixture.
    pub source: usize,
    /// The language.
    pub language: Option<Language>,
    /// Its number among the chosen samples of that source in that language, in the source's order, from 0.
    pub rank: u64,
}

/// What a mixture draws.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    cells: Vec<Cell>,
    /// Where each cell's draws end.
    ends: Vec<u64>,
    order: Shuffled,
}

impl Plan {
    /// The plan of a mixture whose sources have so many samples; `counts` has an entry for every source, an empty one where
    /// [`MixtureConfig::active`] is false.
    ///
    /// # Errors
    /// Too few samples of a source or language (all that lack are named, with the size that would do), or none at all.
    pub fn new(config: &MixtureConfig, counts: &[LanguageCounts]) -> Result<Self, PlanError> {
        if counts.len() != config.sources.len() {
            return Err(PlanError::Counts { counts: counts.len(), sources: config.sources.len() });
        }
        let wanted = |language: &Option<Language>| match &config.languages {
            Some(ratios) => language.is_some_and(|language| ratios.list.contains(&language)),
            None => true,
        };
        let cell = |source: usize, language: Option<Language>, available: u64| {
            let salt = language.map_or(0, |language| hash_bytes(language.tag().as_bytes()));
            let seed = mix(config.source_seed(source), salt);
            Cell { source, language, available, draw: 0, order: Shuffled::new(available as usize, seed) }
        };
        let active = config.active();
        let entries = counts.iter().enumerate().filter(|(source, _)| active[*source]);
        let cells =
            entries.flat_map(|(source, counts)| counts.iter().map(move |(language, n)| (source, *language, *n)));
        let cells = cells.filter(|(_, language, available)| *available > 0 && wanted(language));
        let cells: Vec<Cell> = cells.map(|(source, language, available)| cell(source, language, available)).collect();
        let mut division = Division { config, cells };
        if division.cells.is_empty() {
            let within = if config.languages.is_some() { " in the languages asked for" } else { "" };
            return Err(PlanError::Empty { within: within.to_owned() });
        }
        division.divide()?;
        let mut cells = division.cells;
        cells.retain(|cell| cell.draw > 0);
        let mut total = 0;
        let end = |cell: &Cell| {
            total += cell.draw;
            total
        };
        let ends = cells.iter().map(end).collect();
        Ok(Self { cells, ends, order: Shuffled::new(total as usize, mix(config.seed, 0x006d_6978)) })
    }

    /// Number of samples of an epoch.
    pub fn len(&self) -> u64 {
        self.order.len() as u64
    }

    /// True for a plan without samples.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Sources and languages that samples are drawn of.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The sample at a position, counted over epochs from the start of training. `None` for an empty plan.
    pub fn get(&self, position: u64) -> Option<Drawn> {
        let place = self.order.index(position) as u64;
        let cell = self.ends.partition_point(|end| *end <= place);
        let Cell { source, language, draw, order, .. } = self.cells.get(cell)?;
        // Beyond the cell's samples its order starts over with another shuffle.
        let rank = order.index(place + draw - self.ends[cell]) as u64;
        Some(Drawn { source: *source, language: *language, rank })
    }

    /// Draws in an epoch by language, in the order of [`Language::ALL`].
    pub fn by_language(&self) -> LanguageCounts {
        self.cells.iter().fold(LanguageCounts::new(), |mut counts, cell| {
            *counts.entry(cell.language).or_default() += cell.draw;
            counts
        })
    }

    /// Draws in an epoch of the source with a number.
    pub fn of_source(&self, source: usize) -> u64 {
        self.cells.iter().filter(|cell| cell.source == source).map(|cell| cell.draw).sum()
    }
}

impl Cell {
    /// How often an epoch holds the sample with a rank: for readers that go through a source from its beginning.
    pub fn copies(&self, rank: u64) -> u64 {
        let (epochs, rest) = (self.draw / self.available.max(1), self.draw % self.available.max(1));
        let in_rest = self.order.position(epochs, rank as usize).is_some_and(|position| position < rest);
        if rank < self.available { epochs + u64::from(in_rest) } else { 0 }
    }
}

impl MixtureConfig {
    /// The seed of what is random about one source: for [`crate::mixture::Take::select`], and for its samples in a plan.
    pub fn source_seed(&self, source: usize) -> u64 {
        let name = self.sources.get(source).map_or("", |source| source.name.as_str());
        mix(self.seed, hash_bytes(name.as_bytes()))
    }

    /// The samples by language that the file itself declares (`samples`, `take` and `language`): enough for a dry run.
    ///
    /// # Errors
    /// A source that takes more than it declares. Sources that declare nothing count nothing.
    pub fn declared_counts(&self) -> Result<Vec<LanguageCounts>, PlanError> {
        let counts = |(index, source): (usize, &super::SourceConfig)| {
            let Some(samples) = source.samples else { return Ok(LanguageCounts::new()) };
            let selection = source.take.select(samples, self.source_seed(index));
            let selection = selection.map_err(|reason| PlanError::Take { source_name: source.name.clone(), reason })?;
            Ok(LanguageCounts::from([(source.language, selection.len())]))
        };
        self.sources.iter().enumerate().map(counts).collect()
    }
}

/// The arithmetic: groups of cells get their parts of the total, then cells theirs of the group's.
struct Division<'a> {
    config: &'a MixtureConfig,
    cells: Vec<Cell>,
}

/// Bits of the sum of weights that are kept.
const MOST_BITS: u32 = 62;
/// Bits of a product of weights that leave room for a share in billionths, which has 30.
const MOST_BITS_OF_PRODUCT: u32 = 96;

/// Cells that share a part of the total.
struct Group {
    source: Option<usize>,
    language: Option<Language>,
    /// Its part of the total, beside those of the other groups.
    weight: u64,
    /// Its cells, each with its part of the group's.
    cells: Vec<(usize, u64)>,
}

impl Division<'_> {
    fn divide(&mut self) -> Result<(), PlanError> {
        let config = self.config;
        let weighted = config.sources.iter().any(|source| source.weight.is_some());
        let groups = match &config.languages {
            Some(ratios) => self.by_language(ratios, weighted),
            // Nothing asks for less than all.
            None if !weighted && config.total.is_none() && config.text.is_none() => {
                self.cells.iter_mut().for_each(|cell| cell.draw = cell.available);
                return Ok(());
            }
            None => self.by_source(weighted),
        };
        let total = config.total.unwrap_or_else(|| self.largest(&groups));
        let parts = self.draw(&groups, total);
        let shortages = self.shortages(&groups, &parts);
        let hopeless = shortages.iter().any(|shortage| shortage.available == 0);
        if !shortages.is_empty() && (hopeless || !config.allow_repeats) {
            let help = match self.largest(&groups) {
                0 => "leave out what has no samples".to_owned(),
                largest => format!("set total = {largest} or less, or allow_repeats = true"),
            };
            return Err(PlanError::Shortage { shortages, help });
        }
        if self.cells.iter().all(|cell| cell.draw == 0) {
            return Err(PlanError::Empty { within: " in any language or source that has a share".to_owned() });
        }
        Ok(())
    }

    /// One group a language.
    fn by_language(&self, ratios: &LanguageRatios, weighted: bool) -> Vec<Group> {
        let group = |language: Language| {
            let cells = self.cells.iter().enumerate().filter(|(_, cell)| cell.language == Some(language));
            let cells = cells.map(|(index, cell)| (index, self.cell_weight(cell, weighted))).collect();
            Group { source: None, language: Some(language), weight: 0, cells }
        };
        let mut groups: Vec<Group> = ratios.list.iter().map(|language| group(*language)).collect();
        let sizes: Vec<u64> = groups.iter().map(|group| self.available(group)).collect();
        for (group, size) in groups.iter_mut().zip(&sizes) {
            group.weight = match ratios.balance {
                Balance::Uniform => 1,
                Balance::Proportional => *size,
            };
        }
        if let Some(share) = ratios.english {
            let (english, others): (Vec<_>, Vec<_>) =
                groups.iter_mut().partition(|group| group.language == Some(Language::EN));
            weigh_share(share, english, others);
        }
        groups
    }

    /// One group a source.
    fn by_source(&self, weighted: bool) -> Vec<Group> {
        let active = self.config.active();
        let group = |source: usize| {
            let cells = self.cells.iter().enumerate().filter(|(_, cell)| cell.source == source);
            let cells = cells.map(|(index, cell)| (index, cell.available)).collect();
            let mut group = Group { source: Some(source), language: None, weight: 0, cells };
            group.weight = match self.config.sources[source].weight {
                Some(weight) if weighted => weight.parts(),
                _ => self.available(&group),
            };
            group
        };
        let mut groups: Vec<Group> =
            (0..self.config.sources.len()).filter(|source| active[*source]).map(group).collect();
        if let Some(share) = self.config.text {
            let is_text = |group: &&mut Group| {
                let source = group.source.and_then(|source| self.config.sources.get(source));
                source.is_some_and(|source| source.tags.iter().any(|tag| tag == TEXT))
            };
            let (text, others): (Vec<_>, Vec<_>) = groups.iter_mut().partition(is_text);
            weigh_share(share, text, others);
        }
        groups
    }

    fn cell_weight(&self, cell: &Cell, weighted: bool) -> u64 {
        match self.config.sources[cell.source].weight {
            Some(weight) if weighted => weight.parts(),
            _ => cell.available,
        }
    }

    fn available(&self, group: &Group) -> u64 {
        group.cells.iter().map(|(cell, _)| self.cells[*cell].available).sum()
    }

    /// Divides a total among the groups, and each part among the group's cells; the parts.
    fn draw(&mut self, groups: &[Group], total: u64) -> Vec<u64> {
        self.cells.iter_mut().for_each(|cell| cell.draw = 0);
        let weights: Vec<u64> = groups.iter().map(|group| group.weight).collect();
        let parts = largest_remainder(total, &weights);
        for (group, part) in groups.iter().zip(&parts) {
            let weights: Vec<u64> = group.cells.iter().map(|(_, weight)| *weight).collect();
            for ((cell, _), draw) in group.cells.iter().zip(largest_remainder(*part, &weights)) {
                self.cells[*cell].draw = draw;
            }
        }
        parts
    }

    /// Groups that have less than their part, and cells that have less than theirs.
    fn shortages(&self, groups: &[Group], parts: &[u64]) -> Vec<Shortage> {
        let name = |source: usize| self.config.sources[source].name.clone();
        let mut shortages = Vec::new();
        for (group, part) in groups.iter().zip(parts).filter(|(group, _)| group.weight > 0) {
            let usable = group.cells.iter().filter(|(_, weight)| *weight > 0).map(|(cell, _)| &self.cells[*cell]);
            let available = usable.clone().map(|cell| cell.available).sum();
            if available == 0 || *part > available {
                let (source_name, language, wanted) = (group.source.map(name), group.language, (*part).max(1));
                shortages.push(Shortage { source_name, language, wanted, available });
                continue;
            }
            shortages.extend(usable.filter(|cell| cell.draw > cell.available).map(|cell| Shortage {
                source_name: Some(name(cell.source)),
                language: cell.language,
                wanted: cell.draw,
                available: cell.available,
            }));
        }
        shortages
    }

    /// The largest total that needs no repeats; 0 where a group with a share has nothing to give.
    fn largest(&self, groups: &[Group]) -> u64 {
        let sum: u128 = groups.iter().map(|group| u128::from(group.weight)).sum();
        let mut largest = u64::MAX;
        for group in groups.iter().filter(|group| group.weight > 0) {
            let inner: u128 = group.cells.iter().map(|(_, weight)| u128::from(*weight)).sum();
            if inner == 0 {
                return 0;
            }
            for (cell, weight) in group.cells.iter().filter(|(_, weight)| *weight > 0) {
                // total * group.weight / sum * weight / inner <= available, in two steps that do not overflow.
                let available = u128::from(self.cells[*cell].available);
                let part = (available * inner / u128::from(*weight)).min(u128::from(u64::MAX));
                let total = part.saturating_mul(sum) / u128::from(group.weight);
                largest = largest.min(u64::try_from(total).unwrap_or(u64::MAX));
            }
        }
        if largest == u64::MAX {
            return 0;
        }
        // The parts are rounded twice, which may add a sample to one that is just exhausted.
        let mut trial = Division { config: self.config, cells: self.cells.clone() };
        while largest > 0 {
            trial.draw(groups, largest);
            if trial.cells.iter().all(|cell| cell.draw <= cell.available) {
                break;
            }
            largest -= 1;
        }
        largest
    }
}

/// Weights in which some groups have `share` together and the others the rest; each side keeps its weights among itself.
fn weigh_share(share: Share, mut some: Vec<&mut Group>, mut others: Vec<&mut Group>) {
    if share != Share::ONE && others.iter().all(|group| group.weight == 0) {
        // They have a share but no samples, which must not pass for "English alone".
        others.iter_mut().for_each(|group| group.weight = 1);
    }
    let sum = |groups: &[&mut Group]| groups.iter().map(|group| group.weight).sum::<u64>().max(1);
    match &mut some[..] {
        // One group alone, as English is, needs no weight within its side.
        [group] => group.weight = 1,
        some if share != Share::ZERO && some.iter().all(|group| group.weight == 0) => {
            some.iter_mut().for_each(|group| group.weight = 1);
        }
        _ => {}
    }
    let (of_some, of_others) = (sum(&some), sum(&others));
    // Billionths of products of numbers of samples are beyond 64 bits: the larger numbers lose their last digits, and so do products that
    // leave no room for the billionths.
    let most = u128::from(of_some) * u128::from(of_others);
    let room = most.checked_ilog2().map_or(0, |bits| bits.saturating_sub(MOST_BITS_OF_PRODUCT));
    let scaled = |share: Share, weight: u64, other: u64| {
        let product = u128::from(weight) * u128::from(other);
        u128::from(share.parts()) * (product >> room)
    };
    let all: Vec<u128> = some
        .iter()
        .map(|group| scaled(share, group.weight, of_others))
        .chain(others.iter().map(|group| scaled(share.rest(), group.weight, of_some)))
        .collect();
    let shift = all.iter().sum::<u128>().checked_ilog2().map_or(0, |bits| bits.saturating_sub(MOST_BITS));
    for (group, weight) in some.into_iter().chain(others).zip(all) {
        group.weight = u64::try_from(weight >> shift).unwrap_or(u64::MAX);
    }
}

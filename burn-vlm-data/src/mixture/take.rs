//! Which samples of a source are used at all: all, the first, the last, or a random part.

use super::amount::Share;
use crate::sampler::Shuffled;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A number of samples, or a part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(u64),
    /// That part, rounded up.
    Percent(Share),
}

/// The samples of a source that are used: LLaVA-NeXT's `sampling_strategy`.
///
/// Written `"all"`, `"first:1000"`, `"end:1000"`, `"random:1000"`, each also with a percentage (`"first:10%"`); a
/// percentage alone is random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Take {
    /// All.
    #[default]
    All,
    /// Those at the beginning.
    First(Amount),
    /// Those at the end, in their order.
    End(Amount),
    /// A seeded random part, the same in every epoch.
    Random(Amount),
}

/// More samples are asked for than a source has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("take = \"{take}\" asks for {wanted} samples, the source has {available}; use \"all\" or a percentage")]
pub struct TakesTooMany {
    /// What is asked for.
    pub take: Take,
    /// As a number.
    pub wanted: u64,
    /// Number of samples of the source.
    pub available: u64,
}

/// The chosen samples of a source with a known number of samples: rank `0..len` -> index in the source, and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    len: u64,
    order: Order,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    From(u64),
    Shuffled(Shuffled),
}

impl Take {
    /// The samples that are chosen of a source of `available` samples; `seed` decides for [`Take::Random`] alone.
    ///
    /// # Errors
    /// A count that is larger than the source.
    pub fn select(self, available: u64, seed: u64) -> Result<Selection, TakesTooMany> {
        let (Take::First(amount) | Take::End(amount) | Take::Random(amount)) = self else {
            return Ok(Selection { len: available, order: Order::From(0) });
        };
        let len = match amount {
            Amount::Count(count) => count,
            Amount::Percent(share) => share.of(available),
        };
        if len > available {
            return Err(TakesTooMany { take: self, wanted: len, available });
        }
        let order = match self {
            Take::All | Take::First(_) => Order::From(0),
            Take::End(_) => Order::From(available - len),
            Take::Random(_) => Order::Shuffled(Shuffled::new(available as usize, seed)),
        };
        Ok(Selection { len, order })
    }
}

impl Selection {
    /// Number of chosen samples.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if none is chosen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The index in the source of the chosen sample number `rank`; `None` from [`Selection::len`] on.
    pub fn index(&self, rank: u64) -> Option<u64> {
        (rank < self.len).then(|| match self.order {
            Order::From(start) => start + rank,
            Order::Shuffled(order) => order.index(rank) as u64,
        })
    }

    /// True if the sample at an index of the source is chosen: for readers that go through a source from its beginning.
    pub fn contains(&self, index: u64) -> bool {
        let rank = match self.order {
            Order::From(start) => index.checked_sub(start),
            Order::Shuffled(order) => order.position(0, index as usize),
        };
        rank.is_some_and(|rank| rank < self.len)
    }
}

impl FromStr for Take {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "expected \"all\", \"first:N\", \"end:N\", \"random:N\" or a percentage such as \"10%\" (N may be one too), found {text:?}"
            )
        };
        if text == "all" {
            return Ok(Take::All);
        }
        let amount = |text: &str| -> Result<Amount, String> {
            if text.ends_with('%') {
                return text.parse().map(Amount::Percent);
            }
            let digits = text.replace('_', "");
            let count = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
            count.map(Amount::Count).ok_or_else(wrong)
        };
        match text.split_once(':') {
            Some(("first", number)) => amount(number).map(Take::First),
            Some(("end", number)) => amount(number).map(Take::End),
            Some(("random", number)) => amount(number).map(Take::Random),
            None if text.ends_with('%') => amount(text).map(Take::Random),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Take {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Take> for String {
    fn from(take: Take) -> Self {
        take.to_string()
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(share) => share.fmt(f),
        }
    }
}

impl fmt::Display for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::First(amount) => write!(f, "first:{amount}"),
            Self::End(amount) => write!(f, "end:{amount}"),
            Self::Random(amount) => write!(f, "random:{amount}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(take: &str, available: u64) -> Vec<u64> {
        let selection = take.parse::<Take>().unwrap().select(available, 5).unwrap();
        let chosen: Vec<u64> = (0..).map_while(|rank| selection.index(rank)).collect();
        assert_eq!(chosen.len() as u64, selection.len());
        // Both directions say the same.
        let mut sorted = chosen.clone();
        sorted.sort_unstable();
        assert_eq!((0..available + 3).filter(|index| selection.contains(*index)).collect::<Vec<_>>(), sorted);
        chosen
    }

    #[test]
    fn each_way_of_taking() {
        assert_eq!(chosen("all", 4), [0, 1, 2, 3]);
        assert_eq!(chosen("first:3", 5), [0, 1, 2]);
        assert_eq!(chosen("end:2", 5), [3, 4]);
        assert_eq!(chosen("first:50%", 5), [0, 1, 2]);
        assert_eq!(chosen("end:0", 5), [0; 0]);
        let random = chosen("random:30", 100);
        assert!(random.windows(2).any(|pair| pair[0] > pair[1]), "{random:?}");
        assert_eq!(chosen("30%", 100), random);
        assert_eq!(chosen("random:1_00", 100).len(), 100);
        let other = "random:30".parse::<Take>().unwrap().select(100, 6).unwrap();
        assert_ne!((0..30).map_while(|rank| other.index(rank)).collect::<Vec<_>>(), random);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for text in ["", "first", "first:", "first:-1", "first:+1", "last:3", "1000", "random:200%"] {
            let error = text.parse::<Take>().unwrap_err();
            assert!(error.contains("expected"), "{text}: {error}");
        }
        let error = "first:6".parse::<Take>().unwrap().select(5, 0).unwrap_err().to_string();
        assert!(error.contains("first:6") && error.contains('5'), "{error}");
        for text in ["all", "first:7", "end:0.5%", "random:10%"] {
            assert_eq!(text.parse::<Take>().unwrap().to_string(), text);
        }
    }
}

//! Which part of a benchmark a score is of.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Named parts of a benchmark that must not be averaged together, such as `distractors` = `far` and `concepts` = `seen`; empty
/// where there are none.
///
/// Labels and columns follow the benchmark's order, which says nothing about what is meant: a map, as which it is serialised, may
/// come back in another, and is the same subset.
#[derive(Clone, Debug, Default)]
pub struct Subset(Vec<(String, String)>);

impl Subset {
    /// Whether there are no parts.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The part of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// With one part more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The parts by name: what two subsets are compared by.
    fn sorted(&self) -> Vec<(&str, &str)> {
        let mut parts: Vec<_> = self.iter().collect();
        parts.sort_unstable();
        parts
    }

    /// In words: `far distractors`, `seen concepts`.
    pub fn words(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, value)| format!("{value} {name}"))
    }
}

impl PartialEq for Subset {
    fn eq(&self, other: &Self) -> bool {
        self.sorted() == other.sorted()
    }
}

impl Eq for Subset {}

impl PartialOrd for Subset {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Subset {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sorted().cmp(&other.sorted())
    }
}

impl Hash for Subset {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sorted().hash(state);
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Subset {
    fn from(parts: [(&str, &str); N]) -> Self {
        Self(parts.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl Serialize for Subset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Subset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = Subset;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names and values of a benchmark's parts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Subset, A::Error> {
                let mut parts = Vec::new();
                // Earlier summaries have null where a benchmark has no such part.
                while let Some((name, value)) = map.next_entry::<String, Option<String>>()? {
                    parts.extend(value.map(|value| (name, value)));
                }
                Ok(Subset(parts))
            }
        }
        deserializer.deserialize_map(Parts)
    }
}

//! Shares and weights as exact integers, so that draws do not depend on rounding of floats.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What a share of 1 (100 %) is counted in.
const WHOLE: u64 = 1_000_000_000;
/// What a weight of 1 is counted in.
const WEIGHT_ONE: f64 = 1e6;
/// The largest weight: times [`WEIGHT_ONE`] still far below what 64 bits hold.
const MAX_WEIGHT: f64 = 1e9;

/// A part of a whole, from 0 to 1 in steps of a billionth; written `"37.5%"` or `0.375`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u64);

/// How much a source counts beside the others; any number from 0 to 1e9, kept to six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u64);

impl Share {
    /// Nothing.
    pub const ZERO: Share = Share(0);
    /// The whole.
    pub const ONE: Share = Share(WHOLE);

    /// A percentage; more than 100 is the whole.
    pub const fn percent(percent: u64) -> Self {
        Share(if percent > 100 { WHOLE } else { WHOLE / 100 * percent })
    }

    /// The share in billionths.
    pub fn parts(self) -> u64 {
        self.0
    }

    /// What is left of the whole.
    pub fn rest(self) -> Share {
        Share(WHOLE - self.0)
    }

    /// The share of a number of samples, rounded up as LLaVA-NeXT's data loader does.
    pub fn of(self, samples: u64) -> u64 {
        let exact = u128::from(samples) * u128::from(self.0);
        exact.div_ceil(u128::from(WHOLE)) as u64
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a percentage from \"0%\" to \"100%\", found {text:?}");
        let number = text.trim().strip_suffix('%').ok_or_else(wrong)?.trim();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        // A hundredth in billionths has seven decimals.
        if whole.is_empty() || whole.len() > 3 || decimals.len() > 7 || !digits(whole) || !digits(decimals) {
            return Err(wrong());
        }
        let parts: u64 = format!("{whole}{decimals:0<7}").parse().map_err(|_| wrong())?;
        if parts > WHOLE { Err(wrong()) } else { Ok(Share(parts)) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 10_000_000, format!("{:07}", self.0 % 10_000_000));
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            decimals => write!(f, "{whole}.{decimals}%"),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shares;
        impl Visitor<'_> for Shares {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share, as a percentage (\"50%\") or a number from 0 to 1 (0.5)")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Share, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Share, E> {
                if !(0.0..=1.0).contains(&number) {
                    return Err(E::custom(format!(
                        "expected a share from 0 to 1, or a percentage in quotes (\"{number}%\"), found {number}"
                    )));
                }
                Ok(Share((number * WHOLE as f64).round() as u64))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Share, E> {
                self.visit_f64(number as f64)
            }
        }
        deserializer.deserialize_any(Shares)
    }
}

impl Weight {
    /// The weight in millionths.
    pub fn parts(self) -> u64 {
        self.0
    }
}

impl TryFrom<f64> for Weight {
    type Error = String;

    fn try_from(weight: f64) -> Result<Self, String> {
        let parts = (weight * WEIGHT_ONE).round();
        if !(0.0..=MAX_WEIGHT).contains(&weight) || (weight > 0.0 && parts < 1.0) {
            return Err(format!("expected a weight of 0, or from 0.000001 to 1e9, found {weight}"));
        }
        Ok(Weight(parts as u64))
    }
}

impl Serialize for Weight {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / WEIGHT_ONE)
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_exact() {
        for (text, parts) in
            [("0%", 0), ("50%", 500_000_000), ("37.5 %", 375_000_000), ("0.0000001%", 1), ("100%", WHOLE)]
        {
            assert_eq!(text.parse::<Share>(), Ok(Share(parts)), "{text}");
            assert_eq!(Share(parts).to_string().replace(' ', ""), text.replace(' ', ""));
        }
        for text in ["50", "101%", "-1%", "1e1%", "%", ".5%", "100.0000001%", "1.23456789%"] {
            assert!(text.parse::<Share>().unwrap_err().contains("percentage"), "{text}");
        }
        // A third of ten samples, rounded up; a whole is a whole.
        assert_eq!(
            ("33%".parse::<Share>().unwrap().of(10), Share::ONE.of(u64::MAX), Share::ZERO.of(9)),
            (4, u64::MAX, 0)
        );
        assert_eq!("30%".parse::<Share>().unwrap().rest().to_string(), "70%");
    }

    #[test]
    fn weights_are_checked() {
        assert_eq!(Weight::try_from(2.5).unwrap().parts(), 2_500_000);
        for weight in [-1.0, f64::NAN, f64::INFINITY, 1e-9, 1e12] {
            assert!(Weight::try_from(weight).unwrap_err().contains("weight"), "{weight}");
        }
    }
}

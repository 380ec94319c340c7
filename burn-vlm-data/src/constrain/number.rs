//! Numbers digit by digit, within bounds: a digit is taken only if some number within the bounds begins with it.
//!
//! Everything is counted in steps of 10^-12, exactly: decimal bounds have no rounding here.

use serde_json::Number;

/// Digits behind the point, at most.
const MOST_FRACTION: u32 = 12;
/// Digits before the point, at most: whole numbers of so many digits are exact in f64, which JSON's readers use.
const MOST_DIGITS: u32 = 15;
/// One, in steps.
const ONE: i128 = 10_i128.pow(MOST_FRACTION);
/// The largest number, in steps, but for a fraction.
const LARGEST: i128 = (10_i128.pow(MOST_DIGITS) - 1) * ONE;

/// Which numbers may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// Bounds in steps, both within.
    low: i128,
    high: i128,
    /// Whether a point may be written.
    fraction: bool,
    /// Whether an exponent may be: numbers with bounds have none.
    exponent: bool,
}

/// A number as far as it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Digits {
    negative: bool,
    /// Digits before the point.
    whole: u32,
    point: bool,
    /// Digits behind it.
    fraction: u32,
    /// All of them.
    value: i128,
    exponent: Exponent,
}

/// The end of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Exponent {
    #[default]
    None,
    /// Behind `e`.
    Begun,
    Signed,
    /// So many digits.
    Digits(u32),
}

/// Digits of an exponent, at most: every such number is one of f64.
const MOST_EXPONENT: u32 = 2;

/// A bound in steps; `None` if it has more digits behind the point than are written.
pub(super) fn steps(number: &Number) -> Option<i128> {
    let text = number.to_string().to_ascii_lowercase();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = i64::from(MOST_FRACTION) + exponent.parse::<i64>().ok()? - fraction.len() as i64;
    let ten = |power: i64| u32::try_from(power).ok().and_then(|power| 10_i128.checked_pow(power));
    if shift >= 0 {
        // Beyond all numbers that are written.
        let beyond = if value < 0 { i128::MIN / 2 } else { i128::MAX / 2 };
        return Some(ten(shift).and_then(|ten| value.checked_mul(ten)).unwrap_or(if value == 0 { 0 } else { beyond }));
    }
    match ten(-shift) {
        Some(ten) => (value % ten == 0).then(|| value / ten),
        None => (value == 0).then_some(0),
    }
}

impl Range {
    /// Numbers between two bounds, in steps; `None` is no bound. `None` where there is no number between them.
    pub(super) fn new(low: Option<i128>, high: Option<i128>, whole: bool) -> Option<Self> {
        let (least, most) = if whole { (-LARGEST, LARGEST) } else { (-LARGEST - (ONE - 1), LARGEST + (ONE - 1)) };
        let exponent = !whole && low.is_none() && high.is_none();
        let (mut low, mut high) = (low.unwrap_or(least).max(least), high.unwrap_or(most).min(most));
        if whole {
            low = low.div_euclid(ONE) * ONE + if low.rem_euclid(ONE) > 0 { ONE } else { 0 };
            high = high.div_euclid(ONE) * ONE;
        }
        (low <= high).then_some(Self { low, high, fraction: !whole, exponent })
    }

    /// The distance of two numbers that may be written.
    fn step(&self) -> i128 {
        if self.fraction { 1 } else { ONE }
    }

    /// Bounds of what stands behind the sign. No zero has one: readers disagree about what that is.
    fn behind_sign(&self, negative: bool) -> (i128, i128) {
        if negative { (self.step().max(-self.high), -self.low) } else { (self.low.max(0), self.high) }
    }
}

impl Digits {
    /// One more character; `None` if no number of the range goes on with it.
    pub(super) fn push(mut self, byte: u8, range: &Range) -> Option<Self> {
        match (byte, self.exponent) {
            (b'0'..=b'9', Exponent::Begun | Exponent::Signed) => self.exponent = Exponent::Digits(1),
            (b'0'..=b'9', Exponent::Digits(digits)) if digits < MOST_EXPONENT => {
                self.exponent = Exponent::Digits(digits + 1);
            }
            (b'+' | b'-', Exponent::Begun) => self.exponent = Exponent::Signed,
            (b'e' | b'E', Exponent::None) if range.exponent && self.is_within(range) => {
                self.exponent = Exponent::Begun;
            }
            (b'-', Exponent::None) if !self.negative && self.whole == 0 => self.negative = true,
            (b'.', Exponent::None) if range.fraction && self.whole > 0 && !self.point => self.point = true,
            (b'0'..=b'9', Exponent::None) => {
                if self.point {
                    self.fraction += 1;
                } else {
                    // No digit follows a leading zero.
                    self.whole = if self.whole > 0 && self.value == 0 { MOST_DIGITS + 1 } else { self.whole + 1 };
                }
                if self.whole > MOST_DIGITS || self.fraction > MOST_FRACTION {
                    return None;
                }
                self.value = self.value * 10 + i128::from(byte - b'0');
            }
            _ => return None,
        }
        (self.exponent != Exponent::None || self.leads_into(range)).then_some(self)
    }

    /// Whether it may end here.
    pub(super) fn is_within(&self, range: &Range) -> bool {
        match self.exponent {
            Exponent::Begun | Exponent::Signed => return false,
            Exponent::Digits(_) => return true,
            Exponent::None => {}
        }
        let (low, high) = range.behind_sign(self.negative);
        let complete = self.whole > 0 && (!self.point || self.fraction > 0);
        complete && (low..=high).contains(&(self.value * 10_i128.pow(MOST_FRACTION - self.fraction)))
    }

    /// Whether a number of the range begins with it.
    fn leads_into(&self, range: &Range) -> bool {
        let (low, high) = range.behind_sign(self.negative);
        if self.whole == 0 {
            return low <= high;
        }
        let meets = |begin: i128, end: i128| begin <= high && end >= low;
        if self.point {
            let one = 10_i128.pow(MOST_FRACTION - self.fraction);
            return meets(self.value * one, (self.value + 1) * one - 1);
        }
        // With so many digits more.
        let more = if self.value == 0 { 0 } else { MOST_DIGITS - self.whole };
        (0..=more).any(|more| {
            let one = 10_i128.pow(more) * ONE;
            meets(self.value * one, (self.value + 1) * one - range.step())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, range: &Range) -> bool {
        let mut digits = Digits::default();
        for byte in text.bytes() {
            match digits.push(byte, range) {
                Some(next) => digits = next,
                None => return false,
            }
        }
        digits.is_within(range)
    }

    fn range(low: Option<&str>, high: Option<&str>, whole: bool) -> Option<Range> {
        let bound = |text: &str| steps(&serde_json::from_str::<Number>(text).unwrap()).unwrap();
        Range::new(low.map(bound), high.map(bound), whole)
    }

    #[test]
    fn all_whole_numbers_between_bounds_are_written_and_no_others() {
        for (low, high) in [(-120, 45), (7, 7), (0, 0), (-3, -1), (99, 1234), (-1000, -998), (0, 999)] {
            let range = range(Some(&low.to_string()), Some(&high.to_string()), true).unwrap();
            for number in -1500..1500 {
                assert_eq!(
                    written(&number.to_string(), &range),
                    (low..=high).contains(&number),
                    "{number} {low} {high}"
                );
            }
            for wrong in ["-0", "007", "1.0", "1e1", "", "-", "+1"] {
                assert!(!written(wrong, &range), "{wrong}");
            }
        }
    }

    #[test]
    fn every_beginning_leads_to_an_end() {
        // Wherever a number has come to, some character takes it on, or it may end: else an answer would be stuck.
        for (low, high, whole) in [
            (Some("0.25"), Some("0.75"), false),
            (Some("-0.000000000001"), Some("0"), false),
            (Some("0.1"), Some("0.1"), false),
            (Some("-12.5"), Some("3"), false),
            (Some("99"), Some("1234"), true),
            (Some("-100"), Some("-98"), true),
            (None, Some("5"), true),
            (None, None, false),
        ] {
            let range = range(low, high, whole).unwrap();
            let mut open = vec![(Digits::default(), String::new())];
            let mut ends = 0;
            for _ in 0..2000 {
                let Some((digits, text)) = open.pop() else { break };
                let next: Vec<(Digits, String)> = (b"-.e0123456789")
                    .iter()
                    .filter_map(|byte| Some((digits.push(*byte, &range)?, format!("{text}{}", char::from(*byte)))))
                    .collect();
                let ended = digits.is_within(&range);
                assert!(ended || !next.is_empty(), "{text:?} is stuck");
                if ended {
                    ends += 1;
                    let value: f64 = serde_json::from_str(&text).unwrap();
                    assert!(low.is_none_or(|low| value >= low.parse().unwrap()), "{text}");
                    assert!(high.is_none_or(|high| value <= high.parse().unwrap()), "{text}");
                }
                open.extend(next);
            }
            assert!(ends > 0, "{low:?} {high:?}");
        }
    }

    #[test]
    fn fractions_and_exponents_are_those_of_json() {
        let free = range(None, None, false).unwrap();
        for text in ["0", "-1", "0.5", "-0.5", "12.25", "1e5", "1.5E-09", "9e+99", "999999999999999"] {
            assert!(written(text, &free), "{text}");
            assert!(serde_json::from_str::<f64>(text).unwrap().is_finite());
        }
        for text in ["01", "1.", ".5", "1e", "1e100", "-", "-0.0", "1.5.5", "1000000000000000", "0.0000000000001"] {
            assert!(!written(text, &free), "{text}");
        }
        let share = range(Some("0"), Some("1"), false).unwrap();
        for (text, good) in
            [("0", true), ("1", true), ("0.99", true), ("1.0", true), ("1.1", false), ("2", false), ("1e0", false)]
        {
            assert_eq!(written(text, &share), good, "{text}");
        }
        assert_eq!(range(Some("0.2"), Some("0.8"), true), None);
        let far = range(Some("-1e300"), Some("1e300"), true).unwrap();
        assert!(written("-999999999999999", &far));
        assert_eq!(steps(&Number::from_f64(1e-13).unwrap()), None);
        assert_eq!(steps(&Number::from_f64(-2.5).unwrap()), Some(-2_500_000_000_000));
    }
}

//! Student's t distribution with any number of degrees of freedom, also a fractional one.

/// From so many degrees of freedom on it is taken as normal: tails of probability 1e-6 then differ by less than a thousandth.
const NORMAL_FROM: f64 = 1e5;
/// Where the continued fraction ends: its terms no longer change an f64.
const CONVERGED: f64 = 1e-16;
/// Keeps the continued fraction's divisors from being 0.
const TINY: f64 = 1e-300;
/// Terms of the continued fraction, at most: it needs about the square root of the degrees of freedom.
const MOST_TERMS: usize = 2000;

/// The probability that a variable of Student's t with `df` degrees of freedom is at least as far from 0 as `t`.
///
/// It is I(df / (df + t²); df / 2, 1 / 2), the regularised incomplete beta function (Abramowitz and Stegun, 26.7.1).
pub fn student_two_sided(t: f64, df: f64) -> f64 {
    let df = df.min(NORMAL_FROM);
    let square = t * t;
    if square.is_infinite() {
        return 0.0;
    }
    let (a, b) = (df / 2.0, 0.5);
    let (x, rest) = (df / (df + square), square / (df + square));
    // x^a (1 - x)^b / B(a, b); the logarithm of 1 - rest keeps its digits where x is near 1.
    let front = (a * (-rest).ln_1p()).exp() * rest.sqrt() * gamma_ratio(a) / std::f64::consts::PI.sqrt();
    if x < (a + 1.0) / (a + b + 2.0) {
        (front * continued_fraction(x, a, b) / a).min(1.0)
    } else {
        (1.0 - front * continued_fraction(rest, b, a) / b).clamp(0.0, 1.0)
    }
}

/// The value that a variable of Student's t with `df` degrees of freedom exceeds with probability `tail`, of 0 to 1/2.
pub fn student_quantile(tail: f64, df: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while student_two_sided(high, df) > 2.0 * tail && high < f64::MAX / 4.0 {
        high *= 2.0;
    }
    // Halved until it ends between two neighbouring numbers.
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        if student_two_sided(middle, df) > 2.0 * tail { low = middle } else { high = middle }
    }
}

/// Γ(a + 1/2) / Γ(a): from a large `a`, where its asymptotic series ends in the last digits, down by the recurrence of Γ.
fn gamma_ratio(a: f64) -> f64 {
    let (mut at, mut factor) = (a, 1.0);
    while at < 40.0 {
        factor *= at / (at + 0.5);
        at += 1.0;
    }
    let inverse = 1.0 / at;
    let series = [1.0, -1.0 / 8.0, 1.0 / 128.0, 5.0 / 1024.0, -21.0 / 32_768.0, -399.0 / 262_144.0];
    factor * at.sqrt() * series.iter().rev().fold(0.0, |sum, term| sum * inverse + term)
}

/// The continued fraction of the incomplete beta function (Abramowitz and Stegun, 26.5.8), by Lentz's method.
fn continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    let apart = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / apart(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in (1..=MOST_TERMS).map(|m| m as f64) {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = fraction;
        for term in [even, odd] {
            d = 1.0 / apart(1.0 + term * d);
            c = apart(1.0 + term / c);
            fraction *= d * c;
        }
        if (fraction - before).abs() <= CONVERGED * fraction.abs() {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of a few hundred terms against numbers that scipy worked out otherwise.
    const ROUNDING: f64 = 1e-10;

    #[test]
    fn probabilities_worked_by_hand() {
        // One degree of freedom is Cauchy's distribution: 1 - 2/π atan(t); two: 1 - t / sqrt(2 + t²).
        for t in [0.0, 0.1, 1.0, 3.0, 12.706, 1e6] {
            let cauchy = 1.0 - 2.0 / std::f64::consts::PI * f64::atan(t);
            assert!((student_two_sided(t, 1.0) - cauchy).abs() < ROUNDING, "{t}");
            let two = 1.0 - t / f64::sqrt(2.0 + t * t);
            assert!((student_two_sided(t, 2.0) - two).abs() < ROUNDING, "{t}");
            assert_eq!(student_two_sided(t, 3.0), student_two_sided(-t, 3.0));
        }
        assert_eq!((student_two_sided(0.0, 7.5), student_two_sided(f64::INFINITY, 7.5)), (1.0, 0.0));
    }

    #[test]
    fn equals_scipy() {
        // scipy 1.17.1: 2 * stats.t.sf(t, df) and stats.t.isf(tail, df).
        let probabilities = [
            (2.0, 3.7, 0.121_817_201_905_233_98),
            (0.3, 1.2, 0.807_772_811_317_046_5),
            (5.0, 10.0, 0.000_537_333_602_756_452_7),
            (2.5, 200.5, 0.013_221_144_444_540_683),
            (30.0, 2.5, 0.000_291_064_709_157_395_35),
        ];
        for (t, df, expected) in probabilities {
            let found = student_two_sided(t, df);
            assert!((found / expected - 1.0).abs() < ROUNDING, "{t}, {df}: {found}, scipy {expected}");
        }
        // Far out, where only the ratio says anything.
        let far = student_two_sided(8.0, 1e5);
        assert!((far / 1.257_391_987_625_634_5e-15 - 1.0).abs() < 1e-6, "{far}");
        let quantiles = [
            (0.025, 1.0, 12.706_204_736_174_705),
            (0.025, 1.5, 6.016_663_104_427_933),
            (0.025, 2.0, 4.302_652_729_749_464),
            (0.025, 2.7, 3.392_148_383_173_752_4),
            (0.025, 10.0, 2.228_138_851_986_275_3),
            (0.025, 1000.0, 1.962_339_080_826_408_5),
            (0.1, 4.4, 1.506_672_392_799_484),
        ];
        for (tail, df, expected) in quantiles {
            let found = student_quantile(tail, df);
            assert!((found / expected - 1.0).abs() < 1e-9, "{tail}, {df}: {found}, scipy {expected}");
        }
    }
}

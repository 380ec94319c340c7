//! Quantiles of Student's t distribution, for intervals from few items.

/// Steps of the continued fraction; it ends long before.
const STEPS: usize = 300;
/// Where the continued fraction ends, and what stands for a divisor of 0.
const CLOSE: f64 = 1e-15;
const TINY: f64 = 1e-300;
/// Halvings of the interval in which the quantile lies.
const HALVINGS: usize = 200;
/// Coefficients of Lanczos' approximation of the gamma function, g = 7, n = 9.
const LANCZOS: [f64; 8] = [
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];

/// The value that a share of at least one half lies below, with some degrees of freedom.
pub fn quantile(share: f64, freedom: f64) -> f64 {
    let above = |t: f64| 0.5 * incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t));
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    while above(high) > 1.0 - share && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if above(middle) > 1.0 - share { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The logarithm of the gamma function of a number above 0.
fn log_gamma(x: f64) -> f64 {
    if x < 0.5 {
        return (std::f64::consts::PI / (std::f64::consts::PI * x).sin()).ln() - log_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let sum = LANCZOS.iter().zip(1..).fold(0.999_999_999_999_809_9, |sum, (c, i)| sum + c / (x + f64::from(i)));
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// The regularised incomplete beta function, by Lentz's method.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    // The fraction converges fast on this side of the mean.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = (log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    let not_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / not_zero(1.0 - (a + b) * x / (a + 1.0)));
    let mut product = d;
    for step in 1..STEPS {
        let m = step as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = product;
        for term in [even, odd] {
            d = 1.0 / not_zero(1.0 + term * d);
            c = not_zero(1.0 + term / c);
            product *= c * d;
        }
        if (product / before - 1.0).abs() < CLOSE {
            break;
        }
    }
    front * product
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From printed tables of the distribution, with three digits.
    #[test]
    fn quantiles_are_those_of_tables() {
        for (freedom, wanted) in [(1.0, 12.706), (2.0, 4.303), (5.0, 2.571), (11.0, 2.201), (30.0, 2.042), (1e6, 1.960)]
        {
            let found = quantile(0.975, freedom);
            assert!((found - wanted).abs() < 6e-4, "{freedom}: {found}");
        }
        assert!((quantile(0.95, 10.0) - 1.812).abs() < 6e-4);
    }
}

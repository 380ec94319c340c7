//! Drawing with replacement as numpy does it, so that an interval can be computed again in Python with the same seed.
//!
//! `numpy.random.default_rng(seed)`: its `SeedSequence`, PCG-64 (O'Neill, 2014; XSL-RR), and whole numbers below a bound by Lemire's
//! method (2019) on halves of 64 bits, as `Generator.choice` and `Generator.integers` draw them.

/// How often things are drawn again: with replacement, as many as there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resampling {
    /// How often; 1,000 is usual.
    pub resamples: usize,
    /// The seed of numpy's generator; sacreBLEU's is 12345.
    pub seed: u64,
}

impl Default for Resampling {
    fn default() -> Self {
        Self { resamples: 1000, seed: 12345 }
    }
}

/// PCG's multiplier.
const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
/// Words of a seed sequence's pool.
const POOL: usize = 4;

/// The generator.
#[derive(Debug, Clone)]
pub struct NumpyRandom {
    state: u128,
    increment: u128,
    /// The upper half of the last 64 bits, where only the lower one was used.
    half: Option<u32>,
}

impl NumpyRandom {
    /// `numpy.random.default_rng(seed)`.
    pub fn new(seed: u64) -> Self {
        let [a, b, c, d] = seeded(seed);
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let increment = wide(c, d) << 1 | 1;
        let mut random = Self { state: 0, increment, half: None };
        random.step();
        random.state = random.state.wrapping_add(wide(a, b));
        random.step();
        random
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    fn next_u64(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    fn next_u32(&mut self) -> u32 {
        if let Some(half) = self.half.take() {
            return half;
        }
        let next = self.next_u64();
        self.half = Some((next >> 32) as u32);
        next as u32
    }

    /// A whole number below a bound; 0 for the bounds 0 and 1, for which nothing is drawn.
    pub fn below(&mut self, bound: u32) -> u32 {
        if bound <= 1 {
            return 0;
        }
        let mut product = u64::from(self.next_u32()) * u64::from(bound);
        if (product as u32) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u32) < threshold {
                product = u64::from(self.next_u32()) * u64::from(bound);
            }
        }
        (product >> 32) as u32
    }

    /// `rng.integers(0, count, size=count)`: as many indices as there are things, of which there may be at most `u32::MAX`.
    pub fn indices(&mut self, count: usize) -> Vec<usize> {
        let bound = u32::try_from(count).unwrap_or(u32::MAX);
        (0..count).map(|_| self.below(bound) as usize).collect()
    }
}

/// `numpy.random.SeedSequence(seed).generate_state(4, numpy.uint64)`.
fn seeded(seed: u64) -> [u64; POOL] {
    let mut constant = 0x43b0_d7e5_u32;
    let mut hashed = |value: u32| {
        let value = value ^ constant;
        constant = constant.wrapping_mul(0x931e_8875);
        let value = value.wrapping_mul(constant);
        value ^ value >> 16
    };
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(&mut hashed);
    for from in 0..POOL {
        for to in (0..POOL).filter(|to| *to != from) {
            let other = hashed(pool[from]);
            let mixed = pool[to].wrapping_mul(0xca01_f9dd).wrapping_sub(other.wrapping_mul(0x4973_f715));
            pool[to] = mixed ^ mixed >> 16;
        }
    }
    let mut constant = 0x8b51_f9dd_u32;
    let mut word = |value: u32| {
        let value = value ^ constant;
        constant = constant.wrapping_mul(0x58f3_8ded);
        let value = value.wrapping_mul(constant);
        u64::from(value ^ value >> 16)
    };
    let mut words = pool.iter().cycle().copied();
    std::array::from_fn(|_| {
        let low = word(words.next().unwrap_or_default());
        low | word(words.next().unwrap_or_default()) << 32
    })
}

/// The value below which a share of sorted values lies, between two of them in a straight line, as `numpy.quantile` has it. `None` of
/// no value.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = share.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (sorted.get(at.floor() as usize)?, sorted.get(at.ceil() as usize)?);
    Some(low + (high - low) * at.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by numpy 1.26.4.
    #[test]
    fn draws_are_numpys() {
        let mut random = NumpyRandom::new(12345);
        assert_eq!(random.indices(7), [4, 1, 5, 2, 1, 5, 4]);
        assert_eq!(random.indices(7), [4, 6, 2, 5, 2, 3, 4]);
        assert_eq!(NumpyRandom::new(0).indices(1000)[..8], [850, 636, 511, 269, 307, 40, 75, 16]);
        // A seed of more than 32 bits, and a bound for which numbers are refused.
        assert_eq!(NumpyRandom::new((1 << 40) + 5).indices(3), [0, 0, 1]);
        let mut random = NumpyRandom::new(12345);
        let large = [2_097_645_094, 682_008_066, 2_365_940_964, 950_275_018, 2_392_096_371, 2_028_764_011];
        assert_eq!(large.map(|_| random.below(3_000_000_000)), large);
        assert_eq!([random.below(0), random.below(1)], [0, 0]);
    }

    #[test]
    fn quantiles_lie_between_values() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 1.0), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}

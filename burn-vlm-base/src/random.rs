//! Seeded choices that are the same on every platform and in every version of every dependency.
//!
//! Everything here is a pure function of its arguments (SplitMix64 and FNV-1a), because the position in the data is
//! all that a resumed run knows: there is no generator whose state would have to be saved.

/// FNV-1a hash of a byte string, 64 bits.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Mixes two words into one that looks random (the finaliser of SplitMix64).
#[inline]
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A short stream of random numbers that starts from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Stream {
    state: u64,
}

impl Stream {
    /// Starts a stream; equal seeds give equal streams.
    #[inline]
    pub fn new(seed: u64) -> Self {
        Self { state: mix(seed, 0x5851_f42d_4c95_7f2d) }
    }

    /// The next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state, 0)
    }

    /// Uniform in `0..bound` (0 for a bound of 0 or 1), by multiplication and shift.
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Uniform in `[low, high)`.
    #[inline]
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        // 24 bits: every value is exact in f32.
        let unit = (self.next_u64() >> 40) as f32 / (1u32 << 24) as f32;
        low + (high - low) * unit
    }

    /// Shuffles in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Random numbers of one element of a tensor, a function of a key and the element's index (SplitMix64): any part of a tensor
/// can be made alone, in any order.
#[derive(Debug, Clone)]
pub struct ElementStream(u64);

impl ElementStream {
    /// The stream of element `index` under `key`.
    #[inline]
    pub fn new(key: u64, index: u64) -> Self {
        Self(mix(key ^ mix(index, 0), 0))
    }

    /// Uniform on the open interval (0, 1), 53 bits.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        let bits = mix(self.0, 0) >> 11;
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (bits as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box-Muller).
    #[inline]
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // FNV-1a test vectors of the reference page; the stream values pin this implementation.
        assert_eq!(hash_bytes(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash_bytes(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash_bytes(b"foobar"), 0x8594_4171_f739_67e8);
        let mut stream = Stream::new(1);
        let first: Vec<usize> = (0..8).map(|_| stream.below(100)).collect();
        let mut again = Stream::new(1);
        assert_eq!(first, (0..8).map(|_| again.below(100)).collect::<Vec<_>>());
    }

    #[test]
    fn uniform_and_shuffle() {
        let mut stream = Stream::new(7);
        let values: Vec<f32> = (0..10_000).map(|_| stream.uniform(-1.0, 3.0)).collect();
        assert!(values.iter().all(|v| (-1.0..3.0).contains(v)));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
        let mut counts = [0usize; 5];
        (0..10_000).for_each(|_| counts[stream.below(5)] += 1);
        assert!(counts.iter().all(|c| (1_800..2_200).contains(c)), "{counts:?}");
        let mut items: Vec<u32> = (0..50).collect();
        stream.shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}

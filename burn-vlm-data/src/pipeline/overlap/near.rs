//! Hashes within a number of bits of another, without comparing all with all.
//!
//! Two hashes that differ in at most `r` of 64 bits differ in at most `r / 4` bits in one of four bands of 16 bits (multi-index hashing,
//! Norouzi et al. 2012). So each band has a table of its 65,536 values, and only those values are looked up that are that near. Where
//! that would be more look-ups than there are hashes, all are compared.

/// Bands of a hash.
const BANDS: usize = 4;
/// Bits of a band.
const BITS: u32 = 16;
/// Values of a band.
const VALUES: usize = 1 << BITS;

/// Hashes by the values of their bands: 24 bytes a hash and a megabyte.
#[derive(Debug, Clone)]
pub struct NearIndex {
    hashes: Vec<u64>,
    bands: [Band; BANDS],
}

#[derive(Debug, Clone)]
struct Band {
    /// Where the hashes of each value begin in `numbers`, and where the last end.
    begins: Vec<u32>,
    /// Numbers of the hashes, by value.
    numbers: Vec<u32>,
}

impl NearIndex {
    /// An index of hashes, which are known by their places in the list; at most 2^32 of them.
    pub fn new(hashes: Vec<u64>) -> Self {
        let bands = std::array::from_fn(|band| Band::new(&hashes, band));
        Self { hashes, bands }
    }

    /// Tells `found` of every hash that differs from `hash` in at most `radius` bits, once, with the number of different bits.
    pub fn within(&self, hash: u64, radius: u32, mut found: impl FnMut(usize, u32)) {
        let near = radius / BANDS as u32;
        if lookups(near) >= self.hashes.len() as u64 {
            for (number, other) in self.hashes.iter().enumerate() {
                let distance = (hash ^ other).count_ones();
                if distance <= radius {
                    found(number, distance);
                }
            }
            return;
        }
        for (at, band) in self.bands.iter().enumerate() {
            each_near(value(hash, at), near, &mut |value| {
                for number in band.of(value) {
                    let different = hash ^ self.hashes[*number as usize];
                    // Told by the first band that is near enough.
                    let before = (0..at).any(|earlier| self::value(different, earlier).count_ones() <= near);
                    if different.count_ones() <= radius && !before {
                        found(*number as usize, different.count_ones());
                    }
                }
            });
        }
    }
}

impl Band {
    /// Sorts by counting.
    fn new(hashes: &[u64], band: usize) -> Self {
        let mut begins = vec![0u32; VALUES + 1];
        hashes.iter().for_each(|hash| begins[value(*hash, band) as usize + 1] += 1);
        (1..begins.len()).for_each(|at| begins[at] += begins[at - 1]);
        let mut next = begins.clone();
        let mut numbers = vec![0; hashes.len()];
        for (number, hash) in hashes.iter().enumerate() {
            let place = &mut next[value(*hash, band) as usize];
            numbers[*place as usize] = number as u32;
            *place += 1;
        }
        Self { begins, numbers }
    }

    fn of(&self, value: u16) -> &[u32] {
        let value = usize::from(value);
        &self.numbers[self.begins[value] as usize..self.begins[value + 1] as usize]
    }
}

/// A hash's value in a band.
fn value(hash: u64, band: usize) -> u16 {
    (hash >> (band as u32 * BITS)) as u16
}

/// Values that are looked up for a hash in all bands.
fn lookups(near: u32) -> u64 {
    let (mut sum, mut choose) = (0, 1);
    for bits in 0..=u64::from(near.min(BITS)) {
        sum += choose;
        choose = choose * (u64::from(BITS) - bits) / (bits + 1);
    }
    sum * BANDS as u64
}

/// Every value that differs in at most `bits` bits.
fn each_near(value: u16, bits: u32, each: &mut dyn FnMut(u16)) {
    fn flip(value: u16, from: u32, bits: u32, each: &mut dyn FnMut(u16)) {
        each(value);
        if bits > 0 {
            (from..BITS).for_each(|bit| flip(value ^ (1 << bit), bit + 1, bits - 1, each));
        }
    }
    flip(value, 0, bits, each);
}

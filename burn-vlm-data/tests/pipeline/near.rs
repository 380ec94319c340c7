//! Hashes that are near each other.

use burn_vlm_data::pipeline::overlap::NearIndex;
use burn_vlm_data::random::Stream;

/// The same as comparing all with all, each once, for hashes that are near each other and such that are not.
#[test]
fn finds_what_comparing_all_finds() {
    let mut stream = Stream::new(7);
    let mut hashes: Vec<u64> = (0..3000).map(|_| stream.next_u64()).collect();
    for number in 0..3000 {
        let flips = (0..stream.below(16)).fold(0, |flips, _| flips ^ (1u64 << stream.below(64)));
        hashes.push(hashes[number] ^ flips);
    }
    let index = NearIndex::new(hashes.clone());
    for radius in [0, 1, 3, 4, 8, 11, 12, 20, 64] {
        for hash in hashes.iter().step_by(611).chain([&0, &u64::MAX]) {
            let mut found = Vec::new();
            index.within(*hash, radius, |number, distance| found.push((number, distance)));
            found.sort_unstable();
            let all = hashes.iter().enumerate().map(|(number, other)| (number, (hash ^ other).count_ones()));
            assert_eq!(found, all.filter(|(_, distance)| *distance <= radius).collect::<Vec<_>>(), "{radius}");
        }
    }
    NearIndex::new(Vec::new()).within(3, 64, |_, _| unreachable!());
}

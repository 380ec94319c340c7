//! Batches of samples of any sizes under any limits: nothing lost, nothing twice, no limit broken, no room left needlessly.

use burn_vlm_data::batching::{BatchConfig, SampleSize, Strategy as Arrangement, arrange, first_fit_decreasing};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn sizes() -> impl Strategy<Value = Vec<SampleSize>> {
    let size = (1u32..80, 0u32..4).prop_map(|(tokens, images)| SampleSize { tokens, images });
    vec(size, 0..60)
}

/// Limits that every sample above meets.
fn config() -> impl Strategy<Value = BatchConfig> {
    let strategy = prop_oneof![Just(Arrangement::Sequential), Just(Arrangement::Grouped), Just(Arrangement::Packed)];
    let limits = (80usize..300, option::of(1usize..6), option::of(3usize..9), 1usize..9, any::<bool>());
    (strategy, limits).prop_map(|(strategy, (max_tokens, max_samples, max_images, multiple_of, by_modality))| {
        let max_tokens = max_tokens.max(80usize.next_multiple_of(multiple_of));
        BatchConfig { strategy, max_tokens, max_samples, max_images, multiple_of, by_modality, ..Default::default() }
    })
}

/// Why these rows may not be one batch.
fn broken(rows: &[Vec<usize>], sizes: &[SampleSize], config: &BatchConfig) -> Option<&'static str> {
    let samples: Vec<SampleSize> = rows.iter().flatten().map(|index| sizes[*index]).collect();
    let length = |row: &Vec<usize>| row.iter().map(|index| sizes[*index].tokens as usize).sum::<usize>();
    let longest = rows.iter().map(length).max().unwrap_or(0);
    let images: usize = samples.iter().map(|size| size.images as usize).sum();
    let texts = samples.iter().filter(|size| size.images == 0).count();
    if rows.len() * longest.next_multiple_of(config.multiple_of) > config.max_tokens {
        return Some("too many tokens");
    }
    if config.max_samples.is_some_and(|max| samples.len() > max) {
        return Some("too many samples");
    }
    if config.max_images.is_some_and(|max| images > max) {
        return Some("too many pictures");
    }
    (config.by_modality && texts != 0 && texts != samples.len()).then_some("texts among pictures")
}

/// First fit decreasing without a shortcut: every sample is tried in every row.
fn naive_packs(samples: &[usize], sizes: &[SampleSize], config: &BatchConfig) -> Vec<Vec<usize>> {
    let mut by_length = samples.to_vec();
    by_length.sort_by(|a, b| sizes[*b].tokens.cmp(&sizes[*a].tokens));
    let mut packs: Vec<Vec<usize>> = Vec::new();
    let config = BatchConfig { by_modality: false, ..*config };
    for index in by_length {
        let with = |pack: &Vec<usize>| [&pack[..], &[index]].concat();
        match packs.iter().position(|pack| broken(&[with(pack)], sizes, &config).is_none()) {
            Some(place) => packs[place].push(index),
            None => packs.push(vec![index]),
        }
    }
    packs.iter_mut().for_each(|pack| pack.sort_unstable());
    packs.sort();
    packs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn each_sample_is_in_one_batch_within_the_limits(sizes in sizes(), config in config(), seed: u64) {
        prop_assert_eq!(config.check(&sizes), Ok(()));
        let batches = arrange(&sizes, &config, seed);
        let mut seen: Vec<usize> = batches.iter().flatten().flatten().copied().collect();
        if config.strategy == Arrangement::Sequential {
            prop_assert!(seen.is_sorted(), "the order has changed");
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..sizes.len()).collect::<Vec<_>>());
        for batch in &batches {
            prop_assert_eq!(broken(batch, &sizes, &config), None, "{:?}", batch);
            let single = batch.iter().all(|row| row.len() == 1);
            prop_assert!(!batch.is_empty() && (single || (config.strategy == Arrangement::Packed && batch.len() == 1)));
        }
        prop_assert_eq!(arrange(&sizes, &config, seed), batches, "equal seeds, equal batches");
    }

    /// A batch ends where the next sample would break a limit, and nowhere else.
    #[test]
    fn no_room_is_left(sizes in sizes(), config in config(), seed: u64) {
        prop_assume!(config.strategy != Arrangement::Packed);
        let mut batches = arrange(&sizes, &config, seed);
        // In the order in which they were cut: as given, or from the longest sample to the shortest.
        if config.strategy == Arrangement::Grouped {
            let key = |batch: &Vec<Vec<usize>>| {
                let first = batch[0][0];
                (config.by_modality && sizes[first].images == 0, std::cmp::Reverse(sizes[first].tokens), first)
            };
            batches.sort_by_key(key);
        }
        for pair in batches.windows(2) {
            let longer = [&pair[0][..], &pair[1][..1]].concat();
            prop_assert!(broken(&longer, &sizes, &config).is_some(), "{:?} has room for {:?}", pair[0], pair[1][0]);
        }
    }

    #[test]
    fn packs_are_those_of_a_naive_loop(sizes in sizes(), config in config()) {
        let all: Vec<usize> = (0..sizes.len()).collect();
        let mut packs = first_fit_decreasing(&all, &sizes, &config);
        packs.sort();
        prop_assert_eq!(packs, naive_packs(&all, &sizes, &config));
    }
}

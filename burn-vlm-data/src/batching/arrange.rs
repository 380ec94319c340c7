//! The arrangement of one megabatch: sorted and cut, or packed.

use super::{BatchConfig, SampleSize, Strategy};
use crate::random::Stream;
use std::cmp::Reverse;

/// Arranges samples in batches of rows: `[batch][row]` -> the numbers of the row's samples. Each sample is in one row; only
/// packed rows have several. `seed` decides the order of the batches.
///
/// Readers that do not know lengths in advance call this on each stretch of samples that they have read; the samples must
/// have passed [`BatchConfig::check`].
pub fn arrange(sizes: &[SampleSize], config: &BatchConfig, seed: u64) -> Vec<Vec<Vec<usize>>> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    let text = |index: &usize| config.by_modality && sizes[*index].images == 0;
    let mut batches = match config.strategy {
        Strategy::Sequential => cut(&order, sizes, config),
        Strategy::Grouped => {
            order.sort_by_key(|index| (text(index), Reverse(sizes[*index].tokens)));
            cut(&order, sizes, config)
        }
        Strategy::Packed => {
            let (texts, pictures): (Vec<usize>, Vec<usize>) = order.into_iter().partition(text);
            let packs = [pictures, texts].into_iter().flat_map(|part| first_fit_decreasing(&part, sizes, config));
            packs.map(|pack| vec![pack]).collect()
        }
    };
    if config.strategy != Strategy::Sequential {
        Stream::new(seed).shuffle(&mut batches);
    }
    batches
}

/// Cuts an order into batches as large as the limits allow, one sample a row.
fn cut(order: &[usize], sizes: &[SampleSize], config: &BatchConfig) -> Vec<Vec<Vec<usize>>> {
    let mut batches: Vec<Vec<Vec<usize>>> = Vec::new();
    let (mut longest, mut images) = (0, 0);
    for index in order {
        let size = sizes[*index];
        let open = batches.last_mut().filter(|batch| {
            let rows = batch.len() + 1;
            let width = config.padded(longest.max(size.tokens));
            let same = |row: &Vec<usize>| (sizes[row[0]].images == 0) == (size.images == 0);
            rows * width <= config.max_tokens
                && config.max_samples.is_none_or(|max| rows <= max)
                && config.max_images.is_none_or(|max| images + size.images as usize <= max)
                && (!config.by_modality || batch.first().is_none_or(same))
        });
        match open {
            Some(batch) => {
                batch.push(vec![*index]);
                (longest, images) = (longest.max(size.tokens), images + size.images as usize);
            }
            None => {
                batches.push(vec![vec![*index]]);
                (longest, images) = (size.tokens, size.images as usize);
            }
        }
    }
    batches
}

/// Packs samples into rows of at most `max_tokens` tokens, each sample into the first row that has room, the longest
/// samples first: without limits on samples and pictures at most 11/9 of the fewest possible rows, and one. Within a row
/// samples keep their order.
pub fn first_fit_decreasing(samples: &[usize], sizes: &[SampleSize], config: &BatchConfig) -> Vec<Vec<usize>> {
    struct Pack {
        samples: Vec<usize>,
        tokens: usize,
        images: usize,
    }
    // Rows are padded as a whole, so it is the largest multiple within the budget that can be filled.
    let window = config.max_tokens - config.max_tokens % config.multiple_of.max(1);
    let mut by_length = samples.to_vec();
    by_length.sort_by_key(|index| Reverse(sizes[*index].tokens));
    let shortest = by_length.last().map_or(0, |index| sizes[*index].tokens as usize);
    let (mut open, mut full): (Vec<Pack>, Vec<Pack>) = (Vec::new(), Vec::new());
    for index in by_length {
        let (tokens, images) = (sizes[index].tokens as usize, sizes[index].images as usize);
        let fits = |pack: &Pack| {
            pack.tokens + tokens <= window
                && config.max_samples.is_none_or(|max| pack.samples.len() < max)
                && config.max_images.is_none_or(|max| pack.images + images <= max)
        };
        let place = open.iter().position(fits).unwrap_or_else(|| {
            open.push(Pack { samples: Vec::new(), tokens: 0, images: 0 });
            open.len() - 1
        });
        let pack = &mut open[place];
        pack.samples.push(index);
        (pack.tokens, pack.images) = (pack.tokens + tokens, pack.images + images);
        // A row that not even the shortest sample fits in need not be looked at again.
        if pack.tokens + shortest > window {
            full.push(open.remove(place));
        }
    }
    full.extend(open);
    full.iter_mut().for_each(|pack| pack.samples.sort_unstable());
    full.into_iter().map(|pack| pack.samples).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(tokens: &[u32]) -> Vec<SampleSize> {
        tokens.iter().map(|tokens| SampleSize { tokens: *tokens, images: 1 }).collect()
    }

    #[test]
    fn packs_by_hand() {
        let config = BatchConfig { strategy: Strategy::Packed, max_tokens: 10, ..Default::default() };
        let pack = |tokens: &[u32], config: &BatchConfig| {
            first_fit_decreasing(&(0..tokens.len()).collect::<Vec<_>>(), &sizes(tokens), config)
        };
        // 7, 5, 4, 3, 1: 7 + 3 is full, 5 + 4 + 1 too.
        assert_eq!(pack(&[4, 7, 1, 5, 3], &config), [vec![1, 4], vec![0, 2, 3]]);
        assert_eq!(pack(&[10, 10], &config), [[0], [1]]);
        // At most two pictures a row, or two samples.
        let two = BatchConfig { max_images: Some(2), ..config };
        assert_eq!(pack(&[4, 2, 2, 2], &two), [vec![0, 1], vec![2, 3]]);
        assert_eq!(pack(&[4, 2, 2, 2], &BatchConfig { max_samples: Some(2), ..config }), [vec![0, 1], vec![2, 3]]);
        // Rows are padded to a multiple of 4, so 8 of 10 can be filled.
        assert_eq!(pack(&[4, 4, 2], &BatchConfig { multiple_of: 4, ..config }), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn groups_by_hand() {
        let config = BatchConfig { max_tokens: 12, ..Default::default() };
        let go = |config: &BatchConfig| {
            let mut batches = arrange(&sizes(&[2, 6, 3, 5, 3, 1]), config, 1);
            batches.sort();
            batches.into_iter().map(|batch| batch.concat()).collect::<Vec<_>>()
        };
        // 6, 5 | 3, 3, 2, 1: two rows of 6, four of 3.
        assert_eq!(go(&config), [vec![1, 3], vec![2, 4, 0, 5]]);
        // In order: 2, 6 | 3, 5 | 3, 1.
        assert_eq!(go(&BatchConfig { strategy: Strategy::Sequential, ..config }), [[0, 1], [2, 3], [4, 5]]);
        // Rows of 8 | 4, 4, 4 (for 5, 3, ... 5 is padded to 8 as well).
        assert_eq!(go(&BatchConfig { multiple_of: 4, ..config }), [vec![1], vec![2, 4, 0], vec![3], vec![5]]);
    }
}

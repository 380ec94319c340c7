//! Batches by length: nothing lost, nothing twice, limits kept, resumable; packed samples see what they see alone.

use burn_vlm_data::batching::{
    Batch, BatchConfig, BatchError, BatchSampler, SampleSize, Strategy, arrange, collate_packed,
};
use burn_vlm_data::encode::{Encoded, IGNORE};
use burn_vlm_data::random::Stream;

/// Lengths as a mixture of text (short, long tails) and of pictures of 256 tokens and more.
fn sizes(count: usize, seed: u64) -> Vec<SampleSize> {
    let mut random = Stream::new(seed);
    let mut size = || {
        let text = 5 + random.below(40) * random.below(10);
        let images = [0, 1, 1, 2][random.below(4)];
        SampleSize { tokens: (text + images * (256 + random.below(300))) as u32, images: images as u32 }
    };
    (0..count).map(|_| size()).collect()
}

fn config(strategy: Strategy, seed: u64) -> BatchConfig {
    BatchConfig { strategy, max_tokens: 2048, megabatch: 128, seed, ..Default::default() }
}

const STRATEGIES: [Strategy; 3] = [Strategy::Sequential, Strategy::Grouped, Strategy::Packed];

/// The batches of an epoch.
fn epoch(sampler: &BatchSampler, epoch: u64) -> Vec<Batch> {
    let len = sampler.len() as u64;
    let end = (epoch + 1) * len;
    let mut batches: Vec<Batch> = Vec::new();
    for batch in sampler.batches(epoch * len).unwrap() {
        let last = batch.end >= end;
        batches.push(batch);
        if last {
            break;
        }
    }
    assert_eq!(batches.last().unwrap().end, end, "epochs end with a batch");
    batches
}

/// Over random data and limits: each epoch holds each sample once, and no limit is broken.
#[test]
fn epochs_hold_each_sample_once_within_the_limits() {
    let mut random = Stream::new(1);
    for case in 0..60 {
        let count = 1 + random.below(400);
        let config = BatchConfig {
            max_samples: [None, Some(1 + random.below(9))][random.below(2)],
            max_images: [None, Some(2 + random.below(5))][random.below(2)],
            multiple_of: [1, 8, 64][random.below(3)],
            megabatch: 1 + random.below(200),
            by_modality: random.below(2) == 0,
            ..config(STRATEGIES[case % 3], case as u64)
        };
        let sizes = sizes(count, case as u64);
        let sampler = BatchSampler::new(sizes.clone(), config).unwrap();
        let mut epochs = Vec::new();
        for number in [0, 3] {
            let batches = epoch(&sampler, number);
            let mut seen: Vec<usize> = batches.iter().flat_map(Batch::samples).collect();
            epochs.push(seen.clone());
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>(), "case {case}");
            for batch in &batches {
                let samples: Vec<SampleSize> = batch.samples().map(|index| sizes[index]).collect();
                let images: u32 = samples.iter().map(|size| size.images).sum();
                let rows = batch.rows.iter().map(|row| row.iter().map(|i| sizes[*i].tokens as usize).sum::<usize>());
                assert_eq!(rows.clone().sum::<usize>(), batch.tokens);
                assert_eq!(rows.max().unwrap().next_multiple_of(config.multiple_of), batch.width);
                assert!(batch.padded() <= config.max_tokens, "case {case}: {batch:?}");
                assert!(config.max_samples.is_none_or(|max| samples.len() <= max));
                assert!(config.max_images.is_none_or(|max| images as usize <= max));
                let texts = samples.iter().filter(|size| size.images == 0).count();
                assert!(!config.by_modality || texts == 0 || texts == samples.len());
                assert!(config.strategy == Strategy::Packed || batch.rows.iter().all(|row| row.len() == 1));
            }
            let stats = sampler.stats(number);
            assert_eq!((stats.batches, stats.samples), (batches.len() as u64, count as u64));
            let padded: usize = batches.iter().map(Batch::padded).sum();
            assert_eq!(stats.padded, padded as u64);
        }
        assert!(count < 20 || epochs[0] != epochs[1], "case {case}: epochs are shuffled anew");
    }
}

/// A run that stops after any batch continues with the same batches; a position within a batch is refused.
#[test]
fn resumes_from_the_position_alone() {
    for strategy in STRATEGIES {
        let sampler = BatchSampler::new(sizes(300, 7), config(strategy, 2)).unwrap();
        let whole: Vec<Batch> = sampler.batches(0).unwrap().take(150).collect();
        assert!(whole.last().unwrap().end > 300, "the second epoch is tested, too");
        for (index, batch) in whole.iter().enumerate().step_by(7) {
            // Another sampler, as after a restart.
            let again = BatchSampler::new(sizes(300, 7), config(strategy, 2)).unwrap();
            let mut resumed = again.batches(batch.end).unwrap();
            assert_eq!(resumed.position(), batch.end);
            assert!(resumed.by_ref().take(5).eq(whole[index + 1..].iter().take(5).cloned()) || index + 6 > whole.len());
        }
        let (before, batch) = whole.windows(2).map(|w| (w[0].end, &w[1])).find(|(e, b)| b.end - e > 1).unwrap();
        let error = sampler.batches(before + 1).unwrap_err();
        assert_eq!(error, BatchError::WithinBatch { position: before + 1, start: before, end: batch.end });
        assert!(error.to_string().contains(&before.to_string()));
        let other = BatchSampler::new(sizes(300, 7), config(strategy, 3)).unwrap();
        assert_ne!(other.batches(0).unwrap().take(9).collect::<Vec<_>>(), whole[..9]);
    }
}

/// What it is for: of these lengths, in batches of about four, a quarter is padding in random order and 0.7 % when grouped.
#[test]
fn grouping_and_packing_save_padding() {
    let stats = STRATEGIES.map(|strategy| {
        let config = BatchConfig { megabatch: 1000, ..config(strategy, 5) };
        BatchSampler::new(sizes(5000, 11), config).unwrap().stats(0)
    });
    let [sequential, grouped, packed] = stats.map(|stats| stats.padding_share());
    assert!(sequential > 0.2 && grouped < 0.02 && packed == 0.0, "{sequential} {grouped} {packed}");
    let [sequential, grouped, packed] = stats.map(|stats| stats.fill_rate());
    assert!(packed > 0.95 && packed > grouped && grouped > sequential, "{sequential} {grouped} {packed}");
    assert!(stats[2].batches < stats[1].batches && stats[1].batches < stats[0].batches);
    // Never more rows than 11/9 of what the tokens alone need, and one, in each of the five megabatches.
    let least = stats[2].tokens as f64 / 2048.0;
    assert!((stats[2].batches as f64) <= 11.0 / 9.0 * least + 10.0);
}

#[test]
fn what_does_not_fit_is_named() {
    let sizes = [SampleSize { tokens: 10, images: 0 }, SampleSize { tokens: 99, images: 3 }];
    let base = BatchConfig { max_tokens: 100, ..Default::default() };
    let error = |config: BatchConfig| BatchSampler::new(sizes.to_vec(), config).unwrap_err().to_string();
    let tokens = error(BatchConfig { max_tokens: 50, ..base });
    assert!(tokens.contains("sample 1 has 99 tokens") && tokens.contains("max_tokens"), "{tokens}");
    assert!(error(BatchConfig { multiple_of: 64, ..base }).contains("128 tokens"));
    assert!(error(BatchConfig { max_images: Some(2), ..base }).contains("3 pictures"));
    for (key, config) in [
        ("max_tokens", BatchConfig { max_tokens: 0, ..base }),
        ("max_samples", BatchConfig { max_samples: Some(0), ..base }),
        ("max_images", BatchConfig { max_images: Some(0), ..base }),
        ("multiple_of", BatchConfig { multiple_of: 0, ..base }),
        ("megabatch", BatchConfig { megabatch: 0, ..base }),
    ] {
        assert!(error(config).starts_with(key));
    }
    assert_eq!(BatchSampler::new(Vec::new(), base), Err(BatchError::Empty));
    let toml: BatchConfig = toml::from_str("strategy = \"packed\"\nmax_images = 4").unwrap();
    assert_eq!((toml.strategy, toml.max_images, toml.max_tokens), (Strategy::Packed, Some(4), 8192));
    assert!(toml::from_str::<BatchConfig>("max_token = 4").unwrap_err().to_string().contains("max_tokens"));
}

/// A target with all that it is predicted from: ids and positions of what its predecessor attends to.
type Prediction = (Vec<(i64, i64)>, i64);

/// Packed or alone, each target is predicted from the same tokens at the same positions.
#[test]
fn packed_samples_are_what_they_are_alone() {
    let mut random = Stream::new(4);
    for strategy in [Strategy::Packed, Strategy::Grouped] {
        let samples: Vec<Encoded> = (0..40)
            .map(|_| {
                let ids: Vec<u32> = (0..1 + random.below(30)).map(|_| random.below(50) as u32).collect();
                // First tokens are trained now and then, as LLaVA-NeXT's style does it.
                let labels = ids.iter().map(|id| if random.below(3) == 0 { IGNORE } else { i64::from(*id) }).collect();
                Encoded { ids, labels, ..Encoded::default() }
            })
            .collect();
        let sizes: Vec<SampleSize> =
            samples.iter().map(|s| SampleSize { tokens: s.ids.len() as u32, images: 0 }).collect();
        let config = BatchConfig { strategy, max_tokens: 64, ..Default::default() };
        let mut packed: Vec<Prediction> = Vec::new();
        let mut targets = 0;
        for rows in arrange(&sizes, &config, 1) {
            let rows: Vec<Vec<&Encoded>> = rows.iter().map(|row| row.iter().map(|i| &samples[*i]).collect()).collect();
            let batch = collate_packed(&rows, 0, 8);
            targets += batch.trained();
            for row in 0..batch.rows {
                let at = |array: &[i64], column: usize| array[row * batch.tokens + column];
                assert_eq!(at(&batch.labels, 0), IGNORE);
                for query in 0..batch.tokens - 1 {
                    let target = at(&batch.labels, query + 1);
                    if target != IGNORE {
                        let seen = (0..batch.tokens).filter(|key| batch.allowed(row, query, *key));
                        let seen = seen.map(|key| (at(&batch.ids, key), at(&batch.positions, key))).collect();
                        packed.push((seen, target));
                    }
                }
            }
        }
        let alone = |sample: &Encoded| -> Vec<Prediction> {
            let ids: Vec<(i64, i64)> = sample.ids.iter().zip(0..).map(|(id, place)| (i64::from(*id), place)).collect();
            let labels = sample.labels.iter().enumerate().skip(1).filter(|(_, label)| **label != IGNORE);
            labels.map(|(place, label)| (ids[..place].to_vec(), *label)).collect()
        };
        let mut expected: Vec<Prediction> = samples.iter().flat_map(alone).collect();
        assert_eq!(targets, expected.len());
        packed.sort();
        expected.sort();
        assert_eq!(packed, expected);
    }
}

//! Packed rows against loops that go token by token.

use burn_vlm_data::batching::collate_packed;
use burn_vlm_data::encode::{Encoded, IGNORE};
use proptest::collection::vec;
use proptest::prelude::*;

const PAD: u32 = 99;

/// Rows of samples, some of them empty; labels at first tokens, too.
fn rows() -> impl Strategy<Value = Vec<Vec<Encoded>>> {
    let token = (0u32..50, any::<bool>());
    let sample = vec(token, 0..9).prop_map(|tokens| Encoded {
        ids: tokens.iter().map(|(id, _)| *id).collect(),
        labels: tokens.iter().map(|(id, trained)| if *trained { i64::from(*id) } else { IGNORE }).collect(),
        ..Encoded::default()
    });
    vec(vec(sample, 0..5), 0..5)
}

/// A token of a row as it should be: id, label, position, segment.
type Token = (i64, i64, i64, i64);

fn naive_row(samples: &[Encoded], tokens: usize) -> Vec<Token> {
    let mut row = Vec::new();
    for (segment, sample) in samples.iter().enumerate() {
        for (place, (id, label)) in sample.ids.iter().zip(&sample.labels).enumerate() {
            let label = if place == 0 { IGNORE } else { *label };
            row.push((i64::from(*id), label, place as i64, segment as i64 + 1));
        }
    }
    while row.len() < tokens {
        row.push((i64::from(PAD), IGNORE, 0, 0));
    }
    row
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn rows_are_those_of_a_naive_loop(rows in rows(), multiple_of in 0usize..9) {
        let borrowed: Vec<Vec<&Encoded>> = rows.iter().map(|row| row.iter().collect()).collect();
        let batch = collate_packed(&borrowed, PAD, multiple_of);
        let lengths: Vec<usize> = rows.iter().map(|row| row.iter().map(|sample| sample.ids.len()).sum()).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        // The shortest width that is long enough and a multiple.
        let tokens = (longest..).find(|width| *width % multiple_of.max(1) == 0).unwrap();
        prop_assert_eq!((batch.rows, batch.tokens), (rows.len(), tokens));
        let naive: Vec<Vec<Token>> = rows.iter().map(|row| naive_row(row, tokens)).collect();
        let expected: Vec<Token> = naive.concat();
        let found: Vec<Token> = (0..batch.ids.len())
            .map(|at| (batch.ids[at], batch.labels[at], batch.positions[at], batch.segments[at]))
            .collect();
        prop_assert_eq!(found, expected);

        prop_assert_eq!(batch.samples(), rows.iter().map(Vec::len).sum::<usize>());
        let targets = |sample: &Encoded| sample.labels.iter().skip(1).filter(|label| **label != IGNORE).count();
        prop_assert_eq!(batch.trained(), rows.iter().flatten().map(targets).sum::<usize>());
        for (row, samples) in rows.iter().enumerate() {
            // Each sample comes back from its boundaries.
            for (sample, range) in samples.iter().zip(batch.boundaries[row].windows(2)) {
                let ids = &batch.ids[row * tokens + range[0]..row * tokens + range[1]];
                prop_assert!(ids.iter().eq(sample.ids.iter().map(|id| i64::from(*id)).collect::<Vec<_>>().iter()));
            }
            prop_assert_eq!(batch.boundaries[row].last(), Some(&lengths[row]));
            for (query, key) in (0..tokens).flat_map(|query| (0..tokens).map(move |key| (query, key))) {
                let seen = key <= query && naive[row][key].3 == naive[row][query].3;
                prop_assert_eq!(batch.allowed(row, query, key), seen, "row {} query {} key {}", row, query, key);
            }
        }
    }
}

//! Greedy generation against the recorded tokens.

use burn_vlm::generate::GenerationConfig;

use crate::common::{Fixture, rows};

/// Compares greedy tokens exactly, up to the end of text.
pub fn check_greedy(
    fixture: &Fixture,
    ids: &str,
    mask: &str,
    eos: &[u32],
    generate: impl Fn(&[Vec<u32>], &GenerationConfig) -> Vec<Vec<u32>>,
) {
    let (expected, shape) = fixture.ints("gen.new_tokens");
    let expected: Vec<Vec<u32>> = expected
        .chunks(shape[1])
        .map(|row| row.iter().map(|id| *id as u32).take_while(|id| !eos.contains(id)).collect())
        .collect();
    let (ids, ids_shape) = fixture.ints(ids);
    let (mask, _) = fixture.ints(mask);
    let prompts = rows(&ids, &mask, ids_shape[1]);
    let config =
        GenerationConfig { max_new_tokens: shape[1], stop_tokens: eos.to_vec(), ..GenerationConfig::default() };
    let found = generate(&prompts, &config);
    println!("{:24} gen.new_tokens exact: {}", fixture.name, found == expected);
    if found != expected {
        fixture.fail(format!("gen.new_tokens: {found:?}, expected {expected:?}"));
    }
}

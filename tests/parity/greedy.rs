//! Greedy generation against the recorded tokens.

use burn_vlm::generate::GenerationConfig;

use crate::common::{Fixture, rows};

/// Tokens that end a text: those of generation_config.json, as transformers takes them, else the model's.
pub fn stop_tokens(fixture: &Fixture, of_model: Vec<u32>) -> Vec<u32> {
    let published = GenerationConfig::from_folder(&fixture.dir).unwrap().stop_tokens;
    if published.is_empty() { of_model } else { published }
}

/// Compares greedy tokens exactly, up to the end of text, where the folder has them.
pub fn check_greedy(
    fixture: &Fixture,
    ids: &str,
    mask: &str,
    eos: &[u32],
    generate: impl Fn(&[Vec<u32>], &GenerationConfig) -> Vec<Vec<u32>>,
) {
    if !fixture.asks("gen.new_tokens") || !fixture.asks(ids) {
        return;
    }
    let (expected, shape) = fixture.ints("gen.new_tokens");
    let expected: Vec<Vec<u32>> = expected
        .chunks(shape[1])
        .map(|row| row.iter().map(|id| *id as u32).take_while(|id| !eos.contains(id)).collect())
        .collect();
    let (ids, ids_shape) = fixture.ints(ids);
    let mask = if fixture.asks(mask) { fixture.ints(mask).0 } else { vec![1; ids.len()] };
    let prompts = rows(&ids, &mask, ids_shape[1]);
    let config =
        GenerationConfig { max_new_tokens: shape[1], stop_tokens: eos.to_vec(), ..GenerationConfig::default() };
    let found = generate(&prompts, &config);
    println!("{:24} gen.new_tokens exact: {}", fixture.name, found == expected);
    if found != expected {
        fixture.fail(format!("gen.new_tokens: {found:?}, expected {expected:?}"));
    }
}

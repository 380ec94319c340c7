//! One token from one row of logits.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::GenerationConfig;

/// A token and its score; the heap gives the likeliest first, equals in the order of their ids, so that the choice is the
/// same everywhere.
#[derive(PartialEq)]
struct Candidate {
    score: f64,
    token: usize,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.token.cmp(&self.token))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The token for a uniform number in (0, 1); greedy ignores it.
pub(super) fn choose_token(logits: &[f32], seen: &[u32], config: &GenerationConfig, uniform: f64) -> u32 {
    let mut scores: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    penalise(&mut scores, seen, config.repetition_penalty);
    if config.temperature == 0.0 {
        return argmax(&scores) as u32;
    }
    let candidates = scores.into_iter().enumerate().map(|(token, score)| Candidate { score, token });
    // What a rule forbids is no candidate, not even where rounding leaves a remainder behind the last one.
    let candidates = candidates.filter(|candidate| candidate.score != f64::NEG_INFINITY);
    // A heap instead of a sort: of a vocabulary of 256,000 only the few likeliest are put in order.
    let mut heap: BinaryHeap<Candidate> = candidates.collect();
    let best = heap.peek().map_or(0.0, |candidate| candidate.score);
    let weight = |score: f64| ((score - best) / config.temperature).exp();
    let mut total: f64 = match config.top_k {
        None => heap.iter().map(|candidate| weight(candidate.score)).sum(),
        Some(_) => 0.0,
    };
    // (token, weight), the likeliest first
    let mut kept: Vec<(usize, f64)> = Vec::new();
    if let Some(k) = config.top_k {
        let mut last = f64::INFINITY;
        while let Some(next) = heap.pop() {
            // Those that tie with the k-th stay.
            if kept.len() >= k && next.score != last {
                break;
            }
            last = next.score;
            kept.push((next.token, weight(next.score)));
            total += weight(next.score);
        }
        heap.clear();
    }
    let mut kept = kept
        .into_iter()
        .chain(std::iter::from_fn(|| heap.pop().map(|candidate| (candidate.token, weight(candidate.score)))));
    match config.top_p {
        Some(p) => {
            let (mut nucleus, mut sum) = (Vec::new(), 0.0);
            while sum < p * total || nucleus.is_empty() {
                let Some(next) = kept.next() else { break };
                sum += next.1;
                nucleus.push(next);
            }
            pick(nucleus.into_iter(), uniform * sum)
        }
        None => pick(kept, uniform * total),
    }
}

/// The token in whose share of the sum of weights `left` falls.
fn pick(candidates: impl Iterator<Item = (usize, f64)>, mut left: f64) -> u32 {
    let mut last = 0;
    for (token, weight) in candidates {
        last = token;
        left -= weight;
        if left <= 0.0 {
            break;
        }
    }
    // Rounding can leave a remainder after the last one.
    last as u32
}

/// How likely a model found a token: the logarithm of its probability, before temperature, penalty and cuts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub id: u32,
    /// Natural logarithm of its probability.
    pub logprob: f64,
}

/// The token's own log-probability, and the `most` likeliest tokens with theirs, equals in the order of their ids.
pub(super) fn logprobs_of(logits: &[f32], token: u32, most: usize) -> (f64, Vec<TokenLogprob>) {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - best).exp()).sum();
    let logprob = |logit: f32| f64::from(logit - best) - sum.ln();
    let own = logits.get(token as usize).copied().map_or(f64::NEG_INFINITY, logprob);
    if most == 0 {
        return (own, Vec::new());
    }
    let candidates = logits.iter().enumerate().map(|(token, score)| Candidate { score: f64::from(*score), token });
    let mut heap: BinaryHeap<Candidate> = candidates.collect();
    let likeliest = std::iter::from_fn(|| heap.pop()).take(most);
    let likeliest = likeliest
        .map(|candidate| TokenLogprob { id: candidate.token as u32, logprob: logprob(candidate.score as f32) });
    (own, likeliest.collect())
}

fn penalise(scores: &mut [f64], seen: &[u32], penalty: f64) {
    if penalty == 1.0 {
        return;
    }
    let mut penalised: Vec<u32> = seen.to_vec();
    penalised.sort_unstable();
    penalised.dedup();
    for token in penalised {
        if let Some(score) = scores.get_mut(token as usize) {
            *score = if *score > 0.0 { *score / penalty } else { *score * penalty };
        }
    }
}

/// Index of the first largest value.
fn argmax(scores: &[f64]) -> usize {
    scores.iter().enumerate().fold(0, |best, (index, score)| if *score > scores[best] { index } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [1.0, 3.0, 2.0, -1.0];

    fn sampled(config: &GenerationConfig) -> Vec<u32> {
        let mut tokens: Vec<u32> =
            (0..1000).map(|n| choose_token(&LOGITS, &[], config, (f64::from(n) + 0.5) / 1000.0)).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    #[test]
    fn processors_cut_as_documented() {
        let config = GenerationConfig { temperature: 1.0, ..Default::default() };
        assert_eq!(sampled(&config), [0, 1, 2, 3]);
        assert_eq!(sampled(&GenerationConfig { top_k: Some(2), ..config.clone() }), [1, 2]);
        // softmax: 0.0889, 0.6572, 0.2418, 0.0120 for the ids 0, 1, 2, 3
        assert_eq!(sampled(&GenerationConfig { top_p: Some(0.6), ..config.clone() }), [1]);
        assert_eq!(sampled(&GenerationConfig { top_p: Some(0.89), ..config.clone() }), [1, 2]);
        assert_eq!(sampled(&GenerationConfig { top_p: Some(0.9), ..config.clone() }), [0, 1, 2]);
    }

    #[test]
    fn sampling_follows_the_probabilities() {
        let config = GenerationConfig { temperature: 1.0, ..Default::default() };
        let count =
            (0..10_000).filter(|n| choose_token(&LOGITS, &[], &config, (f64::from(*n) + 0.5) / 10_000.0) == 1).count();
        // exp(3) / (exp(1) + exp(3) + exp(2) + exp(-1)) = 0.6572
        let z: f64 = LOGITS.iter().map(|logit| f64::from(*logit).exp()).sum();
        assert!((count as f64 / 10_000.0 - 3f64.exp() / z).abs() < 2e-4, "{count}");
    }

    #[test]
    fn repetition_penalty_divides_positive_and_multiplies_negative_logits() {
        let config = GenerationConfig { repetition_penalty: 2.0, ..Default::default() };
        // 3 / 2 = 1.5 < 2
        assert_eq!(choose_token(&LOGITS, &[1], &config, 0.5), 2);
        assert_eq!(choose_token(&[-1.0, -1.5], &[0], &config, 0.5), 1);
    }

    #[test]
    fn what_is_forbidden_is_never_taken() {
        let masked = [f32::NEG_INFINITY, f32::NEG_INFINITY, 2.0, f32::NEG_INFINITY];
        for config in [
            GenerationConfig::default(),
            GenerationConfig { temperature: 1.0, repetition_penalty: 1.5, ..Default::default() },
            GenerationConfig { temperature: 1.0, top_k: Some(3), top_p: Some(0.9), ..Default::default() },
        ] {
            for uniform in [1e-12, 0.5, 1.0 - 1e-12] {
                assert_eq!(choose_token(&masked, &[0, 2], &config, uniform), 2, "{config:?}");
            }
        }
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        assert_eq!(argmax(&[0.0, 2.0, 2.0]), 1);
    }

    #[test]
    fn log_probabilities_are_those_of_softmax() {
        // As above: 0.0889, 0.6572, 0.2418, 0.0120 for the ids 0, 1, 2, 3.
        let (own, top) = logprobs_of(&LOGITS, 2, 3);
        let z: f64 = LOGITS.iter().map(|logit| f64::from(*logit).exp()).sum();
        // Rounding of f64.
        let same = |found: f64, logit: f64| (found - (logit - z.ln())).abs() < 1e-12;
        assert!(same(own, 2.0), "{own}");
        assert_eq!(top.iter().map(|top| top.id).collect::<Vec<u32>>(), [1, 2, 0]);
        assert!(top.iter().zip([3.0, 2.0, 1.0]).all(|(top, logit)| same(top.logprob, logit)), "{top:?}");
        assert_eq!(logprobs_of(&LOGITS, 3, 0).1, []);
        assert_eq!(logprobs_of(&[1.0, 1.0], 1, 9).1.len(), 2);
    }

    #[test]
    fn ties_with_the_last_of_top_k_are_kept() {
        let config = GenerationConfig { temperature: 1.0, top_k: Some(1), ..Default::default() };
        let chosen = |uniform| choose_token(&[0.0, 5.0, 5.0, 4.0], &[], &config, uniform);
        assert_eq!((chosen(0.25), chosen(0.75)), (1, 2));
    }
}

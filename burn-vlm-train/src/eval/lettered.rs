//! Four-way choice with the options A to D in the prompt, in all four rotations.
//!
//! An item counts only if all four rotations are right (MMBench's circular evaluation), so that a preference for one
//! letter earns nothing. The answer is the letter with the largest logit at the answer's position.

use burn::tensor::{Int, Tensor, TensorData};
use burn_vlm_data::collate::{PaddingSide, collate};
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::PictureId;
use burn_vlm_data::encode::Encoded;
use burn_vlm_data::tasks::{ChoiceItem, LETTERS};
use rayon::prelude::*;

use super::rows::Scorer;
use super::{NamedScore, OptionScores, Prediction, argmax};
use crate::error::{Result, TrainError};
use crate::objective::next_token_targets;

/// Rotations of an item.
const ROTATIONS: usize = 4;

/// Asks every item in its four rotations.
///
/// # Errors
/// An item that cannot be encoded, or letters that are no single tokens.
pub fn lettered(
    scorer: &Scorer<'_>,
    items: &[ChoiceItem],
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Prediction>> {
    let letters: Vec<i64> = LETTERS.iter().map(|letter| letter_token(scorer, letter)).collect::<Result<_>>()?;
    let asked: Vec<(usize, usize)> =
        (0..items.len()).flat_map(|item| (0..ROTATIONS).map(move |rotation| (item, rotation))).collect();
    let encoded: Vec<Encoded> = asked
        .par_iter()
        .map(|&(item, rotation)| {
            let mut turns = items[item].lettered(rotation).turns;
            turns.push(Turn::assistant(LETTERS[0]));
            scorer.encode(&turns)
        })
        .collect::<Result<_>>()?;
    let mut order: Vec<usize> = (0..asked.len()).collect();
    order.sort_by_key(|&row| (encoded[row].ids.len(), row));
    let mut scores = vec![Vec::new(); asked.len()];
    for (number, chunk) in order.chunks(scorer.batch).enumerate() {
        let members: Vec<Encoded> = chunk.iter().map(|&row| encoded[row].clone()).collect();
        let pictures: Vec<Option<PictureId>> = chunk.iter().map(|&row| Some(items[asked[row].0].picture)).collect();
        let text = collate(&members, scorer.pad_id(), PaddingSide::Right, 1);
        // the first target of each row is the letter; the rest is the end of the turn
        let (positions, _) = next_token_targets(&text);
        let mut first: Vec<Option<i64>> = vec![None; chunk.len()];
        for position in positions {
            first[position as usize / text.tokens].get_or_insert(position);
        }
        let first: Vec<i64> = first.into_iter().flatten().collect();
        let hidden = scorer.hidden(&text, &pictures)?;
        let [rows, tokens, width] = hidden.dims();
        let select = |values: Vec<i64>| {
            let count = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &scorer.device)
        };
        let hidden: Tensor<2> = hidden.reshape([rows * tokens, width]).select(0, select(first));
        let logits: Tensor<2> = scorer.model.language_model.logits(hidden).select(1, select(letters.clone()));
        let values: Vec<f64> = logits.into_data().iter::<f32>().map(f64::from).collect();
        for (&row, values) in chunk.iter().zip(values.chunks(LETTERS.len())) {
            scores[row] = values.to_vec();
        }
        progress((number * scorer.batch + chunk.len()).min(asked.len()), asked.len());
    }
    Ok(items
        .iter()
        .enumerate()
        .map(|(number, item)| {
            let rotations = &scores[number * ROTATIONS..(number + 1) * ROTATIONS];
            let right = rotations.iter().enumerate().all(|(r, values)| argmax(values) == item.lettered(r).answer);
            Prediction {
                id: item.id.clone(),
                protocol: "lettered".into(),
                distractors: Some(item.distractors.as_str().into()),
                concepts: item.pool.concepts.as_str().into(),
                language: item.language.tag().into(),
                concept: scorer.corpus.concept(item.concept).code.clone(),
                picture: scorer.corpus.picture_name(item.picture),
                question: item.prompt.clone(),
                options: item.options.to_vec(),
                answer: item.answer,
                option_scores: rotations
                    .iter()
                    .enumerate()
                    .map(|(r, values)| OptionScores { rule: format!("rotation {r}"), values: values.clone() })
                    .collect(),
                text: None,
                scores: vec![NamedScore { protocol: "lettered".into(), score: f64::from(u8::from(right)) }],
            }
        })
        .collect())
}

/// The token that a letter is where an answer starts.
fn letter_token(scorer: &Scorer<'_>, letter: &str) -> Result<i64> {
    let encoded = scorer.encode(&[Turn::user("?"), Turn::assistant(letter)])?;
    encoded
        .labels
        .iter()
        .copied()
        .find(|label| *label >= 0)
        .ok_or_else(|| TrainError::Data(format!("the letter {letter} has no token")))
}

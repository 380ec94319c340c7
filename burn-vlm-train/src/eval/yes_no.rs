//! Yes/no questions in pairs: "Is this ...?" once with the right name and once with a wrong one (MMMB, section 2 of Parrot).
//!
//! Unusual here: two protocols from the same answers, since MMMB's paper and its published code differ. `paired` (the paper) counts
//! a picture only if both of its questions are answered right, so that always saying yes earns nothing; `vanilla` (the code) counts
//! each question by itself.

use std::collections::HashMap;

use burn_vlm_data::conversation::Turn;
use burn_vlm_data::tasks::YesNoItem;

use super::rows::{Row, Scorer, likelihoods};
use super::{NamedScore, OptionScores, Prediction, argmax};
use crate::error::Result;

/// Summary name of the protocol that counts each question.
pub const VANILLA: &str = "yes_no_vanilla";
/// Summary name of the protocol that counts pairs.
pub const PAIRED: &str = "yes_no_paired";

/// Circular evaluation: what each question contributes when only whole pairs count. `answers` are pair id and whether right;
/// every member of a pair gets the pair's verdict. For a pair of two, the mean over questions equals the mean over pairs.
pub fn paired<'a>(answers: impl IntoIterator<Item = (&'a str, bool)> + Clone) -> Vec<bool> {
    let mut verdicts: HashMap<&str, bool> = HashMap::new();
    for (pair, right) in answers.clone() {
        *verdicts.entry(pair).or_insert(true) &= right;
    }
    answers.into_iter().map(|(pair, _)| verdicts[pair]).collect()
}

/// Asks every item; the answer is the likelier of the language's words for yes and no (mean log-likelihood of its tokens).
///
/// # Errors
/// An item that cannot be encoded, or a picture without features.
pub fn yes_no(scorer: &Scorer<'_>, items: &[YesNoItem], progress: impl FnMut(usize, usize)) -> Result<Vec<Prediction>> {
    let row = |item: &YesNoItem, word: &str| {
        let mut turns = item.turns();
        turns.push(Turn::assistant(word));
        Row { picture: Some(item.picture), turns }
    };
    let rows: Vec<Row> = items
        .iter()
        .flat_map(|item| {
            let (yes, no) = item.words();
            [row(item, yes), row(item, no)]
        })
        .collect();
    let scores = likelihoods(scorer, &rows, progress)?;
    let right_word = |item: &YesNoItem| usize::from(!item.answer);
    let answers: Vec<(&str, bool)> = items
        .iter()
        .zip(scores.chunks(2))
        .map(|(item, words)| (item.pair.as_str(), argmax(words) == right_word(item)))
        .collect();
    let verdicts = paired(answers.iter().copied());
    let share = |right: bool| f64::from(u8::from(right));
    Ok(items
        .iter()
        .zip(scores.chunks(2))
        .zip(answers.iter().zip(&verdicts))
        .map(|((item, words), ((_, right), verdict))| {
            let (yes, no) = item.words();
            Prediction {
                id: item.id.clone(),
                protocol: "yes_no".into(),
                distractors: Some(item.distractors.as_str().into()),
                concepts: item.pool.concepts.as_str().into(),
                language: item.language.tag().into(),
                concept: scorer.corpus.concept(item.concept).code.clone(),
                picture: scorer.corpus.picture_name(item.picture),
                question: item.prompt.clone(),
                options: vec![yes.into(), no.into()],
                answer: right_word(item),
                option_scores: vec![OptionScores { rule: "likelihood".into(), values: words.to_vec() }],
                text: None,
                scores: vec![
                    NamedScore { protocol: PAIRED.into(), score: share(*verdict) },
                    NamedScore { protocol: VANILLA.into(), score: share(*right) },
                ],
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_counts_only_whole() {
        let answers = [("a", true), ("b", true), ("a", true), ("b", false), ("c", false), ("c", false)];
        assert_eq!(paired(answers), [true, false, true, false, false, false]);
        // always yes: half of the questions, no pair
        let always_yes = [("a", true), ("a", false), ("b", true), ("b", false)];
        assert!(paired(always_yes).iter().all(|right| !right));
        assert_eq!(paired(Vec::<(&str, bool)>::new()), Vec::<bool>::new());
    }
}

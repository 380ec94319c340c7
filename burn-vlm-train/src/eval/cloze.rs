//! Four-way choice in cloze form: which of four names is the likeliest answer to "What is this?"
//!
//! A name's score is the mean log-likelihood of its tokens; `pmi` subtracts the same mean given the question without
//! the picture, which takes away how common a name is by itself. Both are computed from the same rows; the headline
//! is the one that the validation split chose.

use std::collections::HashMap;

use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::{ConceptId, PictureId};
use burn_vlm_data::language::Language;
use burn_vlm_data::tasks::ChoiceItem;

use super::rows::{Row, Scorer, likelihoods};
use super::{NamedScore, OptionScores, Prediction, argmax};
use crate::error::Result;
use crate::recipe::ClozeScore;

/// The summary's name of a cloze rule: `cloze` for the headline, `cloze_likelihood` or `cloze_pmi` for the other one.
pub fn cloze_protocol(rule: ClozeScore, headline: ClozeScore) -> &'static str {
    match (rule == headline, rule) {
        (true, _) => "cloze",
        (false, ClozeScore::Likelihood) => "cloze_likelihood",
        (false, ClozeScore::Pmi) => "cloze_pmi",
    }
}

/// Asks every item. Names that several items share (near and far ones of a picture have the right one in common) are
/// scored once.
///
/// # Errors
/// An item that cannot be encoded, or a picture without features.
pub fn cloze(
    scorer: &Scorer<'_>,
    items: &[ChoiceItem],
    headline: ClozeScore,
    progress: impl FnMut(usize, usize),
) -> Result<Vec<Prediction>> {
    let mut rows = Vec::new();
    let mut with_picture: HashMap<(PictureId, Language, ConceptId), usize> = HashMap::new();
    let mut alone: HashMap<(Language, ConceptId), usize> = HashMap::new();
    for item in items {
        for (option, &concept) in item.option_concepts.iter().enumerate() {
            with_picture.entry((item.picture, item.language, concept)).or_insert_with(|| {
                rows.push(Row { picture: Some(item.picture), turns: item.cloze_with(option) });
                rows.len() - 1
            });
            alone.entry((item.language, concept)).or_insert_with(|| {
                let mut turns = item.cloze_text_only();
                turns.push(Turn::assistant(item.options[option].clone()));
                rows.push(Row { picture: None, turns });
                rows.len() - 1
            });
        }
    }
    let scores = likelihoods(scorer, &rows, progress)?;
    Ok(items
        .iter()
        .map(|item| {
            let given = |concept: &ConceptId| scores[with_picture[&(item.picture, item.language, *concept)]];
            let prior = |concept: &ConceptId| scores[alone[&(item.language, *concept)]];
            let likelihood: Vec<f64> = item.option_concepts.iter().map(given).collect();
            let pmi: Vec<f64> = item.option_concepts.iter().map(|concept| given(concept) - prior(concept)).collect();
            let named = |rule, values: &[f64]| NamedScore {
                protocol: cloze_protocol(rule, headline).into(),
                score: f64::from(u8::from(argmax(values) == item.answer)),
            };
            let named_scores = vec![named(ClozeScore::Likelihood, &likelihood), named(ClozeScore::Pmi, &pmi)];
            Prediction {
                id: item.id.clone(),
                protocol: "cloze".into(),
                distractors: Some(item.distractors.as_str().into()),
                concepts: item.pool.concepts.as_str().into(),
                language: item.language.tag().into(),
                concept: scorer.corpus.concept(item.concept).code.clone(),
                picture: scorer.corpus.picture_name(item.picture),
                question: item.prompt.clone(),
                options: item.options.to_vec(),
                answer: item.answer,
                option_scores: vec![
                    OptionScores { rule: "likelihood".into(), values: likelihood },
                    OptionScores { rule: "pmi".into(), values: pmi },
                ],
                text: None,
                scores: named_scores,
            }
        })
        .collect())
}

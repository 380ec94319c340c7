//! Captions: the model answers "What is this?" freely; exact match and chrF against the concept's name.

use burn_vlm::generate::GenerationConfig;
use burn_vlm_data::emoji::PictureId;
use burn_vlm_data::encode::{encode_prompt, end_of_turn};
use burn_vlm_data::sample::Sample;
use rayon::prelude::*;

use super::rows::Scorer;
use super::{NamedScore, Prediction};
use crate::error::{Result, TrainError};
use crate::stats::{chrf, exact_match};

/// Longest caption in tokens; the longest name of the corpus has about half of it.
const MAX_NEW_TOKENS: usize = 32;

/// Captions every sample greedily. `concepts` is `seen` or `unseen`.
///
/// # Errors
/// A sample that cannot be encoded, or a picture without features.
pub fn captions(
    scorer: &Scorer<'_>,
    samples: &[Sample],
    concepts: &str,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Prediction>> {
    let data_error = |e: burn_vlm_data::encode::EncodeError| TrainError::Data(e.to_string());
    let image_tokens = [scorer.model.config.num_visual_tokens()];
    let prompts: Vec<Vec<u32>> = samples
        .par_iter()
        .map(|sample| {
            let pictures = &image_tokens[..usize::from(sample.picture.is_some())];
            encode_prompt(scorer.tokenizer, scorer.template, sample.prompt(), pictures).map_err(data_error)
        })
        .collect::<Result<_>>()?;
    let end = end_of_turn(scorer.tokenizer, scorer.template).map_err(data_error)?;
    let stop: Vec<u32> = end.into_iter().chain(scorer.tokenizer.eos_id()).collect();
    let config = GenerationConfig { max_new_tokens: MAX_NEW_TOKENS, stop_tokens: stop, ..Default::default() };
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by_key(|&sample| (prompts[sample].len(), sample));
    let mut texts = vec![String::new(); samples.len()];
    for (number, chunk) in order.chunks(scorer.batch).enumerate() {
        let batch: Vec<Vec<u32>> = chunk.iter().map(|&sample| prompts[sample].clone()).collect();
        let pictures: Vec<PictureId> = chunk.iter().filter_map(|&sample| samples[sample].picture).collect();
        let features = scorer.raw_features(&pictures)?;
        let generated = scorer.model.generate(&batch, features, &config, &scorer.device)?;
        for (&sample, generated) in chunk.iter().zip(generated) {
            texts[sample] = scorer
                .tokenizer
                .decode(&generated.ids, true)
                .map_err(|e| TrainError::Data(format!("{}: {e}", samples[sample].id)))?;
        }
        progress((number * scorer.batch + chunk.len()).min(samples.len()), samples.len());
    }
    Ok(samples
        .iter()
        .zip(texts)
        .map(|(sample, text)| {
            let reference = sample.answer();
            let named = |protocol: &str, score: f64| NamedScore { protocol: protocol.into(), score };
            let share = |holds: bool| f64::from(u8::from(holds));
            let scores = vec![
                named("caption_exact", share(exact_match(&text, reference))),
                named("caption_chrf", chrf(&text, reference) / 100.0),
            ];
            Prediction {
                id: sample.id.clone(),
                protocol: "caption".into(),
                distractors: None,
                concepts: concepts.into(),
                language: sample.language.tag().into(),
                concept: scorer.corpus.concept(sample.concept).code.clone(),
                picture: sample.picture.map(|picture| scorer.corpus.picture_name(picture)).unwrap_or_default(),
                question: sample.prompt().last().map(|turn| turn.text.clone()).unwrap_or_default(),
                options: vec![reference.to_string()],
                answer: 0,
                option_scores: Vec::new(),
                scores,
                text: Some(text),
            }
        })
        .collect())
}

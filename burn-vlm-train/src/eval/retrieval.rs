//! Four-way choice by a dual encoder alone: which of four names has the embedding nearest to the picture's?
//!
//! This is what an encoder knows before any language model is joined to it; the log of a pretrained encoder ends with it.

use std::collections::{BTreeMap, HashMap};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::dual::DualEncoder;
use burn_vlm_data::emoji::PictureId;
use burn_vlm_data::tasks::ChoiceItem;
use burn_vlm_data::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use super::argmax;
use crate::error::Result;
use crate::objective::encode_text;
use crate::pictures::Pictures;

/// Inputs of one forward pass.
const BATCH: usize = 128;

/// Share of right choices in one language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetrievalScore {
    /// Language tag.
    pub language: String,
    /// `near` or `far`.
    pub distractors: String,
    /// `seen` or `unseen`.
    pub concepts: String,
    /// Number of questions.
    pub n: usize,
    /// Percent right; chance is 25.
    pub score: f64,
}

/// Asks every item of an encoder, `text_length` being its text tower's number of positions.
///
/// # Errors
/// A picture that cannot be decoded or that the encoder does not take.
pub fn retrieval(
    model: &DualEncoder,
    device: &Device,
    pictures: &Pictures,
    tokenizer: &Tokenizer,
    text_length: usize,
    items: &[ChoiceItem],
) -> Result<Vec<RetrievalScore>> {
    let model = model.valid();
    let device = device.clone().inner();
    let mut picture_rows: HashMap<PictureId, usize> = HashMap::new();
    let mut shown = Vec::new();
    let mut text_rows: HashMap<&str, usize> = HashMap::new();
    let mut texts = Vec::new();
    for item in items {
        picture_rows.entry(item.picture).or_insert_with(|| {
            shown.push(item.picture);
            shown.len() - 1
        });
        for option in &item.options {
            text_rows.entry(option).or_insert_with(|| {
                texts.push(option.as_str());
                texts.len() - 1
            });
        }
    }
    let size = pictures.size();
    let mut image_embeds: Vec<Vec<f32>> = Vec::with_capacity(shown.len());
    for chunk in shown.chunks(BATCH) {
        let pixels = chunk.iter().map(|&p| pictures.pixels(p, None)).collect::<Result<Vec<_>>>()?.concat();
        let pixels = Tensor::<4>::from_data(TensorData::new(pixels, [chunk.len(), 3, size, size]), &device);
        image_embeds.extend(rows_of(model.image_embeds(pixels)?));
    }
    let mut text_embeds: Vec<Vec<f32>> = Vec::with_capacity(texts.len());
    for chunk in texts.chunks(BATCH) {
        let ids = chunk
            .iter()
            .map(|text| encode_text(tokenizer, text, text_length).map(|(ids, _)| ids))
            .collect::<Result<Vec<_>>>()?
            .concat();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [chunk.len(), text_length]), &device);
        text_embeds.extend(rows_of(model.text_embeds(ids)?));
    }
    let mut counts: BTreeMap<(String, String, String), (usize, usize)> = BTreeMap::new();
    for item in items {
        let image = &image_embeds[picture_rows[&item.picture]];
        let similarity = |option: &String| {
            let text = &text_embeds[text_rows[option.as_str()]];
            image.iter().zip(text).map(|(a, b)| f64::from(a * b)).sum::<f64>()
        };
        let scores: Vec<f64> = item.options.iter().map(similarity).collect();
        let key = (
            item.language.tag().to_string(),
            item.distractors.as_str().to_string(),
            item.pool.concepts.as_str().to_string(),
        );
        let entry = counts.entry(key).or_default();
        entry.0 += 1;
        entry.1 += usize::from(argmax(&scores) == item.answer);
    }
    Ok(counts
        .into_iter()
        .map(|((language, distractors, concepts), (n, right))| RetrievalScore {
            language,
            distractors,
            concepts,
            n,
            score: 100.0 * right as f64 / n as f64,
        })
        .collect())
}

fn rows_of(embeds: Tensor<2>) -> Vec<Vec<f32>> {
    let width = embeds.dims()[1];
    let values: Vec<f32> = embeds.into_data().iter::<f32>().collect();
    values.chunks(width).map(<[f32]>::to_vec).collect()
}

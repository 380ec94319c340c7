//! Four-way choice by a dual encoder alone: which of four names has the embedding nearest to the picture's?
//!
//! This is what an encoder knows before any language model is joined to it; the log of a pretrained encoder ends with it.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::dual::DualEncoder;
use burn_vlm_data::drawn::DrawnPicture;
use burn_vlm_data::emoji::PictureId;
use burn_vlm_data::tasks::{ChoiceItem, WordItem};
use burn_vlm_data::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use super::argmax;
use crate::error::{Result, TrainError};
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
    /// `seen` or `unseen`; of words in pictures the level, `plain words`.
    pub concepts: String,
    /// Number of questions.
    pub n: usize,
    /// Percent right; chance is 25.
    pub score: f64,
}

/// An encoder that is asked, and how it is shown pictures and texts.
#[derive(Clone, Copy)]
pub struct RetrievalInput<'a> {
    /// The encoder.
    pub model: &'a DualEncoder,
    /// Where it is.
    pub device: &'a Device,
    /// How pictures are prepared.
    pub pictures: &'a Pictures,
    /// Of the text tower.
    pub tokenizer: &'a Tokenizer,
    /// The text tower's number of positions.
    pub text_length: usize,
}

/// A question: which of four texts belongs to a picture?
struct Asked<'a, P> {
    /// Language, distractors, concepts.
    of: [&'a str; 3],
    picture: P,
    options: &'a [String; 4],
    answer: usize,
}

/// Asks every item of an encoder.
///
/// # Errors
/// A picture that cannot be decoded or that the encoder does not take.
pub fn retrieval(input: &RetrievalInput<'_>, items: &[ChoiceItem]) -> Result<Vec<RetrievalScore>> {
    let asked = items.iter().map(|item| Asked {
        of: [item.language.tag(), item.distractors.as_str(), item.pool.concepts.as_str()],
        picture: item.picture,
        options: &item.options,
        answer: item.answer,
    });
    scores(input, asked.collect(), |picture: &PictureId| input.pictures.pixels(*picture, None))
}

/// The same of words in pictures; in the place of `concepts` stands the level, `plain words`.
///
/// # Errors
/// A word that cannot be drawn.
pub fn word_retrieval(input: &RetrievalInput<'_>, items: &[WordItem]) -> Result<Vec<RetrievalScore>> {
    let asked = items.iter().map(|item| Asked {
        of: [item.language.tag(), item.distractors.as_str(), item.level.as_str()],
        picture: &item.picture,
        options: &item.options,
        answer: item.answer,
    });
    let pixels = |picture: &&DrawnPicture| {
        let drawn = picture.draw().map_err(|reason| TrainError::Data(reason.to_string()))?;
        input.pictures.pixels_of(&drawn, None).map_err(TrainError::within(picture.name()))
    };
    let mut scores = scores(input, asked.collect(), pixels)?;
    scores.iter_mut().for_each(|score| score.concepts += " words");
    Ok(scores)
}

fn scores<P: Eq + Hash + Clone>(
    input: &RetrievalInput<'_>,
    items: Vec<Asked<'_, P>>,
    pixels: impl Fn(&P) -> Result<Vec<f32>>,
) -> Result<Vec<RetrievalScore>> {
    let RetrievalInput { pictures, tokenizer, text_length, .. } = *input;
    let model = input.model.valid();
    let device = input.device.clone().inner();
    let mut picture_rows: HashMap<P, usize> = HashMap::new();
    let mut shown = Vec::new();
    let mut text_rows: HashMap<&str, usize> = HashMap::new();
    let mut texts = Vec::new();
    for item in &items {
        picture_rows.entry(item.picture.clone()).or_insert_with(|| {
            shown.push(item.picture.clone());
            shown.len() - 1
        });
        for option in item.options {
            text_rows.entry(option).or_insert_with(|| {
                texts.push(option.as_str());
                texts.len() - 1
            });
        }
    }
    let size = pictures.size();
    let mut image_embeds: Vec<Vec<f32>> = Vec::with_capacity(shown.len());
    for chunk in shown.chunks(BATCH) {
        let values = chunk.iter().map(&pixels).collect::<Result<Vec<_>>>()?.concat();
        let pixels = Tensor::<4>::from_data(TensorData::new(values, [chunk.len(), 3, size, size]), &device);
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
    let mut counts: BTreeMap<[&str; 3], (usize, usize)> = BTreeMap::new();
    for item in &items {
        let image = &image_embeds[picture_rows[&item.picture]];
        let similarity = |option: &String| {
            let text = &text_embeds[text_rows[option.as_str()]];
            image.iter().zip(text).map(|(a, b)| f64::from(a * b)).sum::<f64>()
        };
        let scores: Vec<f64> = item.options.iter().map(similarity).collect();
        let entry = counts.entry(item.of).or_default();
        entry.0 += 1;
        entry.1 += usize::from(argmax(&scores) == item.answer);
    }
    Ok(counts
        .into_iter()
        .map(|([language, distractors, concepts], (n, right))| RetrievalScore {
            language: language.to_owned(),
            distractors: distractors.to_owned(),
            concepts: concepts.to_owned(),
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

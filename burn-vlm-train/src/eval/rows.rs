//! The model that is asked: prompts, pictures and the batched forward passes behind every benchmark.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::language::AttentionInput;
use burn_vlm::vlm::{Vlm, VlmInput};
use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::collate::{PaddingSide, TextBatch, collate};
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::PictureId;
use burn_vlm_data::encode::{EncodeOptions, Encoded, encode_prompt, end_of_turn};
use burn_vlm_data::sample::{MediaKey, Picture};
use burn_vlm_data::tokenizer::Tokenizer;
use rayon::prelude::*;

use super::BenchmarkError;
use crate::error::{Result, TrainError};
use crate::features::FeatureBank;
use crate::objective::{encode_turns, image_positions, needs_user_turns, next_token_targets, routing_text};
use crate::pictures::Pictures;

/// Pictures of one pass through the tower.
const TOWER_BATCH: usize = 32;

/// Values of features that an evaluation keeps of pictures which are in no bank: 1 GiB.
const KEPT_VALUES: usize = 1 << 28;

/// A model ready to be asked: without autodiff, with the features of the corpus's pictures.
pub struct Scorer<'a> {
    /// The model, without autodiff.
    pub model: Vlm,
    /// Device of the model.
    pub device: Device,
    /// Tokenizer of the model.
    pub tokenizer: &'a Tokenizer,
    /// Chat template of the model.
    pub template: &'a ChatTemplate,
    /// Features of the corpus's pictures.
    pub features: Arc<FeatureBank>,
    /// Rows of one forward pass.
    pub batch: usize,
    /// How pictures are prepared.
    pictures: &'a Pictures,
    /// The pictures that the bank holds, by their content.
    banked: HashMap<MediaKey, PictureId>,
}

/// Pictures with their keys, as a question shows them.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) key: MediaKey,
    pub(super) picture: Picture,
}

impl Shown {
    /// Reads the picture for its key.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn new(picture: &Picture) -> Result<Self> {
        let key = picture.key().map_err(|e| TrainError::Data(e.to_string()))?;
        Ok(Self { key, picture: picture.clone() })
    }
}

/// One conversation whose answer is scored.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The pictures, in the order of their placeholders.
    pub(super) shown: Vec<Shown>,
    /// The conversation, the answer last.
    pub(super) turns: Vec<Turn>,
}

/// Features of pictures that are in no bank, those used last.
#[derive(Default)]
pub(super) struct Kept {
    values: HashMap<MediaKey, Vec<f32>>,
    order: VecDeque<MediaKey>,
    total: usize,
}

impl Kept {
    fn keep(&mut self, key: MediaKey, values: Vec<f32>) {
        self.total += values.len();
        self.values.insert(key, values);
        self.order.push_back(key);
    }

    /// Drops the oldest, but for the last `needed`.
    fn shrink(&mut self, needed: usize) {
        while self.total > KEPT_VALUES && self.order.len() > needed {
            let Some(oldest) = self.order.pop_front() else { return };
            self.total -= self.values.remove(&oldest).map_or(0, |values| values.len());
        }
    }
}

impl<'a> Scorer<'a> {
    /// Takes a model out of training.
    pub fn new(
        model: &Vlm,
        device: &Device,
        tokenizer: &'a Tokenizer,
        template: &'a ChatTemplate,
        pictures: &'a Pictures,
        features: Arc<FeatureBank>,
        batch: usize,
    ) -> Self {
        let key = |id: PictureId| (MediaKey::of(&pictures.corpus().picture(id).webp), id);
        let banked = features.pictures().map(key).collect();
        let (model, device) = (model.valid(), device.clone().inner());
        Self { model, device, tokenizer, template, features, batch, pictures, banked }
    }

    /// The id that fills short rows.
    pub fn pad_id(&self) -> u32 {
        self.tokenizer.pad_id().unwrap_or(0)
    }

    /// Ids and labels of a conversation, its pictures expanded to the model's number of visual tokens.
    ///
    /// # Errors
    /// A conversation that the template refuses.
    pub fn encode(&self, turns: &[Turn]) -> Result<Encoded> {
        let user_turns = needs_user_turns(&self.model.multi_modal_projector);
        let options = EncodeOptions { user_turns, ..EncodeOptions::default() };
        encode_turns(self.tokenizer, self.template, turns, self.model.config.num_visual_tokens(), &options)
    }

    /// The ids of a conversation up to where the answer begins.
    fn prompt(&self, turns: &[Turn], pictures: usize) -> Result<Vec<u32>> {
        let tokens = vec![self.model.config.num_visual_tokens(); pictures];
        encode_prompt(self.tokenizer, self.template, turns, &tokens).map_err(|e| TrainError::Data(e.to_string()))
    }

    /// Final hidden states of a padded batch, `[rows, tokens, hidden]`.
    ///
    /// # Errors
    /// A batch that does not fit the model.
    fn hidden(&self, text: &TextBatch, features: Option<Tensor<3>>) -> Result<Tensor<3>> {
        let shape = [text.batch, text.tokens];
        let ids = Tensor::<2, Int>::from_data(TensorData::new(text.ids.clone(), shape), &self.device);
        let positions = image_positions(text, self.tokenizer.image_id().map(i64::from));
        let count = positions.len();
        let positions = Tensor::<1, Int>::from_data(TensorData::new(positions, [count]), &self.device);
        let input = VlmInput {
            ids,
            features,
            packing: None,
            image_positions: (count > 0).then_some(positions),
            routing_text: routing_text(&self.model.multi_modal_projector, text, &self.device)?,
            noise_seed: None,
            attention: AttentionInput::contiguous(),
        };
        Ok(self.model.forward(&input)?)
    }

    /// Features of the corpus's pictures as the tower gave them, `[pictures, tokens, width]`; `None` for no picture.
    ///
    /// # Errors
    /// A picture without features.
    pub fn raw_features(&self, pictures: &[PictureId]) -> Result<Option<Tensor<3>>> {
        if pictures.is_empty() {
            return Ok(None);
        }
        let mut values = Vec::with_capacity(pictures.len() * self.features.values());
        for &picture in pictures {
            values.extend_from_slice(self.features.view(picture, 0)?);
        }
        Ok(Some(self.tensor(values, pictures.len())))
    }

    fn tensor(&self, values: Vec<f32>, pictures: usize) -> Tensor<3> {
        let [tokens, width] = self.features.shape();
        Tensor::from_data(TensorData::new(values, [pictures, tokens, width]), &self.device)
    }

    /// Features of any pictures: from the bank where it has them, else the tower's.
    fn features_of(&self, shown: &[&Shown], kept: &mut Kept) -> Result<Option<Tensor<3>>> {
        if shown.is_empty() {
            return Ok(None);
        }
        let mut missing: Vec<&Shown> = Vec::new();
        for one in shown {
            let known = self.banked.contains_key(&one.key) || kept.values.contains_key(&one.key);
            if !known && !missing.iter().any(|other| other.key == one.key) {
                missing.push(one);
            }
        }
        for chunk in missing.chunks(TOWER_BATCH) {
            let pixels: Vec<Vec<f32>> =
                chunk.par_iter().map(|one| self.pictures.pixels_of(&one.picture)).collect::<Result<_>>()?;
            let size = self.pictures.size();
            let pixels = TensorData::new(pixels.concat(), [chunk.len(), 3, size, size]);
            let features = self.model.encode_images(Tensor::<4>::from_data(pixels, &self.device))?;
            let [_, tokens, width] = features.dims();
            let values: Vec<f32> = features.into_data().iter::<f32>().collect();
            for (one, values) in chunk.iter().zip(values.chunks(tokens * width)) {
                kept.keep(one.key, values.to_vec());
            }
        }
        let mut values = Vec::with_capacity(shown.len() * self.features.values());
        for one in shown {
            match (self.banked.get(&one.key), kept.values.get(&one.key)) {
                (Some(picture), _) => values.extend_from_slice(self.features.view(*picture, 0)?),
                (None, Some(features)) => values.extend_from_slice(features),
                (None, None) => return Err(TrainError::Data(format!("{}: no features", one.picture.name()))),
            }
        }
        kept.shrink(shown.len());
        Ok(Some(self.tensor(values, shown.len())))
    }
}

/// The rows of a batch, the shortest first: padding is least, and a row's value does not depend on its batch.
fn by_length(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut order: Vec<(usize, usize)> = lengths.enumerate().map(|(row, length)| (length, row)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, row)| row).collect()
}

/// Mean log-likelihood of the answer's tokens of each row (the end-of-turn token is one of them), natural logarithm.
///
/// Rows are batched by length; a row's value does not depend on its batch, since padding stands behind it.
///
/// # Errors
/// A row that cannot be encoded or does not fit the model.
pub(super) fn likelihoods(
    scorer: &Scorer<'_>,
    rows: &[Row],
    kept: &mut Kept,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<f64>> {
    let encoded: Vec<Encoded> = rows.par_iter().map(|row| scorer.encode(&row.turns)).collect::<Result<_>>()?;
    let order = by_length(encoded.iter().map(|row| row.ids.len()));
    let mut result = vec![0.0; rows.len()];
    for chunk in order.chunks(scorer.batch) {
        let members: Vec<Encoded> = chunk.iter().map(|&row| encoded[row].clone()).collect();
        let shown: Vec<&Shown> = chunk.iter().flat_map(|&row| &rows[row].shown).collect();
        let text = collate(&members, scorer.pad_id(), PaddingSide::Right, 1);
        let (target_rows, targets) = next_token_targets(&text);
        let features = scorer.features_of(&shown, kept)?;
        let hidden = scorer.hidden(&text, features)?;
        let count = targets.len();
        let positions = Tensor::<1, Int>::from_data(TensorData::new(target_rows.clone(), [count]), &scorer.device);
        let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [count]), &scorer.device);
        let losses = scorer.model.language_model.target_losses(hidden, positions, targets).into_data();
        let mut sums = vec![(0.0f64, 0usize); chunk.len()];
        for (loss, position) in losses.iter::<f32>().zip(&target_rows) {
            let row = *position as usize / text.tokens;
            sums[row].0 -= f64::from(loss);
            sums[row].1 += 1;
        }
        for (&row, (sum, tokens)) in chunk.iter().zip(sums) {
            result[row] = sum / tokens.max(1) as f64;
        }
        progress(chunk.len());
    }
    Ok(result)
}

/// Logits of each answer's first token where the answer begins. A row has its answers' first one as its last turn.
///
/// # Errors
/// A row that cannot be encoded; answers without a token, or two that begin with the same.
pub(super) fn first_tokens(
    scorer: &Scorer<'_>,
    rows: &[(Row, &[String])],
    kept: &mut Kept,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Vec<f64>>> {
    let mut tokens: HashMap<&str, i64> = HashMap::new();
    for answer in rows.iter().flat_map(|(_, answers)| answers.iter()) {
        if !tokens.contains_key(answer.as_str()) {
            tokens.insert(answer, first_token(scorer, answer)?);
        }
    }
    let wanted = |answers: &[String]| -> Vec<i64> { answers.iter().map(|answer| tokens[answer.as_str()]).collect() };
    for (_, answers) in rows {
        let ids = wanted(answers);
        if let Some(at) = (1..ids.len()).find(|&at| ids[..at].contains(&ids[at])) {
            let message =
                format!("the answer {:?} begins with the same token as another: ask for its likelihood", answers[at]);
            return Err(TrainError::Data(message));
        }
    }
    let encoded: Vec<Encoded> = rows.par_iter().map(|(row, _)| scorer.encode(&row.turns)).collect::<Result<_>>()?;
    let order = by_length(encoded.iter().map(|row| row.ids.len()));
    let mut result = vec![Vec::new(); rows.len()];
    for chunk in order.chunks(scorer.batch) {
        let members: Vec<Encoded> = chunk.iter().map(|&row| encoded[row].clone()).collect();
        let shown: Vec<&Shown> = chunk.iter().flat_map(|&row| &rows[row].0.shown).collect();
        let text = collate(&members, scorer.pad_id(), PaddingSide::Right, 1);
        // the first target of each row is the answer's first token; the rest is the end of the turn
        let (positions, _) = next_token_targets(&text);
        let mut first: Vec<Option<i64>> = vec![None; chunk.len()];
        for position in positions {
            first[position as usize / text.tokens].get_or_insert(position);
        }
        let first: Vec<i64> = first.into_iter().flatten().collect();
        let mut ids: Vec<i64> = Vec::new();
        for id in chunk.iter().flat_map(|&row| wanted(rows[row].1)) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let features = scorer.features_of(&shown, kept)?;
        let hidden = scorer.hidden(&text, features)?;
        let [batch, length, width] = hidden.dims();
        let select = |values: Vec<i64>| {
            let count = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &scorer.device)
        };
        let hidden: Tensor<2> = hidden.reshape([batch * length, width]).select(0, select(first));
        let logits: Tensor<2> = scorer.model.language_model.logits(hidden).select(1, select(ids.clone()));
        let values: Vec<f64> = logits.into_data().iter::<f32>().map(f64::from).collect();
        for (&row, values) in chunk.iter().zip(values.chunks(ids.len())) {
            let of = |id: &i64| ids.iter().position(|known| known == id).map_or(f64::NAN, |at| values[at]);
            result[row] = wanted(rows[row].1).iter().map(of).collect();
        }
        progress(chunk.len());
    }
    Ok(result)
}

/// The token that an answer begins with.
fn first_token(scorer: &Scorer<'_>, answer: &str) -> Result<i64> {
    let encoded = scorer.encode(&[Turn::user("?"), Turn::assistant(answer)])?;
    let label = encoded.labels.iter().copied().find(|label| *label >= 0);
    label.ok_or_else(|| TrainError::Data(format!("the answer {answer:?} has no token")))
}

/// Greedy answers to conversations that end where the answer begins, at most `max_new_tokens` each.
///
/// # Errors
/// A conversation that cannot be encoded or does not fit the model.
pub(super) fn generate(
    scorer: &Scorer<'_>,
    rows: &[Row],
    max_new_tokens: usize,
    kept: &mut Kept,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<String>> {
    let data_error = |error: &dyn std::fmt::Display| TrainError::Data(error.to_string());
    let prompts: Vec<Vec<u32>> =
        rows.par_iter().map(|row| scorer.prompt(&row.turns, row.shown.len())).collect::<Result<_>>()?;
    let end = end_of_turn(scorer.tokenizer, scorer.template).map_err(|e| data_error(&e))?;
    let stop_tokens: Vec<u32> = end.into_iter().chain(scorer.tokenizer.eos_id()).collect();
    let config = GenerationConfig { max_new_tokens, stop_tokens, ..Default::default() };
    let mut texts = vec![String::new(); rows.len()];
    // Rows without pictures apart: they have no features.
    let (with, without): (Vec<usize>, Vec<usize>) =
        by_length(prompts.iter().map(Vec::len)).into_iter().partition(|&row| !rows[row].shown.is_empty());
    for order in [with, without] {
        for chunk in order.chunks(scorer.batch) {
            let batch: Vec<Vec<u32>> = chunk.iter().map(|&row| prompts[row].clone()).collect();
            let shown: Vec<&Shown> = chunk.iter().flat_map(|&row| &rows[row].shown).collect();
            let features = scorer.features_of(&shown, kept)?;
            let generated = scorer.model.generate(&batch, features, &config, &scorer.device)?;
            for (&row, generated) in chunk.iter().zip(generated) {
                texts[row] = scorer.tokenizer.decode(&generated.ids, true).map_err(|e| data_error(&e))?;
            }
            progress(chunk.len());
        }
    }
    Ok(texts)
}

/// The pictures of a question.
///
/// # Errors
/// A video, which this scorer cannot show; a picture that cannot be read.
pub(super) fn shown(benchmark: &str, question: &super::Question) -> Result<Vec<Shown>> {
    use burn_vlm_data::sample::Media;
    let one = |medium: &Media| match medium {
        Media::Image(picture) => Shown::new(picture),
        Media::Video(_) => {
            let message = format!("{}: shows a video, only pictures can be asked about", question.id);
            Err(BenchmarkError::Setting { name: benchmark.to_owned(), message }.into())
        }
    };
    question.media.iter().map(one).collect()
}

//! Likelihoods of answers: the batched forward pass behind every choice question.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::language::AttentionInput;
use burn_vlm::vlm::{Vlm, VlmInput};
use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::collate::{PaddingSide, TextBatch, collate};
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::{EmojiCorpus, PictureId};
use burn_vlm_data::encode::{EncodeOptions, Encoded};
use burn_vlm_data::tokenizer::Tokenizer;
use rayon::prelude::*;

use crate::error::Result;
use crate::features::FeatureBank;
use crate::objective::{encode_turns, image_positions, needs_user_turns, next_token_targets, routing_text};

/// A model ready to be asked: without autodiff, with the features of the scored pictures.
pub struct Scorer<'a> {
    /// The model, without autodiff.
    pub model: Vlm,
    /// Device of the model.
    pub device: Device,
    /// Corpus of the items.
    pub corpus: &'a EmojiCorpus,
    /// Tokenizer of the model.
    pub tokenizer: &'a Tokenizer,
    /// Chat template of the model.
    pub template: &'a ChatTemplate,
    /// Features of the scored pictures.
    pub features: Arc<FeatureBank>,
    /// Rows of one forward pass.
    pub batch: usize,
}

/// One conversation whose answer is scored.
#[derive(Debug, Clone)]
pub struct Row {
    /// The picture, if the conversation has one.
    pub picture: Option<PictureId>,
    /// The conversation, the answer last.
    pub turns: Vec<Turn>,
}

impl<'a> Scorer<'a> {
    /// Takes a model out of training.
    pub fn new(
        model: &Vlm,
        device: &Device,
        corpus: &'a EmojiCorpus,
        tokenizer: &'a Tokenizer,
        template: &'a ChatTemplate,
        features: Arc<FeatureBank>,
        batch: usize,
    ) -> Self {
        Self { model: model.valid(), device: device.clone().inner(), corpus, tokenizer, template, features, batch }
    }

    /// The id that fills short rows.
    pub fn pad_id(&self) -> u32 {
        self.tokenizer.pad_id().unwrap_or(0)
    }

    /// Ids and labels of a conversation, its picture expanded to the model's number of visual tokens.
    ///
    /// # Errors
    /// A conversation that the template refuses.
    pub fn encode(&self, turns: &[Turn]) -> Result<Encoded> {
        let user_turns = needs_user_turns(&self.model.multi_modal_projector);
        let options = EncodeOptions { user_turns, ..EncodeOptions::default() };
        encode_turns(self.tokenizer, self.template, turns, self.model.config.num_visual_tokens(), &options)
    }

    /// Final hidden states of a padded batch, `[rows x tokens, hidden]`.
    ///
    /// # Errors
    /// A picture without features, or a batch that does not fit the model.
    pub fn hidden(&self, text: &TextBatch, pictures: &[Option<PictureId>]) -> Result<Tensor<3>> {
        let shown: Vec<PictureId> = pictures.iter().copied().flatten().collect();
        let shape = [text.batch, text.tokens];
        let ids = Tensor::<2, Int>::from_data(TensorData::new(text.ids.clone(), shape), &self.device);
        let positions = image_positions(text, self.tokenizer.image_id().map(i64::from));
        let count = positions.len();
        let positions = Tensor::<1, Int>::from_data(TensorData::new(positions, [count]), &self.device);
        let input = VlmInput {
            ids,
            features: self.raw_features(&shown)?,
            packing: None,
            image_positions: (count > 0).then_some(positions),
            routing_text: routing_text(&self.model.multi_modal_projector, text, &self.device)?,
            noise_seed: None,
            attention: AttentionInput::contiguous(),
        };
        Ok(self.model.forward(&input)?)
    }

    /// Features of pictures as the tower gave them, `[pictures, tokens, width]`; `None` for no picture.
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
        let [tokens, width] = self.features.shape();
        let features = TensorData::new(values, [pictures.len(), tokens, width]);
        Ok(Some(Tensor::from_data(features, &self.device)))
    }
}

/// Mean log-likelihood of the answer's tokens of each row (the end-of-turn token is one of them), natural logarithm.
///
/// Rows are batched by length; a row's value does not depend on its batch, since padding stands behind it.
///
/// # Errors
/// A row that cannot be encoded or does not fit the model.
pub fn likelihoods(scorer: &Scorer<'_>, rows: &[Row], mut progress: impl FnMut(usize, usize)) -> Result<Vec<f64>> {
    let encoded: Vec<Encoded> = rows.par_iter().map(|row| scorer.encode(&row.turns)).collect::<Result<_>>()?;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&row| (encoded[row].ids.len(), row));
    let mut result = vec![0.0; rows.len()];
    for (number, chunk) in order.chunks(scorer.batch).enumerate() {
        let members: Vec<Encoded> = chunk.iter().map(|&row| encoded[row].clone()).collect();
        let pictures: Vec<Option<PictureId>> = chunk.iter().map(|&row| rows[row].picture).collect();
        let text = collate(&members, scorer.pad_id(), PaddingSide::Right, 1);
        let (target_rows, targets) = next_token_targets(&text);
        let hidden = scorer.hidden(&text, &pictures)?;
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
        progress((number * scorer.batch + chunk.len()).min(rows.len()), rows.len());
    }
    Ok(result)
}

//! Conversations as training batches: which sample stands at which position, tokens, label masks, padding.
//!
//! A stage's samples form a mixture: one source per task and language, weighted by task weight x language share. Every
//! sample is tokenized once, before training; a batch is then a copy of a few hundred integers.

use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::collate::{PaddingSide, TextBatch, collate};
use burn_vlm_data::conversation::{Turn, count_images};
use burn_vlm_data::emoji::{EmojiCorpus, PictureId};
use burn_vlm_data::encode::{EncodeOptions, Encoded, encode};
use burn_vlm_data::language::Language;
use burn_vlm_data::random::mix;
use burn_vlm_data::sample::Sample;
use burn_vlm_data::sampler::Mixture;
use burn_vlm_data::tokenizer::Tokenizer;
use rayon::prelude::*;

use crate::error::{Result, TrainError};
use crate::recipe::DataRecipe;
use crate::samples::training_samples;

/// One tokenized training sample.
#[derive(Debug, Clone)]
struct Item {
    id: String,
    picture: Option<PictureId>,
    encoded: Encoded,
}

/// The tokenized samples of a stage and their order.
pub struct Conversations {
    sources: Vec<Vec<Item>>,
    mixture: Mixture,
    batch: usize,
    pad_id: u32,
    image_id: Option<i64>,
    seed: u64,
}

/// Which conversations a stage draws, and how.
#[derive(Debug, Clone)]
pub struct ConversationPlan<'a> {
    /// Languages, tasks and their weights.
    pub data: &'a DataRecipe,
    /// Languages of the whole study, to which the samples stay parallel.
    pub parallel: &'a [Language],
    /// Tokens that one picture stands for.
    pub image_tokens: usize,
    /// Whether batches know where the user's own text stands ([`needs_user_turns`](super::needs_user_turns)).
    pub user_turns: bool,
    /// The most tokens of a sample.
    pub max_tokens: Option<usize>,
    /// Samples of a micro-batch.
    pub batch: usize,
    /// Seed of the order.
    pub seed: u64,
}

/// One padded micro-batch, still without pictures.
#[derive(Debug, Clone)]
pub struct ConversationBatch {
    /// Ids and lengths, padded on the right.
    pub text: TextBatch,
    /// Positions (row x tokens + column) whose next token is a target.
    pub target_rows: Vec<i64>,
    /// Those next tokens.
    pub targets: Vec<i64>,
    /// Positions (row x tokens + column) of the visual tokens.
    pub image_positions: Vec<i64>,
    /// The picture of each row that has one, in row order, with a word that picks its view.
    pub pictures: Vec<(PictureId, u64)>,
}

impl Conversations {
    /// Builds and tokenizes every sample that the stage may draw.
    ///
    /// # Errors
    /// A language without texts, or a sample that cannot be rendered.
    pub fn new(
        corpus: &EmojiCorpus,
        tokenizer: &Tokenizer,
        template: &ChatTemplate,
        plan: &ConversationPlan<'_>,
    ) -> Result<Self> {
        let &ConversationPlan { data, parallel, image_tokens, user_turns, max_tokens, batch, seed } = plan;
        let options = EncodeOptions { max_tokens, user_turns, ..EncodeOptions::default() };
        let mut sources = Vec::new();
        let mut weights = Vec::new();
        for (&task, &task_weight) in &data.tasks {
            for (&language, share) in data.languages.iter().zip(data.shares()) {
                if task_weight * share <= 0.0 {
                    continue;
                }
                let samples = training_samples(corpus, task, language, &data.languages, parallel, seed)?;
                if samples.is_empty() {
                    continue;
                }
                let to_item = |sample: Sample| {
                    let encoded = encode_turns(tokenizer, template, &sample.turns, image_tokens, &options)
                        .map_err(|e| TrainError::Data(format!("{}: {e}", sample.id)))?;
                    Ok(Item { id: sample.id, picture: sample.picture, encoded })
                };
                sources.push(samples.into_par_iter().map(to_item).collect::<Result<Vec<Item>>>()?);
                weights.push(task_weight * share);
            }
        }
        if sources.is_empty() {
            return Err(TrainError::Recipe("the stage's tasks and languages give no samples".into()));
        }
        let parts: Vec<(usize, f64)> = sources.iter().map(Vec::len).zip(weights).collect();
        let mixture = Mixture::new(&parts, seed).map_err(|e| TrainError::Data(e.to_string()))?;
        let image_id = tokenizer.image_id().map(i64::from);
        Ok(Self { sources, mixture, batch, pad_id: tokenizer.pad_id().unwrap_or(0), image_id, seed })
    }

    /// Number of different samples.
    pub fn len(&self) -> usize {
        self.sources.iter().map(Vec::len).sum()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Mean number of tokens of a sample, visual ones counted; for estimates.
    pub fn mean_tokens(&self) -> f64 {
        let tokens: usize = self.sources.iter().flatten().map(|item| item.encoded.ids.len()).sum();
        tokens as f64 / self.len().max(1) as f64
    }

    /// Mean number of trained tokens of a sample; for estimates.
    pub fn mean_targets(&self) -> f64 {
        let trained = |item: &Item| item.encoded.labels.iter().filter(|label| **label >= 0).count();
        let targets: usize = self.sources.iter().flatten().map(trained).sum();
        targets as f64 / self.len().max(1) as f64
    }

    fn item(&self, position: usize) -> &Item {
        let (source, index) = self.mixture.get(position as u64);
        &self.sources[source][index]
    }

    /// The ids of micro-batch `index`.
    pub fn ids(&self, index: usize) -> Vec<String> {
        (index * self.batch..(index + 1) * self.batch).map(|p| self.item(p).id.clone()).collect()
    }

    /// Micro-batch `index`.
    pub fn batch(&self, index: usize) -> ConversationBatch {
        let positions = index * self.batch..(index + 1) * self.batch;
        let items: Vec<(usize, &Item)> = positions.map(|position| (position, self.item(position))).collect();
        let encoded: Vec<Encoded> = items.iter().map(|(_, item)| item.encoded.clone()).collect();
        let text = collate(&encoded, self.pad_id, PaddingSide::Right, 1);
        let (target_rows, targets) = next_token_targets(&text);
        let pictures = items
            .iter()
            .filter_map(|(position, item)| {
                item.picture.map(|picture| (picture, mix(self.seed ^ VIEW_SALT, *position as u64)))
            })
            .collect();
        let image_positions = image_positions(&text, self.image_id);
        ConversationBatch { text, target_rows, targets, image_positions, pictures }
    }
}

/// Keeps the choice of views apart from the order of samples, which comes from the same seed.
const VIEW_SALT: u64 = 0x7669_6577;

/// Encodes a conversation whose pictures stand for `image_tokens` tokens each.
///
/// # Errors
/// As [`encode`].
pub fn encode_turns(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    turns: &[Turn],
    image_tokens: usize,
    options: &EncodeOptions,
) -> Result<Encoded> {
    let pictures = vec![image_tokens; count_images(turns)];
    encode(tokenizer, template, turns, &pictures, options).map_err(|e| TrainError::Data(e.to_string()))
}

/// Positions (row x tokens + column) that hold the image token.
pub fn image_positions(text: &TextBatch, image_id: Option<i64>) -> Vec<i64> {
    (0i64..).zip(&text.ids).filter(|(_, id)| Some(**id) == image_id).map(|(position, _)| position).collect()
}

/// Positions whose next token is a label, and those labels: the only rows that the head has to see.
pub fn next_token_targets(text: &TextBatch) -> (Vec<i64>, Vec<i64>) {
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for row in 0..text.batch {
        for column in 1..text.tokens {
            let label = text.labels[row * text.tokens + column];
            if label >= 0 {
                rows.push((row * text.tokens + column - 1) as i64);
                targets.push(label);
            }
        }
    }
    (rows, targets)
}

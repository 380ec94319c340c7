//! The model that is asked: prompts, pictures and the batched forward passes behind every benchmark.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_vlm::connector::{Connector, Projector};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::language::AttentionInput;
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm::vlm::{VisualFeatures, Vlm, VlmInput};
use burn_vlm_data::collate::{PaddingSide, TextBatch, collate};
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::encode::{EncodeOptions, Encoded};
use burn_vlm_data::image::ProcessedImage;
use burn_vlm_data::prepare::{FeatureBank, Visual};
use burn_vlm_data::processor::{PictureInput, Processor, VisualTokens};
use burn_vlm_data::sample::{MediaKey, Picture};
use rayon::prelude::*;

use super::BenchmarkError;
use crate::error::{Result, TrainError};
use crate::objective::{int_tensor, next_token_targets, routing_text, visual_features};

/// Pictures of one pass through the tower.
const TOWER_BATCH: usize = 32;

/// Values of features that an evaluation keeps of pictures which are in no bank: 1 GiB.
const KEPT_VALUES: usize = 1 << 28;

/// A model ready to be asked: without autodiff, with the processor that it was trained with.
pub struct Scorer<T: VisionTower = VisionEncoder, P: Projector = Connector> {
    /// The model, without autodiff.
    pub model: Vlm<T, P>,
    /// Device of the model.
    pub device: Device,
    /// Tokenizer, template and image processor.
    pub processor: Arc<Processor>,
    /// Features of pictures that were computed before, as they are.
    pub bank: Option<Arc<FeatureBank>>,
    /// Rows of one forward pass.
    pub batch: usize,
}

/// A picture with its key, as a question shows it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub(super) key: MediaKey,
    pub(super) picture: Picture,
}

impl Shown {
    /// Reads the picture for its key.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn new(picture: &Picture) -> Result<Self> {
        let key = picture.key().map_err(TrainError::within(picture.name()))?;
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
pub struct Kept {
    /// Features, and how many of their tokens are no padding.
    values: HashMap<MediaKey, (Vec<f32>, usize)>,
    order: VecDeque<MediaKey>,
    total: usize,
}

impl Kept {
    fn keep(&mut self, key: MediaKey, values: Vec<f32>, tokens: usize) {
        self.total += values.len();
        self.values.insert(key, (values, tokens));
        self.order.push_back(key);
    }

    /// Drops the oldest, but for the last `needed`.
    fn shrink(&mut self, needed: usize) {
        while self.total > KEPT_VALUES && self.order.len() > needed {
            let Some(oldest) = self.order.pop_front() else { return };
            self.total -= self.values.remove(&oldest).map_or(0, |(values, _)| values.len());
        }
    }
}

/// Visual tokens of pictures by what is shown together.
type Counts = BTreeMap<Vec<MediaKey>, Vec<usize>>;

fn keys(shown: &[Shown]) -> Vec<MediaKey> {
    shown.iter().map(|one| one.key).collect()
}

impl<T: VisionTower, P: Projector> Scorer<T, P> {
    /// Takes a model out of training.
    pub fn new(
        model: &Vlm<T, P>,
        device: &Device,
        processor: Arc<Processor>,
        bank: Option<Arc<FeatureBank>>,
        batch: usize,
    ) -> Self {
        Self { model: model.valid(), device: device.clone().inner(), processor, bank, batch }
    }

    /// The id that fills short rows.
    pub fn pad_id(&self) -> u32 {
        self.processor.tokenizer().pad_id().unwrap_or(0)
    }

    /// Ids and labels of a conversation whose pictures have so many visual tokens.
    ///
    /// # Errors
    /// A conversation that the template refuses.
    fn encode(&self, turns: &[Turn], counts: &[usize]) -> Result<Encoded> {
        let scope = self.model.multi_modal_projector.text_scope();
        let user_turns = scope.is_some_and(|scope| scope.needs_user_turns());
        Ok(self.processor.encode(turns, counts, &EncodeOptions { user_turns, ..EncodeOptions::default() })?)
    }

    /// The ids of a conversation up to where the answer begins, with these pictures shown.
    ///
    /// # Errors
    /// A conversation that the template refuses, a picture that cannot be processed.
    pub fn prompt(&self, turns: &[Turn], shown: &[Shown]) -> Result<Vec<u32>> {
        let counts = self.counts([shown].into_iter())?;
        Ok(self.processor.encode_prompt(turns, &counts[&keys(shown)])?)
    }

    fn is_tiled(&self) -> bool {
        self.processor.visual_tokens().is_some_and(|tokens| tokens.tiling.is_some())
    }

    /// The pictures of one conversation, processed together.
    fn process(&self, shown: &[Shown]) -> Result<Vec<ProcessedImage>> {
        let one = |one: &Shown| {
            let (name, bytes) =
                (one.picture.name(), one.picture.read().map_err(TrainError::within(one.picture.name()))?);
            Ok(self.processor.process_image(PictureInput::File { name: &name, bytes: &bytes }, shown.len())?)
        };
        shown.iter().map(one).collect()
    }

    /// Visual tokens of everything that is shown. Only where pictures differ in them, they have to be looked at.
    fn counts<'s>(&self, shown: impl Iterator<Item = &'s [Shown]>) -> Result<Counts> {
        let together: BTreeMap<Vec<MediaKey>, &[Shown]> = shown.map(|shown| (keys(shown), shown)).collect();
        let view = self.processor.visual_tokens().map_or(0, |tokens| tokens.view);
        let vary = self.processor.visual_tokens().is_some_and(VisualTokens::vary);
        // A bank of pictures with grids of their own knows them.
        let bank = self.bank.as_ref().filter(|bank| bank.counts().is_some());
        let banked = |one: &Shown| bank.and_then(|bank| Some(bank.tokens(bank.find(one.key, None)?)));
        let count = |(keys, shown): (Vec<MediaKey>, &[Shown])| {
            let counts = match vary {
                false => vec![view; shown.len()],
                true if shown.iter().all(|one| banked(one).is_some()) => shown.iter().filter_map(banked).collect(),
                true => self.process(shown)?.iter().map(|image| self.processor.num_image_tokens(image)).collect(),
            };
            Ok((keys, counts))
        };
        together.into_par_iter().map(count).collect()
    }

    /// Positions that hold the image token.
    fn image_positions(&self, text: &TextBatch) -> Vec<i64> {
        let image = self.processor.image_token_id().map(i64::from);
        (0i64..).zip(&text.ids).filter(|(_, id)| Some(**id) == image).map(|(position, _)| position).collect()
    }

    /// A padded batch with the pictures of its rows as the model's input; the answers route nothing.
    ///
    /// # Errors
    /// A picture that cannot be shown, a connector that reads text the batch does not know.
    pub fn input(&self, text: &TextBatch, shown: &[&[Shown]], kept: &mut Kept) -> Result<VlmInput> {
        let routing = routing_text(&self.model.multi_modal_projector, text, &self.device)?;
        self.input_routed(text, shown, kept, routing)
    }

    /// As [`Self::input`], with the words that route given.
    ///
    /// # Errors
    /// A picture that cannot be shown.
    pub fn input_routed(
        &self,
        text: &TextBatch,
        shown: &[&[Shown]],
        kept: &mut Kept,
        routing_text: Option<Tensor<2, Bool>>,
    ) -> Result<VlmInput> {
        let shape = [text.batch, text.tokens];
        let positions = self.image_positions(text);
        let VisualFeatures { features, packing } = self.features_of(shown, kept)?;
        Ok(VlmInput {
            ids: Tensor::<2, Int>::from_data(TensorData::new(text.ids.clone(), shape), &self.device),
            features,
            packing,
            image_positions: (!positions.is_empty()).then(|| int_tensor(&positions, &self.device)),
            routing_text,
            noise_seed: None,
            attention: AttentionInput::contiguous(),
        })
    }

    /// Final hidden states of a padded batch, `[rows, tokens, hidden]`.
    ///
    /// # Errors
    /// A batch that does not fit the model.
    fn hidden(&self, text: &TextBatch, shown: &[&[Shown]], kept: &mut Kept) -> Result<Tensor<3>> {
        Ok(self.model.forward(&self.input(text, shown, kept)?)?)
    }

    /// Features of pictures, those of a conversation together: from the bank where it has them, else the tower's.
    ///
    /// # Errors
    /// A picture that cannot be shown.
    pub fn features_of(&self, shown: &[&[Shown]], kept: &mut Kept) -> Result<VisualFeatures> {
        if shown.iter().all(|shown| shown.is_empty()) {
            return Ok(VisualFeatures::default());
        }
        if self.is_tiled() {
            let images: Vec<Vec<ProcessedImage>> =
                shown.par_iter().map(|shown| self.process(shown)).collect::<Result<_>>()?;
            return visual_features(Visual::of_processed(images.iter().flatten(), true), &self.model, &self.device);
        }
        let all: Vec<&Shown> = shown.iter().copied().flatten().collect();
        let banked = |key: MediaKey| {
            let bank = self.bank.as_ref()?;
            let row = bank.find(key, None)?;
            Some((bank.row(row), bank.tokens(row)))
        };
        let mut missing: Vec<&Shown> = Vec::new();
        for one in &all {
            let known = banked(one.key).is_some() || kept.values.contains_key(&one.key);
            if !known && !missing.iter().any(|other| other.key == one.key) {
                missing.push(one);
            }
        }
        for chunk in missing.chunks(TOWER_BATCH) {
            let images: Vec<Vec<ProcessedImage>> =
                chunk.par_iter().map(|one| self.process(std::slice::from_ref(*one))).collect::<Result<_>>()?;
            let made =
                visual_features(Visual::of_processed(images.iter().flatten(), false), &self.model, &self.device)?;
            let Some(features) = made.features else { continue };
            let [_, tokens, width] = features.dims();
            let real: Vec<usize> =
                made.packing.map_or_else(|| vec![tokens; chunk.len()], |packing| packing.image_tokens().to_vec());
            let values: Vec<f32> = features.into_data().iter::<f32>().collect();
            for ((one, values), real) in chunk.iter().zip(values.chunks(tokens * width)).zip(real) {
                kept.keep(one.key, values.to_vec(), real);
            }
        }
        let (mut values, mut counts) = (Vec::new(), Vec::with_capacity(all.len()));
        for one in &all {
            let known = kept.values.get(&one.key).map(|(values, tokens)| (values.as_slice(), *tokens));
            let Some((features, tokens)) = banked(one.key).or(known) else {
                return Err(TrainError::Data(format!("{}: no features", one.picture.name())));
            };
            values.extend_from_slice(features);
            counts.push(tokens);
        }
        kept.shrink(all.len());
        let width = self.model.config.feature_width();
        let shape = [values.len() / (all.len() * width).max(1), width];
        let counts = self.model.config.is_flexible().then_some(counts);
        visual_features(Visual::Features { values, shape, counts }, &self.model, &self.device)
    }

    /// Ids and labels of rows, their pictures expanded.
    fn encode_rows<'r>(&self, rows: impl Iterator<Item = &'r Row> + Clone) -> Result<Vec<Encoded>> {
        let counts = self.counts(rows.clone().map(|row| row.shown.as_slice()))?;
        let rows: Vec<&Row> = rows.collect();
        rows.par_iter().map(|row| self.encode(&row.turns, &counts[&keys(&row.shown)])).collect()
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
pub(super) fn likelihoods<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    rows: &[Row],
    kept: &mut Kept,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<f64>> {
    let encoded = scorer.encode_rows(rows.iter())?;
    let order = by_length(encoded.iter().map(|row| row.ids.len()));
    let mut result = vec![0.0; rows.len()];
    for chunk in order.chunks(scorer.batch) {
        let members: Vec<&Encoded> = chunk.iter().map(|&row| &encoded[row]).collect();
        let shown: Vec<&[Shown]> = chunk.iter().map(|&row| rows[row].shown.as_slice()).collect();
        let text = collate(&members, scorer.pad_id(), PaddingSide::Right, 1);
        let (target_rows, targets) = next_token_targets(&text);
        let hidden = scorer.hidden(&text, &shown, kept)?;
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
pub(super) fn first_tokens<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
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
    let encoded = scorer.encode_rows(rows.iter().map(|(row, _)| row))?;
    let order = by_length(encoded.iter().map(|row| row.ids.len()));
    let mut result = vec![Vec::new(); rows.len()];
    for chunk in order.chunks(scorer.batch) {
        let members: Vec<&Encoded> = chunk.iter().map(|&row| &encoded[row]).collect();
        let shown: Vec<&[Shown]> = chunk.iter().map(|&row| rows[row].0.shown.as_slice()).collect();
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
        let hidden = scorer.hidden(&text, &shown, kept)?;
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
fn first_token<T: VisionTower, P: Projector>(scorer: &Scorer<T, P>, answer: &str) -> Result<i64> {
    let encoded = scorer.encode(&[Turn::user("?"), Turn::assistant(answer)], &[])?;
    let label = encoded.labels.iter().copied().find(|label| *label >= 0);
    label.ok_or_else(|| TrainError::Data(format!("the answer {answer:?} has no token")))
}

/// Greedy answers to conversations that end where the answer begins, at most `max_new_tokens` each.
///
/// # Errors
/// A conversation that cannot be encoded or does not fit the model.
pub(super) fn generate<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    rows: &[Row],
    max_new_tokens: usize,
    kept: &mut Kept,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<String>> {
    let counts = scorer.counts(rows.iter().map(|row| row.shown.as_slice()))?;
    let prompt = |row: &Row| Ok(scorer.processor.encode_prompt(&row.turns, &counts[&keys(&row.shown)])?);
    let prompts: Vec<Vec<u32>> = rows.par_iter().map(prompt).collect::<Result<_>>()?;
    let stop_tokens = scorer.processor.end_of_turn();
    let config = GenerationConfig { max_new_tokens, stop_tokens, ..Default::default() };
    let mut texts = vec![String::new(); rows.len()];
    // Rows without pictures apart: they have no features.
    let (with, without): (Vec<usize>, Vec<usize>) =
        by_length(prompts.iter().map(Vec::len)).into_iter().partition(|&row| !rows[row].shown.is_empty());
    for order in [with, without] {
        for chunk in order.chunks(scorer.batch) {
            let batch: Vec<Vec<u32>> = chunk.iter().map(|&row| prompts[row].clone()).collect();
            let shown: Vec<&[Shown]> = chunk.iter().map(|&row| rows[row].shown.as_slice()).collect();
            let features = scorer.features_of(&shown, kept)?;
            let generated = scorer.model.generate(&batch, features, &config, &scorer.device)?;
            for (&row, generated) in chunk.iter().zip(generated) {
                texts[row] = scorer.processor.tokenizer().decode(&generated.ids, true)?;
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

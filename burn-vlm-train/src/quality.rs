//! Scores of translations by COMETKiwi and XCOMET: what the models' crate computes, of texts.
//!
//! Unusual here:
//! - rows are batched by their length in tokens, the longest first, so that little padding is computed, and a pair's score does not
//!   depend on the others;
//! - an empty source or translation is refused before it is scored: the models score them like anything else;
//! - what is longer than the model reads is cut as COMET does, scored by sentences, or refused, as asked, and always counted.

use std::path::Path;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_vlm::ModelError;
use burn_vlm::comet::{CometClass, CometConfig, CometFolder, CometModel};
use burn_vlm_base::seal::hash_file;
use burn_vlm_data::comet::{
    ErrorSpan, Joined, PairTokenizer, Piece, Severity, aligned_sentences, error_spans, mqm_score,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};

/// Tokens of a batch, padding counted, where nobody asks for another number: enough for matrix products, and few enough for what lies
/// between them to stay near the processor (at the size of infoxlm-large 4,096 took a quarter longer).
pub const BATCH_TOKENS: usize = 2048;
/// Weights of XCOMET's estimates of translation and source, translation and reference, all three; and of the spans.
const XCOMET_WEIGHTS: [f32; 4] = [0.12, 0.33, 0.33, 0.22];
/// Weights of the same three inputs where labels of tokens are mixed.
const LABEL_WEIGHTS: [f32; 3] = [0.1667, 0.3333, 0.5];

/// A translation to be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<'a> {
    /// What was translated.
    pub source: &'a str,
    /// The translation.
    pub translation: &'a str,
    /// A translation by a person, where there is one; a blank one is none.
    pub reference: Option<&'a str>,
}

/// What becomes of a pair that is longer than the model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LongText {
    /// It is cut as COMET does, which cuts the source first; [`Score::lost`] says by how much.
    #[default]
    Truncate,
    /// It is scored by sentences, where both sides have equally many: the score is their mean, and the least is kept beside it.
    Sentences,
    /// It has no score.
    Reject,
}

/// How pairs are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QualityOptions {
    /// What becomes of long pairs.
    pub long: LongText,
    /// Most tokens of a batch, padding counted; a single row may have more.
    pub batch_tokens: usize,
}

impl Default for QualityOptions {
    fn default() -> Self {
        Self { long: LongText::default(), batch_tokens: BATCH_TOKENS }
    }
}

/// The score of a pair and what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The model's score, not clamped; of a pair that was scored by sentences their mean.
    pub score: f32,
    /// The least score of a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f32>,
    /// Number of sentences that were scored one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentences: Option<usize>,
    /// Ids of translation and source (else reference) in one row, before any cut.
    pub tokens: usize,
    /// Ids of translation, source and reference that the model did not see, over all its inputs the most.
    #[serde(default, skip_serializing_if = "Lost::is_nothing")]
    pub lost: Lost,
    /// The estimator's outputs, where the score is made of more than one.
    #[serde(flatten)]
    pub parts: Parts,
    /// What is wrong in the translation, of a model that marks errors; the characters are the translation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_spans: Option<Vec<ErrorSpan>>,
}

/// Ids that were cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lost {
    /// Of the translation.
    pub translation: usize,
    /// Of the source.
    pub source: usize,
    /// Of the reference.
    pub reference: usize,
}

impl Lost {
    /// Whether nothing was cut off.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Parts of a score; of a pair that was scored by sentences their means.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Parts {
    /// From translation and source, not clamped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_score: Option<f32>,
    /// From translation and reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_score: Option<f32>,
    /// From all three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unified_score: Option<f32>,
    /// What the error spans leave of 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqm_score: Option<f32>,
}

/// Why a pair has no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The source is empty or blank.
    EmptySource,
    /// The translation is empty or blank.
    EmptyTranslation,
    /// The model needs a reference, and there is none.
    NoReference,
    /// It is longer than the model reads, and such are refused.
    TooLong,
    /// It is longer than the model reads, and its sides do not have equally many sentences.
    NotAligned,
    /// It is longer than the model reads, and so is one of its sentences.
    LongSentence,
}

impl Refusal {
    /// As records have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmptySource => "empty_source",
            Self::EmptyTranslation => "empty_translation",
            Self::NoReference => "no_reference",
            Self::TooLong => "too_long",
            Self::NotAligned => "not_aligned",
            Self::LongSentence => "long_sentence",
        }
    }
}

/// What became of a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It has a score.
    Scored(Score),
    /// It has none.
    Rejected {
        /// Why.
        reason: Refusal,
        /// The figures behind it.
        detail: String,
    },
}

/// A model's files, read but for its weights.
#[derive(Debug, Clone)]
pub struct QualityFolder {
    files: CometFolder,
    tokenizer: PairTokenizer,
    fingerprint: String,
}

impl QualityFolder {
    /// Opens a COMET model's folder; `encoder` is the folder with the encoder's config and tokenizer, `encoder` in `folder` where none is
    /// named. The weights are read once for their hash.
    ///
    /// # Errors
    /// A file that is missing or holds something else, named.
    pub fn open(folder: &Path, encoder: Option<&Path>) -> Result<Self> {
        let files = CometFolder::open(folder, encoder)?;
        let described = &files.config.encoder;
        let tokenizer = PairTokenizer::from_folder(&files.encoder, described.max_tokens(), described.vocab_size())?;
        if i64::from(tokenizer.padding()) != described.pad_token_id() {
            let reason = format!(
                "the tokenizer pads with {}, the encoder's config.json says {} (pad_token_id): they belong to two models",
                tokenizer.padding(),
                described.pad_token_id()
            );
            return Err(TrainError::invalid(&files.encoder, reason));
        }
        let words = tokenizer.tokenizer().to_json()?;
        let parts = [hash_file(&files.hparams)?, hash_file(&files.weights)?, format!("{described:?}"), words];
        let fingerprint = blake3::hash(parts.join("\n").as_bytes()).to_hex().to_string();
        Ok(Self { files, tokenizer, fingerprint })
    }

    /// What the model is made of.
    pub fn config(&self) -> &CometConfig {
        &self.files.config
    }

    /// The files.
    pub fn files(&self) -> &CometFolder {
        &self.files
    }

    /// A hash of all that decides on a score: weights, hyper-parameters, tokenizer.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Reads the weights.
    ///
    /// # Errors
    /// Weights that do not fit, named; error labels that have no known cost.
    pub fn load(self, device: &Device) -> Result<QualityModel> {
        let model = self.files.load(device)?;
        let config = &self.files.config;
        let severity = |label: &String| {
            Severity::by_name(label).ok_or_else(|| {
                let reason = format!("`error_labels` has {label:?}, expected minor, major or critical");
                TrainError::invalid(&self.files.hparams, reason)
            })
        };
        let severities = match config.word_layer {
            Some(_) => config.error_labels.iter().map(severity).collect::<Result<_>>()?,
            None => Vec::new(),
        };
        Ok(QualityModel { model, tokenizer: self.tokenizer, severities, device: device.clone() })
    }
}

/// A model that scores translations.
#[derive(Debug)]
pub struct QualityModel {
    model: CometModel,
    tokenizer: PairTokenizer,
    severities: Vec<Severity>,
    device: Device,
}

/// A pair, or a sentence of one, as rows of ids.
struct Unit {
    pair: usize,
    /// Characters of the pair's translation before this one.
    before: usize,
    translation: Piece,
    rows: Vec<Joined>,
    found: Vec<Option<Row>>,
}

/// A row of a unit.
#[derive(Debug, Clone, Copy)]
struct Place {
    unit: usize,
    row: usize,
    length: usize,
}

/// What the model made of a row.
struct Row {
    score: f32,
    /// Probabilities of the labels of the translation's tokens.
    labels: Vec<Vec<f32>>,
}

/// What a pair is scored from.
enum Prepared {
    Refused(Refusal, String),
    Units { units: Vec<Unit>, by_sentences: bool, tokens: usize, lost: Lost },
}

/// What makes rows of pairs, in several threads.
struct Preparer<'a> {
    tokenizer: &'a PairTokenizer,
    sources: bool,
    references: bool,
    long: LongText,
}

impl Preparer<'_> {
    fn prepare(&self, index: usize, pair: &Pair<'_>) -> Result<Prepared> {
        let blank = |text: &str| text.trim().is_empty();
        let refused = |reason, detail: &str| Ok(Prepared::Refused(reason, detail.to_owned()));
        if blank(pair.translation) {
            return refused(Refusal::EmptyTranslation, "nothing to score");
        }
        if self.sources && blank(pair.source) {
            return refused(Refusal::EmptySource, "nothing to compare with");
        }
        let reference = pair.reference.filter(|text| self.references && !blank(text));
        if !self.sources && reference.is_none() {
            return refused(Refusal::NoReference, "this model compares with references alone");
        }
        let (unit, lost) = self.unit(index, 0, pair.translation, pair.source, reference)?;
        let tokens = unit.rows.first().map_or(0, |row| row.whole);
        let limit = self.tokenizer.max_tokens();
        if lost.is_nothing() || self.long == LongText::Truncate {
            return Ok(Prepared::Units { units: vec![unit], by_sentences: false, tokens, lost });
        }
        let longest = unit.rows.iter().map(|row| row.whole).max().unwrap_or(0);
        let sizes = format!("{longest} tokens, the model reads {limit}");
        if self.long == LongText::Reject {
            return refused(Refusal::TooLong, &sizes);
        }
        let compared = if self.sources { pair.source } else { reference.unwrap_or_default() };
        let aligned = aligned_sentences(compared, pair.translation);
        let references = reference.map(burn_vlm_data::comet::sentences);
        let sentences = match (aligned, &references) {
            (Ok(sentences), None) => sentences,
            (Ok(sentences), Some(references)) if references.len() == sentences.len() => sentences,
            (Ok(sentences), Some(references)) => {
                let detail = format!("{sizes}; {} sentences, {} in the reference", sentences.len(), references.len());
                return refused(Refusal::NotAligned, &detail);
            }
            (Err((source, translation)), _) => {
                let detail = format!("{sizes}; {source} sentences in the source, {translation} in the translation");
                return refused(Refusal::NotAligned, &detail);
            }
        };
        let mut units = Vec::new();
        for (number, (source, translation)) in sentences.into_iter().enumerate() {
            // Where the sentence begins: it is a part of the text.
            let byte = translation.as_ptr() as usize - pair.translation.as_ptr() as usize;
            let before = pair.translation.get(..byte).map_or(0, |text| text.chars().count());
            let reference = references.as_ref().and_then(|references| references.get(number).copied());
            let (unit, lost) = self.unit(index, before, translation, source, reference)?;
            if !lost.is_nothing() {
                let longest = unit.rows.iter().map(|row| row.whole).max().unwrap_or(0);
                let detail = format!("sentence {}: {longest} tokens, the model reads {limit}", number + 1);
                return refused(Refusal::LongSentence, &detail);
            }
            units.push(unit);
        }
        Ok(Prepared::Units { units, by_sentences: true, tokens, lost: Lost::default() })
    }

    /// A translation as rows, and what they lack of the texts.
    fn unit(
        &self,
        pair: usize,
        before: usize,
        translation: &str,
        source: &str,
        reference: Option<&str>,
    ) -> Result<(Unit, Lost)> {
        let translation = self.tokenizer.piece(translation)?;
        let source = self.sources.then(|| self.tokenizer.piece(source)).transpose()?;
        let reference = reference.map(|text| self.tokenizer.piece(text)).transpose()?;
        let mut lost = Lost::default();
        let mut join = |source: Option<&Piece>, reference: Option<&Piece>| {
            let pieces: Vec<&Piece> = [Some(&translation), source, reference].into_iter().flatten().collect();
            let joined = self.tokenizer.join(&pieces);
            let mut cut = joined.lost.iter().copied();
            let mut next = |there: bool| if there { cut.next().unwrap_or(0) } else { 0 };
            lost.translation = lost.translation.max(next(true));
            lost.source = lost.source.max(next(source.is_some()));
            lost.reference = lost.reference.max(next(reference.is_some()));
            joined
        };
        let rows = match (&source, &reference) {
            (Some(source), Some(reference)) => {
                vec![join(Some(source), None), join(None, Some(reference)), join(Some(source), Some(reference))]
            }
            (source, reference) => vec![join(source.as_ref(), reference.as_ref())],
        };
        let found = rows.iter().map(|_| None).collect();
        Ok((Unit { pair, before, translation, rows, found }, lost))
    }
}

impl QualityModel {
    /// The model.
    pub fn model(&self) -> &CometModel {
        &self.model
    }

    /// The model, to change how it mixes its layers.
    pub fn model_mut(&mut self) -> &mut CometModel {
        &mut self.model
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &PairTokenizer {
        &self.tokenizer
    }

    /// Scores pairs. `done` is told of each, by its place, as soon as it is known: refused ones first, then from the longest to the
    /// shortest. It ends the work by an error of its own.
    ///
    /// # Errors
    /// A text that cannot be tokenized, a failure of the device, what `done` says.
    pub fn score_each(
        &self,
        pairs: &[Pair<'_>],
        options: &QualityOptions,
        mut done: impl FnMut(usize, Outcome) -> Result<()>,
    ) -> Result<()> {
        let config = &self.model.config;
        let preparer = Preparer {
            tokenizer: &self.tokenizer,
            sources: config.takes_sources(),
            references: config.takes_references(),
            long: options.long,
        };
        let prepare = |(index, pair): (usize, &Pair<'_>)| preparer.prepare(index, pair);
        let prepared = pairs.par_iter().enumerate().map(prepare).collect::<Result<Vec<_>>>()?;
        let mut units = Vec::new();
        let mut open: Vec<Option<Open>> = Vec::new();
        for (index, prepared) in prepared.into_iter().enumerate() {
            match prepared {
                Prepared::Refused(reason, detail) => {
                    open.push(None);
                    done(index, Outcome::Rejected { reason, detail })?;
                }
                Prepared::Units { units: own, by_sentences, tokens, lost } => {
                    let range = units.len()..units.len() + own.len();
                    let missing = own.iter().map(|unit| unit.rows.len()).sum();
                    open.push(Some(Open { range, missing, by_sentences, tokens, lost }));
                    units.extend(own);
                }
            }
        }
        let mut rows: Vec<Place> = Vec::new();
        for (number, unit) in units.iter().enumerate() {
            let place = |(row, joined): (usize, &Joined)| Place { unit: number, row, length: joined.ids.len() };
            rows.extend(unit.rows.iter().enumerate().map(place));
        }
        // Equal lengths in the order of the pairs.
        rows.sort_by_key(|place| std::cmp::Reverse(place.length));
        let mut rest = rows.as_slice();
        while let Some(first) = rest.first() {
            let longest = first.length.max(1);
            let count = (options.batch_tokens / longest).clamp(1, rest.len());
            let (batch, after) = rest.split_at(count);
            rest = after;
            let found = self.batch(&units, batch)?;
            for (place, value) in batch.iter().zip(found) {
                units[place.unit].found[place.row] = Some(value);
                let pair = units[place.unit].pair;
                let Some(state) = open.get_mut(pair).and_then(Option::as_mut) else { continue };
                state.missing -= 1;
                if state.missing == 0 {
                    let outcome = self.outcome(state, &units)?;
                    done(pair, outcome)?;
                }
            }
        }
        Ok(())
    }

    /// Scores pairs, in their order.
    ///
    /// # Errors
    /// As [`Self::score_each`].
    pub fn score(&self, pairs: &[Pair<'_>], options: &QualityOptions) -> Result<Vec<Outcome>> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; pairs.len()];
        self.score_each(pairs, options, |index, outcome| {
            outcomes[index] = Some(outcome);
            Ok(())
        })?;
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Runs some rows through the model.
    fn batch(&self, units: &[Unit], rows: &[Place]) -> Result<Vec<Row>> {
        let (count, width) = (rows.len(), rows.iter().map(|place| place.length).max().unwrap_or(0));
        let mut values = Vec::with_capacity(count * width);
        let mut mask = Vec::with_capacity(count * width);
        for place in rows {
            let ids = &units[place.unit].rows[place.row].ids;
            values.extend(ids.iter().map(|id| i64::from(*id)));
            values.resize(values.len() + width - ids.len(), i64::from(self.tokenizer.padding()));
            mask.extend((0..width).map(|at| at < ids.len()));
        }
        let values = Tensor::<2, Int>::from_data(TensorData::new(values, [count, width]), &self.device);
        let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, [count, width]), &self.device);
        let output = self.model.forward(values, mask)?;
        let scores = read(output.scores, "the scores")?;
        let labels: Vec<Vec<Vec<f32>>> = match output.labels {
            Some(labels) => {
                let [_, _, kinds] = labels.dims();
                let logits = read(labels, "the labels of tokens")?;
                let of_row = |(number, place): (usize, &Place)| {
                    // A padding token that stands in a text is not in the row, which then may be the shorter one.
                    let wanted = units[place.unit].translation.ids.len().min(place.length);
                    let from = number * width * kinds;
                    logits[from..from + wanted * kinds].chunks_exact(kinds).map(softmax).collect()
                };
                rows.iter().enumerate().map(of_row).collect()
            }
            None => vec![Vec::new(); count],
        };
        Ok(scores.into_iter().zip(labels).map(|(score, labels)| Row { score, labels }).collect())
    }

    /// The outcome of a pair of which all rows are known.
    fn outcome(&self, open: &Open, units: &[Unit]) -> Result<Outcome> {
        let units = units.get(open.range.clone()).unwrap_or_default();
        let scores = units.iter().map(|unit| self.unit_score(unit)).collect::<Result<Vec<_>>>()?;
        let mean = |value: &dyn Fn(&UnitScore) -> Option<f32>| {
            let values: Vec<f32> = scores.iter().filter_map(value).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f32>() / values.len() as f32)
        };
        let score = mean(&|unit| Some(unit.score)).unwrap_or(f32::NAN);
        if !score.is_finite() {
            let what = format!("a pair of {} tokens has the score {score}: the weights are damaged", open.tokens);
            return Err(TrainError::Data(what));
        }
        let least = scores.iter().map(|unit| unit.score).fold(f32::INFINITY, f32::min);
        let marks = !self.severities.is_empty();
        let parts = Parts {
            source_score: mean(&|unit| unit.parts.source_score),
            reference_score: mean(&|unit| unit.parts.reference_score),
            unified_score: mean(&|unit| unit.parts.unified_score),
            mqm_score: mean(&|unit| unit.parts.mqm_score),
        };
        Ok(Outcome::Scored(Score {
            score,
            minimum: open.by_sentences.then_some(least),
            sentences: open.by_sentences.then_some(scores.len()),
            tokens: open.tokens,
            lost: open.lost,
            parts,
            error_spans: marks.then(|| scores.into_iter().flat_map(|unit| unit.spans).collect()),
        }))
    }

    /// The score of a unit by its model's class.
    fn unit_score(&self, unit: &Unit) -> Result<UnitScore> {
        let rows: Vec<&Row> = unit.found.iter().flatten().collect();
        let estimates: Vec<f32> = rows.iter().map(|row| row.score).collect();
        let xcomet = self.model.config.class == CometClass::Xcomet;
        let mut parts = match estimates.as_slice() {
            [source, reference, unified] => Parts {
                source_score: Some(*source),
                reference_score: Some(*reference),
                unified_score: Some(*unified),
                mqm_score: None,
            },
            [only] if xcomet => Parts { source_score: Some(*only), ..Parts::default() },
            _ => Parts::default(),
        };
        let mut spans = Vec::new();
        if !self.severities.is_empty()
            && let Some(joined) = unit.rows.first()
        {
            let labels = mixed_labels(&rows);
            spans = error_spans(&self.tokenizer, &unit.translation, joined, &labels, &self.severities)?;
        }
        let mean = estimates.iter().sum::<f32>() / estimates.len().max(1) as f32;
        let score = if xcomet {
            let mqm = mqm_score(&spans);
            parts.mqm_score = Some(mqm);
            let [source, reference, unified, spans] = XCOMET_WEIGHTS;
            let clamped = |estimate: &f32| estimate.min(1.0);
            let estimated = match estimates.as_slice() {
                [only] => (source + reference + unified) * clamped(only),
                all => all.iter().zip([source, reference, unified]).map(|(part, weight)| weight * clamped(part)).sum(),
            };
            estimated + spans * mqm
        } else {
            mean
        };
        // From a sentence's characters to the translation's.
        for span in &mut spans {
            span.start += unit.before;
            span.end += unit.before;
        }
        Ok(UnitScore { score, parts, spans })
    }
}

/// A pair some of whose rows are not known yet.
struct Open {
    range: std::ops::Range<usize>,
    missing: usize,
    by_sentences: bool,
    tokens: usize,
    lost: Lost,
}

struct UnitScore {
    score: f32,
    parts: Parts,
    spans: Vec<ErrorSpan>,
}

/// Probabilities of the labels, mixed where there are three inputs, for as many tokens as all have.
fn mixed_labels(rows: &[&Row]) -> Vec<Vec<f32>> {
    let [first, rest @ ..] = rows else { return Vec::new() };
    if rest.is_empty() {
        return first.labels.clone();
    }
    let tokens = rows.iter().map(|row| row.labels.len()).min().unwrap_or(0);
    let token = |at: usize| {
        let kinds = first.labels[at].len();
        let kind = |kind: usize| {
            rows.iter().zip(LABEL_WEIGHTS).map(|(row, weight)| weight * row.labels[at][kind]).sum::<f32>()
        };
        (0..kinds).map(kind).collect()
    };
    (0..tokens).map(token).collect()
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// A tensor's values on the host.
fn read<const D: usize>(tensor: Tensor<D>, what: &'static str) -> Result<Vec<f32>> {
    let failed = |reason: String| ModelError::Read { what, reason };
    let data = tensor.try_into_data().map_err(|error| failed(format!("{error:?}")))?;
    Ok(data.iter::<f32>().collect())
}

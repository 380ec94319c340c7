//! Rows as the model runs them in parts, so that what several begin with runs once.
//!
//! Unusual here:
//! - a place of a picture is told apart by what its hidden state depends on: the picture, how many are shown with it (tiles), and, for a
//!   connector that reads text, the words that route. So Parrot's pictures are shared among the answers to one question only;
//! - a part with pictures is embedded by itself, unless its pictures depend on the rest of the row: then the whole row is, and cut.

use std::collections::HashMap;

use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_vlm::connector::Projector;
use burn_vlm::generate::PromptPart;
use burn_vlm::vision::VisionTower;
use burn_vlm_data::collate::{PaddingSide, collate};
use burn_vlm_data::encode::{Encoded, IGNORE};
use burn_vlm_data::sample::MediaKey;

use super::rows::{Kept, Scorer, Shown};
use crate::error::{Result, TrainError};

/// Symbols from here on are places of pictures; below are ids.
const PICTURES: u64 = 1 << 32;

/// Which words of a row route a connector that reads text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Routes {
    /// Those of the connector's scope; answers never do.
    ByScope,
    /// All: in generation nothing is masked.
    All,
}

/// A row: its ids and what it shows.
#[derive(Debug)]
pub(super) struct Prompt<'s> {
    pub(super) encoded: Encoded,
    pub(super) shown: &'s [Shown],
    /// Image tokens of each picture.
    pub(super) counts: Vec<usize>,
}

/// What a picture's hidden states depend on.
type Place = (MediaKey, usize, usize, Option<usize>);

/// Rows whose parts are embedded.
pub(super) struct Prompts<'s, T: VisionTower, P: Projector> {
    scorer: &'s Scorer<T, P>,
    kept: &'s mut Kept,
    routes: Routes,
    pub(super) rows: Vec<Prompt<'s>>,
}

impl<'s, T: VisionTower, P: Projector> Prompts<'s, T, P> {
    pub(super) fn new(scorer: &'s Scorer<T, P>, kept: &'s mut Kept, routes: Routes, rows: Vec<Prompt<'s>>) -> Self {
        Self { scorer, kept, routes, rows }
    }

    /// Which words of a row route; none where the connector reads no text.
    fn routing(&self, encoded: &Encoded) -> Option<Vec<bool>> {
        let connector = &self.scorer.model.multi_modal_projector;
        let scope = connector.text_scope().filter(|_| connector.reads_text())?;
        Some(match self.routes {
            Routes::ByScope => scope.select(&encoded.labels, &encoded.user_turns),
            Routes::All => vec![true; encoded.ids.len()],
        })
    }

    /// Symbols of each row's first `tokens(row)` tokens: where those of two rows are the same up to a place, so are their hidden states.
    pub(super) fn symbols(&self, tokens: impl Fn(usize) -> usize) -> Vec<Vec<u64>> {
        let visual = self.scorer.visual_ids();
        let mut places: HashMap<Place, u64> = HashMap::new();
        let mut routings: HashMap<Vec<(usize, u32)>, usize> = HashMap::new();
        let symbols = |(row, prompt): (usize, &Prompt<'_>)| {
            let Prompt { encoded, shown, counts } = prompt;
            let words = self.routing(encoded).filter(|_| !shown.is_empty()).map(|routes| {
                let words = encoded.ids.iter().enumerate().zip(routes);
                let words = words.filter(|((_, id), routes)| *routes && !visual.contains(id));
                let words: Vec<(usize, u32)> = words.map(|((at, id), _)| (at, *id)).collect();
                let next = routings.len();
                *routings.entry(words).or_insert(next)
            });
            let mut pictures = Vec::new();
            for (one, &count) in shown.iter().zip(counts) {
                let next = PICTURES + places.len() as u64;
                let symbol = *places.entry((one.key, count, shown.len(), words)).or_insert(next);
                pictures.extend(std::iter::repeat_n(symbol, count));
            }
            let mut pictures = pictures.into_iter();
            // An image token without a picture is the model's error to tell; nobody shares it.
            let stray = u64::MAX - row as u64;
            let symbol = |id: &u32| match visual.contains(id) {
                true => pictures.next().unwrap_or(stray),
                false => u64::from(*id),
            };
            encoded.ids.iter().take(tokens(row)).map(symbol).collect()
        };
        self.rows.iter().enumerate().map(symbols).collect()
    }

    /// Embeddings of parts of rows, `[parts, tokens, hidden]`, shorter ones padded on the right.
    ///
    /// # Errors
    /// A picture that cannot be shown, a row that does not fit the model.
    pub(super) fn embed(&mut self, parts: &[PromptPart], tokens: usize) -> Result<Tensor<3>> {
        let scorer = self.scorer;
        let visual = scorer.visual_ids();
        // Tiles are cut for all pictures of a row together, and words all over the row may route.
        let whole = scorer.is_tiled() || scorer.model.multi_modal_projector.reads_text();
        let mut sequences: Vec<Encoded> = Vec::with_capacity(parts.len());
        let mut shown: Vec<&[Shown]> = Vec::with_capacity(parts.len());
        let mut starts: Vec<usize> = Vec::with_capacity(parts.len());
        for part in parts {
            let Prompt { encoded, shown: all, counts } = &self.rows[part.row];
            let before = encoded.ids[..part.start].iter().filter(|id| visual.contains(id)).count();
            let here = encoded.ids[part.start..part.end].iter().filter(|id| visual.contains(id)).count();
            if whole && here > 0 {
                sequences.push(encoded.clone());
                shown.push(all);
                starts.push(part.start);
                continue;
            }
            sequences.push(Encoded {
                ids: encoded.ids[part.start..part.end].to_vec(),
                labels: vec![IGNORE; part.end - part.start],
                ..Encoded::default()
            });
            // Pictures stand whole in a part: their places have one symbol.
            let first = pictures_in(counts, before)?;
            let last = pictures_in(counts, before + here)?;
            shown.push(&all[first..last]);
            starts.push(0);
        }
        let text = collate(&sequences, scorer.pad_id(), PaddingSide::Right, 1);
        let routing = if shown.iter().any(|shown| !shown.is_empty()) {
            let routing = sequences.iter().map(|sequence| self.routing(sequence)).collect::<Option<Vec<Vec<bool>>>>();
            routing.map(|rows| {
                let padded = rows.into_iter().flat_map(|mut row| {
                    row.resize(text.tokens, false);
                    row
                });
                let mask: Vec<bool> = padded.collect();
                Tensor::<2, Bool>::from_data(TensorData::new(mask, [text.batch, text.tokens]), &scorer.device)
            })
        } else {
            None
        };
        let embeds = scorer.model.embed(&scorer.input_routed(&text, &shown, self.kept, routing)?)?;
        let [rows, width, hidden] = embeds.dims();
        if width == tokens && starts.iter().all(|start| *start == 0) {
            return Ok(embeds);
        }
        let place = |(row, (start, part)): (usize, (&usize, &PromptPart))| {
            let own = part.end - part.start;
            (0..tokens).map(move |at| (row * width + start + at.min(own - 1)) as i64).collect::<Vec<i64>>()
        };
        let places: Vec<i64> = starts.iter().zip(parts).enumerate().flat_map(place).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [rows * tokens]), &scorer.device);
        Ok(embeds.reshape([rows * width, hidden]).select(0, places).reshape([rows, tokens, hidden]))
    }
}

/// How many pictures have `tokens` image tokens together, from the first on.
fn pictures_in(counts: &[usize], tokens: usize) -> Result<usize> {
    let mut left = tokens;
    for (at, count) in counts.iter().enumerate() {
        match left {
            0 => return Ok(at),
            _ if left < *count => break,
            _ => left -= count,
        }
    }
    match left {
        0 => Ok(counts.len()),
        _ => {
            Err(TrainError::Data(format!("{tokens} image tokens are not those of whole pictures of {counts:?} tokens")))
        }
    }
}

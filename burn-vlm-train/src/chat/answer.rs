//! An answer as it is written.

use std::time::{Duration, Instant};

use burn_vlm::connector::{Connector, Projector};
use burn_vlm::generate::Decoding;
use burn_vlm::vision::{VisionEncoder, VisionTower};
use burn_vlm_data::text_stream::TextStream;

use super::ChatSession;
use crate::error::{Result, TrainError};

/// What an answer took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AnswerStats {
    /// Tokens of the prompt, visual tokens included.
    pub prompt_tokens: usize,
    /// Those of them that earlier turns had left in the cache.
    pub reused_tokens: usize,
    /// Tokens written.
    pub new_tokens: usize,
    /// Time until the first token: new pictures decoded, processed and encoded, and the prompt read.
    pub prefill: Duration,
    /// Time for the tokens after the first.
    pub decode: Duration,
}

impl AnswerStats {
    /// Tokens a second after the first; 0 if there were none.
    pub fn tokens_per_second(&self) -> f64 {
        let tokens = self.new_tokens.saturating_sub(1) as f64;
        if tokens == 0.0 { 0.0 } else { tokens / self.decode.as_secs_f64().max(f64::MIN_POSITIVE) }
    }
}

/// An iterator over the pieces of an answer. When it is dropped, what was written becomes the assistant's turn.
pub struct Answer<'s, 'a, T: VisionTower = VisionEncoder, P: Projector = Connector> {
    session: &'s mut ChatSession<'a, T, P>,
    /// Taken out at the end.
    decoding: Option<Decoding<'a>>,
    stream: TextStream<'a>,
    text: String,
    /// Prompt and new tokens.
    read: Vec<u32>,
    stats: AnswerStats,
    done: bool,
    /// Whether the decoder would have gone on.
    cut: bool,
}

impl<'s, 'a, T: VisionTower, P: Projector> Answer<'s, 'a, T, P> {
    pub(super) fn new(
        session: &'s mut ChatSession<'a, T, P>,
        decoding: Decoding<'a>,
        stream: TextStream<'a>,
        (prompt, reused): (Vec<u32>, usize),
        prepared: Duration,
    ) -> Self {
        let stats =
            AnswerStats { prompt_tokens: prompt.len(), reused_tokens: reused, prefill: prepared, ..Default::default() };
        Self {
            session,
            decoding: Some(decoding),
            stream,
            text: String::new(),
            read: prompt,
            stats,
            done: false,
            cut: false,
        }
    }

    /// What was written so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it took so far.
    pub fn stats(&self) -> AnswerStats {
        self.stats
    }

    /// Whether the answer ended because it was as long as it may be ([`GenerationConfig::max_new_tokens`], the model's positions), and
    /// not where the model, a stop text or its form ended it. Known at the end.
    ///
    /// [`GenerationConfig::max_new_tokens`]: burn_vlm::generate::GenerationConfig::max_new_tokens
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Writes the rest and returns the whole answer.
    ///
    /// # Errors
    /// What the model or the tokenizer fail with.
    pub fn finish(mut self) -> Result<String> {
        self.by_ref().try_for_each(|piece| piece.map(drop))?;
        Ok(self.text.clone())
    }

    /// The text of the next token, which may be empty; `None` at the end.
    fn step(&mut self) -> Result<Option<String>> {
        let begin = Instant::now();
        let step = self.decoding.as_mut().and_then(Iterator::next).transpose()?;
        let taken = begin.elapsed();
        let Some(token) = step.and_then(|tokens| tokens.first().copied()) else {
            self.done = true;
            self.cut = self.decoding.as_ref().is_some_and(Decoding::is_cut);
            return self
                .stream
                .finish()
                .map(|rest| Some(rest).filter(|rest| !rest.is_empty()))
                .map_err(TrainError::from);
        };
        if self.stats.new_tokens == 0 {
            self.stats.prefill += taken;
        } else {
            self.stats.decode += taken;
        }
        self.stats.new_tokens += 1;
        self.read.push(token.id);
        let text = self.stream.push(token.id)?;
        self.done = self.stream.stopped();
        Ok(Some(text))
    }
}

impl<T: VisionTower, P: Projector> Iterator for Answer<'_, '_, T, P> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            match self.step() {
                Ok(Some(text)) if text.is_empty() => {}
                Ok(Some(text)) => {
                    self.text.push_str(&text);
                    return Some(Ok(text));
                }
                Ok(None) => break,
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl<T: VisionTower, P: Projector> Drop for Answer<'_, '_, T, P> {
    fn drop(&mut self) {
        if let Some(decoding) = self.decoding.take() {
            let (_, cache) = decoding.into_parts();
            self.session.end(std::mem::take(&mut self.text), cache, std::mem::take(&mut self.read));
        }
    }
}

//! From texts to joined ids.

use std::path::Path;

use crate::tokenizer::{Tokenizer, TokenizerError};

/// Ids around a joined text: `<s>` at its start, `</s>` at its end.
const AROUND: usize = 2;

/// One text as ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Piece {
    /// `<s> ... </s>`, cut to the longest that is joined.
    pub ids: Vec<u32>,
    /// Where each token begins and ends in the text, counted in characters; (0, 0) for those around it.
    pub offsets: Vec<(usize, usize)>,
    /// Ids that were cut off.
    pub lost: usize,
}

/// Texts in one row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Joined {
    /// `<s> A </s></s> B </s>`, cut without an end being put back.
    pub ids: Vec<u32>,
    /// Ids that the row would have without any cut.
    pub whole: usize,
    /// Ids of each text that are not in the row, in the order of the texts.
    pub lost: Vec<usize>,
}

/// The tokenizer of a metric's encoder, and how it joins texts.
#[derive(Debug, Clone)]
pub struct PairTokenizer {
    tokenizer: Tokenizer,
    start: u32,
    padding: u32,
    end: u32,
    max_tokens: usize,
}

impl PairTokenizer {
    /// The tokenizer of an encoder's folder (`tokenizer.json`, else `sentencepiece.bpe.model`) for rows of at most `max_tokens` ids;
    /// `rows` are those of the encoder's table of words.
    ///
    /// # Errors
    /// A folder without a tokenizer, one without `<s>`, `<pad>` and `</s>`, one with ids beyond the table. Names the file.
    pub fn from_folder(folder: &Path, max_tokens: usize, rows: usize) -> Result<Self, TokenizerError> {
        let file = folder.join("tokenizer.json");
        let tokenizer = if file.is_file() || !folder.join(Tokenizer::SENTENCEPIECE).is_file() {
            Tokenizer::from_file(&file)?
        } else {
            Tokenizer::from_xlm_roberta_sentencepiece(folder.join(Tokenizer::SENTENCEPIECE))?
        };
        tokenizer.check_rows(rows, None, folder)?;
        let id = |token: &str| {
            tokenizer.token_id(token).ok_or_else(|| TokenizerError::Config {
                path: folder.to_owned(),
                reason: format!("the tokenizer has no `{token}`, which joins texts: expected XLM-RoBERTa's"),
            })
        };
        let (start, padding, end) = (id("<s>")?, id("<pad>")?, id("</s>")?);
        Ok(Self { start, padding, end, max_tokens: max_tokens.max(2 * AROUND), tokenizer })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The id that rows are padded with.
    pub fn padding(&self) -> u32 {
        self.padding
    }

    /// The most ids of a row.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// A text alone: two ids less than a row has at most, as in COMET.
    ///
    /// # Errors
    /// A text that the tokenizer fails at.
    pub fn piece(&self, text: &str) -> Result<Piece, TokenizerError> {
        let found = self.tokenizer.encode_with_offsets(text, false)?;
        let kept = found.ids.len().min(self.max_tokens - 2 * AROUND);
        let around = |inner: &[u32]| [&[self.start][..], inner, &[self.end]].concat();
        let offsets = [&[(0, 0)][..], &found.offsets[..kept], &[(0, 0)]].concat();
        Ok(Piece { ids: around(&found.ids[..kept]), offsets, lost: found.ids.len() - kept })
    }

    /// Texts in one row, in the order given.
    pub fn join(&self, pieces: &[&Piece]) -> Joined {
        let mut row = vec![self.start];
        let (mut whole, mut lost) = (1, Vec::new());
        for (index, piece) in pieces.iter().enumerate() {
            if index > 0 {
                row.push(self.end);
                whole += 1;
            }
            let real: Vec<u32> = piece.ids.iter().copied().filter(|id| *id != self.padding).collect();
            let inner = real.get(1..real.len().saturating_sub(1)).unwrap_or_default();
            let room = self.max_tokens.saturating_sub(row.len());
            lost.push(piece.lost + inner.len().saturating_sub(room));
            whole += inner.len() + piece.lost + 1;
            row.extend(inner);
            row.push(self.end);
        }
        row.truncate(self.max_tokens);
        Joined { ids: row, whole, lost }
    }
}

//! GGUF, the files of llama.cpp: decoders of `llama`, `qwen2` and `gemma2`, in floats or quantised.
//!
//! Unusual here:
//! - a file is read as the folder it was made from: its metadata become `config.json` and `tokenizer.json`, its tensors the parameters,
//!   so that nothing behind this module knows of GGUF;
//! - quantised values become floats a piece at a time, on their way into memory; the peak is the model and one tensor;
//! - what is not understood is an error: a tensor that no decoder has, a type of blocks, a name for how words are cut.

mod blocks;
mod decoder;
mod header;
mod words;

use std::fs::File;
use std::io;
use std::path::Path;

use rayon::prelude::*;
use serde_json::Value as Json;

use super::CheckpointError;
use super::chunks::{CHUNK, Element, read_at};
#[cfg(feature = "flex")]
use crate::nn::fused::packed::{self, Nibbles};
use blocks::BlockType;
use decoder::Change;
pub(super) use header::START;

/// What a tensor of such a file needs to be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Form {
    kind: BlockType,
    change: Change,
    /// Values of a row.
    columns: usize,
}

/// A tensor of such a file.
pub(super) struct GgufTensor {
    pub(super) key: String,
    pub(super) shape: Vec<usize>,
    pub(super) start: u64,
    pub(super) form: Form,
}

/// Whether a path is a file that begins as GGUF does.
pub fn is_gguf(path: &Path) -> bool {
    let mut start = [0; 4];
    path.is_file() && File::open(path).is_ok_and(|file| read_at(&file, &mut start, 0).is_ok()) && start == START
}

/// The decoder's `config.json`.
///
/// # Errors
/// [`CheckpointError`]; it names the file, and the key or tensor.
pub fn gguf_config(path: &Path) -> Result<Json, CheckpointError> {
    let file = File::open(path).map_err(CheckpointError::io(path, "opening"))?;
    decoder_of(path, &file).map(|decoder| decoder.config)
}

fn decoder_of(path: &Path, file: &File) -> Result<decoder::Decoder, CheckpointError> {
    let header = header::read(path, file)?;
    decoder::Decoder::new(&header).map_err(|reason| CheckpointError::format(path, reason))
}

/// The tensors of a file, whose values stay in it, under the names of parameters.
pub(super) fn tensors(path: &Path, file: &File) -> Result<Vec<GgufTensor>, CheckpointError> {
    let tensor = |(key, decoder::Tensor { info, change })| {
        let columns = if let [_, columns] = info.shape[..] { columns } else { 1 };
        let form = Form { kind: info.kind, change, columns };
        GgufTensor { key, shape: info.shape, start: info.start, form }
    };
    Ok(decoder_of(path, file)?.tensors.into_iter().map(tensor).collect())
}

/// Tokenizer, its settings, those of generating, and the conversation template, as the files that a folder has of them: names and
/// contents.
///
/// # Errors
/// [`CheckpointError`]; it names the file, and the key of its metadata.
pub fn gguf_words(path: &Path) -> Result<Vec<(&'static str, String)>, CheckpointError> {
    let file = File::open(path).map_err(CheckpointError::io(path, "opening"))?;
    words::files(&header::read(path, &file)?).map_err(|reason| CheckpointError::format(path, reason))
}

/// Fills `out` with the values of a tensor from index `from` on.
pub(super) fn read_values<E: Element>(
    file: &File,
    start: u64,
    form: Form,
    from: usize,
    out: &mut [E],
) -> io::Result<()> {
    out.par_chunks_mut(CHUNK).enumerate().try_for_each_init(Buffers::default, |buffers, (index, mut chunk)| {
        let mut at = from + index * CHUNK;
        while !chunk.is_empty() {
            let (source, run) = match form.change {
                Change::Rows(width) => {
                    let (row, column) = (at / form.columns, at % form.columns);
                    (stored_row(row, width) * form.columns + column, (form.columns - column).min(chunk.len()))
                }
                Change::None | Change::PlusOne => (at, chunk.len()),
            };
            let (out, rest) = chunk.split_at_mut(run);
            buffers.read(file, start, form, source, out)?;
            (chunk, at) = (rest, at + run);
        }
        Ok(())
    })
}

/// How a quantised tensor is held in 4 bits where that is asked for: with its own numbers, or in 8 bits where they are finer; none for
/// floats.
#[cfg(feature = "flex")]
pub(super) fn kept(form: Form) -> Option<packed::Form> {
    form.kind.kept()
}

/// Fills `out` with the blocks of rows from row `first` on, as they are stored: of a tensor that [`kept`] has in 4 bits.
#[cfg(feature = "flex")]
pub(super) fn read_nibbles(file: &File, start: u64, form: Form, first: usize, out: &mut [Nibbles]) -> io::Result<()> {
    let row_bytes = form.columns / form.kind.values() * form.kind.block_bytes();
    let blocks = form.columns / packed::BLOCK;
    out.par_chunks_mut(blocks.max(1)).enumerate().try_for_each_init(Vec::new, |bytes, (at, out)| {
        let row = match form.change {
            Change::Rows(width) => stored_row(first + at, width),
            Change::None | Change::PlusOne => first + at,
        };
        bytes.resize(row_bytes, 0);
        read_at(file, bytes, start + (row * row_bytes) as u64)?;
        form.kind.nibbles(bytes, out);
        Ok(())
    })
}

/// Where in the file row `row` is, of heads of `width` rows: there, the rows of both halves of a head take turns.
fn stored_row(row: usize, width: usize) -> usize {
    let (head, at) = (row / width, row % width);
    let (half, pair) = (at / (width / 2), at % (width / 2));
    head * width + pair * 2 + half
}

/// Blocks of a piece of a tensor, and their values.
#[derive(Default)]
struct Buffers {
    bytes: Vec<u8>,
    values: Vec<f32>,
}

impl Buffers {
    /// Fills `out` with the values from `from` on, as they lie in the file.
    fn read<E: Element>(&mut self, file: &File, start: u64, form: Form, from: usize, out: &mut [E]) -> io::Result<()> {
        let (values, size) = (form.kind.values(), form.kind.block_bytes());
        let (first, last) = (from / values, (from + out.len()).div_ceil(values));
        self.bytes.resize((last - first) * size, 0);
        self.values.resize((last - first) * values, 0.0);
        read_at(file, &mut self.bytes, start + (first * size) as u64)?;
        form.kind.decode(&self.bytes, &mut self.values);
        let less = if form.change == Change::PlusOne { 1.0 } else { 0.0 };
        for (out, value) in out.iter_mut().zip(&self.values[from - first * values..]) {
            *out = E::from_f32(value - less);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

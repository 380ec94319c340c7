//! Values of a file in memory: chunks fetched, converted and transposed by several threads.

use std::fs::File;
use std::io;

use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;

use super::{StoredTensor, gguf};

/// Values that a thread fetches at once: 256 KiB as f32, which stays in its cache between the read and the conversion.
pub(super) const CHUNK: usize = 1 << 16;
/// Values of a matrix that are held in both orders at once: 16 MiB as f32.
const BLOCK: usize = 1 << 22;
/// Edge of the squares in which a matrix is transposed: two of f32 fit the innermost cache.
const SQUARE: usize = 32;

/// A float type that parameters have in memory.
pub(super) trait Element: Copy + Default + Send + Sync {
    /// Rounded to the nearest.
    fn from_f32(value: f32) -> Self;
    /// Neither NaN nor infinite.
    fn finite(self) -> bool;
}

impl Element for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }

    fn finite(self) -> bool {
        self.is_finite()
    }
}

impl Element for f16 {
    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }

    fn finite(self) -> bool {
        self.is_finite()
    }
}

impl Element for bf16 {
    fn from_f32(value: f32) -> Self {
        bf16::from_f32(value)
    }

    fn finite(self) -> bool {
        self.is_finite()
    }
}

/// Fills `out` with the values of `tensor` from index `from` on.
pub(super) fn read_values<E: Element>(
    file: &File,
    tensor: &StoredTensor,
    from: usize,
    out: &mut [E],
) -> io::Result<()> {
    if let Some(form) = tensor.gguf {
        return gguf::read_values(file, tensor.start, form, from, out);
    }
    let size = tensor.dtype.bitsize() / 8;
    out.par_chunks_mut(CHUNK).enumerate().try_for_each_init(Vec::new, |bytes, (index, chunk)| {
        bytes.resize(chunk.len() * size, 0);
        read_at(file, bytes, tensor.start + ((from + index * CHUNK) * size) as u64)?;
        decode(tensor.dtype, bytes, chunk);
        Ok(())
    })
}

/// Fills `bytes` from a byte of the file on.
#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Fills `bytes` from a byte of the file on.
#[cfg(windows)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match std::os::windows::fs::FileExt::seek_read(file, &mut bytes[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => done += read,
        }
    }
    Ok(())
}

/// Little-endian bytes to values; the element type is one of the four.
fn decode<E: Element>(dtype: Dtype, bytes: &[u8], out: &mut [E]) {
    fn each<const N: usize, E: Element>(bytes: &[u8], out: &mut [E], value: impl Fn([u8; N]) -> f32) {
        let (chunks, _) = bytes.as_chunks::<N>();
        out.iter_mut().zip(chunks).for_each(|(out, chunk)| *out = E::from_f32(value(*chunk)));
    }
    match dtype {
        Dtype::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        // The upper half of an f32.
        Dtype::BF16 => each(bytes, out, |[low, high]| f32::from_le_bytes([0, 0, low, high])),
        _ => each(bytes, out, f32::from_le_bytes),
    }
}

/// How many values are NaN or infinite.
pub(super) fn count_not_finite<E: Element>(values: &[E]) -> usize {
    let of_chunk = |chunk: &[E]| chunk.iter().filter(|value| !value.finite()).count();
    values.par_chunks(CHUNK).map(of_chunk).sum()
}

/// `[rows, columns]` in the file to `[columns, rows]`; `read` fills a slice from an index on.
pub(super) fn read_transposed<E: Element>(
    rows: usize,
    columns: usize,
    read: impl Fn(usize, &mut [E]) -> io::Result<()>,
) -> io::Result<Vec<E>> {
    let mut out = vec![E::default(); rows * columns];
    let height = (BLOCK / columns.max(1)).max(1);
    let mut block = vec![E::default(); height.min(rows) * columns];
    for first in (0..rows).step_by(height) {
        let count = height.min(rows - first);
        let block = &mut block[..count * columns];
        read(first * columns, block)?;
        transpose_into(block, columns, &mut out, rows, first);
    }
    Ok(out)
}

/// Writes the rows of `block` as the columns `first..` of `out`, which has `width` columns.
fn transpose_into<E: Element>(block: &[E], columns: usize, out: &mut [E], width: usize, first: usize) {
    if block.is_empty() {
        return;
    }
    let count = block.len() / columns;
    out.par_chunks_mut(width * SQUARE).enumerate().for_each(|(index, out)| {
        let left = index * SQUARE;
        for top in (0..count).step_by(SQUARE) {
            for (offset, line) in out.chunks_mut(width).enumerate() {
                let column = left + offset;
                for row in top..(top + SQUARE).min(count) {
                    line[first + row] = block[row * columns + column];
                }
            }
        }
    });
}

/// `[rows, columns]` to `[columns, rows]`.
pub(super) fn transpose<E: Element>(values: &[E], rows: usize, columns: usize) -> Vec<E> {
    let mut out = vec![E::default(); rows * columns];
    transpose_into(values, columns, &mut out, rows, 0);
    out
}

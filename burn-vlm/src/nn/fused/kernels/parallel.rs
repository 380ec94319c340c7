//! Splitting work over rayon's current pool, with results that do not depend on the number of threads.
//!
//! Work is cut into pieces whose size depends on the data alone; sums over pieces are taken in order afterwards.

use rayon::prelude::*;

/// Elements below which a second thread costs more than it brings.
const PARALLEL_ELEMENTS: usize = 1 << 14;

/// Elements per piece of element-wise work: large enough to hide the scheduling, small enough to stay in cache.
pub const PIECE: usize = 1 << 13;

/// Whole rows of `width` elements that make up about a [`PIECE`].
pub fn rows_per_piece(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

fn worth_threads(pieces: usize, elements: usize) -> bool {
    pieces > 1 && elements >= PARALLEL_ELEMENTS && rayon::current_num_threads() > 1
}

/// Calls `f(i)` for `0..n`; `elements` is the total amount of work.
pub fn for_each(n: usize, elements: usize, f: impl Fn(usize) + Send + Sync) {
    if worth_threads(n, elements) {
        (0..n).into_par_iter().for_each(f);
    } else {
        (0..n).for_each(f);
    }
}

/// Elements to transform: in place, or on their way from another buffer.
///
/// The copy is made piece by piece, right before the piece is worked on in cache.
pub struct Buffer<'a> {
    target: &'a mut [f32],
    source: Option<&'a [f32]>,
}

impl<'a> Buffer<'a> {
    /// Work on `target` as it is.
    pub fn in_place(target: &'a mut [f32]) -> Self {
        Self { target, source: None }
    }

    /// Work on a copy of `source` in `target`, of the same length.
    pub fn copied(source: &'a [f32], target: &'a mut [f32]) -> Self {
        Self { target, source: Some(source) }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.target.len()
    }
}

fn load(source: Option<&[f32]>, start: usize, piece: &mut [f32]) {
    if let Some(source) = source {
        piece.copy_from_slice(&source[start..][..piece.len()]);
    }
}

/// Calls `f(index, piece)` for every piece of `size` elements (the last one may be shorter).
pub fn chunks(
    elements: usize,
    (Buffer { target, source }, size): (Buffer, usize),
    f: impl Fn(usize, &mut [f32]) + Send + Sync,
) {
    let size = size.max(1);
    let run = |(i, piece): (usize, &mut [f32])| {
        load(source, i * size, piece);
        f(i, piece);
    };
    if worth_threads(target.len().div_ceil(size), elements) {
        target.par_chunks_mut(size).enumerate().for_each(run);
    } else {
        target.chunks_mut(size).enumerate().for_each(run);
    }
}

/// [`chunks`] over two buffers cut into equally many pieces.
pub fn chunks2(
    elements: usize,
    (a, a_size): (Buffer, usize),
    (b, b_size): (Buffer, usize),
    f: impl Fn(usize, &mut [f32], &mut [f32]) + Send + Sync,
) {
    let (a_size, b_size) = (a_size.max(1), b_size.max(1));
    let (a_source, b_source) = (a.source, b.source);
    let run = |(i, (a, b)): (usize, (&mut [f32], &mut [f32]))| {
        load(a_source, i * a_size, a);
        load(b_source, i * b_size, b);
        f(i, a, b);
    };
    if worth_threads(a.len().div_ceil(a_size), elements) {
        let pieces = a.target.par_chunks_mut(a_size).zip(b.target.par_chunks_mut(b_size));
        pieces.enumerate().for_each(run);
    } else {
        let pieces = a.target.chunks_mut(a_size).zip(b.target.chunks_mut(b_size));
        pieces.enumerate().for_each(run);
    }
}

/// One piece of each of three zipped buffers.
type Three<'a> = ((&'a mut [f32], &'a mut [f32]), &'a mut [f32]);

/// [`chunks`] over three buffers of one length.
pub fn chunks3(
    elements: usize,
    (a, b, c): (Buffer, Buffer, Buffer),
    size: usize,
    f: impl Fn(usize, &mut [f32], &mut [f32], &mut [f32]) + Send + Sync,
) {
    let size = size.max(1);
    let sources = (a.source, b.source, c.source);
    let run = |(i, ((a, b), c)): (usize, Three)| {
        load(sources.0, i * size, a);
        load(sources.1, i * size, b);
        load(sources.2, i * size, c);
        f(i, a, b, c);
    };
    let (a, b, c) = (a.target, b.target, c.target);
    if worth_threads(a.len().div_ceil(size), elements) {
        let pieces = a.par_chunks_mut(size).zip(b.par_chunks_mut(size)).zip(c.par_chunks_mut(size));
        pieces.enumerate().for_each(run);
    } else {
        let pieces = a.chunks_mut(size).zip(b.chunks_mut(size)).zip(c.chunks_mut(size));
        pieces.enumerate().for_each(run);
    }
}

/// A buffer that several threads write at places that do not overlap.
#[derive(Clone, Copy)]
pub struct Shared(pub *mut f32);

// SAFETY: the kernels that use it give each task its own elements.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The address; a method, so that closures capture the wrapper and not the bare pointer.
    pub fn pointer(self) -> *mut f32 {
        self.0
    }
}

/// A buffer of `n` elements whose content is arbitrary: every element must be written before it is read.
#[allow(clippy::uninit_vec)]
pub fn uninit(n: usize) -> Vec<f32> {
    let mut data = Vec::with_capacity(n);
    // SAFETY: the capacity is n, every bit pattern is an f32, and the kernels write each element before reading it.
    unsafe { data.set_len(n) };
    data
}

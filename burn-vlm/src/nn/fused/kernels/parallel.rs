//! Splitting work over rayon's current pool, with results that do not depend on the number of threads.
//!
//! Work is cut into pieces whose size depends on the data alone; sums over pieces are taken in order afterwards.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::awake::with_others;

/// A slice whose values have not been written yet.
type Unwritten<'a> = &'a mut [MaybeUninit<f32>];

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
        with_others(|| (0..n).into_par_iter().for_each(f));
    } else {
        (0..n).for_each(f);
    }
}

/// The results of `f(i)` for `0..n`, in order; `elements` is the total amount of work.
pub fn map<T: Send>(n: usize, elements: usize, f: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
    if worth_threads(n, elements) {
        with_others(|| (0..n).into_par_iter().map(f).collect())
    } else {
        (0..n).map(f).collect()
    }
}

/// Elements to transform: in place, or on their way from another buffer.
///
/// The copy is made piece by piece, right before the piece is worked on in cache.
pub struct Buffer<'a> {
    /// Initialised, unless there is a source.
    target: &'a mut [MaybeUninit<f32>],
    source: Option<Source<'a>>,
}

/// Where a [`Buffer`]'s elements come from.
struct Source<'a> {
    /// As many as the target's.
    elements: &'a [f32],
    /// Set once every element has been copied.
    copied: &'a mut bool,
}

impl<'a> Buffer<'a> {
    /// Work on `target` as it is.
    pub fn in_place(target: &'a mut [f32]) -> Self {
        let (data, n) = (target.as_mut_ptr().cast::<MaybeUninit<f32>>(), target.len());
        // SAFETY: the same memory, borrowed for as long; nothing in this module writes anything but f32s to it.
        Self { target: unsafe { std::slice::from_raw_parts_mut(data, n) }, source: None }
    }

    /// Runs `f` on a copy of `source`, and returns the copy as `f` left it.
    pub fn on_copy<R>(source: &[f32], f: impl FnOnce(Buffer) -> R) -> (Vec<f32>, R) {
        let n = source.len();
        let (mut target, mut copied) = (Vec::with_capacity(n), false);
        let spare = &mut target.spare_capacity_mut()[..n];
        let result = f(Buffer { target: &mut *spare, source: Some(Source { elements: source, copied: &mut copied }) });
        if !copied {
            // `f` did not work on its buffer.
            initialise(Some(source), 0, spare);
        }
        // SAFETY: the capacity is at least `n`, and all `n` elements were copied: by `initialise` just now, or, as `copied`
        // says, piece by piece.
        unsafe { target.set_len(n) };
        (target, result)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.target.len()
    }

    /// The elements, where they come from, and what is to be set once all pieces are done.
    fn split(self) -> (&'a mut [MaybeUninit<f32>], Option<&'a [f32]>, Option<&'a mut bool>) {
        match self.source {
            Some(Source { elements, copied }) => (self.target, Some(elements), Some(copied)),
            None => (self.target, None, None),
        }
    }
}

/// The piece of a buffer that begins at `start`, copied from its source; without one it is a buffer in place.
///
/// Callers keep to the pairs that [`Buffer::split`] gives: a piece without source is initialised.
fn initialise<'p>(source: Option<&[f32]>, start: usize, piece: &'p mut [MaybeUninit<f32>]) -> &'p mut [f32] {
    let n = piece.len();
    let data = piece.as_mut_ptr().cast::<f32>();
    if let Some(source) = source {
        let source = &source[start..][..n];
        // SAFETY: both are `n` elements; the piece is borrowed mutably and so not part of the source.
        unsafe { data.copy_from_nonoverlapping(source.as_ptr(), n) };
    }
    // SAFETY: the piece's own elements, borrowed for as long, all of them initialised: just now, or as a buffer in place is.
    unsafe { std::slice::from_raw_parts_mut(data, n) }
}

/// Notes that all of a buffer was copied.
fn finish(copied: Option<&mut bool>) {
    if let Some(copied) = copied {
        *copied = true;
    }
}

/// Calls `f(index, piece)` for every piece of `size` elements (the last one may be shorter).
pub fn chunks(elements: usize, (buffer, size): (Buffer, usize), f: impl Fn(usize, &mut [f32]) + Send + Sync) {
    let size = size.max(1);
    let (target, source, copied) = buffer.split();
    let run = |(i, piece): (usize, &mut [MaybeUninit<f32>])| f(i, initialise(source, i * size, piece));
    if worth_threads(target.len().div_ceil(size), elements) {
        with_others(|| target.par_chunks_mut(size).enumerate().for_each(run));
    } else {
        target.chunks_mut(size).enumerate().for_each(run);
    }
    finish(copied);
}

/// [`chunks`] over two buffers cut into equally many pieces.
///
/// # Panics
/// For buffers of unequally many pieces.
pub fn chunks2(
    elements: usize,
    (a, a_size): (Buffer, usize),
    (b, b_size): (Buffer, usize),
    f: impl Fn(usize, &mut [f32], &mut [f32]) + Send + Sync,
) {
    let (a_size, b_size) = (a_size.max(1), b_size.max(1));
    let pieces = a.len().div_ceil(a_size);
    assert_eq!(pieces, b.len().div_ceil(b_size), "two buffers of equally many pieces");
    let ((a, a_source, a_copied), (b, b_source, b_copied)) = (a.split(), b.split());
    let run = |(i, (a, b)): (usize, (Unwritten<'_>, Unwritten<'_>))| {
        f(i, initialise(a_source, i * a_size, a), initialise(b_source, i * b_size, b));
    };
    if worth_threads(pieces, elements) {
        with_others(|| a.par_chunks_mut(a_size).zip(b.par_chunks_mut(b_size)).enumerate().for_each(run));
    } else {
        a.chunks_mut(a_size).zip(b.chunks_mut(b_size)).enumerate().for_each(run);
    }
    finish(a_copied);
    finish(b_copied);
}

/// One piece of each of three zipped buffers.
type Three<'a> = ((&'a mut [MaybeUninit<f32>], &'a mut [MaybeUninit<f32>]), &'a mut [MaybeUninit<f32>]);

/// [`chunks`] over three buffers of one length.
///
/// # Panics
/// For buffers of different lengths.
pub fn chunks3(
    elements: usize,
    (a, b, c): (Buffer, Buffer, Buffer),
    size: usize,
    f: impl Fn(usize, &mut [f32], &mut [f32], &mut [f32]) + Send + Sync,
) {
    let size = size.max(1);
    assert!(a.len() == b.len() && b.len() == c.len(), "three buffers of one length");
    let ((a, a_source, a_copied), (b, b_source, b_copied)) = (a.split(), b.split());
    let (c, c_source, c_copied) = c.split();
    let run = |(i, ((a, b), c)): (usize, Three)| {
        let start = i * size;
        f(i, initialise(a_source, start, a), initialise(b_source, start, b), initialise(c_source, start, c));
    };
    if worth_threads(a.len().div_ceil(size), elements) {
        let pieces = a.par_chunks_mut(size).zip(b.par_chunks_mut(size)).zip(c.par_chunks_mut(size));
        with_others(|| pieces.enumerate().for_each(run));
    } else {
        let pieces = a.chunks_mut(size).zip(b.chunks_mut(size)).zip(c.chunks_mut(size));
        pieces.enumerate().for_each(run);
    }
    [a_copied, b_copied, c_copied].into_iter().for_each(finish);
}

/// A buffer that several threads write at places that do not overlap.
///
/// It borrows the buffer for as long as it lives, so that nothing else reads or writes it meanwhile. It gives addresses only:
/// whoever writes to one, in `unsafe` code, answers for it that no other task writes or reads the same elements.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    data: *mut f32,
    len: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

// SAFETY: an address and a length; no safe code reads or writes through it.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Borrows `buffer`.
    pub fn new(buffer: &'a mut [f32]) -> Self {
        Self { data: buffer.as_mut_ptr(), len: buffer.len(), buffer: PhantomData }
    }

    /// Borrows `buffer`, whose elements are to be written before anybody reads them.
    pub fn unwritten(buffer: &'a mut [MaybeUninit<f32>]) -> Self {
        Self { data: buffer.as_mut_ptr().cast(), len: buffer.len(), buffer: PhantomData }
    }

    /// The address of element `at`, and how many elements there are from there on.
    ///
    /// # Panics
    /// Beyond the buffer's end.
    pub fn at(self, at: usize) -> (*mut f32, usize) {
        assert!(at <= self.len, "element {at} of {}", self.len);
        (self.data.wrapping_add(at), self.len - at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_whole_whatever_is_done_with_them() {
        // Three pieces and a rest, more than a thread's worth.
        let source: Vec<f32> = (0..3 * PIECE + 5).map(|at| at as f32).collect();
        let twice = |piece: &mut [f32]| piece.iter_mut().for_each(|value| *value *= 2.0);
        let (copy, ()) = Buffer::on_copy(&source, |buffer| chunks(1 << 20, (buffer, PIECE), |_, piece| twice(piece)));
        assert!(copy.iter().zip(&source).all(|(copy, value)| *copy == 2.0 * value));
        let (copy, n) = Buffer::on_copy(&source, |buffer| buffer.len());
        assert_eq!((copy.as_slice(), n), (source.as_slice(), source.len()));
        let mut own = source.clone();
        let (copy, ()) = Buffer::on_copy(&source, |buffer| {
            chunks2(1 << 20, (buffer, 100), (Buffer::in_place(&mut own), 100), |_, a, b| {
                twice(a);
                b.copy_from_slice(a);
            });
        });
        assert_eq!(copy, own);
        let (empty, ()) = Buffer::on_copy(&[], |buffer| chunks(0, (buffer, 1), |_, _| {}));
        assert!(empty.is_empty());
    }

    #[test]
    #[should_panic(expected = "equally many pieces")]
    fn unequal_buffers_are_refused() {
        let source = [0.0; 8];
        let mut other = [0.0; 2];
        Buffer::on_copy(&source, |buffer| chunks2(8, (buffer, 2), (Buffer::in_place(&mut other), 2), |_, _, _| {}));
    }

    #[test]
    #[should_panic(expected = "element 4 of 3")]
    fn addresses_beyond_the_end_are_refused() {
        Shared::new(&mut [0.0; 3]).at(4);
    }
}

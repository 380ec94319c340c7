//! Products of f32 rows with a matrix of 16-bit floats, which is read as it is stored.
//!
//! Unusual here: how an element of the result is summed depends on the matrix's layout alone, not on the number of rows, the threads or
//! the blocks, so that a row has the same result alone and in a batch. Where the matrix's rows are contiguous it is one chain of
//! multiply-adds in the order of the inner dimension, where its columns are it is [`LANES`] chains. One row is bound by reading the
//! matrix: its elements are widened in registers on their way. Many rows are bound by arithmetic: blocks are widened once into a buffer
//! that stays in the first cache.

use super::matmul::{RowsMut, Strided};
use super::parallel::{self, Shared};
use super::simd::{Isa, Kernel, dispatch};

/// Which 16-bit floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// The upper half of an f32.
    Bf16,
    /// IEEE 754 binary16.
    F16,
}

/// A matrix of 16-bit floats of which rows or columns are contiguous.
#[derive(Clone, Copy)]
pub struct HalfMatrix<'a> {
    bits: &'a [u16],
    kind: Half,
    rows: usize,
    columns: usize,
    /// Elements from row to row where rows are contiguous, from column to column where columns are.
    stride: usize,
    /// Whether columns are contiguous.
    transposed: bool,
}

impl<'a> HalfMatrix<'a> {
    /// `rows` x `columns` with the strides of both, one of which is 1; none where that or the extent does not fit.
    pub fn new(
        bits: &'a [u16],
        kind: Half,
        (rows, columns): (usize, usize),
        (row, column): (usize, usize),
    ) -> Option<Self> {
        let (stride, transposed) = match (row, column) {
            (row, 1) if row >= columns || rows <= 1 => (row, false),
            (1, column) if column >= rows || columns <= 1 => (column, true),
            _ => return None,
        };
        let (lines, width) = if transposed { (columns, rows) } else { (rows, columns) };
        let extent = if lines == 0 || width == 0 { 0 } else { (lines - 1) * stride + width };
        (extent <= bits.len()).then_some(Self { bits, kind, rows, columns, stride, transposed })
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// Rows up to which the matrix is widened in registers: one tile holds them.
const FEW_ROWS: usize = 8;
/// The least columns of a task with few rows: runs of a row that are long enough for the processor to read ahead.
const FEW_ROWS_COLUMNS: usize = 256;
/// Tasks for each thread where there are few rows.
const TASKS: usize = 2;
/// Rows of the matrix of which a task with few rows reads a piece before it goes on to the right.
const FEW_ROWS_DEPTH: usize = 8;
/// Rows of the left side for which a block is widened once.
const MANY_ROWS: usize = 128;
/// Columns of a block.
const COLUMNS: usize = 64;
/// Rows of a block: with its columns 16 KiB as f32, half of the smallest first cache.
const DEPTH: usize = 64;
/// Chains of a sum along contiguous columns.
const LANES: usize = 16;

/// `x w`, contiguous.
///
/// # Shapes
/// - `x`: `[m, k]` in contiguous rows; `w`: `[k, n]`
/// - returns `[m, n]`
///
/// # Panics
/// For an `x` of another size.
pub fn multiply(x: &[f32], w: HalfMatrix) -> Vec<f32> {
    let (k, n) = (w.rows, w.columns);
    let m = x.len().checked_div(k).unwrap_or(0);
    assert_eq!(x.len(), m * k, "rows of {k} elements");
    let mut out = vec![0.0; m * n];
    let shared = Shared::new(&mut out);
    let few = m <= FEW_ROWS;
    let (rows, columns) = if few {
        let even = n.div_ceil(TASKS * rayon::current_num_threads());
        (FEW_ROWS, even.next_multiple_of(COLUMNS).max(FEW_ROWS_COLUMNS))
    } else {
        (MANY_ROWS, COLUMNS)
    };
    let across = n.div_ceil(columns);
    parallel::for_each(m.div_ceil(rows) * across, m * n * k, |task| {
        let (i, j) = (task / across * rows, task % across * columns);
        let (m, n) = (rows.min(m - i), columns.min(n - j));
        dispatch(Block { x: &x[i * k..], w, out: (shared, i * w.columns + j), size: (m, n), first: j, few });
    });
    out
}

/// Some rows and columns of the result.
struct Block<'a, 'o> {
    /// From the first of its rows on.
    x: &'a [f32],
    w: HalfMatrix<'a>,
    /// Where its first element is.
    out: (Shared<'o>, usize),
    /// Its rows and columns.
    size: (usize, usize),
    /// The first of its columns.
    first: usize,
    few: bool,
}

impl Kernel for Block<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        match self.w.kind {
            Half::Bf16 => self.of::<I, true>(),
            Half::F16 => self.of::<I, false>(),
        }
    }
}

impl Block<'_, '_> {
    #[inline(always)]
    fn of<I: Isa, const BF16: bool>(self) {
        let Self { x, w, out: (out, at), size: (m, n), first, few } = self;
        let c = RowsMut::shared(out, at, w.columns);
        if w.transposed {
            // SAFETY: the block's own rows and columns of the result, which no other task writes; `x` has `m` rows of `w.rows` elements,
            // and the matrix `n` columns from `first` on.
            return unsafe { dots::<I, BF16>((m, n, w.rows), x, (&w.bits[first * w.stride..], w.stride), c) };
        }
        let depth = if few { FEW_ROWS_DEPTH } else { DEPTH };
        let mut wide = [0f32; DEPTH * COLUMNS];
        for p in (0..w.rows).step_by(depth) {
            let k = depth.min(w.rows - p);
            let a = Strided::new(&x[p..], w.rows, 1);
            // SAFETY: the block's own rows and columns of the result, which no other task writes; `a` has `m` rows of `k` elements from
            // `p` on, and the matrix `k` rows from `p` on and `n` columns from `first` on.
            unsafe {
                if few {
                    let start = w.bits.as_ptr().add(p * w.stride + first);
                    product::<I, BF16, true>((m, n, k), a, (start, w.stride), c);
                } else {
                    widen::<I, BF16>(w, (p, k), (first, n), &mut wide);
                    product::<I, BF16, false>((m, n, k), a, (wide.as_ptr().cast(), COLUMNS), c);
                }
            }
        }
    }
}

/// Rows `p ..` and columns `first ..` of a matrix with contiguous rows as f32, in rows of [`COLUMNS`].
#[inline(always)]
fn widen<I: Isa, const BF16: bool>(
    w: HalfMatrix,
    (p, k): (usize, usize),
    (first, n): (usize, usize),
    wide: &mut [f32; DEPTH * COLUMNS],
) {
    for (row, wide) in wide.chunks_exact_mut(COLUMNS).take(k).enumerate() {
        let bits = &w.bits[(p + row) * w.stride + first..][..n];
        let ((bits, bits_tail), (wide, wide_tail)) = (bits.as_chunks::<16>(), wide[..n].as_chunks_mut::<16>());
        for (wide, &bits) in wide.iter_mut().zip(bits) {
            *wide = I::widen::<BF16, 16>(bits);
        }
        for (wide, &bits) in wide_tail.iter_mut().zip(bits_tail) {
            [*wide] = I::widen::<BF16, 1>([bits]);
        }
    }
}

/// `c = x w` where the columns of `w` are contiguous: `columns` elements from the first of each to the first of the next.
///
/// # Safety
/// `x` has `m` rows of `k` elements, `w` has `n` columns of `k`; `m x n` elements lie inside `c`, and nobody else may read or write them
/// meanwhile.
#[inline(always)]
unsafe fn dots<I: Isa, const BF16: bool>(
    (m, n, k): (usize, usize, usize),
    x: &[f32],
    (w, stride): (&[u16], usize),
    c: RowsMut,
) {
    let mut j = 0;
    // SAFETY: rows and columns lie inside the matrices, by the contract of this function.
    unsafe {
        while j < n {
            let columns = if j + 4 <= n { 4 } else { 1 };
            let w = &w[j * stride..];
            let mut i = 0;
            while i < m {
                let four = i + 4 <= m && I::EIGHT_ROWS;
                let x = &x[i * k..];
                match (four, columns) {
                    (true, 4) => dot_tile::<I, BF16, 4, 4>(k, x, (w, stride), c, (i, j)),
                    (true, _) => dot_tile::<I, BF16, 4, 1>(k, x, (w, stride), c, (i, j)),
                    (false, 4) => dot_tile::<I, BF16, 1, 4>(k, x, (w, stride), c, (i, j)),
                    (false, _) => dot_tile::<I, BF16, 1, 1>(k, x, (w, stride), c, (i, j)),
                }
                i += if four { 4 } else { 1 };
            }
            j += columns;
        }
    }
}

/// `R x J` elements of the result at `(i, j)`, each in [`LANES`] chains.
///
/// # Safety
/// As [`dots`]; `x` and `w` begin at the first row and column.
#[inline(always)]
unsafe fn dot_tile<I: Isa, const BF16: bool, const R: usize, const J: usize>(
    k: usize,
    x: &[f32],
    (w, stride): (&[u16], usize),
    c: RowsMut,
    (i, j): (usize, usize),
) {
    let mut sums = [[[0f32; LANES]; J]; R];
    let whole = k - k % LANES;
    // SAFETY: `p + LANES <= k` elements of each row and column are there, and the tile lies inside `c`.
    unsafe {
        for p in (0..whole).step_by(LANES) {
            for j in 0..J {
                let w = I::widen::<BF16, LANES>(w.as_ptr().add(j * stride + p).cast::<[u16; LANES]>().read_unaligned());
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = x.as_ptr().add(r * k + p).cast::<[f32; LANES]>().read_unaligned();
                    add_products::<I>(&mut sums[j], &x, &w);
                }
            }
        }
        if whole < k {
            // Zeros behind the end add nothing.
            let rest = k - whole;
            for j in 0..J {
                let mut bits = [0; LANES];
                bits[..rest].copy_from_slice(&w[j * stride + whole..][..rest]);
                let w = I::widen::<BF16, LANES>(bits);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let mut values = [0.0; LANES];
                    values[..rest].copy_from_slice(&x[r * k + whole..][..rest]);
                    add_products::<I>(&mut sums[j], &values, &w);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let mut values = [0.0; J];
            for (value, lanes) in values.iter_mut().zip(sums) {
                *value = I::sum16(*lanes);
            }
            c.block::<J>(i + r, j).write_unaligned(values);
        }
    }
}

#[inline(always)]
fn add_products<I: Isa>(sums: &mut [f32; LANES], x: &[f32; LANES], w: &[f32; LANES]) {
    for ((sum, &x), &w) in sums.iter_mut().zip(x).zip(w) {
        *sum = I::mul_add(x, w, *sum);
    }
}

/// Where the right-hand side begins, as 16-bit floats (`HALF`) or as f32, and the elements from row to row.
type Right = (*const u16, usize);

/// `c += a b`; `a` is `m x k`, `b` is `k x n`.
///
/// # Safety
/// All three must lie inside their buffers, and nobody else may read or write `c` meanwhile.
#[inline(always)]
unsafe fn product<I: Isa, const BF16: bool, const HALF: bool>(
    (m, n, k): (usize, usize, usize),
    a: Strided,
    b: Right,
    c: RowsMut,
) {
    let mut j = 0;
    // SAFETY: every panel lies inside the matrices, by the contract of this function.
    unsafe {
        if I::COLUMNS == 32 {
            while j + 32 <= n {
                panel::<I, BF16, HALF, 32>((m, k), a, b, c, j);
                j += 32;
            }
        }
        while j + 16 <= n {
            panel::<I, BF16, HALF, 16>((m, k), a, b, c, j);
            j += 16;
        }
        while j < n {
            panel::<I, BF16, HALF, 1>((m, k), a, b, c, j);
            j += 1;
        }
    }
}

/// `C` columns of the result from column `j` on.
///
/// # Safety
/// As [`product`], with `j + C <= n`.
#[inline(always)]
unsafe fn panel<I: Isa, const BF16: bool, const HALF: bool, const C: usize>(
    (m, k): (usize, usize),
    a: Strided,
    b: Right,
    c: RowsMut,
    j: usize,
) {
    let mut i = 0;
    // SAFETY: rows `i ..` and columns `j ..` lie inside the matrices.
    unsafe {
        if I::EIGHT_ROWS {
            while i + 8 <= m {
                tile::<I, BF16, HALF, 8, C>(k, a, b, c, (i, j));
                i += 8;
            }
        }
        while i + 4 <= m {
            tile::<I, BF16, HALF, 4, C>(k, a, b, c, (i, j));
            i += 4;
        }
        while i < m {
            tile::<I, BF16, HALF, 1, C>(k, a, b, c, (i, j));
            i += 1;
        }
    }
}

/// `R x C` block of the result at `(i, j)`, kept in registers. It goes on from what is there, so that the chain of an element is one.
///
/// # Safety
/// As [`product`], with `i + R <= m` and `j + C <= n`.
#[inline(always)]
unsafe fn tile<I: Isa, const BF16: bool, const HALF: bool, const R: usize, const C: usize>(
    k: usize,
    a: Strided,
    (b, b_row): Right,
    c: RowsMut,
    (i, j): (usize, usize),
) {
    // SAFETY: the block lies inside the matrices; arrays are read and written unaligned.
    unsafe {
        let mut sums = [[0f32; C]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            *sums = c.block::<C>(i + r, j).read_unaligned();
        }
        for p in 0..k {
            let b_row: [f32; C] = if HALF {
                // The next rows of these columns: the runs of a row are too short for the processor to read ahead by itself.
                I::prefetch(b.wrapping_add((p + FEW_ROWS_DEPTH) * b_row + j).cast());
                I::widen::<BF16, C>(b.add(p * b_row + j).cast::<[u16; C]>().read_unaligned())
            } else {
                b.cast::<f32>().add(p * b_row + j).cast::<[f32; C]>().read_unaligned()
            };
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = a.element(i + r, p);
                for (sum, &value) in sums.iter_mut().zip(&b_row) {
                    *sum = I::mul_add(factor, value, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            c.block::<C>(i + r, j).write_unaligned(*sums);
        }
    }
}

//! Small matrix products on strided rows, for the tiles of attention.
//!
//! Unusual here: nothing is packed. The right-hand side has contiguous rows, the left-hand side is read element by
//! element with any strides (so its transpose costs nothing), and a block of the result stays in registers over
//! the whole inner dimension. For the sizes of one attention head this beats a general product with packing.

use std::marker::PhantomData;

use super::parallel::Shared;
use super::simd::Isa;

/// A matrix with any strides, in elements.
#[derive(Clone, Copy)]
pub struct Strided<'a> {
    data: *const f32,
    /// Elements from `data` to the end of the borrowed slice.
    len: usize,
    row: usize,
    column: usize,
    slice: PhantomData<&'a [f32]>,
}

impl<'a> Strided<'a> {
    /// From the first element of a slice on: `row` elements from row to row, `column` from column to column.
    pub fn new(slice: &'a [f32], row: usize, column: usize) -> Self {
        Self { data: slice.as_ptr(), len: slice.len(), row, column, slice: PhantomData }
    }

    /// One element.
    ///
    /// # Safety
    /// It must lie inside the slice.
    #[inline(always)]
    pub unsafe fn element(self, row: usize, column: usize) -> f32 {
        let at = row * self.row + column * self.column;
        debug_assert!(at < self.len, "element {at} of {}", self.len);
        // SAFETY: by the contract.
        unsafe { *self.data.add(at) }
    }
}

/// A matrix with contiguous rows.
#[derive(Clone, Copy)]
pub struct Rows<'a, T = f32> {
    data: *const T,
    len: usize,
    row: usize,
    slice: PhantomData<&'a [T]>,
}

impl<'a, T: Copy> Rows<'a, T> {
    /// From the first element of a slice on, `row` elements from row to row.
    pub fn new(slice: &'a [T], row: usize) -> Self {
        Self { data: slice.as_ptr(), len: slice.len(), row, slice: PhantomData }
    }

    /// The rows from `first` on.
    #[inline(always)]
    pub fn rows_from(self, first: usize) -> Self {
        let skipped = first * self.row;
        Self { data: self.data.wrapping_add(skipped), len: self.len.saturating_sub(skipped), ..self }
    }

    /// `width` elements of row `row` from `column` on.
    ///
    /// # Safety
    /// They must lie inside the slice.
    #[inline(always)]
    pub unsafe fn part(self, row: usize, column: usize, width: usize) -> &'a [T] {
        let start = row * self.row + column;
        debug_assert!(start + width <= self.len, "{width} elements from {start} on, of {}", self.len);
        // SAFETY: by the contract, inside the slice that is borrowed for `'a`.
        unsafe { std::slice::from_raw_parts(self.data.add(start), width) }
    }
}

impl<'a> Rows<'a> {
    /// The same matrix for the left-hand side of a product.
    #[inline(always)]
    pub fn strided(self) -> Strided<'a> {
        Strided { data: self.data, len: self.len, row: self.row, column: 1, slice: PhantomData }
    }
}

/// A matrix with contiguous rows to write.
#[derive(Clone, Copy)]
pub struct RowsMut<'a> {
    data: *mut f32,
    len: usize,
    row: usize,
    slice: PhantomData<&'a mut [f32]>,
}

impl<'a> RowsMut<'a> {
    /// From the first element of a slice on, `row` elements from row to row.
    pub fn new(slice: &'a mut [f32], row: usize) -> Self {
        Self { data: slice.as_mut_ptr(), len: slice.len(), row, slice: PhantomData }
    }

    /// From element `at` of a buffer that other tasks write too; see [`Shared`].
    pub fn shared(buffer: Shared<'a>, at: usize, row: usize) -> Self {
        let (data, len) = buffer.at(at);
        Self { data, len, row, slice: PhantomData }
    }

    /// The rows from `first` on.
    #[inline(always)]
    pub fn rows_from(self, first: usize) -> Self {
        let skipped = first * self.row;
        Self { data: self.data.wrapping_add(skipped), len: self.len.saturating_sub(skipped), ..self }
    }

    /// Where `C` elements of row `row` are, from column `column` on.
    ///
    /// # Safety
    /// They must lie inside the buffer.
    #[inline(always)]
    pub unsafe fn block<const C: usize>(self, row: usize, column: usize) -> *mut [f32; C] {
        let start = row * self.row + column;
        debug_assert!(start + C <= self.len, "{C} elements from {start} on, of {}", self.len);
        // SAFETY: by the contract.
        unsafe { self.data.add(start).cast() }
    }

    /// The first `width` elements of row `row`.
    ///
    /// # Safety
    /// They must lie inside the buffer, be initialised, and nobody else may read or write them meanwhile.
    #[inline(always)]
    pub unsafe fn start(self, row: usize, width: usize) -> &'a mut [f32] {
        let start = row * self.row;
        debug_assert!(start + width <= self.len, "{width} elements from {start} on, of {}", self.len);
        // SAFETY: by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), width) }
    }
}

/// The number of elements up to the last one of a matrix.
fn extent((rows, columns): (usize, usize), row: usize, column: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row + (columns - 1) * column + 1 }
}

/// `c = a b`, or `c += a b` with `accumulate`; `a` is `m x k`, `b` is `k x n`.
///
/// # Safety
/// The three matrices must lie inside their slices (checked in debug builds), and nobody else may write `c`, or read it, meanwhile:
/// neither other tasks nor `a` and `b`.
#[inline(always)]
pub unsafe fn matmul<I: Isa>((m, n, k): (usize, usize, usize), a: Strided, b: Rows, c: RowsMut, accumulate: bool) {
    debug_assert!(extent((m, k), a.row, a.column) <= a.len, "a: {m} x {k} in {} elements", a.len);
    debug_assert!(extent((k, n), b.row, 1) <= b.len, "b: {k} x {n} in {} elements", b.len);
    debug_assert!(extent((m, n), c.row, 1) <= c.len, "c: {m} x {n} in {} elements", c.len);
    let mut j = 0;
    // SAFETY: every panel lies inside the matrices, by the contract of this function.
    unsafe {
        if I::COLUMNS == 32 {
            while j + 32 <= n {
                panel::<I, 32>(m, k, a, b, c, j, accumulate);
                j += 32;
            }
        }
        if I::COLUMNS >= 16 {
            while j + 16 <= n {
                panel::<I, 16>(m, k, a, b, c, j, accumulate);
                j += 16;
            }
        }
        while j + 8 <= n {
            panel::<I, 8>(m, k, a, b, c, j, accumulate);
            j += 8;
        }
        while j < n {
            panel::<I, 1>(m, k, a, b, c, j, accumulate);
            j += 1;
        }
    }
}

/// `C` columns of the result from column `j` on.
///
/// # Safety
/// As [`matmul`], with `j + C <= n`.
#[inline(always)]
unsafe fn panel<I: Isa, const C: usize>(
    m: usize,
    k: usize,
    a: Strided,
    b: Rows,
    c: RowsMut,
    j: usize,
    accumulate: bool,
) {
    let mut i = 0;
    // SAFETY: rows `i ..` and columns `j ..` lie inside the matrices.
    unsafe {
        if I::EIGHT_ROWS {
            while i + 8 <= m {
                tile::<I, 8, C>(k, a, b, c, (i, j), accumulate);
                i += 8;
            }
        }
        while i + 4 <= m {
            tile::<I, 4, C>(k, a, b, c, (i, j), accumulate);
            i += 4;
        }
        while i < m {
            tile::<I, 1, C>(k, a, b, c, (i, j), accumulate);
            i += 1;
        }
    }
}

/// `R x C` block of the result at `(i, j)`, kept in registers.
///
/// # Safety
/// As [`matmul`], with `i + R <= m` and `j + C <= n`.
#[inline(always)]
unsafe fn tile<I: Isa, const R: usize, const C: usize>(
    k: usize,
    a: Strided,
    b: Rows,
    c: RowsMut,
    (i, j): (usize, usize),
    accumulate: bool,
) {
    let mut sums = [[0f32; C]; R];
    // SAFETY: the block lies inside the matrices; arrays of f32 are read and written unaligned.
    unsafe {
        let a_start = a.data.add(i * a.row);
        let b_start = b.data.add(j);
        for p in 0..k {
            let b_row = b_start.add(p * b.row).cast::<[f32; C]>().read_unaligned();
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = *a_start.add(r * a.row + p * a.column);
                for (sum, &value) in sums.iter_mut().zip(&b_row) {
                    *sum = I::mul_add(factor, value, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let target = c.data.add((i + r) * c.row + j).cast::<[f32; C]>();
            if accumulate {
                let mut old = target.read_unaligned();
                for (old, &sum) in old.iter_mut().zip(sums) {
                    *old += sum;
                }
                target.write_unaligned(old);
            } else {
                target.write_unaligned(*sums);
            }
        }
    }
}

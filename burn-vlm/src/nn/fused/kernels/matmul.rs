//! Small matrix products on strided rows, for the tiles of attention.
//!
//! Unusual here: nothing is packed. The right-hand side has contiguous rows, the left-hand side is read element by
//! element with any strides (so its transpose costs nothing), and a block of the result stays in registers over
//! the whole inner dimension. For the sizes of one attention head this beats a general product with packing.

use super::simd::Isa;

/// A matrix given by the address of its first element and two strides, in elements.
#[derive(Clone, Copy)]
pub struct Strided {
    /// First element.
    pub data: *const f32,
    /// From row to row.
    pub row: usize,
    /// From column to column.
    pub column: usize,
}

/// A matrix with contiguous rows.
#[derive(Clone, Copy)]
pub struct Rows {
    /// First element.
    pub data: *const f32,
    /// From row to row, in elements.
    pub row: usize,
}

/// A matrix with contiguous rows to write.
#[derive(Clone, Copy)]
pub struct RowsMut {
    /// First element.
    pub data: *mut f32,
    /// From row to row, in elements.
    pub row: usize,
}

/// `c = a b`, or `c += a b` with `accumulate`; `a` is `m x k`, `b` is `k x n`.
///
/// # Safety
/// The three matrices must lie inside live allocations, and `c` must not overlap the others.
#[inline(always)]
pub unsafe fn matmul<I: Isa>((m, n, k): (usize, usize, usize), a: Strided, b: Rows, c: RowsMut, accumulate: bool) {
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

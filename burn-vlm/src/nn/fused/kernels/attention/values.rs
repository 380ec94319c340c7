//! The product of probabilities and values in f16, for a few queries: values are widened in registers on their way.

use super::super::matmul::{Rows, RowsMut, Strided};
use super::super::simd::Isa;

/// `out = scores v` of some queries, `(queries, head_dim, keys)`. The sum of an element is one chain of multiply-adds from the first key
/// on, as that of [`Isa::matmul`].
///
/// # Safety
/// The matrices must lie inside their slices, and nobody else may read or write these rows of `out` meanwhile.
#[inline(always)]
pub unsafe fn sum_of_values<I: Isa>(
    (queries, head_dim, keys): (usize, usize, usize),
    scores: Strided,
    v: Rows<u16>,
    out: RowsMut,
) {
    for query in 0..queries {
        let mut d = 0;
        // SAFETY: `d + C <= head_dim` elements of every key and of the query's row are there, by the contract of this function.
        unsafe {
            // Long runs of a value, so that the processor reads ahead: as many as the registers hold.
            if I::COLUMNS == 32 {
                while d + 128 <= head_dim {
                    part::<I, 128>((query, keys), scores, v, out, d);
                    d += 128;
                }
            }
            while d + 64 <= head_dim {
                part::<I, 64>((query, keys), scores, v, out, d);
                d += 64;
            }
            while d + 16 <= head_dim {
                part::<I, 16>((query, keys), scores, v, out, d);
                d += 16;
            }
            while d < head_dim {
                part::<I, 1>((query, keys), scores, v, out, d);
                d += 1;
            }
        }
    }
}

/// `C` elements of a query's row from `d` on.
///
/// # Safety
/// As [`sum_of_values`], with `d + C <= head_dim`.
#[inline(always)]
unsafe fn part<I: Isa, const C: usize>(
    (query, keys): (usize, usize),
    scores: Strided,
    v: Rows<u16>,
    out: RowsMut,
    d: usize,
) {
    let mut sums = [0f32; C];
    // SAFETY: by the contract; a part has `C` elements, and the arrays are read and written unaligned.
    unsafe {
        for key in 0..keys {
            let score = scores.element(query, key);
            let bits = v.part(key, d, C).as_ptr().cast::<[u16; C]>().read_unaligned();
            for (sum, value) in sums.iter_mut().zip(I::widen::<false, C>(bits)) {
                *sum = I::mul_add(score, value, *sum);
            }
        }
        out.block::<C>(query, d).write_unaligned(sums);
    }
}

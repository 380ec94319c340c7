//! Products of f32 matrices, by the packed kernels of the `gemm` crate.
//!
//! Unusual here: the result is written into memory that nobody has cleared before, and the work is cut into pieces here. An element is
//! summed in an order that depends on the inner dimension alone, so that pieces and threads change no bit. (Where there is but one row or
//! one column the order is another.)

use super::parallel::{self, Shared};

/// A matrix with any strides.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    data: &'a [f32],
    size: (usize, usize),
    strides: (usize, usize),
}

impl<'a> View<'a> {
    /// Rows and columns, and elements from row to row and from column to column, of a matrix that begins with `data`; none where it
    /// would end beyond it.
    pub fn new(data: &'a [f32], size: (usize, usize), strides: (usize, usize)) -> Option<Self> {
        let extent = match (size.0.checked_sub(1), size.1.checked_sub(1)) {
            (Some(row), Some(column)) => {
                row.checked_mul(strides.0)?.checked_add(column.checked_mul(strides.1)?)?.checked_add(1)?
            }
            _ => 0,
        };
        (extent <= data.len()).then_some(Self { data, size, strides })
    }

    /// The matrix from row `row` and column `column` on, as an address.
    ///
    /// # Panics
    /// For an element that there is not.
    fn from(&self, row: usize, column: usize) -> *const f32 {
        &raw const self.data[row * self.strides.0 + column * self.strides.1]
    }
}

/// Multiplications below which a second thread costs more than it brings.
const PARALLEL: usize = 1 << 21;
/// Pieces for each thread, so that one that begins late does not hold the others up.
const PIECES: usize = 2;
/// The least rows or columns of a piece. `gemm` sums matrices of up to 64 x 64 in another order, and vectors.
const LEAST: usize = 128;
/// A piece has a multiple of so many, the last one excepted: where it ends, a tile of the kernels is not filled.
const WHOLE: usize = 16;

/// Into how many pieces so many rows or columns are cut for so many threads, and how many of them a piece has; the last one has what is
/// left. All are of nearly the same length, and as many for each thread.
fn cut(long: usize, threads: usize) -> (usize, usize) {
    let most = long / LEAST;
    let pieces = [threads * PIECES, threads, most].into_iter().find(|pieces| *pieces <= most).unwrap_or(1);
    if threads == 1 || pieces <= 1 {
        return (1, long);
    }
    (pieces, long / pieces / WHOLE * WHOLE)
}

/// `a b`, contiguous.
///
/// # Panics
/// If `a` has not as many columns as `b` has rows.
pub fn product(a: View, b: View) -> Vec<f32> {
    let ((m, k), (inner, n)) = (a.size, b.size);
    assert_eq!(k, inner, "the inner dimension of a product");
    if m == 0 || n == 0 || k == 0 {
        return vec![0.0; m * n];
    }
    let mut out = Vec::with_capacity(m * n);
    let target = Shared::unwritten(&mut out.spare_capacity_mut()[..m * n]);
    // The longer side is cut: what every piece reads of the other matrix is then the smaller one.
    let across = n >= m;
    let long = if across { n } else { m };
    let threads = rayon::current_num_threads();
    let (pieces, step) = if m * n * k >= PARALLEL { cut(long, threads) } else { (1, long) };
    parallel::for_each(pieces, m * n * k, |piece| {
        let first = piece * step;
        let count = if piece + 1 == pieces { long - first } else { step };
        let ((i, j), (rows, columns)) = if across { ((0, first), (m, count)) } else { ((first, 0), (count, n)) };
        let (to, _) = target.at(i * n + j);
        let [a_strides, b_strides] = [a.strides, b.strides].map(|(row, column)| (row as isize, column as isize));
        // SAFETY: both matrices lie inside their slices, as `View` has it, and the piece inside the result, of which no other piece
        // writes these rows and columns; they are written without being read.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                k,
                to,
                1,
                n as isize,
                false,
                a.from(i, 0),
                a_strides.1,
                a_strides.0,
                b.from(0, j),
                b_strides.1,
                b_strides.0,
                0.0f32,
                1.0f32,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    });
    // SAFETY: the capacity is at least `m n`, and the pieces, which cover all rows and columns, have written as many.
    unsafe { out.set_len(m * n) };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of a tiny VLM's tower and of all its tokens, of a decoder, and what is too short to be cut.
    #[test]
    fn pieces_are_of_one_length_and_cover_all() {
        for (long, threads, expected) in [
            (1568, 2, (4, 384)),
            (2080, 2, (4, 512)),
            (2048, 2, (4, 512)),
            (400, 2, (2, 192)),
            (255, 2, (1, 255)),
            (300, 8, (2, 144)),
            (9000, 1, (1, 9000)),
        ] {
            assert_eq!(cut(long, threads), expected, "{long} by {threads}");
        }
        for long in 1..3000 {
            for threads in 1..9 {
                let (pieces, step) = cut(long, threads);
                let last = long - (pieces - 1) * step;
                assert!(step >= LEAST.min(long) && last >= step && last < step + pieces * WHOLE, "{long} by {threads}");
            }
        }
    }
}

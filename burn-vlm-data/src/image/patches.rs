//! Pictures in their own aspect ratio (SigLIP 2 NaFlex): the grid of patches that keeps it best within a budget, and the patches.
//!
//! Unusual here:
//! - the grid is found as the reference finds it, by halving an interval of scales until it is 1e-5 wide: near a border its answer
//!   depends on that, and so does the picture;
//! - a picture whose longer side the largest scale (100) leaves short of the budget stays short of it.

use super::ProcessedImage;

/// Width of the interval of scales at which the reference stops.
const SCALE_WIDTH: f64 = 1e-5;
/// The largest scale.
const MAX_SCALE: f64 = 100.0;

/// How many patches a picture may have, and how large they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchBudget {
    /// Side of a patch, in pixels.
    pub patch_size: u32,
    /// The most patches of a picture; shorter ones are padded to as many.
    pub max_num_patches: u32,
}

impl PatchBudget {
    /// Rows and columns of patches of a picture of this size (height, width): as many as the budget allows, sides in the picture's
    /// ratio and rounded up to whole patches.
    pub fn grid(&self, (height, width): (u32, u32)) -> (u32, u32) {
        let patch = f64::from(self.patch_size.max(1));
        // In pixels first, as the reference: f64 rounds there.
        let side = |length: u32, scale: f64| (f64::from(length) * scale / patch).ceil().max(1.0);
        let (mut low, mut high) = (SCALE_WIDTH / 10.0, MAX_SCALE);
        while high - low >= SCALE_WIDTH {
            let scale = f64::midpoint(low, high);
            if side(height, scale) * side(width, scale) <= f64::from(self.max_num_patches) {
                low = scale;
            } else {
                high = scale;
            }
        }
        (side(height, low) as u32, side(width, low) as u32)
    }

    /// The size (height, width) in pixels to which such a picture is resized.
    pub fn target(&self, size: (u32, u32)) -> (u32, u32) {
        let (rows, columns) = self.grid(size);
        (rows.saturating_mul(self.patch_size), columns.saturating_mul(self.patch_size))
    }

    /// Values of one patch.
    pub fn patch_values(&self) -> usize {
        3 * (self.patch_size * self.patch_size) as usize
    }
}

impl ProcessedImage {
    /// Rows and columns of patches, where the picture has a grid of its own.
    pub fn patch_grid(&self) -> Option<(usize, usize)> {
        let side = (self.budget?.patch_size as usize).max(1);
        Some((self.height / side, self.width / side))
    }

    /// The picture's patches row by row, `[max_num_patches, patch_size * patch_size * 3]`, zeros behind them: of a patch its pixels
    /// row by row, of a pixel its channels. `None` where the picture has no grid of its own.
    pub fn padded_patches(&self) -> Option<Vec<f32>> {
        let (budget, (rows, columns)) = (self.budget?, self.patch_grid()?);
        let (side, plane) = (budget.patch_size as usize, self.height * self.width);
        let mut values = Vec::with_capacity(budget.max_num_patches as usize * budget.patch_values());
        for patch in 0..rows * columns {
            let corner = patch / columns * side * self.width + patch % columns * side;
            for pixel in 0..side * side {
                let at = corner + pixel / side * self.width + pixel % side;
                values.extend((0..3).map(|channel| self.data[channel * plane + at]));
            }
        }
        values.resize(budget.max_num_patches as usize * budget.patch_values(), 0.0);
        Some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(patch_size: u32, max_num_patches: u32, size: (u32, u32)) -> (u32, u32) {
        PatchBudget { patch_size, max_num_patches }.grid(size)
    }

    /// 2,268 sizes under seven budgets, by the reference's own function.
    #[test]
    fn grids_are_the_references() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/siglip2_naflex_vision/grids.json");
        let rows: Vec<[u32; 6]> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(rows.len(), 7 * 18 * 18);
        for [patch, most, height, width, rows, columns] in rows {
            let found = grid(patch, most, (height, width));
            assert_eq!(found, (rows, columns), "{height} x {width}, {most} patches of {patch}");
            assert!(rows * columns <= most);
        }
    }

    #[test]
    fn grids_by_hand() {
        // 250 of 256 patches; 6 x 51 would be 306, 5 x 51 is 255, but a scale that gives 51 columns gives 6 rows.
        assert_eq!(grid(16, 256, (100, 1000)), (5, 50));
        assert_eq!(grid(16, 256, (1000, 100)), (50, 5));
        assert_eq!(grid(16, 256, (256, 256)), (16, 16));
        // A line keeps one row; a pixel is 100 x 100 at most.
        assert_eq!(grid(16, 256, (1, 4000)), (1, 256));
        assert_eq!(grid(16, 256, (1, 1)), (7, 7));
    }

    #[test]
    fn patches_by_hand() {
        // 2 x 4 pixels in patches of 2; the channels are 0, 100 and 200 more.
        let data = [0.0, 100.0, 200.0].iter().flat_map(|channel| (0..8).map(move |at| channel + at as f32)).collect();
        let budget = Some(PatchBudget { patch_size: 2, max_num_patches: 3 });
        let image = ProcessedImage { data, tiles: 1, height: 2, width: 4, original_size: (1, 2), budget };
        assert_eq!(image.patch_grid(), Some((1, 2)));
        let patches = image.padded_patches().unwrap();
        assert_eq!(patches.len(), 3 * 12);
        assert_eq!(patches[..12], [0., 100., 200., 1., 101., 201., 4., 104., 204., 5., 105., 205.]);
        assert_eq!(patches[12..18], [2., 102., 202., 3., 103., 203.]);
        assert!(patches[24..].iter().all(|value| *value == 0.0));
        let whole = ProcessedImage { budget: None, ..image };
        assert_eq!((whole.patch_grid(), whole.padded_patches()), (None, None));
    }
}

//! SigLIP 2 in pictures' own aspect ratio (NaFlex): the image processor, the tower on its patches, gradients, and the tower out of the
//! folder of the whole dual encoder.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use burn_vlm::checkpoint::Pretrained;
use burn_vlm::vision::{PatchPixels, VisionEncoder, VisionTower};
use burn_vlm_data::image::{ImageProcessor, ProcessedImage};

use crate::common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, autodiff_device, same};
use crate::processor::{PIL, TORCHVISION, compare};

/// The line of README.txt that lists the pictures of the batch.
const PICTURES: &str = "pictures, in the order of the batch: ";
/// The tower of the dual encoder, with what both saw.
const TOWER: &str = "siglip2_naflex_vision";

/// The patches that the model saw, with their grids.
fn pixels(fixture: &Fixture, names: &[String], device: &Device) -> PatchPixels {
    let patches = names.iter().map(|name| fixture.float_tensor::<2>(&format!("pil.{name}"), device)).collect();
    let (shapes, _) = fixture.ints("spatial_shapes");
    let grids = shapes.chunks_exact(2).map(|shape| (shape[0] as usize, shape[1] as usize)).collect();
    PatchPixels::new(Tensor::stack(patches, 0), grids).unwrap()
}

/// The pictures of the batch, as README.txt lists them.
fn names(folder: &Path) -> Vec<String> {
    let readme = std::fs::read_to_string(folder.join("README.txt")).unwrap();
    let line = readme.lines().find_map(|line| line.strip_prefix(PICTURES)).unwrap_or_else(|| panic!("no `{PICTURES}`"));
    let list = line.split(" (").next().unwrap_or(line);
    list.split(", ").map(str::to_owned).collect()
}

/// A picture of the folder, or of the one beside it that others use.
fn process(folder: &Path, processor: &ImageProcessor, name: &str) -> ProcessedImage {
    let file = format!("{name}.png");
    let path = [folder.join(&file), folder.join("../images").join(&file)].into_iter().find(|path| path.is_file());
    let bytes = std::fs::read(path.unwrap_or_else(|| panic!("no {file}"))).unwrap();
    processor.process_tiles_bytes(name, &bytes).unwrap()
}

fn check_processor(fixture: &Fixture, names: &[String]) {
    let processor = ImageProcessor::from_folder(&fixture.dir).unwrap();
    let (mut shapes, mut mask) = (Vec::new(), Vec::new());
    for name in names {
        let image = process(&fixture.dir, &processor, name);
        let patches = image.padded_patches().unwrap();
        let most = patches.len() / image.budget.unwrap().patch_values();
        for (kind, tolerance) in [("pil", &PIL), ("tv", &TORCHVISION)] {
            let key = format!("{kind}.{name}");
            let (expected, shape) = fixture.floats(&key);
            assert_eq!(expected.len(), patches.len(), "{key}: {shape:?}");
            // All channels have the same deviation, so that their order does not matter to the unit.
            compare(fixture, &processor, &key, (&patches, &image), &expected, tolerance);
        }
        let (rows, columns) = image.patch_grid().unwrap();
        shapes.extend([rows as i64, columns as i64]);
        mask.extend((0..most).map(|at| i64::from(at < rows * columns)));
    }
    fixture.check_exact("spatial_shapes", &shapes, &fixture.ints("spatial_shapes").0);
    fixture.check_exact("pixel_attention_mask", &mask, &fixture.ints("pixel_attention_mask").0);
}

/// Checks the folder of the tower.
pub fn check(fixture: Fixture) {
    let names = names(&fixture.dir);
    check_processor(&fixture, &names);

    let device = autodiff_device();
    let model = VisionEncoder::load_pretrained(&fixture.dir, &device).unwrap();
    let pixels = pixels(&fixture, &names, &device);
    let output = model.forward_patches(&pixels).unwrap();
    fixture.check("last_hidden_state", output.last_hidden_state, FORWARD_TOLERANCE);
    fixture.check("pooler_output", output.pooler_output.unwrap(), FORWARD_TOLERANCE);

    let all: Vec<i64> = (0..=model.config().num_hidden_layers() as i64).collect();
    let features = model.features_of_patches(&pixels, &all, false).unwrap();
    fixture.check("hidden_states", Tensor::stack::<4>(features.layers, 0), FORWARD_TOLERANCE);

    let features = model.features_of_patches(&pixels, &[-2], true).unwrap();
    let (hidden, pooled) = (features.layers[0].clone(), features.pooled.unwrap());
    // As README.txt: 10 * mean(hidden_states[-2] * grad_w) + mean(pooler_output * grad_w[:, 0])
    let weights = fixture.float_tensor::<3>("grad_w", &device);
    let first = weights.clone().narrow(1, 0, 1).squeeze_dim::<2>(1);
    let loss = (hidden * weights).mean() * 10.0 + (pooled * first).mean();
    fixture.check("loss", loss.clone(), BACKWARD_TOLERANCE);
    fixture.check_gradients(&model, loss.backward(), same);
    fixture.finish(&[]);
}

/// Checks the folder of the dual encoder: its vision tower, on the pictures of the other folder.
pub fn check_whole(fixture: Fixture) {
    let device = Device::flex();
    let seen = Fixture::open_dir(&fixture.dir.with_file_name(TOWER));
    let pixels = pixels(&seen, &names(&seen.dir), &device);
    let model = VisionEncoder::load_pretrained(&fixture.dir, &device).unwrap();
    let pooled = model.forward_patches(&pixels).unwrap().pooler_output.unwrap();
    fixture.check("vision_pooler_output", pooled.clone(), FORWARD_TOLERANCE);
    let norm = pooled.clone().square().sum_dim(1).sqrt();
    fixture.check("image_embeds", pooled / norm, FORWARD_TOLERANCE);
    fixture.finish(&[]);
}

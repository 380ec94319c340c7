//! Image encoders: hidden states, pooled output, other resolutions, gradients.

use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm::checkpoint::Pretrained;
use burn_vlm::vision::VisionEncoder;

use crate::common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, autodiff_device, same};
use crate::pictures;

/// `[n, 3, height, width]`: the folder's `pixel_values`, else what its image processor makes of the pictures that its README.txt
/// lists.
pub fn pixels(fixture: &Fixture, expected: Option<&serde_json::Value>, device: &Device) -> Option<Tensor<4>> {
    if fixture.has("pixel_values") {
        return Some(fixture.float_tensor("pixel_values", device));
    }
    let Some(batch) = pictures::batch(fixture, expected) else {
        fixture.skipped("pixel_values, nor an image processor with pictures that README.txt lists");
        return None;
    };
    let [images, tiles, channels, height, width] = batch.shape;
    assert_eq!(tiles, 1, "{}: tiles for a tower alone", fixture.name);
    Some(Tensor::from_data(TensorData::new(batch.data, [images, channels, height, width]), device))
}

/// Checks one tower's folder.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let model = VisionEncoder::load_pretrained(&fixture.dir, &device).unwrap();
    if fixture.asks("interp.last_hidden_state") {
        let larger = fixture.float_tensor::<4>("interp.pixel_values", &device);
        let output = model.forward_interpolated(larger).unwrap();
        fixture.check("interp.last_hidden_state", output.last_hidden_state, FORWARD_TOLERANCE);
    }
    if let Some(pixels) = pixels(&fixture, None, &device) {
        check_pixels(&fixture, &model, pixels, &device);
    }
    fixture.finish(&[]);
}

fn check_pixels(fixture: &Fixture, model: &VisionEncoder, pixels: Tensor<4>, device: &Device) {
    let output = model.forward(pixels.clone()).unwrap();
    fixture.check_if("last_hidden_state", FORWARD_TOLERANCE, || output.last_hidden_state);
    // A tower without a head has none.
    match output.pooler_output {
        Some(pooled) => fixture.check_if("pooler_output", FORWARD_TOLERANCE, || pooled),
        None => fixture.skipped("pooler_output, which the tower does not have either"),
    }

    let layers = model.config().num_hidden_layers() as i64;
    fixture.check_if("hidden_states", FORWARD_TOLERANCE, || {
        let all: Vec<i64> = (0..=layers).collect();
        Tensor::stack::<4>(model.features(pixels.clone(), &all, false).unwrap().layers, 0)
    });
    let features = model.features(pixels, &[-2], true).unwrap();
    let (hidden, pooled) = (features.layers[0].clone(), features.pooled);
    fixture.check_if("hidden_states_m2", FORWARD_TOLERANCE, || hidden.clone());

    // As README.txt: 10 * mean(hidden_states[-2] * grad_w) + mean(pooler_output * grad_w[:, 0]); the first alone without a head.
    if fixture.asks("loss") && fixture.asks("grad_w") {
        let weights = fixture.float_tensor::<3>("grad_w", device);
        let first = weights.clone().narrow(1, 0, 1).squeeze_dim::<2>(1);
        let mut loss = (hidden * weights).mean() * 10.0;
        if let Some(pooled) = pooled {
            loss = loss + (pooled * first).mean();
        }
        fixture.check("loss", loss.clone(), BACKWARD_TOLERANCE);
        fixture.check_gradients(model, loss.backward(), same);
    }
}

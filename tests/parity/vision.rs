//! Image encoders: hidden states, pooled output, other resolutions, gradients.

use burn::tensor::Tensor;
use burn_vlm::checkpoint::Pretrained;
use burn_vlm::vision::VisionEncoder;

use crate::common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, autodiff_device, same};

/// Checks one tower's folder.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let model = VisionEncoder::load_pretrained(&fixture.dir, &device).unwrap();
    let pixels = fixture.float_tensor::<4>("pixel_values", &device);

    let output = model.forward(pixels.clone()).unwrap();
    fixture.check("last_hidden_state", output.last_hidden_state, FORWARD_TOLERANCE);
    fixture.check("pooler_output", output.pooler_output.unwrap(), FORWARD_TOLERANCE);

    if fixture.has("interp.pixel_values") {
        let larger = fixture.float_tensor::<4>("interp.pixel_values", &device);
        let output = model.forward_interpolated(larger).unwrap();
        fixture.check("interp.last_hidden_state", output.last_hidden_state, FORWARD_TOLERANCE);
    }

    let layers = model.config().num_hidden_layers() as i64;
    let all: Vec<i64> = (0..=layers).collect();
    let features = model.features(pixels.clone(), &all, false).unwrap();
    fixture.check("hidden_states", Tensor::stack::<4>(features.layers, 0), FORWARD_TOLERANCE);

    let features = model.features(pixels, &[-2], true).unwrap();
    let (hidden, pooled) = (features.layers[0].clone(), features.pooled.unwrap());
    fixture.check("hidden_states_m2", hidden.clone(), FORWARD_TOLERANCE);

    // As README.txt: 10 * mean(hidden_states[-2] * grad_w) + mean(pooler_output * grad_w[:, 0])
    let weights = fixture.float_tensor::<3>("grad_w", &device);
    let first = weights.clone().narrow(1, 0, 1).squeeze_dim::<2>(1);
    let loss = (hidden * weights).mean() * 10.0 + (pooled * first).mean();
    fixture.check("loss", loss.clone(), BACKWARD_TOLERANCE);
    fixture.check_gradients(&model, loss.backward(), same);
    fixture.finish(&[]);
}

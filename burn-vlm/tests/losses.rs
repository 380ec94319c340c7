//! Contrastive losses against values worked out by hand.

#![cfg(feature = "flex")]

use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm::dual::{clip_loss, siglip_loss};

fn value(loss: Tensor<1>) -> f64 {
    f64::from(loss.into_data().try_into_vec::<f32>().unwrap()[0])
}

#[test]
fn losses_of_hand_worked_logits() {
    let device = Device::flex();
    let logits = Tensor::<2>::from_data(TensorData::new(vec![2.0f32, -1.0, 0.5, 1.0], [2, 2]), &device);
    // -1/2 * (log s(2) + log s(1) + log s(-0.5) + log s(1)), s the sigmoid
    let sigmoid = |x: f64| -((-x).exp().ln_1p());
    let expected = -(sigmoid(2.0) + sigmoid(1.0) + sigmoid(-0.5) + sigmoid(1.0)) / 2.0;
    let found = value(siglip_loss(logits.clone()));
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    // Rows: log(1 + e^-3), log(1 + e^-0.5); columns: log(1 + e^-1.5), log(1 + e^-2)
    let nll = |gap: f64| (-gap).exp().ln_1p();
    let expected = (nll(3.0) + nll(0.5) + nll(1.5) + nll(2.0)) / 4.0;
    let found = value(clip_loss(logits));
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
}

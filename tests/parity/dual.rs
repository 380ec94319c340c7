//! Contrastive dual encoders: both towers, embeddings, logits, loss, gradients.

use burn_vlm::checkpoint::Pretrained;
use burn_vlm::dual::{DualEncoder, clip_loss, siglip_loss};

use crate::common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, autodiff_device, same};

/// Checks one dual encoder's folder.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let model = DualEncoder::load_pretrained(&fixture.dir, &device).unwrap();
    let pixels = fixture.float_tensor::<4>("pixel_values", &device);
    let ids = fixture.int_tensor::<2>("input_ids", &device);

    let text = match &model {
        DualEncoder::Siglip(model) => {
            let image = model.vision_model.forward(pixels.clone()).unwrap();
            fixture.check("vision_last_hidden_state", image.last_hidden_state, FORWARD_TOLERANCE);
            fixture.check("vision_pooler_output", image.pooler_output.unwrap(), FORWARD_TOLERANCE);
            let text = model.text_model.forward(ids.clone()).unwrap();
            fixture.check("text_last_hidden_state", text.last_hidden_state, FORWARD_TOLERANCE);
            fixture.check("text_pooler_output", text.pooler_output, FORWARD_TOLERANCE);
            model.text_embeds(ids).unwrap()
        }
        DualEncoder::Clip(model) => {
            let image = model.vision_model.forward(pixels.clone()).unwrap();
            fixture.check("vision_last_hidden_state", image.last_hidden_state, FORWARD_TOLERANCE);
            // The fixture's pooled outputs are the projected ones.
            let pooled = model.visual_projection.forward(image.pooler_output.unwrap());
            fixture.check("vision_pooler_output", pooled, FORWARD_TOLERANCE);
            let mask = Some(fixture.mask("attention_mask", &device));
            let text = model.text_model.forward(ids.clone(), mask.clone()).unwrap();
            fixture.check("text_last_hidden_state", text.last_hidden_state, FORWARD_TOLERANCE);
            let pooled = model.text_projection.forward(text.pooler_output);
            fixture.check("text_pooler_output", pooled, FORWARD_TOLERANCE);
            model.text_embeds(ids, mask).unwrap()
        }
    };
    let image = model.image_embeds(pixels).unwrap();
    fixture.check("image_embeds", image.clone(), FORWARD_TOLERANCE);
    fixture.check("text_embeds", text.clone(), FORWARD_TOLERANCE);
    let logits = model.logits_per_image(image.clone(), text.clone());
    fixture.check("logits_per_image", logits.clone(), FORWARD_TOLERANCE);
    fixture.check("logits_per_text", logits.transpose(), FORWARD_TOLERANCE);

    let logits = model.logits_per_image(image.narrow(0, 0, 3), text.narrow(0, 0, 3));
    let loss = match &model {
        DualEncoder::Siglip(_) => siglip_loss(logits),
        DualEncoder::Clip(_) => clip_loss(logits),
    };
    fixture.check("loss_first3", loss.clone(), BACKWARD_TOLERANCE);
    fixture.check_gradients(&model, loss.backward(), same);
    fixture.finish(&[]);
}

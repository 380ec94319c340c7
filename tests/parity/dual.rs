//! Contrastive dual encoders: both towers, embeddings, logits, loss, gradients.

use burn_vlm::checkpoint::Pretrained;
use burn_vlm::dual::{DualEncoder, clip_loss, siglip_loss};

use crate::common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, autodiff_device, same};
use crate::vision::pixels;

/// The loss of the first pairs: `loss_first3` is that of three.
const LOSS: &str = "loss_first";

/// Checks one dual encoder's folder.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let model = DualEncoder::load_pretrained(&fixture.dir, &device).unwrap();
    let pixels = pixels(&fixture, None, &device);
    let ids = fixture.asks("input_ids").then(|| fixture.int_tensor::<2>("input_ids", &device));

    if let Some(pixels) = &pixels {
        let (hidden, pooled) = match &model {
            DualEncoder::Siglip(model) => {
                let image = model.vision_model.forward(pixels.clone()).unwrap();
                (image.last_hidden_state, image.pooler_output)
            }
            DualEncoder::Clip(model) => {
                let image = model.vision_model.forward(pixels.clone()).unwrap();
                // The fixture's pooled outputs are the projected ones.
                let pooled = image.pooler_output.map(|pooled| model.visual_projection.forward(pooled));
                (image.last_hidden_state, pooled)
            }
        };
        fixture.check_if("vision_last_hidden_state", FORWARD_TOLERANCE, || hidden);
        if let Some(pooled) = pooled {
            fixture.check_if("vision_pooler_output", FORWARD_TOLERANCE, || pooled);
        }
    }
    let text = ids.map(|ids| {
        let (hidden, pooled, embeds) = match &model {
            DualEncoder::Siglip(siglip) => {
                let text = siglip.text_model.forward(ids.clone()).unwrap();
                (text.last_hidden_state, text.pooler_output, siglip.text_embeds(ids).unwrap())
            }
            DualEncoder::Clip(clip) => {
                let mask = Some(fixture.mask_of("attention_mask", "input_ids", &device));
                let text = clip.text_model.forward(ids.clone(), mask.clone()).unwrap();
                let pooled = clip.text_projection.forward(text.pooler_output);
                (text.last_hidden_state, pooled, clip.text_embeds(ids, mask).unwrap())
            }
        };
        fixture.check_if("text_last_hidden_state", FORWARD_TOLERANCE, || hidden);
        fixture.check_if("text_pooler_output", FORWARD_TOLERANCE, || pooled);
        fixture.check_if("text_embeds", FORWARD_TOLERANCE, || embeds.clone());
        embeds
    });
    let image = pixels.map(|pixels| model.image_embeds(pixels).unwrap());
    if let Some(image) = &image {
        fixture.check_if("image_embeds", FORWARD_TOLERANCE, || image.clone());
    }
    if let (Some(image), Some(text)) = (image, text) {
        let logits = model.logits_per_image(image.clone(), text.clone());
        fixture.check_if("logits_per_image", FORWARD_TOLERANCE, || logits.clone());
        fixture.check_if("logits_per_text", FORWARD_TOLERANCE, || logits.transpose());

        let pairs = |name: &String| name.strip_prefix(LOSS).and_then(|count| count.parse::<usize>().ok());
        match fixture.names().iter().find_map(pairs) {
            None => fixture.skipped(&format!("{LOSS}N")),
            Some(count) => {
                let logits = model.logits_per_image(image.narrow(0, 0, count), text.narrow(0, 0, count));
                let loss = match &model {
                    DualEncoder::Siglip(_) => siglip_loss(logits),
                    DualEncoder::Clip(_) => clip_loss(logits),
                };
                fixture.check(&format!("{LOSS}{count}"), loss.clone(), BACKWARD_TOLERANCE);
                fixture.check_gradients(&model, loss.backward(), same);
            }
        }
    }
    fixture.finish(&[]);
}

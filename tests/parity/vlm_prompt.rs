//! The prompt side of a VLM's folder: rendered conversations, ids before and after the image tokens are expanded, pixels and
//! sizes, all from the pictures and messages of `expected.json`.

use burn_vlm_data::chat_template::{Message, RenderOptions};
use burn_vlm_data::image::{PixelBatch, ProcessedImage};
use burn_vlm_data::tokenizer::PaddingSide;
use burn_vlm_data::vlm_processor::VlmProcessor;

use crate::common::Fixture;

/// Pixels, relative to the largest value: one grey level of 255, as for the image processors alone (bit-exact is usual).
const PIXELS: f64 = 1.0 / 255.0;

/// Checks the prompts of a LLaVA or LLaVA-NeXT folder; looks at `raw_ids.*`, `input_ids`, `attention_mask`, `pixel_values`
/// and `image_sizes`. The pictures are in `../images` beside the folder.
pub fn check_prompts(fixture: &Fixture) {
    let processor = VlmProcessor::from_folder(&fixture.dir).unwrap();
    let expected = fixture.json("expected.json");
    let list = |key: &str| expected[key].as_array().unwrap().clone();
    let integers = |key: &str| list(key).iter().map(|number| number.as_u64().unwrap() as usize).collect::<Vec<_>>();
    let image_token_id = expected["image_token_id"].as_u64().unwrap() as u32;
    fixture.check_exact("image_token_id", &processor.image_token_id(), &image_token_id);

    let options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
    let (mut ids, mut counts, mut images) = (Vec::new(), Vec::new(), Vec::<ProcessedImage>::new());
    for (row, conversation) in list("conversations").iter().enumerate() {
        let messages: Vec<Message> = serde_json::from_value(conversation.clone()).unwrap();
        let pictures = fixture.dir.join("../images");
        assert!(
            pictures.is_dir(),
            "{}: no such folder; the pictures of {} are there",
            pictures.display(),
            fixture.name
        );
        let picture = |name: &serde_json::Value| {
            let name = name.as_str().unwrap();
            let path = pictures.join(format!("{name}.png"));
            let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            processor.image_processor.decode(name, &bytes).unwrap()
        };
        let pictures: Vec<_> = list("images")[row].as_array().unwrap().iter().map(picture).collect();
        let prompt = processor.process(&messages, &pictures, &options).unwrap();
        let text = list("prompts")[row].as_str().unwrap().to_owned();
        fixture.check_exact(&format!("prompts.{row}"), &prompt.text, &text);
        let name = format!("raw_ids.{row}");
        let raw: Vec<i64> = prompt.raw_ids.iter().map(|id| i64::from(*id)).collect();
        fixture.check_exact(&name, &raw, &fixture.ints(&name).0);
        ids.push(prompt.ids);
        counts.extend(prompt.num_image_tokens);
        images.extend(prompt.images);
    }
    fixture.check_exact("num_image_tokens", &counts, &integers("num_image_tokens"));
    let batch = processor.tokenizer.pad(&ids, PaddingSide::Left).unwrap();
    for (name, rows) in [("input_ids", batch.input_ids), ("attention_mask", batch.attention_mask)] {
        let found: Vec<i64> = rows.concat().into_iter().map(i64::from).collect();
        fixture.check_exact(&format!("{name} of prompts"), &found, &fixture.ints(name).0);
    }

    let pixels = PixelBatch::stack(&images).unwrap();
    let tiled = fixture.has("image_sizes");
    // Without tiling the model takes pictures without the dimension of tiles.
    let shape: Vec<usize> =
        pixels.shape.iter().enumerate().filter(|(at, _)| tiled || *at != 1).map(|(_, length)| *length).collect();
    fixture.check_values("pixel_values", &pixels.data, &shape, PIXELS);
    if tiled {
        let sizes: Vec<i64> = pixels.image_sizes.iter().flat_map(|(h, w)| [i64::from(*h), i64::from(*w)]).collect();
        fixture.check_exact("image_sizes", &sizes, &fixture.ints("image_sizes").0);
    }
}

//! The prompt side of a VLM's folder, by the processor that chat and training use: ids before and after the image tokens are
//! expanded, pixels and sizes, all from the pictures and messages of `expected.json`.

use burn_vlm::vlm::Vlm;
use burn_vlm_data::chat_template::{Content, Message, Part};
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use burn_vlm_data::encode::{EncodeOptions, MaskStyle};
use burn_vlm_data::image::{PixelBatch, ProcessedImage};
use burn_vlm_data::processor::{PictureInput, Processor};
use burn_vlm_data::sample::VIDEO_PLACEHOLDER;
use burn_vlm_data::tokenizer::PaddingSide;
use burn_vlm_train::processor::model_visual_tokens;

use crate::common::Fixture;
use crate::pictures::{self, Pictures};

/// Pixels, relative to the largest value: one grey level of 255, as for the image processors alone (bit-exact is usual).
const PIXELS: f64 = 1.0 / 255.0;

/// Answers whose first characters could grow into the prompt's last token.
const ANSWERS: [&str; 6] = ["A cat.", " two", "\nline", "\n\n", "", "多语言 <|im_end|>"];

/// A turn of the library for a message of a template: placeholders in the text where the list has pictures.
pub fn turn(message: &Message) -> Turn {
    let role: Role = serde_json::from_value(message.role.clone().into()).unwrap();
    let text = match &message.content {
        Content::Text(text) => text.clone(),
        Content::Parts(parts) => {
            let part = |part: &Part| match part {
                Part::Image => format!("{IMAGE_PLACEHOLDER}\n"),
                Part::Video => format!("{VIDEO_PLACEHOLDER}\n"),
                Part::Text { text } => text.clone(),
            };
            parts.iter().map(part).collect()
        }
    };
    Turn { role, text }
}

/// The ids of a conversation begin with those of its prompt, whatever the answer is and whatever of it is trained.
pub fn check_answers(name: &str, processor: &Processor, turns: &[Turn], counts: &[usize]) {
    let prompt = processor.encode_prompt(turns, counts).unwrap();
    for (answer, mask) in ANSWERS.iter().flat_map(|answer| {
        [MaskStyle::AnswersOnly, MaskStyle::Towervision, MaskStyle::LlavaNextQwen].map(|mask| (answer, mask))
    }) {
        let mut whole = turns.to_vec();
        whole.push(Turn::assistant(*answer));
        let options = EncodeOptions { mask, user_turns: true, ..EncodeOptions::default() };
        match processor.encode(&whole, counts, &options) {
            Ok(encoded) => {
                assert_eq!(encoded.ids[..prompt.len()], prompt, "{name}: the prompt of {whole:?}");
                let asked = turns.iter().filter(|turn| turn.role == Role::User).count();
                assert_eq!(encoded.user_turns.len(), asked, "{name}");
            }
            // A mask of another family.
            Err(_) if mask != MaskStyle::AnswersOnly => {}
            Err(error) => panic!("{name}: {whole:?}: {error}"),
        }
    }
}

/// Keys of expected.json that are looked at.
const KEYS: [&str; 5] = ["images", "conversations", "prompts", "image_token_id", "num_image_tokens"];

/// Checks the prompts of a LLaVA or LLaVA-NeXT folder; looks at `raw_ids.*`, `input_ids`, `attention_mask`, `pixel_values`
/// and `image_sizes`.
pub fn check_prompts(fixture: &Fixture, model: &Vlm) {
    let Some(expected) = fixture.json_if("expected.json") else { return };
    fixture.check_keys("expected.json", &expected, &KEYS);
    let processor = Processor::from_folder(&fixture.dir).unwrap();
    let part = |key: &str| {
        let part = expected.get(key);
        if part.is_none() {
            fixture.skipped(&format!("expected.json, {key}"));
        }
        part
    };
    if let Some(id) = part("image_token_id") {
        fixture.check_exact("image_token_id", &processor.image_token_id(), &Some(id.as_u64().unwrap() as u32));
    }
    let of_model = model_visual_tokens(&model.config);
    fixture.check_exact("visual tokens of folder and model", processor.visual_tokens().unwrap(), &of_model);

    let Some(conversations) = part("conversations").and_then(|list| list.as_array()) else { return };
    let beside = Pictures::beside(&fixture.dir);
    let Some(samples) = pictures::of_samples(fixture, Some(&expected)) else {
        fixture.fail("conversations without pictures: neither expected.json nor README.txt lists them".to_owned());
        return;
    };
    let prompts = part("prompts").and_then(|list| list.as_array());
    let (mut ids, mut counts, mut images) = (Vec::new(), Vec::new(), Vec::<ProcessedImage>::new());
    for (row, conversation) in conversations.iter().enumerate() {
        let messages: Vec<Message> = serde_json::from_value(conversation.clone()).unwrap();
        let turns: Vec<Turn> = messages.iter().map(turn).collect();
        let files: Vec<_> = samples[row].iter().flatten().map(|name| beside.read(name)).collect();
        let files: Vec<_> = files.iter().map(|(name, bytes)| PictureInput::File { name, bytes }).collect();
        let processed = processor.process_images(&files).unwrap();
        let found: Vec<usize> = processed.iter().map(|image| processor.num_image_tokens(image)).collect();
        for (image, found) in processed.iter().zip(&found) {
            let size = (image.original_size.0 as usize, image.original_size.1 as usize);
            let packed = match model.config.is_tiled() {
                true => model.config.packing(&[image.tiles], &[size]).unwrap().image_tokens().iter().sum(),
                false => model.config.num_visual_tokens(),
            };
            assert_eq!(*found, packed, "{}: a picture of {size:?}", fixture.name);
        }

        let raw = processor.encode_prompt(&turns, &vec![1; found.len()]).unwrap();
        if let Some(prompt) = prompts.and_then(|prompts| prompts.get(row)) {
            let text = processor.tokenizer().decode(&raw, false).unwrap();
            fixture.check_exact(&format!("prompts.{row}"), &text, &prompt.as_str().unwrap().to_owned());
        }
        let raw: Vec<i64> = raw.iter().map(|id| i64::from(*id)).collect();
        fixture.check_ints_if(&format!("raw_ids.{row}"), &raw);
        ids.push(processor.encode_prompt(&turns, &found).unwrap());
        check_answers(&fixture.name, &processor, &turns, &found);
        counts.extend(found);
        images.extend(processed);
    }
    if let Some(numbers) = part("num_image_tokens") {
        let numbers: Vec<usize> = serde_json::from_value(numbers.clone()).unwrap();
        fixture.check_exact("num_image_tokens", &counts, &numbers);
    }
    let batch = processor.tokenizer().pad(&ids, PaddingSide::Left).unwrap();
    for (name, rows) in [("input_ids", batch.input_ids), ("attention_mask", batch.attention_mask)] {
        let found: Vec<i64> = rows.concat().into_iter().map(i64::from).collect();
        fixture.check_ints_if(name, &found);
    }
    if !images.is_empty() {
        check_pixels(fixture, &images, model.config.is_tiled());
    }
}

/// Pixels and sizes of the pictures.
fn check_pixels(fixture: &Fixture, images: &[ProcessedImage], tiled: bool) {
    let pixels = PixelBatch::stack(images).unwrap();
    if fixture.asks("pixel_values") {
        // Without tiling the model takes pictures without the dimension of tiles.
        let lengths = pixels.shape.iter().enumerate().filter(|(at, _)| tiled || *at != 1);
        let shape: Vec<usize> = lengths.map(|(_, length)| *length).collect();
        fixture.check_values("pixel_values", &pixels.data, &shape, PIXELS);
    }
    if tiled {
        let sizes: Vec<i64> = pixels.image_sizes.iter().flat_map(|(h, w)| [i64::from(*h), i64::from(*w)]).collect();
        fixture.check_ints_if("image_sizes", &sizes);
    }
}

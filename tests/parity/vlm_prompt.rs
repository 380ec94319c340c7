//! The prompt side of a VLM's folder, by the processor that chat and training use: ids before and after the image tokens are
//! expanded, pixels and sizes, all from the pictures and messages of `expected.json`.

use burn_vlm::vlm::Vlm;
use burn_vlm_data::chat_template::{Content, Message, Part};
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Role, Turn};
use burn_vlm_data::encode::{EncodeOptions, MaskStyle};
use burn_vlm_data::image::{PixelBatch, ProcessedImage};
use burn_vlm_data::processor::{PictureInput, Processor};
use burn_vlm_data::tokenizer::PaddingSide;
use burn_vlm_train::processor::model_visual_tokens;

use crate::common::Fixture;

/// Pixels, relative to the largest value: one grey level of 255, as for the image processors alone (bit-exact is usual).
const PIXELS: f64 = 1.0 / 255.0;

/// Answers whose first characters could grow into the prompt's last token.
const ANSWERS: [&str; 6] = ["A cat.", " two", "\nline", "\n\n", "", "多语言 <|im_end|>"];

/// A turn of the library for a message of a template: placeholders in the text where the list has pictures.
fn turn(message: &Message) -> Turn {
    let role: Role = serde_json::from_value(message.role.clone().into()).unwrap();
    let text = match &message.content {
        Content::Text(text) => text.clone(),
        Content::Parts(parts) => {
            let part = |part: &Part| match part {
                Part::Image => format!("{IMAGE_PLACEHOLDER}\n"),
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

/// Checks the prompts of a LLaVA or LLaVA-NeXT folder; looks at `raw_ids.*`, `input_ids`, `attention_mask`, `pixel_values`
/// and `image_sizes`. The pictures are in `../images` beside the folder.
pub fn check_prompts(fixture: &Fixture, model: &Vlm) {
    let processor = Processor::from_folder(&fixture.dir).unwrap();
    let expected = fixture.json("expected.json");
    let list = |key: &str| expected[key].as_array().unwrap().clone();
    let integers = |key: &str| list(key).iter().map(|number| number.as_u64().unwrap() as usize).collect::<Vec<_>>();
    let image_token_id = expected["image_token_id"].as_u64().unwrap() as u32;
    fixture.check_exact("image_token_id", &processor.image_token_id(), &Some(image_token_id));
    let of_model = model_visual_tokens(&model.config);
    fixture.check_exact("visual tokens of folder and model", processor.visual_tokens().unwrap(), &of_model);

    let (mut ids, mut counts, mut images) = (Vec::new(), Vec::new(), Vec::<ProcessedImage>::new());
    for (row, conversation) in list("conversations").iter().enumerate() {
        let messages: Vec<Message> = serde_json::from_value(conversation.clone()).unwrap();
        let turns: Vec<Turn> = messages.iter().map(turn).collect();
        let pictures = fixture.dir.join("../images");
        assert!(
            pictures.is_dir(),
            "{}: no such folder; the pictures of {} are there",
            pictures.display(),
            fixture.name
        );
        let read = |name: &serde_json::Value| {
            let name = name.as_str().unwrap().to_owned();
            let path = pictures.join(format!("{name}.png"));
            let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (name, bytes)
        };
        let files: Vec<_> = list("images")[row].as_array().unwrap().iter().map(read).collect();
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

        let name = format!("raw_ids.{row}");
        let raw = processor.encode_prompt(&turns, &vec![1; found.len()]).unwrap();
        let text = processor.tokenizer().decode(&raw, false).unwrap();
        fixture.check_exact(&format!("prompts.{row}"), &text, &list("prompts")[row].as_str().unwrap().to_owned());
        let raw: Vec<i64> = raw.iter().map(|id| i64::from(*id)).collect();
        fixture.check_exact(&name, &raw, &fixture.ints(&name).0);
        ids.push(processor.encode_prompt(&turns, &found).unwrap());
        check_answers(&fixture.name, &processor, &turns, &found);
        counts.extend(found);
        images.extend(processed);
    }
    fixture.check_exact("num_image_tokens", &counts, &integers("num_image_tokens"));
    let batch = processor.tokenizer().pad(&ids, PaddingSide::Left).unwrap();
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

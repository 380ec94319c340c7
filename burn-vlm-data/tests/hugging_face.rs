//! Tokenizers, chat templates and image processors against what Hugging Face's libraries return.

use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::conversation::{Role, Turn};
use burn_vlm_data::encode::{EncodeOptions, IGNORE, MaskStyle, encode, encode_prompt, end_of_turn};
use burn_vlm_data::image::{DecodeLimits, ImageProcessor, ImageProcessorConfig, Resample, decode, to_rgb};
use burn_vlm_data::tokenizer::Tokenizer;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Expected {
    encodings: Vec<Encoding>,
    chats: Vec<Chat>,
    special_ids: std::collections::BTreeMap<String, u32>,
    vocab_size_total: usize,
}

#[derive(Deserialize)]
struct Encoding {
    text: String,
    ids: Vec<u32>,
    decode: String,
}

#[derive(Deserialize)]
struct Chat {
    messages: Vec<Message>,
    add_generation_prompt: bool,
    text: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Message {
    role: Role,
    content: String,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Our own copies, and the whole reference folder where it is there.
fn folders(name: &str) -> Vec<PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures").join(name);
    let folders = [fixtures().join(name), shared];
    folders.into_iter().filter(|folder| folder.join("expected.json").is_file()).collect()
}

fn load(folder: &Path) -> (Tokenizer, ChatTemplate, Expected) {
    let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    let template = ChatTemplate::from_folder(folder).unwrap();
    let expected = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    (tokenizer, template, expected)
}

fn turns(chat: &Chat) -> Vec<Turn> {
    chat.messages.iter().map(|m| Turn { role: m.role, text: m.content.clone() }).collect()
}

#[test]
fn tokens_templates_and_ids_are_exact() {
    for folder in ["tok_gemma", "tok_qwen"].iter().flat_map(|name| folders(name)) {
        let (tokenizer, template, expected) = load(&folder);
        assert_eq!(tokenizer.vocab_size(), expected.vocab_size_total);
        for (token, id) in &expected.special_ids {
            assert_eq!(tokenizer.token_id(token), Some(*id));
        }
        for encoding in &expected.encodings {
            assert_eq!(tokenizer.encode(&encoding.text).unwrap(), encoding.ids, "{:?}", encoding.text);
            assert_eq!(tokenizer.decode(&encoding.ids, false).unwrap(), encoding.decode);
        }
        for chat in &expected.chats {
            let turns = turns(chat);
            assert_eq!(template.render(&turns, chat.add_generation_prompt).unwrap(), chat.text);
            let pictures = vec![1; burn_vlm_data::conversation::count_images(&turns)];
            let ids = if chat.add_generation_prompt {
                encode_prompt(&tokenizer, &template, &turns, &pictures).unwrap()
            } else {
                encode(&tokenizer, &template, &turns, &pictures, &EncodeOptions::default()).unwrap().ids
            };
            assert_eq!(ids, chat.ids, "{}", chat.text);
        }
    }
}

/// The text of the trained tokens, with a bar between runs.
fn trained(tokenizer: &Tokenizer, turns: &[Turn], template: &ChatTemplate, mask: MaskStyle) -> String {
    let options = EncodeOptions { mask, ..Default::default() };
    let encoded = encode(tokenizer, template, turns, &[2], &options).unwrap();
    let mut runs: Vec<Vec<u32>> = vec![Vec::new()];
    for (id, label) in encoded.ids.iter().zip(&encoded.labels) {
        assert!(*label == IGNORE || *label == i64::from(*id));
        match (*label, runs.last_mut()) {
            (IGNORE, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            (IGNORE, _) => {}
            (_, Some(run)) => run.push(*id),
            _ => {}
        }
    }
    let text = |run: &Vec<u32>| tokenizer.decode(run, false).unwrap();
    runs.iter().filter(|run| !run.is_empty()).map(text).collect::<Vec<_>>().join("|")
}

fn conversation() -> Vec<Turn> {
    vec![
        Turn::user("<image>\nWhat is this?"),
        Turn::assistant("a cat"),
        Turn::user("Really, a cat?"),
        Turn::assistant("yes"),
    ]
}

#[test]
fn masks_of_gemma() {
    let (tokenizer, template, _) = load(&fixtures().join("tok_gemma"));
    let shown = |mask| trained(&tokenizer, &conversation(), &template, mask);
    assert_eq!(shown(MaskStyle::AnswersOnly), "a cat<end_of_turn>|yes<end_of_turn>");
    assert_eq!(
        shown(MaskStyle::Towervision),
        "<start_of_turn>|\n|\n|<end_of_turn>\n<start_of_turn>model\na cat<end_of_turn>\n<start_of_turn>|\n|<end_of_turn>\n\
         <start_of_turn>model\nyes<end_of_turn>\n"
    );
    let options = EncodeOptions { mask: MaskStyle::LlavaNextQwen, ..Default::default() };
    let error = encode(&tokenizer, &template, &conversation(), &[2], &options).unwrap_err().to_string();
    assert!(error.contains("<|im_start|>") && error.contains("answers_only"), "{error}");
}

#[test]
fn templates_say_where_an_answer_ends() {
    for (folder, token) in [("tok_gemma", "<end_of_turn>"), ("tok_qwen", "<|im_end|>")] {
        let (tokenizer, template, _) = load(&fixtures().join(folder));
        assert_eq!(end_of_turn(&tokenizer, &template).unwrap(), tokenizer.token_id(token));
    }
}

#[test]
fn masks_of_qwen() {
    let (tokenizer, template, _) = load(&fixtures().join("tok_qwen"));
    let shown = |mask| trained(&tokenizer, &conversation(), &template, mask);
    assert_eq!(shown(MaskStyle::AnswersOnly), "a cat<|im_end|>|yes<|im_end|>");
    assert!(shown(MaskStyle::LlavaNextQwen).contains("<|im_start|>assistant\na cat<|im_end|>\n<|im_start|>|"));
}

#[test]
fn processors_are_those_of_pil() {
    let plain = |config: ImageProcessorConfig| {
        let config = ImageProcessorConfig { do_rescale: false, do_normalize: false, ..config };
        ImageProcessor::new(config).unwrap()
    };
    let processors =
        [("siglip_96", plain(ImageProcessorConfig::siglip(96))), ("clip_84", plain(ImageProcessorConfig::clip(84)))];
    let read = |name: &str| fs::read(fixtures().join("images").join(name)).unwrap();
    for image in ["gray_L_211x157", "rgba_190x140"] {
        for (name, processor) in &processors {
            let pixels = processor.process_bytes(image, &read(&format!("{image}.png"))).unwrap();
            let expected = read(&format!("{image}.{name}.png"));
            let expected = to_rgb(decode(name, &expected, &DecodeLimits::default()).unwrap(), None);
            let plane = pixels.height * pixels.width;
            assert_eq!(expected.dimensions(), (pixels.width as u32, pixels.height as u32));
            // Exactly, byte by byte.
            let differing = (0..3 * plane)
                .filter(|at| pixels.data[*at] != f32::from(expected.as_raw()[at % plane * 3 + at / plane]))
                .count();
            assert_eq!(differing, 0, "{image} {name}, of {}", 3 * plane);
        }
    }
}

#[test]
fn published_processor_files_are_read() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    for (folder, size) in
        [("proc_siglip_96", 96), ("proc_clip_84", 84), ("proc_siglip_384", 384), ("proc_clip_224", 224)]
    {
        let path = shared.join(folder).join("preprocessor_config.json");
        if path.is_file() {
            let config = ImageProcessorConfig::from_file(path).unwrap();
            assert_eq!((config.output_size(), config.resample), (Some((size, size)), Resample::Bicubic));
        }
    }
}

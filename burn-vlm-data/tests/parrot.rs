//! Parrot's formatting, labels and pixels against the authors' own (tests/fixtures/README.md).

use burn_vlm_data::conversation::Turn;
use burn_vlm_data::image::{AspectRatio, DecodeLimits, ImageProcessor, ImageProcessorConfig, decode, to_rgb};
use burn_vlm_data::parrot::{Record, encode, encode_prompt};
use burn_vlm_data::tokenizer::Tokenizer;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Expected {
    conversations: Vec<Vec<Record>>,
    prompts: Vec<String>,
    input_ids: Vec<Vec<i64>>,
    labels: Vec<Vec<i64>>,
    merged_labels: Vec<Vec<i64>>,
    gen_queries: Vec<String>,
    gen_prompts: Vec<Vec<i64>>,
    visual_tokens: usize,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parrot")
}

#[test]
fn conversations_and_labels() {
    let expected: Expected = serde_json::from_slice(&fs::read(folder().join("expected.json")).unwrap()).unwrap();
    let tokenizer = Tokenizer::from_file(folder().join("tokenizer.json")).unwrap();
    for (index, conversation) in expected.conversations.into_iter().enumerate() {
        let turns: Vec<Turn> = conversation.into_iter().map(Turn::from).collect();
        let encoded = encode(&tokenizer, &turns).unwrap();
        assert_eq!(encoded.prompt, expected.prompts[index]);
        assert_eq!(encoded.input_ids, expected.input_ids[index]);
        assert_eq!(encoded.labels, expected.labels[index]);
        assert_eq!(encoded.expanded(expected.visual_tokens).labels, expected.merged_labels[index]);
    }
    for (query, ids) in expected.gen_queries.iter().zip(expected.gen_prompts) {
        let prompt = encode_prompt(&tokenizer, &[Turn::user(query)]).unwrap();
        assert_eq!(prompt.input_ids, ids);
        assert!(prompt.labels.iter().all(|label| *label < 0) && prompt.prompt.ends_with("<|im_start|>assistant\n"));
    }
}

/// Padding to a square in the mean colour, then CLIP's processing: byte for byte.
#[test]
fn pixels() {
    let mut config = ImageProcessorConfig::from_folder(folder()).unwrap();
    config.image_aspect_ratio = Some(AspectRatio::Pad);
    config.do_normalize = false;
    config.do_rescale = false;
    let processor = ImageProcessor::new(config).unwrap();
    for name in ["cat_451x300", "astronaut_tall_171x437"] {
        let image = folder().join(format!("../../../../tests/fixtures/images/{name}.png"));
        let pixels = processor.process_bytes(name, &fs::read(image).unwrap()).unwrap();
        let expected = fs::read(folder().join(format!("{name}.56.png"))).unwrap();
        let expected = to_rgb(decode(name, &expected, &DecodeLimits::default()).unwrap(), None);
        let plane = pixels.height * pixels.width;
        assert_eq!(pixels.data.len(), expected.as_raw().len());
        for (at, value) in pixels.data.iter().enumerate() {
            assert_eq!(*value, f32::from(expected.as_raw()[at % plane * 3 + at / plane]), "{name} {at}");
        }
    }
}

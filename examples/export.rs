//! Reads a model's folder, writes it again in small shards with its tokenizer and processor files, and writes inputs with this
//! library's outputs beside it, for `tests/python/roundtrip.py` to compare with transformers'.
//!
//! `cargo run --release -p burn-vlm --example export -- SOURCE TARGET`

use std::error::Error;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::checkpoint::{Pretrained, SaveOptions};
use burn_vlm::dual::DualEncoder;
use burn_vlm::init::seeded_normal;
use burn_vlm::language::{AttentionInput, LanguageModel};
use burn_vlm::vision::VisionEncoder;
use burn_vlm::vlm::{Vlm, VlmInput};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

/// Rows of a batch of text.
const ROWS: usize = 2;
/// Tokens of a row, image tokens not counted.
const TOKENS: usize = 10;
/// Small, so that the shards are exercised.
const SHARD: u64 = 100_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let paths: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let [source, target] = paths.as_slice() else {
        return Err("usage: export SOURCE TARGET".into());
    };
    let config: Value = serde_json::from_str(&std::fs::read_to_string(source.join("config.json"))?)?;
    let kind = config["model_type"].as_str().unwrap_or_default();
    let device = Device::flex();
    let outputs = match kind {
        "siglip_vision_model" | "clip_vision_model" => vision(&export(source, target, &device)?, &device)?,
        "siglip" | "clip" => dual(&export(source, target, &device)?, &config, &device)?,
        "llava" => vlm(&export(source, target, &device)?, &device)?,
        _ => language(&export(source, target, &device)?, &device)?,
    };
    write(&target.join("outputs.safetensors"), &outputs)?;
    println!("{kind}: {} -> {}", source.display(), target.display());
    Ok(())
}

fn export<M: Pretrained>(source: &Path, target: &Path, device: &Device) -> Result<M> {
    let model = M::load_pretrained(source, device)?;
    let companions = Some(source.to_path_buf());
    model.save_pretrained_with(target, &SaveOptions { max_shard_size: SHARD, companions, ..SaveOptions::default() })?;
    Ok(M::load_pretrained(target, device)?)
}

/// A named tensor, as little-endian bytes.
struct Output {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn floats<const D: usize>(name: &'static str, tensor: Tensor<D>) -> Result<Output> {
    let shape = tensor.dims().to_vec();
    let values = tensor.into_data().try_into_vec::<f32>().map_err(|error| format!("{name}: {error:?}"))?;
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(Output { name, dtype: Dtype::F32, shape, bytes })
}

fn ints(name: &'static str, values: &[i64], width: usize) -> Output {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Output { name, dtype: Dtype::I64, shape: vec![values.len() / width, width], bytes }
}

fn write(path: &Path, outputs: &[Output]) -> Result<()> {
    let views = outputs
        .iter()
        .map(|output| Ok((output.name, TensorView::new(output.dtype, output.shape.clone(), &output.bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(safetensors::serialize_to_file(views, None, path)?)
}

/// Ids below `vocabulary`, without the last few, which are special tokens in small vocabularies.
fn ids(vocabulary: usize, count: usize) -> Vec<i64> {
    let usable = vocabulary.saturating_sub(8).max(1);
    (0..count).map(|index| ((index * 37 + 11) % usable) as i64).collect()
}

fn tensor(ids: &[i64], width: usize, device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(ids.to_vec(), [ids.len() / width, width]), device)
}

fn language(model: &LanguageModel, device: &Device) -> Result<Vec<Output>> {
    let ids = ids(model.config().vocab_size(), ROWS * TOKENS);
    let embeds = model.embed(tensor(&ids, TOKENS, device));
    let logits = model.logits(model.forward(embeds, &AttentionInput::contiguous(), None)?);
    Ok(vec![ints("input_ids", &ids, TOKENS), floats("logits", logits)?])
}

fn vision(model: &VisionEncoder, device: &Device) -> Result<Vec<Output>> {
    let pixels = pixels(&model.config(), device);
    let output = model.forward(pixels.clone())?;
    Ok(vec![floats("pixel_values", pixels)?, floats("last_hidden_state", output.last_hidden_state)?])
}

fn pixels(config: &burn_vlm::vision::VisionConfig, device: &Device) -> Tensor<4> {
    let size = config.image_size();
    seeded_normal([ROWS, config.num_channels(), size, size], 1, device)
}

fn dual(model: &DualEncoder, config: &Value, device: &Device) -> Result<Vec<Output>> {
    let text = &config["text_config"];
    let size = |key: &str| text[key].as_u64().ok_or_else(|| format!("text_config has no {key}"));
    // As long as the model was trained on; CLIP reads the position of the end token, so the last one is that.
    let width = size("max_position_embeddings")? as usize;
    let mut ids = ids(size("vocab_size")? as usize, ROWS * width);
    if let Some(end) = text["eos_token_id"].as_i64() {
        ids.chunks_mut(width).for_each(|row| row[width - 1] = end);
    }
    let vision = model.clone().into_vision();
    let pixels = pixels(&vision.config(), device);
    let (image, text) = (model.image_embeds(pixels.clone())?, model.text_embeds(tensor(&ids, width, device))?);
    let logits = model.logits_per_image(image, text);
    Ok(vec![ints("input_ids", &ids, width), floats("pixel_values", pixels)?, floats("logits_per_image", logits)?])
}

fn vlm(model: &Vlm, device: &Device) -> Result<Vec<Output>> {
    let config = &model.config;
    let image = vec![config.image_token_index; config.num_visual_tokens()];
    let text = ids(config.text_config.vocab_size(), ROWS * TOKENS);
    let rows: Vec<i64> = text.chunks(TOKENS).flat_map(|row| [&row[..2], &image, &row[2..]].concat()).collect();
    let width = TOKENS + image.len();
    let pixels = pixels(&config.vision_config, device);
    let features = model.encode_images(pixels.clone())?;
    let input = VlmInput::new(tensor(&rows, width, device)).with_features(features);
    let logits = model.language_model.logits(model.forward(&input)?);
    Ok(vec![ints("input_ids", &rows, width), floats("pixel_values", pixels)?, floats("logits", logits)?])
}

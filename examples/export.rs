//! Reads a model's folder, writes it again in small shards with its tokenizer and processor files, and writes inputs with this
//! library's outputs beside it, for `tests/python/roundtrip.py` to compare with transformers'.
//!
//! `cargo run --release --example export -- SOURCE TARGET`
//!
//! Towers and decoders alone, dual encoders, LLaVA and LLaVA-NeXT (tiled pictures of two shapes in one row). LLaVA's original
//! layout is written as transformers'. transformers knows no Parrot: its folder is written, without outputs to compare.

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
        "siglip_vision_model" | "clip_vision_model" | "chinese_clip_vision_model" => {
            Some(vision(&export(source, target, &device)?, &device)?)
        }
        "siglip" | "clip" => Some(dual(&export(source, target, &device)?, &config, &device)?),
        "gemma2" | "llama" | "mistral" | "qwen2" => Some(language(&export(source, target, &device)?, &device)?),
        "llava" | "llava_next" | "llava_llama" | "llava_qwen" | "llava_qwen2" | "llava_mistral" => {
            Some(vlm(&export(source, target, &device)?, &device)?)
        }
        "parrot_qwen2" => {
            export::<Vlm>(source, target, &device)?;
            None
        }
        other => {
            let help = if other == "chinese_clip" { ": only its vision tower is, export that" } else { "" };
            return Err(format!("{}: model_type `{other}` is not supported{help}", source.display()).into());
        }
    };
    match outputs {
        Some(outputs) => write(&target.join("outputs.safetensors"), &outputs)?,
        None => println!("{kind}: transformers has no such model, so there are no outputs to compare"),
    }
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

/// Integers as `[n, width]`.
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
    if model.config.is_tiled() {
        return tiled(model, device);
    }
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

/// One row with two pictures: a wide one and a small tall one, of other tile counts where the model's pinpoints allow.
fn tiled(model: &Vlm, device: &Device) -> Result<Vec<Output>> {
    let config = &model.config;
    let vision = &config.vision_config;
    let (side, channels) = (vision.image_size(), vision.num_channels());
    let sizes = [(side, 3 * side + 7), (side, side / 2 + 1)];
    let tiles = sizes.iter().map(|size| config.num_tiles(*size)).collect::<std::result::Result<Vec<_>, _>>()?;
    let text = ids(config.text_config.vocab_size(), TOKENS);
    let mut row = text[..2].to_vec();
    for (at, size) in sizes.iter().enumerate() {
        row.extend(std::iter::repeat_n(config.image_token_index, config.num_image_tokens(*size)?));
        row.extend(&text[2 + 4 * at..6 + 4 * at]);
    }
    // Padded with zeros to the most tiles, as transformers takes them.
    let most = tiles.iter().copied().max().unwrap_or(0);
    let real: Tensor<4> = seeded_normal([tiles.iter().sum(), channels, side, side], 1, device);
    let mut padded = Vec::new();
    let mut first = 0;
    for count in &tiles {
        padded.push(real.clone().narrow(0, first, *count));
        if most > *count {
            padded.push(Tensor::zeros([most - count, channels, side, side], device));
        }
        first += count;
    }
    let padded = Tensor::cat(padded, 0).reshape([sizes.len(), most, channels, side, side]);
    let features = model.encode_tiled_images(real, &tiles, &sizes)?;
    let input = VlmInput::new(tensor(&row, row.len(), device)).with_features(features);
    let logits = model.language_model.logits(model.forward(&input)?);
    let sizes: Vec<i64> = sizes.iter().flat_map(|(height, width)| [*height as i64, *width as i64]).collect();
    Ok(vec![
        ints("input_ids", &row, row.len()),
        floats("pixel_values", padded)?,
        ints("image_sizes", &sizes, 2),
        floats("logits", logits)?,
    ])
}

//! `burn-vlm export`: a model's folder, read and written again as transformers reads it.
//!
//! Towers and decoders alone, dual encoders, LLaVA and LLaVA-NeXT, Parrot. LLaVA's original layout is written as transformers'. With
//! `--outputs` this library's outputs on made-up inputs stand beside it, for `tests/python/roundtrip.py` to compare with
//! transformers' (tiled pictures of two shapes in one row), or, of a language model, on texts and conversations of one's own
//! (`--texts`, for `tests/python/real_weights.py`). transformers knows no Parrot: its folder is written, without outputs.

use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::checkpoint::{LoadOptions, Pretrained, SaveOptions, gguf_config, gguf_words, is_gguf};
use burn_vlm::dual::DualEncoder;
use burn_vlm::init::seeded_normal;
use burn_vlm::language::{AttentionInput, LanguageModel};
use burn_vlm::vision::VisionEncoder;
use burn_vlm::vlm::{Vlm, VlmInput};
use burn_vlm_base::files::{create_dir_all, write_atomic};
use burn_vlm_data::conversation::{Role, Turn};
use burn_vlm_data::encode::EncodeOptions;
use burn_vlm_data::processor::Processor;
use burn_vlm_train::assemble::LANGUAGE_KINDS;
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::run::write_copied_card;
use clap::Parser;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use serde_json::Value;

use crate::AnyError;
use crate::args::{Precision, bytes, check_empty};
use crate::call::examples;

/// Rows of a batch of text.
const ROWS: usize = 2;
/// Tokens of a row, image tokens not counted.
const TOKENS: usize = 10;

type Result<T> = std::result::Result<T, AnyError>;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        ("export", "llava-v1.5-7b llava-1.5-7b-hf --dtype f16", "LLaVA's original layout as transformers'"),
        ("export", "runs/train/my/model my-model --max-shard-size 2GB", "a model trained here, in smaller files"),
        (
            "export",
            "SmolLM2-135M-Instruct.Q4_1.gguf smollm2 --dtype f16",
            "a decoder of llama.cpp as a folder, to train with",
        ),
    ];
    examples(
        &lines,
        "Tokenizer, template, processor files and card are copied. `burn-vlm chat --model TARGET` talks to the result.",
    )
}

/// Write a model's folder again as transformers reads it: other element type, other shards, LLaVA's original layout or a GGUF file made over
#[derive(Debug, Parser)]
#[command(name = "export", max_term_width = 100, after_help = help())]
pub(crate) struct ExportArgs {
    /// The folder that is read: config.json, weights; of a run its `model`; or a decoder's GGUF file, quantised or not
    source: PathBuf,

    /// The folder that is written
    target: PathBuf,

    /// Element type in the files; weights are held in memory as it
    #[arg(long, value_enum, default_value_t = Precision::F32, value_name = "TYPE")]
    dtype: Precision,

    /// Largest file of weights, such as 500MB; above it there are several and an index
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = bytes)]
    max_shard_size: u64,

    /// Write inputs with this library's outputs beside it, for tests/python/roundtrip.py
    #[arg(long)]
    outputs: bool,

    /// Of a language model: outputs on these in place of made-up ids, a JSON list of texts and of conversations
    /// ([{"role": "user", "content": "Hello"}]); `ids.N` and `logits.N` are those of the N-th, counted from 0
    #[arg(long, value_name = "FILE", requires = "outputs")]
    texts: Option<PathBuf>,

    /// Where to compute: auto, flex, ndarray, wgpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
}

/// Reads and writes.
pub(crate) fn run(args: &ExportArgs) -> Result<()> {
    let ExportArgs { target, .. } = args;
    check_empty(target)?;
    let source = &model_in(&args.source);
    let config = if is_gguf(source) { gguf_config(source)? } else { read_config(source)? };
    let kind = config["model_type"].as_str().unwrap_or_default();
    let language_kind = LANGUAGE_KINDS.contains(&kind);
    let texts = args.texts.as_deref().map(read_texts).transpose()?;
    if texts.is_some() && !language_kind {
        return Err(format!("--texts is for language models, {} is {kind:?}", source.display()).into());
    }
    let device = &choose(args.device)?.device;
    let outputs = match kind {
        "siglip_vision_model" | "siglip2_vision_model" | "clip_vision_model" | "chinese_clip_vision_model" => {
            write_model(args, source, device)?.map(|model| vision(&model, device)).transpose()?
        }
        "siglip" | "clip" => {
            write_model(args, source, device)?.map(|model| dual(&model, &config, device)).transpose()?
        }
        _ if language_kind => write_model(args, source, device)?
            .map(|model| match &texts {
                Some(texts) => of_texts(&model, target, texts, device),
                None => language(&model, device),
            })
            .transpose()?,
        "llava" | "llava_next" | "llava_onevision" | "llava_llama" | "llava_qwen" | "llava_qwen2" | "llava_mistral" => {
            write_model(args, source, device)?.map(|model| vlm(&model, device)).transpose()?
        }
        "parrot_qwen2" => {
            if write_model::<Vlm>(args, source, device)?.is_some() {
                writeln!(
                    std::io::stdout(),
                    "{kind}: transformers has no such model, so there are no outputs to compare"
                )?;
            }
            None
        }
        other => {
            let help = if ["chinese_clip", "siglip2"].contains(&other) {
                ": only its vision tower is, export that"
            } else {
                ""
            };
            return Err(format!("{}: model_type `{other}` is not supported{help}", source.display()).into());
        }
    };
    let dtype = args.dtype.store().name();
    write_copied_card(
        source,
        target,
        &format!("Read and written again by burn-vlm {}, in {dtype}.", env!("CARGO_PKG_VERSION")),
    )?;
    if let Some(outputs) = outputs {
        write(&target.join("outputs.safetensors"), &outputs)?;
    }
    writeln!(std::io::stdout(), "{kind}: {} -> {}", source.display(), target.display())?;
    Ok(())
}

fn read_config(folder: &Path) -> Result<Value> {
    let file = folder.join("config.json");
    let text = std::fs::read_to_string(&file).map_err(|error| {
        format!("cannot read {}: {error}; SOURCE is a model's folder, a run's, or a GGUF file", file.display())
    })?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?)
}

/// The folder with the model: the one given, or `model` in that of a run.
fn model_in(folder: &Path) -> PathBuf {
    let inner = folder.join("model");
    let has = |folder: &Path| folder.join("config.json").is_file();
    if !has(folder) && has(&inner) { inner } else { folder.to_owned() }
}

/// Writes the model; what was written, read again, where its outputs are wanted.
fn write_model<M: Pretrained>(args: &ExportArgs, source: &Path, device: &Device) -> Result<Option<M>> {
    let dtype = args.dtype.store();
    let model = M::load_pretrained_with(source, device, &LoadOptions { dtype, ..LoadOptions::default() })?;
    let gguf = is_gguf(source);
    if gguf {
        // Before the config, with which a folder is complete.
        create_dir_all(&args.target)?;
        for (name, text) in gguf_words(source)? {
            write_atomic(&args.target.join(name), text.as_bytes())?;
        }
    }
    let companions = (!gguf).then(|| source.to_owned());
    let options = SaveOptions { dtype, max_shard_size: args.max_shard_size, companions };
    model.save_pretrained_with(&args.target, &options)?;
    drop(model);
    Ok(if args.outputs { Some(M::load_pretrained(&args.target, device)?) } else { None })
}

/// A named tensor, as little-endian bytes.
struct Output {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn floats<const D: usize>(name: impl Into<String>, tensor: Tensor<D>) -> Result<Output> {
    let name = name.into();
    let shape = tensor.dims().to_vec();
    let values = tensor.into_data().try_into_vec::<f32>().map_err(|error| format!("{name}: {error:?}"))?;
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(Output { name, dtype: Dtype::F32, shape, bytes })
}

/// Integers as `[n, width]`.
fn ints(name: impl Into<String>, values: &[i64], width: usize) -> Output {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Output { name: name.into(), dtype: Dtype::I64, shape: vec![values.len() / width, width], bytes }
}

fn write(path: &Path, outputs: &[Output]) -> Result<()> {
    let views = outputs
        .iter()
        .map(|output| Ok((output.name.as_str(), TensorView::new(output.dtype, output.shape.clone(), &output.bytes)?)))
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

/// What `--texts` lists.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    /// With the tokens that the tokenizer adds around a text.
    Text(String),
    /// As its template writes it; one that ends with a question, up to where the answer begins.
    Conversation(Vec<Said>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    role: Role,
    content: String,
}

fn read_texts(path: &Path) -> Result<Vec<Words>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let texts: Vec<Words> = serde_json::from_str(&text).map_err(|error| {
        format!(
            "{}: expected a JSON list of texts and of conversations, lists of {{\"role\", \"content\"}}: {error}",
            path.display()
        )
    })?;
    if texts.is_empty() { Err(format!("{}: the list is empty", path.display()).into()) } else { Ok(texts) }
}

/// Ids and logits of every text, one batch each.
fn of_texts(model: &LanguageModel, folder: &Path, texts: &[Words], device: &Device) -> Result<Vec<Output>> {
    let processor = Processor::text_from_folder(folder)?;
    let mut outputs = Vec::new();
    for (at, words) in texts.iter().enumerate() {
        let named = |error: &dyn std::fmt::Display| format!("--texts, entry {at}: {error}");
        let ids = match words {
            Words::Text(text) => {
                processor.tokenizer().encode_with_special_tokens(text).map_err(|error| named(&error))?
            }
            Words::Conversation(said) => {
                let turns: Vec<Turn> =
                    said.iter().map(|said| Turn { role: said.role, text: said.content.clone() }).collect();
                let answered = turns.last().is_some_and(|turn| turn.role == Role::Assistant);
                match answered {
                    true => processor.encode(&turns, &[], &EncodeOptions::default()).map(|encoded| encoded.ids),
                    false => processor.encode_prompt(&turns, &[]),
                }
                .map_err(|error| named(&error))?
            }
        };
        if ids.is_empty() {
            return Err(named(&"it has no token").into());
        }
        model.config().check_ids(std::slice::from_ref(&ids), &[])?;
        let ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
        let embeds = model.embed(tensor(&ids, ids.len(), device));
        let logits = model.logits(model.forward(embeds, &AttentionInput::contiguous(), None)?);
        outputs.extend([ints(format!("ids.{at}"), &ids, ids.len()), floats(format!("logits.{at}"), logits)?]);
    }
    Ok(outputs)
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

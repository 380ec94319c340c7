//! Which decoder a GGUF file holds: its `config.json`, and its tensors under the names of transformers.
//!
//! Unusual here, and easily missed:
//! - llama.cpp's conversion of `llama` files interleaves the two halves of each head's rows of q and k, for its own form of rotary
//!   positions; they are put back. `qwen2` and `gemma2` keep theirs;
//! - of `gemma2` the norms' weights are stored with 1 added, which is taken off;
//! - a table of embeddings may have a head beside it though the model is tied; `output.weight` decides, as it does in llama.cpp.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::header::{Header, Info, Value};

/// How a tensor of the file becomes the parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is the parameter.
    None,
    /// Rows of heads of this width are put back in order.
    Rows(usize),
    /// It is the parameter plus one.
    PlusOne,
}

/// A tensor under the name of its parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// In the file.
    pub info: Info,
    /// What is to be done with it.
    pub change: Change,
}

/// The decoders that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Llama,
    Qwen2,
    Gemma2,
}

/// Of a layer: the end of the name in the file, and that of the parameter.
type Names = [(&'static str, &'static str)];

const ATTENTION_AND_MLP: &Names = &[
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("attn_norm", "input_layernorm"),
];
const TWO_NORMS: &Names = &[("ffn_norm", "post_attention_layernorm")];
const FOUR_NORMS: &Names = &[
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];
/// The tensors outside of layers.
const OUTSIDE: &Names = &[
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];
/// Layers of Gemma 2 with 27 billion parameters, whose scores are scaled by the width of the stream, not of a head.
const LAYERS_OF_27B: u64 = 46;

/// A decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoder {
    /// As `config.json` would have it.
    pub config: Json,
    /// By the parameters' names.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Values of the metadata by key.
pub struct Keys<'a>(pub &'a BTreeMap<String, Value>);

impl Keys<'_> {
    fn wrong(key: &str, found: Option<&Value>, expected: &str) -> String {
        match found {
            None => format!("the metadata lacks `{key}`, expected {expected}"),
            Some(Value::Texts(list)) => format!("`{key}` is a list of {} texts, expected {expected}", list.len()),
            Some(Value::Numbers(list)) => format!("`{key}` is a list of {} numbers, expected {expected}", list.len()),
            Some(Value::Text(text)) => {
                let start: String = text.chars().take(60).collect();
                format!("`{key}` is {start:?}, expected {expected}")
            }
            Some(other) => format!("`{key}` is {other:?}, expected {expected}"),
        }
    }

    /// A whole number, if it is there.
    pub fn count(&self, key: &str) -> Result<Option<u64>, String> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(value)) => Ok(Some(*value)),
            // One for each layer.
            Some(Value::Numbers(list)) => match list.first().filter(|first| list.iter().all(|one| one == *first)) {
                Some(first) if *first >= 0.0 && first.fract() == 0.0 => Ok(Some(*first as u64)),
                _ => Err(Self::wrong(key, self.0.get(key), "the same whole number for all layers")),
            },
            other => Err(Self::wrong(key, other, "a whole number")),
        }
    }

    fn needed(&self, key: &str) -> Result<u64, String> {
        self.count(key)?
            .filter(|count| *count > 0)
            .ok_or_else(|| Self::wrong(key, self.0.get(key), "a positive number"))
    }

    fn float(&self, key: &str) -> Result<Option<f64>, String> {
        match self.0.get(key) {
            None => Ok(None),
            // In the file's own digits: 1e-5 is 9.999999747378752e-6 as an f32.
            Some(Value::Float(value)) => Ok(Some((*value as f32).to_string().parse().unwrap_or(*value))),
            Some(Value::Unsigned(value)) => Ok(Some(*value as f64)),
            other => Err(Self::wrong(key, other, "a number")),
        }
    }

    /// A text, if it is there.
    pub fn text(&self, key: &str) -> Result<Option<&str>, String> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            other => Err(Self::wrong(key, other, "a text")),
        }
    }

    /// True or false, if it is there.
    pub fn truth(&self, key: &str) -> Result<Option<bool>, String> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            other => Err(Self::wrong(key, other, "true or false")),
        }
    }

    /// A list of texts, if it is there.
    pub fn texts(&self, key: &str) -> Result<Option<&[String]>, String> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::Texts(list)) => Ok(Some(list)),
            other => Err(Self::wrong(key, other, "a list of texts")),
        }
    }

    /// A list of numbers, if it is there.
    pub fn numbers(&self, key: &str) -> Result<Option<&[f64]>, String> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::Numbers(list)) => Ok(Some(list)),
            other => Err(Self::wrong(key, other, "a list of numbers")),
        }
    }
}

impl Decoder {
    /// The decoder of a file.
    ///
    /// # Errors
    /// Which key or tensor is none of a decoder that is read, and what was expected.
    pub fn new(header: &Header) -> Result<Self, String> {
        let keys = Keys(&header.metadata);
        let architecture = keys.text("general.architecture")?.unwrap_or_default();
        let kind = match architecture {
            "llama" => Kind::Llama,
            "qwen2" => Kind::Qwen2,
            "gemma2" => Kind::Gemma2,
            other => {
                return Err(format!(
                    "`general.architecture` is {other:?}; decoders of llama, qwen2 and gemma2 can be read, and no projector of \
                     pictures (mmproj)"
                ));
            }
        };
        let config = config(kind, architecture, &keys, header)?;
        let heads = |name: &str| config[name].as_u64().unwrap_or(1) as usize;
        let widths = [("attn_q", heads("num_attention_heads")), ("attn_k", heads("num_key_value_heads"))];
        let mut tensors = BTreeMap::new();
        for (name, info) in &header.tensors {
            let Some(own) = parameter(kind, name) else {
                return Err(match name.as_str() {
                    "rope_freqs.weight" => {
                        "`rope_freqs.weight` stretches the rotary positions (Llama 3.1 and later), which is not \
                                            read out of GGUF: take the checkpoint's folder"
                            .to_owned()
                    }
                    _ => format!("`{name}` {:?} is no tensor of a {architecture} decoder", info.shape),
                });
            };
            let rotated = widths.iter().find(|(part, _)| name.split('.').nth(2) == Some(part));
            let change = match (kind, rotated) {
                (Kind::Llama, Some((_, heads))) => {
                    let rows = info.shape[0];
                    if !rows.is_multiple_of(heads * 2) {
                        return Err(format!(
                            "`{name}` has {rows} rows, expected a multiple of two for each of {heads} heads"
                        ));
                    }
                    Change::Rows(rows / heads)
                }
                (Kind::Gemma2, _) if name.ends_with("norm.weight") => Change::PlusOne,
                _ => Change::None,
            };
            tensors.insert(own, Tensor { info: info.clone(), change });
        }
        Ok(Self { config, tensors })
    }
}

/// The parameter that a tensor is.
fn parameter(kind: Kind, name: &str) -> Option<String> {
    if let Some((_, own)) = OUTSIDE.iter().find(|(stored, _)| *stored == name) {
        return Some((*own).to_owned());
    }
    let mut parts = name.strip_prefix("blk.")?.split('.');
    let (layer, part, end) = (parts.next()?, parts.next()?, parts.next()?);
    let norms = if kind == Kind::Gemma2 { FOUR_NORMS } else { TWO_NORMS };
    let (_, own) = ATTENTION_AND_MLP.iter().chain(norms).find(|(stored, _)| *stored == part)?;
    let known = parts.next().is_none() && ["weight", "bias"].contains(&end) && layer.parse::<usize>().is_ok();
    known.then(|| format!("model.layers.{layer}.{own}.{end}"))
}

fn config(kind: Kind, architecture: &str, keys: &Keys<'_>, header: &Header) -> Result<Json, String> {
    let key = |name: &str| format!("{architecture}.{name}");
    let needed = |name: &str| keys.needed(&key(name));
    let has = |name: &str| header.tensors.contains_key(name);
    let Some(table) = header.tensors.get("token_embd.weight").filter(|table| table.shape.len() == 2) else {
        return Err("the file lacks the matrix `token_embd.weight`".to_owned());
    };
    let (heads, hidden) = (needed("attention.head_count")?, needed("embedding_length")?);
    let width = match keys.count(&key("attention.key_length"))? {
        Some(width) => width,
        None => keys.count(&key("rope.dimension_count"))?.unwrap_or(hidden / heads),
    };
    if let Some(other) = keys.count(&key("attention.value_length"))?.filter(|other| *other != width) {
        return Err(format!("`{}` is {other}, expected {width}, as wide as keys", key("attention.value_length")));
    }
    if let Some(rotated) = keys.count(&key("rope.dimension_count"))?.filter(|rotated| *rotated != width) {
        return Err(format!(
            "`{}` is {rotated}, expected {width}: heads are rotated as a whole",
            key("rope.dimension_count")
        ));
    }
    let layers = needed("block_count")?;
    let id = |name: &str| keys.count(&format!("tokenizer.ggml.{name}_token_id"));
    let mut config = json!({
        "vocab_size": table.shape[0],
        "hidden_size": hidden,
        "intermediate_size": needed("feed_forward_length")?,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys.count(&key("attention.head_count_kv"))?.unwrap_or(heads),
        "head_dim": width,
        "max_position_embeddings": needed("context_length")?,
        "rms_norm_eps": keys.float(&key("attention.layer_norm_rms_epsilon"))?
            .ok_or_else(|| Keys::wrong(&key("attention.layer_norm_rms_epsilon"), None, "a number"))?,
        "rope_theta": keys.float(&key("rope.freq_base"))?.unwrap_or(10_000.0),
        "tie_word_embeddings": !has("output.weight"),
        "bos_token_id": id("bos")?,
        "eos_token_id": id("eos")?,
        "pad_token_id": id("padding")?,
    });
    let scaling = match keys.text(&key("rope.scaling.type"))?.unwrap_or("none") {
        "none" => None,
        "linear" => keys.float(&key("rope.scaling.factor"))?,
        other => {
            return Err(format!("`{}` is {other:?}, expected none or linear", key("rope.scaling.type")));
        }
    };
    if let Some(factor) = scaling.filter(|factor| *factor != 1.0) {
        config["rope_scaling"] = json!({ "rope_type": "linear", "factor": factor });
    }
    let (model_type, class, own) = match kind {
        Kind::Llama => {
            let own = json!({
                "hidden_act": "silu",
                "attention_bias": has("blk.0.attn_q.bias"),
                "mlp_bias": has("blk.0.ffn_up.bias"),
            });
            ("llama", "LlamaForCausalLM", own)
        }
        Kind::Qwen2 => ("qwen2", "Qwen2ForCausalLM", json!({ "hidden_act": "silu", "use_sliding_window": false })),
        Kind::Gemma2 => {
            let scalar = if layers == LAYERS_OF_27B { hidden / heads } else { width };
            let own = json!({
                "hidden_activation": "gelu_pytorch_tanh",
                "query_pre_attn_scalar": scalar,
                "sliding_window": keys.count(&key("attention.sliding_window"))?.unwrap_or(4096),
                "attn_logit_softcapping": keys.float(&key("attn_logit_softcapping"))?.unwrap_or(50.0),
                "final_logit_softcapping": keys.float(&key("final_logit_softcapping"))?.unwrap_or(30.0),
                "attention_bias": has("blk.0.attn_q.bias"),
            });
            ("gemma2", "Gemma2ForCausalLM", own)
        }
    };
    if let (Json::Object(config), Json::Object(own)) = (&mut config, own) {
        config.extend(own);
        config.insert("model_type".into(), json!(model_type));
        config.insert("architectures".into(), json!([class]));
        config.retain(|_, value| !value.is_null());
    }
    Ok(config)
}

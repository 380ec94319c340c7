//! Decoders: embeddings in, hidden states out, logits where they are wanted.
//!
//! A new backbone is one file here, with a configuration and a module like [`LlamaConfig`] and [`LlamaForCausalLm`], and one line of
//! the table below.

mod config;
mod decoder;
mod gemma2;
mod kv_cache;
mod llama;
mod mistral;
mod qwen2;
mod rope_scaling;

pub use config::{LayerType, TokenIds};
pub use decoder::{AttentionInput, Decoder, DecoderAttention, DecoderLayer, GatedMlp};
pub use gemma2::{Gemma2Config, Gemma2DecoderLayer, Gemma2ForCausalLm};
pub use kv_cache::{CacheSpan, KvCache};
pub use llama::{LlamaConfig, LlamaDecoderLayer, LlamaForCausalLm};
pub use mistral::{MistralConfig, MistralForCausalLm};
pub use qwen2::{Qwen2Config, Qwen2ForCausalLm};
pub use rope_scaling::RopeParameters;

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::count::LayerShape;
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Scope};
use crate::nn::fused::packed::is_packed;
use crate::nn::precision::activations;
use crate::nn::{HeadWeight, Precision, linear_cross_entropy};

/// Writes the enums of configurations and of decoders, and sends every question to the variant. Of a configuration it asks
/// `init_with`, `layer_shape`, `layer_window` and the fields that all have; of a module `model`, `lm_head`, `config`, and what
/// [`Quirks`] say.
macro_rules! backbones {
    ($($(#[$doc:meta])* $variant:ident($config:ty => $model:ty): $model_type:literal, $class:literal, $name:literal;)+) => {
        /// Configuration of a decoder, told apart by `model_type` as in the published `config.json`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "model_type")]
        pub enum LanguageConfig {
            $($(#[$doc])* #[serde(rename = $model_type)] $variant($config),)+
        }

        impl LanguageConfig {
            /// A decoder with random weights from the scope's seed.
            ///
            /// # Errors
            /// [`ModelError::Config`] where a key holds what this library cannot run.
            pub fn init_with(&self, scope: &Scope) -> Result<LanguageModel, ModelError> {
                match self {
                    $(Self::$variant(config) => Ok(LanguageModel::$variant(config.init_with(scope)?)),)+
                }
            }

            /// What people call the decoder.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }

            /// `architectures` and `model_type` of a folder that holds the decoder alone.
            pub fn architecture(&self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$variant(_) => ($class, $model_type),)+
                }
            }
        }

        /// A decoder with its language-model head.
        #[derive(Module, Debug)]
        pub enum LanguageModel {
            $($(#[$doc])* $variant($model),)+
        }

        impl LanguageModel {
            /// The configuration that it was built from.
            pub fn config(&self) -> LanguageConfig {
                match self {
                    $(Self::$variant(model) => LanguageConfig::$variant(model.config.clone()),)+
                }
            }
        }

        /// The same expression on the inside of every variant.
        macro_rules! each {
            ($value:expr, $inner:ident => $body:expr) => {
                match $value {
                    $(Self::$variant($inner) => $body,)+
                }
            };
        }
    };
}

// `model_type`, the class of transformers, what people say.
backbones! {
    /// Gemma 2, and Tower+ on it.
    Gemma2(Gemma2Config => Gemma2ForCausalLm): "gemma2", "Gemma2ForCausalLM", "Gemma 2";
    /// Llama 1 to 3, Vicuna.
    Llama(LlamaConfig => LlamaForCausalLm): "llama", "LlamaForCausalLM", "Llama";
    /// Mistral 7B.
    Mistral(MistralConfig => MistralForCausalLm): "mistral", "MistralForCausalLM", "Mistral";
    /// Qwen 1.5 and Qwen 2.
    Qwen2(Qwen2Config => Qwen2ForCausalLm): "qwen2", "Qwen2ForCausalLM", "Qwen 2";
}

// Behind the table, whose `each!` it uses.
mod resize;

/// In what a decoder may differ around its layers; the defaults are the plain form.
trait Quirks {
    /// The factor on the embeddings.
    fn embed_scale(&self) -> f64 {
        1.0
    }

    /// The soft-cap on the logits, where it is applied.
    fn final_softcap(&self) -> Option<f64> {
        None
    }

    /// Applies the soft-cap or not.
    fn set_final_softcap(&mut self, _on: bool) {}
}

impl LanguageConfig {
    /// A decoder with seeded random weights ([`DEFAULT_SEED`]).
    ///
    /// # Errors
    /// [`ModelError::Config`] where a key holds what this library cannot run.
    pub fn init(&self, device: &Device) -> Result<LanguageModel, ModelError> {
        self.init_with(&Scope::new(DEFAULT_SEED, device))
    }

    /// The sizes of the decoder's layers.
    pub fn layer_shape(&self) -> LayerShape {
        each!(self, config => config.layer_shape())
    }

    /// How many positions layer `layer` sees; `None` is all.
    pub fn layer_window(&self, layer: usize) -> Option<usize> {
        each!(self, config => config.layer_window(layer))
    }

    /// Width of embeddings and hidden states.
    pub fn hidden_size(&self) -> usize {
        each!(self, config => config.hidden_size)
    }

    /// Number of token ids.
    pub fn vocab_size(&self) -> usize {
        each!(self, config => config.vocab_size)
    }

    /// The same decoder with another number of token ids.
    pub fn with_vocab_size(mut self, rows: usize) -> Self {
        each!(&mut self, config => config.vocab_size = rows);
        self
    }

    /// Longest sequence.
    pub fn max_position_embeddings(&self) -> usize {
        each!(self, config => config.max_position_embeddings)
    }

    /// Whether the head is the transposed embedding table.
    pub fn tie_word_embeddings(&self) -> bool {
        each!(self, config => config.tie_word_embeddings)
    }

    /// Checks that every id has a row in the table of embeddings, but for `visual_ids`, which are never looked up. A device answers an
    /// id without a row with another row, with zeros, or with the program's end.
    ///
    /// # Errors
    /// [`ModelError::Input`], which names id and rows.
    pub fn check_ids(&self, prompts: &[Vec<u32>], visual_ids: &[i64]) -> Result<(), ModelError> {
        let rows = self.vocab_size();
        let beyond = |id: &&u32| **id as usize >= rows && !visual_ids.contains(&i64::from(**id));
        match prompts.iter().flatten().find(beyond) {
            None => Ok(()),
            Some(id) => Err(ModelError::Input(format!(
                "the id {id} has no row in the table of embeddings, which has {rows} (ids 0 to {}): tokenizer and model do not \
                 belong together",
                rows.saturating_sub(1)
            ))),
        }
    }

    /// Ids that end a text, as the config names them.
    pub fn eos_token_ids(&self) -> Vec<u32> {
        each!(self, config => config.eos_token_id.as_ref().map(TokenIds::to_vec).unwrap_or_default())
    }
}

impl LanguageModel {
    /// Width of embeddings and hidden states.
    pub fn hidden_size(&self) -> usize {
        each!(self, model => model.config.hidden_size)
    }

    /// Where its weights are.
    pub fn device(&self) -> Device {
        each!(self, model => model.model.embed_tokens.weight.lazy_device())
    }

    /// Embeddings as the first layer takes them: Gemma's are multiplied by `sqrt(hidden)` here, not in [`Self::forward`].
    ///
    /// # Shapes
    /// - `ids`: `[batch, tokens]`, each below `vocab_size`
    /// - returns `[batch, tokens, hidden]`
    pub fn embed(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let embeds = each!(self, model => model.model.embed_tokens.forward(ids));
        let scale = self.embed_scale();
        if scale == 1.0 { embeds } else { embeds * scale }
    }

    /// The factor in [`Self::embed`]: `sqrt(hidden)` for Gemma, 1 for the others.
    pub fn embed_scale(&self) -> f64 {
        each!(self, model => Quirks::embed_scale(model))
    }

    /// Hidden states after the final norm.
    ///
    /// # Shapes
    /// - `embeds`: `[batch, tokens, hidden]`, and so is the result
    ///
    /// # Errors
    /// [`ModelError::TooLong`] beyond the position table or the cache.
    pub fn forward(
        &self,
        embeds: Tensor<3>,
        input: &AttentionInput,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor<3>, ModelError> {
        each!(self, model => model.model.forward(embeds, input, cache))
    }

    /// Output of every layer: the embeddings, each layer's, and the normed last one in place of the last layer's own, as
    /// Hugging Face's `hidden_states` has them.
    ///
    /// # Shapes
    /// - `embeds` and every result: `[batch, tokens, hidden]`
    ///
    /// # Errors
    /// [`ModelError::TooLong`] beyond the position table.
    pub fn hidden_states(&self, embeds: Tensor<3>, input: &AttentionInput) -> Result<Vec<Tensor<3>>, ModelError> {
        each!(self, model => model.model.hidden_states(embeds, input))
    }

    /// Head without the soft-cap.
    ///
    /// # Shapes
    /// - `hidden`: `[.., hidden]`
    /// - returns `[.., vocab_size]`
    pub fn head<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        each!(self, model => model.model.head(hidden, model.lm_head.as_ref()))
    }

    /// The soft-cap on the logits (Gemma 2), `cap * tanh(logits / cap)`.
    pub fn final_softcap(&self) -> Option<f64> {
        each!(self, model => Quirks::final_softcap(model))
    }

    /// Turns the soft-cap on the logits off or, where the config has one, on again.
    pub fn set_final_softcap(&mut self, on: bool) {
        each!(self, model => Quirks::set_final_softcap(model, on));
    }

    /// Whether a training pass keeps the input of each layer only and runs the layer again when its gradient is due: far less
    /// memory, the same loss and gradients, one forward pass of the layers more.
    pub fn set_gradient_checkpointing(&mut self, on: bool) {
        each!(self, model => model.model.gradient_checkpointing = on);
    }

    /// What the layers and the head's loss compute in; the parameters keep their element type.
    pub fn set_precision(&mut self, precision: Precision) {
        each!(self, model => model.model.precision = precision);
    }

    /// See [`Self::set_precision`].
    pub fn precision(&self) -> Precision {
        each!(self, model => model.model.precision)
    }

    /// Logits, soft-capped where the model does so.
    ///
    /// # Shapes
    /// - `hidden`: `[.., hidden]`, after the final norm
    /// - returns `[.., vocab_size]`
    pub fn logits<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        let logits = self.head(hidden);
        match self.final_softcap() {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }

    /// Next-token loss of each target. Only rows that have a target go through the head, which for a small decoder is half of
    /// the work, and never are all of their logits held at once ([`linear_cross_entropy`]).
    ///
    /// # Shapes
    /// - `hidden`: `[batch, tokens, hidden]`, after the final norm
    /// - `target_rows`: `[n]`, flat index `row * tokens + position` of each position that predicts a target (the position
    ///   *before* the label's)
    /// - `targets`: `[n]`, the ids to be predicted
    /// - returns `[n]`, `-log p(target)`, in order
    pub fn target_losses(&self, hidden: Tensor<3>, target_rows: Tensor<1, Int>, targets: Tensor<1, Int>) -> Tensor<1> {
        let [batch, tokens, width] = hidden.dims();
        let rows = hidden.reshape([batch * tokens, width]).select(0, target_rows);
        let weight = each!(self, model => model.model.head_weight(model.lm_head.as_ref()));
        linear_cross_entropy(self.precision().cast(rows), weight, targets, self.final_softcap())
    }

    /// Logits of some ids alone, soft-capped where the model does so: as [`Self::logits`] has them, in f32, without the others.
    ///
    /// # Shapes
    /// - `hidden`: `[n, hidden]`, after the final norm; `ids`: `[k]`, each below `vocab_size`
    /// - returns `[n, k]`
    pub fn logits_of(&self, hidden: Tensor<2>, ids: Tensor<1, Int>) -> Tensor<2> {
        let weight = each!(self, model => model.model.head_weight(model.lm_head.as_ref()));
        if let HeadWeight::Table(weight) | HeadWeight::Linear(weight) = &weight
            && is_packed(weight.dtype())
        {
            // A part of such a weight is no weight.
            return self.logits(hidden).cast(DType::F32).select(1, ids);
        }
        let weight = match weight {
            HeadWeight::Table(table) => table.select(0, ids).transpose(),
            HeadWeight::Linear(weight) => weight.select(1, ids),
        };
        let logits = hidden.cast(DType::F32).matmul(weight.cast(DType::F32));
        match self.final_softcap() {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }

    /// Bytes of the keys and values of one token, of all layers.
    pub fn cache_bytes(&self) -> usize {
        let LayerShape { layers, kv_heads, head_dim, .. } = each!(self, model => model.config.layer_shape());
        2 * layers * kv_heads * head_dim * self.cache_type().size()
    }

    /// The element type of keys and values: that of activations, and f16 beside weights of 8-bit and 4-bit numbers.
    fn cache_type(&self) -> DType {
        let table = each!(self, model => model.model.embed_tokens.weight.val());
        if is_packed(table.dtype()) { DType::F16 } else { activations(table.dtype(), &table.device()) }
    }

    /// An empty KV cache for this model on `device`.
    pub fn new_cache(&self, batch: usize, max_tokens: usize, device: &Device) -> KvCache {
        let LayerShape { layers, kv_heads, head_dim, .. } = each!(self, model => model.config.layer_shape());
        KvCache::new(layers, [batch, max_tokens, kv_heads, head_dim], device, self.cache_type())
    }
}

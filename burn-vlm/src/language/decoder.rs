//! What today's decoders share: grouped-query attention with rotary positions, the gated MLP, and the loop over layers.
//!
//! Unusual here:
//! - a decoder is built from a [`DecoderShape`] and one closure that makes a layer, so a model's file holds its config and what
//!   is its own;
//! - one rotation table a model, in f64 until the last step; the layers share the angles of a forward;
//! - right padding needs no mask at all: causal attention never looks at what follows. Left padding does, see
//!   [`AttentionInput::left_padded`].

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Bool, Int, Tensor};

use super::KvCache;
use super::rope_scaling::RopeFrequencies;
use crate::error::ModelError;
use crate::init::{Fill, Scope};
use crate::nn::fused::packed::{held_beside, is_packed};
use crate::nn::precision::{activations, cast_to};
use crate::nn::{
    Activation, AttentionMask, AttentionOptions, Embedding, HeadWeight, Linear, Precision, RmsNorm, RopeAngles,
    RopeTable, attention, checkpoint, gated, rope,
};

/// Tokens, of all rows together, that go through the layers at once where a cache keeps what they leave. Of 2,304 wide rows with 9,216 inside, the
/// largest tensors are then 38 MB instead of 150 at 4,096 tokens; and products of fewer rows would read the weights more often than they use them.
const READ_AT_ONCE: usize = 1024;

/// Padding and positions of a batch.
#[derive(Debug, Clone, Default)]
pub struct AttentionInput {
    /// `[batch, cached + tokens]`, true where the token is real; `None` if all are, or if padding is on the right.
    pub padding: Option<Tensor<2, Bool>>,
    /// `[batch, tokens]`; `None` counts on from the cache.
    pub positions: Option<Tensor<2, Int>>,
    /// `[batch, cached + tokens]`, a number for each of the samples packed into a row, which do not see each other; `None` if
    /// each row is one sample.
    pub segments: Option<Tensor<2, Int>>,
    /// `[batch, cached + tokens]`, for trees in the place of rows (see [`AttentionInput::trees`]): behind the last token that grows from
    /// each.
    pub until: Option<Tensor<2, Int>>,
}

impl AttentionInput {
    /// No padding, or padding on the right.
    pub fn contiguous() -> Self {
        Self::default()
    }

    /// Whether it is [`Self::contiguous`].
    fn is_contiguous(&self) -> bool {
        let Self { padding, positions, segments, until } = self;
        padding.is_none() && positions.is_none() && segments.is_none() && until.is_none()
    }

    /// Padding on the left: the first real token of each row has position 0 (`cumsum(mask) - 1`).
    ///
    /// # Shapes
    /// - `mask`: `[batch, tokens]`, true where the token is real
    pub fn left_padded(mask: Tensor<2, Bool>) -> Self {
        let positions = (mask.clone().int().cumsum(1) - 1).clamp_min(0);
        Self { padding: Some(mask), positions: Some(positions), ..Self::default() }
    }

    /// Several samples in each row, one after the other; each begins at position 0.
    ///
    /// # Shapes
    /// - `segments`: `[batch, tokens]`, the same number for all tokens of a sample
    /// - `positions`: `[batch, tokens]`, counted within each sample, each below `max_position_embeddings`
    pub fn packed(segments: Tensor<2, Int>, positions: Tensor<2, Int>) -> Self {
        Self { positions: Some(positions), segments: Some(segments), ..Self::default() }
    }

    /// A tree in each row, every branch behind what it grows from: each token sees what it grows from and nothing beside it. No way from
    /// the root may be longer than the window of a layer that has one.
    ///
    /// # Shapes
    /// - `until`: `[batch, cached + tokens]`, the place in the row behind the last token that grows from each
    /// - `positions`: `[batch, tokens]`, counted along each way from the root, each below `max_position_embeddings`
    pub fn trees(until: Tensor<2, Int>, positions: Tensor<2, Int>) -> Self {
        Self { positions: Some(positions), until: Some(until), ..Self::default() }
    }
}

/// Sizes of a decoder's attention.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Whether q, k and v have a bias.
    pub qkv_bias: bool,
    /// Whether the output projection has a bias.
    pub out_bias: bool,
    /// Scale and soft-cap.
    pub options: AttentionOptions,
}

/// Grouped-query attention.
#[derive(Module, Debug)]
pub struct DecoderAttention {
    /// `hidden -> heads * head_dim`
    pub q_proj: Linear,
    /// `hidden -> kv_heads * head_dim`
    pub k_proj: Linear,
    /// `hidden -> kv_heads * head_dim`
    pub v_proj: Linear,
    /// `heads * head_dim -> hidden`
    pub o_proj: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    kv_heads: usize,
    #[module(skip)]
    head_dim: usize,
    #[module(skip)]
    options: AttentionOptions,
}

impl DecoderAttention {
    /// Attention with weights from `fill`.
    pub fn new(shape: &AttentionShape, fill: Fill, scope: &Scope) -> Self {
        let (hidden, wide, narrow) = (shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let bias = shape.qkv_bias.then_some(Fill::ZEROS);
        let out_bias = shape.out_bias.then_some(Fill::ZEROS);
        Self {
            q_proj: scope.linear("q_proj", hidden, wide, fill, bias),
            k_proj: scope.linear("k_proj", hidden, narrow, fill, bias),
            v_proj: scope.linear("v_proj", hidden, narrow, fill, bias),
            o_proj: scope.linear("o_proj", wide, hidden, fill, out_bias),
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
            options: shape.options,
        }
    }

    /// # Shapes
    /// - `x`: `[batch, tokens, hidden]`, and so is the result
    /// - `cache`: with the index of this layer in it
    pub fn forward(
        &self,
        x: Tensor<3>,
        angles: &RopeAngles,
        mask: &AttentionMask,
        cache: Option<(&mut KvCache, usize)>,
    ) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        let split = |x: Tensor<3>, heads: usize| x.reshape([batch, tokens, heads, self.head_dim]);
        let q = rope(split(self.q_proj.forward(x.clone()), self.heads), angles);
        let k = rope(split(self.k_proj.forward(x.clone()), self.kv_heads), angles);
        let v = split(self.v_proj.forward(x), self.kv_heads);
        // With a cache or without one, so that scores do not depend on what is kept.
        let [k, v] = if is_packed(self.k_proj.weight.val().dtype()) { [k, v].map(held_beside) } else { [k, v] };
        let (k, v) = match cache {
            Some((cache, layer)) => cache.append(layer, k, v, mask.window),
            None => (k, v),
        };
        let [_, keys, _, _] = k.dims();
        let y = attention(q, k, v, &mask.clone().of_last(keys), &self.options);
        self.o_proj.forward(y.reshape([batch, tokens, self.heads * self.head_dim]))
    }
}

/// Sizes of a decoder's MLP.
#[derive(Debug, Clone, Copy)]
pub struct MlpShape {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside.
    pub intermediate_size: usize,
    /// Of the gate.
    pub activation: Activation,
    /// Whether the three layers have biases.
    pub bias: bool,
}

/// `down(act(gate(x)) * up(x))`.
#[derive(Module, Debug)]
pub struct GatedMlp {
    /// Through the activation.
    pub gate_proj: Linear,
    /// The other factor.
    pub up_proj: Linear,
    /// Back to the residual stream.
    pub down_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl GatedMlp {
    /// An MLP with weights from `fill`.
    pub fn new(shape: &MlpShape, fill: Fill, scope: &Scope) -> Self {
        let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
        let bias = shape.bias.then_some(Fill::ZEROS);
        Self {
            gate_proj: scope.linear("gate_proj", hidden, inner, fill, bias),
            up_proj: scope.linear("up_proj", hidden, inner, fill, bias),
            down_proj: scope.linear("down_proj", inner, hidden, fill, bias),
            activation: shape.activation,
        }
    }

    /// # Shapes
    /// - `x`: `[batch, tokens, hidden]`, and so is the result
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let product = gated(self.activation, self.gate_proj.forward(x.clone()), self.up_proj.forward(x));
        self.down_proj.forward(product)
    }
}

/// One layer of a decoder.
pub trait DecoderLayer: Module + ModuleDisplay + 'static {
    /// # Shapes
    /// - `x`: `[batch, tokens, hidden]`, and so is the result
    fn forward(
        &self,
        x: Tensor<3>,
        angles: &RopeAngles,
        mask: &AttentionMask,
        cache: Option<(&mut KvCache, usize)>,
    ) -> Tensor<3>;

    /// How many positions the layer sees; `None` is all.
    fn window(&self) -> Option<usize>;
}

/// Embedding table, layers, final norm (checkpoint keys `model.*`).
#[derive(Module, Debug)]
pub struct Decoder<L: Module + ModuleDisplay> {
    /// `[vocab_size, hidden]`
    pub embed_tokens: Embedding,
    /// In order of application.
    pub layers: Vec<L>,
    /// After the last layer.
    pub norm: RmsNorm,
    /// Rotations; no parameters, and in no checkpoint.
    pub rope: RopeTable,
    /// Whether a training pass keeps the layers' inputs only, see [`checkpoint`].
    #[module(skip)]
    pub gradient_checkpointing: bool,
    /// Of the layers and the head's loss.
    #[module(skip)]
    pub precision: Precision,
}

/// Sizes of a decoder around its layers.
#[derive(Debug, Clone)]
pub(super) struct DecoderShape {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) layers: usize,
    pub(super) rope: RopeFrequencies,
    pub(super) norm_eps: f64,
    /// Whether the final norm scales by `1 + weight`.
    pub(super) norm_plus_one: bool,
    pub(super) initializer_range: f64,
    pub(super) tie_word_embeddings: bool,
}

impl DecoderShape {
    /// The decoder, under `model`, and its head, under `lm_head`, unless that is tied. `layer` makes layer `i` in its scope.
    pub(super) fn build<L: DecoderLayer>(
        &self,
        scope: &Scope,
        layer: impl Fn(usize, Fill, &Scope) -> L,
    ) -> (Decoder<L>, Option<Linear>) {
        let fill = Fill::Normal { std: self.initializer_range };
        let inner = scope.at("model");
        let layers = inner.at("layers");
        let positions = if scope.is_shapes_only() { 1 } else { self.rope.positions };
        let decoder = Decoder {
            embed_tokens: inner.embedding("embed_tokens", self.vocab_size, self.hidden_size, fill),
            layers: (0..self.layers).map(|index| layer(index, fill, &layers.at(index))).collect(),
            norm: RmsNorm::new(self.hidden_size, self.norm_eps, self.norm_plus_one, scope.device()),
            rope: RopeTable::with_frequencies(&self.rope.values, positions, scope.device()),
            gradient_checkpointing: false,
            precision: Precision::default(),
        };
        let head =
            (!self.tie_word_embeddings).then(|| scope.linear("lm_head", self.hidden_size, self.vocab_size, fill, None));
        (decoder, head)
    }
}

impl<L: DecoderLayer> Decoder<L> {
    /// Runs the layers and the norm; `collect` sees the input and every layer's output but the last.
    fn run(
        &self,
        embeds: Tensor<3>,
        input: &AttentionInput,
        mut cache: Option<&mut KvCache>,
        mut collect: impl FnMut(&Tensor<3>),
    ) -> Result<Tensor<3>, ModelError> {
        let [_, tokens, _] = embeds.dims();
        self.check_length(tokens, input, cache.as_deref())?;
        let offset = cache.as_ref().map_or(0, |cache| cache.len());
        let angles = match &input.positions {
            Some(positions) => self.rope.gather(positions.clone()),
            None => self.rope.contiguous(offset, tokens),
        };
        let mask = AttentionMask::causal()
            .with_key_padding(input.padding.clone())
            .with_segments(input.segments.clone())
            .with_until(input.until.clone());
        // Embeddings that somebody else made, in f32 say, take the element type of this model's activations.
        let dtype = activations(self.embed_tokens.weight.val().dtype(), &embeds.device());
        let mut x = self.precision.cast(cast_to(embeds, dtype));
        for (index, layer) in self.layers.iter().enumerate() {
            collect(&x);
            // The places of a tree are farther apart than its tokens.
            let mask = mask.clone().with_window(layer.window().filter(|_| input.until.is_none()));
            let cache = cache.as_deref_mut().map(|cache| (cache, index));
            x = if self.gradient_checkpointing && cache.is_none() {
                let (angles, mask) = (angles.clone().inner(), mask.inner());
                checkpoint(layer, x, move |layer, x| layer.forward(x, &angles, &mask, None))
            } else {
                layer.forward(x, &angles, &mask, cache)
            };
        }
        if let Some(cache) = cache {
            cache.advance(tokens);
        }
        Ok(cast_to(self.norm.forward(x), dtype))
    }

    /// Hidden states after the final norm; see [`LanguageModel::forward`](super::LanguageModel::forward).
    ///
    /// # Errors
    /// [`ModelError::TooLong`].
    pub fn forward(
        &self,
        embeds: Tensor<3>,
        input: &AttentionInput,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor<3>, ModelError> {
        match cache {
            Some(cache) => self.read(embeds, input, cache, READ_AT_ONCE),
            None => self.run(embeds, input, None, |_| {}),
        }
    }

    /// [`Self::forward`] with a cache, long prompts in pieces of `at_once` tokens of all rows together: what lies between two layers, and
    /// inside of them, is then that of a piece.
    fn read(
        &self,
        embeds: Tensor<3>,
        input: &AttentionInput,
        cache: &mut KvCache,
        at_once: usize,
    ) -> Result<Tensor<3>, ModelError> {
        let [batch, tokens, _] = embeds.dims();
        let piece = (at_once / batch.max(1)).max(1);
        if tokens <= piece || !input.is_contiguous() || cache.is_ragged() {
            return self.run(embeds, input, Some(cache), |_| {});
        }
        // Before a piece of what is too long has been read.
        self.check_length(tokens, input, Some(cache))?;
        let parts = (0..tokens).step_by(piece).map(|first| {
            let embeds = embeds.clone().narrow(1, first, piece.min(tokens - first));
            self.run(embeds, input, Some(&mut *cache), |_| {})
        });
        Ok(Tensor::cat(parts.collect::<Result<_, _>>()?, 1))
    }

    /// Whether `tokens` more have places.
    fn check_length(&self, tokens: usize, input: &AttentionInput, cache: Option<&KvCache>) -> Result<(), ModelError> {
        let (max, tokens_in_all) = (self.rope.max_positions(), cache.map_or(0, KvCache::len) + tokens);
        // A row of several samples may be longer than the longest sample, and a cache whose rows begin late longer than the longest row:
        // whoever packs them knows the lengths.
        let several = input.segments.is_some() || input.until.is_some();
        let packed = several || cache.is_some_and(KvCache::is_ragged);
        if !packed && tokens_in_all > max {
            return Err(ModelError::TooLong { what: "max_position_embeddings", tokens: tokens_in_all, max });
        }
        cache.map_or(Ok(()), |cache| cache.check(tokens))
    }

    /// See [`LanguageModel::hidden_states`](super::LanguageModel::hidden_states).
    ///
    /// # Errors
    /// [`ModelError::TooLong`].
    pub fn hidden_states(&self, embeds: Tensor<3>, input: &AttentionInput) -> Result<Vec<Tensor<3>>, ModelError> {
        let mut states = Vec::with_capacity(self.layers.len() + 1);
        let last = self.run(embeds, input, None, |x| states.push(x.clone()))?;
        states.push(last);
        Ok(states)
    }

    /// `hidden W^T`, with the head's own weight or, where it is tied, the embedding table.
    ///
    /// # Shapes
    /// - `hidden`: `[.., hidden]`
    /// - returns `[.., vocab_size]`
    pub fn head<const D: usize>(&self, hidden: Tensor<D>, lm_head: Option<&Linear>) -> Tensor<D> {
        match lm_head {
            Some(head) => head.forward(hidden),
            None => crate::nn::linear(hidden, self.embed_tokens.weight.val().transpose(), None),
        }
    }

    /// The weight of [`Self::head`], for losses that never hold all logits.
    pub fn head_weight(&self, lm_head: Option<&Linear>) -> HeadWeight {
        match lm_head {
            Some(head) => HeadWeight::Linear(head.weight.val()),
            None => HeadWeight::Table(self.embed_tokens.weight.val()),
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, Distribution, Tensor, Tolerance};

    use crate::error::ModelError;
    use crate::language::{AttentionInput, Gemma2Config, LanguageConfig, LanguageModel};

    /// Attention in another order of keys.
    const ROUNDING: f64 = 1e-5;
    const WIDTH: usize = 16;
    const POSITIONS: usize = 20;

    fn model(device: &Device) -> LanguageModel {
        let config = Gemma2Config {
            vocab_size: 50,
            hidden_size: WIDTH,
            intermediate_size: 24,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 8,
            max_position_embeddings: POSITIONS,
            sliding_window: Some(5),
            initializer_range: 0.3,
            ..Gemma2Config::default()
        };
        LanguageConfig::Gemma2(config).init(device).unwrap()
    }

    /// Pieces of any length leave the same states and the same cache as the whole.
    #[test]
    fn a_prompt_in_pieces_is_the_prompt() {
        let device = Device::flex();
        let whole = model(&device);
        let LanguageModel::Gemma2(inner) = &whole else { panic!("a Gemma 2") };
        let (decoder, input) = (&inner.model, AttentionInput::contiguous());
        for batch in [1, 3] {
            let embeds = Tensor::<3>::random([batch, 13, WIDTH], Distribution::Normal(0.0, 1.0), &device);
            let next = Tensor::<3>::random([batch, 1, WIDTH], Distribution::Normal(0.0, 1.0), &device);
            let run = |at_once: usize| {
                let mut cache = whole.new_cache(batch, POSITIONS, &device);
                let first = decoder.read(embeds.clone(), &input, &mut cache, at_once).unwrap();
                assert_eq!(cache.len(), 13);
                Tensor::cat(vec![first, decoder.forward(next.clone(), &input, Some(&mut cache)).unwrap()], 1)
            };
            let expected = run(usize::MAX).into_data();
            for at_once in [1, 4, 6, 13, 24, 39] {
                let tolerance = Tolerance::absolute(ROUNDING);
                run(at_once).into_data().assert_approx_eq::<f32>(&expected, tolerance);
            }
        }
    }

    /// What is too long is refused as a whole: no piece of it is in the cache.
    #[test]
    fn a_prompt_that_is_too_long_leaves_the_cache_as_it_was() {
        let device = Device::flex();
        let whole = model(&device);
        let LanguageModel::Gemma2(inner) = &whole else { panic!("a Gemma 2") };
        let input = AttentionInput::contiguous();
        for (room, tokens) in [(POSITIONS + 9, POSITIONS), (6, 6)] {
            let mut cache = whole.new_cache(1, room, &device);
            let embeds = |tokens| Tensor::<3>::zeros([1, tokens, WIDTH], &device);
            inner.model.forward(embeds(1), &input, Some(&mut cache)).unwrap();
            let error = inner.model.read(embeds(tokens), &input, &mut cache, 2).unwrap_err();
            assert!(matches!(error, ModelError::TooLong { tokens: in_all, .. } if in_all == tokens + 1), "{error}");
            assert_eq!(cache.len(), 1);
        }
    }
}

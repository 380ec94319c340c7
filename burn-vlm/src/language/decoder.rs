//! What today's decoders share: grouped-query attention with rotary positions, the gated MLP, and the loop over layers.
//!
//! Unusual here:
//! - one rotation table a model, in f64 until the last step; the layers share the angles of a forward;
//! - right padding needs no mask at all: causal attention never looks at what follows. Left padding does, see
//!   [`AttentionInput::left_padded`].

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Bool, Int, Tensor};

use super::KvCache;
use crate::error::ModelError;
use crate::init::{Fill, Scope};
use crate::nn::{
    Activation, AttentionMask, AttentionOptions, Embedding, Linear, RmsNorm, RopeAngles, RopeTable, attention, gated,
    rope,
};

/// Padding and positions of a batch.
#[derive(Debug, Clone, Default)]
pub struct AttentionInput {
    /// `[batch, cached + tokens]`, true where the token is real; `None` if all are, or if padding is on the right.
    pub padding: Option<Tensor<2, Bool>>,
    /// `[batch, tokens]`; `None` counts on from the cache.
    pub positions: Option<Tensor<2, Int>>,
}

impl AttentionInput {
    /// No padding, or padding on the right.
    pub fn contiguous() -> Self {
        Self::default()
    }

    /// Padding on the left: the first real token of each row has position 0 (`cumsum(mask) - 1`).
    ///
    /// # Shapes
    /// - `mask`: `[batch, tokens]`, true where the token is real
    pub fn left_padded(mask: Tensor<2, Bool>) -> Self {
        let positions = (mask.clone().int().cumsum(1) - 1).clamp_min(0);
        Self { padding: Some(mask), positions: Some(positions) }
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
        Self {
            q_proj: scope.linear("q_proj", hidden, wide, fill, bias),
            k_proj: scope.linear("k_proj", hidden, narrow, fill, bias),
            v_proj: scope.linear("v_proj", hidden, narrow, fill, bias),
            o_proj: scope.linear("o_proj", wide, hidden, fill, None),
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
        let (k, v) = match cache {
            Some((cache, layer)) => cache.append(layer, k, v),
            None => (k, v),
        };
        let y = attention(q, k, v, mask, &self.options);
        self.o_proj.forward(y.reshape([batch, tokens, self.heads * self.head_dim]))
    }
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
    pub fn new(hidden: usize, inner: usize, activation: Activation, fill: Fill, scope: &Scope) -> Self {
        Self {
            gate_proj: scope.linear("gate_proj", hidden, inner, fill, None),
            up_proj: scope.linear("up_proj", hidden, inner, fill, None),
            down_proj: scope.linear("down_proj", inner, hidden, fill, None),
            activation,
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
pub trait DecoderLayer: Module + ModuleDisplay {
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
        let offset = cache.as_ref().map_or(0, |cache| cache.len());
        let max = self.rope.max_positions();
        if offset + tokens > max {
            return Err(ModelError::TooLong { what: "max_position_embeddings", tokens: offset + tokens, max });
        }
        if let Some(cache) = &cache {
            cache.check(tokens)?;
        }
        let angles = match &input.positions {
            Some(positions) => self.rope.gather(positions.clone()),
            None => self.rope.contiguous(offset, tokens),
        };
        let mask = AttentionMask::causal().with_key_padding(input.padding.clone());
        let mut x = embeds;
        for (index, layer) in self.layers.iter().enumerate() {
            collect(&x);
            let mask = mask.clone().with_window(layer.window());
            let cache = cache.as_deref_mut().map(|cache| (cache, index));
            x = layer.forward(x, &angles, &mask, cache);
        }
        if let Some(cache) = cache {
            cache.advance(tokens);
        }
        Ok(self.norm.forward(x))
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
        self.run(embeds, input, cache, |_| {})
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
}

//! The router of Parrot's connector: which experts the words around an image ask for.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Int, Tensor};

use crate::error::ModelError;
use crate::init::{Fill, Scope};
use crate::nn::precision::cast_to;
use crate::nn::{AttentionMask, AttentionOptions, Linear, attention};

/// Finite, so that no NaN can arise; its exponential is exactly zero in every float type.
const EXCLUDED: f64 = -1e30;

/// The words that route.
#[derive(Debug, Clone)]
pub struct RoutingText {
    /// `[images, words, hidden]`: rows of the embedding table, without positions and without Gemma's scale.
    pub embeddings: Tensor<3>,
    /// `[images, words]`, true where the word counts. An image without any is routed by the zero vector: all experts alike.
    pub mask: Tensor<2, Bool>,
    /// Where images are cut into tiles; `None` where each row of the features is an image.
    pub tiles: Option<Tiles>,
}

/// Which rows of the features belong together. One routing an image, from its thumbnail.
#[derive(Debug, Clone)]
pub struct Tiles {
    /// `[images]`: the row of each image's thumbnail.
    pub thumbnail: Tensor<1, Int>,
    /// `[rows]`: the image of each row.
    pub owner: Tensor<1, Int>,
}

/// How the experts are mixed.
#[derive(Debug, Clone)]
pub struct Routing {
    /// `[images, hidden]`: what the gate saw, a mean of word embeddings.
    pub gating_input: Tensor<2>,
    /// `[images, experts]`, rows sum to 1.
    pub weights: Tensor<2>,
}

/// Attention from the image to the words, then the gate (checkpoint key `gate.weight`).
#[derive(Module, Debug)]
pub struct Router {
    /// `[hidden, experts]`
    pub gate: Linear,
    #[module(skip)]
    top_k: Option<usize>,
}

impl Router {
    pub(super) fn new(hidden: usize, experts: usize, top_k: Option<usize>, scope: &Scope) -> Self {
        let gate = scope.at("router").linear("gate", hidden, experts, Fill::torch_linear(hidden), None);
        Self { gate, top_k }
    }

    /// Equations 2 and 3.
    ///
    /// # Shapes
    /// - `query`: `[rows of the features, hidden]`
    ///
    /// # Errors
    /// [`ModelError::Input`] unless there is one text for each image.
    pub fn forward(&self, query: Tensor<2>, text: &RoutingText) -> Result<Routing, ModelError> {
        let query = match &text.tiles {
            Some(tiles) => query.select(0, tiles.thumbnail.clone()),
            None => query,
        };
        let ([images, hidden], [texts, words, width]) = (query.dims(), text.embeddings.dims());
        if images != texts || hidden != width || text.mask.dims() != [texts, words] {
            let message = format!(
                "routing: {images} images of width {hidden} with text embeddings {:?} and a mask {:?}; expected \
                 [{images}, words, {hidden}] and [{images}, words]",
                text.embeddings.dims(),
                text.mask.dims()
            );
            return Err(ModelError::Input(message));
        }
        // One head as wide as the model.
        let words = cast_to(text.embeddings.clone(), query.dtype()).unsqueeze_dim::<4>(2);
        let query = query.reshape([images, 1, 1, hidden]);
        let mask = AttentionMask::full().with_key_padding(Some(text.mask.clone()));
        let mixed = attention(query, words.clone(), words, &mask, &AttentionOptions::new(hidden));
        let gating_input = mixed.reshape([images, hidden]);
        let weights = self.probabilities(self.gate.forward(gating_input.clone()));
        Ok(Routing { gating_input, weights })
    }

    /// Softmax over all experts, or over the `k` largest logits (and those that tie with the last of them).
    fn probabilities(&self, logits: Tensor<2>) -> Tensor<2> {
        let [_, experts] = logits.dims();
        match self.top_k {
            Some(k) if (1..experts).contains(&k) => {
                let last = logits.clone().detach().topk(k, 1).narrow(1, k - 1, 1).expand(logits.dims());
                let excluded = logits.clone().lower(last);
                softmax(logits.mask_fill(excluded, EXCLUDED), 1)
            }
            _ => softmax(logits, 1),
        }
    }
}

//! Parrot's connector (Sun et al. 2025): language experts that a text-guided router mixes into the visual tokens.
//!
//! ```text
//! H = projector(features)                       LLaVA's two layers
//! g = softmax(h_cls H_t^T / sqrt(C)) H_t        eq. 2: the image's query looks at the words
//! P = softmax(W g)                              eq. 3: one distribution over the experts for each image
//! M = sum_e P_e expert_e(H)                     eq. 4
//! G = M + w H   (code)   or   H + w M   (paper, eq. 5)
//! ```
//!
//! Unusual here:
//! - paper and published code differ in the residual, the experts and what they say of top-k: each is a named switch, and
//!   the defaults are the code's, which is what published checkpoints need;
//! - the attention has no projections, heads or norms: queries, keys and values are embeddings as they are;
//! - the words carry no positions, so their order cannot matter;
//! - one routing for all tokens of an image; the tiles of an image share the one of its thumbnail;
//! - all experts run, one after the other into one sum, so the peak is one expert's activations.

mod experts;
mod residual;
mod router;
mod scope;

pub use experts::{Expert, ExpertKind};
pub use residual::Residual;
pub use router::{Router, Routing, RoutingText, Tiles};
pub use scope::{TextScope, Turn};

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{ConnectorConfig, ConnectorKeys, ConnectorShape, MlpConnector, Projector};
use crate::error::ModelError;
use crate::init::Scope;
use crate::vlm::VlmConfig;

/// What stands for the image when the words are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoutingQuery {
    /// Token 0: the class token of an encoder that has one (`vision_feature_select_strategy` = `full`).
    #[default]
    Cls,
    /// The last token: the pooled head's output (`visual_tokens.pooled_head`), for SigLIP.
    Pooled,
    /// The mean of all tokens after the projector, for any encoder.
    Mean,
}

/// The switches of a [`ParrotConnector`]. The defaults are those of the authors' code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParrotConfig {
    /// Number of experts, one a language in the paper.
    pub num_experts: usize,
    /// Width inside an expert.
    pub intermediate_size: usize,
    /// Shape of an expert.
    pub expert: ExpertKind,
    /// How the mixture and its input are joined.
    pub residual: Residual,
    /// The factor in [`Residual`].
    pub residual_weight: f64,
    /// Only the `k` most likely experts of an image count, reweighted to sum to one; absent, all do. Not in the authors' code,
    /// whose `moe_top_k` is never read. Saves no work: other images of the batch may need the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// What stands for the image.
    pub query: RoutingQuery,
    /// Which words route in training.
    pub text_scope: TextScope,
    /// Whether the query token (class token or pooled output) is a visual token too; `mean` has none to drop.
    pub keep_cls: bool,
    /// Stage 1: the projector alone, experts and router unused.
    pub bypass: bool,
}

impl Default for ParrotConfig {
    fn default() -> Self {
        Self {
            num_experts: 6,
            intermediate_size: 4096,
            expert: ExpertKind::Swiglu,
            residual: Residual::Code,
            residual_weight: 0.1,
            top_k: None,
            query: RoutingQuery::Cls,
            text_scope: TextScope::MaskedTokens,
            keep_cls: true,
            bypass: false,
        }
    }
}

impl ParrotConfig {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`ModelError::Config`].
    pub fn validate(&self) -> Result<(), ModelError> {
        let error = |key, value: String, expected: &str| Err(ModelError::config("parrot", key, value, expected));
        if self.num_experts == 0 {
            return error("num_experts", "0".into(), "at least 1");
        }
        if self.intermediate_size == 0 {
            return error("intermediate_size", "0".into(), "at least 1");
        }
        if let Some(k) = self.top_k.filter(|k| *k == 0 || *k > self.num_experts) {
            return error("top_k", k.to_string(), &format!("absent, or 1..={}", self.num_experts));
        }
        if !self.residual_weight.is_finite() {
            return error("residual_weight", self.residual_weight.to_string(), "a finite number");
        }
        Ok(())
    }

    /// Whether the query token is no visual token.
    pub fn drops_query(&self) -> bool {
        !self.keep_cls && self.query != RoutingQuery::Mean
    }

    /// A connector as PyTorch's `nn.Linear` starts, which is what the authors train from. [`Self::validate`] says whether the
    /// numbers make sense.
    pub fn init_with(&self, shape: &ConnectorShape, scope: &Scope) -> ParrotConnector {
        let hidden = shape.hidden;
        ParrotConnector {
            projector: MlpConnector::new(shape, &scope.at("projector")),
            router: Router::new(hidden, self.num_experts, self.top_k, scope),
            experts: experts::experts(self, hidden, scope),
            config: self.clone(),
        }
    }
}

impl ConnectorKeys for ParrotConfig {
    fn output_tokens(&self, tokens: usize) -> usize {
        tokens - usize::from(self.drops_query()).min(tokens)
    }

    fn validate(&self, model: &VlmConfig) -> Result<(), ModelError> {
        self.validate()?;
        let error = |found: String, expected: &str| Err(ModelError::config("vlm", "connector.query", found, expected));
        if model.is_tiled() && self.query != RoutingQuery::Mean {
            let found = format!("{:?}", self.query).to_lowercase();
            return error(found, "`mean` (of the thumbnail's tokens): tiles are patches alone");
        }
        match self.query {
            RoutingQuery::Cls if !model.keeps_class_token() => error(
                "cls".into(),
                "`pooled` or `mean`, or an encoder with a class token and vision_feature_select_strategy `full`",
            ),
            RoutingQuery::Pooled if !model.visual_tokens.pooled_head => {
                error("pooled".into(), "`cls` or `mean`, or visual_tokens.pooled_head = true")
            }
            _ => Ok(()),
        }
    }
}

/// What comes out of a [`ParrotConnector`].
#[derive(Debug, Clone)]
pub struct ParrotOutput {
    /// `[n, visual tokens, hidden]`
    pub tokens: Tensor<3>,
    /// How the experts were mixed; `None` where they were bypassed.
    pub routing: Option<Routing>,
}

/// Projector, router, experts.
#[derive(Module, Debug)]
pub struct ParrotConnector {
    /// Features to the decoder's width.
    pub projector: MlpConnector,
    /// Words to a distribution over the experts.
    pub router: Router,
    /// In the order of the router's outputs.
    pub experts: Vec<Expert>,
    /// The switches.
    #[module(skip)]
    pub config: ParrotConfig,
}

impl ParrotConnector {
    /// # Shapes
    /// - `features`: `[n, tokens, d_vision]`
    /// - returns `tokens` `[n, tokens, hidden]`, one less where the query is not kept
    ///
    /// # Errors
    /// [`ModelError::Input`] for experts without text, or text of another number of images.
    pub fn forward(&self, features: Tensor<3>, text: Option<&RoutingText>) -> Result<ParrotOutput, ModelError> {
        let (query, tokens) = self.split_query(self.projector.forward(features));
        if self.config.bypass {
            return Ok(ParrotOutput { tokens, routing: None });
        }
        let text = text.ok_or_else(|| {
            ModelError::Input(
                "Parrot's experts are routed by the text around the image: give the connector a `RoutingText`, \
                 or call `Vlm::embed`, which makes one"
                    .into(),
            )
        })?;
        let routing = self.router.forward(query, text)?;
        let weights = match &text.tiles {
            Some(tiles) => routing.weights.clone().select(0, tiles.owner.clone()),
            None => routing.weights.clone(),
        };
        let mixture = experts::mix(&self.experts, tokens.clone(), weights);
        let tokens = self.config.residual.join(tokens, mixture, self.config.residual_weight);
        Ok(ParrotOutput { tokens, routing: Some(routing) })
    }

    /// The routing alone; no expert runs.
    ///
    /// # Shapes
    /// - `features`: `[n, tokens, d_vision]`
    ///
    /// # Errors
    /// [`ModelError::Input`] for text of another number of images.
    pub fn route(&self, features: Tensor<3>, text: &RoutingText) -> Result<Routing, ModelError> {
        let (query, _) = self.split_query(self.projector.forward(features));
        self.router.forward(query, text)
    }

    /// The query of each image, `[n, hidden]`, and its visual tokens, `[n, tokens, hidden]`.
    fn split_query(&self, projected: Tensor<3>) -> (Tensor<2>, Tensor<3>) {
        let [n, count, hidden] = projected.dims();
        let (at, rest) = match self.config.query {
            RoutingQuery::Mean => return (projected.clone().mean_dim(1).reshape([n, hidden]), projected),
            RoutingQuery::Cls => (0, 1),
            RoutingQuery::Pooled => (count - 1, 0),
        };
        let query = projected.clone().narrow(1, at, 1).reshape([n, hidden]);
        let tokens = if self.config.keep_cls { projected } else { projected.narrow(1, rest, count - 1) };
        (query, tokens)
    }
}

impl Projector for ParrotConnector {
    fn accepts(config: &ConnectorConfig) -> bool {
        matches!(config, ConnectorConfig::Parrot(_))
    }

    fn from_config(config: &ConnectorConfig, shape: &ConnectorShape, scope: &Scope) -> Result<Self, ModelError> {
        match config {
            ConnectorConfig::Parrot(parrot) => Ok(parrot.init_with(shape, scope)),
            other => Err(ModelError::config("vlm", "connector", other, "`parrot`")),
        }
    }

    fn config(&self) -> ConnectorConfig {
        ConnectorConfig::Parrot(self.config.clone())
    }

    fn input_width(&self) -> usize {
        self.projector.input_width()
    }

    fn output_width(&self) -> usize {
        self.projector.output_width()
    }

    fn connect(&self, features: Tensor<3>, text: Option<&RoutingText>) -> Result<Tensor<3>, ModelError> {
        Ok(self.forward(features, text)?.tokens)
    }

    fn text_scope(&self) -> Option<TextScope> {
        Some(self.config.text_scope)
    }

    fn reads_text(&self) -> bool {
        !self.config.bypass
    }

    /// LLaVA's two layers alone, the query's token among their results.
    fn project(&self, features: Tensor<3>) -> Result<Tensor<3>, ModelError> {
        Ok(self.projector.forward(features))
    }

    fn route(&self, features: Tensor<3>, text: &RoutingText) -> Result<Option<Routing>, ModelError> {
        if self.config.bypass { Ok(None) } else { self.route(features, text).map(Some) }
    }

    fn experts(&self, features: Tensor<3>) -> Result<Vec<Tensor<3>>, ModelError> {
        let tokens = self.projector.forward(features);
        Ok(self.experts.iter().map(|expert| expert.forward(tokens.clone())).collect())
    }

    fn set_bypass(&mut self, bypass: bool) {
        self.config.bypass = bypass;
    }
}

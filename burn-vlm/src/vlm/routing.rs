//! Showing a connector the words around each image.

use burn::tensor::{Bool, Int, Tensor};

use super::{Vlm, VlmInput};
use crate::connector::{Projector, Routing, RoutingText};
use crate::error::ModelError;
use crate::vision::VisionTower;

impl<T: VisionTower, P: Projector> Vlm<T, P> {
    /// The same model with the experts of its connector bypassed (Parrot's stage 1) or not (stage 2); no other connector has
    /// any.
    pub fn with_bypassed_experts(mut self, bypass: bool) -> Self {
        self.multi_modal_projector.set_bypass(bypass);
        self.config.connector = self.connector_config();
        self
    }

    /// How the experts of a connector that reads text are mixed for each image of the batch; `None` for other connectors and
    /// batches without images. No expert runs.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn routing(&self, input: &VlmInput) -> Result<Option<Routing>, ModelError> {
        let Some(features) = &input.features else { return Ok(None) };
        if !self.multi_modal_projector.reads_text() {
            return Ok(None);
        }
        let words = self.words(input, features.dims()[0])?;
        let features = self.noisy(features.clone(), input.noise_seed)?;
        self.multi_modal_projector.route(features, &words.text)
    }

    /// [`Self::embed`] through a connector that reads text. The words are looked up once, for the router and for the decoder.
    pub(super) fn embed_routed(&self, input: &VlmInput, features: Tensor<3>) -> Result<Tensor<3>, ModelError> {
        let words = self.words(input, features.dims()[0])?;
        let features = self.noisy(features, input.noise_seed)?;
        let visual = self.multi_modal_projector.connect(features, Some(&words.text))?;
        let visual = self.packed(visual, input)?;
        self.scatter(words.embeddings, words.places, words.positions, visual)
    }

    /// [`Self::visual_tokens`] of a connector that reads text.
    pub(super) fn routed_visual_tokens(&self, input: &VlmInput, features: Tensor<3>) -> Result<Tensor<3>, ModelError> {
        let words = self.words(input, features.dims()[0])?;
        let features = self.noisy(features, input.noise_seed)?;
        let visual = self.multi_modal_projector.connect(features, Some(&words.text))?;
        self.packed(visual, input)
    }

    fn words(&self, input: &VlmInput, rows_of_features: usize) -> Result<Words, ModelError> {
        let positions = self.places(input)?;
        let found = positions.as_ref().map_or(0, |positions| positions.dims()[0]);
        if input.packing.is_none() {
            self.check_image_tokens(found, rows_of_features, self.config.num_visual_tokens())?;
        }
        let Some(positions) = positions else {
            return Err(ModelError::Input("features of no image: leave `features` out".into()));
        };
        let (embeddings, places) = self.embed_text(input.ids.clone());
        let chosen = match (&input.routing_text, &input.attention.padding) {
            (Some(mask), _) | (None, Some(mask)) => {
                check_mask(mask, input.ids.dims())?.bool_and(places.clone().bool_not())
            }
            (None, None) => places.clone().bool_not(),
        };
        // The router takes the table's own rows.
        let scale = self.language_model.embed_scale();
        let raw = if scale == 1.0 { embeddings.clone() } else { embeddings.clone() / scale };
        let device = positions.device();
        let (first, tiles) = match &input.packing {
            Some(packing) => (positions.clone().select(0, packing.first_tokens(&device)), Some(packing.tiles(&device))),
            None => {
                let shape = [rows_of_features, found / rows_of_features.max(1)];
                (positions.clone().reshape(shape).narrow(1, 0, 1).reshape([rows_of_features]), None)
            }
        };
        // The row of the batch in which each image's first token stands.
        let rows: Tensor<1, Int> = first / input.ids.dims()[1] as i64;
        let text = RoutingText { embeddings: raw.select(0, rows.clone()), mask: chosen.select(0, rows), tiles };
        Ok(Words { text, embeddings, places, positions })
    }
}

/// The text of a batch, for the router and for the decoder.
struct Words {
    text: RoutingText,
    /// `[batch, tokens, hidden]`
    embeddings: Tensor<3>,
    /// `[batch, tokens]`, true at image tokens.
    places: Tensor<2, Bool>,
    positions: Tensor<1, Int>,
}

fn check_mask(mask: &Tensor<2, Bool>, expected: [usize; 2]) -> Result<Tensor<2, Bool>, ModelError> {
    if mask.dims() == expected {
        return Ok(mask.clone());
    }
    Err(ModelError::Input(format!("the words that route are a mask of {:?}, the ids are {expected:?}", mask.dims())))
}

//! The vision-language model: vision tower x connector x language model (LLaVA's composition, TowerVision's too).
//!
//! Unusual here:
//! - visual tokens are scattered onto the places of the image token, so shapes are static and text-only rows need no path of
//!   their own;
//! - the way of an image is cut in two: [`Vlm::encode_images`] is deterministic, so the features of a frozen tower can be
//!   computed once and fed again, and [`Vlm::connect`] adds what changes from step to step (noise) and what is trained;
//! - Gemma's `sqrt(hidden)` on visual tokens is the switch `scale_visual_embeds`: wrong, a model still writes fluent text,
//!   about another picture;
//! - tower and connector are types: this library's enums, which a config chooses from, or anybody's modules with
//!   [`VisionTower`] and [`Projector`];
//! - tiled pictures (LLaVA-NeXT) take the same way, a tile like a picture; a [`Packing`] then says which of the tiles' tokens
//!   stands where. It also leaves out the padding of pictures with grids of their own (NaFlex);
//! - the frames of videos (LLaVA-OneVision) take it too, and are pooled in the packing, behind the connector.

mod config;
mod encode_media;
mod media;
mod onevision;
mod packing;
mod resize;
mod routing;

pub use burn_vlm_base::tiling;

pub use config::{FeatureLayer, SelectStrategy, VisualTokens, VlmConfig, VlmType};
pub use media::Medium;
pub use onevision::{NewlinePosition, PoolMode, default_pinpoints};
pub use packing::{Packing, VisualFeatures};

use burn::module::{Module, ModuleDisplay, Param};
use burn::tensor::{Bool, Device, IndexingUpdateOp, Int, Tensor, TensorData};

use crate::connector::{Connector, ConnectorConfig, Projector};
use crate::error::ModelError;
use crate::init::{DEFAULT_SEED, Scope, seeded_normal};
use crate::language::{AttentionInput, LanguageModel};
use crate::nn::Precision;
use crate::nn::precision::cast_to;
use crate::vision::{PatchPixels, VisionEncoder, VisionFeatures, VisionTower};

/// Added to the mean square of a feature vector before its root.
const NORMALIZE_EPS: f64 = 1e-6;

/// A vision-language model. The plain `Vlm` is made of this library's parts, whichever its config names; `Vlm<T, P>` of any.
///
/// ```no_run
/// # use burn::tensor::Device;
/// # use burn_vlm::{checkpoint::Pretrained, connector::Projector, vision::VisionEncoder, vlm::Vlm};
/// # fn mine<Gated: Projector>(folder: &std::path::Path, gated: Gated) -> Result<(), Box<dyn std::error::Error>> {
/// let device = Device::default();
/// let plain = Vlm::load_pretrained(folder, &device)?;
/// let model = plain.with_projector(gated)?; // the same tower and decoder, a connector of your own
/// model.save_pretrained(folder, Default::default())?;
/// let again = Vlm::<VisionEncoder, Gated>::load_pretrained(folder, &device)?;
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Vlm<T: Module + ModuleDisplay = VisionEncoder, P: Module + ModuleDisplay = Connector> {
    /// Pixels to features.
    pub vision_tower: T,
    /// Features to embeddings.
    pub multi_modal_projector: P,
    /// Embeddings to text.
    pub language_model: LanguageModel,
    /// The embedding that ends each row of a tiled picture, and a video, `[hidden]`; `None` where pictures are not tiled.
    pub image_newline: Option<Param<Tensor<1>>>,
    /// What the model was built from.
    #[module(skip)]
    pub config: VlmConfig,
    /// Pictures or tiles that go through the vision tower at a time; `None` is all of a batch.
    #[module(skip)]
    pub images_per_chunk: Option<usize>,
}

/// One batch for [`Vlm::forward`].
#[derive(Debug, Clone)]
pub struct VlmInput {
    /// `[batch, tokens]`, each image expanded to `num_visual_tokens` image tokens, a tiled one to `num_image_tokens`, a video to
    /// `num_video_tokens` video tokens.
    pub ids: Tensor<2, Int>,
    /// `[images, num_feature_tokens, d_vision]` from [`Vlm::encode_images`], in the order in which the images appear in
    /// `ids`, row by row; `None` if no row has one, or `tokens` are there. Of tiles and frames, see [`Vlm::encode_media`].
    pub features: Option<Tensor<3>>,
    /// How tiles and frames become pictures and videos, or pictures lose their padding; `None` where each of `features` is a picture.
    pub packing: Option<Packing>,
    /// `[1, visual_tokens, hidden]` from [`Vlm::media_tokens`], in place of `features`.
    pub tokens: Option<Tensor<3>>,
    /// Flat indices of the image and video tokens in `ids`, `row * tokens + position`; `None` reads the ids back from the device.
    pub image_positions: Option<Tensor<1, Int>>,
    /// `[batch, tokens]`, true for the words that route a connector which [reads text](Projector::reads_text); image tokens
    /// never do. `None` lets every word route that `attention.padding` calls real: right for prompts, but in training on
    /// right-padded rows without that mask, padding and answers would route too. Other connectors ignore it.
    pub routing_text: Option<Tensor<2, Bool>>,
    /// Seed of the noise on the features; `None` (evaluation) adds none.
    pub noise_seed: Option<u64>,
    /// Padding and positions.
    pub attention: AttentionInput,
}

impl VlmInput {
    /// A batch without images, padding on the right or none.
    pub fn new(ids: Tensor<2, Int>) -> Self {
        Self {
            ids,
            features: None,
            packing: None,
            tokens: None,
            image_positions: None,
            routing_text: None,
            noise_seed: None,
            attention: AttentionInput::contiguous(),
        }
    }

    /// With features of the images in `ids`.
    pub fn with_features(mut self, features: impl Into<VisualFeatures>) -> Self {
        VisualFeatures { features: self.features, packing: self.packing, tokens: self.tokens } = features.into();
        self
    }
}

impl<T: VisionTower, P: Projector> Vlm<T, P> {
    /// A model from parts, which may come from anywhere; `config` says how they meet. Its `vision_config`, `text_config`
    /// and `connector` are replaced by the parts' own. The newline of tiled pictures is new.
    ///
    /// # Errors
    /// [`ModelError::Width`] where the connector does not fit its neighbours, and what [`VlmConfig::validate`] finds.
    pub fn from_parts(
        vision_tower: T,
        multi_modal_projector: P,
        mut language_model: LanguageModel,
        config: &VlmConfig,
    ) -> Result<Self, ModelError> {
        let mut config =
            VlmConfig { vision_config: vision_tower.config(), text_config: language_model.config(), ..config.clone() };
        config.connector = connector_config(&multi_modal_projector, &config);
        config.validate()?;
        check_width("visual features", config.feature_width(), multi_modal_projector.input_width())?;
        check_width("the connector's tokens", multi_modal_projector.output_width(), language_model.hidden_size())?;
        language_model.set_final_softcap(config.softcaps_logits());
        let image_newline = config.init_image_newline(&Scope::new(DEFAULT_SEED, &language_model.device()));
        Ok(Self { vision_tower, multi_modal_projector, language_model, image_newline, config, images_per_chunk: None })
    }

    /// The same model with another connector; everything else stays.
    ///
    /// # Errors
    /// As [`Self::from_parts`].
    pub fn with_projector<Q: Projector>(self, projector: Q) -> Result<Vlm<T, Q>, ModelError> {
        let model = Vlm::from_parts(self.vision_tower, projector, self.language_model, &self.config)?;
        Ok(Vlm { image_newline: self.image_newline, images_per_chunk: self.images_per_chunk, ..model })
    }

    /// The same model with another vision tower; everything else stays.
    ///
    /// # Errors
    /// As [`Self::from_parts`].
    pub fn with_tower<U: VisionTower>(self, tower: U) -> Result<Vlm<U, P>, ModelError> {
        let model = Vlm::from_parts(tower, self.multi_modal_projector, self.language_model, &self.config)?;
        Ok(Vlm { image_newline: self.image_newline, images_per_chunk: self.images_per_chunk, ..model })
    }

    /// What a config says of the connector as it is now.
    pub(crate) fn connector_config(&self) -> ConnectorConfig {
        connector_config(&self.multi_modal_projector, &self.config)
    }

    /// Turns activation checkpointing of the vision tower and of the decoder on or off, see
    /// [`LanguageModel::set_gradient_checkpointing`].
    pub fn set_gradient_checkpointing(&mut self, on: bool) {
        self.vision_tower.set_gradient_checkpointing(on);
        self.language_model.set_gradient_checkpointing(on);
    }

    /// What the vision tower, the connector and the decoder compute in, see [`LanguageModel::set_precision`]. (A connector
    /// that reads text keeps its parameters' element type.)
    pub fn set_precision(&mut self, precision: Precision) {
        self.vision_tower.set_precision(precision);
        self.language_model.set_precision(precision);
    }

    /// The features that the connector takes: chosen layers, first token dropped or kept, patches pooled, pooled output
    /// appended, normalised, as the config says. Deterministic. All pictures of the batch at once, or
    /// [`images_per_chunk`](Self::images_per_chunk) at a time.
    ///
    /// # Shapes
    /// - `pixels`: `[images, channels, image_size, image_size]`
    /// - returns `[images, num_feature_tokens, d_vision]`
    ///
    /// # Errors
    /// [`ModelError::Pixels`] for another shape.
    pub fn encode_images(&self, pixels: Tensor<4>) -> Result<Tensor<3>, ModelError> {
        let (layers, pooled) = (self.config.vision_feature_layer.layers(), self.config.visual_tokens.pooled_head);
        self.in_chunks(pixels.dims()[0], |first, count| {
            self.select(self.vision_tower.features(pixels.clone().narrow(0, first, count), layers, pooled)?)
        })
    }

    /// As [`Self::encode_images`] for pictures that each have a grid of their own (NaFlex): the features of their patches, with the
    /// packing that leaves out the padding.
    ///
    /// # Errors
    /// [`ModelError::Input`] for patches of another size, and for a model whose tower takes squares of one size.
    pub fn encode_patches(&self, pixels: &PatchPixels) -> Result<VisualFeatures, ModelError> {
        let (layers, pooled) = (self.config.vision_feature_layer.layers(), self.config.visual_tokens.pooled_head);
        let features = self.in_chunks(pixels.grids().len(), |first, count| {
            self.select(self.vision_tower.features_of_patches(&pixels.narrow(first, count), layers, pooled)?)
        })?;
        let packing = Packing::of_padded(&pixels.counts(), features.dims()[1])?;
        Ok(VisualFeatures { features: Some(features), packing: Some(packing), tokens: None })
    }

    /// `encode(first, count)` for all pictures, [`images_per_chunk`](Self::images_per_chunk) at a time.
    fn in_chunks(
        &self,
        images: usize,
        encode: impl Fn(usize, usize) -> Result<Tensor<3>, ModelError>,
    ) -> Result<Tensor<3>, ModelError> {
        let step = self.images_per_chunk.unwrap_or(images).max(1);
        if images <= step {
            return encode(0, images);
        }
        let chunk = |first| encode(first, step.min(images - first));
        Ok(Tensor::cat((0..images).step_by(step).map(chunk).collect::<Result<Vec<_>, _>>()?, 0))
    }

    /// What the connector takes of what the tower computed.
    fn select(&self, output: VisionFeatures) -> Result<Tensor<3>, ModelError> {
        let config = &self.config;
        let tokens = config.visual_tokens;
        let mut features = if output.layers.len() == 1 {
            output.layers.into_iter().next().ok_or_else(|| ModelError::Input("no feature layer".into()))?
        } else {
            Tensor::cat(output.layers, 2)
        };
        let mut parts = Vec::with_capacity(3);
        if config.keeps_class_token() {
            parts.push(features.clone().narrow(1, 0, 1));
        }
        // A class token by now is among the parts, or dropped; in a tower without one `default` drops the first patch.
        if config.vision_config.has_class_token() || config.vision_feature_select_strategy == SelectStrategy::Default {
            let [_, count, _] = features.dims();
            features = features.narrow(1, 1, count - 1);
        }
        parts.push(match tokens.pool {
            Some(window) => average_pool(features, config.vision_config.grid(), window),
            None => features,
        });
        parts.extend(output.pooled.map(|pooled| pooled.unsqueeze_dim::<3>(1)));
        let features = Tensor::cat(parts, 1);
        Ok(if tokens.normalize { unit_rms(features) } else { features })
    }

    /// As [`Self::encode_images`] for tiled pictures of any sizes: the tiles' features with the packing that puts them in order.
    ///
    /// # Shapes
    /// - `pixels`: `[tiles, channels, image_size, image_size]`, picture by picture: the base tile, then the grid row by row
    /// - `tiles`: of each picture, one (the base tile alone) or [`VlmConfig::num_tiles`]
    /// - `sizes`: (height, width) of each picture before it was scaled
    ///
    /// # Errors
    /// [`ModelError::Pixels`] for another shape; [`ModelError::Input`] for a model whose pictures are not tiled, and where
    /// tiles and sizes do not fit.
    pub fn encode_tiled_images(
        &self,
        pixels: Tensor<4>,
        tiles: &[usize],
        sizes: &[tiling::Size],
    ) -> Result<VisualFeatures, ModelError> {
        if !self.config.is_tiled() {
            return Err(ModelError::Input("this model's pictures are not tiled: encode_images takes them".into()));
        }
        let packing = self.config.packing(tiles, sizes)?;
        Ok(VisualFeatures { features: Some(self.encode_images(pixels)?), packing: Some(packing), tokens: None })
    }

    /// Features to embeddings, through the connector. With `noise_seed` (training), Gaussian noise with the config's
    /// `visual_tokens.noise` as deviation is added to the features first; the same seed gives the same noise on every backend.
    ///
    /// # Shapes
    /// - `features`: `[images, tokens, d_vision]`
    /// - returns `[images, num_visual_tokens, hidden]`
    ///
    /// # Errors
    /// [`ModelError::Width`]; [`ModelError::Input`] for a connector that reads the text: [`Self::embed`] shows it some.
    pub fn connect(&self, features: Tensor<3>, noise_seed: Option<u64>) -> Result<Tensor<3>, ModelError> {
        let features = self.noisy(features, noise_seed)?;
        let dtype = features.dtype();
        let tokens = self.multi_modal_projector.connect(self.language_model.precision().cast(features), None)?;
        Ok(cast_to(tokens, dtype))
    }

    /// The features that the connector sees: their width checked, in the element type of its weights.
    fn noisy(&self, features: Tensor<3>, noise_seed: Option<u64>) -> Result<Tensor<3>, ModelError> {
        check_width("visual features", features.dims()[2], self.multi_modal_projector.input_width())?;
        let features = features.cast(self.multi_modal_projector.dtype());
        Ok(self.with_noise(features, noise_seed))
    }

    /// Features with the noise of training on them, see [`Self::connect`]; without a seed as they are.
    ///
    /// # Shapes
    /// - `features` and the result: `[images, tokens, d_vision]`
    pub fn with_noise(&self, features: Tensor<3>, noise_seed: Option<u64>) -> Tensor<3> {
        let noise = self.config.visual_tokens.noise;
        match noise_seed {
            Some(seed) if noise > 0.0 => {
                let (shape, device, dtype) = (features.dims(), features.device(), features.dtype());
                features + (seeded_normal(shape, seed, &device) * noise).cast(dtype)
            }
            _ => features,
        }
    }

    /// Flat indices of the image and video tokens in `ids`, `[n]`; `None` if there are none. Reads the ids back from the device.
    ///
    /// # Errors
    /// [`ModelError::Read`].
    pub fn image_positions(&self, ids: &Tensor<2, Int>) -> Result<Option<Tensor<1, Int>>, ModelError> {
        Ok(position_tensor(&self.read_places(ids)?, &ids.device()))
    }

    /// The flat index of each image and video token, and whether it is of a video that has a token of its own.
    fn read_places(&self, ids: &Tensor<2, Int>) -> Result<Vec<(i64, bool)>, ModelError> {
        let found = ids
            .clone()
            .try_into_vec_as::<i64>()
            .map_err(|error| ModelError::Read { what: "token ids", reason: format!("{error:?}") })?;
        let visual = self.config.visual_ids();
        let place = |(position, id): (i64, &i64)| {
            let kind = visual.iter().position(|visual| visual == id)?;
            Some((position, kind > 0))
        };
        Ok((0i64..).zip(&found).filter_map(place).collect())
    }

    /// The places of a batch's visual tokens: the given ones, or those in its ids. They are as many as the packing says, and, where
    /// the ids are read, of pictures and videos as it says.
    fn places(&self, input: &VlmInput) -> Result<Option<Tensor<1, Int>>, ModelError> {
        if let Some(positions) = &input.image_positions {
            if let Some(packing) = &input.packing {
                packing.check_places(positions.dims()[0])?;
            }
            return Ok(Some(positions.clone()));
        }
        let places = self.read_places(&input.ids)?;
        match &input.packing {
            Some(packing) if self.config.visual_ids().len() > 1 => {
                packing.check_kinds(&places.iter().map(|(_, video)| *video).collect::<Vec<_>>())?;
            }
            Some(packing) => packing.check_places(places.len())?,
            None => {}
        }
        Ok(position_tensor(&places, &input.ids.device()))
    }

    /// Embeddings of a batch: the text's, with the visual tokens in the places of the image token.
    ///
    /// # Shapes
    /// - `ids`: `[batch, tokens]`
    /// - `visual`: `[images, num_visual_tokens, hidden]` from [`Self::connect`], images in the order of their places
    /// - returns `[batch, tokens, hidden]`
    ///
    /// # Errors
    /// [`ModelError::ImageTokens`] unless there is one place for each visual token; [`ModelError::Read`].
    pub fn merge(&self, ids: Tensor<2, Int>, visual: Option<Tensor<3>>) -> Result<Tensor<3>, ModelError> {
        let positions = self.image_positions(&ids)?;
        self.merge_at(ids, positions, visual)
    }

    /// As [`Self::merge`], with the places known (flat indices), so that nothing is read back from the device.
    ///
    /// # Errors
    /// [`ModelError::ImageTokens`] unless there is one place for each visual token; [`ModelError::Width`].
    pub fn merge_at(
        &self,
        ids: Tensor<2, Int>,
        image_positions: Option<Tensor<1, Int>>,
        visual: Option<Tensor<3>>,
    ) -> Result<Tensor<3>, ModelError> {
        let image_tokens = image_positions.as_ref().map_or(0, |positions| positions.dims()[0]);
        let [images, tokens_per_image, _] = visual.as_ref().map_or([0, 0, 0], |visual| visual.dims());
        self.check_image_tokens(image_tokens, images, tokens_per_image)?;
        let (Some(positions), Some(visual)) = (image_positions, visual) else {
            return Ok(self.language_model.embed(ids));
        };
        let (text, places) = self.embed_text(ids);
        self.scatter(text, places, positions, visual)
    }

    fn check_image_tokens(&self, found: usize, images: usize, tokens_per_image: usize) -> Result<(), ModelError> {
        if found == images * tokens_per_image {
            return Ok(());
        }
        Err(ModelError::ImageTokens {
            image_tokens: found,
            image_token: self.config.image_token_index,
            images,
            tokens_per_image: if images == 0 { self.config.num_visual_tokens() } else { tokens_per_image },
        })
    }

    /// Embeddings `[batch, tokens, hidden]` of the text, and where the image tokens are (`[batch, tokens]`). The image token's
    /// own row may lie outside the table: another one is looked up in its place, to be overwritten.
    fn embed_text(&self, ids: Tensor<2, Int>) -> (Tensor<3>, Tensor<2, Bool>) {
        let mut places = ids.clone().equal_elem(self.config.image_token_index);
        for id in self.config.visual_ids().into_iter().skip(1) {
            places = places.bool_or(ids.clone().equal_elem(id));
        }
        (self.language_model.embed(ids.mask_fill(places.clone(), 0)), places)
    }

    /// The text with the visual tokens in their places.
    fn scatter(
        &self,
        text: Tensor<3>,
        places: Tensor<2, Bool>,
        positions: Tensor<1, Int>,
        visual: Tensor<3>,
    ) -> Result<Tensor<3>, ModelError> {
        let ([batch, tokens, _], [images, tokens_per_image, width]) = (text.dims(), visual.dims());
        check_width("visual tokens", width, self.language_model.hidden_size())?;
        let kept = places.bool_not().float().cast(text.dtype());
        let text = text * kept.unsqueeze_dim::<3>(2);
        let visual = visual.reshape([images * tokens_per_image, width]).cast(text.dtype());
        let scale = if self.config.scales_visual_embeds() { self.language_model.embed_scale() } else { 1.0 };
        let visual = if scale == 1.0 { visual } else { visual * scale };
        let merged = text.reshape([batch * tokens, width]).select_assign(0, positions, visual, IndexingUpdateOp::Add);
        Ok(merged.reshape([batch, tokens, width]))
    }

    /// Connects, packs and merges: the embeddings that the decoder's first layer takes.
    ///
    /// # Shapes
    /// - returns `[batch, tokens, hidden]`
    ///
    /// # Errors
    /// See [`Self::connect`] and [`Self::merge`].
    pub fn embed(&self, input: &VlmInput) -> Result<Tensor<3>, ModelError> {
        if let Some(features) = &input.features
            && self.multi_modal_projector.reads_text()
        {
            return self.embed_routed(input, features.clone());
        }
        let positions = self.places(input)?;
        self.merge_at(input.ids.clone(), positions, self.visual_tokens(input)?)
    }

    /// Connects and packs the features of a batch, unless that was done before: what stands in the places of the visual tokens, before
    /// any embedding scale.
    ///
    /// # Shapes
    /// - returns `[images, num_visual_tokens, hidden]`, or, where the input has a packing, `[1, visual_tokens, hidden]` of all of
    ///   them; `None` without features
    ///
    /// # Errors
    /// See [`Self::connect`] and [`Packing::apply`]; [`ModelError::Input`] for tiles in a model without `image_newline`.
    pub fn visual_tokens(&self, input: &VlmInput) -> Result<Option<Tensor<3>>, ModelError> {
        let Some(features) = input.features.clone() else { return Ok(input.tokens.clone()) };
        if self.multi_modal_projector.reads_text() {
            return self.routed_visual_tokens(input, features).map(Some);
        }
        let tokens = self.connect(features, input.noise_seed)?;
        self.packed(tokens, input).map(Some)
    }

    /// Tiles' tokens in the order of the pictures, with `image_newline` between the rows, or pictures' without their padding; the
    /// tokens as they are where the input has no packing.
    ///
    /// # Shapes
    /// - `tokens`: `[images or tiles, tokens, hidden]`, after the connector
    /// - returns the same, or `[1, visual_tokens, hidden]`
    ///
    /// # Errors
    /// See [`Packing::apply`]; [`ModelError::Input`] for tiles in a model without `image_newline`.
    pub fn packed(&self, tokens: Tensor<3>, input: &VlmInput) -> Result<Tensor<3>, ModelError> {
        let Some(packing) = &input.packing else { return Ok(tokens) };
        let newline = self.image_newline.as_ref().map(|newline| newline.val().cast(tokens.dtype()));
        packing.apply(tokens, newline)
    }

    /// Hidden states after the decoder's final norm; logits and losses are the language model's
    /// ([`LanguageModel::logits`], [`LanguageModel::target_losses`]).
    ///
    /// # Shapes
    /// - returns `[batch, tokens, hidden]`
    ///
    /// # Errors
    /// See [`Self::connect`], [`Self::merge`] and [`LanguageModel::forward`].
    pub fn forward(&self, input: &VlmInput) -> Result<Tensor<3>, ModelError> {
        self.language_model.forward(self.embed(input)?, &input.attention, None)
    }

    /// Next-token loss of each target, see [`LanguageModel::target_losses`].
    ///
    /// # Shapes
    /// - `target_rows`, `targets` and the result: `[n]`
    ///
    /// # Errors
    /// See [`Self::forward`].
    pub fn target_losses(
        &self,
        input: &VlmInput,
        target_rows: Tensor<1, Int>,
        targets: Tensor<1, Int>,
    ) -> Result<Tensor<1>, ModelError> {
        let hidden = self.forward(input)?;
        Ok(self.language_model.target_losses(hidden, target_rows, targets))
    }
}

/// Flat indices as a tensor; `None` for none.
fn position_tensor(places: &[(i64, bool)], device: &Device) -> Option<Tensor<1, Int>> {
    let positions: Vec<i64> = places.iter().map(|(position, _)| *position).collect();
    let count = positions.len();
    (count > 0).then(|| Tensor::from_data(TensorData::new(positions, [count]), device))
}

/// A connector's configuration; one of a user's own with the number of its tokens.
fn connector_config(connector: &impl Projector, config: &VlmConfig) -> ConnectorConfig {
    let features = config.num_feature_tokens();
    let tokens = connector.output_tokens(features);
    match connector.config() {
        ConnectorConfig::Custom(mut custom) => {
            custom.output_tokens = (tokens != features).then_some(tokens);
            ConnectorConfig::Custom(custom)
        }
        known => known,
    }
}

fn check_width(what: &'static str, found: usize, expected: usize) -> Result<(), ModelError> {
    if found == expected { Ok(()) } else { Err(ModelError::Width { what, found, expected }) }
}

/// Means of `window x window` patches, `[n, grid * grid, d]` to `[n, (grid / window)^2, d]`.
fn average_pool(features: Tensor<3>, grid: usize, window: usize) -> Tensor<3> {
    let [n, _, width] = features.dims();
    let side = grid / window;
    features.reshape([n, side, window, side, window, width]).mean_dim(2).mean_dim(4).reshape([n, side * side, width])
}

/// Each vector divided by its root mean square.
fn unit_rms(x: Tensor<3>) -> Tensor<3> {
    let rms = (x.clone().square().mean_dim(2) + NORMALIZE_EPS).sqrt();
    x / rms
}

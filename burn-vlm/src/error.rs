//! What can be wrong with a model's configuration or its inputs.

/// A configuration or an input that a model cannot work with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// A key of a config holds a value that this library cannot run.
    #[error("{model}: `{key}` is {value}, expected {expected}")]
    Config {
        /// Which config, for example `gemma2`.
        model: &'static str,
        /// The key as in `config.json`.
        key: &'static str,
        /// The value found.
        value: String,
        /// What would have been accepted.
        expected: String,
    },
    /// A feature layer that the vision tower does not have.
    #[error(
        "vision_feature_layer {layer} does not exist: the tower has hidden states 0..={layers} \
         (0 is the embedding output), or -{count}..=-1 counted from the end",
        count = layers + 1
    )]
    FeatureLayer {
        /// The layer asked for.
        layer: i64,
        /// Number of layers of the tower.
        layers: usize,
    },
    /// Pixels of a shape that the vision tower does not take.
    #[error(
        "pixel_values have the shape {found:?}, the vision tower takes [n, {channels}, {size}, {size}]; \
             `forward_interpolated` and `features_interpolated` take pictures of other sizes"
    )]
    Pixels {
        /// Shape of the pixel tensor.
        found: [usize; 4],
        /// `num_channels` of the tower.
        channels: usize,
        /// `image_size` of the tower.
        size: usize,
    },
    /// The ids do not hold exactly one image token for each visual token.
    #[error(
        "{image_tokens} image tokens (id {image_token}) in the ids, but {images} images x {tokens_per_image} visual tokens: \
         expand each image to {tokens_per_image} image tokens"
    )]
    ImageTokens {
        /// Image tokens found in the ids.
        image_tokens: usize,
        /// `image_token_index`.
        image_token: i64,
        /// Number of images.
        images: usize,
        /// Visual tokens an image has.
        tokens_per_image: usize,
    },
    /// Visual features or tokens whose last dimension is not the one the next part takes.
    #[error("{what} have width {found}, expected {expected}")]
    Width {
        /// Which tensor.
        what: &'static str,
        /// Its last dimension.
        found: usize,
        /// What the next part takes.
        expected: usize,
    },
    /// More tokens than the model has positions for.
    #[error("{tokens} tokens, but {what} holds at most {max}")]
    TooLong {
        /// What is too small, for example `the KV cache`.
        what: &'static str,
        /// Tokens asked for.
        tokens: usize,
        /// Its size.
        max: usize,
    },
    /// An empty or ragged batch, or an option out of range.
    #[error("{0}")]
    Input(String),
    /// A tensor could not be read back from its device.
    #[error("reading {what} back from the device failed: {reason}")]
    Read {
        /// Which tensor.
        what: &'static str,
        /// The backend's own words.
        reason: String,
    },
}

impl ModelError {
    /// A [`ModelError::Config`] from anything printable.
    pub(crate) fn config(
        model: &'static str,
        key: &'static str,
        value: impl std::fmt::Debug,
        expected: impl Into<String>,
    ) -> Self {
        Self::Config { model, key, value: format!("{value:?}"), expected: expected.into() }
    }
}

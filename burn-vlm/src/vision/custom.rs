//! The configuration of a vision tower that this library does not know.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{TowerShape, VisionConfig};
use crate::count::LayerShape;
use crate::error::ModelError;

/// Width of a head where the keys do not say: that of every published ViT up to 1,152.
const HEAD_WIDTH: usize = 64;
/// Width of an MLP in widths of the tower where the keys do not say.
const MLP_RATIO: usize = 4;

/// A tower of your own in a config: `{"model_type": "custom", "name": "mine", "hidden_size": 64, ...}`, its own keys beside those of
/// its shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomTower {
    /// What tells it from others.
    pub name: String,
    /// What the rest of the model needs to know.
    #[serde(flatten)]
    pub shape: TowerShape,
    /// Its own keys.
    #[serde(flatten)]
    pub keys: Map<String, Value>,
}

impl CustomTower {
    /// That nothing here builds it.
    pub(super) fn unknown(&self) -> ModelError {
        let expected = "a tower of this library, or a model of the type `Vlm<T, _>` whose `T` accepts it (for yours beside the \
                        library's, `Either<Yours, VisionEncoder>`)";
        ModelError::config("vlm", "vision_config.name", &self.name, expected)
    }

    /// Its layers as a plain ViT's, for estimates: `num_attention_heads` and `intermediate_size` from its keys, if they are
    /// there, else a ViT's usual proportions.
    pub(super) fn layer_shape(&self) -> LayerShape {
        let TowerShape { hidden_size, num_hidden_layers, .. } = self.shape;
        let key =
            |name: &str| self.keys.get(name).and_then(Value::as_u64).and_then(|value| usize::try_from(value).ok());
        let heads = key("num_attention_heads").unwrap_or(hidden_size / HEAD_WIDTH).max(1);
        let intermediate_size = key("intermediate_size").unwrap_or(MLP_RATIO * hidden_size);
        LayerShape::vit(num_hidden_layers, hidden_size, heads, intermediate_size)
    }
}

impl VisionConfig {
    /// The configuration of your own tower: its name, its shape and its other keys.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a shape without patches, keys that are no JSON object, or that the shape has too.
    pub fn custom(name: &str, shape: TowerShape, keys: &impl Serialize) -> Result<Self, ModelError> {
        let wrong = |found: String, expected: &str| ModelError::config("vlm", "vision_config", found, expected);
        let value = serde_json::to_value(keys).map_err(|error| wrong(error.to_string(), "keys and values of JSON"))?;
        let keys = match value {
            Value::Object(keys) => keys,
            Value::Null => Map::new(),
            other => return Err(wrong(other.to_string(), "a JSON object, or `()` for a tower without keys")),
        };
        if shape.patch_size == 0 || shape.grid() == 0 {
            return Err(wrong(format!("{shape:?}"), "a patch_size from 1 to image_size"));
        }
        let custom = CustomTower { name: name.to_owned(), shape, keys };
        let taken = ["model_type", "name"].into_iter().find(|name| custom.keys.contains_key(*name));
        let bare = CustomTower { keys: Map::new(), ..custom.clone() };
        let own = serde_json::to_value(&bare).map_err(|error| wrong(error.to_string(), "keys and values of JSON"))?;
        if let Some(taken) =
            taken.or_else(|| custom.keys.keys().map(String::as_str).find(|key| own.get(*key).is_some()))
        {
            return Err(wrong(taken.to_owned(), "keys of other names than those of the shape"));
        }
        Ok(Self::Custom(custom))
    }

    /// Whether this is your own tower `name`.
    pub fn is_custom(&self, name: &str) -> bool {
        matches!(self, Self::Custom(custom) if custom.name == name)
    }

    /// The keys of your own tower, as what [`Self::custom`] was given.
    ///
    /// # Errors
    /// [`ModelError::Config`] for another tower, and for keys that are missing, unknown to a type that denies them, or of another
    /// type.
    pub fn custom_keys<K: DeserializeOwned>(&self, name: &str) -> Result<K, ModelError> {
        let custom = match self {
            Self::Custom(custom) if custom.name == name => custom,
            other => {
                let expected = format!("a tower of your own, `{name}`");
                return Err(ModelError::config("vlm", "vision_config.name", other.name(), expected));
            }
        };
        serde_json::from_value(Value::Object(custom.keys.clone())).map_err(|error| {
            let found = Value::Object(custom.keys.clone()).to_string();
            ModelError::config("vlm", "vision_config", found, format!("the keys of `{name}`: {error}"))
        })
    }
}

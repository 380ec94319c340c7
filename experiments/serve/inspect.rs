//! What a model is shown of the pictures of a conversation, `POST /v1/inspect`: their views as the vision tower takes them, how they are
//! laid out, and how many tokens each has. The body is that of a chat request; no token is written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_vlm_data::image::{ProcessedImage, RgbImage, encode_png};
use burn_vlm_train::chat::{ChatModel, ChatPrompt};
use serde_json::{Value, json};

use super::error::ApiError;
use super::request::{ChatRequest, Part};

/// Most views of a reply that have their pixels: 64 pictures of ten tiles each would be some hundred megabytes.
const MOST_VIEWS: usize = 64;

/// What the model called `name` is shown of a conversation.
///
/// # Errors
/// A view that cannot be encoded.
pub(super) fn inspection(
    chat: &ChatModel,
    name: &str,
    request: &ChatRequest,
    prompt: &ChatPrompt,
) -> Result<Value, ApiError> {
    let fields = request.messages.iter().flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::Text(_) => None,
        Part::Picture { field, .. } => Some(field.as_str()),
    });
    let (mut room, mut left_out) = (MOST_VIEWS, 0);
    let mut pictures = Vec::new();
    for (field, (image, tokens)) in fields.zip(prompt.pictures()) {
        let mut picture = described(chat, field, image, tokens);
        let shown = image.tiles.min(room);
        (room, left_out) = (room - shown, left_out + image.tiles - shown);
        picture["views"] = views(chat, image, shown)?;
        pictures.push(picture);
    }
    let visual: usize = prompt.pictures().map(|(_, tokens)| tokens).sum();
    Ok(json!({
        "object": "inspection",
        "model": name,
        "prompt_tokens": prompt.tokens(),
        "visual_tokens": visual,
        "context": chat.model.language_model().config().max_position_embeddings(),
        "pictures": pictures,
        "views_left_out": left_out,
    }))
}

fn described(chat: &ChatModel, field: &str, image: &ProcessedImage, tokens: usize) -> Value {
    let grid = |(rows, columns): (usize, usize)| json!({ "rows": rows, "columns": columns });
    let tiles = chat.processor.image_processor().and_then(|processor| processor.tile_grid(image));
    json!({
        "param": field,
        "width": image.original_size.1,
        "height": image.original_size.0,
        "tokens": tokens,
        "view": { "width": image.width, "height": image.height },
        "tiles": tiles.map(grid),
        "patches": image.patch_grid().map(grid),
    })
}

/// The first `shown` views as data URIs, null for the others.
fn views(chat: &ChatModel, image: &ProcessedImage, shown: usize) -> Result<Value, ApiError> {
    let views = chat.processor.image_processor().map(|processor| processor.views(image)).unwrap_or_default();
    let view = |(at, view): (usize, RgbImage)| {
        if at >= shown {
            return Ok(Value::Null);
        }
        let png = encode_png(&view).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(json!(format!("data:image/png;base64,{}", STANDARD.encode(png))))
    };
    Ok(Value::Array(views.into_iter().enumerate().map(view).collect::<Result<Vec<Value>, ApiError>>()?))
}

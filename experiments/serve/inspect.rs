//! What a model is shown of the pictures and videos of a conversation, `POST /v1/inspect`: their views as the vision tower takes them, how they are
//! laid out, and how many tokens each has. The body is that of a chat request; no token is written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_vlm_data::image::{ImageProcessor, RgbImage, encode_png};
use burn_vlm_train::chat::{ChatModel, ChatPrompt, PromptMedium};
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
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let fields: Vec<&str> = parts.filter_map(Part::field).collect();
    let (mut room, mut left_out) = (MOST_VIEWS, 0);
    let mut media: Vec<Value> = Vec::new();
    for medium in prompt.media() {
        let of = medium.images().iter().map(|image| image.tiles).sum::<usize>();
        let shown = of.min(room);
        (room, left_out) = (room - shown, left_out + of - shown);
        let views = views(chat, medium, shown)?;
        // Frames that are shown as pictures are one video.
        let first = media.len() <= medium.piece();
        match media.get_mut(medium.piece()).filter(|_| !first) {
            Some(video) => join(video, medium.tokens(), views),
            None => media.push(described(chat, fields.get(medium.piece()).copied().unwrap_or_default(), medium, views)),
        }
    }
    let visual: usize = prompt.media().iter().map(PromptMedium::tokens).sum();
    Ok(json!({
        "object": "inspection",
        "model": name,
        "prompt_tokens": prompt.tokens(),
        "visual_tokens": visual,
        "context": chat.model.language_model().config().max_position_embeddings(),
        "pictures": media,
        "views_left_out": left_out,
    }))
}

/// Adds a frame to the video whose first ones are described.
fn join(video: &mut Value, tokens: usize, views: Vec<Value>) {
    video["tokens"] = json!(video["tokens"].as_u64().unwrap_or_default() + tokens as u64);
    if let Some(list) = video["views"].as_array_mut() {
        list.extend(views);
    }
}

/// A picture, or a video with its chosen frames.
fn described(chat: &ChatModel, field: &str, medium: &PromptMedium, views: Vec<Value>) -> Value {
    let grid = |(rows, columns): (usize, usize)| json!({ "rows": rows, "columns": columns });
    let Some(image) = medium.images().first() else { return Value::Null };
    let tiles = chat.processor.image_processor().and_then(|processor| processor.tile_grid(image));
    let tiles = tiles.filter(|_| medium.record().is_none());
    let frames = medium.record().map(|record| {
        json!({
            "rule": record.sampling.name(),
            "of": record.counted,
            "indices": record.indices,
            "seconds": record.seconds,
            "damage": record.damage,
        })
    });
    let (height, width) = image.original_size;
    // The frames of a video come resized.
    let (width, height) = medium.record().map_or((width, height), |record| record.size);
    json!({
        "param": field,
        "width": width,
        "height": height,
        "tokens": medium.tokens(),
        "view": { "width": image.width, "height": image.height },
        "tiles": tiles.map(grid),
        "patches": image.patch_grid().map(grid),
        "frames": frames,
        "views": views,
    })
}

/// The first `shown` views as data URIs, null for the others.
fn views(chat: &ChatModel, medium: &PromptMedium, shown: usize) -> Result<Vec<Value>, ApiError> {
    let videos = chat.processor.video_processor().filter(|_| medium.record().is_some());
    let frames = videos.and_then(|videos| ImageProcessor::new(videos.config().frames().clone()).ok());
    let Some(processor) = frames.as_ref().or(chat.processor.image_processor()) else { return Ok(Vec::new()) };
    let view = |(at, view): (usize, RgbImage)| {
        if at >= shown {
            return Ok(Value::Null);
        }
        let png = encode_png(&view).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(json!(format!("data:image/png;base64,{}", STANDARD.encode(png))))
    };
    medium.images().iter().flat_map(|image| processor.views(image)).enumerate().map(view).collect()
}

//! The folder of a run: whose it is, what its parts were, and the model that comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use burn_vlm::checkpoint::{Pretrained, StoreDtype, copy_words};
use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm::vlm::{VlmConfig, VlmType};
use burn_vlm_base::files::{list_dir, write_atomic, write_json_atomic};
use burn_vlm_base::seal::hash_file;
use burn_vlm_base::shorten::shorten_message;
use burn_vlm_data::chat_template::{ANSWER_END, ChatTemplate};
use burn_vlm_data::conversation::VIDEO_PLACEHOLDER;
use burn_vlm_data::image::ImageProcessorConfig;
use burn_vlm_data::processor::{BY_TEMPLATE, CONVERSATION_FORMAT, Processor, ProcessorParts, TOKENS_PER_VIEW};
use burn_vlm_data::video::VideoOptions;
use serde_json::json;

use crate::assemble::Assembled;
use crate::checkpoint;
use crate::error::{Result, TrainError};
use crate::processor::model_visual_tokens;
use crate::recipe::{Recipe, VideoRecipe};

/// Writes the recipe into the folder, or checks that it is the one that is there.
pub(crate) fn claim(out: &Path, recipe: &Recipe) -> Result<()> {
    let file = out.join("recipe.toml");
    let text = toml::to_string(recipe).map_err(|e| TrainError::Recipe(e.to_string()))?;
    match fs::read_to_string(&file) {
        Ok(there) if there == text => Ok(()),
        // What no step has been made of may still be mended, so that a mistake in the last stage does not cost the first.
        Ok(there) if toml::from_str(&there).is_ok_and(|old| only_later_differs(out, &old, recipe)) => {
            Ok(write_atomic(&file, text.as_bytes())?)
        }
        Ok(there) => {
            let message = format!(
                "this folder holds a run of another recipe ({}); give the new run another folder, or remove this one; a finished run takes more steps or epochs of its last stage \
                 with --extend",
                differences(&there, &text)
            );
            Err(TrainError::invalid(&file, message))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(write_atomic(&file, text.as_bytes())?),
        Err(error) => Err(TrainError::io("cannot read", &file, error)),
    }
}

/// The most keys that differ which are named.
const NAMED: usize = 5;

/// The keys in which two recipes differ, with what stands there and what is asked for now.
fn differences(there: &str, now: &str) -> String {
    let keys = |text: &str| {
        let mut keys = BTreeMap::new();
        if let Ok(mut table) = toml::from_str::<toml::Table>(text) {
            // What is not written down because it is the default may differ from what is.
            if let Some(toml::Value::Table(video)) = table.get_mut("video")
                && let Ok(reading) = toml::Value::try_from(VideoOptions::default())
            {
                video.entry("reading").or_insert(reading);
            }
            flatten("", &toml::Value::Table(table), &mut keys);
        }
        keys
    };
    let (old, new) = (keys(there), keys(now));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).collect();
    let value = |keys: &BTreeMap<String, String>, key: &str| match keys.get(key) {
        Some(value) => format!("`{key} = {}`", shorten_message(value)),
        None => format!("no `{key}`"),
    };
    let one = |key: &&String| format!("there {}, now {}", value(&old, key), value(&new, key));
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more keys") } else { String::new() };
    format!("{}{more}", names.iter().take(NAMED).map(one).collect::<Vec<_>>().join("; "))
}

/// The values of a table by their keys, `video.sampling.frames`.
fn flatten(prefix: &str, value: &toml::Value, keys: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, keys);
            }
        }
        value => drop(keys.insert(prefix.to_owned(), value.to_string())),
    }
}

/// Whether two recipes differ only in what no checkpoint has been made by yet.
fn only_later_differs(out: &Path, old: &Recipe, new: &Recipe) -> bool {
    let begun = |number: usize, name: &str| {
        checkpoint::list(&super::stage_folder(out, number, name)).is_ok_and(|found| !found.is_empty())
    };
    let begun: Vec<_> = old.stages.iter().enumerate().filter(|(number, name)| begun(*number, name)).collect();
    if begun.is_empty() {
        return true;
    }
    let mut same = begun
        .into_iter()
        .map(|(number, name)| new.stages.get(number) == Some(name) && old.stage.get(name) == new.stage.get(name));
    let model = |recipe: &Recipe| (recipe.model.clone(), recipe.seed, recipe.compute, recipe.tokenizer.clone());
    let shown = |recipe: &Recipe| recipe.video.as_ref().map(VideoRecipe::fingerprint);
    model(old) == model(new) && shown(old) == shown(new) && same.all(|same| same)
}

/// A hash of what a part is: of its configs, tokenizer, template and weights.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn part_state(folder: &Path) -> Result<String> {
    let kinds = ["json", "jinja", "safetensors"];
    let is_part = |path: &PathBuf| path.extension().is_some_and(|ending| kinds.iter().any(|kind| ending == *kind));
    let mut hasher = blake3::Hasher::new();
    for path in list_dir(folder)?.iter().map(|name| folder.join(name)).filter(is_part) {
        hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update(hash_file(&path)?.as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The trained model as a Hugging Face folder that `examples/chat` and transformers' users can work with: weights, config,
/// the backbone's tokenizer and template, how pictures are prepared, where answers end.
///
/// # Errors
/// A file that cannot be written, named.
pub fn save_model<T: VisionTower, P: Projector>(
    assembled: &Assembled<T, P>,
    processor: &ImageProcessorConfig,
    backbone: &Path,
    folder: &Path,
) -> Result<()> {
    save_model_as(assembled, processor, (backbone, folder), StoreDtype::F32)
}

/// The same with weights of another element type.
pub(super) fn save_model_as<T: VisionTower, P: Projector>(
    assembled: &Assembled<T, P>,
    processor: &ImageProcessorConfig,
    (backbone, folder): (&Path, &Path),
    dtype: StoreDtype,
) -> Result<()> {
    let Assembled { model, tokenizer, template, .. } = assembled;
    fs::create_dir_all(folder).map_err(|e| TrainError::io("cannot create", folder, e))?;
    model.save_pretrained(folder, dtype)?;
    copy_words(backbone, folder)?;
    let words = Processor::new(ProcessorParts::text(tokenizer.clone(), template.clone()))?;
    // Other programs give a vision-language model lists of parts, which the template of a language model does not take. One that is so
    // long that the words for that go beyond its limit stays as it is, and the card says so.
    let video = model.config.takes_videos().then_some(VIDEO_PLACEHOLDER);
    let for_lists = match words.takes_lists() {
        true => None,
        false => template.for_parts(words.image_token(), video).ok(),
    };
    // A template that was made here, of lists or of videos, stands before those of other files.
    if let Some(source) = for_lists.as_ref().map(ChatTemplate::source).or_else(|| template.made_source()) {
        write_atomic(&folder.join("chat_template.jinja"), source.as_bytes())?;
    }
    if assembled.image_token_added || assembled.video_token_added {
        tokenizer.save(folder.join("tokenizer.json"))?;
    }
    let stop = words.end_of_turn();
    let mut generation = json!({ "do_sample": false });
    // An empty list would be read as "no token ends a text" by some programs, and as an error by others.
    if !stop.is_empty() {
        generation["eos_token_id"] = json!(stop);
    }
    write_json_atomic(&folder.join("generation_config.json"), &generation)?;
    write_json_atomic(&folder.join("preprocessor_config.json"), processor)?;
    if let Some(videos) = &assembled.videos {
        write_json_atomic(&folder.join("video_preprocessor_config.json"), &videos.to_json())?;
    }
    let view = model_visual_tokens(&model.config).shown_by(processor).view;
    let mut counts = counts(&model.config, words.image_token(), view);
    if let Some(end) = template.answer_end() {
        counts[ANSWER_END] = json!(end);
    }
    Ok(write_json_atomic(&folder.join("processor_config.json"), &counts)?)
}

/// How many visual tokens a picture has: in transformers' keys, and in ours, which pooling and connectors change too.
fn counts(config: &VlmConfig, image_token: &str, view: usize) -> serde_json::Value {
    let vision = &config.vision_config;
    let class = match config.model_type {
        VlmType::Llava => "LlavaProcessor",
        VlmType::LlavaNext => "LlavaNextProcessor",
        VlmType::LlavaOnevision => "LlavaOnevisionProcessor",
    };
    let mut counts = json!({
        "processor_class": class,
        "image_token": image_token,
        "patch_size": vision.image_size() / vision.grid().max(1),
        "num_additional_image_tokens": usize::from(vision.has_class_token()),
        "vision_feature_select_strategy": config.vision_feature_select_strategy,
        TOKENS_PER_VIEW: view,
        CONVERSATION_FORMAT: BY_TEMPLATE,
    });
    if config.takes_videos() {
        counts["video_token"] = json!(VIDEO_PLACEHOLDER);
        counts["num_image_tokens"] = json!(config.num_visual_tokens());
    }
    counts
}

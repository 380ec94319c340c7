//! The folder of a run: whose it is, what its parts were, and the model that comes out.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn_vlm::checkpoint::{Pretrained, StoreDtype};
use burn_vlm_base::files::{write_atomic, write_json_atomic};
use burn_vlm_data::encode::end_of_turn;
use burn_vlm_data::image::ImageProcessorConfig;
use serde_json::json;

use crate::assemble::Assembled;
use crate::checkpoint;
use crate::error::{Result, TrainError};
use crate::recipe::Recipe;

/// Bytes at the beginning of a file of weights that tell it from others: its header, and some weights of large ones.
const HEAD: u64 = 1 << 20;

/// Writes the recipe into the folder, or checks that it is the one that is there.
pub(super) fn claim(out: &Path, recipe: &Recipe) -> Result<()> {
    let file = out.join("recipe.toml");
    let text = toml::to_string(recipe).map_err(|e| TrainError::Recipe(e.to_string()))?;
    match fs::read_to_string(&file) {
        Ok(there) if there == text => Ok(()),
        // What no step has been made of may still be mended, so that a mistake in the last stage does not cost the first.
        Ok(there) if toml::from_str(&there).is_ok_and(|old| only_later_differs(out, &old, recipe)) => {
            Ok(write_atomic(&file, text.as_bytes())?)
        }
        Ok(there) => {
            let changed = |(old, new): &(&str, &str)| old != new;
            let first = there.lines().zip(text.lines()).find(changed);
            let (old, new) = first.unwrap_or(("(its end)", "(more lines, or fewer)"));
            let message = format!(
                "this folder holds a run of another recipe (there `{old}`, now `{new}`); give the new run another folder, or remove this one"
            );
            Err(TrainError::invalid(&file, message))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(write_atomic(&file, text.as_bytes())?),
        Err(error) => Err(TrainError::io("cannot read", &file, error)),
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
    model(old) == model(new) && same.all(|same| same)
}

/// A hash of what a part is: of small files all, of weights their names, sizes and beginnings, since these may be many gigabytes.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn part_state(folder: &Path) -> Result<String> {
    let read = |e| TrainError::io("cannot read", folder, e);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(read)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(read)?;
    files.retain(|path| {
        path.extension().is_some_and(|ending| ["json", "jinja", "safetensors"].iter().any(|e| ending == *e))
    });
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for path in files {
        let fail = |e| TrainError::io("cannot read", &path, e);
        let file = fs::File::open(&path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        let mut head = Vec::new();
        file.take(HEAD).read_to_end(&mut head).map_err(fail)?;
        hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update(&length.to_le_bytes());
        hasher.update(blake3::hash(&head).as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The trained model as a Hugging Face folder that `examples/chat` and transformers' users can work with: weights, config,
/// the backbone's tokenizer and template, how pictures are prepared, where answers end.
///
/// # Errors
/// A file that cannot be written, named.
pub fn save_model(
    assembled: &Assembled,
    processor: &ImageProcessorConfig,
    backbone: &Path,
    folder: &Path,
) -> Result<()> {
    let Assembled { model, tokenizer, template, .. } = assembled;
    fs::create_dir_all(folder).map_err(|e| TrainError::io("cannot create", folder, e))?;
    model.save_pretrained(folder, StoreDtype::F32)?;
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json"] {
        let from = backbone.join(name);
        if from.is_file() {
            let to = folder.join(name);
            fs::copy(&from, &to).map_err(|e| TrainError::io("cannot copy to", &to, e))?;
        }
    }
    if assembled.image_token_added {
        tokenizer.save(folder.join("tokenizer.json"))?;
    }
    let end = end_of_turn(tokenizer, template)?;
    let mut stop: Vec<u32> = end.into_iter().chain(tokenizer.eos_id()).collect();
    stop.dedup();
    let generation = json!({ "do_sample": false, "eos_token_id": stop });
    write_json_atomic(&folder.join("generation_config.json"), &generation)?;
    Ok(write_json_atomic(&folder.join("preprocessor_config.json"), processor)?)
}

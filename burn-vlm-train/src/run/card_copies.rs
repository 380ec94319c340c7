//! Cards of folders that no training run writes: a model with an adapter merged into it, one that was written again, a pretrained part.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use burn_vlm_base::files::write_atomic;

use super::card::{FILE, put};
use super::card_programs::OtherPrograms;
use super::card_scores::nothing;
use super::card_sources::{Named, Yaml, made_of};
use crate::error::{Result, TrainError};

/// Names that say nothing about whose a folder is: the one above it stands before them.
const COMMON: [&str; 3] = ["model", "adapter", "base"];
/// The licence of parts that are pretrained on what is embedded here.
const OF_PARTS: &str = "MIT or Apache-2.0; of the pictures and texts: NOTICE of burn-vlm";

/// Writes the card of a folder in which the adapter of another was merged into a model.
///
/// # Errors
/// A folder whose files cannot be read, a card that cannot be written.
pub fn write_merged_card(model: &Path, adapter: &Path, folder: &Path) -> Result<()> {
    let named = [Named::new("Model", &name_of(model), model), Named::new("Adapter", &name_of(adapter), adapter)];
    let text = format!(
        "A model with a low-rank adapter merged into its weights by burn-vlm {}, and not looked at by anybody yet: say here what it is for, \
         and what it must not be used for. What the two were trained on stands in their own cards.",
        env!("CARGO_PKG_VERSION")
    );
    write(folder, "A merged model", &text, &named)
}

/// Gives a folder in which a model was written again the card of the first one, or, where that has none, one that says `how`.
///
/// # Errors
/// As [`write_merged_card`].
pub fn write_copied_card(source: &Path, folder: &Path, how: &str) -> Result<()> {
    let (from, to) = (source.join(FILE), folder.join(FILE));
    match from.is_file() {
        true => fs::copy(&from, &to).map(|_| ()).map_err(|error| TrainError::io("cannot copy the card to", &to, error)),
        false => write(folder, "A model", how, &[Named::new("Model", &name_of(source), source)]),
    }
}

/// Writes the card of a part that was pretrained on the embedded corpus.
///
/// # Errors
/// A card that cannot be written.
pub(crate) fn write_part_card(name: &str, what: &str, folder: &Path) -> Result<()> {
    Ok(write_atomic(&folder.join(FILE), part_card(name, what).as_bytes())?)
}

fn part_card(name: &str, what: &str) -> String {
    let mut yaml = Yaml::begin("burn-vlm", None);
    yaml.licence(OF_PARTS);
    format!(
        "{}# {name}\n\nA pretrained part of small vision-language models for studies: {what}, trained with burn-vlm by `recipe.toml` on its \
         embedded corpus of emoji and their names. It plays the role of a published part, and is of no other use. The pictures and texts \
         that it was trained on have licences of their own, which NOTICE of burn-vlm lists.\n",
        yaml.end()
    )
}

/// What people call a folder.
fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let last = name(&whole).unwrap_or_else(|| folder.display().to_string());
    match whole.parent().and_then(name) {
        Some(above) if COMMON.contains(&last.as_str()) => format!("{above}/{last}"),
        _ => last,
    }
}

fn write(folder: &Path, title: &str, how: &str, named: &[Named]) -> Result<()> {
    let programs = OtherPrograms::of_folder(folder)?;
    let mut yaml = Yaml::begin("burn-vlm", programs.as_ref().and_then(|programs| programs.task));
    yaml.base_models(named);
    let mut card = yaml.end();
    // Writing to a string cannot fail.
    let _ = writeln!(card, "# {title}\n\n{how}\n");
    if let Some(programs) = &programs {
        card.push_str(&programs.section());
    }
    made_of(&mut card, named);
    if programs.is_some() {
        let _ = writeln!(card, "## Scores\n\n{}\n", nothing());
    }
    put(&folder.join(FILE), &card).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cards of the shipped parts are those that are written for parts now.
    #[test]
    fn shipped_parts_have_their_cards() {
        let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../parts");
        let mut found = 0;
        for entry in fs::read_dir(parts).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            let what =
                if entry.join("chat_template.jinja").is_file() { "a language model" } else { "a vision encoder" };
            assert_eq!(fs::read_to_string(entry.join(FILE)).unwrap_or_default(), part_card(&name, what), "{name}");
            found += 1;
        }
        assert!(found >= 15, "{found}");
    }

    #[test]
    fn folders_are_called_by_what_tells_them_apart() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).unwrap();
            name_of(&path)
        };
        assert_eq!(at("runs/mine/model"), "mine/model");
        assert_eq!(at("llava-1.5-7b-hf"), "llava-1.5-7b-hf");
    }
}

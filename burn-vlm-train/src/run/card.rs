//! The model card: `README.md` of a trained model's folder, and of the adapter and the model below it, so that it says what it is wherever
//! it goes.
//!
//! Its head is the YAML that the hub reads. Nothing in it is of the machine or the hour: the same run writes the same card. Its last line
//! is a hash of the rest, scores left out: a card that a person has edited is told by it, and left alone.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use burn_vlm::checkpoint::{ADAPTER_CONFIG, StoreDtype};
use burn_vlm_base::files::write_atomic;

use super::card_programs::OtherPrograms;
use super::card_scores::{nothing, without_scores};
use super::card_sources::{Named, Yaml, cell, made_of};
use super::{DrawnSamples, PartFolders, TrainedStage, stage_folder};
use crate::error::{Result, TrainError};
use crate::recipe::{Recipe, StageRecipe, TokenizerRecipe};

/// The file, as the hub names it.
pub(super) const FILE: &str = "README.md";
/// What the line with the hash is written in.
const MADE: (&str, &str) = ("<!-- made by burn-vlm, ", " -->\n");
/// The tag of samples whose language is not told, which no reader of the YAML knows.
const UNTOLD: &str = "und";

/// What became of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CardWritten {
    /// It says what the run is, with the scores that were in it where it said that before.
    Current,
    /// A person has edited it, and it is not what the run would write: it stays.
    Edited,
}

/// What a run writes besides its model, where its last stage trained an adapter.
const ADAPTER: &str = "adapter";
/// See [`ADAPTER`].
const BASE: &str = "base";

/// Which of a run's folders a card is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The trained model.
    Model,
    /// What the last stage trained.
    Adapter,
    /// The model before the last stage.
    Base,
}

/// Writes the cards of what `recipe` trained in `out`: of its model, and of the adapter and the model below it, where there are such. One
/// that says the same already keeps its scores. Returns those that a person has edited, which stay.
///
/// # Errors
/// A damaged `samples.json` of a stage; a file that cannot be read or written.
pub(super) fn write(
    recipe: &Recipe,
    parts: &PartFolders,
    (out, stages): (&Path, &[TrainedStage]),
    model: &Path,
) -> Result<Vec<PathBuf>> {
    let drawn: Vec<Option<DrawnSamples>> = stages
        .iter()
        .enumerate()
        .map(|(number, stage)| DrawnSamples::read(&stage_folder(out, number, &stage.name)))
        .collect::<Result<_>>()?;
    let adapts = recipe.stages.last().and_then(|name| recipe.stage.get(name)).is_some_and(|stage| stage.lora.is_some());
    let mut all = vec![(Of::Model, model.to_owned())];
    if adapts {
        let (adapter, base) = (out.join(ADAPTER), out.join(BASE));
        all.extend(adapter.join(ADAPTER_CONFIG).is_file().then_some((Of::Adapter, adapter)));
        all.extend(base.join("config.json").is_file().then_some((Of::Base, base)));
    }
    let mut edited = Vec::new();
    for (of, folder) in all {
        // An adapter's logits are those of the model that has it merged.
        let programs = OtherPrograms::of_folder(if of == Of::Adapter { model } else { &folder })?;
        let card = text(recipe, parts, (stages, &drawn), of, programs.as_ref())?;
        let file = folder.join(FILE);
        if put(&file, &card)? == CardWritten::Edited {
            edited.push(file);
        }
    }
    Ok(edited)
}

/// A card without its last line.
fn text(
    recipe: &Recipe,
    parts: &PartFolders,
    (stages, drawn): (&[TrainedStage], &[Option<DrawnSamples>]),
    of: Of,
    programs: Option<&OtherPrograms>,
) -> Result<String> {
    let named = sources(recipe, parts);
    let before = if of == Of::Base { stages.len().saturating_sub(1) } else { stages.len() };
    let mut card = head(&drawn[..before], &named, of, programs.and_then(|programs| programs.task));
    let version = env!("CARGO_PKG_VERSION");
    let _ = match of {
        Of::Model => writeln!(
            card,
            "# A vision-language model\n\nTrained with burn-vlm {version} and not looked at by anybody yet: say here what it is for, and what \
             it must not be used for.\n"
        ),
        Of::Base => writeln!(
            card,
            "# The model below an adapter\n\nWritten by burn-vlm {version} before the stage that trained the adapter in the folder \
             `{ADAPTER}` beside this one. With it these weights are the run's `model`; an adapter is of use on the weights that it was \
             trained on, and on no others.\n"
        ),
        Of::Adapter => writeln!(
            card,
            "# A low-rank adapter\n\nTrained with burn-vlm {version} and not looked at by anybody yet: say here what it is for, and what it \
             must not be used for. The layout is peft's. It goes on {}, and on no other weights: `base.json` tells them by sizes and \
             hashes. The run's `model` has it merged.\n\n```bash\nburn-vlm chat --model BASE --adapter ADAPTER\nburn-vlm merge --model BASE \
             --adapter ADAPTER --out MERGED\n```\n",
            match &recipe.model.from {
                // A first stage on a whole model; else the run wrote the model below.
                Some(from) if stages.len() == 1 => format!("`{}`", last_name(from)),
                _ => format!("the model in the folder `{BASE}` that the run wrote beside it"),
            }
        ),
    };
    if let Some(programs) = programs {
        card.push_str(&programs.section());
    }
    made_of(&mut card, &named);
    stages.iter().zip(drawn).enumerate().take(before).try_for_each(|(number, (stage, drawn))| {
        trained(&mut card, (number, stage), drawn.as_ref(), recipe.stage.get(&stage.name))
    })?;
    let _ = writeln!(card, "## Scores\n\n{}\n", nothing());
    let _ = writeln!(
        card,
        "## How to make it again\n\nWith this recipe in `recipe.toml`, its parts below `parts` and its data where it says:\n\n```bash\nburn-vlm train recipe.toml --parts parts --out out\n```\n\n```toml\n{}\n```",
        shown(recipe)?.trim_end()
    );
    Ok(card)
}

/// A recipe without what only parts that are pretrained here have, where it has none.
fn shown(recipe: &Recipe) -> Result<String> {
    let told = |error: toml::ser::Error| TrainError::Recipe(error.to_string());
    let mut table = toml::Table::try_from(recipe).map_err(told)?;
    if recipe.tokenizer == TokenizerRecipe::default() {
        table.remove("tokenizer");
    }
    if recipe.part.is_empty() {
        table.remove("part");
    }
    toml::to_string(&table).map_err(told)
}

/// Puts a card in its place, unless it is there or a person's work would be lost.
pub(super) fn put(file: &Path, card: &str) -> Result<CardWritten> {
    let signed = |text: &str| format!("{}{}{}", MADE.0, blake3::hash(without_scores(text).as_bytes()).to_hex(), MADE.1);
    let made = format!("{card}{}", signed(card));
    let there = match fs::read_to_string(file) {
        Ok(there) => there,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            write_atomic(file, made.as_bytes())?;
            return Ok(CardWritten::Current);
        }
        Err(error) => return Err(TrainError::io("cannot read", file, error)),
    };
    if without_scores(&there) == without_scores(&made) {
        return Ok(CardWritten::Current);
    }
    // Scores of the model before are not those of this one.
    match there.rfind(MADE.0).map(|at| there.split_at(at)) {
        Some((text, hash)) if hash == signed(text) => {
            write_atomic(file, made.as_bytes())?;
            Ok(CardWritten::Current)
        }
        _ => Ok(CardWritten::Edited),
    }
}

/// The YAML that stands first.
fn head(drawn: &[Option<DrawnSamples>], named: &[Named], of: Of, task: Option<&str>) -> String {
    let mut yaml = Yaml::begin(if of == Of::Adapter { "peft" } else { "burn-vlm" }, task);
    let languages: BTreeSet<&str> = drawn
        .iter()
        .flatten()
        .flat_map(|drawn| drawn.by_language.keys().map(String::as_str))
        .filter(|tag| *tag != UNTOLD)
        .collect();
    yaml.list("language", languages);
    if of == Of::Adapter {
        yaml.list("tags", ["lora"]);
    }
    yaml.base_models(named);
    yaml.end()
}

/// The parts by what they are, named as the recipe does, a folder by its last name.
fn sources(recipe: &Recipe, parts: &PartFolders) -> Vec<Named> {
    let model = &recipe.model;
    match &model.from {
        Some(from) => vec![Named::new("Model", &last_name(from), &parts.encoder)],
        None => vec![
            Named::new("Vision encoder", &last_name(&model.encoder), &parts.encoder),
            Named::new("Language model", &last_name(&model.backbone), &parts.backbone),
        ],
    }
}

/// The last name of a part's path.
fn last_name(part: &str) -> String {
    let last = Path::new(part).file_name().map(|name| name.to_string_lossy().into_owned());
    last.unwrap_or_else(|| part.to_owned())
}

/// A stage: what it trained, on what.
fn trained(
    card: &mut String,
    (number, stage): (usize, &TrainedStage),
    drawn: Option<&DrawnSamples>,
    recipe: Option<&StageRecipe>,
) -> Result<()> {
    let _ = writeln!(card, "## Stage {}: {}\n", number + 1, stage.name);
    if let Some(recipe) = recipe {
        let rates: Vec<String> = recipe.train.iter().map(|(part, rate)| format!("`{part}` at {rate:e}")).collect();
        let rates = rates.join(", ");
        let _ = match &recipe.lora {
            None => writeln!(card, "- Trained: {rates}; all else is as it was."),
            Some(lora) => {
                let kind = if lora.dora { "DoRA" } else { "LoRA" };
                let rounded = if lora.base == StoreDtype::F32 { "" } else { " rounded to bf16 and" };
                writeln!(
                    card,
                    "- Trained: {kind} adapters of rank {} on {}, merged into the weights, which are{rounded} otherwise as they were; learning \
                     rates: {rates}.",
                    lora.r,
                    lora.targets.join(", ")
                )
            }
        };
    }
    if let Some(last) = stage.log.last() {
        let _ = writeln!(
            card,
            "- {} steps, {} tokens, those of pictures among them; loss of the last step {:.4}.",
            last.step, last.tokens, last.loss
        );
    }
    if let Some(validated) = &stage.validated {
        let _ = writeln!(
            card,
            "- Loss on samples that were held out: {:.4}, after {} steps.",
            validated.validation.loss, validated.step
        );
    }
    let Some(drawn) = drawn else {
        card.push('\n');
        return Ok(());
    };
    let _ = writeln!(
        card,
        "- {} samples, of {} records {} different ones.\n",
        drawn.samples, drawn.records, drawn.distinct
    );
    for (what, counts) in [("language", &drawn.by_language), ("source", &drawn.by_source)] {
        let _ = writeln!(card, "| {what} | samples | share |\n|---|--:|--:|");
        for (name, samples) in counts {
            let share = 100.0 * *samples as f64 / drawn.samples.max(1) as f64;
            let _ = writeln!(card, "| {} | {samples} | {share:.1} % |", cell(name));
        }
        card.push('\n');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_was_edited_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let card = |steps: usize| format!("# A\n\n{steps} steps\n\n## Scores\n\n{}\n\n## How\n", nothing());
        let read = || fs::read_to_string(&file).unwrap();
        assert_eq!(put(&file, &card(4)).unwrap(), CardWritten::Current);
        let first = read();
        // With scores it is the same card; of a model that was trained on, they are another's.
        let scored = first.replace(&nothing(), "<!-- scores: x -->\n50\n<!-- end of scores: x -->");
        assert_ne!(scored, first);
        fs::write(&file, &scored).unwrap();
        assert_eq!((put(&file, &card(4)).unwrap(), read()), (CardWritten::Current, scored.clone()));
        assert_eq!(put(&file, &card(8)).unwrap(), CardWritten::Current);
        assert_eq!(read(), {
            std::fs::remove_file(&file).unwrap();
            put(&file, &card(8)).unwrap();
            read()
        });
        assert!(!read().contains("scores: x"));
        for edited in [scored.replace("# A", "# Mine"), "# Mine\n".to_owned(), format!("{scored}More.\n")] {
            fs::write(&file, &edited).unwrap();
            assert_eq!((put(&file, &card(8)).unwrap(), read()), (CardWritten::Edited, edited));
        }
    }

    #[test]
    fn the_head_has_languages_and_parts() {
        let text = "stages = ['a']\n[model]\nfrom = 'x/My: model'\n[stage.a]\nobjective = 'vlm'\nsteps = 1\nbatch = 1\n\
                    train = { language_model = 1e-3 }\ndata = { languages = ['en'], tasks = { caption = 1.0 } }\n";
        let recipe = Recipe::from_table(toml::from_str(text).unwrap()).unwrap();
        let by_language = [("no".to_owned(), 3), (UNTOLD.to_owned(), 1)].into();
        let drawn = [Some(DrawnSamples { samples: 4, by_language, ..DrawnSamples::default() }), None];
        let cached = tempfile::tempdir().unwrap();
        let snapshot = cached.path().join("models--org--My-model/snapshots/abc");
        fs::create_dir_all(&snapshot).unwrap();
        let parts = PartFolders { encoder: snapshot.clone(), backbone: snapshot };
        let named = sources(&recipe, &parts);
        assert_eq!(
            head(&drawn, &named, Of::Model, Some("image-text-to-text")),
            "---\nlibrary_name: burn-vlm\npipeline_tag: image-text-to-text\nlanguage:\n- \"no\"\nbase_model:\n- \"org/My-model\"\n---\n\n"
        );
        // A folder's name is no id of the hub, and another library's task is not this model's.
        let parts = PartFolders { encoder: "x/My: model".into(), backbone: "x/My: model".into() };
        let named = sources(&recipe, &parts);
        assert_eq!(head(&drawn[1..], &named, Of::Adapter, None), "---\nlibrary_name: peft\ntags:\n- \"lora\"\n---\n\n");
        let mut table = String::new();
        made_of(&mut table, &named);
        assert!(table.contains("| Model | My: model | not stated in its folder |"), "{table}");
        // What the recipe does not have does not stand in it, and what stands there is the recipe.
        let shown = shown(&recipe).unwrap();
        assert!(!shown.contains("[tokenizer]") && !shown.contains("[part"), "{shown}");
        assert_eq!(Recipe::from_table(toml::from_str(&shown).unwrap()).unwrap(), recipe);
    }
}

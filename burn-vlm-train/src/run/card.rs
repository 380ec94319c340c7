//! The model card: `README.md` of a trained model's folder, so that it says what it is wherever it goes.
//!
//! Its head is the YAML that the hub reads. Nothing in it is of the machine or the hour: the same run writes the same card. Its last line
//! is a hash of the rest, scores left out: a card that a person has edited is told by it, and left alone.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use burn_vlm::checkpoint::StoreDtype;
use burn_vlm::vlm::VlmType;
use burn_vlm_base::files::write_atomic;

use super::card_scores::{nothing, without_scores};
use super::{DrawnSamples, PartFolders, TrainedStage, stage_folder};
use crate::error::{Result, TrainError};
use crate::recipe::{Recipe, StageRecipe};

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

/// Writes the card of the model in `folder`, trained by `recipe` in `out`. One that says the same already keeps its scores.
///
/// # Errors
/// A damaged `samples.json` of a stage; a file that cannot be read or written.
pub(super) fn write(
    recipe: &Recipe,
    parts: &PartFolders,
    (out, stages): (&Path, &[TrainedStage]),
    model_type: VlmType,
    folder: &Path,
) -> Result<CardWritten> {
    let drawn: Vec<Option<DrawnSamples>> = stages
        .iter()
        .enumerate()
        .map(|(number, stage)| DrawnSamples::read(&stage_folder(out, number, &stage.name)))
        .collect::<Result<_>>()?;
    let mut card = head(recipe, &drawn);
    let _ = writeln!(
        card,
        "# A vision-language model\n\nTrained with burn-vlm {} and not looked at by anybody yet: say here what it is for, and what it must not be used for. The layout \
         is {}.\n",
        env!("CARGO_PKG_VERSION"),
        layout(model_type)
    );
    made_of(&mut card, recipe, parts);
    stages.iter().enumerate().zip(&drawn).try_for_each(|((number, stage), drawn)| {
        trained(&mut card, (number, stage), drawn.as_ref(), recipe.stage.get(&stage.name))
    })?;
    let _ = writeln!(card, "## Scores\n\n{}\n", nothing());
    let text = toml::to_string(recipe).map_err(|e| TrainError::Recipe(e.to_string()))?;
    let _ = writeln!(
        card,
        "## How to make it again\n\nWith this recipe in `recipe.toml`, its parts below `parts` and its data where it says:\n\n```bash\nburn-vlm train recipe.toml --parts parts --out out\n```\n\n```toml\n{}\n```",
        text.trim_end()
    );
    put(&folder.join(FILE), &card)
}

/// Puts a card in its place, unless it is there or a person's work would be lost.
fn put(file: &Path, card: &str) -> Result<CardWritten> {
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

/// What transformers calls the layout.
fn layout(model_type: VlmType) -> &'static str {
    match model_type {
        VlmType::Llava => "LLaVA's, as transformers has it",
        VlmType::LlavaNext => "LLaVA-NeXT's, as transformers has it",
        VlmType::LlavaOnevision => "LLaVA-OneVision's, as transformers has it",
    }
}

/// The YAML that stands first.
fn head(recipe: &Recipe, drawn: &[Option<DrawnSamples>]) -> String {
    let mut yaml = "---\nlibrary_name: burn-vlm\npipeline_tag: image-text-to-text\n".to_owned();
    let languages: BTreeSet<&String> =
        drawn.iter().flatten().flat_map(|drawn| drawn.by_language.keys()).filter(|tag| *tag != UNTOLD).collect();
    if !languages.is_empty() {
        yaml.push_str("language:\n");
        for tag in languages {
            let _ = writeln!(yaml, "- {}", quoted(tag));
        }
    }
    yaml.push_str("base_model:\n");
    for (_, name) in names(recipe) {
        let _ = writeln!(yaml, "- {}", quoted(&name));
    }
    yaml.push_str("---\n\n");
    yaml
}

/// A YAML string: a language `no` is not false, and a name may hold a colon.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The parts by what they are, named as the recipe does, a folder by its last name.
fn names(recipe: &Recipe) -> Vec<(&'static str, String)> {
    let model = &recipe.model;
    let name = |part: &str| {
        let last = Path::new(part).file_name().map(|name| name.to_string_lossy().into_owned());
        last.unwrap_or_else(|| part.to_owned())
    };
    match &model.from {
        Some(from) => vec![("Model", name(from))],
        None => vec![("Vision encoder", name(&model.encoder)), ("Language model", name(&model.backbone))],
    }
}

/// What it was made from, with the licences that these folders state.
fn made_of(card: &mut String, recipe: &Recipe, parts: &PartFolders) {
    card.push_str("## Made from\n\n| part | name | its licence |\n|---|---|---|\n");
    let folders = [&parts.encoder, &parts.backbone];
    for ((what, name), folder) in names(recipe).iter().zip(folders) {
        let licence = licence(folder).unwrap_or_else(|| "not stated in its folder".to_owned());
        let _ = writeln!(card, "| {what} | {} | {} |", cell(name), cell(&licence));
    }
    card.push_str(
        "\nA model that is trained from others is bound by their licences, and by those of its data: look both up before you pass it on.\n\n",
    );
}

/// `license` (and `license_name`) of the YAML in a folder's own card.
fn licence(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join(FILE)).ok()?;
    let yaml = text.strip_prefix("---")?.split("\n---").next()?;
    let value = |key: &str| {
        let line = yaml.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let value = line.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    let licence = value("license")?;
    Some(match value("license_name").filter(|_| licence == "other") {
        Some(name) => name,
        None => licence,
    })
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

/// Text in a table: what would end its cell or its line is replaced.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_those_of_the_cards() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(licence(folder.path()), None);
        let of = |text: &str| {
            fs::write(folder.path().join(FILE), text).unwrap();
            licence(folder.path())
        };
        assert_eq!(of("---\nlanguage: en\nlicense: apache-2.0\n---\n# A"), Some("apache-2.0".into()));
        assert_eq!(of("---\nlicense: \"gemma\"\nlicense_name: x\n---\n"), Some("gemma".into()));
        assert_eq!(of("---\nlicense: other\nlicense_name: qwen\n---\n"), Some("qwen".into()));
        // In the text below it is no licence.
        assert_eq!(of("---\nlanguage: en\n---\nlicense: mit\n"), None);
        assert_eq!(of("# A\nlicense: mit\n"), None);
        assert_eq!(of("---\nlicense:\n---\n"), None);
    }

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
        let head = head(&recipe, &drawn);
        assert_eq!(
            head,
            "---\nlibrary_name: burn-vlm\npipeline_tag: image-text-to-text\nlanguage:\n- \"no\"\nbase_model:\n- \"My: model\"\n---\n\n"
        );
    }
}

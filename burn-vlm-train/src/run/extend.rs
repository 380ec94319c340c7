//! A finished run goes on: more steps or epochs for its last stage, with more data if there is more.
//!
//! Nothing else of the run may change. From the last checkpoint on the learning rate follows the schedule of the new length, and the
//! data is what it is now. What was before is noted in the stage's `extended.json`, so that the same command resumes the extended run
//! bit for bit as it does any other.

use std::fs;
use std::path::Path;

use burn_vlm_base::files::{write_atomic, write_json_atomic};

use super::data::StageData;
use super::stage_folder;
use crate::checkpoint::{self, EXTENDED, Earlier};
use crate::error::{Result, TrainError};
use crate::recipe::{Recipe, StageRecipe};

/// A run that is to be extended.
pub(super) struct Extending {
    /// Number of its last stage, from 0.
    pub(super) number: usize,
    /// That stage as it was.
    old: StageRecipe,
    /// Steps that it has done.
    step: usize,
    /// What it was made with.
    fingerprint: String,
    /// Whether the recipe is the one that is there.
    same_recipe: bool,
}

/// The hash of a run up to a stage: of the stages before it, and the stage.
pub(super) fn chain(before: &str, number: usize, stage: &StageRecipe) -> String {
    // Checkpoints from before there were adapters are still those of the stages that have none.
    let stage = format!("{stage:?}").replacen("lora: None, ", "", 1);
    blake3::hash(format!("{before} {number} {stage}").as_bytes()).to_hex().to_string()
}

impl Extending {
    /// The finished run in `out`, which this recipe makes longer.
    ///
    /// # Errors
    /// No run there, one that has not come to its last stage, and a recipe that changes something else.
    pub(super) fn of(out: &Path, recipe: &Recipe) -> Result<Self> {
        let file = out.join("recipe.toml");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(TrainError::Recipe(format!(
                    "there is no run in {} that --extend could go on with",
                    out.display()
                )));
            }
            Err(error) => return Err(TrainError::io("cannot read", &file, error)),
        };
        let old: Recipe = toml::from_str(&text).map_err(|e| TrainError::invalid(&file, e.to_string()))?;
        let number = recipe.stages.len() - 1;
        let name = &recipe.stages[number];
        let (Some(was), Some(now)) = (old.stage.get(name), recipe.stage.get(name)) else {
            return Err(differs(&file, &old, recipe));
        };
        // The length is what may change.
        let mut same = recipe.clone();
        let length = StageRecipe { steps: was.steps, epochs: was.epochs, ..now.clone() };
        same.stage.insert(name.clone(), length);
        if same != old {
            return Err(differs(&file, &old, &same));
        }
        let folder = stage_folder(out, number, name);
        let Some(newest) = checkpoint::list(&folder)?.pop() else {
            return Err(TrainError::Recipe(format!(
                "[stage.{name}] of the run in {} has no checkpoint: run it to its end first, without --extend",
                out.display()
            )));
        };
        let state = checkpoint::read_state(&newest)?;
        let same_recipe = old == *recipe;
        Ok(Self { number, old: was.clone(), step: state.step, fingerprint: state.fingerprint, same_recipe })
    }

    /// Makes the extension the run's, where it is one; what changes, for people. `before` is the hash of the stages before.
    ///
    /// # Errors
    /// A stage that is not at its end, or that has done as many steps as are asked for.
    pub(super) fn commit(
        &self,
        (out, recipe): (&Path, &Recipe),
        (name, before): (&str, &str),
        data: &StageData,
    ) -> Result<Vec<String>> {
        // The same command again, after it was killed, say.
        if self.same_recipe && data.changes.is_empty() {
            return Ok(Vec::new());
        }
        let (step, steps) = (self.step, data.stage.steps);
        let ended = chain(before, self.number, &StageRecipe { steps: step, ..self.old.clone() });
        if self.fingerprint.split(' ').next() != Some(&ended) {
            return Err(TrainError::Recipe(format!(
                "[stage.{name}] is at step {step} and not at its end, or its parts have changed: run it to its end first, without --extend"
            )));
        }
        if steps <= step {
            return Err(TrainError::Recipe(format!(
                "[stage.{name}] has done {step} steps and the recipe asks for {steps}: for --extend give it more, by `steps` or `epochs` \
                 (--set stage.{name}.steps={})",
                2 * step
            )));
        }
        let folder = stage_folder(out, self.number, name);
        let mut earlier = checkpoint::earlier(&folder)?;
        if earlier.last().is_none_or(|last| last.fingerprint != self.fingerprint) {
            let fingerprint = self.fingerprint.clone();
            earlier.push(Earlier { step, fingerprint, data_changed: !data.changes.is_empty() });
        }
        // In this order a run that is killed between them is still the one before.
        write_json_atomic(&folder.join(EXTENDED), &earlier)?;
        data.accept(&folder)?;
        let text = toml::to_string(recipe).map_err(|e| TrainError::Recipe(e.to_string()))?;
        write_atomic(&out.join("recipe.toml"), text.as_bytes())?;
        let schedule = &data.stage.schedule;
        let (was, is) = (schedule.factor(step.saturating_sub(1), step), schedule.factor(step, steps));
        let mut lines = vec![format!(
            "extended from {step} to {steps} steps; the learning rate follows the new length: {was:.3} of its peak at the end of the old \
             one, {is:.3} from here"
        )];
        lines.extend(data.changes.iter().map(|change| format!("the data has changed: {change}")));
        if !data.changes.is_empty() {
            lines.push(format!(
                "from step {} on samples are drawn from the data as it is now, in a new order: what has been drawn may come again; \
                 earlier validations no longer decide on the best weights",
                step + 1
            ));
        }
        Ok(lines)
    }
}

/// What more than a length two recipes differ in.
fn differs(file: &Path, old: &Recipe, new: &Recipe) -> TrainError {
    let text = |recipe: &Recipe| toml::to_string(recipe).unwrap_or_default();
    let (old, new) = (text(old), text(new));
    let first = old.lines().zip(new.lines()).find(|(old, new)| old != new);
    let (old, new) = first.unwrap_or(("(its end)", "(more lines, or fewer)"));
    let message = format!(
        "--extend changes the length of a run's last stage and nothing else (there `{old}`, now `{new}`); to start from this run's weights \
         with another recipe: --init-from, with another folder"
    );
    TrainError::invalid(file, message)
}

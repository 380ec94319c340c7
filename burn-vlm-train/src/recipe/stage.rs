//! `[stage.NAME]`: what is minimised, on what, how long, with which learning rates.

use std::collections::BTreeMap;

use burn_vlm_data::language::Language;
use burn_vlm_data::mixture::Share;
use burn_vlm_data::tasks::{Task, WordSettings};
use serde::{Deserialize, Serialize};

use super::{DataRecipe, LoraRecipe, MixtureRecipe, PictureView, ValidationRecipe, has_picture};
use crate::error::{Result, TrainError};
use crate::optim::{AdamWConfig, Schedule};

/// What a stage minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveKind {
    /// Next-token loss on the answers, given picture and question.
    Vlm,
    /// Next-token loss on the answers of text-only conversations.
    Text,
    /// Sigmoid loss of picture-text pairs (Zhai et al. 2023).
    Siglip,
    /// Softmax loss of picture-text pairs (Radford et al. 2021).
    Clip,
}

/// One stage of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecipe {
    /// What is minimised.
    pub objective: ObjectiveKind,
    /// Optimizer steps; 0 where `epochs` says how long.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps: usize,
    /// Instead of `steps`, for a `mixture`: times through it. Samples that do not fill a last step are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Samples of a micro-batch.
    pub batch: usize,
    /// Micro-batches of one optimizer step.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// `pattern -> learning rate`; what no pattern names is frozen.
    pub train: BTreeMap<String, f64>,
    /// Adapters on the model's layers, which `train` then means; the weights below them are frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraRecipe>,
    /// Parrot's stage 1: the connector's projector alone, past its router and experts. No other connector has any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bypass_experts: bool,
    /// The most tokens of a sample, visual ones counted; what becomes of a longer one, a mixture's `truncation` says: by default it is
    /// left out and listed. Absent, no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Warmup and decay.
    #[serde(default)]
    pub schedule: Schedule,
    /// AdamW.
    #[serde(default)]
    pub optimizer: AdamWConfig,
    /// Samples of the embedded corpus.
    #[serde(default, skip_serializing_if = "DataRecipe::is_empty")]
    pub data: DataRecipe,
    /// Your own samples, instead of `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixture: Option<MixtureRecipe>,
    /// Validates every so many steps, and at the end; 0 for never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub eval_every: usize,
    /// What is validated on; 2 % of the data where `eval_every` is given and this is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationRecipe>,
    /// A log line every so many steps.
    #[serde(default = "log_every")]
    pub log_every: usize,
    /// A checkpoint every so many steps; 0 for none but the last.
    #[serde(default)]
    pub checkpoint_every: usize,
    /// How many checkpoints are kept.
    #[serde(default = "two")]
    pub keep_checkpoints: usize,
}

fn one() -> usize {
    1
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn two() -> usize {
    2
}

fn log_every() -> usize {
    20
}

/// Samples of an optimizer step at most: they stand in memory together, and the largest published steps have some ten thousand.
const STEP_SAMPLES: usize = 1 << 20;

/// Samples of a stage at most: as many as an f64 counts exactly.
const STAGE_SAMPLES: usize = 1 << 53;

impl StageRecipe {
    /// Samples of an optimizer step.
    pub fn samples_per_step(&self) -> usize {
        self.batch * self.accumulate
    }

    /// Optimizer steps over data of `epoch` samples, where that is what `epochs` counts.
    ///
    /// # Errors
    /// Fewer samples than one step needs.
    pub fn steps_over(&self, name: &str, epoch: u64) -> Result<usize> {
        let Some(epochs) = self.epochs else { return Ok(self.steps) };
        let per_step = self.samples_per_step();
        // A cast from a float keeps to the range of its type.
        match (epochs * epoch as f64 / per_step as f64) as usize {
            steps if steps > STAGE_SAMPLES / per_step => Err(TrainError::Recipe(format!(
                "[stage.{name}]: epochs = {epochs} of {epoch} samples are more than can be counted"
            ))),
            0 => Err(TrainError::Recipe(format!(
                "[stage.{name}]: epochs = {epochs} of {epoch} samples are less than one step of {per_step} (batch x accumulate)"
            ))),
            steps => Ok(steps),
        }
    }

    /// What is validated on, if anything is.
    pub fn validation(&self) -> Option<ValidationRecipe> {
        self.validation.clone().or_else(|| (self.eval_every > 0).then(ValidationRecipe::default))
    }

    /// The share of the training data that this stage alone would hold out, see [`Recipe::held_out_share`](super::Recipe::held_out_share).
    pub fn held_out_share(&self) -> Share {
        self.validation().map_or(Share::ZERO, |validation| validation.share())
    }

    pub(super) fn check(&self, name: &str) -> Result<()> {
        let fail = |message: String| Err(TrainError::Recipe(format!("[stage.{name}]: {message}")));
        if self.batch == 0 || self.accumulate == 0 || self.log_every == 0 {
            return fail("`batch`, `accumulate` and `log_every` must be at least 1".into());
        }
        let per_step = self.batch.checked_mul(self.accumulate).filter(|samples| *samples <= STEP_SAMPLES);
        let Some(per_step) = per_step else {
            let (batch, accumulate) = (self.batch, self.accumulate);
            return fail(format!(
                "`batch = {batch}` x `accumulate = {accumulate}` are more than {STEP_SAMPLES} samples a step"
            ));
        };
        if self.steps > STAGE_SAMPLES / per_step {
            return fail(format!("`steps = {}` of {per_step} samples are more than can be counted", self.steps));
        }
        if !self.train.values().any(|rate| *rate > 0.0) {
            return fail("nothing would be trained: `train` needs a pattern with a learning rate above 0".into());
        }
        if let Some(lora) = &self.lora {
            if let Some(problem) = lora.problem() {
                return fail(format!("`lora`: {problem}"));
            }
            if self.objective != ObjectiveKind::Vlm {
                return fail("`lora` needs `objective = \"vlm\"`".into());
            }
        }
        let AdamWConfig { betas: (beta1, beta2), eps, weight_decay, clip } = self.optimizer;
        let share = |value: f64| (0.0..1.0).contains(&value);
        if !share(beta1) || !share(beta2) || eps <= 0.0 || eps.is_nan() {
            return fail("`optimizer`: `betas` must lie in 0..1 and `eps` above 0".into());
        }
        if !(weight_decay >= 0.0 && clip >= 0.0) {
            return fail("`optimizer`: `weight_decay` and `clip` must be at least 0".into());
        }
        let Schedule { warmup, final_factor, .. } = self.schedule;
        if !((0.0..=1.0).contains(&warmup) && final_factor >= 0.0 && final_factor.is_finite()) {
            return fail("`schedule`: `warmup` is a share of the steps, 0 to 1, and `final_factor` at least 0".into());
        }
        match (self.steps, self.epochs) {
            (0, None) => return fail("`steps` must be at least 1, or, with a `mixture`, `epochs` given".into()),
            (1.., Some(_)) => return fail("`steps` and `epochs` both say how long; keep one".into()),
            (_, Some(epochs)) if !(epochs > 0.0 && epochs.is_finite()) => {
                return fail(format!("`epochs = {epochs}` must be above 0"));
            }
            (_, Some(_)) if self.mixture.is_none() => {
                return fail("`epochs` counts a `mixture`; the corpus is drawn by weight, give `steps`".into());
            }
            _ => {}
        }
        if let Some(validation) = &self.validation {
            if self.eval_every == 0 {
                return fail("`validation` needs `eval_every`, the steps between two of them".into());
            }
            if validation.share.is_some() && validation.file.is_some() {
                return fail("`validation`: `share` and `file` both say what is held out; keep one".into());
            }
            if validation.samples == 0 || validation.early_stop == Some(0) {
                return fail("`validation`: `samples` and `early_stop` must be at least 1".into());
            }
        }
        if !self.eval_every.is_multiple_of(self.log_every) {
            return fail(
                "`eval_every` must be a multiple of `log_every`, so that each validation stands beside a loss".into(),
            );
        }
        match &self.mixture {
            None => self.check_data(name),
            Some(_) if !self.data.is_empty() => fail("`data` and `mixture` both name the samples; keep one".into()),
            Some(_) if self.objective != ObjectiveKind::Vlm => fail("a `mixture` needs `objective = \"vlm\"`".into()),
            Some(mixture) => mixture.problem().map_or(Ok(()), fail),
        }
    }

    /// The samples of the embedded corpus.
    fn check_data(&self, name: &str) -> Result<()> {
        let fail = |message: String| Err(TrainError::Recipe(format!("[stage.{name}]: {message}")));
        if self.data.languages.is_empty() {
            return fail("`data.languages` is empty, and there is no `mixture`".into());
        }
        if let Some(share) = self.data.english
            && (!(0.0..=1.0).contains(&share) || !self.data.languages.contains(&Language::EN))
        {
            return fail(format!("`data.english = {share}` must lie in 0..1, with `en` among the languages"));
        }
        if !self.data.shares.is_empty() {
            let weighted =
                |language: &&Language| self.data.shares.get(*language).is_some_and(|w| w.is_finite() && *w > 0.0);
            let missing = self.data.languages.iter().find(|language| !weighted(language));
            let foreign = self.data.shares.keys().find(|language| !self.data.languages.contains(language));
            if let Some(language) = missing.or(foreign) {
                return fail(format!(
                    "`data.shares` must give every language of `data.languages`, and no other, a weight above 0; see `{language}`"
                ));
            }
            if self.data.english.is_some() {
                return fail("`data.english` and `data.shares` both set the share of English; keep one".into());
            }
        }
        if let Some(text) = &self.data.text {
            if self.objective != ObjectiveKind::Vlm {
                return fail(
                    "`data.text` goes with `objective = \"vlm\"`; other objectives have one kind of samples".into(),
                );
            }
            if let Some(problem) = text.problem() {
                return fail(problem);
            }
        }
        if self.data.pictures == PictureView::Tiles && self.data.views > 0 {
            return fail(
                "`data.views` keeps features of pictures of one view; it does not go with `data.pictures = \"tiles\"`"
                    .into(),
            );
        }
        if let Some(problem) = self.data.words.as_ref().and_then(WordSettings::problem) {
            return fail(format!("`data.words`: {problem}"));
        }
        if let Some(problem) = self.data.scenes.problem() {
            return fail(format!("`data.scenes`: {problem}"));
        }
        if let Some(problem) = self.data.clips.problem() {
            return fail(format!("`data.clips`: {problem}"));
        }
        if let Some(problem) = self.data.translated.problem() {
            return fail(format!("`data.translated`: {problem}"));
        }
        if self.data.augment && self.data.share_of(Task::Clips) > 0.0 {
            return fail(
                "the task `clips` needs `augment = false`: frames that are changed one by one move by themselves"
                    .into(),
            );
        }
        let contrastive = matches!(self.objective, ObjectiveKind::Siglip | ObjectiveKind::Clip);
        if !contrastive && self.data.words.as_ref().is_some_and(|words| words.pieces > 0.0) {
            return fail("`data.words.pieces` is for contrastive objectives; others are trained on whole words".into());
        }
        let no_pair = self.data.tasks.keys().find(|task| !matches!(task, Task::Caption | Task::Words));
        if let Some(task) = no_pair.filter(|_| contrastive) {
            return fail(format!(
                "the task `{}` gives no pairs of a picture and a text; a contrastive objective takes `caption` and `words`",
                task.as_str()
            ));
        }
        let weights = || self.data.tasks.values();
        // A contrastive objective needs no task: pictures with their names.
        if !(contrastive && self.data.tasks.is_empty())
            && (weights().sum::<f64>() <= 0.0 || weights().any(|weight| !weight.is_finite() || *weight < 0.0))
        {
            return fail("`data.tasks` needs at least one task with a positive weight, and none below 0".into());
        }
        if !contrastive {
            let pictured = self.data.tasks.keys().find(|task| has_picture(**task));
            if let (ObjectiveKind::Text, Some(task)) = (self.objective, pictured) {
                return fail(format!("the task `{}` has a picture, the objective `text` has none", task.as_str()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_text_is_checked() {
        let check = |text: &str| {
            let data = format!("{{ languages = ['en'], tasks = {{ caption = 1.0 }}, text = {text} }}");
            let stage = format!("objective = 'vlm'\nsteps = 1\nbatch = 2\ntrain = {{ a = 1e-3 }}\ndata = {data}");
            let stage: StageRecipe = toml::from_str(&stage).unwrap();
            stage.check("finetune").map_err(|error| error.to_string())
        };
        check("{ share = 0.1, languages = ['de'], tasks = { translation = 2.0, keywords_to_name = 1.0 } }").unwrap();
        for (text, says) in [
            ("{ share = 1.5, languages = ['de'], tasks = { translation = 1.0 } }", "must lie in 0..1"),
            ("{ share = 0.1, languages = [], tasks = { translation = 1.0 } }", "`data.text.languages`"),
            ("{ share = 0.1, languages = ['de'], tasks = { translation = 0.0 } }", "positive weight"),
            ("{ share = 0.1, languages = ['de'], tasks = { caption = 1.0 } }", "those of `caption` have one"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains("[stage.finetune]") && error.contains(says), "{error}");
        }
    }

    #[test]
    fn weights_of_tasks_are_checked_for_every_objective() {
        let check = |objective: &str, data: &str| {
            let text = format!(
                "objective = '{objective}'\nsteps = 1\nbatch = 2\ntrain = {{ a = 1e-3 }}\ndata = {{ languages = ['en'], {data} }}"
            );
            let stage: StageRecipe = toml::from_str(&text).unwrap();
            stage.check("train").map_err(|error| error.to_string())
        };
        check("siglip", "keyword_share = 0.1").unwrap();
        check("siglip", "tasks = { caption = 1.0, words = 0.5 }").unwrap();
        check("siglip", "tasks = { words = 1.0 }, words = { pieces = 0.5 }").unwrap();
        check("vlm", "tasks = { scenes = 1.0 }, scenes = { questions = ['count'], sizes = ['1/8'] }").unwrap();
        check("vlm", "tasks = { clips = 1.0 }, augment = false, clips = { frames = 4, questions = ['turns'] }")
            .unwrap();
        for (objective, data, says) in [
            ("siglip", "tasks = { caption = 1.0, words = -2.0 }", "none below 0"),
            ("siglip", "tasks = { words = 0.0 }", "positive weight"),
            ("siglip", "tasks = { words = 1.0 }, words = { pieces = -0.5 }", "`data.words`: `pieces"),
            ("vlm", "tasks = { words = 1.0 }, words = { pieces = 0.5 }", "contrastive objectives"),
            ("vlm", "tasks = { caption = nan }", "positive weight"),
            ("vlm", "tasks = { caption = -1.0, yes_no = 2.0 }", "none below 0"),
            ("vlm", "tasks = { scenes = 1.0 }, scenes = { variants = 0 }", "`data.scenes`: `variants`"),
            ("vlm", "tasks = { caption = 1.0 }, pictures = 'tiles', views = 2", "pictures of one view"),
            ("vlm", "tasks = { clips = 1.0 }, augment = false, clips = { frames = 5 }", "`data.clips`: `frames = 5`"),
            ("vlm", "tasks = { caption = 1.0, clips = 0.1 }", "needs `augment = false`"),
            ("siglip", "tasks = { clips = 1.0 }, augment = false", "gives no pairs"),
        ] {
            let error = check(objective, data).unwrap_err();
            assert!(error.contains(says), "{objective} {data}: {error}");
        }
    }

    /// Products that wrap around would train on nothing, or ask for all memory.
    #[test]
    fn sizes_are_checked_against_each_other() {
        let check = |sizes: &str| {
            let train = if sizes.contains("train") { "" } else { "train = { language_model = 1e-3 }" };
            let data = "data = { languages = ['en'], tasks = { caption = 1.0 } }";
            let text = format!("objective = 'vlm'\n{data}\n{train}\n{sizes}");
            let stage: StageRecipe = toml::from_str(&text).unwrap();
            stage.check("align").map_err(|error| error.to_string())
        };
        check("steps = 10\nbatch = 1024\naccumulate = 1024").unwrap();
        for (sizes, says) in [
            ("steps = 1\nbatch = 4294967296\naccumulate = 4294967296", "samples a step"),
            ("steps = 1\nbatch = 1048577\naccumulate = 1", "1048576 samples a step"),
            ("steps = 9223372036854775807\nbatch = 2\naccumulate = 1", "more than can be counted"),
            ("steps = 1\nbatch = 0", "at least 1"),
            ("steps = 1\nbatch = 1\ntrain = {}", "nothing would be trained"),
            ("steps = 1\nbatch = 1\noptimizer = { betas = [0.9, 1.0] }", "`betas`"),
            ("steps = 1\nbatch = 1\noptimizer = { eps = -1.0 }", "`eps`"),
            ("steps = 1\nbatch = 1\noptimizer = { weight_decay = -0.1 }", "`weight_decay`"),
            ("steps = 1\nbatch = 1\nschedule = { warmup = 3.0 }", "`warmup`"),
            ("steps = 1\nbatch = 1\ntrain = { language_model = 0.0 }", "nothing would be trained"),
        ] {
            let error = check(sizes).unwrap_err();
            assert!(error.contains("[stage.align]") && error.contains(says), "{error}");
        }
        let epochs: StageRecipe =
            toml::from_str("objective = 'vlm'\nepochs = 1e300\nbatch = 2\ntrain = { a = 1e-3 }").unwrap();
        let error = epochs.steps_over("align", 1000).unwrap_err().to_string();
        assert!(error.contains("epochs") && error.contains("counted"), "{error}");
        assert_eq!(StageRecipe { epochs: Some(2.0), ..epochs }.steps_over("align", 1000).unwrap(), 1000);
    }
}

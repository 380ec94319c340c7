//! `data` of a stage: samples of the embedded corpus.

use std::collections::BTreeMap;

use burn_vlm_data::language::Language;
use burn_vlm_data::plain::PromptTemplate;
use burn_vlm_data::tasks::{SceneSettings, Task, TaskSettings};
use serde::{Deserialize, Serialize};

use super::PictureView;

/// Which samples of the embedded corpus a stage sees.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// Languages of the answers.
    pub languages: Vec<Language>,
    /// Share of English among the samples; absent: every language the same share.
    #[serde(default)]
    pub english: Option<f64>,
    /// Weight of each language among the samples, instead of `english`; every language of `languages` must have one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: BTreeMap<Language, f64>,
    /// Weights of the tasks; for the contrastive objectives this is left empty.
    #[serde(default)]
    pub tasks: BTreeMap<Task, f64>,
    /// How the conversations are written: by the chat template, or as pretraining texts without roles.
    #[serde(default, skip_serializing_if = "is_chat")]
    pub template: PromptTemplate,
    /// Share of contrastive texts that carry keywords behind the name.
    #[serde(default)]
    pub keyword_share: f64,
    /// Light augmentation of pictures.
    #[serde(default = "yes")]
    pub augment: bool,
    /// With a frozen tower: number of augmented views of each picture whose features are computed once; 0: never cached.
    #[serde(default)]
    pub views: usize,
    /// How pictures are laid into the tower's square: `square`, `pad`, or `tiles`, as `model.tiling` cuts them.
    #[serde(default, skip_serializing_if = "is_square")]
    pub pictures: PictureView,
    /// Which scenes the task `scenes` shows and asks about.
    #[serde(default, skip_serializing_if = "SceneSettings::is_default")]
    pub scenes: SceneSettings,
}

fn yes() -> bool {
    true
}

fn is_square(view: &PictureView) -> bool {
    *view == PictureView::Square
}

fn is_chat(template: &PromptTemplate) -> bool {
    *template == PromptTemplate::Chat
}

impl DataRecipe {
    /// Whether the table is absent.
    pub(super) fn is_empty(&self) -> bool {
        self.languages.is_empty()
    }

    /// What it says of single tasks.
    pub fn task_settings(&self) -> TaskSettings {
        TaskSettings { scenes: self.scenes.clone() }
    }

    /// Share of each language, in the order of [`DataRecipe::languages`].
    pub fn shares(&self) -> Vec<f64> {
        let count = self.languages.len() as f64;
        if !self.shares.is_empty() {
            let weight = |language: &Language| self.shares.get(language).copied().unwrap_or(0.0);
            let sum: f64 = self.languages.iter().map(weight).sum();
            return self.languages.iter().map(|language| weight(language) / sum).collect();
        }
        match self.english {
            Some(share) if self.languages.len() > 1 => self
                .languages
                .iter()
                .map(|&language| if language == Language::EN { share } else { (1.0 - share) / (count - 1.0) })
                .collect(),
            _ => vec![1.0 / count; self.languages.len()],
        }
    }
}

/// Whether the task's samples have a picture.
pub fn has_picture(task: Task) -> bool {
    !matches!(task, Task::Name | Task::KeywordsToName | Task::Translation | Task::KeywordsTranslation)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new key that is left alone must not make another cell of an old one.
    #[test]
    fn keys_that_are_left_alone_are_not_written() {
        let text = "languages = [\"en\"]\ntasks = { caption = 1.0 }";
        let data: DataRecipe = toml::from_str(text).unwrap();
        let written = toml::to_string(&data).unwrap();
        assert!(!written.contains("pictures") && !written.contains("scenes"), "{written}");
        let more = format!("{text}\npictures = \"tiles\"\nscenes = {{ questions = [\"place\"], variants = 2 }}");
        let data: DataRecipe = toml::from_str(&more).unwrap();
        assert_eq!((data.pictures, data.task_settings().scenes.variants), (PictureView::Tiles, 2));
        assert_eq!(toml::from_str::<DataRecipe>(&toml::to_string(&data).unwrap()).unwrap(), data);
    }
}

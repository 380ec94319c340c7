//! `data` of a stage: samples of the embedded corpus.

use std::collections::BTreeMap;

use burn_vlm_data::language::Language;
use burn_vlm_data::plain::PromptTemplate;
use burn_vlm_data::tasks::{ClipSettings, SceneSettings, Task, TaskSettings, TranslatedSettings, WordSettings};
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
    /// Weights of the tasks. The contrastive objectives take `caption` and `words`, and icons with their names where this is left empty.
    #[serde(default)]
    pub tasks: BTreeMap<Task, f64>,
    /// Samples without pictures in the place of some of these: the others keep their proportions, and the total is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextShare>,
    /// Which words the task `words` shows, and how they are drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<WordSettings>,
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
    /// Which clips the task `clips` shows and asks about.
    #[serde(default, skip_serializing_if = "ClipSettings::is_default")]
    pub clips: ClipSettings,
    /// Which translated names the task `translated_caption` has.
    #[serde(default, skip_serializing_if = "TranslatedSettings::is_default")]
    pub translated: TranslatedSettings,
}

/// `text` of a stage's `data`: samples without pictures, in languages of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextShare {
    /// Their share of the stage's samples, 0 to 1.
    pub share: f64,
    /// Languages of the answers, each the same share; translations are from all of them.
    pub languages: Vec<Language>,
    /// Weights of the tasks, none of which has a picture.
    pub tasks: BTreeMap<Task, f64>,
}

impl TextShare {
    /// What is wrong with it, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        let Self { share, languages, tasks } = self;
        if !(0.0..=1.0).contains(share) {
            return Some(format!("`data.text.share = {share}` must lie in 0..1"));
        }
        if languages.is_empty() {
            return Some("`data.text.languages` must not be empty".into());
        }
        if tasks.values().sum::<f64>() <= 0.0 || tasks.values().any(|weight| !(*weight >= 0.0 && weight.is_finite())) {
            return Some("`data.text.tasks` needs at least one task with a positive weight, and none below 0".into());
        }
        let pictured = tasks.keys().find(|task| has_picture(**task))?;
        Some(format!("`data.text.tasks` is of samples without pictures, and those of `{}` have one", pictured.as_str()))
    }
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

    /// Share of a task in the samples; 0 of one that is not among them.
    pub fn share_of(&self, task: Task) -> f64 {
        let weight = self.tasks.get(&task).copied().unwrap_or(0.0);
        if weight > 0.0 { weight / self.tasks.values().sum::<f64>() } else { 0.0 }
    }

    /// Settings of tasks whose samples are drawn or chosen.
    pub fn task_settings(&self) -> TaskSettings {
        let words = self.words.clone().unwrap_or_default();
        let Self { scenes, clips, translated, .. } = self;
        TaskSettings { words, scenes: scenes.clone(), clips: clips.clone(), translated: translated.clone() }
    }

    /// The languages of a task with their shares of its samples: those of the data, but for words and translated captions where they
    /// have their own.
    pub fn languages_of(&self, task: Task) -> Vec<(Language, f64)> {
        let own = match task {
            Task::Words => self.words.as_ref().map_or(&[][..], |words| &words.languages),
            Task::TranslatedCaption => &self.translated.languages,
            _ => &[],
        };
        let share = 1.0 / own.len() as f64;
        match own.is_empty() {
            true => self.languages.iter().copied().zip(self.shares()).collect(),
            false => own.iter().map(|language| (*language, share)).collect(),
        }
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
        assert!(["pictures", "scenes", "clips", "translated"].iter().all(|key| !written.contains(key)), "{written}");
        let more = format!(
            "{text}\npictures = \"tiles\"\nscenes = {{ questions = [\"place\"], variants = 2 }}\nclips = {{ frames = 4 }}"
        );
        let data: DataRecipe = toml::from_str(&more).unwrap();
        assert_eq!((data.pictures, data.task_settings().scenes.variants), (PictureView::Tiles, 2));
        assert_eq!(data.task_settings().clips.frames, 4);
        assert_eq!(toml::from_str::<DataRecipe>(&toml::to_string(&data).unwrap()).unwrap(), data);
    }
}

//! `[part.NAME]` and `[tokenizer]`: how the parts of a VLM are pretrained here.

use burn_vlm::dual::DualConfig;
use burn_vlm::language::LanguageConfig;
use burn_vlm_base::suggest;
use burn_vlm_data::language::Language;
use serde::{Deserialize, Serialize};

use super::{Recipe, StageRecipe};
use crate::error::{Result, TrainError};

/// A byte-level BPE tokenizer trained on the training texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerRecipe {
    /// Number of entries, special tokens included.
    pub vocab_size: usize,
    /// Languages whose training texts it sees.
    pub languages: Vec<Language>,
}

/// How a part is pretrained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
pub enum PartRecipe {
    /// A vision encoder, pretrained with a text tower by a contrastive loss.
    Encoder {
        /// The vision tower and the text tower it is pretrained against.
        model: Box<DualConfig>,
        /// The text tower's own tokenizer; where absent, the recipe's. A model that takes the vision tower alone has the backbone's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tokenizer: Option<TokenizerRecipe>,
        /// Seed of this part.
        #[serde(default)]
        seed: u64,
        /// Its training.
        stage: Box<StageRecipe>,
    },
    /// A language model, pretrained on texts.
    Backbone {
        /// The decoder.
        model: Box<LanguageConfig>,
        /// Another backbone of the recipe, whose weights it begins with: continued pretraining, instruction tuning. Absent, it begins at
        /// random.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begin_from: Option<String>,
        /// Seed of this part.
        #[serde(default)]
        seed: u64,
        /// Its training.
        stage: Box<StageRecipe>,
    },
}

impl PartRecipe {
    /// The part's training stage.
    pub fn stage(&self) -> &StageRecipe {
        match self {
            Self::Encoder { stage, .. } | Self::Backbone { stage, .. } => stage,
        }
    }

    /// The tokenizer that it is pretrained with, where that is not the recipe's.
    pub fn tokenizer(&self) -> Option<&TokenizerRecipe> {
        match self {
            Self::Encoder { tokenizer, .. } => tokenizer.as_ref(),
            Self::Backbone { .. } => None,
        }
    }

    /// The part whose weights it begins with.
    pub fn begin_from(&self) -> Option<&str> {
        match self {
            Self::Backbone { begin_from, .. } => begin_from.as_deref(),
            Self::Encoder { .. } => None,
        }
    }
}

impl Recipe {
    /// A part that is pretrained by this recipe.
    ///
    /// # Errors
    /// One that it does not describe.
    pub fn part(&self, name: &str) -> Result<&PartRecipe> {
        self.part.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.part.keys().map(String::as_str).collect();
            let hint = suggest::did_you_mean(name, known.iter().copied());
            TrainError::Recipe(format!("there is no [part.{name}]{hint} (there are: {})", known.join(", ")))
        })
    }

    /// The parts that `name` is made from, the first one first, `name` itself last.
    ///
    /// # Errors
    /// A part that the recipe does not describe, one that begins with itself or with an encoder.
    pub fn lineage<'a>(&'a self, name: &'a str) -> Result<Vec<&'a str>> {
        let mut line = vec![name];
        let mut part = self.part(name)?;
        while let Some(from) = part.begin_from() {
            let problem =
                |problem: &str| TrainError::Recipe(format!("[part.{name}]: `begin_from = \"{from}\"` {problem}"));
            if line.contains(&from) {
                return Err(problem("leads back to where it began: one of them must begin at random"));
            }
            part = self.part(from).map_err(TrainError::within(format!("[part.{name}]: `begin_from`")))?;
            if matches!(part, PartRecipe::Encoder { .. }) {
                return Err(problem("is an encoder, not a backbone"));
            }
            line.push(from);
        }
        line.reverse();
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recipe with backbones that begin as the pairs say.
    fn recipe(parts: &[(&str, Option<&str>)]) -> Result<Recipe> {
        let mut text = String::from(
            "stages = [\"align\"]\n[model]\nencoder = \"e\"\nbackbone = \"b\"\n[stage.align]\nobjective = \"vlm\"\nsteps = 1\nbatch = 1\n\
             train = { \".*\" = 1e-3 }\ndata = { languages = [\"en\"], tasks = { caption = 1.0 } }\n[part.e]\nkind = \"encoder\"\n\
             model = { model_type = \"siglip\" }\nstage = { objective = \"siglip\", steps = 1, batch = 2, train = { \".*\" = 1e-3 }, \
             data = { languages = [\"en\"] } }\n",
        );
        for (name, from) in parts {
            let from = from.map_or(String::new(), |from| format!("begin_from = \"{from}\"\n"));
            text += &format!(
                "[part.{name}]\nkind = \"backbone\"\n{from}model = {{ model_type = \"gemma2\" }}\nstage = {{ objective = \"text\", steps = 1, \
                 batch = 2, train = {{ \".*\" = 1e-3 }}, data = {{ languages = [\"en\"], tasks = {{ name = 1.0 }} }} }}\n"
            );
        }
        Recipe::from_table(text.parse().map_err(|e: toml::de::Error| TrainError::Recipe(e.to_string()))?)
    }

    #[test]
    fn parts_are_made_in_the_order_in_which_they_begin() {
        let recipe = recipe(&[("it", Some("tower")), ("tower", Some("base")), ("base", None)]).unwrap();
        assert_eq!(recipe.lineage("it").unwrap(), ["base", "tower", "it"]);
        assert_eq!(recipe.lineage("base").unwrap(), ["base"]);
        assert!(recipe.lineage("itt").unwrap_err().to_string().contains("did you mean `it`?"));
    }

    #[test]
    fn what_cannot_be_made_is_told_when_the_recipe_is_read() {
        for (parts, why) in [
            (&[("a", Some("b")), ("b", Some("a"))][..], "leads back"),
            (&[("a", Some("a"))], "leads back"),
            (&[("a", Some("e"))], "is an encoder"),
            (&[("a", Some("bb")), ("b", None)], "[part.a]: `begin_from`"),
        ] {
            let error = recipe(parts).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}

//! What other programs make of a model's folder: a section of its card. A folder travels without this library's pages, and some of what
//! stands in its `config.json` is read by nothing else.
//!
//! Unusual here: everything is told by the folder's own files, so that a model that was merged or written again has the sentences that
//! hold for it, and none that do not.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use burn_vlm::language::LanguageConfig;
use burn_vlm::vision::VisionConfig;
use burn_vlm::vlm::{Vlm, VlmConfig, VlmType};
use burn_vlm_data::processor::Processor;
use serde_json::Value;

use crate::assemble::{LANGUAGE_KINDS, VLM_KINDS};
use crate::error::{Result, TrainError};

/// `model_type` of the authors' Parrot.
const PARROT: &str = "parrot_qwen2";

/// What a card says of other programs.
#[derive(Debug)]
pub(super) struct OtherPrograms {
    /// Paragraphs and lists.
    said: Vec<String>,
    /// `pipeline_tag`: the task in which transformers runs the folder; `None` where it does not, or computes something else.
    pub(super) task: Option<&'static str>,
}

impl OtherPrograms {
    /// Of a folder with a model; `None` where it is none that talks.
    ///
    /// # Errors
    /// A file of the folder that cannot be read.
    pub(super) fn of_folder(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("config.json");
        let text = fs::read_to_string(&path).map_err(|error| TrainError::io("cannot read", &path, error))?;
        let json: Value = serde_json::from_str(&text).map_err(|error| TrainError::invalid(&path, error.to_string()))?;
        let kind = json["model_type"].as_str().unwrap_or_default().to_owned();
        if LANGUAGE_KINDS.contains(&kind.as_str()) {
            let said = vec!["transformers reads the folder as it is, and computes the same.".to_owned()];
            return Ok(Some(Self { said, task: Some("text-generation") }));
        }
        if !VLM_KINDS.contains(&kind.as_str()) {
            return Ok(None);
        }
        let config = <Vlm>::read_config(json, folder)?;
        // Of folders without words (a part of a test, a model that is put together by hand) nothing is said about them.
        let words = Processor::text_from_folder(folder).ok().map(|processor| Words::of(&processor));
        Ok(Some(Self::of(&config, &kind, words.as_ref())))
    }

    fn of(config: &VlmConfig, kind: &str, words: Option<&Words>) -> Self {
        if let Some(why) = unknown(config, kind) {
            return Self { said: vec![why], task: None };
        }
        let class = match config.model_type {
            VlmType::Llava => "LlavaForConditionalGeneration",
            VlmType::LlavaNext => "LlavaNextForConditionalGeneration",
            VlmType::LlavaOnevision => "LlavaOnevisionForConditionalGeneration",
        };
        let mut said = Vec::new();
        let mut otherwise = differences(config);
        let lists = words.is_none_or(|words| words.lists);
        if let Some(words) = words {
            otherwise.extend(words.differences());
        }
        let same = match ignored_tokens(config) {
            Some(ignored) => {
                said.push(ignored);
                false
            }
            None => {
                let same = if otherwise.is_empty() { " It computes the same." } else { "" };
                said.push(format!("transformers runs the model as `{class}`.{same}"));
                true
            }
        };
        if !otherwise.is_empty() {
            let mut list = String::from("What is otherwise there:\n\n");
            otherwise.iter().for_each(|line| list.push_str(&format!("- {line}\n")));
            said.push(list.trim_end().to_owned());
        }
        Self { said, task: (same && lists).then_some("image-text-to-text") }
    }

    /// The section, heading and all.
    pub(super) fn section(&self) -> String {
        format!("## In other programs\n\n{}\n\n", self.said.join("\n\n"))
    }
}

/// What a model's words are to other programs.
#[derive(Debug, Clone)]
struct Words {
    /// Whether the template takes lists of parts.
    lists: bool,
    /// The token behind answers that the template does not write.
    answer_end: Option<String>,
}

impl Words {
    fn of(processor: &Processor) -> Self {
        let template = processor.template();
        Self {
            lists: template.is_none_or(|template| processor.takes_lists() || template.flattens()),
            answer_end: template.and_then(|template| template.answer_end()).map(str::to_owned),
        }
    }

    fn differences(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(end) = &self.answer_end {
            lines.push(format!(
                "Answers end with `{end}`, which the chat template does not write (`answer_end` of processor_config.json): behind the \
                 answers of a conversation so far it is for the caller to add."
            ));
        }
        if !self.lists {
            lines.push(
                "The chat template takes contents that are texts with `<image>` in them, and not lists of parts, which pipelines give it."
                    .to_owned(),
            );
        }
        lines
    }
}

/// Why transformers has no model for the folder, if that is so.
fn unknown(config: &VlmConfig, kind: &str) -> Option<String> {
    if kind == PARROT {
        return Some(
            "transformers has no model of this layout, which is Parrot's: the folder is for this library. The code of Parrot's authors \
             knows the names of its weights, and writes conversations otherwise than this model was trained with \
             (chat_template.jinja)."
                .to_owned(),
        );
    }
    let tower = config.vision_config.name();
    if config.is_flexible() {
        return Some(format!(
            "transformers has no vision-language model around {tower}, whose pictures have grids of their own: the folder is for this \
             library."
        ));
    }
    if let VisionConfig::Custom(_) = config.vision_config {
        return Some(
            "The vision tower is one of its authors' own: the folder is for the program that has it.".to_owned(),
        );
    }
    if !config.connector.is_mlp() {
        let kind =
            serde_json::to_value(&config.connector).ok().and_then(|value| value["kind"].as_str().map(str::to_owned));
        return Some(format!(
            "transformers has no connector of the kind `{}` (`connector` of config.json): the folder is for this library. Language model \
             and vision tower alone can be taken out of it there.",
            kind.unwrap_or_default()
        ));
    }
    None
}

/// That transformers does not make the visual tokens that the model was trained with, if it does not.
fn ignored_tokens(config: &VlmConfig) -> Option<String> {
    let tokens = config.visual_tokens;
    let mut what = Vec::new();
    if let Some(side) = tokens.pool {
        what.push(format!("windows of {side} x {side} patches are averaged"));
    }
    if tokens.pooled_head {
        what.push("the output of the tower's pooling head is one more token".to_owned());
    }
    if tokens.normalize {
        what.push("features are divided by their root mean square".to_owned());
    }
    if what.is_empty() {
        return None;
    }
    let plain = VlmConfig { visual_tokens: burn_vlm::vlm::VisualTokens::default(), ..config.clone() };
    let (ours, theirs) = (config.num_visual_tokens(), plain.num_visual_tokens());
    let mut text = format!(
        "**transformers runs this model wrongly, and does not say so.** It knows no `visual_tokens` in config.json (here: {}). The folder \
         loads there with no key missing",
        what.join("; ")
    );
    let _ = match ours == theirs {
        true => write!(text, ", and what is written is about something else."),
        false => write!(
            text,
            "; a picture then has {theirs} visual tokens in place of {ours}, and what is written is about something else."
        ),
    };
    text.push_str(" Language model and vision tower alone are equal there. This library runs the whole.");
    Some(text)
}

/// What transformers computes otherwise, in which versions.
fn differences(config: &VlmConfig) -> Vec<String> {
    let mut lines = Vec::new();
    if let LanguageConfig::Gemma2(text) = &config.text_config {
        if let Some(cap) = text.final_logit_softcapping {
            lines.push(match config.softcaps_logits() {
                true => format!(
                    "Logits are capped here, as Gemma 2's are (`softcap_logits` of config.json): `{cap} * tanh(logits / {cap})`. In \
                     vision-language models transformers has left that out since 4.52. Greedy answers are the same, probabilities are \
                     not: put `{cap} * torch.tanh(logits / {cap})` over its logits."
                ),
                false => format!(
                    "Logits are not capped (`softcap_logits` of config.json is false): transformers before 4.52 caps them by {cap}."
                ),
            });
        }
        let root = (config.text_config.hidden_size() as f64).sqrt();
        lines.push(match config.scales_visual_embeds() {
            true => format!(
                "Visual tokens are multiplied by {root:.4}, the root of the hidden size (`scale_visual_embeds` of config.json), as \
                 transformers did before 5.4. Later ones do not, and write about another picture: multiply weight and bias of the \
                 projector's second layer{} by it there.",
                if config.is_tiled() { " and `image_newline`" } else { "" }
            ),
            false => format!(
                "Visual tokens are not multiplied by {root:.4}, the root of the hidden size (`scale_visual_embeds` of config.json is \
                 false): transformers before 5.4 does that, and writes about another picture."
            ),
        });
    }
    if matches!(config.vision_config, VisionConfig::Siglip(_)) && config.vision_feature_layer.layers().contains(&-1) {
        lines.push(
            "The tower's last hidden state is read in front of its last norm (`vision_feature_layer` is -1), as in transformers 4.51 and \
             5; 4.57 has it behind the norm."
                .to_owned(),
        );
    }
    if config.takes_videos() {
        lines.extend(of_videos(config));
    }
    lines
}

/// What LLaVA-OneVision's class does otherwise.
fn of_videos(config: &VlmConfig) -> Vec<String> {
    let mut lines = Vec::new();
    let own = [
        ("mm_newline_position", config.mm_newline_position != Default::default()),
        ("mm_spatial_pool_mode", config.mm_spatial_pool_mode != Default::default()),
        ("mm_spatial_pool_stride", config.mm_spatial_pool_stride != burn_vlm_base::onevision::DEFAULT_STRIDE),
    ];
    let own: Vec<String> = own.iter().filter(|(_, own)| *own).map(|(key, _)| format!("`{key}`")).collect();
    if !own.is_empty() {
        lines.push(format!(
            "{} of config.json, the keys of the code that trained such models, are not read there: a video then has other tokens.",
            own.join(", ")
        ));
    }
    if config.vision_aspect_ratio.as_deref() == Some("anyres") {
        lines.push("`vision_aspect_ratio` is `anyres`: there it needs a number of tiles, `anyres_max_9`.".to_owned());
    }
    if config.is_tiled() && config.tiles_every_image() {
        lines.push(
            "A picture beside others is tiled (`tile_every_image` of config.json), as in transformers before 4.53; later ones pad it."
                .to_owned(),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_vlm::language::{Gemma2Config, Qwen2Config};
    use burn_vlm::vision::SiglipVisionConfig;
    use burn_vlm::vlm::{FeatureLayer, VisualTokens};

    fn config(text: LanguageConfig) -> VlmConfig {
        let vision = VisionConfig::Siglip(SiglipVisionConfig { image_size: 32, patch_size: 8, ..Default::default() });
        VlmConfig::new(vision, text, 3)
    }

    fn said(config: &VlmConfig, words: &Words) -> (String, Option<&'static str>) {
        let programs = OtherPrograms::of(config, "llava", Some(words));
        (programs.section(), programs.task)
    }

    #[test]
    fn a_card_says_what_holds_for_its_model_and_nothing_else() {
        let words = Words { lists: true, answer_end: None };
        let qwen = config(LanguageConfig::Qwen2(Qwen2Config::default()));
        let (text, task) = said(&qwen, &words);
        assert_eq!(
            text,
            "## In other programs\n\ntransformers runs the model as `LlavaForConditionalGeneration`. It computes the same.\n\n"
        );
        assert_eq!(task, Some("image-text-to-text"));

        let gemma = config(LanguageConfig::Gemma2(Gemma2Config { hidden_size: 192, ..Default::default() }));
        let capped = VlmConfig { scale_visual_embeds: Some(false), ..gemma.clone() };
        let (text, task) = said(&capped, &words);
        assert!(text.contains("30 * torch.tanh(logits / 30)") && text.contains("since 4.52"), "{text}");
        assert!(text.contains("not multiplied by 13.8564") && !text.contains("computes the same"), "{text}");
        assert_eq!(task, Some("image-text-to-text"));
        let free = VlmConfig { softcap_logits: Some(false), scale_visual_embeds: Some(true), ..gemma };
        let (text, _) = said(&free, &words);
        assert!(!text.contains("torch.tanh") && text.contains("before 4.52 caps"), "{text}");
        assert!(text.contains("multiplied by 13.8564") && text.contains("Later ones do not"), "{text}");

        let pooled = VlmConfig {
            visual_tokens: VisualTokens { pool: Some(2), pooled_head: true, ..Default::default() },
            vision_feature_layer: FeatureLayer::One(-1),
            ..qwen.clone()
        };
        let (text, task) = said(&pooled, &Words { lists: true, answer_end: Some("<eos>".into()) });
        for words in ["runs this model wrongly", "2 x 2 patches", "16 visual tokens in place of 5", "4.57", "`<eos>`"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert_eq!(task, None);
        // Noise is of training alone.
        let noisy = VlmConfig { visual_tokens: VisualTokens { noise: 0.1, ..Default::default() }, ..qwen.clone() };
        assert_eq!(said(&noisy, &words), said(&qwen, &words));

        let (text, task) = said(&qwen, &Words { lists: false, answer_end: None });
        assert!(text.contains("not lists of parts"), "{text}");
        assert_eq!(task, None);
        let parrot = OtherPrograms::of(&qwen, PARROT, None);
        assert!(parrot.task.is_none() && parrot.section().contains("Parrot's: the folder is for this library"));
    }
}

//! Whose rules a number follows.

use std::fmt;
use std::str::FromStr;

use burn_vlm_base::suggest::hint;
use serde::{Deserialize, Serialize};

/// The code whose reading of files, prompts, replies and totals is followed.
///
/// The scorers disagree on the same replies, so that a number means something only with its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rules {
    /// VLMEvalKit (open-compass), without a judge.
    Vlmevalkit,
    /// The copy of VLMEvalKit in Parrot's repository, which the published MMMB numbers come from; without a judge.
    ParrotVlmevalkit,
    /// lmms-eval.
    LmmsEval,
    /// The fork of lmms-eval that TowerVision was evaluated with.
    DeepSpin,
    /// The scripts in LLaVA's repository.
    Llava,
    /// The benchmark's own code; sacreBLEU for translations.
    Official,
    /// Ours: strict, one reader for all languages, invalid answers counted apart.
    BurnVlm,
}

impl Rules {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Vlmevalkit,
        Self::ParrotVlmevalkit,
        Self::LmmsEval,
        Self::DeepSpin,
        Self::Llava,
        Self::Official,
        Self::BurnVlm,
    ];

    /// The name in recipes and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vlmevalkit => "vlmevalkit",
            Self::ParrotVlmevalkit => "parrot-vlmevalkit",
            Self::LmmsEval => "lmms-eval",
            Self::DeepSpin => "deep-spin",
            Self::Llava => "llava",
            Self::Official => "official",
            Self::BurnVlm => "burn-vlm",
        }
    }

    /// Whose they are, for sentences.
    pub fn whose(self) -> &'static str {
        match self {
            Self::Vlmevalkit => "VLMEvalKit's, without a judge",
            Self::ParrotVlmevalkit => "those of Parrot's copy of VLMEvalKit, without a judge",
            Self::LmmsEval => "lmms-eval's",
            Self::DeepSpin => "those of TowerVision's fork of lmms-eval",
            Self::Llava => "those of LLaVA's scripts",
            Self::Official => "the benchmark's own",
            Self::BurnVlm => "burn-vlm's strict ones",
        }
    }

    /// Whether files and replies pass through pandas on their way.
    pub fn uses_pandas(self) -> bool {
        matches!(self, Self::Vlmevalkit | Self::ParrotVlmevalkit)
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Rules {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|rules| rules.as_str() == text)
            .ok_or_else(|| format!("unknown rules {text:?}{}", hint(text, Self::ALL.map(Self::as_str))))
    }
}

/// Who writes a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptStyle {
    /// VLMEvalKit's data class: `Question: ..`, `Options: ..`, English around it.
    Vlmevalkit,
    /// Parrot's model class, run file by file: the request for a letter is in the file's language.
    Parrot,
    /// Parrot's model class, run on the set of files at once: the request is in English, but for Chinese text.
    ParrotAsSet,
    /// lmms-eval's task.
    LmmsEval,
    /// The task of TowerVision's fork of lmms-eval.
    DeepSpin,
    /// The benchmark's own.
    Official,
    /// Ours: the request is in the question's language.
    BurnVlm,
}

impl PromptStyle {
    /// The prompts that published numbers under the rules were made with.
    pub fn of(rules: Rules) -> Self {
        match rules {
            Rules::Vlmevalkit => Self::Vlmevalkit,
            Rules::ParrotVlmevalkit => Self::Parrot,
            Rules::LmmsEval | Rules::Llava => Self::LmmsEval,
            Rules::DeepSpin => Self::DeepSpin,
            Rules::Official => Self::Official,
            Rules::BurnVlm => Self::BurnVlm,
        }
    }
}

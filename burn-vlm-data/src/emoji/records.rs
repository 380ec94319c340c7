//! The rows of the corpus: concepts, pictures, texts, and the strings of a language.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A concept's position in [`EmojiCorpus::concepts`](super::EmojiCorpus::concepts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConceptId(pub u32);

/// A picture's position in [`EmojiCorpus::pictures`](super::EmojiCorpus::pictures).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PictureId(pub u32);

impl ConceptId {
    /// The position as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl PictureId {
    /// The position as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The part of the corpus that a concept belongs to; gender and role variants of a concept stay together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Trained on: the *seen* concepts.
    Train,
    /// Unseen concepts on which choices are made (`val` in the files).
    Validation,
    /// Unseen concepts that are only scored.
    Test,
}

/// Who drew a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// Google's Noto emoji.
    Noto,
    /// Microsoft's Fluent emoji, flat.
    FluentFlat,
    /// Twitter's Twemoji: the scored style, never trained on.
    Twemoji,
    /// Rectangular flags.
    FlagIcons,
    /// Round flags.
    CircleFlags,
}

impl Style {
    /// All styles.
    pub const ALL: [Style; 5] = [Style::Noto, Style::FluentFlat, Style::Twemoji, Style::FlagIcons, Style::CircleFlags];
    /// The styles that training samples are drawn from.
    pub const TRAINING: [Style; 4] = [Style::Noto, Style::FluentFlat, Style::FlagIcons, Style::CircleFlags];
    /// The style of scored questions, never trained on.
    pub const SCORED: Style = Style::Twemoji;

    /// The name in the files, `"fluent-flat"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Noto => "noto",
            Self::FluentFlat => "fluent-flat",
            Self::Twemoji => "twemoji",
            Self::FlagIcons => "flag-icons",
            Self::CircleFlags => "circle-flags",
        }
    }

    /// Finds a style by its name in the files.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|style| style.as_str() == name)
    }

    /// True for the styles that training samples are drawn from.
    pub fn is_training(self) -> bool {
        self != Self::SCORED
    }
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One emoji or flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concept {
    /// Position in the corpus.
    pub id: ConceptId,
    /// Code points in hexadecimal, `"1f469-200d-1f680"`: the stable name of the concept.
    pub code: String,
    /// The character itself.
    pub char: String,
    /// Unicode group, `"food-drink"`.
    pub group: String,
    /// Unicode subgroup, `"food-fruit"`; *near* distractors come from it.
    pub subgroup: String,
    /// Train, validation or test.
    pub split: Split,
    /// For flags of territories, the territory's code, `"DM"` or `"GBSCT"`.
    pub territory: Option<String>,
}

impl Concept {
    /// True for the flag of a country, region or subdivision (not for "chequered flag" and the like).
    pub fn is_territory_flag(&self) -> bool {
        self.territory.is_some()
    }
}

/// Side of the corpus's pictures in pixels.
pub const PICTURE_SIDE: u32 = 64;

/// One picture of a concept: a WebP of [`PICTURE_SIDE`] x [`PICTURE_SIDE`] pixels on white ground.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Position in the corpus.
    pub id: PictureId,
    /// What it shows.
    pub concept: ConceptId,
    /// Who drew it.
    pub style: Style,
    /// The encoded picture; [`image::decode`](crate::image::decode) makes pixels of it.
    pub webp: Bytes,
}

/// What a concept is called in one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The short name of CLDR, `"grinning face"`, `"flag: Dominica"`.
    pub name: String,
    /// CLDR's search keywords, in alphabetical order; often one of them is the name.
    pub keywords: Vec<String>,
    /// True where the text is the parent locale's (`es-419` from `es`).
    pub inherited: bool,
    /// True where the corpus has no text and it was composed from the word for "flag" and the territory's name.
    pub composed: bool,
    /// Byte position in `name` at which the territory's name starts; 0 for anything but territory flags.
    pub(super) short_start: usize,
}

impl Text {
    /// The name without the word for "flag" before it: the country's name for a flag, else the whole name.
    pub fn short_name(&self) -> &str {
        self.name.get(self.short_start..).unwrap_or(&self.name)
    }

    /// The keywords that are not the name itself, so that naming from keywords is no copying.
    pub fn keywords_besides_name(&self) -> impl Iterator<Item = &str> {
        let name = self.name.to_lowercase();
        self.keywords.iter().map(String::as_str).filter(move |keyword| keyword.to_lowercase() != name)
    }
}

/// Words and patterns of one language (CLDR), as they stand in `strings.parquet`.
///
/// CLDR's `yes` and `no` are button labels and wrong as answers in `zh-Hans` and `tr`: for prompts and answers use
/// [`tasks::prompts`](crate::tasks::prompts).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strings {
    /// CLDR's word for yes.
    pub yes: String,
    /// CLDR's word for no.
    pub no: String,
    /// Labels of character categories by key, `"flag"` -> `"Flagge"`.
    pub labels: BTreeMap<String, String>,
    /// Patterns by key, `"category-list"` -> `"{0}: {1}"`.
    pub patterns: BTreeMap<String, String>,
    /// Quotation marks by key (`quotationStart`, `quotationEnd`, `alternateQuotationStart`, ...).
    pub delimiters: BTreeMap<String, String>,
    /// List patterns by type (`listPattern-type-standard`, `listPattern-type-or`) and part (`start`, `middle`, `end`,
    /// `2`).
    pub list_patterns: BTreeMap<String, BTreeMap<String, String>>,
    /// Names of territories by code.
    pub territories: BTreeMap<String, String>,
    /// Names of languages by code.
    pub languages: BTreeMap<String, String>,
    /// Names of the Unicode subgroups; empty in nine languages.
    #[serde(default)]
    pub subgroups: BTreeMap<String, String>,
    /// Names of the Unicode groups; empty in nine languages.
    #[serde(default)]
    pub groups: BTreeMap<String, String>,
    /// Names that belong to the territory facts.
    pub facts: StringsFacts,
}

/// Names by code of what [`TerritoryFact`] refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StringsFacts {
    /// Names of continents and regions by UN M.49 code.
    pub regions: BTreeMap<String, String>,
    /// Names of the official languages by code.
    pub languages: BTreeMap<String, String>,
    /// Names of currencies by ISO 4217 code.
    pub currencies: BTreeMap<String, String>,
}

/// Facts about a territory; the codes are named in [`StringsFacts`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerritoryFact {
    /// UN M.49 code of the continent.
    pub continent: Option<String>,
    /// UN M.49 code of the region.
    pub region: Option<String>,
    /// Codes of the official languages.
    #[serde(default)]
    pub official: Vec<String>,
    /// ISO 4217 codes of the currencies.
    #[serde(default)]
    pub currency: Vec<String>,
    /// Number of inhabitants.
    pub population: Option<u64>,
}

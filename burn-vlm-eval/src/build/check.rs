//! What a translation may break: what makes an item unscorable, and what a person should look at.

use std::collections::BTreeMap;

use serde::Serialize;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::pandas::is_missing;
use crate::strict::compared;
use crate::translation::{Chrf, Metric};

/// A right option that is longer than all others by more than this stands out.
const STANDS_OUT: f64 = 2.0;

/// Why an item cannot be asked in the other language.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// The table has no translation of a text.
    NoTranslation {
        /// `question`, `hint`, or an option's letter.
        field: String,
    },
    /// The table's translation is of another text.
    OtherSource {
        /// The text.
        field: String,
        /// Where the translation stands.
        line: usize,
    },
    /// Two options are the same but for case and spaces: nobody can tell which is meant.
    EqualOptions {
        /// The one's letter.
        first: char,
        /// The other's.
        second: char,
    },
    /// The language has no words for yes and no, and nobody gave some.
    NoAnswerWords,
    /// Another row of its group cannot be asked, and what belongs together stays together.
    Group {
        /// The row.
        id: String,
    },
}

/// What a person should look at.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "flag", rename_all = "snake_case")]
pub enum Flag {
    /// Translated back, it is unlike the source.
    BackTranslation {
        /// The text.
        field: String,
        /// chrF of the back translation against the source, 0 to 100.
        chrf: f64,
    },
    /// Two options differ by accents alone.
    AccentsOnly {
        /// The one's letter.
        first: char,
        /// The other's.
        second: char,
    },
    /// The numbers in it are not those of the source.
    Numbers {
        /// The text.
        field: String,
    },
    /// It reads as the source does, word for word.
    Untranslated {
        /// The text.
        field: String,
    },
    /// VLMEvalKit reads it as a missing cell (`None`, `NA`, `null`), which the source's text is not.
    ReadAsMissing {
        /// The option's letter.
        field: String,
    },
    /// The right option is more than twice as long as every other one, which it was not in the source.
    StandsOut {
        /// Its letter.
        field: String,
    },
    /// It has a placeholder of a picture, which it had not.
    Placeholder {
        /// The text.
        field: String,
    },
}

impl Problem {
    /// The name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoTranslation { .. } => "no_translation",
            Self::OtherSource { .. } => "other_source",
            Self::EqualOptions { .. } => "equal_options",
            Self::NoAnswerWords => "no_answer_words",
            Self::Group { .. } => "group",
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::NoTranslation { field } => format!("no translation of {field}"),
            Self::OtherSource { field, line } => {
                format!("the translation of {field} (line {line}) is of another text")
            }
            Self::EqualOptions { first, second } => format!("the options {first} and {second} are the same"),
            Self::NoAnswerWords => "the language has no words for yes and no; give some".to_owned(),
            Self::Group { id } => format!("{id}, which belongs to it, cannot be asked"),
        }
    }
}

impl Flag {
    /// The name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BackTranslation { .. } => "back_translation",
            Self::AccentsOnly { .. } => "accents_only",
            Self::Numbers { .. } => "numbers",
            Self::Untranslated { .. } => "untranslated",
            Self::ReadAsMissing { .. } => "read_as_missing",
            Self::StandsOut { .. } => "stands_out",
            Self::Placeholder { .. } => "placeholder",
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::BackTranslation { field, chrf } => {
                format!("{field}: translated back it is unlike the source (chrF {chrf:.0})")
            }
            Self::AccentsOnly { first, second } => format!("the options {first} and {second} differ by accents alone"),
            Self::Numbers { field } => format!("{field}: other numbers than in the source"),
            Self::Untranslated { field } => format!("{field}: the same as the source"),
            Self::ReadAsMissing { field } => format!("{field}: VLMEvalKit reads it as a missing cell"),
            Self::StandsOut { field } => format!("{field}: the right option is more than twice as long as every other"),
            Self::Placeholder { field } => format!("{field}: a placeholder of a picture in it"),
        }
    }
}

/// How alike a back translation and its source are: sacreBLEU's chrF, lower-cased, 0 to 100.
pub fn likeness(back: &str, source: &str) -> f64 {
    let metric = Chrf { lower: true, ..Chrf::DEFAULT };
    metric.value(&metric.counts(back, &[source]))
}

/// Options that are the same, by letters.
pub fn equal_options(options: &[(char, String)]) -> Vec<Problem> {
    pairs(options, compared).map(|(first, second)| Problem::EqualOptions { first, second }).collect()
}

/// What a person should look at in the translation of one text.
pub fn look(field: &str, source: &str, text: &str) -> Vec<Flag> {
    let field = || field.to_owned();
    let mut flags = Vec::new();
    if numbers(source) != numbers(text) {
        flags.push(Flag::Numbers { field: field() });
    }
    if source == text {
        flags.push(Flag::Untranslated { field: field() });
    }
    if is_missing(text) && !is_missing(source) {
        flags.push(Flag::ReadAsMissing { field: field() });
    }
    if text.contains("<image>") && !source.contains("<image>") {
        flags.push(Flag::Placeholder { field: field() });
    }
    flags
}

/// What a person should look at among the options, of which one is right.
pub fn look_at_options(source: &[(char, String)], options: &[(char, String)], right: &str) -> Vec<Flag> {
    let bare = |text: &str| compared(text).nfd().filter(|c| !is_combining_mark(*c)).collect::<String>();
    let known: Vec<_> = pairs(options, compared).collect();
    let mut flags: Vec<Flag> = pairs(options, bare)
        .filter(|pair| !known.contains(pair))
        .map(|(first, second)| Flag::AccentsOnly { first, second })
        .collect();
    if stands_out(options, right) && !stands_out(source, right) {
        flags.push(Flag::StandsOut { field: right.to_owned() });
    }
    flags
}

fn stands_out(options: &[(char, String)], right: &str) -> bool {
    let length = |text: &String| text.chars().count() as f64;
    let is_right = |letter: &char| right.chars().eq([*letter]);
    let longest =
        options.iter().filter(|(letter, _)| !is_right(letter)).map(|(_, text)| length(text)).fold(0.0, f64::max);
    options.iter().any(|(letter, text)| is_right(letter) && length(text) > STANDS_OUT * longest.max(1.0))
}

/// Pairs of letters whose texts are the same.
fn pairs(options: &[(char, String)], of: impl Fn(&str) -> String) -> impl Iterator<Item = (char, char)> {
    let mut first: BTreeMap<String, char> = BTreeMap::new();
    let mut found = Vec::new();
    for (letter, text) in options {
        match first.get(&of(text)) {
            Some(known) => found.push((*known, *letter)),
            None => drop(first.insert(of(text), *letter)),
        }
    }
    found.into_iter()
}

/// The numbers of a text, sorted: runs of digits of any script, as plain ones.
fn numbers(text: &str) -> Vec<String> {
    let folded = compared(text);
    let runs = folded.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
    let mut numbers: Vec<String> = runs.map(str::to_owned).collect();
    numbers.sort();
    numbers
}

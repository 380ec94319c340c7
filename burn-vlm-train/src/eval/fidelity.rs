//! In which language does a model answer? Multilingual erosion (Parrot, section 1) as three shares of its captions.
//!
//! Computed from the captions that a cell has left, so a better measure needs no new training.

use burn_vlm_data::language::{Language, LanguageIdentifier};

use super::Prediction;

/// The three shares of one caption, each 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// In the prompt's language.
    fits: bool,
    /// In English, where the prompt is in another language and the caption is not in it too.
    english: bool,
    /// In no language that could be told: no words, mixed scripts, what only looks like words.
    none: bool,
}

impl Shares {
    /// The metrics' names.
    pub(crate) const NAMES: [&'static str; 3] = ["language_fidelity", "language_english", "language_none"];
    /// Label and explanation of each.
    pub(super) const WORDS: [(&'static str, &'static str); 3] = [
        (
            "Answers in the prompt's language",
            "Share of generated captions that are in the prompt's language: by script, then by the \
             corpus's own word lists, then, for sentences, by a detector. A word that languages share counts for each of them.",
        ),
        ("Answers in English", "Share of generated captions that are in English though the prompt is not."),
        (
            "Answers in no language",
            "Share of generated captions without words of any of the languages: broken characters, mixed \
             scripts, what only looks like a word.",
        ),
    ];

    /// In the order of the names.
    pub(crate) fn values(self) -> [f64; 3] {
        [self.fits, self.english, self.none].map(|holds| f64::from(u8::from(holds)))
    }
}

/// The shares of a caption; nothing for what is no text in a known language. In English prompts the second is always 0.
pub(crate) fn shares(prediction: &Prediction, identifier: &LanguageIdentifier) -> Option<Shares> {
    let prompt = Language::parse(prediction.language.as_deref()?).ok()?;
    let found = identifier.identify(prediction.text.as_deref()?);
    let fits = found.fits(prompt);
    Some(Shares { fits, english: !fits && found.fits(Language::EN), none: found.languages.is_empty() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_vlm_data::emoji::EmojiCorpus;
    use burn_vlm_data::language::PARROT_6;

    #[test]
    fn each_caption_is_one_of_three_or_in_a_third_language() {
        let corpus = EmojiCorpus::embedded().unwrap();
        let identifier = LanguageIdentifier::new(&corpus, PARROT_6.languages);
        let of = |language: &str, text: &str| {
            let prediction = Prediction {
                language: Some(language.into()),
                text: Some(text.into()),
                ..Prediction::new("1", "caption", "apple")
            };
            shares(&prediction, &identifier).unwrap().values()
        };
        assert_eq!(of("tr", "elma"), [1.0, 0.0, 0.0]);
        assert_eq!(of("tr", "red apple"), [0.0, 1.0, 0.0]);
        assert_eq!(of("tr", "kapyes"), [0.0, 0.0, 1.0]);
        assert_eq!(of("tr", "красное яблоко"), [0.0, 0.0, 0.0]);
        assert_eq!(of("en", "red apple"), [1.0, 0.0, 0.0]);
    }
}

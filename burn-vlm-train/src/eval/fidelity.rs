//! In which language does a model answer? Multilingual erosion (Parrot, section 1) as three shares of its captions.
//!
//! Computed from the captions that a cell has left, so a better measure needs no new training.

use burn_vlm_data::language::{Language, LanguageIdentifier};

use super::{NamedScore, Prediction};

/// Share of captions in the prompt's language.
pub const FIDELITY: &str = "language_fidelity";
/// Share in English, where the prompt is in another language and the caption is not in it too.
pub const IN_ENGLISH: &str = "language_english";
/// Share in no language that could be told: no words, mixed scripts, what only looks like words.
pub const IN_NONE: &str = "language_none";

/// The three shares of one caption, each 0 or 1; nothing for other predictions. In English prompts the second is always 0.
pub fn language_scores(prediction: &Prediction, identifier: &LanguageIdentifier) -> Vec<NamedScore> {
    let (Some(text), Ok(prompt)) = (&prediction.text, Language::parse(&prediction.language)) else { return Vec::new() };
    let found = identifier.identify(text);
    let fits = found.fits(prompt);
    let named =
        |protocol: &str, holds: bool| NamedScore { protocol: protocol.into(), score: f64::from(u8::from(holds)) };
    vec![
        named(FIDELITY, fits),
        named(IN_ENGLISH, !fits && found.fits(Language::EN)),
        named(IN_NONE, found.languages.is_empty()),
    ]
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
        let shares = |language: &str, text: &str| {
            let prediction = Prediction {
                id: String::new(),
                protocol: "caption".into(),
                distractors: None,
                concepts: "seen".into(),
                language: language.into(),
                concept: String::new(),
                picture: String::new(),
                question: String::new(),
                options: Vec::new(),
                answer: 0,
                option_scores: Vec::new(),
                text: Some(text.into()),
                scores: Vec::new(),
            };
            language_scores(&prediction, &identifier).iter().map(|score| score.score).collect::<Vec<_>>()
        };
        assert_eq!(shares("tr", "elma"), [1.0, 0.0, 0.0]);
        assert_eq!(shares("tr", "red apple"), [0.0, 1.0, 0.0]);
        assert_eq!(shares("tr", "kapyes"), [0.0, 0.0, 1.0]);
        assert_eq!(shares("tr", "красное яблоко"), [0.0, 0.0, 0.0]);
        assert_eq!(shares("en", "red apple"), [1.0, 0.0, 0.0]);
    }
}

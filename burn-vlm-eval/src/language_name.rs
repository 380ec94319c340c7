//! Languages that files call by their English names.

use burn_vlm_data::language::Language;

/// Names that the table of languages has otherwise, or not at all.
const OTHERS: [(&str, &str); 9] = [
    ("portuguese", "pt-BR"),
    ("chinese", "zh-Hans"),
    ("chinese simplified", "zh-Hans"),
    ("chinese traditional", "zh-Hant"),
    ("norwegian", "nb"),
    ("sinhalese", "si"),
    ("afrikaans", "af"),
    ("thai", "th"),
    ("vietnamese", "vi"),
];

/// The language of an English name, in any case; none where it is not known.
pub fn language(name: &str) -> Option<Language> {
    let wanted = name.trim().to_lowercase();
    let by_name = Language::ALL.iter().find(|language| language.english_name().to_lowercase() == wanted).copied();
    let other = || OTHERS.iter().find(|(name, _)| *name == wanted).and_then(|(_, tag)| Language::parse(tag).ok());
    by_name.or_else(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_language() {
        for (name, tag) in
            [("German", "de"), ("chinese", "zh-Hans"), ("Chinese (Traditional)", "zh-Hant"), (" thai ", "th")]
        {
            assert_eq!(language(name).map(Language::tag), Some(tag), "{name}");
        }
        for (name, tag) in OTHERS {
            assert_eq!(language(name).map(Language::tag), Some(tag), "{name}");
        }
        assert_eq!(language("Elvish"), None);
    }
}

//! The form of BCP 47 tags: language, script, region, variants, extensions.

/// The longest tag that is accepted; RFC 5646 recommends room for 35 characters.
const LONGEST: usize = 35;

/// Languages of two letters (ISO 639-1): other pairs of letters are slips.
const TWO_LETTERS: [&str; 185] = [
    "aa", "ab", "ae", "af", "ak", "am", "an", "ar", "as", "av", "ay", "az", "ba", "be", "bg", "bh", "bi", "bm", "bn",
    "bo", "br", "bs", "ca", "ce", "ch", "co", "cr", "cs", "cu", "cv", "cy", "da", "de", "dv", "dz", "ee", "el", "en",
    "eo", "es", "et", "eu", "fa", "ff", "fi", "fj", "fo", "fr", "fy", "ga", "gd", "gl", "gn", "gu", "gv", "ha", "he",
    "hi", "ho", "hr", "ht", "hu", "hy", "hz", "ia", "id", "ie", "ig", "ii", "ik", "io", "is", "it", "iu", "ja", "jv",
    "ka", "kg", "ki", "kj", "kk", "kl", "km", "kn", "ko", "kr", "ks", "ku", "kv", "kw", "ky", "la", "lb", "lg", "li",
    "ln", "lo", "lt", "lu", "lv", "mg", "mh", "mi", "mk", "ml", "mn", "mr", "ms", "mt", "my", "na", "nb", "nd", "ne",
    "ng", "nl", "nn", "no", "nr", "nv", "ny", "oc", "oj", "om", "or", "os", "pa", "pi", "pl", "ps", "pt", "qu", "rm",
    "rn", "ro", "ru", "rw", "sa", "sc", "sd", "se", "sg", "sh", "si", "sk", "sl", "sm", "sn", "so", "sq", "sr", "ss",
    "st", "su", "sv", "sw", "ta", "te", "tg", "th", "ti", "tk", "tl", "tn", "to", "tr", "ts", "tt", "tw", "ty", "ug",
    "uk", "ur", "uz", "ve", "vi", "vo", "wa", "wo", "xh", "yi", "yo", "za", "zh", "zu",
];

/// Codes of three letters (ISO 639-2) of the table's languages, whose tags have two: BCP 47 knows no others for them.
const THREE_LETTERS: [(&str, &str); 36] = [
    ("eng", "en"),
    ("deu", "de"),
    ("ger", "de"),
    ("nld", "nl"),
    ("dut", "nl"),
    ("spa", "es"),
    ("fra", "fr"),
    ("fre", "fr"),
    ("por", "pt-PT"),
    ("ukr", "uk"),
    ("hin", "hi"),
    ("zho", "zh-Hans"),
    ("chi", "zh-Hans"),
    ("rus", "ru"),
    ("ces", "cs"),
    ("cze", "cs"),
    ("kor", "ko"),
    ("jpn", "ja"),
    ("ita", "it"),
    ("pol", "pl"),
    ("ron", "ro"),
    ("rum", "ro"),
    ("nno", "nn"),
    ("nob", "nb"),
    ("ara", "ar"),
    ("tur", "tr"),
    ("dan", "da"),
    ("fin", "fi"),
    ("hun", "hu"),
    ("isl", "is"),
    ("ice", "is"),
    ("swe", "sv"),
    ("ben", "bn"),
    ("sin", "si"),
    ("tam", "ta"),
    ("urd", "ur"),
];

/// The table's tag of a code of three letters.
pub(super) fn of_three_letters(code: &str) -> Option<&'static str> {
    THREE_LETTERS.iter().find(|(three, _)| *three == code).map(|(_, tag)| *tag)
}

/// A well-formed tag in its usual case (`sr-Latn-RS`); `None` for anything else.
pub(super) fn canonical(tag: &str) -> Option<String> {
    if tag.len() > LONGEST || !tag.is_ascii() {
        return None;
    }
    let lower = tag.to_ascii_lowercase();
    let mut subtags = lower.split('-').peekable();
    let letters =
        |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let digits = |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let word = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let language = subtags.next()?;
    let known = TWO_LETTERS.contains(&language) || (letters(language, 3) && of_three_letters(language).is_none());
    if !known {
        return None;
    }
    let mut found = language.to_owned();
    // An extended language: zh-yue.
    if let Some(part) = subtags.next_if(|part| letters(part, 3)) {
        found += &format!("-{part}");
    }
    if let Some(script) = subtags.next_if(|part| letters(part, 4)) {
        found += &format!("-{}{}", script[..1].to_ascii_uppercase(), &script[1..]);
    }
    if let Some(region) = subtags.next_if(|part| letters(part, 2) || digits(part, 3)) {
        found += &format!("-{}", region.to_ascii_uppercase());
    }
    let variant = |part: &str| {
        word(part) && ((5..=8).contains(&part.len()) || (part.len() == 4 && part.as_bytes()[0].is_ascii_digit()))
    };
    while let Some(part) = subtags.next_if(|part| variant(part)) {
        found += &format!("-{part}");
    }
    // Extensions and private use: a single letter or digit and what it introduces.
    while let Some(single) = subtags.next_if(|part| part.len() == 1 && word(part)) {
        found += &format!("-{single}");
        let shortest = if single == "x" { 1 } else { 2 };
        let mut count = 0;
        while let Some(part) = subtags.next_if(|part| word(part) && (shortest..=8).contains(&part.len())) {
            found += &format!("-{part}");
            count += 1;
        }
        if count == 0 {
            return None;
        }
    }
    subtags.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn well_formed_tags() {
        for (tag, expected) in [
            ("th", "th"),
            ("ZH-hant-tw", "zh-Hant-TW"),
            ("es-419", "es-419"),
            ("zh-yue", "zh-yue"),
            ("sl-rozaj-1994", "sl-rozaj-1994"),
            ("de-u-co-phonebk", "de-u-co-phonebk"),
            ("en-x-a", "en-x-a"),
        ] {
            assert_eq!(canonical(tag).as_deref(), Some(expected), "{tag}");
        }
        for tag in [
            "",
            "xx",
            "german",
            "e",
            "en-",
            "-en",
            "en--US",
            "en_US",
            "en-USAB-",
            "en-u",
            "deu",
            "日本",
            "en-a-b-c-d-e-f-g",
        ] {
            assert_eq!(canonical(tag), None, "{tag}");
        }
    }
}

//! The form of BCP 47 tags: language, script, region, variants, extensions.

/// The longest tag that is accepted; RFC 5646 recommends room for 35 characters.
const LONGEST: usize = 35;

/// Languages of two letters (ISO 639-1; other pairs of letters are slips), each with its codes of three (ISO 639-2 T and B): where a
/// language has two letters, BCP 47 knows no other tag for it.
#[rustfmt::skip]
const TWO_LETTERS: [(&str, &str); 185] = [
    ("aa", "aar"), ("ab", "abk"), ("ae", "ave"), ("af", "afr"), ("ak", "aka"), ("am", "amh"), ("an", "arg"), ("ar", "ara"),
    ("as", "asm"), ("av", "ava"), ("ay", "aym"), ("az", "aze"), ("ba", "bak"), ("be", "bel"), ("bg", "bul"), ("bh", "bih"), ("bi", "bis"),
    ("bm", "bam"), ("bn", "ben"), ("bo", "bod tib"), ("br", "bre"), ("bs", "bos"), ("ca", "cat"), ("ce", "che"), ("ch", "cha"),
    ("co", "cos"), ("cr", "cre"), ("cs", "ces cze"), ("cu", "chu"), ("cv", "chv"), ("cy", "cym wel"), ("da", "dan"), ("de", "deu ger"),
    ("dv", "div"), ("dz", "dzo"), ("ee", "ewe"), ("el", "ell gre"), ("en", "eng"), ("eo", "epo"), ("es", "spa"), ("et", "est"),
    ("eu", "baq eus"), ("fa", "fas per"), ("ff", "ful"), ("fi", "fin"), ("fj", "fij"), ("fo", "fao"), ("fr", "fra fre"), ("fy", "fry"),
    ("ga", "gle"), ("gd", "gla"), ("gl", "glg"), ("gn", "grn"), ("gu", "guj"), ("gv", "glv"), ("ha", "hau"), ("he", "heb"),
    ("hi", "hin"), ("ho", "hmo"), ("hr", "hrv"), ("ht", "hat"), ("hu", "hun"), ("hy", "arm hye"), ("hz", "her"), ("ia", "ina"),
    ("id", "ind"), ("ie", "ile"), ("ig", "ibo"), ("ii", "iii"), ("ik", "ipk"), ("io", "ido"), ("is", "ice isl"), ("it", "ita"),
    ("iu", "iku"), ("ja", "jpn"), ("jv", "jav"), ("ka", "geo kat"), ("kg", "kon"), ("ki", "kik"), ("kj", "kua"), ("kk", "kaz"),
    ("kl", "kal"), ("km", "khm"), ("kn", "kan"), ("ko", "kor"), ("kr", "kau"), ("ks", "kas"), ("ku", "kur"), ("kv", "kom"),
    ("kw", "cor"), ("ky", "kir"), ("la", "lat"), ("lb", "ltz"), ("lg", "lug"), ("li", "lim"), ("ln", "lin"), ("lo", "lao"),
    ("lt", "lit"), ("lu", "lub"), ("lv", "lav"), ("mg", "mlg"), ("mh", "mah"), ("mi", "mao mri"), ("mk", "mac mkd"), ("ml", "mal"),
    ("mn", "mon"), ("mr", "mar"), ("ms", "may msa"), ("mt", "mlt"), ("my", "bur mya"), ("na", "nau"), ("nb", "nob"), ("nd", "nde"),
    ("ne", "nep"), ("ng", "ndo"), ("nl", "dut nld"), ("nn", "nno"), ("no", "nor"), ("nr", "nbl"), ("nv", "nav"), ("ny", "nya"),
    ("oc", "oci"), ("oj", "oji"), ("om", "orm"), ("or", "ori"), ("os", "oss"), ("pa", "pan"), ("pi", "pli"), ("pl", "pol"),
    ("ps", "pus"), ("pt", "por"), ("qu", "que"), ("rm", "roh"), ("rn", "run"), ("ro", "ron rum"), ("ru", "rus"), ("rw", "kin"),
    ("sa", "san"), ("sc", "srd"), ("sd", "snd"), ("se", "sme"), ("sg", "sag"), ("sh", "hbs"), ("si", "sin"), ("sk", "slk slo"),
    ("sl", "slv"), ("sm", "smo"), ("sn", "sna"), ("so", "som"), ("sq", "alb sqi"), ("sr", "srp"), ("ss", "ssw"), ("st", "sot"),
    ("su", "sun"), ("sv", "swe"), ("sw", "swa"), ("ta", "tam"), ("te", "tel"), ("tg", "tgk"), ("th", "tha"), ("ti", "tir"),
    ("tk", "tuk"), ("tl", "tgl"), ("tn", "tsn"), ("to", "ton"), ("tr", "tur"), ("ts", "tso"), ("tt", "tat"), ("tw", "twi"),
    ("ty", "tah"), ("ug", "uig"), ("uk", "ukr"), ("ur", "urd"), ("uz", "uzb"), ("ve", "ven"), ("vi", "vie"), ("vo", "vol"),
    ("wa", "wln"), ("wo", "wol"), ("xh", "xho"), ("yi", "yid"), ("yo", "yor"), ("za", "zha"), ("zh", "chi zho"), ("zu", "zul"),
];

/// The tag of a language whose code of three letters is none in BCP 47.
pub(super) fn of_three_letters(code: &str) -> Option<&'static str> {
    let known = TWO_LETTERS.iter().find(|(_, three)| three.split(' ').any(|three| three == code));
    known.map(|(two, _)| match *two {
        // The table of languages has these by script and region.
        "zh" => "zh-Hans",
        "pt" => "pt-PT",
        two => two,
    })
}

/// The codes of three letters of a language by its first subtag, whatever that is.
pub(crate) fn three_letters(primary: &str) -> impl Iterator<Item = &str> {
    let known = TWO_LETTERS.iter().find(|(two, _)| *two == primary);
    known.map_or(primary, |(_, three)| *three).split(' ')
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
    let known = TWO_LETTERS.iter().any(|(two, _)| *two == language)
        || (letters(language, 3) && of_three_letters(language).is_none());
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
            "tha",
            "per",
            "日本",
            "en-a-b-c-d-e-f-g",
        ] {
            assert_eq!(canonical(tag), None, "{tag}");
        }
    }
}

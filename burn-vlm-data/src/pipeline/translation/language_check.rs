//! Whether a translation is in the language that was asked for, as far as script and a detector tell.

use whatlang::{Detector, Lang, Script};

use crate::language::Language;
use crate::pipeline::Fault;

/// What a text in another script is rejected with.
pub(crate) const WRONG_SCRIPT: &str = "wrong_script";
/// What a text in another language is rejected with.
pub(crate) const WRONG_LANGUAGE: &str = "wrong_language";
/// Words from which on the detector is asked.
const SENTENCE: usize = 5;
/// Han letters from which on a Japanese text must have kana, and how many stand in a row then: lists of words may have none.
const HAN: usize = 12;
const HAN_IN_A_ROW: usize = 7;
/// Simplified Chinese letters that traditional texts do not have.
const SIMPLIFIED: &str = "这个们国说来时会对发学长门见车红黄绿蓝东鸟马鱼书头脸爱体点边还过没两图画动开关现页风飞语话请问样张带华阳云电视间题经业实写给听让认识为义乐观气";
/// The same letters in their traditional form.
const TRADITIONAL: &str = "這個們國說來時會對發學長門見車紅黃綠藍東鳥馬魚書頭臉愛體點邊還過沒兩圖畫動開關現頁風飛語話請問樣張帶華陽雲電視間題經業實寫給聽讓認識為義樂觀氣";
/// Languages that the detector takes for each other.
const NEAR: [&[Lang]; 8] = [
    &[Lang::Nob, Lang::Dan, Lang::Swe],
    &[Lang::Spa, Lang::Por, Lang::Cat],
    &[Lang::Ces, Lang::Slk],
    &[Lang::Srp, Lang::Hrv, Lang::Slv, Lang::Mkd, Lang::Bul],
    &[Lang::Ukr, Lang::Bel, Lang::Rus],
    &[Lang::Tur, Lang::Aze, Lang::Tuk, Lang::Uzb],
    &[Lang::Afr, Lang::Nld],
    &[Lang::Hin, Lang::Mar, Lang::Nep],
];

/// What is wrong with the language of a translation, if anything is.
pub(crate) fn language_fault(from: Language, to: Language, source: &str, text: &str) -> Option<Fault> {
    let script = wrong_script(to, source, text).map(|detail| Fault { reason: WRONG_SCRIPT, detail });
    script.or_else(|| wrong_language(from, to, text).map(|detail| Fault { reason: WRONG_LANGUAGE, detail }))
}

fn wrong_script(to: Language, source: &str, text: &str) -> Option<String> {
    let expected = scripts(to)?;
    let found = whatlang::detect_script(text)?;
    if !expected.contains(&found) {
        // A name or a brand is the same everywhere.
        let stays = source.trim() == text && text.split_whitespace().count() < SENTENCE;
        return (!stays).then(|| found.to_string());
    }
    let han = text.chars().filter(|c| is_han(*c)).count();
    let in_a_row = text.split(|c| !is_han(c)).map(|row| row.chars().count()).max().unwrap_or_default();
    if to == Language::JA && han >= HAN && in_a_row >= HAN_IN_A_ROW && !text.chars().any(is_kana) {
        return Some("Han letters without kana".to_owned());
    }
    let count = |letters: &str| text.chars().filter(|c| letters.contains(*c)).count();
    let (simplified, traditional) = (count(SIMPLIFIED), count(TRADITIONAL));
    match to {
        Language::ZH_HANS if traditional > simplified => Some("traditional Chinese letters".to_owned()),
        Language::ZH_HANT if simplified > traditional => Some("simplified Chinese letters".to_owned()),
        _ => None,
    }
}

fn wrong_language(from: Language, to: Language, text: &str) -> Option<String> {
    if text.split_whitespace().count() < SENTENCE {
        return None;
    }
    let known = |language: Language| langs(language).first().copied();
    let allowed: Vec<Lang> = Language::ALL.iter().copied().chain([from, to]).filter_map(known).collect();
    let found = Detector::with_allowlist(allowed).detect(text).filter(whatlang::Info::is_reliable)?.lang();
    // Japanese with few kana is taken for Chinese by its letters alone; what is Chinese, the script has told.
    if to == Language::JA && found == Lang::Cmn {
        return None;
    }
    let expected = langs(to);
    let near = |lang: &Lang| NEAR.iter().any(|group| group.contains(lang) && group.contains(&found));
    // Of a language that the detector does not know, only the source's own is sure to be wrong.
    let wrong = match expected.is_empty() {
        true => langs(from).contains(&found),
        false => !expected.contains(&found) && !expected.iter().any(near),
    };
    wrong.then(|| found.eng_name().to_owned())
}

/// The detector's names of a language: none, or one, or that of its nearest kin.
fn langs(language: Language) -> Vec<Lang> {
    let primary = language.tag().split('-').next().unwrap_or_default();
    match primary {
        "zh" | "yue" => vec![Lang::Cmn],
        "fa" => vec![Lang::Pes],
        "nn" | "no" => vec![Lang::Nob],
        "sh" | "bs" => vec![Lang::Hrv],
        primary => crate::language::three_letters(primary).filter_map(Lang::from_code).collect(),
    }
}

/// The scripts that a language is written in; `None` where that is not known.
fn scripts(language: Language) -> Option<Vec<Script>> {
    let written = language.tag().split('-').nth(1).filter(|part| part.len() == 4);
    let code = written.or_else(|| language.kin().map(|kin| kin.script_code));
    let of_code = match code {
        Some("Latn") => Some(vec![Script::Latin]),
        Some("Cyrl") => Some(vec![Script::Cyrillic]),
        Some("Arab") => Some(vec![Script::Arabic]),
        Some("Deva") => Some(vec![Script::Devanagari]),
        Some("Beng") => Some(vec![Script::Bengali]),
        Some("Sinh") => Some(vec![Script::Sinhala]),
        Some("Taml") => Some(vec![Script::Tamil]),
        Some("Hans" | "Hant" | "Hani") => Some(vec![Script::Mandarin]),
        Some("Kore" | "Hang") => Some(vec![Script::Hangul]),
        Some("Jpan") => Some(vec![Script::Hiragana, Script::Katakana, Script::Mandarin]),
        _ => None,
    };
    of_code.or_else(|| {
        let langs = langs(language);
        let writes = |script: &&Script| script.langs().iter().any(|lang| langs.contains(lang));
        let found: Vec<Script> = Script::all().iter().filter(writes).copied().collect();
        (!found.is_empty()).then_some(found)
    })
}

fn is_han(c: char) -> bool {
    matches!(u32::from(c), 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x2ffff)
}

fn is_kana(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30ff | 0x31f0..=0x31ff | 0xff66..=0xff9f)
}

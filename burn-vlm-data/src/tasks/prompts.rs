//! What is asked, in each language: short natural questions of the kind "What is this?".
//!
//! The questions are our own; the words for yes and no are CLDR's, but for `zh-Hans` (whose button labels 确定 / 否定
//! answer no question) and `tr` (whose "no" lacks its dotless ı).

use crate::language::Language;

/// The questions and fixed answers of one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prompts {
    /// "What is this?"
    pub what_is_this: &'static str,
    /// "Which country or region does this flag belong to?"
    pub whose_flag: &'static str,
    /// "List keywords for this picture."
    pub list_keywords: &'static str,
    /// "Is this “{}”?", with `{}` where the name goes.
    pub is_this: &'static str,
    /// "Answer with the letter only."
    pub letter_only: &'static str,
    /// "yes"
    pub yes: &'static str,
    /// "no"
    pub no: &'static str,
}

impl Prompts {
    /// The yes/no question about `name`.
    pub fn is_this(&self, name: &str) -> String {
        self.is_this.replace("{}", name)
    }
}

/// The questions and fixed answers of `language`.
pub fn prompts(language: Language) -> &'static Prompts {
    // English stands first.
    &TABLE[language.index().unwrap_or(0)]
}

/// The same in another language, of a text in `from` that is one of this library's own wordings: a question, a fixed answer, or the yes/no
/// question about a name, which `name` translates. `None` of any other text.
///
/// # Errors
/// What `name` returns.
pub fn wording<E>(
    text: &str,
    from: Language,
    to: Language,
    name: impl FnOnce(&str) -> Result<String, E>,
) -> Result<Option<String>, E> {
    let (there, here) = (prompts(from), prompts(to));
    let pairs = [
        (there.what_is_this, here.what_is_this),
        (there.whose_flag, here.whose_flag),
        (there.list_keywords, here.list_keywords),
        (there.letter_only, here.letter_only),
        (there.yes, here.yes),
        (there.no, here.no),
    ];
    if let Some((_, same)) = pairs.iter().find(|(known, _)| *known == text) {
        return Ok(Some((*same).to_owned()));
    }
    let about =
        there.is_this.split_once("{}").and_then(|(before, after)| text.strip_prefix(before)?.strip_suffix(after));
    about.map(|about| Ok(here.is_this(&name(about)?))).transpose()
}

const fn row(texts: [&'static str; 7]) -> Prompts {
    let [what_is_this, whose_flag, list_keywords, is_this, letter_only, yes, no] = texts;
    Prompts { what_is_this, whose_flag, list_keywords, is_this, letter_only, yes, no }
}

/// In the order of [`Language::ALL`].
static TABLE: [Prompts; 32] = [
    // en
    row([
        "What is this?",
        "Which country or region does this flag belong to?",
        "List keywords for this picture.",
        "Is this “{}”?",
        "Answer with the letter only.",
        "yes",
        "no",
    ]),
    // de
    row([
        "Was ist das?",
        "Zu welchem Land oder Gebiet gehört diese Flagge?",
        "Nenne Stichwörter zu diesem Bild.",
        "Ist das „{}“?",
        "Antworte nur mit dem Buchstaben.",
        "ja",
        "nein",
    ]),
    // nl
    row([
        "Wat is dit?",
        "Bij welk land of gebied hoort deze vlag?",
        "Noem trefwoorden bij deze afbeelding.",
        "Is dit ‘{}’?",
        "Antwoord alleen met de letter.",
        "ja",
        "nee",
    ]),
    // es
    row([
        "¿Qué es esto?",
        "¿De qué país o región es esta bandera?",
        "Enumera palabras clave de esta imagen.",
        "¿Es esto «{}»?",
        "Responde solo con la letra.",
        "sí",
        "no",
    ]),
    // es-419
    row([
        "¿Qué es esto?",
        "¿De qué país o región es esta bandera?",
        "Enumera palabras clave de esta imagen.",
        "¿Es esto “{}”?",
        "Responde solo con la letra.",
        "sí",
        "no",
    ]),
    // fr
    row([
        "Qu’est-ce que c’est ?",
        "À quel pays ou région appartient ce drapeau ?",
        "Donne des mots-clés pour cette image.",
        "Est-ce « {} » ?",
        "Réponds uniquement par la lettre.",
        "oui",
        "non",
    ]),
    // pt-PT
    row([
        "O que é isto?",
        "A que país ou região pertence esta bandeira?",
        "Indique palavras-chave para esta imagem.",
        "Isto é «{}»?",
        "Responda apenas com a letra.",
        "sim",
        "não",
    ]),
    // pt-BR
    row([
        "O que é isto?",
        "A qual país ou região pertence esta bandeira?",
        "Liste palavras-chave para esta imagem.",
        "Isto é “{}”?",
        "Responda apenas com a letra.",
        "sim",
        "não",
    ]),
    // uk
    row([
        "Що це?",
        "Якій країні чи території належить цей прапор?",
        "Назви ключові слова до цього зображення.",
        "Це «{}»?",
        "Відповідай лише літерою.",
        "так",
        "ні",
    ]),
    // hi
    row([
        "यह क्या है?",
        "यह झंडा किस देश या क्षेत्र का है?",
        "इस चित्र के लिए कीवर्ड बताइए।",
        "क्या यह “{}” है?",
        "केवल अक्षर से उत्तर दें।",
        "हाँ",
        "नहीं",
    ]),
    // zh-Hans
    row([
        "这是什么？",
        "这是哪个国家或地区的旗帜？",
        "列出这张图片的关键词。",
        "这是“{}”吗？",
        "只回答字母。",
        "是",
        "否",
    ]),
    // zh-Hant
    row([
        "這是什麼？",
        "這是哪個國家或地區的旗幟？",
        "列出這張圖片的關鍵字。",
        "這是「{}」嗎？",
        "只回答字母。",
        "是",
        "否",
    ]),
    // ru
    row([
        "Что это?",
        "Какой стране или территории принадлежит этот флаг?",
        "Назови ключевые слова к этому изображению.",
        "Это «{}»?",
        "Ответь только буквой.",
        "да",
        "нет",
    ]),
    // cs
    row([
        "Co je to?",
        "Které zemi nebo území patří tato vlajka?",
        "Uveď klíčová slova k tomuto obrázku.",
        "Je to „{}“?",
        "Odpověz pouze písmenem.",
        "ano",
        "ne",
    ]),
    // ko
    row([
        "이것은 무엇인가요?",
        "이 깃발은 어느 나라 또는 지역의 것인가요?",
        "이 그림의 키워드를 나열해 주세요.",
        "이것은 “{}”인가요?",
        "알파벳 글자로만 답하세요.",
        "예",
        "아니요",
    ]),
    // ja
    row([
        "これは何ですか？",
        "これはどの国または地域の旗ですか？",
        "この画像のキーワードを挙げてください。",
        "これは「{}」ですか？",
        "アルファベットの文字だけで答えてください。",
        "はい",
        "いいえ",
    ]),
    // it
    row([
        "Che cos’è questo?",
        "A quale paese o regione appartiene questa bandiera?",
        "Elenca parole chiave per questa immagine.",
        "Questo è «{}»?",
        "Rispondi solo con la lettera.",
        "sì",
        "no",
    ]),
    // pl
    row([
        "Co to jest?",
        "Do jakiego kraju lub regionu należy ta flaga?",
        "Podaj słowa kluczowe do tego obrazka.",
        "Czy to jest „{}”?",
        "Odpowiedz tylko literą.",
        "tak",
        "nie",
    ]),
    // ro
    row([
        "Ce este asta?",
        "Cărei țări sau regiuni îi aparține acest steag?",
        "Enumeră cuvinte-cheie pentru această imagine.",
        "Este asta „{}”?",
        "Răspunde doar cu litera.",
        "da",
        "nu",
    ]),
    // nn
    row([
        "Kva er dette?",
        "Kva land eller område høyrer dette flagget til?",
        "List opp nøkkelord for dette biletet.",
        "Er dette «{}»?",
        "Svar berre med bokstaven.",
        "ja",
        "nei",
    ]),
    // nb
    row([
        "Hva er dette?",
        "Hvilket land eller område tilhører dette flagget?",
        "List opp nøkkelord for dette bildet.",
        "Er dette «{}»?",
        "Svar bare med bokstaven.",
        "ja",
        "nei",
    ]),
    // ar
    row([
        "ما هذا؟",
        "لأي بلد أو منطقة ينتمي هذا العلم؟",
        "اذكر كلمات مفتاحية لهذه الصورة.",
        "هل هذا \"{}\"؟",
        "أجب بالحرف فقط.",
        "نعم",
        "لا",
    ]),
    // tr; "var mı" ("is there"), since the particle after a name would have to follow its vowels
    row([
        "Bu nedir?",
        "Bu bayrak hangi ülkeye veya bölgeye ait?",
        "Bu resim için anahtar kelimeleri sırala.",
        "Bu resimde “{}” var mı?",
        "Yalnızca harfle cevap ver.",
        "evet",
        "hayır",
    ]),
    // da
    row([
        "Hvad er dette?",
        "Hvilket land eller område tilhører dette flag?",
        "Nævn nøgleord til dette billede.",
        "Er dette “{}”?",
        "Svar kun med bogstavet.",
        "ja",
        "nej",
    ]),
    // fi
    row([
        "Mikä tämä on?",
        "Minkä maan tai alueen lippu tämä on?",
        "Luettele tämän kuvan avainsanoja.",
        "Onko tämä ”{}”?",
        "Vastaa pelkällä kirjaimella.",
        "kyllä",
        "ei",
    ]),
    // hu
    row([
        "Mi ez?",
        "Melyik országhoz vagy területhez tartozik ez a zászló?",
        "Sorolj fel kulcsszavakat ehhez a képhez.",
        "Ez „{}”?",
        "Csak a betűvel válaszolj.",
        "igen",
        "nem",
    ]),
    // is
    row([
        "Hvað er þetta?",
        "Hvaða landi eða svæði tilheyrir þessi fáni?",
        "Nefndu lykilorð fyrir þessa mynd.",
        "Er þetta „{}“?",
        "Svaraðu aðeins með bókstafnum.",
        "já",
        "nei",
    ]),
    // sv
    row([
        "Vad är detta?",
        "Vilket land eller område tillhör den här flaggan?",
        "Ange nyckelord för den här bilden.",
        "Är detta ”{}”?",
        "Svara endast med bokstaven.",
        "ja",
        "nej",
    ]),
    // bn
    row([
        "এটা কী?",
        "এই পতাকাটি কোন দেশ বা অঞ্চলের?",
        "এই ছবির জন্য মূলশব্দ লিখুন।",
        "এটা কি “{}”?",
        "শুধু অক্ষর দিয়ে উত্তর দিন।",
        "হ্যাঁ",
        "না",
    ]),
    // si
    row([
        "මේ මොකක්ද?",
        "මේ කොඩිය අයත් වන්නේ කුමන රටකට හෝ ප්‍රදේශයකට ද?",
        "මේ රූපය සඳහා මූල පද ලියන්න.",
        "මේ “{}” ද?",
        "අකුරෙන් පමණක් පිළිතුරු දෙන්න.",
        "ඔව්",
        "නැත",
    ]),
    // ta
    row([
        "இது என்ன?",
        "இந்தக் கொடி எந்த நாடு அல்லது பகுதிக்கு உரியது?",
        "இந்தப் படத்திற்கான முக்கிய சொற்களைக் கூறவும்.",
        "இது “{}” தானா?",
        "எழுத்தை மட்டும் பதிலளிக்கவும்.",
        "ஆம்",
        "இல்லை",
    ]),
    // ur
    row([
        "یہ کیا ہے؟",
        "یہ پرچم کس ملک یا خطے کا ہے؟",
        "اس تصویر کے لیے کلیدی الفاظ بتائیں۔",
        "کیا یہ ”{}“ ہے؟",
        "صرف حرف سے جواب دیں۔",
        "ہاں",
        "نہیں",
    ]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emoji::EmojiCorpus;
    use std::collections::HashSet;

    #[test]
    fn every_language_is_complete() {
        for language in Language::ALL {
            let p = prompts(*language);
            let all = [p.what_is_this, p.whose_flag, p.list_keywords, p.is_this, p.letter_only, p.yes, p.no];
            assert!(all.iter().all(|text| !text.is_empty() && text.trim() == *text), "{language}");
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), 7, "{language}");
            assert_eq!(p.is_this.matches("{}").count(), 1, "{language}");
        }
    }

    #[test]
    fn own_wordings_are_known_in_other_languages() {
        let upper = |name: &str| Ok::<_, ()>(name.to_uppercase());
        let english = |text: &str, from| wording(text, from, Language::EN, upper).unwrap();
        assert_eq!(english("Was ist das?", Language::DE).as_deref(), Some("What is this?"));
        assert_eq!(english("ja", Language::DE).as_deref(), Some("yes"));
        assert_eq!(english("Ist das „apfel“?", Language::DE).as_deref(), Some("Is this “APFEL”?"));
        assert_eq!(english("Apfel", Language::DE), None);
        // A wording of another language is any other text.
        assert_eq!(english("Was ist das?", Language::RU), None);
        let fails = wording("Ist das „apfel“?", Language::DE, Language::EN, |_| Err("no"));
        assert_eq!(fails, Err("no"));
    }

    /// Catches a row that stands at the wrong language: the corpus knows the words for yes and no.
    #[test]
    fn yes_and_no_are_the_corpus_words() {
        let corpus = EmojiCorpus::embedded().unwrap();
        for language in Language::ALL {
            let (strings, p) = (corpus.strings(*language).unwrap(), prompts(*language));
            match *language {
                Language::ZH_HANS => assert_eq!((p.yes, p.no), ("是", "否")),
                Language::TR => assert_eq!((p.yes, p.no), ("evet", "hayır")),
                _ => assert_eq!((p.yes, p.no), (strings.yes.as_str(), strings.no.as_str()), "{language}"),
            }
        }
    }
}

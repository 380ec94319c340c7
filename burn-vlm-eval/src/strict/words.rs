//! The words that replies are read by, by language.
//!
//! Few and sure ones: a word that is missing leaves a reply unread, which is counted; a wrong one gives a wrong score.
//! Words are parted by `|`; `*` stands for any ending; a dot behind a word for yes or no says that it must stand alone
//! (Spanish `si` is also "if").

use std::sync::LazyLock;

use burn_vlm_data::language::Language;

use super::text::visible;
use super::tokens::{Token, Words, parts};

/// What a list of words is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sense {
    Yes,
    No,
    /// "answer"
    Answer,
    /// "option"
    Option,
    /// "is", "is called"; what says that what follows is meant
    Is,
    /// "right"
    Right,
    /// "wrong"
    Wrong,
    /// "or", "and"
    Or,
    /// "not", before what it denies
    Not,
    /// "not", behind what it denies
    NotBehind,
    /// Articles, which short answers are compared without
    Article,
    /// Other words that change nothing: "letter", "probably", particles
    Fill,
    /// Saying that there will be no answer
    Refusal,
}

/// The words of a language.
struct Raw {
    tag: &'static str,
    yes: &'static str,
    no: &'static str,
    answer: &'static str,
    option: &'static str,
    is: &'static str,
    right: &'static str,
    wrong: &'static str,
    or: &'static str,
    not: &'static str,
    not_behind: &'static str,
    article: &'static str,
    fill: &'static str,
    refusal: &'static str,
}

const NOTHING: Raw = Raw {
    tag: "",
    yes: "",
    no: "",
    answer: "",
    option: "",
    is: "",
    right: "",
    wrong: "",
    or: "",
    not: "",
    not_behind: "",
    article: "",
    fill: "",
    refusal: "",
};

/// By the first part of the tag: `pt` is both pt-PT and pt-BR. English stands first.
const RAW: [Raw; 29] = [
    Raw {
        tag: "en",
        yes: "yes|yep|yeah",
        no: "no|nope",
        answer: "answer|answers|boxed",
        option: "option|options|choice",
        is: "is|are|be|it's|choose|pick|select|think|guess",
        right: "right|correct",
        wrong: "wrong|incorrect|false",
        or: "or|and",
        not: "not|no|neither|nor",
        article: "a|an|the",
        fill: "letter|probably|likely|clearly|must|final|one|text",
        refusal: "i do not know|i cannot tell|i cannot determine|cannot determine the answer|cannot be determined|i cannot answer|\
                  i cannot say|i cannot see the image|i cannot see the picture|i cannot see any image|i cannot view|\
                  i cannot help|i cannot assist|i cannot process|i cannot provide|i am unable to|unable to determine|\
                  without the image|no image was provided|no image is provided|no image provided|as an ai|\
                  failed to obtain answer via api",
        ..NOTHING
    },
    Raw {
        tag: "de",
        yes: "ja",
        no: "nein",
        answer: "antwort|antworten|lösung",
        option: "option|antwortmöglichkeit|antwortoption",
        is: "ist|lautet|wäre",
        right: "richtig*|korrekt*",
        wrong: "falsch*",
        or: "oder|und",
        not: "nicht|kein|keine|weder|noch",
        article: "der|die|das|den|dem|des|ein|eine|einen|einem|einer|eines",
        fill: "buchstabe",
        refusal: "ich weiß nicht|ich weiß es nicht|das weiß ich nicht|ich kann das nicht|ich kann es nicht|\
                  ich kann die frage nicht|ich kann das bild nicht|kann ich nicht|lässt sich nicht bestimmen",
        ..NOTHING
    },
    Raw {
        tag: "nl",
        yes: "ja",
        no: "nee|neen",
        answer: "antwoord",
        option: "optie|keuze",
        is: "is|luidt",
        right: "juist*|correct*",
        wrong: "fout|onjuist*|verkeerd*",
        or: "of|en",
        not: "niet|geen",
        article: "de|het|een",
        fill: "letter",
        refusal: "ik weet het niet|weet ik niet|ik kan niet|ik kan het niet|niet te bepalen",
        ..NOTHING
    },
    Raw {
        tag: "es",
        yes: "sí|si.",
        no: "no",
        answer: "respuesta|solución",
        option: "opción|alternativa",
        is: "es|sería",
        right: "correcta|correcto",
        wrong: "incorrecta|incorrecto|falsa|falso",
        or: "o|y|u",
        not: "no|ni",
        article: "el|la|los|las|un|una|unos|unas|lo",
        fill: "letra",
        refusal: "no sé|no lo sé|no puedo|no se puede determinar|no es posible determinar",
        ..NOTHING
    },
    Raw {
        tag: "fr",
        yes: "oui",
        no: "non",
        answer: "réponse",
        option: "option|choix",
        is: "est|serait",
        right: "bonne|correcte|correct|juste|exacte",
        wrong: "fausse|faux|incorrecte|incorrect|mauvaise",
        or: "ou|et",
        not: "pas|ni|non",
        article: "le|la|les|l|un|une|des|du",
        fill: "lettre|n",
        refusal: "je ne sais pas|je ne peux pas|impossible de déterminer|impossible à déterminer",
        ..NOTHING
    },
    Raw {
        tag: "pt",
        yes: "sim",
        no: "não|nao.",
        answer: "resposta",
        option: "opção|alternativa",
        is: "é|seria",
        right: "correta|correto|correcta|correcto|certa|certo",
        wrong: "errada|errado|incorreta|incorreto|incorrecta|incorrecto|falsa|falso",
        or: "ou|e",
        not: "não|nem",
        article: "o|a|os|as|um|uma|uns|umas",
        fill: "letra",
        refusal: "não sei|não posso|não consigo|não é possível determinar",
        ..NOTHING
    },
    Raw {
        tag: "uk",
        yes: "так",
        no: "ні",
        answer: "відповідь|відповіддю",
        option: "варіант",
        is: "це|є",
        right: "правильна|правильний|правильно",
        wrong: "неправильна|неправильний|неправильно",
        or: "або|чи|і|та",
        not: "не|ні",
        fill: "літера|буква",
        refusal: "не знаю|не можу|неможливо визначити",
        ..NOTHING
    },
    Raw {
        tag: "hi",
        yes: "हाँ|हां|जी हाँ|जी हां",
        no: "नहीं|नही|जी नहीं",
        answer: "उत्तर|जवाब",
        option: "विकल्प",
        is: "है|हैं",
        right: "सही",
        wrong: "गलत|ग़लत",
        or: "या|और",
        not_behind: "नहीं",
        refusal: "मुझे नहीं पता|नहीं बता सकता|नहीं बता सकती",
        ..NOTHING
    },
    Raw {
        tag: "zh",
        yes: "是|是的|对|对的|對|對的|有",
        no: "否|不|不是|不是的|不对|不對|没有|沒有",
        answer: "答案|回答",
        option: "选项|選項|选择|選擇|选|選",
        is: "是|为|為",
        right: "正确|正確|对|對",
        wrong: "错误|錯誤|错|錯|不对|不對|不正确|不正確",
        or: "或|或者|还是|還是|和|与|與|及",
        not: "不是|不选|不選|并非|並非|不",
        fill: "的|应该|應該|应|應|就",
        refusal: "不知道|无法|無法|不确定|不確定",
        ..NOTHING
    },
    Raw {
        tag: "ru",
        yes: "да",
        no: "нет",
        answer: "ответ|ответом",
        option: "вариант",
        is: "это|является",
        right: "правильный|правильная|правильно|верный|верная|верно",
        wrong: "неправильный|неправильная|неправильно|неверный|неверная|неверно",
        or: "или|и",
        not: "не|ни",
        fill: "буква",
        refusal: "не знаю|не могу|невозможно определить",
        ..NOTHING
    },
    Raw {
        tag: "cs",
        yes: "ano",
        no: "ne",
        answer: "odpověď|odpovědí",
        option: "možnost",
        is: "je",
        right: "správná|správný|správně|správnou",
        wrong: "špatná|špatný|špatně|nesprávná|nesprávný",
        or: "nebo|a",
        not: "ne|není|ani",
        fill: "písmeno",
        refusal: "nevím|nemohu|nelze určit",
        ..NOTHING
    },
    Raw {
        tag: "ko",
        yes: "예|예입니다|네|맞습니다|그렇습니다",
        no: "아니요|아니요입니다|아니오|아뇨|아닙니다",
        answer: "정답*|답|답은|답변*",
        option: "선택지*|보기*",
        is: "입니다|이다|이에요|예요",
        right: "정답*",
        wrong: "오답*|틀렸습니다|틀립니다",
        or: "또는|와|과|이나|혹은",
        not_behind: "아니*|아닙*",
        fill: "은|는|이|가",
        refusal: "모르겠습니다|잘 모르겠습니다|알 수 없습니다|확인할 수 없습니다",
        ..NOTHING
    },
    Raw {
        tag: "ja",
        yes: "はい|ええ|そうです",
        no: "いいえ|いえ|違います|ちがいます",
        answer: "答え|答|正解|回答|解答",
        option: "選択肢",
        is: "です|だ|である",
        right: "正しい|正解",
        wrong: "間違い|誤り|不正解",
        or: "または|又は|か|と|もしくは|あるいは",
        not_behind: "ではない|ではなく|ではありません|じゃない|でない",
        fill: "は|が|の",
        refusal: "わかりません|分かりません|判断できません|お答えできません",
        ..NOTHING
    },
    Raw {
        tag: "it",
        yes: "sì|si.",
        no: "no",
        answer: "risposta",
        option: "opzione|scelta|alternativa",
        is: "è|sarebbe",
        right: "corretta|corretto|giusta|giusto|esatta|esatto",
        wrong: "sbagliata|sbagliato|errata|errato|falsa|falso",
        or: "o|e|oppure",
        not: "non|né",
        article: "il|lo|la|l|i|gli|le|un|uno|una",
        fill: "lettera",
        refusal: "non lo so|non posso|non so|non è possibile determinare",
        ..NOTHING
    },
    Raw {
        tag: "pl",
        yes: "tak",
        no: "nie",
        answer: "odpowiedź|odpowiedzią",
        option: "opcja",
        is: "to|jest|brzmi",
        right: "prawidłowa|poprawna|właściwa",
        wrong: "błędna|nieprawidłowa|niepoprawna",
        or: "lub|albo|i|oraz",
        not: "nie|ani",
        fill: "litera",
        refusal: "nie wiem|nie mogę|nie można określić|nie da się określić",
        ..NOTHING
    },
    Raw {
        tag: "ro",
        yes: "da",
        no: "nu",
        answer: "răspuns|răspunsul",
        option: "opțiunea|varianta",
        is: "este",
        right: "corect|corectă",
        wrong: "greșit|greșită|incorect|incorectă",
        or: "sau|și",
        not: "nu|nici",
        article: "un|o",
        fill: "litera",
        refusal: "nu știu|nu pot|nu se poate determina",
        ..NOTHING
    },
    Raw {
        tag: "nb",
        yes: "ja|jo",
        no: "nei",
        answer: "svar|svaret",
        option: "alternativ|alternativet",
        is: "er",
        right: "riktig|riktige|rett|rette|korrekt|korrekte",
        wrong: "feil|galt",
        or: "eller|og",
        not: "ikke|verken",
        article: "en|ei|et|den|det",
        fill: "bokstav|bokstaven",
        refusal: "jeg vet ikke|det vet jeg ikke|jeg kan ikke",
        ..NOTHING
    },
    Raw {
        tag: "nn",
        yes: "ja|jo",
        no: "nei",
        answer: "svar|svaret",
        option: "alternativ|alternativet",
        is: "er",
        right: "riktig|riktige|rett|rette|korrekt|korrekte",
        wrong: "feil",
        or: "eller|og",
        not: "ikkje|verken",
        article: "ein|ei|eit|den|det",
        fill: "bokstav|bokstaven",
        refusal: "eg veit ikkje|det veit eg ikkje|eg kan ikkje",
        ..NOTHING
    },
    Raw {
        tag: "ar",
        yes: "نعم|أجل",
        no: "لا|كلا",
        answer: "الإجابة|إجابة|إجابتي|الجواب|جواب",
        option: "الخيار|خيار|الاختيار",
        is: "هي|هو",
        right: "الصحيحة|صحيحة|الصحيح|صحيح",
        wrong: "الخاطئة|خاطئة|الخاطئ|خاطئ|خطأ",
        or: "أو|و",
        not: "ليس|ليست|وليس|وليست|لا",
        fill: "الحرف|حرف",
        refusal: "لا أعرف|لا أعلم|لا أدري|لا يمكنني|لا أستطيع|لا يمكن تحديد",
        ..NOTHING
    },
    Raw {
        tag: "tr",
        yes: "evet",
        no: "hayır",
        answer: "cevap|cevabı|cevabım|yanıt|yanıtı|yanıtım",
        option: "seçenek|seçeneği|şık|şıkkı",
        is: "dir|dır|dur|dür|tir|tır|tur|tür",
        right: "doğru",
        wrong: "yanlış|yanlıştır",
        or: "veya|ya da|ve",
        not_behind: "değil*",
        fill: "harf|harfi",
        refusal: "bilmiyorum|emin değilim|belirleyemiyorum|cevaplayamıyorum",
        ..NOTHING
    },
    Raw {
        tag: "da",
        yes: "ja|jo",
        no: "nej",
        answer: "svar|svaret",
        option: "mulighed|svarmulighed|valgmulighed",
        is: "er",
        right: "rigtig|rigtige|rigtigt|korrekt|korrekte",
        wrong: "forkert|forkerte",
        or: "eller|og",
        not: "ikke|hverken",
        article: "en|et|den|det",
        fill: "bogstav|bogstavet",
        refusal: "jeg ved det ikke|jeg ved ikke|det ved jeg ikke|jeg kan ikke",
        ..NOTHING
    },
    Raw {
        tag: "fi",
        yes: "kyllä|joo",
        no: "ei",
        answer: "vastaus|vastaukseni",
        option: "vaihtoehto",
        is: "on",
        right: "oikea|oikein",
        wrong: "väärä|väärin",
        or: "tai|ja",
        not: "ei",
        fill: "kirjain",
        refusal: "en tiedä|en osaa|en voi|ei voida määrittää",
        ..NOTHING
    },
    Raw {
        tag: "hu",
        yes: "igen",
        no: "nem",
        answer: "válasz|válaszom|megoldás",
        option: "opció|válaszlehetőség",
        right: "helyes",
        wrong: "helytelen|hibás",
        or: "vagy|és",
        not: "nem|sem",
        article: "a|az|egy",
        fill: "betű",
        refusal: "nem tudom|nem tudok|nem lehet megállapítani",
        ..NOTHING
    },
    Raw {
        tag: "is",
        yes: "já|jú",
        no: "nei",
        answer: "svar|svarið",
        option: "valkostur|svarmöguleiki",
        is: "er",
        right: "rétt|rétta|rétti|réttur",
        wrong: "rangt|röng|rangur",
        or: "eða|og",
        not: "ekki",
        fill: "bókstafur|bókstafurinn",
        refusal: "ég veit ekki|ég veit það ekki|ég get ekki",
        ..NOTHING
    },
    Raw {
        tag: "sv",
        yes: "ja|jo",
        no: "nej",
        answer: "svar|svaret",
        option: "alternativ|alternativet|svarsalternativ",
        is: "är",
        right: "rätt|rätta|korrekt|korrekta|riktig|riktiga",
        wrong: "fel|felaktig|felaktigt",
        or: "eller|och",
        not: "inte|ej|varken",
        article: "en|ett|den|det",
        fill: "bokstav|bokstaven",
        refusal: "jag vet inte|det vet jag inte|jag kan inte",
        ..NOTHING
    },
    Raw {
        tag: "bn",
        yes: "হ্যাঁ|হাঁ",
        no: "না",
        answer: "উত্তর|উত্তরটি",
        option: "বিকল্প",
        is: "হল|হলো",
        right: "সঠিক",
        wrong: "ভুল",
        or: "বা|অথবা|এবং",
        not_behind: "নয়|না",
        refusal: "আমি জানি না",
        ..NOTHING
    },
    Raw {
        tag: "si",
        yes: "ඔව්",
        no: "නැත|නැහැ|නෑ",
        answer: "පිළිතුර",
        option: "විකල්පය",
        right: "නිවැරදි",
        wrong: "වැරදි",
        or: "හෝ|සහ",
        not_behind: "නොවේ|නෙවෙයි",
        refusal: "මම දන්නේ නැහැ|මම නොදනිමි",
        ..NOTHING
    },
    Raw {
        tag: "ta",
        yes: "ஆம்|ஆமாம்",
        no: "இல்லை",
        answer: "பதில்|விடை",
        option: "விருப்பம்",
        right: "சரியான|சரி",
        wrong: "தவறு|தவறான",
        or: "அல்லது|மற்றும்",
        not_behind: "அல்ல|இல்லை",
        refusal: "எனக்குத் தெரியாது|எனக்கு தெரியாது",
        ..NOTHING
    },
    Raw {
        tag: "ur",
        yes: "ہاں|جی ہاں",
        no: "نہیں|جی نہیں",
        answer: "جواب",
        option: "آپشن",
        is: "ہے",
        right: "درست|صحیح",
        wrong: "غلط",
        or: "یا|اور",
        not_behind: "نہیں",
        fill: "حرف",
        refusal: "مجھے نہیں معلوم|مجھے معلوم نہیں",
        ..NOTHING
    },
];

/// Words that mean something else in another language of the table (Czech "no" is Turkish "what", Romanian "yes" German
/// "there", Finnish "is" English "on"): they count in replies to questions of their own language only.
const ELSEWHERE_OTHERS: [&str; 19] = [
    "da", "ne", "nu", "ei", "nem", "tak", "nie", "ano", "si", "jo", "так", "on", "to", "je", "er", "dir", "dur", "tur",
    "tür",
];

/// A word or some, each with whether any ending may follow.
struct Pattern {
    words: Vec<(String, bool)>,
    must_stand_alone: bool,
}

/// The words of a language, ready to be compared.
struct Entry {
    tag: &'static str,
    lists: Vec<(Sense, Vec<Pattern>)>,
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| RAW.iter().map(Entry::new).collect());

impl Entry {
    fn new(raw: &Raw) -> Self {
        let lists = [
            (Sense::Yes, raw.yes),
            (Sense::No, raw.no),
            (Sense::Answer, raw.answer),
            (Sense::Option, raw.option),
            (Sense::Is, raw.is),
            (Sense::Right, raw.right),
            (Sense::Wrong, raw.wrong),
            (Sense::Or, raw.or),
            (Sense::Not, raw.not),
            (Sense::NotBehind, raw.not_behind),
            (Sense::Article, raw.article),
            (Sense::Fill, raw.fill),
            (Sense::Refusal, raw.refusal),
        ];
        let parse = |(sense, list): (Sense, &str)| {
            (sense, list.split('|').map(Pattern::new).filter(|pattern| !pattern.words.is_empty()).collect())
        };
        Self { tag: raw.tag, lists: lists.into_iter().map(parse).collect() }
    }

    /// Words for yes and no alone.
    fn given(yes: &str, no: &str) -> Self {
        let parse =
            |list: &str| list.split('|').map(Pattern::new).filter(|pattern| !pattern.words.is_empty()).collect();
        Self { tag: "", lists: vec![(Sense::Yes, parse(yes)), (Sense::No, parse(no))] }
    }

    fn list(&self, sense: Sense) -> &[Pattern] {
        self.lists.iter().find(|(known, _)| *known == sense).map_or(&[], |(_, list)| list.as_slice())
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let (text, open) = text.strip_suffix('*').map_or((text, false), |text| (text, true));
        let (text, must_stand_alone) = text.strip_suffix('.').map_or((text, false), |text| (text, true));
        let tokens = Words::of(&visible(text)).tokens;
        let last = tokens.len().saturating_sub(1);
        let words = tokens.into_iter().enumerate().map(|(at, token)| (token.folded, open && at == last)).collect();
        Self { words, must_stand_alone }
    }

    fn means_another_elsewhere(&self) -> bool {
        matches!(self.words.as_slice(), [(word, _)] if ELSEWHERE_OTHERS.contains(&word.as_str()))
    }

    fn fits(&self, words: &Words, begin: usize) -> bool {
        let same = |(offset, (wanted, open)): (usize, &(String, bool))| {
            words.tokens.get(begin + offset).is_some_and(|token| {
                (offset == 0 || !parts(words.before(begin + offset)))
                    && (token.folded == *wanted || (*open && token.folded.starts_with(wanted.as_str())))
            })
        };
        self.words.iter().enumerate().all(same)
    }
}

/// The words that a reply to a question in some language is read by.
pub(super) struct Lexicon {
    /// Words of a benchmark's own, which stand before the language's.
    given: Option<Entry>,
    /// The language's own entry, and English.
    own: Vec<&'static Entry>,
}

impl Lexicon {
    pub fn of(language: Option<Language>) -> Self {
        let tag = language.map_or("en", Language::tag);
        let tag = match tag.split('-').next().unwrap_or(tag) {
            // The bare tag of what is nearly always Bokmål.
            "no" => "nb",
            bare => bare,
        };
        let entries: &'static [Entry] = &ENTRIES;
        let own = entries.iter().filter(|entry| entry.tag == tag && entry.tag != "en");
        Self { given: None, own: own.chain(entries.iter().filter(|entry| entry.tag == "en")).collect() }
    }

    /// The same with more words for yes and no, which a benchmark brings along.
    pub fn with(mut self, yes: &str, no: &str) -> Self {
        self.given = Some(Entry::given(yes, no));
        self
    }

    /// Whether the question is in English, or its language has no words here.
    pub fn is_english(&self) -> bool {
        self.own.len() == 1 && self.given.is_none()
    }

    /// The words for yes and for no of the first language here, as they are listed.
    pub fn yes_and_no(&self) -> Option<[&'static str; 2]> {
        let raw = RAW.iter().find(|raw| self.own.first().is_some_and(|entry| entry.tag == raw.tag))?;
        Some([raw.yes, raw.no])
    }

    /// The lists of the language and of English, for words that mean something else in others: yes, no, or, not.
    fn own(&self, sense: Sense) -> impl Iterator<Item = &Pattern> {
        self.given.iter().chain(self.own.iter().copied()).flat_map(move |entry| entry.list(sense))
    }

    /// The lists of the language alone.
    fn first(&self, sense: Sense) -> impl Iterator<Item = &Pattern> {
        self.given.iter().chain(self.own.iter().copied().take(1)).flat_map(move |entry| entry.list(sense))
    }

    /// How many words from `at` on make the longest entry of the language's list, or of English.
    pub fn at(&self, sense: Sense, words: &Words, at: usize) -> Option<usize> {
        longest(self.own(sense), |pattern| pattern.fits(words, at))
    }

    /// As [`Self::at`], for entries that need not stand alone, in the question's language only.
    pub fn leading(&self, sense: Sense, words: &Words, at: usize) -> Option<usize> {
        longest(self.first(sense).filter(|pattern| !pattern.must_stand_alone), |pattern| pattern.fits(words, at))
    }

    /// As [`Self::at`], for entries that end before `end`.
    pub fn before(&self, sense: Sense, words: &Words, end: usize) -> Option<usize> {
        longest(self.own(sense), |pattern| ends(pattern, words, end))
    }

    /// As [`Self::at`], in any language: models do not always answer in the question's.
    pub fn any_at(&self, sense: Sense, words: &Words, at: usize) -> Option<usize> {
        longest(self.any(sense), |pattern| pattern.fits(words, at))
    }

    /// As [`Self::any_at`], for entries that end before `end`.
    pub fn any_before(&self, sense: Sense, words: &Words, end: usize) -> Option<usize> {
        longest(self.any(sense), |pattern| ends(pattern, words, end))
    }

    fn any(&self, sense: Sense) -> impl Iterator<Item = &Pattern> {
        let others = every(sense).filter(|pattern| !pattern.means_another_elsewhere());
        self.own(sense).chain(others.map(|pattern| -> &Pattern { pattern }))
    }

    /// Whether the words of the range are an entry of the language's list, or of English.
    pub fn is(&self, sense: Sense, words: &Words, range: std::ops::Range<usize>) -> bool {
        self.own(sense).any(|pattern| pattern.words.len() == range.len() && pattern.fits(words, range.start))
    }
}

/// Whether the words are an entry of any language's list that means the same wherever it is a word.
pub(super) fn is_anywhere(sense: Sense, words: &Words) -> bool {
    let is_whole = |pattern: &Pattern| pattern.words.len() == words.tokens.len() && pattern.fits(words, 0);
    every(sense).any(|pattern| is_whole(pattern) && !pattern.means_another_elsewhere())
}

/// How many words at the begin of a text are an article of any language.
pub(super) fn article(words: &Words) -> Option<usize> {
    longest(every(Sense::Article), |pattern| pattern.fits(words, 0))
}

fn every(sense: Sense) -> impl Iterator<Item = &'static Pattern> {
    let entries: &'static [Entry] = &ENTRIES;
    entries.iter().flat_map(move |entry| entry.list(sense))
}

fn ends(pattern: &Pattern, words: &Words, end: usize) -> bool {
    end.checked_sub(pattern.words.len()).is_some_and(|begin| pattern.fits(words, begin))
}

fn longest<'p>(patterns: impl Iterator<Item = &'p Pattern>, fits: impl Fn(&Pattern) -> bool) -> Option<usize> {
    patterns.filter(|pattern| fits(pattern)).map(|pattern| pattern.words.len()).max()
}

/// Where a reply says that there will be no answer: the first word of it. What an option says itself is no refusal.
pub(super) fn refusal(words: &Words, options: &[Vec<Token>]) -> Option<usize> {
    let in_option = |pattern: &Pattern| {
        let has = |tokens: &Vec<Token>| {
            tokens
                .windows(pattern.words.len())
                .any(|window| window.iter().zip(&pattern.words).all(|(token, (wanted, _))| token.folded == *wanted))
        };
        options.iter().any(has)
    };
    let patterns: Vec<&Pattern> = every(Sense::Refusal).filter(|pattern| !in_option(pattern)).collect();
    (0..words.tokens.len()).find(|at| patterns.iter().any(|pattern| pattern.fits(words, *at)))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use burn_vlm_data::tasks::prompts;

    use super::*;

    /// The words that the prompts ask for are read.
    #[test]
    fn every_language_of_the_project_has_words() {
        for language in Language::ALL {
            let lexicon = Lexicon::of(Some(*language));
            assert!(*language == Language::EN || !lexicon.is_english(), "{language}");
            for (sense, word) in [(Sense::Yes, prompts(*language).yes), (Sense::No, prompts(*language).no)] {
                let words = Words::of(&visible(word));
                assert!(lexicon.is(sense, &words, 0..words.tokens.len()), "{language}: {word}");
            }
            for sense in [Sense::Answer, Sense::Option, Sense::Right, Sense::Wrong, Sense::Or, Sense::Refusal] {
                assert!(lexicon.first(sense).next().is_some(), "{language}: {sense:?}");
            }
            let denies = [Sense::Not, Sense::NotBehind].map(|sense| lexicon.first(sense).count());
            assert!(denies.iter().sum::<usize>() > 0, "{language}");
        }
    }

    /// A word that is yes in one language and no in another would be read by chance.
    #[test]
    fn no_word_is_yes_here_and_no_there() {
        let of = |sense| -> BTreeSet<Vec<String>> {
            every(sense).map(|pattern| pattern.words.iter().map(|(word, _)| word.clone()).collect()).collect()
        };
        assert!(of(Sense::Yes).is_disjoint(&of(Sense::No)));
        let mut by_tag: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in ENTRIES.iter() {
            *by_tag.entry(entry.tag).or_default() += 1;
        }
        assert!(by_tag.values().all(|count| *count == 1));
    }
}

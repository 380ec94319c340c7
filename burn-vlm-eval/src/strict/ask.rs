//! What stands below a question, in its language.
//!
//! The requests are our own; the one for a letter is that of the trained tasks
//! ([`burn_vlm_data::tasks::prompts`]).

use burn_vlm_data::language::Language;
use burn_vlm_data::tasks::prompts;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction {
    /// An option's letter.
    Letter,
    /// Yes or no, in the language's words.
    YesNo,
    /// A word or phrase.
    Short,
}

/// The request in a language: that of a related one (`pt` of pt-PT, `de-AT` of `de`) or English where there is none.
pub fn instruction(instruction: Instruction, language: Option<Language>) -> &'static str {
    let language = language.map_or(Language::EN, known);
    let row = language.index().and_then(|index| TABLE.get(index));
    match (instruction, row) {
        (Instruction::YesNo, Some([yes_no, _])) => yes_no,
        (Instruction::Short, Some([_, short])) => short,
        (Instruction::Letter, _) | (_, None) => prompts(language).letter_only,
    }
}

/// The language of the table that a tag beyond it is nearest to; English if there is none.
fn known(language: Language) -> Language {
    if language.index().is_some() {
        return language;
    }
    let bare = |tag: &'static str| tag.split('-').next().unwrap_or(tag);
    match language.tag() {
        "zh-TW" | "zh-HK" | "zh-MO" => Language::ZH_HANT,
        "no" => Language::NB,
        tag => Language::ALL.iter().copied().find(|known| bare(known.tag()) == bare(tag)).unwrap_or(Language::EN),
    }
}

/// Yes or no, and a word or phrase, in the order of [`Language::ALL`].
const TABLE: [[&str; 2]; 32] = [
    // en
    ["Answer with yes or no only.", "Answer with a single word or phrase."],
    // de
    ["Antworte nur mit ja oder nein.", "Antworte mit einem einzigen Wort oder Ausdruck."],
    // nl
    ["Antwoord alleen met ja of nee.", "Antwoord met één woord of een korte woordgroep."],
    // es
    ["Responde solo con sí o no.", "Responde con una sola palabra o frase."],
    // es-419
    ["Responde solo con sí o no.", "Responde con una sola palabra o frase."],
    // fr
    ["Réponds uniquement par oui ou non.", "Réponds par un seul mot ou une courte expression."],
    // pt-PT
    ["Responda apenas com sim ou não.", "Responda com uma única palavra ou expressão."],
    // pt-BR
    ["Responda apenas com sim ou não.", "Responda com uma única palavra ou expressão."],
    // uk
    ["Відповідай лише «так» або «ні».", "Відповідай одним словом або короткою фразою."],
    // hi
    ["केवल हाँ या नहीं में उत्तर दें।", "एक शब्द या वाक्यांश में उत्तर दें।"],
    // zh-Hans
    ["只回答“是”或“否”。", "用一个词或短语回答。"],
    // zh-Hant
    ["只回答「是」或「否」。", "用一個詞或短語回答。"],
    // ru
    ["Ответь только «да» или «нет».", "Ответь одним словом или короткой фразой."],
    // cs
    ["Odpověz pouze „ano“ nebo „ne“.", "Odpověz jedním slovem nebo krátkou frází."],
    // ko
    ["예 또는 아니요로만 답하세요.", "한 단어나 짧은 구로 답하세요."],
    // ja
    ["「はい」か「いいえ」だけで答えてください。", "一語または短い語句で答えてください。"],
    // it
    ["Rispondi solo con sì o no.", "Rispondi con una sola parola o una breve frase."],
    // pl
    ["Odpowiedz tylko „tak” lub „nie”.", "Odpowiedz jednym słowem lub krótkim wyrażeniem."],
    // ro
    ["Răspunde doar cu da sau nu.", "Răspunde cu un singur cuvânt sau o expresie scurtă."],
    // nn
    ["Svar berre ja eller nei.", "Svar med eitt ord eller eit kort uttrykk."],
    // nb
    ["Svar bare ja eller nei.", "Svar med ett ord eller et kort uttrykk."],
    // ar
    ["أجب بكلمة نعم أو لا فقط.", "أجب بكلمة واحدة أو عبارة قصيرة."],
    // tr
    ["Yalnızca evet veya hayır diye cevap ver.", "Tek bir kelime veya kısa bir ifadeyle cevap ver."],
    // da
    ["Svar kun ja eller nej.", "Svar med et enkelt ord eller et kort udtryk."],
    // fi
    ["Vastaa vain kyllä tai ei.", "Vastaa yhdellä sanalla tai lyhyellä ilmauksella."],
    // hu
    ["Csak annyit válaszolj: igen vagy nem.", "Egyetlen szóval vagy rövid kifejezéssel válaszolj."],
    // is
    ["Svaraðu aðeins með já eða nei.", "Svaraðu með einu orði eða stuttu orðasambandi."],
    // sv
    ["Svara endast ja eller nej.", "Svara med ett enda ord eller ett kort uttryck."],
    // bn
    ["শুধু হ্যাঁ বা না দিয়ে উত্তর দিন।", "একটি শব্দ বা বাক্যাংশে উত্তর দিন।"],
    // si
    ["ඔව් හෝ නැත යනුවෙන් පමණක් පිළිතුරු දෙන්න.", "එක වචනයකින් හෝ කෙටි වාක්‍ය ඛණ්ඩයකින් පිළිතුරු දෙන්න."],
    // ta
    ["ஆம் அல்லது இல்லை என்று மட்டும் பதிலளிக்கவும்.", "ஒரு சொல் அல்லது சொற்றொடரில் பதிலளிக்கவும்."],
    // ur
    ["صرف ہاں یا نہیں میں جواب دیں۔", "ایک لفظ یا فقرے میں جواب دیں۔"],
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a row that stands at the wrong language.
    #[test]
    fn yes_and_no_are_asked_for_in_the_languages_words() {
        for language in Language::ALL {
            let asked = instruction(Instruction::YesNo, Some(*language));
            let words = prompts(*language);
            assert!(asked.contains(words.yes) && asked.contains(words.no), "{language}: {asked}");
            assert!(!instruction(Instruction::Short, Some(*language)).is_empty());
        }
    }

    #[test]
    fn tags_beyond_the_table_have_a_relatives() {
        for (tag, known) in [
            ("de-AT", "de"),
            ("zh-TW", "zh-Hant"),
            ("zh-CN", "zh-Hans"),
            ("no", "nb"),
            ("pt-AO", "pt-PT"),
            ("sw", "en"),
        ] {
            let of = |tag: &str| instruction(Instruction::YesNo, Some(Language::parse(tag).unwrap()));
            assert_eq!(of(tag), of(known), "{tag}");
        }
        assert_eq!(instruction(Instruction::Letter, None), "Answer with the letter only.");
    }
}

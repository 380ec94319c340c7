//! M3Exam (Zhang et al. 2023): school examinations in seven languages, some with pictures, as PangeaBench publishes
//! them and TowerVision's fork of lmms-eval asks and scores them.
//!
//! Unusual here:
//! - the first of `A` to `D` in any case, anywhere in the reply, is the answer, one before `)`, `.`, `:` or white space
//!   before all others: `Answer: B` is A, `and ...` is D;
//! - a reply without any of these letters is compared with the options by likeness, and where none is like enough the
//!   reference draws a letter. Ours counts these replies as wrong, and says how many they are;
//! - options get letters of their own; where one of them is a picture, the prompt has no options at all;
//! - the prompt shows one placeholder, whatever the number of pictures;
//! - under the strict rules every picture has its place where the text names as many as there are, and stands first
//!   else;
//! - an option that begins with a single letter A to D and a space loses it: `a dog` is asked as `dog`.

use std::path::Path;
use std::sync::LazyLock;

use burn_vlm_data::conversation::IMAGE_PLACEHOLDER;
use burn_vlm_data::source::{SkipReason, answer_texts};
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit::ACCURACY;
use crate::lettered::{letter, listed};
use crate::mean;
use crate::published::{Answer, Asked, Flag, Item, Items, MetricInfo, Published, Scored, Verdict, parts};
use crate::reading::{self, FileLanguage, Reading, Unseen};
use crate::rules::{PromptStyle, Rules};
use crate::similarity;
use crate::strict;
use crate::table::refuse;

const STRICT: strict::Kind = strict::Kind::Choice;

/// M3Exam.
pub(super) struct M3Exam;

/// The column with the right answer.
const ANSWER: &str = "answer_text";
/// From here on an option is what the reply means.
const LIKE: f64 = 0.7;
/// Tokens of a reply; Chinese has more.
const MAX_NEW_TOKENS: usize = 16;
const MAX_NEW_TOKENS_CHINESE: usize = 32;

/// What a language's prompts are made of.
struct Words {
    language: &'static str,
    /// Before the subject.
    before: &'static str,
    /// Behind the subject.
    behind: &'static str,
    /// Of the four categories: language, mathematics, social science, natural science.
    subjects: [&'static str; 4],
    /// The last line.
    answer: &'static str,
}

/// The file's names of the categories.
const CATEGORIES: [&str; 4] = ["language", "math", "social-science", "natural-science"];

const WORDS: [Words; 7] = [
    Words {
        language: "english",
        before: "The following is a multiple choice question about ",
        behind: ". Please only respond with the letter (A, B, C, or D) corresponding to the correct answer, without any additional explanation.",
        subjects: ["English", "Math", "Social Science", "Natural Science"],
        answer: "Answer:",
    },
    Words {
        language: "chinese",
        before: "以下是关于",
        behind: "的单项选择题。 请仅给出正确选项对应的选项序号（A, B, C, 或 D） 而非其他细节。",
        subjects: ["语文", "数学", "社会科学", "自然科学"],
        answer: "答案：",
    },
    Words {
        language: "thai",
        before: "ต่อไปนี้เป็นคำถามแบบปรนัย วิชา",
        behind: " โปรดตอบเพียงตัวอักษร (A, B, C หรือ D) ที่ตรงกับคำตอบที่ถูกต้อง โดยไม่ต้องมีคำอธิบายเพิ่มเติม",
        subjects: ["ภาษาไทย", "คณิตศาสตร์", "สังคมศึกษา", "วิทยาศาสตร์"],
        answer: "คำตอบ:",
    },
    Words {
        language: "vietnamese",
        before: "Sau đây là câu hỏi trắc nghiệm về ",
        behind: ". Vui lòng chỉ trả lời bằng chữ cái (A, B, C hoặc D) tương ứng với câu trả lời đúng, không cần giải thích thêm.",
        subjects: ["Tiếng Việt", "Toán", "Khoa học xã hội", "Khoa học tự nhiên"],
        answer: "Câu trả lời:",
    },
    Words {
        language: "italian",
        before: "La seguente è una domanda a scelta multipla su ",
        behind: ". Si prega di rispondere solo con la lettera (A, B, C o D) corrispondente alla risposta corretta, senza alcuna spiegazione aggiuntiva.",
        subjects: ["Italiano", "Matematica", "Scienze sociali", "Scienze naturali"],
        answer: "La risposta:",
    },
    Words {
        language: "afrikaans",
        before: "Die volgende is 'n meervoudige keuse vraag oor ",
        behind: ". Antwoord asseblief slegs met die letter (A, B, C of D) wat ooreenstem met die korrekte antwoord, sonder enige bykomende verduideliking.",
        subjects: ["Afrikaans Huistaal", "Wiskunde", "Sosiale Wetenskappe", "Natuurwetenskap"],
        answer: "Antwoord:",
    },
    Words {
        language: "portuguese",
        before: "A seguir está uma questão de múltipla escolha sobre ",
        behind: ". Por favor, responda apenas com a letra (A, B, C ou D) correspondente à resposta correta, sem qualquer explicação adicional.",
        subjects: ["Linguagens", "Matemática", "Ciências Humanas", "Ciências da Natureza"],
        answer: "Responder:",
    },
];

/// What is looked for in texts; patterns are fixed, so that none fails.
struct Patterns {
    /// A picture in a text: `(image)[image-3.jpg]`.
    picture: Regex,
    /// The name that an option has in the file: `A. `, `(1) `, `（B） `.
    name: Regex,
    /// The same where a reply is compared with options.
    letter_name: Regex,
    /// A letter that is set apart.
    apart: Regex,
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    Some(Patterns {
        picture: Regex::new(r"\(image\)\[[^\]]+\]").ok()?,
        name: Regex::new(r"^[(（]?[A-Da-d\d][)）.\s]+").ok()?,
        letter_name: Regex::new(r"^[A-D]\.\s*").ok()?,
        apart: Regex::new(r"(?i)\(?([A-D])[).:\s]").ok()?,
    })
});

/// The text without the match at its begin.
fn without(text: &str, pattern: impl Fn(&Patterns) -> &Regex) -> &str {
    let found = PATTERNS.as_ref().and_then(|patterns| pattern(patterns).find(text));
    found.map_or(text, |found| &text[found.end()..]).trim()
}

fn shows_picture(text: &str) -> bool {
    PATTERNS.as_ref().is_some_and(|patterns| patterns.picture.is_match(text))
}

impl Published for M3Exam {
    fn name(&self) -> &'static str {
        "m3exam"
    }

    fn about(&self) -> &'static str {
        "M3Exam (Zhang et al. 2023), as PangeaBench publishes it: school examinations in seven languages"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::DeepSpin, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let how = Reading {
            question: "question_text",
            answer: ANSWER,
            columns: &["background_description", "level", "subject", "year"],
            required: &[&["language"], &["subject_category"], &["options"]],
            unseen: Unseen::Kept,
            ..Reading::of(rules, FileLanguage::Column("language"))
        };
        reading::read(
            file,
            base,
            &how,
            |_| Ok(()),
            |item| {
                finish(item)?;
                if rules == Rules::BurnVlm {
                    let options = listed(|name| item.cells.get(name))?.unwrap_or_default();
                    item.options = (0..).map_while(letter).zip(unnamed(options)).collect();
                    return STRICT.check(item);
                }
                Ok(())
            },
        )
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        if style == PromptStyle::BurnVlm {
            return STRICT.question(&shown(item));
        }
        let max_new_tokens = if item.part == "chinese" { MAX_NEW_TOKENS_CHINESE } else { MAX_NEW_TOKENS };
        Asked { text: prompt(item).unwrap_or_default(), ask: Ask::Generate { max_new_tokens } }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let verdicts: Vec<Verdict> = items.iter().zip(answers).map(|(item, answer)| verdict(item, answer)).collect();
        let of_part = |part: &str| {
            let of_part = items.iter().zip(&verdicts).filter(|(item, _)| item.part == part);
            let (mut hits, mut guessed, mut count) = (0.0, 0, 0);
            for (_, verdict) in of_part {
                hits += verdict.score(ACCURACY).unwrap_or_default();
                guessed += u32::from(verdict.flags.contains(&Flag::RandomInReference));
                count += 1;
            }
            json!({
                "accuracy_without_guessed_rows": hits / f64::from((count - guessed).max(1)),
                "accuracy_guessed_rows_wrong": hits / f64::from(count.max(1)),
                "n": count,
                "n_guessed": guessed,
            })
        };
        let totals = parts(items).into_iter().map(|part| (part.to_owned(), of_part(part)));
        let totals = Value::Object(totals.collect::<Map<_, _>>());
        let guessed = verdicts.iter().filter(|verdict| verdict.flags.contains(&Flag::RandomInReference)).count();
        let note = format!(
            "{guessed} of {} replies name no option: the reference draws a letter for each, here they are wrong",
            items.len()
        );
        let notes = if guessed > 0 { vec![note] } else { Vec::new() };
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        vec![MetricInfo {
            key: ACCURACY,
            label: "accuracy".into(),
            explanation: format!(
                "Multiple choice, answered freely. Letters are told by the rules named here ({}); replies for which the reference \
                 draws a letter are wrong.",
                rules.whose()
            ),
            chance: Some(mean(items.iter().map(|item| 100.0 / item.options.len().max(1) as f64))),
        }]
    }
}

/// The language and the category are known, the answer is one of the options, and there is a picture where one is
/// shown.
fn finish(item: &mut Item) -> Result<(), SkipReason> {
    let name = item.cell("language").unwrap_or_default();
    let words = words(&name).ok_or_else(|| {
        let known: Vec<&str> = WORDS.iter().map(|words| words.language).collect();
        refuse(format!("language {name:?}, expected one of {}", known.join(", ")))
    })?;
    let category = item.cell("subject_category").unwrap_or_default();
    if !CATEGORIES.contains(&category.as_str()) {
        return Err(refuse(format!("subject_category {category:?}, expected one of {}", CATEGORIES.join(", "))));
    }
    let options = listed(|name| item.cells.get(name))?.unwrap_or_default();
    let given = item.answers.first().ok_or_else(|| refuse(format!("no {ANSWER}")))?;
    let answer = standardized(given);
    let named = options.iter().map(|option| without(option, |patterns| &patterns.name).to_owned());
    item.options = (0..).map_while(letter).zip(named).collect();
    if !item.options.iter().any(|(letter, _)| letter.to_string() == answer) {
        return Err(refuse(format!("{ANSWER} {given:?} is none of the {} options", options.len())));
    }
    item.part = words.language.to_owned();
    if item.media.is_empty() && shows_picture(&item.question) {
        return Err(refuse("the question shows a picture, and the row has none"));
    }
    item.answers = vec![answer];
    Ok(())
}

fn words(language: &str) -> Option<&'static Words> {
    WORDS.iter().find(|words| words.language == language)
}

/// The prompt; none of an item of another benchmark.
fn prompt(item: &Item) -> Option<String> {
    let words = words(&item.part)?;
    let category = item.cell("subject_category")?;
    let at = CATEGORIES.iter().position(|known| *known == category)?;
    let subject = words.subjects.get(at)?;
    let picture = &PATTERNS.as_ref()?.picture;
    // The first picture keeps its place, the others lose theirs.
    let question = picture.replacen(&item.question, 1, IMAGE_PLACEHOLDER);
    let question = picture.replace_all(&question, "");
    let background = background(item).map(|text| format!("\n{text}")).unwrap_or_default();
    let options: Vec<String> = item.options.iter().map(|(letter, text)| format!("({letter}) {text}")).collect();
    let options = options.join("\n");
    let options = if shows_picture(&options) { "" } else { &options };
    let Words { before, behind, answer, .. } = words;
    Some(format!("{before}{subject}{behind}\n\n{background}\n{question}\n{options}\n{answer}"))
}

/// The options without the names that the file gives them, where each has its own: `(A) `, `B. `, `3)`.
fn unnamed(options: Vec<String>) -> Vec<String> {
    let bare = |(place, option): (usize, &String)| {
        let text = option.trim().trim_start_matches(['(', '（']);
        let mut chars = text.chars();
        let name = chars.next()?;
        let is_own = letter(place).is_some_and(|letter| letter.eq_ignore_ascii_case(&name))
            || name.to_digit(10).and_then(|digit| letter((digit as usize).checked_sub(1)?)) == letter(place);
        let (mark, rest) = (chars.next()?, chars.as_str());
        let ends = matches!(mark, ')' | '）')
            || (matches!(mark, '.' | '．') && !rest.starts_with(|c: char| c.is_ascii_digit()));
        (is_own && ends).then(|| rest.trim().to_owned())
    };
    let all: Option<Vec<String>> = options.iter().enumerate().map(bare).collect();
    all.unwrap_or(options)
}

/// What is told before the question.
fn background(item: &Item) -> Option<String> {
    const NAME: &str = "background_description";
    let texts = item.cells.get(NAME).and_then(|value| answer_texts(NAME, value).ok()).unwrap_or_default();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// The item as the strict rules ask it: behind its background, and with a placeholder for each picture where as many
/// are named as there are; names that tell nothing are left out else.
fn shown(item: &Item) -> Item {
    let mut item = item.clone();
    if let Some(background) = background(&item) {
        item.question = format!("{background}\n{}", item.question);
    }
    let Some(patterns) = PATTERNS.as_ref() else { return item };
    let texts = || std::iter::once(&item.question).chain(item.options.iter().map(|(_, text)| text));
    let named: usize = texts().map(|text| patterns.picture.find_iter(text).count()).sum();
    let place = if named == item.media.len() { IMAGE_PLACEHOLDER } else { "" };
    let replaced = |text: &str| patterns.picture.replace_all(text, place).into_owned();
    item.question = replaced(&item.question);
    item.options.iter_mut().for_each(|(_, text)| *text = replaced(text));
    item
}

/// The letter that the file's answer means: a letter, a digit, a digit in brackets; else what is written.
fn standardized(answer: &str) -> String {
    let by_digit = |digit: u32| usize::try_from(digit).ok()?.checked_sub(1).and_then(letter);
    let digit = answer.strip_prefix('(').unwrap_or(answer).chars().next().and_then(|digit| digit.to_digit(10));
    match digit.and_then(by_digit) {
        Some(letter) => letter.to_string(),
        None => answer.to_owned(),
    }
}

fn verdict(item: &Item, answer: &Answer) -> Verdict {
    let found = answer.as_text().and_then(|reply| understood(reply.trim(), item));
    let guessed = answer.reply.is_some() && found.is_none();
    let found = found.map(String::from);
    let right = found.as_deref() == Some(item.answer());
    Verdict::right(ACCURACY, found.clone(), right)
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::Invalid, guessed)
        .flagged(Flag::RandomInReference, guessed)
        .with("letter", found.clone())
        .with("standardized_answer", item.answer())
        .with("hit", found.map(|_| i32::from(right)))
        .with("random_fallback", guessed)
}

/// The letter that a reply means; none where the reference draws one.
fn understood(reply: &str, item: &Item) -> Option<char> {
    let apart = PATTERNS.as_ref().and_then(|patterns| patterns.apart.captures(reply)?.get(1)?.as_str().chars().next());
    let any = || reply.chars().find(|c| matches!(c, 'A'..='D' | 'a'..='d'));
    if let Some(letter) = apart.or_else(any) {
        return Some(letter.to_ascii_uppercase());
    }
    // As written in the file, with its own names of options but for letters with a dot.
    let options =
        item.cells.get("options").and_then(|options| answer_texts("options", options).ok()).unwrap_or_default();
    let mut best = (None, 0.0);
    for (place, option) in options.iter().enumerate() {
        let ratio = similarity::ratio(reply, without(option, |patterns| &patterns.letter_name));
        if ratio > best.1 {
            best = (letter(place), ratio);
        }
    }
    best.0.filter(|_| best.1 > LIKE)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn items(rows: &[Value]) -> Result<Items, BenchmarkError> {
        let folder = tempfile::tempdir().unwrap();
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        fs::write(folder.path().join("english.jsonl"), lines.join("\n")).unwrap();
        let file: FileRecipe = toml::from_str("name = \"m\"\nfile = \"english.jsonl\"").unwrap();
        M3Exam.read(&file, folder.path(), Rules::DeepSpin)
    }

    fn row(more: Value) -> Value {
        let mut row = json!({
            "question_text": "Who?", "background_description": [], "answer_text": "2", "options": ["A. fry", "(2) 以上都不是"],
            "language": "english", "subject_category": "math", "image_0": "None",
        });
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    }

    #[test]
    fn options_lose_their_names_and_more() {
        let options = json!(["A. one", "(2)two", "（c） three", "a dog", "10", "4 cats", "Berlin"]);
        let read = items(&[row(json!({ "options": options, "answer_text": "(7)" }))]).unwrap();
        let texts: Vec<&str> = read.items[0].options.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["one", "two", "three", "dog", "10", "cats", "Berlin"]);
        assert_eq!(read.items[0].answer(), "G");
        assert_eq!(read.items[0].id, "english/0");
    }

    #[test]
    fn strict_rules_keep_what_is_no_name() {
        let of = |options: [&str; 2]| unnamed(options.map(str::to_owned).into());
        assert_eq!(of(["(A) one", "(B) two"]), ["one", "two"]);
        assert_eq!(of(["1. one", "2．two"]), ["one", "two"]);
        for kept in [["a dog", "b cats"], ["1.5", "2.5"], ["A. one", "two"], ["A. one", "C. two"]] {
            assert_eq!(of(kept), kept);
        }
        let more = json!({ "options": ["a dog", "4 cats"], "answer_text": "B" });
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.jsonl"), row(more).to_string()).unwrap();
        let file: FileRecipe = toml::from_str("name = \"m\"\nfile = \"a.jsonl\"").unwrap();
        let items = M3Exam.read(&file, folder.path(), Rules::BurnVlm).unwrap().items;
        let asked = M3Exam.question(&items[0], PromptStyle::BurnVlm).text;
        assert_eq!(asked, "Who?\nA. a dog\nB. 4 cats\nAnswer with the letter only.");
    }

    #[test]
    fn answers_of_every_form() {
        for (given, letter) in
            [("B", "B"), ("2", "B"), ("(2)", "B"), ("2.", "B"), ("24", "B"), ("0", "0"), ("（2）", "（2）")]
        {
            assert_eq!(standardized(given), letter, "{given}");
        }
    }

    #[test]
    fn replies_without_a_letter_are_compared_or_drawn() {
        let item = items(&[row(json!({}))]).unwrap().items.remove(0);
        for (reply, letter) in [
            ("fry", Some('A')),
            ("Fry", None),
            ("以上都不是", Some('B')),
            ("1", None),
            ("", None),
            ("xyz d", Some('D')),
            ("Answer: B", Some('A')),
            ("(b)", Some('B')),
        ] {
            assert_eq!(understood(reply, &item), letter, "{reply}");
        }
        let answers = [Answer::text("Fry"), Answer::default(), Answer::text("B.")];
        let scored = M3Exam.score(&vec![item; 3], &answers, Rules::DeepSpin, PromptStyle::DeepSpin);
        let flags: Vec<Vec<Flag>> = scored.verdicts.iter().map(|verdict| verdict.clone().unwrap().flags).collect();
        assert_eq!(flags, [vec![Flag::Invalid, Flag::RandomInReference], vec![Flag::NoReply], vec![]]);
        let totals = json!({"accuracy_without_guessed_rows": 0.5, "accuracy_guessed_rows_wrong": 1.0 / 3.0, "n": 3, "n_guessed": 1});
        assert_eq!(scored.totals["english"], totals);
        assert!(scored.notes[0].starts_with("1 of 3 replies"));
    }

    #[test]
    fn pictures_behind_the_first_lose_their_place() {
        let options = json!(["(image)[b.jpg]", "(image)[c.jpg]"]);
        let more = json!({ "question_text": "Is (image)[a.jpg] like (image)[b.jpg]?", "options": options, "background_description": ["x", "y"] });
        let mut item = items(&[row(json!({}))]).unwrap().items.remove(0);
        let no_picture = items(&[row(more.clone())]).unwrap_err().to_string();
        assert!(
            no_picture.contains("english.jsonl, line 1 (id \"english:1\"): malformed: the question shows a picture"),
            "{no_picture}"
        );
        item.question = more["question_text"].as_str().unwrap().to_owned();
        item.options = vec![('A', "(image)[b.jpg]".to_owned())];
        item.cells.insert("background_description".into(), more["background_description"].clone());
        let text = M3Exam.question(&item, PromptStyle::DeepSpin).text;
        assert!(text.ends_with("explanation.\n\n\nx\ny\nIs <image> like ?\n\nAnswer:"), "{text}");
    }

    #[test]
    fn what_is_no_question_is_an_error() {
        for (more, word) in [
            (json!({ "answer_text": "3" }), "answer_text \"3\" is none of the 2 options"),
            (json!({ "answer_text": "fry" }), "answer_text \"fry\" is none of the 2 options"),
            (json!({ "language": "german" }), "language \"german\", expected one of english, chinese"),
            (json!({ "subject_category": "art" }), "subject_category \"art\", expected one of language, math"),
            (json!({ "answer_text": null }), "no column \"answer_text\""),
        ] {
            let error = items(&[row(more)]).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let twice = items(&[row(json!({ "id": "x" })), row(json!({ "id": "x" }))]).unwrap_err().to_string();
        assert!(twice.contains("its index \"x\" is that of"), "{twice}");
    }
}

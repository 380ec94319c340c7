//! What VLMEvalKit and its copies ask, and make of replies to multiple choice: the prompts of the kit and of Parrot,
//! the kit's letters and its totals.

use std::collections::{BTreeMap, BTreeSet};

use burn_vlm_data::source::{SkipKind, SkipReason};
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::mean;
use crate::pandas::{is_missing, stored_by_part};
use crate::published::{Answer, Flag, Item, MetricInfo, Verdict, parts};
use crate::reply::{letter, parrot_clean_up};
use crate::rules::{PromptStyle, Rules};
use crate::table::refuse;

/// The key of the share of right answers.
pub const ACCURACY: &str = "accuracy";

/// The right letter is one of the options'.
///
/// # Errors
/// An answer that is no option's letter.
pub fn check_letter(item: &mut Item) -> Result<(), SkipReason> {
    if item.answers.is_empty() {
        return Err(SkipReason::new(SkipKind::NoAnswer, "no answer"));
    }
    let given = item.answer().trim().to_owned();
    let mut letters = given.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if item.option(letter).is_some() => {
            item.answers = vec![given];
            Ok(())
        }
        _ => {
            let letters: String = item.options.iter().map(|(letter, _)| *letter).collect();
            Err(refuse(format!("answer {given:?} is none of the options' letters {letters:?}")))
        }
    }
}

/// Tokens of a reply, as Parrot's model class allows; VLMEvalKit has no limit of a benchmark, its models' is 2048.
pub fn max_new_tokens(style: PromptStyle) -> usize {
    match style {
        PromptStyle::Vlmevalkit => 2048,
        _ => 512,
    }
}

/// A free reply as the kit asks for it.
pub fn generate(style: PromptStyle) -> Ask {
    Ask::Generate { max_new_tokens: max_new_tokens(style) }
}

/// Ends of Parrot's prompts by the end of the file's name; English for all others.
const REQUESTS: [(&str, &str); 5] = [
    ("_zh", CHINESE),
    ("_pt", "Responda diretamente com a letra da opção das escolhas dadas."),
    ("_ar", "أجب مباشرةً بحرف الخيار من الاختيارات المعطاة."),
    ("_ru", "Ответьте буквой варианта из предложенных вариантов напрямую."),
    ("_tr", "Verilen seçeneklerden doğrudan seçeneğin harfi ile cevap verin."),
];
const CHINESE: &str = "请直接用给定选项中的选项字母回答。";
/// The English request; only after it Parrot cleans replies up.
pub const ENGLISH: &str = "Answer with the option's letter from the given choices directly.";

/// What the kit writes before a question, a hint and the options.
pub const HEADINGS: [&str; 3] = ["Hint: ", "Question: ", "Options:"];
const SELECT: &str = "Please select the correct answer from the options above.";
const SHORT_ANSWER: &str = "Answer the question using a single word or phrase.";
const SHORT_ANSWER_CHINESE: &str = "请用单个词或短语回答问题。";
const YES_NO: &str = "Please strictly answer Yes or No. Answer the question using a single word or phrase.";
const YES_NO_CHINESE: &str = "请直接回答Yes或No。请用单个词或短语回答问题。";

/// The English form of a line of a prompt that is one of the requests here, in whichever language.
pub fn english_request(line: &str) -> Option<&'static str> {
    match line {
        SHORT_ANSWER_CHINESE => Some(SHORT_ANSWER),
        YES_NO_CHINESE => Some(YES_NO),
        _ if REQUESTS.iter().any(|(_, request)| *request == line) => Some(ENGLISH),
        _ => [ENGLISH, SELECT, SHORT_ANSWER, YES_NO].into_iter().find(|request| *request == line),
    }
}

/// A multiple-choice question as the model sees it.
pub fn choice_prompt(item: &Item, style: PromptStyle) -> String {
    let question = item.question.as_str();
    let options = &item.options;
    let lines: Vec<String> = options.iter().map(|(letter, text)| format!("{letter}. {text}\n")).collect();
    let lines = lines.concat();
    if style == PromptStyle::Vlmevalkit {
        let hint = item.cell("hint").map(|hint| format!("Hint: {hint}\n")).unwrap_or_default();
        if options.is_empty() {
            return format!("{hint}Question: {question}\n");
        }
        return format!("{hint}Question: {question}\nOptions:\n{lines}{SELECT} \n");
    }
    let hint = item.cell("hint").map(|hint| format!("{hint}\n")).unwrap_or_default();
    let text = format!("{hint}{question}\n{lines}");
    let chinese = is_chinese(&text);
    let request = match options.is_empty() {
        true if chinese => SHORT_ANSWER_CHINESE,
        true => SHORT_ANSWER,
        false if chinese => CHINESE,
        false => {
            let of_file = |(end, _): &&(&str, &str)| style == PromptStyle::Parrot && item.part.ends_with(end);
            REQUESTS.iter().find(of_file).map_or(ENGLISH, |(_, request)| request)
        }
    };
    format!("{text}{request}")
}

/// A yes/no question as the model sees it.
pub fn yes_no_prompt(item: &Item, style: PromptStyle) -> String {
    let question = item.question.as_str();
    if style == PromptStyle::Vlmevalkit {
        return question.to_owned();
    }
    let ends = [" Please answer yes or no.", " Yes or No", " Answer in one sentence."];
    let question = ends.iter().find_map(|end| question.strip_suffix(end)).unwrap_or(question);
    let request = if is_chinese(question) { YES_NO_CHINESE } else { YES_NO };
    format!("{question}\n{request}")
}

fn is_chinese(text: &str) -> bool {
    text.contains(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

/// Names that the kit shortens in its totals.
const SHORT: [(&str, &str); 6] = [
    ("coarse_perception", "CP"),
    ("finegrained_perception (instance-level)", "FP-S"),
    ("finegrained_perception (cross-instance)", "FP-C"),
    ("logic_reasoning", "LR"),
    ("relation_reasoning", "RR"),
    ("attribute_reasoning", "AR"),
];

/// The kit's totals of multiple choice, each a share of 1: for each split (`none` without such a column) the mean of
/// all rows, of each `l2-category` and of each `category`. `hits` has the rows that count.
pub fn choice_totals<'a>(hits: impl Iterator<Item = (&'a Item, f64)> + Clone) -> Value {
    let split = |item: &Item| item.cell("split").unwrap_or_else(|| "none".to_owned());
    let splits: BTreeSet<String> = hits.clone().map(|(item, _)| split(item)).collect();
    let table = splits.into_iter().map(|name| {
        let of_split = hits.clone().filter(|(item, _)| split(item) == name);
        let mut row = Map::from_iter([("split".to_owned(), Value::from(name.clone()))]);
        row.insert("Overall".into(), mean(of_split.clone().map(|(_, hit)| hit)).into());
        for column in ["l2-category", "category"] {
            let mut by_name: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            for (item, hit) in of_split.clone() {
                if let Some(name) = item.cell(column) {
                    let short = SHORT.iter().find(|(long, _)| *long == name).map(|(_, short)| (*short).to_owned());
                    by_name.entry(short.unwrap_or(name)).or_default().push(hit);
                }
            }
            row.extend(by_name.into_iter().map(|(name, hits)| (name, mean(hits.into_iter()).into())));
        }
        Value::Object(row)
    });
    table.collect()
}

/// The totals of every file, each as the kit prints it, and the number of rows that were loaded.
pub fn totals_by_part(items: &[Item], verdicts: &[Verdict]) -> Value {
    totals_of(items, ACCURACY, |at| verdicts.get(at))
}

/// The same of any score, which rows that do not count lack.
pub fn totals_of<'a>(items: &[Item], score: &str, verdict: impl Fn(usize) -> Option<&'a Verdict>) -> Value {
    let totals = parts(items).into_iter().map(|part| {
        let of_part = items.iter().enumerate().filter(move |(_, item)| item.part == part);
        let hits = of_part.clone().filter_map(|(at, item)| Some((item, verdict(at)?.score(score)?)));
        (part.to_owned(), json!({ "rows": of_part.count(), "table": choice_totals(hits) }))
    });
    Value::Object(totals.collect())
}

/// The kit's verdict on each reply to a multiple-choice question: `letter` (null where nothing was inferred) and `hit`.
///
/// Replies to Parrot's prompts with the English request are cleaned up first, as its model class does; then all go
/// through the kit's file of results.
pub fn choice_verdicts(items: &[Item], answers: &[Answer], rules: Rules, style: PromptStyle) -> Vec<Verdict> {
    let by_parrot = matches!(style, PromptStyle::Parrot | PromptStyle::ParrotAsSet);
    let cleaned = items.iter().zip(answers).map(|(item, answer)| {
        let text = answer.as_text()?;
        let is_english = by_parrot && choice_prompt(item, style).ends_with(ENGLISH);
        Some(if is_english { parrot_clean_up(text) } else { text.to_owned() })
    });
    let stored = stored_by_part(items, cleaned.collect());
    let verdict = |((item, answer), reply): ((&Item, &Answer), String)| {
        let found = letter(&reply, &item.options, rules).map(String::from);
        // A missing reply reads as `nan`, which may be part of an option's text; it is worth nothing all the same.
        let right = answer.as_text().is_some() && found.as_deref() == Some(item.answer());
        let hit = i32::from(right);
        Verdict::right(ACCURACY, found.clone(), right)
            .flagged(Flag::NoReply, answer.reply.is_none())
            .flagged(Flag::ReadAsMissing, answer.as_text().is_some_and(is_missing))
            .flagged(Flag::Invalid, found.is_none())
            .with("letter", found)
            .with("hit", hit)
    };
    items.iter().zip(answers).zip(stored).map(verdict).collect()
}

/// The share of right letters.
pub fn accuracy(items: &[Item], rules: Rules) -> MetricInfo {
    MetricInfo {
        key: ACCURACY,
        label: "accuracy".into(),
        explanation: format!(
            "Multiple choice, answered freely; each question counts by itself. Letters are told by the rules named here: {}.",
            rules.whose()
        ),
        chance: Some(mean(items.iter().map(|item| 100.0 / item.options.len().max(1) as f64))),
    }
}

/// The prompts that the kits' rules go with.
pub fn styles(rules: Rules) -> Vec<PromptStyle> {
    match rules {
        Rules::ParrotVlmevalkit => vec![PromptStyle::Parrot, PromptStyle::ParrotAsSet, PromptStyle::Vlmevalkit],
        Rules::Vlmevalkit => vec![PromptStyle::Vlmevalkit, PromptStyle::Parrot, PromptStyle::ParrotAsSet],
        other => vec![PromptStyle::of(other)],
    }
}

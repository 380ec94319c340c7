//! OCRBench: an accepted answer stands in the reply.
//!
//! Unusual here: an empty answer always does. lmms-eval also reads full-width letters and digits as plain ones, and
//! divides by 1000 however many rows there are.

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_data::source::{Row, SkipReason};
use serde_json::{Map, Value, json};

use super::textvqa::styles;
use crate::ask::Ask;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit::{self, ACCURACY};
use crate::published::{Answer, Asked, Item, Items, MetricInfo, Published, Scored, Verdict};
use crate::reading::{self, FileLanguage, Reading};
use crate::rows::{self, by_language, listed, replies};
use crate::rules::{PromptStyle, Rules};
use crate::strict;
use crate::table::{refuse, text_of};

/// Kinds of questions that are one in the totals.
const RECOGNITION: [&str; 6] = [
    "Regular Text Recognition",
    "Irregular Text Recognition",
    "Artistic Text Recognition",
    "Handwriting Recognition",
    "Digit String Recognition",
    "Non-Semantic Text Recognition",
];
/// Handwritten formulas.
pub(crate) const FORMULA: &str = "Handwritten Mathematical Expression Recognition";
const OTHERS: [&str; 4] = ["Scene Text-centric VQA", "Doc-oriented VQA", "Key Information Extraction", FORMULA];
/// The set that lmms-eval knows formulas by.
const FORMULA_SET: &str = "HME100k";
/// Rows of the whole benchmark.
const ROWS: usize = 1000;
/// lmms-eval's limit.
const NEW_TOKENS: usize = 128;

const STRICT: strict::Kind = strict::Kind::Holds;

/// OCRBench.
pub(super) struct OcrBench;

impl Published for OcrBench {
    fn name(&self) -> &'static str {
        "ocrbench"
    }

    fn about(&self) -> &'static str {
        "OCRBench (Liu et al.): reading text in pictures; an accepted answer stands in the reply"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::LmmsEval, Rules::Vlmevalkit, Rules::ParrotVlmevalkit, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let how = Reading {
            columns: &["dataset", "question_type"],
            required: &[&["category"]],
            ..Reading::of(rules, FileLanguage::Usually(Language::EN))
        };
        let shape = |row: &mut Row| {
            if let Some(kind) = text_of(row, "question_type") {
                row.fields.insert("category".to_owned(), kind.into());
            }
            Ok(())
        };
        reading::read(file, base, &how, shape, |item| {
            listed(item)?;
            check_kind(item)?;
            if rules == Rules::BurnVlm { STRICT.check(item) } else { Ok(()) }
        })
    }

    fn prompts(&self, rules: Rules) -> Vec<PromptStyle> {
        styles(rules)
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        if style == PromptStyle::BurnVlm {
            return STRICT.question(item);
        }
        match style {
            PromptStyle::LmmsEval => {
                Asked { text: item.question.trim().to_owned(), ask: Ask::Generate { max_new_tokens: NEW_TOKENS } }
            }
            style => Asked { text: item.question.clone(), ask: kit::generate(style) },
        }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let verdict = |((item, answer), reply): ((&Item, &Answer), String)| {
            let text = compared(&reply, item, rules);
            let right = item.answers.iter().any(|accepted| text.contains(&compared(accepted, item, rules)));
            let understood = Some(text).filter(|text| !text.is_empty());
            let right = f64::from(u8::from(right));
            rows::verdict(answer, rules, understood, (ACCURACY, right)).with("hit", right)
        };
        let verdicts: Vec<Verdict> =
            items.iter().zip(answers).zip(replies(items, answers, rules)).map(verdict).collect();
        let totals = by_language(items, &verdicts, |rows| totals(rows, rules));
        let mut notes = Vec::new();
        if items.len() != ROWS {
            notes.push(format!("{} rows where OCRBench has {ROWS}: the totals are those of a part", items.len()));
        }
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
                "The share of replies that hold an accepted answer; {ROWS} times this is the published score. Texts \
                 are compared by the rules named here: {}.",
                rules.whose()
            ),
            chance: None,
        }]
    }
}

/// The kind of question is one of OCRBench's.
fn check_kind(item: &Item) -> Result<(), SkipReason> {
    let kind = item.cell("category").ok_or_else(|| refuse("no category"))?;
    if RECOGNITION.contains(&kind.as_str()) || OTHERS.contains(&kind.as_str()) {
        return Ok(());
    }
    Err(refuse(format!("the category {kind:?} is no kind of OCRBench's (Regular Text Recognition, ..)")))
}

/// The text that is looked in, or for: formulas without spaces, all else in lower case.
fn compared(text: &str, item: &Item, rules: Rules) -> String {
    let set = item.cell("dataset").filter(|_| rules == Rules::LmmsEval);
    let is_formula = match set {
        Some(set) => set == FORMULA_SET,
        None => item.cell("category").as_deref() == Some(FORMULA),
    };
    if is_formula {
        return text.trim().replace('\n', " ").replace(' ', "");
    }
    let text = if rules == Rules::LmmsEval { text.chars().map(plain_width).collect() } else { text.to_owned() };
    text.to_lowercase().trim().replace('\n', " ")
}

/// A full-width character of ASCII as that character.
fn plain_width(c: char) -> char {
    /// From the full-width exclamation mark to the plain one.
    const WIDTH: u32 = 0xfee0;
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - WIDTH).unwrap_or(c),
        '\u{3000}' => ' ',
        other => other,
    }
}

/// Right rows of each kind and in all.
fn totals(rows: &[(&Item, &Verdict)], rules: Rules) -> Value {
    let mut right: BTreeMap<String, u64> =
        RECOGNITION.iter().chain(&OTHERS).map(|kind| ((*kind).to_owned(), 0)).collect();
    for (item, verdict) in rows {
        if let Some(count) = right.get_mut(&item.cell("category").unwrap_or_default()) {
            *count += u64::from(verdict.score(ACCURACY) == Some(1.0));
        }
    }
    let sum: u64 = right.values().sum();
    if rules == Rules::LmmsEval {
        return json!({ "ocrbench_accuracy": sum as f64 / ROWS as f64, "by_type": right });
    }
    let count = |kind: &str| right.get(kind).copied().unwrap_or_default();
    let recognized: u64 = RECOGNITION.iter().map(|kind| count(kind)).sum();
    let mut totals = Map::from_iter([("Text Recognition".to_owned(), Value::from(recognized))]);
    totals.extend(OTHERS.map(|kind| (kind.to_owned(), count(kind).into())));
    totals.insert("Final Score".to_owned(), sum.into());
    // Of 100, where there are all rows.
    totals.insert("Final Score Norm".to_owned(), (sum as f64 / 10.0).into());
    totals.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::{PIXEL, read_text, wrong};

    const HEADER: &str = "index\timage\tquestion\tanswer\tcategory\n";

    #[test]
    fn a_part_is_said_to_be_one() {
        let text = format!("{HEADER}1\t{PIXEL}\tq\t['１２', 'x']\tDigit String Recognition\n");
        for (rules, total) in [(Rules::LmmsEval, "ocrbench_accuracy"), (Rules::Vlmevalkit, "Final Score Norm")] {
            let items = read_text(&OcrBench, rules, "OCRBench.tsv", &text, "").unwrap().items;
            let scored = OcrBench.score(&items, &[Answer::text("12")], rules, PromptStyle::of(rules));
            let wanted = if rules == Rules::LmmsEval { 0.001 } else { 0.0 };
            assert_eq!(scored.totals[total], json!(wanted), "{rules}");
            assert!(scored.notes[0].starts_with("1 rows where OCRBench has 1000"));
        }
    }

    #[test]
    fn other_files_are_refused() {
        for rules in OcrBench.rules() {
            for (row, word) in [
                (format!("1\t{PIXEL}\tq\t['a']\tsport"), "no kind of OCRBench's"),
                (format!("1\t{PIXEL}\tq\ta\tDoc-oriented VQA"), "list"),
            ] {
                let error = wrong(&OcrBench, *rules, "OCRBench.tsv", &format!("{HEADER}{row}\n"));
                assert!(error.contains(word) && error.contains("line 2"), "{rules}: {error}");
            }
        }
    }
}

//! ALM-Bench (Vayani et al. 2024): questions on the cultures of 100 languages: multiple choice, true or false, short
//! and long answers.
//!
//! Two metrics go by this name. TowerVision (its fork of lmms-eval, the default here) asks the multiple-choice
//! questions and wants the text of the right option, letter by letter. The benchmark's own code asks all questions and
//! lets a judge (GPT-4o) give 0 to 10 points.
//!
//! Unusual here:
//! - answer and options stand in one cell: `green (Options: red, green)`; an option with a comma is two;
//! - the fork takes the cell apart by a pattern with the word `Options` in ten languages. Full-width brackets, a dot at
//!   the end, French `choix:` without a space or a language whose word it lacks are not understood: the prompt ends
//!   with the line `None` then, and no reply is right;
//! - the benchmark's own code takes what stands in the *first* brackets for the options, and what stands before them
//!   for the answer;
//! - the strict rules ask the multiple-choice questions for a letter. They take a cell apart whatever its language
//!   calls options, and refuse one whose answer is not one of them;
//! - its judge's failures are 0 points there. Here they are counted apart, and no mean has them.

use std::path::Path;
use std::sync::LazyLock;

use burn_vlm_data::source::SkipReason;
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::judge_score;
use crate::kit::{self, ACCURACY};
use crate::lettered::letter;
use crate::mean;
use crate::published::{Answer, Asked, Flag, Item, Items, JudgePrompt, MetricInfo, Published, Scored, Verdict, parts};
use crate::reading::{self, FileLanguage, Reading};
use crate::rules::{PromptStyle, Rules};
use crate::strict;
use crate::table::refuse;

const STRICT: strict::Kind = strict::Kind::Choice;

/// ALM-Bench.
pub(super) struct AlmBench;

/// The column with answer and options.
const ANSWER: &str = "Translated_Answer";
/// The kinds of questions that are asked and judged in their own ways; all others are short.
const CHOICE: &str = "Multiple Choice Questions";
const TRUE_FALSE: &str = "True False Question";
const LONG: &str = "Long Question";
/// The key of a judge's points.
const JUDGED: &str = "judged";
/// The judge's best.
const MOST_POINTS: f64 = 10.0;
/// Tokens of a reply: in the fork's tasks of a language, in the benchmark's own scripts.
const MAX_NEW_TOKENS: usize = 128;
const MAX_NEW_TOKENS_OFFICIAL: usize = 2048;
/// The benchmark's code sets neither, so that the service's own temperature holds; a number needs few tokens.
const JUDGE_TEMPERATURE_MILLI: u32 = 1000;
const JUDGE_MAX_TOKENS: u32 = 64;

/// Answer and options in a cell, as the fork takes it apart.
static CELL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = "Options|Opties|옵션|选项|Opciones|opzioni|Варианты|choix |Opções|Optionen";
    Regex::new(&format!(r"(?i)^(.*?)\s*\((?:{words}):\s*(.*?)\)$")).ok()
});
/// The same in any language, for the strict rules: brackets of both widths, a dot at the end.
static ANY_CELL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?s)^(.*?)\s*[(（]\s*[^:：()（）]+[:：]\s*(.*)[)）]\s*[.。]?$").ok());
static COMMA: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\s*,\s*").ok());

/// The right option and all of them, one a line; none where the fork does not understand the cell.
fn taken_apart(cell: &str) -> Option<(String, String)> {
    let found = CELL.as_ref()?.captures(cell.trim())?;
    let choices = COMMA.as_ref()?.replace_all(found.get(2)?.as_str(), "\n").into_owned();
    Some((found.get(1)?.as_str().trim().to_owned(), choices))
}

/// What the benchmark's own code takes for the answer and for the options: what stands before the first brackets, and
/// in them. Full-width ones come first.
fn bracketed(cell: &str) -> (&str, Option<&str>) {
    let (open, close) = if cell.contains('（') { ('（', '）') } else { ('(', ')') };
    match cell.split_once(open) {
        None => (cell, None),
        Some((answer, rest)) => {
            let end = rest.find([open, close]).unwrap_or(rest.len());
            (answer, rest.get(..end))
        }
    }
}

fn cell(item: &Item) -> String {
    item.cell("answer").unwrap_or_default()
}

fn kind(item: &Item) -> String {
    item.cell("question_type").unwrap_or_default()
}

impl Published for AlmBench {
    fn name(&self) -> &'static str {
        "alm_bench"
    }

    fn about(&self) -> &'static str {
        "ALM-Bench (Vayani et al. 2024): the cultures of 100 languages, by rule (multiple choice) or by judge (all questions)"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::DeepSpin, Rules::Official, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let mut unclear = 0;
        let what = "are no multiple choice and not asked, as in TowerVision";
        let how = Reading {
            question: "Translated_Question",
            answer: ANSWER,
            image: Some("file_name"),
            columns: &["Category", "English_Question", "English_Answer"],
            required: &[&["ID", "id"], &["Language", "language"], &["Question_Type", "question_type"]],
            counted: (rules != Rules::Official).then_some((|item: &Item| kind(item) == CHOICE, what)),
            ..Reading::of(rules, FileLanguage::Column("language"))
        };
        let finish = |item: &mut Item| {
            let cell = named(item)?;
            let is_choice = kind(item) == CHOICE;
            item.answers.clear();
            match rules {
                Rules::Official => {
                    let (answer, choices) = if is_choice { bracketed(&cell) } else { (cell.as_str(), None) };
                    if is_choice && choices.is_none() {
                        let message =
                            "expected options in brackets behind the answer, such as green (Options: red, green)";
                        return Err(refuse(format!("{ANSWER} {cell:?}: {message}")));
                    }
                    item.answers.push(answer.trim().to_owned());
                }
                _ if !is_choice => {}
                Rules::BurnVlm => {
                    (item.options, item.answers) = lettered(item, &cell)?;
                    STRICT.check(item)?;
                }
                _ => match taken_apart(&cell) {
                    Some((target, choices)) => {
                        item.options = (0..).map_while(letter).zip(choices.lines().map(str::to_owned)).collect();
                        item.answers.push(target);
                    }
                    None => unclear += 1,
                },
            }
            Ok(())
        };
        let mut read = reading::read(file, base, &how, |_| Ok(()), finish)?;
        if unclear > 0 {
            let note =
                "have answers that the reference does not take apart: it shows no options, and no reply is right";
            read.notes.push(format!("{}: {unclear} rows {note}", file.name));
        }
        Ok(read)
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        if style == PromptStyle::BurnVlm {
            return STRICT.question(item);
        }
        let question = item.question.as_str();
        if style == PromptStyle::Official {
            let kind = kind(item);
            let language = &item.part;
            let text = match kind.as_str() {
                CHOICE => {
                    let cell = cell(item);
                    let choices = bracketed(&cell).1.unwrap_or_default();
                    format!(
                        "For the given Multiple Choice Question, analyze the question and answer strictly from one of the options \
                         below. Strictly answer the choice only. No additional text.\n{question}\n{choices}"
                    )
                }
                TRUE_FALSE => format!(
                    "{question}\nThe above question is a True/False question. Please provide the answer as one word in {language}"
                ),
                LONG => format!("{question}\nAnswer the question in detail in {language} language."),
                _ => format!("{question}\nPlease provide brief, clear responses in {language} language."),
            };
            return Asked { text, ask: Ask::Generate { max_new_tokens: MAX_NEW_TOKENS_OFFICIAL } };
        }
        let choices = taken_apart(&cell(item)).map_or_else(|| "None".to_owned(), |(_, choices)| choices);
        let text = format!(
            "For the given Multiple Choice Question Answer below, analyze the question and answer strictly from one of the options \
             below. Strictly answer the choice only. No additional text. {question}\n{choices}"
        );
        Asked { text, ask: Ask::Generate { max_new_tokens: MAX_NEW_TOKENS } }
    }

    fn judge(&self, item: &Item, reply: &str, rules: Rules) -> Option<JudgePrompt> {
        if rules != Rules::Official {
            return None;
        }
        let (kind, cell, question) = (kind(item), cell(item), &item.question);
        let answer = if kind == CHOICE { bracketed(&cell).0 } else { &cell };
        let is_matched = kind == CHOICE || kind == TRUE_FALSE;
        let begin = match kind.as_str() {
            _ if is_matched => "Evaluate the following answer based on Accuracy:",
            LONG => {
                "Evaluate the following answer based on Consistency, Fluency, and Relevance based on the Ground Truth answer."
            }
            _ => "Evaluate the following answer based on accuracy and correctness based on the Ground Truth answer.",
        };
        let examples = if is_matched {
            ""
        } else {
            "\nA high score example will be where the predicted response matches closely with the ground truth and a low score example \
             will be where the predicted response lacks knowledge or is not related to the ground truth:"
        };
        let end = if is_matched {
            "Match the meaning of the ground truth with the model prediction and if it matches give a 10. Otherwise 0."
        } else {
            "Provide a single overall score out of 10 based on these three criteria."
        };
        let text = format!(
            "{begin}{examples}\n\nQuestion: {question}\nGround Truth: {answer}\nModel Prediction: {reply}\n\n{end}\nStrictly return only \
             the numeric score, without any additional commentary."
        );
        let (temperature_milli, max_tokens) = (JUDGE_TEMPERATURE_MILLI, JUDGE_MAX_TOKENS);
        Some(JudgePrompt { system: None, text, temperature_milli, max_tokens })
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let one = if rules == Rules::Official { judged } else { exact };
        let verdicts: Vec<Verdict> = items.iter().zip(answers).map(|(item, answer)| one(item, answer)).collect();
        let of_part = |part: &str| -> Value {
            let of_part: Vec<_> = items.iter().zip(&verdicts).filter(|(item, _)| item.part == part).collect();
            if rules == Rules::Official {
                return points(&of_part);
            }
            let hits = of_part.iter().filter_map(|(_, verdict)| verdict.score(ACCURACY));
            json!({ "exact_match": mean(hits), "n": of_part.len() })
        };
        let totals = parts(items).into_iter().map(|part| (part.to_owned(), of_part(part)));
        let totals = Value::Object(totals.collect::<Map<_, _>>());
        let failed = verdicts.iter().filter(|verdict| verdict.flags.contains(&Flag::JudgeFailed)).count();
        let note = format!(
            "the judge gave no number from 0 to 10 for {failed} of {} replies: no mean has them (the benchmark's own code counts 0)",
            items.len()
        );
        let notes = if failed > 0 { vec![note] } else { Vec::new() };
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        if rules == Rules::Official {
            return vec![MetricInfo {
                key: JUDGED,
                label: "judge's points".into(),
                explanation: "The judge's points, 0 to 10, as a share of 10. A question without a reply has none; where the judge gave no \
                              number, the question is left out and counted apart."
                    .into(),
                chance: None,
            }];
        }
        vec![MetricInfo {
            explanation: format!(
                "The reply is the text of the right option, case and marks included; a letter is wrong. The rules are {}.",
                rules.whose()
            ),
            ..kit::accuracy(items, rules)
        }]
    }
}

/// Gives an item its part and index; returns the cell with its answer.
fn named(item: &mut Item) -> Result<String, SkipReason> {
    let of = |column: &str, name: &str| {
        item.cell(column).filter(|text| !text.trim().is_empty()).ok_or_else(|| refuse(format!("no {name}")))
    };
    let (part, index) = (of("language", "Language")?, of("id", "ID")?.trim().to_owned());
    of("question_type", "Question_Type")?;
    let cell = of("answer", ANSWER)?;
    (item.part, item.index) = (part, index);
    Ok(cell)
}

/// Options with letters, and the right letter.
type Lettered = (Vec<(char, String)>, Vec<String>);

/// What the strict rules make of a cell.
///
/// # Errors
/// Options cannot be told, or not exactly one of them is the answer.
fn lettered(item: &Item, cell: &str) -> Result<Lettered, SkipReason> {
    let wrong = |what: &str| refuse(format!("{ANSWER} {cell:?}: {what}, as in green (Options: red, green)"));
    let found = ANY_CELL.as_ref().and_then(|cells| cells.captures(cell.trim()));
    let found = found.and_then(|found| Some((found.get(1)?.as_str(), found.get(2)?.as_str())));
    let (answer, options) = found.ok_or_else(|| wrong("expected options in brackets behind the answer"))?;
    let texts = options.split([',', '，', '、', '،']).map(str::trim).filter(|text| !text.is_empty());
    let options: Vec<(char, String)> = (0..).map_while(letter).zip(texts.map(str::to_owned)).collect();
    let is = |answer: &str| -> Vec<String> {
        let right = options.iter().filter(|(_, text)| strict::accepts(text, &[answer], item.language));
        right.map(|(letter, _)| letter.to_string()).collect()
    };
    // `1 (a) (Options: 1, 2)`: the answer may have a remark of its own.
    let right = Some(is(answer)).filter(|right| !right.is_empty()).unwrap_or_else(|| is(bracketed(answer).0));
    if right.len() == 1 { Ok((options, right)) } else { Err(wrong("expected one of the options as the answer")) }
}

/// The reply is the right option's text.
fn exact(item: &Item, answer: &Answer) -> Verdict {
    let apart = taken_apart(&cell(item));
    let reply = answer.as_text().map(str::trim);
    let right = matches!((&apart, reply), (Some((target, _)), Some(reply)) if reply == target);
    let understood = reply.filter(|reply| item.options.iter().any(|(_, text)| text == reply)).map(str::to_owned);
    let invalid = understood.is_none();
    let (target, choices) = apart.unzip();
    Verdict::right(ACCURACY, understood, right)
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::Invalid, invalid)
        .with("target", target)
        .with("choices", choices)
        .with("hit", f64::from(u8::from(right)))
        .with("hit_own_function", i32::from(right))
}

/// The judge's points; none where the judge failed, 0 where there was nothing to judge.
fn judged(_item: &Item, answer: &Answer) -> Verdict {
    let points = answer.judge.as_deref().and_then(|reply| judge_score::score(reply, 0.0..=MOST_POINTS));
    let points = if answer.reply.is_none() { Some(0.0) } else { points };
    Verdict {
        understood: answer.as_text().map(str::to_owned),
        scores: points.map(|points| (JUDGED, points / MOST_POINTS)).into_iter().collect(),
        ..Verdict::default()
    }
    .flagged(Flag::NoReply, answer.reply.is_none())
    .flagged(Flag::JudgeFailed, points.is_none())
    .with("score", points)
}

/// Points of a language, 0 to 10, of all its questions and of each kind.
fn points(verdicts: &[(&Item, &Verdict)]) -> Value {
    let of = |wanted: Option<&str>| {
        let here: Vec<_> = verdicts.iter().filter(|(item, _)| wanted.is_none_or(|name| kind(item) == name)).collect();
        let points: Vec<f64> = here.iter().filter_map(|(_, verdict)| verdict.score(JUDGED)).collect();
        json!({
            "score": MOST_POINTS * mean(points.iter().copied()),
            "n": here.len(),
            "judge_failed": here.len() - points.len(),
        })
    };
    let mut kinds: Vec<String> = verdicts.iter().map(|(item, _)| kind(item)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of_kinds: Map<_, _> = kinds.iter().map(|name| (name.clone(), of(Some(name)))).collect();
    let mut all = of(None);
    if let Some(all) = all.as_object_mut() {
        all.insert("by_question_type".into(), Value::Object(of_kinds));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PICTURE: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

    fn items(rows: &[Value], rules: Rules) -> Result<Items, BenchmarkError> {
        let folder = tempfile::tempdir().unwrap();
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        fs::write(folder.path().join("a.jsonl"), lines.join("\n")).unwrap();
        let file: FileRecipe = toml::from_str("name = \"alm\"\nfile = \"a.jsonl\"\nmax_skipped = 0").unwrap();
        AlmBench.read(&file, folder.path(), rules)
    }

    fn row(id: &str, more: Value) -> Value {
        let mut row = json!({
            "file_name": PICTURE, "ID": id, "Language": "German", "Question_Type": CHOICE, "Translated_Question": "Was?",
            "Translated_Answer": "rot (Optionen: rot, blau)",
        });
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    }

    #[test]
    fn cells_are_taken_apart_as_the_fork_does() {
        for (cell, wanted) in [
            ("red (Options: red, blue)", Some(("red", "red\nblue"))),
            (" red(OPTIONS:red ,blue)\n", Some(("red", "red\nblue"))),
            ("红 (选项: 红, 蓝)", Some(("红", "红\n蓝"))),
            ("rouge (choix : rouge, bleu)", Some(("rouge", "rouge\nbleu"))),
            ("rouge (choix: rouge, bleu)", None),
            ("red (a) (Options: red (b), blue)", Some(("red (a)", "red (b)\nblue"))),
            ("red (Options: red, blue).", None),
            ("red（Options：red, blue）", None),
            ("赤 (選択肢: 赤, 青)", None),
            ("red (Options: red,\nblue)", None),
            ("red", None),
        ] {
            let found = taken_apart(cell);
            let found = found.as_ref().map(|(target, choices)| (target.as_str(), choices.as_str()));
            assert_eq!(found, wanted, "{cell}");
        }
    }

    #[test]
    fn cells_are_taken_apart_as_the_benchmark_does() {
        for (cell, wanted) in [
            ("red (a) (Options: red)", ("red ", Some("a"))),
            ("red（选项：x）y (z)", ("red", Some("选项：x"))),
            ("red (a（b", ("red (a", Some("b"))),
            ("red (a (b)", ("red ", Some("a "))),
            ("red", ("red", None)),
        ] {
            assert_eq!(bracketed(cell), wanted, "{cell}");
        }
    }

    #[test]
    fn what_rules_leave_out_is_told() {
        let rows = [
            row("1", json!({})),
            row("2", json!({ "Question_Type": LONG, "Translated_Answer": "lang" })),
            row("3", json!({ "Translated_Answer": "rot (Optionen: rot)." })),
        ];
        let read = items(&rows, Rules::DeepSpin).unwrap();
        let ids: Vec<(&str, &str)> = read.items.iter().map(|item| (item.id.as_str(), item.answer())).collect();
        assert_eq!(ids, [("German/1", "rot"), ("German/3", "")]);
        assert_eq!(read.items[0].language.map(|language| language.tag()), Some("de"));
        assert!(read.notes[0].contains("1 rows are no multiple choice"), "{:?}", read.notes);
        assert!(
            read.notes[1].contains("1 rows have answers that the reference does not take apart"),
            "{:?}",
            read.notes
        );
        // `None` is what is shown, and no answer.
        let scored = AlmBench.score(
            &read.items,
            &[Answer::text("rot"), Answer::text("None")],
            Rules::DeepSpin,
            PromptStyle::DeepSpin,
        );
        assert_eq!(scored.totals["German"], json!({ "exact_match": 0.5, "n": 2 }));
        assert_eq!(items(&rows, Rules::Official).unwrap().items.len(), 3);
    }

    #[test]
    fn what_is_no_question_is_an_error() {
        for (rules, rows, word) in [
            (Rules::Official, vec![row("1", json!({ "Translated_Answer": "rot" }))], "expected options in brackets"),
            (Rules::DeepSpin, vec![row("1", json!({})), row("1", json!({}))], "its index \"1\" is that of"),
            (Rules::DeepSpin, vec![row("1", json!({ "file_name": null }))], "line 1"),
            (Rules::DeepSpin, vec![row("1", json!({ "Language": null }))], "no column \"Language\""),
            (Rules::DeepSpin, vec![json!({ "question": "q", "answer": "a" })], "no column \"ID\""),
        ] {
            let error = items(&rows, rules).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn questions_and_judges_of_every_kind() {
        let of = |kind: &str, answer: &str| {
            let row = row("1", json!({ "Question_Type": kind, "Translated_Answer": answer }));
            let item = items(&[row], Rules::Official).unwrap().items.remove(0);
            let asked = AlmBench.question(&item, PromptStyle::Official).text;
            (asked, AlmBench.judge(&item, "x", Rules::Official).unwrap().text)
        };
        let (asked, judge) = of(CHOICE, "rot (Optionen: rot, blau)");
        assert!(asked.ends_with("No additional text.\nWas?\nOptionen: rot, blau"), "{asked}");
        assert!(judge.contains("\nGround Truth: rot \nModel Prediction: x\n\nMatch the meaning"), "{judge}");
        let (asked, judge) = of(TRUE_FALSE, "Wahr (ja)");
        assert_eq!(
            asked,
            "Was?\nThe above question is a True/False question. Please provide the answer as one word in German"
        );
        assert!(judge.contains("Accuracy:\n\nQuestion: Was?\nGround Truth: Wahr (ja)\n"), "{judge}");
        let (asked, judge) = of(LONG, "lang");
        assert_eq!(asked, "Was?\nAnswer the question in detail in German language.");
        assert!(judge.contains("Fluency, and Relevance") && judge.contains("three criteria.\nStrictly"), "{judge}");
        let (asked, judge) = of("Short Questions", "kurz");
        assert_eq!(asked, "Was?\nPlease provide brief, clear responses in German language.");
        assert!(judge.contains("accuracy and correctness") && judge.contains("ground truth:\n\nQuestion"), "{judge}");
    }

    #[test]
    fn a_judge_that_fails_is_in_no_mean() {
        let rows: Vec<Value> = (0..5).map(|id| row(&id.to_string(), json!({}))).collect();
        let items = items(&rows, Rules::Official).unwrap().items;
        let answer = |judge: Option<&str>| Answer { judge: judge.map(str::to_owned), ..Answer::text("x") };
        let answers = [answer(Some("10")), answer(Some(" 5\n")), answer(Some("8/10")), answer(None), Answer::default()];
        let scored = AlmBench.score(&items, &answers, Rules::Official, PromptStyle::Official);
        let totals = &scored.totals["German"];
        assert_eq!((&totals["score"], &totals["n"], &totals["judge_failed"]), (&json!(5.0), &json!(5), &json!(2)));
        assert_eq!(totals["by_question_type"][CHOICE]["n"], 5);
        let flags: Vec<Vec<Flag>> = scored.verdicts.iter().map(|verdict| verdict.clone().unwrap().flags).collect();
        assert_eq!(flags, [vec![], vec![], vec![Flag::JudgeFailed], vec![Flag::JudgeFailed], vec![Flag::NoReply]]);
        assert_eq!(scored.verdicts[2].as_ref().unwrap().score(JUDGED), None);
        assert!(scored.notes[0].contains("2 of 5 replies"), "{:?}", scored.notes);
    }
}

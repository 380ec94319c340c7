//! ScienceQA (Lu et al. 2022): multiple choice from school books, a part of it without pictures.
//!
//! Unusual here:
//! - VLMEvalKit counts the rows with a picture only, lmms-eval and the strict rules all of them (ScienceQA-FULL),
//!   LLaVA's script prints both;
//! - lmms-eval understands a reply that is the letter or begins with a capital and a dot, and nothing else: `D)` and
//!   `**D**` are wrong;
//! - LLaVA's script wants text behind `A. `, and knows five letters whatever the options: one that the question lacks
//!   is wrong.
//!
//! The default is Parrot's copy of VLMEvalKit, with which the ScienceQA numbers of Parrot (figure 7b) were made.

use std::path::Path;
use std::sync::LazyLock;

use burn_vlm_data::language::Language;
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::clean;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit::{self, ACCURACY};
use crate::lettered::{lines, spread};
use crate::mean;
use crate::published::{Answer, Asked, Flag, Item, Items, MetricInfo, Published, Scored, Verdict, parts};
use crate::reading::{self, FileLanguage, Reading, Unseen};
use crate::rules::{PromptStyle, Rules};
use crate::strict;

const STRICT: strict::Kind = strict::Kind::Choice;

/// ScienceQA.
pub(super) struct ScienceQa;

/// The key of the share of right answers among the questions with a picture.
const WITH_PICTURE: &str = "accuracy_with_picture";
/// Tokens of a reply in lmms-eval's task.
const MAX_NEW_TOKENS: usize = 16;
/// Columns of Hugging Face's files that tables are taken apart by.
const MORE: [&str; 9] = ["hint", "task", "grade", "subject", "topic", "category", "skill", "split", "l2-category"];
/// Letters that LLaVA's script knows, whatever the options.
const LLAVA_LETTERS: std::ops::RangeInclusive<char> = 'A'..='E';
/// What LLaVA's script calls a reply that it cannot read.
const FAILED: &str = "FAILED";

impl Published for ScienceQa {
    fn name(&self) -> &'static str {
        "scienceqa"
    }

    fn about(&self) -> &'static str {
        "ScienceQA (Lu et al. 2022): multiple choice from school books, with and without pictures"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::ParrotVlmevalkit, Rules::Vlmevalkit, Rules::LmmsEval, Rules::Llava, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let usual = Reading::of(rules, FileLanguage::Usually(Language::EN));
        let unseen = if rules.uses_pandas() { usual.unseen } else { Unseen::Kept };
        let check = |item: &mut Item| {
            if rules == Rules::BurnVlm { STRICT.check(item) } else { kit::check_letter(item) }
        };
        reading::read(file, base, &Reading { columns: &MORE, unseen, ..usual }, spread, check)
    }

    fn prompts(&self, rules: Rules) -> Vec<PromptStyle> {
        kit::styles(rules)
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        if style == PromptStyle::BurnVlm {
            return STRICT.question(item);
        }
        if style != PromptStyle::LmmsEval {
            return Asked { text: kit::choice_prompt(item, style), ask: kit::generate(style) };
        }
        let context = item.cell("hint").filter(|hint| !hint.is_empty());
        let context = context.map(|hint| format!("Context: {hint}\n")).unwrap_or_default();
        let text = format!("{context}{}\n{}\n{}", item.question, lines(item), kit::ENGLISH);
        Asked { text, ask: Ask::Generate { max_new_tokens: MAX_NEW_TOKENS } }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let one: fn(&Item, &Answer) -> Verdict = match rules {
            Rules::LmmsEval => lmms_eval,
            Rules::Llava => llava,
            _ => {
                let verdicts = kit::choice_verdicts(items, answers, rules, style);
                let totals = kit::totals_by_part(items, &verdicts);
                return Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes: Vec::new() };
            }
        };
        let with_picture = |(item, answer): (&Item, &Answer)| {
            let mut verdict = one(item, answer).flagged(Flag::NoReply, answer.reply.is_none());
            if let Some(score) = verdict.score(ACCURACY).filter(|_| !item.media.is_empty()) {
                verdict.scores.push((WITH_PICTURE, score));
            }
            verdict
        };
        let verdicts: Vec<Verdict> = items.iter().zip(answers).map(with_picture).collect();
        let totals = totals(items, &verdicts, rules);
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes: Vec::new() }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        let all = kit::accuracy(items, rules);
        if rules.uses_pandas() {
            return vec![all];
        }
        let shown: Vec<Item> = items.iter().filter(|item| !item.media.is_empty()).cloned().collect();
        let with_picture = MetricInfo {
            key: WITH_PICTURE,
            label: "accuracy, with picture".into(),
            explanation: "The same over the questions that show a picture: ScienceQA-IMG.".into(),
            chance: kit::accuracy(&shown, rules).chance,
        };
        vec![all, with_picture]
    }
}

/// The whole reply is the letter, in any case, or begins with the letter, which is a capital then, and a dot.
fn lmms_eval(item: &Item, answer: &Answer) -> Verdict {
    let reply = clean::lmms_eval(answer.as_text().unwrap_or_default());
    let mut begin = reply.chars();
    let understood = match (begin.next(), begin.next()) {
        (Some(letter), None) => Some(letter.to_ascii_uppercase()),
        (Some(letter), Some('.')) => Some(letter),
        _ => None,
    };
    let understood = understood.filter(char::is_ascii_uppercase).map(String::from);
    let right = understood.as_deref() == Some(item.answer());
    Verdict::right(ACCURACY, understood.clone(), right)
        .flagged(Flag::Invalid, understood.is_none())
        .with("exact_match", f64::from(u8::from(right)))
}

/// A letter alone, a letter with a dot, a space and more, or `The answer is X` with a character behind it, once.
fn llava(item: &Item, answer: &Answer) -> Verdict {
    static STATED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("The answer is ([A-Z]).").ok());
    let reply = answer.as_text().unwrap_or_default().trim();
    let mut begin = reply.chars();
    let first = begin.next().filter(|letter| LLAVA_LETTERS.contains(letter));
    let letter = match (first, begin.as_str()) {
        (Some(letter), "") => Some(letter),
        (Some(letter), rest) if rest.starts_with(". ") => Some(letter),
        _ => {
            let stated = STATED.iter().flat_map(|stated| stated.captures_iter(reply));
            let mut letters = stated.filter_map(|found| found.get(1)?.as_str().chars().next());
            letters.next().filter(|_| letters.next().is_none())
        }
    };
    let parsed = letter.map_or_else(|| FAILED.to_owned(), String::from);
    let right = parsed == item.answer() && item.answer().chars().all(|letter| LLAVA_LETTERS.contains(&letter));
    Verdict::right(ACCURACY, letter.map(String::from), right)
        .flagged(Flag::Invalid, letter.is_none())
        .with("parsed", parsed)
        .with("hit", i32::from(right))
}

/// The totals of every file, as lmms-eval's task and LLaVA's script have them.
fn totals(items: &[Item], verdicts: &[Verdict], rules: Rules) -> Value {
    let of_part = |part: &str| {
        let scores = |key: &'static str| -> Vec<f64> {
            let of_part = items.iter().zip(verdicts).filter(|(item, _)| item.part == part);
            of_part.filter_map(|(_, verdict)| verdict.score(key)).collect()
        };
        let (all, shown) = (scores(ACCURACY), scores(WITH_PICTURE));
        let share = |scores: &[f64]| mean(scores.iter().copied());
        if rules == Rules::Llava {
            let printed = format!(
                "Total: {}, Correct: {}, Accuracy: {:.2}%, IMG-Accuracy: {:.2}%",
                all.len(),
                all.iter().sum::<f64>(),
                100.0 * share(&all),
                100.0 * share(&shown),
            );
            return json!({ "printed": printed });
        }
        json!({
            "exact_match": share(&all),
            "n": all.len(),
            "exact_match_rows_with_image": share(&shown),
            "n_rows_with_image": shown.len(),
        })
    };
    let parts = parts(items).into_iter().map(|part| (part.to_owned(), of_part(part)));
    Value::Object(parts.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The items of a TSV of these rows.
    fn items(rows: &str, rules: Rules) -> Result<Items, BenchmarkError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.tsv"), rows).unwrap();
        let file: FileRecipe = toml::from_str("name = \"s\"\nfile = \"a.tsv\"").unwrap();
        ScienceQa.read(&file, folder.path(), rules)
    }

    const ROWS: &str = "index\tquestion\tA\tB\thint\tanswer\n0\twhat?\tNone\tx\t\tA\n1\twho?\ty\tz\tlook\tB\n";

    #[test]
    fn tables_are_read_as_written() {
        let read = items(ROWS, Rules::LmmsEval).unwrap();
        let asked: Vec<String> =
            read.items.iter().map(|item| ScienceQa.question(item, PromptStyle::LmmsEval).text).collect();
        assert_eq!(asked[0], format!("what?\nA. None\nB. x\n{}", kit::ENGLISH));
        assert_eq!(asked[1], format!("Context: look\nwho?\nA. y\nB. z\n{}", kit::ENGLISH));
        // The kit counts rows with a picture only, and there is none.
        assert!(items(ROWS, Rules::Vlmevalkit).unwrap_err().to_string().contains("none of its 2 rows has a picture"));
    }

    #[test]
    fn what_is_no_question_is_an_error() {
        for (rows, word) in [
            ("index\tquestion\tA\tB\tanswer\n0\twhat?\tx\ty\tC\n", "line 2 (id \"0\"): malformed: answer \"C\""),
            ("index\tquestion\tA\tB\tanswer\n0\twhat?\tx\ty\tA\n0\twho?\tx\ty\tB\n", "index \"0\""),
            ("index\tquestion\tA\tB\n0\twhat?\tx\ty\n", "no column \"answer\""),
        ] {
            let error = items(rows, Rules::LmmsEval).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn replies_of_odd_shape() {
        let read = items("index\tquestion\tA\tB\tC\tD\tE\tF\tanswer\n0\tw?\t1\t2\t3\t4\t5\t6\tA\n", Rules::LmmsEval);
        let mut item = read.unwrap().items.remove(0);
        for (reply, by_lmms, by_llava) in [
            ("A", 1.0, Some("A")),
            ("a", 1.0, Some(FAILED)),
            ("A.", 1.0, Some(FAILED)),
            ("A. 1", 1.0, Some("A")),
            ("a. 1", 0.0, Some(FAILED)),
            ("А. 1", 0.0, Some(FAILED)),
            ("The answer is A.", 0.0, Some("A")),
            ("The answer is A", 0.0, Some(FAILED)),
            ("The answer is A. The answer is B.", 0.0, Some(FAILED)),
            ("</think> A", 1.0, Some(FAILED)),
            ("<think>B A", 0.0, Some(FAILED)),
            ("", 0.0, Some(FAILED)),
        ] {
            let verdict = lmms_eval(&item, &Answer::text(reply));
            assert_eq!(verdict.score(ACCURACY), Some(by_lmms), "{reply}");
            let verdict = llava(&item, &Answer::text(reply));
            assert_eq!(verdict.details["parsed"].as_str(), by_llava, "{reply}");
        }
        // The script knows no F.
        item.answers = vec!["F".into()];
        assert_eq!(llava(&item, &Answer::text("The answer is F.")).score(ACCURACY), Some(0.0));
        let none = ScienceQa.score(&[item], &[Answer::default()], Rules::Llava, PromptStyle::LmmsEval);
        assert!(none.verdicts[0].as_ref().unwrap().flags.contains(&Flag::NoReply));
    }
}

//! RealWorldQA: questions about photographs, most of them multiple choice, the others answered in a word or a number.
//!
//! Unusual here:
//! - options and request stand in the question, which is the whole prompt;
//! - by the right answer alone lmms-eval knows which kind a question is. Letters go through its extractor; everything
//!   else must be equal but for case, white space around it and final dots. Its filters (`three` is `3`) are not
//!   connected, and are not here.

use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_data::source::SkipReason;
use serde_json::json;

use crate::ask::Ask;
use crate::clean;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit::{self, ACCURACY};
use crate::lettered::spread;
use crate::letters_lmms::extract_mcq_answer;
use crate::mean;
use crate::published::{Answer, Asked, Flag, Item, Items, MetricInfo, Published, Scored, Verdict};
use crate::reading::{self, FileLanguage, Reading};
use crate::rules::{PromptStyle, Rules};
use crate::strict;
use crate::table::refuse;

/// The right answers that make a question multiple choice, and the letters that are looked for then.
const LETTERS: [char; 4] = ['A', 'B', 'C', 'D'];
const MAX_NEW_TOKENS: usize = 16;
/// What questions end with.
const REQUESTS: [&str; 2] = [
    "Please answer directly with only the letter of the correct option and nothing else.",
    "Please answer directly with a single word or number.",
];

const STRICT: strict::Kind = strict::Kind::Open;

/// RealWorldQA.
pub(super) struct RealWorldQa;

impl Published for RealWorldQa {
    fn name(&self) -> &'static str {
        "realworldqa"
    }

    fn about(&self) -> &'static str {
        "RealWorldQA (xAI 2024): questions about photographs, answered with a letter, a word or a number"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::LmmsEval, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let how = Reading::of(rules, FileLanguage::Usually(Language::EN));
        reading::read(file, base, &how, spread, |item| {
            check(item)?;
            if rules == Rules::BurnVlm {
                item.question = bare(item);
                STRICT.check(item)?;
            }
            Ok(())
        })
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        if style == PromptStyle::BurnVlm {
            return STRICT.question(item);
        }
        Asked { text: item.question.trim().to_owned(), ask: Ask::Generate { max_new_tokens: MAX_NEW_TOKENS } }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let verdicts: Vec<Verdict> = items.iter().zip(answers).map(|(item, answer)| verdict(item, answer)).collect();
        let exact_match = mean(verdicts.iter().filter_map(|verdict| verdict.score(ACCURACY)));
        let totals = json!({ "exact_match": exact_match, "n": verdicts.len() });
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes: Vec::new() }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        // No guess is worth anything where a number is asked for.
        let has_choice = items.iter().all(|item| !item.options.is_empty());
        let accuracy = kit::accuracy(items, rules);
        let explanation = format!(
            "Letters, words and numbers, each question by itself. Replies are read by the rules named here: {}.",
            rules.whose()
        );
        vec![MetricInfo { explanation, chance: accuracy.chance.filter(|_| has_choice), ..accuracy }]
    }
}

/// Finds the options in the question.
fn check(item: &mut Item) -> Result<(), SkipReason> {
    if !item.options.is_empty() {
        return Err(refuse(
            "the options have columns of their own; in lmms-eval's RealWorldQA they stand in the question",
        ));
    }
    let answer = item.answer().trim().to_owned();
    if answer.is_empty() {
        return Err(refuse("the answer is empty"));
    }
    if let Some(letter) = letter_of(&answer) {
        item.options = options(&item.question);
        if !item.options.is_empty() && item.option(letter).is_none() {
            let letters: String = item.options.iter().map(|(letter, _)| *letter).collect();
            return Err(refuse(format!(
                "answer {answer:?} is none of the letters of the question's options {letters:?}"
            )));
        }
    }
    item.answers = vec![answer];
    Ok(())
}

/// The right letter, if the answer is one.
fn letter_of(answer: &str) -> Option<char> {
    LETTERS.into_iter().find(|letter| answer.eq_ignore_ascii_case(letter.encode_utf8(&mut [0; 4])))
}

/// The question alone, without its options and the request: the strict rules have requests of their own.
fn bare(item: &Item) -> String {
    let is = |line: &str, (letter, text): &(char, String)| {
        line.trim()
            .strip_prefix(*letter)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|rest| rest.trim() == text)
    };
    let is_option = |line: &str| item.options.iter().any(|option| is(line, option));
    let lines: Vec<&str> = item.question.lines().filter(|line| !is_option(line)).collect();
    let bare = REQUESTS.iter().fold(lines.join("\n"), |text, request| text.replace(request, ""));
    bare.trim().to_owned()
}

/// The options of a question: lines `A. ..`, `B. ..` and so on, in this order.
fn options(question: &str) -> Vec<(char, String)> {
    let mut letters = 'A'..='Z';
    let mut next = letters.next();
    let mut options = Vec::new();
    for line in question.lines() {
        if let Some(letter) = next
            && let Some(text) = line.trim().strip_prefix(letter).and_then(|rest| rest.strip_prefix('.'))
        {
            options.push((letter, text.trim().to_owned()));
            next = letters.next();
        }
    }
    options
}

/// `exact_match`, 0 or 1.
fn verdict(item: &Item, answer: &Answer) -> Verdict {
    let reply = clean::lmms_eval(answer.as_text().unwrap_or_default());
    let (found, wanted) = match letter_of(item.answer()) {
        Some(letter) => (extract_mcq_answer(&reply, &LETTERS).map(String::from), letter.to_string()),
        None => {
            let text = reply.to_lowercase().trim().trim_end_matches('.').to_owned();
            ((!text.is_empty()).then_some(text), item.answer().to_lowercase())
        }
    };
    let right = found.as_deref() == Some(wanted.as_str());
    Verdict::right(ACCURACY, found.clone(), right)
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::Invalid, found.is_none())
        .with("exact_match", f64::from(u8::from(right)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_tsv::{error_of, of_rows};

    #[test]
    fn rows_are_named_by_number_and_options_found_in_the_question() {
        let rows = ["image|question|answer", "@|\"What?\n\nA. red\nB. blue\nPlease.\"|b", "@|How many?|3"];
        let items = of_rows(&RealWorldQa, "test", &rows, Rules::LmmsEval).unwrap().items;
        assert_eq!(items.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["test/0", "test/1"]);
        assert_eq!(items[0].options, [('A', "red".to_owned()), ('B', "blue".to_owned())]);
        assert_eq!(RealWorldQa.metrics(&items, Rules::LmmsEval)[0].chance, None);
        assert_eq!(RealWorldQa.metrics(&items[..1], Rules::LmmsEval)[0].chance, Some(50.0));
        let score = |replies: [&str; 2]| {
            RealWorldQa.score(&items, &replies.map(Answer::text), Rules::LmmsEval, PromptStyle::LmmsEval).totals
        };
        assert_eq!(score(["(B)", " 3.. "]), json!({"exact_match": 1.0, "n": 2}));
        assert_eq!(score(["blue", "3 lanes"]), json!({"exact_match": 0.0, "n": 2}));
    }

    #[test]
    fn what_is_not_realworldqa_is_refused() {
        let rows = ["image|question|answer", "@|\"What?\n\nA. red\nB. blue\"|C"];
        let error = error_of(&RealWorldQa, "test", &rows, Rules::LmmsEval);
        assert!(error.contains("answer \"C\" is none of the letters of the question's options \"AB\""), "{error}");
        let rows = ["index|image|question|A|B|answer", "0|@|What?|red|blue|A"];
        let error = error_of(&RealWorldQa, "test", &rows, Rules::LmmsEval);
        assert!(error.contains("columns of their own"), "{error}");
    }
}

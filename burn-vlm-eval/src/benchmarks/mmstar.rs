//! MMStar: multiple choice that needs the picture, in six categories of three.
//!
//! Unusual here:
//! - the totals are means of other things: VLMEvalKit's of all rows, lmms-eval's of the means of the l2-categories;
//! - lmms-eval's files have the options in the question. They are taken apart on reading and put together again for the
//!   prompt, so that both kits' rules can be applied to both kinds of file;
//! - lmms-eval's extractor knows no option's text and no small letter, and finds a letter in nearly everything else.

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_data::source::{Row, SkipReason};
use serde_json::{Map, Value};

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
use crate::table::{refuse, text_of};

/// Columns of lmms-eval's parquet file beyond question and answer.
const COLUMNS: [&str; 2] = ["category", "l2_category"];
/// The letters that lmms-eval looks for.
const LETTERS: [char; 4] = ['A', 'B', 'C', 'D'];
/// Its task sets no limit; this is the one of its LLaVA wrappers.
const LMMS_TOKENS: usize = 1024;
/// What stands between a question and its options in lmms-eval's file.
const OPTIONS: &str = "\nOptions: ";

const STRICT: strict::Kind = strict::Kind::Choice;

/// MMStar.
pub(super) struct MmStar;

impl Published for MmStar {
    fn name(&self) -> &'static str {
        "mmstar"
    }

    fn about(&self) -> &'static str {
        "MMStar (Chen et al. 2024): multiple choice that cannot be answered without the picture"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::ParrotVlmevalkit, Rules::Vlmevalkit, Rules::LmmsEval, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let how = Reading { columns: &COLUMNS, ..Reading::of(rules, FileLanguage::Usually(Language::EN)) };
        let shape = |row: &mut Row| {
            shape(row);
            spread(row)
        };
        reading::read(file, base, &how, shape, |item| check(item, rules))
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
        let options =
            item.options.iter().map(|(letter, text)| format!("{letter}: {text}")).collect::<Vec<_>>().join(", ");
        let question = format!("{}{OPTIONS}{options}", item.question);
        let question = question.trim().replace(" Please answer yes or no.", "");
        let text = format!("{question}\n{}", kit::ENGLISH.trim_end_matches('.'));
        Asked { text, ask: Ask::Generate { max_new_tokens: LMMS_TOKENS } }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let (verdicts, totals) = match rules {
            Rules::LmmsEval => {
                let each = items.iter().zip(answers);
                let verdicts: Vec<Verdict> = each.map(|(item, answer)| verdict_of_lmms(item, answer)).collect();
                let totals = totals_of_lmms(items, &verdicts);
                (verdicts, totals)
            }
            _ => {
                let verdicts = kit::choice_verdicts(items, answers, rules, style);
                let totals = kit::totals_by_part(items, &verdicts);
                (verdicts, totals)
            }
        };
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes: Vec::new() }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        let mut accuracy = kit::accuracy(items, rules);
        if rules == Rules::LmmsEval {
            accuracy.explanation.push_str(
                " This is the mean of all questions; the number that lmms-eval prints, `average` among the totals, is \
                 the mean of the means of the l2-categories.",
            );
        }
        vec![accuracy]
    }
}

/// The columns of lmms-eval's file as those of the kit's.
fn shape(row: &mut Row) {
    if let Some(name) = row.fields.remove("l2_category") {
        row.fields.insert("l2-category".into(), name);
    }
    let lettered = LETTERS.iter().any(|letter| row.fields.contains_key(letter.encode_utf8(&mut [0; 4]) as &str));
    let apart = text_of(row, "question").filter(|_| !lettered).and_then(|question| {
        let (question, options) = question.rsplit_once(OPTIONS)?;
        Some((question.to_owned(), lettered_options(options)?))
    });
    if let Some((question, options)) = apart {
        row.fields.insert("question".into(), question.into());
        row.fields.extend(options.into_iter().map(|(letter, text)| (letter.to_string(), text.into())));
    }
}

/// The options of `A: .., B: .., C: ..`; `None` if it does not begin so.
fn lettered_options(text: &str) -> Option<Vec<(char, String)>> {
    let mut rest = text.strip_prefix("A: ")?;
    let mut options = Vec::new();
    for (letter, next) in ('A'..='Y').zip('B'..='Z') {
        let (text, more) = match rest.split_once(&format!(", {next}: ")) {
            Some((text, more)) => (text, Some(more)),
            None => (rest, None),
        };
        options.push((letter, text.to_owned()));
        match more {
            Some(more) => rest = more,
            None => break,
        }
    }
    Some(options)
}

/// The answer is a letter, and what the totals are taken apart by is there.
fn check(item: &mut Item, rules: Rules) -> Result<(), SkipReason> {
    if item.options.is_empty() {
        return Err(refuse(
            "no options: expected columns A, B, .., or a question that ends with `Options: A: .., B: ..`",
        ));
    }
    let missing = ["category", "l2-category"].into_iter().find(|name| item.cell(name).is_none());
    if let Some(missing) = missing.filter(|_| rules == Rules::LmmsEval) {
        return Err(refuse(format!("no {missing}, which lmms-eval's total is the mean of")));
    }
    if rules == Rules::BurnVlm { STRICT.check(item) } else { kit::check_letter(item) }
}

/// `letter` (null where nothing was found) and `score`.
fn verdict_of_lmms(item: &Item, answer: &Answer) -> Verdict {
    let reply = clean::lmms_eval(answer.as_text().unwrap_or_default());
    let found = extract_mcq_answer(&reply, &LETTERS).map(String::from);
    let right = found.as_deref() == Some(item.answer());
    Verdict::right(ACCURACY, found.clone(), right)
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::Invalid, found.is_none())
        .with("letter", found)
        .with("score", f64::from(u8::from(right)))
}

/// `average` and each category, every one the mean of the means of its l2-categories.
fn totals_of_lmms(items: &[Item], verdicts: &[Verdict]) -> Value {
    let total = |category: Option<&str>| {
        let mut names: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (item, verdict) in items.iter().zip(verdicts) {
            let is_of = category.is_none_or(|category| item.cell("category").as_deref() == Some(category));
            if let (true, Some(name)) = (is_of, item.cell("l2-category")) {
                names.entry(name).or_default().extend(verdict.score(ACCURACY));
            }
        }
        Value::from(mean(names.into_values().map(|scores| mean(scores.into_iter()))))
    };
    let categories: std::collections::BTreeSet<String> =
        items.iter().filter_map(|item| item.cell("category")).collect();
    let mut totals = Map::from_iter([("average".to_owned(), total(None))]);
    totals.extend(categories.into_iter().map(|name| (name.clone(), total(Some(&name)))));
    totals.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_tsv::{error_of, of_rows};

    #[test]
    fn options_in_the_question_are_taken_apart() {
        let rows = [
            "index|image|question|answer|category|l2_category",
            "0|@|\"How many? Please answer yes or no.\nOptions: A: 1, 2, B: None, C: x\"|C|math|geometry",
        ];
        let lmms = of_rows(&MmStar, "MMStar", &rows, Rules::LmmsEval).unwrap().items;
        assert_eq!(lmms[0].question, "How many? Please answer yes or no.");
        assert_eq!(lmms[0].options, [('A', "1, 2"), ('B', "None"), ('C', "x")].map(|(c, text)| (c, text.to_owned())));
        assert_eq!(
            MmStar.question(&lmms[0], PromptStyle::LmmsEval).text,
            "How many?\nOptions: A: 1, 2, B: None, C: x\nAnswer with the option's letter from the given choices \
             directly"
        );
        // The kit reads `None` as missing.
        let kit = of_rows(&MmStar, "MMStar", &rows, Rules::Vlmevalkit).unwrap().items;
        assert_eq!(kit[0].options.iter().map(|(letter, _)| *letter).collect::<String>(), "AC");
    }

    #[test]
    fn what_is_not_mmstar_is_refused() {
        let rows = ["index|image|question|answer", "0|@|How many?|A"];
        let error = error_of(&MmStar, "MMStar", &rows, Rules::Vlmevalkit);
        assert!(error.contains("no options: expected columns A, B") && error.contains("line 2"), "{error}");
        let rows = ["index|image|question|A|B|answer|category", "0|@|How many?|1|2|A|math"];
        let error = error_of(&MmStar, "MMStar", &rows, Rules::LmmsEval);
        assert!(error.contains("no l2-category"), "{error}");
        assert_eq!(of_rows(&MmStar, "MMStar", &rows, Rules::Vlmevalkit).unwrap().items.len(), 1);
        let rows = ["index|image|question|A|B|answer", "0|@|How many?|1|2|C"];
        let error = error_of(&MmStar, "MMStar", &rows, Rules::Vlmevalkit);
        assert!(error.contains("none of the options' letters"), "{error}");
    }
}

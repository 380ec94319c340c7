//! MMBench, its Chinese and its translated editions (MTL-MMBench): circular multiple choice.
//!
//! Unusual here:
//! - rows without a reply are left out by both kits, so that a group may be right on three rotations of four; notes say
//!   how many are not whole;
//! - lmms-eval's rules are those of its static variant. Its usual task asks a judge, and draws a letter at random
//!   without one;
//! - in lmms-eval's files a missing option or hint is the text `nan`. Its reader takes `nan` for an option's text,
//!   which `banana` contains, and its Chinese prompt begins with it. The strict rules take it for missing, whatever the
//!   file.

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_data::source::SkipReason;
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::circular::{circles, note_of_file, note_of_replies};
use crate::clean;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit::{self, ACCURACY};
use crate::lettered::spread;
use crate::letters_lmms::{extract_mcq_answer, prefetch};
use crate::mean;
use crate::published::{Answer, Asked, Flag, Item, Items, MetricInfo, Published, Scored, Verdict};
use crate::reading::{self, FileLanguage, Reading, Together, is_parquet};
use crate::rules::{PromptStyle, Rules};
use crate::strict;
use crate::table::refuse;

/// The key of the share of groups.
const CIRCULAR: &str = "circular";
/// Columns of lmms-eval's parquet files beyond question, options, answer and hint; files that this library writes have no capital.
const COLUMNS: [&str; 4] = ["category", "L2-category", "l2-category", "split"];
/// A missing cell in lmms-eval's files.
const NAN: &str = "nan";
/// The letters that have a column in them.
const LETTERS: [char; 4] = ['A', 'B', 'C', 'D'];
/// New tokens in lmms-eval's English and Chinese tasks.
const ENGLISH_TOKENS: usize = 1024;
const CHINESE_TOKENS: usize = 256;

const STRICT: strict::Kind = strict::Kind::Circular;

/// MMBench.
pub(super) struct MmBench;

impl Published for MmBench {
    fn name(&self) -> &'static str {
        "mmbench"
    }

    fn about(&self) -> &'static str {
        "MMBench (Liu et al. 2023) and its translations (MTL-MMBench, Parrot): multiple choice, right only with every \
         rotation of the options"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::ParrotVlmevalkit, Rules::Vlmevalkit, Rules::LmmsEval, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let usual = Reading::of(rules, FileLanguage::Usually(Language::EN));
        let how = Reading {
            // lmms-eval's files were once read so; what is in them is what its code sees.
            pandas: usual.pandas || (rules == Rules::LmmsEval && !is_parquet(file, base)),
            columns: &COLUMNS,
            together: Together::Circle,
            ..usual
        };
        let mut read = reading::read(file, base, &how, spread, |item| check(item, rules))?;
        // The strict score says itself what it makes of groups that are not whole.
        let note = note_of_file(&file.name, &read.items).filter(|_| rules != Rules::BurnVlm);
        read.notes.extend(note);
        Ok(read)
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
        let max_new_tokens = if is_chinese(item) { CHINESE_TOKENS } else { ENGLISH_TOKENS };
        Asked { text: prompt_of_lmms(item), ask: Ask::Generate { max_new_tokens } }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let of_rows = match rules {
            Rules::LmmsEval => items.iter().zip(answers).map(|(item, answer)| verdict_of_lmms(item, answer)).collect(),
            _ => kit::choice_verdicts(items, answers, rules, style),
        };
        let with_reply = of_rows.into_iter().zip(answers);
        let mut verdicts: Vec<Option<Verdict>> =
            with_reply.map(|(verdict, answer)| answer.reply.as_ref().map(|_| verdict)).collect();
        let is_right = |verdicts: &[Option<Verdict>], at: usize| {
            verdicts.get(at).and_then(Option::as_ref).and_then(|verdict| verdict.score(ACCURACY)) == Some(1.0)
        };
        for circle in circles(items, |at| verdicts.get(at).is_some_and(Option::is_some)) {
            let right = circle.rows.iter().all(|(_, at)| is_right(&verdicts, *at));
            let row = circle.unrotated().and_then(|at| verdicts.get_mut(at)).and_then(Option::as_mut);
            if let Some(verdict) = row {
                let hit = u8::from(right);
                verdict.scores.insert(0, (CIRCULAR, hit.into()));
                verdict.details.insert("group_hit".into(), hit.into());
            }
        }
        let totals = match rules {
            Rules::LmmsEval => totals_of_lmms(items, &verdicts),
            _ => kit::totals_of(items, CIRCULAR, |at| verdicts.get(at)?.as_ref()),
        };
        Scored { verdicts, totals, notes: note_of_replies(items, answers).into_iter().collect() }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        let accuracy = kit::accuracy(items, rules);
        let of_row = |at: usize| items.get(at).map_or(1.0, |item| 1.0 / item.options.len().max(1) as f64);
        let groups = circles(items, |_| true);
        let counted = groups.iter().filter(|circle| circle.unrotated().is_some());
        let chance = mean(counted.map(|circle| circle.rows.iter().map(|(_, at)| of_row(*at)).product()));
        let circular = MetricInfo {
            key: CIRCULAR,
            label: "circular".into(),
            explanation: format!(
                "Multiple choice, answered freely; a question counts only if it is answered right with every rotation \
                 of its options that has a reply. Letters are told by the rules named here: {}. N counts questions.",
                rules.whose()
            ),
            chance: Some(100.0 * chance),
        };
        let explanation = "The same rows, rotations included, each counted by itself.".to_owned();
        vec![circular, MetricInfo { label: "each row".into(), explanation, ..accuracy }]
    }
}

/// The index is a number, the answer a letter.
fn check(item: &mut Item, rules: Rules) -> Result<(), SkipReason> {
    if item.index.parse::<u64>().is_err() {
        return Err(refuse(format!(
            "index {:?}, expected a whole number: 1000007 is the first rotation of 7",
            item.index
        )));
    }
    if !rules.uses_pandas() {
        item.options.retain(|(_, text)| text != NAN);
    }
    if rules == Rules::BurnVlm {
        item.cells.retain(|name, cell| name != "hint" || *cell != NAN);
        return STRICT.check(item);
    }
    kit::check_letter(item)
}

fn is_chinese(item: &Item) -> bool {
    item.language.is_some_and(|language| language.tag().starts_with("zh"))
}

/// The question as lmms-eval's English or Chinese task asks it; the English one asks those of other languages.
fn prompt_of_lmms(item: &Item) -> String {
    let hint = item.cell("hint").unwrap_or_else(|| NAN.to_owned());
    let (hint, request) = match (is_chinese(item), hint.as_str()) {
        (true, hint) => (format!("{hint} "), "请直接使用所提供的选项字母作为答案回答。"),
        (false, NAN) => (String::new(), kit::ENGLISH),
        (false, hint) => (format!("{hint} "), kit::ENGLISH),
    };
    let options = item.options.iter().filter(|(_, text)| !text.is_empty());
    let options: String = options.map(|(letter, text)| format!("{letter}. {text}\n")).collect();
    let text = format!("{hint}{} There are several options:\n{options}", item.question);
    format!("{}\n\n{request}", text.trim_end_matches('\n'))
}

/// `prefetch`, and `static` for what it leaves; null where nothing was found.
fn verdict_of_lmms(item: &Item, answer: &Answer) -> Verdict {
    let reply = clean::lmms_eval(answer.as_text().unwrap_or_default());
    let text = |letter| (letter, item.option(letter).unwrap_or(NAN).to_owned());
    let first = prefetch(&reply, &LETTERS.map(text));
    let second = if first.is_none() { extract_mcq_answer(&reply, &LETTERS) } else { None };
    let letter = |found: Option<char>| found.map(String::from);
    let found = letter(first.or(second));
    let right = found.as_deref() == Some(item.answer());
    Verdict::right(ACCURACY, found.clone(), right)
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::Invalid, found.is_none())
        .with("prefetch", letter(first))
        .with("static", letter(second))
}

/// For each part the share of groups as a fraction (`overall`) and as it is reported (percent), and the shares of the
/// categories.
fn totals_of_lmms(items: &[Item], verdicts: &[Option<Verdict>]) -> Value {
    let mut parts: BTreeMap<&str, Vec<(&Item, f64)>> = BTreeMap::new();
    for (item, verdict) in items.iter().zip(verdicts) {
        let of_part = parts.entry(&item.part).or_default();
        of_part.extend(verdict.as_ref().and_then(|verdict| verdict.score(CIRCULAR)).map(|hit| (item, hit)));
    }
    let by = |hits: &[(&Item, f64)], column: &str| -> Value {
        let mut names: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (item, hit) in hits {
            if let Some(name) = item.cell(column) {
                names.entry(name).or_default().push(*hit);
            }
        }
        names.into_iter().map(|(name, hits)| (name, mean(hits.into_iter()).into())).collect::<Map<_, _>>().into()
    };
    let totals = parts.into_iter().map(|(part, hits)| {
        let overall = mean(hits.iter().map(|(_, hit)| *hit));
        let totals = json!({
            "overall": overall,
            "reported": 100.0 * overall,
            "category": by(&hits, "category"),
            "l2_category": by(&hits, "l2-category"),
        });
        (part.to_owned(), totals)
    });
    totals.collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_tsv::{error_of, of_rows, read, write};

    const HEAD: &str = "index|image|question|hint|A|B|answer|category|L2-category|split";
    const ROWS: [&str; 5] = [
        HEAD,
        "7|@|q?|nan|banana|None|A|c|coarse_perception|dev",
        "1000007|7|q?||None|banana|B|c|coarse_perception|dev",
        "8|@|r?|h|red|blue|B|d|logic_reasoning|dev",
        "1000008|8|r?|h|blue|red|A|d|logic_reasoning|dev",
    ];

    #[test]
    fn what_is_not_mmbench_is_refused() {
        let wrong = |row: &str| error_of(&MmBench, "MMBench_DEV_EN", &[HEAD, ROWS[3], row], Rules::Vlmevalkit);
        for (row, expected) in [
            ("x7|@|q?||a|b|A|c|l|dev", "index \"x7\", expected a whole number"),
            ("9|@|q?||a|b|C|c|l|dev", "answer \"C\" is none of the options' letters \"AB\""),
            ("8|@|q?||a|b|A|c|l|dev", "its index \"8\" is that of"),
        ] {
            let error = wrong(row);
            assert!(error.contains(expected) && error.contains("line 3"), "{error}");
        }
        let rows = [HEAD, "9||q?||a|b|A|c|l|dev"];
        let error = error_of(&MmBench, "MMBench_DEV_EN", &rows, Rules::LmmsEval);
        assert!(error.contains("no picture") && error.contains("line 2"), "{error}");
        let error = error_of(&MmBench, "MMBench_DEV_EN", &["index|image|question", "1|@|q?"], Rules::Vlmevalkit);
        assert!(error.contains("no column \"answer\""), "{error}");
    }

    #[test]
    fn a_table_by_lmms_evals_rules_has_its_missing_texts() {
        let prompts = |name| -> Vec<String> {
            let items = of_rows(&MmBench, name, &ROWS, Rules::LmmsEval).unwrap().items;
            items.iter().map(|item| MmBench.question(item, PromptStyle::LmmsEval).text).collect()
        };
        let english = prompts("MMBench_DEV_EN");
        assert!(english[0].starts_with("q? There are several options:\nA. banana\n\nAnswer with"), "{}", english[0]);
        assert!(english[2].starts_with("h r? There are several"), "{}", english[2]);
        let chinese = prompts("MMBench_DEV_CN");
        assert!(chinese[0].starts_with("nan q? There") && chinese[0].ends_with("作为答案回答。"), "{}", chinese[0]);

        let items = of_rows(&MmBench, "MMBench_DEV_EN", &ROWS, Rules::LmmsEval).unwrap().items;
        let answers = ["banana", "B", "B", "A"].map(Answer::text);
        let scored = MmBench.score(&items, &answers, Rules::LmmsEval, PromptStyle::LmmsEval);
        let of = |at: usize, name: &str| scored.verdicts[at].as_ref().unwrap().details.get(name).cloned();
        assert_eq!(of(0, "prefetch"), Some(Value::Null), "banana holds nan, the text of the options that are missing");
        assert_eq!(
            (of(0, "group_hit"), of(1, "group_hit"), of(2, "group_hit")),
            (Some(0.into()), None, Some(1.into()))
        );
        assert_eq!(scored.totals["MMBench_DEV_EN"]["reported"], 50.0);
        assert_eq!(
            scored.totals["MMBench_DEV_EN"]["l2_category"],
            json!({"coarse_perception": 0.0, "logic_reasoning": 1.0})
        );
        // Two rows of two options each.
        assert_eq!(MmBench.metrics(&items[2..], Rules::LmmsEval)[0].chance, Some(25.0));
    }

    #[test]
    fn rows_without_a_reply_are_left_out_and_told() {
        for rules in [Rules::Vlmevalkit, Rules::ParrotVlmevalkit, Rules::LmmsEval] {
            let items = of_rows(&MmBench, "MMBench_DEV_EN", &ROWS, rules).unwrap().items;
            let mut answers = ["A", "B", "B", "A"].map(Answer::text);
            answers[1].reply = None;
            answers[2].reply = None;
            let scored = MmBench.score(&items, &answers, rules, PromptStyle::of(rules));
            let circular: Vec<Option<f64>> = scored
                .verdicts
                .iter()
                .map(|verdict| verdict.as_ref().and_then(|verdict| verdict.score(CIRCULAR)))
                .collect();
            assert_eq!(circular, [Some(1.0), None, None, None], "{rules}");
            assert_eq!(scored.verdicts.iter().flatten().count(), 2);
            assert!(scored.notes[0].starts_with("2 rows have no reply"), "{:?}", scored.notes);
        }
    }

    #[test]
    fn draws_keep_groups_whole_in_every_language() {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = vec![HEAD.to_owned()];
        for index in 0..20 {
            rows.push(format!("{index}|@|q||a|b|A|c|l|dev"));
            rows.push(format!("{}|{index}|q||b|a|B|c|l|dev", 1_000_000 + index));
        }
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        for name in ["MMBench_dev_en", "MMBench_dev_ru"] {
            write(folder.path(), name, &rows);
        }
        let drawn = read(folder.path(), &MmBench, "MMBench_dev_{en,ru}", "limit = 7", Rules::ParrotVlmevalkit).unwrap();
        let of = |part: &str| -> Vec<&str> {
            drawn.items.iter().filter(|item| item.part == part).map(|item| item.index.as_str()).collect()
        };
        assert_eq!(of("MMBench_dev_en"), of("MMBench_dev_ru"));
        assert_eq!(of("MMBench_dev_en").len(), 6);
        assert_eq!(note_of_file("x", &drawn.items), None);
        assert!(drawn.notes.is_empty(), "{:?}", drawn.notes);
    }

    #[test]
    fn groups_that_are_not_whole_are_told() {
        let rows = [HEAD, ROWS[3], "1000009|@|r?||a|b|A|c|l|dev"];
        let read = of_rows(&MmBench, "MMBench_DEV_EN", &rows, Rules::Vlmevalkit).unwrap();
        assert_eq!(read.items[0].cell("l2-category").as_deref(), Some("logic_reasoning"));
        assert!(read.notes[0].contains("2 of 2 circular groups are not whole: 1 lack a rotation"), "{:?}", read.notes);
    }
}

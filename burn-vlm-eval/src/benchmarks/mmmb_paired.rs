//! MMMB as Parrot's paper describes it: yes/no questions, a picture only if all of its questions are answered right.
//!
//! Unusual here:
//! - no code for this protocol is published, and the published files are plain multiple choice (see `mmmb`). So each
//!   rule set is the nearest real code of its owner: the kits' yes/no reader with the totals of HallusionBench,
//!   lmms-eval's reader and points of MME;
//! - that reader sees the reply as it came. There is no task of lmms-eval's whose evaluator would drop blocks of
//!   thought before.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit::{self, ACCURACY};
use crate::mean;
use crate::pandas::{is_missing, stored_by_part};
use crate::published::{Answer, Asked, Flag, Item, Items, MetricInfo, Published, Scored, Verdict};
use crate::reading::{self, FileLanguage, Reading, Together};
use crate::reply;
use crate::rules::{PromptStyle, Rules};
use crate::strict;
use crate::yes_no;

/// The key of the share of pictures.
const PAIRED: &str = "paired";
/// Questions of a picture.
const PAIR: usize = 2;
/// New tokens in lmms-eval's MME.
const LMMS_TOKENS: usize = 16;

const STRICT: strict::Kind = strict::Kind::Pairs;

/// MMMB in pairs.
pub(super) struct MmmbPaired;

impl Published for MmmbPaired {
    fn name(&self) -> &'static str {
        "mmmb_paired"
    }

    fn about(&self) -> &'static str {
        "MMMB (Parrot) as the paper describes it: pairs of yes/no questions, right only if both answers are"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::ParrotVlmevalkit, Rules::Vlmevalkit, Rules::LmmsEval, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let how = Reading { together: Together::Group, ..Reading::of(rules, FileLanguage::Named) };
        let mut read = reading::read(file, base, &how, |_| Ok(()), yes_no::check)?;
        let pairs = pairs(&read.items);
        let odd = pairs.iter().filter(|pair| pair.len() != PAIR).count();
        // The strict score says itself what it makes of them.
        if odd > 0 && rules != Rules::BurnVlm {
            read.notes.push(format!(
                "{}: {odd} of {} pictures do not have {PAIR} questions; each counts as right if all of its questions \
                 are answered right",
                file.name,
                pairs.len()
            ));
        }
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
            return Asked { text: kit::yes_no_prompt(item, style), ask: kit::generate(style) };
        }
        let question = item.question.trim().replace(" Please answer yes or no.", "");
        let text = format!("{question}\nAnswer the question using a single word or phrase.");
        Asked { text, ask: Ask::Generate { max_new_tokens: LMMS_TOKENS } }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let replies: Vec<Option<String>> = answers.iter().map(|answer| answer.as_text().map(str::to_owned)).collect();
        let replies = match rules {
            Rules::LmmsEval => replies.into_iter().map(Option::unwrap_or_default).collect(),
            _ => stored_by_part(items, replies),
        };
        let each = items.iter().zip(answers).zip(&replies);
        let mut verdicts: Vec<Verdict> =
            each.map(|((item, answer), reply)| verdict(item, answer, reply, rules)).collect();
        for pair in pairs(items) {
            let right =
                pair.iter().all(|at| verdicts.get(*at).and_then(|verdict| verdict.score(ACCURACY)) == Some(1.0));
            // A picture counts once, whatever its number of questions: with the first.
            if let Some(verdict) = pair.first().and_then(|at| verdicts.get_mut(*at)) {
                verdict.scores.insert(0, (PAIRED, u8::from(right).into()));
            }
        }
        let totals = if rules == Rules::LmmsEval { points(items, &verdicts) } else { rating(items, &verdicts) };
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes: Vec::new() }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        let chance = |pair: &Vec<usize>| pair.iter().map(|_| 0.5).product::<f64>();
        let pairs = MetricInfo {
            key: PAIRED,
            label: "pairs".into(),
            explanation: format!(
                "Yes/no questions; a picture counts only if all of its questions are answered right (the paper's \
                 protocol, for which no code is published). Yes and no are told by the rules named here: \
                 {}. N counts pictures.",
                rules.whose()
            ),
            chance: Some(100.0 * mean(self::pairs(items).iter().map(chance))),
        };
        let each = MetricInfo {
            key: ACCURACY,
            label: "each question".into(),
            explanation: "The same questions, each counted by itself.".into(),
            chance: Some(50.0),
        };
        vec![pairs, each]
    }
}

fn tag(item: &Item) -> &'static str {
    item.language.map_or("", |language| language.tag())
}

/// Places of the questions that count together: those of one picture (or of one cell of `group_column`) in one
/// language.
fn pairs(items: &[Item]) -> Vec<Vec<usize>> {
    let mut pairs: Vec<Vec<usize>> = Vec::new();
    let mut places = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        let place = *places.entry((tag(item), item.group.as_str())).or_insert(pairs.len());
        if place == pairs.len() {
            pairs.push(Vec::new());
        }
        pairs[place].push(at);
    }
    pairs
}

/// What was read of a reply: `extracted` (the kits) or `parsed` (lmms-eval), and `hit`.
fn verdict(item: &Item, answer: &Answer, reply: &str, rules: Rules) -> Verdict {
    let found = reply::yes_no(reply, rules).map(|yes| if yes { "Yes" } else { "No" });
    let right = found == Some(item.answer());
    let verdict = Verdict::right(ACCURACY, found.map(str::to_owned), right)
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::Invalid, found.is_none())
        .with("hit", u8::from(right));
    if rules == Rules::LmmsEval {
        return verdict.with("parsed", found.map_or("other".to_owned(), str::to_lowercase));
    }
    verdict
        .flagged(Flag::ReadAsMissing, answer.as_text().is_some_and(is_missing))
        .with("extracted", found.unwrap_or("Unknown"))
}

/// The verdicts of each language.
fn by_language<'a>(items: &[Item], verdicts: &'a [Verdict]) -> BTreeMap<&'static str, Vec<&'a Verdict>> {
    let mut languages: BTreeMap<_, Vec<&Verdict>> = BTreeMap::new();
    for (item, verdict) in items.iter().zip(verdicts) {
        languages.entry(tag(item)).or_default().push(verdict);
    }
    languages
}

/// The share of right answers, in percent.
fn percent(verdicts: &[&Verdict], key: &str) -> f64 {
    100.0 * mean(verdicts.iter().filter_map(|verdict| verdict.score(key)))
}

/// The kit's totals of HallusionBench: accuracy of the questions (`aAcc`), of the pictures (`fAcc`), and of questions
/// that are asked of several pictures (`qAcc`; here each is asked of one).
fn rating(items: &[Item], verdicts: &[Verdict]) -> Value {
    let row = |split: &str, verdicts: &[&Verdict]| {
        let each = percent(verdicts, ACCURACY);
        json!({ "split": split, "aAcc": each, "fAcc": percent(verdicts, PAIRED), "qAcc": each })
    };
    let overall = row("Overall", &verdicts.iter().collect::<Vec<_>>());
    let languages = by_language(items, verdicts).into_iter().map(|(tag, verdicts)| row(tag, &verdicts));
    std::iter::once(overall).chain(languages).collect()
}

/// lmms-eval's points of MME, 0 to 200 for each language: accuracy of the questions plus that of the pictures.
fn points(items: &[Item], verdicts: &[Verdict]) -> Value {
    let languages = by_language(items, verdicts).into_iter();
    let points = |verdicts: Vec<&Verdict>| percent(&verdicts, ACCURACY) + percent(&verdicts, PAIRED);
    languages.map(|(tag, verdicts)| (tag.to_owned(), points(verdicts).into())).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_tsv::{error_of, of_rows};

    const HEAD: &str = "index|image|question|answer";

    #[test]
    fn answers_are_yes_or_no() {
        let rows = [HEAD, "0|@|Is it? Please answer yes or no.|yes", "1|0|Is it?|A"];
        let error = error_of(&MmmbPaired, "pairs_en", &rows, Rules::Vlmevalkit);
        assert!(error.contains("answer \"A\", expected Yes or No") && error.contains("line 3"), "{error}");
        let error = error_of(&MmmbPaired, "pairs", &rows[..2], Rules::Vlmevalkit);
        assert!(error.contains("does not end with a language"), "{error}");
        let items = of_rows(&MmmbPaired, "pairs_en", &rows[..2], Rules::LmmsEval).unwrap().items;
        let asked = MmmbPaired.question(&items[0], PromptStyle::LmmsEval);
        assert_eq!(asked.text, "Is it?\nAnswer the question using a single word or phrase.");
        assert_eq!(asked.ask, Ask::Generate { max_new_tokens: 16 });
        let asked = MmmbPaired.question(&items[0], PromptStyle::Parrot).text;
        assert_eq!(
            asked,
            "Is it?\nPlease strictly answer Yes or No. Answer the question using a single word or phrase."
        );
    }

    #[test]
    fn pictures_with_other_than_two_questions_are_told() {
        let rows = [HEAD, "0|@|a|yes", "1|0|b|no", "2|0|c|no"];
        for rules in [Rules::ParrotVlmevalkit, Rules::Vlmevalkit, Rules::LmmsEval] {
            let read = of_rows(&MmmbPaired, "pairs_en", &rows, rules).unwrap();
            assert!(read.notes[0].contains("1 of 1 pictures do not have 2 questions"), "{:?}", read.notes);
            assert_eq!(MmmbPaired.metrics(&read.items, rules)[0].chance, Some(12.5));
            let mut answers = ["Yes", "No", "No"].map(Answer::text);
            let paired = |answers: &[Answer]| {
                let scored = MmmbPaired.score(&read.items, answers, rules, PromptStyle::of(rules));
                scored.verdicts.into_iter().filter_map(|verdict| verdict?.score(PAIRED)).collect::<Vec<_>>()
            };
            assert_eq!(paired(&answers), [1.0]);
            answers[2].reply = None;
            assert_eq!(paired(&answers), [0.0]);
        }
    }
}

//! SEED-Bench: multiple choice about pictures and, in the whole set, about frames of videos.
//!
//! Unusual here:
//! - lmms-eval reads the first character of a reply, whatever it is: `Answer: D` is A, `**D**` is `*`;
//! - VLMEvalKit has a file of the pictures only (`SEEDBench_IMG`). Under its rules the videos of lmms-eval's file are
//!   left out, and its question types, which are numbers, stand for the categories.

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
use crate::mean;
use crate::published::{Answer, Asked, Flag, Item, Items, MetricInfo, Published, Scored, Verdict};
use crate::reading::{self, FileLanguage, Reading};
use crate::rules::{PromptStyle, Rules};
use crate::strict;
use crate::table::text_of;

/// Columns of lmms-eval's parquet file beyond question and answer, with the kit's names.
const COLUMNS: [&str; 7] = [INDEX, "choice_a", "choice_b", "choice_c", "choice_d", KIND, "question_type_id"];
const INDEX: &str = "question_id";
const KIT_COLUMNS: [(&str, &str); 5] =
    [("choice_a", "A"), ("choice_b", "B"), ("choice_c", "C"), ("choice_d", "D"), ("question_type_id", "category")];
/// The column that tells pictures from videos.
const KIND: &str = "data_type";
const PICTURE: &str = "image";
/// lmms-eval's task sets no limit; this is the one of its LLaVA wrappers.
const LMMS_TOKENS: usize = 1024;

const STRICT: strict::Kind = strict::Kind::Choice;

/// SEED-Bench.
pub(super) struct SeedBench;

impl Published for SeedBench {
    fn name(&self) -> &'static str {
        "seedbench"
    }

    fn about(&self) -> &'static str {
        "SEED-Bench (Li et al. 2023): multiple choice about pictures and frames of videos"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::ParrotVlmevalkit, Rules::Vlmevalkit, Rules::LmmsEval, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let what = "about videos are not counted, as VLMEvalKit's SEEDBench_IMG does not have them";
        let how = Reading {
            columns: &COLUMNS,
            counted: rules.uses_pandas().then_some((|item: &Item| kind(item) == PICTURE, what)),
            ..Reading::of(rules, FileLanguage::Usually(Language::EN))
        };
        let check = |item: &mut Item| {
            if rules == Rules::BurnVlm { STRICT.check(item) } else { kit::check_letter(item) }
        };
        reading::read(file, base, &how, shape, check)
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
        let options: String = item.options.iter().map(|(letter, text)| format!("{letter}. {text}\n")).collect();
        let text = format!("{}\n{options}{}", item.question, kit::ENGLISH);
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
        vec![kit::accuracy(items, rules)]
    }
}

/// The columns of lmms-eval's file as those of the kit's.
fn shape(row: &mut Row) -> Result<(), SkipReason> {
    if let Some(index) = text_of(row, INDEX) {
        row.id = index;
    }
    for (name, of_kit) in KIT_COLUMNS {
        if !row.fields.contains_key(of_kit)
            && let Some(cell) = row.fields.remove(name)
        {
            row.fields.insert(of_kit.into(), cell);
        }
    }
    spread(row)
}

/// What an item is about; the kit's file has pictures only, and does not say so.
fn kind(item: &Item) -> String {
    item.cell(KIND).unwrap_or_else(|| PICTURE.to_owned())
}

/// `pred`, the first character, and `hit`.
fn verdict_of_lmms(item: &Item, answer: &Answer) -> Verdict {
    let reply = clean::lmms_eval(answer.as_text().unwrap_or_default());
    let first = reply.chars().next().map(String::from).unwrap_or_default();
    let right = first.to_lowercase() == item.answer().to_lowercase();
    let letter = first.chars().next().map(|c| c.to_ascii_uppercase()).filter(|c| item.option(*c).is_some());
    Verdict::right(ACCURACY, letter.map(String::from), right)
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::Invalid, letter.is_none())
        .with("pred", first)
        .with("hit", u8::from(right))
}

/// `seed_image`, `seed_video` (where there are such) and `seed_all`, fractions.
fn totals_of_lmms(items: &[Item], verdicts: &[Verdict]) -> Value {
    let mut kinds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (item, verdict) in items.iter().zip(verdicts) {
        for kind in [kind(item), "all".to_owned()] {
            kinds.entry(format!("seed_{kind}")).or_default().extend(verdict.score(ACCURACY));
        }
    }
    kinds.into_iter().map(|(kind, hits)| (kind, mean(hits.into_iter()).into())).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_tsv::{error_of, of_rows};

    const ROWS: [&str; 4] = [
        "index|image|question|A|B|answer|data_type",
        "0|@|q|red|blue|A|image",
        "1|@|q|red|blue|B|video",
        "2|@|q|red|blue|A|image",
    ];

    #[test]
    fn videos_count_by_lmms_evals_rules_only() {
        let kit = of_rows(&SeedBench, "SEEDBench", &ROWS, Rules::Vlmevalkit).unwrap();
        assert_eq!(
            kit.items.iter().map(|item| (item.index.as_str(), item.row)).collect::<Vec<_>>(),
            [("0", 0), ("2", 2)]
        );
        assert!(kit.notes[0].contains("1 rows about videos are not counted"), "{:?}", kit.notes);
        let error = error_of(&SeedBench, "SEEDBench", &[ROWS[0], ROWS[2]], Rules::Vlmevalkit);
        assert!(error.contains("about videos"), "{error}");

        let lmms = of_rows(&SeedBench, "SEEDBench", &ROWS, Rules::LmmsEval).unwrap();
        let answers = ["a man", "red", "**A**"].map(Answer::text);
        let scored = SeedBench.score(&lmms.items, &answers, Rules::LmmsEval, PromptStyle::LmmsEval);
        assert_eq!(scored.totals, serde_json::json!({"seed_image": 0.5, "seed_video": 0.0, "seed_all": 1.0 / 3.0}));
        let understood: Vec<_> =
            scored.verdicts.iter().flatten().map(|verdict| verdict.understood.as_deref()).collect();
        assert_eq!(understood, [Some("A"), None, None]);
    }

    #[test]
    fn answers_outside_the_options_are_refused() {
        let error = error_of(&SeedBench, "SEEDBench", &[ROWS[0], "0|@|q|red|blue|C|image"], Rules::LmmsEval);
        assert!(error.contains("none of the options' letters") && error.contains("line 2"), "{error}");
    }
}

//! CC-OCR's track of reading in several languages: how many words (or characters) of the text were read.
//!
//! Unusual here: Arabic, Japanese, Korean and Chinese are compared in characters. TowerVision's fork of lmms-eval tells
//! these by what stands before the first `_` of the picture's name, so that `0_Korean.png` is compared in words; it has
//! tasks for German, Spanish, French, Italian, Korean, Portuguese and Russian only. VLMEvalKit prints 0 for all where a
//! package of another track is missing.

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_data::source::SkipReason;
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::cc_ocr_folder;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit;
use crate::ocr_text::{Overlap, Rates, Unit, macro_rates, micro_rates, over};
use crate::published::{Answer, Asked, Flag, Item, Items, MetricInfo, Published, Scored, Verdict};
use crate::reading::{self, FileLanguage, Reading};
use crate::rows::{self, replies};
use crate::rules::{PromptStyle, Rules};
use crate::table::refuse;

/// The metric.
const F1: &str = "f1";
/// Subsets in characters, beside the Chinese ones.
const IN_CHARACTERS: [&str; 3] = ["Arabic", "Japanese", "Korean"];
/// The track, where a file says so.
const TRACK: &str = "multi_lan_ocr";
/// What VLMEvalKit writes where a model could not be asked; such a reply counts as none.
const FAILED: &str = "Failed to obtain answer via API.";
/// The fork's request after the question.
const DIRECTLY: &str = "\nAnswer by providing the text directly.";
/// Limits of lmms-eval, which the benchmark's own code leaves to the model, and of the fork.
const NEW_TOKENS: usize = 4096;
const FORK_NEW_TOKENS: usize = 1024;
/// Subsets with the tags of their languages.
const LANGUAGES: [(&str, &str); 10] = [
    ("Arabic", "ar"),
    ("French", "fr"),
    ("German", "de"),
    ("Italian", "it"),
    ("Japanese", "ja"),
    ("Korean", "ko"),
    ("Portuguese", "pt-BR"),
    ("Russian", "ru"),
    ("Spanish", "es"),
    ("Vietnamese", "vi"),
];

/// CC-OCR, reading in several languages.
pub(super) struct CcOcr;

impl Published for CcOcr {
    fn name(&self) -> &'static str {
        "cc_ocr"
    }

    fn about(&self) -> &'static str {
        "CC-OCR (Yang et al.), multi-language reading: F1 of the words or characters that were read"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::DeepSpin, Rules::LmmsEval, Rules::Vlmevalkit, Rules::Official]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        if cc_ocr_folder::is_release(file, base) {
            return cc_ocr_folder::read(file, base);
        }
        let how = Reading {
            columns: &["category", "l2-category"],
            required: &[&["image_name"], &["split"]],
            ..Reading::of(rules, FileLanguage::Usually(Language::EN))
        };
        reading::read(file, base, &how, |_| Ok(()), finish)
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        let text = item.question.clone();
        match style {
            PromptStyle::DeepSpin => {
                Asked { text: text + DIRECTLY, ask: Ask::Generate { max_new_tokens: FORK_NEW_TOKENS } }
            }
            PromptStyle::Vlmevalkit => Asked { text, ask: kit::generate(style) },
            _ => Asked { text, ask: Ask::Generate { max_new_tokens: NEW_TOKENS } },
        }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        let mut subsets: BTreeMap<&str, Subset> = BTreeMap::new();
        let mut failed = 0;
        let mut verdicts = Vec::with_capacity(items.len());
        for ((item, answer), reply) in items.iter().zip(answers).zip(replies(items, answers, rules)) {
            let is_failed = rules == Rules::Vlmevalkit && reply == FAILED;
            failed += usize::from(is_failed);
            let text = if is_failed { "" } else { reply.as_str() };
            let overlap = Overlap::of(item.answer(), text, unit(item, rules));
            let subset = subsets.entry(item.part.as_str()).or_default();
            subset.overlaps.push(overlap);
            subset.replies += usize::from(answer.reply.is_some());
            let understood = Some(text.trim().to_owned()).filter(|text| !text.is_empty());
            let verdict = rows::verdict(answer, rules, understood, (F1, overlap.rates().f1));
            verdicts.push(Some(detailed(verdict.flagged(Flag::NoReply, is_failed), overlap, rules)));
        }
        let notes = (failed > 0)
            .then(|| format!("{failed} replies say that the model could not be asked; they count as empty"));
        let totals = totals(&subsets, rules);
        Scored { verdicts, totals, notes: notes.into_iter().collect() }
    }

    fn metrics(&self, _items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        let mean = match rules {
            Rules::DeepSpin => "the fork gives each language by itself",
            _ => "the published total is the mean of the languages' means",
        };
        vec![MetricInfo {
            key: F1,
            label: "F1".into(),
            explanation: format!(
                "The harmonic mean of precision and recall of the words (or characters) of each picture, in any order; \
                 {mean}. Units are chosen by the rules named here: {}.",
                rules.whose()
            ),
            chance: None,
        }]
    }
}

/// An item of a table: its part is the subset.
fn finish(item: &mut Item) -> Result<(), SkipReason> {
    rows::one(item)?;
    if let Some(track) = item.cell("category").filter(|track| track != TRACK) {
        return Err(refuse(format!("the category {track:?} is another track, expected {TRACK:?}")));
    }
    item.cell("image_name").ok_or_else(|| refuse("no image_name"))?;
    let subset = item.cell("split").ok_or_else(|| refuse("no split, expected the language's name"))?;
    set_subset(item, subset);
    Ok(())
}

/// Makes an item one of a subset: its part, and the language where that is known.
pub(crate) fn set_subset(item: &mut Item, subset: String) {
    if let Some(language) = language(&subset) {
        item.language = Some(language);
    }
    item.part = subset;
}

fn language(subset: &str) -> Option<Language> {
    let tag = LANGUAGES.iter().find(|(name, _)| *name == subset).map(|(_, tag)| *tag)?;
    Language::parse(tag).ok()
}

/// What an item is compared in.
fn unit(item: &Item, rules: Rules) -> Unit {
    let subset = item.part.as_str();
    let characters = match rules {
        Rules::DeepSpin => {
            let name = item.cell("image_name").unwrap_or_default();
            let begin = name.split('_').next().unwrap_or_default();
            IN_CHARACTERS.contains(&begin) || begin == "Chinese"
        }
        Rules::LmmsEval => IN_CHARACTERS.contains(&subset) || subset.starts_with("zh"),
        _ => IN_CHARACTERS.contains(&subset) || subset.contains("zh"),
    };
    if characters { Unit::Character } else { Unit::Word }
}

/// What the rules note of a picture: lmms-eval its own rates, the others those of a subset of one.
fn detailed(verdict: Verdict, overlap: Overlap, rules: Rules) -> Verdict {
    let Overlap { gold, found, right } = overlap;
    let Rates { recall, precision, f1 } =
        if rules == Rules::LmmsEval { overlap.rates() } else { macro_rates(&[overlap]) };
    let verdict = verdict.with("gt_tokens", gold).with("pred_tokens", found).with("right", right);
    verdict.with("recall", recall).with("precision", precision).with("f1", f1)
}

/// What the totals of a subset are made of.
#[derive(Default)]
struct Subset {
    overlaps: Vec<Overlap>,
    replies: usize,
}

fn totals(subsets: &BTreeMap<&str, Subset>, rules: Rules) -> Value {
    let macros: BTreeMap<&str, Rates> =
        subsets.iter().map(|(name, subset)| (*name, macro_rates(&subset.overlaps))).collect();
    let micros: BTreeMap<&str, Rates> =
        subsets.iter().map(|(name, subset)| (*name, micro_rates(&subset.overlaps))).collect();
    let of_all = |rates: &BTreeMap<&str, Rates>| over(rates.values().map(|rates| rates.f1).sum(), rates.len());
    let (all_macro, all_micro) = (of_all(&macros), of_all(&micros));
    let table: Map<String, Value> = subsets
        .iter()
        .map(|(name, subset)| {
            let macros = macros.get(name).copied().unwrap_or_default();
            let micros = micros.get(name).copied().unwrap_or_default();
            let count = subset.overlaps.len();
            let row = match rules {
                Rules::LmmsEval => json!({ "macro_f1": macros.f1, "micro_f1": micros.f1, "num": count }),
                Rules::DeepSpin => json!({
                    "macro_recall": macros.recall,
                    "macro_precision": macros.precision,
                    "macro_f1_score": macros.f1,
                    "micro_recall": micros.recall,
                    "micro_precision": micros.precision,
                    "micro_f1_score": micros.f1,
                }),
                Rules::Official => json!({
                    "macro_f1_score": macros.f1,
                    // Spelled so there.
                    "mirco_f1_score": micros.f1,
                    "response_success_ratio": over(subset.replies as f64, count),
                    "config": {
                        "word_level": !IN_CHARACTERS.contains(name) && !name.contains("zh"),
                        "alphanum_only": false,
                        "lowercase": true,
                    },
                }),
                _ => json!({ "lan_ocr": macros.f1, "total": macros.f1 }),
            };
            let prefix = if rules == Rules::Vlmevalkit { "CCOCR_MultiLanOcr_" } else { "" };
            (format!("{prefix}{name}"), row)
        })
        .collect();
    match rules {
        Rules::LmmsEval => json!({ "macro_f1": all_macro, "micro_f1": all_micro, "subsets": table }),
        Rules::Official => {
            json!({ "subsets": table, "summary": { "macro_f1_score": all_macro, "mirco_f1_score": all_micro } })
        }
        _ => table.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::{PIXEL, read_text, wrong};

    const HEADER: &str = "index\timage\tquestion\tanswer\timage_name\tcategory\tsplit\n";

    #[test]
    fn units_differ() {
        let rows =
            [("0_Korean.png", "Korean"), ("Korean_1.png", "Korean"), ("1.png", "zh_hans"), ("Chinese_1.png", "b_zh")];
        let rows = rows.iter().enumerate();
        let rows = rows.map(|(at, (name, split))| format!("{at}\t{PIXEL}\tq\tab c\t{name}\t{TRACK}\t{split}\n"));
        let text = HEADER.to_owned() + &rows.collect::<String>();
        let (word, character) = (Unit::Word, Unit::Character);
        for (rules, units) in [
            (Rules::DeepSpin, [word, character, word, character]),
            (Rules::LmmsEval, [character, character, character, word]),
            (Rules::Official, [character; 4]),
            (Rules::Vlmevalkit, [character; 4]),
        ] {
            let items = read_text(&CcOcr, rules, "a.tsv", &text, "").unwrap().items;
            let found: Vec<Unit> = items.iter().map(|item| unit(item, rules)).collect();
            assert_eq!(found, units, "{rules}");
        }
    }

    #[test]
    fn failures_are_counted() {
        let text = format!("{HEADER}1\t{PIXEL}\tq\tFailed to\tx.png\t{TRACK}\tGerman\n");
        let items = read_text(&CcOcr, Rules::Vlmevalkit, "a.tsv", &text, "").unwrap().items;
        assert_eq!(items[0].language, Some(Language::DE));
        let score = |rules| CcOcr.score(&items, &[Answer::text(FAILED)], rules, PromptStyle::of(rules));
        let kit = score(Rules::Vlmevalkit);
        assert_eq!(kit.totals["CCOCR_MultiLanOcr_German"]["total"], json!(0.0));
        assert!(kit.notes[0].starts_with("1 replies"));
        assert!(score(Rules::Official).totals["subsets"]["German"]["macro_f1_score"].as_f64() > Some(0.1));
        // No reply is no success.
        let none = CcOcr.score(&items, &[Answer::default()], Rules::Official, PromptStyle::Official);
        assert_eq!(none.totals["subsets"]["German"]["response_success_ratio"], json!(0.0));
    }

    #[test]
    fn other_tracks_are_refused() {
        let text = format!("{HEADER}1\t{PIXEL}\tq\ta\tx.png\tkie\tCORD\n");
        for rules in CcOcr.rules() {
            let error = wrong(&CcOcr, *rules, "a.tsv", &text);
            assert!(error.contains("another track") && error.contains("line 2"), "{error}");
        }
        let text = format!("index\timage\tquestion\tanswer\n1\t{PIXEL}\tq\ta\n");
        assert!(wrong(&CcOcr, Rules::Official, "a.tsv", &text).contains("\"image_name\""));
    }
}

//! AI2D (Kembhavi et al. 2016): multiple choice on diagrams.
//!
//! Unusual here, in lmms-eval: the letter of `A. text` is taken from the raw reply; what is left is compared without
//! case and ASCII punctuation, so that `(B)`, `**A**` and `b` are right and `A: text` is not.
//!
//! The default is lmms-eval, where the field's tables with AI2D come from; no paper that this library follows says
//! whose number it quotes.

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
use crate::reading::{self, FileLanguage, Reading};
use crate::rules::{PromptStyle, Rules};
use crate::strict;

const STRICT: strict::Kind = strict::Kind::Choice;

/// AI2D.
pub(super) struct Ai2d;

/// Tokens of a reply in lmms-eval's task.
const MAX_NEW_TOKENS: usize = 16;
/// Columns that tables are taken apart by.
const MORE: [&str; 3] = ["category", "l2-category", "split"];

impl Published for Ai2d {
    fn name(&self) -> &'static str {
        "ai2d"
    }

    fn about(&self) -> &'static str {
        "AI2D (Kembhavi et al. 2016): multiple choice on diagrams"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::LmmsEval, Rules::Vlmevalkit, Rules::ParrotVlmevalkit, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let how = Reading { columns: &MORE, ..Reading::of(rules, FileLanguage::Usually(Language::EN)) };
        let check = |item: &mut Item| {
            if rules == Rules::BurnVlm { STRICT.check(item) } else { kit::check_letter(item) }
        };
        reading::read(file, base, &how, spread, check)
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
        let text = format!("{}\n{}\n{}", item.question, lines(item), kit::ENGLISH);
        Asked { text, ask: Ask::Generate { max_new_tokens: MAX_NEW_TOKENS } }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        if rules != Rules::LmmsEval {
            let verdicts = kit::choice_verdicts(items, answers, rules, style);
            let totals = kit::totals_by_part(items, &verdicts);
            return Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes: Vec::new() };
        }
        let verdicts: Vec<Verdict> = items.iter().zip(answers).map(|(item, answer)| lmms_eval(item, answer)).collect();
        let of_part = |part: &str| {
            let of_part = items.iter().zip(&verdicts).filter(|(item, _)| item.part == part);
            let scores: Vec<f64> = of_part.filter_map(|(_, verdict)| verdict.score(ACCURACY)).collect();
            json!({ "exact_match": mean(scores.iter().copied()), "n": scores.len() })
        };
        let parts = parts(items).into_iter().map(|part| (part.to_owned(), of_part(part)));
        let totals = Value::Object(parts.collect::<Map<_, _>>());
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes: Vec::new() }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        vec![kit::accuracy(items, rules)]
    }
}

/// The letter of a raw reply that begins with a capital and a dot, else the cleaned reply, compared without case and
/// ASCII punctuation.
fn lmms_eval(item: &Item, answer: &Answer) -> Verdict {
    static LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\s*([A-Z])\.").ok());
    let reply = answer.as_text().unwrap_or_default();
    let begin = LETTER.as_ref().and_then(|letter| letter.captures(reply)?.get(1));
    let filtered = begin.map_or(reply, |letter| letter.as_str());
    let compared = without_marks(&clean::lmms_eval(filtered));
    let right = answer.reply.is_some() && compared == without_marks(item.answer());
    let letter = |wanted: &str| item.options.iter().find(|(letter, _)| letter.to_string().to_lowercase() == wanted);
    let understood = letter(&compared).map(|(letter, _)| letter.to_string());
    Verdict::right(ACCURACY, understood.clone(), right)
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::Invalid, understood.is_none())
        .with("filtered", filtered)
        .with("exact_match", f64::from(u8::from(right)))
}

fn without_marks(text: &str) -> String {
    text.to_lowercase().replace(|c: char| c.is_ascii_punctuation(), "")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PICTURE: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

    fn items(rows: &str, rules: Rules) -> Result<Items, BenchmarkError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ai2d_de.tsv"), rows).unwrap();
        let file: FileRecipe = toml::from_str("name = \"a\"\nfile = \"ai2d_de.tsv\"").unwrap();
        Ai2d.read(&file, folder.path(), rules)
    }

    #[test]
    fn replies_of_odd_shape() {
        let rows = format!("index\tquestion\tA\tB\tanswer\timage\n0\tw?\tx\ty\tA\t{PICTURE}\n");
        for rules in [Rules::LmmsEval, Rules::Vlmevalkit] {
            assert_eq!(items(&rows, rules).unwrap().items[0].language, Some(Language::DE));
        }
        let item = items(&rows, Rules::LmmsEval).unwrap().items.remove(0);
        for (reply, score) in [
            ("\n A. B", 1.0),
            // The letter is looked for before the block of thought is dropped.
            ("<think>x</think>A. B", 0.0),
            ("<think>x</think>A.", 1.0),
            ("A .", 0.0),
            ("(a)", 1.0),
            ("Ａ", 0.0),
            ("", 0.0),
        ] {
            assert_eq!(lmms_eval(&item, &Answer::text(reply)).score(ACCURACY), Some(score), "{reply}");
        }
        let none = lmms_eval(&item, &Answer::default());
        assert_eq!((none.score(ACCURACY), none.flags), (Some(0.0), vec![Flag::NoReply, Flag::Invalid]));
    }

    #[test]
    fn a_row_without_a_picture_is_an_error() {
        let error = items("index\tquestion\tA\tB\tanswer\timage\n0\tw?\tx\ty\tA\t\n", Rules::LmmsEval).unwrap_err();
        assert!(error.to_string().contains("line 2 (id \"0\"): missing_image: no picture"), "{error}");
    }
}

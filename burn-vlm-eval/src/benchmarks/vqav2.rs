//! VQAv2: short answers, each against those of ten people.
//!
//! Unusual here: lmms-eval compares these without the first step that it has for TextVQA, so that `john's` stays one
//! word.

use std::path::Path;

use serde_json::json;

use super::textvqa::{SHORT_REQUEST, VQA_ACCURACY, accuracy, read, verdicts};
use crate::ask::Ask;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::mean;
use crate::published::{Answer, Asked, Item, Items, MetricInfo, Published, Scored};
use crate::rows::by_language;
use crate::rules::{PromptStyle, Rules};
use crate::strict;

/// lmms-eval's limit.
const NEW_TOKENS: usize = 16;

const STRICT: strict::Kind = strict::Kind::Votes;

/// VQAv2.
pub(super) struct VqaV2;

impl Published for VqaV2 {
    fn name(&self) -> &'static str {
        "vqav2"
    }

    fn about(&self) -> &'static str {
        "VQAv2 (Goyal et al.): short answers to questions about pictures, against those of ten people"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::LmmsEval, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        read(file, base, rules, STRICT, |_| Ok(()))
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        if style == PromptStyle::BurnVlm {
            return STRICT.question(item);
        }
        let text = format!("{}{SHORT_REQUEST}", item.question);
        Asked { text, ask: Ask::Generate { max_new_tokens: NEW_TOKENS } }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let verdicts = verdicts(items, answers, rules, false);
        let totals = by_language(items, &verdicts, |rows| {
            let score = mean(rows.iter().filter_map(|(_, verdict)| verdict.score(VQA_ACCURACY)));
            json!({ "exact_match": score, "n": rows.len() })
        });
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes: Vec::new() }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        vec![accuracy(rules)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::read_text;

    #[test]
    fn the_test_split_has_no_answers() {
        let line = r#"{"question_id": 1, "question": "q", "image": "a.jpg", "answers": null}"#;
        let read = read_text(&VqaV2, Rules::LmmsEval, "test.jsonl", line, "fields = { ignore = [\"image\"] }");
        let error = read.unwrap_err().to_string();
        assert!(error.contains("test.jsonl") && error.contains("no column \"answer\""), "{error}");
    }
}

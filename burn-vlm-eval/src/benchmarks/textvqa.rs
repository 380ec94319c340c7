//! TextVQA: short answers to questions about text in pictures, each against those of ten people.
//!
//! Unusual here: lmms-eval and LLaVA's script set `'s` apart before they compare; VLMEvalKit keeps a dot after a digit
//! (`22.` is not `22`), its copy in Parrot's repository does not. lmms-eval also writes the question in lower case.

use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_data::source::{Row, SkipReason};
use serde_json::{Value, json};

use crate::ask::Ask;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit;
use crate::mean;
use crate::published::{Answer, Asked, Item, Items, MetricInfo, Published, Scored, Verdict};
use crate::reading::{self, FileLanguage, Reading};
use crate::rows::{self, by_language, listed, replies};
use crate::rules::{PromptStyle, Rules};
use crate::strict;
use crate::table::{refuse, text_of};
use crate::vqa::{compared, leave_one_out};

/// The metric.
pub(super) const VQA_ACCURACY: &str = "vqa_accuracy";
/// What comes after the question.
pub(super) const SHORT_REQUEST: &str = "\nAnswer the question using a single word or phrase.";
/// lmms-eval's task has no limit, its LLaVA class this one.
const NEW_TOKENS: usize = 1024;
/// LLaVA's script stops where another number of people was asked.
const PEOPLE: usize = 10;

const STRICT: strict::Kind = strict::Kind::Votes;

/// TextVQA.
pub(super) struct TextVqa;

impl Published for TextVqa {
    fn name(&self) -> &'static str {
        "textvqa"
    }

    fn about(&self) -> &'static str {
        "TextVQA (Singh et al.): short answers to questions about text in pictures, against those of ten people"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::LmmsEval, Rules::Vlmevalkit, Rules::ParrotVlmevalkit, Rules::Llava, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        read(file, base, rules, STRICT, |item| match item.answers.len() {
            count if rules == Rules::Llava && count != PEOPLE => {
                Err(refuse(format!("{count} answers, LLaVA's script wants {PEOPLE}")))
            }
            _ => Ok(()),
        })
    }

    fn prompts(&self, rules: Rules) -> Vec<PromptStyle> {
        styles(rules)
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        if style == PromptStyle::BurnVlm {
            return STRICT.question(item);
        }
        match style {
            PromptStyle::LmmsEval => {
                let text = format!("{}{SHORT_REQUEST}", capitalized(&item.question));
                Asked { text, ask: Ask::Generate { max_new_tokens: NEW_TOKENS } }
            }
            style => Asked { text: format!("{}{SHORT_REQUEST}", item.question), ask: kit::generate(style) },
        }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let verdicts = verdicts(items, answers, rules, !rules.uses_pandas());
        let totals = by_language(items, &verdicts, |rows| {
            let score = mean(rows.iter().filter_map(|(_, verdict)| verdict.score(VQA_ACCURACY)));
            match rules {
                Rules::LmmsEval => json!({ "exact_match": score, "n": rows.len() }),
                Rules::Llava => json!({ "accuracy": score, "n": rows.len() }),
                _ => json!([{ "Overall": 100.0 * score }]),
            }
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

/// The prompts of short answers: the kits' data class, also in Parrot's copy, else the rules' own.
pub(super) fn styles(rules: Rules) -> Vec<PromptStyle> {
    vec![if rules.uses_pandas() { PromptStyle::Vlmevalkit } else { PromptStyle::of(rules) }]
}

/// Reads what people answered; parquet files call the index `question_id`.
pub(super) fn read(
    file: &FileRecipe,
    base: &Path,
    rules: Rules,
    strict: strict::Kind,
    check: impl Fn(&Item) -> Result<(), SkipReason>,
) -> Result<Items, BenchmarkError> {
    const INDEX: &str = "question_id";
    let how = Reading { columns: &[INDEX], ..Reading::of(rules, FileLanguage::Usually(Language::EN)) };
    let shape = |row: &mut Row| {
        if let Some(index) = text_of(row, INDEX) {
            row.id = index;
        }
        Ok(())
    };
    reading::read(file, base, &how, shape, |item| {
        listed(item)?;
        check(item)?;
        if rules == Rules::BurnVlm { strict.check(item) } else { Ok(()) }
    })
}

/// The verdicts of answers against those of people.
pub(super) fn verdicts(items: &[Item], answers: &[Answer], rules: Rules, with_tokens: bool) -> Vec<Verdict> {
    let verdict = |((item, answer), reply): ((&Item, &Answer), String)| {
        let text = compared(&reply, rules, with_tokens);
        let people: Vec<String> = item.answers.iter().map(|given| compared(given, rules, with_tokens)).collect();
        let score = leave_one_out(&text, &people);
        let understood = Some(text.clone()).filter(|text| !text.is_empty());
        let verdict = rows::verdict(answer, rules, understood, (VQA_ACCURACY, score));
        verdict.with("pred", text).with("gt", Value::from(people)).with("score", score)
    };
    items.iter().zip(answers).zip(replies(items, answers, rules)).map(verdict).collect()
}

/// The score of short answers.
pub(super) fn accuracy(rules: Rules) -> MetricInfo {
    MetricInfo {
        key: VQA_ACCURACY,
        label: "VQA accuracy".into(),
        explanation: format!(
            "The mean over all people asked of min(others who answered the same / 3, 1). Texts are compared by the \
             rules named here: {}.",
            rules.whose()
        ),
        chance: None,
    }
}

/// The first letter large, all others small.
fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    // The end of a word decides on a small sigma, so the whole is lowered.
    let lower = text.to_lowercase();
    let rest = lower.chars().skip(first.to_lowercase().count());
    let mut upper = first.to_uppercase();
    let title: String = upper.next().into_iter().chain(upper.flat_map(char::to_lowercase)).collect();
    title.chars().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::Flag;
    use crate::rows::tests::{PIXEL, read_text, wrong};

    const HEADER: &str = "index\timage\tquestion\tanswer\n";

    #[test]
    fn questions_are_capitalized_as_python_does() {
        for (text, wanted) in
            [("what is NASA?", "What is nasa?"), ("ÉCRIT", "Écrit"), ("ßa", "Ssa"), ("ΣΑΣ", "Σας"), ("", "")]
        {
            assert_eq!(capitalized(text), wanted);
        }
    }

    #[test]
    fn an_empty_reply_is_nan_in_the_kit() {
        let text = format!("{HEADER}1\t{PIXEL}\tq\t\"['nan', 'nan', 'nan', 'nan', '', '', '', '', '', '']\"\n");
        for (rules, pred, flag) in [
            (Rules::Vlmevalkit, "nan", Flag::ReadAsMissing),
            (Rules::LmmsEval, "", Flag::Invalid),
            (Rules::Llava, "", Flag::Invalid),
        ] {
            let items = read_text(&TextVqa, rules, "TextVQA_VAL.tsv", &text, "").unwrap().items;
            let scored = TextVqa.score(&items, &[Answer::text("")], rules, PromptStyle::of(rules));
            let verdict = scored.verdicts[0].as_ref().unwrap();
            assert_eq!(verdict.details["pred"], json!(pred), "{rules}");
            assert!(verdict.flags.contains(&flag), "{rules}");
            assert_eq!(verdict.score(VQA_ACCURACY), Some(1.0));
        }
    }

    #[test]
    fn other_files_are_refused() {
        for rules in TextVqa.rules() {
            for (row, word) in
                [(format!("1\t{PIXEL}\tq\tred"), "list"), (format!("1\t{PIXEL}\tq\t\"[]\""), "no answer")]
            {
                let error = wrong(&TextVqa, *rules, "TextVQA_VAL.tsv", &format!("{HEADER}{row}\n"));
                assert!(error.contains(word) && error.contains("line 2"), "{rules}: {error}");
            }
        }
        let three = format!("{HEADER}1\t{PIXEL}\tq\t['a', 'b', 'c']\n");
        assert!(wrong(&TextVqa, Rules::Llava, "TextVQA_VAL.tsv", &three).contains("3 answers"));
        assert_eq!(
            read_text(&TextVqa, Rules::LmmsEval, "TextVQA_VAL.tsv", &three, "").unwrap().items[0].answers.len(),
            3
        );
    }
}

//! GQA: short answers that must be the one expected.
//!
//! Unusual here: on the hub questions and pictures are two sets, `.._instructions` and `.._images`, that are joined by
//! `imageId`. lmms-eval compares without case and ASCII marks (`darkblue` is `dark-blue`), VLMEvalKit without case only
//! (`yes.` is wrong).

use std::collections::HashMap;
use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_data::sample::Media;
use burn_vlm_data::source::{Format, Row, SkipKind, SkipReason, SourceConfig};
use serde_json::json;

use super::textvqa::{SHORT_REQUEST, styles};
use crate::ask::Ask;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit::{self, ACCURACY};
use crate::mean;
use crate::published::{Answer, Asked, Item, Items, MetricInfo, Published, Scored, Verdict};
use crate::reading::{self, FileLanguage, Reading, reads_no_pictures};
use crate::rows::{self, by_language, replies};
use crate::rules::{PromptStyle, Rules};
use crate::strict;
use crate::table::{Table, text_of};

/// Ends of the sets' names on the hub.
const QUESTIONS: &str = "_instructions";
const IMAGES: &str = "_images";
/// The column that joins both, as it is read.
const PICTURE: &str = "imageid";
/// lmms-eval's limit.
const NEW_TOKENS: usize = 16;

const STRICT: strict::Kind = strict::Kind::Short;

/// GQA.
pub(super) struct Gqa;

impl Published for Gqa {
    fn name(&self) -> &'static str {
        "gqa"
    }

    fn about(&self) -> &'static str {
        "GQA (Hudson and Manning): short answers to questions about scenes, by exact match"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::LmmsEval, Rules::Vlmevalkit, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let joined = file.file.contains(QUESTIONS);
        let pictures = if joined && !reads_no_pictures(file) { pictures(file, base)? } else { HashMap::new() };
        let how = Reading { columns: &["imageId"], ..Reading::of(rules, FileLanguage::Usually(Language::EN)) };
        let join = |row: &mut Row| {
            if let Some(id) = text_of(row, PICTURE) {
                match pictures.get(&id) {
                    Some(media) => row.media.clone_from(media),
                    None if reads_no_pictures(file) => {}
                    None => {
                        let detail = format!("the set of pictures ({IMAGES}) has none of the id {id:?}");
                        return Err(SkipReason::new(SkipKind::MissingImage, detail));
                    }
                }
            }
            Ok(())
        };
        reading::read(file, base, &how, join, |item| {
            if let Some(id) = item.cell(PICTURE) {
                item.group = id;
            }
            if rules == Rules::BurnVlm { STRICT.check(item) } else { rows::one(item) }
        })
    }

    fn prompts(&self, rules: Rules) -> Vec<PromptStyle> {
        styles(rules)
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        if style == PromptStyle::BurnVlm {
            return STRICT.question(item);
        }
        let ask = match style {
            PromptStyle::LmmsEval => Ask::Generate { max_new_tokens: NEW_TOKENS },
            style => kit::generate(style),
        };
        Asked { text: format!("{}{SHORT_REQUEST}", item.question), ask }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let verdict = |((item, answer), reply): ((&Item, &Answer), String)| {
            let text = compared(&reply, rules);
            let right = f64::from(u8::from(text == compared(item.answer(), rules)));
            let understood = Some(text).filter(|text| !text.is_empty());
            let verdict = rows::verdict(answer, rules, understood, (ACCURACY, right));
            verdict.with(if rules.uses_pandas() { "hit" } else { "exact_match" }, right)
        };
        let verdicts: Vec<Verdict> =
            items.iter().zip(answers).zip(replies(items, answers, rules)).map(verdict).collect();
        let totals = by_language(items, &verdicts, |rows| {
            let score = mean(rows.iter().filter_map(|(_, verdict)| verdict.score(ACCURACY)));
            if rules.uses_pandas() {
                json!([{ "Overall": 100.0 * score }])
            } else {
                json!({ "exact_match": score, "n": rows.len() })
            }
        });
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes: Vec::new() }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        vec![MetricInfo {
            key: ACCURACY,
            label: "accuracy".into(),
            explanation: format!(
                "The answer is the one expected, compared by the rules named here: {}.",
                rules.whose()
            ),
            chance: None,
        }]
    }
}

/// The text that is compared.
fn compared(text: &str, rules: Rules) -> String {
    let lower = text.to_lowercase();
    if rules.uses_pandas() { lower.trim().to_owned() } else { lower.replace(|c: char| c.is_ascii_punctuation(), "") }
}

/// The pictures of the set beside the questions, by their id.
fn pictures(file: &FileRecipe, base: &Path) -> Result<HashMap<String, Vec<Media>>, BenchmarkError> {
    // Both sets are cut into shards by themselves: all of the folder are read.
    let path = file.file.replace(QUESTIONS, IMAGES);
    let folder = Path::new(&path).parent().filter(|folder| folder.to_string_lossy().contains(IMAGES));
    let path = folder.map_or(path.clone(), |folder| folder.to_string_lossy().into_owned());
    let mut source =
        SourceConfig { format: Some(Format::Parquet), limits: file.limits, ..SourceConfig::new(&file.name, path) };
    // A set of pictures has no text but its ids.
    source.fields.caption = Some("id".to_owned());
    let (pictures, _) = Table::read(source, base, 0)?.items(|_, row| Ok(Some((row.id, row.media))))?;
    Ok(pictures.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::{PIXEL, read_text, wrong};

    #[test]
    fn marks_count_in_the_kit_only() {
        let text = format!("index\timage\tquestion\tanswer\n1\t{PIXEL}\tq\tdark-blue\n");
        for (reply, kit, lmms) in
            [("Dark-Blue", 1.0, 1.0), ("darkblue", 0.0, 1.0), ("dark blue", 0.0, 0.0), ("dark-blue.", 0.0, 1.0)]
        {
            for (rules, right) in [(Rules::Vlmevalkit, kit), (Rules::LmmsEval, lmms)] {
                let items = read_text(&Gqa, rules, "GQA.tsv", &text, "").unwrap().items;
                let scored = Gqa.score(&items, &[Answer::text(reply)], rules, PromptStyle::of(rules));
                assert_eq!(scored.verdicts[0].as_ref().unwrap().score(ACCURACY), Some(right), "{rules}: {reply}");
            }
        }
    }

    #[test]
    fn pictures_must_be_there() {
        let row = r#"{"id": "1", "imageId": "n7", "question": "q", "answer": "yes"}"#;
        let error = wrong(&Gqa, Rules::LmmsEval, "questions.jsonl", row);
        assert!(error.contains("\"n7\"") && error.contains("line 1"), "{error}");
        assert!(wrong(&Gqa, Rules::LmmsEval, "a_instructions.jsonl", row).contains("a_images"));
        let unanswered = format!("index\timage\tquestion\tanswer\n1\t{PIXEL}\tq\tyes\n2\t{PIXEL}\tq\t\n");
        assert!(wrong(&Gqa, Rules::LmmsEval, "GQA.tsv", &unanswered).contains("no answer"));
    }
}

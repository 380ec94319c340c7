//! POPE: is a thing in the picture? Things that are there against things drawn at random, popular ones, and adversarial
//! ones.
//!
//! Unusual here: VLMEvalKit's `Overall` is the F1 in percent, and a row of several categories counts in it once for
//! each; lmms-eval wants the reply to be the word alone (`Yes.` is wrong), and its precision and recall leave every
//! other reply out; LLaVA's script takes everything for yes that does not deny.

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_data::source::{Row, SkipReason};
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit::{self, ACCURACY};
use crate::mean;
use crate::pandas::float;
use crate::published::{Answer, Asked, Flag, Item, Items, MetricInfo, Published, Scored, Verdict};
use crate::reading::{self, FileLanguage, Reading};
use crate::rows::{self, by_language, replies};
use crate::rules::{PromptStyle, Rules};
use crate::strict;
use crate::table::{refuse, text_of};
use crate::yes_no::{self, Counts, share};

/// How the things that are not there were chosen.
const CATEGORIES: [&str; 3] = ["random", "popular", "adversarial"];
/// What lmms-eval and LLaVA put after the question.
const SHORT_REQUEST: &str = "\nAnswer the question using a single word or phrase.";
/// lmms-eval's limit.
const NEW_TOKENS: usize = 128;

const STRICT: strict::Kind = strict::Kind::Binary;

/// POPE.
pub(super) struct Pope;

impl Published for Pope {
    fn name(&self) -> &'static str {
        "pope"
    }

    fn about(&self) -> &'static str {
        "POPE (Li et al.): yes/no questions about things that are in the picture or are not"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::LmmsEval, Rules::Vlmevalkit, Rules::ParrotVlmevalkit, Rules::Llava, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let how = Reading { columns: &["category"], ..Reading::of(rules, FileLanguage::Usually(Language::EN)) };
        reading::read(file, base, &how, shape, finish)
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
        let text = format!("{}{SHORT_REQUEST}", item.question.trim());
        Asked { text, ask: Ask::Generate { max_new_tokens: NEW_TOKENS } }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let verdict = |((item, answer), reply): ((&Item, &Answer), String)| {
            // LLaVA's script would shift the questions behind one without a reply; to read it as empty, as yes, is no
            // better.
            let said = answer.as_text().and_then(|_| read(&reply, rules));
            let right = f64::from(u8::from(said.map(yes_no::word) == Some(item.answer())));
            let understood = said.map(|yes| yes_no::word(yes).to_owned());
            let verdict = rows::verdict(answer, rules, understood, (ACCURACY, right));
            match rules {
                Rules::LmmsEval => verdict.with("prediction", reply.to_lowercase().trim()).with("score", right),
                Rules::Llava => verdict.with("parsed", said.map(|yes| yes_no::word(yes).to_lowercase())),
                _ => verdict.with("extracted", said.map_or("Unknown", yes_no::word)).with("hit", right),
            }
        };
        let verdicts: Vec<Verdict> =
            items.iter().zip(answers).zip(replies(items, answers, rules)).map(verdict).collect();
        let totals = by_language(items, &verdicts, |rows| match rules {
            Rules::LmmsEval => whole_totals(rows),
            Rules::Llava => printed_totals(rows),
            _ => kit_totals(rows),
        });
        let notes = notes(items, &verdicts, rules);
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        vec![MetricInfo {
            key: ACCURACY,
            label: "accuracy".into(),
            explanation: format!(
                "Yes or no, each row once. Answers are told by the rules named here: {}. F1, precision and recall are \
                 no means: see the totals.",
                rules.whose()
            ),
            chance: Some(50.0),
        }]
    }
}

/// Columns of the release (`text`, `label`, the category in the file's name) get their usual names.
fn shape(row: &mut Row) -> Result<(), SkipReason> {
    for (name, usual) in [("text", "question"), ("label", "answer")] {
        if let Some(cell) = row.fields.remove(name) {
            row.fields.entry(usual).or_insert(cell);
        }
    }
    // Numbers begin anew in each file, which is the part.
    if let Some(number) = text_of(row, "question_id").filter(|_| !row.fields.contains_key("id")) {
        row.id = number;
    }
    let category = || {
        let stem = row.file.file_stem()?.to_string_lossy();
        CATEGORIES.into_iter().find(|category| stem.ends_with(category))
    };
    if let Some(category) = category().filter(|_| !row.fields.contains_key("category")) {
        row.fields.insert("category".to_owned(), category.into());
    }
    Ok(())
}

/// The answer is yes or no, and every category is one of POPE's.
fn finish(item: &mut Item) -> Result<(), SkipReason> {
    yes_no::check(item)?;
    let categories = item.cell("category").ok_or_else(|| refuse("no category (random, popular, adversarial)"))?;
    match categories.split(',').find(|category| !CATEGORIES.contains(category)) {
        None => Ok(()),
        Some(other) => Err(refuse(format!("the category {other:?} is none of {}", CATEGORIES.join(", ")))),
    }
}

fn read(reply: &str, rules: Rules) -> Option<bool> {
    match rules {
        Rules::LmmsEval => yes_no::whole(reply),
        Rules::Llava => Some(yes_no::unless_denied(reply)),
        _ => yes_no::read(reply, rules),
    }
}

/// What the totals hide.
fn notes(items: &[Item], verdicts: &[Verdict], rules: Rules) -> Vec<String> {
    let flagged = |flag: Flag| verdicts.iter().filter(|verdict| verdict.flags.contains(&flag)).count();
    let several = items.iter().filter(|item| item.cell("category").is_some_and(|category| category.contains(',')));
    let (count, then) = match rules {
        Rules::Llava => (
            flagged(Flag::NoReply),
            "questions have no reply and are wrong; LLaVA's script would take other questions' replies for theirs",
        ),
        Rules::LmmsEval => (
            flagged(Flag::Invalid),
            "replies are not the word yes or no alone: wrong, but left out of precision, recall and F1; the ratio of yes is \
             that of the right answers",
        ),
        _ => (several.count(), "rows stand in several categories and count once for each of them, in Overall too"),
    };
    if count > 0 { vec![format!("{count} {then}")] } else { Vec::new() }
}

type Rows<'a, 'b> = &'b [(&'a Item, &'a Verdict)];

/// What is right and what was said.
fn said((item, verdict): &(&Item, &Verdict)) -> (bool, Option<bool>) {
    let yes = yes_no::word(true);
    (item.answer() == yes, verdict.understood.as_deref().map(|said| said == yes))
}

/// The rows of each category; a row of several stands in each.
fn by_category<'a>(rows: Rows<'a, '_>) -> BTreeMap<String, Vec<(&'a Item, &'a Verdict)>> {
    let mut found: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for row in rows {
        for category in row.0.cell("category").unwrap_or_default().split(',') {
            found.entry(category.to_owned()).or_default().push(*row);
        }
    }
    found
}

/// VLMEvalKit's table, in percent; what is neither yes nor no counts as no.
fn kit_totals(rows: Rows<'_, '_>) -> Value {
    let row = |(split, rows): (String, Vec<(&Item, &Verdict)>)| {
        let counts = Counts::of(rows.iter().map(|row| (said(row).0, Some(said(row).1 == Some(true)))));
        let accuracy = mean(rows.iter().filter_map(|(_, verdict)| verdict.score(ACCURACY)));
        json!({
            "split": split,
            "Overall": 100.0 * counts.f1(),
            "acc": 100.0 * accuracy,
            "precision": 100.0 * counts.precision(),
            "recall": 100.0 * counts.recall(),
        })
    };
    let categories = by_category(rows);
    let all = ("Overall".to_owned(), categories.values().flatten().copied().collect());
    std::iter::once(all).chain(categories).map(row).collect()
}

/// lmms-eval's shares. The ratio of yes is that of the right answers, as there.
fn whole_totals(rows: Rows<'_, '_>) -> Value {
    let counts = Counts::of(rows.iter().map(said));
    let yes = rows.iter().filter(|row| said(row).0).count();
    json!({
        "pope_accuracy": mean(rows.iter().filter_map(|(_, verdict)| verdict.score(ACCURACY))),
        "pope_precision": counts.precision(),
        "pope_recall": counts.recall(),
        "pope_f1_score": counts.f1(),
        "pope_yes_ratio": share(yes, rows.len()),
    })
}

/// The lines that LLaVA's script prints for each category; null where it would divide by nothing.
fn printed_totals(rows: Rows<'_, '_>) -> Value {
    let lines = |rows: Vec<(&Item, &Verdict)>| {
        let counts = Counts::of(rows.iter().map(said));
        let Counts { true_yes, false_yes, true_no, false_no } = counts;
        if true_yes == 0 {
            return Value::Null;
        }
        let (precision, recall) = (counts.precision(), counts.recall());
        let f1 = 2.0 * precision * recall / (precision + recall);
        let accuracy = share(true_yes + true_no, rows.len());
        let ratio = share(true_yes + false_yes, rows.len());
        json!([
            "TP\tFP\tTN\tFN\t",
            format!("{true_yes}\t{false_yes}\t{true_no}\t{false_no}"),
            format!("Accuracy: {}", float(accuracy)),
            format!("Precision: {}", float(precision)),
            format!("Recall: {}", float(recall)),
            format!("F1 score: {}", float(f1)),
            format!("Yes ratio: {}", float(ratio)),
            format!("{f1:.3}, {accuracy:.3}, {precision:.3}, {recall:.3}, {ratio:.3}"),
        ])
    };
    by_category(rows).into_iter().map(|(category, rows)| (category, lines(rows))).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::{PIXEL, read_text, wrong};

    const HEADER: &str = "index\timage\tquestion\tanswer\tcategory\n";

    #[test]
    fn a_row_of_several_categories_counts_once_for_each() {
        let text = format!("{HEADER}1\t{PIXEL}\tq\tYes\trandom,popular\n2\t{PIXEL}\tq\tNo\trandom\n");
        let items = read_text(&Pope, Rules::Vlmevalkit, "POPE.tsv", &text, "").unwrap().items;
        let answers = ["yes", "yes"].map(Answer::text);
        let Scored { totals, notes, .. } = Pope.score(&items, &answers, Rules::Vlmevalkit, PromptStyle::Vlmevalkit);
        assert!(notes[0].starts_with("1 rows stand in several categories"), "{notes:?}");
        assert_eq!(totals[0]["acc"], json!(100.0 * (2.0 / 3.0)));
        assert_eq!(
            totals[1],
            json!({"split": "popular", "Overall": 100.0, "acc": 100.0, "precision": 100.0, "recall": 100.0})
        );
        let totals = Pope.score(&items, &answers, Rules::LmmsEval, PromptStyle::LmmsEval).totals;
        assert_eq!(totals["pope_accuracy"], json!(0.5));
    }

    #[test]
    fn nothing_said_divides_by_nothing() {
        let text = format!("{HEADER}1\t{PIXEL}\tq\tYes\trandom\n");
        let items = read_text(&Pope, Rules::Llava, "POPE.tsv", &text, "").unwrap().items;
        let score = |answer: Answer| Pope.score(&items, &[answer], Rules::Llava, PromptStyle::LmmsEval);
        assert_eq!(score(Answer::text("no")).totals, json!({ "random": null }));
        // An empty reply is yes there; none at all is wrong, and that is said.
        assert_eq!(score(Answer::text("")).verdicts[0].as_ref().unwrap().score(ACCURACY), Some(1.0));
        let scored = score(Answer::default());
        assert_eq!(scored.verdicts[0].as_ref().unwrap().score(ACCURACY), Some(0.0));
        assert!(scored.notes[0].starts_with("1 questions have no reply"));
    }

    #[test]
    fn other_files_are_refused() {
        for (row, word) in [
            (format!("1\t{PIXEL}\tq\tperhaps\trandom"), "expected Yes or No"),
            (format!("1\t{PIXEL}\tq\tYes\tcolor"), "\"color\" is none of random"),
            (format!("1\t{PIXEL}\tq\tYes\t"), "no category"),
        ] {
            for rules in Pope.rules() {
                let error = wrong(&Pope, *rules, "POPE.tsv", &format!("{HEADER}{row}\n"));
                assert!(error.contains(word) && error.contains("line 2"), "{rules}: {error}");
            }
        }
        // The pictures of the release lie elsewhere.
        let line = r#"{"question_id": 1, "image": "a.jpg", "text": "q", "label": "no"}"#;
        let error = wrong(&Pope, Rules::Llava, "coco_pope_random.json", line);
        assert!(error.contains("line 1") && error.contains("image_root"), "{error}");
        let unseen = "fields = { ignore = [\"image\"] }";
        let read = read_text(&Pope, Rules::Llava, "coco_pope_random.json", line, unseen).unwrap();
        assert_eq!(read.items[0].cell("category").as_deref(), Some("random"));
        assert!(read.notes[0].contains("pictures are not read"));
        assert!(
            read_text(&Pope, Rules::Llava, "coco_pope.json", line, unseen)
                .unwrap_err()
                .to_string()
                .contains("no category")
        );
    }
}

//! LLaVA-Bench in the wild (Liu et al., 2023): free answers, which a judge scores from 1 to 10 beside GPT-4's.
//!
//! Unusual here: all three scripts take a judge's reply that they cannot read for -1 and -1 and keep it in the means,
//! on both sides; so do the totals under their names. Such items have no score of ours, and the notes say what the
//! number is without them.
//!
//! Files as published: `questions.jsonl`, with `answers_gpt4.jsonl` and `context.jsonl` beside it, of which the recipe
//! names the first; or a table with all of it, VLMEvalKit's TSV (`gpt4_ans`) and the parquet of lmms-eval's tasks
//! (`gpt_answer`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use burn_vlm_data::language::Language;
use burn_vlm_data::source::{Format, Row, SkipReason};
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::clean;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::judge_score::pair;
use crate::mean;
use crate::plain_text::Reader;
use crate::published::{Answer, Asked, Flag, Item, Items, JudgePrompt, MetricInfo, Published, Scored, Verdict};
use crate::reading::{self, FileLanguage, Reading, Unseen, of_name};
use crate::rules::{PromptStyle, Rules};
use crate::table::{as_text, refuse};

/// What a file that does not say so is written in.
const LANGUAGE: FileLanguage<'static> = FileLanguage::Usually(Language::EN);
const JUDGED: &str = "judged";
const REFERENCE: &str = "reference";
/// The best score that a judge can give.
const BEST: f64 = 10.0;
/// What a reply that cannot be read is worth to the scripts.
const UNREAD: f64 = -1.0;
/// The kinds of questions.
const CATEGORIES: [&str; 3] = ["conv", "detail", "complex"];
/// Columns of a table with GPT-4's answers: VLMEvalKit's, lmms-eval's.
const ANSWERS: [&str; 2] = ["gpt4_ans", "gpt_answer"];
/// New tokens of an answer: LLaVA's script and lmms-eval's multilingual tasks.
const MAX_NEW_TOKENS: usize = 1024;
/// New tokens under VLMEvalKit, whose models decide; LLaVA's.
const KIT_MAX_NEW_TOKENS: usize = 2048;

/// What the judge is told, as published.
const SYSTEM: &str = "You are a helpful and precise assistant for checking the quality of the answer.";
const RULE: &str = "\
     We would like to request your feedback on the performance of two AI assistants in response to the user \
     question displayed above. The user asks the question on observing an image. For your reference, the \
     visual content in the image is represented with a few sentences describing the image. \nPlease rate the \
     helpfulness, relevance, accuracy, level of details of their responses. Each assistant receives an \
     overall score on a scale of 1 to 10, where a higher score indicates better overall performance.\nPlease \
     first output a single line containing only two values indicating the scores for Assistant 1 and 2, \
     respectively. The two scores are separated by a space.\nIn the subsequent line, please provide a \
     comprehensive explanation of your evaluation, avoiding any potential bias and ensuring that the order in \
     which the responses were presented does not affect your judgment.";
const TEMPERATURE_MILLI: u32 = 200;
const JUDGE_TOKENS: u32 = 1024;

/// LLaVA-Bench.
pub(super) struct LlavaBench;

impl Published for LlavaBench {
    fn name(&self) -> &'static str {
        "llava_bench"
    }

    fn about(&self) -> &'static str {
        "LLaVA-Bench in the wild (Liu et al., 2023): free answers, scored by a judge beside those of GPT-4"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::Official, Rules::Vlmevalkit, Rules::LmmsEval]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        if matches!(file.format, Some(Format::Tsv | Format::Parquet))
            || [".tsv", ".parquet"].iter().any(|end| file.file.ends_with(end))
        {
            return read_table(file, base, rules);
        }
        let mut reader = Reader::new(file, base)?;
        let mut items = Vec::new();
        let paths = reader.paths()?;
        for path in &paths {
            let stem = path.file_stem().unwrap_or_default();
            let folder = path.parent().and_then(Path::file_name).unwrap_or(stem);
            let part = if paths.len() > 1 { folder } else { stem };
            read_file(&mut reader, file, path, &part.to_string_lossy(), &mut items)?;
        }
        reader.finish(items)
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        let max_new_tokens = if style == PromptStyle::Vlmevalkit { KIT_MAX_NEW_TOKENS } else { MAX_NEW_TOKENS };
        Asked { text: item.question.clone(), ask: Ask::Generate { max_new_tokens } }
    }

    fn judge(&self, item: &Item, reply: &str, rules: Rules) -> Option<JudgePrompt> {
        let reply = if rules == Rules::LmmsEval { clean::lmms_eval(reply) } else { reply.to_owned() };
        let context = item.cell("context").unwrap_or_default();
        let (question, reference) = (&item.question, item.answer());
        let text = format!(
            "[Context]\n{context}\n\n[Question]\n{question}\n\n[Assistant 1]\n{reference}\n\n[End of Assistant 1]\n\n\
             [Assistant 2]\n{reply}\n\n[End of Assistant 2]\n\n[System]\n{RULE}\n\n"
        );
        Some(JudgePrompt {
            system: Some(SYSTEM.to_owned()),
            text,
            temperature_milli: TEMPERATURE_MILLI,
            max_tokens: JUDGE_TOKENS,
        })
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        let verdicts: Vec<Option<Verdict>> = answers.iter().map(|answer| verdict(answer, rules)).collect();
        let judged = items.iter().zip(answers).filter_map(|(item, answer)| {
            let pair = pair(answer.judge.as_deref()?, rules).unwrap_or([UNREAD; 2]);
            Some((item.cell("category").unwrap_or_default(), pair))
        });
        let judged: Vec<(String, [f64; 2])> = judged.collect();
        let mut notes = notes(&judged, &verdicts, items.len());
        let totals = match rules {
            Rules::Vlmevalkit => kit_totals(&judged),
            Rules::LmmsEval => lmms_totals(&judged),
            _ => script_totals(&judged),
        };
        if holds_null(&totals) {
            notes.push("a total is missing where nothing was judged, or the reference answers' mean is 0".to_owned());
        }
        Scored { verdicts, totals, notes }
    }

    fn metrics(&self, _items: &[Item], _rules: Rules) -> Vec<MetricInfo> {
        let metric = |key, label: &str, whose: &str| MetricInfo {
            key,
            label: label.to_owned(),
            explanation: format!(
                "The judge's mean score of {whose}, of 10, over the replies of the judge that hold two scores from 0 to \
                 10. The relative score (ours by the reference's, in percent) is no mean of items: it stands in the totals."
            ),
            chance: None,
        };
        vec![
            metric(JUDGED, "judge's score", "the model's answers"),
            metric(REFERENCE, "judge's score of GPT-4", "GPT-4's answers"),
        ]
    }
}

fn read_file(
    reader: &mut Reader<'_>,
    file: &FileRecipe,
    path: &Path,
    part: &str,
    items: &mut Vec<Item>,
) -> Result<(), BenchmarkError> {
    let language = file.language.map_or_else(|| of_name(file, part, LANGUAGE), Ok);
    let language = language.map_err(|reason| reader.damaged(path, "its name".to_owned(), reason.detail))?;
    let questions = records(reader, path)?;
    let answers_path = beside(path, "answers_gpt4");
    let context_path = beside(path, "context");
    let mut references = HashMap::new();
    for (line, record) in records(reader, &answers_path)? {
        let id = field(reader, &answers_path, line, &record, "question_id")?;
        if references.insert(id.clone(), field(reader, &answers_path, line, &record, "text")?).is_some() {
            return Err(reader.damaged(&answers_path, place(line), format!("a second answer to question {id:?}")));
        }
    }
    let mut contexts = HashMap::new();
    for (line, record) in records(reader, &context_path)? {
        let image = field(reader, &context_path, line, &record, "image")?;
        contexts.insert(
            image,
            caption(record.get("caption")).ok_or_else(|| {
                reader.damaged(&context_path, place(line), "expected `caption`, a text or a list of texts".to_owned())
            })?,
        );
    }
    let mut known = BTreeSet::new();
    for (line, record) in questions {
        let id = field(reader, path, line, &record, "question_id")?;
        let text = field(reader, path, line, &record, "text")?;
        let image = field(reader, path, line, &record, "image")?;
        let category = field(reader, path, line, &record, "category")?;
        let lacks = |what: &str, file: &Path| Err(refuse(format!("question {id:?}: {what} in {}", file.display())));
        let media = if !known.insert(id.clone()) {
            lacks("a second of this number", path)
        } else if let Err(reason) = check_category(&category) {
            Err(reason)
        } else if !references.contains_key(&id) {
            lacks("no answer", &answers_path)
        } else if !contexts.contains_key(&image) {
            lacks(&format!("no context of picture {image:?}"), &context_path)
        } else {
            reader.picture(&image)
        };
        let cells =
            [("category", Some(category)), ("context", contexts.get(&image).cloned()), ("image", Some(image.clone()))];
        match media {
            Ok(media) => items.push(Item {
                id: format!("{part}/{id}"),
                part: part.to_owned(),
                row: reader.rows,
                language: Some(language),
                media,
                group: image,
                question: text,
                options: Vec::new(),
                answers: references.get(&id).cloned().into_iter().collect(),
                cells: cells.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))).collect(),
                index: id,
            }),
            Err(reason) => reader.skip(path, line, reason),
        }
        reader.rows += 1;
    }
    Ok(())
}

/// A table with questions, answers and captions.
fn read_table(file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
    let how = Reading {
        required: &[&["caption"], &["category"], &ANSWERS],
        unseen: Unseen::Kept,
        ..Reading::of(rules, LANGUAGE)
    };
    let shape = |row: &mut Row| {
        if let Some(answer) = ANSWERS.iter().find_map(|name| row.fields.get(*name).cloned()) {
            row.fields.insert("answer".to_owned(), answer);
        }
        Ok(())
    };
    reading::read(file, base, &how, shape, |item| {
        let context = caption(item.cells.get("caption")).ok_or_else(|| refuse("no caption"))?;
        check_category(&item.cell("category").ok_or_else(|| refuse("no category"))?)?;
        if item.answers.is_empty() {
            return Err(refuse("no answer of GPT-4's"));
        }
        item.cells.insert("context".to_owned(), context.into());
        Ok(())
    })
}

fn check_category(category: &str) -> Result<(), SkipReason> {
    if CATEGORIES.contains(&category) {
        return Ok(());
    }
    Err(refuse(format!("category {category:?}, expected one of {}", CATEGORIES.join(", "))))
}

fn place(line: usize) -> String {
    format!("line {}", line + 1)
}

/// The file of another kind beside the questions: of the same language where their names tell it
/// (`questions_fr.jsonl`).
fn beside(questions: &Path, kind: &str) -> PathBuf {
    let name = questions.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let own = questions.with_file_name(name.replace("questions", kind));
    if own != questions && own.is_file() { own } else { questions.with_file_name(format!("{kind}.jsonl")) }
}

/// A line's number, from 0, and its object.
type Record = (usize, Map<String, Value>);

/// The objects of a JSONL file, with their lines; empty lines are none.
fn records(reader: &mut Reader<'_>, path: &Path) -> Result<Vec<Record>, BenchmarkError> {
    let lines = reader.lines(path)?;
    let lines = lines.into_iter().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let record = |(line, text): (usize, String)| match serde_json::from_str(&text) {
        Ok(record) => Ok((line, record)),
        Err(error) => Err(reader.damaged(path, place(line), format!("expected a JSON object: {error}"))),
    };
    lines.map(record).collect()
}

fn field(
    reader: &Reader<'_>,
    path: &Path,
    line: usize,
    record: &Map<String, Value>,
    name: &str,
) -> Result<String, BenchmarkError> {
    record
        .get(name)
        .and_then(as_text)
        .ok_or_else(|| reader.damaged(path, place(line), format!("expected a field `{name}`")))
}

/// A caption; of a list the lines.
fn caption(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Array(texts) => {
            let texts: Option<Vec<&str>> = texts.iter().map(Value::as_str).collect();
            Some(texts?.join("\n"))
        }
        _ => None,
    }
}

/// None where the judge was not asked, or did not reply.
fn verdict(answer: &Answer, rules: Rules) -> Option<Verdict> {
    let reply = answer.judge.as_deref()?;
    let pair = pair(reply, rules);
    let valid = pair.filter(|pair| pair.iter().all(|score| (0.0..=BEST).contains(score)));
    let scores =
        valid.map_or_else(Vec::new, |[first, second]| vec![(JUDGED, second / BEST), (REFERENCE, first / BEST)]);
    let verdict = Verdict { understood: answer.as_text().map(str::to_owned), scores, ..Verdict::default() };
    Some(
        verdict
            .flagged(Flag::NoReply, answer.reply.is_none())
            .flagged(Flag::JudgeFailed, valid.is_none())
            .with("scores", pair.unwrap_or([UNREAD; 2]).to_vec()),
    )
}

/// What a reader must know: replies that count as -1, and the relative score without them.
fn notes(judged: &[(String, [f64; 2])], verdicts: &[Option<Verdict>], items: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if judged.len() < items {
        notes.push(format!(
            "{} of {items} answers have no reply of the judge; they are not in the totals",
            items - judged.len()
        ));
    }
    let valid =
        || verdicts.iter().flatten().filter_map(|verdict| Some((verdict.score(JUDGED)?, verdict.score(REFERENCE)?)));
    let failed = judged.len() - valid().count();
    if failed > 0 {
        let (ours, reference) = (mean(valid().map(|pair| pair.0)), mean(valid().map(|pair| pair.1)));
        let without = if reference > 0.0 { format!("{:.1}", ours / reference * 100.0) } else { "nothing".to_owned() };
        notes.push(format!(
            "{failed} of {} replies of the judge hold no two scores from 0 to 10; the totals keep them as the \
             reference does (-1 where they cannot be read). Without them the relative score is {without}",
            judged.len()
        ));
    }
    notes
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().any(holds_null),
        Value::Object(values) => values.values().any(holds_null),
        _ => false,
    }
}

/// The mean scores of a category, of all without one; pairs with a NaN are left out.
fn means(judged: &[(String, [f64; 2])], category: Option<&str>) -> Option<[f64; 2]> {
    let wanted = |entry: &&(String, [f64; 2])| category.is_none_or(|category| entry.0 == category);
    let pairs =
        || judged.iter().filter(wanted).map(|entry| entry.1).filter(|pair| !pair.iter().any(|score| score.is_nan()));
    let of = |at: fn([f64; 2]) -> f64| mean(pairs().map(at));
    pairs().next()?;
    Some([of(|[first, _]| first), of(|[_, second]| second)])
}

/// `round` of Python's floats: what the decimal digits say, ties to even.
fn round(value: f64, digits: usize) -> f64 {
    format!("{value:.digits$}").parse().unwrap_or(value)
}

/// `round` of numpy's floats, to one digit: multiplied before, so that some halves fall to the other side.
fn numpy_round(value: f64) -> f64 {
    (value * 10.0).round_ties_even() / 10.0
}

/// What LLaVA's script prints: categories in the order of their names; the relative score, the reference's and ours,
/// times 10.
fn script_totals(judged: &[(String, [f64; 2])]) -> Value {
    let mut names: BTreeMap<String, Option<&str>> = BTreeMap::from([("all".to_owned(), None)]);
    names.extend(judged.iter().map(|(category, _)| (format!("llava_bench_{category}"), Some(category.as_str()))));
    let line = |(name, category): (String, Option<&str>)| {
        let [reference, ours] = means(judged, category)?.map(|mean| round(mean, 3));
        let relative = (reference != 0.0).then(|| round(ours / reference * 100.0, 1))?;
        Some(format!("{name} {relative:?} {:?} {:?}", round(reference * 10.0, 1), round(ours * 10.0, 1)))
    };
    let lines = names.into_iter().map(|entry| line(entry).map_or(Value::Null, Value::from));
    let end = "=================================";
    let printed: Vec<Value> = [Value::from("review")].into_iter().chain(lines).chain([end.into()]).collect();
    json!({ "printed": printed })
}

/// What VLMEvalKit writes.
fn kit_totals(judged: &[(String, [f64; 2])]) -> Value {
    let mut splits = vec![("overall", None)];
    let present = CATEGORIES.into_iter().filter(|category| judged.iter().any(|(known, _)| known == category));
    splits.extend(present.map(|category| (category, Some(category))));
    let row = |(split, category): (&str, Option<&str>)| {
        let means = means(judged, category);
        let relative =
            means.filter(|[reference, _]| *reference != 0.0).map(|[reference, ours]| ours / reference * 100.0);
        json!({
            "split": split,
            "Relative Score (main)": relative.map(numpy_round),
            "VLM Score": means.map(|[_, ours]| numpy_round(ours * 10.0)),
            "GPT4 Score": means.map(|[reference, _]| numpy_round(reference * 10.0)),
        })
    };
    splits.into_iter().map(row).collect()
}

/// What lmms-eval's task returns.
fn lmms_totals(judged: &[(String, [f64; 2])]) -> Value {
    let total = |category: Option<&str>| {
        let [reference, ours] = means(judged, category)?.map(|mean| round(mean, 3));
        (reference != 0.0).then(|| round(ours / reference * 100.0, 1))
    };
    let mut totals: Map<String, Value> =
        CATEGORIES.into_iter().map(|category| (category.to_owned(), json!(total(Some(category))))).collect();
    totals.insert("all".to_owned(), json!(total(None)));
    totals.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_as_published() {
        for (reply, official, lmms) in [
            ("8 9\nBoth.", Some([8.0, 9.0]), Some([8.0, 9.0])),
            ("8, 9", None, None),
            ("8,9", Some([8.0, 9.0]), Some([8.0, 9.0])),
            (" 8 9", None, Some([8.0, 9.0])),
            ("8 9 \nx", None, Some([8.0, 9.0])),
            ("8 9,\nx", None, None),
            ("8 9\r\nx", Some([8.0, 9.0]), Some([8.0, 9.0])),
            ("８ １０", Some([8.0, 10.0]), Some([8.0, 10.0])),
            ("٣ 𝟗", Some([3.0, 9.0]), Some([3.0, 9.0])),
            ("1e1 1_0", Some([10.0, 10.0]), Some([10.0, 10.0])),
            ("1__0 1", None, None),
            ("_1 1", None, None),
            ("8/10 9/10", None, None),
            ("", None, None),
            ("8", None, None),
        ] {
            assert_eq!(pair(reply, Rules::Official), official, "{reply:?}");
            assert_eq!(pair(reply, Rules::LmmsEval), lmms, "{reply:?}");
        }
    }

    #[test]
    fn halves_fall_as_published() {
        // print(round(23.15, 1), round(numpy.float64(23.15), 1))
        assert_eq!((round(23.15, 1), numpy_round(23.15)), (23.1, 23.2));
        assert_eq!((round(0.25, 1), round(24.55, 1)), (0.2, 24.6));
    }

    #[test]
    fn failures_are_told_and_have_no_score() {
        let item = |index: &str| {
            let mut item = crate::plain_text::tests::item("questions", index, "q", "a");
            item.cells.insert("category".into(), "conv".into());
            item
        };
        let items = ["0", "1", "2", "3"].map(item);
        let judged = |judge: &str| Answer { judge: Some(judge.into()), ..Answer::text("x") };
        let answers = [judged("8 4"), judged("eight four"), judged("80 4"), Answer::text("x")];
        let scored = LlavaBench.score(&items, &answers, Rules::Official, PromptStyle::Official);
        assert_eq!(scored.totals["printed"][1], "all 8.0 290.0 23.3");
        assert!(scored.notes[0].starts_with("1 of 4") && scored.notes[1].starts_with("2 of 3"), "{:?}", scored.notes);
        assert!(scored.notes[1].ends_with("50.0"), "{:?}", scored.notes);
        let scores: Vec<_> = scored.verdicts.iter().map(|verdict| verdict.as_ref()?.score(JUDGED)).collect();
        assert_eq!(scores, [Some(0.4), None, None, None]);
        assert_eq!(scored.verdicts[1].as_ref().unwrap().flags, [Flag::JudgeFailed]);
        // Nothing to divide by: no number, and said.
        let zero = LlavaBench.score(&items[..1], &[judged("0 4")], Rules::LmmsEval, PromptStyle::LmmsEval);
        assert!(zero.totals["all"].is_null() && zero.notes[0].contains("missing"), "{:?}", zero.notes);
    }

    #[test]
    fn tables_hold_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let recipe: FileRecipe = toml::from_str("name = \"llava_bench\"\nfile = \"b.tsv\"").unwrap();
        let read = |text: &str, rules| {
            std::fs::write(folder.path().join("b.tsv"), text).unwrap();
            LlavaBench.read(&recipe, folder.path(), rules)
        };
        let head = "index\tquestion\tcaption\tgpt4_ans\tcategory\n";
        let good = format!("{head}7\tWhat?\tA picture.\tNone\tconv\n");
        let item = &read(&good, Rules::Official).unwrap().items[0];
        assert_eq!((item.id.as_str(), item.answer(), item.language), ("b/7", "None", Some(Language::EN)));
        assert!(
            LlavaBench.judge(item, "This.", Rules::Official).unwrap().text.starts_with("[Context]\nA picture.\n\n")
        );
        // pandas takes the answer for a missing value.
        let error = read(&good, Rules::Vlmevalkit).unwrap_err().to_string();
        assert!(error.contains("no answer of GPT-4's") && error.contains("line 2"), "{error}");
        for (text, words) in [
            (good.replace("conv", "chat"), "category \"chat\""),
            (format!("{good}7\tWhy?\tA picture.\tx\tconv\n"), "its index \"7\" is that of"),
            (good.replace("gpt4_ans", "gpt3_ans"), "no column \"gpt4_ans\""),
        ] {
            let error = read(&text, Rules::Official).unwrap_err().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let recipe: FileRecipe = toml::from_str("name = \"llava_bench\"\nfile = \"questions.jsonl\"").unwrap();
        let good = r#"{"question_id": 0, "image": "a.jpg", "text": "What?", "category": "conv"}"#;
        let answer = r#"{"question_id": 0, "text": "This."}"#;
        let context = r#"{"image": "a.jpg", "caption": ["One.", "Two."]}"#;
        let read = |question: &str, answer: &str, context: &str| {
            write("questions.jsonl", question);
            write("answers_gpt4.jsonl", answer);
            write("context.jsonl", context);
            LlavaBench.read(&recipe, folder.path(), Rules::Official)
        };
        for (question, answer, context, words) in [
            ("{}", answer, context, "questions.jsonl, line 1: expected a field `question_id`"),
            ("[1]", answer, context, "expected a JSON object"),
            (&good.replace("conv", "chat"), answer, context, "category \"chat\""),
            (&format!("{good}\n{good}"), answer, context, "line 2: malformed: question \"0\": a second"),
            (good, &answer.replace('0', "7"), context, "no answer in"),
            (good, &format!("{answer}\n{answer}"), context, "answers_gpt4.jsonl, line 2: a second answer"),
            (good, answer, &context.replace("a.jpg", "b.jpg"), "no context of picture \"a.jpg\""),
            (good, answer, r#"{"image": "a.jpg", "caption": 3}"#, "context.jsonl, line 1"),
        ] {
            let error = read(question, answer, context).unwrap_err().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
        let items = read(good, answer, context).unwrap().items;
        let asked = LlavaBench.judge(&items[0], "<think>x</think>That.", Rules::LmmsEval).unwrap();
        assert!(asked.text.contains("[Context]\nOne.\nTwo.\n\n") && asked.text.contains("[Assistant 2]\nThat.\n"));
    }
}

//! Accepted answers in lists, replies as they reach the rules' scorers, and totals by language.

use std::collections::BTreeMap;

use burn_vlm_data::language::Language;
use burn_vlm_data::source::{SkipKind, SkipReason, answer_texts, option_texts};
use serde_json::{Map, Value};

use crate::clean;
use crate::pandas::{is_missing, stored_by_part};
use crate::published::{Answer, Flag, Item, Verdict};
use crate::rules::Rules;
use crate::table::refuse;

/// Makes the accepted answers of the `answer` cell: a list, or one written into the cell.
///
/// # Errors
/// There is no such cell, or it holds no list of texts.
pub fn listed(item: &mut Item) -> Result<(), SkipReason> {
    const NAME: &str = "answer";
    let none = || SkipReason::new(SkipKind::NoAnswer, "no answer");
    let value = item.cells.get(NAME).filter(|value| !value.is_null()).ok_or_else(none)?;
    item.answers = match value {
        Value::String(text) if text.trim_start().starts_with('[') => option_texts(NAME, value)?,
        Value::Array(_) => answer_texts(NAME, value)?,
        other => return Err(refuse(format!("answer is {other}, expected a list of answers"))),
    };
    if item.answers.is_empty() { Err(none()) } else { Ok(()) }
}

/// One accepted answer, which is not blank.
///
/// # Errors
/// There is none.
pub fn one(item: &mut Item) -> Result<(), SkipReason> {
    let blank = item.answer().trim().is_empty();
    if blank { Err(SkipReason::new(SkipKind::NoAnswer, "no answer")) } else { Ok(()) }
}

/// Replies as they reach the scorer of the rules: through VLMEvalKit's files of results, one of each part, cleaned as
/// lmms-eval does, stripped as LLaVA's script does. Where there is none it is the text `nan`, or empty.
pub fn replies(items: &[Item], answers: &[Answer], rules: Rules) -> Vec<String> {
    if rules.uses_pandas() {
        return stored_by_part(items, answers.iter().map(|answer| answer.as_text().map(str::to_owned)).collect());
    }
    let one = |answer: &Answer| {
        let text = answer.as_text().unwrap_or_default();
        match rules {
            Rules::LmmsEval => clean::lmms_eval(text),
            // The script that asks the model strips what it writes down.
            Rules::Llava => text.trim().to_owned(),
            _ => text.to_owned(),
        }
    };
    answers.iter().map(one).collect()
}

/// A verdict with one score, flagged by what became of the reply. `understood` is none where nothing was. What was not
/// answered is worth nothing, whatever an empty text or `nan` would be.
pub fn verdict(answer: &Answer, rules: Rules, understood: Option<String>, score: (&'static str, f64)) -> Verdict {
    let missing = rules.uses_pandas() && answer.as_text().is_some_and(is_missing);
    let invalid = understood.is_none();
    let score = if answer.as_text().is_some() { score } else { (score.0, 0.0) };
    Verdict { understood, scores: vec![score], ..Verdict::default() }
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::ReadAsMissing, missing)
        .flagged(Flag::Invalid, invalid)
}

/// The totals of each language by its tag; of one language alone, or where none is told, the totals themselves.
pub fn by_language<'a>(
    items: &'a [Item],
    verdicts: &'a [Verdict],
    totals: impl Fn(&[(&'a Item, &'a Verdict)]) -> Value,
) -> Value {
    let mut languages: BTreeMap<&str, Vec<(&'a Item, &'a Verdict)>> = BTreeMap::new();
    for (item, verdict) in items.iter().zip(verdicts) {
        languages.entry(item.language.map_or("", Language::tag)).or_default().push((item, verdict));
    }
    match languages.len() {
        0 => totals(&[]),
        1 => languages.into_values().map(|rows| totals(&rows)).next().unwrap_or_default(),
        _ => languages.into_iter().map(|(tag, rows)| (tag.to_owned(), totals(&rows))).collect::<Map<_, _>>().into(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::BenchmarkError;
    use crate::published::{Items, Published};

    /// A picture of one pixel in base64, long enough to be no index.
    pub(crate) const PIXEL: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

    /// Reads a file of this content.
    pub(crate) fn read_text(
        benchmark: &dyn Published,
        rules: Rules,
        name: &str,
        text: &str,
        settings: &str,
    ) -> Result<Items, BenchmarkError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        let file = toml::from_str(&format!("name = \"b\"\nfile = {name:?}\n{settings}")).unwrap();
        benchmark.read(&file, folder.path(), rules)
    }

    /// What is wrong with the file, in words.
    pub(crate) fn wrong(benchmark: &dyn Published, rules: Rules, name: &str, text: &str) -> String {
        read_text(benchmark, rules, name, text, "").unwrap_err().to_string()
    }

    #[test]
    fn lists_of_answers() {
        let list = |value: Value| {
            let mut item = crate::plain_text::tests::item("a", "1", "q", "x");
            item.cells.insert("answer".to_owned(), value);
            listed(&mut item).map(|()| item.answers)
        };
        assert_eq!(list("['a', \"it's\", '']".into()).unwrap(), ["a", "it's", ""]);
        assert_eq!(list(serde_json::json!([{"answer": "a", "answer_id": 1}])).unwrap(), ["a"]);
        for (bad, word) in [(Value::from("a"), "list"), (Value::Null, "no answer"), (Value::Array(vec![]), "no answer")]
        {
            assert!(list(bad).unwrap_err().detail.contains(word), "{word}");
        }
    }

    #[test]
    fn replies_are_typed_by_part() {
        let text = format!("index\timage\tquestion\tanswer\n1\t{PIXEL}\tq\tyes\n2\t{PIXEL}\tq\tyes\n");
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.tsv", "b.tsv"] {
            std::fs::write(folder.path().join(name), &text).unwrap();
        }
        let file = toml::from_str("name = \"b\"\nfile = \"{a,b}.tsv\"").unwrap();
        let items =
            crate::benchmarks::find("gqa").unwrap().read(&file, folder.path(), Rules::Vlmevalkit).unwrap().items;
        // Those of the first file are all numbers, one reply of the second is missing.
        let answers = [Answer::text("007"), Answer::text("1"), Answer::text("007"), Answer::default()];
        assert_eq!(replies(&items, &answers, Rules::Vlmevalkit), ["7", "1", "7", "nan"]);
        let answers = ["007", "x", " 1 ", "None"].map(Answer::text);
        assert_eq!(replies(&items, &answers, Rules::Vlmevalkit), ["007", "x", "1.0", "nan"]);
        assert_eq!(replies(&items, &answers, Rules::LmmsEval), ["007", "x", "1", "None"]);
        assert_eq!(replies(&items, &answers, Rules::Official), ["007", "x", " 1 ", "None"]);
    }
}

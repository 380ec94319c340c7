//! ScienceQA, AI2D, M3Exam, ALM-Bench.

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_eval::file::FileRecipe;
use burn_vlm_eval::{Answer, Item, Items, PromptStyle, Rules, Scored, Verdict, benchmarks};
use serde_json::{Map, Value, json};

use crate::compare::{Case, differences, lines, predictions};

const KIT_PROMPTS: [(PromptStyle, &str); 3] = [
    (PromptStyle::Vlmevalkit, "vlmeval"),
    (PromptStyle::Vlmevalkit, "parrot_vlmeval"),
    (PromptStyle::Parrot, "parrot_model"),
];
const LMMS_PROMPTS: [(PromptStyle, &str); 1] = [(PromptStyle::LmmsEval, "lmms_eval")];

/// Other checks of a case.
type More = fn(&Path, &Items, &Scored) -> Vec<String>;

pub fn cases() -> Vec<(&'static str, Vec<Case>)> {
    // The same rules have to make the same of the other published file.
    let science = |scorer, rules, more| by_row(scorer, &SCIENCE, rules, more);
    let ai2d = |scorer, rules, more| by_row(scorer, &AI2D, rules, more);
    let m3exam = Case {
        prompts: &[(PromptStyle::DeepSpin, "deep_spin")],
        totals: without_our_own,
        ..Case::new("deep_spin", "m3exam", Rules::DeepSpin, "{chinese,english,italian,portuguese}-*.parquet")
    };
    let alm = Case {
        prompts: &[(PromptStyle::DeepSpin, "deep_spin")],
        more: judge_prompts,
        ..Case::new("deep_spin", "alm_bench", Rules::DeepSpin, ALM_FILES)
    };
    vec![
        (
            "scienceqa",
            vec![
                science("vlmeval", Rules::Vlmevalkit, |f, i, s| other_file(&SCIENCE, Rules::Vlmevalkit, (f, i, s))),
                science("parrot_vlmeval", Rules::ParrotVlmevalkit, |f, i, s| {
                    other_file(&SCIENCE, Rules::ParrotVlmevalkit, (f, i, s))
                }),
                science("lmms_eval", Rules::LmmsEval, |f, i, s| other_file(&SCIENCE, Rules::LmmsEval, (f, i, s))),
                science("llava_script", Rules::Llava, |f, i, s| other_file(&SCIENCE, Rules::Llava, (f, i, s))),
            ],
        ),
        (
            "ai2d",
            vec![
                ai2d("vlmeval", Rules::Vlmevalkit, |f, i, s| other_file(&AI2D, Rules::Vlmevalkit, (f, i, s))),
                ai2d("parrot_vlmeval", Rules::ParrotVlmevalkit, |f, i, s| {
                    other_file(&AI2D, Rules::ParrotVlmevalkit, (f, i, s))
                }),
                ai2d("lmms_eval", Rules::LmmsEval, |f, i, s| other_file(&AI2D, Rules::LmmsEval, (f, i, s))),
            ],
        ),
        ("m3exam", vec![m3exam]),
        ("alm_bench", vec![alm]),
    ]
}

/// A benchmark that is published as the kit's table and as Parquet.
struct TwoFiles {
    name: &'static str,
    table: &'static str,
    parquet: &'static str,
}

const SCIENCE: TwoFiles =
    TwoFiles { name: "scienceqa", table: "ScienceQA_TEST.tsv", parquet: "ScienceQA-FULL/*.parquet" };
const AI2D: TwoFiles = TwoFiles { name: "ai2d", table: "AI2D_TEST.tsv", parquet: "test-*.parquet" };
const ALM_FILES: &str = "*.parquet";

impl TwoFiles {
    /// The file that the owner of the rules reads, and the other.
    fn of(&self, rules: Rules) -> (&'static str, &'static str) {
        if rules.uses_pandas() { (self.table, self.parquet) } else { (self.parquet, self.table) }
    }
}

/// Rows are called by their number.
fn by_row(scorer: &'static str, files: &TwoFiles, rules: Rules, more: More) -> Case {
    let case =
        Case { id: |item| item.row.to_string(), more, ..Case::new(scorer, files.name, rules, files.of(rules).0) };
    if !rules.uses_pandas() {
        return Case { prompts: &LMMS_PROMPTS, totals: of_the_only_part, ..case };
    }
    Case { prompts: &KIT_PROMPTS, style: PromptStyle::Vlmevalkit, totals: of_the_table, ..case }
}

fn of_the_only_part(totals: &Value) -> Value {
    totals.as_object().and_then(|parts| parts.values().next()).cloned().unwrap_or_default()
}

/// `{file: {rows, table}}` as `{file: table, file/rows_loaded: rows}`.
fn of_the_table(totals: &Value) -> Value {
    let parts = totals.as_object().into_iter().flatten();
    let pair = |(file, totals): (&String, &Value)| {
        [(format!("{file}/rows_loaded"), totals["rows"].clone()), (file.clone(), totals["table"].clone())]
    };
    Value::Object(parts.flat_map(pair).collect::<Map<_, _>>())
}

/// The reference prints one accuracy, of draws too.
fn without_our_own(totals: &Value) -> Value {
    let mut totals = totals.clone();
    for part in totals.as_object_mut().into_iter().flat_map(Map::values_mut) {
        part.as_object_mut().and_then(|part| part.remove("accuracy_guessed_rows_wrong"));
    }
    totals
}

/// The other published file under the same rules: the same rows, prompts and verdicts.
fn other_file(files: &TwoFiles, rules: Rules, (folder, read, scored): (&Path, &Items, &Scored)) -> Vec<String> {
    let (name, (_, other)) = (files.name, files.of(rules));
    let Some(benchmark) = benchmarks::find(name) else { return vec![format!("no benchmark {name}")] };
    let file: FileRecipe = toml::from_str(&format!("name = {name:?}\nfile = {other:?}")).unwrap();
    let theirs = match benchmark.read(&file, &folder.join("data"), rules) {
        Ok(theirs) => theirs.items,
        Err(error) => return vec![format!("{other}: {error}")],
    };
    let style = if rules.uses_pandas() { PromptStyle::Vlmevalkit } else { PromptStyle::LmmsEval };
    let replies = predictions(folder);
    let answers: Vec<Answer> =
        theirs.iter().map(|item| replies.get(&item.row.to_string()).cloned().unwrap_or_default()).collect();
    let verdicts = benchmark.score(&theirs, &answers, rules, style).verdicts;
    let seen = |item: &Item, verdict: &Option<Verdict>| -> Value {
        json!({ "row": item.row, "prompt": benchmark.question(item, style).text, "verdict": details(verdict) })
    };
    let all = |items: &[Item], verdicts: &[Option<Verdict>]| -> Value {
        items.iter().zip(verdicts).map(|(item, verdict)| seen(item, verdict)).collect()
    };
    let mut wrong = Vec::new();
    differences(other, &all(&theirs, &verdicts), &all(&read.items, &scored.verdicts), &mut wrong);
    wrong
}

fn details(verdict: &Option<Verdict>) -> Value {
    verdict.as_ref().map_or(Value::Null, |verdict| Value::Object(verdict.details.clone()))
}

/// What the judge is asked under the benchmark's own rules about every prediction.
fn judge_prompts(folder: &Path, _read: &Items, _scored: &Scored) -> Vec<String> {
    let Some(benchmark) = benchmarks::find("alm_bench") else { return vec!["no benchmark alm_bench".to_owned()] };
    let file: FileRecipe = toml::from_str(&format!("name = \"alm_bench\"\nfile = {ALM_FILES:?}")).unwrap();
    let read = match benchmark.read(&file, &folder.join("data"), Rules::Official) {
        Ok(read) => read,
        Err(error) => return vec![error.to_string()],
    };
    let replies = predictions(folder);
    let wanted: BTreeMap<String, String> = lines(&folder.join("prompts.jsonl"))
        .into_iter()
        .filter_map(|line| Some((line["id"].as_str()?.to_owned(), line["official_judge"].as_str()?.to_owned())))
        .collect();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for item in &read.items {
        let reply = replies.get(&item.id).and_then(Answer::as_text).unwrap_or_default();
        let found = benchmark.judge(item, reply, Rules::Official).map(|prompt| prompt.text);
        compared += usize::from(found.is_some());
        if found.as_ref() != wanted.get(&item.id) {
            wrong.push(format!("judge {}: {found:?}, expected {:?}", item.id, wanted.get(&item.id)));
        }
    }
    if compared != wanted.len() {
        wrong.push(format!("{compared} prompts for the judge, expected {}", wanted.len()));
    }
    wrong
}

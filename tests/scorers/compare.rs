//! Comparing a folder's verdicts with ours.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn_vlm_eval::file::FileRecipe;
use burn_vlm_eval::{Answer, Item, Items, PromptStyle, Published, Rules, Scored, benchmarks};
use serde_json::{Map, Value};

/// Both sides divide the same whole numbers; the references are written with ten digits.
pub const TEN_DIGITS: f64 = 1e-9;
/// Differences of one folder and rule set that are printed.
const SHOWN: usize = 12;

/// How one scorer of a folder is reproduced.
pub struct Case {
    /// Its name in `expected.json`.
    pub scorer: &'static str,
    /// Our benchmark.
    pub benchmark: &'static str,
    pub rules: Rules,
    /// The files below `data`.
    pub files: &'static str,
    /// Settings of the file beyond name and file, as TOML.
    pub settings: &'static str,
    /// The prompts with their field in `prompts.jsonl`.
    pub prompts: &'static [(PromptStyle, &'static str)],
    /// With which prompts the replies were made.
    pub style: PromptStyle,
    /// The folder's name for an item.
    pub id: fn(&Item) -> String,
    /// Our totals in the form of `scores`.
    pub totals: fn(&Value) -> Value,
    /// Replies, where they are not in `predictions.jsonl`.
    pub replies: fn(&Path, &Items) -> BTreeMap<String, Answer>,
    /// What is compared with our totals of the reference's `scores`.
    pub wanted: fn(&Value) -> Value,
    /// Other checks of the folder: what is wrong.
    pub more: fn(&Path, &Items, &Scored) -> Vec<String>,
}

impl Case {
    /// A case whose replies are in `predictions.jsonl` and whose totals have the reference's form already.
    pub fn new(scorer: &'static str, benchmark: &'static str, rules: Rules, files: &'static str) -> Self {
        Self {
            scorer,
            benchmark,
            rules,
            files,
            settings: "",
            prompts: &[],
            style: PromptStyle::of(rules),
            id: |item| item.id.clone(),
            totals: Value::clone,
            replies: |folder, _| predictions(folder),
            wanted: Value::clone,
            more: |_, _, _| Vec::new(),
        }
    }
}

/// The replies of `predictions.jsonl`.
pub fn predictions(folder: &Path) -> BTreeMap<String, Answer> {
    let line = |line: Value| Some((line["id"].as_str()?.to_owned(), Answer::text(line["prediction"].as_str()?)));
    lines(&folder.join("predictions.jsonl")).into_iter().filter_map(line).collect()
}

/// The lines of a JSONL file; none if it is not there.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A line for each case of each scorer of a folder, and whether it is reproduced.
pub fn check(folder: &Path, name: &str, cases: &[Case]) -> Vec<(String, bool)> {
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let scorers = expected["scorers"].as_object().unwrap();
    let lines = |(scorer, expected): (&String, &Value)| {
        let of_scorer: Vec<&Case> = cases.iter().filter(|case| case.scorer == scorer).collect();
        if of_scorer.is_empty() {
            return vec![(format!("{name} {scorer}: FAILED: no rules of ours stand for it"), false)];
        }
        of_scorer.into_iter().map(|case| case.line(folder, name, expected)).collect()
    };
    scorers.iter().flat_map(lines).collect()
}

impl Case {
    /// What came of the case, in words, and whether it is equal.
    fn line(&self, folder: &Path, name: &str, expected: &Value) -> (String, bool) {
        let Self { scorer, rules, files, .. } = self;
        match self.check(folder, expected) {
            Ok(summary) => (format!("{name} {scorer} ({rules}, {files}): equal: {summary}"), true),
            Err(wrong) => {
                let mut shown = wrong.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n  ");
                if wrong.len() > SHOWN {
                    shown.push_str(&format!("\n  and {} more", wrong.len() - SHOWN));
                }
                (format!("{name} {scorer} ({rules}, {files}): FAILED:\n  {shown}"), false)
            }
        }
    }

    fn check(&self, folder: &Path, expected: &Value) -> Result<String, Vec<String>> {
        let benchmark =
            benchmarks::find(self.benchmark).ok_or_else(|| vec![format!("no benchmark {}", self.benchmark)])?;
        let settings = format!("name = {:?}\nfile = {:?}\n{}", self.benchmark, self.files, self.settings);
        let file: FileRecipe = toml::from_str(&settings).unwrap();
        let read = benchmark.read(&file, &folder.join("data"), self.rules).map_err(|error| vec![error.to_string()])?;
        let mut wrong = Vec::new();
        let prompts = self.prompts(folder, benchmark, &read, &mut wrong);
        let replies = (self.replies)(folder, &read);
        let answers: Vec<Answer> =
            read.items.iter().map(|item| replies.get(&(self.id)(item)).cloned().unwrap_or_default()).collect();
        let scored = benchmark.score(&read.items, &answers, self.rules, self.style);
        let verdicts = self.verdicts(&read, &scored, expected, &mut wrong);
        let wanted = (self.wanted)(&expected["scores"]);
        differences("scores", &(self.totals)(&scored.totals), &wanted, &mut wrong);
        wrong.extend((self.more)(folder, &read, &scored));
        if wrong.is_empty() {
            Ok(format!("{} items, {verdicts} verdicts, {prompts} prompts, totals", read.items.len()))
        } else {
            Err(wrong)
        }
    }

    /// Compares the prompts of every item that the folder has one of; returns how many.
    fn prompts(&self, folder: &Path, benchmark: &dyn Published, read: &Items, wrong: &mut Vec<String>) -> usize {
        let of_folder: BTreeMap<String, Value> = lines(&folder.join("prompts.jsonl"))
            .into_iter()
            .filter_map(|line| Some((line["id"].as_str()?.to_owned(), line)))
            .collect();
        let mut compared = 0;
        for item in &read.items {
            let id = (self.id)(item);
            let Some(line) = of_folder.get(&id) else { continue };
            for (style, field) in self.prompts {
                let Some(wanted) = line[*field].as_str() else { continue };
                let found = benchmark.question(item, *style).text;
                compared += 1;
                if found != wanted {
                    wrong.push(format!("prompt {id} {field}: {found:?}, expected {wanted:?}"));
                }
            }
        }
        for (_, field) in self.prompts {
            if !of_folder.values().any(|line| line[*field].is_string()) {
                wrong.push(format!("prompts.jsonl has no field {field:?}"));
            }
        }
        compared
    }

    /// Compares every field of every verdict; returns how many verdicts.
    fn verdicts(&self, read: &Items, scored: &Scored, expected: &Value, wrong: &mut Vec<String>) -> usize {
        let none = Map::new();
        let expected = expected["items"].as_object().unwrap_or(&none);
        let ours: BTreeMap<String, &Map<String, Value>> = read
            .items
            .iter()
            .zip(&scored.verdicts)
            .filter_map(|(item, verdict)| Some(((self.id)(item), &verdict.as_ref()?.details)))
            .collect();
        if expected.is_empty() {
            return 0;
        }
        let ids: BTreeSet<&String> = ours.keys().chain(expected.keys()).collect();
        for id in &ids {
            match (ours.get(*id), expected.get(*id)) {
                (Some(ours), Some(wanted)) => {
                    let ours = Value::Object((*ours).clone());
                    differences(id, &known_fields(&ours, wanted), wanted, wrong);
                }
                (Some(_), None) => wrong.push(format!("{id}: the reference has no verdict")),
                (None, _) => wrong.push(format!("{id}: no verdict")),
            }
        }
        ids.len()
    }
}

/// Ours without what the reference does not note; what it notes and ours lacks is null.
fn known_fields(ours: &Value, wanted: &Value) -> Value {
    let Some(wanted) = wanted.as_object() else { return ours.clone() };
    wanted.keys().map(|name| (name.clone(), ours[name].clone())).collect::<Map<_, _>>().into()
}

/// Adds every difference between two values, numbers within [`TEN_DIGITS`].
pub fn differences(place: &str, ours: &Value, wanted: &Value, wrong: &mut Vec<String>) {
    match (ours, wanted) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            let close = (a - b).abs() <= TEN_DIGITS * b.abs().max(1.0);
            if !close {
                wrong.push(format!("{place}: {a}, expected {b}"));
            }
        }
        (Value::Object(a), Value::Object(b)) => {
            for name in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                let null = Value::Null;
                let (a, b) = (a.get(name).unwrap_or(&null), b.get(name).unwrap_or(&null));
                differences(&format!("{place}.{name}"), a, b, wrong);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in by_split(a).into_iter().zip(by_split(b)).enumerate() {
                differences(&format!("{place}[{at}]"), a, b, wrong);
            }
        }
        (a, b) if a == b => {}
        (a, b) => wrong.push(format!("{place}: {a}, expected {b}")),
    }
}

/// Rows in the order of their `split`, which the references do not fix.
fn by_split(rows: &[Value]) -> Vec<&Value> {
    let mut rows: Vec<&Value> = rows.iter().collect();
    rows.sort_by_key(|row| row["split"].as_str().map(str::to_owned));
    rows
}

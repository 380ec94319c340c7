//! Multi30K, CoMMuTE and LLaVA-Bench.

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_eval::ask::{Ask, Reply};
use burn_vlm_eval::{Answer, Item, Items, PromptStyle, Rules, Scored, benchmarks};
use serde_json::{Map, Value};

use crate::compare::{Case, lines, predictions};

pub fn cases() -> Vec<(&'static str, Vec<Case>)> {
    let multi30k = Case {
        prompts: &[(PromptStyle::DeepSpin, "deep_spin")],
        style: PromptStyle::DeepSpin,
        id: |item| format!("{}/{}", tag(&item.part), item.index),
        totals: by_tag,
        ..Case::new("sacrebleu", "multi30k", Rules::Official, "test_*")
    };
    let commute = |scorer, rules| Case {
        id: |item| format!("{}/{}", tag(&item.part), item.index),
        totals: by_tag,
        replies: perplexities,
        more: glued,
        ..Case::new(scorer, "commute", rules, "en-*")
    };
    let llava = |scorer, rules, more| Case {
        id: |item| item.index.clone(),
        replies: reviews,
        more,
        ..Case::new(scorer, "llava_bench", rules, "questions.jsonl")
    };
    vec![
        ("multi30k", vec![multi30k]),
        ("commute", vec![commute("deep_spin", Rules::DeepSpin), commute("official", Rules::Official)]),
        (
            "llava_bench",
            vec![
                llava("official", Rules::Official, |folder, items, _| {
                    judge(folder, items, Rules::Official, "official_judge")
                }),
                llava("vlmeval", Rules::Vlmevalkit, |folder, items, _| {
                    judge(folder, items, Rules::Vlmevalkit, "vlmeval_judge")
                }),
                llava("lmms_eval", Rules::LmmsEval, |folder, items, _| {
                    judge(folder, items, Rules::LmmsEval, "lmms_eval_judge")
                }),
            ],
        ),
    ]
}

/// `de` of `test_2016_flickr.de` and of `en-de`.
fn tag(part: &str) -> &str {
    part.rsplit(['.', '-']).next().unwrap_or(part)
}

fn by_tag(totals: &Value) -> Value {
    let totals = totals.as_object().into_iter().flatten();
    totals.map(|(part, total)| (tag(part).to_owned(), total.clone())).collect::<Map<_, _>>().into()
}

/// The perplexities of `predictions/en-xx.{correct,incorrect}.ppl` as log-likelihoods.
fn perplexities(folder: &Path, items: &Items) -> BTreeMap<String, Answer> {
    let read = |part: &str, kind: &str| -> Vec<f64> {
        let text = std::fs::read_to_string(folder.join(format!("predictions/{part}.{kind}.ppl"))).unwrap();
        text.trim().lines().map(|line| -line.trim().parse::<f64>().unwrap().ln()).collect()
    };
    let mut files: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    let mut replies = BTreeMap::new();
    for item in &items.items {
        let (right, wrong) =
            files.entry(&item.part).or_insert_with(|| (read(&item.part, "correct"), read(&item.part, "incorrect")));
        let line: usize = item.index.parse().unwrap();
        let scores = Reply::Scores(vec![right[line], wrong[line]]);
        let id = format!("{}/{}", tag(&item.part), item.index);
        replies.insert(id, Answer { reply: Some(scores), ..Answer::default() });
    }
    replies
}

/// The fork's two prompts of each pair.
fn glued(folder: &Path, items: &Items, _scored: &Scored) -> Vec<String> {
    let prompts = of_folder(folder);
    let mut wrong = Vec::new();
    for item in &items.items {
        let asked = benchmarks::find("commute").unwrap().question(item, PromptStyle::DeepSpin);
        let Ask::Conversation { turns, .. } = asked.ask else { return vec!["no turns".to_owned()] };
        for (kind, turn) in ["correct", "incorrect"].into_iter().zip(turns) {
            let id = format!("{}/{}/{kind}", tag(&item.part), item.index);
            match prompts.get(&id).map(|line| &line["deep_spin"]) {
                Some(wanted) if *wanted == turn.as_str() => {}
                wanted => wrong.push(format!("prompt {id}: {turn:?}, expected {wanted:?}")),
            }
        }
    }
    if prompts.len() != 2 * items.items.len() {
        wrong.push(format!("{} prompts for {} pairs", prompts.len(), items.items.len()));
    }
    wrong
}

/// The replies, with what the judge said of them.
fn reviews(folder: &Path, _items: &Items) -> BTreeMap<String, Answer> {
    let mut replies = predictions(folder);
    for line in lines(&folder.join("data/judge_reviews.jsonl")) {
        let answer = replies.entry(line["id"].as_str().unwrap().to_owned()).or_default();
        answer.judge = line["review"].as_str().map(str::to_owned);
    }
    replies
}

/// What the judge is asked of each reply.
fn judge(folder: &Path, items: &Items, rules: Rules, field: &str) -> Vec<String> {
    let (prompts, replies) = (of_folder(folder), predictions(folder));
    let ask = |item: &Item| {
        let reply = replies.get(&item.index)?.as_text()?.to_owned();
        let asked = benchmarks::find("llava_bench")?.judge(item, &reply, rules)?;
        let wanted = prompts.get(&item.index)?[field].as_str()?.to_owned();
        (asked.text == wanted).then_some(())
    };
    let wrong = items.items.iter().filter(|item| ask(item).is_none());
    wrong.map(|item| format!("judge's prompt {}: not that of {field}", item.index)).collect()
}

fn of_folder(folder: &Path) -> BTreeMap<String, Value> {
    let prompts = lines(&folder.join("prompts.jsonl"));
    prompts.into_iter().filter_map(|line| Some((line["id"].as_str()?.to_owned(), line))).collect()
}

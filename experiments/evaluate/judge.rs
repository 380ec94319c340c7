//! The judge of benchmarks that need one.

use burn_vlm_base::progress::Reporter;
use burn_vlm_eval::JudgePrompt;
use burn_vlm_eval::judge::{Judge, JudgeOptions, KEY_VARIABLE, Key};
use burn_vlm_train::eval::Benchmarks;

use super::EvaluateArgs;
use super::answers::Answers;
use crate::AnyError;

/// The folder of its replies, below the evaluation's.
const CACHE: &str = "judge";

/// Before anything is asked: is there a judge for what needs one?
///
/// # Errors
/// Benchmarks that need a judge, and none.
pub(super) fn check(args: &EvaluateArgs, benchmarks: &Benchmarks) -> Result<(), AnyError> {
    let needs = |name: &&str| {
        let benchmark = benchmarks.iter().find(|benchmark| benchmark.name() == *name);
        benchmark.and_then(|benchmark| benchmark.published()).is_some_and(|published| published.needs_judge())
    };
    let names: Vec<&str> = benchmarks.iter().map(|benchmark| benchmark.name()).filter(needs).collect();
    match args.judge.is_none() && !names.is_empty() {
        true => Err(format!(
            "{} needs a judge: name its endpoint by --judge URL --judge-model NAME (the key in BURN_VLM_JUDGE_KEY), take other \
             --rules, or leave it out by --only",
            names.join(", ")
        )
        .into()),
        false => Ok(()),
    }
}

/// Asks the judge about every reply that needs it.
///
/// # Errors
/// An endpoint that refuses everything.
pub(super) fn judge(
    args: &EvaluateArgs,
    benchmarks: &Benchmarks,
    answers: &mut Answers,
    reporter: &Reporter,
) -> Result<(), AnyError> {
    let (Some(url), Some(model)) = (&args.judge, &args.judge_model) else { return Ok(()) };
    let mut places: Vec<(String, usize)> = Vec::new();
    let mut prompts: Vec<JudgePrompt> = Vec::new();
    for benchmark in benchmarks.iter() {
        let Some(published) = benchmark.published() else { continue };
        for (number, prompt) in published.judge_prompts(answers.of(benchmark.name())).into_iter().enumerate() {
            if let Some(prompt) = prompt {
                places.push((benchmark.name().to_owned(), number));
                prompts.push(prompt);
            }
        }
    }
    if prompts.is_empty() {
        answers.notes.push("--judge: none of the benchmarks has anything to be judged under these rules".to_owned());
        return Ok(());
    }
    let options = JudgeOptions { cache: args.out.as_ref().map(|out| out.join(CACHE)), ..JudgeOptions::new(url, model) };
    let judge = Judge::new(options, Key::from_environment(KEY_VARIABLE)?)?;
    reporter.line(&format!("{model} at {url}: {} replies to judge", prompts.len()));
    let bar = reporter.bar("judge", prompts.len() as u64);
    let judged =
        judge.ask_all(&prompts, &|progress| bar.set_of(progress.done as u64, progress.prompts as u64, "verdicts"))?;
    drop(bar);
    let mut failures: Vec<String> = Vec::new();
    for ((benchmark, number), reply) in places.into_iter().zip(judged.replies) {
        match reply {
            Ok(reply) => {
                if let Some(answer) = answers.of_mut(&benchmark).get_mut(number) {
                    answer.judge = Some(reply);
                }
            }
            Err(why) => failures.push(why),
        }
    }
    answers.notes.push(format!("judged by {model} at {url}"));
    answers.notes.extend(judged.notes);
    if let Some(first) = failures.first() {
        answers.notes.push(format!(
            "the judge failed on {} of {} replies, which have no score (the first: {first}); the same command asks them again",
            failures.len(),
            prompts.len()
        ));
    }
    Ok(())
}

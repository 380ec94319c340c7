//! Mutated inputs of every kind that the programs read: no panic, no abort, no hang, no memory without end, and errors that say where.
//!
//! ```text
//! cargo test --release --workspace --test mutants                                                 # a few hundred, as in CI
//! cargo test --release --workspace --test mutants -- --ignored --nocapture twenty_thousand        # all; the table of docs/testing.md
//! cargo test --release --workspace --test mutants -- --ignored --nocapture by_the_program         # a sample through `burn-vlm`
//! BURN_VLM_MUTANTS_ONLY=tables ...                                                                # one kind
//! ```
//!
//! Inputs are drawn by a seed: the number that a finding names gives the same input again.

#![cfg(target_os = "linux")]

mod kinds;
mod mutate;
mod trial;

use kinds::{KINDS, Kind};
use trial::{Counts, Finding, OUTCOMES, Outcome};

/// The share of all inputs that the usual tests try.
const FEW: u64 = 50;
/// Inputs of a kind that the program tries.
const BY_PROGRAM: u64 = 60;

/// The body of the processes that the tests below start; does nothing when it is run by itself.
#[test]
fn child() {
    trial::child();
}

/// What is bad in the usual tests. In the long ones unclear errors are for reading: the rule knows no list of a hundred weights, and no
/// setting but by its quotes.
const BAD: [Outcome; 5] = [Outcome::Unclear, Outcome::Slow, Outcome::Panic, Outcome::Hang, Outcome::Abort];

fn table(title: &str, bad: &[Outcome], each: impl Fn(&'static Kind) -> (Counts, Vec<Finding>)) {
    let only = std::env::var("BURN_VLM_MUTANTS_ONLY").ok();
    println!("| {title} | inputs |{}", OUTCOMES.map(|outcome| format!(" {outcome:?} |")).concat());
    println!("|---|--:|{}", "--:|".repeat(OUTCOMES.len()));
    let (mut all, mut findings) = (Counts::new(), Vec::new());
    let row = |name: &str, counts: &Counts| {
        let of = |outcome: Outcome| counts.get(&outcome).copied().unwrap_or(0);
        let cells = OUTCOMES.map(|outcome| format!(" {} |", of(outcome))).concat();
        println!("| {name} | {} |{cells}", counts.values().sum::<u64>());
    };
    for kind in KINDS.iter().filter(|kind| only.as_ref().is_none_or(|only| kind.name == only)) {
        let (counts, found) = each(kind);
        if counts.is_empty() {
            continue;
        }
        row(kind.name, &counts);
        counts.into_iter().for_each(|(outcome, count)| *all.entry(outcome).or_default() += count);
        findings.extend(found);
    }
    row("all", &all);
    for Finding { outcome, kind, input, text } in &findings {
        println!("{outcome:?}: {kind} {input}: {text}");
    }
    let count = |outcome: Outcome| all.get(&outcome).copied().unwrap_or(0);
    let inputs = all.values().sum::<u64>();
    assert!(
        inputs < 1000 || 100 * count(Outcome::Unclear) <= inputs,
        "more than one input of a hundred gives an unclear error"
    );
    let bad = |finding: &&Finding| bad.contains(&finding.outcome);
    let bad: Vec<String> = findings
        .iter()
        .filter(bad)
        .map(|it| format!("{:?}: {} {}: {}", it.outcome, it.kind, it.input, it.text))
        .collect();
    assert!(bad.is_empty(), "{} inputs:\n{}", bad.len(), bad.join("\n"));
}

#[test]
fn a_few_hundred_mutants() {
    table("kind", &BAD, |kind| trial::run(kind, kind.inputs.div_ceil(FEW)));
}

#[test]
#[ignore = "minutes"]
fn twenty_thousand_mutants() {
    assert!(KINDS.iter().map(|kind| kind.inputs).sum::<u64>() >= 20_000);
    table("kind", &BAD[1..], |kind| trial::run(kind, kind.inputs));
}

#[test]
#[ignore = "minutes"]
fn mutants_by_the_program() {
    table("kind", &BAD[1..], |kind| trial::by_program(kind, BY_PROGRAM));
}

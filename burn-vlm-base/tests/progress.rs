//! What is shown, and what is suggested.

use std::time::Duration;

use burn_vlm_base::progress::{Reporter, show_duration};
use burn_vlm_base::suggest::{hint, nearest};

#[test]
fn jobs_mark_their_lines() {
    let reporter = Reporter::capture();
    let job = reporter.scoped("a/seed0");
    let bar = job.bar("train", 10);
    bar.set(3, "loss 2.1");
    bar.advance(2);
    assert_eq!(bar.position(), 5);
    drop(bar);
    job.line("step 5");
    job.warn("slow");
    reporter.line("done");
    assert_eq!(reporter.captured(), ["[a/seed0] step 5", "warning: [a/seed0] slow", "done"]);
}

#[test]
fn a_bar_says_of_how_many_and_how_long() {
    let bar = Reporter::capture().scoped("a").bar("mmmb", 0);
    bar.set_of(0, 400, "questions");
    assert!(bar.text().starts_with("[a] mmmb 0/400 0.0 questions/s  ETA "), "{}", bar.text());
    std::thread::sleep(Duration::from_millis(20));
    bar.set_tokens_of(1, 100_000_000, 1000);
    // At least 20 ms for each of the others, and at most 50 of them and 50,000 tokens a second.
    let text = bar.text();
    assert!(text.contains("1/100000000 ") && text.contains("  ETA ") && text.contains('h'), "{text}");
    let rate = |what: &str| -> f64 {
        let words: Vec<&str> = text.split_whitespace().collect();
        let at = words.iter().position(|word| *word == what).unwrap();
        words[at - 1].parse().unwrap()
    };
    assert!(rate("questions/s") <= 50.0 && rate("tok/s") <= 50_000.0 && rate("tok/s") > rate("questions/s"), "{text}");
}

#[test]
fn durations_read_well() {
    let shown = [0.4, 59.0, 123.0, 3900.0].map(|seconds| show_duration(Duration::from_secs_f64(seconds)));
    assert_eq!(shown, ["0s", "59s", "2m 03s", "1h 05m"]);
}

#[test]
fn suggestions_are_near_or_absent() {
    assert_eq!(nearest("stpes", ["batch", "steps", "seed"]), Some("steps"));
    assert_eq!(nearest("TINY", ["smoke", "tiny"]), Some("tiny"));
    assert_eq!(nearest("zzz", ["steps", "batch"]), None);
    assert_eq!(hint("zzz", ["steps", "batch"]), " (valid: steps, batch)");
    assert_eq!(hint("x", []), "; none is allowed here");
}

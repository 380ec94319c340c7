//! Several runs on one folder: shards, claims, merge.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use burn_vlm_base::progress::Reporter;

use super::{echo, plan};
use crate::ablation::{AblationError, Cell, JobError, RunOptions, Shard, StudyResult, run};

fn names(result: &StudyResult<'_>) -> Vec<String> {
    result.cells.iter().map(|finished| finished.cell.name.clone()).collect()
}

#[test]
fn shards_do_their_cells_and_the_last_one_summarises() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan("tiny");
    let reporter = Reporter::capture();
    let mut all = Vec::new();
    for index in [3, 1, 2] {
        let options = RunOptions { shard: Shard::new(index, 3).unwrap(), ..RunOptions::new(folder.path().join("out")) };
        let mut summary = None;
        let outcome = run(&plan, &echo, &options, &reporter, |result| {
            summary = Some(names(result));
            Ok(())
        });
        let outcome = outcome.unwrap();
        assert_eq!(outcome.summarised, index == 2);
        all.extend(outcome.ran);
        if index == 2 {
            let expected: Vec<_> = plan.cells.iter().map(|cell| cell.name.clone()).collect();
            assert_eq!(summary, Some(expected), "in the plan's order, whoever ran them");
        }
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 8);
    let lines = reporter.captured();
    assert!(lines.iter().any(|line| line.contains("6 of the study's cells are not finished")), "{lines:?}");
}

#[test]
fn merge_runs_nothing_and_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan("tiny");
    let reporter = Reporter::capture();
    let mut options = RunOptions::new(folder.path().join("out"));
    options.merge = true;
    let empty = run(&plan, &echo, &options, &reporter, |_| Ok(()));
    assert!(matches!(empty, Err(AblationError::NothingToMerge(_))));
    options.merge = false;
    options.only = vec!["siglip1".into()];
    assert!(!run(&plan, &echo, &options, &reporter, |_| panic!("not yet")).unwrap().summarised);
    options.merge = true;
    options.only = Vec::new();
    let outcome = run(&plan, &echo, &options, &reporter, |result| {
        assert_eq!((result.cells.len(), result.missing.len()), (4, 4));
        Ok(())
    });
    let outcome = outcome.unwrap();
    assert!(outcome.summarised && outcome.ran.is_empty());
    let lines = reporter.captured();
    assert!(lines.last().unwrap().starts_with("warning: the summary is without siglip2/en/seed0"), "{lines:?}");
}

#[test]
fn a_cell_that_another_run_has_is_left_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan("smoke");
    let options = RunOptions::new(folder.path().join("out"));
    let (inner_reporter, quiet) = (Reporter::capture(), Reporter::capture());
    // The job of the first cell starts a second run on the same folder.
    let job = |cell: &Cell, folder: &Path, reporter: &Reporter| -> Result<_, JobError> {
        if cell.name == "siglip1/en/seed0" {
            let inner = run(&plan, &echo, &options, &inner_reporter, |_| panic!("not all are finished"))?;
            assert_eq!(inner.elsewhere, ["siglip1/en/seed0"]);
            assert_eq!(inner.ran.len(), 3);
        }
        echo(cell, folder, reporter)
    };
    let outcome = run(&plan, &job, &options, &quiet, |_| Ok(())).unwrap();
    assert_eq!(outcome.ran, ["siglip1/en/seed0"]);
    assert!(outcome.summarised);
    let lines = inner_reporter.captured();
    assert!(lines[0].starts_with("siglip1/en/seed0 is being run by this process: left to it"), "{lines:?}");
    assert!(lines.contains(&"running elsewhere: siglip1/en/seed0".to_owned()), "{lines:?}");
    assert!(quiet.captured().contains(&"siglip2/en/seed0 was finished by another run".to_owned()));
}

#[test]
fn threads_on_one_folder_run_each_cell_once() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan("tiny");
    let (runs, summaries) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let job = |cell: &Cell, folder: &Path, reporter: &Reporter| {
        runs.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        echo(cell, folder, reporter)
    };
    std::thread::scope(|scope| {
        for jobs in 1..=4 {
            let options = RunOptions { jobs, ..RunOptions::new(folder.path().join("out")) };
            let (plan, job, summaries) = (&plan, &job, &summaries);
            scope.spawn(move || {
                let summarise = |_: &StudyResult<'_>| {
                    summaries.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                };
                run(plan, job, &options, &Reporter::capture(), summarise).unwrap();
            });
        }
    });
    assert_eq!(runs.into_inner(), 8);
    assert!(summaries.into_inner() >= 1, "whoever ends last writes the summary");
}

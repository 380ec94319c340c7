//! Running: what is skipped, refused, isolated, summarised.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use burn_vlm_base::progress::Reporter;

use super::{STUDY, echo, plan, study};
use crate::ablation::{
    AblationError, Cell, CellJob, CellState, Inputs, JobError, Outcome, PatchRules, Plan, RunOptions, StudyResult, run,
    status,
};

/// Runs with a summary that lists the results.
fn go(
    plan: &Plan,
    job: &dyn CellJob,
    options: &RunOptions,
) -> (Result<Outcome, AblationError>, Option<String>, Vec<String>) {
    let reporter = Reporter::capture();
    let mut summary = None;
    let outcome = run(plan, job, options, &reporter, |result: &StudyResult<'_>| {
        let lines = result.cells.iter().map(|finished| finished.done.result.to_string());
        summary = Some(lines.collect::<Vec<_>>().join("\n"));
        Ok(())
    });
    (outcome, summary, reporter.captured())
}

fn out() -> (tempfile::TempDir, RunOptions) {
    let folder = tempfile::tempdir().unwrap();
    let options = RunOptions::new(folder.path().join("out"));
    (folder, options)
}

#[test]
fn runs_all_then_skips_all() {
    let (_folder, options) = out();
    let plan = plan("tiny");
    let (first, summary, lines) = go(&plan, &echo, &options);
    let first = first.unwrap();
    assert_eq!(first.ran.len(), 8);
    assert!(first.summarised && first.missing.is_empty() && first.skipped.is_empty());
    assert!(lines.iter().any(|line| line.starts_with("cell 8/8 finished: siglip2/en_multi/seed1")), "{lines:?}");
    let never = |_: &Cell, _: &Path, _: &Reporter| -> Result<serde_json::Value, JobError> { panic!("it is finished") };
    let (second, again, lines) = go(&plan, &never, &options);
    let second = second.unwrap();
    assert_eq!((second.ran.len(), second.skipped.len()), (0, 8));
    assert_eq!(summary, again, "the summary is written anew");
    assert_eq!(lines[0], "8 of 8 cells are finished already");
}

#[test]
fn the_result_does_not_depend_on_jobs() {
    let plan = plan("tiny");
    let summaries: Vec<_> = [1, 2, 3, 20]
        .map(|jobs| {
            let (_folder, mut options) = out();
            (options.jobs, options.threads) = (jobs, 4);
            go(&plan, &echo, &options).1
        })
        .into();
    assert!(summaries[0].is_some() && summaries.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn cells_share_the_threads() {
    let plan = plan("tiny");
    for (jobs, threads, expected) in [(1, 4, 4), (2, 4, 2), (4, 2, 1), (3, 8, 2)] {
        let (_folder, mut options) = out();
        (options.jobs, options.threads) = (jobs, threads);
        let seen = Mutex::new(Vec::new());
        let job = |_: &Cell, _: &Path, _: &Reporter| -> Result<serde_json::Value, JobError> {
            seen.lock().unwrap().push(rayon::current_num_threads());
            Ok(().into())
        };
        go(&plan, &job, &options).0.unwrap();
        assert_eq!(seen.into_inner().unwrap(), [expected; 8]);
    }
}

#[test]
fn failures_and_panics_are_isolated() {
    let (_folder, options) = out();
    let plan = plan("tiny");
    let job = |cell: &Cell, folder: &Path, reporter: &Reporter| match cell.name.as_str() {
        "siglip1/en/seed0" => Err("loss is NaN at step 3".into()),
        "siglip2/en/seed1" => panic!("index {} out of range", 7),
        _ => echo(cell, folder, reporter),
    };
    let (outcome, summary, lines) = go(&plan, &job, &options);
    let error = outcome.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, AblationError::CellsFailed(failures) if failures.len() == 2));
    assert!(text.starts_with("2 of the study's cells failed"), "{text}");
    assert!(text.contains("\n  siglip1/en/seed0: loss is NaN at step 3\n"), "{text}");
    assert!(text.ends_with("\n  siglip2/en/seed1: panicked: index 7 out of range"), "{text}");
    assert_eq!(summary, None);
    assert!(lines.iter().any(|line| line.starts_with("warning: siglip1/en/seed0 failed, the others go on")));
    let (outcome, summary, _) = go(&plan, &echo, &options);
    assert_eq!(outcome.unwrap().ran, ["siglip1/en/seed0", "siglip2/en/seed1"], "only these are retried");
    assert!(summary.is_some());
}

#[test]
fn another_recipe_is_refused_and_nothing_is_touched() {
    let (_folder, options) = out();
    go(&plan("tiny"), &echo, &options).0.unwrap();
    let changed = study(&STUDY.replace("steps = 100", "steps = 101"));
    let changed = changed.plan("tiny", None, &PatchRules::new()).unwrap();
    let (outcome, summary, _) = go(&changed, &echo, &options);
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("siglip1/en/seed0 in ") && error.contains("cells/siglip1/en/seed0"), "{error}");
    assert!(error.contains("recipe.stage[0].steps: 100 there, 101 now"), "{error}");
    assert!(error.contains("--out"), "{error}");
    assert_eq!(summary, None);
    // One cell's folder is deleted and only that cell is run: allowed, but there is no summary of two recipes.
    fs::remove_dir_all(options.out.join("cells/siglip1/en/seed0")).unwrap();
    let only = RunOptions { only: vec!["siglip1/en/seed0".into()], ..options };
    let (outcome, summary, lines) = go(&changed, &echo, &only);
    assert_eq!(outcome.unwrap().missing.len(), 7);
    assert_eq!(summary, None);
    assert!(lines.iter().any(|line| line.contains("holds another recipe")), "{lines:?}");
}

#[test]
fn other_studies_presets_and_folders_are_refused() {
    let (folder, options) = out();
    go(&plan("tiny"), &echo, &options).0.unwrap();
    let error = go(&plan("smoke"), &echo, &options).0.unwrap_err().to_string();
    assert!(error.contains("holds study `encoder`, preset `tiny`; this is study `encoder`, preset `smoke`"), "{error}");
    let other = study(&STUDY.replacen("name = \"encoder\"", "name = \"other\"", 1));
    let other = other.plan("tiny", None, &PatchRules::new()).unwrap();
    assert!(go(&other, &echo, &options).0.unwrap_err().to_string().contains("this is study `other`"));
    fs::create_dir(folder.path().join("home")).unwrap();
    fs::write(folder.path().join("home/thesis.tex"), "").unwrap();
    let home = RunOptions::new(folder.path().join("home"));
    let error = go(&plan("tiny"), &echo, &home).0.unwrap_err().to_string();
    assert!(error.contains("is not empty and has no experiment.json") && error.contains("thesis.tex"), "{error}");
    assert_eq!(fs::read_dir(folder.path().join("home")).unwrap().count(), 1);
}

/// A job that depends on a file with this content, and fails while the file is damaged.
struct WithInput(&'static str);

impl CellJob for WithInput {
    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self, _: &Cell) -> Result<Inputs, JobError> {
        Ok(Inputs::from([("part".to_owned(), self.0.to_owned())]))
    }

    fn run(&self, _: &Cell, folder: &Path, _: &Reporter) -> Result<serde_json::Value, JobError> {
        if self.0 == "damaged" {
            return Err("the part is damaged".into());
        }
        fs::write(folder.join("model"), "")?;
        Ok(serde_json::json!(self.0))
    }
}

#[test]
fn a_cell_that_failed_with_nothing_made_takes_the_repaired_input() {
    let (_folder, options) = out();
    let plan = plan("tiny");
    assert!(go(&plan, &WithInput("damaged"), &options).0.is_err());
    let (repaired, summary, _) = go(&plan, &WithInput("whole"), &options);
    assert_eq!(repaired.unwrap().ran.len(), 8);
    assert!(summary.unwrap().contains("whole"));
    // What has results is protected.
    let error = go(&plan, &WithInput("other"), &options).0.unwrap_err().to_string();
    assert!(error.contains("results of another recipe"), "{error}");
}

#[test]
fn a_status_writes_nothing() {
    let (_folder, mut options) = out();
    options.only = vec!["siglip1".into()];
    let before = status(&plan("tiny"), &echo, &options).unwrap();
    assert!(!options.out.exists());
    assert_eq!(before.iter().filter(|status| status.selected).count(), 4);
    assert!(before.iter().all(|status| status.state == CellState::New));
    go(&plan("tiny"), &echo, &options).0.unwrap();
    let after = status(&plan("tiny"), &echo, &options).unwrap();
    assert_eq!(after.iter().filter(|status| status.state.is_done()).count(), 4);
    assert_eq!(after[0].fingerprint.hash.len(), 64);
}

#[test]
fn what_a_kill_leaves_is_no_obstacle() {
    let (_folder, options) = out();
    let plan = plan("tiny");
    go(&plan, &echo, &options).0.unwrap();
    let cell = |name: &str| options.out.join("cells").join(name);
    // A done.json that a failing disk left half written, a temporary file, a cell that was only started.
    fs::write(cell("siglip1/en/seed0").join("done.json"), "{\"cell\": \"sig").unwrap();
    fs::write(cell("siglip1/en/seed0").join(".tmp-done.json-x7"), "{").unwrap();
    fs::remove_file(cell("siglip2/en/seed0").join("done.json")).unwrap();
    fs::write(cell("siglip2/en/seed0").join("checkpoint"), "").unwrap();
    fs::remove_dir_all(cell("siglip2/en/seed1")).unwrap();
    fs::create_dir(cell("siglip2/en/seed1")).unwrap();
    fs::write(cell("siglip2/en/seed1").join(".tmp-cell.toml-x7"), "").unwrap();
    let (outcome, summary, _) = go(&plan, &echo, &options);
    assert_eq!(outcome.unwrap().ran, ["siglip1/en/seed0", "siglip2/en/seed0", "siglip2/en/seed1"]);
    assert!(summary.is_some());
    assert!(!cell("siglip1/en/seed0").join(".tmp-done.json-x7").exists());
    assert!(cell("siglip2/en/seed0").join("checkpoint").exists(), "the job's files are its own");
}

/// One changed score would be another summary without a word.
#[test]
fn a_finished_cell_that_was_changed_is_refused() {
    let (_folder, options) = out();
    let plan = plan("tiny");
    let job = WithInput("whole");
    go(&plan, &job, &options).0.unwrap();
    let cell = options.out.join("cells/siglip1/en/seed0");
    let refused = |why: &str| {
        let (outcome, summary, _) = go(&plan, &job, &options);
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("siglip1/en/seed0: ") && error.contains(why), "{error}");
        assert!(error.contains("delete the folders") && error.contains("seal.json"), "{error}");
        assert_eq!(summary, None);
    };
    let done = fs::read_to_string(cell.join("done.json")).unwrap();
    fs::write(cell.join("done.json"), done.replace("whole", "white")).unwrap();
    refused("done.json is not what was written");
    fs::write(cell.join("done.json"), &done).unwrap();
    fs::write(cell.join("model"), "1").unwrap();
    refused("model has 1 bytes and should have 0");
    fs::remove_file(cell.join("model")).unwrap();
    refused("model is missing");
    // Others may still be run; the summary waits.
    let only = RunOptions { only: vec!["siglip2".into()], ..RunOptions::new(&options.out) };
    let (outcome, summary, lines) = go(&plan, &job, &only);
    assert_eq!((outcome.unwrap().missing.len(), summary), (1, None));
    assert!(lines.iter().any(|line| line.contains("model is missing")), "{lines:?}");
    // Removed on purpose.
    fs::remove_file(cell.join("seal.json")).unwrap();
    assert_eq!(go(&plan, &job, &options).0.unwrap().skipped.len(), 8);
}

#[test]
fn an_unknown_cell_folder_is_refused() {
    let (_folder, options) = out();
    let plan = plan("tiny");
    go(&plan, &echo, &options).0.unwrap();
    let cell = options.out.join("cells/siglip1/en/seed0");
    fs::remove_file(cell.join("cell.toml")).unwrap();
    let error = go(&plan, &echo, &options).0.unwrap_err().to_string();
    assert!(error.contains("has no cell.toml"), "{error}");
    fs::write(cell.join("cell.toml"), "hash = ").unwrap();
    let error = go(&plan, &echo, &options).0.unwrap_err().to_string();
    assert!(error.contains("cell.toml:1:") && error.contains("delete that cell's folder"), "{error}");
}

#[test]
fn unusual_values_survive_in_cell_toml() {
    let (_folder, options) = out();
    let text = STUDY
        .replace("batch = 64", "batch = 64\nclip = inf\nlr = 0.1\nday = 2026-01-02\nnested = [[1, 2], [{ a = 1 }]]");
    let plan = study(&text).plan("tiny", None, &PatchRules::new()).unwrap();
    go(&plan, &echo, &options).0.unwrap();
    assert_eq!(go(&plan, &echo, &options).0.unwrap().skipped.len(), 8);
    let changed = study(&text.replace("lr = 0.1", "lr = 0.2")).plan("tiny", None, &PatchRules::new()).unwrap();
    let error = go(&changed, &echo, &options).0.unwrap_err().to_string();
    assert_eq!(error.matches("there,").count(), 8, "one difference a cell: {error}");
}

struct WithCorpus(&'static str);

impl CellJob for WithCorpus {
    fn inputs(&self, _cell: &Cell) -> Result<Inputs, JobError> {
        match self.0 {
            "" => Err("corpus.parquet is truncated".into()),
            hash => Ok([("corpus".to_owned(), hash.to_owned())].into()),
        }
    }

    fn run(&self, cell: &Cell, folder: &Path, reporter: &Reporter) -> Result<serde_json::Value, JobError> {
        echo(cell, folder, reporter)
    }
}

#[test]
fn inputs_count() {
    let (_folder, options) = out();
    let plan = plan("smoke");
    go(&plan, &WithCorpus("1"), &options).0.unwrap();
    let error = go(&plan, &WithCorpus("2"), &options).0.unwrap_err().to_string();
    assert!(error.contains("input `corpus`: its content is another one"), "{error}");
    let error = go(&plan, &WithCorpus(""), &options).0.unwrap_err().to_string();
    assert_eq!(error, "cell siglip1/en/seed0: corpus.parquet is truncated");
}

#[test]
fn more_seeds_continue_a_study() {
    let (_folder, options) = out();
    let with = |seeds| study(STUDY).plan("tiny", Some(seeds), &PatchRules::new()).unwrap();
    go(&with(1), &echo, &options).0.unwrap();
    let outcome = go(&with(3), &echo, &options).0.unwrap();
    assert_eq!((outcome.skipped.len(), outcome.ran.len()), (4, 8));
}

#[test]
fn summary_failures_are_told_and_can_be_retried() {
    let (_folder, options) = out();
    let plan = plan("smoke");
    let reporter = Reporter::capture();
    let error = run(&plan, &echo, &options, &reporter, |_| Err("no font".into())).unwrap_err();
    assert!(error.to_string().ends_with("no font"), "{error}");
    let error = run(&plan, &echo, &options, &reporter, |_| panic!("plot")).unwrap_err();
    assert!(error.to_string().ends_with("panicked: plot"), "{error}");
    assert!(run(&plan, &echo, &options, &reporter, |_| Ok(())).unwrap().summarised);
    let none = RunOptions { jobs: 0, ..options };
    assert!(matches!(run(&plan, &echo, &none, &reporter, |_| Ok(())), Err(AblationError::NoJobs)));
}

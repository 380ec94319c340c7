//! Real processes: killed with SIGKILL at random moments and run again, and several on one folder.
//!
//! A child is this test program itself, running only the (otherwise ignored) test `child`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use burn_vlm_base::files::{read_json_if_there, write_json_atomic};
use burn_vlm_base::jsonl::JsonlWriter;
use burn_vlm_base::progress::Reporter;
use rand::Rng;
use serde_json::{Value, json};

use super::plan;
use crate::ablation::{Cell, JobError, PartStore, RunOptions, StudyResult, hash_table, run};

/// Steps of a cell's pretended training.
const STEPS: u64 = 12;
/// Kills of one study; with about 200 ms a study they hit start, parts, cells and end alike.
const KILLS: usize = 25;
const OUT: &str = "ABLATION_TEST_OUT";

/// Trains a number by mixing, with a log and a checkpoint each third step, on top of a shared part.
fn job(out: &Path, cell: &Cell, folder: &Path, reporter: &Reporter) -> Result<Value, JobError> {
    let store = PartStore::new(out.join("parts"));
    let encoder = cell.recipe["encoder"].as_table().ok_or("no encoder")?;
    let part = store.get_or_make(&hash_table(encoder), "encoder", reporter, |making| {
        let weights = steps(&making.work(), 1, b"encoder")?;
        fs::write(making.folder().join("weights"), weights)?;
        Ok(())
    })?;
    let weights = fs::read_to_string(part.join("weights"))?;
    let state = steps(folder, cell.seed, format!("{weights}{}", cell.setting).as_bytes())?;
    Ok(json!({ "cell": cell.name, "state": state, "weights": weights }))
}

fn steps(folder: &Path, seed: u64, start: &[u8]) -> Result<String, JobError> {
    let file = folder.join("checkpoint.json");
    let checkpoint: Option<(u64, String)> = read_json_if_there(&file)?;
    let (done, mut state) = checkpoint.unwrap_or_else(|| (0, blake3::hash(start).to_hex().to_string()));
    let mut log =
        JsonlWriter::resume(&folder.join("log.jsonl"), |record: &Value| record["step"].as_u64() < Some(done))?;
    for step in done..STEPS {
        state = blake3::hash(format!("{state} {seed} {step}").as_bytes()).to_hex().to_string();
        log.append(&json!({ "step": step, "state": state }))?;
        std::thread::sleep(Duration::from_millis(1));
        if step % 3 == 2 {
            log.sync()?;
            write_json_atomic(&file, &(step + 1, &state))?;
        }
    }
    Ok(state)
}

fn summarise(out: &Path, result: &StudyResult<'_>) -> Result<(), JobError> {
    let cells: Vec<&Value> = result.cells.iter().map(|finished| &finished.done.result).collect();
    Ok(write_json_atomic(&out.join("summary.json"), &cells)?)
}

#[test]
#[ignore = "the process that the other tests start and kill"]
fn child() {
    let Some(out) = std::env::var_os(OUT).map(PathBuf::from) else { return };
    let options = RunOptions { jobs: 2, threads: 2, ..RunOptions::new(&out) };
    let job = |cell: &Cell, folder: &Path, reporter: &Reporter| {
        // Nobody else may be in this folder.
        let mine = folder.join(format!("in-{}", std::process::id()));
        fs::write(&mine, "")?;
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let other = name.strip_prefix("in-").and_then(|id| id.parse::<u32>().ok());
            if other.is_some_and(|other| other != std::process::id() && is_running(other)) {
                return Err(format!("{} is also run by process {name}", cell.name).into());
            }
        }
        let result = job(&out, cell, folder, reporter);
        fs::remove_file(mine)?;
        result
    };
    run(&plan("tiny"), &job, &options, &Reporter::plain(), |result| summarise(&out, result)).unwrap();
}

/// Whether a process runs; one that was killed and not yet waited for has no command line left.
fn is_running(id: u32) -> bool {
    fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn start(out: &Path) -> Child {
    let module = module_path!().split_once("::").unwrap().1;
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::child"), "--ignored", "--nocapture"])
        .env(OUT, out)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

fn finish(out: &Path) {
    assert!(start(out).wait().unwrap().success());
}

/// Everything that must not depend on interruptions: the summary and all logs.
fn content(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("summary".to_owned(), fs::read(out.join("summary.json")).unwrap())];
    for cell in plan("tiny").cells {
        let log = out.join("cells").join(&cell.name).join("log.jsonl");
        files.push((cell.name, fs::read(log).unwrap()));
    }
    files
}

fn reference(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let out = folder.join("reference");
    finish(&out);
    content(&out)
}

fn temporary_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(temporary_files(&path));
        } else if name.starts_with(".tmp-") {
            found.push(path);
        }
    }
    found
}

#[test]
fn killed_at_random_moments_it_ends_with_the_same_results() {
    let folder = tempfile::tempdir().unwrap();
    let reference = reference(folder.path());
    let mut random = rand::rng();
    let mut interrupted = 0;
    for attempt in 0..3 {
        let out = folder.path().join(format!("killed{attempt}"));
        for _ in 0..KILLS {
            let mut child = start(&out);
            std::thread::sleep(Duration::from_millis(random.random_range(0..60)));
            child.kill().unwrap();
            interrupted += usize::from(!child.wait().unwrap().success());
        }
        finish(&out);
        assert_eq!(content(&out), reference);
        assert_eq!(temporary_files(&out.join("cells")), Vec::<PathBuf>::new());
        assert_eq!(fs::read_dir(out.join("parts")).unwrap().count(), 3, "two parts and the locks");
    }
    assert!(interrupted > 10, "only {interrupted} runs were killed before their end");
}

#[test]
fn processes_on_one_folder_share_the_work_even_if_some_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    let reference = reference(folder.path());
    for attempt in 0..3 {
        let out = folder.path().join(format!("shared{attempt}"));
        let mut children: Vec<Child> = (0..4).map(|_| start(&out)).collect();
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(5..40)));
        let mut victim = children.pop().unwrap();
        victim.kill().unwrap();
        victim.wait().unwrap();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        finish(&out);
        assert_eq!(content(&out), reference);
    }
}

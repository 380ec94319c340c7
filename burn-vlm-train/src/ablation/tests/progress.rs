//! What is shown, and where results come from.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::ablation::{Commit, Provenance, Reporter, hint, nearest, show_duration};

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

#[test]
fn provenance_names_the_code_and_no_path() {
    let mut provenance = Provenance::collect(Path::new(env!("CARGO_MANIFEST_DIR")), &[("burn", "0.22.1")]);
    provenance.finish();
    assert_eq!(provenance.crates["burn"], "0.22.1");
    assert!(!provenance.command[0].contains('/'));
    assert!(provenance.started <= provenance.finished && provenance.started.ends_with('Z'));
    assert!(provenance.cores >= 1 && !provenance.cpu.is_empty());
    let text = serde_json::to_string(&provenance).unwrap();
    assert_eq!(serde_json::from_str::<Provenance>(&text).unwrap(), provenance);
    provenance.command = ["x", "--only", "a/b", "it's"].map(str::to_owned).into();
    assert_eq!(provenance.command_text(), r"x --only a/b 'it'\''s'");
}

#[test]
fn the_commit_is_found_with_and_without_git() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = Commit::of(folder.path());
    assert_eq!((unknown.hash.as_str(), unknown.dirty), ("unknown", None));
    // A repository that is good enough to be read by hand, not by git.
    let git = folder.path().join(".git");
    std::fs::create_dir_all(git.join("refs/heads")).unwrap();
    std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    std::fs::write(git.join("packed-refs"), "# pack-refs\nabc refs/heads/other\n0123 refs/heads/main\n").unwrap();
    assert_eq!(Commit::of(folder.path()).hash, "0123");
    std::fs::write(git.join("refs/heads/main"), "4567\n").unwrap();
    assert_eq!(Commit::of(folder.path()).hash, "4567");
    std::fs::remove_dir_all(&git).unwrap();

    let run = |args: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        let mut git = Command::new("git");
        git.arg("-C").arg(folder.path()).args(identity).args(args).output()
    };
    if run(&["init"]).is_err() {
        return; // No git here.
    }
    std::fs::write(folder.path().join("x"), "1").unwrap();
    run(&["add", "x"]).unwrap();
    run(&["commit", "-m", "x"]).unwrap();
    let clean = Commit::of(folder.path());
    assert_eq!((clean.hash.len(), clean.dirty), (40, Some(false)));
    std::fs::write(folder.path().join("x"), "2").unwrap();
    assert_eq!(Commit::of(folder.path()).dirty, Some(true));
}

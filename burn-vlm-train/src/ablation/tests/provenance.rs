//! Where results come from.

use std::path::Path;
use std::process::Command;

use crate::ablation::{Commit, Provenance};

#[test]
fn provenance_names_the_code_and_no_path() {
    let mut provenance = Provenance::collect(Path::new(env!("CARGO_MANIFEST_DIR")), &[("burn", "0.22.1")]);
    provenance.finish();
    assert_eq!(provenance.crates["burn"], "0.22.1");
    assert!(!provenance.command[0].contains('/'));
    assert!(provenance.started <= provenance.finished && provenance.started.ends_with('Z'));
    assert!(provenance.cores >= 1 && !provenance.cpu.is_empty());
    let device = provenance.device_text("flex");
    assert!(!provenance.vectors.is_empty() && device.contains(&provenance.vectors), "{device}");
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

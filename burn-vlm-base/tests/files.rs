//! Atomic files and JSON lines.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use burn_vlm_base::files::{
    FileError, publish_dir, read_json, read_regular, write_atomic, write_atomic_at, write_atomic_with,
    write_json_atomic,
};
use burn_vlm_base::jsonl::{JsonlWriter, read_jsonl};

#[test]
fn writes_whole_files_and_makes_folders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/c.json");
    write_json_atomic(&path, &json!({ "x": 1 })).unwrap();
    write_json_atomic(&path, &json!({ "x": 2 })).unwrap();
    assert_eq!(read_json::<Value>(&path).unwrap(), json!({ "x": 2 }));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    write_atomic(&path, b"old").unwrap();
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = write_atomic_with(&path, |_| Err(full())).unwrap_err().to_string();
    assert!(error.contains("/x (the disk is full"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_another_writer_fails_at_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    write_atomic(&path, b"old").unwrap();
    let result = write_atomic_at(&path, |temp| {
        fs::write(temp, "half").unwrap();
        Err(FileError::io("write", &path)(std::io::ErrorKind::StorageFull.into()))
    });
    assert!(result.is_err());
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    write_atomic_at(&path, |temp| fs::write(temp, "new").map_err(FileError::io("write", temp))).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[cfg(unix)]
#[test]
fn shared_folders_stay_readable() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    write_atomic(&path, b"").unwrap();
    fs::write(folder.path().join("y"), b"").unwrap();
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("x"), mode("y"), "as any other file of this user");
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    assert!(read_json::<Value>(&path).unwrap_err().to_string().contains("x.json"));
    fs::write(&path, "{").unwrap();
    assert!(read_json::<Value>(&path).unwrap_err().to_string().contains("x.json is not valid: EOF"));
    fs::write(folder.path().join("file"), "").unwrap();
    let below = write_atomic(&folder.path().join("file/below"), b"").unwrap_err();
    assert!(below.to_string().contains("file"), "{below}");
}

#[test]
fn a_folder_is_published_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (temp, target) = (folder.path().join("temp"), folder.path().join("target"));
    write_atomic(&temp.join("sub/x"), b"1").unwrap();
    publish_dir(&temp, &target).unwrap();
    assert_eq!(fs::read(target.join("sub/x")).unwrap(), b"1");
    assert!(!temp.exists());
    write_atomic(&temp.join("y"), b"2").unwrap();
    assert!(publish_dir(&temp, &target).is_err(), "a folder in place is not replaced");
    assert!(target.join("sub/x").exists() && temp.join("y").exists());
}

#[test]
fn torn_lines_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs/x.jsonl");
    let mut log = JsonlWriter::append_to(&path).unwrap();
    for step in 0..3 {
        log.append(&json!({ "step": step })).unwrap();
    }
    log.sync().unwrap();
    let whole = fs::read(&path).unwrap();
    // Every way in which the last line can be torn, also in front of its newline.
    for cut in 22..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(read_jsonl::<Value>(&path).unwrap().len(), 2, "{cut}");
        let mut log = JsonlWriter::append_to(&path).unwrap();
        assert_eq!(log.records(), 2);
        log.append(&json!({ "step": 2 })).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole, "{cut}");
    }
    // A power cut may leave zeros.
    fs::write(&path, [&whole[..22], &[0; 9], b"\n"].concat()).unwrap();
    assert_eq!(JsonlWriter::append_to(&path).unwrap().records(), 2);
}

#[test]
fn a_resumed_log_ends_at_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let mut log = JsonlWriter::append_to(&path).unwrap();
    (0..9).for_each(|step| log.append(&json!({ "step": step })).unwrap());
    drop(log);
    let mut log = JsonlWriter::resume(&path, |record: &Value| record["step"].as_u64() <= Some(4)).unwrap();
    log.append(&json!({ "step": 5 })).unwrap();
    let steps: Vec<u64> = read_jsonl::<Value>(&path).unwrap().iter().filter_map(|r| r["step"].as_u64()).collect();
    assert_eq!(steps, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn damage_in_the_middle_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    fs::write(&path, "{}\n{\n{}\n").unwrap();
    let error = JsonlWriter::append_to(&path).unwrap_err().to_string();
    assert!(error.contains("x.jsonl, line 2, is not valid"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n{\n{}\n", "nothing is cut off");
}

/// Devices and pipes are not opened, folders and large files are told.
#[cfg(unix)]
#[test]
fn only_regular_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("five"), "12345").unwrap();
    assert_eq!(read_regular(&at("five"), 5).unwrap(), b"12345");
    let refused = |path: &Path, most: u64| read_regular(path, most).unwrap_err();
    // The cause is the error's source, as for every other file.
    let why = |path: &Path, most: u64| std::error::Error::source(&refused(path, most)).unwrap().to_string();
    assert!(why(&at("five"), 4).contains("5 bytes, at most 4"));
    let kind = |path: &Path| match refused(path, 4) {
        FileError::Io { source, .. } => source.kind(),
        other => panic!("{other}"),
    };
    assert_eq!(kind(&at("five")), std::io::ErrorKind::FileTooLarge);
    assert_eq!(kind(folder.path()), std::io::ErrorKind::InvalidInput);
    assert!(why(folder.path(), 4).contains("folder"));
    assert!(why(Path::new("/dev/zero"), 4).contains("device"));
    std::os::unix::fs::symlink("/dev/zero", at("link")).unwrap();
    assert!(why(&at("link"), 4).contains("device"));
    assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    assert!(why(&at("pipe"), 4).contains("pipe"));
    assert!(refused(&at("nowhere"), 4).to_string().contains("nowhere"));
}

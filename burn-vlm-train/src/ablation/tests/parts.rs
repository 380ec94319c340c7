//! Shared parts: made once, whole or not at all.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use burn_vlm_base::progress::Reporter;

use crate::ablation::{Making, PartStore};

const KEY: &str = "0123456789abcdef0123";

fn store() -> (tempfile::TempDir, PartStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = PartStore::new(folder.path().join("parts"));
    (folder, store)
}

fn write(making: &Making, text: &str) {
    fs::create_dir(making.folder().join("sub")).unwrap();
    fs::write(making.folder().join("sub/weights"), text).unwrap();
}

#[test]
fn is_made_once_and_found_again() {
    let (_folder, store) = store();
    let reporter = Reporter::capture();
    assert!(!store.has(KEY, "enc"));
    for _ in 0..2 {
        let path = store
            .get_or_make(KEY, "enc", &reporter, |making| {
                assert!(!store.has(KEY, "enc"), "it is made once");
                write(making, "1");
                Ok(())
            })
            .unwrap();
        assert_eq!(path, store.path(KEY, "enc"));
        assert_eq!(fs::read_to_string(path.join("sub/weights")).unwrap(), "1");
    }
    assert!(store.has(KEY, "enc"));
    assert_eq!(left_behind(store.path(KEY, "enc").parent().unwrap()), 0);
}

fn left_behind(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(".making")).count()
}

#[test]
fn threads_that_need_the_same_part_wait_for_its_maker() {
    let (_folder, store) = store();
    let reporter = Reporter::capture();
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let path = store.get_or_make(KEY, "enc", &reporter, |making| {
                    made.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(60));
                    write(making, "1");
                    Ok(())
                });
                assert_eq!(fs::read_to_string(path.unwrap().join("sub/weights")).unwrap(), "1");
            });
        }
    });
    assert_eq!(made.into_inner(), 1);
    let lines = reporter.captured();
    assert!(!lines.is_empty() && lines[0].contains("part `enc` is being made by"), "{lines:?}");
}

#[test]
fn different_parts_do_not_wait_for_each_other() {
    let (_folder, store) = store();
    let reporter = Reporter::capture();
    let outer = store.get_or_make(KEY, "enc", &reporter, |making| {
        store.get_or_make(KEY, "text", &reporter, |_| Ok(()))?;
        write(making, "1");
        Ok(())
    });
    assert!(outer.is_ok());
}

#[test]
fn a_killed_makers_work_is_found_and_its_part_is_not() {
    let (_folder, store) = store();
    let reporter = Reporter::capture();
    let failed = store.get_or_make(KEY, "enc", &reporter, |making| {
        fs::write(making.folder().join("half"), "").unwrap();
        fs::write(making.work().join("checkpoint"), "7").unwrap();
        Err("out of luck".into())
    });
    let error = failed.unwrap_err().to_string();
    assert_eq!(error, "making part `enc` failed: out of luck");
    let path = store.get_or_make(KEY, "enc", &reporter, |making| {
        assert!(!making.folder().join("half").exists());
        assert_eq!(fs::read_to_string(making.work().join("checkpoint")).unwrap(), "7");
        write(making, "1");
        Ok(())
    });
    let path = path.unwrap();
    assert!(!path.join("half").exists() && !path.join("checkpoint").exists());
    assert_eq!(left_behind(path.parent().unwrap()), 0);
}

#[test]
fn what_a_maker_left_that_was_killed_after_publishing_is_removed() {
    let (_folder, store) = store();
    let reporter = Reporter::capture();
    let make = |making: &Making| {
        write(making, "1");
        Ok(())
    };
    let path = store.get_or_make(KEY, "enc", &reporter, make).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    fs::create_dir_all(path.with_file_name(format!(".making-{name}")).join("work")).unwrap();
    store.get_or_make(KEY, "enc", &reporter, |_| panic!("it is there")).unwrap();
    assert_eq!(left_behind(path.parent().unwrap()), 0);
}

#[test]
fn a_panic_releases_the_lock() {
    let (_folder, store) = store();
    let reporter = Reporter::capture();
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = store.get_or_make(KEY, "enc", &reporter, |_| panic!("oh"));
    }));
    assert!(panics.is_err());
    assert!(store.get_or_make(KEY, "enc", &reporter, |_| Ok(())).is_ok());
}

#[test]
fn without_locks_the_first_to_finish_counts() {
    let (_folder, store) = store();
    let reporter = Reporter::capture();
    let path = store.get_or_make(KEY, "enc", &reporter, |making| {
        // Another process, which knows nothing of our lock, puts the same part into place while we make it.
        let other = PartStore::new(making.work().join("other"));
        let made = other.get_or_make(KEY, "enc", &reporter, |making| {
            write(making, "theirs");
            Ok(())
        });
        fs::rename(made?, store.path(KEY, "enc"))?;
        write(making, "ours");
        Ok(())
    });
    let path = path.unwrap();
    assert_eq!(fs::read_to_string(path.join("sub/weights")).unwrap(), "theirs");
    assert_eq!(left_behind(path.parent().unwrap()), 0);
}

#[test]
fn damage_is_found() {
    let (_folder, store) = store();
    let reporter = Reporter::capture();
    let get = || {
        store.get_or_make(KEY, "enc", &reporter, |making| {
            write(making, "12345");
            Ok(())
        })
    };
    let path = get().unwrap();
    fs::write(path.join("sub/weights"), "123").unwrap();
    let error = get().unwrap_err().to_string();
    assert!(error.contains("sub/weights has 3 bytes and should have 5; delete that folder"), "{error}");
    fs::write(path.join("sub/weights"), "12344").unwrap();
    let error = get().unwrap_err().to_string();
    assert!(error.contains("sub/weights is not what was written") && error.contains("delete that folder"), "{error}");
    fs::remove_file(path.join("sub/weights")).unwrap();
    assert!(get().unwrap_err().to_string().contains("sub/weights is missing"));
    fs::remove_file(path.join("part.json")).unwrap();
    assert!(get().unwrap_err().to_string().contains("part.json is missing"));
    fs::remove_dir_all(&path).unwrap();
    assert!(get().is_ok());
}

#[test]
fn names_and_keys_are_checked() {
    let (_folder, store) = store();
    let reporter = Reporter::capture();
    for (key, name, why) in [(KEY, "a/b", "only ASCII"), ("12", "a", "16"), ("../../../../../../x", "a", "hexadecimal")]
    {
        let error = store.get_or_make(key, name, &reporter, |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

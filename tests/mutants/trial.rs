//! One kind's inputs, one after the other, in a process of its own: what became of each, also of the one that ended the process.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use burn_vlm_base::random::{hash_bytes, mix};
use burn_vlm_base::shorten::shorten_lines;

use crate::kinds::{KINDS, Kind, Subject, copy_folder};
use crate::mutate::Mutator;

/// The child's kind, first input, one past its last, and file of results.
pub const CHILD: &str = "BURN_VLM_MUTANTS";
/// Longer than this is slow. Most take milliseconds; the dry run of a Parrot study, unchanged, takes seven seconds of processor time, and
/// other programs may have the machine.
const SLOW: Duration = Duration::from_secs(30);
/// Longer than this is a hang: the child ends itself.
const HANG: u64 = 120;
const HUNG: i32 = 97;
/// Address space of the child and of the program, in KiB: the corpus and its tables are a tenth of it.
const MEMORY: u64 = 6 << 20;
/// The longest message that a person reads: of TOML the line, a pointer below it, and the value again, each cut at 1,000 characters.
const LONGEST: usize = 3500;
/// Seed of all mutations.
const SEED: u64 = 13;

/// What became of an input.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// Used as if nothing were: the change left it valid.
    Fine,
    /// One error that names the file.
    Error,
    /// An error that names neither the file nor a key of it, or does not end.
    Unclear,
    Slow,
    Panic,
    Hang,
    /// The process ended: out of memory, out of stack.
    Abort,
}

pub const OUTCOMES: [Outcome; 7] =
    [Outcome::Fine, Outcome::Error, Outcome::Unclear, Outcome::Slow, Outcome::Panic, Outcome::Hang, Outcome::Abort];

pub type Counts = BTreeMap<Outcome, u64>;

/// A result that is no good one, for people.
pub struct Finding {
    pub outcome: Outcome,
    pub kind: &'static str,
    pub input: u64,
    pub text: String,
}

fn outcome_of(name: &str) -> Outcome {
    *OUTCOMES.iter().find(|outcome| format!("{outcome:?}") == name).unwrap()
}

fn kind_of(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).unwrap()
}

/// Draws the input of a number: which of the valid ones, which file, and what is done to it.
fn change(kind: &Kind, subjects: &[Subject], input: u64) -> (usize, PathBuf, Vec<u8>) {
    let mut mutator = Mutator::new(mix(mix(SEED, hash_bytes(kind.name.as_bytes())), input));
    let number = mutator.random.below(subjects.len());
    let subject = &subjects[number];
    let file = subject.folder.join(&subject.files[mutator.random.below(subject.files.len())]);
    let bytes = fs::read(&file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let changed = mutator.mutate(&name, &bytes);
    (number, file, changed)
}

/// Changes a file, does something, and puts the file back.
fn with_changed<T>(subject: &Subject, file: &Path, changed: &[u8], action: impl FnOnce() -> T) -> T {
    let before = tempfile::tempdir().unwrap();
    let kept = fs::read(file).unwrap();
    if subject.written {
        copy_folder(&subject.folder, before.path());
    }
    fs::write(file, changed).unwrap();
    let result = action();
    if subject.written {
        fs::remove_dir_all(&subject.folder).unwrap();
        copy_folder(before.path(), &subject.folder);
    } else {
        fs::write(file, kept).unwrap();
    }
    result
}

/// Whether an error says where it is: the file, what stands in its place, or a key, which is quoted.
fn is_clear(error: &str, file: &Path) -> bool {
    let name = file.file_name().unwrap().to_string_lossy();
    let folder = file.parent().unwrap().display().to_string();
    // As the program prints it.
    let error = shorten_lines(error);
    error.chars().count() <= LONGEST
        && (error.contains(&*name) || error.contains(&folder) || error.contains(['`', '[']))
}

/// The body of a child; returns whether this process is one.
pub fn child() -> bool {
    let Ok(task) = std::env::var(CHILD) else { return false };
    let [kind, begin, end, results]: [&str; 4] = task.split('|').collect::<Vec<_>>().try_into().unwrap();
    let (kind, begin, end) = (kind_of(kind), begin.parse::<u64>().unwrap(), end.parse::<u64>().unwrap());
    static PANICKED: Mutex<String> = Mutex::new(String::new());
    static BEGAN: AtomicU64 = AtomicU64::new(u64::MAX);
    let clock = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let subjects = (kind.make)(folder.path());
    for subject in &subjects {
        let file = subject.folder.join(&subject.files[0]);
        let whole = fs::read(&file).unwrap();
        let result = with_changed(subject, &file, &whole, || (subject.each)(subject, &file));
        let refused = subject.folder.ends_with("gguf") || subject.folder.ends_with("adapter");
        assert_eq!(result.is_err(), refused, "{}: unchanged: {result:?}", subject.folder.display());
    }
    std::panic::set_hook(Box::new(|info| {
        *PANICKED.lock().unwrap() = info.to_string();
    }));
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let began = BEGAN.load(Ordering::SeqCst);
            if began != u64::MAX && clock.elapsed().as_secs() > began.saturating_add(HANG) {
                std::process::exit(HUNG);
            }
        }
    });
    let mut results = fs::OpenOptions::new().append(true).open(results).unwrap();
    for input in begin..end {
        let (number, file, changed) = change(kind, &subjects, input);
        let subject = &subjects[number];
        let place = file.strip_prefix(folder.path()).unwrap().display().to_string();
        // What is told of a process that does not come back.
        writeln!(results, "{input}\tAbort\t{place}").unwrap();
        BEGAN.store(clock.elapsed().as_secs(), Ordering::SeqCst);
        let (result, took) = with_changed(subject, &file, &changed, || {
            let began = Instant::now();
            (catch_unwind(AssertUnwindSafe(|| (subject.each)(subject, &file))), began.elapsed())
        });
        BEGAN.store(u64::MAX, Ordering::SeqCst);
        let (outcome, text) = match result {
            Err(_) => (Outcome::Panic, PANICKED.lock().unwrap().clone()),
            Ok(result) if took > SLOW => (Outcome::Slow, format!("{took:?} {result:?}")),
            Ok(Ok(())) => (Outcome::Fine, String::new()),
            Ok(Err(error)) if is_clear(&error, &file) => (Outcome::Error, error),
            Ok(Err(error)) => (Outcome::Unclear, error),
        };
        let text: String = text.replace(['\n', '\t'], " ").chars().take(400).collect();
        writeln!(results, "{input}\t{outcome:?}\t{place}: {text}").unwrap();
    }
    true
}

/// Runs a command with a limit on its memory.
fn limited(program: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"")]).arg(program).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// The inputs of a kind up to a number, in children: one that ends early is followed by another.
pub fn run(kind: &'static Kind, inputs: u64) -> (Counts, Vec<Finding>) {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    fs::write(&results, "").unwrap();
    let (mut counts, mut findings, mut begin) = (Counts::new(), Vec::new(), 0);
    while begin < inputs {
        let arguments = ["--exact", "child", "--nocapture"].map(str::to_owned);
        let task = format!("{}|{begin}|{inputs}|{}", kind.name, results.display());
        let output = limited(&std::env::current_exe().unwrap(), &arguments)
            .env(CHILD, task)
            .env("RAYON_NUM_THREADS", "2")
            .stdout(Stdio::null())
            .output()
            .unwrap();
        let text = fs::read_to_string(&results).unwrap();
        let last = text.lines().last().map(|line| line.split('\t').collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            break;
        }
        let Some([input, "Abort", place]) = last.as_deref() else {
            panic!("{}: the child failed outside of an input: {said}", kind.name);
        };
        let outcome = if output.status.code() == Some(HUNG) { Outcome::Hang } else { Outcome::Abort };
        let tail: String = said.lines().rev().take(3).collect::<Vec<_>>().join(" ");
        begin = input.parse::<u64>().unwrap() + 1;
        let line = format!("{input}\t{outcome:?}\t{place}: {} {tail}\n", output.status);
        fs::write(&results, text + &line).unwrap();
    }
    let text = fs::read_to_string(&results).unwrap();
    let last: BTreeMap<u64, &str> =
        text.lines().map(|line| (line.split('\t').next().unwrap().parse().unwrap(), line)).collect();
    for (input, line) in last {
        let parts: Vec<&str> = line.splitn(3, '\t').collect();
        let outcome = outcome_of(parts[1]);
        *counts.entry(outcome).or_default() += 1;
        if std::env::var_os("BURN_VLM_MUTANTS_SHOW").is_some() || !matches!(outcome, Outcome::Fine | Outcome::Error) {
            findings.push(Finding { outcome, kind: kind.name, input, text: parts[2].to_owned() });
        }
    }
    assert_eq!(counts.values().sum::<u64>(), inputs, "{}", kind.name);
    (counts, findings)
}

/// A few inputs by the program itself: it ends by itself, and an error is one.
pub fn by_program(kind: &'static Kind, inputs: u64) -> (Counts, Vec<Finding>) {
    let folder = tempfile::tempdir().unwrap();
    let subjects: Vec<Subject> = (kind.make)(folder.path()).into_iter().filter(|of| of.command.is_some()).collect();
    let (mut counts, mut findings) = (Counts::new(), Vec::new());
    let program = PathBuf::from(env!("CARGO_BIN_EXE_burn-vlm"));
    for input in 0..if subjects.is_empty() { 0 } else { inputs } {
        let (number, file, changed) = change(kind, &subjects, input);
        let subject = &subjects[number];
        let arguments = (subject.command.unwrap())(subject, &file);
        let (output, took) = with_changed(subject, &file, &changed, || {
            let began = Instant::now();
            let mut child = limited(&program, &arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            while child.try_wait().unwrap().is_none() && began.elapsed().as_secs() < HANG {
                std::thread::sleep(Duration::from_millis(5));
            }
            let hung = child.try_wait().unwrap().is_none();
            if hung {
                child.kill().unwrap();
            }
            let output = child.wait_with_output().unwrap();
            ((!hung).then_some(output), began.elapsed())
        });
        let (outcome, text) = match output {
            None => (Outcome::Hang, String::new()),
            Some(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let errors = said.lines().filter(|line| line.starts_with("error: ")).count();
                match output.status.code() {
                    _ if said.contains("panicked at") => (Outcome::Panic, said),
                    None => (Outcome::Abort, format!("{}: {said}", output.status)),
                    Some(_) if took > SLOW => (Outcome::Slow, format!("{took:?} {said}")),
                    Some(0) => (Outcome::Fine, said),
                    Some(_) if errors == 1 && is_clear(&said, &file) => (Outcome::Error, said),
                    Some(code) => (Outcome::Unclear, format!("{code}: {said}")),
                }
            }
        };
        *counts.entry(outcome).or_default() += 1;
        if !matches!(outcome, Outcome::Fine | Outcome::Error) {
            let place = file.strip_prefix(folder.path()).unwrap().display();
            let text: String = format!("{place}: {text}").replace('\n', " ").chars().take(600).collect();
            findings.push(Finding { outcome, kind: kind.name, input, text });
        }
    }
    (counts, findings)
}

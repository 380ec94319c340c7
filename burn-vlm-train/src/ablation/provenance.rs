//! Where a result comes from: command, code, machine, times. No host or user name is recorded.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use burn_vlm::nn::vectors::Vectors;
use serde::{Deserialize, Serialize};

/// What made a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The command line; of the program's path only the file name.
    pub command: Vec<String>,
    /// The code's git commit.
    pub commit: Commit,
    /// The processor's model, `unknown` if the system does not say.
    pub cpu: String,
    /// The vector instructions that are used: sums in another width differ in their last digits, and so may scores. `AVX2 of AVX-512`
    /// where fewer than the processor has were asked for (`burn_vlm::nn::vectors`).
    #[serde(default)]
    pub vectors: String,
    /// Threads that the machine offers.
    pub cores: usize,
    /// Operating system and architecture, such as `linux x86_64`.
    pub system: String,
    /// Whether our code was built with optimisations and without assertions.
    pub release_build: bool,
    /// Versions of the crates that compute.
    pub crates: BTreeMap<String, String>,
    /// When the program started, UTC.
    pub started: String,
    /// When the result was written, UTC; empty until [`finish`](Self::finish).
    pub finished: String,
}

/// A state of the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The commit's hash, `unknown` outside a repository.
    pub hash: String,
    /// Whether tracked files differ from it; `None` if that cannot be told.
    pub dirty: Option<bool>,
}

impl Provenance {
    /// The provenance of this process. `source` is a folder of the code's repository; `crates` are names and versions
    /// beside this crate's own. The commit is the one of the first call: a working copy may change while a program runs many studies.
    pub fn collect(source: &Path, crates: &[(&str, &str)]) -> Self {
        static COMMIT: OnceLock<Commit> = OnceLock::new();
        let own = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        let crates = crates.iter().copied().chain([own]);
        Self {
            command: command_line(std::env::args_os().map(|arg| arg.to_string_lossy().into_owned())),
            commit: COMMIT.get_or_init(|| Commit::of(source)).clone(),
            cpu: cpu_model().unwrap_or_else(|| "unknown".to_owned()),
            vectors: vectors(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            release_build: !cfg!(debug_assertions),
            crates: crates.map(|(name, version)| (name.to_owned(), version.to_owned())).collect(),
            started: now(),
            finished: String::new(),
        }
    }

    /// Sets the time at which the result is written.
    pub fn finish(&mut self) {
        self.finished = now();
    }

    /// The command line as it would be typed.
    pub fn command_text(&self) -> String {
        let quoted: Vec<String> = self.command.iter().map(|arg| quote(arg)).collect();
        quoted.join(" ")
    }

    /// Where it was computed: the device's name, the processor, its vector instructions and its cores.
    pub fn device_text(&self, device: &str) -> String {
        format!("{device}; {}, {}, {} cores", self.cpu, self.vectors, self.cores)
    }
}

impl Commit {
    /// The commit that is checked out in `folder` or above it.
    pub fn of(folder: &Path) -> Self {
        let hash = git(folder, &["rev-parse", "HEAD"]).or_else(|| head_by_hand(folder));
        let dirty = git(folder, &["status", "--porcelain", "--untracked-files=no"]);
        Self {
            dirty: hash.as_ref().and(dirty.map(|changes| !changes.is_empty())),
            hash: hash.unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

impl std::fmt::Display for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dirty = if self.dirty == Some(true) { " with changes" } else { "" };
        write!(f, "{}{dirty}", self.hash)
    }
}

/// The time now, UTC, to the second.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Arguments as they would be typed: what lies in cargo's folder of examples is run through cargo, and of any other program's
/// path only the file name is kept.
fn command_line(args: impl Iterator<Item = String>) -> Vec<String> {
    let mut args = args;
    let Some(program) = args.next() else { return Vec::new() };
    let path = Path::new(&program);
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folders: Vec<_> = path.ancestors().skip(1).take(2).filter_map(Path::file_name).collect();
    let mut command: Vec<String> = match folders.iter().map(|name| name.to_str()).collect::<Vec<_>>().as_slice() {
        [Some("examples"), Some("release")] => ["cargo", "run", "--release", "--example"].map(str::to_owned).to_vec(),
        [Some("examples"), Some("debug")] => ["cargo", "run", "--example"].map(str::to_owned).to_vec(),
        _ => Vec::new(),
    };
    let by_cargo = !command.is_empty();
    command.push(name);
    let mut rest = args.peekable();
    if by_cargo && rest.peek().is_some() {
        command.push("--".to_owned());
    }
    command.extend(rest);
    command
}

fn quote(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    match !arg.is_empty() && arg.chars().all(plain) {
        true => arg.to_owned(),
        false => format!("'{}'", arg.replace('\'', r"'\''")),
    }
}

/// The output of a git command, `None` if there is no git or no repository.
fn git(folder: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The commit that `.git` names, where there is no git program (in a container, say).
fn head_by_hand(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let git = folder.ancestors().map(|dir| dir.join(".git")).find(|git| git.is_dir())?;
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let head = read(&git.join("HEAD"))?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else {
        return Some(head.trim().to_owned());
    };
    if let Some(hash) = read(&git.join(reference)) {
        return Some(hash.trim().to_owned());
    }
    let packed = read(&git.join("packed-refs"))?;
    packed.lines().find_map(|line| line.strip_suffix(reference)?.strip_suffix(' ')).map(str::to_owned)
}

/// What the kernels use, and what the processor has where that is more: Burn's own products use it.
fn vectors() -> String {
    let (used, has) = (Vectors::used(), Vectors::of_processor());
    if used == has { used.to_string() } else { format!("{used} of {has}") }
}

fn cpu_model() -> Option<String> {
    if cfg!(target_os = "macos") {
        let output = Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]).output().ok()?;
        return Some(String::from_utf8(output.stdout).ok()?.trim().to_owned());
    }
    if cfg!(windows) {
        return std::env::var("PROCESSOR_IDENTIFIER").ok();
    }
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    info.lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map(|(_, model)| model.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::command_line;

    #[test]
    fn commands_are_as_typed() {
        let typed = |args: &[&str]| command_line(args.iter().map(|arg| (*arg).to_owned())).join(" ");
        let example = "target/release/examples/ablate_encoder";
        assert_eq!(typed(&[example]), "cargo run --release --example ablate_encoder");
        assert_eq!(typed(&[example, "--seeds", "2"]), "cargo run --release --example ablate_encoder -- --seeds 2");
        assert_eq!(typed(&["/a/debug/examples/ablate_encoder"]), "cargo run --example ablate_encoder");
        assert_eq!(typed(&["/usr/bin/ablate_encoder", "-q"]), "ablate_encoder -q");
    }
}

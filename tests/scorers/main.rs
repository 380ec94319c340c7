//! Published benchmarks item by item against the references' own verdicts: prompts, what is understood of each reply, verdicts and
//! totals, for every folder of `tests/fixtures/eval` and of the parents named in `BURN_VLM_EVAL_FIXTURES` (separated as in `PATH`),
//! and every rule set that the folder has. One line is printed for each folder and rule set.
//!
//! Folders: `data/` (published files), `predictions.jsonl`, `prompts.jsonl`, `expected.json` with `scorers.<name>.{scores, items}`.

mod answers;
mod choice;
mod compare;
mod exams;
mod translation;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compare::{Case, check};

/// The folders that are known, by name.
fn cases() -> Vec<(&'static str, Vec<Case>)> {
    [choice::cases(), exams::cases(), answers::cases(), translation::cases()].into_iter().flatten().collect()
}

fn main() -> ExitCode {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().take(2).map(|root| root.join("tests/fixtures/eval"));
    let own = own.into_iter().find(|folder| folder.is_dir());
    let more = std::env::var_os("BURN_VLM_EVAL_FIXTURES").unwrap_or_default();
    let parents: Vec<PathBuf> =
        own.into_iter().chain(std::env::split_paths(&more).filter(|p| !p.as_os_str().is_empty())).collect();
    let filter: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let known = cases();
    let (mut checked, mut failed) = (0, 0);
    for parent in &parents {
        let mut folders: Vec<PathBuf> = match std::fs::read_dir(parent) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect(),
            Err(error) => {
                println!("{}: {error}", parent.display());
                failed += 1;
                continue;
            }
        };
        folders.sort();
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !filter.is_empty() && !filter.iter().any(|wanted| name.contains(wanted.as_str())) {
                continue;
            }
            let Some((_, cases)) = known.iter().find(|(known, _)| *known == name) else {
                println!("{name}: FAILED: no benchmark reads this folder");
                failed += 1;
                continue;
            };
            for (line, passed) in check(&folder, &name, cases) {
                checked += 1;
                failed += usize::from(!passed);
                println!("{line}");
            }
        }
    }
    println!("{checked} checked, {failed} failed");
    if failed > 0 || (checked == 0 && filter.is_empty()) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

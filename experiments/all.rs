//! `burn-vlm study --all`, or several names: built-in studies, one after the other, and a page over all of them.

use std::io::Write;
use std::path::{Path, PathBuf};

use burn_vlm::connector::Connector;
use burn_vlm::vision::VisionEncoder;
use burn_vlm_base::files::write_atomic;
use burn_vlm_base::stop;
use burn_vlm_train::ablation::{AblationError, NO_PRESET, PatchRules, Plan, chain, finished_cells};
use burn_vlm_train::report::{Card, CardPaper, IndexEntry, Progress, index_html, index_markdown};
use burn_vlm_train::run::estimate::time;

use crate::args::StudyArgs;
use crate::study::{AnyError, Together, parse, perform};
use crate::{BuiltIn, STUDIES};

/// Runs or continues studies, each into a folder of its own below `--out`, and writes `index.html` and `index.md` there after each. One
/// that fails does not stop the others.
///
/// # Errors
/// Studies that failed, all of them; a page that cannot be written.
pub(crate) fn run_together(studies: &[BuiltIn], args: &StudyArgs) -> Result<(), AnyError> {
    let root = args.out.clone().unwrap_or_else(|| {
        let usual = || parse(&STUDIES[0]).map_or(NO_PRESET.to_owned(), |study| study.usual_preset().to_owned());
        PathBuf::from("runs/all").join(args.preset.clone().unwrap_or_else(usual))
    });
    let mut failures: Vec<(&BuiltIn, String)> = Vec::new();
    let mut left = 0.0;
    let mut together = Together::of(studies, &root, args);
    for study in studies {
        if stop::asked() {
            break;
        }
        if args.dry_run {
            writeln!(std::io::stdout(), "{}:", study.file)?;
        }
        let own = StudyArgs { out: Some(root.join(study.file)), ..args.clone() };
        match perform::<VisionEncoder, Connector>(study, &own, Some(&mut together), |job| job) {
            Ok(performed) => left += performed.left,
            // What is merged is what is there.
            Err(error) if nothing_to_merge(&error) => {}
            // A reader that has gone away is no failure of the study, and the end of all.
            Err(error) if error.downcast_ref().is_some_and(crate::is_broken_pipe) => return Err(error),
            Err(error) => {
                let why = chain(&*error);
                if args.dry_run {
                    writeln!(std::io::stdout(), "cannot be run: {why}")?;
                }
                failures.push((study, why));
            }
        }
        match args.dry_run {
            true => writeln!(std::io::stdout())?,
            false => write_index(&root, args, studies, &failures)?,
        }
    }
    if !args.dry_run {
        together.remove_stages()?;
    }
    if args.dry_run {
        writeln!(std::io::stdout(), "all studies: about {} to do", time(left))?;
    } else {
        writeln!(std::io::stdout(), "wrote {} (open index.html)", root.display())?;
    }
    if failures.is_empty() {
        return Ok(());
    }
    let lines: String = failures.iter().map(|(study, why)| format!("\n{}: {why}", study.file)).collect();
    Err(format!("{} of {} studies failed (the others are kept):{lines}", failures.len(), studies.len()).into())
}

fn nothing_to_merge(error: &AnyError) -> bool {
    matches!(error.downcast_ref(), Some(AblationError::NothingToMerge(_)))
}

/// The page over these studies and those of which there is something, whoever made it.
fn write_index(
    root: &Path,
    args: &StudyArgs,
    studies: &[BuiltIn],
    failures: &[(&BuiltIn, String)],
) -> Result<(), AnyError> {
    let mut about = String::new();
    let mut preset = args.preset.clone().unwrap_or_default();
    let mut entries = Vec::with_capacity(STUDIES.len());
    let shown = |built_in: &&BuiltIn| {
        studies.iter().any(|study| study.file == built_in.file) || root.join(built_in.file).is_dir()
    };
    for built_in in STUDIES.iter().filter(shown) {
        let study = parse(built_in)?;
        let failure = failures.iter().find(|(failed, _)| failed.file == built_in.file).map(|(_, why)| why.clone());
        let chosen = args.preset.as_deref().unwrap_or(study.usual_preset());
        // Without such a preset there is nothing to count, and the failure says so.
        let plan = study.plan(chosen, args.seeds.map(|seeds| seeds as u64), &PatchRules::new()).ok();
        let folder = root.join(built_in.file);
        let card = Card::read(&folder)?.filter(|_| failure.is_none());
        let paper = study.papers.first();
        entries.push(IndexEntry {
            name: built_in.file.to_owned(),
            title: study.title.clone(),
            question: study.description.clone(),
            paper: paper.map(|paper| CardPaper { source: paper.source.clone(), note: paper.note.clone() }),
            progress: match failure {
                Some(why) => Progress::Failed(why),
                None => progress(plan.as_ref(), &folder, card.is_some()),
            },
            card,
        });
        if about.is_empty() {
            about = study.presets.get(chosen).map(|preset| preset.description.clone()).unwrap_or_default();
            preset = chosen.to_owned();
        }
    }
    write_atomic(&root.join("index.md"), index_markdown(&preset, &about, &entries).as_bytes())?;
    write_atomic(&root.join("index.html"), index_html(&preset, &about, &entries).as_bytes())?;
    Ok(())
}

fn progress(plan: Option<&Plan>, folder: &Path, has_report: bool) -> Progress {
    let (done, all) = plan.map_or((0, 0), |plan| (finished_cells(plan, folder), plan.cells.len()));
    match done {
        0 if !folder.join("cells").is_dir() => Progress::NotBegun,
        done if done == all && has_report => Progress::Finished,
        done => Progress::Cells(done, all),
    }
}

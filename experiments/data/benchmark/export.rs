//! The benchmark as people decided it, with every vote.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use burn_vlm_base::files::write_atomic;
use burn_vlm_base::jsonl::write_jsonl_atomic;
use burn_vlm_data::language::Language;
use burn_vlm_eval::build::calibrate::decide::By;
use burn_vlm_eval::build::calibrate::task::name;
use burn_vlm_eval::build::calibrate::{Decision, RULE, Records, Task, decide};
use burn_vlm_eval::build::folder::{self, Folder};
use burn_vlm_eval::build::translations::Translation;
use burn_vlm_eval::build::{Edition, EditionFile};
use clap::Parser;

use super::build;
use crate::AnyError;
use crate::data::{DataArgs, run_data};

/// Writes the calibrated benchmark: what was decided takes the place of the machine's translation, in this language.
pub(super) fn export(
    (built, edition): (Folder, &Edition),
    task: &Task,
    records: &Records,
    folder: &Path,
    out: &mut dyn Write,
) -> Result<(), AnyError> {
    let Folder { mut manifest, source, mut translations } = built;
    let decisions = decide(task, records);
    let by_id: BTreeMap<&str, &Decision> = decisions.iter().map(|decision| (decision.id.as_str(), decision)).collect();
    for report in &edition.reports {
        let Some(version) = by_id.get(report.id.as_str()).and_then(|decision| decision.version()) else { continue };
        // Nobody has looked at an item whose only version is a machine's that lacks texts.
        let is_made = version.by.iter().any(|by| by != burn_vlm_eval::build::calibrate::record::MACHINE);
        for text in &report.texts {
            let Some(decided) = version.texts.get(&name(report, text)) else { continue };
            let is_as_it_is = text.as_it_is && *decided == text.source;
            if is_as_it_is || (text.translation.is_none() && !is_made) || text.translation.as_ref() == Some(decided) {
                continue;
            }
            // Another text than the one that was scored and translated back.
            let entry = Translation {
                source: Some(text.source.clone()),
                text: decided.clone(),
                back: None,
                score: None,
                line: 0,
            };
            translations.insert(edition.language, &text.id, &text.field, entry);
        }
    }
    let words = manifest.words.clone();
    let mut languages = manifest.languages.clone();
    if !languages.contains(&edition.language) {
        languages.push(edition.language);
    }
    let editions = build::editions(&source, &translations, &languages, &words, &manifest.options)?;
    let formats: Vec<EditionFile> = [EditionFile::Tsv, EditionFile::Parquet]
        .into_iter()
        .filter(|format| manifest.formats.iter().any(|name| name == format.ending()))
        .collect();
    manifest.notes.push(format!(
        "{}: calibrated by people; decisions_{}.jsonl has every version and vote",
        edition.language, edition.language
    ));
    let written = folder::write(folder, manifest, &source, &editions.iter().collect::<Vec<_>>(), &formats)?;
    let tag = edition.language.tag();
    write_jsonl_atomic(&folder.join(format!("decisions_{tag}.jsonl")), &decisions)?;
    let votes = votes(&decisions);
    let file = folder.join(format!("votes_{tag}.tsv"));
    write_atomic(&file, votes.text.as_bytes())?;
    let text = summary(&decisions, edition.language);
    write_atomic(&folder.join(format!("calibration_{tag}.md")), format!("# Calibration\n\n{text}").as_bytes())?;
    writeln!(out, "{text}")?;
    build::report(folder, &written, &editions, out)?;
    if votes.shared {
        writeln!(out, "\nAgreement of the voters:\n")?;
        let to = folder.join(format!("agreement_{tag}"));
        let [file, to] = [&file, &to].map(|path| path.display().to_string());
        let line = ["data", "agreement", &file, "--label", "version", "--out", &to];
        run_data(&DataArgs::try_parse_from(line)?, out)?;
    } else {
        writeln!(out, "\nNo item has the votes of two people, so that their agreement cannot be told.")?;
    }
    Ok(())
}

struct Votes {
    text: String,
    /// Some item has two votes.
    shared: bool,
}

/// The votes that count as `data agreement` reads them: a version is called after who wrote it first.
fn votes(decisions: &[Decision]) -> Votes {
    let mut text = String::from("item\tannotator\tversion\tlanguage\n");
    for decision in decisions {
        for version in &decision.versions {
            for voter in &version.votes {
                let by = version.by.first().map_or("", String::as_str);
                let cells = [decision.id.as_str(), voter, by, &decision.language].map(cell);
                text.push_str(&(cells.join("\t") + "\n"));
            }
        }
    }
    let count = |decision: &Decision| decision.versions.iter().map(|version| version.votes.len()).sum::<usize>();
    Votes { text, shared: decisions.iter().any(|decision| count(decision) > 1) }
}

fn cell(text: &str) -> String {
    if text.contains(['"', '\t', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// What was decided, in numbers.
fn summary(decisions: &[Decision], language: Language) -> String {
    let count = |of: &dyn Fn(&Decision) -> bool| decisions.iter().filter(|decision| of(decision)).count();
    let refined = count(&|decision| decision.versions.iter().any(|version| version.since > 0));
    let by = |by: By| count(&|decision| decision.by == by);
    let sum = |of: &dyn Fn(&Decision) -> usize| decisions.iter().map(of).sum::<usize>();
    format!(
        "{language}: {} items, {refined} refined by somebody.\n\n| decided by | items |\n|---|--:|\n| votes | {} |\n| a tie among the most voted | {} |\n\
         | no vote | {} |\n| one version only | {} |\n\nThe machine's text stays in {} items. {} votes count; {} of people who refined the \
         item, and {} for texts that nobody stands for, do not. {} comments.\n\n{RULE}\n",
        decisions.len(),
        by(By::Votes),
        by(By::Tie),
        by(By::NoVotes),
        by(By::Only),
        count(&|decision| decision.machine),
        sum(&|decision| decision.versions.iter().map(|version| version.votes.len()).sum()),
        sum(&|decision| decision.own_votes.len()),
        sum(&|decision| decision.stale_votes.len()),
        sum(&|decision| decision.comments.len()),
    )
}

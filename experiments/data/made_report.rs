//! What became of the rows of a pipeline, as Markdown and as JSON: by language and reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use burn_vlm_base::files::{FileError, write_atomic, write_json_atomic};
use burn_vlm_data::language::Language;
use burn_vlm_data::pipeline::{End, Spent};
use burn_vlm_data::source::Skip;
use serde::Serialize;
use serde_json::{Value, json};

use super::asking::Asked;

/// Rows that cannot be read of which the place is told.
const TOLD: usize = 5;

/// Of one language.
#[derive(Debug, Default, Clone, Serialize)]
struct Of {
    kept: u64,
    rejected: u64,
    failed: u64,
    /// Not asked for, or to be asked again by the next run.
    unknown: u64,
    /// By each check that was not passed; one sample may have failed several.
    faults: BTreeMap<String, u64>,
    /// Why there was no reply.
    failures: BTreeMap<String, u64>,
}

/// A row that cannot be read, as `left_out.jsonl` has it.
pub(super) fn unreadable(skip: &Skip) -> Value {
    json!({ "id": skip.id, "language": null, "outcome": "unreadable", "reason": skip.reason, "detail": skip.to_string() })
}

/// What became of rows.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    languages: BTreeMap<Language, Of>,
    /// Rows that are in the only language that was asked for.
    untouched: u64,
    /// Rows that nothing could be asked about: without a picture, say.
    not_askable: u64,
    /// Rows that could not be read.
    unreadable: u64,
    /// Where the first of them are, and why.
    first_unreadable: Vec<String>,
}

/// A report.
pub(super) struct Report {
    pub(super) title: &'static str,
    pub(super) counts: Counts,
    /// Of all runs with this log.
    pub(super) spent: Spent,
    pub(super) cost: Option<f64>,
    pub(super) settings: Value,
    /// The file of what was made.
    pub(super) file: String,
}

impl Counts {
    fn of(&mut self, language: Language) -> &mut Of {
        self.languages.entry(language).or_default()
    }

    pub(super) fn kept(&mut self, language: Language) {
        self.of(language).kept += 1;
    }

    pub(super) fn unknown(&mut self, language: Language) {
        self.of(language).unknown += 1;
    }

    pub(super) fn rejected(&mut self, language: Language, reasons: &[&str]) {
        let of = self.of(language);
        of.rejected += 1;
        reasons.iter().for_each(|reason| *of.faults.entry((*reason).to_owned()).or_default() += 1);
    }

    pub(super) fn failed(&mut self, language: Language, reason: &str) {
        let of = self.of(language);
        of.failed += 1;
        *of.failures.entry(reason.to_owned()).or_default() += 1;
    }

    pub(super) fn untouched(&mut self) {
        self.untouched += 1;
    }

    pub(super) fn not_askable(&mut self) {
        self.not_askable += 1;
    }

    pub(super) fn unreadable(&mut self, skip: &Skip) {
        self.unreadable += 1;
        if self.first_unreadable.len() < TOLD {
            self.first_unreadable.push(skip.to_string());
        }
    }

    fn total(&self) -> Of {
        let mut total = Of::default();
        for of in self.languages.values() {
            total.kept += of.kept;
            total.rejected += of.rejected;
            total.failed += of.failed;
            total.unknown += of.unknown;
            of.faults.iter().for_each(|(reason, count)| *total.faults.entry(reason.clone()).or_default() += count);
            of.failures.iter().for_each(|(reason, count)| *total.failures.entry(reason.clone()).or_default() += count);
        }
        total
    }
}

impl Of {
    fn done(&self) -> u64 {
        self.kept + self.rejected + self.failed
    }

    fn share(&self) -> f64 {
        100.0 * self.kept as f64 / self.done().max(1) as f64
    }
}

impl Report {
    /// `report.md` and `report.json`.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(super) fn write(&self, folder: &Path, asked: &Asked) -> Result<(), FileError> {
        write_atomic(&folder.join("report.md"), self.markdown(asked).as_bytes())?;
        let total = self.counts.total();
        let json = json!({
            "total": total,
            "counts": self.counts,
            "spent": self.spent,
            "cost": self.cost,
            "end": end(asked),
            "settings": self.settings,
        });
        write_json_atomic(&folder.join("report.json"), &json)
    }

    fn markdown(&self, asked: &Asked) -> String {
        let mut text = format!(
            "# {}\n\n| language | kept | rejected | failed | not asked yet | kept of those asked |\n|---|---|---|---|---|---|\n",
            self.title
        );
        let total = self.counts.total();
        let languages = self.counts.languages.iter().map(|(language, of)| (language.tag(), of));
        for (name, of) in languages.chain([("all", &total)]) {
            let Of { kept, rejected, failed, unknown, .. } = of;
            let _ = writeln!(text, "| {name} | {kept} | {rejected} | {failed} | {unknown} | {:.1} % |", of.share());
        }
        for (title, reasons) in [("rejected by", &total.faults), ("failed by", &total.failures)] {
            if reasons.is_empty() {
                continue;
            }
            let names: Vec<&Language> = self.counts.languages.keys().collect();
            let head: String = names.iter().map(|language| format!(" {language} |")).collect();
            let _ = write!(text, "\n| {title} | all |{head}\n|---|---|{}\n", "---|".repeat(names.len()));
            for (reason, count) in reasons {
                let cells: String = self
                    .counts
                    .languages
                    .values()
                    .map(|of| {
                        let count = of.faults.get(reason).or_else(|| of.failures.get(reason)).copied().unwrap_or(0);
                        format!(" {count} |")
                    })
                    .collect();
                let _ = writeln!(text, "| {reason} | {count} |{cells}");
            }
        }
        if !total.faults.is_empty() {
            text.push_str("\nA sample that fails several checks is counted by each of them, and once as rejected.\n");
        }
        let Spent { requests, prompt_tokens, completion_tokens } = self.spent;
        let _ = writeln!(
            text,
            "\nRequests {requests}, tokens read {prompt_tokens}, written {completion_tokens}, all runs with this log and tries that failed included."
        );
        if let Some(cost) = self.cost {
            let _ = writeln!(text, "Cost {cost:.4}.");
        }
        if self.counts.untouched > 0 {
            let _ =
                writeln!(text, "\nRows that are in the only language that was asked for: {}.", self.counts.untouched);
        }
        if self.counts.not_askable > 0 {
            let _ = writeln!(text, "\nRows that nothing could be asked about: {}.", self.counts.not_askable);
        }
        if self.counts.unreadable > 0 {
            let _ = writeln!(text, "\nRows that could not be read: {}. The first:\n", self.counts.unreadable);
            self.counts.first_unreadable.iter().for_each(|line| text.push_str(&format!("- {line}\n")));
        }
        let _ = writeln!(text, "\nThe run ended: {}.", end(asked));
        let settings = serde_json::to_string_pretty(&self.settings).unwrap_or_default();
        let _ = write!(text, "\n```json\n{settings}\n```\n");
        text
    }

    /// The same in a few lines.
    ///
    /// # Errors
    /// Of `out`.
    pub(super) fn tell(&self, folder: &Path, out: &mut dyn Write) -> io::Result<()> {
        let total = self.counts.total();
        writeln!(out, "{}: {} kept ({:.1} %)", folder.join(&self.file).display(), total.kept, total.share())?;
        let reasons = |reasons: &BTreeMap<String, u64>| {
            let all: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            if all.is_empty() { String::new() } else { format!(": {}", all.join(", ")) }
        };
        writeln!(out, "  rejected  {}{}", total.rejected, reasons(&total.faults))?;
        writeln!(out, "  failed    {}{}", total.failed, reasons(&total.failures))?;
        if total.unknown > 0 {
            writeln!(out, "  not asked {}; run the same command again", total.unknown)?;
        }
        if self.counts.untouched > 0 {
            writeln!(
                out,
                "  left as they are {}: they are in the only language that was asked for",
                self.counts.untouched
            )?;
        }
        if self.counts.not_askable > 0 {
            writeln!(out, "  not askable {}: left_out.jsonl says why", self.counts.not_askable)?;
        }
        if self.counts.unreadable > 0 {
            writeln!(out, "  unreadable {}, the first:", self.counts.unreadable)?;
            self.counts.first_unreadable.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
        }
        let Spent { requests, prompt_tokens, completion_tokens } = self.spent;
        writeln!(out, "  spent     {requests} requests, {prompt_tokens} tokens read, {completion_tokens} written")?;
        if let Some(cost) = self.cost {
            writeln!(out, "  cost      {cost:.4}")?;
        }
        writeln!(out, "  report    {}", folder.join("report.md").display())
    }
}

/// Why a run ended, in a few words.
fn end(asked: &Asked) -> String {
    match &asked.end {
        End::Done if asked.progress.deferred > 0 => "all was asked, not all was answered".to_owned(),
        End::Done => "all was asked".to_owned(),
        End::Stopped => "it was stopped".to_owned(),
        End::Budget => "the budget was spent".to_owned(),
        End::Refused(trouble, why) => format!("{trouble}: {why}"),
        End::GaveUp(trouble, why) => format!("many in a row failed, the last one: {trouble}: {why}"),
    }
}

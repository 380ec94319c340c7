//! `summary.md`: the tables of a study for a page on a code host.

use std::fmt::Write;

use serde_json::Value;

use super::citation::bibtex;
use super::section::Block;
use super::table::{self, Table};
use super::words::{
    LEVEL, below_blind, below_differences, below_paper_order, below_scores, caveats, could_find, counts, findings,
    over_scores, parts_explained, seeds_needed, seeds_run,
};
use super::{Difference, Section, StudySpec, Summary};

/// The summary as GitHub-flavoured Markdown, with the study's own sections. Pictures are linked as `plots/*.svg` if `plots` is set.
pub fn markdown(spec: &StudySpec, summary: &Summary, sections: &[Section], plots: bool) -> String {
    let mut md = format!("# {}\n\n{}\n\n", inline(&spec.title), inline(&spec.question));
    let _ = writeln!(md, "Study `{}`, preset `{}`.\n", spec.study, spec.preset);
    if let Some(warning) = &spec.warning {
        let _ = writeln!(md, "**{}**\n", inline(warning));
    }
    result(&mut md, spec, summary, sections);

    let _ = writeln!(md, "## Scores: {}\n", inline(&spec.group_label(&spec.headline)));
    if plots {
        md.push_str("![Scores with 95 % intervals](plots/scores.svg)\n\n");
    }
    render(&mut md, &table::scores(spec, summary, &spec.headline));
    explain_headline(&mut md, spec, summary);
    if let Some(seeds) = table::seeds(spec, summary) {
        md.push_str("Each seed by itself:\n\n");
        render(&mut md, &seeds);
    }

    if let Some(blind) = table::blind(spec, summary) {
        md.push_str("Without the picture (blind):\n\n");
        render(&mut md, &blind);
        let _ = writeln!(md, "{}\n", inline(&below_blind(spec, summary)));
    }

    let others: Vec<_> = summary.groups().into_iter().filter(|group| *group != spec.headline).collect();
    if !others.is_empty() {
        md.push_str("## Other protocols\n\n");
    }
    for group in &others {
        let protocol = spec.protocol(&group.protocol);
        let chance = protocol.and_then(|p| p.chance).map(|c| format!(" (chance {} %)", super::panels::plain(c)));
        let _ = writeln!(md, "### {}{}\n", inline(&spec.group_label(group)), chance.unwrap_or_default());
        render(&mut md, &table::scores(spec, summary, group));
        let _ = writeln!(md, "{}\n", below_scores(summary.table.iter().filter(|score| score.group() == *group)));
        let differences: Vec<_> =
            summary.differences.iter().filter(|difference| difference.group() == *group).collect();
        if !differences.is_empty() {
            let _ = writeln!(md, "{}\n", counted(spec, &differences));
        }
    }

    let _ = writeln!(md, "## By language: {}\n", inline(&spec.group_label(&spec.headline)));
    render(&mut md, &table::languages(spec, summary));
    let of_headline = summary.languages.iter().filter(|score| score.group() == spec.headline);
    let _ = writeln!(md, "{}\n", below_scores(of_headline));
    if let Some(differences) = table::differences(spec, summary, &spec.headline) {
        let of_table: Vec<&Difference> = summary.differences.iter().filter(|d| d.group() == spec.headline).collect();
        let _ = writeln!(md, "## Differences: {}\n", inline(&spec.group_label(&spec.headline)));
        let _ = writeln!(md, "{} Bold where the interval excludes 0.\n", inline(&below_differences(&of_table)));
        render(&mut md, &differences);
        if let Some(seeds) = seeds_needed(spec, summary) {
            let _ = writeln!(md, "{}\n", inline(&seeds));
        }
    }
    sections.iter().for_each(|section| added(&mut md, section, plots));
    beside_the_paper(&mut md, spec, summary);

    md.push_str("## Caveats\n\n");
    for caveat in caveats(spec, summary) {
        let _ = writeln!(md, "- {}", inline(&caveat));
    }
    reproduce(&mut md, summary);
    md.push_str("\n## How to cite\n\n");
    let _ = writeln!(md, "{}", fenced("bibtex", &bibtex(spec, summary)));
    md
}

/// The differences of another group than the headline's, counted.
fn counted(spec: &StudySpec, differences: &[&Difference]) -> String {
    let clear = differences.iter().filter(|difference| difference.excludes_zero).count();
    let family = differences.iter().find_map(|difference| Some(difference.test?.family));
    let corrected = family.map_or_else(String::new, |family| {
        let standing = |d: &&&Difference| d.test.is_some_and(|test| test.p_holm < LEVEL);
        let headline = differences.iter().all(|difference| spec.in_headline(&difference.group()));
        let whose = if headline { "of all protocols of the headline" } else { "here" };
        let standing = differences.iter().filter(standing).count();
        format!(", {standing} after Holm's correction for the {family} comparisons {whose}")
    });
    let power = if clear == 0 { could_find(differences) } else { String::new() };
    let all = differences.len();
    format!(
        "Of {all} differences between cells, {clear} have a 95 % interval that excludes 0{corrected} (all of them: report.html).{power}"
    )
}

fn result(md: &mut String, spec: &StudySpec, summary: &Summary, sections: &[Section]) {
    let findings = findings(spec, summary);
    md.push_str("## Result\n\n");
    let added = sections.iter().filter_map(|section| section.finding.as_ref()).filter(|_| spec.warning.is_none());
    for (step, holds) in findings.headline.iter().chain(added) {
        let _ = match step.as_str() {
            "" => writeln!(md, "- **{}**", inline(holds)),
            step => writeln!(md, "- **{}**: {}", inline(step), inline(holds)),
        };
    }
    if !findings.best.is_empty() {
        let _ = writeln!(md, "\n{}", inline(&findings.best));
    }
    md.push('\n');
}

fn explain_headline(md: &mut String, spec: &StudySpec, summary: &Summary) {
    let chance = spec.protocol(&spec.headline.protocol).and_then(|protocol| protocol.chance);
    let chance = chance.map_or_else(String::new, |chance| format!(" Chance is {} %.", super::panels::plain(chance)));
    let counts = counts(summary);
    let over = over_scores(summary.table.iter().filter(|score| score.group() == spec.headline));
    let _ = writeln!(
        md,
        "Percent; in brackets the 95 % bootstrap interval over {over} (an item is a concept or a picture with all its questions; at 0 and 100 % Wilson's interval). {counts}{chance}\n"
    );
    for column in &spec.columns {
        let languages = column.languages.join(", ");
        let _ = writeln!(md, "- {}: {} ({})", inline(&column.name), inline(&column.explanation), inline(&languages));
    }
    for protocol in &spec.protocols {
        let _ = writeln!(md, "- {}: {}", inline(&protocol.label), inline(&protocol.explanation));
    }
    for (part, what) in parts_explained(summary) {
        let _ = writeln!(md, "- {}: {what}", inline(&part));
    }
    md.push('\n');
}

/// A section of the study's own.
fn added(md: &mut String, section: &Section, plots: bool) {
    let _ = writeln!(md, "## {}\n", inline(&section.title));
    for block in &section.blocks {
        match block {
            Block::Text(text) => {
                let _ = writeln!(md, "{}\n", inline(text));
            }
            Block::Table(table) => render(md, table),
            Block::Figure { chart, caption } if plots => {
                let _ = writeln!(md, "![{}](plots/{}.svg)\n", inline(caption), chart.name);
            }
            Block::Figure { .. } => {}
        }
    }
}

fn beside_the_paper(md: &mut String, spec: &StudySpec, summary: &Summary) {
    let Some(paper) = &spec.paper else { return };
    let _ = writeln!(md, "## Beside the paper\n\n{}. {}\n", inline(&paper.source), inline(&paper.note));
    // A paper may say what it found without numbers that can stand here.
    let Some(scores) = table::paper(spec, summary) else { return };
    render(md, &scores);
    let ours = below_scores(summary.table.iter().filter(|score| score.group() == spec.headline));
    let _ = writeln!(md, "Ours: {ours} The paper gives no intervals.\n");
    if let Some(order) = table::paper_order(summary) {
        render(md, &order);
        let _ = writeln!(md, "{}\n", inline(&below_paper_order(summary)));
    }
    if let Some(differences) = table::paper_differences(spec, summary) {
        md.push_str(
            "The same differences there and here (bold: our interval excludes 0; the paper gives no intervals):\n\n",
        );
        render(md, &differences);
    }
}

fn reproduce(md: &mut String, summary: &Summary) {
    let provenance = &summary.provenance;
    md.push_str("\n## How to reproduce\n\n");
    if !provenance.command.is_empty() {
        let _ = writeln!(md, "{}\n", fenced("sh", &provenance.command));
    }
    let facts = [
        ("Commit", provenance.commit.clone()),
        ("Device", provenance.device.clone()),
        ("Seeds", seeds_run(&provenance.seeds)),
        ("Finished", provenance.finished.clone()),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(md, "- {name}: {}", inline(value));
    }
    for timing in &provenance.times {
        let _ = writeln!(md, "- {}: {}", inline(&timing.name), duration(timing.seconds));
    }
    if let Some(shared) = provenance.more.get("shared_stages").and_then(Value::as_str) {
        let _ = writeln!(md, "- Stages that cells share: {}", inline(shared));
    }
    md.push_str("\nEvery score, each seed and all differences: `summary.json`, `summary.csv` and `differences.csv`; tables for LaTeX: `summary.tex`.\n");
}

/// Seconds as a reader says them: `48 s`, `12 min 5 s`, `3 h 20 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{} s", super::panels::plain((seconds.max(0.0) * 10.0).round() / 10.0)),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

fn render(md: &mut String, table: &Table) {
    let heading = |title: &str, note: &str| match note {
        "" => inline(title),
        note => format!("{} ({})", inline(title), inline(note)),
    };
    let head: Vec<String> = table.columns.iter().map(|column| heading(&column.title, &column.note)).collect();
    let _ = writeln!(md, "| {} | {} |", inline(&table.corner), head.join(" | "));
    let _ = writeln!(md, "|---|{}", "--:|".repeat(head.len()));
    for row in &table.rows {
        let entries = row.entries.iter().map(|entry| {
            let figure = if entry.strong { format!("**{}**", entry.figure) } else { entry.figure.clone() };
            if entry.detail.is_empty() { figure } else { format!("{figure} ({})", entry.detail) }
        });
        let _ = writeln!(md, "| {} | {} |", inline(&row.label), entries.collect::<Vec<_>>().join(" | "));
    }
    md.push('\n');
}

/// Text within a line: what would end a table cell or start markup is escaped.
pub(super) fn inline(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '<' | '[' | ']' | '\\' => safe.extend(['\\', c]),
            '\n' | '\r' => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// A code block whose fence is longer than any run of backticks within.
fn fenced(language: &str, code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}", code.trim_end())
}

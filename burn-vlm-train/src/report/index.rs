//! One page over several studies: each study's question, what its numbers answer, its picture, and the paper's answer beside it.
//!
//! A study writes what it has to say there beside its report, as a [`Card`] in [`CARD`]; the page is made of the cards that are there.

use std::fmt::Write;
use std::path::Path;

use burn_vlm_base::files::read_json_if_there;
use serde::{Deserialize, Serialize};

use super::charts::Chart;
use super::markdown::inline;
use super::page::{Page, document, prose};
use super::svg::escape;
use super::words::findings;
use super::{ReportError, StudySpec, Summary};

/// File of a study's [`Card`], beside its report.
pub const CARD: &str = "card.json";

/// The chart that stands for a study.
const PICTURE: &str = "scores";

/// Comparisons that an answer names; the report has all.
const NAMED: usize = 3;

/// What the page over all studies shows of one that has results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// What was found, in a sentence.
    pub answer: String,
    /// The highest score of each column; empty where the scores mean nothing.
    pub best: String,
    /// How it was measured.
    pub measured: String,
    /// What a reader must know first.
    pub caveat: String,
    /// The paper, and how its numbers stand to ours.
    pub paper: Option<CardPaper>,
    /// The main plot.
    pub picture: Option<CardPicture>,
}

/// The paper beside a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardPaper {
    /// Where its numbers stand.
    pub source: String,
    /// What it found, and how that differs from what is measured here.
    pub note: String,
}

/// A plot in two layouts, as SVG documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardPicture {
    /// For a page or a laptop.
    pub wide: String,
    /// For a phone.
    pub narrow: String,
}

impl Card {
    /// Of a study's summary and its charts.
    pub(super) fn new(spec: &StudySpec, summary: &Summary, charts: &[Chart]) -> Self {
        let findings = findings(spec, summary);
        let clause = |(step, holds): &(String, String)| match step.as_str() {
            "" => holds.trim_end_matches('.').to_owned(),
            step => format!("{step}: {}", holds.trim_end_matches('.')),
        };
        let clauses: Vec<String> = findings.headline.iter().take(NAMED).map(clause).collect();
        let picture = charts.iter().find(|chart| chart.name == PICTURE);
        Self {
            answer: format!("{}.", clauses.join("; ")),
            best: findings.best,
            measured: spec.group_label(&spec.headline),
            caveat: spec.caveats.first().cloned().unwrap_or_default(),
            paper: spec
                .paper
                .as_ref()
                .map(|paper| CardPaper { source: paper.source.clone(), note: paper.note.clone() }),
            picture: picture.map(|chart| CardPicture { wide: chart.wide.clone(), narrow: chart.narrow.clone() }),
        }
    }

    /// The card in a study's folder; `None` where the study has no result yet.
    ///
    /// # Errors
    /// A damaged file.
    pub fn read(folder: &Path) -> Result<Option<Self>, ReportError> {
        Ok(read_json_if_there(&folder.join(CARD))?)
    }
}

/// How far a study is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing of it is there.
    NotBegun,
    /// So many of its cells are finished.
    Cells(usize, usize),
    /// All of its cells are, and it has a report.
    Finished,
    /// It could not be run, or cells of it failed: why.
    Failed(String),
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotBegun => f.write_str("not begun"),
            Self::Cells(done, all) => write!(f, "{done} of {all} cells finished"),
            Self::Finished => f.write_str("finished"),
            Self::Failed(_) => f.write_str("failed"),
        }
    }
}

/// A study on the page.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexEntry {
    /// Its name on the command line, which is its folder beside the page.
    pub name: String,
    /// Its headline.
    pub title: String,
    /// What it asks.
    pub question: String,
    /// The paper that it repeats, where it has no result to show with it.
    pub paper: Option<CardPaper>,
    /// How far it is.
    pub progress: Progress,
    /// What it found.
    pub card: Option<Card>,
}

impl IndexEntry {
    fn paper(&self) -> Option<&CardPaper> {
        self.card.as_ref().map_or(self.paper.as_ref(), |card| card.paper.as_ref())
    }

    /// Where its report is, from the page.
    fn report(&self) -> Option<String> {
        self.card.as_ref().map(|_| format!("{}/report.html", self.name))
    }

    /// What is amiss, if anything is.
    fn failure(&self) -> Option<&str> {
        match &self.progress {
            Progress::Failed(why) => Some(why),
            _ => None,
        }
    }
}

/// The page over several studies of a preset, as one HTML document without scripts that loads nothing. `about` says what the preset is.
pub fn index_html(preset: &str, about: &str, entries: &[IndexEntry]) -> String {
    let mut page = Page::default();
    for entry in entries {
        page.section(&entry.name, &entry.title);
        let html = &mut page.html;
        let _ = writeln!(
            html,
            "<p class=\"eyebrow\">Study <code>{}</code> · {}</p>",
            escape(&entry.name),
            escape(&entry.progress.to_string())
        );
        page.paragraph(&entry.question);
        if let Some(why) = entry.failure() {
            page.typed(why);
        }
        if let Some(card) = &entry.card {
            let best = if card.best.is_empty() { String::new() } else { format!("<p>{}</p>", prose(&card.best)) };
            let _ = writeln!(
                page.html,
                "<div class=\"finding\"><p><b>Here</b>: {}</p>{best}<p class=\"note\">Measured by {}. {}</p></div>",
                prose(&card.answer),
                escape(&card.measured),
                prose(&card.caveat)
            );
        }
        if let Some(paper) = entry.paper() {
            page.paragraph(&format!("{}: {}", paper.source, paper.note));
        }
        if let Some(CardPicture { wide, narrow }) = entry.card.as_ref().and_then(|card| card.picture.as_ref()) {
            let _ = writeln!(
                page.html,
                "<figure><div class=\"wide\">{wide}</div><div class=\"narrow\">{narrow}</div></figure>"
            );
        }
        if let Some(report) = entry.report() {
            let _ = writeln!(
                page.html,
                "<p><a href=\"{}\">The whole report: tables, differences, languages, training, examples</a></p>",
                escape(&report)
            );
        }
    }
    let row = |entry: &IndexEntry| {
        format!(
            "<dt><a href=\"#{0}\"><code>{0}</code></a></dt><dd>{1}: {2}</dd>",
            escape(&entry.name),
            escape(&entry.title),
            escape(&entry.progress.to_string())
        )
    };
    let main = format!(
        "<header><p class=\"eyebrow\">Preset <code>{}</code></p><h1>{TITLE}</h1><p class=\"lead\">{}</p></header>\n<dl>{}</dl>\n{}",
        escape(preset),
        prose(about),
        entries.iter().map(row).collect::<String>(),
        page.html
    );
    // What failed is told in long lines.
    document(TITLE, &main, "pre{white-space:pre-wrap}\n")
}

/// Of the page.
const TITLE: &str = "All studies";

/// The same as GitHub-flavoured Markdown.
pub fn index_markdown(preset: &str, about: &str, entries: &[IndexEntry]) -> String {
    let mut md = format!("# {TITLE}\n\nPreset `{preset}`. {}\n\n| Study | | State |\n|---|---|---|\n", inline(about));
    for entry in entries {
        let link = entry.report().map_or_else(String::new, |report| format!(" ([report]({report}))"));
        let _ = writeln!(md, "| `{}` | {}{link} | {} |", entry.name, inline(&entry.title), entry.progress);
    }
    for entry in entries {
        let _ = writeln!(md, "\n## {}\n\n{}\n", inline(&entry.title), inline(&entry.question));
        if let Some(why) = entry.failure() {
            let _ = writeln!(md, "**Failed**: {}\n", inline(why));
        }
        if let Some(card) = &entry.card {
            let _ = writeln!(
                md,
                "**Here**: {} {}\n\nMeasured by {}. {}\n",
                inline(&card.answer),
                inline(&card.best),
                inline(&card.measured),
                inline(&card.caveat)
            );
        }
        if let Some(paper) = entry.paper() {
            let _ = writeln!(md, "**{}**: {}\n", inline(&paper.source), inline(&paper.note));
        }
        if entry.card.as_ref().is_some_and(|card| card.picture.is_some()) {
            let _ = writeln!(md, "![Scores with 95 % intervals]({}/plots/{PICTURE}.svg)\n", entry.name);
        }
    }
    md
}

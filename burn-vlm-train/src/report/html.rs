//! `report.html`: a study in one file that opens anywhere, without network and without scripts.

use std::fmt::Write;

use super::charts::{Chart, charts};
use super::citation::bibtex;
use super::example::card;
use super::markdown::duration;
use super::page::{Page, document, prose};
use super::panels::plain;
use super::section::Block;
use super::svg::escape;
use super::table;
use super::words::{
    below_blind, below_differences, below_paper_order, below_scores, caveats, counts, findings, over_scores,
    parts_explained, seeds_needed, seeds_run,
};
use super::{Difference, Example, LossSeries, Section, StudySpec, Summary};

/// With more steps, the comparisons in words are folded: the chart says the same.
const OPEN_STEPS: usize = 4;

/// Everything a report shows.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// Names, columns, protocols, the paper's numbers, caveats.
    pub spec: &'a StudySpec,
    /// The scores, and where they come from.
    pub summary: &'a Summary,
    /// Loss curves of all stages and cells; may be empty.
    pub losses: &'a [LossSeries],
    /// A handful of predictions; may be empty.
    pub examples: &'a [Example],
    /// What the study shows beyond scores; may be empty.
    pub sections: &'a [Section],
}

/// The report as one HTML document.
pub fn html(input: &ReportInput<'_>) -> String {
    let charts = charts(input.spec, input.summary, input.losses);
    html_with(input, &charts)
}

/// The report with charts that are already drawn.
pub(super) fn html_with(input: &ReportInput<'_>, charts: &[Chart]) -> String {
    let spec = input.spec;
    let mut study = StudyPage { page: Page::default(), charts };
    study.scores(input);
    study.differences(input);
    study.languages(input);
    study.protocols(input);
    input.sections.iter().for_each(|section| study.added(section));
    study.losses();
    study.examples(input);
    study.paper(input);
    study.caveats(input);
    study.provenance(input.summary);
    study.page.section("cite", "How to cite");
    study.page.typed(&bibtex(spec, input.summary));
    let page = study.page;
    let main = format!("{}{}{}", top(input), page.contents(), page.html);
    document(&spec.title, &main, "")
}

/// Title, question and finding.
fn top(input: &ReportInput<'_>) -> String {
    let (spec, summary) = (input.spec, input.summary);
    let findings = findings(spec, summary);
    let mut html = format!(
        "<header><p class=\"eyebrow\">Study <code>{}</code> · preset <code>{}</code></p><h1>{}</h1><p class=\"lead\">{}</p></header>\n",
        escape(&spec.study),
        escape(&spec.preset),
        escape(&spec.title),
        escape(&spec.question)
    );
    if let Some(warning) = &spec.warning {
        let _ = writeln!(html, "<p class=\"warning\"><b>{}</b></p>", prose(warning));
    }
    let first_caveat = spec.caveats.first().map_or("", String::as_str);
    html.push_str("<div class=\"finding\"><ul>");
    let added = input.sections.iter().filter_map(|section| section.finding.as_ref()).filter(|_| spec.warning.is_none());
    for (step, holds) in findings.headline.iter().chain(added) {
        let _ = match step.as_str() {
            "" => write!(html, "<li>{}</li>", prose(holds)),
            step => write!(html, "<li><b>{}</b>: {}</li>", prose(step), prose(holds)),
        };
    }
    html.push_str("</ul>");
    if !findings.best.is_empty() {
        let _ = write!(html, "<p>{}</p>", prose(&findings.best));
    }
    let _ = writeln!(
        html,
        "<p class=\"note\">Measured by {}. {} <a href=\"#caveats\">All caveats</a></p></div>",
        escape(&spec.group_label(&spec.headline)),
        prose(first_caveat)
    );
    html
}

struct StudyPage<'a> {
    page: Page,
    charts: &'a [Chart],
}

impl StudyPage<'_> {
    /// A section of the study's own.
    fn added(&mut self, section: &Section) {
        self.page.section(&section.id, &section.title);
        for block in &section.blocks {
            match block {
                Block::Text(text) => self.page.paragraph(text),
                Block::Table(table) => self.page.table(table),
                Block::Figure { chart, caption } => self.page.drawing(chart, caption),
            }
        }
    }

    /// A chart by name; false where it has no data.
    fn figure(&mut self, name: &str, caption: &str) -> bool {
        let Some(chart) = self.charts.iter().find(|chart| chart.name == name) else {
            return false;
        };
        self.page.drawing(chart, caption);
        true
    }

    fn scores(&mut self, input: &ReportInput<'_>) {
        let (spec, summary) = (input.spec, input.summary);
        self.page.section("scores", "Scores");
        self.figure("scores", "Each row is a cell of the study, each panel a column of the table.");
        self.page.table(&table::scores(spec, summary, &spec.headline));
        let counts = counts(summary);
        let over = over_scores(summary.table.iter().filter(|score| score.group() == spec.headline));
        self.page.paragraph(&format!("Percent, with the 95 % bootstrap interval over {over} below (an item is a concept or a picture with all its questions; at 0 and 100 % Wilson's interval). {counts}"));
        self.page.html.push_str("<dl>");
        for column in &spec.columns {
            let languages: Vec<String> = column.languages.iter().map(|tag| spec.language_label(tag)).collect();
            let text = format!("{}: {}", column.explanation, languages.join(", "));
            let _ = write!(self.page.html, "<dt>{}</dt><dd>{}</dd>", escape(&column.name), escape(&text));
        }
        if let Some(protocol) = spec.protocol(&spec.headline.protocol) {
            let _ = write!(
                self.page.html,
                "<dt>{}</dt><dd>{}</dd>",
                escape(&protocol.label),
                escape(&protocol.explanation)
            );
        }
        for (part, what) in parts_explained(summary) {
            let _ = write!(self.page.html, "<dt>{}</dt><dd>{what}</dd>", escape(&part));
        }
        self.page.html.push_str("</dl>\n");
        if let Some(table) = table::blind(spec, summary) {
            self.page.heading("Without the picture (blind)");
            self.page.table(&table);
            self.page.paragraph(&below_blind(spec, summary));
        }
        if let Some(table) = table::seeds(spec, summary) {
            self.page.heading("Each seed by itself");
            self.page.table(&table);
        }
    }

    fn differences(&mut self, input: &ReportInput<'_>) {
        let (spec, summary) = (input.spec, input.summary);
        let Some(table) = table::differences(spec, summary, &spec.headline) else {
            return;
        };
        self.page.section("differences", "What differs, and what does not");
        let steps = findings(spec, summary).steps;
        let folded = steps.len() > OPEN_STEPS;
        if folded {
            self.page.html.push_str("<details><summary>Each comparison in words</summary>");
        }
        self.page.html.push_str("<ul class=\"steps\">");
        for finding in &steps {
            let _ = write!(self.page.html, "<li><b>{}</b><ul class=\"pills\">", escape(&finding.step));
            for (class, places) in [("clear", &finding.clear), ("", &finding.unclear)] {
                for place in places {
                    let _ = write!(self.page.html, "<li class=\"{class}\">{}</li>", escape(place));
                }
            }
            self.page.html.push_str("</ul></li>");
        }
        self.page.html.push_str(if folded { "</ul></details>\n" } else { "</ul>\n" });
        self.figure(
            "differences",
            "A filled dot: the paired 95 % interval excludes 0. A hollow dot: this run cannot tell the two apart.",
        );
        let of_table: Vec<&Difference> = summary.differences.iter().filter(|d| d.group() == spec.headline).collect();
        self.page.fold("The same as a table, with p-values", true, |page| {
            page.table(&table);
            page.paragraph(&below_differences(&of_table));
        });
        if let Some(seeds) = seeds_needed(spec, summary) {
            self.page.paragraph(&seeds);
        }
    }

    fn languages(&mut self, input: &ReportInput<'_>) {
        let (spec, summary) = (input.spec, input.summary);
        self.page.section("languages", "By language");
        self.figure("languages", "Each panel is one language; rows and colours are the cells of the study.");
        self.page.folded("The same as a table", |page| page.table(&table::languages(spec, summary)));
        let of_headline = summary.languages.iter().filter(|score| score.group() == spec.headline);
        self.page.paragraph(&below_scores(of_headline));
    }

    fn protocols(&mut self, input: &ReportInput<'_>) {
        let (spec, summary) = (input.spec, input.summary);
        let others: Vec<_> = summary.groups().into_iter().filter(|group| *group != spec.headline).collect();
        if others.is_empty() {
            return;
        }
        self.page.section("protocols", "Other protocols");
        for group in &others {
            self.page.html.push_str("<details>");
            let _ = write!(self.page.html, "<summary>{}</summary>", escape(&spec.group_label(group)));
            if let Some(protocol) = spec.protocol(&group.protocol) {
                let chance =
                    protocol.chance.map(|chance| format!(" Chance is {} %.", plain(chance))).unwrap_or_default();
                self.page.paragraph(&format!("{}{chance}", protocol.explanation));
            }
            self.page.table(&table::scores(spec, summary, group));
            self.page.paragraph(&below_scores(summary.table.iter().filter(|score| score.group() == *group)));
            if let Some(differences) = table::differences(spec, summary, group) {
                let of_group: Vec<&Difference> = summary.differences.iter().filter(|d| d.group() == *group).collect();
                self.page.heading("Differences, percentage points");
                self.page.table(&differences);
                self.page.paragraph(&below_differences(&of_group));
            }
            self.page.html.push_str("</details>\n");
        }
    }

    fn losses(&mut self) {
        if self.charts.iter().any(|chart| chart.name == "losses") {
            self.page.section("losses", "Training");
            self.figure("losses", "Loss against optimizer step. Cells keep the colour they have above.");
        }
    }

    fn examples(&mut self, input: &ReportInput<'_>) {
        if input.examples.is_empty() {
            return;
        }
        self.page.section("examples", "Examples");
        self.page.paragraph(
            "Single predictions. The number beside an option is its score as the protocol defines it; the grey bar shows how \
             likely it is beside the chosen one.",
        );
        self.page.html.push_str("<div class=\"examples\">");
        for example in input.examples {
            self.page.html.push_str(&card(input.spec, example));
        }
        self.page.html.push_str("</div>\n");
    }

    fn paper(&mut self, input: &ReportInput<'_>) {
        let (spec, summary) = (input.spec, input.summary);
        let Some(paper) = &spec.paper else { return };
        self.page.section("paper", "Beside the paper");
        self.page.paragraph(&format!("{}. {}", paper.source, paper.note));
        // A paper may say what it found without numbers that can stand here.
        let Some(scores) = table::paper(spec, summary) else { return };
        self.page.table(&scores);
        let ours = below_scores(summary.table.iter().filter(|score| score.group() == spec.headline));
        self.page.paragraph(&format!("Ours: {ours} The paper gives no intervals."));
        if let Some(order) = table::paper_order(summary) {
            self.page.table(&order);
            self.page.paragraph(&below_paper_order(summary));
        }
        if let Some(differences) = table::paper_differences(spec, summary) {
            self.page.heading("The same differences, there and here");
            self.page.table(&differences);
            self.page.paragraph(
                "Percentage points. A dot marks where our interval excludes 0; the paper gives no intervals.",
            );
        }
    }

    fn caveats(&mut self, input: &ReportInput<'_>) {
        self.page.section("caveats", "Caveats");
        self.page.caveats(caveats(input.spec, input.summary));
    }

    fn provenance(&mut self, summary: &Summary) {
        let provenance = &summary.provenance;
        self.page.section("provenance", "How it was made");
        self.page.typed(&provenance.command);
        let mut facts = vec![
            ("Commit".to_owned(), provenance.commit.clone()),
            ("Device".to_owned(), provenance.device.clone()),
            ("Seeds".to_owned(), seeds_run(&provenance.seeds)),
            ("Finished".to_owned(), provenance.finished.clone()),
        ];
        facts.extend(provenance.times.iter().map(|timing| (timing.name.clone(), duration(timing.seconds))));
        facts.extend(
            provenance
                .more
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))),
        );
        self.page.facts(facts);
        if !provenance.recipe.is_empty() {
            self.page.folded("Recipe", |page| page.typed(&provenance.recipe));
        }
    }
}

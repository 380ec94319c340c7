//! `report.html`: a study in one file that opens anywhere, without network and without scripts.
//!
//! Drawings are inline SVG in a wide and a narrow layout, of which the style sheet shows one; pictures are data URIs. Colours
//! follow the reader's light or dark scheme. A content security policy forbids everything that is not in the file. All text
//! from outside passes through [`escape`].

use std::fmt::Write;

use super::charts::{Chart, charts};
use super::example::card;
use super::markdown::duration;
use super::panels::plain;
use super::section::Block;
use super::svg::escape;
use super::table::{self, Table};
use super::words::{caveats, counts, findings};
use super::{Example, LossSeries, Section, StudySpec, Summary, palette};

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
    let mut page = Page { html: String::new(), contents: Vec::new(), charts };
    page.scores(input);
    page.differences(input);
    page.languages(input);
    page.protocols(input);
    input.sections.iter().for_each(|section| page.added(section));
    page.losses();
    page.examples(input);
    page.paper(input);
    page.caveats(input);
    page.provenance(input.summary);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n:root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{rules}\n{css}</style>\n\
         </head>\n<body>\n<main>\n{top}{body}</main>\n</body>\n</html>\n",
        title = escape(&spec.title),
        light = palette::css(false),
        dark = palette::css(true),
        rules = palette::class_rules(),
        css = include_str!("report.css"),
        top = top(input, &page.contents),
        body = page.html,
    )
}

/// Title, question, finding and table of contents.
fn top(input: &ReportInput<'_>, contents: &[(String, String)]) -> String {
    let (spec, summary) = (input.spec, input.summary);
    let findings = findings(spec, summary);
    let mut html = format!(
        "<header><p class=\"eyebrow\">Study <code>{}</code> · preset <code>{}</code></p><h1>{}</h1><p class=\"lead\">{}</p></header>\n",
        escape(&spec.study),
        escape(&spec.preset),
        escape(&spec.title),
        escape(&spec.question)
    );
    let first_caveat = spec.caveats.first().map_or("", String::as_str);
    html.push_str("<div class=\"finding\"><ul>");
    let added = input.sections.iter().filter_map(|section| section.finding.as_ref());
    for (step, holds) in findings.headline.iter().chain(added) {
        let _ = match step.as_str() {
            "" => write!(html, "<li>{}</li>", prose(holds)),
            step => write!(html, "<li><b>{}</b>: {}</li>", prose(step), prose(holds)),
        };
    }
    let _ = writeln!(
        html,
        "</ul><p>{}</p><p class=\"note\">Measured by {}. {} <a href=\"#caveats\">All caveats</a></p></div>",
        prose(&findings.best),
        escape(&spec.group_label(&spec.headline)),
        prose(first_caveat)
    );
    html.push_str("<nav aria-label=\"Contents\">");
    for (id, title) in contents {
        let _ = write!(html, "<a href=\"#{}\">{}</a>", escape(id), escape(title));
    }
    html.push_str("</nav>\n");
    html
}

/// Escaped text in which a percent sign stays with its number.
fn prose(text: &str) -> String {
    escape(text).replace(" %", "\u{a0}%")
}

struct Page<'a> {
    html: String,
    /// Id and title of each section.
    contents: Vec<(String, String)>,
    charts: &'a [Chart],
}

impl Page<'_> {
    fn section(&mut self, id: &str, title: &str) {
        self.contents.push((id.to_owned(), title.to_owned()));
        let _ = writeln!(self.html, "<h2 id=\"{}\">{}</h2>", escape(id), escape(title));
    }

    /// A section of the study's own.
    fn added(&mut self, section: &Section) {
        self.section(&section.id, &section.title);
        for block in &section.blocks {
            match block {
                Block::Text(text) => self.paragraph(text),
                Block::Table(table) => self.table(table),
                Block::Figure { chart, caption } => self.drawing(chart, caption),
            }
        }
    }

    fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.html, "<p>{}</p>", prose(text));
    }

    fn heading(&mut self, text: &str) {
        let _ = writeln!(self.html, "<h3>{}</h3>", escape(text));
    }

    /// A chart by name; false where it has no data.
    fn figure(&mut self, name: &str, caption: &str) -> bool {
        let Some(chart) = self.charts.iter().find(|chart| chart.name == name) else {
            return false;
        };
        self.drawing(chart, caption);
        true
    }

    fn drawing(&mut self, chart: &Chart, caption: &str) {
        let _ = writeln!(
            self.html,
            "<figure><div class=\"wide\">{}</div><div class=\"narrow\">{}</div><figcaption>{}</figcaption></figure>",
            chart.wide,
            chart.narrow,
            escape(caption)
        );
    }

    fn scores(&mut self, input: &ReportInput<'_>) {
        let (spec, summary) = (input.spec, input.summary);
        self.section("scores", "Scores");
        self.figure("scores", "Each row is a cell of the study, each panel a column of the table.");
        self.table(&table::scores(spec, summary, &spec.headline));
        let counts = counts(summary);
        self.paragraph(&format!("Percent, with the 95 % bootstrap interval over what is asked about (a concept or a picture with all its questions; at 0 and 100 % Wilson's) below. {counts}"));
        self.html.push_str("<dl>");
        for column in &spec.columns {
            let languages: Vec<String> = column.languages.iter().map(|tag| spec.language_label(tag)).collect();
            let text = format!("{}: {}", column.explanation, languages.join(", "));
            let _ = write!(self.html, "<dt>{}</dt><dd>{}</dd>", escape(&column.name), escape(&text));
        }
        if let Some(protocol) = spec.protocol(&spec.headline.protocol) {
            let _ = write!(self.html, "<dt>{}</dt><dd>{}</dd>", escape(&protocol.label), escape(&protocol.explanation));
        }
        self.html.push_str("</dl>\n");
        if let Some(table) = table::seeds(spec, summary) {
            self.heading("Each seed by itself");
            self.table(&table);
        }
    }

    fn differences(&mut self, input: &ReportInput<'_>) {
        let (spec, summary) = (input.spec, input.summary);
        let Some(table) = table::differences(spec, summary, &spec.headline) else {
            return;
        };
        self.section("differences", "What differs, and what does not");
        let steps = findings(spec, summary).steps;
        let folded = steps.len() > OPEN_STEPS;
        if folded {
            self.html.push_str("<details><summary>Each comparison in words</summary>");
        }
        self.html.push_str("<ul class=\"steps\">");
        for finding in &steps {
            let _ = write!(self.html, "<li><b>{}</b><ul class=\"pills\">", escape(&finding.step));
            for (class, places) in [("clear", &finding.clear), ("", &finding.unclear)] {
                for place in places {
                    let _ = write!(self.html, "<li class=\"{class}\">{}</li>", escape(place));
                }
            }
            self.html.push_str("</ul></li>");
        }
        self.html.push_str(if folded { "</ul></details>\n" } else { "</ul>\n" });
        self.figure(
            "differences",
            "A filled dot: the paired 95 % interval excludes 0. A hollow dot: this run cannot tell the two apart.",
        );
        self.folded("The same as a table", &table);
    }

    fn languages(&mut self, input: &ReportInput<'_>) {
        self.section("languages", "By language");
        self.figure("languages", "Each panel is one language; rows and colours are the cells of the study.");
        self.folded("The same as a table", &table::languages(input.spec, input.summary));
    }

    fn protocols(&mut self, input: &ReportInput<'_>) {
        let (spec, summary) = (input.spec, input.summary);
        let others: Vec<_> = summary.groups().into_iter().filter(|group| *group != spec.headline).collect();
        if others.is_empty() {
            return;
        }
        self.section("protocols", "Other protocols");
        for group in &others {
            self.html.push_str("<details>");
            let _ = write!(self.html, "<summary>{}</summary>", escape(&spec.group_label(group)));
            if let Some(protocol) = spec.protocol(&group.protocol) {
                let chance =
                    protocol.chance.map(|chance| format!(" Chance is {} %.", plain(chance))).unwrap_or_default();
                self.paragraph(&format!("{}{chance}", protocol.explanation));
            }
            self.table(&table::scores(spec, summary, group));
            if let Some(differences) = table::differences(spec, summary, group) {
                self.heading("Differences, percentage points");
                self.table(&differences);
            }
            self.html.push_str("</details>\n");
        }
    }

    fn losses(&mut self) {
        if self.charts.iter().any(|chart| chart.name == "losses") {
            self.section("losses", "Training");
            self.figure("losses", "Loss against optimizer step. Cells keep the colour they have above.");
        }
    }

    fn examples(&mut self, input: &ReportInput<'_>) {
        if input.examples.is_empty() {
            return;
        }
        self.section("examples", "Examples");
        self.paragraph(
            "Single predictions. The number beside an option is its score as the protocol defines it; the grey bar shows how \
             likely it is beside the chosen one.",
        );
        self.html.push_str("<div class=\"examples\">");
        for example in input.examples {
            self.html.push_str(&card(input.spec, example));
        }
        self.html.push_str("</div>\n");
    }

    fn paper(&mut self, input: &ReportInput<'_>) {
        let (spec, summary) = (input.spec, input.summary);
        let (Some(paper), Some(scores)) = (&spec.paper, table::paper(spec, summary)) else {
            return;
        };
        self.section("paper", "Beside the paper");
        self.paragraph(&format!("{}. {}", paper.source, paper.note));
        self.table(&scores);
        if let Some(differences) = table::paper_differences(spec, summary) {
            self.heading("The same differences, there and here");
            self.table(&differences);
            self.paragraph(
                "Percentage points. A dot marks where our interval excludes 0; the paper gives no intervals.",
            );
        }
    }

    fn caveats(&mut self, input: &ReportInput<'_>) {
        self.section("caveats", "Caveats");
        self.html.push_str("<ul class=\"caveats\">");
        for caveat in caveats(input.spec, input.summary) {
            let _ = write!(self.html, "<li>{}</li>", prose(&caveat));
        }
        self.html.push_str("</ul>\n");
    }

    fn provenance(&mut self, summary: &Summary) {
        let provenance = &summary.provenance;
        self.section("provenance", "How it was made");
        if !provenance.command.is_empty() {
            let _ = writeln!(self.html, "<pre><code>{}</code></pre>", escape(&provenance.command));
        }
        let seeds: Vec<String> = provenance.seeds.iter().map(u64::to_string).collect();
        let mut facts = vec![
            ("Commit".to_owned(), provenance.commit.clone()),
            ("Device".to_owned(), provenance.device.clone()),
            ("Seeds".to_owned(), seeds.join(", ")),
            ("Finished".to_owned(), provenance.finished.clone()),
        ];
        facts.extend(provenance.times.iter().map(|timing| (timing.name.clone(), duration(timing.seconds))));
        facts.extend(
            provenance
                .more
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))),
        );
        self.html.push_str("<dl>");
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(self.html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
        }
        self.html.push_str("</dl>\n");
        if !provenance.recipe.is_empty() {
            let recipe = escape(&provenance.recipe);
            let _ = writeln!(self.html, "<details><summary>Recipe</summary><pre><code>{recipe}</code></pre></details>");
        }
    }

    fn folded(&mut self, title: &str, table: &Table) {
        let _ = write!(self.html, "<details><summary>{}</summary>", escape(title));
        self.table(table);
        self.html.push_str("</details>\n");
    }

    fn table(&mut self, table: &Table) {
        let html = &mut self.html;
        let small = |text: &str| match text {
            "" => String::new(),
            text => format!("<small>{}</small>", escape(text)),
        };
        let _ =
            write!(html, "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">{}</th>", escape(&table.corner));
        for column in &table.columns {
            let _ = write!(html, "<th scope=\"col\">{}{}</th>", escape(&column.title), small(&column.note));
        }
        html.push_str("</tr></thead><tbody>");
        for row in &table.rows {
            let chip = row.series.map(|series| {
                format!(
                    "<span class=\"chip\" style=\"background:var(--{})\"></span>",
                    palette::Ink::Series(series).class()
                )
            });
            let _ = write!(html, "<tr><th scope=\"row\">{}{}</th>", chip.unwrap_or_default(), escape(&row.label));
            for entry in &row.entries {
                let class = if entry.strong { " class=\"strong\"" } else { "" };
                let (figure, detail) = (escape(&entry.figure), small(&entry.detail));
                let _ = write!(html, "<td{class}><span class=\"figure\">{figure}</span>{detail}</td>");
            }
            html.push_str("</tr>");
        }
        html.push_str("</tbody></table></div>\n");
    }
}

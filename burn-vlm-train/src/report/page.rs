//! What every page of ours is made of: one file without scripts, with sections, tables and drawings.
//!
//! Drawings are inline SVG in a wide and a narrow layout, of which the style sheet shows one; pictures are data URIs. Colours
//! follow the reader's light or dark scheme. A content security policy forbids everything that is not in the file. All text
//! from outside passes through [`escape`].

use std::fmt::Write;

use super::charts::Chart;
use super::palette;
use super::svg::escape;
use super::table::Table;

/// A page in progress.
#[derive(Default)]
pub(super) struct Page {
    /// What stands below title and contents.
    pub html: String,
    /// Id and title of each section.
    contents: Vec<(String, String)>,
}

/// A whole document around what stands in `<main>`. `title` is plain text; `css` adds to the rules that all pages share.
pub(super) fn document(title: &str, main: &str, css: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n:root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{rules}\n{shared}{css}</style>\n\
         </head>\n<body>\n<main>\n{main}</main>\n</body>\n</html>\n",
        title = escape(title),
        light = palette::css(false),
        dark = palette::css(true),
        rules = palette::class_rules(),
        shared = include_str!("report.css"),
    )
}

/// Escaped text in which a percent sign stays with its number.
pub(super) fn prose(text: &str) -> String {
    escape(text).replace(" %", "\u{a0}%")
}

impl Page {
    pub fn section(&mut self, id: &str, title: &str) {
        self.contents.push((id.to_owned(), title.to_owned()));
        let _ = writeln!(self.html, "<h2 id=\"{}\">{}</h2>", escape(id), escape(title));
    }

    /// Links to the sections.
    pub fn contents(&self) -> String {
        let link = |(id, title): &(String, String)| format!("<a href=\"#{}\">{}</a>", escape(id), escape(title));
        format!("<nav aria-label=\"Contents\">{}</nav>\n", self.contents.iter().map(link).collect::<String>())
    }

    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.html, "<p>{}</p>", prose(text));
    }

    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.html, "<h3>{}</h3>", escape(text));
    }

    /// A list of sentences that a reader must know.
    pub fn caveats(&mut self, sentences: impl IntoIterator<Item = impl AsRef<str>>) {
        self.html.push_str("<ul class=\"caveats\">");
        for sentence in sentences {
            let _ = write!(self.html, "<li>{}</li>", prose(sentence.as_ref()));
        }
        self.html.push_str("</ul>\n");
    }

    /// Names and what they stand for; those without a value are left out.
    pub fn facts(&mut self, facts: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>) {
        self.html.push_str("<dl>");
        for (name, value) in facts {
            if !value.as_ref().is_empty() {
                let _ = write!(self.html, "<dt>{}</dt><dd>{}</dd>", escape(name.as_ref()), escape(value.as_ref()));
            }
        }
        self.html.push_str("</dl>\n");
    }

    /// Text as it was typed; nothing where there is none.
    pub fn typed(&mut self, text: &str) {
        if !text.is_empty() {
            let _ = writeln!(self.html, "<pre><code>{}</code></pre>", escape(text));
        }
    }

    pub fn drawing(&mut self, chart: &Chart, caption: &str) {
        let _ = writeln!(
            self.html,
            "<figure><div class=\"wide\">{}</div><div class=\"narrow\">{}</div><figcaption>{}</figcaption></figure>",
            chart.wide,
            chart.narrow,
            escape(caption)
        );
    }

    /// A part that a reader opens.
    pub fn folded(&mut self, title: &str, inner: impl FnOnce(&mut Self)) {
        self.fold(title, false, inner);
    }

    /// A part that a reader opens or, if it is open, may close.
    pub fn fold(&mut self, title: &str, open: bool, inner: impl FnOnce(&mut Self)) {
        let _ = write!(self.html, "<details{}><summary>{}</summary>", if open { " open" } else { "" }, escape(title));
        inner(self);
        self.html.push_str("</details>\n");
    }

    pub fn table(&mut self, table: &Table) {
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

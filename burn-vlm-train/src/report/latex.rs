//! `summary.tex`: the headline's scores and differences as LaTeX tables, for a paper.

use std::fmt::Write;

use super::table::{self, Table};
use super::words::{below_differences, below_scores};
use super::{Difference, StudySpec, Summary};

/// Two tables that a LaTeX document takes by `\input`; it needs the package booktabs. Intervals stand in brackets.
pub fn latex(spec: &StudySpec, summary: &Summary) -> String {
    let mut tex = String::from("% \\usepackage{booktabs}; read as UTF-8\n");
    if let Some(warning) = &spec.warning {
        let _ = writeln!(tex, "% {}", warning.replace(['\n', '\r'], " "));
    }
    let group = spec.group_label(&spec.headline);
    let caption = |what: &str, below: &str| {
        let warning = spec.warning.as_ref().map_or_else(String::new, |warning| format!("{warning} "));
        let end = if spec.title.ends_with(['.', '?', '!']) { "" } else { "." };
        escape(&format!("{warning}{}{end} {what}: {group}. {below}", spec.title))
    };
    let of_headline = summary.table.iter().filter(|score| score.group() == spec.headline);
    let below = format!("Percent. {}", below_scores(of_headline));
    let scores = table::scores(spec, summary, &spec.headline);
    render(&mut tex, &scores, &caption("Scores", &below), &format!("tab:{}-scores", label(&spec.study)));
    if let Some(differences) = table::differences(spec, summary, &spec.headline) {
        let of_table: Vec<&Difference> = summary.differences.iter().filter(|d| d.group() == spec.headline).collect();
        let below = format!("{} Bold: the interval excludes 0.", below_differences(&of_table));
        let name = format!("tab:{}-differences", label(&spec.study));
        render(&mut tex, &differences, &caption("Differences", &below), &name);
    }
    tex
}

fn render(tex: &mut String, table: &Table, caption: &str, label: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        tex,
        "\\begin{{table}}\n  \\centering\n  \\caption{{{caption}}}\n  \\label{{{label}}}\n  \\begin{{tabular}}{{l{}}}\n    \\toprule",
        "r".repeat(table.columns.len())
    );
    let heading = |title: &str, note: &str| match note {
        "" => escape(title),
        note => format!("{} ({})", escape(title), escape(note)),
    };
    let head: Vec<String> = table.columns.iter().map(|column| heading(&column.title, &column.note)).collect();
    let _ = writeln!(tex, "    {} & {} \\\\\n    \\midrule", escape(&table.corner), head.join(" & "));
    for row in &table.rows {
        let entries = row.entries.iter().map(|entry| {
            let figure = escape(&entry.figure);
            let figure = if entry.strong { format!("\\textbf{{{figure}}}") } else { figure };
            match entry.detail.as_str() {
                "" => figure,
                detail => format!("{figure} {{\\scriptsize [{}]}}", escape(detail)),
            }
        });
        let _ = writeln!(tex, "    {} & {} \\\\", escape(&row.label), entries.collect::<Vec<_>>().join(" & "));
    }
    tex.push_str("    \\bottomrule\n  \\end{tabular}\n\\end{table}\n");
}

/// A name that a label may have: letters, digits and hyphens.
fn label(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// Text in which nothing is a command. Letters of other scripts stay: the document must have fonts for them.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => safe.extend(['\\', c]),
            '\\' => safe.push_str("\\textbackslash{}"),
            '~' => safe.push_str("\\textasciitilde{}"),
            '^' => safe.push_str("\\textasciicircum{}"),
            '<' => safe.push_str("$<$"),
            '>' => safe.push_str("$>$"),
            '−' => safe.push_str("$-$"),
            '×' => safe.push_str("$\\times$"),
            '→' => safe.push_str("$\\to$"),
            '·' => safe.push_str("$\\cdot$"),
            '–' => safe.push_str("--"),
            '\n' | '\r' => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_a_command() {
        assert_eq!(
            escape("50 % & x_1 \\input{a} #2 $x$"),
            "50 \\% \\& x\\_1 \\textbackslash{}input\\{a\\} \\#2 \\$x\\$"
        );
        assert_eq!(escape("−1.5–2 a^b~c"), "$-$1.5--2 a\\textasciicircum{}b\\textasciitilde{}c");
        assert_eq!(label("a b/c_d"), "a-b-c-d");
    }
}

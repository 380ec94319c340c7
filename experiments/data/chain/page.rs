//! The page over the steps of a chain.

use std::fmt::Write;
use std::time::Duration;

use burn_vlm_base::progress::show_duration;

use super::file::{Filled, Step};
use super::setting::Setting;

const HEAD: &str = r#"<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
pre { overflow-x: auto; border: 1px solid #8884; border-radius: .3rem; padding: .5rem; }
th { text-align: left; padding-right: 1rem; vertical-align: top; } td { overflow-wrap: anywhere; }
.about { color: #888; }
</style>
"#;

/// One step: what it is, its command, its pages, and what it printed, if it is done.
pub(super) fn step(step: &Step, line: &str, links: &[String], done: Option<(f64, &str)>) -> String {
    let mut html = format!("<h2 id=\"{0}\">{0}</h2>\n<p>{1}</p>\n", escape(&step.name), escape(&step.about));
    let _ = writeln!(html, "<pre>{}</pre>", escape(line));
    match done {
        None => html.push_str("<p class=\"about\">not done yet</p>\n"),
        Some((seconds, text)) => {
            let _ = writeln!(html, "<p class=\"about\">{}</p>", show_duration(Duration::from_secs_f64(seconds)));
            for link in links {
                let _ = writeln!(html, "<p><a href=\"{0}\">{0}</a></p>", escape(link));
            }
            let _ = writeln!(html, "<pre>{}</pre>", escape(text.trim_end()));
        }
    }
    html
}

/// The whole page.
pub(super) fn page(filled: &Filled, preset: Option<&str>, body: &str) -> String {
    let name = escape(&filled.about.name);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{name}</title>\n{HEAD}<h1>{name}</h1>\n<p>{}</p>\n",
        escape(&filled.about.about)
    );
    if let Some(paper) = &filled.about.paper {
        let _ = writeln!(html, "<p class=\"about\">{}</p>", escape(paper));
    }
    if let Some(preset) = preset {
        let _ =
            writeln!(html, "<p>Preset {}. {}</p>", escape(preset), escape(filled.note.as_deref().unwrap_or_default()));
    }
    html.push_str("<p>");
    for step in &filled.steps {
        let _ = write!(html, "<a href=\"#{0}\">{0}</a> ", escape(&step.name));
    }
    html.push_str("</p>\n");
    html.push_str(body);
    html.push_str("<h2>Settings</h2>\n<table>\n");
    for (key, Setting { value, about, unstated, .. }) in &filled.settings {
        let about = about.as_deref().map(|about| format!("<td>{}</td>", escape(about))).unwrap_or_default();
        let unstated =
            unstated.as_deref().map(|what| format!("<td>not stated: {}</td>", escape(what))).unwrap_or_default();
        let _ = writeln!(html, "<tr><th>{}</th><td>{}</td>{about}{unstated}</tr>", escape(key), escape(value));
    }
    html.push_str("</table>\n</html>\n");
    html
}

/// Text in which nothing is markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

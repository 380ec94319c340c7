//! The page: one HTML file without anything from elsewhere, put together of the files in `page/`, with the task in it.
//!
//! Whatever is in a text, the browser runs nothing but this script and asks nobody but the server that it came from: its policy
//! (`Content-Security-Policy`) allows a script and a style sheet by a number that is another for every page.

use std::hash::{BuildHasher, Hasher, RandomState};

use burn_vlm_eval::build::calibrate::decide::VERSIONS;
use burn_vlm_eval::build::calibrate::{RULE, Task};
use serde_json::json;

/// Where what people do is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeps {
    /// In the browser, until it is saved as a file.
    Browser,
    /// At the server.
    Server,
}

/// A page and its policy.
pub(super) struct Page {
    pub(super) text: String,
    pub(super) policy: String,
}

/// The page of a task.
///
/// # Errors
/// None in practice: texts become JSON.
pub(super) fn page(task: &Task, keeps: Keeps) -> Result<Page, serde_json::Error> {
    let nonce = format!("{:016x}{:016x}", random(), random());
    let connect = if keeps == Keeps::Server { "'self'" } else { "'none'" };
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src {connect}; base-uri 'none'; \
         form-action 'none'"
    );
    let kept = json!({ "task": task, "server": keeps == Keeps::Server, "rule": RULE, "versions": VERSIONS });
    // Nothing in it ends the element that holds it.
    let kept = serde_json::to_string(&kept)?.replace('<', "\\u003c");
    let script = [include_str!("page/store.js"), include_str!("page/view.js"), include_str!("page/page.js")].concat();
    // What people wrote comes last, and no mark in the name is one.
    let title = escape(&format!("{}: {}", task.name, task.language.english_name())).replace("{{", "{ {");
    let text = include_str!("page/page.html")
        .replace("{{style}}", include_str!("page/page.css"))
        .replace("{{script}}", &script)
        .replace("{{nonce}}", &nonce)
        .replace("{{policy}}", &policy)
        .replace("{{title}}", &title)
        .replace("{{task}}", &kept);
    Ok(Page { text, policy })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number that nobody foresees.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use burn_vlm_data::language::Language;

    use super::*;

    #[test]
    fn the_page_is_whole_and_needs_nobody_else() {
        let (name, items, pictures) = ("</script><b>{{task}}".to_owned(), Vec::new(), Vec::new());
        let task = Task { name, language: Language::AR, source_language: Language::EN, items, pictures };
        let (one, other) = (page(&task, Keeps::Browser).unwrap(), page(&task, Keeps::Server).unwrap());
        assert!(one.text.starts_with("<!doctype html>") && one.text.trim_end().ends_with("</html>"));
        assert!(one.policy != other.policy && one.policy.contains("connect-src 'none'"));
        assert_eq!((one.text.matches("<script").count(), one.text.matches("</script>").count()), (2, 2));
        for mark in ["{{style}}", "{{script}}", "{{nonce}}", "{{policy}}", "{{title}}"] {
            assert!(!one.text.contains(mark), "{mark}");
        }
        for word in ["http://", "https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "document.write"] {
            assert!(!one.text.contains(word), "{word}");
        }
    }
}

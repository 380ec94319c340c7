//! What is done to a reply before it is scored.

/// Blocks of thought that lmms-eval's command line drops by default.
const BLOCKS: [&str; 2] = ["think", "analysis"];

/// A reply as lmms-eval's evaluator hands it on: stripped, without blocks of thought. An unclosed block stays; a closing tag alone
/// drops all before it.
pub fn lmms_eval(reply: &str) -> String {
    let mut text = reply.to_owned();
    for name in BLOCKS {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        while let Some(end) = text.find(&close) {
            let begin = text[..end].rfind(&open).unwrap_or(0);
            text.replace_range(begin..end + close.len(), "");
        }
    }
    text.trim().to_owned()
}

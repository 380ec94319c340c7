//! Scores in a model's card: each set of questions has a section between two marks. Asked again, it replaces its own section and
//! nothing else, so that what a person writes outside the marks stays.
//!
//! There is no `model-index` in the card's YAML: it wants each data set's name on the hub and the model's own, which a folder does not know.

use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn_vlm_base::files::write_atomic;

use super::card::FILE;
use crate::error::{Result, TrainError};
use crate::eval::Metric;
use crate::report::{ModelScore, model_scores_markdown};

/// What a section begins and ends with, around the name of what was asked.
const START: &str = "<!-- scores: ";
const END: &str = "<!-- end of scores: ";
const CLOSE: &str = " -->";
/// The heading below which the sections stand.
const HEADING: &str = "## Scores\n";
/// The name of the section that says that nothing was asked.
const NOTHING: &str = "none";

/// Scores as a card tells them.
#[derive(Debug, Clone, Copy)]
pub struct CardScores<'a> {
    /// What was asked: a study, a suite, a file of questions. The section of the same name is replaced.
    pub name: &'a str,
    /// What a reader must know, a paragraph each.
    pub said: &'a [String],
    /// What the scores mean.
    pub metrics: &'a [Metric],
    /// The scores.
    pub scores: &'a [ModelScore],
}

/// Writes scores into the card of the model in `folder`, which is begun where there is none. Returns the card's path.
///
/// # Errors
/// A card that cannot be read or written, or whose section has lost one of its marks.
pub fn write_scores(folder: &Path, scores: &CardScores<'_>) -> Result<PathBuf> {
    let path = folder.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "# A model\n".to_owned(),
        Err(error) => return Err(TrainError::io("cannot read", &path, error)),
    };
    let name = key(scores.name);
    let text = put(&text, &name, &section(&name, scores)).map_err(|why| TrainError::invalid(&path, why))?;
    write_atomic(&path, text.as_bytes())?;
    Ok(path)
}

/// The section of a card whose model was asked nothing.
pub(super) fn nothing() -> String {
    let text = "The training run asked no benchmark. `burn-vlm evaluate SUITE.toml --model DIR --card` does, and writes the scores with their \
                intervals in this place.";
    marked(NOTHING, text)
}

/// A card without its scores, with nothing else changed but what separates them: two cards that differ in scores alone are the same.
pub(super) fn without_scores(text: &str) -> String {
    let Ok(sections) = sections(text) else { return text.to_owned() };
    let (mut rest, mut from) = (String::new(), 0);
    for (_, range) in sections {
        rest.push_str(&text[from..range.start]);
        let after = &text[range.end..];
        from = range.end + after.len() - after.trim_start_matches(['\n', '\r']).len();
    }
    rest.push_str(&text[from..]);
    rest
}

/// A name that can stand in a comment of one line.
fn key(name: &str) -> String {
    let kept: String = name.chars().map(|c| if c.is_control() || "<>".contains(c) { ' ' } else { c }).collect();
    let mut name = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    while name.contains("--") {
        name = name.replace("--", "-");
    }
    if name.is_empty() || name == NOTHING { "scores".to_owned() } else { name }
}

fn marked(name: &str, text: &str) -> String {
    format!("{START}{name}{CLOSE}\n{}\n{END}{name}{CLOSE}", text.trim_end())
}

fn section(name: &str, CardScores { said, metrics, scores, .. }: &CardScores<'_>) -> String {
    let mut text = format!("### {name}\n\n");
    said.iter().for_each(|paragraph| text.push_str(&format!("{}\n\n", paragraph.trim())));
    text.push_str(&model_scores_markdown(scores));
    text.push_str(
        "\nScores are percent. N: questions. The 95 % intervals are of a bootstrap over what is asked about: how a score may move with other \
         questions of the same kind, not with another training run. Chance: the score of guessing.\n\n",
    );
    for metric in metrics.iter().filter(|metric| scores.iter().any(|score| score.metric == metric.name)) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- {}: {}", metric.label, metric.explanation);
    }
    marked(name, &text)
}

/// The sections of a card with their names, in their order.
fn sections(text: &str) -> std::result::Result<Vec<(String, Range<usize>)>, String> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(START).map(|at| from + at) {
        let named = at + START.len();
        let lost = |mark: &str| {
            format!(
                "the section of scores that begins with `{mark}` has lost its last line, `{END}...{CLOSE}`: put it back, or remove the first line"
            )
        };
        let Some(name) = text[named..].lines().next().and_then(|line| line.trim_end().strip_suffix(CLOSE)) else {
            return Err(lost(text[at..].lines().next().unwrap_or_default()));
        };
        let end = format!("{END}{name}{CLOSE}");
        let next = text[named..].find(START).map_or(text.len(), |next| named + next);
        let Some(last) = text[named..next].find(&end) else { return Err(lost(&format!("{START}{name}{CLOSE}"))) };
        from = named + last + end.len();
        found.push((name.to_owned(), at..from));
    }
    Ok(found)
}

/// A card with a section in the place of the one of that name, or of the one that says that nothing was asked; else behind the others;
/// else below the heading, which is added where there is none.
fn put(text: &str, name: &str, section: &str) -> std::result::Result<String, String> {
    let sections = sections(text)?;
    let of = |wanted: &str| sections.iter().find(|(name, _)| name == wanted).map(|(_, range)| range.clone());
    if let Some(range) = of(name).or_else(|| of(NOTHING)) {
        return Ok(format!("{}{section}{}", &text[..range.start], &text[range.end..]));
    }
    if let Some((_, last)) = sections.last() {
        return Ok(format!("{}\n\n{section}{}", &text[..last.end], &text[last.end..]));
    }
    let heading = match text.starts_with(HEADING) {
        true => Some(0),
        false => text.find(&format!("\n{HEADING}")).map(|at| at + 1),
    };
    Ok(match heading {
        Some(at) => {
            let (before, after) = text.split_at(at + HEADING.len());
            format!("{before}\n{section}\n\n{}", after.trim_start_matches('\n'))
        }
        None => format!("{}\n\n{HEADING}\n{section}\n", text.trim_end()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Subset;

    fn write(folder: &Path, name: &str, score: f64) -> Result<String> {
        let scores = [ModelScore {
            metric: "cloze".into(),
            label: "Cloze | far".into(),
            subset: Subset::default(),
            language: Some("de".into()),
            n: 150,
            score,
            low: score - 8.0,
            high: score + 8.0,
            chance: Some(25.0),
        }];
        let metric = |name: &str| Metric {
            name: name.into(),
            label: format!("The {name}"),
            explanation: "How it is asked.".into(),
            chance: Some(25.0),
        };
        let metrics = [metric("cloze"), metric("unasked")];
        let path = write_scores(
            folder,
            &CardScores { name, said: &["Said.".to_owned()], metrics: &metrics, scores: &scores },
        )?;
        Ok(fs::read_to_string(path).unwrap())
    }

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let made = format!("# A\n\n## Scores\n\n{}\n\n## How\n\nSo.\n", nothing());
        fs::write(folder.path().join(FILE), &made).unwrap();
        let first = write(folder.path(), "a study", 60.0).unwrap();
        assert!(
            first.contains("| 150 |  60.0 |     52.0–68.0 |   25.0 |") && first.contains("Cloze \\| far"),
            "{first}"
        );
        assert!(!first.contains("no benchmark") && !first.contains("unasked"), "{first}");
        assert_eq!(write(folder.path(), "a study", 60.0).unwrap(), first);
        // A person writes around it, other questions stand behind it.
        let edited = first.replace("## How", "It is tired on Mondays.\r\n\n## How").replace("# A\n", "# My model\n");
        fs::write(folder.path().join(FILE), &edited).unwrap();
        let both = write(folder.path(), "suite", 30.0).unwrap();
        let again = write(folder.path(), "a study", 70.0).unwrap();
        assert_eq!(again, both.replace("60.0", "70.0").replace("52.0–68.0", "62.0–78.0"));
        assert!(again.starts_with("# My model\n") && again.contains("Mondays.\r\n\n## How\n\nSo.\n"), "{again}");
        assert!(again.find("### a study") < again.find("### suite") && again.contains("30.0"), "{again}");
        assert_eq!(again.matches(START).count(), 2);
        assert_eq!(without_scores(&first), without_scores(&made));
        assert_eq!(without_scores(&again), without_scores(&edited));
    }

    #[test]
    fn cards_of_others_get_the_section_where_it_belongs() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            write(folder.path(), "x", 50.0)
                .unwrap()
                .starts_with("# A model\n\n## Scores\n\n<!-- scores: x -->\n### x\n")
        );
        fs::write(folder.path().join(FILE), "---\nlicense: mit\n---\n# Theirs\n\n## Scores\n\nTheir table.\n").unwrap();
        let text = write(folder.path(), "a --> b\n", 50.0).unwrap();
        assert!(
            text.starts_with("---\nlicense: mit\n---\n# Theirs\n\n## Scores\n\n<!-- scores: a - b -->\n"),
            "{text}"
        );
        assert!(text.ends_with("<!-- end of scores: a - b -->\n\nTheir table.\n"), "{text}");
        assert_eq!(write(folder.path(), "a --> b", 50.0).unwrap(), text);
        // A lost mark is told: a guess could swallow what stands behind it.
        let torn = text.replace("<!-- end of scores: a - b -->\n", "");
        fs::write(folder.path().join(FILE), &torn).unwrap();
        let error = write(folder.path(), "other", 50.0).unwrap_err().to_string();
        assert!(
            error.contains("README.md") && error.contains("<!-- scores: a - b -->") && error.contains("put it back"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), torn);
    }
}

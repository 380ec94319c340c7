//! The vision encoders by themselves: how well each finds a picture's name by similarity, before any projector or language model.

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_base::files::{read_json_if_there, write_json_atomic};
use serde::{Deserialize, Serialize};

use crate::ablation::FinishedCell;
use crate::error::Result;
use crate::eval::RetrievalScore;
use crate::report::{Section, StudySpec, signed};

/// What an encoder's folder says of it.
const RETRIEVAL: &str = "retrieval.json";
/// The same in a cell's folder.
const ENCODER: &str = "encoder.json";
/// Questions about concepts that the encoder saw, with distractors that differ clearly: the easiest.
const SHOWN: (&str, &str) = ("far", "seen");
/// The same of words in pictures, of encoders that were trained on some.
const READ: (&str, &str) = ("far", "plain words");

/// The encoder of a cell, and what it can do by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct EncoderAlone {
    /// The part's name or folder, as the recipe has it.
    part: String,
    retrieval: Vec<RetrievalScore>,
}

/// Keeps with a cell what its encoder can do by itself, where the encoder's folder says so.
///
/// # Errors
/// A file that cannot be read or written.
pub(super) fn keep(part: &str, encoder: &Path, cell: &Path) -> Result<()> {
    let retrieval: Option<Vec<RetrievalScore>> = read_json_if_there(&encoder.join(RETRIEVAL))?;
    match retrieval {
        Some(retrieval) => {
            Ok(write_json_atomic(&cell.join(ENCODER), &EncoderAlone { part: part.to_owned(), retrieval })?)
        }
        None => Ok(()),
    }
}

/// The section; none where no encoder says what it can do.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn section(cells: &[FinishedCell], spec: &StudySpec) -> Result<Option<Section>> {
    let (mut encoders, mut readers): (Vec<Alone>, Vec<Alone>) = (Vec::new(), Vec::new());
    let mut languages: Vec<String> = Vec::new();
    for cell in cells {
        let Some(alone) = read_json_if_there::<EncoderAlone>(&cell.folder.join(ENCODER))? else { continue };
        if encoders.iter().any(|(part, _)| *part == alone.part) {
            continue;
        }
        let [shown, read] = [SHOWN, READ].map(|part| of_part(&alone.retrieval, part));
        for tag in shown.keys().chain(read.keys()) {
            if !languages.contains(tag) {
                languages.push(tag.clone());
            }
        }
        if !read.is_empty() {
            readers.push((format!("{}: plain words", alone.part), read));
        }
        encoders.push((alone.part, shown));
    }
    if encoders.is_empty() || languages.is_empty() {
        return Ok(None);
    }
    let mut rows: Vec<(String, Vec<String>)> = encoders
        .iter()
        .chain(&readers)
        .map(|(part, scores)| {
            let figure = |tag: &String| scores.get(tag).map_or_else(|| "–".to_owned(), |score| format!("{score:.1}"));
            (part.clone(), languages.iter().map(figure).collect())
        })
        .collect();
    let names: Vec<String> = languages.iter().map(|tag| spec.language_names.get(tag).unwrap_or(tag).clone()).collect();
    let mut finding = None;
    if let [(first, from), (second, to)] = &encoders[..] {
        let apart: Vec<Option<f64>> = languages.iter().map(|tag| Some(to.get(tag)? - from.get(tag)?)).collect();
        let figure = |apart: &Option<f64>| apart.map_or_else(|| "–".to_owned(), signed);
        rows.push((format!("{second} − {first}"), apart.iter().map(figure).collect()));
        finding = extremes(&names, &apart).map(|words| {
            format!("before any projector, {second} finds a picture's name among four better than {first} by {words}.")
        });
    }
    let columns: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut section = Section::new("parts", "The encoders by themselves")
        .text(
            "Percent of pictures whose name the dual encoder's own text tower finds among four by similarity (far distractors, seen \
             concepts), before any projector or language model: chance is 25 %. What a model scores below this is lost behind the \
             encoder, or is not understood by the language model; what two encoders differ by here and not in the tables above is left \
             behind the projector.",
        )
        .table("Encoder", &columns, rows);
    if !readers.is_empty() {
        let words = "Words: the same of held-out words in pictures, in held-out fonts and layouts.";
        section = section.text(words);
    }
    if let Some(finding) = finding {
        section = section.finding("The encoders by themselves", finding);
    }
    Ok(Some(section))
}

/// An encoder, and its percent right by language.
type Alone = (String, BTreeMap<String, f64>);

/// The scores of one kind of questions (distractors, concepts) by language.
fn of_part(retrieval: &[RetrievalScore], (distractors, concepts): (&str, &str)) -> BTreeMap<String, f64> {
    let of = retrieval.iter().filter(|score| score.distractors == distractors && score.concepts == concepts);
    of.map(|score| (score.language.clone(), score.score)).collect()
}

/// The smallest and the largest difference, with their languages.
fn extremes(names: &[String], apart: &[Option<f64>]) -> Option<String> {
    let known: Vec<(&String, f64)> =
        names.iter().zip(apart).filter_map(|(name, apart)| Some((name, (*apart)?))).collect();
    let least = known.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let most = known.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(format!("{} ({}) to {} points ({})", signed(least.1), least.0, signed(most.1), most.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ablation::{Cell, Done};
    use crate::report::tests::fake;
    use crate::report::{ReportInput, html, summarise};

    fn finished(name: &str, folder: std::path::PathBuf) -> FinishedCell {
        let cell = Cell {
            name: format!("{name}/seed0"),
            setting: name.into(),
            axes: Vec::new(),
            seed: 0,
            recipe: toml::Table::new(),
            evaluation: toml::Table::new(),
        };
        let done = Done {
            cell: cell.name.clone(),
            hash: String::new(),
            started: String::new(),
            finished: String::new(),
            seconds: 1.0,
            result: serde_json::Value::Null,
        };
        FinishedCell { cell, folder, done }
    }

    #[test]
    fn encoders_stand_beside_each_other_with_what_they_differ_by() {
        let folder = tempfile::tempdir().unwrap();
        let score = |language: &str, distractors: &str, score: f64| RetrievalScore {
            language: language.into(),
            distractors: distractors.into(),
            concepts: "seen".into(),
            n: 10,
            score,
        };
        let mut cells = Vec::new();
        for (number, (part, de)) in [("siglip1", 35.0), ("siglip2", 75.25), ("siglip2", 1.0)].into_iter().enumerate() {
            let (encoder, cell) = (folder.path().join(format!("part{number}")), folder.path().join(number.to_string()));
            std::fs::create_dir_all(&encoder).unwrap();
            std::fs::create_dir_all(&cell).unwrap();
            // Without a retrieval.json nothing is kept, and nothing goes wrong.
            keep(part, &encoder, &cell).unwrap();
            assert!(!cell.join(ENCODER).exists());
            let scores = vec![score("en", "far", 89.0), score("de", "far", de), score("de", "near", 5.0)];
            write_json_atomic(&encoder.join(RETRIEVAL), &scores).unwrap();
            keep(part, &encoder, &cell).unwrap();
            cells.push(finished(part, cell));
        }
        let spec = fake::two_by_two();
        let section = section(&cells, &spec).unwrap().unwrap();
        let outcomes = fake::outcomes(&spec, &[0], 4);
        let summary = summarise(&spec, &outcomes, fake::provenance(&[0])).unwrap();
        let sections = [section];
        let input = ReportInput { spec: &spec, summary: &summary, losses: &[], examples: &[], sections: &sections };
        let page = html(&input);
        let md = crate::report::markdown(&spec, &summary, &sections, false);
        for row in ["| siglip1 | 35.0 | 89.0 |", "| siglip2 | 75.2 | 89.0 |", "| siglip2 − siglip1 | +40.2 | 0.0 |"] {
            assert!(md.contains(row), "no `{row}` in\n{md}");
        }
        assert!(md.contains("better than siglip1 by 0.0 (English) to +40.2 points (German)"), "{md}");
        assert!(page.contains("id=\"parts\""));
    }

    #[test]
    fn encoders_that_read_have_a_row_of_words() {
        let folder = tempfile::tempdir().unwrap();
        let score = |language: &str, concepts: &str, score: f64| RetrievalScore {
            language: language.into(),
            distractors: "far".into(),
            concepts: concepts.into(),
            n: 10,
            score,
        };
        let scores = [
            score("en", "seen", 89.0),
            score("en", "plain words", 40.5),
            score("el", "plain words", 33.0),
            score("el", "small words", 1.0),
        ];
        write_json_atomic(&folder.path().join(RETRIEVAL), &scores).unwrap();
        keep("ocr", folder.path(), folder.path()).unwrap();
        let spec = fake::two_by_two();
        let section = section(&[finished("ocr", folder.path().to_owned())], &spec).unwrap().unwrap();
        let summary = summarise(&spec, fake::outcomes(&spec, &[0], 4), fake::provenance(&[0])).unwrap();
        let md = crate::report::markdown(&spec, &summary, &[section], false);
        for row in ["| ocr | 89.0 | – |", "| ocr: plain words | 40.5 | 33.0 |", "held-out words in pictures"] {
            assert!(md.contains(row), "no `{row}` in\n{md}");
        }
    }
}

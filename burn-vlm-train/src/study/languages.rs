//! The languages of a study one by one: how they are written, what they are related to, how much each was trained on, and the scores.

use burn_vlm_data::language::Language;

use super::strata::{language_of, languages_of};
use crate::report::{Score, Section, StageSummary, StudySpec, Summary, percent_share};
use crate::stats::Axes;

/// Columns of the languages themselves, before those of the settings.
const ABOUT: [&str; 4] = ["Tag", "Script", "Family, branch", "N"];

/// The section; none where the headline has no language.
pub(super) fn section(spec: &StudySpec, summary: &Summary) -> Option<Section> {
    let cells = summary.cell_axes();
    let of_headline: Vec<&Score> = summary.languages.iter().filter(|s| s.group() == spec.headline).collect();
    let mut tags: Vec<&String> = Vec::new();
    let of_columns = spec.columns.iter().flat_map(|column| &column.languages);
    for tag in of_columns.chain(of_headline.iter().map(|score| &score.column)) {
        if !tags.contains(&tag) && of_headline.iter().any(|score| score.column == *tag) {
            tags.push(tag);
        }
    }
    tags.first()?;
    let rows = tags.iter().map(|&tag| {
        let language = language_of(tag);
        let kin = Language::parse(language).ok().and_then(Language::kin);
        let n = of_headline.iter().find(|score| score.column == *tag).map_or(0, |score| score.n);
        let mut figures = vec![
            language.to_owned(),
            kin.map_or("–", |kin| kin.script).to_owned(),
            kin.map_or_else(|| "–".to_owned(), |kin| format!("{}, {}", kin.family, kin.branch)),
            n.to_string(),
        ];
        figures.extend(cells.iter().map(|axes| {
            let share = last_stage(summary, axes).and_then(|stage| stage.samples.as_ref());
            let share = share.map_or_else(|| "?".to_owned(), |drawn| percent_share(drawn.share(language)));
            match of_headline.iter().find(|score| score.column == *tag && score.axes == **axes) {
                Some(score) => format!("{share}: {:.1} ({:.1}–{:.1})", score.score, score.low, score.high),
                None => share,
            }
        }));
        (spec.language_names.get(tag).unwrap_or(tag).clone(), figures)
    });
    let labels: Vec<String> = cells.iter().map(|axes| spec.cell_label(axes)).collect();
    let columns: Vec<&str> = ABOUT.into_iter().chain(labels.iter().map(String::as_str)).collect();
    let stage = cells.iter().find_map(|axes| last_stage(summary, axes)).map_or("", |stage| stage.stage.as_str());
    let over = crate::report::over_scores(of_headline.iter().copied());
    let group = spec.group_label(&spec.headline);
    let mut section = Section::new("kin", "Languages and their share of the training")
        .text(format!(
            "Of each setting: the language's share of the samples of its last stage ({stage}), then the score in percent ({group}) with \
             its 95 % interval over {over}. Script by ISO 15924, family and branch by Glottolog's names."
        ))
        .table("Language", &columns, rows.collect());
    for sentence in without_samples(spec, summary) {
        section = section.text(sentence);
    }
    Some(section)
}

/// The last stage of the first seed of a cell.
fn last_stage<'a>(summary: &'a Summary, axes: &Axes) -> Option<&'a StageSummary> {
    let of_cell = || summary.stages.iter().filter(|stage| stage.axes == *axes);
    let seed = of_cell().map(|stage| stage.seed).min()?;
    of_cell().rfind(|stage| stage.seed == seed)
}

/// Which languages of a column no stage of any setting, or not the last stage of a setting, has a sample in: a line a column. Nothing
/// where that was not noted.
pub(super) fn without_samples(spec: &StudySpec, summary: &Summary) -> Vec<String> {
    if summary.stages.is_empty() || summary.stages.iter().any(|stage| stage.samples.is_none()) {
        return Vec::new();
    }
    let cells = summary.cell_axes();
    let has = |stage: &StageSummary, tag: &String| {
        stage.samples.as_ref().is_some_and(|drawn| drawn.by_language.get(tag).is_some_and(|samples| *samples > 0))
    };
    let mut lines = Vec::new();
    for column in &spec.columns {
        let languages = languages_of(column);
        let never = |tag: &&String| !summary.stages.iter().any(|stage| has(stage, tag));
        let never: Vec<&str> = languages.iter().filter(never).map(String::as_str).collect();
        if !never.is_empty() {
            lines.push(format!(
                "{}: no stage of any setting has a sample in {}: these scores rest on what the parts knew before.",
                column.name,
                never.join(", ")
            ));
        }
        // By what is missing: settings that miss the same stand together.
        let mut missing: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
        for axes in &cells {
            let Some(stage) = last_stage(summary, axes) else { continue };
            let lacks = |tag: &&String| !has(stage, tag) && !never.contains(&tag.as_str());
            let lacks: Vec<&str> = languages.iter().filter(lacks).map(String::as_str).collect();
            if lacks.is_empty() {
                continue;
            }
            match missing.iter_mut().find(|(known, _)| *known == lacks) {
                Some((_, settings)) => settings.push(spec.cell_label(axes)),
                None => missing.push((lacks, vec![spec.cell_label(axes)])),
            }
        }
        for (tags, settings) in missing {
            lines.push(format!(
                "{}: the last stage has no sample in {} with {}.",
                column.name,
                tags.join(", "),
                settings.join("; ")
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::tests::fake;
    use crate::report::{markdown, summarise};
    use crate::run::DrawnSamples;

    /// The fake study, of which every cell drew 30 German and 10 English samples in its last stage, those of `en` 40 English ones; the
    /// first stage of all saw French too.
    fn study() -> (StudySpec, Summary) {
        let spec = fake::two_by_two();
        let mut summary = summarise(&spec, fake::outcomes(&spec, &[0], 10), fake::provenance(&[0])).unwrap();
        let drawn = |languages: &[(&str, u64)]| DrawnSamples {
            samples: 40,
            records: 20,
            distinct: 20,
            by_language: languages.iter().map(|(tag, count)| ((*tag).to_owned(), *count)).collect(),
            by_source: BTreeMap::new(),
        };
        let stages = summary.cell_axes().into_iter().flat_map(|axes| {
            let last: &[(&str, u64)] = if axes["data"] == "en" { &[("en", 40)] } else { &[("de", 30), ("en", 10)] };
            let stage = |name: &str, languages: &[(&str, u64)]| StageSummary {
                axes: axes.clone(),
                seed: 0,
                stage: name.to_owned(),
                steps: 5,
                samples: Some(drawn(languages)),
                tokens: 1000,
                trained_parameters: Some(12_345),
                training_bytes: Some(1_234_567),
                loss: Some(1.25),
                loss_by_language: [("de", 1.125), ("en", 1.375)].map(|(tag, loss)| (tag.to_owned(), loss)).into(),
                loss_by_source: BTreeMap::new(),
                held_out_loss: Some(2.0),
                held_out_loss_by_language: BTreeMap::from([("de".to_owned(), 1.5)]),
                held_out_loss_by_source: [("caption/de", 1.5), ("caption/en", 2.5)]
                    .map(|(s, l)| (s.to_owned(), l))
                    .into(),
            };
            [stage("align", &[("en", 20), ("fr", 20)]), stage("finetune", last)]
        });
        summary.stages = stages.collect();
        (spec, summary)
    }

    #[test]
    fn languages_stand_with_script_family_share_and_score() {
        let (spec, summary) = study();
        let sections =
            [section(&spec, &summary).unwrap(), crate::study::training::section(&summary.stages, &spec).unwrap()];
        let md = markdown(&spec, &summary, &sections, false);
        let axes = summary.cell_axes()[1].clone();
        let score = summary.languages.iter().find(|s| s.column == "de" && s.axes == axes).unwrap();
        let of_de = format!("75.0 %: {:.1} ({:.1}–{:.1})", score.score, score.low, score.high);
        let row = md.lines().find(|line| line.starts_with("| German | de |")).unwrap();
        assert!(
            row.starts_with("| German | de | Latin | Indo-European, Germanic | 10 | 0.0 %: ") && row.contains(&of_de),
            "{row}"
        );
        assert!(
            md.contains("| Chinese, simplified | zh-Hans | Han (simplified) | Sino-Tibetan, Sinitic | 10 |"),
            "{md}"
        );
        // The stages: 40 samples from 20 records are two epochs.
        let stage = "| SigLIP 1 (English) · En + Multi: finetune | 5 | 40 | 2.00 | 20 | 1,000 | 12,345 | 1.2 MB | 1.250 | 2.000 |";
        assert!(md.contains(stage), "{md}");
        // What was validated on, by source: a row each, of all settings and stages.
        assert!(md.contains(&format!("| caption/en |{}", " 2.500 |".repeat(8))), "{md}");
        // By language, in the order of the columns: English, German, French.
        assert!(md.contains("| SigLIP 1 (English) · En + Multi: finetune | 10 (25.0 %) | 30 (75.0 %) | 0 |"), "{md}");
        assert!(md.contains("| SigLIP 1 (English) · En + Multi: finetune | 1.375 | 1.125 |"), "{md}");
    }

    #[test]
    fn columns_without_samples_are_told() {
        let (spec, mut summary) = study();
        let lines = without_samples(&spec, &summary);
        let expected = [
            "Multi: no stage of any setting has a sample in ru, zh-Hans: these scores rest on what the parts knew before.",
            "Multi: the last stage has no sample in de, fr with SigLIP 1 (English) · En; SigLIP 2 (multilingual) · En.",
            "Multi: the last stage has no sample in fr with SigLIP 1 (English) · En + Multi; SigLIP 2 (multilingual) · En + Multi.",
            "Unseen: no stage of any setting has a sample in es, nl: these scores rest on what the parts knew before.",
        ];
        assert_eq!(lines, expected);
        // What was not noted is not said to be missing.
        summary.stages[0].samples = None;
        assert!(without_samples(&spec, &summary).is_empty());
    }
}

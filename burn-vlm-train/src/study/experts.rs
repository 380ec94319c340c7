//! What the cells' `analysis.json` say together: the report's section on language experts.

use std::fmt::Write;

use crate::ablation::FinishedCell;
use crate::analysis::{Alignment, Analysis, ExpertSimilarity, Moment, RoutingFindings};
use crate::error::{Result, TrainError};
use crate::report::{HeatMap, Scatter, ScatterPoint, Section, StudySpec};
use crate::stats::Axes;

/// Permutation tests below this are called evidence.
const SIGNIFICANT: f64 = 0.05;
/// Prompts are routed without chance, so the test finds any difference; below this share of the possible it is called negligible.
const NEGLIGIBLE: f64 = 0.01;
/// Routing with at least this share of the greatest entropy mixes all experts nearly alike.
const ALIKE: f64 = 0.98;
/// Visual tokens whose mean cosine across prompts is above this are drawn as one.
const COINCIDES: f64 = 0.999;
const NEXT_TO_NOTHING: &str =
    "The prompt's language changes the routing by next to nothing (less than 1 % of what is possible) in";
const NOT_SHOWN: &str = "That the prompt's language changes the routing could not be shown in";

/// One cell's findings with its name in words.
struct Found {
    label: String,
    /// With the cell's setting after its first seed left out.
    analysis: Analysis,
    first_seed: bool,
}

/// The section; none where no cell was analysed.
///
/// # Errors
/// An `analysis.json` that cannot be read.
pub fn section(
    cells: &[FinishedCell],
    spec: &StudySpec,
    axes: impl Fn(&FinishedCell) -> Axes,
) -> Result<Option<Section>> {
    let mut found = Vec::new();
    let several = cells.iter().any(|cell| cell.cell.seed > 0);
    for cell in cells {
        let path = cell.folder.join("analysis.json");
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(|e| TrainError::io("cannot read", &path, e))?;
        let analysis: Analysis = serde_json::from_slice(&bytes).map_err(|e| {
            let help = format!("delete the folder {} and run the same command again", cell.folder.display());
            TrainError::invalid(&path, format!("{e}; {help}"))
        })?;
        let mut label = spec.cell_label(&axes(cell));
        if several {
            let _ = write!(label, " (seed {})", cell.cell.seed);
        }
        found.push(Found { label, analysis, first_seed: cell.cell.seed == 0 });
    }
    let Some(first) = found.first() else { return Ok(None) };
    let tags = &first.analysis.languages;
    let languages: Vec<String> = tags.iter().map(|tag| spec.language_names.get(tag).unwrap_or(tag).clone()).collect();
    let mut section = Section::new("experts", "What the connector does with the prompt's language")
        .text(intro(&first.analysis))
        .text(verdict(&found));
    if let Some(sentence) = in_one_sentence(&found) {
        section = section.finding("Experts", sentence);
    }
    let routed: Vec<(&Found, &RoutingFindings)> =
        found.iter().filter_map(|cell| Some((cell, cell.analysis.routing.as_ref()?))).collect();
    if !routed.is_empty() {
        section = routing(section, &routed, &languages);
    }
    section = tokens(section, &found);
    Ok(Some(maps(section, &found, &languages)))
}

fn intro(analysis: &Analysis) -> String {
    format!(
        "{} pictures (seen concepts, the scored style) were shown under the question \"What is this?\" in each of {} languages, as in \
         generation: every word of the prompt takes part in the routing.",
        analysis.pictures,
        analysis.languages.len()
    )
}

/// The plain answer to whether the experts are routed by language.
fn verdict(found: &[Found]) -> String {
    let answers = ["The routing depends on the prompt's language in", NEXT_TO_NOTHING, NOT_SHOWN];
    let mut cells: [Vec<String>; 3] = Default::default();
    for cell in found {
        let Some(routing) = &cell.analysis.routing else { continue };
        let RoutingFindings { information, max_entropy, p, .. } = routing;
        let most = max_entropy.min((cell.analysis.languages.len() as f64).log2());
        let answer = match (*p < SIGNIFICANT, *information < NEGLIGIBLE * most) {
            (false, _) => 2,
            (true, true) => 1,
            (true, false) => 0,
        };
        let bits = format!("{} ({information:.4} of at most {most:.2} bits, p {})", cell.label, p_value(routing));
        cells[answer].push(bits);
    }
    let sentence = |(answer, cells): (&str, &Vec<String>)| format!("{answer}: {}.", cells.join("; "));
    let told = answers.into_iter().zip(&cells).filter(|(_, cells)| !cells.is_empty()).map(sentence);
    match told.collect::<Vec<_>>() {
        told if told.is_empty() => "No cell has experts.".to_owned(),
        told => told.join(" "),
    }
}

/// The same for the top of the report; none without experts.
fn in_one_sentence(found: &[Found]) -> Option<String> {
    let routed: Vec<(&Found, &RoutingFindings)> =
        found.iter().filter_map(|cell| Some((cell, cell.analysis.routing.as_ref()?))).collect();
    let (cell, most) = routed.iter().max_by(|a, b| a.1.information.total_cmp(&b.1.information))?;
    let began = cell.analysis.moments.iter().rev().skip(1).find_map(|moment| moment.information);
    let began = began.map_or_else(String::new, |bits| format!(", {bits:.4} as its last stage began"));
    let even = routed.iter().map(|(_, routing)| routing.entropy).fold(f64::INFINITY, f64::min);
    let cells = match routed.len() {
        1 => "1 cell has experts".to_owned(),
        n => format!("{n} cells have experts"),
    };
    Some(format!(
        "{cells}. Prompt language and expert share at most {:.4} bits at the end ({}{began}); a prompt's weights have an entropy of at least \
         {even:.3} of {:.3} bits, which is {}.",
        most.information,
        cell.label,
        most.max_entropy,
        if even > ALIKE * most.max_entropy { "all experts nearly alike" } else { "not all experts alike" }
    ))
}

fn p_value(routing: &RoutingFindings) -> String {
    let least = 1.0 / (routing.permutations + 1) as f64;
    if routing.p <= least { format!("≤ {least:.3}") } else { format!("= {:.3}", routing.p) }
}

fn routing(section: Section, routed: &[(&Found, &RoutingFindings)], languages: &[String]) -> Section {
    let rows = routed
        .iter()
        .map(|(cell, routing)| {
            let experts = cell.analysis.experts.as_ref();
            let pair = |matrix: Option<&Vec<Vec<f64>>>| {
                matrix.map_or("–".to_owned(), |matrix| format!("{:.2}", ExpertSimilarity::mean_pair(matrix)))
            };
            let figures = vec![
                format!("{:.4}", routing.information),
                p_value(routing),
                format!("{:.2} of {:.2}", routing.entropy, routing.max_entropy),
                pair(experts.map(|experts| &experts.cka)),
                pair(experts.map(|experts| &experts.cosine)),
            ];
            (cell.label.clone(), figures)
        })
        .collect();
    let map = |(cell, routing): &(&Found, &RoutingFindings)| HeatMap {
        title: cell.label.clone(),
        rows: languages.to_vec(),
        columns: (1..=routing.weights.first().map_or(0, Vec::len)).map(|expert| expert.to_string()).collect(),
        values: routing.weights.clone(),
    };
    let similarity = |(cell, _): &(&Found, &RoutingFindings)| {
        let matrix = &cell.analysis.experts.as_ref()?.cka;
        let names: Vec<String> = (1..=matrix.len()).map(|expert| expert.to_string()).collect();
        Some(HeatMap { title: cell.label.clone(), rows: names.clone(), columns: names, values: matrix.clone() })
    };
    let first = |cell: &&(&Found, &RoutingFindings)| cell.0.first_seed;
    section
        .table(
            "Cell",
            &["language – expert, bits", "p (permutation)", "entropy of a prompt, bits", "CKA of experts", "cosine of experts"],
            rows,
        )
        .text(
            "Bits: mutual information between the prompt's language and the expert; the test exchanges the languages within each \
             picture. There is one question a language and no chance in the routing, so that any router, trained or not, tells the \
             questions apart a little and the test finds it: look at the bits, and at what they were as the stage began (below). CKA and cosine compare the outputs of two experts on the same tokens, mean over pairs: 1 means that they \
             compute the same.",
        )
        .heat_maps(
            "routing",
            "Routing weights by prompt language",
            "Mean weight of each expert (columns) under prompts of each language (rows): Parrot's Figure 7c for all languages",
            routed.iter().filter(first).map(map).collect(),
        )
        .heat_maps(
            "experts",
            "How alike the experts are",
            "Linear CKA of two experts' outputs on the same visual tokens",
            routed.iter().filter(first).filter_map(similarity).collect(),
        )
}

fn tokens(section: Section, found: &[Found]) -> Section {
    let figures = |Moment { projected, visual, text, information, .. }: &Moment| {
        let bits = information.map_or("–".to_owned(), |bits| format!("{bits:.4}"));
        vec![
            format!("{projected:.2}"),
            format!("{visual:.2}"),
            format!("{text:.2}"),
            format!("{:.2}", visual / text),
            bits,
        ]
    };
    let rows = found.iter().flat_map(|cell| {
        cell.analysis.moments.iter().filter(|moment| moment.at != first_stage(cell)).map(|moment| {
            let at = if moment.at == "end" { "at the end".to_owned() } else { format!("as {} begins", moment.at) };
            (format!("{}, {at}", cell.label), figures(moment))
        })
    });
    section
        .table(
            "Mean length of a token",
            &["behind the projector (H)", "as the decoder gets it (G)", "word embeddings", "G / words", "language – expert, bits"],
            rows.collect(),
        )
        .text(
            "With the residual of the published code (M + w H) stage 2 begins with w times the tokens that stage 1 made, plus what untrained \
             experts add; with the paper's (H + w M) nearly with those tokens.",
        )
}

fn maps(section: Section, found: &[Found], languages: &[String]) -> Section {
    let rows = found.iter().flat_map(|cell| {
        cell.analysis.alignment.iter().map(|Alignment { place, prompt_language, across_prompts, .. }| {
            let figures = vec![format!("{:.1}", 100.0 * prompt_language), format!("{across_prompts:.3}")];
            (format!("{}, {}", cell.label, words(place, cell)), figures)
        })
    });
    let chance = 100.0 / languages.len().max(1) as f64;
    // Cells with two maps first, so that their pairs stand side by side.
    let mut shown: Vec<&Found> = found.iter().filter(|cell| cell.first_seed).collect();
    shown.sort_by_key(|cell| std::cmp::Reverse(cell.analysis.alignment.len()));
    let panels = shown.into_iter().flat_map(|cell| {
        let panel = move |alignment: &Alignment| Scatter {
            title: cell.label.clone(),
            note: words(&alignment.place, cell).to_owned(),
            points: alignment
                .points
                .iter()
                .map(|point| {
                    let coincides = point.visual && alignment.across_prompts > COINCIDES;
                    let series = point.language.filter(|_| !coincides);
                    ScatterPoint { at: point.at, series, filled: point.visual }
                })
                .collect(),
        };
        cell.analysis.alignment.iter().filter(|alignment| !alignment.points.is_empty()).map(panel)
    });
    let panels: Vec<Scatter> = panels.collect();
    let section = section
        .table("Visual tokens", &["points to the prompt's language, %", "cosine across prompts"], rows.collect())
        .text(format!(
            "First column: pictures x languages whose mean visual token lies nearest (by angle, each side less its mean) to the word \
             embeddings of its prompt's language; chance is {chance:.1} %, which tokens that no prompt changes have exactly. Second: \
             cosine between the tokens of a picture under two prompt languages; 1 where the prompt changes nothing."
        ));
    if panels.is_empty() {
        return section;
    }
    section.scatters(
        "tsne",
        "Visual tokens and words",
        "t-SNE of directions: mean visual token of each picture under each prompt language, and mean word embedding of its name (Parrot's \
         Figure 6). Grey: visual tokens that the prompt's language does not change.",
        (languages, "visual tokens", "names"),
        panels,
    )
}

/// The first stage, before which nothing has been learnt.
fn first_stage(cell: &Found) -> &str {
    cell.analysis.moments.first().filter(|moment| moment.at != "end").map_or("", |moment| &moment.at)
}

/// `before` and `after` in words.
fn words(place: &str, cell: &Found) -> &'static str {
    match (place, cell.analysis.routing.is_some()) {
        ("before", true) => "before the experts",
        ("after", _) => "after the experts",
        _ => "behind the projector",
    }
}

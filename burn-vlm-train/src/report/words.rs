//! What a study found, in words that its intervals allow.

use super::panels::{plain, signed};
use super::{Difference, StudySpec, Summary};

/// The finding of a study.
pub(super) struct Findings {
    /// What differs, by an interval that excludes 0, and what does not: a step along an axis (may be empty) and what holds for it.
    pub headline: Vec<(String, String)>,
    /// The highest score of each column.
    pub best: String,
    /// What holds for each step along an axis.
    pub steps: Vec<Finding>,
}

/// What holds for one step along an axis.
pub(super) struct Finding {
    /// The step in words.
    pub step: String,
    /// Where the interval of the difference excludes 0.
    pub clear: Vec<String>,
    /// Where it does not.
    pub unclear: Vec<String>,
}

/// Steps that the headline names; the others are counted.
const NAMED_STEPS: usize = 6;

/// What differs, by an interval that excludes 0, in the headline group, and what does not.
pub(super) fn findings(spec: &StudySpec, summary: &Summary) -> Findings {
    let of_headline: Vec<&Difference> = summary.differences.iter().filter(|d| d.group() == spec.headline).collect();
    let mut steps: Vec<(Finding, Vec<&Difference>)> = Vec::new();
    for difference in of_headline {
        let step = step_words(spec, difference);
        let at = steps.iter().position(|(finding, _)| finding.step == step).unwrap_or(steps.len());
        if at == steps.len() {
            steps.push((Finding { step, clear: Vec::new(), unclear: Vec::new() }, Vec::new()));
        }
        let (finding, differences) = &mut steps[at];
        let side = if difference.excludes_zero { &mut finding.clear } else { &mut finding.unclear };
        side.push(place_words(spec, difference));
        differences.push(difference);
    }
    Findings {
        headline: headline(summary, &steps),
        best: best(spec, summary),
        steps: steps.into_iter().map(|(finding, _)| finding).collect(),
    }
}

fn headline(summary: &Summary, steps: &[(Finding, Vec<&Difference>)]) -> Vec<(String, String)> {
    let alone = |text: String| vec![(String::new(), text)];
    let mut pairs: Vec<&(Finding, Vec<&Difference>)> =
        steps.iter().filter(|(_, differences)| differences.iter().all(|d| d.against.is_none())).collect();
    if pairs.is_empty() {
        let text = match summary.cell_axes().len() {
            1 => "There is one cell: nothing to compare.",
            _ => "No two cells differ in a single axis: nothing to compare.",
        };
        return alone(text.to_owned());
    }
    if pairs.iter().all(|(finding, _)| finding.clear.is_empty()) {
        let count: usize = pairs.iter().map(|(_, differences)| differences.len()).sum();
        return alone(format!(
            "None of the {count} differences between cells has a 95 % interval that excludes 0: this run does not tell them apart."
        ));
    }
    // The step that changes most comes first; where steps tie, the study's order holds.
    pairs.sort_by(|a, b| largest(&b.1).total_cmp(&largest(&a.1)));
    let named = pairs.iter().take(NAMED_STEPS);
    let mut lines: Vec<(String, String)> =
        named.map(|(finding, differences)| (finding.step.clone(), step_words_clear(finding, differences))).collect();
    if pairs.len() > NAMED_STEPS {
        lines.push((String::new(), format!("{} more comparisons stand below.", pairs.len() - NAMED_STEPS)));
    }
    lines
}

/// The largest difference whose interval excludes 0.
fn largest(differences: &[&Difference]) -> f64 {
    differences.iter().filter(|d| d.excludes_zero).map(|d| d.difference.abs()).fold(0.0, f64::max)
}

/// How many differences of a step have an interval that excludes 0, and how large they are.
fn step_words_clear(finding: &Finding, differences: &[&Difference]) -> String {
    let clear: Vec<&&Difference> = differences.iter().filter(|d| d.excludes_zero).collect();
    let all = differences.len();
    match (&finding.clear[..], all) {
        ([], 1) => format!("the 95 % interval of the difference includes 0 ({}).", finding.unclear.join("; ")),
        ([], _) => format!("no 95 % interval of a difference excludes 0 ({all} compared)."),
        ([only], 1) => format!("a difference whose 95 % interval excludes 0 ({only})."),
        ([only], _) => format!("one of {all} differences has a 95 % interval that excludes 0 ({only})."),
        (many, _) => {
            let values = || clear.iter().map(|d| d.difference);
            let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
            let count = if many.len() == all { "all".to_owned() } else { many.len().to_string() };
            let (low, high) = (signed(low), signed(high));
            format!("{count} of {all} differences have a 95 % interval that excludes 0 ({low} to {high} points).")
        }
    }
}

fn best(spec: &StudySpec, summary: &Summary) -> String {
    let best_of = |column: &super::Column| {
        let of_column = summary.table.iter().filter(|s| s.column == column.name && s.group() == spec.headline);
        // The first of equal scores, in the table's order.
        let best = of_column.reduce(|best, score| if score.score > best.score { score } else { best })?;
        Some(format!("{} {:.1} % ({})", column.name, best.score, spec.cell_label(&best.axes)))
    };
    let best: Vec<String> = spec.columns.iter().filter_map(best_of).collect();
    let chance = spec.protocol(&spec.headline.protocol).and_then(|protocol| protocol.chance);
    let chance = chance.map_or_else(String::new, |chance| format!("; chance is {} %", plain(chance)));
    format!("Highest scores: {}{chance}.", best.join(", "))
}

fn step_words(spec: &StudySpec, difference: &Difference) -> String {
    let Some(axis) = spec.axes.iter().find(|axis| axis.name == difference.axis) else {
        return difference.axis.clone();
    };
    let step = format!("{} instead of {}", axis.label_of(&difference.to), axis.label_of(&difference.from));
    match &difference.against {
        None => format!("{}: {step}", axis.label),
        Some(against) => format!(
            "Interaction: what {step} adds with {} beyond what it adds with {}",
            spec.cell_label(against),
            spec.cell_label(&difference.within)
        ),
    }
}

fn place_words(spec: &StudySpec, difference: &Difference) -> String {
    let (low, high) = (signed(difference.low), signed(difference.high));
    format!("{}: {} ({low} to {high})", place(spec, difference), signed(difference.difference))
}

/// The column, and the values of the other axes.
fn place(spec: &StudySpec, difference: &Difference) -> String {
    match &difference.against {
        None if !difference.within.is_empty() => {
            format!("{}, with {}", difference.column, spec.cell_label(&difference.within))
        }
        _ => difference.column.clone(),
    }
}

/// What N counts, and how many seeds there are.
pub(super) fn counts(summary: &Summary) -> String {
    let seeds = || summary.table.iter().map(|score| score.seeds);
    match (seeds().min().unwrap_or(0), seeds().max().unwrap_or(0)) {
        (_, 0 | 1) => "N counts questions; there is one seed.".to_owned(),
        (fewest, most) if fewest == most => {
            format!("Scores are means over {most} seeds; N counts the questions of one seed.")
        }
        (fewest, most) => {
            format!("Scores are means over {fewest} to {most} seeds; N counts the questions of one seed.")
        }
    }
}

/// The study's caveats, and what its statistics cannot say.
pub(super) fn caveats(spec: &StudySpec, summary: &Summary) -> Vec<String> {
    let mut caveats = spec.caveats.clone();
    let fewest = summary.table.iter().map(|score| score.seeds).min().unwrap_or(0);
    caveats.push(match fewest {
        0 | 1 => "There is one training run a cell. Intervals say how scores may move with other concepts or pictures, not with another \
                  seed: a difference whose interval excludes 0 can still be the luck of one run."
            .to_owned(),
        n => format!(
            "Intervals say how scores may move with other concepts or pictures, not with another seed: for that the scores of the {n} \
             seeds stand one by one."
        ),
    });
    let differences = summary.differences.iter().filter(|d| d.group() == spec.headline).count();
    if differences > 1 {
        caveats.push(format!(
            "Intervals are not corrected for the number of comparisons: of {differences} differences, about {} would \
             exclude 0 even if nothing differed.",
            plain((differences as f64 * 0.5).round() / 10.0)
        ));
    }
    caveats
}

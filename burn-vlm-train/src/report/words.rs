//! What a study found, in words that its intervals allow.

use super::panels::{plain, signed};
use super::{Difference, Over, Score, StudySpec, Summary, Test};

/// The finding of a study.
pub(super) struct Findings {
    /// What differs, by an interval that excludes 0, and what does not: a step along an axis (may be empty) and what holds for it.
    pub headline: Vec<(String, String)>,
    /// The highest score of each column; empty where scores mean nothing.
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
/// Differences that the headline names of a step; the others are counted.
const NAMED_DIFFERENCES: usize = 3;

/// Corrected p-values below this are called differences.
pub(super) const LEVEL: f64 = 0.05;

/// A step along an axis with its differences in the headline's table, and in all protocols of the headline.
struct Step<'a> {
    finding: Finding,
    of_table: Vec<&'a Difference>,
    of_all: Vec<&'a Difference>,
}

/// What differs, by an interval that excludes 0, and what does not: the places are those of the headline's table, the counts those of
/// all its protocols. Nothing where the study warns that its scores mean nothing.
pub(super) fn findings(spec: &StudySpec, summary: &Summary) -> Findings {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for difference in summary.differences.iter().filter(|difference| spec.in_headline(&difference.group())) {
        let words = step_words(spec, difference);
        let at = steps.iter().position(|step| step.finding.step == words).unwrap_or(steps.len());
        if at == steps.len() {
            let finding = Finding { step: words, clear: Vec::new(), unclear: Vec::new() };
            steps.push(Step { finding, of_table: Vec::new(), of_all: Vec::new() });
        }
        let Some(step) = steps.get_mut(at) else { continue };
        step.of_all.push(difference);
        if difference.group() == spec.headline {
            step.of_table.push(difference);
            let side = if difference.excludes_zero { &mut step.finding.clear } else { &mut step.finding.unclear };
            side.push(place_words(spec, difference));
        }
    }
    // Scores that mean nothing have no highest one, and no difference that anybody should read.
    let means_nothing = spec.warning.is_some();
    Findings {
        headline: match means_nothing {
            true => vec![(String::new(), "Nothing is concluded from these scores.".to_owned())],
            false => headline(spec, summary, &steps),
        },
        best: if means_nothing { String::new() } else { best(spec, summary) },
        steps: steps
            .into_iter()
            .map(|step| step.finding)
            .filter(|f| !means_nothing && (!f.clear.is_empty() || !f.unclear.is_empty()))
            .collect(),
    }
}

fn headline(spec: &StudySpec, summary: &Summary, steps: &[Step<'_>]) -> Vec<(String, String)> {
    let alone = |text: String| vec![(String::new(), text)];
    let mut pairs: Vec<&Step<'_>> =
        steps.iter().filter(|step| step.of_all.iter().all(|d| d.against.is_none())).collect();
    if pairs.is_empty() {
        let text = match summary.cell_axes().len() {
            1 => "There is one cell: nothing to compare.",
            _ => "No two cells differ in a single axis: nothing to compare.",
        };
        return alone(text.to_owned());
    }
    if pairs.iter().all(|step| step.of_all.iter().all(|difference| !difference.excludes_zero)) {
        let all: Vec<&Difference> = pairs.iter().flat_map(|step| step.of_all.iter().copied()).collect();
        return alone(format!(
            "None of the {} differences between cells{} has a 95 % interval that excludes 0: no difference could be shown.{}",
            all.len(),
            in_protocols(&all),
            could_find(&all)
        ));
    }
    // The step that changes most comes first; where steps tie, the study's order holds.
    pairs.sort_by(|a, b| largest(&b.of_table).total_cmp(&largest(&a.of_table)));
    let named = pairs.iter().take(NAMED_STEPS);
    let mut lines: Vec<(String, String)> =
        named.map(|step| (step.finding.step.clone(), step_sentences(spec, step))).collect();
    if pairs.len() > NAMED_STEPS {
        lines.push((String::new(), format!("{} more comparisons stand below.", pairs.len() - NAMED_STEPS)));
    }
    lines
}

/// The largest difference whose interval excludes 0.
fn largest(differences: &[&Difference]) -> f64 {
    differences.iter().filter(|d| d.excludes_zero).map(|d| d.difference.abs()).fold(0.0, f64::max)
}

/// The smallest and the largest of some numbers; none of none.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |ends, value| match ends {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

/// `, in 3 protocols`; nothing for one.
fn in_protocols(differences: &[&Difference]) -> String {
    match groups(differences) {
        0 | 1 => String::new(),
        several => format!(", in {several} protocols,"),
    }
}

fn groups(differences: &[&Difference]) -> usize {
    let mut groups: Vec<_> = differences.iter().map(|difference| difference.group()).collect();
    groups.dedup();
    groups.sort();
    groups.dedup();
    groups.len()
}

/// How large a difference would have been found: what must follow wherever none was. Nothing where that was not computed.
pub(super) fn could_find(differences: &[&Difference]) -> String {
    let smallest = differences.iter().filter_map(|difference| Some(difference.test?.detectable));
    match range(smallest) {
        None => String::new(),
        // Scores that are all alike, as at 0 %, have no spread to tell from.
        Some((_, high)) if format!("{high:.1}") == "0.0" => {
            " All scores are the same here, so that nothing can be told of differences.".to_owned()
        }
        Some((low, high)) => {
            let points = if format!("{low:.1}") == format!("{high:.1}") {
                format!("{low:.1} points")
            } else {
                format!("{low:.1} to {high:.1} points, depending on which")
            };
            format!(" The smallest difference that this run would have found four times of five is {points}.")
        }
    }
}

/// What holds for a step: in the headline's table, in all protocols of the headline, and after correction.
fn step_sentences(spec: &StudySpec, step: &Step<'_>) -> String {
    let mut text = step_words_clear(&step.finding, &step.of_table);
    let clear = step.of_all.iter().filter(|difference| difference.excludes_zero).count();
    let protocols = groups(&step.of_all);
    if protocols > 1 {
        text.push_str(&format!(
            " In all {protocols} protocols the intervals of {clear} of {} exclude 0.",
            step.of_all.len()
        ));
    }
    let family = step.of_all.iter().find_map(|difference| Some(difference.test?.family));
    if let Some(family) = family.filter(|_| clear > 0) {
        let stands = |difference: &&Difference| difference.test.is_some_and(|test| test.p_holm < LEVEL);
        let mut standing: Vec<&Difference> = step.of_all.iter().copied().filter(stands).collect();
        standing.sort_by(|a, b| b.difference.abs().total_cmp(&a.difference.abs()));
        let stand = if standing.len() == 1 { "stands" } else { "stand" };
        text.push_str(&format!(
            " After Holm's correction for the {family} comparisons of the headline {} {stand}{}.",
            standing.len(),
            named_differences(spec, &standing)
        ));
    }
    text
}

/// Which differences, the largest ones named: `: En +13.0 in Cloze / ...`.
fn named_differences(spec: &StudySpec, differences: &[&Difference]) -> String {
    if differences.is_empty() {
        return String::new();
    }
    let name = |difference: &&Difference| {
        let protocol = spec.group_label(&difference.group());
        format!("{} {} in {protocol}", place(spec, difference), signed(difference.difference))
    };
    let names: Vec<String> = differences.iter().take(NAMED_DIFFERENCES).map(name).collect();
    let largest = if differences.len() > names.len() { ", the largest being" } else { "" };
    format!("{largest}: {}", names.join(" / "))
}

/// How many differences of a step have an interval that excludes 0, and how large they are.
fn step_words_clear(finding: &Finding, differences: &[&Difference]) -> String {
    let clear: Vec<&&Difference> = differences.iter().filter(|d| d.excludes_zero).collect();
    let all = differences.len();
    match (&finding.clear[..], all) {
        ([], 1) => format!(
            "no difference could be shown, its 95 % interval includes 0 ({}).{}",
            finding.unclear.join("; "),
            could_find(differences)
        ),
        ([], _) => format!(
            "no difference could be shown, no 95 % interval of one excludes 0 ({all} compared).{}",
            could_find(differences)
        ),
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
    let found = difference.test.filter(|_| !difference.excludes_zero);
    let found = found.map_or_else(String::new, |test| format!("; MDE {:.1}", test.detectable));
    format!("{}: {} ({low} to {high}{found})", place(spec, difference), signed(difference.difference))
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

/// Parts of the embedded benchmarks, and what they are.
const PARTS: [(&str, &str, &str); 6] = [
    ("concepts", "seen", "training shows them, in other styles of drawing"),
    ("concepts", "unseen", "no training sample shows them"),
    ("distractors", "far", "wrong options from anywhere among concepts (or words) of the same kind"),
    ("distractors", "near", "wrong options of the same subgroup, or words that share most letters"),
    ("vocabulary", "seen", "words that the stages with words train, in other fonts and layouts"),
    ("vocabulary", "unseen", "words that no training sample of any kind has"),
];

/// The parts of benchmarks that a summary has, in words, each with what it is.
pub(super) fn parts_explained(summary: &Summary) -> Vec<(String, &'static str)> {
    let has = |name: &str, value: &str| summary.table.iter().any(|score| score.subset.get(name) == Some(value));
    PARTS.iter().filter(|(name, value, _)| has(name, value)).map(|(n, v, what)| (format!("{v} {n}"), *what)).collect()
}

/// Which seeds: `one, number 0`, `3: 0, 1, 2`.
pub(super) fn seeds_run(seeds: &[u64]) -> String {
    let numbers: Vec<String> = seeds.iter().map(u64::to_string).collect();
    match seeds.len() {
        0 => String::new(),
        1 => format!("one, number {}", numbers.join(", ")),
        several => format!("{several}: {}", numbers.join(", ")),
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

/// What intervals are over, of entries that each know it and their number of seeds: `items and 3 seeds together`.
pub(super) fn over_words(entries: impl Iterator<Item = (Option<Over>, usize)>) -> String {
    let entries: Vec<(Option<Over>, usize)> = entries.collect();
    let with_seeds = entries.iter().filter(|(over, _)| *over == Some(Over::ItemsAndSeeds));
    match range(with_seeds.clone().map(|(_, seeds)| *seeds as f64)) {
        None if entries.iter().all(|(_, seeds)| *seeds < 2) => "items alone, of one seed".to_owned(),
        None => "items alone, not over seeds".to_owned(),
        Some((fewest, most)) => {
            let seeds = if fewest == most { format!("{most}") } else { format!("{fewest} to {most}") };
            let alone =
                if with_seeds.count() < entries.len() { "; over items alone where there is one seed" } else { "" };
            format!("items and {seeds} seeds together{alone}")
        }
    }
}

/// The same of scores.
pub(crate) fn over_scores<'a>(scores: impl Iterator<Item = &'a Score>) -> String {
    over_words(scores.map(|score| (score.over, score.seeds)))
}

/// What stands below a table of scores: what its intervals are over.
pub(super) fn below_scores<'a>(scores: impl Iterator<Item = &'a Score>) -> String {
    format!("95 % intervals over {}.", over_scores(scores))
}

/// What the entries of a table of differences are.
pub(super) fn below_differences(differences: &[&Difference]) -> String {
    let over = over_words(differences.iter().map(|d| (d.test.map(|test| test.over), d.seeds)));
    let family = differences.iter().find_map(|difference| Some(difference.test?.family));
    let tests = family.map_or_else(String::new, |family| {
        let whose = if family > differences.len() { "of all protocols of the headline" } else { "of this table" };
        format!(
            " p: two-sided p-value; Holm: the same corrected for the {family} comparisons {whose}; MDE: the smallest true difference that \
             this run would have found four times of five (2.8 standard errors, more with few seeds)."
        )
    });
    format!("Percentage points, paired over the same questions; 95 % intervals over {over}.{tests}")
}

/// How many seeds a standard error of one point needs, column by column: that of the plain difference of the headline's table that
/// needs most.
pub(super) fn seeds_needed(spec: &StudySpec, summary: &Summary) -> Option<String> {
    let of_table = |d: &&Difference| d.group() == spec.headline && d.against.is_none();
    let tests = |column: &str| -> Vec<Test> {
        summary.differences.iter().filter(of_table).filter(|d| d.column == column).filter_map(|d| d.test).collect()
    };
    let all: Vec<Test> = spec.columns.iter().flat_map(|column| tests(&column.name)).collect();
    if all.is_empty() {
        return None;
    }
    let intro = "Seeds that would give a difference a standard error of one point";
    if all.iter().all(|test| test.standard_error_of_items.is_none()) {
        return Some(format!(
            "{intro}: that cannot be estimated with one seed, which does not tell how much seeds differ (with this one, questions alone \
             leave up to {:.1} points).",
            all.iter().map(|test| test.standard_error).fold(0.0, f64::max)
        ));
    }
    let of_column = |column: &super::Column| {
        let tests = tests(&column.name);
        let questions = tests.iter().filter_map(|test| test.standard_error_of_items).fold(0.0, f64::max);
        match tests.iter().filter_map(|test| test.seeds_for_one_point).max() {
            _ if questions >= 1.0 => {
                Some(format!("{}: no number is enough, the questions alone leave {questions:.1} points", column.name))
            }
            seeds => Some(format!("{}: {}", column.name, seeds?)),
        }
    };
    let columns: Vec<String> = spec.columns.iter().filter_map(of_column).collect();
    Some(format!("{intro}, by what these seeds show of their spread: {}.", columns.join("; ")))
}

/// What the blind scores are, and where they lie.
pub(super) fn below_blind(spec: &StudySpec, summary: &Summary) -> String {
    let chance = spec.protocol(&spec.headline.protocol).and_then(|protocol| protocol.chance);
    let chance = chance.map_or_else(String::new, |chance| format!("; guessing scores {} %", plain(chance)));
    let ends = range(summary.blind.iter().map(|score| score.score));
    let ends = ends.map_or_else(String::new, |(low, high)| format!(" They are {low:.1} to {high:.1} %{chance}."));
    let what =
        "The same questions without their picture, chosen by the likelihood of the options given the question alone.";
    let adds = "What pictures add is a score's distance from these.";
    format!("{what} {adds}{ends} {}", below_scores(summary.blind.iter()))
}

/// How far the cells' order is the paper's, in words that small numbers allow.
pub(super) fn below_paper_order(summary: &Summary) -> String {
    let least = range(summary.paper_order.iter().filter_map(|order| order.least_p));
    let cannot = match least {
        Some((least, _)) if least >= LEVEL => {
            " So few cells cannot show by their order alone that it is the paper's: even the same order would have a p-value above 0.05."
        }
        _ => "",
    };
    format!(
        "Kendall's tau-b between our cells' scores and the paper's: 1 for the same order, −1 for the reverse; ties count as neither. The \
         p-value is exact: the share of all orders that agree or disagree as much.{cannot}"
    )
}

/// The study's caveats, and what its statistics cannot say.
pub(super) fn caveats(spec: &StudySpec, summary: &Summary) -> Vec<String> {
    let mut caveats = spec.caveats.clone();
    let over_seeds = |score: &Score| score.over == Some(Over::ItemsAndSeeds);
    let fewest = summary.table.iter().map(|score| score.seeds).min().unwrap_or(0);
    caveats.push(match fewest {
        0 | 1 => "There is one training run a cell. Intervals say how scores may move with other concepts or pictures, not with another \
                  seed: a difference whose interval excludes 0 can still be the luck of one run."
            .to_owned(),
        n if summary.table.iter().all(over_seeds) => format!(
            "Intervals are over concepts or pictures and {n} seeds together. {n} seeds tell little of how much seeds differ: intervals take \
             that into account (Student's t), and are wide where seeds differ more than questions do."
        ),
        n => format!(
            "Intervals say how scores may move with other concepts or pictures, not with another seed: for that the scores of the {n} \
             seeds stand one by one."
        ),
    });
    let of_headline: Vec<&Difference> =
        summary.differences.iter().filter(|difference| spec.in_headline(&difference.group())).collect();
    if of_headline.len() > 1 {
        let corrected = match of_headline.iter().any(|difference| difference.test.is_some()) {
            true => "; Holm's p-values are",
            false => "",
        };
        caveats.push(format!(
            "Intervals are not corrected for the number of comparisons{corrected}: of {} differences in all protocols of the headline, \
             about {} would exclude 0 even if nothing differed.",
            of_headline.len(),
            plain((of_headline.len() as f64 * 0.5).round() / 10.0)
        ));
    }
    caveats
}

//! Which cells are compared with each other, and their paired differences.
//!
//! Two cells are compared if they differ in exactly one axis. Where two axes have two values each, the interaction is given
//! too: "the gap between the encoders narrows with more data" is a claim about a difference of differences, and two
//! intervals side by side do not test it.

use super::summary::{Difference, GroupView, Test, percent};
use crate::stats::{Axes, Term};

/// Up to this many values of an axis, every pair is compared; beyond, each value with the first one only.
const ALL_PAIRS_UP_TO: usize = 3;

/// The differences between the `cells` of one group, in the study's order.
pub(super) fn contrasts(view: &GroupView<'_>, cells: &[&Axes]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (index, axis) in view.spec.axes.iter().enumerate() {
        let values: Vec<&str> = axis.values.iter().map(|v| v.value.as_str()).collect();
        let pairs = pairs(&values);
        for (from, to) in pairs {
            for &cell in cells.iter().filter(|cell| cell.get(&axis.name).is_some_and(|value| value == from)) {
                let within = without(cell, &axis.name);
                let step = Step { axis: &axis.name, from, to };
                differences.extend(difference(view, &step, &within, None));
            }
        }
        for other in &view.spec.axes[index + 1..] {
            let ([from, to], [low, high]) = (&axis.values[..], &other.values[..]) else {
                continue;
            };
            let step = Step { axis: &axis.name, from: &from.value, to: &to.value };
            let at_low =
                |cell: &&&Axes| cell.get(&other.name) == Some(&low.value) && cell.get(&axis.name) == Some(&from.value);
            for &cell in cells.iter().filter(at_low) {
                let within = without(cell, &axis.name);
                let mut against = within.clone();
                against.insert(other.name.clone(), high.value.clone());
                differences.extend(difference(view, &step, &within, Some(&against)));
            }
        }
    }
    differences
}

/// A step along one axis.
struct Step<'a> {
    axis: &'a str,
    from: &'a str,
    to: &'a str,
}

fn pairs<'a>(values: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let firsts = if values.len() <= ALL_PAIRS_UP_TO { values.len() } else { 1 };
    let of_first = |first: usize| values[first + 1..].iter().map(move |to| (values[first], *to));
    (0..firsts).flat_map(of_first).collect()
}

/// The cell without one axis.
pub(super) fn without(axes: &Axes, axis: &str) -> Axes {
    axes.iter().filter(|(name, _)| *name != axis).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// One difference in every column; none where a cell of it was not run.
fn difference(view: &GroupView<'_>, step: &Step<'_>, within: &Axes, against: Option<&Axes>) -> Vec<Difference> {
    let term = |weight: f64, value: &str, rest: &Axes| {
        let mut cell = rest.clone();
        cell.insert(step.axis.to_owned(), value.to_owned());
        Term { weight, runs: view.group.runs_of(&cell) }
    };
    let mut terms = match against {
        Some(against) => vec![term(1.0, step.to, against), term(-1.0, step.from, against)],
        None => Vec::new(),
    };
    let sign = if against.is_some() { -1.0 } else { 1.0 };
    terms.extend([term(sign, step.to, within), term(-sign, step.from, within)]);
    let of_column = |column: &super::Column| {
        let languages = view.column(column)?;
        let distribution = view.resampled.distribution(&terms, &languages)?;
        let estimate = distribution.estimate();
        let rounded = percent(estimate);
        Some(Difference {
            axis: step.axis.to_owned(),
            from: step.from.to_owned(),
            to: step.to.to_owned(),
            within: within.clone(),
            against: against.cloned(),
            column: column.name.clone(),
            protocol: view.key.protocol.clone(),
            subset: view.key.subset.clone(),
            n: view.questions(&languages),
            seeds: terms.iter().map(|term| term.runs.len()).min().unwrap_or(0),
            difference: rounded.value,
            low: rounded.low,
            high: rounded.high,
            excludes_zero: estimate.excludes_zero(),
            test: Some(Test::of(&distribution, view.resampled.spread(&terms, &languages))),
        })
    };
    view.spec.columns.iter().filter_map(of_column).collect()
}

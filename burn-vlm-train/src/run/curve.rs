//! `loss.svg` of a run: one panel a stage, and one of its validation losses, each by language.

use std::collections::BTreeSet;

use super::TrainedStage;
use crate::report::{LossPanel, loss_curves};

/// The mean loss of each log line by step; where a stage is validated, the validation losses beside it.
pub(super) fn draw(stages: &[TrainedStage]) -> String {
    let panels = stages.iter().flat_map(|stage| {
        let points = stage.log.iter().map(|entry| (entry.step as f64, f64::from(entry.loss_mean))).collect();
        let mut curves = vec![("loss".to_owned(), points)];
        let languages: BTreeSet<&String> = stage.log.iter().flat_map(|entry| entry.by_language.keys()).collect();
        curves.extend(languages.into_iter().map(|tag| {
            let of =
                stage.log.iter().filter_map(|entry| Some((entry.step as f64, f64::from(*entry.by_language.get(tag)?))));
            (tag.clone(), of.collect())
        }));
        let training = LossPanel { title: stage.name.clone(), curves };
        let over = |pick: &dyn Fn(&crate::objective::Validation) -> Option<f32>| -> Vec<(f64, f64)> {
            let entries = stage.validations.iter();
            entries.filter_map(|entry| Some((entry.step as f64, f64::from(pick(&entry.validation)?)))).collect()
        };
        let mut curves = vec![("all".to_owned(), over(&|validation| Some(validation.loss)))];
        let languages = stage.validations.first().map(|entry| &entry.validation.by_language);
        if let Some(languages) = languages.filter(|languages| languages.len() > 1) {
            curves.extend(languages.keys().map(|tag| (tag.clone(), over(&|v| v.by_language.get(tag).copied()))));
        }
        let title = format!("{}, validation", stage.name);
        let validation = (!stage.validations.is_empty()).then_some(LossPanel { title, curves });
        std::iter::once(training).chain(validation).collect::<Vec<_>>()
    });
    loss_curves("Training loss", panels.collect())
}

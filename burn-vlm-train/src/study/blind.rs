//! How well questions are answered without their picture: what a score must be above to say anything of pictures.

use crate::eval::Prediction;
use crate::report::StudySpec;
use crate::stats::{Axes, Outcome};

/// Whether the text alone would have chosen rightly, of an item of the headline's that was asked both ways. The likelihood of an option
/// given the question alone is what the rule `pmi` takes away from the one given picture and question.
pub(super) fn outcome(prediction: &Prediction, spec: &StudySpec, axes: &Axes, seed: u64) -> Option<Outcome> {
    let headline = &spec.headline;
    if prediction.subset != headline.subset || prediction.score(&headline.protocol).is_none() {
        return None;
    }
    let rule = |name: &str| prediction.option_scores.iter().find(|scores| scores.rule == name);
    let (given, less) = (&rule("likelihood")?.values, &rule("pmi")?.values);
    let prior: Vec<f64> = given.iter().zip(less).map(|(given, less)| given - less).collect();
    if prior.is_empty() || given.len() != less.len() {
        return None;
    }
    let chosen = prior.iter().enumerate().fold(0, |best, (at, value)| if *value > prior[best] { at } else { best });
    Some(Outcome {
        axes: axes.clone(),
        seed,
        protocol: headline.protocol.clone(),
        subset: headline.subset.clone(),
        language: prediction.language_tag().to_owned(),
        group: prediction.group.clone(),
        score: f64::from(u8::from(Some(chosen) == prediction.answer)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{NamedScore, OptionScores};
    use crate::report::tests::fake;
    use crate::stats::Subset;

    #[test]
    fn the_text_alone_chooses_by_what_pmi_takes_away() {
        let spec = fake::two_by_two();
        let item = |likelihood: &[f64], pmi: &[f64]| Prediction {
            subset: Subset::from([("distractors", "far"), ("concepts", "seen")]),
            language: Some("de".into()),
            answer: Some(1),
            option_scores: vec![
                OptionScores::new("likelihood", likelihood.to_vec()),
                OptionScores::new("pmi", pmi.to_vec()),
            ],
            scores: vec![NamedScore::right("cloze", true)],
            ..Prediction::new("1", "cloze", "apple")
        };
        // Given the question alone: -3, -1, -2 and -4; the second is the likeliest, and right.
        let right = item(&[-1.0, -2.0, -0.5, -3.0], &[2.0, -1.0, 1.5, 1.0]);
        let found = outcome(&right, &spec, &Axes::new(), 3).unwrap();
        assert_eq!((found.score, found.language.as_str(), found.group.as_str(), found.seed), (1.0, "de", "apple", 3));
        assert_eq!((&found.protocol, &found.subset), (&spec.headline.protocol, &spec.headline.subset));
        let wrong = item(&[-1.0, -2.0, -0.5, -3.0], &[0.0, 0.0, 1.0, 1.0]);
        assert_eq!(outcome(&wrong, &spec, &Axes::new(), 0).unwrap().score, 0.0);
        // Of another part, of another rule, or scored otherwise: not asked without a picture.
        let near =
            Prediction { subset: Subset::from([("distractors", "near"), ("concepts", "seen")]), ..right.clone() };
        let freely = Prediction { option_scores: Vec::new(), ..right.clone() };
        let other = Prediction { scores: vec![NamedScore::right("lettered", true)], ..right };
        assert!([near, freely, other].iter().all(|p| outcome(p, &spec, &Axes::new(), 0).is_none()));
    }
}

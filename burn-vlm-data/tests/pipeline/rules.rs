//! Thresholds and quantiles.

use burn_vlm_data::pipeline::filter::{Cuts, OfLanguage};
use std::collections::BTreeMap;

fn given(texts: &[&str]) -> Vec<OfLanguage> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn rules_of_languages() {
    let cuts = Cuts::new(&given(&["0.85", "de=0.8"]), &given(&["ja=0.5"]), false).unwrap();
    let scores = |tag: &str, scores: &[f64]| (tag.to_owned(), scores.to_vec());
    let mut rows = BTreeMap::from([scores("de", &[0.1]), scores("fr", &[]), scores("ja", &[0.4, 0.1, 0.3, 0.2])]);
    let found = cuts.thresholds(&mut rows).unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [("de".into(), 0.8), ("fr".into(), 0.85), ("ja".into(), 0.3)]);
    assert!(cuts.keeps(0.8, 0.8) && !Cuts { strict: true, ..cuts.clone() }.keeps(0.8, 0.8));
    rows.remove("ja");
    assert!(cuts.thresholds(&mut rows).unwrap_err().contains("\"ja\""));
    let some = Cuts::new(&given(&["de=0.8"]), &[], false).unwrap();
    assert!(some.thresholds(&mut rows).unwrap_err().contains("no rule for \"fr\""));
    for (thresholds, quantiles, word) in [
        (&["0.8", "0.9"][..], &[][..], "two rules for all languages"),
        (&["de=0.8"], &["de=0.5"], "two rules for de"),
        (&[], &["1.5"], "quantile of 1.5"),
        (&[], &[], "no rule"),
    ] {
        let error = Cuts::new(&given(thresholds), &given(quantiles), false).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    for bad in ["x", "=1", "de=", "nan", "de=inf"] {
        assert!(bad.parse::<OfLanguage>().is_err(), "{bad}");
    }
}

#[test]
fn quantiles_keep_the_rest() {
    let threshold = |part: &str, scores: Vec<f64>| {
        let cuts = Cuts::new(&[], &given(&[part]), false).unwrap();
        cuts.thresholds(&mut BTreeMap::from([("de".to_owned(), scores)])).unwrap()["de"]
    };
    let scores: Vec<f64> = (0..10).rev().map(f64::from).collect();
    assert_eq!(["0", "0.25", "0.5", "0.9"].map(|part| threshold(part, scores.clone())), [0.0, 2.0, 5.0, 9.0]);
    assert_eq!((threshold("1", scores), threshold("0", Vec::new())), (f64::INFINITY, f64::INFINITY));
}

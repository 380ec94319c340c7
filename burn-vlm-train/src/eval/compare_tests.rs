use super::*;

/// The same few terms in f64; only the order of additions may differ.
const SAME_ARITHMETIC: f64 = 1e-9;

fn item(id: usize, language: &str, score: f64) -> Prediction {
    Prediction {
        language: Some(language.into()),
        question: format!("Question {id}?"),
        scores: vec![NamedScore::new("m", score)],
        ..Prediction::new(format!("m/{id}"), "m", format!("picture {}", id / 2))
    }
}

fn metric() -> Metric {
    Metric { name: "m".into(), label: "M, accuracy".into(), explanation: String::new(), chance: Some(25.0) }
}

fn compared<'a>(a: &'a [Prediction], b: &'a [Prediction]) -> Comparison<'a> {
    compare(a, b, &[metric()], &Bootstrap::default()).unwrap()
}

/// 20 English items, of which 1 is right for A alone, 9 for B alone, 6 for both and 4 for none; 4 German ones, all right for both.
fn sides() -> (Vec<Prediction>, Vec<Prediction>) {
    let of = |number: usize| match number {
        0 => (1.0, 0.0),
        1..=9 => (0.0, 1.0),
        10..=15 => (1.0, 1.0),
        16..=19 => (0.0, 0.0),
        _ => (1.0, 1.0),
    };
    let language = |number: usize| if number < 20 { "en" } else { "de" };
    let a = (0..24).map(|number| item(number, language(number), of(number).0)).collect();
    let b = (0..24).rev().map(|number| item(number, language(number), of(number).1)).collect();
    (a, b)
}

#[test]
fn counts_differences_and_mcnemar_by_language_and_in_all() {
    let (a, b) = sides();
    let comparison = compared(&a, &b);
    let rows: Vec<(Option<&str>, usize, usize)> =
        comparison.scores.iter().map(|row| (row.language.as_deref(), row.n, row.groups)).collect();
    assert_eq!(rows, [(Some("de"), 4, 2), (Some("en"), 20, 10), (None, 24, 12)]);
    let english = &comparison.scores[1];
    assert_eq!(english.label, "M, accuracy");
    assert_eq!((english.a, english.b, english.difference), (35.0, 75.0, 40.0));
    assert!(english.low > 0.0 && english.low < 40.0 && english.high > 40.0 && english.excludes_zero(), "{english:?}");
    let Pairs::RightOrWrong { both_right, only_a, only_b, both_wrong, mcnemar } = english.pairs else {
        panic!("{english:?}")
    };
    assert_eq!((both_right, only_a, only_b, both_wrong), (6, 1, 9, 4));
    assert!((mcnemar - 0.021_484_375).abs() < SAME_ARITHMETIC);
    let german = &comparison.scores[0];
    assert_eq!((german.difference, german.low, german.high), (0.0, 0.0, 0.0));
    assert!(matches!(german.pairs, Pairs::RightOrWrong { both_right: 4, mcnemar: 1.0, .. }), "{german:?}");
    // Each language weighs the same: (40 + 0) / 2.
    assert_eq!(comparison.scores[2].difference, 20.0);
    assert_eq!(comparison.changed.len(), 10);
    assert_eq!(comparison.changed[0].a.id, "m/0");
    assert!(comparison.only_a.is_empty() && comparison.only_b.is_empty() && comparison.other_question.is_empty());
}

#[test]
fn the_interval_follows_groups_and_not_items() {
    // Both items of a picture change alike: 10 pictures tell less than 20 items would.
    let side = |flip: bool| -> Vec<Prediction> {
        (0..20).map(|number| item(number, "en", f64::from(u8::from((number / 2 % 2 == 0) != flip)))).collect()
    };
    let (a, b) = (side(false), side(true));
    let clustered = &compared(&a, &b).scores[0];
    let alone = |side: &[Prediction]| -> Vec<Prediction> {
        side.iter().map(|item| Prediction { group: item.id.clone(), ..item.clone() }).collect()
    };
    let (a, b) = (alone(&a), alone(&b));
    let single = &compared(&a, &b).scores[0];
    assert!(clustered.high - clustered.low > 1.2 * (single.high - single.low), "{clustered:?} {single:?}");
}

#[test]
fn graded_scores_claim_no_test() {
    let a = [item(0, "en", 0.25), item(1, "en", 1.0), item(2, "en", 0.0)];
    let b = [item(0, "en", 0.5), item(1, "en", 0.75), item(2, "en", 0.0)];
    let comparison = compared(&a, &b);
    assert_eq!(comparison.scores[0].pairs, Pairs::Graded { a_higher: 1, b_higher: 1, equal: 1 });
    assert_eq!(comparison.scores.len(), 1, "one language needs no row of its own");
}

#[test]
fn what_only_one_side_has_is_named() {
    let (mut a, mut b) = sides();
    let lost = a.remove(3);
    b.retain(|item| item.id != "m/11");
    a[0].scores.push(NamedScore::new("extra", 1.0));
    b.iter_mut().filter(|item| item.id == "m/5").for_each(|item| item.question = "Something else?".into());
    let comparison = compared(&a, &b);
    let named = |list: &[Unpaired<'_>]| -> Vec<(String, Vec<String>)> {
        let metrics = |item: &Unpaired<'_>| item.metrics.iter().map(|metric| (*metric).to_owned()).collect();
        list.iter().map(|item| (item.id.to_owned(), metrics(item))).collect()
    };
    let m = || vec!["m".to_owned()];
    assert_eq!(named(&comparison.only_b), [(lost.id.clone(), m())]);
    assert_eq!(named(&comparison.only_a), [("m/0".to_owned(), vec!["extra".to_owned()]), ("m/11".to_owned(), m())]);
    assert_eq!(named(&comparison.other_question), [("m/5".to_owned(), m())]);
    assert_eq!(comparison.scores.iter().find(|row| row.language.is_none()).map(|row| row.n), Some(21));
}

#[test]
fn the_group_that_counts_is_a_s() {
    let (a, mut b) = sides();
    b.iter_mut().for_each(|item| (item.group, item.language) = ("elsewhere".into(), None));
    assert_eq!(compared(&a, &b).scores.len(), 3);
}

#[test]
fn bad_input_is_told() {
    let (a, _) = sides();
    let other: Vec<Prediction> = a.iter().map(|item| Prediction { benchmark: "n".into(), ..item.clone() }).collect();
    let error = compare(&a, &other, &[], &Bootstrap::default()).unwrap_err().to_string();
    assert!(error.contains("24 items (such as `m/0` of `m` under `m`,") && error.contains("`m/0` of `n`"), "{error}");
    let error = compare(&a, &[], &[], &Bootstrap::default()).unwrap_err().to_string();
    assert!(error.contains("0 items (such as none)"), "{error}");
    let twice = [a[0].clone(), a[0].clone()];
    let error = compare(&a, &twice, &[], &Bootstrap::default()).unwrap_err();
    assert_eq!(error, CompareError::Twice { side: Side::B, benchmark: "m".into(), id: "m/0".into() });
    let percent: Vec<Prediction> = vec![item(0, "en", 50.0)];
    let error = compare(&a, &percent, &[], &Bootstrap::default()).unwrap_err();
    assert!(matches!(error, CompareError::Stats(StatsError::ScoreOutOfRange { .. })), "{error}");
}

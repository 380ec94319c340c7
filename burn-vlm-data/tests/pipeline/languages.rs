//! Languages that rows are translated into.

use burn_vlm_data::language::Language;
use burn_vlm_data::mixture::Share;
use burn_vlm_data::pipeline::{assign_languages, language_key};

const LANGUAGES: [Language; 3] = [Language::DE, Language::FR, Language::JA];

fn keys(ids: impl Iterator<Item = usize>) -> Vec<u64> {
    ids.map(|id| language_key(&format!("row-{id}"), 3)).collect()
}

#[test]
fn numbers_are_exact() {
    for (rows, stays, expected) in [
        (1001, Share::percent(50), [501, 167, 167, 166]),
        (1000, Share::ZERO, [0, 334, 333, 333]),
        (10, Share::ONE, [10, 0, 0, 0]),
        (0, Share::percent(50), [0; 4]),
        (1, Share::percent(50), [1, 0, 0, 0]),
    ] {
        let assigned = assign_languages(&keys(0..rows), stays, &LANGUAGES);
        let count = |language: Option<Language>| assigned.iter().filter(|found| **found == language).count();
        let found = [count(None), count(Some(LANGUAGES[0])), count(Some(LANGUAGES[1])), count(Some(LANGUAGES[2]))];
        assert_eq!((assigned.len(), found), (rows, expected), "{rows} rows");
    }
    assert!(assign_languages(&keys(0..9), Share::ZERO, &[]).iter().all(Option::is_none));
}

/// A row's language does not depend on where it stands, and the draw is random.
#[test]
fn order_does_not_matter() {
    let forward = assign_languages(&keys(0..500), Share::percent(50), &LANGUAGES);
    let mut backward = assign_languages(&keys((0..500).rev()), Share::percent(50), &LANGUAGES);
    backward.reverse();
    assert_eq!(forward, backward);
    let other: Vec<u64> = (0..500).map(|id| language_key(&format!("row-{id}"), 4)).collect();
    assert_ne!(forward, assign_languages(&other, Share::percent(50), &LANGUAGES));
    // Among the first half of the file about half stay: 125 of 250, 5 standard deviations of 5.6 around it.
    let staying = forward[..250].iter().filter(|language| language.is_none()).count();
    assert!((97..=153).contains(&staying), "{staying}");
    // Rows of one id are told apart by their place.
    let same = assign_languages(&[7; 4], Share::percent(50), &LANGUAGES);
    assert_eq!(same, [None, None, Some(Language::DE), Some(Language::FR)]);
}

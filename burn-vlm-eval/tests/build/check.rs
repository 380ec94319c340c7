//! What a translation may break.

use burn_vlm_eval::build::check::{Flag, Problem, equal_options, likeness, look, look_at_options};

fn options(texts: &[&str]) -> Vec<(char, String)> {
    ('A'..).zip(texts.iter().map(|text| (*text).to_owned())).collect()
}

#[test]
fn options_must_differ() {
    let equal = |texts: &[&str]| equal_options(&options(texts)).iter().map(Problem::words).collect::<Vec<_>>();
    assert_eq!(equal(&["rot", "blau", " Rot"]), ["the options A and C are the same"]);
    assert_eq!(equal(&["ja", "jà"]), [""; 0]);
    let flags = look_at_options(&options(&["a", "b"]), &options(&["si", "sí"]), "A");
    assert_eq!(flags, [Flag::AccentsOnly { first: 'A', second: 'B' }]);
}

#[test]
fn what_people_should_see() {
    let names = |source: &str, text: &str| look("A", source, text).iter().map(Flag::name).collect::<Vec<_>>();
    assert_eq!(names("3 of 10 cats", "10 Katzen, davon 3"), [""; 0]);
    assert_eq!(names("3 cats", "४ बिल्लियाँ"), ["numbers"]);
    assert_eq!(names("4 cats", "४ बिल्लियाँ"), [""; 0]);
    assert_eq!(names("banana", "banana"), ["untranslated"]);
    assert_eq!(names("none", "None"), ["read_as_missing"]);
    let long = options(&["a very long right answer", "short"]);
    assert_eq!(look_at_options(&options(&["right", "wrong"]), &long, "A"), [Flag::StandsOut { field: "A".into() }]);
    assert!(look_at_options(&long, &long, "A").is_empty());
    assert!(likeness("the cat", "The cat") > 99.9 && likeness("a dog", "The cat") < 40.0);
}

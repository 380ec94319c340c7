//! Requests that captions answer.

use burn_vlm_data::language::Language;
use burn_vlm_data::pipeline::pair_prompts::Requests;
use std::path::Path;

#[test]
fn draws_depend_on_seed_and_id_alone() {
    let requests = Requests::from_toml("[requests]\nde = ['a', 'b', 'c']\nfr = ['x']\n").unwrap();
    let draw = |id: usize, seed: u64| requests.draw(Language::DE, &format!("row-{id}"), seed).unwrap().0;
    let mut counts = [0; 3];
    (0..3000).for_each(|id| counts[draw(id, 1)] += 1);
    // 1000 each, 5 standard deviations of 26 around it.
    assert!(counts.iter().all(|count| (870..1130).contains(count)), "{counts:?}");
    assert!((0..100).any(|id| draw(id, 1) != draw(id, 2)));
    assert_eq!(requests.draw(Language::FR, "row-1", 1), Some((0, "x")));
    assert_eq!(requests.draw(Language::EN, "row-1", 1), None);
    // Fixed, so that a data set can be made again.
    assert_eq!((0..8).map(|id| draw(id, 0)).collect::<Vec<_>>(), DRAWN);
    let own = Requests::own();
    assert_eq!(own.draw(Language::DE, "x", 3), Some((0, "Was ist das?")));
    assert_eq!(own.languages().len(), Language::ALL.len());
}

/// By a few lines of Python with the constants of SplitMix64 and FNV-1a.
const DRAWN: [usize; 8] = [2, 1, 1, 0, 2, 1, 2, 0];

#[test]
fn files_that_cannot_be_used() {
    for (text, word) in [
        ("", "requests"),
        ("[requests]\n", "no language"),
        ("[requests]\nde = []\n", "no request"),
        ("[requests]\ngerman = ['a']\n", "\"de\""),
        ("[requests]\nde = ['a', ' ']\n", "request 2: it is empty"),
        ("[requests]\nde = ['a', 'a']\n", "twice"),
        ("[requests]\nde = ['<image> a']\n", "placeholder"),
        ("[requests]\nde = 'a'\n", "expected a table"),
        ("[prompts]\nde = ['a']\n", "prompts"),
    ] {
        let error = Requests::from_toml(text).unwrap_err();
        assert!(error.contains(word), "{text}: {error}");
    }
    let error = Requests::from_file(Path::new("no/such.toml")).unwrap_err().to_string();
    assert!(error.contains("no/such.toml"), "{error}");
}

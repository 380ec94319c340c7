//! Names, order, selection, shards and hashes of cells.

use super::{STUDY, plan, study};
use crate::ablation::{Fingerprint, Inputs, PatchRules, Shard};

fn names(preset: &str) -> Vec<String> {
    plan(preset).cells.into_iter().map(|cell| cell.name).collect()
}

#[test]
fn seeds_vary_slowest_and_the_order_is_fixed() {
    let expected = ["siglip1/en", "siglip1/en_multi", "siglip2/en", "siglip2/en_multi"];
    let expected: Vec<String> =
        [0, 1].iter().flat_map(|seed| expected.map(|name| format!("{name}/seed{seed}"))).collect();
    assert_eq!(names("tiny"), expected);
    assert_eq!(names("tiny"), names("tiny"));
}

#[test]
fn a_cell_knows_its_axes() {
    let plan = plan("tiny");
    let cell = &plan.cells[3];
    assert_eq!((cell.value("encoder"), cell.value("data")), (Some("siglip2"), Some("en_multi")));
    assert_eq!(cell.value("backbone"), None);
    assert_eq!(cell.label(), "SigLIP2, En+Multi");
    assert_eq!(cell.slug(), "siglip2--en_multi--seed0");
    assert_eq!(serde_json::to_string(&cell.axes_json()).unwrap(), r#"{"data":"en_multi","encoder":"siglip2"}"#);
}

#[test]
fn only_selects_by_name_beginning_and_star() {
    let plan = plan("tiny");
    let select = |pattern: &str| plan.select(&[pattern.to_owned()]);
    assert_eq!(select("siglip1/en/seed1").unwrap(), [4]);
    assert_eq!(select("siglip1/en").unwrap(), [0, 4]);
    assert_eq!(select("siglip2").unwrap(), [2, 3, 6, 7]);
    assert_eq!(select("*/en").unwrap(), [0, 2, 4, 6]);
    assert_eq!(plan.select(&["siglip2/en".into(), "siglip1/en/seed0".into()]).unwrap(), [0, 2, 6]);
    assert_eq!(plan.select(&[]).unwrap().len(), 8);
    let error = select("siglip1/eng").unwrap_err().to_string();
    assert!(error.contains("did you mean `siglip1/en`?"), "{error}");
    let error = select("siglip1/en/seed7").unwrap_err().to_string();
    assert!(error.contains("did you mean `siglip1/en/seed0`?"), "{error}");
}

#[test]
fn contrasts_differ_in_one_axis() {
    let plan = plan("tiny");
    let pairs: Vec<(&str, &str, &str)> = plan
        .contrasts()
        .into_iter()
        .map(|(first, second, axis)| (first.setting.as_str(), second.setting.as_str(), axis))
        .collect();
    let expected = [
        ("siglip1/en", "siglip1/en_multi", "data"),
        ("siglip1/en", "siglip2/en", "encoder"),
        ("siglip1/en_multi", "siglip2/en_multi", "encoder"),
        ("siglip2/en", "siglip2/en_multi", "data"),
    ];
    assert_eq!(pairs, expected);
}

#[test]
fn shards_partition_the_cells() {
    for count in 1..=10 {
        for position in 0..8 {
            let owners = (1..=count).filter(|&index| Shard::new(index, count).unwrap().contains(position));
            assert_eq!(owners.count(), 1, "{position} of {count}");
        }
    }
    assert!("2/4".parse::<Shard>().unwrap().contains(5));
    assert_eq!("1/1".parse::<Shard>().unwrap(), Shard::ALL);
    for (bad, why) in [
        ("0/4", "counts from 1"),
        ("5/4", "larger than N"),
        ("1/0", "at least 1"),
        ("3", "no `/`"),
        ("a/b", "whole numbers"),
        ("-1/2", "whole numbers"),
    ] {
        let error = bad.parse::<Shard>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("--shard {bad}: ")) && error.contains(why), "{error}");
    }
}

fn hash(text: &str, cell: usize, inputs: &[(&str, &str)], version: u32) -> String {
    let plan = study(text).plan("tiny", None, &PatchRules::new()).unwrap();
    let inputs: Inputs = inputs.iter().map(|&(name, hash)| (name.to_owned(), hash.to_owned())).collect();
    Fingerprint::new(&plan.cells[cell], &plan.languages(), version, inputs).hash
}

#[test]
fn the_hash_follows_the_content() {
    let base = hash(STUDY, 0, &[], 0);
    assert_ne!(base, hash(STUDY, 1, &[], 0), "another value");
    assert_ne!(base, hash(STUDY, 4, &[], 0), "another seed");
    assert_ne!(base, hash(STUDY, 0, &[("corpus", "1")], 0), "another input");
    assert_ne!(base, hash(STUDY, 0, &[], 1), "another version of the job");
    for (old, new) in [
        ("batch = 64", "batch = 65"),
        ("batch = 64", "batch = 64.0"),
        ("steps = 100", "steps = 101"),
        ("items = 200", "items = 201"),
        ("[\"de\", \"fr\"]", "[\"de\", \"ru\"]"),
    ] {
        assert_ne!(base, hash(&STUDY.replace(old, new), 0, &[], 0), "{new}");
    }
}

#[test]
fn the_hash_does_not_follow_names_and_order() {
    let base = hash(STUDY, 0, &[], 0);
    for (old, new) in [
        ("texts = [\"en\"]\nwidth = 128", "width = 128\ntexts = [\"en\"]"),
        ("batch = 64", "batch = 0x40 # a comment"),
        ("label = \"SigLIP1\"", "label = \"SigLIP 1\""),
        ("title = \"Which encoder?\"", "title = \"?\""),
        ("items = 10", "items = 11"),
    ] {
        let changed = STUDY.replace(old, new);
        assert_ne!(changed, STUDY);
        assert_eq!(base, hash(&changed, 0, &[], 0), "{new}");
    }
}

#[test]
fn differences_name_the_keys() {
    let of = |text: &str| {
        let plan = study(text).plan("tiny", None, &PatchRules::new()).unwrap();
        Fingerprint::new(&plan.cells[0], &plan.languages(), 0, Inputs::new())
    };
    let (old, new) = (of(STUDY), of(&STUDY.replace("steps = 100", "steps = 7").replace("batch = 64", "batch = 65")));
    assert_eq!(new.differences(&old), "recipe.batch: 64 there, 65 now\n  recipe.stage[0].steps: 100 there, 7 now");
}

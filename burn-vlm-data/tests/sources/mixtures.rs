//! From a mixture file to its stream: exact languages and sizes, the same order again, and what cannot be opened.

use crate::files::{self, Types, simple_items, temporary};
use burn_vlm_data::language::Language;
use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::sample::Sample;
use burn_vlm_data::source::{
    Limits, MissingFile, Mixed, SkipLimit, SkipLog, StreamOptions, missing_files, open_mixture,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const SHUFFLE: u64 = 1 << 20;

fn open(folder: &Path, head: &str) -> Result<(Arc<Mixed>, u64), String> {
    let items = simple_items(90);
    let (json, parquet) =
        (files::write_json(folder, &items[..60]), files::write_parquet(folder, &items[60..], Types::Plain, 6));
    let source = |name: &str, format: &str, path: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nformat = \"{format}\"\npath = \"{path}\"\nlanguage_column = \"language\"\n"
        )
    };
    let text = format!(
        "seed = 3\n{head}\n{}image_root = \"{}\"\n{}",
        source("json", "llava_json", &json.path),
        folder.join("images").display(),
        source("parquet", "parquet", &parquet.path)
    );
    let config = MixtureConfig::from_toml(&text, &folder.join("mixture.toml")).map_err(|e| e.to_string())?;
    let opened = open_mixture(
        &config,
        Limits::default(),
        StreamOptions { shuffle_bytes: SHUFFLE, ..StreamOptions::seeded(config.seed) },
    )
    .map_err(|e| e.to_string())?;
    assert!(opened.skipped.is_empty());
    Ok((opened.mixed, opened.plan.len()))
}

fn draw(mixed: &Arc<Mixed>, positions: std::ops::Range<u64>) -> Vec<(String, Option<Language>)> {
    let log = Arc::new(SkipLog::in_memory(SkipLimit::default()));
    let make = |_, sample: &Sample| Ok((sample.id.clone(), sample.language));
    mixed.stream(positions, (2, 3), log, make).unwrap().map(|drawn| drawn.unwrap().item).collect()
}

#[test]
fn files_that_are_not_there_are_listed_with_where_they_are_published() {
    let folder = temporary();
    std::fs::write(folder.join("a.json"), "[]").unwrap();
    std::fs::write(folder.join("part-1.parquet"), "").unwrap();
    let source = |name: &str, path: &str, more: &str| {
        format!("[[source]]\nname = '{name}'\npath = '{path}'\nformat = 'parquet'\n{more}\n")
    };
    let text = format!(
        "from = 'there'\nexclude_tags = ['off']\n{}{}{}{}{}",
        source("braces", "{a,b}.json", ""),
        source("pictures", "a.json", "image_root = 'images'\nfrom = 'elsewhere'"),
        source("wild", "part-*.parquet", ""),
        source("nothing", "shard-*.parquet", ""),
        source("off", "c.json", "tags = ['off']")
    );
    let config = MixtureConfig::from_toml(&text, &folder.join("mixture.toml")).unwrap();
    let missing = |source: &str, path: &str, from: &str| MissingFile {
        source: source.to_owned(),
        path: folder.join(path),
        from: Some(from.to_owned()),
    };
    let expected = [
        missing("braces", "b.json", "there"),
        missing("pictures", "images", "elsewhere"),
        missing("nothing", "shard-*.parquet", "there"),
    ];
    assert_eq!(missing_files(&config).unwrap(), expected);
    std::fs::create_dir(folder.join("images")).unwrap();
    std::fs::write(folder.join("b.json"), "[]").unwrap();
    std::fs::write(folder.join("shard-0.parquet"), "").unwrap();
    assert_eq!(missing_files(&config).unwrap(), []);
}

#[test]
fn everything_once_without_conditions() {
    let (mixed, planned) = open(&temporary(), "").unwrap();
    assert_eq!((mixed.epoch_len(), planned), (90, 90));
    let mut ids: Vec<String> = draw(&mixed, 0..90).into_iter().map(|(id, _)| id).collect();
    ids.sort();
    assert_eq!(ids, (0..90).map(|number| format!("item-{number:03}")).collect::<Vec<_>>());
}

#[test]
fn languages_and_size_are_exact() {
    let (mixed, _) = open(&temporary(), "total = 30\nlanguages = [\"en\", \"de\"]").unwrap();
    for epoch in 0..2 {
        let mut counts = BTreeMap::new();
        for (_, language) in draw(&mixed, epoch * 30..(epoch + 1) * 30) {
            *counts.entry(language.unwrap()).or_insert(0) += 1;
        }
        assert_eq!(counts, BTreeMap::from([(Language::EN, 15), (Language::DE, 15)]));
    }
    let whole = draw(&mixed, 0..60);
    assert_eq!(draw(&mixed, 17..60), whole[17..]);
}

#[test]
fn more_than_there_is_repeats_only_if_asked() {
    let asked = "total = 120\nlanguages = [\"en\"]";
    let error = open(&temporary(), asked).err().unwrap();
    assert!(error.contains("en") && error.contains("allow_repeats"), "{error}");
    let (mixed, _) = open(&temporary(), &format!("{asked}\nallow_repeats = true")).unwrap();
    let mut counts = BTreeMap::new();
    for (id, language) in draw(&mixed, 0..120) {
        assert_eq!(language, Some(Language::EN));
        *counts.entry(id).or_insert(0) += 1;
    }
    // thirty records, four times each
    assert!(counts.len() == 30 && counts.values().all(|count| *count == 4), "{counts:?}");
}

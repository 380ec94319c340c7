//! Mixed streams: exact counts, the same order however many workers, and resume at every position.

use crate::files::{self, Types, compared, simple_items, temporary};
use burn_vlm_data::language::Language;
use burn_vlm_data::sample::Sample;
use burn_vlm_data::source::{
    FileSource, Group, Mixed, Records, SkipLimit, SkipLog, Source, SourceConfig, StreamError, StreamOptions,
    StreamState,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn log() -> Arc<SkipLog> {
    Arc::new(SkipLog::in_memory(SkipLimit::default()))
}

fn id(_: u64, sample: &Sample) -> Result<String, burn_vlm_data::source::SkipReason> {
    Ok(format!("{}/{}", sample.source, sample.id))
}

/// One source of each format with different samples.
fn configs(folder: &Path) -> Vec<SourceConfig> {
    let named = |name: &str, config: SourceConfig| SourceConfig { name: name.to_owned(), ..config };
    let items = simple_items(90);
    vec![
        named("json", files::write_json(folder, &items[..20])),
        named("parquet", files::write_parquet(folder, &items[20..60], Types::Plain, 6)),
        named("tar", files::write_webdataset(folder, &items[60..75])),
        named("tsv", files::write_tsv(folder, &items[75..])),
    ]
}

/// The sources as groups: parts, repeats and languages.
fn mixture(configs: &[SourceConfig], seed: u64) -> Mixed {
    let sources: Vec<Arc<dyn Source>> =
        configs.iter().map(|config| Arc::new(FileSource::open(config.clone()).unwrap()) as Arc<dyn Source>).collect();
    let german = sources[1].by_language(&mut |skip| panic!("{skip}")).remove(&Some(Language::DE)).unwrap();
    let groups = vec![
        Group { source: 0, records: Records::Range(5..15), draws: 10 },
        Group { source: 1, records: Records::Range(0..40), draws: 25 },
        Group { source: 1, records: Records::List(german.into()), draws: 20 },
        Group { source: 2, records: Records::Range(0..15), draws: 40 },
        Group { source: 3, records: Records::List(vec![1, 3, 8].into()), draws: 3 },
    ];
    // So few bytes that the parquet groups have several pools of several chunks.
    Mixed::new(sources, groups, StreamOptions { shuffle_bytes: 1 << 17, ..StreamOptions::seeded(seed) }).unwrap()
}

fn run(mixed: &Arc<Mixed>, positions: std::ops::Range<u64>, workers: usize) -> Vec<(usize, String)> {
    let stream = mixed.stream(positions, (workers, 3), log(), id).unwrap();
    stream.map(|drawn| drawn.unwrap()).map(|drawn| (drawn.group, drawn.item)).collect()
}

#[test]
fn counts_are_exact_in_every_epoch() {
    let configs = configs(&temporary());
    let mixed = Arc::new(mixture(&configs, 7));
    assert_eq!(mixed.epoch_len(), 98);
    for epoch in 0..3 {
        let drawn = run(&mixed, epoch * 98..(epoch + 1) * 98, 3);
        let mut counts = BTreeMap::<usize, BTreeMap<String, u64>>::new();
        for (group, id) in drawn {
            *counts.entry(group).or_default().entry(id).or_default() += 1;
        }
        let draws: Vec<u64> = counts.values().map(|ids| ids.values().sum()).collect();
        assert_eq!(draws, [10, 25, 20, 40, 3]);
        // All of ten once, 25 of 40 at most once, 13 repeated evenly, 15 repeated evenly.
        assert!(counts[&0].len() == 10 && counts[&4].len() == 3);
        if epoch == 0 {
            assert_eq!(counts[&1].len(), 25);
        }
        assert!(counts[&2].len() == 13 && counts[&2].values().all(|n| (1..=3).contains(n)), "{:?}", counts[&2]);
        assert!(counts[&3].len() == 15 && counts[&3].values().all(|n| (2..=4).contains(n)), "{:?}", counts[&3]);
    }
}

#[test]
fn resume_at_every_position_equals_the_uninterrupted_run() {
    let configs = configs(&temporary());
    let mixed = Arc::new(mixture(&configs, 7));
    let whole = run(&mixed, 0..150, 2);
    assert_eq!(run(&mixed, 0..150, 5), whole);
    for position in 0..150u64 {
        // A new process: sources opened anew, the state read from its file.
        let mut stream = mixed.stream(0..position, (1, 2), log(), id).unwrap();
        stream.by_ref().for_each(|drawn| drop(drawn.unwrap()));
        let json = serde_json::to_string(&stream.state()).unwrap();
        let state: StreamState = serde_json::from_str(&json).unwrap();
        let again = Arc::new(mixture(&configs, 7));
        let from = again.resume(&state).unwrap();
        assert_eq!(from, position);
        assert_eq!(run(&again, from..from + 12, 2), run(&mixed, position..position + 12, 1));
        let until = (position as usize + 12).min(150);
        assert_eq!(run(&again, from..until as u64, 2), whole[position as usize..until]);
    }
}

#[test]
fn another_seed_is_another_order() {
    let configs = configs(&temporary());
    let (one, two) = (Arc::new(mixture(&configs, 1)), Arc::new(mixture(&configs, 2)));
    let (first, second) = (run(&one, 0..98, 2), run(&two, 0..98, 2));
    assert_ne!(first, second);
    let sorted = |mut drawn: Vec<(usize, String)>| {
        drawn.retain(|(group, _)| *group == 0);
        drawn.sort();
        drawn
    };
    assert_eq!(sorted(first.clone()), sorted(second));
    assert_ne!(first, run(&one, 98..196, 2));
    for position in [0, 17, 200] {
        let (group, record) = one.at(position).unwrap();
        let drawn = one.get(position, |sample| Ok(compared(sample))).unwrap();
        let source = &one.sources()[[0, 1, 1, 2, 3][group]];
        assert_eq!(drawn.item, compared(&source.get(record).unwrap()));
    }
}

#[test]
fn a_state_of_other_data_is_refused() {
    let configs = configs(&temporary());
    let mixed = mixture(&configs, 7);
    let state = mixed.state(40);
    let error = mixture(&configs, 8).resume(&state).unwrap_err().to_string();
    assert!(error.contains("seed 7 became 8"), "{error}");
    let mut other = state.clone();
    other.groups[1].records = 41;
    let error = mixed.resume(&other).unwrap_err().to_string();
    assert!(error.contains("parquet") && error.contains("41"), "{error}");
    other.groups.pop();
    assert!(mixed.resume(&other).unwrap_err().to_string().contains("4 groups became 5"));
}

#[test]
fn mixtures_that_make_no_sense() {
    let folder = temporary();
    let source = || -> Vec<Arc<dyn Source>> {
        vec![Arc::new(FileSource::open(files::write_json(&folder, &simple_items(5))).unwrap())]
    };
    let range = |range: std::ops::Range<u64>| Records::Range(range);
    let group = |source, records, draws| vec![Group { source, records, draws }];
    for (groups, word) in [
        (group(0, range(0..6), 1), "has 5"),
        (group(1, range(0..1), 1), "1 sources"),
        (group(0, range(0..0), 1), "no records"),
        (group(0, Records::List(vec![1, 1].into()), 1), "rise"),
        (group(0, range(0..5), 0), "empty"),
        (Vec::new(), "empty"),
    ] {
        let error = Mixed::new(source(), groups, StreamOptions::seeded(1)).err().unwrap();
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    // A group without draws may be empty.
    let mut groups = group(0, range(0..5), 5);
    groups.push(Group { source: 0, records: range(0..0), draws: 0 });
    assert!(Mixed::new(source(), groups, StreamOptions::seeded(1)).is_ok());
    let panicking = |_, _: &Sample| -> Result<(), burn_vlm_data::source::SkipReason> { panic!("in a worker") };
    let mixed = Arc::new(Mixed::new(source(), group(0, range(0..5), 5), StreamOptions::seeded(1)).unwrap());
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = mixed.stream(0..5, (1, 1), log(), panicking).unwrap().next().unwrap();
    std::panic::set_hook(hook);
    assert!(matches!(result, Err(StreamError::Worker(_))));
}

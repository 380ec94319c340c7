//! Folders with one damaged file: whatever the damage, loading returns, quickly, without asking for more memory than the files
//! account for, and an error names a file of the folder.

#![cfg(feature = "flex")]

mod common;
#[path = "common/counting.rs"]
mod counting;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use burn_vlm::checkpoint::Pretrained;
use burn_vlm::dual::DualEncoder;
use burn_vlm::language::LanguageModel;
use burn_vlm::vision::VisionEncoder;
use burn_vlm::vlm::Vlm;
use common::fixtures;
use counting::{LIVE, PEAK};
use serde_json::{Value, json};

/// Most bytes that one load may hold beyond what was held before: 70 times the largest folder.
const MEMORY: usize = 64 << 20;
/// Longest load; a whole one takes milliseconds, and a busy machine may be slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// SplitMix64: the same damage in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ (value >> 31)) % bound as u64) as usize
    }
}

type Load = fn(&Path) -> Result<(), String>;

fn load<M: Pretrained>(dir: &Path) -> Result<(), String> {
    M::load_pretrained(dir, &Device::flex()).map(|_| ()).map_err(|error| error.to_string())
}

/// The files of a fixture that loading reads.
fn files(name: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(fixtures().join(name)).unwrap().map(|entry| entry.unwrap().path());
    let named = entries.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path));
    let read = named.filter(|(name, _)| {
        let name = name.as_str();
        matches!(name, "config.json" | "vision_config.json") || name.starts_with("model")
    });
    read.map(|(name, path)| (name, std::fs::read(path).unwrap())).collect()
}

/// A folder under test and what went wrong so far.
struct Trial {
    load: Load,
    good: BTreeMap<String, Vec<u8>>,
    /// The undamaged files, to be linked.
    whole: tempfile::TempDir,
    attempts: usize,
    refused: usize,
    faults: Vec<String>,
}

impl Trial {
    fn new(name: &str, load: Load) -> Self {
        let (good, whole) = (files(name), tempfile::tempdir().unwrap());
        good.iter().for_each(|(name, bytes)| std::fs::write(whole.path().join(name), bytes).unwrap());
        let mut trial = Self { load, good, whole, attempts: 0, refused: 0, faults: Vec::new() };
        let name = trial.good.keys().next().unwrap().clone();
        let bytes = trial.good[&name].clone();
        trial.attempt("undamaged", &name, bytes);
        assert!(trial.refused == 0 && trial.faults.is_empty(), "{:?}", trial.faults);
        trial
    }

    fn attempt(&mut self, damage: &str, name: &str, bytes: Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        for other in self.good.keys().filter(|other| *other != name) {
            std::fs::hard_link(self.whole.path().join(other), dir.path().join(other)).unwrap();
        }
        std::fs::write(dir.path().join(name), bytes).unwrap();
        let (before, start) = (LIVE.load(Relaxed), Instant::now());
        PEAK.store(before, Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| (self.load)(dir.path())));
        let (memory, time) = (PEAK.load(Relaxed).saturating_sub(before), start.elapsed());
        self.attempts += 1;
        let mut fault = |text: String| self.faults.push(format!("{name}, {damage}: {text}"));
        match result {
            Err(_) => fault("panicked".into()),
            Ok(Err(error)) => {
                self.refused += 1;
                let folder = dir.path().to_string_lossy().into_owned();
                if !self.good.keys().any(|file| error.contains(&format!("{folder}/{file}"))) {
                    fault(format!("the error names no file: {error}"));
                }
            }
            Ok(Ok(())) => {}
        }
        if memory > MEMORY {
            fault(format!("{memory} bytes held"));
        }
        if time > PATIENCE {
            fault(format!("{time:?}"));
        }
    }

    /// Flips one bit at `places` random places below `end`.
    fn flip(&mut self, random: &mut Random, name: &str, end: usize, places: usize) {
        for _ in 0..places {
            let mut bytes = self.good[name].clone();
            let (at, bit) = (random.below(end.min(bytes.len())), random.below(8));
            bytes[at] ^= 1 << bit;
            self.attempt(&format!("bit {bit} of byte {at} flipped"), name, bytes);
        }
    }

    fn truncate(&mut self, random: &mut Random, name: &str, places: usize) {
        for _ in 0..places {
            let length = random.below(self.good[name].len());
            self.attempt(&format!("cut to {length} bytes"), name, self.good[name][..length].to_vec());
        }
    }

    /// Replaces the header of a safetensors file.
    fn header(&mut self, damage: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let good = self.good[name].clone();
        let (_, data) = header_of(&good);
        let mut header: Value = serde_json::from_slice(&good[8..data]).unwrap();
        change(&mut header);
        let text = serde_json::to_vec(&header).unwrap();
        let bytes = [(text.len() as u64).to_le_bytes().to_vec(), text, good[data..].to_vec()].concat();
        self.attempt(damage, name, bytes);
    }

    /// Replaces numbers of a config one at a time.
    fn numbers(&mut self, name: &str) {
        let config: Value = serde_json::from_slice(&self.good[name]).unwrap();
        let mut places = Vec::new();
        collect_numbers(&config, String::new(), &mut places);
        for place in places {
            for value in [json!(0), json!(-1), json!(3), json!(1_000_000_000_000u64), json!("many")] {
                let mut damaged = config.clone();
                *damaged.pointer_mut(&place).unwrap() = value.clone();
                self.attempt(&format!("{place} = {value}"), name, serde_json::to_vec(&damaged).unwrap());
            }
        }
    }
}

/// Length of a header and where the data begins.
fn header_of(bytes: &[u8]) -> (usize, usize) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (length, 8 + length)
}

fn collect_numbers(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(place),
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| collect_numbers(value, format!("{place}/{key}"), found));
        }
        _ => {}
    }
}

#[test]
fn damaged_folders_are_errors_that_name_the_file() {
    let mut random = Random(7);
    let mut total = (0, 0);
    let folders: [(&str, Load); 6] = [
        ("qwen2_tied", load::<LanguageModel>),
        ("gemma2_bf16_sharded", load::<LanguageModel>),
        ("llava_clip_qwen2", load::<Vlm>),
        ("parrot_clip_qwen2", load::<Vlm>),
        ("clip_dual", load::<DualEncoder>),
        ("siglip2_naflex_dual", load::<VisionEncoder>),
    ];
    // Panics that are caught would each print a backtrace.
    std::panic::set_hook(Box::new(|_| {}));
    let mut faults = Vec::new();
    for (folder, load) in folders {
        let mut trial = Trial::new(folder, load);
        let names: Vec<String> = trial.good.keys().cloned().collect();
        for name in &names {
            if name.ends_with(".safetensors") {
                let (_, data) = header_of(&trial.good[name]);
                trial.flip(&mut random, name, 8, 6);
                trial.flip(&mut random, name, data, 30);
                trial.flip(&mut random, name, usize::MAX, 6);
                trial.truncate(&mut random, name, 8);
                headers(&mut trial, name);
            } else {
                trial.flip(&mut random, name, usize::MAX, 30);
                trial.truncate(&mut random, name, 6);
                trial.attempt("emptied", name, Vec::new());
                trial.attempt("no text", name, vec![0xff; 100]);
                trial.attempt("deep", name, vec![b'['; 100_000]);
            }
            if name.ends_with("config.json") {
                trial.numbers(name);
            }
        }
        faults.extend(trial.faults.iter().map(|fault| format!("{folder}/{fault}")));
        total = (total.0 + trial.attempts, total.1 + trial.refused);
    }
    let _ = std::panic::take_hook();
    println!("{} damaged folders, {} refused, {} faults", total.0, total.1, faults.len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(total.0 >= 200 && total.1 >= 200, "{total:?}");
}

/// Headers that lie about sizes.
fn headers(trial: &mut Trial, name: &str) {
    let first = |header: &Value| -> String {
        header.as_object().unwrap().keys().find(|key| *key != "__metadata__").unwrap().clone()
    };
    let huge = u64::MAX / 2;
    for shape in [json!([huge]), json!([huge, 4]), json!([1u64 << 40, 1u64 << 40]), json!([-1]), json!([]), json!([0])]
    {
        trial.header(&format!("shape {shape}"), name, |header| {
            let key = first(header);
            header[key.as_str()]["shape"] = shape;
        });
    }
    for offsets in [json!([0, huge]), json!([huge, huge]), json!([8, 0]), json!([4, 8]), json!([-4, 0])] {
        trial.header(&format!("offsets {offsets}"), name, |header| {
            let key = first(header);
            header[key.as_str()]["data_offsets"] = offsets;
        });
    }
    for dtype in ["I64", "BOOL", "F8_E4M3", "F4", "X"] {
        trial.header(&format!("dtype {dtype}"), name, |header| {
            let key = first(header);
            header[key.as_str()]["dtype"] = dtype.into();
        });
    }
    let good = trial.good[name].clone();
    for length in [u64::MAX, 1 << 40, 99_999_999, 0] {
        let bytes = [length.to_le_bytes().to_vec(), good[8..].to_vec()].concat();
        trial.attempt(&format!("header of {length} bytes"), name, bytes);
    }
}

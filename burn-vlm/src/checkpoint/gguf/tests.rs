//! Against files that llama.cpp's own Python package wrote (`tests/python/gguf_fixture.py`).

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::*;
use crate::checkpoint::TensorSource;

/// A binary16 keeps 11 bits.
const HALF: f32 = 1.0 / 2048.0;
/// A norm's weight plus one in f32, minus one.
const PLUS_ONE: f32 = 1e-6;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

fn fixture(name: &str) -> PathBuf {
    fixtures().join("gguf").join(name)
}

fn header_of(path: &Path) -> Result<header::Header, CheckpointError> {
    header::read(path, &File::open(path).unwrap())
}

fn values(path: &Path, info: &header::Info, from: usize, count: usize) -> Vec<f32> {
    let form = Form { kind: info.kind, change: Change::None, columns: info.shape[1] };
    let mut out = vec![f32::NAN; count];
    read_values(&File::open(path).unwrap(), info.start, form, from, &mut out).unwrap();
    out
}

#[test]
fn every_type_has_the_bits_of_the_reference() {
    let path = fixture("blocks.gguf");
    let header = header_of(&path).unwrap();
    let mut seen = 0;
    for (name, info) in header.tensors.iter().filter(|(name, _)| !name.starts_with("expected.")) {
        assert_eq!((info.kind.name(), info.shape.as_slice()), (name.as_str(), [3, 512].as_slice()));
        let expected = values(&path, &header.tensors[&format!("expected.{name}")], 0, 3 * 512);
        let whole = values(&path, info, 0, 3 * 512);
        assert!(whole.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}");
        assert!(whole.iter().any(|value| *value != 0.0), "{name}");
        // Pieces that begin and end within blocks.
        for (from, count) in [(0, 1), (5, 40), (500, 600), (1535, 1), (255, 2)] {
            assert_eq!(values(&path, info, from, count), expected[from..from + count], "{name} {from}");
        }
        seen += 1;
    }
    assert_eq!(seen, 11);
}

/// The numbers of 4 bits are those that the values were computed from; of `Q4_K` a scale is as near as a binary16.
#[cfg(feature = "flex")]
#[test]
fn numbers_of_4_bits_are_those_of_the_file() {
    let path = fixture("blocks.gguf");
    let header = header_of(&path).unwrap();
    for (name, exact) in [("Q4_0", true), ("Q4_1", true), ("Q4_K", false)] {
        let info = &header.tensors[name];
        let columns = info.shape[1];
        let expected = values(&path, info, 0, 3 * columns);
        let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        // Of a head of four rows, the second and the third change places.
        for (change, order) in [(Change::None, [0, 1, 2]), (Change::Rows(4), [0, 2, 1])] {
            let form = Form { kind: info.kind, change, columns };
            let mut blocks = vec![Nibbles::default(); 3 * columns / packed::BLOCK];
            read_nibbles(&File::open(&path).unwrap(), info.start, form, 0, &mut blocks).unwrap();
            let size = packed::Size { input: columns, output: 3 };
            let weight = packed::pack(size, kept(form).unwrap(), true, |packer| packer.push_nibbles(&blocks)).unwrap();
            let found: Vec<f32> = packed::float(weight).into_data().try_to_vec().unwrap();
            for (row, from) in order.into_iter().enumerate() {
                let pairs = found[row * columns..][..columns].iter().zip(&expected[from * columns..]);
                for (at, (found, expected)) in pairs.enumerate() {
                    // Fifteen scales and a least value, of which neither is much larger than what they give together.
                    let most = if exact { 0.0 } else { largest * 4.0 * HALF };
                    assert!((found - expected).abs() <= most, "{name} {row} {at}: {found} instead of {expected}");
                }
            }
        }
        // A part of the rows.
        let form = Form { kind: info.kind, change: Change::None, columns };
        let mut two = vec![Nibbles::default(); 2 * columns / packed::BLOCK];
        let mut whole = vec![Nibbles::default(); 3 * columns / packed::BLOCK];
        let file = File::open(&path).unwrap();
        read_nibbles(&file, info.start, form, 0, &mut whole).unwrap();
        read_nibbles(&file, info.start, form, 1, &mut two).unwrap();
        assert_eq!(two, whole[columns / packed::BLOCK..]);
    }
    for (name, form) in [("Q8_0", Some(packed::Form::Eight)), ("Q6_K", Some(packed::Form::Eight)), ("F16", None)] {
        let info = &header.tensors[name];
        assert_eq!(kept(Form { kind: info.kind, change: Change::None, columns: info.shape[1] }), form, "{name}");
    }
}

/// Names, the order of q's and k's rows, Gemma's norms, the head: the tensors are those of the folder that was converted.
#[test]
fn decoders_are_those_of_their_folders() {
    for (name, folder) in [("llama", "llama"), ("qwen2", "qwen2_untied"), ("gemma2", "gemma2")] {
        let (path, folder) = (fixture(&format!("{name}.gguf")), fixtures().join(folder));
        assert!(is_gguf(&path) && !is_gguf(&folder.join("config.json")) && !is_gguf(&folder));
        let (found, expected) = (TensorSource::open(&path).unwrap(), TensorSource::open(&folder).unwrap());
        let wanted = |key: &&String| !key.contains(".layers.") || key.contains(".layers.0.");
        let keys: BTreeSet<&String> = expected.tensors().keys().filter(wanted).collect();
        assert_eq!(found.tensors().keys().collect::<BTreeSet<_>>(), keys, "{name}");
        for (key, tensor) in found.tensors() {
            let own = &expected.tensors()[key];
            assert_eq!(tensor.shape, own.shape, "{key}");
            let (values, own) = (found.read_f32(key, tensor).unwrap(), expected.read_f32(key, own).unwrap());
            for (value, own) in values.iter().zip(&own) {
                assert!((value - own).abs() <= own.abs() * HALF + PLUS_ONE, "{name} {key}: {value} instead of {own}");
            }
        }
        let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let (found, mut expected): (Json, Json) = (gguf_config(&path).unwrap(), serde_json::from_str(&text).unwrap());
        expected["num_hidden_layers"] = 1.into();
        expected["rope_theta"] = expected["rope_parameters"]["rope_theta"].clone();
        if expected["head_dim"].is_null() {
            expected["head_dim"] =
                (expected["hidden_size"].as_u64().unwrap() / expected["num_attention_heads"].as_u64().unwrap()).into();
        }
        // Whatever the file says is what the folder says; of Gemma's scores it says nothing, and the width of a head is meant.
        for (key, value) in found.as_object().unwrap() {
            let same = match (value.as_f64(), expected[key].as_f64()) {
                (Some(a), Some(b)) => a == b,
                _ => *value == expected[key],
            };
            assert!(same || key == "query_pre_attn_scalar", "{name} {key}: {value} instead of {}", expected[key]);
        }
    }
}

#[test]
fn words_are_those_of_the_folder() {
    let path = fixture("words.gguf");
    let files = gguf_words(&path).unwrap();
    let json = |name: &str| -> Json {
        let (_, text) = files.iter().find(|(own, _)| *own == name).unwrap();
        serde_json::from_str(text).unwrap()
    };
    let folder = fixtures().join("tok_qwen");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (found, expected): (Json, Json) =
        (json("tokenizer.json"), serde_json::from_str(&read("tokenizer.json")).unwrap());
    assert_eq!(
        found["model"]["merges"].as_array().unwrap().len(),
        expected["model"]["merges"].as_array().unwrap().len()
    );
    for (found, expected) in
        found["model"]["merges"].as_array().unwrap().iter().zip(expected["model"]["merges"].as_array().unwrap())
    {
        let pair =
            expected.as_str().map_or_else(|| expected.clone(), |text| text.split(' ').collect::<Vec<_>>().into());
        assert_eq!(*found, pair);
    }
    let vocabulary = found["model"]["vocab"].as_object().unwrap();
    for (token, id) in expected["model"]["vocab"].as_object().unwrap() {
        assert_eq!(vocabulary[token], *id);
    }
    assert!(!vocabulary.contains_key("[PAD0]"));
    let added = |of: &Json| -> Vec<(Json, Json, Json)> {
        let of = of["added_tokens"].as_array().unwrap();
        of.iter().map(|token| (token["id"].clone(), token["content"].clone(), token["special"].clone())).collect()
    };
    assert_eq!(added(&found), added(&expected));
    let pattern = |of: &Json| of["pre_tokenizer"]["pretokenizers"][0]["pattern"].clone();
    assert_eq!((pattern(&found), &found["normalizer"]), (pattern(&expected), &expected["normalizer"]));
    assert_eq!(json("tokenizer_config.json")["eos_token"], "<|im_end|>");
    assert_eq!(json("generation_config.json")["eos_token_id"].as_array().unwrap().len(), 1);
    let (_, template) = files.iter().find(|(name, _)| *name == "chat_template.jinja").unwrap();
    assert_eq!(*template, read("chat_template.jinja"));
}

/// The bytes of a text with its length before it.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A file with these entries (type and bytes of the value) and these tensors (sides as in the file, type, offset), then `behind` zeros.
fn file(entries: &[(&str, u32, Vec<u8>)], tensors: &[(&str, &[u64], u32, u64)], behind: usize) -> Vec<u8> {
    let mut bytes = [b"GGUF".as_slice(), &3u32.to_le_bytes()].concat();
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((entries.len() as u64).to_le_bytes());
    for (key, kind, value) in entries {
        bytes.extend([text(key), kind.to_le_bytes().to_vec(), value.clone()].concat());
    }
    for (name, sides, kind, offset) in tensors {
        bytes.extend([text(name), (sides.len() as u32).to_le_bytes().to_vec()].concat());
        sides.iter().for_each(|side| bytes.extend(side.to_le_bytes()));
        bytes.extend([&kind.to_le_bytes()[..], &offset.to_le_bytes()].concat());
    }
    bytes.resize(bytes.len().next_multiple_of(32) + behind, 0);
    bytes
}

fn texts(list: &[&str]) -> Vec<u8> {
    let count = (list.len() as u64).to_le_bytes();
    [&8u32.to_le_bytes()[..], &count, &list.iter().flat_map(|one| text(one)).collect::<Vec<_>>()].concat()
}

fn numbers(list: &[f32]) -> Vec<u8> {
    let count = (list.len() as u64).to_le_bytes();
    [&6u32.to_le_bytes()[..], &count, &list.iter().flat_map(|one| one.to_le_bytes()).collect::<Vec<_>>()].concat()
}

fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::with_suffix(".gguf").unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

/// SentencePiece's merges: every pair of pieces that is a piece, the best score first.
#[test]
fn pieces_become_merges() {
    let tokens = ["<unk>", "<s>", "<0x41>", "\u{2581}", "a", "b", "ab", "\u{2581}a", "\u{2581}ab", "x"];
    let kinds = [2.0, 3.0, 6.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 5.0];
    let scores = [0.0, 0.0, 0.0, -9.0, -8.0, -7.0, -1.0, -2.0, -3.0, 0.0];
    let entries = [
        ("tokenizer.ggml.model", 8, text("llama")),
        ("tokenizer.ggml.tokens", 9, texts(&tokens)),
        ("tokenizer.ggml.scores", 9, numbers(&scores)),
        ("tokenizer.ggml.token_type", 9, numbers(&kinds)),
        ("tokenizer.ggml.bos_token_id", 4, 1u32.to_le_bytes().to_vec()),
    ];
    let words = gguf_words(written(&file(&entries, &[], 0)).path()).unwrap();
    let found: Json = serde_json::from_str(&words[0].1).unwrap();
    let expected: Json = serde_json::json!([["a", "b"], ["\u{2581}", "a"], ["\u{2581}a", "b"], ["\u{2581}", "ab"]]);
    assert_eq!(found["model"]["merges"], expected);
    assert_eq!(found["model"]["unk_token"], "<unk>");
    assert_eq!(found["post_processor"]["single"][0]["SpecialToken"]["id"], "<s>");
    assert_eq!(found["added_tokens"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_wrong_is_named() {
    let architecture = |name: &str| ("general.architecture", 8, text(name));
    let one =
        |tensor: (&'static str, &'static [u64], u32, u64), behind| file(&[architecture("llama")], &[tensor], behind);
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (b"GGUF".to_vec(), &["at byte 4", "truncated"]),
        ([b"GGUF".as_slice(), &1u32.to_le_bytes()].concat(), &["version 1", "2 or 3"]),
        ([b"GGUF".as_slice(), &3u32.to_be_bytes()].concat(), &["big-endian"]),
        ([b"GGUF\x03\0\0\0".as_slice(), &[0; 8], &[255; 8]].concat(), &["entries of metadata", "truncated"]),
        (file(&[("k", 8, vec![255; 8])], &[], 0), &["`k`", "truncated"]),
        (file(&[("k", 9, [&4u32.to_le_bytes()[..], &[255; 8]].concat())], &[], 0), &["elements of `k`", "truncated"]),
        (file(&[("k", 77, vec![])], &[], 0), &["`k` has the type 77"]),
        (file(&[("k", 7, vec![2])], &[], 0), &["`k` is 2", "0 or 1"]),
        (file(&[("k", 7, vec![1]), ("k", 7, vec![1])], &[], 0), &["`k` is there twice"]),
        (file(&[("general.alignment", 4, vec![7, 0, 0, 0])], &[], 0), &["general.alignment", "multiple of 8"]),
        (one(("w", &[32, 2], 10, 0), 99), &["`w` is stored as Q2_K", "Q4_0"]),
        (one(("w", &[31, 2], 8, 0), 99), &["`w` [2, 31]", "whole blocks of 32"]),
        (one(("w", &[32, 2], 8, 16), 999), &["`w`", "multiple of 32"]),
        (one(("w", &[32, 2], 8, 0), 67), &["`w` [2, 32], Q8_0 at offset 0", "68 bytes", "truncated"]),
        (one(("w", &[1 << 40, 1 << 40], 0, 0), 99), &["`w`", "too many values"]),
        (one(("w", &[32, 2], 0, u64::MAX - 31), 99), &["`w`", "truncated"]),
        (one(("w", &[], 0, 0), 99), &["`w` has 0 dimensions"]),
        (file(&[architecture("mamba")], &[], 0), &["general.architecture", "mamba", "qwen2"]),
        (file(&[architecture("llama")], &[], 0), &["token_embd.weight"]),
        (one(("token_embd.weight", &[4, 8], 0, 0), 999), &["llama.attention.head_count", "positive number"]),
    ];
    for (bytes, words) in cases {
        let file = written(&bytes);
        let error = TensorSource::open(file.path()).map(drop).unwrap_err().to_string();
        assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{error}: expected {words:?}");
    }
    for (entries, words) in [
        (vec![], ["tokenizer.ggml.tokens", "no tokenizer"]),
        (
            vec![("tokenizer.ggml.tokens", 9, texts(&["a", "a"])), ("tokenizer.ggml.model", 8, text("bert"))],
            ["bert", "gpt2"],
        ),
        (
            vec![("tokenizer.ggml.tokens", 9, texts(&["a", "a"])), ("tokenizer.ggml.model", 8, text("llama"))],
            ["tokenizer.ggml.scores", "expected 2"],
        ),
        (
            vec![
                ("tokenizer.ggml.tokens", 9, texts(&["a", "b"])),
                ("tokenizer.ggml.model", 8, text("gpt2")),
                ("tokenizer.ggml.merges", 9, texts(&["a b"])),
            ],
            ["element 0 of `tokenizer.ggml.merges`", "make a third"],
        ),
        (
            vec![
                ("tokenizer.ggml.tokens", 9, texts(&["a"])),
                ("tokenizer.ggml.model", 8, text("gpt2")),
                ("tokenizer.ggml.merges", 9, texts(&[])),
                ("tokenizer.ggml.pre", 8, text("tekken")),
            ],
            ["tokenizer.ggml.pre", "tekken"],
        ),
    ] {
        let error = gguf_words(written(&file(&entries, &[], 0)).path()).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}: expected {words:?}");
    }
}

/// Files cut short anywhere, and files with changed bytes before the tensors: an error or a model, no panic, no memory on their word.
#[test]
fn damaged_files_are_errors() {
    for name in ["llama.gguf", "words.gguf"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let read = |bytes: &[u8]| {
            let file = written(bytes);
            let _ = gguf_words(file.path());
            let source = TensorSource::open(file.path())?;
            source.tensors().iter().try_for_each(|(key, tensor)| source.read_f32(key, tensor).map(drop))
        };
        let before = whole.len().min(3000);
        for length in (0..before).step_by(37).chain([whole.len() - 1]) {
            assert!(read(&whole[..length]).is_err(), "{name} cut at {length}");
        }
        let mut state = 1u64;
        for _ in 0..300 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut changed = whole.clone();
            changed[(state >> 33) as usize % before] = (state >> 20) as u8;
            let _ = read(&changed);
        }
    }
}

//! COMET's folders: what they compute, and what is said of those that are not whole. (tests/parity compares all that a fixture has.)

#![cfg(feature = "flex")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_vlm::checkpoint::{Layout, Pretrained, StoreDtype, TensorSource, parameters, save_parameters};
use burn_vlm::comet::{CometFolder, CometModel};
use burn_vlm::init::Scope;
use burn_vlm::text::{TextEncoder, TextEncoderConfig, XlmRobertaConfig, XlmRobertaXlConfig};
use common::{FORWARD_TOLERANCE, Fixture, fixtures, values};

/// The same row with more padding, and in another batch: nothing else differs.
const BATCH_TOLERANCE: f32 = 2e-6;
/// Damaged copies of a checkpoint that are tried.
const DAMAGES: usize = 600;

fn model(name: &str) -> CometModel {
    CometFolder::open(&fixtures().join(name), None).unwrap().load(&Device::flex()).unwrap()
}

/// Copies a fixture's files, but for what begins with `without`.
fn copy(name: &str, without: &str) -> tempfile::TempDir {
    let (from, to) = (fixtures().join(name), tempfile::tempdir().unwrap());
    for file in ["hparams.yaml", "checkpoints/model.ckpt", "encoder/config.json"] {
        if !file.starts_with(without) {
            let to = to.path().join(file);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(from.join(file), to).unwrap();
        }
    }
    to
}

fn refused(folder: &Path) -> String {
    let opened = CometFolder::open(folder, None).and_then(|folder| folder.load(&Device::flex()));
    opened.err().unwrap().to_string()
}

/// Keeps the copy of a fixture with one text of a file replaced.
fn changed(name: &str, file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let folder = copy(name, "nothing");
    let path = folder.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file}: {from}");
    std::fs::write(path, text.replace(from, to)).unwrap();
    folder
}

#[test]
fn scores_are_those_of_the_reference_in_any_batch() {
    for name in ["comet_kiwi", "comet_x"] {
        let (fixture, model, device) = (Fixture::open(name), model(name), Device::flex());
        let ids = fixture.int_tensor::<2>("batch.input_ids", &device);
        let mask = fixture.mask("batch.attention_mask", &device);
        let output = model.forward(ids.clone(), mask.clone()).unwrap();
        fixture.check("batch.score", output.scores.clone(), FORWARD_TOLERANCE);
        assert_eq!(output.labels.is_some(), name == "comet_x");
        if let Some(labels) = output.labels {
            fixture.check("batch.tag_logits", labels, FORWARD_TOLERANCE);
        }
        let together = values(output.scores);
        let [_, width] = ids.dims();
        for (row, &among) in together.iter().enumerate() {
            let (one, real) = (ids.clone().narrow(0, row, 1), mask.clone().narrow(0, row, 1));
            let length: i64 = real.clone().int().sum().into_data().iter::<i64>().next().unwrap();
            // Without padding, and with more of it.
            let bare = (one.clone().narrow(1, 0, length as usize), real.clone().narrow(1, 0, length as usize));
            let more = 128 - width;
            let pad = TensorData::new(vec![1i64; more], [1, more]);
            let pad = Tensor::<2, Int>::from_data(pad, &device);
            let none = Tensor::<2, Bool>::from_data(TensorData::new(vec![false; more], [1, more]), &device);
            let padded = (Tensor::cat(vec![one, pad], 1), Tensor::cat(vec![real, none], 1));
            for (ids, mask) in [bare, padded] {
                let alone = values(model.forward(ids, mask).unwrap().scores)[0];
                let difference = (alone - among).abs();
                assert!(difference <= BATCH_TOLERANCE, "{name}, row {row}: {difference:e}");
            }
        }
        // One token beyond the positions.
        let long = Tensor::<2, Int>::from_data(TensorData::new(vec![5i64; 129], [1, 129]), &device);
        let mask = Tensor::<2, Bool>::from_data(TensorData::new(vec![true; 129], [1, 129]), &device);
        let error = model.forward(long, mask).unwrap_err().to_string();
        assert!(error.contains("129 tokens") && error.contains("128"), "{error}");
    }
}

#[test]
fn a_checkpoint_and_the_same_as_safetensors_are_one() {
    let folder = copy("comet_x", "checkpoints");
    let whole = model("comet_x");
    let path = folder.path().join("model.safetensors");
    save_parameters(&whole, &path, &Layout::Comet, StoreDtype::F32).unwrap();
    let read = CometFolder::open(folder.path(), None).unwrap().load(&Device::flex()).unwrap();
    let dump = |model: &CometModel| {
        let path = folder.path().join("dump.safetensors");
        save_parameters(model, &path, &Layout::Comet, StoreDtype::F32).unwrap();
        std::fs::read(path).unwrap()
    };
    assert_eq!(dump(&whole), dump(&read));
    let source = TensorSource::open(&fixtures().join("comet_x/checkpoints/model.ckpt")).unwrap();
    let saved = TensorSource::open(&path).unwrap();
    assert_eq!(parameters(&whole).len(), saved.tensors().len());
    for (key, tensor) in saved.tensors() {
        let stored = &source.tensors()[key];
        assert_eq!(source.read_f32(key, stored).unwrap(), saved.read_f32(key, tensor).unwrap(), "{key}");
    }
}

#[test]
fn encoders_alone_survive_a_round_trip() {
    let device = Device::flex();
    let sizes = XlmRobertaConfig {
        vocab_size: 30,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        max_position_embeddings: 20,
        type_vocab_size: 1,
        ..XlmRobertaConfig::default()
    };
    let large = XlmRobertaXlConfig {
        vocab_size: 30,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        max_position_embeddings: 20,
        ..XlmRobertaXlConfig::default()
    };
    for config in [TextEncoderConfig::XlmRoberta(sizes.clone()), TextEncoderConfig::XlmRobertaXl(large)] {
        let encoder = config.init_with(&Scope::new(4, &device)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        encoder.save_pretrained(folder.path(), StoreDtype::F32).unwrap();
        let read = TextEncoder::load_pretrained(folder.path(), &device).unwrap();
        assert_eq!(read.config(), config);
        let ids = Tensor::<2, Int>::from_data(TensorData::new(vec![0i64, 9, 8, 2], [1, 4]), &device);
        let last = |encoder: &TextEncoder| values(encoder.states(ids.clone(), None, |_, _| ()).unwrap());
        assert_eq!(last(&encoder), last(&read));
        let keys: Vec<String> = TensorSource::open(folder.path()).unwrap().tensors().keys().cloned().collect();
        assert!(keys.contains(&"encoder.layer.1.attention.self.query.weight".to_owned()), "{keys:?}");
        assert!(
            keys.iter().any(|key| key.contains("LayerNorm")) && !keys.iter().any(|key| key.contains(".layer_norm"))
        );
        assert!(encoder.num_params() > 0);
    }
    for (config, key) in [
        (XlmRobertaConfig { num_attention_heads: 3, ..sizes.clone() }, "num_attention_heads"),
        (XlmRobertaConfig { pad_token_id: 19, ..sizes.clone() }, "pad_token_id"),
        (XlmRobertaConfig { type_vocab_size: 0, ..sizes.clone() }, "type_vocab_size"),
        (XlmRobertaConfig { position_embedding_type: "relative_key".into(), ..sizes }, "position_embedding_type"),
    ] {
        let error = config.init(&device).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn a_folder_that_is_not_whole_is_told_what_it_lacks() {
    for (without, words) in [
        ("hparams.yaml", ["no hparams.yaml here", "checkpoints/model.ckpt"]),
        ("checkpoints", ["no weights here", "checkpoints/model.ckpt or model.safetensors"]),
        ("encoder", ["no config.json here", "those of `encoder` (pretrained_model)"]),
    ] {
        let folder = copy("comet_kiwi", without);
        let error = refused(folder.path());
        assert!(words.iter().all(|word| error.contains(word)), "{without}: {error}");
    }
    for (file, from, to, words) in [
        ("hparams.yaml", "class_identifier: unified_metric", "class_identifier: regression_metric", "class_identifier"),
        ("hparams.yaml", "activations: Tanh", "activations: ReLU", "Tanh or Sigmoid"),
        (
            "hparams.yaml",
            "layer_transformation: sparsemax_patch",
            "layer_transformation: entmax",
            "layer_transformation",
        ),
        ("hparams.yaml", "- mt\n- src", "- src\n- mt", "mt first"),
        ("hparams.yaml", "sent_layer: mix", "sent_layer: 9", "at most 3"),
        ("hparams.yaml", "dropout: 0.1", "dropout: &a 0.1", "anchors"),
        ("hparams.yaml", "dropout: 0.1", "dropout: [", "no YAML"),
        ("hparams.yaml", "- 12\n- 8", "- 12\n- 9", "estimator.ff.3.weight is [8, 12]"),
        ("encoder/config.json", "\"xlm-roberta\"", "\"bert\"", "model_type"),
        ("encoder/config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 1e9", "num_hidden_layers"),
        ("encoder/config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", "missing: "),
    ] {
        let folder = changed("comet_kiwi", file, from, to);
        let error = refused(folder.path());
        assert!(error.contains(words), "{file}, {to}: {error}");
        let name = if error.contains("weights do not fit") { "model.ckpt" } else { file };
        assert!(error.contains(name), "{file}, {to}: {error}");
    }
    // What the class leaves to its hyper-parameters may be left out.
    let folder = changed("comet_kiwi", "hparams.yaml", "final_activation: null\n", "");
    CometFolder::open(folder.path(), None).unwrap().load(&Device::flex()).unwrap();
}

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

#[test]
fn damaged_checkpoints_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ckpt");
    let whole = std::fs::read(fixtures().join("comet_kiwi/checkpoints/model.ckpt")).unwrap();
    let mut random = Random(7);
    let mut refused = 0;
    for attempt in 0..DAMAGES {
        let mut bytes = whole.clone();
        match attempt % 3 {
            // The pickle stands first, the directory last; between them are values, of which any is one.
            0 => (0..3).for_each(|_| bytes[random.below(8000)] ^= 1 << random.below(8)),
            1 => {
                let end = bytes.len() - 9000;
                (0..3).for_each(|_| bytes[end + random.below(9000)] ^= 1 << random.below(8));
            }
            _ => bytes.truncate(random.below(whole.len())),
        }
        std::fs::write(&path, &bytes).unwrap();
        let read = || -> Result<(), String> {
            let source = TensorSource::open(&path).map_err(|error| error.to_string())?;
            for (key, tensor) in source.tensors() {
                // Whole numbers are refused as such.
                let _ = source.read_f32(key, tensor).map_err(|error| error.to_string());
            }
            Ok(())
        };
        match catch_unwind(AssertUnwindSafe(read)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                assert!(error.contains("model.ckpt"), "attempt {attempt}: {error}");
                refused += 1;
            }
            Err(_) => panic!("attempt {attempt}: a panic"),
        }
    }
    // Each cut, and most of the flips: some change a name that nobody reads, or a date.
    assert!(refused > DAMAGES / 2, "{refused} of {DAMAGES}");
    for (bytes, words) in [
        (&b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..], "before 1.6"),
        (b"PK\x03\x04 but nothing else", "directory"),
        (b"", "truncated"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = TensorSource::open(&path).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

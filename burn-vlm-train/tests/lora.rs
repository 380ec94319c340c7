//! Adapters against peft: what it computes with those in tests/lora, on models of tests/fixtures. And what is refused.

#![cfg(feature = "flex")]

#[path = "../../burn-vlm/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};
use burn_vlm::checkpoint::{
    ADAPTER_CONFIG, ADAPTER_WEIGHTS, LoadOptions, Pretrained, StoreDtype, load_adapter, parameters, save_adapter,
};
use burn_vlm::language::AttentionInput;
use burn_vlm::lora::{LoraConfig, LoraPlan, attach, merge};
use burn_vlm::nn::with_dropout;
use burn_vlm::vlm::{VisualFeatures, Vlm, VlmInput};
use burn_vlm_train::optim::{AdamW, AdamWConfig, LearningRates};
use common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, fixtures, shifted, values};
use safetensors::SafeTensors;
use serde_json::{Value, json};

/// Adapters and the models that they are made for.
const CASES: [(&str, &str); 3] =
    [("llava", "llava_clip_llama"), ("llava_next", "llava_next_siglip_gemma2"), ("dora", "llava_clip_llama")];
/// A merged weight, relative to its largest value: a product of two small matrices in f32.
const MERGE_TOLERANCE: f64 = 1e-5;
/// What one step of AdamW makes of the weights, relative to the largest: as gradients, of which an update is smooth by its epsilon.
const STEP_TOLERANCE: f64 = 1e-3;
/// How much further from the logits in f32 than the model alone a model with adapters may be in bf16: both are sums of some hundred
/// roundings.
const BF16_FACTOR: f32 = 3.0;

fn adapter(name: &str) -> PathBuf {
    fixtures().join("../lora").join(name)
}

fn base(name: &str, device: &Device) -> Vlm {
    Vlm::load_pretrained(&fixtures().join(name), device).unwrap()
}

/// The inputs of a model's folder, with its pictures through the model's tower.
fn input(fixture: &Fixture, model: &Vlm, device: &Device) -> VlmInput {
    let features = if model.config.is_tiled() {
        let sizes: Vec<(usize, usize)> =
            fixture.ints("image_sizes").0.chunks(2).map(|size| (size[0] as usize, size[1] as usize)).collect();
        let counts: Vec<usize> = sizes.iter().map(|size| model.config.num_tiles(*size).unwrap()).collect();
        let padded = fixture.float_tensor::<5>("pixel_values", device);
        let [_, _, channels, height, width] = padded.dims();
        let tiles = counts.iter().enumerate().map(|(picture, &count)| {
            let tiles = padded.clone().narrow(0, picture, 1).narrow(1, 0, count);
            tiles.reshape([count, channels, height, width])
        });
        model.encode_tiled_images(Tensor::cat(tiles.collect(), 0), &counts, &sizes).unwrap()
    } else {
        VisualFeatures::from(model.encode_images(fixture.float_tensor::<4>("pixel_values", device)).unwrap())
    };
    let mut input = VlmInput::new(fixture.int_tensor::<2>("input_ids", device)).with_features(features);
    input.attention = AttentionInput::left_padded(fixture.mask("attention_mask", device));
    input
}

/// Logits of the last token of each row.
fn last_logits(model: &Vlm, input: &VlmInput) -> Tensor<3> {
    let hidden = model.forward(input).unwrap();
    let [_, tokens, _] = hidden.dims();
    model.language_model.logits(hidden.narrow(1, tokens - 1, 1))
}

fn loss(fixture: &Fixture, model: &Vlm, input: &VlmInput, device: &Device) -> Tensor<1> {
    let (labels, shape) = fixture.ints("labels");
    let (rows, targets) = shifted(&labels, shape[1], device);
    model.target_losses(input, rows, targets).unwrap().mean()
}

/// Tensors of a file, by key.
fn tensors(file: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = fs::read(file).unwrap();
    let found = SafeTensors::deserialize(&bytes).unwrap();
    let values = |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    found.tensors().into_iter().map(|(key, view)| (key, (view.shape().to_vec(), values(view.data())))).collect()
}

/// The name in transformers 4.52 of a module of version 5: as peft gives them to each other.
fn wrapped(key: &str) -> String {
    key.replace("model.vision_tower.encoder", "model.vision_tower.vision_model.encoder")
}

/// An adapter trained there: the same logits, loss, first step of AdamW and merged weights.
#[test]
fn adapters_compute_what_peft_computes() {
    let device = common::autodiff_device();
    for (name, model) in CASES {
        let (inputs, expected) = (Fixture::open(model), Fixture::open_dir(&adapter(name)));
        let (model, plan) = load_adapter(base(model, &device), &adapter(name), StoreDtype::F32, &device).unwrap();
        let rates = LearningRates::new(&[(".*".to_string(), 1e-2)].into()).unwrap().on_adapters(plan.clone());
        let model = rates.apply(model);
        let batch = input(&inputs, &model, &device);
        expected.check("logits", last_logits(&model, &batch), FORWARD_TOLERANCE);
        let loss = loss(&inputs, &model, &batch, &device);
        expected.check("loss", loss.clone(), BACKWARD_TOLERANCE);

        // Merged as the file has it, before the step.
        let merged = merge(model.clone(), &plan.config, &device).unwrap();
        assert!(parameters(&merged).iter().all(|parameter| !parameter.name.contains(".lora.")), "{name}");
        expected.check("logits", last_logits(&merged, &input(&inputs, &merged, &device)), FORWARD_TOLERANCE);
        let folder = tempfile::tempdir().unwrap();
        merged.save_pretrained(folder.path(), StoreDtype::F32).unwrap();
        let written = tensors(&folder.path().join("model.safetensors"));
        let layout = merged.layout();
        for key in expected.names().iter().filter_map(|key| key.strip_prefix("merged.")) {
            let ours = layout.file_key(&common::llava(key));
            let (shape, values) = &written[&ours];
            expected.check_values(&format!("merged.{key}"), values, shape, MERGE_TOLERANCE);
        }

        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let config = AdamWConfig { betas: (0.9, 0.999), eps: 1e-3, weight_decay: 0.01, clip: 0.0 };
        let model = AdamW::new(config).step(model, grads, &rates, 1.0, 1.0);
        let folder = tempfile::tempdir().unwrap();
        save_adapter(&model, &plan, folder.path(), None).unwrap();
        let written = tensors(&folder.path().join(ADAPTER_WEIGHTS));
        let mut steps = 0;
        for key in expected.names().iter().filter_map(|key| key.strip_prefix("step.")) {
            let (shape, values) = &written[&wrapped(key)];
            expected.check_values(&format!("step.{key}"), values, shape, STEP_TOLERANCE);
            steps += 1;
        }
        assert_eq!(written.len(), steps, "{name}: keys beyond peft's");
        expected.finish(&[]);
    }
}

/// What is written is read again, to the same values, with the config that says so; old names of modules are read too.
#[test]
fn adapters_are_written_as_they_are_read() {
    let device = Device::flex();
    for (name, model) in CASES {
        let (with, plan) = load_adapter(base(model, &device), &adapter(name), StoreDtype::F32, &device).unwrap();
        let folder = tempfile::tempdir().unwrap();
        save_adapter(&with, &plan, folder.path(), Some("the-base")).unwrap();
        let (again, plan_again) = load_adapter(base(model, &device), folder.path(), StoreDtype::F32, &device).unwrap();
        assert_eq!(plan_again, plan);
        let theirs = tensors(&adapter(name).join(ADAPTER_WEIGHTS));
        let ours = tensors(&folder.path().join(ADAPTER_WEIGHTS));
        assert_eq!(ours, theirs.into_iter().map(|(key, tensor)| (wrapped(&key), tensor)).collect(), "{name}");
        let text = fs::read_to_string(folder.path().join(ADAPTER_CONFIG)).unwrap();
        let config: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(config["base_model_name_or_path"], "the-base");
        assert_eq!(config["peft_type"], "LORA");
        let inputs = Fixture::open(model);
        let logits = |model: &Vlm| values(last_logits(model, &input(&inputs, model, &device)));
        assert_eq!(logits(&again), logits(&with), "{name}");

        // As transformers before 4.52 called them.
        let old = |key: &str| {
            let name = key.strip_prefix("base_model.model.model.").unwrap();
            let name = match name.strip_prefix("language_model.") {
                Some(rest) => format!("language_model.model.{rest}"),
                None => name.to_owned(),
            };
            format!("base_model.model.{name}")
        };
        rewrite(&folder.path().join(ADAPTER_WEIGHTS), |key| Some(old(key)));
        let (again, _) = load_adapter(base(model, &device), folder.path(), StoreDtype::F32, &device).unwrap();
        assert_eq!(logits(&again), logits(&with), "{name}, old names");
    }
}

/// Gives the tensors of a file other keys.
fn rewrite(file: &Path, key: impl Fn(&str) -> Option<String>) {
    let bytes = fs::read(file).unwrap();
    let found = SafeTensors::deserialize(&bytes).unwrap();
    let renamed: Vec<_> = found.tensors().into_iter().filter_map(|(name, view)| Some((key(&name)?, view))).collect();
    let bytes = safetensors::serialize(renamed, None).unwrap();
    fs::write(file, bytes).unwrap();
}

/// The weights below may be in half the memory, at the precision that the model has in bf16 without adapters.
#[test]
fn the_base_may_be_bf16() {
    let device = Device::flex();
    for (name, folder) in CASES {
        let inputs = Fixture::open(folder);
        let logits = |model: &Vlm| values(last_logits(model, &input(&inputs, model, &device)).cast(DType::F32));
        let apart = |a: &[f32], b: &[f32]| {
            let largest = a.iter().fold(0f32, |max, value| max.max(value.abs()));
            a.iter().zip(b).fold(0f32, |max, (a, b)| max.max((a - b).abs())) / largest
        };
        let options = LoadOptions { dtype: StoreDtype::BF16, ..LoadOptions::default() };
        let halved = Vlm::load_pretrained_with(&fixtures().join(folder), &device, &options).unwrap();
        let plain = apart(&logits(&base(folder, &device)), &logits(&halved));
        let exact = load_adapter(base(folder, &device), &adapter(name), StoreDtype::F32, &device).unwrap().0;
        for from in [halved, base(folder, &device)] {
            let (model, plan) = load_adapter(from, &adapter(name), StoreDtype::BF16, &device).unwrap();
            assert_eq!(model.language_model.embed(inputs.int_tensor("input_ids", &device)).dtype(), DType::BF16);
            let found = apart(&logits(&exact), &logits(&model));
            println!("{name}: {found} with, {plain} without adapters");
            assert!(found > 0.0 && found < BF16_FACTOR * plain, "{name}: {found} with, {plain} without adapters");
            assert!(!plan.layers.is_empty());
        }
    }
}

/// New adapters change nothing, whatever they are; what is dropped depends on the seed alone, and nothing is without one.
#[test]
fn new_adapters_change_nothing_and_dropout_follows_its_seed() {
    let device = common::autodiff_device();
    let inputs = Fixture::open("llava_clip_llama");
    let plain = base("llava_clip_llama", &device);
    let whole = values(last_logits(&plain, &input(&inputs, &plain, &device)));
    let largest = whole.iter().fold(0f32, |max, value| max.max(value.abs()));
    for dora in [false, true] {
        let config = LoraConfig { r: 4, alpha: 8.0, dropout: 0.5, rslora: false, dora };
        let targets = ["language_model".to_owned(), "vision_tower".to_owned()];
        let plan = LoraPlan::resolve(config, &targets, &[], &parameters(&plain)).unwrap();
        // Three layers of seven and of six matrices.
        assert_eq!(plan.layers.len(), 3 * 7 + 3 * 6);
        let model = attach(base("llava_clip_llama", &device), &plan, (1, StoreDtype::F32), &device).unwrap();
        let logits = values(last_logits(&model, &input(&inputs, &model, &device)));
        let worst = logits.iter().zip(&whole).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
        assert!(f64::from(worst / largest) < FORWARD_TOLERANCE, "dora {dora}: {worst}");

        // One step, so that the adapters do something.
        let rates = LearningRates::new(&[(".*".to_string(), 1e-2)].into()).unwrap().on_adapters(plan);
        let model = rates.apply(model);
        let pass = |model: &Vlm, seed: Option<u64>| {
            with_dropout(seed, || {
                let input = input(&inputs, model, &device);
                let loss = loss(&inputs, model, &input, &device);
                let grads = GradientsParams::from_grads(loss.clone().backward(), model);
                (values(loss)[0], grads)
            })
        };
        let (_, grads) = pass(&model, Some(3));
        let mut model = AdamW::new(AdamWConfig::default()).step(model, grads, &rates, 1.0, 1.0);
        let squares = |grads: &GradientsParams, model: &Vlm| burn_vlm_train::optim::global_norm(model, grads);
        let (first, grads) = pass(&model, Some(1));
        assert_eq!(pass(&model, Some(1)).0, first);
        assert_ne!(pass(&model, Some(2)).0, first);
        assert_ne!(pass(&model, None).0, first);
        assert_eq!(pass(&model, None).0, values(loss(&inputs, &model, &input(&inputs, &model, &device), &device))[0]);
        // A block that runs twice drops the same both times.
        model.set_gradient_checkpointing(true);
        let (again, grads_again) = pass(&model, Some(1));
        assert!((again - first).abs() < 1e-5 * first.abs(), "dora {dora}: {again} and {first}");
        let (norm, norm_again) = (squares(&grads, &model), squares(&grads_again, &model));
        assert!((norm - norm_again).abs() < BACKWARD_TOLERANCE * norm, "dora {dora}: {norm} and {norm_again}");
        // Only adapters have gradients.
        let ids: Vec<_> = parameters(&model).into_iter().filter(|p| !p.name.contains(".lora.")).map(|p| p.id).collect();
        assert!(ids.iter().all(|id| grads.get::<2>(*id).is_none() && grads.get::<1>(*id).is_none()));
    }
}

/// Every way in which an adapter may not be what it should is an error that names file, key and value.
#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::flex();
    let refused = |change: &dyn Fn(&mut Value), key: &dyn Fn(&str) -> Option<String>| {
        let folder = tempfile::tempdir().unwrap();
        for file in [ADAPTER_CONFIG, ADAPTER_WEIGHTS] {
            fs::copy(adapter("llava").join(file), folder.path().join(file)).unwrap();
        }
        let path = folder.path().join(ADAPTER_CONFIG);
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(&path, config.to_string()).unwrap();
        rewrite(&folder.path().join(ADAPTER_WEIGHTS), key);
        let model = base("llava_clip_llama", &device);
        load_adapter(model, folder.path(), StoreDtype::F32, &device).map(drop).unwrap_err().to_string()
    };
    let same = |key: &str| Some(key.to_owned());
    for (key, value, words) in [
        ("peft_type", json!("IA3"), &["\"IA3\"", "LORA"][..]),
        ("bias", json!("all"), &["\"all\""]),
        ("layers_to_transform", json!([0, 1]), &["[0,1]"]),
        ("rank_pattern", json!({ "q_proj": 4 }), &["{\"q_proj\":4}"]),
        ("alpha_pattern", json!({ "q_proj": 4 }), &["{\"q_proj\":4}"]),
        ("something_new", json!("on"), &["\"on\"", "not supported"]),
        ("init_lora_weights", json!("pissa_niter_4"), &["pissa_niter_4", "base weights"]),
        ("r", json!(0), &["is 0", "at least 1"]),
        ("r", json!(3), &["shape: ", "[2, 48]", "[3, 48]", "`r = 3`"]),
        ("lora_alpha", json!(0), &["`lora_alpha = 0`"]),
        ("lora_dropout", json!(1.0), &["`lora_dropout = 1`"]),
        ("use_dora", json!(true), &["missing: ", "lora_magnitude_vector"]),
        ("modules_to_save", json!(["nothing"]), &["no module is called `nothing`", "multi_modal_projector"]),
        ("modules_to_save", json!(["vision_tower.embeddings"]), &["missing: ", "patch_embedding"]),
    ] {
        let error = refused(&|config| config[key] = value.clone(), &same);
        let file =
            if error.contains("missing: ") || error.contains("shape: ") { ADAPTER_WEIGHTS } else { ADAPTER_CONFIG };
        for word in [key, file].iter().filter(|word| !error.contains(": the weights") || **word == file).chain(words) {
            assert!(error.contains(word), "{key} = {value}: {word} is not in {error}");
        }
    }
    let keep = |_: &mut Value| {};
    let without = |part: &'static str| move |key: &str| (!key.ends_with(part)).then(|| key.to_owned());
    let error = refused(&keep, &without("layers.0.mlp.down_proj.lora_B.weight"));
    assert!(
        error.contains("1 key (1 missing)") && error.contains("layers.0.mlp.down_proj.lora_B.weight [48, 2]"),
        "{error}"
    );
    let error = refused(&keep, &|key| (!key.contains("layers.0.mlp.down_proj")).then(|| key.to_owned()));
    assert!(error.contains("missing: ") && error.contains("`target_modules` lists"), "{error}");
    let error = refused(&keep, &|key| Some(key.replace("layers.2.mlp", "layers.7.mlp")));
    assert!(error.contains("unexpected: ") && error.contains("layers.7.mlp"), "{error}");
    let error = refused(&keep, &|_| None);
    assert!(error.contains("missing: "), "{error}");
    // peft leaves such keys out.
    let error = refused(&|config| config["target_modules"] = json!(["v_proj"]), &same);
    assert!(error.contains("unexpected: ") && error.contains("`target_modules` does not list"), "{error}");

    // A model's folder is no place for adapters, and an adapter is put on once.
    let model = base("llava_clip_llama", &device);
    let (model, plan) = load_adapter(model, &adapter("llava"), StoreDtype::F32, &device).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = model.save_pretrained(folder.path(), StoreDtype::F32).unwrap_err().to_string();
    assert!(error.contains("merge"), "{error}");
    let error = attach(model, &plan, (0, StoreDtype::F32), &device).map(drop).unwrap_err().to_string();
    assert!(error.contains("adapters already"), "{error}");
}

/// Targets are parts, ends of names, and patterns; what means nothing is an error with what there is.
#[test]
fn targets_are_names_of_the_model() {
    let model = base("llava_clip_llama", &Device::flex());
    let known = parameters(&model);
    let resolve = |targets: &[&str], modules: &[&str]| {
        let config = LoraConfig { r: 1, alpha: 1.0, dropout: 0.0, rslora: false, dora: false };
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        LoraPlan::resolve(config, &owned(targets), &owned(modules), &known)
    };
    for (targets, count) in [
        (&["multi_modal_projector"][..], 2),
        (&["q_proj"], 6),
        (&["language_model.*.q_proj"], 3),
        (&["self_attn.q_proj", "q_proj"], 6),
        (&["language_model.model.layers.1.mlp.up_proj"], 1),
    ] {
        assert_eq!(resolve(targets, &[]).unwrap().layers.len(), count, "{targets:?}");
    }
    for (targets, modules, words) in [
        (&["q_prj"][..], &[][..], &["`q_prj`", "language_model", "q_proj"][..]),
        (&["proj"], &[], &["`proj`"]),
        (&[], &[], &["`targets` is empty"]),
        (&["lm_head"], &[], &["lm_head", "no adapter"]),
        (&["q_proj"], &["projector"], &["`projector`", "multi_modal_projector"]),
        (&["language_model"], &["language_model.model.layers.0.mlp"], &["keep one"]),
        (&["q_proj"], &["language_model"], &["language_model as a whole"]),
    ] {
        let error = resolve(targets, modules).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{targets:?} {modules:?}: {word} is not in {error}");
        }
    }
    let plan = resolve(&["q_proj"], &["multi_modal_projector", "embed_tokens"]).unwrap();
    assert!(plan.trains("language_model.model.embed_tokens.weight") && !plan.trains("language_model.lm_head.weight"));
}

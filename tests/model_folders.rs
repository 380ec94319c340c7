//! Folders of models: what training reads chat reads, in every tokenizer and template of the project; a recipe that starts from a
//! whole model; folders that are none.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_vlm::checkpoint::{Pretrained, StoreDtype};
use burn_vlm::init::Scope;
use burn_vlm::language::{LanguageConfig, Qwen2Config};
use burn_vlm_data::conversation::{Turn, count_images};
use burn_vlm_data::encode::{EncodeError, EncodeOptions, MaskStyle};
use burn_vlm_data::image::{DecodeLimits, RgbImage};
use burn_vlm_data::processor::Processor;
use burn_vlm_data::source::inspect::Reader;
use burn_vlm_data::tokenizer::Tokenizer;
use burn_vlm_experiments::{TrainArgs, run_training};
use burn_vlm_train::assemble::{Assembled, assemble};
use burn_vlm_train::chat::ChatModel;
use burn_vlm_train::pictures::processor_of;
use burn_vlm_train::processor::{model_processor, picture_config, stage_processor};
use burn_vlm_train::recipe::{PictureView, Recipe, apply_setting};
use burn_vlm_train::run::save_model;
use clap::Parser;
use safetensors::SafeTensors;

/// Largest change of a value by one step at a rate of 1e-3.
const ONE_STEP: f32 = 0.01;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every folder of the project with a tokenizer and a chat template, and those of the shared ones where they are there.
fn folders() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for parent in ["tests/fixtures", "parts", "../shared/fixtures"] {
        let Ok(entries) = fs::read_dir(root().join(parent)) else { continue };
        found.extend(entries.map(|entry| entry.unwrap().path()));
    }
    let has = |folder: &Path, name: &str| folder.join(name).is_file();
    found.retain(|folder| {
        let template = ["chat_template.jinja", "chat_template.json"].iter().any(|name| has(folder, name));
        has(folder, "tokenizer.json") && template
    });
    found.sort();
    assert!(found.len() >= 10, "{found:?}");
    found
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for name in names.iter().filter(|name| from.join(name).is_file()) {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

const WORDS: [&str; 5] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json"];

/// A backbone with the words of a folder and random weights.
fn backbone(words: &Path, to: &Path) {
    copy(words, to, &WORDS);
    let tokenizer = Tokenizer::from_file(to.join("tokenizer.json")).unwrap();
    let config = LanguageConfig::Qwen2(Qwen2Config {
        vocab_size: tokenizer.vocab_size(),
        hidden_size: 8,
        intermediate_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        num_key_value_heads: 1,
        max_position_embeddings: 256,
        ..Default::default()
    });
    let model = config.init_with(&Scope::new(1, &Device::flex())).unwrap();
    model.save_pretrained(to, StoreDtype::F32).unwrap();
}

fn recipe(settings: &[&str]) -> Recipe {
    let mut table: toml::Table = fs::read_to_string(root().join("recipes/tiny.toml")).unwrap().parse().unwrap();
    settings.iter().for_each(|setting| apply_setting(&mut table, setting).unwrap());
    Recipe::from_table(table).unwrap()
}

fn conversations() -> Vec<Vec<Turn>> {
    let picture = "<image>\nWhat is this?";
    vec![
        vec![Turn::user(picture)],
        vec![Turn::user("What is this?")],
        vec![Turn::system("Be brief."), Turn::user(picture)],
        vec![Turn::user(picture), Turn::assistant("A red apple."), Turn::user(" And\nthis? 什么")],
        vec![Turn::user("<image>\n<image>\nWhich?"), Turn::assistant(""), Turn::user("Why?")],
        vec![Turn::user("What is this? <image>"), Turn::assistant(" two "), Turn::user("three")],
    ]
}

const ANSWERS: [&str; 4] = ["A cat.", " two", "\nline", ""];

/// Folders whose published template ends the prompt for an answer with another token than it writes before an answer: a line break, and a
/// space. Training has the space, as `apply_chat_template` of the whole conversation.
const OTHER_HEADER: [&str; 1] = ["onevision_siglip_qwen2"];

/// The ids of a prompt by both, or that both refuse it; and what training encodes begins with what chat reads.
fn assert_same(name: &str, trained: &Processor, chat: &Processor) -> usize {
    let mut compared = 0;
    for turns in conversations() {
        let counts = vec![3; count_images(&turns)];
        let (ours, theirs) = (trained.encode_prompt(&turns, &counts), chat.encode_prompt(&turns, &counts));
        let (Ok(ours), Ok(theirs)) = (&ours, &theirs) else {
            assert!(ours.is_err() && theirs.is_err(), "{name}: {turns:?}: {ours:?} {theirs:?}");
            continue;
        };
        assert_eq!(ours, theirs, "{name}: {turns:?}");
        compared += 1;
        for answer in ANSWERS {
            let whole = [turns.clone(), vec![Turn::assistant(answer)]].concat();
            let [encoded, by_chat] = [trained, chat].map(|by| by.encode(&whole, &counts, &EncodeOptions::default()));
            // A template that writes an answer otherwise than behind its own prompt cannot be trained on, which is told.
            let Ok(encoded) = encoded else {
                assert!(
                    matches!(encoded, Err(EncodeError::NotAppending { .. })) && by_chat.is_err(),
                    "{name}: {encoded:?}"
                );
                continue;
            };
            let same = theirs.len() - usize::from(OTHER_HEADER.iter().any(|other| name.ends_with(other)));
            assert_eq!(encoded.ids[..same], theirs[..same], "{name}: {whole:?}");
            assert_eq!(by_chat.unwrap(), encoded, "{name}");
            compared += 1;
        }
    }
    compared
}

/// Training, a study's scorer, `data inspect` and chat read the same of every tokenizer and template there is.
#[test]
fn every_prompt_of_training_is_that_of_chat() {
    let device = Device::flex();
    for (number, folder) in folders().into_iter().enumerate() {
        let name = folder.display().to_string();
        let work = tempfile::tempdir().unwrap();
        let (backbone_folder, saved) = (work.path().join("backbone"), work.path().join("model"));
        backbone(&folder, &backbone_folder);
        // Half of them with an end of answers of their own, which changes templates that have none.
        let end = if number % 2 == 0 { "model.answer_end=add" } else { "model.answer_end=template" };
        let end = match Tokenizer::from_file(backbone_folder.join("tokenizer.json")).unwrap().eos_id() {
            Some(_) => end,
            None => "model.answer_end=template",
        };
        let recipe = recipe(&[end]);
        let encoder = root().join("parts/siglip2");
        let assembled: Assembled = assemble(&recipe.model, &encoder, &backbone_folder, 1, &device).unwrap();
        let config = &assembled.model.config;
        let image = processor_of(&encoder, config.vision_config.image_size()).unwrap();
        let (tokenizer, template) = (assembled.tokenizer.clone(), assembled.template.clone());
        for view in [PictureView::Square, PictureView::Pad] {
            let limits = DecodeLimits::default();
            let trained =
                stage_processor(config, tokenizer.clone(), template.clone(), &image, (view, false), limits).unwrap();
            let shown = picture_config(config, &image, view, false);
            save_model(&assembled, &shown, &backbone_folder, &saved).unwrap();
            let chat = Processor::from_folder(&saved).unwrap();
            let compared = assert_same(&name, &trained, &chat);
            assert!(compared >= 2, "{name}: {compared}");
            assert_eq!(trained.image_processor().unwrap().config(), chat.image_processor().unwrap().config(), "{name}");
            assert_eq!(trained.visual_tokens(), chat.visual_tokens(), "{name}");
            assert_eq!(trained.end_of_turn(), chat.end_of_turn(), "{name}");
            let end = recipe.model.answer_end;
            let scored = model_processor(config, &backbone_folder, end, &shown, limits).unwrap();
            assert_same(&name, &trained, &scored);
            ChatModel::load(&saved, &device).map(|chat: ChatModel| drop(chat)).unwrap();
        }
        let reader = Reader::from_folder(&saved, MaskStyle::AnswersOnly, Some(3)).unwrap();
        assert_eq!(reader.note().is_none(), Processor::from_folder(&saved).unwrap().ends_answers(), "{name}");
    }
}

/// A template that ends no answer is said, or has an end added that chat stops at, or is refused.
#[test]
fn answers_without_an_end() {
    let device = Device::flex();
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("backbone");
    backbone(&root().join("parts/backbone"), &folder);
    let template = "{% for m in messages %}{{ m.role + ': ' + m.content }}\n{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";
    fs::write(folder.join("chat_template.jinja"), template).unwrap();
    let go = |setting: &str| -> Result<Assembled, String> {
        let recipe = recipe(&[setting]);
        assemble(&recipe.model, &root().join("parts/siglip2"), &folder, 1, &device).map_err(|error| error.to_string())
    };
    let save = |assembled: &Assembled| {
        let saved = work.path().join("model");
        let image = processor_of(&root().join("parts/siglip2"), 64).unwrap();
        save_model(assembled, &image, &folder, &saved).unwrap();
        let generation = fs::read_to_string(saved.join("generation_config.json")).unwrap();
        (Processor::from_folder(&saved).unwrap(), serde_json::from_str::<serde_json::Value>(&generation).unwrap())
    };
    let turns = [Turn::user("a"), Turn::assistant("b"), Turn::user("c"), Turn::assistant("d")];
    let text = |processor: &Processor| {
        let encoded = processor.encode(&turns, &[], &EncodeOptions::default()).unwrap();
        let trained: Vec<u32> = encoded.labels.iter().filter(|label| **label >= 0).map(|label| *label as u32).collect();
        let decode = |ids: &[u32]| processor.tokenizer().decode(ids, false).unwrap();
        (decode(&encoded.ids), decode(&trained))
    };

    let plain = go("model.answer_end=template").unwrap();
    assert!(plain.note.as_ref().unwrap().contains("answer_end"), "{:?}", plain.note);
    let (processor, generation) = save(&plain);
    assert!(!processor.ends_answers());
    assert_eq!(text(&processor).0, "user: a\nassistant: b\nuser: c\nassistant: d\n");
    assert_eq!(generation["eos_token_id"], serde_json::json!([2]));

    let added = go("model.answer_end=add").unwrap();
    assert_eq!(added.note, None);
    let (processor, generation) = save(&added);
    assert!(processor.ends_answers());
    assert_eq!(text(&processor).0, "user: a\nassistant: b<eos>\nuser: c\nassistant: d<eos>\n");
    assert_eq!(text(&processor).1, "b<eos>d<eos>");
    assert_eq!(generation["eos_token_id"], serde_json::json!([2]));
    // The history of a chat has the ends that training had.
    let prompt = processor.encode_prompt(&turns[..3], &[]).unwrap();
    assert_eq!(
        processor.tokenizer().decode(&prompt, false).unwrap(),
        "user: a\nassistant: b<eos>\nuser: c\nassistant: "
    );

    assert!(go("model.answer_end=refuse").err().unwrap().contains("no special token"));
    // Without an end token there is none to add, and no empty list is written.
    fs::write(folder.join("tokenizer_config.json"), "{}").unwrap();
    let error = go("model.answer_end=add").err().unwrap();
    assert!(error.contains("eos_token"), "{error}");
    let (_, generation) = save(&go("model.answer_end=template").unwrap());
    assert_eq!(generation.get("eos_token_id"), None);
    // A role that only the older file names counts.
    fs::remove_file(folder.join("tokenizer_config.json")).unwrap();
    fs::write(folder.join("special_tokens_map.json"), r#"{"eos_token": {"content": "<|end|>"}}"#).unwrap();
    let (processor, _) = save(&go("model.answer_end=add").unwrap());
    assert_eq!(text(&processor).1, "b<|end|>d<|end|>");
}

const MODEL: [&str; 10] = [
    "config.json",
    "model.safetensors",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    WORDS[0],
    WORDS[1],
    WORDS[2],
    WORDS[3],
    WORDS[4],
];

fn tensor(folder: &Path, key: &str) -> Vec<f32> {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let weights = SafeTensors::deserialize(&bytes).unwrap();
    let data = weights.tensor(key).unwrap_or_else(|error| panic!("{key}: {error}")).data().to_vec();
    data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn change(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()))
}

fn train(recipe: &Path, more: &[&str]) -> Result<String, String> {
    let recipe = recipe.to_string_lossy();
    let options = ["train", "--quiet", "--device", "flex", "--recipe", &recipe];
    run_training(&TrainArgs::parse_from([&options[..], more].concat())).map_err(|error| error.to_string())
}

/// A mixture of four pictures, and a recipe that starts from `model`.
fn from_recipe(folder: &Path, model: &str) -> PathBuf {
    let picture = root().join("tests/fixtures/images/cat_451x300.png");
    fs::copy(picture, folder.join("cat.png")).unwrap();
    let turns = r#"[{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "a cat"}]"#;
    let line = |id: usize| format!("{{\"id\": \"{id}\", \"image\": \"cat.png\", \"conversations\": {turns}}}\n");
    fs::write(folder.join("train.jsonl"), (0..4).map(line).collect::<String>()).unwrap();
    let source = "[[source]]\nname = \"own\"\npath = \"train.jsonl\"\nformat = \"llava_jsonl\"\nimage_root = \".\"\nlanguage = \"en\"\n";
    fs::write(folder.join("mixture.toml"), source).unwrap();
    let text = format!(
        "stages = [\"tune\"]\n[model]\n{model}\n[stage.tune]\nobjective = \"vlm\"\nsteps = 1\nbatch = 2\nlog_every = 1\n\
         train = {{ multi_modal_projector = 1e-3 }}\n[stage.tune.mixture]\nfile = \"mixture.toml\"\n"
    );
    let file = folder.join("recipe.toml");
    fs::write(&file, text).unwrap();
    file
}

/// Connector, newline and processor are the folder's own: alone, with tiles, and padded.
#[test]
fn a_recipe_starts_from_a_whole_model() {
    for (name, newline) in
        [("llava_clip_llama", false), ("llava_next_clip_qwen2", true), ("llava_next_siglip_gemma2", true)]
    {
        let work = tempfile::tempdir().unwrap();
        let at = |name: &str| work.path().join(name);
        copy(&root().join("tests/fixtures").join(name), &at("whole"), &MODEL);
        if !newline {
            // As LLaVA-1.5: padded.
            let file = at("whole").join("preprocessor_config.json");
            let mut image: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
            image["image_aspect_ratio"] = "pad".into();
            fs::write(&file, image.to_string()).unwrap();
        }
        let recipe = from_recipe(work.path(), &format!("from = \"{}\"", at("whole").display()));
        let text = train(&recipe, &["--dry-run"]).unwrap();
        assert!(text.contains("parameters, the model's own"), "{text}");
        let out = at("out");
        train(&recipe, &["--out", &out.to_string_lossy()]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let model = out.join("model");
        for part in ["linear_1.weight", "linear_2.bias"] {
            let key = format!("multi_modal_projector.{part}");
            let moved = change(&tensor(&at("whole"), &key), &tensor(&model, &key));
            assert!(moved < ONE_STEP, "{name}: {key} moved by {moved}");
            assert!(moved > 0.0 || part.ends_with("bias"), "{name}: {key} was trained");
        }
        if newline {
            assert_eq!(change(&tensor(&at("whole"), "image_newline"), &tensor(&model, "image_newline")), 0.0, "{name}");
        }
        let (before, after) = (Processor::from_folder(at("whole")).unwrap(), Processor::from_folder(&model).unwrap());
        assert!(assert_same(name, &before, &after) >= 8);
        assert_eq!(before.visual_tokens(), after.visual_tokens(), "{name}");
        assert_eq!(before.several_differ(), after.several_differ(), "{name}");
        let config = |processor: &Processor| {
            let config = processor.image_processor().unwrap().config().clone();
            (config.pads_to_square(), config.image_grid_pinpoints, config.size, config.image_mean, config.tile_several)
        };
        assert_eq!(config(&before), config(&after), "{name}");
        assert_eq!(config(&after).0, !newline, "{name}: padded");
        let chat: ChatModel = ChatModel::load(&model, &Device::flex()).unwrap();
        let whole: ChatModel = ChatModel::load(&at("whole"), &Device::flex()).unwrap();
        let (ours, theirs) = (&chat.vlm().unwrap().config, &whole.vlm().unwrap().config);
        assert_eq!(ours.vision_feature_layer, theirs.vision_feature_layer, "{name}");
        assert_eq!(ours.scales_visual_embeds(), theirs.scales_visual_embeds(), "{name}");
        assert_eq!(ours.softcaps_logits(), theirs.softcaps_logits(), "{name}");
    }
}

#[test]
fn keys_beside_from_and_folders_that_are_no_whole_model_are_refused() {
    let work = tempfile::tempdir().unwrap();
    let whole = root().join("tests/fixtures/llava_clip_llama");
    let from = format!("from = \"{}\"", whole.display());
    let refused = |model: &str| train(&from_recipe(work.path(), model), &["--dry-run"]).unwrap_err();
    let error = refused(&format!("{from}\nencoder = \"siglip2\"\nvision_feature_layer = -2"));
    assert!(error.contains("`encoder`, `vision_feature_layer`"), "{error}");
    let error = refused("encoder = \"siglip2\"");
    assert!(error.contains("`backbone` is missing") && error.contains("`from`"), "{error}");
    let error = refused(&format!("from = \"{}\"", root().join("parts/backbone").display()));
    assert!(error.contains("whole"), "{error}");
    let parrot = root().join("tests/fixtures/parrot_clip_qwen2");
    let error = refused(&format!("from = \"{}\"", parrot.display()));
    assert!(error.contains("Parrot"), "{error}");
    // Parts out of whole models lose the projector, which is no error.
    let recipe = from_recipe(work.path(), &format!("encoder = \"{0}\"\nbackbone = \"{0}\"", whole.display()));
    train(&recipe, &["--dry-run"]).unwrap();
}

/// What a folder is that is no model: told by chat and by training.
#[test]
fn folders_that_are_no_model_are_told() {
    let work = tempfile::tempdir().unwrap();
    let chat = |folder: &Path| ChatModel::load(folder, &Device::flex()).err().unwrap().to_string();
    let folder = |files: &[(&str, &str)]| {
        let folder = tempfile::tempdir_in(work.path()).unwrap().keep();
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    };
    let peft = r#"{"base_model_name_or_path": "llava-hf/llava-1.5-7b-hf", "peft_type": "LORA"}"#;
    let config = fs::read_to_string(root().join("tests/fixtures/llava_clip_llama/config.json")).unwrap();
    for (files, words) in [
        (vec![("adapter_config.json", peft)], ["adapter", "llava-hf/llava-1.5-7b-hf"]),
        (vec![("adapter_config.json", peft), ("config.json", &config)], ["adapter", "merge"]),
        (vec![("mm_projector.bin", ""), ("config.json", &config)], ["projector", "mm_projector.bin"]),
        (vec![("model-Q4_K_M.gguf", "")], ["GGUF", "model-Q4_K_M.gguf"]),
        (vec![("snapshots/1/config.json", "{}"), ("refs/main", "1")], ["cache", "snapshots"]),
    ] {
        let folder = folder(&files);
        let error = chat(&folder);
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        let model = format!("encoder = \"siglip2\"\nbackbone = \"{}\"", folder.display());
        let error = train(&from_recipe(work.path(), &model), &["--dry-run"]).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    // SentencePiece alone.
    let whole = work.path().join("whole");
    copy(&root().join("tests/fixtures/llava_clip_llama"), &whole, &MODEL);
    fs::remove_file(whole.join("tokenizer.json")).unwrap();
    fs::write(whole.join("tokenizer.model"), "").unwrap();
    let error = chat(&whole);
    assert!(error.contains("tokenizer.model") && error.contains("save_pretrained"), "{error}");
}

/// A token without a row: an error when the model is loaded, in chat, training, a dry run and data inspect.
#[test]
fn ids_beyond_the_table_are_told() {
    let work = tempfile::tempdir().unwrap();
    let whole = work.path().join("whole");
    copy(&root().join("tests/fixtures/llava_clip_llama"), &whole, &MODEL);
    let text = fs::read_to_string(whole.join("tokenizer.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = serde_json::from_str::<serde_json::Value>(&fs::read_to_string(whole.join("config.json")).unwrap())
        .unwrap()["text_config"]["vocab_size"]
        .as_u64()
        .unwrap();
    let token = serde_json::json!({"id": rows, "content": "<box>", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true});
    json["added_tokens"].as_array_mut().unwrap().push(token);
    fs::write(whole.join("tokenizer.json"), json.to_string()).unwrap();
    let told = |error: String| {
        for word in ["<box>", &format!("id {rows}"), &format!("{rows} rows")] {
            assert!(error.contains(word), "{word}: {error}");
        }
    };
    told(ChatModel::load(&whole, &Device::flex()).err().unwrap().to_string());
    told(Reader::from_folder(&whole, MaskStyle::AnswersOnly, Some(3)).unwrap_err().to_string());
    for model in [
        format!("from = \"{}\"", whole.display()),
        format!("encoder = \"siglip2\"\nbackbone = \"{}\"", whole.display()),
    ] {
        let recipe = from_recipe(work.path(), &model);
        told(train(&recipe, &["--dry-run"]).unwrap_err());
        told(train(&recipe, &["--out", &work.path().join("out").to_string_lossy()]).unwrap_err());
    }
    // Where only the weights know how many rows there are.
    let mut config: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(whole.join("config.json")).unwrap()).unwrap();
    config["text_config"]["vocab_size"] = serde_json::Value::Null;
    fs::write(whole.join("config.json"), config.to_string()).unwrap();
    assert!(ChatModel::load(&whole, &Device::flex()).is_err());
    let device = Device::flex();
    let model: ChatModel = ChatModel::load(&root().join("tests/fixtures/llava_clip_llama"), &device).unwrap();
    let error =
        model.model.language_model().generate(&[vec![1, 9999]], &model.generation, &device).unwrap_err().to_string();
    assert!(error.contains("9999") && error.contains(&rows.to_string()), "{error}");
}

/// An image processor that gives each picture its own size: a square one fits by chance, another is an error and no panic.
#[test]
fn pictures_of_another_size_than_the_towers_are_told() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("model");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(root().join("tests/fixtures/llava_clip_qwen2")).unwrap().flatten() {
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let file = folder.join("preprocessor_config.json");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"do_center_crop\": true"));
    fs::write(&file, text.replace("\"do_center_crop\": true", "\"do_center_crop\": false")).unwrap();
    let model: ChatModel = ChatModel::load(&folder, &Device::flex()).unwrap();
    let mut session = model.session();
    assert!(session.add_rgb_image(&RgbImage::new(80, 80)).unwrap() > 0);
    let error = session.add_rgb_image(&RgbImage::new(96, 80)).unwrap_err().to_string();
    assert!(error.contains("preprocessor_config.json") && error.contains("do_center_crop"), "{error}");
    assert!(error.contains("64 x 76") || error.contains("64 x 77"), "{error}");
}

//! Stages with adapters, as people run them: trained, resumed, merged, talked to, scored, and what mistakes are told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// Of weights that were merged twice, relative to the largest: in the training program's memory, and from its files.
const MERGED_AGAIN: f32 = 1e-6;
/// Adapters on the language model, the projector as a whole.
const LORA: &str = "{ r = 4, alpha = 8, dropout = 0.2, targets = [\"language_model\", \"vision_tower.*.q_proj\"], \
                    modules_to_save = [\"multi_modal_projector\"] }";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn burn_vlm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_burn-vlm")).args(args).current_dir(root()).output().unwrap()
}

fn said(args: &[&str]) -> String {
    let output = burn_vlm(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr)
}

fn refused(args: &[&str], words: &[&str]) {
    let output = burn_vlm(args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
    for word in words {
        assert!(error.contains(word), "{args:?} lacks {word:?}: {error}");
    }
}

/// A recipe on four pictures that starts from a model of the fixtures.
fn recipe(folder: &Path, model: &str) -> String {
    fs::copy(root().join("tests/fixtures/images/cat_451x300.png"), folder.join("cat.png")).unwrap();
    let line = |id: usize| {
        format!(
            "{{\"id\": \"{id}\", \"image\": \"cat.png\", \"conversations\": [{{\"from\": \"human\", \"value\": \"<image>\\nWhat is \
             this?\"}}, {{\"from\": \"gpt\", \"value\": \"{}\"}}]}}\n",
            ["a cat", "cat", "the cat", "a grey cat"][id % 4]
        )
    };
    fs::write(folder.join("train.jsonl"), (0..16).map(line).collect::<String>()).unwrap();
    let source = "[[source]]\nname = \"own\"\npath = \"train.jsonl\"\nformat = \"llava_jsonl\"\nimage_root = \".\"\nlanguage = \"en\"\n";
    fs::write(folder.join("mixture.toml"), source).unwrap();
    let from = root().join("tests/fixtures").join(model);
    let text = format!(
        "stages = [\"tune\"]\n[model]\nfrom = {from:?}\n[stage.tune]\nobjective = \"vlm\"\nsteps = 4\nbatch = 2\naccumulate = 2\n\
         log_every = 1\ncheckpoint_every = 2\nkeep_checkpoints = 4\n\
         train = {{ language_model = 1e-2, vision_tower = 1e-3, multi_modal_projector = 1e-3 }}\nlora = {LORA}\n\
         [stage.tune.mixture]\nfile = \"mixture.toml\"\n"
    );
    let file = folder.join("recipe.toml");
    fs::write(&file, text).unwrap();
    file.to_string_lossy().into_owned()
}

/// A tensor's key and values.
type Named = (String, Vec<f32>);

fn tensors(file: &Path) -> Vec<Named> {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let found = SafeTensors::deserialize(&bytes).unwrap();
    let values = |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let mut tensors: Vec<_> = found.tensors().into_iter().map(|(key, view)| (key, values(view.data()))).collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors
}

/// The largest difference, relative to the largest value.
fn difference(a: &[Named], b: &[Named]) -> f32 {
    assert_eq!(a.iter().map(|(key, _)| key).collect::<Vec<_>>(), b.iter().map(|(key, _)| key).collect::<Vec<_>>());
    let relative = |(a, b): (&Named, &Named)| {
        let largest = a.1.iter().fold(f32::MIN_POSITIVE, |max, value| max.max(value.abs()));
        a.1.iter().zip(&b.1).fold(0f32, |max, (a, b)| max.max((a - b).abs())) / largest
    };
    a.iter().zip(b).map(relative).fold(0.0, f32::max)
}

fn losses(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("stages/1-tune/log.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].clone()).collect()
}

#[test]
fn a_stage_trains_adapters_and_every_command_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let file = recipe(folder.path(), "llava_clip_llama");
    let base = root().join("tests/fixtures/llava_clip_llama");
    let from = base.to_string_lossy().into_owned();
    let train = |out: &str, more: &[&str]| {
        said(&[&["train", &file, "--out", out, "--device", "flex", "--fresh"][..], more].concat())
    };
    let text = said(&["train", &file, "--device", "flex", "--dry-run"]);
    // 3 layers: r x (in + out) of q, k, v, o, gate, up, down.
    let per_layer = 4 * ((48 + 48) + 2 * (48 + 24) + (48 + 48) + 3 * (48 + 88));
    let counted = format!("{} trainable", thousands(3 * per_layer));
    assert!(text.lines().any(|line| line.contains("[PARTLY]") && line.contains(&counted)), "{counted}: {text}");

    let text = train(&at("whole"), &[]);
    assert!(text.contains("adapter") && text.contains("[PARTLY]"), "{text}");
    let whole = folder.path().join("whole");
    assert!(!whole.join("base").exists(), "the base is the model that the recipe starts from");
    let config: Value =
        serde_json::from_str(&fs::read_to_string(whole.join("adapter/adapter_config.json")).unwrap()).unwrap();
    assert_eq!(config["base_model_name_or_path"], from);
    assert_eq!((&config["r"], &config["lora_alpha"], &config["lora_dropout"]), (&4.into(), &8.into(), &0.2.into()));
    assert_eq!(config["modules_to_save"], serde_json::json!(["multi_modal_projector"]));
    let adapter = tensors(&whole.join("adapter/adapter_model.safetensors"));
    assert_eq!(adapter.len(), 2 * (3 * 7 + 3) + 4);
    for (key, values) in adapter.iter().filter(|(key, _)| key.ends_with("lora_B.weight")) {
        // The tower's last layer is not run: its features are those of the one before.
        assert_eq!(values.iter().all(|value| *value == 0.0), key.contains("vision_model.encoder.layers.2"), "{key}");
    }

    // As after a kill behind the second step: bit for bit.
    let resumed = folder.path().join("resumed");
    train(&at("resumed"), &["--set", "stage.tune.checkpoint_every=2"]);
    fs::remove_dir_all(resumed.join("stages/1-tune/step-00000004")).unwrap();
    fs::remove_dir_all(resumed.join("adapter")).unwrap();
    fs::remove_dir_all(resumed.join("model")).unwrap();
    assert!(train(&at("resumed"), &[]).contains("going on from step 2"));
    assert_eq!(losses(&resumed), losses(&whole));
    assert_eq!(tensors(&resumed.join("adapter/adapter_model.safetensors")), adapter);
    let merged_there = tensors(&whole.join("model/model.safetensors"));
    assert_eq!(tensors(&resumed.join("model/model.safetensors")), merged_there);

    // Merged from the files: the model that the run wrote.
    let (adapter, merged) = (at("whole/adapter"), at("merged"));
    said(&["merge", "--model", &from, "--adapter", &adapter, "--out", &merged, "--device", "flex"]);
    let merged_here = tensors(&folder.path().join("merged/model.safetensors"));
    assert!(difference(&merged_there, &merged_here) < MERGED_AGAIN);
    let untouched = tensors(&base.join("model.safetensors"));
    assert!(merged_here.iter().zip(&untouched).any(|(a, b)| a.1 != b.1));
    for name in ["tokenizer.json", "chat_template.jinja", "preprocessor_config.json"] {
        assert!(folder.path().join("merged").join(name).is_file(), "{name}");
    }

    // The same answer from the merged model, and from the base with its adapter; another one from the base.
    let picture = "tests/fixtures/images/cat_451x300.png";
    let answer = |model: &str, more: &[&str]| {
        let ask = ["chat", "--model", model, "--image", picture, "--prompt", "What is this?", "--max-new-tokens", "8"];
        said(&[&ask[..], &["--device", "flex", "--quiet"], more].concat())
    };
    let adapted = answer(&from, &["--adapter", &adapter]);
    assert_eq!(answer(&merged, &[]), adapted);
    assert_ne!(answer(&from, &[]), adapted);
    answer(&from, &["--adapter", &adapter, "--dtype", "bf16"]);
    // An adapter that is named as a model says what to do with it.
    refused(
        &["chat", "--model", &adapter, "--prompt", "x", "--device", "flex"],
        &["LoRA adapter", "--adapter", "merge"],
    );
    refused(
        &["chat", "--model", "parts/backbone", "--adapter", &adapter, "--prompt", "x", "--device", "flex"],
        &["adapter_config.json", "`multi_modal_projector`; this is a language model alone", "among others, model"],
    );
    // An adapter of the head or of the table is told by what it is: its keys fit the model.
    for (key, module) in
        [("lm_head.lora_A.weight", "`lm_head`"), ("model.embed_tokens.lora_embedding_A", "`embed_tokens`")]
    {
        let folder = folder.path().join("tables");
        fs::create_dir_all(&folder).unwrap();
        let view = TensorView::new(Dtype::F32, vec![1, 1], &[0; 4]).unwrap();
        let file = folder.join("adapter_model.safetensors");
        safetensors::serialize_to_file([(format!("base_model.model.{key}"), view)], None, &file).unwrap();
        let config = r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj", "lm_head"]}"#;
        fs::write(folder.join("adapter_config.json"), config).unwrap();
        let adapter = folder.to_string_lossy().into_owned();
        let ask = ["chat", "--model", "parts/backbone", "--adapter", &adapter, "--prompt", "x", "--device", "flex"];
        refused(&ask, &["adapter_model.safetensors", key, "does not compute", module, "merge_and_unload"]);
        let tied = config.replace("\"lora_alpha\"", "\"modules_to_save\": [\"lm_head\"], \"lora_alpha\"");
        fs::write(folder.join("adapter_config.json"), tied).unwrap();
        let view = TensorView::new(Dtype::F32, vec![1, 1], &[0; 4]).unwrap();
        safetensors::serialize_to_file([("base_model.model.x.lora_A.weight".to_owned(), view)], None, &file).unwrap();
        refused(&ask, &["adapter_config.json", "`lm_head` is the table of embeddings itself", "tie_word_embeddings"]);
    }

    // Beside other weights than those that it was trained on it is warned of: by the record, and without one by the name.
    let other = |more: &[&str]| {
        let ask = [
            "chat",
            "--model",
            &merged,
            "--adapter",
            &adapter,
            "--prompt",
            "x",
            "--max-new-tokens",
            "1",
            "--device",
            "flex",
        ];
        said(&[&ask[..], more].concat())
    };
    let warned = other(&[]);
    assert!(warned.contains("warning: ") && warned.contains(&format!("trained on the weights of {from}")), "{warned}");
    // Into others it is merged only where somebody says so: a run's model has it already.
    let into = |model: &str, out: &str| {
        ["merge", "--model", model, "--adapter", &adapter, "--out", out, "--device", "flex"].map(str::to_owned).to_vec()
    };
    for model in [&merged, &at("whole"), &at("whole/model")] {
        let args = into(model, &at("twice"));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        refused(&args, &["base.json", "are others", "merged already", "--any-base"]);
        assert!(!folder.path().join("twice").exists());
    }
    let args = into(&merged, &at("twice"));
    let twice = said(&[&args.iter().map(String::as_str).collect::<Vec<_>>()[..], &["--any-base"]].concat());
    assert!(twice.contains("warning: ") && twice.contains("are others"), "{twice}");
    // A run's folder is no adapter's, and says where that is.
    for adapter in [at("whole"), at("nowhere")] {
        let words =
            if adapter.ends_with("whole") { "whole/adapter in it has: name that one" } else { "no such folder" };
        refused(&["chat", "--model", &from, "--adapter", &adapter, "--prompt", "x", "--device", "flex"], &[words]);
    }
    cards_of_a_run(&whole, &folder.path().join("merged"), &at("exported"));
    fs::rename(whole.join("adapter/base.json"), at("base.json")).unwrap();
    let warned = other(&["--quiet"]);
    assert!(warned.contains("`base_model_name_or_path`") && warned.contains("llava_clip_llama"), "{warned}");
    fs::rename(at("base.json"), whole.join("adapter/base.json")).unwrap();
    // Of keys that do not fit, the first are named.
    let mut wide = config.clone();
    wide["r"] = 8.into();
    fs::create_dir(at("wide")).unwrap();
    let weights = "adapter_model.safetensors";
    fs::copy(whole.join("adapter").join(weights), folder.path().join("wide").join(weights)).unwrap();
    fs::write(folder.path().join("wide/adapter_config.json"), wide.to_string()).unwrap();
    let output = burn_vlm(&["chat", "--model", &from, "--adapter", &at("wide"), "--prompt", "x", "--device", "flex"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let keys = 2 * (3 * 7 + 3);
    assert!(error.contains(&format!("{keys} keys ({keys} of another shape)")), "{error}");
    assert_eq!(error.matches("shape: ").count(), 5, "{error}");
    assert!(error.contains(&format!("and {} more", keys - 5)), "{error}");

    let questions = at("questions.toml");
    fs::write(
        folder.path().join("questions.tsv"),
        "index\timage_path\tquestion\tA\tB\tanswer\n1\tcat.png\tWhat is this?\ta cat\ta dog\tA\n2\tcat.png\tWhat?\ta bird\ta cat\tB\n",
    )
    .unwrap();
    fs::write(
        &questions,
        "[[benchmark]]\nname = \"mine\"\nkind = \"choice\"\nfile = \"questions.tsv\"\nimage_root = \".\"\nlanguage = \"en\"\n",
    )
    .unwrap();
    let out = at("scores");
    let evaluate = |model: &str, more: &[&str]| {
        [&["evaluate", &questions, "--model", model, "--device", "flex", "--quiet"][..], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let with = evaluate(&from, &["--adapter", &adapter, "--out", &out]);
    let table = said(&with.iter().map(String::as_str).collect::<Vec<_>>());
    let beside_others = evaluate(&merged, &["--adapter", &adapter]);
    let warned = said(&beside_others.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(warned.contains("are others"), "{warned}");
    let of_merged = evaluate(&merged, &[]);
    assert_eq!(said(&of_merged.iter().map(String::as_str).collect::<Vec<_>>()), table);
    let without = evaluate(&from, &["--out", &out]);
    refused(&without.iter().map(String::as_str).collect::<Vec<_>>(), &["another adapter, or none", "--out"]);

    // Scores go into the card of the run's model, once however often it is asked, and stay when the run is looked at again.
    let card = whole.join("model/README.md");
    let read = || fs::read_to_string(&card).unwrap();
    assert!(read().contains("asked no benchmark"), "{}", read());
    let (model, made) = (at("whole/model"), read());
    let noted = evaluate(&model, &["--card"]);
    let noted: Vec<&str> = noted.iter().map(String::as_str).collect();
    said(&noted);
    let scored = read();
    for words in ["<!-- scores: questions -->", "| mine", "| 2 |", "95 % interval", "commit ", "computed in f32"] {
        assert!(scored.contains(words), "{words}: {scored}");
    }
    assert!(!scored.contains("asked no benchmark"), "{scored}");
    said(&noted);
    train(&at("whole"), &[]);
    assert_eq!(read(), scored);
    // What a person writes stays; a run that has something else to say says so.
    fs::write(&card, scored.replace("# A vision-language model", "# My model")).unwrap();
    said(&noted);
    let text = train(&at("whole"), &[]);
    assert!(text.contains("README.md was edited and stays"), "{text}");
    assert_eq!(read(), scored.replace("# A vision-language model", "# My model"));
    fs::remove_file(&card).unwrap();
    train(&at("whole"), &[]);
    assert_eq!(read(), made);
    // Scores of the base with the adapter stand in the adapter's card.
    let noted = evaluate(&from, &["--adapter", &adapter, "--card"]);
    said(&noted.iter().map(String::as_str).collect::<Vec<_>>());
    let card = fs::read_to_string(whole.join("adapter/README.md")).unwrap();
    for words in ["<!-- scores: questions -->", "with this adapter on `", "95 % interval", "# A low-rank adapter"] {
        assert!(card.contains(words), "{words}: {card}");
    }
}

/// Every folder with a model or an adapter says what it is: those of the run, the merged one, one that is written again.
fn cards_of_a_run(run: &Path, merged: &Path, exported: &str) {
    let card = |folder: &Path| fs::read_to_string(folder.join("README.md")).unwrap();
    let adapter = card(&run.join("adapter"));
    assert!(adapter.starts_with("---\nlibrary_name: peft\n"), "{adapter}");
    for words in
        ["- \"lora\"\n", "It goes on `llava_clip_llama`", "LoRA adapters of rank 4", "## Scores", "## Made from"]
    {
        assert!(adapter.contains(words), "{words}: {adapter}");
    }
    let of_merged = card(merged);
    for words in [
        "pipeline_tag: image-text-to-text",
        "# A merged model",
        "| Model | llava_clip_llama |",
        "| Adapter | whole/adapter |",
    ] {
        assert!(of_merged.contains(words), "{words}: {of_merged}");
    }
    for text in [&adapter, &of_merged, &card(&run.join("model"))] {
        let section = "## In other programs\n\ntransformers runs the model as `LlavaForConditionalGeneration`. It computes the same.\n";
        assert!(text.contains(section), "{text}");
    }
    // The run's folder stands for its model.
    let text = said(&["export", &run.to_string_lossy(), exported, "--device", "flex"]);
    assert!(text.contains("whole/model"), "{text}");
    assert_eq!(card(Path::new(exported)), card(&run.join("model")));
}

/// Adapters are values of a study's axis: of another rank, or taken away from a recipe that has some.
#[test]
fn an_axis_sets_adapters() {
    let folder = tempfile::tempdir().unwrap();
    let study = "name = 'axis'\ntitle = 'Axis'\nopen_tables = ['stage.*.train', 'stage.*.lora']\n\
        [recipe]\nstages = ['align', 'tune']\n[recipe.model]\nencoder = 'siglip1'\nbackbone = 'backbone'\n\
        [recipe.stage.align]\nobjective = 'vlm'\nsteps = 2\nbatch = 4\nlog_every = 1\n\
        train = { multi_modal_projector = 3e-3 }\ndata = { languages = ['en'], tasks = { caption = 1.0 } }\n\
        [recipe.stage.tune]\nobjective = 'vlm'\nsteps = 2\nbatch = 4\nlog_every = 1\n\
        train = { multi_modal_projector = 1e-3, language_model = 3e-3 }\ndata = { languages = ['en'], tasks = { caption = 1.0 } }\n\
        lora = { r = 4, alpha = 8, targets = ['language_model'], modules_to_save = ['multi_modal_projector'] }\n\
        [[axis]]\nname = 'method'\nvalues = [\n\
        { name = 'r4' },\n\
        { name = 'r2', patch = { stage = { tune = { lora = { r = 2, rslora = true, base = 'bf16' } } } } },\n\
        { name = 'dora', patch = { stage = { tune = { lora = { dora = true, modules_to_save = [] }, train = { _replace = true, language_model = 1e-3 } } } } },\n\
        { name = 'all', patch = { stage = { tune = { lora = { _remove = true } } } } },\n]\n\
        [[column]]\nname = 'En'\nlanguages = ['en']\n\
        [evaluation]\nlanguages = ['en']\ncloze = 'likelihood'\nseen = 4\nunseen = 4\n";
    let file = folder.path().join("axis.toml");
    fs::write(&file, study).unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (file, out) = (at("axis.toml"), at("out"));
    let text = said(&["study", &file, "--device", "flex", "--out", &out]);
    assert_eq!(text.matches("adapter on ").count(), 3, "{text}");
    let cell = |name: &str| folder.path().join("out/cells").join(name).join("seed0");
    let result = |name: &str, key: &str| -> Value {
        let done: Value = serde_json::from_str(&fs::read_to_string(cell(name).join("done.json")).unwrap()).unwrap();
        done["result"][key].clone()
    };
    let number = |name: &str, key: &str| result(name, key)["tune"].as_u64().unwrap();
    // q, k and v, o; gate, up and down; of 4 layers.
    let wide = 4 * ((192 + 192) + 2 * (192 + 96) + (192 + 192) + 3 * (192 + 512));
    let outputs = 4 * (192 + 2 * 96 + 192 + 2 * 512 + 192);
    let projector = result("all", "trained_parameters")["align"].as_u64().unwrap();
    let all = result("all", "parameters").as_u64().unwrap();
    assert_eq!(number("r4", "trained_parameters"), 4 * wide + projector);
    assert_eq!(number("r2", "trained_parameters"), 2 * wide + projector);
    assert_eq!(number("dora", "trained_parameters"), 4 * wide + outputs);
    assert!(number("all", "trained_parameters") > 1_000_000);
    // Weight, gradient and two moments of what is trained, 4 bytes each; of the rest the weight, in bf16 2 bytes.
    let bytes = |name: &str, frozen: u64, of_each: u64| {
        let trained = number(name, "trained_parameters");
        assert_eq!(number(name, "training_bytes"), 16 * trained + of_each * frozen, "{name}");
    };
    bytes("r4", all - projector, 4);
    bytes("r2", all - projector, 2);
    bytes("dora", all, 4);
    bytes("all", all - number("all", "trained_parameters"), 4);
    let md = fs::read_to_string(folder.path().join("out/summary.md")).unwrap();
    assert!(md.contains(&format!("| {} |", thousands((4 * wide + projector) as usize))), "{md}");
    for words in ["| Weights and state |", "| Last stage |"] {
        assert!(md.contains(words), "{words}: {md}");
    }
    // Each model's card has its scores; it is for people to edit, and the cell stays whole.
    let card = cell("r2").join("model/README.md");
    let text = fs::read_to_string(&card).unwrap();
    for words in ["<!-- scores: axis (default) -->", "As the cell `r2/seed0` of the study `axis`", "| en "] {
        assert!(text.contains(words), "{words}: {text}");
    }
    fs::write(&card, text.replace("# A vision-language model", "# Mine")).unwrap();
    let again = said(&["study", &file, "--device", "flex", "--out", &out]);
    assert!(again.contains("4 of 4 cells are finished already"), "{again}");
    // What is not there cannot be taken away.
    fs::write(&file, study.replace("lora = { _remove", "lroa = { _remove")).unwrap();
    refused(&["study", &file, "--dry-run", "--device", "flex"], &["axis.toml:", "`stage.tune.lroa`", "to remove"]);
}

/// `1234567` as `1,234,567`.
fn thousands(number: usize) -> String {
    burn_vlm_train::optim::thousands(number)
}

/// From parts, behind an alignment: the base is written beside the adapter; in bf16, and with DoRA.
#[test]
fn a_later_stage_has_a_base_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let short = |stage: &str| {
        ["steps=3", "batch=4", "log_every=1", "checkpoint_every=1"].map(|key| format!("stage.{stage}.{key}")).to_vec()
    };
    let mut settings = [short("align"), short("finetune")].concat();
    settings.push(
        "stage.finetune.lora={ r = 2, alpha = 4, dora = true, rslora = true, base = \"bf16\", targets = [\"language_model\"] }".into(),
    );
    settings.push("stage.finetune.train={ language_model = 1e-2 }".into());
    let out = at("run");
    let mut args = vec!["train", "recipes/tiny.toml", "--device", "flex", "--fresh", "--out", &out];
    args.extend(settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
    let text = said(&args);
    assert!(text.contains("adapter on"), "{text}");
    let run = folder.path().join("run");
    let log = |stage: &str| fs::read_to_string(run.join("stages").join(stage).join("log.jsonl")).unwrap();
    let before = (log("2-finetune"), fs::read(run.join("adapter/adapter_model.safetensors")).unwrap());
    fs::remove_dir_all(run.join("stages/2-finetune/step-00000003")).unwrap();
    let again = said(&args);
    assert!(again.contains("finetune: going on from step 2"), "{again}");
    let losses = |log: &str| -> Vec<Value> {
        log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].clone()).collect()
    };
    assert_eq!(losses(&log("2-finetune")), losses(&before.0));
    assert_eq!(fs::read(run.join("adapter/adapter_model.safetensors")).unwrap(), before.1);

    // The base is written as it was below the adapter, in bf16: with the adapter it is the model that came out.
    let (base, adapter) = (at("run/base"), at("run/adapter"));
    let ask = |model: &str, more: &[&str]| {
        said(
            &[&["chat", "--model", model, "--prompt", "What is this?", "--device", "flex", "--quiet"][..], more]
                .concat(),
        )
    };
    assert!(!ask(&base, &["--adapter", &adapter]).is_empty());
    let again = at("again");
    said(&["merge", "--model", &base, "--adapter", &adapter, "--out", &again, "--device", "flex"]);
    let [here, there] =
        [folder.path().join("again"), run.join("model")].map(|dir| tensors(&dir.join("model.safetensors")));
    assert!(difference(&there, &here) < MERGED_AGAIN);
    let weight = "vision_model.encoder.layers.0.mlp.fc1.weight";
    let untrained = here.iter().find(|(name, _)| name.contains(weight)).unwrap();
    assert!(untrained.1.iter().all(|value| value.to_bits() & 0xffff == 0), "8 bits of precision");
    // Into the base itself the adapter would come a second time.
    refused(&["merge", "--model", &base, "--adapter", &adapter, "--out", &base], &["not empty", "another folder"]);
    refused(&["export", &base, &base], &["not empty", "another folder"]);
    let card = |name: &str| fs::read_to_string(run.join(name).join("README.md")).unwrap();
    let of_model = card("model");
    assert!(of_model.contains("DoRA adapters of rank 2 on language_model"), "{of_model}");
    assert!(of_model.contains("rounded to bf16") && !of_model.contains("vocab_size = 0"), "{of_model}");
    // What the shipped parts may be used for is known; what they are on the hub is not.
    assert!(of_model.contains("| siglip2 | MIT or Apache-2.0;") && !of_model.contains("base_model"), "{of_model}");
    assert!(
        card("base").contains("# The model below an adapter") && !card("base").contains("DoRA"),
        "{}",
        card("base")
    );
    assert!(card("adapter").contains("on the model in the folder `base`"), "{}", card("adapter"));
    // transformers would run all three wrongly, and caps no logits.
    for name in ["model", "base", "adapter"] {
        let card = card(name);
        for words in
            ["runs this model wrongly", "visual tokens in place of", "30 * torch.tanh(logits / 30)", "multiplied by"]
        {
            assert!(card.contains(words), "{name}: {words}: {card}");
        }
        assert!(!card.contains("pipeline_tag"), "{card}");
    }

    // A run that would begin from the stage's checkpoint cannot take adapters for a model.
    let other = at("other");
    let init = at("run/finetune");
    let mut from = args.clone();
    from[6] = &other;
    from.extend(["--init-from", &init]);
    refused(&from, &["state.safetensors", "adapters", "from"]);
}

#[test]
fn mistakes_are_told_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let file = recipe(folder.path(), "llava_clip_llama");
    let out = folder.path().join("out").to_string_lossy().into_owned();
    for (lora, train, words) in [
        ("{ r = 0, alpha = 8, targets = ['q_proj'] }", "", &["[stage.tune]", "`r = 0`"][..]),
        ("{ r = 4, alpha = -1, targets = ['q_proj'] }", "", &["`alpha = -1`"]),
        ("{ r = 4, alpha = 8, dropout = 1.0, targets = ['q_proj'] }", "", &["`dropout = 1`"]),
        (
            "{ r = 4, alpha = 8, targets = ['q_prj'] }",
            "",
            &["recipe.toml: ", "[stage.tune]: `lora`: `targets`: ", "`q_prj`", "language_model", "q_proj"],
        ),
        ("{ r = 4, alpha = 8, targets = ['language_model'], rank = 3 }", "", &["`rank`"]),
        ("{ r = 4, alpha = 8, targets = ['language_model'] }", "", &["`multi_modal_projector`", "no adapter"]),
        (
            "{ r = 4, alpha = 8, targets = ['q_proj'] }",
            "{ language_model = 1e-3 }",
            &["[stage.tune]: ", "vision_tower", "learning rate"],
        ),
    ] {
        let lora = format!("stage.tune.lora={lora}");
        let mut args = vec!["train", &file, "--device", "flex", "--quiet", "--out", &out, "--set", &lora];
        let train = format!("stage.tune.train={train}");
        if train.ends_with('}') {
            args.extend(["--set", &train]);
        }
        refused(&args, words);
        args.push("--dry-run");
        refused(&args, words);
    }
    // A rank above the layers' width is said, and no mistake.
    let wide = "stage.tune.lora={ r = 100, alpha = 8, targets = ['language_model'], modules_to_save = ['multi_modal_projector'] }";
    let train = "stage.tune.train={ language_model = 1e-3, multi_modal_projector = 1e-3 }";
    let args = ["train", &file, "--device", "flex", "--dry-run", "--set", wide, "--set", train];
    let text = said(&args);
    assert!(text.contains("`r = 100` of `lora` is above the width of 21 of 21 layers"), "{text}");
    assert!(!said(&[&args[..], &["--set", "stage.tune.lora.r=24"]].concat()).contains("above the width"));
    let text = ["--set", "stage.tune.objective='text'"];
    refused(&[&["train", &file, "--device", "flex", "--out", &out][..], &text].concat(), &["`lora` needs `objective"]);
}

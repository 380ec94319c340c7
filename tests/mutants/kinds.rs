//! The kinds of inputs: how a valid one is made, which of its files are changed, and what is done with it then.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use burn::tensor::Device;
use burn_vlm::checkpoint::Pretrained;
use burn_vlm::dual::DualEncoder;
use burn_vlm::generate::GenerationConfig;
use burn_vlm::language::LanguageModel;
use burn_vlm_data::chat_template::{ChatTemplate, Content, Message, OrderedJson, RenderOptions};
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::image::{DecodeLimits, DynamicImage, ImageProcessor, ImageProcessorConfig, RgbImage, encode_png};
use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::source::{FileSource, Limits, Source, SourceConfig, open_sources};
use burn_vlm_data::tokenizer::Tokenizer;
use burn_vlm_experiments::{DataArgs, ENCODER, SHAPES, StudyArgs, TrainArgs, execute, run_data, run_training};
use burn_vlm_train::ablation::{PatchRules, Study};
use burn_vlm_train::chat::ChatModel;
use burn_vlm_train::eval::Benchmarks;
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::recipe::{EvaluationRecipe, Recipe, read_recipe};
use burn_vlm_train::run::estimate::{Assumptions, EstimateInput, Machine, estimate_run};
use clap::Parser;

/// Records of a source, cells of a study that are looked at.
const LOOKED_AT: u64 = 12;
const CELLS: usize = 2;
/// What a picture may take; pictures of the seeds are far smaller.
const DECODE: DecodeLimits = DecodeLimits { max_pixels: 1 << 22, max_bytes: 64 << 20 };

/// What is done with a valid input after one of its files was changed.
pub type Use = Box<dyn Fn(&Subject, &Path) -> Result<(), String>>;

/// A valid input.
pub struct Subject {
    /// Its folder.
    pub folder: PathBuf,
    /// The files that are changed, below it.
    pub files: Vec<PathBuf>,
    /// What is done then; the path is the changed file's.
    pub each: Use,
    /// The same by the program.
    pub command: Option<fn(&Subject, &Path) -> Vec<String>>,
    /// Whether the folder is restored as a whole: using it writes into it.
    pub written: bool,
}

/// A kind.
pub struct Kind {
    pub name: &'static str,
    /// Its share of 20,000, about.
    pub inputs: u64,
    /// Makes the valid inputs in an empty folder.
    pub make: fn(&Path) -> Vec<Subject>,
}

pub const KINDS: [Kind; 15] = [
    Kind { name: "vision-language models", inputs: 4200, make: vision_language },
    Kind { name: "language models, dual encoders", inputs: 1500, make: towers },
    Kind { name: "tokenizers", inputs: 1200, make: tokenizers },
    Kind { name: "chat templates", inputs: 2800, make: templates },
    Kind { name: "JSON and JSONL", inputs: 1700, make: json },
    Kind { name: "tables", inputs: 1000, make: tsv },
    Kind { name: "archives", inputs: 1000, make: tar },
    Kind { name: "parquet", inputs: 1000, make: parquet },
    Kind { name: "pictures", inputs: 2000, make: pictures },
    Kind { name: "mixtures", inputs: 700, make: mixtures },
    Kind { name: "recipes", inputs: 1300, make: recipes },
    Kind { name: "studies", inputs: 800, make: studies },
    Kind { name: "questions", inputs: 600, make: questions },
    Kind { name: "runs with checkpoints", inputs: 300, make: runs },
    Kind { name: "results of studies", inputs: 200, make: results },
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn context() -> &'static Context {
    static CONTEXT: OnceLock<Context> = OnceLock::new();
    CONTEXT.get_or_init(|| Context { corpus: EmojiCorpus::embedded().unwrap(), device: Device::flex(), workers: 1 })
}

/// All files below a folder, as paths below it, in the order of their names.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(root, &path, found),
                false => found.push(path.strip_prefix(root).unwrap().to_owned()),
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

pub fn copy_folder(from: &Path, to: &Path) {
    for file in files_below(from) {
        fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
        fs::copy(from.join(&file), to.join(&file)).unwrap();
    }
}

/// A copy of a folder without what only tests read.
fn copied(from: &Path, to: PathBuf) -> PathBuf {
    copy_folder(from, &to);
    for file in ["README.txt", "expected.safetensors", "expected.json", "config_legacy.json"] {
        let _ = fs::remove_file(to.join(file));
    }
    to
}

fn subject(folder: PathBuf, each: Use) -> Subject {
    Subject { files: files_below(&folder), folder, each, command: None, written: false }
}

fn png() -> Vec<u8> {
    encode_png(&picture()).unwrap()
}

fn picture() -> RgbImage {
    RgbImage::from_fn(61, 47, |x, y| [(x * 4) as u8, (y * 5) as u8, (x * y % 251) as u8].into())
}

/// A tiny whole model after a step of training, with the hashes that a run writes; made once a kind.
fn trained(folder: &Path) -> PathBuf {
    let recipe = training(folder, 2);
    let out = folder.join("out");
    train(&recipe, &out, &[]).unwrap();
    out
}

/// A recipe that starts from a tiny model, on four records of a picture.
fn training(folder: &Path, steps: usize) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("cat.png"), png()).unwrap();
    let turns = r#"[{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "a cat"}]"#;
    let line = |id: usize| format!("{{\"id\": \"{id}\", \"image\": \"cat.png\", \"conversations\": {turns}}}\n");
    fs::write(folder.join("train.jsonl"), (0..4).map(line).collect::<String>()).unwrap();
    let source = "[[source]]\nname = \"own\"\npath = \"train.jsonl\"\nformat = \"llava_jsonl\"\nimage_root = \".\"\nlanguage = \"en\"\n";
    fs::write(folder.join("mixture.toml"), source).unwrap();
    let text = format!(
        "stages = [\"tune\"]\n[model]\nfrom = \"{}\"\n[stage.tune]\nobjective = \"vlm\"\nsteps = {steps}\nbatch = 2\n\
         log_every = 1\ncheckpoint_every = 1\ntrain = {{ multi_modal_projector = 1e-3 }}\n[stage.tune.mixture]\n\
         file = \"mixture.toml\"\n",
        fixture("llava_clip_qwen2").display()
    );
    let file = folder.join("recipe.toml");
    fs::write(&file, text).unwrap();
    file
}

fn train(recipe: &Path, out: &Path, more: &[&str]) -> Result<(), String> {
    let (recipe, out) = (recipe.to_string_lossy(), out.to_string_lossy());
    let options = ["train", "--quiet", "--device", "flex", "--recipe", &recipe, "--out", &out];
    run_training(&TrainArgs::parse_from([&options[..], more].concat())).map(drop).map_err(text)
}

fn vision_language(folder: &Path) -> Vec<Subject> {
    let fixtures = ["llava_clip_qwen2", "llava_next_siglip_gemma2", "parrot_clip_qwen2", "llava_clip_llama"];
    let mut folders: Vec<PathBuf> = fixtures.iter().map(|name| copied(&fixture(name), folder.join(name))).collect();
    // With the hashes that our own folders carry, which tell every changed bit of the weights.
    folders.push(copied(&trained(&folder.join("run")).join("model"), folder.join("ours")));
    // Other folders of which it is said what they are.
    let gguf = folder.join("gguf");
    fs::create_dir_all(&gguf).unwrap();
    fs::write(gguf.join("model-Q4_K_M.gguf"), [b"GGUF\x03\0\0\0".as_slice(), &[7; 200]].concat()).unwrap();
    let adapter = folder.join("adapter");
    fs::create_dir_all(&adapter).unwrap();
    let peft = r#"{"base_model_name_or_path": "llava-hf/llava-1.5-7b-hf", "peft_type": "LORA"}"#;
    fs::write(adapter.join("adapter_config.json"), peft).unwrap();
    let chat = |subject: &Subject, _: &Path| chat(&subject.folder);
    let refused = |subject: &Subject, _: &Path| match self::chat(&subject.folder) {
        Ok(()) => panic!("a folder without a model has talked"),
        Err(error) => Err(error),
    };
    let mut subjects: Vec<Subject> = folders.into_iter().map(|folder| subject(folder, Box::new(chat))).collect();
    for subject in &mut subjects {
        subject.command = Some(|subject, _| {
            let model = subject.folder.to_string_lossy().into_owned();
            ["chat", "--device", "flex", "--max-new-tokens", "2", "--prompt", "What?", "--model", &model]
                .map(str::to_owned)
                .into()
        });
    }
    subjects.extend([gguf, adapter].map(|folder| subject(folder, Box::new(refused))));
    subjects
}

/// A question about a picture, and another without.
fn chat(folder: &Path) -> Result<(), String> {
    let model: ChatModel = ChatModel::load(folder, &Device::flex()).map_err(text)?;
    let mut session = model.session();
    session.generation.max_new_tokens = 2;
    session.add_image("cat.png", &png()).map_err(text)?;
    session.ask("What is this?").map_err(text)?.finish().map_err(text)?;
    session.ask("Why?").map_err(text)?.finish().map_err(text)?;
    Ok(())
}

fn towers(folder: &Path) -> Vec<Subject> {
    let language = |subject: &Subject, _: &Path| {
        let device = Device::flex();
        let model = LanguageModel::load_pretrained(&subject.folder, &device).map_err(text)?;
        let generation = GenerationConfig::from_folder(&subject.folder).map_err(text)?;
        let generation = GenerationConfig { max_new_tokens: 2, ..generation };
        model.generate(&[vec![1, 2, 3]], &generation, &device).map(drop).map_err(text)
    };
    let dual = |subject: &Subject, _: &Path| {
        DualEncoder::load_pretrained(&subject.folder, &Device::flex()).map(drop).map_err(text)
    };
    let of = |name: &str, each: Use| subject(copied(&fixture(name), folder.join(name)), each);
    vec![
        of("qwen2_tied", Box::new(language)),
        of("gemma2_bf16_sharded", Box::new(language)),
        of("llama", Box::new(language)),
        of("mistral", Box::new(language)),
        of("clip_dual", Box::new(dual)),
        of("siglip_dual", Box::new(dual)),
    ]
}

fn tokenizers(folder: &Path) -> Vec<Subject> {
    let each = |subject: &Subject, _: &Path| {
        let tokenizer = Tokenizer::from_file(subject.folder.join("tokenizer.json")).map_err(text)?;
        for words in ["Was ist das? 这是什么 <image>", "", "1234567890 123", "\u{0}\u{1f600}e\u{301}", "  \n\n  "] {
            // Texts have no file; the record that has them is named by whoever encodes it.
            if let Ok(ids) = tokenizer.encode_with_special_tokens(words) {
                let _ = tokenizer.decode(&ids, false);
            }
        }
        Ok(())
    };
    let of = |name: &str| {
        let to = folder.join(name);
        fs::create_dir_all(&to).unwrap();
        for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
            let _ = fs::copy(fixture(name).join(file), to.join(file));
        }
        subject(to, Box::new(each))
    };
    ["tok_gemma", "tok_qwen", "llava_clip_llama", "llava_clip_qwen2"].map(of).into()
}

fn templates(folder: &Path) -> Vec<Subject> {
    let each = |subject: &Subject, _: &Path| {
        let template = ChatTemplate::from_folder(&subject.folder).map_err(text)?;
        let turns = [
            Turn::system("Be brief."),
            Turn::user("<image>\nWhat is \u{2764}?"),
            Turn::assistant("a heart"),
            Turn::user(""),
        ];
        let name = subject.folder.to_string_lossy();
        // Gemma's refuses what the system says.
        let turns = &turns[usize::from(name.contains("gemma"))..];
        // A language model's wants texts, another's parts.
        let message = |turn: &Turn| match name.contains("tok_") {
            true => Message { content: Content::Text(turn.text.clone()), ..Message::from(turn) },
            false => Message::from(turn),
        };
        let messages: Vec<Message> = turns.iter().map(message).collect();
        let tools = r#"[{"name": "f", "parameters": {"x": [1, 2.5, null, true]}}]"#;
        let tools: OrderedJson = tools.parse().unwrap();
        let variables = BTreeMap::from([("tools".to_owned(), tools)]);
        template.render(turns, true).map_err(text)?;
        let options = RenderOptions { add_generation_prompt: true, variables };
        template.render_messages(&messages, &options).map(drop).map_err(text)
    };
    let of = |name: &str| {
        let to = folder.join(name);
        fs::create_dir_all(&to).unwrap();
        for file in ["chat_template.jinja", "chat_template.json"] {
            let _ = fs::copy(fixture(name).join(file), to.join(file));
        }
        subject(to, Box::new(each))
    };
    ["tok_gemma", "tok_qwen", "llava_clip_qwen2", "llava_next_siglip_gemma2"]
        .into_iter()
        .filter(|name| fixture(name).join("chat_template.jinja").is_file())
        .map(of)
        .collect()
}

/// A source of one file: every record read, every picture decoded, and the whole inspected with a tokenizer.
fn source(folder: PathBuf, endings: &[&str]) -> Subject {
    let each = |subject: &Subject, changed: &Path| {
        let mut config = SourceConfig::new("mutant", changed.to_string_lossy());
        config.image_root = Some(subject.folder.clone());
        let source = FileSource::open(config).map_err(text)?;
        let mut skips = Vec::new();
        source.by_language(&mut |skip| skips.push(skip.to_string()));
        for record in 0..source.len().min(LOOKED_AT) {
            match source.get(record) {
                Ok(sample) => skips.extend(
                    sample
                        .pictures()
                        .filter_map(|picture| picture.decode(&DECODE).err().map(|reason| reason.to_string())),
                ),
                Err(reason) => skips.push(reason.to_string()),
            }
        }
        match skips.into_iter().find(|skip| skip.trim().is_empty()) {
            Some(_) => panic!("a record is left out without a reason"),
            None => Ok(()),
        }
    };
    let mut subject = subject(folder, Box::new(each));
    subject.files.retain(|file| endings.iter().any(|ending| file.extension().is_some_and(|found| found == *ending)));
    assert!(!subject.files.is_empty());
    subject.command = Some(|_, changed| {
        let (changed, tokenizer) = (changed.to_string_lossy().into_owned(), fixture("llava_clip_qwen2"));
        let tokenizer = tokenizer.to_string_lossy().into_owned();
        ["data", "inspect", &changed, "--tokenizer", &tokenizer].map(str::to_owned).into()
    });
    subject
}

/// The corpus as a user's data would look.
fn exported(folder: &Path, format: &str) -> PathBuf {
    let out = folder.join(format);
    let text = out.to_string_lossy();
    let line = ["data", "export", "--out", &text, "--format", format, "--languages", "en,de", "--limit", "8"];
    run_data(&DataArgs::parse_from(line), &mut Vec::new()).unwrap();
    out
}

fn json(folder: &Path) -> Vec<Subject> {
    let exported = exported(folder, "json");
    // Lines, parts, several pictures, options, answers as objects.
    let other = folder.join("other");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("cat.png"), png()).unwrap();
    let lines = [
        r#"{"id": 1, "image": "cat.png", "conversations": [{"from": "human", "value": "<image>\nA?"}, {"from": "gpt", "value": "b"}]}"#,
        r#"{"id": "2", "images": ["cat.png", "cat.png"], "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q"}, {"type": "image"}]}, {"role": "assistant", "content": "c"}]}"#,
        r#"{"id": 3, "image": "cat.png", "question": "Which?", "choices": ["a", "b"], "answer": 1, "language": "de"}"#,
        r#"{"id": 4, "file_name": "cat.png", "text": "a cat", "more": {"deep": [[1, 2.5e10], null]}}"#,
        r#"{"id": 5, "image": "cat.png", "question": "Q?", "answers": [{"answer": "x", "answer_confidence": "yes"}], "language": "zh-Hant-TW"}"#,
    ];
    fs::write(other.join("lines.jsonl"), lines.map(|line| format!("{line}\n")).concat()).unwrap();
    fs::write(other.join("list.json"), format!("[{}]", lines.join(",\n"))).unwrap();
    vec![source(exported, &["json", "jsonl"]), source(other, &["json", "jsonl"])]
}

fn tsv(folder: &Path) -> Vec<Subject> {
    vec![source(exported(folder, "tsv"), &["tsv"])]
}

fn tar(folder: &Path) -> Vec<Subject> {
    vec![source(exported(folder, "webdataset"), &["tar"])]
}

fn parquet(folder: &Path) -> Vec<Subject> {
    vec![source(exported(folder, "parquet"), &["parquet"])]
}

fn pictures(folder: &Path) -> Vec<Subject> {
    let plain = DynamicImage::ImageRgb8(picture());
    let to = folder.join("pictures");
    copy_folder(&root().join("burn-vlm-data/tests/fixtures/images"), &to);
    let big: Vec<PathBuf> =
        files_below(&to).into_iter().filter(|file| file.to_string_lossy().contains(".rgb.")).collect();
    big.iter().for_each(|file| fs::remove_file(to.join(file)).unwrap());
    fs::write(to.join("plain.png"), png()).unwrap();
    let jpeg = root().join("burn-vlm-data/benches/china_501x334.jpg");
    fs::copy(jpeg, to.join("china.jpg")).unwrap();
    let corpus = EmojiCorpus::embedded().unwrap();
    fs::write(to.join("emoji.webp"), &corpus.pictures()[0].webp).unwrap();
    let mut gif = b"GIF89a\x06\x00\x05\x00\x87\x00\x00".to_vec();
    gif.extend([90; 768]);
    gif.extend([44, 2, 0, 1, 0, 3, 0, 2, 0, 0, 8, 7, 0, 3, 8, 16, 40, 48, 32, 0, 59]);
    fs::write(to.join("small.gif"), gif).unwrap();
    let side = (plain.width(), plain.height());
    let row = (side.0 * 3).next_multiple_of(4);
    let mut bmp = b"BM".to_vec();
    for number in [54 + row * side.1, 0, 54, 40, side.0, side.1, 1 | 24 << 16, 0, 0, 0, 0, 0, 0] {
        bmp.extend(number.to_le_bytes());
    }
    bmp.extend((0..row * side.1).map(|at| at as u8));
    fs::write(to.join("plain.bmp"), bmp).unwrap();
    let each = |_: &Subject, changed: &Path| {
        let bytes = fs::read(changed).map_err(text)?;
        let config = ImageProcessorConfig::siglip(32);
        let processor = ImageProcessor::new(config).map_err(text)?.with_limits(DECODE);
        processor.process_bytes(&changed.display().to_string(), &bytes).map(drop).map_err(text)
    };
    let mut subject = subject(to, Box::new(each));
    // Those that are refused as they are.
    subject.files.retain(|file| !file.ends_with("unit_float.tif") && !file.ends_with("huge_integers.tif"));
    vec![subject]
}

fn mixtures(folder: &Path) -> Vec<Subject> {
    let exported = exported(folder, "json");
    let each = |subject: &Subject, changed: &Path| {
        if changed.starts_with(subject.folder.join("recipes")) {
            return MixtureConfig::from_file(changed).map(drop).map_err(text);
        }
        let line = ["data", "inspect", &changed.to_string_lossy()];
        run_data(&DataArgs::parse_from(line), &mut Vec::new()).map_err(text)?;
        let config = MixtureConfig::from_file(changed).map_err(text)?;
        open_sources(&config, Limits::default()).map(drop).map_err(text)
    };
    copy_folder(&root().join("recipes/data"), &exported.join("recipes"));
    let mut subject = subject(exported, Box::new(each));
    subject
        .files
        .retain(|file| file.extension().is_some_and(|ending| ending == "toml") && !file.ends_with("recipe.toml"));
    vec![subject]
}

fn estimate(recipe: &Recipe, base: &Path) -> Result<(), String> {
    let (parts, context) = (root().join("parts"), context());
    let assumptions = Assumptions::default();
    let input = EstimateInput { context, recipe, base, parts: &parts, shapes: &SHAPES, assumptions };
    let estimate = estimate_run(&input).map_err(text)?;
    let _ = estimate.on(&Machine::given(1e12, 1)).to_string();
    Ok(())
}

fn recipes(folder: &Path) -> Vec<Subject> {
    let to = folder.join("recipes");
    copy_folder(&root().join("recipes"), &to);
    let each = |subject: &Subject, changed: &Path| {
        let recipe = read_recipe(changed, &[]).map_err(text)?;
        estimate(&recipe, &subject.folder)
    };
    let mut shipped = subject(to, Box::new(each));
    shipped.files.retain(|file| file.components().count() == 1);
    shipped.command = Some(|_, changed| {
        let changed = changed.to_string_lossy().into_owned();
        ["train", "--device", "flex", "--dry-run", &changed].map(str::to_owned).into()
    });
    // Trained for a step, whatever else it says.
    let own = folder.join("own");
    training(&own, 1);
    let each = |subject: &Subject, changed: &Path| {
        let out = tempfile::tempdir_in(&subject.folder).map_err(text)?;
        let set = ["stage.tune.steps=1", "stage.tune.batch=2", "stage.tune.accumulate=1"];
        let more: Vec<&str> = set.iter().flat_map(|setting| ["--set", setting]).collect();
        train(changed, &out.path().join("out"), &more)
    };
    let mut own = subject(own, Box::new(each));
    own.files.retain(|file| file.ends_with("recipe.toml"));
    vec![shipped, own]
}

fn studies(folder: &Path) -> Vec<Subject> {
    let to = folder.join("experiments");
    fs::create_dir_all(&to).unwrap();
    copy_folder(&root().join("recipes"), &folder.join("recipes"));
    for name in ["encoder", "parrot", "parrot_encoder", "parrot_languages", "parrot_scale", "parrot_translate"] {
        let name = format!("{name}.toml");
        fs::copy(root().join("experiments").join(&name), to.join(&name)).unwrap();
    }
    let each = |_: &Subject, changed: &Path| {
        let study = Study::load(changed).map_err(text)?;
        let plan = study.plan(study.usual_preset(), None, &PatchRules::new()).map_err(text)?;
        for cell in plan.cells.iter().take(CELLS) {
            let recipe = Recipe::from_table(cell.recipe.clone()).map_err(text)?;
            EvaluationRecipe::from_table(cell.evaluation.clone()).map_err(text)?;
            estimate(&recipe, study.folder())?;
        }
        Ok(())
    };
    let mut subject = subject(to, Box::new(each));
    subject.command = Some(|_, changed| {
        let changed = changed.to_string_lossy().into_owned();
        ["study", "--device", "flex", "--dry-run", "--config", &changed].map(str::to_owned).into()
    });
    vec![subject]
}

fn table(folder: &Path, limit: &str) {
    let out = folder.join("questions.tsv").to_string_lossy().into_owned();
    let line = ["data", "questions", "--out", &out, "--languages", "en,de", "--limit", limit];
    run_data(&DataArgs::parse_from(line), &mut Vec::new()).unwrap();
}

fn questions(folder: &Path) -> Vec<Subject> {
    let to = folder.join("questions");
    fs::create_dir_all(&to).unwrap();
    table(&to, "6");
    let tables = "[[benchmark]]\nname = 'mine'\nkind = 'choice'\nfile = 'questions.tsv'\nlanguage_column = 'language'\n\
                  group_column = 'group'\n\n[[benchmark]]\nname = 'words'\nkind = 'short_answer'\nfile = 'words.jsonl'\n\
                  language = 'en'\n\n[evaluation]\nlanguages = ['en']\ncloze = 'likelihood'\nseen = 4\nunseen = 4\n";
    fs::write(to.join("questions.toml"), tables).unwrap();
    let line =
        |id: usize| format!("{{\"id\": {id}, \"question\": \"What {id}?\", \"answers\": [\"a cat\", \"{id}\"]}}\n");
    fs::write(to.join("words.jsonl"), (0..6).map(line).collect::<String>()).unwrap();
    let each = |subject: &Subject, _: &Path| {
        let file = subject.folder.join("questions.toml");
        // The program names the file, which here is only a text.
        let read = fs::read_to_string(&file).map_err(|error| format!("questions.toml: {error}"))?;
        let mut table: toml::Table = read.parse().map_err(|error| format!("questions.toml: {error}"))?;
        let mut evaluation = match table.remove("evaluation") {
            Some(toml::Value::Table(evaluation)) => evaluation,
            _ => toml::Table::new(),
        };
        evaluation.extend(table.remove("benchmark").map(|tables| ("benchmark".to_owned(), tables)));
        let named = |error: String| format!("questions.toml: {error}");
        let evaluation = EvaluationRecipe::from_table(evaluation).map_err(text).map_err(named)?;
        Benchmarks::open(&evaluation, &context().corpus, &subject.folder).map(drop).map_err(text).map_err(named)
    };
    let mut subject = subject(to, Box::new(each));
    subject.command = Some(|subject, _| {
        let (file, model) = (subject.folder.join("questions.toml"), fixture("llava_clip_qwen2"));
        let [file, model] = [file, model].map(|path| path.to_string_lossy().into_owned());
        ["evaluate", &file, "--device", "flex", "--model", &model].map(str::to_owned).into()
    });
    vec![subject]
}

/// A finished run without its model, so that it goes on from its last checkpoint.
fn runs(folder: &Path) -> Vec<Subject> {
    let to = folder.join("run");
    let out = trained(&to);
    fs::remove_dir_all(out.join("model")).unwrap();
    let each = |subject: &Subject, _: &Path| {
        let set = ["--set", "stage.tune.steps=2"];
        train(&subject.folder.join("recipe.toml"), &subject.folder.join("out"), &set)
    };
    let mut subject = subject(to, Box::new(each));
    subject.files.retain(|file| file.starts_with("out"));
    subject.written = true;
    vec![subject]
}

fn results(folder: &Path) -> Vec<Subject> {
    let to = folder.join("study");
    training(&to, 1);
    table(&to, "6");
    let text_of = format!(
        "name = 'small'\ntitle = 'Small'\n[recipe]\nstages = ['tune']\n[recipe.model]\nfrom = '{}'\n[recipe.stage.tune]\n\
         objective = 'vlm'\nsteps = 1\nbatch = 2\nlog_every = 1\ntrain = {{ multi_modal_projector = 1e-3 }}\n\
         mixture = {{ file = 'mixture.toml' }}\n[[benchmark]]\nname = 'mine'\nkind = 'choice'\nfile = 'questions.tsv'\n\
         language_column = 'language'\n[[axis]]\nname = 'rate'\nvalues = [{{ name = 'low' }}, {{ name = 'high', patch = \
         {{ stage = {{ tune = {{ train = {{ multi_modal_projector = 2e-3 }} }} }} }} }}]\n[[column]]\nname = 'En'\n\
         languages = ['en']\n[[column]]\nname = 'De'\nlanguages = ['de']\n",
        fixture("llava_clip_qwen2").display()
    );
    fs::write(to.join("study.toml"), text_of).unwrap();
    let each = |subject: &Subject, _: &Path| {
        let [study, out] = ["study.toml", "out"].map(|name| subject.folder.join(name).to_string_lossy().into_owned());
        let line = ["own", "--quiet", "--jobs", "1", "--device", "flex", "--config", &study, "--out", &out];
        execute(&ENCODER, &StudyArgs::parse_from(line)).map_err(text)
    };
    let first = subject(to.clone(), Box::new(each));
    (first.each)(&first, &to).unwrap();
    let mut subject = subject(to, first.each);
    subject.files.retain(|file| file.starts_with("out"));
    subject.written = true;
    vec![subject]
}

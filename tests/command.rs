//! `burn-vlm` as it is typed: its help, its completions, a study of a user's own, the score of a model, and what mistakes are told.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use burn::module::Module;
use burn::tensor::Tensor;
use burn_vlm::ModelError;
use burn_vlm::connector::{ConnectorConfig, ConnectorShape, Projector, RoutingText};
use burn_vlm::init::{Fill, Scope};
use burn_vlm::nn::Linear;
use burn_vlm::parts::Either;
use burn_vlm::vision::VisionEncoder;
use burn_vlm_data::tokenizer::Tokenizer;
use burn_vlm_experiments::{ENCODER, StudyArgs, execute_of};
use clap::Parser;
use safetensors::SafeTensors;
use serde_json::Value;

const COMMANDS: [&str; 10] =
    ["study", "train", "evaluate", "chat", "serve", "data", "pretrain", "export", "merge", "completions"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn burn_vlm(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
    command.args(args).current_dir(root()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it prints, if it ends well.
fn said(args: &[&str]) -> String {
    let output = burn_vlm(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// One error of that exit code, with all of these words, and no panic.
fn refused(code: i32, args: &[&str], words: &[&str]) {
    let output = burn_vlm(args);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    let errors = error.lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!(errors, 1, "{args:?}: {error}");
    assert!(!error.contains("panicked"), "{error}");
    for word in words {
        assert!(error.contains(word), "{args:?} lacks {word:?}: {error}");
    }
}

#[test]
fn every_command_has_a_help_that_speaks_of_the_program() {
    let all = said(&["--help"]);
    for command in COMMANDS {
        assert!(all.contains(&format!("\n  {command} ")), "{all}");
        let help = said(&[command, "--help"]);
        assert!(help.contains("burn-vlm"), "{help}");
        assert!(!help.contains("cargo run"), "{help}");
        if command != "completions" {
            assert!(help.contains(&format!("Examples:\n  burn-vlm {command}")), "{help}");
        }
    }
    for command in ["inspect", "export", "questions", "score"] {
        assert!(said(&["data", command, "--help"]).contains(&format!("Examples:\n  burn-vlm data {command}")));
    }
    assert!(said(&["--version"]).starts_with("burn-vlm "));
}

/// Examples with the features of the tests; those that are commands of the program are looked at above.
const EXAMPLES: [(&str, &str); 20] = [
    ("ablate_adapter", "--study"),
    ("ablate_alignment", "Alignment captions x finetuning data"),
    ("ablate_backbone", "Backbone family x tuning"),
    ("ablate_encoder", "Vision encoder x finetuning data"),
    ("ablate_forgetting", "Text-only share x finetuning languages"),
    ("ablate_languages", "Finetuning languages: 10 or 20"),
    ("ablate_ocr", "Finetuning data without and with words in pictures"),
    ("ablate_parrot", "--study"),
    ("ablate_resolution", "Pixels, patches and tiles"),
    ("ablate_threshold", "Threshold of translated captions"),
    ("ablate_video", "--study"),
    ("chat", "--model"),
    ("data", "inspect"),
    ("load_encoder", "Usage: load_encoder [FOLDER [PICTURE]]"),
    ("own_benchmark", "Examples:\n  cargo run --release --example own_benchmark"),
    ("own_connector", "A connector of your own"),
    ("own_encoder", "no options"),
    ("own_source", "no options"),
    ("preprocess_rate", "Usage: preprocess_rate FILE"),
    ("train", "--recipe"),
];

/// `--help` is an answer and nothing else: no training, no debug output.
#[test]
fn every_example_has_a_help() {
    let folder = Path::new(env!("CARGO_BIN_EXE_burn-vlm")).parent().unwrap().join("examples");
    let nowhere = tempfile::tempdir().unwrap();
    for (name, words) in EXAMPLES {
        let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        let output = |option: &str| {
            let started = Command::new(&program).arg(option).current_dir(nowhere.path()).output();
            started.unwrap_or_else(|e| panic!("{}: {e}; `cargo build --examples` makes it", program.display()))
        };
        for option in ["--help", "-h"] {
            let output = output(option);
            let help = text(&output.stdout);
            assert!(output.status.success() && help.contains(words), "{name} {option}: {help}");
            assert!(help.lines().count() < 160 && !help.contains("Some("), "{name}: {help}");
        }
        let refused = output("--nonsense");
        assert!(!refused.status.success() && text(&refused.stderr).contains("--nonsense"), "{name}");
    }
    assert_eq!(fs::read_dir(nowhere.path()).unwrap().count(), 0, "nothing was written");
}

/// What `--new` writes is a study as it stands, on no paper's question, and whatever is there stays.
#[test]
fn a_new_study_runs_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let told = said(&["study", "--new", &at("sub/mine")]);
    let file = at("sub/mine.toml");
    assert!(told.contains(&file) && told.contains("burn-vlm study") && told.contains("--dry-run"), "{told}");
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.contains("name = \"mine\"") && !written.contains("NAME"), "{written}");
    for words in ["[paper", "TowerVision", "Parrot", "Table"] {
        assert!(!written.contains(words), "{words}");
    }
    let plan = said(&["study", &file, "--dry-run", "--device", "flex"]);
    for words in ["siglip1/en ", "siglip1/en_de ", "siglip2/en_de ", "asks cloze", "samples by language"] {
        assert!(plan.contains(words), "{plan}");
    }
    let out = at("out");
    let smoke =
        ["study", &file, "--preset", "smoke", "--only", "siglip2/en_de", "--device", "flex", "--quiet", "--out", &out];
    said(&smoke);
    assert!(Path::new(&out).join("cells/siglip2/en_de/seed0/done.json").is_file());
    refused(1, &["study", "--new", &at("sub/mine.toml")], &["is there already"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
    refused(1, &["study", "--new", &at("my study")], &["letters, digits"]);
    refused(2, &["study", "encoder", "--new", "mine"], &["--new"]);
}

/// The table of a study without columns would be empty; values are told with their key and their file.
#[test]
fn a_study_says_what_is_wrong_in_which_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = study(folder.path(), "mine.toml", "", ASKED);
    let without = fs::read_to_string(&file).unwrap().replace("[[column]]\nname = 'En'\nlanguages = ['en']\n", "");
    fs::write(&file, &without).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let out = folder.path().join("out").to_string_lossy().into_owned();
        let line = [&["study", &file, "--device", "flex", "--quiet", "--out", &out], more].concat();
        refused(1, &line, &["mine.toml", "no [[column]]", "languages = [\"en\"]"]);
    }
    let table = "[[benchmark]]\nname = 'q'\nkind = 'choice'\nfile = 'q.tsv'\nlanguage = 'en'\nlimit = 'many'\n";
    let file = study(folder.path(), "value.toml", "", table);
    refused(1, &["study", &file, "--dry-run", "--device", "flex"], &["value.toml", "\"q\"", "`limit = \"many\"`"]);
    let questions = folder.path().join("questions.toml");
    fs::write(&questions, table).unwrap();
    let questions = questions.to_string_lossy();
    refused(1, &["evaluate", &questions, "--model", "nowhere"], &["questions.toml", "`limit = \"many\"`"]);
}

#[test]
fn completions_know_commands_and_options() {
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&["completions", shell]);
        for word in COMMANDS.into_iter().chain(["dry-run"]) {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
}

/// A study of two cells without any preset; `recipe` is a table of the base recipe's changes.
fn study(folder: &Path, name: &str, changes: &str, more: &str) -> String {
    let recipe = root().join("recipes/tiny.toml");
    let text = format!(
        "name = 'mine'\ntitle = 'Mine'\nrecipe = {recipe:?}\nopen_tables = ['stage.*', 'stage.*.mixture', 'model']\n\
         [[axis]]\nname = 'rate'\nvalues = [\n{{ name = 'low', patch = {{ {changes}stage = {{ align = {{ steps = 10 }} }} }} }},\n\
         {{ name = 'high', patch = {{ {changes}stage = {{ align = {{ steps = 20 }} }} }} }},\n]\n\
         [[column]]\nname = 'En'\nlanguages = ['en']\n{more}"
    );
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    file.to_string_lossy().into_owned()
}

/// Questions on the embedded corpus.
const ASKED: &str = "[evaluation]\nlanguages = ['en']\ncloze = 'likelihood'\nseen = 4\nunseen = 0\n";

#[test]
fn a_study_of_ones_own_needs_no_preset() {
    let folder = tempfile::tempdir().unwrap();
    let file = study(folder.path(), "mine.toml", "", ASKED);
    let plan = said(&["study", &file, "--dry-run", "--device", "flex"]);
    assert!(plan.contains("low") && plan.contains("high") && plan.contains("asks cloze"), "{plan}");
    // The same, named as an option.
    assert!(said(&["study", "--config", &file, "--dry-run", "--device", "flex"]).contains("asks cloze"));
    refused(1, &["study", &file, "--preset", "tiny"], &["mine.toml", "no [presets.*]; leave --preset away"]);
}

/// A machine that is elsewhere: its time and memory, with nothing timed here.
#[test]
fn a_study_is_estimated_for_another_machine() {
    let plan = said(&["study", "encoder", "--dry-run", "--on", "h100x8"]);
    for words in ["memory", "on h100 (a quarter of its peak", "on 8 x h100, where each takes a --shard"] {
        assert!(plan.contains(words), "{plan}");
    }
    let seconds = |rate: &str| {
        let plan = said(&["study", "encoder", "--dry-run", "--tflops", rate]);
        let line = plan.lines().find(|line| line.starts_with("to do: about ")).unwrap().to_owned();
        assert!(line.contains("on a device as given"), "{line}");
        line
    };
    assert_ne!(seconds("0.1"), seconds("0.2"));
    refused(2, &["study", "encoder", "--on", "h100"], &["--dry-run"]);
    refused(2, &["study", "encoder", "--dry-run", "--on", "h101"], &["no device `h101`", "`h100`"]);
    refused(2, &["train", "--dry-run", "--devices", "2"], &["--tflops"]);
    refused(2, &["train", "--dry-run", "--tflops", "0"], &["--tflops", "above 0"]);
    refused(2, &["train", "--dry-run", "--tflops", "1", "--on", "h100"], &["--on"]);
}

#[test]
fn built_in_studies_go_by_name() {
    let plan = said(&["study", "parrot", "--preset", "smoke", "--dry-run", "--device", "flex"]);
    assert!(plan.contains("asks "), "{plan}");
}

#[test]
fn mistakes_get_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    refused(2, &["trian"], &["trian", "train"]);
    refused(2, &["study"], &["STUDY"]);
    refused(1, &["study", "encodr"], &["no study `encodr`", "did you mean `encoder`?", "ends in .toml"]);
    refused(1, &["study", "nowhere.toml"], &["nowhere.toml"]);
    refused(1, &["train", "nowhere.toml"], &["nowhere.toml"]);
    refused(1, &["chat", "--model", "nowhere", "--prompt", "?"], &["nowhere", "there is no such folder"]);
    refused(1, &["evaluate", "encoder", "--model", "nowhere"], &["nowhere", "there is no such folder"]);
    refused(1, &["export", "nowhere", "there"], &["nowhere", "SOURCE is a model's folder"]);

    let table = |kind: &str| format!("[[benchmark]]\nname = 'q'\nkind = '{kind}'\nfile = 'q.tsv'\nlanguage = 'en'\n");
    fs::write(folder.join("q.tsv"), "index\tquestion\tA\tB\n1\tWhat?\tx\ty\n").unwrap();
    let dry = |name: &str, changes: &str, more: &str, words: &[&str]| {
        refused(1, &["study", &study(folder, name, changes, more), "--dry-run", "--device", "flex"], words);
    };
    dry("kind.toml", "", &table("choise"), &["unknown kind \"choise\"", "did you mean `choice`?"]);
    dry("tsv.toml", "", &table("choice"), &["q.tsv", "no column \"answer\""]);
    let other = ASKED.replace("['en']", "['de']");
    dry("column.toml", "", &other, &["cloze", "\"En\"", "en"]);
    fs::write(folder.join("questions.toml"), table("choice")).unwrap();
    let questions = folder.join("questions.toml").to_string_lossy().into_owned();
    refused(1, &["evaluate", &questions, "--model", "nowhere"], &["q.tsv", "no column \"answer\""]);
    fs::write(folder.join("other.toml"), "[benchmarks]\n").unwrap();
    let other = folder.join("other.toml").to_string_lossy().into_owned();
    refused(
        1,
        &["evaluate", &other, "--model", "nowhere"],
        &["other.toml", "`benchmarks`", "did you mean `benchmark`?"],
    );
}

/// A ratio for a language of which no source has a sample.
#[test]
fn a_mixture_without_the_languages_that_it_asks_for_is_one_error() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::copy(root().join("tests/fixtures/images/cat_451x300.png"), folder.join("cat.png")).unwrap();
    let line = r#"{"id": "1", "image": "cat.png", "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "a cat"}]}"#;
    fs::write(folder.join("en.jsonl"), format!("{line}\n").repeat(8)).unwrap();
    fs::write(
        folder.join("mixture.toml"),
        "languages = { en = 0.5, de = 0.5 }\n[[source]]\nname = 'en'\npath = 'en.jsonl'\nformat = 'jsonl'\nlanguage = 'en'\n",
    )
    .unwrap();
    let recipe = folder.join("recipe.toml");
    fs::write(
        &recipe,
        "stages = ['align']\n[model]\nencoder = 'siglip2'\nbackbone = 'backbone'\n[stage.align]\nobjective = 'vlm'\nepochs = 1\n\
         batch = 4\nlog_every = 1\ntrain = { multi_modal_projector = 1e-3 }\nmixture = { file = 'mixture.toml' }\n",
    )
    .unwrap();
    let text = format!(
        "name = 'mine'\ntitle = 'Mine'\nrecipe = {recipe:?}\n[[axis]]\nname = 'batch'\nvalues = [{{ name = 'four' }}]\n\
         [[column]]\nname = 'En'\nlanguages = ['en']\n{ASKED}"
    );
    let file = folder.join("study.toml");
    fs::write(&file, text).unwrap();
    let (file, out) = (file.to_string_lossy(), folder.join("out"));
    let words = ["mixture", "de", "0"];
    refused(1, &["study", &file, "--dry-run", "--device", "flex"], &words);
    refused(1, &["study", &file, "--device", "flex", "--quiet", "--out", &out.to_string_lossy()], &words);
    refused(1, &["train", &recipe.to_string_lossy(), "--dry-run", "--device", "flex"], &words);
}

/// A connector of a user's own that is one value too wide for the language model.
#[derive(Module, Debug)]
struct Wide {
    linear: Linear,
}

impl Projector for Wide {
    fn accepts(config: &ConnectorConfig) -> bool {
        config.is_custom("wide")
    }

    fn from_config(_: &ConnectorConfig, shape: &ConnectorShape, scope: &Scope) -> Result<Self, ModelError> {
        Ok(Self { linear: scope.linear("linear", shape.input, shape.hidden + 1, Fill::ZEROS, None) })
    }

    fn config(&self) -> ConnectorConfig {
        ConnectorConfig::named("wide")
    }

    fn input_width(&self) -> usize {
        self.linear.weight.lazy_shape()[0]
    }

    fn output_width(&self) -> usize {
        self.linear.weight.lazy_shape()[1]
    }

    fn connect(&self, features: Tensor<3>, _: Option<&RoutingText>) -> Result<Tensor<3>, ModelError> {
        Ok(self.linear.forward(features))
    }
}

#[test]
fn a_connector_of_the_wrong_width_is_one_error() {
    let folder = tempfile::tempdir().unwrap();
    let wide = "model = { connector = { kind = 'custom', name = 'wide' } }, ";
    let file = study(folder.path(), "wide.toml", wide, ASKED);
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let args = ["own", "--quiet", "--device", "flex", "--only", "low", "--config", &file, "--out", &out];
    let error = execute_of::<VisionEncoder, Either<Wide>>(&ENCODER, &StudyArgs::parse_from(args), |job| job);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("low/seed0") && error.contains("193") && error.contains("192"), "{error}");
    // The program does not know the connector at all.
    refused(1, &["study", &file, "--device", "flex", "--quiet", "--only", "low", "--out", &out], &["\"wide\""]);
}

/// From a data set to a trained model to its scores, all by the program.
#[test]
fn a_model_is_trained_and_scored() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (run, scores) = (at("run"), at("scores"));
    let short = ["--set", "stages=[\"align\"]", "--set", "stage.align.steps=10", "--device", "flex", "--quiet"];
    let trained = said(&[&["train", "--out", &run], &short[..]].concat());
    assert!(trained.contains("talk to it: burn-vlm chat --model "), "{trained}");
    let data = root().join("tests/fixtures/eval/mmmb/data/mmmb_en.tsv");
    let questions = at("questions.toml");
    fs::write(
        &questions,
        format!(
            "[evaluation]\nlanguages = ['en', 'de']\ncloze = 'likelihood'\nseen = 6\nunseen = 0\n\
             [[benchmark]]\nname = 'mine'\nkind = 'choice'\nfile = {data:?}\nlanguage = 'en'\nlimit = 12\nmax_skipped = 2\n"
        ),
    )
    .unwrap();
    let asked = ["evaluate", &questions, "--model", &run, "--out", &scores, "--device", "flex", "--quiet"];
    let table = said(&asked);
    assert!(table.contains("  N |"), "{table}");
    assert!(table.contains("95 % interval") && table.contains("| mean "), "{table}");
    let written: Value =
        serde_json::from_str(&fs::read_to_string(Path::new(&scores).join("scores.json")).unwrap()).unwrap();
    let mine = written["scores"].as_array().unwrap().iter().find(|score| score["metric"] == "mine").unwrap();
    assert_eq!((mine["n"].as_u64(), &mine["language"]), (Some(12), &Value::from("en")));
    assert!(mine["chance"].as_f64().unwrap() > 10.0 && mine["low"].as_f64() <= mine["high"].as_f64());
    let predictions = fs::read_to_string(Path::new(&scores).join("predictions.jsonl")).unwrap();
    assert_eq!(predictions.lines().filter(|line| line.contains("\"benchmark\":\"mine\"")).count(), 12);
    let page = fs::read_to_string(Path::new(&scores).join("scores.md")).unwrap();
    assert!(page.contains("burn-vlm") && page.contains(&run), "{page}");
    // Once more: nothing is asked again, and the same comes out.
    let replies = fs::read(Path::new(&scores).join("replies.jsonl")).unwrap();
    assert_eq!(said(&asked), table);
    assert_eq!(fs::read(Path::new(&scores).join("replies.jsonl")).unwrap(), replies);
    assert_eq!(fs::read_to_string(Path::new(&scores).join("predictions.jsonl")).unwrap(), predictions);
    // Killed in the middle of a line: what is whole is kept, the rest is asked again.
    // (Sums in other batches differ in their last digits, so that the scores of close questions may too.)
    let ids = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect()
    };
    let asked_for = |table: &str| -> Vec<String> {
        table.lines().filter_map(|line| Some(line.split('|').nth(3)?.trim().to_owned())).collect()
    };
    fs::write(Path::new(&scores).join("replies.jsonl"), &replies[..replies.len() / 2]).unwrap();
    assert_eq!(asked_for(&said(&asked)), asked_for(&table));
    assert_eq!(ids(&fs::read_to_string(Path::new(&scores).join("predictions.jsonl")).unwrap()), ids(&predictions));
    // In two parts, then together.
    let parts = at("parts");
    for shard in ["1/2", "2/2"] {
        let part =
            ["evaluate", &questions, "--model", &run, "--out", &parts, "--device", "flex", "--quiet", "--shard", shard];
        assert_eq!(said(&part), "", "a part has no score");
    }
    let count = |name: &str| fs::read_to_string(Path::new(&parts).join(name)).unwrap().lines().count();
    let (first, second) = (count("replies-1-of-2.jsonl"), count("replies-2-of-2.jsonl"));
    assert!(first > 0 && second > 0);
    let whole = said(&["evaluate", &questions, "--model", &run, "--out", &parts, "--device", "flex", "--quiet"]);
    assert_eq!(asked_for(&whole), asked_for(&table));
    assert_eq!(count("replies.jsonl"), 0, "nothing was left to ask");
    assert_eq!(first + second, String::from_utf8(replies).unwrap().lines().count());
    // Itself against itself.
    let compared = at("compared");
    let same = said(&["evaluate", "--compare", &scores, &scores, "--out", &compared]);
    let mine = same.lines().find(|line| line.starts_with("| mine"));
    assert!(mine.is_some_and(|line| line.contains(" 12 |") && line.contains(" 0.0 |")), "{same}");
    assert!(Path::new(&compared).join("comparison.html").is_file());

    let copy = at("copy");
    let model = format!("{run}/model");
    said(&["export", &model, &copy, "--max-shard-size", "4MB", "--device", "flex"]);
    assert!(Path::new(&copy).join("model.safetensors.index.json").is_file());
    let again = said(&["evaluate", &questions, "--model", &copy, "--device", "flex", "--quiet"]);
    assert_eq!(again, table, "a model written again answers the same");
    // Its replies are another model's.
    let mixed = ["evaluate", &questions, "--model", &copy, "--out", &scores, "--device", "flex", "--quiet"];
    refused(1, &mixed, &["has the replies of", "name another folder"]);
}

/// What a conversation in a file says, its answers aside.
fn piped(lines: &str, args: &[&str]) -> (Option<i32>, String) {
    piped_bytes(lines.as_bytes(), args)
}

fn piped_bytes(lines: &[u8], args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
    command.args(args).current_dir(root()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), text(&output.stderr))
}

/// Where nobody sees an error, what follows it would be asked without what is missing: it ends the conversation, and has its line.
#[test]
fn a_conversation_in_a_file_ends_at_its_first_error() {
    let model = "tests/fixtures/llava_clip_llama";
    let ask = ["chat", "--model", model, "--device", "flex", "--max-new-tokens", "1"];
    for (line, words) in [
        ("/image nowhere.png", &["cannot read the picture nowhere.png"][..]),
        ("/video nowhere.mp4", &["nowhere.mp4"]),
        ("/video", &["/video needs a file"]),
        ("/vido clip.mp4", &["unknown command /vido"]),
    ] {
        let (code, said) = piped(&format!("What?\n\n{line}\nWhat?\n"), &ask);
        assert_eq!(code, Some(1), "{line}: {said}");
        for word in ["error: standard input, line 3: "].iter().chain(words) {
            assert!(said.contains(word), "{line} lacks {word}: {said}");
        }
    }
    let (code, said) = piped("What?\n/help\n/new\nWhat?", &ask);
    assert_eq!(code, Some(0), "{said}");
    // An answer that stops in the middle says why.
    assert!(said.contains("the answer was cut: it has as many tokens as --max-new-tokens allows (1)"), "{said}");
    // Of two questions that are too long together the second one is refused, and one that is too long alone.
    let long = "What? ".repeat(400);
    let (code, said) = piped(&format!("{long}\n"), &ask);
    assert!(code == Some(1) && said.contains("the question has") && said.contains("ask less at once"), "{said}");
    let (code, said) = piped(&format!("What?\n{long}\n"), &ask);
    assert!(code == Some(1) && said.contains("the conversation has") && said.contains("begin a new one"), "{said}");
    let (code, said) = piped_bytes(b"What?\n\xff\xfe\nWhat?\n", &ask);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("standard input, line 2: is not valid UTF-8"), "{said}");
    // A question that is empty is most often a mistake of the script that asks it.
    let (code, said) = piped(" \n", &[&ask[..], &["--prompt", "-"]].concat());
    assert!(code == Some(1) && said.contains("standard input (--prompt -): the question is empty"), "{said}");
    refused(1, &[&ask[..], &["--prompt", ""]].concat(), &["--prompt: the question is empty"]);
    refused(
        1,
        &[&ask[..], &["--prompt", "What?", "--image", "https://a.b/c.png"]].concat(),
        &["is an address", "fetches nothing"],
    );
    // Who has read enough is not told of an error.
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
    command.args(ask).current_dir(root()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"What?\nWhat?\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && !text(&output.stderr).contains("error"), "{}", text(&output.stderr));
}

/// More frames than a model reads are told before they are decoded: these could not be.
#[test]
fn too_many_frames_are_told_before_they_are_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip");
    fs::create_dir(&clip).unwrap();
    image::RgbImage::new(8, 8).save(clip.join("0.png")).unwrap();
    (1..4096).for_each(|number| fs::write(clip.join(format!("{number}.png")), "no picture").unwrap());
    let clip = clip.to_string_lossy().into_owned();
    for model in ["tests/fixtures/llava_next_clip_qwen2", "tests/fixtures/onevision_siglip_gemma2_video4"] {
        let ask =
            ["chat", "--model", model, "--device", "flex", "--prompt", "What?", "--video", &clip, "--frames", "4096"];
        refused(1, &ask, &[&clip, "4096 frames are ", "max_position_embeddings", "--frames"]);
    }
}

/// A signal ends the programs that read a video too, which a terminal's Ctrl-C would not reach.
#[cfg(unix)]
#[test]
fn a_signal_leaves_no_program_running() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let script = format!("#!/bin/sh\necho $$ > {0}.new; mv {0}.new {0}\nsleep 1000\n", at("started").display());
    for program in ["ffmpeg", "ffprobe"] {
        fs::write(at(program), &script).unwrap();
        fs::set_permissions(at(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(at("a.mp4"), "no video, but nobody looks").unwrap();
    let turns = serde_json::json!([{"from": "human", "value": "<video>"}, {"from": "gpt", "value": "a"}]);
    fs::write(at("data.json"), serde_json::json!([{"video": "a.mp4", "conversations": turns}]).to_string()).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
    command
        .args(["data", "inspect"])
        .arg(at("data.json"))
        .env("PATH", path)
        .stderr(Stdio::null())
        .stdout(Stdio::null());
    let mut running = command.spawn().unwrap();
    wait_for("the program that looks at the video", || at("started").exists());
    let program = fs::read_to_string(at("started")).unwrap();
    let stat = PathBuf::from(format!("/proc/{}/stat", program.trim()));
    let runs = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z"));
    assert!(runs() || !Path::new("/proc/self").exists(), "{}", stat.display());
    assert!(Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap().success());
    // As if nobody had answered the signal.
    assert_eq!(running.wait().unwrap().signal(), Some(15));
    wait_for("the end of the program", || !runs());
}

/// A model that ends its turn at once is told from one that was asked for nothing.
#[test]
fn an_empty_answer_says_why() {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(root().join("tests/fixtures/llava_clip_llama")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let every: Vec<u32> = (0..2048).collect();
    fs::write(folder.path().join("generation_config.json"), serde_json::json!({ "eos_token_id": every }).to_string())
        .unwrap();
    let model = folder.path().to_string_lossy().into_owned();
    let ask = |more: &[&str]| {
        let output = burn_vlm(&[&["chat", "--model", &model, "--prompt", "What?", "--device", "flex"], more].concat());
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        said
    };
    assert!(ask(&[]).contains("wrote nothing: the model ended its turn at once"));
    assert!(ask(&["--max-new-tokens", "0"]).contains("wrote nothing: no token was asked for (--max-new-tokens 0)"));
}

/// The shipped backbone without an encoder: `chat` talks to it, `export --texts` writes what it makes of texts, and what needs
/// pictures says that it takes none.
#[test]
fn a_language_model_alone_is_talked_to_and_its_outputs_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (backbone, picture) = ("parts/backbone", "tests/fixtures/images/cat_451x300.png");
    let ask = ["chat", "--model", backbone, "--prompt", "What is this?", "--device", "flex", "--quiet"];
    let first = said(&[&ask[..], &["--max-new-tokens", "1"]].concat());
    refused(
        1,
        &[&ask[..], &["--image", picture]].concat(),
        &["config.json", "language model alone", "neither pictures nor videos"],
    );
    refused(
        1,
        &["evaluate", "encoder", "--model", backbone, "--device", "flex"],
        &[backbone, "language model alone", "neither pictures nor videos"],
    );

    let texts = at("texts.json");
    fs::write(&texts, r#"["a red apple", [{"role": "user", "content": "What is this?"}]]"#).unwrap();
    let out = at("out");
    said(&["export", backbone, &out, "--outputs", "--texts", &texts, "--device", "flex"]);
    let bytes = fs::read(folder.path().join("out/outputs.safetensors")).unwrap();
    let outputs = SafeTensors::deserialize(&bytes).unwrap();
    let tokenizer = Tokenizer::from_file(root().join(backbone).join("tokenizer.json")).unwrap();
    let ids = |name: &str| -> Vec<u32> {
        let (words, _) = outputs.tensor(name).unwrap().data().as_chunks::<8>();
        words.iter().map(|bytes| i64::from_le_bytes(*bytes) as u32).collect()
    };
    assert_eq!(ids("ids.0"), tokenizer.encode_with_special_tokens("a red apple").unwrap());
    assert!(tokenizer.decode(&ids("ids.1"), false).unwrap().contains("What is this?"));
    let logits = outputs.tensor("logits.1").unwrap();
    let shape = logits.shape().to_vec();
    assert_eq!(shape[..2], [1, ids("ids.1").len()]);
    let (words, _) = logits.data().as_chunks::<4>();
    let last = words[words.len() - shape[2]..].iter().map(|bytes| f32::from_le_bytes(*bytes)).enumerate();
    let (likeliest, _) = last.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert_eq!(tokenizer.decode(&[likeliest as u32], true).unwrap().trim(), first.trim());

    fs::write(&texts, r#"["a", {"role": "user"}]"#).unwrap();
    let export = |source: &str, out: &str| -> Vec<String> {
        let source = root().join(source).to_string_lossy().into_owned();
        ["export", &source, out, "--outputs", "--texts", &texts].map(str::to_owned).to_vec()
    };
    let of = |source: &str, words: &[&str]| {
        let args = export(source, &at("other"));
        refused(1, &args.iter().map(String::as_str).collect::<Vec<_>>(), words);
        assert!(!Path::new(&at("other")).exists(), "nothing is written");
    };
    of(backbone, &["texts.json", "a JSON list of texts and of conversations"]);
    fs::write(&texts, "[]").unwrap();
    of(backbone, &["texts.json", "the list is empty"]);
    fs::write(&texts, r#"["a"]"#).unwrap();
    of("parts/siglip2", &["--texts is for language models", "\"siglip\""]);
}

/// Waits until `there` is true.
#[cfg(unix)]
fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !there() {
        assert!(began.elapsed().as_secs() < 120, "{what} did not come");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Ctrl-C ends a training at a checkpoint, says so, and the same command goes on from there.
#[cfg(unix)]
#[test]
fn an_interrupt_finishes_the_step_and_the_same_command_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let printed = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let start = |name: &str| {
        let file = |ending: &str| fs::File::create(folder.path().join(format!("{name}.{ending}"))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
        command.args(["train", "recipes/tiny.toml", "--out"]).arg(&out).current_dir(root());
        command.stdout(file("out")).stderr(file("err")).spawn().unwrap()
    };
    let mut first = start("first");
    wait_for("a line of the log", || fs::metadata(out.join("stages/1-align/log.jsonl")).is_ok_and(|log| log.len() > 0));
    let signal = Command::new("kill").args(["-INT", &first.id().to_string()]).status().unwrap();
    assert!(signal.success());
    let status = first.wait().unwrap();
    let errors = printed("first.err");
    assert_eq!(status.code(), Some(130), "{errors}");
    assert!(errors.contains("once more to end at once") && errors.contains("the same command goes on"), "{errors}");
    let steps: Vec<String> = fs::read_dir(out.join("stages/1-align"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("step-"))
        .collect();
    assert_eq!(steps.len(), 1, "{steps:?}");
    let step: usize = steps[0].trim_start_matches("step-").parse().unwrap();
    let mut second = start("second");
    let going_on = format!("going on from step {step} of 100");
    wait_for("the second run", || printed("second.out").contains(&going_on));
    second.kill().unwrap();
    second.wait().unwrap();
}

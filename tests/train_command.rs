//! `examples/train`: a recipe from parts to a model that answers, resumed, refused, and estimated without any data.

mod common;

#[path = "train_command/again.rs"]
mod again;

use std::fs;
use std::path::{Path, PathBuf};

use burn_vlm_experiments::{TrainArgs, run_training};
use burn_vlm_train::chat::ChatModel;
use burn_vlm_train::device::{DeviceChoice, choose};
use clap::Parser;
use common::{backbone_without_image, token_rows};

/// Steps that show that everything runs.
const SHORT: [&str; 8] = [
    "stage.align.steps=4",
    "stage.align.batch=8",
    "stage.align.log_every=2",
    "stage.align.checkpoint_every=2",
    "stage.finetune.steps=4",
    "stage.finetune.batch=8",
    "stage.finetune.log_every=2",
    "stage.finetune.checkpoint_every=2",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn run(options: &[&str]) -> Result<String, String> {
    let args = TrainArgs::parse_from([&["train", "--quiet", "--device", "flex"], options].concat());
    run_training(&args).map_err(|error| error.to_string())
}

fn short(out: &Path, more: &[&str]) -> Result<String, String> {
    let out = out.to_string_lossy();
    let settings = SHORT.iter().chain(more).flat_map(|setting| ["--set", setting]);
    run(&["--out", &out].into_iter().chain(settings).collect::<Vec<_>>())
}

fn log(out: &Path, stage: &str) -> Vec<f64> {
    let text = fs::read_to_string(out.join("stages").join(stage).join("log.jsonl")).unwrap();
    let loss = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64().unwrap();
    text.lines().map(loss).collect()
}

#[test]
fn the_tiny_recipe_trains_resumes_and_keeps_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let said = short(&out, &[]).unwrap();
    for part in ["align: loss ", "finetune: loss ", "model: ", "--example chat -- --model "] {
        assert!(said.contains(part), "{said}");
    }
    let losses = (log(&out, "1-align"), log(&out, "2-finetune"));
    assert_eq!((losses.0.len(), losses.1.len()), (2, 2));
    let device = choose(DeviceChoice::Flex).unwrap().device;
    ChatModel::load(&out.join("model"), &device).unwrap();

    // As after a kill in the second stage: no model, only the first of its checkpoints.
    fs::remove_dir_all(out.join("model")).unwrap();
    let finetune = out.join("stages/2-finetune");
    let last = finetune.join("step-00000004");
    assert!(last.is_dir(), "checkpoints are named by their step");
    fs::remove_dir_all(&last).unwrap();
    short(&out, &[]).unwrap();
    assert_eq!((log(&out, "1-align"), log(&out, "2-finetune")), losses);
    assert!(out.join("model/model.safetensors").is_file());

    let other = short(&out, &["seed=7"]).unwrap_err();
    assert!(other.contains("another recipe") && other.contains("seed = 7"), "{other}");
}

/// A language model's own tokenizer has no `<image>`: it is given one, and a row of the embeddings and of the head.
#[test]
fn a_backbone_without_an_image_token_trains() {
    let folder = tempfile::tempdir().unwrap();
    for (name, tied) in [("tied", true), ("untied", false)] {
        let backbone = folder.path().join(name);
        backbone_without_image(&backbone, tied);
        let out = folder.path().join(format!("{name}-run"));
        let setting = format!("model.backbone=\"{}\"", backbone.display());
        let said = short(&out, &[&setting]).unwrap();
        assert!(said.contains("finetune: loss"), "{said}");
        assert!(log(&out, "2-finetune").iter().all(|loss| loss.is_finite()));
        let model = out.join("model");
        let (embeddings, head) = token_rows(&model);
        assert_eq!((embeddings, head), (8193, (!tied).then_some(8193)), "{name}");
        ChatModel::load(&model, &choose(DeviceChoice::Flex).unwrap().device).unwrap();
    }
}

/// Lines of an estimate that hold all of these words.
fn assert_line(text: &str, words: &[&str]) {
    let found = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(found, "no line with {words:?} in\n{text}");
}

fn dry(recipe: &str, more: &[&str]) -> String {
    let nowhere = tempfile::tempdir().unwrap();
    let (recipe, parts) = (root().join("recipes").join(recipe), nowhere.path().to_string_lossy().into_owned());
    let recipe = recipe.to_string_lossy().into_owned();
    run(&[&["--dry-run", "--recipe", &recipe, "--parts", &parts], more].concat()).unwrap()
}

/// A stage on videos: tokens are known before a video is there.
#[test]
fn a_video_stage_is_estimated_without_anything() {
    let text = dry("towervideo-2b.toml", &[]);
    for words in [
        &["vision tower", "TowerVision-2B", "26 layers of width 1152", "27 x 27 patches"][..],
        &["language model", "TowerVision-2B", "256002 token ids"],
        &["a video of 32 frames in 100 %", "32 views, 6273 visual tokens", "decoding", "not known without the videos"],
        &["a sample", "6273 visual and 256 text tokens", "32.0 views"],
        &["[TRAINABLE]", "image_newline", "2,304 parameters"],
    ] {
        let found = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} in\n{text}");
    }
    let shorter = dry("towervideo-2b.toml", &["--set", "video.sampling={ rule = \"linspace\", frames = 8 }"]);
    assert!(shorter.contains("8 views, 1569 visual tokens"), "{shorter}");
}

/// Neither weights nor data are there.
#[test]
fn published_recipes_are_estimated_without_anything() {
    let text = dry("towervision-2b.toml", &[]);
    for words in [
        &["vision tower", "siglip2-so400m-patch14-384", "27 layers of width 1152", "27 x 27 patches"][..],
        &["428,225,600 parameters", "the published shape"],
        &["language model", "Tower-Plus-2B", "256000 token ids, 1 more for <image>"],
        // 2,614,341,888 and a row of 2,304
        &["2,614,344,192 parameters"],
        // 1152 x 2304 + 2304 + 2304 x 2304 + 2304, and the newline
        &["connector", "7,969,536 parameters, new"],
        &["[frozen]", "language_model", "2,614,344,192"],
        &["[TRAINABLE]", "multi_modal_projector", "7,967,232 parameters, lr 1e-3"],
        &["data/pixmo-cap.toml: 702,205 samples an epoch, as the file declares"],
        &["a sample", "729 visual and 256 text tokens, 256 trained; 1.0 views"],
        &["length", "2,742 steps, 701,952 samples"],
        &["[TRAINABLE]", "vision_tower", "428,225,600 parameters, lr 2e-6"],
        &["[TRAINABLE]", "image_newline", "2,304 parameters, lr 1e-5"],
        &["data/visionblocks.toml: 4,956,280 samples an epoch, as the file declares"],
        &["assumed: pictures of 1024 x 768 pixels (--picture): 7 views"],
        &["assumed: one picture a sample, none in 22 % (sources tagged `text`)"],
        &["length", "38,720 steps, 4,956,160 samples"],
        &["memory", "weights 12.2 GB, gradients"],
        &["activations without gradient checkpointing: "],
        &["computed again by gradient checkpointing"],
        &["all stages: ", "FLOP"],
    ] {
        assert_line(&text, words);
    }

    let text = dry("towervision-9b.toml", &[]);
    assert_line(&text, &["language model", "Tower-Plus-9B", "42 layers of width 3584"]);
    assert_line(&text, &["9,241,709,568 parameters"]);

    let text = dry("llava-1.5-7b.toml", &[]);
    for words in [
        &["303,507,456 parameters"][..],
        // 6,738,415,616, and a row of the embeddings and one of the head
        &["6,738,423,808 parameters"],
        &["connector", "20,979,712 parameters, new"],
        &["[frozen]", "vision_tower", "303,507,456 parameters"],
        &["576 visual and 256 text tokens"],
        &["length", "2,180 steps, 558,080 samples"],
        &["length", "5,197 steps, 665,216 samples"],
    ] {
        assert_line(&text, words);
    }
}

/// Every recipe that ships, on a machine that is not here.
#[test]
fn all_recipes_are_estimated_for_a_machine_elsewhere() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("recipes")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let recipe = path.to_string_lossy().into_owned();
            let text = run(&["--dry-run", &recipe, "--on", "h100x8"]).unwrap();
            assert_line(&text, &["all stages: ", "on 8 x h100 ("]);
            assert_line(&text, &["each h100 has 80.0 GB: "]);
            count += 1;
        }
    }
    assert_eq!(count, 11);
    // The published count of parameters, 7,721,324,544, and a row of the embeddings and one of the head.
    let text = dry("parrot.toml", &[]);
    assert_line(&text, &["language model", "Qwen1.5-7B-Chat", "32 layers of width 4096", "151936 token ids"]);
    assert_line(&text, &["7,721,332,736 parameters"]);

    // By hand: FLOP / (8 x 989.4e12 / 4), 8 devices share a step's 8 micro-batches (128 samples in 32 of 4) evenly.
    let days = |text: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with("all stages: ")).unwrap();
        let (_, rest) = line.split_once(", about ").unwrap();
        rest.split_once(" days").unwrap_or_else(|| panic!("{line}")).0.replace(',', "").parse().unwrap()
    };
    let flops = |text: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with("all stages: ")).unwrap();
        line["all stages: ".len()..].split_once(" EFLOP").unwrap().0.parse::<f64>().unwrap() * 1e18
    };
    let one = dry("towervision-2b.toml", &["--on", "h100"]);
    let expected = flops(&one) / (989.4e12 * 0.25) / 86_400.0;
    assert!((days(&one) / expected - 1.0).abs() < 0.01, "{} and {expected}", days(&one));
    assert_line(&one, &["989.4 TFLOP/s a device in bf16", "data sheet", "25 % of that assumed"]);
    // A step of the alignment has eight micro-batches: three devices take three rounds, the time of eight thirds of one.
    let given = |devices: &str| dry("towervision-2b.toml", &["--tflops", "989.4", "--devices", devices]);
    let (three, eight) = (given("3"), given("8"));
    assert!((days(&given("1")) - days(&one)).abs() < 0.11);
    assert_line(&three, &["3 devices share a step of 8 micro-batches in 3 rounds"]);
    assert!(days(&three) > days(&one) / 3.0 && days(&eight) < days(&three));
    // What does not fit is said, and an f32 recipe is not given the rate of bf16.
    assert_line(&dry("towervision-9b.toml", &["--on", "rtx4090"]), &["each rtx4090 has 24.0 GB: DOES NOT FIT"]);
    let f32 = dry("towervision-2b.toml", &["--on", "h100", "--set", "compute.precision=\"f32\""]);
    assert_line(&f32, &["66.9 TFLOP/s a device in f32"]);
}

#[test]
fn an_estimate_takes_other_assumptions_and_settings() {
    let more = ["--text-tokens", "100", "--picture", "384x384", "--set", "stage.finetune.steps=10"];
    let text = dry("towervision-2b.toml", &more);
    assert_line(&text, &["assumed: 100 tokens of text a sample, half of them trained"]);
    assert_line(&text, &["assumed: pictures of 384 x 384 pixels (--picture): 2 views, 1485 visual tokens"]);
    assert_line(&text, &["length", "10 steps, 1,280 samples"]);
}

/// The tiny recipe's parts ship, so that its lengths are those of its samples.
#[test]
fn the_tiny_recipe_is_estimated_from_its_samples() {
    let text = run(&["--dry-run"]).unwrap();
    assert_line(&text, &["vision tower", "siglip2", "4 layers of width 128"]);
    assert_line(&text, &["[TRAINABLE]", "multi_modal_projector", "61,824 parameters, lr 3e-3"]);
    assert_line(&text, &["lengths and pictures are those of"]);
    assert_line(&text, &["a sample", "5 visual and"]);
    assert_line(&text, &["length", "400 steps, 25,600 samples"]);
}

#[test]
fn mistakes_are_named() {
    let nowhere = run(&["--recipe", "nowhere.toml"]).unwrap_err();
    assert!(nowhere.contains("nowhere.toml"), "{nowhere}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recipe.toml");
    let text = fs::read_to_string(root().join("recipes/towervision-2b.toml")).unwrap();
    let recipe = |text: String| {
        fs::write(&file, text).unwrap();
        run(&["--dry-run", "--recipe", &file.to_string_lossy(), "--parts", &folder.path().to_string_lossy()])
            .unwrap_err()
    };
    let unknown = recipe(text.replace("backbone = \"Tower-Plus-2B\"", "backbone = \"Towr\""));
    assert!(unknown.contains("`Towr`") && unknown.contains("Tower-Plus-2B"), "{unknown}");
    let data = recipe(text.clone());
    assert!(data.contains("pixmo-cap.toml"), "{data}");
    fs::create_dir(folder.path().join("data")).unwrap();
    for name in ["pixmo-cap.toml", "visionblocks.toml"] {
        fs::copy(root().join("recipes/data").join(name), folder.path().join("data").join(name)).unwrap();
    }
    let pattern = recipe(text.replace("image_newline = 1e-5", "image_newlines = 1e-5"));
    assert!(pattern.contains("[stage.finetune]") && pattern.contains("did you mean `image_newline`"), "{pattern}");
    let key = recipe(text.replace("log_every", "log_evry"));
    assert!(key.contains("log_every"), "{key}");
}

/// The code blocks of a document that follow `<!-- NAME -->`.
fn block(document: &str, name: &str) -> String {
    let marker = format!("<!-- {name} -->\n```toml\n");
    let (_, rest) = document.split_once(&marker).unwrap_or_else(|| panic!("no block {name:?}"));
    rest.split_once("```").unwrap().0.to_owned()
}

/// The example of docs/training.md as it stands there, on eight captions and conversations of a picture.
#[test]
fn the_documented_example_trains() {
    let document = fs::read_to_string(root().join("docs/training.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("images")).unwrap();
    fs::copy(root().join("tests/fixtures/images/cat_451x300.png"), at("images/cat.png")).unwrap();
    fs::write(at("my.toml"), block(&document, "recipe")).unwrap();
    for name in ["captions.toml", "conversations.toml"] {
        fs::write(at(name), block(&document, &format!("mixture: {name}"))).unwrap();
    }
    let lines = |question: &str, languages: [(&str, &str); 2]| -> String {
        let line = |index: usize| {
            let (language, answer) = languages[index % 2];
            let turns = serde_json::json!([{ "from": "human", "value": question }, { "from": "gpt", "value": answer }]);
            let id = index.to_string();
            format!(
                "{}\n",
                serde_json::json!({ "id": id, "image": "cat.png", "language": language, "conversations": turns })
            )
        };
        (0..8).map(line).collect()
    };
    fs::write(at("captions.jsonl"), lines("<image>", [("en", "a cat"), ("en", "a small cat")])).unwrap();
    fs::write(at("conversations.jsonl"), lines("<image>\nWhat is this?", [("en", "cat"), ("de", "Katze")])).unwrap();
    let (recipe, out) = (at("my.toml"), at("out"));
    let (recipe, out) = (recipe.to_string_lossy(), out.to_string_lossy());
    let text = run(&["--dry-run", "--recipe", &recipe]).unwrap();
    assert_line(&text, &["captions.toml: 8 samples an epoch, counted"]);
    assert_line(&text, &["lengths and pictures are those of 8 samples"]);
    assert_line(&text, &["length", "4 steps, 32 samples"]);
    let said = run(&["--recipe", &recipe, "--out", &out]).unwrap();
    assert!(said.contains("align: loss") && said.contains("finetune: loss"), "{said}");
    // one epoch of 8 samples and two of 16, 8 a step
    assert_eq!(log(Path::new(&*out), "1-align").len(), 1);
    assert_eq!(log(Path::new(&*out), "2-finetune").len(), 4);
}

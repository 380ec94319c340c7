//! Training on sources: every format gives the same losses, layouts too; bad data stops a run with a list; a kill changes nothing.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use burn_vlm_base::progress::Reporter;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::source::SourceConfig;
use burn_vlm_train::device::{DeviceChoice, choose};
use burn_vlm_train::log::StepLog;
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::recipe::Recipe;
use burn_vlm_train::run::{PartFolders, Start, TrainRun, Trained, train};
use common::{kill_when, test_alone};

#[path = "../burn-vlm-data/tests/sources/files.rs"]
#[allow(dead_code)]
mod files;

use files::{Item, Types, rich_items, simple_items, temporary, write_all, write_json, write_parquet, write_tsv};

/// f32 sums in another order: rows of other lengths, samples in other rows; relative, over the first step.
const ROUNDING: f32 = 2e-6;
/// The same after eight updates of AdamW, whose first steps divide small gradients by their own size.
const AFTER_UPDATES: f32 = 2e-4;
/// Set for the copy of this test binary that is killed: the folder it trains in.
const CHILD: &str = "BURN_VLM_TEST_SOURCES_OUT";

/// A recipe of one stage on `mixture.toml`, with `mixture` and `extra` keys of its own.
fn recipe(mixture: &str, extra: &str) -> Recipe {
    let text = format!(
        r#"
        stages = ["finetune"]
        [model]
        encoder = "siglip2"
        backbone = "backbone"
        scale_visual_embeds = true
        {extra}
        [stage.finetune]
        objective = "vlm"
        epochs = 1
        batch = 4
        log_every = 1
        checkpoint_every = 2
        keep_checkpoints = 100
        train = {{ multi_modal_projector = 1e-3, language_model = 5e-4 }}
        schedule = {{ warmup = 0.0 }}
        mixture = {{ file = "mixture.toml", {mixture} }}
        "#
    );
    Recipe::from_table(toml::from_str(&text).unwrap()).unwrap()
}

/// A mixture file of these sources, in the order of their names.
fn write_mixture(folder: &Path, sources: &[(&str, &SourceConfig)]) {
    let mut text = "seed = 3\n".to_owned();
    for (name, source) in sources {
        let path = Path::new(&source.path);
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => "llava_json",
            Some("jsonl") => "llava_jsonl",
            Some("parquet") => "parquet",
            Some("tar") => "webdataset",
            _ => "vlmevalkit_tsv",
        };
        let root = source.image_root.clone().unwrap_or_else(|| folder.to_owned());
        text += &format!(
            "[[source]]\nname = {name:?}\npath = {path:?}\nformat = {format:?}\nimage_root = {root:?}\nlanguage_column = \"language\"\n"
        );
    }
    fs::write(folder.join("mixture.toml"), text).unwrap();
}

fn run(recipe: &Recipe, base: &Path, out: &Path) -> Result<Trained, String> {
    run_on(0, recipe, base, out)
}

/// With so many devices besides the first.
fn run_on(more: usize, recipe: &Recipe, base: &Path, out: &Path) -> Result<Trained, String> {
    run_from(&Start::default(), more, recipe, base, out).0
}

/// The pictures that lie in files of their own below a folder, in the order of their paths.
fn picture_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("images")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { folders.push(entry) } else { found.push(entry) }
        }
    }
    found.sort();
    assert!(found.len() > 3, "{found:?}");
    found
}

/// What came of a run, and what it said.
fn run_from(start: &Start, more: usize, recipe: &Recipe, base: &Path, out: &Path) -> (Result<Trained, String>, String) {
    let device = choose(DeviceChoice::Auto).unwrap().device;
    let replicas = vec![device.clone().autodiff(); more];
    let context = Context { corpus: EmojiCorpus::embedded().unwrap(), device, workers: 2 };
    let parts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("parts");
    let reporter = Reporter::capture();
    let parts = match PartFolders::named(recipe, &parts) {
        Ok(parts) => parts,
        Err(error) => return (Err(error.to_string()), String::new()),
    };
    let run = TrainRun {
        context: &context,
        recipe,
        base,
        parts: &parts,
        features: &out.join("features"),
        replicas: &replicas,
        out,
        start,
        reporter: &reporter,
        observer: None,
    };
    let trained = train(&run).map_err(|error| error.to_string());
    (trained, reporter.captured().join("\n"))
}

fn losses(log: &[StepLog]) -> Vec<f32> {
    log.iter().map(|entry| entry.loss).collect()
}

fn train_on(mixture: &str, extra: &str, source: &SourceConfig) -> Vec<f32> {
    let (folder, recipe) = (temporary(), recipe(mixture, extra));
    write_mixture(&folder, &[("data", source)]);
    losses(&run(&recipe, &folder, &folder.join("out")).unwrap().stages[0].log)
}

fn near(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (step, (a, b)) in a.iter().zip(b).enumerate() {
        let tolerance = if step == 0 { ROUNDING } else { AFTER_UPDATES };
        assert!((a - b).abs() <= tolerance * a.abs(), "{what}, step {step}: {a} and {b}");
    }
}

/// One epoch on the same samples in every format: not one bit of the curve differs.
#[test]
fn every_format_gives_the_same_curve() {
    let (folder, items) = (temporary(), simple_items(32));
    let mut sources = write_all(&folder, &items);
    sources.push(("tsv".to_owned(), write_tsv(&folder, &items)));
    let curves: Vec<(String, Vec<f32>)> =
        sources.iter().map(|(name, source)| (name.clone(), train_on("", "", source))).collect();
    let first = &curves[0].1;
    assert_eq!(first.len(), 8);
    assert!(first[7] < first[0] && first.iter().all(|loss| *loss > 0.0), "{first:?}");
    for (name, curve) in &curves {
        assert_eq!(curve, first, "{name}");
    }
}

const GROUPED: &str = r#"batching = { strategy = "grouped", max_tokens = 200 }"#;
const PACKED: &str = r#"batching = { strategy = "packed", max_tokens = 200, multiple_of = 8 }"#;

/// Text alone, one picture, two pictures, several turns: laid out in their order, by length, or several a row.
#[test]
fn layouts_do_not_change_the_loss() {
    let folder = temporary();
    let source = write_json(&folder, &rich_items(32));
    let plain = train_on("", "", &source);
    near(&train_on(GROUPED, "", &source), &plain, "grouped");
    near(&train_on(PACKED, "", &source), &plain, "packed");
}

/// The same with pictures in tiles, of which a wide one has more.
#[test]
fn tiles_are_laid_out_like_the_rest() {
    let folder = temporary();
    let mut items = rich_items(16);
    for (number, item) in items.iter_mut().enumerate() {
        if number % 4 == 0 {
            item.pictures[0] = (format!("wide-{number}.png"), wide_picture(number));
        }
    }
    let source = write_json(&folder, &items);
    let tiling = r#"tiling = "64-8-2""#;
    let square = train_on("", tiling, &source);
    let plain = train_on(r#"pictures = "tiles""#, tiling, &source);
    assert!((plain[0] - square[0]).abs() > 1e-3, "tiles show the model something else: {plain:?} {square:?}");
    let budget = |strategy: &str| {
        format!(r#"pictures = "tiles", batching = {{ strategy = "{strategy}", max_tokens = 512, max_images = 3 }}"#)
    };
    near(&train_on(&budget("grouped"), tiling, &source), &plain, "grouped");
    near(&train_on(&budget("packed"), tiling, &source), &plain, "packed");
}

fn wide_picture(number: usize) -> Vec<u8> {
    let colour = |x: u32, y: u32| image::Rgb([(x * 2) as u8, (y * 3 + number as u32) as u8, (x ^ y) as u8]);
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(120, 50, colour).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Precision and memory keys of a recipe change how a step is computed, not what: block checkpointing and chunks of the tower to
/// the last bits, bf16 to its eight bits of mantissa.
#[test]
fn memory_keys_keep_the_loss() {
    const BF16: f32 = 2e-2;
    let folder = temporary();
    let source = write_json(&folder, &rich_items(16));
    let plain = train_on("", "", &source);
    let saved = train_on("", "[compute]\ngradient_checkpointing = true\nimages_per_chunk = 2", &source);
    near(&saved, &plain, "checkpointing and chunks");
    let half = train_on("", "[compute]\nprecision = \"bf16\"", &source);
    assert_ne!(half, plain);
    half.iter().zip(&plain).for_each(|(a, b)| assert!((a - b).abs() < BF16 * b, "bf16: {half:?} and {plain:?}"));
}

/// A step's micro-batches on two replicas, and on three of which some have no share: the loss of one device.
#[test]
fn several_devices_have_the_loss_of_one() {
    let folder = temporary();
    let source = write_json(&folder, &rich_items(32));
    write_mixture(&folder, &[("data", &source)]);
    for extra in ["", "[compute]\ngradient_checkpointing = true"] {
        let recipe = recipe(r#"batching = { strategy = "grouped", max_tokens = 180 }"#, extra);
        let curve = |more: usize| {
            let out = folder.join(format!("{more}-{}", extra.len()));
            losses(&run_on(more, &recipe, &folder, &out).unwrap().stages[0].log)
        };
        let one = curve(0);
        near(&curve(1), &one, "two devices");
        near(&curve(2), &one, "three devices");
    }
}

/// Two sources, one with records that cannot be used.
fn mixed_sources(folder: &Path) -> [SourceConfig; 2] {
    let items = simple_items(48);
    let mut broken: Vec<Item> = items[..24].to_vec();
    broken[5].pictures[0].1.truncate(100);
    broken[11].turns.truncate(1);
    [write_json(folder, &broken), write_parquet(folder, &items[24..], Types::Plain, 5)]
}

#[test]
fn what_cannot_be_used_is_listed_and_too_much_stops_the_run() {
    let folder = temporary();
    let [json, parquet] = mixed_sources(&folder);
    write_mixture(&folder, &[("json", &json), ("parquet", &parquet)]);
    let out = folder.join("out");
    let trained = run(&recipe("", ""), &folder, &out).unwrap();
    assert_eq!(trained.stages[0].log.len(), 12, "48 records are drawn, two of them others");
    let listed = fs::read_to_string(out.join("stages/1-finetune/skipped.jsonl")).unwrap();
    let reasons: BTreeSet<String> = listed
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["reason"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(reasons, ["no_answer".to_owned(), "unreadable_image".to_owned()].into());
    // stopped at the second: 1 % of 48 is less than one, and no more are let pass
    let strict = recipe("skip_limit = { fraction = 0.01, min_count = 1 }", "");
    let error = run(&strict, &folder, &folder.join("strict")).unwrap_err();
    for part in ["1.00 %", "unreadable_image", "no_answer", "skipped.jsonl", "2 records"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // a budget that a sample does not fit is a reason, too
    let narrow = recipe(r#"batching = { strategy = "grouped", max_tokens = 70 }"#, "");
    let error = run(&narrow, &folder, &folder.join("narrow")).unwrap_err();
    assert!(error.contains("batching.max_tokens"), "{error}");
}

#[test]
fn another_recipe_or_other_data_is_refused_in_the_same_folder() {
    let folder = temporary();
    let [json, parquet] = mixed_sources(&folder);
    write_mixture(&folder, &[("json", &json), ("parquet", &parquet)]);
    let (out, first) = (folder.join("out"), recipe("", ""));
    run(&first, &folder, &out).unwrap();
    let again = run(&first, &folder, &out).unwrap();
    assert_eq!(again.stages[0].log.len(), 12, "a finished run is not trained again");
    let error = run(&recipe(r#"mask = "towervision""#, ""), &folder, &out).unwrap_err();
    assert!(error.contains("another recipe") && error.contains("towervision"), "{error}");
    write_mixture(&folder, &[("json", &json)]);
    let error = run(&first, &folder, &out).unwrap_err();
    assert!(error.contains("data.json") && error.contains("groups became"), "{error}");
}

/// Files that were mended in place have as many records and bytes as before; what has been trained on them is no beginning of a run
/// on what is there now. Added data may join at the end, and then it is said.
#[test]
fn changed_contents_are_noticed_and_join_where_they_are_asked_to() {
    let folder = temporary();
    let [json, parquet] = mixed_sources(&folder);
    let both = || write_mixture(&folder, &[("json", &json), ("parquet", &parquet)]);
    both();
    let (out, first) = (folder.join("out"), recipe("", ""));
    run(&first, &folder, &out).unwrap();
    let file = PathBuf::from(&json.path);
    let there = fs::read(&file).unwrap();
    let at = there.windows(4).rposition(|word| word == b"this").unwrap();
    let refused = |words: &[&str]| {
        let error = run(&first, &folder, &out).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    // A letter of a question.
    let mut mended = there.clone();
    mended[at + 2] = b'u';
    fs::write(&file, &mended).unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    refused(&["data.json", &name, "other contents at the same size", "--extend"]);
    fs::write(&file, &there).unwrap();
    run(&first, &folder, &out).unwrap();
    // Other pictures under the same names: no beginning of this run, and none of one beside it.
    let beside = Start { reuse: Some(folder.clone()), ..Start::default() };
    let (taken, said) = run_from(&beside, 0, &first, &folder, &folder.join("beside"));
    assert!(taken.is_ok() && said.contains("taken from"), "{said}");
    let pictures = picture_files(&folder);
    let before: Vec<Vec<u8>> = pictures.iter().map(|picture| fs::read(picture).unwrap()).collect();
    for (picture, bytes) in pictures.iter().zip(before.iter().cycle().skip(1)) {
        fs::write(picture, bytes).unwrap();
    }
    refused(&["data.json", "pictures that the records name"]);
    let (other, said) = run_from(&beside, 0, &first, &folder, &folder.join("others"));
    assert!(other.is_ok() && !said.contains("taken from"), "{said}");
    for (picture, bytes) in pictures.iter().zip(&before) {
        fs::write(picture, bytes).unwrap();
    }
    run(&first, &folder, &out).unwrap();
    // The mixture: a comment is nothing, another rule for what is read is.
    let mixture = folder.join("mixture.toml");
    let text = fs::read_to_string(&mixture).unwrap();
    fs::write(&mixture, format!("# mine\n{text}")).unwrap();
    run(&first, &folder, &out).unwrap();
    fs::write(&mixture, text.replacen("language_column = \"language\"", "language = \"de\"", 1)).unwrap();
    refused(&["data.json"]);

    // More data: no beginning of the finished run, but what it may go on with.
    both();
    let more = folder.join("more");
    fs::create_dir(&more).unwrap();
    let more = write_json(&more, &simple_items(8));
    let three = [("json", &json), ("more", &more), ("parquet", &parquet)];
    write_mixture(&folder, &three);
    refused(&["data.json", "groups"]);
    let extend = Start { extend: true, ..Start::default() };
    let mut longer = recipe("", "");
    let (trained, said) = run_from(&extend, 0, &longer, &folder, &out);
    let steps = trained.unwrap().stages[0].log.len();
    assert_eq!(steps, 14, "an epoch of what is there now: two steps of four samples more");
    for words in [
        "extended from 12 to 14 steps",
        "source more is new: 8 records",
        "mixture.toml says something else",
        "a new order",
    ] {
        assert!(said.contains(words), "{said}");
    }
    // From now on this is the data of the run.
    assert_eq!(run(&longer, &folder, &out).unwrap().stages[0].log.len(), 14);
    longer.stage.get_mut("finetune").unwrap().epochs = Some(2.0);
    let (trained, said) = run_from(&extend, 0, &longer, &folder, &out);
    assert_eq!(trained.unwrap().stages[0].log.len(), 28);
    assert!(said.contains("extended from 14 to 28 steps") && !said.contains("has changed"), "{said}");
}

/// The child of the test below; does nothing when it is run by itself.
#[test]
fn child_trains() {
    if let Ok(out) = std::env::var(CHILD) {
        let out = PathBuf::from(out);
        run(&recipe(PACKED, ""), out.parent().unwrap(), &out).unwrap();
    }
}

#[test]
fn killed_in_the_middle_of_a_mixed_stream_equals_uninterrupted_bit_for_bit() {
    let folder = temporary();
    let [json, parquet] = mixed_sources(&folder);
    write_mixture(&folder, &[("json", &json), ("parquet", &parquet)]);
    let (whole, killed) = (folder.join("whole"), folder.join("killed"));
    run(&recipe(PACKED, ""), &folder, &whole).unwrap();

    let stage = Path::new("stages/1-finetune");
    kill_when(&mut test_alone("child_trains", CHILD, &killed), || killed.join(stage).join("step-00000004").exists());
    assert!(!killed.join("model").exists(), "killed too late to show anything");
    let trained = run(&recipe(PACKED, ""), &folder, &killed).unwrap();

    let read = |out: &Path, file: &str| fs::read(out.join(file)).unwrap();
    assert_eq!(read(&whole, "model/model.safetensors"), read(&killed, "model/model.safetensors"));
    // The card says nothing of machine, hour or interruption.
    let card = String::from_utf8(read(&whole, "model/README.md")).unwrap();
    assert_eq!(card.as_bytes(), read(&killed, "model/README.md"));
    for words in [
        "| Vision encoder | siglip2 |",
        "## Stage 1: finetune",
        "| source | samples | share |",
        "burn-vlm train recipe.toml",
    ] {
        assert!(card.contains(words), "{words}: {card}");
    }
    for file in ["data.json", "skipped.jsonl"] {
        let file = stage.join(file);
        assert_eq!(read(&whole, file.to_str().unwrap()), read(&killed, file.to_str().unwrap()), "{}", file.display());
    }
    let uninterrupted = run(&recipe(PACKED, ""), &folder, &whole).unwrap();
    assert_eq!(losses(&trained.stages[0].log), losses(&uninterrupted.stages[0].log));
}

/// A conversation that is cut before its answers has nothing to train: it is left out by name, and no step is divided by nothing.
#[test]
fn answers_that_are_cut_away_are_listed() {
    let folder = temporary();
    let mut items = simple_items(16);
    for item in items.iter_mut().step_by(2) {
        item.turns[0].text.push_str(&" and what is this?".repeat(8));
    }
    let source = write_json(&folder, &items);
    write_mixture(&folder, &[("data", &source)]);
    let mut recipe = recipe(r#"truncation = "count""#, "");
    recipe.stage.get_mut("finetune").unwrap().max_tokens = Some(90);
    let trained = run(&recipe, &folder, &folder.join("out")).unwrap();
    assert!(losses(&trained.stages[0].log).iter().all(|loss| loss.is_finite()));
    let listed = fs::read_to_string(folder.join("out/stages/1-finetune/skipped.jsonl")).unwrap();
    assert_eq!(listed.lines().count(), 8, "{listed}");
    assert!(listed.contains("none of its tokens is trained") && listed.contains("no_answer"), "{listed}");
}

/// What is wrong in the last stage is told before the first is trained; and mending it does not cost a stage that was trained.
#[test]
fn later_stages_are_checked_first_and_may_be_mended() {
    let folder = temporary();
    let source = write_json(&folder, &simple_items(16));
    write_mixture(&folder, &[("data", &source)]);
    let out = folder.join("out");
    let two = |train: &str, file: &str| {
        let mut two = recipe("", "");
        let mut second = two.stage["finetune"].clone();
        second.train = [(train.to_string(), 1e-4)].into();
        second.mixture.as_mut().unwrap().file = file.into();
        two.stages.push("second".into());
        two.stage.insert("second".into(), second);
        two
    };
    for (wrong, word) in
        [(two("langauge_model", "mixture.toml"), "langauge_model"), (two("language_model", "no.toml"), "no.toml")]
    {
        let error = run(&wrong, &folder, &out).unwrap_err();
        assert!(error.contains(word), "{error}");
        assert!(!out.join("stages/1-finetune/log.jsonl").exists(), "told before the first stage was trained");
    }
    let mut nameless = recipe("", "");
    nameless.model.encoder = "siglip3".into();
    assert!(
        run(&nameless, &folder, &out).unwrap_err().contains("siglip3"),
        "nothing is trained yet: any recipe may follow"
    );
    run(&recipe("", ""), &folder, &out).unwrap();
    let written =
        || fs::metadata(out.join("stages/1-finetune/step-00000004/state.safetensors")).unwrap().modified().unwrap();
    let first = written();
    let trained = run(&two("language_model", "mixture.toml"), &folder, &out).unwrap();
    assert_eq!(trained.stages.len(), 2);
    assert_eq!(written(), first, "the first stage was not trained again");
}

/// A stage on texts alone trains the language model, whose parameters are then called by their own names.
#[test]
fn a_text_stage_runs_between_the_others() {
    let folder = temporary();
    let source = write_json(&folder, &simple_items(16));
    write_mixture(&folder, &[("data", &source)]);
    let mut recipe = recipe("", "");
    let text = r#"
        objective = "text"
        steps = 2
        batch = 4
        log_every = 1
        train = { "model[.]layers" = 1e-4 }
        data = { languages = ["en"], tasks = { name = 1.0 } }
    "#;
    recipe.stages.insert(0, "text".into());
    recipe.stage.insert("text".into(), toml::from_str(text).unwrap());
    let trained = run(&recipe, &folder, &folder.join("out")).unwrap();
    assert_eq!(
        trained.stages.iter().map(|stage| (stage.name.as_str(), stage.log.len())).collect::<Vec<_>>(),
        [("text", 2), ("finetune", 4)]
    );
    recipe.stage.get_mut("text").unwrap().train = [("language_model".to_string(), 1e-4)].into();
    let error = run(&recipe, &folder, &folder.join("other")).unwrap_err();
    assert!(error.contains("language_model"), "{error}");
}

//! Validation while a recipe trains: held out, by language and source, drawn, resumed bit for bit, and what it decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::source::Source;
use burn_vlm_experiments::{DataArgs, run_data};
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::recipe::{Recipe, StageRecipe};
use burn_vlm_train::run::{DataOrigin, PartFolders, Start, TrainRun, Trained, open_stage_data, train};
use clap::Parser;
use safetensors::SafeTensors;

fn recipe(stage: &str) -> Recipe {
    let text = format!(
        r#"
        stages = ["finetune"]
        [model]
        encoder = "siglip2"
        backbone = "backbone"
        visual_tokens = {{ pool = 4, pooled_head = true, normalize = true }}
        scale_visual_embeds = true
        [stage.finetune]
        objective = "vlm"
        steps = 8
        batch = 8
        log_every = 2
        checkpoint_every = 2
        keep_checkpoints = 10
        eval_every = 2
        train = {{ multi_modal_projector = 1e-3, language_model = 5e-4 }}
        {stage}
        [tokenizer]
        vocab_size = 8192
        languages = ["en", "de"]
        "#
    );
    Recipe::from_table(toml::from_str(&text).unwrap()).unwrap()
}

const CORPUS: &str = r#"
    data = { languages = ["en", "de"], tasks = { caption = 0.5, yes_no = 0.5 }, views = 2 }
    validation = { share = "10%", samples = 24 }"#;

fn context() -> Context {
    Context { corpus: EmojiCorpus::embedded().unwrap(), device: Device::flex(), workers: 1 }
}

fn run(recipe: &Recipe, base: &Path, out: &Path) -> Result<(Trained, Vec<String>), String> {
    let parts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("parts");
    let reporter = Reporter::capture();
    let trained = train(&TrainRun {
        context: &context(),
        recipe,
        base,
        parts: &PartFolders::named(recipe, &parts).unwrap(),
        features: &base.join("features"),
        replicas: &[],
        out,
        start: &Start::default(),
        reporter: &reporter,
        observer: None,
    });
    trained.map(|trained| (trained, reporter.captured())).map_err(|error| error.to_string())
}

#[test]
fn held_out_losses_are_told_drawn_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(CORPUS);
    let (whole, resumed) = (folder.path().join("whole"), folder.path().join("resumed"));
    let (trained, said) = run(&recipe, folder.path(), &whole).unwrap();
    let validations = &trained.stages[0].validations;
    assert_eq!(validations.iter().map(|entry| entry.step).collect::<Vec<_>>(), [2, 4, 6, 8]);
    let first = &validations[0].validation;
    assert_eq!(first.samples, 24);
    assert_eq!(first.by_language.keys().collect::<Vec<_>>(), ["de", "en"]);
    let sources: Vec<&str> = first.by_source.keys().map(String::as_str).collect();
    assert_eq!(sources, ["caption/de", "caption/en", "yes_no/de", "yes_no/en"]);
    assert!(first.loss.is_finite() && validations[3].validation.loss < first.loss, "{validations:?}");
    let line = said.iter().find(|line| line.contains("validation") && line.contains("4/8")).expect("a line for people");
    assert!(line.contains("  en "), "{line}");
    let svg = fs::read_to_string(whole.join("loss.svg")).unwrap();
    assert!(svg.contains("finetune, validation") && svg.contains(">de<") && svg.contains(">en<"));

    // As after a kill between the last two checkpoints.
    run(&recipe, folder.path(), &resumed).unwrap();
    let stage = resumed.join("stages/1-finetune");
    for step in [6, 8] {
        fs::remove_dir_all(stage.join(format!("step-{step:08}"))).unwrap();
    }
    let (again, _) = run(&recipe, folder.path(), &resumed).unwrap();
    assert_eq!(again.stages[0].validations, *validations);
    for file in ["stages/1-finetune/validation.jsonl", "model/model.safetensors", "loss.svg"] {
        assert!(fs::read(whole.join(file)).unwrap() == fs::read(resumed.join(file)).unwrap(), "{file} differs");
    }
}

/// What is held out is not trained on, whatever the language or the task, in no stage of the run.
/// The training loss told apart is that of the same samples, whether each has a row or several share one.
#[test]
fn training_losses_are_told_apart_by_language_and_source() {
    /// Sums in another order, in f32.
    const ROUNDING: f32 = 1e-4;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("data").display().to_string();
    let line = ["data", "export", "--out", &out, "--format", "parquet", "--languages", "en,de", "--limit", "100"];
    run_data(&DataArgs::parse_from(line), &mut Vec::new()).unwrap();
    let first = |name: &str, batching: &str| {
        let mut recipe = recipe(&format!("mixture = {{ file = \"data/mixture.toml\", views = 1{batching} }}"));
        let stage = recipe.stage.get_mut("finetune").unwrap();
        (stage.steps, stage.batch, stage.log_every, stage.eval_every) = (1, 32, 1, 0);
        let (trained, _) = run(&recipe, folder.path(), &folder.path().join(name)).unwrap();
        trained.stages[0].log[0].clone()
    };
    let rows = first("rows", "");
    let packed = first("packed", ", batching = { strategy = \"packed\", max_tokens = 256 }");
    let tags = ["de", "en"].as_slice();
    for (losses, others, names) in
        [(&rows.by_language, &packed.by_language, tags), (&rows.by_source, &packed.by_source, &["caption", "yes_no"])]
    {
        assert_eq!(losses.keys().collect::<Vec<_>>(), names);
        for ((name, loss), (other_name, other)) in losses.iter().zip(others) {
            let near = (loss - other).abs() <= ROUNDING * loss;
            assert!(name == other_name && near, "{name} {loss}, {other_name} {other}");
        }
        // A mean lies among those of its parts.
        let (least, most) = losses.values().fold((f32::MAX, 0.0f32), |(a, b), loss| (a.min(*loss), b.max(*loss)));
        assert!(least < rows.loss && rows.loss < most, "{losses:?} {}", rows.loss);
    }
}

#[test]
fn what_is_held_out_is_not_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let (mut recipe, context) = (recipe(CORPUS), context());
    let align = StageRecipe { eval_every: 0, validation: None, ..recipe.stage["finetune"].clone() };
    recipe.stage.insert("align".into(), align);
    recipe.stages.insert(0, "align".into());
    let origin = DataOrigin::new(&context, &recipe, folder.path());
    let data = open_stage_data("finetune", &recipe.stage["finetune"], origin, folder.path(), 5).unwrap();
    let held_out = data.held_out.unwrap();
    let group = |source: &dyn Source, record: u64| source.get(record).unwrap().group.unwrap().to_string();
    let mut held = BTreeSet::new();
    for records in &held_out.groups {
        let source = &*held_out.sources[records.source];
        held.extend((0..records.records.len()).map(|rank| group(source, records.records.get(rank))));
    }
    let align = tempfile::tempdir().unwrap();
    let before = open_stage_data("align", &recipe.stage["align"], origin, align.path(), 4).unwrap();
    assert!(before.held_out.is_none());
    for mixed in [before.mixed, data.mixed] {
        let drawn: BTreeSet<String> = (0..mixed.epoch_len())
            .map(|position| {
                let drawn = mixed.get(position, |sample| Ok(sample.group.clone().unwrap().to_string()));
                drawn.unwrap().item
            })
            .collect();
        assert!(held.len() >= 4 && drawn.len() > 300, "{} held, {} drawn", held.len(), drawn.len());
        assert!(held.is_disjoint(&drawn), "{:?}", held.intersection(&drawn).collect::<Vec<_>>());
    }
}

/// The model's tensors in a checkpoint, without the optimizer's.
fn weights(checkpoint: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(checkpoint.join("state.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let model = tensors.into_iter().filter(|(name, _)| !name.starts_with("exp_avg"));
    let model: BTreeMap<_, _> = model.map(|(name, view)| (name, view.data().to_vec())).collect();
    assert!(!model.is_empty());
    model
}

#[test]
fn training_stops_early_and_keeps_the_best_weights() {
    let folder = tempfile::tempdir().unwrap();
    // A rate that wrecks the model: an early validation is the best.
    let stage = CORPUS.replace("samples = 24", "samples = 24, early_stop = 2, keep_best = true");
    let mut recipe = recipe(&stage);
    let finetune = recipe.stage.get_mut("finetune").unwrap();
    finetune.train = [("multi_modal_projector".to_owned(), 0.3), ("language_model".to_owned(), 0.3)].into();
    finetune.schedule.warmup = 0.0;
    finetune.steps = 16;
    let out = folder.path().join("out");
    let (trained, said) = run(&recipe, folder.path(), &out).unwrap();
    let validations = &trained.stages[0].validations;
    let best = validations.iter().rfind(|entry| entry.best).unwrap();
    assert_eq!(
        validations.last().unwrap().step,
        best.step + 4,
        "two validations without a better one: {validations:?}"
    );
    assert!(best.step + 4 < 16, "the rate is meant to wreck the model soon: {validations:?}");
    assert!(said.iter().any(|line| line.contains("stopped early")), "{said:?}");
    assert!(said.iter().any(|line| line.contains(&format!("kept the weights of step {}", best.step))), "{said:?}");
    // What was kept is what the checkpoint of that step has, and not what the run ended with.
    let stage = out.join("stages/1-finetune");
    assert_eq!(weights(&stage.join("best")), weights(&stage.join(format!("step-{:08}", best.step))));
    let kept = fs::read(out.join("model/model.safetensors")).unwrap();
    let last = folder.path().join("last");
    recipe.stage.get_mut("finetune").unwrap().validation.as_mut().unwrap().keep_best = false;
    let (without, _) = run(&recipe, folder.path(), &last).unwrap();
    assert_eq!(without.stages[0].validations, *validations);
    // What is said last is the loss of the weights that were kept.
    assert_eq!(
        (trained.stages[0].validated.as_ref(), without.stages[0].validated.as_ref()),
        (Some(best), validations.last())
    );
    assert!(kept != fs::read(last.join("model/model.safetensors")).unwrap());
    recipe.stage.get_mut("finetune").unwrap().validation.as_mut().unwrap().keep_best = true;
    let (again, said) = run(&recipe, folder.path(), &out).unwrap();
    assert_eq!(again.stages[0].validations, *validations, "a finished run is not trained again");
    assert!(said.iter().any(|line| line.contains("kept the weights")), "{said:?}");
    assert!(kept == fs::read(out.join("model/model.safetensors")).unwrap());
}

/// A user's own files: a share of them, and a file of their own; each with its sources and languages.
#[test]
fn own_data_is_held_out_too() {
    let folder = tempfile::tempdir().unwrap();
    let export = |name: &str, seed: &str| {
        let out = folder.path().join(name).display().to_string();
        let line = ["data", "export", "--out", &out, "--format", "json", "--languages", "en,de"];
        let args = DataArgs::parse_from(line.iter().chain(&["--limit", "200", "--seed", seed]));
        run_data(&args, &mut Vec::new()).unwrap();
    };
    export("train", "1");
    export("val", "2");
    let mixture = r#"mixture = { file = "train/mixture.toml", views = 1 }"#;
    for (number, validation) in
        [r#"{ share = "20%", samples = 16 }"#, r#"{ file = "val/mixture.toml", samples = 16 }"#].iter().enumerate()
    {
        let recipe = recipe(&format!("{mixture}\nvalidation = {validation}"));
        let (trained, said) = run(&recipe, folder.path(), &folder.path().join(format!("out{number}"))).unwrap();
        let entry = &trained.stages[0].validations[0].validation;
        assert_eq!((entry.samples, entry.left_out), (16, 0));
        assert_eq!(entry.by_language.keys().collect::<Vec<_>>(), ["de", "en"]);
        assert_eq!(entry.by_source.keys().collect::<Vec<_>>(), ["caption", "yes_no"]);
        assert!(said.iter().any(|line| line.contains("validated on 16 held-out samples")), "{said:?}");
    }
    // A file is what an epoch of it would draw: its languages, its total.
    let val = fs::read_to_string(folder.path().join("val/mixture.toml")).unwrap();
    fs::write(folder.path().join("val/few.toml"), format!("total = 10\nlanguages = {{ list = [\"de\"] }}\n{val}"))
        .unwrap();
    let few = recipe(&format!("{mixture}\nvalidation = {{ file = \"val/few.toml\", samples = 16 }}"));
    let (trained, _) = run(&few, folder.path(), &folder.path().join("few")).unwrap();
    let entry = &trained.stages[0].validations[0].validation;
    assert_eq!(entry.samples, 10);
    assert_eq!(entry.by_language.keys().collect::<Vec<_>>(), ["de"]);
    let nothing = recipe(&format!("{mixture}\nvalidation = {{ share = \"0%\" }}"));
    let error = run(&nothing, folder.path(), &folder.path().join("nothing")).unwrap_err();
    assert!(error.contains("[stage.finetune.validation]") && error.contains("raise `share`"), "{error}");
}

/// The features of a frozen tower give the losses that its pixels give, for a user's own files too, within rounding.
#[test]
fn kept_features_change_no_loss() {
    /// Sums over another batch of pictures, in f32: parts in a hundred thousand.
    const ROUNDING: f32 = 1e-4;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("data").display().to_string();
    let line = ["data", "export", "--out", &out, "--format", "parquet", "--languages", "en", "--limit", "100"];
    run_data(&DataArgs::parse_from(line), &mut Vec::new()).unwrap();
    let losses = |views: &str, name: &str| -> (Vec<f32>, Vec<String>) {
        let stage = format!("mixture = {{ file = \"data/mixture.toml\"{views} }}");
        let recipe = Recipe { stages: vec!["finetune".into()], ..recipe(&stage) };
        let (trained, said) = run(&recipe, folder.path(), &folder.path().join(name)).unwrap();
        (trained.stages[0].log.iter().map(|entry| entry.loss).collect(), said)
    };
    let (pixels, _) = losses("", "pixels");
    let (features, said) = losses(", views = 1", "features");
    assert!(said.iter().any(|line| line.contains("features of")), "{said:?}");
    let (refused, said) = losses(", views = 1, feature_megabytes = 0", "refused");
    assert!(said.iter().any(|line| line.contains("feature_megabytes = 0")), "{said:?}");
    assert_eq!(refused, pixels);
    for (a, b) in pixels.iter().zip(&features) {
        assert!((a - b).abs() < ROUNDING * a, "{pixels:?} {features:?}");
    }
}

//! The Parrot studies: their files, the two stages, a kill inside stage 2, and your own connector.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use burn_vlm::connector::TextScope;
use burn_vlm::vlm::Vlm;
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::Language;
use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::tasks::Task;
use burn_vlm_data::tasks::prompts;
use burn_vlm_experiments::{BuiltIn, PARROT, StudyArgs, execute, parse};
use burn_vlm_train::ablation::PatchRules;
use burn_vlm_train::assemble::{Assembled, assemble};
use burn_vlm_train::eval::Prediction;
use burn_vlm_train::objective::routing_text;
use burn_vlm_train::params::PathStack;
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::recipe::{EvaluationRecipe, Recipe, StageRecipe};
use burn_vlm_train::run::{DataOrigin, stage_objective};
use burn_vlm_train::trainer::{StageRun, train_stage};
use clap::Parser;
use common::{kill_when, test_alone};

/// Set for the copy of this test binary that is killed: the folder it runs the cell in.
const CHILD: &str = "BURN_VLM_TEST_PARROT_OUT";
const CELL: &str = "parrot_code/few";
/// Nats a token. The same row runs beside others, so that sums of f32 are taken in other blocks.
const SAME_LIKELIHOOD: f64 = 1e-4;

/// The smoke preset with a stage 2 long enough to be killed in.
fn long() -> BuiltIn {
    let from = "finetune = { steps = 8, log_every = 2, checkpoint_every = 4, data = { views = 1 } }";
    assert!(PARROT[0].text.contains(from), "the study's smoke preset has changed");
    let text = PARROT[0].text.replacen(from, &from.replace("steps = 8", "steps = 32"), 1);
    BuiltIn { text: text.leak(), ..PARROT[0] }
}

fn args(out: &Path) -> StudyArgs {
    let out = out.to_string_lossy();
    StudyArgs::parse_from([
        "ablate_parrot",
        "--preset",
        "smoke",
        "--quiet",
        "--jobs",
        "1",
        "--only",
        CELL,
        "--out",
        &out,
    ])
}

fn recipe(cell: &str) -> Recipe {
    let plan = parse(&PARROT[0]).unwrap().plan("tiny", None, &PatchRules::new()).unwrap();
    let cell = plan.cells.iter().find(|found| found.setting == cell).unwrap();
    Recipe::from_table(cell.recipe.clone()).unwrap()
}

#[test]
fn every_study_plans_and_its_recipes_are_valid() {
    let cells =
        [("connector", 9), ("languages", 10), ("scale", 8), ("encoder", 4), ("monolingual", 7), ("translate", 6)];
    assert_eq!(PARROT.len(), cells.len());
    for (study, (name, count)) in PARROT.iter().zip(cells) {
        assert_eq!(study.name, name);
        for preset in ["smoke", "tiny", "paper"] {
            let plan = parse(study).unwrap().plan(preset, None, &PatchRules::new()).unwrap();
            let cells = match (name, preset) {
                // Without the third setting of the data, and without the languages alone.
                ("connector" | "languages", "paper") => 6,
                _ => count,
            };
            assert_eq!(plan.cells.len(), cells, "{name} {preset}");
            for cell in plan.cells {
                Recipe::from_table(cell.recipe.clone()).unwrap_or_else(|e| panic!("{preset} {}: {e}", cell.name));
                EvaluationRecipe::from_table(cell.evaluation.clone()).unwrap();
            }
            for row in plan.study.papers.iter().flat_map(|paper| &paper.rows) {
                assert!(plan.study.settings().contains(row.cell.as_ref().unwrap()), "{name}: {:?}", row.cell);
            }
        }
    }
}

/// The recipe at real scale against the published numbers (paper, Table 13; scripts of the code).
#[test]
fn the_published_recipe() {
    let recipe = Recipe::from_table(toml::from_str(include_str!("../recipes/parrot.toml")).unwrap()).unwrap();
    let stages: Vec<&StageRecipe> = recipe.stages.iter().map(|name| &recipe.stage[name]).collect();
    let of = |stage: &StageRecipe| {
        (stage.batch * stage.accumulate, stage.max_tokens, stage.schedule.warmup, stage.optimizer.weight_decay)
    };
    assert_eq!(of(stages[0]), (256, Some(2048), 0.03, 0.0));
    assert_eq!(of(stages[1]), (128, Some(2048), 0.03, 0.0));
    assert!(stages[0].bypass_experts && !stages[1].bypass_experts);
    assert_eq!(stages[0].train.values().copied().collect::<Vec<_>>(), [1e-3]);
    assert_eq!(stages[1].train.values().copied().collect::<Vec<_>>(), [2e-5, 2e-5]);
    let connector = recipe.model.connector;
    assert_eq!(
        connector,
        burn_vlm::connector::ConnectorConfig::Parrot(Default::default()),
        "the defaults are the code's"
    );
    // One epoch of 1.2M and 793k samples.
    let samples = |name: &str| -> u64 {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/data").join(name);
        let sources = MixtureConfig::from_file(file).unwrap().sources;
        sources.iter().map(|source| source.samples.unwrap()).sum()
    };
    assert!(stages.iter().all(|stage| stage.epochs == Some(1.0)));
    assert!(samples("parrot-pretrain.toml").abs_diff(1_215_000) < 1_000);
    assert!(samples("parrot-finetune.toml").abs_diff(793_000) < 500);
}

/// Asked through English: the same model, other questions in every language but English.
#[test]
fn questions_are_asked_through_english() {
    let folder = tempfile::tempdir().unwrap();
    let study = PARROT.iter().find(|study| study.name == "translate").unwrap();
    let args = |out: &Path, more: &[&str]| {
        let out = out.to_string_lossy().into_owned();
        let given = ["ablate_parrot", "--preset", "smoke", "--quiet", "--jobs", "1", "--out", &out];
        StudyArgs::parse_from(given.iter().chain(more))
    };
    let both = folder.path().join("both");
    execute(study, &args(&both, &["--only", "llava/*"])).unwrap();
    let cell = |out: &Path, asked: &str| out.join("cells/llava").join(asked).join("seed0");
    let predictions = |out: &Path, asked: &str| -> Vec<Prediction> {
        let text = std::fs::read_to_string(cell(out, asked).join("predictions.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let read = |asked: &str| std::fs::read(cell(&both, asked).join("model/model.safetensors")).unwrap();
    assert!(read("direct") == read("english"), "one model");
    let (direct, english) = (predictions(&both, "direct"), predictions(&both, "english"));
    assert_eq!(direct.len(), english.len());
    let question = prompts(Language::EN).what_is_this;
    let mut changed = 0;
    for (a, b) in direct.iter().zip(&english) {
        assert_eq!((&a.id, &a.options, &a.references), (&b.id, &b.options, &b.references));
        if a.language.as_deref() == Some("en") {
            assert_eq!((&a.scores, &a.text, &a.asked), (&b.scores, &b.text, &None), "English needs no translation");
            let values =
                |one: &Prediction| one.option_scores.iter().flat_map(|s| s.values.clone()).collect::<Vec<f64>>();
            let apart = values(a).iter().zip(values(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart < SAME_LIKELIHOOD, "{}: {apart}", a.id);
            continue;
        }
        let asked = b.asked.as_deref().unwrap();
        assert!(a.asked.is_none());
        let about_a_name = asked.starts_with("Is this “");
        assert!(asked.starts_with(question) || about_a_name, "{asked}");
        changed += usize::from(a.option_scores != b.option_scores);
    }
    assert!(changed > 0);
    // The translations are what the next cell takes, and the same when they are made anew.
    let stored = std::fs::read_dir(both.join("shared")).unwrap();
    let stored =
        stored.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("translations"));
    // Options and names; captions.
    assert_eq!(stored.count(), 2 + usize::from(english.iter().any(|one| one.benchmark == "yes_no")));
    let alone = folder.path().join("alone");
    execute(study, &args(&alone, &["--only", "llava/english"])).unwrap();
    assert_eq!(predictions(&alone, "english"), english);
}

/// The child of the test below; does nothing when it is run by itself.
#[test]
fn child_runs_the_cell() {
    if let Ok(out) = std::env::var(CHILD) {
        execute(&long(), &args(Path::new(&out))).unwrap();
    }
}

#[test]
fn killed_in_stage_2_equals_uninterrupted_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    execute(&long(), &args(&whole)).unwrap();
    let cell = |out: &Path| out.join("cells").join(CELL).join("seed0");

    // the first checkpoint inside stage 2: 4 of 32 steps
    let checkpoint = cell(&killed).join("stages/2-finetune/step-00000004");
    kill_when(&mut test_alone("child_runs_the_cell", CHILD, &killed), || checkpoint.is_dir());
    assert!(!cell(&killed).join("done.json").exists(), "the cell was finished before it could be killed");

    execute(&long(), &args(&killed)).unwrap();
    for name in ["model/model.safetensors", "predictions.jsonl", "analysis.json"] {
        let read = |out: &Path| std::fs::read(cell(out).join(name)).unwrap();
        assert!(read(&whole) == read(&killed), "{name} differs");
    }
    let losses = |out: &Path| -> Vec<f32> {
        let log = burn_vlm_train::log::read(&cell(out).join("stages/2-finetune/log.jsonl")).unwrap();
        log.iter().map(|entry| entry.loss).collect()
    };
    assert_eq!(losses(&whole), losses(&killed));
    assert_eq!(losses(&whole).len(), 16);
}

fn context() -> Context {
    Context { corpus: EmojiCorpus::embedded().unwrap(), device: Device::flex(), workers: 1 }
}

fn assembled(recipe: &Recipe, device: &Device) -> Assembled {
    let parts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("parts");
    let (encoder, backbone) = (parts.join(&recipe.model.encoder), parts.join(&recipe.model.backbone));
    assemble(&recipe.model, &encoder, &backbone, 1, device).unwrap()
}

/// Trains two steps of a stage; which parameters have changed, by path.
fn train(recipe: &Recipe, stage: &str, folder: &Path) -> Vec<(String, bool)> {
    let context = context();
    let device = context.device.clone().autodiff();
    let stage = StageRecipe { steps: 2, batch: 8, log_every: 1, checkpoint_every: 0, ..recipe.stage[stage].clone() };
    let parts = assembled(recipe, &device);
    let origin = DataOrigin::new(&context, recipe, Path::new(""));
    let (stage, objective) = stage_objective(("stage", &stage), origin, &parts, folder, 3).unwrap();
    let model = parts.model.clone().with_bypassed_experts(stage.bypass_experts);
    let run = StageRun {
        name: "stage",
        recipe: &stage,
        folder,
        fingerprint: "test",
        device: &device,
        replicas: &[],
        workers: 1,
        reporter: &Reporter::capture(),
        observer: None,
    };
    let (trained, _) = train_stage(&run, objective, model).unwrap();
    values(&parts.model)
        .into_iter()
        .zip(values(&trained))
        .map(|((path, before), (other, after))| {
            assert_eq!(path, other);
            (path, before != after)
        })
        .collect()
}

/// Every float parameter with its path.
fn values(model: &Vlm) -> Vec<(String, Vec<f32>)> {
    #[derive(Default)]
    struct Values {
        stack: PathStack,
        found: Vec<(String, Vec<f32>)>,
    }
    impl ModuleVisitor for Values {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.stack.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.stack.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push((self.stack.path(), param.val().into_data().iter().collect()));
        }
    }
    let mut visitor = Values::default();
    model.visit(&mut visitor);
    visitor.found
}

/// Stage 1 trains the projector alone and leaves the experts as they were drawn; stage 2 trains all but the tower.
#[test]
fn stage_1_trains_the_projector_and_stage_2_the_experts_too() {
    let recipe = recipe("parrot_code/balanced");
    let folder = tempfile::tempdir().unwrap();
    for (path, changed) in train(&recipe, "align", &folder.path().join("1")) {
        assert_eq!(changed, path.starts_with("multi_modal_projector.projector"), "stage 1: {path}");
    }
    let of_stage_2 = train(&recipe, "finetune", &folder.path().join("2"));
    for (path, changed) in &of_stage_2 {
        assert_eq!(*changed, !path.starts_with("vision_tower"), "stage 2: {path}");
    }
    assert!(of_stage_2.iter().any(|(path, _)| path.contains("experts.5.down_proj")));
    assert!(of_stage_2.iter().any(|(path, _)| path.contains("router.gate")));
}

/// The other scopes of the words that route train too, and by the user's words alone: no header, no answer.
#[test]
fn every_text_scope_trains() {
    let folder = tempfile::tempdir().unwrap();
    for (number, scope) in [TextScope::FirstUserTurn, TextScope::AllUserTurns].into_iter().enumerate() {
        let mut recipe = recipe("parrot_paper/balanced");
        if let burn_vlm::connector::ConnectorConfig::Parrot(parrot) = &mut recipe.model.connector {
            parrot.text_scope = scope;
        }
        let changed = train(&recipe, "finetune", &folder.path().join(number.to_string()));
        assert!(changed.iter().any(|(path, changed)| *changed && path.contains("router.gate")), "{scope:?}");
        let routed = routed_words(&recipe);
        let questions: BTreeSet<String> =
            recipe.tokenizer.languages.iter().map(|language| prompts(*language).what_is_this.to_string()).collect();
        assert!(routed.len() > 3 && routed.is_subset(&questions), "{scope:?}: {routed:?} {questions:?}");
    }
}

/// The words that route the pictures of a batch of captions, as text.
fn routed_words(recipe: &Recipe) -> BTreeSet<String> {
    let (context, device) = (context(), Device::flex().autodiff());
    let mut stage = recipe.stage["finetune"].clone();
    stage.batch = 32;
    stage.data.tasks = [(Task::Caption, 1.0)].into();
    let parts = assembled(recipe, &device);
    let folder = tempfile::tempdir().unwrap();
    let origin = DataOrigin::new(&context, recipe, Path::new(""));
    let (_, objective) = stage_objective(("finetune", &stage), origin, &parts, folder.path(), 3).unwrap();
    let samples = objective.samples();
    let batch: Vec<_> = (0..32).map(|index| samples.sample(index).unwrap()).collect();
    let text = samples.layout.rows(&batch).text;
    let mask = routing_text(&parts.model.multi_modal_projector, &text, &device).unwrap().unwrap();
    let mask: Vec<bool> = mask.into_data().iter::<bool>().collect();
    let image = i64::from(parts.tokenizer.image_id().unwrap());
    let words = |(ids, mask): (&[i64], &[bool])| {
        let shown = ids.iter().zip(mask).filter(|(id, routes)| **routes && **id != image);
        let ids: Vec<u32> = shown.map(|(id, _)| *id as u32).collect();
        parts.tokenizer.decode(&ids, false).unwrap().trim().to_string()
    };
    text.ids.chunks(text.tokens).zip(mask.chunks(text.tokens)).map(words).collect()
}

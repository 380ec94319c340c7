//! The published recipes and their data against what papers and training code say.

use std::path::{Path, PathBuf};

use burn_vlm::nn::Precision;
use burn_vlm::vlm::{FeatureLayer, SelectStrategy};
use burn_vlm_data::encode::{MaskStyle, Truncation};
use burn_vlm_data::language::Language;
use burn_vlm_data::mixture::{LanguageCounts, MixtureConfig, Plan, visionblocks};
use burn_vlm_data::plain::PromptTemplate;
use burn_vlm_data::video::Sampling;
use burn_vlm_train::optim::ScheduleKind;
use burn_vlm_train::recipe::{PictureView, Recipe, StageRecipe, read_recipe};

/// LLaVA-1.5's captions and conversations.
const LLAVA: [u64; 2] = [558_128, 665_298];
/// Table 8 without the two rows of videos: 6,351,515 - 697,618 - 697,617.
const VISIONBLOCKS_WITHOUT_VIDEOS: u64 = 4_956_280;
/// Those two rows: in English, and translated.
const VISIONBLOCKS_VIDEOS: [u64; 2] = [697_618, 697_617];
/// PixMo-Cap in English, and what was translated of it (section 4, Table 8).
const PIXMO_CAP: [u64; 2] = [702_205, 367_779];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes")
}

fn recipe(name: &str) -> Recipe {
    read_recipe(&folder().join(name), &[]).unwrap()
}

fn stages(recipe: &Recipe) -> [&StageRecipe; 2] {
    assert_eq!(recipe.stages, ["align", "finetune"]);
    [&recipe.stage["align"], &recipe.stage["finetune"]]
}

/// The text of a mixture file.
fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join("data").join(name)).unwrap()
}

fn mixture(text: &str) -> MixtureConfig {
    MixtureConfig::from_toml(text, Path::new("data/mixture.toml")).unwrap()
}

/// Samples of an epoch by what the file declares.
fn declared(stage: &StageRecipe) -> u64 {
    let file = folder().join(&stage.mixture.as_ref().unwrap().file);
    let config = MixtureConfig::from_file(file).unwrap();
    Plan::new(&config, &config.declared_counts().unwrap()).unwrap().len()
}

#[test]
fn every_recipe_is_valid() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            read_recipe(&path, &[]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}

/// The training code's option, and nothing else that differs from the recipe without it.
#[test]
fn towervision_with_adapters() {
    let (mut with, without) = (recipe("towervision-2b-lora.toml"), recipe("towervision-2b.toml"));
    let stage = with.stage.get_mut("finetune").unwrap();
    let lora = stage.lora.take().unwrap();
    assert_eq!((lora.r, lora.alpha, lora.dropout), (64, 16.0, 0.05));
    assert!(!lora.rslora && !lora.dora && lora.targets == ["language_model"]);
    let rates: Vec<&String> = stage.train.keys().collect();
    assert_eq!(rates, ["language_model", "multi_modal_projector"]);
    let full = &without.stage["finetune"].train;
    assert!(stage.train.iter().all(|(pattern, rate)| full[pattern] == *rate));
    stage.train = full.clone();
    assert_eq!(with, without);
}

/// Sections 2.2 and A.3, and the recipe of the training code.
#[test]
fn towervision() {
    for (name, backbone) in [("towervision-2b.toml", "Tower-Plus-2B"), ("towervision-9b.toml", "Tower-Plus-9B")] {
        let recipe = recipe(name);
        let model = &recipe.model;
        assert_eq!((model.encoder.as_str(), model.backbone.as_str()), ("siglip2-so400m-patch14-384", backbone));
        assert_eq!(model.vision_feature_layer, FeatureLayer::One(-2), "26 of 27 layers");
        assert_eq!((model.tiling.as_deref(), model.scale_visual_embeds), (Some("384-14-6"), true));
        assert_eq!((recipe.compute.precision, recipe.compute.gradient_checkpointing), (Precision::Bf16, true));
        let [align, finetune] = stages(&recipe);
        assert_eq!((align.samples_per_step(), finetune.samples_per_step()), (256, 128));
        for stage in [align, finetune] {
            assert_eq!((stage.epochs, stage.max_tokens), (Some(1.0), Some(8192)));
            assert_eq!((stage.schedule.kind, stage.schedule.warmup), (ScheduleKind::Cosine, 0.05));
            assert_eq!((stage.optimizer.weight_decay, stage.optimizer.clip), (0.0, 1.0));
        }
        assert_eq!(align.train, [("multi_modal_projector".to_string(), 1e-3)].into());
        let rates = [("vision_tower", 2e-6), ("multi_modal_projector", 1e-5), ("image_newline", 1e-5)];
        let rates = rates.into_iter().chain([("language_model", 1e-5)]);
        assert_eq!(finetune.train, rates.map(|(part, rate)| (part.to_string(), rate)).collect());
        let [first, second] = [align, finetune].map(|stage| stage.mixture.as_ref().unwrap());
        assert_eq!((first.template, first.pictures), (PromptTemplate::Plain, PictureView::Square));
        assert_eq!((second.template, second.pictures), (PromptTemplate::Chat, PictureView::Tiles));
        assert_eq!((second.mask, second.truncation), (MaskStyle::Towervision, Truncation::Count));
        assert_eq!((declared(align), declared(finetune)), (PIXMO_CAP[0], VISIONBLOCKS_WITHOUT_VIDEOS));
        assert_eq!(align.steps_over("align", declared(align)).unwrap(), 2_742);
        // about 38,400 by the table's total, which is smaller than its rows
        assert_eq!(finetune.steps_over("finetune", declared(finetune)).unwrap(), 38_720);
    }
}

/// Section 2.2's third stage: what its checkpoints say of frames, the second stage's batch and rates.
#[test]
fn towervideo() {
    for size in ["2b", "9b"] {
        let (video, pictures) =
            (recipe(&format!("towervideo-{size}.toml")), recipe(&format!("towervision-{size}.toml")));
        assert_eq!(video.model.from, Some(format!("TowerVision-{}", size.to_uppercase())));
        let shown = video.video.as_ref().unwrap();
        assert!(shown.extend_model && shown.sampling == Sampling::Linspace { frames: 32 } && !shown.time_instruction);
        let (stage, [_, finetune]) = (&video.stage["video"], stages(&pictures));
        assert_eq!((video.stages.len(), declared(stage)), (1, VISIONBLOCKS_VIDEOS.iter().sum()));
        assert_eq!(stage.samples_per_step(), finetune.samples_per_step());
        assert_eq!((&stage.train, stage.max_tokens), (&finetune.train, finetune.max_tokens));
    }
}

/// The table of hyperparameters in "Improved Baselines with Visual Instruction Tuning", and scripts/v1_5.
#[test]
fn llava() {
    let recipe = recipe("llava-1.5-7b.toml");
    let model = &recipe.model;
    assert_eq!((model.encoder.as_str(), model.backbone.as_str()), ("clip-vit-large-patch14-336", "vicuna-7b-v1.5"));
    assert_eq!(model.vision_feature_layer, FeatureLayer::One(-2));
    assert_eq!(model.vision_feature_select_strategy, Some(SelectStrategy::Default));
    assert_eq!((&model.tiling, model.scale_visual_embeds), (&None, false));
    let [align, finetune] = stages(&recipe);
    assert_eq!((align.samples_per_step(), finetune.samples_per_step()), (256, 128));
    for stage in [align, finetune] {
        assert_eq!((stage.epochs, stage.max_tokens), (Some(1.0), Some(2048)));
        assert_eq!((stage.schedule.kind, stage.schedule.warmup), (ScheduleKind::Cosine, 0.03));
        assert_eq!((stage.optimizer.weight_decay, stage.optimizer.clip), (0.0, 1.0));
    }
    assert_eq!(align.train, [("multi_modal_projector".to_string(), 1e-3)].into());
    let rates = ["language_model", "multi_modal_projector"].map(|part| (part.to_string(), 2e-5));
    assert_eq!(finetune.train, rates.into());
    let [first, second] = [align, finetune].map(|stage| stage.mixture.as_ref().unwrap());
    assert_eq!((first.template, first.pictures), (PromptTemplate::Plain, PictureView::Square));
    assert_eq!((second.mask, second.pictures), (MaskStyle::AnswersOnly, PictureView::Pad));
    assert_eq!([declared(align), declared(finetune)], LLAVA);
    // 2,181 and 5,198 in the authors' logs, whose last step is not full
    assert_eq!(align.steps_over("align", LLAVA[0]).unwrap(), 2_180);
    assert_eq!(finetune.steps_over("finetune", LLAVA[1]).unwrap(), 5_197);
}

#[test]
fn visionblocks_is_table_8_without_videos() {
    let ours = mixture(&text("visionblocks.toml"));
    let table = visionblocks("data").unwrap();
    assert_eq!(ours.sources, table.sources, "the file beside the recipes has other sources than the library's");
    assert_eq!(ours.exclude_tags, ["video"]);
}

/// The source that the paper's -OCR rows need is the user's; the rest is as it was.
#[test]
fn visionblocks_with_ocr_has_one_source_more() {
    let mut with = mixture(&text("visionblocks-ocr.toml"));
    let own = with.sources.pop().unwrap();
    assert_eq!(with.sources, mixture(&text("visionblocks.toml")).sources);
    assert_eq!((own.name.as_str(), &own.tags[..]), ("OCR", &["ocr".to_owned()][..]));
    assert_eq!(with.exclude_tags, ["video"]);
}

/// The sources' counts by language, had the translations been spread evenly ("uniformly translated", section 4).
fn counts(config: &MixtureConfig) -> Vec<LanguageCounts> {
    let set = burn_vlm_data::language::TOWERVISION_20.languages;
    let others: Vec<Language> = set.iter().copied().filter(|language| *language != Language::EN).collect();
    let translated = others.iter().map(|language| (Some(*language), PIXMO_CAP[1] / others.len() as u64));
    let mut counts = config.declared_counts().unwrap();
    counts[1] = translated.collect();
    counts
}

/// English alone, English and multilingual, ten languages, twenty: a line each, and the same number of samples.
#[test]
fn comparisons_are_one_line() {
    let file = text("pixmo-cap.toml");
    let line = "include_tags = [\"english\"]\n";
    assert_eq!(file.matches(&format!("\n{line}")).count(), 1);
    let plan = |lines: &str| {
        for written in lines.lines().filter(|line| !line.is_empty()) {
            assert!(file.contains(written), "the file's comments have no `{written}`");
        }
        let config = mixture(&file.replacen(&format!("\n{line}"), &format!("\n{lines}\n"), 1));
        let plan = Plan::new(&config, &counts(&config)).unwrap();
        let by_language = plan.by_language();
        let english = by_language.get(&Some(Language::EN)).copied().unwrap_or_default();
        (plan.len(), by_language.len(), english)
    };
    assert_eq!(plan(line), (PIXMO_CAP[0], 1, PIXMO_CAP[0]));
    // 367,779 do not divide by 19: the stand-in for their languages has three fewer
    let spread = PIXMO_CAP[1] / 19 * 19;
    assert_eq!(plan("include_tags = [\"english\", \"translated\"]"), (PIXMO_CAP[0] + spread, 20, PIXMO_CAP[0]));
    let total = "total = 702_205\n";
    assert_eq!(plan(&format!("{total}languages = \"en\"")), (702_205, 1, 702_205));
    let half = format!("{total}languages = {{ set = \"towervision-20\", english = \"50%\" }}");
    let (all, languages, english) = plan(&half);
    assert_eq!((all, languages), (702_205, 20));
    assert!(english.abs_diff(all / 2) <= 1, "{english}");
    let total = "total = 190_000\n";
    assert_eq!(plan(&format!("{total}languages = \"towervision-core-10\"")), (190_000, 10, 19_000));
    assert_eq!(plan(&format!("{total}languages = \"towervision-20\"")), (190_000, 20, 9_500));
}

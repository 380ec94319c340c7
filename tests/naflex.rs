//! An encoder whose pictures have grids of their own (SigLIP 2 NaFlex), where the others are named: in a recipe, with its features
//! computed once or in every step, in a study's cell, and in the model that comes out, which `chat` shows the same pictures.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use burn_vlm::checkpoint::Pretrained;
use burn_vlm::vision::{VisionConfig, VisionEncoder};
use burn_vlm::vlm::{VisualFeatures, Vlm};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::image::{ImageProcessor, ImageProcessorConfig};
use burn_vlm_data::prepare::Visual;
use burn_vlm_data::processor::PictureInput;
use burn_vlm_data::sample::Picture;
use burn_vlm_experiments::{AnyError, ENCODER, StudyArgs, TrainArgs, execute, run_training};
use burn_vlm_train::assemble::{Assembled, assemble};
use burn_vlm_train::chat::ChatModel;
use burn_vlm_train::eval::{Kept, Scorer, Shown};
use burn_vlm_train::objective::visual_features;
use burn_vlm_train::pictures::{processor_for, processor_of};
use burn_vlm_train::pretrain::Context;
use burn_vlm_train::recipe::Recipe;
use burn_vlm_train::run::{PartFolders, Start, TrainRun, Trained, train};
use clap::Parser;
use serde_json::{Value, json};

/// f32 sums in another order: rows of other lengths, samples in other rows; relative.
const ROUNDING: f32 = 1e-5;
/// Features of the same picture beside others.
const BATCH: f32 = 1e-5;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn encoder() -> PathBuf {
    root().join("tests/fixtures/siglip2_naflex_vision")
}

/// Pictures, and their patches under the encoder's budget of 20: the reference's `spatial_shapes`.
fn pictures() -> Vec<(PathBuf, usize)> {
    let shared = |name: &str| root().join("tests/fixtures/images").join(name);
    let own = |name: &str| encoder().join(name);
    vec![
        (shared("cat_451x300.png"), 4 * 5),
        (shared("coffee_wide_600x171.png"), 2 * 8),
        (shared("astronaut_tall_171x437.png"), 6 * 3),
        (own("drawn_40x4.png"), 10),
        (own("drawn_1x1.png"), 4 * 4),
    ]
}

/// A LLaVA file and its mixture: one picture a sample, two in one, none in one.
fn write_data(folder: &Path) {
    let talk =
        |question: &str, answer: &str| json!([{"from": "human", "value": question}, {"from": "gpt", "value": answer}]);
    let mut samples = Vec::new();
    for (number, (path, _)) in pictures().iter().enumerate() {
        let name = format!("{number}.png");
        fs::copy(path, folder.join(&name)).unwrap();
        let conversations = talk("<image>\nWhat is this?", &format!("thing number {number}"));
        samples.push(json!({"id": number.to_string(), "image": name, "conversations": conversations}));
    }
    let two = talk("<image>\n<image>\nWhich is wide?", "the second");
    samples.push(json!({"id": "two", "image": ["2.png", "3.png"], "conversations": two}));
    samples.push(json!({"id": "none", "conversations": talk("Say a word.", "word")}));
    fs::write(folder.join("data.json"), Value::from(samples).to_string()).unwrap();
    let path = folder.join("data.json");
    let mixture = format!(
        "seed = 3\n[[source]]\nname = 'data'\npath = {path:?}\nformat = 'llava_json'\nimage_root = {folder:?}\n"
    );
    fs::write(folder.join("mixture.toml"), mixture).unwrap();
}

fn recipe(encoder: &Path, model: &str, train: &str, mixture: &str) -> Recipe {
    // An inline table has no comma behind its last key.
    let behind = |keys: &str| if keys.is_empty() { String::new() } else { format!(", {keys}") };
    let (train, mixture) = (behind(train), behind(mixture));
    let text = format!(
        r#"
        stages = ["finetune"]
        [model]
        encoder = {encoder:?}
        backbone = "backbone"
        vision_feature_layer = -1
        scale_visual_embeds = true
        {model}
        [stage.finetune]
        objective = "vlm"
        steps = 3
        batch = 7
        log_every = 1
        checkpoint_every = 0
        train = {{ multi_modal_projector = 1e-3{train} }}
        schedule = {{ warmup = 0.0 }}
        mixture = {{ file = "mixture.toml"{mixture} }}
        "#
    );
    Recipe::from_table(toml::from_str(&text).unwrap()).unwrap()
}

fn run(recipe: &Recipe, base: &Path, out: &str) -> Result<Trained, String> {
    let context = Context { corpus: EmojiCorpus::embedded().unwrap(), device: Device::flex(), workers: 1 };
    let parts = PartFolders::named(recipe, &root().join("parts")).map_err(|error| error.to_string())?;
    let out = base.join(out);
    let run = TrainRun {
        context: &context,
        recipe,
        base,
        parts: &parts,
        features: &out.join("features"),
        replicas: &[],
        out: &out,
        reporter: &Reporter::capture(),
        observer: None,
        start: &Start::default(),
    };
    train(&run).map_err(|error| error.to_string())
}

fn losses(trained: &Trained) -> Vec<f32> {
    trained.stages[0].log.iter().map(|entry| entry.loss).collect()
}

#[track_caller]
fn close(found: &[f32], expected: &[f32]) {
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= ROUNDING * b.abs();
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(near), "{found:?}, expected {expected:?}");
}

/// What docs/checkpoints.md shows.
fn features_of(folder: &Path, bytes: &[u8], vlm: &Vlm) -> Result<VisualFeatures, AnyError> {
    let device = Device::flex();
    let processor = ImageProcessor::from_folder(folder)?;
    let image = processor.process_tiles_bytes("photo.jpg", bytes)?;
    let visual = Visual::of_processed([&image], false);
    let seen = visual_features(visual, vlm, &device)?;
    assert_eq!(image.patch_grid(), Some((4, 5)));
    Ok(seen)
}

#[test]
fn a_picture_is_as_many_features_as_it_has_patches() {
    let recipe = recipe(&encoder(), "visual_tokens = { normalize = true }", "", "");
    let backbone = root().join("parts/backbone");
    let parts: Assembled = assemble(&recipe.model, &encoder(), &backbone, 0, &Device::flex()).unwrap();
    let (picture, patches) = pictures().swap_remove(0);
    let seen = features_of(&encoder(), &fs::read(picture).unwrap(), &parts.model).unwrap();
    let [images, most, _] = seen.features.unwrap().dims();
    // Padded to the encoder's budget.
    assert!(images == 1 && most >= patches, "{images} {most}");
}

/// A model of pictures of all shapes: the features of the frozen tower computed once and in every step, layouts, the folder that comes
/// out, chat on it, and a scorer.
#[test]
fn a_recipe_trains_it_and_chat_shows_the_same_pictures() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let go = |mixture: &str, out: &str| {
        run(
            &recipe(&encoder(), "visual_tokens = { normalize = true }", "language_model = 5e-4", mixture),
            folder.path(),
            out,
        )
        .unwrap()
    };
    let whole = go("views = 0", "whole");
    let expected = losses(&whole);
    assert!(expected.len() == 3 && expected[2] < expected[0], "{expected:?}");
    close(&losses(&go("views = 1", "banked")), &expected);
    let banked = fs::read_dir(folder.path().join("banked/features")).unwrap().count();
    assert!(banked > 0 && !folder.path().join("whole/features").exists());
    let packed = r#"views = 1, batching = { strategy = "packed", max_tokens = 256 }"#;
    close(&losses(&go(packed, "packed"))[..1], &expected[..1]);
    let grouped = r#"views = 0, batching = { strategy = "grouped", max_tokens = 128 }"#;
    close(&losses(&go(grouped, "grouped"))[..1], &expected[..1]);

    // The folder says how pictures are prepared, and chat counts as training did.
    let model = folder.path().join("whole/model");
    let read = |name: &str| serde_json::from_slice::<Value>(&fs::read(model.join(name)).unwrap()).unwrap();
    let image = read("preprocessor_config.json");
    assert_eq!(image["image_processor_type"], "Siglip2ImageProcessor");
    assert_eq!((&image["patch_size"], &image["max_num_patches"]), (&json!(4), &json!(20)));
    assert_eq!(read("config.json")["vision_config"]["model_type"], "siglip2_vision_model");
    let chat = ChatModel::load(&model, &Device::flex()).unwrap();
    let mut session = chat.session();
    let mut files = Vec::new();
    for (path, tokens) in pictures() {
        let bytes = fs::read(&path).unwrap();
        let name = path.display().to_string();
        assert_eq!(session.add_image(&name, &bytes).unwrap(), tokens, "{name}");
        files.push((name, bytes));
    }
    let mut first = session.ask("What are these?").unwrap();
    first.by_ref().take(2).for_each(|piece| drop(piece.unwrap()));
    assert_eq!(first.stats().prompt_tokens, {
        let counts: Vec<usize> = pictures().iter().map(|(_, tokens)| *tokens).collect();
        let turns = [Turn::user("<image>\n".repeat(counts.len()) + "What are these?")];
        chat.processor.encode_prompt(&turns, &counts).unwrap().len()
    });
    drop(first);
    drop(session);

    // A scorer, which keeps features: the same beside others as alone, and as many tokens as are counted.
    let (model, processor) = chat.into_vlm().unwrap();
    let processor = Arc::new(processor);
    let scorer = Scorer::new(&model, &Device::flex(), processor.clone(), None, 4);
    let shown: Vec<Shown> = files
        .iter()
        .map(|(name, bytes)| Shown::new(&Picture::Encoded { name: name.clone(), bytes: bytes.clone().into() }).unwrap())
        .collect();
    let mut kept = Kept::default();
    let together = scorer.features_of(&[shown.as_slice()], &mut kept).unwrap();
    let counts: Vec<usize> = pictures().iter().map(|(_, tokens)| *tokens).collect();
    assert_eq!(together.packing.unwrap().image_tokens(), counts);
    let features = together.features.unwrap();
    for (at, (name, bytes)) in files.iter().enumerate() {
        let made = processor.process_image(PictureInput::File { name, bytes }, 1).unwrap();
        assert_eq!(processor.num_image_tokens(&made), counts[at]);
        let alone = scorer.features_of(&[&shown[at..=at]], &mut Kept::default()).unwrap().features.unwrap();
        let again = scorer.features_of(&[&shown[at..=at]], &mut kept).unwrap().features.unwrap();
        for other in [alone, again] {
            let apart = (features.clone().narrow(0, at, 1) - other).abs().max().into_scalar::<f32>();
            assert!(apart < BATCH, "{name}: {apart}");
        }
    }
}

/// The tower learns too, its positions among the rest.
#[test]
fn the_tower_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let recipe = recipe(&encoder(), "", "vision_tower = 1e-3", "augment = true");
    let trained = run(&recipe, folder.path(), "out").unwrap();
    assert!(losses(&trained).iter().all(|loss| loss.is_finite()));
    let device = Device::flex();
    let before = VisionEncoder::load_pretrained(&encoder(), &device).unwrap();
    let after = VisionEncoder::load_pretrained(&folder.path().join("out/model"), &device).unwrap();
    let (VisionEncoder::Siglip2(before), VisionEncoder::Siglip2(after)) = (before, after) else {
        panic!("another tower")
    };
    assert_eq!(before.config, after.config);
    let table = |model: &burn_vlm::vision::Siglip2VisionModel| model.embeddings.position_embedding.weight.val();
    let moved = (table(&before) - table(&after)).abs().min().into_scalar::<f32>();
    assert!(moved > 0.0, "{moved}");
}

/// A copy of the encoder's folder with another processor file; without one where `processor` is `None`.
fn encoder_with(folder: &Path, processor: Option<&Value>) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(encoder().join(name), folder.join(name)).unwrap();
    }
    if let Some(processor) = processor {
        fs::write(folder.join("preprocessor_config.json"), processor.to_string()).unwrap();
    }
    folder.to_path_buf()
}

#[test]
fn what_does_not_go_with_it_is_said_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let refused = |encoder: &Path, model: &str, mixture: &str, parts: &[&str]| {
        let error = run(&recipe(encoder, model, "", mixture), folder.path(), "refused").unwrap_err();
        parts.iter().for_each(|part| assert!(error.contains(part), "{part}: {error}"));
        let _ = fs::remove_dir_all(folder.path().join("refused"));
    };
    refused(&encoder(), "", r#"pictures = "pad""#, &["`pictures = \"pad\"`", "own aspect ratio"]);
    refused(&encoder(), "tiling = \"16-4-2\"", "", &["model_type", "without tiles"]);
    refused(&encoder(), "visual_tokens = { pool = 2 }", "", &["visual_tokens.pool", "grid of its own"]);
    refused(&encoder(), "visual_tokens = { pooled_head = true }", "", &["visual_tokens.pooled_head"]);
    refused(&encoder(), "connector = { kind = \"pixel_shuffle\", scale = 2 }", "", &["connector", "`mlp`"]);

    // A processor of another patch, or of squares; without one, the tower's own numbers.
    let patches = serde_json::to_value(ImageProcessorConfig::siglip2_naflex(8, 20)).unwrap();
    let other = encoder_with(&folder.path().join("other"), Some(&patches));
    refused(&other, "", "", &["preprocessor_config.json", "8 x 8", "4 x 4"]);
    let squares = serde_json::to_value(ImageProcessorConfig::siglip(16)).unwrap();
    let square = encoder_with(&folder.path().join("square"), Some(&squares));
    refused(&square, "", "", &["preprocessor_config.json", "Siglip2ImageProcessor"]);
    let bare = encoder_with(&folder.path().join("bare"), None);
    let config = VisionEncoder::load_pretrained(&bare, &Device::flex()).unwrap().config();
    assert_eq!(processor_for(&bare, &config).unwrap(), ImageProcessorConfig::siglip2_naflex(4, 16));
    // And its processor beside a tower of squares.
    let error = processor_of(&encoder(), 16).unwrap_err().to_string();
    assert!(error.contains("max_num_patches") && error.contains("16 x 16"), "{error}");
    let VisionConfig::Siglip2(_) = config else { panic!("another tower") };
}

/// A cell of the encoder study, on this encoder: trained, asked, reported.
#[test]
fn a_study_names_it_like_the_others() -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let pooled = "visual_tokens = { pool = 4, pooled_head = true, normalize = true, noise = 0.3 }";
    assert!(ENCODER.text.contains(pooled) && ENCODER.text.contains("encoder = \"siglip1\""));
    let text = ENCODER.text.replace(pooled, "visual_tokens = { normalize = true, noise = 0.3 }");
    let text = text.replace("encoder = \"siglip1\"", &format!("encoder = {:?}", encoder()));
    let (path, out) = (folder.path().join("study.toml"), folder.path().join("out"));
    fs::write(&path, text)?;
    let (study, out_text) = (path.to_string_lossy(), out.to_string_lossy());
    let fixed = ["own", "--preset", "smoke", "--quiet", "--only", "siglip1/en", "--config", &study, "--out", &out_text];
    execute(&ENCODER, &StudyArgs::parse_from(fixed))?;
    let predictions = fs::read_to_string(out.join("cells/siglip1/en/seed0/predictions.jsonl"))?;
    assert!(predictions.lines().count() > 10);
    Ok(())
}

/// The published shape needs no weights for a dry run; a picture is reckoned with the patches that it has.
#[test]
fn dry_runs_know_its_shape() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recipe.toml");
    let recipe = recipe(Path::new("siglip2-so400m-patch16-naflex"), "", "", "");
    let mixture =
        "root = 'nowhere'\n[[source]]\nname = 'data'\npath = 'data.json'\nformat = 'llava_json'\nsamples = 1000\n";
    fs::write(folder.path().join("mixture.toml"), mixture).unwrap();
    let text = toml::to_string(&recipe).unwrap().replace("\"backbone\"", "\"Tower-Plus-2B\"");
    fs::write(&file, text).unwrap();
    let said = |picture: &str| {
        let parts = folder.path().to_string_lossy().into_owned();
        let file = file.to_string_lossy().into_owned();
        let fixed = ["train", "--quiet", "--device", "flex", "--dry-run", "--recipe", &file, "--parts", &parts];
        run_training(&TrainArgs::parse_from(fixed.into_iter().chain(["--picture", picture]))).unwrap()
    };
    let text = said("1000x100");
    for part in ["SigLIP 2 NaFlex, 27 layers of width 1152", "427,888,064 parameters", "250 patches"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(said("256x256").contains("256 patches"));
}

//! Parrot: the authors' own modules and merge, and our batched model on the same weights.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_vlm::checkpoint::Layout;
use burn_vlm::connector::{Connector, RoutingText, TextScope};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::vlm::{Vlm, VlmInput};
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Turn, count_images};
use burn_vlm_data::encode::EncodeOptions;
use burn_vlm_data::processor::Processor;
use burn_vlm_train::processor::model_visual_tokens;
use serde_json::Value;

use crate::common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, autodiff_device, shifted};
use crate::greedy::stop_tokens;
use crate::vision::pixels;

/// The image in the fixture's ids.
const IMAGE: i64 = -200;
/// Not trained.
const IGNORED: i64 = -100;

/// Checks one folder in the layout `parrot_qwen2`, with any number of experts and of samples without a picture.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let model = Vlm::load_pretrained(&fixture.dir, &device).unwrap();
    let expected = fixture.dir.join("expected.json").is_file().then(|| fixture.json("expected.json"));
    match pixels(&fixture, expected.as_ref(), &device) {
        Some(pixels) => check_features(&fixture, &model, model.encode_images(pixels).unwrap(), &device),
        None => fixture.skipped("pixel_values, nor pictures to make them of"),
    }
    match &expected {
        Some(expected) => check_prompts(&fixture, &model, expected),
        None => fixture.skipped("expected.json"),
    }
    fixture.finish(&["gen.margins"]);
}

/// All that begins with the pictures: one a sample, zeros where it has none.
fn check_features(fixture: &Fixture, model: &Vlm, features: Tensor<3>, device: &Device) {
    if fixture.asks("input_ids") && fixture.asks("labels") {
        check_batch(fixture, model, &features, device);
    }
    check_greedy(fixture, model, &features, device);
}

fn check_batch(fixture: &Fixture, model: &Vlm, features: &Tensor<3>, device: &Device) {
    let batch = Batch::of(fixture, model);
    check_connector(fixture, model, features.clone(), &batch, device);

    let seen = select(features.clone(), &batch.pictured);
    let mut input = VlmInput::new(batch.tensor(&batch.ids, device)).with_features(seen);
    input.routing_text = Some(batch.mask(&batch.words, device));
    let real = batch.mask(&batch.real, device).float().unsqueeze_dim::<3>(2);
    fixture.check_if("inputs_embeds", FORWARD_TOLERANCE, || model.embed(&input).unwrap() * real.clone());
    if fixture.asks("routing_weights") {
        let (expected, shape) = fixture.floats("routing_weights");
        let weights = model.routing(&input).unwrap().unwrap().weights;
        let experts = weights.dims()[1];
        let expected = batch.pictured.iter().flat_map(|row| &expected[row * shape[1]..(row + 1) * shape[1]]);
        let found = crate::common::values(weights);
        let worst = found.iter().zip(expected).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
        fixture.check_exact(
            "routing_weights through the model",
            &(experts, found.len(), f64::from(worst) < FORWARD_TOLERANCE),
            &(shape[1], batch.pictured.len() * shape[1], true),
        );
    }
    fixture.check_if("logits", FORWARD_TOLERANCE, || {
        model.language_model.logits(model.forward(&input).unwrap()) * real.clone()
    });

    if fixture.asks("loss") {
        let (target_rows, targets) = shifted(&batch.labels, batch.width, device);
        let loss = model.target_losses(&input, target_rows, targets).unwrap().mean();
        fixture.check("loss", loss.clone(), BACKWARD_TOLERANCE);
        let rename = |key: &str| Layout::Parrot.module_name(key).unwrap_or_default();
        fixture.check_gradients(model, loss.backward(), rename);
    }
}

/// The features of some samples.
fn select(features: Tensor<3>, rows: &[usize]) -> Tensor<3> {
    Tensor::cat(rows.iter().map(|row| features.clone().narrow(0, *row, 1)).collect(), 0)
}

/// The fixture's batch with the images expanded, right-padded to the longest row.
struct Batch {
    rows: usize,
    width: usize,
    ids: Vec<i64>,
    labels: Vec<i64>,
    real: Vec<bool>,
    words: Vec<bool>,
    /// The rows that have a picture; the reference sees one of zeros in the others, and drops it.
    pictured: Vec<usize>,
}

impl Batch {
    fn of(fixture: &Fixture, model: &Vlm) -> Self {
        let ((ids, shape), (labels, _)) = (fixture.ints("input_ids"), fixture.ints("labels"));
        let mask = if fixture.asks("attention_mask") { fixture.ints("attention_mask").0 } else { vec![1; ids.len()] };
        let rows = shape[0];
        let merged = |row: usize| -> usize {
            let row = row * shape[1]..(row + 1) * shape[1];
            row.filter(|at| mask[*at] == 1).map(|at| expand(ids[at], model).1).sum()
        };
        let width = (0..rows).map(merged).max().unwrap_or(0);
        let has_picture = |row: &usize| ids[row * shape[1]..(row + 1) * shape[1]].contains(&IMAGE);
        let pictured: Vec<usize> = (0..rows).filter(has_picture).collect();
        assert!(!pictured.is_empty(), "{}: no sample has a picture", fixture.name);
        let scope = TextScope::MaskedTokens;
        let mut batch = Self { rows, width, ids: vec![], labels: vec![], real: vec![], words: vec![], pictured };
        for row in 0..rows {
            let (mut row_ids, mut row_labels) = (Vec::new(), Vec::new());
            for at in (row * shape[1]..(row + 1) * shape[1]).filter(|at| mask[*at] == 1) {
                let (id, copies) = expand(ids[at], model);
                row_ids.extend(std::iter::repeat_n(id, copies));
                row_labels.extend(std::iter::repeat_n(if ids[at] == IMAGE { IGNORED } else { labels[at] }, copies));
            }
            let (length, end) = (row_ids.len(), (row + 1) * width);
            batch.words.extend(scope.select(&row_labels, &[]));
            batch.words.resize(end, false);
            batch.real.extend(vec![true; length]);
            batch.real.resize(end, false);
            batch.ids.extend(row_ids);
            batch.ids.resize(end, 0);
            batch.labels.extend(row_labels);
            batch.labels.resize(end, IGNORED);
        }
        fixture.check_ints_if("merged_labels", &batch.labels);
        let found: Vec<i64> = batch.real.iter().map(|real| i64::from(*real)).collect();
        fixture.check_ints_if("merged_attention_mask", &found);
        batch
    }

    fn tensor(&self, values: &[i64], device: &Device) -> Tensor<2, Int> {
        Tensor::from_data(TensorData::new(values.to_vec(), [self.rows, self.width]), device)
    }

    fn mask(&self, values: &[bool], device: &Device) -> Tensor<2, Bool> {
        Tensor::from_data(TensorData::new(values.to_vec(), [self.rows, self.width]), device)
    }
}

/// An id, and how often it stands in the expanded row.
fn expand(id: i64, model: &Vlm) -> (i64, usize) {
    if id == IMAGE { (model.config.image_token_index, model.config.num_visual_tokens()) } else { (id, 1) }
}

/// The connector alone, on all samples: the reference routes an image for the text-only one too, then drops it.
fn check_connector(fixture: &Fixture, model: &Vlm, features: Tensor<3>, batch: &Batch, device: &Device) {
    let Connector::Parrot(parrot) = &model.multi_modal_projector else { panic!("no Parrot connector") };
    fixture.check_if("projected", FORWARD_TOLERANCE, || parrot.projector.forward(features.clone()));
    let image = model.config.image_token_index;
    let ids: Vec<i64> = batch.ids.iter().map(|id| if *id == image { 0 } else { *id }).collect();
    let words: Vec<bool> = batch.words.iter().zip(&batch.ids).map(|(word, id)| *word && *id != image).collect();
    let text = RoutingText {
        embeddings: model.language_model.embed(batch.tensor(&ids, device)),
        mask: batch.mask(&words, device),
        tiles: None,
    };
    let routing = parrot.route(features, &text).unwrap();
    fixture.check_if("gating_input", FORWARD_TOLERANCE, || routing.gating_input);
    fixture.check_if("routing_weights", FORWARD_TOLERANCE, || routing.weights);
}

/// The processor that chat uses: its ids are the reference's with the pictures expanded, for questions and for conversations.
fn check_prompts(fixture: &Fixture, model: &Vlm, expected: &Value) {
    fixture.check_keys("expected.json", expected, &["conversations", "images", "prompts", "gen_queries"]);
    let processor = Processor::from_folder(&fixture.dir).unwrap();
    fixture.check_exact("visual tokens", processor.visual_tokens().unwrap(), &model_visual_tokens(&model.config));
    let count = model.config.num_visual_tokens();
    let expanded = |ids: &[i64]| -> Vec<u32> {
        ids.iter()
            .map(|id| expand(*id, model))
            .flat_map(|(id, copies)| std::iter::repeat_n(id as u32, copies))
            .collect()
    };
    let part = |key: &str| {
        let list = expected.get(key).and_then(Value::as_array);
        if list.is_none() {
            fixture.skipped(&format!("expected.json, {key}"));
        }
        list.into_iter().flatten().enumerate()
    };
    for (row, query) in part("gen_queries") {
        let turns = [Turn::user(query.as_str().unwrap())];
        let counts = vec![count; count_images(&turns)];
        let found = processor.encode_prompt(&turns, &counts).unwrap();
        if fixture.asks(&format!("gen.prompt.{row}")) {
            let ids = fixture.ints(&format!("gen.prompt.{row}")).0;
            fixture.check_exact(&format!("gen.prompt.{row} by the processor"), &found, &expanded(&ids));
        }
        crate::vlm_prompt::check_answers(&fixture.name, &processor, &turns, &counts);
    }
    if !fixture.has("input_ids") || !fixture.has("labels") {
        return;
    }
    let ((ids, shape), (labels, _)) = (fixture.ints("input_ids"), fixture.ints("labels"));
    let mask = if fixture.has("attention_mask") { fixture.ints("attention_mask").0 } else { vec![1; ids.len()] };
    let prompts: Vec<&Value> = part("prompts").map(|(_, prompt)| prompt).collect();
    for (row, conversation) in part("conversations") {
        let turn = |record: &Value| {
            let text = record["value"].as_str().unwrap();
            if record["from"] == "gpt" { Turn::assistant(text) } else { Turn::user(text) }
        };
        let turns: Vec<Turn> = conversation.as_array().unwrap().iter().map(turn).collect();
        let counts = vec![count; count_images(&turns)];
        let found = processor.encode(&turns, &counts, &EncodeOptions::default()).unwrap();
        let real: Vec<usize> = (row * shape[1]..(row + 1) * shape[1]).filter(|at| mask[*at] == 1).collect();
        let expected: Vec<i64> = real.iter().map(|at| ids[*at]).collect();
        fixture.check_exact(&format!("input_ids.{row} by the processor"), &found.ids, &expanded(&expected));
        if let Some(prompt) = prompts.get(row) {
            let pieces = expected.split(|id| *id == IMAGE).map(|piece| {
                let ids: Vec<u32> = piece.iter().map(|id| *id as u32).collect();
                processor.tokenizer().decode(&ids, false).unwrap()
            });
            let text = pieces.collect::<Vec<_>>().join(IMAGE_PLACEHOLDER);
            fixture.check_exact(&format!("prompts.{row}"), &text, &prompt.as_str().unwrap().to_owned());
        }
        let trained = real.iter().filter(|at| labels[**at] != IGNORED).count();
        fixture.check_exact(&format!("labels.{row} by the processor"), &found.trained(), &trained);
    }
}

fn check_greedy(fixture: &Fixture, model: &Vlm, features: &Tensor<3>, device: &Device) {
    if !fixture.asks("gen.new_tokens") || !fixture.asks("gen.prompt.0") {
        return;
    }
    let (expected, shape) = fixture.ints("gen.new_tokens");
    let stop_tokens = stop_tokens(fixture, model.config.text_config.eos_token_ids());
    let config = GenerationConfig { max_new_tokens: shape[1], stop_tokens, ..GenerationConfig::default() };
    let mut pictured = Vec::new();
    let prompts: Vec<Vec<u32>> = (0..shape[0])
        .map(|row| {
            let (ids, _) = fixture.ints(&format!("gen.prompt.{row}"));
            if ids.contains(&IMAGE) {
                pictured.push(row);
            }
            let expanded = ids.iter().flat_map(|id| {
                let (id, copies) = expand(*id, model);
                std::iter::repeat_n(id as u32, copies)
            });
            expanded.collect()
        })
        .collect();
    // A query is about the picture of the sample of its number. All at once: the reference had one at a time.
    let features = (!pictured.is_empty()).then(|| select(features.clone(), &pictured));
    let found = model.generate(&prompts, features, &config, device).unwrap();
    for (row, (found, expected)) in found.iter().zip(expected.chunks(shape[1])).enumerate() {
        let expected: Vec<u32> =
            expected.iter().map(|id| *id as u32).take_while(|id| !config.stop_tokens.contains(id)).collect();
        fixture.check_exact(&format!("gen.new_tokens.{row}"), &found.ids, &expected);
    }
}

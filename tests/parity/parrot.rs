//! Parrot: the authors' own modules and merge, and our batched model on the same weights.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_vlm::checkpoint::Layout;
use burn_vlm::connector::{Connector, RoutingText, TextScope};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::vlm::{Vlm, VlmInput};
use burn_vlm_data::conversation::{Turn, count_images};
use burn_vlm_data::encode::EncodeOptions;
use burn_vlm_data::processor::Processor;
use burn_vlm_train::processor::model_visual_tokens;

use crate::common::{BACKWARD_TOLERANCE, FORWARD_TOLERANCE, Fixture, autodiff_device, shifted};

/// The image in the fixture's ids.
const IMAGE: i64 = -200;
/// Not trained.
const IGNORED: i64 = -100;

/// Checks one folder in the layout `parrot_qwen2`.
pub fn check(fixture: Fixture) {
    let device = autodiff_device();
    let model = Vlm::load_pretrained(&fixture.dir, &device).unwrap();
    let features = model.encode_images(fixture.float_tensor("pixel_values", &device)).unwrap();
    let batch = Batch::of(&fixture, &model);
    check_connector(&fixture, &model, features.clone(), &batch, &device);

    // The third sample has no image.
    let mut input = VlmInput::new(batch.tensor(&batch.ids, &device)).with_features(features.clone().narrow(0, 0, 2));
    input.routing_text = Some(batch.mask(&batch.words, &device));
    let real = batch.mask(&batch.real, &device).float().unsqueeze_dim::<3>(2);
    fixture.check("inputs_embeds", model.embed(&input).unwrap() * real.clone(), FORWARD_TOLERANCE);
    let (expected, _) = fixture.floats("routing_weights");
    let weights = model.routing(&input).unwrap().unwrap().weights;
    let experts = weights.dims()[1];
    let worst = crate::common::values(weights).iter().zip(&expected).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
    fixture.check_exact(
        "routing_weights through the model",
        &(experts == 6 && f64::from(worst) < FORWARD_TOLERANCE),
        &true,
    );
    let logits = model.language_model.logits(model.forward(&input).unwrap());
    fixture.check("logits", logits * real, FORWARD_TOLERANCE);

    let (target_rows, targets) = shifted(&batch.labels, batch.width, &device);
    let loss = model.target_losses(&input, target_rows, targets).unwrap().mean();
    fixture.check("loss", loss.clone(), BACKWARD_TOLERANCE);
    let rename = |key: &str| Layout::Parrot.module_name(key).unwrap_or_default();
    fixture.check_gradients(&model, loss.backward(), rename);

    check_prompts(&fixture, &model);
    check_greedy(&fixture, &model, &features, &device);
    fixture.finish(&["gen.margins"]);
}

/// The fixture's batch with the images expanded, right-padded to the longest row.
struct Batch {
    rows: usize,
    width: usize,
    ids: Vec<i64>,
    labels: Vec<i64>,
    real: Vec<bool>,
    words: Vec<bool>,
}

impl Batch {
    fn of(fixture: &Fixture, model: &Vlm) -> Self {
        let ((ids, shape), (labels, _)) = (fixture.ints("input_ids"), fixture.ints("labels"));
        let (mask, _) = fixture.ints("attention_mask");
        let (expected_labels, merged) = fixture.ints("merged_labels");
        let (rows, width) = (shape[0], merged[1]);
        let scope = TextScope::MaskedTokens;
        let mut batch = Self { rows, width, ids: vec![], labels: vec![], real: vec![], words: vec![] };
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
        fixture.check_exact("merged_labels", &batch.labels, &expected_labels);
        let found: Vec<i64> = batch.real.iter().map(|real| i64::from(*real)).collect();
        fixture.check_exact("merged_attention_mask", &found, &fixture.ints("merged_attention_mask").0);
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

/// The connector alone, on all three samples: the reference routes an image for the text-only one too, then drops it.
fn check_connector(fixture: &Fixture, model: &Vlm, features: Tensor<3>, batch: &Batch, device: &Device) {
    let Connector::Parrot(parrot) = &model.multi_modal_projector else { panic!("no Parrot connector") };
    fixture.check("projected", parrot.projector.forward(features.clone()), FORWARD_TOLERANCE);
    let image = model.config.image_token_index;
    let ids: Vec<i64> = batch.ids.iter().map(|id| if *id == image { 0 } else { *id }).collect();
    let words: Vec<bool> = batch.words.iter().zip(&batch.ids).map(|(word, id)| *word && *id != image).collect();
    let text = RoutingText {
        embeddings: model.language_model.embed(batch.tensor(&ids, device)),
        mask: batch.mask(&words, device),
        tiles: None,
    };
    let routing = parrot.route(features, &text).unwrap();
    fixture.check("gating_input", routing.gating_input, FORWARD_TOLERANCE);
    fixture.check("routing_weights", routing.weights, FORWARD_TOLERANCE);
}

/// The processor that chat uses: its ids are the reference's with the pictures expanded, for questions and for conversations.
fn check_prompts(fixture: &Fixture, model: &Vlm) {
    let processor = Processor::from_folder(&fixture.dir).unwrap();
    fixture.check_exact("visual tokens", processor.visual_tokens().unwrap(), &model_visual_tokens(&model.config));
    let count = model.config.num_visual_tokens();
    let expected = fixture.json("expected.json");
    let expanded = |ids: &[i64]| -> Vec<u32> {
        ids.iter()
            .map(|id| expand(*id, model))
            .flat_map(|(id, copies)| std::iter::repeat_n(id as u32, copies))
            .collect()
    };
    for (row, query) in expected["gen_queries"].as_array().unwrap().iter().enumerate() {
        let turns = [Turn::user(query.as_str().unwrap())];
        let counts = vec![count; count_images(&turns)];
        let found = processor.encode_prompt(&turns, &counts).unwrap();
        let ids = fixture.ints(&format!("gen.prompt.{row}")).0;
        fixture.check_exact(&format!("gen.prompt.{row} by the processor"), &found, &expanded(&ids));
        crate::vlm_prompt::check_answers(&fixture.name, &processor, &turns, &counts);
    }
    let ((ids, shape), (mask, _)) = (fixture.ints("input_ids"), fixture.ints("attention_mask"));
    let (labels, _) = fixture.ints("labels");
    for (row, conversation) in expected["conversations"].as_array().unwrap().iter().enumerate() {
        let turn = |record: &serde_json::Value| {
            let text = record["value"].as_str().unwrap();
            if record["from"] == "gpt" { Turn::assistant(text) } else { Turn::user(text) }
        };
        let turns: Vec<Turn> = conversation.as_array().unwrap().iter().map(turn).collect();
        let counts = vec![count; count_images(&turns)];
        let found = processor.encode(&turns, &counts, &EncodeOptions::default()).unwrap();
        let real: Vec<usize> = (row * shape[1]..(row + 1) * shape[1]).filter(|at| mask[*at] == 1).collect();
        let expected: Vec<i64> = real.iter().map(|at| ids[*at]).collect();
        fixture.check_exact(&format!("input_ids.{row} by the processor"), &found.ids, &expanded(&expected));
        let trained = real.iter().filter(|at| labels[**at] != IGNORED).count();
        fixture.check_exact(&format!("labels.{row} by the processor"), &found.trained(), &trained);
    }
}

fn check_greedy(fixture: &Fixture, model: &Vlm, features: &Tensor<3>, device: &Device) {
    let (expected, shape) = fixture.ints("gen.new_tokens");
    let stop_tokens = model.config.text_config.eos_token_ids();
    let config = GenerationConfig { max_new_tokens: shape[1], stop_tokens, ..GenerationConfig::default() };
    let prompts: Vec<Vec<u32>> = (0..shape[0])
        .map(|row| {
            let (ids, _) = fixture.ints(&format!("gen.prompt.{row}"));
            let expanded = ids.iter().flat_map(|id| {
                let (id, copies) = expand(*id, model);
                std::iter::repeat_n(id as u32, copies)
            });
            expanded.collect()
        })
        .collect();
    let features = features.clone().narrow(0, 0, shape[0]);
    // Both at once: the reference had one at a time.
    let found = model.generate(&prompts, Some(features), &config, device).unwrap();
    for (row, (found, expected)) in found.iter().zip(expected.chunks(shape[1])).enumerate() {
        let expected: Vec<u32> =
            expected.iter().map(|id| *id as u32).take_while(|id| !config.stop_tokens.contains(id)).collect();
        fixture.check_exact(&format!("gen.new_tokens.{row}"), &found.ids, &expected);
    }
}

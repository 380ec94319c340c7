//! Parrot's connector: values worked out by hand, the properties that define it, its place in the composed model.

#![cfg(feature = "flex")]

mod common;

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_vlm::ModelError;
use burn_vlm::checkpoint::parameters;
use burn_vlm::connector::{
    Connector, ConnectorConfig, ConnectorShape, Expert, ExpertKind, ParrotConfig, ParrotConnector, Projector, Residual,
    RoutingQuery, RoutingText, TextScope, Tiles,
};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::init::{Scope, seeded_normal};
use burn_vlm::language::AttentionInput;
use burn_vlm::nn::{Activation, Linear};
use burn_vlm::vlm::{SelectStrategy, VisualTokens, Vlm, VlmConfig, VlmInput, VlmType};
use common::tiny::{self, IMAGE_TOKEN};
use common::{autodiff_device, shifted, values};

/// Sums of a few f32 products of order 1.
const ROUNDING: f32 = 1e-5;

fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

fn mask(rows: &[&[bool]]) -> Tensor<2, Bool> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), rows[0].len()]), &Device::flex())
}

fn text(values: &[f32], shape: [usize; 3], rows: &[&[bool]]) -> RoutingText {
    RoutingText { embeddings: tensor(values, shape), mask: mask(rows), tiles: None }
}

fn close(found: &[f32], expected: &[f32]) {
    let far = |(a, b): (&f32, &f32)| (a - b).abs() > ROUNDING;
    assert!(found.len() == expected.len() && !found.iter().zip(expected).any(far), "{found:?}, expected {expected:?}");
}

fn linear(weight: &[f32], input: usize, output: usize) -> Linear {
    Linear { weight: Param::from_tensor(tensor(weight, [input, output])), bias: None, lora: None }
}

fn connector(config: &ParrotConfig, input: usize, hidden: usize) -> ParrotConnector {
    let projector = ConnectorShape { tokens: 4, input, hidden, activation: Activation::Gelu, bias: true };
    config.init_with(&projector, &Scope::new(5, &Device::flex()))
}

/// ln 3, at which the logistic function is 3/4.
fn l() -> f32 {
    3f32.ln()
}

/// Width 2, projector the identity, two experts of width 1; features: a class token (sqrt2 ln3, 0) and a patch (ln3, 2).
fn by_hand(config: ParrotConfig) -> ParrotConnector {
    let config = ParrotConfig { num_experts: 2, intermediate_size: 1, ..config };
    let projector = ConnectorShape { tokens: 4, input: 2, hidden: 2, activation: Activation::Linear, bias: false };
    let mut connector = config.init_with(&projector, &Scope::new(0, &Device::flex()));
    connector.projector.linear_1 = linear(&[1.0, 0.0, 0.0, 1.0], 2, 2);
    connector.projector.linear_2 = linear(&[1.0, 0.0, 0.0, 1.0], 2, 2);
    // logits 4/3 ln4 g_0 and 0
    connector.router.gate = linear(&[4.0 / 3.0 * 4f32.ln(), 0.0, 0.0, 0.0], 2, 2);
    let swiglu = config.expert == ExpertKind::Swiglu;
    connector.experts = vec![
        Expert {
            gate_proj: swiglu.then(|| linear(&[1.0, 0.0], 2, 1)),
            up_proj: linear(if swiglu { &[0.0, 1.0] } else { &[1.0, 0.0] }, 2, 1),
            down_proj: linear(&[1.0, 2.0], 1, 2),
        },
        Expert {
            gate_proj: swiglu.then(|| linear(&[1.0, 0.0], 2, 1)),
            up_proj: linear(&[1.0, 0.0], 2, 1),
            down_proj: linear(&[0.0, 1.0], 1, 2),
        },
    ];
    connector
}

fn hand_features() -> Tensor<3> {
    tensor(&[2f32.sqrt() * l(), 0.0, l(), 2.0], [1, 2, 2])
}

/// Words (1, 0) and (0, 1).
fn hand_text() -> RoutingText {
    text(&[1.0, 0.0, 0.0, 1.0], [1, 2, 2], &[&[true, true]])
}

#[test]
fn routing_by_hand() {
    // scores ln3 and 0: softmax 3/4, 1/4; logits ln4 and 0: softmax 4/5, 1/5
    let routing = by_hand(ParrotConfig::default()).route(hand_features(), &hand_text()).unwrap();
    close(&values(routing.gating_input), &[0.75, 0.25]);
    close(&values(routing.weights), &[0.8, 0.2]);
}

#[test]
fn experts_and_residuals_by_hand() {
    let patch = |expert, residual, residual_weight| {
        let config = ParrotConfig { expert, residual, residual_weight, ..Default::default() };
        let output = by_hand(config).forward(hand_features(), Some(&hand_text())).unwrap();
        values(output.tokens.narrow(1, 1, 1))
    };
    // silu(ln3) = 3/4 ln3. Expert 0: silu(x_0) x_1 (1, 2); expert 1: silu(x_0) x_0 (0, 1).
    let swiglu = [0.8 * 1.5 * l(), 0.8 * 3.0 * l() + 0.2 * 0.75 * l() * l()];
    // Expert 0: silu(x_0) (1, 2); expert 1: silu(x_0) (0, 1).
    let mlp2 = [0.8 * 0.75 * l(), 0.8 * 1.5 * l() + 0.2 * 0.75 * l()];
    for (expert, [a, b]) in [(ExpertKind::Swiglu, swiglu), (ExpertKind::Mlp2, mlp2)] {
        close(&patch(expert, Residual::Code, 0.1), &[a + 0.1 * l(), b + 0.2]);
        close(&patch(expert, Residual::Paper, 0.1), &[l() + 0.1 * a, 2.0 + 0.1 * b]);
        close(&patch(expert, Residual::None, 0.1), &[a, b]);
    }
}

#[test]
fn the_class_token_is_transformed_too() {
    let config = ParrotConfig { residual: Residual::None, ..Default::default() };
    let output = by_hand(config).forward(hand_features(), Some(&hand_text())).unwrap();
    // x_1 = 0 silences expert 0; expert 1 gives silu(x_0) x_0
    let x = 2f32.sqrt() * l();
    close(&values(output.tokens.narrow(1, 0, 1)), &[0.0, 0.2 * x * x / (1.0 + (-x).exp())]);
}

#[test]
fn masked_words_do_not_count_and_no_words_mean_all_experts_alike() {
    let connector = by_hand(ParrotConfig::default());
    let three = text(&[1.0, 0.0, 50.0, -70.0, 0.0, 1.0], [1, 3, 2], &[&[true, false, true]]);
    close(&values(connector.route(hand_features(), &three).unwrap().weights), &[0.8, 0.2]);
    let none = text(&[1.0, 0.0, 0.0, 1.0], [1, 2, 2], &[&[false, false]]);
    let routing = connector.route(hand_features(), &none).unwrap();
    close(&values(routing.gating_input), &[0.0, 0.0]);
    close(&values(routing.weights), &[0.5, 0.5]);
}

#[test]
fn top_k_keeps_the_largest_and_reweights() {
    let config = |top_k| ParrotConfig { top_k, ..Default::default() };
    let weights = |top_k| values(by_hand(config(top_k)).route(hand_features(), &hand_text()).unwrap().weights);
    close(&weights(Some(2)), &[0.8, 0.2]);
    assert_eq!(weights(Some(1)), [1.0, 0.0]);
    let random = ParrotConfig { num_experts: 5, intermediate_size: 3, ..Default::default() };
    let words = seeded_normal([2, 4, 6], 1, &Device::flex());
    let text = RoutingText { embeddings: words, mask: mask(&[&[true; 4], &[true; 4]]), tiles: None };
    let features = || seeded_normal([2, 3, 7], 2, &Device::flex());
    let all = values(connector(&random, 7, 6).route(features(), &text).unwrap().weights);
    let best = ParrotConfig { top_k: Some(2), ..random };
    let kept = values(connector(&best, 7, 6).route(features(), &text).unwrap().weights);
    for (all, kept) in all.chunks(5).zip(kept.chunks(5)) {
        let mut order: Vec<usize> = (0..5).collect();
        order.sort_by(|a, b| all[*b].total_cmp(&all[*a]));
        let sum = all[order[0]] + all[order[1]];
        let expected: Vec<f32> = (0..5).map(|e| if order[..2].contains(&e) { all[e] / sum } else { 0.0 }).collect();
        close(kept, &expected);
    }
}

/// Three images with texts of 4, 2 and 3 words, and experts that do something.
fn padded() -> (ParrotConnector, Tensor<3>, RoutingText) {
    let config = ParrotConfig { num_experts: 3, intermediate_size: 5, ..Default::default() };
    let device = Device::flex();
    let rows: [&[bool]; 3] = [&[true, true, true, true], &[true, true, false, false], &[false, true, true, true]];
    let text = RoutingText { embeddings: seeded_normal([3, 4, 6], 3, &device) * 3.0, mask: mask(&rows), tiles: None };
    (connector(&config, 7, 6), seeded_normal([3, 5, 7], 4, &device), text)
}

#[test]
fn a_batch_equals_its_images_one_at_a_time() {
    let (connector, features, text) = padded();
    let batch = connector.forward(features.clone(), Some(&text)).unwrap();
    let weights = batch.routing.unwrap().weights;
    for (row, first, words) in [(0, 0, 4), (1, 0, 2), (2, 1, 3)] {
        let alone = RoutingText {
            embeddings: text.embeddings.clone().narrow(0, row, 1).narrow(1, first, words),
            mask: mask(&[&vec![true; words]]),
            tiles: None,
        };
        let single = connector.forward(features.clone().narrow(0, row, 1), Some(&alone)).unwrap();
        close(&values(single.tokens), &values(batch.tokens.clone().narrow(0, row, 1)));
        close(&values(single.routing.unwrap().weights), &values(weights.clone().narrow(0, row, 1)));
    }
}

#[test]
fn the_order_of_the_words_does_not_matter() {
    let (connector, features, text) = padded();
    let order = Tensor::<1, Int>::from_data([2, 0, 3, 1], &Device::flex());
    let permuted = RoutingText {
        embeddings: text.embeddings.clone().select(1, order.clone()),
        mask: text.mask.clone().select(1, order),
        tiles: None,
    };
    let forward = |text: &RoutingText| values(connector.forward(features.clone(), Some(text)).unwrap().tokens);
    close(&forward(&permuted), &forward(&text));
}

#[test]
fn bypassed_experts_are_the_projector_alone() {
    let (connector, features, text) = padded();
    let projected = connector.projector.forward(features.clone());
    let mut connector = connector;
    connector.set_bypass(true);
    for text in [None, Some(&text)] {
        let output = connector.forward(features.clone(), text).unwrap();
        assert_eq!(values(output.tokens), values(projected.clone()));
        assert!(output.routing.is_none());
    }
    let without = ParrotConfig { keep_cls: false, ..connector.config.clone() };
    let without = ParrotConnector { config: without, ..connector };
    let output = without.forward(features, None).unwrap();
    assert_eq!(values(output.tokens), values(projected.narrow(1, 1, 4)));
}

#[test]
fn every_query_routes_and_is_kept_or_dropped() {
    let (connector, features, text) = padded();
    let projected = connector.projector.forward(features.clone());
    let token = |at| projected.clone().narrow(1, at, 1).reshape([3, 6]);
    for (query, expected, dropped) in [
        (RoutingQuery::Cls, token(0), Some(0)),
        (RoutingQuery::Pooled, token(4), Some(4)),
        (RoutingQuery::Mean, projected.clone().mean_dim(1).reshape([3, 6]), None),
    ] {
        let with = |keep_cls| {
            let config = ParrotConfig { query, keep_cls, ..connector.config.clone() };
            assert_eq!(config.drops_query(), !keep_cls && query != RoutingQuery::Mean);
            let connector = ParrotConnector { config, ..connector.clone() };
            connector.forward(features.clone(), Some(&text)).unwrap()
        };
        let weights = values(connector.router.forward(expected, &text).unwrap().weights);
        let kept = with(true);
        close(&values(kept.routing.unwrap().weights), &weights);
        let without = with(false);
        close(&values(without.routing.unwrap().weights), &weights);
        let expected = match dropped {
            Some(0) => kept.tokens.narrow(1, 1, 4),
            Some(_) => kept.tokens.narrow(1, 0, 4),
            None => kept.tokens,
        };
        close(&values(without.tokens), &values(expected));
    }
}

#[test]
fn tiles_take_the_routing_of_their_thumbnail() {
    let (connector, features, text) = padded();
    let index = |values: [i64; 3]| Tensor::<1, Int>::from_data(values, &Device::flex());
    // Rows 0 and 1 are image 0, whose thumbnail is row 1; row 2 is image 1.
    let tiles = Tiles { thumbnail: index([1, 2, 2]).narrow(0, 0, 2), owner: index([0, 0, 1]) };
    let two = |row: usize| text.embeddings.clone().narrow(0, row, 1);
    let tiled = RoutingText {
        embeddings: Tensor::cat(vec![two(0), two(2)], 0),
        mask: mask(&[&[true; 4], &[true; 4]]),
        tiles: Some(tiles),
    };
    let output = connector.forward(features.clone(), Some(&tiled)).unwrap();
    let plain = RoutingText {
        embeddings: Tensor::cat(vec![two(1), two(0), two(2)], 0),
        mask: mask(&[&[true; 4], &[true; 4], &[true; 4]]),
        tiles: None,
    };
    let routed = connector.route(features.clone(), &plain).unwrap().weights.narrow(0, 1, 2);
    close(&values(output.routing.unwrap().weights), &values(routed.clone()));
    let projected = connector.projector.forward(features);
    let rows = Tensor::cat(vec![routed.clone().narrow(0, 0, 1), routed], 0);
    let parts =
        connector.experts.iter().enumerate().map(|(index, expert)| {
            expert.forward(projected.clone()) * rows.clone().narrow(1, index, 1).reshape([3, 1, 1])
        });
    let mixture = parts.reduce(|sum, part| sum + part).unwrap();
    close(&values(output.tokens), &values(mixture + projected * 0.1));
}

#[test]
fn misfits_are_errors() {
    let (connector, features, text) = padded();
    let error = connector.forward(features.clone(), None).unwrap_err().to_string();
    assert!(error.contains("RoutingText"), "{error}");
    let error = connector.forward(features.narrow(0, 0, 2), Some(&text)).unwrap_err().to_string();
    assert!(error.contains("2 images"), "{error}");
    for config in [
        ParrotConfig { num_experts: 0, ..Default::default() },
        ParrotConfig { intermediate_size: 0, ..Default::default() },
        ParrotConfig { top_k: Some(7), ..Default::default() },
        ParrotConfig { top_k: Some(0), ..Default::default() },
        ParrotConfig { residual_weight: f64::NAN, ..Default::default() },
    ] {
        assert!(config.validate().is_err(), "{config:?}");
    }
}

#[test]
fn scopes_choose_their_words() {
    // system, user, answer, user, answer
    let labels = [-100, -100, -100, 7, 8, -100, -100, 9];
    let turns = [1..3, 5..7];
    let chosen = |scope: TextScope| -> Vec<usize> {
        let chosen = scope.select(&labels, &turns);
        (0..labels.len()).filter(|at| chosen[*at]).collect()
    };
    assert_eq!(chosen(TextScope::MaskedTokens), [0, 1, 2, 5, 6]);
    assert_eq!(chosen(TextScope::FirstUserTurn), [1, 2]);
    assert_eq!(chosen(TextScope::AllUserTurns), [1, 2, 5, 6]);
    assert_eq!(TextScope::FirstUserTurn.select(&labels, &[]), [false; 8]);
}

#[test]
fn switches_are_named_as_documented() {
    let config: ConnectorConfig = serde_json::from_str(
        r#"{"kind": "parrot", "residual": "paper", "expert": "mlp2", "text_scope": "all_user_turns", "query": "mean"}"#,
    )
    .unwrap();
    let expected = ParrotConfig {
        residual: Residual::Paper,
        expert: ExpertKind::Mlp2,
        text_scope: TextScope::AllUserTurns,
        query: RoutingQuery::Mean,
        ..Default::default()
    };
    assert_eq!(config, ConnectorConfig::Parrot(expected));
    let error = serde_json::from_str::<ConnectorConfig>(r#"{"kind": "parrot", "expert_kind": 1}"#);
    assert!(error.unwrap_err().to_string().contains("expert_kind"));
}

/// A text-only row of 9 tokens, and rows with 17 visual tokens.
fn rows() -> [Vec<i64>; 3] {
    let image = |text: &[i64]| [vec![2], vec![IMAGE_TOKEN; 17], text.to_vec()].concat();
    let mut text_only = vec![2, 5, 6, 7, 8, 9, 10, 11, 12];
    text_only.resize(22, 0);
    [image(&[7, 8, 9, 4]), text_only, image(&[1, 3, 5, 6])]
}

fn ids(rows: &[Vec<i64>], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), rows[0].len()]), device)
}

/// CLIP with its class token (17 features) before a small Qwen or Gemma.
fn vlm_config(parrot: ParrotConfig) -> VlmConfig {
    VlmConfig {
        connector: ConnectorConfig::Parrot(ParrotConfig { num_experts: 3, intermediate_size: 8, ..parrot }),
        visual_tokens: VisualTokens::default(),
        vision_feature_select_strategy: SelectStrategy::Full,
        ..tiny::vlm_config(tiny::clip(), tiny::qwen2())
    }
}

fn vlm(parrot: ParrotConfig, device: &Device) -> Vlm {
    tiny::vlm(&vlm_config(parrot), 3, device)
}

fn features(model: &Vlm, count: usize, device: &Device) -> Tensor<3> {
    model.encode_images(seeded_normal([count, 3, 16, 16], 9, device)).unwrap()
}

#[test]
fn a_batch_of_the_model_equals_its_rows() {
    let device = Device::flex();
    let mut gemma = vlm_config(ParrotConfig::default());
    gemma.text_config = tiny::gemma2();
    for config in [vlm_config(ParrotConfig::default()), gemma] {
        let model = tiny::vlm(&config, 3, &device);
        let features = features(&model, 2, &device);
        let rows = rows();
        let real: Vec<bool> = rows.iter().flatten().map(|id| *id != 0).collect();
        let mut input = VlmInput::new(ids(&rows, &device)).with_features(features.clone());
        input.routing_text = Some(Tensor::from_data(TensorData::new(real, [3, 22]), &device));
        let batch = model.forward(&input).unwrap();
        for (row, length, image) in [(0, 22, Some(0)), (1, 9, None), (2, 22, Some(1))] {
            let mut input = VlmInput::new(ids(&[rows[row][..length].to_vec()], &device));
            input.features = image.map(|image| features.clone().narrow(0, image, 1));
            let single = model.forward(&input).unwrap();
            close(&values(single), &values(batch.clone().narrow(0, row, 1).narrow(1, 0, length)));
        }
    }
}

#[test]
fn a_text_only_row_gives_the_connector_no_gradient() {
    let device = autodiff_device();
    let model = vlm(ParrotConfig::default(), &device);
    let gradients = |targets_of: usize| {
        let mut labels = vec![-100; 66];
        labels[22 * targets_of + 7] = 7;
        labels[22 * targets_of + 21] = 8;
        let (target_rows, targets) = shifted(&labels, 22, &device);
        let mut input = VlmInput::new(ids(&rows(), &device)).with_features(features(&model, 2, &device));
        input.attention = AttentionInput::contiguous();
        let loss = model.target_losses(&input, target_rows, targets).unwrap().sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let connector = parameters(&model).into_iter().filter(|p| p.name.starts_with("multi_modal_projector"));
        let sums: Vec<(String, f32)> = connector
            .map(|parameter| {
                let largest = match parameter.shape.len() {
                    1 => gradients.get::<1>(parameter.id).map(|gradient| values(gradient.abs().max())[0]),
                    _ => gradients.get::<2>(parameter.id).map(|gradient| values(gradient.abs().max())[0]),
                };
                (parameter.name, largest.unwrap())
            })
            .collect();
        sums
    };
    for (name, largest) in gradients(0) {
        assert!(largest > 0.0, "{name}");
    }
    for (name, largest) in gradients(1) {
        assert_eq!(largest, 0.0, "{name}");
    }
}

#[test]
fn the_words_that_route_are_those_of_the_mask() {
    let device = Device::flex();
    let model = vlm(ParrotConfig::default(), &device);
    let features = features(&model, 1, &device);
    let row = vec![rows()[0].clone()];
    let weights = |routing: Option<&[usize]>, row: &[Vec<i64>]| {
        let mut input = VlmInput::new(ids(row, &device)).with_features(features.clone());
        input.routing_text = routing.map(|chosen| {
            let mask: Vec<bool> = (0..22).map(|at| chosen.contains(&at)).collect();
            Tensor::from_data(TensorData::new(mask, [1, 22]), &device)
        });
        values(model.routing(&input).unwrap().unwrap().weights)
    };
    // Image tokens never route, whatever the mask says.
    close(&weights(None, &row), &weights(Some(&(0..22).collect::<Vec<_>>()), &row));
    let mut other = row.clone();
    other[0][21] = 30;
    assert_ne!(weights(None, &row), weights(None, &other));
    let chosen = [0, 18, 19, 20];
    assert_eq!(weights(Some(&chosen), &row), weights(Some(&chosen), &other));
    assert!((weights(None, &row).iter().sum::<f32>() - 1.0).abs() < ROUNDING);
}

#[test]
fn a_bypassed_model_is_llava_and_a_dropped_class_token_takes_no_place() {
    let device = Device::flex();
    let model = vlm(ParrotConfig { bypass: true, ..Default::default() }, &device);
    let features = features(&model, 1, &device);
    let Connector::Parrot(parrot) = &model.multi_modal_projector else { panic!() };
    let projector = Connector::Mlp(parrot.projector.clone());
    let (vision, language) = (model.vision_tower.clone(), model.language_model.clone());
    let llava = Vlm::from_parts(vision, projector, language, &model.config).unwrap();
    assert!(llava.config.connector.is_mlp());
    let input = VlmInput::new(ids(&rows()[..1], &device)).with_features(features.clone());
    assert_eq!(values(model.forward(&input).unwrap()), values(llava.forward(&input).unwrap()));
    assert!(model.routing(&input).unwrap().is_none());

    let model = vlm(ParrotConfig { keep_cls: false, ..Default::default() }, &device);
    assert_eq!((model.config.num_feature_tokens(), model.config.num_visual_tokens()), (17, 16));
    let error = model.embed(&input).unwrap_err();
    assert!(matches!(error, ModelError::ImageTokens { image_tokens: 17, tokens_per_image: 16, .. }), "{error}");
    let row = [vec![2], vec![IMAGE_TOKEN; 16], vec![7, 8]].concat();
    model.embed(&VlmInput::new(ids(&[row], &device)).with_features(features)).unwrap();
}

#[test]
fn generation_is_routed_by_the_prompt_and_ignores_the_batch() {
    let device = Device::flex();
    let model = vlm(ParrotConfig { residual_weight: 0.5, ..Default::default() }, &device);
    let config = GenerationConfig { max_new_tokens: 5, ..Default::default() };
    let prompt = |text: &[u32]| [vec![2], vec![IMAGE_TOKEN as u32; 17], text.to_vec()].concat();
    let prompts = [prompt(&[3, 4]), prompt(&[3, 4, 5, 6, 7])];
    let both = features(&model, 2, &device);
    let batch = model.generate(&prompts, Some(both.clone()), &config, &device).unwrap();
    for row in 0..2 {
        let one = Some(both.clone().narrow(0, row, 1));
        let single = model.generate(&prompts[row..=row], one, &config, &device).unwrap();
        assert_eq!(single[0], batch[row]);
    }
    let all: Vec<Vec<bool>> = prompts.iter().map(|prompt| vec![true; prompt.len()]).collect();
    let chosen = model.stream_routed(&prompts, Some(&all), Some(both.clone()), &config, &device).unwrap();
    assert_eq!(chosen.finish().unwrap(), batch);
    let error = model.stream_routed(&prompts, Some(&all[..1]), Some(both), &config, &device);
    assert!(error.unwrap_err().to_string().contains("one flag for each token"));
}

#[test]
fn queries_that_the_encoder_cannot_give_are_refused() {
    let siglip = |query, pooled_head| {
        let mut config = vlm_config(ParrotConfig { query, ..Default::default() });
        config.vision_config = tiny::siglip();
        config.visual_tokens.pooled_head = pooled_head;
        config.validate().map_err(|error| error.to_string())
    };
    assert!(siglip(RoutingQuery::Cls, false).unwrap_err().contains("connector.query"));
    assert!(siglip(RoutingQuery::Pooled, false).unwrap_err().contains("pooled_head"));
    assert_eq!(siglip(RoutingQuery::Pooled, true), Ok(()));
    assert_eq!(siglip(RoutingQuery::Mean, false), Ok(()));
    let patches =
        VlmConfig { vision_feature_select_strategy: SelectStrategy::Default, ..vlm_config(ParrotConfig::default()) };
    assert!(patches.validate().is_err());
    assert!(tiled(RoutingQuery::Cls).validate().unwrap_err().to_string().contains("`mean`"));
    assert_eq!(tiled(RoutingQuery::Mean).validate(), Ok(()));
}

/// LLaVA-NeXT's tiles before the experts: CLIP of 16 pixels, pictures of 1 x 2 or 2 x 1 tiles.
fn tiled(query: RoutingQuery) -> VlmConfig {
    VlmConfig {
        model_type: VlmType::LlavaNext,
        image_grid_pinpoints: Some(vec![(16, 32), (32, 16)]),
        vision_feature_select_strategy: SelectStrategy::Default,
        ..vlm_config(ParrotConfig { query, ..Default::default() })
    }
}

#[test]
fn tiled_pictures_of_different_shapes_are_routed_one_by_one_from_their_thumbnail() {
    let device = Device::flex();
    let model = tiny::vlm(&tiled(RoutingQuery::Mean), 3, &device);
    let sizes = [(16, 32), (30, 10)];
    let pixels = seeded_normal([6, 3, 16, 16], 9, &device);
    let row = |image: usize, words: [i64; 3]| -> Vec<i64> {
        let count = model.config.num_image_tokens(sizes[image]).unwrap();
        let mut row = vec![model.config.image_token_index; count];
        row.extend(words);
        row
    };
    let mut rows = [row(0, [7, 8, 9]), row(1, [4, 5, 6])];
    let longest = rows.iter().map(Vec::len).max().unwrap();
    let real: Vec<bool> = rows.iter().flat_map(|row| (0..longest).map(|at| at < row.len())).collect();
    let lengths = rows.each_ref().map(Vec::len);
    rows.iter_mut().for_each(|row| row.resize(longest, 0));
    let encode = |pixels: Tensor<4>, images: std::ops::Range<usize>| {
        model.encode_tiled_images(pixels, &vec![3; images.len()], &sizes[images]).unwrap()
    };
    let both = VlmInput {
        routing_text: Some(Tensor::from_data(TensorData::new(real, [2, longest]), &device)),
        ..VlmInput::new(ids(&rows, &device)).with_features(encode(pixels.clone(), 0..2))
    };
    let (embeds, routing) = (model.embed(&both).unwrap(), model.routing(&both).unwrap().unwrap());
    assert_eq!(routing.weights.dims(), [2, 3]);
    for image in 0..2 {
        let own = pixels.clone().narrow(0, image * 3, 3);
        let alone = VlmInput::new(ids(&[rows[image][..lengths[image]].to_vec()], &device))
            .with_features(encode(own, image..image + 1));
        let found = embeds.clone().narrow(0, image, 1).narrow(1, 0, lengths[image]);
        close(&values(model.embed(&alone).unwrap()), &values(found));
        close(
            &values(model.routing(&alone).unwrap().unwrap().weights),
            &values(routing.weights.clone().narrow(0, image, 1)),
        );
        // the other tiles have no say in the routing
        let features = alone.features.clone().unwrap();
        let thumbnail = features.clone().narrow(0, 0, 1);
        let others = Tensor::cat(vec![thumbnail, features.narrow(0, 1, 2) * 3.0], 0);
        let changed = VlmInput { features: Some(others), ..alone };
        close(
            &values(model.routing(&changed).unwrap().unwrap().weights),
            &values(routing.weights.clone().narrow(0, image, 1)),
        );
    }
}

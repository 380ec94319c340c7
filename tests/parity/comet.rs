//! COMETKiwi and XCOMET: hidden states, mixtures, estimates, labels of tokens; joined ids, scores, error spans; and that the order and the
//! batches of pairs change no score.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use burn_vlm::checkpoint::TensorSource;
use burn_vlm::comet::{CometModel, LayerTransformation, Segment};
use burn_vlm_data::comet::ErrorSpan;
use burn_vlm_train::quality::{LongText, Outcome, Pair, QualityFolder, QualityModel, QualityOptions, Score};
use serde_json::Value;

use crate::common::{FORWARD_TOLERANCE, Fixture, values};

/// Scores, absolute: f32 sums in another order.
const SCORE_TOLERANCE: f32 = 1e-4;
/// The same pair in another batch: a matrix product of another height sums in another order, nothing else differs.
const BATCH_TOLERANCE: f32 = 2e-6;
/// Tokens of the batches that scores are compared across; a row may have more.
const BATCHES: [usize; 3] = [1, 300, 8192];
/// What expected.json says of how it was made, and what other settings of the package give.
const NOT_COMPARED: [&str; 9] = [
    "versions",
    "layer_transform_used",
    "without_pkg_resources",
    "max_abs_difference_without_pkg_resources",
    "half_cpu_max_abs_difference",
    "smallest_distance_to_0.85",
    "torch_load_weights_only_true",
    "ckpt_top_level_keys",
    "pickled_hyper_parameters",
];

struct Sample {
    tag: String,
    source: String,
    translation: String,
    reference: String,
}

/// Checks one model's folder.
pub fn check(fixture: Fixture) {
    let device = Device::flex();
    let folder = QualityFolder::open(&fixture.dir, None).unwrap();
    check_weights(&fixture, &folder.files().weights);
    let mut model = folder.load(&device).unwrap();
    check_tensors(&fixture, model.model(), &device);
    let expected = fixture.json("expected.json");
    let samples = fixture.json("samples.json");
    let text = |sample: &Value, key: &str| sample[key].as_str().unwrap_or_default().to_owned();
    let samples: Vec<Sample> = samples
        .as_array()
        .unwrap()
        .iter()
        .map(|sample| Sample {
            tag: text(sample, "tag"),
            source: text(sample, "src"),
            translation: text(sample, "mt"),
            reference: text(sample, "ref"),
        })
        .collect();
    check_ids(&fixture, &model, &samples, &expected);
    check_scores(&fixture, &model, &samples, &expected);
    check_alternatives(&fixture, &mut model, &samples);
    let known = [
        "scores",
        "ids",
        "batch",
        "system_score",
        "kept_at_0.85",
        "mqm_scores",
        "src_scores_clamped",
        "error_spans",
        "with_ref",
        "state_dict",
    ];
    let details = expected.as_object().unwrap().keys().filter(|key| key.starts_with("long.")).map(String::as_str);
    let known: Vec<&str> = known.into_iter().chain(NOT_COMPARED).chain(details).collect();
    fixture.check_keys("expected.json", &expected, &known);
    fixture.finish(&[]);
}

/// The checkpoint's tensors against a list of them, and against the same as safetensors.
fn check_weights(fixture: &Fixture, weights: &Path) {
    let source = TensorSource::open(weights).unwrap();
    if let Some(listed) = fixture.json("expected.json").get("state_dict").and_then(Value::as_object) {
        let mut found: Vec<String> =
            source.tensors().iter().map(|(key, tensor)| format!("{key} {:?}", tensor.shape)).collect();
        let mut expected: Vec<String> = listed
            .iter()
            .map(|(key, what)| {
                let shape: Vec<u64> = what[1].as_array().unwrap().iter().map(|side| side.as_u64().unwrap()).collect();
                format!("{key} {shape:?}")
            })
            .collect();
        found.sort();
        expected.sort();
        fixture.check_exact(&format!("{} keys and shapes", expected.len()), &found, &expected);
    } else {
        fixture.skipped("expected.json, state_dict");
    }
    let same = fixture.dir.join("model.safetensors");
    if same.is_file() && same != weights {
        let other = TensorSource::open(&same).unwrap();
        let floats = |source: &TensorSource| -> Vec<(String, Vec<u32>)> {
            let read = source.tensors().iter().filter_map(|(key, tensor)| {
                let values = source.read_f32(key, tensor).ok()?;
                Some((key.clone(), values.into_iter().map(f32::to_bits).collect()))
            });
            read.collect()
        };
        fixture.check_exact("model.safetensors as the checkpoint", &(floats(&source) == floats(&other)), &true);
    }
}

/// What the model makes of the ids in the folder.
fn check_tensors(fixture: &Fixture, model: &CometModel, device: &Device) {
    let mix = model.layerwise_attention.as_ref();
    if let Some(mix) = mix {
        let scalars: Vec<f32> = mix.scalar_parameters.iter().flat_map(|scalar| values(scalar.val())).collect();
        let count = scalars.len();
        if fixture.asks("mix.scalars") {
            fixture.check_values("mix.scalars", &scalars, &[count], FORWARD_TOLERANCE);
        }
        fixture.check_if("mix.gamma", FORWARD_TOLERANCE, || mix.gamma.val());
        if fixture.asks("mix.weights") {
            let weights = mix.weights(model.config.layer_transformation).unwrap();
            let weights: Vec<f32> = weights.into_iter().map(|weight| weight as f32).collect();
            fixture.check_values("mix.weights", &weights, &[count], FORWARD_TOLERANCE);
        }
    }
    let names = fixture.names();
    let mut parts: Vec<String> =
        names.iter().filter_map(|name| name.strip_suffix("input_ids")).map(String::from).collect();
    parts.sort();
    for part in parts {
        let name = |what: &str| format!("{part}{what}");
        let ids = fixture.int_tensor::<2>(&name("input_ids"), device);
        let mask = fixture.mask_of(&name("attention_mask"), &name("input_ids"), device);
        let states = model.encoder.model.hidden_states(ids.clone(), Some(mask.clone())).unwrap();
        let real = mask.clone().float().unsqueeze_dim::<3>(2);
        if fixture.has(&name("hidden_states")) {
            // What stands at padding is of no use; it is compared all the same, as transformers computes it too.
            let all: Tensor<4> = Tensor::stack(states.clone(), 0);
            fixture.check(&name("hidden_states"), all, FORWARD_TOLERANCE);
        }
        if fixture.has(&name("hidden_states_rows")) {
            let (rows, _) = fixture.ints(&name("rows"));
            let width = states[0].dims()[1] as i64;
            let rows: Vec<i64> = rows.into_iter().map(|row| if row < 0 { row + width } else { row }).collect();
            let rows = Tensor::from_data(TensorData::new(rows.clone(), [rows.len()]), device);
            let all: Tensor<4> = Tensor::stack(states.clone(), 0);
            fixture.check(&name("hidden_states_rows"), all.select(2, rows), FORWARD_TOLERANCE);
        }
        if let Some(mix) = mix {
            let (transformation, layer_norm) = (model.config.layer_transformation, model.config.layer_norm);
            let mixed = mix.mix(&states, &mask, transformation, layer_norm).unwrap();
            if fixture.has(&name("mixed")) {
                fixture.check(&name("mixed"), mixed.clone() * real, FORWARD_TOLERANCE);
            }
            if fixture.has(&name("sentence_embedding")) {
                let [batch, _, hidden] = mixed.dims();
                let first = mixed.narrow(1, 0, 1).reshape([batch, hidden]);
                fixture.check(&name("sentence_embedding"), first, FORWARD_TOLERANCE);
            }
        }
        let output = model.forward(ids, mask).unwrap();
        if fixture.has(&name("score")) {
            fixture.check(&name("score"), output.scores, FORWARD_TOLERANCE);
        }
        if fixture.has(&name("tag_logits")) {
            fixture.check(&name("tag_logits"), output.labels.expect("a model with error spans"), FORWARD_TOLERANCE);
        }
    }
}

/// The joined ids, of which the folder may have the beginning and the end.
fn check_ids(fixture: &Fixture, model: &QualityModel, samples: &[Sample], expected: &Value) {
    let Some(listed) = expected.get("ids").and_then(Value::as_array) else {
        return fixture.skipped("expected.json, ids");
    };
    let ids = |value: &Value| -> Vec<u32> {
        value.as_array().into_iter().flatten().filter_map(Value::as_u64).map(|id| id as u32).collect()
    };
    let tokenizer = model.tokenizer();
    let mut wrong = Vec::new();
    let mut lengths = std::collections::BTreeMap::new();
    for (sample, listed) in samples.iter().zip(listed) {
        let (mt, src) = (tokenizer.piece(&sample.translation).unwrap(), tokenizer.piece(&sample.source).unwrap());
        let joined = tokenizer.join(&[&mt, &src]);
        lengths.insert(sample.tag.as_str(), (mt.ids.len(), joined.ids.len()));
        let begins = |all: &[u32], key: &str| listed.get(key).is_none_or(|first| all.starts_with(&ids(first)));
        let count = |all: &[u32], key: &str| listed[key].as_u64() == Some(all.len() as u64);
        let right = listed["tag"].as_str() == Some(&sample.tag)
            && begins(&mt.ids, "mt")
            && begins(&joined.ids, "joint")
            && listed.get("joint_tail").is_none_or(|tail| joined.ids.ends_with(&ids(tail)))
            && count(&mt.ids, "n_mt")
            && count(&src.ids, "n_src")
            && count(&joined.ids, "n_joint")
            && joined.lost.iter().sum::<usize>() + joined.ids.len() >= joined.whole.min(tokenizer.max_tokens());
        if !right {
            wrong.push(sample.tag.clone());
        }
    }
    fixture.check_exact(&format!("ids of {} pairs", listed.len()), &wrong, &Vec::new());
    let Some(batch) = expected.get("batch") else { return };
    let tags: Vec<&str> = batch["samples"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    let found: Vec<u32> = tags.iter().map(|tag| lengths[tag].1 as u32).collect();
    fixture.check_exact("batch.lengths", &found, &ids(&batch["lengths"]));
    if fixture.has("batch.label_ids") {
        // 0 (no error) for the tokens of the translation, -1 for all others.
        let (labels, shape) = fixture.ints("batch.label_ids");
        let width = shape[1];
        let labelled =
            |tag: &&str| (0..width).map(|at| if at < lengths[*tag].0 { 0 } else { -1 }).collect::<Vec<i64>>();
        fixture.check_exact("batch.label_ids", &tags.iter().flat_map(labelled).collect(), &labels);
    }
}

/// Scores as COMET gives them: the guard against empty texts is this library's, so a blank one is not compared but has to be refused.
fn check_scores(fixture: &Fixture, model: &QualityModel, samples: &[Sample], expected: &Value) {
    let without = pairs(samples, false);
    let scores = model.score(&without, &QualityOptions::default()).unwrap();
    let blank = |pair: &Pair<'_>| pair.translation.trim().is_empty() || pair.source.trim().is_empty();
    let refused: Vec<bool> = scores.iter().map(|score| matches!(score, Outcome::Rejected { .. })).collect();
    fixture.check_exact("refused", &refused, &without.iter().map(blank).collect());

    check_numbers(fixture, "scores", &scores, &expected["scores"], |score| Some(score.score));
    if let Some(kept) = expected.get("kept_at_0.85") {
        let found: Vec<&str> = samples
            .iter()
            .zip(&scores)
            .zip(expected["scores"].as_array().unwrap())
            .filter(|((_, score), theirs)| scored(score).map_or(theirs.as_f64().unwrap() >= 0.85, |s| s.score >= 0.85))
            .map(|((sample, _), _)| sample.tag.as_str())
            .collect();
        let kept: Vec<&str> = kept.as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        fixture.check_exact("kept_at_0.85", &found, &kept);
    }
    if let Some(mean) = expected.get("system_score").and_then(Value::as_f64) {
        let listed = expected["scores"].as_array().unwrap();
        let values = scores
            .iter()
            .zip(listed)
            .map(|(score, theirs)| scored(score).map_or(theirs.as_f64().unwrap(), |score| f64::from(score.score)));
        let found = values.sum::<f64>() / listed.len() as f64;
        fixture.check_exact("system_score", &((found - mean).abs() <= f64::from(SCORE_TOLERANCE)), &true);
    }
    if expected.get("mqm_scores").is_some() {
        check_numbers(fixture, "mqm_scores", &scores, &expected["mqm_scores"], |score| score.parts.mqm_score);
        let clamped = |score: &Score| score.parts.source_score.map(|estimate| estimate.min(1.0));
        check_numbers(fixture, "src_scores_clamped", &scores, &expected["src_scores_clamped"], clamped);
        check_spans(fixture, "error_spans", &scores, &expected["error_spans"]);
    }
    check_batches(fixture, "batches", model, &without, &scores);
    if let Some(with) = expected.get("with_ref") {
        let pairs = pairs(samples, true);
        let scores = model.score(&pairs, &QualityOptions::default()).unwrap();
        let name = |what: &str| format!("with_ref.{what}");
        check_numbers(fixture, &name("scores"), &scores, &with["scores"], |score| Some(score.score));
        check_numbers(fixture, &name("src_scores"), &scores, &with["src_scores"], |score| score.parts.source_score);
        let reference = |score: &Score| score.parts.reference_score;
        check_numbers(fixture, &name("ref_scores"), &scores, &with["ref_scores"], reference);
        let unified = |score: &Score| score.parts.unified_score;
        check_numbers(fixture, &name("unified_scores"), &scores, &with["unified_scores"], unified);
        check_numbers(fixture, &name("mqm_scores"), &scores, &with["mqm_scores"], |score| score.parts.mqm_score);
        check_spans(fixture, &name("error_spans"), &scores, &with["error_spans"]);
        check_batches(fixture, "batches with references", model, &pairs, &scores);
        let known = ["scores", "src_scores", "ref_scores", "unified_scores", "mqm_scores", "error_spans"];
        fixture.check_keys("with_ref", with, &known);
    }
    // What is not cut has the same score however long texts are treated.
    for long in [LongText::Sentences, LongText::Reject] {
        let options = QualityOptions { long, ..QualityOptions::default() };
        let others = model.score(&without, &options).unwrap();
        let equal = |(one, other): (&Outcome, &Outcome)| match (scored(one), scored(other)) {
            (Some(one), Some(other)) if one.lost.is_nothing() => (one.score - other.score).abs() <= BATCH_TOLERANCE,
            (Some(one), Some(other)) => {
                long == LongText::Sentences && other.sentences > Some(0) && one.tokens == other.tokens
            }
            (one, None) => one.is_none_or(|one| !one.lost.is_nothing()),
            (None, Some(_)) => false,
        };
        let wrong: Vec<&str> = scores
            .iter()
            .zip(&others)
            .zip(samples)
            .filter(|(pair, _)| !equal(*pair))
            .map(|(_, sample)| sample.tag.as_str())
            .collect();
        fixture.check_exact(&format!("long texts: {long:?}"), &wrong, &Vec::new());
    }
}

fn pairs(samples: &[Sample], references: bool) -> Vec<Pair<'_>> {
    let mut pairs = Vec::new();
    for sample in samples {
        let reference = references.then_some(sample.reference.as_str());
        pairs.push(Pair { source: &sample.source, translation: &sample.translation, reference });
    }
    pairs
}

fn scored(outcome: &Outcome) -> Option<&Score> {
    match outcome {
        Outcome::Scored(score) => Some(score),
        Outcome::Rejected { .. } => None,
    }
}

/// Prints the largest difference of a number that all scored pairs have.
fn check_numbers(
    fixture: &Fixture,
    name: &str,
    found: &[Outcome],
    expected: &Value,
    number: impl Fn(&Score) -> Option<f32>,
) {
    let expected: Vec<f32> = expected.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect();
    assert_eq!(found.len(), expected.len(), "{name}");
    let differences = found.iter().zip(&expected).filter_map(|(outcome, expected)| {
        Some(number(scored(outcome)?).map_or(f32::INFINITY, |found| (found - expected).abs()))
    });
    let differences: Vec<f32> = differences.collect();
    let worst = differences.iter().fold(0f32, |max, difference| if *difference <= max { max } else { *difference });
    let count = differences.len();
    println!(
        "{:24} {:64} abs {worst:9.2e}  tolerance {SCORE_TOLERANCE:.0e}",
        fixture.name,
        format!("{name} of {count} pairs")
    );
    if worst > SCORE_TOLERANCE || count == 0 {
        fixture.fail(format!("{name}: difference {worst:e} > {SCORE_TOLERANCE:e}, {count} compared"));
    }
}

/// Texts, severities and places exactly, probabilities within the tolerance.
fn check_spans(fixture: &Fixture, name: &str, found: &[Outcome], expected: &Value) {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (index, (outcome, expected)) in found.iter().zip(expected.as_array().unwrap()).enumerate() {
        let Some(score) = scored(outcome) else { continue };
        let expected: Vec<ErrorSpan> = serde_json::from_value(expected.clone()).unwrap();
        let found = score.error_spans.as_deref().unwrap_or_default();
        let same = |(one, other): (&ErrorSpan, &ErrorSpan)| {
            let close = (one.confidence - other.confidence).abs() <= SCORE_TOLERANCE;
            close && ErrorSpan { confidence: other.confidence, ..one.clone() } == *other
        };
        count += expected.len();
        if found.len() != expected.len() || !found.iter().zip(&expected).all(same) {
            wrong.push(format!("pair {index}: {found:?}, expected {expected:?}"));
        }
    }
    fixture.check_exact(&format!("{name}, {count} spans"), &wrong, &Vec::new());
}

/// The same pairs in other batches, and in the other order.
fn check_batches(fixture: &Fixture, name: &str, model: &QualityModel, pairs: &[Pair<'_>], scores: &[Outcome]) {
    let mut worst = 0f32;
    for batch_tokens in BATCHES {
        let options = QualityOptions { batch_tokens, ..QualityOptions::default() };
        let mut reversed: Vec<Pair<'_>> = pairs.to_vec();
        reversed.reverse();
        let mut other = model.score(&reversed, &options).unwrap();
        other.reverse();
        for (one, other) in scores.iter().zip(&other) {
            let difference = match (scored(one), scored(other)) {
                (Some(one), Some(other)) => (one.score - other.score).abs(),
                (None, None) => 0.0,
                _ => f32::INFINITY,
            };
            worst = worst.max(difference);
        }
    }
    println!("{:24} {name:64} abs {worst:9.2e}  tolerance {BATCH_TOLERANCE:.0e}", fixture.name);
    if worst > BATCH_TOLERANCE {
        fixture.fail(format!("{name}: scores differ by {worst:e}"));
    }
}

/// The same weights with other mixtures.
fn check_alternatives(fixture: &Fixture, model: &mut QualityModel, samples: &[Sample]) {
    let cases = [
        ("softmax", LayerTransformation::Softmax, false),
        ("sparsemax", LayerTransformation::Sparsemax, false),
        ("softmax_layer_norm", LayerTransformation::Softmax, true),
    ];
    for (name, transformation, layer_norm) in cases {
        let tensor = |what: &str| format!("alt.{name}.{what}");
        if !fixture.asks(&tensor("scores")) {
            continue;
        }
        let config = &mut model.model_mut().config;
        let before = config.clone();
        (config.layer_transformation, config.layer_norm) = (transformation, layer_norm);
        assert!(config.input_segments.contains(&Segment::Source), "no references are compared here");
        let outcomes = model.score(&pairs(samples, false), &QualityOptions::default()).unwrap();
        let (theirs, shape) = fixture.floats(&tensor("scores"));
        // The estimate alone; COMET's own class for the error spans adds them.
        let found: Vec<f32> = outcomes
            .iter()
            .zip(&theirs)
            .map(|(outcome, theirs)| scored(outcome).map_or(*theirs, |score| score.score))
            .collect();
        fixture.check_values(&tensor("scores"), &found, &shape, FORWARD_TOLERANCE);
        if let Some(mix) = &model.model().layerwise_attention {
            let weights =
                mix.weights(transformation).unwrap().into_iter().map(|weight| weight as f32).collect::<Vec<_>>();
            fixture.check_values(&tensor("weights"), &weights, &[weights.len()], FORWARD_TOLERANCE);
        }
        model.model_mut().config = before;
    }
}

//! Cached generation equals full recomputation, and a batch equals its rows one by one, on tiny random models.

#![cfg(feature = "flex")]

mod common;

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use burn_vlm::checkpoint::{LoadOptions, Packed, Pretrained, StoreDtype};
use burn_vlm::connector::{ConnectorConfig, ParrotConfig, RoutingQuery};
use burn_vlm::generate::{Decoding, Finish, GenerationConfig};
use burn_vlm::init::seeded_normal;
use burn_vlm::language::{
    AttentionInput, Gemma2Config, LanguageConfig, LanguageModel, LlamaConfig, MistralConfig, Qwen2Config,
};
use burn_vlm::vlm::{SelectStrategy, VisualTokens, Vlm, VlmConfig, VlmInput};
use common::tiny;
use common::values;

/// Sums of other lengths in another order, on logits of order 1.
const ROUNDING: f32 = 2e-5;
/// Logits in half precision, relative to the largest: bf16 keeps 8 bits, so that each of some 20 operations in a row rounds by
/// up to 0.4 %, as do 8-bit numbers, and weights as large as these (deviation 0.3) pass errors on undiminished.
const HALF_TOLERANCE: f32 = 0.1;

fn decoders() -> [LanguageConfig; 4] {
    [tiny::gemma2(), tiny::qwen2(), tiny::llama(), tiny::mistral()]
}

fn ids(row: &[u32], device: &Device) -> Tensor<2, Int> {
    let row: Vec<i64> = row.iter().map(|id| i64::from(*id)).collect();
    let count = row.len();
    Tensor::from_data(TensorData::new(row, [1, count]), device)
}

fn prompts(seed: u64) -> Vec<Vec<u32>> {
    // Lengths below, at and above the sliding window of 5.
    [9usize, 3, 5, 1]
        .iter()
        .map(|length| (0..*length as u64).map(|at| ((at * 7 + seed * 13 + 3 * *length as u64) % 48) as u32).collect())
        .collect()
}

/// Greedy continuation by running the whole sequence again for every token.
fn uncached(model: &LanguageModel, prompt: &[u32], count: usize, device: &Device) -> Vec<u32> {
    let mut row = prompt.to_vec();
    for _ in 0..count {
        let hidden = model.forward(model.embed(ids(&row, device)), &AttentionInput::contiguous(), None).unwrap();
        let [_, tokens, _] = hidden.dims();
        let logits = values(model.logits(hidden.narrow(1, tokens - 1, 1)));
        let best = (0..logits.len()).fold(0, |best, id| if logits[id] > logits[best] { id } else { best });
        row.push(best as u32);
    }
    row.split_off(prompt.len())
}

#[test]
fn cached_equals_uncached_and_batched_equals_single() {
    let device = Device::flex();
    let config = GenerationConfig { max_new_tokens: 12, ..Default::default() };
    for language in decoders() {
        for seed in 0..3 {
            let model = tiny::language(&language, seed, &device);
            let prompts = prompts(seed);
            let batch = model.generate(&prompts, &config, &device).unwrap();
            for (prompt, row) in prompts.iter().zip(&batch) {
                assert_eq!(row.finish, Finish::Length);
                assert_eq!(row.ids, uncached(&model, prompt, 12, &device), "{language:?} seed {seed}");
                let single = model.generate(std::slice::from_ref(prompt), &config, &device).unwrap();
                assert_eq!(&single[0], row);
            }
        }
    }
}

#[test]
fn a_cached_prefix_gives_the_same_hidden_states() {
    let device = Device::flex();
    for language in decoders() {
        let model = tiny::language(&language, 5, &device);
        let row: Vec<u32> = (0..11).map(|at| (at * 5 + 1) % 48).collect();
        let full = model.forward(model.embed(ids(&row, &device)), &AttentionInput::contiguous(), None).unwrap();
        let mut cache = model.new_cache(1, 16, &device);
        let mut parts = Vec::new();
        // Pieces of several tokens, of one token, and beyond the window.
        for piece in [&row[..4], &row[4..5], &row[5..11]] {
            let embeds = model.embed(ids(piece, &device));
            parts.push(model.forward(embeds, &AttentionInput::contiguous(), Some(&mut cache)).unwrap());
        }
        assert_eq!(cache.len(), 11);
        let difference = values((Tensor::cat(parts, 1) - full).abs().max());
        assert!(difference[0] < ROUNDING, "{difference:?}");
    }
}

/// A number below `bound`, different for every question.
fn draw(state: &mut u64, bound: u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*state >> 33) % bound) as usize
}

/// One of the four families with random sizes.
fn random_decoder(state: &mut u64) -> LanguageConfig {
    let (kv_heads, group) = (1 + draw(state, 3), 1 + draw(state, 3));
    let (heads, head_dim, layers) = (kv_heads * group, 2 * (1 + draw(state, 4)), 1 + draw(state, 3));
    let (hidden, inner) = (heads * head_dim, 8 * (1 + draw(state, 4)));
    match decoders()[draw(state, 4)].clone() {
        LanguageConfig::Gemma2(config) => LanguageConfig::Gemma2(Gemma2Config {
            hidden_size: hidden,
            intermediate_size: inner,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim,
            sliding_window: Some(1 + draw(state, 12)),
            ..config
        }),
        LanguageConfig::Qwen2(config) => LanguageConfig::Qwen2(Qwen2Config {
            hidden_size: hidden,
            intermediate_size: inner,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            tie_word_embeddings: draw(state, 2) == 0,
            ..config
        }),
        LanguageConfig::Llama(config) => LanguageConfig::Llama(LlamaConfig {
            hidden_size: hidden,
            intermediate_size: inner,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: Some(kv_heads),
            head_dim: Some(head_dim),
            ..config
        }),
        LanguageConfig::Mistral(config) => LanguageConfig::Mistral(MistralConfig {
            hidden_size: hidden,
            intermediate_size: inner,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim: Some(head_dim),
            sliding_window: Some(1 + draw(state, 12)).filter(|window| *window < 12),
            ..config
        }),
    }
}

#[test]
fn random_models_generate_the_same_cached_batched_and_padded() {
    let device = Device::flex();
    let config = GenerationConfig { max_new_tokens: 6, ..Default::default() };
    for seed in 0..40 {
        let mut state = seed;
        let language = random_decoder(&mut state);
        let model = tiny::language(&language, seed, &device);
        let prompts: Vec<Vec<u32>> = (0..1 + draw(&mut state, 4))
            .map(|_| (0..1 + draw(&mut state, 20)).map(|_| draw(&mut state, 48) as u32).collect())
            .collect();
        let batch = model.generate(&prompts, &config, &device).unwrap();
        for (prompt, row) in prompts.iter().zip(&batch) {
            assert_eq!(row.ids, uncached(&model, prompt, 6, &device), "seed {seed}: {language:?}");
            assert_eq!(&model.generate(std::slice::from_ref(prompt), &config, &device).unwrap()[0], row, "seed {seed}");
        }
    }
}

/// Large weights as numbers of few bits, the others in f16.
fn packed(packed: Packed) -> LoadOptions {
    LoadOptions { packed: Some(packed), ..StoreDtype::F16.into() }
}

/// Weights in fewer bits than f32: half precision, and 8-bit numbers beside it.
fn narrow() -> [LoadOptions; 3] {
    [StoreDtype::BF16.into(), StoreDtype::F16.into(), packed(Packed::Q8)]
}

/// Half precision and 8 bits generate what f32 does, as far as its rounding lets it: logits of the prompts are near, and each token that
/// it chooses has, given the tokens before it, a logit in f32 that is near the largest.
#[test]
fn fewer_bits_generate() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    for language in decoders() {
        let exact = tiny::language(&language, 3, &device);
        exact.save_pretrained(folder.path(), StoreDtype::F32).unwrap();
        let logits = |model: &LanguageModel, row: &[u32]| {
            let hidden = model.forward(model.embed(ids(row, &device)), &AttentionInput::contiguous(), None).unwrap();
            values(model.logits(hidden).cast(DType::F32))
        };
        for options in narrow() {
            let model = LanguageModel::load_pretrained_with(folder.path(), &device, &options).unwrap();
            let config = GenerationConfig { max_new_tokens: 7, ..Default::default() };
            let rows = model.generate(&prompts(0), &config, &device).unwrap();
            for (prompt, row) in prompts(0).iter().zip(rows) {
                assert_eq!(row.ids.len(), 7, "{language:?}");
                let read = [&prompt[..], &row.ids].concat();
                let (half, full) = (logits(&model, &read), logits(&exact, &read));
                let largest = full.iter().fold(0f32, |max, value| max.max(value.abs()));
                let near = HALF_TOLERANCE * largest;
                let worst = half.iter().zip(&full).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
                assert!(worst <= near, "{options:?}: {worst} of {largest} in {language:?}");
                let vocabulary = full.len() / read.len();
                for (at, id) in row.ids.iter().enumerate() {
                    let before = &full[(prompt.len() + at - 1) * vocabulary..][..vocabulary];
                    let best = before.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    // Both may have moved by the tolerance.
                    assert!(best - before[*id as usize] <= 2.0 * near, "{options:?}: token {at} of {language:?}");
                }
            }
        }
    }
}

/// Pixels and features come in f32 whatever the model's element type; every tower and connector casts them.
#[test]
fn fewer_bits_read_pictures() {
    let device = Device::flex();
    let parrot = || ParrotConfig { num_experts: 2, intermediate_size: 8, ..ParrotConfig::default() };
    let pixels = seeded_normal::<4>([2, 3, 16, 16], 5, &device);
    for (vision, query) in [(tiny::siglip(), RoutingQuery::Pooled), (tiny::clip(), RoutingQuery::Cls)] {
        let routed = VlmConfig {
            connector: ConnectorConfig::Parrot(ParrotConfig { query, ..parrot() }),
            vision_feature_select_strategy: SelectStrategy::Full,
            visual_tokens: VisualTokens { pooled_head: query == RoutingQuery::Pooled, ..VisualTokens::default() },
            ..VlmConfig::new(vision.clone(), tiny::qwen2(), tiny::IMAGE_TOKEN)
        };
        for config in [tiny::vlm_config(vision, tiny::gemma2()), routed] {
            let exact = tiny::vlm(&config, 3, &device);
            let folder = tempfile::tempdir().unwrap();
            exact.save_pretrained(folder.path(), StoreDtype::F32).unwrap();
            let image = vec![tiny::IMAGE_TOKEN; config.num_visual_tokens()];
            let rows: Vec<i64> = [&[3, 7][..], &image, &[5, 4], &[8, 2], &image, &[9, 1]].concat();
            let shape = [2, rows.len() / 2];
            let ids = Tensor::<2, Int>::from_data(TensorData::new(rows, shape), &device);
            let logits = |model: &Vlm| {
                let features = model.encode_images(pixels.clone()).unwrap();
                let hidden = model.forward(&VlmInput::new(ids.clone()).with_features(features.clone())).unwrap();
                // Features that were computed by another, exact tower do too.
                let other = exact.encode_images(pixels.clone()).unwrap();
                model.forward(&VlmInput::new(ids.clone()).with_features(other)).unwrap();
                let interpolated = pixels.clone().repeat_dim(3, 2);
                model.vision_tower.forward_interpolated(interpolated).unwrap();
                values(model.language_model.logits(hidden).cast(DType::F32))
            };
            let full = logits(&exact);
            let largest = full.iter().fold(0f32, |max, value| max.max(value.abs()));
            for options in narrow() {
                let model = Vlm::load_pretrained_with(folder.path(), &device, &options).unwrap();
                let half = logits(&model);
                let worst = half.iter().zip(&full).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
                assert!(worst <= HALF_TOLERANCE * largest, "{options:?}: {worst} of {largest} in {config:?}");
            }
        }
    }
}

#[test]
fn left_padding_changes_nothing() {
    let device = Device::flex();
    for language in decoders() {
        let model = tiny::language(&language, 1, &device);
        let row: Vec<u32> = vec![4, 8, 15, 16, 23, 42, 3];
        let alone = model.forward(model.embed(ids(&row, &device)), &AttentionInput::contiguous(), None).unwrap();
        let padded: Vec<u32> = [vec![0; 4], row].concat();
        let mask: Vec<bool> = (0..11).map(|at| at >= 4).collect();
        let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, [1, 11]), &device);
        let input = AttentionInput::left_padded(mask);
        let padded = model.forward(model.embed(ids(&padded, &device)), &input, None).unwrap().narrow(1, 4, 7);
        let difference = values((alone - padded).abs().max());
        assert!(difference[0] < ROUNDING, "{difference:?}");
    }
}

#[test]
fn sampling_repeats_with_its_seed_and_does_not_see_its_neighbours() {
    let device = Device::flex();
    let model = tiny::language(&tiny::qwen2(), 2, &device);
    let config = GenerationConfig {
        max_new_tokens: 16,
        temperature: 1.0,
        top_k: Some(20),
        top_p: Some(0.95),
        repetition_penalty: 1.1,
        seed: 11,
        ..Default::default()
    };
    let prompts = prompts(0);
    let first = model.generate(&prompts, &config, &device).unwrap();
    assert_eq!(first, model.generate(&prompts, &config, &device).unwrap());
    assert_eq!(first[..1], model.generate(&prompts[..1], &config, &device).unwrap());
    let other = GenerationConfig { seed: 12, ..config };
    assert_ne!(first, model.generate(&prompts, &other, &device).unwrap());
}

#[test]
fn a_chat_that_keeps_its_cache_says_the_same() {
    let device = Device::flex();
    let config = GenerationConfig { max_new_tokens: 7, ..Default::default() };
    for language in decoders() {
        let model = tiny::language(&language, 4, &device);
        let first: Vec<u32> = vec![3, 1, 4, 1, 5];
        let mut stream = model.stream(std::slice::from_ref(&first), &config, &device).unwrap();
        stream.by_ref().for_each(|step| drop(step.unwrap()));
        let (answer, mut cache) = stream.into_parts();
        // The cache lacks the last token; the second prompt repeats all but the last two of what was said.
        let kept = [&first[..], &answer[0].ids[..5]].concat();
        let second = [&kept[..], &[9, 2, 6]].concat();
        cache.truncate(kept.len());
        let embeds = model.embed(ids(&second[kept.len()..], &device));
        let resumed = Decoding::resume(&model, cache, embeds, std::slice::from_ref(&second), &config).unwrap();
        assert_eq!(resumed.finish().unwrap(), model.generate(&[second], &config, &device).unwrap());
    }
}

#[test]
fn stop_tokens_end_their_row_only() {
    let device = Device::flex();
    let model = tiny::language(&tiny::gemma2(), 0, &device);
    let prompts = prompts(0);
    let mut config = GenerationConfig { max_new_tokens: 10, ..Default::default() };
    let free = model.generate(&prompts, &config, &device).unwrap();
    let stop = free[0].ids[2];
    config.stop_tokens = vec![stop];
    for (free, row) in free.iter().zip(model.generate(&prompts, &config, &device).unwrap()) {
        let expected: Vec<u32> = free.ids.iter().copied().take_while(|id| *id != stop).collect();
        let finish = if expected.len() < free.ids.len() { Finish::Stop(stop) } else { Finish::Length };
        assert_eq!((row.ids, row.finish), (expected, finish));
    }
}

#[test]
fn bad_requests_are_errors() {
    let device = Device::flex();
    let model = tiny::language(&tiny::qwen2(), 0, &device);
    let config = GenerationConfig { max_new_tokens: 100, ..Default::default() };
    let error = |prompts: &[Vec<u32>]| model.generate(prompts, &config, &device).unwrap_err().to_string();
    assert!(error(&[]).contains("at least one prompt"));
    assert!(error(&[vec![1], vec![]]).contains("no empty one"));
    // 64 positions
    assert!(error(&[vec![1, 2, 3]]).contains("max_position_embeddings"));
}

/// The decoder that the studies begin with.
fn backbone() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../parts/backbone")
}

/// Loss of each token of `rows` but the first, in order.
fn losses(model: &LanguageModel, rows: &[Vec<u32>], device: &Device) -> Vec<f32> {
    let of_row = |row: &Vec<u32>| {
        let hidden = model.forward(model.embed(ids(row, device)), &AttentionInput::contiguous(), None).unwrap();
        let count = row.len() - 1;
        let places = Tensor::<1, Int>::arange(0..count as i64, device);
        let targets: Vec<i64> = row[1..].iter().map(|id| i64::from(*id)).collect();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [count]), device);
        values(model.target_losses(hidden, places, targets))
    };
    rows.iter().flat_map(of_row).collect()
}

/// How far the perplexity of a trained decoder may move, in parts of itself: half a per cent for 8 bits, as llama.cpp's `Q8_0` is judged.
const PERPLEXITY: f64 = 5e-3;
/// As [`PERPLEXITY`], for 4 bits: small decoders lose more by them than those of billions of parameters do.
const PERPLEXITY_OF_4_BITS: f64 = 5e-2;

/// A trained decoder on 1,600 tokens that it wrote itself at temperature 1, whose loss is then its own entropy.
#[test]
fn fewer_bits_keep_the_perplexity_of_a_trained_decoder() {
    let device = Device::flex();
    let exact = LanguageModel::load_pretrained(&backbone(), &device).unwrap();
    let config = GenerationConfig { max_new_tokens: 200, temperature: 1.0, seed: 3, ..Default::default() };
    let texts: Vec<Vec<u32>> = exact
        .generate(&vec![vec![2]; 8], &config, &device)
        .unwrap()
        .into_iter()
        .map(|row| [&[2], &row.ids[..]].concat())
        .collect();
    let mean = |losses: &[f32]| losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len() as f64;
    let full = losses(&exact, &texts, &device);
    assert!(full.len() > 1000 && mean(&full) > 0.5, "{} tokens, {}", full.len(), mean(&full));
    let of_4_bits = (packed(Packed::Q4), PERPLEXITY_OF_4_BITS);
    for (options, most) in narrow().into_iter().map(|options| (options, PERPLEXITY)).chain([of_4_bits]) {
        let model = LanguageModel::load_pretrained_with(&backbone(), &device, &options).unwrap();
        let ratio = (mean(&losses(&model, &texts, &device)) - mean(&full)).exp();
        println!("{options:?}: perplexity {:.3}, {:+.4} %", mean(&full).exp(), 100.0 * (ratio - 1.0));
        assert!((ratio - 1.0).abs() < most, "{ratio} in {options:?}");
    }
}

/// With numbers of few bits a row has the same bits alone, among seven others, and token by token; what is saved is what is computed with.
#[test]
fn rows_of_few_bits_do_not_depend_on_their_neighbours() {
    let device = Device::flex();
    for few in [Packed::Q8, Packed::Q4] {
        let model = LanguageModel::load_pretrained_with(&backbone(), &device, &packed(few)).unwrap();
        let rows: Vec<i64> = (0..8 * 11).map(|at| at * 7919 % 8192).collect();
        let rows = Tensor::<2, Int>::from_data(TensorData::new(rows, [8, 11]), &device);
        let run = |ids: Tensor<2, Int>| {
            let hidden = model.forward(model.embed(ids), &AttentionInput::contiguous(), None).unwrap();
            model.logits(hidden)
        };
        let bits = |logits: Tensor<3>| values(logits).into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let batch = run(rows.clone());
        for row in 0..8 {
            assert!(bits(run(rows.clone().narrow(0, row, 1))) == bits(batch.clone().narrow(0, row, 1)), "row {row}");
        }
        let mut cache = model.new_cache(8, 11, &device);
        let steps = (0..11).map(|at| {
            let embeds = model.embed(rows.clone().narrow(1, at, 1));
            model.logits(model.forward(embeds, &AttentionInput::contiguous(), Some(&mut cache)).unwrap())
        });
        let difference = values((Tensor::cat(steps.collect(), 1) - batch.clone()).abs().max());
        // Attention sums over other lengths.
        let largest = values(batch.clone().abs().max())[0];
        assert!(difference[0] <= HALF_TOLERANCE * largest, "{difference:?} of {largest}");
        let folder = tempfile::tempdir().unwrap();
        model.save_pretrained(folder.path(), StoreDtype::F32).unwrap();
        // As floats: rounding what was rounded would move 4-bit numbers.
        let again = LanguageModel::load_pretrained(folder.path(), &device).unwrap();
        let hidden = again.forward(again.embed(rows), &AttentionInput::contiguous(), None).unwrap();
        let difference = values((again.logits(hidden) - batch).abs().max());
        assert!(difference[0] <= HALF_TOLERANCE * largest, "{difference:?} of {largest}");
    }
}

#[test]
fn weights_of_8_bits_are_refused_where_they_cannot_be() {
    let options = LoadOptions { packed: Some(Packed::Q8), ..LoadOptions::default() };
    let error = LanguageModel::load_pretrained_with(&backbone(), &Device::flex().autodiff(), &options).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("8 or 4 bits (q8, q4)") && text.contains("bfloat16") && text.contains("backbone"), "{text}");
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let mut model = tiny::language(&tiny::qwen2(), 1, &device);
    let LanguageModel::Qwen2(inner) = &mut model else { panic!("a Qwen 2") };
    let table = inner.model.embed_tokens.weight.clone();
    inner.model.embed_tokens.weight = table.map(|weight| weight * 1e8);
    model.save_pretrained(folder.path(), StoreDtype::F32).unwrap();
    let error = LanguageModel::load_pretrained_with(folder.path(), &device, &options).unwrap_err().to_string();
    assert!(
        error.contains("model.safetensors") && error.contains("embed_tokens") && error.contains("float32"),
        "{error}"
    );
}

//! Requests that take turns in one batch get the tokens that each gets alone, whatever their lengths, their number and the bound on keys
//! and values.

#![cfg(feature = "flex")]

mod common;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::ModelError;
use burn_vlm::generate::{
    ContinuousDecoding, DecodingLimits, Finish, Finished, Generated, GenerationConfig, PromptPart, Request,
};
use burn_vlm::language::{AttentionInput, LanguageConfig, LanguageModel};
use common::{tiny, values};

/// Dot products of another order, on logits of order 1.
const ROUNDING: f32 = 2e-5;

fn decoders() -> [LanguageConfig; 4] {
    [tiny::gemma2(), tiny::qwen2(), tiny::llama(), tiny::mistral()]
}

/// Embeddings of parts of prompts, padded on the right.
fn embed(
    model: &LanguageModel,
    prompts: &[Vec<u32>],
    parts: &[PromptPart],
    tokens: usize,
) -> Result<Tensor<3>, ModelError> {
    let mut ids = vec![0i64; parts.len() * tokens];
    for (row, part) in ids.chunks_mut(tokens).zip(parts) {
        row.iter_mut().zip(&prompts[part.row][part.start..part.end]).for_each(|(slot, id)| *slot = i64::from(*id));
    }
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [parts.len(), tokens]), &model.device());
    Ok(model.embed(ids))
}

/// All requests in turns; how many prompt tokens were run; the most keys and values that were held after a step, in bytes.
fn in_turns(model: &LanguageModel, requests: &[Request], limits: DecodingLimits) -> (Vec<Generated>, usize, usize) {
    let prompts: Vec<Vec<u32>> = requests.iter().map(|request| request.prompt.clone()).collect();
    let mut decoding = ContinuousDecoding::new(model, limits).unwrap();
    requests.iter().for_each(|request| decoding.push(request.clone()).unwrap());
    let mut finished: Vec<Option<Generated>> = vec![None; requests.len()];
    let mut told: Vec<Vec<u32>> = vec![Vec::new(); requests.len()];
    let (mut read, mut most) = (0, 0);
    while decoding.unfinished() > 0 {
        let step = decoding.step::<ModelError>(&mut |parts, tokens| {
            read += parts.iter().map(|part| part.end - part.start).sum::<usize>();
            embed(model, &prompts, parts, tokens)
        });
        let step = step.unwrap();
        most = most.max(decoding.cache_bytes());
        step.tokens.iter().for_each(|token| told[token.row].push(token.id));
        for Finished { id, generated } in step.finished {
            assert_eq!(generated.ids, told[id]);
            assert!(finished[id].replace(generated).is_none());
        }
    }
    (finished.into_iter().map(Option::unwrap).collect(), read, most)
}

/// A number below `bound`, different for every question.
fn draw(state: &mut u64, bound: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % bound
}

/// Prompts of 1 to 30 tokens, most of which begin like others, for answers of 1 to 12.
fn requests(count: usize, seed: u64, config: &GenerationConfig) -> Vec<Request> {
    let mut state = seed;
    let mut beginnings: Vec<Vec<u32>> = vec![Vec::new()];
    (0..count)
        .map(|id| {
            let mut prompt = beginnings[draw(&mut state, beginnings.len())].clone();
            prompt.extend((0..1 + draw(&mut state, 9)).map(|_| draw(&mut state, 48) as u32));
            prompt.truncate(30);
            beginnings.push(prompt.clone());
            let config = GenerationConfig { max_new_tokens: 1 + draw(&mut state, 12), ..config.clone() };
            Request { id, prompt, symbols: None, config, index: id % 3, logprobs: None }
        })
        .collect()
}

fn alone(model: &LanguageModel, request: &Request) -> Generated {
    // The index of a row is its place in the batch.
    let prompts = vec![request.prompt.clone(); request.index + 1];
    model.generate(&prompts, &request.config, &model.device()).unwrap().pop().unwrap()
}

#[test]
fn rows_that_are_replaced_are_those_of_one_at_a_time() {
    let device = Device::flex();
    for language in decoders() {
        let model = tiny::language(&language, 3, &device);
        for (seed, rows) in [(1, 1), (2, 3), (3, 8), (4, 100)] {
            let requests = requests(40, seed, &GenerationConfig::default());
            let expected: Vec<Generated> = requests.iter().map(|request| alone(&model, request)).collect();
            let (found, read, _) = in_turns(&model, &requests, DecodingLimits { rows, cache_bytes: None });
            assert_eq!(found, expected, "{rows} rows of {language:?}");
            let whole: usize = requests.iter().map(|request| request.prompt.len()).sum();
            assert!(read < whole, "{read} of {whole} prompt tokens were run");
        }
    }
}

#[test]
fn a_bound_on_keys_and_values_is_kept_and_changes_nothing() {
    let device = Device::flex();
    for language in [tiny::gemma2(), tiny::qwen2()] {
        let model = tiny::language(&language, 4, &device);
        let requests = requests(40, 5, &GenerationConfig::default());
        let (expected, _, free) = in_turns(&model, &requests, DecodingLimits { rows: 16, cache_bytes: None });
        // What the longest needs while its prompt is read, and more.
        let need = |request: &Request| 2 * request.prompt.len() + request.config.max_new_tokens - 1;
        let least = requests.iter().map(need).max().unwrap() * model.cache_bytes();
        for bound in [least, least + 1000, 2 * least, 5 * least] {
            let limits = DecodingLimits { rows: 16, cache_bytes: Some(bound) };
            let (found, _, most) = in_turns(&model, &requests, limits);
            assert_eq!(found, expected, "{bound} bytes");
            assert!(most <= bound && bound < free, "{most} of {bound} bytes, {free} without a bound");
        }
        let mut decoding =
            ContinuousDecoding::new(&model, DecodingLimits { rows: 16, cache_bytes: Some(least - 1) }).unwrap();
        let errors: Vec<String> = requests
            .iter()
            .filter_map(|request| decoding.push(request.clone()).err())
            .map(|error| error.to_string())
            .collect();
        assert!(!errors.is_empty() && errors.len() < requests.len());
        let expected =
            format!("needs {least} bytes of keys and values while it is read, the cache may have {}", least - 1);
        assert!(errors[0].contains(&expected), "{}", errors[0]);
    }
}

#[test]
fn sampled_rows_depend_on_seed_index_and_own_tokens() {
    let device = Device::flex();
    let model = tiny::language(&tiny::qwen2(), 2, &device);
    let config = GenerationConfig {
        temperature: 1.0,
        top_k: Some(20),
        top_p: Some(0.95),
        repetition_penalty: 1.1,
        seed: 11,
        ..Default::default()
    };
    let mut requests = requests(20, 6, &config);
    // Greedy ones among them.
    requests[3].config.temperature = 0.0;
    requests[4].config = GenerationConfig { max_new_tokens: 5, ..Default::default() };
    let expected: Vec<Generated> = requests.iter().map(|request| alone(&model, request)).collect();
    for rows in [1, 4, 30] {
        assert_eq!(in_turns(&model, &requests, DecodingLimits { rows, cache_bytes: None }).0, expected);
    }
}

#[test]
fn stop_tokens_end_their_row_only_and_no_new_tokens_are_none() {
    let device = Device::flex();
    let model = tiny::language(&tiny::gemma2(), 0, &device);
    let mut requests = requests(30, 7, &GenerationConfig::default());
    let free: Vec<Generated> = requests.iter().map(|request| alone(&model, request)).collect();
    // One that some row meets first, and one that some meet later.
    let stops = vec![free[0].ids[0], free[1].ids[free[1].ids.len() - 1]];
    requests.iter_mut().for_each(|request| request.config.stop_tokens.clone_from(&stops));
    requests[9].config.max_new_tokens = 0;
    let (found, ..) = in_turns(&model, &requests, DecodingLimits { rows: 4, cache_bytes: None });
    for (at, (row, free)) in found.iter().zip(&free).enumerate() {
        let ids: Vec<u32> = free.ids.iter().copied().take_while(|id| !stops.contains(id)).collect();
        let finish = free.ids.get(ids.len()).map_or(Finish::Length, |id| Finish::Stop(*id));
        let expected = if at == 9 { (vec![], Finish::Length) } else { (ids, finish) };
        assert_eq!((row.ids.clone(), row.finish), expected, "{at}");
    }
    assert!(found.iter().any(|row| matches!(row.finish, Finish::Stop(_)) && row.ids.is_empty()));
}

/// Requests that come while others are under way.
#[test]
fn requests_may_come_at_any_time() {
    let device = Device::flex();
    let model = tiny::language(&tiny::mistral(), 1, &device);
    let requests = requests(30, 8, &GenerationConfig::default());
    let prompts: Vec<Vec<u32>> = requests.iter().map(|request| request.prompt.clone()).collect();
    let mut decoding = ContinuousDecoding::new(&model, DecodingLimits { rows: 4, cache_bytes: Some(60_000) }).unwrap();
    let mut found: Vec<Option<Generated>> = vec![None; requests.len()];
    let mut coming = requests.iter();
    loop {
        coming.by_ref().take(2).for_each(|request| decoding.push(request.clone()).unwrap());
        let step = decoding.step::<ModelError>(&mut |parts, tokens| embed(&model, &prompts, parts, tokens)).unwrap();
        step.finished.into_iter().for_each(|row| found[row.id] = Some(row.generated));
        if decoding.unfinished() == 0 && coming.len() == 0 {
            break;
        }
    }
    for (request, found) in requests.iter().zip(found) {
        assert_eq!(found.unwrap(), alone(&model, request));
    }
}

/// Those that are taken out are told of no more, wherever they were, and the others do not notice.
#[test]
fn requests_may_be_taken_out_at_any_time() {
    let device = Device::flex();
    let model = tiny::language(&tiny::qwen2(), 1, &device);
    let mut requests = requests(24, 9, &GenerationConfig::default());
    requests[20].config.max_new_tokens = 0;
    let prompts: Vec<Vec<u32>> = requests.iter().map(|request| request.prompt.clone()).collect();
    let mut decoding = ContinuousDecoding::new(&model, DecodingLimits { rows: 3, cache_bytes: None }).unwrap();
    requests.iter().for_each(|request| decoding.push(request.clone()).unwrap());
    assert!(decoding.remove(20) && !decoding.remove(20), "one without tokens");
    assert!(decoding.remove(23), "one that waits");
    let mut gone = vec![20, 23];
    let mut found: Vec<Option<Generated>> = vec![None; requests.len()];
    let mut steps = 0;
    while decoding.unfinished() > 0 {
        let step = decoding.step::<ModelError>(&mut |parts, tokens| embed(&model, &prompts, parts, tokens)).unwrap();
        assert!(step.tokens.iter().all(|token| !gone.contains(&token.row)), "{gone:?}: {step:?}");
        step.finished.into_iter().for_each(|row| assert!(found[row.id].replace(row.generated).is_none()));
        // One of those that are being written or have been read, in turn.
        if let Some(token) = step.tokens.get(steps % 3).filter(|token| found[token.row].is_none()) {
            assert!(decoding.remove(token.row));
            gone.push(token.row);
        }
        steps += 1;
    }
    assert!(gone.len() > 6 && gone.len() < 20, "{gone:?}");
    for (request, found) in requests.iter().zip(found) {
        let expected = (!gone.contains(&request.id)).then(|| alone(&model, request));
        assert_eq!(found, expected, "{}", request.id);
    }
}

/// By the logits of the whole row, run at once.
#[test]
fn log_probabilities_are_the_models_own() {
    let device = Device::flex();
    let model = tiny::language(&tiny::gemma2(), 2, &device);
    let config =
        GenerationConfig { temperature: 0.7, top_k: Some(9), repetition_penalty: 1.2, seed: 4, ..Default::default() };
    let mut requests = requests(12, 10, &config);
    requests[1].config = GenerationConfig { max_new_tokens: 6, ..Default::default() };
    requests.iter_mut().for_each(|request| request.logprobs = (request.id % 4 != 3).then_some(request.id % 4));
    let prompts: Vec<Vec<u32>> = requests.iter().map(|request| request.prompt.clone()).collect();
    let mut decoding = ContinuousDecoding::new(&model, DecodingLimits { rows: 5, cache_bytes: None }).unwrap();
    requests.iter().for_each(|request| decoding.push(request.clone()).unwrap());
    let (mut told, mut rows) = (Vec::new(), prompts.clone());
    while decoding.unfinished() > 0 {
        let step = decoding.step::<ModelError>(&mut |parts, tokens| embed(&model, &prompts, parts, tokens)).unwrap();
        let asking = step.tokens.iter().filter(|token| requests[token.row].logprobs.is_some());
        assert!(asking.eq(step.logprobs.iter().map(|logprobs| &logprobs.token)), "{step:?}");
        told.extend(step.logprobs);
        step.finished.iter().for_each(|row| rows[row.id].extend(&row.generated.ids));
    }
    let mut next: Vec<usize> = prompts.iter().map(Vec::len).collect();
    for logprobs in told {
        let (row, at) = (logprobs.token.row, next[logprobs.token.row]);
        next[row] += 1;
        let part = PromptPart { row, start: 0, end: at };
        let hidden = embed(&model, &rows, &[part], at).unwrap();
        let hidden = model.forward(hidden, &AttentionInput::contiguous(), None).unwrap();
        let last = hidden.narrow(1, at - 1, 1).reshape([1, model.hidden_size()]);
        let expected = values(burn::tensor::activation::log_softmax(model.logits(last), 1));
        assert_eq!(logprobs.token.id, rows[row][at]);
        let same = |id: u32, found: f64| (f64::from(expected[id as usize]) - found).abs() < f64::from(ROUNDING);
        assert!(same(logprobs.token.id, logprobs.logprob), "{logprobs:?}");
        assert_eq!(logprobs.top.len(), requests[row].logprobs.unwrap());
        assert!(logprobs.top.iter().all(|top| same(top.id, top.logprob)), "{logprobs:?}");
        assert!(logprobs.top.is_sorted_by(|a, b| a.logprob >= b.logprob));
        let best = expected.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!(logprobs.top.first().is_none_or(|top| expected[top.id as usize] == best));
    }
    let asked = |request: &&Request| request.logprobs.is_some();
    assert!(requests.iter().filter(asked).all(|request| next[request.id] == rows[request.id].len()));
}

#[test]
fn bad_requests_are_errors() {
    let device = Device::flex();
    let model = tiny::language(&tiny::qwen2(), 0, &device);
    let limits = DecodingLimits { rows: 2, cache_bytes: None };
    let mut decoding = ContinuousDecoding::new(&model, limits).unwrap();
    let config = GenerationConfig::default();
    let good = Request { id: 0, prompt: vec![1; 60], symbols: None, config, index: 0, logprobs: None };
    let mut error = |request: Request| decoding.push(request).unwrap_err().to_string();
    assert!(error(Request { prompt: vec![], ..good.clone() }).contains("no empty one"));
    assert!(error(Request { symbols: Some(vec![1]), ..good.clone() }).contains("60 ids, but 1 symbols"));
    // 64 positions
    assert!(error(Request { prompt: vec![1; 65], ..good.clone() }).contains("max_position_embeddings"));
    let config = GenerationConfig { temperature: -1.0, ..Default::default() };
    assert!(error(Request { config, ..good.clone() }).contains("temperature"));
    decoding.push(good.clone()).unwrap();
    let mut embed =
        |parts: &[PromptPart], tokens: usize| embed(&model, std::slice::from_ref(&good.prompt), parts, tokens);
    let ended = decoding.run::<ModelError>(&mut embed, &mut |_| Ok(()));
    assert!(ended.unwrap_err().to_string().contains("max_position_embeddings"));
    assert!(ContinuousDecoding::new(&model, DecodingLimits { rows: 0, ..limits }).is_err());
}

#[test]
fn logits_of_some_ids_are_those_of_all() {
    let device = Device::flex();
    for language in decoders() {
        let model = tiny::language(&language, 6, &device);
        let hidden = embed(&model, &[vec![3, 5, 7]], &[PromptPart { row: 0, start: 0, end: 3 }], 3).unwrap();
        let hidden = hidden.reshape([3, model.hidden_size()]);
        let ids = Tensor::<1, Int>::from_data([7, 0, 49, 7], &device);
        let expected = model.logits(hidden.clone()).select(1, ids.clone());
        let difference = values((model.logits_of(hidden, ids) - expected).abs().max());
        assert!(difference[0] < ROUNDING, "{difference:?}");
    }
}

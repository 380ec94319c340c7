//! What questions begin with alike runs once, and no score knows of it: likelihoods, first tokens and written answers are those of each
//! row by itself, for every connector, for tiles and pictures with grids of their own, for several pictures and none.

#![cfg(feature = "flex")]

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::connector::{ConnectorConfig, ParrotConfig, PixelShuffleConfig, Projector, RoutingQuery, TextScope};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::init::Scope;
use burn_vlm::language::{Gemma2Config, LanguageConfig, Qwen2Config};
use burn_vlm::vision::{Siglip2VisionConfig, SiglipVisionConfig, VisionConfig};
use burn_vlm::vlm::{FeatureLayer, SelectStrategy, VisualTokens, Vlm, VlmConfig, VlmType};
use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::collate::{PaddingSide, collate};
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::encode::EncodeOptions;
use burn_vlm_data::image::{DecodeLimits, ImageProcessorConfig, RgbImage, encode_png};
use burn_vlm_data::prepare::next_token_targets;
use burn_vlm_data::processor::{ImageParts, PictureInput, Processor, ProcessorParts};
use burn_vlm_data::sample::{Media, Picture};
use burn_vlm_data::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};
use burn_vlm_train::error::Result;
use burn_vlm_train::eval::{Ask, Benchmark, Kept, Metric, Prediction, Question, Reply, Scorer, Shown, evaluate};
use burn_vlm_train::processor::{model_visual_tokens, picture_config};
use burn_vlm_train::recipe::PictureView;

/// Sums in another order, on logits of order 10.
const ROUNDING: f64 = 1e-4;
/// Answers, two of which are the beginnings of others.
const ANSWERS: [&str; 6] = ["a red cat", "a red cat and a dog", "a", "no", "no dog", "the blue bird"];
const LETTERS: [&str; 3] = ["A", "B", "C"];

fn png(value: u8, width: u32, height: u32) -> Vec<u8> {
    encode_png(&RgbImage::from_fn(width, height, |x, y| [value, (x * 9) as u8, (y * 7) as u8].into())).unwrap()
}

/// Questions about three pictures: of one, of two, of none; several about each, some of which begin alike.
struct Asked(Vec<Question>);

impl Asked {
    fn new() -> Self {
        let picture = |number: usize| {
            let (value, width, height) = [(10, 24, 24), (120, 40, 20), (240, 18, 50)][number];
            Media::Image(Picture::Encoded { name: format!("{number}.png"), bytes: png(value, width, height).into() })
        };
        let answers = |count: usize| ANSWERS[..count].iter().map(|answer| (*answer).to_owned()).collect::<Vec<_>>();
        let letters: Vec<String> = LETTERS.iter().map(|letter| (*letter).to_owned()).collect();
        let shown: [&[usize]; 5] = [&[0], &[1], &[2, 0], &[0, 1], &[]];
        let mut questions = Vec::new();
        for pictures in shown {
            for text in ["what is this", "what is this and that", "who", "what colour is it? A red B blue C a cat"] {
                let media = || pictures.iter().map(|number| picture(*number)).collect::<Vec<_>>();
                let count = 2 + questions.len() % 5;
                let asks = [
                    Ask::Likelihood { answers: answers(count) },
                    Ask::FirstToken { answers: letters.clone() },
                    Ask::Generate { max_new_tokens: 1 + questions.len() % 7 },
                    Ask::Conversation { turns: vec![text.to_owned(), "who".to_owned()], answer: ANSWERS[0].to_owned() },
                ];
                for ask in asks {
                    questions.push(Question::new(questions.len().to_string(), text, media(), ask));
                }
            }
        }
        Self(questions)
    }
}

impl Benchmark for Asked {
    fn name(&self) -> &str {
        "asked"
    }

    fn questions(&self) -> &[Question] {
        &self.0
    }

    /// The replies as they are: numbers as text.
    fn predictions(&self, replies: &[Reply]) -> Result<Vec<Prediction>> {
        let predict = |(question, reply): (&Question, &Reply)| Prediction {
            text: Some(match reply {
                Reply::Text(text) => text.clone(),
                Reply::Scores(scores) => serde_json::to_string(scores).unwrap(),
            }),
            ..Prediction::new(&question.id, self.name(), &question.id)
        };
        Ok(self.0.iter().zip(replies).map(predict).collect())
    }

    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }

    fn languages(&self) -> Vec<String> {
        Vec::new()
    }
}

fn gemma2() -> LanguageConfig {
    LanguageConfig::Gemma2(Gemma2Config {
        vocab_size: 400,
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        max_position_embeddings: 512,
        initializer_range: 0.3,
        query_pre_attn_scalar: 8.0,
        // Shorter than a picture with its question.
        sliding_window: Some(7),
        ..Gemma2Config::default()
    })
}

fn qwen2() -> LanguageConfig {
    LanguageConfig::Qwen2(Qwen2Config {
        vocab_size: 400,
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 6,
        num_key_value_heads: 3,
        max_position_embeddings: 512,
        initializer_range: 0.3,
        ..Qwen2Config::default()
    })
}

fn siglip() -> VisionConfig {
    VisionConfig::Siglip(SiglipVisionConfig {
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 16,
        patch_size: 4,
        ..SiglipVisionConfig::default()
    })
}

fn naflex() -> VisionConfig {
    VisionConfig::Siglip2(Siglip2VisionConfig {
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        patch_size: 4,
        num_patches: 16,
        ..Siglip2VisionConfig::default()
    })
}

fn of(vision: VisionConfig, language: LanguageConfig) -> VlmConfig {
    VlmConfig {
        vision_feature_layer: FeatureLayer::One(-1),
        vision_feature_select_strategy: SelectStrategy::Full,
        ..VlmConfig::new(vision, language, image_id())
    }
}

fn tokenizer() -> Tokenizer {
    Tokenizer::train_bpe(["what is this and that a red cat a dog no"], 300, &TINY_SPECIAL_TOKENS).unwrap()
}

fn image_id() -> i64 {
    tokenizer().image_id().unwrap().into()
}

fn parrot(scope: TextScope, bypass: bool) -> VlmConfig {
    let connector = ParrotConfig {
        num_experts: 3,
        intermediate_size: 8,
        query: RoutingQuery::Mean,
        text_scope: scope,
        // As large as the projection, so that another routing is another score.
        residual_weight: 1.0,
        bypass,
        ..ParrotConfig::default()
    };
    VlmConfig { connector: ConnectorConfig::Parrot(connector), ..of(siglip(), qwen2()) }
}

/// By name.
fn models() -> Vec<(&'static str, VlmConfig)> {
    let tiles = |config: VlmConfig| VlmConfig {
        model_type: VlmType::LlavaNext,
        image_grid_pinpoints: Some(vec![(16, 32), (32, 16), (32, 32), (48, 16)]),
        ..config
    };
    let shuffle = ConnectorConfig::PixelShuffle(PixelShuffleConfig { scale: 2 });
    vec![
        ("Gemma 2", of(siglip(), gemma2())),
        (
            "Qwen 2, pooled",
            VlmConfig {
                visual_tokens: VisualTokens { pool: Some(2), pooled_head: true, ..VisualTokens::default() },
                ..of(siglip(), qwen2())
            },
        ),
        ("pixel shuffle", VlmConfig { connector: shuffle, ..of(siglip(), qwen2()) }),
        ("tiles", tiles(of(siglip(), gemma2()))),
        ("NaFlex", of(naflex(), qwen2())),
        ("Parrot, masked tokens", parrot(TextScope::MaskedTokens, false)),
        ("Parrot, first user turn", parrot(TextScope::FirstUserTurn, false)),
        ("Parrot, all user turns", parrot(TextScope::AllUserTurns, false)),
        ("Parrot, bypassed", parrot(TextScope::MaskedTokens, true)),
        ("Parrot, tiles", tiles(parrot(TextScope::AllUserTurns, false))),
    ]
}

fn scorer(config: &VlmConfig, batch: usize) -> Scorer {
    let device = Device::flex();
    let model: Vlm = config.init_with(&Scope::new(3, &device)).unwrap();
    let flexible = matches!(config.vision_config, VisionConfig::Siglip2(_));
    let image = match flexible {
        true => ImageProcessorConfig::siglip2_naflex(4, 20),
        false => ImageProcessorConfig::siglip(16),
    };
    let view = if config.is_tiled() { PictureView::Tiles } else { PictureView::Square };
    let image = if flexible { image } else { picture_config(config, &image, view, false) };
    let tokens = model_visual_tokens(config).shown_by(&image);
    let images = Some(ImageParts { config: image, tokens, limits: DecodeLimits::default() });
    let (tokenizer, template) = (Arc::new(tokenizer()), Arc::new(ChatTemplate::tiny().unwrap()));
    let processor = Processor::new(ProcessorParts { tokenizer, template, images }).unwrap();
    Scorer::new(&model, &device, Arc::new(processor), None, batch)
}

fn shown(question: &Question) -> Vec<Shown> {
    let one = |medium: &Media| match medium {
        Media::Image(picture) => Shown::new(picture).unwrap(),
        Media::Video(_) => panic!("a video"),
    };
    question.media.iter().map(one).collect()
}

fn counts(scorer: &Scorer, question: &Question) -> Vec<usize> {
    let one = |medium: &Media| {
        let Media::Image(Picture::Encoded { name, bytes }) = medium else { panic!("no picture") };
        let input = PictureInput::File { name, bytes };
        scorer.processor.num_image_tokens(&scorer.processor.process_image(input, question.media.len()).unwrap())
    };
    question.media.iter().map(one).collect()
}

/// One row by itself, whole: the losses of its answer, and the logits where it begins.
fn alone(scorer: &Scorer, question: &Question, answer: &str) -> (f64, Vec<f32>) {
    let turns = [&question.turns[..], &[Turn::assistant(answer)]].concat();
    let scope = scorer.model.multi_modal_projector.text_scope();
    let user_turns = scope.is_some_and(TextScope::needs_user_turns);
    let options = EncodeOptions { user_turns, ..EncodeOptions::default() };
    let encoded = scorer.processor.encode(&turns, &counts(scorer, question), &options).unwrap();
    let text = collate(&[encoded], scorer.pad_id(), PaddingSide::Right, 1);
    let (rows, targets) = next_token_targets(&text);
    let pictures = shown(question);
    let input = scorer.input(&text, &[&pictures], &mut Kept::default()).unwrap();
    let hidden = scorer.model.forward(&input).unwrap();
    let int = |values: Vec<i64>| {
        let count = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &scorer.device)
    };
    let [_, tokens, width] = hidden.dims();
    let first = hidden.clone().reshape([tokens, width]).select(0, int(rows[..1].to_vec()));
    let logits = scorer.model.language_model.logits(first).into_data().iter::<f32>().collect();
    let losses = scorer.model.language_model.target_losses(hidden, int(rows), int(targets)).into_data();
    let losses: Vec<f64> = losses.iter::<f32>().map(f64::from).collect();
    (-losses.iter().sum::<f64>() / losses.len() as f64, logits)
}

/// The mean log-likelihood of all text tokens of a conversation, in a pass of its own.
fn whole(scorer: &Scorer, question: &Question, said: &str, answer: &str) -> f64 {
    let media = question.media.clone();
    let asked = Question::new("", said, media, Ask::Generate { max_new_tokens: 1 });
    let turns = [&asked.turns[..], &[Turn::assistant(answer)]].concat();
    let scope = scorer.model.multi_modal_projector.text_scope();
    let user_turns = scope.is_some_and(TextScope::needs_user_turns);
    let options = EncodeOptions { user_turns, ..EncodeOptions::default() };
    let encoded = scorer.processor.encode(&turns, &counts(scorer, &asked), &options).unwrap();
    let ids = encoded.ids.clone();
    let text = collate(&[encoded], scorer.pad_id(), PaddingSide::Right, 1);
    let pictures = shown(&asked);
    let input = scorer.input(&text, &[&pictures], &mut Kept::default()).unwrap();
    let hidden = scorer.model.forward(&input).unwrap();
    let [_, tokens, width] = hidden.dims();
    let logits = scorer.model.language_model.logits(hidden.reshape([tokens, width])).into_data();
    let logits: Vec<f64> = logits.iter::<f32>().map(f64::from).collect();
    let vocabulary = logits.len() / tokens;
    let image = scorer.processor.image_token_id();
    let mut scores = Vec::new();
    for at in (1..ids.len()).filter(|at| Some(ids[*at]) != image) {
        let row = &logits[(at - 1) * vocabulary..at * vocabulary];
        let largest = row.iter().copied().fold(f64::MIN, f64::max);
        let normaliser = largest + row.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln();
        scores.push(row[ids[at] as usize] - normaliser);
    }
    scores.iter().sum::<f64>() / scores.len() as f64
}

fn first_token(scorer: &Scorer, answer: &str) -> usize {
    let encoded =
        scorer.processor.encode(&[Turn::user("?"), Turn::assistant(answer)], &[], &EncodeOptions::default()).unwrap();
    encoded.labels.iter().copied().find(|label| *label >= 0).unwrap() as usize
}

fn near(found: &str, expected: &[f64], what: &str) {
    let found: Vec<f64> = serde_json::from_str(found).unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < ROUNDING, "{what}: {found}, expected {expected}");
    }
}

#[test]
fn replies_are_those_of_each_row_by_itself() {
    let asked = Asked::new();
    for (name, config) in models() {
        let scorer = scorer(&config, 5);
        let predictions = evaluate(&scorer, &asked, |_| {}).unwrap();
        let mut different = Vec::new();
        for (question, prediction) in asked.0.iter().zip(predictions) {
            let (what, found) = (format!("{name}, question {}", question.id), prediction.text.unwrap());
            match &question.ask {
                Ask::Likelihood { answers } => {
                    let expected: Vec<f64> = answers.iter().map(|answer| alone(&scorer, question, answer).0).collect();
                    near(&found, &expected, &what);
                    different.push(expected[0]);
                }
                Ask::FirstToken { answers } => {
                    let logits = alone(&scorer, question, &answers[0]).1;
                    let logit = |answer: &String| f64::from(logits[first_token(&scorer, answer)]);
                    near(&found, &answers.iter().map(logit).collect::<Vec<_>>(), &what);
                }
                Ask::Conversation { turns, answer } => {
                    let mean = |said: &String| whole(&scorer, question, said, answer);
                    near(&found, &turns.iter().map(mean).collect::<Vec<_>>(), &what);
                }
                Ask::Generate { max_new_tokens } => {
                    let pictures = shown(question);
                    let prompt = scorer.prompt(&question.turns, &pictures).unwrap();
                    let features = scorer.features_of(&[&pictures], &mut Kept::default()).unwrap();
                    let stop_tokens = scorer.processor.end_of_turn();
                    let config =
                        GenerationConfig { max_new_tokens: *max_new_tokens, stop_tokens, ..Default::default() };
                    let rows = scorer.model.generate(&[prompt], features, &config, &scorer.device).unwrap();
                    assert_eq!(found, scorer.processor.tokenizer().decode(&rows[0].ids, true).unwrap(), "{what}");
                }
            }
        }
        // No two of the questions have the same answer, so that one taken for another would have been seen.
        different.sort_by(f64::total_cmp);
        assert!(different.windows(2).all(|pair| pair[1] - pair[0] > 2.0 * ROUNDING), "{name}: {different:?}");
    }
}

#[test]
fn replies_do_not_depend_on_batches_nor_on_the_bound_on_keys_and_values() {
    let (name, config) = models().swap_remove(0);
    let asked = Asked::new();
    let of = |scorer: &Scorer| -> Vec<String> {
        let predictions = evaluate(scorer, &asked, |_| {}).unwrap();
        predictions.into_iter().map(|prediction| prediction.text.unwrap()).collect()
    };
    let mut told = Vec::new();
    evaluate(&scorer(&config, 3), &asked, |progress| told.push((progress.done, progress.total))).unwrap();
    let (done, total) = *told.last().unwrap();
    assert_eq!(done, total);
    assert!(told.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 == total));
    let expected = of(&scorer(&config, 100));
    for batch in [1, 2, 7] {
        // Two prompts and their answers.
        let bound = 200 * scorer(&config, 1).model.language_model.cache_bytes();
        for found in [of(&scorer(&config, batch)), of(&scorer(&config, batch).with_cache_memory(Some(bound)))] {
            for ((question, expected), found) in asked.0.iter().zip(&expected).zip(found) {
                let what = format!("{name}, batch {batch}, question {}", question.id);
                match question.ask {
                    Ask::Generate { .. } => assert_eq!(&found, expected, "{what}"),
                    _ => near(&found, &serde_json::from_str::<Vec<f64>>(expected).unwrap(), &what),
                }
            }
        }
    }
    let tight = scorer(&config, 4).with_cache_memory(Some(1000));
    let error = evaluate(&tight, &asked, |_| {}).unwrap_err().to_string();
    assert!(error.contains("the cache may have 1000"), "{error}");
}

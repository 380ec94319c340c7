//! What a decoder is asked without pictures: likelihoods against a plain forward pass, translations against generation of one row.

#![cfg(feature = "flex")]

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::init::Scope;
use burn_vlm::language::{AttentionInput, Gemma2Config, LanguageConfig};
use burn_vlm::vision::{SiglipVisionConfig, VisionConfig};
use burn_vlm::vlm::{Vlm, VlmConfig};
use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::encode::EncodeOptions;
use burn_vlm_data::image::{DecodeLimits, ImageProcessorConfig};
use burn_vlm_data::language::Language;
use burn_vlm_data::processor::{ImageParts, Processor, ProcessorParts};
use burn_vlm_data::sample::Sample;
use burn_vlm_data::tasks::{Pool, TaskBuilder, prompts};
use burn_vlm_data::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};
use burn_vlm_train::eval::{Scorer, TextQuestions};
use burn_vlm_train::processor::model_visual_tokens;
use burn_vlm_train::recipe::EvaluationRecipe;
use burn_vlm_train::stats::chrf;

/// Sums of some ten logarithms in f32, whose logits are of order 10, in another order; in bits.
const ROUNDING: f64 = 1e-3;
/// chrF is written with six decimals.
const WRITTEN: f64 = 1e-6;

fn evaluation(text: &str) -> EvaluationRecipe {
    let table = format!("languages = ['en']\ncloze = 'likelihood'\nseen = 1\nunseen = 1\ntext = {text}");
    EvaluationRecipe::from_table(toml::from_str(&table).unwrap()).unwrap()
}

fn scorer(corpus: &EmojiCorpus) -> Scorer {
    let builder = TaskBuilder::new(corpus, &[Language::EN, Language::DE], 0).unwrap();
    let tokenizer = Tokenizer::train_bpe(builder.tokenizer_texts(), 500, &TINY_SPECIAL_TOKENS).unwrap();
    let language = LanguageConfig::Gemma2(Gemma2Config {
        vocab_size: 500,
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        max_position_embeddings: 256,
        initializer_range: 0.3,
        query_pre_attn_scalar: 8.0,
        ..Gemma2Config::default()
    });
    let vision = VisionConfig::Siglip(SiglipVisionConfig {
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        image_size: 16,
        patch_size: 8,
        ..SiglipVisionConfig::default()
    });
    let config = VlmConfig::new(vision, language, tokenizer.image_id().unwrap().into());
    let device = Device::flex();
    let model: Vlm = config.init_with(&Scope::new(3, &device)).unwrap();
    let image = ImageProcessorConfig::siglip(16);
    let tokens = model_visual_tokens(&config).shown_by(&image);
    let images = Some(ImageParts { config: image, tokens, limits: DecodeLimits::default() });
    let (tokenizer, template) = (Arc::new(tokenizer), Arc::new(ChatTemplate::tiny().unwrap()));
    let processor = Processor::new(ProcessorParts { tokenizer, template, images }).unwrap();
    Scorer::new(&model, &device, Arc::new(processor), None, 4)
}

/// The negative log-likelihood of a sample's answer, base 2: the whole row in one pass, all logits, the normaliser in f64.
fn bits(scorer: &Scorer, sample: &Sample) -> f64 {
    let encoded = scorer.processor.encode(&sample.turns, &[], &EncodeOptions::default()).unwrap();
    let ids: Vec<i64> = encoded.ids.iter().map(|id| i64::from(*id)).collect();
    let tokens = ids.len();
    let decoder = &scorer.model.language_model;
    let input = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, tokens]), &scorer.device);
    let hidden = decoder.forward(decoder.embed(input), &AttentionInput::contiguous(), None).unwrap();
    let [_, _, width] = hidden.dims();
    let logits = decoder.logits(hidden.reshape([tokens, width])).into_data();
    let logits: Vec<f64> = logits.iter::<f32>().map(f64::from).collect();
    let vocabulary = logits.len() / tokens;
    let mut bits = 0.0;
    for (at, label) in encoded.labels.iter().enumerate().filter(|(_, label)| **label >= 0) {
        let row = &logits[(at - 1) * vocabulary..at * vocabulary];
        let largest = row.iter().copied().fold(f64::MIN, f64::max);
        let normaliser = largest + row.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln();
        bits += (normaliser - row[*label as usize]) / std::f64::consts::LN_2;
    }
    bits
}

#[test]
fn answers_are_those_of_plain_passes() {
    let corpus = EmojiCorpus::embedded().unwrap();
    let scorer = scorer(&corpus);
    let evaluation = evaluation("{ languages = ['en', 'de'], items = 5 }");
    let questions = TextQuestions::new(&corpus, &evaluation).unwrap().unwrap();
    let scores = questions.ask(&scorer, &mut |_| {}).unwrap();
    let languages = [Language::EN, Language::DE];
    let builder = TaskBuilder::new(&corpus, &languages, 0).unwrap();
    let held_out = builder.named_concepts(Pool::TEST_UNSEEN);
    let by_name: BTreeMap<(String, String), Sample> = builder
        .keywords_to_name_items(&held_out)
        .into_iter()
        .map(|sample| {
            ((sample.language.unwrap().tag().to_owned(), sample.group.as_deref().unwrap().to_owned()), sample)
        })
        .collect();
    assert!((4..=10).contains(&scores.likelihood.len()), "{}", scores.likelihood.len());
    for text in &scores.likelihood {
        let sample = &by_name[&(text.language.clone(), text.group.clone())];
        let expected = bits(&scorer, sample);
        assert!((text.bits - expected).abs() < ROUNDING, "{}: {} and {expected}", text.group, text.bits);
        assert_eq!(text.bytes, sample.turns[1].text.len());
        assert!(text.bits > 1.0);
    }
    // Five from English, five into it, but for names that are the same in both.
    assert!((8..=10).contains(&scores.translation.len()), "{}", scores.translation.len());
    let tokenizer = scorer.processor.tokenizer();
    for translation in &scores.translation {
        let concept = corpus.by_code(&translation.group).unwrap().id;
        let [from, to] = [&translation.from, &translation.language].map(|tag| Language::parse(tag).unwrap());
        assert_ne!(from, to);
        let source = &corpus.text(concept, from).unwrap().name;
        assert_eq!(translation.reference, corpus.text(concept, to).unwrap().name);
        let turn = burn_vlm_data::conversation::Turn::user(format!("{source}\n{}", prompts(to).what_is_this));
        let prompt = scorer.processor.encode_prompt(&[turn], &[]).unwrap();
        let config = GenerationConfig {
            max_new_tokens: 32,
            stop_tokens: scorer.processor.end_of_turn(),
            ..GenerationConfig::default()
        };
        let written = scorer.model.language_model.generate(&[prompt], &config, &scorer.device).unwrap();
        let text = tokenizer.decode(&written[0].ids, true).unwrap();
        assert_eq!(translation.text.trim(), text.trim());
        assert!((translation.chrf - chrf(&translation.text, &translation.reference) / 100.0).abs() < WRITTEN);
    }
}

#[test]
fn what_is_asked_is_what_the_recipe_says() {
    let corpus = EmojiCorpus::embedded().unwrap();
    let open = |text: &str| TextQuestions::new(&corpus, &evaluation(text));
    let few = open("{ languages = ['de', 'zh-Hans'], items = 20 }").unwrap().unwrap();
    let counts = few.counts();
    // English is only translated from.
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [Language::DE, Language::ZH_HANS]);
    assert!(counts.values().all(|(texts, translations)| *texts > 15 && *translations > 15 && *texts <= 20));
    let all = open("{ languages = ['de', 'zh-Hans'] }").unwrap().unwrap();
    assert!(all.len() > 4 * few.len());
    // Another prompt is another question.
    let told = open("{ languages = ['de', 'zh-Hans'], items = 20, prompt = 'instruction' }").unwrap().unwrap();
    assert!(told.len() == few.len() && told.key() != few.key());
    let again = open("{ languages = ['de', 'zh-Hans'], items = 20 }").unwrap().unwrap();
    assert_eq!(again.key(), few.key());
    let error = open("{ languages = ['de', 'sw'] }").map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("`text`") && error.contains("sw"), "{error}");
    let plain = "languages = ['en']\ncloze = 'likelihood'\nseen = 1\nunseen = 1";
    let plain = EvaluationRecipe::from_table(toml::from_str(plain).unwrap()).unwrap();
    assert!(TextQuestions::new(&corpus, &plain).unwrap().is_none());
}

//! A tiny random model in a folder: what it says is noise, but always the same noise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::tensor::Device;
use burn_vlm::checkpoint::{Pretrained, StoreDtype};
use burn_vlm::language::{LanguageConfig, Qwen2Config};
use burn_vlm::vision::{SiglipVisionConfig, VisionConfig};
use burn_vlm::vlm::{VlmConfig, VlmType};
use burn_vlm_data::chat_template::TINY_TEMPLATE;
use burn_vlm_data::conversation::{Role, Turn};
use burn_vlm_data::encode::{EncodeOptions, VisualCounts};
use burn_vlm_data::image::{ImageProcessorConfig, RgbImage};
use burn_vlm_data::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};

use super::{
    AnswerEnd, AnswerSettings, BatchLimits, ChatBatch, ChatModel, ChatPrompt, ChatSession, PromptError, Said, SaidPiece,
};
use crate::processor::picture_config;
use crate::recipe::PictureView;

/// Id of `<image>` among the special tokens.
const IMAGE_TOKEN: i64 = 3;

fn write_model(folder: &Path) {
    write_model_with(folder, &ImageProcessorConfig::siglip(16), None);
}

fn write_model_with(folder: &Path, image: &ImageProcessorConfig, tiles: Option<Vec<(usize, usize)>>) {
    let tokenizer = Tokenizer::train_bpe(["what is this? a red apple"], 300, &TINY_SPECIAL_TOKENS).unwrap();
    tokenizer.save(folder.join("tokenizer.json")).unwrap();
    std::fs::write(folder.join("chat_template.jinja"), TINY_TEMPLATE).unwrap();
    let processor = serde_json::to_string(image).unwrap();
    std::fs::write(folder.join("preprocessor_config.json"), processor).unwrap();
    let vision = VisionConfig::Siglip(SiglipVisionConfig {
        hidden_size: 16,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 16,
        patch_size: 8,
        ..Default::default()
    });
    // Untied: a tied random model repeats the last token of the prompt, which has no text.
    let text = LanguageConfig::Qwen2(Qwen2Config {
        vocab_size: tokenizer.vocab_size(),
        hidden_size: 24,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 128,
        // Large enough that the logits differ by more than rounding.
        initializer_range: 0.3,
        tie_word_embeddings: false,
        ..Default::default()
    });
    let model_type = if tiles.is_some() { VlmType::LlavaNext } else { VlmType::Llava };
    let config = VlmConfig { model_type, image_grid_pinpoints: tiles, ..VlmConfig::new(vision, text, IMAGE_TOKEN) };
    let model = config.init(&Device::flex()).unwrap();
    model.save_pretrained(folder, StoreDtype::F32).unwrap();
}

fn load(folder: &Path) -> ChatModel {
    let mut chat = ChatModel::load(folder, &Device::flex()).unwrap();
    chat.generation.max_new_tokens = 12;
    // A random model may say the end of the turn at once.
    chat.generation.stop_tokens.clear();
    chat.generation.temperature = 1.0;
    chat
}

fn picture(seed: u8) -> RgbImage {
    RgbImage::from_fn(20, 30, |x, y| [x as u8 * 9, y as u8 * 7, seed].into())
}

fn say(session: &mut ChatSession<'_>, question: &str) -> String {
    session.ask(question).unwrap().finish().unwrap()
}

#[test]
fn the_second_turn_reads_only_what_is_new_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let chat = load(folder.path());
    let mut session = chat.session();
    assert_eq!(session.add_rgb_image(&picture(1)).unwrap(), 4);
    let first = say(&mut session, "what is this?");
    session.add_rgb_image(&picture(200)).unwrap();
    let mut answer = session.ask("and this?").unwrap();
    let pieces: Vec<String> = answer.by_ref().map(Result::unwrap).collect();
    let stats = answer.stats();
    drop(answer);
    assert!(stats.reused_tokens > 4 && stats.reused_tokens < stats.prompt_tokens, "{stats:?}");
    assert!(stats.new_tokens > 0 && stats.new_tokens <= 12);
    assert_eq!(session.turns().len(), 4);
    assert_eq!((&session.turns()[1].text, session.turns()[3].text.as_str()), (&first, pieces.concat().as_str()));

    // The same conversation without a cache: everything is run at once.
    let ids = chat.prompt(&session.turns()[..3], VisualCounts::of_images(&[4, 4])).unwrap();
    let mut fresh = chat.session();
    fresh.add_rgb_image(&picture(1)).unwrap();
    fresh.add_rgb_image(&picture(200)).unwrap();
    let model = chat.vlm().unwrap();
    let features = fresh.features(model).unwrap();
    let whole = model.generate(&[ids], features, &chat.generation, &Device::flex()).unwrap();
    assert_eq!(chat.processor.tokenizer().decode(&whole[0].ids, true).unwrap(), pieces.concat());
}

#[test]
fn pictures_matter_and_a_new_conversation_forgets_them() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let chat = load(folder.path());
    let mut session = chat.session();
    let blind = say(&mut session, "what is this?");
    session.clear();
    session.add_rgb_image(&picture(1)).unwrap();
    let seen = say(&mut session, "what is this?");
    session.clear();
    assert_ne!(blind, seen);
    assert_eq!((session.num_images(), session.turns().len()), (0, 0));
    assert_eq!(say(&mut session, "what is this?"), blind);
}

#[test]
fn a_stop_string_ends_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let mut chat = load(folder.path());
    let free = say(&mut chat.session(), "what is this?");
    let stop: String = free.chars().skip(2).take(2).collect();
    assert_eq!(stop.chars().count(), 2, "{free:?}");
    chat.stop_strings = vec![stop.clone()];
    let cut = say(&mut chat.session(), "what is this?");
    assert_eq!(cut, free[..free.find(&stop).unwrap()]);
}

#[test]
fn an_answer_that_is_dropped_is_kept_as_far_as_it_went() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let chat = load(folder.path());
    let mut session = chat.session();
    let first = session.ask("what?").unwrap().next().unwrap().unwrap();
    assert_eq!(session.turns()[1].text, first);
    let next = say(&mut session, "and?");
    assert_eq!(session.turns()[3].text, next);
}

#[test]
fn what_cannot_be_done_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| ChatModel::load(path, &Device::flex()).err().unwrap().to_string();
    assert!(error(&folder.path().join("none")).contains("there is no such folder"));
    std::fs::create_dir(folder.path().join("cells")).unwrap();
    assert!(error(folder.path()).contains("name a cell"));
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    write_model(&model);
    // The folder above serves too.
    let chat = load(folder.path());
    assert!(!ChatModel::load(folder.path(), &Device::flex()).unwrap().generation.stop_tokens.is_empty());
    let mut session = chat.session();
    let error = session.ask(&"what is this? ".repeat(60)).err().unwrap().to_string();
    assert!(error.contains("max_position_embeddings"), "{error}");
    assert!(session.turns().is_empty());
    assert!(session.add_image("note.txt", b"no picture").unwrap_err().to_string().contains("note.txt"));
    std::fs::remove_file(model.join("tokenizer.json")).unwrap();
    let error = ChatModel::load(&model, &Device::flex()).err().unwrap().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
}

#[test]
fn errors_name_the_folder_or_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let chat = load(folder.path());
    let mut session = chat.session();
    let error = session.add_image("thin.png", &[]).unwrap_err().to_string();
    assert!(error.contains("thin.png"), "{error}");
    let error = session.ask("what is <image>?").map(drop).unwrap_err().to_string();
    assert!(error.contains("<image>") && error.contains("leave it out"), "{error}");
    assert!(session.turns().is_empty());

    // A template that has no place for pictures.
    std::fs::write(
        folder.path().join("chat_template.jinja"),
        "{% for m in messages %}{{ m.content | replace('<image>', 'x') }}{% endfor %}",
    )
    .unwrap();
    let chat = load(folder.path());
    let mut session = chat.session();
    session.add_rgb_image(&picture(1)).unwrap();
    let error = session.ask("what is this?").map(drop).unwrap_err().to_string();
    assert!(error.contains(&folder.path().display().to_string()), "{error}");

    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "siglip"}"#).unwrap();
    let error = ChatModel::load(folder.path(), &Device::flex()).map(drop).unwrap_err().to_string();
    assert!(error.contains("config.json") && error.contains("`siglip` is no model to talk to"), "{error}");
}

#[test]
fn half_precision_talks_and_pictures_count_in_the_time() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    for dtype in [StoreDtype::BF16, StoreDtype::F16] {
        let mut chat: ChatModel = ChatModel::load_as(folder.path(), &Device::flex(), dtype).unwrap();
        chat.generation.max_new_tokens = 3;
        chat.generation.stop_tokens.clear();
        let mut session = chat.session();
        session.add_rgb_image(&picture(1)).unwrap();
        let mut answer = session.ask("what is this?").unwrap();
        assert!(answer.stats().prefill.as_nanos() > 0, "the picture took time");
        assert!(answer.by_ref().all(|piece| piece.is_ok()));
        assert_eq!(answer.stats().new_tokens, 3, "{dtype:?}");
    }
}

/// A language model alone: the same answers as from its own `generate`, the cache kept, and pictures refused in words.
#[test]
fn a_language_model_alone_talks_and_takes_no_pictures() {
    let (folder, text) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_model(folder.path());
    let language = load(folder.path()).vlm().unwrap().language_model.clone();
    language.save_pretrained(text.path(), StoreDtype::F32).unwrap();
    for name in ["tokenizer.json", "chat_template.jinja"] {
        std::fs::copy(folder.path().join(name), text.path().join(name)).unwrap();
    }
    let chat = load(text.path());
    let mut session = chat.session();
    let first = say(&mut session, "what is this?");
    let mut answer = session.ask("and this?").unwrap();
    let second: String = answer.by_ref().map(Result::unwrap).collect();
    let stats = answer.stats();
    drop(answer);
    assert!(stats.reused_tokens > 4, "{stats:?}");
    assert_ne!(first, second);
    for (turns, found) in [(1, &first), (3, &second)] {
        let ids = chat.prompt(&session.turns()[..turns], VisualCounts::default()).unwrap();
        let whole = language.generate(&[ids], &chat.generation, &Device::flex()).unwrap();
        assert_eq!(&chat.processor.tokenizer().decode(&whole[0].ids, true).unwrap(), found);
    }
    let shown = session.add_rgb_image(&picture(1)).unwrap_err().to_string();
    let read = session.add_image("a.png", b"").unwrap_err().to_string();
    for error in [shown, read, chat.vlm().err().unwrap().to_string(), chat.into_vlm().err().unwrap().to_string()] {
        assert!(error.contains("config.json") && error.contains("shown neither pictures nor videos"), "{error}");
    }
}

/// What training does with several pictures chat does too: the first is no longer tiled once a second is there.
#[test]
fn the_first_of_several_pictures_is_seen_as_in_training() {
    let folder = tempfile::tempdir().unwrap();
    let tiles = vec![(16, 32), (32, 16), (32, 32)];
    write_model_with(folder.path(), &ImageProcessorConfig::siglip(16), Some(tiles.clone()));
    let config = load(folder.path()).vlm().unwrap().config.clone();
    write_model_with(
        folder.path(),
        &picture_config(&config, &ImageProcessorConfig::siglip(16), PictureView::Tiles, false),
        Some(tiles),
    );
    let chat = load(folder.path());
    let mut session = chat.session();
    // 20 x 30 on a canvas of 32 x 16: the whole, 4 x 2 patches, a newline a row.
    let tiled = session.add_rgb_image(&picture(1)).unwrap();
    assert!(tiled > 5, "{tiled}");
    say(&mut session, "what is this?");
    assert_eq!(session.add_rgb_image(&picture(200)).unwrap(), 4 + 1);
    let mut answer = session.ask("and this?").unwrap();
    assert!(answer.by_ref().all(|piece| piece.is_ok()));
    assert_eq!(answer.stats().reused_tokens, 0, "the first picture is another now");
    let prompt = answer.stats().prompt_tokens;
    drop(answer);
    let turns = session.turns()[..3].to_vec();
    assert_eq!(chat.prompt(&turns, VisualCounts::of_images(&[5, 5])).unwrap().len(), prompt);
    let features = session.features(chat.vlm().unwrap()).unwrap();
    assert_eq!(features.features.unwrap().dims()[0], 2, "one view each");
}

/// A conversation's ids in training begin with those that chat reads.
#[test]
fn chat_reads_what_training_read() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let chat = load(folder.path());
    let turns = [Turn::user("<image>\nwhat is this?"), Turn::assistant("a red apple")];
    let encoded = chat.processor.encode(&turns, &[4], &EncodeOptions::default()).unwrap();
    let prompt = chat.prompt(&turns[..1], VisualCounts::of_images(&[4])).unwrap();
    assert_eq!(encoded.ids[..prompt.len()], prompt);
    assert!(encoded.labels[..prompt.len()].iter().all(|label| *label < 0));
}

/// The bytes of a picture's file.
fn file(seed: u8) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.png");
    picture(seed).save(&path).unwrap();
    std::fs::read(path).unwrap()
}

/// What a session says to a conversation with these pictures and questions, each with all pictures before it.
fn in_a_session(chat: &ChatModel, turns: &[(&[u8], &str)]) -> Vec<String> {
    let mut session = chat.session();
    let mut ask = |(pictures, question): &(&[u8], &str)| {
        for seed in *pictures {
            session.add_image("picture", &file(*seed)).unwrap();
        }
        say(&mut session, question)
    };
    turns.iter().map(&mut ask).collect()
}

/// The same conversation up to its last question, as a batch takes it.
fn prompt_of(chat: &ChatModel, turns: &[(&[u8], &str)], answers: &[String]) -> ChatPrompt {
    let files: Vec<Vec<Vec<u8>>> =
        turns.iter().map(|(pictures, _)| pictures.iter().map(|seed| file(*seed)).collect()).collect();
    let mut said = Vec::new();
    for (at, (files, (_, question))) in files.iter().zip(turns).enumerate() {
        let shown = files.iter().map(|file| SaidPiece::Picture(file));
        said.push(Said { role: Role::User, pieces: shown.chain([SaidPiece::Text(question)]).collect() });
        if at + 1 < turns.len() {
            said.push(Said { role: Role::Assistant, pieces: vec![SaidPiece::Text(&answers[at])] });
        }
    }
    chat.prepare(&said).unwrap()
}

/// Answers of a batch by their numbers: text, and why they ended.
type Answers = BTreeMap<usize, (String, Option<AnswerEnd>)>;

fn step(batch: &mut ChatBatch<'_>, answers: &mut Answers) {
    for part in batch.step().unwrap() {
        let answer = answers.entry(part.id).or_default();
        assert_eq!(answer.1, None, "it has ended");
        answer.0.push_str(&part.text);
        answer.1 = part.end;
    }
}

fn finish(batch: &mut ChatBatch<'_>, answers: &mut Answers) {
    while batch.unfinished() > 0 {
        step(batch, answers);
    }
}

type Asked<'a> = Vec<(&'a [u8], &'a str)>;

/// A question with its pictures.
fn asks<'a>(pictures: &'a [u8], question: &'a str) -> (&'a [u8], &'a str) {
    (pictures, question)
}

/// Conversations with no, one and several pictures, with and without tiles, joining at any time: each is answered as in a session.
#[test]
fn conversations_of_a_batch_are_those_of_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let tiles = vec![(16, 32), (32, 16), (32, 32)];
    for tiled in [false, true] {
        write_model_with(folder.path(), &ImageProcessorConfig::siglip(16), tiled.then(|| tiles.clone()));
        if tiled {
            let config = load(folder.path()).vlm().unwrap().config.clone();
            let image = picture_config(&config, &ImageProcessorConfig::siglip(16), PictureView::Tiles, false);
            write_model_with(folder.path(), &image, Some(tiles.clone()));
        }
        let chat = load(folder.path());
        let asked: Vec<Asked<'_>> = vec![
            vec![asks(&[], "what is this?")],
            vec![asks(&[1], "what is this?")],
            vec![asks(&[1], "and this?")],
            vec![asks(&[200], "what is this?")],
            vec![asks(&[1, 200], "what is this?")],
            vec![asks(&[1], "what is this?"), asks(&[200], "and this?")],
            vec![asks(&[], "a red apple"), asks(&[], "what?"), asks(&[3], "this?")],
        ];
        // Features of hardly one picture are kept.
        let limits = BatchLimits { rows: 3, cache_bytes: None, feature_bytes: 2000 };
        let mut batch = ChatBatch::new(&chat, limits).unwrap();
        let settings = AnswerSettings { generation: chat.generation.clone(), ..AnswerSettings::default() };
        let (mut expected, mut found) = (Answers::new(), Answers::new());
        for turns in &asked {
            let answers = in_a_session(&chat, turns);
            let prompt = prompt_of(&chat, turns, &answers);
            let ids = batch.push(&prompt, &[settings.clone(), settings.clone()]).unwrap();
            assert!(batch.feature_bytes() <= limits.feature_bytes);
            let end = Some(AnswerEnd::Length);
            expected.extend(ids.into_iter().map(|id| (id, (answers.last().unwrap().clone(), end))));
            // The first of them are written meanwhile.
            (0..2).for_each(|_| step(&mut batch, &mut found));
        }
        finish(&mut batch, &mut found);
        assert_eq!(found, expected);
        assert_eq!(found.values().map(|(text, _)| text).collect::<BTreeSet<_>>().len(), asked.len());
    }
}

#[test]
fn a_batch_ends_answers_where_they_end() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let chat = load(folder.path());
    let turns: Asked<'_> = vec![asks(&[1], "what is this?")];
    let whole = in_a_session(&chat, &turns).remove(0);
    let prompt = prompt_of(&chat, &turns, &[]);
    let settings = |stop: &str, index: usize| AnswerSettings {
        generation: chat.generation.clone(),
        stop: vec![stop.to_owned()],
        logprobs: Some(2),
        form: None,
        index,
    };
    let limits = BatchLimits { rows: 4, cache_bytes: None, feature_bytes: 1 << 20 };
    let mut batch = ChatBatch::new(&chat, limits).unwrap();
    assert!(!batch.knows(&prompt));
    let stop: String = whole.chars().skip(2).take(2).collect();
    let ids = batch.push(&prompt, &[settings(&stop, 0), settings("never", 0), settings("never", 1)]).unwrap();
    assert!(batch.knows(&prompt) && batch.feature_bytes() > 0);
    let (mut written, mut tokens) = (BTreeMap::<usize, usize>::new(), BTreeMap::<usize, usize>::new());
    let mut texts = Answers::new();
    while batch.unfinished() > 0 {
        for part in batch.step().unwrap() {
            *written.entry(part.id).or_default() += part.written.len();
            *tokens.entry(part.id).or_default() += part.tokens;
            assert!(part.written.iter().all(|token| token.logprob < 0.0 && token.top.len() == 2));
            let text = texts.entry(part.id).or_default();
            text.0.push_str(&part.text);
            text.1 = part.end;
        }
    }
    let cut = whole[..whole.find(&stop).unwrap()].to_owned();
    assert_eq!(texts[&ids[0]], (cut, Some(AnswerEnd::Stop)));
    assert_eq!(texts[&ids[1]], (whole, Some(AnswerEnd::Length)));
    assert_ne!(texts[&ids[2]].0, texts[&ids[1]].0, "another answer to the same prompt");
    // All tokens are told, but for those of the stop text.
    assert!(written[&ids[0]] < tokens[&ids[0]] && tokens[&ids[0]] < 12, "{written:?} {tokens:?}");
    assert_eq!((written[&ids[1]], tokens[&ids[1]]), (12, 12));
    // One that is taken out is told of no more.
    let ids = batch.push(&prompt, &[settings("never", 0), settings("never", 1)]).unwrap();
    batch.step().unwrap();
    batch.remove(ids[0]);
    batch.remove(99);
    assert_eq!(batch.unfinished(), 1);
    let mut rest = Answers::new();
    finish(&mut batch, &mut rest);
    assert!(rest.keys().eq([&ids[1]]));
    batch.push(&prompt, &[settings("never", 0)]).unwrap();
    batch.clear().unwrap();
    assert_eq!((batch.unfinished(), batch.step().unwrap().len()), (0, 0));
    // A bound on keys and values: fewer tokens, or none.
    let token = chat.model.language_model().cache_bytes();
    let bounded = |tokens: usize| BatchLimits { cache_bytes: Some(tokens * token), ..limits };
    let length = prompt.tokens();
    assert_eq!(chat.most_new_tokens(length, &limits), 128 - length);
    assert_eq!(chat.most_new_tokens(length, &bounded(2 * length + 4)), 5);
    assert_eq!(chat.most_new_tokens(length, &bounded(2 * length - 1)), 0);
    let mut batch = ChatBatch::new(&chat, bounded(2 * length + 4)).unwrap();
    let id = batch.push(&prompt, &[settings("never", 0)]).unwrap()[0];
    let mut count = 0;
    while batch.unfinished() > 0 {
        count += batch.step().unwrap().iter().map(|part| part.tokens).sum::<usize>();
    }
    assert_eq!((count, id), (5, 0));
}

#[test]
fn conversations_that_cannot_be_answered_say_why() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let chat = load(folder.path());
    let png = file(1);
    let user = |pieces: Vec<SaidPiece<'_>>| chat.prepare(&[Said { role: Role::User, pieces }]).map(|_| ()).unwrap_err();
    for pieces in [vec![SaidPiece::Text("what is <image>?")], vec![SaidPiece::Text("<ima"), SaidPiece::Text("ge>")]] {
        assert!(matches!(user(pieces), PromptError::Mark { turn: 0, what: "picture", .. }));
    }
    let error = user(vec![SaidPiece::Picture(&png), SaidPiece::Picture(b"no picture")]);
    assert!(
        matches!(error, PromptError::Picture { number: 1, .. }) && error.to_string().starts_with("picture 2: "),
        "{error}"
    );
    assert_eq!(error.to_string().matches("picture 2").count(), 1, "{error}");
    let long = "what is this? ".repeat(60);
    let error = user(vec![SaidPiece::Text(&long)]);
    let PromptError::TooLong { tokens, most: 128 } = error else { panic!("{error}") };
    assert!(error.to_string().contains(&tokens.to_string()) && error.to_string().contains("128"), "{error}");
    // The template has no place for instructions.
    let system = [Said { role: Role::System, pieces: vec![SaidPiece::Text("Be short.")] }];
    assert!(matches!(chat.prepare(&system), Err(PromptError::Conversation(_))));
    let text = tempfile::tempdir().unwrap();
    chat.vlm().unwrap().language_model.save_pretrained(text.path(), StoreDtype::F32).unwrap();
    for name in ["tokenizer.json", "chat_template.jinja"] {
        std::fs::copy(folder.path().join(name), text.path().join(name)).unwrap();
    }
    let alone = load(text.path());
    let shown = [Said { role: Role::User, pieces: vec![SaidPiece::Picture(&png)] }];
    assert!(matches!(alone.prepare(&shown), Err(PromptError::NoPictures(_))));
    let error = ChatBatch::new(&chat, BatchLimits { rows: 0, cache_bytes: None, feature_bytes: 0 }).err().unwrap();
    assert!(error.to_string().contains("at least one row"), "{error}");
}

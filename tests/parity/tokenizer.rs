//! Tokenizers and chat templates: ids, tokens, offsets, decoding, batches, special ids, rendered chats. Everything is exact.

use burn_vlm_data::chat_template::{ChatTemplate, Message, RenderOptions};
use burn_vlm_data::conversation::{Role, Turn, count_images};
use burn_vlm_data::encode::EncodeOptions;
use burn_vlm_data::processor::Processor;
use burn_vlm_data::tokenizer::{PaddingSide, Tokenizer};
use serde_json::Value;

use crate::common::Fixture;

/// Checks one tokenizer's folder.
pub fn check(fixture: Fixture) {
    let tokenizer = Tokenizer::from_file(fixture.dir.join("tokenizer.json")).unwrap();
    let template = ChatTemplate::from_folder(&fixture.dir).unwrap();
    let processor = Processor::text_from_folder(&fixture.dir).unwrap();
    let expected = fixture.json("expected.json");
    fixture.check_exact(
        "vocab_size_total",
        &tokenizer.vocab_size(),
        &(integers(&expected["vocab_size_total"])[0] as usize),
    );
    for (token, id) in expected["special_ids"].as_object().unwrap() {
        fixture.check_exact(&format!("special_ids {token}"), &tokenizer.token_id(token), &Some(integers(id)[0]));
    }
    check_encodings(&fixture, &tokenizer, &expected["encodings"]);
    check_batch(&fixture, &tokenizer, &expected["batch"]);
    for (index, chat) in expected["chats"].as_array().unwrap().iter().enumerate() {
        check_chat(&fixture, &processor, &template, chat, index);
    }
    let keys: Vec<&String> = expected.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 5, "{}: expected.json has a part that no check looks at: {keys:?}", fixture.name);
    fixture.finish(&[]);
}

/// One number or a list of them.
fn integers(value: &Value) -> Vec<u32> {
    match value.as_array() {
        Some(list) => list.iter().flat_map(integers).collect(),
        None => vec![value.as_u64().unwrap() as u32],
    }
}

fn rows(value: &Value) -> Vec<Vec<u32>> {
    value.as_array().unwrap().iter().map(integers).collect()
}

/// One line for each kind of value, over all texts.
fn check_encodings(fixture: &Fixture, tokenizer: &Tokenizer, encodings: &Value) {
    let encodings = encodings.as_array().unwrap();
    let text = |encoding: &Value, key: &str| encoding[key].as_str().unwrap().to_owned();
    let strings = |key: &str| encodings.iter().map(|encoding| text(encoding, key)).collect::<Vec<_>>();
    let lists = |key: &str| encodings.iter().map(|encoding| integers(&encoding[key])).collect::<Vec<_>>();
    let texts = strings("text");
    let count = texts.len();

    let ids: Vec<_> = texts.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
    fixture.check_exact(&format!("ids of {count} texts"), &ids, &lists("ids"));
    let special: Vec<_> = texts.iter().map(|text| tokenizer.encode_with_special_tokens(text).unwrap()).collect();
    fixture.check_exact("ids_with_special", &special, &lists("ids_with_special"));

    let all: Vec<_> = texts.iter().map(|text| tokenizer.encode_with_offsets(text, false).unwrap()).collect();
    let found: Vec<_> = all.iter().map(|encoding| encoding.ids.clone()).collect();
    fixture.check_exact("ids beside offsets", &found, &ids);
    let found: Vec<_> = all.iter().map(|encoding| encoding.tokens.clone()).collect();
    let strings_of = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|token| token.as_str().unwrap().to_owned()).collect()
    };
    fixture.check_exact("tokens", &found, &encodings.iter().map(|e| strings_of(&e["tokens"])).collect());
    let flat =
        |offsets: &[(usize, usize)]| offsets.iter().flat_map(|(a, b)| [*a as u32, *b as u32]).collect::<Vec<_>>();
    let found: Vec<_> = all.iter().map(|encoding| flat(&encoding.offsets)).collect();
    fixture.check_exact("offsets_chars", &found, &lists("offsets_chars"));

    let found: Vec<_> = ids.iter().map(|ids| tokenizer.decode(ids, false).unwrap()).collect();
    fixture.check_exact("decode", &found, &strings("decode"));
    let found: Vec<_> = special.iter().map(|ids| tokenizer.decode(ids, true).unwrap()).collect();
    fixture.check_exact("decode_skip_special", &found, &strings("decode_skip_special"));
}

fn check_batch(fixture: &Fixture, tokenizer: &Tokenizer, batch: &Value) {
    let texts: Vec<&str> = batch["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let found = tokenizer.encode_batch(&texts).unwrap();
    fixture.check_exact("batch.input_ids", &found.input_ids, &rows(&batch["input_ids"]));
    fixture.check_exact("batch.attention_mask", &found.attention_mask, &rows(&batch["attention_mask"]));
    let side = if batch["padding_side"] == "left" { PaddingSide::Left } else { PaddingSide::Right };
    fixture.check_exact("batch.padding_side", &tokenizer.padding_side(), &side);
}

/// A conversation as turns and as messages: its text, and its ids whether encoded whole or turn by turn.
fn check_chat(fixture: &Fixture, processor: &Processor, template: &ChatTemplate, chat: &Value, index: usize) {
    let messages: Vec<Message> = serde_json::from_value(chat["messages"].clone()).unwrap();
    let turns: Vec<Turn> = chat["messages"].as_array().unwrap().iter().map(turn).collect();
    let prompt = chat["add_generation_prompt"].as_bool().unwrap();
    let text = chat["text"].as_str().unwrap().to_owned();
    let options = RenderOptions { add_generation_prompt: prompt, ..Default::default() };
    fixture.check_exact(&format!("chats.{index}.text"), &template.render(&turns, prompt).unwrap(), &text);
    let rendered = template.render_messages(&messages, &options).unwrap();
    fixture.check_exact(&format!("chats.{index}.text of messages"), &rendered, &text);
    let ids = integers(&chat["ids"]);
    fixture.check_exact(&format!("chats.{index}.ids"), &processor.tokenizer().encode(&text).unwrap(), &ids);
    let pictures = vec![1; count_images(&turns)];
    let parts = if prompt {
        crate::vlm_prompt::check_answers(&fixture.name, processor, &turns, &pictures);
        processor.encode_prompt(&turns, &pictures).unwrap()
    } else {
        processor.encode(&turns, &pictures, &EncodeOptions::default()).unwrap().ids
    };
    fixture.check_exact(&format!("chats.{index}.ids turn by turn"), &parts, &ids);
}

fn turn(message: &Value) -> Turn {
    let role: Role = serde_json::from_value(message["role"].clone()).unwrap();
    Turn { role, text: message["content"].as_str().unwrap().to_owned() }
}

//! Tokenizers and chat templates: ids, tokens, offsets, decoding, batches, special ids, rendered chats. Everything is exact.

use burn_vlm_data::chat_template::{ChatTemplate, Message, RenderOptions};
use burn_vlm_data::conversation::{Role, Turn, count_images};
use burn_vlm_data::encode::EncodeOptions;
use burn_vlm_data::processor::Processor;
use burn_vlm_data::tokenizer::{PaddingSide, Tokenizer};
use serde_json::Value;

use crate::common::Fixture;
use crate::vlm_prompt::turn;

/// Checks one tokenizer's folder.
pub fn check(fixture: Fixture) {
    check_words(&fixture);
    fixture.finish(&[]);
}

/// Checks what expected.json has of a folder's tokenizer and template.
pub fn check_words(fixture: &Fixture) {
    let tokenizer = Tokenizer::from_file(fixture.dir.join("tokenizer.json")).unwrap();
    let expected = fixture.json("expected.json");
    let part = |name: &str| {
        let part = expected.get(name);
        if part.is_none() {
            fixture.skipped(&format!("expected.json, {name}"));
        }
        part
    };
    if let Some(total) = part("vocab_size_total") {
        fixture.check_exact("vocab_size_total", &tokenizer.vocab_size(), &(integers(total)[0] as usize));
    }
    for (token, id) in part("special_ids").and_then(Value::as_object).into_iter().flatten() {
        fixture.check_exact(&format!("special_ids {token}"), &tokenizer.token_id(token), &Some(integers(id)[0]));
    }
    if let Some(encodings) = part("encodings") {
        check_encodings(fixture, &tokenizer, encodings);
    }
    if let Some(batch) = part("batch") {
        check_batch(fixture, &tokenizer, batch);
    }
    if let Some(chats) = part("chats") {
        let template = ChatTemplate::from_folder(&fixture.dir).unwrap();
        let processor = Processor::text_from_folder(&fixture.dir).unwrap();
        for (index, chat) in chats.as_array().unwrap().iter().enumerate() {
            check_chat(fixture, &processor, &template, chat, index);
        }
    }
    fixture.check_keys("expected.json", &expected, &["vocab_size_total", "special_ids", "encodings", "batch", "chats"]);
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
    let known = ["text", "ids", "ids_with_special", "tokens", "offsets_chars", "decode", "decode_skip_special"];
    encodings.iter().for_each(|encoding| fixture.check_keys("encodings", encoding, &known));
    let has = |key: &str| {
        let has = encodings.iter().all(|encoding| encoding.get(key).is_some());
        if !has {
            fixture.skipped(&format!("encodings, {key}"));
        }
        has
    };
    let text = |encoding: &Value, key: &str| encoding[key].as_str().unwrap().to_owned();
    let strings = |key: &str| encodings.iter().map(|encoding| text(encoding, key)).collect::<Vec<_>>();
    let lists = |key: &str| encodings.iter().map(|encoding| integers(&encoding[key])).collect::<Vec<_>>();
    let texts = strings("text");
    let count = texts.len();

    let ids: Vec<_> = texts.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
    if has("ids") {
        fixture.check_exact(&format!("ids of {count} texts"), &ids, &lists("ids"));
    }
    let special: Vec<_> = texts.iter().map(|text| tokenizer.encode_with_special_tokens(text).unwrap()).collect();
    if has("ids_with_special") {
        fixture.check_exact("ids_with_special", &special, &lists("ids_with_special"));
    }

    let all: Vec<_> = texts.iter().map(|text| tokenizer.encode_with_offsets(text, false).unwrap()).collect();
    let found: Vec<_> = all.iter().map(|encoding| encoding.ids.clone()).collect();
    fixture.check_exact("ids beside offsets", &found, &ids);
    let strings_of = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|token| token.as_str().unwrap().to_owned()).collect()
    };
    if has("tokens") {
        let found: Vec<_> = all.iter().map(|encoding| encoding.tokens.clone()).collect();
        fixture.check_exact("tokens", &found, &encodings.iter().map(|e| strings_of(&e["tokens"])).collect());
    }
    let flat =
        |offsets: &[(usize, usize)]| offsets.iter().flat_map(|(a, b)| [*a as u32, *b as u32]).collect::<Vec<_>>();
    if has("offsets_chars") {
        let found: Vec<_> = all.iter().map(|encoding| flat(&encoding.offsets)).collect();
        fixture.check_exact("offsets_chars", &found, &lists("offsets_chars"));
    }
    if has("decode") {
        let found: Vec<_> = ids.iter().map(|ids| tokenizer.decode(ids, false).unwrap()).collect();
        fixture.check_exact("decode", &found, &strings("decode"));
    }
    if has("decode_skip_special") {
        let found: Vec<_> = special.iter().map(|ids| tokenizer.decode(ids, true).unwrap()).collect();
        fixture.check_exact("decode_skip_special", &found, &strings("decode_skip_special"));
    }
}

fn check_batch(fixture: &Fixture, tokenizer: &Tokenizer, batch: &Value) {
    fixture.check_keys("batch", batch, &["texts", "input_ids", "attention_mask", "padding_side"]);
    let texts: Vec<&str> = batch["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let found = tokenizer.encode_batch(&texts).unwrap();
    fixture.check_exact("batch.input_ids", &found.input_ids, &rows(&batch["input_ids"]));
    fixture.check_exact("batch.attention_mask", &found.attention_mask, &rows(&batch["attention_mask"]));
    let side = if batch["padding_side"] == "left" { PaddingSide::Left } else { PaddingSide::Right };
    fixture.check_exact("batch.padding_side", &tokenizer.padding_side(), &side);
}

/// A conversation as turns and as messages: its text, and its ids whether encoded whole or turn by turn.
fn check_chat(fixture: &Fixture, processor: &Processor, template: &ChatTemplate, chat: &Value, index: usize) {
    fixture.check_keys("chats", chat, &["messages", "add_generation_prompt", "text", "ids"]);
    let messages: Vec<Message> = serde_json::from_value(chat["messages"].clone()).unwrap();
    let turns: Vec<Turn> = messages.iter().map(turn).collect();
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
        // Some templates refuse two answers one after the other.
        if turns.last().is_some_and(|turn| turn.role == Role::User) {
            crate::vlm_prompt::check_answers(&fixture.name, processor, &turns, &pictures);
        }
        processor.encode_prompt(&turns, &pictures).unwrap()
    } else {
        processor.encode(&turns, &pictures, &EncodeOptions::default()).unwrap().ids
    };
    fixture.check_exact(&format!("chats.{index}.ids turn by turn"), &parts, &ids);
}

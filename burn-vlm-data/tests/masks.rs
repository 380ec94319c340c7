//! Label masks under published chat templates: which tokens of a conversation are trained.

use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::encode::{EncodeOptions, IGNORE, MaskStyle, encode, end_of_turn};
use burn_vlm_data::tokenizer::Tokenizer;
use std::path::Path;

fn load(name: &str) -> (Tokenizer, ChatTemplate) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name);
    (Tokenizer::from_file(folder.join("tokenizer.json")).unwrap(), ChatTemplate::from_folder(folder).unwrap())
}

/// The text of the trained tokens, with a bar between runs.
fn trained(tokenizer: &Tokenizer, turns: &[Turn], template: &ChatTemplate, mask: MaskStyle) -> String {
    let options = EncodeOptions { mask, ..Default::default() };
    let encoded = encode(tokenizer, template, turns, &[2], &options).unwrap();
    let mut runs: Vec<Vec<u32>> = vec![Vec::new()];
    for (id, label) in encoded.ids.iter().zip(&encoded.labels) {
        assert!(*label == IGNORE || *label == i64::from(*id));
        match (*label, runs.last_mut()) {
            (IGNORE, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            (IGNORE, _) => {}
            (_, Some(run)) => run.push(*id),
            _ => {}
        }
    }
    let text = |run: &Vec<u32>| tokenizer.decode(run, false).unwrap();
    runs.iter().filter(|run| !run.is_empty()).map(text).collect::<Vec<_>>().join("|")
}

fn conversation() -> Vec<Turn> {
    vec![
        Turn::user("<image>\nWhat is this?"),
        Turn::assistant("a cat"),
        Turn::user("Really, a cat?"),
        Turn::assistant("yes"),
    ]
}

#[test]
fn masks_of_gemma() {
    let (tokenizer, template) = load("tok_gemma");
    let shown = |mask| trained(&tokenizer, &conversation(), &template, mask);
    assert_eq!(shown(MaskStyle::AnswersOnly), "a cat<end_of_turn>|yes<end_of_turn>");
    assert_eq!(
        shown(MaskStyle::Towervision),
        "<start_of_turn>|\n|\n|<end_of_turn>\n<start_of_turn>model\na cat<end_of_turn>\n<start_of_turn>|\n|<end_of_turn>\n\
         <start_of_turn>model\nyes<end_of_turn>\n"
    );
    let options = EncodeOptions { mask: MaskStyle::LlavaNextQwen, ..Default::default() };
    let error = encode(&tokenizer, &template, &conversation(), &[2], &options).unwrap_err().to_string();
    assert!(error.contains("<|im_start|>") && error.contains("answers_only"), "{error}");
}

#[test]
fn masks_of_qwen() {
    let (tokenizer, template) = load("tok_qwen");
    let shown = |mask| trained(&tokenizer, &conversation(), &template, mask);
    assert_eq!(shown(MaskStyle::AnswersOnly), "a cat<|im_end|>|yes<|im_end|>");
    assert!(shown(MaskStyle::LlavaNextQwen).contains("<|im_start|>assistant\na cat<|im_end|>\n<|im_start|>|"));
}

#[test]
fn templates_say_where_an_answer_ends() {
    for (folder, token) in [("tok_gemma", "<end_of_turn>"), ("tok_qwen", "<|im_end|>")] {
        let (tokenizer, template) = load(folder);
        assert_eq!(end_of_turn(&tokenizer, &template).unwrap(), tokenizer.token_id(token));
    }
}

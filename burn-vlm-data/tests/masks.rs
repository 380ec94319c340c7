//! Label masks under published chat templates: which tokens of a conversation are trained.

use burn_vlm_data::conversation::{Role, Turn};
use burn_vlm_data::encode::{EncodeError, EncodeOptions, Encoded, IGNORE, MaskStyle, Truncation};
use burn_vlm_data::plain::PromptTemplate;
use burn_vlm_data::processor::Processor;
use std::path::Path;

fn load(name: &str) -> Processor {
    Processor::text_from_folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)).unwrap()
}

/// The text of the trained tokens, with a bar between runs.
fn trained(processor: &Processor, turns: &[Turn], mask: MaskStyle) -> String {
    let options = EncodeOptions { mask, ..Default::default() };
    let encoded = processor.encode(turns, &[2], &options).unwrap();
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
    let text = |run: &Vec<u32>| processor.tokenizer().decode(run, false).unwrap();
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
    let processor = load("tok_gemma");
    let shown = |mask| trained(&processor, &conversation(), mask);
    assert_eq!(shown(MaskStyle::AnswersOnly), "a cat<end_of_turn>|yes<end_of_turn>");
    assert_eq!(
        shown(MaskStyle::Towervision),
        "<start_of_turn>|\n|\n|<end_of_turn>\n<start_of_turn>model\na cat<end_of_turn>\n<start_of_turn>|\n|<end_of_turn>\n\
         <start_of_turn>model\nyes<end_of_turn>\n"
    );
    let options = EncodeOptions { mask: MaskStyle::LlavaNextQwen, ..Default::default() };
    let error = processor.encode(&conversation(), &[2], &options).unwrap_err().to_string();
    assert!(error.contains("<|im_start|>") && error.contains("answers_only"), "{error}");
}

#[test]
fn masks_of_qwen() {
    let processor = load("tok_qwen");
    let shown = |mask| trained(&processor, &conversation(), mask);
    assert_eq!(shown(MaskStyle::AnswersOnly), "a cat<|im_end|>|yes<|im_end|>");
    assert!(shown(MaskStyle::LlavaNextQwen).contains("<|im_start|>assistant\na cat<|im_end|>\n<|im_start|>|"));
}

#[test]
fn templates_say_where_an_answer_ends() {
    for (folder, token) in [("tok_gemma", "<end_of_turn>"), ("tok_qwen", "<|im_end|>")] {
        let processor = load(folder);
        assert_eq!(processor.end_of_turn().first().copied(), processor.tokenizer().token_id(token));
    }
}

/// A conversation of a fixture with the ids that Hugging Face's tokenizer and template give it.
fn reference(name: &str, chat: usize) -> (Vec<Turn>, Vec<u32>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name).join("expected.json");
    let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let chat = &expected["chats"][chat];
    let turn = |message: &serde_json::Value| {
        let role: Role = serde_json::from_value(message["role"].clone()).unwrap();
        Turn { role, text: message["content"].as_str().unwrap().to_owned() }
    };
    let turns = chat["messages"].as_array().unwrap().iter().map(turn).collect();
    (turns, serde_json::from_value(chat["ids"].clone()).unwrap())
}

/// Lengths of the runs of masked and trained tokens in turn, masked first.
fn runs(encoded: &Encoded) -> Vec<usize> {
    let mut runs = vec![0];
    for (id, label) in encoded.ids.iter().zip(&encoded.labels) {
        assert!(*label == IGNORE || *label == i64::from(*id));
        // Odd runs are trained.
        if (runs.len() % 2 == 0) != (*label != IGNORE) {
            runs.push(0);
        }
        *runs.last_mut().unwrap() += 1;
    }
    runs
}

/// Token by token, worked out by hand from the published codes' rules over Hugging Face's ids.
#[test]
fn masks_token_by_token() {
    use MaskStyle::{AnswersOnly, LlavaNextQwen, Towervision};
    // Gemma 2, "<image>\nO que está escrito na placa?" / "Está escrito «Lisboa»." / "E em inglês?":
    // bos | start | us er | \n | <image> | \n | 19 of the question | end \n, start m o d el \n, 19 of the answer, end \n,
    // start | us er | \n | 10 of the question | end \n
    let gemma = vec![1, 1, 2, 1, 1, 1, 19, 2 + 6 + 19 + 2 + 1, 2, 1, 10, 2];
    // The same: 34 before the answer, 19 of it and end, then \n and the last turn.
    let gemma_answers = vec![34, 20, 17];
    // "Hi {{ not a template }}" / "" / "many\n\nlines", trimmed; the double line break is one token, not two single ones:
    // bos | start | us er | \n | 18 | end \n, start m o d el \n, end \n, start | us er | \n | 3 + \n\n + 3 | end \n
    let gemma_empty = vec![1, 1, 2, 1, 18, 2 + 6 + 2 + 1, 2, 1, 7, 2];
    // Qwen, with its default system turn:
    // start | s y st em | \n | 19 of the system prompt | end \n start | us er | \n | 2 spaces, <image> | \n | 21 of the
    // question | end \n, start, 5 of "assistant", \n, 19 of the answer, end \n, start | us er | \n | 10 | end \n
    let qwen = vec![0, 1, 4, 1, 19, 3, 2, 1, 3, 1, 21, 2 + 7 + 19 + 2 + 1, 2, 1, 10, 2];
    let qwen_answers = vec![65, 20, 17];
    // "\n\nmany\n\nlines\n" is not trimmed, and its line breaks are single tokens:
    // ... | us er | \n \n \n | m an y | \n \n | l in es | \n end \n
    let qwen_empty = vec![0, 1, 4, 1, 19, 3, 2, 1, 18, 2 + 7 + 2 + 1, 2, 3, 3, 2, 3, 3];
    for (folder, chat, pictures, mask, expected) in [
        ("tok_gemma", 2, 1, Towervision, gemma),
        ("tok_gemma", 2, 1, AnswersOnly, gemma_answers),
        ("tok_gemma", 6, 0, Towervision, gemma_empty),
        ("tok_qwen", 2, 1, LlavaNextQwen, qwen),
        ("tok_qwen", 2, 1, AnswersOnly, qwen_answers),
        ("tok_qwen", 6, 0, LlavaNextQwen, qwen_empty),
    ] {
        let processor = load(folder);
        let (turns, ids) = reference(folder, chat);
        let options = EncodeOptions { mask, ..Default::default() };
        let encoded = processor.encode(&turns, &[1][..pictures], &options).unwrap();
        assert_eq!(encoded.ids, ids, "{folder} {chat}");
        assert_eq!(runs(&encoded), expected, "{folder} {chat} {mask:?}");
        // Visual tokens change nothing else.
        let many = processor.encode(&turns, &[729][..pictures], &options).unwrap();
        assert_eq!((many.trained(), many.ids.len()), (encoded.trained(), ids.len() + 728 * pictures));
    }
}

/// A style of another family does not silently train nothing.
#[test]
fn styles_need_their_tokens() {
    let processor = load("tok_qwen");
    let options = EncodeOptions { mask: MaskStyle::Towervision, ..Default::default() };
    let error = processor.encode(&conversation(), &[2], &options).unwrap_err().to_string();
    assert!(error.contains("<start_of_turn>"), "{error}");
}

/// Pictures, caption, line break; ids are those of the fixtures.
#[test]
fn plain_captions() {
    let turns = [Turn::user("Describe this. <image>\n"), Turn::assistant("E em")];
    let none = EncodeOptions::default();
    let gemma = load("tok_gemma");
    let encoded = gemma.encode_as(PromptTemplate::Plain, &turns, &[3], &none).unwrap();
    assert_eq!(encoded.ids, [2, 1174, 1174, 1174, 296, 693, 931, 12]);
    assert_eq!(encoded.labels, [IGNORE, IGNORE, IGNORE, IGNORE, 296, 693, 931, 12]);
    let chat = gemma.encode_as(PromptTemplate::Chat, &turns, &[3], &none).unwrap();
    assert_eq!(chat, gemma.encode(&turns, &[3], &none).unwrap());
    // No start token here.
    let qwen = load("tok_qwen");
    let two = [Turn::user("<image><image>"), turns[1].clone()];
    let encoded = qwen.encode_as(PromptTemplate::Plain, &two, &[1, 2], &none).unwrap();
    assert_eq!(encoded.ids, [903, 903, 903, 36, 220, 355, 198]);
    assert_eq!(runs(&encoded), [3, 4]);
    let short = EncodeOptions { max_tokens: Some(6), truncation: Truncation::Count, ..none };
    let cut = gemma.encode_as(PromptTemplate::Plain, &turns, &[3], &short).unwrap();
    assert_eq!((cut.ids.len(), cut.truncated), (6, 2));
    for wrong in [
        vec![turns[1].clone()],
        vec![Turn::user("no picture"), turns[1].clone()],
        vec![turns[0].clone(), Turn::user("b")],
        vec![turns[0].clone(), Turn::assistant("<image>")],
        conversation(),
    ] {
        assert!(
            matches!(gemma.encode_as(PromptTemplate::Plain, &wrong, &[3], &none), Err(EncodeError::NoCaption { .. })),
            "{wrong:?}"
        );
    }
    assert!(matches!(gemma.encode_as(PromptTemplate::Plain, &turns, &[3, 3], &none), Err(EncodeError::Images { .. })));
}

/// Turns as lines of one text, between start and end; all but start and pictures is trained.
#[test]
fn documents() {
    let none = EncodeOptions::default();
    let turns = [Turn::user("E em"), Turn::assistant("E em")];
    for (folder, start, words) in
        [("tok_gemma", vec![2u32], vec![296u32, 693, 931]), ("tok_qwen", vec![], vec![36, 220, 355])]
    {
        let processor = load(folder);
        let line_break = processor.tokenizer().encode("\n").unwrap();
        let end = processor.tokenizer().eos_id();
        let encoded = processor.encode_as(PromptTemplate::Document, &turns, &[], &none).unwrap();
        let expected: Vec<u32> = [&start[..], &words, &line_break, &words, &Vec::from_iter(end)].concat();
        assert_eq!(encoded.ids, expected, "{folder}");
        let trained: Vec<i64> = expected[start.len()..].iter().map(|id| i64::from(*id)).collect();
        assert_eq!(encoded.labels, [vec![IGNORE; start.len()], trained].concat(), "{folder}");
    }
    // A picture in the middle stands for its visual tokens.
    let gemma = load("tok_gemma");
    let shown = [Turn::user("E em<image>E em")];
    let encoded = gemma.encode_as(PromptTemplate::Document, &shown, &[2], &none).unwrap();
    assert_eq!(encoded.ids[..9], [2, 296, 693, 931, 1174, 1174, 296, 693, 931]);
    assert_eq!(encoded.labels[3..7], [931, IGNORE, IGNORE, 296]);
    assert!(matches!(gemma.encode_as(PromptTemplate::Document, &shown, &[], &none), Err(EncodeError::Images { .. })));
}

//! Conversations become ids and labels turn by turn, with nothing lost and nothing cut in silence.

use burn_vlm_data::chat_template::{ChatTemplate, Content, Message, RenderOptions};
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::encode::{EncodeError, EncodeOptions, Encoded, IGNORE, Truncation};
use burn_vlm_data::processor::{Processor, ProcessorParts};
use burn_vlm_data::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};

fn tokenizer() -> Tokenizer {
    Tokenizer::train_bpe(["What is this? red apple", "Was ist das? roter Apfel"], 300, &TINY_SPECIAL_TOKENS).unwrap()
}

fn tiny() -> ChatTemplate {
    ChatTemplate::tiny().unwrap()
}

fn encode(
    tokenizer: &Tokenizer,
    template: ChatTemplate,
    turns: &[Turn],
    counts: &[usize],
    options: &EncodeOptions,
) -> Result<Encoded, EncodeError> {
    Processor::new(ProcessorParts::text(tokenizer.clone(), template)).unwrap().encode(turns, counts, options)
}

fn conversation() -> Vec<Turn> {
    vec![Turn::user("<image>\nWhat is this?"), Turn::assistant("red apple")]
}

fn options(max_tokens: usize, truncation: Truncation) -> EncodeOptions {
    EncodeOptions { max_tokens: Some(max_tokens), truncation, ..Default::default() }
}

fn trained_text(tokenizer: &Tokenizer, encoded: &Encoded) -> String {
    let ids: Vec<u32> = encoded.labels.iter().filter(|l| **l != IGNORE).map(|l| *l as u32).collect();
    tokenizer.decode(&ids, false).unwrap()
}

#[test]
fn answers_are_trained_and_pictures_expand() {
    let tokenizer = tokenizer();
    let encoded = encode(&tokenizer, tiny(), &conversation(), &[5], &EncodeOptions::default()).unwrap();
    assert_eq!(encoded.ids.len(), encoded.labels.len());
    assert_eq!(&encoded.ids[..7], [4, 3, 3, 3, 3, 3, tokenizer.encode("\n").unwrap()[0]]);
    assert_eq!(trained_text(&tokenizer, &encoded), "red apple<|end|>");
    assert_eq!(encoded.trained(), encoded.labels.iter().filter(|l| **l >= 0).count());
    // The prompt of the training sample is the prompt of inference.
    let processor = Processor::new(ProcessorParts::text(tokenizer.clone(), tiny())).unwrap();
    let prompt = processor.encode_prompt(&conversation()[..1], &[5]).unwrap();
    assert_eq!(encoded.ids[..prompt.len()], prompt);
    assert!(encoded.labels[..prompt.len()].iter().all(|label| *label == IGNORE));
    // With one visual token a picture, the ids are those of the whole text.
    let one = encode(&tokenizer, tiny(), &conversation(), &[1], &EncodeOptions::default()).unwrap();
    assert_eq!(one.ids, tokenizer.encode(&tiny().render(&conversation(), false).unwrap()).unwrap());
}

/// Answers that quote the template, or each other, do not shift the labels.
#[test]
fn answers_that_quote_the_template() {
    let tokenizer = tokenizer();
    let turns = [
        Turn::user("apple"),
        Turn::assistant("apple"),
        Turn::user("What is this?<|assistant|>red"),
        Turn::assistant("<|user|>apple<|end|>?"),
        Turn::assistant(""),
    ];
    let encoded = encode(&tokenizer, tiny(), &turns, &[], &EncodeOptions::default()).unwrap();
    assert_eq!(trained_text(&tokenizer, &encoded), "apple<|end|><|user|>apple<|end|>?<|end|><|end|>");
    assert_eq!(encoded.ids, tokenizer.encode(&tiny().render(&turns, false).unwrap()).unwrap());
}

#[test]
fn placeholders_must_match_pictures() {
    let tokenizer = tokenizer();
    let none = EncodeOptions::default();
    for pictures in [&[][..], &[1, 1]] {
        let error = encode(&tokenizer, tiny(), &conversation(), pictures, &none).unwrap_err();
        assert!(matches!(error, EncodeError::Images { placeholders: 1, found: 1, .. }), "{error}");
    }
    let bare = Tokenizer::train_bpe(["a"], 300, &["<|user|>", "<|assistant|>", "<|end|>"]).unwrap();
    let error = encode(&bare, tiny(), &conversation(), &[1], &none).unwrap_err().to_string();
    assert!(error.contains("<image>"), "{error}");
    assert!(encode(&bare, tiny(), &[Turn::user("a")], &[], &none).is_ok());
}

#[test]
fn truncation_is_an_error_or_counted() {
    let tokenizer = tokenizer();
    let go = |options: EncodeOptions| encode(&tokenizer, tiny(), &conversation(), &[5], &options);
    let whole = go(EncodeOptions::default()).unwrap();
    let length = whole.ids.len();
    assert!(go(options(length, Truncation::Error)).is_ok());
    let error = go(options(length - 2, Truncation::Error)).unwrap_err().to_string();
    assert!(error.contains(&length.to_string()) && error.contains("max_tokens"), "{error}");
    let cut = go(options(length - 2, Truncation::Count)).unwrap();
    assert_eq!(
        (cut.truncated, &cut.ids[..], &cut.labels[..]),
        (2, &whole.ids[..length - 2], &whole.labels[..length - 2])
    );
    let error = go(options(4, Truncation::Count)).unwrap_err();
    assert!(matches!(error, EncodeError::CutsPicture { max: 4, last: 6 }), "{error}");
}

/// A template that rewrites earlier turns leaves no text that belongs to a turn.
#[test]
fn templates_must_append() {
    let template = ChatTemplate::new(
        "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}:{% endif %}",
    )
    .unwrap();
    let error = encode(&tokenizer(), template, &conversation(), &[1], &EncodeOptions::default()).unwrap_err();
    assert!(matches!(error, EncodeError::NotAppending { turn: 1, .. }), "{error}");
    // A prompt that asks for thoughts, which answers of the past do not have.
    let thinking = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant><think>\n{% endif %}";
    let thinking = ChatTemplate::new(thinking).unwrap();
    let error = encode(&tokenizer(), thinking, &conversation(), &[1], &EncodeOptions::default()).unwrap_err();
    assert!(matches!(error, EncodeError::NotAppending { turn: 1, .. }), "{error}");
    // Spaces at the end of the header alone may differ.
    let spaced = "{% for m in messages %}<{{ m.role }}> \n{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>\n{% endif %}";
    let spaced = ChatTemplate::new(spaced).unwrap();
    assert!(encode(&tokenizer(), spaced, &conversation(), &[1], &EncodeOptions::default()).unwrap().trained() > 0);
}

/// A template of texts that is made to take lists writes a list as this library writes the turn, and is given the texts that it was
/// given before: the ids stay what they were.
#[test]
fn a_template_of_texts_takes_lists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let backbone = ChatTemplate::from_folder(root.join("parts/backbone")).unwrap();
    // Blanks at the begin of a line, and a line break at the end, which Jinja leaves out.
    let indented = "  {% for m in messages %}\n  {{ m.role }}: {{ m['content'] }}\n  {% endfor %}{% if add_generation_prompt %}  assistant: {% endif %}\n";
    let parts = |json: &str| -> Content { serde_json::from_str(json).unwrap() };
    let cases = [
        ("<image>\nWhat is this?", r#"[{"type": "image"}, {"type": "text", "text": "What is this?"}]"#),
        ("red apple", r#"[{"type": "text", "text": "red"}, {"type": "text", "text": " apple"}]"#),
        (
            "red\n<image>\n<image>\napple\n<video>\n",
            r#"[{"type": "text", "text": "red"}, {"type": "image"}, {"type": "image"}, {"type": "text", "text": "apple\n"}, {"type": "video"}]"#,
        ),
        ("", "[]"),
    ];
    let options = RenderOptions { add_generation_prompt: true, ..Default::default() };
    let tokenizer = tokenizer().with_special_token("<video>").unwrap();
    for template in [tiny(), backbone, ChatTemplate::new(indented).unwrap()] {
        let made = template.for_parts("<image>", Some("<video>")).unwrap();
        assert!(made.flattens() && !template.flattens());
        // Made again it is the same; read from a file too, where a video is none of its words any more.
        let again = ChatTemplate::new(made.source()).unwrap().for_parts("<image>", None).unwrap();
        assert_eq!(again.for_parts("<image>", Some("<video>")).unwrap().source(), made.source());
        for (text, list) in &cases {
            let rest = [Turn::assistant("roter Apfel"), Turn::user("Was ist das?")];
            let turns = [&[Turn::user(*text)][..], &rest].concat();
            let expected = template.render(&turns, true).unwrap();
            assert_eq!(made.render(&turns, true).unwrap(), expected, "{text}");
            let mut messages: Vec<Message> =
                turns.iter().map(|turn| Message::text(turn.role.as_str(), &turn.text)).collect();
            messages[0].content = parts(list);
            assert_eq!(made.render_messages(&messages, &options).unwrap(), expected, "{list}");
        }
        let processors = [&template, &made].map(|template| {
            let template = ChatTemplate::new(template.source()).unwrap();
            Processor::new(ProcessorParts::text(tokenizer.clone(), template)).unwrap()
        });
        for turns in [
            vec![Turn::user("<image>\nWhat is this?"), Turn::assistant("red apple")],
            vec![
                Turn::user("What<image>is <image> this?"),
                Turn::assistant(""),
                Turn::user(" red\n"),
                Turn::assistant("a"),
            ],
        ] {
            let counts = vec![2; turns[0].text.matches("<image>").count()];
            let [plain, of_lists] = processors.each_ref().map(|processor| {
                assert!(!processor.takes_lists());
                processor.encode(&turns, &counts, &EncodeOptions::default()).unwrap()
            });
            assert_eq!(plain, of_lists, "{turns:?}");
        }
        let video = Message { content: parts(r#"[{"type": "video"}]"#), ..Message::text("user", "") };
        let error = again.render_messages(&[video], &options).unwrap_err().to_string();
        assert!(error.contains("type video"), "{error}");
    }
    let error = tiny().for_parts("<'>", None).unwrap_err().to_string();
    assert!(error.contains("<'>"), "{error}");
}

//! One processor: what training encodes begins with what chat encodes, and nothing that is said is lost.

use super::*;
use crate::conversation::count_images;
use crate::encode::IGNORE;
use crate::image::{GridPinpoint, Size};
use crate::random::hash_bytes;
use crate::tokenizer::TINY_SPECIAL_TOKENS;
use burn_vlm_base::onevision::{NewlinePosition, PoolMode};
use std::path::Path;

/// llava-hf's template of LLaVA-1.5: contents are lists, a text is passed over.
const LLAVA: &str = "{% for message in messages %}{{ message['role'].upper() + ': ' }}\
    {% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}\
    {% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}{% endfor %}\
    {% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";

fn tiny() -> Tokenizer {
    Tokenizer::train_bpe(["What is this? a red apple"], 300, &TINY_SPECIAL_TOKENS).unwrap()
}

fn of(tokenizer: Tokenizer, template: &str) -> Processor {
    Processor::new(ProcessorParts::text(tokenizer, ChatTemplate::new(template).unwrap())).unwrap()
}

/// A tokenizer whose file was changed.
fn changed(tokenizer: &Tokenizer, change: impl Fn(&mut serde_json::Value)) -> Tokenizer {
    let mut json: serde_json::Value = serde_json::from_str(&tokenizer.to_json().unwrap()).unwrap();
    change(&mut json);
    Tokenizer::from_bytes(json.to_string().as_bytes(), Path::new("changed.json")).unwrap()
}

/// As Llama's: a space is put before every text, and spaces are letters.
fn with_space_before() -> Tokenizer {
    let characters = "▁USERASSISTANT:\nabcdeghilmnoprstuwx?.".chars().map(String::from);
    let mut vocab: Vec<String> = vec!["<unk>".into(), "<s>".into(), "</s>".into(), "<image>".into()];
    for token in characters.chain(["▁a".into(), "▁r".into(), "▁re".into(), "▁red".into()]) {
        if !vocab.contains(&token) {
            vocab.push(token);
        }
    }
    vocab.extend(["ed".to_owned()]);
    let ids: serde_json::Map<String, serde_json::Value> =
        vocab.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    let special = |id: usize| serde_json::json!({"id": id, "content": vocab[id], "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [special(0), special(1), special(2), special(3)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        "model": {"type": "BPE", "unk_token": "<unk>", "vocab": ids,
            "merges": [["▁", "r"], ["▁", "a"], ["▁r", "e"], ["▁re", "d"], ["e", "d"]]}
    });
    Tokenizer::from_bytes(json.to_string().as_bytes(), Path::new("llama.json")).unwrap()
}

fn decoded(processor: &Processor, ids: &[u32]) -> String {
    processor.tokenizer().decode(ids, false).unwrap()
}

fn trained(processor: &Processor, encoded: &Encoded) -> String {
    let ids: Vec<u32> = encoded.labels.iter().filter(|label| **label >= 0).map(|label| *label as u32).collect();
    decoded(processor, &ids)
}

#[test]
fn no_template_loses_what_is_said() {
    let turns = [Turn::user("<image>\nWhat is this?"), Turn::assistant("a red apple")];
    let llava = of(tiny(), LLAVA);
    let encoded = llava.encode(&turns, &[2], &EncodeOptions::default()).unwrap();
    assert_eq!(decoded(&llava, &encoded.ids), "USER: <image><image>\nWhat is this? ASSISTANT: a red apple ");
    assert_eq!(trained(&llava, &encoded), " a red apple ");
    let words = [Turn::user("What is this?"), Turn::assistant("a red apple")];
    let encoded = llava.encode(&words, &[], &EncodeOptions::default()).unwrap();
    assert_eq!(decoded(&llava, &encoded.ids), "USER: What is this? ASSISTANT: a red apple ");
    // The same where the tokenizer knows no picture.
    let bare = Tokenizer::train_bpe(["a"], 300, &["<|end|>"]).unwrap();
    let bare = of(bare, LLAVA);
    assert_eq!(decoded(&bare, &bare.encode_prompt(&words[..1], &[]).unwrap()), "USER: What is this? ASSISTANT:");
    // Templates of language models get texts.
    let tiny_template = of(tiny(), crate::chat_template::TINY_TEMPLATE);
    let prompt = tiny_template.encode_prompt(&turns[..1], &[1]).unwrap();
    assert_eq!(decoded(&tiny_template, &prompt), "<|user|><image>\nWhat is this?<|assistant|>");
    let silent = ChatTemplate::new("{% for m in messages %}{{ m.role }}{% endfor %}").unwrap();
    let error = Processor::new(ProcessorParts::text(tiny(), silent)).unwrap_err().to_string();
    assert!(error.contains("without its words"), "{error}");
}

/// The start token is there once in training and in use, whether tokenizer or template write it.
#[test]
fn one_start_token() {
    let starting = changed(&tiny(), |json| {
        json["post_processor"] = serde_json::json!({"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "<eos>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [1], "tokens": ["<bos>"]},
                "<eos>": {"id": "<eos>", "ids": [2], "tokens": ["<eos>"]}}});
    });
    let turns = [Turn::user("What is this?"), Turn::assistant("a red apple")];
    let options = EncodeOptions { user_turns: true, ..EncodeOptions::default() };
    let template = crate::chat_template::TINY_TEMPLATE;
    let without = of(tiny(), template).encode(&turns, &[], &options).unwrap();
    for template in [template.to_owned(), format!("{{{{ '<bos>' }}}}{template}")] {
        let processor = of(starting.clone(), &template);
        let encoded = processor.encode(&turns, &[], &options).unwrap();
        let prompt = processor.encode_prompt(&turns[..1], &[]).unwrap();
        assert_eq!(encoded.ids[..prompt.len()], prompt);
        assert_eq!((encoded.ids[0], &encoded.ids[1..]), (1, &without.ids[..]));
        assert_eq!((encoded.labels[0], &encoded.labels[1..]), (-100, &without.labels[..]));
        assert_eq!(decoded(&processor, &encoded.ids[encoded.user_turns[0].clone()]), "What is this?");
        let picture = [Turn::user("<image>"), Turn::assistant("a")];
        let plain = processor.encode_as(PromptTemplate::Plain, &picture, &[2], &EncodeOptions::default()).unwrap();
        assert_eq!(plain.ids[..4], [1, 3, 3, processor.tokenizer().encode("a").unwrap()[0]]);
    }
}

/// A video is repeated where it stands, as pictures are; where it has no count, or stands in a caption, that is an error.
#[test]
fn captions_and_documents_of_videos() {
    let tokens = FrameTokens { side: 2, mode: PoolMode::Bilinear, stride: 2, newline: NewlinePosition::NoToken };
    let config = VideoProcessorConfig::onevision(8).unwrap();
    let words = of(tiny(), crate::chat_template::TINY_TEMPLATE);
    let processor = of(tiny(), crate::chat_template::TINY_TEMPLATE)
        .with_videos(VideoParts { config, tokens, token: "<pad>".to_owned() })
        .unwrap();
    let Format::Template { style, .. } = &processor.format else { panic!() };
    let ids = |text: &str| processor.tokenizer().encode(text).unwrap();
    let options = EncodeOptions::default();
    let counts = VisualCounts { images: &[1], videos: &[3, 2] };
    let turns = [Turn::user("<video>\n<image><video>what?"), Turn::assistant("a red apple")];
    let plain = encode_plain(processor.tokenizer(), style, &turns, counts, &options).unwrap();
    assert_eq!(plain.ids, [vec![0, 0, 0, 3, 0, 0], ids("a red apple\n")].concat());
    assert!(plain.labels[..6].iter().all(|label| *label == IGNORE) && plain.labels[6] >= 0);
    let document = encode_document(processor.tokenizer(), style, &turns, counts, &options).unwrap();
    let text = [vec![0; 3], ids("\n"), vec![3, 0, 0], ids("what?\na red apple"), vec![2]].concat();
    assert_eq!(document.ids, text);
    assert_eq!(document.labels.iter().filter(|label| **label == IGNORE).count(), 6);
    for template in [PromptTemplate::Plain, PromptTemplate::Document] {
        let error = processor.encode_as(template, &turns, &[1], &options).unwrap_err().to_string();
        assert!(error.contains("2 video placeholders") && error.contains("0 videos"), "{error}");
        // Without videos the placeholder is a word, as in conversations.
        let read = words.encode_as(template, &turns, &[1], &options).unwrap();
        assert!(!read.ids.contains(&0) && read.ids.contains(&3));
    }
    let in_caption = [Turn::user("<video>"), Turn::assistant("a <video>")];
    let error = processor.encode_as(PromptTemplate::Plain, &in_caption, &[], &options).unwrap_err();
    assert!(matches!(error, EncodeError::NoCaption { .. }), "{error}");
}

/// Frames that are no squares are refused: their tokens would be counted as if they were.
#[test]
fn frames_are_squares() {
    let size = Size::Exact { height: 8, width: 16 };
    let frames = ImageProcessorConfig { size, ..ImageProcessorConfig::siglip(8) };
    let config = VideoProcessorConfig::new(frames).unwrap();
    let tokens = FrameTokens { side: 2, mode: PoolMode::Bilinear, stride: 2, newline: NewlinePosition::NoToken };
    let parts = VideoParts { config, tokens, token: "<pad>".to_owned() };
    let error = of(tiny(), crate::chat_template::TINY_TEMPLATE).with_videos(parts).unwrap_err().to_string();
    assert!(error.contains("as high as wide") && error.contains("8 x 16"), "{error}");
}

/// Where a tokenizer puts a space before every text, an answer in the middle of a text gets none.
#[test]
fn answers_stand_in_the_middle() {
    let tokenizer = with_space_before();
    let processor = of(tokenizer.clone(), LLAVA);
    let turns =
        [Turn::user("<image>\nis this red?"), Turn::assistant("red"), Turn::user("a?"), Turn::assistant("a red a")];
    let options = EncodeOptions { user_turns: true, ..EncodeOptions::default() };
    let encoded = processor.encode(&turns, &[2], &options).unwrap();
    let text = "USER: <image>\nis this red? ASSISTANT: red USER: a? ASSISTANT: a red a ";
    let whole = tokenizer.encode_with_special_tokens(text).unwrap();
    let once = processor.encode(&turns, &[1], &options).unwrap();
    assert_eq!(once.ids, whole, "{}", decoded(&processor, &once.ids));
    assert_eq!(trained(&processor, &encoded), " red  a red a ");
    for asked in [1, 3] {
        let prompt = processor.encode_prompt(&turns[..asked], &[2]).unwrap();
        assert_eq!(encoded.ids[..prompt.len()], prompt);
    }
    let users: Vec<String> =
        encoded.user_turns.iter().map(|turn| decoded(&processor, &encoded.ids[turn.clone()])).collect();
    assert_eq!(users, ["<image><image> \nis this red?", " a?"]);
}

/// An image token of another name stands where the placeholder is.
#[test]
fn other_image_tokens() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/llava_clip_qwen2");
    let folder = tempfile::tempdir().unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"] {
        std::fs::copy(source.join(name), folder.path().join(name)).unwrap();
    }
    let tokenizer = Tokenizer::from_file(folder.path().join("tokenizer.json")).unwrap();
    let renamed = tokenizer.with_special_token("<picture>").unwrap();
    renamed.save(folder.path().join("tokenizer.json")).unwrap();
    std::fs::write(
        folder.path().join("chat_template.jinja"),
        "{% for m in messages %}{{ m.content + '|' }}{% endfor %}",
    )
    .unwrap();
    let processor = serde_json::json!({"image_token": "<picture>", "patch_size": 14, TOKENS_PER_VIEW: 7});
    std::fs::write(folder.path().join("processor_config.json"), processor.to_string()).unwrap();
    let processor = Processor::from_folder(folder.path()).unwrap();
    assert_eq!((processor.image_token(), processor.image_token_id()), ("<picture>", renamed.token_id("<picture>")));
    assert_eq!(processor.visual_tokens(), Some(&VisualTokens::of_view(7)));
    let prompt = processor.encode_prompt(&[Turn::user("<image>\na")], &[2]).unwrap();
    assert_eq!(decoded(&processor, &prompt), "<picture><picture>\na|");
}

fn tiled(tile_several: bool) -> Processor {
    let preset = TilingPreset::by_name("64-8-4").unwrap();
    let config = ImageProcessorConfig { tile_several, ..preset.image_processor() };
    let images = ImageParts { config, tokens: preset.visual_tokens(), limits: DecodeLimits::default() };
    let parts = ProcessorParts::text(tiny(), ChatTemplate::tiny().unwrap());
    Processor::new(ProcessorParts { images: Some(images), ..parts }).unwrap()
}

#[test]
fn one_picture_and_several() {
    let wide = RgbImage::from_fn(120, 60, |x, y| [x as u8, y as u8, 9].into());
    let all = tiled(true);
    let one = all.process_images(&[PictureInput::Rgb(&wide)]).unwrap();
    assert_eq!((one[0].tiles, all.num_image_tokens(&one[0])), (3, 64 + 8 * 16 + 8));
    assert!(!all.several_differ());
    assert_eq!(all.process_images(&[PictureInput::Rgb(&wide); 2]).unwrap(), [&one[..], &one[..]].concat());

    let alone = tiled(false);
    assert!(alone.several_differ());
    assert_eq!(alone.process_images(&[PictureInput::Rgb(&wide)]).unwrap(), one);
    let two = alone.process_images(&[PictureInput::Rgb(&wide); 2]).unwrap();
    assert_eq!((two[1].tiles, alone.num_image_tokens(&two[1])), (1, 64 + 1));
    // Padded: the first row is the mean colour, which is nearly zero once normalised.
    assert!(two[0].data[..64].iter().all(|value| value.abs() < 0.01));
    // What is written for it is read again.
    let config = alone.image_processor().unwrap().config();
    let json = serde_json::to_string(config).unwrap();
    assert_eq!(serde_json::from_str::<ImageProcessorConfig>(&json).unwrap(), *config);
    assert!(
        !config.tile_several
            && !serde_json::to_string(all.image_processor().unwrap().config()).unwrap().contains("several")
    );

    let thin = RgbImage::new(900, 2);
    let error = all.process_images(&[PictureInput::Rgb(&thin)]).unwrap_err().to_string();
    assert!(error.contains("900 x 2") && error.contains("too thin"), "{error}");
    let error = all.process_images(&[PictureInput::File { name: "a.png", bytes: b"?" }]).unwrap_err().to_string();
    assert!(error.contains("a.png"), "{error}");
    let words = of(tiny(), crate::chat_template::TINY_TEMPLATE);
    assert!(matches!(words.process_images(&[PictureInput::Rgb(&wide)]), Err(ImageError::NoProcessor)));
}

/// LLaVA's own layout: with a largest grid, or with pooled frames, it is of a model whose training squared all pictures but a sample's
/// only one.
#[test]
fn the_original_layout_says_how_pictures_are_tiled() {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, json: serde_json::Value| std::fs::write(folder.path().join(name), json.to_string()).unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), tiny().to_json().unwrap()).unwrap();
    std::fs::write(folder.path().join("chat_template.jinja"), crate::chat_template::TINY_TEMPLATE).unwrap();
    write("preprocessor_config.json", serde_json::to_value(ImageProcessorConfig::siglip(32)).unwrap());
    write(
        "vision_config.json",
        serde_json::json!({"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8}),
    );
    let read = |aspect: &str, more: serde_json::Value| {
        let mut config = serde_json::json!({
            "model_type": "llava_qwen", "image_aspect_ratio": aspect, "image_grid_pinpoints": [[64, 32], [64, 96]],
            "mm_vision_select_feature": "patch"
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        write("config.json", config);
        Processor::from_folder(folder.path())
    };
    let none = || serde_json::json!({});
    let limit = |processor: &Processor| processor.visual_tokens().unwrap().tiling.as_ref().map(|tiles| tiles.max_tiles);
    let pooled = serde_json::json!({"mm_spatial_pool_stride": 2});
    let nulls = serde_json::json!({"mm_spatial_pool_stride": null});
    for (aspect, more, most, several_differ) in [
        ("anyres", none(), Some(None), false),
        ("anyres", nulls, Some(None), false),
        ("anyres", pooled, Some(None), true),
        ("anyres_max_9", none(), Some(Some(9)), true),
        ("pad", none(), None, false),
        ("square", none(), None, false),
    ] {
        let processor = read(aspect, more).unwrap();
        assert_eq!((limit(&processor), processor.several_differ()), (most, several_differ), "{aspect}");
    }
    let anyres = read("anyres", none()).unwrap();
    assert_eq!(
        anyres.image_processor().unwrap().config().image_grid_pinpoints,
        Some(vec![GridPinpoint(32, 64), GridPinpoint(96, 64)])
    );
    // A range of grids is read for the towers of LLaVA's code alone.
    let range = || serde_json::json!({"image_grid_pinpoints": "(1x1),...,(2x2)"});
    let error = read("anyres_max_9", range()).unwrap_err().to_string();
    assert!(error.contains("image_grid_pinpoints") && error.contains("32 pixels"), "{error}");
    write("preprocessor_config.json", serde_json::to_value(ImageProcessorConfig::siglip(224)).unwrap());
    let ranged = read("anyres_max_9", range()).unwrap();
    assert_eq!(
        ranged.image_processor().unwrap().config().image_grid_pinpoints,
        Some(
            [(224, 224), (448, 224), (224, 448), (448, 448)]
                .map(|(height, width)| GridPinpoint(height, width))
                .to_vec()
        )
    );
    let error = read("highres", none()).unwrap_err().to_string();
    assert!(
        error.contains("image_aspect_ratio") && error.contains("anyres_max_N") && error.contains("highres"),
        "{error}"
    );
}

/// Conversations with the corners in them: line breaks and spaces at seams, several pictures, several turns.
fn conversations() -> Vec<Vec<Turn>> {
    let words =
        ["red apple", "roter Apfel", "maçã vermelha", "红苹果", "красное яблоко", " two  spaces\n", "\nline", ""];
    let mut all = Vec::new();
    for (number, word) in words.iter().enumerate() {
        let next = words[(number + 3) % words.len()];
        all.push(vec![Turn::user("<image>\nWhat is this?"), Turn::assistant(*word)]);
        all.push(vec![Turn::user(format!("{word}?")), Turn::assistant(next)]);
        all.push(vec![
            Turn::user(format!("<image><image>\nIs this {word}?\nA. {next}")),
            Turn::assistant(*word),
            Turn::user(format!("And <image> {next}")),
            Turn::assistant(format!("{next} {word}")),
        ]);
    }
    all
}

/// Hashes of what [`the_shipped_parts_read_as_they_were_recorded`] looks at.
const BACKBONE: u64 = 0xb7c2_c5b3_52b0_b2d4;
const PARROT_BACKBONE: u64 = 0xe455_46c8_9f14_1b0f;

/// The results in the repository were recorded with these ids: hashes of ids, labels, user turns, prompts and captions as they
/// were before there was a processor.
#[test]
fn the_shipped_parts_read_as_they_were_recorded() {
    for (part, recorded) in [("backbone", BACKBONE), ("parrot-backbone", PARROT_BACKBONE)] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../parts").join(part);
        let processor = Processor::text_from_folder(folder).unwrap();
        let options = EncodeOptions { user_turns: true, ..Default::default() };
        let mut seen = String::new();
        for turns in conversations() {
            let counts: Vec<usize> = (0..count_images(&turns)).map(|picture| picture + 4).collect();
            let encoded = processor.encode(&turns, &counts, &options).unwrap();
            let asked = &turns[..turns.len() - 1];
            let prompt = processor.encode_prompt(asked, &counts[..count_images(asked)]).unwrap();
            assert_eq!(encoded.ids[..prompt.len()], prompt, "{part}: {turns:?}");
            seen += &format!("{:?} {:?} {:?} {prompt:?}\n", encoded.ids, encoded.labels, encoded.user_turns);
            if turns.len() == 2 && !counts.is_empty() {
                let plain = PromptTemplate::Plain;
                let plain = processor.encode_as(plain, &turns, &counts, &EncodeOptions::default()).unwrap();
                seen += &format!("{:?} {:?}\n", plain.ids, plain.labels);
            }
        }
        assert_eq!(hash_bytes(seen.as_bytes()), recorded, "{part}");
    }
}

/// A template that writes a video nowhere is refused with what to do; one that writes texts as they are needs nothing.
#[test]
fn a_template_without_a_place_for_videos() {
    let parts = || VideoParts {
        config: VideoProcessorConfig::new(ImageProcessorConfig::siglip(32)).unwrap(),
        tokens: FrameTokens { side: 4, mode: PoolMode::Bilinear, stride: 2, newline: NewlinePosition::OneToken },
        token: "<video>".to_owned(),
    };
    let tokenizer = || tiny().with_special_token("<video>").unwrap();
    let texts = "{% for m in messages %}{{ m.content + '|' }}{% endfor %}";
    let made = of(tokenizer(), texts).with_videos(parts()).unwrap();
    assert!(made.template().unwrap().made_source().is_none());
    let dropping = "{% for m in messages %}{{ m.content | replace('<video>', '') }}{% endfor %}";
    let error = of(tokenizer(), dropping).with_videos(parts()).unwrap_err().to_string();
    for word in ["chat template", "\"<video>\"", "chat_template.jinja", "{{ '<video>' }}"] {
        assert!(error.contains(word), "{word}: {error}");
    }
    // LLaVA's writes pictures before the words; a video of the same words stands there too.
    let made = of(tokenizer(), LLAVA).with_videos(parts()).unwrap();
    assert!(made.template().unwrap().made_source().is_some());
    let turns = [Turn::user("What is this?<video>")];
    let ids = made.encode_media_prompt(&turns, VisualCounts { images: &[], videos: &[3] }).unwrap();
    assert_eq!(decoded(&made, &ids), "USER: <video><video><video>\nWhat is this? ASSISTANT:");
}

//! Conversations of any texts, with placeholders and quoted template tokens anywhere: what is encoded, trained and the user's.

use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Role, Turn, count_images};
use burn_vlm_data::encode::{
    EncodeError, EncodeOptions, Encoded, IGNORE, MaskStyle, Truncation, encode, encode_prompt,
};
use burn_vlm_data::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::path::Path;
use std::sync::LazyLock;

/// Pieces of texts: letters of one to four bytes, blanks, words that merge into one token, what templates write.
const PIECES: [&str; 14] = [
    "a",
    "é",
    "日本",
    "❤️",
    " ",
    "\n",
    "What is this?",
    "red apple",
    "user",
    "<image>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<",
];
/// The same without what Gemma's and Qwen's templates trim, or write themselves.
const PLAIN_PIECES: [&str; 8] = ["a", "é", "日本", "What is this?", "\n\nuser\n", "model", "<image>", " "];

type Model = (Tokenizer, ChatTemplate);

static TINY: LazyLock<Model> = LazyLock::new(|| {
    let tokenizer = Tokenizer::train_bpe(["What is this? red apple", "user roter Apfel"], 300, &TINY_SPECIAL_TOKENS);
    (tokenizer.unwrap(), ChatTemplate::tiny().unwrap())
});
static GEMMA: LazyLock<Model> = LazyLock::new(|| load("tok_gemma"));
static QWEN: LazyLock<Model> = LazyLock::new(|| load("tok_qwen"));

fn load(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name);
    (Tokenizer::from_file(folder.join("tokenizer.json")).unwrap(), ChatTemplate::from_folder(folder).unwrap())
}

/// Turns in any order with the visual tokens of their pictures.
fn any_conversation() -> impl Strategy<Value = (Vec<Turn>, Vec<usize>)> {
    let turn = (any::<bool>(), vec(select(&PIECES[..]), 0..6)).prop_map(|(user, pieces)| match user {
        true => Turn::user(pieces.concat()),
        false => Turn::assistant(pieces.concat()),
    });
    with_pictures(vec(turn, 1..7).boxed())
}

/// User and assistant in turns, as published templates want them; the texts begin and end with a letter.
fn alternating_conversation() -> impl Strategy<Value = (Vec<Turn>, Vec<usize>)> {
    let text = vec(select(&PLAIN_PIECES[..]), 0..5).prop_map(|pieces| format!("x{}y", pieces.concat()));
    let turns = vec(text, 1..6).prop_map(|texts| {
        let turn = |(number, text)| if number % 2 == 0 { Turn::user(text) } else { Turn::assistant(text) };
        texts.into_iter().enumerate().map(turn).collect::<Vec<_>>()
    });
    with_pictures(turns.boxed())
}

fn with_pictures(turns: BoxedStrategy<Vec<Turn>>) -> impl Strategy<Value = (Vec<Turn>, Vec<usize>)> {
    turns.prop_flat_map(|turns| {
        let count = count_images(&turns);
        (Just(turns), vec(1usize..6, count))
    })
}

fn options(mask: MaskStyle) -> EncodeOptions {
    EncodeOptions { mask, user_turns: true, ..EncodeOptions::default() }
}

/// The ids of a text with its image tokens repeated, as one loop does it.
fn expanded((tokenizer, _): &Model, text: &str, pictures: &mut impl Iterator<Item = usize>) -> Vec<u32> {
    let mut ids = Vec::new();
    for id in tokenizer.encode(text).unwrap() {
        let times = if Some(id) == tokenizer.image_id() { pictures.next().unwrap() } else { 1 };
        for _ in 0..times {
            ids.push(id);
        }
    }
    ids
}

/// What the tokens of a turn should decode to: each placeholder as often as its picture has tokens.
fn shown(text: &str, pictures: &mut impl Iterator<Item = usize>) -> String {
    let mut pieces = text.split(IMAGE_PLACEHOLDER);
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |shown, piece| shown + &IMAGE_PLACEHOLDER.repeat(pictures.next().unwrap()) + piece)
}

fn decoded((tokenizer, _): &Model, ids: &[u32]) -> String {
    tokenizer.decode(ids, false).unwrap()
}

/// What holds for every style: a label is its token or none, pictures have their tokens and are never trained.
fn check_labels((tokenizer, _): &Model, encoded: &Encoded, pictures: &[usize]) {
    assert_eq!(encoded.ids.len(), encoded.labels.len());
    for (id, label) in encoded.ids.iter().zip(&encoded.labels) {
        assert!(*label == IGNORE || *label == i64::from(*id));
        assert!(*label == IGNORE || Some(*id) != tokenizer.image_id(), "a visual token is trained");
    }
    let visual = encoded.ids.iter().filter(|id| Some(**id) == tokenizer.image_id()).count();
    assert_eq!(visual, pictures.iter().sum::<usize>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Under the tiny template, whose turns special tokens part, everything is known from the texts alone.
    #[test]
    fn ids_labels_and_user_turns_are_those_of_the_texts((turns, pictures) in any_conversation()) {
        let model = &*TINY;
        let encoded = encode(&model.0, &model.1, &turns, &pictures, &options(MaskStyle::AnswersOnly)).unwrap();
        check_labels(model, &encoded, &pictures);
        let whole = model.1.render(&turns, false).unwrap();
        prop_assert_eq!(&encoded.ids, &expanded(model, &whole, &mut pictures.iter().copied()));

        let mut counts = pictures.iter().copied();
        let mut users = encoded.user_turns.iter();
        let (mut trained, mut before) = (String::new(), 0);
        for turn in &turns {
            let text = shown(&turn.text, &mut counts);
            if turn.role == Role::Assistant {
                // Visual tokens of an answer are not trained.
                trained += &(turn.text.replace(IMAGE_PLACEHOLDER, "") + "<|end|>");
                continue;
            }
            let range = users.next().unwrap().clone();
            prop_assert_eq!(decoded(model, &encoded.ids[range.clone()]), text);
            prop_assert!(encoded.labels[range.clone()].iter().all(|label| *label == IGNORE), "a user's text is trained");
            prop_assert!(range.is_empty() || range.start >= before, "user turns overlap");
            before = before.max(range.end);
        }
        prop_assert!(users.next().is_none());
        let labels: Vec<u32> = encoded.labels.iter().filter(|label| **label != IGNORE).map(|label| *label as u32).collect();
        prop_assert_eq!(decoded(model, &labels), trained);
    }

    /// A training sample is the prompt of inference, then the answer, at every answer.
    #[test]
    fn ids_are_prompt_and_answer((turns, pictures) in any_conversation()) {
        let model = &*TINY;
        let ids = encode(&model.0, &model.1, &turns, &pictures, &EncodeOptions::default()).unwrap().ids;
        for (number, turn) in turns.iter().enumerate().filter(|(_, turn)| turn.role == Role::Assistant) {
            let (shown, rest) = pictures.split_at(count_images(&turns[..number]));
            let prompt = encode_prompt(&model.0, &model.1, &turns[..number], shown).unwrap();
            let answer = expanded(model, &format!("{}<|end|>", turn.text), &mut rest.iter().copied());
            prop_assert!(ids.starts_with(&[prompt, answer].concat()), "answer {}", number);
        }
    }

    /// Another number of pictures than placeholders is refused, whichever is larger.
    #[test]
    fn placeholders_and_pictures_match((turns, pictures) in any_conversation(), given in 0usize..8) {
        let model = &*TINY;
        let result = encode(&model.0, &model.1, &turns, &vec![1; given], &EncodeOptions::default());
        match result {
            Ok(_) => prop_assert_eq!(given, pictures.len()),
            Err(EncodeError::Images { placeholders, pictures: found, .. }) => {
                prop_assert_eq!((placeholders, found), (pictures.len(), given));
                prop_assert_ne!(given, pictures.len());
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    /// Truncation cuts the end, counts it, and cuts no picture.
    #[test]
    fn truncation_cuts_the_end((turns, pictures) in any_conversation(), max in 1usize..60) {
        let model = &*TINY;
        let whole = encode(&model.0, &model.1, &turns, &pictures, &options(MaskStyle::AnswersOnly)).unwrap();
        let short = EncodeOptions { max_tokens: Some(max), truncation: Truncation::Count, ..options(MaskStyle::AnswersOnly) };
        let last = whole.ids.iter().rposition(|id| Some(*id) == model.0.image_id());
        match encode(&model.0, &model.1, &turns, &pictures, &short) {
            Ok(cut) => {
                let kept = whole.ids.len().min(max);
                prop_assert!(last.is_none_or(|last| last < max));
                prop_assert_eq!((&cut.ids[..], &cut.labels[..]), (&whole.ids[..kept], &whole.labels[..kept]));
                prop_assert_eq!(cut.truncated + cut.ids.len(), whole.ids.len());
                for (cut, whole) in cut.user_turns.iter().zip(&whole.user_turns) {
                    prop_assert_eq!(cut.clone().count(), whole.clone().filter(|place| *place < max).count());
                }
            }
            Err(EncodeError::CutsPicture { .. }) => prop_assert!(last.is_some_and(|last| last >= max)),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    /// Under published templates and every style: nothing of a user's text is trained but the tokens that the style always trains.
    #[test]
    fn published_styles_train_no_users_text((turns, pictures) in alternating_conversation()) {
        for (model, mask, structural) in [
            (&*GEMMA, MaskStyle::AnswersOnly, &[][..]),
            (&*GEMMA, MaskStyle::Towervision, &["<start_of_turn>", "<end_of_turn>", "\n"][..]),
            (&*QWEN, MaskStyle::AnswersOnly, &[][..]),
            (&*QWEN, MaskStyle::LlavaNextQwen, &["<|im_start|>", "<|im_end|>", "\n"][..]),
        ] {
            let encoded = encode(&model.0, &model.1, &turns, &pictures, &options(mask)).unwrap();
            check_labels(model, &encoded, &pictures);
            let structural: Vec<u32> = structural.iter().map(|token| model.0.encode(token).unwrap()[0]).collect();
            let mut counts = pictures.iter().copied();
            let mut users = encoded.user_turns.iter();
            for turn in &turns {
                let text = shown(&turn.text, &mut counts);
                if turn.role == Role::Assistant {
                    continue;
                }
                let range = users.next().unwrap().clone();
                // A token counts as the user's if any of its letters is.
                let found = decoded(model, &encoded.ids[range.clone()]);
                prop_assert!(found.contains(&text), "{:?}: {:?} lacks {:?}", mask, found, text);
                for place in range {
                    let (id, label) = (encoded.ids[place], encoded.labels[place]);
                    prop_assert_eq!(label != IGNORE, structural.contains(&id), "{:?}: token {}", mask, id);
                }
            }
            let answers = turns.iter().filter(|turn| turn.role == Role::Assistant).count();
            let runs = (0..encoded.labels.len()).filter(|place| encoded.labels[*place] != IGNORE && (*place == 0 || encoded.labels[*place - 1] == IGNORE)).count();
            prop_assert!(runs >= answers, "{:?}: {} runs of trained tokens for {} answers", mask, runs, answers);
        }
    }
}

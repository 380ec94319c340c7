//! How fast the parts of the input pipeline are: `cargo test --release -p burn-vlm-data --test speed -- --ignored --nocapture`.

use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::emoji::{EmojiCorpus, Split};
use burn_vlm_data::encode::EncodeOptions;
use burn_vlm_data::image::{Augmentation, ImageProcessor, ImageProcessorConfig};
use burn_vlm_data::language::{TINY_5, TINY_UNSEEN};
use burn_vlm_data::processor::{Processor, ProcessorParts};
use burn_vlm_data::tasks::{Distractors, Pool, TaskBuilder};
use burn_vlm_data::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};
use std::time::Instant;

#[test]
#[ignore = "measures, checks nothing"]
fn speed() {
    let begin = Instant::now();
    let corpus = EmojiCorpus::embedded().unwrap();
    println!("corpus {:?}", begin.elapsed());

    let processor = ImageProcessor::new(ImageProcessorConfig::siglip(64)).unwrap();
    let augmentation = Augmentation::default();
    let begin = Instant::now();
    for (seed, picture) in corpus.pictures().iter().enumerate() {
        let image = processor.decode("", &picture.webp).unwrap();
        let image = augmentation.apply(&image, seed as u64);
        std::hint::black_box(processor.process(&image).unwrap());
    }
    println!(
        "decode + augment + normalise {:.0} pictures/s",
        corpus.pictures().len() as f64 / begin.elapsed().as_secs_f64()
    );

    let languages = [TINY_5.languages, TINY_UNSEEN.languages].concat();
    let begin = Instant::now();
    let tasks = TaskBuilder::new(&corpus, &languages, 0).unwrap();
    let samples = tasks.captions();
    println!("{} captions {:?}", samples.len(), begin.elapsed());
    let begin = Instant::now();
    let items = tasks.choice_items(Pool::TEST_SEEN, Distractors::Far, 1);
    println!("{} choice items {:?}", items.len(), begin.elapsed());

    let begin = Instant::now();
    let mut texts = Vec::new();
    for concept in corpus.split(Split::Train) {
        for text in languages.iter().filter_map(|language| corpus.text(concept.id, *language)) {
            texts.push(text.name.as_str());
            texts.extend(text.keywords.iter().map(String::as_str));
        }
    }
    let tokenizer = Tokenizer::train_bpe(&texts, 8192, &TINY_SPECIAL_TOKENS).unwrap();
    println!("tokenizer of {} {:?}", tokenizer.vocab_size(), begin.elapsed());

    let processor = Processor::new(ProcessorParts::text(tokenizer, ChatTemplate::tiny().unwrap())).unwrap();
    let begin = Instant::now();
    let tokens: usize = samples
        .iter()
        .map(|sample| processor.encode(&sample.turns, &[5], &EncodeOptions::default()).unwrap().ids.len())
        .sum();
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "encode {:.0} samples/s, {:.1} tokens a sample",
        samples.len() as f64 / seconds,
        tokens as f64 / samples.len() as f64
    );
}

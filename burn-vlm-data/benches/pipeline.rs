//! The parts of the input pipeline on the embedded corpus: reading it, augmenting, building tasks, training a tokenizer, encoding.
//!
//! `cargo bench --workspace --bench pipeline`

use burn_vlm_data::chat_template::ChatTemplate;
use burn_vlm_data::emoji::{EmojiCorpus, Split};
use burn_vlm_data::encode::{EncodeOptions, encode};
use burn_vlm_data::image::{Augmentation, ImageProcessor, ImageProcessorConfig};
use burn_vlm_data::language::{TINY_5, TINY_UNSEEN};
use burn_vlm_data::tasks::{Distractors, Pool, TaskBuilder};
use burn_vlm_data::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// Pictures and samples that one iteration goes through.
const TAKEN: usize = 256;

fn pipeline(criterion: &mut Criterion) {
    let corpus = EmojiCorpus::embedded().unwrap();
    let languages = [TINY_5.languages, TINY_UNSEEN.languages].concat();
    let tasks = TaskBuilder::new(&corpus, &languages, 0).unwrap();
    let samples = tasks.captions();
    let mut texts = Vec::new();
    for concept in corpus.split(Split::Train) {
        for text in languages.iter().filter_map(|language| corpus.text(concept.id, *language)) {
            texts.push(text.name.as_str());
            texts.extend(text.keywords.iter().map(String::as_str));
        }
    }
    let tokenizer = Tokenizer::train_bpe(&texts, 8192, &TINY_SPECIAL_TOKENS).unwrap();
    let template = ChatTemplate::tiny().unwrap();
    let processor = ImageProcessor::new(ImageProcessorConfig::siglip(64)).unwrap();
    let augmentation = Augmentation::default();

    let mut group = criterion.benchmark_group("pipeline");
    group.sample_size(10);
    group.bench_function("corpus", |bencher| bencher.iter(|| EmojiCorpus::embedded().unwrap()));
    group.bench_function("captions", |bencher| bencher.iter(|| tasks.captions()));
    group.bench_function("choice_items", |bencher| {
        bencher.iter(|| tasks.choice_items(Pool::TEST_SEEN, Distractors::Far, 1))
    });
    group.bench_function("tokenizer_of_8192", |bencher| {
        bencher.iter(|| Tokenizer::train_bpe(&texts, 8192, &TINY_SPECIAL_TOKENS).unwrap())
    });
    group.throughput(Throughput::Elements(TAKEN as u64));
    group.bench_function("decode_augment_normalise", |bencher| {
        bencher.iter(|| {
            for (seed, picture) in corpus.pictures().iter().take(TAKEN).enumerate() {
                let image = augmentation.apply(&processor.decode("", &picture.webp).unwrap(), seed as u64);
                black_box(processor.process(&image).unwrap());
            }
        })
    });
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            for sample in samples.iter().take(TAKEN) {
                let options = EncodeOptions::default();
                black_box(encode(&tokenizer, &template, &sample.turns, &[5], &options).unwrap());
            }
        })
    });
    group.finish();
}

criterion_group!(benches, pipeline);
criterion_main!(benches);

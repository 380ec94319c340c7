//! Evaluation on this machine: questions a second, beside the plain way of asking them, in one run.
//!
//! `cargo bench --bench evaluate` prints for both ways questions/s, their ratio, and the most memory held above the model:
//!
//! - `cloze`: the cloze questions of the default encoder study (`experiments/encoder.toml`, preset tiny), whose plain way is one
//!   row a distinct answer, batched by length. Scores must be equal.
//! - `generate`: answers of 1 to 64 tokens to 1,000 questions, by a VLM with a decoder of 100M shape (Qwen 2: width 768, 12 layers;
//!   ViT of 196 visual tokens), for one and for several questions a picture. The plain way is batches of fixed rows that run until
//!   their last row ends. Texts must be equal. Random weights end no answer, so each question has its own number of tokens.
//!
//! An argument names one of the two. `QUESTIONS`, `PER_PICTURE` ("1 4 10"), `BATCH` and `ROUNDS` change the sizes; `EXPORT=DIR`
//! writes model and prompts for `tests/python/torch_evaluate.py`. The machine must be idle for a figure worth quoting.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vlm::checkpoint::{Pretrained, StoreDtype};
use burn_vlm::generate::GenerationConfig;
use burn_vlm::language::{LanguageConfig, Qwen2Config};
use burn_vlm::vision::{SiglipVisionConfig, VisionConfig};
use burn_vlm::vlm::{FeatureLayer, SelectStrategy, Vlm, VlmConfig};
use burn_vlm_data::collate::{PaddingSide, collate};
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::encode::{AnswerEnd, EncodeOptions, Encoded};
use burn_vlm_data::image::{DecodeLimits, ImageProcessorConfig, RgbImage, encode_png};
use burn_vlm_data::prepare::{FeatureBank, Views, next_token_targets};
use burn_vlm_data::random::mix;
use burn_vlm_data::sample::{Media, MediaKey, Picture};
use burn_vlm_data::tokenizer::Tokenizer;
use burn_vlm_train::assemble::{Assembled, assemble};
use burn_vlm_train::eval::{
    Ask, Benchmark, Cloze, ClozeRecipe, Kept, Metric, Prediction, Question, Reply, Scorer, Shown, evaluate,
};
use burn_vlm_train::processor::model_processor;
use burn_vlm_train::recipe::ModelRecipe;

/// The allocator of the programs, counting bytes.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: by the caller's contract.
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: by the caller's contract.
        unsafe { mimalloc::MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: by the caller's contract.
        unsafe { mimalloc::MiMalloc.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

type AnyError = Box<dyn Error>;

/// Scores summed in another order and over other batches, in f32 on sums of some ten logits.
const NEAR: f64 = 1e-4;
/// Most tokens of an answer.
const LONGEST_ANSWER: usize = 64;
/// Of the features that the questions ask about; the decoder's own tokenizer is the study's.
const VISION_WIDTH: usize = 192;
const PICTURE_SIDE: u32 = 224;

fn main() -> Result<(), AnyError> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|argument| argument == name);
    if runs("cloze") {
        cloze()?;
    }
    if runs("generate") {
        generate()?;
    }
    Ok(())
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a run took.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    /// Of the processor: what other programs take does not count.
    processor: f64,
    /// Most bytes held, above those before.
    bytes: usize,
}

/// Seconds of the processor that this program has had; 0 where the system does not say.
fn processor_seconds() -> f64 {
    // Behind the name, which may hold spaces: user and system time are the fields 12 and 13, in hundredths.
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    fields.iter().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn measured<R>(run: impl FnOnce() -> Result<R, AnyError>) -> Result<(R, Cost), AnyError> {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let (began, processor) = (Instant::now(), processor_seconds());
    let result = run()?;
    let (seconds, processor) = (began.elapsed().as_secs_f64(), processor_seconds() - processor);
    Ok((result, Cost { seconds, processor, bytes: PEAK.load(Relaxed).saturating_sub(before) }))
}

/// Both ways in turn, `ROUNDS` times; prints the medians, and each round's ratio, by the clock and by the processor.
fn beside<R>(
    what: &str,
    questions: usize,
    mut plain: impl FnMut() -> Result<R, AnyError>,
    mut now: impl FnMut() -> Result<R, AnyError>,
    check: impl Fn(&R, &R) -> Result<(), AnyError>,
) -> Result<(), AnyError> {
    let mut rounds: Vec<[Cost; 2]> = Vec::new();
    for _ in 0..number("ROUNDS", 3) {
        let (expected, before) = measured(&mut plain)?;
        let (found, after) = measured(&mut now)?;
        check(&expected, &found)?;
        rounds.push([before, after]);
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let rate = |way: usize| median(rounds.iter().map(|costs| questions as f64 / costs[way].seconds).collect());
    let memory = |way: usize| rounds.iter().map(|costs| costs[way].bytes).max().unwrap_or(0) >> 20;
    let ratios = |of: fn(&Cost) -> f64| {
        let ratios: Vec<f64> = rounds.iter().map(|[before, after]| of(before) / of(after)).collect();
        let each: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        format!("{:.2} ({})", median(ratios), each.join(", "))
    };
    println!(
        "{what}: plain {:.2}/s, {} MiB; now {:.2}/s, {} MiB; ratio {}, by processor time {}",
        rate(0),
        memory(0),
        rate(1),
        memory(1),
        ratios(|cost| cost.seconds),
        ratios(|cost| cost.processor)
    );
    Ok(())
}

fn cloze() -> Result<(), AnyError> {
    let text = std::fs::read_to_string(root().join("experiments/encoder.toml"))?;
    let study: toml::Table = text.parse()?;
    let table =
        |path: &[&str]| path.iter().try_fold(&toml::Value::Table(study.clone()), |at, key| at.get(key)).cloned();
    let (Some(model), Some(asked)) = (table(&["recipe", "model"]), table(&["evaluation"])) else {
        return Err("experiments/encoder.toml: no recipe.model, no evaluation".into());
    };
    let recipe: ModelRecipe = model.try_into()?;
    let (encoder, backbone) = (root().join("parts/siglip2"), root().join("parts/backbone"));
    let device = Device::flex();
    let assembled: Assembled = assemble(&recipe, &encoder, &backbone, 1, &device)?;
    let corpus = EmojiCorpus::embedded()?;
    let mut settings = toml::Table::new();
    for key in ["languages", "seen", "seed"] {
        settings.insert(key.into(), asked.get(key).cloned().ok_or("evaluation: a key is missing")?);
    }
    settings.insert("name".into(), "cloze".into());
    let cloze = Cloze::new(&corpus, toml::Value::Table(settings).try_into::<ClozeRecipe>()?)?;
    let image = ImageProcessorConfig::from_folder(&encoder)?;
    let processor = Arc::new(model_processor(
        &assembled.model.config,
        &backbone,
        recipe.answer_end,
        &image,
        DecodeLimits::default(),
    )?);
    let batch = number("BATCH", 128);
    let scorer = Scorer::new(&assembled.model, &device, processor.clone(), None, batch);
    // A study has the features of a frozen tower before it asks.
    let bank = bank(&scorer, &cloze)?;
    let scorer = Scorer::new(&assembled.model, &device, processor, Some(Arc::new(bank)), batch);
    let items = cloze.questions().len() / 2;
    let now = || {
        let predictions = evaluate(&scorer, &cloze, |_| {})?;
        let scores = predictions.iter().flat_map(|prediction| &prediction.option_scores);
        Ok(scores.flat_map(|scores| scores.values.clone()).collect::<Vec<f64>>())
    };
    let plain = || {
        let replies = plain_likelihoods(&scorer, cloze.questions())?;
        let predictions = cloze.predictions(&replies)?;
        let scores = predictions.iter().flat_map(|prediction| &prediction.option_scores);
        Ok(scores.flat_map(|scores| scores.values.clone()).collect::<Vec<f64>>())
    };
    let check = |expected: &Vec<f64>, found: &Vec<f64>| {
        let apart = expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        match expected.len() == found.len() && apart < NEAR {
            true => Ok(()),
            false => Err(format!("scores differ by {apart}").into()),
        }
    };
    beside(&format!("cloze, {items} items of 4 answers"), items, plain, now, check)
}

/// The features of all pictures, as a study keeps them.
fn bank(scorer: &Scorer, benchmark: &dyn Benchmark) -> Result<FeatureBank, AnyError> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut keys: Vec<MediaKey> = Vec::new();
    for medium in benchmark.questions().iter().flat_map(|question| &question.media) {
        let Media::Image(picture) = medium else { return Err("a video".into()) };
        let key = picture.key()?;
        if !keys.contains(&key) {
            keys.push(key);
            shown.push(Shown::new(picture)?);
        }
    }
    let one: Vec<&[Shown]> = shown.iter().map(std::slice::from_ref).collect();
    let features = scorer.features_of(&one, &mut Kept::default())?.features.ok_or("no pictures")?;
    let [_, tokens, width] = features.dims();
    let values: Vec<f32> = features.into_data().iter::<f32>().collect();
    FeatureBank::new(keys, Views::Plain, [tokens, width], values).ok_or_else(|| "a bank that does not fit".into())
}

fn shown(question: &Question) -> Result<Vec<Shown>, AnyError> {
    let one = |medium: &Media| match medium {
        Media::Image(picture) => Ok(Shown::new(picture)?),
        Media::Video(_) => Err("a video".into()),
    };
    question.media.iter().map(one).collect()
}

/// Positions in the order of their lengths.
fn by_length(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut order: Vec<(usize, usize)> = lengths.enumerate().map(|(row, length)| (length, row)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, row)| row).collect()
}

/// A row for each distinct answer, whole, batched by length.
fn plain_likelihoods(scorer: &Scorer, questions: &[Question]) -> Result<Vec<Reply>, AnyError> {
    let mut known: HashMap<(Vec<MediaKey>, &[Turn], &str), usize> = HashMap::new();
    let mut rows: Vec<(Vec<Shown>, Vec<Turn>)> = Vec::new();
    let mut rows_of: Vec<Vec<usize>> = Vec::new();
    let count = scorer.processor.visual_tokens().map_or(0, |tokens| tokens.view);
    for question in questions {
        let Ask::Likelihood { answers } = &question.ask else { return Err("no likelihood".into()) };
        let pictures = shown(question)?;
        let keys = question.media.iter().map(|medium| match medium {
            Media::Image(picture) => Ok(picture.key()?),
            Media::Video(_) => Err("a video".into()),
        });
        let keys: Vec<MediaKey> = keys.collect::<Result<_, AnyError>>()?;
        let mut own = Vec::new();
        for answer in answers {
            let key = (keys.clone(), question.turns.as_slice(), answer.as_str());
            let row = match known.get(&key) {
                Some(row) => *row,
                None => {
                    let turns = [&question.turns[..], &[Turn::assistant(answer)]].concat();
                    rows.push((pictures.clone(), turns));
                    known.insert(key, rows.len() - 1);
                    rows.len() - 1
                }
            };
            own.push(row);
        }
        rows_of.push(own);
    }
    let encode = |rows: &[(Vec<Shown>, Vec<Turn>)]| -> Result<Vec<Encoded>, String> {
        let one = |(shown, turns): &(Vec<Shown>, Vec<Turn>)| {
            let encoded = scorer.processor.encode(turns, &vec![count; shown.len()], &EncodeOptions::default());
            encoded.map_err(|error| error.to_string())
        };
        rows.iter().map(one).collect()
    };
    // On both cores, as the library does.
    let (left, right) = rows.split_at(rows.len() / 2);
    let encoded: Vec<Encoded> = std::thread::scope(|scope| {
        let left = scope.spawn(|| encode(left));
        let right = encode(right)?;
        let mut all = left.join().map_err(|_| "encoding failed".to_string())??;
        all.extend(right);
        Ok::<_, String>(all)
    })?;
    let mut kept = Kept::default();
    let mut scores = vec![0.0; rows.len()];
    let order = by_length(encoded.iter().map(|row| row.ids.len()));
    for chunk in order.chunks(scorer.batch) {
        let members: Vec<&Encoded> = chunk.iter().map(|row| &encoded[*row]).collect();
        let pictures: Vec<&[Shown]> = chunk.iter().map(|row| rows[*row].0.as_slice()).collect();
        let text = collate(&members, scorer.pad_id(), PaddingSide::Right, 1);
        let (at, targets) = next_token_targets(&text);
        let hidden = scorer.model.forward(&scorer.input(&text, &pictures, &mut kept)?)?;
        let int = |values: Vec<i64>| {
            let count = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &scorer.device)
        };
        let losses = scorer.model.language_model.target_losses(hidden, int(at.clone()), int(targets)).into_data();
        let mut sums = vec![(0.0f64, 0.0f64); chunk.len()];
        for (loss, at) in losses.iter::<f32>().zip(&at) {
            let sum = &mut sums[*at as usize / text.tokens];
            *sum = (sum.0 - f64::from(loss), sum.1 + 1.0);
        }
        chunk.iter().zip(sums).for_each(|(row, (sum, tokens))| scores[*row] = sum / tokens);
    }
    let of = |rows: Vec<usize>| Reply::Scores(rows.into_iter().map(|row| scores[row]).collect());
    Ok(rows_of.into_iter().map(of).collect())
}

/// Questions in words of the corpus about pictures of noise.
struct Invented {
    questions: Vec<Question>,
    pictures: Vec<Vec<u8>>,
}

impl Invented {
    fn new(questions: usize, per_picture: usize, words: &[String]) -> Result<Self, AnyError> {
        let draw = |question: usize, at: usize, below: usize| mix(question as u64, at as u64) as usize % below;
        let picture = |number: usize| {
            let value = |x: u32, y: u32| (mix(number as u64, u64::from(y / 16 * 64 + x / 16)) % 256) as u8;
            let image = RgbImage::from_fn(PICTURE_SIDE, PICTURE_SIDE, |x, y| {
                [value(x, y), value(x, y + 256), value(x, y + 512)].into()
            });
            encode_png(&image)
        };
        let pictures: Vec<Vec<u8>> = (0..questions.div_ceil(per_picture)).map(picture).collect::<Result<_, _>>()?;
        let question = |number: usize| {
            let text: Vec<&str> =
                (0..4 + draw(number, 0, 20)).map(|at| words[draw(number, at + 2, words.len())].as_str()).collect();
            let shown = number / per_picture;
            let bytes = pictures[shown].clone().into();
            let picture = Picture::Encoded { name: format!("{shown}.png"), bytes };
            let ask = Ask::Generate { max_new_tokens: 1 + draw(number, 1, LONGEST_ANSWER) };
            Question::new(number.to_string(), text.join(" "), vec![Media::Image(picture)], ask)
        };
        Ok(Self { questions: (0..questions).map(question).collect(), pictures })
    }
}

impl Benchmark for Invented {
    fn name(&self) -> &str {
        "invented"
    }

    fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn predictions(&self, replies: &[Reply]) -> burn_vlm_train::error::Result<Vec<Prediction>> {
        let predict = |(question, reply): (&Question, &Reply)| {
            let mut prediction = Prediction::new(&question.id, self.name(), &question.id);
            if let Reply::Text(text) = reply {
                prediction.text = Some(text.clone());
            }
            prediction
        };
        Ok(self.questions.iter().zip(replies).map(predict).collect())
    }

    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }

    fn languages(&self) -> Vec<String> {
        Vec::new()
    }
}

fn most_tokens(question: &Question) -> usize {
    match question.ask {
        Ask::Generate { max_new_tokens } => max_new_tokens,
        _ => 0,
    }
}

fn vlm_config(tokenizer: &Tokenizer, image: u32) -> VlmConfig {
    let vision = SiglipVisionConfig {
        hidden_size: VISION_WIDTH,
        intermediate_size: 4 * VISION_WIDTH,
        num_hidden_layers: 6,
        num_attention_heads: 3,
        image_size: PICTURE_SIDE as usize,
        patch_size: 16,
        vision_use_head: false,
        ..SiglipVisionConfig::default()
    };
    let language = Qwen2Config {
        vocab_size: tokenizer.vocab_size().max(image as usize + 1),
        hidden_size: 768,
        intermediate_size: 2048,
        num_hidden_layers: 12,
        num_attention_heads: 12,
        num_key_value_heads: 4,
        max_position_embeddings: 1024,
        tie_word_embeddings: true,
        ..Qwen2Config::default()
    };
    VlmConfig {
        vision_feature_layer: FeatureLayer::One(-1),
        vision_feature_select_strategy: SelectStrategy::Full,
        ..VlmConfig::new(VisionConfig::Siglip(vision), LanguageConfig::Qwen2(language), i64::from(image))
    }
}

fn generate() -> Result<(), AnyError> {
    let device = Device::flex();
    let (encoder, backbone) = (root().join("parts/siglip2"), root().join("parts/backbone"));
    let tokenizer = Tokenizer::from_file(backbone.join("tokenizer.json"))?;
    let image = tokenizer.image_id().ok_or("the tokenizer has no <image>")?;
    let config = vlm_config(&tokenizer, image);
    let model: Vlm = config.init(&device)?;
    println!("{:.1} M parameters, {} visual tokens", config.num_parameters()? as f64 / 1e6, config.num_visual_tokens());
    let mut pictures = serde_json::to_value(ImageProcessorConfig::from_folder(&encoder)?)?;
    pictures["size"] = serde_json::json!({ "height": PICTURE_SIDE, "width": PICTURE_SIDE });
    let pictures: ImageProcessorConfig = serde_json::from_value(pictures)?;
    let processor =
        Arc::new(model_processor(&config, &backbone, AnswerEnd::default(), &pictures, DecodeLimits::default())?);
    let words: Vec<String> = (0..500).filter_map(|id| tokenizer.decode(&[1000 + id], true).ok()).collect();
    let words: Vec<String> = words.iter().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect();
    let scorer = Scorer::new(&model, &device, processor, None, number("BATCH", 128));
    let questions = number("QUESTIONS", 1000);
    let per_picture = std::env::var("PER_PICTURE").unwrap_or_else(|_| "1 4 10".into());
    for per_picture in per_picture.split_whitespace() {
        let invented = Invented::new(questions, per_picture.parse::<usize>()?.max(1), &words)?;
        if let Ok(folder) = std::env::var("EXPORT") {
            return export(&scorer, &invented, &PathBuf::from(folder));
        }
        let now = || {
            let predictions = evaluate(&scorer, &invented, |_| {})?;
            Ok(predictions.into_iter().map(|prediction| prediction.text.unwrap_or_default()).collect::<Vec<String>>())
        };
        let plain = || plain_texts(&scorer, &invented.questions);
        let check = |expected: &Vec<String>, found: &Vec<String>| {
            let apart = expected.iter().zip(found).filter(|(a, b)| a != b).count();
            match apart {
                0 => Ok(()),
                _ => Err(format!("{apart} of {} texts differ", expected.len()).into()),
            }
        };
        beside(&format!("generate, {questions} questions, {per_picture} a picture"), questions, plain, now, check)?;
    }
    Ok(())
}

fn plain_texts(scorer: &Scorer, questions: &[Question]) -> Result<Vec<String>, AnyError> {
    let text = |ids: Vec<u32>| Ok(scorer.processor.tokenizer().decode(&ids, true)?);
    plain_answers(scorer, questions)?.into_iter().map(text).collect()
}

/// Fixed batches of rows of about one length, each until its longest answer ends.
fn plain_answers(scorer: &Scorer, questions: &[Question]) -> Result<Vec<Vec<u32>>, AnyError> {
    let shown: Vec<Vec<Shown>> = questions.iter().map(shown).collect::<Result<_, _>>()?;
    let prompts = questions.iter().zip(&shown).map(|(question, shown)| Ok(scorer.prompt(&question.turns, shown)?));
    let prompts: Vec<Vec<u32>> = prompts.collect::<Result<_, AnyError>>()?;
    let mut kept = Kept::default();
    let mut answers = vec![Vec::new(); questions.len()];
    let stop_tokens = scorer.processor.end_of_turn();
    for chunk in by_length(prompts.iter().map(Vec::len)).chunks(scorer.batch) {
        let rows: Vec<Vec<u32>> = chunk.iter().map(|row| prompts[*row].clone()).collect();
        let pictures: Vec<&[Shown]> = chunk.iter().map(|row| shown[*row].as_slice()).collect();
        let max_new_tokens = chunk.iter().map(|row| most_tokens(&questions[*row])).max().unwrap_or(0);
        let config = GenerationConfig { max_new_tokens, stop_tokens: stop_tokens.clone(), ..Default::default() };
        let features = scorer.features_of(&pictures, &mut kept)?;
        for (row, generated) in chunk.iter().zip(scorer.model.generate(&rows, features, &config, &scorer.device)?) {
            answers[*row] = generated.ids;
            answers[*row].truncate(most_tokens(&questions[*row]));
        }
    }
    Ok(answers)
}

/// The model's folder, the pictures, and `prompts.json`: of each question its ids, its picture, how many tokens its answer has, and the
/// answer.
fn export(scorer: &Scorer, invented: &Invented, folder: &Path) -> Result<(), AnyError> {
    std::fs::create_dir_all(folder)?;
    scorer.model.save_pretrained(folder, StoreDtype::F32)?;
    for (number, bytes) in invented.pictures.iter().enumerate() {
        std::fs::write(folder.join(format!("{number}.png")), bytes)?;
    }
    let mut rows = Vec::new();
    let began = Instant::now();
    let answers = plain_answers(scorer, &invented.questions)?;
    let plain = began.elapsed().as_secs_f64();
    evaluate(scorer, invented, |_| {})?;
    let now = began.elapsed().as_secs_f64() - plain;
    for (question, answer) in invented.questions.iter().zip(answers) {
        let ids = scorer.prompt(&question.turns, &shown(question)?)?;
        let Some(Media::Image(picture)) = question.media.first() else { return Err("no picture".into()) };
        let (picture, tokens) = (picture.name().to_string(), most_tokens(question));
        rows.push(serde_json::json!({ "ids": ids, "picture": picture, "tokens": tokens, "new": answer }));
    }
    std::fs::write(folder.join("prompts.json"), serde_json::to_vec(&rows)?)?;
    let rate = |seconds: f64| rows.len() as f64 / seconds;
    println!("{}: plain {:.2} questions/s, now {:.2}/s", folder.display(), rate(plain), rate(now));
    Ok(())
}

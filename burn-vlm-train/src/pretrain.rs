//! Pretraining of the parts that a VLM is assembled from, and their folders.
//!
//! A part is a folder in the Hugging Face layout: `config.json`, `model.safetensors`, `tokenizer.json`, and for a
//! backbone `chat_template.jinja`; beside them a card, `recipe.toml` (what made it), `log.jsonl` (how that went) and, for an
//! encoder, `retrieval.json` (what it knows). The VLM takes a dual encoder's vision tower out of the whole.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use burn_vlm::checkpoint::{Pretrained, StoreDtype};
use burn_vlm::dual::{DualConfig, DualEncoder};
use burn_vlm::init::Scope;
use burn_vlm::language::{LanguageConfig, LanguageModel};
use burn_vlm_base::files::{write_atomic, write_json_atomic};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::chat_template::{ChatTemplate, TINY_TEMPLATE};
use burn_vlm_data::emoji::{EmojiCorpus, Split};
use burn_vlm_data::language::Language;
use burn_vlm_data::processor::{Processor, ProcessorParts};
use burn_vlm_data::tasks::{
    ChoiceItem, Distractors, Pool, Purpose, Task, TaskBuilder, Vocabulary, WordItem, WordTasks, prompts,
};
use burn_vlm_data::tokenizer::{TINY_SPECIAL_TOKENS, Tokenizer};
use burn_vlm_data::words::Level;

use crate::error::{Result, TrainError};
use crate::eval::{RetrievalInput, retrieval, word_retrieval};
use crate::objective::{ContrastiveObjective, TextObjective};
use crate::pictures::Pictures;
use crate::recipe::{DataRecipe, PartRecipe, Recipe, StageRecipe, TokenizerRecipe, read_recipe};
use crate::run::{DataOrigin, open_stage_data, text_samples, write_part_card};
use crate::trainer::{StageRun, train_stage};

/// Held-out words of each language that an encoder is asked about.
const RETRIEVED_WORDS: usize = 80;

/// What every job of a study shares.
#[derive(Clone)]
pub struct Context {
    /// The corpus.
    pub corpus: Arc<EmojiCorpus>,
    /// The device, without autodiff.
    pub device: Device,
    /// Threads that build batches.
    pub workers: usize,
}

/// Trains the tokenizer of a recipe on names, keywords and questions of the training split.
///
/// # Errors
/// A language without texts, or a vocabulary that is too small.
pub fn train_tokenizer(corpus: &EmojiCorpus, recipe: &TokenizerRecipe) -> Result<Tokenizer> {
    let mut texts = Vec::new();
    for &language in &recipe.languages {
        if !corpus.has_language(language) {
            return Err(TrainError::Recipe(format!("[tokenizer]: the corpus has no texts in `{language}`")));
        }
        let questions = prompts(language);
        for concept in corpus.split(Split::Train) {
            if let Some(text) = corpus.text(concept.id, language) {
                texts.push(text.name.clone());
                // as often as the questions stand in training
                texts.push(format!("\n{}", questions.what_is_this));
                texts.push(text.keywords.join(", "));
            }
        }
        for question in [questions.whose_flag, questions.list_keywords, questions.letter_only] {
            texts.push(question.to_string());
        }
    }
    Ok(Tokenizer::train_bpe(texts, recipe.vocab_size, &TINY_SPECIAL_TOKENS)?)
}

/// Where a part is made.
#[derive(Debug, Clone, Copy)]
pub struct PartPlaces<'a> {
    /// The part that it begins with ([`PartRecipe::begin_from`]), if any.
    pub begin_from: Option<&'a Path>,
    /// Checkpoints.
    pub work: &'a Path,
    /// The part.
    pub out: &'a Path,
}

/// Pretrains the part `name` of a recipe and writes its folder; what it begins with ([`Recipe::lineage`]) must be there.
///
/// Killed and started again with the same places, it continues.
///
/// # Errors
/// A part that the recipe does not describe, and everything that can go wrong in training.
pub fn pretrain_part(
    context: &Context,
    recipe: &Recipe,
    name: &str,
    places: PartPlaces<'_>,
    reporter: &Reporter,
) -> Result<()> {
    let part = recipe.part(name)?;
    let PartPlaces { begin_from, work, out } = places;
    let told = part.tokenizer().unwrap_or(&recipe.tokenizer);
    let tokenizer = Arc::new(train_tokenizer(&context.corpus, told)?);
    fs::create_dir_all(out).map_err(|e| TrainError::io("cannot create", out, e))?;
    match part {
        PartRecipe::Encoder { model, seed, stage, .. } => {
            let run = PartRun { context, recipe, name, work, out, reporter, stage, seed: *seed };
            run.encoder(model, tokenizer, &told.languages)
        }
        PartRecipe::Backbone { model, seed, stage, .. } => {
            let run = PartRun { context, recipe, name, work, out, reporter, stage, seed: *seed };
            run.backbone(model, begin_from, tokenizer)
        }
    }
}

struct PartRun<'a> {
    context: &'a Context,
    recipe: &'a Recipe,
    name: &'a str,
    work: &'a Path,
    out: &'a Path,
    reporter: &'a Reporter,
    stage: &'a StageRecipe,
    seed: u64,
}

impl PartRun<'_> {
    fn stage_run<'b>(&'b self, device: &'b Device, fingerprint: &'b str) -> StageRun<'b> {
        StageRun {
            name: self.name,
            recipe: self.stage,
            folder: self.work,
            fingerprint,
            device,
            replicas: &[],
            workers: self.context.workers,
            reporter: self.reporter,
            observer: None,
        }
    }

    /// What a checkpoint of this part must have been made with.
    fn fingerprint(&self) -> Result<String> {
        part_fingerprint(self.recipe, self.name)
    }

    fn encoder(&self, config: &DualConfig, tokenizer: Arc<Tokenizer>, languages: &[Language]) -> Result<()> {
        let device = self.context.device.clone().autodiff();
        let (image_size, text_length) = encoder_sizes(config);
        let pictures = Arc::new(Pictures::new(self.context.corpus.clone(), image_size)?);
        let objective = ContrastiveObjective::new(
            self.context.corpus.clone(),
            pictures.clone(),
            tokenizer.clone(),
            self.stage.data.clone(),
            self.stage.batch,
            text_length,
            self.seed,
        )?;
        let model = config.init_with(&Scope::new(self.seed, &device))?;
        let fingerprint = self.fingerprint()?;
        let (model, _) = train_stage(&self.stage_run(&device, &fingerprint), Arc::new(objective), model)?;
        let items = retrieval_items(&self.context.corpus, languages)?;
        let asked =
            RetrievalInput { model: &model, device: &device, pictures: &pictures, tokenizer: &tokenizer, text_length };
        let mut scores = retrieval(&asked, &items)?;
        let words = word_retrieval_items(&self.context.corpus, &self.stage.data)?;
        if !words.is_empty() {
            scores.extend(word_retrieval(&asked, &words)?);
        }
        for score in scores.iter().filter(|score| score.language == Language::EN.tag()) {
            self.reporter.line(&format!(
                "{}: {} of four, {} distractors, {}: {:.1} % of {}",
                self.name, score.language, score.distractors, score.concepts, score.score, score.n
            ));
        }
        write_json_atomic(&self.out.join("retrieval.json"), &scores)?;
        // Who takes the encoder alone need not know how it was shown pictures.
        write_json_atomic(&self.out.join("preprocessor_config.json"), pictures.config())?;
        self.save_encoder(&model)?;
        self.save_common(&tokenizer)
    }

    fn save_encoder(&self, model: &DualEncoder) -> Result<()> {
        Ok(model.save_pretrained(self.out, StoreDtype::F16)?)
    }

    /// The language model before its first step.
    fn first(&self, config: &LanguageConfig, begin_from: Option<&Path>, device: &Device) -> Result<LanguageModel> {
        let Some(folder) = begin_from else { return Ok(config.init_with(&Scope::new(self.seed, device))?) };
        let model = LanguageModel::load_pretrained(folder, device)?;
        if model.config() != *config {
            let message =
                format!("[part.{}]: `model` is not that of {}, which it begins with", self.name, folder.display());
            return Err(TrainError::Recipe(message));
        }
        Ok(model)
    }

    fn backbone(&self, config: &LanguageConfig, begin_from: Option<&Path>, tokenizer: Arc<Tokenizer>) -> Result<()> {
        let device = self.context.device.clone().autodiff();
        let template = tiny_template(&tokenizer)?;
        let origin = DataOrigin::new(self.context, self.recipe, Path::new(""));
        fs::create_dir_all(self.work).map_err(|e| TrainError::io("cannot create", self.work, e))?;
        let data = open_stage_data(self.name, self.stage, origin, self.work, self.seed)?;
        let processor = Processor::new(ProcessorParts::text(tokenizer.clone(), Arc::new(template)))?;
        let positions = config.max_position_embeddings();
        let samples = text_samples(&data, Arc::new(processor), positions, self.seed);
        let model = self.first(config, begin_from, &device)?;
        let fingerprint = self.fingerprint()?;
        let objective = Arc::new(TextObjective::new(samples).with_validation(data.held_out));
        let (model, _) = train_stage(&self.stage_run(&device, &fingerprint), objective, model)?;
        model.save_pretrained(self.out, StoreDtype::F16)?;
        write_atomic(&self.out.join("chat_template.jinja"), TINY_TEMPLATE.as_bytes())?;
        self.save_common(&tokenizer)
    }

    fn save_common(&self, tokenizer: &Tokenizer) -> Result<()> {
        tokenizer.save(self.out.join("tokenizer.json"))?;
        let text = toml::to_string(self.recipe).map_err(|e| TrainError::Recipe(e.to_string()))?;
        write_atomic(&self.out.join("recipe.toml"), text.as_bytes())?;
        let what = if self.out.join("chat_template.jinja").is_file() { "a language model" } else { "a vision encoder" };
        write_part_card(self.name, what, self.out)?;
        let (from, to) = (self.work.join("log.jsonl"), self.out.join("log.jsonl"));
        fs::copy(&from, &to).map(|_| ()).map_err(|e| TrainError::io("cannot copy the log to", &to, e))
    }
}

/// A hash of everything that a part is made from, the parts that it begins with included.
///
/// # Errors
/// A recipe that cannot be written as text, a part that it does not describe.
pub fn part_fingerprint(recipe: &Recipe, name: &str) -> Result<String> {
    let mut made_from = String::new();
    for name in recipe.lineage(name)? {
        let part = recipe.part.get(name);
        let tokenizer = part.and_then(PartRecipe::tokenizer).unwrap_or(&recipe.tokenizer);
        let text = serde_json::to_string(&(name, tokenizer, part));
        made_from += &text.map_err(|e| TrainError::Recipe(e.to_string()))?;
    }
    Ok(blake3::hash(made_from.as_bytes()).to_hex().to_string())
}

/// Whether the part in a folder was made from what the recipe says of it.
///
/// # Errors
/// A part without its recipe, a recipe that cannot be read.
pub fn is_made_from(folder: &Path, recipe: &Recipe, name: &str) -> Result<bool> {
    let made_from = read_recipe(&folder.join("recipe.toml"), &[])?;
    // A part that the other recipe does not have was not made from it.
    Ok(made_from.part.contains_key(name) && part_fingerprint(&made_from, name)? == part_fingerprint(recipe, name)?)
}

/// Side of the pictures and number of text positions of a dual encoder.
pub fn encoder_sizes(config: &DualConfig) -> (usize, usize) {
    match config {
        DualConfig::Siglip(config) => (config.vision_config.image_size, config.text_config.max_position_embeddings),
        DualConfig::Clip(config) => (config.vision_config.image_size, config.text_config.max_position_embeddings),
    }
}

/// The chat template of the tiny models, with the tokenizer's special tokens.
///
/// # Errors
/// None in practice: the template is fixed.
pub fn tiny_template(tokenizer: &Tokenizer) -> Result<ChatTemplate> {
    let template = ChatTemplate::tiny()?;
    Ok(template.with_special_tokens(tokenizer.bos_token(), tokenizer.eos_token()))
}

/// Test questions for encoders: near and far, seen and unseen, in the given languages.
///
/// # Errors
/// A language without texts.
pub fn retrieval_items(corpus: &EmojiCorpus, languages: &[Language]) -> Result<Vec<ChoiceItem>> {
    let builder = TaskBuilder::new(corpus, languages, 0)?;
    let mut items = Vec::new();
    for pool in [Pool::TEST_SEEN, Pool::TEST_UNSEEN] {
        for distractors in [Distractors::Near, Distractors::Far] {
            items.extend(builder.choice_items(pool, distractors, 1));
        }
    }
    Ok(items)
}

/// Questions about held-out words in the languages of an encoder's own words, in every level; none where it was trained on none.
///
/// # Errors
/// A language without words.
fn word_retrieval_items(corpus: &EmojiCorpus, data: &DataRecipe) -> Result<Vec<WordItem>> {
    let mut items = Vec::new();
    if data.share_of(Task::Words) == 0.0 {
        return Ok(items);
    }
    let (tasks, size) = (WordTasks::new(corpus, 0), data.task_settings().words.size);
    for (language, _) in data.languages_of(Task::Words) {
        for distractors in [Distractors::Near, Distractors::Far] {
            items.extend(tasks.items(
                language,
                (&Level::ALL, distractors),
                (Vocabulary::Unseen, Purpose::Test, RETRIEVED_WORDS),
                size,
            )?);
        }
    }
    Ok(items)
}

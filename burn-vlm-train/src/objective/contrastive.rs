//! Pretraining of an encoder on picture-text pairs: SigLIP's sigmoid loss or CLIP's softmax loss.
//!
//! Unusual here: texts of a batch that name the same thing (one concept drawn twice, or two languages with one word)
//! count as matching under the sigmoid loss, since as negatives they would teach the encoder to tell equals apart.
//!
//! Pairs are icons with their names or, by the weights of the tasks `caption` and `words`, pictures of words with the word. All words of a
//! micro-batch are of one language: among words of many scripts it is enough to know the script, and no letter is learnt.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_vlm::dual::{DualEncoder, clip_loss, siglip_loss, siglip_loss_with_positives};
use burn_vlm_data::drawn::DrawnPicture;
use burn_vlm_data::emoji::{ConceptId, EmojiCorpus, PictureId, Split, Style};
use burn_vlm_data::language::Language;
use burn_vlm_data::random::{Stream, mix};
use burn_vlm_data::sampler::Shuffled;
use burn_vlm_data::tasks::{Task, WordSettings, WordTasks};
use burn_vlm_data::tokenizer::Tokenizer;

use crate::error::{Result, TrainError};
use crate::pictures::Pictures;
use crate::recipe::DataRecipe;
use crate::trainer::{BatchSize, Objective, Steps, numbered_steps};

/// One micro-batch of pairs.
#[derive(Debug, Clone)]
pub struct PairBatch {
    /// `[pairs, 3, size, size]`, row-major.
    pub pixels: Vec<f32>,
    /// `[pairs, tokens]`, padded.
    pub ids: Vec<i64>,
    /// Tokens that are no padding.
    pub real_tokens: usize,
    /// Number of pairs.
    pub pairs: usize,
    /// `[pairs, pairs]`, true where picture and text match; absent if only the diagonal does.
    pub positives: Option<Vec<bool>>,
}

/// The pairs of the training split and the loss on them.
pub struct ContrastiveObjective {
    corpus: Arc<EmojiCorpus>,
    pictures: Arc<Pictures>,
    tokenizer: Arc<Tokenizer>,
    data: DataRecipe,
    words: WordPairs,
    concepts: Vec<(ConceptId, Vec<PictureId>)>,
    order: Shuffled,
    seed: u64,
    batch: usize,
    text_length: usize,
}

struct Pair {
    shown: Shown,
    text: String,
    view: u64,
}

/// What a pair shows.
enum Shown {
    Concept(ConceptId, PictureId),
    Word(DrawnPicture),
}

/// Tells the draws of words from those of icons.
const WORDS: u64 = 0x776f_7264;
/// Tells the draws of the words' languages from both.
const LANGUAGES: u64 = 0x6c61_6e67;

impl ContrastiveObjective {
    /// Pairs of every training concept that has a picture in a training style.
    ///
    /// # Errors
    /// A language that the corpus does not have.
    pub fn new(
        corpus: Arc<EmojiCorpus>,
        pictures: Arc<Pictures>,
        tokenizer: Arc<Tokenizer>,
        data: DataRecipe,
        batch: usize,
        text_length: usize,
        seed: u64,
    ) -> Result<Self> {
        for &language in &data.languages {
            if !corpus.has_language(language) {
                return Err(TrainError::Recipe(format!("the corpus has no texts in `{language}`")));
            }
        }
        let concepts: Vec<(ConceptId, Vec<PictureId>)> = corpus
            .split(Split::Train)
            .map(|concept| {
                let pictures = corpus.pictures_of(concept.id).filter(|p| p.style != Style::SCORED);
                (concept.id, pictures.map(|p| p.id).collect::<Vec<_>>())
            })
            .filter(|(_, pictures)| !pictures.is_empty())
            .collect();
        let order = Shuffled::new(concepts.len(), seed);
        let words = word_pairs(&corpus, &data)?;
        Ok(Self { corpus, pictures, tokenizer, data, words, concepts, order, seed, batch, text_length })
    }

    /// Tokens of one text as the text tower takes them, padded to its length.
    fn encode(&self, text: &str) -> Result<(Vec<i64>, usize)> {
        encode_text(&self.tokenizer, text, self.text_length)
    }

    fn pair(&self, position: usize, words: Option<&WordTasks<'_>>) -> Result<Pair> {
        let mut random = Stream::new(mix(self.seed ^ WORDS, position as u64));
        let WordPairs { share, languages, settings } = &self.words;
        if let Some(words) = words.filter(|_| f64::from(random.uniform(0.0, 1.0)) < *share) {
            let micro_batch = (position / self.batch) as u64;
            let mut of_batch = Stream::new(mix(self.seed ^ LANGUAGES, micro_batch));
            let language = pick_language(languages.iter().copied(), &mut of_batch);
            let (written, picture) = words.training_picture(language, settings, &mut random)?;
            return Ok(Pair { shown: Shown::Word(picture), text: written, view: random.next_u64() });
        }
        let (concept, pictures) = &self.concepts[self.order.index(position as u64)];
        let mut random = Stream::new(mix(self.seed, position as u64));
        let picture = pictures[random.below(pictures.len())];
        let language = pick_language(self.data.languages.iter().copied().zip(self.data.shares()), &mut random);
        let with_keywords = f64::from(random.uniform(0.0, 1.0)) < self.data.keyword_share;
        let text = self.text(*concept, language, with_keywords, &mut random);
        Ok(Pair { shown: Shown::Concept(*concept, picture), text, view: random.next_u64() })
    }

    /// What draws words; nothing where no pair is one, since it looks through all pictures.
    fn word_tasks(&self) -> Option<WordTasks<'_>> {
        (self.words.share > 0.0).then(|| WordTasks::new(&self.corpus, self.seed))
    }

    /// The pairs at some positions.
    fn pairs(&self, positions: Range<usize>) -> Result<Vec<Pair>> {
        let words = self.word_tasks();
        positions.map(|position| self.pair(position, words.as_ref())).collect()
    }

    fn matches(&self, a: &Pair, b: &Pair) -> bool {
        let alike = match (&a.shown, &b.shown) {
            (Shown::Concept(a, _), Shown::Concept(b, _)) => a == b || self.corpus.lookalikes(*a).contains(b),
            _ => false,
        };
        alike || a.text == b.text
    }

    /// Micro-batch number `index`.
    fn micro_batch(&self, index: usize) -> Result<PairBatch> {
        let pairs = self.pairs(index * self.batch..(index + 1) * self.batch)?;
        let mut pixels = Vec::with_capacity(pairs.len() * self.pictures.values());
        let mut ids = Vec::with_capacity(pairs.len() * self.text_length);
        let mut real_tokens = 0;
        for pair in &pairs {
            let view = self.data.augment.then_some(pair.view);
            pixels.extend(match &pair.shown {
                Shown::Concept(_, picture) => self.pictures.pixels(*picture, view)?,
                Shown::Word(picture) => {
                    let drawn = picture.draw().map_err(|reason| TrainError::Data(reason.to_string()))?;
                    self.pictures.pixels_of(&drawn, view).map_err(TrainError::within(picture.name()))?
                }
            });
            let (row, real) = self.encode(&pair.text)?;
            ids.extend(row);
            real_tokens += real;
        }
        let mut positives = Vec::with_capacity(pairs.len() * pairs.len());
        for (i, a) in pairs.iter().enumerate() {
            positives.extend(pairs.iter().enumerate().map(|(j, b)| i == j || self.matches(a, b)));
        }
        let more_than_diagonal = positives.iter().filter(|positive| **positive).count() > pairs.len();
        Ok(PairBatch {
            pixels,
            ids,
            real_tokens,
            pairs: pairs.len(),
            positives: more_than_diagonal.then_some(positives),
        })
    }

    /// The name, perhaps with as many keywords as fit.
    fn text(&self, concept: ConceptId, language: Language, with_keywords: bool, random: &mut Stream) -> String {
        let Some(text) = self.corpus.text(concept, language) else { return String::new() };
        let mut line = text.name.clone();
        if with_keywords {
            let mut keywords: Vec<&str> = text.keywords_besides_name().collect();
            random.shuffle(&mut keywords);
            for keyword in keywords.into_iter().take(2) {
                let longer = format!("{line}, {keyword}");
                if token_count(&self.tokenizer, &longer) > self.text_length {
                    break;
                }
                line = longer;
            }
        }
        line
    }
}

/// The pairs that are words.
#[derive(Default)]
struct WordPairs {
    /// Their share of all pairs.
    share: f64,
    /// Their languages, each with its share of them.
    languages: Vec<(Language, f64)>,
    settings: WordSettings,
}

/// The pairs of a recipe that are words; none where the data names no task.
///
/// # Errors
/// A language without words.
fn word_pairs(corpus: &EmojiCorpus, data: &DataRecipe) -> Result<WordPairs> {
    let share = data.share_of(Task::Words);
    if share == 0.0 {
        return Ok(WordPairs::default());
    }
    let (languages, settings) = (data.languages_of(Task::Words), data.task_settings().words);
    let tasks = WordTasks::new(corpus, 0);
    for (language, _) in &languages {
        tasks.training_picture(*language, &settings, &mut Stream::new(0))?;
    }
    Ok(WordPairs { share, languages, settings })
}

/// A language by its share; the last one where rounding leaves something.
fn pick_language(shares: impl Iterator<Item = (Language, f64)>, random: &mut Stream) -> Language {
    let mut left = f64::from(random.uniform(0.0, 1.0));
    let mut last = Language::EN;
    for (language, share) in shares {
        left -= share;
        last = language;
        if left < 0.0 {
            break;
        }
    }
    last
}

/// Ids of a text for a text tower of fixed length: truncated or padded to `length`; also how many are real.
///
/// As SigLIP's processor does it, the padding is part of what the tower sees.
///
/// # Errors
/// A text that the tokenizer refuses.
pub fn encode_text(tokenizer: &Tokenizer, text: &str, length: usize) -> Result<(Vec<i64>, usize)> {
    let ids = tokenizer.encode(text)?;
    let mut ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
    ids.truncate(length);
    let real = ids.len();
    ids.resize(length, i64::from(tokenizer.pad_id().unwrap_or(0)));
    Ok((ids, real))
}

fn token_count(tokenizer: &Tokenizer, text: &str) -> usize {
    tokenizer.encode(text).map_or(usize::MAX, |ids| ids.len())
}

impl Objective for ContrastiveObjective {
    type Model = DualEncoder;
    type Batch = PairBatch;

    fn steps(self: &Arc<Self>, steps: Range<usize>, accumulate: usize, workers: usize) -> Result<Steps<PairBatch>> {
        let objective = self.clone();
        numbered_steps(steps, accumulate, workers, move |index| objective.micro_batch(index))
    }

    fn ids(&self, step: usize, accumulate: usize) -> Vec<String> {
        let pairs = accumulate * self.batch;
        let words = self.word_tasks();
        let name = |position| match self.pair(position, words.as_ref()) {
            Ok(Pair { shown: Shown::Concept(_, picture), text, .. }) => {
                format!("{} \"{text}\"", self.corpus.picture_name(picture))
            }
            Ok(Pair { shown: Shown::Word(picture), .. }) => picture.name().to_owned(),
            Err(error) => error.to_string(),
        };
        (step * pairs..(step + 1) * pairs).map(name).collect()
    }

    fn size(batch: &PairBatch) -> BatchSize {
        BatchSize { weight: batch.pairs as f64, tokens: batch.real_tokens, images: batch.pairs }
    }

    fn loss(&self, model: &DualEncoder, batch: PairBatch, device: &Device) -> Result<Tensor<1>> {
        let pairs = batch.pairs;
        let size = self.pictures.size();
        let pixels = Tensor::<4>::from_data(TensorData::new(batch.pixels, [pairs, 3, size, size]), device);
        let ids = Tensor::<2, Int>::from_data(TensorData::new(batch.ids, [pairs, self.text_length]), device);
        let images = model.image_embeds(pixels)?;
        let texts = model.text_embeds(ids)?;
        let logits = model.logits_per_image(images, texts);
        let mean = match (model, batch.positives) {
            (DualEncoder::Clip(_), _) => clip_loss(logits),
            (DualEncoder::Siglip(_), None) => siglip_loss(logits),
            (DualEncoder::Siglip(_), Some(positives)) => {
                let positives = Tensor::<2, Bool>::from_data(TensorData::new(positives, [pairs, pairs]), device);
                siglip_loss_with_positives(logits, positives)
            }
        };
        Ok(mean * pairs as f64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use burn_vlm_data::tokenizer::TINY_SPECIAL_TOKENS;
    use burn_vlm_data::words::{Font, Lexicon, Script, fold};

    use super::*;

    fn objective(data: &str, batch: usize) -> Result<ContrastiveObjective> {
        let corpus = EmojiCorpus::embedded().unwrap();
        let pictures = Arc::new(Pictures::new(corpus.clone(), 64)?);
        let tokenizer = Arc::new(Tokenizer::train_bpe(["radio"], 300, &TINY_SPECIAL_TOKENS)?);
        ContrastiveObjective::new(corpus, pictures, tokenizer, toml::from_str(data).unwrap(), batch, 16, 0)
    }

    /// The leak test of pretraining: no held-out word and no held-out font is in a pair.
    #[test]
    fn pairs_of_words_show_nothing_that_is_asked() {
        let words = "words = { languages = ['en', 'el', 'ar', 'ko'], pieces = 0.5 }";
        let data = format!("languages = ['en']\ntasks = {{ caption = 1.0, words = 2.0 }}\n{words}");
        let pairs = objective(&data, 8).unwrap().pairs(0..3000).unwrap();
        let lexicon = Lexicon::embedded(&EmojiCorpus::embedded().unwrap());
        let held_out: HashSet<String> = lexicon
            .languages()
            .flat_map(|language| {
                let of = |split| lexicon.words(language, split).map(|word| fold(&word.text)).collect::<Vec<_>>();
                [of(Split::Test), of(Split::Validation)].concat()
            })
            .collect();
        let fonts: HashSet<&str> =
            Script::ALL.into_iter().flat_map(|script| Font::of(script, true)).map(Font::name).collect();
        let (mut shown, mut pieces) = (0, 0);
        for pair in &pairs {
            assert!(!held_out.contains(&fold(&pair.text)), "{}", pair.text);
            let Shown::Word(picture) = &pair.shown else { continue };
            shown += 1;
            let description = picture.description();
            // Of a piece the word comes behind it.
            match description.split_once(&format!(" {} of ", pair.text)) {
                Some((_, word)) => {
                    pieces += 1;
                    assert!(word.contains(&pair.text) && !held_out.contains(&fold(word)), "{description}");
                }
                None => assert!(description.ends_with(&pair.text), "{description}"),
            }
            assert!(description.split(' ').all(|field| !fonts.contains(field)), "{description}");
        }
        // One language a micro-batch, each of the four now and then.
        let scripts = |pairs: &[Pair]| {
            let of = |pair: &Pair| Script::ALL.into_iter().find(|script| script.has(&pair.text));
            let words = pairs.iter().filter(|pair| matches!(pair.shown, Shown::Word(_)));
            words.filter_map(of).collect::<HashSet<Script>>()
        };
        assert!(pairs.chunks(8).all(|batch| scripts(batch).len() <= 1));
        assert_eq!(scripts(&pairs).len(), 4);
        // Two of three, within five standard deviations of 3,000 draws.
        assert!((1870..2130).contains(&shown), "{shown}");
        // Half, but for pieces that are held-out words.
        assert!((850..1110).contains(&pieces), "{pieces}");
    }

    #[test]
    fn one_word_twice_in_a_batch_is_no_negative() {
        let words = "words = { languages = ['en'], words = 2 }";
        let data = format!("languages = ['en']\ntasks = {{ words = 1.0 }}\n{words}");
        let batch = objective(&data, 6).unwrap().micro_batch(0).unwrap();
        assert_eq!((batch.pairs, batch.pixels.len()), (6, 6 * 3 * 64 * 64));
        // Six pictures of two words: the pictures of one word match its text.
        let positives = batch.positives.unwrap();
        let matching = positives.iter().filter(|positive| **positive).count();
        assert!((18..=36).contains(&matching), "{matching}");
    }

    #[test]
    fn languages_without_words_are_told_before_training() {
        let data = "languages = ['si']\ntasks = { words = 1.0 }";
        let error = objective(data, 4).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("no words to draw in si"), "{error}");
        assert!(objective("languages = ['si']", 4).is_ok());
    }
}

//! The samples of a stage on average: looked at where they are, declared or assumed where they are not.

use burn_vlm::vlm::VlmConfig;
use burn_vlm_data::emoji::PICTURE_SIDE;
use burn_vlm_data::encode::EncodeOptions;
use burn_vlm_data::mixture::{MixtureConfig, Plan};
use burn_vlm_data::plain::PromptTemplate;
use burn_vlm_data::source::{Mixed, StreamOptions, open_mixture};
use burn_vlm_data::tasks::{CANVAS, Task};
use burn_vlm_data::video::{Clips, VideoSettings};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::EstimateInput;
use super::report::time;
use super::shapes::Shapes;
use crate::assemble::{Words, words_with};
use crate::error::Result;
use crate::objective::{PreparedImage, SampleMaker};
use crate::optim::thousands;
use crate::pictures::{default_processor, processor_for};
use crate::processor::{frames_config, model_visual_tokens, stage_processor, video_parts};
use crate::recipe::{MixtureRecipe, ObjectiveKind, PictureView, StageRecipe, VideoRecipe, has_picture};
use crate::run::data::{DataOrigin, corpus_mixture};
use crate::run::drawn::language_shares;
use crate::run::resolved_view;

/// Samples that are looked at, evenly spaced over an epoch.
const LOOKED_AT: u64 = 64;
/// The share of a conversation's text that is answers, where nothing is there to look at.
const ANSWERS: f64 = 0.5;

/// What is taken for granted where no data is there to look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assumptions {
    /// Tokens of a sample's text.
    pub text_tokens: usize,
    /// Width and height of a picture.
    pub picture: (u32, u32),
}

impl Default for Assumptions {
    /// 256 tokens, 1024 x 768 pixels.
    fn default() -> Self {
        Self { text_tokens: 256, picture: (1024, 768) }
    }
}

/// A stage's samples on average.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleEstimate {
    /// Samples of an epoch; `None` where they are drawn by weight, or their number is not known.
    pub epoch: Option<u64>,
    /// Pictures of a sample.
    pub pictures: f64,
    /// Views of a picture: itself, or its thumbnail and tiles.
    pub views_of_picture: f64,
    /// Visual tokens of a sample.
    pub visual_tokens: f64,
    /// Other tokens of a sample.
    pub text_tokens: f64,
    /// Trained tokens of a sample.
    pub targets: f64,
    /// Width and height of a picture.
    pub picture: (u32, u32),
    /// The share of samples in each language, by tag (`und` where none is told); empty where it is not known.
    pub languages: BTreeMap<String, f64>,
    /// Where all this is known from.
    pub notes: Vec<String>,
}

impl SampleEstimate {
    /// Tokens of a sample.
    pub fn tokens(&self) -> f64 {
        self.visual_tokens + self.text_tokens
    }

    /// Views of a sample's pictures.
    pub fn views(&self) -> f64 {
        self.pictures * self.views_of_picture
    }

    fn limited(mut self, max_tokens: Option<usize>) -> Self {
        if let Some(max) = max_tokens.map(|max| max as f64).filter(|max| *max < self.tokens()) {
            // pictures are never cut
            let text = (max - self.visual_tokens).max(0.0);
            self.targets *= text / self.text_tokens.max(1.0);
            self.text_tokens = text;
        }
        self
    }
}

pub(super) fn estimate(input: &EstimateInput<'_>, shapes: &Shapes, stage: &StageRecipe) -> Result<SampleEstimate> {
    match &stage.mixture {
        Some(mixture) => of_mixture(input, shapes, stage, mixture),
        None => of_corpus(input, shapes, stage),
    }
}

/// The embedded corpus: encoded with the backbone's tokenizer if that is there.
fn of_corpus(input: &EstimateInput<'_>, shapes: &Shapes, stage: &StageRecipe) -> Result<SampleEstimate> {
    let text_only = stage.objective == ObjectiveKind::Text;
    let weights: f64 = stage.data.tasks.values().sum();
    let seen: f64 = stage.data.tasks.iter().filter(|(task, _)| has_picture(**task)).map(|(_, weight)| weight).sum();
    let others = stage.data.text.as_ref().map_or(0.0, |text| text.share);
    let pictures = if text_only { 0.0 } else { (1.0 - others) * seen / weights.max(f64::MIN_POSITIVE) };
    let tiled = stage.data.pictures == PictureView::Tiles && shapes.config.is_tiled();
    let shown = if tiled {
        corpus_tiles(&shapes.config, stage)?
    } else {
        let tokens = shapes.config.num_visual_tokens() as f64;
        Shown { views: 1.0, tokens, side: u32::try_from(shapes.config.vision_config.image_size()).unwrap_or(u32::MAX) }
    };
    let mut sample = SampleEstimate {
        epoch: None,
        pictures,
        views_of_picture: shown.views,
        visual_tokens: pictures * shown.tokens,
        text_tokens: input.assumptions.text_tokens as f64,
        targets: input.assumptions.text_tokens as f64 * ANSWERS,
        picture: (shown.side, shown.side),
        languages: BTreeMap::new(),
        notes: vec!["the embedded corpus, drawn by weight".into(), assumed_text(input, ANSWERS)],
    };
    let origin = DataOrigin::new(input.context, input.recipe, input.base);
    let (mixed, languages) = corpus_mixture(stage, origin, 0)?;
    sample.languages = language_shares(&languages);
    let shown = MixtureRecipe { pictures: stage.data.pictures, ..MixtureRecipe::new("") };
    Ok(look((input, shapes), stage, &shown, &mixed, sample)?.limited(stage.max_tokens))
}

/// How pictures are shown, on average.
#[derive(Debug, PartialEq)]
pub(super) struct Shown {
    /// Views of a picture.
    pub(super) views: f64,
    /// Visual tokens of a picture.
    pub(super) tokens: f64,
    /// Side of the largest, in pixels.
    pub(super) side: u32,
}

/// Tiles of the corpus's own pictures and of those that are drawn for tasks, by the weights of the tasks.
pub(super) fn corpus_tiles(config: &VlmConfig, stage: &StageRecipe) -> Result<Shown> {
    let data = &stage.data;
    let (mut all, mut sum) = (0.0, Shown { views: 0.0, tokens: 0.0, side: 0 });
    for (task, weight) in data.tasks.iter().filter(|(task, weight)| has_picture(**task) && **weight > 0.0) {
        let side = match task {
            Task::Scenes => CANVAS,
            Task::Words => data.words.clone().unwrap_or_default().size,
            _ => PICTURE_SIDE,
        };
        let square = (side as usize, side as usize);
        all += weight;
        sum.views += weight * config.num_tiles(square)? as f64;
        sum.tokens += weight * config.num_image_tokens(square)? as f64;
        sum.side = sum.side.max(side);
    }
    let weights = f64::max(all, f64::MIN_POSITIVE);
    Ok(Shown { views: sum.views / weights, tokens: sum.tokens / weights, ..sum })
}

fn assumed_text(input: &EstimateInput<'_>, answers: f64) -> String {
    let tokens = input.assumptions.text_tokens;
    let trained = if answers < 1.0 { ", half of them trained" } else { ", all of them trained" };
    format!("assumed: {tokens} tokens of text a sample{trained} (--text-tokens)")
}

/// A user's own data: opened and looked at if it is there, else as its file declares it.
fn of_mixture(
    input: &EstimateInput<'_>,
    shapes: &Shapes,
    stage: &StageRecipe,
    mixture: &MixtureRecipe,
) -> Result<SampleEstimate> {
    let config = mixture.config(input.base)?;
    let mut notes = Vec::new();
    let mut there = false;
    if config.root.as_deref().is_some_and(Path::is_dir) {
        let options = StreamOptions { shuffle_bytes: mixture.shuffle_megabytes << 20, ..StreamOptions::seeded(0) };
        match open_mixture(&config, mixture.limits, options) {
            Ok(open) => {
                let epoch = open.mixed.epoch_len();
                notes.push(format!(
                    "{}: {} samples an epoch, counted",
                    mixture.file.display(),
                    thousands(epoch as usize)
                ));
                let shares = ["text", "video"].map(|tag| tagged_share(&config, Some(&open.plan), tag));
                let mut sample = assumed(input, shapes, mixture, shares, notes)?;
                sample.epoch = Some(epoch);
                sample.languages = language_shares(&open.plan.by_language());
                let sample = look((input, shapes), stage, mixture, &open.mixed, sample)?;
                return Ok(sample.limited(stage.max_tokens));
            }
            Err(error) => {
                notes.push(format!("THE DATA CANNOT BE USED AS IT IS: {error}"));
                there = true;
            }
        }
    }
    let plan = config.declared_counts().and_then(|counts| Plan::new(&config, &counts)).ok();
    let epoch = config.total.or(plan.as_ref().map(Plan::len));
    let root = config.root.clone().unwrap_or_default();
    notes.push(match epoch {
        Some(epoch) => format!(
            "{}: {} samples an epoch, as the file declares{}",
            mixture.file.display(),
            thousands(epoch as usize),
            if there { String::new() } else { format!("; there is no data in {}", root.display()) }
        ),
        None => format!(
            "{}: the number of samples is not known without the data in {}; declare `samples`",
            mixture.file.display(),
            root.display()
        ),
    });
    let shares = ["text", "video"].map(|tag| tagged_share(&config, plan.as_ref(), tag));
    let mut sample = assumed(input, shapes, mixture, shares, notes)?;
    sample.epoch = epoch;
    sample.languages = plan.as_ref().map(|plan| language_shares(&plan.by_language())).unwrap_or_default();
    Ok(sample.limited(stage.max_tokens))
}

/// The share of samples of sources with a tag: `text` for those without a picture, `video` for those with a video. Where no numbers are
/// known, all have it or none is taken to.
fn tagged_share(config: &MixtureConfig, plan: Option<&Plan>, tag: &str) -> f64 {
    let has = |source: &burn_vlm_data::mixture::SourceConfig| source.tags.iter().any(|own| own == tag);
    let Some(plan) = plan else { return f64::from(u8::from(config.sources.iter().all(has))) };
    let tagged = config.sources.iter().enumerate().filter(|(_, source)| has(source));
    let tagged: u64 = tagged.map(|(index, _)| plan.of_source(index)).sum();
    tagged as f64 / plan.len().max(1) as f64
}

fn assumed(
    input: &EstimateInput<'_>,
    shapes: &Shapes,
    mixture: &MixtureRecipe,
    [text_share, video_share]: [f64; 2],
    mut notes: Vec<String>,
) -> Result<SampleEstimate> {
    let (width, height) = input.assumptions.picture;
    let size = (height as usize, width as usize);
    let view = if shapes.whole && shapes.config.is_tiled() { PictureView::Tiles } else { mixture.pictures };
    let (views, tokens) = match view {
        _ if shapes.config.is_flexible() => (1, patches_of(shapes, (height, width))?),
        PictureView::Tiles => (shapes.config.num_tiles(size)?, shapes.config.num_image_tokens(size)?),
        PictureView::Square | PictureView::Pad => (1, shapes.config.num_visual_tokens()),
    };
    let answers = if mixture.template == PromptTemplate::Chat { ANSWERS } else { 1.0 };
    let pictures = (1.0 - text_share - video_share).max(0.0);
    let text = input.assumptions.text_tokens as f64;
    notes.push(assumed_text(input, answers));
    let video = (video_share > 0.0).then(|| shown_video(input, shapes));
    if let Some((frames, tokens)) = video {
        notes.push(format!(
            "assumed: a video of {frames} frames in {:.0} % (sources tagged `video`): {frames} views, {tokens} visual tokens; what \
             decoding takes is not known without the videos",
            100.0 * video_share
        ));
    }
    let (frames, video_tokens) = video.unwrap_or_default();
    let of_picture = match view {
        PictureView::Tiles => {
            format!("assumed: pictures of {width} x {height} pixels (--picture): {views} views, {tokens} visual tokens")
        }
        _ if shapes.config.is_flexible() => {
            format!("assumed: pictures of {width} x {height} pixels (--picture): {tokens} patches, a visual token each")
        }
        _ => format!("one view of {tokens} visual tokens a picture"),
    };
    let rest = if text_share > 0.0 {
        format!(", none in {:.0} % (sources tagged `text`)", 100.0 * text_share)
    } else {
        String::new()
    };
    if pictures > 0.0 {
        notes.push(of_picture);
        notes.push(format!("assumed: one picture a sample{rest}"));
    }
    let shown = pictures + video_share;
    Ok(SampleEstimate {
        epoch: None,
        pictures: shown,
        views_of_picture: (pictures * views as f64 + video_share * frames as f64) / shown.max(f64::MIN_POSITIVE),
        visual_tokens: pictures * tokens as f64 + video_share * video_tokens as f64,
        text_tokens: text,
        targets: text * answers,
        picture: (width, height),
        languages: BTreeMap::new(),
        notes,
    })
}

/// Frames of a video as the recipe's rule chooses them, and its visual tokens.
fn shown_video(input: &EstimateInput<'_>, shapes: &Shapes) -> (usize, usize) {
    let sampling =
        input.recipe.video.as_ref().map_or_else(|| VideoSettings::default().sampling, |video| video.sampling);
    let frames = sampling.most_frames();
    let tokens = match shapes.config.takes_videos() {
        true => shapes.config.frame_tokens().of_video(frames),
        false => frames * shapes.config.num_visual_tokens(),
    };
    (frames, tokens)
}

/// Patches of a picture (height, width) that has a grid of its own.
fn patches_of(shapes: &Shapes, size: (u32, u32)) -> Result<usize> {
    let tower = &shapes.config.vision_config;
    let image = match &shapes.encoder {
        Some(encoder) => processor_for(encoder, tower)?,
        None => default_processor(tower)?,
    };
    Ok(model_visual_tokens(&shapes.config).shown_by(&image).count_size(size))
}

/// Samples of the stream instead of assumptions, where parts can read them.
fn look(
    (input, shapes): (&EstimateInput<'_>, &Shapes),
    stage: &StageRecipe,
    mixture: &MixtureRecipe,
    mixed: &Mixed,
    sample: SampleEstimate,
) -> Result<SampleEstimate> {
    let Some(backbone) = &shapes.backbone else { return Ok(sample) };
    let takes_videos = shapes.config.takes_videos();
    let Words { tokenizer, template, note, .. } = words_with(backbone, shapes.answer_end, takes_videos)?;
    let tower = &shapes.config.vision_config;
    let image = match &shapes.encoder {
        Some(encoder) => processor_for(encoder, tower)?,
        None => default_processor(tower)?,
    };
    let options = EncodeOptions {
        mask: mixture.mask,
        max_tokens: stage.max_tokens,
        truncation: mixture.truncation,
        user_turns: false,
    };
    let (config, limits) = (&shapes.config, mixture.limits.decode());
    let view = resolved_view(mixture.pictures, shapes.whole, config, &image)?;
    let processor = stage_processor(config, tokenizer, template, &image, (view, shapes.whole), limits)?;
    let frames = takes_videos.then(|| frames_config(backbone, &image)).transpose()?;
    let processor = match video_parts(config, frames) {
        Some(videos) => processor.with_videos(videos)?,
        None => processor,
    };
    let settings = input.recipe.video.as_ref().map(VideoRecipe::settings).unwrap_or_default();
    let frames = processor.frame_processor().ok();
    // What decoding takes is measured: nothing of it may come from the cache.
    let settings = VideoSettings { cache: None, ..settings };
    let clips = frames.map(|frames| Clips::new(&settings, frames, input.base)).transpose()?;
    let positions = config.text_config.max_position_embeddings();
    let mut maker = SampleMaker::new(Arc::new(processor), mixture.template, options, mixture.batching, positions);
    maker.clips = clips;
    let ids = [maker.processor.image_token_id(), maker.processor.video_token_id()];
    let epoch = mixed.epoch_len();
    let count = LOOKED_AT.min(epoch);
    let mut sum = SampleEstimate {
        pictures: 0.0,
        views_of_picture: 0.0,
        visual_tokens: 0.0,
        text_tokens: 0.0,
        targets: 0.0,
        notes: sample.notes.into_iter().filter(|note| !note.starts_with("assumed")).collect(),
        ..sample
    };
    let (mut videos, mut decoding) = (0, Duration::ZERO);
    for index in 0..count {
        let drawn = mixed.get(index * epoch / count, |sample| {
            let begin = Instant::now();
            let made = maker.make(sample, None)?;
            Ok((made, sample.clips().count(), begin.elapsed()))
        });
        let (made, files, took) = drawn?.item;
        if files > 0 {
            videos += files;
            decoding += took;
        }
        let visual = made.encoded.ids.iter().filter(|token| ids.contains(&Some(**token))).count() as f64;
        sum.pictures += made.images.len() as f64;
        sum.views_of_picture += made.images.iter().map(PreparedImage::views).sum::<usize>() as f64;
        sum.visual_tokens += visual;
        sum.text_tokens += made.encoded.ids.len() as f64 - visual;
        sum.targets += made.encoded.labels.iter().filter(|label| **label >= 0).count() as f64;
    }
    sum.views_of_picture /= sum.pictures.max(1.0);
    for mean in [&mut sum.pictures, &mut sum.visual_tokens, &mut sum.text_tokens, &mut sum.targets] {
        *mean /= count.max(1) as f64;
    }
    sum.notes.extend(note.filter(|_| mixture.template == PromptTemplate::Chat));
    sum.notes.push(format!("lengths and pictures are those of {count} samples from all over it"));
    if videos > 0 {
        let seconds = decoding.as_secs_f64() / videos as f64;
        let all = sum.epoch.map(|epoch| seconds * videos as f64 / count as f64 * epoch as f64);
        let all = all.map_or_else(String::new, |all| {
            format!(", {} an epoch, shared by the workers and once only with `[video] cache`", time(all))
        });
        sum.notes.push(format!("decoding and resizing take {seconds:.2} s a video on one thread{all}"));
    }
    Ok(sum)
}

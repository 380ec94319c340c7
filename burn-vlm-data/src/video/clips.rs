//! The videos of samples as they are shown: files become the frames that a rule chooses, each a picture that is decoded when it is needed.
//!
//! Unusual here: what a frame is, is known before it is decoded: by the content of its video, the rule and its place among the chosen
//! ones. Features that were computed for it are found without the video being opened.

use super::waiting::{self, nobody_waits};
use super::{
    Clip, FrameCache, FrameTimes, SampledFrames, Sampling, VideoError, VideoOptions, VideoProcessor, VideoReader,
    VideoRecord,
};
use crate::conversation::{Role, Turn};
use crate::drawn::{Drawing, DrawnPicture};
use crate::image::{DecodeLimits, ImageError, RgbImage};
use crate::language::Language;
use crate::sample::{Media, MediaKey, Picture, Sample, Video, placeholder_ends};
use crate::source::{SkipKind, SkipReason};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What a frame's description begins with, see [`Drawing::description`].
const FORM: &str = "frame/2";
/// The codec of a video that is a list of pictures.
const LISTED: &str = "frames";
/// Frames that are shown of a video where nothing else is said: LLaVA-OneVision's, TowerVideo's and their evaluation's.
pub const DEFAULT_FRAMES: usize = 32;

/// How videos are shown: `[video]` of a recipe, `--frames` and its like of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VideoSettings {
    /// Which frames of a file are shown: `{ rule = "linspace", frames = 32 }`, `{ rule = "fps", fps = 1.0, upper_bound = 32 }`, ...
    pub sampling: Sampling,
    /// A folder where resized frames are kept, from the folder of the recipe; none where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
    /// The most megabytes of that folder; what was not used for the longest time goes.
    pub cache_megabytes: u64,
    /// Words before the question that say how long the video is and when its frames are: English, and before English questions alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub time_instruction: bool,
    /// How files are read: limits, the colour below transparent pixels, the programs.
    pub reading: VideoOptions,
}

impl Default for VideoSettings {
    fn default() -> Self {
        Self {
            sampling: Sampling::Linspace { frames: DEFAULT_FRAMES },
            cache: None,
            cache_megabytes: 4096,
            time_instruction: false,
            reading: VideoOptions::default(),
        }
    }
}

/// Shows the videos of samples.
pub struct Clips {
    reader: VideoReader,
    sampling: Sampling,
    frames: VideoProcessor,
    cache: Option<FrameCache>,
    time_instruction: bool,
    /// Part of every frame's description: all that decides its pixels but for the video.
    looks: String,
    known: Mutex<Known>,
}

/// Videos whose resized frames [`Clips`] holds at once: their frames are asked for one by one, and more threads than this wait for the disk.
pub const HELD_VIDEOS: usize = 16;

/// What was found out before: samples are drawn again and again.
#[derive(Default)]
struct Known {
    keys: HashMap<PathBuf, MediaKey>,
    records: HashMap<MediaKey, Arc<VideoRecord>>,
    /// What is wrong with videos that could be read all the same, by their names.
    damaged: BTreeMap<String, String>,
    /// The last videos with their frames, the oldest first.
    held: VecDeque<(MediaKey, Arc<Decoded>)>,
}

/// The frames of a video.
type Frames = Result<Arc<SampledFrames<RgbImage>>, SkipReason>;
/// The same, once they are asked for: who comes second waits for the first. Nothing where the first has given up.
type Decoded = OnceLock<Option<Frames>>;

/// A video file that is shown.
struct Chosen {
    by: Arc<Clips>,
    clip: Clip,
    key: MediaKey,
}

/// One of a video's chosen frames.
struct Frame {
    of: Arc<Chosen>,
    number: usize,
}

impl Clips {
    /// Shows videos as the settings say, their frames resized as `frames` does. Relative folders begin in `base`.
    ///
    /// # Errors
    /// A rule that cannot choose, a cache that cannot be made.
    pub fn new(settings: &VideoSettings, frames: VideoProcessor, base: &Path) -> Result<Arc<Self>, VideoError> {
        settings.sampling.check()?;
        let open = |folder: &PathBuf| {
            let folder = base.join(folder);
            FrameCache::open(&folder, settings.cache_megabytes << 20)
                .map_err(|error| VideoError::Cache { folder: folder.display().to_string(), reason: error.to_string() })
        };
        let cache = settings.cache.as_ref().map(open).transpose()?;
        let options = &settings.reading;
        let looks = (&settings.sampling, frames.config().frames(), options.background, options.turn);
        // Which frames of a folder are chosen may depend on it.
        let rate = options.folder_fps.map_or_else(String::new, |fps| format!(" {fps}"));
        let looks = serde_json::to_string(&looks).map(|looks| looks + &rate).map_err(|error| {
            let found = error.to_string();
            ImageError::Config { key: "video", expected: "a configuration that can be written as JSON", found }
        })?;
        Ok(Arc::new(Self {
            reader: VideoReader::new(options.clone()),
            sampling: settings.sampling,
            frames,
            cache,
            time_instruction: settings.time_instruction,
            looks,
            known: Mutex::default(),
        }))
    }

    /// The rule.
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// What reads files.
    pub fn reader(&self) -> &VideoReader {
        &self.reader
    }

    /// What resizes frames.
    pub fn frames(&self) -> &VideoProcessor {
        &self.frames
    }

    /// The sample with the chosen frames in the place of its files, and with the time instruction where it is asked for. As
    /// [`Self::show`].
    ///
    /// # Errors
    /// As [`Self::show`].
    pub fn show_sample<'s>(self: &Arc<Self>, sample: &'s Sample, decode: bool) -> Result<Cow<'s, Sample>, SkipReason> {
        let media = match self.show(&sample.media, decode)? {
            Cow::Borrowed(_) => return Ok(Cow::Borrowed(sample)),
            Cow::Owned(media) => media,
        };
        let english = sample.language.is_none_or(|language| language == Language::EN);
        let turns = if self.time_instruction && english {
            self.with_times(&sample.turns, &sample.media)?
        } else {
            sample.turns.clone()
        };
        Ok(Cow::Owned(Sample { media, turns, ..sample.clone() }))
    }

    /// The media with the chosen frames in the place of video files, and of lists of more frames than the rule chooses those that it
    /// chooses. With `decode` the files are decoded at once, so that one that
    /// cannot be is told here; else as soon as a frame is wanted, where the rule says how many there will be.
    ///
    /// # Errors
    /// A file that cannot be read or decoded, or has too few frames.
    pub fn show<'m>(self: &Arc<Self>, media: &'m [Media], decode: bool) -> Result<Cow<'m, [Media]>, SkipReason> {
        let most = self.sampling.frames().unwrap_or(usize::MAX);
        let stays = |medium: &Media| match medium {
            Media::Image(_) => true,
            Media::Video(Video::Frames(frames)) => frames.len() <= most,
            Media::Video(Video::Clip(_)) => false,
        };
        if media.iter().all(stays) {
            return Ok(Cow::Borrowed(media));
        }
        let one = |medium: &Media| match medium {
            Media::Video(Video::Clip(clip)) => Ok(Media::Video(Video::Frames(self.choose(clip, decode)?))),
            Media::Video(Video::Frames(frames)) if frames.len() > most => {
                let name = frames.first().map(Picture::name).unwrap_or_default();
                let chosen = self.sampling.indices(&name, frames.len(), None)?;
                Ok(Media::frames(chosen.into_iter().filter_map(|index| frames.get(index).cloned())))
            }
            other => Ok(other.clone()),
        };
        media.iter().map(one).collect::<Result<Vec<_>, SkipReason>>().map(Cow::Owned)
    }

    /// What was chosen of a file: decodes it, unless that was done before.
    ///
    /// # Errors
    /// As [`Self::show`].
    pub fn record(self: &Arc<Self>, clip: &Clip) -> Result<Arc<VideoRecord>, SkipReason> {
        let key = self.key(clip)?;
        if let Some(known) = self.known_record(key) {
            return Ok(known);
        }
        let sampled = self.frames_of(clip, key)?;
        Ok(self.remember(key, &sampled.record))
    }

    /// How many frames of a file are shown, without decoding them where the rule or its container tells.
    ///
    /// # Errors
    /// As [`Self::look`]; a file that has too few frames for the rule.
    pub fn count(&self, clip: &Clip) -> Result<usize, SkipReason> {
        match self.sampling.frames().or_else(|| Some(self.known(clip)?.indices.len())) {
            Some(count) => Ok(count),
            None => Ok(self.sampling.count(clip.open(&self.reader)?.as_mut())?),
        }
    }

    /// Whether a file is there and has frames, without decoding them where its container tells.
    ///
    /// # Errors
    /// A file that cannot be read, has no frames, or is beyond the limits.
    pub fn look(&self, clip: &Clip) -> Result<(), SkipReason> {
        if self.known(clip).is_none() {
            clip.open(&self.reader)?.info()?;
        }
        Ok(())
    }

    /// Decodes the chosen frames of a file and holds them, until those of [`HELD_VIDEOS`] others are.
    ///
    /// # Errors
    /// As [`Self::show`].
    pub fn hold(&self, clip: &Clip) -> Result<(), SkipReason> {
        let key = self.key(clip)?;
        self.frames_of(clip, key).map(drop)
    }

    /// What was chosen of a file that was decoded before.
    pub fn known(&self, clip: &Clip) -> Option<Arc<VideoRecord>> {
        self.known_record(self.key(clip).ok()?)
    }

    /// Videos that were shown so far although they are cut off or damaged, by their names, with what is wrong.
    pub fn damaged(&self) -> BTreeMap<String, String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).damaged.clone()
    }

    /// Which frames of a list are shown: those that the rule chooses of more than it chooses, else all.
    ///
    /// # Errors
    /// As [`Self::show`]; a first frame that cannot be decoded.
    pub fn record_of_list(&self, frames: &[Picture]) -> Result<VideoRecord, SkipReason> {
        let first =
            frames.first().ok_or_else(|| SkipReason::new(SkipKind::UnreadableVideo, "a video without frames"))?;
        let indices = match self.sampling.frames() {
            Some(most) if frames.len() > most => self.sampling.indices(&first.name(), frames.len(), None)?,
            _ => (0..frames.len()).collect(),
        };
        Ok(VideoRecord {
            sampling: self.sampling,
            indices,
            seconds: Vec::new(),
            counted: frames.len(),
            decoded: None,
            fps: None,
            size: first.decode(&DecodeLimits::default())?.dimensions(),
            codec: LISTED.to_owned(),
            damage: None,
        })
    }

    /// What the video is; the file is hashed once.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn key(&self, clip: &Clip) -> Result<MediaKey, SkipReason> {
        let Clip::File(path) = clip else { return clip.key() };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).keys.get(path).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let key = clip.key()?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).keys.insert(path.clone(), key);
        Ok(key)
    }

    fn known_record(&self, key: MediaKey) -> Option<Arc<VideoRecord>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).records.get(&key).cloned()
    }

    fn remember(&self, key: MediaKey, record: &VideoRecord) -> Arc<VideoRecord> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.records.entry(key).or_insert_with(|| Arc::new(record.clone())).clone()
    }

    /// The chosen frames as pictures.
    fn choose(self: &Arc<Self>, clip: &Clip, decode: bool) -> Result<Vec<Picture>, SkipReason> {
        let key = self.key(clip)?;
        let known = self.sampling.frames().or_else(|| Some(self.known_record(key)?.indices.len()));
        let count = match known {
            Some(count) if !decode => count,
            _ => self.frames_of(clip, key)?.order.len(),
        };
        let of = Arc::new(Chosen { by: self.clone(), clip: clip.clone(), key });
        let name = clip.name();
        let frame = |number: usize| {
            let drawing = Arc::new(Frame { of: of.clone(), number });
            Picture::Drawn(DrawnPicture::new(format!("{name}, frame {} of {count}", number + 1), drawing))
        };
        Ok((0..count).map(frame).collect())
    }

    /// The place of a video's frames among those that are held.
    fn decoded(&self, key: MediaKey) -> Arc<Decoded> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, decoded)) = known.held.iter().find(|(held, _)| *held == key) {
            return decoded.clone();
        }
        let decoded = Arc::new(Decoded::new());
        known.held.push_back((key, decoded.clone()));
        if known.held.len() > HELD_VIDEOS {
            known.held.pop_front();
        }
        decoded
    }

    fn frames_of(&self, clip: &Clip, key: MediaKey) -> Frames {
        let sampled = loop {
            let decoded = self.decoded(key);
            let sample = || match self.sample(clip, key) {
                Err(_) if nobody_waits() => None,
                sampled => Some(sampled.map(Arc::new)),
            };
            if let Some(sampled) = decoded.get_or_init(sample) {
                break sampled.clone()?;
            }
            // Whoever still waits decodes it anew.
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.held.retain(|(_, other)| !Arc::ptr_eq(other, &decoded));
            drop(known);
            waiting::check(&clip.name())?;
        };
        self.remember(key, &sampled.record);
        if let Some(damage) = &sampled.record.damage {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.damaged.entry(clip.name()).or_insert_with(|| damage.clone());
        }
        Ok(sampled)
    }

    /// The chosen frames, resized: of the cache, or decoded.
    fn sample(&self, clip: &Clip, key: MediaKey) -> Result<SampledFrames<RgbImage>, SkipReason> {
        let kept = self.cache.as_ref().and_then(|cache| {
            Some((cache, cache.key_of(key, self.reader.options(), self.frames.config(), &self.sampling)?))
        });
        if let Some(sampled) = kept.as_ref().and_then(|(cache, key)| cache.get(key)) {
            return Ok(sampled);
        }
        let sampled = self.frames.read(clip.open(&self.reader)?.as_mut(), &self.sampling)?;
        if let Some((cache, key)) = &kept {
            cache.put(key, &sampled);
        }
        Ok(sampled)
    }

    /// The turns with the time instruction on the line behind the first file that a question shows.
    fn with_times(self: &Arc<Self>, turns: &[Turn], media: &[Media]) -> Result<Vec<Turn>, SkipReason> {
        let mut rest = media;
        let mut told = Vec::with_capacity(turns.len());
        for turn in turns {
            let ends = placeholder_ends(&turn.text);
            let (own, later) = rest.split_at(ends.len().min(rest.len()));
            rest = later;
            let file = own.iter().zip(ends).find_map(|(medium, end)| match medium {
                Media::Video(Video::Clip(clip)) => Some((clip, end)),
                _ => None,
            });
            let text = match file.filter(|_| turn.role == Role::User) {
                Some((clip, end)) => {
                    let (before, after) = (&turn.text[..end], turn.text[end..].trim_start_matches('\n'));
                    match self.record(clip)?.time_instruction(FrameTimes::Trained) {
                        Some(words) => format!("{before}\n{words}\n{after}"),
                        None => turn.text.clone(),
                    }
                }
                None => turn.text.clone(),
            };
            told.push(Turn { role: turn.role, text });
        }
        Ok(told)
    }
}

impl Chosen {
    fn frame(&self, number: usize) -> Result<RgbImage, String> {
        let sampled = self.by.frames_of(&self.clip, self.key).map_err(|reason| reason.detail)?;
        let frame = sampled.iter().nth(number).cloned();
        frame.ok_or_else(|| format!("{}: fewer frames than the rule chooses", self.clip.name()))
    }
}

impl Drawing for Frame {
    fn description(&self) -> String {
        let key: String = self.of.key.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{FORM} {key} {} {}", self.number, self.of.by.looks)
    }

    fn draw(&self) -> Result<RgbImage, String> {
        self.of.frame(self.number)
    }

    fn is_frame(&self) -> bool {
        true
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("of", &self.of.clip.name()).field("number", &self.number).finish()
    }
}

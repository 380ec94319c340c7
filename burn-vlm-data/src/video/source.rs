//! The trait of what gives frames, opening files, and reading the frames that a rule chooses.

use super::{
    Clip, Decoder, FfmpegSource, FolderSource, GifSource, Sampling, VideoError, VideoInfo, VideoOptions, WebpSource,
};
use crate::image::RgbImage;
use burn_vlm_base::files::read_regular;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use tempfile::TempPath;

/// How reading frames ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// All frames that were asked for were there.
    All,
    /// The video ended before the last of them.
    Early {
        /// Frames that decode.
        decoded: usize,
        /// What the decoder said; empty where it said nothing.
        said: String,
    },
}

/// Something whose frames can be read.
pub trait FrameSource: Send {
    /// What errors call it.
    fn name(&self) -> &str;

    /// What is known before decoding; found out at the first call.
    ///
    /// # Errors
    /// A file that cannot be read, has no frames, or is beyond the limits.
    fn info(&mut self) -> Result<&VideoInfo, VideoError>;

    /// Decodes the frames with the numbers `indices`, which ascend and are all different, and gives each to `take` with its number, in
    /// order. No more than one is in memory.
    ///
    /// # Errors
    /// What cannot be decoded; what `take` returns. A file that ends early is not an error, see [`End`].
    fn read(
        &mut self,
        indices: &[usize],
        take: &mut dyn FnMut(usize, RgbImage) -> Result<(), VideoError>,
    ) -> Result<End, VideoError>;
}

/// Opens videos.
#[derive(Debug, Clone, Default)]
pub struct VideoReader {
    options: VideoOptions,
}

/// What a file is, by its first bytes.
enum Kind {
    Gif,
    Webp,
    Other,
}

impl Kind {
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [b'G', b'I', b'F', b'8', ..] => Self::Gif,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Self::Webp,
            _ => Self::Other,
        }
    }
}

impl VideoReader {
    /// A reader with these options.
    pub fn new(options: VideoOptions) -> Self {
        Self { options }
    }

    /// The options.
    pub fn options(&self) -> &VideoOptions {
        &self.options
    }

    /// Whether the programs read a video. Of one in a record of a source only its name is asked, of one that is not there nothing.
    pub fn needs_programs(&self, clip: &Clip) -> bool {
        let built_in = |head: &[u8]| matches!(Kind::of(head), Kind::Gif | Kind::Webp);
        match clip {
            Clip::Encoded { bytes, .. } => !built_in(bytes),
            Clip::Stored(stored) => {
                let name = stored.name().to_ascii_lowercase();
                !(name.ends_with(".gif") || name.ends_with(".webp"))
            }
            Clip::File(path) => {
                let mut head = Vec::new();
                let read = File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
                path.is_file() && read.is_ok() && !head.is_empty() && !built_in(&head)
            }
        }
    }

    /// What the program `ffmpeg` calls itself: another one may decode to other pixels.
    ///
    /// # Errors
    /// [`VideoError::NoProgram`] where it or `ffprobe` is not there, and what else starting them may fail with.
    pub fn programs(&self) -> Result<String, VideoError> {
        if self.options.decoder != Decoder::Programs {
            return super::ffmpeg::version(&self.options);
        }
        super::ffmpeg::version_of(&self.options.ffprobe, &self.options)?;
        super::ffmpeg::version_of(&self.options.ffmpeg, &self.options)
    }

    /// Opens a video file, a GIF, an animated WebP, or a folder of frames.
    ///
    /// # Errors
    /// A path where no such thing is. What is wrong inside comes with [`FrameSource::info`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Box<dyn FrameSource>, VideoError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let fail = |reason: String| VideoError::File { name: name.clone(), reason };
        let data = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
        if data.is_dir() {
            return Ok(Box::new(FolderSource::open(path, &self.options)?));
        }
        if !data.is_file() {
            return Err(fail("it is a device or a pipe, expected a regular file or a folder of frames".to_owned()));
        }
        let mut head = Vec::new();
        let file = File::open(path).map_err(|error| fail(error.to_string()))?;
        file.take(HEAD).read_to_end(&mut head).map_err(|error| fail(error.to_string()))?;
        let whole = || read_regular(path, self.options.limits.max_bytes).map_err(|error| fail(error.to_string()));
        match Kind::of(&head) {
            _ if head.is_empty() => Err(fail("the file is empty".to_owned())),
            Kind::Gif => Ok(Box::new(GifSource::new(name.clone(), whole()?, &self.options))),
            Kind::Webp => Ok(Box::new(WebpSource::new(name.clone(), whole()?, &self.options))),
            Kind::Other => match self.options.decoder {
                Decoder::Programs => Ok(Box::new(FfmpegSource::open(name, path, &self.options))),
                #[cfg(feature = "libav")]
                Decoder::Libav => Ok(Box::new(super::LibavSource::open(name, path, &self.options))),
                #[cfg(not(feature = "libav"))]
                Decoder::Libav => Err(VideoError::NoLibav),
            },
        }
    }

    /// A temporary file of what is neither GIF nor WebP.
    fn open_temporary(&self, name: &str, path: TempPath) -> Result<Box<dyn FrameSource>, VideoError> {
        match self.options.decoder {
            Decoder::Programs => Ok(Box::new(FfmpegSource::temporary(name.to_owned(), path, &self.options))),
            #[cfg(feature = "libav")]
            Decoder::Libav => Ok(Box::new(super::LibavSource::temporary(name.to_owned(), path, &self.options))),
            #[cfg(not(feature = "libav"))]
            Decoder::Libav => Err(VideoError::NoLibav),
        }
    }

    /// Opens a video whose bytes are in memory. What the programs read becomes a temporary file, since most files can only be read by
    /// seeking.
    ///
    /// # Errors
    /// No bytes or more than allowed, or no room for the file.
    pub fn open_bytes(&self, name: &str, bytes: &[u8]) -> Result<Box<dyn FrameSource>, VideoError> {
        let fail = |reason: String| VideoError::File { name: name.to_owned(), reason };
        let most = self.options.limits.max_bytes;
        if bytes.len() as u64 > most {
            return Err(fail(format!("{} bytes, at most {most} are allowed", bytes.len())));
        }
        match Kind::of(bytes) {
            _ if bytes.is_empty() => Err(fail("it has no bytes".to_owned())),
            Kind::Gif => Ok(Box::new(GifSource::new(name.to_owned(), bytes.to_vec(), &self.options))),
            Kind::Webp => Ok(Box::new(WebpSource::new(name.to_owned(), bytes.to_vec(), &self.options))),
            Kind::Other => {
                let written = tempfile::NamedTempFile::new().and_then(|mut file| {
                    file.write_all(bytes)?;
                    file.flush()?;
                    Ok(file.into_temp_path())
                });
                let path = written.map_err(|error| fail(format!("a temporary file for it: {error}")))?;
                self.open_temporary(name, path)
            }
        }
    }
}

/// Bytes that tell what a file is.
const HEAD: u64 = 16;

/// Which frames were shown, and of what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VideoRecord {
    /// The rule.
    pub sampling: Sampling,
    /// The chosen frames, as often as they are shown.
    pub indices: Vec<usize>,
    /// When each is shown, in seconds from the video's first frame; empty where nothing says.
    pub seconds: Vec<f64>,
    /// Frames of the video, counted.
    pub counted: usize,
    /// Frames that decode, where they are fewer: the rule then chose among these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoded: Option<usize>,
    /// Average frames a second; `None` where nothing says.
    pub fps: Option<f64>,
    /// Width and height of a frame as it is shown, before it is processed.
    pub size: (u32, u32),
    /// Name of the codec.
    pub codec: String,
    /// What is wrong with a video that could be read all the same: its file is cut off or damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

impl VideoRecord {
    /// Frames that the rule chose among.
    pub fn total(&self) -> usize {
        self.decoded.unwrap_or(self.counted)
    }

    /// How many of how many frames are shown, in words: `8 of 45 frames`, `2 of 2 frames, repeated to 4`.
    pub fn shown(&self) -> String {
        let different = self.indices.iter().collect::<BTreeSet<_>>().len();
        let repeated = match self.indices.len() {
            shown if shown > different => format!(", repeated to {shown}"),
            _ => String::new(),
        };
        format!("{different} of {} frames{repeated}", self.total())
    }
}

/// What was made of the chosen frames.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledFrames<T> {
    /// One for each different frame, in order.
    pub distinct: Vec<T>,
    /// For each chosen frame its place in [`Self::distinct`].
    pub order: Vec<usize>,
    /// Which frames these are.
    pub record: VideoRecord,
}

impl<T> SampledFrames<T> {
    /// One for each chosen frame, repeated where the rule repeats.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.order.iter().filter_map(|place| self.distinct.get(*place))
    }
}

/// How often frames are chosen anew where fewer decode than were counted: what a first reading finds is what the next one finds.
const ATTEMPTS: usize = 3;

/// Reads the frames that a rule chooses and makes something of each different one.
///
/// Where fewer frames decode than were counted (a truncated file) the rule chooses again among those that do, and the record says so.
///
/// # Errors
/// A video that cannot be read or has too few frames for the rule; what `make` returns.
pub fn sample_frames<T>(
    source: &mut dyn FrameSource,
    sampling: &Sampling,
    make: &mut dyn FnMut(usize, RgbImage) -> Result<T, VideoError>,
) -> Result<SampledFrames<T>, VideoError> {
    sampling.check()?;
    let name = source.name().to_owned();
    let info = source.info()?.clone();
    let mut total = info.decoded.unwrap_or(info.frames);
    let mut last_said = String::new();
    for _ in 0..ATTEMPTS {
        let indices = sampling.indices(&name, total, info.fps)?;
        let mut wanted = indices.clone();
        wanted.sort_unstable();
        wanted.dedup();
        let mut distinct = Vec::with_capacity(wanted.len());
        let mut take = |index: usize, frame: RgbImage| {
            distinct.push(make(index, frame)?);
            Ok(())
        };
        match source.read(&wanted, &mut take)? {
            End::All => {
                let order = indices.iter().map(|index| wanted.partition_point(|other| other < index)).collect();
                let first = info.times.first().copied().unwrap_or_default();
                let seconds = indices.iter().filter_map(|index| Some(info.times.get(*index)? - first)).collect();
                let decoded = (total < info.frames).then_some(total);
                // Reading may have told of damage, too.
                let damage = match (decoded, source.info()?.damage.clone()) {
                    (None, damage) => damage,
                    (Some(decoded), damage) => {
                        let said =
                            damage.map_or_else(|| super::error::saying(&last_said), |damage| format!("; {damage}"));
                        Some(format!("{decoded} of {} frames decode{said}", info.frames))
                    }
                };
                let record = VideoRecord {
                    sampling: *sampling,
                    indices,
                    seconds,
                    counted: info.frames,
                    decoded,
                    fps: info.fps,
                    size: (info.width, info.height),
                    codec: info.codec,
                    damage,
                };
                return Ok(SampledFrames { distinct, order, record });
            }
            End::Early { decoded, said } => {
                // A count that does not shrink would choose the same frames again.
                if decoded == 0 || decoded >= total {
                    return Err(VideoError::NoFrames { name, said: super::error::saying(&said) });
                }
                total = decoded;
                last_said = said;
            }
        }
    }
    let reason = format!("each time it is read fewer frames decode{}", super::error::saying(&last_said));
    Err(VideoError::File { name, reason })
}

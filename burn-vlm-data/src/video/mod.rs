//! Videos: files -> chosen frames -> resized and normalised pixels.
//!
//! [`Clips`] shows the videos of samples: the frames that a recipe's rule chooses of their files.
//!
//! A module beside [`image`](crate::image), not a part of [`processor`](crate::processor): as there, what turns bytes into pixels knows
//! nothing of conversations.
//!
//! Unusual here:
//! - frames are counted by demuxing or decoding, never taken from a header, so that a rule's indices name frames that are there;
//! - a video is decoded once, in order, and only the chosen frames become RGB; it is sought in where the chosen frames are far apart;
//! - the programs `ffmpeg` and `ffprobe` read video files; GIF, animated WebP and folders of pictures need no program;
//! - a program that hangs, floods or fails costs bounded time and memory, and is gone afterwards.

mod cache;
mod clip;
mod clips;
mod config;
mod error;
mod ffmpeg;
mod ffprobe;
mod folder;
mod gif;
mod info;
#[cfg(feature = "libav")]
mod libav;
mod options;
mod processor;
mod program;
mod runs;
mod sampling;
mod source;
mod time;
mod waiting;
mod webp;

pub use cache::{FrameCache, FrameKey};
pub use clip::Clip;
pub use clips::{Clips, DEFAULT_FRAMES, HELD_VIDEOS, VideoSettings};
pub use config::VideoProcessorConfig;
pub use error::VideoError;
pub use ffmpeg::FfmpegSource;
pub use folder::FolderSource;
pub use gif::GifSource;
pub use info::VideoInfo;
#[cfg(feature = "libav")]
pub use libav::LibavSource;
pub use options::{Decoder, VideoLimits, VideoOptions};
pub use processor::{ProcessedVideo, VideoProcessor};
pub use program::end_programs;
pub use sampling::{MAX_CHOSEN, Sampling};
pub use source::{End, FrameSource, SampledFrames, VideoReader, VideoRecord, sample_frames};
pub use time::FrameTimes;
pub use waiting::{GivesUp, Waiting};
pub use webp::WebpSource;

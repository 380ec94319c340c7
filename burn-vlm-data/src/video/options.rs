//! How videos are read, and what reading them may cost.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What reading a video may cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VideoLimits {
    /// Seconds that are waited for a program (or that a decoder works) to look at a video, and again to read its frames; what is done
    /// with the frames does not count.
    pub seconds: f64,
    /// The most pixels of a frame, width times height.
    pub max_pixels: u64,
    /// The most frames of a video.
    pub max_frames: usize,
    /// The most bytes of a GIF, a WebP file, or a video that is no file.
    pub max_bytes: u64,
    /// The most bytes of messages that a program may write.
    pub max_messages: u64,
    /// Threads of a decoder; more cost more time and memory in all.
    pub threads: usize,
}

impl Default for VideoLimits {
    /// Five minutes, 64 million pixels, a million frames (9 hours of 30 a second), 1 GiB, 16 MiB, one thread.
    fn default() -> Self {
        Self {
            seconds: 300.0,
            max_pixels: 64 << 20,
            max_frames: 1_000_000,
            max_bytes: 1 << 30,
            max_messages: 16 << 20,
            threads: 1,
        }
    }
}

/// What decodes video files that are neither GIF nor WebP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoder {
    /// The programs `ffmpeg` and `ffprobe`.
    #[default]
    Programs,
    /// FFmpeg's libraries in this process, where the crate is built with its feature `libav`. What a damaged file makes a decoder do, it does
    /// to this process.
    Libav,
}

impl Decoder {
    fn is_programs(&self) -> bool {
        *self == Self::Programs
    }
}

/// How videos are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VideoOptions {
    /// What reading may cost.
    pub limits: VideoLimits,
    /// The colour that transparent pixels of GIF, WebP and pictures in folders are laid over: white, as FFmpeg does.
    pub background: [u8; 3],
    /// Turn frames as the file says they are to be shown. `false` gives them as they are stored, as PyAV does.
    pub turn: bool,
    /// Frames a second of a folder of frames, which does not say; without it such a folder has no times.
    pub folder_fps: Option<f64>,
    /// What decodes.
    #[serde(skip_serializing_if = "Decoder::is_programs")]
    pub decoder: Decoder,
    /// The program `ffmpeg`: a name that is looked for in PATH, or a path.
    pub ffmpeg: PathBuf,
    /// The program `ffprobe`, likewise.
    pub ffprobe: PathBuf,
}

impl Default for VideoOptions {
    fn default() -> Self {
        Self {
            limits: VideoLimits::default(),
            background: [u8::MAX; 3],
            turn: true,
            folder_fps: None,
            decoder: Decoder::Programs,
            ffmpeg: "ffmpeg".into(),
            ffprobe: "ffprobe".into(),
        }
    }
}

//! A video that cannot be used.

use crate::image::ImageError;

/// A video that cannot be read, or frames that cannot be chosen.
#[derive(Debug, thiserror::Error)]
pub enum VideoError {
    /// The file cannot be read, or is damaged.
    #[error("video {name}: {reason}")]
    File {
        /// The video's name.
        name: String,
        /// What the system or the decoder said.
        reason: String,
    },
    /// The folder of cached frames cannot be used.
    #[error("the folder of cached frames {folder}: {reason}")]
    Cache {
        /// The folder.
        folder: String,
        /// What the system said.
        reason: String,
    },
    /// The file is a picture.
    #[error(
        "video {name}: it is a picture ({format}), no video: show it as a picture (`--image`, `/image`, a field of pictures)"
    )]
    Picture {
        /// The file's name.
        name: String,
        /// What it is.
        format: &'static str,
    },
    /// A program is missing.
    #[error(
        "the program {program:?} is not found, which reads video files (GIF, animated WebP and folders of frames need none): install \
         the package ffmpeg, which has ffmpeg and ffprobe (`apt-get install ffmpeg`, `dnf install ffmpeg`, `brew install ffmpeg`, \
         `winget install ffmpeg`), so that both are in PATH"
    )]
    NoProgram {
        /// The program.
        program: String,
    },
    /// The libraries are wanted and not built in.
    #[error(
        "`decoder = \"libav\"` needs a build with the feature `libav` of burn-vlm-data: leave it out, so that the programs read video files"
    )]
    NoLibav,
    /// A program could not read the file.
    #[error("video {name}: {program} {reason}")]
    Program {
        /// The video's name.
        name: String,
        /// The program.
        program: String,
        /// How it ended and what it said last.
        reason: String,
    },
    /// A program or a decoder took too long and was ended.
    #[error(
        "video {name}: {program} took longer than the {seconds} s that are allowed and was ended{said}; a longer time is `seconds` \
         (`VideoLimits`; in a recipe's [video]: `reading = {{ limits = {{ seconds = N }} }}`)"
    )]
    TooSlow {
        /// The video's name.
        name: String,
        /// The program or the decoder.
        program: String,
        /// The limit.
        seconds: f64,
        /// What it said last, with what leads up to it.
        said: String,
    },
    /// Whoever waited for it has given up ([`Waiting`](super::Waiting)).
    #[error("video {name}: nobody waits for it any more")]
    GivenUp {
        /// The video's name.
        name: String,
    },
    /// A program wrote too much and was ended.
    #[error("video {name}: {program} wrote {what} and was ended; the file is damaged{said}")]
    Flood {
        /// The video's name.
        name: String,
        /// The program.
        program: String,
        /// What it wrote.
        what: String,
        /// What it said last, with what leads up to it.
        said: String,
    },
    /// The file has no moving pictures.
    #[error("video {name}: it has no video stream{said}")]
    NoStream {
        /// The video's name.
        name: String,
        /// What the file has instead.
        said: String,
    },
    /// The file has no frames.
    #[error("video {name}: no frame of it can be decoded{said}")]
    NoFrames {
        /// The video's name.
        name: String,
        /// What was said about it.
        said: String,
    },
    /// Frames are larger than allowed.
    #[error(
        "video {name}: frames of {width} x {height} pixels, at most {max_pixels} pixels are allowed; shrink it (`ffmpeg -i FILE -vf \
         scale=1280:-2 SMALLER.mp4`), or raise `max_pixels` (`VideoLimits`; in a recipe's [video]: `reading = {{ limits = {{ max_pixels = N }} }}`)"
    )]
    TooLarge {
        /// The video's name.
        name: String,
        /// Width of a frame.
        width: u32,
        /// Its height.
        height: u32,
        /// The limit on width times height.
        max_pixels: u64,
    },
    /// There are more frames than allowed.
    #[error(
        "video {name}: more than {max_frames} frames; cut it, or raise `max_frames` (`VideoLimits`; in a recipe's [video]: `reading = {{ limits \
         = {{ max_frames = N }} }}`)"
    )]
    TooLong {
        /// The video's name.
        name: String,
        /// The limit.
        max_frames: usize,
    },
    /// There are fewer frames than a rule needs.
    #[error(
        "video {name}: {rule} chooses {asked} different frames, but it has {frames}; ask for fewer, or use linspace, which repeats"
    )]
    TooFew {
        /// The video's name.
        name: String,
        /// The rule.
        rule: &'static str,
        /// Frames asked for.
        asked: usize,
        /// Frames there are.
        frames: usize,
    },
    /// A rule makes no sense, alone or for this video.
    #[error("choosing frames: {key}: expected {expected}, found {found}")]
    Rule {
        /// The key of the rule.
        key: &'static str,
        /// What was expected.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Nothing says how many frames a second there are, which the rule needs.
    #[error(
        "video {name}: nothing says how many frames a second it has, and {rule} is to choose {fps} of each second: choose by their number \
         alone (linspace: `--frames` without `--fps`), or, of a folder of frames, say its rate (`--folder-fps`, `folder_fps` of `reading` \
         in a recipe's [video])"
    )]
    NoRate {
        /// The video's name.
        name: String,
        /// The rule.
        rule: &'static str,
        /// Frames that are wanted of a second.
        fps: f64,
    },
    /// A frame cannot be decoded or processed.
    #[error("video {name}: frame {index}: {cause}")]
    Frame {
        /// The video's name.
        name: String,
        /// The frame's number, from 0.
        index: usize,
        /// What is wrong with it.
        cause: ImageError,
    },
    /// A configuration of the video processor cannot be used.
    #[error(transparent)]
    Config(#[from] ImageError),
}

/// A program's words as the end of a sentence.
pub(super) fn saying(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("; it last said: {words}") }
}

//! Frames in a folder, a picture a file.
//!
//! Unusual here: files are in the order of the numbers in their names, so that `frame10` comes after `frame2`; training code that sorts by
//! name shows it before.

use super::info::VideoInfo;
use super::source::{End, FrameSource};
use super::{VideoError, VideoLimits, VideoOptions};
use crate::image::{DecodeLimits, ImageError, READABLE_ENDINGS, RgbImage, decode, is_picture, natural, to_rgb};
use burn_vlm_base::files::read_regular;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A folder of frames.
#[derive(Debug)]
pub struct FolderSource {
    name: String,
    files: Vec<PathBuf>,
    limits: VideoLimits,
    background: [u8; 3],
    fps: Option<f64>,
    info: Option<VideoInfo>,
}

impl FolderSource {
    /// The pictures of a folder, in natural order; other files, hidden ones and folders are left out.
    ///
    /// # Errors
    /// A folder that cannot be read, has no pictures or more than allowed, or a rate that is not positive.
    pub fn open(folder: &Path, options: &VideoOptions) -> Result<Self, VideoError> {
        let name = folder.display().to_string();
        let fail = |reason: String| VideoError::File { name: name.clone(), reason };
        if let Some(fps) = options.folder_fps.filter(|fps| !(fps.is_finite() && *fps > 0.0)) {
            let expected = "a positive number".to_owned();
            return Err(VideoError::Rule { key: "folder_fps", expected, found: fps.to_string() });
        }
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|error| fail(error.to_string()))? {
            let path = entry.map_err(|error| fail(error.to_string()))?.path();
            if is_picture(&path) && path.is_file() {
                files.push(path);
            }
            if files.len() > options.limits.max_frames {
                return Err(VideoError::TooLong { name, max_frames: options.limits.max_frames });
            }
        }
        if files.is_empty() {
            return Err(fail(format!(
                "the folder has no frames: no files that end with {}",
                READABLE_ENDINGS.join(", ")
            )));
        }
        files.sort_by(|a, b| natural(&file_name(a), &file_name(b)));
        let (limits, background, fps) = (options.limits, options.background, options.folder_fps);
        Ok(Self { name, files, limits, background, fps, info: None })
    }

    fn frame(&self, index: usize) -> Result<RgbImage, VideoError> {
        let failed = |cause| VideoError::Frame { name: self.name.clone(), index, cause };
        let gone = || ImageError::Decode { name: String::new(), reason: "there is no such frame".to_owned() };
        let path = self.files.get(index).ok_or_else(|| failed(gone()))?;
        let name = file_name(path);
        let limits = DecodeLimits { max_pixels: self.limits.max_pixels, ..DecodeLimits::default() };
        let bytes = read_regular(path, self.limits.max_bytes)
            .map_err(|error| failed(ImageError::Decode { name: name.clone(), reason: error.to_string() }))?;
        let image = decode(&name, &bytes, &limits).map_err(failed)?;
        Ok(to_rgb(image, Some(self.background)))
    }
}

impl FrameSource for FolderSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn info(&mut self) -> Result<&VideoInfo, VideoError> {
        let info = match self.info.take() {
            Some(info) => info,
            None => {
                let frames = self.files.len();
                let (width, height) = self.frame(0)?.dimensions();
                let times = self.fps.map_or(Vec::new(), |fps| (0..frames).map(|frame| frame as f64 / fps).collect());
                let codec = "folder".to_owned();
                let (fps, key_interval, damage) = (self.fps, Some(1.0), None);
                VideoInfo { frames, decoded: None, width, height, fps, times, key_interval, codec, damage }
            }
        };
        Ok(self.info.insert(info))
    }

    fn read(
        &mut self,
        indices: &[usize],
        take: &mut dyn FnMut(usize, RgbImage) -> Result<(), VideoError>,
    ) -> Result<End, VideoError> {
        let mut worked = Duration::ZERO;
        for index in indices {
            self.limits.check(&self.name, "the decoder of pictures", worked)?;
            let begin = Instant::now();
            let frame = self.frame(*index)?;
            worked += begin.elapsed();
            take(*index, frame)?;
        }
        Ok(End::All)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

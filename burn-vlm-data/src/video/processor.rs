//! The video processor: chosen frames -> resized, normalised pixels.
//!
//! Each frame is prepared like a picture, while the next is decoded: of the frames themselves only one is in memory.

use super::cache::FrameCache;
use super::{
    FrameSource, SampledFrames, Sampling, VideoError, VideoProcessorConfig, VideoReader, VideoRecord, sample_frames,
};
use crate::image::{DecodeLimits, ImageError, ImageProcessor, RgbImage};
use std::path::Path;

/// Pixels of a video's frames.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessedVideo {
    /// `frames * 3 * height * width` values: frame by frame, channel by channel, row by row.
    pub data: Vec<f32>,
    /// Number of frames.
    pub frames: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Turns frames into normalised pixels as the configuration says.
#[derive(Debug, Clone)]
pub struct VideoProcessor {
    config: VideoProcessorConfig,
    images: ImageProcessor,
}

impl VideoProcessor {
    /// A processor for a configuration.
    ///
    /// # Errors
    /// A configuration that makes no sense.
    pub fn new(config: VideoProcessorConfig) -> Result<Self, ImageError> {
        let images = ImageProcessor::new(config.frames().clone())?;
        Ok(Self { config, images })
    }

    /// The processor of a Hugging Face folder; see [`VideoProcessorConfig::from_folder`].
    ///
    /// # Errors
    /// A folder without a configuration, or with one that does not describe frames.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, ImageError> {
        Self::new(VideoProcessorConfig::from_folder(folder)?)
    }

    /// The same processor with another limit on the pixels of a resized frame.
    pub fn with_limits(self, limits: DecodeLimits) -> Self {
        Self { images: self.images.with_limits(limits), ..self }
    }

    /// The configuration.
    pub fn config(&self) -> &VideoProcessorConfig {
        &self.config
    }

    /// A frame resized (and cropped), in 8 bits: what is worth keeping of it.
    ///
    /// # Errors
    /// A frame that cannot be resized (one without pixels).
    pub fn resize(&self, frame: &RgbImage) -> Result<RgbImage, ImageError> {
        self.images.resize_and_crop(frame)
    }

    /// Pixels of frames that were resized by [`Self::resize`].
    ///
    /// # Errors
    /// A frame of another size than the configuration's.
    pub fn normalise<'f>(&self, resized: impl IntoIterator<Item = &'f RgbImage>) -> Result<ProcessedVideo, ImageError> {
        let (height, width) = self.config.output_size();
        let (mut data, mut frames) = (Vec::new(), 0);
        for frame in resized {
            if (frame.height(), frame.width()) != (height, width) {
                let found = format!("a frame of {} x {}", frame.height(), frame.width());
                return Err(ImageError::Config { key: "size", expected: "frames that were resized", found });
            }
            data.extend(self.images.normalise(frame).data);
            frames += 1;
        }
        Ok(ProcessedVideo { data, frames, height: height as usize, width: width as usize })
    }

    /// Processes frames that are decoded already.
    ///
    /// # Errors
    /// A frame that cannot be resized.
    pub fn process_frames(&self, frames: &[RgbImage]) -> Result<ProcessedVideo, ImageError> {
        let resized = frames.iter().map(|frame| self.resize(frame)).collect::<Result<Vec<_>, _>>()?;
        self.normalise(&resized)
    }

    /// Reads the frames of a video that a rule chooses, resized in 8 bits.
    ///
    /// # Errors
    /// A video that cannot be read, or has too few frames for the rule.
    pub fn read(
        &self,
        source: &mut dyn FrameSource,
        sampling: &Sampling,
    ) -> Result<SampledFrames<RgbImage>, VideoError> {
        let name = source.name().to_owned();
        let mut make = |index, frame: RgbImage| {
            self.resize(&frame).map_err(|cause| VideoError::Frame { name: name.clone(), index, cause })
        };
        sample_frames(source, sampling, &mut make)
    }

    /// Reads and processes the frames of a video that a rule chooses.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn process(
        &self,
        source: &mut dyn FrameSource,
        sampling: &Sampling,
    ) -> Result<(ProcessedVideo, VideoRecord), VideoError> {
        let sampled = self.read(source, sampling)?;
        Ok((self.normalise(sampled.iter())?, sampled.record))
    }

    /// As [`Self::process`], of a file or a folder; from the cache, where one is given that has it, else it has it afterwards.
    ///
    /// # Errors
    /// As [`Self::process`], and what [`VideoReader::open`] refuses. A cache that cannot be read or written is none.
    pub fn process_path(
        &self,
        reader: &VideoReader,
        path: impl AsRef<Path>,
        sampling: &Sampling,
        cache: Option<&FrameCache>,
    ) -> Result<(ProcessedVideo, VideoRecord), VideoError> {
        let path = path.as_ref();
        let Some(cache) = cache else { return self.process(reader.open(path)?.as_mut(), sampling) };
        let key = cache.key(path, reader.options(), self.config(), sampling);
        let sampled = match key.as_ref().and_then(|key| cache.get(key)) {
            Some(sampled) => sampled,
            None => {
                let sampled = self.read(reader.open(path)?.as_mut(), sampling)?;
                if let Some(key) = &key {
                    cache.put(key, &sampled);
                }
                sampled
            }
        };
        Ok((self.normalise(sampled.iter())?, sampled.record))
    }
}

//! Decoded, resized frames on disk, in 8 bits: decoding a video costs far more than reading its few frames.
//!
//! Unusual here: a key is made of the video's content, not its name, and of all that decides which frames are kept and how they look. The
//! cache is a convenience: what it cannot read it has not, and what it cannot write is decoded again.

use super::{SampledFrames, Sampling, VideoOptions, VideoProcessorConfig, VideoRecord};
use crate::image::RgbImage;
use crate::sample::MediaKey;
use blake3::Hasher;
use burn_vlm_base::files::write_atomic;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Names the form of files and of keys; another form is another cache.
const FORM: &str = "burn-vlm frames 4";
/// Ending of the cache's files.
const ENDING: &str = "frames";
/// Bytes of a file's checksum, which stands at its end.
const CHECKSUM: usize = 32;
/// The longest header that is read, in bytes.
const MAX_HEADER: u64 = 1 << 22;
/// Tenths of the limit that are kept where it is reached, so that it is not reached again at once.
const KEPT_TENTHS: u64 = 9;

/// A folder of frames with a limit on its size.
#[derive(Debug)]
pub struct FrameCache {
    folder: PathBuf,
    max_bytes: u64,
    /// Bytes of all files, as far as this process knows.
    size: Mutex<u64>,
}

/// What a cache's file is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameKey(String);

#[derive(Serialize, Deserialize)]
struct Header {
    width: u32,
    height: u32,
    distinct: usize,
    order: Vec<usize>,
    record: VideoRecord,
}

impl FrameCache {
    /// A cache in a folder, which is made where it is not there; other files in it are left alone.
    ///
    /// # Errors
    /// A folder that cannot be made or listed.
    pub fn open(folder: impl Into<PathBuf>, max_bytes: u64) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        let size = files(&folder)?.iter().map(|(_, _, bytes)| bytes).sum();
        let cache = Self { folder, max_bytes, size: Mutex::new(size) };
        cache.shrink(None);
        Ok(cache)
    }

    /// The key of a video's frames: of the content of the file, or of the names and contents of a folder's files; and of the version of
    /// `ffmpeg`, if it is there. `None` where the video cannot be read.
    pub fn key(
        &self,
        path: &Path,
        options: &VideoOptions,
        config: &VideoProcessorConfig,
        sampling: &Sampling,
    ) -> Option<FrameKey> {
        let mut hasher = Hasher::new();
        hash_path(&mut hasher, path).ok()?;
        key(hasher, options, config, sampling)
    }

    /// As [`Self::key`], of a video that is known already.
    pub fn key_of(
        &self,
        video: MediaKey,
        options: &VideoOptions,
        config: &VideoProcessorConfig,
        sampling: &Sampling,
    ) -> Option<FrameKey> {
        let mut hasher = Hasher::new();
        hasher.update(&video.0);
        key(hasher, options, config, sampling)
    }

    /// The frames of a key. A file that is damaged is removed.
    pub fn get(&self, key: &FrameKey) -> Option<SampledFrames<RgbImage>> {
        let path = self.path(key);
        let file = File::open(&path).ok()?;
        // Those that are used last are kept longest. Where the time cannot be set they are kept as long as the others.
        let _set = file.set_modified(SystemTime::now());
        let found = read(file);
        if found.is_none() {
            // Whoever reads it next would find the same.
            let _removed = fs::remove_file(&path);
        }
        found
    }

    /// Keeps the frames of a key. What is older goes where there is no room; frames that are more than the whole limit are not kept.
    pub fn put(&self, key: &FrameKey, sampled: &SampledFrames<RgbImage>) {
        let Some(bytes) = written(sampled).filter(|bytes| bytes.len() as u64 <= self.max_bytes) else { return };
        let path = self.path(key);
        if write_atomic(&path, &bytes).is_ok() {
            *self.size.lock().unwrap_or_else(PoisonError::into_inner) += bytes.len() as u64;
            self.shrink(Some(&path));
        }
    }

    fn path(&self, key: &FrameKey) -> PathBuf {
        self.folder.join(&key.0).with_extension(ENDING)
    }

    /// Removes what was not used for the longest time until there is room, but not what was just written.
    fn shrink(&self, written: Option<&Path>) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if *size <= self.max_bytes {
            return;
        }
        let Ok(mut files) = files(&self.folder) else { return };
        files.sort();
        let mut left: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, path, bytes) in files.into_iter().filter(|(_, path, _)| Some(path.as_path()) != written) {
            if left <= self.max_bytes / 10 * KEPT_TENTHS {
                break;
            }
            // Another process may have removed it.
            let _removed = fs::remove_file(path);
            left -= bytes;
        }
        *size = left;
    }
}

/// Names what the hashed video looks like under a rule and a configuration.
fn key(
    mut hasher: Hasher,
    options: &VideoOptions,
    config: &VideoProcessorConfig,
    sampling: &Sampling,
) -> Option<FrameKey> {
    // Where there is none, what it would decode cannot be kept.
    let decoder = super::ffmpeg::version(options).unwrap_or_default();
    let looks = (FORM, decoder, sampling, config.frames(), options.background, options.turn, options.folder_fps);
    hasher.update(&serde_json::to_vec(&looks).ok()?);
    Some(FrameKey(hasher.finalize().to_hex().to_string()))
}

/// The cache's files: when they were used, where they are, their bytes.
fn files(folder: &Path) -> io::Result<Vec<(SystemTime, PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // One that another process removes meanwhile is not there.
        if let Ok(data) = fs::metadata(&path)
            && path.extension().is_some_and(|ending| ending == ENDING)
            && data.is_file()
        {
            found.push((data.modified()?, path, data.len()));
        }
    }
    Ok(found)
}

pub(super) fn hash_path(hasher: &mut Hasher, path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() {
        hasher.update_reader(File::open(path)?)?;
        return Ok(());
    }
    if !metadata.is_dir() {
        // A pipe or a device has no end.
        return Err(io::Error::other("is neither a file nor a folder"));
    }
    let mut files = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    for file in files.into_iter().filter(|file| file.is_file()) {
        hasher.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update(blake3::Hasher::new().update_reader(File::open(file)?)?.finalize().as_bytes());
    }
    Ok(())
}

/// A file's bytes: its form, a line with what the frames are, the frames, and a checksum of all that.
fn written(sampled: &SampledFrames<RgbImage>) -> Option<Vec<u8>> {
    let (width, height) = sampled.distinct.first()?.dimensions();
    let (distinct, order, record) = (sampled.distinct.len(), sampled.order.clone(), sampled.record.clone());
    let header = serde_json::to_string(&Header { width, height, distinct, order, record }).ok()?;
    let mut bytes = format!("{FORM}\n{header}\n").into_bytes();
    for frame in &sampled.distinct {
        if frame.dimensions() != (width, height) {
            return None;
        }
        bytes.extend_from_slice(frame.as_raw());
    }
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    Some(bytes)
}

fn read(file: File) -> Option<SampledFrames<RgbImage>> {
    let mut reader = BufReader::new(file);
    let mut head = Vec::new();
    for _ in 0..2 {
        (&mut reader).take(MAX_HEADER).read_until(b'\n', &mut head).ok()?;
    }
    let lines = std::str::from_utf8(&head).ok()?;
    let header: Header = serde_json::from_str(lines.strip_prefix(FORM)?.strip_prefix('\n')?).ok()?;
    let size = 3 * header.width as usize * header.height as usize;
    let mut body = Vec::new();
    reader.read_to_end(&mut body).ok()?;
    let pixels =
        body.len().checked_sub(CHECKSUM).filter(|pixels| Some(*pixels) == size.checked_mul(header.distinct))?;
    let (pixels, checksum) = body.split_at(pixels);
    let right = Hasher::new().update(&head).update(pixels).finalize();
    if right.as_bytes() != checksum || size == 0 || header.order.iter().any(|place| *place >= header.distinct) {
        return None;
    }
    let frame = |pixels: &[u8]| RgbImage::from_raw(header.width, header.height, pixels.to_vec());
    let distinct = pixels.chunks_exact(size).map(frame).collect::<Option<Vec<_>>>()?;
    Some(SampledFrames { distinct, order: header.order, record: header.record })
}

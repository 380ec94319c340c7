//! A video of a sample whose frames are not chosen yet: a file, its bytes, or a record that has them.

use super::cache::hash_path;
use super::{FrameSource, VideoError, VideoReader};
use crate::sample::MediaKey;
use crate::source::{SkipKind, SkipReason, StoredPicture};
use blake3::Hasher;
use bytes::Bytes;
use std::io::ErrorKind;
use std::path::PathBuf;

/// A video that is not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clip {
    /// A file, read by the decoder itself, since it may be large; or a folder of frames.
    File(PathBuf),
    /// The bytes of a file.
    Encoded {
        /// What errors call it.
        name: String,
        /// Whatever [`VideoReader`] reads.
        bytes: Bytes,
    },
    /// In a record of a source of files, read when it is shown.
    Stored(StoredPicture),
}

impl Clip {
    /// What errors call it.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Encoded { name, .. } => name.clone(),
            Self::Stored(stored) => stored.name().to_owned(),
        }
    }

    /// The encoded bytes, all of them.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(&self) -> Result<Bytes, SkipReason> {
        match self {
            Self::File(path) => std::fs::read(path).map(Bytes::from).map_err(|error| self.missing(&error)),
            Self::Encoded { bytes, .. } => Ok(bytes.clone()),
            Self::Stored(stored) => stored.read(),
        }
    }

    /// What the video is, whatever it is called: the hash of its bytes, of a folder that of its files and their names. Reads a file to its
    /// end.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn key(&self) -> Result<MediaKey, SkipReason> {
        match self {
            Self::Encoded { bytes, .. } => Ok(MediaKey::of(bytes)),
            Self::Stored(stored) => Ok(stored.key()),
            Self::File(path) => {
                let mut hasher = Hasher::new();
                hash_path(&mut hasher, path).map_err(|error| self.missing(&error))?;
                Ok(MediaKey::from_hash(&hasher.finalize()))
            }
        }
    }

    /// Opens it for its frames.
    ///
    /// # Errors
    /// A file that cannot be read; see [`VideoReader::open`].
    pub fn open(&self, reader: &VideoReader) -> Result<Box<dyn FrameSource>, SkipReason> {
        match self {
            Self::File(path) => Ok(reader.open(path)?),
            Self::Encoded { name, bytes } => Ok(reader.open_bytes(name, bytes)?),
            Self::Stored(stored) => Ok(reader.open_bytes(stored.name(), &stored.read()?)?),
        }
    }

    fn missing(&self, error: &std::io::Error) -> SkipReason {
        let kind = match error.kind() {
            ErrorKind::NotFound => SkipKind::MissingVideo,
            _ => SkipKind::UnreadableVideo,
        };
        SkipReason::new(kind, format!("{}: {error}", self.name()))
    }
}

impl From<VideoError> for SkipReason {
    fn from(error: VideoError) -> Self {
        Self::new(SkipKind::UnreadableVideo, error.to_string())
    }
}

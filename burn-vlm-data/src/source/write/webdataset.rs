//! WebDataset: tar archives, the parts of a sample beside each other under one key.

use super::json::Record;
use super::{NewSample, Problem, WriteError, WriteSamples, failed};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Samples of an archive; the next begins another, so that archives can be copied and drawn by different readers.
const SHARD: u64 = 10_000;

/// Archives `name-000000.tar`, `name-000001.tar`, ...
pub(super) struct TarWriter {
    folder: PathBuf,
    name: String,
    samples: u64,
    shards: u64,
    archive: Shard,
}

struct Shard {
    path: PathBuf,
    tar: tar::Builder<BufWriter<File>>,
}

impl TarWriter {
    pub(super) fn create(folder: &Path, name: &str) -> Result<Self, WriteError> {
        let archive = Shard::create(folder, name, 0)?;
        Ok(Self { folder: folder.to_owned(), name: name.to_owned(), samples: 0, shards: 1, archive })
    }
}

impl Shard {
    fn create(folder: &Path, name: &str, number: u64) -> Result<Self, WriteError> {
        let path = folder.join(format!("{name}-{number:06}.tar"));
        let file = File::create(&path).map_err(|error| failed(&path, error))?;
        Ok(Self { path, tar: tar::Builder::new(BufWriter::new(file)) })
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        // No owner and no time: the same samples make the same archive.
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        self.tar.append_data(&mut header, name, bytes).map_err(|error| failed(&self.path, error))
    }

    fn finish(self) -> Result<(), WriteError> {
        let fail = |error| failed(&self.path, error);
        self.tar.into_inner().and_then(|mut file| file.flush()).map_err(fail)
    }
}

impl WriteSamples for TarWriter {
    fn write(&mut self, sample: &NewSample<'_>) -> Result<(), Problem> {
        if self.samples > 0 && self.samples.is_multiple_of(SHARD) {
            let next = Shard::create(&self.folder, &self.name, self.shards)?;
            std::mem::replace(&mut self.archive, next).finish()?;
            self.shards += 1;
        }
        // A number, since ids may hold dots, at which a key would end.
        let key = format!("{:09}", self.samples);
        for (number, picture) in sample.pictures.iter().enumerate() {
            let ending = picture.ending().map_err(Problem::Refused)?;
            let name = match sample.pictures.len() {
                1 => format!("{key}.{ending}"),
                _ => format!("{key}.{number}.{ending}"),
            };
            self.archive.append(&name, &picture.bytes)?;
        }
        let json = serde_json::to_vec(&Record::new(sample)).map_err(|error| Problem::Refused(error.to_string()))?;
        self.archive.append(&format!("{key}.json"), &json)?;
        self.samples += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<String, WriteError> {
        let Self { name, shards, archive, .. } = *self;
        archive.finish()?;
        Ok(match shards {
            1 => format!("{name}-000000.tar"),
            shards => format!("{name}-{{000000..{:06}}}.tar", shards - 1),
        })
    }
}

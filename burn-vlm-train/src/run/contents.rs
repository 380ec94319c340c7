//! What a stage's data was when the stage began, `data.json`: which records are drawn, and what stood in the files.
//!
//! Counts alone do not tell a corrected file from the one before. Names, sizes and hashes do, and need no clock: files may be copied
//! to another machine. They are hashed by [`hash_contents`]. Of pictures that
//! records name by their paths those of 256 records are: other pictures under the same names are noticed, one that was mended among
//! thousands is not. Of the videos of these records the sizes are known, and a hash of their first and last bytes, each by its name; and
//! which program decodes them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn_vlm_base::seal::hash_contents;
use burn_vlm_data::mixture::MixtureConfig;
use burn_vlm_data::sample::{Picture, Sample};
use burn_vlm_data::source::{Drawn, Mixed, SkipReason, StreamState, mixture_files};
use burn_vlm_data::video::{Clip, VideoReader};
use serde::{Deserialize, Serialize};

use crate::ablation::{hash_table, parse_toml};
use crate::error::{Result, TrainError};
use crate::objective::HeldOut;
use crate::recipe::StageRecipe;

/// `data.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataState {
    /// What is drawn, in which order.
    #[serde(flatten)]
    stream: StreamState,
    /// Hash of pictures in files of their own that records name, of [`LOOKED_AT`] records from all over the epoch.
    pictures: Option<String>,
    /// The videos of these records that lie in files of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    videos: Vec<FileState>,
    /// What decodes those of them that programs read, as it calls itself: another version may give other pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decoder: Option<String>,
    /// What it is read from.
    files: Vec<FileState>,
}

/// A file, wherever it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileState {
    name: String,
    bytes: u64,
    blake3: String,
}

impl FileState {
    /// Called as it lies below the mixture's folder, so that both can be moved together.
    fn of(path: &Path, folder: &Path) -> Result<Self> {
        let below = path.strip_prefix(folder).ok().or_else(|| path.file_name().map(Path::new));
        let name = below.unwrap_or(path).to_string_lossy().into_owned();
        let (bytes, blake3) = hash_contents(path)?;
        Ok(Self { name, bytes, blake3 })
    }

    /// A video by its size and its ends: hashing hundreds of them takes longer than training may wait for. One that is not there has none.
    /// It is called as it lies below `folder`.
    fn of_video(path: &Path, folder: &Path) -> Self {
        let (bytes, blake3) = ends(path).unwrap_or_default();
        Self { name: path.strip_prefix(folder).unwrap_or(path).display().to_string(), bytes, blake3 }
    }

    /// A mixture file by what it says: another comment is no other data.
    fn of_mixture(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| TrainError::io("cannot read", path, e))?;
        let table = parse_toml(path, &text).map_err(|error| TrainError::invalid(path, error.to_string()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, bytes: 0, blake3: hash_table(&table) })
    }
}

/// Bytes that are hashed of each end of a video.
const END: u64 = 64 << 10;

/// Size of a file, and a hash of its beginning and its end; of a folder of frames, of the names in it.
fn ends(path: &Path) -> std::io::Result<(u64, String)> {
    let mut hasher = blake3::Hasher::new();
    let data = std::fs::metadata(path)?;
    if data.is_dir() {
        let mut names: Vec<_> =
            std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
        names.sort();
        for name in &names {
            hasher.update(name.as_encoded_bytes());
        }
        return Ok((names.len() as u64, hasher.finalize().to_hex().to_string()));
    }
    let mut file = std::fs::File::open(path)?;
    for from in [0, data.len().saturating_sub(END)] {
        let mut piece = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        (&mut file).take(END).read_to_end(&mut piece)?;
        hasher.update(&piece);
    }
    Ok((data.len(), hasher.finalize().to_hex().to_string()))
}

/// What is known of the videos of a stage.
#[derive(Debug, Default)]
pub(super) struct Videos {
    /// Those in files of their own, by name.
    files: Vec<FileState>,
    /// The first that programs read.
    pub(super) by_program: Option<String>,
}

/// Looks at the videos of [`LOOKED_AT`] records from all over the epoch.
pub(super) fn videos_of(mixed: &Mixed, reader: &VideoReader) -> Videos {
    let length = mixed.epoch_len();
    let count = length.min(LOOKED_AT);
    let mut found = Videos::default();
    let mut paths = BTreeSet::new();
    // As for pictures: a source whose first sample has all that it shows with it is not asked again.
    let mut in_files: BTreeMap<usize, bool> = BTreeMap::new();
    for number in 0..count {
        let position = (u128::from(number) * u128::from(length) / u128::from(count)) as u64;
        let Some(source) = mixed.source_at(position).filter(|source| in_files.get(source) != Some(&false)) else {
            continue;
        };
        let shown = |sample: &Sample| {
            let clips: Vec<Clip> = sample.clips().cloned().collect();
            let file = sample.pictures().any(|picture| matches!(picture, Picture::File { .. }));
            let file = file || clips.iter().any(|clip| matches!(clip, Clip::File(_)));
            Ok::<_, SkipReason>((sample.media.is_empty(), file, clips))
        };
        // Where nothing can be used, drawing tells.
        let Ok(Drawn { item: (nothing, file, clips), .. }) = mixed.get(position, shown) else { continue };
        if !nothing {
            in_files.entry(source).or_insert(file);
        }
        for clip in clips {
            if found.by_program.is_none() && reader.needs_programs(&clip) {
                found.by_program = Some(clip.name());
            }
            if let Clip::File(path) = clip {
                paths.insert(path);
            }
        }
    }
    let folder = common_folder(&paths);
    found.files = paths.iter().map(|path| FileState::of_video(path, &folder)).collect();
    found
}

/// The first video that programs read of the samples that a stage is validated on.
pub(super) fn validated_by_program(held_out: &HeldOut, reader: &VideoReader) -> Option<String> {
    let mut records = held_out.groups.iter().flat_map(|group| {
        let all = 0..group.records.len();
        all.map(move |rank| (group.source, group.records.get(rank)))
    });
    records.find_map(|(source, record)| {
        let sample = held_out.sources.get(source)?.get(record).ok()?;
        sample.clips().find(|clip| reader.needs_programs(clip)).map(Clip::name)
    })
}

/// The deepest folder that all of these lie in: with the data it may be moved.
fn common_folder(paths: &BTreeSet<PathBuf>) -> PathBuf {
    let mut common = paths.first().and_then(|first| first.parent()).unwrap_or(Path::new("")).to_owned();
    while !paths.iter().all(|path| path.starts_with(&common)) && common.pop() {}
    common
}

/// Records whose pictures are looked at.
const LOOKED_AT: u64 = 256;

/// Hash of the pictures that lie in files of their own, of records from all over the epoch; `None` where there are none. What stands in
/// the data's own files is hashed with these.
fn pictures_of(mixed: &Mixed) -> Option<String> {
    let length = mixed.epoch_len();
    let count = length.min(LOOKED_AT);
    let mut hasher = blake3::Hasher::new();
    // By source: one whose first sample has its pictures with it is not asked again.
    let mut in_files: BTreeMap<usize, bool> = BTreeMap::new();
    for number in 0..count {
        let position = (u128::from(number) * u128::from(length) / u128::from(count)) as u64;
        let Some(source) = mixed.source_at(position).filter(|source| in_files.get(source) != Some(&false)) else {
            continue;
        };
        let keys = |sample: &Sample| -> std::result::Result<(bool, Vec<[u8; 16]>), SkipReason> {
            let files = sample.pictures().filter(|picture| matches!(picture, Picture::File { .. }));
            let mut keys: Vec<[u8; 16]> = files.map(|picture| picture.key().map_or([0; 16], |key| key.0)).collect();
            let videos = sample.clips().filter_map(|clip| match clip {
                Clip::File(path) => Some(path),
                Clip::Encoded { .. } | Clip::Stored(_) => None,
            });
            // Their sizes alone: hashing hundreds of videos takes longer than training may wait for.
            keys.extend(videos.map(|path| {
                let size = std::fs::metadata(path).map_or(0, |data| data.len());
                u128::from(size).to_le_bytes()
            }));
            Ok((sample.pictures().next().is_some() || sample.clips().next().is_some(), keys))
        };
        // Where nothing can be used, drawing tells.
        let Ok(Drawn { item: (has_pictures, keys), .. }) = mixed.get(position, keys) else { continue };
        for key in &keys {
            hasher.update(key);
        }
        if has_pictures {
            in_files.entry(source).or_insert(!keys.is_empty());
        }
    }
    in_files.values().any(|in_files| *in_files).then(|| hasher.finalize().to_hex().to_string())
}

/// The files of a stage: its mixtures, and what these name.
fn files(stage: &StageRecipe, base: &Path) -> Result<Vec<FileState>> {
    let mut configs = Vec::new();
    if let Some(mixture) = &stage.mixture {
        configs.push((base.join(&mixture.file), mixture.config(base)?));
    }
    if let Some(file) = stage.validation.as_ref().and_then(|validation| validation.file.as_ref()) {
        let path = base.join(file);
        configs.push((path.clone(), MixtureConfig::from_file(path)?));
    }
    let mut found = Vec::new();
    for (path, config) in configs {
        found.push(FileState::of_mixture(&path)?);
        for data in mixture_files(&config)? {
            found.push(FileState::of(&data, path.parent().unwrap_or(&path))?);
        }
    }
    Ok(found)
}

/// The same as one hash. `None` where the stage reads no files.
///
/// # Errors
/// A file that is not there.
pub(crate) fn files_state(stage: &StageRecipe, base: &Path) -> Result<Option<String>> {
    let found = files(stage, base)?;
    Ok((!found.is_empty()).then(|| blake3::hash(format!("{found:?}").as_bytes()).to_hex().to_string()))
}

impl DataState {
    /// Of an open stage with what is known of its videos. Where the sources are a program's own, no file is known.
    pub(super) fn of(
        mixed: &Mixed,
        stage: Option<(&StageRecipe, &Path)>,
        (videos, reader): (Videos, &VideoReader),
    ) -> Result<Self> {
        let files = stage.map(|(stage, base)| files(stage, base)).transpose()?.unwrap_or_default();
        // Whether it is needed is told later: features may be there already.
        let decoder = videos.by_program.and_then(|_| reader.programs().ok());
        Ok(Self { stream: mixed.state(0), pictures: pictures_of(mixed), videos: videos.files, decoder, files })
    }

    /// Why a run that began with `before` cannot go on with this, if it cannot: the first difference.
    pub(super) fn refusal(&self, before: &Self, mixed: &Mixed) -> Option<String> {
        if let Err(error) = mixed.resume(&before.stream) {
            return Some(error.to_string());
        }
        let videos = self.changed_videos(before).into_iter().next();
        let first = videos.or_else(|| self.changed_pictures(before));
        first.or_else(|| self.changed_files(before).into_iter().next())
    }

    /// Videos that are not what they were, and another decoder. What an older run does not know has not changed.
    fn changed_videos(&self, before: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        if !before.videos.is_empty() {
            let then: BTreeMap<&str, &FileState> =
                before.videos.iter().map(|file| (file.name.as_str(), file)).collect();
            for file in &self.videos {
                let was = then.get(file.name.as_str());
                lines.extend(was.filter(|was| **was != file).map(|was| match (was.bytes, file.bytes) {
                    (_, 0) => format!("the video {} is not there", file.name),
                    (0, _) => format!("the video {} was not there", file.name),
                    (was, is) if was != is => format!("the video {} has {is} bytes and had {was}", file.name),
                    _ => format!("the video {} has other contents at the same size", file.name),
                }));
            }
        }
        if let (Some(was), Some(is)) = (&before.decoder, &self.decoder)
            && was != is
        {
            lines.push(format!("videos are decoded by `{is}` and were by `{was}`"));
        }
        lines
    }

    fn changed_pictures(&self, before: &Self) -> Option<String> {
        (self.pictures != before.pictures)
            .then(|| "pictures that the records name have other contents, or are there or not there now".to_owned())
    }

    fn changed_files(&self, before: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        // Without those that are as they were: several may have one name.
        let mut then: Vec<&FileState> = before.files.iter().collect();
        let mut now = Vec::new();
        for file in &self.files {
            match then.iter().position(|then| *then == file) {
                Some(same) => drop(then.remove(same)),
                None => now.push(file),
            }
        }
        for file in now {
            let name = &file.name;
            let Some(was) = then.iter().position(|then| then.name == *name).map(|at| then.remove(at)) else {
                lines.push(format!("{name} is new"));
                continue;
            };
            lines.push(match (was.bytes, file.bytes) {
                (was, is) if was != is => format!("{name} has {is} bytes and had {was}"),
                (_, 0) => format!("{name} says something else"),
                _ => format!("{name} has other contents at the same size"),
            });
        }
        lines.extend(then.into_iter().map(|then| format!("{} is gone", then.name)));
        if lines.is_empty() && self.files != before.files {
            lines.push("the files are read in another order".to_owned());
        }
        lines
    }

    /// What is not as it was, a line each: sources by their draws, then files.
    pub(super) fn changes(&self, before: &Self) -> Vec<String> {
        let of = |state: &Self, name: &str| {
            let groups = state.stream.groups.iter().filter(|group| group.source == name);
            groups.fold((0, 0), |(records, draws), group| (records + group.records, draws + group.draws))
        };
        let mut names: Vec<&String> =
            self.stream.groups.iter().chain(&before.stream.groups).map(|group| &group.source).collect();
        names.sort();
        names.dedup();
        let mut lines = Vec::new();
        for name in names {
            let ((records, draws), (had, drew)) = (of(self, name), of(before, name));
            match (draws, drew) {
                (0, _) => lines.push(format!("source {name} is gone ({had} records)")),
                (_, 0) => lines.push(format!("source {name} is new: {records} records, {draws} draws an epoch")),
                _ if (records, draws) != (had, drew) => lines.push(format!(
                    "source {name}: {records} records, {draws} draws an epoch; there were {had}, {drew} draws"
                )),
                _ => {}
            }
        }
        lines.extend(self.changed_videos(before));
        lines.extend(self.changed_pictures(before).filter(|_| self.stream == before.stream));
        lines.extend(self.changed_files(before));
        if lines.is_empty() && self != before {
            lines.push("other records are chosen, as many as before".to_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_vlm_data::source::GroupState;

    fn state(groups: &[(&str, u64)], files: &[(&str, u64, &str)]) -> DataState {
        let group = |(source, records): &(&str, u64)| GroupState {
            source: (*source).to_owned(),
            records: *records,
            chosen: *records,
            draws: *records,
            chunk: 1,
        };
        let file = |(name, bytes, hash): &(&str, u64, &str)| FileState {
            name: (*name).to_owned(),
            bytes: *bytes,
            blake3: (*hash).to_owned(),
        };
        DataState {
            pictures: None,
            videos: Vec::new(),
            decoder: None,
            stream: StreamState { position: 0, seed: 1, groups: groups.iter().map(group).collect() },
            files: files.iter().map(file).collect(),
        }
    }

    /// Changed videos are named, and so is another decoder; what an older run did not write down has not changed.
    #[test]
    fn changed_videos_are_named() {
        let file = |name: &str, bytes: u64, hash: &str| FileState { name: name.into(), bytes, blake3: hash.into() };
        let with = |videos: &[FileState], decoder: Option<&str>| DataState {
            videos: videos.to_vec(),
            decoder: decoder.map(str::to_owned),
            ..state(&[("a", 10)], &[])
        };
        let before = with(&[file("a.mp4", 9, "x"), file("b.mp4", 7, "y"), file("c.mp4", 5, "z")], Some("ffmpeg 5"));
        assert!(before.changes(&before).is_empty());
        let now = with(&[file("a.mp4", 9, "w"), file("b.mp4", 8, "y"), file("c.mp4", 0, "")], Some("ffmpeg 6"));
        assert_eq!(
            now.changes(&before),
            [
                "the video a.mp4 has other contents at the same size",
                "the video b.mp4 has 8 bytes and had 7",
                "the video c.mp4 is not there",
                "videos are decoded by `ffmpeg 6` and were by `ffmpeg 5`",
            ]
        );
        assert!(now.changed_videos(&with(&[], None)).is_empty());
    }

    #[test]
    fn what_changed_is_said() {
        let before = state(&[("a", 10), ("b", 5)], &[("m.toml", 0, "x"), ("a.json", 9, "x"), ("b.json", 7, "x")]);
        assert!(before.changes(&before).is_empty());
        let now = state(&[("a", 12), ("c", 3)], &[("m.toml", 0, "y"), ("a.json", 9, "y"), ("c.json", 7, "x")]);
        let expected = [
            "source a: 12 records, 12 draws an epoch; there were 10, 10 draws",
            "source b is gone (5 records)",
            "source c is new: 3 records, 3 draws an epoch",
            "m.toml says something else",
            "a.json has other contents at the same size",
            "c.json is new",
            "b.json is gone",
        ];
        assert_eq!(now.changes(&before), expected);
        let swapped = state(&[("a", 10), ("b", 5)], &[("m.toml", 0, "x"), ("b.json", 7, "x"), ("a.json", 9, "x")]);
        assert_eq!(swapped.changes(&before), ["the files are read in another order"]);
        // Two of one name, of which one goes, and one changes.
        let two = state(&[("a", 10)], &[("x.parquet", 9, "x"), ("x.parquet", 7, "y")]);
        assert_eq!(state(&[("a", 10)], &[("x.parquet", 7, "y")]).changes(&two), ["x.parquet is gone"]);
        let one_changed = state(&[("a", 10)], &[("x.parquet", 9, "x"), ("x.parquet", 8, "z")]);
        assert_eq!(one_changed.changes(&two), ["x.parquet has 8 bytes and had 7"]);
        let json = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<DataState>(&json).unwrap(), before);
    }
}

//! What is in a source: counts, lengths, everything that cannot be used, and a page of samples to look at.

mod article;
mod clips;
mod lengths;
mod page;
mod reader;
mod shared;

pub use lengths::Lengths;
pub use page::{PageOptions, mixture_page, page};
pub(crate) use page::{begin, escape};
pub use reader::{Reader, Segment, TOKENS_PER_PICTURE};
pub use shared::{SharedPictures, Split, shared_pictures};

use super::{Skip, SkipSummary, Source};
use crate::image;
use crate::loader::{LoaderError, Prefetcher};
use crate::sample::{Media, MediaKey, Sample, Video};
use crate::video::VideoSettings;
use serde::Serialize;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Records that a worker looks at at once.
const BATCH: u64 = 32;

/// The most skipped records that an [`Inspection`] keeps, so that memory does not grow with data that is bad throughout.
pub const KEPT_SKIPS: usize = 1000;

/// The most videos that are not whole and are named.
const NAMED: usize = 3;
/// The most names of unread fields that are counted apart.
const UNREAD_NAMES: usize = 100;
/// What the others are called.
const OTHERS: &str = "(others)";

/// How a source is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectOptions {
    /// Worker threads.
    pub workers: usize,
    /// Decode every picture; without it, pictures are only looked for.
    pub decode: bool,
    /// Look at the first so many records only.
    pub max_records: Option<u64>,
    /// Which frames of videos are decoded and counted, and how files are read; of a list of frames, all are decoded. Nothing is resized or
    /// kept, and no words are added.
    pub videos: VideoSettings,
}

impl Default for InspectOptions {
    /// Two workers, all records, every picture decoded, 32 frames of each video.
    fn default() -> Self {
        Self { workers: 2, decode: true, max_records: None, videos: VideoSettings::default() }
    }
}

/// What a source holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Name of the source.
    pub source: String,
    /// Records of the source.
    pub records: u64,
    /// Records that were looked at.
    pub looked_at: u64,
    /// Samples by language; those of sources that do not say under `"-"`.
    pub languages: BTreeMap<String, u64>,
    /// Samples by tag.
    pub tags: BTreeMap<String, u64>,
    /// Samples by number of pictures; the frames of a video are none.
    pub pictures: BTreeMap<usize, u64>,
    /// Samples by the number of their videos (files, folders and lists of frames), of those with any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub videos: BTreeMap<usize, u64>,
    /// Turns of a sample.
    pub turns: Lengths,
    /// Characters of a sample's turns, placeholders counted.
    pub characters: Lengths,
    /// Tokens of a sample; none without a tokenizer.
    pub tokens: Option<Lengths>,
    /// Tokens of a sample that are trained.
    pub trained: Option<Lengths>,
    /// Fields that are there and not read, with the number of records that have them.
    pub unread: BTreeMap<String, u64>,
    /// What a reader must know of the files as a whole, a line each.
    pub notes: Vec<String>,
    /// Pictures, by their bytes, that stand in more than one sample; none are known where they were not decoded.
    pub repeated: u64,
    /// Samples with a picture whose pixels are all there, but not the end of its file, and the first such picture.
    pub without_end: Option<(u64, String)>,
    /// Videos, by their bytes, that are cut off or damaged and shown as far as they go: how many, and the first with what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_whole: Option<(u64, Vec<String>)>,
    /// What cannot be used, by reason.
    pub summary: SkipSummary,
    /// The first [`KEPT_SKIPS`] records that cannot be used; [`inspect_with`] is told of all.
    pub skipped: Vec<Skip>,
    /// The first record of each picture, where pictures were decoded: 24 bytes a picture and the table's own.
    #[serde(skip)]
    pub first_seen: HashMap<MediaKey, u64>,
    /// Pictures that were seen again.
    #[serde(skip)]
    seen_again: HashSet<MediaKey>,
}

/// How far an inspection is.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Records looked at so far.
    pub looked_at: u64,
    /// Records to look at.
    pub records: u64,
    /// What cannot be used of those since the last step.
    pub skipped: &'a [Skip],
}

/// What is kept of one sample.
struct Look {
    record: u64,
    keys: Vec<MediaKey>,
    language: String,
    tags: Arc<[String]>,
    pictures: usize,
    /// Files and lists of frames.
    videos: usize,
    turns: u64,
    characters: u64,
    tokens: Option<(u64, u64)>,
    /// The first picture that lacks its end.
    without_end: Option<String>,
    /// Videos that are not whole, with what is wrong.
    not_whole: Vec<(MediaKey, String)>,
}

/// Looks at all records of a source. With a reader, tokens are counted, and conversations that cannot be encoded are found.
///
/// # Errors
/// If no thread can be started, or one fails.
pub fn inspect(
    source: &Arc<dyn Source>,
    reader: Option<&Arc<Reader>>,
    options: InspectOptions,
) -> Result<Inspection, LoaderError<Infallible>> {
    inspect_with(source, reader, options, |_| ControlFlow::Continue(()))
}

/// As [`inspect`], and tells `on_step` every few records how far it is, and which records cannot be used. Where that breaks, the
/// inspection ends with what was looked at so far.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_with(
    source: &Arc<dyn Source>,
    reader: Option<&Arc<Reader>>,
    options: InspectOptions,
    mut on_step: impl FnMut(Step<'_>) -> ControlFlow<()>,
) -> Result<Inspection, LoaderError<Infallible>> {
    let records = source.len().min(options.max_records.unwrap_or(u64::MAX));
    let (worker_source, worker_reader, workers) = (source.clone(), reader.cloned(), options.workers);
    let batch = move |batch: u64| {
        let numbers: Vec<u64> = (batch * BATCH..records.min((batch + 1) * BATCH)).collect();
        let (samples, unread) = worker_source.get_many_told(&numbers);
        let samples = samples.into_iter().zip(numbers);
        let look = |(sample, record): (Result<Sample, Box<Skip>>, u64)| {
            let sample = sample?;
            let look = Look::at(&*worker_source, worker_reader.as_deref(), (record, &sample), &options);
            look.map_err(|reason| Box::new(worker_source.skip_of(record, &sample, reason)))
        };
        Ok::<_, Infallible>((unread, samples.map(look).collect::<Vec<Result<Look, Box<Skip>>>>()))
    };
    let mut inspection = Inspection::new(&**source, reader.is_some());
    for batch in Prefetcher::new(0..records.div_ceil(BATCH), workers, 2 * workers, batch)? {
        let mut skipped = Vec::new();
        let (unread, looks) = batch?;
        inspection.add_unread(unread);
        for look in looks {
            inspection.looked_at += 1;
            match look {
                Ok(look) => inspection.add(look),
                Err(skip) => skipped.push(*skip),
            }
        }
        let step = Step { looked_at: inspection.looked_at, records, skipped: &skipped };
        let go_on = on_step(step);
        inspection.leave_out(skipped);
        if go_on.is_break() {
            break;
        }
    }
    Ok(inspection)
}

impl Look {
    fn at(
        source: &dyn Source,
        reader: Option<&Reader>,
        (record, sample): (u64, &Sample),
        options: &InspectOptions,
    ) -> Result<Self, super::SkipReason> {
        let limits = source.limits().decode();
        let (mut without_end, mut not_whole) = (None, Vec::new());
        let mut keys = Vec::new();
        for picture in sample.pictures() {
            if options.decode {
                let bytes = picture.read()?;
                image::decode(&picture.name(), &bytes, &limits)?;
                keys.push(MediaKey::of(&bytes));
                if image::lacks_end(&bytes) {
                    without_end.get_or_insert_with(|| picture.name());
                }
            }
        }
        // Frames of each video.
        let mut frames = Vec::new();
        for medium in &sample.media {
            match medium {
                Media::Video(Video::Clip(clip)) if options.decode => {
                    let record = clips::check(clip, &options.videos)?;
                    let key = clip.key()?;
                    not_whole.extend(record.damage.map(|damage| (key, format!("{}: {damage}", clip.name()))));
                    keys.push(key);
                    frames.push(record.indices.len());
                }
                Media::Video(Video::Clip(clip)) if reader.is_some() => {
                    frames.push(clips::count(clip, &options.videos)?)
                }
                Media::Video(Video::Frames(list)) => {
                    frames.push(clips::count_of_list(list.len(), &options.videos.sampling));
                }
                Media::Video(Video::Clip(_)) | Media::Image(_) => {}
            }
        }
        let tokens = match reader {
            None => None,
            Some(reader) => {
                let encoded = reader.encode_frames(sample, &frames)?;
                Some((encoded.ids.len() as u64, encoded.trained() as u64))
            }
        };
        keys.sort_unstable();
        keys.dedup();
        let videos = sample.media.iter().filter(|medium| matches!(medium, Media::Video(_))).count();
        Ok(Self {
            record,
            keys,
            language: sample.language.map_or_else(|| "-".to_owned(), |language| language.tag().to_owned()),
            tags: sample.tags.clone(),
            pictures: sample.media.len() - videos,
            videos,
            turns: sample.turns.len() as u64,
            characters: sample.turns.iter().map(|turn| turn.text.chars().count() as u64).sum(),
            tokens,
            without_end,
            not_whole,
        })
    }
}

impl Inspection {
    fn new(source: &dyn Source, tokens: bool) -> Self {
        Self {
            source: source.name().to_owned(),
            records: source.len(),
            looked_at: 0,
            languages: BTreeMap::new(),
            tags: BTreeMap::new(),
            pictures: BTreeMap::new(),
            videos: BTreeMap::new(),
            turns: Lengths::default(),
            characters: Lengths::default(),
            tokens: tokens.then(Lengths::default),
            trained: tokens.then(Lengths::default),
            unread: BTreeMap::new(),
            notes: source.notes(),
            repeated: 0,
            without_end: None,
            not_whole: None,
            summary: SkipSummary::default(),
            skipped: Vec::new(),
            first_seen: HashMap::new(),
            seen_again: HashSet::new(),
        }
    }

    fn leave_out(&mut self, skipped: Vec<Skip>) {
        skipped.iter().for_each(|skip| self.summary.add(skip));
        let room = KEPT_SKIPS.saturating_sub(self.skipped.len());
        self.skipped.extend(skipped.into_iter().take(room));
    }

    fn add(&mut self, look: Look) {
        *self.languages.entry(look.language).or_default() += 1;
        look.tags.iter().for_each(|tag| *self.tags.entry(tag.clone()).or_default() += 1);
        *self.pictures.entry(look.pictures).or_default() += 1;
        if look.videos > 0 {
            *self.videos.entry(look.videos).or_default() += 1;
        }
        for (_, video) in look.not_whole.into_iter().filter(|(key, _)| !self.first_seen.contains_key(key)) {
            let (count, named) = self.not_whole.get_or_insert_default();
            *count += 1;
            named.extend(Some(video).filter(|_| *count <= NAMED as u64));
        }
        for key in look.keys {
            match self.first_seen.entry(key) {
                Entry::Vacant(first) => {
                    first.insert(look.record);
                }
                Entry::Occupied(_) => {
                    self.seen_again.insert(key);
                }
            }
        }
        self.repeated = self.seen_again.len() as u64;
        if let Some(name) = look.without_end {
            self.without_end.get_or_insert((0, name)).0 += 1;
        }
        self.turns.add(look.turns);
        self.characters.add(look.characters);
        if let (Some(tokens), Some(trained), Some(count)) = (&mut self.tokens, &mut self.trained, look.tokens) {
            tokens.add(count.0);
            trained.add(count.1);
        }
    }

    /// Names beyond the most that are kept count together.
    fn add_unread(&mut self, unread: BTreeMap<String, u64>) {
        for (name, count) in unread {
            let known = self.unread.len() < UNREAD_NAMES || self.unread.contains_key(&name);
            *self.unread.entry(if known { name } else { OTHERS.to_owned() }).or_default() += count;
        }
    }

    /// Samples that can be used.
    pub fn usable(&self) -> u64 {
        self.turns.count()
    }

    /// The figures with their names, as they are shown.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let counts = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let pictures: BTreeMap<String, u64> =
            self.pictures.iter().map(|(n, count)| (format!("{n}:"), *count)).collect();
        let part =
            if self.looked_at < self.records { format!(" (the first {})", self.looked_at) } else { String::new() };
        let mut rows = vec![
            ("records", format!("{}{part}", self.records)),
            ("usable", self.usable().to_string()),
            ("languages", counts(&self.languages)),
        ];
        if !self.tags.is_empty() {
            rows.push(("tags", counts(&self.tags)));
        }
        if !self.videos.is_empty() {
            let videos = self.videos.iter().map(|(n, count)| (format!("{n}:"), *count)).collect();
            rows.push(("videos a sample", counts(&videos)));
        }
        rows.extend([
            ("pictures a sample", counts(&pictures)),
            ("turns", self.turns.to_string()),
            ("characters", self.characters.to_string()),
        ]);
        if self.repeated > 0 {
            let (repeated, all) = (self.repeated, self.first_seen.len());
            rows.push(("repeated pictures", format!("{repeated} of {all} stand in several samples")));
        }
        if let (Some(tokens), Some(trained)) = (&self.tokens, &self.trained) {
            rows.push(("tokens", tokens.to_string()));
            rows.push(("trained tokens", trained.to_string()));
        }
        if !self.unread.is_empty() {
            rows.push(("not read", counts(&self.unread)));
        }
        let mut rows: Vec<(String, String)> = rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let reason = |(reason, (count, example)): (&super::SkipKind, &(u64, String))| {
            (reason.to_string(), format!("{count}, first: {example}"))
        };
        rows.extend(self.summary.reasons.iter().map(reason));
        rows.extend(self.without_end.iter().map(|(count, name)| {
            let value = format!("{count} samples with a PNG cut off behind its last pixels, first: {name}");
            ("warning".to_owned(), value)
        }));
        rows.extend(self.not_whole.iter().map(|(count, named)| {
            let more = count.saturating_sub(named.len() as u64);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            let value =
                format!("{count} videos are not whole and are shown as far as they go: {}{more}", named.join("; "));
            ("warning".to_owned(), value)
        }));
        rows.extend(self.notes.iter().map(|note| ("note".to_owned(), note.clone())));
        rows
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.source)?;
        for (name, value) in self.rows() {
            writeln!(f, "  {name:18} {value}")?;
        }
        Ok(())
    }
}

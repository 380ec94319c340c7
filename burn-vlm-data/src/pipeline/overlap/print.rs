//! What a record is compared by, computed on worker threads.

use super::records::{OverlapRecord, OverlapRecords, unreadable};
use super::text::letters;
use crate::image::{PerceptualHash, SmallPicture, decode, to_rgb};
use crate::language::Language;
use crate::loader::{LoaderError, Prefetcher};
use crate::sample::{Picture, WHITE};
use crate::source::{Limits, Skip};
use crate::video::Clip;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Records that a worker looks at at once.
const BATCH: u64 = 16;

/// What a record is compared by.
#[derive(Debug, Clone)]
pub struct Fingerprint {
    /// Its number in its source.
    pub record: u64,
    /// Its id.
    pub id: String,
    /// The language.
    pub language: Option<Language>,
    /// Ids that the data gives.
    pub ids: Vec<String>,
    /// Its pictures; then its video files.
    pub pictures: Vec<PictureFingerprint>,
    /// SHA-256 that the record itself has of its pictures.
    pub sha256: Vec<[u8; 32]>,
    /// Its texts, letters alone; those that are empty left out, each once.
    pub texts: Vec<Vec<char>>,
    /// What of it cannot be read.
    pub problems: Vec<Skip>,
}

/// What a picture is compared by.
#[derive(Debug, Clone)]
pub struct PictureFingerprint {
    /// Its name.
    pub name: String,
    /// SHA-256 of its file.
    pub sha256: [u8; 32],
    /// What it shows; none of a video, of a picture that cannot be decoded, and of one that shows too little.
    pub look: Option<(PerceptualHash, SmallPicture)>,
    /// Decoded, but of one colour or nearly so.
    pub flat: bool,
}

/// Computes the fingerprints of all records, in their order, a few at a time. Where `each` breaks, the rest is left.
///
/// # Errors
/// If no thread can be started, or one fails.
pub fn fingerprints(
    records: &Arc<dyn OverlapRecords>,
    workers: usize,
    mut each: impl FnMut(Vec<Fingerprint>) -> ControlFlow<()>,
) -> Result<(), LoaderError<Infallible>> {
    let (len, shared) = (records.len(), records.clone());
    let batch = move |batch: u64| {
        let read = shared.read(batch * BATCH..len.min((batch + 1) * BATCH));
        let limits = shared.limits();
        Ok::<_, Infallible>(read.into_iter().map(|record| of(shared.name(), &record, limits)).collect::<Vec<_>>())
    };
    for batch in Prefetcher::new(0..len.div_ceil(BATCH), workers, 2 * workers, batch)? {
        if each(batch?).is_break() {
            break;
        }
    }
    Ok(())
}

fn of(source: &str, record: &OverlapRecord, limits: Limits) -> Fingerprint {
    let mut problems: Vec<Skip> = record.problem.iter().cloned().collect();
    let mut pictures = Vec::new();
    for picture in record.pictures() {
        match picture_print(picture, limits) {
            Ok((print, problem)) => {
                pictures.push(print);
                problems.extend(problem.map(|problem| record.skip(source, problem)));
            }
            Err(reason) => problems.push(record.skip(source, reason)),
        }
    }
    for clip in record.clips() {
        match clip_hash(clip) {
            Ok(sha256) => {
                pictures.push(PictureFingerprint { name: clip.name(), sha256, look: None, flat: false });
            }
            Err(reason) => problems.push(record.skip(source, reason)),
        }
    }
    let mut texts: Vec<Vec<char>> = record.texts.iter().map(|text| letters(text)).collect();
    texts.retain(|text| !text.is_empty());
    texts.sort_unstable();
    texts.dedup();
    Fingerprint {
        record: record.record,
        id: record.id.clone(),
        language: record.language,
        ids: record.ids.clone(),
        pictures,
        sha256: record.sha256.clone(),
        texts,
        problems,
    }
}

type Problem = crate::source::SkipReason;

/// Of a picture that cannot be decoded the bytes are compared all the same.
fn picture_print(picture: &Picture, limits: Limits) -> Result<(PictureFingerprint, Option<Problem>), Problem> {
    let (name, bytes) = (picture.name(), picture.read()?);
    let sha256 = Sha256::digest(&bytes).into();
    let mut print = PictureFingerprint { name, sha256, look: None, flat: false };
    match decode(&print.name, &bytes, &limits.decode()) {
        Ok(image) => {
            let image = to_rgb(image, Some(WHITE));
            print.look = PerceptualHash::of(&image).zip(SmallPicture::of(&image));
            print.flat = print.look.is_none();
            Ok((print, None))
        }
        Err(error) => Ok((print, Some(error.into()))),
    }
}

/// A video may be large: a file is read piece by piece. A folder of frames has no bytes of its own.
fn clip_hash(clip: &Clip) -> Result<[u8; 32], Problem> {
    let Clip::File(path) = clip else { return Ok(Sha256::digest(clip.read()?).into()) };
    if path.is_dir() {
        return Err(unreadable(format!("{}: a folder of frames has no bytes to compare", path.display())));
    }
    let mut hasher = Sha256::new();
    let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut hasher));
    copied.map_err(|error| unreadable(format!("{}: {error}", path.display())))?;
    Ok(hasher.finalize().into())
}

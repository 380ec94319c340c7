//! The videos that questions are about: their frames are chosen, looked at and decoded in time, and questions about one that cannot be read
//! are left out.
//!
//! Unusual here: a video is decoded once, just before the questions about it, together with as many others as are held; so that it cannot be
//! decoded is known before a pass with other questions in it begins.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use burn_vlm_data::processor::Processor;
use burn_vlm_data::sample::{Media, MediaKey, Picture, Video};
use burn_vlm_data::source::SkipReason;
use burn_vlm_data::video::{Clip, Clips, HELD_VIDEOS};
use burn_vlm_train::chat::model_folder;
use burn_vlm_train::eval::{Benchmarks, Question, ShownVideo, Unreadable};
use rayon::prelude::*;

use super::EvaluateArgs;
use super::answers::List;
use crate::AnyError;

/// A question by its list and its number in it.
pub(super) type Place = (usize, usize);

/// What shows the videos of questions.
#[derive(Default)]
pub(super) struct Videos {
    /// Chooses the frames of files; absent where no question is about a video.
    clips: Option<Arc<Clips>>,
    /// The videos of each question that has some, as the data has them.
    of: BTreeMap<Place, Vec<Video>>,
    /// Why questions are not asked.
    unreadable: BTreeMap<Place, SkipReason>,
}

impl Videos {
    /// Puts the chosen frames into the place of videos. Where the rule says how many there are, no file is decoded for that.
    ///
    /// # Errors
    /// A model that is shown no videos, a program that is missing.
    pub(super) fn of(args: &EvaluateArgs, model: &Path, lists: &mut [List<'_>]) -> Result<Self, AnyError> {
        let videos = |question: &Question| -> Vec<Video> {
            let video = |medium: &Media| match medium {
                Media::Video(video) => Some(video.clone()),
                Media::Image(_) => None,
            };
            question.media.iter().filter_map(video).collect()
        };
        let mut all = Self::default();
        for (list, List { questions, .. }) in lists.iter().enumerate() {
            let of = questions.iter().enumerate().map(|(number, question)| ((list, number), videos(question)));
            all.of.extend(of.filter(|(_, videos)| !videos.is_empty()));
        }
        if all.of.is_empty() {
            return Ok(all);
        }
        let folder = model_folder(model)?;
        let frames = Processor::from_folder(&folder)?.frame_processor();
        let frames = frames.map_err(|error| format!("{}: {error}", folder.display()))?;
        let settings = args.frames.settings()?;
        let clips = Clips::new(&settings, frames, Path::new(""))?;
        all.clips = Some(clips.clone());
        if settings.sampling.frames().is_none() {
            all.check_programs(lists, all.of.keys().copied())?;
        }
        for &(list, number) in all.of.keys() {
            let question = &mut lists[list].questions.to_mut()[number];
            match clips.show(&question.media, false) {
                Ok(shown) => question.media = shown.into_owned(),
                Err(reason) => drop(all.unreadable.insert((list, number), reason)),
            }
        }
        Ok(all)
    }

    /// The files among the videos of a question.
    fn clips_of(&self, place: Place) -> impl Iterator<Item = &Clip> {
        self.of.get(&place).into_iter().flatten().filter_map(|video| match video {
            Video::Clip(clip) => Some(clip),
            Video::Frames(_) => None,
        })
    }

    /// A missing program would make every question about a file one that is left out.
    fn check_programs(&self, lists: &[List<'_>], mut places: impl Iterator<Item = Place>) -> Result<(), AnyError> {
        let Some(clips) = &self.clips else { return Ok(()) };
        let needs =
            |place: Place| Some((place, self.clips_of(place).find(|clip| clips.reader().needs_programs(clip))?));
        if let Some(((list, number), clip)) = places.find_map(needs) {
            let (list, question) = (&lists[list].name, &lists[list].questions[number].id);
            let named = |error| format!("{list}, {question}: {}: {error}", clip.name());
            clips.reader().programs().map_err(named)?;
        }
        Ok(())
    }

    /// Whether nothing is known against asking a question.
    pub(super) fn can_show(&self, list: usize, number: usize) -> bool {
        !self.unreadable.contains_key(&(list, number))
    }

    /// Does something with each file that these questions are about, several at a time. All about one that fails are no longer asked;
    /// whether there are such.
    fn each<R>(&mut self, places: &[Place], work: impl Fn(&Clips, &Clip) -> Result<R, SkipReason> + Sync) -> bool {
        let Some(clips) = self.clips.clone() else { return false };
        let mut wanted: BTreeMap<MediaKey, Clip> = BTreeMap::new();
        let before = self.unreadable.len();
        for &place in places {
            let found: Result<Vec<_>, SkipReason> =
                self.clips_of(place).map(|clip| Ok((clips.key(clip)?, clip.clone()))).collect();
            match found {
                Ok(found) => wanted.extend(found),
                Err(reason) => drop(self.unreadable.insert(place, reason)),
            }
        }
        let failed: HashMap<MediaKey, SkipReason> =
            wanted.par_iter().filter_map(|(key, clip)| Some((*key, work(&clips, clip).err()?))).collect();
        if !failed.is_empty() {
            // The same question in another list is asked once.
            let why = |place: Place| self.clips_of(place).find_map(|clip| failed.get(&clips.key(clip).ok()?).cloned());
            let of_failed: Vec<_> = self.of.keys().filter_map(|place| Some((*place, why(*place)?))).collect();
            self.unreadable.extend(of_failed);
        }
        self.unreadable.len() > before
    }

    /// Looks at the files that questions without a reply are about; those that are none are taken out of `missing`, which has numbers by list.
    ///
    /// # Errors
    /// A program that is missing.
    pub(super) fn look(&mut self, lists: &[List<'_>], missing: &mut [Vec<usize>]) -> Result<(), AnyError> {
        let mut places: Vec<Place> = Vec::new();
        for (list, numbers) in missing.iter().enumerate() {
            places.extend(numbers.iter().map(|number| (list, *number)));
        }
        self.check_programs(lists, places.iter().copied())?;
        self.each(&places, Clips::look);
        for (list, numbers) in missing.iter_mut().enumerate() {
            numbers.retain(|number| self.can_show(list, *number));
        }
        Ok(())
    }

    /// The questions of a list in portions that are about no more files than are held.
    pub(super) fn portions(&self, list: usize, numbers: &[usize]) -> Vec<Vec<usize>> {
        let mut portions = vec![Vec::new()];
        let mut held: Vec<&Clip> = Vec::new();
        for &number in numbers {
            let new: Vec<&Clip> = self.clips_of((list, number)).filter(|clip| !held.contains(clip)).collect();
            if held.len() + new.len() > HELD_VIDEOS && !held.is_empty() {
                portions.push(Vec::new());
                held = self.clips_of((list, number)).collect();
            } else {
                held.extend(new);
            }
            if let Some(last) = portions.last_mut() {
                last.push(number);
            }
        }
        portions
    }

    /// Decodes the files that these questions of a list are about; those about one that cannot be decoded are taken out. Whether any was.
    pub(super) fn decode(&mut self, list: usize, numbers: &mut Vec<usize>) -> bool {
        let places: Vec<Place> = numbers.iter().map(|number| (list, *number)).collect();
        let failed = self.each(&places, Clips::hold);
        numbers.retain(|number| self.can_show(list, *number));
        failed
    }

    /// Questions with a reply need no video any more.
    pub(super) fn keep_answered(&mut self, answered: impl Fn(&Place) -> bool) {
        self.unreadable.retain(|place, _| !answered(place));
    }

    /// The questions that are not asked, by the names of their lists.
    pub(super) fn unreadable(&self, lists: &[List<'_>]) -> BTreeMap<String, Unreadable> {
        let mut all: BTreeMap<String, Unreadable> = BTreeMap::new();
        for (&(list, number), reason) in &self.unreadable {
            all.entry(lists[list].name.clone()).or_default().insert(number, reason.clone());
        }
        all
    }

    /// Whether so many questions may be left out.
    ///
    /// # Errors
    /// More than a benchmark allows; one that is asked with and without what it shows.
    pub(super) fn check(&self, benchmarks: &Benchmarks, lists: &[List<'_>]) -> Result<(), AnyError> {
        let own = benchmarks.iter().count();
        if let Some(((list, number), reason)) = self.unreadable.iter().find(|((list, _), _)| *list >= own) {
            return Err(format!("{}, {}: {reason}", lists[*list].name, lists[*list].questions[*number].id).into());
        }
        benchmarks.without(&self.unreadable(lists))?;
        Ok(())
    }

    /// Which frames of a question's videos were shown.
    pub(super) fn shown(&self, place: Place) -> Vec<ShownVideo> {
        let Some(clips) = &self.clips else { return Vec::new() };
        let one = |video: &Video| match video {
            Video::Clip(clip) => Some(ShownVideo { name: clip.name(), record: (*clips.known(clip)?).clone() }),
            // What was shown was decoded; only which of them is asked here.
            Video::Frames(frames) => {
                Some(ShownVideo { name: name_of_list(frames), record: clips.record_of_list(frames).ok()? })
            }
        };
        self.of.get(&place).into_iter().flatten().filter_map(one).collect()
    }
}

/// What a list of frames is called: the folder that all of them lie in, else its first frame.
fn name_of_list(frames: &[Picture]) -> String {
    let folder = |picture: &Picture| match picture {
        Picture::File { path, .. } => path.parent().map(Path::to_owned),
        _ => None,
    };
    let first = frames.first().and_then(folder);
    match first.filter(|first| frames.iter().all(|frame| folder(frame).as_ref() == Some(first))) {
        Some(folder) => folder.display().to_string(),
        None => frames.first().map(Picture::name).unwrap_or_default(),
    }
}

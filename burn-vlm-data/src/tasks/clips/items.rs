//! Training samples and scored questions about clips.

use super::film::{Film, Said};
use super::picture::frame;
use super::question::ClipQuestion;
use super::settings::ClipSettings;
use super::time::{MIDDLE, shown};
use super::words::has_words;
use crate::conversation::Turn;
use crate::emoji::{Concept, ConceptId, PictureId, Style};
use crate::language::Language;
use crate::random::Stream;
use crate::sample::{Media, Picture, Sample, VIDEO_PLACEHOLDER};
use crate::tasks::Task;
use crate::tasks::builder::TaskBuilder;
use crate::tasks::pool::Pool;

/// A question about a clip with two possible answers, one of them right.
///
/// Items of different languages with the same `parallel` id have the same frames, concepts and order of options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipItem {
    /// Unique and stable across runs: the parallel id and the language.
    pub id: String,
    /// The same in every language.
    pub parallel: String,
    /// What is asked.
    pub question: ClipQuestion,
    /// What is asked about.
    pub concept: ConceptId,
    /// The clip.
    pub clip: Media,
    /// The clip's middle frame alone.
    pub middle: Media,
    /// The clip's frames in an order that was drawn by lot.
    pub shuffled: Media,
    /// Language of question and options.
    pub language: Language,
    /// The question, without placeholders.
    pub prompt: String,
    /// The two answers.
    pub options: [String; 2],
    /// Position of the right option.
    pub answer: usize,
    /// Seen or unseen concepts, validation or test.
    pub pool: Pool,
}

impl ClipItem {
    /// Clip and question; the options are scored as the assistant's answer.
    pub fn cloze(&self) -> Vec<Turn> {
        vec![Turn::user(shown_before(&self.prompt))]
    }

    /// The same without a clip.
    pub fn cloze_text_only(&self) -> Vec<Turn> {
        vec![Turn::user(self.prompt.clone())]
    }
}

fn shown_before(prompt: &str) -> String {
    format!("{VIDEO_PLACEHOLDER}\n{prompt}")
}

/// Frames in their time as what a placeholder stands for.
fn video(frames: Vec<Picture>) -> Media {
    Media::frames(frames)
}

/// A clip that was drawn.
#[derive(Clone)]
struct Drawn {
    question: ClipQuestion,
    film: Film,
    target: ConceptId,
    /// The target, then the others.
    concepts: Vec<ConceptId>,
    pictures: Vec<PictureId>,
}

/// Where a clip's icons come from.
struct Lot<'c> {
    /// Concepts that may be shown beside the target.
    candidates: &'c [ConceptId],
    /// The style of the icons; another one of training where a concept has none in it. `None` for the scored style alone.
    training_style: Option<Style>,
}

impl TaskBuilder<'_> {
    /// Training samples about clips: one a training picture of a concept that `settings` show, question, variant and language; a clip's other
    /// icons are of training concepts and, where they have it, of the same style. Where more can be asked of the frames, it is asked in
    /// further turns.
    pub fn clip_samples(&self, settings: &ClipSettings) -> Vec<Sample> {
        let shows = |concept: &ConceptId| settings.shows(self.corpus.concept(*concept));
        let concepts: Vec<ConceptId> = self.training_concepts().into_iter().filter(shows).collect();
        let mut samples = Vec::new();
        for concept in &concepts {
            for picture in self.training_pictures(*concept) {
                let lot = Lot { candidates: &concepts, training_style: Some(picture.style) };
                for (question, number) in settings.asked().flat_map(|q| (0..settings.variants).map(move |n| (q, n))) {
                    let place = format!("{}/{}", question.as_str(), picture.style);
                    let stream = &mut self.stream(&format!("clip-sample/{place}"), *concept, number);
                    let Some(drawn) = self.draw_clip(question, (*concept, picture.id), &lot, stream) else { continue };
                    let clip = self.clip(&drawn, &shown(settings.frames));
                    for language in &self.languages {
                        let Some((prompt, [right, _])) = self.said_of_clip(&drawn, *language) else { continue };
                        let name = self.corpus.picture_name(picture.id);
                        let id = format!("clips/{}/{name}/{number}/{language}", question.as_str());
                        let mut turns = vec![Turn::user(shown_before(&prompt)), Turn::assistant(right)];
                        for film in drawn.film.more() {
                            let more = Drawn { film, ..drawn.clone() };
                            if let Some((prompt, [right, _])) = self.said_of_clip(&more, *language) {
                                turns.extend([Turn::user(prompt), Turn::assistant(right)]);
                            }
                        }
                        let sample = self.sample(Task::Clips, id, *concept, None, *language, turns);
                        samples.push(Sample { media: vec![clip.clone()], ..sample });
                    }
                }
            }
        }
        samples
    }

    /// Questions about clips of a pool's concepts: one a concept, question and language, in the scored style. The clips' other icons are of
    /// the same split.
    pub fn clip_items(&self, pool: Pool, settings: &ClipSettings) -> Vec<ClipItem> {
        let usable = |concept: &&Concept| {
            settings.shows(concept) && self.is_option(concept) && self.scored_picture(concept.id).is_some()
        };
        let candidates: Vec<ConceptId> =
            self.corpus.split(pool.split()).filter(usable).map(|concept| concept.id).collect();
        let lot = Lot { candidates: &candidates, training_style: None };
        let mut items = Vec::new();
        for (concept, picture) in self.scored_concepts(pool) {
            if !settings.shows(self.corpus.concept(concept)) {
                continue;
            }
            for question in settings.asked() {
                let stream = &mut self.stream(&format!("clip/{}", question.as_str()), concept, 0);
                let Some(drawn) = self.draw_clip(question, (concept, picture.id), &lot, stream) else { continue };
                items.extend(self.clip_items_of(&drawn, settings, pool, stream));
            }
        }
        items
    }

    /// The question about one clip in every language.
    fn clip_items_of(&self, drawn: &Drawn, settings: &ClipSettings, pool: Pool, stream: &mut Stream) -> Vec<ClipItem> {
        let (question, concept) = (drawn.question, drawn.target);
        let answer = stream.below(2);
        let mut order = shown(settings.frames);
        let clip = self.clip(drawn, &order);
        stream.shuffle(&mut order);
        let shuffled = self.clip(drawn, &order);
        let middle = self.clip(drawn, &[MIDDLE]);
        let code = &self.corpus.concept(concept).code;
        let pool_name = format!("{}/{}", pool.purpose.as_str(), pool.concepts.as_str());
        let parallel = format!("clips/{pool_name}/{}/{code}", question.as_str());
        let item = |language: &Language| {
            let (prompt, mut options) = self.said_of_clip(drawn, *language)?;
            options.rotate_right(answer);
            Some(ClipItem {
                id: format!("{parallel}/{language}"),
                parallel: parallel.clone(),
                question,
                concept,
                clip: clip.clone(),
                middle: middle.clone(),
                shuffled: shuffled.clone(),
                language: *language,
                prompt,
                options,
                answer,
                pool,
            })
        };
        self.languages.iter().filter_map(item).collect()
    }

    /// Question and answers, the right one first; none in a language without words.
    fn said_of_clip(&self, drawn: &Drawn, language: Language) -> Option<(String, [String; 2])> {
        let Drawn { question, film, concepts, .. } = drawn;
        if !has_words(*question, language) {
            return None;
        }
        let answer = |said: Said| self.clip_answer(said, concepts, language);
        let [right, wrong] = film.answers().map(answer);
        Some((self.clip_question(film, concepts, language)?, [right?, wrong?]))
    }

    /// The frames of a clip.
    fn clip(&self, drawn: &Drawn, ticks: &[u32]) -> Media {
        let frame = |tick: &u32| Picture::Drawn(frame(self.corpus, drawn.film.look(*tick), &drawn.pictures));
        video(ticks.iter().map(frame).collect())
    }

    /// Draws a clip about a picture of a concept; none where the question cannot be asked of it.
    fn draw_clip(
        &self,
        question: ClipQuestion,
        (target, picture): (ConceptId, PictureId),
        lot: &Lot<'_>,
        stream: &mut Stream,
    ) -> Option<Drawn> {
        let film = Film::draw(question, stream);
        let lists = matches!(question, ClipQuestion::Order | ClipQuestion::Becomes);
        if lists && !self.is_listable(target) {
            return None;
        }
        let mut concepts = vec![target];
        if question.others() > 0 {
            let name = |concept, language| {
                let usable = !lists || self.is_listable(concept);
                self.text(concept, language).filter(|_| usable).map(|text| text.name.as_str())
            };
            concepts.extend(self.draw_distractors(lot.candidates, target, question.others(), stream, name)?);
        }
        let icon = |concept: &ConceptId| match lot.training_style {
            None => self.scored_picture(*concept),
            Some(style) => {
                let of_style = self.training_pictures(*concept).find(|picture| picture.style == style);
                of_style.or_else(|| self.training_pictures(*concept).next()).map(|picture| picture.id)
            }
        };
        let mut pictures = vec![picture];
        pictures.extend(concepts[1..].iter().map(icon).collect::<Option<Vec<_>>>()?);
        Some(Drawn { question, film, target, concepts, pictures })
    }

    fn scored_picture(&self, concept: ConceptId) -> Option<PictureId> {
        let picture = self.corpus.picture_in(concept, Style::SCORED)?.id;
        (!self.corpus.is_ambiguous(picture)).then_some(picture)
    }
}

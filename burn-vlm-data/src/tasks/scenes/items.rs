//! Training samples and scored questions about scenes.

use super::compose::{Answer, Composed, MOST, compose, others};
use super::level::{IconSize, SceneOptions, SceneQuestion};
use super::picture::scene;
use super::settings::SceneSettings;
use crate::conversation::{IMAGE_PLACEHOLDER, Turn};
use crate::emoji::{Concept, ConceptId, PictureId, Split, Style};
use crate::language::Language;
use crate::random::Stream;
use crate::sample::{Media, Picture, Sample};
use crate::tasks::Task;
use crate::tasks::builder::TaskBuilder;
use crate::tasks::pool::Pool;

/// Wrong answers of a question.
const WRONG: usize = 3;

/// A question about a scene with four possible answers, one of them right.
///
/// Items of different languages with the same `parallel` id have the same pictures, concepts and order of options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SceneItem {
    /// Unique and stable across runs: the parallel id and the language.
    pub id: String,
    /// The same in every language.
    pub parallel: String,
    /// What is asked.
    pub question: SceneQuestion,
    /// The side of the icons.
    pub size: IconSize,
    /// Where the wrong answers come from.
    pub options_from: SceneOptions,
    /// Icons of the (last) picture.
    pub icons: usize,
    /// What is asked for, or counted.
    pub concept: ConceptId,
    /// The picture, or two where the question is what differs.
    pub media: Vec<Media>,
    /// Language of question and options.
    pub language: Language,
    /// The question, without placeholders.
    pub prompt: String,
    /// The four answers, all different.
    pub options: [String; 4],
    /// Position of the right option.
    pub answer: usize,
    /// Seen or unseen concepts, validation or test.
    pub pool: Pool,
}

impl SceneItem {
    /// Pictures and question; the options are scored as the assistant's answer.
    pub fn cloze(&self) -> Vec<Turn> {
        vec![Turn::user(shown_before(&self.prompt, self.media.len()))]
    }

    /// The same without pictures, whose likelihoods may be subtracted.
    pub fn cloze_text_only(&self) -> Vec<Turn> {
        vec![Turn::user(self.prompt.clone())]
    }
}

fn shown_before(prompt: &str, pictures: usize) -> String {
    format!("{}{prompt}", format!("{IMAGE_PLACEHOLDER}\n").repeat(pictures))
}

/// A scene with pictures, and the concepts of its wrong answers.
struct Drawn {
    composed: Composed,
    media: Vec<Media>,
    /// Concepts that it does not show.
    elsewhere: Vec<ConceptId>,
}

/// What decides how a scene is drawn, besides its level and target.
struct Lot<'c> {
    /// Concepts that may be shown beside the target, or be wrong answers.
    candidates: &'c [ConceptId],
    /// The style of the icons; another one of training where a concept has none in it. `None` for the scored style alone.
    training_style: Option<Style>,
    /// Whether the layout is a held-out one.
    held_out: bool,
}

impl TaskBuilder<'_> {
    /// Training samples about scenes: one a training picture of a concept that `settings` show, level and language; the scene's other icons
    /// are of training concepts and, where they have it, of the same style. No layout is a held-out one. Where more can be asked of the
    /// picture, it is asked in further turns.
    pub fn scene_samples(&self, settings: &SceneSettings) -> Vec<Sample> {
        let shown = |concept: &ConceptId| settings.shows(self.corpus.concept(*concept));
        let concepts: Vec<ConceptId> = self.training_concepts().into_iter().filter(shown).collect();
        let mut samples = Vec::new();
        for concept in &concepts {
            for picture in self.training_pictures(*concept) {
                let lot = Lot { candidates: &concepts, training_style: Some(picture.style), held_out: false };
                let levels = settings.levels().into_iter();
                for (question, size, number) in levels.flat_map(|(q, s)| (0..settings.variants).map(move |n| (q, s, n)))
                {
                    let place = format!("{}/{}", question.as_str(), size.as_str());
                    let stream = &mut self.stream(&format!("scene-sample/{place}/{}", picture.style), *concept, number);
                    let Some(drawn) = self.draw_scene(question, size, *concept, &lot, stream) else { continue };
                    for language in &self.languages {
                        let Some(prompt) = drawn.composed.asked.words(self, *language) else { continue };
                        let Some(answer) = self.scene_answer(&drawn.composed, *concept, *language) else { continue };
                        let mut turns =
                            vec![Turn::user(shown_before(&prompt, drawn.media.len())), Turn::assistant(answer)];
                        for (asked, right) in &drawn.composed.more {
                            let name = self.text(*right, *language).map(|text| text.name.as_str());
                            if let (Some(question), Some(name)) = (asked.words(self, *language), name) {
                                turns.extend([Turn::user(question), Turn::assistant(name)]);
                            }
                        }
                        let shown = self.corpus.picture_name(picture.id);
                        let id = format!("scenes/{place}/{shown}/{number}/{language}");
                        let sample = self.sample(Task::Scenes, id, *concept, None, *language, turns);
                        samples.push(Sample { media: drawn.media.clone(), ..sample });
                    }
                }
            }
        }
        samples
    }

    /// Questions about scenes of a pool's concepts: one a concept, level, kind of options and language, in the scored style and in
    /// held-out layouts. The scenes' other icons and the wrong answers are of the same split.
    pub fn scene_items(&self, pool: Pool, settings: &SceneSettings) -> Vec<SceneItem> {
        let candidates = self.scene_candidates(pool.split(), settings);
        let lot = Lot { candidates: &candidates, training_style: None, held_out: true };
        let shown = |concept: &ConceptId| settings.shows(self.corpus.concept(*concept));
        let asked = self.scored_concepts(pool).into_iter().map(|(concept, _)| concept).filter(shown);
        let mut items = Vec::new();
        for concept in asked {
            for (question, size) in settings.levels() {
                let place = format!("{}/{}", question.as_str(), size.as_str());
                let stream = &mut self.stream(&format!("scene/{place}"), concept, 0);
                let Some(drawn) = self.draw_scene(question, size, concept, &lot, stream) else { continue };
                for options in question.options() {
                    items.extend(self.scene_items_of(&drawn, concept, *options, pool, &mut stream.clone()));
                }
            }
        }
        items
    }

    /// The question about one scene in every language.
    fn scene_items_of(
        &self,
        drawn: &Drawn,
        concept: ConceptId,
        options_from: SceneOptions,
        pool: Pool,
        stream: &mut Stream,
    ) -> Vec<SceneItem> {
        let Drawn { composed, media, elsewhere } = drawn;
        let (question, size) = (composed.asked.question(), composed.size);
        let wrong = match options_from {
            SceneOptions::Numbers => Vec::new(),
            SceneOptions::Elsewhere => elsewhere.iter().copied().take(WRONG).collect(),
            SceneOptions::Present => composed.present.iter().chain(elsewhere).copied().take(WRONG).collect(),
        };
        let answer = stream.below(WRONG + 1);
        let numbers = match composed.answer {
            Answer::Target => Vec::new(),
            Answer::Number(right) => {
                let mut wrong: Vec<usize> = (1..=MOST).filter(|number| *number != right).collect();
                stream.shuffle(&mut wrong);
                wrong.into_iter().take(WRONG).map(|number| number.to_string()).collect()
            }
        };
        let code = &self.corpus.concept(concept).code;
        let (purpose, kind) = (pool.purpose.as_str(), options_from.as_str());
        let pool_name = format!("{purpose}/{}", pool.concepts.as_str());
        let parallel = format!("scenes/{pool_name}/{}/{}/{kind}/{code}", question.as_str(), size.as_str());
        let item = |language: &Language| {
            let name = |concept: &ConceptId| self.text(*concept, *language).map(|text| text.name.clone());
            let mut options: Vec<String> = match options_from {
                SceneOptions::Numbers => numbers.clone(),
                _ => wrong.iter().map(name).collect::<Option<_>>()?,
            };
            options.insert(answer.min(options.len()), self.scene_answer(composed, concept, *language)?);
            Some(SceneItem {
                id: format!("{parallel}/{language}"),
                parallel: parallel.clone(),
                question,
                size,
                options_from,
                icons: composed.pictures.last().map_or(0, Vec::len),
                concept,
                media: media.clone(),
                language: *language,
                prompt: composed.asked.words(self, *language)?,
                options: options.try_into().ok()?,
                answer,
                pool,
            })
        };
        self.languages.iter().filter_map(item).collect()
    }

    fn scene_answer(&self, composed: &Composed, target: ConceptId, language: Language) -> Option<String> {
        match composed.answer {
            Answer::Target => self.text(target, language).map(|text| text.name.clone()),
            Answer::Number(number) => Some(number.to_string()),
        }
    }

    fn draw_scene(
        &self,
        question: SceneQuestion,
        size: IconSize,
        target: ConceptId,
        lot: &Lot<'_>,
        stream: &mut Stream,
    ) -> Option<Drawn> {
        let count = others(question, stream);
        let name = |concept, language| self.text(concept, language).map(|text| text.name.as_str());
        let mut present = self.draw_distractors(lot.candidates, target, count + WRONG, stream, name)?;
        let elsewhere = present.split_off(count);
        let composed = compose(question, size, target, &present, lot.held_out, stream)?;
        let picture = |icons: &Vec<(ConceptId, _)>| {
            let icons = icons.iter().map(|(concept, corner)| Some((self.icon(*concept, lot)?, *corner)));
            let drawn = scene(self.corpus, size, &icons.collect::<Option<Vec<_>>>()?);
            Some(Media::Image(Picture::Drawn(drawn)))
        };
        let media = composed.pictures.iter().map(picture).collect::<Option<Vec<_>>>()?;
        Some(Drawn { composed, media, elsewhere })
    }

    /// The picture that stands for a concept.
    fn icon(&self, concept: ConceptId, lot: &Lot<'_>) -> Option<PictureId> {
        match lot.training_style {
            None => self.scored_icon(concept),
            Some(style) => {
                let of_style = self.training_pictures(concept).find(|picture| picture.style == style);
                of_style.or_else(|| self.training_pictures(concept).next()).map(|picture| picture.id)
            }
        }
    }

    fn scored_icon(&self, concept: ConceptId) -> Option<PictureId> {
        let picture = self.corpus.picture_in(concept, Style::SCORED)?.id;
        (!self.corpus.is_ambiguous(picture)).then_some(picture)
    }

    /// What scored scenes of a split may show.
    fn scene_candidates(&self, split: Split, settings: &SceneSettings) -> Vec<ConceptId> {
        let usable = |concept: &&Concept| {
            settings.shows(concept) && self.is_option(concept) && self.scored_icon(concept.id).is_some()
        };
        self.corpus.split(split).filter(usable).map(|concept| concept.id).collect()
    }
}

//! A scene as it is drawn by lot: which concepts, where, what is asked, what is right.

use super::layout::{self, Corner, Quarter};
use super::level::{IconSize, SceneQuestion};
use super::words::{Asked, asked_quarters};
use crate::emoji::ConceptId;
use crate::random::Stream;

/// The most icons of one concept that are counted.
pub(super) const MOST: usize = 6;
/// The most other concepts that a scene shows beside its target.
pub(super) const OTHERS: usize = 3;

/// A scene before it has pictures and words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Composed {
    pub(super) asked: Asked,
    pub(super) size: IconSize,
    /// The icons of each picture.
    pub(super) pictures: Vec<Vec<(ConceptId, Corner)>>,
    /// The other concepts that it shows.
    pub(super) present: Vec<ConceptId>,
    pub(super) answer: Answer,
    /// What else can be asked of the same picture, with the concept that is right: more to learn for the same visual tokens.
    pub(super) more: Vec<(Asked, ConceptId)>,
}

/// What is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The target's name.
    Target,
    /// So many.
    Number(usize),
}

/// How many other concepts a scene of this question shows.
pub(super) fn others(question: SceneQuestion, stream: &mut Stream) -> usize {
    match question {
        SceneQuestion::Alone => 0,
        SceneQuestion::Place => 1 + stream.below(2),
        SceneQuestion::Beside | SceneQuestion::Added | SceneQuestion::Removed => 2,
        SceneQuestion::OddOneOut => 1,
        SceneQuestion::Count => 1 + stream.below(2),
    }
}

/// A scene about `target` among `others`, in a layout that is held out or not; none where none was found.
pub(super) fn compose(
    question: SceneQuestion,
    size: IconSize,
    target: ConceptId,
    others: &[ConceptId],
    held_out: bool,
    stream: &mut Stream,
) -> Option<Composed> {
    let scene = |asked: Asked, pictures: Vec<Vec<(ConceptId, Corner)>>| Composed {
        asked,
        size,
        pictures,
        present: others.to_vec(),
        answer: Answer::Target,
        more: Vec::new(),
    };
    match question {
        SceneQuestion::Alone => {
            let corners = layout::find(size, held_out, || Some(vec![vec![layout::anywhere(size, stream)]]))?;
            Some(scene(Asked::Alone, put(&corners, &[target])))
        }
        SceneQuestion::Place => {
            let quarters: Vec<Quarter> = asked_quarters().collect();
            let asked = quarters[stream.below(quarters.len())];
            let mut rest: Vec<Quarter> = Quarter::ALL.into_iter().filter(|quarter| *quarter != asked).collect();
            let mut draw = || {
                stream.shuffle(&mut rest);
                let filled: Vec<Quarter> = [asked].into_iter().chain(rest.iter().copied().take(others.len())).collect();
                Some(vec![layout::quarters(size, &filled, stream)?])
            };
            let corners = layout::find(size, held_out, &mut draw)?;
            let shown: Vec<ConceptId> = [target].into_iter().chain(others.iter().copied()).collect();
            let beside = rest.iter().zip(others).filter(|(quarter, _)| quarters.contains(quarter));
            let more = beside.map(|(quarter, other)| (Asked::In(*quarter), *other)).collect();
            Some(Composed { more, ..scene(Asked::In(asked), put(&corners, &shown)) })
        }
        SceneQuestion::Beside => {
            let [middle, far] = others else { return None };
            let corners = layout::find(size, held_out, || Some(vec![layout::row(size, stream)]))?;
            let (asked, shown) = match stream.below(2) {
                0 => (Asked::LeftOf(*middle), [target, *middle, *far]),
                _ => (Asked::RightOf(*middle), [*far, *middle, target]),
            };
            Some(scene(asked, put(&corners, &shown)))
        }
        SceneQuestion::OddOneOut => {
            let [many] = others else { return None };
            let count = 2 + stream.below(3);
            let corners = layout::find(size, held_out, || Some(vec![layout::grid(size, count + 1, stream)]))?;
            let shown: Vec<ConceptId> = [target].into_iter().chain(std::iter::repeat_n(*many, count)).collect();
            Some(scene(Asked::Besides(*many), put(&corners, &shown)))
        }
        SceneQuestion::Added | SceneQuestion::Removed => {
            let mut quarters = Quarter::ALL;
            let mut draw = || {
                stream.shuffle(&mut quarters);
                let more = layout::quarters(size, &quarters[..=others.len().min(OTHERS)], stream)?;
                Some(vec![more[1..].to_vec(), more])
            };
            let corners = layout::find(size, held_out, &mut draw)?;
            let shown: Vec<ConceptId> = [target].into_iter().chain(others.iter().copied()).collect();
            let [fewer, more] = corners.as_slice() else { return None };
            let mut pictures = put(std::slice::from_ref(fewer), others);
            pictures.extend(put(std::slice::from_ref(more), &shown));
            if question == SceneQuestion::Removed {
                pictures.reverse();
            }
            let asked = if question == SceneQuestion::Removed { Asked::Removed } else { Asked::Added };
            Some(scene(asked, pictures))
        }
        SceneQuestion::Count => {
            let count = 1 + stream.below(MOST);
            let corners =
                layout::find(size, held_out, || Some(vec![layout::grid(size, count + others.len(), stream)]))?;
            let shown: Vec<ConceptId> = std::iter::repeat_n(target, count).chain(others.iter().copied()).collect();
            let scene = scene(Asked::NumberOf(target), put(&corners, &shown));
            Some(Composed { answer: Answer::Number(count), ..scene })
        }
    }
}

/// The same concepts at the corners of each picture.
fn put(pictures: &[Vec<Corner>], shown: &[ConceptId]) -> Vec<Vec<(ConceptId, Corner)>> {
    pictures.iter().map(|corners| shown.iter().copied().zip(corners.iter().copied()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(question: SceneQuestion, seed: u64) -> Composed {
        let stream = &mut Stream::new(seed);
        let count = others(question, stream);
        let others: Vec<ConceptId> = (1..=count as u32).map(ConceptId).collect();
        let size = question.sizes()[seed as usize % question.sizes().len()];
        compose(question, size, ConceptId(0), &others, seed.is_multiple_of(2), stream).unwrap()
    }

    /// The answer can be read off the picture: the reading below knows nothing of how scenes are composed.
    #[test]
    fn the_answer_is_what_the_picture_shows() {
        for seed in 0..200 {
            for question in SceneQuestion::ALL {
                let scene = composed(question, seed);
                let last = scene.pictures.last().unwrap();
                let found: Vec<ConceptId> = match scene.asked {
                    Asked::Alone => last.iter().map(|icon| icon.0).collect(),
                    Asked::In(quarter) => in_quarter(last, scene.size, quarter),
                    Asked::LeftOf(anchor) | Asked::RightOf(anchor) => {
                        let at = last.iter().find(|icon| icon.0 == anchor).unwrap().1.left;
                        let left = matches!(scene.asked, Asked::LeftOf(_));
                        let beside = |icon: &&(ConceptId, Corner)| {
                            if left { icon.1.left < at } else { icon.1.left > at }
                        };
                        last.iter().filter(beside).map(|icon| icon.0).collect()
                    }
                    Asked::Besides(many) => {
                        assert!(last.iter().filter(|icon| icon.0 == many).count() >= 2);
                        last.iter().map(|icon| icon.0).filter(|concept| *concept != many).collect()
                    }
                    Asked::Added => missing(last, &scene.pictures[0]),
                    Asked::Removed => missing(&scene.pictures[0], last),
                    Asked::NumberOf(concept) => {
                        let count = last.iter().filter(|icon| icon.0 == concept).count();
                        assert_eq!(scene.answer, Answer::Number(count));
                        vec![concept]
                    }
                };
                assert_eq!(found, [ConceptId(0)], "{question:?} {scene:?}");
                for (asked, right) in &scene.more {
                    let Asked::In(quarter) = asked else { panic!("{asked:?}") };
                    assert_eq!(in_quarter(last, scene.size, *quarter), [*right], "{scene:?}");
                }
            }
        }
    }

    fn in_quarter(icons: &[(ConceptId, Corner)], size: IconSize, quarter: Quarter) -> Vec<ConceptId> {
        let (right, down) = match quarter {
            Quarter::UpLeft => (false, false),
            Quarter::UpRight => (true, false),
            Quarter::DownLeft => (false, true),
            Quarter::DownRight => (true, true),
        };
        let beyond = |corner: u32| corner + size.side() / 2 > super::super::level::CANVAS / 2;
        let inside = |icon: &&(ConceptId, Corner)| (beyond(icon.1.left), beyond(icon.1.top)) == (right, down);
        icons.iter().filter(inside).map(|icon| icon.0).collect()
    }

    fn missing(more: &[(ConceptId, Corner)], fewer: &[(ConceptId, Corner)]) -> Vec<ConceptId> {
        more.iter().filter(|icon| !fewer.contains(icon)).map(|icon| icon.0).collect()
    }

    #[test]
    fn layouts_are_on_the_side_that_was_asked_for() {
        for seed in 0..60 {
            for question in SceneQuestion::ALL {
                let scene = composed(question, seed);
                let corners = |icons: &Vec<(ConceptId, Corner)>| icons.iter().map(|icon| icon.1).collect::<Vec<_>>();
                let mut layout: Vec<Vec<Corner>> = scene.pictures.iter().map(corners).collect();
                if question == SceneQuestion::Removed {
                    layout.reverse();
                }
                assert_eq!(layout::is_held_out(scene.size, &layout), seed.is_multiple_of(2), "{question:?}");
            }
        }
    }
}

//! What happens in a clip, frame by frame, and what is right: drawn by lot, without pictures and words.

use super::picture::{CLIP_SIDE, SMALL};
use super::question::ClipQuestion;
use super::time::{MIDDLE, TICKS};
use crate::random::Stream;

/// Places along the way of a movement: pixels, half pixels of a side, 96ths of a turn.
pub(super) const WAY: u32 = 96;
/// Places that a clip goes on: one a frame, but for the two in the middle, which are the same. Less than half of the way, so that where a
/// clip begins says little of where it goes.
const GONE: u32 = TICKS - 2;
/// Places of a moving icon across its way, in pixels.
pub(super) const ACROSS: u32 = CLIP_SIDE - SMALL + 1;
/// Shares of the second icon that a blend of two is counted in: two a frame.
pub(super) const SHARES: u32 = 2 * (TICKS - 1);
/// Moments in which an icon may be there or not: so many frames each.
const MOMENT: u32 = 4;
const MOMENTS: u32 = TICKS / MOMENT;
/// The most icons, or appearances of one, that are counted.
pub(super) const MOST: u32 = 4;
/// Frames with which the first of two icons may be shown. As many on both sides of the middle, so that either is the longer one as often
/// as the other; none in the middle, so that the middle frame shows either as often.
const SWITCHES: [u32; 4] = [8, 12, 20, 24];
/// Frames in which the second of three icons is shown, at the middle.
const SECOND: std::ops::Range<u32> = 12..20;

/// What a frame shows. Icons are places in the clip's list of concepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Look {
    /// Nothing.
    Blank,
    /// An icon that fills the frame.
    Still(usize),
    /// The first icon, small, at one of [`WAY`] places, of which the first and the last are out of the frame.
    Moved { sideways: bool, along: u32, across: u32 },
    /// The first icon, of one of [`WAY`] sizes.
    Sized(u32),
    /// The first icon, small, above the middle of the frame, and all that turned clockwise by so many of [`WAY`] parts.
    Turned(u32),
    /// The first icon and so many [`SHARES`] of the second.
    Blended(u32),
    /// The first icon, small, in these of four cells: a bit each.
    Many(u32),
}

/// What happens in a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Film {
    /// The first icon moves, sideways or not, to the right or down (`forward`), or to the left or up. `from` is the leftmost or uppermost of
    /// the places that it goes through.
    Moves { sideways: bool, from: u32, across: u32, forward: bool },
    /// It grows (`forward`) or shrinks; `from` is the smallest size.
    Grows { from: u32, forward: bool },
    /// It goes round the middle of the frame, as the hand of a clock (`forward`) or the other way.
    Turns { from: u32, forward: bool },
    /// The first icon and then the second (`forward`), or the second and then the first; the earlier one for so many frames.
    Order { switch: u32, forward: bool },
    /// The first icon, the third, the second (`forward`), or the second, the third, the first; asked for the last of them or the first.
    FirstLast { forward: bool, last: bool },
    /// The first icon becomes the second (`forward`), or the second the first.
    Becomes { forward: bool },
    /// The first icon is there in these moments: a bit each. The wrong answer is `wrong`.
    Times { there: u32, wrong: u32 },
    /// The first icon comes into cell after cell: `cells` in this order, each at its moment. The wrong answer is `wrong`.
    Control { cells: [u32; MOST as usize], moments: [u32; MOST as usize], count: u32, wrong: u32 },
}

/// What is said of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Said {
    Left,
    Right,
    Up,
    Down,
    Grows,
    Shrinks,
    Clockwise,
    Counterclockwise,
    /// An icon.
    Name(usize),
    /// One icon and then another.
    Pair(usize, usize),
    /// So many.
    Number(u32),
}

impl Film {
    /// Draws a clip for a question.
    pub(super) fn draw(question: ClipQuestion, stream: &mut Stream) -> Self {
        let mut below = |bound: u32| stream.below(bound as usize) as u32;
        match question {
            ClipQuestion::Direction => Self::Moves {
                sideways: below(2) == 0,
                from: below(WAY - GONE),
                across: below(ACROSS),
                forward: below(2) == 0,
            },
            ClipQuestion::Grows => Self::Grows { from: below(WAY - GONE), forward: below(2) == 0 },
            ClipQuestion::Turns => Self::Turns { from: below(WAY - GONE), forward: below(2) == 0 },
            ClipQuestion::Order => {
                Self::Order { switch: SWITCHES[below(SWITCHES.len() as u32) as usize], forward: below(2) == 0 }
            }
            ClipQuestion::FirstLast => Self::FirstLast { forward: below(2) == 0, last: below(2) == 0 },
            ClipQuestion::Becomes => Self::Becomes { forward: below(2) == 0 },
            ClipQuestion::Times => {
                let count = 1 + below(MOST);
                let possible = apart(count);
                Self::Times { there: possible[below(possible.len() as u32) as usize], wrong: other(count, &mut below) }
            }
            ClipQuestion::Control => {
                let count = 1 + below(MOST);
                let wrong = other(count, &mut below);
                // All are there from the middle on, the first one from the beginning.
                let moments = std::array::from_fn(|icon| if icon == 0 { 0 } else { below(MIDDLE / MOMENT + 1) });
                let mut cells = std::array::from_fn(|cell| cell as u32);
                stream.shuffle(&mut cells);
                Self::Control { cells, moments, count, wrong }
            }
        }
    }

    /// What frame `tick` shows.
    pub(super) fn look(&self, tick: u32) -> Look {
        let gone = if tick < MIDDLE { tick } else { tick - 1 };
        let along = |from: u32, forward: bool| from + if forward { gone } else { GONE - gone };
        match *self {
            Self::Moves { sideways, from, across, forward } => {
                Look::Moved { sideways, along: along(from, forward), across }
            }
            Self::Grows { from, forward } => Look::Sized(along(from, forward)),
            Self::Turns { from, forward } => Look::Turned(along(from, forward)),
            Self::Order { switch, forward } => Look::Still(usize::from((tick < switch) != forward)),
            Self::FirstLast { .. } if SECOND.contains(&tick) => Look::Still(2),
            Self::FirstLast { forward, .. } => Look::Still(usize::from((tick < SECOND.start) != forward)),
            Self::Becomes { forward } => {
                // The two frames at the middle are the same, whichever way they are gone.
                let of_second = if tick == MIDDLE || tick + 1 == MIDDLE { SHARES / 2 } else { 2 * tick };
                Look::Blended(if forward { of_second } else { SHARES - of_second })
            }
            Self::Times { there, .. } if there >> (tick / MOMENT) & 1 == 1 => Look::Still(0),
            Self::Times { .. } => Look::Blank,
            Self::Control { cells, moments, count, .. } => {
                let icons = cells.into_iter().zip(moments).take(count as usize);
                let there = icons.filter(|(_, moment)| moment * MOMENT <= tick);
                Look::Many(there.fold(0, |cells, (cell, _)| cells | 1 << cell))
            }
        }
    }

    /// What else can be asked of the same frames: more to learn for the same visual tokens.
    pub(super) fn more(&self) -> Vec<Self> {
        match *self {
            Self::Order { forward, .. } => [false, true].map(|last| Self::FirstLast { forward, last }).into(),
            Self::FirstLast { forward, last } => vec![Self::FirstLast { forward, last: !last }],
            _ => Vec::new(),
        }
    }

    /// What is right, and what is not.
    pub(super) fn answers(&self) -> [Said; 2] {
        let (answers, first) = match *self {
            Self::Moves { sideways: true, forward, .. } => ([Said::Right, Said::Left], forward),
            Self::Moves { sideways: false, forward, .. } => ([Said::Down, Said::Up], forward),
            Self::Grows { forward, .. } => ([Said::Grows, Said::Shrinks], forward),
            Self::Turns { forward, .. } => ([Said::Clockwise, Said::Counterclockwise], forward),
            Self::Order { forward, .. } | Self::Becomes { forward } => ([Said::Pair(0, 1), Said::Pair(1, 0)], forward),
            Self::FirstLast { forward, last } => ([Said::Name(0), Said::Name(1)], forward != last),
            Self::Times { there, wrong } => ([there.count_ones(), wrong].map(Said::Number), true),
            Self::Control { count, wrong, .. } => ([count, wrong].map(Said::Number), true),
        };
        let [a, b] = answers;
        if first { [a, b] } else { [b, a] }
    }
}

/// A number that is counted, but not this one.
fn other(count: u32, below: &mut impl FnMut(u32) -> u32) -> u32 {
    let other = 1 + below(MOST - 1);
    if other < count { other } else { other + 1 }
}

/// Sets of so many moments, no two of them beside each other: a bit each.
fn apart(count: u32) -> Vec<u32> {
    (0..1 << MOMENTS).filter(|there: &u32| there.count_ones() == count && there & (there << 1) == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::super::time::{FRAMES, shown};
    use super::*;
    use std::collections::BTreeMap;

    /// Every clip of a question that may be drawn, each as often as every other.
    fn all(question: ClipQuestion) -> Vec<Film> {
        let both = [true, false];
        let way = |film: fn(u32, bool) -> Film| {
            (0..WAY - GONE).flat_map(move |from| both.map(|forward| film(from, forward))).collect::<Vec<_>>()
        };
        match question {
            ClipQuestion::Direction => both
                .into_iter()
                .flat_map(|sideways| {
                    (0..WAY - GONE).flat_map(move |from| both.map(|forward| (sideways, from, forward)))
                })
                .flat_map(|(sideways, from, forward)| {
                    (0..ACROSS).map(move |across| Film::Moves { sideways, from, across, forward })
                })
                .collect(),
            ClipQuestion::Grows => way(|from, forward| Film::Grows { from, forward }),
            ClipQuestion::Turns => way(|from, forward| Film::Turns { from, forward }),
            ClipQuestion::Order => {
                SWITCHES.into_iter().flat_map(|switch| both.map(|forward| Film::Order { switch, forward })).collect()
            }
            ClipQuestion::FirstLast => {
                both.into_iter().flat_map(|last| both.map(|forward| Film::FirstLast { forward, last })).collect()
            }
            ClipQuestion::Becomes => both.map(|forward| Film::Becomes { forward }).into(),
            ClipQuestion::Times | ClipQuestion::Control => Vec::new(),
        }
    }

    /// What is asked: which answers are possible, and which of first and last. Who is asked knows it.
    type Asked = (Vec<Said>, bool);

    fn asked(film: &Film) -> Asked {
        let mut answers = film.answers().to_vec();
        answers.sort_unstable();
        (answers, matches!(film, Film::FirstLast { last: true, .. }))
    }

    /// How often each answer is right, by what is asked and by what one who sees `seen` of a clip can tell.
    fn by_sight<T: Ord>(films: &[Film], seen: impl Fn(&Film) -> T) -> BTreeMap<(Asked, T), Vec<usize>> {
        let mut counts: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for film in films {
            let (asked, right) = (asked(film), film.answers()[0]);
            let place = asked.0.iter().position(|answer| *answer == right).unwrap();
            counts.entry((asked, seen(film))).or_insert_with(|| vec![0; 2])[place] += 1;
        }
        counts
    }

    fn is_even<K>(counts: &BTreeMap<K, Vec<usize>>) -> bool {
        counts.values().all(|counts| counts[0] == counts[1])
    }

    const ORDERED: [ClipQuestion; 6] = [
        ClipQuestion::Direction,
        ClipQuestion::Grows,
        ClipQuestion::Turns,
        ClipQuestion::Order,
        ClipQuestion::FirstLast,
        ClipQuestion::Becomes,
    ];

    /// Over all clips of a question, whatever the middle frame shows, both answers are right equally often.
    #[test]
    fn the_middle_frame_says_nothing() {
        for question in ORDERED {
            assert!(question.needs_order());
            assert!(is_even(&by_sight(&all(question), |film| film.look(MIDDLE))), "{question:?}");
        }
    }

    /// The same of all frames that are shown, without their order; and the other way round: in their order they say everything.
    #[test]
    fn frames_without_their_order_say_nothing() {
        for question in ORDERED {
            let films = all(question);
            for frames in FRAMES {
                let in_order = |film: &Film| shown(frames).into_iter().map(|tick| film.look(tick)).collect::<Vec<_>>();
                let shuffled = |film: &Film| {
                    let mut looks = in_order(film);
                    looks.sort_unstable();
                    looks
                };
                assert!(is_even(&by_sight(&films, shuffled)), "{question:?} in {frames} frames");
                let told = by_sight(&films, in_order);
                let certain = told.values().filter(|counts| counts.contains(&0)).count();
                assert_eq!(certain, if frames == 1 { 0 } else { told.len() }, "{question:?} in {frames} frames");
            }
        }
    }

    /// Of any of the frames that are shown, where its place in the clip is not told: whatever it shows, both answers are right equally often.
    #[test]
    fn no_frame_says_anything_by_what_it_shows() {
        for question in ORDERED {
            let films = all(question);
            for frames in FRAMES {
                let mut counts: BTreeMap<_, Vec<usize>> = BTreeMap::new();
                for tick in shown(frames) {
                    for (sight, right) in by_sight(&films, |film| film.look(tick)) {
                        let sum = counts.entry(sight).or_insert_with(|| vec![0; 2]);
                        sum.iter_mut().zip(right).for_each(|(sum, more)| *sum += more);
                    }
                }
                assert!(is_even(&counts), "{question:?} in {frames} frames");
            }
        }
    }

    /// Where a movement begins says little: for more than half of its clips, some clip with the other answer begins there too.
    #[test]
    fn beginnings_overlap() {
        for question in [ClipQuestion::Direction, ClipQuestion::Grows, ClipQuestion::Turns] {
            let films = all(question);
            let told = by_sight(&films, |film| film.look(0));
            let open: usize = told.values().filter(|right| !right.contains(&0)).flatten().sum();
            assert!(open * 2 > films.len(), "{question:?}: {open} of {}", films.len());
        }
    }

    /// Why this is so: a clip that is played backwards is a clip with the other answer.
    #[test]
    fn backwards_the_other_answer_is_right() {
        for question in ORDERED {
            // Where an icon is across its way changes nothing.
            let films: Vec<Film> =
                all(question).into_iter().filter(|film| !matches!(film, Film::Moves { across: 1.., .. })).collect();
            for film in &films {
                let looks: Vec<Look> = (0..TICKS).map(|tick| film.look(tick)).collect();
                let backwards = |other: &&Film| (0..TICKS).rev().map(|tick| other.look(tick)).eq(looks.iter().copied());
                let found: Vec<&Film> =
                    films.iter().filter(|other| asked(other) == asked(film)).filter(backwards).collect();
                let [back] = found.as_slice() else { panic!("{film:?}: {} clips backwards", found.len()) };
                assert_eq!(back.answers()[0], film.answers()[1], "{film:?}");
            }
        }
    }

    /// Drawn clips are among all of them; both answers come, and where the wrong one is a number, all others.
    #[test]
    fn what_is_drawn_is_one_of_them() {
        for question in ClipQuestion::ALL {
            let films = all(question);
            let mut answers: BTreeMap<Said, usize> = BTreeMap::new();
            for seed in 0..400 {
                let film = Film::draw(question, &mut Stream::new(seed));
                assert!(films.is_empty() || films.contains(&film), "{film:?}");
                *answers.entry(film.answers()[0]).or_default() += 1;
                assert_ne!(film.answers()[0], film.answers()[1]);
            }
            let expected = match question {
                ClipQuestion::Direction | ClipQuestion::Times | ClipQuestion::Control => 4,
                _ => 2,
            };
            assert_eq!(answers.len(), expected, "{question:?}: {answers:?}");
            // Four standard deviations.
            let share = 400.0 / expected as f64;
            assert!(answers.values().all(|count| (*count as f64 - share).abs() < 4.0 * share.sqrt()), "{answers:?}");
        }
    }

    /// By counting what the frames show, which knows nothing of how clips are drawn.
    #[test]
    fn numbers_are_what_the_frames_show() {
        for seed in 0..200 {
            let film = Film::draw(ClipQuestion::Times, &mut Stream::new(seed));
            let looks: Vec<Look> = (0..TICKS).map(|tick| film.look(tick)).collect();
            let begins = |tick: usize| looks[tick] == Look::Still(0) && (tick == 0 || looks[tick - 1] == Look::Blank);
            let count = (0..TICKS as usize).filter(|tick| begins(*tick)).count() as u32;
            assert_eq!(film.answers()[0], Said::Number(count), "{film:?}");
            // Eight frames are enough.
            let looks: Vec<Look> = shown(8).into_iter().map(|tick| film.look(tick)).collect();
            assert_eq!(looks.iter().filter(|look| **look == Look::Still(0)).count() as u32, count, "{film:?}");

            let film = Film::draw(ClipQuestion::Control, &mut Stream::new(seed));
            let count = |tick| match film.look(tick) {
                Look::Many(cells) => cells.count_ones(),
                other => panic!("{other:?}"),
            };
            assert_eq!(film.answers()[0], Said::Number(count(MIDDLE)));
            assert!((MIDDLE..TICKS).all(|tick| count(tick) == count(MIDDLE)) && count(0) >= 1);
        }
    }

    /// What else is asked of the same frames has the answer that they show.
    #[test]
    fn more_is_asked_of_the_same_frames() {
        for seed in 0..40 {
            for question in [ClipQuestion::Order, ClipQuestion::FirstLast] {
                let film = Film::draw(question, &mut Stream::new(seed));
                let ends = [0, TICKS - 1].map(|tick| match film.look(tick) {
                    Look::Still(icon) => Said::Name(icon),
                    other => panic!("{other:?}"),
                });
                let more = film.more();
                assert_eq!(more.len(), if question == ClipQuestion::Order { 2 } else { 1 });
                for asked in more.iter().chain(Some(&film)) {
                    if let Film::FirstLast { last, .. } = asked {
                        assert_eq!(asked.answers()[0], ends[usize::from(*last)], "{film:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn appearances_are_apart() {
        // Choosing k of n - k + 1 gaps: 8, 21, 20, 5.
        assert_eq!([1, 2, 3, 4].map(|count| apart(count).len()), [8, 21, 20, 5]);
    }
}

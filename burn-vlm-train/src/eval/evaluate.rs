//! Asks a model everything that a benchmark wants to know.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm_data::conversation::{IMAGE_PLACEHOLDER, Turn, VIDEO_PLACEHOLDER, count_images, count_videos};
use burn_vlm_data::sample::MediaKey;

use super::rows::{Kept, Row, Scorer, Shown, shown};
use super::scores::{Written, first_tokens, generate, likelihoods};
use super::{Ask, Benchmark, BenchmarkError, Prediction, Question, Reply};
use crate::error::Result;

/// How far the asking is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Questions with a reply.
    pub done: usize,
    /// All questions.
    pub total: usize,
    /// Tokens of the answers that were written so far; answers that are given and scored have none.
    pub written: usize,
}

/// Questions whose scores are handed on together.
const AT_A_TIME: usize = 1024;

/// What a benchmark asks, in words: how many questions, and how many of them show a picture.
pub fn asked(benchmark: &dyn Benchmark) -> String {
    let questions = benchmark.questions();
    let shown = questions.iter().filter(|question| !question.media.is_empty()).count();
    format!("{}: {} questions, {shown} of them with a picture", benchmark.name(), questions.len())
}

/// Asks a model all questions and scores what it replies. `progress` is told how far it is.
///
/// # Errors
/// As [`ask`].
pub fn evaluate<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    benchmark: &dyn Benchmark,
    mut progress: impl FnMut(Progress),
) -> Result<Vec<Prediction>> {
    benchmark.predictions(&ask_all(scorer, (benchmark.name(), benchmark.questions()), &mut progress)?)
}

/// Asks a model all of these questions; the replies are in their order.
///
/// # Errors
/// As [`ask`].
pub(super) fn ask_all<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    (benchmark, questions): (&str, &[Question]),
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Reply>> {
    let numbers: Vec<usize> = (0..questions.len()).collect();
    let mut replies: Vec<Option<Reply>> = vec![None; numbers.len()];
    let mut keep = |number: usize, reply| {
        replies[number] = Some(reply);
        Ok(())
    };
    ask(scorer, (benchmark, questions), &numbers, &mut keep, progress)?;
    let lost = |number: usize| {
        let message = format!("{}: no reply", questions[number].id);
        BenchmarkError::Replies { name: benchmark.to_owned(), message }.into()
    };
    replies.into_iter().enumerate().map(|(number, reply)| reply.ok_or_else(|| lost(number))).collect()
}

/// Asks a model some of a benchmark's questions, by their numbers, and hands each reply on as soon as it is there. `progress` is told how far
/// it is.
///
/// What questions begin with alike (the picture, then the question of several answers) runs once, and an answer that several questions
/// ask for after the same turns and pictures is scored once. Written answers take turns in one batch. A reply does not depend on what
/// else is asked.
///
/// # Errors
/// A question that cannot be encoded, whose pictures cannot be read, or that does not fit the model; whatever `reply` returns.
pub fn ask<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    (benchmark, questions): (&str, &[Question]),
    numbers: &[usize],
    reply: &mut dyn FnMut(usize, Reply) -> Result<()>,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let suited: BTreeMap<usize, Cow<'_, Question>> =
        numbers.iter().map(|number| (*number, scorer.suited(&questions[*number]))).collect();
    let questions = &suited;
    let mut wanted = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let question = &questions[&number];
        let placed = count_images(&question.turns) + count_videos(&question.turns);
        let given = question.media.len();
        if placed != given {
            let message = format!("{}: {placed} placeholders for {given} pictures and videos", question.id);
            return Err(BenchmarkError::Setting { name: benchmark.to_owned(), message }.into());
        }
        wanted.push((number, shown(benchmark, question)?));
    }
    // Questions about the same pictures stand together, in the order of the files that hold them.
    let mut places: HashMap<Vec<MediaKey>, usize> = HashMap::new();
    wanted.sort_by_cached_key(|(_, shown)| {
        let next = places.len();
        *places.entry(shown.iter().map(|one| one.key).collect()).or_insert(next)
    });
    let (written, scored): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|(number, _)| matches!(questions[number].ask, Ask::Generate { .. }));
    let (total, mut done, mut written_tokens) = (numbers.len(), 0, 0);
    let mut kept = Kept::default();
    for portion in scored.chunks(AT_A_TIME) {
        let mut asked = Asked::default();
        for (number, shown) in portion {
            asked.add(*number, &questions[number].turns, shown.clone(), &questions[number].ask);
        }
        let rows = asked.likelihood.len() + asked.first.len();
        let mut rows_done = 0;
        let mut told = |more: usize| {
            rows_done += more;
            progress(Progress { done: done + (portion.len() * rows_done) / rows.max(1), total, written: 0 });
        };
        let scores = likelihoods(scorer, &asked.likelihood, &mut kept, &mut told)?;
        let rows: Vec<(Row, &[String])> = asked.first.iter().map(|(_, row, answers)| (row.clone(), *answers)).collect();
        let logits = first_tokens(scorer, &rows, &mut kept, &mut told)?;
        for (number, rows) in asked.rows_of {
            reply(number, Reply::Scores(rows.into_iter().map(|row| scores[row]).collect()))?;
        }
        for ((number, ..), logits) in asked.first.iter().zip(logits) {
            reply(*number, Reply::Scores(logits))?;
        }
        done += portion.len();
        progress(Progress { done, total, written: 0 });
    }
    let row = |(number, shown): (usize, Vec<Shown>)| {
        let question = &questions[&number];
        let most = match question.ask {
            Ask::Generate { max_new_tokens } => max_new_tokens,
            _ => 0,
        };
        (number, (Row { shown, turns: question.turns.clone(), whole: false }, most))
    };
    let (numbers, rows): (Vec<usize>, Vec<(Row, usize)>) = written.into_iter().map(row).unzip();
    generate(scorer, &rows, &mut kept, &mut |row, Written { text, tokens }| {
        reply(numbers[row], Reply::Text(text))?;
        done += 1;
        written_tokens += tokens;
        progress(Progress { done, total, written: written_tokens });
        Ok(())
    })
}

/// What is asked, by kind.
#[derive(Default)]
struct Asked<'a> {
    /// Distinct rows whose answers are scored.
    likelihood: Vec<Row>,
    /// Where each distinct row stands, by pictures, turns and answer.
    known: HashMap<(Vec<MediaKey>, &'a [Turn], &'a str), usize>,
    /// By question, its rows.
    rows_of: Vec<(usize, Vec<usize>)>,
    first: Vec<(usize, Row, &'a [String])>,
}

impl<'a> Asked<'a> {
    fn add(&mut self, number: usize, turns: &'a [Turn], shown: Vec<Shown>, ask: &'a Ask) {
        let with = |answer: &str| {
            let mut turns = turns.to_vec();
            turns.push(Turn::assistant(answer));
            turns
        };
        match ask {
            Ask::Likelihood { answers } => {
                let keys: Vec<MediaKey> = shown.iter().map(|one| one.key).collect();
                let mut rows = Vec::with_capacity(answers.len());
                for answer in answers {
                    let rows_so_far = &mut self.likelihood;
                    let row = *self.known.entry((keys.clone(), turns, answer)).or_insert_with(|| {
                        rows_so_far.push(Row { shown: shown.clone(), turns: with(answer), whole: false });
                        rows_so_far.len() - 1
                    });
                    rows.push(row);
                }
                self.rows_of.push((number, rows));
            }
            Ask::FirstToken { answers } => {
                let first = answers.first().map_or("", String::as_str);
                self.first.push((number, Row { shown, turns: with(first), whole: false }, answers));
            }
            Ask::Conversation { turns: said, answer } => {
                let place = |one: &Shown| if one.is_video { VIDEO_PLACEHOLDER } else { IMAGE_PLACEHOLDER };
                let pictures: String = shown.iter().map(|one| format!("{}\n", place(one))).collect();
                let row = |said: &String| Row {
                    shown: shown.clone(),
                    turns: vec![Turn::user(format!("{pictures}{said}")), Turn::assistant(answer)],
                    whole: true,
                };
                let first = self.likelihood.len();
                self.likelihood.extend(said.iter().map(row));
                self.rows_of.push((number, (first..self.likelihood.len()).collect()));
            }
            // Written answers take turns, see `ask`.
            Ask::Generate { .. } => {}
        }
    }
}

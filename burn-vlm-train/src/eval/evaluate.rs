//! Asks a model everything that a benchmark wants to know.

use std::collections::{BTreeMap, HashMap};

use burn_vlm::connector::Projector;
use burn_vlm::vision::VisionTower;
use burn_vlm_data::conversation::{Turn, count_images};
use burn_vlm_data::sample::MediaKey;

use super::rows::{Kept, Row, Scorer, Shown, first_tokens, generate, likelihoods, shown};
use super::{Ask, Benchmark, BenchmarkError, Prediction, Reply};
use crate::error::Result;

/// What a benchmark asks, in words: how many questions, and how many of them show a picture.
pub fn asked(benchmark: &dyn Benchmark) -> String {
    let questions = benchmark.questions();
    let shown = questions.iter().filter(|question| !question.media.is_empty()).count();
    format!("{}: {} questions, {shown} of them with a picture", benchmark.name(), questions.len())
}

/// Asks a model all questions and scores what it replies. `progress` is told how many answers are done, and of how many.
///
/// Questions are batched by length, and an answer that several questions ask for after the same turns and pictures is scored
/// once. A reply does not depend on what else is asked.
///
/// # Errors
/// A question that cannot be encoded, whose pictures cannot be read, or that does not fit the model.
pub fn evaluate<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    benchmark: &dyn Benchmark,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Prediction>> {
    let questions = benchmark.questions();
    let mut asked = Asked::default();
    for (number, question) in questions.iter().enumerate() {
        let (placed, given) = (count_images(&question.turns), question.media.len());
        if placed != given {
            let message = format!("{}: {placed} placeholders for {given} pictures", question.id);
            return Err(BenchmarkError::Setting { name: benchmark.name().to_owned(), message }.into());
        }
        let shown = shown(benchmark.name(), question)?;
        asked.add(number, &question.turns, shown, &question.ask);
    }
    let total = asked.likelihood.len() + asked.first.len() + asked.free.values().map(Vec::len).sum::<usize>();
    let mut done = 0;
    let mut told = |more: usize| {
        done += more;
        progress(done, total);
    };
    let mut kept = Kept::default();
    let mut replies: Vec<Option<Reply>> = vec![None; questions.len()];
    let scores = likelihoods(scorer, &asked.likelihood, &mut kept, &mut told)?;
    for (number, rows) in asked.rows_of {
        replies[number] = Some(Reply::Scores(rows.into_iter().map(|row| scores[row]).collect()));
    }
    let rows: Vec<(Row, &[String])> = asked.first.iter().map(|(_, row, answers)| (row.clone(), *answers)).collect();
    let logits = first_tokens(scorer, &rows, &mut kept, &mut told)?;
    for ((number, ..), logits) in asked.first.iter().zip(logits) {
        replies[*number] = Some(Reply::Scores(logits));
    }
    for (max_new_tokens, rows) in asked.free {
        let (numbers, rows): (Vec<usize>, Vec<Row>) = rows.into_iter().unzip();
        let texts = generate(scorer, &rows, max_new_tokens, &mut kept, &mut told)?;
        for (number, text) in numbers.into_iter().zip(texts) {
            replies[number] = Some(Reply::Text(text));
        }
    }
    let replies: Vec<Reply> = replies.into_iter().flatten().collect();
    benchmark.predictions(&replies)
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
    /// By the most tokens of a reply.
    free: BTreeMap<usize, Vec<(usize, Row)>>,
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
                        rows_so_far.push(Row { shown: shown.clone(), turns: with(answer) });
                        rows_so_far.len() - 1
                    });
                    rows.push(row);
                }
                self.rows_of.push((number, rows));
            }
            Ask::FirstToken { answers } => {
                let first = answers.first().map_or("", String::as_str);
                self.first.push((number, Row { shown, turns: with(first) }, answers));
            }
            Ask::Generate { max_new_tokens } => {
                let row = Row { shown, turns: turns.to_vec() };
                self.free.entry(*max_new_tokens).or_default().push((number, row));
            }
        }
    }
}

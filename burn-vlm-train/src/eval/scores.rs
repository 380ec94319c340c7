//! What a model answers: likelihoods of given answers, the first token's logits, answers that it writes.
//!
//! Unusual here:
//! - what rows begin with alike runs once ([`PrefixTree`]): the picture for all questions about it, the question for all its answers,
//!   and the head for all tokens that may follow one place;
//! - the last token of an answer is never run, since nothing follows it.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::Tensor;
use burn_vlm::connector::Projector;
use burn_vlm::generate::{
    ContinuousDecoding, DecodingLimits, Finished, GenerationConfig, PassLimits, PassNode, PrefixNode, PrefixPass,
    PrefixTree, PrefixWork, PromptPart, Request,
};
use burn_vlm::language::LanguageModel;
use burn_vlm::vision::VisionTower;
use burn_vlm_data::conversation::Turn;
use burn_vlm_data::encode::{Encoded, IGNORE};
use rayon::prelude::*;

use super::prompts::{Prompt, Prompts, Routes};
use super::rows::{Counts, Kept, Row, Scorer, keys};
use crate::error::{Result, TrainError};
use crate::objective::int_tensor;

/// Tokens of the rows that are encoded at a time: they and their symbols take 20 bytes each.
const TOKENS_AT_A_TIME: usize = 1 << 22;

/// Rows that are encoded before their tokens are counted.
const ROWS_AT_A_TIME: usize = 2048;

/// Parts of rows that run in the place of one row.
const PARTS_OF_A_ROW: usize = 4;

/// Places whose next token is asked for that wait for the head: it reads all of its weight at every call.
const PLACES_AT_A_TIME: usize = 2048;

/// Encodes rows, as many at a time as memory should hold, and hands them on with the number of the first.
fn in_portions<'r, T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    rows: &[&'r Row],
    encode: impl Fn(&Row, &[usize]) -> Result<Encoded> + Sync,
    mut each: impl FnMut(usize, Vec<Prompt<'r>>) -> Result<()>,
) -> Result<()> {
    let (mut prompts, mut tokens, mut first) = (Vec::new(), 0, 0);
    for chunk in rows.chunks(ROWS_AT_A_TIME) {
        let counts: Counts = scorer.counts(chunk.iter().map(|row| row.shown.as_slice()))?;
        let prompt = |row: &&'r Row| {
            let counts = counts[&keys(&row.shown)].clone();
            let encoded = encode(row, &counts)?;
            // Where the answer begins; how much of it may follow is the model's to tell.
            let prompt = encoded.labels.iter().position(|label| *label != IGNORE).unwrap_or(encoded.ids.len());
            check_length(scorer, row, prompt, counts.iter().sum())?;
            Ok(Prompt { encoded, shown: &row.shown, counts })
        };
        let encoded: Vec<Prompt<'r>> = chunk.par_iter().map(prompt).collect::<Result<_>>()?;
        tokens += encoded.iter().map(|prompt| prompt.encoded.ids.len()).sum::<usize>();
        prompts.extend(encoded);
        if tokens >= TOKENS_AT_A_TIME {
            let portion = std::mem::take(&mut prompts);
            tokens = 0;
            first += portion.len();
            each(first - portion.len(), portion)?;
        }
    }
    match prompts.is_empty() {
        true => Ok(()),
        false => each(first, prompts),
    }
}

/// Most characters of a question that an error shows.
const SHOWN: usize = 80;

/// Whether what comes before a row's answer fits into the model's positions; the error names the row.
fn check_length<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    row: &Row,
    tokens: usize,
    visual: usize,
) -> Result<()> {
    let max = scorer.model.language_model.config().max_position_embeddings();
    if tokens <= max {
        return Ok(());
    }
    let text = || row.turns.first().map_or("", |turn| turn.text.as_str()).chars().take(SHOWN).collect::<String>();
    let question = row.shown.iter().find_map(|one| one.of.as_deref().map(str::to_owned)).unwrap_or_else(text);
    let help = match row.shown.iter().any(|one| one.is_video || one.pictures.len() > 1) || row.shown.len() > 1 {
        true => "show fewer frames (--frames) or pictures",
        false => "shorten its text",
    };
    Err(TrainError::Data(format!(
        "{question}: it has {tokens} tokens before its answer, {visual} of them visual, and the model reads {max} (max_position_embeddings): {help}"
    )))
}

/// Where the answer of a row is: the place before each of its tokens, and the token.
pub(super) fn targets(encoded: &Encoded) -> Vec<(usize, i64)> {
    let labels = encoded.labels.iter().copied().enumerate().skip(1);
    labels.filter(|(_, label)| *label != IGNORE).map(|(at, label)| (at - 1, label)).collect()
}

/// Where the text of a row is: the place before each of its tokens but for the first, and the token.
fn text_targets(encoded: &Encoded, visual: &[u32]) -> Vec<(usize, i64)> {
    let ids = encoded.ids.iter().copied().enumerate().skip(1);
    ids.filter(|(_, id)| !visual.contains(id)).map(|(at, id)| (at - 1, i64::from(id))).collect()
}

/// As many tokens as `batch` of the longest rows have; parts of rows may be more, but not so many that their masks and copies count.
fn limits<T: VisionTower, P: Projector>(scorer: &Scorer<T, P>, symbols: &[Vec<u64>]) -> PassLimits {
    let longest = symbols.iter().map(Vec::len).max().unwrap_or(0);
    PassLimits { rows: PARTS_OF_A_ROW * scorer.batch, tokens: scorer.batch * longest, keep: false }
}

/// Mean log-likelihood of the answer's tokens of each row (the end-of-turn token is one of them), or of all of its text, natural
/// logarithm.
///
/// # Errors
/// A row that cannot be encoded or does not fit the model.
pub(super) fn likelihoods<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    rows: &[Row],
    kept: &mut Kept,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<f64>> {
    let mut result = vec![0.0; rows.len()];
    let visual = scorer.visual_ids();
    let rows: Vec<&Row> = rows.iter().collect();
    in_portions(
        scorer,
        &rows,
        |row, counts| scorer.encode(&row.turns, counts),
        |first, portion| {
            let of = |(row, prompt): (&&Row, &Prompt<'_>)| match row.whole {
                true => text_targets(&prompt.encoded, &visual),
                false => targets(&prompt.encoded),
            };
            let targets: Vec<Vec<(usize, i64)>> = rows[first..].iter().zip(&portion).map(of).collect();
            let prompts = Prompts::new(scorer, kept, Routes::ByScope, portion);
            let symbols = prompts.symbols(|row| targets[row].last().map_or(0, |(at, _)| at + 1));
            let tree = PrefixTree::new(&symbols);
            let sums = vec![0.0; targets.len()];
            let model = &scorer.model.language_model;
            let (hidden, places) = (Vec::new(), Vec::new());
            let mut work = Likelihoods { model, prompts, targets, sums, hidden, places, progress };
            (work.progress)(symbols.iter().filter(|symbols| symbols.is_empty()).count());
            model.walk(&tree, limits(scorer, &symbols), &mut work)?;
            work.score();
            for (at, (sum, targets)) in work.sums.iter().zip(&work.targets).enumerate() {
                result[first + at] = sum / targets.len().max(1) as f64;
            }
            Ok(())
        },
    )?;
    Ok(result)
}

/// Rows whose answers are scored.
struct Likelihoods<'s, 'p, T: VisionTower, P: Projector> {
    model: &'s LanguageModel,
    prompts: Prompts<'s, T, P>,
    targets: Vec<Vec<(usize, i64)>>,
    sums: Vec<f64>,
    /// Hidden states of the places that wait for the head, `[places, hidden]` of each pass.
    hidden: Vec<Tensor<2>>,
    /// Of each of these places the tokens that may follow, and the rows that ask for each.
    places: Vec<BTreeMap<i64, Vec<usize>>>,
    progress: &'p mut dyn FnMut(usize),
}

impl<T: VisionTower, P: Projector> Likelihoods<'_, '_, T, P> {
    /// Scores the places that wait.
    fn score(&mut self) {
        if self.places.is_empty() {
            return;
        }
        let (hidden, places) = (std::mem::take(&mut self.hidden), std::mem::take(&mut self.places));
        for (log_likelihood, rows) in log_likelihoods(self.model, Tensor::cat(hidden, 0), &places) {
            rows.iter().for_each(|row| self.sums[*row] += log_likelihood);
        }
    }
}

impl<T: VisionTower, P: Projector> PrefixWork for Likelihoods<'_, '_, T, P> {
    type Error = TrainError;

    fn embed(&mut self, parts: &[PromptPart], tokens: usize) -> Result<Tensor<3>> {
        self.prompts.embed(parts, tokens)
    }

    fn read(&mut self, tree: &PrefixTree, pass: PrefixPass<'_>) -> Result<()> {
        let [rows, tokens, width] = pass.hidden.dims();
        // By place, the tokens that may follow it, and the rows that ask for each.
        let mut places: BTreeMap<i64, BTreeMap<i64, Vec<usize>>> = BTreeMap::new();
        for PassNode { node, row, first } in pass.nodes {
            let first = row * tokens + first;
            for &row in tree.rows(node) {
                for &(place, target) in self.targets[row].iter().filter(|(place, _)| within(node, *place)) {
                    let place = (first + place - node.start) as i64;
                    places.entry(place).or_default().entry(target).or_default().push(row);
                }
            }
        }
        if !places.is_empty() {
            let (at, targets): (Vec<i64>, Vec<_>) = places.into_iter().unzip();
            let at = int_tensor(&at, &pass.hidden.device());
            self.hidden.push(pass.hidden.reshape([rows * tokens, width]).select(0, at));
            self.places.extend(targets);
        }
        if self.places.len() >= PLACES_AT_A_TIME {
            self.score();
        }
        (self.progress)(pass.nodes.iter().map(|place| tree.ending(place.node).len()).sum());
        Ok(())
    }
}

fn within(node: &PrefixNode, place: usize) -> bool {
    (node.start..node.end).contains(&place)
}

/// Log-likelihood of every token that may follow a place. All tokens of a place share its normalisation: the head runs once, for the
/// first, and the others differ from it by their logits.
///
/// # Shapes
/// - `hidden`: `[places, hidden]`
fn log_likelihoods<'a>(
    model: &LanguageModel,
    hidden: Tensor<2>,
    places: &'a [BTreeMap<i64, Vec<usize>>],
) -> Vec<(f64, &'a Vec<usize>)> {
    let device = hidden.device();
    let [count, width] = hidden.dims();
    let all: Vec<i64> = (0..count as i64).collect();
    let firsts: Vec<i64> = places.iter().filter_map(|targets| targets.keys().next().copied()).collect();
    let losses = model.target_losses(
        hidden.clone().reshape([1, count, width]),
        int_tensor(&all, &device),
        int_tensor(&firsts, &device),
    );
    let losses: Vec<f32> = losses.into_data().iter::<f32>().collect();
    let several: Vec<(i64, &BTreeMap<i64, Vec<usize>>)> =
        (0i64..).zip(places).filter(|(_, targets)| targets.len() > 1).collect();
    let mut ids: Vec<i64> = several.iter().flat_map(|(_, targets)| targets.keys().copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    let logits: Vec<f32> = match several.is_empty() {
        true => Vec::new(),
        false => {
            let at: Vec<i64> = several.iter().map(|(at, _)| *at).collect();
            let hidden = hidden.select(0, int_tensor(&at, &device));
            model.logits_of(hidden, int_tensor(&ids, &device)).into_data().iter::<f32>().collect()
        }
    };
    let mut rows_of_logits = logits.chunks(ids.len().max(1));
    let mut result = Vec::new();
    for (targets, loss) in places.iter().zip(losses) {
        let mut targets = targets.iter();
        let Some((first, rows)) = targets.next() else { continue };
        result.push((-f64::from(loss), rows));
        if targets.len() == 0 {
            continue;
        }
        let logits = rows_of_logits.next().unwrap_or(&[]);
        let logit = |id: &i64| ids.binary_search(id).ok().and_then(|at| logits.get(at)).map_or(f64::NAN, |&x| x.into());
        result.extend(targets.map(|(id, rows)| (logit(id) - logit(first) - f64::from(loss), rows)));
    }
    result
}

/// Logits of each answer's first token where the answer begins. A row has its answers' first one as its last turn.
///
/// # Errors
/// A row that cannot be encoded; answers without a token, or two that begin with the same.
pub(super) fn first_tokens<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    rows: &[(Row, &[String])],
    kept: &mut Kept,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Vec<f64>>> {
    let mut tokens: HashMap<&str, i64> = HashMap::new();
    for answer in rows.iter().flat_map(|(_, answers)| answers.iter()) {
        if !tokens.contains_key(answer.as_str()) {
            tokens.insert(answer, first_token(scorer, answer)?);
        }
    }
    let wanted = |answers: &[String]| -> Vec<i64> { answers.iter().map(|answer| tokens[answer.as_str()]).collect() };
    for (_, answers) in rows {
        let ids = wanted(answers);
        if let Some(at) = (1..ids.len()).find(|&at| ids[..at].contains(&ids[at])) {
            let message =
                format!("the answer {:?} begins with the same token as another: ask for its likelihood", answers[at]);
            return Err(TrainError::Data(message));
        }
    }
    let mut result = vec![Vec::new(); rows.len()];
    let only: Vec<&Row> = rows.iter().map(|(row, _)| row).collect();
    in_portions(
        scorer,
        &only,
        |row, counts| scorer.encode(&row.turns, counts),
        |first, portion| {
            let asked: Vec<Vec<i64>> = (first..first + portion.len()).map(|row| wanted(rows[row].1)).collect();
            // The answer's first token is the first that is trained; the rest is the end of the turn.
            let ends: Vec<usize> =
                portion.iter().map(|prompt| targets(&prompt.encoded).first().map_or(0, |(at, _)| at + 1)).collect();
            let prompts = Prompts::new(scorer, kept, Routes::ByScope, portion);
            let symbols = prompts.symbols(|row| ends[row]);
            let tree = PrefixTree::new(&symbols);
            let found = vec![Vec::new(); asked.len()];
            let mut work = FirstTokens { model: &scorer.model.language_model, prompts, asked, found, progress };
            scorer.model.language_model.walk(&tree, limits(scorer, &symbols), &mut work)?;
            for (at, found) in work.found.into_iter().enumerate() {
                result[first + at] = found;
            }
            Ok(())
        },
    )?;
    Ok(result)
}

/// Rows whose next token is asked for.
struct FirstTokens<'s, 'p, T: VisionTower, P: Projector> {
    model: &'s LanguageModel,
    prompts: Prompts<'s, T, P>,
    asked: Vec<Vec<i64>>,
    found: Vec<Vec<f64>>,
    progress: &'p mut dyn FnMut(usize),
}

impl<T: VisionTower, P: Projector> PrefixWork for FirstTokens<'_, '_, T, P> {
    type Error = TrainError;

    fn embed(&mut self, parts: &[PromptPart], tokens: usize) -> Result<Tensor<3>> {
        self.prompts.embed(parts, tokens)
    }

    fn read(&mut self, tree: &PrefixTree, pass: PrefixPass<'_>) -> Result<()> {
        let [count, tokens, width] = pass.hidden.dims();
        let ending: Vec<&PassNode<'_>> =
            pass.nodes.iter().filter(|place| !tree.ending(place.node).is_empty()).collect();
        if ending.is_empty() {
            return Ok(());
        }
        let last = |place: &&PassNode<'_>| place.row * tokens + place.first + place.node.end - place.node.start - 1;
        let last: Vec<i64> = ending.iter().map(|place| last(place) as i64).collect();
        let rows = || ending.iter().flat_map(|place| tree.ending(place.node));
        let mut ids: Vec<i64> = rows().flat_map(|row| self.asked[*row].iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let device = pass.hidden.device();
        let hidden = pass.hidden.reshape([count * tokens, width]).select(0, int_tensor(&last, &device));
        let logits = self.model.logits_of(hidden, int_tensor(&ids, &device));
        let values: Vec<f64> = logits.into_data().iter::<f32>().map(f64::from).collect();
        for (PassNode { node, .. }, values) in ending.iter().zip(values.chunks(ids.len().max(1))) {
            let of = |id: &i64| ids.binary_search(id).map_or(f64::NAN, |at| values[at]);
            for &row in tree.ending(node) {
                self.found[row] = self.asked[row].iter().map(of).collect();
            }
        }
        (self.progress)(rows().count());
        Ok(())
    }
}

/// The token that an answer begins with.
fn first_token<T: VisionTower, P: Projector>(scorer: &Scorer<T, P>, answer: &str) -> Result<i64> {
    let encoded = scorer.encode(&[Turn::user("?"), Turn::assistant(answer)], &[])?;
    let label = encoded.labels.iter().copied().find(|label| *label >= 0);
    label.ok_or_else(|| TrainError::Data(format!("the answer {answer:?} has no token")))
}

/// An answer that was written.
pub(super) struct Written {
    pub(super) text: String,
    /// How many tokens it has.
    pub(super) tokens: usize,
}

/// Greedy answers to conversations that end where the answer begins, each of at most so many tokens; each is handed on when it is written.
///
/// # Errors
/// A conversation that cannot be encoded or does not fit the model or the bound on keys and values; whatever `done` returns.
pub(super) fn generate<T: VisionTower, P: Projector>(
    scorer: &Scorer<T, P>,
    rows: &[(Row, usize)],
    kept: &mut Kept,
    done: &mut dyn FnMut(usize, Written) -> Result<()>,
) -> Result<()> {
    let stop_tokens = scorer.processor.end_of_turn();
    let only: Vec<&Row> = rows.iter().map(|(row, _)| row).collect();
    let encode = |row: &Row, counts: &[usize]| {
        let ids = scorer.encode_prompt(&row.turns, counts)?;
        Ok(Encoded { labels: vec![IGNORE; ids.len()], ids, ..Encoded::default() })
    };
    in_portions(scorer, &only, encode, |first, portion| {
        let mut prompts = Prompts::new(scorer, kept, Routes::All, portion);
        let symbols = prompts.symbols(|_| usize::MAX);
        // Those that begin alike stand together.
        let mut order: Vec<usize> = (0..symbols.len()).collect();
        order.sort_by(|a, b| symbols[*a].cmp(&symbols[*b]));
        let limits = DecodingLimits { rows: scorer.batch, cache_bytes: scorer.cache_memory };
        let mut decoding = ContinuousDecoding::new(&scorer.model.language_model, limits)?;
        for id in order {
            let config = GenerationConfig {
                max_new_tokens: rows[first + id].1,
                stop_tokens: stop_tokens.clone(),
                ..GenerationConfig::default()
            };
            let (prompt, symbols) = (prompts.rows[id].encoded.ids.clone(), symbols[id].clone());
            decoding.push(Request { id, prompt, symbols: Some(symbols), config, index: id, logprobs: None })?;
        }
        decoding.run::<TrainError>(&mut |parts, tokens| prompts.embed(parts, tokens), &mut |row| {
            let Finished { id, generated } = row;
            let text = scorer.processor.tokenizer().decode(&generated.ids, true)?;
            done(first + id, Written { text, tokens: generated.ids.len() })
        })
    })
}

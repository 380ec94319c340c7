//! The thread that has a model, one for each: it takes requests from a channel, writes all answers under way token by token in one batch, and sends
//! every request its parts.
//!
//! Between two tokens of the batch it takes in what has come and takes out whoever has left. A request whose pictures have to be encoded
//! first is taken in alone, so that the answers under way are not kept waiting by several at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use burn_vlm_base::guard::guarded;
use burn_vlm_train::chat::{AnswerPart, AnswerSettings, BatchLimits, ChatBatch, ChatModel, ChatPrompt};
use burn_vlm_train::error::TrainError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

use super::metrics::{Counted, Metrics};

/// A request that is ready to be answered.
pub(super) struct Job {
    pub(super) prompt: ChatPrompt,
    /// One for each answer.
    pub(super) answers: Vec<AnswerSettings>,
    /// Whether it asks how the experts are mixed.
    pub(super) routing: bool,
    /// Where its parts go; closed when the client has left.
    pub(super) events: UnboundedSender<Event>,
    /// Its places among the requests that the server takes, given back with the job.
    pub(super) places: Vec<OwnedSemaphorePermit>,
    pub(super) waits: Counted,
    /// When the request came.
    pub(super) came: Instant,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Event {
    /// It is in the batch; how the experts are mixed for each of its pictures, if it asks for that.
    Begun(Option<Vec<Vec<f32>>>),
    /// More of an answer.
    Part {
        /// Which of the request's answers.
        answer: usize,
        part: AnswerPart,
    },
    /// It cannot be answered; nothing more comes.
    Failed(String),
}

/// A request in the batch.
struct Running {
    events: UnboundedSender<Event>,
    /// The batch's number of each answer that has not ended.
    left: Vec<usize>,
    /// The number of its first answer; the others follow.
    first: usize,
    came: Instant,
    begun: Instant,
    has_begun_to_write: bool,
    _places: Vec<OwnedSemaphorePermit>,
    _runs: Counted,
}

/// Answers requests until nobody can send more.
pub(super) fn work(
    chat: &ChatModel,
    limits: BatchLimits,
    jobs: &Receiver<Job>,
    metrics: &Arc<Metrics>,
) -> Result<(), String> {
    let mut batch = ChatBatch::new(chat, limits).map_err(|error| error.to_string())?;
    let mut queue: VecDeque<Job> = VecDeque::new();
    let mut running: Vec<Running> = Vec::new();
    let mut kept = 0;
    loop {
        if running.is_empty() && queue.is_empty() {
            match jobs.recv() {
                Ok(job) => queue.push_back(job),
                Err(_) => return Ok(()),
            }
        }
        while let Ok(job) = jobs.try_recv() {
            queue.push_back(job);
        }
        let here = |events: &UnboundedSender<Event>| !events.is_closed();
        let count = queue.len();
        queue.retain(|job| here(&job.events));
        (queue.len()..count).for_each(|_| metrics.leaves());
        running.retain(|request| {
            if here(&request.events) {
                return true;
            }
            request.left.iter().for_each(|id| batch.remove(*id));
            metrics.leaves();
            false
        });
        while batch.unfinished() < limits.rows
            && let Some(job) = queue.pop_front()
        {
            let quick = batch.knows(&job.prompt);
            match begin(&mut batch, job, metrics) {
                Ok(request) => running.extend(request),
                Err(words) => fail(&mut batch, &mut running, &words, metrics)?,
            }
            metrics.keeps(std::mem::replace(&mut kept, batch.feature_bytes()), batch.feature_bytes());
            if !quick {
                break;
            }
        }
        if running.is_empty() {
            continue;
        }
        match guarded(|| batch.step()).map_err(|words| format!("the model failed: {words}")) {
            Ok(Ok(parts)) => tell(&mut running, parts, metrics),
            Ok(Err(error)) => fail(&mut batch, &mut running, &error.to_string(), metrics)?,
            Err(words) => fail(&mut batch, &mut running, &words, metrics)?,
        }
    }
}

/// Puts a request into the batch; one that cannot be is told why.
///
/// # Errors
/// A panic, which may leave the batch half changed.
fn begin(batch: &mut ChatBatch<'_>, job: Job, metrics: &Arc<Metrics>) -> Result<Option<Running>, String> {
    let Job { prompt, answers, routing, events, places, waits, came } = job;
    let begun = Instant::now();
    let pushed = guarded(|| {
        let weights = if routing { batch.routing(&prompt)? } else { None };
        Ok::<_, TrainError>((batch.push(&prompt, &answers)?, weights))
    });
    let pushed = pushed.map_err(|words| format!("the model failed: {words}"));
    let failed = match &pushed {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(words) => Some(words.clone()),
    };
    if let Some(message) = failed {
        metrics.fails();
        // Whoever has left needs no message.
        let _ = events.send(Event::Failed(message));
    }
    let Ok((left, weights)) = pushed? else { return Ok(None) };
    drop(waits);
    metrics.reads(prompt.tokens());
    let _ = events.send(Event::Begun(weights));
    let first = left.first().copied().unwrap_or_default();
    let (_places, _runs) = (places, metrics.runs());
    Ok(Some(Running { events, left, first, came, begun, has_begun_to_write: false, _places, _runs }))
}

/// Sends every request its parts, and lets go of those that have ended.
fn tell(running: &mut Vec<Running>, parts: Vec<AnswerPart>, metrics: &Metrics) {
    let mut parts: BTreeMap<usize, AnswerPart> = parts.into_iter().map(|part| (part.id, part)).collect();
    running.retain_mut(|request| {
        for id in std::mem::take(&mut request.left) {
            let Some(part) = parts.remove(&id) else {
                request.left.push(id);
                continue;
            };
            metrics.writes(part.tokens);
            if !request.has_begun_to_write {
                request.has_begun_to_write = true;
                metrics.first_token(request.came.elapsed());
            }
            if part.end.is_none() {
                request.left.push(id);
            }
            // Whoever has left is found before the next step.
            let _ = request.events.send(Event::Part { answer: id - request.first, part });
        }
        if request.left.is_empty() {
            metrics.ran(request.begun.elapsed());
        }
        !request.left.is_empty()
    });
}

/// Ends all requests under way with an error; those that wait go on with a new batch.
fn fail(batch: &mut ChatBatch<'_>, running: &mut Vec<Running>, message: &str, metrics: &Metrics) -> Result<(), String> {
    for request in running.drain(..) {
        metrics.fails();
        let _ = request.events.send(Event::Failed(message.to_owned()));
    }
    batch.clear().map_err(|error| error.to_string())
}

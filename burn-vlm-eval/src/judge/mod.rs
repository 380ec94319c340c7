//! Asking a judge what replies are worth: a model behind an endpoint that speaks OpenAI's chat completions.
//!
//! ```no_run
//! use burn_vlm_eval::judge::{Judge, JudgeOptions, KEY_VARIABLE, Key};
//! # let prompts = [];
//! let options = JudgeOptions { cache: Some("judge".into()), ..JudgeOptions::new("https://host/v1", "some-model") };
//! let judge = Judge::new(options, Key::from_environment(KEY_VARIABLE)?)?;
//! let judged = judge.ask_all(&prompts, &|progress| eprintln!("{} of {}", progress.done, progress.prompts))?;
//! for reply in judged.replies {
//!     match reply {
//!         Ok(text) => println!("{text}"),
//!         Err(why) => println!("no reply: {why}"),
//!     }
//! }
//! # Ok::<(), burn_vlm_eval::judge::JudgeError>(())
//! ```
//!
//! Unusual here:
//! - a prompt whose asking fails has an error for a reply, never a score;
//! - replies are kept on the disk by the hash of what was asked, so that a second run asks nothing again; a damaged
//!   file is asked again, and said;
//! - an endpoint that is gone is not asked 50,000 times; the rest is as any [`endpoint`](crate::endpoint) is asked.

mod cache;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use burn_vlm_base::files::FileError;
use burn_vlm_base::stop;

use burn_vlm_data::conversation::Role;
use burn_vlm_data::pipeline::{Answer, Finish, GIVE_UP_AFTER, Message, Part, Question, Settings};

pub use crate::endpoint::Key;
use crate::endpoint::{Client, EndpointError, EndpointOptions};
use crate::published::JudgePrompt;
use cache::{Cache, Cached};

/// Where the key of a judge is looked for.
pub const KEY_VARIABLE: &str = "BURN_VLM_JUDGE_KEY";
/// Problems of the cache that are told one by one; the rest are counted.
const TOLD: usize = 5;

/// How a judge is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgeOptions {
    /// The endpoint: `https://host/v1`, or with `/chat/completions`.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// The folder with the replies of earlier runs; without it everything is asked again.
    pub cache: Option<PathBuf>,
    /// How long a reply may take.
    pub timeout: Duration,
    /// How often a prompt is asked at most, after timeouts, cut replies, and the states 408, 409, 425 and 500 and above.
    pub tries: u32,
    /// How long is waited before the second try; doubled each time.
    pub first_wait: Duration,
    /// The longest wait that an endpoint may ask for (`Retry-After`); beyond it the prompt fails.
    pub most_wait: Duration,
    /// The most bytes of a reply.
    pub max_bytes: u64,
    /// Requests at once.
    pub threads: usize,
}

impl JudgeOptions {
    /// Two minutes a reply, five tries, four requests at once, replies of at most 1 MiB.
    pub fn new(url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            model: model.into(),
            cache: None,
            timeout: Duration::from_secs(120),
            tries: 5,
            first_wait: Duration::from_secs(1),
            most_wait: Duration::from_secs(300),
            max_bytes: 1 << 20,
            threads: 4,
        }
    }
}

/// Why a judge cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// An address or a key that is none.
    #[error("the judge: {0}")]
    Endpoint(#[from] EndpointError),
    /// The endpoint refuses every prompt, whatever it says.
    #[error("the judge at {url}: {message}")]
    Refused {
        /// The endpoint.
        url: String,
        /// What it said and what to do.
        message: String,
    },
    /// A cache that cannot be made.
    #[error(transparent)]
    Cache(#[from] FileError),
}

/// What has been done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// All prompts.
    pub prompts: usize,
    /// Those that have a reply or have failed.
    pub done: usize,
    /// Those whose reply was in the cache, or that repeat another.
    pub cached: usize,
    /// Those that have failed.
    pub failed: usize,
    /// Tries beyond the first.
    pub repeated: usize,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Of each prompt in their order: the reply, or why there is none.
    pub replies: Vec<Result<String, String>>,
    /// How many there were of what.
    pub progress: Progress,
    /// What a reader must know: damaged files of the cache, a key that goes unencrypted.
    pub notes: Vec<String>,
}

/// A judge.
#[derive(Debug)]
pub struct Judge {
    options: JudgeOptions,
    client: Client,
    cache: Option<Cache>,
}

impl Judge {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// An address that is none, a cache that cannot be made.
    pub fn new(options: JudgeOptions, key: Option<Key>) -> Result<Self, JudgeError> {
        let JudgeOptions { url, model, timeout, tries, first_wait, most_wait, max_bytes, threads, .. } =
            options.clone();
        let asked = EndpointOptions::new(url, model, KEY_VARIABLE);
        // A reply of whatever model is a judge's: benchmarks name judges by what vendors call them.
        let check_model = false;
        let asked = EndpointOptions { timeout, tries, first_wait, most_wait, max_bytes, threads, check_model, ..asked };
        let client = Client::new(asked, key)?;
        let cache = options.cache.as_ref().map(|folder| Cache::open(folder, &options)).transpose()?;
        Ok(Self { options, client, cache })
    }

    /// The replies to some prompts; each is asked once, however often it is there. `watch` is told after each prompt,
    /// by one thread at a time. What is not asked yet when the process is [to stop](burn_vlm_base::stop) fails.
    ///
    /// # Errors An endpoint that refuses the key or knows no such model: no prompt would have a reply. Replies until
    /// then are in the cache.
    pub fn ask_all(&self, prompts: &[JudgePrompt], watch: &(dyn Fn(&Progress) + Sync)) -> Result<Judged, JudgeError> {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        let mut wanted: Vec<(String, &JudgePrompt)> = Vec::new();
        for (place, prompt) in prompts.iter().enumerate() {
            let key = cache::key(&self.options.model, prompt);
            let known = places.entry(key.clone()).or_default();
            if known.is_empty() {
                wanted.push((key, prompt));
            }
            known.push(place);
        }
        let round = Round {
            judge: self,
            wanted,
            places,
            next: AtomicUsize::new(0),
            state: Mutex::new(State::new(prompts.len())),
            watch,
        };
        let threads = self.options.threads.clamp(1, round.wanted.len().max(1));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| round.work());
            }
        });
        let State { progress, replies, refused, mut notes, problems, .. } =
            round.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(message) = refused {
            return Err(JudgeError::Refused { url: self.client.shown().to_owned(), message });
        }
        notes.extend(self.client.note());
        if problems > TOLD {
            notes.push(format!("and {} more files of the judge's cache", problems - TOLD));
        }
        let lost = || Err("it was not asked".to_owned());
        Ok(Judged { replies: replies.into_iter().map(|reply| reply.unwrap_or_else(lost)).collect(), progress, notes })
    }
}

/// A prompt as it is asked.
fn question(prompt: &JudgePrompt) -> Question {
    let message = |role, text: &String| Message { role, parts: vec![Part::Text(text.clone())] };
    let system = prompt.system.as_ref().map(|text| message(Role::System, text));
    let messages = system.into_iter().chain([message(Role::User, &prompt.text)]).collect();
    let temperature = f64::from(prompt.temperature_milli) / 1000.0;
    Question { messages, settings: Settings { temperature, ..Settings::greedy(prompt.max_tokens) } }
}

/// One call for many prompts.
struct Round<'a> {
    judge: &'a Judge,
    /// Each prompt once, with its key.
    wanted: Vec<(String, &'a JudgePrompt)>,
    /// Where its reply goes.
    places: HashMap<String, Vec<usize>>,
    next: AtomicUsize,
    state: Mutex<State>,
    watch: &'a (dyn Fn(&Progress) + Sync),
}

struct State {
    progress: Progress,
    replies: Vec<Option<Result<String, String>>>,
    refused: Option<String>,
    /// Prompts in a row whose every try failed, and why.
    in_a_row: usize,
    why: String,
    notes: Vec<String>,
    /// Of the cache.
    problems: usize,
}

impl State {
    fn new(prompts: usize) -> Self {
        Self {
            progress: Progress { prompts, ..Progress::default() },
            replies: vec![None; prompts],
            refused: None,
            in_a_row: 0,
            why: String::new(),
            notes: Vec::new(),
            problems: 0,
        }
    }

    fn problem(&mut self, note: String) {
        self.problems += 1;
        if self.problems <= TOLD {
            self.notes.push(note);
        }
    }

    /// Why nothing more is asked.
    fn over(&self) -> Option<String> {
        if stop::asked() {
            return Some("stopped before it was asked".to_owned());
        }
        let gone = || format!("not asked, as the {GIVE_UP_AFTER} before it failed: {}", self.why);
        (self.in_a_row >= GIVE_UP_AFTER).then(gone)
    }
}

impl Round<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((key, prompt)) = self.wanted.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.state().refused.is_some() {
                return;
            }
            self.one(key, prompt);
        }
    }

    fn one(&self, key: &str, prompt: &JudgePrompt) {
        let cache = self.judge.cache.as_ref();
        match cache.map(|cache| cache.read(key, prompt)) {
            Some(Cached::Reply(reply)) => return self.done(key, Ok(reply), 0, true),
            Some(Cached::Damaged(why)) => self.state().problem(format!("{why}; it is asked again")),
            Some(Cached::Nothing) | None => {}
        }
        let over = self.state().over();
        if let Some(why) = over {
            return self.done(key, Err(why), 0, false);
        }
        let (answer, spent) = self.judge.client.ask(&question(prompt), key, &|| true);
        let repeated = usize::try_from(spent.requests.saturating_sub(1)).unwrap_or(usize::MAX);
        let reply = match answer {
            Answer::Reply(reply) if reply.text.trim().is_empty() => {
                let finish = if reply.finish == Finish::Length { "length" } else { "stop" };
                Err(format!("its reply has no text (finish_reason: {finish})"))
            }
            Answer::Reply(reply) => {
                if let Some(Err(error)) = cache.map(|cache| cache.write(key, prompt, &reply.text)) {
                    self.state().problem(format!("the judge's reply is not kept: {error}"));
                }
                self.state().in_a_row = 0;
                Ok(reply.text)
            }
            Answer::Refused(_, message) => {
                self.state().refused = Some(message);
                return;
            }
            Answer::Failed(trouble, why) => {
                if trouble.is_of_the_endpoint() {
                    let mut state = self.state();
                    state.in_a_row += 1;
                    state.why.clone_from(&why);
                }
                Err(why)
            }
        };
        self.done(key, reply, repeated, false);
    }

    fn done(&self, key: &str, reply: Result<String, String>, repeated: usize, from_cache: bool) {
        let places = self.places.get(key).map_or(&[][..], Vec::as_slice);
        let mut state = self.state();
        for place in places {
            if let Some(free) = state.replies.get_mut(*place) {
                *free = Some(reply.clone());
            }
        }
        state.progress.done += places.len();
        state.progress.repeated += repeated;
        match (&reply, from_cache) {
            (Err(_), _) => state.progress.failed += places.len(),
            (Ok(_), true) => state.progress.cached += places.len(),
            (Ok(_), false) => state.progress.cached += places.len().saturating_sub(1),
        }
        (self.watch)(&state.progress);
    }
}
